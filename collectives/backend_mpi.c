/* backend_mpi.c -- a group of ranks is MPI_COMM_WORLD; every rank for itself, whoever shares its node.
 *
 * Only calls whose binary interface Open MPI 4 and 5 share are used, so that one binary runs under both. MPI is finalised only if it was
 * initialised here, and never when this rank leaves alone: MPI_Finalize would wait for ranks that in turn wait for this one, and leaving
 * without it is what tells mpirun to end the others.
 * Not here: groups smaller than the world. A rank that died is MPI's to notice, or the launcher's. */
#include "collectives/comm_mpi.h"

#include <limits.h>
#include <sched.h>
#include <string.h>

#define POLLS 1000 /* before the core is offered to others: some 100 us */

ls_status ls_mpi_lost(struct ls_err *err, int rc, const char *what)
{
	char text[MPI_MAX_ERROR_STRING] = "unknown error";
	int len;

	MPI_Error_string(rc, text, &len);
	return ls_fail(err, LS_RANK_LOST, 0, "%s failed: %s; another rank or the network to it is gone, this attempt cannot go on", what, text);
}

/* With a thread that communicates, the program may call MPI at the same time: less than MULTIPLE will not do, but for memory. */
static ls_status init(struct mpi_comm *c, enum ls_progress progress, struct ls_err *err)
{
	int ready = 0, over = 0, want = progress != LS_PROGRESS_CALLS ? MPI_THREAD_MULTIPLE : MPI_THREAD_FUNNELED;

	MPI_Finalized(&over);
	if (over)
		return ls_fail(err, LS_USAGE, 0, "MPI is finalised already; call lockstep_start before MPI_Finalize");
	MPI_Initialized(&ready);
	if (ready)
		MPI_Query_thread(&c->threads);
	else if (MPI_Init_thread(NULL, NULL, want, &c->threads) != MPI_SUCCESS)
		return ls_fail(err, LS_JOB_LOST, 0, "MPI_Init failed; see what the MPI library printed");
	c->finalize = !ready;
	return LS_OK;
}

ls_status ls_mpi_threads(const struct ls_comm *base, enum ls_progress *progress, struct ls_err *err)
{
	const struct mpi_comm *c = (const struct mpi_comm *)base;

	if (*progress == LS_PROGRESS_AUTO && c->threads != MPI_THREAD_MULTIPLE)
		*progress = LS_PROGRESS_CALLS;
	if (*progress == LS_PROGRESS_CALLS || c->threads == MPI_THREAD_MULTIPLE)
		return LS_OK;
	return ls_fail(err, LS_USAGE, 0, "LOCKSTEP_PROGRESS=thread needs MPI_THREAD_MULTIPLE, and %s gives less%s; LOCKSTEP_PROGRESS=calls does without",
		base->library, c->finalize ? "" : ": the program's own MPI_Init must be MPI_Init_thread, and ask for it");
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

static ls_status describe(struct mpi_comm *c, int group, struct ls_err *err)
{
	struct ls_bootstrap b;
	void *tag_ub;
	int rc, has_ub;

	library_name(c->base.library, sizeof(c->base.library));
	rc = MPI_Comm_dup(MPI_COMM_WORLD, &c->comm);
	if (rc == MPI_SUCCESS)
		rc = MPI_Comm_set_errhandler(c->comm, MPI_ERRORS_RETURN);
	if (rc == MPI_SUCCESS)
		rc = MPI_Comm_rank(c->comm, &c->base.rank);
	if (rc == MPI_SUCCESS)
		rc = MPI_Comm_size(c->comm, &c->base.world);
	if (rc == MPI_SUCCESS)
		rc = MPI_Comm_get_attr(c->comm, MPI_TAG_UB, &tag_ub, &has_ub);
	if (rc != MPI_SUCCESS)
		return ls_mpi_lost(err, rc, "joining the MPI world");
	c->max_tag = has_ub ? *(int *)tag_ub : 32767;
	ls_mpi_bootstrap(&c->base, &b);
	return ls_nodes_learn(&b, group, &c->base, err);
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

static ls_status open_comm(const struct ls_comm_options *opt, struct ls_comm *under, struct ls_comm **ret, struct ls_err *err)
{
	struct mpi_comm *c = calloc(1, sizeof(*c));
	ls_status st;

	(void)under;
	if (!c)
		return ls_fail_oom(err);
	c->base.backend = &ls_backend_mpi;
	c->comm = MPI_COMM_NULL;
	st = init(c, opt->progress, err);
	if (!st)
		st = describe(c, opt->group, err);
	if (st) {
		close_comm(&c->base, false);
		return st;
	}
	*ret = &c->base;
	return LS_OK;
}

static ls_status allgather(void *ctx, const void *mine, void *ret_all, size_t bytes, struct ls_err *err)
{
	struct mpi_comm *c = ctx;
	int rc;

	if (bytes > INT_MAX)
		return ls_fail(err, LS_USAGE, 0, "%zu bytes are more than one MPI message holds", bytes);
	rc = MPI_Allgather(mine, (int)bytes, MPI_BYTE, ret_all, (int)bytes, MPI_BYTE, c->comm);
	return rc == MPI_SUCCESS ? LS_OK : ls_mpi_lost(err, rc, "all-gather");
}

void ls_mpi_bootstrap(struct ls_comm *mpi, struct ls_bootstrap *ret)
{
	*ret = (struct ls_bootstrap){ mpi->rank, mpi->world, allgather, mpi };
}

ls_status ls_mpi_tags(struct mpi_comm *c, int n, int *ret, struct ls_err *err)
{
	if (c->next_tag > c->max_tag - n)
		return ls_fail(err, LS_USAGE, 0, "more buckets than MPI has tags (%d): use fewer, larger buckets", c->max_tag);
	*ret = c->next_tag;
	c->next_tag += n;
	return LS_OK;
}

/* Of the last plan made: a plan for one operation does not use tags up. */
void ls_mpi_tags_back(struct mpi_comm *c, int n, int tag)
{
	if (tag >= 0 && c->next_tag == tag + n)
		c->next_tag = tag;
}

/* Never asleep: MPI moves data only inside its calls. */
static ls_status pause_polling(struct ls_comm *c, struct ls_pause *w, struct ls_err *err)
{
	(void)c;
	(void)err;
	if (w->rounds++ >= POLLS)
		sched_yield();
	return LS_OK;
}

const struct ls_backend ls_backend_mpi = {
	.name = "mpi",
	.needs_mpi = true,
	.open = open_comm,
	.close = close_comm,
	.pause = pause_polling,
};
