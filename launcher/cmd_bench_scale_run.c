/* cmd_bench_scale_run.c -- one run of the user's job: started by `lockstep run` as its user would, watched, and ended in an orderly way.
 *
 *     start ──> steps.csv grows ──> enough steps ──> SIGTERM ──> its launcher ends the ranks ──> what it told counts
 *                              └──> it ends itself: what it told counts, if its exit code is 0
 *
 * Its directory is ours and goes with it, and so does what it could save: LOCKSTEP_CHECKPOINT_KEEP=0 has liblockstep save and restore nothing,
 * and the URI that other programs find is below that directory. A process group of its own: Ctrl-C reaches it through us alone. */
#include "launcher/child.h"
#include "launcher/cmd_bench_scale.h"
#include "launcher/plan.h"
#include "launcher/signals.h"
#include "core/io.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LOOK_MS = 100, LATE_S = 2, TIMEOUT_CODE = 124 };

struct child {
	pid_t pid;
	int code;             /* when it has ended */
	bool ended, enough;   /* it was told to end, as it had told enough */
	int stops;            /* of our own signals, handed on */
	int fd;               /* of steps.csv; -1: not there yet */
	char dir[400];
	struct ls_scale_seen *seen;
};

/* --- the command line ----------------------------------------------------------------------------------------------------------- */

ls_status ls_scale_deal(const struct ls_hosts *hosts, int ranks, int *ret_hosts, struct ls_err *err)
{
	int h, i, slots = 0;

	for (h = 1; h <= hosts->n; h++) {
		for (slots = 0, i = 0; i < h; i++)
			slots = !slots || (hosts->v[i].slots && hosts->v[i].slots < slots) ? hosts->v[i].slots : slots;
		if (ranks % h == 0 && (!slots || ranks / h <= slots)) {
			*ret_hosts = h;
			return LS_OK;
		}
	}
	if (hosts->n <= 1) { /* cores are shared, and that is said */
		*ret_hosts = 1;
		return LS_OK;
	}
	return ls_fail(err, LS_USAGE, 0, "--ranks %d: does not divide over up to %d hosts with at most %d slots each; every host of a job has equally many "
		"ranks", ranks, hosts->n, slots);
}

static void add_fields(const struct ls_scale_point *p, const char *dir, struct ls_strv *ret)
{
	const struct { const char *field; int value; } fields[] = { { "replicas", p->hosts }, { "minReplicas", p->hosts },
		{ "ranksPerWorker", p->ranks / p->hosts } };
	size_t i;

	for (i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		ls_strv_add(ret, "--set");
		ls_strv_addf(ret, "spec.workers.%s=%d", fields[i].field, fields[i].value);
	}
	ls_strv_add(ret, "--set");
	ls_strv_add(ret, "spec.runPolicy.suspend=false");
	ls_strv_add(ret, "--set");
	ls_strv_addf(ret, "spec.checkpoint.uri=file://%s/checkpoints", dir);
	ls_strv_add(ret, "-x");
	ls_strv_add(ret, "LOCKSTEP_CHECKPOINT_KEEP=0");
}

ls_status ls_scale_command(const struct ls_scale *s, const struct ls_scale_series *series, const struct ls_scale_point *p, const char *dir,
	struct ls_strv *ret, struct ls_err *err)
{
	struct ls_scale_names names = { p->ranks, p->hosts };
	char *const *more;
	ls_status st;

	ls_strv_add(ret, s->self);
	ls_strv_add(ret, "run");
	ls_strv_addf(ret, "--file=%s", s->opt.file);
	ls_strv_addf(ret, "--dir=%s", dir);
	ls_strv_add(ret, "--max-restarts=0");
	ls_strv_addf(ret, "--timeout=%d", s->opt.timeout_s);
	ls_strv_add(ret, "--oversubscribe");
	ls_strv_add(ret, "--quiet");
	if (s->opt.hosts)
		ls_strv_addf(ret, "--host=%s", s->opt.hosts);
	if (s->opt.hostfile)
		ls_strv_addf(ret, "--hostfile=%s", s->opt.hostfile);
	for (more = s->opt.rest; more && *more; more++)
		ls_strv_add(ret, *more);
	st = ls_scale_assign(&s->opt, series->assigned, &names, ret, err);
	add_fields(p, dir, ret);
	return !st && ret->oom ? ls_fail_oom(err) : st;
}

/* --- the process ---------------------------------------------------------------------------------------------------------------- */

/* Does not return. */
static void become(const struct ls_strv *argv, const char *log, pid_t parent)
{
	int out = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

	ls_child_become(argv->v, out, out, parent);
}

/* What has come to steps.csv since the last look. */
static ls_status look(struct child *c, struct ls_err *err)
{
	char path[450], bytes[65536];
	ls_status st = LS_OK;
	ssize_t n;

	if (c->fd < 0) {
		snprintf(path, sizeof(path), "%s/steps.csv", c->dir);
		c->fd = open(path, O_RDONLY | O_CLOEXEC);
	}
	while (!st && c->fd >= 0 && (n = read(c->fd, bytes, sizeof(bytes))) > 0)
		st = ls_scale_seen_feed(c->seen, bytes, (size_t)n, err);
	return st;
}

/* Ranks that have told nothing yet may only be late, where a program's first steps are not in step. */
static bool told_enough(const struct child *c, const struct ls_scale_options *opt)
{
	double seconds;
	bool all;
	long steps = ls_scale_seen_steps(c->seen, opt->warmup, &seconds, &all);

	return steps >= opt->steps && seconds >= opt->seconds + (all ? 0 : LATE_S);
}

static void check_ended(struct child *c)
{
	int status;

	if (waitpid(c->pid, &status, WNOHANG) != c->pid)
		return;
	c->ended = true;
	c->code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* Until it has ended. A signal to us is one to it; what it told by then is read in any case. */
static ls_status watch(struct child *c, const struct ls_scale_options *opt, struct ls_err *err)
{
	struct pollfd signals = { .fd = ls_signals_fd(), .events = POLLIN };
	ls_status st = LS_OK;

	while (!c->ended) {
		poll(&signals, 1, LOOK_MS);
		ls_signals_drain();
		for (; c->stops < *ls_signals_stops(); c->stops++)
			kill(c->pid, SIGTERM);
		check_ended(c);
		if (!st)
			st = look(c, err);
		if (!c->enough && !c->ended && (st || told_enough(c, opt))) {
			c->enough = !st;
			kill(c->pid, SIGTERM);
		}
	}
	return st ? st : look(c, err);
}

/* --- what became of it ---------------------------------------------------------------------------------------------------------- */

static cJSON *job_of(const struct child *c)
{
	struct ls_str path = { 0 }, text = { 0 };
	cJSON *job = NULL;

	ls_str_addf(&path, "%s/job.json", c->dir);
	if (!ls_file_read(ls_str_text(&path), 64 << 20, &text, NULL))
		job = cJSON_ParseWithLength(ls_str_text(&text), text.len);
	ls_str_release(&path);
	ls_str_release(&text);
	return job;
}

static const char *text_of(const cJSON *o, const char *key)
{
	const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(o, key));

	return text ? text : "";
}

static const cJSON *attempt_of(const cJSON *job)
{
	const cJSON *attempts = cJSON_GetObjectItemCaseSensitive(job, "attempts");

	return cJSON_GetArrayItem(attempts, cJSON_GetArraySize(attempts) - 1);
}

/* The last line of its log that says something: of a run that came to no attempt. */
static void last_line(const struct child *c, char *ret, size_t size)
{
	struct ls_str path = { 0 }, text = { 0 };
	char *nl;

	snprintf(ret, size, "lockstep run ended with code %d and told nothing; is there room in $TMPDIR, or /tmp?", c->code);
	ls_str_addf(&path, "%s.log", c->dir);
	if (!ls_file_read(ls_str_text(&path), 64 << 20, &text, NULL) && text.len) {
		while (text.len && text.s[text.len - 1] == '\n')
			text.s[--text.len] = '\0';
		nl = strrchr(ls_str_text(&text), '\n');
		snprintf(ret, size, "%s", nl ? nl + 1 : ls_str_text(&text));
	}
	ls_str_release(&path);
	ls_str_release(&text);
}

static void why_failed(const struct child *c, const struct ls_scale_options *opt, const cJSON *job, struct ls_scale_point *p)
{
	const cJSON *failure = cJSON_GetObjectItemCaseSensitive(attempt_of(job), "failure"), *line;

	if (c->code == TIMEOUT_CODE)
		snprintf(p->failed, sizeof(p->failed), "it did not tell enough steps within %d s; --timeout gives it longer", opt->timeout_s);
	else if (*text_of(job, "message"))
		snprintf(p->failed, sizeof(p->failed), "%s", text_of(job, "message"));
	else
		last_line(c, p->failed, sizeof(p->failed));
	cJSON_ArrayForEach(line, cJSON_GetObjectItemCaseSensitive(failure, "logTail"))
		if (cJSON_IsString(line))
			fprintf(stderr, "  | %s\n", line->valuestring);
}

static void note_seats(const cJSON *job, struct ls_scale_point *p)
{
	const cJSON *ranks = cJSON_GetObjectItemCaseSensitive(attempt_of(job), "ranks"), *a, *b;

	cJSON_ArrayForEach(a, ranks) {
		const cJSON *gpu = cJSON_GetObjectItemCaseSensitive(a, "gpu");

		p->shares_core |= cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(a, "sharesCore"));
		for (b = a->next; b && cJSON_IsNumber(gpu) && gpu->valueint >= 0; b = b->next)
			p->shares_gpu |= cJSON_Compare(gpu, cJSON_GetObjectItemCaseSensitive(b, "gpu"), true) && !strcmp(text_of(a, "host"), text_of(b, "host"));
	}
}

static ls_status judge(struct child *c, const struct ls_scale_options *opt, struct ls_scale_point *p, struct ls_err *err)
{
	cJSON *job = job_of(c);
	ls_status st = LS_OK;

	note_seats(job, p);
	if (!c->enough && c->code)
		why_failed(c, opt, job, p);
	else
		st = ls_scale_seen_run(c->seen, opt->warmup, &p->runs[p->n], err);
	if (st == LS_DATA_BAD)
		snprintf(p->failed, sizeof(p->failed), "%.*s", LS_SCALE_WHY - 1, err->text);
	else if (!st && !p->failed[0])
		p->runs[p->n++].early = !c->enough;
	cJSON_Delete(job);
	return st == LS_DATA_BAD ? LS_OK : st;
}

ls_status ls_scale_run(struct ls_scale *s, const struct ls_scale_series *series, struct ls_scale_point *p, int round, struct ls_err *err)
{
	struct child c = { .fd = -1, .stops = *ls_signals_stops() };
	struct ls_strv argv = { 0 };
	pid_t self = getpid();
	char log[450];
	ls_status st;

	snprintf(c.dir, sizeof(c.dir), "%s/%s%d-%d", s->dir, series->asked, p->ranks, round);
	snprintf(log, sizeof(log), "%s.log", c.dir);
	c.seen = ls_scale_seen_new(p->ranks);
	st = c.seen ? ls_scale_command(s, series, p, c.dir, &argv, err) : ls_fail_oom(err);
	if (!st && (c.pid = fork()) == 0)
		become(&argv, log, self);
	if (!st && c.pid < 0)
		st = ls_fail(err, LS_AGAIN, errno, "cannot start lockstep run");
	if (!st)
		st = watch(&c, &s->opt, err);
	if (!st && *ls_signals_stops())
		st = ls_fail(err, LS_AGAIN, 0, "stopped by signal %d", ls_signals_last());
	if (!st)
		st = judge(&c, &s->opt, p, err);
	ls_fd_close(&c.fd);
	ls_scale_seen_free(c.seen);
	ls_strv_release(&argv);
	ls_remove_tree(c.dir, NULL);
	ls_remove_tree(log, NULL);
	return st;
}
