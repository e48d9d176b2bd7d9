/* watch_term.c -- see watch_term.h. */
#include "launcher/watch_term.h"
#include "launcher/watch.h"
#include "core/io.h"

#include <errno.h>
#include <math.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { LIVE_MS = 100, PLAIN_MS = 5000 };

struct ls_term {
	bool quiet, live;       /* live: stderr is a terminal */
	const volatile int *stop;
	int64_t deadline_ms;    /* the job's; 0: none */
	bool stuck[3];          /* of a stream: nobody read it when the job had to end; only what it takes at once is written */
	bool drawn;             /* the progress line stands there now */
	int64_t at_ms;
	long long at_step;
};

struct ls_term *ls_term_new(bool quiet, const volatile int *stop, int64_t deadline_ms)
{
	struct ls_term *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->quiet = quiet;
	t->stop = stop;
	t->deadline_ms = deadline_ms;
	t->live = isatty(2) && strcmp(getenv("TERM") ? getenv("TERM") : "", "dumb");
	t->at_ms = ls_clock_ms();
	return t;
}

static bool must_end(const struct ls_term *t)
{
	return (t->stop && *t->stop) || (t->deadline_ms && ls_clock_ms() >= t->deadline_ms);
}

/* A reader that does not read (a pager, a stopped terminal) must not keep the launcher from ending the job, and not by a little for
 * each of a million lines either. */
static void emit(struct ls_term *t, int fd, const char *bytes, size_t len)
{
	while (len) {
		struct pollfd p = { .fd = fd, .events = POLLOUT };
		size_t piece = len < 4096 ? len : 4096; /* PIPE_BUF: a writable pipe takes it without blocking */
		ssize_t n;

		if (poll(&p, 1, t->stuck[fd] ? 0 : 100) <= 0) {
			t->stuck[fd] = must_end(t);
			if (t->stuck[fd])
				return;
			continue;
		}
		n = write(fd, bytes, piece);
		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (n < 0)
			return; /* the terminal is gone: the logs still have it */
		bytes += n;
		len -= (size_t)n;
	}
}

static void wipe(struct ls_term *t)
{
	if (t->drawn)
		emit(t, 2, "\r\033[K", 4);
	t->drawn = false;
}

void ls_term_free(struct ls_term *t)
{
	if (!t)
		return;
	wipe(t);
	free(t);
}

void ls_term_line(struct ls_term *t, int stream, const char *prefix, const char *line)
{
	struct ls_str text = { 0 };

	wipe(t);
	ls_str_addf(&text, "%s%s\n", prefix, line);
	if (!text.oom)
		emit(t, stream, text.s, text.len);
	ls_str_release(&text);
}

static void add_duration(struct ls_str *text, double s)
{
	long long n = (long long)(s + 0.5);

	if (n >= 3600)
		ls_str_addf(text, "%lldh%02lldm", n / 3600, n / 60 % 60);
	else if (n >= 60)
		ls_str_addf(text, "%lldm%02llds", n / 60, n % 60);
	else
		ls_str_addf(text, "%llds", n);
}

static void add_bar(struct ls_str *text, long long step, long long total)
{
	enum { WIDTH = 20 };
	int full = (int)(step * WIDTH / total), i;

	ls_str_add(text, "[");
	for (i = 0; i < WIDTH; i++)
		ls_str_add(text, i < full ? "=" : i == full ? ">" : " ");
	ls_str_add(text, "] ");
}

void ls_term_progress(struct ls_term *t, const struct ls_facts *f)
{
	int64_t now = ls_clock_ms();
	struct ls_str text = { 0 };
	struct winsize ws;

	if (t->quiet || !f->step || f->step == t->at_step || now - t->at_ms < (t->live ? LIVE_MS : PLAIN_MS))
		return;
	t->at_ms = now;
	t->at_step = f->step;
	ls_str_add(&text, t->live ? "\r" : "lockstep: ");
	if (t->live && f->total > 0 && f->step <= f->total)
		add_bar(&text, f->step, f->total);
	ls_str_addf(&text, "step %lld", f->step);
	if (f->total)
		ls_str_addf(&text, "/%lld", f->total);
	if (!isnan(f->loss))
		ls_str_addf(&text, "  loss %.4g", f->loss);
	if (f->rate > 0)
		ls_str_addf(&text, "  %.0f samples/s", f->rate);
	if (f->eta_s >= 0) {
		ls_str_add(&text, "  ETA ");
		add_duration(&text, f->eta_s);
	}
	if (t->live && ioctl(2, TIOCGWINSZ, &ws) == 0 && ws.ws_col > 1 && text.len > ws.ws_col)
		text.s[text.len = ws.ws_col] = 0; /* a wrapped line could not be wiped */
	ls_str_add(&text, t->live ? "\033[K" : "\n");
	if (!text.oom)
		emit(t, 2, text.s, text.len);
	t->drawn = t->live;
	ls_str_release(&text);
}
