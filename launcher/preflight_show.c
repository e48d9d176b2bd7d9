/* preflight_show.c -- see preflight.h: a preflight for people. */
#include "launcher/preflight.h"

#include <stdlib.h>
#include <string.h>

enum { MOST_ROWS = 64 };

static bool any_rank(const struct ls_net *net, enum ls_net_rank_stat k)
{
	int i;

	for (i = 0; i < net->n_ranks; i++)
		if (net->ranks[i].stat[k].n)
			return true;
	return false;
}

static void cell(const struct ls_net_stat *s, FILE *out)
{
	if (s->n)
		fprintf(out, "  %9.3g %3.0f%%", s->mid, 100 * s->spread);
	else
		fprintf(out, "  %14s", "-");
}

static void head(const struct ls_net_words *w, FILE *out)
{
	char text[48];

	snprintf(text, sizeof(text), "%s %s", w->head, w->unit);
	fprintf(out, "  %14s", text);
}

/* Of each host its slowest rank by CPU, where there are too many for a row each. */
static bool shown(const struct ls_net *net, int rank)
{
	int i;

	for (i = 0; net->n_ranks > MOST_ROWS && i < net->n_ranks; i++)
		if (net->ranks[i].host == net->ranks[rank].host && net->ranks[i].stat[LS_NET_CPU].mid < net->ranks[rank].stat[LS_NET_CPU].mid)
			return false;
	return true;
}

static void show_ranks(const struct ls_net *net, FILE *out)
{
	int i, k;

	fprintf(out, "%-16s %5s", "HOST", "RANK");
	for (k = 0; k < LS_NET_RANK_STATS; k++)
		if (any_rank(net, (enum ls_net_rank_stat)k))
			head(&ls_net_rank_words[k], out);
	fputs("  GPU\n", out);
	for (i = 0; i < net->n_ranks; i++) {
		const struct ls_net_rank *r = &net->ranks[i];

		if (!shown(net, i))
			continue;
		fprintf(out, "%-16s %5d", net->hosts[r->host].name, i);
		for (k = 0; k < LS_NET_RANK_STATS; k++)
			if (any_rank(net, (enum ls_net_rank_stat)k))
				cell(&r->stat[k], out);
		fprintf(out, "  %s\n", r->gpu[0] ? r->gpu : net->hosts[r->host].facts[LS_NET_GPU]);
	}
	if (net->n_ranks > MOST_ROWS)
		fputs("(of each host the rank with the slowest CPU)\n", out);
}

struct row { int a, b; double rate; };

static int slowest_first(const void *x, const void *y)
{
	double a = ((const struct row *)x)->rate, b = ((const struct row *)y)->rate;

	return (a > b) - (a < b);
}

static void show_pair(const struct ls_net *net, int a, int b, FILE *out)
{
	const struct ls_net_pair *p = &net->pairs[ls_net_pair_at(net->n_hosts, a, b)];
	int k;

	fprintf(out, "%-16s %-16s", net->hosts[a].name, net->hosts[b].name);
	for (k = 0; k < LS_NET_PAIR_STATS; k++)
		cell(&p->stat[k], out);
	fputs(p->again ? "  again, alone\n" : "\n", out);
}

/* All pairs, or the slowest of many. */
static void show_pairs(const struct ls_net *net, FILE *out)
{
	size_t pairs = ls_net_pairs(net->n_hosts), n = 0, i;
	struct row *rows = calloc(pairs + 1, sizeof(*rows));
	int a, b, k;

	if (!rows || !pairs) {
		free(rows);
		return;
	}
	for (a = 0; a < net->n_hosts; a++)
		for (b = a + 1; b < net->n_hosts; b++)
			rows[n++] = (struct row){ a, b, net->pairs[ls_net_pair_at(net->n_hosts, a, b)].stat[LS_NET_BOTH].mid };
	if (pairs > MOST_ROWS)
		qsort(rows, pairs, sizeof(*rows), slowest_first);
	fprintf(out, "\n%-16s %-16s", "A", "B");
	for (k = 0; k < LS_NET_PAIR_STATS; k++)
		head(&ls_net_pair_words[k], out);
	fputc('\n', out);
	for (i = 0; i < n && i < MOST_ROWS; i++)
		show_pair(net, rows[i].a, rows[i].b, out);
	if (n > MOST_ROWS)
		fprintf(out, "(the slowest %d of %zu)\n", MOST_ROWS, n);
	free(rows);
}

static void show_clocks(const struct ls_net *net, FILE *out)
{
	double low = 0, high = 0, error = 0;
	int i;

	for (i = 0; i < net->n_hosts; i++) {
		low = net->hosts[i].clock_ms < low ? net->hosts[i].clock_ms : low;
		high = net->hosts[i].clock_ms > high ? net->hosts[i].clock_ms : high;
		error = net->hosts[i].clock_error_ms > error ? net->hosts[i].clock_error_ms : error;
	}
	if (net->n_hosts > 1)
		fprintf(out, "clocks: at most %.2g ms apart (+- %.2g ms)\n", high - low, error);
}

void ls_preflight_show(const struct ls_net *net, const struct ls_net_verdict *v, FILE *out)
{
	const struct ls_net_host *h = &net->hosts[0];
	size_t i;

	fprintf(out, "%d host%s, %d rank%s; %s, Linux %s, %s with %s cores, %s. Medians of %d repeats, and their spread.\n\n", net->n_hosts,
		net->n_hosts > 1 ? "s" : "", net->n_ranks, net->n_ranks > 1 ? "s" : "", h->facts[LS_NET_MPI], h->facts[LS_NET_KERNEL],
		h->facts[LS_NET_CPU_MODEL], h->facts[LS_NET_CORES], h->facts[LS_NET_RAM], net->ranks[0].stat[LS_NET_CPU].n);
	show_ranks(net, out);
	show_pairs(net, out);
	fprintf(out, "\nall-reduce over all %d ranks: 8 B %.3g us, large %.3g GB/s\n", net->n_ranks, net->all[LS_NET_LATENCY].mid, net->all[LS_NET_BOTH].mid);
	show_clocks(net, out);
	for (i = 0; i < v->n; i++)
		fprintf(out, "%s %s\n", v->v[i].slow ? "SLOW" : "note", v->v[i].text);
	fprintf(out, "verdict: %s\n", ls_str_text(&v->text));
}
