/* test_bucket.c -- sums in rank order, bit for bit, in memory and with MPI's messages, these with the bytes that the algorithm promises; and
 * ranks that disagree about their gradients, or mark them wrongly, get a sentence instead of a hang. */
#include "tests/unit/world.h"
#include "worker/rank.h"

#include <CUnit/Basic.h>

#include <string.h>

static int failures;

static void check(const struct lockstep *ls, bool ok, const char *says, const char *got)
{
	if (ok)
		return;
	fprintf(stderr, "  rank %d of %d: row: %s: %s\n", ls->rank, ls->world, says, got);
	failures++;
}

/* Values whose sum depends on the order of the additions: large ones of either sign among small ones. */
static double value(int rank, size_t i)
{
	static const double scale[] = { 1, 1e8, -1e8, 1e-3, 3 };

	return scale[(i + (size_t)rank * 2) % 5] *
	       (1.0 + (double)((i * 2654435761u + (size_t)rank * 40503u) % 1000003) / 1000003.0);
}

static void fill(void *buf, enum ls_dtype dtype, size_t count, int rank)
{
	size_t i;

	for (i = 0; i < count; i++) {
		if (dtype == LS_F32)
			((float *)buf)[i] = (float)value(rank, i);
		else
			((double *)buf)[i] = value(rank, i);
	}
}

/* The plain loop over ranks, one element at a time: what all cleverness must equal. */
static size_t wrong_elements(const void *buf, enum ls_dtype dtype, size_t count, int world, bool average)
{
	size_t i, wrong = 0;
	int r;

	for (i = 0; i < count; i++) {
		if (dtype == LS_F32) {
			volatile float sum = (float)value(0, i);

			for (r = 1; r < world; r++)
				sum = sum + (float)value(r, i);
			sum = average ? sum * (float)(1.0 / world) : sum;
			wrong += ((const float *)buf)[i] != sum;
		} else {
			volatile double sum = value(0, i);

			for (r = 1; r < world; r++)
				sum = sum + value(r, i);
			sum = average ? sum * (1.0 / world) : sum;
			wrong += ((const double *)buf)[i] != sum;
		}
	}
	return wrong;
}

/* Bytes that one rank sends: (N-1) S in one step when small, else 2 (N-1)/N S in two. */
static void check_traffic(const struct lockstep *ls, const struct ls_traffic *before, size_t bytes, const char *says)
{
	uint64_t world = (uint64_t)ls->world, sent = ls->comm->traffic.bytes - before->bytes;
	bool exchange = (world - 1) * bytes <= 65536;
	uint64_t want = exchange ? (world - 1) * bytes : 2 * (world - 1) * bytes / world;
	uint64_t slack = exchange ? 0 : 8 * world * (bytes / 524288 + 2); /* parts differ by one element */
	char got[128];

	if (strcmp(ls->comm->backend->name, "mpi"))
		return; /* test_coll.c */
	snprintf(got, sizeof(got), "sent %llu bytes, want %llu", (unsigned long long)sent, (unsigned long long)want);
	check(ls, sent + slack >= want && sent <= want + slack, says, got);
	if (bytes > 0 && exchange)
		check(ls, ls->comm->traffic.messages - before->messages == world - 1, says,
			"not one message to each peer");
}

static const struct {
	const char *says;
	size_t count;
} sizes[] = {
	{ "nothing", 0 },
	{ "one element", 1 },
	{ "three elements", 3 },
	{ "a small layer", 1290 },
	{ "a layer", 8320 },
	{ "just over a part", (512 << 10) / 4 + 1 },
	{ "five segments of three ranks and a bit", (512 << 10) / 8 * 3 * 5 + 5 },
	{ "one less than two segments", (512 << 10) / 8 * 2 * 2 - 1 },
};

static void rank_sums(struct lockstep *ls)
{
	size_t i;
	int k;

	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		for (k = 0; k < 4; k++) { /* F64 and F32, sum and average */
			enum ls_dtype dtype = k & 1 ? LS_F32 : LS_F64;
			struct ls_traffic before = ls->comm->traffic;
			struct ls_request *plan = NULL;
			struct ls_err e = LS_ERR_INIT;
			void *buf = malloc(sizes[i].count * 8 + 1);
			struct ls_coll coll = { LS_ALL_REDUCE, dtype, k & 2 ? LS_AVERAGE : LS_SUM, 0, sizes[i].count, buf, buf };
			ls_status st = buf ? ls_request_make(ls->comm, &coll, &plan, &e) : ls_fail_oom(&e);
			int again;

			for (again = 0; !st && again < 2; again++) { /* a plan serves every step */
				before = ls->comm->traffic;
				fill(buf, dtype, sizes[i].count, ls->rank);
				st = ls_request_start(plan, &e);
				if (!st)
					st = ls_request_wait(plan, &e);
				check(ls, !wrong_elements(buf, dtype, sizes[i].count, ls->world, k & 2), sizes[i].says,
					"wrong sum");
				check_traffic(ls, &before, sizes[i].count * ls_dtype_size(dtype), sizes[i].says);
			}
			check(ls, !st, sizes[i].says, e.text);
			ls_request_free(plan);
			free(buf);
		}
	}
}

/* The order in which buckets become ready may differ between ranks, and many are in flight at once. */
static void rank_overlap(struct lockstep *outer)
{
	enum { N = 7, COUNT = 100000 };
	static float grad[N][COUNT];
	struct lockstep_err err = { 0 };
	struct lockstep *ls;
	int b, step, index;

	if (lockstep_start(&(struct lockstep_options){ 0 }, &ls, &err)) {
		check(outer, false, "start", err.text);
		return;
	}
	for (b = 0; b < N; b++)
		check(ls, !lockstep_bucket_add(ls, "b", grad[b], COUNT, LOCKSTEP_F32, &index, &err) && index == b,
			"add", err.text);
	for (step = 0; step < 3; step++) {
		for (b = 0; b < N; b++)
			fill(grad[b], LS_F32, COUNT, ls->rank);
		for (b = 0; b < N; b++)
			check(ls, !lockstep_bucket_ready(ls, (b * 3 + ls->rank) % N, &err), "any order of ready",
				err.text);
		check(ls, !lockstep_bucket_wait(ls, &err), "any order of ready", err.text);
		for (b = 0; b < N; b++)
			check(ls, !wrong_elements(grad[b], LS_F32, COUNT, ls->world, true), "any order of ready",
				"wrong average");
	}
	lockstep_finish(ls);
}

struct list {
	const char *name[3];
	size_t count[3];
	enum lockstep_dtype dtype;
};

static const struct {
	const char *says;
	struct list zero, last; /* what rank 0 (and those between) register, and the last rank */
	const char *want;       /* NULL: they agree */
} lists[] = {
	{ "equal lists agree", { { "a", "b" }, { 3, 4 }, LOCKSTEP_F32 },
		{ { "a", "b" }, { 3, 4 }, LOCKSTEP_F32 }, NULL },
	{ "no buckets at all agree", { { 0 }, { 0 }, LOCKSTEP_F32 }, { { 0 }, { 0 }, LOCKSTEP_F32 }, NULL },
	{ "another size", { { "a", "fc2.w" }, { 3, 128 }, LOCKSTEP_F32 },
		{ { "a", "fc2.w" }, { 3, 100 }, LOCKSTEP_F32 },
		"registered bucket 1 as 'fc2.w' F32[100], rank 0 as 'fc2.w' F32[128]" },
	{ "another name", { { "a" }, { 3 }, LOCKSTEP_F32 }, { { "b" }, { 3 }, LOCKSTEP_F32 },
		"registered bucket 0 as 'b' F32[3], rank 0 as 'a' F32[3]" },
	{ "another type", { { "a" }, { 3 }, LOCKSTEP_F32 }, { { "a" }, { 3 }, LOCKSTEP_F64 },
		"registered bucket 0 as 'a' F64[3], rank 0 as 'a' F32[3]" },
	{ "one is missing", { { "a", "b" }, { 3, 4 }, LOCKSTEP_F32 }, { { "a" }, { 3 }, LOCKSTEP_F32 },
		"registered bucket 1 as (no more), rank 0 as 'b' F32[4]" },
	{ "one too many", { { "a" }, { 3 }, LOCKSTEP_F32 }, { { "a", "b" }, { 3, 4 }, LOCKSTEP_F32 },
		"registered bucket 1 as 'b' F32[4], rank 0 as (no more)" },
	{ "another order", { { "a", "b" }, { 3, 3 }, LOCKSTEP_F32 }, { { "b", "a" }, { 3, 3 }, LOCKSTEP_F32 },
		"registered bucket 0 as 'b' F32[3], rank 0 as 'a' F32[3]" },
};

static void rank_lists(struct lockstep *outer)
{
	static double memory[3][128];
	size_t i, k;

	for (i = 0; outer->world > 1 && i < sizeof(lists) / sizeof(lists[0]); i++) {
		const struct list *l = outer->rank == outer->world - 1 ? &lists[i].last : &lists[i].zero;
		struct lockstep_err err = { 0 };
		struct lockstep *ls = NULL;
		lockstep_status st = lockstep_start(&(struct lockstep_options){ 0 }, &ls, &err);
		char want[256] = "";

		for (k = 0; !st && k < 3 && l->name[k]; k++)
			st = lockstep_bucket_add(ls, l->name[k], memory[k], l->count[k], l->dtype, NULL, &err);
		/* A rank that has buckets meets the others at its first ready, one that has none at its wait. */
		st = k ? lockstep_bucket_ready(ls, 0, &err) : lockstep_bucket_wait(ls, &err);
		if (lists[i].want)
			snprintf(want, sizeof(want), "rank %d %s", outer->world - 1, lists[i].want);
		check(outer,
			st == (lists[i].want ? LOCKSTEP_USAGE : LOCKSTEP_OK) &&
				strstr(lists[i].want ? err.text : "", want),
			lists[i].says, err.text);
		check(outer, !lists[i].want || err.rank == outer->world - 1, lists[i].says,
			"the rank at fault is not named");
		for (k = 1; !st && k < 3 && l->name[k]; k++)
			st = lockstep_bucket_ready(ls, (int)k, &err);
		if (!st)
			st = lockstep_bucket_wait(ls, &err);
		lockstep_finish(ls);
	}
}

/* The program's own mistakes, on all ranks alike. */
static void rank_misuse(struct lockstep *outer)
{
	static float grad[2][4];
	struct lockstep_err err = { 0 };
	struct lockstep *ls;
	int a, b;

	if (lockstep_start(&(struct lockstep_options){ 0 }, &ls, &err)) {
		check(outer, false, "start", err.text);
		return;
	}
	check(ls,
		lockstep_bucket_add(ls, "x", grad[0], 4, LOCKSTEP_I32, &a, &err) == LOCKSTEP_USAGE &&
			strstr(err.text, "are LOCKSTEP_F64, F32"),
		"a bucket of integers", err.text);
	check(ls, !lockstep_bucket_add(ls, "a", grad[0], 4, LOCKSTEP_F32, &a, &err), "add", err.text);
	check(ls, !lockstep_bucket_add(ls, "b", grad[1], 4, LOCKSTEP_F32, &b, &err), "add", err.text);
	check(ls, !lockstep_bucket_ready(ls, a, &err), "ready", err.text);
	check(ls, lockstep_bucket_ready(ls, a, &err) == LOCKSTEP_USAGE && strstr(err.text, "'a' marked ready twice"),
		"ready twice", err.text);
	check(ls, lockstep_bucket_wait(ls, &err) == LOCKSTEP_USAGE && strstr(err.text, "'b' was not marked ready"),
		"one not ready", err.text);
	check(ls, lockstep_bucket_ready(ls, 2, &err) == LOCKSTEP_USAGE && strstr(err.text, "there are 2 buckets"),
		"no such bucket", err.text);
	check(ls,
		lockstep_bucket_add(ls, "c", grad[0], 4, LOCKSTEP_F32, &a, &err) == LOCKSTEP_USAGE &&
			strstr(err.text, "before the first"),
		"added too late", err.text);
	check(ls, !lockstep_bucket_ready(ls, b, &err) && !lockstep_bucket_wait(ls, &err), "mended in time", err.text);
	check(ls, !lockstep_step_end(ls, 1, 0, 1, &err), "mended in time", err.text);
	lockstep_finish(ls);
}

static int rank_mode(void)
{
	struct lockstep_err err = { 0 };
	struct lockstep *ls = NULL;

	setenv("LOCKSTEP_EVENT_FD", "none", 1); /* neither a shim nor a person */
	if (getenv("LOCKSTEP_TEST_NODES")) {
		char key[] = { (char)('a' + atoi(getenv("OMPI_COMM_WORLD_RANK")) / 2), '\0' };

		setenv("LOCKSTEP_NODE_KEY", key, 1);
	}
	if (lockstep_start(&(struct lockstep_options){ 0 }, &ls, &err)) {
		fprintf(stderr, "  start: %s\n", err.text);
		return 1;
	}
	rank_sums(ls);
	rank_overlap(ls);
	rank_lists(ls);
	rank_misuse(ls);
	lockstep_finish(ls);
	return failures != 0;
}

static void world_1(void)
{
	CU_ASSERT_EQUAL(world_run(1), 0);
}

static void world_2(void)
{
	CU_ASSERT_EQUAL(world_run(2), 0);
}

static void world_3_mpi(void)
{
	setenv("LOCKSTEP_BACKEND", "mpi", 1);
	CU_ASSERT_EQUAL(world_run(3), 0);
	unsetenv("LOCKSTEP_BACKEND");
}

/* Three nodes of one machine: two with two ranks, one with one. */
static void world_5_hier(void)
{
	setenv("LOCKSTEP_TEST_NODES", "1", 1);
	CU_ASSERT_EQUAL(world_run(5), 0);
	unsetenv("LOCKSTEP_TEST_NODES");
}

static void world_3(void)
{
	CU_ASSERT_EQUAL(world_run(3), 0);
}

static void world_5(void)
{
	CU_ASSERT_EQUAL(world_run(5), 0);
}

int main(void)
{
	CU_pSuite suite;
	unsigned failed;

	if (getenv(RANK_MODE))
		return rank_mode();
	if (CU_initialize_registry() != CUE_SUCCESS)
		return 1;
	suite = CU_add_suite("bucket", NULL, NULL);
	CU_add_test(suite, "a world of 1", world_1);
	CU_add_test(suite, "a world of 2", world_2);
	CU_add_test(suite, "a world of 3", world_3);
	CU_add_test(suite, "a world of 5", world_5);
	CU_add_test(suite, "a world of 3, with messages", world_3_mpi);
	CU_add_test(suite, "a world of 5 on three nodes", world_5_hier);
	CU_basic_run_tests();
	failed = CU_get_number_of_failures() + (CU_get_number_of_tests_run() == 0);
	CU_cleanup_registry();
	return failed != 0;
}
