/* wire.c -- see wire.h. */
#include "launcher/wire.h"
#include "core/io.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { HEAD = 5 };

void ls_wire_init(struct ls_wire *w, int fd)
{
	int one = 1, idle = LS_WIRE_SILENCE_S / 4, count = 3;

	*w = (struct ls_wire){ .fd = fd };
	if (fd < 0)
		return;
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	fcntl(fd, F_SETFD, FD_CLOEXEC);
	/* These fail on unix sockets, which need none of it. */
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &idle, sizeof(idle));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof(count));
}

void ls_wire_must_read(struct ls_wire *w)
{
	unsigned timeout_ms = LS_WIRE_SILENCE_S * 1000;

	setsockopt(w->fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout_ms, sizeof(timeout_ms));
}

void ls_wire_close(struct ls_wire *w)
{
	ls_fd_close(&w->fd);
	ls_str_release(&w->in);
	ls_str_release(&w->out);
	w->in_used = 0;
}

ls_status ls_wire_flush(struct ls_wire *w)
{
	size_t sent = 0;
	ls_status st = LS_OK;

	while (sent < w->out.len) {
		ssize_t n = send(w->fd, w->out.s + sent, w->out.len - sent, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			if (errno != EAGAIN)
				st = LS_NODE_LOST;
			break;
		}
		sent += (size_t)n;
	}
	ls_str_cut(&w->out, sent);
	return st;
}

ls_status ls_wire_send(struct ls_wire *w, enum ls_msg type, const void *bytes, size_t len)
{
	unsigned char head[HEAD] = { len & 0xff, len >> 8 & 0xff, len >> 16 & 0xff, len >> 24 & 0xff, (unsigned char)type };

	if (w->fd < 0)
		return LS_NODE_LOST;
	ls_str_addn(&w->out, head, HEAD);
	ls_str_addn(&w->out, bytes, len);
	if (w->out.oom)
		return LS_NODE_LOST; /* half a message may be queued: the connection is of no more use */
	return ls_wire_flush(w);
}

ls_status ls_wire_send_json(struct ls_wire *w, enum ls_msg type, const void *cjson)
{
	char *text = cJSON_PrintUnformatted(cjson);
	ls_status st;

	if (!text)
		return LS_NODE_LOST;
	st = ls_wire_send(w, type, text, strlen(text));
	cJSON_free(text);
	return st;
}

ls_status ls_wire_fill(struct ls_wire *w)
{
	char block[65536];

	if (w->fd < 0)
		return LS_NODE_LOST;
	ls_str_cut(&w->in, w->in_used);
	w->in_used = 0;
	for (;;) {
		ssize_t n = recv(w->fd, block, sizeof(block), 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? LS_OK : LS_NODE_LOST;
		if (n == 0)
			return LS_NODE_LOST;
		ls_str_addn(&w->in, block, (size_t)n);
		if (w->in.oom)
			return LS_NODE_LOST;
		if (w->in.len > LS_WIRE_MAX) /* let the caller take messages out before more come in */
			return LS_OK;
	}
}

bool ls_wire_next(struct ls_wire *w, enum ls_msg *ret_type, const char **ret_bytes, size_t *ret_len, bool *ret_bad)
{
	const unsigned char *p;
	size_t have, len;

	*ret_bad = false;
	have = w->in.len - w->in_used;
	if (have < HEAD)
		return false;
	p = (const unsigned char *)w->in.s + w->in_used;
	len = p[0] | (size_t)p[1] << 8 | (size_t)p[2] << 16 | (size_t)p[3] << 24;
	if (len > LS_WIRE_MAX) {
		*ret_bad = true;
		return false;
	}
	if (have < HEAD + len)
		return false;
	*ret_type = p[4];
	*ret_bytes = w->in.s + w->in_used + HEAD;
	*ret_len = len;
	w->in_used += HEAD + len;
	return true;
}

static int unix_address(const char *name, struct sockaddr_un *ret, socklen_t *ret_len)
{
	size_t len = strlen(name);

	memset(ret, 0, sizeof(*ret));
	if (len + 1 > sizeof(ret->sun_path))
		return -1;
	ret->sun_family = AF_UNIX;
	memcpy(ret->sun_path + 1, name, len); /* a leading NUL: abstract, no file that could stay behind */
	*ret_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + len);
	return 0;
}

ls_status ls_wire_listen_unix(const char *name, int *ret_fd, struct ls_err *err)
{
	struct sockaddr_un sun;
	socklen_t len;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0 || unix_address(name, &sun, &len) < 0 || bind(fd, (struct sockaddr *)&sun, len) < 0 ||
		listen(fd, 1024) < 0) {
		ls_status st = ls_fail(err, LS_AGAIN, errno, "cannot listen for the ranks of this host");

		ls_fd_close(&fd);
		return st;
	}
	*ret_fd = fd;
	return LS_OK;
}

ls_status ls_wire_listen_tcp(int *ret_fd, int *ret_port, struct ls_err *err)
{
	return ls_wire_listen_port(0, ret_fd, ret_port, err);
}

ls_status ls_wire_listen_port(int port, int *ret_fd, int *ret_port, struct ls_err *err)
{
	struct sockaddr_in6 any = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_ANY_INIT, .sin6_port = htons((uint16_t)port) };
	socklen_t len = sizeof(any);
	int off = 0, on = 1, fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd >= 0)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
	if (fd >= 0 && port) /* one that was another's a moment ago */
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (fd < 0 || bind(fd, (struct sockaddr *)&any, len) < 0) { /* a host without IPv6 */
		struct sockaddr_in any4 = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };

		ls_fd_close(&fd);
		fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		if (fd >= 0 && port)
			setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
		if (fd < 0 || bind(fd, (struct sockaddr *)&any4, sizeof(any4)) < 0)
			goto fail;
	}
	len = sizeof(any);
	if (listen(fd, 1024) < 0 || getsockname(fd, (struct sockaddr *)&any, &len) < 0)
		goto fail;
	*ret_port = ntohs(any.sin6_port); /* sin_port and sin6_port share their place */
	*ret_fd = fd;
	return LS_OK;
fail:
	if (port)
		ls_fail(err, LS_AGAIN, errno, "cannot listen on port %d", port);
	else
		ls_fail(err, LS_AGAIN, errno, "cannot listen for the ranks of other hosts");
	ls_fd_close(&fd);
	return LS_AGAIN;
}

/* Connect with a bound on the time: a host behind a dropping firewall answers nothing at all. */
static int connect_within(int fd, const struct sockaddr *sa, socklen_t len, int ms)
{
	struct pollfd p = { .fd = fd, .events = POLLOUT };
	int error = 0;
	socklen_t size = sizeof(error);

	if (connect(fd, sa, len) == 0)
		return 0;
	if (errno != EINPROGRESS && errno != EAGAIN)
		return -1;
	if (poll(&p, 1, ms) <= 0) {
		errno = ETIMEDOUT;
		return -1;
	}
	getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
	errno = error;
	return error ? -1 : 0;
}

static int connect_one(char *address, int ms)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV }, *ai = NULL;
	struct sockaddr_un sun;
	socklen_t len;
	char *port;
	int fd = -1;

	if (!strncmp(address, "unix:", 5)) {
		fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (fd >= 0 && unix_address(address + 5, &sun, &len) == 0 && !connect(fd, (struct sockaddr *)&sun, len))
			return fd;
		ls_fd_close(&fd);
		return -1;
	}
	port = strrchr(address, ':');
	if (strncmp(address, "tcp:", 4) || !port || port < address + 4) {
		errno = EINVAL;
		return -1;
	}
	*port = '\0';
	if (getaddrinfo(address + 4, port + 1, &hints, &ai)) {
		*port = ':';
		errno = EINVAL;
		return -1;
	}
	*port = ':';
	fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd >= 0 && connect_within(fd, ai->ai_addr, ai->ai_addrlen, ms) < 0)
		ls_fd_close(&fd);
	freeaddrinfo(ai);
	return fd;
}

ls_status ls_wire_connect(const char *addresses, int deadline_ms, int *ret_fd, struct ls_err *err)
{
	int64_t until = ls_clock_ms() + deadline_ms;

	do {
		char *copy = strdup(addresses), *save = NULL, *one;

		if (!copy)
			return ls_fail_oom(err);
		for (one = strtok_r(copy, ",", &save); one; one = strtok_r(NULL, ",", &save)) {
			*ret_fd = connect_one(one, 2000);
			if (*ret_fd >= 0) {
				free(copy);
				return LS_OK;
			}
		}
		free(copy);
		poll(NULL, 0, 50);
	} while (ls_clock_ms() < until);
	return ls_fail(err, LS_NODE_LOST, errno, "cannot reach the launcher at %s", addresses);
}

bool ls_wire_secret_is(const char *want, const char *have)
{
	size_t i, len = strlen(want);
	unsigned char diff = 0;

	if (strlen(have) != len)
		return false;
	for (i = 0; i < len; i++)
		diff |= (unsigned char)(want[i] ^ have[i]);
	return !diff;
}
