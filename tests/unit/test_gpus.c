/* test_gpus.c -- GPUs as NVIDIA's library tells them (tests/fake/nvml.c), what CUDA_VISIBLE_DEVICES leaves of them, which of them ranks
 * get, and every sentence on the way. Whole plans are in test_place.c. */
#include "core/place.h"
#include "launcher/topo_show.h"
#include "tests/unit/fake_nvml.h"

#include <CUnit/Basic.h>
#include <stdio.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define H100 "tests/data/topo/dgx-h100.xml"
#define BUSLESS "pack:1 numa:2 core:4 pu:1" /* no PCI bus */
#define EIGHT                                                                                                                              \
	"gpu=0000:1b:00.0 gpu=0000:43:00.0 gpu=0000:52:00.0 gpu=0000:61:00.0 gpu=0000:9d:00.0 gpu=0000:c3:00.0 gpu=0000:d1:00.0 "          \
	"gpu=0000:df:00.0"
/* GPU 1 in two instances, GPU 2 in none. */
#define CUT "gpu=0000:1b:00.0 gpu=0000:43:00.0 mig=1g.10gb mig=3g.40gb gib=40 gpu=0000:52:00.0 mig"
#define U1 "GPU-43000000-0000-4000-8000-000000000000"
#define M0 "MIG-43000000-0000-4000-8000-000000000000"
#define M1 "MIG-43000000-0000-4000-8000-000000000001"

/* A row that fails names itself. */
static void check(const char *says, bool ok, const char *what)
{
	char text[4096];

	snprintf(text, sizeof(text), "%s: %s", says, what);
	CU_assertImplementation(ok, 0, text, __FILE__, "", CU_FALSE);
}

/* --- which ones ------------------------------------------------------------------------------------------------- */

static const struct {
	const char *says, *nvml, *devices, *want; /* labels, and what CUDA_VISIBLE_DEVICES is for a rank there */
	const char *why; /* a part of the sentence; "": there is none */
} visible[] = {
	{ "not set: all", EIGHT, NULL, "0=0 1=1 2=2 3=3 4=4 5=5 6=6 7=7", "" },
	{ "in its order", EIGHT, "5,2", "5=5 2=2", "CUDA_VISIBLE_DEVICES=5,2 shows 2 of this host's 8" },
	{ "spaces are fine", EIGHT, " 5, 2", "5=5 2=2", " of this host's " },
	{ "all by number", EIGHT, "0,1,2,3,4,5,6,7", "0=0 1=1 2=2 3=3 4=4 5=5 6=6 7=7", "" },
	{ "empty: none", EIGHT, "", "", "is empty, which hides every GPU" },
	{ "-1 is no GPU", EIGHT, "-1", "", "there is no GPU '-1' here, and CUDA sees none" },
	{ "and ends the list", EIGHT, "0,2,-1,1", "0=0 2=2", "there is no GPU '-1' here, and CUDA sees only what stands before it" },
	{ "a number too high", EIGHT, "1,8", "1=1", "no GPU '8' here" },
	{ "a huge number", EIGHT, "99999999999999999999", "", "no GPU '99999999999999999999' here" },
	{ "NVIDIA_VISIBLE_DEVICES' words", EIGHT, "all", "", "no GPU 'all' here" },
	{ "a comma at the end", EIGHT, "0,", "0=0", "no GPU '' here" },
	{ "a number and more", EIGHT, "0x1", "", "no GPU '0x1' here" },
	{ "twice", EIGHT, "3,3", "3=3", "it names GPU 3 twice" },
	{ "by UUID: ranks get UUIDs", EIGHT, U1, "1=" U1, " of this host's " },
	{ "by its beginning", EIGHT, "GPU-43", "1=" U1, " of this host's " },
	{ "a beginning of two", "gpu=0000:d1:00.0 gpu=0001:d1:00.0", "GPU-d1", "", "several GPUs here have UUIDs that begin with GPU-d1" },
	{ "the beginning of every UUID names none", EIGHT, "GPU-", "", "no GPU 'GPU-' here" },
	{ "no such UUID", EIGHT, "GPU-77", "", "no GPU 'GPU-77' here" },
	{ "without the library UUIDs are not known", NULL, "GPU-43", "", "not known without NVIDIA's libnvidia-ml.so.1" },
	{ "numbers are", NULL, "1", "1=1", " of this host's " },
	{ "one that is cut up is its instances, all by UUID", CUT, NULL, "0=GPU-1b000000-0000-4000-8000-000000000000 1.0=" M0 " 1.1=" M1,
		"GPU 2 (0000:52:00.0) cannot be used: MIG is on, but it has no instance" },
	{ "its number is all of them", CUT, "1", "1.0=" M0 " 1.1=" M1, " of this host's " },
	{ "its UUID, too", CUT, U1, "1.0=" M0 " 1.1=" M1, " of this host's " },
	{ "one instance", CUT, M1, "1.1=" M1, " of this host's " },
	{ "by the old name", CUT, "MIG-" U1 "/8/0", "1.1=" M1, " of this host's " },
	{ "an instance has no short name", CUT, "MIG-43", "", "no GPU 'MIG-43' here" },
	{ "an instance twice", CUT, M0 ",1", "1.0=" M0, "it names GPU 1.0 twice" },
	{ "one without an instance", CUT, "2", "", "GPU 2 cannot be used: MIG is on" },
	{ "a lost one", EIGHT " lost", NULL, "0=0 1=1 2=2 3=3 4=4 5=5 6=6", "GPU 7 (0000:df:00.0) cannot be used: it is lost" },
	{ "one that its driver complains of", EIGHT " handle=8", NULL, "0=0 1=1 2=2 3=3 4=4 5=5 6=6",
		"GPU 7 (0000:df:00.0) cannot be used: the driver answers with error 8" },
	{ "one that is somebody else's", EIGHT " handle=4", NULL, "0=0 1=1 2=2 3=3 4=4 5=5 6=6", "" },
	{ "nobody counts them: those of the bus", EIGHT " count=999", "1", "1=1", " of this host's " },
	{ "one of another kind: by number is doubtful", "gpu=0000:1b:00.0 gpu=0000:43:00.0 name=NVIDIA_T4", "0", "0=0",
		"unless CUDA_DEVICE_ORDER=PCI_BUS_ID" },
	{ "GPUs that the driver does not show us are not ours", "gpu=0000:43:00.0 gpu=0000:61:00.0", NULL, "0=0 1=1", "" },
};

static void usable(const struct ls_topo *topo, struct ls_str *ret)
{
	const struct ls_gpu *const *gpus;
	char id[96];
	int i, n = ls_topo_usable_gpus(topo, &gpus);

	for (i = 0; i < n; i++)
		ls_str_addf(ret, "%s%s=%s", i ? " " : "", gpus[i]->label, ls_topo_gpu_id(topo, gpus[i], id));
}

static void test_visible(void)
{
	size_t i;

	for (i = 0; i < COUNT(visible); i++) {
		struct ls_err err = LS_ERR_INIT;
		struct ls_topo *topo = NULL;
		struct ls_str got = { 0 };
		bool odd;

		check(visible[i].says, !fake_nvml_open(H100, visible[i].nvml, visible[i].devices, NULL, &topo, &err), err.text);
		usable(topo, &got);
		check(visible[i].says, !strcmp(ls_str_text(&got), visible[i].want), ls_str_text(&got));
		if (visible[i].why[0])
			check(visible[i].says, strstr(ls_topo_hidden_gpus(topo, &odd), visible[i].why) != NULL, ls_topo_hidden_gpus(topo, &odd));
		else
			check(visible[i].says, !ls_topo_hidden_gpus(topo, &odd)[0], ls_topo_hidden_gpus(topo, &odd));
		ls_str_release(&got);
		ls_topo_close(topo);
	}
}

/* With PCI_BUS_ID numbers are what they seem. */
static void test_order(void)
{
	struct ls_err err = LS_ERR_INIT;
	struct ls_topo *topo = NULL;
	bool odd = true;

	CU_ASSERT_EQUAL_FATAL(fake_nvml_open(H100, "gpu=0000:1b:00.0 gpu=0000:43:00.0 name=NVIDIA_T4", "0,1", "PCI_BUS_ID", &topo, &err), LS_OK);
	CU_ASSERT_STRING_EQUAL(ls_topo_hidden_gpus(topo, &odd), "");
	CU_ASSERT_FALSE(odd);
	ls_topo_close(topo);
}

/* --- ranks there ------------------------------------------------------------------------------------------------ */

static const struct {
	const char *says, *nvml, *devices;
	int ranks;
	enum ls_bind bind;
	const char *want;    /* labels of the ranks' GPUs, "-" none; NULL: refused */
	const char *text;    /* of the warning or the refusal; "": no warning */
} seats[] = {
	{ "auto is one rank per visible GPU", EIGHT, "6,2", LS_RANKS_AUTO, LS_BIND_AUTO, "6 2", "" },
	{ "an instance counts as one", CUT, NULL, LS_RANKS_AUTO, LS_BIND_AUTO, "0 1.0 1.1", "MIG is on, but it has no instance" },
	{ "more ranks than are visible", EIGHT, "6,2", 3, LS_BIND_AUTO, NULL,
		"3 ranks want a GPU each, but this host has 2 (CUDA_VISIBLE_DEVICES=6,2 shows 2 of this host's 8)" },
	{ "hidden ones: on cores, and it says so", EIGHT, "", 2, LS_BIND_AUTO, "- -",
		"CUDA_VISIBLE_DEVICES is empty, which hides every GPU; unset it, or name some; ranks are placed on cores" },
	{ "who wants cores is not bothered", EIGHT, "", 2, LS_BIND_CORE, "- -", "" },
	{ "who wants GPUs is refused", EIGHT, "", 2, LS_BIND_GPU, NULL, "ranks are to be bound to GPUs, but CUDA_VISIBLE_DEVICES is empty" },
	{ "none but a lost one", "gpu=0000:1b:00.0 lost", NULL, 1, LS_BIND_GPU, NULL, "but GPU 0 (0000:1b:00.0) cannot be used: it is lost" },
	{ "no GPU at all", "", NULL, 1, LS_BIND_GPU, NULL, "this host has none" },
	{ "others use one: a warning", "gpu=0000:1b:00.0 gpu=0000:43:00.0 user=4194305:38 user=4194306:2", NULL, 2, LS_BIND_AUTO, "0 1",
		"others use GPU 1 (pid 4194305 with 38.0 GiB, pid 4194306 with 2.0 GiB): ranks there are slower" },
	{ "not one of ours: none", "gpu=0000:1b:00.0 gpu=0000:43:00.0 user=4194305:38", NULL, 1, LS_BIND_AUTO, "0", "" },
	{ "memory that nobody seen has", "gpu=0000:1b:00.0 used=38", NULL, 1, LS_BIND_AUTO, "0",
		"others use GPU 0 (38 of 80 GiB, by processes that are not seen from here)" },
	{ "what the driver keeps is none", "gpu=0000:1b:00.0 used=1", NULL, 1, LS_BIND_AUTO, "0", "" },
	{ "an instance's user", "gpu=0000:1b:00.0 mig=1g.10gb mig=1g.10gb user=4194305:9", NULL, 2, LS_BIND_AUTO, "0.0 0.1",
		"others use GPU 0.1 (pid 4194305 with 9.0 GiB)" },
	{ "exclusive mode, free", "gpu=0000:1b:00.0 mode=3", NULL, 1, LS_BIND_AUTO, "0", "" },
	{ "exclusive mode, in use", "gpu=0000:1b:00.0 mode=3 user=4194305:38", NULL, 1, LS_BIND_AUTO, NULL,
		"GPU 0 (0000:1b:00.0) is in exclusive use by pid 4194305 with 38.0 GiB" },
	{ "leaving it out helps", "gpu=0000:1b:00.0 mode=3 user=4194305:38 gpu=0000:43:00.0", "1", 1, LS_BIND_AUTO, "1", "" },
	{ "prohibited", "gpu=0000:1b:00.0 mode=2", NULL, 1, LS_BIND_AUTO, NULL, "lets nobody compute" },
};

static void test_seats(void)
{
	size_t i;
	int r;

	for (i = 0; i < COUNT(seats); i++) {
		struct ls_err err = LS_ERR_INIT;
		struct ls_topo *topo = NULL;
		struct ls_place place = { 0 };
		struct ls_str got = { 0 };
		ls_status st = fake_nvml_open(H100, seats[i].nvml, seats[i].devices, NULL, &topo, &err);

		check(seats[i].says, !st, err.text);
		st = ls_place_host(topo, seats[i].ranks, seats[i].bind, &place, &err);
		check(seats[i].says, seats[i].want ? !st : st == LS_USAGE, err.text);
		for (r = 0; r < place.n; r++)
			ls_str_addf(&got, "%s%s", r ? " " : "", place.seats[r].gpu >= 0 ? place.seats[r].gpu_label : "-");
		check(seats[i].says, !strcmp(ls_str_text(&got), seats[i].want ? seats[i].want : ""), ls_str_text(&got));
		if (seats[i].want && !seats[i].text[0])
			check(seats[i].says, !place.warning[0], place.warning);
		else
			check(seats[i].says, strstr(st ? err.text : place.warning, seats[i].text) != NULL, st ? err.text : place.warning);
		ls_str_release(&got);
		ls_place_release(&place);
		ls_topo_close(topo);
	}
}

/* --- for people ------------------------------------------------------------------------------------------------- */

static const struct {
	const char *says, *machine, *nvml, *devices, *want; /* a part of what `lockstep topo` prints */
} shown[] = {
	{ "memory and links", H100, "gpu=0000:1b:00.0 links=18 used=2", NULL,
		"GPU 0   0000:1b:00.0 NVIDIA H100 80GB HBM3, 80 GiB (2 GiB used), 18 NVLinks, PCIe 5 x16, behind bridge" },
	{ "a slot too narrow", H100, "gpu=0000:1b:00.0 width=4", NULL, ", PCIe 5 x4 of x16," },
	{ "many users", H100, "gpu=0000:1b:00.0 crowd=100", NULL, "pid 4194402 with 1.0 GiB, and 97 more\n" },
	{ "users", H100, "gpu=0000:1b:00.0 user=4194305:3", NULL, "\n              used by pid 4194305 with 3.0 GiB\n" },
	{ "exclusive mode", H100, "gpu=0000:1b:00.0 mode=3", NULL, "compute mode Exclusive Process: one process at a time\n" },
	{ "hidden", H100, EIGHT, "0",
		"GPU 1   0000:43:00.0 NVIDIA H100 80GB HBM3, 80 GiB, PCIe 5 x16, behind bridge 0000:3d:01.0\n"
		"              hidden by" },
	{ "cut up", H100, CUT, NULL, "PCIe 5 x16, cut up (MIG), behind bridge 0000:3d:01.0\n        1.0   1g.10gb, " M0 ", 10 GiB\n"
		"        1.1   3g.40gb, " M1 ", 40 GiB\n" },
	{ "a GPU counts once", H100, CUT, NULL, " 3 GPUs, " },
	{ "without an instance", H100, CUT, NULL, "cannot be used: MIG is on" },
	{ "on no bus", BUSLESS, "gpu=0000:1b:00.0", NULL,
		"near no single NUMA domain\n"
		"      GPU 0   0000:1b:00.0 NVIDIA H100 80GB HBM3, 80 GiB, PCIe 5 x16, on no PCI bus" },
	{ "the driver", H100, EIGHT, NULL, "\n  NVIDIA  driver 580.82.07, CUDA 13.0\n" },
	{ "not loaded", H100, "init=9", NULL, "\n  NVIDIA  the driver is not loaded" },
	{ "an update without a reboot", H100, "init=18", NULL, "are of different versions" },
	{ "no count", H100, "count=7", NULL, "fails with error 7" },
	{ "another error", H100, "init=999", NULL, "fails with error 999" },
};

static void test_shown(void)
{
	size_t i;

	for (i = 0; i < COUNT(shown); i++) {
		struct ls_err err = LS_ERR_INIT;
		struct ls_topo *topo = NULL, *again = NULL;
		struct ls_str xml = { 0 };
		char *text = NULL;
		size_t len = 0;
		FILE *f = open_memstream(&text, &len);

		check(shown[i].says, f && !fake_nvml_open(shown[i].machine, shown[i].nvml, NULL, NULL, &topo, &err), err.text);
		/* As another host's launcher sees it, and chooses. */
		check(shown[i].says, !ls_topo_export(topo, &xml, &err) && !ls_topo_open_xml(xml.s, xml.len, &again, &err), err.text);
		check(shown[i].says, !ls_topo_set_visible(again, shown[i].devices, NULL, &err), err.text);
		ls_topo_print(f, "h", again);
		fclose(f);
		check(shown[i].says, strstr(text, shown[i].want) != NULL, text);
		free(text);
		ls_str_release(&xml);
		ls_topo_close(again);
		ls_topo_close(topo);
	}
}

int main(void)
{
	CU_pSuite suite;
	unsigned failed;

	fake_nvml_load();
	if (CU_initialize_registry() || !(suite = CU_add_suite("gpus", NULL, NULL)))
		return 1;
	CU_add_test(suite, "CUDA_VISIBLE_DEVICES", test_visible);
	CU_add_test(suite, "CUDA_DEVICE_ORDER", test_order);
	CU_add_test(suite, "which ranks get which, and warnings", test_seats);
	CU_add_test(suite, "what people see, here and from another host", test_shown);
	CU_basic_set_mode(CU_BRM_NORMAL);
	CU_basic_run_tests();
	failed = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failed != 0;
}
