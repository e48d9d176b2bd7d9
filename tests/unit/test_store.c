/* test_store.c -- file://: keys, whole objects, lists, sweeps, and what a full or read-only disk says. */
#include "core/io.h"
#include "core/store.h"

#include <CUnit/Basic.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static char dir[64];           /* of this program's run */
static struct ls_store *store; /* in dir/a/b, which nobody made */

static void check(bool ok, const char *says, const char *got)
{
	if (!ok)
		printf("\n    failed: %s: %s", says, got);
	CU_ASSERT(ok);
}

static const struct {
	const char *says, *uri;
	ls_status want;
	const char *text; /* the URI, or a part of the message */
} uris[] = {
	{ "a directory", "file:///tmp/x", LS_OK, "file:///tmp/x" },
	{ "slashes at the end", "file:///tmp/x///", LS_OK, "file:///tmp/x" },
	{ "one slash at the end", "file:///tmp/x/", LS_OK, "file:///tmp/x" },
	{ "the root", "file:///", LS_OK, "file:///" },
	{ "the root with slashes", "file://///", LS_OK, "file:///" },
	{ "a relative path", "file://tmp/x", LS_USAGE, "must be absolute" },
	{ "no path", "file://", LS_USAGE, "must be absolute" },
	{ "an object store without a bucket", "s3:///prefix", LS_USAGE, "no bucket" },
	{ "another scheme", "http://host/", LS_USAGE, "file:///ABSOLUTE/PATH or s3://" },
	{ "a plain path", "/tmp/x", LS_USAGE, "is no checkpoint URI" },
	{ "nothing", "", LS_USAGE, "is no checkpoint URI" },
};

static void test_uris(void)
{
	size_t i;

	for (i = 0; i < COUNT(uris); i++) {
		struct ls_err err = LS_ERR_INIT;
		struct ls_store *s = NULL;
		ls_status st = ls_store_open(uris[i].uri, &s, &err);

		check(st == uris[i].want, uris[i].says, err.text);
		if (st)
			check(strstr(err.text, uris[i].text) != NULL, uris[i].says, err.text);
		else
			check(!strcmp(ls_store_uri(s), uris[i].text), uris[i].says, ls_store_uri(s));
		ls_store_close(s);
	}
}

static const struct {
	const char *says, *key;
	ls_status want;
} keys[] = {
	{ "a plain name", "x", LS_OK },
	{ "a name in a directory", "step-000000000001/rank-00000.safetensors", LS_OK },
	{ "a name that starts with a dot", "d/.hidden", LS_OK },
	{ "nothing", "", LS_USAGE },
	{ "an absolute path", "/etc/passwd", LS_USAGE },
	{ "the directory above", "../x", LS_USAGE },
	{ "two dots in the middle", "a/../x", LS_USAGE },
	{ "two dots in a name", "a..b", LS_USAGE },
	{ "the same directory", "a/./x", LS_USAGE },
	{ "an empty part", "a//x", LS_USAGE },
	{ "a slash at the end", "a/", LS_USAGE },
	{ "the name of a leftover", "a/.tmp-abc", LS_USAGE },
	{ "a line break", "a\nb", LS_USAGE },
};

static ls_status put(const char *key, const char *text, bool only_new, struct ls_err *err)
{
	struct iovec iov = { (void *)text, strlen(text) };

	return ls_store_put(store, key, &iov, 1, only_new, NULL, err);
}

static ls_status remove_key(const char *key, struct ls_err *err)
{
	return ls_store_delete(store, &key, 1, err);
}

static bool holds(const char *key, const char *text)
{
	char got[256] = "";
	uint64_t bytes = 0;

	return !ls_store_size(store, key, &bytes, NULL) && bytes == strlen(text) && bytes < sizeof(got) &&
	       !ls_store_get(store, key, 0, got, bytes, NULL) && !strcmp(got, text);
}

/* "a b c", or the message. */
static const char *listed(const char *prefix)
{
	static char text[4096];
	struct ls_err err = LS_ERR_INIT;
	struct ls_objects list = { 0 };
	size_t i;

	text[0] = '\0';
	if (ls_store_list(store, prefix, &list, &err))
		snprintf(text, sizeof(text), "%s", err.text);
	for (i = 0; i < list.n; i++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%s", i ? " " : "", list.v[i].key);
	ls_objects_release(&list);
	return text;
}

static void test_keys(void)
{
	size_t i;

	for (i = 0; i < COUNT(keys); i++) {
		struct ls_err err = LS_ERR_INIT;
		uint64_t bytes;

		check(put(keys[i].key, "text", false, &err) == keys[i].want, keys[i].says, err.text);
		if (keys[i].want == LS_OK) {
			check(holds(keys[i].key, "text"), keys[i].says, "its text");
			check(remove_key(keys[i].key, &err) == LS_OK, keys[i].says, err.text);
		}
		check(ls_store_size(store, keys[i].key, &bytes, &err) == (keys[i].want ? keys[i].want : LS_NOT_FOUND),
			keys[i].says, err.text);
	}
	CU_ASSERT_STRING_EQUAL(listed(""), "");
}

static void test_objects(void)
{
	struct ls_err err = LS_ERR_INIT;
	char got[8];

	check(put("d/x", "old", false, &err) == LS_OK, "the first put makes the directories", err.text);
	check(put("d/x", "newer", false, &err) == LS_OK && holds("d/x", "newer"), "a put replaces", err.text);
	check(put("d/x", "other", true, &err) == LS_EXISTS && holds("d/x", "newer"), "only_new does not", err.text);
	check(put("d/y", "y", true, &err) == LS_OK && holds("d/y", "y"), "only_new makes a new one", err.text);
	check(put("d/empty", "", false, &err) == LS_OK && holds("d/empty", ""), "an empty object is one", err.text);
	check(ls_store_get(store, "d/x", 2, got, 3, &err) == LS_OK && !memcmp(got, "wer", 3), "a part of an object",
		err.text);
	check(ls_store_get(store, "d/x", 3, got, 3, &err) == LS_DATA_BAD, "a part beyond the end", err.text);
	check(ls_store_get(store, "d/x", UINT64_MAX, got, 3, &err) == LS_DATA_BAD, "a part that wraps", err.text);
	check(ls_store_get(store, "d/z", 0, got, 1, &err) == LS_NOT_FOUND, "no such object", err.text);
	check(ls_store_get(store, "d", 0, got, 1, &err) == LS_DATA_BAD, "a directory is no object", err.text);
	check(put("d/x/below", "", false, &err) == LS_AGAIN, "an object is no directory", err.text);
	check(remove_key("d/z", &err) == LS_OK, "deleting what is not there", err.text);
	CU_ASSERT_STRING_EQUAL(listed(""), "d/empty d/x d/y");
	CU_ASSERT(!remove_key("d/x", NULL) && !remove_key("d/y", NULL) &&
		  !remove_key("d/empty", NULL));
	CU_ASSERT(access(dir, F_OK) == 0);
	CU_ASSERT_STRING_EQUAL(listed(""), "");
}

/* More vectors than one system call takes, and empty ones among them. */
static void test_vectors(void)
{
	enum { N = 3000 };
	struct iovec *iov = calloc(N, sizeof(*iov));
	char *text = malloc(N * 10), *got = malloc(N * 10);
	struct ls_err err = LS_ERR_INIT;
	size_t i, at = 0;

	CU_ASSERT_FATAL(iov && text && got);
	for (i = 0; i < N; i++) {
		iov[i] = (struct iovec){ text + at, i % 10 };
		memset(text + at, 'a' + (int)(i % 26), i % 10);
		at += i % 10;
	}
	check(ls_store_put(store, "v", iov, N, false, NULL, &err) == LS_OK, "3000 vectors are one object", err.text);
	check(ls_store_get(store, "v", 0, got, at, &err) == LS_OK && !memcmp(got, text, at), "in their order",
		err.text);
	CU_ASSERT(!remove_key("v", NULL));
	free(iov);
	free(text);
	free(got);
}

static void touch(const char *relative)
{
	char path[256];
	int fd;

	snprintf(path, sizeof(path), "%s/a/b/%s", dir, relative);
	fd = open(path, O_CREAT | O_WRONLY, 0644);
	CU_ASSERT_FATAL(fd >= 0);
	close(fd);
}

static bool up_to(void *last, const char *name)
{
	return !strncmp(name, "step-", 5) && strcmp(name, last) <= 0;
}

static void test_list_and_sweep(void)
{
	static const char *const names[] = { "step-2/b", "step-2/a", "step-10/a", "step-3", "other/x", "z" };
	struct ls_err err = LS_ERR_INIT;
	char path[256];
	size_t n;
	size_t i;

	for (i = 0; i < COUNT(names); i++)
		check(put(names[i], "x", false, &err) == LS_OK, names[i], err.text);
	touch("step-2/.tmp-aaaaaa");
	touch("step-10/.tmp-bbbbbb");
	touch("other/.tmp-cccccc");
	touch("step-2/a..b");
	snprintf(path, sizeof(path), "%s/a/b/step-1", dir);
	CU_ASSERT_FATAL(mkdir(path, 0755) == 0);
	touch("step-1/.tmp-dddddd");
	CU_ASSERT_STRING_EQUAL(listed(""), "other/x step-10/a step-2/a step-2/b step-3 z");
	CU_ASSERT_STRING_EQUAL(listed("step-"), "step-10/a step-2/a step-2/b step-3");
	CU_ASSERT_STRING_EQUAL(listed("step-2/"), "step-2/a step-2/b");
	CU_ASSERT_STRING_EQUAL(listed("step-2/b"), "step-2/b");
	CU_ASSERT_STRING_EQUAL(listed("nothing/"), "");
	check(ls_store_sweep(store, up_to, (char *)"step-10", true, &n, &err) == LS_OK && n == 2, "a dry sweep", err.text);
	CU_ASSERT(access(path, F_OK) == 0);
	check(ls_store_sweep(store, up_to, (char *)"step-10", false, &n, &err) == LS_OK && n == 2, "a sweep up to step-10", err.text);
	CU_ASSERT(access(path, F_OK) < 0); /* empty after the sweep */
	snprintf(path, sizeof(path), "%s/a/b/step-10/.tmp-bbbbbb", dir);
	CU_ASSERT(access(path, F_OK) < 0);
	snprintf(path, sizeof(path), "%s/a/b/step-2/.tmp-aaaaaa", dir);
	CU_ASSERT(access(path, F_OK) == 0); /* behind the range */
	snprintf(path, sizeof(path), "%s/a/b/other/.tmp-cccccc", dir);
	CU_ASSERT(access(path, F_OK) == 0);
}

/* What a quota would do. SIGXFSZ is ignored, so that the write fails with EFBIG. */
static void put_with_limit(void)
{
	static char big[100000];
	struct iovec iov[2] = { { big, 10 }, { big, sizeof(big) } };
	struct rlimit limit = { 65536, 65536 };
	struct ls_err err = LS_ERR_INIT;

	signal(SIGXFSZ, SIG_IGN);
	if (setrlimit(RLIMIT_FSIZE, &limit) < 0)
		_exit(2);
	_exit(ls_store_put(store, "limit/x", iov, 2, false, NULL, &err) == LS_AGAIN && err.sys == EFBIG &&
				strstr(err.text, "limit/x")
			? 0
			: 1);
}

static void test_full(void)
{
	char path[256];
	int status = -1;
	pid_t pid = fork();

	if (pid == 0)
		put_with_limit();
	CU_ASSERT_FATAL(pid > 0 && waitpid(pid, &status, 0) == pid);
	check(WIFEXITED(status) && WEXITSTATUS(status) == 0, "a file that may not grow",
		"names the file and the errno");
	snprintf(path, sizeof(path), "%s/a/b/limit", dir);
	check(access(path, F_OK) < 0, "nothing stays of it", "the directory");
}

int main(void)
{
	struct ls_str uri = { 0 };
	unsigned failures = 1;
	CU_pSuite suite;

	snprintf(dir, sizeof(dir), "/tmp/test_store.XXXXXX");
	if (!mkdtemp(dir))
		return 1;
	ls_str_addf(&uri, "file://%s/a/b", dir);
	if (uri.oom || ls_store_open(uri.s, &store, NULL) || CU_initialize_registry() != CUE_SUCCESS)
		goto out;
	suite = CU_add_suite("store", NULL, NULL);
	CU_add_test(suite, "URIs", test_uris);
	CU_add_test(suite, "keys", test_keys);
	CU_add_test(suite, "objects", test_objects);
	CU_add_test(suite, "many vectors", test_vectors);
	CU_add_test(suite, "a full disk", test_full);
	CU_add_test(suite, "lists and sweeps", test_list_and_sweep);
	CU_basic_set_mode(CU_BRM_VERBOSE);
	CU_basic_run_tests();
	failures = CU_get_number_of_failures();
	CU_cleanup_registry();
out:
	ls_store_close(store);
	ls_str_release(&uri);
	ls_remove_tree(dir, NULL);
	return failures != 0;
}
