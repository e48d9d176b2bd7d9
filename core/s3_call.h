/* s3_call.h -- one request to S3: signed, sent, judged, and tried again as long as store_s3.h says.
 *
 * Fill in a struct, run it, look at st, reply headers (x.reply_headers) and doc, release it:
 *
 *     struct ls_s3_call c = { .s3 = s, .op = "HeadObject", .method = "HEAD", .key = key };
 *     st = ls_s3_call_run(&c, err);
 *
 *   Ownership  ls_s3_call_release() frees query, headers, doc and the exchange's; key and buffers are the caller's.
 *   Errors     LS_OK; LS_NOT_FOUND no such key; LS_EXISTS 412; LS_DATA_BAD too short, or damaged again and again; LS_USAGE refused,
 *              with the remedy; LS_AGAIN all else, `code` saying what where the caller can act on it ("NoSuchUpload"). */
#ifndef LS_S3_CALL_H
#define LS_S3_CALL_H

#include "core/http.h"
#include "core/s3_xml.h"
#include "core/store_s3.h"

struct ls_s3_call {
	struct ls_http_exchange x; /* the caller sets body…, into…, total_ms, insist */
	struct ls_s3 *s3;
	const char *op, *method;
	const char *key;         /* relative to the store; NULL: the bucket itself */
	struct ls_strv query;    /* raw "name=value" */
	struct ls_strv headers;  /* "Name: value" */
	bool checksum;           /* send the body's CRC-32C */
	const char *root;        /* a good answer is XML with this root; NULL: any is */
	/* Is a good answer right? NULL: it is; else why not: then it counts as damaged. */
	const char *(*check)(struct ls_s3_call *c);
	uint64_t range_at;       /* of reads: where in the object they begin */
	uint64_t object_bytes;   /* of reads: the object has at least so many, or is too short */
	int retry_ms;            /* 0: the store's */
	atomic_bool *stop;       /* of a group of calls: set by the first that fails for good; the others do not begin */

	/* outcome */
	ls_status st;
	struct ls_err err;
	char code[48];           /* S3's word; "" for none */
	struct ls_s3_doc doc;
	uint32_t body_crc32c;    /* with `checksum` */
	bool unsure;             /* an earlier try may have been carried out, though no answer said so */

	/* the judge's own */
	bool over, prepared, renew;
	int renewals, clocks, damages;
	int64_t first_failed_ms;
};

ls_status ls_s3_call_run(struct ls_s3_call *c, struct ls_err *err);
ls_status ls_s3_calls_run(struct ls_s3_call *c, int n, struct ls_err *err); /* of one store; the first failure of them all */
void ls_s3_call_release(struct ls_s3_call *c);

void ls_crc32c_base64(uint32_t crc32c, char ret[9]);

/* What an answer means; pure. */
enum ls_s3_verdict {
	LS_S3_DONE,
	LS_S3_AGAIN,    /* it may pass */
	LS_S3_DAMAGED,  /* bytes changed on their way */
	LS_S3_RENEW,    /* credentials expired */
	LS_S3_CLOCK,    /* our clock is wrong */
	LS_S3_MISSING,  /* no such key */
	LS_S3_TAKEN,    /* If-None-Match: there is one */
	LS_S3_SHORT,    /* the object ends before what was asked for */
	LS_S3_OVER,     /* the caller acts on the code */
	LS_S3_REFUSED,  /* a person acts */
};
/* status 0: no whole answer; code "": none; off_s: the answer's date - our time; body: could the answer say more (no HEAD)? */
enum ls_s3_verdict ls_s3_judge(int status, const char *code, long off_s, bool body);
/* Full jitter: the `tries`-th failure waits from 0 to 100 ms * 2^tries, at most 20 s; never less than the server asked for. */
int ls_s3_pause_ms(int tries, int retry_after_s, uint32_t random);

#endif
