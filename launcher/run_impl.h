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
	uint32_t workers_mark;         /* of the order that r->hosts are from */
	int64_t workers_ms;            /* the last look for a newer one */
	struct ls_str silent;          /* ", " between: hosts that the newest plan goes without, as they did not answer */
	bool told_starting;            /* job.json says what the start waits for */
	struct ls_str live;            /* what live.json has */
	int64_t live_ms;               /* since then; 0: never */
};

/* From the options (r->opt) to job, environment, paths, engine, list of hosts. Makes and starts nothing. */
ls_status run_prepare(struct run *r, struct ls_err *err);

/* spec.runPolicy.preflight (run_preflight.c): what is slow is said, recorded, and with Fail left out: r->hosts loses it, *ret_left_out
 * has its name, and another plan is wanted. LS_NODE_LOST: with Fail, what is slow cannot be left out. */
ls_status run_preflight(struct run *r, const struct ls_plan *plan, struct ls_strv *ret_left_out, struct ls_err *err);

/* --workers (run_workers.c): */
/* Waits for a complete order, however long; its workers become the hosts. */
ls_status run_wait_workers(struct run *r, void (*say)(const char *sentence), struct ls_err *err);
/* As ls_probe_options.stale: is there an order with other workers? Looks once a second. */
bool run_workers_changed(void *run);
/* A look at the attempt, as ls_attempt_options.seen: live.json is written when something changed, once a second. */
void run_seen(void *run, unsigned attempt, int requested, int actual);

#endif
