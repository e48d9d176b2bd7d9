/* watch.c -- see watch.h. Terminal drawing is in watch_term.c. */
#include "launcher/watch.h"
#include "launcher/report.h"
#include "launcher/watch_term.h"
#include "core/event.h"
#include "core/io.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { LINE_MAX_BYTES = 8192, WINDOW = 64, WINDOW_MS = 250 };

struct rank {
	struct ls_rank_view view;
	struct ls_str line[2], event; /* unfinished lines of stdout, stderr, and the event pipe */
	struct ls_strv tail;          /* ring of LS_TAIL_LINES */
	size_t tail_at;
	int log;
	bool told;                    /* that an event of its cannot be read */
};

struct ls_watch {
	struct ls_watch_options opt;
	struct ls_term *term;
	FILE *steps;
	bool steps_bad;               /* a row could not be written, and that was said */
	unsigned attempt;
	struct rank *ranks;
	int world;
	/* facts */
	long long step, total, resumed, generation;
	double loss;
	struct ls_saved *saved;
	struct ls_skipped *skipped;
	struct ls_result *results;
	size_t n_saved, n_skipped, n_results;
	struct ls_strv warnings;
	/* samples and steps at a few moments of the last seconds, for the rate */
	struct { double t; long long samples, step; } window[WINDOW];
	int window_n;
	long long samples;
	double told_ms, wait_ms;      /* over the steps of this attempt, of all ranks, that told both */
};

ls_status ls_watch_open(const struct ls_watch_options *opt, struct ls_watch **ret, struct ls_err *err)
{
	struct ls_watch *w = calloc(1, sizeof(*w));
	struct ls_str path = { 0 };
	ls_status st = LS_OK;

	if (!w)
		return ls_fail_oom(err);
	w->opt = *opt;
	w->loss = NAN;
	w->term = ls_term_new(opt->quiet, opt->stop, opt->deadline_ms);
	ls_str_addf(&path, "%s/steps.csv", opt->dir);
	if (!w->term || path.oom) {
		st = ls_fail_oom(err);
	} else {
		w->steps = fopen(path.s, "ae");
		if (!w->steps)
			st = ls_fail(err, LS_AGAIN, errno, "cannot open %s", path.s);
		else if (fseek(w->steps, 0, SEEK_END) == 0 && ftell(w->steps) == 0)
			fputs(LS_STEPS_HEADER "\n", w->steps);
	}
	ls_str_release(&path);
	if (st)
		ls_watch_close(w);
	else
		*ret = w;
	return st;
}

static void ranks_release(struct ls_watch *w)
{
	int i;

	for (i = 0; i < w->world; i++) {
		struct rank *r = &w->ranks[i];

		ls_str_release(&r->line[0]);
		ls_str_release(&r->line[1]);
		ls_str_release(&r->event);
		ls_strv_release(&r->tail);
		ls_fd_close(&r->log);
	}
	free(w->ranks);
	w->ranks = NULL;
	w->world = 0;
}

void ls_watch_close(struct ls_watch *w)
{
	if (!w)
		return;
	ranks_release(w);
	if (w->steps)
		fclose(w->steps);
	ls_term_free(w->term);
	free(w->saved);
	free(w->skipped);
	free(w->results);
	ls_strv_release(&w->warnings);
	free(w);
}

static void rank_log_path(const struct ls_watch *w, int rank, struct ls_str *ret)
{
	ls_str_addf(ret, "%s/attempt-%u/rank-%05d.log", w->opt.dir, w->attempt, rank);
}

ls_status ls_watch_attempt(struct ls_watch *w, unsigned attempt, int world, struct ls_err *err)
{
	struct ls_str path = { 0 };
	ls_status st;
	int i;

	ranks_release(w);
	w->ranks = calloc((size_t)world, sizeof(*w->ranks));
	if (!w->ranks)
		return ls_fail_oom(err);
	w->world = world;
	w->attempt = attempt;
	w->step = w->resumed = 0;
	w->samples = 0;
	w->told_ms = w->wait_ms = 0;
	w->window_n = 0;
	for (i = 0; i < world; i++) {
		w->ranks[i].log = -1;
		w->ranks[i].view.alive_ms = ls_clock_ms();
	}
	ls_str_addf(&path, "%s/attempt-%u", w->opt.dir, attempt);
	st = path.oom ? ls_fail_oom(err) : ls_mkdir_p(path.s, err);
	ls_str_release(&path);
	return st;
}

static void log_write(struct ls_watch *w, int rank, const char *bytes, size_t len)
{
	struct rank *r = &w->ranks[rank];
	struct ls_str path = { 0 };

	if (r->log == -2)
		return; /* failed before, and said so */
	if (r->log == -1) {
		rank_log_path(w, rank, &path);
		r->log = path.oom ? -1 : open(path.s, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
		ls_str_release(&path);
	}
	if (r->log < 0 || ls_write_all(r->log, bytes, len) < 0) {
		ls_watch_warn(w, "the log of rank %d is incomplete: %s", rank, strerror(errno));
		ls_fd_close(&r->log);
		r->log = -2;
	}
}

static void tail_add(struct rank *r, const char *line)
{
	if (r->tail.n < LS_TAIL_LINES) {
		ls_strv_add(&r->tail, line);
		return;
	}
	char *copy = strdup(line);

	if (!copy)
		return;
	free(r->tail.v[r->tail_at]);
	r->tail.v[r->tail_at] = copy;
	r->tail_at = (r->tail_at + 1) % LS_TAIL_LINES;
}

void ls_watch_tail(const struct ls_watch *w, int rank, struct ls_strv *ret)
{
	const struct rank *r;
	size_t i;

	if (rank < 0 || rank >= w->world)
		return;
	r = &w->ranks[rank];
	for (i = 0; i < r->tail.n; i++)
		ls_strv_add(ret, r->tail.v[(r->tail_at + i) % r->tail.n]);
}

static void show_line(struct ls_watch *w, int rank, int stream, const char *line)
{
	char prefix[32] = "";

	tail_add(&w->ranks[rank], line);
	if (!w->opt.no_prefix)
		snprintf(prefix, sizeof(prefix), "[%d] ", rank);
	ls_term_line(w->term, stream, prefix, line);
}

/* Take whole lines out of `buf`; an endless one is cut, so that memory stays bounded. */
static void each_line(struct ls_watch *w, int rank, int stream, struct ls_str *buf,
	void (*use)(struct ls_watch *, int rank, int stream, const char *line))
{
	size_t used = 0;

	while (used < buf->len) {
		char *start = buf->s + used, *nl = memchr(start, '\n', buf->len - used);
		size_t len = nl ? (size_t)(nl - start) : buf->len - used;
		char cut[LINE_MAX_BYTES + 1];

		if (!nl && len < LINE_MAX_BYTES)
			break;
		if (len > LINE_MAX_BYTES) {
			len = LINE_MAX_BYTES;
			nl = NULL;
		}
		memcpy(cut, start, len);
		cut[len] = '\0';
		if (len && cut[len - 1] == '\r')
			cut[len - 1] = '\0';
		use(w, rank, stream, cut);
		used += len + (nl != NULL);
	}
	ls_str_cut(buf, used);
}

void ls_watch_output(struct ls_watch *w, int rank, int stream, const char *bytes, size_t len)
{
	struct ls_str *buf;

	if (rank < 0 || rank >= w->world || stream < 1 || stream > 2)
		return;
	buf = &w->ranks[rank].line[stream - 1];
	log_write(w, rank, bytes, len);
	if (!w->ranks[rank].view.uses_lib)
		w->ranks[rank].view.alive_ms = ls_clock_ms();
	ls_str_addn(buf, bytes, len);
	each_line(w, rank, stream, buf, show_line);
}

void ls_watch_rank_ended(struct ls_watch *w, int rank)
{
	struct rank *r = &w->ranks[rank];
	int stream;

	for (stream = 1; stream <= 2; stream++) {
		if (r->line[stream - 1].len)
			show_line(w, rank, stream, r->line[stream - 1].s);
		ls_str_release(&r->line[stream - 1]);
	}
	if (r->log >= 0)
		ls_fd_close(&r->log); /* opened again should there be more */
}

void ls_watch_stacks(struct ls_watch *w, int rank, const char *text, size_t len)
{
	log_write(w, rank, "--- lockstep: the program's threads when it hung ---\n", 53);
	log_write(w, rank, text, len);
}

/* --- events ------------------------------------------------------------------------------------------------------------ */

static void on_hello(struct ls_watch *w, int rank, const char *line)
{
	w->ranks[rank].view.uses_lib = true;
	w->ranks[rank].view.lib_world = (int)ls_event_int(line, "world", 0);
}

static void window_add(struct ls_watch *w, long long step)
{
	double now = ls_clock_s();
	int n = w->window_n;

	if (n && now - w->window[(n - 1) % WINDOW].t < WINDOW_MS / 1000.0)
		return;
	w->window[n % WINDOW].t = now;
	w->window[n % WINDOW].samples = w->samples;
	w->window[n % WINDOW].step = step;
	w->window_n++;
}

static void on_progress(struct ls_watch *w, int rank, const char *line)
{
	struct rank *r = &w->ranks[rank];
	long long step = ls_event_int(line, "step", -1), total = ls_event_int(line, "total", 0);
	long long samples = ls_event_int(line, "samples", 0);
	double loss = ls_event_num(line, "loss", NAN), ms = ls_event_num(line, "ms", NAN), wait_ms = ls_event_num(line, "wait_ms", NAN);
	struct timespec ts;

	if (step < 0) {
		if (!r->told)
			ls_watch_warn(w, "rank %d sent a progress line without a step (docs/environment.md): %.80s", rank, line);
		r->told = true;
		return;
	}
	clock_gettime(CLOCK_REALTIME, &ts);
	r->view.step = step;
	r->view.alive_ms = ls_clock_ms();
	fprintf(w->steps, "%u,%d,%lld,%lld,%.17g,%lld,%.6g,%lld.%03ld,%.6g\n", w->attempt, rank, step,
		ls_event_int(line, "epoch", 0), loss, samples, ms, (long long)ts.tv_sec, ts.tv_nsec / 1000000, wait_ms);
	if (ms >= 0 && wait_ms >= 0) {
		w->told_ms += ms;
		w->wait_ms += wait_ms;
	}
	w->samples += samples;
	if (total)
		w->total = total;
	if (rank == 0 || step > w->step + 1) {
		if (step > w->step)
			w->step = step;
		if (rank == 0)
			w->loss = loss;
		window_add(w, step);
	}
}

static void on_resumed(struct ls_watch *w, int rank, const char *line)
{
	char from[16] = "";

	if (rank != 0)
		return;
	w->resumed = ls_event_int(line, "step", 0);
	if (w->resumed > w->step)
		w->step = w->resumed;
	ls_event_word(line, "from", from, sizeof(from));
	ls_watch_say(w, false, "resumed from step %lld%s", w->resumed, strcmp(from, "memory") ? "" : ", in memory");
}

static void on_claimed(struct ls_watch *w, int rank, const char *line)
{
	if (rank == 0)
		w->generation = ls_event_int(line, "generation", w->generation);
}

static void on_saved(struct ls_watch *w, int rank, const char *line)
{
	struct ls_saved *v = realloc(w->saved, (w->n_saved + 1) * sizeof(*v));

	(void)rank;
	if (!v)
		return;
	w->saved = v;
	v += w->n_saved++;
	*v = (struct ls_saved){ .step = ls_event_int(line, "step", 0), .bytes = ls_event_int(line, "bytes", 0),
		.ms = ls_event_num(line, "ms", 0), .stall_ms = ls_event_num(line, "stall", 0) };
	ls_time_rfc3339(v->time);
	ls_event_word(line, "uri", v->uri, sizeof(v->uri));
}

static void on_skipped(struct ls_watch *w, int rank, const char *line)
{
	struct ls_skipped *v = realloc(w->skipped, (w->n_skipped + 1) * sizeof(*v));

	(void)rank;
	if (!v)
		return;
	w->skipped = v;
	v += w->n_skipped++;
	*v = (struct ls_skipped){ .step = ls_event_int(line, "step", 0) };
	ls_event_word(line, "text", v->why, sizeof(v->why));
	ls_watch_warn(w, "checkpoint of step %lld is passed over: %s", v->step, v->why);
}

static void on_savefailed(struct ls_watch *w, int rank, const char *line)
{
	char why[1024] = "";

	(void)rank;
	ls_event_word(line, "text", why, sizeof(why));
	ls_watch_warn(w, "checkpoint of step %lld was not saved, training goes on: %s", ls_event_int(line, "step", 0), why);
}

static void on_result(struct ls_watch *w, int rank, const char *line)
{
	struct ls_result *v, one = { .value = ls_event_num(line, "value", NAN) };
	size_t i;

	if (rank != 0 || !ls_event_word(line, "name", one.name, sizeof(one.name)))
		return;
	for (i = 0; i < w->n_results; i++) {
		if (!strcmp(w->results[i].name, one.name)) {
			w->results[i] = one;
			return;
		}
	}
	v = realloc(w->results, (w->n_results + 1) * sizeof(*v));
	if (!v)
		return;
	w->results = v;
	w->results[w->n_results++] = one;
}

static void on_warning(struct ls_watch *w, int rank, const char *line)
{
	char text[1024] = "";

	ls_event_word(line, "text", text, sizeof(text));
	ls_watch_warn(w, "rank %d: %s", rank, text);
}

static void on_error(struct ls_watch *w, int rank, const char *line)
{
	struct ls_rank_view *v = &w->ranks[rank].view;

	ls_event_word(line, "status", v->error_status, sizeof(v->error_status));
	ls_event_word(line, "text", v->error, sizeof(v->error));
}

static void on_stopping(struct ls_watch *w, int rank, const char *line)
{
	w->ranks[rank].view.stopping = true;
	if (rank == 0)
		ls_watch_say(w, false, "stopped at step %lld, as asked", ls_event_int(line, "step", 0));
}

static const struct {
	const char *verb;
	void (*handle)(struct ls_watch *w, int rank, const char *line);
} verbs[] = {
	{ "progress", on_progress },
	{ "hello", on_hello },
	{ "resumed", on_resumed },
	{ "claimed", on_claimed },
	{ "saved", on_saved },
	{ "skipped", on_skipped },
	{ "savefailed", on_savefailed },
	{ "result", on_result },
	{ "warning", on_warning },
	{ "error", on_error },
	{ "stopping", on_stopping },
};

static void event_line(struct ls_watch *w, int rank, int stream, const char *line)
{
	size_t i;

	(void)stream;
	for (i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
		if (ls_event_is(line, verbs[i].verb)) {
			verbs[i].handle(w, rank, line);
			return;
		}
	}
}

void ls_watch_event(struct ls_watch *w, int rank, const char *bytes, size_t len)
{
	if (rank < 0 || rank >= w->world)
		return;
	ls_str_addn(&w->ranks[rank].event, bytes, len);
	each_line(w, rank, 0, &w->ranks[rank].event, event_line);
}

/* --- words and facts --------------------------------------------------------------------------------------------------- */

void ls_watch_say(struct ls_watch *w, bool always, const char *fmt, ...)
{
	struct ls_str text = { 0 };
	va_list ap;

	if (w->opt.quiet && !always)
		return;
	va_start(ap, fmt);
	ls_str_vaddf(&text, fmt, ap);
	va_end(ap);
	ls_term_line(w->term, 2, "lockstep: ", ls_str_text(&text));
	ls_str_release(&text);
}

void ls_watch_warn(struct ls_watch *w, const char *fmt, ...)
{
	struct ls_str text = { 0 };
	va_list ap;

	va_start(ap, fmt);
	ls_str_vaddf(&text, fmt, ap);
	va_end(ap);
	ls_strv_add(&w->warnings, ls_str_text(&text));
	ls_term_line(w->term, 2, "lockstep: warning: ", ls_str_text(&text));
	ls_str_release(&text);
}

const struct ls_rank_view *ls_watch_rank(const struct ls_watch *w, int rank)
{
	return &w->ranks[rank].view;
}

void ls_watch_facts(const struct ls_watch *w, struct ls_facts *ret)
{
	int n = w->window_n, first = n > WINDOW ? n - WINDOW : 0;

	*ret = (struct ls_facts){ .step = w->step, .total = w->total, .resumed = w->resumed, .generation = w->generation, .loss = w->loss, .eta_s = -1,
		.waiting = w->told_ms > 0 ? w->wait_ms / w->told_ms : NAN,
		.saved = w->saved, .n_saved = w->n_saved, .skipped = w->skipped, .n_skipped = w->n_skipped,
		.results = w->results, .n_results = w->n_results, .warnings = &w->warnings };
	if (n - first >= 2) {
		double dt = w->window[(n - 1) % WINDOW].t - w->window[first % WINDOW].t;
		long long steps = w->window[(n - 1) % WINDOW].step - w->window[first % WINDOW].step;

		ret->rate = (double)(w->window[(n - 1) % WINDOW].samples - w->window[first % WINDOW].samples) / dt;
		if (w->total && steps > 0)
			ret->eta_s = (double)(w->total - w->step) * dt / (double)steps;
	}
}

void ls_watch_tick(struct ls_watch *w)
{
	struct ls_facts f;

	if ((fflush(w->steps) || ferror(w->steps)) && !w->steps_bad) {
		w->steps_bad = true;
		ls_watch_warn(w, "steps.csv is incomplete: %s", strerror(errno));
	}
	ls_watch_facts(w, &f);
	ls_term_progress(w->term, &f);
}
