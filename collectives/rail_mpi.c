/* rail_mpi.c -- sums between nodes, in a fixed order, of point-to-point messages.
 *
 * Each node owns a part of the data. The data is cut into segments, one part of each owner in every segment; a few segments are under
 * way at once, each in its own slot of scratch memory.
 *
 *     owners      every node sends its addends of a part to the part's owner, which reduces them and sends the result to everybody: a
 *                 direct reduce-scatter, then a direct all-gather. Either half alone is the operation of that name.
 *                 2 steps, 2 (M-1)/M S bytes sent by each of M nodes for S bytes, the least that any algorithm sends.
 *     exchange    every node owns everything. 1 step, (M-1) S bytes.
 *
 *     slot:  WAIT --data is there: own groups' sums--> SCATTER --all arrived and sent: reduce--> WAIT, next segment       (one half)
 *                                                                                     `--> GATHER --all there--> WAIT     (both)
 *
 * An addend is a rank's values, or, where no node cuts a group, a group's sum. A broadcast is a sum with one addend, the root's; in an
 * all-gather the owner's addend is its own part.
 *
 * Why not MPI's: its order of additions depends on version, message size and world size, and so would the loss curve.
 *
 * Invariant: a part of send is overwritten (in place) only when every message that reads it has left. Segment k always goes through slot
 * k modulo RAIL_SLOTS, on every node: slots then advance in any order, for their messages differ in tag, and within one slot MPI's order
 * of matching suffices. */
#include "collectives/comm_mpi.h"

#include <string.h>

#define PART_BYTES ((size_t)512 << 10)
#define SLICE_BYTES ((size_t)16 << 10) /* less is not worth a rail of its own */

enum phase { WAIT, SCATTER, GATHER };

struct ls_rail_slot {
	enum phase phase;
	size_t k;          /* the segment */
	char *in;          /* one part per addend, in the order of additions */
	char *out;         /* partial: this node's addends of every owner's part */
	MPI_Request *req;
	int n_req;
};

/* --- who has what ---------------------------------------------------------------------------------------------------- */

/* Where the i-th rail's slice begins: whole cache lines, and little data is not cut. */
static size_t slice_begin(size_t count, int i, int rails, size_t elem)
{
	size_t n = count * elem / SLICE_BYTES + 1;

	if (n > (size_t)rails)
		n = (size_t)rails;
	return (size_t)i >= n ? count : ls_part_begin(count, i, (int)n, elem);
}

/* Only these two have a block per rank, and so a part for each rank of a node, one after the other. */
static bool by_rank(const struct ls_rail *r)
{
	return r->coll->kind == LS_REDUCE_SCATTER || r->coll->kind == LS_ALL_GATHER;
}

static bool gathers(const struct ls_rail *r)
{
	return !r->exchange && r->coll->kind != LS_REDUCE_SCATTER;
}

/* The block of an owner, in elements from the buffer's begin. */
static void block_of(const struct ls_rail *r, int node, size_t *ret_begin, size_t *ret_n)
{
	size_t count = r->coll->count;

	*ret_begin = 0;
	*ret_n = count;
	if (by_rank(r) || r->exchange)
		return;
	*ret_begin = ls_part_begin(count, node, r->nodes, r->elem);
	*ret_n = ls_part_begin(count, node + 1, r->nodes, r->elem) - *ret_begin;
}

bool ls_rail_part(const struct ls_rail *r, size_t k, int rail, int node, size_t *ret_big, size_t *ret_small, int *ret_local, size_t *ret_n)
{
	size_t per = r->segments / r->turns, begin, n, at, end;
	int local = (int)(k / per);

	if (local >= r->locals[node])
		return false;
	block_of(r, node, &begin, &n);
	at = slice_begin(n, rail, r->rails, r->elem) + k % per * r->part;
	end = slice_begin(n, rail + 1, r->rails, r->elem);
	if (at >= end)
		return false;
	*ret_local = local;
	*ret_small = *ret_big = begin + at;
	if (by_rank(r))
		*ret_big += (size_t)r->at_node[node * r->max_locals + local] * r->coll->count;
	*ret_n = end - at < r->part ? end - at : r->part;
	return true;
}

static size_t longest_slice(const struct ls_rail *r)
{
	size_t begin, n, slice, most = 0;
	int node, i;

	for (node = 0; node < r->nodes; node++) {
		block_of(r, node, &begin, &n);
		for (i = 0; i < r->rails; i++) {
			slice = slice_begin(n, i + 1, r->rails, r->elem) - slice_begin(n, i, r->rails, r->elem);
			most = slice > most ? slice : most;
		}
	}
	return most;
}

static void cut(struct ls_rail *r)
{
	size_t most = longest_slice(r);

	r->part = most < PART_BYTES / r->elem ? most : PART_BYTES / r->elem;
	r->turns = by_rank(r) ? (size_t)r->max_locals : 1;
	r->segments = most ? (most + r->part - 1) / r->part * r->turns : 0;
}

/* No node cuts a block of `group` ranks. */
static bool groups_whole(const struct ls_rail *r)
{
	int i;

	for (i = 1; i < r->world; i++)
		if (i % r->group && r->rank_node[i] != r->rank_node[i - 1])
			return false;
	return true;
}

static void add_leaf(struct ls_rail *r, int rank, int index)
{
	int j = r->n_leaves++;

	r->leaf_node[j] = r->rank_node[rank];
	r->leaf_index[j] = index;
	r->leaves[r->rank_node[rank]]++;
}

/* Of a group its number among its node's, of a rank its number among the node's ranks. */
static void find_leaves(struct ls_rail *r)
{
	int rank;

	r->partial = ls_coll_reduces(r->coll) && r->nodes > 1 && r->group > 1 && groups_whole(r);
	if (r->partial) {
		for (rank = 0; rank < r->world; rank += r->group)
			add_leaf(r, rank, r->leaves[r->rank_node[rank]]);
	} else if (ls_coll_reduces(r->coll)) {
		for (rank = 0; rank < r->world; rank++)
			add_leaf(r, rank, r->rank_local[rank]);
	} else if (r->coll->kind == LS_BROADCAST) {
		add_leaf(r, r->coll->root, r->rank_local[r->coll->root]);
	}
	r->wire = r->partial && r->elem == 2 ? sizeof(float) : r->elem;
}

static void find_ranks(struct ls_rail *r)
{
	int rank;

	for (rank = 0; rank < r->world; rank++) {
		int node = r->rank_node[rank], local = r->rank_local[rank];

		r->locals[node]++;
		r->at_node[node * r->max_locals + local] = rank;
		if (local == r->rail)
			r->peer[node] = rank;
	}
}

/* --- messages -------------------------------------------------------------------------------------------------------- */

static int send(struct ls_rail *r, struct ls_rail_slot *s, const void *from, size_t bytes, int node)
{
	r->traffic->messages++;
	r->traffic->bytes += bytes;
	return MPI_Isend(from, (int)bytes, MPI_BYTE, r->peer[node], r->tag + (int)(s - r->slot), r->mpi->comm, &s->req[s->n_req++]);
}

static int receive(struct ls_rail *r, struct ls_rail_slot *s, void *to, size_t bytes, int node)
{
	return MPI_Irecv(to, (int)bytes, MPI_BYTE, r->peer[node], r->tag + (int)(s - r->slot), r->mpi->comm, &s->req[s->n_req++]);
}

static char *incoming(const struct ls_rail *r, const struct ls_rail_slot *s, int leaf)
{
	return s->in + (size_t)leaf * r->part * r->wire;
}

static char *outgoing(const struct ls_rail *r, const struct ls_rail_slot *s, int index, int owner)
{
	return s->out + ((size_t)index * (r->exchange ? 1 : (size_t)r->nodes) + (r->exchange ? 0 : (size_t)owner)) * r->part * r->wire;
}

/* This node's groups' sums of one owner's part: of its own straight to where the reduction finds them. */
static void sum_groups(struct ls_rail *r, struct ls_rail_slot *s, int owner, size_t at, size_t n)
{
	struct ls_reduction red = { .op = r->coll->op, .in = r->coll->dtype, .group = r->group, .divisor = 1,
		.out = r->wire != r->elem ? LS_F32 : r->coll->dtype };
	int j, i;

	for (j = 0; j < r->n_leaves; j++) {
		void *to = owner == r->node ? incoming(r, s, j) : outgoing(r, s, r->leaf_index[j], owner);
		int first = j * r->group;

		if (r->leaf_node[j] != r->node)
			continue;
		red.n = r->world - first < r->group ? r->world - first : r->group;
		for (i = 0; i < red.n; i++)
			r->src[i] = r->send[r->rank_local[first + i]] + at * r->elem;
		ls_reduce(&red, &to, 1, r->src, n, false);
	}
}

/* One owner's part: this node's addends of it leave. In an exchange all owners' parts are the same. */
static int send_addends(struct ls_rail *r, struct ls_rail_slot *s, int owner)
{
	size_t at, small, n;
	int local, j, rc = MPI_SUCCESS;

	if (!ls_rail_part(r, s->k, r->rail, owner, &at, &small, &local, &n))
		return MPI_SUCCESS;
	if (r->partial && (!r->exchange || owner == (r->node + 1) % r->nodes))
		sum_groups(r, s, owner, at, n);
	for (j = 0; j < r->n_leaves && rc == MPI_SUCCESS; j++)
		if (r->leaf_node[j] == r->node)
			rc = send(r, s, r->partial ? outgoing(r, s, r->leaf_index[j], owner) : r->send[r->leaf_index[j]] + at * r->elem,
				n * r->wire, owner);
	return rc;
}

/* Peers are visited from the next one on, so that not all send to node 0 first. */
static int post_scatter(struct ls_rail *r, struct ls_rail_slot *s)
{
	size_t at, small, n;
	int local, i, j, rc = MPI_SUCCESS;
	bool mine = ls_rail_part(r, s->k, r->rail, r->node, &at, &small, &local, &n);

	s->n_req = 0;
	for (j = 0; mine && j < r->n_leaves && rc == MPI_SUCCESS; j++)
		if (r->leaf_node[j] != r->node)
			rc = receive(r, s, incoming(r, s, j), n * r->wire, r->leaf_node[j]);
	for (i = 1; i < r->nodes && rc == MPI_SUCCESS; i++)
		rc = send_addends(r, s, (r->node + i) % r->nodes);
	if (mine && r->partial)
		sum_groups(r, s, r->node, at, n);
	s->phase = SCATTER;
	return rc;
}

static int post_gather(struct ls_rail *r, struct ls_rail_slot *s)
{
	char *recv = r->recv[r->rail];
	size_t at, small, n;
	int local, i, rc = MPI_SUCCESS;

	s->n_req = 0;
	for (i = 1; i < r->nodes && rc == MPI_SUCCESS; i++) {
		int from = (r->node + r->nodes - i) % r->nodes;

		if (ls_rail_part(r, s->k, r->rail, from, &at, &small, &local, &n))
			rc = receive(r, s, recv + at * r->elem, n * r->elem, from);
	}
	if (ls_rail_part(r, s->k, r->rail, r->node, &at, &small, &local, &n))
		for (i = 1; i < r->nodes && rc == MPI_SUCCESS; i++)
			rc = send(r, s, recv + at * r->elem, n * r->elem, (r->node + i) % r->nodes);
	s->phase = GATHER;
	return rc;
}

/* --- what happens inside the node ------------------------------------------------------------------------------------ */

static void copy_to_all(struct ls_rail *r, const char *from, size_t at, size_t n)
{
	int l;

	for (l = 0; l < r->locals[r->node]; l++) {
		if (r->recv[l] + at * r->elem == from)
			continue;
		ls_copy(r->recv[l] + at * r->elem, from, n * r->elem, false);
		r->traffic->copied += l == r->rail ? 0 : n * r->elem;
	}
}

/* This node's part, from its addends to where it belongs. */
static void reduce(struct ls_rail *r, struct ls_rail_slot *s)
{
	const struct ls_coll *c = r->coll;
	struct ls_reduction red = { .op = c->op, .in = r->wire != r->elem ? LS_F32 : c->dtype, .out = c->dtype, .n = r->n_leaves,
		.group = r->partial ? 1 : r->group, .divisor = c->op == LS_AVERAGE ? r->world : 1 };
	size_t big, small, n;
	int local, j, l, n_dst = 0;

	if (!ls_rail_part(r, s->k, r->rail, r->node, &big, &small, &local, &n))
		return;
	if (c->kind == LS_ALL_GATHER) {
		copy_to_all(r, r->send[local] + small * r->elem, big, n);
		return;
	}
	for (j = 0; j < r->n_leaves; j++)
		r->src[j] = r->partial || r->leaf_node[j] != r->node ? incoming(r, s, j) : r->send[r->leaf_index[j]] + big * r->elem;
	if (c->kind == LS_BROADCAST) {
		copy_to_all(r, r->src[0], big, n);
		return;
	}
	if (c->kind == LS_REDUCE_SCATTER)
		r->dst[n_dst++] = r->recv[local] + small * r->elem;
	for (l = 0; c->kind == LS_ALL_REDUCE && l < r->locals[r->node]; l++)
		r->dst[n_dst++] = r->recv[l] + big * r->elem;
	ls_reduce(&red, r->dst, n_dst, r->src, n, false);
	r->traffic->copied += n * r->elem * (size_t)(c->kind == LS_ALL_REDUCE ? n_dst - 1 : local != r->rail);
}

static void deliver(struct ls_rail *r, struct ls_rail_slot *s)
{
	size_t big, small, n;
	int local, node;

	for (node = 0; node < r->nodes; node++)
		if (node != r->node && ls_rail_part(r, s->k, r->rail, node, &big, &small, &local, &n))
			copy_to_all(r, r->recv[r->rail] + big * r->elem, big, n);
}

/* --- steps ----------------------------------------------------------------------------------------------------------- */

static int next_segment(struct ls_rail *r, struct ls_rail_slot *s)
{
	s->phase = WAIT;
	s->k += (size_t)r->slots;
	return MPI_SUCCESS;
}

/* One transition of one slot, if what it waits for is there. */
static int advance(struct ls_rail *r, struct ls_rail_slot *s, bool *ret_moved)
{
	int there = s->k < r->segments && s->k < r->ready, rc = MPI_SUCCESS;

	if (s->phase != WAIT) {
		int before = s->n_req;

		rc = MPI_Testall(s->n_req, s->req, &there, MPI_STATUSES_IGNORE);
		if (rc == MPI_SUCCESS && there)
			atomic_fetch_sub_explicit(&r->mpi->in_flight, (unsigned)before, memory_order_relaxed);
	}
	if (rc != MPI_SUCCESS || !there)
		return rc;
	*ret_moved = true;
	if (s->phase == WAIT) {
		rc = post_scatter(r, s);
	} else if (s->phase == SCATTER) {
		reduce(r, s);
		rc = gathers(r) ? post_gather(r, s) : next_segment(r, s);
	} else {
		deliver(r, s);
		rc = next_segment(r, s);
	}
	if (s->phase != WAIT)
		atomic_fetch_add_explicit(&r->mpi->in_flight, (unsigned)s->n_req, memory_order_relaxed);
	return rc;
}

ls_status ls_rail_step(struct ls_rail *r, bool *ret_moved, struct ls_err *err)
{
	size_t done = r->segments;
	int i, rc = MPI_SUCCESS;

	for (i = 0; i < r->slots && rc == MPI_SUCCESS; i++) {
		rc = advance(r, &r->slot[i], ret_moved);
		done = r->slot[i].k < done ? r->slot[i].k : done;
	}
	r->done = done;
	return rc == MPI_SUCCESS ? LS_OK : ls_mpi_lost(err, rc, ls_coll_name(r->coll->kind));
}

void ls_rail_start(struct ls_rail *r)
{
	int i;

	r->ready = r->done = 0;
	for (i = 0; i < r->slots; i++)
		r->slot[i].k = (size_t)i;
}

static ls_status open_slot(struct ls_rail *r, struct ls_rail_slot *s, struct ls_err *err)
{
	size_t peers = (size_t)r->nodes - 1, sent = (size_t)r->leaves[r->node] * peers, n = (size_t)r->n_leaves + sent;

	s->req = malloc((n > 2 * peers ? n : 2 * peers) * sizeof(*s->req) + 1);
	s->in = ls_pages_alloc((size_t)r->n_leaves * r->part * r->wire);
	if (r->partial)
		s->out = ls_pages_alloc((size_t)r->leaves[r->node] * (size_t)r->nodes * r->part * r->wire);
	return s->req && s->in && (!r->partial || s->out) ? LS_OK : ls_fail_oom(err);
}

static ls_status allocate(struct ls_rail *r, struct ls_err *err)
{
	size_t nodes = (size_t)r->nodes, world = (size_t)r->world;
	int i;

	r->tag = -1;
	for (r->max_locals = 0, i = 0; i < r->world; i++)
		if (r->rank_local[i] >= r->max_locals)
			r->max_locals = r->rank_local[i] + 1;
	r->peer = calloc(nodes, sizeof(*r->peer));
	r->locals = calloc(nodes, sizeof(*r->locals));
	r->leaves = calloc(nodes, sizeof(*r->leaves));
	r->at_node = calloc(nodes * (size_t)r->max_locals, sizeof(*r->at_node));
	r->leaf_node = calloc(world, sizeof(*r->leaf_node));
	r->leaf_index = calloc(world, sizeof(*r->leaf_index));
	r->src = calloc(world, sizeof(*r->src));
	r->dst = calloc(world, sizeof(*r->dst));
	r->slot = calloc(RAIL_SLOTS, sizeof(*r->slot));
	if (!r->peer || !r->locals || !r->leaves || !r->at_node || !r->leaf_node || !r->leaf_index || !r->src || !r->dst || !r->slot)
		return ls_fail_oom(err);
	return LS_OK;
}

ls_status ls_rail_open(struct ls_rail *r, struct ls_err *err)
{
	ls_status st = allocate(r, err);

	if (!st)
		st = ls_mpi_tags(r->mpi, RAIL_SLOTS, &r->tag, err);
	if (st)
		return st;
	r->elem = ls_dtype_size(r->coll->dtype);
	find_ranks(r);
	find_leaves(r);
	cut(r);
	while (!st && r->rail < r->rails && r->slots < RAIL_SLOTS && (size_t)r->slots < r->segments)
		st = open_slot(r, &r->slot[r->slots++], err);
	return st;
}

void ls_rail_close(struct ls_rail *r)
{
	int i;

	for (i = 0; i < r->slots; i++) {
		free(r->slot[i].req);
		free(r->slot[i].in);
		free(r->slot[i].out);
	}
	if (r->slot)
		ls_mpi_tags_back(r->mpi, RAIL_SLOTS, r->tag);
	free(r->slot);
	free(r->peer);
	free(r->locals);
	free(r->leaves);
	free(r->at_node);
	free(r->leaf_node);
	free(r->leaf_index);
	free(r->src);
	free(r->dst);
}
