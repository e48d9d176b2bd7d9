/* http.c -- see http.h.
 *
 * A pool has lanes: the caller's thread drives the first, each helper another. A lane has a multi handle, whose connections outlive
 * a run, and slots: an exchange sits in one from its first try to its end, pauses included.
 *
 *     free --take--> due --start_try--> running --end_try--> free, or due again when judge() says so
 *
 * Invariant: a lane's handles and slots are touched by its own thread only; exchanges are dealt by one atomic counter. */
#include "core/http.h"
#include "core/crc32c.h"
#include "core/curl_api.h"
#include "core/io.h"
#include "core/iov.h"
#include "core/secret.h"
#include "lockstep/lockstep.h"

#include <ctype.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_LANES 4
#define MAX_SLOTS 16
#define TEXT_MAX ((size_t)1 << 20)
#define UPLOAD_BUFFER (512L << 10)
#define DOWNLOAD_BUFFER (256L << 10) /* of 64 to 512 KiB none was better, in CPU or time */
#define KEEPALIVE_S 30L              /* a peer that vanished is noticed by ten unanswered probes: five minutes */

struct slot {
	struct ls_http_exchange *x; /* NULL: free */
	const struct ls_curl_api *curl;
	CURL *easy;
	struct curl_slist *headers;
	bool running;
	int64_t due_ms;             /* of the next try */
	struct ls_iov from, into;
	uint64_t sent, got;
	const char *wrong;          /* why a callback ended the try */
	char why[CURL_ERROR_SIZE];
};

struct lane {
	struct ls_http *h;
	CURLM *multi;
	struct slot slot[MAX_SLOTS];
	int n_slots; /* in this run */
	pthread_t thread;
};

struct ls_http {
	const struct ls_curl_api *curl;
	struct lane lane[MAX_LANES];
	int n_lanes;
	char *ca_bundle, *proxy;
	struct ls_str ca, cert, key; /* as text */
	bool insecure;
	struct curl_slist *connect_to;
	long connect_ms, buffer;
	int stall_ms;
	atomic_bool cancelled;
	struct ls_http_exchange **x; /* of the run that is on */
	int n;
	atomic_int next;
};

/* --- what curl calls ----------------------------------------------------------------------------------------------------- */

static size_t on_read(char *buf, size_t size, size_t n, void *arg)
{
	struct slot *s = arg;
	size_t room = size * n, done = 0;

	if (room > s->x->body_bytes - s->sent)
		room = (size_t)(s->x->body_bytes - s->sent);
	while (done < room) {
		struct iovec piece = ls_iov_next(&s->from, room - done);

		if (!piece.iov_len)
			return CURL_READFUNC_ABORT;
		memcpy(buf + done, piece.iov_base, piece.iov_len);
		done += piece.iov_len;
	}
	s->sent += done;
	return done;
}

/* curl goes back when a kept connection turns out to be dead. */
static int on_seek(void *arg, curl_off_t offset, int whence)
{
	struct slot *s = arg;

	if (whence != SEEK_SET || offset < 0 || (uint64_t)offset > s->x->body_bytes || (s->x->once && s->sent))
		return CURL_SEEKFUNC_FAIL;
	s->from = ls_iov_at(s->x->body, s->x->body_n, s->x->body_at + (uint64_t)offset);
	s->sent = (uint64_t)offset;
	return CURL_SEEKFUNC_OK;
}

static size_t scatter(struct slot *s, const char *bytes, size_t len)
{
	size_t done = 0;

	if (len > s->x->into_bytes - s->got) {
		s->wrong = "the body is longer than what was asked for";
		return 0;
	}
	while (done < len) {
		struct iovec piece = ls_iov_next(&s->into, len - done);

		memcpy(piece.iov_base, bytes + done, piece.iov_len);
		s->x->crc32c = ls_crc32c(s->x->crc32c, piece.iov_base, piece.iov_len);
		done += piece.iov_len;
	}
	s->got += len;
	return len;
}

static size_t stream(struct slot *s, const char *bytes, size_t len)
{
	if (s->x->on_body(s->x, bytes, len))
		return len;
	s->wrong = "its reader ended it";
	return 0;
}

static size_t on_write(char *bytes, size_t size, size_t n, void *arg)
{
	struct slot *s = arg;
	struct ls_http_exchange *x = s->x;
	size_t len = size * n, max = x->text_max ? x->text_max : TEXT_MAX;

	if (x->into_n && x->status / 100 == 2)
		return scatter(s, bytes, len);
	if (x->on_body && x->status / 100 == 2)
		return stream(s, bytes, len);
	if (len > max - x->text.len) {
		s->wrong = "the answer is too long";
		x->too_long = true;
		return 0;
	}
	ls_str_addn(&x->text, bytes, len);
	return x->text.oom ? 0 : len;
}

/* The head is here. From now on the body may be as quiet as its reader allows. */
static bool begin_stream(struct slot *s)
{
	if (s->x->stall_ms)
		s->curl->easy_setopt(s->easy, CURLOPT_LOW_SPEED_TIME, (s->x->stall_ms + 999L) / 1000);
	if (!s->x->on_body(s->x, "", 0))
		s->wrong = "its reader ended it";
	return !s->wrong;
}

/* A status line starts over: what came before it belonged to "100 Continue". */
static size_t on_header(char *line, size_t size, size_t n, void *arg)
{
	struct slot *s = arg;
	struct ls_http_exchange *x = s->x;
	size_t len = size * n, i = 0, name;
	struct ls_str one = { 0 };

	while (len && isspace((unsigned char)line[len - 1]))
		len--;
	if (len > 9 && !memcmp(line, "HTTP/", 5)) {
		ls_strv_release(&x->reply_headers);
		x->status = atoi(line + strcspn(line, " "));
		return size * n;
	}
	if (!len && x->on_body && x->status / 100 == 2 && !begin_stream(s))
		return 0;
	for (; i < len && line[i] != ':'; i++) {
		char lower = (char)tolower((unsigned char)line[i]);

		ls_str_addn(&one, &lower, 1);
	}
	name = i++;
	while (i < len && isspace((unsigned char)line[i]))
		i++;
	if (name && i <= len) {
		ls_str_add(&one, "=");
		ls_str_addn(&one, line + i, len - i);
		x->reply_headers.oom |= one.oom;
		ls_strv_add(&x->reply_headers, ls_str_text(&one));
	}
	ls_str_release(&one);
	return x->reply_headers.oom ? 0 : size * n;
}

/* --- one try -------------------------------------------------------------------------------------------------------------- */

static bool set_headers(const struct ls_curl_api *curl, struct slot *s)
{
	struct curl_slist *longer = curl->slist_append(NULL, "Expect:"); /* an answer that refuses ends the body as well */
	size_t i;

	for (i = 0; longer && i < s->x->headers.n; i++) {
		s->headers = longer;
		longer = curl->slist_append(longer, s->x->headers.v[i]);
	}
	if (longer)
		s->headers = longer;
	return longer;
}

static void set_request(const struct ls_curl_api *curl, struct slot *s, long buffer)
{
	const struct ls_http_exchange *x = s->x;
	bool sends = x->body_n || !strcmp(x->method, "PUT") || !strcmp(x->method, "POST");

	curl->easy_setopt(s->easy, CURLOPT_URL, ls_str_text(&x->url));
	curl->easy_setopt(s->easy, CURLOPT_HTTPHEADER, s->headers);
	if (!strcmp(x->method, "HEAD")) {
		curl->easy_setopt(s->easy, CURLOPT_NOBODY, 1L);
	} else if (sends) {
		curl->easy_setopt(s->easy, CURLOPT_UPLOAD, 1L);
		curl->easy_setopt(s->easy, CURLOPT_INFILESIZE_LARGE, (curl_off_t)x->body_bytes);
		curl->easy_setopt(s->easy, CURLOPT_READFUNCTION, on_read);
		curl->easy_setopt(s->easy, CURLOPT_READDATA, s);
		curl->easy_setopt(s->easy, CURLOPT_SEEKFUNCTION, on_seek);
		curl->easy_setopt(s->easy, CURLOPT_SEEKDATA, s);
		curl->easy_setopt(s->easy, CURLOPT_UPLOAD_BUFFERSIZE, buffer ? buffer : UPLOAD_BUFFER);
	}
	if (strcmp(x->method, "HEAD"))
		curl->easy_setopt(s->easy, CURLOPT_CUSTOMREQUEST, x->method);
}

static void set_blob(const struct ls_http *h, struct slot *s, CURLoption option, const struct ls_str *text)
{
	struct curl_blob blob = { .data = text->s, .len = text->len, .flags = CURL_BLOB_NOCOPY };

	if (text->len)
		h->curl->easy_setopt(s->easy, option, &blob);
}

static void set_trust(const struct ls_http *h, struct slot *s)
{
	const struct ls_curl_api *curl = h->curl;

	if (h->ca_bundle)
		curl->easy_setopt(s->easy, CURLOPT_CAINFO, h->ca_bundle);
	if (h->ca.len)
		curl->easy_setopt(s->easy, CURLOPT_CAPATH, NULL);
	set_blob(h, s, CURLOPT_CAINFO_BLOB, &h->ca);
	set_blob(h, s, CURLOPT_SSLCERT_BLOB, &h->cert);
	set_blob(h, s, CURLOPT_SSLKEY_BLOB, &h->key);
	if (h->insecure) {
		curl->easy_setopt(s->easy, CURLOPT_SSL_VERIFYPEER, 0L);
		curl->easy_setopt(s->easy, CURLOPT_SSL_VERIFYHOST, 0L);
	}
	if (h->connect_to)
		curl->easy_setopt(s->easy, CURLOPT_CONNECT_TO, h->connect_to);
	if (h->proxy)
		curl->easy_setopt(s->easy, CURLOPT_PROXY, h->proxy);
}

static void set_transport(const struct ls_http *h, struct slot *s)
{
	const struct ls_curl_api *curl = h->curl;
	int stall_ms = s->x->stall_ms && !s->x->on_body ? s->x->stall_ms : h->stall_ms;

	curl->easy_setopt(s->easy, CURLOPT_PRIVATE, s);
	curl->easy_setopt(s->easy, CURLOPT_ERRORBUFFER, s->why);
	curl->easy_setopt(s->easy, CURLOPT_NOSIGNAL, 1L);
	curl->easy_setopt(s->easy, CURLOPT_PATH_AS_IS, 1L); /* what was signed is what is sent */
	curl->easy_setopt(s->easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	curl->easy_setopt(s->easy, CURLOPT_USERAGENT, "lockstep/" LOCKSTEP_VERSION);
	curl->easy_setopt(s->easy, CURLOPT_TCP_KEEPALIVE, 1L);
	curl->easy_setopt(s->easy, CURLOPT_TCP_KEEPIDLE, KEEPALIVE_S);
	curl->easy_setopt(s->easy, CURLOPT_TCP_KEEPINTVL, KEEPALIVE_S);
	curl->easy_setopt(s->easy, CURLOPT_BUFFERSIZE, h->buffer ? h->buffer : DOWNLOAD_BUFFER);
	curl->easy_setopt(s->easy, CURLOPT_CONNECTTIMEOUT_MS, h->connect_ms);
	curl->easy_setopt(s->easy, CURLOPT_LOW_SPEED_LIMIT, 1L);
	curl->easy_setopt(s->easy, CURLOPT_LOW_SPEED_TIME, (stall_ms + 999L) / 1000);
	curl->easy_setopt(s->easy, CURLOPT_TIMEOUT_MS, (long)s->x->total_ms);
	curl->easy_setopt(s->easy, CURLOPT_WRITEFUNCTION, on_write);
	curl->easy_setopt(s->easy, CURLOPT_WRITEDATA, s);
	curl->easy_setopt(s->easy, CURLOPT_HEADERFUNCTION, on_header);
	curl->easy_setopt(s->easy, CURLOPT_HEADERDATA, s);
	set_trust(h, s);
}

static void forget_reply(struct ls_http_exchange *x)
{
	x->status = 0;
	x->untrusted = x->cancelled = x->too_long = x->unsent = false;
	x->crc32c = 0;
	x->why[0] = '\0';
	ls_strv_release(&x->reply_headers);
	ls_str_release(&x->text);
}

/* Did the whole answer come? `code` is curl's word. */
static void conclude(const struct ls_http *h, struct slot *s, CURLcode code)
{
	struct ls_http_exchange *x = s->x;
	bool into = x->into_n && x->status / 100 == 2;
	long request = 0; /* bytes of it that went out, on all connections that curl tried */

	if (code == CURLE_OK && !s->wrong && into && s->got != x->into_bytes)
		s->wrong = "the body is shorter than what was asked for";
	if (code == CURLE_OK && !s->wrong && x->status)
		return;
	x->status = 0;
	x->unsent = s->easy && h->curl->easy_getinfo(s->easy, CURLINFO_REQUEST_SIZE, &request) == CURLE_OK && !request;
	x->untrusted = code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_CACERT_BADFILE;
	snprintf(x->why, sizeof(x->why), "%s", s->wrong ? s->wrong : *s->why ? s->why : h->curl->easy_strerror(code));
}

/* The end of a try, and perhaps of its exchange. */
static void end_try(struct lane *l, struct slot *s, CURLcode code)
{
	const struct ls_curl_api *curl = l->h->curl;
	struct ls_http_exchange *x = s->x;
	int again_ms;

	if (s->running)
		curl->multi_remove_handle(l->multi, s->easy);
	curl->slist_free_all(s->headers);
	s->headers = NULL;
	s->running = false;
	conclude(l->h, s, code);
	again_ms = x->judge ? x->judge(x) : -1;
	s->due_ms = ls_clock_ms() + again_ms;
	if (again_ms < 0)
		s->x = NULL;
}

static void cancel_slot(struct lane *l, struct slot *s)
{
	struct ls_http_exchange *x = s->x;

	if (s->running)
		l->h->curl->multi_remove_handle(l->multi, s->easy);
	l->h->curl->slist_free_all(s->headers);
	s->headers = NULL;
	s->running = false;
	s->x = NULL;
	forget_reply(x);
	x->cancelled = true;
	snprintf(x->why, sizeof(x->why), "cancelled");
}

static void start_try(struct lane *l, struct slot *s)
{
	const struct ls_curl_api *curl = l->h->curl;
	struct ls_http_exchange *x = s->x;

	int early_ms = x->hold ? x->hold(x) : 0;

	if (early_ms > 0) {
		s->due_ms = ls_clock_ms() + early_ms;
		return;
	}
	x->tries++;
	x->prepare_status = x->prepare ? x->prepare(x, &x->prepare_err) : LS_OK;
	forget_reply(x);
	if (x->prepare_status) {
		snprintf(x->why, sizeof(x->why), "not sent");
		x->unsent = true;
		s->x = NULL;
		return;
	}
	s->from = ls_iov_at(x->body, x->body_n, x->body_at);
	s->into = ls_iov_at(x->into, x->into_n, x->into_at);
	s->curl = curl;
	s->sent = s->got = 0;
	s->wrong = NULL;
	s->why[0] = '\0';
	if (s->easy)
		curl->easy_reset(s->easy);
	else
		s->easy = curl->easy_init();
	if (x->url.oom || x->headers.oom || !s->easy || !set_headers(curl, s)) {
		end_try(l, s, CURLE_OUT_OF_MEMORY);
		return;
	}
	set_request(curl, s, l->h->buffer);
	set_transport(l->h, s);
	if (curl->multi_add_handle(l->multi, s->easy) == CURLM_OK)
		s->running = true;
	else
		end_try(l, s, CURLE_OUT_OF_MEMORY);
}

/* --- a lane --------------------------------------------------------------------------------------------------------------- */

static struct ls_http_exchange *take(struct ls_http *h)
{
	int i = atomic_load(&h->next) < h->n ? atomic_fetch_add(&h->next, 1) : h->n;

	return i < h->n ? h->x[i] : NULL;
}

/* Fill free slots and start what is due. Returns the ms until the next pause ends, at most a second; -1: all is over. */
static int lane_feed(struct lane *l)
{
	int64_t now = ls_clock_ms(), wait = 1000;
	bool busy = false;
	int i;

	for (i = 0; i < l->n_slots; i++) {
		struct slot *s = &l->slot[i];

		while (!s->running) {
			if (!s->x) {
				s->x = take(l->h);
				s->due_ms = now;
			}
			if (!s->x)
				break;
			if (atomic_load(&l->h->cancelled) && !s->x->insist)
				cancel_slot(l, s);
			else if (s->due_ms <= now)
				start_try(l, s);
			else
				break;
		}
		busy |= s->x != NULL;
		if (s->x && !s->running && s->due_ms - now < wait)
			wait = s->due_ms - now;
	}
	return busy ? (int)wait : -1;
}

/* True when a slot became free or has something to do. */
static bool lane_reap(struct lane *l)
{
	const struct ls_curl_api *curl = l->h->curl;
	bool any = false;
	CURLMsg *msg;
	int left, i;

	while ((msg = curl->multi_info_read(l->multi, &left))) {
		CURLcode code = msg->data.result;
		void *slot = NULL;

		curl->easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, &slot);
		end_try(l, slot, code);
		any = true;
	}
	for (i = 0; atomic_load(&l->h->cancelled) && i < l->n_slots; i++)
		if (l->slot[i].running && !l->slot[i].x->insist) {
			cancel_slot(l, &l->slot[i]);
			any = true;
		}
	return any;
}

static void *lane_drive(void *arg)
{
	struct lane *l = arg;
	int wait_ms, running;

	while ((wait_ms = lane_feed(l)) >= 0) {
		l->h->curl->multi_perform(l->multi, &running);
		if (!lane_reap(l))
			l->h->curl->multi_poll(l->multi, NULL, 0, wait_ms, NULL);
	}
	return NULL;
}

/* --- the pool ------------------------------------------------------------------------------------------------------------- */

static bool copy(char **ret, const char *text)
{
	return !text || !*text || (*ret = strdup(text));
}

static ls_status copy_trust(struct ls_http *h, const struct ls_http_options *opt, struct ls_err *err)
{
	ls_str_add(&h->ca, opt->ca_pem ? opt->ca_pem : "");
	ls_str_add(&h->cert, opt->cert_pem ? opt->cert_pem : "");
	ls_str_add(&h->key, opt->key_pem ? opt->key_pem : "");
	h->insecure = opt->insecure;
	if (opt->connect_to && !(h->connect_to = h->curl->slist_append(NULL, opt->connect_to)))
		return ls_fail_oom(err);
	if (h->ca.oom || h->cert.oom || h->key.oom || !copy(&h->ca_bundle, opt->ca_bundle) || !copy(&h->proxy, opt->proxy))
		return ls_fail_oom(err);
	return LS_OK;
}

ls_status ls_http_open(const struct ls_http_options *opt, struct ls_http **ret, struct ls_err *err)
{
	struct ls_http *h = calloc(1, sizeof(*h));
	ls_status st = h ? ls_curl_load(&h->curl, err) : ls_fail_oom(err);
	int lanes = opt->threads + 1 < MAX_LANES ? opt->threads + 1 : MAX_LANES;

	if (st)
		goto fail;
	h->connect_ms = opt->connect_ms ? opt->connect_ms : 5000;
	h->stall_ms = opt->stall_ms ? opt->stall_ms : 20000;
	h->buffer = opt->buffer;
	st = copy_trust(h, opt, err);
	if (st)
		goto fail;
	for (; h->n_lanes < lanes; h->n_lanes++) {
		struct lane *l = &h->lane[h->n_lanes];

		l->h = h;
		l->multi = h->curl->multi_init();
		if (!l->multi) {
			st = ls_fail_oom(err);
			goto fail;
		}
	}
	*ret = h;
	return LS_OK;
fail:
	ls_http_close(h);
	return st;
}

void ls_http_close(struct ls_http *h)
{
	int i, k;

	if (!h)
		return;
	for (i = 0; i < h->n_lanes; i++) {
		for (k = 0; k < MAX_SLOTS; k++)
			if (h->lane[i].slot[k].easy)
				h->curl->easy_cleanup(h->lane[i].slot[k].easy);
		h->curl->multi_cleanup(h->lane[i].multi);
	}
	if (h->connect_to)
		h->curl->slist_free_all(h->connect_to);
	ls_str_wipe(&h->key);
	ls_str_release(&h->cert);
	ls_str_release(&h->ca);
	free(h->ca_bundle);
	free(h->proxy);
	free(h);
}

ls_status ls_http_run(struct ls_http *h, struct ls_http_exchange **x, int n, int at_once, struct ls_err *err)
{
	int lanes = h->n_lanes < n ? h->n_lanes : n, started = 1, i;

	if (at_once < 1 || at_once > MAX_SLOTS)
		return ls_fail(err, LS_USAGE, 0, "%d exchanges at once: want 1 to %d", at_once, MAX_SLOTS);
	if (lanes > at_once)
		lanes = at_once;
	h->x = x;
	h->n = n;
	atomic_store(&h->next, 0);
	for (i = 0; i < lanes; i++)
		h->lane[i].n_slots = at_once / lanes + (i < at_once % lanes);
	while (started < lanes && !ls_thread_spawn(&h->lane[started].thread, lane_drive, &h->lane[started])) /* without a helper the others do its share */
		started++;
	if (lanes)
		lane_drive(&h->lane[0]);
	for (i = 1; i < started; i++)
		pthread_join(h->lane[i].thread, NULL);
	return LS_OK;
}

static void wake(struct ls_http *h)
{
	int i;

	for (i = 0; i < h->n_lanes; i++)
		h->curl->multi_wakeup(h->lane[i].multi);
}

void ls_http_cancel(struct ls_http *h)
{
	atomic_store(&h->cancelled, true);
	wake(h);
}

void ls_http_uncancel(struct ls_http *h)
{
	atomic_store(&h->cancelled, false);
}

time_t ls_http_date(const char *text)
{
	const struct ls_curl_api *curl;

	return ls_curl_load(&curl, NULL) ? -1 : curl->getdate(text, NULL);
}

void ls_http_release(struct ls_http_exchange *x)
{
	ls_str_release(&x->url);
	ls_strv_release(&x->headers);
	ls_strv_release(&x->reply_headers);
	ls_str_release(&x->text);
}
