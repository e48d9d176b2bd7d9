/* hier_mpi.h -- what the two files of backend hier share; nobody else includes it. */
#ifndef LS_HIER_MPI_H
#define LS_HIER_MPI_H

#include "collectives/comm_mpi.h"
#include "collectives/shm.h"

/* What a rank tells the others of its node about one plan. After its end they may still look at it, so that its memory goes to no other
 * use than the next plan's: all ranks are through with all plans when they agree on another. */
struct hier_cell {
	_Alignas(64) atomic_ullong ready;
	_Alignas(64) atomic_ullong done;
	int32_t nothing;           /* what a barrier adds */
	struct hier_cell *next;
};

struct hier_comm {
	struct ls_comm base;
	struct mpi_comm *mpi;      /* base.under */
	struct shm_comm *shm;      /* the ranks of this node */
	int *node, *local;         /* of each rank of the world */
	int *here;                 /* the ranks of this node, in order */
	int rails, most;           /* ranks of the smallest node, and of the largest */
	struct hier_cell *spare;
	struct shm_record *records; /* of the operation being planned, of each rank of the world */
};

#endif
