/* hier_mpi.c -- every operation on several nodes of several ranks, on rails: local rank i of each node carries slice i of the data.
 *
 *     1  the ranks of a node say that their buffers are ready              cells' `ready`
 *     2  rail i reads slice i of all of them, in place; adds up groups; sends, receives, reduces as rail_mpi.c says
 *     3  rail i stores slice i of the result to all the node's ranks      cells' `done`
 *
 * So S bytes cross the network once per node, as for one rank per node, and through as many pairs of ranks as a node has. Buffers that are
 * not the library's are copied to, and the results from, shared memory, segment by segment while the rails carry others.
 *
 * Counters count segments since the plan was made; only their owner writes them. A rank is done when all rails of its node are: nobody
 * reads or writes its buffers any more.
 * A barrier is the sum of one number of each. */
#include "collectives/hier_mpi.h"

#include <string.h>

#define EXCHANGE_BYTES ((size_t)64 << 10) /* from all other nodes together, at most */

struct rails {
	struct ls_request base;
	struct ls_rail rail;
	struct ls_coll coll;     /* what is carried */
	struct hier_cell *cell;       /* this rank's, in its arena */
	char *staging;           /* NULL: zero-copy */
	struct hier_cell **cells;     /* of the ranks of this node */
	const char **send;
	char **recv;
	uint64_t starts, before; /* segments of the starts before this one */
	size_t in, out;          /* segments copied to staging, and from it */
};

static struct hier_comm *hier_of(const struct rails *r)
{
	return (struct hier_comm *)r->base.comm;
}

/* --- plans ----------------------------------------------------------------------------------------------------------- */

static size_t staging_bytes(const struct rails *r)
{
	size_t send = ls_coll_send_bytes(&r->coll, r->base.comm->world), recv = ls_coll_recv_bytes(&r->coll, r->base.comm->world);

	return send > recv ? send : recv;
}

/* In staging every operation is in place. */
static void point(struct rails *r, int local, const int64_t *at)
{
	struct hier_comm *h = hier_of(r);
	int rank = h->here[local];
	size_t own = (size_t)rank * r->coll.count * ls_dtype_size(r->coll.dtype);
	char *staging;

	r->cells[local] = ls_shm_at(h->shm, local, at[0]);
	if (r->base.coll.kind == LS_BARRIER) {
		r->send[local] = r->recv[local] = (char *)&r->cells[local]->nothing;
	} else if (r->base.zero_copy) {
		r->send[local] = ls_shm_at(h->shm, local, h->records[rank].send);
		r->recv[local] = ls_shm_at(h->shm, local, h->records[rank].recv);
	} else {
		staging = ls_shm_at(h->shm, local, at[1]);
		r->send[local] = staging + (r->coll.kind == LS_ALL_GATHER ? own : 0);
		r->recv[local] = staging + (r->coll.kind == LS_REDUCE_SCATTER ? own : 0);
	}
}

static ls_status get_cell(struct hier_comm *h, struct hier_cell **ret, struct ls_err *err)
{
	void *fresh;
	ls_status st;

	if (h->spare) {
		*ret = h->spare;
		h->spare = (*ret)->next;
		memset(*ret, 0, sizeof(**ret));
		return LS_OK;
	}
	st = ls_backend_shm.alloc(&h->shm->base, sizeof(**ret), &fresh, err);
	if (!st)
		*ret = fresh;
	return st;
}

static void put_cell(struct hier_comm *h, struct hier_cell *cell)
{
	cell->next = h->spare;
	h->spare = cell;
}

/* A rank that has no memory says so, and all of the node fail alike. */
static ls_status share(struct rails *r, struct ls_err *err)
{
	struct hier_comm *h = hier_of(r);
	struct ls_comm *shm = &h->shm->base;
	int64_t mine[2] = { -1, -1 }, (*all)[2] = malloc((size_t)shm->world * sizeof(*all));
	void *staging = NULL;
	ls_status st = all ? get_cell(h, &r->cell, err) : ls_fail_oom(err), told;
	int l;

	if (!st && !r->base.zero_copy)
		st = ls_backend_shm.alloc(shm, staging_bytes(r), &staging, err);
	r->staging = staging;
	if (!all)
		return st; /* the others wait; the launcher ends them */
	if (!st) {
		mine[0] = ls_shm_offset(h->shm, r->cell, sizeof(struct hier_cell));
		mine[1] = staging ? ls_shm_offset(h->shm, staging, 0) : 0;
	}
	told = ls_shm_gather(h->shm, mine, all, sizeof(mine), err);
	for (l = 0; !st && !told && l < shm->world; l++) {
		if (all[l][0] < 0)
			told = ls_fail(err, LS_AGAIN, 0, "rank %d has no room for this operation in the memory that it shares", h->here[l]);
		else
			point(r, l, all[l]);
	}
	free(all);
	return st ? st : told;
}

/* The same on all ranks, whatever their node. */
static void choose(struct rails *r)
{
	const struct ls_comm *c = r->base.comm;
	size_t bytes, addends = (size_t)((hier_of(r)->most + c->group - 1) / c->group);

	r->coll = r->base.coll;
	if (r->coll.kind == LS_BARRIER)
		r->coll = (struct ls_coll){ .kind = LS_ALL_REDUCE, .dtype = LS_I32, .op = LS_MAX, .count = 1 };
	bytes = r->coll.count * ls_dtype_size(r->coll.dtype) * (size_t)(c->nodes - 1);
	if (r->coll.kind == LS_ALL_REDUCE)
		r->rail.exchange = bytes * addends <= EXCHANGE_BYTES;
	else if (r->coll.kind == LS_BROADCAST)
		r->rail.exchange = c->nodes <= 2 || bytes <= EXCHANGE_BYTES;
}

static ls_status plan(struct ls_request *p, struct ls_err *err)
{
	struct rails *r = (struct rails *)p;
	struct hier_comm *h = hier_of(r);
	size_t n = (size_t)p->comm->local_world;
	ls_status st;

	choose(r);
	r->cells = calloc(n, sizeof(*r->cells));
	r->send = calloc(n, sizeof(*r->send));
	r->recv = calloc(n, sizeof(*r->recv));
	if (!r->cells || !r->send || !r->recv)
		return ls_fail_oom(err);
	st = share(r, err);
	if (st)
		return st;
	r->rail = (struct ls_rail){ .mpi = h->mpi, .traffic = &p->comm->traffic, .coll = &r->coll, .exchange = r->rail.exchange,
		.rail = p->comm->local_rank, .rails = h->rails, .node = p->comm->node, .nodes = p->comm->nodes, .world = p->comm->world,
		.group = p->comm->group, .rank_node = h->node, .rank_local = h->local, .send = r->send, .recv = r->recv };
	return ls_rail_open(&r->rail, err);
}

static void unplan(struct ls_request *p)
{
	struct rails *r = (struct rails *)p;
	struct ls_comm *shm = &hier_of(r)->shm->base;

	if (r->rail.mpi)
		ls_rail_close(&r->rail);
	if (r->staging)
		ls_backend_shm.free(shm, r->staging);
	if (r->cell)
		put_cell(hier_of(r), r->cell);
	free(r->cells);
	free(r->send);
	free(r->recv);
}

/* --- steps ----------------------------------------------------------------------------------------------------------- */

/* What this rank has, or gets, of a segment: `move` for each piece of it. An operation in which that is only a block of its own has
 * offsets in that block. */
static void each_piece(struct rails *r, size_t k, bool own_block, void (*move)(struct rails *, size_t at, size_t bytes))
{
	const struct ls_rail *rail = &r->rail;
	size_t elem = ls_dtype_size(r->coll.dtype), big, small, n;
	int i, node, local;

	for (node = 0; node < rail->nodes; node++) {
		if ((rail->exchange || own_block) && node != rail->node)
			continue;
		for (i = 0; i < rail->rails; i++)
			if (ls_rail_part(rail, k, i, node, &big, &small, &local, &n) && !(own_block && local != rail->rail))
				move(r, (own_block ? small : big) * elem, n * elem);
	}
}

static void bring(struct rails *r, size_t at, size_t bytes)
{
	ls_copy((char *)r->send[r->rail.rail] + at, (const char *)r->base.coll.send + at, bytes, false);
	r->base.comm->traffic.copied += bytes;
}

static void take(struct rails *r, size_t at, size_t bytes)
{
	ls_copy((char *)r->base.coll.recv + at, r->recv[r->rail.rail] + at, bytes, false);
}

static void bring_segment(struct rails *r)
{
	if (r->coll.kind != LS_BROADCAST || r->coll.root == r->base.comm->rank)
		each_piece(r, r->in, r->coll.kind == LS_ALL_GATHER, bring);
	r->in++;
	ls_shm_tell(hier_of(r)->shm, &r->cell->ready, r->before + r->in);
}

/* How far the first n ranks of this node are, in segments of this start; the least. */
static size_t least(const struct rails *r, int n, size_t offset)
{
	unsigned long long all = r->before + r->rail.segments, v;
	int l;

	for (l = 0; l < n; l++) {
		v = atomic_load_explicit((atomic_ullong *)((char *)r->cells[l] + offset), memory_order_acquire);
		all = v < all ? v : all;
	}
	return (size_t)(all - r->before);
}

static ls_status carry(struct rails *r, bool *ret_moved, struct ls_err *err)
{
	size_t before = r->rail.done;
	ls_status st;

	r->rail.ready = least(r, r->base.comm->local_world, offsetof(struct hier_cell, ready));
	st = ls_rail_step(&r->rail, ret_moved, err);
	if (!st && r->rail.done > before)
		ls_shm_tell(hier_of(r)->shm, &r->cell->done, r->before + r->rail.done);
	return st;
}

static ls_status step(struct ls_request *p, bool *ret_moved, bool *ret_done, struct ls_err *err)
{
	struct rails *r = (struct rails *)p;
	size_t done;
	ls_status st = LS_OK;

	if (r->in < r->rail.segments) {
		bring_segment(r);
		*ret_moved = true;
	}
	if (r->rail.rail < r->rail.rails)
		st = carry(r, ret_moved, err);
	if (st)
		return st;
	done = least(r, r->rail.rails, offsetof(struct hier_cell, done));
	if (r->out < done) {
		if (r->staging && !(r->coll.kind == LS_BROADCAST && r->coll.root == r->base.comm->rank && r->base.coll.send == r->base.coll.recv))
			each_piece(r, r->out, r->coll.kind == LS_REDUCE_SCATTER, take);
		r->out = r->staging ? r->out + 1 : done;
		*ret_moved = true;
	}
	*ret_done = r->out == r->rail.segments;
	return LS_OK;
}

static ls_status start(struct ls_request *p, struct ls_err *err)
{
	struct rails *r = (struct rails *)p;
	bool moved, done;

	r->before = r->starts++ * r->rail.segments;
	r->in = r->staging ? 0 : r->rail.segments;
	r->out = 0;
	ls_rail_start(&r->rail);
	if (!r->staging)
		ls_shm_tell(hier_of(r)->shm, &r->cell->ready, r->before + r->in);
	return step(p, &moved, &done, err);
}

const struct ls_algorithm ls_hier_rails = {
	.name = "rails",
	.backend = &ls_backend_hier,
	.kinds = (1u << LS_COLL_KINDS) - 1,
	.bytes = sizeof(struct rails),
	.plan = plan,
	.start = start,
	.step = step,
	.unplan = unplan,
};
