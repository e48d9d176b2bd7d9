/* policy.h -- what follows an attempt: done, another one, or the end. Pure, and small enough to be tested row by row.
 *
 *                      ┌─────────────── restart, after delay_ms ───────────────┐
 *                      v                                                        │
 *     attempt ──> succeeded ─────────────────────────────────────────> DONE     │
 *             ──> stopped by a person or the deadline ───────────────> STOPPED  │
 *             ──> failed, code not retryable ────────────────────────> FAILED   │
 *             ──> failed, retryable, budget or breaker used up ──────> GAVE_UP  │
 *             ──> failed, retryable ────────────────────────────────────────────┘
 *
 * Budget: backoffLimit attempts without progress. An attempt that got past the best step so far gives all of it back, so a job
 * that moves on between failures is never ended by their number. Breaker: the same rank, reason and step (not 0: of a
 * program that reports no steps nothing is known) three times in a row is not bad luck, whatever the budget. */
#ifndef LS_POLICY_H
#define LS_POLICY_H

#include <stdbool.h>

enum ls_ending { LS_END_SUCCEEDED, LS_END_FAILED, LS_END_STOPPED, LS_END_DEADLINE };
enum ls_action { LS_ACT_DONE, LS_ACT_STOPPED, LS_ACT_FAILED, LS_ACT_GAVE_UP, LS_ACT_RESTART };

struct ls_policy {
	int backoff_limit;
	/* state; zero at first */
	int used;             /* attempts after the first since the last progress */
	long long best_step;  /* furthest step any attempt finished */
	int same;             /* times in a row that the last failure was seen */
	char last[96];        /* what it was */
};

enum { LS_BREAKER = 3, LS_DELAY_MAX_MS = 60000 };

struct ls_ended {
	enum ls_ending ending;
	bool retryable;
	long long step;       /* furthest step it finished; 0: none */
	int rank;             /* the cause's rank, -1 unknown */
	const char *reason;   /* "Signal 9" */
};

/* *ret_delay_ms is set for LS_ACT_RESTART: 0 after progress ("back, fast"), else 1 s doubling up to a minute. */
enum ls_action ls_policy_next(struct ls_policy *p, const struct ls_ended *e, int *ret_delay_ms);

/* Exit codes of `lockstep run`. `restarts`: how many there were; a job that was never restarted keeps its program's own code. */
int ls_policy_exit_code(enum ls_action a, const struct ls_ended *e, int code, int signal, int restarts);

#endif
