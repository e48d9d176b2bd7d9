/* store.c -- see store.h: finds the kind of store by the URI's scheme, and lets no bad key through to it. */
#include "core/store_ops.h"

#include <stdlib.h>
#include <string.h>

static ls_status s3_open(const char *rest, struct ls_store **ret, struct ls_err *err)
{
	(void)ret;
	return ls_fail(err, LS_USAGE, 0,
		"s3://%s: this build has no S3 store: use file:///DIRECTORY on a shared file system", rest);
}

static const struct {
	const char *scheme;
	ls_status (*open)(const char *rest, struct ls_store **ret, struct ls_err *err);
} kinds[] = { { "file://", ls_store_file_open }, { "s3://", s3_open } };

static ls_status open_kind(const char *uri, struct ls_store **ret, struct ls_err *err)
{
	size_t i, len;

	for (i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		len = strlen(kinds[i].scheme);
		if (!strncmp(uri, kinds[i].scheme, len))
			return kinds[i].open(uri + len, ret, err);
	}
	return ls_fail(
		err, LS_USAGE, 0, "'%s' is no checkpoint URI: write file:///ABSOLUTE/PATH or s3://BUCKET/PREFIX", uri);
}

ls_status ls_store_open(const char *uri, struct ls_store **ret, struct ls_err *err)
{
	char *copy = strdup(uri);
	struct ls_store *s = NULL;
	size_t len = strlen(uri);
	const char *rest;
	ls_status st;

	if (!copy)
		return ls_fail_oom(err);
	rest = strstr(copy, "://");
	while (rest && copy + len > rest + 4 && copy[len - 1] == '/') /* the '/' of the root itself stays */
		copy[--len] = '\0';
	st = open_kind(copy, &s, err);
	if (st) {
		free(copy);
		return st;
	}
	s->uri = copy;
	*ret = s;
	return LS_OK;
}

void ls_store_close(struct ls_store *s)
{
	if (!s)
		return;
	free(s->uri);
	s->ops->close(s);
}

const char *ls_store_uri(const struct ls_store *s)
{
	return s->uri;
}

static bool good_part(const char *part, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++)
		if ((unsigned char)part[i] < 0x20 || part[i] == 0x7f)
			return false;
	return !(len == 1 && *part == '.') && strncmp(part, LS_STORE_LEFTOVER, strlen(LS_STORE_LEFTOVER)) != 0;
}

/* A prefix may be empty, and may end with '/'. */
static bool good_key(const char *key, bool is_prefix)
{
	const char *part = key, *end;

	if (strlen(key) > LS_STORE_KEY_MAX || strstr(key, ".."))
		return false;
	for (;; part = end + 1) {
		end = strchrnul(part, '/');
		if (end == part)
			return is_prefix && !*end; /* an empty part: only behind the last '/' of a prefix */
		if (!good_part(part, (size_t)(end - part)))
			return false;
		if (!*end)
			return true;
	}
}

static ls_status check_key(const struct ls_store *s, const char *key, bool is_prefix, struct ls_err *err)
{
	if (good_key(key, is_prefix))
		return LS_OK;
	return ls_fail(err, LS_USAGE, 0, "%s: '%.100s' is no key: want a relative path without '..' or empty parts",
		s->uri, key);
}

ls_status ls_store_put(
	struct ls_store *s, const char *key, const struct iovec *iov, int n, bool only_new, struct ls_err *err)
{
	ls_status st = check_key(s, key, false, err);

	return st ? st : s->ops->put(s, key, iov, n, only_new, err);
}

ls_status ls_store_get(
	struct ls_store *s, const char *key, uint64_t offset, void *buf, size_t bytes, struct ls_err *err)
{
	ls_status st = check_key(s, key, false, err);

	return st ? st : s->ops->get(s, key, offset, buf, bytes, err);
}

ls_status ls_store_size(struct ls_store *s, const char *key, uint64_t *ret_bytes, struct ls_err *err)
{
	ls_status st = check_key(s, key, false, err);

	return st ? st : s->ops->size(s, key, ret_bytes, err);
}

ls_status ls_store_delete(struct ls_store *s, const char *key, struct ls_err *err)
{
	ls_status st = check_key(s, key, false, err);

	return st ? st : s->ops->remove(s, key, err);
}

static int compare_keys(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* A file that somebody laid there under a name which is no key would be listed, but could never be deleted. */
static void drop_bad_keys(struct ls_strv *list, size_t from)
{
	size_t i, kept = from;

	for (i = from; i < list->n; i++) {
		if (good_key(list->v[i], false))
			list->v[kept++] = list->v[i];
		else
			free(list->v[i]);
	}
	list->n = kept;
	if (list->v)
		list->v[kept] = NULL;
}

ls_status ls_store_list(struct ls_store *s, const char *prefix, struct ls_strv *ret, struct ls_err *err)
{
	size_t before = ret->n;
	ls_status st = check_key(s, prefix, true, err);

	if (!st)
		st = s->ops->list(s, prefix, ret, err);
	if (!st && ret->oom)
		st = ls_fail_oom(err);
	drop_bad_keys(ret, before);
	if (!st && ret->n > before)
		qsort(ret->v + before, ret->n - before, sizeof(*ret->v), compare_keys);
	return st;
}

ls_status ls_store_sweep(struct ls_store *s, const char *first, const char *last, struct ls_err *err)
{
	return s->ops->sweep(s, first, last, err);
}
