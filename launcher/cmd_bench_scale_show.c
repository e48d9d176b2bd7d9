/* cmd_bench_scale_show.c -- the table for people, and CSV. What is not known is "-", in CSV nothing. */
#include "launcher/cmd_bench_scale.h"
#include "launcher/report_parts.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

void ls_scale_title(const struct ls_scale_series *series, struct ls_str *ret)
{
	const struct ls_scale_point *base = series->base >= 0 ? &series->points[series->base] : NULL;

	if (series->kind == LS_SCALE_STRONG)
		ls_str_addf(ret, "strong scaling: %.6g samples a step over all ranks", base->samples);
	else if (series->kind == LS_SCALE_WEAK)
		ls_str_addf(ret, "weak scaling: %.6g samples a step for each rank", base->samples / base->ranks);
	else if (series->kind == LS_SCALE_NEITHER)
		ls_str_add(ret, "neither weak nor strong scaling throughout");
	else
		ls_str_add(ret, series->kind == LS_SCALE_BASE ? "one world size" : "weak or strong is not known");
}

/* --- the table ------------------------------------------------------------------------------------------------------------------ */

static const char *ms(char ret[32], double v)
{
	ls_text_value(ret, v);
	return ret;
}

static const char *count(char ret[32], double v)
{
	snprintf(ret, 32, v < 1000 ? "%.4g" : "%.0f", v);
	return ret;
}

static const char *ratio(char ret[32], double v)
{
	snprintf(ret, 32, "%.2f", v);
	return ret;
}

static const char *percent(char ret[32], double v)
{
	snprintf(ret, 32, "%.1f", 100 * v);
	return ret;
}

/* "0.71 0.70-0.73": the median, and from the least to the greatest; or "-". */
static void cell(struct ls_str *row, const struct ls_bench_stats *v, const char *(*text)(char[32], double), bool spread, int width)
{
	char mid[32], low[32], high[32], range[70] = "";

	if (spread && !isnan(v->median))
		snprintf(range, sizeof(range), "%s-%s", text(low, v->min), text(high, v->max));
	ls_str_addf(row, "  %7s %-*s", isnan(v->median) ? "-" : text(mid, v->median), width, range);
}

static void row(const struct ls_scale_point *p, bool hosts, struct ls_str *ret)
{
	bool spread = p->n > 1, ratios = spread && p->kind != LS_SCALE_BASE;
	char samples[32], mark[8];

	snprintf(mark, sizeof(mark), "%s%s", p->shares_core ? "*" : "", p->shares_gpu ? "+" : "");
	ls_str_addf(ret, "%5d%-2s", p->ranks, mark);
	if (hosts)
		ls_str_addf(ret, " %5d", p->hosts);
	if (!p->n) {
		ls_str_add(ret, "  failed\n");
		return;
	}
	ls_str_addf(ret, " %12s  %-7s", isnan(p->samples) ? "-" : count(samples, p->samples), ls_scale_kind_name(p->kind));
	cell(ret, &p->step_ms, ms, spread, 13);
	cell(ret, &p->rate, count, spread, 15);
	cell(ret, &p->speedup, ratio, ratios, 11);
	cell(ret, &p->efficiency, percent, ratios, 11);
	cell(ret, &p->waiting, percent, spread, 0);
	ls_str_add(ret, p->failed[0] ? "  then it failed\n" : "\n");
}

static void conclusions(const struct ls_scale *s, const struct ls_scale_series *series, struct ls_str *ret)
{
	const struct ls_scale_point *best = ls_scale_best(series, s->opt.n);
	struct ls_str fit = { 0 };
	struct ls_strv notes = { 0 };
	bool cores = false, gpus = false;
	size_t k;
	int i;

	for (i = 0; i < s->opt.n; i++) {
		cores |= series->points[i].shares_core;
		gpus |= series->points[i].shares_gpu;
	}
	if (cores)
		ls_str_add(ret, "* ranks share cores: this is no figure of scaling, and nothing below counts it\n");
	if (gpus)
		ls_str_add(ret, "+ ranks share a GPU: this is no figure of scaling, and nothing below counts it\n");
	if (best)
		ls_str_addf(ret, "efficiency at %d ranks: %.1f%% (%.1f%% to %.1f%%), against %d rank%s\n", best->ranks, 100 * best->efficiency.median,
			100 * best->efficiency.min, 100 * best->efficiency.max, series->points[series->base].ranks,
			series->points[series->base].ranks > 1 ? "s" : "");
	ls_scale_fit_text(series, &fit);
	if (fit.len)
		ls_str_addf(ret, "%s\n", fit.s);
	ls_scale_notes(s, series, &notes);
	for (k = 0; k < notes.n; k++)
		ls_str_addf(ret, "note: %s\n", notes.v[k]);
	ret->oom |= fit.oom || notes.oom;
	ls_str_release(&fit);
	ls_strv_release(&notes);
}

void ls_scale_table(const struct ls_scale *s, struct ls_str *ret)
{
	bool hosts = false;
	int k, i;

	for (i = 0; i < s->opt.n; i++)
		hosts |= s->series[0].points[i].hosts > 1;
	for (k = 0; k < s->n_series; k++) {
		const struct ls_scale_series *series = &s->series[k];

		ls_str_addf(ret, "%s%s, ", k ? "\n" : "", s->name);
		ls_scale_title(series, ret);
		ls_str_addf(ret, "; %d round%s\n", s->opt.repeats, s->opt.repeats > 1 ? "s: median, least-greatest" : "");
		ls_str_addf(ret, "ranks  %s samples/step  scaling  step ms %-13s  samples %-15s   speed- %-11s  effici- %-11s  communi-\n", hosts ? " hosts" : "", "",
			"", "", "");
		ls_str_addf(ret, "       %s %12s  %7s  %7s %-13s  %7s %-15s  %7s %-11s  %7s %-11s  %7s\n", hosts ? "      " : "", "", "", "", "", "/second",
			"", "up", "", "ency %", "", "cation %");
		for (i = 0; i < s->opt.n; i++)
			row(&series->points[i], hosts, ret);
		conclusions(s, series, ret);
	}
}

/* --- CSV ------------------------------------------------------------------------------------------------------------------------ */

static void number(struct ls_str *out, double v)
{
	if (isnan(v))
		ls_str_add(out, ",");
	else
		ls_str_addf(out, ",%.6g", v);
}

static void numbers(struct ls_str *out, const struct ls_bench_stats *v)
{
	number(out, v->median);
	number(out, v->min);
	number(out, v->max);
}

void ls_scale_csv(const struct ls_scale *s, struct ls_str *ret)
{
	static const char *const figures[] = { "step_ms", "samples_per_second", "speedup", "efficiency", "communication" };
	size_t f;
	int k, i;

	ls_str_add(ret, "asked,ranks,hosts,scaling,shares_core,shares_gpu,rounds,failed,samples_per_step");
	for (f = 0; f < sizeof(figures) / sizeof(figures[0]); f++)
		ls_str_addf(ret, ",%s,%s_min,%s_max", figures[f], figures[f], figures[f]);
	ls_str_add(ret, "\n");
	for (k = 0; k < s->n_series; k++)
		for (i = 0; i < s->opt.n; i++) {
			const struct ls_scale_point *p = &s->series[k].points[i];

			ls_str_addf(ret, "%s,%d,%d,%s,%d,%d,%d,%d", s->series[k].asked, p->ranks, p->hosts, p->n ? ls_scale_kind_name(p->kind) : "",
				p->shares_core, p->shares_gpu, p->n, p->failed[0] != '\0');
			number(ret, p->samples);
			numbers(ret, &p->step_ms);
			numbers(ret, &p->rate);
			numbers(ret, &p->speedup);
			numbers(ret, &p->efficiency);
			numbers(ret, &p->waiting);
			ls_str_add(ret, "\n");
		}
}
