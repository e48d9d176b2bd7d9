/* failure.h -- which of the things that went wrong was the first, and how to say it. Pure; used by attempt.c. */
#ifndef LS_FAILURE_H
#define LS_FAILURE_H

#include "launcher/attempt.h"

/* How a rank ended, as its shim told; or that it told nothing. */
struct ls_rank_end {
	int64_t at_ms;        /* when the launcher heard */
	int code, signal;     /* one of them, or both 0 */
	bool by_us;           /* a signal that the launcher had ordered */
	bool noticed;         /* its host was about to go, and it got the word */
	bool oom;
	bool vanished;        /* the connection ended without a word */
	bool host_gone;       /* … and so did all others of that host */
	bool silent;          /* nobody closed it: a PING had no answer. Of two hosts that seem gone, this one is: the other could still say goodbye */
	char why[512];        /* the program could not even be started: why */
};

bool ls_rank_end_is_failure(const struct ls_rank_end *e);

/* The index of the cause among ends[0..n) (`blames_other[i]`: the rank reported that another one was lost), or -1. Within
 * LS_CAUSE_WINDOW_MS of the first failure, in this order: a lost host, a silent one first; a host that is about to go; not started or killed by a
 * signal; vanished; exit code or abort(); blames another. Equal ones: the first. */
enum { LS_CAUSE_WINDOW_MS = 4000 };
int ls_failure_cause(const struct ls_rank_end *ends, const bool *ended, const bool *blames_other, int n);

/* Fill in reason, message, code, signal, retryable. `said`: the rank's own last words, or "". */
void ls_failure_describe(const struct ls_job *job, int rank, const char *host, const struct ls_rank_end *e, const char *said,
	bool blames_other, struct ls_failure *ret);

#endif
