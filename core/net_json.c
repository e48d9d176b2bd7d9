/* net_json.c -- see net.h: measurements as JSON and back. */
#include "core/net.h"
#include "core/json.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static void add_stat(cJSON *to, const struct ls_net_words *words, const struct ls_net_stat *s)
{
	cJSON *o = s->n ? cJSON_AddObjectToObject(to, words->key) : NULL;

	if (!o)
		return;
	cJSON_AddNumberToObject(o, "median", s->mid);
	cJSON_AddNumberToObject(o, "best", s->best);
	cJSON_AddNumberToObject(o, "spread", s->spread);
	cJSON_AddNumberToObject(o, "repeats", s->n);
	cJSON_AddStringToObject(o, "unit", words->unit);
}

static double number_of(const cJSON *o, const char *key)
{
	const cJSON *v = cJSON_GetObjectItemCaseSensitive(o, key);

	return cJSON_IsNumber(v) && isfinite(v->valuedouble) ? v->valuedouble : 0;
}

/* -1: absent, or no whole number from 0 to `max`. */
static int index_of(const cJSON *o, const char *key, int max)
{
	const cJSON *v = cJSON_GetObjectItemCaseSensitive(o, key);

	return cJSON_IsNumber(v) && v->valuedouble >= 0 && v->valuedouble <= max && v->valuedouble == v->valueint ? v->valueint : -1;
}

static void take_stat(const cJSON *from, const char *key, struct ls_net_stat *ret)
{
	const cJSON *o = cJSON_GetObjectItemCaseSensitive(from, key);

	if (cJSON_IsObject(o))
		*ret = (struct ls_net_stat){ number_of(o, "median"), number_of(o, "best"), number_of(o, "spread"), (int)number_of(o, "repeats") };
}

cJSON *ls_net_host_json(const struct ls_net *net, int host)
{
	const struct ls_net_host *h = &net->hosts[host];
	cJSON *o = cJSON_CreateObject();
	int k;

	cJSON_AddNumberToObject(o, "host", host);
	cJSON_AddStringToObject(o, "name", h->name);
	cJSON_AddNumberToObject(o, "ranks", h->ranks);
	for (k = 0; k < LS_NET_FACTS; k++)
		cJSON_AddStringToObject(o, ls_net_fact_words[k].key, h->facts[k]);
	cJSON_AddNumberToObject(o, "clockMs", h->clock_ms);
	cJSON_AddNumberToObject(o, "clockErrorMs", h->clock_error_ms);
	return o;
}

cJSON *ls_net_rank_json(const struct ls_net *net, int rank)
{
	const struct ls_net_rank *r = &net->ranks[rank];
	cJSON *o = cJSON_CreateObject();
	int k;

	cJSON_AddNumberToObject(o, "rank", rank);
	cJSON_AddNumberToObject(o, "onHost", r->host);
	cJSON_AddNumberToObject(o, "localRank", r->local);
	if (r->gpu[0])
		cJSON_AddStringToObject(o, "gpu", r->gpu);
	if (r->gpu_bad)
		cJSON_AddBoolToObject(o, "gpuBad", true);
	for (k = 0; k < LS_NET_RANK_STATS; k++)
		add_stat(o, &ls_net_rank_words[k], &r->stat[k]);
	return o;
}

cJSON *ls_net_pair_json(const struct ls_net *net, int a, int b)
{
	const struct ls_net_pair *p = &net->pairs[ls_net_pair_at(net->n_hosts, a, b)];
	cJSON *o = cJSON_CreateObject();
	int k;

	cJSON_AddNumberToObject(o, "a", a);
	cJSON_AddNumberToObject(o, "b", b);
	if (p->again)
		cJSON_AddBoolToObject(o, "again", true);
	for (k = 0; k < LS_NET_PAIR_STATS; k++)
		add_stat(o, &ls_net_pair_words[k], &p->stat[k]);
	return o;
}

cJSON *ls_net_all_json(const struct ls_net *net)
{
	cJSON *o = cJSON_CreateObject(), *all = cJSON_AddObjectToObject(o, "all");
	int k;

	for (k = LS_NET_LATENCY; k <= LS_NET_BOTH; k++)
		add_stat(all, &ls_net_pair_words[k], &net->all[k]);
	return o;
}

static void copy(char *to, size_t size, const cJSON *o, const char *key)
{
	snprintf(to, size, "%s", ls_json_text(o, key));
}

static void take_host(struct ls_net_host *h, const cJSON *o)
{
	int k;

	copy(h->name, sizeof(h->name), o, "name");
	h->ranks = index_of(o, "ranks", 1 << 20);
	for (k = 0; k < LS_NET_FACTS; k++)
		copy(h->facts[k], sizeof(h->facts[k]), o, ls_net_fact_words[k].key);
	h->clock_ms = number_of(o, "clockMs");
	h->clock_error_ms = number_of(o, "clockErrorMs");
}

static bool take_rank(struct ls_net *net, int rank, const cJSON *o)
{
	struct ls_net_rank *r = &net->ranks[rank];
	int k;

	r->host = index_of(o, "onHost", net->n_hosts - 1);
	if (r->host < 0) {
		r->host = 0;
		return false;
	}
	r->local = index_of(o, "localRank", 1 << 20);
	copy(r->gpu, sizeof(r->gpu), o, "gpu");
	r->gpu_bad = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(o, "gpuBad"));
	for (k = 0; k < LS_NET_RANK_STATS; k++)
		take_stat(o, ls_net_rank_words[k].key, &r->stat[k]);
	return true;
}

static bool take_pair(struct ls_net *net, int a, const cJSON *o)
{
	int b = index_of(o, "b", net->n_hosts - 1), k;
	struct ls_net_pair *p;

	if (b < 0 || a >= b)
		return false;
	p = &net->pairs[ls_net_pair_at(net->n_hosts, a, b)];
	p->again = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(o, "again"));
	for (k = 0; k < LS_NET_PAIR_STATS; k++)
		take_stat(o, ls_net_pair_words[k].key, &p->stat[k]);
	return true;
}

static bool take_one(struct ls_net *net, const cJSON *o)
{
	const cJSON *all = cJSON_GetObjectItemCaseSensitive(o, "all");
	int at, k;

	if ((at = index_of(o, "host", net->n_hosts - 1)) >= 0) {
		take_host(&net->hosts[at], o);
		return true;
	}
	if ((at = index_of(o, "rank", net->n_ranks - 1)) >= 0)
		return take_rank(net, at, o);
	if ((at = index_of(o, "a", net->n_hosts - 1)) >= 0)
		return take_pair(net, at, o);
	for (k = LS_NET_LATENCY; cJSON_IsObject(all) && k <= LS_NET_BOTH; k++)
		take_stat(all, ls_net_pair_words[k].key, &net->all[k]);
	return cJSON_IsObject(all);
}

ls_status ls_net_take(struct ls_net *net, const cJSON *object, struct ls_err *err)
{
	int hosts = index_of(object, "hosts", 1 << 16), ranks = index_of(object, "ranks", 1 << 20);

	if (!net->hosts && hosts > 0 && ranks >= hosts)
		return ls_net_init(net, hosts, ranks, err);
	if (net->hosts && take_one(net, object))
		return LS_OK;
	return ls_fail(err, LS_USAGE, 0, "a line of a preflight's ranks is no measurement");
}

static void add_findings(cJSON *to, const struct ls_net *net, const struct ls_net_verdict *v)
{
	cJSON *list = cJSON_AddArrayToObject(to, "findings"), *o;
	size_t i;

	for (i = 0; i < v->n; i++) {
		o = cJSON_CreateObject();
		cJSON_AddBoolToObject(o, "slow", v->v[i].slow);
		if (v->v[i].host >= 0)
			cJSON_AddStringToObject(o, v->v[i].other >= 0 ? "from" : "host", net->hosts[v->v[i].host].name);
		if (v->v[i].other >= 0)
			cJSON_AddStringToObject(o, "to", net->hosts[v->v[i].other].name);
		cJSON_AddStringToObject(o, "text", v->v[i].text);
		cJSON_AddItemToArray(list, o);
	}
}

cJSON *ls_net_json(const struct ls_net *net, const struct ls_net_verdict *verdict)
{
	cJSON *o = cJSON_CreateObject(), *hosts, *ranks, *pairs, *all = ls_net_all_json(net);
	int a, b;

	cJSON_AddStringToObject(o, "verdict", ls_str_text(&verdict->text));
	cJSON_AddBoolToObject(o, "slow", verdict->slow);
	add_findings(o, net, verdict);
	hosts = cJSON_AddArrayToObject(o, "hosts");
	for (a = 0; a < net->n_hosts; a++)
		cJSON_AddItemToArray(hosts, ls_net_host_json(net, a));
	ranks = cJSON_AddArrayToObject(o, "ranks");
	for (a = 0; a < net->n_ranks; a++)
		cJSON_AddItemToArray(ranks, ls_net_rank_json(net, a));
	pairs = cJSON_AddArrayToObject(o, "pairs");
	for (a = 0; a < net->n_hosts; a++)
		for (b = a + 1; b < net->n_hosts; b++)
			cJSON_AddItemToArray(pairs, ls_net_pair_json(net, a, b));
	cJSON_AddItemToObject(o, "all", cJSON_DetachItemFromObjectCaseSensitive(all, "all"));
	cJSON_Delete(all);
	return o;
}
