/* coll.h -- what a collective operation is, whoever carries it out.
 *
 * Order of additions. Every element of a sum is made in one order, on every backend, with every algorithm, however the
 * data is cut: the ranks are taken in blocks of `group` consecutive ranks, each block is added up in rank order,
 * ((x0 + x1) + x2) + …, and then the blocks' sums, in order. So one manifest gives the same bits on every run and on
 * every placement. `group` is LOCKSTEP_SUM_GROUP, which the launcher sets to the ranks of one worker; without it, the
 * largest block that no node cuts (the world, on one node).
 *
 * Arithmetic. F32, F64: in their own type. F16, BF16: converted to f32, accumulated in f32, rounded once, to nearest
 * even; partial sums between nodes travel as f32. I32, I64: modulo 2^32, 2^64. An average of floats is the sum times the
 * nearest value to 1/world; of integers, the sum divided by world, towards zero. Minimum and maximum: NaN if any is. */
#ifndef LS_COLL_H
#define LS_COLL_H

#include "core/safetensors.h"
#include "core/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum ls_coll_kind { LS_ALL_REDUCE, LS_REDUCE_SCATTER, LS_ALL_GATHER, LS_BROADCAST, LS_BARRIER };
#define LS_COLL_KINDS 5
enum ls_reduce_op { LS_SUM, LS_AVERAGE, LS_MIN, LS_MAX };

/* The same on all ranks but for the buffers.
 *
 *     kind            send, elements    recv, elements    in place
 *     ALL_REDUCE      count             count             send == recv
 *     REDUCE_SCATTER  count x world     count             recv == send + rank x count
 *     ALL_GATHER      count             count x world     send == recv + rank x count
 *     BROADCAST       count (root's)    count             send == recv, which the root only reads; others need no send
 *     BARRIER         -                 -
 * Otherwise send and recv must not overlap. */
struct ls_coll {
	enum ls_coll_kind kind;
	enum ls_dtype dtype;     /* ALL_GATHER, BROADCAST: any; a reduction: all but U8 */
	enum ls_reduce_op op;    /* of the two reductions */
	int root;
	size_t count;
	const void *send;
	void *recv;
};

const char *ls_coll_name(enum ls_coll_kind kind);      /* "all-reduce" */
const char *ls_reduce_op_name(enum ls_reduce_op op);   /* "sum", "avg", "min", "max" */
bool ls_coll_reduces(const struct ls_coll *c);
size_t ls_coll_send_bytes(const struct ls_coll *c, int world);
size_t ls_coll_recv_bytes(const struct ls_coll *c, int world);
/* LS_USAGE with a sentence: root out of range, a sum of bytes, a missing buffer, buffers that overlap, too large a count. */
ls_status ls_coll_check(const struct ls_coll *c, int rank, int world, struct ls_err *err);

#endif
