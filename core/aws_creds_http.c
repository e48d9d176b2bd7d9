/* aws_creds_http.c -- credentials from services: STS, the container's endpoint, the instance's (IMDSv2).
 *
 * A service that does not answer, or says that it is busy, is LS_AGAIN; one that refuses is LS_USAGE. Of a refusal,
 * STS's code and the first line of its message are quoted, unless they repeat what was sent as a proof. URLs are not: a
 * container's holds a secret. */
#include "core/aws_creds_impl.h"
#include "core/http.h"
#include "core/io.h"
#include "core/sigv4.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define TOKEN_MAX 65536

/* --- one call ----------------------------------------------------------------------------------------------------- */

static bool has_code(const struct ls_http_exchange *x, const char *code)
{
	size_t len = 0;
	const char *at = ls_xml_find(ls_str_text(&x->text), "Code", &len);

	return at && !strncmp(at, code, strlen(code));
}

static bool will_pass(const struct ls_http_exchange *x)
{
	return x->status == 0 || x->status == 429 || x->status >= 500 ||
	       (x->status == 400 && (has_code(x, "Throttling") || has_code(x, "IDPCommunicationError")));
}

static int judge(struct ls_http_exchange *x)
{
	const int *tries = x->arg;

	return will_pass(x) && x->tries < *tries ? 100 << x->tries : -1;
}

/* ": AccessDenied: Not authorized to …", or nothing. */
static void add_refusal(const struct ls_http_exchange *x, const char *proof, struct ls_str *ret)
{
	const char *xml = ls_str_text(&x->text), *code, *message;
	size_t code_len = 0, len = 0, i;

	code = ls_xml_find(xml, "Code", &code_len);
	message = ls_xml_find(xml, "Message", &len);
	if (!code || !message || (proof && *proof && strstr(xml, proof)))
		return;
	ls_str_addf(ret, ": %.*s: ", (int)(code_len < 64 ? code_len : 64), code);
	for (i = 0; i < len && i < 200 && isprint((unsigned char)message[i]); i++)
		ls_str_addn(ret, message + i, 1);
}

/* Run one exchange. `who`: for messages; `proof`: the secret that it sends, or NULL. */
static ls_status call(struct ls_http *h, struct ls_http_exchange *x, int tries, const char *who, const char *proof,
	struct ls_err *err)
{
	struct ls_str refusal = { 0 };
	ls_status st;

	if (x->url.oom || x->headers.oom)
		return ls_fail_oom(err);
	x->judge = judge;
	x->arg = &tries;
	x->total_ms = 10000;
	st = ls_http_run(h, &x, 1, 1, err);
	if (st || x->status / 100 == 2)
		return st;
	if (!x->status)
		return ls_fail(err, LS_AGAIN, 0, "%s does not answer: %s", who, x->why);
	add_refusal(x, proof, &refusal);
	st = ls_fail(
		err, will_pass(x) ? LS_AGAIN : LS_USAGE, 0, "%s answered %d%s", who, x->status, ls_str_text(&refusal));
	ls_str_release(&refusal);
	return st;
}

static void wipe(struct ls_http_exchange *x)
{
	ls_strv_wipe(&x->headers);
	ls_str_wipe(&x->text);
	ls_str_wipe(&x->url);
	ls_http_release(x);
}

static void trim_end(struct ls_secret *s)
{
	while (s->len && isspace((unsigned char)s->s[s->len - 1]))
		s->s[--s->len] = '\0';
}

/* A token file's one line, read anew each time: they are rotated. */
static ls_status read_token(const char *path, struct ls_secret *ret, struct ls_err *err)
{
	ls_status st = ls_secret_file(path, TOKEN_MAX, ret, err);

	if (st)
		return st == LS_NOT_FOUND ? ls_fail(err, LS_USAGE, 0, "%s", err ? err->text : "") : st;
	trim_end(ret);
	if (ret->len && strcspn(ret->s, " \t\r\n") == ret->len)
		return LS_OK;
	ls_secret_free(ret);
	return ls_fail(err, LS_USAGE, 0, "%s holds no token: want one line without blanks", path);
}

/* --- STS ---------------------------------------------------------------------------------------------------------- */

struct sts {
	struct ls_aws_config config;
	struct ls_str endpoint; /* "https://sts.eu-central-1.amazonaws.com" */
	const char *host, *region;
	struct ls_str form;
};

static void sts_release(struct sts *s)
{
	ls_aws_config_release(&s->config);
	ls_str_release(&s->endpoint);
	ls_str_release(&s->form);
}

/* Without a region it is the global service, as for AWS's own tools. */
static ls_status sts_init(struct sts *s, struct ls_err *err)
{
	const char *given = ls_env("AWS_ENDPOINT_URL_STS"), *region;
	ls_status st = ls_aws_config_read(&s->config, err);

	if (st)
		return st;
	region = s->config.region;
	s->region = *region ? region : "us-east-1";
	if (given)
		ls_str_add(&s->endpoint, given);
	else
		ls_str_addf(&s->endpoint, "https://sts%s%s.amazonaws.com%s", *region ? "." : "", region,
			!strncmp(region, "cn-", 3) ? ".cn" : "");
	if (s->endpoint.oom)
		return ls_fail_oom(err);
	if (s->endpoint.s[s->endpoint.len - 1] == '/')
		s->endpoint.s[--s->endpoint.len] = '\0';
	s->host = strstr(s->endpoint.s, "://");
	if (!s->host || strcspn(s->host + 3, "/?#@") != strlen(s->host + 3))
		return ls_fail(err, LS_USAGE, 0, "AWS_ENDPOINT_URL_STS: want https://HOST or https://HOST:PORT");
	s->host += 3;
	return LS_OK;
}

static void add_field(struct ls_str *form, const char *name, const char *value)
{
	if (!value)
		return;
	ls_str_addf(form, "&%s=", name);
	ls_uri_add(form, value, false);
}

static void fill_form(struct sts *s, const char *action, const struct ls_creds_role *role)
{
	ls_str_addf(&s->form, "Action=%s&Version=2011-06-15", action);
	add_field(&s->form, "RoleArn", role->arn);
	add_field(&s->form, "RoleSessionName", role->session_name ? role->session_name : "lockstep");
	add_field(&s->form, "ExternalId", role->external_id);
	add_field(&s->form, "DurationSeconds", role->seconds);
}

/* `more`: headers that prove who we are. */
static ls_status sts_call(struct sts *s, const struct iovec *body, int n, const struct ls_strv *more, const char *proof,
	struct ls_creds_got *ret, struct ls_err *err)
{
	struct ls_http_options opt = { .ca_bundle = s->config.ca_bundle };
	struct ls_http_exchange x = { .method = "POST", .body = body, .body_n = n };
	struct ls_http *h = NULL;
	ls_status st;
	size_t i;

	for (i = 0; i < (size_t)n; i++)
		x.body_bytes += body[i].iov_len;
	ls_str_addf(&x.url, "%s/", s->endpoint.s);
	ls_strv_add(&x.headers, "Content-Type: application/x-www-form-urlencoded");
	for (i = 0; more && i < more->n; i++)
		ls_strv_add(&x.headers, more->v[i]);
	st = ls_http_open(&opt, &h, err);
	if (!st)
		st = call(h, &x, 3, s->endpoint.s, proof, err);
	if (!st && (st = ls_creds_parse_sts(ls_str_text(&x.text), ret, err)))
		ls_err_at(err, st, "%s: ", s->endpoint.s);
	ls_http_close(h);
	wipe(&x);
	return st;
}

/* The token as a form's value, in secret pages. */
static ls_status encode_token(const struct ls_secret *token, struct ls_secret *ret, struct ls_err *err)
{
	ls_status st = ls_secret_new(3 * token->len + 1, ret, err);
	char buf[4];
	size_t i;

	for (i = 0; !st && i < token->len; i++)
		ret->len = (size_t)(stpcpy(ret->s + ret->len, ls_uri_byte(token->s[i], false, buf)) - ret->s);
	return st;
}

ls_status ls_creds_from_web_identity(const struct ls_creds_role *role, struct ls_creds_got *ret, struct ls_err *err)
{
	struct ls_secret token = { 0 }, encoded = { 0 };
	struct sts s = { 0 };
	ls_status st = sts_init(&s, err);

	if (!st)
		st = read_token(role->token_file, &token, err);
	if (!st)
		st = encode_token(&token, &encoded, err);
	if (!st) {
		fill_form(&s, "AssumeRoleWithWebIdentity", role);
		ls_str_add(&s.form, "&WebIdentityToken=");
		st = s.form.oom ? ls_fail_oom(err) : LS_OK;
	}
	if (!st) {
		struct iovec body[] = { { s.form.s, s.form.len }, { encoded.s, encoded.len } };

		st = sts_call(&s, body, 2, NULL, token.s, ret, err);
	}
	if (!st)
		snprintf(ret->whence, sizeof(ret->whence), "role %s by web identity", role->arn);
	ls_secret_free(&token);
	ls_secret_free(&encoded);
	sts_release(&s);
	return st;
}

ls_status ls_creds_from_role(
	const struct ls_creds_role *role, const struct ls_creds *as, struct ls_creds_got *ret, struct ls_err *err)
{
	struct ls_strv headers = { 0 };
	struct sts s = { 0 };
	ls_status st = sts_init(&s, err);

	if (!st) {
		fill_form(&s, "AssumeRole", role);
		st = s.form.oom ? ls_fail_oom(err) : LS_OK;
	}
	if (!st) {
		struct iovec body = { s.form.s, s.form.len };
		struct ls_sigv4 rq = {
			.method = "POST", .host = s.host, .path = "/", .service = "sts", .region = s.region
		};
		char sum[65];

		ls_sha256_hex(&body, 1, sum);
		rq.payload = sum;
		rq.now = time(NULL);
		st = ls_sigv4_sign(&rq, as, &headers, err);
		if (!st)
			st = sts_call(&s, &body, 1, &headers, as->session_token, ret, err);
	}
	if (!st)
		snprintf(ret->whence, sizeof(ret->whence), "role %s", role->arn);
	ls_strv_wipe(&headers);
	sts_release(&s);
	return st;
}

/* --- container ---------------------------------------------------------------------------------------------------- */

/* The host of an http:// or https:// URL, without brackets. A user's name in front of it would hide the true host. */
static bool url_host(const char *url, char *ret, size_t size)
{
	const char *host = strstr(url, "://"), *end;
	size_t len;

	if (!host)
		return false;
	host += 3;
	end = host + strcspn(host, "/?#\\");
	if (memchr(host, '@', (size_t)(end - host)))
		return false;
	len = *host == '[' ? strcspn(++host, "]/") : strcspn(host, ":/?#\\");
	if (!len || len >= size)
		return false;
	snprintf(ret, size, "%.*s", (int)len, host);
	return true;
}

/* What AWS's SDKs send the token to in clear: this machine, and the agents of ECS and EKS. */
static bool host_is_near(const char *host)
{
	struct in_addr v4;
	struct in6_addr v6, eks;

	if (inet_pton(AF_INET, host, &v4) == 1)
		return ntohl(v4.s_addr) >> 24 == 127 || !strcmp(host, "169.254.170.2") ||
		       !strcmp(host, "169.254.170.23");
	inet_pton(AF_INET6, "fd00:ec2::23", &eks);
	if (inet_pton(AF_INET6, host, &v6) == 1)
		return IN6_IS_ADDR_LOOPBACK(&v6) || IN6_ARE_ADDR_EQUAL(&v6, &eks);
	return !strcasecmp(host, "localhost");
}

static ls_status container_url(struct ls_str *ret, char *host, size_t size, struct ls_err *err)
{
	const char *relative = ls_env("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
	const char *full = ls_env("AWS_CONTAINER_CREDENTIALS_FULL_URI");

	if (!relative && !full)
		return LS_NOT_FOUND;
	if (relative && *relative != '/')
		return ls_fail(
			err, LS_USAGE, 0, "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI: want a path that begins with '/'");
	if (relative)
		ls_str_addf(ret, "http://169.254.170.2%s", relative);
	else
		ls_str_add(ret, full);
	if (ret->oom)
		return ls_fail_oom(err);
	if (!url_host(ret->s, host, size) || (strncasecmp(ret->s, "https://", 8) && strncasecmp(ret->s, "http://", 7)))
		return ls_fail(
			err, LS_USAGE, 0, "AWS_CONTAINER_CREDENTIALS_FULL_URI: want http://HOST/… or https://HOST/…");
	if (strncasecmp(ret->s, "https://", 8) && !host_is_near(host))
		return ls_fail(err, LS_USAGE, 0,
			"AWS_CONTAINER_CREDENTIALS_FULL_URI: host %s is not asked without https:// (loopback, "
			"169.254.170.2 and "
			"169.254.170.23 are)",
			host);
	return LS_OK;
}

/* Empty when there is none. */
static ls_status container_token(struct ls_secret *ret, struct ls_err *err)
{
	const char *file = ls_env("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
	const char *token = ls_env("AWS_CONTAINER_AUTHORIZATION_TOKEN");
	ls_status st;

	if (file) {
		st = ls_secret_file(file, TOKEN_MAX, ret, err);
		if (st)
			return ls_fail(
				err, LS_USAGE, 0, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE: %s", err ? err->text : "");
		trim_end(ret);
	} else if (token) {
		st = ls_secret_new(strlen(token) + 1, ret, err);
		if (st)
			return st;
		ret->len = strlen(strcpy(ret->s, token));
	}
	/* "Basic abc" has a blank; a line break would begin another header. */
	if (ret->s && strcspn(ret->s, "\r\n") != ret->len)
		return ls_fail(err, LS_USAGE, 0, "the container's authorization token has more than one line");
	return LS_OK;
}

ls_status ls_creds_from_container(struct ls_creds_got *ret, struct ls_err *err)
{
	struct ls_http_options opt = { .connect_ms = 2000 };
	struct ls_http_exchange x = { .method = "GET" };
	struct ls_secret token = { 0 };
	struct ls_http *h = NULL;
	char host[256], who[300];
	ls_status st = container_url(&x.url, host, sizeof(host), err);

	if (!st)
		st = container_token(&token, err);
	if (!st && token.len)
		ls_strv_addf(&x.headers, "Authorization: %s", token.s);
	if (!st)
		st = ls_http_open(&opt, &h, err);
	if (!st) {
		snprintf(who, sizeof(who), "the container's credential service at %s", host);
		st = call(h, &x, 3, who, token.s, err);
		if (!st && (st = ls_creds_parse_json(ls_str_text(&x.text), x.text.len, ret, err)))
			ls_err_at(err, st, "%s: ", who);
	}
	if (!st)
		snprintf(ret->whence, sizeof(ret->whence), "%s", who);
	ls_http_close(h);
	wipe(&x);
	ls_secret_free(&token);
	return st;
}

/* --- instance ----------------------------------------------------------------------------------------------------- */

/* `header`: "X-aws-ec2-…: value". *ret_text: the answer, in `x`, which is the caller's to wipe. */
static ls_status instance_call(struct ls_http *h, struct ls_http_exchange *x, const char *method, const char *path,
	const char *header, struct ls_err *err)
{
	const char *base = ls_env("AWS_EC2_METADATA_SERVICE_ENDPOINT");
	size_t len;
	char who[300];

	base = base ? base : "http://169.254.169.254";
	len = strlen(base);
	*x = (struct ls_http_exchange){ .method = method };
	ls_str_addf(&x->url, "%.*s%s", (int)(len && base[len - 1] == '/' ? len - 1 : len), base, path);
	ls_strv_add(&x->headers, header);
	snprintf(who, sizeof(who), "the instance's metadata service at %.200s", base);
	return call(h, x, 2, who, NULL, err);
}

/* The answer's first line, of the letters that role names and tokens have: it goes into a URL and a header. */
static ls_status first_line(const struct ls_http_exchange *x, char *ret, size_t size, struct ls_err *err)
{
	const char *text = ls_str_text(&x->text);
	size_t len = strcspn(text, "\r\n"), i;

	for (i = 0; i < len; i++)
		if (!isalnum((unsigned char)text[i]) && !strchr("+=,.@_-/", text[i]))
			break;
	if (!len || i < len || len >= size)
		return ls_fail(
			err, LS_USAGE, 0, "the instance's metadata service answered without a role's name or a token");
	snprintf(ret, size, "%.*s", (int)len, text);
	return LS_OK;
}

static ls_status ask_instance(struct ls_http *h, struct ls_creds_got *ret, struct ls_err *err)
{
	static const char roles[] = "/latest/meta-data/iam/security-credentials/";
	struct ls_http_exchange token = { 0 }, list = { 0 }, answer = { 0 };
	char header[1200] = "", role[200], path[300];
	int name = snprintf(header, sizeof(header), "X-aws-ec2-metadata-token: ");
	ls_status st;

	st = instance_call(h, &token, "PUT", "/latest/api/token", "X-aws-ec2-metadata-token-ttl-seconds: 21600", err);
	if (!st)
		st = first_line(&token, header + name, sizeof(header) - (size_t)name, err);
	if (!st)
		st = instance_call(h, &list, "GET", roles, header, err);
	if (!st)
		st = first_line(&list, role, sizeof(role), err);
	if (!st) {
		snprintf(path, sizeof(path), "%s%s", roles, role);
		st = instance_call(h, &answer, "GET", path, header, err);
	}
	if (!st && (st = ls_creds_parse_json(ls_str_text(&answer.text), answer.text.len, ret, err)))
		ls_err_at(err, st, "the instance's role %s: ", role);
	if (!st)
		snprintf(ret->whence, sizeof(ret->whence), "the instance's role %s", role);
	explicit_bzero(header, sizeof(header));
	wipe(&token);
	wipe(&list);
	wipe(&answer);
	return st;
}

/* Off EC2 nobody answers: one second to connect, two tries. */
ls_status ls_creds_from_instance(struct ls_creds_got *ret, struct ls_err *err)
{
	struct ls_http_options opt = { .connect_ms = 1000, .stall_ms = 2000 };
	const char *disabled = ls_env("AWS_EC2_METADATA_DISABLED");
	struct ls_http *h = NULL;
	ls_status st;

	if (disabled && !strcasecmp(disabled, "true"))
		return LS_NOT_FOUND;
	st = ls_http_open(&opt, &h, err);
	if (!st)
		st = ask_instance(h, ret, err);
	ls_http_close(h);
	return st;
}
