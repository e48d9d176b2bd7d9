/* test_psk.c -- core/psk.c: who has the secret is let in, and nobody else gets a byte. */
#include "core/io.h"
#include "core/psk.h"

#include <CUnit/Basic.h>
#include <fcntl.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct ls_psk_key key_of(const char *identity, unsigned char first)
{
	struct ls_psk_key key = { .bytes = { first, 2, 3 } };

	snprintf(key.identity, sizeof(key.identity), "%s", identity);
	return key;
}

/* Both sides in turn until neither waits. */
static void shake(struct ls_psk *a, struct ls_psk *b, ls_status *ret_a, ls_status *ret_b)
{
	int i;

	*ret_a = *ret_b = LS_AGAIN;
	for (i = 0; i < 100 && (*ret_a == LS_AGAIN || *ret_b == LS_AGAIN); i++) {
		if (*ret_a == LS_AGAIN)
			*ret_a = ls_psk_handshake(a, NULL);
		if (*ret_b == LS_AGAIN)
			*ret_b = ls_psk_handshake(b, NULL);
	}
}

static void pair(const struct ls_psk_key *client, const struct ls_psk_key *server, struct ls_psk **a, struct ls_psk **b)
{
	int fds[2];

	CU_ASSERT_EQUAL_FATAL(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	CU_ASSERT_EQUAL_FATAL(ls_psk_open(fds[0], false, client, a, NULL), LS_OK);
	CU_ASSERT_EQUAL_FATAL(ls_psk_open(fds[1], true, server, b, NULL), LS_OK);
}

static void test_who_gets_in(void)
{
	static const struct {
		const char *says, *client_id;
		unsigned char client_key;
		ls_status want;
	} rows[] = {
		{ "the same secret and identity", "job-1", 1, LS_OK },
		{ "another secret", "job-1", 9, LS_DATA_BAD },
		{ "another job's identity", "job-2", 1, LS_DATA_BAD },
		{ "the beginning of the identity", "job", 1, LS_DATA_BAD },
	};
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct ls_psk_key client = key_of(rows[i].client_id, rows[i].client_key), server = key_of("job-1", 1);
		struct ls_psk *a, *b;
		ls_status st_a, st_b;

		pair(&client, &server, &a, &b);
		shake(a, b, &st_a, &st_b);
		if (st_a != rows[i].want || st_b != rows[i].want)
			printf("%s: client %s, server %s\n", rows[i].says, ls_status_name(st_a), ls_status_name(st_b));
		CU_ASSERT_EQUAL(st_a, rows[i].want);
		CU_ASSERT_EQUAL(st_b, rows[i].want);
		ls_psk_close(a);
		ls_psk_close(b);
	}
}

/* What strangers send to a server, and to a client. */
static void test_strangers(void)
{
	static const unsigned char hello12[] = { 0x16, 3, 1, 0, 0x2f, 1, 0, 0, 0x2b, 3, 3, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21,
		22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 0, 0, 4, 0xc0, 0x2f, 0, 0x2f, 1, 0 };
	static const struct {
		const char *says;
		const void *bytes;
		size_t len;
		bool end;
		ls_status want;
	} rows[] = {
		{ "plain HTTP", "GET / HTTP/1.1\r\n\r\n", 18, false, LS_DATA_BAD },
		{ "a JSON line", "{\"argv\": [\"probe\"]}\n", 20, false, LS_DATA_BAD },
		{ "TLS 1.2's first message", hello12, sizeof(hello12), false, LS_DATA_BAD },
		{ "garbage", "\x16\x03\x03\x00\x05\xff\xff\xff\xff\xff", 10, false, LS_DATA_BAD },
		{ "half a message, then the end", hello12, 20, true, LS_NODE_LOST },
		{ "nothing, then the end", "", 0, true, LS_NODE_LOST },
		{ "nothing", "", 0, false, LS_AGAIN },
	};
	size_t i;
	int server;

	for (i = 0; i < 2 * sizeof(rows) / sizeof(rows[0]); i++) {
		struct ls_psk_key key = key_of("job-1", 1);
		struct ls_psk *c;
		int fds[2], n;
		ls_status st = LS_AGAIN;

		server = i % 2;
		CU_ASSERT_EQUAL_FATAL(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
		CU_ASSERT_EQUAL_FATAL(ls_psk_open(fds[0], server, &key, &c, NULL), LS_OK);
		CU_ASSERT_EQUAL((size_t)write(fds[1], rows[i / 2].bytes, rows[i / 2].len), rows[i / 2].len);
		if (rows[i / 2].end)
			shutdown(fds[1], SHUT_WR);
		for (n = 0; n < 5 && st == LS_AGAIN; n++)
			st = ls_psk_handshake(c, NULL);
		if (st != rows[i / 2].want)
			printf("%s to a %s: %s\n", rows[i / 2].says, server ? "server" : "client", ls_status_name(st));
		CU_ASSERT_EQUAL(st, rows[i / 2].want);
		ls_psk_close(c);
		close(fds[1]);
	}
}

/* Everything that `from` says reaches `to`, byte by byte, and in order. */
static void carry(int from, int to)
{
	char byte;

	while (recv(from, &byte, 1, MSG_DONTWAIT) == 1)
		CU_ASSERT_EQUAL(write(to, &byte, 1), 1);
}

static void test_byte_by_byte(void)
{
	struct ls_psk_key key = key_of("job-1", 1);
	struct ls_psk *a, *b;
	ls_status st_a = LS_AGAIN, st_b = LS_AGAIN;
	int left[2], right[2], i;
	char got[64] = "";
	size_t n = 0;

	CU_ASSERT_EQUAL_FATAL(socketpair(AF_UNIX, SOCK_STREAM, 0, left), 0);
	CU_ASSERT_EQUAL_FATAL(socketpair(AF_UNIX, SOCK_STREAM, 0, right), 0);
	CU_ASSERT_EQUAL_FATAL(ls_psk_open(left[0], false, &key, &a, NULL), LS_OK);
	CU_ASSERT_EQUAL_FATAL(ls_psk_open(right[0], true, &key, &b, NULL), LS_OK);
	for (i = 0; i < 5000 && (st_a || st_b); i++) {
		char byte;

		st_a = ls_psk_handshake(a, NULL);
		if (recv(left[1], &byte, 1, MSG_DONTWAIT) == 1)
			CU_ASSERT_EQUAL(write(right[1], &byte, 1), 1);
		st_b = ls_psk_handshake(b, NULL);
		if (recv(right[1], &byte, 1, MSG_DONTWAIT) == 1)
			CU_ASSERT_EQUAL(write(left[1], &byte, 1), 1);
		CU_ASSERT_TRUE((!st_a || st_a == LS_AGAIN) && (!st_b || st_b == LS_AGAIN));
	}
	CU_ASSERT_EQUAL(st_a, LS_OK);
	CU_ASSERT_EQUAL(st_b, LS_OK);
	CU_ASSERT_EQUAL(ls_psk_write(a, "hello", 5, &n, NULL), LS_OK);
	carry(left[1], right[1]);
	CU_ASSERT_EQUAL(ls_psk_read(b, got, 2, &n, NULL), LS_OK);
	CU_ASSERT_TRUE(ls_psk_pending(b));
	CU_ASSERT_EQUAL(ls_psk_read(b, got + 2, sizeof(got) - 2, &n, NULL), LS_OK);
	CU_ASSERT_STRING_EQUAL(got, "hello");
	CU_ASSERT_EQUAL(ls_psk_read(b, got, sizeof(got), &n, NULL), LS_AGAIN);
	ls_psk_close(a);
	ls_psk_close(b);
	close(left[1]), close(right[1]);
}

/* One changed bit ends it; an orderly end has no words, a cut has. */
static void test_damage_and_end(void)
{
	struct ls_psk_key key = key_of("job-1", 1);
	struct ls_err err = LS_ERR_INIT;
	struct ls_psk *a, *b;
	ls_status st_a, st_b;
	char got[64], wire[256];
	size_t n = 0;
	ssize_t len;
	int fd;

	pair(&key, &key, &a, &b);
	shake(a, b, &st_a, &st_b);
	ls_psk_write(a, "hello", 5, &n, NULL);
	fd = dup(ls_psk_fd(b));
	len = recv(fd, wire, sizeof(wire), 0);
	CU_ASSERT_TRUE_FATAL(len > 5);
	CU_ASSERT_PTR_NULL(memmem(wire, (size_t)len, "hello", 5));
	wire[len - 1] ^= 1;
	CU_ASSERT_EQUAL(write(ls_psk_fd(a), wire, (size_t)len), len);
	CU_ASSERT_EQUAL(ls_psk_read(b, got, sizeof(got), &n, &err), LS_DATA_BAD);
	close(fd);
	ls_psk_close(a);
	ls_psk_close(b);

	pair(&key, &key, &a, &b);
	shake(a, b, &st_a, &st_b);
	ls_psk_close(a);
	CU_ASSERT_EQUAL(ls_psk_read(b, got, sizeof(got), &n, &err), LS_NODE_LOST);
	CU_ASSERT_STRING_EQUAL(err.text, "");
	ls_psk_close(b);

	pair(&key, &key, &a, &b);
	shake(a, b, &st_a, &st_b);
	shutdown(ls_psk_fd(a), SHUT_RDWR);
	CU_ASSERT_EQUAL(ls_psk_read(b, got, sizeof(got), &n, &err), LS_NODE_LOST);
	CU_ASSERT_STRING_NOT_EQUAL(err.text, "");
	ls_psk_close(a);
	ls_psk_close(b);
	ls_psk_close(NULL);
}

/* More than the socket takes: LS_AGAIN asks for POLLOUT, and nothing is lost. */
static void test_full(void)
{
	enum { ALL = 1 << 20 };
	struct ls_psk_key key = key_of("job-1", 1);
	struct ls_psk *a, *b;
	ls_status st_a, st_b, st;
	char *sent = malloc(ALL), *got = malloc(ALL);
	size_t out = 0, in = 0, n, i;
	bool full = false;

	for (i = 0; i < ALL; i++)
		sent[i] = (char)(i * 7 >> 3);
	pair(&key, &key, &a, &b);
	shake(a, b, &st_a, &st_b);
	while (in < ALL) {
		st = LS_OK;
		while (out < ALL && !(st = ls_psk_write(a, sent + out, ALL - out, &n, NULL)))
			out += n;
		CU_ASSERT_TRUE_FATAL(!st || st == LS_AGAIN);
		full |= st == LS_AGAIN && ls_psk_events(a) == POLLOUT;
		while (in < ALL && !(st = ls_psk_read(b, got + in, ALL - in, &n, NULL)))
			in += n;
		CU_ASSERT_TRUE_FATAL(!st || st == LS_AGAIN);
	}
	CU_ASSERT_TRUE(full);
	CU_ASSERT_EQUAL(memcmp(sent, got, ALL), 0);
	ls_psk_close(a);
	ls_psk_close(b);
	free(sent);
	free(got);
}

static void test_key_files(void)
{
	static const struct {
		const char *text;
		ls_status want;
	} rows[] = {
		{ "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1eFF", LS_OK },
		{ "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1eff\n", LS_OK },
		{ "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e", LS_USAGE },
		{ "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1eff00", LS_USAGE },
		{ "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1egg", LS_USAGE },
		{ "", LS_USAGE },
	};
	char path[] = "/tmp/lockstep-psk-XXXXXX";
	struct ls_psk_key key;
	int fd = mkstemp(path);
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		CU_ASSERT_EQUAL(ftruncate(fd, 0), 0);
		CU_ASSERT_EQUAL(pwrite(fd, rows[i].text, strlen(rows[i].text), 0), (ssize_t)strlen(rows[i].text));
		memset(&key, 0, sizeof(key));
		CU_ASSERT_EQUAL(ls_psk_key_read(path, "uid", &key, NULL), rows[i].want);
		CU_ASSERT_EQUAL(key.bytes[31], rows[i].want ? 0 : 0xff);
	}
	CU_ASSERT_EQUAL(ls_psk_key_read(path, "", &key, NULL), LS_USAGE);
	unlink(path);
	close(fd);
	CU_ASSERT_EQUAL(ls_psk_key_read(path, "uid", &key, NULL), LS_NOT_FOUND);
}

/* What the operator holds per job: at most 20 KB a connection when it is idle. */
static void test_memory(void)
{
	enum { N = 100 };
	struct ls_psk_key key = key_of("job-1", 1);
	struct ls_psk *a[N], *b[N];
	size_t before = mallinfo2().uordblks, each;
	ls_status st_a, st_b;
	int i;

	for (i = 0; i < N; i++) {
		pair(&key, &key, &a[i], &b[i]);
		shake(a[i], b[i], &st_a, &st_b);
		CU_ASSERT_EQUAL(st_b, LS_OK);
	}
	each = (mallinfo2().uordblks - before) / (2 * N);
	printf("%zu bytes a connection ... ", each);
	CU_ASSERT_TRUE(each < 20000);
	for (i = 0; i < N; i++) {
		ls_psk_close(a[i]);
		ls_psk_close(b[i]);
	}
}

int main(void)
{
	static const CU_TestInfo tests[] = { { "who gets in", test_who_gets_in }, { "strangers", test_strangers },
		{ "byte by byte", test_byte_by_byte }, { "damage and ends", test_damage_and_end }, { "a full socket", test_full },
		{ "key files", test_key_files }, { "memory", test_memory }, CU_TEST_INFO_NULL };
	CU_SuiteInfo suites[] = { { .pName = "psk", .pTests = (CU_TestInfo *)(void *)tests }, CU_SUITE_INFO_NULL };
	int failures;

	signal(SIGPIPE, SIG_IGN);
	if (CU_initialize_registry() || CU_register_suites(suites))
		return 2;
	CU_basic_set_mode(CU_BRM_VERBOSE);
	CU_basic_run_tests();
	failures = (int)CU_get_number_of_failures();
	CU_cleanup_registry();
	return failures != 0;
}
