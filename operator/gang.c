/* gang.c -- where the workers of a job go: the narrowest domain that holds them all, packed so that what is whole stays whole. The rules: cluster.h.
 *
 * prepare()  how many workers each node has room for
 * sum()      the same for racks, blocks and all
 * search()   the domain
 * take()     from there down to nodes, neighbours near; where workers stay, beside() instead: the nearest node for each gap between them */
#include "operator/gang.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- the nodes --------------------------------------------------------------------------------------------------------------------------------- */

static int64_t room(int64_t most, int64_t has, int64_t used, int64_t need)
{
	int64_t n = need ? (has > used ? (has - used) / need : 0) : most;

	return n < most ? n : most;
}

/* How many workers have room on a node, at most `most`. */
static int64_t holds(const struct ls_gang *g, const struct ls_cnode *n, const struct ls_amounts *used, int64_t most)
{
	const struct ls_ask_resources *need = &g->need;
	int i;

	most = room(most, n->has.pods, used->pods, 1);
	most = room(most, n->has.gpus, used->gpus, need->gpus);
	most = room(most, n->has.cpu_milli, used->cpu_milli, need->cpu_milli);
	most = room(most, n->has.memory, used->memory, need->memory);
	for (i = 0; i < need->n_extra && most; i++)
		most = room(most, ls_cnode_extra(n, g->extra[i], false), used->pods ? ls_cnode_extra(n, g->extra[i], true) : 0,
			need->extra[i].amount);
	return most;
}

bool ls_slot_labelled(const struct ls_slot *s, int level)
{
	return level == LS_AT_RACK ? s->rack != NULL : level == LS_AT_BLOCK ? s->block != NULL : true;
}

static struct ls_slot slot_of(const struct ls_gang *g, struct ls_cnode *n, const struct ls_word *block, const struct ls_word *rack)
{
	static const struct ls_amounts nothing;
	const struct ls_amounts *used = ls_cnode_used(n);
	struct ls_slot s = { .node = n, .block = ls_cnode_label(n, block), .rack = ls_cnode_label(n, rack) };

	s.large = holds(g, n, &nothing, 1) > 0;
	s.why = ls_fit_node(g->fit, n, &s.taint);
	s.whole = n->has.gpus && !used->gpus;
	if (s.why || !ls_slot_labelled(&s, g->top))
		return s;
	s.fits = holds(g, n, used, g->workers);
	s.free_gpus = n->has.gpus > used->gpus ? n->has.gpus - used->gpus : 0;
	s.free_cpu = n->has.cpu_milli > used->cpu_milli ? n->has.cpu_milli - used->cpu_milli : 0;
	return s;
}

/* Those without come last. */
static int by_word(const struct ls_word *a, const struct ls_word *b)
{
	if (a == b)
		return 0;
	return !a ? 1 : !b ? -1 : strcmp(a->text, b->text);
}

static int by_place(const void *a, const void *b)
{
	const struct ls_slot *x = a, *y = b;
	int d = by_word(x->block, y->block);

	if (!d)
		d = by_word(x->rack, y->rack);
	return d ? d : strcmp(x->node->name, y->node->name);
}

static int by_name(const void *a, const void *b)
{
	const struct ls_slot *x = b;

	return strcmp(a, x->node->name);
}

static ls_status slots(struct ls_gang *g, struct ls_err *err)
{
	const struct ls_words *words = &g->c->words;
	const struct ls_word *rack = g->keys[LS_AT_RACK] ? ls_words_find(words, g->keys[LS_AT_RACK]) : NULL;
	const struct ls_word *block = g->keys[LS_AT_BLOCK] ? ls_words_find(words, g->keys[LS_AT_BLOCK]) : NULL;
	struct ls_slot *s;
	int i, n = g->c->n_nodes;

	g->slots = calloc(n + 1, sizeof(*g->slots));
	g->picks = calloc(n + 1, sizeof(*g->picks));
	g->doms[0] = calloc(3 * n + 1, sizeof(*g->doms[0]));
	g->sorted[0] = calloc(3 * n + 1, sizeof(*g->sorted[0]));
	if (!g->slots || !g->picks || !g->doms[0] || !g->sorted[0])
		return ls_fail_oom(err);
	for (i = 1; i < LS_LEVELS; i++) {
		g->doms[i] = g->doms[0] + i * n;
		g->sorted[i] = g->sorted[0] + i * n;
	}
	for (i = 0; i < n; i++)
		if (g->c->nodes[i]->exists && !(g->ask->spare && ls_cluster_suits(g->c, g->ask->spare, g->c->nodes[i]->name)))
			g->slots[g->n_slots++] = slot_of(g, g->c->nodes[i], block, rack);
	for (i = 0; i < g->ask->n_kept && g->n_slots; i++) {
		s = bsearch(g->ask->kept[i], g->slots, g->n_slots, sizeof(*s), by_name);
		if (s)
			s->kept++;
	}
	qsort(g->slots, g->n_slots, sizeof(*g->slots), by_place);
	return LS_OK;
}

/* --- the domains ------------------------------------------------------------------------------------------------------------------------------- */

static bool same(const struct ls_gang *g, int level, int a, int b)
{
	const struct ls_slot *x = &g->slots[a], *y = &g->slots[b];

	return level == LS_AT_ALL || (x->block == y->block && (level == LS_AT_BLOCK || x->rack == y->rack));
}

void ls_gang_slots(const struct ls_gang *g, int level, int d, int *ret_begin, int *ret_end)
{
	int end = d + 1;

	for (; level > LS_AT_NODE; level--) {
		end = g->doms[level][end - 1].end;
		d = g->doms[level][d].begin;
	}
	*ret_begin = d;
	*ret_end = end;
}

static void sum_level(struct ls_gang *g, int level)
{
	struct ls_gdom *d = NULL;
	int i, slot, end, before = 0;

	g->n_doms[level] = 0;
	for (i = 0; i < g->n_doms[level - 1]; i++, before = slot) {
		const struct ls_gdom *low = &g->doms[level - 1][i];

		ls_gang_slots(g, level - 1, i, &slot, &end);
		if (!d || !same(g, level, before, slot)) {
			d = &g->doms[level][g->n_doms[level]++];
			*d = (struct ls_gdom){ .begin = i };
			d->label = level == LS_AT_RACK ? g->slots[slot].rack : level == LS_AT_BLOCK ? g->slots[slot].block : NULL;
		}
		d->end = i + 1;
		d->fits += low->fits;
		d->free_gpus = ls_add_clamped(d->free_gpus, low->free_gpus);
		d->free_cpu = ls_add_clamped(d->free_cpu, low->free_cpu);
		d->kept += low->kept;
	}
}

/* `no_gpus`: as if the nodes that have GPUs had no room. */
static void sum(struct ls_gang *g, bool no_gpus)
{
	int i, level;

	for (i = 0; i < g->n_slots; i++) {
		const struct ls_slot *s = &g->slots[i];

		g->doms[LS_AT_NODE][i] = (struct ls_gdom){ .fits = no_gpus && s->node->has.gpus ? 0 : s->fits, .free_gpus = s->free_gpus,
			.free_cpu = s->free_cpu, .kept = s->kept };
	}
	g->n_doms[LS_AT_NODE] = g->n_slots;
	for (level = LS_AT_RACK; level < LS_LEVELS; level++)
		sum_level(g, level);
}

bool ls_gang_eligible(const struct ls_gang *g, int level, int d)
{
	const struct ls_gdom *dom = &g->doms[level][d];

	if (level == LS_AT_ALL)
		return true;
	return (level == LS_AT_NODE || dom->label) && dom->kept == g->ask->n_kept;
}

/* --- the search -------------------------------------------------------------------------------------------------------------------------------- */

/* `n` workers there, or as many as fit, take from a node what it should keep: some GPUs of a whole one, or cores beside GPUs that they do not use. */
static bool breaks(const struct ls_gang *g, int level, int d, int64_t n)
{
	const struct ls_slot *s = &g->slots[d];

	if (level != LS_AT_NODE)
		return false;
	if (!g->need.gpus)
		return s->node->has.gpus > 0;
	return s->whole && (n < s->fits ? n : s->fits) * g->need.gpus < s->node->has.gpus;
}

/* Is `a` a better place for the n workers still to be placed than `b`? Ties go to the one before. */
static bool better(const struct ls_gang *g, int level, int a, int b, int64_t n)
{
	const struct ls_gdom *x = &g->doms[level][a], *y = &g->doms[level][b];
	bool x_breaks = breaks(g, level, a, n), y_breaks = breaks(g, level, b, n);

	if (x_breaks != y_breaks)
		return y_breaks;
	if ((x->fits >= n) != (y->fits >= n))
		return x->fits >= n;
	if (x->fits < n && x->fits != y->fits)
		return x->fits > y->fits;
	return x->free_gpus != y->free_gpus ? x->free_gpus < y->free_gpus : x->free_cpu < y->free_cpu;
}

struct level { const struct ls_gang *g; int level; int64_t n; };

static int by_better(const void *a, const void *b, void *arg)
{
	const struct level *l = arg;
	int x = *(const int *)a, y = *(const int *)b;

	return better(l->g, l->level, x, y, l->n) ? -1 : better(l->g, l->level, y, x, l->n) ? 1 : x - y;
}

static int best_child(const struct ls_gang *g, int level, int d, int64_t n)
{
	const struct ls_gdom *dom = &g->doms[level][d];
	int i, best = -1;

	for (i = dom->begin; i < dom->end; i++)
		if (g->doms[level - 1][i].fits && (best < 0 || better(g, level - 1, i, best, n)))
			best = i;
	return best;
}

/* n workers into the domain, which has room: whole children, the best first; once one could hold all the rest, it is asked again which is the
 * best for that. Sorting is for the many: without labels all nodes are one domain's children. */
static void take(struct ls_gang *g, int level, int d, int64_t n)
{
	const struct ls_gdom *dom = &g->doms[level][d];
	struct level l = { g, level - 1, INT64_MAX };
	struct ls_gdom *low;
	int *sorted, i, many = 0;

	if (level == LS_AT_NODE) {
		g->picks[g->n_picks++] = (struct ls_pick){ d, (int)n };
		return;
	}
	low = g->doms[level - 1];
	sorted = g->sorted[level - 1] + dom->begin;
	for (i = dom->begin; i < dom->end; i++)
		if (low[i].fits)
			sorted[many++] = i;
	qsort_r(sorted, many, sizeof(*sorted), by_better, &l);
	for (i = 0; n; i++) {
		int best = i < many && low[sorted[i]].fits < n ? sorted[i] : -1;
		int64_t some;

		if (best < 0) {
			best = best_child(g, level, d, n);
			many = 0;
		}
		some = low[best].fits < n ? low[best].fits : n;
		take(g, level - 1, best, some);
		low[best].fits = 0;
		n -= some;
	}
}

/* The narrowest domain that holds n; false: none does. */
static bool search(struct ls_gang *g, int64_t n)
{
	int level, d, best = -1;

	for (level = LS_AT_NODE; level <= g->top && best < 0; level++)
		for (d = 0; d < g->n_doms[level]; d++)
			if (ls_gang_eligible(g, level, d) && g->doms[level][d].fits >= n && (best < 0 || better(g, level, d, best, n)))
				best = d;
	g->level = level - 1;
	g->dom = best;
	return best >= 0;
}

static int64_t most(const struct ls_gang *g)
{
	int64_t n = 0;
	int d;

	for (d = 0; d < g->n_doms[g->top]; d++)
		if (ls_gang_eligible(g, g->top, d) && g->doms[g->top][d].fits > n)
			n = g->doms[g->top][d].fits;
	return n;
}

/* How many were placed; -1: too few fit. */
static int64_t find(struct ls_gang *g)
{
	int64_t n;

	if (!g->need.gpus) {
		sum(g, true);
		if (search(g, g->workers))
			return g->workers;
	}
	sum(g, false);
	n = most(g);
	if (n > g->workers)
		n = g->workers;
	if (n < g->min)
		return -1;
	return n && search(g, n) ? n : 0;
}

/* --- the order --------------------------------------------------------------------------------------------------------------------------------- */

static int near(const struct ls_gang *g, int a, int b)
{
	const struct ls_slot *x = &g->slots[a], *y = &g->slots[b];

	if (a < 0 || b < 0)
		return 0;
	if (a == b)
		return 3;
	if (!x->rack || x->rack != y->rack || x->block != y->block)
		return x->block && x->block == y->block;
	return 2;
}

/* Where the workers sit that stay: a slot for each number, -1 for gaps; NULL: no memory. */
static int *seats(const struct ls_gang *g, int all)
{
	int *at = malloc(all * sizeof(*at)), i, slot;

	for (i = 0; at && i < all; i++)
		at[i] = -1;
	for (i = 0; at && i < g->ask->n_kept; i++)
		for (slot = 0; slot < g->n_slots; slot++)
			if (g->slots[slot].kept && g->ask->kept_index[i] >= 0 && g->ask->kept_index[i] < all &&
				strcmp(g->slots[slot].node->name, g->ask->kept[i]) == 0)
				at[g->ask->kept_index[i]] = slot;
	return at;
}

/* The slot in [begin, end) that has room and is nearest to both; among equals the better one. */
static int nearest(const struct ls_gang *g, int begin, int end, int before, int after)
{
	int i, best = -1, most_near = -1;

	for (i = begin; i < end; i++) {
		int now = 4 * near(g, before, i) + near(g, after, i);

		if (!g->doms[LS_AT_NODE][i].fits || now < most_near)
			continue;
		if (now > most_near || better(g, LS_AT_NODE, i, best, 1)) {
			best = i;
			most_near = now;
		}
	}
	return best;
}

/* Each gap between workers that stay gets the node nearest to those beside it. */
static ls_status beside(struct ls_gang *g, int n, const char **ret, struct ls_err *err)
{
	int all = g->ask->n_kept + g->workers, *at = seats(g, all), w, done = 0, begin, end;

	if (!at)
		return ls_fail_oom(err);
	ls_gang_slots(g, g->level, g->dom, &begin, &end);
	for (w = 0; w < all && done < n; w++)
		if (at[w] < 0) {
			at[w] = nearest(g, begin, end, at[(w + all - 1) % all], at[(w + 1) % all]);
			g->doms[LS_AT_NODE][at[w]].fits--;
			ret[done++] = g->slots[at[w]].node->name;
		}
	free(at);
	return LS_OK;
}

static ls_status order(struct ls_gang *g, int n, const char **ret, struct ls_err *err)
{
	int i, w, done = 0;

	if (n && g->ask->n_kept)
		return beside(g, n, ret, err);
	if (n)
		take(g, g->level, g->dom, n);
	for (i = 0; i < g->n_picks; i++)
		for (w = 0; w < g->picks[i].n; w++)
			ret[done++] = g->slots[g->picks[i].slot].node->name;
	return LS_OK;
}

/* --- the question ------------------------------------------------------------------------------------------------------------------------------ */

/* Rack is the last key but the hostname, block the one before. */
static void keys(struct ls_gang *g)
{
	static const char *const usual[] = { "topology.kubernetes.io/block", "topology.kubernetes.io/rack", NULL };
	const char *const *k = g->ask->keys && g->ask->keys[0] ? g->ask->keys : usual;
	int n = 0;

	while (k[n])
		n++;
	if (n && strcmp(k[n - 1], "kubernetes.io/hostname") == 0)
		n--;
	g->keys[LS_AT_RACK] = n > 0 ? k[n - 1] : NULL;
	g->keys[LS_AT_BLOCK] = n > 1 ? k[n - 2] : NULL;
}

static ls_status prepare(struct ls_gang *g, struct ls_err *err)
{
	static const int tops[] = {
		[LS_WITHIN_NONE] = LS_AT_ALL, [LS_WITHIN_NODE] = LS_AT_NODE, [LS_WITHIN_RACK] = LS_AT_RACK, [LS_WITHIN_BLOCK] = LS_AT_BLOCK
	};
	const cJSON *spec = cJSON_GetObjectItemCaseSensitive(g->ask->template_, "spec");
	ls_status st = ls_pod_resources(spec, &g->need, err);
	int i;

	g->workers = g->ask->workers > 0 ? g->ask->workers : 0;
	g->min = g->ask->min < 0 ? 0 : g->ask->min < g->workers ? g->ask->min : g->workers;
	g->top = tops[g->ask->within];
	keys(g);
	if (!st)
		st = ls_fit_open(&g->c->words, spec, &g->fit, err);
	for (i = 0; !st && i < g->need.n_extra; i++)
		g->extra[i] = ls_words_find(&g->c->words, g->need.extra[i].name);
	return st ? st : slots(g, err);
}

static ls_status answer(struct ls_gang *g, struct ls_place_answer *ret, struct ls_err *err)
{
	int64_t n = find(g);
	const char **node;
	ls_status st;

	if (n < 0)
		return ls_gang_explain(g, ret->why_not, sizeof(ret->why_not));
	node = calloc(n + 1, sizeof(*node));
	st = node ? order(g, (int)n, node, err) : ls_fail_oom(err);
	if (st) {
		free(node);
		return st;
	}
	ret->n = (int)n;
	ret->node = node;
	return LS_OK;
}

ls_status ls_cluster_place(struct ls_cluster *c, const struct ls_place_ask *ask, struct ls_place_answer *ret, struct ls_err *err)
{
	struct ls_gang g = { .c = c, .ask = ask };
	struct ls_err why = LS_ERR_INIT;
	ls_status st = prepare(&g, &why);

	*ret = (struct ls_place_answer){ 0 };
	if (!st)
		st = answer(&g, ret, &why);
	if (st && !*ret->why_not)
		snprintf(ret->why_not, sizeof(ret->why_not), "%.*s", (int)sizeof(ret->why_not) - 1, why.text);
	if (st)
		ls_fail(err, st, 0, "%s", ret->why_not);
	ls_fit_close(g.fit);
	free(g.slots);
	free(g.picks);
	free(g.doms[0]);
	free(g.sorted[0]);
	return st;
}
