/* test_place.c -- plans of whole machines replayed against the .expected files of tests/data/topo, small ones in
 * tables, and two properties on random machines. `UPDATE=1 test_place` rewrites the expected plans: read the
 * difference before committing it. */
#include "core/deal.h"
#include "core/io.h"
#include "core/place.h"
#include "launcher/topo_show.h"
#include "tests/unit/fake_nvml.h"

#include <CUnit/Basic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define DATA "tests/data/topo/"

/* A row that fails names itself. */
static void check(const char *says, bool ok, const char *what)
{
	char text[4096];

	snprintf(text, sizeof(text), "%s: %s", says, what);
	CU_assertImplementation(ok, 0, text, __FILE__, "", CU_FALSE);
}

/* --- recorded plans --------------------------------------------------------------------------------------------- */

static const struct {
	const char *says, *machine;
	int ranks;
	enum ls_bind bind;
	const char *expected;
} replays[] = {
	{ "a rank per GPU, each with a NIC of its own",      "dgx-h100",  LS_RANKS_AUTO, LS_BIND_AUTO, "dgx-h100.auto" },
	{ "two GPUs behind a switch share its two NICs",     "dgx-a100",  8,  LS_BIND_AUTO, "dgx-a100.np8" },
	{ "fewer ranks than GPUs take the first",            "dgx-a100",  3,  LS_BIND_GPU,  "dgx-a100.np3" },
	{ "CPU ranks over eight domains",                    "dgx-a100",  12, LS_BIND_CORE, "dgx-a100.np12.core" },
	{ "two domains to a rank",                           "dgx-a100",  4,  LS_BIND_NUMA, "dgx-a100.np4.numa" },
	{ "the only NIC with a driver serves all",           "snc4-4gpu", 4,  LS_BIND_AUTO, "snc4-4gpu.np4" },
	{ "ranks that do not divide by the domains",         "server",    6,  LS_BIND_AUTO, "server.np6" },
	{ "one rank gets the machine",                       "server",    1,  LS_BIND_AUTO, "server.np1" },
	{ "bound to domains",                                "server",    4,  LS_BIND_NUMA, "server.np4.numa" },
	{ "not bound",                                       "server",    2,  LS_BIND_NONE, "server.np2.none" },
	{ "a rank per core",                                 "laptop",    LS_RANKS_AUTO, LS_BIND_AUTO, "laptop.auto" },
	{ "more ranks than cores share, and say so",         "laptop",    6,  LS_BIND_AUTO, "laptop.np6" },
	{ "fewer cores than GPUs nearby: look further out",  "container", 4,  LS_BIND_AUTO, "container.np4" },
	{ "unequal domains get ranks by their cores",        "container", 5,  LS_BIND_CORE, "container.np5.core" },
	{ "a recorded virtual machine: a rank per core",     "recorded-vm", LS_RANKS_AUTO, LS_BIND_AUTO, "recorded-vm.auto" },
	{ "a GPU near nothing takes what nobody nearer wants", "far-gpu", 2,  LS_BIND_AUTO, "far-gpu.np2" },
};

/* GPUs by fake_nvml.h; NULL: its library is not asked, the variable not set. */
static const struct {
	const char *says, *machine, *nvml, *visible, *expected;
} gpu_replays[] = {
	{ "visible ones in their order", "dgx-h100", NULL, "6,7,0", "dgx-h100.visible" },
	{ "two GPUs of eight in instances, ranks by UUID", "dgx-a100",
		"gpu=0000:07:00.0 mig=3g.40gb mig=3g.40gb gpu=0000:0f:00.0 gpu=0000:47:00.0 gpu=0000:4e:00.0 gpu=0000:87:00.0 "
		"gpu=0000:90:00.0 gpu=0000:b7:00.0 gpu=0000:bd:00.0 mig=1g.10gb mig=2g.20gb mig=4g.40gb", NULL, "dgx-a100.mig" },
	{ "no PCI bus: NVIDIA's library alone knows of GPUs", "recorded-vm", "gpu=0000:00:07.0", NULL, "recorded-vm.gpu" },
	{ "a real one, seen from a container of four cores", "recorded-dgx2", NULL, "0,3,8,15", "recorded-dgx2.visible" },
};

static ls_status place_with(const char *source, const char *nvml, const char *visible, int ranks, enum ls_bind bind, struct ls_place *ret,
	struct ls_err *err)
{
	struct ls_topo *topo = NULL;
	ls_status st = fake_nvml_open(source, nvml, visible, NULL, &topo, err);

	if (!st)
		st = ls_place_host(topo, ranks, bind, ret, err);
	ls_topo_close(topo);
	return st;
}

static ls_status place(const char *source, int ranks, enum ls_bind bind, struct ls_place *ret, struct ls_err *err)
{
	return place_with(source, NULL, NULL, ranks, bind, ret, err);
}

static char *plan_text(const struct ls_place *plan)
{
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	CU_ASSERT_FATAL(f != NULL);
	ls_place_print(f, plan);
	CU_ASSERT_FATAL(fclose(f) == 0);
	return text;
}

/* The lines that differ, the expected one first. */
static void diff(struct ls_str *out, const char *want, const char *got)
{
	while (*want || *got) {
		size_t w = strcspn(want, "\n"), g = strcspn(got, "\n");

		if (w != g || memcmp(want, got, w) != 0)
			ls_str_addf(out, "\n- %.*s\n+ %.*s", (int)w, want, (int)g, got);
		want += w + (want[w] == '\n');
		got += g + (got[g] == '\n');
	}
}

static void compare(const char *says, const char *path, const char *got)
{
	struct ls_str want = { 0 }, lines = { 0 };
	struct ls_err err = LS_ERR_INIT;

	if (getenv("UPDATE"))
		check(says, !ls_file_publish(path, got, strlen(got), false, &err), err.text);
	else if (ls_file_read(path, 1 << 20, &want, &err))
		check(says, false, err.text);
	else if (strcmp(ls_str_text(&want), got) != 0) {
		diff(&lines, ls_str_text(&want), got);
		printf("%s%s\n", path, ls_str_text(&lines));
		check(says, false, path);
	}
	ls_str_release(&want);
	ls_str_release(&lines);
}

static void replay(const char *says, const char *machine, const char *nvml, const char *visible, int ranks, enum ls_bind bind,
	const char *expected)
{
	char source[256], path[256], *text;
	struct ls_place plan = { 0 };
	struct ls_err err = LS_ERR_INIT;

	snprintf(source, sizeof(source), DATA "%s.xml", machine);
	snprintf(path, sizeof(path), DATA "%s.expected", expected);
	if (place_with(source, nvml, visible, ranks, bind, &plan, &err)) {
		check(says, false, err.text);
		return;
	}
	text = plan_text(&plan);
	compare(says, path, text);
	free(text);
	ls_place_release(&plan);
}

static void test_replays(void)
{
	size_t i;

	for (i = 0; i < COUNT(replays); i++)
		replay(replays[i].says, replays[i].machine, NULL, NULL, replays[i].ranks, replays[i].bind, replays[i].expected);
	for (i = 0; i < COUNT(gpu_replays); i++)
		replay(gpu_replays[i].says, gpu_replays[i].machine, gpu_replays[i].nvml, gpu_replays[i].visible, LS_RANKS_AUTO, LS_BIND_AUTO,
			gpu_replays[i].expected);
}

/* --- small plans ------------------------------------------------------------------------------------------------ */

static const struct {
	const char *says, *machine;
	int ranks;
	enum ls_bind bind;
	const char *want; /* the seats' PUs */
	bool warning;
} small[] = {
	{ "a rank per core",                       "pack:1 core:2 pu:1",        2, LS_BIND_CORE, "0 | 1", false },
	{ "a core counts once, with both threads", "pack:1 core:2 pu:2",        2, LS_BIND_CORE, "0-1 | 2-3", false },
	{ "auto without GPUs is core",             "pack:2 numa:1 core:2 pu:1", 2, LS_BIND_AUTO, "0-1 | 2-3", false },
	{ "fewer ranks than domains: whole ones",  "pack:2 numa:2 core:2 pu:1", 2, LS_BIND_CORE, "0-3 | 4-7", false },
	{ "three ranks, four domains",             "pack:2 numa:2 core:2 pu:1", 3, LS_BIND_CORE, "0-1 | 2-3 | 4-7", false },
	{ "five ranks, four domains",              "pack:1 numa:4 core:2 pu:1", 5, LS_BIND_CORE, "0 | 1 | 2-3 | 4-5 | 6-7", false },
	{ "three domains",                         "pack:3 numa:1 core:2 pu:1", 3, LS_BIND_CORE, "0-1 | 2-3 | 4-5", false },
	{ "the split is at the package",           "pack:2 numa:3 core:1 pu:1", 2, LS_BIND_NUMA, "0-2 | 3-5", false },
	{ "one more rank than cores",              "pack:1 core:2 pu:1",        3, LS_BIND_CORE, "0 | 1 | 0", true },
	{ "twice as many, over two domains",       "pack:2 numa:1 core:1 pu:1", 4, LS_BIND_CORE, "0 | 0 | 1 | 1", true },
	{ "a domain each",                         "pack:2 numa:1 core:2 pu:1", 4, LS_BIND_NUMA, "0-1 | 0-1 | 2-3 | 2-3", false },
	{ "a domain with more ranks than cores",   "pack:2 numa:1 core:1 pu:1", 3, LS_BIND_NUMA, "0 | 0 | 1", true },
	{ "not bound",                             "pack:2 numa:1 core:2 pu:1", 2, LS_BIND_NONE, "0-3 | 0-3", false },
	{ "not bound, more ranks than cores",      "pack:1 core:1 pu:2",        2, LS_BIND_NONE, "0-1 | 0-1", true },
};

static void test_small(void)
{
	size_t i;
	int r;

	for (i = 0; i < COUNT(small); i++) {
		struct ls_place plan = { 0 };
		struct ls_err err = LS_ERR_INIT;
		struct ls_str got = { 0 };

		if (place(small[i].machine, small[i].ranks, small[i].bind, &plan, &err))
			check(small[i].says, false, err.text);
		for (r = 0; r < plan.n; r++)
			ls_str_addf(&got, "%s%s", r ? " | " : "", plan.seats[r].cpuset);
		check(small[i].says, !strcmp(ls_str_text(&got), small[i].want), ls_str_text(&got));
		check(small[i].says, (plan.warning[0] != '\0') == small[i].warning,
			plan.warning[0] ? plan.warning : "no warning");
		ls_str_release(&got);
		ls_place_release(&plan);
	}
}

static const struct {
	const char *says, *machine;
	int ranks;
	enum ls_bind bind;
	const char *want; /* the PU of each rank's progress thread; "-": none */
} progress[] = {
	{ "the second thread of each rank's last core", DATA "server.xml",    6, LS_BIND_AUTO, "74 85 95 106 117 127" },
	{ "a machine for one rank",                     DATA "server.xml",    1, LS_BIND_AUTO, "127" },
	{ "ranks with GPUs",                            DATA "dgx-h100.xml",  LS_RANKS_AUTO, LS_BIND_AUTO,
		"125 139 153 167 181 195 209 223" },
	{ "cores without a second thread",              DATA "far-gpu.xml",   2, LS_BIND_AUTO, "7 15" },
	{ "a domain to itself",                         DATA "dgx-a100.xml",  4, LS_BIND_NUMA, "159 191 223 255" },
	{ "a domain that another rank roams",           DATA "server.xml",    4, LS_BIND_NUMA, "- - - -" },
	{ "not bound",                                  DATA "server.xml",    2, LS_BIND_NONE, "- -" },
	{ "not bound, and alone",                       DATA "server.xml",    1, LS_BIND_NONE, "-" },
	{ "one core each, with two threads",            DATA "laptop.xml",    LS_RANKS_AUTO, LS_BIND_AUTO, "- - - -" },
	{ "one rank with two cores, others with one",   DATA "container.xml", 4, LS_BIND_AUTO, "69 - - -" },
};

static void test_progress(void)
{
	size_t i;
	int r;

	for (i = 0; i < COUNT(progress); i++) {
		struct ls_place plan = { 0 };
		struct ls_err err = LS_ERR_INIT;
		struct ls_str got = { 0 };

		if (place(progress[i].machine, progress[i].ranks, progress[i].bind, &plan, &err))
			check(progress[i].says, false, err.text);
		for (r = 0; r < plan.n; r++) {
			ls_str_add(&got, r ? " " : "");
			if (plan.seats[r].progress_pu < 0)
				ls_str_add(&got, "-");
			else
				ls_str_addf(&got, "%d", plan.seats[r].progress_pu);
		}
		check(progress[i].says, !strcmp(ls_str_text(&got), progress[i].want), ls_str_text(&got));
		ls_str_release(&got);
		ls_place_release(&plan);
	}
}

static const struct {
	const char *says, *machine;
	int ranks;
	enum ls_bind bind;
	const char *text;
} refusals[] = {
	{ "more ranks than GPUs",  DATA "snc4-4gpu.xml", 5, LS_BIND_AUTO, "5 ranks want a GPU each, but this host has 4" },
	{ "no GPU to bind to",     DATA "laptop.xml",    1, LS_BIND_GPU,  "this host has none" },
	{ "no rank",               DATA "laptop.xml",    0, LS_BIND_CORE, "0 ranks cannot be placed" },
	{ "a slip of the hand",    DATA "laptop.xml", 40000, LS_BIND_CORE, "ask for at most" },
	{ "PUs too scattered to list", "pack:1 numa:2 core:800 pu:1(indexes=numa:core)", 2, LS_BIND_NUMA, "too scattered" },
};

static void test_refusals(void)
{
	size_t i;

	for (i = 0; i < COUNT(refusals); i++) {
		struct ls_place plan = { 0 };
		struct ls_err err = LS_ERR_INIT;

		check(refusals[i].says,
			place(refusals[i].machine, refusals[i].ranks, refusals[i].bind, &plan, &err) == LS_USAGE,
			"status");
		check(refusals[i].says, strstr(err.text, refusals[i].text) != NULL, err.text);
		check(refusals[i].says, plan.seats == NULL, "untouched");
	}
}

/* --- properties ------------------------------------------------------------------------------------------------- */

static unsigned seed;

static int roll(int from, int to)
{
	return from + rand_r(&seed) % (to - from + 1);
}

static hwloc_bitmap_t seat_pus(const struct ls_seat *seat)
{
	hwloc_bitmap_t pus = hwloc_bitmap_alloc();

	CU_ASSERT_FATAL(pus && hwloc_bitmap_list_sscanf(pus, seat->cpuset) == 0);
	return pus;
}

static void check_pair(const char *says, const struct ls_seat *a, const struct ls_seat *b, int cores, int ranks)
{
	hwloc_bitmap_t pus_a = seat_pus(a), pus_b = seat_pus(b);

	if (hwloc_bitmap_intersects(pus_a, pus_b))
		check(says, a->shared && b->shared, "two seats overlap and do not say so");
	if (a->numa >= 0 && a->numa == b->numa)
		check(says, abs(a->cores - b->cores) <= 1, "unequal in one domain");
	check(says, ranks > cores || !a->shared, "shared without need");
	hwloc_bitmap_free(pus_a);
	hwloc_bitmap_free(pus_b);
}

static void check_plan(const char *says, const struct ls_topo *topo, const struct ls_place *plan)
{
	hwloc_const_bitmap_t all = hwloc_topology_get_topology_cpuset(ls_topo_hwloc(topo));
	int i, j, shared = 0;

	for (i = 0; i < plan->n; i++) {
		hwloc_bitmap_t pus = seat_pus(&plan->seats[i]);

		check(says, !hwloc_bitmap_iszero(pus) && hwloc_bitmap_isincluded(pus, all), "within the allowed PUs");
		check(says, plan->seats[i].cores >= 1, "at least a core");
		hwloc_bitmap_free(pus);
		shared += plan->seats[i].shared;
		for (j = 0; j < plan->n; j++)
			if (i != j)
				check_pair(says, &plan->seats[i], &plan->seats[j], ls_topo_cores(topo), plan->n);
	}
	check(says, (shared > 0) == (plan->n > ls_topo_cores(topo)) && (shared > 0) == (plan->warning[0] != '\0'),
		"warning");
}

static void test_random_machines(void)
{
	int i;

	for (i = 0; i < 150; i++) {
		char says[128], machine[64];
		struct ls_topo *topo = NULL;
		struct ls_place plan = { 0 };
		struct ls_err err = LS_ERR_INIT;
		unsigned start = seed;
		int ranks;

		snprintf(machine, sizeof(machine), "pack:%d numa:%d core:%d pu:%d", roll(1, 3), roll(1, 5), roll(1, 9),
			roll(1, 2));
		ranks = roll(1, 40);
		snprintf(says, sizeof(says), "seed %u: %d ranks on '%s'", start, ranks, machine);
		if (ls_topo_open(machine, true, &topo, &err) || ls_place_host(topo, ranks, LS_BIND_CORE, &plan, &err))
			check(says, false, err.text);
		else
			check_plan(says, topo, &plan);
		ls_place_release(&plan);
		ls_topo_close(topo);
	}
}

/* Random nested homes: the machine in halves in halves; each rank's home is one of the parts. */
static void random_homes(struct ls_deal *d)
{
	int r, c;

	for (r = 0; r < d->n; r++) {
		int from = 0, to = d->n_cores;

		while (to - from > 1 && roll(0, 2)) {
			if (roll(0, 1))
				from = (from + to) / 2;
			else
				to = (from + to) / 2;
		}
		for (c = from; c < to; c++)
			ls_deal_put(d, d->home[r], c);
	}
}

/* Hall's condition: no part of the machine is the only home of more ranks than it has cores. */
static bool enough_for_all(const struct ls_deal *d)
{
	int r;

	for (r = 0; r < d->n; r++)
		if (ls_deal_crowd(d, r) > hwloc_bitmap_weight(d->home[r]))
			return false;
	return true;
}

static void test_random_deals(void)
{
	int i, r, q, tried = 0;

	for (i = 0; i < 2000; i++) {
		struct ls_deal d;
		unsigned start = seed;
		char says[64];
		bool enough;

		snprintf(says, sizeof(says), "seed %u", start);
		CU_ASSERT_FATAL(ls_deal_init(&d, roll(1, 12), roll(1, 32), NULL) == LS_OK);
		random_homes(&d);
		enough = enough_for_all(&d);
		tried += enough;
		CU_ASSERT_FATAL(ls_deal_cores(&d, NULL) == LS_OK);
		for (r = 0; r < d.n; r++) {
			check(says, !hwloc_bitmap_iszero(d.mine[r]), "a core for every rank");
			check(says, hwloc_bitmap_isincluded(d.mine[r], d.home[r]), "from its home");
			for (q = 0; q < r && enough; q++)
				check(says, !hwloc_bitmap_intersects(d.mine[q], d.mine[r]),
					"its own, as there are enough");
		}
		ls_deal_release(&d);
	}
	check("random homes", tried > 200, "enough deals without need to share");
}

int main(void)
{
	const char *given = getenv("SEED");
	CU_pSuite suite;
	unsigned failed;

	seed = given ? (unsigned)strtoul(given, NULL, 10) : (unsigned)time(NULL);
	printf("SEED=%u\n", seed);
	fake_nvml_load();
	if (CU_initialize_registry() || !(suite = CU_add_suite("place", NULL, NULL)))
		return 1;
	CU_add_test(suite, "whole machines against expected plans", test_replays);
	CU_add_test(suite, "small plans", test_small);
	CU_add_test(suite, "where progress threads run", test_progress);
	CU_add_test(suite, "requests that are refused", test_refusals);
	CU_add_test(suite, "random machines", test_random_machines);
	CU_add_test(suite, "random homes", test_random_deals);
	CU_basic_set_mode(CU_BRM_NORMAL);
	CU_basic_run_tests();
	failed = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failed != 0;
}
