/* store_s3_put.c -- see store_s3.h: an object up to 16 MiB is one request; a larger one is an upload in parts.
 *
 *     CreateMultipartUpload --> UploadPart, many at once, each tried again alone --> CompleteMultipartUpload: now it is there
 *         any failure --> AbortMultipartUpload;  conflict, or the upload is gone --> begin anew, a few times
 *
 * Each put has a random token among the object's metadata. When an answer was lost and the next try finds the key taken or the
 * upload gone, the token tells whether the object is the one of this put.
 *
 * Not here: taking up the upload of a process that died: its bytes died with it. */
#include "core/crc32c.h"
#include "core/io.h"
#include "core/iov.h"
#include "core/s3_call.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROUNDS 3      /* of an upload in parts */
#define TIDY_MS 5000  /* tidying up must not hold up a failure */

struct put {
	struct ls_s3 *s;
	const char *key;
	const struct iovec *iov;
	int n;
	bool only_new;
	char token[33];
	/* of an upload in parts */
	struct ls_s3_parts parts;
	uint64_t total;
	struct ls_s3_call *part; /* [parts.n] */
	char *id;
	uint32_t crc32c;
};

/* After a lost answer: LS_OK if the object there is of this put; else `st`, which err tells. */
static ls_status settle(const struct put *p, ls_status st, struct ls_err *err)
{
	struct ls_err head_err = LS_ERR_INIT;
	struct ls_s3_head head;
	ls_status st_head = ls_s3_head(p->s, p->key, &head, &head_err);

	if (!st_head && !strcmp(head.token, p->token))
		return LS_OK;
	if (st_head && st_head != LS_NOT_FOUND && err)
		*err = head_err;
	return st_head && st_head != LS_NOT_FOUND ? st_head : st;
}

static void add_condition(const struct put *p, struct ls_s3_call *c)
{
	if (p->only_new)
		ls_strv_add(&c->headers, "If-None-Match: *");
}

static ls_status put_one(struct put *p, struct ls_err *err)
{
	struct ls_s3_call c = { .s3 = p->s, .op = "PutObject", .method = "PUT", .key = p->key, .checksum = true };
	ls_status st;

	c.x.body = p->iov;
	c.x.body_n = p->n;
	c.x.body_bytes = p->total;
	add_condition(p, &c);
	ls_strv_addf(&c.headers, LS_S3_TOKEN ": %s", p->token);
	st = ls_s3_call_run(&c, err);
	if (st == LS_EXISTS && c.unsure)
		st = settle(p, st, err);
	p->crc32c = c.body_crc32c;
	ls_s3_call_release(&c);
	return st;
}

/* --- in parts ------------------------------------------------------------------------------------------------------------ */

static ls_status create(struct put *p, struct ls_err *err)
{
	struct ls_s3_call c = { .s3 = p->s, .op = "CreateMultipartUpload", .method = "POST", .key = p->key,
		.root = "InitiateMultipartUploadResult" };
	ls_status st;

	ls_strv_add(&c.query, "uploads");
	ls_strv_add(&c.headers, "x-amz-checksum-algorithm: CRC32C");
	ls_strv_add(&c.headers, "x-amz-checksum-type: FULL_OBJECT");
	ls_strv_addf(&c.headers, LS_S3_TOKEN ": %s", p->token);
	st = ls_s3_call_run(&c, err);
	if (!st) {
		p->id = c.doc.id;
		c.doc.id = NULL;
	}
	if (!st && !p->id)
		st = ls_fail(err, LS_AGAIN, 0, "CreateMultipartUpload at %s gave no UploadId", p->s->origin);
	/* Creations whose answers were lost left uploads that nobody knows. Best effort: a sweep finds the rest. */
	if (!st && c.unsure)
		ls_s3_abort_others(p->s, p->key, p->id, NULL);
	ls_s3_call_release(&c);
	return st;
}

static void plan_part(struct put *p, int i, atomic_bool *stop)
{
	struct ls_s3_call *c = &p->part[i];
	uint64_t at = (uint64_t)i * p->parts.bytes;

	*c = (struct ls_s3_call){ .s3 = p->s, .op = "UploadPart", .method = "PUT", .key = p->key, .checksum = true, .stop = stop };
	c->x.body = p->iov;
	c->x.body_n = p->n;
	c->x.body_at = at;
	c->x.body_bytes = p->total - at < p->parts.bytes ? p->total - at : p->parts.bytes;
	ls_strv_addf(&c->query, "partNumber=%d", i + 1);
	ls_strv_addf(&c->query, "uploadId=%s", p->id);
}

static ls_status send_parts(struct put *p, struct ls_err *err)
{
	atomic_bool stop = false;
	ls_status st;
	int i;

	for (i = 0; i < p->parts.n; i++)
		plan_part(p, i, &stop);
	st = ls_s3_calls_run(p->part, p->parts.n, err);
	for (p->crc32c = 0, i = 0; !st && i < p->parts.n; i++)
		p->crc32c = ls_crc32c_combine(p->crc32c, p->part[i].body_crc32c, p->part[i].x.body_bytes);
	return st;
}

static void list_parts(const struct put *p, struct ls_str *xml)
{
	char crc[9];
	int i;

	ls_str_add(xml, "<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">");
	for (i = 0; i < p->parts.n; i++) {
		const char *etag = ls_strv_getenv(&p->part[i].x.reply_headers, "etag");

		ls_crc32c_base64(p->part[i].body_crc32c, crc);
		ls_str_addf(xml, "<Part><PartNumber>%d</PartNumber><ETag>", i + 1);
		ls_xml_add(xml, etag ? etag : "");
		ls_str_addf(xml, "</ETag><ChecksumCRC32C>%s</ChecksumCRC32C></Part>", crc);
	}
	ls_str_add(xml, "</CompleteMultipartUpload>");
}

/* *ret_anew: the upload is of no use any more, but another may succeed. A server may be busy for long joining the parts. */
static ls_status complete(struct put *p, bool *ret_anew, struct ls_err *err)
{
	struct ls_s3_call c = { .s3 = p->s, .op = "CompleteMultipartUpload", .method = "POST", .key = p->key,
		.root = "CompleteMultipartUploadResult" };
	struct ls_str xml = { 0 };
	struct iovec body;
	ls_status st;

	list_parts(p, &xml);
	body = (struct iovec){ xml.s, xml.len };
	c.x.body = &body;
	c.x.body_n = 1;
	c.x.body_bytes = xml.len;
	c.x.stall_ms = 3 * p->s->stall_ms;
	add_condition(p, &c);
	ls_strv_addf(&c.query, "uploadId=%s", p->id);
	st = xml.oom ? ls_fail_oom(err) : ls_s3_call_run(&c, err);
	*ret_anew = *c.code && st == LS_AGAIN && !strcmp(c.code, "NoSuchUpload");
	if ((st == LS_EXISTS || *ret_anew) && c.unsure)
		st = settle(p, st, err);
	*ret_anew = st == LS_AGAIN && (*ret_anew || !strcmp(c.code, "InvalidPart") || !strcmp(c.code, "ConditionalRequestConflict"));
	ls_str_release(&xml);
	ls_s3_call_release(&c);
	return st;
}

static ls_status put_round(struct put *p, bool *ret_anew, struct ls_err *err)
{
	ls_status st = create(p, err);
	int i;

	*ret_anew = false;
	if (!st)
		st = send_parts(p, err);
	for (i = 0; st == LS_AGAIN && i < p->parts.n; i++)
		*ret_anew |= !strcmp(p->part[i].code, "NoSuchUpload");
	if (!st)
		st = complete(p, ret_anew, err);
	if (st && p->id)
		ls_s3_abort(p->s, p->key, p->id, TIDY_MS, NULL); /* the cause is told already; what stays a sweep finds */
	for (i = 0; i < p->parts.n; i++)
		ls_s3_call_release(&p->part[i]);
	memset(p->part, 0, (size_t)p->parts.n * sizeof(*p->part));
	free(p->id);
	p->id = NULL;
	return st;
}

static ls_status put_many(struct put *p, struct ls_err *err)
{
	ls_status st = LS_AGAIN;
	bool anew = true;
	int round;

	p->parts = ls_s3_put_parts(p->total);
	p->part = calloc((size_t)p->parts.n, sizeof(*p->part));
	if (!p->part)
		return ls_fail_oom(err);
	for (round = 0; round < ROUNDS && st && anew; round++)
		st = put_round(p, &anew, err);
	free(p->part);
	return st;
}

ls_status ls_s3_abort(struct ls_s3 *s, const char *key, const char *id, int tidy_ms, struct ls_err *err)
{
	struct ls_s3_call c = { .s3 = s, .op = "AbortMultipartUpload", .method = "DELETE", .key = key, .retry_ms = tidy_ms };
	ls_status st;

	c.x.insist = tidy_ms;
	c.x.total_ms = tidy_ms;
	ls_strv_addf(&c.query, "uploadId=%s", id);
	st = ls_s3_call_run(&c, err);
	if (st == LS_AGAIN && !strcmp(c.code, "NoSuchUpload"))
		st = LS_OK;
	ls_s3_call_release(&c);
	return st;
}

ls_status ls_s3_put(struct ls_store *s, const char *key, const struct iovec *iov, int n, bool only_new, uint32_t *ret_crc32c,
	struct ls_err *err)
{
	struct put p = { .s = (struct ls_s3 *)s, .key = key, .iov = iov, .n = n, .only_new = only_new };
	ls_status st = ls_random_hex(p.token, 16, err);

	p.total = ls_iov_bytes(iov, n);
	if (!st)
		st = p.total <= LS_S3_ONE_BYTES ? put_one(&p, err) : put_many(&p, err);
	if (!st)
		*ret_crc32c = p.crc32c;
	return st;
}
