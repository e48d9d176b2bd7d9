/* test_rail_mpi.c -- who carries what between nodes: every element once, the same on all nodes, addends in the order of the ranks. No
 * message is sent. */
#include "collectives/comm_mpi.h"

#include <CUnit/Basic.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define WORLD 6

static void check(bool ok, const char *says, const char *kind, size_t count)
{
	if (!ok)
		printf("\n    failed: %s: %s of %zu", says, kind, count);
	CU_ASSERT(ok);
}

static const struct {
	const char *says;
	int world, node[WORLD], local[WORLD], nodes, rails, group;
	bool partial;
	int leaf_node[WORLD], leaf_index[WORLD], leaves;
} layouts[] = {
	{ "two nodes of two, groups are nodes", 4, { 0, 0, 1, 1 }, { 0, 1, 0, 1 }, 2, 2, 2, true, { 0, 1 }, { 0, 0 }, 2 },
	{ "ranks dealt out in turn", 4, { 0, 1, 0, 1 }, { 0, 0, 1, 1 }, 2, 2, 1, false, { 0, 1, 0, 1 }, { 0, 0, 1, 1 }, 4 },
	{ "a group that a node cuts", 4, { 0, 0, 1, 1 }, { 0, 1, 0, 1 }, 2, 2, 4, false, { 0, 0, 1, 1 }, { 0, 1, 0, 1 }, 4 },
	{ "nodes of different size", 6, { 0, 0, 1, 1, 1, 1 }, { 0, 1, 0, 1, 2, 3 }, 2, 2, 2, true, { 0, 1, 1 }, { 0, 0, 1 }, 3 },
	{ "a last, shorter group", 5, { 0, 0, 1, 1, 2 }, { 0, 1, 0, 1, 0 }, 3, 1, 2, true, { 0, 1, 2 }, { 0, 0, 0 }, 3 },
	{ "one node", 3, { 0, 0, 0 }, { 0, 1, 2 }, 1, 3, 3, false, { 0, 0, 0 }, { 0, 1, 2 }, 3 },
	{ "a rank per node", 3, { 0, 1, 2 }, { 0, 0, 0 }, 3, 1, 1, false, { 0, 1, 2 }, { 0, 0, 0 }, 3 },
};

static const size_t counts[] = { 0, 1, 15, 16, 17, 1000, 33333, 300001, 3000001 };

static struct mpi_comm comm = { .max_tag = INT_MAX };
static struct ls_traffic traffic;

static struct ls_rail rail_of(size_t i, int rank, const struct ls_coll *c, bool exchange)
{
	struct ls_rail r = { .mpi = &comm, .traffic = &traffic, .coll = c, .exchange = exchange, .rail = layouts[i].local[rank],
		.rails = layouts[i].rails, .node = layouts[i].node[rank], .nodes = layouts[i].nodes, .world = layouts[i].world,
		.group = layouts[i].group, .rank_node = layouts[i].node, .rank_local = layouts[i].local };
	struct ls_err err = LS_ERR_INIT;

	CU_ASSERT_FATAL(ls_rail_open(&r, &err) == LS_OK);
	return r;
}

/* Counts how often each element is carried, in runs: parts come in order within each rail's slice of each block. */
static bool tiles(const struct ls_rail *r)
{
	bool by_rank = r->coll->kind == LS_REDUCE_SCATTER || r->coll->kind == LS_ALL_GATHER;
	size_t total = r->coll->count * (by_rank ? (size_t)r->world : 1), k, big, small, n, i;
	unsigned char *seen = calloc(total + 1, 1);
	int rail, node, local;
	bool ok = true;

	for (k = 0; k < r->segments; k++)
		for (rail = 0; rail < r->rails; rail++)
			for (node = 0; node < (r->exchange ? 1 : r->nodes); node++) {
				if (!ls_rail_part(r, k, rail, node, &big, &small, &local, &n))
					continue;
				ok = ok && n > 0 && n <= r->part && big + n <= total && small + n <= r->coll->count;
				for (i = 0; ok && i < n; i++)
					seen[big + i]++;
			}
	for (i = 0; i < total; i++)
		ok = ok && seen[i] == 1;
	free(seen);
	return ok;
}

static void test_parts(void)
{
	size_t i, j;
	int kind, exchange, rank;

	for (i = 0; i < COUNT(layouts); i++)
		for (j = 0; j < COUNT(counts); j++)
			for (kind = 0; kind < LS_BARRIER; kind++)
				for (exchange = 0; exchange < (kind == LS_ALL_REDUCE || kind == LS_BROADCAST ? 2 : 1); exchange++) {
					struct ls_coll c = { .kind = (enum ls_coll_kind)kind, .dtype = LS_F32, .count = counts[j] };
					struct ls_rail first = rail_of(i, 0, &c, exchange);

					check(tiles(&first), layouts[i].says, ls_coll_name(c.kind), c.count);
					for (rank = 1; rank < layouts[i].world; rank++) {
						struct ls_rail other = rail_of(i, rank, &c, exchange);

						check(other.segments == first.segments && other.part == first.part && other.partial == first.partial,
							layouts[i].says, ls_coll_name(c.kind), c.count);
						ls_rail_close(&other);
					}
					ls_rail_close(&first);
				}
}

static void test_order(void)
{
	struct ls_coll c = { .kind = LS_ALL_REDUCE, .dtype = LS_BF16, .count = 100 };
	size_t i;

	for (i = 0; i < COUNT(layouts); i++) {
		struct ls_rail r = rail_of(i, 0, &c, false);
		size_t bytes = (size_t)layouts[i].leaves * sizeof(int);

		check(r.partial == layouts[i].partial && r.n_leaves == layouts[i].leaves, layouts[i].says, "addends", c.count);
		check(!memcmp(r.leaf_node, layouts[i].leaf_node, bytes) && !memcmp(r.leaf_index, layouts[i].leaf_index, bytes), layouts[i].says,
			"order", c.count);
		check(r.wire == (r.partial ? 4 : 2), layouts[i].says, "bytes of an addend", c.count);
		ls_rail_close(&r);
	}
}

/* The last plan's tags come back, so that a plan for each operation does not use them up; there is a sentence when they end. */
static void test_tags(void)
{
	struct mpi_comm few = { .max_tag = 9 };
	struct ls_err err = LS_ERR_INIT;
	int a = -1, b = -1, c = -1;

	CU_ASSERT(ls_mpi_tags(&few, 4, &a, &err) == LS_OK && a == 0);
	CU_ASSERT(ls_mpi_tags(&few, 4, &b, &err) == LS_OK && b == 4);
	CU_ASSERT(ls_mpi_tags(&few, 4, &c, &err) == LS_USAGE && c == -1 && strstr(err.text, "more buckets than MPI has tags"));
	ls_mpi_tags_back(&few, 4, a);
	CU_ASSERT(ls_mpi_tags(&few, 4, &c, &err) == LS_USAGE);
	ls_mpi_tags_back(&few, 4, b);
	CU_ASSERT(ls_mpi_tags(&few, 4, &c, &err) == LS_OK && c == 4);
}

int main(void)
{
	CU_pSuite suite;
	unsigned failed;

	CU_initialize_registry();
	suite = CU_add_suite("rail", NULL, NULL);
	CU_add_test(suite, "every element is carried once, and all nodes cut alike", test_parts);
	CU_add_test(suite, "addends are taken in the order of the ranks", test_order);
	CU_add_test(suite, "tags are drawn and given back", test_tags);
	CU_basic_set_mode(CU_BRM_VERBOSE);
	CU_basic_run_tests();
	failed = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failed > 0;
}
