/* sigv4.h -- AWS Signature Version 4 for one request, as headers.
 *
 * https://docs.aws.amazon.com/IAM/latest/UserGuide/create-signed-request.html (canonical request, string to sign,
 * signing key); S3's differences: the path is encoded once and not normalised, and x-amz-content-sha256 is always
 * signed.
 *
 * The caller gives raw (unencoded) keys and values; what is sent and what is signed come from one encoder, so that they
 * cannot differ: every byte but A-Z a-z 0-9 - . _ ~ is %XX with capital digits, '/' stays in a path only.
 *
 *   Threads    no shared state.
 *   Secrets    the secret key is only read; derived keys are wiped.
 *   Errors     LS_AGAIN without memory; those of crypto_api.h: no libcrypto. */
#ifndef LS_SIGV4_H
#define LS_SIGV4_H

#include "core/aws_creds.h"
#include "core/status.h"
#include "core/str.h"

#include <sys/uio.h>
#include <time.h>

#define LS_UNSIGNED_PAYLOAD "UNSIGNED-PAYLOAD"

struct ls_sigv4 {
	const char *method; /* "GET" */
	const char *host;   /* "bucket.s3.eu-central-1.amazonaws.com", "127.0.0.1:9000": as the Host header has it */
	const char *path;   /* raw, begins with '/' */
	const struct ls_strv
		*query; /* raw "name=value"; a name without value is "name=" or "name"; any order. NULL: none */
	const struct ls_strv *headers; /* further headers to sign, "Name: value"; NULL: none */
	const char *payload;           /* hex SHA-256 of the body, or LS_UNSIGNED_PAYLOAD */
	const char *service, *region;
	time_t now; /* seconds, with the clock's known skew already added */
};

/* The part of the URL behind the host: "/path?query", encoded, the query sorted; a name without value is sent as
 * "name=". */
ls_status ls_sigv4_target(const struct ls_sigv4 *rq, struct ls_str *ret, struct ls_err *err);
/* Append the headers to send: "x-amz-date: …", "x-amz-content-sha256: …", x-amz-security-token if there is one, and
 * "Authorization: …". Those of rq->headers are the caller's to send. */
ls_status ls_sigv4_sign(
	const struct ls_sigv4 *rq, const struct ls_creds *creds, struct ls_strv *ret, struct ls_err *err);
/* Of the concatenation; for `payload`. Without libcrypto it is "", which ls_sigv4_sign() refuses with the reason. */
void ls_sha256_hex(const struct iovec *iov, int n, char ret[65]);

/* The encoder: how the byte is written. '/' stays as it is if `path`. */
const char *ls_uri_byte(char byte, bool path, char buf[4]);
void ls_uri_add(struct ls_str *str, const char *text, bool path);

#endif
