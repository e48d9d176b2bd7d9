/* shm_direct.c -- all buffers are the library's: every rank can reach every buffer, and nothing is copied to be sent.
 *
 *     all-reduce       rank r reads slice r of everybody's send, and stores the result to everybody's recv
 *     reduce-scatter   rank r reads its part of everybody's send, and stores to its own recv
 *     all-gather       rank r copies everybody's send to its recv
 *     broadcast        rank r copies the root's send
 *
 * 2 steps: ready (nobody's buffer is touched before its owner started), done (nobody goes on before all have finished with its buffers).
 * An all-reduce of S bytes moves 2 S per rank: each element is read once by one rank and stored to all, the least there is. */
#include "collectives/shm.h"
#include "core/io.h"


#define STREAM_FROM ((size_t)4 << 20) /* bytes; less stays in the caches, where streaming stores would evict it */
#define TRIES 6
#define AGAIN 128

struct direct {
	struct ls_request base;
	uint64_t op;
	bool worked;
	const char **send; /* of each rank, as mapped here */
	char **recv;
};

static bool can(const struct ls_request *p)
{
	return p->zero_copy && p->coll.kind != LS_BARRIER;
}

static ls_status plan(struct ls_request *p, struct ls_err *err)
{
	struct direct *d = (struct direct *)p;
	struct shm_comm *c = shm_of(p->comm);
	size_t n = (size_t)p->comm->world;
	int r;

	d->send = malloc(n * sizeof(*d->send));
	d->recv = malloc(n * sizeof(*d->recv));
	if (!d->send || !d->recv)
		return ls_fail_oom(err);
	for (r = 0; r < p->comm->world; r++) {
		d->send[r] = ls_shm_at(c, r, c->records[r].send);
		d->recv[r] = ls_shm_at(c, r, c->records[r].recv);
	}
	return LS_OK;
}

static ls_status start(struct ls_request *p, struct ls_err *err)
{
	struct direct *d = (struct direct *)p;
	struct shm_comm *c = shm_of(p->comm);

	(void)err;
	d->op = ++c->op;
	d->worked = false;
	ls_shm_tell(c, &c->ranks[p->comm->rank].started, d->op);
	return LS_OK;
}

static size_t reduce(struct direct *d, size_t from, size_t to, int n_dst, size_t recv_at, bool stream)
{
	struct ls_request *p = &d->base;
	struct shm_comm *c = shm_of(p->comm);
	struct ls_reduction red = ls_reduction_of(p);
	size_t elem = ls_dtype_size(p->coll.dtype);
	int r;

	for (r = 0; r < p->comm->world; r++) {
		c->src[r] = d->send[r] + from * elem;
		c->dst[r] = d->recv[r] + recv_at * elem;
	}
	if (n_dst == 1)
		c->dst[0] = c->dst[p->comm->rank];
	ls_reduce(&red, c->dst, n_dst, c->src, to - from, stream);
	return (to - from) * elem * (size_t)(n_dst - 1);
}

static void gather(struct direct *d, bool stream)
{
	struct ls_request *p = &d->base;
	size_t bytes = ls_coll_send_bytes(&p->coll, p->comm->world);
	int i, rank = p->comm->rank, world = p->comm->world;

	for (i = 0; i < world; i++) {
		int r = (rank + i) % world;
		char *to = d->recv[rank] + (size_t)r * bytes;

		if (to != d->send[r])
			ls_copy(to, d->send[r], bytes, stream);
	}
}

static void work(struct direct *d, bool stream)
{
	struct ls_request *p = &d->base;
	size_t n = p->coll.count, elem = ls_dtype_size(p->coll.dtype);
	int rank = p->comm->rank, world = p->comm->world;
	size_t from, to;

	switch (p->coll.kind) {
	case LS_ALL_REDUCE:
		from = ls_part_begin(n, rank, world, elem);
		to = ls_part_begin(n, rank + 1, world, elem);
		p->comm->traffic.copied += reduce(d, from, to, world, from, stream);
		break;
	case LS_REDUCE_SCATTER:
		reduce(d, (size_t)rank * n, (size_t)(rank + 1) * n, 1, 0, stream);
		break;
	case LS_ALL_GATHER:
		gather(d, stream);
		break;
	case LS_BROADCAST:
		if (d->recv[rank] != d->send[p->coll.root])
			ls_copy(d->recv[rank], d->send[p->coll.root], n * elem, stream);
		break;
	case LS_BARRIER:
		break;
	}
}

/* Whether streaming stores pay depends on the machine and on how near its cores are to each other at the moment: both ways are
 * tried, and the other one again at times. Bits do not depend on it. */
static void work_timed(struct direct *d, size_t bytes)
{
	struct shm_speed *v = &shm_of(d->base.comm)->speed[d->base.coll.send == d->base.coll.recv][63 - __builtin_clzll(bytes)];
	bool stream = v->tries < TRIES ? v->tries % 2 : v->best[1] < v->best[0];
	double begin = ls_clock_s(), took;

	if (v->tries >= TRIES && v->tries % AGAIN == 0)
		stream = !stream;
	v->tries++;
	work(d, stream);
	took = (ls_clock_s() - begin) / (double)bytes;
	if (v->best[stream] == 0 || took < v->best[stream])
		v->best[stream] = took;
	else
		v->best[stream] += (took - v->best[stream]) / 64; /* an old best fades */
}

static ls_status step(struct ls_request *p, bool *ret_moved, bool *ret_done, struct ls_err *err)
{
	struct direct *d = (struct direct *)p;
	struct shm_comm *c = shm_of(p->comm);
	size_t bytes = p->coll.count * ls_dtype_size(p->coll.dtype);

	(void)err;
	if (!d->worked) {
		if (!SHM_ALL(c, started, d->op))
			return LS_OK;
		if (bytes < STREAM_FROM)
			work(d, false);
		else
			work_timed(d, bytes);
		ls_shm_tell(c, &c->ranks[p->comm->rank].done, d->op);
		d->worked = *ret_moved = true;
	}
	*ret_done = SHM_ALL(c, done, d->op);
	return LS_OK;
}

static void unplan(struct ls_request *p)
{
	struct direct *d = (struct direct *)p;

	free(d->send);
	free(d->recv);
}

const struct ls_algorithm ls_shm_direct = {
	.name = "direct",
	.backend = &ls_backend_shm,
	.kinds = 1u << LS_ALL_REDUCE | 1u << LS_REDUCE_SCATTER | 1u << LS_ALL_GATHER | 1u << LS_BROADCAST,
	.fits = can,
	.can = can,
	.limit = "not every rank's buffers are from the library",
	.bytes = sizeof(struct direct),
	.plan = plan,
	.start = start,
	.step = step,
	.unplan = unplan,
};
