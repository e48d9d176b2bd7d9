/* topo_io.h -- the devices of a topology; topo.c's other half, used by nobody else but its test. */
#ifndef LS_TOPO_IO_H
#define LS_TOPO_IO_H

#include "core/topo.h"

/* The lists are the caller's to free(). The caller fills in near and numa, which need the NUMA domains. `local`: the
 * topology is this machine's, so the kernel may be asked for more: which GPUs were given to this container, and
 * which interfaces are virtual or without a link. */
ls_status ls_topo_find_gpus(hwloc_topology_t hw, bool local, struct ls_gpu **ret, int *ret_n, struct ls_err *err);
ls_status ls_topo_find_nics(hwloc_topology_t hw, bool local, struct ls_nic **ret, int *ret_n, struct ls_err *err);

/* All PCI devices of a class and vendor (0: any), by address. *ret is the caller's to free(). */
ls_status ls_pci_list(hwloc_topology_t hw, int class, int vendor, hwloc_obj_t **ret, int *ret_n, struct ls_err *err);
void ls_pci_busid(hwloc_obj_t pci, char *ret, size_t size);

/* What goes with the topology into its XML: infos of a PCI object, of the root. */
#define LS_INFO_NOT_GIVEN "LockstepNotGiven" /* the container was not given this GPU */
#define LS_INFO_GPU "LockstepGPU"            /* a note; of the root: one that no PCI object has */
#define LS_INFO_DRIVER "LockstepDriver"      /* of the root */
#define LS_INFO_NO_DRIVER "LockstepNoDriver"

/* Which of the n GPUs CUDA_VISIBLE_DEVICES with this value shows, in its order: list[*ret_n], of at least n. why, odd: as
 * ls_topo_hidden_gpus() tells them. by_uuid: names them by UUID, so ranks get UUIDs. */
struct ls_visible { char why[320]; bool odd, by_uuid; };
void ls_gpus_visible(const struct ls_gpu *gpus, int n, const char *devices, const char *order, const struct ls_gpu **list, int *ret_n,
	struct ls_visible *ret);

/* May this container use the GPU? `root` is "" (or a test's directory that has proc/ and dev/). The driver lists in
 * /proc/driver/nvidia/gpus what it gives us and names there the model (copied to `name` if found) and the minor
 * number of the device file. Without an NVIDIA driver there is nothing to ask: true. */
bool ls_gpu_given(const char *root, const char *busid, char *name, size_t size);

#endif
