/* failure.c -- see failure.h. */
#include "launcher/failure.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

bool ls_rank_end_is_failure(const struct ls_rank_end *e)
{
	return !e->by_us && (e->vanished || e->signal || e->code || e->why[0] || e->noticed); /* with 0 it has left early, too */
}

/* An abort is as often a reaction as an exit code is: NCCL and gloo end their process with one when a peer is gone. */
static int weight(const struct ls_rank_end *e, bool blames_other)
{
	if (e->host_gone)
		return 5 + e->silent;
	if (e->noticed)
		return 4;
	if (e->why[0] || (e->signal && e->signal != SIGABRT))
		return 3;
	if (e->vanished)
		return 2;
	return blames_other ? 0 : 1;
}

int ls_failure_cause(const struct ls_rank_end *ends, const bool *ended, const bool *blames_other, int n)
{
	int64_t first_ms = INT64_MAX;
	int i, best = -1;

	for (i = 0; i < n; i++)
		if (ended[i] && ls_rank_end_is_failure(&ends[i]) && ends[i].at_ms < first_ms)
			first_ms = ends[i].at_ms;
	for (i = 0; i < n; i++) {
		int w, b;

		if (!ended[i] || !ls_rank_end_is_failure(&ends[i]) || ends[i].at_ms > first_ms + LS_CAUSE_WINDOW_MS)
			continue;
		w = weight(&ends[i], blames_other[i]);
		b = best < 0 ? -1 : weight(&ends[best], blames_other[best]);
		if (w > b || (w == b && ends[i].at_ms < ends[best].at_ms))
			best = i;
	}
	return best;
}

/* "SIGKILL", without the prefix of strsignal's prose. */
static const char *signal_name(int sig)
{
	const char *abbrev = sigabbrev_np(sig);

	return abbrev ? abbrev : "unknown";
}

void ls_failure_describe(const struct ls_job *job, int rank, const char *host, const struct ls_rank_end *e, const char *said,
	bool blames_other, struct ls_failure *ret)
{
	char *m = ret->message;
	size_t size = sizeof(ret->message);

	ret->rank = rank;
	snprintf(ret->host, sizeof(ret->host), "%s", host);
	ret->code = e->code > 0 ? e->code : 0;
	ret->signal = e->signal;
	ret->retryable = true;
	if (e->why[0]) {
		strcpy(ret->reason, "StartFailed");
		ret->retryable = false;
		ret->code = 127;
		snprintf(m, size, "rank %d on host %s: %s", rank, host, e->why);
	} else if (e->noticed) {
		strcpy(ret->reason, "HostLeaves");
		snprintf(m, size, "host %s is about to go (its Pod is evicted or deleted): rank %d got a notice and %s", host, rank,
			e->signal == SIGKILL ? "did not leave within its grace" : "left");
	} else if (e->host_gone) {
		strcpy(ret->reason, "HostLost");
		snprintf(m, size, "host %s was lost: none of its ranks can be reached any more", host);
	} else if (e->vanished) {
		strcpy(ret->reason, "RankLost");
		snprintf(m, size, "rank %d on host %s vanished: its connection ended without a word", rank, host);
	} else if (e->signal) {
		strcpy(ret->reason, e->oom ? "OOMKilled" : "Signal");
		ret->retryable = e->signal < 128 && job->retryable[128 + e->signal];
		if (e->oom)
			snprintf(m, size, "rank %d on host %s was killed by the kernel for want of memory (OOM, SIGKILL); give it "
				"more memory or make its batch smaller", rank, host);
		else
			snprintf(m, size, "rank %d on host %s was killed by signal %d (SIG%s)", rank, host, e->signal,
				signal_name(e->signal));
	} else {
		strcpy(ret->reason, blames_other ? "RankLost" : "ExitCode");
		ret->retryable = blames_other || (e->code >= 0 && e->code < 256 && job->retryable[e->code]);
		snprintf(m, size, "rank %d on host %s exited with code %d%s%s", rank, host, e->code, *said ? ": " : "", said);
	}
}
