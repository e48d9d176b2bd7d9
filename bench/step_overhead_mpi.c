/* step_overhead_mpi.c -- what one training step costs with liblockstep, against the same loop with bare
 * MPI_Allreduce.
 *
 *     mpirun -np 2 build/bench/step_overhead [repeats]
 *
 * Both loops touch the gradients as a backward pass would, last bucket first, and then reduce them; the bare one
 * calls MPI_Allreduce(MPI_IN_PLACE) once per bucket after the backward pass, and neither averages nor fixes the
 * order of additions, which liblockstep does. The loops alternate in one pair of processes, so that a busy machine
 * hurts both alike; each pair of runs gives one ratio, and the median of the ratios counts.
 * "compute" is the loop without any reduction; "busbw" is nccl-tests': 2(N-1)/N bytes over the time above compute.
 * Not here: a network. Between hosts the transport decides, not this loop. */
#include "lockstep/lockstep.h"
#include "core/sort.h"

#include <mpi.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_BUCKETS 32
#define MAX_REPEATS 1001

static const struct model {
	const char *name;
	int buckets;
	size_t count[MAX_BUCKETS];   /* floats; in backward order */
	size_t fill;                 /* the rest of the buckets have so many */
	int steps;                   /* of one run */
	int touches;                 /* passes of the fake backward over each bucket */
} models[] = {
	{ "digits", 2, { 2570, 160 }, 0, 100, 100 },
	{ "25 million parameters", 25, { 0 }, 1000000, 1, 2 },
};

struct run {
	const struct model *model;
	float *grad[MAX_BUCKETS];
	size_t count[MAX_BUCKETS];
	int bucket[MAX_BUCKETS];
	struct lockstep *ls;
};

static void die(const char *what, const char *why)
{
	fprintf(stderr, "step_overhead: %s: %s\n", what, why);
	MPI_Abort(MPI_COMM_WORLD, 1);
}

/* Not inlined: all three loops must run the very same code. */
__attribute__((noinline)) static void backward(float *grad, size_t n, int touches)
{
	size_t i;
	int k;

	for (k = 0; k < touches; k++)
		for (i = 0; i < n; i++)
			grad[i] = grad[i] * 0.5f + 0.25f;
}

static void step_lockstep(struct run *r)
{
	struct lockstep_err err;
	int b;

	for (b = 0; b < r->model->buckets; b++) {
		backward(r->grad[b], r->count[b], r->model->touches);
		if (lockstep_bucket_ready(r->ls, r->bucket[b], &err))
			die("ready", err.text);
	}
	if (lockstep_bucket_wait(r->ls, &err))
		die("wait", err.text);
}

static void step_bare(struct run *r)
{
	int b;

	for (b = 0; b < r->model->buckets; b++)
		backward(r->grad[b], r->count[b], r->model->touches);
	for (b = 0; b < r->model->buckets; b++)
		MPI_Allreduce(MPI_IN_PLACE, r->grad[b], (int)r->count[b], MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
}

static void step_compute(struct run *r)
{
	int b;

	for (b = 0; b < r->model->buckets; b++)
		backward(r->grad[b], r->count[b], r->model->touches);
}

/* Microseconds of one step; the slowest rank's. */
static double timed(struct run *r, void (*step)(struct run *))
{
	double us;
	int i;

	MPI_Barrier(MPI_COMM_WORLD);
	us = MPI_Wtime();
	for (i = 0; i < r->model->steps; i++)
		step(r);
	us = (MPI_Wtime() - us) * 1e6 / r->model->steps;
	MPI_Allreduce(MPI_IN_PLACE, &us, 1, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);
	return us;
}

struct spread {
	double quarter, median, three_quarters;
};

static struct spread spread(double *v, int n)
{
	ls_sort(v, (size_t)n);
	return (struct spread){ v[n / 4], v[n / 2], v[n * 3 / 4] };
}

static void row(const char *how, struct spread us, double compute_us, size_t bytes, int world)
{
	double above = us.median - compute_us;

	printf("  %-14s %12.1f %12.1f %12.1f", how, us.median, us.quarter, us.three_quarters);
	if (compute_us > 0 && above > 0)
		printf(" %12.1f %10.2f\n", above, 2.0 * (world - 1) / world * (double)bytes / above * 1e-3);
	else
		printf(" %12s %10s\n", "-", "-");
}

static void compare(struct run *r, int repeats, int rank, int world)
{
	static double compute[MAX_REPEATS], bare[MAX_REPEATS], ours[MAX_REPEATS], ratio[MAX_REPEATS];
	struct spread c, s;
	size_t bytes = 0;
	int i;

	for (i = 0; i < r->model->buckets; i++)
		bytes += r->count[i] * sizeof(float);
	for (i = -1; i < repeats; i++) { /* -1: warm up */
		int k = i < 0 ? 0 : i;

		compute[k] = timed(r, step_compute);
		if (k % 2) {
			ours[k] = timed(r, step_lockstep);
			bare[k] = timed(r, step_bare);
		} else {
			bare[k] = timed(r, step_bare);
			ours[k] = timed(r, step_lockstep);
		}
		ratio[k] = ours[k] / bare[k];
	}
	if (rank != 0)
		return;
	c = spread(compute, repeats);
	printf("# %s: %zu bytes in %d buckets, %d ranks, %d x %d steps\n", r->model->name, bytes, r->model->buckets,
		world, repeats, r->model->steps);
	printf("# %-14s %12s %12s %12s %12s %10s\n", "", "median us", "25 %", "75 %", "above comp.",
		"busbw GB/s");
	row("compute", c, 0, bytes, world);
	row("MPI_Allreduce", spread(bare, repeats), c.median, bytes, world);
	row("liblockstep", spread(ours, repeats), c.median, bytes, world);
	s = spread(ratio, repeats);
	printf("  liblockstep / MPI_Allreduce, whole step: median %.3f, middle half %.3f to %.3f\n\n", s.median,
		s.quarter, s.three_quarters);
	fflush(stdout);
}

static void run_model(const struct model *m, int repeats)
{
	struct run r = { .model = m };
	struct lockstep_err err;
	char name[32];
	int b;

	if (lockstep_start(&(struct lockstep_options){ 0 }, &r.ls, &err))
		die("start", err.text);
	for (b = 0; b < m->buckets; b++) {
		r.count[b] = m->fill ? m->fill : m->count[b];
		r.grad[b] = calloc(r.count[b], sizeof(float));
		snprintf(name, sizeof(name), "bucket%d", b);
		if (!r.grad[b])
			die(name, "no memory");
		if (lockstep_bucket_add(r.ls, name, r.grad[b], r.count[b], LOCKSTEP_F32, &r.bucket[b], &err))
			die(name, err.text);
	}
	compare(&r, repeats, lockstep_rank(r.ls), lockstep_world_size(r.ls));
	lockstep_finish(r.ls);
	for (b = 0; b < m->buckets; b++)
		free(r.grad[b]);
}

int main(int argc, char **argv)
{
	int repeats = argc > 1 ? atoi(argv[1]) : 41;
	size_t i;

	if (repeats < 1 || repeats > MAX_REPEATS) {
		fprintf(stderr, "usage: step_overhead [repeats, 1 to %d]\n", MAX_REPEATS);
		return 2;
	}
	MPI_Init(&argc, &argv);
	for (i = 0; i < sizeof(models) / sizeof(models[0]); i++)
		run_model(&models[i], repeats);
	MPI_Finalize();
	return 0;
}
