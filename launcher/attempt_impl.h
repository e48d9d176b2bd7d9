/* attempt_impl.h -- one attempt's state, shared by attempt.c (the loop and the phases), attempt_start.c (the engine's start, new
 * connections) and attempt_world.c (who reports in, and whether the world is the planned one). Nobody else includes it. */
#ifndef LS_ATTEMPT_IMPL_H
#define LS_ATTEMPT_IMPL_H

#include "launcher/attempt.h"
#include "launcher/environ.h"
#include "launcher/failure.h"
#include "launcher/wire.h"

enum phase { STARTING, RUNNING, LEAVING, STOPPING };

struct conn {
	struct ls_wire wire;
	int rank;             /* -1 until HELLO */
	int64_t since_ms;
	char peer[64];
};

struct attempt {
	const struct ls_attempt_options *opt;
	struct ls_outcome *out;
	int world;
	enum phase phase;
	char run_id[40], token[72], session_tmp[128], session_shm[128];
	int listeners[2];     /* unix, tcp; -1: none */
	struct conn *conns;
	int n_conns;
	int *conn_of;         /* [world] index in conns, -1 */
	struct ls_rank_end *ends;
	bool *ended, *started, *blames;
	int (*ports)[LS_RANK_PORTS];
	int n_hello, n_started, n_ended;
	pid_t engine;
	int engine_status;
	bool engine_gone, engine_says; /* says: it exited by itself, before its running ranks */
	int64_t begun_ms;
	int64_t act_at_ms;    /* in RUNNING after a failure: tear down then; 0 nothing failed */
	int unanswered;       /* PINGs that went out after a failure and have no PONG yet */
	bool *asked;          /* [world] … to whom */
	int64_t force_at_ms;  /* in STOPPING, LEAVING: be less polite then */
	int force;            /* how often that was */
	bool failed;          /* out->failure is filled in by other than a rank's end */
	int stops_seen;
	int64_t looked_ms, awake_ms; /* the last round; silence before this moment means nothing */
	bool said_stranger, said_full;
};

/* Listen for the ranks and start the engine. */
ls_status attempt_start_engine(struct attempt *a, struct ls_err *err);
/* One more connection from `listener`. May move a->conns. */
void attempt_accept(struct attempt *a, int listener);
/* The engine's environment: the launcher's, and what the shims need to report in. */
void attempt_engine_env(struct attempt *a, int tcp_port, struct ls_strv *ret);
/* HELLO. False: this connection is not one of ours, drop it. A wrong world fails the attempt (attempt_fail). */
bool attempt_hello(struct attempt *a, struct conn *c, const char *json, size_t len);
/* A host's agent: if it is one of ours, its connection moves to the run's (a->opt->agents). It is no more this attempt's in any case. */
void attempt_agent(struct attempt *a, struct conn *c, const char *json, size_t len);
/* Everybody is here: send GO. */
void attempt_go(struct attempt *a);
/* Names of ranks that have not reported in, for messages. */
void attempt_missing(const struct attempt *a, struct ls_str *ret);

enum { ATTEMPT_PONG_MS = 3000 }; /* a host that does not answer for so long, after a failure elsewhere, is the reason */

/* Read what a connection has, and act on it. */
void attempt_read(struct attempt *a, struct conn *c);
/* Something failed that may be the consequence of a host's silence, which the kernel reports much later than MPI does: ask
 * all others whether they are there. True: there is somebody to wait for, at most ATTEMPT_PONG_MS. */
bool attempt_ask_others(struct attempt *a);
/* Those that were asked and did not answer in time are as good as gone. */
void attempt_give_up_silent(struct attempt *a);
/* Take everything down. `grace_ms`: the programs' time after SIGTERM. */
void attempt_stop(struct attempt *a, int grace_ms);
void attempt_stop_after_failure(struct attempt *a);
/* What was asked politely has had its time. */
void attempt_force(struct attempt *a);

/* The attempt is lost for a reason that no rank's end tells. The first call counts. */
void attempt_fail(struct attempt *a, const char *reason, int rank, const char *host, bool retryable, const char *fmt, ...)
	__attribute__((format(printf, 6, 7)));

#endif
