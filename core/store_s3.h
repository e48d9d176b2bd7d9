/* store_s3.h -- s3://BUCKET/PREFIX: a store in a bucket of S3, or of a server that speaks its protocol. Shared by store_s3*.c and
 * s3_call.c only.
 *
 * Settings: credentials, region, endpoint, CA bundle and addressing as AWS's tools have them (aws_creds.h). A custom endpoint
 * is asked in path style unless addressing_style is virtual; AWS in virtual-host style.
 *     LOCKSTEP_S3_PAYLOAD=signed|unsigned    does the signature cover the bytes? Default: over http yes, over https TLS does
 *     LOCKSTEP_S3_RETRY_SECONDS=60           how long one request is tried again after its first failure
 * A CRC-32C goes with all bytes that are sent, and the server refuses what does not match; what it gives back for whole objects is
 * checked. An object that was put in parts has a checksum over all of it only if the server knows x-amz-checksum-type.
 *
 * Tried again, with full jitter: lost connections, stalls, 408, 429, 5xx, requests that say so (SlowDown, RequestTimeout, a conflict of
 * conditional puts), expired credentials (once, with new ones), a wrong clock (with the server's), damaged bytes (a few times).
 *
 * What stores lack: MinIO lists unfinished uploads of one key, or of all, but not of a prefix: where a prefix has none, sweep looks at the
 * whole bucket's (not on AWS).
 * Conditions that a store does not know it ignores: only_new is as good as the server. */
#ifndef LS_STORE_S3_H
#define LS_STORE_S3_H

#include "core/aws_creds.h"
#include "core/http.h"
#include "core/store_ops.h"

#define LS_S3_ONE_BYTES ((uint64_t)16 << 20) /* up to here: one request, no parts */
#define LS_S3_AT_ONCE 8
#define LS_S3_TOKEN "x-amz-meta-lockstep-put" /* names the put that made an object: after a lost answer, was it ours? */

struct ls_s3 {
	struct ls_store base;
	struct ls_http *http;
	struct ls_creds_source *creds;
	char *bucket, *prefix; /* prefix: "", or with '/' at its end */
	char *origin;          /* "https://HOST" */
	char *host;            /* as the Host header has it */
	char *path;            /* in front of keys: "/", "/BUCKET/" */
	char *region;
	bool is_aws;           /* no endpoint was given */
	bool sign_payload;
	int retry_ms, stall_ms;
	atomic_long skew_s;    /* the server's clock - ours */
};

struct ls_s3_head {
	uint64_t bytes;
	char etag[80], token[33], crc32c[9]; /* crc32c: base64, of the whole object; "": unknown */
};

struct ls_s3_parts { /* pieces of an object that go in requests of their own */
	uint64_t bytes;  /* of each but the last */
	int n;
};
struct ls_s3_parts ls_s3_put_parts(uint64_t total);
struct ls_s3_parts ls_s3_get_parts(uint64_t total);
/* Where an endpoint and a way of addressing lead to: origin, host and path of *s. `endpoint` "": AWS's own for the region. */
ls_status ls_s3_locate(struct ls_s3 *s, const char *endpoint, const char *addressing, struct ls_err *err);

ls_status ls_s3_head(struct ls_s3 *s, const char *key, struct ls_s3_head *ret, struct ls_err *err);
ls_status ls_s3_put(struct ls_store *s, const char *key, const struct iovec *iov, int n, bool only_new,
	uint32_t *ret_crc32c, struct ls_err *err);
ls_status ls_s3_read(struct ls_store *s, const char *key, uint64_t offset, const struct iovec *iov, int n,
	uint32_t *ret_crc32c, struct ls_err *err);
ls_status ls_s3_list(struct ls_store *s, const char *prefix, struct ls_objects *ret, struct ls_err *err);
ls_status ls_s3_remove(struct ls_store *s, const char *const *keys, size_t n, struct ls_err *err);
ls_status ls_s3_sweep(struct ls_store *s, bool (*old)(void *arg, const char *dir), void *arg, bool dry, size_t *ret_n,
	struct ls_err *err);
/* tidy_ms: for so long at most, and also in a cancelled store; 0: as any other call. */
ls_status ls_s3_abort(struct ls_s3 *s, const char *key, const char *id, int tidy_ms, struct ls_err *err);
/* Abort uploads of exactly this key but the one of `id`. */
ls_status ls_s3_abort_others(struct ls_s3 *s, const char *key, const char *id, struct ls_err *err);

#endif
