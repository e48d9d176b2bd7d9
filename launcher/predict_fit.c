/* predict_fit.c -- alpha and bandwidth from measured times; see predict.h.
 *
 * T = steps x alpha + part x S / bandwidth, with the algorithm's own steps and part. Relative errors are minimized, not absolute ones:
 * otherwise the largest size alone decides, and a latency that is 100 times wrong costs nothing. What an
 * operation costs once is in alpha: with one number of ranks the two cannot be told apart. */
#include "launcher/predict.h"

#include <math.h>
#include <stdlib.h>

/* Of an all-reduce. */
static double steps_of(enum ls_pred_algorithm a, int ranks)
{
	return a == LS_PRED_RING ? 2.0 * (ranks - 1) : a == LS_PRED_HALVING ? 2 * ceil(log2(ranks)) : 2;
}

static double part_of(const struct ls_pred_sample *s)
{
	return 2.0 * (s->ranks - 1) / s->ranks * s->bytes;
}

/* Solves sum over samples of ((steps alpha + part beta) / t - 1)^2 -> min; those of `skip` bytes are left out. False: they do not determine it. */
static bool solve(enum ls_pred_algorithm a, const struct ls_pred_sample *s, size_t n, double skip, double *ret_alpha, double *ret_beta)
{
	double xx = 0, xy = 0, yy = 0, x1 = 0, y1 = 0, x, y, det;
	size_t i;

	for (i = 0; i < n; i++) {
		if (s[i].bytes == skip)
			continue;
		x = steps_of(a, s[i].ranks) / s[i].seconds;
		y = part_of(&s[i]) / s[i].seconds;
		xx += x * x, xy += x * y, yy += y * y, x1 += x, y1 += y;
	}
	det = xx * yy - xy * xy;
	if (!(det > 1e-12 * xx * yy))
		return false;
	*ret_alpha = (x1 * yy - y1 * xy) / det;
	*ret_beta = (y1 * xx - x1 * xy) / det;
	if (*ret_alpha < 0) /* the best on the border of what is possible */
		*ret_alpha = 0, *ret_beta = y1 / yy;
	else if (*ret_beta < 0)
		*ret_beta = 0, *ret_alpha = x1 / xx;
	return true;
}

double ls_pred_fit_s(enum ls_pred_algorithm a, const struct ls_pred_fit *fit, int ranks, double bytes)
{
	struct ls_pred_sample s = { .ranks = ranks, .bytes = bytes };

	return steps_of(a, ranks) * fit->alpha_s + part_of(&s) / fit->bandwidth;
}

static size_t sizes(const struct ls_pred_sample *s, size_t n)
{
	size_t i, k, count = 0;

	for (i = 0; i < n; i++) {
		for (k = 0; k < i && s[k].bytes != s[i].bytes; k++)
			;
		count += k == i;
	}
	return count;
}

/* Each size from the fit of all others. */
static double left_out(enum ls_pred_algorithm a, const struct ls_pred_sample *s, size_t n)
{
	double sum = 0, alpha, beta;
	struct ls_pred_fit f = { 0 };
	size_t i;

	if (sizes(s, n) < 3)
		return NAN;
	for (i = 0; i < n; i++) {
		if (!solve(a, s, n, s[i].bytes, &alpha, &beta))
			return NAN;
		f.alpha_s = alpha;
		f.bandwidth = 1 / beta;
		sum += pow(ls_pred_fit_s(a, &f, s[i].ranks, s[i].bytes) / s[i].seconds - 1, 2);
	}
	return sqrt(sum / (double)n);
}

ls_status ls_pred_fit(enum ls_pred_algorithm a, const struct ls_pred_sample *s, size_t n, struct ls_pred_fit *ret, struct ls_err *err)
{
	struct ls_pred_fit f = { 0 };
	double beta = 0, e;
	size_t i;

	if (a != LS_PRED_RING && a != LS_PRED_HALVING && a != LS_PRED_DIRECT)
		return ls_fail(err, LS_USAGE, 0, "%s cannot be fitted: ring, halving and direct can", ls_pred_algorithm_name(a));
	for (i = 0; i < n; i++)
		if (s[i].ranks < 2 || !(s[i].bytes > 0) || !(s[i].seconds > 0))
			return ls_fail(err, LS_USAGE, 0, "%g bytes in %g s between %d ranks say nothing of a link", s[i].bytes, s[i].seconds, s[i].ranks);
	if (sizes(s, n) < 2 || !solve(a, s, n, -1, &f.alpha_s, &beta))
		return ls_fail(err, LS_USAGE, 0, "latency and bandwidth need two sizes at least, far apart; measure with -b 4K -e 256M -f 4");
	if (!(beta > 0))
		return ls_fail(err, LS_USAGE, 0, "these times do not grow with the size: measure larger ones, up to 256M");
	f.bandwidth = 1 / beta;
	for (i = 0; i < n; i++) {
		e = ls_pred_fit_s(a, &f, s[i].ranks, s[i].bytes) / s[i].seconds - 1;
		f.rms += e * e / (double)n;
		f.worst = fabs(e) > fabs(f.worst) ? e : f.worst;
	}
	f.rms = sqrt(f.rms);
	f.left_out = left_out(a, s, n);
	*ret = f;
	return LS_OK;
}
