/* backend_mpi.c -- a group of ranks is MPI_COMM_WORLD; its all-reduce is allreduce_mpi.c.
 *
 * Only calls whose binary interface Open MPI 4 and 5 share are used, so that one binary runs under both. MPI is
 * finalised only if it was initialised here, and never when this rank leaves alone: MPI_Finalize would wait for
 * ranks that in turn wait for this one, and leaving without it is what tells mpirun to end the others.
 * Not here: thread support beyond one calling thread, and groups smaller than the world. */
#include "collectives/comm_mpi.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define PIECE_BYTES ((size_t)1 << 30) /* MPI counts are ints */

ls_status ls_mpi_lost(struct ls_err *err, int rc, const char *what)
{
	char text[MPI_MAX_ERROR_STRING] = "unknown error";
	int len;

	MPI_Error_string(rc, text, &len);
	return ls_fail(err, LS_RANK_LOST, 0,
		"%s failed: %s; another rank or the network to it is gone, this attempt cannot go on", what, text);
}

static ls_status init(bool *ret_ours, struct ls_err *err)
{
	int ready = 0, over = 0, provided;

	MPI_Finalized(&over);
	if (over)
		return ls_fail(err, LS_USAGE, 0, "MPI is finalised already; call lockstep_start before MPI_Finalize");
	MPI_Initialized(&ready);
	if (!ready && MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &provided) != MPI_SUCCESS)
		return ls_fail(err, LS_JOB_LOST, 0, "MPI_Init failed; see what the MPI library printed");
	*ret_ours = !ready;
	return LS_OK;
}

/* "Open MPI v4.1.4, package: …": the part before the comma. */
static void library_name(char *ret, size_t size)
{
	char text[MPI_MAX_LIBRARY_VERSION_STRING];
	size_t len;
	int n;

	MPI_Get_library_version(text, &n);
	len = strcspn(text, ",\n");
	if (len >= size)
		len = size - 1;
	memcpy(ret, text, len);
	ret[len] = '\0';
}

static int local_rank(MPI_Comm comm, int rank, int *ret)
{
	MPI_Comm node;
	int rc = MPI_Comm_split_type(comm, MPI_COMM_TYPE_SHARED, rank, MPI_INFO_NULL, &node);

	if (rc != MPI_SUCCESS)
		return rc;
	rc = MPI_Comm_rank(node, ret);
	MPI_Comm_free(&node);
	return rc;
}

static ls_status describe(struct mpi_comm *c, struct ls_err *err)
{
	void *tag_ub;
	int rc, has_ub;

	rc = MPI_Comm_dup(MPI_COMM_WORLD, &c->comm);
	if (rc == MPI_SUCCESS)
		rc = MPI_Comm_set_errhandler(c->comm, MPI_ERRORS_RETURN);
	if (rc == MPI_SUCCESS)
		rc = MPI_Comm_rank(c->comm, &c->base.rank);
	if (rc == MPI_SUCCESS)
		rc = MPI_Comm_size(c->comm, &c->base.world);
	if (rc == MPI_SUCCESS)
		rc = local_rank(c->comm, c->base.rank, &c->base.local_rank);
	if (rc == MPI_SUCCESS)
		rc = MPI_Comm_get_attr(c->comm, MPI_TAG_UB, &tag_ub, &has_ub);
	if (rc != MPI_SUCCESS)
		return ls_mpi_lost(err, rc, "joining the MPI world");
	c->max_tag = has_ub ? *(int *)tag_ub : 32767;
	library_name(c->base.library, sizeof(c->base.library));
	return LS_OK;
}

static void close_comm(struct ls_comm *base, bool orderly)
{
	struct mpi_comm *c = (struct mpi_comm *)base;

	if (orderly && c->comm != MPI_COMM_NULL)
		MPI_Comm_free(&c->comm);
	if (orderly && c->finalize)
		MPI_Finalize();
	free(c);
}

static ls_status open_comm(struct ls_comm **ret, struct ls_err *err)
{
	struct mpi_comm *c = calloc(1, sizeof(*c));
	ls_status st;

	if (!c)
		return ls_fail_oom(err);
	c->base.backend = &ls_backend_mpi;
	c->comm = MPI_COMM_NULL;
	st = init(&c->finalize, err);
	if (!st)
		st = describe(c, err);
	if (st) {
		close_comm(&c->base, false);
		return st;
	}
	*ret = &c->base;
	return LS_OK;
}

static ls_status allgather(struct ls_comm *base, const void *mine, void *ret_all, size_t bytes, struct ls_err *err)
{
	struct mpi_comm *c = (struct mpi_comm *)base;
	int rc;

	if (bytes > INT_MAX)
		return ls_fail(err, LS_USAGE, 0, "%zu bytes are more than one MPI message holds", bytes);
	rc = MPI_Allgather(mine, (int)bytes, MPI_BYTE, ret_all, (int)bytes, MPI_BYTE, c->comm);
	return rc == MPI_SUCCESS ? LS_OK : ls_mpi_lost(err, rc, "all-gather");
}

static ls_status broadcast(struct ls_comm *base, void *buf, size_t bytes, int root, struct ls_err *err)
{
	struct mpi_comm *c = (struct mpi_comm *)base;
	char *p = buf;

	while (bytes > 0) {
		size_t piece = bytes < PIECE_BYTES ? bytes : PIECE_BYTES;
		int rc = MPI_Bcast(p, (int)piece, MPI_BYTE, root, c->comm);

		if (rc != MPI_SUCCESS)
			return ls_mpi_lost(err, rc, "broadcast");
		p += piece;
		bytes -= piece;
	}
	return LS_OK;
}

static ls_status barrier(struct ls_comm *base, struct ls_err *err)
{
	int rc = MPI_Barrier(((struct mpi_comm *)base)->comm);

	return rc == MPI_SUCCESS ? LS_OK : ls_mpi_lost(err, rc, "barrier");
}

const struct ls_backend ls_backend_mpi = {
	.name = "mpi",
	.open = open_comm,
	.close = close_comm,
	.allgather = allgather,
	.broadcast = broadcast,
	.barrier = barrier,
	.plan = ls_mpi_plan,
	.start = ls_mpi_start,
	.test = ls_mpi_test,
	.unplan = ls_mpi_unplan,
};
