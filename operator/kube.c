/* kube.c -- calls to an API server; see kube.h.
 *
 * A call becomes an exchange of core/http. Before it goes out: its turn in the rate (hold), then its fence (prepare), on the thread that sends
 * it. Credentials are looked at on the caller's thread before a run, and once more when an answer is 401.
 *
 * Invariant: a request with a body goes out once. curl would repeat it on a fresh connection when a kept one turns out to be dead (`once`). */
#include "core/http.h"
#include "core/io.h"
#include "operator/kube_config.h"
#include "operator/kube_impl.h"

#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TIMEOUT_MS 10000
#define GET_TRIES 3
#define TEXT_MAX ((size_t)32 << 20)
#define BUFFER (16L << 10)
#define TOKEN_MS 60000         /* a token file is read anew: the kubelet writes a new token long before the old one's end */
#define TOKEN_FILE_MAX 65536
#define EXPIRY_MARGIN_S 10

struct ls_kube {
	struct ls_kube_config config;
	struct ls_kube_creds creds; /* the newest */
	bool have_creds;
	int64_t token_ms;           /* when the token file was read */
	struct ls_str base, connect_to;
	int threads;
	pthread_mutex_t lock;       /* http and cancelled for ls_kube_cancel(); bucket */
	struct ls_http *http;
	bool cancelled;
	struct ls_kube_bucket bucket;
};

struct job { /* one call on its way */
	struct ls_kube *k;
	struct ls_kube_call *c;
	struct ls_http_exchange x;
	struct iovec body;
	bool in_turn; /* its token is taken */
};

const char *const ls_kube_verbs[LS_VERBS] = { "GET", "POST", "PUT", "PATCH", "DELETE", "WATCH", "other" };
const char *const ls_kube_outcomes[LS_OUTCOMES] = { "2xx", "4xx", "5xx", "none" };

static atomic_uint_fast64_t count_requests[LS_VERBS][LS_OUTCOMES], count_throttled_ms;

void ls_kube_counts(struct ls_kube_counts *ret)
{
	for (int i = 0; i < LS_VERBS; i++)
		for (int k = 0; k < LS_OUTCOMES; k++)
			ret->requests[i][k] = atomic_load(&count_requests[i][k]);
	ret->throttled_ms = atomic_load(&count_throttled_ms);
}

/* Each try once. */
static void count(const struct ls_kube_call *c, int status)
{
	const char *verb = c->on_body ? "WATCH" : c->method;
	int i = 0, outcome = status / 100 == 4 ? 1 : status / 100 == 5 ? 2 : status ? 0 : 3;

	while (i < LS_VERBS - 1 && strcmp(ls_kube_verbs[i], verb) != 0)
		i++;
	atomic_fetch_add(&count_requests[i][outcome], 1);
}

void ls_kube_add_segment(struct ls_str *path, const char *text)
{
	const char *p;

	for (p = text; *p; p++) {
		if ((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9') || strchr("-._~", *p))
			ls_str_addn(path, p, 1);
		else
			ls_str_addf(path, "%%%02X", (unsigned char)*p);
	}
}

/* --- credentials ------------------------------------------------------------------------------------------------------------------------- */

static ls_status open_pool(struct ls_kube *k, struct ls_err *err)
{
	struct ls_http_options opt = {
		.threads = k->threads,
		.buffer = BUFFER,
		.ca_pem = ls_str_text(&k->config.ca_pem),
		.cert_pem = ls_str_text(&k->creds.cert_pem),
		.key_pem = ls_str_text(&k->creds.key_pem),
		.insecure = k->config.insecure,
		.connect_to = k->connect_to.len ? k->connect_to.s : NULL,
		.proxy = k->config.proxy,
	};
	struct ls_http *http = NULL, *old;
	ls_status st = ls_http_open(&opt, &http, err);

	if (st)
		return st;
	pthread_mutex_lock(&k->lock);
	old = k->http;
	k->http = http;
	if (k->cancelled)
		ls_http_cancel(http);
	pthread_mutex_unlock(&k->lock);
	ls_http_close(old);
	return LS_OK;
}

/* It goes into a header. */
static ls_status check_token(const struct ls_kube *k, const struct ls_str *token, const char *from, struct ls_err *err)
{
	size_t i;

	for (i = 0; i < token->len; i++)
		if (token->s[i] <= ' ' || token->s[i] > '~')
			break;
	if (i == token->len)
		return LS_OK;
	return ls_fail(err, LS_USAGE, 0, "%s: the token of %s has blanks or other characters that no token has", k->config.whence, from);
}

static ls_status read_token_file(struct ls_kube *k, struct ls_err *err)
{
	const char *path = k->config.token_file;
	struct ls_secret text = { 0 };
	struct ls_str token = { 0 };
	ls_status st = ls_secret_file(path, TOKEN_FILE_MAX, &text, err);

	if (st)
		return ls_fail(err, st == LS_NOT_FOUND ? LS_USAGE : st, 0, "%s", err ? err->text : "");
	while (text.len && strchr(" \t\r\n", text.s[text.len - 1]))
		text.len--;
	ls_str_addn(&token, text.s, text.len);
	ls_secret_free(&text);
	st = token.oom ? ls_fail_oom(err) : token.len ? check_token(k, &token, path, err) : ls_fail(err, LS_USAGE, 0, "%s holds no token", path);
	if (st) {
		ls_str_wipe(&token);
		return st;
	}
	ls_str_wipe(&k->creds.token);
	k->creds.token = token;
	k->token_ms = ls_clock_ms();
	return LS_OK;
}

static ls_status ask_plugin(struct ls_kube *k, struct ls_err *err)
{
	struct ls_kube_creds got = { 0 }, old = k->creds;
	ls_status st = ls_kube_exec_run(&k->config, &got, err);

	if (!st)
		st = check_token(k, &got.token, k->config.exec.command, err);
	if (st) {
		ls_kube_creds_release(&got);
		return st;
	}
	if (!got.cert_pem.len && k->config.creds.cert_pem.len) { /* a token beside the file's certificate */
		ls_str_add(&got.cert_pem, k->config.creds.cert_pem.s);
		ls_str_add(&got.key_pem, k->config.creds.key_pem.s);
	}
	k->creds = got;
	if (strcmp(ls_str_text(&old.cert_pem), ls_str_text(&got.cert_pem)) || strcmp(ls_str_text(&old.key_pem), ls_str_text(&got.key_pem)))
		st = open_pool(k, err);
	ls_kube_creds_release(&old);
	return st;
}

static bool can_refresh(const struct ls_kube *k)
{
	return k->config.exec.command || k->config.token_file;
}

/* Credentials that are good now. `force`: those at hand were refused. A token file that cannot be read for once does no harm while there is a
 * token of it. */
static ls_status refresh(struct ls_kube *k, bool force, struct ls_err *err)
{
	ls_status st = LS_OK;

	if (k->config.exec.command) {
		if (force || !k->have_creds || (k->creds.expires && time(NULL) >= k->creds.expires - EXPIRY_MARGIN_S))
			st = ask_plugin(k, err);
	} else if (k->config.token_file) {
		if (force || !k->have_creds || ls_clock_ms() - k->token_ms >= TOKEN_MS)
			st = read_token_file(k, err);
		if (st && k->have_creds && !force)
			st = LS_OK;
	}
	k->have_creds |= !st;
	return st;
}

/* --- the client -------------------------------------------------------------------------------------------------------------------------- */

/* With tls-server-name, the URL has that name and the connection goes where the server is. */
static void set_base(struct ls_kube *k)
{
	const char *server = k->config.server, *host = strstr(server, "://") + 3, *path = host + strcspn(host, "/"), *port = path;
	bool has_port;

	if (!k->config.server_name || strncmp(server, "https:", 6)) {
		ls_str_add(&k->base, server);
		return;
	}
	while (port > host && port[-1] != ':' && port[-1] != ']')
		port--;
	has_port = port > host && port[-1] == ':';
	ls_str_addf(&k->connect_to, "::%.*s%s", (int)(path - host), host, has_port ? "" : ":443");
	ls_str_addf(&k->base, "https://%s:%.*s%s", k->config.server_name, has_port ? (int)(path - port) : 3, has_port ? port : "443", path);
}

ls_status ls_kube_open(const struct ls_kube_options *opt, struct ls_kube **ret, struct ls_err *err)
{
	struct ls_kube *k = calloc(1, sizeof(*k));
	ls_status st;

	if (!k)
		return ls_fail_oom(err);
	pthread_mutex_init(&k->lock, NULL);
	k->threads = opt->threads;
	k->bucket = (struct ls_kube_bucket){ .qps = opt->qps, .burst = opt->burst };
	st = ls_kube_config_load(opt, &k->config, err);
	if (st)
		goto fail;
	set_base(k);
	ls_str_add(&k->creds.token, ls_str_text(&k->config.creds.token));
	ls_str_add(&k->creds.cert_pem, ls_str_text(&k->config.creds.cert_pem));
	ls_str_add(&k->creds.key_pem, ls_str_text(&k->config.creds.key_pem));
	if (k->base.oom || k->connect_to.oom || k->creds.token.oom || k->creds.cert_pem.oom || k->creds.key_pem.oom)
		st = ls_fail_oom(err);
	if (!st)
		st = check_token(k, &k->creds.token, "the user", err);
	if (!st)
		st = open_pool(k, err);
	if (st)
		goto fail;
	*ret = k;
	return LS_OK;
fail:
	ls_kube_close(k);
	return st;
}

void ls_kube_close(struct ls_kube *k)
{
	if (!k)
		return;
	ls_http_close(k->http);
	ls_str_release(&k->base);
	ls_str_release(&k->connect_to);
	ls_kube_creds_release(&k->creds);
	ls_kube_config_release(&k->config);
	pthread_mutex_destroy(&k->lock);
	free(k);
}

const char *ls_kube_namespace(const struct ls_kube *k)
{
	return k->config.namespace_;
}

const char *ls_kube_server(const struct ls_kube *k)
{
	return k->config.server;
}

void ls_kube_rest(struct ls_kube *k)
{
	(void)open_pool(k, NULL); /* no memory for another: the old one stays */
	malloc_trim(0);
}

void ls_kube_cancel(struct ls_kube *k)
{
	pthread_mutex_lock(&k->lock);
	k->cancelled = true;
	ls_http_cancel(k->http);
	pthread_mutex_unlock(&k->lock);
}

/* --- one call ---------------------------------------------------------------------------------------------------------------------------- */

static int hold(struct ls_http_exchange *x)
{
	struct job *j = x->arg;
	int ms = 0;

	if (j->in_turn || j->c->on_body) {
		j->in_turn = false;
		return 0;
	}
	pthread_mutex_lock(&j->k->lock);
	ms = ls_kube_bucket_take(&j->k->bucket, ls_clock_ms());
	pthread_mutex_unlock(&j->k->lock);
	j->in_turn = ms > 0;
	atomic_fetch_add(&count_throttled_ms, (uint64_t)ms);
	return ms;
}

static ls_status prepare(struct ls_http_exchange *x, struct ls_err *err)
{
	struct ls_kube_call *c = ((struct job *)x->arg)->c;

	if (c->may_send && !c->may_send(c->arg))
		return ls_fail(err, LS_AGAIN, 0, "fenced");
	return LS_OK;
}

static int judge(struct ls_http_exchange *x)
{
	const struct ls_kube_call *c = ((struct job *)x->arg)->c;
	bool again;

	count(c, x->status);
	again = !x->status && !x->untrusted && !x->too_long && !x->cancelled && !c->on_body && !strcmp(c->method, "GET");

	return again && x->tries < GET_TRIES ? 200 << x->tries : -1;
}

static bool on_body(struct ls_http_exchange *x, const char *bytes, size_t len)
{
	struct ls_kube_call *c = ((struct job *)x->arg)->c;

	return c->on_body(c->arg, bytes, len);
}

static void forget_reply(struct ls_kube_call *c)
{
	ls_str_release(&c->text);
	c->st = LS_OK;
	c->err = (struct ls_err)LS_ERR_INIT;
	c->status = c->retry_after_s = 0;
	c->reason[0] = '\0';
	c->sent = false;
}

static void set_up(struct ls_kube *k, struct ls_kube_call *c, struct job *j)
{
	struct ls_http_exchange *x = &j->x;
	size_t i;

	*j = (struct job){ .k = k, .c = c, .body = { c->body.s, c->body.len } };
	*x = (struct ls_http_exchange){ .method = c->method, .text_max = TEXT_MAX, .stall_ms = c->stall_ms, .once = true, .arg = j,
		.prepare_err = LS_ERR_INIT, .hold = hold, .prepare = prepare, .judge = judge, .on_body = c->on_body ? on_body : NULL };
	x->total_ms = c->timeout_ms < 0 ? 0 : c->timeout_ms ? c->timeout_ms : TIMEOUT_MS;
	ls_str_addf(&x->url, "%s%s", ls_str_text(&k->base), ls_str_text(&c->path));
	ls_strv_add(&x->headers, "Accept: application/json");
	if (k->creds.token.len)
		ls_strv_addf(&x->headers, "Authorization: Bearer %s", k->creds.token.s);
	for (i = 0; i < k->config.headers.n; i++)
		ls_strv_add(&x->headers, k->config.headers.v[i]);
	if (c->body.len) {
		ls_strv_addf(&x->headers, "Content-Type: %s", c->content_type ? c->content_type : "application/json");
		x->body = &j->body;
		x->body_n = 1;
		x->body_bytes = c->body.len;
	}
	x->url.oom |= c->path.oom || c->body.oom;
}

/* curl says how long it took, which would make the same trouble other words each time. */
static void drop_duration(char *text)
{
	char *at = strstr(text, " after "), *ms = at ? strstr(at, " ms") : NULL;

	if (ms && strspn(at + 7, "0123456789") == (size_t)(ms - at - 7))
		memmove(at, ms + 3, strlen(ms + 3) + 1);
}

static void take_reply(struct job *j)
{
	struct ls_http_exchange *x = &j->x;
	struct ls_kube_call *c = j->c;
	const char *retry = ls_strv_getenv(&x->reply_headers, "retry-after");

	c->status = x->status;
	c->sent = x->tries && !x->unsent;
	c->retry_after_s = retry && x->status ? atoi(retry) : 0; /* ls_kube_judge() has the last word */
	c->text = x->text;
	x->text = (struct ls_str){ 0 };
	drop_duration(x->why);
	if (x->prepare_status) {
		c->st = x->prepare_status;
		c->err = x->prepare_err;
	} else if (x->status) {
		ls_kube_judge(c);
	} else {
		snprintf(c->reason, sizeof(c->reason), "%s", x->too_long ? "TooLong" : "");
		c->st = ls_fail(&c->err, x->untrusted ? LS_USAGE : LS_AGAIN, 0,
			x->cancelled || x->untrusted ? "%s: %s" : "%s does not answer: %s", j->k->config.server, x->why);
	}
}

static ls_status run_once(struct ls_kube *k, struct ls_kube_call **calls, int n, int at_once, struct ls_err *err)
{
	struct job *jobs = calloc((size_t)n, sizeof(*jobs));
	struct ls_http_exchange **x = calloc((size_t)n, sizeof(struct ls_http_exchange *));
	ls_status st = jobs && x ? LS_OK : ls_fail_oom(err);
	int i;

	if (st)
		goto out;
	for (i = 0; i < n; i++) {
		forget_reply(calls[i]);
		set_up(k, calls[i], &jobs[i]);
		x[i] = &jobs[i].x;
	}
	st = ls_http_run(k->http, x, n, at_once, err);
	for (i = 0; i < n; i++) {
		if (!st)
			take_reply(&jobs[i]);
		ls_strv_wipe(&x[i]->headers);
		ls_http_release(x[i]);
	}
out:
	free(x);
	free(jobs);
	return st;
}

/* Those that were answered 401, once more with credentials that are read anew. */
static ls_status run_refused(struct ls_kube *k, struct ls_kube_call **calls, int n, int at_once, struct ls_err *err)
{
	struct ls_kube_call **again = calloc((size_t)n, sizeof(struct ls_kube_call *));
	ls_status st = again ? LS_OK : ls_fail_oom(err);
	int i, m = 0;

	for (i = 0; again && i < n; i++)
		if (calls[i]->status == 401)
			again[m++] = calls[i];
	if (m && !refresh(k, true, NULL)) /* else what the server said stands */
		st = run_once(k, again, m, at_once, err);
	free(again);
	return st;
}

ls_status ls_kube_run(struct ls_kube *k, struct ls_kube_call **calls, int n, int at_once, struct ls_err *err)
{
	struct ls_err creds_err = LS_ERR_INIT;
	ls_status st;
	int i;

	if (n < 1)
		return LS_OK;
	st = refresh(k, false, &creds_err);
	if (st) {
		for (i = 0; i < n; i++) {
			forget_reply(calls[i]);
			calls[i]->st = st;
			calls[i]->err = creds_err;
		}
		st = LS_OK;
	} else {
		st = run_once(k, calls, n, at_once, err);
		if (!st && can_refresh(k))
			st = run_refused(k, calls, n, at_once, err);
	}
	return st;
}

ls_status ls_kube_one(struct ls_kube *k, struct ls_kube_call *c, struct ls_err *err)
{
	ls_status st = ls_kube_run(k, &c, 1, 1, err);

	if (!st && c->st && err)
		*err = c->err;
	return st ? st : c->st;
}

ls_status ls_kube_get(struct ls_kube *k, const char *path, cJSON **ret, struct ls_err *err)
{
	struct ls_kube_call c = { .method = "GET" };
	cJSON *doc;
	ls_status st;

	ls_str_add(&c.path, path);
	st = ls_kube_one(k, &c, err);
	if (!st) {
		doc = cJSON_ParseWithLength(ls_str_text(&c.text), c.text.len);
		if (doc)
			*ret = doc;
		else
			st = ls_fail(err, LS_AGAIN, 0, "%s answered GET %s with what is no JSON", k->config.server, path);
	}
	ls_kube_call_release(&c);
	return st;
}
