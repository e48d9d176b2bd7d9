/* comm_mpi.h -- what the MPI backend's own files share; nobody else includes it. */
#ifndef LS_COMM_MPI_H
#define LS_COMM_MPI_H

#include "collectives/backend.h"

#include <mpi.h>

struct mpi_comm {
	struct ls_comm base;
	MPI_Comm comm;       /* a duplicate: the program's own messages cannot match ours */
	bool finalize;       /* MPI_Init was ours */
	int next_tag, max_tag;
};

/* Every failure of a transfer means the same: somebody is gone, or MPI's state is not to be trusted any more. */
ls_status ls_mpi_lost(struct ls_err *err, int rc, const char *what);

ls_status ls_mpi_plan(struct ls_comm *c, void *buf, size_t count, enum ls_dtype dtype, enum ls_reduce_op op,
	struct ls_reduce **ret, struct ls_err *err);
ls_status ls_mpi_start(struct ls_reduce *r, struct ls_err *err);
ls_status ls_mpi_test(struct ls_reduce *r, bool *ret_done, struct ls_err *err);
void ls_mpi_unplan(struct ls_reduce *r);

#endif
