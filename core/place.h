/* place.h -- which cores, GPU and NIC each rank of one host gets. Pure: a topology and numbers in, a table out.
 *
 * Rules, in this order:
 *   - GPU ranks (bind gpu, or auto on a host with GPUs that jobs may use): local rank i gets the i-th of these (an instance
 *     of a GPU that is cut up counts as one), an equal share of the cores nearest
 *     to it (shared only among the ranks whose GPUs have the same locality), and the NIC nearest to it. More ranks than
 *     GPUs: LS_USAGE. A GPU whose locality is wider (a package, the whole machine) takes the cores there that nobody
 *     nearer wants. Has a locality fewer cores than ranks, its ranks look for cores in the next wider one.
 *   - CPU ranks: in blocks of consecutive ranks over the NUMA domains, as many ranks as fit a domain's part of the
 *     cores (equal domains get equal blocks, one more or less), then over the cores inside; each rank gets its share of
 *     the whole cores of the domain (bind core, and auto), one more or less, or its whole NUMA domain (bind numa).
 *     Fewer ranks than domains: a rank gets whole neighbouring domains, split at packages first.
 *   - A core counts once, with all its hardware threads.
 *   - Ranks share a core only when there are more ranks than cores (bind gpu, core, auto); then every rank of that core
 *     says so in `shared`, and `warning` is one sentence for the user. With bind numa and none ranks roam the same
 *     cores by design; `shared` is set when there are more of them than cores.
 *   - bind none: every rank may use all allowed cores.
 *   - A bound rank that has two cores or more to itself gets a progress thread, on the last PU of its last core: the
 *     second hardware thread, where the core has two. A rank with one core, or whose cores others roam, has none.
 *   - NICs: a host with RDMA NICs uses those alone; of these the one nearest by PCI bridges, then NUMA domain, then
 *     package. Equally near ones are dealt in turn. NICs without a driver or link, and virtual interfaces, are near
 *     nobody.
 *   - A GPU that others use is given all the same, with a warning; one that is in exclusive use or lets nobody compute
 *     is refused. GPUs that are hidden by more than a plain wish (an empty CUDA_VISIBLE_DEVICES, a word in it that names
 *     none) are warned of.
 *
 *   Ownership  struct ls_place owns its table; ls_place_release() frees it.
 *   Errors     LS_USAGE: asks for what the host has not (says how many it has and what to change).
 */
#ifndef LS_PLACE_H
#define LS_PLACE_H

#include "core/job.h"
#include "core/topo.h"

struct ls_seat {               /* one rank on this host */
	char cpuset[2048];     /* PUs as a Linux list "0-3,8" (sched_setaffinity order) */
	int cores;             /* whole cores in it */
	int progress_pu;       /* where its progress thread runs, or -1: it has none */
	int numa;              /* OS index of its NUMA domain, -1 when it spans several */
	int package;           /* OS index of its package, -1 when several */
	int gpu;               /* index, or -1 */
	char gpu_label[16];    /* "3", or "3.1": instance 1 of GPU 3; "" */
	char gpu_busid[24];
	char gpu_id[96];       /* what CUDA_VISIBLE_DEVICES must be for the rank to see it alone */
	char nic[32];          /* nearest NIC ("mlx5_2", "eth0"), or "" */
	char netdev[32];       /* that NIC's network interface ("ib2", "eth0"), or "" */
	bool shared;           /* shares a core with another rank */
	char why[256];         /* "GPU 3 (0000:5e:00.0) is on NUMA 1 with mlx5_2; 8 of its 32 cores" */
};

struct ls_place {
	struct ls_seat *seats; /* [n] by local rank */
	int n;
	char warning[640];     /* "" or one sentence */
};

/* `ranks`: >= 1, or LS_RANKS_AUTO (one per GPU, else one per core; the result's n says). Needs a topology opened
 * with_io to see GPUs and NICs. */
ls_status ls_place_host(
	const struct ls_topo *topo, int ranks, enum ls_bind bind, struct ls_place *ret, struct ls_err *err);
void ls_place_release(struct ls_place *place);

#endif
