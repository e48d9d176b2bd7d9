/* cmd_bench_scale_rows.c -- from the runs of each world size to the rows of a table, and what may be said of them. No I/O.
 *
 * Ratios are between runs of one round, so that what the machine does meanwhile hurts both; their median counts. docs/scaling.md has the
 * formulas and their sources.
 * Weak or strong is judged from the samples that the ranks told, not from what was asked. A world whose ranks share a core or a GPU is
 * shown, and nothing is concluded from it. */
#include "launcher/cmd_bench_scale.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SAME 0.02         /* a global batch that does not quite divide is still the same one */
#define COVERED_LEAST 0.9
#define CLOCK_LEAST_S 0.2

bool ls_scale_clean(const struct ls_scale_point *p)
{
	return p->n && !p->shares_core && !p->shares_gpu;
}

const char *ls_scale_kind_name(enum ls_scale_kind k)
{
	static const char *const names[] = { [LS_SCALE_UNKNOWN] = "unknown", [LS_SCALE_BASE] = "base", [LS_SCALE_WEAK] = "weak",
		[LS_SCALE_STRONG] = "strong", [LS_SCALE_NEITHER] = "neither" };

	return names[k];
}

/* One figure of the runs; NaN in any of them: not known. */
static struct ls_bench_stats stats(const struct ls_scale_point *p, size_t offset, double *scratch)
{
	int i;

	for (i = 0; i < p->n; i++) {
		scratch[i] = *(const double *)((const char *)&p->runs[i] + offset);
		if (isnan(scratch[i]))
			return ls_bench_stats_of(NULL, 0);
	}
	return ls_bench_stats_of(scratch, p->n);
}

static bool near(double a, double b)
{
	return fabs(a / b - 1) <= SAME;
}

static enum ls_scale_kind kind_of(const struct ls_scale_point *p, const struct ls_scale_point *base)
{
	if (isnan(p->samples) || isnan(base->samples))
		return LS_SCALE_UNKNOWN;
	if (p == base)
		return LS_SCALE_BASE;
	if (near(p->samples, base->samples))
		return LS_SCALE_STRONG;
	return near(p->samples / p->ranks, base->samples / base->ranks) ? LS_SCALE_WEAK : LS_SCALE_NEITHER;
}

/* `scratch` has room for both points' runs. */
static void compare(struct ls_scale_point *p, const struct ls_scale_point *base, double *scratch)
{
	int i, n = p->n < base->n ? p->n : base->n;
	double *rate = scratch, *rate0 = scratch + n, ideal = (double)p->ranks / base->ranks;

	p->kind = kind_of(p, base);
	if (p->kind != LS_SCALE_UNKNOWN) {
		for (i = 0; i < n; i++) {
			rate[i] = p->runs[i].rate;
			rate0[i] = base->runs[i].rate;
		}
		p->speedup = ls_bench_ratio_of(rate, n, rate0, n);
	}
	p->efficiency = (struct ls_bench_stats){ p->speedup.median / ideal, p->speedup.min / ideal, p->speedup.max / ideal };
}

/* --- the laws ------------------------------------------------------------------------------------------------------------------- */

static bool fits(const struct ls_scale_point *p, enum ls_scale_kind kind)
{
	return ls_scale_clean(p) && (p->kind == kind || p->kind == LS_SCALE_BASE);
}

/* t = a + b / ranks, by least squares of the relative errors; a / (a + b) is the serial share. */
static void fit_amdahl(struct ls_scale_series *s, int n)
{
	double xx = 0, xy = 0, yy = 0, x1 = 0, y1 = 0, det, a, b;
	struct ls_scale_fit f = { 0 };
	int i;

	for (i = 0; i < n; i++) {
		const struct ls_scale_point *p = &s->points[i];
		double t = p->samples / p->rate.median, x = 1 / t, y = 1 / (p->ranks * t); /* a x + b y = 1 */

		if (!fits(p, LS_SCALE_STRONG))
			continue;
		xx += x * x;
		xy += x * y;
		yy += y * y;
		x1 += x;
		y1 += y;
		f.points++;
	}
	det = xx * yy - xy * xy;
	if (f.points < 3 || !(det > 0))
		return;
	a = (x1 * yy - y1 * xy) / det;
	b = (y1 * xx - x1 * xy) / det;
	if (!(a >= 0 && b > 0))
		return;
	for (i = 0; i < n; i++) {
		const struct ls_scale_point *p = &s->points[i];

		if (fits(p, LS_SCALE_STRONG))
			f.worst = fmax(f.worst, fabs((a + b / p->ranks) * p->rate.median / p->samples - 1));
	}
	f.serial = a / (a + b);
	f.there = true;
	s->amdahl = f;
}

/* efficiency = 1 - serial * (ranks - 1) / ranks, by least squares; only when the base is one rank. */
static void fit_gustafson(struct ls_scale_series *s, int n)
{
	struct ls_scale_fit f = { 0 };
	double qq = 0, qe = 0;
	int i;

	for (i = 0; i < n; i++) {
		const struct ls_scale_point *p = &s->points[i];
		double q = (p->ranks - 1.0) / p->ranks;

		if (!fits(p, LS_SCALE_WEAK))
			continue;
		qq += q * q;
		qe += q * (1 - p->efficiency.median);
		f.points++;
	}
	if (f.points < 3 || s->points[s->base].ranks != 1 || qe < 0)
		return;
	f.serial = qe / qq;
	for (i = 0; i < n; i++) {
		const struct ls_scale_point *p = &s->points[i];

		if (fits(p, LS_SCALE_WEAK))
			f.worst = fmax(f.worst, fabs(1 - f.serial * (p->ranks - 1.0) / p->ranks - p->efficiency.median));
	}
	f.there = true;
	s->gustafson = f;
}

/* What all points but the base are; LS_SCALE_NEITHER: not all the same. */
static enum ls_scale_kind kind_of_all(const struct ls_scale_series *s, int n)
{
	enum ls_scale_kind kind = LS_SCALE_BASE;
	int i;

	for (i = 0; i < n; i++) {
		const struct ls_scale_point *p = &s->points[i];

		if (!p->n || p->kind == LS_SCALE_BASE)
			continue;
		if (kind != LS_SCALE_BASE && kind != p->kind)
			return LS_SCALE_NEITHER;
		kind = p->kind;
	}
	return kind;
}

void ls_scale_fold(struct ls_scale_series *s, int n)
{
	double *scratch;
	int i, most = 1;

	s->base = -1;
	s->amdahl = s->gustafson = (struct ls_scale_fit){ 0 };
	for (i = 0; i < n; i++)
		most = s->points[i].n > most ? s->points[i].n : most;
	scratch = calloc((size_t)most * 2, sizeof(*scratch));
	for (i = 0; scratch && i < n; i++) {
		struct ls_scale_point *p = &s->points[i];

		p->speedup = p->efficiency = ls_bench_stats_of(NULL, 0);
		p->samples = stats(p, offsetof(struct ls_scale_run, samples), scratch).median;
		p->step_ms = stats(p, offsetof(struct ls_scale_run, step_ms), scratch);
		p->rate = stats(p, offsetof(struct ls_scale_run, rate), scratch);
		p->waiting = stats(p, offsetof(struct ls_scale_run, waiting), scratch);
		p->covered = stats(p, offsetof(struct ls_scale_run, covered), scratch);
		if (s->base < 0 && p->n)
			s->base = i;
		if (p->n)
			compare(p, &s->points[s->base], scratch);
	}
	free(scratch);
	s->kind = kind_of_all(s, n);
	if (s->base < 0)
		return;
	fit_amdahl(s, n);
	fit_gustafson(s, n);
}

const struct ls_scale_point *ls_scale_best(const struct ls_scale_series *s, int n)
{
	int i;

	for (i = n - 1; i > s->base && s->base >= 0 && ls_scale_clean(&s->points[s->base]); i--)
		if (ls_scale_clean(&s->points[i]) && s->points[i].kind != LS_SCALE_UNKNOWN)
			return &s->points[i];
	return NULL;
}

/* --- words ---------------------------------------------------------------------------------------------------------------------- */

void ls_scale_fit_text(const struct ls_scale_series *s, struct ls_str *ret)
{
	if (s->amdahl.there)
		ls_str_addf(ret, "Amdahl's law fits these %d worlds best with a serial share of %.2g%%; the worst is %.2g%% off", s->amdahl.points,
			100 * s->amdahl.serial, 100 * s->amdahl.worst);
	else if (s->gustafson.there)
		ls_str_addf(ret, "Gustafson's law fits these %d worlds best with a serial share of %.2g%%; the worst is %.2g%% off", s->gustafson.points,
			100 * s->gustafson.serial, 100 * s->gustafson.worst);
}

static void notes_of_point(const struct ls_scale_point *p, struct ls_strv *ret)
{
	const struct ls_scale_run *last = p->n ? &p->runs[p->n - 1] : NULL;
	char who[32];

	snprintf(who, sizeof(who), "%d rank%s", p->ranks, p->ranks > 1 ? "s" : "");
	if (p->failed[0])
		ls_strv_addf(ret, "%s failed%s: %s", who, p->n ? " in a later round" : "", p->failed);
	if (!last)
		return;
	if (last->early)
		ls_strv_addf(ret, "%s: the job ended by itself when %ld steps, %.1f s, were measured, which is less than was asked for", who, last->steps,
			last->clock_s);
	if (last->telling < p->ranks)
		ls_strv_addf(ret, "%s: %d of them told steps, so samples per second, speed-up and efficiency are not known: let every rank tell its own "
			"(docs/environment.md)", who, last->telling);
	else if (isnan(p->samples))
		ls_strv_addf(ret, "%s: the program told no samples (samples=N of its progress lines), so speed-up and efficiency are not known", who);
	if (p->covered.median < COVERED_LEAST)
		ls_strv_addf(ret, "%s: the steps' own times are %.0f%% of the time that passed; the rest lies between steps, and counts in samples/s", who,
			100 * p->covered.median);
	if (last->clock_s < CLOCK_LEAST_S)
		ls_strv_addf(ret, "%s: %.0f ms were measured, which is too short to mean much: --seconds or --steps ask for more", who, last->clock_s * 1e3);
}

void ls_scale_notes(const struct ls_scale *s, const struct ls_scale_series *series, struct ls_strv *ret)
{
	const struct ls_scale_point *base = series->base >= 0 ? &series->points[series->base] : NULL;
	enum ls_scale_kind asked = !strcmp(series->asked, "weak") ? LS_SCALE_WEAK : LS_SCALE_STRONG;
	int i;

	for (i = 0; i < s->opt.n; i++) {
		const struct ls_scale_point *p = &series->points[i];

		notes_of_point(p, ret);
		if (*series->asked && p->n && p->kind != LS_SCALE_BASE && p->kind != LS_SCALE_UNKNOWN && p->kind != asked)
			ls_strv_addf(ret, "--%s was asked for, but %d ranks told %.6g samples a step, and %d rank%s %.6g: that is %s", series->asked, p->ranks,
				p->samples, base->ranks, base->ranks > 1 ? "s" : "", base->samples,
				p->kind == LS_SCALE_NEITHER ? "neither weak nor strong scaling" : p->kind == LS_SCALE_WEAK ? "weak scaling" : "strong scaling");
	}
	if (base && !ls_scale_clean(base) && s->opt.n > 1)
		ls_strv_addf(ret, "the smallest world shares cores or GPUs itself: these ratios say nothing about scaling");
}
