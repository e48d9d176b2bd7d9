/* backend_shm.c -- a group of ranks of one node: its memory, and the agreement on each plan. Opening: shm_open.c; waiting:
 * shm_wait.c; the algorithms: shm_exchange.c, shm_direct.c, shm_slots.c. */
#include "collectives/shm.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#define GIVE_BACK ((size_t)1 << 20) /* freed blocks from this size on return their pages to the kernel */
#define PAGE ((size_t)4096)
#define HUGE ((size_t)2 << 20)

/* --- memory ---------------------------------------------------------------------------------------------------------- */

void *ls_pages_alloc(size_t bytes)
{
	size_t align = bytes >= HUGE ? HUGE : 64;
	void *p;

	if (bytes > SIZE_MAX - HUGE)
		return NULL;
	bytes = bytes ? (bytes + align - 1) / align * align : align;
	p = aligned_alloc(align, bytes);
	if (!p)
		return NULL;
	if (bytes >= HUGE)
		madvise(p, bytes, MADV_HUGEPAGE);
	return memset(p, 0, bytes);
}

static ls_status shm_alloc(struct ls_comm *base, size_t bytes, void **ret, struct ls_err *err)
{
	struct shm_comm *c = shm_of(base);
	size_t at;

	if (!ls_heap_take(c->heap, bytes, &at))
		return ls_fail(err, LS_AGAIN, 0, "no room for %zu MiB in the %zu MiB that this rank may share: free some, or use memory of your own",
			bytes >> 20, c->arena_bytes >> 20);
	*ret = memset(c->arenas[base->rank].base + at, 0, bytes);
	return LS_OK;
}

static void shm_free(struct ls_comm *base, void *p)
{
	struct shm_comm *c = shm_of(base);
	char *arena = c->arenas[base->rank].base, *begin, *end;
	size_t bytes = ls_heap_give(c->heap, (size_t)((char *)p - arena));

	if (bytes < GIVE_BACK)
		return;
	begin = arena + ((size_t)((char *)p - arena) + PAGE - 1) / PAGE * PAGE;
	end = arena + (size_t)((char *)p + bytes - arena) / PAGE * PAGE;
	madvise(begin, (size_t)(end - begin), MADV_REMOVE);
}

int64_t ls_shm_offset(struct shm_comm *c, const void *p, size_t bytes)
{
	const char *base = c->arenas[c->base.rank].base;

	if ((const char *)p < base || (const char *)p + bytes > base + c->arena_bytes)
		return -1;
	return (const char *)p - base;
}

void *ls_shm_at(struct shm_comm *c, int rank, int64_t offset)
{
	return c->arenas[rank].base + offset;
}

/* --- agreement ------------------------------------------------------------------------------------------------------- */

static void describe(char *ret, size_t size, const struct shm_record *r)
{
	int n = snprintf(ret, size, "%s", ls_coll_name((enum ls_coll_kind)r->kind));

	if (r->kind == LS_BARRIER)
		return;
	n += snprintf(ret + n, size - (size_t)n, " of %llu %s", (unsigned long long)r->count, ls_dtype_name((enum ls_dtype)r->dtype));
	if (r->kind == LS_ALL_REDUCE || r->kind == LS_REDUCE_SCATTER)
		snprintf(ret + n, size - (size_t)n, " (%s)", ls_reduce_op_name((enum ls_reduce_op)r->op));
	else if (r->kind == LS_BROADCAST)
		snprintf(ret + n, size - (size_t)n, " from rank %d", r->root);
}

static ls_status compare(int world, const struct shm_record *all, struct ls_err *err)
{
	char first[120], other[120];
	int r;

	for (r = 1; r < world; r++) {
		if (!memcmp(&all[r], &all[0], offsetof(struct shm_record, send)))
			continue;
		describe(first, sizeof(first), &all[0]);
		describe(other, sizeof(other), &all[r]);
		return ls_fail(err, LS_USAGE, 0, "ranks disagree: rank 0 plans a %s, rank %d a %s; all must plan the same, in the same order",
			first, r, other);
	}
	return LS_OK;
}

ls_status ls_shm_agree(struct shm_comm *c, const struct ls_bootstrap *b, const struct ls_coll *coll, struct shm_record *ret_all,
	bool *ret_zero_copy, struct ls_err *err)
{
	bool moves = coll->kind != LS_BARRIER, reduces = ls_coll_reduces(coll);
	struct shm_record mine = { .kind = coll->kind, .dtype = moves ? coll->dtype : 0, .op = reduces ? coll->op : 0,
		.root = coll->kind == LS_BROADCAST ? coll->root : 0, .count = moves ? coll->count : 0 };
	ls_status st;
	int r;

	mine.recv = moves ? ls_shm_offset(c, coll->recv, ls_coll_recv_bytes(coll, b->world)) : 0;
	mine.send = !moves || (coll->kind == LS_BROADCAST && coll->root != b->rank) ? mine.recv
		    : ls_shm_offset(c, coll->send, ls_coll_send_bytes(coll, b->world));
	st = b->allgather(b->ctx, &mine, ret_all, sizeof(mine), err);
	if (!st)
		st = compare(b->world, ret_all, err);
	if (st)
		return st;
	*ret_zero_copy = true;
	for (r = 0; r < b->world; r++)
		*ret_zero_copy &= ret_all[r].send >= 0 && ret_all[r].recv >= 0;
	return LS_OK;
}

static ls_status gather(void *ctx, const void *mine, void *ret_all, size_t bytes, struct ls_err *err)
{
	return ls_shm_gather(ctx, mine, ret_all, bytes, err);
}

static ls_status agree(struct ls_request *p, struct ls_err *err)
{
	struct shm_comm *c = shm_of(p->comm);
	struct ls_bootstrap b = { p->comm->rank, p->comm->world, gather, c };

	return ls_shm_agree(c, &b, &p->coll, c->records, &p->zero_copy, err);
}

static ls_status open_comm(const struct ls_comm_options *opt, struct ls_comm *under, struct ls_comm **ret, struct ls_err *err)
{
	struct ls_comm layout = { 0 };
	struct shm_comm *c;
	ls_status st = ls_nodes_learn(opt->bootstrap, opt->group, &layout, err);

	if (st)
		return st;
	if (layout.nodes > 1)
		return ls_fail(err, LS_USAGE, 0, "backend shm: the ranks are on %d nodes, and memory is shared inside one: use auto or hier%s",
			layout.nodes, under ? "" : ", with MPI");
	st = ls_shm_open_node(opt, &layout, &c, err);
	if (st)
		return st;
	c->base.under = under;
	*ret = &c->base;
	return LS_OK;
}

const struct ls_backend ls_backend_shm = {
	.name = "shm",
	.open = open_comm,
	.close = ls_shm_close,
	.alloc = shm_alloc,
	.free = shm_free,
	.agree = agree,
	.pause = ls_shm_pause,
	.resume = ls_shm_resume,
	.kick = ls_shm_kick,
	.in_order = true,
};
