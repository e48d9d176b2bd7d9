/* backends.c -- the table of backends, and how a group is opened with one of them.
 *
 * LS_WITHOUT_MPI leaves out what needs MPI or a GPU: the build for bindings, which bring a bootstrap of their own. */
#include "collectives/engine.h"
#include "core/str.h"

#include <string.h>

static const struct ls_backend *const backends[] = {
	&ls_backend_shm,
#ifndef LS_WITHOUT_MPI
	&ls_backend_hier,
	&ls_backend_mpi,
	&ls_backend_nccl,
#endif
};

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

ls_status ls_backend_find(const char *name, const struct ls_backend **ret, struct ls_err *err)
{
	struct ls_str names = { 0 };
	ls_status st;
	size_t i;

	for (i = 0; i < COUNT(backends); i++) {
		if (!strcmp(backends[i]->name, name)) {
			ls_str_release(&names);
			*ret = backends[i];
			return !backends[i]->lacks ? LS_OK : ls_fail(err, LS_USAGE, 0, "LOCKSTEP_BACKEND=%s: %s", name, backends[i]->lacks);
		}
		if (!backends[i]->lacks)
			ls_str_addf(&names, ", %s", backends[i]->name);
	}
	st = names.oom ? ls_fail_oom(err)
		       : ls_fail(err, LS_USAGE, 0, "LOCKSTEP_BACKEND=%s: there is no such backend; this build has: auto%s", name,
				 ls_str_text(&names));
	ls_str_release(&names);
	return st;
}

#ifdef LS_WITHOUT_MPI

static ls_status choose(struct ls_comm_options *opt, const struct ls_backend *asked, struct ls_comm **ret, struct ls_err *err)
{
	if (!opt->bootstrap)
		return ls_fail(err, LS_USAGE, 0, "this build of the library has no MPI: ranks must be told of each other by an all-gather of the caller's");
	return (asked ? asked : &ls_backend_shm)->open(opt, NULL, ret, err);
}

#else

/* The ranks of MPI's world. Where they share nodes, memory carries what stays inside. */
static ls_status choose(struct ls_comm_options *opt, const struct ls_backend *asked, struct ls_comm **ret, struct ls_err *err)
{
	struct ls_bootstrap b;
	struct ls_comm *mpi;
	ls_status st;

	if (opt->bootstrap) {
		if (asked && asked->needs_mpi)
			return ls_fail(err, LS_USAGE, 0, "backend %s needs MPI: open the group without an all-gather of the caller's", asked->name);
		return (asked ? asked : &ls_backend_shm)->open(opt, NULL, ret, err);
	}
	st = ls_backend_mpi.open(opt, NULL, &mpi, err);
	if (st)
		return st;
	if (!asked)
		asked = mpi->nodes == 1 ? &ls_backend_shm : mpi->nodes < mpi->world ? &ls_backend_hier : &ls_backend_mpi;
	if (asked->needs_mpi)
		st = ls_mpi_threads(mpi, &opt->progress, err);
	if (!st && asked == &ls_backend_mpi) {
		*ret = mpi;
		return LS_OK;
	}
	ls_mpi_bootstrap(mpi, &b);
	opt->bootstrap = &b;
	if (!st)
		st = asked->open(opt, mpi, ret, err);
	if (st)
		mpi->backend->close(mpi, false);
	return st;
}

#endif

ls_status ls_comm_open(const struct ls_comm_options *opt, struct ls_comm **ret, struct ls_err *err)
{
	const struct ls_backend *asked = NULL;
	struct ls_comm_options own = *opt;
	struct ls_comm *c;
	ls_status st = ls_vectors_check(err);

	if (!st && opt->backend && *opt->backend && strcmp(opt->backend, "auto"))
		st = ls_backend_find(opt->backend, &asked, err);
	if (!st && asked && asked->on_gpu)
		own.progress = LS_PROGRESS_CALLS; /* the GPU goes on by itself */
	if (!st && opt->algorithm && *opt->algorithm)
		st = ls_algorithm_known(opt->algorithm, err);
	if (!st)
		st = choose(&own, asked, &c, err);
	if (st)
		return st;
	st = ls_engine_begin(c, &own, err);
	if (st) {
		ls_comm_close(c, false);
		return st;
	}
	*ret = c;
	return LS_OK;
}

void ls_comm_close(struct ls_comm *c, bool orderly)
{
	struct ls_comm *under;

	if (!c)
		return;
	ls_engine_end(c);
	under = c->under;
	c->backend->close(c, orderly);
	if (under)
		under->backend->close(under, orderly);
}

ls_status ls_comm_alloc(struct ls_comm *c, size_t bytes, void **ret, struct ls_err *err)
{
	void *p;

	if (c->backend->alloc)
		return c->backend->alloc(c, bytes, ret, err);
	p = ls_pages_alloc(bytes);
	if (!p)
		return ls_fail_oom(err);
	*ret = p;
	return LS_OK;
}

void ls_comm_free(struct ls_comm *c, void *p)
{
	if (p && c->backend->free)
		c->backend->free(c, p);
	else
		free(p);
}
