/* aws_creds_parse.c -- what services and processes answer; see aws_creds_impl.h. No message quotes it: it holds
 * secrets. */
#include "core/aws_creds_impl.h"
#include "core/io.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *ls_env(const char *name)
{
	const char *value = getenv(name);

	return value && *value ? value : NULL;
}

ls_status ls_creds_set(char *field, size_t size, const char *name, const char *value, struct ls_err *err)
{
	const char *p;

	if (!*value)
		return ls_fail(err, LS_USAGE, 0, "%s is empty", name);
	for (p = value; *p; p++)
		if (*p <= ' ' || *p > '~')
			return ls_fail(
				err, LS_USAGE, 0, "%s has a blank or another character that no credential has", name);
	if ((size_t)(p - value) >= size)
		return ls_fail(err, LS_USAGE, 0, "%s is longer than %zu bytes", name, size - 1);
	memmove(field, value, (size_t)(p - value) + 1); /* they may be the same */
	return LS_OK;
}

ls_status ls_creds_parse_time(const char *text, time_t *ret, struct ls_err *err)
{
	if (ls_time_parse(text, ret))
		return LS_OK;
	return ls_fail(err, LS_USAGE, 0, "Expiration is no time such as 2026-01-31T12:00:00Z");
}

/* --- JSON --------------------------------------------------------------------------------------------------------- */

static const char *text_of(const cJSON *doc, const char *name)
{
	const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(doc, name));

	return text && *text ? text : NULL;
}

static ls_status take_json(const cJSON *doc, struct ls_creds_got *ret, struct ls_err *err)
{
	const char *id = text_of(doc, "AccessKeyId"), *secret = text_of(doc, "SecretAccessKey"), *token, *expires;
	const cJSON *version = cJSON_GetObjectItemCaseSensitive(doc, "Version"); /* credential_process alone has one */
	ls_status st;

	if (version && cJSON_GetNumberValue(version) != 1)
		return ls_fail(err, LS_USAGE, 0, "the answer's Version is not 1");
	if (!id || !secret)
		return ls_fail(err, LS_USAGE, 0, "the answer has no AccessKeyId and SecretAccessKey");
	token = text_of(doc, "SessionToken"); /* as credential_process says */
	if (!token)
		token = text_of(doc, "Token"); /* as containers and instances say */
	expires = text_of(doc, "Expiration");
	st = LS_CREDS_SET(ret->creds.access_key, "AccessKeyId", id, err);
	if (!st)
		st = LS_CREDS_SET(ret->creds.secret_key, "SecretAccessKey", secret, err);
	if (!st && token)
		st = LS_CREDS_SET(ret->creds.session_token, "the session token", token, err);
	return st || !expires ? st : ls_creds_parse_time(expires, &ret->expires, err);
}

static void wipe_json(cJSON *doc)
{
	cJSON *one;

	cJSON_ArrayForEach(one, doc) if (cJSON_IsString(one))
		explicit_bzero(one->valuestring, strlen(one->valuestring));
	cJSON_Delete(doc);
}

ls_status ls_creds_parse_json(const char *text, size_t len, struct ls_creds_got *ret, struct ls_err *err)
{
	cJSON *doc = cJSON_ParseWithLength(text, len);
	ls_status st;

	if (!cJSON_IsObject(doc))
		st = ls_fail(err, LS_USAGE, 0, "the answer is no JSON object");
	else
		st = take_json(doc, ret, err);
	wipe_json(doc);
	return st;
}

/* --- XML ---------------------------------------------------------------------------------------------------------- */

const char *ls_xml_find(const char *xml, const char *tag, size_t *ret_len)
{
	char open[64], close[64];
	const char *at, *end;

	snprintf(open, sizeof(open), "<%s>", tag);
	snprintf(close, sizeof(close), "</%s>", tag);
	at = strstr(xml, open);
	at = at ? at + strlen(open) : NULL;
	end = at ? strstr(at, close) : NULL;
	if (!end)
		return NULL;
	*ret_len = (size_t)(end - at);
	return at;
}

static ls_status set_xml(const char *xml, const char *tag, char *field, size_t size, struct ls_err *err)
{
	size_t len = 0;
	const char *at = ls_xml_find(xml, tag, &len);

	if (!at)
		return ls_fail(err, LS_USAGE, 0, "the answer has no %s", tag);
	if (len >= size)
		return ls_fail(err, LS_USAGE, 0, "%s is longer than %zu bytes", tag, size - 1);
	memcpy(field, at, len);
	field[len] = '\0';
	return ls_creds_set(field, size, tag, field, err);
}

ls_status ls_creds_parse_sts(const char *xml, struct ls_creds_got *ret, struct ls_err *err)
{
	struct ls_creds *c = &ret->creds;
	char expires[64];
	ls_status st;

	st = set_xml(xml, "AccessKeyId", c->access_key, sizeof(c->access_key), err);
	if (!st)
		st = set_xml(xml, "SecretAccessKey", c->secret_key, sizeof(c->secret_key), err);
	if (!st)
		st = set_xml(xml, "SessionToken", c->session_token, sizeof(c->session_token), err);
	if (!st)
		st = set_xml(xml, "Expiration", expires, sizeof(expires), err);
	return st ? st : ls_creds_parse_time(expires, &ret->expires, err);
}
