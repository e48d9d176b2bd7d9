/* ckpt_manifest.c -- see ckpt_manifest.h.
 *
 * cJSON has numbers as doubles and cuts strings at NUL: so counts are written as raw digits and refused beyond 2^53 -
 * 1, the 64-bit seed is a string, and a text with a NUL in any spelling is refused whole. A field that is there twice
 * is refused: two readers could choose differently. */
#include "core/ckpt_manifest.h"
#include "core/safetensors.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXACT_MAX 9007199254740991LL

static bool add_count(cJSON *object, const char *key, uint64_t value)
{
	char text[24];

	snprintf(text, sizeof(text), "%" PRIu64, value);
	return cJSON_AddRawToObject(object, key, text);
}

static bool add_shard(cJSON *array, const struct ls_shard *shard)
{
	cJSON *object = cJSON_CreateObject();
	char crc[9];

	snprintf(crc, sizeof(crc), "%08" PRIx32, shard->crc32c);
	return cJSON_AddItemToArray(array, object) && cJSON_AddStringToObject(object, "key", shard->key) &&
	       add_count(object, "bytes", shard->bytes) && cJSON_AddStringToObject(object, "crc32c", crc);
}

static bool add_version(cJSON *object, const char *pair)
{
	const char *equals = strchr(pair, '=');
	char *name = equals ? strndup(pair, (size_t)(equals - pair)) : NULL;
	bool ok = name && cJSON_AddStringToObject(object, name, equals + 1);

	free(name);
	return ok;
}

static bool add_all(cJSON *root, const struct ls_ckpt *c)
{
	cJSON *sampler, *versions, *shards;
	char seed[24];
	bool ok;
	size_t i;

	snprintf(seed, sizeof(seed), "%" PRIu64, c->seed);
	ok = cJSON_AddStringToObject(root, "format", LS_CKPT_FORMAT) &&
	     cJSON_AddStringToObject(root, "job", c->job ? c->job : "") && add_count(root, "attempt", c->attempt) &&
	     add_count(root, "step", (uint64_t)c->step) && add_count(root, "worldSize", (uint64_t)c->world_size) &&
	     cJSON_AddStringToObject(root, "time", c->time) && (sampler = cJSON_AddObjectToObject(root, "sampler")) &&
	     cJSON_AddStringToObject(sampler, "seed", seed) && add_count(sampler, "epoch", (uint64_t)c->epoch) &&
	     add_count(sampler, "epochSamples", (uint64_t)c->epoch_samples) &&
	     (versions = cJSON_AddObjectToObject(root, "versions"));
	for (i = 0; ok && i < c->versions.n; i++)
		ok = add_version(versions, c->versions.v[i]);
	ok = ok && (shards = cJSON_AddArrayToObject(root, "shards"));
	for (i = 0; ok && i < c->n_shards; i++)
		ok = add_shard(shards, &c->shards[i]);
	return ok;
}

ls_status ls_ckpt_manifest_write(const struct ls_ckpt *c, struct ls_str *ret, struct ls_err *err)
{
	cJSON *root;
	char *text = NULL;
	size_t i;

	for (i = 0; i < c->versions.n; i++)
		if (!strchr(c->versions.v[i], '='))
			return ls_fail(err, LS_USAGE, 0, "version '%.100s': want name=value", c->versions.v[i]);
	root = cJSON_CreateObject();
	if (root && add_all(root, c))
		text = cJSON_Print(root);
	cJSON_Delete(root);
	if (text) {
		ls_str_add(ret, text);
		ls_str_add(ret, "\n");
	}
	cJSON_free(text);
	return text && !ret->oom ? LS_OK : ls_fail_oom(err);
}

/* The first failure stays and makes every later get_…() a no-op; `place` is "", "sampler." or "shards[3].". */
struct reader {
	char place[32];
	ls_status st;
	struct ls_err *err;
};

static void want(struct reader *r, const char *key, const char *what)
{
	if (!r->st)
		r->st = ls_fail(r->err, LS_DATA_BAD, 0, "%s%s: want %s", r->place, key, what);
}

static const cJSON *get(struct reader *r, const cJSON *object, const char *key)
{
	const cJSON *found = NULL, *child;

	if (r->st)
		return NULL;
	cJSON_ArrayForEach(child, object)
	{
		if (strcmp(child->string, key))
			continue;
		if (found)
			want(r, key, "it once, not twice");
		found = child;
	}
	if (!found)
		want(r, key, "this field; it is missing");
	return r->st ? NULL : found;
}

static long long get_count(struct reader *r, const cJSON *object, const char *key, long long min, long long max)
{
	const cJSON *field = get(r, object, key);
	char what[80];

	if (!field)
		return 0;
	if (cJSON_IsNumber(field) && field->valuedouble >= (double)min && field->valuedouble <= (double)max &&
		field->valuedouble == (double)(long long)field->valuedouble)
		return (long long)field->valuedouble;
	snprintf(what, sizeof(what), "a whole number from %lld to %lld", min, max);
	want(r, key, what);
	return 0;
}

/* Borrowed; "" after a failure. */
static const char *get_text(struct reader *r, const cJSON *object, const char *key)
{
	const cJSON *field = get(r, object, key);

	if (field && cJSON_IsString(field))
		return field->valuestring;
	want(r, key, "a string");
	return "";
}

static const cJSON *get_child(struct reader *r, const cJSON *object, const char *key, int type, const char *what)
{
	const cJSON *field = get(r, object, key);

	if (field && (field->type & 0xff) == type)
		return field;
	want(r, key, what);
	return NULL;
}

static char *copy(struct reader *r, const char *text)
{
	char *own = r->st ? NULL : strdup(text);

	if (!own && !r->st)
		r->st = ls_fail_oom(r->err);
	return own;
}

static void read_seed(struct reader *r, const cJSON *sampler, uint64_t *ret)
{
	const char *text = get_text(r, sampler, "seed"), *p;
	uint64_t value = 0;

	for (p = text; *p >= '0' && *p <= '9'; p++)
		if (__builtin_mul_overflow(value, 10, &value) || __builtin_add_overflow(value, *p - '0', &value))
			break;
	if (p == text || *p)
		want(r, "seed", "a string of decimal digits, at most 18446744073709551615");
	*ret = value;
}

static void read_time(struct reader *r, const cJSON *root, char ret[32])
{
	static const char shape[] = "0000-00-00T00:00:00Z";
	const char *text = get_text(r, root, "time");
	size_t i;

	for (i = 0; shape[i] && text[i]; i++)
		if (shape[i] == '0' ? text[i] < '0' || text[i] > '9' : text[i] != shape[i])
			break;
	if (shape[i] || text[i])
		want(r, "time", "a UTC time such as 2026-01-31T12:00:00Z");
	else
		memcpy(ret, text, sizeof(shape));
}

static void read_versions(struct reader *r, const cJSON *root, struct ls_strv *ret)
{
	const cJSON *object = get_child(r, root, "versions", cJSON_Object, "an object"), *child;

	cJSON_ArrayForEach(child, object)
	{
		if (!cJSON_IsString(child) || strchr(child->string, '='))
			want(r, "versions", "strings, under names without '='");
		else
			ls_strv_addf(ret, "%s=%s", child->string, child->valuestring);
	}
	if (ret->oom && !r->st)
		r->st = ls_fail_oom(r->err);
}

static bool good_shard_key(const char *key, const char *dir)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.";
	static const char suffix[] = ".safetensors";
	size_t len = strlen(dir);
	const char *name = key + len + 1;

	if (strncmp(key, dir, len) || key[len] != '/' || *name == '.' || name[strspn(name, letters)] ||
		strstr(name, ".."))
		return false;
	return strlen(name) > strlen(suffix) && strlen(name) < 200 &&
	       !strcmp(name + strlen(name) - strlen(suffix), suffix);
}

static void read_shard(struct reader *r, const cJSON *object, const char *dir, struct ls_shard *ret)
{
	const char *key, *crc;

	if (!cJSON_IsObject(object)) {
		want(r, "", "an object");
		return;
	}
	key = get_text(r, object, "key");
	ret->bytes = (uint64_t)get_count(r, object, "bytes", 0, EXACT_MAX);
	crc = get_text(r, object, "crc32c");
	if (!r->st && !good_shard_key(key, dir))
		want(r, "key", "a plain name with .safetensors at the end, in the checkpoint's own directory");
	if (strlen(crc) != 8 || crc[strspn(crc, "0123456789abcdef")])
		want(r, "crc32c", "8 hexadecimal digits in lower case");
	else
		ret->crc32c = (uint32_t)strtoul(crc, NULL, 16);
	ret->key = copy(r, key);
}

static int compare_keys(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void check_unique(struct reader *r, const struct ls_ckpt *c)
{
	char **keys = calloc(c->n_shards, sizeof(*keys));
	size_t i;

	if (!keys) {
		r->st = ls_fail_oom(r->err);
		return;
	}
	for (i = 0; i < c->n_shards; i++)
		keys[i] = c->shards[i].key;
	qsort(keys, c->n_shards, sizeof(*keys), compare_keys);
	for (i = 1; i < c->n_shards && !r->st; i++)
		if (!strcmp(keys[i], keys[i - 1]))
			r->st = ls_fail(r->err, LS_DATA_BAD, 0, "shards: %s is there twice", keys[i]);
	free(keys);
}

static void read_shards(struct reader *r, const cJSON *root, struct ls_ckpt *ret)
{
	const cJSON *array = get_child(r, root, "shards", cJSON_Array, "a list"), *child;
	char dir[32];

	if (!array)
		return;
	if (!array->child) {
		want(r, "shards", "at least one");
		return;
	}
	ls_ckpt_dir(ret->step, dir);
	ret->shards = calloc((size_t)cJSON_GetArraySize(array), sizeof(*ret->shards));
	if (!ret->shards) {
		r->st = ls_fail_oom(r->err);
		return;
	}
	cJSON_ArrayForEach(child, array)
	{
		snprintf(r->place, sizeof(r->place), "shards[%zu].", ret->n_shards);
		read_shard(r, child, dir, &ret->shards[ret->n_shards]);
		ret->n_shards++;
		if (r->st)
			return;
	}
	check_unique(r, ret);
}

static ls_status read_root(const cJSON *root, long long step, struct ls_ckpt *ret, struct ls_err *err)
{
	struct reader r = { .err = err };
	const cJSON *sampler;

	if (strcmp(get_text(&r, root, "format"), LS_CKPT_FORMAT))
		want(&r, "format", "\"" LS_CKPT_FORMAT "\"; another version of Lockstep may read it");
	ret->job = copy(&r, get_text(&r, root, "job"));
	ret->attempt = (unsigned)get_count(&r, root, "attempt", 0, UINT_MAX);
	ret->step = get_count(&r, root, "step", 0, LS_CKPT_STEP_MAX);
	if (ret->step != step)
		want(&r, "step", "the step that the directory's name says");
	ret->world_size = (int)get_count(&r, root, "worldSize", 1, INT_MAX);
	read_time(&r, root, ret->time);
	sampler = get_child(&r, root, "sampler", cJSON_Object, "an object");
	snprintf(r.place, sizeof(r.place), "sampler.");
	read_seed(&r, sampler, &ret->seed);
	ret->epoch = get_count(&r, sampler, "epoch", 0, EXACT_MAX);
	ret->epoch_samples = get_count(&r, sampler, "epochSamples", 0, EXACT_MAX);
	r.place[0] = '\0';
	read_versions(&r, root, &ret->versions);
	read_shards(&r, root, ret);
	return r.st;
}

/* cJSON answers NULL for bad text and for no memory alike; malloc's errno tells them apart. Otherwise a shortage would
 * call a good checkpoint damaged. */
ls_status ls_ckpt_manifest_parse(const char *text, size_t len, long long step, struct ls_ckpt *ret, struct ls_err *err)
{
	struct ls_ckpt c = { 0 };
	const char *end = NULL;
	cJSON *root;
	ls_status st;

	if (!ls_st_text_ok(text, len) || memmem(text, len, "\\u0000", 6))
		return ls_fail(err, LS_DATA_BAD, 0, "not UTF-8 text without NUL");
	errno = 0;
	root = cJSON_ParseWithLengthOpts(text, len, &end, false);
	if (!root && errno == ENOMEM)
		return ls_fail_oom(err);
	while (root && end < text + len && strchr(" \t\r\n", *end))
		end++;
	if (!root || end != text + len || !cJSON_IsObject(root))
		st = ls_fail(err, LS_DATA_BAD, 0, "not one JSON object (byte %zu of %zu)",
			end ? (size_t)(end - text) : 0, len);
	else
		st = read_root(root, step, &c, err);
	cJSON_Delete(root);
	if (st)
		ls_ckpt_release(&c);
	else
		*ret = c;
	return st;
}
