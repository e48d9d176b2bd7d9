/* test_coll.c -- what an operation may be asked, and that every kind, type, operation, size, kind of memory and order of additions comes
 * out bit for bit as coll.h says, for any number of ranks. Large data, and each algorithm by its name: test_coll_large.c. */
#include "tests/unit/coll_rows.h"

#include <CUnit/Basic.h>

static char bytes[256];

/* In place, and beside: 8 elements of 4 bytes are 32 bytes; of a world of 4, this is rank 1. */
static const struct {
	const char *says;
	struct ls_coll coll;
	ls_status want;
	const char *text; /* a part of the sentence */
} asked[] = {
	{ "an all-reduce", { LS_ALL_REDUCE, LS_F32, LS_SUM, 0, 8, bytes, bytes + 32 }, LS_OK, "" },
	{ "in place", { LS_ALL_REDUCE, LS_BF16, LS_AVERAGE, 0, 8, bytes, bytes }, LS_OK, "" },
	{ "of nothing", { LS_ALL_REDUCE, LS_F32, LS_MIN, 0, 0, NULL, NULL }, LS_OK, "" },
	{ "a sum of bytes", { LS_ALL_REDUCE, LS_U8, LS_SUM, 0, 8, bytes, bytes }, LS_USAGE, "U8" },
	{ "no buffer to send", { LS_ALL_REDUCE, LS_F32, LS_SUM, 0, 8, NULL, bytes }, LS_USAGE, "send" },
	{ "no buffer to receive", { LS_ALL_REDUCE, LS_F32, LS_SUM, 0, 8, bytes, NULL }, LS_USAGE, "recv" },
	{ "an overlap by one element", { LS_ALL_REDUCE, LS_F32, LS_SUM, 0, 8, bytes, bytes + 28 }, LS_USAGE, "overlap" },
	{ "the same the other way round", { LS_ALL_REDUCE, LS_F32, LS_SUM, 0, 8, bytes + 28, bytes }, LS_USAGE, "overlap" },
	{ "a count that wraps", { LS_ALL_REDUCE, LS_F64, LS_SUM, 0, SIZE_MAX / 4, bytes, bytes }, LS_USAGE, "more than memory can hold" },
	{ "a reduce-scatter", { LS_REDUCE_SCATTER, LS_F32, LS_SUM, 0, 8, bytes, bytes + 128 }, LS_OK, "" },
	{ "its part in place", { LS_REDUCE_SCATTER, LS_F32, LS_SUM, 0, 8, bytes, bytes + 32 }, LS_OK, "" },
	{ "another rank's part", { LS_REDUCE_SCATTER, LS_F32, LS_SUM, 0, 8, bytes, bytes }, LS_USAGE, "overlap" },
	{ "a reduce-scatter of bytes", { LS_REDUCE_SCATTER, LS_U8, LS_SUM, 0, 8, bytes, bytes + 128 }, LS_USAGE, "U8" },
	{ "a count that wraps times the world", { LS_REDUCE_SCATTER, LS_F32, LS_SUM, 0, SIZE_MAX / 8, bytes, bytes + 128 }, LS_USAGE, "more than memory can hold" },
	{ "an all-gather of bytes", { LS_ALL_GATHER, LS_U8, LS_SUM, 0, 8, bytes, bytes + 8 }, LS_OK, "" },
	{ "its part in place", { LS_ALL_GATHER, LS_F32, LS_SUM, 0, 8, bytes + 32, bytes }, LS_OK, "" },
	{ "another rank's part", { LS_ALL_GATHER, LS_F32, LS_SUM, 0, 8, bytes, bytes }, LS_USAGE, "overlap" },
	{ "a broadcast, received", { LS_BROADCAST, LS_U8, LS_SUM, 0, 8, NULL, bytes }, LS_OK, "" },
	{ "a broadcast, sent", { LS_BROADCAST, LS_F16, LS_SUM, 1, 8, bytes, bytes }, LS_OK, "" },
	{ "a root that sends nothing", { LS_BROADCAST, LS_F16, LS_SUM, 1, 8, NULL, bytes }, LS_USAGE, "send" },
	{ "a root below the ranks", { LS_BROADCAST, LS_F16, LS_SUM, -1, 8, bytes, bytes }, LS_USAGE, "from rank -1" },
	{ "a root beyond the ranks", { LS_BROADCAST, LS_F16, LS_SUM, 4, 8, bytes, bytes }, LS_USAGE, "ranks 0 to 3" },
	{ "a barrier", { LS_BARRIER, LS_F32, LS_SUM, 0, 0, NULL, NULL }, LS_OK, "" },
};

static void test_asked(void)
{
	size_t i;

	for (i = 0; i < COUNT(asked); i++) {
		struct ls_err err = LS_ERR_INIT;
		ls_status st = ls_coll_check(&asked[i].coll, 1, 4, &err);
		bool ok = st == asked[i].want && strstr(err.text, asked[i].text);

		if (!ok)
			printf("\n    failed: %s: %s: %s", asked[i].says, ls_status_name(st), err.text);
		CU_ASSERT(ok);
	}
}

static void test_names(void)
{
	CU_ASSERT_STRING_EQUAL(ls_coll_name(LS_ALL_REDUCE), "all-reduce");
	CU_ASSERT_STRING_EQUAL(ls_coll_name(LS_BARRIER), "barrier");
	CU_ASSERT_STRING_EQUAL(ls_reduce_op_name(LS_AVERAGE), "avg");
	CU_ASSERT_STRING_EQUAL(ls_reduce_op_name(LS_MAX), "max");
}

/* --- every kind of everything, small ------------------------------------------------------------------------------------ */

enum { MOST = 1000, HALF_BYTES = MOST * WORLD_MAX * 8 + 4 * GUARD };
static const size_t counts[] = { 0, 1, 3, 13, 14, 15, MOST };
static void *inputs[WORLD_MAX];

struct setting {
	int group;
	enum ls_progress progress;
	long jitter_us;
	unsigned seed;
};

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define ONE_OF 4 /* rows are skipped there: which ones, the seed says */
#else
#define ONE_OF 1
#endif

static bool chosen(const struct row *r, const struct setting *s, unsigned one_of)
{
	uint64_t h = mixed(s->seed) + r->kind * 7u + r->dtype * 101u + r->op * 1009u + r->place * 10007u + r->in_place * 100003u;

	return mixed(h + r->count * 1000003u) % one_of == 0;
}

static void one_count(struct ls_comm *c, struct row r, struct memory *m, const struct setting *s, unsigned one_of)
{
	int i;

	for (i = 0; i < 2 * PLACES; i++) {
		r.place = (enum place)(i / 2);
		r.in_place = i % 2;
		if (!(r.place == HALF && r.in_place) && chosen(&r, s, one_of))
			run_row(c, &r, m, s->jitter_us);
	}
}

static void one_type(struct ls_comm *c, enum ls_dtype d, struct memory *m, const struct setting *s, unsigned one_of)
{
	struct row r = { .dtype = d };
	size_t i;

	for (r.kind = LS_ALL_REDUCE; r.kind <= LS_BROADCAST; r.kind++) {
		bool reduces = ls_coll_reduces(&(struct ls_coll){ .kind = r.kind });

		for (r.op = LS_SUM; r.op <= (reduces ? LS_MAX : LS_SUM) && !(reduces && d == LS_U8); r.op++) {
			for (i = 0; i < COUNT(counts); i++) {
				r.count = counts[i];
				r.root = r.kind == LS_BROADCAST ? (int)(i % (size_t)c->world) : 0;
				one_count(c, r, m, s, one_of);
			}
		}
	}
}

static void run_setting(struct world *w, unsigned one_of)
{
	const struct setting *s = w->arg;
	struct ls_comm *c = world_open(w, (struct ls_comm_options){ .group = s->group, .progress = s->progress, .progress_cpu = -1 });
	struct memory m;
	enum ls_dtype d;

	check(c->world == w->ranks && c->rank == my_rank && c->local_rank == my_rank && c->nodes == 1 && c->group == (s->group ? s->group : w->ranks),
		"the group is not what was asked for");
	srand(s->seed * 100 + (unsigned)my_rank);
	memory_get(c, &m, HALF_BYTES, inputs);
	for (d = LS_F64; d <= LS_U8; d++) {
		new_inputs(w, &m, d, MOST * (size_t)w->ranks, s->seed);
		one_type(c, d, &m, s, one_of);
	}
	check(m.served > 0, "nothing was tested");
	memory_put(c, &m);
	ls_comm_close(c, true);
}

static void every_row(struct world *w)
{
	run_setting(w, ONE_OF);
}

static void some_rows(struct world *w)
{
	run_setting(w, 23 * ONE_OF);
}

static void run(int ranks, void (*scene)(struct world *), struct setting s)
{
	int failed = world_run(&(struct world_options){ .ranks = ranks, .scene = scene, .arg = &s });

	if (failed)
		printf("\n    %d ranks, group %d, seed %u", ranks, s.group, s.seed);
	CU_ASSERT_EQUAL(failed, 0);
}

static void test_every_row(void)
{
	static const int worlds[] = { 1, 2, 3, 4, 5, 7 }, groups[] = { 0, 1, 2, 3 };
	size_t i, k;

	for (i = 0; i < COUNT(worlds); i++)
		for (k = 0; k < COUNT(groups) && groups[k] < worlds[i]; k++)
			run(worlds[i], every_row, (struct setting){ .group = groups[k], .seed = (unsigned)getpid() });
}

/* Whoever comes first: the same bits, that is, those of the reference. */
static void test_any_order_of_arrival(void)
{
	unsigned i;

	for (i = 0; i < 4; i++)
		run(2 + (int)i, some_rows, (struct setting){ .group = 2, .jitter_us = 2000, .seed = (unsigned)getpid() + i });
}

static void test_progress_thread(void)
{
	unsigned i;

	for (i = 0; i < 4; i++)
		run(1 + (int)i, some_rows, (struct setting){ .progress = LS_PROGRESS_THREAD, .jitter_us = i * 500, .seed = (unsigned)getpid() + i });
}

int main(void)
{
	unsigned failed;
	int r;

	for (r = 0; r < WORLD_MAX; r++)
		inputs[r] = world_shared(HALF_BYTES);
	CU_initialize_registry();
	CU_pSuite suite = CU_add_suite("coll", NULL, NULL);

	CU_add_test(suite, "what may be asked", test_asked);
	CU_add_test(suite, "names", test_names);
	CU_add_test(suite, "every kind, type, operation, size, memory and group", test_every_row);
	CU_add_test(suite, "any order of arrival", test_any_order_of_arrival);
	CU_add_test(suite, "a progress thread", test_progress_thread);
	CU_basic_run_tests();
	failed = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failed > 0;
}
