/* topo_show.c -- see topo_show.h. Devices stand at their NUMA domain; those near no single one come last. */
#include "launcher/topo_show.h"

#include <stdlib.h>
#include <string.h>

static const char *size_text(uint64_t bytes, char text[32])
{
	static const char *const units[] = { "bytes", "KiB", "MiB", "GiB" };
	double value = (double)bytes;
	size_t u = 0;

	for (; value >= 1024 && u < 3; u++)
		value /= 1024;
	snprintf(text, 32, value < 10 && u ? "%.3g %s" : "%.0f %s", value, units[u]);
	return text;
}

static const char *plural(int n)
{
	return n == 1 ? "" : "s";
}

static void print_summary(FILE *out, const char *host, const struct ls_topo *topo)
{
	const struct ls_numa *numas;
	const struct ls_gpu *gpus;
	const struct ls_nic *nics;
	int i, n_numas = ls_topo_numa_list(topo, &numas), n_devices = ls_topo_gpus(topo, &gpus), n_nics = 0;
	int n_gpus = n_devices ? gpus[n_devices - 1].index + 1 : 0;
	int n_all_nics = ls_topo_nics(topo, &nics), packages = ls_topo_packages(topo);
	uint64_t bytes = 0;
	char text[32];

	for (i = 0; i < n_numas; i++)
		bytes += numas[i].bytes;
	for (i = 0; i < n_all_nics; i++)
		n_nics += nics[i].pci != NULL;
	fprintf(out, "%s: %d package%s, %d NUMA domain%s, %d core%s, %d hardware thread%s, %s, %d GPU%s, %d NIC%s\n",
		host, packages, plural(packages), n_numas, plural(n_numas), ls_topo_cores(topo),
		plural(ls_topo_cores(topo)), ls_topo_pus(topo), plural(ls_topo_pus(topo)), size_text(bytes, text),
		n_gpus, plural(n_gpus), n_nics, plural(n_nics));
}

/* A cache counts where it reaches: one that two domains share stands at both. */
static void print_caches(FILE *out, hwloc_topology_t hw, hwloc_const_bitmap_t cpuset)
{
	static const struct {
		hwloc_obj_type_t type;
		const char *name;
	} caches[] = { { HWLOC_OBJ_L4CACHE, "L4" }, { HWLOC_OBJ_L3CACHE, "L3" }, { HWLOC_OBJ_L2CACHE, "L2" },
		{ HWLOC_OBJ_L1CACHE, "L1d" } };
	const char *before = "      caches  ";
	char text[32];
	size_t i;

	for (i = 0; i < sizeof(caches) / sizeof(caches[0]); i++) {
		hwloc_obj_t cache = NULL, one = NULL;
		int n = 0;

		while ((cache = hwloc_get_next_obj_by_type(hw, caches[i].type, cache))) {
			if (!hwloc_bitmap_intersects(cache->cpuset, cpuset))
				continue;
			one = cache;
			n++;
		}
		if (!n)
			continue;
		fprintf(out, "%s%d x %s %s", before, n, caches[i].name, size_text(one->attr->cache.size, text));
		before = ", ";
	}
	if (*before == ',')
		fputc('\n', out);
}

/* The bridge next to the root: what stands behind the same one talks without the CPU. */
static void print_bridge(FILE *out, hwloc_obj_t pci)
{
	hwloc_obj_t up, top = NULL;

	for (up = pci->parent; up && up->type == HWLOC_OBJ_BRIDGE; up = up->parent)
		if (up->attr->bridge.upstream_type == HWLOC_OBJ_BRIDGE_PCI)
			top = up;
	if (top)
		fprintf(out, ", behind bridge %04x:%02x:%02x.%01x", (unsigned)top->attr->pcidev.domain,
			top->attr->pcidev.bus, top->attr->pcidev.dev, top->attr->pcidev.func);
	fputc('\n', out);
}

static void print_nic(FILE *out, const struct ls_nic *nic)
{
	fprintf(out, "      NIC     %-8s %s%s%s%s%s", nic->busid, nic->name[0] ? nic->name : "no driver",
		nic->rdma && nic->netdev[0] ? " " : "", nic->rdma ? nic->netdev : "", nic->rdma ? ", RDMA" : "",
		nic->down ? ", no link" : "");
	print_bridge(out, nic->pci);
}

static bool usable(const struct ls_topo *topo, const struct ls_gpu *gpu)
{
	const struct ls_gpu *const *list;
	int n = ls_topo_usable_gpus(topo, &list);

	while (n > 0 && list[n - 1] != gpu)
		n--;
	return n > 0;
}

/* What only a note tells: each part on a line of its own, where it wants to be seen. */
static void print_state(FILE *out, const struct ls_topo *topo, const struct ls_gpu *gpu)
{
	static const char *const modes[] = { [LS_GPU_EXCLUSIVE] = "compute mode Exclusive Process: one process at a time",
		[LS_GPU_PROHIBITED] = "compute mode Prohibited: nobody can compute on it" };
	const char *indent = "              ";

	if (gpu->users[0])
		fprintf(out, "%sused by %s\n", indent, gpu->users);
	if (gpu->mode != LS_GPU_SHARED)
		fprintf(out, "%s%s\n", indent, modes[gpu->mode]);
	if (gpu->problem[0])
		fprintf(out, "%scannot be used: %s\n", indent, gpu->problem);
	else if (!usable(topo, gpu))
		fprintf(out, "%shidden by CUDA_VISIBLE_DEVICES\n", indent);
}

static void print_memory(FILE *out, const struct ls_gpu *gpu)
{
	char total[32], used[32];

	if (gpu->bytes)
		fprintf(out, ", %s", size_text(gpu->bytes, total));
	if (gpu->used_bytes)
		fprintf(out, " (%s used)", size_text(gpu->used_bytes, used));
}

/* An instance stands below its GPU's line, which the first of them prints. */
static void print_gpu(FILE *out, const struct ls_topo *topo, const struct ls_gpu *gpu)
{
	if (gpu->mig <= 0) {
		fprintf(out, "      GPU %-3d %s %s", gpu->index, gpu->busid, gpu->model);
		if (gpu->mig < 0)
			print_memory(out, gpu);
		fprintf(out, "%s%s%s", gpu->links[0] ? ", " : "", gpu->links, gpu->mig == 0 ? ", cut up (MIG)" : "");
		if (gpu->pci)
			print_bridge(out, gpu->pci);
		else
			fputs(", on no PCI bus that is seen from here\n", out);
	}
	if (gpu->mig >= 0) {
		fprintf(out, "        %-5s %s, %s", gpu->label, gpu->name, gpu->uuid);
		print_memory(out, gpu);
		fputc('\n', out);
	}
	print_state(out, topo, gpu);
}

/* PCI devices whose NUMA domain is `numa`; -1: those without a single one, which get a heading of their own. */
static void print_devices(FILE *out, const struct ls_topo *topo, int numa)
{
	const char *heading = numa < 0 ? "  near no single NUMA domain\n" : "";
	const struct ls_gpu *gpus;
	const struct ls_nic *nics;
	int i, n_gpus = ls_topo_gpus(topo, &gpus), n_nics = ls_topo_nics(topo, &nics);

	for (i = 0; i < n_gpus; i++) {
		if (gpus[i].numa != numa)
			continue;
		fputs(heading, out);
		print_gpu(out, topo, &gpus[i]);
		heading = "";
	}
	for (i = 0; i < n_nics; i++) {
		if (nics[i].numa != numa || !nics[i].pci)
			continue;
		fputs(heading, out);
		print_nic(out, &nics[i]);
		heading = "";
	}
}

static void print_virtual(FILE *out, const struct ls_topo *topo)
{
	const char *before = "  virtual interfaces  ";
	const struct ls_nic *nics;
	int i, n = ls_topo_nics(topo, &nics);

	for (i = 0; i < n; i++) {
		if (nics[i].pci)
			continue;
		fprintf(out, "%s%s%s", before, nics[i].name, nics[i].down ? " (no link)" : "");
		before = ", ";
	}
	if (*before == ',')
		fputc('\n', out);
}

static void print_driver(FILE *out, const struct ls_topo *topo)
{
	bool answers, odd;
	const char *driver = ls_topo_gpu_driver(topo, &answers), *hidden = ls_topo_hidden_gpus(topo, &odd);

	if (driver[0])
		fprintf(out, "  NVIDIA  %s\n", driver);
	if (hidden[0])
		fprintf(out, "  %s\n", hidden);
}

/* The domain's cores by their PUs. No memory for the list: the line ends there. */
static void print_numa(FILE *out, const struct ls_topo *topo, const struct ls_numa *numa)
{
	char text[32], *pus = NULL;

	if (numa->os_index >= 0)
		fprintf(out, "    NUMA %-3d  %s, ", numa->os_index, size_text(numa->bytes, text));
	else
		fputs("    no memory of their own: ", out);
	hwloc_bitmap_list_asprintf(&pus, numa->cpuset);
	fprintf(out, "%d core%s: PUs %s\n", numa->cores, plural(numa->cores), pus ? pus : "");
	free(pus);
	print_caches(out, ls_topo_hwloc(topo), numa->cpuset);
	if (numa->os_index >= 0)
		print_devices(out, topo, numa->os_index);
}

static void print_package(FILE *out, const struct ls_topo *topo, int package)
{
	hwloc_obj_t p = NULL;
	const char *model;

	if (package < 0) {
		fputs("  no single package\n", out);
		return;
	}
	do
		p = hwloc_get_next_obj_by_type(ls_topo_hwloc(topo), HWLOC_OBJ_PACKAGE, p);
	while (p && (int)p->os_index != package);
	model = p ? hwloc_obj_get_info_by_name(p, "CPUModel") : NULL;
	fprintf(out, "  package %d%s%s\n", package, model ? "  " : "", model ? model : "");
}

void ls_topo_print(FILE *out, const char *host, const struct ls_topo *topo)
{
	const struct ls_numa *numas;
	int i, n = ls_topo_numa_list(topo, &numas), package, last = -2;

	print_summary(out, host, topo);
	for (i = 0; i < n; i++) {
		package = ls_topo_package_of(topo, numas[i].cpuset);
		if (package != last)
			print_package(out, topo, package);
		last = package;
		print_numa(out, topo, &numas[i]);
	}
	print_devices(out, topo, -1);
	print_virtual(out, topo);
	print_driver(out, topo);
}

static int widest(int width, const char *text)
{
	return (int)strlen(text) > width ? (int)strlen(text) : width;
}

static const char *or_dash(int number, char text[16])
{
	snprintf(text, 16, number < 0 ? "-" : "%d", number);
	return text;
}

void ls_place_print(FILE *out, const struct ls_place *place)
{
	int i, pus = 3, nic = 3;
	char numa[16];

	for (i = 0; i < place->n; i++) {
		pus = widest(pus, place->seats[i].cpuset);
		nic = widest(nic, place->seats[i].nic);
	}
	fprintf(out, "rank  cores   %-*s  numa  gpu  %-*s  why\n", pus, "PUs", nic, "nic");
	for (i = 0; i < place->n; i++) {
		const struct ls_seat *s = &place->seats[i];

		fprintf(out, "%4d  %5d%s  %-*s  %4s  %3s  %-*s  %s\n", i, s->cores, s->shared ? "*" : " ", pus,
			s->cpuset, or_dash(s->numa, numa), s->gpu >= 0 ? s->gpu_label : "-", nic, s->nic[0] ? s->nic : "-", s->why);
	}
	if (place->warning[0])
		fprintf(out, "* warning: %s\n", place->warning);
}
