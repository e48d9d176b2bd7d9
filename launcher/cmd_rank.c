/* cmd_rank.c -- `lockstep rank`: the shim between Open MPI and one rank's program.
 *
 * The engine starts it; it reports in at the launcher, waits for the word that the whole world is there and right, binds
 * itself, starts the program, carries its output and events, and reports how it ended, before the engine can know.
 *
 *     HELLO ──> GO ──> program runs ──> EXIT ──> BYE ──> exit(0)
 *       │        └── exec fails: EXIT with why
 *       └── connection to the launcher ends, at any point: program is stopped, exit(1)
 *
 * Invariant: the program never outlives the shim (parent-death signal), nor its connection to the launcher.
 * It does not decide anything: no restart, no judgement of exit codes. SIGTERM from the engine is not obeyed: the launcher has
 * the better knowledge, and a connection that says what it wants. A notice that the host goes (LS_SHIM_NOTICE) is: nobody knows that sooner.
 */
#include "launcher/agents.h"
#include "launcher/commands.h"
#include "launcher/environ.h"
#include "launcher/probe.h"
#include "launcher/rank_program.h"
#include "launcher/reaper.h"
#include "launcher/wire.h"
#include "core/event.h"
#include "core/hold.h"
#include "core/hold_wire.h"
#include "core/io.h"
#include "lockstep/lockstep.h"

#include <cjson/cJSON.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	CONNECT_MS = 10000,
	GO_MS = 90000000,    /* the launcher keeps the time; this is longer than its longest --start-timeout */
	DRAIN_MS = 300,      /* after the program ended: grandchildren may hold its pipes open for ever */
	ORPHAN_GRACE_MS = 3000,
	QUEUE_MAX = 1 << 20, /* unsent output beyond this stops reading the program's pipes */
};

struct shim {
	struct ls_wire wire;
	int rank, world, local_rank;
	const char *run_id;
	int signals;           /* signalfd: SIGCHLD, SIGTERM, … */
	pid_t pid;             /* the program, 0 before and after */
	int pipes[3];          /* its stdout, stderr, events; -1 closed */
	int agent;             /* the listener of this host's agent, until somebody connects; -1 */
	bool by_us;            /* we sent it a signal on the launcher's word */
	bool noticed;          /* … or because this host is about to go (LS_SHIM_NOTICE) */
	uint32_t grace_ms;     /* the program's time after that */
	int64_t kill_at_ms;    /* SIGKILL then; 0: not */
	bool orphan;           /* the launcher is gone */
	pid_t engine;          /* our parent: mpirun or its daemon on this host */
	bool engine_gone;
	long long oom_before;
	bool ended;
	int status;            /* as from waitpid */
};

static const char *need_env(const char *name)
{
	const char *text = getenv(name);

	return text ? text : "";
}

static int env_int(const char *name)
{
	const char *text = getenv(name);

	return text ? atoi(text) : -1;
}

/* Ports that are free now. They are not held: the program must be able to bind them, and the time in between is short. */
static void free_ports(cJSON *array)
{
	int fds[LS_RANK_PORTS], i;

	for (i = 0; i < LS_RANK_PORTS; i++) {
		struct sockaddr_in any = { .sin_family = AF_INET };
		socklen_t len = sizeof(any);

		fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (fds[i] >= 0 && !bind(fds[i], (struct sockaddr *)&any, len) &&
			!getsockname(fds[i], (struct sockaddr *)&any, &len))
			cJSON_AddItemToArray(array, cJSON_CreateNumber(ntohs(any.sin_port)));
	}
	for (i = 0; i < LS_RANK_PORTS; i++)
		ls_fd_close(&fds[i]);
}

static ls_status say_hello(struct shim *s)
{
	cJSON *json = cJSON_CreateObject();
	char id[128], hostname[64];
	ls_status st;

	ls_host_id(id, hostname);
	cJSON_AddStringToObject(json, "token", need_env("LOCKSTEP_TOKEN"));
	cJSON_AddStringToObject(json, "runId", s->run_id);
	cJSON_AddStringToObject(json, "version", LOCKSTEP_VERSION);
	cJSON_AddNumberToObject(json, "rank", s->rank);
	cJSON_AddNumberToObject(json, "world", s->world);
	cJSON_AddNumberToObject(json, "localRank", s->local_rank);
	cJSON_AddStringToObject(json, "hostId", id);
	cJSON_AddStringToObject(json, "host", hostname);
	cJSON_AddNumberToObject(json, "pid", getpid());
	free_ports(cJSON_AddArrayToObject(json, "ports"));
	st = ls_wire_send_json(&s->wire, LS_MSG_HELLO, json);
	cJSON_Delete(json);
	return st;
}

/* OOM kills on this host so far (all cgroups). */
static long long oom_kills(void)
{
	struct ls_str text = { 0 };
	const char *at;
	long long n = -1;

	ls_file_read("/proc/vmstat", 1 << 20, &text, NULL);
	at = strstr(ls_str_text(&text), "\noom_kill ");
	if (at)
		n = atoll(at + 10);
	ls_str_release(&text);
	return n;
}

static void send_exit(struct shim *s, const char *why)
{
	cJSON *json = cJSON_CreateObject();
	bool killed = WIFSIGNALED(s->status);

	cJSON_AddNumberToObject(json, "code", WIFEXITED(s->status) ? WEXITSTATUS(s->status) : -1);
	cJSON_AddNumberToObject(json, "signal", killed ? WTERMSIG(s->status) : 0);
	cJSON_AddBoolToObject(json, "byUs", s->by_us);
	cJSON_AddBoolToObject(json, "noticed", s->noticed);
	cJSON_AddBoolToObject(json, "oom", killed && WTERMSIG(s->status) == SIGKILL && !s->by_us &&
		s->oom_before >= 0 && oom_kills() > s->oom_before);
	cJSON_AddStringToObject(json, "why", why);
	ls_wire_send_json(&s->wire, LS_MSG_EXIT, json);
	cJSON_Delete(json);
}

/* --- carrying ---------------------------------------------------------------------------------------------------------- */

/* Move what a pipe holds to the launcher. Returns bytes moved; closes the pipe at its end. */
static size_t carry(struct shim *s, int which)
{
	char block[1 + 32768];
	size_t moved = 0;
	ssize_t n;

	while (s->pipes[which] >= 0 && s->wire.out.len < QUEUE_MAX) {
		n = read(s->pipes[which], block + 1, sizeof(block) - 1);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			break;
		if (n <= 0) {
			ls_fd_close(&s->pipes[which]);
			break;
		}
		block[0] = (char)(which + 1);
		if (which == 2)
			ls_wire_send(&s->wire, LS_MSG_EVENT, block + 1, (size_t)n);
		else
			ls_wire_send(&s->wire, LS_MSG_OUT, block, (size_t)n + 1);
		moved += (size_t)n;
	}
	return moved;
}

static void stop_program(struct shim *s, unsigned ms)
{
	if (!s->pid)
		return;
	if (ms) {
		kill(s->pid, SIGTERM); /* the program itself: it knows what its children are for */
		s->kill_at_ms = ls_clock_ms() + ms;
	} else {
		kill(-s->pid, SIGKILL);
	}
}

/* What every thread of the program waits in: for a hang. Kernel stacks need root; the rest does not. */
static void send_stacks(struct shim *s)
{
	struct ls_str text = { 0 };
	char path[64];
	struct dirent *d;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)s->pid);
	dir = s->pid ? opendir(path) : NULL;
	while (dir && (d = readdir(dir)) != NULL && text.len < 65536) {
		static const char *const files[] = { "comm", "wchan", "syscall", "stack" };
		int tid = atoi(d->d_name);
		size_t i;

		if (tid <= 0)
			continue;
		ls_str_addf(&text, "thread %d:\n", tid);
		for (i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
			struct ls_str one = { 0 };

			snprintf(path, sizeof(path), "/proc/%d/task/%d/%s", (int)s->pid, tid, files[i]);
			if (!ls_file_read(path, 8192, &one, NULL) && one.len)
				ls_str_addf(&text, "  %s: %s%s", files[i], one.s, one.s[one.len - 1] == '\n' ? "" : "\n");
			ls_str_release(&one);
		}
	}
	if (dir)
		closedir(dir);
	ls_wire_send(&s->wire, LS_MSG_STACKS, ls_str_text(&text), text.len);
	ls_str_release(&text);
}

/* The launcher's words while the program runs. False: the connection is gone. */
static bool listen_launcher(struct shim *s)
{
	bool alive = ls_wire_fill(&s->wire) == LS_OK, bad;
	const char *bytes;
	enum ls_msg type;
	size_t len;

	while (ls_wire_next(&s->wire, &type, &bytes, &len, &bad)) {
		uint32_t ms = 0;

		if (type == LS_MSG_STOP && len == sizeof(ms)) {
			memcpy(&ms, bytes, sizeof(ms));
			s->by_us |= s->pid != 0;
			stop_program(s, ms);
		} else if (type == LS_MSG_DUMP) {
			send_stacks(s);
		} else if (type == LS_MSG_PING) {
			ls_wire_send(&s->wire, LS_MSG_PONG, "", 0);
		}
	}
	return alive && !bad;
}

static void hear_launcher(struct shim *s)
{
	if (listen_launcher(s))
		return;
	ls_wire_close(&s->wire);
	ls_fd_close(&s->agent); /* the next attempt's shim wants the name */
	s->by_us |= s->pid != 0;
	if (!s->orphan)
		stop_program(s, ORPHAN_GRACE_MS);
	s->orphan = true;
}

static void on_signals(struct shim *s)
{
	struct signalfd_siginfo si;
	int status;

	while (read(s->signals, &si, sizeof(si)) == (ssize_t)sizeof(si)) {
		if (si.ssi_signo != LS_SHIM_NOTICE || s->noticed)
			continue;
		s->noticed = true;
		stop_program(s, s->grace_ms);
	}
	if (getppid() != s->engine && !s->engine_gone) {
		s->engine_gone = true;
		ls_wire_send(&s->wire, LS_MSG_NO_ENGINE, "", 0);
	}
	if (s->pid && waitpid(s->pid, &status, WNOHANG) == s->pid) {
		s->status = status;
		s->ended = true;
		kill(-s->pid, SIGKILL); /* its children are no use without it, and hold our pipes */
		s->pid = 0;
	}
}

/* One round of waiting: moves output, hears the launcher, sees the program's end. */
static void run_once(struct shim *s, int timeout_ms)
{
	bool room = s->wire.out.len < QUEUE_MAX;
	struct pollfd p[6] = {
		{ .fd = s->wire.fd, .events = (short)(POLLIN | (s->wire.out.len ? POLLOUT : 0)) },
		{ .fd = s->signals, .events = POLLIN },
		{ .fd = room ? s->pipes[0] : -1, .events = POLLIN },
		{ .fd = room ? s->pipes[1] : -1, .events = POLLIN },
		{ .fd = room ? s->pipes[2] : -1, .events = POLLIN },
		{ .fd = s->agent, .events = POLLIN },
	};
	int i;

	if (s->kill_at_ms) {
		int64_t left = s->kill_at_ms - ls_clock_ms();

		timeout_ms = left <= 0 ? 0 : (timeout_ms < 0 || left < timeout_ms) ? (int)left : timeout_ms;
	}
	poll(p, 6, timeout_ms);
	if (s->kill_at_ms && ls_clock_ms() >= s->kill_at_ms && s->pid) {
		kill(-s->pid, SIGKILL);
		s->kill_at_ms = 0;
	}
	if (p[0].revents & POLLOUT)
		ls_wire_flush(&s->wire);
	for (i = 2; i >= 0; i--) /* events first: the reason why should come before the last words */
		if (p[2 + i].revents)
			carry(s, i);
	if (p[0].revents & (POLLIN | POLLHUP | POLLERR))
		hear_launcher(s);
	if (p[1].revents)
		on_signals(s);
	if (p[5].revents && s->agent >= 0) {
		ls_agent_start(s->agent);
		ls_fd_close(&s->agent);
	}
}

static void run_program(struct shim *s)
{
	int64_t left = DRAIN_MS;

	hear_launcher(s); /* a STOP that came together with the GO is read already: poll() would not tell */
	while (!s->ended && !(s->orphan && !s->pid))
		run_once(s, -1);
	/* Only time in which the launcher takes what there is counts: its reader may be a pager, and the last lines matter most. */
	while (left > 0 && !s->orphan && (s->pipes[0] >= 0 || s->pipes[1] >= 0 || s->pipes[2] >= 0)) {
		int64_t begun_ms = ls_clock_ms();
		bool room = s->wire.out.len < QUEUE_MAX;

		run_once(s, 20);
		left -= room ? ls_clock_ms() - begun_ms + 1 : 0;
	}
}

/* --- the life of the shim ---------------------------------------------------------------------------------------------- */

static int watch_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGUSR2);
	sigaddset(&set, SIGCONT);
	sigaddset(&set, LS_SHIM_NOTICE);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	return signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
}

/* deadline_ms < 0: as long as the connection is there. */
static cJSON *wait_message(struct shim *s, enum ls_msg want, int deadline_ms)
{
	int64_t until = deadline_ms < 0 ? INT64_MAX : ls_clock_ms() + deadline_ms, left;
	const char *bytes;
	enum ls_msg type;
	bool bad = false;
	size_t len;

	while ((left = until - ls_clock_ms()) > 0) {
		struct pollfd p = { .fd = s->wire.fd, .events = (short)(POLLIN | (s->wire.out.len ? POLLOUT : 0)) };
		bool alive = true;

		poll(&p, 1, deadline_ms < 0 ? -1 : (int)left);
		ls_wire_flush(&s->wire);
		if (p.revents & (POLLIN | POLLHUP | POLLERR))
			alive = ls_wire_fill(&s->wire) == LS_OK;
		while (ls_wire_next(&s->wire, &type, &bytes, &len, &bad)) {
			if (type == want)
				return len ? cJSON_ParseWithLength(bytes, len) : cJSON_CreateNull();
			if (type == LS_MSG_STOP && want == LS_MSG_GO) /* before the program began: nothing to stop */
				return NULL;
		}
		if (!alive || bad)
			return NULL;
	}
	return NULL;
}

/* The agent's socket is there before any program of this host: GO comes when all ranks have said HELLO. Of an earlier attempt's agent
 * it has the name still, and so that one goes on. */
static int listen_for_agent(void)
{
	struct ls_err err = LS_ERR_INIT;
	int fd = -1;

	if (ls_hold_listen(need_env(LS_AGENT_ENV), &fd, &err) && err.status != LS_EXISTS)
		fprintf(stderr, "lockstep rank: %s; snapshots in memory end with their ranks\n", err.text);
	return fd;
}

/* A session directory for the engine's shared-memory files must exist before MPI_Init looks for it. */
static void make_session_dirs(const char *dirs)
{
	char *copy = strdup(dirs), *save = NULL, *dir;

	for (dir = copy ? strtok_r(copy, ":", &save) : NULL; dir; dir = strtok_r(NULL, ":", &save))
		if (mkdir(dir, 0700) < 0 && errno != EEXIST)
			fprintf(stderr, "lockstep rank: cannot create %s: %s\n", dir, strerror(errno));
	free(copy);
}

int cmd_rank(int argc, char **argv)
{
	struct shim s = { .pipes = { -1, -1, -1 }, .agent = -1, .run_id = need_env("LOCKSTEP_RUN_ID") };
	struct ls_program program;
	struct ls_err err = LS_ERR_INIT;
	cJSON *go;
	ls_status st;
	int fd;

	(void)argc, (void)argv;
	s.rank = env_int("OMPI_COMM_WORLD_RANK");
	s.world = env_int("OMPI_COMM_WORLD_SIZE");
	s.local_rank = env_int("OMPI_COMM_WORLD_LOCAL_RANK");
	if (s.rank < 0 || !getenv("LOCKSTEP_CTL")) {
		fputs("lockstep rank: is started by `lockstep run`, not by hand\n", stderr);
		return 2;
	}
	s.engine = getppid();
	s.signals = watch_signals();
	prctl(PR_SET_PDEATHSIG, SIGUSR2);
	make_session_dirs(need_env("LOCKSTEP_SESSION"));
	if (s.local_rank == 0 && ls_reaper_start(s.engine, s.run_id, need_env("LOCKSTEP_SESSION"), &err))
		return ls_command_fail("rank", err.status, &err);
	if (s.local_rank == 0)
		s.agent = listen_for_agent();
	st = ls_wire_connect(need_env("LOCKSTEP_CTL"), CONNECT_MS, &fd, &err);
	if (st)
		return ls_command_fail("rank", st, &err);
	ls_wire_init(&s.wire, fd);
	if (say_hello(&s))
		return 1;
	go = wait_message(&s, LS_MSG_GO, GO_MS);
	if (!go)
		return 1;
	s.oom_before = oom_kills();
	s.grace_ms = (uint32_t)cJSON_GetNumberValue(cJSON_GetObjectItem(go, "graceMs"));
	st = ls_program_start(go, &program, &err);
	cJSON_Delete(go);
	if (st) {
		send_exit(&s, err.text);
	} else {
		s.pid = program.pid;
		memcpy(s.pipes, program.pipes, sizeof(s.pipes));
		ls_wire_send(&s.wire, LS_MSG_STARTED, "", 0);
		run_program(&s);
		send_exit(&s, "");
	}
	/* The launcher must know before the engine does: the engine's own way of ending a job would blur who was first. However long
	 * it takes: a launcher whose terminal is stopped reads nothing, and must find this rank's last lines and its end later. */
	cJSON_Delete(wait_message(&s, LS_MSG_BYE, s.orphan ? 0 : -1));
	ls_wire_close(&s.wire);
	return s.orphan;
}
