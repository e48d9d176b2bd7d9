/* test_coll_large.c -- sizes around the limits of every algorithm and far above them, each algorithm asked for by its name, and what each
 * sends: as docs/collectives.md says. */
#include "tests/unit/coll_rows.h"

#include <CUnit/Basic.h>

enum { MIB = 1 << 20, HALF_BYTES = 9 * MIB + 4096 };

static void *inputs[WORLD_MAX], *common;

struct setting {
	const char *algorithm;
	int group;
	enum ls_progress progress;
	bool small, large; /* which sizes */
	unsigned seed;
};

/* Bytes of the larger buffer, and elements more. exchange: 56 bytes beside their number, and 16 KiB. slots: pieces of 1 MiB. */
static const struct {
	size_t bytes;
	int more;
	bool large;
} sizes[] = {
	{ 0, 1, false }, { 56, 0, false }, { 56, 1, false }, { 4096, 3, false }, { 16 << 10, -1, false }, { 16 << 10, 0, false },
	{ 16 << 10, 1, false }, { 64 << 10, 5, false }, { 256 << 10, 0, false }, { MIB - 64, 0, true }, { MIB, 0, true }, { MIB, 3, true },
	{ 9 * MIB, 0, true },
};

static const struct {
	enum ls_coll_kind kind;
	enum ls_dtype dtype;
	enum ls_reduce_op op;
} what[] = {
	{ LS_ALL_REDUCE, LS_F32, LS_SUM }, { LS_ALL_REDUCE, LS_BF16, LS_AVERAGE }, { LS_ALL_REDUCE, LS_F64, LS_MAX },
	{ LS_ALL_REDUCE, LS_I32, LS_AVERAGE }, { LS_REDUCE_SCATTER, LS_F32, LS_AVERAGE }, { LS_REDUCE_SCATTER, LS_F16, LS_SUM },
	{ LS_REDUCE_SCATTER, LS_I64, LS_MIN }, { LS_ALL_GATHER, LS_F32, LS_SUM }, { LS_ALL_GATHER, LS_U8, LS_SUM },
	{ LS_BROADCAST, LS_F64, LS_SUM }, { LS_BROADCAST, LS_U8, LS_SUM },
};

static size_t elements(const struct row *r, size_t i, int world)
{
	size_t n = sizes[i].bytes / ls_dtype_size(r->dtype);

	if (r->kind == LS_REDUCE_SCATTER || r->kind == LS_ALL_GATHER)
		n /= (size_t)world;
	return n + (size_t)sizes[i].more;
}

/* docs/collectives.md, with the parts of an all-reduce cut at whole cache lines. */
static uint64_t copied_by(const char *algorithm, const struct row *r, int world)
{
	uint64_t size = ls_dtype_size(r->dtype), part = r->count * size, n = (uint64_t)world;
	bool root = my_rank == r->root;

	if (!strcmp(algorithm, "exchange"))
		return r->kind == LS_REDUCE_SCATTER ? n * part : r->kind == LS_BROADCAST && !root ? 0 : part;
	if (!strcmp(algorithm, "direct")) {
		uint64_t lines = part / 64, first = lines * (uint64_t)my_rank / n, last = lines * (uint64_t)(my_rank + 1) / n;

		if (r->kind != LS_ALL_REDUCE)
			return 0;
		return (n - 1) * (my_rank + 1 == world ? part - first * 64 : (last - first) * 64);
	}
	return r->kind == LS_REDUCE_SCATTER ? (n - 1) * part : r->kind == LS_BROADCAST && !root ? 0 : part;
}

static void each_size(struct world *w)
{
	const struct setting *s = w->arg;
	struct ls_comm *c = world_open(w, (struct ls_comm_options){ .algorithm = s->algorithm, .group = s->group, .progress = s->progress, .progress_cpu = -1 });
	unsigned nth = s->seed;
	struct memory m;
	size_t i, k;

	memory_get(c, &m, HALF_BYTES, inputs);
	m.common = common;
	m.copied = copied_by;
	for (k = 0; k < COUNT(what); k++) {
		struct row r = { .kind = what[k].kind, .dtype = what[k].dtype, .op = what[k].op };

		new_inputs(w, &m, r.dtype, (s->large ? HALF_BYTES : MIB) / ls_dtype_size(r.dtype), s->seed);
		for (i = 0; i < COUNT(sizes); i++) {
			if (!(sizes[i].large ? s->large : s->small) || (sizes[i].bytes > 2 * MIB && (k + s->seed) % 3))
				continue; /* the largest: one of three, for the time that it takes */
			r.count = elements(&r, i, w->ranks);
			r.place = (enum place)(nth++ % PLACES);
			r.in_place = r.place != HALF && nth % 3 == 0;
			r.root = r.kind == LS_BROADCAST ? (int)(nth % (unsigned)w->ranks) : 0;
			run_row(c, &r, &m, 0);
		}
	}
	check(m.served > 0, "nothing was tested");
	memory_put(c, &m);
	ls_comm_close(c, true);
}

static void run(int ranks, struct setting s)
{
	int failed = world_run(&(struct world_options){ .ranks = ranks, .scene = each_size, .arg = &s });

	if (failed)
		printf("\n    %d ranks, algorithm %s, group %d, seed %u", ranks, s.algorithm ? s.algorithm : "any", s.group, s.seed);
	CU_ASSERT_EQUAL(failed, 0);
}

static void test_large(void)
{
	unsigned i;

	for (i = 0; i < 5; i++)
		run((int[]){ 1, 2, 3, 5, 7 }[i], (struct setting){ .large = true, .group = (int)i % 2, .seed = i });
}

static void test_around_limits(void)
{
	unsigned i;

	for (i = 0; i < 16; i++)
		run(1 + (int)i % 4, (struct setting){ .small = true, .group = i % 3 ? 0 : 2, .seed = i });
}

static void test_by_name(void)
{
	static const char *const names[] = { "exchange", "direct", "slots" };
	unsigned i;

	for (i = 0; i < 2 * COUNT(names); i++)
		run(i % 2 ? 3 : 2, (struct setting){ .algorithm = names[i / 2], .small = true, .large = i % 2 == 0, .group = i % 2 ? 2 : 0, .seed = i });
}

static void test_thread(void)
{
	run(2, (struct setting){ .large = true, .small = true, .progress = LS_PROGRESS_THREAD, .seed = 1 });
	run(5, (struct setting){ .small = true, .progress = LS_PROGRESS_THREAD, .seed = 2 });
}

int main(void)
{
	unsigned failed;
	int r;

	common = world_shared(HALF_BYTES);
	for (r = 0; r < WORLD_MAX; r++)
		inputs[r] = world_shared(HALF_BYTES);
	CU_initialize_registry();
	CU_pSuite suite = CU_add_suite("coll_large", NULL, NULL);

	CU_add_test(suite, "up to 9 MiB", test_large);
	CU_add_test(suite, "around limits", test_around_limits);
	CU_add_test(suite, "each algorithm by its name", test_by_name);
	CU_add_test(suite, "with a progress thread", test_thread);
	CU_basic_run_tests();
	failed = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failed > 0;
}
