/* algorithms.c -- the table of algorithms. Of a backend's rows the first that fits is taken; docs/collectives.md says of each
 * how many steps it takes and what it sends. */
#include "collectives/engine.h"
#include "core/str.h"

#include <string.h>

static const struct ls_algorithm *const algorithms[] = {
	&ls_shm_exchange,
	&ls_shm_direct,
	&ls_shm_slots,
#ifndef LS_WITHOUT_MPI
	&ls_mpi_exchange,
	&ls_mpi_owners,
	&ls_mpi_library,
	&ls_hier_rails,
	&ls_nccl_library,
#endif
};

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static bool can(const struct ls_algorithm *a, const struct ls_request *p)
{
	return a->backend == p->comm->backend && a->kinds & 1u << p->coll.kind;
}

/* A name asked for binds the kinds that it can do: a job has operations of several kinds. */
ls_status ls_algorithm_find(const struct ls_request *p, const struct ls_algorithm **ret, struct ls_err *err)
{
	const struct ls_algorithm *first = NULL, *named = NULL;
	size_t i;

	for (i = 0; i < COUNT(algorithms); i++) {
		const struct ls_algorithm *a = algorithms[i];

		if (!can(a, p))
			continue;
		if (p->comm->algorithm && !strcmp(a->name, p->comm->algorithm))
			named = a;
		if (!first && (!a->fits || a->fits(p)))
			first = a;
	}
	if (named && named->can && !named->can(p))
		return ls_fail(err, LS_USAGE, 0, "LOCKSTEP_ALGORITHM=%s cannot do this %s: %s", named->name, ls_coll_name(p->coll.kind), named->limit);
	if (!named && !first)
		return ls_fail(err, LS_USAGE, 0, "backend %s has no algorithm for this %s", p->comm->backend->name, ls_coll_name(p->coll.kind));
	*ret = named ? named : first;
	return LS_OK;
}

ls_status ls_algorithm_known(const char *name, struct ls_err *err)
{
	struct ls_str names = { 0 };
	ls_status st;
	size_t i;

	for (i = 0; i < COUNT(algorithms); i++) {
		if (!strcmp(algorithms[i]->name, name)) {
			ls_str_release(&names);
			return LS_OK;
		}
		ls_str_addf(&names, "%s%s:%s", i ? ", " : "", algorithms[i]->backend->name, algorithms[i]->name);
	}
	st = names.oom ? ls_fail_oom(err)
		       : ls_fail(err, LS_USAGE, 0, "LOCKSTEP_ALGORITHM=%s: there is no such algorithm; backends and theirs: %s", name,
				 ls_str_text(&names));
	ls_str_release(&names);
	return st;
}
