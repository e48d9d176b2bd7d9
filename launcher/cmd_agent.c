/* cmd_agent.c -- `lockstep agent` (with --pod: pod_agent.c): holds the snapshots (core/snap.h) of this host's ranks while they die and start again, and copies of
 * other hosts'.
 *
 *     shim: listener ──> report in at the launcher ──> serve ranks and other agents' ranks ──> the launcher's connection ends: exit
 *
 * Invariant: it outlives every attempt, and never the launcher; all it holds is memory, so nothing stays behind. It judges nothing: which
 * snapshots belong together, and what may be forgotten, is the ranks' word (core/hold.h).
 * Only processes of its own user are heard on the unix socket; only who knows the run's key over TCP. */
#include "launcher/agent_impl.h"
#include "launcher/agents.h"
#include "launcher/commands.h"
#include "launcher/pod.h"
#include "launcher/probe.h"
#include "launcher/wire.h"
#include "core/io.h"
#include "lockstep/lockstep.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	LAUNCHER_MS = 10000,
	COPIES_MAX = 64, /* connections from other hosts at once: until they show the key they may be anybody's */
	FULL_MS = 100    /* a pause when there are no descriptors left */
};

static struct agent agent = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* --- the ranks of this host -------------------------------------------------------------------------------------------- */

static ls_status send_list(int fd, struct ls_err *err)
{
	struct ls_held *v = NULL;
	size_t n = 0, i;
	ls_status st = agent_list(&agent, &v, &n, err);

	for (i = 0; !st && i < n; i++) {
		struct ls_hold_reply one = { .more = 1, .copy = v[i].copy, .head = v[i].head };

		if (!ls_hold_packet_send(fd, &one, sizeof(one), v[i].fd))
			st = ls_fail(err, LS_NODE_LOST, errno, "the list was not taken");
	}
	ls_held_release(v, n);
	return st;
}

/* False: the connection is of no more use. */
static bool answer(int fd, uint64_t owner, const struct ls_hold_request *request, int pass)
{
	struct ls_hold_reply reply = { 0 };
	struct ls_err err = LS_ERR_INIT;

	switch (request->ask) {
	case LS_HOLD_HELLO:
		snprintf(err.text, sizeof(err.text), "%s", agent.address);
		break;
	case LS_HOLD_KEEP:
		reply.status = agent_keep(&agent, pass, owner, &err);
		pass = -1;
		break;
	case LS_HOLD_LIST:
		reply.status = send_list(fd, &err);
		break;
	case LS_HOLD_FORGET:
		agent_forget(&agent, request);
		break;
	default:
		reply.status = ls_fail(&err, LS_USAGE, 0, "it was asked for something it does not know (%u)", request->ask);
	}
	ls_fd_close(&pass);
	snprintf(reply.text, sizeof(reply.text), "%.255s", err.text);
	return reply.status != LS_NODE_LOST && ls_hold_packet_send(fd, &reply, sizeof(reply), -1);
}

static void *serve_rank(void *arg)
{
	static _Atomic uint64_t owners;
	int fd = (int)(intptr_t)arg, pass;
	uint64_t owner = ++owners;
	struct ls_hold_request request;

	ls_hold_patience(fd, 0, LS_HOLD_SILENCE_S);
	while (ls_hold_packet_recv(fd, &request, sizeof(request), &pass) && answer(fd, owner, &request, pass))
		;
	agent_leave(&agent, owner);
	ls_fd_close(&fd);
	return NULL;
}

static void *serve_copy(void *arg)
{
	int fd = (int)(intptr_t)arg;

	agent_receive(&agent, fd);
	ls_fd_close(&fd);
	agent.copies--;
	return NULL;
}

/* --- its life ---------------------------------------------------------------------------------------------------------- */

static bool start_thread(void *(*serve)(void *), int fd)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, serve, (void *)(intptr_t)fd))
		return false;
	pthread_detach(thread);
	return true;
}

static void take(int listener, bool other_host)
{
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

	if (fd < 0 && errno != EAGAIN)
		poll(NULL, 0, FULL_MS); /* it stays readable: no busy loop */
	if (fd < 0)
		return;
	if (!other_host && ls_hold_same_user(fd) && start_thread(serve_rank, fd))
		return;
	if (other_host && agent.copies++ < COPIES_MAX && start_thread(serve_copy, fd))
		return;
	agent.copies -= other_host;
	ls_fd_close(&fd);
}

static ls_status report_in(struct ls_wire *w, struct ls_err *err)
{
	const char *ctl = getenv("LOCKSTEP_CTL"), *token = getenv("LOCKSTEP_TOKEN");
	cJSON *json = cJSON_CreateObject();
	char id[128], hostname[64];
	int fd = -1;
	ls_status st = ls_wire_connect(ctl ? ctl : "", LAUNCHER_MS, &fd, err);

	ls_host_id(id, hostname);
	cJSON_AddStringToObject(json, "token", token ? token : "");
	cJSON_AddStringToObject(json, "version", LOCKSTEP_VERSION);
	cJSON_AddStringToObject(json, "hostId", id);
	ls_wire_init(w, fd);
	if (!st && ls_wire_send_json(w, LS_MSG_AGENT, json))
		st = ls_fail(err, LS_NODE_LOST, 0, "the launcher is gone");
	cJSON_Delete(json);
	return st;
}

/* The launcher's answer: what this run's agents have in common. */
static ls_status hear_go(struct ls_wire *w, char address[64], struct ls_err *err)
{
	int64_t until = ls_clock_ms() + LAUNCHER_MS, left;
	const char *bytes;
	enum ls_msg type;
	bool bad = false;
	size_t len;

	while (!bad && (left = until - ls_clock_ms()) > 0) {
		struct pollfd p = { .fd = w->fd, .events = POLLIN };
		bool alive;

		poll(&p, 1, (int)left);
		alive = ls_wire_fill(w) == LS_OK;
		if (ls_wire_next(w, &type, &bytes, &len, &bad) && type == LS_MSG_GO) {
			cJSON *go = cJSON_ParseWithLength(bytes, len);
			const char *key = cJSON_GetStringValue(cJSON_GetObjectItem(go, "key"));
			const char *where = cJSON_GetStringValue(cJSON_GetObjectItem(go, "address"));

			snprintf(agent.key, sizeof(agent.key), "%s", key ? key : "");
			snprintf(address, 64, "%s", where ? where : "");
			cJSON_Delete(go);
			return strlen(agent.key) == LS_HOLD_KEY ? LS_OK : ls_fail(err, LS_USAGE, 0, "the launcher sent no key");
		}
		if (!alive)
			break;
	}
	return ls_fail(err, LS_NODE_LOST, 0, "the launcher did not take this agent");
}

static void serve(struct ls_wire *launcher, int copies)
{
	struct pollfd p[3] = {
		{ .fd = launcher->fd, .events = POLLIN },
		{ .fd = LS_AGENT_FD, .events = POLLIN },
		{ .fd = copies, .events = POLLIN },
	};

	for (;;) {
		poll(p, 3, -1);
		if (p[0].revents && ls_wire_fill(launcher))
			return;
		if (p[1].revents)
			take(LS_AGENT_FD, false);
		if (p[2].revents)
			take(copies, true);
	}
}

/* Each snapshot and connection takes a descriptor, and the usual soft limit is 1024. */
static void raise_files(void)
{
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
}

int cmd_agent(int argc, char **argv)
{
	int listening = 0, copies = -1, port;
	socklen_t size = sizeof(listening);
	struct ls_err err = LS_ERR_INIT;
	char address[64] = "";
	struct ls_wire launcher;
	ls_status st;

	if (argc == 2 && !strcmp(argv[1], "--pod"))
		return cmd_pod_agent();
	if (argc > 1 && !strcmp(argv[1], "--node"))
		return cmd_agent_node(argc - 1, argv + 1);
	if (getsockopt(LS_AGENT_FD, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) || !listening) {
		fputs("lockstep agent: is started by `lockstep run`, not by hand\n", stderr);
		return 2;
	}
	prctl(PR_SET_NAME, "lockstep-agent");
	signal(SIGPIPE, SIG_IGN);
	raise_files();
	if (chdir("/") < 0)
		return ls_command_fail("agent", ls_fail(&err, LS_AGAIN, errno, "cannot change to /"), &err);
	st = report_in(&launcher, &err);
	if (!st)
		st = hear_go(&launcher, address, &err);
	if (!st && address[0])
		st = ls_wire_listen_tcp(&copies, &port, &err);
	if (st)
		return ls_command_fail("agent", st, &err);
	if (address[0])
		snprintf(agent.address, sizeof(agent.address), "%s:%d %s", address, port, agent.key);
	serve(&launcher, copies);
	return 0;
}
