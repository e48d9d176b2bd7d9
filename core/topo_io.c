/* topo_io.c -- see topo_io.h. GPUs and NICs from hwloc's PCI objects; on this machine the kernel's word on top.
 *
 * Invariant: both lists are in the order of PCI addresses, so that an index means the same device in every run.
 * MIG slices are not seen: a sliced GPU is one GPU.
 */
#include "core/topo_io.h"
#include "core/io.h"

#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* What the kernel said of this machine goes into the topology, and so with its XML to a launcher elsewhere. */
#define NOT_GIVEN "LockstepNotGiven"
#define NO_LINK "LockstepNoLink"

#define PCI_CLASS_NETWORK 0x02
#define PCI_CLASS_DISPLAY 0x03
#define PCI_VENDOR_NVIDIA 0x10de

static int by_pci_address(const void *left, const void *right)
{
	const struct hwloc_pcidev_attr_s *a = &(*(const hwloc_obj_t *)left)->attr->pcidev;
	const struct hwloc_pcidev_attr_s *b = &(*(const hwloc_obj_t *)right)->attr->pcidev;

	if (a->domain != b->domain)
		return a->domain < b->domain ? -1 : 1;
	if (a->bus != b->bus)
		return a->bus < b->bus ? -1 : 1;
	if (a->dev != b->dev)
		return a->dev < b->dev ? -1 : 1;
	return (a->func > b->func) - (a->func < b->func);
}

/* All PCI devices of a class and vendor (0: any), by address. *ret is the caller's to free(). */
static ls_status pci_list(hwloc_topology_t hw, int class, int vendor, hwloc_obj_t **ret, int *ret_n, struct ls_err *err)
{
	hwloc_obj_t pci = NULL, *list;
	int n = 0;

	while ((pci = hwloc_get_next_pcidev(hw, pci)))
		n++;
	list = calloc((size_t)n + 1, sizeof(*list));
	if (!list)
		return ls_fail_oom(err);
	n = 0;
	while ((pci = hwloc_get_next_pcidev(hw, pci)))
		if (pci->attr->pcidev.class_id >> 8 == class && (!vendor || pci->attr->pcidev.vendor_id == vendor))
			list[n++] = pci;
	qsort(list, (size_t)n, sizeof(*list), by_pci_address);
	*ret = list;
	*ret_n = n;
	return LS_OK;
}

static void busid_of(hwloc_obj_t pci, char *ret, size_t size)
{
	const struct hwloc_pcidev_attr_s *a = &pci->attr->pcidev;

	snprintf(ret, size, "%04x:%02x:%02x.%01x", (unsigned)a->domain, a->bus, a->dev, a->func);
}

/* The value behind "Key:" in the driver's information file, or NULL. */
static const char *driver_says(const char *text, const char *key)
{
	const char *value = strstr(text, key);

	if (!value)
		return NULL;
	value += strlen(key);
	value += strspn(value, ": \t");
	return value;
}

bool ls_gpu_given(const char *root, const char *busid, char *name, size_t size)
{
	char path[512], text[1024];
	const char *value;
	ssize_t len;
	FILE *f;

	snprintf(path, sizeof(path), "%s/proc/driver/nvidia/gpus", root);
	if (access(path, X_OK) < 0)
		return true;
	snprintf(path, sizeof(path), "%s/proc/driver/nvidia/gpus/%s/information", root, busid);
	f = fopen(path, "re");
	if (!f)
		return errno != ENOENT; /* no entry: not ours; anything else is no answer */
	len = (ssize_t)fread(text, 1, sizeof(text) - 1, f);
	fclose(f);
	text[len] = '\0';
	value = driver_says(text, "Model");
	if (value)
		snprintf(name, size, "%.*s", (int)strcspn(value, "\n"), value);
	value = driver_says(text, "Device Minor");
	if (!value)
		return true;
	/* Device files appear at the first use of the driver; before that, none being there means nothing. */
	snprintf(path, sizeof(path), "%s/dev/nvidiactl", root);
	if (access(path, F_OK) < 0)
		return true;
	snprintf(path, sizeof(path), "%s/dev/nvidia%d", root, atoi(value));
	return access(path, F_OK) == 0;
}

/* This machine: ask the driver, and note its answers. */
static ls_status ask_driver(hwloc_obj_t pci, const char *busid, struct ls_err *err)
{
	char name[64] = "";

	if (!ls_gpu_given("", busid, name, sizeof(name)) && hwloc_obj_add_info(pci, NOT_GIVEN, "1") < 0)
		return ls_fail_oom(err);
	if (name[0] && !hwloc_obj_get_info_by_name(pci, "PCIDevice") && hwloc_obj_add_info(pci, "PCIDevice", name) < 0)
		return ls_fail_oom(err);
	return LS_OK;
}

ls_status ls_topo_find_gpus(hwloc_topology_t hw, bool local, struct ls_gpu **ret, int *ret_n, struct ls_err *err)
{
	hwloc_obj_t *pci = NULL;
	struct ls_gpu *gpus;
	int i, n = 0, found = 0;
	ls_status st = pci_list(hw, PCI_CLASS_DISPLAY, PCI_VENDOR_NVIDIA, &pci, &n, err);

	if (st)
		return st;
	gpus = calloc((size_t)n + 1, sizeof(*gpus));
	if (!gpus)
		st = ls_fail_oom(err);
	for (i = 0; i < n && !st; i++) {
		struct ls_gpu *gpu = &gpus[found];
		const char *name;

		*gpu = (struct ls_gpu){ .index = found, .numa = -1, .pci = pci[i] };
		busid_of(pci[i], gpu->busid, sizeof(gpu->busid));
		if (local)
			st = ask_driver(pci[i], gpu->busid, err);
		name = hwloc_obj_get_info_by_name(pci[i], "PCIDevice");
		snprintf(gpu->name, sizeof(gpu->name), "%s", name ? name : "NVIDIA GPU");
		found += !hwloc_obj_get_info_by_name(pci[i], NOT_GIVEN);
	}
	free(pci);
	if (st) {
		free(gpus);
		return st;
	}
	*ret = gpus;
	*ret_n = found;
	return LS_OK;
}

/* A function may have an RDMA device and interfaces; the RDMA device names it, as NCCL and UCX know it by that. */
static void name_nic(hwloc_obj_t pci, struct ls_nic *nic)
{
	hwloc_obj_t dev;

	for (dev = pci->io_first_child; dev; dev = dev->next_sibling) {
		if (dev->type != HWLOC_OBJ_OS_DEVICE || !dev->name)
			continue;
		if (dev->attr->osdev.type == HWLOC_OBJ_OSDEV_OPENFABRICS && !nic->rdma) {
			const char *port = hwloc_obj_get_info_by_name(dev, "Port1State");

			snprintf(nic->name, sizeof(nic->name), "%s", dev->name);
			nic->rdma = true;
			nic->down = port && strcmp(port, "4") != 0; /* 4: active */
		}
		if (dev->attr->osdev.type == HWLOC_OBJ_OSDEV_NETWORK && !nic->netdev[0])
			snprintf(nic->netdev, sizeof(nic->netdev), "%s", dev->name);
	}
	if (!nic->rdma) {
		memcpy(nic->name, nic->netdev, sizeof(nic->name));
		nic->down = hwloc_obj_get_info_by_name(pci, NO_LINK) != NULL;
	}
}

static struct ls_nic *nic_by_netdev(struct ls_nic *nics, int n, const char *netdev)
{
	int i;

	for (i = 0; i < n; i++)
		if (!strcmp(nics[i].netdev, netdev))
			return &nics[i];
	return NULL;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct ls_nic *)a)->name, ((const struct ls_nic *)b)->name);
}

/* One interface of this machine: a PCI NIC learns whether it has a link, any other is appended as a virtual one. */
static ls_status add_interface(struct ls_nic *nics, int n_pci, int *n, const struct ifaddrs *a, struct ls_err *err)
{
	struct ls_nic *nic = nic_by_netdev(nics, n_pci, a->ifa_name);
	bool down = !(a->ifa_flags & IFF_RUNNING);

	if (!nic) {
		nic = &nics[(*n)++];
		*nic = (struct ls_nic){ .numa = -1, .down = down };
		snprintf(nic->name, sizeof(nic->name), "%s", a->ifa_name);
		snprintf(nic->netdev, sizeof(nic->netdev), "%s", a->ifa_name);
	} else if (!nic->rdma && down) {
		nic->down = true;
		if (hwloc_obj_add_info(nic->pci, NO_LINK, "1") < 0)
			return ls_fail_oom(err);
	}
	return LS_OK;
}

/* One AF_PACKET entry per interface, with its flags. The list comes from the network namespace that we are in, so a
 * Pod sees its own. */
static ls_status add_interfaces(struct ls_nic **nics, int *n, struct ls_err *err)
{
	struct ifaddrs *list = NULL, *a;
	int count = *n, n_pci = *n;
	struct ls_nic *more;
	ls_status st = LS_OK;

	if (getifaddrs(&list) < 0)
		return ls_fail(err, LS_AGAIN, errno, "the network interfaces cannot be listed");
	for (a = list; a; a = a->ifa_next)
		count += a->ifa_addr && a->ifa_addr->sa_family == AF_PACKET;
	more = realloc(*nics, ((size_t)count + 1) * sizeof(*more));
	if (!more) {
		freeifaddrs(list);
		return ls_fail_oom(err);
	}
	*nics = more;
	for (a = list; a && !st; a = a->ifa_next)
		if (a->ifa_addr && a->ifa_addr->sa_family == AF_PACKET && !(a->ifa_flags & IFF_LOOPBACK))
			st = add_interface(more, n_pci, n, a, err);
	freeifaddrs(list);
	qsort(more + n_pci, (size_t)(*n - n_pci), sizeof(*more), by_name);
	return st;
}

ls_status ls_topo_find_nics(hwloc_topology_t hw, bool local, struct ls_nic **ret, int *ret_n, struct ls_err *err)
{
	hwloc_obj_t *pci = NULL;
	struct ls_nic *nics;
	int i, n = 0;
	ls_status st = pci_list(hw, PCI_CLASS_NETWORK, 0, &pci, &n, err);

	if (st)
		return st;
	nics = calloc((size_t)n + 1, sizeof(*nics));
	if (!nics)
		st = ls_fail_oom(err);
	for (i = 0; i < n && !st; i++) {
		nics[i] = (struct ls_nic){ .numa = -1, .pci = pci[i] };
		busid_of(pci[i], nics[i].busid, sizeof(nics[i].busid));
		name_nic(pci[i], &nics[i]);
	}
	if (!st && local)
		st = add_interfaces(&nics, &n, err);
	free(pci);
	if (st) {
		free(nics);
		return st;
	}
	*ret = nics;
	*ret_n = n;
	return LS_OK;
}
