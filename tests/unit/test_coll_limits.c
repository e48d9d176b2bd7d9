/* test_coll_limits.c -- machines that give little: one core for eight ranks, no or a small /dev/shm, limits on files and memory; and
 * ranks that cannot share memory at all. */
#include "tests/unit/coll_world.h"

#include <CUnit/Basic.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>

enum { LARGE = 64 << 20 };

static void must(ls_status st, const struct ls_err *err, const char *what)
{
	if (!check(!st, "%s: %s", what, err->text))
		exit(1);
}

/* --- one core ---------------------------------------------------------------------------------------------------------------- */

/* Who spins until its time slice ends takes minutes here; who yields and sleeps, a second or two. */
static void on_one_core(struct world *w)
{
	struct ls_comm *c;
	struct ls_err err = LS_ERR_INIT;
	cpu_set_t one, all;
	float sum[10];
	int i, k, cpu = 0;

	sched_getaffinity(0, sizeof(all), &all);
	while (!CPU_ISSET(cpu, &all))
		cpu++;
	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	check(!sched_setaffinity(0, sizeof(one), &one), "taskset");
	c = world_open(w, (struct ls_comm_options){ .progress_cpu = -1 });
	for (i = 0; i < 5000; i++) {
		doing("operation %d", i);
		for (k = 0; k < 10; k++)
			sum[k] = (float)my_rank;
		must(ls_run_coll(c, &(struct ls_coll){ LS_ALL_REDUCE, LS_F32, LS_SUM, 0, 10, sum, sum }, &err), &err, "all-reduce");
		check(sum[9] == (float)(w->ranks * (w->ranks - 1) / 2), "sum %d is %g", i, sum[9]);
	}
	ls_comm_close(c, true);
}

static void test_one_core(void)
{
	CU_ASSERT_EQUAL(world_run(&(struct world_options){ .ranks = 8, .scene = on_one_core }), 0);
}

/* --- /dev/shm ---------------------------------------------------------------------------------------------------------------- */

static bool may_unshare(const char *name)
{
	if (geteuid() == 0)
		return true;
	printf("\nskip coll_limits: %s: needs root for namespaces\n", name);
	return false;
}

static void large_sum(struct world *w, bool library)
{
	struct ls_comm *c = world_open(w, (struct ls_comm_options){ .progress_cpu = -1 });
	struct ls_err err = LS_ERR_INIT;
	void *p = NULL;
	float *x;
	size_t i;

	if (library)
		must(ls_comm_alloc(c, (size_t)LARGE * 4, &p, &err), &err, "alloc");
	else
		p = malloc((size_t)LARGE * 4);
	for (x = p, i = 0; i < LARGE; i++)
		x[i] = (float)(i % 1000 + (size_t)my_rank);
	must(ls_run_coll(c, &(struct ls_coll){ LS_ALL_REDUCE, LS_F32, LS_SUM, 0, LARGE, x, x }, &err), &err, "all-reduce");
	for (i = 0; i < LARGE && x[i] == (float)(2 * (i % 1000) + 1); i++)
		;
	check(i == LARGE, "element %zu is %g", i, i < LARGE ? x[i] : 0);
	if (!library)
		free(p);
	ls_comm_close(c, true);
}

static void small_dev_shm(struct world *w)
{
	check(!unshare(CLONE_NEWNS) && !mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) &&
		!mount("tmpfs", "/dev/shm", "tmpfs", 0, "size=64m"), "a /dev/shm of 64 MiB: %s", strerror(errno));
	large_sum(w, true);
	large_sum(w, false);
}

/* Read-only, and full: as good as none. */
static void no_dev_shm(struct world *w)
{
	check(!unshare(CLONE_NEWNS) && !mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) &&
		!mount("tmpfs", "/dev/shm", "tmpfs", MS_RDONLY, "size=4k"), "a /dev/shm of nothing: %s", strerror(errno));
	large_sum(w, true);
}

static void test_dev_shm(void)
{
	if (!may_unshare("a small /dev/shm"))
		return;
	CU_ASSERT_EQUAL(world_run(&(struct world_options){ .ranks = 2, .scene = small_dev_shm }), 0);
	CU_ASSERT_EQUAL(world_run(&(struct world_options){ .ranks = 2, .scene = no_dev_shm }), 0);
}

/* --- limits ------------------------------------------------------------------------------------------------------------------ */

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define LIMIT_ADDRESSES 0 /* a sanitizer needs more than any limit gives */
#else
#define LIMIT_ADDRESSES 1
#endif

/* One rank cannot open the group: no rank does, each with a sentence, and no rank waits for another. */
static void cannot_open(struct world *w)
{
	const int *limit = w->arg; /* RLIMIT_..., value, rank */
	struct ls_err err = LS_ERR_INIT;
	struct ls_comm *c = NULL;
	const char *reason = strerror(limit[0] == RLIMIT_NOFILE ? EMFILE : ENOMEM);
	struct rlimit was, now;
	char named[32], *twice;
	ls_status st;

	signal(SIGXFSZ, SIG_IGN);
	getrlimit((__rlimit_resource_t)limit[0], &was);
	now = (struct rlimit){ (rlim_t)limit[1], was.rlim_max };
	if (my_rank == limit[2])
		setrlimit((__rlimit_resource_t)limit[0], &now);
	st = world_try_open(w, (struct ls_comm_options){ .progress_cpu = -1 }, &c, &err);
	setrlimit((__rlimit_resource_t)limit[0], &was);
	check(st && !c && err.text[0], "limit %d of rank %d: %s, '%s'", limit[0], limit[2], ls_status_name(st), err.text);
	snprintf(named, sizeof(named), "rank %d cannot", limit[2]);
	twice = strstr(err.text, named);
	check(my_rank == limit[2] || twice, "limit %d of rank %d: who is it? %s", limit[0], limit[2], err.text);
	check(!twice || !strstr(twice + strlen(named), named), "said twice: %s", err.text);
	check(my_rank != limit[2] || strstr(err.text, reason) || strstr(err.text, "limit"), "limit %d of rank %d: the reason is missing: %s", limit[0],
		limit[2], err.text);
	world_meet(w); /* nobody died of it */
	ls_comm_close(c, false);
}

static void test_cannot_open(void)
{
	static const int limits[][3] = {
		{ RLIMIT_NOFILE, 4, 0 }, { RLIMIT_NOFILE, 4, 1 }, { RLIMIT_NOFILE, 3, 2 }, { RLIMIT_FSIZE, 4096, 0 }, { RLIMIT_FSIZE, 4096, 1 },
		{ RLIMIT_AS, 4096, 0 }, { RLIMIT_AS, 4096, 2 },
	};
	size_t i;

	for (i = 0; i < sizeof(limits) / sizeof(limits[0]) - (LIMIT_ADDRESSES ? 0 : 2); i++)
		CU_ASSERT_EQUAL(world_run(&(struct world_options){ .ranks = 3, .scene = cannot_open, .arg = limits[i] }), 0);
}

/* The limits of ranks differ: what one shares, all can reach. */
static void unequal(struct world *w)
{
	struct rlimit addresses = { (rlim_t)4 << 30, RLIM_INFINITY };
	size_t large = (size_t)600 << 20, used = 1024, bytes = large, i;
	struct ls_err err = LS_ERR_INIT;
	struct ls_comm *c;
	void *p = NULL;
	float *x;

	if (my_rank == 1 && LIMIT_ADDRESSES)
		setrlimit(RLIMIT_AS, &addresses);
	c = world_open(w, (struct ls_comm_options){ .progress_cpu = -1 });
	if (ls_comm_alloc(c, large, &p, &err)) {
		check(err.text[0] != '\0', "no memory, no reason");
		bytes = 1 << 20;
		must(ls_comm_alloc(c, bytes, &p, &err), &err, "a little memory");
	}
	x = (float *)((char *)p + bytes) - used;
	for (i = 0; i < used; i++)
		x[i] = (float)my_rank;
	must(ls_run_coll(c, &(struct ls_coll){ LS_ALL_REDUCE, LS_F32, LS_SUM, 0, used, x, x }, &err), &err, "all-reduce");
	check(x[0] == 1 && x[used - 1] == 1, "the sum is %g", x[0]);
	ls_comm_close(c, true);
}

static void test_unequal(void)
{
	CU_ASSERT_EQUAL(world_run(&(struct world_options){ .ranks = 2, .scene = unequal }), 0);
}

/* --- two nodes --------------------------------------------------------------------------------------------------------------- */

/* One machine, two networks: the ranks cannot pass each other memory, and say so instead of looking for a socket that is not there. */
static void two_networks(struct world *w)
{
	struct ls_err err = LS_ERR_INIT;
	struct ls_comm *c = NULL;
	ls_status st;

	if (my_rank == 1)
		check(!unshare(CLONE_NEWNET), "unshare: %s", strerror(errno));
	st = world_try_open(w, (struct ls_comm_options){ .backend = w->arg, .progress_cpu = -1 }, &c, &err);
	check(st == LS_USAGE && strstr(err.text, "node"), "%s: %s", ls_status_name(st), err.text);
	ls_comm_close(c, false);
}

static void test_two_networks(void)
{
	if (!may_unshare("two networks"))
		return;
	CU_ASSERT_EQUAL(world_run(&(struct world_options){ .ranks = 3, .scene = two_networks, .arg = "shm" }), 0);
	CU_ASSERT_EQUAL(world_run(&(struct world_options){ .ranks = 3, .scene = two_networks, .arg = "auto" }), 0);
}

int main(void)
{
	unsigned failed;

	CU_initialize_registry();
	CU_pSuite suite = CU_add_suite("coll_limits", NULL, NULL);

	CU_add_test(suite, "eight ranks on one core", test_one_core);
	CU_add_test(suite, "a small /dev/shm, or none", test_dev_shm);
	CU_add_test(suite, "limits that a rank runs into", test_cannot_open);
	CU_add_test(suite, "limits that differ", test_unequal);
	CU_add_test(suite, "two networks are two nodes", test_two_networks);
	CU_basic_run_tests();
	failed = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failed > 0;
}
