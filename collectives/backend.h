/* backend.h -- the seam between what a rank asks of its group and the library that carries it out.
 *
 * A backend is one row of the table in backends.c and one file backend_X.c. It opens a group (struct ls_comm) and
 * plans all-reduces (struct ls_reduce) on it: a plan owns every buffer that its transfers need, so that a step
 * allocates nothing, and a backend that must register memory or capture a graph has a place for it.
 *
 * Invariant: every element of a sum is ((x0 + x1) + x2) + …, in rank order, in the element's own type, whatever the
 * backend, the algorithm or the split; an average is that sum times the nearest value to 1/world. So one manifest
 * gives the same bits on every run, with every version of the transport, and however the gradients are cut into
 * buckets.
 *
 *     plan --start--> in flight --test…done--> planned again          (close() and unplan() end it)
 *
 *   Order      plans are made in the same order on all ranks; they may be started and tested in any order.
 *   Ownership  a plan borrows `buf`, which stays where it is until unplan(); between start and done it is the plan's.
 *   Threads    one thread per group.
 *   Errors     LS_RANK_LOST: the group is unusable, only close(orderly = false) may follow. No call has a deadline: a
 *              peer that is silent but alive is the launcher's to judge.
 *   Not here   buckets and their agreement (worker/bucket.c), and who is in the group: the launcher's plan. */
#ifndef LS_BACKEND_H
#define LS_BACKEND_H

#include "core/safetensors.h"
#include "core/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ls_traffic {          /* what this rank sent for all-reduces since open(); tests assert it */
	uint64_t messages, bytes;
};

struct ls_comm {             /* a backend embeds it as its first member */
	const struct ls_backend *backend;
	int rank, world, local_rank;
	char library[64];    /* "Open MPI v4.1.4" */
	struct ls_traffic traffic;
};

struct ls_reduce {           /* likewise */
	struct ls_comm *comm;
};

enum ls_reduce_op { LS_SUM, LS_AVERAGE };

struct ls_backend {
	const char *name;
	ls_status (*open)(struct ls_comm **ret, struct ls_err *err);
	/* Not orderly: this rank leaves alone; nothing may wait for the others. */
	void (*close)(struct ls_comm *c, bool orderly);

	ls_status (*allgather)(struct ls_comm *c, const void *mine, void *ret_all, size_t bytes, struct ls_err *err);
	ls_status (*broadcast)(struct ls_comm *c, void *buf, size_t bytes, int root, struct ls_err *err);
	ls_status (*barrier)(struct ls_comm *c, struct ls_err *err);

	/* F32 and F64. */
	ls_status (*plan)(struct ls_comm *c, void *buf, size_t count, enum ls_dtype dtype, enum ls_reduce_op op,
		struct ls_reduce **ret, struct ls_err *err);
	ls_status (*start)(struct ls_reduce *r, struct ls_err *err);
	ls_status (*test)(struct ls_reduce *r, bool *ret_done, struct ls_err *err); /* also drives the transfer */
	void (*unplan)(struct ls_reduce *r);                                       /* NULL is fine */
};

extern const struct ls_backend ls_backend_mpi;

/* `name` NULL or "": the default. LS_USAGE for an unknown one lists those there are. */
ls_status ls_backend_find(const char *name, const struct ls_backend **ret, struct ls_err *err);
/* Drive a started plan until it is done. */
ls_status ls_reduce_wait(struct ls_reduce *r, struct ls_err *err);

#endif
