/* topo_io.h -- the devices of a topology; topo.c's other half, used by nobody else but its test. */
#ifndef LS_TOPO_IO_H
#define LS_TOPO_IO_H

#include "core/topo.h"

/* The lists are the caller's to free(). The caller fills in near and numa, which need the NUMA domains. `local`: the
 * topology is this machine's, so the kernel may be asked for more: which GPUs were given to this container, and
 * which interfaces are virtual or without a link. */
ls_status ls_topo_find_gpus(hwloc_topology_t hw, bool local, struct ls_gpu **ret, int *ret_n, struct ls_err *err);
ls_status ls_topo_find_nics(hwloc_topology_t hw, bool local, struct ls_nic **ret, int *ret_n, struct ls_err *err);

/* May this container use the GPU? `root` is "" (or a test's directory that has proc/ and dev/). The driver lists in
 * /proc/driver/nvidia/gpus what it gives us and names there the model (copied to `name` if found) and the minor
 * number of the device file. Without an NVIDIA driver there is nothing to ask: true. */
bool ls_gpu_given(const char *root, const char *busid, char *name, size_t size);

#endif
