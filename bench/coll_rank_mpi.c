/* coll_rank_mpi.c -- a rank program of `lockstep bench` on Lockstep's own collectives, by their public header.
 *
 *     --backend NAME --algorithm NAME     as in lockstep/collectives.h
 *     --buffers library|user              lockstep_comm_alloc(), or the program's own
 *     --device cpu|cuda                   where the buffers are. cuda: through the library's own view of the driver, as a program
 *                                         has the CUDA runtime, which this one does without */
#include "bench/coll_rank.h"
#include "collectives/api_cuda.h"
#include "lockstep/collectives.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct lockstep_comm *comm;
static struct lockstep_coll **made, *everybody; /* made: of each part; everybody: the barrier */
static size_t n_made;
static struct coll_library lockstep;
static struct ls_cuda_device gpu;
static bool on_gpu, own_buffers;

static enum coll_answer answer(lockstep_status st, const struct lockstep_err *err, char *text)
{
	if (st)
		snprintf(text, COLL_TEXT, "%.*s", COLL_TEXT - 1, err->text);
	return !st ? COLL_DONE : st == LOCKSTEP_USAGE ? COLL_UNSUPPORTED : COLL_FAILED;
}

static bool options(int argc, char **argv, struct lockstep_comm_options *opt)
{
	static const struct option longs[] = { { "backend", 1, NULL, 'b' }, { "algorithm", 1, NULL, 'a' }, { "buffers", 1, NULL, 'u' },
		{ "device", 1, NULL, 'd' }, { 0 } };
	int ch;

	while ((ch = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		switch (ch) {
		case 'b': opt->backend = optarg; break;
		case 'a': opt->algorithm = optarg; break;
		case 'u': own_buffers = !strcmp(optarg, "user"); break;
		case 'd': on_gpu = !strcmp(optarg, "cuda"); break;
		default: return false;
		}
	}
	return optind == argc;
}

/* --- a GPU's memory --------------------------------------------------------------------------------------------------------------- */

static enum coll_answer answer_of(ls_status st, const struct ls_err *err, char *text)
{
	if (st)
		snprintf(text, COLL_TEXT, "%.*s", COLL_TEXT - 1, err->text);
	return st ? COLL_FAILED : COLL_DONE;
}

static enum coll_answer alloc_gpu(size_t bytes, void **ret, char *text)
{
	struct ls_err err = LS_ERR_INIT;

	return answer_of(ls_cuda_alloc(bytes, ret, &err), &err, text);
}

static enum coll_answer copy(void *to, const void *from, size_t bytes, char *text)
{
	struct ls_err err = LS_ERR_INIT;
	ls_status st = ls_cuda_copy(to, from, bytes, NULL, &err);

	return answer_of(st ? st : ls_cuda_stream_sync(NULL, &err), &err, text);
}

/* Before anything of CUDA's is asked for: a machine without a GPU says so, and nothing else is measured in its place. */
static enum coll_answer open_gpu(char *text)
{
	struct ls_err err = LS_ERR_INIT;
	ls_status st = ls_cuda_open(&err);

	if (!st)
		st = ls_cuda_device(&gpu, &err);
	if (own_buffers) {
		lockstep.alloc = alloc_gpu;
		lockstep.free = ls_cuda_free;
	}
	lockstep.put = lockstep.get = copy;
	lockstep.device = gpu.uuid;
	return answer_of(st, &err, text);
}

static enum coll_answer open_comm(int argc, char **argv, int *ret_rank, int *ret_world, char name[64], char *text)
{
	struct lockstep_comm_options opt = { 0 };
	struct lockstep_err err = { 0 };
	enum coll_answer a;

	if (!options(argc, argv, &opt)) {
		snprintf(text, COLL_TEXT, "want: [--backend NAME] [--algorithm NAME] [--buffers library|user] [--device cpu|cuda]");
		return COLL_FAILED;
	}
	if (own_buffers)
		lockstep.alloc = NULL, lockstep.free = NULL;
	if (on_gpu && open_gpu(text))
		return COLL_FAILED;
	a = answer(lockstep_comm_open(&opt, &comm, &err), &err, text);
	if (!a)
		a = answer(lockstep_coll_init(comm, LOCKSTEP_BARRIER, NULL, NULL, 0, LOCKSTEP_F32, LOCKSTEP_SUM, 0, &everybody, &err), &err, text);
	if (a)
		return COLL_FAILED;
	*ret_rank = lockstep_comm_rank(comm);
	*ret_world = lockstep_comm_world_size(comm);
	snprintf(name, 64, "Lockstep %s, %s, %s buffers", LOCKSTEP_VERSION, lockstep_comm_backend(comm), own_buffers ? "user's" : "library's");
	return COLL_DONE;
}

static void close_comm(bool orderly)
{
	lockstep_coll_free(everybody);
	lockstep_comm_close(comm, orderly);
}

static enum coll_answer alloc(size_t bytes, void **ret, char *text)
{
	struct lockstep_err err = { 0 };

	return answer(lockstep_comm_alloc(comm, bytes, ret, &err), &err, text);
}

static void free_buffer(void *p)
{
	lockstep_comm_free(comm, p);
}

static enum coll_answer make(const struct coll_call *c, char algorithm[32], char *text)
{
	static const enum lockstep_coll_kind kinds[COLL_KINDS] = { LOCKSTEP_ALL_REDUCE, LOCKSTEP_REDUCE_SCATTER, LOCKSTEP_ALL_GATHER,
		LOCKSTEP_BROADCAST, LOCKSTEP_BARRIER };
	static const enum lockstep_dtype dtypes[COLL_DTYPES] = { LOCKSTEP_F64, LOCKSTEP_F32, LOCKSTEP_F16, LOCKSTEP_BF16, LOCKSTEP_I64, LOCKSTEP_I32 };
	static const enum lockstep_reduce_op ops[COLL_OPS] = { LOCKSTEP_SUM, LOCKSTEP_AVERAGE, LOCKSTEP_MIN, LOCKSTEP_MAX };
	struct lockstep_err err = { 0 };
	enum coll_answer a = COLL_DONE;
	size_t at = 0;

	made = calloc(c->n_parts, sizeof(struct lockstep_coll *));
	if (!made) {
		snprintf(text, COLL_TEXT, "no memory for %zu operations", c->n_parts);
		return COLL_FAILED;
	}
	for (n_made = 0; !a && n_made < c->n_parts; at += c->parts[n_made++] * coll_dtype_size(c->dtype))
		a = answer(lockstep_coll_init(comm, kinds[c->kind], c->send ? (char *)c->send + at : NULL, c->recv ? (char *)c->recv + at : NULL,
			c->parts[n_made], dtypes[c->dtype], ops[c->op], c->root, &made[n_made], &err), &err, text);
	if (!a)
		snprintf(algorithm, 32, "%s", lockstep_coll_algorithm(made[0]));
	return a;
}

static void unmake(void)
{
	size_t i;

	for (i = 0; i < n_made; i++)
		lockstep_coll_free(made[i]);
	free(made);
	made = NULL;
	n_made = 0;
}

static enum coll_answer operate(struct lockstep_coll *const *coll, size_t n, char *text)
{
	struct lockstep_err err = { 0 };
	lockstep_status st = LOCKSTEP_OK;
	size_t i;

	for (i = 0; !st && i < n; i++)
		st = lockstep_coll_start(coll[i], &err);
	for (i = 0; !st && i < n; i++)
		st = lockstep_coll_wait(coll[i], &err);
	return st ? answer(st, &err, text), COLL_FAILED : COLL_DONE;
}

static enum coll_answer run(char *text)
{
	return operate(made, n_made, text);
}

static enum coll_answer barrier(char *text)
{
	return operate(&everybody, 1, text);
}

static struct coll_library lockstep = { .open = open_comm, .alloc = alloc, .free = free_buffer, .make = make, .run = run, .unmake = unmake,
	.barrier = barrier, .close = close_comm };

int main(int argc, char **argv)
{
	return coll_rank_main(argc, argv, &lockstep);
}
