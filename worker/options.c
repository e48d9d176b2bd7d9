/* options.c -- what the program asks for and what the launcher set in the environment, merged; the launcher wins.
 */
#include "core/env.h"
#include "core/hold.h"
#include "worker/rank.h"

#include <stdlib.h>
#include <string.h>

/* WORLD_SIZE and RANK count only beside the launcher's own variables: a shell inside some other launcher's job has
 * them too. */
static ls_status plan_of(struct ls_settings *s, struct ls_err *err)
{
	ls_status st;

	s->planned_world = s->planned_rank = -1;
	if (!getenv("LOCKSTEP_JOB") && !getenv("LOCKSTEP_ATTEMPT"))
		return LS_OK;
	st = ls_env_number("WORLD_SIZE", 1, -1, &s->planned_world, err);
	return st ? st : ls_env_number("RANK", 0, -1, &s->planned_rank, err);
}

static ls_status busy_of(bool *ret_wait, struct ls_err *err)
{
	const char *text = ls_env_text("LOCKSTEP_CHECKPOINT_WHEN_BUSY", "Replace");

	if (strcmp(text, "Replace") && strcmp(text, "Wait"))
		return ls_fail(err, LS_USAGE, 0, "environment: LOCKSTEP_CHECKPOINT_WHEN_BUSY=%s: want Replace or Wait", text);
	*ret_wait = !strcmp(text, "Wait");
	return LS_OK;
}

ls_status ls_settings_merge(const struct lockstep_options *opt, struct ls_settings *ret, struct ls_err *err)
{
	const struct {
		const char *name;
		int64_t least, otherwise, *ret;
	} numbers[] = {
		{ "LOCKSTEP_CHECKPOINT_STEPS", 0, opt->every_steps, &ret->every_steps },
		{ "LOCKSTEP_CHECKPOINT_SECONDS", 0, opt->every_seconds, &ret->every_seconds },
		{ "LOCKSTEP_CHECKPOINT_MEMORY_STEPS", 0, 0, &ret->memory_steps },
		{ "LOCKSTEP_CHECKPOINT_COPIES", 0, 0, &ret->copies },
		{ "LOCKSTEP_GENERATION", 0, 0, &ret->claimed },
		{ "LOCKSTEP_ATTEMPT", 0, 0, &ret->attempt },
	};
	int64_t keep;
	ls_status st;
	size_t i;

	if (opt->every_steps < 0 || opt->every_seconds < 0 || opt->keep < 0 || opt->total_steps < 0)
		return ls_fail(err, LS_USAGE, 0,
			"options: every_steps, every_seconds, keep and total_steps cannot be negative");
	for (i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		st = ls_env_number(numbers[i].name, numbers[i].least, numbers[i].otherwise, numbers[i].ret, err);
		if (st)
			return st;
	}
	st = ls_env_number("LOCKSTEP_CHECKPOINT_KEEP", 0, opt->keep ? opt->keep : 3, &keep, err);
	if (st)
		return st;
	ret->keep = keep > INT32_MAX ? INT32_MAX : (int)keep;
	ret->total_steps = opt->total_steps;
	ret->checkpoint_uri = keep ? ls_env_text("LOCKSTEP_CHECKPOINT_URI", opt->checkpoint_uri) : NULL;
	ret->agent = ls_env_text(LS_AGENT_ENV, NULL);
	ret->job = ls_env_text("LOCKSTEP_JOB", "");
	st = ls_comm_settings(&ret->comm, err);
	if (!st)
		st = ls_gpu_settings(ret, err);
	if (!st)
		st = busy_of(&ret->wait_when_busy, err);
	return st ? st : plan_of(ret, err);
}
