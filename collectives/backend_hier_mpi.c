/* backend_hier_mpi.c -- a group of ranks on several nodes: memory inside each (shm), MPI's messages between them. The algorithm is
 * hier_mpi.c's. */
#include "collectives/hier_mpi.h"

#include <sched.h>

#define POLLS 1000       /* before the core is offered to others */
#define LOOK_EVERY 10000 /* pauses between looks for the dead: well below a second */

static struct hier_comm *hier_of(struct ls_comm *c)
{
	return (struct hier_comm *)c;
}

static ls_status agree(struct ls_request *p, struct ls_err *err)
{
	struct hier_comm *h = hier_of(p->comm);
	struct ls_bootstrap b;

	ls_mpi_bootstrap(&h->mpi->base, &b);
	return ls_shm_agree(h->shm, &b, &p->coll, h->records, &p->zero_copy, err);
}

/* With messages under way this rank polls, for MPI moves data only inside its calls; else it waits for its neighbours, and may sleep. */
static ls_status pause_any(struct ls_comm *c, struct ls_pause *w, struct ls_err *err)
{
	struct hier_comm *h = hier_of(c);

	if (atomic_load_explicit(&h->mpi->in_flight, memory_order_relaxed) == 0)
		return ls_shm_pause(&h->shm->base, w, err);
	if (w->rounds++ >= POLLS)
		sched_yield();
	return w->rounds % LOOK_EVERY ? LS_OK : ls_shm_look_for_dead(h->shm, w, err);
}

static void resume(struct ls_comm *c, struct ls_pause *w)
{
	ls_shm_resume(&hier_of(c)->shm->base, w);
}

static void kick(struct ls_comm *c)
{
	ls_shm_kick(&hier_of(c)->shm->base);
}

static ls_status alloc(struct ls_comm *c, size_t bytes, void **ret, struct ls_err *err)
{
	return ls_backend_shm.alloc(&hier_of(c)->shm->base, bytes, ret, err);
}

static void give_back(struct ls_comm *c, void *p)
{
	ls_backend_shm.free(&hier_of(c)->shm->base, p);
}

static void close_comm(struct ls_comm *c, bool orderly)
{
	struct hier_comm *h = hier_of(c);

	if (h->shm)
		ls_shm_close(&h->shm->base, orderly);
	free(h->node);
	free(h->local);
	free(h->here);
	free(h->records);
	free(h);
}

/* Where every rank is. */
static ls_status learn(struct hier_comm *h, const struct ls_bootstrap *b, struct ls_err *err)
{
	int mine[2] = { h->base.node, h->base.local_rank }, (*all)[2] = calloc((size_t)b->world, sizeof(*all));
	int *locals = calloc((size_t)h->base.nodes, sizeof(*locals)), r;
	ls_status st = all && locals ? b->allgather(b->ctx, mine, all, sizeof(mine), err) : ls_fail_oom(err);

	for (r = 0; !st && r < b->world; r++) {
		h->node[r] = all[r][0];
		h->local[r] = all[r][1];
		locals[h->node[r]]++;
		if (h->node[r] == h->base.node)
			h->here[h->local[r]] = r;
	}
	h->rails = h->most = h->base.local_world;
	for (r = 0; !st && r < h->base.nodes; r++) {
		h->rails = locals[r] < h->rails ? locals[r] : h->rails;
		h->most = locals[r] > h->most ? locals[r] : h->most;
	}
	free(all);
	free(locals);
	return st;
}

static ls_status open_comm(const struct ls_comm_options *opt, struct ls_comm *under, struct ls_comm **ret, struct ls_err *err)
{
	struct hier_comm *h = calloc(1, sizeof(*h));
	size_t world = (size_t)under->world;
	ls_status st;

	if (!h)
		return ls_fail_oom(err);
	h->base = *under;
	h->base.backend = &ls_backend_hier;
	h->base.under = under;
	h->mpi = (struct mpi_comm *)under;
	h->node = calloc(world, sizeof(*h->node));
	h->local = calloc(world, sizeof(*h->local));
	h->here = calloc(world, sizeof(*h->here));
	h->records = calloc(world, sizeof(*h->records));
	st = h->node && h->local && h->here && h->records ? LS_OK : ls_fail_oom(err);
	if (!st)
		st = learn(h, opt->bootstrap, err);
	if (!st)
		st = ls_shm_open_node(opt, under, &h->shm, err);
	if (st) {
		close_comm(&h->base, false);
		return st;
	}
	*ret = &h->base;
	return LS_OK;
}

const struct ls_backend ls_backend_hier = {
	.name = "hier",
	.needs_mpi = true,
	.open = open_comm,
	.close = close_comm,
	.alloc = alloc,
	.free = give_back,
	.agree = agree,
	.pause = pause_any,
	.resume = resume,
	.kick = kick,
};
