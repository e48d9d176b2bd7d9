/* cmd_bench_scale_page.c -- the report: one HTML file in the dress of a run's (launcher/report_parts.h), without a network.
 *
 * Worlds stand at logarithmic distances, so that 1 to 2 is as far as 64 to 128, and ideal scaling is a straight line when the values are
 * logarithmic, too. Worlds whose ranks share cores or GPUs are drawn faintly, apart from the line. */
#include "launcher/cmd_bench_scale.h"
#include "launcher/report_parts.h"
#include "lockstep/lockstep.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { LINES = 3 * LS_SCALE_SERIES };

/* What the charts point into. */
struct lines {
	double x[LINES][LS_SCALE_POINTS], y[LINES][LS_SCALE_POINTS], lo[LINES][LS_SCALE_POINTS], hi[LINES][LS_SCALE_POINTS];
	struct ls_series series[LINES];
	int n;
	double least, most;
};

static const char extra_css[] = ".split rect.compute{fill:var(--main);opacity:.75}.split rect.waiting{fill:var(--redone);opacity:.85}"
	".split .reach{stroke:var(--ink);opacity:.6}.key.waiting{height:9px}.key.compute{background:var(--main);height:9px}"
	".boxes .legend{margin-left:0}.range{display:block;font-size:12px;color:var(--faint)}.notes li{color:var(--soft)}.plot .odd{display:inline}";

static const char *series_name(const struct ls_scale_series *s)
{
	switch (s->kind) {
	case LS_SCALE_WEAK: return "weak scaling";
	case LS_SCALE_STRONG: return "strong scaling";
	default: return "measured";
	}
}

static const char *ideal_name(const struct ls_scale_series *s, bool only)
{
	return only ? "ideal" : s->kind == LS_SCALE_WEAK ? "ideal, weak" : s->kind == LS_SCALE_STRONG ? "ideal, strong" : "ideal, measured";
}

/* --- charts --------------------------------------------------------------------------------------------------------------------- */

static void point(struct lines *l, int line, double x, double y, double lo, double hi)
{
	struct ls_series *s = &l->series[line];

	l->x[line][s->n] = x;
	l->y[line][s->n] = y;
	l->lo[line][s->n] = lo;
	l->hi[line][s->n++] = hi;
	l->least = fmin(l->least, lo);
	l->most = fmax(l->most, hi);
}

/* Ideal, clean and shared line of one series. `efficiency`: else samples a second. */
static void lines_of(struct lines *l, const struct ls_scale *s, const struct ls_scale_series *series, bool efficiency)
{
	const struct ls_scale_point *base = series->base >= 0 ? &series->points[series->base] : NULL;
	const char *css = series == s->series ? "main" : "second";
	int first = l->n, i, k;

	for (k = 0; k < 3; k++, l->n++)
		l->series[l->n] = (struct ls_series){ .css = k == 0 ? "ideal" : k == 1 ? css : "shared", .x = l->x[l->n], .y = l->y[l->n],
			.name = k == 0 ? ideal_name(series, efficiency || s->n_series == 1) : k == 1 ? series_name(series) : "ranks share cores or a GPU" };
	for (k = 1; k < 3; k++) {
		l->series[first + k].lo = l->lo[first + k];
		l->series[first + k].hi = l->hi[first + k];
		l->series[first + k].points = true;
	}
	for (i = 0; base && i < s->opt.n; i++) {
		const struct ls_scale_point *p = &series->points[i];
		const struct ls_bench_stats *v = efficiency ? &p->efficiency : &p->rate;
		double unit = efficiency ? 100 : 1, ideal = efficiency ? 100 : base->rate.median * p->ranks / base->ranks;

		if (!p->n || isnan(v->median))
			continue;
		if (!efficiency || !first) /* it is the same for both */
			point(l, first, p->ranks, ideal, ideal, ideal);
		point(l, ls_scale_clean(p) ? first + 1 : first + 2, p->ranks, unit * v->median, unit * v->min, unit * v->max);
	}
	for (i = k = first; i < first + 3; i++) /* lines without points are no lines */
		if (l->series[i].n)
			l->series[k++] = l->series[i];
	l->n = k;
}

static void ranks_axis(struct ls_axis *x, const struct ls_scale *s)
{
	double lo = s->opt.ranks[0], hi = s->opt.ranks[s->opt.n - 1], pad = hi > lo ? pow(hi / lo, 0.06) : 1.5, last = 0;
	int i;

	*x = (struct ls_axis){ .log = true, .lo = lo / pad, .hi = hi * pad };
	for (i = 0; i < s->opt.n && x->n < LS_TICKS_MAX; i++) {
		if (i && log(s->opt.ranks[i] / last) < 0.05 * log(x->hi / x->lo))
			continue;
		last = x->tick[x->n] = s->opt.ranks[i];
		snprintf(x->label[x->n++], sizeof(x->label[0]), "%d", s->opt.ranks[i]);
	}
}

static void chart_add(struct ls_str *page, const struct ls_scale *s, bool efficiency)
{
	struct lines *l = calloc(1, sizeof(*l));
	struct ls_chart chart = { .title = efficiency ? "Efficiency over ranks" : "Samples per second over ranks", .x_label = "ranks", .hover = "ranks",
		.y_label = efficiency ? "efficiency, %" : "samples per second" };
	int k;

	if (!l) {
		page->oom = true;
		return;
	}
	l->least = INFINITY;
	for (k = 0; k < s->n_series; k++)
		lines_of(l, s, &s->series[k], efficiency);
	chart.series = l->series;
	chart.n_series = l->n;
	if (l->n) {
		ranks_axis(&chart.x, s);
		if (efficiency || l->most < 1.8 * l->least)
			ls_axis_linear(&chart.y, 0, l->most, 5, LS_TICKS_SNAP);
		else
			ls_axis_log(&chart.y, l->least, l->most);
		ls_chart_add(page, &chart);
	} else {
		ls_str_add(page, "<p class=\"say\">Not all ranks told their samples, so this is not known.</p>");
	}
	free(l);
}

/* --- where a step's time goes --------------------------------------------------------------------------------------------------- */

static void split_row(struct ls_str *page, const struct ls_scale_point *p, const struct ls_axis *axis, double unit)
{
	double waiting = isnan(p->waiting.median) ? 0 : p->waiting.median, total = 1000 * ls_axis_at(axis, unit * p->step_ms.median);
	double compute = 1000 * ls_axis_at(axis, unit * p->step_ms.median * (1 - waiting));
	char text[32], share[32] = "–";
	int i;

	ls_text_ms(text, p->step_ms.median);
	if (!isnan(p->waiting.median))
		snprintf(share, sizeof(share), "%.1f%%", 100 * waiting);
	ls_str_addf(page, "<tr><td class=\"num\">%d%s</td><td class=\"draw\"><svg class=\"box split\" viewBox=\"0 0 1000 20\" preserveAspectRatio=\"none\">"
		"<g class=\"grid\">", p->ranks, ls_scale_clean(p) ? "" : "*");
	for (i = 0; i < axis->n; i++)
		ls_str_addf(page, "<path d=\"M%.1f 0V20\"/>", 1000 * ls_axis_at(axis, axis->tick[i]));
	ls_str_addf(page, "</g><rect class=\"compute\" x=\"0\" y=\"4\" width=\"%.1f\" height=\"12\"/><rect class=\"waiting\" x=\"%.1f\" y=\"4\" width=\"%.1f\" "
		"height=\"12\"/>", compute, compute, total - compute);
	if (p->n > 1)
		ls_str_addf(page, "<path class=\"reach\" d=\"M%.1f 10H%.1f\"/>", 1000 * ls_axis_at(axis, unit * p->step_ms.min),
			1000 * ls_axis_at(axis, unit * p->step_ms.max));
	ls_str_addf(page, "</svg></td><td class=\"num\">%s</td><td class=\"num\">%s</td></tr>", text, share);
}

static void split_add(struct ls_str *page, const struct ls_scale *s, const struct ls_scale_series *series)
{
	struct ls_axis axis;
	double most = 0, unit;
	int i;

	for (i = 0; i < s->opt.n; i++)
		most = series->points[i].n ? fmax(most, series->points[i].step_ms.max) : most;
	unit = most < 1 ? 1e3 : most < 1000 ? 1 : 1e-3;
	ls_axis_linear(&axis, 0, most > 0 ? most * unit * 1.02 : 1, 6, LS_TICKS_FREE);
	ls_str_add(page, "<table class=\"boxes\"><thead><tr><th class=\"num\">Ranks</th><th>");
	ls_str_add(page, "<div class=\"legend\"><span><i class=\"key compute\"></i>computing</span><span><i class=\"key waiting\"></i>in communication</span>"
		"</div></th><th class=\"num\">Step</th><th class=\"num\">Comm.</th></tr></thead><tbody>");
	for (i = 0; i < s->opt.n; i++)
		if (series->points[i].n)
			split_row(page, &series->points[i], &axis, unit);
	ls_str_add(page, "</tbody><tfoot><tr><td class=\"num\"></td><td class=\"draw\">");
	ls_box_axis_add(page, &axis);
	ls_str_addf(page, "</td><td class=\"num\">%s</td><td></td></tr></tfoot></table>", unit > 1 ? "µs" : unit < 1 ? "s" : "ms");
}

/* --- tiles, table, notes -------------------------------------------------------------------------------------------------------- */

static void tile_add(struct ls_str *page, const char *name, const char *value, const char *below)
{
	ls_str_addf(page, "<div class=\"tile\"><dt>%s</dt><dd>%s</dd><dd class=\"below\">%s</dd></div>", name, value, below);
}

static void tiles_add(struct ls_str *page, const struct ls_scale *s, const struct ls_scale_series *series)
{
	const struct ls_scale_point *best = ls_scale_best(series, s->opt.n);
	const struct ls_scale_fit *fit = series->amdahl.there ? &series->amdahl : &series->gustafson;
	const char *word = series->kind == LS_SCALE_WEAK ? "weak" : series->kind == LS_SCALE_STRONG ? "strong" : "measured";
	char name[64], value[64], below[96];

	if (best) {
		snprintf(name, sizeof(name), "Efficiency, %s", word);
		snprintf(value, sizeof(value), "%.1f%%", 100 * best->efficiency.median);
		snprintf(below, sizeof(below), "at %d ranks; %.1f to %.1f%%", best->ranks, 100 * best->efficiency.min, 100 * best->efficiency.max);
		tile_add(page, name, value, below);
		snprintf(name, sizeof(name), "Speed-up, %s", word);
		snprintf(value, sizeof(value), "%.2f", best->speedup.median);
		snprintf(below, sizeof(below), "of %.4g possible", (double)best->ranks / series->points[series->base].ranks);
		tile_add(page, name, value, below);
	}
	if (best && !isnan(best->waiting.median)) {
		snprintf(value, sizeof(value), "%.1f%%", 100 * best->waiting.median);
		snprintf(below, sizeof(below), "of a step at %d ranks", best->ranks);
		snprintf(name, sizeof(name), "Communication, %s", word);
		tile_add(page, name, value, below);
	}
	if (fit->there) {
		snprintf(value, sizeof(value), "%.2g%%", 100 * fit->serial);
		snprintf(below, sizeof(below), "%s; worst point %.2g%% off", series->amdahl.there ? "Amdahl" : "Gustafson", 100 * fit->worst);
		tile_add(page, "Serial share", value, below);
	}
}

static void cell_add(struct ls_str *page, const struct ls_bench_stats *v, double unit, bool spread, void (*text)(char[32], double))
{
	char mid[32], lo[32], hi[32];

	if (isnan(v->median)) {
		ls_str_add(page, "<td class=\"num\"><span class=\"quiet\">–</span></td>");
		return;
	}
	text(mid, unit * v->median);
	text(lo, unit * v->min);
	text(hi, unit * v->max);
	ls_str_addf(page, "<td class=\"num\">%s", mid);
	if (spread)
		ls_str_addf(page, "<span class=\"range\">%s to %s</span>", lo, hi);
	ls_str_add(page, "</td>");
}

static void percent(char ret[32], double v)
{
	snprintf(ret, 32, "%.1f%%", v);
}

static void ratio(char ret[32], double v)
{
	snprintf(ret, 32, "%.2f", v);
}

static void table_add(struct ls_str *page, const struct ls_scale *s, const struct ls_scale_series *series)
{
	int i;

	ls_str_add(page, "<div class=\"scroll\"><table><thead><tr><th class=\"num\">Ranks</th><th class=\"num\">Hosts</th><th class=\"num\">Samples/step</th>"
		"<th>Scaling</th><th class=\"num\">Step time</th><th class=\"num\">Samples/s</th><th class=\"num\">Speed-up</th>"
		"<th class=\"num\">Efficiency</th><th class=\"num\">Communication</th></tr></thead><tbody>");
	for (i = 0; i < s->opt.n; i++) {
		const struct ls_scale_point *p = &series->points[i];
		bool spread = p->n > 1, ratios = spread && p->kind != LS_SCALE_BASE;
		char samples[32];

		ls_str_addf(page, "<tr><td class=\"num\">%d%s</td><td class=\"num\">%d</td>", p->ranks, p->n && !ls_scale_clean(p) ? "*" : "", p->hosts);
		if (!p->n) {
			ls_str_add(page, "<td colspan=\"7\"><em>failed</em>: ");
			ls_html_add(page, p->failed);
			ls_str_add(page, "</td></tr>");
			continue;
		}
		ls_text_count(samples, p->samples);
		ls_str_addf(page, "<td class=\"num\">%s</td><td>%s</td>", samples, ls_scale_kind_name(p->kind));
		cell_add(page, &p->step_ms, 1, spread, ls_text_ms);
		cell_add(page, &p->rate, 1, spread, ls_text_count);
		cell_add(page, &p->speedup, 1, ratios, ratio);
		cell_add(page, &p->efficiency, 100, ratios, percent);
		cell_add(page, &p->waiting, 100, spread, percent);
		ls_str_add(page, "</tr>");
	}
	ls_str_add(page, "</tbody></table></div>");
}

static void notes_add(struct ls_str *page, const struct ls_scale *s, const struct ls_scale_series *series)
{
	struct ls_strv notes = { 0 };
	struct ls_str fit = { 0 };
	size_t i;
	int k;

	for (k = 0; k < s->opt.n && (!series->points[k].n || ls_scale_clean(&series->points[k])); k++)
		;
	if (k < s->opt.n)
		ls_strv_add(&notes, "* ranks share cores or a GPU: this is no figure of scaling, and neither the tiles nor the fit count it");
	ls_scale_fit_text(series, &fit);
	if (fit.len)
		ls_strv_add(&notes, fit.s);
	ls_scale_notes(s, series, &notes);
	ls_str_add(page, "<ul class=\"notes\">");
	for (i = 0; i < notes.n; i++) {
		ls_str_add(page, "<li>");
		ls_html_add(page, notes.v[i]);
		ls_str_add(page, "</li>");
	}
	ls_str_add(page, "</ul>");
	page->oom |= notes.oom || fit.oom;
	ls_strv_release(&notes);
	ls_str_release(&fit);
}

static void series_add(struct ls_str *page, const struct ls_scale *s, const struct ls_scale_series *series)
{
	struct ls_str title = { 0 };
	size_t i;

	ls_scale_title(series, &title);
	if (title.len)
		title.s[0] -= 'a' - 'A';
	ls_str_add(page, "<section><h2>");
	ls_html_add(page, ls_str_text(&title));
	ls_str_add(page, "</h2>");
	for (i = 0; series->assigned && i < series->assigned->n; i++) {
		ls_str_addf(page, "<p class=\"say\">--%s ", series->asked);
		ls_html_add(page, series->assigned->v[i]);
		ls_str_add(page, "</p>");
	}
	table_add(page, s, series);
	split_add(page, s, series);
	notes_add(page, s, series);
	ls_str_add(page, "</section>");
	ls_str_release(&title);
}

void ls_scale_page(const struct ls_scale *s, struct ls_str *ret)
{
	char now[32];
	int k;

	ls_text_time(now, (double)time(NULL));
	ls_str_add(ret, "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
		"<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
		"base-uri 'none'; form-action 'none'\"><meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">"
		"<meta name=\"color-scheme\" content=\"light dark\"><title>");
	ls_html_add(ret, s->name);
	ls_str_addf(ret, " – scaling</title><style>%s%s</style></head>\n<body><main>\n<header><div class=\"title\"><h1>", ls_report_css, extra_css);
	ls_html_add(ret, s->name);
	ls_str_addf(ret, "</h1><span class=\"state live\">Scaling</span></div><p class=\"facts\"><span>%d round%s, worlds in turn</span>"
		"<span>after %d step%s to warm up</span><span>%s</span></p></header><dl class=\"tiles\">", s->opt.repeats, s->opt.repeats > 1 ? "s" : "",
		s->opt.warmup, s->opt.warmup > 1 ? "s" : "", now);
	for (k = 0; k < s->n_series; k++)
		tiles_add(ret, s, &s->series[k]);
	ls_str_add(ret, "</dl><div class=\"pair\"><section><h2>Throughput</h2>");
	chart_add(ret, s, false);
	ls_str_add(ret, "</section><section><h2>Efficiency</h2>");
	chart_add(ret, s, true);
	ls_str_add(ret, "</section></div>");
	for (k = 0; k < s->n_series; k++)
		series_add(ret, s, &s->series[k]);
	ls_str_addf(ret, "\n<footer>Lockstep %s, lockstep bench scale. Dots are medians of the rounds, bars reach from the least to the greatest.</footer></main>"
		"<script>%s</script></body></html>\n", LOCKSTEP_VERSION, ls_report_js);
}
