/* cmd_logs.c -- `lockstep logs`: the launcher's log has every rank's output; a worker's Pod has its agent's.
 *
 * When the Pods are gone, the logs are read where the launcher put them, beside the checkpoints (launcher/pod_logs.h); and where they cannot be
 * read, what the status kept of the failures is printed, and said to be that. */
#include "launcher/commands.h"
#include "operator/cli.h"
#include "operator/objects.h"
#include "core/store.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct logs {
	struct ls_cli c;
	const char *name, *rank, *attempt, *worker;
	bool follow, previous;
	struct ls_logtail tail;
};

static ls_status number(const char *option, const char *text, int *ret, struct ls_err *err)
{
	char *end;
	long n = text ? strtol(text, &end, 10) : -1;

	if (text && (!isdigit((unsigned char)*text) || *end || n > 1000000))
		return ls_fail(err, LS_USAGE, 0, "%s %s: write a number", option, text);
	*ret = (int)n;
	return LS_OK;
}

/* What the status kept: the last lines of the rank that failed first. */
static ls_status print_failures(const struct logs *l, const cJSON *job, struct ls_err *err)
{
	const cJSON *f;
	int printed = 0;

	cJSON_ArrayForEach(f, ls_at(job, "status.failures")) {
		if (l->tail.attempt >= 0 && ls_number_at(f, "attempt", -1) != l->tail.attempt)
			continue;
		if (l->tail.rank >= 0 && ls_number_at(f, "rank", -1) != l->tail.rank)
			continue;
		if (!printed++)
			ls_cli_say("the Pods of %s are gone; these are the last lines of its failures, kept in its status", l->name);
		printf("attempt %lld, rank %lld: %s\n%s", ls_number_at(f, "attempt", 0), ls_number_at(f, "rank", -1), ls_text_at(f, "message"),
			ls_text_at(f, "logTail"));
		if (*ls_text_at(f, "logTail"))
			printf("\n");
	}
	if (printed)
		return LS_OK;
	if (l->tail.attempt >= 0 && l->tail.current >= 0)
		return ls_fail(err, LS_NOT_FOUND, 0, "TrainingJob '%s' has no log of an attempt %d; its newest is attempt %lld", l->name, l->tail.attempt,
			ls_number_at(job, "status.attempt", 0));
	if (ls_condition_true(job, "Suspended"))
		return ls_fail(err, LS_NOT_FOUND, 0, "no log: TrainingJob '%s' is suspended; its Pods are gone, and their logs with them", l->name);
	return ls_fail(err, LS_NOT_FOUND, 0, "no log: TrainingJob '%s' is %s and has no such Pod%s; lockstep describe %s tells why", l->name,
		ls_state_of(job), ls_is_over(job) ? " any more" : " yet", l->name);
}

enum { BLOCK = 8 << 20 };

static ls_status print_object(struct ls_store *s, const struct ls_object *o, char *block, struct ls_err *err)
{
	ls_status st = LS_OK;
	uint64_t at;
	size_t n;

	for (at = 0; !st && at < o->bytes; at += n) {
		n = o->bytes - at < BLOCK ? (size_t)(o->bytes - at) : BLOCK;
		st = ls_store_get(s, o->key, at, block, n, err);
		if (!st && fwrite(block, 1, n, stdout) < n)
			st = ls_fail(err, LS_JOB_LOST, 0, "cannot write to standard output");
	}
	return st;
}

/* "logs/attempt-3/rank-00001.log" */
static bool is_rank_log(const char *key, int *ret_attempt, int *ret_rank)
{
	int end = 0;

	return sscanf(key, "logs/attempt-%d/rank-%d.log%n", ret_attempt, ret_rank, &end) == 2 && end && !key[end];
}

/* Each rank's, of one attempt: the newest unless another was asked for. */
static ls_status print_objects(struct logs *l, struct ls_store *s, const struct ls_objects *all, struct ls_err *err)
{
	char *block = malloc(BLOCK);
	int attempt, rank, newest = l->tail.attempt;
	ls_status st = block ? LS_OK : ls_fail_oom(err);
	size_t i;

	for (i = 0; i < all->n; i++)
		if (l->tail.attempt < 0 && is_rank_log(all->v[i].key, &attempt, &rank) && attempt > newest)
			newest = attempt;
	for (i = 0; !st && i < all->n; i++) {
		if (!is_rank_log(all->v[i].key, &attempt, &rank) || attempt != newest || (l->tail.rank >= 0 && rank != l->tail.rank))
			continue;
		if (l->tail.rank < 0)
			printf("==> attempt %d, rank %d\n", attempt, rank);
		st = print_object(s, &all->v[i], block, err);
		l->tail.printed++;
	}
	free(block);
	return st;
}

/* What the launcher put beside the checkpoints. False: nothing was printed. */
static bool print_kept(struct logs *l, const cJSON *job)
{
	const char *uri = ls_text_at(job, "spec.checkpoint.uri");
	struct ls_objects all = { 0 };
	struct ls_err err = LS_ERR_INIT;
	struct ls_store *s = NULL;
	ls_status st;

	if (!*uri || !ls_at(job, "status.attempt"))
		return false;
	ls_cli_say("the launcher's Pod of %s is gone; its logs are kept in %s/logs", l->name, uri);
	st = ls_store_open(uri, &s, &err);
	if (!st)
		st = ls_store_list(s, "logs/", &all, &err);
	if (!st)
		st = print_objects(l, s, &all, &err);
	if (st)
		ls_cli_say("they cannot be read from here: %s", err.text);
	else if (!l->tail.printed)
		ls_cli_say("there are none of that rank and attempt that can be seen from here");
	ls_objects_release(&all);
	ls_store_close(s);
	return !st && l->tail.printed;
}

/* Numbers that no attempt ever had. */
static ls_status check_numbers(const struct logs *l, const cJSON *job, int worker, struct ls_err *err)
{
	long long ranks = ls_number_at(job, "status.worldSize.requested", 0), workers = ls_number_at(job, "spec.workers.replicas", 1);

	if (worker >= workers)
		return ls_fail(err, LS_USAGE, 0, "--worker %d: TrainingJob '%s' has %lld; the first is 0", worker, l->name, workers);
	if (ranks && l->tail.rank >= ranks && !ls_at(job, "status.failures"))
		return ls_fail(err, LS_USAGE, 0, "--rank %d: TrainingJob '%s' has %lld; the first is 0", l->tail.rank, l->name, ranks);
	return LS_OK;
}

/* The Pod to read: of that worker, the newest, or the one before. */
static const cJSON *pick(const struct logs *l, const cJSON *list, int worker)
{
	const cJSON *pod, *newest = NULL, *before = NULL;

	cJSON_ArrayForEach(pod, ls_at(list, "items")) {
		if (worker >= 0 && ls_label_number(pod, LS_LABEL_INDEX) != worker)
			continue;
		before = newest;
		newest = pod;
	}
	return l->previous ? before : newest;
}

/* Live: across launchers, and until the job is over, as submit --follow, but for the events. */
static ls_status print_live(struct logs *l, const char *role, int worker, struct ls_err *err)
{
	long long done = -1;
	int code;

	for (;;) {
		cJSON *list = NULL, *job = NULL;
		const cJSON *pod;
		ls_status st = ls_cli_get_job(&l->c, l->name, &job, err);
		bool over = !st && ls_is_over(job);

		cJSON_Delete(job);
		if (!st)
			st = ls_cli_pods(&l->c, l->name, role, &list, err);
		pod = st ? NULL : pick(l, list, worker);
		if (pod && ls_label_number(pod, LS_LABEL_SERIAL) != done && strcmp(ls_container_state(pod, &code), "waiting")) {
			st = ls_cli_log(l->c.k, pod, true, &l->tail, err);
			if (!st && !strcmp(ls_container_state(pod, &code), "terminated")) {
				done = ls_label_number(pod, LS_LABEL_SERIAL);
				l->tail.last[0] = '\0';
			}
		} else if (over) {
			cJSON_Delete(list);
			return LS_OK;
		}
		cJSON_Delete(list);
		if (st && st != LS_AGAIN)
			return st;
		usleep(500 * 1000);
	}
}

/* What is there; with --attempt in all launchers, as an attempt may be of an earlier one. */
static ls_status print_now(struct logs *l, const cJSON *job, const char *role, int worker, struct ls_err *err)
{
	cJSON *list = NULL;
	const cJSON *pod = NULL, *only;
	ls_status st = ls_cli_pods(&l->c, l->name, role, &list, err), one;
	int code, read = 0;

	only = st ? NULL : pick(l, list, worker);
	cJSON_ArrayForEach(pod, ls_at(list, "items")) {
		if (st || (pod != only && l->tail.attempt < 0) || (worker >= 0 && pod != only))
			continue;
		if (!strcmp(ls_container_state(pod, &code), "waiting"))
			continue;
		l->tail.last[0] = '\0';
		one = ls_cli_log(l->c.k, pod, false, &l->tail, err);
		ls_logtail_end(&l->tail);
		st = one == LS_NOT_FOUND ? LS_OK : one;
		read += !one;
	}
	cJSON_Delete(list);
	if (st || (read && (l->tail.attempt < 0 || l->tail.printed)))
		return st;
	if (worker < 0 && !l->previous)
		return print_kept(l, job) ? LS_OK : print_failures(l, job, err);
	if (worker >= 0 && (ls_is_over(job) || ls_condition_true(job, "Suspended")))
		return ls_fail(err, LS_NOT_FOUND, 0, "the workers' Pods of TrainingJob '%s' are gone, as it is %s (spec.runPolicy.cleanPodPolicy: None keeps "
			"those of a job that is over)", l->name, ls_state_of(job));
	return ls_fail(err, LS_NOT_FOUND, 0, "TrainingJob '%s' has no log of such a Pod; lockstep describe %s shows its Pods", l->name, l->name);
}

static ls_status logs(struct logs *l, struct ls_err *err)
{
	cJSON *job = NULL;
	int worker = -1;
	ls_status st;

	st = l->c.n_words == 1 ? LS_OK : ls_fail(err, LS_USAGE, 0, "write the name of one job");
	if (!st)
		st = number("--rank", l->rank, &l->tail.rank, err);
	if (!st)
		st = number("--attempt", l->attempt, &l->tail.attempt, err);
	if (!st)
		st = number("--worker", l->worker, &worker, err);
	if (!st && l->follow && l->previous)
		st = ls_fail(err, LS_USAGE, 0, "-f and --previous exclude each other: what is over does not grow");
	if (!st && worker >= 0 && (l->rank || l->attempt))
		st = ls_fail(err, LS_USAGE, 0, "--worker shows a Pod's own log, which knows no ranks; leave out --rank and --attempt");
	if (!st)
		st = ls_cli_open(&l->c, err);
	l->name = l->c.words[0];
	if (!st)
		st = ls_cli_get_job(&l->c, l->name, &job, err);
	if (!st)
		st = check_numbers(l, job, worker, err);
	if (!st && l->follow)
		st = print_live(l, worker >= 0 ? "worker" : "launcher", worker, err);
	else if (!st)
		st = print_now(l, job, worker >= 0 ? "worker" : "launcher", worker, err);
	cJSON_Delete(job);
	return st;
}

int cmd_logs(int argc, char **argv)
{
	struct logs l = { .tail = { .current = -1, .again = -1, .out = stdout } };
	const struct ls_cli_option options[] = {
		{ "-f --follow", LS_CLI_FLAG, NULL, "go on until the job is over", &l.follow },
		{ "--rank", LS_CLI_TEXT, "R", "only the lines of this rank", &l.rank },
		{ "--attempt", LS_CLI_TEXT, "N", "only this attempt", &l.attempt },
		{ "--worker", LS_CLI_TEXT, "I", "this worker's Pod instead: what its agent says", &l.worker },
		{ "-p --previous", LS_CLI_FLAG, NULL, "the launcher (or worker) before the present one", &l.previous },
		{ .names = NULL },
	};
	struct ls_err err = LS_ERR_INIT;
	int code;

	if (ls_cli_parse(&l.c, argc, argv, "logs NAME [options]", options, &code)) {
		ls_status st = logs(&l, &err);

		code = st ? ls_command_fail("logs", st, &err) : 0;
	}
	ls_logtail_end(&l.tail);
	ls_cli_release(&l.c);
	return code;
}
