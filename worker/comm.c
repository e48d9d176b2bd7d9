/* comm.c -- collectives.h: the groups and plans of collectives/ for programs and bindings, with statuses turned into the caller's. */
#include "lockstep/collectives.h"
#include "worker/rank.h"

#include <stdio.h>
#include <stdlib.h>

/* The enums are the same numbers: a caller's value is checked where it is used. */
_Static_assert((int)LOCKSTEP_BARRIER == (int)LS_BARRIER && (int)LOCKSTEP_MAX == (int)LS_MAX && (int)LOCKSTEP_U8 == (int)LS_U8,
	"the public enums are those of collectives/");

struct lockstep_comm {
	struct ls_comm *comm;
	lockstep_allgather_fn allgather;
	void *ctx;
};

lockstep_status ls_status_public(ls_status st)
{
	static const lockstep_status table[] = {
		[LS_OK] = LOCKSTEP_OK,
		[LS_USAGE] = LOCKSTEP_USAGE,
		[LS_AGAIN] = LOCKSTEP_AGAIN,
		[LS_NOT_FOUND] = LOCKSTEP_JOB_LOST,
		[LS_EXISTS] = LOCKSTEP_JOB_LOST,
		[LS_DATA_BAD] = LOCKSTEP_DATA_BAD,
		[LS_RANK_LOST] = LOCKSTEP_RANK_LOST,
		[LS_NODE_LOST] = LOCKSTEP_RANK_LOST,
		[LS_JOB_LOST] = LOCKSTEP_JOB_LOST,
	};

	return table[st];
}

static lockstep_status give(ls_status st, const struct ls_err *e, struct lockstep_err *err)
{
	if (st && err) {
		err->rank = e->rank;
		snprintf(err->text, sizeof(err->text), "%s", e->text);
	}
	return ls_status_public(st);
}

static ls_status allgather(void *ctx, const void *mine, void *ret_all, size_t bytes, struct ls_err *err)
{
	struct lockstep_comm *c = ctx;

	return c->allgather(c->ctx, mine, ret_all, bytes) ? ls_fail(err, LS_RANK_LOST, 0, "the program's own all-gather failed") : LS_OK;
}

static ls_status open_comm(const struct lockstep_comm_options *opt, struct lockstep_comm *c, struct ls_err *err)
{
	struct ls_comm_options o = { .backend = opt->backend, .algorithm = opt->algorithm,
		.progress = opt->progress_thread ? LS_PROGRESS_THREAD : LS_PROGRESS_CALLS };
	struct ls_bootstrap b = { opt->rank, opt->world, allgather, c };
	ls_status st = ls_comm_settings(&o, err);

	if (st)
		return st;
	if (opt->allgather) {
		if (opt->world < 1 || opt->rank < 0 || opt->rank >= opt->world)
			return ls_fail(err, LS_USAGE, 0, "options: rank %d of a world of %d", opt->rank, opt->world);
		c->allgather = opt->allgather;
		c->ctx = opt->ctx;
		o.bootstrap = &b;
	}
	return ls_comm_open(&o, &c->comm, err);
}

lockstep_status lockstep_comm_open(const struct lockstep_comm_options *opt, struct lockstep_comm **ret, struct lockstep_err *err)
{
	struct lockstep_comm *c = calloc(1, sizeof(*c));
	struct ls_err e = LS_ERR_INIT;
	ls_status st = c ? open_comm(opt, c, &e) : ls_fail_oom(&e);

	if (st) {
		free(c);
		return give(st, &e, err);
	}
	*ret = c;
	return LOCKSTEP_OK;
}

void lockstep_comm_close(struct lockstep_comm *comm, int orderly)
{
	if (!comm)
		return;
	ls_comm_close(comm->comm, orderly);
	free(comm);
}

int lockstep_comm_rank(const struct lockstep_comm *comm)
{
	return comm->comm->rank;
}

int lockstep_comm_world_size(const struct lockstep_comm *comm)
{
	return comm->comm->world;
}

int lockstep_comm_local_rank(const struct lockstep_comm *comm)
{
	return comm->comm->local_rank;
}

const char *lockstep_comm_backend(const struct lockstep_comm *comm)
{
	return comm->comm->backend->name;
}

lockstep_status lockstep_comm_alloc(struct lockstep_comm *comm, size_t bytes, void **ret, struct lockstep_err *err)
{
	struct ls_err e = LS_ERR_INIT;

	return give(ls_comm_alloc(comm->comm, bytes, ret, &e), &e, err);
}

void lockstep_comm_free(struct lockstep_comm *comm, void *p)
{
	ls_comm_free(comm->comm, p);
}

void lockstep_comm_stream(struct lockstep_comm *comm, void *stream)
{
	comm->comm->stream = stream;
}

/* A lockstep_coll is an ls_request: the struct has no public content. */
lockstep_status lockstep_coll_init(struct lockstep_comm *comm, enum lockstep_coll_kind kind, const void *send, void *recv, size_t count,
	enum lockstep_dtype dtype, enum lockstep_reduce_op op, int root, struct lockstep_coll **ret, struct lockstep_err *err)
{
	struct ls_coll coll = { (enum ls_coll_kind)kind, (enum ls_dtype)dtype, (enum ls_reduce_op)op, root, count, send, recv };
	struct ls_err e = LS_ERR_INIT;
	struct ls_request *p = NULL;
	ls_status st = ls_request_make(comm->comm, &coll, &p, &e);

	if (!st)
		*ret = (struct lockstep_coll *)p;
	return give(st, &e, err);
}

lockstep_status lockstep_coll_start(struct lockstep_coll *coll, struct lockstep_err *err)
{
	struct ls_err e = LS_ERR_INIT;

	return give(ls_request_start((struct ls_request *)coll, &e), &e, err);
}

lockstep_status lockstep_coll_test(struct lockstep_coll *coll, int *ret_done, struct lockstep_err *err)
{
	struct ls_err e = LS_ERR_INIT;
	bool done = false;
	ls_status st = ls_request_test((struct ls_request *)coll, &done, &e);

	if (!st)
		*ret_done = done;
	return give(st, &e, err);
}

lockstep_status lockstep_coll_wait(struct lockstep_coll *coll, struct lockstep_err *err)
{
	struct ls_err e = LS_ERR_INIT;

	return give(ls_request_wait((struct ls_request *)coll, &e), &e, err);
}

void lockstep_coll_free(struct lockstep_coll *coll)
{
	ls_request_free((struct ls_request *)coll);
}

lockstep_status lockstep_coll_gpu_ms(struct lockstep_coll *coll, double *ret, struct lockstep_err *err)
{
	struct ls_err e = LS_ERR_INIT;

	return give(ls_request_gpu_ms((struct ls_request *)coll, ret, &e), &e, err);
}

const char *lockstep_coll_algorithm(const struct lockstep_coll *coll)
{
	return ((const struct ls_request *)coll)->algorithm->name;
}
