/* preflight.c -- see preflight.h: the run that measures, and what its ranks say. */
#include "launcher/preflight.h"
#include "launcher/child.h"
#include "launcher/cmd_bench_coll.h"
#include "launcher/probe.h"
#include "launcher/signals.h"
#include "core/io.h"
#include "core/json.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define MOST (1 << 20) /* of a line, and of what is kept of the run's errors */

struct preflight {
	const struct ls_preflight_options *opt;
	struct ls_net *net;
	char dir[256], self[PATH_MAX], program[PATH_MAX];
	pid_t pid;
	int out, errors;             /* of the run */
	struct ls_str line, words;   /* a line so far; what the run said */
	char phase[512];
	int stops;                   /* signals handed on */
};

static int timeout_s(const struct ls_preflight_options *opt)
{
	return opt->timeout_s ? opt->timeout_s : 60 + (int)(10 * opt->seconds);
}

static void add_command(const struct preflight *p, struct ls_strv *argv)
{
	size_t i;

	ls_strv_add(argv, p->self);
	ls_strv_add(argv, "run");
	ls_strv_addf(argv, "--dir=%s/run", p->dir);
	ls_strv_addf(argv, "--timeout=%d", timeout_s(p->opt));
	ls_strv_add(argv, "--quiet");
	ls_strv_add(argv, "--no-prefix");
	ls_strv_add(argv, "--grace=2");
	for (i = 0; i < p->opt->run->n; i++)
		ls_strv_add(argv, p->opt->run->v[i]);
	ls_strv_add(argv, "--");
	ls_strv_add(argv, p->program);
	ls_strv_addf(argv, "%g", p->opt->seconds);
	ls_strv_addf(argv, "%g", p->opt->below);
}

static ls_status start(struct preflight *p, struct ls_err *err)
{
	int out[2] = { -1, -1 }, errors[2] = { -1, -1 };
	struct ls_strv argv = { 0 };
	pid_t self = getpid();
	ls_status st = LS_OK;

	add_command(p, &argv);
	if (argv.oom)
		st = ls_fail_oom(err);
	else if (pipe2(out, O_CLOEXEC) < 0 || pipe2(errors, O_CLOEXEC) < 0 || (p->pid = fork()) < 0)
		st = ls_fail(err, LS_AGAIN, errno, "cannot start the preflight");
	if (!st && p->pid == 0)
		ls_child_become(argv.v, out[1], errors[1], self);
	if (!st) {
		p->out = out[0];
		p->errors = errors[0];
		out[0] = errors[0] = -1;
		fcntl(p->out, F_SETFL, O_NONBLOCK);
		fcntl(p->errors, F_SETFL, O_NONBLOCK);
	}
	ls_fd_close(&out[0]);
	ls_fd_close(&out[1]);
	ls_fd_close(&errors[0]);
	ls_fd_close(&errors[1]);
	ls_strv_release(&argv);
	return st;
}

/* --- lines ---------------------------------------------------------------------------------------------------------------------- */

static ls_status take_line(struct preflight *p, const char *line, struct ls_err *err)
{
	ls_status st = LS_OK;
	cJSON *o;

	if (strncmp(line, LS_NET_LINE, strlen(LS_NET_LINE)) != 0)
		return LS_OK;
	o = cJSON_Parse(line + strlen(LS_NET_LINE));
	if (*ls_json_text(o, "phase")) {
		snprintf(p->phase, sizeof(p->phase), "%s", ls_json_text(o, "phase"));
		if (p->opt->say)
			p->opt->say(p->phase);
	} else {
		st = ls_net_take(p->net, o, err);
	}
	cJSON_Delete(o);
	return st;
}

/* Closes the pipe at its end. */
static ls_status read_lines(struct preflight *p, struct ls_err *err)
{
	char block[65536], *end;
	ssize_t n;
	ls_status st = LS_OK;

	while (!st && (n = read(p->out, block, sizeof(block))) > 0) {
		ls_str_addn(&p->line, block, (size_t)n);
		while (!st && p->line.len && (end = memchr(p->line.s, '\n', p->line.len)) != NULL) {
			*end = '\0';
			st = take_line(p, p->line.s, err);
			ls_str_cut(&p->line, (size_t)(end - p->line.s) + 1);
		}
		if (!st && (p->line.oom || p->line.len > MOST))
			st = ls_fail(err, LS_AGAIN, 0, "the preflight's ranks print endless lines");
	}
	if (!st && n == 0)
		ls_fd_close(&p->out);
	return st;
}

static void read_errors(struct preflight *p)
{
	char block[4096];
	ssize_t n;

	while ((n = read(p->errors, block, sizeof(block))) > 0)
		if (p->words.len < MOST)
			ls_str_addn(&p->words, block, (size_t)n);
	if (n == 0)
		ls_fd_close(&p->errors);
}

/* Ours are signals that it gets, too. It has a time limit of its own. */
static ls_status listen_to(struct preflight *p, struct ls_err *err)
{
	ls_status st = LS_OK;

	while (!st && (p->out >= 0 || p->errors >= 0)) {
		struct pollfd fds[3] = { { p->out, POLLIN, 0 }, { p->errors, POLLIN, 0 }, { ls_signals_fd(), POLLIN, 0 } };

		if (poll(fds, 3, 500) < 0 && errno != EINTR)
			return ls_fail(err, LS_AGAIN, errno, "poll");
		ls_signals_drain();
		for (; p->stops < *ls_signals_stops(); p->stops++)
			kill(p->pid, SIGTERM);
		if (p->out >= 0)
			st = read_lines(p, err);
		if (p->errors >= 0)
			read_errors(p);
	}
	return st;
}

/* --- the end of the run --------------------------------------------------------------------------------------------------------- */

/* The cause, which the run says first, without its name before it; and the program's own words, of the lines that it shows then. */
static void cause(struct preflight *p, char *ret, size_t size)
{
	static const char *const before[] = { "lockstep: failed: ", "lockstep run: " };
	const char *text = ls_str_text(&p->words), *at = NULL, *own = strstr(text, "bench net: ");
	size_t i;

	for (i = 0; i < sizeof(before) / sizeof(before[0]) && !at; i++)
		if ((at = strstr(text, before[i])) != NULL)
			at += strlen(before[i]);
	if (!at)
		at = text;
	snprintf(ret, size, "%.*s%s%.*s", (int)strcspn(at, "\n"), at, own ? "; it said: " : "", own ? (int)strcspn(own, "\n") : 0, own ? own : "");
}

static ls_status ended(struct preflight *p, int status, struct ls_err *err)
{
	char why[512];
	int code = WIFEXITED(status) ? WEXITSTATUS(status) : 1;

	if (p->stops)
		return ls_fail(err, LS_AGAIN, 0, "stopped by signal %d", ls_signals_last());
	if (code == 124)
		return ls_fail(err, LS_NODE_LOST, 0, "the preflight did not end within %d s; under way was: %s", timeout_s(p->opt),
			p->phase[0] ? p->phase : "its start");
	cause(p, why, sizeof(why));
	if (code)
		return ls_fail(err, code == 2 ? LS_USAGE : LS_NODE_LOST, 0, "%s%s%s%s", why, p->phase[0] ? " (under way was: " : "", p->phase,
			p->phase[0] ? ")" : "");
	if (!p->net->hosts)
		return ls_fail(err, LS_NODE_LOST, 0, "the preflight's ranks measured nothing");
	return LS_OK;
}

/* Hosts as the user wrote them: what a rank knows is its host's own name. */
static void take_names(struct preflight *p)
{
	struct ls_str path = { 0 }, text = { 0 };
	const cJSON *e, *rank;
	cJSON *job = NULL;

	ls_str_addf(&path, "%s/run/job.json", p->dir);
	if (!ls_file_read(ls_str_text(&path), 256 << 20, &text, NULL))
		job = cJSON_ParseWithLength(ls_str_text(&text), text.len);
	e = cJSON_GetObjectItemCaseSensitive(job, "attempts");
	cJSON_ArrayForEach(e, cJSON_GetObjectItemCaseSensitive(cJSON_GetArrayItem(e, 0), "ranks")) {
		rank = cJSON_GetObjectItemCaseSensitive(e, "rank");
		if (cJSON_IsNumber(rank) && rank->valueint >= 0 && rank->valueint < p->net->n_ranks && *ls_json_text(e, "host"))
			snprintf(p->net->hosts[p->net->ranks[rank->valueint].host].name, sizeof(p->net->hosts[0].name), "%s", ls_json_text(e, "host"));
	}
	cJSON_Delete(job);
	ls_str_release(&path);
	ls_str_release(&text);
}

static ls_status make_dir(struct preflight *p, struct ls_err *err)
{
	const char *tmp = getenv("TMPDIR");

	snprintf(p->dir, sizeof(p->dir), "%s/lockstep-preflight-XXXXXX", tmp && *tmp ? tmp : "/tmp");
	if (mkdtemp(p->dir))
		return LS_OK;
	p->dir[0] = '\0'; /* nothing to remove */
	return ls_fail(err, LS_AGAIN, errno, "cannot make a directory in %s", tmp && *tmp ? tmp : "/tmp");
}

ls_status ls_preflight_run(const struct ls_preflight_options *opt, struct ls_net *ret, struct ls_err *err)
{
	struct preflight p = { .opt = opt, .net = ret, .out = -1, .errors = -1 };
	int status = 0;
	ls_status st = ls_self_path(p.self, err);

	*ret = (struct ls_net){ 0 };
	if (!st)
		st = ls_bench_program(p.program, "net_rank", err);
	if (!st)
		st = make_dir(&p, err);
	if (!st)
		st = start(&p, err);
	if (!st) {
		st = listen_to(&p, err);
		if (st)
			kill(p.pid, SIGTERM);
		while (waitpid(p.pid, &status, 0) < 0 && errno == EINTR)
			;
		if (!st)
			st = ended(&p, status, err);
		if (!st)
			take_names(&p);
	}
	ls_fd_close(&p.out);
	ls_fd_close(&p.errors);
	ls_str_release(&p.line);
	ls_str_release(&p.words);
	if (p.dir[0])
		ls_remove_tree(p.dir, NULL);
	return st;
}
