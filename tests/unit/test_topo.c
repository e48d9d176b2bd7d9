/* test_topo.c -- machines as XML, synthetic strings and the real one, reduced to cores, domains and devices;
 * refusals. */
#include "core/topo.h"
#include "core/io.h"
#include "core/topo_io.h"

#include <CUnit/Basic.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define DATA "tests/data/topo/"

/* A row that fails names itself. */
static void check(const char *says, bool ok, const char *what)
{
	char text[4096];

	snprintf(text, sizeof(text), "%s: %s", says, what);
	CU_assertImplementation(ok, 0, text, __FILE__, "", CU_FALSE);
}

static struct ls_topo *open_or_fail(const char *says, const char *source)
{
	struct ls_err err = LS_ERR_INIT;
	struct ls_topo *topo = NULL;

	if (ls_topo_open(source, true, &topo, &err))
		check(says, false, err.text);
	return topo;
}

static const struct {
	const char *says, *source;
	int packages, numas, cores, pus, gpus, nics;
} machines[] = {
	{ "a laptop's graphics are no GPU",             DATA "laptop.xml",    1, 1,   4,   8, 0,  1 },
	{ "two sockets",                                DATA "server.xml",    2, 2,  64, 128, 0,  2 },
	{ "NPS4 makes eight domains",                   DATA "dgx-a100.xml",  2, 8, 128, 256, 8, 13 },
	{ "an NVSwitch is no GPU",                      DATA "dgx-h100.xml",  2, 2, 112, 224, 8, 13 },
	{ "SNC4",                                       DATA "snc4-4gpu.xml", 1, 4,  48,  96, 4,  2 },
	{ "a cpuset hides cores, not devices",          DATA "container.xml", 2, 2,   5,  10, 4,  2 },
	{ "a GPU without locality",                     DATA "far-gpu.xml",   2, 2,  16,  16, 2,  1 },
	{ "sixteen GPUs of a real DGX-2, in a job of four cores", DATA "recorded-dgx2.xml", 2, 2, 4, 4, 16, 0 },
	{ "synthetic, two threads to a core",           "pack:2 numa:1 core:8 pu:2", 2, 2, 16, 32, 0, 0 },
	{ "two memories at the same cores: one domain", "pack:2 [numa] [numa] core:4 pu:1", 2, 2, 8, 8, 0, 0 },
	{ "memory around memories is no domain",        "pack:2 [numa] group:2 [numa] core:2 pu:1", 2, 4, 8, 8, 0, 0 },
	{ "without cores the PUs count",                "numa:2 pu:3", 0, 2, 6, 6, 0, 0 },
};

static void test_machines(void)
{
	size_t i;

	for (i = 0; i < COUNT(machines); i++) {
		struct ls_topo *topo = open_or_fail(machines[i].says, machines[i].source);
		const struct ls_gpu *gpus;
		const struct ls_nic *nics;

		if (!topo)
			continue;
		check(machines[i].says, ls_topo_packages(topo) == machines[i].packages, "packages");
		check(machines[i].says, ls_topo_numas(topo) == machines[i].numas, "NUMA domains");
		check(machines[i].says, ls_topo_cores(topo) == machines[i].cores, "cores");
		check(machines[i].says, ls_topo_pus(topo) == machines[i].pus, "PUs");
		check(machines[i].says, ls_topo_gpus(topo, &gpus) == machines[i].gpus, "GPUs");
		check(machines[i].says, ls_topo_nics(topo, &nics) == machines[i].nics, "NICs");
		ls_topo_close(topo);
	}
}

static const struct {
	const char *says, *source;
	int gpu;
	const char *busid, *name;
	int numa;
} gpu_rows[] = {
	{ "the order is that of PCI addresses",  DATA "dgx-a100.xml",  0, "0000:07:00.0", "A100-SXM4-80GB", 3 },
	{ "not that of NUMA domains",            DATA "dgx-a100.xml",  4, "0000:87:00.0", "A100-SXM4-80GB", 7 },
	{ "a GPU whose cores are few keeps them", DATA "container.xml", 3, "0000:b4:00.0", "A30", 1 },
	{ "near the machine is near no domain",  DATA "far-gpu.xml",   1, "0000:b3:00.0", "T4", -1 },
	{ "a name that hwloc's NVML plug-in wrote", DATA "recorded-dgx2.xml", 15, "0000:e7:00.0", "Tesla V100-SXM3-32GB-H", 1 },
};

static void test_gpus(void)
{
	size_t i;

	for (i = 0; i < COUNT(gpu_rows); i++) {
		struct ls_topo *topo = open_or_fail(gpu_rows[i].says, gpu_rows[i].source);
		const struct ls_gpu *gpus;

		if (topo && ls_topo_gpus(topo, &gpus) > gpu_rows[i].gpu) {
			const struct ls_gpu *gpu = &gpus[gpu_rows[i].gpu];

			check(gpu_rows[i].says, gpu->index == gpu_rows[i].gpu, "index");
			check(gpu_rows[i].says, !strcmp(gpu->busid, gpu_rows[i].busid), gpu->busid);
			check(gpu_rows[i].says, !strcmp(gpu->name, gpu_rows[i].name), gpu->name);
			check(gpu_rows[i].says, gpu->numa == gpu_rows[i].numa, "numa");
			check(gpu_rows[i].says, !hwloc_bitmap_iszero(gpu->near->cpuset), "near has PUs");
		}
		ls_topo_close(topo);
	}
}

static void test_nic_names(void)
{
	struct ls_topo *topo = open_or_fail("NICs", DATA "server.xml");
	const struct ls_nic *nics;

	if (!topo || ls_topo_nics(topo, &nics) != 2)
		return;
	check("a plain NIC", !strcmp(nics[0].name, "eno1") && !strcmp(nics[0].netdev, "eno1") && !nics[0].rdma,
		nics[0].name);
	check("an RDMA NIC has two names",
		!strcmp(nics[1].name, "mlx5_0") && !strcmp(nics[1].netdev, "ens2") && nics[1].rdma, nics[1].name);
	ls_topo_close(topo);
}

static const struct {
	const char *says, *source;
	ls_status want;
	const char *text; /* a part of the sentence */
} refusals[] = {
	{ "a missing file",          DATA "no-such.xml",      LS_NOT_FOUND, "no-such.xml" },
	{ "nonsense",                "foo:3",                 LS_USAGE, "'foo:3' is neither a file *.xml nor" },
	{ "an empty string",         "",                      LS_USAGE, "synthetic" },
};

static void test_refusals(void)
{
	size_t i;

	for (i = 0; i < COUNT(refusals); i++) {
		struct ls_err err = LS_ERR_INIT;
		struct ls_topo *topo = NULL;

		check(refusals[i].says, ls_topo_open(refusals[i].source, true, &topo, &err) == refusals[i].want,
			"status");
		check(refusals[i].says, strstr(err.text, refusals[i].text) != NULL, err.text);
		check(refusals[i].says, topo == NULL, "untouched");
	}
}

static const struct {
	const char *says, *xml;
} bad_xml[] = {
	{ "nothing",              "" },
	{ "no XML",               "hello" },
	{ "not closed",           "<topology version=\"2.0\"><object type=\"Machine\"" },
	{ "version 3",            "<?xml version=\"1.0\"?><topology version=\"3.0\"></topology>" },
	{ "a topology of nothing", "<?xml version=\"1.0\"?><!DOCTYPE topology SYSTEM \"hwloc2.dtd\"><topology version=\"2.0\"></topology>" },
};

static void test_bad_xml(void)
{
	size_t i;

	for (i = 0; i < COUNT(bad_xml); i++) {
		struct ls_err err = LS_ERR_INIT;
		struct ls_topo *topo = NULL;

		check(bad_xml[i].says,
			ls_topo_open_xml(bad_xml[i].xml, strlen(bad_xml[i].xml), &topo, &err) == LS_USAGE, err.text);
		ls_topo_close(topo);
	}
}

/* What one host sends is what the other reads. */
static void test_export(void)
{
	struct ls_topo *topo = open_or_fail("export", DATA "dgx-a100.xml"), *again = NULL;
	struct ls_str xml = { 0 };
	struct ls_err err = LS_ERR_INIT;
	const struct ls_gpu *gpus;

	if (!topo)
		return;
	check("export", !ls_topo_export(topo, &xml, &err), err.text);
	check("import", !ls_topo_open_xml(xml.s, xml.len, &again, &err), err.text);
	check("cores", again && ls_topo_cores(again) == 128, "128");
	check("GPUs", again && ls_topo_gpus(again, &gpus) == 8, "8");
	ls_str_release(&xml);
	ls_topo_close(again);
	ls_topo_close(topo);
}

/* A launcher elsewhere must not hand out a GPU that the container was not given: the XML says so, and the others move up. */
static void test_not_given(void)
{
	static const char mark[] = "<info name=\"LockstepNotGiven\" value=\"1\"/>";
	struct ls_str xml = { 0 }, marked = { 0 };
	struct ls_err err = LS_ERR_INIT;
	struct ls_topo *topo = NULL;
	const struct ls_gpu *gpus;
	const char *first;

	CU_ASSERT_FATAL(!ls_file_read(DATA "dgx-h100.xml", 1 << 20, &xml, &err));
	first = strstr(xml.s, "<info name=\"PCIDevice\"");
	CU_ASSERT_FATAL(first != NULL);
	ls_str_addn(&marked, xml.s, (size_t)(first - xml.s));
	ls_str_add(&marked, mark);
	ls_str_add(&marked, first);
	check("marked", !ls_topo_open_xml(marked.s, marked.len, &topo, &err), err.text);
	check("one GPU less", topo && ls_topo_gpus(topo, &gpus) == 7, "7");
	check("GPU 0 is the next", topo && !strcmp(gpus[0].busid, "0000:43:00.0") && gpus[0].index == 0, "0000:43:00.0");
	ls_str_release(&xml);
	ls_str_release(&marked);
	ls_topo_close(topo);
}

static void test_affinity(void)
{
	cpu_set_t before, one, after;
	struct ls_topo *topo;
	int cpu = 0;

	CU_ASSERT_FATAL(sched_getaffinity(0, sizeof(before), &before) == 0);
	while (!CPU_ISSET(cpu, &before))
		cpu++;
	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	CU_ASSERT_FATAL(sched_setaffinity(0, sizeof(one), &one) == 0);
	topo = open_or_fail("this machine, one PU", NULL);
	CU_ASSERT(sched_getaffinity(0, sizeof(after), &after) == 0 &&
		  CPU_EQUAL(&after, &one)); /* opening left it alone */
	CU_ASSERT(sched_setaffinity(0, sizeof(before), &before) == 0);
	check("one PU is one core", topo && ls_topo_cores(topo) == 1 && ls_topo_pus(topo) == 1, "counts");
	ls_topo_close(topo);
}

static void test_local_interfaces(void)
{
	struct ls_topo *topo = open_or_fail("this machine", NULL);
	const struct ls_nic *nics;
	int i, n = topo ? ls_topo_nics(topo, &nics) : 0;

	for (i = 0; i < n; i++) {
		check("the loopback is no NIC", strcmp(nics[i].name, "lo") != 0, nics[i].name);
		check("PCI or virtual", !nics[i].pci == !nics[i].near, nics[i].name);
	}
	ls_topo_close(topo);
}

static const struct {
	const char *says, *paths; /* made below a root before asking for 0000:1b:00.0 */
	bool want;
} given[] = {
	{ "no driver: nothing to ask",               "", true },
	{ "the driver gives it",                     "proc/driver/nvidia/gpus/0000:1b:00.0/information", true },
	{ "the driver gives others only",            "proc/driver/nvidia/gpus/0000:43:00.0/information", false },
	{ "its device file is there",
		"proc/driver/nvidia/gpus/0000:1b:00.0/information dev/nvidiactl dev/nvidia3", true },
	{ "device files, but not its own",
		"proc/driver/nvidia/gpus/0000:1b:00.0/information dev/nvidiactl dev/nvidia0", false },
};

static void make_file(const char *root, const char *path)
{
	static const char information[] = "Model: \t\t NVIDIA H100 80GB HBM3\nIRQ:   \t\t 51\nDevice Minor: \t 3\n";
	char full[512], dir[512];
	FILE *f;

	snprintf(full, sizeof(full), "%s/%s", root, path);
	snprintf(dir, sizeof(dir), "%.*s", (int)(strrchr(full, '/') - full), full);
	CU_ASSERT_FATAL(ls_mkdir_p(dir, NULL) == LS_OK);
	f = fopen(full, "w");
	CU_ASSERT_FATAL(f != NULL);
	fputs(information, f);
	CU_ASSERT(fclose(f) == 0);
}

static void test_given(void)
{
	size_t i;

	for (i = 0; i < COUNT(given); i++) {
		char root[] = "/tmp/test_topo.XXXXXX", paths[256], name[64] = "", *word, *rest = paths;

		CU_ASSERT_FATAL(mkdtemp(root) != NULL);
		snprintf(paths, sizeof(paths), "%s", given[i].paths);
		while ((word = strsep(&rest, " ")))
			if (*word)
				make_file(root, word);
		check(given[i].says, ls_gpu_given(root, "0000:1b:00.0", name, sizeof(name)) == given[i].want, "given");
		if (*given[i].paths && given[i].want)
			check(given[i].says, !strcmp(name, "NVIDIA H100 80GB HBM3"), name);
		CU_ASSERT(ls_remove_tree(root, NULL) == LS_OK);
	}
}

static const struct {
	const char *says, *source, *pus, *want;
	int numa, package;
} places[] = {
	{ "within one domain", "pack:2 numa:2 core:2 pu:1", "0-1", "NUMA 0", 0, 0 },
	{ "two of a package",  "pack:2 numa:2 core:2 pu:1", "1-2", "NUMA 0-1", -1, 0 },
	{ "across packages",   "pack:2 numa:2 core:2 pu:1", "3-4", "NUMA 1-2", -1, -1 },
	{ "everything",        "pack:2 numa:2 core:2 pu:1", "0-7", "the whole machine", -1, -1 },
	{ "the only domain",   "pack:1 numa:1 core:2 pu:1", "0-1", "NUMA 0", 0, 0 },
};

static void test_where(void)
{
	size_t i;

	for (i = 0; i < COUNT(places); i++) {
		struct ls_topo *topo = open_or_fail(places[i].says, places[i].source);
		hwloc_bitmap_t pus = hwloc_bitmap_alloc();
		char text[64];

		CU_ASSERT_FATAL(topo && pus && hwloc_bitmap_list_sscanf(pus, places[i].pus) == 0);
		ls_topo_where(topo, pus, text, sizeof(text));
		check(places[i].says, !strcmp(text, places[i].want), text);
		check(places[i].says, ls_topo_numa_of(topo, pus) == places[i].numa, "numa");
		check(places[i].says, ls_topo_package_of(topo, pus) == places[i].package, "package");
		hwloc_bitmap_free(pus);
		ls_topo_close(topo);
	}
}

int main(void)
{
	CU_pSuite suite;
	unsigned failed;

	if (CU_initialize_registry() || !(suite = CU_add_suite("topo", NULL, NULL)))
		return 1;
	CU_add_test(suite, "machines and their counts", test_machines);
	CU_add_test(suite, "GPUs", test_gpus);
	CU_add_test(suite, "names of NICs", test_nic_names);
	CU_add_test(suite, "sources that are refused", test_refusals);
	CU_add_test(suite, "XML that is refused", test_bad_xml);
	CU_add_test(suite, "export and import", test_export);
	CU_add_test(suite, "GPUs that another host was not given", test_not_given);
	CU_add_test(suite, "the affinity mask counts and stays", test_affinity);
	CU_add_test(suite, "this machine's interfaces", test_local_interfaces);
	CU_add_test(suite, "GPUs that a container was given", test_given);
	CU_add_test(suite, "where a cpuset is", test_where);
	CU_basic_set_mode(CU_BRM_NORMAL);
	CU_basic_run_tests();
	failed = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failed != 0;
}
