/* cmd_wait.c -- `lockstep wait NAME --for=STATE`: until a job is in a state, or can no longer come into it. */
#include "core/io.h"
#include "launcher/commands.h"
#include "operator/cli.h"

#include <stdlib.h>
#include <string.h>

/* "60s", "5m", "1h30m", "90": in seconds; -1: none of these. */
static long long seconds_of(const char *text)
{
	long long total = 0, n;
	char *end;

	if (!*text)
		return -1;
	while (*text) {
		n = strtoll(text, &end, 10);
		if (end == text || n < 0 || n > 100000000)
			return -1;
		if (*end == 'h')
			n *= 3600;
		else if (*end == 'm')
			n *= 60;
		else if (*end && *end != 's')
			return -1;
		text = end + (*end != '\0');
		total += n;
	}
	return total;
}

/* LS_OK: it is so. LS_AGAIN: not yet. Else it never will be. `job` NULL: deleted. */
static ls_status judge(const cJSON *job, const char *name, const char *state, struct ls_err *err)
{
	const char *end = ls_condition_true(job, "Failed") ? "Failed" : "Succeeded";
	const char *why = ls_text_at(ls_condition_of(job, end), "message");

	if (!strcmp(state, "delete"))
		return job ? LS_AGAIN : LS_OK;
	if (!job)
		return ls_fail(err, LS_JOB_LOST, 0, "%s was deleted while %s was awaited", name, state);
	if (ls_condition_true(job, state))
		return LS_OK;
	if (ls_is_over(job))
		return ls_fail(err, LS_JOB_LOST, 0, "%s has %s, and never will be %s%s%s", name, !strcmp(end, "Failed") ? "failed" : "succeeded", state,
			*why ? ": " : "", why);
	return LS_AGAIN;
}

static ls_status wait_for(struct ls_cli *c, const char *name, const char *state, long long seconds, struct ls_err *err)
{
	int64_t until = ls_clock_ms() + seconds * 1000, left = 0;
	struct ls_jobwatch *w = NULL;
	cJSON *job = NULL, *newer;
	unsigned seen = 0;
	ls_status st = ls_cli_get_job(c, name, &job, err);

	if (st == LS_NOT_FOUND && !strcmp(state, "delete"))
		return LS_OK;
	if (!st)
		st = judge(job, name, state, err);
	if (st == LS_AGAIN && job)
		st = ls_jobwatch_start(c, name, &w, err);
	if (w)
		st = LS_AGAIN;
	while (w && st == LS_AGAIN && (!seconds || (left = until - ls_clock_ms()) > 0)) {
		if (ls_jobwatch_next(w, seconds && left < 1000 ? (int)left : 1000, &seen, &newer)) {
			cJSON_Delete(job);
			job = newer;
			st = judge(job, name, state, err);
		}
	}
	if (w && st == LS_AGAIN)
		ls_fail(err, st, 0, "%s is not %s after %lld s; it is %s", name, strcmp(state, "delete") ? state : "deleted", seconds, ls_state_of(job));
	ls_jobwatch_stop(w);
	cJSON_Delete(job);
	return st;
}

/* "condition=Succeeded", as kubectl wait, and "succeeded" are the same. */
static const char *state_of(const char *text)
{
	static const char *const states[] = { "Succeeded", "Failed", "Running", "Suspended", "delete" };
	size_t i;

	if (!strncmp(text, "condition=", 10))
		text += 10;
	for (i = 0; i < sizeof(states) / sizeof(states[0]); i++)
		if (!strcasecmp(text, states[i]))
			return states[i];
	return NULL;
}

int cmd_wait(int argc, char **argv)
{
	const char *what = "Succeeded", *timeout = "0", *state;
	const struct ls_cli_option options[] = {
		{ "--for", LS_CLI_TEXT, "STATE", "Succeeded (the default), Failed, Running, Suspended, delete", &what },
		{ "--timeout", LS_CLI_TEXT, "60s", "give up after so long; default: never", &timeout },
		{ .names = NULL },
	};
	struct ls_err err = LS_ERR_INIT;
	struct ls_cli c = { 0 };
	long long seconds;
	ls_status st;
	int code;

	if (ls_cli_parse(&c, argc, argv, "wait NAME [--for=STATE] [--timeout=60s]", options, &code)) {
		state = state_of(what);
		seconds = seconds_of(timeout);
		if (c.n_words != 1)
			st = ls_fail(&err, LS_USAGE, 0, "write the name of one job");
		else if (!state)
			st = ls_fail(&err, LS_USAGE, 0, "--for=%s: write Succeeded, Failed, Running, Suspended or delete", what);
		else if (seconds < 0)
			st = ls_fail(&err, LS_USAGE, 0, "--timeout=%s: write a time such as 60s, 5m or 1h", timeout);
		else
			st = ls_cli_open(&c, &err);
		if (!st)
			st = wait_for(&c, c.words[0], state, seconds, &err);
		code = st ? ls_command_fail("wait", st, &err) : 0;
		if (!st)
			printf("trainingjob %s: %s\n", c.words[0], strcmp(state, "delete") ? state : "deleted");
	}
	ls_cli_release(&c);
	return code;
}
