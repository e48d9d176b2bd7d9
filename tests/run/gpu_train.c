/* gpu_train.c -- a training loop whose gradients are in GPU memory (tests/run/nccl.sh), or in host memory, for the same result.
 *
 *     gpu_train STEPS gpu|host|both|row|half|mixed|streams [MS]
 *
 * both: every other one is in host memory, on all ranks; row: they lie in a row, in GPU memory; half: only rank 0's do; mixed: all of rank 1's
 * are in host memory; streams: it breaks a rule. MS: a step's length.
 *
 * Gradients are multiples of 1/64 whose averages over 2 ranks are exact in any order and, for small ones, as BF16: rank 0 prints a checksum
 * that depends on no backend. */
#include "collectives/api_cuda.h"
#include "worker/rank.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const struct { const char *name; size_t count; } tensors[] = { { "embed", 30000 }, { "w1", 700 }, { "b1", 13 }, { "none", 0 }, { "w2", 4096 },
	{ "b2", 1 } };
enum { N = sizeof(tensors) / sizeof(tensors[0]) };

struct model {
	float *weights[N], *made[N], *grad[N]; /* made: on the host, before it goes to the GPU */
	bool on_gpu, both, row;
	char *next;                            /* of the row */
	void *stream;
};

static lockstep_status told(struct ls_err *e, struct lockstep_err *err)
{
	snprintf(err->text, sizeof(err->text), "%s", e->text);
	return e->status ? LOCKSTEP_JOB_LOST : LOCKSTEP_OK;
}

static bool holds(const struct model *m, int i)
{
	return m->on_gpu && !(m->both && i % 2);
}

static lockstep_status set_up(struct lockstep *ls, struct model *m, struct lockstep_err *err)
{
	struct ls_err e = LS_ERR_INIT;
	lockstep_status st = LOCKSTEP_OK;
	int i;

	if (m->on_gpu && ls_cuda_stream_make(false, &m->stream, &e))
		return told(&e, err);
	lockstep_stream(ls, m->stream);
	for (i = 0; !st && i < N; i++) {
		size_t bytes = tensors[i].count * sizeof(float);
		int64_t shape = (int64_t)tensors[i].count;

		m->weights[i] = calloc(1, bytes + 1);
		m->made[i] = calloc(1, bytes + 1);
		if (m->row && !m->next && ls_cuda_alloc(1 << 20, (void **)&m->next, &e))
			return told(&e, err);
		m->grad[i] = (float *)m->next;
		m->next += m->row ? bytes : 0;
		if (holds(m, i) && !m->row && ls_cuda_alloc(bytes, (void **)&m->grad[i], &e))
			return told(&e, err);
		if (!holds(m, i))
			m->grad[i] = calloc(1, bytes + 1);
		st = lockstep_bucket_add(ls, tensors[i].name, m->grad[i], tensors[i].count, LOCKSTEP_F32, NULL, err);
		if (!st && tensors[i].count)
			st = lockstep_state_add(ls, tensors[i].name, m->weights[i], LOCKSTEP_F32, 1, &shape, LOCKSTEP_REPLICATED, err);
	}
	return st;
}

/* What is beside the gradients works on GPU memory, too. */
static lockstep_status beside(struct lockstep *ls, struct model *m, struct lockstep_err *err)
{
	double mine[2] = { lockstep_rank(ls) + 1, 0.5 }, got[2] = { 0, 0 };
	struct ls_err e = LS_ERR_INIT;
	lockstep_status st;
	void *gpu = NULL;

	if (!m->on_gpu)
		return LOCKSTEP_OK;
	if (ls_cuda_alloc(sizeof(mine), &gpu, &e) || ls_cuda_copy(gpu, mine, sizeof(mine), m->stream, &e))
		return told(&e, err);
	st = lockstep_sum_f64(ls, gpu, 2, err);
	if (!st)
		st = lockstep_broadcast(ls, gpu, sizeof(mine), 0, err);
	if (!st && (ls_cuda_copy(got, gpu, sizeof(got), m->stream, &e) || ls_cuda_stream_sync(m->stream, &e)))
		return told(&e, err);
	if (!st && (got[0] != lockstep_world_size(ls) * (lockstep_world_size(ls) + 1) / 2 || got[1] != 0.5 * lockstep_world_size(ls))) {
		snprintf(err->text, sizeof(err->text), "lockstep_sum_f64 in GPU memory gives %g and %g", got[0], got[1]);
		return LOCKSTEP_JOB_LOST;
	}
	ls_cuda_free(gpu);
	return st;
}

static lockstep_status backward(struct lockstep *ls, struct model *m, int64_t step, const char *where, struct lockstep_err *err)
{
	struct ls_err e = LS_ERR_INIT;
	lockstep_status st = LOCKSTEP_OK;
	int i;

	for (i = 0; !st && i < N; i++) {
		size_t k, bytes = tensors[i].count * sizeof(float);

		for (k = 0; k < tensors[i].count; k++)
			m->made[i][k] = (float)((int)((k * 7 + (size_t)step * 3 + (size_t)lockstep_rank(ls) * 5) % 31) - 15) / 64;
		if (!holds(m, i))
			memcpy(m->grad[i], m->made[i], bytes);
		else if (ls_cuda_copy(m->grad[i], m->made[i], bytes, m->stream, &e))
			return told(&e, err);
		if (i == 2 && !strcmp(where, "streams"))
			lockstep_stream(ls, NULL);
		st = lockstep_bucket_ready(ls, i, err);
	}
	return st ? st : lockstep_bucket_wait(ls, err);
}

static lockstep_status update(struct model *m, double *ret_loss, struct lockstep_err *err)
{
	struct ls_err e = LS_ERR_INIT;
	double loss = 0;
	size_t k;
	int i;

	for (i = 0; i < N; i++) {
		const float *g = holds(m, i) ? m->made[i] : m->grad[i];

		if (holds(m, i) && ls_cuda_copy(m->made[i], m->grad[i], tensors[i].count * sizeof(float), m->stream, &e))
			return told(&e, err);
		if (holds(m, i) && ls_cuda_stream_sync(m->stream, &e))
			return told(&e, err);
		for (k = 0; k < tensors[i].count; k++) {
			m->weights[i][k] -= g[k];
			loss += m->weights[i][k] * (double)(k % 5 + 1);
		}
	}
	*ret_loss = loss;
	return LOCKSTEP_OK;
}

static lockstep_status train(struct lockstep *ls, struct model *m, int64_t steps, const char *where, long ms, struct lockstep_err *err)
{
	lockstep_status st = set_up(ls, m, err);
	int64_t step = 0;
	double loss = 0;

	if (!st)
		st = lockstep_restore(ls, &step, err);
	if (!st)
		st = strcmp(where, "mixed") ? beside(ls, m, err) : LOCKSTEP_OK;
	for (; !st && step < steps; step++) {
		st = backward(ls, m, step, where, err);
		if (!st)
			st = update(m, &loss, err);
		nanosleep(&(struct timespec){ ms / 1000, ms % 1000 * 1000000 }, NULL);
		if (!st)
			st = lockstep_step_end(ls, step + 1, loss, 1, err);
	}
	if (!st && lockstep_rank(ls) == 0)
		printf("checksum %a\n", loss);
	if (!st && ((!strcmp(where, "row") && ls->units[0].parts) || (!strcmp(where, "half") && !ls->units[0].parts))) {
		snprintf(err->text, sizeof(err->text), "not so: what lies in a row on all ranks is summed in place");
		st = LOCKSTEP_JOB_LOST;
	}
	return st;
}

int main(int argc, char **argv)
{
	const char *where = argc > 2 ? argv[2] : "gpu";
	struct lockstep_options opt = { .total_steps = argc > 1 ? atoll(argv[1]) : 10 };
	struct lockstep_err err = { 0 };
	struct lockstep *ls = NULL;
	struct model m = { 0 };
	lockstep_status st = lockstep_start(&opt, &ls, &err);

	if (!st) {
		m.both = !strcmp(where, "both");
		m.row = !strcmp(where, "row") || (lockstep_rank(ls) == 0 && !strcmp(where, "half"));
		m.on_gpu = strcmp(where, "host") && !(lockstep_rank(ls) == 1 && !strcmp(where, "mixed"));
		st = train(ls, &m, opt.total_steps, where, argc > 3 ? atol(argv[3]) : 0, &err);
	}
	if (st)
		fprintf(stderr, "gpu_train: %s\n", err.text);
	lockstep_finish(ls);
	return lockstep_exit_code(st);
}
