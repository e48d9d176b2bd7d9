/* pod_agent.c -- `lockstep agent --pod`: the process of a worker's Pod, in sshd's place.
 *
 *     connection ──secret──> {"argv": ["orted", …]} ──allowed──> runs, in a session of its own ──> output ──> how it ended
 *                    │                               └── not: a sentence, 255
 *                    └── not: refused, closed (pod_door.h)
 *
 *   to the agent, one line    {"argv": [WORD, …]}                     pod.h says which words
 *   back                      "O LENGTH\n" bytes, "E LENGTH\n" bytes  standard output and error
 *                             "X CODE\n"                              its exit code, or 128 + signal; the last
 *
 * Invariants: whoever lacks the job's secret starts nothing; a command whose caller is gone is ended. What it started and left behind (Open MPI's
 * daemon, as behind sshd) belongs to this process, and ends with it.
 * It is process 1 of its container: it takes up orphans. SIGTERM (the Pod is evicted, or deleted): nobody comes in any more, the ranks get a
 * notice, and this process stays until Open MPI's daemon has gone; a second one ends everything at once. 143. */
#include "launcher/pod.h"
#include "launcher/commands.h"
#include "launcher/pod_door.h"
#include "launcher/probe.h"
#include "launcher/signals.h"
#include "core/io.h"
#include "core/link.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	WORDS_MAX = 4096,     /* of a command */
	VISITS = 256,         /* connections at once, strangers among them */
	ASK_MS = 10000,       /* from the secret to the command */
	GRACE_MS = 5000,      /* from SIGTERM to SIGKILL for a command whose caller is gone */
	NOTICE_MS = 500,      /* between two notices: ranks may just be starting */
	DRAIN_MS = 300,       /* after its end: what it left behind may hold its pipes for ever */
	QUEUE_MAX = 1 << 20,  /* unsent output beyond this stops reading the command's pipes */
	TICK_MS = 200
};

struct visit {
	struct ls_guest guest;
	pid_t pid;            /* of the command; 0: none, or over */
	int pipes[2];         /* its output and errors; -1 */
	bool used, asked, ended;
	int status;           /* as from waitpid() */
	int64_t due_ms;       /* the next thing's time limit: command, SIGKILL, drain; 0: none */
};

struct pod_agent {
	struct ls_door door;
	struct ls_engine engine;
	char self[PATH_MAX], cwd[PATH_MAX];
	int64_t notice_ms;    /* the last one; 0: none, this Pod stays */
	struct visit visits[VISITS];
};

/* --- a command --------------------------------------------------------------------------------------------------------- */

static void say(struct visit *v, char type, const void *bytes, size_t len)
{
	char head[32];
	int n = snprintf(head, sizeof(head), "%c %zu\n", type, len);

	ls_chan_add(&v->guest.chan, head, (size_t)n);
	ls_chan_add(&v->guest.chan, bytes, len);
}

static void say_end(struct visit *v, int code)
{
	char line[32];
	int n = snprintf(line, sizeof(line), "X %d\n", code);

	ls_chan_add(&v->guest.chan, line, (size_t)n);
	v->ended = true;
}

/* In the child: never returns. */
static void become(const struct pod_agent *a, const struct visit *v, char *const *argv, const int ends[2])
{
	const struct ls_guest *g = &v->guest;
	char text[200];
	sigset_t none;
	int sig, null;

	snprintf(text, sizeof(text), "%s %d %s %d", g->peer, g->peer_port, g->here, g->here_port);
	setenv("SSH_CONNECTION", text, 1); /* as sshd: `lockstep probe` learns from it how the launcher reached this Pod */
	setenv(LS_ENV_WORKDIR, a->cwd, 1);
	setsid();
	null = open("/dev/null", O_RDONLY);
	dup2(null, 0);
	dup2(ends[0], 1);
	dup2(ends[1], 2);
	for (sig = 1; sig < NSIG; sig++)
		signal(sig, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	execv(argv[0], argv);
	fprintf(stderr, "lockstep agent: cannot start %s: %s\n", argv[0], strerror(errno));
	_exit(255);
}

static ls_status start(struct pod_agent *a, struct visit *v, const struct ls_strv *argv, struct ls_err *err)
{
	int out[2] = { -1, -1 }, errs[2] = { -1, -1 };
	ls_status st = LS_OK;
	pid_t pid = -1;

	if (!pipe2(out, O_CLOEXEC) && !pipe2(errs, O_CLOEXEC))
		pid = fork();
	if (pid == 0) {
		const int ends[2] = { out[1], errs[1] };

		become(a, v, argv->v, ends);
	}
	if (pid < 0) {
		st = ls_fail(err, LS_AGAIN, errno, "cannot start %s", argv->v[0]);
	} else {
		v->pid = pid;
		v->pipes[0] = out[0], out[0] = -1;
		v->pipes[1] = errs[0], errs[0] = -1;
		fcntl(v->pipes[0], F_SETFL, O_NONBLOCK);
		fcntl(v->pipes[1], F_SETFL, O_NONBLOCK);
	}
	ls_fd_close(&out[0]), ls_fd_close(&out[1]);
	ls_fd_close(&errs[0]), ls_fd_close(&errs[1]);
	return st;
}

/* The line that says what to run. */
static void hear_command(struct pod_agent *a, struct visit *v)
{
	char *line = ls_chan_line(&v->guest.chan);
	cJSON *json = line ? cJSON_Parse(line) : NULL, *word;
	struct ls_strv words = { 0 }, argv = { 0 };
	struct ls_err err = LS_ERR_INIT;
	bool all_text = true;
	ls_status st;

	if (!line)
		return;
	v->asked = true;
	v->due_ms = 0;
	cJSON_ArrayForEach(word, cJSON_GetObjectItemCaseSensitive(json, "argv")) {
		all_text &= cJSON_IsString(word);
		ls_strv_add(&words, all_text ? word->valuestring : "");
	}
	if (a->notice_ms)
		st = ls_fail(&err, LS_AGAIN, 0, "this Pod is about to go");
	else if (!all_text || words.n > WORDS_MAX)
		st = ls_fail(&err, LS_USAGE, 0, "what it sent is no command: want {\"argv\": [at most %d words]}", WORDS_MAX);
	else
		st = ls_pod_argv(&words, a->self, &a->engine, &argv, &err);
	if (st == LS_USAGE)
		ls_door_refuse(&a->door, &v->guest, err.text);
	if (!st)
		st = start(a, v, &argv, &err);
	if (st) {
		ls_err_at(&err, st, "lockstep agent: ");
		strncat(err.text, "\n", sizeof(err.text) - strlen(err.text) - 1);
		say(v, 'E', err.text, strlen(err.text));
		say_end(v, 255);
	}
	ls_strv_release(&words);
	ls_strv_release(&argv);
	cJSON_Delete(json);
	free(line);
}

static void carry(struct visit *v, int which)
{
	char block[16384];
	ssize_t n = 1;

	while (n > 0 && v->guest.chan.out.len < QUEUE_MAX) {
		n = read(v->pipes[which], block, sizeof(block));
		if (n > 0 && v->guest.chan.psk)
			say(v, which ? 'E' : 'O', block, (size_t)n);
	}
	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
		ls_fd_close(&v->pipes[which]);
}

/* --- visits ------------------------------------------------------------------------------------------------------------ */

/* Its caller is gone: nobody wants the command any more. */
static void leave(struct pod_agent *a, struct visit *v)
{
	ls_door_leave(&a->door, &v->guest);
	ls_fd_close(&v->pipes[0]);
	ls_fd_close(&v->pipes[1]);
	v->used = v->pid != 0;
	if (!v->pid)
		return;
	kill(-v->pid, SIGTERM);
	v->due_ms = ls_clock_ms() + GRACE_MS;
}

static void hear(struct pod_agent *a, struct visit *v)
{
	struct ls_guest *g = &v->guest;
	ls_status st;

	if (!g->in && !ls_door_shake(&a->door, g)) {
		v->used = g->chan.psk != NULL;
		return;
	}
	if (!v->asked && !v->due_ms)
		v->due_ms = ls_clock_ms() + ASK_MS;
	st = ls_chan_fill(&g->chan, NULL);
	if (!v->asked)
		hear_command(a, v);
	if (!st)
		st = ls_chan_flush(&g->chan, NULL);
	if (st || (v->ended && !g->chan.out.len))
		leave(a, v);
}

/* What is due, and the end of a command: its exit code goes last, when its pipes are empty. */
static void look(struct pod_agent *a, struct visit *v)
{
	bool due = v->due_ms && ls_clock_ms() >= v->due_ms, quiet = v->pipes[0] < 0 && v->pipes[1] < 0;

	if (!v->guest.chan.psk) {
		if (v->pid && due)
			kill(-v->pid, SIGKILL);
		v->used = v->pid != 0;
		return;
	}
	if (v->guest.in && !v->asked && due) {
		leave(a, v);
	} else if (v->asked && !v->ended && !v->pid && (quiet || due)) {
		ls_fd_close(&v->pipes[0]);
		ls_fd_close(&v->pipes[1]);
		say_end(v, WIFEXITED(v->status) ? WEXITSTATUS(v->status) : 128 + WTERMSIG(v->status));
	}
	if (v->used)
		hear(a, v);
}

static void welcome(struct pod_agent *a)
{
	int i;

	for (i = 0; i < VISITS && a->visits[i].used; i++)
		;
	if (i == VISITS) { /* the rest wait in the kernel's queue */
		poll(NULL, 0, DRAIN_MS);
		return;
	}
	a->visits[i] = (struct visit){ .pipes = { -1, -1 } };
	a->visits[i].used = ls_door_accept(&a->door, &a->visits[i].guest);
}

/* Commands, and orphans, which are nobody's business but must not stay as zombies. */
static void reap(struct pod_agent *a)
{
	int status, i;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		for (i = 0; i < VISITS; i++) {
			if (!a->visits[i].used || a->visits[i].pid != pid)
				continue;
			a->visits[i].pid = 0;
			a->visits[i].status = status;
			a->visits[i].due_ms = ls_clock_ms() + DRAIN_MS;
		}
	}
}

/* Every process below this one. Those who lose their parent meanwhile come to this process, as its children. */
static void end_everything(void)
{
	struct ls_str text = { 0 };
	char path[64], *p;
	long pid;

	snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)getpid());
	do {
		if (getpid() == 1)
			kill(-1, SIGKILL);
		ls_str_release(&text);
		ls_file_read(path, 1 << 20, &text, NULL);
		for (p = text.s; p && (pid = strtol(p, &p, 10)) > 0;)
			kill((pid_t)pid, SIGKILL);
	} while (waitpid(-1, NULL, 0) > 0 || errno == EINTR);
	ls_str_release(&text);
}

/* May this process go? After SIGTERM, once nothing is left that it started. */
static bool is_over(struct pod_agent *a)
{
	int stops = *ls_signals_stops(), running, i;
	bool due = ls_clock_ms() - a->notice_ms >= NOTICE_MS;

	if (!stops)
		return false;
	ls_fd_close(&a->door.fd);
	running = ls_pod_notice(&a->engine, due);
	for (i = 0; i < VISITS; i++)
		running += a->visits[i].used && a->visits[i].asked;
	if (!a->notice_ms && running)
		fputs("lockstep agent: this Pod is about to go; its ranks have a notice\n", stderr);
	if (due)
		a->notice_ms = ls_clock_ms();
	return stops > 1 || !running;
}

static void serve(struct pod_agent *a)
{
	static struct pollfd p[2 + 3 * VISITS];
	int at[VISITS], i, n;

	while (!is_over(a)) {
		p[0] = (struct pollfd){ .fd = ls_signals_fd(), .events = POLLIN };
		p[1] = (struct pollfd){ .fd = a->door.fd, .events = POLLIN };
		for (i = 0, n = 2; i < VISITS; i++) {
			struct visit *v = &a->visits[i];
			bool room = v->guest.chan.out.len < QUEUE_MAX;

			at[i] = v->used ? n : 0;
			if (!v->used)
				continue;
			p[n++] = (struct pollfd){ .fd = ls_chan_fd(&v->guest.chan), .events = v->guest.chan.psk ? ls_chan_events(&v->guest.chan) : 0 };
			p[n++] = (struct pollfd){ .fd = room ? v->pipes[0] : -1, .events = POLLIN };
			p[n++] = (struct pollfd){ .fd = room ? v->pipes[1] : -1, .events = POLLIN };
		}
		poll(p, (nfds_t)n, n > 2 || a->notice_ms ? TICK_MS : -1);
		ls_signals_drain();
		reap(a);
		for (i = 0; i < VISITS; i++) {
			struct visit *v = &a->visits[i];

			if (at[i] && p[at[i] + 1].revents && v->pipes[0] >= 0)
				carry(v, 0);
			if (at[i] && p[at[i] + 2].revents && v->pipes[1] >= 0)
				carry(v, 1);
			if (at[i])
				look(a, v);
		}
		if (p[1].revents)
			welcome(a);
	}
}

int cmd_pod_agent(void)
{
	static struct pod_agent a;
	struct ls_err err = LS_ERR_INIT;
	const char *worker = getenv(LS_ENV_WORKER);
	int port, i;
	ls_status st = ls_signals_init(&err);

	if (!st)
		st = ls_self_path(a.self, &err);
	if (!st && !getcwd(a.cwd, sizeof(a.cwd)))
		st = ls_fail(&err, LS_USAGE, errno, "the container's working directory cannot be told");
	if (!st)
		st = ls_pod_engine(&a.engine, &err);
	if (!st)
		st = ls_door_open(&a.door, LS_POD_PORT, "agent", &port, &err);
	if (st)
		return ls_command_fail("agent", st, &err);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	printf("lockstep: agent ready on port %d%s%s, Open MPI %s\n", port, worker ? " as " : "", worker ? worker : "", a.engine.version);
	fflush(stdout);
	serve(&a);
	for (i = 0; i < VISITS; i++)
		if (a.visits[i].used && a.visits[i].guest.chan.psk)
			ls_door_leave(&a.door, &a.visits[i].guest);
	ls_door_close(&a.door);
	end_everything();
	return 128 + ls_signals_last();
}
