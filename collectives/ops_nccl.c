/* ops_nccl.c -- the operations of backend nccl: NCCL's own, in one stream of the group's; many tensors packed into one operation.
 *
 *     the caller's stream   … gradients ─ready┐
 *     the group's stream                      └wait ─begun─ [pack] NCCL [unpack] ─done─ wait for the next one's ready …
 *
 *     queued --its turn: handed to NCCL--> launching --NCCL has put it into the stream--> running --done--> over
 *
 * A call of a non-blocking communicator is put into the stream by a thread of NCCL's: from 2.23 on every call, before that those for which ranks
 * must be connected first. Until that is done, neither may NCCL be called again nor may anything else be put into the stream
 * (https://docs.nvidia.com/deeplearning/nccl/user-guide/docs/api/comms.html#ncclcommgetasyncerror). So operations are handed to it one by one, in
 * the order of their start, by whatever call of ours comes next: not when the one before is done, but as soon as it is in the stream. The
 * GPU goes from one to the next without the host, and only the first need be asked whether it is done. */
#include "collectives/comm_nccl.h"
#include "collectives/driver_cuda.h"
#include "collectives/kernels_cuda.h"
#include "core/io.h"

#include <string.h>

struct nccl_plan {
	struct ls_request base;
	void *ready, *begun, *done;  /* events */
	uint64_t number;             /* of this start, in the group */
	double since_s;
	struct ls_cuda_plan *pack;   /* of parts */
	void *wire;                  /* what they travel as */
};

static struct nccl_plan *plan_of(struct ls_request *p)
{
	return (struct nccl_plan *)p;
}

/* --- memory ---------------------------------------------------------------------------------------------------------- */

/* NCCL's own: where the GPU allows, memory that NCCL can register. */
ls_status ls_nccl_alloc(struct ls_comm *base, size_t bytes, void **ret, struct ls_err *err)
{
	struct nccl_comm *c = nccl_of(base);
	void **grown = realloc(c->blocks, (c->n_blocks + 1) * sizeof(*grown)), *p = NULL;
	ncclResult_t rc;
	ls_status st;

	if (!grown)
		return ls_fail_oom(err);
	c->blocks = grown;
	st = ls_cuda_enter(err); /* NCCL takes the GPU that is the calling thread's */
	if (st)
		return st;
	rc = c->nccl->MemAlloc(&p, bytes ? bytes : 1);
	if (rc) {
		ls_nccl_fail(c->nccl, NULL, rc, "allocating GPU memory", err);
		return ls_fail(err, LS_AGAIN, 0, "no room for %zu MiB in the GPU's memory: %.600s", bytes >> 20, err ? err->text : "");
	}
	c->blocks[c->n_blocks++] = p;
	st = ls_cuda_set(p, 0, bytes, NULL, err); /* the group's stream may be NCCL's alone just now, and an operation in it may wait for others */
	if (!st)
		st = ls_cuda_stream_sync(NULL, err);
	if (st) {
		ls_nccl_free(base, p);
		return st;
	}
	*ret = p;
	return LS_OK;
}

void ls_nccl_free(struct ls_comm *base, void *p)
{
	struct nccl_comm *c = nccl_of(base);
	size_t i;

	for (i = 0; i < c->n_blocks; i++) {
		if (c->blocks[i] == p) {
			c->nccl->MemFree(p);
			c->blocks[i] = c->blocks[--c->n_blocks];
			return;
		}
	}
}

/* --- plans ----------------------------------------------------------------------------------------------------------- */

static ls_status plan_parts(struct nccl_plan *x, struct ls_err *err)
{
	const struct ls_parts *parts = &x->base.parts;
	struct ls_cuda_tensor *t = calloc(parts->n, sizeof(*t));
	ls_status st = t ? LS_OK : ls_fail_oom(err);
	size_t i;

	for (i = 0; !st && i < parts->n; i++)
		t[i] = (struct ls_cuda_tensor){ .at = parts->v[i].at, .count = parts->v[i].count };
	if (!st)
		st = ls_cuda_plan_make(t, parts->n, parts->dtype, x->base.coll.dtype, &x->pack, err);
	if (!st)
		st = ls_nccl_alloc(x->base.comm, ls_cuda_plan_count(x->pack) * ls_dtype_size(x->base.coll.dtype), &x->wire, err);
	free(t);
	return st;
}

static ls_status plan(struct ls_request *p, struct ls_err *err)
{
	struct nccl_plan *x = plan_of(p);
	ls_status st = ls_cuda_event_make(true, &x->ready, err);

	if (!st)
		st = ls_cuda_event_make(true, &x->begun, err);
	if (!st)
		st = ls_cuda_event_make(true, &x->done, err);
	return !st && p->parts.n ? plan_parts(x, err) : st;
}

static void unplan(struct ls_request *p)
{
	struct nccl_plan *x = plan_of(p);

	ls_cuda_event_free(x->ready);
	ls_cuda_event_free(x->begun);
	ls_cuda_event_free(x->done);
	ls_cuda_plan_free(x->pack);
	if (x->wire)
		ls_nccl_free(p->comm, x->wire);
}

/* --- one run --------------------------------------------------------------------------------------------------------- */

static const ncclDataType_t types[] = {
	[LS_F64] = ncclFloat64,
	[LS_F32] = ncclFloat32,
	[LS_F16] = ncclFloat16,
	[LS_BF16] = ncclBfloat16,
	[LS_I64] = ncclInt64,
	[LS_I32] = ncclInt32,
	[LS_U8] = ncclUint8,
};
static const ncclRedOp_t ops[] = { [LS_SUM] = ncclSum, [LS_AVERAGE] = ncclAvg, [LS_MIN] = ncclMin, [LS_MAX] = ncclMax };

/* Packed tensors carry the average's factor already. */
static ncclResult_t call(struct nccl_plan *x)
{
	struct nccl_comm *c = nccl_of(x->base.comm);
	const struct ls_nccl *n = c->nccl;
	const struct ls_coll *coll = &x->base.coll;
	ncclDataType_t type = types[coll->dtype];

	if (x->pack)
		return n->AllReduce(x->wire, x->wire, ls_cuda_plan_count(x->pack), type, ncclSum, c->comm, c->stream);
	switch (coll->kind) {
	case LS_ALL_REDUCE:
		return n->AllReduce(coll->send, coll->recv, coll->count, type, ops[coll->op], c->comm, c->stream);
	case LS_REDUCE_SCATTER:
		return n->ReduceScatter(coll->send, coll->recv, coll->count, type, ops[coll->op], c->comm, c->stream);
	case LS_ALL_GATHER:
		return n->AllGather(coll->send, coll->recv, coll->count, type, c->comm, c->stream);
	case LS_BROADCAST:
		return n->Broadcast(coll->root == c->base.rank ? coll->send : coll->recv, coll->recv, coll->count, type, coll->root, c->comm, c->stream);
	default:
		return n->AllReduce(c->scratch, c->scratch, 1, ncclInt32, ncclSum, c->comm, c->stream);
	}
}

static double factor(const struct ls_request *p)
{
	return p->coll.op == LS_AVERAGE ? 1.0 / p->comm->world : 1.0;
}

static ls_status launch(struct nccl_plan *x, struct ls_err *err)
{
	struct nccl_comm *c = nccl_of(x->base.comm);
	ls_status st = ls_cuda_stream_wait(c->stream, x->ready, err);
	ncclResult_t rc;

	if (!st)
		st = ls_cuda_event_record(x->begun, c->stream, err);
	if (!st && x->pack)
		st = ls_cuda_pack(x->pack, x->wire, factor(&x->base), c->stream, err);
	if (st)
		return ls_nccl_give_up(c, st, err);
	ls_shm_tell(c->shm, &c->shm->ranks[c->shm->base.rank].in, x->number);
	c->launching = x;
	rc = call(x);
	return rc && rc != ncclInProgress ? ls_nccl_broke(c, rc, ls_coll_name(x->base.coll.kind), err) : LS_OK;
}

static ls_status launched(struct nccl_plan *x, struct ls_err *err)
{
	struct nccl_comm *c = nccl_of(x->base.comm);
	ls_status st = x->pack ? ls_cuda_unpack(x->pack, x->wire, 1, c->stream, err) : LS_OK;

	if (!st)
		st = ls_cuda_event_record(x->done, c->stream, err);
	if (st)
		return ls_nccl_give_up(c, st, err);
	c->launched = x->number;
	c->launching = NULL;
	return LS_OK;
}

/* The first that is queued; `x` is not among the active ones yet. */
static struct nccl_plan *next_queued(const struct nccl_comm *c, struct nccl_plan *x)
{
	struct ls_request *p = c->base.first;

	while (p && plan_of(p)->number != c->launched + 1)
		p = p->next;
	return p ? plan_of(p) : x && x->number == c->launched + 1 ? x : NULL;
}

/* Hand over what is due, as far as NCCL takes it. `what`: in which operation an error shows; `x`: one that is being started, or NULL. */
static ls_status feed(struct nccl_comm *c, const char *what, struct nccl_plan *x, struct ls_err *err)
{
	ncclResult_t now, rc;
	struct nccl_plan *next;
	ls_status st;

	for (;;) {
		rc = c->nccl->CommGetAsyncError(c->comm, &now);
		if (!rc)
			rc = now;
		if (rc)
			return rc == ncclInProgress ? LS_OK : ls_nccl_broke(c, rc, what, err);
		st = c->launching ? launched(c->launching, err) : LS_OK;
		next = next_queued(c, x);
		if (!st && next)
			st = launch(next, err);
		if (st || !next)
			return st;
	}
}

static ls_status step(struct ls_request *p, bool *ret_moved, bool *ret_done, struct ls_err *err)
{
	struct nccl_plan *x = plan_of(p);
	struct nccl_comm *c = nccl_of(p->comm);
	const char *what = ls_coll_name(p->coll.kind);
	uint64_t before = c->launched;
	bool done = false;
	ls_status st = feed(c, what, NULL, err);

	if (!st && x->number <= c->launched) {
		st = ls_cuda_event_done(x->done, &done, err);
		if (st)
			return ls_nccl_give_up(c, st, err);
	}
	if (st)
		return st;
	if (!done && ls_clock_s() - x->since_s > c->limit_s)
		return ls_nccl_late(c, what, x->number, err);
	*ret_moved |= done || c->launched != before;
	*ret_done = done;
	return LS_OK;
}

/* What is due is handed over here, too, lest the GPU idle until the next call of ours. */
static ls_status start(struct ls_request *p, struct ls_err *err)
{
	struct nccl_plan *x = plan_of(p);
	struct nccl_comm *c = nccl_of(p->comm);
	ls_status st = ls_cuda_event_record(x->ready, p->comm->stream, err);

	if (st)
		return ls_nccl_give_up(c, st, err);
	x->number = ++c->started;
	x->since_s = ls_clock_s();
	return feed(c, ls_coll_name(p->coll.kind), x, err);
}

static ls_status time_from(struct nccl_plan *x, void *event, double *ret, struct ls_err *err)
{
	if (x->base.active || !x->number)
		return ls_fail(err, LS_USAGE, 0, "%s: its time on the GPU is known after it was waited for", ls_coll_name(x->base.coll.kind));
	return ls_cuda_event_ms(event, x->done, ret, err);
}

ls_status ls_nccl_gpu_ms(struct ls_request *p, double *ret, struct ls_err *err)
{
	return time_from(plan_of(p), plan_of(p)->begun, ret, err);
}

ls_status ls_nccl_gpu_after_ms(struct ls_request *p, double *ret, struct ls_err *err)
{
	return time_from(plan_of(p), plan_of(p)->ready, ret, err);
}

const struct ls_algorithm ls_nccl_library = {
	.name = "library",
	.backend = &ls_backend_nccl,
	.kinds = 1u << LS_ALL_REDUCE | 1u << LS_REDUCE_SCATTER | 1u << LS_ALL_GATHER | 1u << LS_BROADCAST | 1u << LS_BARRIER,
	.bytes = sizeof(struct nccl_plan),
	.plan = plan,
	.start = start,
	.step = step,
	.unplan = unplan,
};
