/* settings.c -- how the environment wants groups to be opened; docs/environment.md. */
#include "collectives/backend.h"
#include "core/env.h"

#include <string.h>

ls_status ls_comm_settings(struct ls_comm_options *ret, struct ls_err *err)
{
	const char *progress = ls_env_text("LOCKSTEP_PROGRESS", ret->progress == LS_PROGRESS_THREAD ? "thread" : "auto");
	int64_t group, cpu;
	ls_status st = ls_env_number("LOCKSTEP_SUM_GROUP", 1, ret->group, &group, err);

	if (!st)
		st = ls_env_number("LOCKSTEP_PROGRESS_CPU", 0, -1, &cpu, err);
	if (st)
		return st;
	if (group > INT32_MAX || cpu > INT32_MAX)
		return ls_fail(err, LS_USAGE, 0, "environment: LOCKSTEP_SUM_GROUP or LOCKSTEP_PROGRESS_CPU is larger than any machine");
	if (strcmp(progress, "calls") && strcmp(progress, "thread") && strcmp(progress, "auto"))
		return ls_fail(err, LS_USAGE, 0, "environment: LOCKSTEP_PROGRESS=%s: want auto, calls or thread", progress);
	ret->group = (int)group;
	ret->progress_cpu = (int)cpu;
	ret->progress = !strcmp(progress, "thread") ? LS_PROGRESS_THREAD : !strcmp(progress, "auto") && cpu >= 0 ? LS_PROGRESS_AUTO : LS_PROGRESS_CALLS;
	ret->backend = ls_env_text("LOCKSTEP_BACKEND", ret->backend);
	ret->algorithm = ls_env_text("LOCKSTEP_ALGORITHM", ret->algorithm);
	return LS_OK;
}
