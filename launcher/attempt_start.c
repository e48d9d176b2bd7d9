/* attempt_start.c -- see attempt_impl.h: the engine's start, and the connections that come in. */
#include "launcher/attempt_impl.h"
#include "launcher/reaper.h"
#include "core/io.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	STRANGERS = 256, /* connections beyond the ranks' own that may be about to say who they are */
	FULL_MS = 100    /* a pause when there are no descriptors left */
};

void ls_session_dirs(const char *run_id, char tmp[128], char shm[128])
{
	snprintf(tmp, 128, "/tmp/lockstep-%u-%s", (unsigned)geteuid(), run_id);
	snprintf(shm, 128, "/dev/shm/lockstep-%u-%s", (unsigned)geteuid(), run_id);
}

/* stdin goes to rank 0 as with mpirun, but never a terminal's: the engine is not in its foreground group and would be stopped. */
static int rank_stdin(void)
{
	return isatty(0) ? open("/dev/null", O_RDONLY | O_CLOEXEC) : dup(0);
}

ls_status attempt_start_engine(struct attempt *a, struct ls_err *err)
{
	const struct ls_attempt_options *o = a->opt;
	struct ls_strv argv = { 0 }, env = { 0 };
	struct ls_str path = { 0 }, hosts = { 0 };
	int port = 0, log = -1, in = -1;
	struct ls_engine_options eo = { .session_tmp = a->session_tmp, .ssh = o->ssh, .binary = o->binary, .extra = o->engine_extra };
	char name[64];
	ls_status st;

	snprintf(name, sizeof(name), "lockstep-%s", a->run_id);
	st = ls_wire_listen_unix(name, &a->listeners[0], err);
	if (!st && ls_plan_local_hosts(o->plan) < o->plan->hosts.n)
		st = ls_wire_listen_tcp(&a->listeners[1], &port, err);
	if (st)
		goto out;
	ls_str_addf(&path, "%s/attempt-%u/engine.log", o->dir, o->number);
	log = open(ls_str_text(&path), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (log < 0) {
		st = ls_fail(err, LS_AGAIN, errno, "cannot write %s", ls_str_text(&path));
		goto out;
	}
	ls_str_release(&path);
	ls_str_addf(&path, "%s/attempt-%u/hosts", o->dir, o->number);
	ls_engine_hostfile(o->plan, &hosts);
	st = ls_file_publish(ls_str_text(&path), hosts.s, hosts.len, false, err);
	if (st)
		goto out;
	eo.hostfile = ls_str_text(&path);
	ls_engine_argv(o->engine, o->plan, &eo, &argv);
	attempt_engine_env(a, port, &env);
	in = rank_stdin();
	if (argv.oom || env.oom || in < 0) {
		st = ls_fail_oom(err);
		goto out;
	}
	st = ls_engine_spawn(&argv, &env, log, in, &a->engine, err);
	if (!st && !ls_plan_local_hosts(o->plan)) { /* no shim here whose reaper would clean up behind a killed launcher */
		struct ls_str dirs = { 0 };

		ls_str_addf(&dirs, "%s:%s", a->session_tmp, a->session_shm);
		ls_reaper_start(a->engine, a->run_id, ls_str_text(&dirs), NULL);
		ls_str_release(&dirs);
	}
out:
	ls_fd_close(&log);
	ls_fd_close(&in);
	ls_str_release(&hosts);
	ls_str_release(&path);
	ls_strv_release(&argv);
	ls_strv_release(&env);
	return st;
}

/* The place for one more connection: one that a stranger left, or a new one. Ranks' places stay theirs (conn_of), and so strangers
 * that come and go for days take no memory; of too many at once the eldest goes. NULL: no memory. */
static struct conn *conn_place(struct attempt *a)
{
	struct conn *eldest = NULL, *v;
	int i, strangers = 0;

	for (i = 0; i < a->n_conns; i++) {
		v = &a->conns[i];
		if (v->rank >= 0)
			continue;
		if (v->wire.fd < 0)
			return v;
		strangers++;
		if (!eldest || v->since_ms < eldest->since_ms)
			eldest = v;
	}
	if (strangers >= STRANGERS + a->world) {
		ls_wire_close(&eldest->wire);
		return eldest;
	}
	v = realloc(a->conns, ((size_t)a->n_conns + 1) * sizeof(*v));
	if (!v)
		return NULL;
	a->conns = v;
	return v + a->n_conns++;
}

void attempt_accept(struct attempt *a, int listener)
{
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa);
	int fd = accept4(listener, (struct sockaddr *)&sa, &len, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct conn *v;

	if (fd < 0) {
		if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
			if (!a->said_full)
				ls_watch_warn(a->opt->watch, "cannot take a rank's connection: %s (ulimit -n)", strerror(errno));
			a->said_full = true;
			poll(NULL, 0, FULL_MS); /* it stays readable: no busy loop */
		}
		return;
	}
	v = conn_place(a);
	if (!v) {
		ls_fd_close(&fd);
		return;
	}
	*v = (struct conn){ .rank = -1, .since_ms = ls_clock_ms(), .peer = "this host" };
	if (sa.ss_family == AF_INET)
		inet_ntop(AF_INET, &((struct sockaddr_in *)&sa)->sin_addr, v->peer, sizeof(v->peer));
	else if (sa.ss_family == AF_INET6)
		inet_ntop(AF_INET6, &((struct sockaddr_in6 *)&sa)->sin6_addr, v->peer, sizeof(v->peer));
	ls_wire_init(&v->wire, fd);
	ls_wire_must_read(&v->wire);
}
