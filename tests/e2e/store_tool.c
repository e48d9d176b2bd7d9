/* store_tool.c -- the checks that every kind of store must pass, and single operations for scripts that break what is below them.
 *
 *     store_tool URI contract               lines "ok NAME" and "FAIL NAME", as tests/runner counts them
 *     store_tool URI put KEY BYTES [new]    a pattern of so many bytes
 *     store_tool URI check KEY BYTES        read it in one go, and compare
 *     store_tool URI cancel MS KEY BYTES    a put that is cancelled after so long
 *     store_tool URI list PREFIX
 *     store_tool URI delete KEY...
 *     store_tool URI sweep FIRST LAST [dry]
 *
 * Single operations print "ok", a number or keys; or the status and the message. Buffers are cut into pieces of odd sizes. */
#include "core/crc32c.h"
#include "core/io.h"
#include "core/store.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PIECES 7
#define MIB ((size_t)1 << 20)
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static struct ls_store *store;
static struct ls_err err = LS_ERR_INIT;
static int failures;

static void report(bool good, const char *name)
{
	failures += !good;
	if (!good)
		printf("last message: %s\n", err.text);
	printf("%s %s\n", good ? "ok" : "FAIL", name);
	fflush(stdout);
}

/* Every object of a size has its own bytes. */
static char *pattern(size_t bytes)
{
	char *p = malloc(bytes + 8);
	size_t i;

	if (!p)
		exit(3);
	for (i = 0; i < bytes; i += 8) {
		uint64_t z = (i + bytes) * 0x9e3779b97f4a7c15u;

		z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
		z = (z ^ z >> 27) * 0x94d049bb133111ebu;
		memcpy(p + i, &z, 8);
	}
	return p;
}

static void cut(char *p, size_t bytes, struct iovec iov[PIECES])
{
	size_t at = 0, len;
	int i;

	for (i = 0; i < PIECES; i++) {
		len = i == PIECES - 1 ? bytes - at : bytes / PIECES * (size_t)(i % 3) / 2;
		iov[i] = (struct iovec){ p + at, len };
		at += len;
	}
}

static ls_status put(const char *key, size_t bytes, bool only_new)
{
	char *p = pattern(bytes);
	struct iovec iov[PIECES];
	uint32_t crc = 1;
	ls_status st;

	cut(p, bytes, iov);
	st = ls_store_put(store, key, iov, PIECES, only_new, &crc, &err);
	if (!st && crc != ls_crc32c(0, p, bytes))
		st = ls_fail(&err, LS_JOB_LOST, 0, "put returned another checksum");
	free(p);
	return st;
}

static ls_status check(const char *key, size_t bytes)
{
	char *p = pattern(bytes), *got = malloc(bytes + 1);
	struct iovec iov[PIECES];
	uint64_t size = 0;
	uint32_t crc = 1;
	ls_status st = ls_store_size(store, key, &size, &err);

	if (!got)
		exit(3);
	cut(got, bytes, iov);
	if (!st && size != bytes)
		st = ls_fail(&err, LS_JOB_LOST, 0, "%s has %llu bytes", key, (unsigned long long)size);
	if (!st)
		st = ls_store_read(store, key, 0, iov, PIECES, &crc, &err);
	if (!st && (memcmp(p, got, bytes) || crc != ls_crc32c(0, p, bytes)))
		st = ls_fail(&err, LS_JOB_LOST, 0, "%s has other bytes, or another checksum was returned", key);
	free(p);
	free(got);
	return st;
}

static ls_status part_is(const char *key, size_t bytes, size_t at, size_t len)
{
	char *p = pattern(bytes), *got = malloc(len + 1);
	ls_status st = got ? ls_store_get(store, key, at, got, len, &err) : LS_AGAIN;

	if (!st && memcmp(p + at, got, len))
		st = ls_fail(&err, LS_JOB_LOST, 0, "%s has other bytes from %zu", key, at);
	free(p);
	free(got);
	return st;
}

static size_t listed(const char *prefix, const char *only)
{
	struct ls_objects list = { 0 };
	size_t n;

	if (ls_store_list(store, prefix, &list, &err))
		return SIZE_MAX;
	n = list.n;
	if (only && (n != 1 || strcmp(list.v[0].key, only)))
		n = SIZE_MAX;
	ls_objects_release(&list);
	return n;
}

/* --- contract ------------------------------------------------------------------------------------------------------------ */

static const char *const awkward[] = { "plain", "a b", "a+b", "a%20b", "%2F", "100%", "d/a=b&c?d#e", "d/~-._", "'\"<>&amp;", "*()!$,@:;",
	"[]{}|^`\\", "\xc3\xbc" "ber/\xe6\x97\xa5\xe6\x9c\xac", " front and back ", "UPPER/lower", ".hidden" };

static void test_keys(void)
{
	size_t i;

	for (i = 0; i < COUNT(awkward); i++) {
		const char *key = awkward[i];
		char name[100];

		snprintf(name, sizeof(name), "a key may be '%s'", key);
		report(!put(key, 100 + i, false) && !check(key, 100 + i) && listed(key, key) == 1, name);
	}
	report(listed("", NULL) == COUNT(awkward), "all of them are listed");
	report(!ls_store_delete(store, awkward, COUNT(awkward), &err) && listed("", NULL) == 0, "all are deleted at once");
	report(!ls_store_delete(store, awkward, COUNT(awkward), &err), "deleting what is not there is fine");
}

static void test_sizes(void)
{
	static const size_t sizes[] = { 0, 1, 4096, 16 * MIB - 1, 16 * MIB, 16 * MIB + 1, 24 * MIB, 100 * MIB + 3 };
	const char *key = "sized/object";
	size_t i;

	for (i = 0; i < COUNT(sizes); i++) {
		char name[100];

		snprintf(name, sizeof(name), "an object of %zu bytes", sizes[i]);
		report(!put(key, sizes[i], false) && !check(key, sizes[i]), name);
	}
	i = sizes[COUNT(sizes) - 1];
	report(!part_is(key, i, 0, 10) && !part_is(key, i, 12345, 5 * MIB) && !part_is(key, i, i - 1, 1), "small parts of it");
	report(!part_is(key, i, 7, 50 * MIB) && !part_is(key, i, i - 40 * MIB, 40 * MIB), "large parts of it");
	report(part_is(key, i + 10, i - 5, 6) == LS_DATA_BAD && part_is(key, i + 10, i, 1) == LS_DATA_BAD,
		"a small part beyond its end is bad data");
	report(part_is(key, i + MIB, i - 20 * MIB, 21 * MIB) == LS_DATA_BAD, "a large part beyond its end, too");
	report(!part_is(key, i, i, 0) && part_is(key, i + 1, i + 1, 0) == LS_DATA_BAD, "no bytes at its end, and behind it");
	ls_store_delete(store, &key, 1, &err);
	report(check(key, 1) == LS_NOT_FOUND && part_is(key, 1, 0, 1) == LS_NOT_FOUND && part_is(key, 1, 0, 0) == LS_NOT_FOUND &&
			part_is(key, 17 * MIB, 0, 17 * MIB) == LS_NOT_FOUND, "what is not there is not found");
}

static void test_only_new(void)
{
	const char *keys[] = { "new/small", "new/large" };

	report(!put(keys[0], 10, true) && put(keys[0], 11, true) == LS_EXISTS && !check(keys[0], 10),
		"only_new does not replace a small object");
	report(!put(keys[1], 17 * MIB, true) && put(keys[1], 18 * MIB, true) == LS_EXISTS && !check(keys[1], 17 * MIB),
		"only_new does not replace a large one");
	report(!put(keys[0], 17 * MIB, false) && !check(keys[0], 17 * MIB), "a put replaces a small one by a large one");
	ls_store_delete(store, keys, 2, &err);
}

static void test_many(void)
{
	enum { N = 1100 };
	char *keys[N];
	bool good = true;
	int i;

	for (i = 0; i < N; i++) {
		if (asprintf(&keys[i], "many/%04d +%%", i) < 0)
			exit(3);
		good = good && !put(keys[i], (size_t)i % 3, false);
	}
	report(good && listed("many/", NULL) == N, "1100 objects are listed over pages");
	report(listed("many/00", NULL) == 100 && listed("man", NULL) == N && listed("nothing", NULL) == 0, "by prefixes");
	report(!ls_store_delete(store, (const char *const *)keys, N, &err) && listed("", NULL) == 0, "and are deleted in batches");
	for (i = 0; i < N; i++)
		free(keys[i]);
}

/* arg: the first and the last name. */
static bool in_range(void *arg, const char *dir)
{
	const char *const *range = arg;

	return strcmp(dir, range[0]) >= 0 && strcmp(dir, range[1]) <= 0;
}

static void test_cancel_and_sweep(void)
{
	const char *all[] = { "", "\xff" };
	const char *key = "cancel/x";
	size_t n = 1;

	ls_store_cancel(store, true);
	report(put(key, 10, false) == LS_AGAIN && put(key, 20 * MIB, false) == LS_AGAIN, "a cancelled store puts nothing");
	ls_store_cancel(store, false);
	report(!put(key, 20 * MIB, false) && !check(key, 20 * MIB), "and works again when it is no longer");
	ls_store_cancel(store, true);
	report(check(key, 20 * MIB) == LS_AGAIN || part_is(key, 20 * MIB, 0, 1) == LS_AGAIN, "a cancelled one reads nothing");
	ls_store_cancel(store, false);
	report(!ls_store_sweep(store, in_range, all, false, &n, &err) && n == 0, "a sweep finds no leftovers");
	report(!check(key, 20 * MIB), "and leaves what is whole");
	ls_store_delete(store, &key, 1, &err);
}

static int contract(void)
{
	test_keys();
	test_sizes();
	test_only_new();
	test_many();
	test_cancel_and_sweep();
	return failures != 0;
}

/* --- single operations --------------------------------------------------------------------------------------------------- */

static void *cancel_later(void *arg)
{
	usleep((useconds_t)atoi(arg) * 1000);
	ls_store_cancel(store, true);
	return NULL;
}

static ls_status put_cancelled(char *ms, const char *key, size_t bytes)
{
	pthread_t thread;
	ls_status st;

	if (pthread_create(&thread, NULL, cancel_later, ms))
		exit(3);
	st = put(key, bytes, false);
	pthread_join(thread, NULL);
	return st;
}

static ls_status list(const char *prefix)
{
	struct ls_objects found = { 0 };
	ls_status st = ls_store_list(store, prefix, &found, &err);
	size_t i;

	for (i = 0; i < found.n; i++)
		printf("%s %llu\n", found.v[i].key, (unsigned long long)found.v[i].bytes);
	ls_objects_release(&found);
	return st;
}

static ls_status sweep(const char *first, const char *last, bool dry)
{
	const char *range[] = { first, last };
	size_t n = 0;
	ls_status st = ls_store_sweep(store, in_range, range, dry, &n, &err);

	if (!st)
		printf("%zu\n", n);
	return st;
}

static int operate(int n, char **arg)
{
	const char *verb = n > 0 ? arg[0] : "";
	ls_status st;

	if (n >= 3 && !strcmp(verb, "put"))
		st = put(arg[1], strtoull(arg[2], NULL, 10), n > 3);
	else if (n == 3 && !strcmp(verb, "check"))
		st = check(arg[1], strtoull(arg[2], NULL, 10));
	else if (n == 4 && !strcmp(verb, "cancel"))
		st = put_cancelled(arg[1], arg[2], strtoull(arg[3], NULL, 10));
	else if (n == 2 && !strcmp(verb, "list"))
		st = list(arg[1]);
	else if (n > 1 && !strcmp(verb, "delete"))
		st = ls_store_delete(store, (const char *const *)arg + 1, (size_t)n - 1, &err);
	else if (n >= 3 && !strcmp(verb, "sweep"))
		st = sweep(arg[1], arg[2], n > 3);
	else
		return 2;
	if (st)
		printf("%s: %s\n", ls_status_name(st), err.text);
	else if (strcmp(verb, "list") && strcmp(verb, "sweep"))
		printf("ok\n");
	return (int)st;
}

int main(int argc, char **argv)
{
	int code;

	if (argc < 3) {
		fprintf(stderr, "usage: store_tool URI VERB ARG...\n");
		return 2;
	}
	if (ls_store_open(argv[1], &store, &err)) {
		printf("%s: %s\n", ls_status_name(err.status), err.text);
		return (int)err.status;
	}
	code = !strcmp(argv[2], "contract") ? contract() : operate(argc - 2, argv + 2);
	ls_store_close(store);
	return code;
}
