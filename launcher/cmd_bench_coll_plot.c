/* cmd_bench_coll_plot.c -- bus bandwidth over size as a picture, both axes logarithmic: a line for each contender, type, operation and
 * place. One file, which needs nothing else; dark where its viewer is. */
#include "launcher/cmd_bench_coll.h"
#include "launcher/report_parts.h"
#include "lockstep/lockstep.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { W = 900, H = 520, LEFT = 76, RIGHT = 24, TOP = 64, BOTTOM = 56, LINE = 18, COLOURS = 8 };

/* The colours of Okabe and Ito, which tell apart for most eyes; yellow and black are replaced, so that all are seen on white and on black. */
static const char style[] =
	"<style>:root{color-scheme:light dark}text{font:12px system-ui,'DejaVu Sans',Verdana,sans-serif;fill:#23303d}"
	".head{font-size:16px;font-weight:600}.end{text-anchor:end}.mid{text-anchor:middle}.page{fill:#fff}.grid{stroke:#e4e7ea}"
	".l{stroke-width:2}.b{stroke:none;opacity:.14}"
	".c0{stroke:#0072b2;fill:#0072b2}.c1{stroke:#d55e00;fill:#d55e00}.c2{stroke:#009e73;fill:#009e73}.c3{stroke:#cc79a7;fill:#cc79a7}"
	".c4{stroke:#e69f00;fill:#e69f00}.c5{stroke:#56b4e9;fill:#56b4e9}.c6{stroke:#8a63d2;fill:#8a63d2}.c7{stroke:#7f7f7f;fill:#7f7f7f}"
	".l{fill:none}.dash{stroke-dasharray:6 4}"
	"@media (prefers-color-scheme:dark){text{fill:#dfe3e8}.page{fill:#15181c}.grid{stroke:#2b3038}.c0{stroke:#4aa3dd;fill:#4aa3dd}"
	".l{fill:none}}</style>\n";

struct picture {
	const struct ls_bench *b;
	struct ls_axis x, y;
	struct ls_str *out;
	int height, lines;
};

static double across(const struct picture *p, double bytes)
{
	return LEFT + ls_axis_at(&p->x, bytes) * (W - LEFT - RIGHT);
}

static double up(const struct picture *p, double busbw)
{
	return H - BOTTOM - ls_axis_at(&p->y, busbw) * (H - TOP - BOTTOM);
}

static double busbw(const struct picture *p, const struct ls_bench_row *row, double us)
{
	return ls_bench_busbw(p->b->opt.kind, p->b->opt.np, row->bytes, us);
}

static void text(struct picture *p, double x, double y, const char *class, const char *words)
{
	ls_str_addf(p->out, "<text x=\"%.1f\" y=\"%.1f\" class=\"%s\">", x, y, class);
	ls_html_add(p->out, words);
	ls_str_add(p->out, "</text>\n");
}

static void rule(struct picture *p, double x1, double y1, double x2, double y2, const char *class)
{
	ls_str_addf(p->out, "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" class=\"%s\"/>\n", x1, y1, x2, y2, class);
}

/* Powers of two, at most ten or so. */
static void draw_sizes(struct picture *p)
{
	int low = (int)ceil(log2(p->x.lo)), high = (int)floor(log2(p->x.hi)), step = (high - low) / 10 + 1, e;
	char label[32];

	for (e = low; e <= high; e += step) {
		double x = across(p, ldexp(1, e));

		rule(p, x, TOP, x, H - BOTTOM, "grid");
		snprintf(label, sizeof(label), "%d %s", 1 << e % 10, (const char *const[]){ "B", "KiB", "MiB", "GiB", "TiB" }[e / 10]);
		text(p, x, H - BOTTOM + 18, "mid", label);
	}
	text(p, LEFT + (W - LEFT - RIGHT) / 2, H - BOTTOM + 40, "mid", "size");
}

static void draw_frame(struct picture *p)
{
	char title[160];
	int i;

	ls_str_addf(p->out, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\">\n%s"
		"<rect width=\"%d\" height=\"%d\" class=\"page\"/>\n", W, p->height, W, p->height, style, W, p->height);
	snprintf(title, sizeof(title), "%s, %d ranks, %d cores, lockstep %s", ls_bench_kind_name(p->b->opt.kind), p->b->opt.np, p->b->cores, LOCKSTEP_VERSION);
	text(p, LEFT, 28, "head", title);
	text(p, LEFT, 50, "", "bus bandwidth, GB/s: median; shaded, from the slowest to the fastest round");
	draw_sizes(p);
	for (i = 0; i < p->y.n; i++) {
		rule(p, LEFT, up(p, p->y.tick[i]), W - RIGHT, up(p, p->y.tick[i]), "grid");
		text(p, LEFT - 8, up(p, p->y.tick[i]) + 4, "end", p->y.label[i]);
	}
}

/* One line with its band: the rows of this type and operation. */
static void draw_line(struct picture *p, int contender, int at, enum coll_dtype d, enum coll_op o)
{
	const struct ls_bench *b = p->b;
	struct ls_str low = { 0 }, line = { 0 }, label = { 0 };
	size_t i, k;
	int n = p->lines, y = H + n * LINE;

	for (i = 0; i < b->n_rows; i++) {
		const struct ls_bench_series *s = ls_bench_series_at(b, &b->rows[i], contender, (enum ls_bench_place)at);
		struct ls_bench_stats t = ls_bench_stats_of(s->us, s->n);
		double x = across(p, (double)b->rows[i].bytes);

		if (b->rows[i].dtype != d || b->rows[i].op != o || !s->n)
			continue;
		ls_str_addf(&line, "%.1f,%.1f ", x, up(p, busbw(p, &b->rows[i], t.median)));
		ls_str_addf(&low, "%.1f,%.1f ", x, up(p, busbw(p, &b->rows[i], t.max)));
	}
	if (!line.len)
		return;
	for (k = b->n_rows; k-- > 0;) {
		const struct ls_bench_series *s = ls_bench_series_at(b, &b->rows[k], contender, (enum ls_bench_place)at);

		if (b->rows[k].dtype == d && b->rows[k].op == o && s->n)
			ls_str_addf(&low, "%.1f,%.1f ", across(p, (double)b->rows[k].bytes), up(p, busbw(p, &b->rows[k], ls_bench_stats_of(s->us, s->n).min)));
	}
	ls_str_addf(p->out, "<polygon points=\"%s\" class=\"c%d b\"/>\n<polyline points=\"%s\" class=\"c%d l%s\"/>\n", low.s, n % COLOURS, line.s, n % COLOURS,
		n / COLOURS % 2 ? " dash" : "");
	ls_str_addf(p->out, "<line x1=\"%d\" y1=\"%d\" x2=\"%d\" y2=\"%d\" class=\"c%d l%s\"/>\n", LEFT, y, LEFT + 28, y, n % COLOURS,
		n / COLOURS % 2 ? " dash" : "");
	ls_str_addf(&label, "%s: %s%s%s, %s", b->contenders[contender].name, ls_bench_dtype_name(d), ls_bench_reduces(b->opt.kind) ? " " : "",
		ls_bench_reduces(b->opt.kind) ? ls_bench_op_name(o) : "", at == LS_BENCH_IN ? "in place" : "out of place");
	text(p, LEFT + 36, y + 4, "", ls_str_text(&label));
	p->lines++;
	ls_str_release(&low);
	ls_str_release(&line);
	ls_str_release(&label);
}

static void draw_lines(struct picture *p)
{
	int c, at, d, o;

	for (d = 0; d < COLL_DTYPES; d++)
		for (o = 0; o < COLL_OPS; o++)
			for (at = 0; at < LS_BENCH_PLACES; at++)
				for (c = 0; c < p->b->n; c++)
					draw_line(p, c, at, (enum coll_dtype)d, (enum coll_op)o);
}

static bool axes(struct picture *p)
{
	double low = INFINITY, high = 0, y;
	size_t i, k, lines = 0;

	for (i = 0; i < p->b->n_rows; i++)
		for (k = 0; k < (size_t)p->b->n * LS_BENCH_PLACES; k++) {
			const struct ls_bench_series *s = &p->b->rows[i].series[k];
			struct ls_bench_stats t = ls_bench_stats_of(s->us, s->n);

			if (!s->n)
				continue;
			lines += !i || p->b->rows[i].dtype != p->b->rows[i - 1].dtype || p->b->rows[i].op != p->b->rows[i - 1].op;
			y = busbw(p, &p->b->rows[i], t.max);
			low = y > 0 && y < low ? y : low;
			y = busbw(p, &p->b->rows[i], t.min);
			high = isfinite(y) && y > high ? y : high;
		}
	if (!(high > 0) || !isfinite(low))
		return false;
	ls_axis_log(&p->x, (double)p->b->rows[0].bytes, (double)p->b->rows[p->b->n_rows - 1].bytes * 1.0001);
	ls_axis_log(&p->y, low, high * 1.0001);
	p->height = H + 12 + (int)lines * LINE;
	return true;
}

ls_status ls_bench_plot(const struct ls_bench *b, struct ls_str *ret, struct ls_err *err)
{
	struct picture p = { .b = b, .out = ret };

	if (!axes(&p))
		return ls_fail(err, LS_AGAIN, 0, "--plot: no measurement has a bandwidth to draw; one rank sends nothing");
	draw_frame(&p);
	draw_lines(&p);
	ls_str_add(ret, "</svg>\n");
	return ret->oom ? ls_fail_oom(err) : LS_OK;
}
