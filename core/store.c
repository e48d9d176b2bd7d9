/* store.c -- see store.h: finds the kind of store by the URI's scheme, and lets no bad key through to it. */
#include "core/store_ops.h"

#include <stdlib.h>
#include <string.h>

static const struct {
	const char *scheme;
	ls_status (*open)(const char *rest, struct ls_store **ret, struct ls_err *err);
} kinds[] = { { "file://", ls_store_file_open }, { "s3://", ls_store_s3_open } };

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

ls_status ls_store_put(struct ls_store *s, const char *key, const struct iovec *iov, int n, bool only_new,
	uint32_t *ret_crc32c, struct ls_err *err)
{
	uint32_t ignored;
	ls_status st = check_key(s, key, false, err);

	return st ? st : s->ops->put(s, key, iov, n, only_new, ret_crc32c ? ret_crc32c : &ignored, err);
}

ls_status ls_store_read(struct ls_store *s, const char *key, uint64_t offset, const struct iovec *iov, int n,
	uint32_t *ret_crc32c, struct ls_err *err)
{
	uint32_t ignored;
	ls_status st = check_key(s, key, false, err);

	return st ? st : s->ops->read(s, key, offset, iov, n, ret_crc32c ? ret_crc32c : &ignored, err);
}

ls_status ls_store_get(
	struct ls_store *s, const char *key, uint64_t offset, void *buf, size_t bytes, struct ls_err *err)
{
	struct iovec iov = { buf, bytes };

	return ls_store_read(s, key, offset, &iov, 1, NULL, err);
}

ls_status ls_store_size(struct ls_store *s, const char *key, uint64_t *ret_bytes, struct ls_err *err)
{
	ls_status st = check_key(s, key, false, err);

	return st ? st : s->ops->size(s, key, ret_bytes, err);
}

ls_status ls_store_delete(struct ls_store *s, const char *const *keys, size_t n, struct ls_err *err)
{
	ls_status st = LS_OK;
	size_t i;

	for (i = 0; !st && i < n; i++)
		st = check_key(s, keys[i], false, err);
	return st ? st : s->ops->remove(s, keys, n, err);
}

ls_status ls_objects_add(struct ls_objects *o, const char *key, uint64_t bytes, struct ls_err *err)
{
	/* Grows at every power of two: no field for the room is needed. */
	struct ls_object *grown = o->v;
	char *copy = strdup(key);

	if (copy && (o->n & (o->n - 1)) == 0)
		grown = realloc(o->v, (o->n ? 2 * o->n : 1) * sizeof(*grown));
	if (grown)
		o->v = grown;
	if (!copy || !grown) {
		free(copy);
		return ls_fail_oom(err);
	}
	o->v[o->n++] = (struct ls_object){ copy, bytes };
	return LS_OK;
}

void ls_objects_release(struct ls_objects *o)
{
	size_t i;

	for (i = 0; i < o->n; i++)
		free(o->v[i].key);
	free(o->v);
	*o = (struct ls_objects){ 0 };
}

static int compare_objects(const void *a, const void *b)
{
	return strcmp(((const struct ls_object *)a)->key, ((const struct ls_object *)b)->key);
}

/* A file that somebody laid there under a name which is no key would be listed, but could never be deleted. */
static void drop_bad_keys(struct ls_objects *o)
{
	size_t i, kept = 0;

	for (i = 0; i < o->n; i++) {
		if (good_key(o->v[i].key, false))
			o->v[kept++] = o->v[i];
		else
			free(o->v[i].key);
	}
	o->n = kept;
}

ls_status ls_store_list(struct ls_store *s, const char *prefix, struct ls_objects *ret, struct ls_err *err)
{
	struct ls_objects found = { 0 };
	ls_status st = check_key(s, prefix, true, err);

	if (!st)
		st = s->ops->list(s, prefix, &found, err);
	if (st) {
		ls_objects_release(&found);
		return st;
	}
	drop_bad_keys(&found);
	if (found.n)
		qsort(found.v, found.n, sizeof(*found.v), compare_objects);
	*ret = found;
	return LS_OK;
}

ls_status ls_store_sweep(struct ls_store *s, bool (*old)(void *arg, const char *dir), void *arg, bool dry, size_t *ret_n,
	struct ls_err *err)
{
	return s->ops->sweep(s, old, arg, dry, ret_n, err);
}

void ls_store_cancel(struct ls_store *s, bool on)
{
	atomic_store(&s->cancelled, on);
	if (s->ops->cancel)
		s->ops->cancel(s, on);
}
