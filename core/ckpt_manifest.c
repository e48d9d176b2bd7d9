/* ckpt_manifest.c -- see ckpt_manifest.h: the reader's side.
 *
 * cJSON has numbers as doubles and cuts strings at NUL: so counts beyond 2^53 - 1 are refused, the 64-bit seed is a string, and a text
 * with a NUL in any spelling is refused whole. A field that is there twice is refused: two readers could choose differently. */
#include "core/ckpt_manifest.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXACT_MAX 9007199254740991LL

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

/* NULL, and no failure, when it is not there. */
static const cJSON *find(struct reader *r, const cJSON *object, const char *key)
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
	return r->st ? NULL : found;
}

static const cJSON *get(struct reader *r, const cJSON *object, const char *key)
{
	const cJSON *found = find(r, object, key);

	if (!found)
		want(r, key, "this field; it is missing");
	return found;
}

static bool is_count(const cJSON *field, long long min, long long max)
{
	return cJSON_IsNumber(field) && field->valuedouble >= (double)min && field->valuedouble <= (double)max &&
	       field->valuedouble == (double)(long long)field->valuedouble;
}

static long long get_count(struct reader *r, const cJSON *object, const char *key, long long min, long long max)
{
	const cJSON *field = get(r, object, key);
	char what[80];

	if (!field)
		return 0;
	if (is_count(field, min, max))
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

/* Sorting finds what is there twice in n log n; takes over `names`. */
static void check_unique(struct reader *r, const char *field, char **names, size_t n)
{
	size_t i;

	if (!names) {
		r->st = ls_fail_oom(r->err);
		return;
	}
	qsort(names, n, sizeof(*names), compare_keys);
	for (i = 1; i < n && !r->st; i++)
		if (!strcmp(names[i], names[i - 1]))
			r->st = ls_fail(r->err, LS_DATA_BAD, 0, "%s: %.200s is there twice", field, names[i]);
	free(names);
}

static void read_shards(struct reader *r, const cJSON *root, struct ls_ckpt *ret)
{
	const cJSON *array = get_child(r, root, "shards", cJSON_Array, "a list"), *child;
	char dir[LS_CKPT_DIR_MAX], **names;
	size_t i;

	if (!array)
		return;
	if (!array->child) {
		want(r, "shards", "at least one");
		return;
	}
	ls_ckpt_dir(ret->id, dir);
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
	names = calloc(ret->n_shards, sizeof(*names));
	for (i = 0; names && i < ret->n_shards; i++)
		names[i] = ret->shards[i].key;
	check_unique(r, "shards", names, ret->n_shards);
}

static void read_shape(struct reader *r, const cJSON *object, struct ls_sharded *ret)
{
	const cJSON *array = get_child(r, object, "shape", cJSON_Array, "a list"), *child;
	uint64_t bytes = ls_dtype_size(ret->dtype);

	cJSON_ArrayForEach(child, array)
	{
		if (ret->ndim == LS_ST_MAX_DIMS || !is_count(child, 0, EXACT_MAX) ||
			__builtin_mul_overflow(bytes, (uint64_t)child->valuedouble, &bytes)) {
			want(r, "shape", "1 to 8 whole numbers from 0, of no more bytes than fit into 64 bits");
			return;
		}
		ret->shape[ret->ndim++] = (int64_t)child->valuedouble;
	}
	if (ret->ndim == 0)
		want(r, "shape", "at least one dimension: its rows are dealt out");
}

static void read_one_sharded(struct reader *r, const cJSON *object, struct ls_sharded *ret)
{
	const char *dtype;

	if (!cJSON_IsObject(object)) {
		want(r, "", "an object");
		return;
	}
	ret->name = copy(r, get_text(r, object, "name"));
	if (ret->name && !*ret->name)
		want(r, "name", "a tensor's name");
	dtype = get_text(r, object, "dtype");
	while (ls_dtype_size(ret->dtype) && strcmp(dtype, ls_dtype_name(ret->dtype)))
		ret->dtype++;
	if (!ls_dtype_size(ret->dtype))
		want(r, "dtype", "one that checkpoints use");
	read_shape(r, object, ret);
}

static void read_sharded(struct reader *r, const cJSON *root, struct ls_ckpt *ret)
{
	const cJSON *array, *child;
	char **names;
	size_t i;

	r->place[0] = '\0';
	if (!find(r, root, "sharded"))
		return;
	array = get_child(r, root, "sharded", cJSON_Array, "a list");
	if (!array || !array->child)
		return;
	ret->sharded = calloc((size_t)cJSON_GetArraySize(array), sizeof(*ret->sharded));
	if (!ret->sharded) {
		r->st = ls_fail_oom(r->err);
		return;
	}
	cJSON_ArrayForEach(child, array)
	{
		snprintf(r->place, sizeof(r->place), "sharded[%zu].", ret->n_sharded);
		read_one_sharded(r, child, &ret->sharded[ret->n_sharded++]);
		if (r->st)
			return;
	}
	names = calloc(ret->n_sharded, sizeof(*names));
	for (i = 0; names && i < ret->n_sharded; i++)
		names[i] = ret->sharded[i].name;
	check_unique(r, "sharded", names, ret->n_sharded);
}

static ls_status read_root(const cJSON *root, struct ls_ckpt_id id, struct ls_ckpt *ret, struct ls_err *err)
{
	struct reader r = { .err = err };
	const cJSON *sampler;

	if (strcmp(get_text(&r, root, "format"), LS_CKPT_FORMAT))
		want(&r, "format", "\"" LS_CKPT_FORMAT "\"; another version of Lockstep may read it");
	ret->job = copy(&r, get_text(&r, root, "job"));
	ret->attempt = (unsigned)get_count(&r, root, "attempt", 0, UINT_MAX);
	ret->id.step = get_count(&r, root, "step", 0, LS_CKPT_STEP_MAX);
	if (ret->id.step != id.step)
		want(&r, "step", "the step that the directory's name says");
	if (find(&r, root, "generation"))
		ret->id.generation = (unsigned)get_count(&r, root, "generation", 1, LS_CKPT_GENERATION_MAX);
	if (ret->id.generation != id.generation)
		want(&r, "generation", "the generation that the directory's name says");
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
	read_sharded(&r, root, ret);
	return r.st;
}

/* cJSON answers NULL for bad text and for no memory alike; malloc's errno tells them apart. Otherwise a shortage would
 * call a good checkpoint damaged. */
ls_status ls_ckpt_manifest_parse(const char *text, size_t len, struct ls_ckpt_id id, struct ls_ckpt *ret, struct ls_err *err)
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
		st = read_root(root, id, &c, err);
	cJSON_Delete(root);
	if (st)
		ls_ckpt_release(&c);
	else
		*ret = c;
	return st;
}
