/* backends.c -- the one table of backends; the first row is the default. */
#include "collectives/backend.h"
#include "core/str.h"

#include <string.h>

static const struct ls_backend *const backends[] = {
	&ls_backend_mpi,
};

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

ls_status ls_backend_find(const char *name, const struct ls_backend **ret, struct ls_err *err)
{
	struct ls_str names = { 0 };
	ls_status st;
	size_t i;

	if (!name || !*name)
		name = backends[0]->name;
	for (i = 0; i < COUNT(backends); i++) {
		if (!strcmp(backends[i]->name, name)) {
			*ret = backends[i];
			return LS_OK;
		}
		ls_str_addf(&names, "%s%s", i ? ", " : "", backends[i]->name);
	}
	st = names.oom ? ls_fail_oom(err)
		       : ls_fail(err, LS_USAGE, 0, "LOCKSTEP_BACKEND=%s: there is no such backend; this build has: %s",
				 name, ls_str_text(&names));
	ls_str_release(&names);
	return st;
}

ls_status ls_reduce_wait(struct ls_reduce *r, struct ls_err *err)
{
	ls_status st = LS_OK;
	bool done = false;

	while (!st && !done)
		st = r->comm->backend->test(r, &done, err);
	return st;
}
