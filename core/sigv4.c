/* sigv4.c -- see sigv4.h.
 *
 * The signing key is derived for each request: four HMACs take a few microseconds, and a kept key would be one more
 * secret. The canonical request holds the session token, as the caller's header does; both are useless without the
 * secret key. */
#include "core/sigv4.h"
#include "core/crypto_api.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define ALGORITHM "AWS4-HMAC-SHA256"

static void hex(const unsigned char bytes[LS_SHA256_BYTES], char ret[65])
{
	int i;

	for (i = 0; i < LS_SHA256_BYTES; i++)
		sprintf(ret + 2 * i, "%02x", bytes[i]);
}

void ls_sha256_hex(const struct iovec *iov, int n, char ret[65])
{
	unsigned char sum[LS_SHA256_BYTES];

	ret[0] = '\0';
	if (!ls_crypto_sha256(iov, n, sum, NULL))
		hex(sum, ret);
}

/* --- target ------------------------------------------------------------------------------------------------------- */

const char *ls_uri_byte(char byte, bool path, char buf[4])
{
	static const char digits[] = "0123456789ABCDEF";
	/* Not isalnum(): a locale has letters beyond ASCII. */
	bool plain = (byte >= 'A' && byte <= 'Z') || (byte >= 'a' && byte <= 'z') || (byte >= '0' && byte <= '9') ||
		     (byte && strchr("-._~", byte)) || (path && byte == '/');

	buf[0] = plain ? byte : '%';
	buf[1] = plain ? '\0' : digits[(unsigned char)byte >> 4];
	buf[2] = digits[byte & 15];
	buf[3] = '\0';
	return buf;
}

static void add_encoded(struct ls_str *str, const char *text, size_t len, bool path)
{
	char buf[4];

	for (; len; len--)
		ls_str_add(str, ls_uri_byte(*text++, path, buf));
}

void ls_uri_add(struct ls_str *str, const char *text, bool path)
{
	add_encoded(str, text, strlen(text), path);
}

/* By name, then by value: '=' comes before every byte that an encoded name can have. ("a=" < "a-b=", which strcmp()
 * denies.) */
static int by_name(const void *a, const void *b)
{
	const char *x = *(char *const *)a, *y = *(char *const *)b;

	while (*x && *x == *y)
		x++, y++;
	return (*x == '=' ? 1 : *x) - (*y == '=' ? 1 : *y);
}

static void add_query(struct ls_str *str, const struct ls_strv *query)
{
	struct ls_strv sorted = { 0 };
	size_t i;

	for (i = 0; i < query->n; i++) {
		const char *raw = query->v[i], *value = strchrnul(raw, '=');
		struct ls_str one = { 0 };

		add_encoded(&one, raw, (size_t)(value - raw), false);
		ls_str_add(&one, "=");
		ls_uri_add(&one, *value ? value + 1 : "", false);
		str->oom |= one.oom;
		ls_strv_add(&sorted, ls_str_text(&one));
		ls_str_release(&one);
	}
	str->oom |= sorted.oom;
	if (sorted.n)
		qsort(sorted.v, sorted.n, sizeof(*sorted.v), by_name);
	for (i = 0; i < sorted.n; i++)
		ls_str_addf(str, "%s%s", i ? "&" : "", sorted.v[i]);
	ls_strv_release(&sorted);
}

ls_status ls_sigv4_target(const struct ls_sigv4 *rq, struct ls_str *ret, struct ls_err *err)
{
	struct ls_str target = { 0 };

	ls_uri_add(&target, rq->path, true);
	if (rq->query && rq->query->n) {
		ls_str_add(&target, "?");
		add_query(&target, rq->query);
	}
	ls_str_add(ret, ls_str_text(&target));
	ret->oom |= target.oom;
	ls_str_release(&target);
	return ret->oom ? ls_fail_oom(err) : LS_OK;
}

/* --- headers ------------------------------------------------------------------------------------------------------ */

/* "name:value" with the name in lower case and the value's blanks trimmed and collapsed. `header` is "Name: value". */
static void add_header(struct ls_strv *list, const char *header)
{
	const char *p = strchrnul(header, ':');
	struct ls_str one = { 0 };
	bool gap = false;

	for (; header < p; header++) {
		char lower = (char)tolower((unsigned char)*header);

		ls_str_addn(&one, &lower, 1);
	}
	ls_str_add(&one, ":");
	for (p += *p == ':', p += strspn(p, " \t"); *p; p++) {
		if (*p == ' ' || *p == '\t') {
			gap = true;
			continue;
		}
		ls_str_add(&one, gap ? " " : "");
		ls_str_addn(&one, p, 1);
		gap = false;
	}
	list->oom |= one.oom;
	ls_strv_add(list, ls_str_text(&one));
	ls_str_release(&one);
}

static bool same_name(const char *a, const char *b)
{
	size_t len = strcspn(a, ":");

	return len == strcspn(b, ":") && !memcmp(a, b, len);
}

/* By name; those of one name stay in the order in which they are sent. They are few. */
static void sort_headers(struct ls_strv *list)
{
	size_t i, k;

	for (i = 1; i < list->n; i++) {
		char *one = list->v[i];

		for (k = i; k > 0; k--) {
			const char *before = list->v[k - 1];
			size_t a = strcspn(before, ":"), b = strcspn(one, ":");
			int order = memcmp(before, one, a < b ? a : b);

			if (order < 0 || (order == 0 && a <= b))
				break;
			list->v[k] = list->v[k - 1];
		}
		list->v[k] = one;
	}
}

static void collect_headers(const struct ls_sigv4 *rq, const struct ls_creds *creds, const char *date,
	struct ls_strv *sent, struct ls_strv *all)
{
	struct ls_strv host = { 0 };
	size_t i;

	ls_strv_addf(sent, "x-amz-date: %s", date);
	ls_strv_addf(sent, "x-amz-content-sha256: %s", rq->payload);
	if (*creds->session_token)
		ls_strv_addf(sent, "x-amz-security-token: %s", creds->session_token);
	ls_strv_addf(&host, "host: %s", rq->host);
	all->oom |= sent->oom | host.oom;
	if (!all->oom)
		add_header(all, host.v[0]);
	for (i = 0; !all->oom && i < sent->n; i++)
		add_header(all, sent->v[i]);
	for (i = 0; rq->headers && i < rq->headers->n; i++)
		add_header(all, rq->headers->v[i]);
	sort_headers(all);
	ls_strv_release(&host);
}

/* What is signed of the request; `ret_names`: "host;x-amz-date". */
static void add_canonical(
	struct ls_str *str, const struct ls_sigv4 *rq, const struct ls_strv *headers, struct ls_str *ret_names)
{
	size_t i;

	ls_str_addf(str, "%s\n", rq->method);
	ls_uri_add(str, rq->path, true);
	ls_str_add(str, "\n");
	if (rq->query)
		add_query(str, rq->query);
	for (i = 0; i < headers->n; i++) {
		const char *one = headers->v[i], *value = strchr(one, ':') + 1;

		if (i && same_name(headers->v[i - 1], one)) {
			ls_str_addf(str, ",%s", value);
			continue;
		}
		ls_str_addf(str, "\n%s", one);
		ls_str_addf(ret_names, "%s%.*s", i ? ";" : "", (int)(value - one) - 1, one);
	}
	ls_str_addf(str, "\n\n%s\n%s", ls_str_text(ret_names), rq->payload);
}

/* --- signature ---------------------------------------------------------------------------------------------------- */

static ls_status sign_text(const struct ls_sigv4 *rq, const char *secret, const char *date, const char *text,
	char ret[65], struct ls_err *err)
{
	const char *parts[] = { date, rq->region, rq->service, "aws4_request", text };
	unsigned char key[LS_SHA256_BYTES];
	char first[4 + sizeof(((struct ls_creds *)0)->secret_key)];
	ls_status st;
	size_t i;

	snprintf(first, sizeof(first), "AWS4%s", secret);
	st = ls_crypto_hmac_sha256(first, strlen(first), parts[0], key, err);
	for (i = 1; !st && i < sizeof(parts) / sizeof(parts[0]); i++)
		st = ls_crypto_hmac_sha256(key, sizeof(key), parts[i], key, err);
	if (!st)
		hex(key, ret);
	explicit_bzero(first, sizeof(first));
	explicit_bzero(key, sizeof(key));
	return st;
}

static ls_status sign_canonical(const struct ls_sigv4 *rq, const struct ls_creds *creds, const char *date,
	const struct ls_str *canonical, const char *names, struct ls_strv *ret, struct ls_err *err)
{
	struct iovec iov = { canonical->s, canonical->len };
	unsigned char sum[LS_SHA256_BYTES];
	char day[9], sum_hex[65], signature[65];
	struct ls_str text = { 0 }, scope = { 0 };
	ls_status st = ls_crypto_sha256(&iov, 1, sum, err);

	if (st)
		return st;
	hex(sum, sum_hex);
	snprintf(day, sizeof(day), "%.8s", date);
	ls_str_addf(&scope, "%s/%s/%s/aws4_request", day, rq->region, rq->service);
	ls_str_addf(&text, ALGORITHM "\n%s\n%s\n%s", date, ls_str_text(&scope), sum_hex);
	st = text.oom || scope.oom ? ls_fail_oom(err) : sign_text(rq, creds->secret_key, day, text.s, signature, err);
	if (!st)
		ls_strv_addf(ret, "Authorization: " ALGORITHM " Credential=%s/%s, SignedHeaders=%s, Signature=%s",
			creds->access_key, scope.s, names, signature);
	ls_str_release(&text);
	ls_str_release(&scope);
	return st;
}

ls_status ls_sigv4_sign(
	const struct ls_sigv4 *rq, const struct ls_creds *creds, struct ls_strv *ret, struct ls_err *err)
{
	struct ls_strv sent = { 0 }, all = { 0 };
	struct ls_str canonical = { 0 }, names = { 0 };
	ls_status st = LS_OK;
	char date[32];
	struct tm tm;
	size_t i;

	if (!*rq->payload) { /* ls_sha256_hex() failed: this says why */
		unsigned char sum[LS_SHA256_BYTES];

		st = ls_crypto_sha256(NULL, 0, sum, err);
		return st ? st : ls_fail_oom(err);
	}
	gmtime_r(&rq->now, &tm);
	strftime(date, sizeof(date), "%Y%m%dT%H%M%SZ", &tm);
	collect_headers(rq, creds, date, &sent, &all);
	if (!all.oom)
		add_canonical(&canonical, rq, &all, &names);
	if (all.oom || canonical.oom || names.oom)
		st = ls_fail_oom(err);
	if (!st)
		st = sign_canonical(rq, creds, date, &canonical, names.s, &sent, err);
	for (i = 0; !st && i < sent.n; i++)
		ls_strv_add(ret, sent.v[i]);
	if (!st && (sent.oom || ret->oom))
		st = ls_fail_oom(err);
	ls_strv_release(&sent);
	ls_strv_release(&all);
	ls_str_release(&canonical);
	ls_str_release(&names);
	return st;
}
