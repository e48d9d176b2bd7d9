/* deal.c -- see deal.h.
 *
 * The cores that the fewest ranks may use are dealt first, each to the rank with the fewest cores. As homes nest, that
 * never leaves a rank without a core while the homes around it have as many cores as ranks; what no rank can avoid is
 * shared at the end. Cores are numbered in hwloc's order, so a run of numbers is a run of neighbours.
 */
#include "core/deal.h"

#include <stdlib.h>
#include <string.h>

void ls_bitmaps_free(hwloc_bitmap_t *list, int n)
{
	int i;

	for (i = 0; list && i < n; i++)
		hwloc_bitmap_free(list[i]);
	free(list);
}

hwloc_bitmap_t *ls_bitmaps_alloc(int n)
{
	hwloc_bitmap_t *list = calloc((size_t)n, sizeof(*list));
	int i;

	for (i = 0; list && i < n; i++) {
		list[i] = hwloc_bitmap_alloc();
		if (!list[i]) {
			ls_bitmaps_free(list, i);
			return NULL;
		}
	}
	return list;
}

ls_status ls_deal_init(struct ls_deal *d, int n, int n_cores, struct ls_err *err)
{
	*d = (struct ls_deal){ .n = n, .n_cores = n_cores };
	d->home = ls_bitmaps_alloc(n);
	d->mine = ls_bitmaps_alloc(n);
	d->who = ls_bitmaps_alloc(n_cores);
	if (d->home && d->mine && d->who)
		return LS_OK;
	ls_deal_release(d);
	return ls_fail_oom(err);
}

void ls_deal_release(struct ls_deal *d)
{
	ls_bitmaps_free(d->home, d->n);
	ls_bitmaps_free(d->mine, d->n);
	ls_bitmaps_free(d->who, d->n_cores);
	*d = (struct ls_deal){ 0 };
}

void ls_deal_put(struct ls_deal *d, hwloc_bitmap_t set, int i)
{
	d->oom = hwloc_bitmap_set(set, (unsigned)i) < 0 || d->oom;
}

int ls_deal_crowd(const struct ls_deal *d, int rank)
{
	int i, n = 0;

	for (i = 0; i < d->n; i++)
		n += hwloc_bitmap_isincluded(d->home[i], d->home[rank]);
	return n;
}

/* The undealt core that the fewest ranks may use, or -1. */
static int scarcest(const struct ls_deal *d, hwloc_const_bitmap_t dealt)
{
	int c, best = -1, best_who = 0;

	for (c = 0; c < d->n_cores; c++) {
		int who = hwloc_bitmap_weight(d->who[c]);

		if (who > 0 && !hwloc_bitmap_isset(dealt, (unsigned)c) && (best < 0 || who < best_who)) {
			best = c;
			best_who = who;
		}
	}
	return best;
}

/* Whose turn: the fewest cores, then the narrowest home, then the lowest rank. */
static int poorest(const struct ls_deal *d, hwloc_const_bitmap_t who, const int *have)
{
	int r, best = -1;

	for (r = hwloc_bitmap_first(who); r >= 0; r = hwloc_bitmap_next(who, r))
		if (best < 0 || have[r] < have[best] || (have[r] == have[best] &&
			hwloc_bitmap_weight(d->home[r]) < hwloc_bitmap_weight(d->home[best])))
			best = r;
	return best;
}

/* Deal the cores that the same ranks may use as `first`: count the shares first, so that each is a run of
 * neighbours. */
static void deal_alike(struct ls_deal *d, int first, hwloc_bitmap_t dealt, int *have, int *share)
{
	hwloc_const_bitmap_t who = d->who[first];
	int c, r;

	memset(share, 0, (size_t)d->n * sizeof(*share));
	for (c = first; c < d->n_cores; c++) {
		if (!hwloc_bitmap_isequal(d->who[c], who))
			continue;
		r = poorest(d, who, have);
		have[r]++;
		share[r]++;
	}
	r = hwloc_bitmap_first(who);
	for (c = first; c < d->n_cores; c++) {
		if (!hwloc_bitmap_isequal(d->who[c], who))
			continue;
		while (!share[r])
			r = hwloc_bitmap_next(who, r);
		ls_deal_put(d, d->mine[r], c);
		ls_deal_put(d, dealt, c);
		share[r]--;
	}
}

/* More ranks than cores: who has none joins the core of the home with the fewest ranks on it. */
static void deal_shared(struct ls_deal *d, int rank, int *ranks_on)
{
	int c, best = -1;

	for (c = hwloc_bitmap_first(d->home[rank]); c >= 0; c = hwloc_bitmap_next(d->home[rank], c))
		if (best < 0 || ranks_on[c] < ranks_on[best])
			best = c;
	ls_deal_put(d, d->mine[rank], best);
	ranks_on[best]++;
}

ls_status ls_deal_cores(struct ls_deal *d, struct ls_err *err)
{
	int *have = calloc((size_t)d->n, sizeof(*have)), *share = calloc((size_t)d->n, sizeof(*share));
	int *ranks_on = calloc((size_t)d->n_cores, sizeof(*ranks_on));
	hwloc_bitmap_t dealt = hwloc_bitmap_alloc();
	int c, r;

	d->oom = d->oom || !have || !share || !ranks_on || !dealt;
	for (r = 0; r < d->n && !d->oom; r++)
		for (c = hwloc_bitmap_first(d->home[r]); c >= 0; c = hwloc_bitmap_next(d->home[r], c))
			ls_deal_put(d, d->who[c], r);
	while (!d->oom && (c = scarcest(d, dealt)) >= 0)
		deal_alike(d, c, dealt, have, share);
	for (c = 0; c < d->n_cores && !d->oom; c++)
		ranks_on[c] = hwloc_bitmap_isset(dealt, (unsigned)c);
	for (r = 0; r < d->n && !d->oom; r++)
		if (!have[r])
			deal_shared(d, r, ranks_on);
	hwloc_bitmap_free(dealt);
	free(ranks_on);
	free(share);
	free(have);
	return d->oom ? ls_fail_oom(err) : LS_OK;
}
