/* deal.h -- deal the cores of one host to ranks that each may have only some of them. Knows numbers, no machine.
 *
 *   Use        init, put each rank's allowed cores into home[rank] (ls_deal_put), ls_deal_cores, read mine[rank],
 *              release.
 *   Result     every core that somebody may have is dealt; two ranks get the same core only if there are too few for
 *              both, provided that the homes nest or are disjoint, as subtrees of a topology do.
 *   Errors     LS_AGAIN: no memory (also noted in `oom` by ls_deal_put, so that homes can be built first and tested
 *              once).
 */
#ifndef LS_DEAL_H
#define LS_DEAL_H

#include "core/status.h"

#include <hwloc.h>
#include <stdbool.h>

struct ls_deal {
	int n, n_cores;
	bool oom;
	hwloc_bitmap_t *home;   /* [n] cores that the rank may be given; never empty when dealt */
	hwloc_bitmap_t *mine;   /* [n] cores that it got: runs of neighbouring numbers */
	hwloc_bitmap_t *who;    /* [n_cores] ranks that may be given the core */
};

ls_status ls_deal_init(struct ls_deal *d, int n, int n_cores, struct ls_err *err);
void ls_deal_release(struct ls_deal *d);
void ls_deal_put(struct ls_deal *d, hwloc_bitmap_t set, int i);
int ls_deal_crowd(const struct ls_deal *d, int rank); /* ranks whose homes lie inside this one's, itself included */
ls_status ls_deal_cores(struct ls_deal *d, struct ls_err *err);

hwloc_bitmap_t *ls_bitmaps_alloc(int n); /* n empty ones, or NULL */
void ls_bitmaps_free(hwloc_bitmap_t *list, int n);

#endif
