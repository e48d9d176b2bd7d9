/* coll.c -- names, sizes and checks of operations; see coll.h. */
#include "collectives/coll.h"

#include <stdint.h>

const char *ls_coll_name(enum ls_coll_kind kind)
{
	static const char *const names[] = { "all-reduce", "reduce-scatter", "all-gather", "broadcast", "barrier" };

	return names[kind];
}

const char *ls_reduce_op_name(enum ls_reduce_op op)
{
	static const char *const names[] = { "sum", "avg", "min", "max" };

	return names[op];
}

bool ls_coll_reduces(const struct ls_coll *c)
{
	return c->kind == LS_ALL_REDUCE || c->kind == LS_REDUCE_SCATTER;
}

size_t ls_coll_send_bytes(const struct ls_coll *c, int world)
{
	if (c->kind == LS_BARRIER)
		return 0;
	return c->count * ls_dtype_size(c->dtype) * (c->kind == LS_REDUCE_SCATTER ? (size_t)world : 1);
}

size_t ls_coll_recv_bytes(const struct ls_coll *c, int world)
{
	if (c->kind == LS_BARRIER)
		return 0;
	return c->count * ls_dtype_size(c->dtype) * (c->kind == LS_ALL_GATHER ? (size_t)world : 1);
}

/* Where send or recv lies within the larger of the two when it is used in place. */
static bool in_place(const struct ls_coll *c, int rank)
{
	size_t part = c->count * ls_dtype_size(c->dtype) * (size_t)rank;

	if (c->kind == LS_REDUCE_SCATTER)
		return (const char *)c->recv == (const char *)c->send + part;
	if (c->kind == LS_ALL_GATHER)
		return (const char *)c->send == (const char *)c->recv + part;
	return c->send == c->recv;
}

ls_status ls_coll_check(const struct ls_coll *c, int rank, int world, struct ls_err *err)
{
	const char *name, *send = c->send, *recv = c->recv;
	bool sends;

	if ((unsigned)c->kind >= LS_COLL_KINDS)
		return ls_fail(err, LS_USAGE, 0, "collective %d: there is none such", (int)c->kind);
	if (c->kind == LS_BARRIER)
		return LS_OK;
	name = ls_coll_name(c->kind);
	if ((unsigned)c->dtype > LS_U8)
		return ls_fail(err, LS_USAGE, 0, "%s: element type %d: there is none such", name, (int)c->dtype);
	if (ls_coll_reduces(c) && (unsigned)c->op > LS_MAX)
		return ls_fail(err, LS_USAGE, 0, "%s: operation %d: there is none such", name, (int)c->op);
	if (ls_coll_reduces(c) && c->dtype == LS_U8)
		return ls_fail(err, LS_USAGE, 0, "%s: bytes (U8) are not added: use I32 or I64", name);
	if (c->kind == LS_BROADCAST && (c->root < 0 || c->root >= world))
		return ls_fail(err, LS_USAGE, 0, "%s from rank %d: the world has ranks 0 to %d", name, c->root, world - 1);
	if (c->count > (size_t)PTRDIFF_MAX / 8 / (size_t)world)
		return ls_fail(err, LS_USAGE, 0, "%s: %zu elements are more than memory can hold", name, c->count);
	sends = c->kind != LS_BROADCAST || c->root == rank;
	if (c->count && (!recv || (sends && !send)))
		return ls_fail(err, LS_USAGE, 0, "%s: the %s buffer is NULL", name, recv ? "send" : "recv");
	if (c->count && sends && !in_place(c, rank) && send < recv + ls_coll_recv_bytes(c, world) &&
		recv < send + ls_coll_send_bytes(c, world))
		return ls_fail(err, LS_USAGE, 0, "%s: send and recv overlap, but not as in place", name);
	return LS_OK;
}
