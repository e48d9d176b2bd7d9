/* net_judge.c -- see net.h: the judgement, from the strongest to the weakest.
 *
 *     hosts     each measure of ranks against that of all ranks
 *     links     hosts that send or get slowly; groups that are well inside and slow between each other; then the host with most slow links, again and
 *               again; then links, and links that are slower in one direction
 *     worth a look: facts and clocks in which hosts differ */
#include "core/net.h"
#include "core/sort.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct judge {
	const struct ls_net *net;
	double below, expect;      /* expect: GB/s */
	struct ls_net_verdict *v;
	bool *slow;                /* [pairs]: by this measure */
	bool *net_slow;            /* [hosts]: a finding says so of its network */
	int *group;                /* [hosts] */
	double *work;              /* [ranks, hosts or pairs] */
	bool oom;
};

__attribute__((format(printf, 5, 6))) static void find(struct judge *j, bool slow, int host, int other, const char *fmt, ...)
{
	struct ls_net_finding *v = realloc(j->v->v, (j->v->n + 1) * sizeof(*v));
	va_list ap;

	if (!v) {
		j->oom = true;
		return;
	}
	j->v->v = v;
	v += j->v->n++;
	*v = (struct ls_net_finding){ .slow = slow, .host = host, .other = other };
	va_start(ap, fmt);
	vsnprintf(v->text, sizeof(v->text), fmt, ap);
	va_end(ap);
	j->v->slow |= slow;
	if (slow && host >= 0 && other < 0)
		j->v->slow_host[host] = true;
}

static const char *name(const struct judge *j, int host)
{
	return j->net->hosts[host].name;
}

/* "a, b and 3 more", of those hosts for which in[] is `what`. */
static void add_names(const struct judge *j, const int *in, int what, struct ls_str *ret)
{
	int i, n = 0, shown = 0;

	for (i = 0; i < j->net->n_hosts; i++)
		n += in[i] == what;
	for (i = 0; i < j->net->n_hosts && shown < 8; i++)
		if (in[i] == what)
			ls_str_addf(ret, "%s%s", shown++ ? ", " : "", name(j, i));
	if (n > shown)
		ls_str_addf(ret, " and %d more", n - shown);
}

/* --- what is usual -------------------------------------------------------------------------------------------------------------- */

/* sigma is of the logarithms: what disturbs a measurement divides it, and a tenth of what is usual is as far from it as ten times that, however wide the
 * spread. */
struct usual { double mid, sigma; };

static double upper_median(double *v, int n)
{
	ls_sort(v, (size_t)n);
	return v[n / 2];
}

/* Of those that are not below `below` of `first`, a first guess. Sorts v. */
static struct usual usual_of(double *v, int n, double first, double below)
{
	struct usual u = { 0 };
	int i, good = 0;

	for (i = 0; i < n; i++)
		if (v[i] >= below * first)
			v[good++] = v[i];
	if (!good)
		return u;
	u.mid = upper_median(v, good);
	for (i = 0; i < good; i++)
		v[i] = fabs(log(v[i] / u.mid));
	u.sigma = 1.4826 * upper_median(v, good);
	return u;
}

static bool is_slow(const struct ls_net_stat *s, struct usual u, double below)
{
	return s->mid < below * u.mid && s->best < below * u.mid && s->mid * exp(LS_NET_SIGMAS * fmax(u.sigma, log1p(s->spread))) < u.mid;
}

/* --- hosts ---------------------------------------------------------------------------------------------------------------------- */

/* The slow ranks of one host: a sentence of the slowest. */
static void find_ranks(struct judge *j, int host, enum ls_net_rank_stat k, struct usual u, double below)
{
	const struct ls_net *net = j->net;
	const struct ls_net_stat *worst = NULL;
	int i, slow = 0, all = 0, local = 0;
	char who[32] = "";

	for (i = 0; i < net->n_ranks; i++) {
		const struct ls_net_stat *s = &net->ranks[i].stat[k];

		if (net->ranks[i].host != host || !s->n)
			continue;
		all++;
		if (!is_slow(s, u, below))
			continue;
		slow++;
		if (!worst || s->mid < worst->mid) {
			worst = s;
			local = net->ranks[i].local;
		}
	}
	if (!slow)
		return;
	if (slow < all)
		snprintf(who, sizeof(who), " of its rank %d", local);
	find(j, true, host, -1, "host %s: %s%s is %.3g %s, %.0f%% of the usual %.3g (spread %.0f%%)", name(j, host), ls_net_rank_words[k].words, who,
		worst->mid, ls_net_rank_words[k].unit, 100 * worst->mid / u.mid, u.mid, 100 * worst->spread);
}

static void judge_ranks(struct judge *j, enum ls_net_rank_stat k)
{
	const struct ls_net *net = j->net;
	double below = j->below;
	struct usual u;
	int i, n = 0;

	for (i = 0; i < net->n_ranks; i++)
		if (net->ranks[i].stat[k].n)
			j->work[n++] = net->ranks[i].stat[k].mid;
	if (n < 2)
		return;
	if (n == 2) /* the slower of two: only if there is no doubt */
		below = fmin(below, 0.5);
	u = usual_of(j->work, n, upper_median(j->work, n), below);
	for (i = 0; i < net->n_hosts; i++)
		find_ranks(j, i, k, u, below);
}

static void judge_gpus(struct judge *j)
{
	int i;

	for (i = 0; i < j->net->n_ranks; i++)
		if (j->net->ranks[i].gpu_bad)
			find(j, true, j->net->ranks[i].host, -1, "host %s: the GPU of its rank %d cannot be used: %s", name(j, j->net->ranks[i].host),
				j->net->ranks[i].local, j->net->ranks[i].gpu);
}

/* --- links ---------------------------------------------------------------------------------------------------------------------- */

static const struct ls_net_stat *pair(const struct judge *j, int a, int b, enum ls_net_pair_stat k)
{
	return &j->net->pairs[ls_net_pair_at(j->net->n_hosts, a, b)].stat[k];
}

static bool *slow_pair(const struct judge *j, int a, int b)
{
	return &j->slow[ls_net_pair_at(j->net->n_hosts, a, b)];
}

/* Each host's best link, of which the upper median is a first guess that a few slow hosts do not move; the median of all links would be that of
 * slow ones as soon as one host of three is slow. */
static struct usual usual_link(const struct judge *j, enum ls_net_pair_stat k)
{
	int n = j->net->n_hosts, a, b, m = 0;
	double first, best;

	for (a = 0; a < n; a++) {
		best = 0;
		for (b = 0; b < n; b++)
			if (a != b && pair(j, a, b, k)->n)
				best = fmax(best, pair(j, a, b, k)->mid);
		if (best > 0)
			j->work[m++] = best;
	}
	if (!m)
		return (struct usual){ 0 };
	first = upper_median(j->work, m);
	for (a = m = 0; a < n; a++)
		for (b = a + 1; b < n; b++)
			if (pair(j, a, b, k)->n)
				j->work[m++] = pair(j, a, b, k)->mid;
	return usual_of(j->work, m, first, j->below);
}

/* Hosts that are joined by links that are not slow, as group[]; their number. */
static int find_groups(struct judge *j)
{
	int n = j->net->n_hosts, groups = 0, a, b;
	bool grown;

	for (a = 0; a < n; a++)
		j->group[a] = a;
	do {
		grown = false;
		for (a = 0; a < n; a++)
			for (b = a + 1; b < n; b++)
				if (!*slow_pair(j, a, b) && j->group[a] != j->group[b]) {
					j->group[a] = j->group[b] = j->group[a] < j->group[b] ? j->group[a] : j->group[b];
					grown = true;
				}
	} while (grown);
	for (a = 0; a < n; a++)
		groups += j->group[a] == a;
	return groups;
}

static int group_size(const struct judge *j, int group)
{
	int i, n = 0;

	for (i = 0; i < j->net->n_hosts; i++)
		n += j->group[i] == group;
	return n;
}

/* A group of several hosts away from the largest one: what joins them is slow, not each of their links. */
static void judge_groups(struct judge *j, enum ls_net_pair_stat k, struct usual u)
{
	int n = j->net->n_hosts, main_group = 0, a, b, i;
	struct ls_str names = { 0 };

	if (find_groups(j) == 1)
		return;
	for (a = 0; a < n; a++)
		if (group_size(j, a) > group_size(j, main_group))
			main_group = a;
	for (i = 0; i < n; i++) {
		if (i == main_group || group_size(j, i) < 2)
			continue;
		add_names(j, j->group, i, &names);
		if (k == LS_NET_LATENCY)
			find(j, true, -1, -1, "between %s and the others: every latency is far above the usual %.3g us; look at what joins them", ls_str_text(&names),
				1 / u.mid);
		else
			find(j, true, -1, -1, "between %s and the others: every link is below %.3g GB/s, where %.3g is usual; look at what joins them (a switch, an uplink, a router)",
				ls_str_text(&names), j->below * u.mid, u.mid);
		ls_str_release(&names);
		for (a = 0; a < n; a++)
			for (b = 0; b < n; b++)
				if (j->group[a] == i && j->group[b] != i && group_size(j, j->group[b]) > 1)
					*slow_pair(j, a, b) = false;
	}
}

static int count_slow(const struct judge *j, int host)
{
	int i, n = 0;

	for (i = 0; i < j->net->n_hosts; i++)
		n += i != host && *slow_pair(j, host, i);
	return n;
}

/* What a host sends and what it gets, the median over its links. */
static double one_way(struct judge *j, int host, bool sends)
{
	int i, n = 0;

	for (i = 0; i < j->net->n_hosts; i++)
		if (i != host && pair(j, host, i, LS_NET_THERE)->n)
			j->work[n++] = pair(j, host, i, (host < i) == sends ? LS_NET_THERE : LS_NET_BACK)->mid;
	return n ? upper_median(j->work, n) : NAN;
}

static double typical(struct judge *j, int host, enum ls_net_pair_stat k)
{
	int i, n = 0;

	for (i = 0; i < j->net->n_hosts; i++)
		if (i != host && *slow_pair(j, host, i))
			j->work[n++] = pair(j, host, i, k)->mid;
	return n ? upper_median(j->work, n) : NAN;
}

static void find_host(struct judge *j, int host, int count, int others, enum ls_net_pair_stat k, struct usual u)
{
	double mid = typical(j, host, k), there = one_way(j, host, true), back = one_way(j, host, false), usual = u.mid;
	char many[64] = "every link", ways[96] = "";
	int i;

	if (count < others)
		snprintf(many, sizeof(many), "%d of %d links", count, others);
	if (k == LS_NET_LATENCY)
		mid = 1 / mid, usual = 1 / usual;
	else if (isfinite(there) && isfinite(back))
		snprintf(ways, sizeof(ways), "; it sends %.3g and gets %.3g GB/s", there, back);
	find(j, true, host, -1, "host %s: the %s on %s is %.3g %s, where %.3g is usual%s", name(j, host), ls_net_pair_words[k].words, many, mid,
		ls_net_pair_words[k].unit, usual, ways);
	j->net_slow[host] = true;
	for (i = 0; i < j->net->n_hosts; i++)
		if (i != host)
			*slow_pair(j, host, i) = false;
}

/* The host with most slow links, if more than half of its links are slow, and so on; what is left is a matter of the link. */
static void judge_hosts(struct judge *j, enum ls_net_pair_stat k, struct usual u)
{
	int n = j->net->n_hosts, left = n, i, worst, count;

	for (;;) {
		for (worst = i = count = 0; i < n; i++)
			if (count_slow(j, i) > count) {
				count = count_slow(j, i);
				worst = i;
			}
		if (count < 2 || 2 * count <= left - 1)
			return;
		find_host(j, worst, count, left - 1, k, u);
		left--;
	}
}

static void find_link(struct judge *j, int a, int b, enum ls_net_pair_stat k, struct usual u)
{
	const struct ls_net_stat *s = pair(j, a, b, k), *there = pair(j, a, b, LS_NET_THERE), *back = pair(j, a, b, LS_NET_BACK);

	if (k == LS_NET_LATENCY)
		find(j, true, a, b, "link %s - %s: the %s is %.3g us, where %.3g is usual (spread %.0f%%)", name(j, a), name(j, b), ls_net_pair_words[k].words,
			1 / s->mid, 1 / u.mid, 100 * s->spread);
	else
		find(j, true, a, b, "link %s - %s: the %s is %.3g GB/s, %.0f%% of the usual %.3g (spread %.0f%%); %s to %s %.3g, %s to %s %.3g GB/s",
			name(j, a), name(j, b), ls_net_pair_words[k].words, s->mid, 100 * s->mid / u.mid, u.mid, 100 * s->spread, name(j, a), name(j, b),
			there->mid, name(j, b), name(j, a), back->mid);
}

/* j->slow is filled in; what is found is struck out. */
static void name_slow(struct judge *j, enum ls_net_pair_stat k, struct usual u)
{
	int n = j->net->n_hosts, a, b;

	for (a = 0; a < n; a++)
		for (b = a + 1; b < n; b++)
			j->v->suspect[ls_net_pair_at(n, a, b)] |= *slow_pair(j, a, b);
	judge_groups(j, k, u);
	judge_hosts(j, k, u);
	for (a = 0; a < n; a++)
		for (b = a + 1; b < n; b++)
			if (*slow_pair(j, a, b))
				find_link(j, a, b, k, u);
}

static void judge_links(struct judge *j)
{
	struct usual u = usual_link(j, LS_NET_BOTH);
	int n = j->net->n_hosts, a, b;

	for (a = 0; a < n; a++)
		for (b = a + 1; b < n; b++)
			*slow_pair(j, a, b) = pair(j, a, b, LS_NET_BOTH)->n && is_slow(pair(j, a, b, LS_NET_BOTH), u, j->below) && !j->net_slow[a] &&
				!j->net_slow[b];
	name_slow(j, LS_NET_BOTH, u);
}

/* Latencies differ by nature, by the hops between two hosts, and noise only makes them longer: a link is slow here at several times what is usual.
 * As rates, 1/us, so that one code judges all. */
static void judge_latency(struct judge *j)
{
	int n = j->net->n_hosts, a, b;
	double below = j->below / 4;
	struct ls_net_pair *rates = calloc(ls_net_pairs(n) + 1, sizeof(*rates));
	struct ls_net as_rates = *j->net;
	const struct ls_net *net = j->net;
	struct usual u;
	size_t i;

	if (!rates) {
		j->oom = true;
		return;
	}
	for (i = 0; i < ls_net_pairs(n); i++) {
		rates[i] = net->pairs[i];
		rates[i].stat[LS_NET_LATENCY].mid = 1 / net->pairs[i].stat[LS_NET_LATENCY].mid;
		rates[i].stat[LS_NET_LATENCY].best = 1 / net->pairs[i].stat[LS_NET_LATENCY].best;
	}
	as_rates.pairs = rates;
	j->net = &as_rates;
	u = usual_link(j, LS_NET_LATENCY);
	for (a = 0; a < n; a++)
		for (b = a + 1; b < n; b++) {
			struct ls_net_stat *s = &rates[ls_net_pair_at(n, a, b)].stat[LS_NET_LATENCY];

			*slow_pair(j, a, b) = s->n && is_slow(s, u, below) && !j->net_slow[a] && !j->net_slow[b];
		}
	name_slow(j, LS_NET_LATENCY, u);
	j->net = net;
	free(rates);
}

/* The slower direction of each link against what a person expects of it. */
static void judge_expected(struct judge *j)
{
	struct usual u = { .mid = j->expect };
	int n = j->net->n_hosts, a, b, slow = 0;
	enum ls_net_pair_stat k;

	for (a = 0; a < n; a++)
		for (b = a + 1; b < n; b++) {
			bool *at = slow_pair(j, a, b);

			*at = false;
			for (k = LS_NET_THERE; k <= LS_NET_BACK; k++)
				*at |= pair(j, a, b, k)->n && pair(j, a, b, k)->best < j->below * u.mid;
			slow += *at;
		}
	if (slow && (size_t)slow == ls_net_pairs(n) && n > 2)
		find(j, true, -1, -1, "every link is below %.3g Gbit/s, %.0f%% of the %.3g expected", 8 * j->below * u.mid, 100 * j->below, 8 * u.mid);
	else
		for (a = 0; a < n; a++)
			for (b = a + 1; b < n; b++)
				if (*slow_pair(j, a, b))
					find(j, true, a, b, "link %s - %s: %s to %s %.3g, %s to %s %.3g Gbit/s, where %.3g is expected", name(j, a), name(j, b),
						name(j, a), name(j, b), 8 * pair(j, a, b, LS_NET_THERE)->mid, name(j, b), name(j, a),
						8 * pair(j, a, b, LS_NET_BACK)->mid, 8 * u.mid);
}

/* One direction against the other, of a link of which nothing is known yet. *ret_from is where the slower one begins. */
static bool is_one_way(const struct judge *j, int a, int b, int *ret_from)
{
	const struct ls_net_stat *there = pair(j, a, b, LS_NET_THERE), *back = pair(j, a, b, LS_NET_BACK);
	bool back_slower = back->mid < there->mid;
	const struct ls_net_stat *low = back_slower ? back : there, *high = back_slower ? there : back;

	*ret_from = back_slower ? b : a;
	return there->n && back->n && !j->net_slow[a] && !j->net_slow[b] && is_slow(low, (struct usual){ high->mid, log1p(high->spread) }, j->below);
}

/* More than half of a host's links, all from it or all to it: that is the host. */
static void judge_one_way_host(struct judge *j, int host)
{
	int n = j->net->n_hosts, sends = 0, gets = 0, left = -1, other, from;

	for (other = 0; other < n; other++) {
		left += !j->net_slow[other];
		if (other == host || !is_one_way(j, host < other ? host : other, host < other ? other : host, &from))
			continue;
		*(from == host ? &sends : &gets) += 1;
	}
	if (fmax(sends, gets) < 2 || 2 * fmax(sends, gets) <= left)
		return;
	find(j, true, host, -1, "host %s: one way is slower on %d of %d links; it sends %.3g and gets %.3g GB/s", name(j, host), sends > gets ? sends : gets,
		left, one_way(j, host, true), one_way(j, host, false));
	j->net_slow[host] = true;
}

static void judge_one_way_hosts(struct judge *j)
{
	int n = j->net->n_hosts, a, b, from;

	for (a = 0; a < n; a++)
		for (b = a + 1; b < n; b++)
			j->v->suspect[ls_net_pair_at(n, a, b)] |= is_one_way(j, a, b, &from);
	for (a = 0; a < n; a++)
		judge_one_way_host(j, a);
}

static void judge_one_way_links(struct judge *j)
{
	int n = j->net->n_hosts, a, b, from, to;

	for (a = 0; a < n; a++)
		for (b = a + 1; b < n; b++) {
			if (!is_one_way(j, a, b, &from))
				continue;
			to = from == a ? b : a;
			find(j, true, from, to, "link %s - %s: one way is slower: %s to %s %.3g GB/s, %s to %s %.3g", name(j, from), name(j, to), name(j, from),
				name(j, to), pair(j, a, b, from == a ? LS_NET_THERE : LS_NET_BACK)->mid, name(j, to), name(j, from),
				pair(j, a, b, from == a ? LS_NET_BACK : LS_NET_THERE)->mid);
		}
}

/* --- worth a look --------------------------------------------------------------------------------------------------------------- */

/* The value that most hosts have; NULL if none has more than half. */
static const char *usual_fact(const struct ls_net *net, enum ls_net_fact k)
{
	int a, b, n;

	for (a = 0; a < net->n_hosts; a++) {
		for (b = n = 0; b < net->n_hosts; b++)
			n += !strcmp(net->hosts[a].facts[k], net->hosts[b].facts[k]);
		if (2 * n > net->n_hosts)
			return net->hosts[a].facts[k];
	}
	return NULL;
}

static void judge_fact(struct judge *j, enum ls_net_fact k)
{
	const struct ls_net *net = j->net;
	const char *usual = usual_fact(net, k);
	int a, b;

	for (a = 0; a < net->n_hosts; a++) { /* group: the first host with the same value */
		for (b = 0; strcmp(net->hosts[a].facts[k], net->hosts[b].facts[k]) != 0; b++)
			;
		j->group[a] = b;
	}
	for (a = 0; a < net->n_hosts; a++) {
		struct ls_str names = { 0 };
		const char *value = net->hosts[a].facts[k];

		if (j->group[a] != a || (usual ? !strcmp(value, usual) : group_size(j, a) == net->n_hosts))
			continue;
		add_names(j, j->group, a, &names);
		if (usual)
			find(j, false, a, -1, "host %s: %s is %s, where %s is usual", ls_str_text(&names), ls_net_fact_words[k].words, *value ? value : "none",
				*usual ? usual : "none");
		else
			find(j, false, a, -1, "host %s: %s is %s; hosts differ", ls_str_text(&names), ls_net_fact_words[k].words, *value ? value : "none");
		ls_str_release(&names);
	}
}

static void judge_clocks(struct judge *j)
{
	const struct ls_net *net = j->net;
	double usual, away;
	int i;

	for (i = 0; i < net->n_hosts; i++)
		j->work[i] = net->hosts[i].clock_ms;
	usual = upper_median(j->work, net->n_hosts);
	for (i = 0; i < net->n_hosts; i++) {
		away = net->hosts[i].clock_ms - usual;
		if (fabs(away) > LS_NET_CLOCK_MS + net->hosts[i].clock_error_ms)
			find(j, false, i, -1, "host %s: its clock is %.4g ms %s the others' (+- %.2g ms): times in its logs are off by that", name(j, i), fabs(away),
				away > 0 ? "ahead of" : "behind", net->hosts[i].clock_error_ms);
	}
}

/* --- the whole ------------------------------------------------------------------------------------------------------------------ */

static void verdict_text(struct judge *j)
{
	struct ls_net_verdict *v = j->v;
	struct ls_str *text = &v->text;
	const char *sep = "";
	size_t i;
	int h;

	ls_str_add(text, v->slow ? "slow: " : "nothing is slow");
	for (h = 0; h < j->net->n_hosts; h++)
		if (v->slow_host[h]) {
			ls_str_addf(text, "%shost %s", sep, name(j, h));
			sep = "; ";
		}
	for (i = 0; i < v->n; i++) {
		const struct ls_net_finding *f = &v->v[i];

		if (!f->slow || (f->host >= 0 && f->other < 0))
			continue;
		if (f->host >= 0)
			ls_str_addf(text, "%slink %s - %s", sep, name(j, f->host), name(j, f->other));
		else
			ls_str_addf(text, "%s%.*s", sep, (int)strcspn(f->text, ":"), f->text);
		sep = "; ";
	}
}

static void judge_all(struct judge *j)
{
	int k;

	judge_gpus(j);
	for (k = 0; k < LS_NET_RANK_STATS; k++)
		judge_ranks(j, (enum ls_net_rank_stat)k);
	judge_one_way_hosts(j);
	if (j->net->n_hosts > 2)
		judge_links(j);
	judge_one_way_links(j);
	if (j->net->n_hosts > 2)
		judge_latency(j);
	if (j->expect > 0)
		judge_expected(j);
	for (k = 0; k < LS_NET_FACTS; k++)
		judge_fact(j, (enum ls_net_fact)k);
	judge_clocks(j);
	if (j->net->n_hosts == 2 && !(j->expect > 0))
		find(j, false, -1, -1, "two hosts have one link, which is compared with nothing but its other direction: --expect-gbps says what it should carry");
	if (j->net->n_ranks == 1)
		find(j, false, -1, -1, "there is one rank: its figures are compared with nothing");
	verdict_text(j);
}

ls_status ls_net_judge(const struct ls_net *net, const struct ls_net_limits *limits, struct ls_net_verdict *ret, struct ls_err *err)
{
	size_t pairs = ls_net_pairs(net->n_hosts), work = pairs + (size_t)net->n_ranks + (size_t)net->n_hosts + 1;
	struct ls_net_verdict v = { .slow_host = calloc((size_t)net->n_hosts, sizeof(bool)), .suspect = calloc(pairs + 1, sizeof(bool)) };
	struct judge j = { .net = net, .below = limits->below > 0 ? limits->below : LS_NET_BELOW, .expect = limits->expect_gbps / 8, .v = &v,
		.slow = calloc(pairs + 1, sizeof(bool)), .net_slow = calloc((size_t)net->n_hosts, sizeof(bool)),
		.group = calloc((size_t)net->n_hosts, sizeof(int)), .work = calloc(work, sizeof(double)) };

	j.oom = !v.slow_host || !v.suspect || !j.slow || !j.net_slow || !j.group || !j.work;
	if (!j.oom)
		judge_all(&j);
	free(j.slow);
	free(j.net_slow);
	free(j.group);
	free(j.work);
	if (j.oom || v.text.oom) {
		ls_net_verdict_release(&v);
		return ls_fail_oom(err);
	}
	*ret = v;
	return LS_OK;
}

void ls_net_verdict_release(struct ls_net_verdict *v)
{
	free(v->v);
	free(v->slow_host);
	free(v->suspect);
	ls_str_release(&v->text);
	*v = (struct ls_net_verdict){ 0 };
}
