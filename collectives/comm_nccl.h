/* comm_nccl.h -- what the files of backend nccl share: the group, and how it ends.
 *
 * Beside NCCL's communicator a group has the shared memory of its node (shm.h). There the ranks say how far they are, so that one that waits
 * too long can name who has not come; one that dies is noticed by its lock; and one that gives up leaves its sentence for the others.
 *
 *     struct shm_rank's `in`     the operations that this rank has handed to NCCL
 *     struct shm_rank's `out`    1: it gave up, and its nccl_word says why
 *
 * Invariant: whoever finds that the group cannot go on aborts NCCL's part of it first: no kernel of this rank waits for one that is gone. */
#ifndef LS_COMM_NCCL_H
#define LS_COMM_NCCL_H

#include "collectives/api_cuda.h"
#include "collectives/api_nccl.h"
#include "collectives/shm.h"

struct nccl_word {                   /* in shared memory: why this rank gave up */
	int32_t status, rank;        /* rank: the one at fault, or -1 */
	char text[600];
};

struct nccl_rank {                   /* what a rank tells of itself when the group opens; crosses the network as it is */
	int32_t status, nccl;        /* nccl: its version */
	bool shares;                 /* NCCL_MULTI_RANK_GPU_ENABLE=1 */
	int64_t word;                /* where its nccl_word is, for its node */
	char busid[24], uuid[64], gpu[64], host[64], why[400];
	ncclUniqueId id;             /* rank 0's is the group's */
};

struct nccl_plan;
struct nccl_comm {
	struct ls_comm base;
	const struct ls_nccl *nccl;
	struct shm_comm *shm;        /* of this node */
	struct ls_bootstrap boot;
	struct nccl_rank *ranks;     /* [world] */
	struct shm_record *records;  /* [world]: of the operation being planned */
	struct nccl_word *word;
	ncclComm_t comm;             /* NULL: not yet, or no more */
	void *stream;                /* all operations are in it, in the order of their start */
	void *scratch;               /* some zeros on the GPU: what a barrier adds up */
	void **blocks;               /* of ls_comm_alloc */
	size_t n_blocks;
	double limit_s;
	uint64_t started, launched;  /* operations; those that NCCL has put into the stream */
	struct nccl_plan *launching; /* what it has not put there yet, or NULL: then it may be called */
};

static inline struct nccl_comm *nccl_of(struct ls_comm *c)
{
	return (struct nccl_comm *)c;
}

/* Ends NCCL's part of the group, in bounded time. */
void ls_nccl_abort(struct nccl_comm *c);
/* The group is over for this rank, and the others of the node will hear why. Returns st. */
ls_status ls_nccl_give_up(struct nccl_comm *c, ls_status st, const struct ls_err *err);
/* NCCL reported `rc`: give up, with the name of the rank that is lost if that is why. */
ls_status ls_nccl_broke(struct nccl_comm *c, ncclResult_t rc, const char *what, struct ls_err *err);
/* Nothing came of `what` within the time limit; operation `number` (0: none) waits for others. Gives up. */
ls_status ls_nccl_late(struct nccl_comm *c, const char *what, uint64_t number, struct ls_err *err);
ls_status ls_nccl_pause(struct ls_comm *base, struct ls_pause *w, struct ls_err *err);

ls_status ls_nccl_alloc(struct ls_comm *base, size_t bytes, void **ret, struct ls_err *err);
void ls_nccl_free(struct ls_comm *base, void *p);
ls_status ls_nccl_gpu_ms(struct ls_request *p, double *ret, struct ls_err *err);
ls_status ls_nccl_gpu_after_ms(struct ls_request *p, double *ret, struct ls_err *err);

#endif
