/* cmd_bench_scale_seen.c -- steps.csv, as it grows, folded into steps of the job: one entry for the n-th report of all ranks.
 *
 * The n-th report, not the step's number: a program may report every tenth step. A step counts when all ranks that report at all have
 * reported it; the clock is the launcher's, at the last of them. What the slowest rank says of a step's time is the step's time. */
#include "launcher/cmd_bench_scale.h"
#include "launcher/report_steps.h"
#include "core/sort.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct step {
	double ms, unix_s, wait_ms, of_ms; /* of_ms: the time of the rows that told wait_ms */
	long long samples;
	int ranks;
};

struct ls_scale_seen {
	int world;
	struct { long n; double unix_s; } *ranks; /* [world]: reports so far, and when the last came */
	struct step *steps;
	long n, room;
	bool silent;               /* some report had no samples */
	struct ls_str line;        /* an unfinished one */
};

struct ls_scale_seen *ls_scale_seen_new(int world)
{
	struct ls_scale_seen *s = calloc(1, sizeof(*s));

	if (s)
		s->ranks = calloc((size_t)world, sizeof(*s->ranks));
	if (!s || !s->ranks) {
		free(s);
		return NULL;
	}
	s->world = world;
	return s;
}

void ls_scale_seen_free(struct ls_scale_seen *s)
{
	if (!s)
		return;
	free(s->ranks);
	free(s->steps);
	ls_str_release(&s->line);
	free(s);
}

static struct step *step_at(struct ls_scale_seen *s, long at)
{
	struct step *grown;

	if (at >= s->room) {
		grown = realloc(s->steps, (size_t)(2 * s->room + 256) * sizeof(*grown));
		if (!grown)
			return NULL;
		s->steps = grown;
		s->room = 2 * s->room + 256;
	}
	for (; s->n <= at; s->n++)
		s->steps[s->n] = (struct step){ 0 };
	return &s->steps[at];
}

/* A program that does not tell its step's time: what has passed since its last report. */
static double time_of(const struct ls_scale_seen *s, const struct ls_step_row *row)
{
	double before = s->ranks[row->rank].unix_s;

	return !isnan(row->ms) ? row->ms : before > 0 ? fmax((row->unix_s - before) * 1e3, 0) : 0;
}

static bool row_add(struct ls_scale_seen *s, const struct ls_step_row *row)
{
	struct step *step;
	double ms;

	if (row->rank >= s->world)
		return true;
	ms = time_of(s, row);
	step = step_at(s, s->ranks[row->rank].n++);
	if (!step)
		return false;
	s->ranks[row->rank].unix_s = row->unix_s;
	step->ms = fmax(step->ms, ms);
	step->unix_s = fmax(step->unix_s, row->unix_s);
	step->samples += row->samples;
	s->silent |= row->samples == 0;
	if (!isnan(row->wait_ms)) {
		step->wait_ms += row->wait_ms;
		step->of_ms += ms;
	}
	step->ranks++;
	return true;
}

ls_status ls_scale_seen_feed(struct ls_scale_seen *s, const char *bytes, size_t len, struct ls_err *err)
{
	struct ls_step_row row;
	char *line, *nl;
	size_t used = 0;

	ls_str_addn(&s->line, bytes, len);
	if (s->line.oom)
		return ls_fail_oom(err);
	while (s->line.len > used && (nl = memchr(s->line.s + used, '\n', s->line.len - used))) {
		line = s->line.s + used;
		*nl = '\0';
		if (ls_step_row_parse_any(line, (size_t)(nl - line), &row) && !row_add(s, &row))
			return ls_fail_oom(err);
		used += (size_t)(nl - line) + 1;
	}
	ls_str_cut(&s->line, used);
	return LS_OK;
}

/* Steps that all who tell steps have told. */
static long whole(const struct ls_scale_seen *s, int *ret_telling)
{
	long least = -1;
	int r, telling = 0;

	for (r = 0; r < s->world; r++)
		if (s->ranks[r].n) {
			least = least < 0 || s->ranks[r].n < least ? s->ranks[r].n : least;
			telling++;
		}
	*ret_telling = telling;
	return least < 0 ? 0 : least;
}

long ls_scale_seen_steps(const struct ls_scale_seen *s, int warmup, double *ret_seconds, bool *ret_all)
{
	int telling;
	long n = whole(s, &telling);

	*ret_all = telling == s->world;
	*ret_seconds = n > warmup ? s->steps[n - 1].unix_s - s->steps[warmup - 1].unix_s : 0;
	return n > warmup ? n - warmup : 0;
}

ls_status ls_scale_seen_run(const struct ls_scale_seen *s, int warmup, struct ls_scale_run *ret, struct ls_err *err)
{
	struct ls_scale_run run = { .samples = NAN, .rate = NAN, .waiting = NAN };
	long n = whole(s, &run.telling), i;
	double samples = 0, ms = 0, wait_ms = 0, of_ms = 0, *all;
	bool all_tell;

	run.steps = ls_scale_seen_steps(s, warmup, &run.clock_s, &all_tell);
	if (!n)
		return ls_fail(err, LS_DATA_BAD, 0, "no rank told a step: a program tells its steps with liblockstep, or by lines on LOCKSTEP_EVENT_FD "
			"(docs/environment.md)");
	if (!run.steps)
		return ls_fail(err, LS_DATA_BAD, 0, "the job ended after %ld step%s, and %d are to warm up: give it more steps, or --warmup fewer", n,
			n > 1 ? "s" : "", warmup);
	all = calloc((size_t)run.steps, sizeof(*all));
	if (!all)
		return ls_fail_oom(err);
	for (i = 0; i < run.steps; i++) {
		const struct step *step = &s->steps[warmup + i];

		all[i] = step->ms;
		ms += step->ms;
		samples += (double)step->samples;
		wait_ms += step->wait_ms;
		of_ms += step->of_ms;
	}
	ls_sort(all, (size_t)run.steps);
	run.step_ms = run.steps % 2 ? all[run.steps / 2] : (all[run.steps / 2 - 1] + all[run.steps / 2]) / 2;
	free(all);
	if (!(run.clock_s > 0)) /* fewer milliseconds than the clock shows */
		run.clock_s = ms / 1e3;
	run.covered = ms / 1e3 / run.clock_s;
	if (all_tell && !s->silent) {
		run.samples = samples / (double)run.steps;
		run.rate = samples / run.clock_s;
	}
	if (of_ms > 0)
		run.waiting = wait_ms / of_ms;
	*ret = run;
	return LS_OK;
}
