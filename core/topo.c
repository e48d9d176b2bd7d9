/* topo.c -- see topo.h. Opens the hwloc topology and lists cores and NUMA domains; devices are in topo_io.c and topo_gpu.c.
 *
 * Invariant: every core, domain and `near` object of an open topology has at least one allowed PU. It never loads what
 * starts a GPU runtime (hwloc's CUDA, OpenCL, … components): a launcher must not hold a GPU context.
 */
#include "core/topo.h"
#include "core/io.h"
#include "core/json.h"
#include "core/topo_io.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct ls_topo {
	hwloc_topology_t hw;
	bool local;             /* this machine, not a file or string */
	bool whole;             /* also what this process may not use */
	hwloc_obj_t *cores;
	struct ls_numa *numas;
	struct ls_gpu *gpus;
	const struct ls_gpu **usable; /* of gpus, in the order of CUDA_VISIBLE_DEVICES */
	struct ls_visible visible;
	struct ls_nic *nics;
	int n_cores, n_numas, n_gpus, n_usable, n_nics;
};

void ls_topo_close(struct ls_topo *topo)
{
	int i;

	if (!topo)
		return;
	for (i = 0; i < topo->n_numas; i++)
		hwloc_bitmap_free(topo->numas[i].cpuset);
	free(topo->cores);
	free(topo->numas);
	free(topo->gpus);
	free(topo->usable);
	free(topo->nics);
	if (topo->hw)
		hwloc_topology_destroy(topo->hw);
	free(topo);
}

/* A core that lost all its PUs to the cpuset is not there; a platform that reports no cores has its PUs instead. */
static ls_status find_cores(struct ls_topo *topo, struct ls_err *err)
{
	hwloc_obj_type_t type = hwloc_get_nbobjs_by_type(topo->hw, HWLOC_OBJ_CORE) > 0 ? HWLOC_OBJ_CORE : HWLOC_OBJ_PU;
	int i, n = hwloc_get_nbobjs_by_type(topo->hw, type);

	topo->cores = calloc(n > 0 ? (size_t)n : 1, sizeof(hwloc_obj_t));
	if (!topo->cores)
		return ls_fail_oom(err);
	for (i = 0; i < n; i++) {
		hwloc_obj_t core = hwloc_get_obj_by_type(topo->hw, type, (unsigned)i);

		if (!hwloc_bitmap_iszero(core->cpuset))
			topo->cores[topo->n_cores++] = core;
	}
	if (!topo->n_cores)
		return ls_fail(err, LS_USAGE, 0,
			"the topology has no core that may be used; check the cpuset it was taken in");
	return LS_OK;
}

static int cores_in(const struct ls_topo *topo, hwloc_const_bitmap_t cpuset)
{
	int i, n = 0;

	for (i = 0; i < topo->n_cores; i++)
		n += hwloc_bitmap_isincluded(topo->cores[i]->cpuset, cpuset);
	return n;
}

static ls_status numa_add(struct ls_topo *topo, int os_index, hwloc_const_bitmap_t cpuset, uint64_t bytes,
	struct ls_err *err)
{
	struct ls_numa *d = &topo->numas[topo->n_numas];

	d->cpuset = hwloc_bitmap_dup(cpuset);
	if (!d->cpuset)
		return ls_fail_oom(err);
	d->os_index = os_index;
	d->bytes = bytes;
	d->cores = cores_in(topo, cpuset);
	topo->n_numas++;
	return LS_OK;
}

/* Is the node some other node's surroundings (memory of a package whose parts have memory of their own)? */
static bool surrounds(hwloc_topology_t hw, hwloc_obj_t node)
{
	hwloc_obj_t other = NULL;

	while ((other = hwloc_get_next_obj_by_type(hw, HWLOC_OBJ_NUMANODE, other)))
		if (!hwloc_bitmap_iszero(other->cpuset) && !hwloc_bitmap_isequal(other->cpuset, node->cpuset) &&
			hwloc_bitmap_isincluded(other->cpuset, node->cpuset))
			return true;
	return false;
}

/* Domains must not overlap and must cover all cores, or a rank could be placed twice or a core never: hence the
 * order of the nodes decides between two memories at the same cores, and what no node covers becomes the last
 * domain, -1. */
static ls_status find_numas(struct ls_topo *topo, struct ls_err *err)
{
	int n = hwloc_get_nbobjs_by_type(topo->hw, HWLOC_OBJ_NUMANODE);
	hwloc_bitmap_t rest = hwloc_bitmap_dup(hwloc_topology_get_topology_cpuset(topo->hw));
	hwloc_obj_t node = NULL;
	ls_status st = LS_OK;

	topo->numas = calloc((size_t)(n > 0 ? n : 0) + 1, sizeof(*topo->numas));
	if (!rest || !topo->numas) {
		st = ls_fail_oom(err);
		goto out;
	}
	while ((node = hwloc_get_next_obj_by_type(topo->hw, HWLOC_OBJ_NUMANODE, node))) {
		if (!cores_in(topo, node->cpuset) || !hwloc_bitmap_isincluded(node->cpuset, rest) ||
			surrounds(topo->hw, node))
			continue;
		st = numa_add(topo, (int)node->os_index, node->cpuset, node->attr->numanode.local_memory, err);
		if (st)
			goto out;
		if (hwloc_bitmap_andnot(rest, rest, node->cpuset) < 0) {
			st = ls_fail_oom(err);
			goto out;
		}
	}
	if (cores_in(topo, rest))
		st = numa_add(topo, -1, rest, 0, err);
out:
	hwloc_bitmap_free(rest);
	return st;
}

/* A device's own locality may be outside the cpuset: then the nearest surroundings that have PUs left. One that no bus shows is near the
 * machine. */
static hwloc_obj_t near_of(const struct ls_topo *topo, hwloc_obj_t pci, int *ret_numa)
{
	hwloc_obj_t near = pci ? hwloc_get_non_io_ancestor_obj(topo->hw, pci) : hwloc_get_root_obj(topo->hw);

	while (hwloc_bitmap_iszero(near->cpuset) && near->parent)
		near = near->parent;
	*ret_numa = ls_topo_numa_of(topo, near->cpuset);
	return near;
}

/* All usable until ls_topo_set_visible() says otherwise. */
static ls_status find_gpus(struct ls_topo *topo, bool ask_kernel, struct ls_err *err)
{
	struct ls_gpu *gpus = NULL;
	int i, n = 0;
	ls_status st = ls_topo_find_gpus(topo->hw, ask_kernel, &gpus, &n, err);

	if (st)
		return st;
	free(topo->gpus);
	topo->gpus = gpus;
	topo->n_gpus = n;
	for (i = 0; i < n; i++)
		gpus[i].near = near_of(topo, gpus[i].pci, &gpus[i].numa);
	return ls_topo_set_visible(topo, NULL, NULL, err);
}

static ls_status find_devices(struct ls_topo *topo, struct ls_err *err)
{
	ls_status st = find_gpus(topo, topo->local, err);
	int i;

	if (!st)
		st = ls_topo_find_nics(topo->hw, topo->local && !topo->whole, &topo->nics, &topo->n_nics, err);
	if (st)
		return st;
	for (i = 0; i < topo->n_nics; i++)
		if (topo->nics[i].pci)
			topo->nics[i].near = near_of(topo, topo->nics[i].pci, &topo->nics[i].numa);
	return LS_OK;
}

/* Not HWLOC_TOPOLOGY_FLAG_RESTRICT_TO_CPUBINDING: that drops the GPUs of the cores outside the mask. */
static ls_status restrict_to_affinity(struct ls_topo *topo, struct ls_err *err)
{
	hwloc_bitmap_t mask = hwloc_bitmap_alloc();
	ls_status st = LS_OK;

	if (!mask)
		return ls_fail_oom(err);
	if (hwloc_get_cpubind(topo->hw, mask, HWLOC_CPUBIND_PROCESS) < 0)
		st = ls_fail(err, LS_AGAIN, errno, "this process's CPU affinity cannot be read");
	else if (!hwloc_bitmap_isincluded(hwloc_topology_get_topology_cpuset(topo->hw), mask) &&
		hwloc_topology_restrict(topo->hw, mask, HWLOC_RESTRICT_FLAG_ADAPT_IO) < 0)
		st = ls_fail(err, LS_AGAIN, errno, "the topology cannot be restricted to this process's CPU affinity");
	hwloc_bitmap_free(mask);
	return st;
}

/* Unknown names are refused with EINVAL: that component is not installed, which is as good. Without "pci"
 * (libpciaccess, which leaks some memory each time) hwloc reads the PCI devices from sysfs itself. */
static void leave_out_components(hwloc_topology_t hw)
{
	static const char *const names[] = { "cuda", "nvml", "opencl", "gl", "rsmi", "levelzero", "pci" };
	size_t i;

	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		hwloc_topology_set_components(hw, HWLOC_TOPOLOGY_COMPONENTS_FLAG_BLACKLIST, names[i]);
}

/* An hwloc topology that is ready to load. DONT_CHANGE_BINDING: hwloc's x86 discovery would move this thread over
 * all PUs, and threads started meanwhile would inherit one PU. */
static ls_status begin(bool local, bool with_io, struct ls_topo **ret, struct ls_err *err)
{
	enum hwloc_type_filter_e io = with_io ? HWLOC_TYPE_FILTER_KEEP_IMPORTANT : HWLOC_TYPE_FILTER_KEEP_NONE;
	struct ls_topo *topo = calloc(1, sizeof(*topo));

	if (!topo)
		return ls_fail_oom(err);
	topo->local = local;
	if (hwloc_topology_init(&topo->hw) < 0) {
		topo->hw = NULL;
		ls_topo_close(topo);
		return ls_fail_oom(err);
	}
	leave_out_components(topo->hw);
	if (hwloc_topology_set_flags(topo->hw, HWLOC_TOPOLOGY_FLAG_DONT_CHANGE_BINDING) < 0 ||
		hwloc_topology_set_io_types_filter(topo->hw, io) < 0) {
		ls_topo_close(topo);
		return ls_fail(err, LS_AGAIN, errno, "hwloc cannot be set up; it must be version 2.5 or later");
	}
	*ret = topo;
	return LS_OK;
}

static ls_status end(struct ls_topo *topo, bool with_io, struct ls_topo **ret, struct ls_err *err)
{
	ls_status st = LS_OK;

	if (topo->local && !topo->whole)
		st = restrict_to_affinity(topo, err);
	if (!st)
		st = find_cores(topo, err);
	if (!st)
		st = find_numas(topo, err);
	if (!st && with_io)
		st = find_devices(topo, err);
	if (st)
		ls_topo_close(topo);
	else
		*ret = topo;
	return st;
}

static ls_status open_xml(const char *xml, size_t len, bool with_io, struct ls_topo **ret, struct ls_err *err)
{
	struct ls_str copy = { 0 }; /* hwloc wants a final NUL */
	struct ls_topo *topo = NULL;
	ls_status st = begin(false, with_io, &topo, err);

	if (st)
		return st;
	ls_str_addn(&copy, xml, len);
	if (copy.oom || len > (size_t)1 << 30)
		st = ls_fail_oom(err);
	else if (hwloc_topology_set_xmlbuffer(topo->hw, copy.s, (int)copy.len + 1) < 0 ||
		 hwloc_topology_load(topo->hw) < 0)
		st = ls_fail(err, LS_USAGE, 0,
			"not a topology that hwloc %s can read; write one with `lstopo FILE.xml` "
			"of hwloc 2 (not 3)",
			HWLOC_VERSION);
	ls_str_release(&copy);
	if (st) {
		ls_topo_close(topo);
		return st;
	}
	return end(topo, with_io, ret, err);
}

ls_status ls_topo_open_xml(const char *xml, size_t len, struct ls_topo **ret, struct ls_err *err)
{
	return open_xml(xml, len, true, ret, err);
}

static ls_status open_file(const char *path, bool with_io, struct ls_topo **ret, struct ls_err *err)
{
	struct ls_str xml = { 0 };
	ls_status st = ls_file_read(path, 64 << 20, &xml, err);

	if (!st) {
		st = open_xml(ls_str_text(&xml), xml.len, with_io, ret, err);
		if (st)
			ls_err_at(err, st, "%s: ", path);
	}
	ls_str_release(&xml);
	return st;
}

ls_status ls_topo_open(const char *source, bool with_io, struct ls_topo **ret, struct ls_err *err)
{
	size_t len = source ? strlen(source) : 0;
	struct ls_topo *topo = NULL;
	ls_status st;

	if (len >= 4 && !strcmp(source + len - 4, ".xml"))
		return open_file(source, with_io, ret, err);
	st = begin(!source, with_io, &topo, err);
	if (st)
		return st;
	if (source && hwloc_topology_set_synthetic(topo->hw, source) < 0)
		st = ls_fail(err, LS_USAGE, 0, "'%s' is neither a file *.xml nor an hwloc synthetic topology such as "
			"'pack:2 numa:1 core:8 pu:2'", source);
	else if (hwloc_topology_load(topo->hw) < 0)
		st = ls_fail(err, source ? LS_USAGE : LS_AGAIN, errno, "hwloc cannot load %s",
			source ? source : "this machine");
	if (st) {
		ls_topo_close(topo);
		return st;
	}
	return end(topo, with_io, ret, err);
}

ls_status ls_topo_open_whole(struct ls_topo **ret, struct ls_err *err)
{
	unsigned long flags = HWLOC_TOPOLOGY_FLAG_DONT_CHANGE_BINDING | HWLOC_TOPOLOGY_FLAG_INCLUDE_DISALLOWED;
	struct ls_topo *topo = NULL;
	ls_status st = begin(true, true, &topo, err);

	if (st)
		return st;
	topo->whole = true;
	if (hwloc_topology_set_flags(topo->hw, flags) < 0 || hwloc_topology_load(topo->hw) < 0) {
		st = ls_fail(err, LS_AGAIN, errno, "hwloc cannot load this machine");
		ls_topo_close(topo);
		return st;
	}
	return end(topo, true, ret, err);
}

static ls_status note(hwloc_obj_t obj, const char *name, const char *value, struct ls_err *err)
{
	return !hwloc_obj_get_info_by_name(obj, name) && hwloc_obj_add_info(obj, name, value) < 0 ? ls_fail_oom(err) : LS_OK;
}

ls_status ls_topo_describe_none(struct ls_topo *topo, const char *why, struct ls_err *err)
{
	return note(hwloc_get_root_obj(topo->hw), LS_INFO_NO_DRIVER, why, err);
}

/* The PCI object that the note is of, or the root. */
static hwloc_obj_t owner_of(struct ls_topo *topo, const char *text)
{
	cJSON *json = cJSON_Parse(text);
	hwloc_obj_t pci = hwloc_get_pcidev_by_busidstring(topo->hw, ls_json_text(json, "busid"));

	cJSON_Delete(json);
	return pci ? pci : hwloc_get_root_obj(topo->hw);
}

ls_status ls_topo_describe_gpus(struct ls_topo *topo, const char *driver, char *const *notes, int n, struct ls_err *err)
{
	ls_status st = note(hwloc_get_root_obj(topo->hw), LS_INFO_DRIVER, driver, err);
	int i;

	for (i = 0; i < n && !st; i++)
		if (hwloc_obj_add_info(owner_of(topo, notes[i]), LS_INFO_GPU, notes[i]) < 0)
			st = ls_fail_oom(err);
	for (i = 0; i < topo->n_gpus && !st; i++) {
		hwloc_obj_t pci = topo->gpus[i].pci;

		if (pci && !hwloc_obj_get_info_by_name(pci, LS_INFO_GPU))
			st = note(pci, LS_INFO_NOT_GIVEN, "1", err);
	}
	return st ? st : find_gpus(topo, false, err);
}

ls_status ls_topo_set_visible(struct ls_topo *topo, const char *devices, const char *order, struct ls_err *err)
{
	const struct ls_gpu **usable = calloc((size_t)topo->n_gpus + 1, sizeof(*usable));

	if (!usable)
		return ls_fail_oom(err);
	free(topo->usable);
	topo->usable = usable;
	ls_gpus_visible(topo->gpus, topo->n_gpus, devices, order, usable, &topo->n_usable, &topo->visible);
	return LS_OK;
}

ls_status ls_topo_export(const struct ls_topo *topo, struct ls_str *ret_xml, struct ls_err *err)
{
	char *xml;
	int len;

	if (hwloc_topology_export_xmlbuffer(topo->hw, &xml, &len, 0) < 0)
		return ls_fail(err, LS_AGAIN, errno, "hwloc cannot write the topology as XML");
	ls_str_addn(ret_xml, xml, strnlen(xml, (size_t)len));
	hwloc_free_xmlbuffer(topo->hw, xml);
	return ret_xml->oom ? ls_fail_oom(err) : LS_OK;
}

hwloc_topology_t ls_topo_hwloc(const struct ls_topo *topo)
{
	return topo->hw;
}

int ls_topo_cores(const struct ls_topo *topo)
{
	return topo->n_cores;
}

int ls_topo_pus(const struct ls_topo *topo)
{
	return hwloc_bitmap_weight(hwloc_topology_get_topology_cpuset(topo->hw));
}

int ls_topo_numas(const struct ls_topo *topo)
{
	return topo->n_numas;
}

int ls_topo_packages(const struct ls_topo *topo)
{
	hwloc_obj_t p = NULL;
	int n = 0;

	while ((p = hwloc_get_next_obj_by_type(topo->hw, HWLOC_OBJ_PACKAGE, p)))
		n += !hwloc_bitmap_iszero(p->cpuset);
	return n;
}

hwloc_obj_t ls_topo_core(const struct ls_topo *topo, int index)
{
	return topo->cores[index];
}

int ls_topo_numa_list(const struct ls_topo *topo, const struct ls_numa **ret)
{
	*ret = topo->numas;
	return topo->n_numas;
}

int ls_topo_gpus(const struct ls_topo *topo, const struct ls_gpu **ret)
{
	*ret = topo->gpus;
	return topo->n_gpus;
}

int ls_topo_usable_gpus(const struct ls_topo *topo, const struct ls_gpu *const **ret)
{
	*ret = topo->usable;
	return topo->n_usable;
}

const char *ls_topo_hidden_gpus(const struct ls_topo *topo, bool *ret_odd)
{
	*ret_odd = topo->visible.odd;
	return topo->visible.why;
}

const char *ls_topo_gpu_driver(const struct ls_topo *topo, bool *ret_answers)
{
	hwloc_obj_t root = hwloc_get_root_obj(topo->hw);
	const char *driver = hwloc_obj_get_info_by_name(root, LS_INFO_DRIVER), *none = hwloc_obj_get_info_by_name(root, LS_INFO_NO_DRIVER);

	*ret_answers = driver != NULL;
	return driver ? driver : none ? none : "";
}

/* By number where all are whole GPUs and nobody named one by UUID: how CUDA numbers GPUs beside one that is cut up is not documented. */
const char *ls_topo_gpu_id(const struct ls_topo *topo, const struct ls_gpu *gpu, char text[96])
{
	bool by_uuid = topo->visible.by_uuid;
	int i;

	for (i = 0; i < topo->n_gpus; i++)
		by_uuid = by_uuid || topo->gpus[i].mig >= 0;
	snprintf(text, 96, "%d", gpu->index);
	if (by_uuid && gpu->uuid[0])
		memcpy(text, gpu->uuid, sizeof(gpu->uuid));
	return text;
}

int ls_topo_nics(const struct ls_topo *topo, const struct ls_nic **ret)
{
	*ret = topo->nics;
	return topo->n_nics;
}

int ls_topo_numa_of(const struct ls_topo *topo, hwloc_const_bitmap_t cpuset)
{
	int i;

	for (i = 0; i < topo->n_numas; i++)
		if (hwloc_bitmap_isincluded(cpuset, topo->numas[i].cpuset))
			return topo->numas[i].os_index;
	return -1;
}

int ls_topo_package_of(const struct ls_topo *topo, hwloc_const_bitmap_t cpuset)
{
	hwloc_obj_t p = NULL;

	while ((p = hwloc_get_next_obj_by_type(topo->hw, HWLOC_OBJ_PACKAGE, p)))
		if (hwloc_bitmap_isincluded(cpuset, p->cpuset))
			return (int)p->os_index;
	return -1;
}

void ls_topo_where(const struct ls_topo *topo, hwloc_const_bitmap_t cpuset, char *ret, size_t size)
{
	hwloc_bitmap_t nodes = hwloc_bitmap_alloc();
	char list[64];
	int i, lost = !nodes;

	for (i = 0; i < topo->n_numas && !lost; i++)
		if (topo->numas[i].os_index >= 0 && hwloc_bitmap_intersects(cpuset, topo->numas[i].cpuset))
			lost = hwloc_bitmap_set(nodes, (unsigned)topo->numas[i].os_index) < 0;
	if (topo->n_numas > 1 && hwloc_bitmap_isincluded(hwloc_topology_get_topology_cpuset(topo->hw), cpuset))
		snprintf(ret, size, "the whole machine");
	else if (lost) /* no memory for a nicety */
		snprintf(ret, size, "its NUMA domain");
	else if (hwloc_bitmap_list_snprintf(list, sizeof(list), nodes) > 0)
		snprintf(ret, size, "NUMA %s", list);
	else
		snprintf(ret, size, "cores without memory of their own");
	hwloc_bitmap_free(nodes);
}
