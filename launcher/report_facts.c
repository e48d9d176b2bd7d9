/* report_facts.c -- the few numbers that the page states in words, from steps.csv once folded. */
#include "launcher/report_steps.h"
#include "core/sort.h"

#include <math.h>
#include <stdlib.h>

/* Sorts v. NaN: n == 0. */
static double median(double *v, size_t n)
{
	if (!n)
		return NAN;
	ls_sort(v, n);
	return n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

/* Between the end of the last step that counted and the begin of the next one that did, whatever lies between: redone
 * steps, detection, back-off, attempts that never got to a step. */
double ls_steps_lost_s(const struct ls_steps *s, double started)
{
	double lost = 0, end = s->n_attempts && !s->attempts[0].live_end ? s->from : 0;
	int a;

	if (s->n_attempts && s->attempts[0].last < 0)
		end = started;
	for (a = 0; a < s->n_attempts; a++) {
		const struct ls_attempt_steps *at = &s->attempts[a];

		if (!at->live_end)
			continue;
		if (end > 0 && at->live_begin > end)
			lost += at->live_begin - end;
		end = at->live_end;
	}
	return lost;
}

double ls_steps_median_rate(const struct ls_steps *s)
{
	double v[LS_RATE_CELLS];
	size_t n = 0;
	int i;

	for (i = 0; i < s->rate_cells; i++)
		if (s->rate[i] > 0)
			v[n++] = s->rate[i];
	return median(v, n);
}

/* Against the others and not against all: of two ranks, the median of both hides half of the difference. */
int ls_steps_slowest(const struct ls_steps *s, double *ret_excess, double *ret_others_ms)
{
	double v[LS_RANKS_MAX], slow = -1, others;
	int rank, slowest = -1;
	size_t n = 0;

	for (rank = 0; rank < s->n_ranks; rank++) {
		double p50 = s->ranks[rank] ? ls_hist_quantile(s->ranks[rank], 0.5) : NAN;

		if (isnan(p50))
			continue;
		v[n++] = p50;
		if (p50 > slow) {
			slow = p50;
			slowest = rank;
		}
	}
	if (n < 2)
		return -1;
	median(v, n); /* for its order: the slowest comes to the end */
	others = median(v, n - 1);
	if (!(others > 0))
		return -1;
	*ret_excess = slow / others - 1;
	*ret_others_ms = others;
	return slowest;
}
