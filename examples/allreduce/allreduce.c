/* allreduce.c -- the smallest program on lockstep/collectives.h: every rank brings a vector, all get the sum, ten times.
 *
 *     lockstep run -np 2 -- build/examples/allreduce [ELEMENTS]
 *
 * The buffer is the library's, so that ranks of one node add up in place; malloc'd memory works as well, with a copy. */
#include "lockstep/collectives.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static lockstep_status sum_ten_times(struct lockstep_comm *comm, struct lockstep_coll *op, float *x, size_t n, struct lockstep_err *err)
{
	int rank = lockstep_comm_rank(comm), world = lockstep_comm_world_size(comm), step;
	float want = (float)(world * (world + 1) / 2);
	lockstep_status st = LOCKSTEP_OK;
	size_t i;

	for (step = 0; !st && step < 10; step++) {
		for (i = 0; i < n; i++)
			x[i] = (float)(rank + 1);
		st = lockstep_coll_start(op, err); /* what does not need x can be computed now */
		if (!st)
			st = lockstep_coll_wait(op, err);
		for (i = 0; !st && i < n; i++) {
			if (x[i] != want) {
				fprintf(stderr, "rank %d: element %zu is %g, want %g\n", rank, i, x[i], want);
				return LOCKSTEP_JOB_LOST;
			}
		}
	}
	if (!st && rank == 0)
		printf("%d ranks, %zu floats, backend %s, algorithm %s: the sum is %g\n", world, n, lockstep_comm_backend(comm),
			lockstep_coll_algorithm(op), want);
	return st;
}

int main(int argc, char **argv)
{
	size_t n = argc > 1 ? strtoull(argv[1], NULL, 10) : 1000000;
	struct lockstep_comm_options opt = { 0 };
	struct lockstep_err err = { .text = "a sum is wrong" };
	struct lockstep_comm *comm = NULL;
	struct lockstep_coll *op = NULL;
	void *x = NULL;
	lockstep_status st;

	st = lockstep_comm_open(&opt, &comm, &err);
	if (!st && !strcmp(lockstep_comm_backend(comm), "nccl")) {
		st = LOCKSTEP_USAGE;
		snprintf(err.text, sizeof(err.text), "this program fills its buffer from the host, and nccl's is GPU memory: choose another backend");
	}
	if (!st)
		st = lockstep_comm_alloc(comm, n * sizeof(float), &x, &err);
	if (!st)
		st = lockstep_coll_init(comm, LOCKSTEP_ALL_REDUCE, x, x, n, LOCKSTEP_F32, LOCKSTEP_SUM, 0, &op, &err);
	if (!st)
		st = sum_ten_times(comm, op, x, n, &err);
	if (st)
		fprintf(stderr, "allreduce: %s\n", err.text);
	lockstep_coll_free(op);
	lockstep_comm_close(comm, !st); /* the memory goes with it */
	return lockstep_exit_code(st);
}
