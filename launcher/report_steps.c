/* report_steps.c -- steps.csv, read twice as a stream: once for its ranges, once into cells.
 *
 * Two passes cost a second read of a file that is in the page cache, and buy exact answers: which rows were done again
 * is known before the first is drawn, and cells are equally wide. Both passes stop at the size that the file had at
 * first, so that a run that goes on writes no row that only one of them sees.
 * It does not repair: a line that is not a row is counted, and the page says how many there were. */
#include "launcher/report_steps.h"
#include "launcher/report.h"
#include "core/io.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { BLOCK = 65536 };
#define STEP_MAX 1000000000000000LL /* exact in a double, and a cell's index cannot overflow */
#define HIST_LOW_MS 1e-3
#define HIST_RATIO 1.01

static bool field_int(const char **p, char end, long long max, long long *ret)
{
	char *after;
	long long v;

	if (**p < '0' || **p > '9')
		return false;
	errno = 0;
	v = strtoll(*p, &after, 10);
	if (errno || v > max || *after != end)
		return false;
	*p = after + 1;
	*ret = v;
	return true;
}

static bool field_num(const char **p, char end, double *ret)
{
	char *after;

	if (strchr(" \t+", **p)) /* also the end of the line */
		return false;
	*ret = strtod(*p, &after);
	if (after == *p || *after != end)
		return false;
	*p = after + 1;
	return true;
}

bool ls_step_row_parse_any(const char *line, size_t len, struct ls_step_row *ret)
{
	struct ls_step_row row = { .wait_ms = NAN };
	const char *p = line;

	if (!field_int(&p, ',', LS_ATTEMPTS_MAX - 1, &row.attempt) ||
		!field_int(&p, ',', LS_RANKS_MAX - 1, &row.rank) || !field_int(&p, ',', STEP_MAX, &row.step) ||
		!field_int(&p, ',', STEP_MAX, &row.epoch) || !field_num(&p, ',', &row.loss) ||
		!field_int(&p, ',', STEP_MAX, &row.samples) || !field_num(&p, ',', &row.ms))
		return false;
	/* A row of before wait_ms ends here. */
	if (!field_num(&p, '\0', &row.unix_s) && !(field_num(&p, ',', &row.unix_s) && field_num(&p, '\0', &row.wait_ms)))
		return false;
	if (p != line + len + 1 || row.ms < 0 || row.ms >= 1e10 || row.wait_ms < 0 || row.wait_ms >= 1e10 ||
		!(row.unix_s > 0 && row.unix_s < 1e11))
		return false;
	*ret = row;
	return true;
}

bool ls_step_row_parse(const char *line, size_t len, struct ls_step_row *ret)
{
	struct ls_step_row row;

	if (!ls_step_row_parse_any(line, len, &row) || isnan(row.ms))
		return false;
	*ret = row;
	return true;
}

/* --- histograms --------------------------------------------------------------------------------------------------- */

void ls_hist_add(struct ls_hist *hist, double ms)
{
	double at = ms > HIST_LOW_MS ? log(ms / HIST_LOW_MS) / log(HIST_RATIO) : 0;
	int i = at < LS_HIST_BINS - 1 ? (int)at : LS_HIST_BINS - 1;

	if (!hist->n || ms < hist->min)
		hist->min = ms;
	if (!hist->n || ms > hist->max)
		hist->max = ms;
	hist->n++;
	if (hist->bin[i] < UINT32_MAX)
		hist->bin[i]++;
}

double ls_hist_quantile(const struct ls_hist *hist, double q)
{
	double below = 0, want = q * (double)hist->n, v;
	int i;

	if (!hist->n)
		return NAN;
	for (i = 0; i < LS_HIST_BINS - 1; i++) {
		if (hist->bin[i] && below + hist->bin[i] >= want)
			break;
		below += hist->bin[i];
	}
	if (i == 0)
		return hist->min;
	v = HIST_LOW_MS * pow(HIST_RATIO, i + (hist->bin[i] ? (want - below) / hist->bin[i] : 0));
	return v < hist->min ? hist->min : v > hist->max ? hist->max : v;
}

/* --- pass 1: ranges ----------------------------------------------------------------------------------------------- */

static bool attempts_grow(struct ls_steps *s, int want)
{
	struct ls_attempt_steps *list;

	if (want <= s->n_attempts)
		return true;
	list = realloc(s->attempts, (size_t)want * sizeof(*list));
	if (!list)
		return false;
	s->attempts = list;
	for (; s->n_attempts < want; s->n_attempts++)
		list[s->n_attempts] =
			(struct ls_attempt_steps){.first = LLONG_MAX, .last = -1, .redone_from = LLONG_MAX};
	return true;
}

static bool ranks_grow(struct ls_steps *s, int rank)
{
	struct ls_hist **list;

	if (rank >= s->n_ranks) {
		list = realloc(s->ranks, (size_t)(rank + 1) * sizeof(*list));
		if (!list)
			return false;
		s->ranks = list;
		for (; s->n_ranks <= rank; s->n_ranks++)
			list[s->n_ranks] = NULL;
	}
	if (!s->ranks[rank])
		s->ranks[rank] = calloc(1, sizeof(struct ls_hist));
	return s->ranks[rank] != NULL;
}

static bool range_add(struct ls_steps *s, const struct ls_step_row *row)
{
	double begin = row->unix_s - row->ms / 1000;
	struct ls_attempt_steps *a;

	if (!attempts_grow(s, (int)row->attempt + 1) || !ranks_grow(s, (int)row->rank))
		return false;
	a = &s->attempts[row->attempt];
	if (a->last < 0 || begin < a->begin)
		a->begin = begin;
	a->first = row->step < a->first ? row->step : a->first;
	a->last = row->step > a->last ? row->step : a->last;
	if (!s->rows || row->step < s->first)
		s->first = row->step;
	if (!s->rows || row->step > s->last)
		s->last = row->step;
	if (!s->rows || begin < s->from)
		s->from = begin;
	if (!s->rows || row->unix_s > s->to)
		s->to = row->unix_s;
	s->rows++;
	return true;
}

static int cells_for(double want, int max)
{
	return want < 1 ? 1 : want > max ? max : (int)want;
}

/* An attempt's work stands up to the first step that any later attempt did. */
static void cells_plan(struct ls_steps *s)
{
	long long steps = s->last - s->first + 1, limit = LLONG_MAX;
	int a;

	for (a = s->n_attempts - 1; a >= 0; a--) {
		s->attempts[a].redone_from = limit;
		if (s->attempts[a].first < limit)
			limit = s->attempts[a].first;
	}
	s->loss_cells = cells_for((double)steps, LS_LOSS_CELLS);
	s->time_cells = cells_for((double)steps, LS_TIME_CELLS);
	/* At least four steps each, so that the rate does not beat against the steps. */
	s->rate_cells = cells_for((double)steps / 4, LS_RATE_CELLS);
	s->final_step = -1;
}

/* --- pass 2: cells ------------------------------------------------------------------------------------------------ */

double ls_cell_mean(const struct ls_cell *c)
{
	return c->n ? c->sum / (double)c->n : NAN;
}

static void cell_add(struct ls_cell *c, double loss)
{
	if (!(fabs(loss) < 1e300)) { /* NaN, infinite, or so large that a sum would be */
		c->bad++;
		return;
	}
	if (!c->n || loss < c->min)
		c->min = loss;
	if (!c->n || loss > c->max)
		c->max = loss;
	c->sum += loss;
	c->n++;
}

/* A step's samples are spread over the time that it took: cells narrower than a step stay right. */
static void rate_add(struct ls_steps *s, const struct ls_step_row *row)
{
	double width = (s->to - s->from) / s->rate_cells, end = row->unix_s, begin = end - row->ms / 1000;
	int i, n = s->rate_cells;

	if (!(width > 0))
		return;
	if (end - begin < 1e-9)
		begin = end - 1e-9;
	i = (int)((begin - s->from) / width);
	for (i = i < 0 ? 0 : i >= n ? n - 1 : i; i < n; i++) {
		double lo = s->from + i * width, hi = lo + width;

		if (lo >= end)
			break;
		lo = lo > begin ? lo : begin;
		hi = hi < end ? hi : end;
		if (hi > lo)
			s->rate[i] += (double)row->samples * (hi - lo) / (end - begin) / width;
	}
}

static void note_bad(struct ls_steps *s, const struct ls_step_row *row)
{
	if (fabs(row->loss) < 1e300)
		return;
	if (!s->bad_losses || row->step < s->bad_step) {
		s->bad_step = row->step;
		s->bad_rank = row->rank;
	}
	s->bad_losses++;
}

static void wait_add(struct ls_wait *w, const struct ls_step_row *row)
{
	if (isnan(row->wait_ms))
		return;
	w->ms += row->wait_ms;
	w->of_ms += row->ms;
	w->n++;
}

static void ends_add(struct ls_steps *s, const struct ls_step_row *row)
{
	if (row->step == s->first)
		cell_add(&s->first_loss, row->loss);
	if (row->step < s->final_step)
		return;
	if (row->step > s->final_step)
		s->final_loss = (struct ls_cell){ 0 };
	s->final_step = row->step;
	cell_add(&s->final_loss, row->loss);
}

/* A row that pass 1 did not see means that somebody rewrote the file in between: leave it out, it has no place. */
static bool cells_add(struct ls_steps *s, const struct ls_step_row *row)
{
	long long steps = s->last - s->first + 1, at = row->step - s->first;
	double begin = row->unix_s - row->ms / 1000;
	struct ls_attempt_steps *a;
	struct ls_cell *loss;

	if (row->attempt >= s->n_attempts || row->rank >= s->n_ranks || !s->ranks[row->rank] || at < 0 || at >= steps)
		return true;
	a = &s->attempts[row->attempt];
	loss = row->step < a->redone_from ? s->loss : s->loss_redone;
	cell_add(&loss[at * s->loss_cells / steps], row->loss);
	rate_add(s, row);
	if (loss == s->loss_redone) {
		s->redone++;
		return true;
	}
	note_bad(s, row);
	ls_hist_add(&s->time[at * s->time_cells / steps], row->ms);
	ls_hist_add(s->ranks[row->rank], row->ms);
	wait_add(&s->wait[at * s->time_cells / steps], row);
	wait_add(&s->wait_all, row);
	if (!a->live_end || begin < a->live_begin)
		a->live_begin = begin;
	a->live_end = row->unix_s > a->live_end ? row->unix_s : a->live_end;
	ends_add(s, row);
	return true;
}

/* Reads the lines in [0, end), whole ones only, and hands the rows to `add`. */
static ls_status each_row(struct ls_steps *s, const char *path, int fd, off_t end,
	bool (*add)(struct ls_steps *, const struct ls_step_row *), struct ls_err *err)
{
	char *buf = malloc(BLOCK), *line, *nl;
	ls_status st = buf ? LS_OK : ls_fail_oom(err);
	size_t have = 0;
	off_t at = 0;

	s->unreadable = 0;
	while (!st && at < end) {
		size_t want = BLOCK - have;
		ssize_t n = ls_pread_all(fd, buf + have, (off_t)want < end - at ? want : (size_t)(end - at), at);

		if (n < 0)
			st = ls_fail(err, LS_AGAIN, errno, "cannot read %s", path);
		if (n <= 0)
			break;
		at += n;
		have += (size_t)n;
		for (line = buf; !st && (nl = memchr(line, '\n', have - (size_t)(line - buf))); line = nl + 1) {
			struct ls_step_row row;

			*nl = '\0';
			if (ls_step_row_parse(line, (size_t)(nl - line), &row))
				st = add(s, &row) ? LS_OK : ls_fail_oom(err);
			else if (strcmp(line, LS_STEPS_HEADER) && strcmp(line, LS_STEPS_HEADER_OLD))
				s->unreadable++;
		}
		have -= (size_t)(line - buf);
		memmove(buf, line, have);
		if (have == BLOCK)
			have = 0; /* no row is that long; what is left of it is no row either */
	}
	free(buf);
	return st;
}

ls_status ls_steps_read(const char *path, struct ls_steps *ret, struct ls_err *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat sb;
	ls_status st;

	memset(ret, 0, sizeof(*ret)); /* too large for a temporary on the stack */
	if (fd < 0)
		return errno == ENOENT ? LS_OK : ls_fail(err, LS_AGAIN, errno, "cannot open %s", path);
	st = fstat(fd, &sb) < 0 ? ls_fail(err, LS_AGAIN, errno, "cannot read %s", path) : LS_OK;
	if (!st)
		st = each_row(ret, path, fd, sb.st_size, range_add, err);
	if (!st && ret->rows) {
		cells_plan(ret);
		st = each_row(ret, path, fd, sb.st_size, cells_add, err);
	}
	ls_fd_close(&fd);
	return st;
}

void ls_steps_release(struct ls_steps *s)
{
	int i;

	for (i = 0; i < s->n_ranks; i++)
		free(s->ranks[i]);
	free(s->ranks);
	free(s->attempts);
	s->ranks = NULL;
	s->attempts = NULL;
	s->n_ranks = s->n_attempts = 0;
}
