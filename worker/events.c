/* events.c -- what this rank tells: event lines to its shim, the sentence of an error to its caller.
 *
 * An event is best effort: a shim that is gone ends the reporting, never the training (SIGPIPE is kept from the
 * program, whose own handling of it is not touched). Without a shim, under a plain mpirun, rank 0 prints the same
 * facts for a person on standard error, progress once a second: the only printing in this library. Errors are not
 * printed there: main() does. */
#include "core/event.h"
#include "core/io.h"
#include "worker/rank.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Close-on-exec: a child that the program starts would keep the pipe open after us, and the shim waiting for its
 * end. */
void ls_events_open(struct ls_events *ev)
{
	const char *text = getenv(LS_EVENT_FD_ENV);
	char *end;
	long fd;
	int flags;

	atomic_init(&ev->fd, -1);
	ev->plain = !text || !*text;
	ev->next_line_s = 0;
	if (ev->plain)
		return;
	fd = strtol(text, &end, 10);
	flags = *end || fd < 0 || fd > INT32_MAX ? -1 : fcntl((int)fd, F_GETFL);
	if (flags < 0 || (flags & O_ACCMODE) == O_RDONLY || fcntl((int)fd, F_SETFD, FD_CLOEXEC) < 0)
		return;
	ev->fd = (int)fd;
}

/* SIGPIPE is blocked around the write and, if the write raised it, taken from the queue before it is unblocked
 * again. */
static int write_quietly(int fd, const char *line, size_t len)
{
	static const struct timespec now = { 0, 0 };
	sigset_t pipe_only, saved, pending;
	bool was_pending;
	int rc, why;

	sigemptyset(&pipe_only);
	sigaddset(&pipe_only, SIGPIPE);
	sigpending(&pending);
	was_pending = sigismember(&pending, SIGPIPE);
	pthread_sigmask(SIG_BLOCK, &pipe_only, &saved);
	rc = ls_write_all(fd, line, len);
	why = errno;
	if (rc < 0 && why == EPIPE && !was_pending)
		sigtimedwait(&pipe_only, NULL, &now);
	pthread_sigmask(SIG_SETMASK, &saved, NULL);
	return rc;
}

static void print_for_people(const char *line)
{
	const char *text = strstr(line, " text=");

	if (ls_event_is(line, "hello") || ls_event_is(line, "error"))
		return;
	if (text)
		fprintf(stderr, "lockstep: %.*s: %s\n", (int)(text - line), line, text + strlen(" text="));
	else
		fprintf(stderr, "lockstep: %s\n", line);
}

void ls_event_send(struct lockstep *ls, const char *fmt, ...)
{
	char text[LS_EVENT_MAX], line[LS_EVENT_MAX];
	size_t len;
	va_list ap;

	if (ls->events.fd < 0 && !ls->events.plain)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	len = ls_event_line(line, "%s", text);
	if (ls->events.fd >= 0) {
		if (write_quietly(ls->events.fd, line, len) < 0)
			ls->events.fd = -1;
	} else if (ls->rank == 0) {
		line[len - 1] = '\0';
		print_for_people(line);
	}
}

static void progress_for_people(struct lockstep *ls, long long step, double loss, double samples_per_s)
{
	double now = ls_clock_s();

	if (ls->rank != 0 || (now < ls->events.next_line_s && step != ls->set.total_steps))
		return;
	ls->events.next_line_s = now + 1;
	if (ls->set.total_steps)
		fprintf(stderr, "lockstep: step %lld/%lld  loss %.4f  %.0f samples/s\n", step,
			(long long)ls->set.total_steps, loss, samples_per_s);
	else
		fprintf(stderr, "lockstep: step %lld  loss %.4f  %.0f samples/s\n", step, loss, samples_per_s);
}

/* Milliseconds, to the microsecond. */
static const char *ms_text(char ret[40], double seconds)
{
	return ls_event_digits(ret, (double)(int64_t)(seconds * 1e6) / 1e3);
}

void ls_event_progress(struct lockstep *ls, long long step, double loss, long long samples, double seconds, double waited_s)
{
	char exact[40], ms[40], waited[40];

	if (ls->events.plain)
		progress_for_people(ls, step, loss, seconds > 0 ? (double)samples * ls->world / seconds : 0);
	else
		ls_event_send(ls, "progress step=%lld total=%lld loss=%s samples=%lld ms=%s epoch=%lld wait_ms=%s", step,
			(long long)ls->set.total_steps, ls_event_exact(exact, loss), samples, ms_text(ms, seconds),
			(long long)ls->sampler.epoch, ms_text(waited, waited_s));
}

static const char *const names[] = {
	[LOCKSTEP_USAGE] = "usage",
	[LOCKSTEP_AGAIN] = "again",
	[LOCKSTEP_DATA_BAD] = "data_bad",
	[LOCKSTEP_RANK_LOST] = "rank_lost",
	[LOCKSTEP_JOB_LOST] = "job_lost",
};

/* LS_DATA_BAD is agreed by all ranks, which may go on together; after anything else this rank has left the common
 * path. */
lockstep_status ls_give(struct lockstep *ls, ls_status st, const struct ls_err *e, struct lockstep_err *err)
{
	if (!st)
		return LOCKSTEP_OK;
	if (err) {
		err->rank = e->rank;
		snprintf(err->text, sizeof(err->text), "%s", e->text);
	}
	if (st != LS_DATA_BAD)
		ls->failed = true;
	ls_event_send(ls, "error status=%s rank=%d text=%s", names[ls_status_public(st)], e->rank, e->text);
	return ls_status_public(st);
}

lockstep_status ls_give_waited(struct lockstep *ls, double began_s, ls_status st, const struct ls_err *e, struct lockstep_err *err)
{
	ls->waited_s += ls_clock_s() - began_s;
	return ls_give(ls, st, e, err);
}
