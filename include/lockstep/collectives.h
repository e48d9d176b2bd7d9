/* collectives.h -- Lockstep's collectives for programs that bring their own training loop (and for bindings: plain C types,
 * opaque handles, no macros). A program that uses lockstep.h needs it only to sum in the library's own memory.
 *
 *     lockstep_comm_open(&opt, &comm, &err)
 *     lockstep_comm_alloc(comm, bytes, &buf, &err)                       optional: zero-copy on this node
 *     lockstep_coll_init(comm, LOCKSTEP_ALL_REDUCE, …, &op, &err)        persistent, as MPI_Allreduce_init
 *       lockstep_coll_start(op, &err)  …compute…  lockstep_coll_wait(op, &err)      each step
 *     lockstep_coll_free(op); lockstep_comm_close(comm, 1)
 *
 *   Shapes     counts are elements: of the buffer; of recv for reduce-scatter; of send for all-gather. In place as with NCCL:
 *              send == recv; reduce-scatter: recv == send + rank x count; all-gather: send == recv + rank x count.
 *   Order      all ranks make, start and free operations in the same order. A mismatch is LOCKSTEP_USAGE inside a node.
 *   Ownership  buffers are the caller's; while an operation is started they are its own.
 *   Threads    one thread per communicator.
 *   Errors     LOCKSTEP_RANK_LOST is final: only lockstep_comm_close(comm, 0) may follow.
 *   Determinism, arithmetic: the order of additions is fixed; docs/collectives.md. */
#ifndef LOCKSTEP_COLLECTIVES_H
#define LOCKSTEP_COLLECTIVES_H

#include "lockstep/lockstep.h"

#ifdef __cplusplus
extern "C" {
#endif
#ifdef __GNUC__
#pragma GCC visibility push(default)
#endif

struct lockstep_comm;
struct lockstep_coll;

enum lockstep_coll_kind {
	LOCKSTEP_ALL_REDUCE, LOCKSTEP_REDUCE_SCATTER, LOCKSTEP_ALL_GATHER, LOCKSTEP_BROADCAST, LOCKSTEP_BARRIER
};
enum lockstep_reduce_op { LOCKSTEP_SUM, LOCKSTEP_AVERAGE, LOCKSTEP_MIN, LOCKSTEP_MAX };

/* Tells every rank `bytes` bytes of every rank: all + r x bytes is rank r's. Not 0: it failed. */
typedef int (*lockstep_allgather_fn)(void *ctx, const void *mine, void *all, size_t bytes);

struct lockstep_comm_options {       /* zero means the default; the environment of the same name wins where noted */
	int rank, world;                 /* with allgather */
	lockstep_allgather_fn allgather; /* NULL: MPI, which is initialised if it is not. Given: MPI is not used; on one node, but for nccl,
					  * which may call it as long as the group is open, in lockstep_coll_init */
	void *ctx;
	const char *backend;             /* "auto", "shm", "mpi", "hier", "nccl"; LOCKSTEP_BACKEND wins. "auto" never means nccl: on a GPU it
					  * must be said */
	const char *algorithm;           /* docs/collectives.md; LOCKSTEP_ALGORITHM wins */
	int progress_thread;             /* 1: operations also advance while the caller computes, on a core to spare; LOCKSTEP_PROGRESS wins */
};

lockstep_status lockstep_comm_open(const struct lockstep_comm_options *opt, struct lockstep_comm **ret, struct lockstep_err *err);
void lockstep_comm_close(struct lockstep_comm *comm, int orderly); /* NULL is fine; orderly 0: after an error, waits for nobody */
int lockstep_comm_rank(const struct lockstep_comm *comm);
int lockstep_comm_world_size(const struct lockstep_comm *comm);
int lockstep_comm_local_rank(const struct lockstep_comm *comm);
const char *lockstep_comm_backend(const struct lockstep_comm *comm); /* the one in use: "shm" */

/* 64-byte aligned, zeroed. Not collective. nccl: in the GPU's memory, where all buffers of its operations must be. */
lockstep_status lockstep_comm_alloc(struct lockstep_comm *comm, size_t bytes, void **ret, struct lockstep_err *err);
void lockstep_comm_free(struct lockstep_comm *comm, void *p);
/* nccl: the CUDA stream (cudaStream_t) that makes what operations send, and reads what they give; from now on. An operation begins after all
 * that is in the stream when it is started. What is put into the stream later does not wait for it: call lockstep_coll_wait first. NULL,
 * the default: the legacy default stream. Other backends take no notice. */
void lockstep_comm_stream(struct lockstep_comm *comm, void *stream);

lockstep_status lockstep_coll_init(struct lockstep_comm *comm, enum lockstep_coll_kind kind, const void *send, void *recv,
	size_t count, enum lockstep_dtype dtype, enum lockstep_reduce_op op, int root, struct lockstep_coll **ret,
	struct lockstep_err *err);
lockstep_status lockstep_coll_start(struct lockstep_coll *coll, struct lockstep_err *err);
lockstep_status lockstep_coll_test(struct lockstep_coll *coll, int *ret_done, struct lockstep_err *err);
lockstep_status lockstep_coll_wait(struct lockstep_coll *coll, struct lockstep_err *err);
void lockstep_coll_free(struct lockstep_coll *coll);
/* nccl, after a wait: how long the operation took on the GPU, in milliseconds, from when its data was ready to its end; it includes
 * waiting for other ranks. LOCKSTEP_USAGE elsewhere. */
lockstep_status lockstep_coll_gpu_ms(struct lockstep_coll *coll, double *ret, struct lockstep_err *err);
const char *lockstep_coll_algorithm(const struct lockstep_coll *coll); /* the one chosen: "direct" */

#ifdef __GNUC__
#pragma GCC visibility pop
#endif
#ifdef __cplusplus
}
#endif
#endif
