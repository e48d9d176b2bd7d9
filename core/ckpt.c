/* ckpt.c -- see ckpt.h. */
#include "core/ckpt.h"
#include "core/ckpt_manifest.h"
#include "core/crc32c.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK (4u << 20) /* bytes read at once while verifying */
#define STEPS "step-"

void ls_ckpt_dir(long long step, char ret[32])
{
	snprintf(ret, 32, STEPS "%012lld", step);
}

void ls_ckpt_shard_key(long long step, int rank, char ret[64])
{
	snprintf(ret, 64, STEPS "%012lld/rank-%05d.safetensors", step, rank);
}

static void manifest_key(long long step, char ret[64])
{
	snprintf(ret, 64, STEPS "%012lld/manifest.json", step);
}

long long ls_ckpt_key_step(const char *key)
{
	const char *digits = key + strlen(STEPS);
	size_t n;

	if (strncmp(key, STEPS, strlen(STEPS)))
		return -1;
	n = strspn(digits, "0123456789");
	return n == 12 && digits[n] == '/' ? strtoll(digits, NULL, 10) : -1;
}

/* What is written must read back: the reader is also the judge of what a caller wants to write. */
static ls_status manifest_text(const struct ls_ckpt *c, struct ls_str *ret, struct ls_err *err)
{
	struct ls_ckpt back = { 0 };
	ls_status st = ls_ckpt_manifest_write(c, ret, err);

	if (st)
		return st;
	if (ret->len > LS_CKPT_MANIFEST_MAX)
		return ls_fail(err, LS_USAGE, 0, "a manifest of %zu bytes is too large: use fewer shards", ret->len);
	st = ls_ckpt_manifest_parse(ls_str_text(ret), ret->len, c->step, &back, err);
	ls_ckpt_release(&back);
	return st == LS_DATA_BAD ? ls_fail(err, LS_USAGE, 0, "%s", err ? err->text : "") : st;
}

ls_status ls_ckpt_publish(struct ls_store *s, const struct ls_ckpt *c, struct ls_err *err)
{
	struct ls_str text = { 0 };
	struct iovec iov;
	char key[64];
	ls_status st = manifest_text(c, &text, err);

	manifest_key(c->step, key);
	if (st == LS_USAGE)
		st = ls_err_at(err, st, "cannot write %s/%s: ", ls_store_uri(s), key);
	if (!st) {
		iov = (struct iovec){ text.s, text.len };
		st = ls_store_put(s, key, &iov, 1, true, NULL, err);
	}
	ls_str_release(&text);
	return st;
}

ls_status ls_ckpt_read(struct ls_store *s, long long step, struct ls_ckpt *ret, struct ls_err *err)
{
	char key[64], *text = NULL;
	uint64_t bytes;
	ls_status st;

	manifest_key(step, key);
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
		st = ls_ckpt_manifest_parse(text, bytes, step, ret, err);
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
	free(c->shards);
	free(c->job);
	ls_strv_release(&c->versions);
	*c = (struct ls_ckpt){ 0 };
}

static int newest_first(const void *a, const void *b)
{
	long long x = *(const long long *)a, y = *(const long long *)b;

	return x < y ? 1 : x > y ? -1 : 0;
}

ls_status ls_ckpt_list(struct ls_store *s, long long **ret, size_t *ret_n, struct ls_err *err)
{
	struct ls_objects keys = { 0 };
	long long *steps = NULL;
	size_t n = 0, i;
	ls_status st = ls_store_list(s, STEPS, &keys, err);

	if (!st) {
		steps = calloc(keys.n + 1, sizeof(*steps));
		if (!steps)
			st = ls_fail_oom(err);
	}
	for (i = 0; !st && i < keys.n; i++) {
		char key[64];

		steps[n] = ls_ckpt_key_step(keys.v[i].key);
		manifest_key(steps[n], key);
		if (steps[n] >= 0 && !strcmp(keys.v[i].key, key))
			n++;
	}
	ls_objects_release(&keys);
	if (st)
		return st;
	qsort(steps, n, sizeof(*steps), newest_first);
	*ret = steps;
	*ret_n = n;
	return LS_OK;
}

static ls_status check_size(struct ls_store *s, const struct ls_shard *shard, struct ls_err *err)
{
	uint64_t bytes;
	ls_status st = ls_store_size(s, shard->key, &bytes, err);

	if (st == LS_NOT_FOUND)
		return ls_fail(
			err, LS_DATA_BAD, 0, "%s/%s is missing; its manifest names it", ls_store_uri(s), shard->key);
	if (!st && bytes != shard->bytes)
		st = ls_fail(err, LS_DATA_BAD, 0, "%s/%s has %" PRIu64 " bytes, its manifest says %" PRIu64,
			ls_store_uri(s), shard->key, bytes, shard->bytes);
	return st;
}

static ls_status verify_shard(struct ls_store *s, const struct ls_shard *shard, void *block, struct ls_err *err)
{
	ls_status st = check_size(s, shard, err);
	uint64_t at, part;
	uint32_t crc = 0;

	for (at = 0; !st && at < shard->bytes; at += part) {
		part = shard->bytes - at < BLOCK ? shard->bytes - at : BLOCK;
		st = ls_store_get(s, shard->key, at, block, part, err);
		if (!st)
			crc = ls_crc32c(crc, block, part);
	}
	if (!st && crc != shard->crc32c)
		st = ls_fail(err, LS_DATA_BAD, 0, "%s/%s has crc32c %08" PRIx32 ", its manifest says %08" PRIx32,
			ls_store_uri(s), shard->key, crc, shard->crc32c);
	return st;
}

ls_status ls_ckpt_verify(struct ls_store *s, const struct ls_ckpt *c, size_t first, size_t stride, struct ls_err *err)
{
	void *block;
	ls_status st = LS_OK;
	size_t i;

	if (!stride)
		return ls_fail(err, LS_USAGE, 0, "verify every 0th shard: the stride must be 1 or more");
	block = malloc(BLOCK);
	if (!block)
		return ls_fail_oom(err);
	for (i = first; !st && i < c->n_shards; i += stride)
		st = verify_shard(s, &c->shards[i], block, err);
	free(block);
	return st;
}

ls_status ls_ckpt_check(struct ls_store *s, const struct ls_ckpt *c, struct ls_err *err)
{
	ls_status st = LS_OK;
	size_t i;

	for (i = 0; !st && i < c->n_shards; i++)
		st = check_size(s, &c->shards[i], err);
	return st;
}

static bool is_shard(const char *key)
{
	static const char suffix[] = ".safetensors";
	size_t len = strlen(key), end = sizeof(suffix) - 1;

	return len > end && !strcmp(key + len - end, suffix);
}

ls_status ls_ckpt_delete(struct ls_store *s, long long step, struct ls_err *err)
{
	struct ls_objects keys = { 0 };
	char dir[32], key[64];
	ls_status st;
	size_t i;

	ls_ckpt_dir(step, dir);
	snprintf(key, sizeof(key), "%s/", dir);
	st = ls_store_list(s, key, &keys, err);
	if (!st) {
		const char *one = key;

		manifest_key(step, key);
		st = ls_store_delete(s, &one, 1, err);
	}
	for (i = 0; !st && i < keys.n; i++)
		if (is_shard(keys.v[i].key))
			st = ls_store_delete(s, (const char *const *)&keys.v[i].key, 1, err);
	ls_objects_release(&keys);
	return st;
}

/* Move the steps that are kept to the front. Damaged ones do not count; any other failure stops the prune, for nothing
 * may be deleted on a guess. */
static ls_status choose_kept(
	struct ls_store *s, long long *steps, size_t n, size_t keep, size_t *ret_kept, struct ls_err *err)
{
	size_t i, kept = 0;

	for (i = 0; i < n && kept < keep; i++) {
		struct ls_ckpt c = { 0 };
		ls_status st = ls_ckpt_read(s, steps[i], &c, err);

		if (!st)
			st = ls_ckpt_check(s, &c, err);
		ls_ckpt_release(&c);
		if (!st)
			steps[kept++] = steps[i];
		else if (st != LS_DATA_BAD && st != LS_NOT_FOUND)
			return st;
	}
	*ret_kept = kept;
	return LS_OK;
}

static bool is_kept(const long long *kept, size_t n, long long step)
{
	size_t i;

	for (i = 0; i < n && kept[i] != step; i++)
		;
	return i < n;
}

/* `kept` is newest first, and not empty. */
static ls_status delete_others(struct ls_store *s, const long long *kept, size_t n, struct ls_err *err)
{
	struct ls_objects keys = { 0 };
	long long step, last = -1;
	char dir[32];
	ls_status st = ls_store_list(s, STEPS, &keys, err);
	size_t i;

	for (i = 0; !st && i < keys.n; i++) {
		step = ls_ckpt_key_step(keys.v[i].key);
		if (step == last || step < 0 || step >= kept[0] || is_kept(kept, n, step))
			continue;
		st = ls_ckpt_delete(s, step, err);
		last = step;
	}
	ls_objects_release(&keys);
	if (st)
		return st;
	ls_ckpt_dir(kept[0], dir);
	return ls_store_sweep(s, STEPS, dir, false, &i, err);
}

ls_status ls_ckpt_prune(struct ls_store *s, int keep, struct ls_err *err)
{
	long long *steps = NULL;
	size_t n, kept = 0;
	ls_status st;

	if (keep < 1)
		return ls_fail(err, LS_USAGE, 0, "keep %d checkpoints: at least 1 must stay", keep);
	st = ls_ckpt_list(s, &steps, &n, err);
	if (st)
		return st;
	st = choose_kept(s, steps, n, (size_t)keep, &kept, err);
	if (!st && kept)
		st = delete_others(s, steps, kept, err);
	free(steps);
	return st;
}
