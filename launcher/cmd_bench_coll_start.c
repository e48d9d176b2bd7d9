/* cmd_bench_coll_start.c -- contenders: what their names mean, their command lines and processes.
 *
 * Lockstep's and torch's ranks are started by `lockstep run`, the MPI library's by its own mpirun: as their users would. All bind
 * themselves (bench/coll_wire.h), so that the launcher makes no difference. What a contender prints goes to a file. */
#include "launcher/child.h"
#include "launcher/cmd_bench_coll.h"
#include "core/io.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { QUIT_MS = 3000, TERM_MS = 8000 };

static const char *const handed_on[] = { "LOCKSTEP_BENCH_AT", "LOCKSTEP_BENCH_TOKEN", "LOCKSTEP_BENCH_NAME", "LOCKSTEP_BENCH_CPUS" };

/* --- command lines -------------------------------------------------------------------------------------------------------------- */

/* -np, hosts and variables, in words that `lockstep run` and mpirun share. */
static void add_common(const struct ls_bench *b, struct ls_strv *argv)
{
	size_t i;

	ls_strv_add(argv, "--bind-to");
	ls_strv_add(argv, b->opt.cuda && !b->opt.oversubscribe ? "gpu" : "none");
	ls_strv_add(argv, "-np");
	ls_strv_addf(argv, "%d", b->opt.np);
	if (b->opt.oversubscribe)
		ls_strv_add(argv, "--oversubscribe");
	if (b->opt.hosts) {
		ls_strv_add(argv, "-H");
		ls_strv_add(argv, b->opt.hosts);
	}
	if (b->opt.hostfile) {
		ls_strv_add(argv, "--hostfile");
		ls_strv_add(argv, b->opt.hostfile);
	}
	for (i = 0; i < sizeof(handed_on) / sizeof(handed_on[0]); i++) {
		ls_strv_add(argv, "-x");
		ls_strv_add(argv, handed_on[i]);
	}
}

static void add_run(const struct ls_bench *b, const char *self, struct ls_bench_contender *c)
{
	ls_strv_add(&c->argv, self);
	ls_strv_add(&c->argv, "run");
	ls_strv_addf(&c->argv, "--dir=%s/run%d", b->dir, (int)(c - b->contenders));
	ls_strv_add(&c->argv, "--no-prefix");
	ls_strv_add(&c->argv, "--grace=2");
	add_common(b, &c->argv);
}

/* nccl, and plain NCCL. Which of its libraries is opened is a matter of the environment, the same for both. */
static ls_status make_gpu(const struct ls_bench *b, const char *self, struct ls_bench_contender *c, struct ls_err *err)
{
	static const struct { const char *name, *program, *arguments[3]; } known[] = {
		{ "nccl", "coll_rank", { "--device=cuda", "--backend=nccl", "--buffers=library" } },
		{ "nccl/user", "coll_rank", { "--device=cuda", "--backend=nccl", "--buffers=user" } },
		{ "peer-nccl", "coll_peer_nccl", { NULL } },
		{ "peer-nccl/wait", "coll_peer_nccl", { "--wait" } },
	};
	const size_t n = sizeof(known) / sizeof(known[0]);
	char program[PATH_MAX];
	size_t i, k;
	ls_status st;

	for (i = 0; i < n && strcmp(known[i].name, c->name) != 0; i++)
		;
	if (i == n)
		return ls_fail(err, LS_USAGE, 0, "'%s' is no contender with --device cuda; want nccl, nccl/user, peer-nccl or peer-nccl/wait; "
			"--contender NAME='command' adds others", c->name);
	st = ls_bench_program(program, known[i].program, err);
	if (st)
		return st;
	add_run(b, self, c);
	if (b->opt.oversubscribe)
		ls_strv_add(&c->argv, "-x=NCCL_MULTI_RANK_GPU_ENABLE=1");
	ls_strv_add(&c->argv, "--");
	ls_strv_add(&c->argv, program);
	for (k = 0; k < 3 && known[i].arguments[k]; k++)
		ls_strv_add(&c->argv, known[i].arguments[k]);
	return LS_OK;
}

/* shm, hier, auto, lockstep-mpi; each also as NAME/user, with the program's own buffers. */
static ls_status make_ours(const struct ls_bench *b, const char *self, struct ls_bench_contender *c, const char *backend, const char *buffers,
	struct ls_err *err)
{
	char program[PATH_MAX];
	ls_status st = ls_bench_program(program, "coll_rank", err);

	if (st)
		return st;
	add_run(b, self, c);
	ls_strv_add(&c->argv, "--");
	ls_strv_add(&c->argv, program);
	ls_strv_addf(&c->argv, "--backend=%s", backend);
	if (b->opt.algorithm)
		ls_strv_addf(&c->argv, "--algorithm=%s", b->opt.algorithm);
	ls_strv_addf(&c->argv, "--buffers=%s", buffers);
	return LS_OK;
}

static ls_status make_mpi(const struct ls_bench *b, struct ls_bench_contender *c, struct ls_err *err)
{
	const char *mpirun = getenv("LOCKSTEP_MPIRUN");
	char program[PATH_MAX];
	ls_status st = ls_bench_program(program, "coll_peer", err);

	if (st)
		return st;
	ls_strv_add(&c->argv, mpirun && *mpirun ? mpirun : "mpirun");
	if (geteuid() == 0)
		ls_strv_add(&c->argv, "--allow-run-as-root");
	add_common(b, &c->argv);
	ls_strv_add(&c->argv, program);
	return LS_OK;
}

/* An import takes seconds, and what a rank prints is far away: asked first. */
static ls_status make_torch(const struct ls_bench *b, const char *self, struct ls_bench_contender *c, struct ls_err *err)
{
	char program[PATH_MAX];
	ls_status st = ls_bench_program(program, "coll_torch.py", err);
	int status = -1, null;
	pid_t pid;

	if (st)
		return st;
	pid = fork();
	if (pid == 0) {
		null = open("/dev/null", O_RDWR | O_CLOEXEC);
		if (null >= 0 && dup2(null, 1) == 1 && dup2(null, 2) == 2)
			execlp(b->opt.python, b->opt.python, "-c", "import torch.distributed", (char *)NULL);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || status)
		return ls_fail(err, LS_USAGE, 0, "torch: %s cannot import torch.distributed; --python PATH names one that can, and bench/setup-torch.sh makes one",
			b->opt.python);
	add_run(b, self, c);
	ls_strv_add(&c->argv, "-x=LOCKSTEP_MALLOC=default"); /* as torchrun would */
	ls_strv_add(&c->argv, "--");
	ls_strv_add(&c->argv, b->opt.python);
	ls_strv_add(&c->argv, program);
	return LS_OK;
}

static ls_status make_named(const struct ls_bench *b, const char *self, struct ls_bench_contender *c, struct ls_err *err)
{
	static const char *const backends[][2] = { { "auto", "auto" }, { "shm", "shm" }, { "hier", "hier" }, { "lockstep-mpi", "mpi" } };
	size_t len = strcspn(c->name, "/"), i;

	if (b->opt.cuda)
		return make_gpu(b, self, c, err);
	if (!strcmp(c->name, "mpi"))
		return make_mpi(b, c, err);
	if (!strcmp(c->name, "torch"))
		return make_torch(b, self, c, err);
	for (i = 0; i < sizeof(backends) / sizeof(backends[0]); i++)
		if (len == strlen(backends[i][0]) && !strncmp(c->name, backends[i][0], len) && (!c->name[len] || !strcmp(c->name + len, "/user")))
			return make_ours(b, self, c, backends[i][1], c->name[len] ? "user" : b->opt.buffers, err);
	if (strstr(c->name, "nccl"))
		return ls_fail(err, LS_USAGE, 0, "'%s' computes on GPUs: --device cuda", c->name);
	return ls_fail(err, LS_USAGE, 0, "'%s' is no contender; want auto, shm, hier, lockstep-mpi, each also with /user, or mpi, torch; "
		"--contender NAME='command' adds others", c->name);
}

/* --- the list ------------------------------------------------------------------------------------------------------------------- */

static ls_status add(struct ls_bench *b, const char *name, size_t len, struct ls_bench_contender **ret, struct ls_err *err)
{
	struct ls_bench_contender *c = &b->contenders[b->n];
	int i;

	if (!len || len >= sizeof(c->name) || strcspn(name, " \t\n") < len)
		return ls_fail(err, LS_USAGE, 0, "'%.*s' is no name for a contender; want 1 to %zu letters, without spaces", (int)len, name, sizeof(c->name) - 1);
	snprintf(c->name, sizeof(c->name), "%.*s", (int)len, name);
	for (i = 0; i < b->n; i++)
		if (!strcmp(b->contenders[i].name, c->name))
			return ls_fail(err, LS_USAGE, 0, "two contenders are named '%s'", c->name);
	c->ranks = calloc((size_t)b->opt.np, sizeof(*c->ranks));
	if (!c->ranks)
		return ls_fail_oom(err);
	for (i = 0; i < b->opt.np; i++)
		c->ranks[i].fd = -1;
	b->n++;
	*ret = c;
	return LS_OK;
}

static ls_status add_extra(struct ls_bench *b, const char *extra, struct ls_err *err)
{
	size_t len = strcspn(extra, "=");
	struct ls_bench_contender *c;
	ls_status st;

	if (!extra[len] || !extra[len + 1])
		return ls_fail(err, LS_USAGE, 0, "--contender %s: want NAME='command line'", extra);
	st = add(b, extra, len, &c, err);
	if (st)
		return st;
	ls_strv_add(&c->argv, "/bin/sh");
	ls_strv_add(&c->argv, "-c");
	ls_strv_add(&c->argv, extra + len + 1);
	return LS_OK;
}

ls_status ls_bench_contenders_make(struct ls_bench *b, const char *self, struct ls_err *err)
{
	const char *list = b->opt.compare ? b->opt.compare : b->opt.extra.n ? "" : b->opt.cuda ?
		(!strcmp(b->opt.buffers, "user") ? "nccl/user" : "nccl") : !strcmp(b->opt.backend, "mpi") ? "lockstep-mpi" : b->opt.backend;
	struct ls_bench_contender *c;
	size_t len, i;
	ls_status st = LS_OK;

	b->contenders = calloc(strlen(list) + b->opt.extra.n + 1, sizeof(*b->contenders));
	if (!b->contenders)
		return ls_fail_oom(err);
	for (; !st && *list; list += len + (list[len] == ',')) {
		len = strcspn(list, ",");
		st = add(b, list, len, &c, err);
		if (!st)
			st = make_named(b, self, c, err);
	}
	for (i = 0; !st && i < b->opt.extra.n; i++)
		st = add_extra(b, b->opt.extra.v[i], err);
	for (i = 0; !st && i < (size_t)b->n; i++)
		if (b->contenders[i].argv.oom)
			st = ls_fail_oom(err);
	return st;
}

/* --- processes ------------------------------------------------------------------------------------------------------------------ */

static void log_path(const struct ls_bench *b, const struct ls_bench_contender *c, char ret[300])
{
	snprintf(ret, 300, "%s/log%d", b->dir, (int)(c - b->contenders));
}

/* In the child: never returns. A process group of its own, so that a terminal's Ctrl-C comes to us alone. */
/* Does not return. */
static void become(const struct ls_bench *b, const struct ls_bench_contender *c, const char *log, pid_t parent)
{
	char np[16];
	int out = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

	snprintf(np, sizeof(np), "%d", b->opt.np);
	setenv("LOCKSTEP_BENCH_AT", b->at, 1);
	setenv("LOCKSTEP_BENCH_TOKEN", b->token, 1);
	setenv("LOCKSTEP_BENCH_NAME", c->name, 1);
	setenv("LOCKSTEP_BENCH_CPUS", b->cpus, 1);
	setenv("LOCKSTEP_BENCH_NP", np, 1);
	ls_child_become(c->argv.v, out, out, parent);
}

ls_status ls_bench_start(struct ls_bench *b, struct ls_bench_contender *c, struct ls_err *err)
{
	pid_t self = getpid();
	char log[300];

	log_path(b, c, log);
	c->pid = fork();
	if (c->pid == 0)
		become(b, c, log, self);
	return c->pid < 0 ? ls_fail(err, LS_AGAIN, 0, "cannot start %s", c->name) : LS_OK;
}

bool ls_bench_ended(struct ls_bench_contender *c)
{
	if (c->pid > 0 && waitpid(c->pid, NULL, WNOHANG) == c->pid)
		c->pid = 0;
	return c->pid <= 0;
}

static bool ends_within(struct ls_bench_contender *c, int ms)
{
	int64_t end = ls_clock_ms() + ms;

	while (!ls_bench_ended(c) && ls_clock_ms() < end)
		usleep(10000);
	return c->pid <= 0;
}

void ls_bench_stop(struct ls_bench *b, struct ls_bench_contender *c)
{
	pid_t group = c->pid;
	int i;

	for (i = 0; c->ranks && i < b->opt.np; i++) {
		if (c->ranks[i].fd >= 0 && !c->lost[0])
			send(c->ranks[i].fd, "quit\n", 5, MSG_NOSIGNAL | MSG_DONTWAIT);
		ls_fd_close(&c->ranks[i].fd);
	}
	if (c->pid <= 0 || (!c->lost[0] && ends_within(c, QUIT_MS)))
		return;
	kill(c->pid, SIGTERM);
	if (!ends_within(c, TERM_MS)) {
		kill(-group, SIGKILL);
		ends_within(c, TERM_MS);
	}
}

void ls_bench_log_tail(const struct ls_bench *b, const struct ls_bench_contender *c, char *ret, size_t size)
{
	char log[300];
	struct ls_str text = { 0 };
	const char *from;
	size_t i;

	log_path(b, c, log);
	ret[0] = '\0';
	if (!ls_file_read(log, 16 << 20, &text, NULL)) {
		while (text.len && text.s[text.len - 1] == '\n')
			text.s[--text.len] = '\0';
		from = ls_str_text(&text) + (text.len >= size ? text.len - size + 1 : 0);
		snprintf(ret, size, "%s", from);
		for (i = 0; ret[i]; i++)
			if ((unsigned char)ret[i] < ' ')
				ret[i] = ' ';
	}
	ls_str_release(&text);
}
