/* others_mpi.c -- what adds nothing is MPI's own: broadcast and barrier, by its non-blocking calls. An all-gather is owners_mpi.c's:
 * MPI's counts are ints. */
#include "collectives/comm_mpi.h"

#define PIECE_BYTES ((size_t)1 << 30)

struct library {
	struct ls_request base;
	MPI_Request *req;
	int n_req;
};

static size_t bytes_of(const struct ls_request *p)
{
	return p->coll.kind == LS_BARRIER ? 0 : p->coll.count * ls_dtype_size(p->coll.dtype);
}

static ls_status plan(struct ls_request *p, struct ls_err *err)
{
	struct library *l = (struct library *)p;

	l->req = malloc((bytes_of(p) / PIECE_BYTES + 1) * sizeof(*l->req));
	return l->req ? LS_OK : ls_fail_oom(err);
}

static ls_status start(struct ls_request *p, struct ls_err *err)
{
	struct library *l = (struct library *)p;
	struct mpi_comm *c = (struct mpi_comm *)p->comm;
	size_t bytes = bytes_of(p), at, piece;
	int rc = MPI_SUCCESS;

	l->n_req = 0;
	if (p->coll.kind == LS_BARRIER)
		rc = MPI_Ibarrier(c->comm, &l->req[l->n_req++]);
	if (bytes && p->coll.root == c->base.rank && p->coll.send != p->coll.recv)
		ls_copy(p->coll.recv, p->coll.send, bytes, false);
	for (at = 0; at < bytes && rc == MPI_SUCCESS; at += piece) {
		piece = bytes - at < PIECE_BYTES ? bytes - at : PIECE_BYTES;
		rc = MPI_Ibcast((char *)p->coll.recv + at, (int)piece, MPI_BYTE, p->coll.root, c->comm, &l->req[l->n_req++]);
	}
	return rc == MPI_SUCCESS ? LS_OK : ls_mpi_lost(err, rc, ls_coll_name(p->coll.kind));
}

static ls_status step(struct ls_request *p, bool *ret_moved, bool *ret_done, struct ls_err *err)
{
	struct library *l = (struct library *)p;
	int there, rc = MPI_Testall(l->n_req, l->req, &there, MPI_STATUSES_IGNORE);

	if (rc != MPI_SUCCESS)
		return ls_mpi_lost(err, rc, ls_coll_name(p->coll.kind));
	if (there)
		*ret_moved = *ret_done = true;
	return LS_OK;
}

static void unplan(struct ls_request *p)
{
	free(((struct library *)p)->req);
}

const struct ls_algorithm ls_mpi_library = {
	.name = "library",
	.backend = &ls_backend_mpi,
	.kinds = 1u << LS_BROADCAST | 1u << LS_BARRIER,
	.bytes = sizeof(struct library),
	.plan = plan,
	.start = start,
	.step = step,
	.unplan = unplan,
};
