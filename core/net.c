/* net.c -- see net.h: the measurements' place, and the order in which hosts meet. */
#include "core/net.h"
#include "core/sort.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define X(code, key, head, unit, words) [code] = { key, head, unit, words },
const struct ls_net_words ls_net_rank_words[LS_NET_RANK_STATS] = { LS_NET_RANK_TABLE(X) };
const struct ls_net_words ls_net_pair_words[LS_NET_PAIR_STATS] = { LS_NET_PAIR_TABLE(X) };
#undef X
#define X(code, key, words) [code] = { key, NULL, NULL, words },
const struct ls_net_words ls_net_fact_words[LS_NET_FACTS] = { LS_NET_FACT_TABLE(X) };
#undef X

ls_status ls_net_init(struct ls_net *net, int hosts, int ranks, struct ls_err *err)
{
	*net = (struct ls_net){ .n_hosts = hosts, .n_ranks = ranks };
	net->hosts = calloc((size_t)hosts, sizeof(*net->hosts));
	net->ranks = calloc((size_t)ranks, sizeof(*net->ranks));
	net->pairs = calloc(ls_net_pairs(hosts) + 1, sizeof(*net->pairs));
	if (net->hosts && net->ranks && net->pairs)
		return LS_OK;
	ls_net_release(net);
	return ls_fail_oom(err);
}

void ls_net_release(struct ls_net *net)
{
	free(net->hosts);
	free(net->ranks);
	free(net->pairs);
	*net = (struct ls_net){ 0 };
}

size_t ls_net_pairs(int hosts)
{
	return (size_t)hosts * (size_t)(hosts - 1) / 2;
}

size_t ls_net_pair_at(int hosts, int a, int b)
{
	size_t n = (size_t)hosts, low = (size_t)(a < b ? a : b), high = (size_t)(a < b ? b : a);

	return low * (2 * n - low - 1) / 2 + high - low - 1;
}

int ls_net_rounds(int hosts)
{
	return hosts < 2 ? 0 : hosts % 2 ? hosts : hosts - 1;
}

/* The circle method: the last one stays, the others move on by one seat a round. With an odd number the last one is nobody. */
int ls_net_opponent(int hosts, int round, int host)
{
	int seats = hosts + hosts % 2, circle = seats - 1, other;

	if (host == circle)
		other = (round * (seats / 2)) % circle;
	else
		other = ((round - host) % circle + circle) % circle;
	if (other == host)
		other = circle;
	return other < hosts ? other : -1;
}

static double middle(const double *v, int n)
{
	return n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

struct ls_net_stat ls_net_stat_of(double *v, int n, bool higher)
{
	struct ls_net_stat s = { .n = n };
	int i;

	if (!n)
		return s;
	ls_sort(v, (size_t)n);
	s.mid = middle(v, n);
	s.best = v[higher ? n - 1 : 0];
	for (i = 0; i < n; i++)
		v[i] = fabs(v[i] - s.mid);
	ls_sort(v, (size_t)n);
	s.spread = s.mid > 0 ? 1.4826 * middle(v, n) / s.mid : 0;
	return s;
}
