/* ckpt.c -- see ckpt.h: names, publishing, finding, and what a checkpoint's bytes are. */
#include "core/ckpt_impl.h"
#include "core/ckpt_manifest.h"
#include "core/crc32c.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK (32u << 20)      /* bytes read at once while verifying: a few parts of an object store's parallel read */
#define LIST_TRIES 10
#define HEAD_GUESS (64u << 10) /* most headers fit: one request instead of two */

void ls_ckpt_dir(struct ls_ckpt_id id, char ret[LS_CKPT_DIR_MAX])
{
	int n = snprintf(ret, LS_CKPT_DIR_MAX, LS_CKPT_STEPS "%012lld", id.step);

	if (id.generation)
		snprintf(ret + n, (size_t)(LS_CKPT_DIR_MAX - n), "-g%08u", id.generation);
}

void ls_ckpt_shard_key(struct ls_ckpt_id id, int rank, char ret[LS_CKPT_KEY_MAX])
{
	char dir[LS_CKPT_DIR_MAX];

	ls_ckpt_dir(id, dir);
	snprintf(ret, LS_CKPT_KEY_MAX, "%s/rank-%05d.safetensors", dir, rank);
}

void ls_ckpt_manifest_key(struct ls_ckpt_id id, char ret[LS_CKPT_KEY_MAX])
{
	char dir[LS_CKPT_DIR_MAX];

	ls_ckpt_dir(id, dir);
	snprintf(ret, LS_CKPT_KEY_MAX, "%s/manifest.json", dir);
}

void ls_ckpt_part_name(const char *name, int64_t first, int64_t last, struct ls_str *ret)
{
	ls_str_addf(ret, "%s[%" PRId64 ":%" PRId64 "]", name, first, last);
}

/* Only as ls_ckpt_part_name() writes them: each part has one name. */
bool ls_ckpt_part_parse(const char *name, size_t *ret_len, int64_t *ret_first, int64_t *ret_last)
{
	const char *open = strrchr(name, '[');
	char again[64], *end;
	long long first, last;

	if (!open || open == name)
		return false;
	errno = 0;
	first = strtoll(open + 1, &end, 10);
	last = *end == ':' ? strtoll(end + 1, NULL, 10) : -1;
	if (errno || first < 0 || last < first)
		return false;
	snprintf(again, sizeof(again), "[%lld:%lld]", first, last);
	if (strcmp(open, again))
		return false;
	*ret_len = (size_t)(open - name);
	*ret_first = first;
	*ret_last = last;
	return true;
}

/* Only names as ls_ckpt_dir() makes them: no two belong to one checkpoint. */
bool ls_ckpt_key_id(const char *key, struct ls_ckpt_id *ret)
{
	size_t head = strlen(LS_CKPT_STEPS), len = strcspn(key, "/");
	struct ls_ckpt_id id = { 0 };
	char again[LS_CKPT_DIR_MAX];
	char *end;

	if (!key[len] || strncmp(key, LS_CKPT_STEPS, head) || strspn(key + head, "0123456789") != 12)
		return false;
	id.step = strtoll(key + head, &end, 10);
	if (!strncmp(end, "-g", 2) && strspn(end + 2, "0123456789") == 8)
		id.generation = (unsigned)strtoul(end + 2, NULL, 10);
	ls_ckpt_dir(id, again);
	if (strlen(again) != len || strncmp(key, again, len))
		return false;
	*ret = id;
	return true;
}

int ls_ckpt_compare(struct ls_ckpt_id a, struct ls_ckpt_id b)
{
	if (a.generation != b.generation)
		return a.generation < b.generation ? -1 : 1;
	return a.step < b.step ? -1 : a.step > b.step;
}

/* What is written must read back: the reader is also the judge of what a caller wants to write. */
static ls_status manifest_text(struct ls_store *s, const struct ls_ckpt *c, const char *key, struct ls_str *ret, struct ls_err *err)
{
	struct ls_ckpt back = { 0 };
	ls_status st = ls_ckpt_manifest_write(c, ret, err);

	if (!st && ret->len > LS_CKPT_MANIFEST_MAX)
		st = ls_fail(err, LS_USAGE, 0, "a manifest of %zu bytes is too large: use fewer shards", ret->len);
	if (!st)
		st = ls_ckpt_manifest_parse(ls_str_text(ret), ret->len, c->id, &back, err);
	ls_ckpt_release(&back);
	if (st != LS_DATA_BAD && st != LS_USAGE)
		return st;
	return ls_fail(err, LS_USAGE, 0, "cannot write %s/%s: %s", ls_store_uri(s), key, err ? err->text : "");
}

ls_status ls_ckpt_object_is(struct ls_store *s, const char *key, const struct ls_str *text, bool *ret, struct ls_err *err)
{
	uint64_t bytes;
	char *there;
	ls_status st = ls_store_size(s, key, &bytes, err);

	if (st || bytes != text->len) {
		*ret = false;
		return st;
	}
	there = malloc(bytes + 1);
	if (!there)
		return ls_fail_oom(err);
	st = ls_store_get(s, key, 0, there, bytes, err);
	if (!st)
		*ret = !memcmp(there, text->s, bytes);
	free(there);
	return st;
}

static ls_status put_manifest(struct ls_store *s, const char *key, const struct ls_str *text, struct ls_err *err)
{
	struct iovec iov = { text->s, text->len };
	ls_status st = ls_store_put(s, key, &iov, 1, true, NULL, err), look;
	bool same = false;

	if (st != LS_EXISTS)
		return st;
	look = ls_ckpt_object_is(s, key, text, &same, err);
	if (look || same)
		return look;
	return ls_fail(err, LS_EXISTS, 0, "%s/%s is there already, with other content", ls_store_uri(s), key);
}

/* The first fence only saves work; the second is the promise (ckpt_claim.c). */
ls_status ls_ckpt_publish(struct ls_store *s, const struct ls_ckpt *c, struct ls_err *err)
{
	struct ls_str text = { 0 };
	char key[LS_CKPT_KEY_MAX];
	ls_status st;

	ls_ckpt_manifest_key(c->id, key);
	st = manifest_text(s, c, key, &text, err);
	if (!st)
		st = ls_ckpt_fence(s, c->id.generation, err);
	if (!st)
		st = put_manifest(s, key, &text, err);
	if (!st)
		st = ls_ckpt_fence(s, c->id.generation, err);
	ls_str_release(&text);
	return st;
}

ls_status ls_ckpt_read(struct ls_store *s, struct ls_ckpt_id id, struct ls_ckpt *ret, struct ls_err *err)
{
	char key[LS_CKPT_KEY_MAX], *text = NULL;
	uint64_t bytes;
	ls_status st;

	ls_ckpt_manifest_key(id, key);
	st = ls_store_size(s, key, &bytes, err);
	if (st)
		return st;
	if (bytes > LS_CKPT_MANIFEST_MAX)
		return ls_fail(err, LS_DATA_BAD, 0, "%s/%s is too large for a manifest: %" PRIu64 " bytes",
			ls_store_uri(s), key, bytes);
	text = malloc(bytes + 1);
	if (!text)
		return ls_fail_oom(err);
	st = ls_store_get(s, key, 0, text, bytes, err);
	if (!st) {
		st = ls_ckpt_manifest_parse(text, bytes, id, ret, err);
		if (st == LS_DATA_BAD)
			ls_err_at(err, st, "%s/%s: ", ls_store_uri(s), key);
	}
	free(text);
	return st;
}

void ls_ckpt_release(struct ls_ckpt *c)
{
	size_t i;

	for (i = 0; i < c->n_shards; i++)
		free(c->shards[i].key);
	for (i = 0; i < c->n_sharded; i++)
		free(c->sharded[i].name);
	free(c->shards);
	free(c->sharded);
	free(c->job);
	ls_strv_release(&c->versions);
	*c = (struct ls_ckpt){ 0 };
}

static int newest_first(const void *a, const void *b)
{
	return ls_ckpt_compare(*(const struct ls_ckpt_id *)b, *(const struct ls_ckpt_id *)a);
}

void ls_ckpt_sort(struct ls_ckpt_id *ids, size_t n)
{
	if (n)
		qsort(ids, n, sizeof(*ids), newest_first);
}

ls_status ls_ckpt_published(const struct ls_objects *all, struct ls_ckpt_id **ret, size_t *ret_n, struct ls_err *err)
{
	struct ls_ckpt_id *ids = calloc(all->n + 1, sizeof(*ids));
	size_t n = 0, i;

	if (!ids)
		return ls_fail_oom(err);
	for (i = 0; i < all->n; i++) {
		char key[LS_CKPT_KEY_MAX];

		if (!ls_ckpt_key_id(all->v[i].key, &ids[n]))
			continue;
		ls_ckpt_manifest_key(ids[n], key);
		n += !strcmp(all->v[i].key, key);
	}
	ls_ckpt_sort(ids, n);
	*ret = ids;
	*ret_n = n;
	return LS_OK;
}

static ls_status list_once(struct ls_store *s, struct ls_ckpt_id **ret, size_t *ret_n, struct ls_err *err)
{
	struct ls_objects all = { 0 };
	ls_status st = ls_store_list(s, LS_CKPT_STEPS, &all, err);

	if (!st)
		st = ls_ckpt_published(&all, ret, ret_n, err);
	ls_objects_release(&all);
	return st;
}

static bool same_ids(const struct ls_ckpt_id *a, size_t n_a, const struct ls_ckpt_id *b, size_t n_b)
{
	size_t i;

	for (i = 0; n_a == n_b && i < n_a; i++)
		if (ls_ckpt_compare(a[i], b[i]))
			return false;
	return n_a == n_b;
}

/* Until two lists agree: one that was taken while a checkpoint was published and its elders pruned may show neither (a list is no
 * snapshot: object stores give it in pages, file systems as readdir goes). */
ls_status ls_ckpt_list(struct ls_store *s, struct ls_ckpt_id **ret, size_t *ret_n, struct ls_err *err)
{
	struct ls_ckpt_id *ids = NULL, *before = NULL;
	size_t n = 0, n_before = 0;
	bool same = false;
	int i;
	ls_status st = list_once(s, &ids, &n, err);

	for (i = 0; !st && !same && i < LIST_TRIES; i++) {
		free(before);
		before = ids;
		n_before = n;
		ids = NULL;
		st = list_once(s, &ids, &n, err);
		same = !st && same_ids(before, n_before, ids, n);
	}
	free(before);
	if (!st && !same)
		st = ls_fail(err, LS_AGAIN, 0, "%s changed while it was listed, %d times", ls_store_uri(s), LIST_TRIES);
	if (st) {
		free(ids);
		return st;
	}
	*ret = ids;
	*ret_n = n;
	return LS_OK;
}

static ls_status missing(struct ls_store *s, const struct ls_shard *shard, struct ls_err *err)
{
	return ls_fail(err, LS_DATA_BAD, 0, "%s/%s is missing; its manifest names it", ls_store_uri(s), shard->key);
}

static int compare_key(const void *key, const void *object)
{
	return strcmp(key, ((const struct ls_object *)object)->key);
}

ls_status ls_ckpt_sizes(struct ls_store *s, const struct ls_ckpt *c, const struct ls_objects *all, struct ls_err *err)
{
	size_t i;

	for (i = 0; i < c->n_shards; i++) {
		const struct ls_shard *shard = &c->shards[i];
		const struct ls_object *o =
			all->n ? bsearch(shard->key, all->v, all->n, sizeof(*all->v), compare_key) : NULL;

		if (!o)
			return missing(s, shard, err);
		if (o->bytes != shard->bytes)
			return ls_fail(err, LS_DATA_BAD, 0, "%s/%s has %" PRIu64 " bytes, its manifest says %" PRIu64,
				ls_store_uri(s), shard->key, o->bytes, shard->bytes);
	}
	return LS_OK;
}

ls_status ls_ckpt_check(struct ls_store *s, const struct ls_ckpt *c, struct ls_err *err)
{
	char dir[LS_CKPT_DIR_MAX], prefix[LS_CKPT_DIR_MAX + 1];
	struct ls_objects all = { 0 };
	ls_status st;

	ls_ckpt_dir(c->id, dir);
	snprintf(prefix, sizeof(prefix), "%s/", dir);
	st = ls_store_list(s, prefix, &all, err);
	if (!st)
		st = ls_ckpt_sizes(s, c, &all, err);
	ls_objects_release(&all);
	return st;
}

static ls_status verify_shard(struct ls_store *s, const struct ls_shard *shard, void *block, struct ls_err *err)
{
	uint64_t at;
	uint32_t crc = 0, part;
	ls_status st = LS_OK;

	for (at = 0; !st && at < shard->bytes; at += BLOCK) {
		struct iovec iov = { block, shard->bytes - at < BLOCK ? (size_t)(shard->bytes - at) : BLOCK };

		st = ls_store_read(s, shard->key, at, &iov, 1, &part, err);
		if (!st)
			crc = ls_crc32c_combine(crc, part, iov.iov_len);
	}
	if (st == LS_NOT_FOUND)
		return missing(s, shard, err);
	if (!st && crc != shard->crc32c)
		st = ls_fail(err, LS_DATA_BAD, 0, "%s/%s has crc32c %08" PRIx32 ", its manifest says %08" PRIx32,
			ls_store_uri(s), shard->key, crc, shard->crc32c);
	return st;
}

ls_status ls_ckpt_verify(struct ls_store *s, const struct ls_ckpt *c, size_t first, size_t stride, struct ls_err *err)
{
	void *block;
	ls_status st;
	size_t i;

	if (!stride)
		return ls_fail(err, LS_USAGE, 0, "verify every 0th shard: the stride must be 1 or more");
	block = malloc(BLOCK);
	if (!block)
		return ls_fail_oom(err);
	st = ls_ckpt_check(s, c, err);
	for (i = first; !st && i < c->n_shards; i += stride)
		st = verify_shard(s, &c->shards[i], block, err);
	free(block);
	return st;
}

/* *buf holds the first `have` bytes of the shard; afterwards its whole header, of *ret_bytes. */
/* Room for `bytes` in all; what is there stays. */
static ls_status grow(struct ls_str *str, uint64_t bytes, struct ls_err *err)
{
	ls_str_addf(str, "%*s", (int)(bytes - str->len), "");
	return str->oom ? ls_fail_oom(err) : LS_OK;
}

ls_status ls_ckpt_shard_head(struct ls_store *s, const struct ls_shard *shard, struct ls_str *ret, struct ls_err *err)
{
	uint64_t have = shard->bytes < HEAD_GUESS ? shard->bytes : HEAD_GUESS, bytes = 0;
	struct ls_str head = { 0 };
	ls_status st = grow(&head, HEAD_GUESS, err);

	if (!st)
		st = ls_store_get(s, shard->key, 0, head.s, have, err);
	if (st == LS_NOT_FOUND)
		st = missing(s, shard, err);
	else if (!st && (st = ls_st_head_bytes(head.s, shard->bytes, &bytes, err)) == LS_DATA_BAD)
		ls_err_at(err, st, "%s/%s: ", ls_store_uri(s), shard->key);
	if (!st && bytes > have)
		st = grow(&head, bytes, err);
	if (!st && bytes > have)
		st = ls_store_get(s, shard->key, have, head.s + have, bytes - have, err);
	if (st) {
		ls_str_release(&head);
		return st;
	}
	head.len = bytes; /* what was read beyond it is data */
	*ret = head;
	return LS_OK;
}

ls_status ls_ckpt_shard_open(
	struct ls_store *s, const struct ls_shard *shard, struct ls_st *ret, uint32_t *ret_head_crc32c, struct ls_err *err)
{
	struct ls_str head = { 0 };
	ls_status st = ls_ckpt_shard_head(s, shard, &head, err);

	if (st)
		return st;
	st = ls_st_parse(head.s, head.len, shard->bytes, ret, err);
	if (!st)
		*ret_head_crc32c = ls_crc32c(0, head.s, head.len);
	else if (st == LS_DATA_BAD)
		ls_err_at(err, st, "%s/%s: ", ls_store_uri(s), shard->key);
	ls_str_release(&head);
	return st;
}
