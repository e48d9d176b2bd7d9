/* topo.h -- one host as hwloc sees it, reduced to what placement needs.
 *
 * Sources: this machine, an hwloc XML file (`lstopo x.xml` of a real machine), an hwloc synthetic string ("pack:2
 * numa:1 core:8 pu:2"), or XML text that another host sent.
 *
 * Only what this process may use is seen: PUs outside the cgroup's cpuset do not exist here, and on this machine
 * neither do those outside the process's own affinity mask (taskset, srun). Devices keep their place, as near as what
 * is left allows.
 *
 * GPUs are found as PCI objects (NVIDIA: vendor 0x10de, class 0x03xx), which needs neither a driver nor hwloc's CUDA
 * plug-in; their index is the order of their PCI addresses, the order of CUDA_DEVICE_ORDER=PCI_BUS_ID. In a container
 * the PCI bus shows the host's GPUs: on this machine, where an NVIDIA driver is loaded, only those given to us count
 * (an export notes it). What NVIDIA's management library knows beyond that, ls_topo_describe_gpus() notes in the topology,
 * and so in its XML: names, memory, who uses them, the instances of a GPU that is cut up (MIG), GPUs that no PCI bus shows.
 *
 * A NUMA domain here is a set of cores with memory of its own: memory without cores (of a GPU, CXL) is none, a second
 * kind of memory at the same cores (HBM) is the same domain, and cores whose memory is not allowed form one domain -1.
 *
 *   Ownership  struct ls_topo is opaque and owns the hwloc topology; lists are borrowed; ls_topo_close(NULL) is fine.
 *   Threads    read-only after open: may be shared. Opening changes neither the environment nor the binding of a
 *              thread.
 *   Errors     LS_USAGE for a bad file or string (says which), LS_NOT_FOUND for a missing file, LS_AGAIN otherwise.
 */
#ifndef LS_TOPO_H
#define LS_TOPO_H

#include "core/status.h"
#include "core/str.h"

#include <hwloc.h>
#include <stdbool.h>
#include <stdint.h>

struct ls_topo;

struct ls_numa {
	int os_index;       /* -1: cores without allowed memory of their own */
	hwloc_bitmap_t cpuset;
	int cores;
	uint64_t bytes;     /* of memory */
};

enum ls_gpu_mode { LS_GPU_SHARED, LS_GPU_EXCLUSIVE, LS_GPU_PROHIBITED }; /* NVIDIA's compute mode */

/* What a rank can be given: a GPU, or one instance of a GPU that is cut up (MIG). */
struct ls_gpu {
	int index;          /* of the GPU, in PCI order, 0.. */
	int mig;            /* the instance's number in that GPU, or -1: the whole GPU */
	char label[16];     /* "3", "3.1": for people */
	char busid[24];     /* "0000:1b:00.0" */
	char name[64];      /* "NVIDIA H100 80GB HBM3", "1g.10gb"; without a note the PCI device's name or "NVIDIA GPU" */
	char model[64];     /* the whole GPU's name */
	int numa;           /* OS index of the nearest NUMA domain, or -1 */
	hwloc_obj_t near;   /* nearest object with PUs left: its cpuset is local to the GPU */
	hwloc_obj_t pci;    /* NULL: no PCI bus shows it */
	/* Of the note; empty without one. */
	char uuid[96];      /* "GPU-…", "MIG-…" */
	char parent[96];    /* of an instance: the UUID of its GPU */
	int gi, ci;         /* of an instance: NVIDIA's numbers of its GPU instance and compute instance */
	uint64_t bytes, used_bytes;
	enum ls_gpu_mode mode;
	char links[64];     /* "18 NVLinks, PCIe 5 x16" */
	char users[160];    /* "pid 4711 (python3) with 38 GiB, …" */
	char problem[128];  /* why no job can use it: "it is lost" */
};

struct ls_nic {
	char name[32];      /* "mlx5_0" when it can RDMA, else "eth0"; "" when no driver has it: nobody can use it */
	char netdev[32];    /* its network interface "ib0", "eth0", or "" */
	char busid[24];     /* "" for a virtual interface */
	bool rdma;
	bool down;          /* known to have no link */
	int numa;
	hwloc_obj_t near;   /* as a GPU's; NULL for a virtual interface */
	hwloc_obj_t pci;    /* NULL for a virtual interface */
};

/* `source`: NULL for this machine, a path that ends in .xml, or a synthetic string. `with_io`: also discover devices
 * (some 2 ms for every PCI device of a virtual machine, whose config space is slow to read; less on a real one). */
ls_status ls_topo_open(const char *source, bool with_io, struct ls_topo **ret, struct ls_err *err);
ls_status ls_topo_open_xml(const char *xml, size_t len, struct ls_topo **ret, struct ls_err *err);
/* This machine whole, with the cores that this process may not use, and without virtual interfaces: what a node has. */
ls_status ls_topo_open_whole(struct ls_topo **ret, struct ls_err *err);
void ls_topo_close(struct ls_topo *topo);
/* A note is a JSON object, of a GPU by its "busid" (topo_gpu.c lists its members). `driver`: "driver 580.82.07, CUDA 13.0".
 * GPUs without a note are not ours to use. */
ls_status ls_topo_describe_gpus(struct ls_topo *topo, const char *driver, char *const *notes, int n, struct ls_err *err);
/* Nobody could be asked; `why` is a sentence. */
ls_status ls_topo_describe_none(struct ls_topo *topo, const char *why, struct ls_err *err);
/* Show jobs only the GPUs that CUDA_VISIBLE_DEVICES and CUDA_DEVICE_ORDER with these values show to CUDA; NULL: not set. */
ls_status ls_topo_set_visible(struct ls_topo *topo, const char *devices, const char *order, struct ls_err *err);
ls_status ls_topo_export(const struct ls_topo *topo, struct ls_str *ret_xml, struct ls_err *err);

hwloc_topology_t ls_topo_hwloc(const struct ls_topo *topo);
int ls_topo_cores(const struct ls_topo *topo);  /* allowed cores */
int ls_topo_pus(const struct ls_topo *topo);
int ls_topo_numas(const struct ls_topo *topo);  /* NUMA domains */
int ls_topo_packages(const struct ls_topo *topo);
hwloc_obj_t ls_topo_core(const struct ls_topo *topo, int index); /* 0 <= index < cores, in hwloc's (locality) order */
int ls_topo_numa_list(const struct ls_topo *topo, const struct ls_numa **ret); /* returns the count */
int ls_topo_gpus(const struct ls_topo *topo, const struct ls_gpu **ret); /* instances one by one */
/* Those that a job may use, in the order in which it gets them. */
int ls_topo_usable_gpus(const struct ls_topo *topo, const struct ls_gpu *const **ret);
/* Why these are not all: a sentence, or "". *ret_odd: more than somebody's plain wish, so that people should be told. */
const char *ls_topo_hidden_gpus(const struct ls_topo *topo, bool *ret_odd);
/* As described; *ret_answers false: why it was not. "": nobody was asked. */
const char *ls_topo_gpu_driver(const struct ls_topo *topo, bool *ret_answers);
/* What CUDA_VISIBLE_DEVICES must be for a rank to see this one alone. */
const char *ls_topo_gpu_id(const struct ls_topo *topo, const struct ls_gpu *gpu, char text[96]);
int ls_topo_nics(const struct ls_topo *topo, const struct ls_nic **ret); /* PCI order, then virtual ones */

/* The one NUMA domain or package that holds all of `cpuset`: its OS index, or -1 when it spans several. */
int ls_topo_numa_of(const struct ls_topo *topo, hwloc_const_bitmap_t cpuset);
int ls_topo_package_of(const struct ls_topo *topo, hwloc_const_bitmap_t cpuset);
/* "NUMA 1", "NUMA 0-3", or "the whole machine": for people. */
void ls_topo_where(const struct ls_topo *topo, hwloc_const_bitmap_t cpuset, char *ret, size_t size);

#endif
