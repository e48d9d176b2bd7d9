/* comm_mpi.h -- what the files that use MPI share: the group, and the rail, which is how sums travel between nodes. */
#ifndef LS_COMM_MPI_H
#define LS_COMM_MPI_H

#include "collectives/engine.h"

#include <mpi.h>

#define RAIL_SLOTS 4

struct mpi_comm {
	struct ls_comm base;
	MPI_Comm comm;         /* a duplicate: the program's own messages cannot match ours */
	bool finalize;         /* MPI_Init was ours */
	int threads;           /* what MPI provides */
	int next_tag, max_tag;
	atomic_uint in_flight; /* messages of rails: who has some must not sleep */
};

/* Every failure of a transfer means the same: somebody is gone, or MPI's state is not to be trusted any more. */
ls_status ls_mpi_lost(struct ls_err *err, int rc, const char *what);

/* A few tags of a plan's own. All ranks plan in one order, so that all draw the same. */
ls_status ls_mpi_tags(struct mpi_comm *c, int n, int *ret, struct ls_err *err);
void ls_mpi_tags_back(struct mpi_comm *c, int n, int tag);

/* rail_mpi.c: one operation between nodes. Local rank i of every node, for i < rails, carries the i-th slice of the data, and talks to
 * local ranks i only. With one rank per node, on the plain mpi backend, that is all there is.
 *
 *   Ownership  the caller fills the first part; send and recv, one pointer for each rank of this node, stay the caller's. */
struct ls_rail_slot;
struct ls_rail {
	struct mpi_comm *mpi;
	struct ls_traffic *traffic;
	const struct ls_coll *coll;   /* its buffers are not looked at */
	bool exchange;                /* every node reduces everything, instead of its own part */
	int rail, rails;              /* rail >= rails: it carries nothing, and knows only what is where */
	int node, nodes, world, group;
	const int *rank_node;         /* of each rank of the world: its node, … */
	const int *rank_local;        /* … and its number there */
	const char **send;            /* by number on this node */
	char **recv;
	size_t ready;                 /* segments whose data is there on this node, since the start; the caller's to raise */
	size_t done;                  /* segments whose results are in every recv of this node */
	size_t segments;
	/* rail_mpi.c's */
	struct ls_rail_slot *slot;
	int slots, tag;
	int *peer;                    /* the rank of each node that is on this rail */
	int *locals, max_locals;      /* ranks of each node */
	int *at_node;                 /* [nodes][max_locals]: the ranks of each node, in order */
	int *leaf_node, *leaf_index;  /* in the order of additions: where each addend comes from */
	int *leaves;                  /* addends that each node sends; of an operation that does not add, at most one */
	int n_leaves;
	bool partial;                 /* addends are the sums of groups, made by their node */
	size_t part, turns;           /* elements of a part, at most; segments with the same place in different ranks' blocks */
	size_t elem, wire;            /* bytes of an element, and of an addend's on the way */
	const void **src;
	void **dst;
};

/* Segment k: of owner `node`, which elements a rail carries; false: nothing. *ret_big in a buffer that holds every rank's block, *ret_small
 * in the one that holds one (an all-reduce's and a broadcast's are alike), *ret_local whose that one is. */
bool ls_rail_part(const struct ls_rail *r, size_t k, int rail, int node, size_t *ret_big, size_t *ret_small, int *ret_local, size_t *ret_n);
ls_status ls_rail_open(struct ls_rail *r, struct ls_err *err);
void ls_rail_start(struct ls_rail *r);
ls_status ls_rail_step(struct ls_rail *r, bool *ret_moved, struct ls_err *err);
void ls_rail_close(struct ls_rail *r);

#endif
