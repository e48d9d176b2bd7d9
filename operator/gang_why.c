/* gang_why.c -- why a gang has no place, in one sentence for the job's status:
 *
 *   needs 8 GPUs within one rack; largest free is 6 in rack-b
 *   needs 4 workers of 2 GPUs and 500m CPU; 3 fit now: 5 nodes are full, 2 not ready, 1 tainted (k=v:NoSchedule), 3 do not match the nodeSelector
 *   needs 4 workers of 16 GPUs; no node is that large: the largest has 8 GPUs */
#include "core/str.h"
#include "operator/gang.h"

#include <stdio.h>
#include <string.h>

static const char *const level_names[LS_LEVELS] = { "node", "rack", "block", "" };

/* --- amounts ----------------------------------------------------------------------------------------------------------------------------------- */

static void cpu_add(struct ls_str *s, int64_t milli)
{
	if (milli % 1000)
		ls_str_addf(s, "%lldm CPU", (long long)milli);
	else
		ls_str_addf(s, "%lld CPU%s", (long long)milli / 1000, milli == 1000 ? "" : "s");
}

static void memory_add(struct ls_str *s, int64_t bytes)
{
	static const char *const units[] = { "", "Ki", "Mi", "Gi", "Ti", "Pi" };
	int u = 0;

	for (; bytes && bytes % 1024 == 0 && u < 5; u++)
		bytes /= 1024;
	ls_str_addf(s, "%lld%s of memory", (long long)bytes, units[u]);
}

static void gpus_add(struct ls_str *s, int64_t n)
{
	ls_str_addf(s, "%lld GPU%s", (long long)n, n == 1 ? "" : "s");
}

/* Resource i of a worker: GPUs, CPU, memory, then the others. */
static int64_t amount(const struct ls_ask_resources *r, int i)
{
	return i == 0 ? r->gpus : i == 1 ? r->cpu_milli : i == 2 ? r->memory : r->extra[i - 3].amount;
}

static void amount_add(struct ls_str *s, const struct ls_ask_resources *r, int i, int64_t v)
{
	if (i == 0)
		gpus_add(s, v);
	else if (i == 1)
		cpu_add(s, v);
	else if (i == 2)
		memory_add(s, v);
	else
		ls_str_addf(s, "%lld %s", (long long)v, r->extra[i - 3].name);
}

/* " of 2 GPUs, 500m CPU and 4Gi of memory"; nothing for a worker that asks for nothing. */
static void resources_add(struct ls_str *s, const struct ls_ask_resources *r)
{
	int i, last = -1, first = -1;

	for (i = 0; i < 3 + r->n_extra; i++)
		if (amount(r, i)) {
			last = i;
			first = first < 0 ? i : first;
		}
	for (i = 0; i <= last; i++)
		if (amount(r, i)) {
			ls_str_add(s, i == first ? " of " : i == last ? " and " : ", ");
			amount_add(s, r, i, amount(r, i));
		}
}

/* --- what is asked for ------------------------------------------------------------------------------------------------------------------------- */

static void workers_add(struct ls_str *s, const struct ls_gang *g)
{
	const char *more = g->ask->n_kept ? "more " : "";

	ls_str_add(s, "needs ");
	if (g->min < g->workers)
		ls_str_addf(s, "at least %d of %d %sworkers", g->min, g->workers, more);
	else
		ls_str_addf(s, "%d %sworker%s", g->workers, more, g->workers == 1 ? "" : "s");
	resources_add(s, &g->need);
}

static const char *label(const struct ls_gang *g, int level, int d)
{
	const struct ls_word *w = g->doms[level][d].label;

	return level == LS_AT_NODE ? g->slots[d].node->name : w ? w->text : "";
}

/* " within one rack", and where, if that is settled by the workers that stay. */
static void within_add(struct ls_str *s, const struct ls_gang *g, int best)
{
	if (g->top == LS_AT_ALL)
		return;
	if (g->ask->n_kept && best >= 0)
		ls_str_addf(s, " within %s, where its other workers are", label(g, g->top, best));
	else
		ls_str_addf(s, " within one %s", level_names[g->top]);
	if (g->ask->n_kept && best < 0)
		ls_str_addf(s, "; its other workers are not all in one");
}

/* The domain with the most room, or with the most free GPUs; -1: there is none at all. */
static int best_of(const struct ls_gang *g, bool by_gpus)
{
	int d, best = -1;

	for (d = 0; d < g->n_doms[g->top]; d++) {
		const struct ls_gdom *x = &g->doms[g->top][d], *y = best < 0 ? NULL : &g->doms[g->top][best];

		if (ls_gang_eligible(g, g->top, d) && (!y || (by_gpus ? x->free_gpus > y->free_gpus : x->fits > y->fits)))
			best = d;
	}
	return best;
}

/* --- what is in the way ------------------------------------------------------------------------------------------------------------------------ */

enum { FULL, SMALL, NOT_READY, CORDONED, TAINTED, SELECTOR, AFFINITY, UNLABELLED, REASONS };

/* For several, and for one, where nothing is before it; then without the verb "are". */
static const struct { const char *many, *one, *later; } phrases[REASONS] = {
	[FULL] = { "are full", "is full", "full" },
	[SMALL] = { "are too small", "is too small", "too small" },
	[NOT_READY] = { "are not ready", "is not ready", "not ready" },
	[CORDONED] = { "are cordoned", "is cordoned", "cordoned" },
	[TAINTED] = { "are tainted", "is tainted", "tainted" },
	[SELECTOR] = { "do not match the nodeSelector", "does not match the nodeSelector", NULL },
	[AFFINITY] = { "do not match the node affinity", "does not match the node affinity", NULL },
	[UNLABELLED] = { "have no label", "has no label", NULL },
};

#define TAINTS 3

struct reasons {
	int n[REASONS];
	struct { const struct ls_taint *taint; int n; } taints[TAINTS]; /* the first that were met, each kind once */
	int n_taints;
	bool any;
};

static void taint_count(struct reasons *r, const struct ls_taint *t)
{
	int i;

	for (i = 0; i < r->n_taints; i++)
		if (r->taints[i].taint->key == t->key && r->taints[i].taint->value == t->value && r->taints[i].taint->effect == t->effect)
			break;
	if (i == TAINTS) {
		r->n[TAINTED]++;
		return;
	}
	if (i == r->n_taints)
		r->taints[r->n_taints++].taint = t;
	r->taints[i].n++;
}

static void count(const struct ls_gang *g, const struct ls_slot *s, struct reasons *r)
{
	static const int of_fit[] = {
		[LS_FIT_NOT_READY] = NOT_READY, [LS_FIT_CORDONED] = CORDONED, [LS_FIT_SELECTOR] = SELECTOR, [LS_FIT_AFFINITY] = AFFINITY
	};

	if (!ls_slot_labelled(s, g->top))
		r->n[UNLABELLED]++;
	else if (s->why == LS_FIT_TAINT)
		taint_count(r, s->taint);
	else if (s->why)
		r->n[of_fit[s->why]]++;
	else if (!s->large)
		r->n[SMALL]++;
	else if (!s->fits)
		r->n[FULL]++;
}

static void reason_add(struct ls_str *s, struct reasons *r, int what, int n, const char *key)
{
	const char *one = n == 1 ? phrases[what].one : phrases[what].many;

	if (!n)
		return;
	if (!r->any)
		ls_str_addf(s, ": %d node%s %s", n, n == 1 ? "" : "s", one);
	else
		ls_str_addf(s, ", %d %s", n, phrases[what].later ? phrases[what].later : one);
	if (what == UNLABELLED)
		ls_str_addf(s, " %s", key);
	r->any = true;
}

static void taint_add(struct ls_str *s, struct reasons *r, int i)
{
	const struct ls_taint *t = r->taints[i].taint;

	reason_add(s, r, TAINTED, r->taints[i].n, NULL);
	ls_str_addf(s, " (%s%s%s:%s)", t->key->text, *t->value->text ? "=" : "", t->value->text,
		t->effect == LS_NO_EXECUTE ? "NoExecute" : "NoSchedule");
}

/* The slots [begin, end); those that lack room only if `room`. */
static void reasons_add(struct ls_str *s, const struct ls_gang *g, int begin, int end, bool room)
{
	struct reasons r = { .any = false };
	int i, k;

	for (i = begin; i < end; i++)
		count(g, &g->slots[i], &r);
	for (i = room ? FULL : NOT_READY; i < REASONS; i++) {
		for (k = 0; i == TAINTED && k < r.n_taints; k++)
			taint_add(s, &r, k);
		reason_add(s, &r, i, r.n[i], i == UNLABELLED ? g->keys[g->top] : NULL);
		if (i == TAINTED && r.n[i] && r.n_taints)
			ls_str_add(s, " otherwise");
	}
}

/* --- the sentences ----------------------------------------------------------------------------------------------------------------------------- */

/* Of one resource, what the node with the most of it has. */
static int64_t largest(const struct ls_gang *g, int i)
{
	int64_t most = 0, v;
	int n;

	for (n = 0; n < g->n_slots; n++) {
		const struct ls_cnode *node = g->slots[n].node;

		v = i == 0 ? node->has.gpus : i == 1 ? node->has.cpu_milli : i == 2 ? node->has.memory : ls_cnode_extra(node, g->extra[i - 3], false);
		most = v > most ? v : most;
	}
	return most;
}

/* No node is large enough, whatever runs there. */
static void too_large(struct ls_str *s, const struct ls_gang *g)
{
	int i;

	workers_add(s, g);
	for (i = 0; i < 3 + g->need.n_extra; i++)
		if (amount(&g->need, i) > largest(g, i)) {
			ls_str_add(s, "; no node is that large: the largest has ");
			amount_add(s, &g->need, i, largest(g, i));
			return;
		}
	ls_str_add(s, "; no node has all of that together, even when empty");
}

/* The sum of GPUs is what lacks, in every domain. */
static bool gpus_lack(struct ls_str *s, const struct ls_gang *g)
{
	int best = best_of(g, true);
	int64_t want = (g->min ? g->min : 1) * g->need.gpus, most = best < 0 ? 0 : g->doms[g->top][best].free_gpus;

	if (!g->need.gpus || g->top == LS_AT_ALL || best < 0 || most >= want)
		return false;
	ls_str_addf(s, "needs %s%s", g->min < g->workers ? "at least " : "", g->ask->n_kept ? "another " : "");
	gpus_add(s, want);
	within_add(s, g, best);
	if (most)
		ls_str_addf(s, "; largest free is %lld in %s", (long long)most, label(g, g->top, best));
	else
		ls_str_add(s, "; none is free");
	reasons_add(s, g, 0, g->n_slots, false);
	return true;
}

static void workers_lack(struct ls_str *s, const struct ls_gang *g)
{
	int best = best_of(g, false), begin = 0, end = g->n_slots;
	int64_t fits = best < 0 ? 0 : g->doms[g->top][best].fits;

	workers_add(s, g);
	within_add(s, g, best);
	if (!g->n_slots) {
		ls_str_add(s, "; the cluster has no nodes");
		return;
	}
	if (fits)
		ls_str_addf(s, "; %lld fit%s now", (long long)fits, fits == 1 ? "s" : "");
	else
		ls_str_add(s, "; none fits now");
	if (fits && g->top < LS_AT_ALL)
		ls_str_addf(s, " in %s", label(g, g->top, best));
	if (fits || (best >= 0 && g->ask->n_kept))
		ls_gang_slots(g, g->top, best, &begin, &end);
	reasons_add(s, g, begin, end, true);
}

/* `within` asks for a level that the job's keys, or the cluster's labels, do not have. */
static bool no_such_level(struct ls_str *s, const struct ls_gang *g)
{
	const char *key = g->keys[g->top];
	int i;

	if (g->top == LS_AT_ALL || g->top == LS_AT_NODE || !g->n_slots)
		return false;
	if (!key) {
		ls_str_addf(s, "placement.within is %s, but placement.topologyKeys names no label for one", level_names[g->top]);
		return true;
	}
	for (i = 0; i < g->n_slots; i++)
		if (ls_slot_labelled(&g->slots[i], g->top))
			return false;
	ls_str_addf(s, "placement.within is %s, but no node has the label %s: label the nodes, or name another in placement.topologyKeys",
		level_names[g->top], key);
	return true;
}

ls_status ls_gang_explain(const struct ls_gang *g, char *ret, size_t size)
{
	struct ls_str s = { 0 };
	bool large = !g->n_slots, never = no_such_level(&s, g);
	int i;

	for (i = 0; i < g->n_slots; i++)
		large |= g->slots[i].large;
	if (!never && !large) {
		too_large(&s, g);
		never = true;
	} else if (!never && !gpus_lack(&s, g))
		workers_lack(&s, g);
	snprintf(ret, size, "%s", s.oom ? "there is no place, and no memory to say why" : ls_str_text(&s));
	ls_str_release(&s);
	return never ? LS_USAGE : LS_AGAIN;
}
