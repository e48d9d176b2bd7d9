/* link.c -- see link.h. */
#include "operator/link.h"
#include "core/io.h"
#include "core/link.h"
#include "core/str.h"
#include "operator/log.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define BACKOFF_MS 500
#define BACKOFF_MAX_MS 15000
#define CONNECT_MS 10000     /* until the handshake is done */
#define READ_MAX 65536       /* of one launcher before the others' turn */
#define REPORT_MS 1000       /* a launcher reports once a second at most … */
#define REPORT_BURST 8       /* … but for so many: who has more to say is kept waiting, by TCP in the end */
#define REPORT_MAX (1 << 20) /* a peer that sends more without a newline is none of ours */

struct link {
	struct ls_psk_key key;
	char address[64];
	char *order;            /* with its newline; the newest */
	bool untold;            /* the newest order is not yet under way on this connection */
	struct ls_psk *psk;     /* NULL: idle */
	int fd;                 /* while TCP connects, before psk takes it over; -1 */
	bool up;                /* shaken hands */
	int64_t due_ms;         /* idle: when to try; not up: when to give up */
	int failures;
	struct ls_str out;      /* being sent: always one whole order, so that a newer one cannot cut it */
	size_t sent;
	struct ls_str in;
	int64_t ear_ms;         /* until then it is not listened to */
	char trouble[160];      /* said last */
};

struct ls_links {
	pthread_t thread;
	pthread_mutex_t lock;   /* over all of this */
	int wake;               /* eventfd */
	bool stop;
	struct link **v;
	int n, cap;
	struct pollfd *fds;     /* the thread's; [fds_cap] */
	int fds_cap;
	ls_links_report on_report;
	void *arg;
};

static void hang_up(struct link *k)
{
	ls_psk_close(k->psk);
	k->psk = NULL;
	ls_fd_close(&k->fd);
	ls_str_release(&k->out);
	ls_str_release(&k->in);
	k->sent = 0;
	k->up = false;
	k->untold = true;
}

static void trouble(struct link *k, const char *text)
{
	int64_t ms = k->failures < 5 ? (int64_t)BACKOFF_MS << k->failures : BACKOFF_MAX_MS;

	if (strcmp(k->trouble, text) != 0) {
		snprintf(k->trouble, sizeof(k->trouble), "%s", text);
		if (k->failures > 2 && *text) /* a launcher that only just starts is no news */
			ls_log(LS_LOG_WARN, "no link to the launcher", "uid", k->key.identity, "address", k->address, "error", text, NULL);
	}
	hang_up(k);
	k->failures++;
	k->due_ms = ls_clock_ms() + ms;
}

static void free_link(struct link *k)
{
	hang_up(k);
	explicit_bzero(k->key.bytes, LS_PSK_BYTES);
	free(k->order);
	free(k);
}

static struct link *find(struct ls_links *l, const char *uid)
{
	for (int i = 0; i < l->n; i++)
		if (!strcmp(l->v[i]->key.identity, uid))
			return l->v[i];
	return NULL;
}

/* --- one connection ---------------------------------------------------------------------------------------------------------------------- */

static void begin(struct link *k)
{
	struct addrinfo hints = { .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM }, *a;
	int on = 1, idle_s = 15, interval_s = 5, count = 3;
	char port[8];

	snprintf(port, sizeof(port), "%d", LS_LINK_PORT);
	if (getaddrinfo(k->address, port, &hints, &a)) {
		trouble(k, "the Pod's address is none");
		return;
	}
	k->fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (k->fd >= 0) {
		setsockopt(k->fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
		setsockopt(k->fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof(idle_s));
		setsockopt(k->fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof(interval_s));
		setsockopt(k->fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof(count));
	}
	if (k->fd < 0 || (connect(k->fd, a->ai_addr, a->ai_addrlen) < 0 && errno != EINPROGRESS))
		trouble(k, strerror(errno));
	else
		k->due_ms = ls_clock_ms() + CONNECT_MS;
	freeaddrinfo(a);
}

static void connected(struct link *k)
{
	struct ls_err err = LS_ERR_INIT;
	socklen_t len = sizeof(int);
	int fd = k->fd, e = 0;

	getsockopt(fd, SOL_SOCKET, SO_ERROR, &e, &len);
	if (e) {
		trouble(k, strerror(e));
		return;
	}
	k->fd = -1;
	if (ls_psk_open(fd, false, &k->key, &k->psk, &err))
		trouble(k, err.text);
}

static void shake(struct link *k)
{
	struct ls_err err = LS_ERR_INIT;
	ls_status st = ls_psk_handshake(k->psk, &err);

	if (st == LS_AGAIN)
		return;
	if (st) {
		trouble(k, err.text);
		return;
	}
	if (k->failures > 3)
		ls_log(LS_LOG_INFO, "the launcher is linked again", "uid", k->key.identity, "address", k->address, NULL);
	k->up = true;
	k->failures = 0;
	k->trouble[0] = '\0';
}

static void send_order(struct link *k)
{
	struct ls_err err = LS_ERR_INIT;
	size_t n = 0;
	ls_status st;

	if (!k->out.len && k->untold && k->order) {
		ls_str_add(&k->out, k->order);
		if (k->out.oom) {
			trouble(k, "no memory");
			return;
		}
		k->untold = false;
		k->sent = 0;
	}
	while (k->sent < k->out.len) {
		st = ls_psk_write(k->psk, k->out.s + k->sent, k->out.len - k->sent, &n, &err);
		if (st == LS_AGAIN)
			return;
		if (st) {
			trouble(k, err.text);
			return;
		}
		k->sent += n;
	}
	ls_str_release(&k->out);
}

static bool deaf(const struct link *k, int64_t now_ms)
{
	return k->up && k->ear_ms > now_ms;
}

static void hand_over(struct ls_links *l, struct link *k)
{
	int64_t now_ms = ls_clock_ms(), least_ms = now_ms - (REPORT_BURST - 1) * REPORT_MS;
	char *newline;

	while (!deaf(k, now_ms) && k->in.len && (newline = memchr(k->in.s, '\n', k->in.len)) != NULL) {
		k->ear_ms = (k->ear_ms > least_ms ? k->ear_ms : least_ms) + REPORT_MS;
		*newline = '\0';
		l->on_report(l->arg, k->key.identity, k->in.s);
		ls_str_cut(&k->in, (size_t)(newline - k->in.s) + 1);
	}
	if (!k->in.len)
		ls_str_release(&k->in);
}

static void receive(struct ls_links *l, struct link *k)
{
	struct ls_err err = LS_ERR_INIT;
	char bytes[4096];
	size_t n = 0, all = 0;
	ls_status st = LS_OK;

	hand_over(l, k);
	while (!deaf(k, ls_clock_ms()) && !(st = ls_psk_read(k->psk, bytes, sizeof(bytes), &n, &err))) {
		all += n;
		ls_str_addn(&k->in, bytes, n);
		if (k->in.oom || (k->in.len > REPORT_MAX && !memchr(k->in.s, '\n', k->in.len))) {
			trouble(k, "a report without an end");
			return;
		}
		hand_over(l, k);
		if (all >= READ_MAX)
			return;
	}
	if (st && st != LS_AGAIN)
		trouble(k, err.text[0] ? err.text : "the launcher closed the connection");
}

static void move(struct ls_links *l, struct link *k, short events, int64_t now_ms)
{
	if (!k->psk && k->fd < 0) {
		if (k->due_ms <= now_ms)
			begin(k);
		return;
	}
	if (!k->up && k->due_ms <= now_ms) {
		trouble(k, "no answer");
		return;
	}
	if (k->fd >= 0 && events)
		connected(k);
	if (k->psk && !k->up)
		shake(k);
	if (k->up && (k->untold || k->out.len))
		send_order(k);
	if (k->up && !deaf(k, now_ms) && (events || k->in.len || ls_psk_pending(k->psk)))
		receive(l, k);
}

/* --- all of them ------------------------------------------------------------------------------------------------------------------------- */

static short events_of(const struct link *k, bool deaf)
{
	if (!k->psk)
		return POLLOUT;
	return (deaf ? 0 : ls_psk_events(k->psk) | POLLIN) | (k->up && k->out.len ? POLLOUT : 0);
}

/* The poll set, and how long it may take; -1: it did not find memory. */
static int prepare(struct ls_links *l, int64_t now_ms)
{
	int64_t wait_ms = 60000;

	if (l->fds_cap < l->n + 1) {
		struct pollfd *fds = realloc(l->fds, (size_t)(l->n + 16) * sizeof(*fds));

		if (!fds)
			return -1;
		l->fds = fds;
		l->fds_cap = l->n + 16;
	}
	l->fds[0] = (struct pollfd){ .fd = l->wake, .events = POLLIN };
	for (int i = 0; i < l->n; i++) {
		struct link *k = l->v[i];
		short events = events_of(k, deaf(k, now_ms));
		int64_t due_ms = deaf(k, now_ms) ? k->ear_ms : k->due_ms;

		/* Without events poll() would still tell of a hang-up, again and again. */
		l->fds[i + 1] = (struct pollfd){ .fd = !events ? -1 : k->psk ? ls_psk_fd(k->psk) : k->fd, .events = events };
		if (k->psk && !deaf(k, now_ms) && ls_psk_pending(k->psk))
			wait_ms = 0;
		if ((!k->up || deaf(k, now_ms)) && due_ms - now_ms < wait_ms)
			wait_ms = due_ms > now_ms ? due_ms - now_ms : 0;
	}
	return (int)wait_ms;
}

/* Links come and go while poll() waits: what it found is looked up by descriptor, and only in the same place. */
static void turn(struct ls_links *l, int polled)
{
	int64_t now_ms = ls_clock_ms();

	for (int i = 0; i < l->n; i++) {
		struct link *k = l->v[i];
		int fd = k->psk ? ls_psk_fd(k->psk) : k->fd;
		bool known = i < polled && fd >= 0 && l->fds[i + 1].fd == fd;

		move(l, k, known ? l->fds[i + 1].revents : 0, now_ms);
	}
}

static void *run(void *arg)
{
	struct ls_links *l = arg;
	eventfd_t count;
	int wait_ms, polled;

	pthread_mutex_lock(&l->lock);
	while (!l->stop) {
		wait_ms = prepare(l, ls_clock_ms());
		polled = wait_ms < 0 ? 0 : l->n;
		pthread_mutex_unlock(&l->lock);
		if (wait_ms < 0)
			poll(NULL, 0, BACKOFF_MS);
		else
			poll(l->fds, (nfds_t)polled + 1, wait_ms);
		eventfd_read(l->wake, &count);
		pthread_mutex_lock(&l->lock);
		turn(l, polled);
	}
	pthread_mutex_unlock(&l->lock);
	return NULL;
}

ls_status ls_links_open(ls_links_report on_report, void *arg, struct ls_links **ret, struct ls_err *err)
{
	struct ls_links *l = calloc(1, sizeof(*l));
	int e;

	if (!l)
		return ls_fail_oom(err);
	l->on_report = on_report;
	l->arg = arg;
	pthread_mutex_init(&l->lock, NULL);
	l->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	e = l->wake < 0 ? errno : pthread_create(&l->thread, NULL, run, l);
	if (e) {
		ls_fd_close(&l->wake);
		pthread_mutex_destroy(&l->lock);
		free(l);
		return ls_fail(err, LS_AGAIN, e, "cannot start a thread for the launchers");
	}
	*ret = l;
	return LS_OK;
}

void ls_links_close(struct ls_links *l)
{
	if (!l)
		return;
	pthread_mutex_lock(&l->lock);
	l->stop = true;
	pthread_mutex_unlock(&l->lock);
	eventfd_write(l->wake, 1);
	pthread_join(l->thread, NULL);
	while (l->n > 0)
		free_link(l->v[--l->n]);
	ls_fd_close(&l->wake);
	pthread_mutex_destroy(&l->lock);
	free(l->fds);
	free(l->v);
	free(l);
}

static struct link *add(struct ls_links *l, const struct ls_psk_key *key)
{
	struct link *k, **v;

	if (l->n == l->cap) {
		v = realloc(l->v, (size_t)(l->cap + 32) * sizeof(struct link *));
		if (!v)
			return NULL;
		l->v = v;
		l->cap += 32;
	}
	k = calloc(1, sizeof(*k));
	if (!k)
		return NULL;
	k->key = *key;
	k->fd = -1;
	l->v[l->n++] = k;
	return k;
}

/* False: no memory; the link is as it was. */
static bool update(struct link *k, const char *address, const char *order)
{
	struct ls_str line = { 0 };

	if (strcmp(k->address, address) != 0) {
		hang_up(k);
		snprintf(k->address, sizeof(k->address), "%s", address);
		k->due_ms = ls_clock_ms();
		k->failures = 0;
	}
	ls_str_addf(&line, "%s\n", order);
	if (line.oom)
		return false;
	if (k->order && !strcmp(k->order, line.s)) {
		ls_str_release(&line);
		return true;
	}
	free(k->order);
	k->order = ls_str_steal(&line);
	k->untold = true;
	return true;
}

ls_status ls_links_tell(struct ls_links *l, const struct ls_psk_key *key, const char *address, const char *order, struct ls_err *err)
{
	struct link *k;
	bool done;

	pthread_mutex_lock(&l->lock);
	k = find(l, key->identity);
	if (!k)
		k = add(l, key);
	done = k && update(k, address, order);
	pthread_mutex_unlock(&l->lock);
	if (!done)
		return ls_fail_oom(err);
	eventfd_write(l->wake, 1);
	return LS_OK;
}

void ls_links_drop(struct ls_links *l, const char *job_uid)
{
	pthread_mutex_lock(&l->lock);
	for (int i = 0; i < l->n; i++)
		if (!strcmp(l->v[i]->key.identity, job_uid)) {
			free_link(l->v[i]);
			l->v[i] = l->v[--l->n];
			break;
		}
	pthread_mutex_unlock(&l->lock);
	eventfd_write(l->wake, 1);
}

void ls_links_count(struct ls_links *l, int *ret_links, int *ret_up)
{
	pthread_mutex_lock(&l->lock);
	*ret_links = l->n;
	*ret_up = 0;
	for (int i = 0; i < l->n; i++)
		*ret_up += l->v[i]->up;
	pthread_mutex_unlock(&l->lock);
}
