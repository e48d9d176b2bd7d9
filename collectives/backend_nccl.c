/* backend_nccl.c -- a group of ranks with a GPU each: how it opens, agrees on plans, and closes. Waiting and failing: wait_nccl.c; the
 * operations: ops_nccl.c.
 *
 *     every rank   opens the driver and NCCL, makes a stream; the node's ranks share some memory
 *     all-gather   what each could, and which GPU it has; rank 0's unique id
 *     NCCL         ncclCommInitRankConfig, non-blocking, at most LOCKSTEP_NCCL_TIMEOUT seconds
 *
 * A rank that cannot take part says why in the all-gather, and all return its sentence before NCCL is called: there, a rank that is
 * missing would be waited for. */
#include "collectives/comm_nccl.h"
#include "core/env.h"
#include "core/io.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LIMIT_S 600

/* --- opening --------------------------------------------------------------------------------------------------------- */

static ls_status prepare(struct nccl_comm *c, struct nccl_rank *me, struct ls_err *err)
{
	struct ls_cuda_device gpu = { 0 };
	void *word = NULL;
	int64_t limit;
	ncclResult_t rc;
	ls_status st = ls_env_number("LOCKSTEP_NCCL_TIMEOUT", 1, LIMIT_S, &limit, err);

	if (!st && !strcmp(ls_env_text("NCCL_COMM_BLOCKING", "0"), "1"))
		st = ls_fail(err, LS_USAGE, 0, "NCCL_COMM_BLOCKING=1 would keep Lockstep from noticing that a rank is lost: unset it");

	if (!st)
		st = ls_backend_shm.alloc(&c->shm->base, sizeof(*c->word), &word, err);
	if (!st)
		st = ls_cuda_open(err);
	if (!st)
		st = ls_cuda_device(&gpu, err);
	if (!st)
		st = ls_nccl_open(&c->nccl, err);
	if (!st)
		st = ls_cuda_stream_make(true, &c->stream, err);
	if (!st)
		st = ls_cuda_alloc(256, &c->scratch, err);
	if (st)
		return st;
	c->limit_s = (double)limit;
	c->word = word;
	me->word = ls_shm_offset(c->shm, word, sizeof(*c->word));
	me->nccl = c->nccl->version;
	snprintf(me->busid, sizeof(me->busid), "%s", gpu.busid);
	snprintf(me->uuid, sizeof(me->uuid), "%s", gpu.uuid);
	snprintf(me->gpu, sizeof(me->gpu), "%s", gpu.name);
	rc = c->base.rank == 0 ? c->nccl->GetUniqueId(&me->id) : ncclSuccess;
	return rc ? ls_nccl_fail(c->nccl, NULL, rc, "making the group's id", err) : LS_OK;
}

static ls_status same_version(const struct nccl_comm *c, struct ls_err *err)
{
	char first[24], other[24];
	int r = 1;

	while (r < c->base.world && c->ranks[r].nccl == c->ranks[0].nccl)
		r++;
	if (r == c->base.world)
		return LS_OK;
	ls_nccl_version_text(c->ranks[r].nccl, other, sizeof(other));
	ls_nccl_version_text(c->ranks[0].nccl, first, sizeof(first));
	return ls_fail(err, LS_USAGE, 0, "rank 0 on %s has NCCL %s, rank %d on %s has %s: all need the same one; LOCKSTEP_NCCL_LIB chooses",
		c->ranks[0].host, first, r, c->ranks[r].host, other);
}

/* NCCL would refuse it, too, but names no ranks of ours where the launcher hides each rank's GPU from the others. Instances of one GPU
 * (MIG) have uuids of their own. */
static ls_status own_gpus(const struct nccl_comm *c, struct ls_err *err)
{
	int a, b;

	for (b = 1; b < c->base.world; b++) {
		for (a = 0; a < b; a++) {
			const struct nccl_rank *x = &c->ranks[a], *y = &c->ranks[b];

			if (strcmp(x->uuid, y->uuid) || (x->shares && y->shares && x->nccl >= LS_NCCL_SHARES_GPU))
				continue;
			return ls_fail(err, LS_USAGE, 0,
				"ranks %d and %d on %s have one GPU, %s at %s: give each a GPU of its own (fewer ranks there, or more GPUs visible). To try "
				"things on one GPU, NCCL 2.30 or newer (here: %s) with NCCL_MULTI_RANK_GPU_ENABLE=1 lets them share it",
				a, b, x->host, x->gpu, x->busid, c->nccl->text);
		}
	}
	return LS_OK;
}

/* All could do their part, or all return the first sentence. */
static ls_status meet(struct nccl_comm *c, struct ls_err *err)
{
	const char *shares = ls_env_text("NCCL_MULTI_RANK_GPU_ENABLE", "0");
	struct nccl_rank me;
	ls_status st;
	int r;

	memset(&me, 0, sizeof(me));
	me.shares = !strcmp(shares, "1");
	if (gethostname(me.host, sizeof(me.host) - 1) < 0)
		snprintf(me.host, sizeof(me.host), "unknown host");
	me.status = prepare(c, &me, err);
	if (me.status)
		snprintf(me.why, sizeof(me.why), "%.*s", (int)sizeof(me.why) - 1, err ? err->text : "");
	st = c->boot.allgather(c->boot.ctx, &me, c->ranks, sizeof(me), err);
	for (r = 0; !st && r < c->base.world; r++)
		if (c->ranks[r].status)
			st = ls_fail(err, (ls_status)c->ranks[r].status, 0, "rank %d on %s: %.*s", r, c->ranks[r].host,
				(int)sizeof(me.why), c->ranks[r].why);
	if (!st)
		st = same_version(c, err);
	return st ? st : own_gpus(c, err);
}

/* Until NCCL has done what it was asked, if it did not at once. */
static ls_status settle(struct nccl_comm *c, ncclResult_t rc, const char *what, struct ls_err *err)
{
	double end = ls_clock_s() + c->limit_s;
	struct ls_pause w = { 0 };
	ncclResult_t now;
	ls_status st;

	while (rc == ncclInProgress) {
		if (ls_clock_s() > end)
			return ls_nccl_late(c, what, 0, err);
		st = ls_nccl_pause(&c->base, &w, err);
		if (st)
			return st;
		rc = c->nccl->CommGetAsyncError(c->comm, &now);
		if (!rc)
			rc = now;
	}
	return rc ? ls_nccl_broke(c, rc, what, err) : LS_OK;
}

static ls_status init(struct nccl_comm *c, struct ls_err *err)
{
	ncclConfig_t config = NCCL_CONFIG_INITIALIZER;

	config.blocking = 0;
	return settle(c, c->nccl->CommInitRankConfig(&c->comm, c->base.world, c->ranks[0].id, c->base.rank, &config), "opening the group", err);
}

/* Not orderly: memory and streams are left to the end of the process, for freeing them waits for the GPU. */
static void release_gpu(struct nccl_comm *c)
{
	while (c->n_blocks)
		ls_nccl_free(&c->base, c->blocks[c->n_blocks - 1]);
	ls_cuda_free(c->scratch);
	ls_cuda_stream_free(c->stream);
}

/* Who leaves while another still waits in an operation would count as lost: all meet before. */
static bool finish(struct nccl_comm *c)
{
	char mine = 0, *all = malloc((size_t)c->shm->base.world);
	bool ok = all && !settle(c, c->nccl->CommFinalize(c->comm), "closing the group", NULL);

	if (ok) {
		c->nccl->CommDestroy(c->comm);
		c->comm = NULL;
		ok = !ls_shm_gather(c->shm, &mine, all, 1, NULL);
	}
	free(all);
	return ok;
}

static void close_comm(struct ls_comm *base, bool orderly)
{
	struct nccl_comm *c = nccl_of(base);

	if (orderly && c->comm && finish(c))
		release_gpu(c);
	ls_nccl_abort(c);
	if (c->shm)
		ls_shm_close(&c->shm->base, orderly);
	free(c->blocks);
	free(c->ranks);
	free(c->records);
	free(c);
}

static ls_status open_comm(const struct ls_comm_options *opt, struct ls_comm *under, struct ls_comm **ret, struct ls_err *err)
{
	struct nccl_comm *c = calloc(1, sizeof(*c));
	size_t world = (size_t)opt->bootstrap->world;
	ls_status st;

	if (!c)
		return ls_fail_oom(err);
	c->base.backend = &ls_backend_nccl;
	c->boot = *opt->bootstrap;
	c->ranks = calloc(world, sizeof(*c->ranks));
	c->records = calloc(world, sizeof(*c->records));
	st = c->ranks && c->records ? LS_OK : ls_fail_oom(err);
	if (!st)
		st = ls_nodes_learn(&c->boot, opt->group, &c->base, err);
	if (!st)
		st = ls_shm_open_node(opt, &c->base, &c->shm, err);
	if (!st)
		st = meet(c, err);
	if (!st)
		st = init(c, err);
	if (st) {
		close_comm(&c->base, false);
		return st;
	}
	snprintf(c->base.library, sizeof(c->base.library), "NCCL %s", c->nccl->text);
	c->base.under = under;
	*ret = &c->base;
	return LS_OK;
}

/* --- plans ----------------------------------------------------------------------------------------------------------- */

static bool on_gpu(const void *p, size_t bytes)
{
	return !bytes || ls_cuda_holds(p);
}

/* Every buffer of this rank is in GPU memory. */
static bool buffers_on_gpu(const struct ls_request *p)
{
	const struct ls_coll *coll = &p->coll;
	size_t i;

	for (i = 0; i < p->parts.n; i++)
		if (!on_gpu(p->parts.v[i].at, p->parts.v[i].count))
			return false;
	if (p->parts.n)
		return true;
	return on_gpu(coll->recv, ls_coll_recv_bytes(coll, p->comm->world)) &&
	       ((coll->kind == LS_BROADCAST && coll->root != p->comm->rank) || on_gpu(coll->send, ls_coll_send_bytes(coll, p->comm->world)));
}

static ls_status node_gather(void *ctx, const void *mine, void *ret_all, size_t bytes, struct ls_err *err)
{
	return ls_shm_gather(ctx, mine, ret_all, bytes, err);
}

/* NCCL compares nothing: ranks that plan different operations would hang, or add what does not belong together. */
static ls_status agree(struct ls_request *p, struct ls_err *err)
{
	struct nccl_comm *c = nccl_of(p->comm);
	struct ls_bootstrap node = { c->base.rank, c->base.world, node_gather, c->shm }, *b = c->base.nodes == 1 ? &node : &c->boot;
	char mine = !buffers_on_gpu(p), *all = malloc((size_t)c->base.world);
	bool zero_copy;
	ls_status st = all ? ls_shm_agree(c->shm, b, &p->coll, c->records, &zero_copy, err) : ls_fail_oom(err);
	int r;

	if (!st)
		st = b->allgather(b->ctx, &mine, all, 1, err);
	for (r = 0; !st && r < c->base.world; r++)
		if (all[r])
			st = ls_fail(err, LS_USAGE, 0, "rank %d's buffers of this %s are not in GPU memory, where backend nccl works: lockstep_comm_alloc and "
				"CUDA's own functions give some; LOCKSTEP_BACKEND=auto is for host memory", r, ls_coll_name(p->coll.kind));
	free(all);
	return st;
}

const struct ls_backend ls_backend_nccl = {
	.name = "nccl",
	.on_gpu = true,
	.open = open_comm,
	.close = close_comm,
	.alloc = ls_nccl_alloc,
	.free = ls_nccl_free,
	.agree = agree,
	.pause = ls_nccl_pause,
	.gpu_ms = ls_nccl_gpu_ms,
	.gpu_after_ms = ls_nccl_gpu_after_ms,
	.in_order = true,
};
