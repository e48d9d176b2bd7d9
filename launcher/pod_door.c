/* pod_door.c -- see pod_door.h. */
#include "launcher/pod_door.h"
#include "launcher/wire.h"
#include "core/io.h"
#include "core/link.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { FULL_MS = 100, SAY_MS = 1000 };

ls_status ls_pod_key(struct ls_psk_key *ret, struct ls_err *err)
{
	const char *path = getenv(LS_ENV_SECRET), *uid = getenv(LS_ENV_UID);

	if (!uid || !*uid)
		return ls_fail(err, LS_USAGE, 0, "%s is not set: this is started by the operator, in a job's Pod", LS_ENV_UID);
	return ls_psk_key_read(path && *path ? path : LS_POD_SECRET, uid, ret, err);
}

ls_status ls_door_open(struct ls_door *d, int port, const char *who, int *ret_port, struct ls_err *err)
{
	struct ls_door door = { .fd = -1, .who = who };
	ls_status st = ls_pod_key(&door.key, err);

	if (!st)
		st = ls_wire_listen_port(port, &door.fd, ret_port, err);
	if (!st)
		*d = door;
	explicit_bzero(&door.key, sizeof(door.key));
	return st;
}

void ls_door_close(struct ls_door *d)
{
	ls_fd_close(&d->fd);
	explicit_bzero(&d->key, sizeof(d->key));
}

static void address_of(const struct sockaddr_storage *sa, char text[64], int *ret_port)
{
	const struct sockaddr_in6 *six = (const void *)sa;
	const struct sockaddr_in *four = (const void *)sa;

	*ret_port = ntohs(four->sin_port); /* sin_port and sin6_port share their place */
	if (sa->ss_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&six->sin6_addr))
		inet_ntop(AF_INET, six->sin6_addr.s6_addr + 12, text, 64);
	else if (sa->ss_family == AF_INET6)
		inet_ntop(AF_INET6, &six->sin6_addr, text, 64);
	else
		inet_ntop(AF_INET, &four->sin_addr, text, 64);
}

static void strange_no_more(struct ls_door *d, const struct ls_guest *g)
{
	int i;

	for (i = 0; i < d->n_strangers; i++)
		if (d->strangers[i] == g)
			d->strangers[i--] = d->strangers[--d->n_strangers];
}

/* Whoever has the secret is in within milliseconds: those who wait longest cannot lock it out. */
static void make_room(struct ls_door *d)
{
	struct ls_guest *eldest = d->strangers[0];
	int i;

	if (d->n_strangers < LS_DOOR_STRANGERS)
		return;
	for (i = 1; i < d->n_strangers; i++)
		if (d->strangers[i]->since_ms < eldest->since_ms)
			eldest = d->strangers[i];
	ls_door_refuse(d, eldest, "too many have not shown the job's secret");
	ls_door_leave(d, eldest);
}

bool ls_door_accept(struct ls_door *d, struct ls_guest *g)
{
	struct sockaddr_storage peer = { 0 }, here = { 0 };
	socklen_t peer_len = sizeof(peer), here_len = sizeof(here);
	struct ls_guest guest = { .since_ms = ls_clock_ms() };
	struct ls_err err = LS_ERR_INIT;
	int fd = accept4(d->fd, (struct sockaddr *)&peer, &peer_len, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0 && errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
		poll(NULL, 0, FULL_MS); /* no descriptors left: it stays readable, and must not keep us busy */
	if (fd < 0)
		return false;
	getsockname(fd, (struct sockaddr *)&here, &here_len);
	address_of(&peer, guest.peer, &guest.peer_port);
	address_of(&here, guest.here, &guest.here_port);
	make_room(d);
	if (ls_chan_open(&guest.chan, fd, true, &d->key, &err)) {
		ls_door_refuse(d, &guest, err.text);
		return false;
	}
	*g = guest;
	d->strangers[d->n_strangers++] = g;
	return true;
}

bool ls_door_shake(struct ls_door *d, struct ls_guest *g)
{
	struct ls_err err = LS_ERR_INIT;
	ls_status st = ls_psk_handshake(g->chan.psk, &err);

	if (!st) {
		g->in = true;
		strange_no_more(d, g);
		return true;
	}
	if (st == LS_AGAIN && ls_clock_ms() - g->since_ms < LS_DOOR_SHAKE_MS)
		return false;
	ls_door_refuse(d, g, st == LS_AGAIN ? "it did not show the job's secret in time" : err.text);
	ls_door_leave(d, g);
	return false;
}

void ls_door_refuse(struct ls_door *d, const struct ls_guest *g, const char *why)
{
	int64_t now = ls_clock_ms();

	d->refused++;
	if (d->said && now - d->said_ms < SAY_MS)
		return;
	fprintf(stderr, "lockstep %s: refused %s: %s (%lu so far)\n", d->who, g->peer, why, d->refused);
	d->said = d->refused;
	d->said_ms = now;
}

void ls_door_leave(struct ls_door *d, struct ls_guest *g)
{
	strange_no_more(d, g);
	ls_chan_close(&g->chan);
	g->in = false;
}
