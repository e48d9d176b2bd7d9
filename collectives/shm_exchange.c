/* shm_exchange.c -- small operations: every rank puts what it sends into its next cell, everybody reads all cells and does all
 * of the work itself.
 *
 * 1 step; each rank copies its bytes once into memory that the others read. A cell is written anew only when all ranks are done with the
 * operation that used it, SHM_RING operations ago: `done` is told without a fence, for nobody waits for it but a rank that is far ahead,
 * and who oversleeps it looks again a millisecond later. */
#include "collectives/shm.h"

#include <string.h>

struct exchange {
	struct ls_request base;
	uint64_t op;
	bool sent;
};

struct shm_cell *ls_shm_cell(struct shm_comm *c, int rank, uint64_t op)
{
	struct shm_cell *cells = (struct shm_cell *)(c->control + (size_t)c->base.world * sizeof(struct shm_rank));

	return &cells[(size_t)rank * SHM_RING + op % SHM_RING];
}

/* Is the cell of operation `op` free? Not as long as this rank itself has to read it: others may be done with it long before. */
static bool cell_free(struct shm_comm *c, uint64_t op)
{
	int r;

	if (op <= c->seen_done + SHM_RING)
		return true;
	c->seen_done = op;
	for (r = 0; r < c->base.world; r++) {
		uint64_t done = atomic_load_explicit(&c->ranks[r].done, memory_order_acquire);

		if (done < c->seen_done)
			c->seen_done = done;
	}
	return op <= c->seen_done + SHM_RING;
}

static bool put(struct shm_comm *c, uint64_t op, const void *data, size_t bytes)
{
	struct shm_cell *cell;

	if (!cell_free(c, op))
		return false;
	cell = ls_shm_cell(c, c->base.rank, op);
	if (bytes)
		memcpy(bytes <= sizeof(cell->small) ? cell->small : cell->large, data, bytes);
	ls_shm_tell(c, &cell->seq, op);
	c->base.traffic.copied += bytes;
	return true;
}

static const void *got(struct shm_comm *c, int rank, uint64_t op, size_t bytes)
{
	struct shm_cell *cell = ls_shm_cell(c, rank, op);

	return bytes <= sizeof(cell->small) ? cell->small : cell->large;
}

static bool all_there(struct shm_comm *c, uint64_t op)
{
	int r;

	for (r = 0; r < c->base.world; r++)
		if (atomic_load_explicit(&ls_shm_cell(c, r, op)->seq, memory_order_acquire) != op)
			return false;
	return true;
}

static void finish(struct shm_comm *c, uint64_t op)
{
	atomic_store_explicit(&c->ranks[c->base.rank].done, op, memory_order_release);
	__builtin_prefetch(ls_shm_cell(c, c->base.rank, op + 1), 1);
}

ls_status ls_shm_gather(struct shm_comm *c, const void *mine, void *ret_all, size_t bytes, struct ls_err *err)
{
	uint64_t op = ++c->op;
	struct ls_pause w = { 0 };
	ls_status st = LS_OK;
	bool sent = false;
	int r;

	while (!st && !((sent = sent || put(c, op, mine, bytes)) && all_there(c, op)))
		st = ls_shm_pause(&c->base, &w, err);
	ls_shm_resume(&c->base, &w);
	if (st)
		return st;
	for (r = 0; r < c->base.world; r++)
		memcpy((char *)ret_all + (size_t)r * bytes, got(c, r, op, bytes), bytes);
	finish(c, op);
	return LS_OK;
}

/* --- the algorithm --------------------------------------------------------------------------------------------------- */

static size_t payload(const struct ls_request *p)
{
	if (p->coll.kind == LS_BROADCAST && p->coll.root != p->comm->rank)
		return 0;
	return ls_coll_send_bytes(&p->coll, p->comm->world);
}

static bool can(const struct ls_request *p)
{
	return ls_coll_send_bytes(&p->coll, p->comm->world) <= SHM_CELL_BYTES;
}

/* Beyond these, measured with 2 ranks, the others' two steps cost less than everybody's reading of everything. */
static bool fits(const struct ls_request *p)
{
	size_t bytes = ls_coll_send_bytes(&p->coll, p->comm->world), limit = p->zero_copy ? (size_t)2 << 10 : (size_t)8 << 10;

	return bytes <= 56 || (can(p) && bytes * (size_t)(p->comm->world - 1) <= limit);
}

static ls_status start(struct ls_request *p, struct ls_err *err)
{
	struct exchange *x = (struct exchange *)p;
	struct shm_comm *c = shm_of(p->comm);

	(void)err;
	x->op = ++c->op;
	x->sent = put(c, x->op, p->coll.send, payload(p));
	return LS_OK;
}

static void reduce(struct exchange *x, size_t at_bytes)
{
	struct ls_request *p = &x->base;
	struct shm_comm *c = shm_of(p->comm);
	struct ls_reduction red = ls_reduction_of(p);
	size_t bytes = payload(p);
	int r;

	for (r = 0; r < p->comm->world; r++)
		c->src[r] = (r == p->comm->rank ? (const char *)p->coll.send : (const char *)got(c, r, x->op, bytes)) + at_bytes;
	ls_reduce(&red, &p->coll.recv, 1, c->src, p->coll.count, false);
}

static void gather(struct exchange *x)
{
	struct ls_request *p = &x->base;
	size_t bytes = payload(p);
	int r;

	for (r = 0; r < p->comm->world; r++) {
		char *to = (char *)p->coll.recv + (size_t)r * bytes;

		if (r != p->comm->rank)
			memcpy(to, got(shm_of(p->comm), r, x->op, bytes), bytes);
		else if (to != p->coll.send)
			memcpy(to, p->coll.send, bytes);
	}
}

static void broadcast(struct exchange *x)
{
	struct ls_request *p = &x->base;
	size_t bytes = ls_coll_recv_bytes(&p->coll, p->comm->world);

	if (p->coll.root != p->comm->rank)
		memcpy(p->coll.recv, got(shm_of(p->comm), p->coll.root, x->op, bytes), bytes);
	else if (p->coll.recv != p->coll.send)
		memcpy(p->coll.recv, p->coll.send, bytes);
}

static ls_status step(struct ls_request *p, bool *ret_moved, bool *ret_done, struct ls_err *err)
{
	struct exchange *x = (struct exchange *)p;
	struct shm_comm *c = shm_of(p->comm);

	(void)err;
	if (!x->sent) {
		x->sent = put(c, x->op, p->coll.send, payload(p));
		if (!x->sent)
			return LS_OK;
		*ret_moved = true;
	}
	if (!all_there(c, x->op))
		return LS_OK;
	if (p->coll.count && p->coll.kind == LS_ALL_REDUCE)
		reduce(x, 0);
	else if (p->coll.count && p->coll.kind == LS_REDUCE_SCATTER)
		reduce(x, (size_t)p->comm->rank * p->coll.count * ls_dtype_size(p->coll.dtype));
	else if (p->coll.count && p->coll.kind == LS_ALL_GATHER)
		gather(x);
	else if (p->coll.count && p->coll.kind == LS_BROADCAST)
		broadcast(x);
	finish(c, x->op);
	*ret_done = true;
	return LS_OK;
}

const struct ls_algorithm ls_shm_exchange = {
	.name = "exchange",
	.backend = &ls_backend_shm,
	.kinds = 1u << LS_ALL_REDUCE | 1u << LS_REDUCE_SCATTER | 1u << LS_ALL_GATHER | 1u << LS_BROADCAST | 1u << LS_BARRIER,
	.fits = fits,
	.can = can,
	.limit = "more bytes than a cell holds (16 KiB)",
	.bytes = sizeof(struct exchange),
	.start = start,
	.step = step,
};
