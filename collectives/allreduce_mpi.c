/* allreduce_mpi.c -- a deterministic all-reduce of point-to-point messages.
 *
 * The buffer is cut into segments, a few of which are in flight at once, each in its own slot of scratch memory. A
 * segment of S bytes on N ranks goes one of two ways:
 *
 *     exchange    every rank sends the whole segment to every other and sums all N by itself.
 *                 1 step, (N-1) S bytes sent by each rank.   For little data: at most 64 KiB from all peers.
 *     owners      each rank owns 1/N of the segment, gets the others' values of it, sums, and sends the sum to
 *                 everybody: a direct reduce-scatter, then a direct all-gather.
 *                 2 steps, 2 (N-1)/N S bytes sent by each rank, the least that any algorithm sends.
 *
 *     slot:  FREE --post_scatter--> SCATTER --all arrived and sent: sum--> FREE             (exchange)
 *                                           `-- post_gather--> GATHER --all there--> FREE   (owners)
 *
 * The limits were measured between two ranks of one host, where a larger part or more slots gained nothing.
 *
 * Why not MPI_Allreduce: its order of additions depends on version, message size and world size, and so would the
 * loss curve.
 *
 * Invariant: sum.c adds in rank order, whichever way a segment goes; a segment's own part of `buf` is written only
 * when every message that reads it has left. Segment k always goes through slot k modulo SLOTS, on every rank: slots
 * then advance in any order, for their messages differ in tag, and within one slot MPI's order of matching suffices.
 *
 * Not here: topology. A hierarchical all-reduce is another backend's. */
#include "collectives/comm_mpi.h"
#include "collectives/sum.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define SLOTS 2
#define PART_BYTES ((size_t)512 << 10)    /* what one rank sums of a segment, at most */
#define EXCHANGE_BYTES ((size_t)64 << 10) /* from all peers together, at most: latency counts, not bytes */

enum phase { FREE, SCATTER, GATHER };

struct slot {
	enum phase phase;
	size_t at, count;    /* the segment, in elements */
	size_t next;         /* where this slot's next segment begins; the buffer's end: none */
	char *scratch;       /* one part of PART_BYTES per peer, in rank order without our own */
	MPI_Request *req;
	int n_req;
};

struct mpi_reduce {
	struct ls_reduce base;
	char *buf;
	size_t count, elem, segment; /* elements; bytes of one; elements of a segment */
	enum ls_dtype dtype;
	double scale;
	bool exchange;
	int tag;             /* of slot 0's scatter; two per slot */
	int slots;
	struct slot slot[SLOTS];
	const void **src;    /* scratch of sum(): one source per rank */
};

/* Rank r's part of a segment: elements [begin, end) from the segment's start. No part is longer than part_max(),
 * also not in the last, shorter segment. */
static size_t part_begin(const struct mpi_reduce *r, size_t count, int rank)
{
	return r->exchange ? 0 : count * (size_t)rank / (size_t)r->base.comm->world;
}

static size_t part_end(const struct mpi_reduce *r, size_t count, int rank)
{
	return r->exchange ? count : count * (size_t)(rank + 1) / (size_t)r->base.comm->world;
}

static size_t part_max(const struct mpi_reduce *r)
{
	size_t world = (size_t)r->base.comm->world;

	return r->exchange ? r->segment : (r->segment + world - 1) / world;
}

/* Both phases are the same messages the other way round: to each peer one part, from each peer one. */
static int send(struct mpi_reduce *r, struct slot *s, int peer, int owner, int tag)
{
	struct mpi_comm *c = (struct mpi_comm *)r->base.comm;
	size_t begin = part_begin(r, s->count, owner), n = part_end(r, s->count, owner) - begin;

	if (n == 0)
		return MPI_SUCCESS;
	c->base.traffic.messages++;
	c->base.traffic.bytes += n * r->elem;
	return MPI_Isend(r->buf + (s->at + begin) * r->elem, (int)(n * r->elem), MPI_BYTE, peer, tag, c->comm,
		&s->req[s->n_req++]);
}

static int receive(struct mpi_reduce *r, struct slot *s, void *to, int peer, int owner, int tag)
{
	struct mpi_comm *c = (struct mpi_comm *)r->base.comm;
	size_t n = part_end(r, s->count, owner) - part_begin(r, s->count, owner);

	if (n == 0)
		return MPI_SUCCESS;
	return MPI_Irecv(to, (int)(n * r->elem), MPI_BYTE, peer, tag, c->comm, &s->req[s->n_req++]);
}

static int slot_tag(const struct mpi_reduce *r, const struct slot *s)
{
	return r->tag + 2 * (int)(s - r->slot);
}

/* Rank p's values of our part land in scratch; peers are visited from the next rank on, so that not all send to rank
 * 0 first. */
static int post_scatter(struct mpi_reduce *r, struct slot *s)
{
	int rank = r->base.comm->rank, world = r->base.comm->world, i, rc = MPI_SUCCESS;
	size_t part = part_max(r) * r->elem;

	s->at = s->next;
	s->count = r->count - s->at < r->segment ? r->count - s->at : r->segment;
	s->next = r->count - s->at > r->segment * (size_t)r->slots ? s->at + r->segment * (size_t)r->slots : r->count;
	s->n_req = 0;
	for (i = 1; i < world && rc == MPI_SUCCESS; i++) {
		int from = (rank + world - i) % world;

		rc = receive(r, s, s->scratch + part * (size_t)(from - (from > rank)), from, rank, slot_tag(r, s));
	}
	for (i = 1; i < world && rc == MPI_SUCCESS; i++)
		rc = send(r, s, (rank + i) % world, (rank + i) % world, slot_tag(r, s));
	s->phase = SCATTER;
	return rc;
}

static int post_gather(struct mpi_reduce *r, struct slot *s)
{
	int rank = r->base.comm->rank, world = r->base.comm->world, i, rc = MPI_SUCCESS;

	s->n_req = 0;
	for (i = 1; i < world && rc == MPI_SUCCESS; i++) {
		int from = (rank + world - i) % world;

		rc = receive(r, s, r->buf + (s->at + part_begin(r, s->count, from)) * r->elem, from, from,
			slot_tag(r, s) + 1);
	}
	for (i = 1; i < world && rc == MPI_SUCCESS; i++)
		rc = send(r, s, (rank + i) % world, rank, slot_tag(r, s) + 1);
	s->phase = GATHER;
	return rc;
}

static void sum(struct mpi_reduce *r, struct slot *s)
{
	int rank = r->base.comm->rank, world = r->base.comm->world, p;
	size_t part = part_max(r) * r->elem, begin = part_begin(r, s->count, rank);
	char *mine = r->buf + (s->at + begin) * r->elem;

	for (p = 0; p < world; p++)
		r->src[p] = p == rank ? mine : s->scratch + part * (size_t)(p - (p > rank));
	ls_sum_in_order(mine, r->src, world, part_end(r, s->count, rank) - begin, r->dtype, r->scale);
}

/* One transition of one slot, if its messages are there. */
static int advance(struct mpi_reduce *r, struct slot *s)
{
	int done, rc;

	if (s->phase == FREE)
		return MPI_SUCCESS;
	rc = MPI_Testall(s->n_req, s->req, &done, MPI_STATUSES_IGNORE);
	if (rc != MPI_SUCCESS || !done)
		return rc;
	if (s->phase == SCATTER) {
		sum(r, s);
		if (!r->exchange)
			return post_gather(r, s);
	}
	s->phase = FREE;
	return s->next < r->count ? post_scatter(r, s) : MPI_SUCCESS;
}

static bool idle(const struct mpi_reduce *r)
{
	int i;

	for (i = 0; i < r->slots; i++)
		if (r->slot[i].phase != FREE)
			return false;
	return true;
}

ls_status ls_mpi_test(struct ls_reduce *base, bool *ret_done, struct ls_err *err)
{
	struct mpi_reduce *r = (struct mpi_reduce *)base;
	int i, rc = MPI_SUCCESS;

	for (i = 0; i < r->slots && rc == MPI_SUCCESS; i++)
		rc = advance(r, &r->slot[i]);
	if (rc != MPI_SUCCESS)
		return ls_mpi_lost(err, rc, "all-reduce");
	*ret_done = idle(r);
	return LS_OK;
}

ls_status ls_mpi_start(struct ls_reduce *base, struct ls_err *err)
{
	struct mpi_reduce *r = (struct mpi_reduce *)base;
	int i, rc = MPI_SUCCESS;

	for (i = 0; i < r->slots && rc == MPI_SUCCESS; i++) {
		r->slot[i].next = (size_t)i * r->segment;
		rc = post_scatter(r, &r->slot[i]);
	}
	return rc == MPI_SUCCESS ? LS_OK : ls_mpi_lost(err, rc, "all-reduce");
}

/* Zeroing the scratch memory here makes the kernel hand it out now, not in the first step. */
static ls_status slots_open(struct mpi_reduce *r, struct ls_err *err)
{
	size_t peers = (size_t)r->base.comm->world - 1, bytes = peers * part_max(r) * r->elem;

	for (r->slots = 0; r->slots < SLOTS && (size_t)r->slots * r->segment < r->count; r->slots++) {
		struct slot *s = &r->slot[r->slots];

		s->scratch = aligned_alloc(64, (bytes + 63) / 64 * 64);
		s->req = malloc(2 * peers * sizeof(*s->req));
		if (!s->scratch || !s->req) {
			r->slots++;
			return ls_fail_oom(err);
		}
		memset(s->scratch, 0, bytes);
	}
	return LS_OK;
}

ls_status ls_mpi_plan(struct ls_comm *base, void *buf, size_t count, enum ls_dtype dtype, enum ls_reduce_op op,
	struct ls_reduce **ret, struct ls_err *err)
{
	struct mpi_comm *c = (struct mpi_comm *)base;
	size_t world = (size_t)base->world;
	struct mpi_reduce *r;
	ls_status st = LS_OK;

	if (c->next_tag > c->max_tag - 2 * SLOTS)
		return ls_fail(
			err, LS_USAGE, 0, "more buckets than MPI has tags (%d): use fewer, larger buckets", c->max_tag);
	r = calloc(1, sizeof(*r));
	if (!r)
		return ls_fail_oom(err);
	*r = (struct mpi_reduce){
		.base = {base}, .buf = buf, .count = count, .elem = ls_dtype_size(dtype), .dtype = dtype};
	r->scale = op == LS_AVERAGE ? 1.0 / (double)world : 1.0;
	r->exchange = (world - 1) * count * r->elem <= EXCHANGE_BYTES;
	r->segment = PART_BYTES / r->elem * (r->exchange ? 1 : world);
	if (r->segment > count)
		r->segment = count;
	r->tag = c->next_tag;
	c->next_tag += 2 * SLOTS;
	r->src = malloc(world * sizeof(*r->src));
	st = r->src ? LS_OK : ls_fail_oom(err);
	if (!st && world > 1)
		st = slots_open(r, err);
	if (st) {
		ls_mpi_unplan(&r->base);
		return st;
	}
	*ret = &r->base;
	return LS_OK;
}

/* A plan still in flight is given up only by a rank that leaves alone. MPI may write to its memory until the process
 * ends, so that memory is not freed. */
void ls_mpi_unplan(struct ls_reduce *base)
{
	struct mpi_reduce *r = (struct mpi_reduce *)base;
	struct mpi_comm *c;
	int i;

	if (!r || !idle(r))
		return;
	c = (struct mpi_comm *)r->base.comm;
	if (c->next_tag == r->tag + 2 * SLOTS) /* the last one made: a plan for one sum does not use tags up */
		c->next_tag = r->tag;
	for (i = 0; i < r->slots; i++) {
		free(r->slot[i].scratch);
		free(r->slot[i].req);
	}
	free(r->src);
	free(r);
}
