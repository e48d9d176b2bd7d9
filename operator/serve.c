/* serve.c -- see serve.h. */
#include "operator/serve.h"
#include "core/io.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONNECTIONS 16
#define DEADLINE_MS 5000
#define REQUEST_MAX 4096

struct connection {
	int fd;                 /* -1: unused */
	int64_t until_ms;
	char request[REQUEST_MAX];
	size_t got;
	struct ls_str reply;
	size_t sent;
};

struct ls_serve {
	int listener, stop, port;
	pthread_t thread;
	ls_serve_answer answer;
	void *arg;
	struct connection c[CONNECTIONS];
};

static void hang_up(struct connection *c)
{
	ls_fd_close(&c->fd);
	ls_str_release(&c->reply);
	c->got = c->sent = 0;
}

static void accept_one(struct ls_serve *s, int64_t now_ms)
{
	struct connection *c = &s->c[0];
	int fd = accept4(s->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd < 0)
		return;
	for (int i = 0; i < CONNECTIONS; i++) {
		if (s->c[i].fd < 0) {
			c = &s->c[i];
			break;
		}
		if (s->c[i].until_ms < c->until_ms)
			c = &s->c[i];
	}
	if (c->fd >= 0)
		hang_up(c);
	c->fd = fd;
	c->until_ms = now_ms + DEADLINE_MS;
}

static const char *reason(int status)
{
	return status == 200 ? "OK" : status == 404 ? "Not Found" : status == 503 ? "Service Unavailable" : "Bad Request";
}

static void compose(struct ls_serve *s, struct connection *c)
{
	struct ls_str body = { 0 };
	char path[128];
	int status = 400;

	if (sscanf(c->request, "GET %127[^ ?]", path) == 1)
		status = s->answer(s->arg, path, &body);
	else
		ls_str_add(&body, "GET only\n");
	ls_str_addf(&c->reply, "HTTP/1.1 %d %s\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n",
		status, reason(status), body.len);
	ls_str_add(&c->reply, ls_str_text(&body));
	if (body.oom || c->reply.oom)
		hang_up(c);
	ls_str_release(&body);
}

static void receive(struct ls_serve *s, struct connection *c)
{
	ssize_t n = recv(c->fd, c->request + c->got, REQUEST_MAX - 1 - c->got, 0);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		hang_up(c);
		return;
	}
	c->got += (size_t)n;
	c->request[c->got] = '\0';
	if (strstr(c->request, "\r\n\r\n"))
		compose(s, c);
	else if (c->got == REQUEST_MAX - 1)
		hang_up(c);
}

static void transmit(struct connection *c)
{
	ssize_t n = send(c->fd, c->reply.s + c->sent, c->reply.len - c->sent, MSG_NOSIGNAL);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n > 0)
		c->sent += (size_t)n;
	if (n <= 0 || c->sent == c->reply.len)
		hang_up(c);
}

static void serve_one(struct ls_serve *s, struct connection *c, short events, int64_t now_ms)
{
	if (events && !c->reply.len)
		receive(s, c);
	if (c->fd >= 0 && c->reply.len)
		transmit(c);
	if (c->fd >= 0 && c->until_ms <= now_ms)
		hang_up(c);
}

static void *run(void *arg)
{
	struct ls_serve *s = arg;
	struct pollfd fds[CONNECTIONS + 2];
	bool open;

	for (;;) {
		fds[0] = (struct pollfd){ .fd = s->stop, .events = POLLIN };
		fds[1] = (struct pollfd){ .fd = s->listener, .events = POLLIN };
		open = false;
		for (int i = 0; i < CONNECTIONS; i++) {
			fds[i + 2] = (struct pollfd){ .fd = s->c[i].fd, .events = s->c[i].reply.len ? POLLOUT : POLLIN };
			open = open || s->c[i].fd >= 0;
		}
		if (poll(fds, CONNECTIONS + 2, open ? 500 : -1) < 0 && errno != EINTR)
			return NULL;
		if (fds[0].revents)
			return NULL;
		for (int i = 0; i < CONNECTIONS; i++)
			if (s->c[i].fd >= 0)
				serve_one(s, &s->c[i], fds[i + 2].revents, ls_clock_ms());
		if (fds[1].revents)
			accept_one(s, ls_clock_ms());
	}
}

static ls_status split(const char *address, char host[128], char port[8], struct ls_err *err)
{
	const char *colon = strrchr(address, ':');
	size_t len = colon ? (size_t)(colon - address) : 0;
	char *end;

	if (!colon || len >= 128 || strlen(colon + 1) > 5 || !colon[1] || strtol(colon + 1, &end, 10) > 65535 || *end)
		return ls_fail(err, LS_USAGE, 0, "'%s' is no address to listen on: want :PORT or ADDRESS:PORT, such as :8080", address);
	if (len > 1 && address[0] == '[' && colon[-1] == ']') {
		address++;
		len -= 2;
	}
	snprintf(host, 128, "%.*s", (int)len, address);
	snprintf(port, 8, "%s", colon + 1);
	return LS_OK;
}

static int listen_on(const struct addrinfo *a, int *ret_port)
{
	struct sockaddr_storage bound;
	socklen_t len = sizeof(bound);
	int on = 1, off = 0, fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (a->ai_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
	if (bind(fd, a->ai_addr, a->ai_addrlen) < 0 || listen(fd, 64) < 0 || getsockname(fd, (struct sockaddr *)&bound, &len) < 0) {
		ls_fd_close(&fd);
		return -1;
	}
	*ret_port = ntohs(bound.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&bound)->sin6_port : ((struct sockaddr_in *)&bound)->sin_port);
	return fd;
}

/* Without a host: both families by one IPv6 socket, or IPv4 alone where there is no IPv6. */
static ls_status open_listener(struct ls_serve *s, const char *address, struct ls_err *err)
{
	struct addrinfo hints = { .ai_flags = AI_PASSIVE | AI_NUMERICHOST | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM }, *found;
	char host[128], port[8];
	int e;

	if (split(address, host, port, err))
		return LS_USAGE;
	hints.ai_family = *host ? AF_UNSPEC : AF_INET6;
	for (;;) {
		e = getaddrinfo(*host ? host : NULL, port, &hints, &found);
		if (e)
			return ls_fail(err, LS_USAGE, 0, "cannot listen on %s: %s; want :PORT or ADDRESS:PORT", address, gai_strerror(e));
		s->listener = listen_on(found, &s->port);
		freeaddrinfo(found);
		if (s->listener >= 0)
			return LS_OK;
		if (hints.ai_family != AF_INET6 || errno == EADDRINUSE)
			return ls_fail(err, errno == EADDRINUSE ? LS_EXISTS : LS_USAGE, errno, "cannot listen on %s", address);
		hints.ai_family = AF_INET;
	}
}

static void free_serve(struct ls_serve *s)
{
	for (int i = 0; i < CONNECTIONS; i++)
		hang_up(&s->c[i]);
	ls_fd_close(&s->listener);
	ls_fd_close(&s->stop);
	free(s);
}

ls_status ls_serve_start(const char *address, ls_serve_answer answer, void *arg, struct ls_serve **ret, struct ls_err *err)
{
	struct ls_serve *s = calloc(1, sizeof(*s));
	ls_status st;
	int e;

	if (!s)
		return ls_fail_oom(err);
	for (int i = 0; i < CONNECTIONS; i++)
		s->c[i].fd = -1;
	s->listener = -1;
	s->answer = answer;
	s->arg = arg;
	s->stop = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	st = s->stop < 0 ? ls_fail(err, LS_AGAIN, errno, "cannot open an eventfd") : open_listener(s, address, err);
	if (!st && (e = pthread_create(&s->thread, NULL, run, s)) != 0)
		st = ls_fail(err, LS_AGAIN, e, "cannot start a thread for %s", address);
	if (st) {
		free_serve(s);
		return st;
	}
	*ret = s;
	return LS_OK;
}

void ls_serve_stop(struct ls_serve *s)
{
	if (!s)
		return;
	eventfd_write(s->stop, 1);
	pthread_join(s->thread, NULL);
	free_serve(s);
}

int ls_serve_port(const struct ls_serve *s)
{
	return s->port;
}
