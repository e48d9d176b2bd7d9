/* cmd_bench_coll_ranks.c -- the conversation with ranks: bench/coll_wire.h, from the side that asks.
 *
 * Every wait has an end: the time limit, the end of the contender's first process, end of file of a rank, or a signal to this process. */
#include "launcher/cmd_bench_coll.h"
#include "core/io.h"
#include "launcher/signals.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static ls_status stopped(struct ls_err *err)
{
	return *ls_signals_stops() ? ls_fail(err, LS_AGAIN, 0, "stopped by signal %d", ls_signals_last()) : LS_OK;
}

/* --- where ranks find us -------------------------------------------------------------------------------------------------------- */

static void add_addresses(struct ls_str *at)
{
	struct ifaddrs *list = NULL, *i;
	char text[INET6_ADDRSTRLEN];

	if (getifaddrs(&list) < 0)
		return;
	for (i = list; i; i = i->ifa_next)
		if (i->ifa_addr && i->ifa_addr->sa_family == AF_INET && (i->ifa_flags & IFF_UP) && !(i->ifa_flags & IFF_LOOPBACK) &&
			inet_ntop(AF_INET, &((struct sockaddr_in *)(void *)i->ifa_addr)->sin_addr, text, sizeof(text)))
			ls_str_addf(at, " %s", text);
	freeifaddrs(list);
}

/* Ranks on this machine only: loopback, which nobody else reaches. */
ls_status ls_bench_listen(struct ls_bench *b, struct ls_err *err)
{
	bool remote = b->opt.hosts || b->opt.hostfile;
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(remote ? INADDR_ANY : INADDR_LOOPBACK) };
	socklen_t len = sizeof(in);
	struct ls_str at = { 0 };
	ls_status st = ls_random_hex(b->token, 16, err);

	if (st)
		return st;
	b->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (b->listener < 0 || bind(b->listener, (void *)&in, len) < 0 || listen(b->listener, 128) < 0 || getsockname(b->listener, (void *)&in, &len) < 0)
		return ls_fail(err, LS_AGAIN, errno, "cannot listen for the ranks");
	ls_str_addf(&at, "%d", ntohs(in.sin_port));
	if (remote)
		add_addresses(&at);
	ls_str_add(&at, " 127.0.0.1");
	if (at.oom || at.len >= sizeof(b->at))
		st = ls_fail(err, LS_AGAIN, 0, "this machine has too many network addresses for a variable");
	else
		memcpy(b->at, at.s, at.len + 1);
	ls_str_release(&at);
	return st;
}

/* --- meeting -------------------------------------------------------------------------------------------------------------------- */

/* The first line of a new connection, within two seconds: whoever is silent is no rank. */
static bool read_hello(int fd, char line[512])
{
	struct timeval limit = { .tv_sec = 2 };
	size_t len = 0;

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	while (len < 511 && read(fd, line + len, 1) == 1)
		if (line[len++] == '\n') {
			line[len - 1] = '\0';
			return true;
		}
	return false;
}

__attribute__((format(printf, 3, 4))) static void lose(struct ls_bench *b, struct ls_bench_contender *c, const char *fmt, ...)
{
	char tail[400];
	size_t len;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(c->lost, sizeof(c->lost), fmt, ap);
	va_end(ap);
	len = strlen(c->lost);
	ls_bench_log_tail(b, c, tail, sizeof(tail));
	if (tail[0])
		snprintf(c->lost + len, sizeof(c->lost) - len, "; it printed: %s", tail);
}

/* Takes the descriptor if it is a rank of this contender. */
static bool take(struct ls_bench *b, struct ls_bench_contender *c, int fd)
{
	struct ls_bench_rank r = { .fd = fd };
	char line[512], token[64], name[64], *device;
	int rank, world, at = 0;

	if (!read_hello(fd, line) || sscanf(line, "hello %63s %63s %d %d %d %d %63s %n", token, name, &rank, &world, &r.pid, &r.cpu, r.host, &at) != 7 ||
		strcmp(token, b->token) != 0 || strcmp(name, c->name) != 0)
		return false;
	if (world != b->opt.np || rank < 0 || rank >= world || c->ranks[rank].fd >= 0) {
		lose(b, c, "it says it is rank %d of %d, where %d ranks were started: another MPI library than its mpirun's?", rank, world,
			b->opt.np);
		return false;
	}
	device = strstr(line + at, " @");
	if (device) {
		*device = '\0';
		snprintf(r.device, sizeof(r.device), "%s", device + 2);
	}
	c->ranks[rank] = r;
	if (rank == 0)
		snprintf(c->library, sizeof(c->library), "%.63s", line + at);
	return true;
}

ls_status ls_bench_meet(struct ls_bench *b, struct ls_bench_contender *c, struct ls_err *err)
{
	struct pollfd p[2] = { { b->listener, POLLIN, 0 }, { ls_signals_fd(), POLLIN, 0 } };
	int64_t end = ls_clock_ms() + b->opt.timeout_s * 1000L;
	int met = 0, fd;
	ls_status st = LS_OK;

	while (!st && !c->lost[0] && met < b->opt.np) {
		if (poll(p, 2, 200) < 0 && errno != EINTR)
			return ls_fail(err, LS_AGAIN, errno, "poll");
		ls_signals_drain();
		st = stopped(err);
		if (p[0].revents && (fd = accept4(b->listener, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
			if (take(b, c, fd))
				met++;
			else
				close(fd);
		} else if (ls_bench_ended(c)) {
			lose(b, c, "it ended before its ranks had said hello");
		} else if (ls_clock_ms() > end) {
			lose(b, c, "%d of %d ranks said hello within %d s (--timeout)", met, b->opt.np, b->opt.timeout_s);
		}
	}
	return st;
}

/* --- asking --------------------------------------------------------------------------------------------------------------------- */

/* Reads what is there; true when a line is whole. At end of file c is lost. */
static bool read_answer(struct ls_bench *b, struct ls_bench_contender *c, int rank)
{
	struct ls_bench_rank *r = &c->ranks[rank];
	ssize_t n = recv(r->fd, r->line + r->len, sizeof(r->line) - 1 - r->len, MSG_DONTWAIT);
	char *end;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (n <= 0) {
		lose(b, c, "rank %d on %s ended", rank, r->host);
		return false;
	}
	r->len += (size_t)n;
	r->line[r->len] = '\0';
	end = strchr(r->line, '\n');
	if (end)
		*end = '\0';
	else if (r->len == sizeof(r->line) - 1)
		lose(b, c, "it answers with endless lines");
	return end != NULL;
}

static void take_answer(struct ls_bench *b, struct ls_bench_contender *c, int rank, struct ls_bench_answer *ret)
{
	const char *line = c->ranks[rank].line;
	double seconds;
	size_t wrong;
	char algorithm[32];

	if (sscanf(line, "time %lf %zu %31s", &seconds, &wrong, algorithm) == 3) {
		ret->seconds = seconds > ret->seconds ? seconds : ret->seconds;
		ret->wrong += wrong;
		memcpy(ret->algorithm, algorithm, sizeof(algorithm));
	} else if (!strncmp(line, "unsupported ", 12)) {
		snprintf(ret->unsupported, sizeof(ret->unsupported), "%.159s", line + 12);
	} else {
		lose(b, c, "rank %d on %s: %.500s", rank, c->ranks[rank].host, line + (strncmp(line, "error ", 6) ? 0 : 6));
	}
}

static ls_status collect(struct ls_bench *b, struct ls_bench_contender *c, struct pollfd *p, struct ls_bench_answer *ret, struct ls_err *err)
{
	int np = b->opt.np, left = np, i;
	int64_t end = ls_clock_ms() + b->opt.timeout_s * 1000L;
	ls_status st = LS_OK;

	while (!st && left && !c->lost[0]) {
		if (poll(p, (nfds_t)np + 1, 500) < 0 && errno != EINTR)
			return ls_fail(err, LS_AGAIN, errno, "poll");
		ls_signals_drain();
		st = stopped(err);
		for (i = 0; i < np && !c->lost[0]; i++)
			if (p[i].fd >= 0 && p[i].revents && read_answer(b, c, i)) {
				take_answer(b, c, i, ret);
				p[i].fd = -1;
				left--;
			}
		for (i = 0; i < np && p[i].fd < 0; i++)
			;
		if (left && !c->lost[0] && ls_clock_ms() > end) {
			lose(b, c, "rank %d on %s did not answer within %d s (--timeout)", i, c->ranks[i].host, b->opt.timeout_s);
		}
	}
	return st;
}

ls_status ls_bench_ask(struct ls_bench *b, struct ls_bench_contender *c, const char *line, struct ls_bench_answer *ret, struct ls_err *err)
{
	struct pollfd *p = calloc((size_t)b->opt.np + 1, sizeof(*p));
	ls_status st;
	int i;

	if (!p)
		return ls_fail_oom(err);
	memset(ret, 0, sizeof(*ret));
	for (i = 0; i < b->opt.np; i++) {
		p[i] = (struct pollfd){ c->ranks[i].fd, POLLIN, 0 };
		c->ranks[i].len = 0;
		if (ls_write_all(c->ranks[i].fd, line, strlen(line)) < 0 && !c->lost[0]) {
			lose(b, c, "rank %d on %s ended", i, c->ranks[i].host);
		}
	}
	p[i] = (struct pollfd){ ls_signals_fd(), POLLIN, 0 };
	st = collect(b, c, p, ret, err);
	free(p);
	return st;
}
