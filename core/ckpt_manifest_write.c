/* ckpt_manifest_write.c -- see ckpt_manifest.h: the writer's side. Counts are written as raw digits, for cJSON would round them. */
#include "core/ckpt_manifest.h"

#include <cjson/cJSON.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

static bool add_sharded(cJSON *array, const struct ls_sharded *sharded)
{
	cJSON *object = cJSON_CreateObject(), *shape = NULL;
	bool ok = cJSON_AddItemToArray(array, object) && cJSON_AddStringToObject(object, "name", sharded->name) &&
		  cJSON_AddStringToObject(object, "dtype", ls_dtype_name(sharded->dtype)) &&
		  (shape = cJSON_AddArrayToObject(object, "shape"));
	char text[24];
	int d;

	for (d = 0; ok && d < sharded->ndim; d++) {
		snprintf(text, sizeof(text), "%" PRId64, sharded->shape[d]);
		ok = cJSON_AddItemToArray(shape, cJSON_CreateRaw(text));
	}
	return ok;
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
	cJSON *sampler, *versions, *shards, *sharded = NULL;
	char seed[24];
	bool ok;
	size_t i;

	snprintf(seed, sizeof(seed), "%" PRIu64, c->seed);
	ok = cJSON_AddStringToObject(root, "format", LS_CKPT_FORMAT) &&
	     cJSON_AddStringToObject(root, "job", c->job ? c->job : "") && add_count(root, "attempt", c->attempt) &&
	     add_count(root, "step", (uint64_t)c->id.step) &&
	     (!c->id.generation || add_count(root, "generation", c->id.generation)) &&
	     add_count(root, "worldSize", (uint64_t)c->world_size) &&
	     cJSON_AddStringToObject(root, "time", c->time) && (sampler = cJSON_AddObjectToObject(root, "sampler")) &&
	     cJSON_AddStringToObject(sampler, "seed", seed) && add_count(sampler, "epoch", (uint64_t)c->epoch) &&
	     add_count(sampler, "epochSamples", (uint64_t)c->epoch_samples) &&
	     (versions = cJSON_AddObjectToObject(root, "versions"));
	for (i = 0; ok && i < c->versions.n; i++)
		ok = add_version(versions, c->versions.v[i]);
	ok = ok && (shards = cJSON_AddArrayToObject(root, "shards"));
	for (i = 0; ok && i < c->n_shards; i++)
		ok = add_shard(shards, &c->shards[i]);
	ok = ok && (!c->n_sharded || (sharded = cJSON_AddArrayToObject(root, "sharded")));
	for (i = 0; ok && i < c->n_sharded; i++)
		ok = add_sharded(sharded, &c->sharded[i]);
	return ok;
}

ls_status ls_ckpt_json(cJSON *root, bool whole, struct ls_str *ret, struct ls_err *err)
{
	char *text = whole ? cJSON_Print(root) : NULL;

	cJSON_Delete(root);
	if (text) {
		ls_str_add(ret, text);
		ls_str_add(ret, "\n");
	}
	cJSON_free(text);
	return text && !ret->oom ? LS_OK : ls_fail_oom(err);
}

ls_status ls_ckpt_manifest_write(const struct ls_ckpt *c, struct ls_str *ret, struct ls_err *err)
{
	cJSON *root;
	size_t i;

	for (i = 0; i < c->versions.n; i++)
		if (!strchr(c->versions.v[i], '='))
			return ls_fail(err, LS_USAGE, 0, "version '%.100s': want name=value", c->versions.v[i]);
	root = cJSON_CreateObject();
	return ls_ckpt_json(root, root && add_all(root, c), ret, err);
}
