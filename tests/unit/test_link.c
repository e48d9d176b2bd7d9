/* test_link.c -- the operator's links to launchers, over real sockets: a launcher of this test's own listens on LS_LINK_PORT of a loopback address. */
#include "core/io.h"
#include "core/link.h"
#include "operator/link.h"
#include "operator/log.h"

#include <CUnit/Basic.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define LIMIT_MS 20000
#define FLOOD (64 << 20) /* more than sockets hold */

static char address[32]; /* of this run: 127.x.y.z */
static int listener;
static struct ls_psk_key key = { .identity = "uid-1", .bytes = { 1, 2, 3 } };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char reported[2][256]; /* uid and text, newest */
static int reports;

static void on_report(void *arg, const char *uid, const char *text)
{
	(void)arg;
	pthread_mutex_lock(&lock);
	snprintf(reported[0], sizeof(reported[0]), "%s", uid);
	snprintf(reported[1], sizeof(reported[1]), "%s", text);
	reports++;
	pthread_mutex_unlock(&lock);
}

static bool wait_report(const char *text)
{
	bool there = false;

	for (int i = 0; i < LIMIT_MS / 10 && !there; i++) {
		pthread_mutex_lock(&lock);
		there = !strcmp(reported[1], text);
		pthread_mutex_unlock(&lock);
		if (!there)
			poll(NULL, 0, 10);
	}
	return there;
}

static int open_listener(void)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(LS_LINK_PORT) };
	int fd, on = 1;

	for (int i = 0; i < 50; i++) {
		fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
		snprintf(address, sizeof(address), "127.%d.%d.%d", 1 + (getpid() + i) % 250, 1 + (getpid() / 250) % 250, 1 + i);
		inet_pton(AF_INET, address, &at.sin_addr);
		if (!bind(fd, (struct sockaddr *)&at, sizeof(at)) && !listen(fd, 8))
			return fd;
		close(fd);
	}
	return -1;
}

/* The launcher's end of a new connection; NULL: none came, or the operator does not have the secret. */
static struct ls_psk *take(const struct ls_psk_key *secret)
{
	struct pollfd fd = { .fd = listener, .events = POLLIN };
	struct ls_err err = LS_ERR_INIT;
	struct ls_psk *psk;
	ls_status st;

	if (poll(&fd, 1, LIMIT_MS) != 1 || ls_psk_open(accept4(listener, NULL, NULL, SOCK_CLOEXEC), true, secret, &psk, &err))
		return NULL;
	while ((st = ls_psk_handshake(psk, &err)) == LS_AGAIN) {
		fd = (struct pollfd){ .fd = ls_psk_fd(psk), .events = ls_psk_events(psk) };
		if (poll(&fd, 1, LIMIT_MS) != 1)
			break;
	}
	if (!st)
		return psk;
	ls_psk_close(psk);
	return NULL;
}

/* The next line, without its newline; "": none within `ms`. */
static void read_line(struct ls_psk *psk, char ret[4096], int ms)
{
	struct pollfd fd;
	struct ls_err err = LS_ERR_INIT;
	size_t at = 0, n = 0;
	ls_status st;

	while (at < 4095) {
		st = ls_psk_read(psk, ret + at, 1, &n, &err);
		if (st == LS_AGAIN) {
			fd = (struct pollfd){ .fd = ls_psk_fd(psk), .events = ls_psk_events(psk) };
			if (poll(&fd, 1, ms) == 1)
				continue;
		}
		if (st || ret[at] == '\n')
			break;
		at++;
	}
	ret[at] = '\0';
}

static void say(struct ls_psk *psk, const char *text)
{
	struct ls_err err = LS_ERR_INIT;
	size_t n = 0;

	while (*text && !ls_psk_write(psk, text, strlen(text), &n, &err))
		text += n;
	CU_ASSERT_EQUAL(*text, '\0');
}

static int up(struct ls_links *links)
{
	int all, n;

	ls_links_count(links, &all, &n);
	return n;
}

static void test_talk(void)
{
	struct ls_err err = LS_ERR_INIT;
	struct ls_links *links;
	struct ls_psk *psk;
	char line[4096];

	CU_ASSERT_FATAL(!ls_links_open(on_report, NULL, &links, &err));
	CU_ASSERT(!ls_links_tell(links, &key, address, "{\"order\":1}", &err));
	psk = take(&key);
	CU_ASSERT_PTR_NOT_NULL_FATAL(psk);
	read_line(psk, line, LIMIT_MS);
	CU_ASSERT_STRING_EQUAL(line, "{\"order\":1}");
	CU_ASSERT_EQUAL(up(links), 1);

	say(psk, "{\"state\":\"Waiting\"}\n{\"state\":");
	CU_ASSERT(wait_report("{\"state\":\"Waiting\"}"));
	say(psk, "\"Running\"}\n");
	CU_ASSERT(wait_report("{\"state\":\"Running\"}"));
	CU_ASSERT_STRING_EQUAL(reported[0], "uid-1");

	CU_ASSERT(!ls_links_tell(links, &key, address, "{\"order\":1}", &err));
	read_line(psk, line, 200);
	CU_ASSERT_STRING_EQUAL(line, ""); /* nothing new, nothing sent */
	CU_ASSERT(!ls_links_tell(links, &key, address, "{\"order\":2}", &err));
	read_line(psk, line, LIMIT_MS);
	CU_ASSERT_STRING_EQUAL(line, "{\"order\":2}");

	ls_psk_close(psk); /* the launcher goes, and another comes: it is told the newest */
	psk = take(&key);
	CU_ASSERT_PTR_NOT_NULL_FATAL(psk);
	read_line(psk, line, LIMIT_MS);
	CU_ASSERT_STRING_EQUAL(line, "{\"order\":2}");

	ls_links_drop(links, "uid-1");
	read_line(psk, line, LIMIT_MS);
	CU_ASSERT_STRING_EQUAL(line, "");
	CU_ASSERT_EQUAL(up(links), 0);
	ls_psk_close(psk);
	ls_links_close(links);
}

static void test_stranger(void)
{
	struct ls_psk_key other = { .identity = "uid-1", .bytes = { 9 } };
	struct ls_err err = LS_ERR_INIT;
	struct ls_links *links;
	struct ls_psk *psk;
	char line[4096];

	CU_ASSERT_FATAL(!ls_links_open(on_report, NULL, &links, &err));
	CU_ASSERT(!ls_links_tell(links, &key, address, "{\"order\":3}", &err));
	CU_ASSERT_PTR_NULL(take(&other)); /* who does not have the secret is told nothing … */
	CU_ASSERT_EQUAL(up(links), 0);
	psk = take(&key);                 /* … and it is tried again */
	CU_ASSERT_PTR_NOT_NULL_FATAL(psk);
	read_line(psk, line, LIMIT_MS);
	CU_ASSERT_STRING_EQUAL(line, "{\"order\":3}");
	ls_psk_close(psk);
	ls_links_close(links);
}

static void test_flood(void)
{
	static char junk[4096 + 1];
	struct ls_err err = LS_ERR_INIT;
	struct ls_links *links;
	struct ls_psk *psk;
	int before = reports;
	size_t n, sent = 0;
	ls_status st = LS_OK;

	memset(junk, 'x', sizeof(junk) - 1);
	CU_ASSERT_FATAL(!ls_links_open(on_report, NULL, &links, &err));
	CU_ASSERT(!ls_links_tell(links, &key, address, "{}", &err));
	psk = take(&key);
	CU_ASSERT_PTR_NOT_NULL_FATAL(psk);
	while (sent < FLOOD && (!st || st == LS_AGAIN)) {
		struct pollfd fd = { .fd = ls_psk_fd(psk), .events = POLLOUT };

		st = ls_psk_write(psk, junk, sizeof(junk) - 1, &n, &err);
		if (!st)
			sent += n;
		else if (poll(&fd, 1, LIMIT_MS) != 1)
			break;
	}
	CU_ASSERT(sent < FLOOD); /* a line without an end: hung up on */
	CU_ASSERT_EQUAL(reports, before);
	ls_psk_close(psk);
	ls_links_close(links);
}

/* A launcher that reports as fast as it can is heard as often as others, and of what it says nothing is lost. */
static void test_chatter(void)
{
	struct ls_err err = LS_ERR_INIT;
	struct ls_links *links;
	struct ls_psk *psk;
	int before = reports;

	CU_ASSERT_FATAL(!ls_links_open(on_report, NULL, &links, &err));
	CU_ASSERT(!ls_links_tell(links, &key, address, "{}", &err));
	psk = take(&key);
	CU_ASSERT_PTR_NOT_NULL_FATAL(psk);
	say(psk, "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n");
	CU_ASSERT(wait_report("8"));
	poll(NULL, 0, 300);
	CU_ASSERT_EQUAL(reports - before, 8);
	CU_ASSERT(wait_report("10"));
	CU_ASSERT_EQUAL(reports - before, 10);
	ls_psk_close(psk);
	ls_links_close(links);
}

int main(void)
{
	unsigned failures;

	ls_log_level_set("error");
	listener = open_listener();
	if (listener < 0) {
		perror("no loopback address to listen on");
		return 1;
	}
	CU_initialize_registry();
	CU_pSuite s = CU_add_suite("link", NULL, NULL);
	CU_add_test(s, "orders and reports", test_talk);
	CU_add_test(s, "a peer without the secret", test_stranger);
	CU_add_test(s, "a report without an end", test_flood);
	CU_add_test(s, "a report after the other", test_chatter);
	CU_basic_set_mode(CU_BRM_NORMAL);
	CU_basic_run_tests();
	failures = CU_get_number_of_failures();
	CU_cleanup_registry();
	close(listener);
	return failures != 0;
}
