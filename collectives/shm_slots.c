/* shm_slots.c -- operations on the caller's own buffers, through staging memory that all ranks of the node share.
 *
 * The data goes in pieces, each small enough to stay in a cache, of one part per rank, through three stages:
 *
 *     in      rank r copies the parts that others add up into its staging
 *     out     rank r adds up its part from its own buffer and the others' staging, and stores the sum to recv and to staging
 *     take    rank r copies the others' sums to recv
 *
 *     all-reduce      in, out, take     of S bytes each rank copies (N-1)/N S, stores S/N twice, copies (N-1)/N S
 *     reduce-scatter  in, out
 *     all-gather      out (a copy), take
 *     broadcast       out (the root's), take
 *
 * Piece k of the group's life uses slot k modulo SHM_DEPTH of each rank's staging. Invariants, with the counters of shm.h:
 *     in(k) is written only after all ranks' out(k - DEPTH), which read the slot: this rank has taken k - DEPTH, so it saw them;
 *     out(k) is written only after all ranks' took(k - DEPTH);
 *     a part of recv is written by `take` only after `in` has copied that part of send: they may be one buffer. */
#include "collectives/shm.h"

#include <string.h>

#define PIECE ((size_t)256 << 10) /* of all parts together */

struct slots {
	struct ls_request base;
	uint64_t op;
	uint64_t first;          /* number of piece 0 */
	size_t pieces, piece;    /* how many; elements of one */
	size_t in, out, took;    /* pieces that this rank is through with */
};

size_t ls_shm_part_bytes(int world)
{
	size_t part = PIECE / (size_t)world / 64 * 64;

	return part < 4096 ? 4096 : part;
}

/* Of each rank: DEPTH slots of one part for each rank (its own holds the sum). */
size_t ls_shm_staging_bytes(const struct shm_comm *c)
{
	return SHM_DEPTH * (size_t)c->base.world * c->part_bytes;
}

/* In rank `from`'s staging: the part for rank `to`; from == to: from's sum. */
static char *staging(struct shm_comm *c, int from, int to, uint64_t piece)
{
	size_t world = (size_t)c->base.world;
	size_t begin = world * sizeof(struct shm_rank) + world * SHM_RING * sizeof(struct shm_cell);
	char *mine = c->control + (begin + 4095) / 4096 * 4096 + (size_t)from * (ls_shm_staging_bytes(c) + 4096 + 256);

	return mine + ((piece % SHM_DEPTH) * world + (size_t)to) * c->part_bytes;
}

static ls_status plan(struct ls_request *p, struct ls_err *err)
{
	struct slots *s = (struct slots *)p;
	struct shm_comm *c = shm_of(p->comm);
	size_t elem = ls_dtype_size(p->coll.dtype), world = (size_t)p->comm->world;

	(void)err;
	s->piece = c->part_bytes / elem * (p->coll.kind == LS_ALL_REDUCE ? world : 1);
	s->pieces = p->coll.count / s->piece + (p->coll.count % s->piece != 0);
	return LS_OK;
}

static ls_status start(struct ls_request *p, struct ls_err *err)
{
	struct slots *s = (struct slots *)p;
	struct shm_comm *c = shm_of(p->comm);

	(void)err;
	s->first = c->piece;
	c->piece += s->pieces;
	s->in = s->out = s->took = 0;
	s->op = ++c->op;
	return LS_OK;
}

static size_t length(const struct slots *s, size_t k)
{
	size_t rest = s->base.coll.count - k * s->piece;

	return rest < s->piece ? rest : s->piece;
}

/* Rank r's part of piece k: where it begins in send (of an all-reduce, also in recv), and its elements. Only an all-reduce cuts pieces. */
static size_t part(const struct slots *s, size_t k, int r, size_t *ret_n)
{
	const struct ls_request *p = &s->base;
	size_t len = length(s, k), begin, elem = ls_dtype_size(p->coll.dtype);

	if (p->coll.kind != LS_ALL_REDUCE) {
		*ret_n = len;
		return k * s->piece + (p->coll.kind == LS_REDUCE_SCATTER ? (size_t)r * p->coll.count : 0);
	}
	begin = ls_part_begin(len, r, p->comm->world, elem);
	*ret_n = ls_part_begin(len, r + 1, p->comm->world, elem) - begin;
	return k * s->piece + begin;
}

static void do_in(struct slots *s, size_t k)
{
	struct ls_request *p = &s->base;
	struct shm_comm *c = shm_of(p->comm);
	size_t elem = ls_dtype_size(p->coll.dtype), at, n;
	int i, world = p->comm->world;

	for (i = 1; ls_coll_reduces(&p->coll) && i < world; i++) {
		int r = (p->comm->rank + i) % world;

		at = part(s, k, r, &n);
		ls_copy(staging(c, p->comm->rank, r, s->first + k), (const char *)p->coll.send + at * elem, n * elem, false);
		p->comm->traffic.copied += n * elem;
	}
}

static void do_out(struct slots *s, size_t k)
{
	struct ls_request *p = &s->base;
	struct shm_comm *c = shm_of(p->comm);
	struct ls_reduction red = ls_reduction_of(p);
	size_t elem = ls_dtype_size(p->coll.dtype), n, at = part(s, k, p->comm->rank, &n);
	const char *send = (const char *)p->coll.send + at * elem;
	char *recv = p->coll.recv, *sum = staging(c, p->comm->rank, p->comm->rank, s->first + k);
	int r;

	if (ls_coll_reduces(&p->coll)) {
		bool all = p->coll.kind == LS_ALL_REDUCE;
		void *dst[] = { recv + (all ? at : k * s->piece) * elem, sum };

		for (r = 0; r < p->comm->world; r++)
			c->src[r] = r == p->comm->rank ? send : staging(c, r, p->comm->rank, s->first + k);
		ls_reduce(&red, dst, all ? 2 : 1, c->src, n, false);
		p->comm->traffic.copied += all ? n * elem : 0;
		return;
	}
	if (p->coll.kind == LS_BROADCAST && p->coll.root != p->comm->rank)
		return;
	if (p->coll.kind == LS_ALL_GATHER)
		recv += (size_t)p->comm->rank * p->coll.count * elem;
	ls_copy(sum, send, n * elem, false);
	p->comm->traffic.copied += n * elem;
	if (recv + at * elem != send)
		ls_copy(recv + at * elem, send, n * elem, false);
}

static void take(struct slots *s, size_t k, int r)
{
	struct ls_request *p = &s->base;
	size_t elem = ls_dtype_size(p->coll.dtype), n, at = part(s, k, r, &n);
	char *recv = p->coll.recv;

	if (p->coll.kind == LS_ALL_GATHER)
		recv += (size_t)r * p->coll.count * elem;
	ls_copy(recv + at * elem, staging(shm_of(p->comm), r, r, s->first + k), n * elem, false);
}

static void do_take(struct slots *s, size_t k)
{
	struct ls_request *p = &s->base;
	int i, world = p->comm->world;

	if (p->coll.kind == LS_REDUCE_SCATTER)
		return;
	if (p->coll.kind == LS_BROADCAST) {
		if (p->coll.root != p->comm->rank)
			take(s, k, p->coll.root);
		return;
	}
	for (i = 1; i < world; i++)
		take(s, k, (p->comm->rank + i) % world);
}

/* One stage of one piece, if one is possible. `in` runs ahead of `out`, and `out` of `take`, so that others have time to do theirs. */
static bool advance(struct slots *s)
{
	struct shm_comm *c = shm_of(s->base.comm);
	struct shm_rank *me = &c->ranks[c->base.rank];
	uint64_t first = s->first;

	if (s->in < s->pieces && s->in < s->took + SHM_DEPTH) {
		do_in(s, s->in);
		s->in++;
		ls_shm_tell(c, &me->in, first + s->in);
		return true;
	}
	if (s->out < s->in && SHM_ALL(c, in, first + s->out + 1) &&
		(first + s->out < SHM_DEPTH || SHM_ALL(c, took, first + s->out + 1 - SHM_DEPTH))) {
		do_out(s, s->out);
		s->out++;
		ls_shm_tell(c, &me->out, first + s->out);
		return true;
	}
	if (s->took < s->out && SHM_ALL(c, out, first + s->took + 1)) {
		do_take(s, s->took);
		s->took++;
		ls_shm_tell(c, &me->took, first + s->took);
		return true;
	}
	return false;
}

static ls_status step(struct ls_request *p, bool *ret_moved, bool *ret_done, struct ls_err *err)
{
	struct slots *s = (struct slots *)p;

	(void)err;
	while (s->took < s->pieces && advance(s))
		*ret_moved = true;
	if (s->took == s->pieces) {
		struct shm_comm *c = shm_of(p->comm);

		atomic_store_explicit(&c->ranks[c->base.rank].done, s->op, memory_order_release);
		*ret_done = true;
	}
	return LS_OK;
}

static bool can(const struct ls_request *p)
{
	return p->coll.kind != LS_BARRIER;
}

const struct ls_algorithm ls_shm_slots = {
	.name = "slots",
	.backend = &ls_backend_shm,
	.kinds = 1u << LS_ALL_REDUCE | 1u << LS_REDUCE_SCATTER | 1u << LS_ALL_GATHER | 1u << LS_BROADCAST,
	.can = can,
	.bytes = sizeof(struct slots),
	.plan = plan,
	.start = start,
	.step = step,
};
