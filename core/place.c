/* place.c -- see place.h for the rules.
 *
 * Three steps: every rank gets a home (the cores that it may be given: its GPU's locality, or its part of the NUMA
 * domains); the cores of all homes are dealt (deal.h); the result is put into words.
 *
 * Invariant: homes nest or are disjoint, as they come from one tree.
 */
#include "core/place.h"
#include "core/deal.h"
#include "core/place_gpu.h"
#include "core/place_nic.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RANKS_MAX = 4096 }; /* per host: more is a slip of the hand */

struct plan {
	const struct ls_topo *topo;
	struct ls_deal deal;
	hwloc_bitmap_t *pus;    /* [n] the PUs of deal.mine */
	hwloc_obj_t *near;      /* [n] GPU ranks: the object whose cores are the home; else NULL */
	bool *wider;            /* [n] the home was widened */
};

static void plan_release(struct plan *p)
{
	ls_bitmaps_free(p->pus, p->deal.n);
	free(p->near);
	free(p->wider);
	ls_deal_release(&p->deal);
}

static ls_status plan_init(struct plan *p, const struct ls_topo *topo, int n, struct ls_err *err)
{
	ls_status st;

	*p = (struct plan){ .topo = topo };
	st = ls_deal_init(&p->deal, n, ls_topo_cores(topo), err);
	if (st)
		return st;
	p->pus = ls_bitmaps_alloc(n);
	p->near = calloc((size_t)n, sizeof(hwloc_obj_t));
	p->wider = calloc((size_t)n, sizeof(*p->wider));
	if (p->pus && p->near && p->wider)
		return LS_OK;
	plan_release(p);
	return ls_fail_oom(err);
}

static void home_add(struct plan *p, int rank, hwloc_const_bitmap_t pus)
{
	int c;

	for (c = 0; c < p->deal.n_cores; c++)
		if (hwloc_bitmap_intersects(ls_topo_core(p->topo, c)->cpuset, pus))
			ls_deal_put(&p->deal, p->deal.home[rank], c);
}

/* --- homes ------------------------------------------------------------------------------------------------------ */

static int numa_cores(const struct ls_numa *numas, int n)
{
	int i, cores = 0;

	for (i = 0; i < n; i++)
		cores += numas[i].cores;
	return cores;
}

/* Where to cut a list of domains in two: between packages if it has several, as near to the middle as that allows. */
static int middle(const struct ls_topo *topo, const struct ls_numa *numas, int n)
{
	int i, best = n / 2;
	bool at_package = false;

	for (i = 1; i < n; i++) {
		if (ls_topo_package_of(topo, numas[i].cpuset) == ls_topo_package_of(topo, numas[i - 1].cpuset))
			continue;
		if (!at_package || abs(2 * i - n) < abs(2 * best - n))
			best = i;
		at_package = true;
	}
	return best;
}

/* Cut domains and ranks in halves until there is one of either. The ranks are cut in proportion to the cores,
 * rounded; neither side gets more ranks than cores unless both must. */
static void cpu_homes(struct plan *p, const struct ls_numa *numas, int n_numas, int first, int n)
{
	int i, r, cut, left, cores = numa_cores(numas, n_numas);

	if (n == 0)
		return;
	if (n == 1 || n_numas == 1) {
		for (r = first; r < first + n; r++)
			for (i = 0; i < n_numas; i++)
				home_add(p, r, numas[i].cpuset);
		return;
	}
	cut = middle(p->topo, numas, n_numas);
	left = (int)((2LL * n * numa_cores(numas, cut) + cores) / (2LL * cores));
	cpu_homes(p, numas, cut, first, left);
	cpu_homes(p, numas + cut, n_numas - cut, first + left, n - left);
}

static void widen(struct plan *p, int i)
{
	int before = hwloc_bitmap_weight(p->deal.home[i]);

	while (hwloc_bitmap_weight(p->deal.home[i]) == before && p->near[i]->parent) {
		p->near[i] = p->near[i]->parent;
		home_add(p, i, p->near[i]->cpuset);
		p->wider[i] = true;
		if (p->deal.oom)
			return;
	}
}

/* While a home has fewer cores than ranks, those ranks look further out. The machine has enough, so this ends; when
 * even the machine has not, ranks stay near their GPUs and share. */
static void gpu_homes(struct plan *p, const struct ls_gpu *const *gpus)
{
	bool again = p->deal.n <= p->deal.n_cores;
	int i;

	for (i = 0; i < p->deal.n; i++) {
		p->near[i] = gpus[i]->near;
		home_add(p, i, p->near[i]->cpuset);
	}
	while (again && !p->deal.oom) {
		again = false;
		for (i = 0; i < p->deal.n && !again; i++)
			again = ls_deal_crowd(&p->deal, i) > hwloc_bitmap_weight(p->deal.home[i]);
		if (again) {
			hwloc_bitmap_t full = hwloc_bitmap_dup(p->deal.home[--i]);

			p->deal.oom = p->deal.oom || !full;
			for (; i < p->deal.n && !p->deal.oom; i++)
				if (hwloc_bitmap_isequal(p->deal.home[i], full))
					widen(p, i);
			hwloc_bitmap_free(full);
		}
	}
}

/* bind numa and none: everybody gets the whole home. */
static ls_status deal_homes(struct plan *p, struct ls_err *err)
{
	int r;

	for (r = 0; r < p->deal.n; r++)
		p->deal.oom = hwloc_bitmap_copy(p->deal.mine[r], p->deal.home[r]) < 0 || p->deal.oom;
	return p->deal.oom ? ls_fail_oom(err) : LS_OK;
}

/* --- in words --------------------------------------------------------------------------------------------------- */

static void why_gpu(const struct plan *p, int r, const struct ls_gpu *gpu, struct ls_seat *seat)
{
	char where[64], wider[64] = "";
	int home = hwloc_bitmap_weight(p->deal.home[r]);

	ls_topo_where(p->topo, gpu->near->cpuset, where, sizeof(where));
	if (p->wider[r])
		ls_topo_where(p->topo, p->near[r]->cpuset, wider, sizeof(wider));
	snprintf(seat->why, sizeof(seat->why), "GPU %s (%s) is %s %s%s%s%s; %d of %s%d cores%s%s", gpu->label,
		gpu->busid, gpu->numa < 0 ? "near" : "on", where, seat->nic[0] ? " with " : "", seat->nic,
		wider[0] ? ", too few cores there" : "", seat->cores, wider[0] ? "" : "its ", home,
		wider[0] ? " on " : "", wider);
}

static void why_cpu(const struct plan *p, int r, enum ls_bind bind, struct ls_seat *seat)
{
	int home = hwloc_bitmap_weight(p->deal.home[r]), first = r, last = r;
	char where[64], who[48] = "alone";

	if (bind == LS_BIND_NONE) {
		snprintf(seat->why, sizeof(seat->why), "not bound: any of the %d cores", home);
		return;
	}
	while (first > 0 && hwloc_bitmap_isequal(p->deal.home[first - 1], p->deal.home[r]))
		first--;
	while (last < p->deal.n - 1 && hwloc_bitmap_isequal(p->deal.home[last + 1], p->deal.home[r]))
		last++;
	ls_topo_where(p->topo, p->pus[r], where, sizeof(where));
	if (first < last)
		snprintf(who, sizeof(who), "among ranks %d-%d", first, last);
	if (seat->cores == home)
		snprintf(seat->why, sizeof(seat->why), "%s on %s; all of its %d core%s", who, where, home,
			home == 1 ? "" : "s");
	else
		snprintf(seat->why, sizeof(seat->why), "%s on %s; %d of its %d cores", who, where, seat->cores, home);
}

static bool overlaps(const struct plan *p, int r)
{
	int i;

	for (i = 0; i < p->deal.n; i++)
		if (i != r && hwloc_bitmap_intersects(p->deal.mine[i], p->deal.mine[r]))
			return true;
	return false;
}

static bool shares_core(const struct plan *p, int r, enum ls_bind bind)
{
	if (bind == LS_BIND_NUMA || bind == LS_BIND_NONE)
		return ls_deal_crowd(&p->deal, r) > hwloc_bitmap_weight(p->deal.home[r]);
	return overlaps(p, r);
}

static int progress_pu(const struct plan *p, int r, enum ls_bind bind)
{
	int last = hwloc_bitmap_last(p->deal.mine[r]);

	if (bind == LS_BIND_NONE || hwloc_bitmap_weight(p->deal.mine[r]) < 2 || overlaps(p, r))
		return -1;
	return hwloc_bitmap_last(ls_topo_core(p->topo, last)->cpuset);
}

static ls_status fill_seat(struct plan *p, int r, struct ls_seat *seat, struct ls_err *err)
{
	int c;

	for (c = hwloc_bitmap_first(p->deal.mine[r]); c >= 0; c = hwloc_bitmap_next(p->deal.mine[r], c))
		if (hwloc_bitmap_or(p->pus[r], p->pus[r], ls_topo_core(p->topo, c)->cpuset) < 0)
			return ls_fail_oom(err);
	if (hwloc_bitmap_list_snprintf(seat->cpuset, sizeof(seat->cpuset), p->pus[r]) >= (int)sizeof(seat->cpuset))
		return ls_fail(err, LS_USAGE, 0,
			"the %d cores of local rank %d are too scattered to list; ask for more ranks "
			"per host",
			hwloc_bitmap_weight(p->deal.mine[r]), r);
	seat->cores = hwloc_bitmap_weight(p->deal.mine[r]);
	seat->numa = ls_topo_numa_of(p->topo, p->pus[r]);
	seat->package = ls_topo_package_of(p->topo, p->pus[r]);
	return LS_OK;
}

static ls_status fill(struct plan *p, enum ls_bind bind, const struct ls_gpu *const *gpus, struct ls_place *place,
	struct ls_err *err)
{
	ls_status st = LS_OK;
	int r, shared = 0;
	size_t warned;

	for (r = 0; r < p->deal.n && !st; r++) {
		struct ls_seat *seat = &place->seats[r];

		seat->gpu = -1;
		if (gpus)
			ls_place_gpu(p->topo, gpus[r], seat);
		st = fill_seat(p, r, seat, err);
	}
	if (!st)
		st = ls_place_nics(p->topo, gpus, place->seats, p->deal.n, p->pus, err);
	if (st)
		return st;
	for (r = 0; r < p->deal.n; r++) {
		struct ls_seat *seat = &place->seats[r];

		seat->shared = shares_core(p, r, bind);
		seat->progress_pu = progress_pu(p, r, bind);
		shared += seat->shared;
		if (gpus)
			why_gpu(p, r, gpus[r], seat);
		else
			why_cpu(p, r, bind, seat);
	}
	warned = strlen(place->warning);
	if (shared)
		snprintf(place->warning + warned, sizeof(place->warning) - warned,
			"%s%d ranks on %d core%s: %d of them share a core and slow down the "
			"whole job; start at most %d here, or use more hosts",
			warned ? "; " : "", p->deal.n, p->deal.n_cores, p->deal.n_cores == 1 ? "" : "s", shared, p->deal.n_cores);
	return LS_OK;
}

/* --- the whole -------------------------------------------------------------------------------------------------- */

static ls_status count_ranks(const struct ls_topo *topo, int *ranks, enum ls_bind *bind, struct ls_err *err)
{
	const struct ls_gpu *const *gpus;
	int n_gpus = ls_topo_usable_gpus(topo, &gpus);

	if (*bind == LS_BIND_AUTO)
		*bind = n_gpus ? LS_BIND_GPU : LS_BIND_CORE;
	if (*ranks == LS_RANKS_AUTO)
		*ranks = n_gpus ? n_gpus : ls_topo_cores(topo);
	if (*ranks < 1)
		return ls_fail(err, LS_USAGE, 0, "%d ranks cannot be placed; ask for 1 or more", *ranks);
	if (*ranks > RANKS_MAX)
		return ls_fail(
			err, LS_USAGE, 0, "%d ranks on one host are too many; ask for at most %d", *ranks, RANKS_MAX);
	return *bind == LS_BIND_GPU ? ls_place_gpu_check(topo, gpus, n_gpus, *ranks, err) : LS_OK;
}

static void find_homes(struct plan *p, enum ls_bind bind, const struct ls_gpu *const *gpus)
{
	const struct ls_numa *numas;
	int r, n_numas = ls_topo_numa_list(p->topo, &numas);

	if (bind == LS_BIND_GPU)
		gpu_homes(p, gpus);
	else if (bind != LS_BIND_NONE)
		cpu_homes(p, numas, n_numas, 0, p->deal.n);
	else
		for (r = 0; r < p->deal.n; r++)
			home_add(p, r, hwloc_topology_get_topology_cpuset(ls_topo_hwloc(p->topo)));
}

ls_status ls_place_host(
	const struct ls_topo *topo, int ranks, enum ls_bind bind, struct ls_place *ret, struct ls_err *err)
{
	struct ls_place place = { 0 };
	const struct ls_gpu *const *gpus;
	bool no_matter = bind != LS_BIND_AUTO && bind != LS_BIND_GPU; /* to whom no GPU matters, hidden ones do not, either */
	struct plan p;
	ls_status st = count_ranks(topo, &ranks, &bind, err);

	if (!st)
		st = plan_init(&p, topo, ranks, err);
	if (st)
		return st;
	ls_topo_usable_gpus(topo, &gpus);
	if (!no_matter)
		ls_place_gpu_warning(topo, bind == LS_BIND_GPU ? gpus : NULL, ranks, place.warning, sizeof(place.warning));
	place.n = ranks;
	place.seats = calloc((size_t)ranks, sizeof(*place.seats));
	find_homes(&p, bind, gpus);
	if (!place.seats || p.deal.oom)
		st = ls_fail_oom(err);
	else if (bind == LS_BIND_NUMA || bind == LS_BIND_NONE)
		st = deal_homes(&p, err);
	else
		st = ls_deal_cores(&p.deal, err);
	if (!st)
		st = fill(&p, bind, bind == LS_BIND_GPU ? gpus : NULL, &place, err);
	plan_release(&p);
	if (st)
		ls_place_release(&place);
	else
		*ret = place;
	return st;
}

void ls_place_release(struct ls_place *place)
{
	free(place->seats);
	*place = (struct ls_place){ 0 };
}
