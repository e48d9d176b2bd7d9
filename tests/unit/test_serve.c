/* test_serve.c -- probes and metrics over real sockets: what is answered, and that whoever dawdles keeps nobody out. */
#include "core/io.h"
#include "operator/serve.h"

#include <CUnit/Basic.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static struct ls_serve *server;
static char big[200001];

static int answer(void *arg, const char *path, struct ls_str *ret)
{
	(void)arg;
	if (!strcmp(path, "/big"))
		ls_str_add(ret, big);
	else
		ls_str_addf(ret, "path %s\n", path);
	return !strcmp(path, "/sick") ? 503 : !strcmp(path, "/none") ? 404 : 200;
}

static int dial(void)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((uint16_t)ls_serve_port(server)), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct timeval limit = { .tv_sec = 10 };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	if (connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0)
		ls_fd_close(&fd);
	return fd;
}

static void ask(const char *request, struct ls_str *ret)
{
	char bytes[4096];
	ssize_t n;
	int fd = dial();

	CU_ASSERT_FATAL(fd >= 0);
	ls_write_all(fd, request, strlen(request));
	while ((n = read(fd, bytes, sizeof(bytes))) > 0)
		ls_str_addn(ret, bytes, (size_t)n);
	close(fd);
}

static const struct { const char *says, *request, *status, *body; } rows[] = {
	{ "a page", "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 200 OK\r\n", "\r\n\r\npath /healthz\n" },
	{ "a query is not part of the path", "GET /metrics?x=1 HTTP/1.1\r\n\r\n", "HTTP/1.1 200 OK\r\n", "\r\n\r\npath /metrics\n" },
	{ "a failed probe", "GET /sick HTTP/1.1\r\n\r\n", "HTTP/1.1 503 Service Unavailable\r\n", "path /sick\n" },
	{ "no such page", "GET /none HTTP/1.0\r\n\r\n", "HTTP/1.1 404 Not Found\r\n", "path /none\n" },
	{ "another method", "POST /healthz HTTP/1.1\r\n\r\n", "HTTP/1.1 400 Bad Request\r\n", "GET only\n" },
	{ "no HTTP", "hello\r\n\r\n", "HTTP/1.1 400 Bad Request\r\n", "GET only\n" },
};

static void test_pages(void)
{
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct ls_str got = { 0 };
		const char *text;
		bool good;

		ask(rows[i].request, &got);
		text = ls_str_text(&got);
		good = !strncmp(text, rows[i].status, strlen(rows[i].status)) && strstr(text, rows[i].body) && strstr(text, "Content-Length: ");
		if (!good)
			printf("\n    failed: %s: %s", rows[i].says, text);
		CU_ASSERT(good);
		ls_str_release(&got);
	}
}

static void test_sizes(void)
{
	char request[6000];
	struct ls_str got = { 0 };

	memset(big, 'x', sizeof(big) - 1);
	ask("GET /big HTTP/1.1\r\n\r\n", &got);
	CU_ASSERT(strstr(ls_str_text(&got), "Content-Length: 200000\r\n") != NULL);
	CU_ASSERT(got.len > 200000);
	ls_str_release(&got);
	memset(request, 'y', sizeof(request));
	request[sizeof(request) - 1] = '\0';
	ask(request, &got);
	CU_ASSERT_EQUAL(got.len, 0); /* too long: hung up on */
	ls_str_release(&got);
}

static void test_dawdlers(void)
{
	int fds[40];
	int64_t began_ms = ls_clock_ms();

	for (size_t i = 0; i < COUNT(fds); i++) {
		fds[i] = dial();
		CU_ASSERT(fds[i] >= 0);
		ls_write_all(fds[i], "GET /", 5);
	}
	test_pages();
	CU_ASSERT(ls_clock_ms() - began_ms < 4000);
	for (size_t i = 0; i < COUNT(fds); i++)
		ls_fd_close(&fds[i]);
}

static const struct { const char *address; ls_status want; const char *text; } addresses[] = {
	{ "127.0.0.1:0", LS_OK, "" },
	{ ":0", LS_OK, "" },
	{ "8080", LS_USAGE, "'8080' is no address" },
	{ ":", LS_USAGE, "want :PORT" },
	{ ":99999", LS_USAGE, "want :PORT" },
	{ ":80x", LS_USAGE, "want :PORT" },
	{ "no-such-host.invalid:1", LS_USAGE, "cannot listen on no-such-host.invalid:1" },
};

static void test_addresses(void)
{
	char taken[32];
	struct ls_err err = LS_ERR_INIT;
	struct ls_serve *s;

	for (size_t i = 0; i < COUNT(addresses); i++) {
		ls_status st = ls_serve_start(addresses[i].address, answer, NULL, &s, &err);

		if (st != addresses[i].want || (st && !strstr(err.text, addresses[i].text)))
			printf("\n    failed: %s: %s", addresses[i].address, err.text);
		CU_ASSERT_EQUAL(st, addresses[i].want);
		CU_ASSERT(!st || strstr(err.text, addresses[i].text));
		if (!st)
			ls_serve_stop(s);
	}
	snprintf(taken, sizeof(taken), "127.0.0.1:%d", ls_serve_port(server));
	CU_ASSERT_EQUAL(ls_serve_start(taken, answer, NULL, &s, &err), LS_EXISTS);
}

int main(void)
{
	struct ls_err err = LS_ERR_INIT;
	unsigned failures;

	if (ls_serve_start("127.0.0.1:0", answer, NULL, &server, &err)) {
		fprintf(stderr, "%s\n", err.text);
		return 1;
	}
	CU_initialize_registry();
	CU_pSuite s = CU_add_suite("serve", NULL, NULL);
	CU_add_test(s, "pages", test_pages);
	CU_add_test(s, "long answers and long requests", test_sizes);
	CU_add_test(s, "forty that dawdle", test_dawdlers);
	CU_add_test(s, "addresses", test_addresses);
	CU_basic_set_mode(CU_BRM_NORMAL);
	CU_basic_run_tests();
	failures = CU_get_number_of_failures();
	CU_cleanup_registry();
	ls_serve_stop(server);
	return failures != 0;
}
