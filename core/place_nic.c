/* place_nic.c -- see place_nic.h and the rule in place.h.
 *
 * Distances are ordered as NCCL's: below one PCI bridge (fewer bridges first), below one host bridge, in one NUMA
 * domain, in one package, anywhere. It measures the tree, not bandwidth.
 */
#include "core/place_nic.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FAR_HOST_BRIDGE = 1000, FAR_NUMA = 2000, FAR_PACKAGE = 3000, FAR_MACHINE = 4000 };

static bool is_pci_bridge(hwloc_obj_t obj)
{
	return obj->type == HWLOC_OBJ_BRIDGE && obj->attr->bridge.upstream_type == HWLOC_OBJ_BRIDGE_PCI;
}

/* Bridges on the way between two devices below one host bridge, or 0 when they are not. The tree is at most a dozen
 * deep. */
static int bridges_between(hwloc_obj_t a, hwloc_obj_t b)
{
	hwloc_obj_t up_a, up_b;
	int hops_a = 0, hops_b;

	for (up_a = a->parent; up_a->type == HWLOC_OBJ_BRIDGE; up_a = up_a->parent) {
		hops_a++;
		hops_b = 0;
		for (up_b = b->parent; up_b->type == HWLOC_OBJ_BRIDGE; up_b = up_b->parent) {
			hops_b++;
			if (up_a == up_b)
				return is_pci_bridge(up_a) ? hops_a + hops_b : FAR_HOST_BRIDGE;
		}
	}
	return 0;
}

static int distance(const struct ls_topo *topo, hwloc_const_bitmap_t near, int numa, const struct ls_nic *nic)
{
	int package = ls_topo_package_of(topo, near);

	if (nic->numa >= 0 && (nic->numa == numa || (numa < 0 && hwloc_bitmap_intersects(near, nic->near->cpuset))))
		return FAR_NUMA;
	return package >= 0 && package == ls_topo_package_of(topo, nic->near->cpuset) ? FAR_PACKAGE : FAR_MACHINE;
}

static bool usable(const struct ls_nic *nic, bool want_rdma)
{
	return nic->pci && nic->name[0] && !nic->down && (nic->rdma || !want_rdma);
}

/* The nearest usable NIC, of equally near ones the one with the fewest users so far, or -1. */
static int nearest(const struct ls_topo *topo, const struct ls_gpu *gpu, hwloc_const_bitmap_t near, bool want_rdma,
	const int *users)
{
	const struct ls_nic *nics;
	int i, n = ls_topo_nics(topo, &nics), best = -1, best_far = INT_MAX;
	int numa = gpu ? gpu->numa : ls_topo_numa_of(topo, near);

	for (i = 0; i < n; i++) {
		int far = 0;

		if (!usable(&nics[i], want_rdma))
			continue;
		if (gpu && gpu->pci)
			far = bridges_between(gpu->pci, nics[i].pci);
		if (!far)
			far = distance(topo, gpu ? gpu->near->cpuset : near, numa, &nics[i]);
		if (far < best_far || (far == best_far && users[i] < users[best])) {
			best = i;
			best_far = far;
		}
	}
	return best;
}

ls_status ls_place_nics(const struct ls_topo *topo, const struct ls_gpu *const *gpus, struct ls_seat *seats, int n,
	const hwloc_bitmap_t *near, struct ls_err *err)
{
	const struct ls_nic *nics;
	int i, best, n_nics = ls_topo_nics(topo, &nics);
	int *users = calloc((size_t)n_nics + 1, sizeof(*users));
	bool want_rdma = false;

	if (!users)
		return ls_fail_oom(err);
	for (i = 0; i < n_nics; i++)
		want_rdma = want_rdma || (nics[i].rdma && usable(&nics[i], true));
	for (i = 0; i < n; i++) {
		best = nearest(topo, gpus ? gpus[i] : NULL, near[i], want_rdma, users);
		if (best < 0)
			continue;
		users[best]++;
		memcpy(seats[i].nic, nics[best].name, sizeof(seats[i].nic));
		memcpy(seats[i].netdev, nics[best].netdev, sizeof(seats[i].netdev));
	}
	free(users);
	return LS_OK;
}
