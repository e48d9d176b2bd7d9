/* node_json.c -- what JSON needs beside libyaml: surrogate pairs in text, and trees from an API server's cJSON
 * objects, and back. */
#include "core/node_impl.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- text --------------------------------------------------------------------------------------------------------- */

static bool hex4(const char *s, const char *end, unsigned *ret)
{
	char digits[5] = { 0 };

	if (end - s < 6 || s[0] != '\\' || s[1] != 'u')
		return false;
	memcpy(digits, s + 2, 4);
	*ret = (unsigned)strtoul(digits, NULL, 16);
	return strspn(digits, "0123456789abcdefABCDEF") == 4;
}

/* Copy one JSON string from its opening quote, with surrogate pairs as \UHHHHHHHH. Returns the place after its closing
 * quote, or NULL when it does not end. */
static const char *copy_string(const char *s, const char *end, struct ls_str *ret)
{
	unsigned high, low;

	ls_str_addn(ret, s++, 1);
	while (s < end && *s != '"') {
		if (hex4(s, end, &high) && high >= 0xd800 && high < 0xdc00 && hex4(s + 6, end, &low) && low >= 0xdc00 &&
			low < 0xe000) {
			ls_str_addf(ret, "\\U%08X", 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00));
			s += 12;
		} else {
			size_t n = *s == '\\' && end - s > 1 ? 2 : 1;

			ls_str_addn(ret, s, n);
			s += n;
		}
	}
	if (s == end)
		return NULL;
	ls_str_addn(ret, s, 1);
	return s + 1;
}

/* In text whose every character outside double quotes is one of JSON's there is no other quoting, so the pairs can be
 * rewritten without parsing. Columns after a rewritten pair are 2 too small. */
void ls_json_widen(const char *text, size_t len, struct ls_str *ret)
{
	const char *s = text, *end = text + len;

	if (!memmem(text, len, "\\ud", 3) && !memmem(text, len, "\\uD", 3))
		return;
	while (s && s < end) {
		if (*s == '"') {
			s = copy_string(s, end, ret);
		} else if (*s && strchr("{}[],: \t\r\n+-.0123456789Eaeflnrstu", *s)) {
			ls_str_addn(ret, s++, 1);
		} else {
			s = NULL;
		}
	}
	if (!s && !ret->oom)
		ls_str_release(ret);
}

/* --- objects ------------------------------------------------------------------------------------------------------ */

static struct ls_node *scalar_from_cjson(const struct cJSON *json, const char *key)
{
	struct ls_str text = { 0 };
	struct ls_node *node = NULL;

	if (cJSON_IsNumber(json) && json->valuedouble == floor(json->valuedouble) && fabs(json->valuedouble) <= 0x1p53)
		ls_str_addf(&text, "%.0f", json->valuedouble);
	else if (cJSON_IsNumber(json))
		ls_str_addf(&text, "%.17g", json->valuedouble);
	else if (cJSON_IsString(json))
		ls_str_add(&text, json->valuestring);
	else
		ls_str_add(&text, cJSON_IsNull(json) ? "null" : cJSON_IsTrue(json) ? "true" : "false");
	if (!text.oom)
		node = ls_node_new(LS_NODE_STRING, key, ls_str_text(&text));
	ls_str_release(&text);
	if (node && !cJSON_IsString(json))
		ls_node_resolve(node);
	return node;
}

static ls_status from_cjson(const struct cJSON *json, const char *key, int level, size_t *values, struct ls_node **ret,
	struct ls_err *err)
{
	bool map = cJSON_IsObject(json), inner = map || cJSON_IsArray(json);
	struct ls_node *node, **tail;
	const struct ls_node *twin;
	const struct cJSON *at;
	ls_status st = LS_OK;

	if (level > LS_NODE_MAX_LEVELS)
		return ls_fail(err, LS_USAGE, 0, "the object is nested deeper than %d levels", LS_NODE_MAX_LEVELS);
	if (++*values > LS_NODE_MAX_VALUES)
		return ls_fail(err, LS_USAGE, 0, "the object has more than %d values", LS_NODE_MAX_VALUES);
	if (!inner && !(json->type & (cJSON_Number | cJSON_String | cJSON_True | cJSON_False | cJSON_NULL)))
		return ls_fail(err, LS_USAGE, 0, "the object holds raw text; parse it first");
	node = inner ? ls_node_new(map ? LS_NODE_MAP : LS_NODE_LIST, key, NULL) : scalar_from_cjson(json, key);
	if (!node)
		return ls_fail_oom(err);
	tail = &node->child;
	for (at = inner ? json->child : NULL; at && !st; at = at->next) {
		st = from_cjson(at, !map ? NULL : at->string ? at->string : "", level + 1, values, tail, err);
		if (!st)
			tail = &(*tail)->next;
	}
	if (!st && map)
		st = ls_node_duplicate(node, &twin, err);
	if (!st && map && twin)
		st = ls_fail(err, LS_USAGE, 0, "the object has the key '%s' twice", twin->key);
	if (st)
		ls_node_free(node);
	else
		*ret = node;
	return st;
}

ls_status ls_node_from_cjson(const struct cJSON *json, struct ls_node **ret, struct ls_err *err)
{
	struct ls_node *root = NULL;
	size_t values = 0;
	ls_status st = from_cjson(json, NULL, 1, &values, &root, err);

	if (!st)
		*ret = root;
	return st;
}

static struct cJSON *scalar_to_cjson(const struct ls_node *node)
{
	char digits[32];

	switch (node->type) {
	case LS_NODE_BOOL:
		return cJSON_CreateBool(node->boolean);
	case LS_NODE_INT:
		snprintf(digits, sizeof(digits), "%lld", node->integer);
		return cJSON_CreateRaw(digits);
	case LS_NODE_FLOAT:
		return cJSON_CreateNumber(node->number);
	case LS_NODE_STRING:
		return cJSON_CreateString(node->text);
	default:
		return cJSON_CreateNull();
	}
}

/* NULL: no memory, or a number that JSON has not (*ret_bad). A parsed tree has at most LS_NODE_MAX_LEVELS. */
static struct cJSON *to_cjson(const struct ls_node *node, const struct ls_node **ret_bad)
{
	bool map = node->type == LS_NODE_MAP;
	struct cJSON *json, *entry;
	const struct ls_node *at;

	if (node->type == LS_NODE_FLOAT && !isfinite(node->number)) {
		*ret_bad = node;
		return NULL;
	}
	if (!map && node->type != LS_NODE_LIST)
		return scalar_to_cjson(node);
	json = map ? cJSON_CreateObject() : cJSON_CreateArray();
	for (at = node->child; json && at; at = at->next) {
		entry = to_cjson(at, ret_bad);
		if (entry && (map ? cJSON_AddItemToObject(json, at->key, entry) : cJSON_AddItemToArray(json, entry)))
			continue;
		cJSON_Delete(entry);
		cJSON_Delete(json);
		json = NULL;
	}
	return json;
}

ls_status ls_node_to_cjson(const struct ls_node *node, struct cJSON **ret, struct ls_err *err)
{
	const struct ls_node *bad = NULL;
	struct cJSON *json = to_cjson(node, &bad);

	if (bad)
		return ls_fail(err, LS_USAGE, 0, "line %d: %s is no number that the API server takes", bad->line, bad->text);
	if (!json)
		return ls_fail_oom(err);
	*ret = json;
	return LS_OK;
}
