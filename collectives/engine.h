/* engine.h -- what the files of collectives/ share beside the seam: the rows of both tables, and small helpers. */
#ifndef LS_ENGINE_H
#define LS_ENGINE_H

#include "collectives/backend.h"
#include "collectives/reduce.h"

#include <stdlib.h>

extern const struct ls_backend ls_backend_shm, ls_backend_hier, ls_backend_mpi, ls_backend_nccl;
extern const struct ls_algorithm ls_shm_exchange, ls_shm_direct, ls_shm_slots;
extern const struct ls_algorithm ls_mpi_exchange, ls_mpi_owners, ls_mpi_library;
extern const struct ls_algorithm ls_hier_rails;
extern const struct ls_algorithm ls_nccl_library;

/* LS_USAGE, with a list, where no row has this name. */
ls_status ls_algorithm_known(const char *name, struct ls_err *err);

/* The thread of a group that wants one; and its end. */
ls_status ls_engine_begin(struct ls_comm *c, const struct ls_comm_options *opt, struct ls_err *err);
void ls_engine_end(struct ls_comm *c);

/* Another group's all-gather on MPI; `ret` is valid as long as `mpi` is. */
void ls_mpi_bootstrap(struct ls_comm *mpi, struct ls_bootstrap *ret);
/* May MPI be called from a thread of ours? LS_USAGE if it is needed and MPI was not started so. */
ls_status ls_mpi_threads(const struct ls_comm *mpi, enum ls_progress *progress, struct ls_err *err);

/* 64-byte aligned (large ones 2 MiB, on huge pages), zeroed and touched; free() gives it back. NULL: no memory. */
void *ls_pages_alloc(size_t bytes);

/* The elements of rank `rank` when `count` are dealt out to `world` in order, in runs of whole 64-byte lines. */
static inline size_t ls_part_begin(size_t count, int rank, int world, size_t elem)
{
	size_t lines = count / (64 / elem);

	return rank == world ? count : lines * (size_t)rank / (size_t)world * (64 / elem);
}

/* What a reduction over all ranks of a group is. */
static inline struct ls_reduction ls_reduction_of(const struct ls_request *p)
{
	return (struct ls_reduction){ .op = p->coll.op, .in = p->coll.dtype, .out = p->coll.dtype, .n = p->comm->world,
		.group = p->comm->group, .divisor = p->coll.op == LS_AVERAGE ? p->comm->world : 1 };
}

#endif
