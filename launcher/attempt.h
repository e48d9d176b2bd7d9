/* attempt.h -- one start of all ranks, from the engine's fork to the last process's end.
 *
 *     STARTING ──all ranks reported in, world is the planned one──> RUNNING ──all ranks ended──> LEAVING ──engine ended──> over
 *        │  │                                                          │                           ^
 *        │  └─ wrong world, engine died, time limit ──┐                ├─ a rank failed ───────────┤
 *        │                                            v                ├─ hang, deadline           │
 *        └──── a person asks to stop ──────────> everything is stopped ┴─ a person asks to stop ───┘
 *
 * Invariants: no program starts before every rank has been seen on its planned host; no attempt ends well unless every rank of
 * the planned world exited with 0; when ls_attempt_run returns, the engine is gone and no rank is connected.
 * The cause of a failure is the first that was no consequence: a death that we ordered, or an error that a rank reports about
 * another ("rank_lost"), never is the cause while a better one is known. */
#ifndef LS_ATTEMPT_H
#define LS_ATTEMPT_H

#include "launcher/agents.h"
#include "launcher/engine.h"
#include "launcher/plan.h"
#include "launcher/policy.h"
#include "launcher/watch.h"

struct ls_attempt_options {
	const struct ls_job *job;
	const struct ls_plan *plan;
	const struct ls_engine *engine;
	struct ls_watch *watch;
	struct ls_agents *agents;     /* the run's */
	const char *dir;              /* the job's */
	unsigned number;              /* attempts are numbered through all runs of the job */
	int restarts, max_restarts;   /* of this run */
	long long generation;         /* the newest claimed by an earlier attempt; 0: none */
	const char *checkpoint_uri, *resume, *cwd, *binary, *ssh;
	const char *const *user_env;  /* "NAME=value" */
	const char *const *engine_extra;
	int start_timeout_ms, grace_ms;
	int64_t deadline_ms;          /* ls_clock_ms() of activeDeadlineSeconds; 0: none */
	/* Called ten times a second at least: `actual` of the ranks have reported in. NULL: nobody looks. */
	void (*seen)(void *who, unsigned attempt, int requested, int actual);
	void *who;
};

struct ls_failure {
	int rank;                     /* -1: no single rank */
	char host[64];
	int code, signal;             /* of the program; 0 */
	char reason[32];              /* ExitCode Signal OOMKilled HostLost RankLost LeftEarly Hang StartFailed StartTimeout WorldMismatch EngineLost */
	char message[1024];           /* one sentence */
	bool retryable;
	struct ls_strv tail;          /* the rank's last lines */
};

struct ls_outcome {
	enum ls_ending ending;
	struct ls_failure failure;    /* LS_END_FAILED */
	double start_s;               /* fork of the engine to the last program's exec; 0: never */
	int world;                    /* ranks that reported in */
	char started[32], ended[32];  /* RFC 3339 */
	long long resumed, step;
	int *pids;                    /* [plan->world], 0 unknown */
};

/* An error is returned only when nothing could be tried; everything else is an outcome. */
ls_status ls_attempt_run(const struct ls_attempt_options *opt, struct ls_outcome *ret, struct ls_err *err);
void ls_outcome_release(struct ls_outcome *o);

/* The names of the attempt's session directories on every host. */
void ls_session_dirs(const char *run_id, char tmp[128], char shm[128]);

#endif
