/* store_s3.c -- see store_s3.h: the handle, its settings, and the sizes of things. */
#include "core/store_s3.h"
#include "core/s3_call.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MIB ((uint64_t)1 << 20)
#define HELPERS 1 /* threads beside the caller's; of 0 to 3 none was better for certain, on two busy cores */

/* About 64 parts, of 8 to 64 MiB; a part more than 10,000 is refused, so they grow beyond. */
struct ls_s3_parts ls_s3_put_parts(uint64_t total)
{
	uint64_t bytes = total / 64 / MIB * MIB;

	if (bytes < 8 * MIB)
		bytes = 8 * MIB;
	if (bytes > 64 * MIB)
		bytes = 64 * MIB;
	while ((total + bytes - 1) / bytes > 10000)
		bytes *= 2;
	return (struct ls_s3_parts){ bytes, (int)((total + bytes - 1) / bytes) };
}

/* A read has no limit on its parts but what their structs take. */
struct ls_s3_parts ls_s3_get_parts(uint64_t total)
{
	return total <= LS_S3_ONE_BYTES ? (struct ls_s3_parts){ total, 1 } : ls_s3_put_parts(total);
}

/* --- where it is --------------------------------------------------------------------------------------------------------- */

/* Would the bucket be a label of a host name, that a wildcard certificate covers? */
static bool is_label(const char *bucket)
{
	return bucket[strspn(bucket, "abcdefghijklmnopqrstuvwxyz0123456789-")] == '\0';
}

/* Without the port that the scheme has anyway, as Host headers are; without '/' at the end. */
static bool split_endpoint(const char *endpoint, struct ls_str *scheme, struct ls_str *host, struct ls_str *path)
{
	const char *at = strstr(endpoint, "://"), *end;
	size_t len;

	if (!at || (strncmp(endpoint, "http://", 7) && strncmp(endpoint, "https://", 8)))
		return false;
	ls_str_addn(scheme, endpoint, (size_t)(at + 3 - endpoint));
	at += 3;
	end = strchrnul(at, '/');
	len = (size_t)(end - at);
	if (endpoint[4] == ':' && len > 3 && !strncmp(end - 3, ":80", 3))
		len -= 3;
	if (endpoint[4] == 's' && len > 4 && !strncmp(end - 4, ":443", 4))
		len -= 4;
	ls_str_addn(host, at, len);
	for (len = strlen(end); len && end[len - 1] == '/';)
		len--;
	ls_str_addn(path, end, len);
	return host->len && !strchr(host->s, '@');
}

ls_status ls_s3_locate(struct ls_s3 *s, const char *endpoint, const char *addressing, struct ls_err *err)
{
	struct ls_str aws = { 0 }, scheme = { 0 }, host = { 0 }, path = { 0 }, origin = { 0 };
	bool virtual = !*endpoint ? strcmp(addressing, "path") && is_label(s->bucket) : !strcmp(addressing, "virtual");
	ls_status st = LS_OK;

	s->is_aws = !*endpoint;
	ls_str_addf(&aws, "https://s3.%s.amazonaws.com%s", s->region, strncmp(s->region, "cn-", 3) ? "" : ".cn");
	if (!split_endpoint(s->is_aws ? ls_str_text(&aws) : endpoint, &scheme, &host, &path)) {
		st = ls_fail(err, LS_USAGE, 0, "'%s' is no endpoint: write AWS_ENDPOINT_URL_S3=https://HOST[:PORT]", endpoint);
	} else {
		struct ls_str full = { 0 };

		ls_str_addf(&full, "%s%s%s", virtual ? s->bucket : "", virtual ? "." : "", ls_str_text(&host));
		ls_str_addf(&origin, "%s%s", ls_str_text(&scheme), ls_str_text(&full));
		ls_str_addf(&path, "/%s%s", virtual ? "" : s->bucket, virtual ? "" : "/");
		s->host = ls_str_steal(&full);
		s->origin = ls_str_steal(&origin);
		s->path = ls_str_steal(&path);
		if (aws.oom || scheme.oom || host.oom || !s->host || !s->origin || !s->path)
			st = ls_fail_oom(err);
	}
	ls_str_release(&aws);
	ls_str_release(&scheme);
	ls_str_release(&host);
	ls_str_release(&path);
	return st;
}

/* --- the handle ---------------------------------------------------------------------------------------------------------- */

static void s3_close(struct ls_store *base)
{
	struct ls_s3 *s = (struct ls_s3 *)base;

	ls_http_close(s->http);
	ls_creds_close(s->creds);
	free(s->bucket);
	free(s->prefix);
	free(s->origin);
	free(s->host);
	free(s->path);
	free(s->region);
	free(s);
}

static void s3_cancel(struct ls_store *base, bool on)
{
	struct ls_s3 *s = (struct ls_s3 *)base;

	if (on)
		ls_http_cancel(s->http);
	else
		ls_http_uncancel(s->http);
}

static ls_status s3_size(struct ls_store *base, const char *key, uint64_t *ret_bytes, struct ls_err *err)
{
	struct ls_s3_head head;
	ls_status st = ls_s3_head((struct ls_s3 *)base, key, &head, err);

	if (!st)
		*ret_bytes = head.bytes;
	return st;
}

static const struct ls_store_ops s3_ops = {
	.put = ls_s3_put,
	.read = ls_s3_read,
	.size = s3_size,
	.remove = ls_s3_remove,
	.list = ls_s3_list,
	.sweep = ls_s3_sweep,
	.cancel = s3_cancel,
	.close = s3_close,
};

/* "BUCKET/PREFIX" */
static ls_status split_rest(struct ls_s3 *s, const char *rest, struct ls_err *err)
{
	const char *slash = strchrnul(rest, '/');
	struct ls_str prefix = { 0 };

	if (slash == rest)
		return ls_fail(err, LS_USAGE, 0, "s3://%s: no bucket: write s3://BUCKET/PREFIX", rest);
	if (*slash && slash[1])
		ls_str_addf(&prefix, "%s/", slash + 1);
	s->bucket = strndup(rest, (size_t)(slash - rest));
	s->prefix = ls_str_steal(&prefix);
	return s->bucket && s->prefix ? LS_OK : ls_fail_oom(err);
}

static ls_status read_settings(struct ls_s3 *s, struct ls_err *err)
{
	const char *payload = getenv("LOCKSTEP_S3_PAYLOAD"), *seconds = getenv("LOCKSTEP_S3_RETRY_SECONDS");
	char *end = NULL;
	long retry_s = seconds && *seconds ? strtol(seconds, &end, 10) : 60;

	if ((end && *end) || retry_s < 1 || retry_s > 86400)
		return ls_fail(err, LS_USAGE, 0, "LOCKSTEP_S3_RETRY_SECONDS=%s: want 1 to 86400", seconds);
	s->retry_ms = (int)retry_s * 1000;
	s->stall_ms = s->retry_ms < 20000 ? s->retry_ms : 20000;
	s->sign_payload = !strncmp(s->origin, "http://", 7);
	if (payload && *payload) {
		s->sign_payload = !strcmp(payload, "signed");
		if (!s->sign_payload && strcmp(payload, "unsigned"))
			return ls_fail(err, LS_USAGE, 0, "LOCKSTEP_S3_PAYLOAD=%s: want signed or unsigned", payload);
	}
	return LS_OK;
}

ls_status ls_store_s3_open(const char *rest, struct ls_store **ret, struct ls_err *err)
{
	struct ls_s3 *s = calloc(1, sizeof(*s));
	struct ls_aws_config config = { 0 };
	struct ls_http_options http = { .threads = HELPERS };
	ls_status st = s ? split_rest(s, rest, err) : ls_fail_oom(err);

	if (!st)
		st = ls_aws_config_read(&config, err);
	if (!st) {
		s->base.ops = &s3_ops;
		s->region = strdup(*config.region ? config.region : "us-east-1");
		st = s->region ? ls_s3_locate(s, config.endpoint, config.addressing, err) : ls_fail_oom(err);
	}
	if (!st)
		st = read_settings(s, err);
	if (!st)
		st = ls_creds_open(&s->creds, err);
	if (!st) {
		http.ca_bundle = config.ca_bundle;
		http.stall_ms = s->stall_ms;
		st = ls_http_open(&http, &s->http, err);
	}
	ls_aws_config_release(&config);
	if (!st)
		*ret = &s->base;
	else if (s)
		s3_close(&s->base);
	return st;
}
