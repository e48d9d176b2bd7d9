/* kube.h -- calls to a Kubernetes API server: JSON over HTTPS, on core/http.
 *
 * Where the server is, and who we are: a kubeconfig (--kubeconfig, $KUBECONFIG, ~/.kube/config; contexts, client certificates, tokens, token files,
 * exec plug-ins of client.authentication.k8s.io/v1), else the Pod's own ServiceAccount. Tokens are read anew before they expire.
 *
 *   Ownership  ls_kube_open() gives a client that the caller closes; a call's request and reply are freed by ls_kube_call_release().
 *   Threads    one thread per client; each has credentials and connections of its own.
 *   Errors     ls_kube_run() fails only for its own reasons. What became of each call is in it: `st` and `err`, the latter with the API server's own
 *              message. LS_OK: 2xx. LS_NOT_FOUND: 404. LS_EXISTS: 409 AlreadyExists. LS_AGAIN: 409 Conflict, 410, 429, 5xx, no connection,
 *              timeouts: nothing is known to be lost, look again. LS_USAGE: other 4xx, a certificate that is not believed, credentials that
 *              cannot be had: a person mends it.
 *   Secrets    never in messages, logs or argv. */
#ifndef LS_KUBE_H
#define LS_KUBE_H

#include "core/status.h"
#include "core/str.h"

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stdint.h>

#define LS_KUBE_GROUP "lockstep.dev"
#define LS_KUBE_API "/apis/lockstep.dev/v1alpha1"

struct ls_kube_options {
	const char *kubeconfig; /* NULL: as above */
	const char *context;    /* NULL: the current one */
	const char *namespace_; /* NULL: the context's, the ServiceAccount's, or "default" */
	double qps;             /* requests a second on the average, and at once after a quiet time; 0: no limit. Watches do not count. */
	int burst;
	int threads;            /* of transfer beside the caller's, at most 3 */
};

struct ls_kube;

ls_status ls_kube_open(const struct ls_kube_options *opt, struct ls_kube **ret, struct ls_err *err);
void ls_kube_close(struct ls_kube *k); /* NULL is fine */
const char *ls_kube_namespace(const struct ls_kube *k);
const char *ls_kube_server(const struct ls_kube *k);    /* "https://10.0.0.1:6443": for messages */
void ls_kube_cancel(struct ls_kube *k); /* from any thread: what runs ends soon with LS_AGAIN; for good */

/* After a burst, on the client's thread: close the kept connections and give their memory back (16 cost 3 MB); the next call connects anew. */
void ls_kube_rest(struct ls_kube *k);

struct ls_kube_call {
	/* the request */
	const char *method;       /* "GET", … */
	struct ls_str path;       /* "/api/v1/namespaces/x/pods?limit=500"; parts that come from users by ls_kube_add_segment() */
	struct ls_str body;       /* "": none */
	const char *content_type; /* NULL: application/json; else application/merge-patch+json, application/apply-patch+yaml, … */
	int timeout_ms;           /* 0: 10 s; -1: none */
	int stall_ms;             /* no byte for so long ends it; 0: 20 s; with on_body: once the answer's head is here */
	/* Asked right before the request is sent, on the caller's thread or a transfer thread: false, and the call ends unsent with LS_AGAIN, "fenced". */
	bool (*may_send)(void *arg);
	/* A 2xx body goes there as it comes, not into `text`: watches, logs that are followed. First nothing, when the answer's head is here.
	 * False ends the call. Such a call is tried once and does not count in the rate. */
	bool (*on_body)(void *arg, const char *bytes, size_t len);
	void *arg;                /* of both */

	/* the reply */
	ls_status st;
	struct ls_err err;        /* "pods \"x\" already exists" */
	int status;               /* HTTP's; 0: no answer came, or it was not sent */
	char reason[64];          /* of a Status object: "AlreadyExists", "Conflict", "Expired"; "TooLong": of ours, a body over 32 MiB; "" */
	bool sent;                /* false: certainly never sent. true and status 0: it may have happened */
	int retry_after_s;        /* of the server; 0: not said */
	struct ls_str text;       /* the body */
};

void ls_kube_call_release(struct ls_kube_call *c); /* leaves it empty and reusable */
/* All calls, at most at_once (1 to 16) at a time, within the rate; returns when all are over. Each is tried once, but for GET, which is tried up to
 * three times when no answer came. */
ls_status ls_kube_run(struct ls_kube *k, struct ls_kube_call **calls, int n, int at_once, struct ls_err *err);
/* One call with the outcome as the function's own. */
ls_status ls_kube_one(struct ls_kube *k, struct ls_kube_call *c, struct ls_err *err);
/* GET and parse; *ret is the caller's to cJSON_Delete(). */
ls_status ls_kube_get(struct ls_kube *k, const char *path, cJSON **ret, struct ls_err *err);
/* Append text as one path segment or query value, percent-encoded. */
void ls_kube_add_segment(struct ls_str *path, const char *text);

/* For /metrics: requests that went out since the start, of all clients of the process, by verb and outcome. */
enum { LS_VERBS = 7, LS_OUTCOMES = 4 };
extern const char *const ls_kube_verbs[LS_VERBS];       /* "GET", …, "WATCH" (whatever streams), "other" */
extern const char *const ls_kube_outcomes[LS_OUTCOMES]; /* "2xx", "4xx", "5xx", "none": no answer */
struct ls_kube_counts { uint64_t requests[LS_VERBS][LS_OUTCOMES], throttled_ms; };
void ls_kube_counts(struct ls_kube_counts *ret);

/* --- watching ----------------------------------------------------------------------------------------------------------------------------
 *
 * A thread of its own keeps a collection in view: list in pages of 500, then watch with bookmarks from there; after a 410 or an unreadable answer
 * list again; after other trouble watch again from the last version known, with back-off (0.5 s doubling to 30 s, or to 5 s while no answer comes;
 * jitter).
 *
 *     LISTING ──last page──> WATCHING ──server ends it, network──> WATCHING again
 *        ^                        └──410, too old──┐
 *        └─────────────────────────────────────────┘
 *
 * on_event runs on that thread; `object` is borrowed for the call. A relist brings LIST_BEGIN, then SET of every object, then LIST_END: what was not SET in
 * between is gone. LIST_BEGIN may come again before LIST_END: that list failed in the middle, and another begins. */
enum ls_watch_event { LS_WATCH_LIST_BEGIN, LS_WATCH_SET, LS_WATCH_GONE, LS_WATCH_LIST_END };

struct ls_kube_watch_options {
	struct ls_kube_options kube;
	const char *path;         /* "/api/v1/pods", or with "?labelSelector=…" */
	void (*on_event)(void *arg, enum ls_watch_event event, const cJSON *object);
	/* Trouble, once per change of words, and "" when it is over; may be NULL. */
	void (*on_trouble)(void *arg, const char *sentence);
	void *arg;
};

struct ls_kube_watch;

ls_status ls_kube_watch_start(const struct ls_kube_watch_options *opt, struct ls_kube_watch **ret, struct ls_err *err);
void ls_kube_watch_stop(struct ls_kube_watch *w); /* ends the thread; at most a second; NULL is fine */
bool ls_kube_watch_fresh(const struct ls_kube_watch *w); /* LIST_END was seen, and the watch is not in trouble for over a minute */

#endif
