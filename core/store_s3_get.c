/* store_s3_get.c -- see store_s3.h: sizes, and reads in ranges straight into the caller's buffers.
 *
 * A small read is one request. A large one asks for the object's size, ETag and checksum first, and for ranges at once then: all must be
 * of that ETag, or somebody replaced the object meanwhile. A read of a whole object is compared with the checksum that the store has. */
#include "core/crc32c.h"
#include "core/iov.h"
#include "core/s3_call.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROUNDS 3 /* for a large object that comes damaged */

static const char *reply(const struct ls_s3_call *c, const char *name)
{
	const char *value = ls_strv_getenv(&c->x.reply_headers, name);

	return value ? value : "";
}

/* The CRC-32C of the whole object in base64, or "". That of a composite is one of its parts' checksums. */
static const char *whole_crc32c(const struct ls_s3_call *c)
{
	const char *crc = reply(c, "x-amz-checksum-crc32c");

	return strlen(crc) == 8 && strcmp(reply(c, "x-amz-checksum-type"), "COMPOSITE") ? crc : "";
}

static const char *check_head(struct ls_s3_call *c)
{
	return *reply(c, "content-length") ? NULL : "an answer without Content-Length";
}

ls_status ls_s3_head(struct ls_s3 *s, const char *key, struct ls_s3_head *ret, struct ls_err *err)
{
	struct ls_s3_call c = { .s3 = s, .op = "HeadObject", .method = "HEAD", .key = key, .check = check_head };
	ls_status st;

	ls_strv_add(&c.headers, "x-amz-checksum-mode: ENABLED");
	st = ls_s3_call_run(&c, err);
	if (!st) {
		memset(ret, 0, sizeof(*ret));
		ret->bytes = strtoull(reply(&c, "content-length"), NULL, 10);
		snprintf(ret->etag, sizeof(ret->etag), "%s", reply(&c, "etag"));
		snprintf(ret->token, sizeof(ret->token), "%s", reply(&c, LS_S3_TOKEN));
		snprintf(ret->crc32c, sizeof(ret->crc32c), "%s", whole_crc32c(&c));
	}
	ls_s3_call_release(&c);
	return st;
}

static ls_status short_object(struct ls_s3 *s, const char *key, uint64_t has, uint64_t wants, struct ls_err *err)
{
	return ls_fail(err, LS_DATA_BAD, 0, "s3://%s/%s%s is cut short: it has %" PRIu64 " bytes, wanted are %" PRIu64, s->bucket,
		s->prefix, key, has, wants);
}

static void plan_range(struct ls_s3_call *c, uint64_t at)
{
	c->range_at = at;
	ls_strv_addf(&c->headers, "Range: bytes=%" PRIu64 "-%" PRIu64, at, at + c->x.into_bytes - 1);
}

/* Only of a whole object: of a range that is one of its parts some stores give the part's checksum. */
static const char *check_one(struct ls_s3_call *c)
{
	const char *theirs = whole_crc32c(c), *total = strchr(reply(c, "content-range"), '/');
	bool whole = c->range_at == 0 && (!total || strtoull(total + 1, NULL, 10) == c->x.into_bytes);
	char ours[9];

	ls_crc32c_base64(c->x.crc32c, ours);
	return whole && *theirs && strcmp(ours, theirs) ? "its CRC-32C is not the one that it was stored with" : NULL;
}

static ls_status read_one(struct ls_s3 *s, const char *key, uint64_t offset, const struct iovec *iov, int n, uint64_t total,
	uint32_t *ret_crc32c, struct ls_err *err)
{
	struct ls_s3_call c = { .s3 = s, .op = "GetObject", .method = "GET", .key = key, .check = check_one };
	ls_status st;

	c.x.into = iov;
	c.x.into_n = n;
	c.x.into_bytes = total;
	c.object_bytes = offset + total;
	plan_range(&c, offset);
	ls_strv_add(&c.headers, "x-amz-checksum-mode: ENABLED");
	st = ls_s3_call_run(&c, err);
	if (!st)
		*ret_crc32c = c.x.crc32c;
	ls_s3_call_release(&c);
	return st;
}

/* Every range once; then they must be of one object. */
static ls_status read_ranges(struct ls_s3_call *c, struct ls_s3_parts parts, const struct ls_s3_head *head,
	uint32_t *ret_crc32c, struct ls_err *err)
{
	ls_status st = ls_s3_calls_run(c, parts.n, err);
	uint32_t crc = 0;
	int i;

	for (i = 0; !st && i < parts.n; i++) {
		crc = ls_crc32c_combine(crc, c[i].x.crc32c, c[i].x.into_bytes);
		if (strcmp(reply(&c[i], "etag"), head->etag))
			st = ls_fail(err, LS_AGAIN, 0, "s3://%s/%s%s was replaced while it was read", c->s3->bucket,
				c->s3->prefix, c->key);
	}
	if (!st)
		*ret_crc32c = crc;
	return st;
}

static ls_status read_round(struct ls_s3 *s, const char *key, uint64_t offset, const struct iovec *iov, int n,
	uint64_t total, const struct ls_s3_head *head, uint32_t *ret_crc32c, struct ls_err *err)
{
	struct ls_s3_parts parts = ls_s3_get_parts(total);
	struct ls_s3_call *c = calloc((size_t)parts.n, sizeof(*c));
	atomic_bool stop = false;
	ls_status st;
	int i;

	if (!c)
		return ls_fail_oom(err);
	for (i = 0; i < parts.n; i++) {
		uint64_t at = (uint64_t)i * parts.bytes;

		c[i] = (struct ls_s3_call){ .s3 = s, .op = "GetObject", .method = "GET", .key = key, .stop = &stop };
		c[i].x.into = iov;
		c[i].x.into_n = n;
		c[i].x.into_at = at;
		c[i].x.into_bytes = total - at < parts.bytes ? total - at : parts.bytes;
		c[i].object_bytes = offset + total;
		plan_range(&c[i], offset + at);
	}
	st = read_ranges(c, parts, head, ret_crc32c, err);
	for (i = 0; i < parts.n; i++)
		ls_s3_call_release(&c[i]);
	free(c);
	return st;
}

static ls_status read_many(struct ls_s3 *s, const char *key, uint64_t offset, const struct iovec *iov, int n, uint64_t total,
	uint32_t *ret_crc32c, struct ls_err *err)
{
	struct ls_s3_head head;
	ls_status st = ls_s3_head(s, key, &head, err);
	uint32_t crc = 0;
	char ours[9];
	int round;

	if (!st && (head.bytes < offset || head.bytes - offset < total))
		return short_object(s, key, head.bytes, offset + total, err);
	for (round = 0; !st && round < ROUNDS; round++) {
		st = read_round(s, key, offset, iov, n, total, &head, &crc, err);
		ls_crc32c_base64(crc, ours);
		if (!st && (offset || total != head.bytes || !*head.crc32c || !strcmp(ours, head.crc32c))) {
			*ret_crc32c = crc;
			return LS_OK;
		}
	}
	return st ? st
		  : ls_fail(err, LS_DATA_BAD, 0, "s3://%s/%s%s: its CRC-32C is not the one that it was stored with, %d times",
			    s->bucket, s->prefix, key, ROUNDS);
}

ls_status ls_s3_read(struct ls_store *base, const char *key, uint64_t offset, const struct iovec *iov, int n,
	uint32_t *ret_crc32c, struct ls_err *err)
{
	struct ls_s3 *s = (struct ls_s3 *)base;
	uint64_t total = ls_iov_bytes(iov, n);
	struct ls_s3_head head;
	ls_status st;

	if (total > UINT64_MAX - offset)
		return ls_fail(err, LS_DATA_BAD, 0, "s3://%s/%s%s has no byte %" PRIu64, s->bucket, s->prefix, key, offset);
	if (total)
		return total <= LS_S3_ONE_BYTES ? read_one(s, key, offset, iov, n, total, ret_crc32c, err)
						: read_many(s, key, offset, iov, n, total, ret_crc32c, err);
	st = ls_s3_head(s, key, &head, err); /* nothing to read; but the object must be there */
	if (!st && head.bytes < offset)
		st = short_object(s, key, head.bytes, offset, err);
	if (!st)
		*ret_crc32c = 0;
	return st;
}
