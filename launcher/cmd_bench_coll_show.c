/* cmd_bench_coll_show.c -- results as text: nccl-tests' table of one contender, a table of several, CSV. */
#include "launcher/cmd_bench_coll.h"
#include "lockstep/lockstep.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const char *const place_names[LS_BENCH_PLACES] = { "out-of-place", "in-place" };

/* --- figures that all forms share ----------------------------------------------------------------------------------------------- */

void ls_bench_hosts(const struct ls_bench *b, struct ls_str *ret)
{
	const struct ls_bench_contender *c = b->contenders;
	int r, k;

	while (c->lost[0] && c < b->contenders + b->n - 1)
		c++;
	for (r = 0; r < b->opt.np; r++) {
		for (k = 0; k < r && strcmp(c->ranks[k].host, c->ranks[r].host) != 0; k++)
			;
		if (k == r)
			ls_str_addf(ret, "%s%s", r ? ", " : "", c->ranks[r].host);
	}
}

static double busbw(const struct ls_bench *b, const struct ls_bench_row *row, const struct ls_bench_series *s)
{
	return ls_bench_busbw(b->opt.kind, b->opt.np, row->bytes, ls_bench_stats_of(s->us, s->n).median);
}

double ls_bench_average(const struct ls_bench *b, int contender)
{
	double sum = 0;
	size_t i, n = 0;
	int at;

	for (i = 0; i < b->n_rows; i++)
		for (at = 0; at < LS_BENCH_PLACES; at++) {
			const struct ls_bench_series *s = ls_bench_series_at(b, &b->rows[i], contender, (enum ls_bench_place)at);

			if (s->n) {
				sum += busbw(b, &b->rows[i], s);
				n++;
			}
		}
	return n ? sum / (double)n : NAN;
}

size_t ls_bench_wrong(const struct ls_bench *b)
{
	size_t i, k, wrong = 0;

	for (i = 0; i < b->n_rows; i++)
		for (k = 0; k < (size_t)b->n * LS_BENCH_PLACES; k++)
			wrong += b->rows[i].series[k].wrong;
	return wrong;
}

static const char *op_of(const struct ls_bench *b, const struct ls_bench_row *row)
{
	return ls_bench_reduces(b->opt.kind) ? ls_bench_op_name(row->op) : "none";
}

static int root_of(const struct ls_bench *b)
{
	return b->opt.kind == COLL_BROADCAST ? b->opt.root : -1;
}

/* --- the table of one ----------------------------------------------------------------------------------------------------------- */

static void show_one_head(const struct ls_bench *b)
{
	int at;

	printf("#\n# %33s", "");
	for (at = 0; at < LS_BENCH_PLACES; at++)
		if (b->opt.places[at])
			printf("  %18s%-16s", "", place_names[at]);
	printf("\n# %10s %12s %5s %5s", "size", "count", "type", "redop");
	printf(" %4s", "root");
	for (at = 0; at < LS_BENCH_PLACES; at++)
		if (b->opt.places[at])
			printf("  %9s %8s %8s %6s", "time", "algbw", "busbw", "#wrong");
	printf("  algorithm\n# %10s %12s %16s", "(B)", "(elements)", "");
	for (at = 0; at < LS_BENCH_PLACES; at++)
		if (b->opt.places[at])
			printf("  %9s %8s %8s %6s", "(us)", "(GB/s)", "(GB/s)", "");
	printf("\n");
}

static void show_one_row(const struct ls_bench *b, const struct ls_bench_row *row)
{
	const struct ls_bench_series *s = NULL;
	double us;
	int at;

	printf("  %10zu %12zu %5s %5s %4d", row->bytes, row->count, b->opt.kind == COLL_BARRIER ? "none" : ls_bench_dtype_name(row->dtype), op_of(b, row),
		root_of(b));
	for (at = 0; at < LS_BENCH_PLACES; at++) {
		if (!b->opt.places[at])
			continue;
		s = ls_bench_series_at(b, row, 0, (enum ls_bench_place)at);
		us = ls_bench_stats_of(s->us, s->n).median;
		if (!s->n)
			printf("  %9s %8s %8s %6s", s->unsupported[0] ? "n/a" : "lost", "", "", "");
		else
			printf("  %9.*f %8.*f %8.*f", us < 100 ? 2 : 1, us, 2, ls_bench_algbw(row->bytes, us), 2, busbw(b, row, s));
		if (s->n && b->opt.check)
			printf(" %6zu", s->wrong);
		else if (s->n)
			printf(" %6s", "N/A");
	}
	printf("  %s\n", s && s->unsupported[0] ? s->unsupported : s && s->algorithm[0] ? s->algorithm : "-");
}

/* --- the table of several ------------------------------------------------------------------------------------------------------- */

static int name_width(const struct ls_bench *b)
{
	int i, w = 10;

	for (i = 0; i < b->n; i++)
		w = (int)strlen(b->contenders[i].name) > w ? (int)strlen(b->contenders[i].name) : w;
	return w;
}

static void show_several_head(const struct ls_bench *b)
{
	printf("# ratios are times for each time of %s's in the same round: above 1, %s is faster\n#\n", b->contenders[0].name, b->contenders[0].name);
	printf("# %10s %5s %5s %-*s %-12s %10s %-23s %8s %6s  %-22s %s\n", "size", "type", "redop", name_width(b), "contender", "", "time us",
		"(min to max)", "busbw", "#wrong", "ratio (min to max)", "algorithm");
}

static void show_ratio(const struct ls_bench_series *s, const struct ls_bench_series *base)
{
	struct ls_bench_stats r = ls_bench_ratio_of(s->us, s->n, base->us, base->n);
	char text[64] = "";

	if (s != base && !isnan(r.median))
		snprintf(text, sizeof(text), "%.2f (%.2f to %.2f)", r.median, r.min, r.max);
	printf("  %-22s", text);
}

static void show_several_line(const struct ls_bench *b, const struct ls_bench_row *row, int i, int at)
{
	const struct ls_bench_series *s = ls_bench_series_at(b, row, i, (enum ls_bench_place)at), *base = ls_bench_series_at(b, row, 0,
		(enum ls_bench_place)at);
	struct ls_bench_stats t = ls_bench_stats_of(s->us, s->n);
	int digits = t.median < 100 ? 2 : 0;
	char spread[64];

	printf("  %10zu %5s %5s %-*s %-12s ", row->bytes, b->opt.kind == COLL_BARRIER ? "none" : ls_bench_dtype_name(row->dtype), op_of(b, row),
		name_width(b), b->contenders[i].name, b->opt.kind == COLL_BARRIER ? "" : place_names[at]);
	if (!s->n) {
		printf("%10s %s\n", s->unsupported[0] ? "n/a" : "lost", s->unsupported);
		return;
	}
	snprintf(spread, sizeof(spread), "(%.*f to %.*f)", digits, t.min, digits, t.max);
	printf("%10.*f %-23s %8.2f ", digits, t.median, spread, busbw(b, row, s));
	if (b->opt.check)
		printf("%6zu", s->wrong);
	else
		printf("%6s", "N/A");
	show_ratio(s, base);
	printf(" %s\n", s->algorithm);
}

/* --- all ------------------------------------------------------------------------------------------------------------------------ */

/* Its ranks said hello, and each where it is bound. */
static void show_contender(const struct ls_bench *b, const struct ls_bench_contender *c)
{
	int r, loose = 0;

	for (r = 0; r < b->opt.np; r++)
		loose += c->ranks[r].cpu < 0;
	printf("# %s: %s", c->name, c->lost[0] ? "lost" : c->library);
	if (b->opt.bind && loose && !c->lost[0])
		printf("; %d of its ranks could not bind themselves", loose);
	printf("\n");
}

/* In every form of output, as it changes what the figures mean. */
void ls_bench_show_shared(const struct ls_bench *b, FILE *out, const char *before)
{
	struct ls_str who = { 0 };
	int i;

	for (i = 0; i < b->n; i++) {
		ls_bench_gpu_shared(b, &b->contenders[i], &who);
		if (who.len)
			fprintf(out, "%s %s: functional, not scaling: %s share a GPU\n", before, b->contenders[i].name, who.s);
		ls_str_release(&who);
	}
}

void ls_bench_show_head(const struct ls_bench *b)
{
	const struct ls_bench_options *o = &b->opt;
	struct ls_str hosts = { 0 };
	int i;

	ls_bench_hosts(b, &hosts);
	printf("# lockstep %s bench %s: %d ranks on %s; ", LOCKSTEP_VERSION, ls_bench_kind_name(o->kind), o->np, ls_str_text(&hosts));
	if (o->cuda)
		printf("buffers in GPUs' memory, %s\n", o->oversubscribe ? "all ranks on the first GPU" : "a GPU for each rank");
	else
		printf("%d cores here, %s%s\n", b->cores, o->bind ? "each rank bound to one" : "ranks not bound", o->np > b->cores && !o->hosts && !o->hostfile ? "; oversubscribed" : "");
	for (i = 0; i < b->n; i++)
		show_contender(b, &b->contenders[i]);
	ls_bench_show_shared(b, stdout, "#");
	printf("# time: of the slowest rank, mean of ");
	if (o->iters)
		printf("%ld", o->iters);
	else
		printf("3 to 10000");
	printf(" operations, median of %d round%s\n", o->rounds, o->rounds > 1 ? "s" : "");
	if (b->n > 1)
		show_several_head(b);
	else
		show_one_head(b);
	fflush(stdout);
	ls_str_release(&hosts);
}

void ls_bench_show_row(const struct ls_bench *b, const struct ls_bench_row *row)
{
	int at, i;

	if (b->n == 1)
		show_one_row(b, row);
	for (at = 0; at < LS_BENCH_PLACES && b->n > 1; at++)
		for (i = 0; i < b->n && b->opt.places[at]; i++)
			show_several_line(b, row, i, at);
	fflush(stdout);
}

void ls_bench_show_end(const struct ls_bench *b)
{
	size_t wrong = ls_bench_wrong(b);
	int i;

	if (b->opt.check)
		printf("# Wrong elements    : %zu %s\n", wrong, wrong ? "FAILED" : "OK");
	for (i = 0; i < b->n && b->opt.kind != COLL_BARRIER; i++)
		if (!isnan(ls_bench_average(b, i)))
			printf("# Avg bus bandwidth : %.3f%s%s\n", ls_bench_average(b, i), b->n > 1 ? " " : "", b->n > 1 ? b->contenders[i].name : "");
}

void ls_bench_show_csv(const struct ls_bench *b)
{
	size_t k;
	int i, at;

	puts("size,count,type,redop,root,contender,place,time_us,min_us,max_us,rounds,algbw,busbw,wrong,ratio,ratio_min,ratio_max,algorithm");
	for (k = 0; k < b->n_rows; k++)
		for (at = 0; at < LS_BENCH_PLACES; at++)
			for (i = 0; i < b->n; i++) {
				const struct ls_bench_row *row = &b->rows[k];
				const struct ls_bench_series *s = ls_bench_series_at(b, row, i, (enum ls_bench_place)at), *base = ls_bench_series_at(b, row,
					0, (enum ls_bench_place)at);
				struct ls_bench_stats t = ls_bench_stats_of(s->us, s->n), r = ls_bench_ratio_of(s->us, s->n, base->us, base->n);

				if (s->n)
					printf("%zu,%zu,%s,%s,%d,%s,%s,%.4f,%.4f,%.4f,%d,%.4f,%.4f,%zu,%.4f,%.4f,%.4f,%s\n", row->bytes, row->count,
						ls_bench_dtype_name(row->dtype), op_of(b, row), root_of(b), b->contenders[i].name, place_names[at], t.median, t.min,
						t.max, s->n, ls_bench_algbw(row->bytes, t.median), busbw(b, row, s), s->wrong, r.median, r.min, r.max, s->algorithm);
			}
}
