/* run_impl.h -- one `lockstep run`, shared by run_prepare.c (what must be right before anything starts) and cmd_run.c (attempts, and
 * the end). Nobody else includes it. */
#ifndef LS_RUN_IMPL_H
#define LS_RUN_IMPL_H

#include "launcher/attempt.h"
#include "launcher/options.h"
#include "launcher/record.h"

#include <limits.h>

struct run {
	struct ls_run_options opt;
	struct ls_job job;
	struct ls_engine engine;
	struct ls_hosts hosts;         /* as asked for; probed copies go into each plan */
	struct ls_strv env;            /* the manifest's, then -x */
	char *dir, *cwd, *binary, *checkpoint_uri;
	int lock;
	struct ls_watch *watch;
	struct ls_record *record;
	struct ls_agents *agents;
	struct ls_policy policy;
	int restarts;
	bool looked;                   /* resume_at is known */
	char resume_at[PATH_MAX];      /* the newest manifest when the run began; "": none */
	int64_t deadline_ms;           /* 0: none */
	bool mpirun_style;
};

/* From the options (r->opt) to job, environment, paths, engine, list of hosts. Makes and starts nothing. */
ls_status run_prepare(struct run *r, struct ls_err *err);

#endif
