/* owners_mpi.c -- the mpi backend's sums and all-gather: a rail on which every rank is a node of its own; rail_mpi.c has the steps.
 *
 *     exchange    for little data, where latency counts and not bytes
 *     owners      for the rest */
#include "collectives/comm_mpi.h"

#define EXCHANGE_BYTES ((size_t)64 << 10) /* from all peers together, at most */

struct flat {
	struct ls_request base;
	struct ls_rail rail;
	int *node, *local; /* of each rank: itself, 0 */
	const char *send;
	char *recv;
};

static bool small(const struct ls_request *p)
{
	return (size_t)(p->comm->world - 1) * p->coll.count * ls_dtype_size(p->coll.dtype) <= EXCHANGE_BYTES;
}

static ls_status plan(struct ls_request *p, struct ls_err *err)
{
	struct flat *f = (struct flat *)p;
	const struct ls_comm *c = p->comm;
	int r;

	f->node = calloc((size_t)c->world, sizeof(*f->node));
	f->local = calloc((size_t)c->world, sizeof(*f->local));
	if (!f->node || !f->local)
		return ls_fail_oom(err);
	for (r = 0; r < c->world; r++)
		f->node[r] = r;
	f->send = p->coll.send;
	f->recv = p->coll.recv;
	f->rail = (struct ls_rail){ .mpi = (struct mpi_comm *)c, .traffic = &p->comm->traffic, .coll = &p->coll,
		.exchange = p->algorithm == &ls_mpi_exchange, .rails = 1,
		.node = c->rank, .nodes = c->world, .world = c->world, .group = c->group, .rank_node = f->node, .rank_local = f->local,
		.send = &f->send, .recv = &f->recv };
	return ls_rail_open(&f->rail, err);
}

static ls_status start(struct ls_request *p, struct ls_err *err)
{
	struct flat *f = (struct flat *)p;

	bool moved;

	ls_rail_start(&f->rail);
	f->rail.ready = f->rail.segments;
	return ls_rail_step(&f->rail, &moved, err); /* what can leave, leaves */
}

static ls_status step(struct ls_request *p, bool *ret_moved, bool *ret_done, struct ls_err *err)
{
	struct flat *f = (struct flat *)p;
	ls_status st = ls_rail_step(&f->rail, ret_moved, err);

	*ret_done = f->rail.done == f->rail.segments;
	return st;
}

static void unplan(struct ls_request *p)
{
	struct flat *f = (struct flat *)p;

	if (f->rail.mpi)
		ls_rail_close(&f->rail);
	free(f->node);
	free(f->local);
}

const struct ls_algorithm ls_mpi_exchange = {
	.name = "exchange",
	.backend = &ls_backend_mpi,
	.kinds = 1u << LS_ALL_REDUCE,
	.fits = small,
	.bytes = sizeof(struct flat),
	.plan = plan,
	.start = start,
	.step = step,
	.unplan = unplan,
};

const struct ls_algorithm ls_mpi_owners = {
	.name = "owners",
	.backend = &ls_backend_mpi,
	.kinds = 1u << LS_ALL_REDUCE | 1u << LS_REDUCE_SCATTER | 1u << LS_ALL_GATHER,
	.bytes = sizeof(struct flat),
	.plan = plan,
	.start = start,
	.step = step,
	.unplan = unplan,
};
