/* predict_step_mpi.c -- a data-parallel step with known gradients, whose step times `lockstep bench predict` is held against.
 *
 *     lockstep run -np 1 -- build/bench/predict_step STEPS BUCKETS BYTES PASSES
 *
 * Backward makes one bucket after the other, by PASSES multiplications of each element of a private buffer as large as it; each is marked ready
 * when it is made. There is no forward: --backward 1. Every step is reported, so that steps.csv has its time. */
#include "lockstep/lockstep.h"

#include <stdio.h>
#include <stdlib.h>

static void need(lockstep_status st, const struct lockstep_err *err)
{
	if (st) {
		fprintf(stderr, "predict_step: %s\n", err->text);
		exit(lockstep_exit_code(st));
	}
}

static void backward(float *grad, float *work, size_t n, int passes)
{
	size_t i;
	int p;

	for (p = 0; p < passes; p++)
		for (i = 0; i < n; i++)
			work[i] = work[i] * 0.999f + 0.001f;
	for (i = 0; i < n; i++)
		grad[i] = work[i];
}

int main(int argc, char **argv)
{
	int steps = argc == 5 ? atoi(argv[1]) : 0, buckets = argc == 5 ? atoi(argv[2]) : 0, passes = argc == 5 ? atoi(argv[4]) : 0, s, b;
	size_t n = argc == 5 ? strtoul(argv[3], NULL, 10) / sizeof(float) : 0;
	struct lockstep_options opt = { .total_steps = steps };
	struct lockstep_err err;
	struct lockstep *ls;
	float **grad, *work;
	int *index;
	char name[32];

	if (steps < 1 || buckets < 1 || n < 1 || passes < 1) {
		fprintf(stderr, "usage: predict_step STEPS BUCKETS BYTES PASSES\n");
		return 2;
	}
	grad = calloc((size_t)buckets, sizeof(*grad));
	index = calloc((size_t)buckets, sizeof(*index));
	work = calloc(n, sizeof(*work));
	if (!grad || !index || !work)
		return 1;
	need(lockstep_start(&opt, &ls, &err), &err);
	for (b = 0; b < buckets; b++) {
		snprintf(name, sizeof(name), "bucket%d", b);
		need(lockstep_alloc(ls, n * sizeof(float), (void **)&grad[b], &err), &err);
		need(lockstep_bucket_add(ls, name, grad[b], n, LOCKSTEP_F32, &index[b], &err), &err);
	}
	for (s = 1; s <= steps; s++) {
		for (b = 0; b < buckets; b++) {
			backward(grad[b], work, n, passes);
			need(lockstep_bucket_ready(ls, index[b], &err), &err);
		}
		need(lockstep_bucket_wait(ls, &err), &err);
		need(lockstep_step_end(ls, s, 0, 1, &err), &err);
	}
	lockstep_finish(ls);
	free(grad);
	free(index);
	free(work);
	return 0;
}
