/* report_steps.h -- steps.csv folded into what a page can draw.
 *
 * Terms: an attempt's row is *live* while no later attempt did its step again, else it is *redone* work. The curve of a
 * run is its live rows; they cover every step at most once per rank.
 *
 *   Invariant  rows == live + redone; cells partition [first, last] and [from, to] evenly.
 *   Bounds     LS_RANKS_MAX ranks, LS_ATTEMPTS_MAX attempts; rows beyond them count as unreadable.
 *   Ownership  ls_steps_release() frees what ls_steps_read() made, also after a failure.
 */
#ifndef LS_REPORT_STEPS_H
#define LS_REPORT_STEPS_H

#include "core/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { LS_RANKS_MAX = 16384, LS_ATTEMPTS_MAX = 4096, LS_LOSS_CELLS = 480, LS_TIME_CELLS = 160, LS_RATE_CELLS = 240 };
enum { LS_HIST_BINS = 2600 };

struct ls_step_row {
	long long attempt, rank, step, epoch, samples;
	double loss, ms, unix_s;
	double wait_ms; /* of ms; NaN: not told, or a row of before there was such a column */
};

/* A histogram of times with bins of 1%: 0.001 ms to 47 hours. Quantiles are good to 1%, mostly far better. */
struct ls_hist {
	uint64_t n;
	double min, max;
	uint32_t bin[LS_HIST_BINS];
};

struct ls_cell { /* losses of neighbouring steps, all ranks */
	double sum, min, max;
	uint64_t n, bad; /* finite ones, and the others */
};

struct ls_wait { /* of steps that told how long they waited for other ranks */
	double ms, of_ms; /* all their waiting, and all their time */
	uint64_t n;
};

struct ls_attempt_steps {
	long long first, last;  /* its steps; first > last: it finished none */
	long long redone_from;  /* its steps from here on were done again; LLONG_MAX: none */
	double begin;           /* when its first step began, unix */
	double live_begin, live_end; /* of its live steps; live_end == 0: none */
};

struct ls_steps {
	int64_t rows, redone, unreadable;
	long long first, last;  /* steps over all attempts; valid when rows > 0 */
	double from, to;        /* unix */

	struct ls_attempt_steps *attempts; /* [n_attempts], by number */
	int n_attempts;
	struct ls_hist **ranks; /* [n_ranks], live step times in ms; NULL: the rank reported none */
	int n_ranks;

	int loss_cells, time_cells, rate_cells;
	struct ls_cell loss[LS_LOSS_CELLS], loss_redone[LS_LOSS_CELLS];
	struct ls_hist time[LS_TIME_CELLS];
	struct ls_wait wait[LS_TIME_CELLS], wait_all; /* of live steps */
	double rate[LS_RATE_CELLS]; /* samples per second, all ranks */

	long long final_step;   /* the last live one */
	struct ls_cell first_loss, final_loss; /* of the first and the last live step */
	int64_t bad_losses;     /* live rows whose loss is NaN or infinite; the first of them: */
	long long bad_step, bad_rank;
};

/* One line without its newline. False: not a row. */
bool ls_step_row_parse(const char *line, size_t len, struct ls_step_row *ret);
/* The same, but a row whose program did not tell its step's time is one, too: ms is NaN. */
bool ls_step_row_parse_any(const char *line, size_t len, struct ls_step_row *ret);

/* A missing file is a run that finished no step: rows == 0. */
ls_status ls_steps_read(const char *path, struct ls_steps *ret, struct ls_err *err);
void ls_steps_release(struct ls_steps *steps);

double ls_cell_mean(const struct ls_cell *cell); /* NaN: no finite one */
void ls_hist_add(struct ls_hist *hist, double ms);
double ls_hist_quantile(const struct ls_hist *hist, double q); /* NaN when empty */

/* Seconds between steps that counted which went into failing, starting again and repeating. `started` is when the
 * job started (0: unknown), for attempts that never got to a step. */
double ls_steps_lost_s(const struct ls_steps *steps, double started);
/* Median over the time in which steps were made; NaN: none. */
double ls_steps_median_rate(const struct ls_steps *steps);
/* The rank with the longest median step, and how much longer than the median of the others' medians it is (0.25: 25%).
 * -1: fewer than two ranks. */
int ls_steps_slowest(const struct ls_steps *steps, double *ret_excess, double *ret_others_ms);

#endif
