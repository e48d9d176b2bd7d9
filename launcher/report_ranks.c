/* report_ranks.c -- which rank is slow, and where each one sat.
 *
 * Boxes share one axis that ends a little beyond the slowest 95th percentile: a single stall of a minute would
 * otherwise press all boxes flat; its value stands in the column beside. */
#include "launcher/report_parts.h"

#include <math.h>
#include <stdlib.h>

enum { BOXES_MAX = 64, SEATS_MAX = 1024 };
#define SLOW_EXCESS 0.10

struct entry {
	int rank;
	struct ls_box box;
};

static int slowest_first(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;

	return (x->box.p50 < y->box.p50) - (x->box.p50 > y->box.p50);
}

static int by_rank(const void *a, const void *b)
{
	return ((const struct entry *)a)->rank - ((const struct entry *)b)->rank;
}

/* All ranks with steps in list[LS_RANKS_MAX]; when they are too many to show, the slowest come first. */
static int entries_make(const struct ls_steps *s, struct entry *list)
{
	int rank, n = 0;

	for (rank = 0; rank < s->n_ranks; rank++) {
		const struct ls_hist *h = s->ranks[rank];

		if (h && h->n)
			list[n++] = (struct entry){ rank, { ls_hist_quantile(h, 0.05), ls_hist_quantile(h, 0.5),
				ls_hist_quantile(h, 0.95), h->max } };
	}
	qsort(list, (size_t)n, sizeof(*list), n > BOXES_MAX ? slowest_first : by_rank);
	return n;
}

static double box_axis(struct ls_axis *axis, const struct entry *list, int n)
{
	double lo = INFINITY, hi = 0, most = 0, unit;
	int i;

	for (i = 0; i < n; i++) {
		lo = fmin(lo, list[i].box.p5);
		hi = fmax(hi, list[i].box.p95);
		most = fmax(most, list[i].box.max);
	}
	hi = fmin(most * 1.02, hi * 1.3);
	unit = hi < 1 ? 1e3 : hi < 1000 ? 1 : 1e-3;
	lo = lo < 0.5 * hi ? 0 : lo - 0.25 * (hi - lo);
	ls_axis_linear(axis, lo * unit, hi > 0 ? hi * unit : 1, 6, LS_TICKS_FREE);
	return unit;
}

static void host_add(struct ls_str *page, const cJSON *seat)
{
	if (!seat || !*ls_json_text(seat, "host"))
		return;
	ls_str_add(page, " on ");
	ls_html_add(page, ls_json_text(seat, "host"));
}

/* Returns the rank to colour, or -1. */
static int slow_say(struct ls_str *page, const struct ls_report *r)
{
	double excess = 0, others = 0;
	int rank = ls_steps_slowest(r->steps, &excess, &others);
	char mine[32], theirs[32];

	if (rank < 0)
		return -1;
	ls_text_ms(mine, others * (1 + excess));
	ls_text_ms(theirs, others);
	if (excess < SLOW_EXCESS / 20) {
		ls_str_addf(page, "<p class=\"say\">The ranks keep step, at a median of %s.</p>", theirs);
		return -1;
	}
	if (excess <= SLOW_EXCESS) {
		ls_str_addf(page, "<p class=\"say\">The ranks keep step: the slowest median, that of rank %d, ", rank);
		ls_str_addf(page, "is %.1f%% above the others' %s.</p>", 100 * excess, theirs);
		return -1;
	}
	ls_str_addf(page, "<p class=\"alarm\">Rank %d", rank);
	host_add(page, ls_report_seat(r->job, rank));
	ls_str_addf(page, " is the slowest: its median step takes %s, %.0f%% longer than the others' %s.</p>", mine,
		100 * excess, theirs);
	return rank;
}

static void box_row(struct ls_str *page, const struct ls_report *r, const struct ls_axis *axis, double unit,
	const struct entry *e, bool slow)
{
	struct ls_box scaled = { e->box.p5 * unit, e->box.p50 * unit, e->box.p95 * unit, e->box.max * unit };
	char p50[32], p95[32], max[32];

	ls_text_ms(p50, e->box.p50);
	ls_text_ms(p95, e->box.p95);
	ls_text_ms(max, e->box.max);
	ls_str_addf(page, "<tr%s><td class=\"num\">%d</td><td class=\"host\">", slow ? " class=\"slow\"" : "", e->rank);
	ls_html_add(page, ls_json_text(ls_report_seat(r->job, e->rank), "host"));
	ls_str_add(page, "</td><td class=\"draw\">");
	ls_box_add(page, axis, &scaled, slow);
	ls_str_addf(page,
		"</td><td class=\"num\">%s</td><td class=\"num wide\">%s</td><td class=\"num wide\">%s</td></tr>", p50,
		p95, max);
}

static void boxes(struct ls_str *page, const struct ls_report *r, struct entry *list)
{
	int n = entries_make(r->steps, list), shown = n > BOXES_MAX ? BOXES_MAX : n, slow, i;
	struct ls_axis axis;
	double unit = box_axis(&axis, list, shown);

	ls_str_add(page, "<section><h2>Step time by rank</h2>");
	slow = slow_say(page, r);
	if (n > shown)
		ls_str_addf(page, "<p class=\"say\">The %d slowest of %d ranks, slowest first.</p>", shown, n);
	ls_str_addf(page,
		"<table class=\"boxes%s\"><thead><tr><th class=\"num\">Rank</th><th class=\"host\">Host</th>"
		"<th>5th to 95th percentile, median, maximum</th><th class=\"num\">Median</th>"
		"<th class=\"num wide\">95th</th><th class=\"num wide\">Max</th></tr></thead><tbody>",
		shown > 16 ? " dense" : "");
	for (i = 0; i < shown; i++)
		box_row(page, r, &axis, unit, &list[i], list[i].rank == slow);
	ls_str_add(page, "</tbody><tfoot><tr><td></td><td class=\"host\"></td><td class=\"draw\">");
	ls_box_axis_add(page, &axis);
	ls_str_addf(page,
		"</td><td class=\"num\">%s</td><td class=\"wide\"></td><td class=\"wide\"></td></tr></tfoot></table>"
		"</section>",
		unit > 1 ? "µs" : unit < 1 ? "s" : "ms");
}

/* --- placement ---------------------------------------------------------------------------------------------------- */

static bool any_seat_has(const cJSON *seat, const char *key)
{
	for (; seat; seat = seat->next)
		if (*ls_json_text(seat, key) || ls_json_num(seat, key) >= 0)
			return true;
	return false;
}

/* A text, or a number from 0 on; the plan writes -1 for "none". */
static void cell_add(struct ls_str *page, const cJSON *seat, const char *key, const char *css)
{
	double v = ls_json_num(seat, key);

	ls_str_addf(page, "<td class=\"%s\">", css);
	if (*ls_json_text(seat, key))
		ls_html_add(page, ls_json_text(seat, key));
	else if (v >= 0)
		ls_str_addf(page, "%.0f", v);
	else
		ls_str_add(page, "<span class=\"quiet\">–</span>");
	ls_str_add(page, "</td>");
}

void ls_report_placement(struct ls_str *page, const struct ls_report *r)
{
	static const struct {
		const char *key, *title, *css;
		bool optional; /* no column when no rank has it */
	} columns[] = {
		{ "rank", "Rank", "num", false }, { "host", "Host", "nowrap", false }, { "cpuset", "Cores", "", false },
		{ "numa", "NUMA", "num", true },  { "gpu", "GPU", "num", true }, { "nic", "NIC", "", true },
		{ "why", "Why", "why", true },
	};
	enum { COLUMNS = sizeof(columns) / sizeof(columns[0]) };
	const cJSON *seats = ls_report_seats(r->job), *seat;
	bool show[COLUMNS];
	int i, n = 0;

	if (!seats)
		return;
	ls_str_add(page, "<section><h2>Placement</h2><div class=\"scroll long\"><table><thead><tr>");
	for (i = 0; i < COLUMNS; i++) {
		show[i] = !columns[i].optional || any_seat_has(seats, columns[i].key);
		if (show[i])
			ls_str_addf(page, "<th class=\"%s\">%s</th>", columns[i].css, columns[i].title);
	}
	ls_str_add(page, "</tr></thead><tbody>");
	for (seat = seats; seat && n < SEATS_MAX; seat = seat->next, n++) {
		ls_str_add(page, "<tr>");
		for (i = 0; i < COLUMNS; i++)
			if (show[i])
				cell_add(page, seat, columns[i].key, columns[i].css);
		ls_str_add(page, "</tr>");
	}
	ls_str_addf(page, "</tbody></table></div>%s</section>",
		seat ? "<p class=\"say\">job.json has the other ranks.</p>" : "");
}

void ls_report_ranks(struct ls_str *page, const struct ls_report *r)
{
	struct entry *list;

	if (!r->steps->rows)
		return;
	list = calloc((size_t)r->steps->n_ranks, sizeof(*list));
	if (!list) {
		page->oom = true;
		return;
	}
	boxes(page, r, list);
	free(list);
}
