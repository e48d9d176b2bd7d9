/* s3_call.c -- see s3_call.h.
 *
 *     prepare: credentials, checksum, target, signature --> (http.c: one try) --> judge: done, over, or again in some ms
 *
 * Hooks run on transfer threads, those of one call one after the other. What calls share is the store's clock skew and `stop`. */
#include "core/s3_call.h"
#include "core/crc32c.h"
#include "core/io.h"
#include "core/iov.h"
#include "core/sigv4.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define BASE_MS 100
#define CAP_MS 20000
#define FEW 3         /* times that damaged bytes or a wrong clock are tried again */
#define CLOCK_OFF 240 /* seconds; S3 takes 900 */

/* --- what answers mean ------------------------------------------------------------------------------------------------- */

static const struct {
	const char *code;
	enum ls_s3_verdict verdict;
} codes[] = {
	{ "RequestTimeTooSkewed", LS_S3_CLOCK },
	{ "ExpiredToken", LS_S3_RENEW },
	{ "ExpiredTokenException", LS_S3_RENEW },
	{ "InvalidToken", LS_S3_RENEW },
	{ "TokenRefreshRequired", LS_S3_RENEW },
	{ "RequestTimeout", LS_S3_AGAIN },
	{ "SlowDown", LS_S3_AGAIN },
	{ "InternalError", LS_S3_AGAIN },
	{ "ServiceUnavailable", LS_S3_AGAIN },
	{ "OperationAborted", LS_S3_AGAIN },
	{ "BadDigest", LS_S3_DAMAGED },
	{ "XAmzContentSHA256Mismatch", LS_S3_DAMAGED },
	{ "XAmzContentChecksumMismatch", LS_S3_DAMAGED },
	{ "IncompleteBody", LS_S3_DAMAGED },
	{ "NoSuchKey", LS_S3_MISSING },
	{ "NoSuchBucket", LS_S3_REFUSED },
	{ "PreconditionFailed", LS_S3_TAKEN },
	{ "InvalidRange", LS_S3_SHORT },
	{ "ConditionalRequestConflict", LS_S3_OVER },
	{ "NoSuchUpload", LS_S3_OVER },
	{ "InvalidPart", LS_S3_OVER },
};

enum ls_s3_verdict ls_s3_judge(int status, const char *code, long off_s, bool body)
{
	bool refused = status == 400 || status == 401 || status == 403;
	size_t i;

	if (status == 0)
		return LS_S3_AGAIN;
	if (status / 100 == 2 && !*code)
		return LS_S3_DONE;
	for (i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
		if (!strcmp(code, codes[i].code))
			return codes[i].verdict;
	if (refused && (off_s > CLOCK_OFF || off_s < -CLOCK_OFF))
		return LS_S3_CLOCK;
	if (status == 400 && !body) /* this is how HEAD says ExpiredToken */
		return LS_S3_RENEW;
	switch (status) {
	case 404: return *code ? LS_S3_REFUSED : LS_S3_MISSING;
	case 412: return LS_S3_TAKEN;
	case 416: return LS_S3_SHORT;
	case 408:
	case 429: return LS_S3_AGAIN;
	case 501: return LS_S3_REFUSED;
	}
	/* 2xx with an error in it: S3 had begun its answer before it failed. */
	return status >= 500 || status / 100 == 2 ? LS_S3_AGAIN : LS_S3_REFUSED;
}

int ls_s3_pause_ms(int tries, int retry_after_s, uint32_t random)
{
	int most = tries < 8 ? BASE_MS << (tries < 0 ? 0 : tries) : CAP_MS;
	int pause = (int)(random % (uint32_t)((most < CAP_MS ? most : CAP_MS) + 1));
	int least = retry_after_s < 3600 ? retry_after_s * 1000 : 3600 * 1000;

	return pause > least ? pause : least;
}

/* --- before a try -------------------------------------------------------------------------------------------------------- */

void ls_crc32c_base64(uint32_t crc, char ret[9])
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	uint64_t bits = (uint64_t)crc << 4; /* 32 bits in 6 digits of 6 bits */
	int i;

	for (i = 0; i < 6; i++)
		ret[i] = digits[bits >> (30 - 6 * i) & 63];
	memcpy(ret + 6, "==", 3);
}

static uint32_t body_crc32c(const struct ls_http_exchange *x)
{
	struct ls_iov at = ls_iov_at(x->body, x->body_n, x->body_at);
	uint64_t left = x->body_bytes;
	uint32_t crc = 0;

	while (left) {
		struct iovec piece = ls_iov_next(&at, left < SIZE_MAX ? (size_t)left : SIZE_MAX);

		if (!piece.iov_len)
			break;
		crc = ls_crc32c(crc, piece.iov_base, piece.iov_len);
		left -= piece.iov_len;
	}
	return crc;
}

/* The SHA-256 of the part of the body that is sent. */
static ls_status body_sha256(const struct ls_http_exchange *x, char ret[65], struct ls_err *err)
{
	struct ls_iov at = ls_iov_at(x->body, x->body_n, x->body_at);
	struct iovec *pieces = calloc((size_t)at.n + 1, sizeof(*pieces));
	uint64_t left = x->body_bytes;
	int n = 0;

	if (!pieces)
		return ls_fail_oom(err);
	while (left && n <= x->body_n) {
		pieces[n] = ls_iov_next(&at, left < SIZE_MAX ? (size_t)left : SIZE_MAX);
		left -= pieces[n++].iov_len;
	}
	ls_sha256_hex(pieces, n, ret);
	free(pieces);
	return LS_OK;
}

/* The headers that are signed, those of the call and of its body. */
static void add_own_headers(struct ls_s3_call *c, struct ls_strv *list)
{
	char crc[9];
	size_t i;

	for (i = 0; i < c->headers.n; i++)
		ls_strv_add(list, c->headers.v[i]);
	if (c->checksum) {
		ls_crc32c_base64(c->body_crc32c, crc);
		ls_strv_addf(list, "x-amz-checksum-crc32c: %s", crc);
		ls_strv_add(list, "x-amz-sdk-checksum-algorithm: CRC32C");
	}
	list->oom |= c->headers.oom | c->query.oom;
}

static ls_status sign(struct ls_s3_call *c, const struct ls_creds *creds, struct ls_err *err)
{
	struct ls_s3 *s = c->s3;
	struct ls_http_exchange *x = &c->x;
	struct ls_str path = { 0 };
	char payload[65] = LS_UNSIGNED_PAYLOAD;
	struct ls_sigv4 rq = { c->method, s->host, NULL, &c->query, &x->headers, payload, "s3", s->region,
		time(NULL) + atomic_load(&s->skew_s) };
	ls_status st = LS_OK;

	ls_str_addf(&path, "%s%s%s", s->path, c->key ? s->prefix : "", c->key ? c->key : "");
	ls_str_release(&x->url);
	ls_strv_release(&x->headers);
	add_own_headers(c, &x->headers);
	ls_str_add(&x->url, s->origin);
	rq.path = ls_str_text(&path);
	if (path.oom || x->headers.oom)
		st = ls_fail_oom(err);
	if (!st && s->sign_payload)
		st = body_sha256(x, payload, err);
	if (!st)
		st = ls_sigv4_target(&rq, &x->url, err);
	if (!st)
		st = ls_sigv4_sign(&rq, creds, &x->headers, err);
	ls_strv_addf(&x->headers, "Host: %s", s->host); /* as signed; curl would leave out a default port */
	ls_str_release(&path);
	return st;
}

static ls_status prepare(struct ls_http_exchange *x, struct ls_err *err)
{
	struct ls_s3_call *c = x->arg;
	struct ls_creds creds;
	ls_status st;

	if (c->stop && atomic_load(c->stop))
		return ls_fail(err, LS_AGAIN, ECANCELED, "another part failed");
	if (c->checksum && !c->prepared)
		c->body_crc32c = body_crc32c(x);
	c->prepared = true;
	st = ls_creds_get(c->s3->creds, c->renew, &creds, err);
	c->renew = false;
	if (!st)
		st = sign(c, &creds, err);
	ls_creds_wipe(&creds);
	if (st && c->stop)
		atomic_store(c->stop, true);
	return st;
}

/* --- after a try --------------------------------------------------------------------------------------------------------- */

static const char *reply(const struct ls_s3_call *c, const char *name)
{
	const char *value = ls_strv_getenv(&c->x.reply_headers, name);

	return value ? value : "";
}

static int give_up(struct ls_s3_call *c, ls_status st)
{
	c->st = st;
	c->over = true;
	if (st && c->stop)
		atomic_store(c->stop, true);
	ls_str_release(&c->x.url);
	ls_strv_release(&c->x.headers);
	return -1;
}

/* "PutObject of s3://b/p/key at http://127.0.0.1:9000" */
static int fail_call(struct ls_s3_call *c, ls_status st, const char *cause, const char *remedy)
{
	const struct ls_s3 *s = c->s3;

	ls_fail(&c->err, st, 0, "%s of s3://%s/%s%s at %s: %s%s", c->op, s->bucket, c->key ? s->prefix : "",
		c->key ? c->key : "", s->origin, cause, remedy);
	return give_up(c, st);
}

static int pause_or_fail(struct ls_s3_call *c, const char *cause)
{
	int64_t now = ls_clock_ms();
	uint32_t random = 0;
	int pause_ms, retry_ms = c->retry_ms ? c->retry_ms : c->s3->retry_ms;
	char text[480];

	if (!c->first_failed_ms)
		c->first_failed_ms = now;
	if (getrandom(&random, sizeof(random), GRND_NONBLOCK) < 0)
		random = (uint32_t)now;
	pause_ms = ls_s3_pause_ms(c->x.tries, atoi(reply(c, "retry-after")), random);
	if (now + pause_ms - c->first_failed_ms <= retry_ms)
		return pause_ms;
	snprintf(text, sizeof(text), "%d tries in %.1f s, the last: %s", c->x.tries,
		(double)(now - c->first_failed_ms) / 1e3, cause);
	return fail_call(c, LS_AGAIN, text, "");
}

static const char *remedy(const struct ls_s3_call *c)
{
	static const struct {
		const char *code, *text;
	} remedies[] = {
		{ "NoSuchBucket", " (make the bucket, or mend the URI)" },
		{ "AccessDenied", " (these credentials lack the permission)" },
		{ "SignatureDoesNotMatch", " (the secret key does not belong to the access key, or a proxy changes requests)" },
		{ "InvalidAccessKeyId", " (this endpoint does not know the access key)" },
		{ "NotImplemented", " (this server lacks it)" },
	};
	size_t i;

	for (i = 0; i < sizeof(remedies) / sizeof(remedies[0]); i++)
		if (!strcmp(c->code, remedies[i].code))
			return remedies[i].text;
	return c->x.status == 403 ? remedies[1].text : "";
}

static int refuse(struct ls_s3_call *c, const char *cause)
{
	const char *region = *reply(c, "x-amz-bucket-region") ? reply(c, "x-amz-bucket-region") :
			     c->doc.region                    ? c->doc.region :
								"";
	char text[480];

	if (*region && strcmp(region, c->s3->region)) {
		snprintf(text, sizeof(text), " (the bucket is in region %s, asked was %s: set AWS_REGION=%s)", region,
			c->s3->region, region);
		return fail_call(c, LS_USAGE, cause, text);
	}
	snprintf(text, sizeof(text), "%s; credentials from %s", cause, ls_creds_whence(c->s3->creds));
	return fail_call(c, LS_USAGE, text, remedy(c));
}

/* The server's clock - ours; what is known already when it does not say. */
static long clock_skew(const struct ls_s3_call *c)
{
	const char *date = reply(c, "date");
	time_t theirs = *date ? ls_http_date(date) : -1;

	return theirs == -1 ? atomic_load(&c->s3->skew_s) : (long)(theirs - time(NULL));
}

/* "bytes 0-9/100": is the object shorter than what is read? */
static bool is_short(const struct ls_s3_call *c)
{
	const char *total = strchr(reply(c, "content-range"), '/');

	return total && c->object_bytes && strtoull(total + 1, NULL, 10) < c->object_bytes;
}

/* Read the answer: `code`, `doc`, and a cause in words. A good one of the wrong kind counts as none: status 0. */
static int read_answer(struct ls_s3_call *c, char *cause, size_t size)
{
	const struct ls_http_exchange *x = &c->x;
	const char *wrong = NULL;
	int status = x->status;

	c->code[0] = '\0';
	ls_s3_doc_release(&c->doc);
	if (status && x->text.len && (c->root || status / 100 != 2))
		ls_s3_doc_read(&x->text, &c->doc, NULL);
	if (!strcmp(c->doc.root, "Error"))
		snprintf(c->code, sizeof(c->code), "%s", c->doc.code && *c->doc.code ? c->doc.code : "Error");
	else if (status / 100 == 2 && c->root && strcmp(c->doc.root, c->root))
		wrong = "an answer that is not S3's";
	else if (status == 200 && c->range_at)
		wrong = "the server ignores ranges";
	if (wrong)
		snprintf(cause, size, "%s", wrong);
	else if (!status)
		snprintf(cause, size, "%s", x->why);
	else
		snprintf(cause, size, "HTTP status %d %s%s%.200s", status, c->code, c->doc.message ? ": " : "",
			c->doc.message ? c->doc.message : "");
	return wrong ? 0 : status;
}

static int judge(struct ls_http_exchange *x)
{
	struct ls_s3_call *c = x->arg;
	char cause[480];
	int status = read_answer(c, cause, sizeof(cause));
	long skew_s = clock_skew(c);
	enum ls_s3_verdict verdict =
		ls_s3_judge(status, c->code, skew_s - atomic_load(&c->s3->skew_s), strcmp(c->method, "HEAD"));
	const char *damage = verdict == LS_S3_DONE && c->check ? c->check(c) : NULL;

	if (damage) {
		snprintf(cause, sizeof(cause), "%s", damage);
		verdict = LS_S3_DAMAGED;
	}
	if (!x->status && is_short(c))
		verdict = LS_S3_SHORT;
	if (verdict == LS_S3_OVER && !strcmp(c->op, "PutObject")) /* a conflict; only an upload in parts must begin anew */
		verdict = LS_S3_AGAIN;
	switch (verdict) {
	case LS_S3_DONE:
		return give_up(c, LS_OK);
	case LS_S3_AGAIN:
		if (x->untrusted)
			return fail_call(c, LS_USAGE, cause, " (set AWS_CA_BUNDLE to the authority that signed for this server)");
		c->unsure = true;
		return pause_or_fail(c, cause);
	case LS_S3_DAMAGED:
		return ++c->damages <= FEW ? pause_or_fail(c, cause)
					   : fail_call(c, LS_DATA_BAD, cause, ", again and again");
	case LS_S3_RENEW:
		c->renew = true;
		return c->renewals++ ? refuse(c, cause) : 0;
	case LS_S3_CLOCK:
		atomic_store(&c->s3->skew_s, skew_s);
		return ++c->clocks <= FEW ? 0 : fail_call(c, LS_USAGE, cause, " (set this host's clock)");
	case LS_S3_MISSING:
		return fail_call(c, LS_NOT_FOUND, "there is no such object", "");
	case LS_S3_TAKEN:
		return fail_call(c, LS_EXISTS, "it is already there", "");
	case LS_S3_SHORT:
		return fail_call(c, LS_DATA_BAD, "the object is cut short: it ends before what is read", "");
	case LS_S3_OVER:
		return fail_call(c, LS_AGAIN, cause, "");
	case LS_S3_REFUSED:
		break;
	}
	return refuse(c, cause);
}

/* --- running ------------------------------------------------------------------------------------------------------------- */

static void arm(struct ls_s3_call *c)
{
	c->x.method = c->method;
	c->x.arg = c;
	c->x.prepare = prepare;
	c->x.judge = judge;
	c->x.prepare_err = (struct ls_err)LS_ERR_INIT;
	c->err = (struct ls_err)LS_ERR_INIT;
	c->over = c->prepared = false;
}

/* What http.c ended without asking the judge. */
static void settle(struct ls_s3_call *c)
{
	if (c->over)
		return;
	if (c->x.prepare_status) {
		c->st = c->x.prepare_status;
		c->err = c->x.prepare_err;
	} else {
		fail_call(c, LS_AGAIN, "cancelled", "");
		c->err.sys = ECANCELED;
	}
}

ls_status ls_s3_calls_run(struct ls_s3_call *c, int n, struct ls_err *err)
{
	struct ls_http_exchange **x = calloc((size_t)n, sizeof(*x));
	const struct ls_s3_call *failed = NULL;
	ls_status st = LS_OK;
	int i;

	if (!x)
		return ls_fail_oom(err);
	for (i = 0; i < n; i++) {
		arm(&c[i]);
		x[i] = &c[i].x;
	}
	st = ls_http_run(c->s3->http, x, n, LS_S3_AT_ONCE, err);
	free(x);
	for (i = 0; !st && i < n; i++) {
		settle(&c[i]);
		/* The cause is a call that failed by itself, not one that stopped for it. */
		if (c[i].st && (!failed || (failed->err.sys == ECANCELED && c[i].err.sys != ECANCELED)))
			failed = &c[i];
	}
	if (failed && err)
		*err = failed->err;
	return failed ? failed->st : st;
}

ls_status ls_s3_call_run(struct ls_s3_call *c, struct ls_err *err)
{
	return ls_s3_calls_run(c, 1, err);
}

void ls_s3_call_release(struct ls_s3_call *c)
{
	ls_strv_release(&c->query);
	ls_strv_release(&c->headers);
	ls_s3_doc_release(&c->doc);
	ls_http_release(&c->x);
}
