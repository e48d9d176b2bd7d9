/* agents.c -- see agents.h. */
#include "launcher/agents.h"
#include "launcher/wire.h"
#include "core/hold_wire.h"
#include "core/io.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* Never returns. */
static void become_agent(int listener)
{
	sigset_t none;

	/* The reaper ends what carries the attempt's id; the agent is the run's. */
	unsetenv("LOCKSTEP_RUN_ID");
	if (listener == LS_AGENT_FD)
		fcntl(listener, F_SETFD, 0);
	else
		dup2(listener, LS_AGENT_FD);
	/* It holds none of the engine's pipes, or the engine would wait for it; main() opens what is missing. */
	close_range(0, 2, 0);
	close_range(LS_AGENT_FD + 1, ~0u, 0);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	execl("/proc/self/exe", "lockstep", "agent", (char *)NULL);
	_exit(127);
}

/* Twice forked, in its own session, as the reaper: nobody waits for it, and no signal to a group reaches it. */
void ls_agent_start(int listener)
{
	pid_t pid = fork();

	if (pid == 0) {
		setsid();
		if (fork() == 0)
			become_agent(listener);
		_exit(0);
	}
	while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
}

/* --- the launcher's list ----------------------------------------------------------------------------------------------- */

struct ls_agents {
	char name[64], key[LS_HOLD_KEY + 1];
	int *fds;
	size_t n;
};

ls_status ls_agents_open(struct ls_agents **ret, struct ls_err *err)
{
	struct ls_agents *a = calloc(1, sizeof(*a));
	char id[17];
	ls_status st;

	if (!a)
		return ls_fail_oom(err);
	st = ls_random_hex(id, 8, err);
	if (!st)
		st = ls_random_hex(a->key, LS_HOLD_KEY / 2, err);
	if (st) {
		free(a);
		return st;
	}
	snprintf(a->name, sizeof(a->name), "lockstep-agent-%u-%s", (unsigned)geteuid(), id);
	*ret = a;
	return LS_OK;
}

void ls_agents_close(struct ls_agents *a)
{
	size_t i;

	for (i = 0; a && i < a->n; i++)
		ls_fd_close(&a->fds[i]);
	if (a)
		free(a->fds);
	free(a);
}

const char *ls_agents_name(const struct ls_agents *a)
{
	return a->name;
}

const char *ls_agents_key(const struct ls_agents *a)
{
	return a->key;
}

/* An agent says nothing any more; so what can be read is its end. */
static bool is_gone(int fd)
{
	char byte;

	return recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) >= 0 || errno != EAGAIN;
}

void ls_agents_take(struct ls_agents *a, int *fd)
{
	int *more;
	size_t i;

	for (i = 0; i < a->n; i++) /* the place of one that died, so that they do not add up over many attempts */
		if (is_gone(a->fds[i]))
			break;
	if (i < a->n) {
		ls_fd_close(&a->fds[i]);
	} else {
		more = realloc(a->fds, (a->n + 1) * sizeof(*more));
		if (!more) {
			ls_fd_close(fd);
			return;
		}
		a->fds = more;
		a->n++;
	}
	a->fds[i] = *fd;
	*fd = -1;
}
