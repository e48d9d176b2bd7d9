/* topo_io.c -- see topo_io.h. PCI objects, and NICs from them; on this machine the kernel's word on top.
 *
 * Invariant: lists are in the order of PCI addresses, so that an index means the same device in every run.
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

#define NO_LINK "LockstepNoLink"

#define PCI_CLASS_NETWORK 0x02

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

ls_status ls_pci_list(hwloc_topology_t hw, int class, int vendor, hwloc_obj_t **ret, int *ret_n, struct ls_err *err)
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

void ls_pci_busid(hwloc_obj_t pci, char *ret, size_t size)
{
	const struct hwloc_pcidev_attr_s *a = &pci->attr->pcidev;

	snprintf(ret, size, "%04x:%02x:%02x.%01x", (unsigned)a->domain, a->bus, a->dev, a->func);
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
	ls_status st = ls_pci_list(hw, PCI_CLASS_NETWORK, 0, &pci, &n, err);

	if (st)
		return st;
	nics = calloc((size_t)n + 1, sizeof(*nics));
	if (!nics)
		st = ls_fail_oom(err);
	for (i = 0; i < n && !st; i++) {
		nics[i] = (struct ls_nic){ .numa = -1, .pci = pci[i] };
		ls_pci_busid(pci[i], nics[i].busid, sizeof(nics[i].busid));
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
