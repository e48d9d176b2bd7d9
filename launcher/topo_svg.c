/* topo_svg.c -- see topo_svg.h.
 *
 * Packages hold NUMA domains, these a grid of cores (named by their first PU, coloured by rank) and, to its right, the
 * GPUs and NICs of the domain. Boxes are measured first and drawn second, by the same functions. Nothing outside the
 * file is needed to show it.
 */
#include "launcher/topo_svg.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CELL = 28, CHIP_W = 190, PAD = 14, HEAD = 30, GAP = 16, LEGEND_W = 330, LEGEND_H = 24, STRIPES = 4 };

struct picture {
	const struct ls_topo *topo;
	const struct ls_place *place; /* or NULL */
	hwloc_bitmap_t *pus;          /* [place->n] */
	const struct ls_numa *numas;
	const struct ls_gpu *gpus;
	const struct ls_nic *nics;
	int n, n_numas, n_gpus, n_nics;
	struct ls_str *out;
};

static void add_escaped(struct ls_str *out, const char *text)
{
	for (; *text; text++) {
		if (*text == '<')
			ls_str_add(out, "&lt;");
		else if (*text == '&')
			ls_str_add(out, "&amp;");
		else if ((unsigned char)*text >= ' ')
			ls_str_addn(out, text, 1);
	}
}

static void text_at(struct picture *pic, int x, int y, const char *class, const char *text)
{
	ls_str_addf(pic->out, "<text x=\"%d\" y=\"%d\" class=\"%s\">", x, y, class);
	add_escaped(pic->out, text);
	ls_str_add(pic->out, "</text>\n");
}

static void box(struct picture *pic, int x, int y, int w, int h, const char *class)
{
	ls_str_addf(pic->out, "<rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" rx=\"6\" class=\"%s\"/>\n", x, y, w,
		h, class);
}

/* Hues go round the circle by the golden angle, so that neighbouring ranks differ however many there are; every
 * other turn is darker. */
static void rank_colour(int rank, char ret[8])
{
	static const int light[] = { 205, 170, 225 };
	double hue = rank * 137.508 / 60, top = light[rank % 3], low = top * 0.45, rest, mid;
	int turn, r, g, b;

	while (hue >= 6)
		hue -= 6;
	turn = (int)hue;
	rest = hue - turn;
	mid = low + (top - low) * (turn % 2 ? 1 - rest : rest);
	r = (int)(turn == 0 || turn == 5 ? top : turn == 1 || turn == 4 ? mid : low);
	g = (int)(turn == 1 || turn == 2 ? top : turn == 0 || turn == 3 ? mid : low);
	b = (int)(turn == 3 || turn == 4 ? top : turn == 2 || turn == 5 ? mid : low);
	snprintf(ret, 8, "#%02x%02x%02x", r & 255, g & 255, b & 255);
}

static void rect_of_rank(struct picture *pic, double x, int y, double w, int h, int rank)
{
	char colour[8];

	rank_colour(rank, colour);
	ls_str_addf(pic->out, "<rect x=\"%.1f\" y=\"%d\" width=\"%.1f\" height=\"%d\" rx=\"3\" fill=\"%s\"/>\n", x, y,
		w, h, colour);
}

/* The ranks on these PUs, at most STRIPES of them. */
static int ranks_on(const struct picture *pic, hwloc_const_bitmap_t pus, int ret[STRIPES])
{
	int r, n = 0;

	for (r = 0; r < pic->n && n < STRIPES; r++)
		if (hwloc_bitmap_intersects(pic->pus[r], pus))
			ret[n++] = r;
	return n;
}

static void draw_core(struct picture *pic, int x, int y, hwloc_obj_t core)
{
	int i, ranks[STRIPES], n = ranks_on(pic, core->cpuset, ranks);
	const int side = CELL - 4;
	char name[16];

	if (!n)
		box(pic, x, y, side, side, "free");
	for (i = 0; i < n; i++)
		rect_of_rank(pic, x + (double)side * i / n, y, (double)side / n, side, ranks[i]);
	snprintf(name, sizeof(name), "%d", hwloc_bitmap_first(core->cpuset));
	text_at(pic, x + side / 2, y + side / 2 + 4, n ? "core" : "idle", name);
}

/* A GPU or NIC: its name, and a mark in the colour of each rank that uses it. */
static void draw_chip(struct picture *pic, int x, int y, const char *class, const char *label, const int *ranks, int n)
{
	int i;

	box(pic, x, y, CHIP_W, CELL - 4, class);
	for (i = 0; i < n; i++)
		rect_of_rank(pic, x + 6 + 8 * i, y + 6, 6, CELL - 16, ranks[i]);
	text_at(pic, x + 12 + 8 * n, y + 16, "chip", label);
}

static int gpus_at(const struct picture *pic, int numa)
{
	int i, n = 0;

	for (i = 0; i < pic->n_gpus; i++)
		n += pic->gpus[i].numa == numa;
	return n;
}

static int nics_at(const struct picture *pic, int numa)
{
	int i, n = 0;

	for (i = 0; i < pic->n_nics; i++)
		n += pic->nics[i].numa == numa && pic->nics[i].pci;
	return n;
}

/* The taller of the two columns of devices, in chips. */
static int chips_high(const struct picture *pic, int numa)
{
	return gpus_at(pic, numa) > nics_at(pic, numa) ? gpus_at(pic, numa) : nics_at(pic, numa);
}

static int chips_wide(const struct picture *pic, int numa)
{
	return (gpus_at(pic, numa) > 0) + (nics_at(pic, numa) > 0);
}

static void draw_gpus(struct picture *pic, int x, int y, int numa)
{
	int i, r, ranks[STRIPES], n;
	char label[128];

	for (i = 0; i < pic->n_gpus; i++) {
		if (pic->gpus[i].numa != numa)
			continue;
		for (r = n = 0; r < pic->n && n < STRIPES; r++)
			if (!strcmp(pic->place->seats[r].gpu_label, pic->gpus[i].label))
				ranks[n++] = r;
		snprintf(label, sizeof(label), "GPU %s \302\267 %s", pic->gpus[i].label, pic->gpus[i].busid);
		draw_chip(pic, x, y, "gpu", label, ranks, n);
		y += CELL;
	}
}

static void draw_nics(struct picture *pic, int x, int y, int numa)
{
	int i, r, ranks[STRIPES], n;
	char label[128];

	for (i = 0; i < pic->n_nics; i++) {
		const struct ls_nic *nic = &pic->nics[i];

		if (nic->numa != numa || !nic->pci)
			continue;
		for (r = n = 0; r < pic->n && n < STRIPES; r++)
			if (nic->name[0] && !strcmp(pic->place->seats[r].nic, nic->name))
				ranks[n++] = r;
		snprintf(label, sizeof(label), "%s \302\267 %s%s", nic->name[0] ? nic->name : "no driver", nic->busid,
			nic->down ? " no link" : "");
		draw_chip(pic, x, y, "nic", label, ranks, n);
		y += CELL;
	}
}

/* GPUs in one column, NICs in the next. */
static void draw_devices(struct picture *pic, int x, int y, int numa)
{
	draw_gpus(pic, x, y, numa);
	draw_nics(pic, gpus_at(pic, numa) ? x + CHIP_W + PAD : x, y, numa);
}

static int columns_of(const struct ls_numa *numa)
{
	return numa->cores <= 4 ? 4 : numa->cores <= 32 ? 8 : 14;
}

static int numa_width(const struct picture *pic, const struct ls_numa *numa)
{
	return 2 * PAD + columns_of(numa) * CELL + chips_wide(pic, numa->os_index) * (PAD + CHIP_W);
}

static int numa_height(const struct picture *pic, const struct ls_numa *numa)
{
	int rows = (numa->cores + columns_of(numa) - 1) / columns_of(numa), n = chips_high(pic, numa->os_index);

	return HEAD + (rows > n ? rows : n) * CELL + PAD;
}

static void draw_numa(struct picture *pic, int x, int y, int w, const struct ls_numa *numa)
{
	int i, columns = columns_of(numa), drawn = 0;
	char title[64];

	box(pic, x, y, w, numa_height(pic, numa), "numa");
	if (numa->os_index < 0)
		snprintf(title, sizeof(title), "no memory of their own");
	else
		snprintf(title, sizeof(title), "NUMA %d \302\267 %.0f GiB \302\267 %d cores", numa->os_index,
			(double)numa->bytes / (1 << 30), numa->cores);
	text_at(pic, x + PAD, y + 20, "title", title);
	for (i = 0; i < ls_topo_cores(pic->topo); i++) {
		hwloc_obj_t core = ls_topo_core(pic->topo, i);

		if (!hwloc_bitmap_isincluded(core->cpuset, numa->cpuset))
			continue;
		draw_core(pic, x + PAD + drawn % columns * CELL, y + HEAD + drawn / columns * CELL, core);
		drawn++;
	}
	if (numa->os_index >= 0)
		draw_devices(pic, x + PAD + columns * CELL + PAD, y + HEAD, numa->os_index);
}

/* One package: the run of domains from `first` that are in it. Returns how many; measures only, when `draw` is
 * false. */
static int package(struct picture *pic, int first, int x, int y, bool draw, int *ret_w, int *ret_h)
{
	int i, n = 0, w = 0, h = HEAD, id = ls_topo_package_of(pic->topo, pic->numas[first].cpuset);
	char title[64];

	for (i = first; i < pic->n_numas && ls_topo_package_of(pic->topo, pic->numas[i].cpuset) == id; i++, n++) {
		w = numa_width(pic, &pic->numas[i]) > w ? numa_width(pic, &pic->numas[i]) : w;
		h += numa_height(pic, &pic->numas[i]) + PAD;
	}
	*ret_w = w + 2 * PAD;
	*ret_h = h;
	if (!draw)
		return n;
	box(pic, x, y, *ret_w, h, "package");
	snprintf(title, sizeof(title), id < 0 ? "no single package" : "package %d", id);
	text_at(pic, x + PAD, y + 20, "title", title);
	for (i = first, h = HEAD; i < first + n; i++) {
		draw_numa(pic, x + PAD, y + h, w, &pic->numas[i]);
		h += numa_height(pic, &pic->numas[i]) + PAD;
	}
	return n;
}

/* Packages two by two. *ret_w and *ret_h grow to the extent of all. */
static void draw_packages(struct picture *pic, bool draw, int *ret_w, int *ret_h)
{
	int first, w, h, x = GAP, y = *ret_h, row = 0, in_row = 0;

	for (first = 0; first < pic->n_numas;) {
		first += package(pic, first, x, y, draw, &w, &h);
		x += w + GAP;
		row = h > row ? h : row;
		*ret_w = x > *ret_w ? x : *ret_w;
		if (++in_row == 2 || first == pic->n_numas) {
			y += row + GAP;
			x = GAP;
			row = in_row = 0;
		}
	}
	*ret_h = y;
}

static int per_line(int w, int item)
{
	return (w - GAP) / item > 1 ? (w - GAP) / item : 1;
}

static void draw_legend(struct picture *pic, int y, int w)
{
	int r, columns = per_line(w, LEGEND_W);
	char label[160];

	for (r = 0; r < pic->n; r++) {
		const struct ls_seat *s = &pic->place->seats[r];
		int x = GAP + r % columns * LEGEND_W, at = y + r / columns * LEGEND_H;
		size_t len;

		rect_of_rank(pic, x, at, 16, 16, r);
		len = (size_t)snprintf(label, sizeof(label), "rank %d: %d core%s%s", r, s->cores,
			s->cores == 1 ? "" : "s", s->shared ? " (shared)" : "");
		if (s->gpu >= 0)
			len += (size_t)snprintf(label + len, sizeof(label) - len, ", GPU %s", s->gpu_label);
		if (s->nic[0])
			snprintf(label + len, sizeof(label) - len, ", %s", s->nic);
		text_at(pic, x + 24, at + 13, "chip", label);
	}
}

static const char style[] =
	"<style>text{font-family:'DejaVu Sans',Verdana,sans-serif;fill:#23303d}.head{font-size:17px;font-weight:bold}"
	".title{font-size:12px;font-weight:bold}.chip{font-size:11px}.core{font-size:9px;text-anchor:middle;fill:#fff;"
	"font-weight:bold}.idle{font-size:9px;text-anchor:middle;fill:#7a8793}.warn{font-size:12px;fill:#a8321a}"
	".package{fill:#f4f6f8;stroke:#9aa7b3}.numa{fill:#fff;stroke:#c3ccd4}.free{fill:#e9edf0;stroke:#d3dae0}"
	".gpu{fill:#e5f3d8;stroke:#76b041}.nic{fill:#e1edf9;stroke:#5a93c9}</style>\n";

static void draw(struct picture *pic, const char *title)
{
	int w = 760, top = 44, h = top, warn_h, apart = chips_high(pic, -1), apart_y, legend_y;

	warn_h = pic->place && pic->place->warning[0] ? LEGEND_H : 0;
	h += warn_h;
	draw_packages(pic, false, &w, &h);
	apart_y = h;
	h += apart ? HEAD + apart * CELL + GAP : 0;
	legend_y = h;
	h += pic->n ? (pic->n + per_line(w, LEGEND_W) - 1) / per_line(w, LEGEND_W) * LEGEND_H + GAP : 0;
	ls_str_addf(pic->out,
		"<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\">\n%s"
		"<rect width=\"%d\" height=\"%d\" fill=\"#fff\"/>\n",
		w, h, w, h, style, w, h);
	text_at(pic, GAP, 28, "head", title);
	if (warn_h)
		text_at(pic, GAP, top + 8, "warn", pic->place->warning);
	top += warn_h;
	draw_packages(pic, true, &w, &top);
	if (apart)
		text_at(pic, GAP, apart_y + 18, "title", "near no single NUMA domain");
	draw_devices(pic, GAP, apart_y + HEAD, -1);
	draw_legend(pic, legend_y, w);
	ls_str_add(pic->out, "</svg>\n");
}

/* The seats carry their PUs as text: that is what a rank will be bound to, so that is what is drawn. */
static ls_status read_seats(struct picture *pic, struct ls_err *err)
{
	int r;

	pic->pus = calloc((size_t)pic->n + 1, sizeof(*pic->pus));
	if (!pic->pus)
		return ls_fail_oom(err);
	for (r = 0; r < pic->n; r++) {
		pic->pus[r] = hwloc_bitmap_alloc();
		if (!pic->pus[r] || hwloc_bitmap_list_sscanf(pic->pus[r], pic->place->seats[r].cpuset) < 0)
			return ls_fail_oom(err);
	}
	return LS_OK;
}

ls_status ls_topo_svg(const char *title, const struct ls_topo *topo, const struct ls_place *place, struct ls_str *ret,
	struct ls_err *err)
{
	struct picture pic = { .topo = topo, .place = place, .n = place ? place->n : 0, .out = ret };
	ls_status st = read_seats(&pic, err);
	int r;

	pic.n_numas = ls_topo_numa_list(topo, &pic.numas);
	pic.n_gpus = ls_topo_gpus(topo, &pic.gpus);
	pic.n_nics = ls_topo_nics(topo, &pic.nics);
	if (!st)
		draw(&pic, title);
	for (r = 0; pic.pus && r < pic.n; r++)
		hwloc_bitmap_free(pic.pus[r]);
	free(pic.pus);
	return !st && ret->oom ? ls_fail_oom(err) : st;
}
