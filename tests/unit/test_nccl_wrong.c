/* test_nccl_wrong.c -- backend nccl when something is wrong: a sentence that says what, on every rank, and never a hang. CUDA's driver and
 * NCCL are stand-ins that fail to order (tests/fake/cuda.cc, lib_nccl.c).
 *
 * "Soon" is the world's time limit: no check here is faster or slower by the clock. */
#include "collectives/api_nccl.h"
#include "tests/unit/nccl_world.h"

#include <CUnit/Basic.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

enum { ELEMENTS = 1000 };

static ls_status try_open(struct world *w, struct ls_comm **ret, struct ls_err *err)
{
	return world_try_open(w, (struct ls_comm_options){ .backend = "nccl" }, ret, err);
}

/* Until it is done, without a wait: the progress thread drives. */
static ls_status ask(struct ls_request *p, struct ls_err *err)
{
	bool done = false;
	ls_status st;

	do
		st = ls_request_test(p, &done, err);
	while (!st && !done);
	return st;
}

static ls_status sum_for_ever(struct world *w, struct ls_comm *c, int times, struct ls_err *err)
{
	float *gpu = gpu_buffer(c, ELEMENTS * 4);
	struct ls_coll sum = { LS_ALL_REDUCE, LS_F32, LS_MAX, 0, ELEMENTS, gpu, gpu };
	static struct ls_request *p; /* in flight until the process ends: it cannot be freed */
	ls_status st = ls_request_make(c, &sum, &p, err);
	int i;

	for (i = 0; !st && i < times; i++) {
		w->flag[my_rank] = 2 + i;
		st = ls_request_start(p, err);
		if (!st)
			st = c->threaded ? ask(p, err) : ls_request_wait(p, err);
	}
	return st;
}

/* --- orders to the stand-ins --------------------------------------------------------------------------------------------- */

static const struct order {
	const char *says;
	const char *name, *value; /* of the environment */
	int rank;                 /* whose; -1: everybody's */
	ls_status want;
	const char *text[2];      /* parts of every rank's sentence */
} orders[] = {
	{ "NCCL finds two ranks on one GPU", "FAKE_NCCL", "duplicate", -1, LS_USAGE, { "Duplicate GPU detected : rank 0 and rank 1", "a GPU of its own" } },
	{ "two ranks on one GPU", "NCCL_MULTI_RANK_GPU_ENABLE", "0", -1, LS_USAGE,
		{ "ranks 0 and 1 on ", "have one GPU, NVIDIA Stand-in at 0000:" } },
	{ "two ranks on one GPU, with an older NCCL", "FAKE_NCCL_VERSION", "22907", -1, LS_USAGE, { "(here: 2.29.7)", "NCCL_MULTI_RANK_GPU_ENABLE=1" } },
	{ "opening fails on one rank", "FAKE_NCCL", "init-error rank=1", -1, LS_JOB_LOST, { "opening the group: NCCL ", "Cuda failure 2 'out of memory'; the driver" } },
	{ "opening never ends", "FAKE_NCCL", "init-never", -1, LS_RANK_LOST, { "opening the group did not end within 1 s (LOCKSTEP_NCCL_TIMEOUT)", "" } },
	{ "a connection breaks", "FAKE_NCCL", "remote rank=1 op=3", -1, LS_RANK_LOST, { "all-reduce: NCCL ", "another rank or the network to it is gone" } },
	{ "the same, and to give up never ends", "FAKE_NCCL", "stuck rank=2 op=2", -1, LS_RANK_LOST, { "all-reduce: NCCL ", "another rank or the network to it is gone" } },
	{ "a connection is refused", "FAKE_NCCL", "socket rank=0 op=1", -1, LS_RANK_LOST, { "unhandled system error: Call to connect", "NCCL_SOCKET_IFNAME" } },
	{ "no library", "LOCKSTEP_NCCL_LIB", "/nowhere/libnccl.so.2", 1, LS_USAGE, { "rank 1 on ", "NCCL cannot be opened: /nowhere/libnccl.so.2" } },
	{ "another library", "LOCKSTEP_NCCL_LIB", "libm.so.6", 1, LS_USAGE, { "rank 1 on ", "libm.so.6 is not NCCL" } },
	{ "an old library", "FAKE_NCCL_VERSION", "21805", 0, LS_USAGE, { "is NCCL 2.18.5: Lockstep needs 2.19.0 or newer", "LOCKSTEP_NCCL_LIB" } },
	{ "a very old library", "FAKE_NCCL_VERSION", "2708", 0, LS_USAGE, { "is NCCL 2.7.8: ", "rank 0 on " } },
	{ "different libraries", "FAKE_NCCL_VERSION", "23005", 1, LS_USAGE, { "rank 1 on ", "has 2.30.5: all need the same one" } },
	{ "NCCL is told to block", "NCCL_COMM_BLOCKING", "1", 1, LS_USAGE, { "rank 1 on ", "NCCL_COMM_BLOCKING=1 would keep Lockstep from noticing" } },
	{ "a time limit that is none", "LOCKSTEP_NCCL_TIMEOUT", "soon", 0, LS_USAGE, { "LOCKSTEP_NCCL_TIMEOUT=soon", "" } },
	{ "no GPU for one rank", "CUDA_VISIBLE_DEVICES", "", 1, LS_USAGE, { "rank 1 on ", "CUDA_VISIBLE_DEVICES" } },
	{ "a GPU in use", "FAKE_CUDA", "busy", 0, LS_USAGE, { "rank 0 on ", "" } },
};

static void obey(struct world *w)
{
	const struct order *o = w->arg;
	struct ls_err err = LS_ERR_INIT, later = LS_ERR_INIT;
	struct ls_comm *c = NULL;
	ls_status st;

	doing("%s", o->says);
	load_stand_ins();
	setenv("LOCKSTEP_NCCL_TIMEOUT", strstr(o->value, "never") ? "1" : "60", 1);
	if (o->rank < 0 || o->rank == my_rank)
		setenv(o->name, o->value, 1);
	st = try_open(w, &c, &err);
	if (!st)
		st = sum_for_ever(w, c, 10, &err);
	check(st == o->want, "%s: %s: %s", o->says, ls_status_name(st), err.text);
	check(strstr(err.text, o->text[0]) && strstr(err.text, o->text[1]), "%s: %s", o->says, err.text);
	if (c)
		check(ls_run_barrier(c, &later) == st && !strcmp(later.text, err.text), "%s: afterwards: %s", o->says, later.text);
	ls_comm_close(c, false);
}

static void test_orders(void)
{
	size_t i;

	for (i = 0; i < COUNT(orders); i++)
		CU_ASSERT_EQUAL(world_run(&(struct world_options){ .ranks = 3, .scene = obey, .arg = &orders[i] }), 0);
}

/* --- deaths -------------------------------------------------------------------------------------------------------------- */

static const struct death {
	const char *says, *fake;  /* FAKE_NCCL of the victim */
	int ranks, victim;
	bool opening;             /* it dies before the group is open */
	bool thread;              /* the progress thread notices: the program only asks, and starts another operation */
} deaths[] = {
	{ "dies while the group opens", "init-never", 3, 1, true, false },
	{ "dies while NCCL connects the ranks", "hang op=1", 2, 0, false, false },
	{ "dies in an operation", "hang op=4", 3, 2, false, false },
	{ "the same, of the first rank", "hang op=4", 3, 0, false, false },
	{ "the same, of two", "hang op=2", 2, 1, false, false },
	{ "dies while the others compute", "hang op=4", 3, 2, false, true },
};

static void until_death(struct world *w)
{
	const struct death *d = w->arg;
	struct ls_err err = LS_ERR_INIT;
	struct ls_comm *c = NULL;
	char named[16];
	ls_status st;

	doing("%s", d->says);
	load_stand_ins();
	if (my_rank == d->victim)
		setenv("FAKE_NCCL", d->fake, 1);
	w->flag[my_rank] = 1;
	st = world_try_open(w, (struct ls_comm_options){ .backend = "nccl", .progress = d->thread ? LS_PROGRESS_THREAD : LS_PROGRESS_CALLS,
		.progress_cpu = -1 }, &c, &err);
	if (!st)
		st = sum_for_ever(w, c, 1000000, &err);
	snprintf(named, sizeof(named), "rank %d (pid", d->victim);
	check(st == LS_RANK_LOST && strstr(err.text, named) && strstr(err.text, "is dead") && err.rank == d->victim, "%s: %s: %s (rank %d)", d->says,
		ls_status_name(st), err.text, err.rank);
	check(!c == d->opening, "%s: the group is%s open", d->says, c ? "" : " not");
	ls_comm_close(c, false);
}

/* Killed where it hangs. It may be killed a little earlier: then in another place, with the same outcome for the others. */
static void kill_it(struct world *w)
{
	const struct death *d = w->arg;
	int r;

	for (r = 0; r < d->ranks; r++)
		while (w->flag[r] < (d->opening ? 1 : 2) && !w->gone[r])
			nap_us(1000);
	nap_us(300000);
	kill(w->pid[d->victim], SIGKILL);
}

static void test_deaths(void)
{
	size_t i;

	for (i = 0; i < COUNT(deaths); i++) {
		struct world_options opt = { .ranks = deaths[i].ranks, .scene = until_death, .meddle = kill_it, .arg = &deaths[i] };

		opt.may_die[deaths[i].victim] = true;
		CU_ASSERT_EQUAL(world_run(&opt), 0);
	}
}

/* --- one that does not come ---------------------------------------------------------------------------------------------- */

static void too_late(struct world *w)
{
	struct ls_err err = LS_ERR_INIT;
	static struct ls_request *p;
	struct ls_comm *c;
	ls_status st;
	int r;

	setenv("LOCKSTEP_NCCL_TIMEOUT", "1", 1);
	c = nccl_open(w);
	st = ls_request_make(c, &(struct ls_coll){ .kind = LS_BARRIER }, &p, &err);
	if (!st)
		st = ls_request_start(p, &err);
	if (!st)
		st = ls_request_wait(p, &err);
	check(!st, "before: %s", err.text);
	for (r = 0; my_rank == 1 && r < w->ranks; r++)
		while (r != 1 && !w->flag[r])
			nap_us(1000);
	st = ls_request_start(p, &err);
	if (!st)
		st = ls_request_wait(p, &err);
	check(st == LS_RANK_LOST && err.rank == 1, "%s (rank %d)", err.text, err.rank);
	check(strstr(err.text, "barrier did not end within 1 s (LOCKSTEP_NCCL_TIMEOUT): it waits for rank 1") != NULL, "%s", err.text);
	w->flag[my_rank] = 1;
	ls_comm_close(c, false);
	while (my_rank != 1 && !w->gone[1]) /* it must not take this one's end for the cause */
		nap_us(1000);
}

static void test_too_late(void)
{
	CU_ASSERT_EQUAL(world_run(&(struct world_options){ .ranks = 3, .scene = too_late }), 0);
}

/* --- without ------------------------------------------------------------------------------------------------------------- */

static void no_driver(struct world *w)
{
	struct ls_err err = LS_ERR_INIT;
	struct ls_comm *c = NULL;
	ls_status st = try_open(w, &c, &err);

	check(st == LS_USAGE && strstr(err.text, "rank 0 on ") && strstr(err.text, "driver"), "%s: %s", ls_status_name(st), err.text);
	ls_comm_close(c, false);
}

/* Without a GPU no more of it can be tried. */
static void the_real_one(struct world *w)
{
	struct ls_err err = LS_ERR_INIT;
#ifdef LS_HAVE_NCCL
	const struct ls_nccl *n = NULL;
	ncclUniqueId id;

	check(!ls_nccl_open(&n, &err) && n->version >= LS_NCCL_LEAST && n->GetUniqueId(&id) == ncclSuccess, "%s: %s", (const char *)w->arg, err.text);
#endif
	(void)w, (void)err;
}

static void test_real(void)
{
	char path[4200];

	beside_me("../cuda/lib/libnccl.so.2", path); /* deploy/setup-cuda.sh */
	if (access(path, R_OK) < 0)
		beside_me("../../cuda/lib/libnccl.so.2", path);
	if (access(path, R_OK) < 0) {
		printf("\n    there is no real NCCL in build/cuda: not tested ");
		return;
	}
	setenv("LOCKSTEP_NCCL_LIB", path, 1);
	CU_ASSERT_EQUAL(world_run(&(struct world_options){ .ranks = 1, .scene = the_real_one, .arg = path }), 0);
	unsetenv("LOCKSTEP_NCCL_LIB");
}

static void test_no_driver(void)
{
	void *driver = dlopen("libcuda.so.1", RTLD_NOW);

	if (driver) {
		printf("\n    this host has a driver: not tested ");
		dlclose(driver);
		return;
	}
	CU_ASSERT_EQUAL(world_run(&(struct world_options){ .ranks = 2, .scene = no_driver }), 0);
}

static void nomem(struct world *w)
{
	struct ls_err err = LS_ERR_INIT;
	struct ls_comm *c = nccl_open(w);
	void *p;

	setenv("FAKE_NCCL", "nomem", 1);
	check(ls_comm_alloc(c, 5 << 20, &p, &err) == LS_AGAIN && strstr(err.text, "no room for 5 MiB in the GPU's memory") &&
		strstr(err.text, "out of memory"), "%s", err.text);
	unsetenv("FAKE_NCCL");
	check(!ls_run_barrier(c, &err), "afterwards: %s", err.text);
	ls_comm_close(c, true);
}

static void test_nomem(void)
{
	CU_ASSERT_EQUAL(world_run(&(struct world_options){ .ranks = 2, .scene = nomem }), 0);
}

static void test_not_built(void)
{
	const struct ls_backend *b;
	struct ls_err err = LS_ERR_INIT;

	CU_ASSERT_EQUAL(ls_backend_find("nccl", &b, &err), LS_USAGE);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "this build has no NCCL"));
	CU_ASSERT_EQUAL(ls_backend_find("nvlink", &b, &err), LS_USAGE);
	CU_ASSERT_PTR_NULL(strstr(err.text, "nccl"));
}

int main(void)
{
	unsigned failed;

	CU_initialize_registry();
	CU_pSuite suite = CU_add_suite("nccl_wrong", NULL, NULL);

	if (have_nccl()) {
		CU_add_test(suite, "everything that goes wrong to order", test_orders);
		CU_add_test(suite, "a rank dies, wherever it is", test_deaths);
		CU_add_test(suite, "a rank does not come in time", test_too_late);
		CU_add_test(suite, "no memory on the GPU", test_nomem);
		CU_add_test(suite, "the vendor's own library opens", test_real);
		CU_add_test(suite, "no driver on this host", test_no_driver);
	} else {
		CU_add_test(suite, "a build without NCCL says so", test_not_built);
	}
	CU_basic_run_tests();
	failed = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failed > 0;
}
