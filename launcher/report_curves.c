/* report_curves.c -- the three curves: loss and step time over steps, throughput over time.
 *
 * A curve's cell is drawn as its mean (or median) with a band from lowest to highest, so that a spike of one step in a
 * million is still seen. Steps that were done again are drawn wider and fainter below: where training is deterministic
 * the two curves are the same, and a thin one would hide. */
#include "launcher/report_parts.h"
#include "core/sort.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Everything that the charts point into; one allocation. */
struct curves {
	double x[LS_LOSS_CELLS], y[LS_LOSS_CELLS], lo[LS_LOSS_CELLS], hi[LS_LOSS_CELLS];
	double redone_x[LS_LOSS_CELLS], redone_y[LS_LOSS_CELLS], bad_x[LS_LOSS_CELLS];
	double wait[LS_TIME_CELLS];
	struct ls_mark marks[LS_ATTEMPTS_MAX];
};

/* The middle of a cell of steps; 5 for the one step 5. */
static double cell_step(const struct ls_steps *s, int cell, int cells)
{
	return (double)s->first + (cell + 0.5) * (double)(s->last - s->first + 1) / cells - 0.5;
}

static void step_axis(struct ls_axis *axis, const struct ls_steps *s)
{
	bool from_start = (double)s->first <= 0.05 * (double)s->last;

	ls_axis_linear(axis, from_start && s->last > 1 ? 0 : (double)s->first, (double)s->last, 8, LS_TICKS_WHOLE);
}

/* Where attempts after the first began, and how far the one before had come. */
static int step_marks(const struct ls_steps *s, struct ls_mark *marks)
{
	long long reached = -1;
	int a, n = 0;

	for (a = 0; a < s->n_attempts; a++) {
		const struct ls_attempt_steps *at = &s->attempts[a];

		if (at->last < 0)
			continue;
		if (reached >= 0)
			marks[n++] = (struct ls_mark){ (double)at->first - 1, (double)reached, a };
		reached = at->last > reached || at->first <= reached ? at->last : reached;
	}
	return n;
}

/* --- loss --------------------------------------------------------------------------------------------------------- */

static int loss_points(const struct ls_steps *s, struct curves *c, int *ret_bad)
{
	int i, n = 0, bad = 0;

	for (i = 0; i < s->loss_cells; i++) {
		const struct ls_cell *cell = &s->loss[i];
		double x = cell_step(s, i, s->loss_cells);

		if (cell->bad)
			c->bad_x[bad++] = x;
		if (!cell->n && !cell->bad)
			continue; /* a program that reports every tenth step still has one line */
		c->x[n] = x;
		c->y[n] = ls_cell_mean(cell);
		c->lo[n] = cell->min;
		c->hi[n] = cell->max;
		n++;
	}
	*ret_bad = bad;
	return n;
}

static int redone_points(const struct ls_steps *s, struct curves *c)
{
	int i, n = 0;

	for (i = 0; i < s->loss_cells; i++) {
		const struct ls_cell *cell = &s->loss_redone[i];

		if (!cell->n && (!s->loss[i].n || !n || isnan(c->redone_y[n - 1])))
			continue;
		c->redone_x[n] = cell_step(s, i, s->loss_cells);
		c->redone_y[n++] = ls_cell_mean(cell); /* NaN where only live steps are: ends a piece */
	}
	return n;
}

/* Logarithmic when all is positive and the curve falls by more than a factor of 20. */
static void loss_axis(struct ls_axis *axis, const struct curves *c, int n, int redone)
{
	double lo = INFINITY, hi = -INFINITY;
	int i;

	for (i = 0; i < n; i++)
		if (!isnan(c->y[i])) {
			lo = fmin(lo, c->lo[i]);
			hi = fmax(hi, c->hi[i]);
		}
	for (i = 0; i < redone; i++)
		if (!isnan(c->redone_y[i])) {
			lo = fmin(lo, c->redone_y[i]);
			hi = fmax(hi, c->redone_y[i]);
		}
	if (lo > 0 && hi / lo > 20)
		ls_axis_log(axis, lo, hi);
	else
		ls_axis_linear(axis, lo > 0 && lo < 0.3 * hi ? 0 : lo, hi, 5, LS_TICKS_SNAP);
}

static void loss_say(struct ls_str *page, const struct ls_steps *s, const struct ls_mark *marks, int restarts)
{
	char first[32], last[32], step[32], redone[32];
	double again = 0;
	int i;

	for (i = 0; i < restarts; i++)
		again += fmax(marks[i].until - marks[i].x, 0);
	ls_text_value(first, ls_cell_mean(&s->first_loss));
	ls_text_value(last, ls_cell_mean(&s->final_loss));
	ls_text_count(step, (double)s->final_step);
	ls_text_count(redone, again);
	ls_str_add(page, "<p class=\"say\">");
	if (s->first_loss.n && s->final_loss.n && s->last > s->first)
		ls_str_addf(page, "From %s at step %lld to %s at step %s. ", first, s->first, last, step);
	if (restarts)
		ls_str_addf(page, "A dashed line marks where a new attempt went on; %s step%s, shaded, %s done again.",
			redone, again == 1 ? "" : "s", again == 1 ? "was" : "were");
	ls_str_add(page, "</p>");
	if (s->bad_losses) {
		ls_text_count(step, (double)s->bad_losses);
		ls_str_add(page, "<p class=\"alarm\">The loss was NaN or infinite in ");
		ls_str_addf(page, "%s row%s, first at step %lld on rank %lld.</p>",
			step, s->bad_losses == 1 ? "" : "s", s->bad_step, s->bad_rank);
	}
}

static void loss_chart(struct ls_str *page, const struct ls_steps *s, struct curves *c)
{
	int n_bad, n = loss_points(s, c, &n_bad), redone = redone_points(s, c);
	struct ls_series series[2] = {
		{.name = "loss, mean of the ranks",
			.css = "main",
			.x = c->x,
			.y = c->y,
			.lo = c->lo,
			.hi = c->hi,
			.n = n,
			.band = s->last - s->first >= s->loss_cells ? "lowest to highest, ranks and neighbouring steps"
								    : "lowest to highest rank"},
		{.name = "steps that were done again",
			.css = "redone",
			.x = c->redone_x,
			.y = c->redone_y,
			.n = redone},
	};
	struct ls_chart chart = { .title = "Loss over steps", .x_label = "step", .hover = "step", .series = series,
		.n_series = redone ? 2 : 1, .marks = c->marks, .bad_x = c->bad_x, .n_bad = n_bad };

	step_axis(&chart.x, s);
	loss_axis(&chart.y, c, n, redone);
	chart.y_label = chart.y.log ? "loss, logarithmic" : "loss";
	chart.n_marks = step_marks(s, c->marks);
	ls_str_add(page, "<section class=\"tall\"><h2>Loss</h2>");
	loss_say(page, s, c->marks, chart.n_marks);
	ls_chart_add(page, &chart);
	ls_str_add(page, "</section>");
}

/* --- step time ---------------------------------------------------------------------------------------------------- */

/* A first step that compiles or a checkpoint takes a hundred times longer than a step: the axis ends a little above all
 * but the highest 3% of the cells, and what is higher runs along the upper edge. */
static double time_axis_end(const double *hi, int n)
{
	double sorted[LS_TIME_CELLS], high;

	memcpy(sorted, hi, (size_t)n * sizeof(*hi));
	ls_sort(sorted, (size_t)n);
	high = 1.4 * sorted[(n - 1) - n * 3 / 100];
	return fmin(high, sorted[n - 1]);
}

static void time_chart(struct ls_str *page, const struct ls_steps *s, struct curves *c)
{
	struct ls_series series[2] = {
		{ .name = "median of the ranks", .css = "main", .band = "5th to 95th percentile", .x = c->x, .y = c->y, .lo = c->lo, .hi = c->hi },
		{ .name = "of it, in communication (mean)", .css = "waiting", .x = c->x, .y = c->wait },
	};
	struct ls_chart chart = {.title = "Step time over steps",
		.x_label = "step",
		.hover = "step",
		.series = series,
		.n_series = s->wait_all.n ? 2 : 1,
		.marks = c->marks};
	double end, unit;
	int i, n = 0;

	for (i = 0; i < s->time_cells; i++) {
		if (!s->time[i].n)
			continue;
		c->x[n] = cell_step(s, i, s->time_cells);
		c->y[n] = ls_hist_quantile(&s->time[i], 0.5);
		c->lo[n] = ls_hist_quantile(&s->time[i], 0.05);
		c->wait[n] = s->wait[i].n ? s->wait[i].ms / (double)s->wait[i].n : NAN;
		c->hi[n++] = ls_hist_quantile(&s->time[i], 0.95);
	}
	end = time_axis_end(c->hi, n);
	unit = end < 1 ? 1e3 : end < 1000 ? 1 : 1e-3;
	for (i = 0; i < n; i++) {
		c->y[i] *= unit;
		c->lo[i] *= unit;
		c->hi[i] *= unit;
		c->wait[i] *= unit;
	}
	series[0].n = series[1].n = n;
	step_axis(&chart.x, s);
	ls_axis_linear(&chart.y, 0, end > 0 ? end * unit : 1, 4, LS_TICKS_SNAP);
	chart.y_label = unit > 1 ? "step time, µs" : unit < 1 ? "step time, s" : "step time, ms";
	chart.n_marks = step_marks(s, c->marks);
	ls_str_add(page, "<section><h2>Step time</h2>");
	if (s->wait_all.of_ms > 0)
		ls_str_addf(page, "<p class=\"say\">%.1f%% of the ranks’ time went into communication.</p>", 100 * s->wait_all.ms / s->wait_all.of_ms);
	ls_chart_add(page, &chart);
	ls_str_add(page, "</section>");
}

/* --- throughput --------------------------------------------------------------------------------------------------- */

static const char *time_unit(double span, double *ret_seconds)
{
	*ret_seconds = span < 180 ? 1 : span < 3 * 3600 ? 60 : span < 3 * 86400 ? 3600 : 86400;
	return span < 180 ? "seconds since the first step" : span < 3 * 3600 ? "minutes since the first step" :
		span < 3 * 86400 ? "hours since the first step" : "days since the first step";
}

static int time_marks(const struct ls_steps *s, double unit, struct ls_mark *marks)
{
	int a, n = 0, before = 0;

	for (a = 0; a < s->n_attempts; a++) {
		if (s->attempts[a].last < 0)
			continue;
		if (before++)
			marks[n++] = (struct ls_mark){ .x = (s->attempts[a].begin - s->from) / unit, .attempt = a };
	}
	return n;
}

static void rate_chart(struct ls_str *page, const struct ls_steps *s, struct curves *c)
{
	struct ls_series series = { .name = "samples per second", .css = "main", .x = c->x, .y = c->y, .area = true,
		.n = s->rate_cells };
	struct ls_chart chart = { .title = "Throughput over time", .y_label = "samples per second", .hover = "t =",
		.series = &series, .n_series = 1, .marks = c->marks };
	double span = s->to - s->from, unit, most = 0;
	int i;

	chart.x_label = time_unit(span, &unit);
	for (i = 0; i < s->rate_cells; i++) {
		c->x[i] = (i + 0.5) * span / s->rate_cells / unit;
		c->y[i] = s->rate[i];
		most = fmax(most, s->rate[i]);
	}
	ls_axis_linear(&chart.x, 0, span > 0 ? span / unit : 1, 6, LS_TICKS_FREE);
	ls_axis_linear(&chart.y, 0, most > 0 ? most : 1, 4, LS_TICKS_SNAP);
	chart.n_marks = time_marks(s, unit, c->marks);
	ls_str_add(page, "<section><h2>Throughput</h2>");
	ls_chart_add(page, &chart);
	ls_str_add(page, "</section>");
}

void ls_report_charts(struct ls_str *page, const struct ls_report *r)
{
	struct curves *c;

	if (!r->steps->rows) {
		ls_str_add(page, "<section><h2>Steps</h2><p class=\"say\">No rank reported a finished step, so there "
				 "is nothing to draw. Programs report steps with lockstep_step_end(), or with a "
				 "progress line on the descriptor LOCKSTEP_EVENT_FD.</p></section>");
		return;
	}
	c = calloc(1, sizeof(*c));
	if (!c) {
		page->oom = true;
		return;
	}
	loss_chart(page, r->steps, c);
	ls_str_add(page, "<div class=\"pair\">");
	time_chart(page, r->steps, c);
	rate_chart(page, r->steps, c);
	ls_str_add(page, "</div>");
	free(c);
}
