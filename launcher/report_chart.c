/* report_chart.c -- a line chart and the boxes of a table, as SVG.
 *
 * The SVG holds shapes only and stretches to whatever place it gets (preserveAspectRatio none, strokes that do not
 * scale); all words stand around it in HTML at per cent of its sides. So one drawing reads equally well on paper, on a
 * phone and on a wide screen, without a script. The script only adds values under the pointer. */
#include "launcher/report_parts.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define W 1000.0
#define H 300.0

static double px(const struct ls_chart *c, double x)
{
	return W * ls_axis_at(&c->x, x);
}

static double py(const struct ls_chart *c, double y)
{
	return H * (1 - ls_axis_at(&c->y, y));
}

static void grid_add(struct ls_str *page, const struct ls_chart *c)
{
	int i;

	ls_str_add(page, "<g class=\"grid\">");
	for (i = 0; i < c->y.n; i++)
		ls_str_addf(page, "<path d=\"M0 %.1fH%g\"/>", py(c, c->y.tick[i]), W);
	ls_str_add(page, "</g>");
}

/* The shades are one path: where they overlap they do not add up. */
static void marks_add(struct ls_str *page, const struct ls_chart *c)
{
	int i;

	if (!c->n_marks)
		return;
	ls_str_add(page, "<path class=\"lost\" d=\"M0 0");
	for (i = 0; i < c->n_marks; i++)
		if (c->marks[i].until > c->marks[i].x)
			ls_str_addf(page, "M%.1f 0V%gH%.1fV0Z", px(c, c->marks[i].x), H, px(c, c->marks[i].until));
	ls_str_add(page, "\"/><path class=\"mark\" d=\"");
	for (i = 0; i < c->n_marks; i++)
		ls_str_addf(page, "M%.1f 0V%g", px(c, c->marks[i].x), H);
	ls_str_add(page, "\"/>");
}

/* [i, end) is the next piece of the line without a gap; false: there is none. */
static bool next_piece(const struct ls_series *s, int *i, int *end)
{
	while (*i < s->n && isnan(s->y[*i]))
		++*i;
	for (*end = *i; *end < s->n && !isnan(s->y[*end]);)
		++*end;
	return *i < *end;
}

static void band_add(struct ls_str *page, const struct ls_chart *c, const struct ls_series *s)
{
	int i = 0, end, k;

	ls_str_addf(page, "<path class=\"band %s%s\" d=\"", s->css, s->n == 1 ? " dot" : "");
	for (; next_piece(s, &i, &end); i = end) {
		for (k = i; k < end; k++)
			ls_str_addf(page, "%c%.1f %.1f", k == i ? 'M' : 'L', px(c, s->x[k]),
				py(c, s->area ? s->y[k] : s->hi[k]));
		if (s->area)
			ls_str_addf(page, "V%gH%.1f", H, px(c, s->x[i]));
		else
			for (k = end - 1; k >= i; k--)
				ls_str_addf(page, "L%.1f %.1f", px(c, s->x[k]), py(c, s->lo[k]));
		ls_str_add(page, "Z");
	}
	ls_str_add(page, "\"/>");
}

/* A piece of one point is a line to itself: the round cap makes it a dot. */
static void line_add(struct ls_str *page, const struct ls_chart *c, const struct ls_series *s)
{
	int i = 0, end, k;

	ls_str_addf(page, "<path class=\"line %s%s\" d=\"", s->css, s->n == 1 ? " dot" : "");
	for (; next_piece(s, &i, &end); i = end) {
		for (k = i; k < end; k++)
			ls_str_addf(page, "%c%.1f %.1f", k == i ? 'M' : 'L', px(c, s->x[k]), py(c, s->y[k]));
		if (end - i == 1)
			ls_str_add(page, "h0");
	}
	ls_str_add(page, "\"/>");
}

static void points_add(struct ls_str *page, const struct ls_chart *c, const struct ls_series *s)
{
	int i;

	if (s->lo) {
		ls_str_addf(page, "<path class=\"bars %s\" d=\"", s->css);
		for (i = 0; i < s->n; i++)
			ls_str_addf(page, "M%.1f %.1fV%.1f", px(c, s->x[i]), py(c, s->lo[i]), py(c, s->hi[i]));
		ls_str_add(page, "\"/>");
	}
	ls_str_addf(page, "<path class=\"line %s dot\" d=\"", s->css);
	for (i = 0; i < s->n; i++)
		ls_str_addf(page, "M%.1f %.1fh0", px(c, s->x[i]), py(c, s->y[i]));
	ls_str_add(page, "\"/>");
}

static void words_add(struct ls_str *page, const struct ls_chart *c)
{
	int i;

	for (i = 0; i < c->y.n; i++)
		ls_str_addf(page, "<span class=\"yt\" style=\"top:%.2f%%\">%s</span>",
			100 - 100 * ls_axis_at(&c->y, c->y.tick[i]), c->y.label[i]);
	for (i = 0; i < c->x.n; i++)
		ls_str_addf(page, "<span class=\"xt%s\" style=\"left:%.2f%%\">%s</span>", i % 2 ? " odd" : "",
			100 * ls_axis_at(&c->x, c->x.tick[i]), c->x.label[i]);
}

/* Marks too near to each other for a label each share one: "attempts 1–3". */
static void mark_words_add(struct ls_str *page, const struct ls_chart *c)
{
	int i, last;

	for (i = 0; i < c->n_marks; i = last + 1) {
		double at = 100 * ls_axis_at(&c->x, c->marks[i].x);

		for (last = i; last + 1 < c->n_marks; last++)
			if (fabs(100 * ls_axis_at(&c->x, c->marks[last + 1].x) - at) > 16)
				break;
		ls_str_addf(page, "<span class=\"mt%s\" style=\"left:%.2f%%\">attempt%s %d", at > 80 ? " left" : "", at,
			last > i ? "s" : "", c->marks[i].attempt);
		if (last > i)
			ls_str_addf(page, "–%d", c->marks[last].attempt);
		ls_str_add(page, "</span>");
	}
}

static void hover_values(struct ls_str *page, const double *v, int n)
{
	int i;

	ls_str_add(page, "[");
	for (i = 0; i < n; i++) {
		if (i)
			ls_str_add(page, ",");
		if (isfinite(v[i]))
			ls_str_addf(page, "%.9g", v[i]);
		else
			ls_str_add(page, "null");
	}
	ls_str_add(page, "]");
}

static void hover_add(struct ls_str *page, const struct ls_chart *c)
{
	int i;

	ls_str_addf(page, " data-hover='{\"u\":\"%s\",\"x0\":%.9g,\"x1\":%.9g,\"log\":%d,\"s\":[", c->hover, c->x.lo, c->x.hi, c->x.log);
	for (i = 0; i < c->n_series; i++) {
		const struct ls_series *s = &c->series[i];

		ls_str_addf(page, "%s{\"n\":\"%s\",\"x\":", i ? "," : "", s->name);
		hover_values(page, s->x, s->n);
		ls_str_add(page, ",\"y\":");
		hover_values(page, s->y, s->n);
		ls_str_add(page, "}");
	}
	ls_str_add(page, "]}'");
}

static bool named_before(const struct ls_chart *c, int at)
{
	int i;

	for (i = 0; i < at && strcmp(c->series[i].name, c->series[at].name) != 0; i++)
		;
	return i < at;
}

static void legend_add(struct ls_str *page, const struct ls_chart *c)
{
	int i;

	ls_str_add(page, "<div class=\"legend\">");
	for (i = 0; i < c->n_series; i++) {
		if (named_before(c, i))
			continue;
		ls_str_addf(page, "<span><i class=\"key %s\"></i>%s</span>", c->series[i].css, c->series[i].name);
		if (c->series[i].lo && c->series[i].band)
			ls_str_addf(page, "<span><i class=\"key spread %s\"></i>%s</span>", c->series[i].css,
				c->series[i].band);
	}
	if (c->n_bad > 0)
		ls_str_add(page, "<span><i class=\"key bad\"></i>not a finite number</span>");
	ls_str_add(page, "</div>");
}

void ls_chart_add(struct ls_str *page, const struct ls_chart *c)
{
	int i;

	ls_str_addf(page, "<figure><div class=\"yl\">%s</div><div class=\"plot\"", c->y_label);
	hover_add(page, c);
	ls_str_addf(page, "><svg viewBox=\"0 0 %g %g\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"%s\">", W,
		H, c->title);
	grid_add(page, c);
	marks_add(page, c);
	for (i = c->n_series - 1; i >= 0; i--) { /* the first lies on top */
		if (!c->series[i].points && (c->series[i].lo || c->series[i].area))
			band_add(page, c, &c->series[i]);
		line_add(page, c, &c->series[i]);
		if (c->series[i].points)
			points_add(page, c, &c->series[i]);
	}
	for (i = 0; i < c->n_bad; i++)
		ls_str_addf(page, "<path class=\"bad\" d=\"M%.1f %gv-9\"/>", px(c, c->bad_x[i]), H);
	ls_str_addf(page, "<path class=\"base\" d=\"M0 %gH%g\"/></svg>", H, W);
	words_add(page, c);
	mark_words_add(page, c);
	ls_str_add(page, "<b class=\"hair\"></b><div class=\"tip\"></div></div>");
	ls_str_addf(page, "<div class=\"xl\">%s</div>", c->x_label);
	if (c->n_series > 1 || c->n_bad || c->series[0].lo)
		legend_add(page, c);
	ls_str_add(page, "</figure>");
}

/* --- boxes -------------------------------------------------------------------------------------------------------- */

/* 5th to 95th percentile, a bar at the median, a dot at the maximum (an arrow: beyond the axis). */
void ls_box_add(struct ls_str *page, const struct ls_axis *axis, const struct ls_box *box, bool slow)
{
	double a = W * ls_axis_at(axis, box->p5), b = W * ls_axis_at(axis, box->p95);
	double mid = W * ls_axis_at(axis, box->p50), most = W * ls_axis_at(axis, box->max);
	int i;

	ls_str_addf(page, "<svg class=\"box%s\" viewBox=\"0 0 %g 20\" preserveAspectRatio=\"none\"><g class=\"grid\">",
		slow ? " slow" : "", W);
	for (i = 0; i < axis->n; i++)
		ls_str_addf(page, "<path d=\"M%.1f 0V20\"/>", W * ls_axis_at(axis, axis->tick[i]));
	ls_str_addf(page, "</g><path class=\"reach\" d=\"M%.1f 10H%.1f\"/>", b, most);
	ls_str_addf(page, "<rect x=\"%.1f\" y=\"5\" width=\"%.1f\" height=\"10\"/>", a, b - a > 2 ? b - a : 2);
	ls_str_addf(page, "<path class=\"mid\" d=\"M%.1f 3V17\"/>", mid);
	if (box->max > axis->hi)
		ls_str_addf(page, "<path class=\"beyond\" d=\"M%g 6L%g 10L%g 14\"/></svg>", W - 8, W - 1, W - 8);
	else
		ls_str_addf(page, "<path class=\"most\" d=\"M%.1f 10h0\"/></svg>", most);
}

void ls_box_axis_add(struct ls_str *page, const struct ls_axis *axis)
{
	int i;

	ls_str_add(page, "<div class=\"boxaxis\">");
	for (i = 0; i < axis->n; i++)
		ls_str_addf(page, "<span class=\"xt%s\" style=\"left:%.2f%%\">%s</span>", i % 2 ? " odd" : "",
			100 * ls_axis_at(axis, axis->tick[i]), axis->label[i]);
	ls_str_add(page, "</div>");
}
