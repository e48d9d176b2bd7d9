/* options.c -- what the program asks for and what the launcher set in the environment, merged; the launcher wins.
 *
 * A variable that does not parse is an error, not a default: a checkpoint interval of "1O0" must not mean "never". */
#include "core/hold.h"
#include "worker/rank.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char *text_of(const char *name, const char *otherwise)
{
	const char *value = getenv(name);

	return value && *value ? value : otherwise;
}

static ls_status number_of(const char *name, int64_t least, int64_t otherwise, int64_t *ret, struct ls_err *err)
{
	const char *text = text_of(name, NULL);
	char *end;
	long long value;

	*ret = otherwise;
	if (!text)
		return LS_OK;
	errno = 0;
	value = strtoll(text, &end, 10);
	if (*end || errno || value < least)
		return ls_fail(err, LS_USAGE, 0, "environment: %s=%s: want a whole number of at least %lld", name, text,
			(long long)least);
	*ret = value;
	return LS_OK;
}

/* WORLD_SIZE and RANK count only beside the launcher's own variables: a shell inside some other launcher's job has
 * them too. */
static ls_status plan_of(struct ls_settings *s, struct ls_err *err)
{
	ls_status st;

	s->planned_world = s->planned_rank = -1;
	if (!getenv("LOCKSTEP_JOB") && !getenv("LOCKSTEP_ATTEMPT"))
		return LS_OK;
	st = number_of("WORLD_SIZE", 1, -1, &s->planned_world, err);
	return st ? st : number_of("RANK", 0, -1, &s->planned_rank, err);
}

static ls_status busy_of(bool *ret_wait, struct ls_err *err)
{
	const char *text = text_of("LOCKSTEP_CHECKPOINT_WHEN_BUSY", "Replace");

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
		st = number_of(numbers[i].name, numbers[i].least, numbers[i].otherwise, numbers[i].ret, err);
		if (st)
			return st;
	}
	st = number_of("LOCKSTEP_CHECKPOINT_KEEP", 1, opt->keep ? opt->keep : 3, &keep, err);
	if (st)
		return st;
	ret->keep = keep > INT32_MAX ? INT32_MAX : (int)keep;
	ret->total_steps = opt->total_steps;
	ret->checkpoint_uri = text_of("LOCKSTEP_CHECKPOINT_URI", opt->checkpoint_uri);
	ret->agent = text_of(LS_AGENT_ENV, NULL);
	ret->job = text_of("LOCKSTEP_JOB", "");
	ret->backend = text_of("LOCKSTEP_BACKEND", NULL);
	st = busy_of(&ret->wait_when_busy, err);
	return st ? st : plan_of(ret, err);
}
