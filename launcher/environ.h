/* environ.h -- the environment contract: what every rank's program finds (docs/environment.md). Pure. */
#ifndef LS_ENVIRON_H
#define LS_ENVIRON_H

#include "launcher/plan.h"

#define LS_HWLOC_SKIP "hwloc_gl.so,hwloc_opencl.so" /* for HWLOC_PLUGINS_BLACKLIST */
#define LS_RANK_PORTS 2 /* free ports that every rank brings along: [0] its own service, [1] rank 0's rendezvous */

struct ls_environ {
	const struct ls_job *job;
	const struct ls_plan *plan;
	const char *run_id;
	unsigned attempt;
	int restarts, max_restarts;     /* of this run */
	const char *checkpoint_uri, *resume;
	long long generation;           /* claimed by an earlier attempt; 0: none */
	const char *const *user_env;    /* -x and the manifest's env, "NAME=value", NULL-terminated: wins over everything */
	const int (*ports)[LS_RANK_PORTS]; /* [world] */
	int engine_major;               /* 4, 5 */
	const char *agent;              /* the name of the hosts' agents' sockets */
	const char *session_shm;        /* the attempt's directory under /dev/shm */
	char *const *inherited;         /* the launcher's environment: what the user set there is not overruled */
};

/* What the user said (user_env, inherited) where it steers the launcher: LS_USAGE, a value that is not known. */
ls_status ls_environ_check(const struct ls_environ *e, struct ls_err *err);
/* Everything for one rank, "NAME=value". */
void ls_environ_rank(const struct ls_environ *e, int rank, struct ls_strv *ret);
/* Where other ranks reach rank 0. */
const char *ls_environ_master(const struct ls_plan *plan);

#endif
