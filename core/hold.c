/* hold.c -- see hold.h. */
#include "core/hold.h"
#include "core/hold_wire.h"
#include "core/io.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

struct ls_hold {
	int fd;
	char address[256];
};

static ls_status lost(struct ls_err *err)
{
	return ls_fail(err, LS_NODE_LOST, errno, "the agent that holds this host's snapshots is gone");
}

/* The last reply's status and sentence. */
static ls_status end(const struct ls_hold_reply *reply, struct ls_err *err)
{
	if (reply->status == LS_OK)
		return LS_OK;
	return ls_fail(err, (ls_status)reply->status, 0, "the agent of this host: %.*s", (int)sizeof(reply->text), reply->text);
}

/* One question whose answer is one packet. */
static ls_status ask(struct ls_hold *h, const struct ls_hold_request *request, int pass, struct ls_hold_reply *reply, struct ls_err *err)
{
	int got = -1;

	if (!ls_hold_packet_send(h->fd, request, sizeof(*request), pass) || !ls_hold_packet_recv(h->fd, reply, sizeof(*reply), &got))
		return lost(err);
	ls_fd_close(&got);
	return end(reply, err);
}

ls_status ls_hold_open(const char *name, struct ls_hold **ret, struct ls_err *err)
{
	struct ls_hold_request hello = { .ask = LS_HOLD_HELLO };
	struct ls_hold *h = malloc(sizeof(*h));
	struct ls_hold_reply reply;
	ls_status st;

	if (!h)
		return ls_fail_oom(err);
	h->fd = -1;
	st = ls_hold_connect(name, &h->fd, err);
	if (!st)
		st = ask(h, &hello, -1, &reply, err);
	if (st) {
		ls_hold_close(h);
		return st;
	}
	snprintf(h->address, sizeof(h->address), "%.*s", (int)sizeof(reply.text), reply.text);
	*ret = h;
	return LS_OK;
}

void ls_hold_close(struct ls_hold *h)
{
	if (!h)
		return;
	ls_fd_close(&h->fd);
	free(h);
}

const char *ls_hold_address(const struct ls_hold *h)
{
	return h->address;
}

ls_status ls_hold_keep(struct ls_hold *h, int fd, struct ls_err *err)
{
	struct ls_hold_request keep = { .ask = LS_HOLD_KEEP };
	struct ls_hold_reply reply;

	return ask(h, &keep, fd, &reply, err);
}

ls_status ls_hold_forget(
	struct ls_hold *h, uint32_t attempt, uint32_t keep_attempt, int64_t keep_step, struct ls_err *err)
{
	struct ls_hold_request forget = { .ask = LS_HOLD_FORGET, .attempt = attempt, .keep_attempt = keep_attempt,
		.keep_step = keep_step };
	struct ls_hold_reply reply;

	return ask(h, &forget, -1, &reply, err);
}

/* --- the list ---------------------------------------------------------------------------------------------------------- */

/* Append what a reply brought; takes fd. */
static ls_status add_held(struct ls_held **v, size_t *n, const struct ls_hold_reply *reply, int fd, struct ls_err *err)
{
	struct ls_held *more;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0 || !ls_snap_head_ok(&reply->head, (uint64_t)st.st_size)) {
		ls_fd_close(&fd);
		return ls_fail(err, LS_NODE_LOST, 0, "the agent that holds this host's snapshots sent no valid one");
	}
	more = realloc(*v, (*n + 1) * sizeof(*more));
	if (!more) {
		ls_fd_close(&fd);
		return ls_fail_oom(err);
	}
	*v = more;
	more[(*n)++] = (struct ls_held){ .head = reply->head, .fd = fd, .copy = reply->copy };
	return LS_OK;
}

ls_status ls_hold_list(struct ls_hold *h, struct ls_held **ret, size_t *ret_n, struct ls_err *err)
{
	struct ls_hold_request list = { .ask = LS_HOLD_LIST };
	struct ls_hold_reply reply;
	struct ls_held *v = NULL;
	ls_status st = LS_OK;
	size_t n = 0;
	int fd = -1;

	if (!ls_hold_packet_send(h->fd, &list, sizeof(list), -1))
		return lost(err);
	do { /* to its end, also after an error: the next question must not get this answer */
		if (!ls_hold_packet_recv(h->fd, &reply, sizeof(reply), &fd)) {
			ls_held_release(v, n);
			return lost(err);
		}
		if (reply.more && !st)
			st = add_held(&v, &n, &reply, fd, err);
		else
			ls_fd_close(&fd);
	} while (reply.more);
	if (!st)
		st = end(&reply, err);
	if (st) {
		ls_held_release(v, n);
		return st;
	}
	*ret = v;
	*ret_n = n;
	return LS_OK;
}

void ls_held_release(struct ls_held *v, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		ls_fd_close(&v[i].fd);
	free(v);
}

/* --- a copy to another host -------------------------------------------------------------------------------------------- */

/* "ADDRESS:PORT KEY" to a connection. */
static ls_status reach(const char *address, char key[LS_HOLD_KEY], int *ret_fd, struct ls_err *err)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV }, *ai = NULL;
	size_t len = strcspn(address, " ");
	char host[128], *port;
	int fd, one = 1;

	snprintf(host, sizeof(host), "%.*s", (int)len, address);
	port = strrchr(host, ':');
	if (len >= sizeof(host) || strlen(address) != len + 1 + LS_HOLD_KEY || !port)
		return ls_fail(err, LS_USAGE, 0, "'%s' is no address of an agent (want: ADDRESS:PORT KEY)", host);
	*port++ = '\0';
	memcpy(key, address + len + 1, LS_HOLD_KEY);
	if (getaddrinfo(host, port, &hints, &ai))
		return ls_fail(err, LS_USAGE, 0, "'%s' port '%s' is no address of an agent", host, port);
	fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0)
		ls_hold_patience(fd, LS_HOLD_SILENCE_S, LS_HOLD_SILENCE_S);
	if (fd < 0 || connect(fd, ai->ai_addr, ai->ai_addrlen) < 0) {
		ls_fail(err, LS_NODE_LOST, errno == EINPROGRESS ? ETIMEDOUT : errno, "cannot reach the agent at %s", host);
		ls_fd_close(&fd);
		freeaddrinfo(ai);
		return LS_NODE_LOST;
	}
	freeaddrinfo(ai);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	*ret_fd = fd;
	return LS_OK;
}

static ls_status hear_verdict(int fd, const char *phase, struct ls_err *err)
{
	struct ls_hold_verdict v;

	if (!ls_hold_recv_all(fd, &v, sizeof(v)))
		return ls_fail(err, LS_NODE_LOST, errno, "the agent to which a copy goes ended the connection %s", phase);
	if (v.status == LS_OK)
		return LS_OK;
	return ls_fail(err, (ls_status)v.status, 0, "%.*s", (int)sizeof(v.text), v.text);
}

ls_status ls_hold_send(const char *address, const struct ls_snap_head *snap, struct ls_err *err)
{
	const char *image = (const char *)snap + LS_SNAP_HEAD;
	char key[LS_HOLD_KEY];
	int fd = -1;
	ls_status st;

	if (atomic_load_explicit(&snap->state, memory_order_acquire) != LS_SNAP_SEALED || !atomic_load(&snap->crc_known))
		return ls_fail(err, LS_USAGE, 0, "only a whole snapshot whose checksum is known can be copied to another host");
	st = reach(address, key, &fd, err);
	if (st)
		return st;
	if (ls_hold_send_all(fd, key, sizeof(key)) && ls_hold_send_all(fd, snap, sizeof(*snap)))
		st = hear_verdict(fd, "at once: is its key of another run?", err);
	else
		st = ls_fail(err, LS_NODE_LOST, errno, "cannot send a copy to the agent at %.*s", (int)strcspn(address, " "), address);
	/* An agent that has no more use for the rest ends the connection, but says why: that is heard even when sending fails. */
	if (!st && !ls_hold_send_all(fd, image, snap->bytes) && errno == ETIMEDOUT)
		st = ls_fail(err, LS_NODE_LOST, errno, "the agent at %.*s takes no more of a copy", (int)strcspn(address, " "), address);
	else if (!st)
		st = hear_verdict(fd, "before it had all", err);
	ls_fd_close(&fd);
	return st;
}
