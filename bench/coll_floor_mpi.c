/* coll_floor_mpi.c -- a rank program of `lockstep bench` that moves nothing between ranks: the floor for an all-reduce in shared memory.
 *
 * Each rank reads and writes its own buffer once, in place, as much memory as the best all-reduce there can be has to touch for two ranks
 * (each reads one half of both buffers and writes it to both). The result is the right one all the same, so that it is compared as any
 * other's: payloads are known (coll_data.h), so a rank's element tells what the others' are.
 *
 * f32 sums in place only. MPI is for the ranks' numbers and the barrier. */
#include "bench/coll_rank.h"

#include <mpi.h>

#include <stdint.h>
#include <stdio.h>

static float *data;
static size_t count;
static int rank, world;

static enum coll_answer open_mpi(int argc, char **argv, int *ret_rank, int *ret_world, char name[64], char *text)
{
	(void)text; /* MPI ends the program by itself */
	MPI_Init(&argc, &argv);
	MPI_Comm_rank(MPI_COMM_WORLD, &rank);
	MPI_Comm_size(MPI_COMM_WORLD, &world);
	*ret_rank = rank;
	*ret_world = world;
	snprintf(name, 64, "each rank's own memory");
	return COLL_DONE;
}

static void close_mpi(bool orderly)
{
	if (!orderly)
		MPI_Abort(MPI_COMM_WORLD, 1);
	MPI_Finalize();
}

static enum coll_answer make(const struct coll_call *c, char algorithm[32], char *text)
{
	if (c->kind != COLL_ALL_REDUCE || c->dtype != COLL_F32 || c->op != COLL_SUM || !c->in_place) {
		snprintf(text, COLL_TEXT, "the floor is that of f32 sums in place");
		return COLL_UNSUPPORTED;
	}
	data = c->recv;
	count = c->count;
	snprintf(algorithm, 32, "rmw");
	return COLL_DONE;
}

static void unmake(void)
{
}

/* What the rank `ahead` places after this one has where this one has v: integers from -2 to 2, counted round. */
static inline float of_other(float v, float ahead)
{
	float x = v + ahead;

	return x > 2 ? x - 5 : x;
}

/* Of two ranks, with vectors: branches would cost more than the memory. */
static void add_one(float *x, size_t n, float ahead)
{
	typedef float vec __attribute__((vector_size(32), aligned(4), may_alias));
	typedef int32_t mask __attribute__((vector_size(32)));
	const vec five = { 5, 5, 5, 5, 5, 5, 5, 5 };
	size_t i = 0;

	for (; i + 8 <= n; i += 8) {
		vec v = *(vec *)(x + i), other = v + ahead;

		*(vec *)(x + i) = v + other - (vec)((mask)five & (other > 2));
	}
	for (; i < n; i++)
		x[i] += of_other(x[i], ahead);
}

static void add_all(float *x, size_t n)
{
	float own;
	size_t i;
	int r;

	for (i = 0; i < n; i++)
		for (own = x[i], r = 0; r < world; r++)
			x[i] += r == rank ? 0 : of_other(own, (float)((r - rank + world * 5) % 5));
}

static enum coll_answer run(char *text)
{
	(void)text;
	if (world == 2)
		add_one(data, count, rank ? 4 : 1);
	else
		add_all(data, count);
	return COLL_DONE;
}

static enum coll_answer barrier(char *text)
{
	(void)text;
	MPI_Barrier(MPI_COMM_WORLD);
	return COLL_DONE;
}

int main(int argc, char **argv)
{
	static const struct coll_library floor_of = { .open = open_mpi, .make = make, .run = run, .unmake = unmake, .barrier = barrier,
		.close = close_mpi };

	return coll_rank_main(argc, argv, &floor_of);
}
