/* http.h -- HTTP exchanges on libcurl, which is loaded when the first pool is opened: programs that use no object store do not
 * pay for its thirty libraries.
 *
 * A pool keeps connections and moves many exchanges at once, each on one of its transfer threads. HTTP/1.1; redirects are not followed,
 * bodies not decompressed; proxies as curl has them from http_proxy, https_proxy and no_proxy.
 *
 *   Ownership  ls_http_open() gives a pool that the caller closes; an exchange's buffers are the caller's, its reply's are freed by
 *              ls_http_release().
 *   Threads    one caller per pool at a time; ls_http_cancel() from anywhere, not from a signal handler.
 *   Errors     ls_http_run() fails only for its own reasons (no libcurl: LS_USAGE with the package's name); what became of each exchange
 *              is in it: `status` 0 means that no whole answer came, and `why` says what did. */
#ifndef LS_HTTP_H
#define LS_HTTP_H

#include "core/status.h"
#include "core/str.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>
#include <time.h>

struct ls_http;

struct ls_http_options {
	int threads;           /* that help the caller's own, at most 3; they live for one ls_http_run() */
	const char *ca_bundle; /* NULL or "": the system's */
	int connect_ms;        /* 0: 5000 */
	int stall_ms;          /* no byte for so long ends a try; 0: 20000 */
	long buffer;           /* bytes for each direction of each exchange that runs; 0: for bulk transfers */
	const char *ca_pem;    /* NULL or "": ca_bundle; else its text, and nobody else is trusted */
	const char *cert_pem, *key_pem; /* the client's certificate and key as text; NULL or "": none */
	bool insecure;         /* any server is believed */
	const char *connect_to; /* NULL: where the URL says; else "::HOST:PORT", so that the URL's host is only the name in TLS */
	const char *proxy;     /* NULL or "": the environment's */
};

struct ls_http_exchange {
	/* the request; set by the caller, or by prepare() before each try */
	const char *method;
	struct ls_str url;
	struct ls_strv headers;      /* "Name: value" */
	const struct iovec *body;    /* sent: bytes [body_at, body_at + body_bytes) of the concatenation of body[0..body_n) */
	int body_n;
	uint64_t body_at, body_bytes;
	/* where a 2xx body goes: bytes [into_at, into_at + into_bytes) of the concatenation of into[0..into_n), exactly; a body of any other
	 * length is no whole answer. into_n 0: collected in `text`, at most text_max bytes. Other statuses' bodies: always in `text`. */
	const struct iovec *into;
	int into_n;
	uint64_t into_at, into_bytes;
	size_t text_max;             /* 0: 1 MiB */
	int total_ms;                /* for one try; 0: no limit but stall_ms */
	int stall_ms;                /* 0: the pool's; with on_body: once the answer's head is here */
	bool insist;                 /* runs in a cancelled pool, too: to tidy up */
	bool once;                   /* a body of which something was sent is not sent again when a kept connection turns out to be dead */
	/* A 2xx body goes there as it comes, in place of `text`; first nothing, when the answer's head is here. False ends the try. */
	bool (*on_body)(struct ls_http_exchange *x, const char *bytes, size_t len);

	/* the answer of the last try */
	int status;
	struct ls_strv reply_headers; /* "name=value", name in lower case */
	struct ls_str text;
	uint32_t crc32c;             /* of what went into `into` */
	char why[256];               /* status 0: "Failed to connect to 127.0.0.1 port 9000 after 0 ms: …" */
	bool untrusted;              /* status 0: the server's certificate is refused, or the CA bundle cannot be read */
	bool cancelled;              /* status 0: by ls_http_cancel() */
	bool too_long;               /* status 0: the answer is longer than text_max */
	bool unsent;                 /* status 0: certainly not a byte of the request went out */
	int tries;

	/* hooks; all NULL: one try as it stands. They run on a transfer thread, one at a time per exchange. */
	ls_status (*prepare)(struct ls_http_exchange *x, struct ls_err *err); /* before each try: sign it */
	int (*hold)(struct ls_http_exchange *x);  /* before prepare(): so many ms too early, asked again then; 0: now */
	int (*judge)(struct ls_http_exchange *x); /* after each try: -1 it is over; else try again in so many ms */
	void *arg;
	ls_status prepare_status;    /* what prepare() failed with; the exchange is over then */
	struct ls_err prepare_err;
};

ls_status ls_http_open(const struct ls_http_options *opt, struct ls_http **ret, struct ls_err *err);
void ls_http_close(struct ls_http *h); /* NULL is fine */
/* Runs all, at most `at_once` at a time, in order of start; returns when all are over. */
ls_status ls_http_run(struct ls_http *h, struct ls_http_exchange **x, int n, int at_once, struct ls_err *err);
void ls_http_cancel(struct ls_http *h);  /* what runs ends soon with status 0, "cancelled"; so does what is started, until … */
void ls_http_uncancel(struct ls_http *h);
time_t ls_http_date(const char *text);   /* of a Date header; -1: is none */
void ls_http_release(struct ls_http_exchange *x); /* frees what the request and the reply own; not buffers */

#endif
