/* cmd_ckpt_show.c -- `lockstep ckpt ls|show|verify`: what is in a checkpoint store, and whether it is whole.
 *
 * It only reads, so it may look at the checkpoints of a running job: what vanishes meanwhile was pruned.
 * `ls` compares sizes, `verify` reads every byte. */
#include "launcher/cmd_ckpt.h"
#include "launcher/commands.h"

#include <cjson/cJSON.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One checkpoint's directory. */
struct found {
	struct ls_ckpt_id id;
	const char *state; /* "whole", "damaged" or "no manifest" */
	struct ls_ckpt ckpt;
	char why[sizeof(((struct ls_err *)0)->text)]; /* of "damaged" */
};

static uint64_t total_bytes(const struct ls_ckpt *c)
{
	uint64_t sum = 0;
	size_t i;

	for (i = 0; i < c->n_shards; i++)
		sum += c->shards[i].bytes;
	return sum;
}

/* Read a manifest and compare sizes, or with `deep` every byte. A failure is one of the store, not of the
 * checkpoint. */
static ls_status look(struct ls_store *s, struct ls_ckpt_id id, bool deep, struct found *ret, struct ls_err *err)
{
	ls_status st;

	*ret = (struct found){ .id = id, .state = "whole" };
	st = ls_ckpt_read(s, id, &ret->ckpt, err);
	if (st == LS_NOT_FOUND) {
		ret->state = "no manifest";
		return LS_OK;
	}
	if (!st)
		st = deep ? ls_ckpt_verify(s, &ret->ckpt, 0, 1, err) : ls_ckpt_check(s, &ret->ckpt, err);
	if (st == LS_DATA_BAD) {
		ret->state = "damaged";
		memcpy(ret->why, err->text, sizeof(ret->why));
		return LS_OK;
	}
	if (st)
		ls_ckpt_release(&ret->ckpt);
	return st;
}

/* Every directory that has any object, newest first: also those that no manifest publishes. */
static ls_status all_dirs(struct ls_store *s, struct ls_ckpt_id **ret, size_t *ret_n, struct ls_err *err)
{
	struct ls_objects keys = { 0 };
	struct ls_ckpt_id *ids = NULL;
	size_t n = 0, i;
	ls_status st = ls_store_list(s, "step-", &keys, err);

	if (!st) {
		ids = calloc(keys.n + 1, sizeof(*ids));
		if (!ids)
			st = ls_fail_oom(err);
	}
	for (i = 0; !st && i < keys.n; i++)
		if (ls_ckpt_key_id(keys.v[i].key, &ids[n]) && (!n || ls_ckpt_compare(ids[n], ids[n - 1])))
			n++;
	ls_objects_release(&keys);
	if (st)
		return st;
	ls_ckpt_sort(ids, n);
	*ret = ids;
	*ret_n = n;
	return LS_OK;
}

/* What is there is printed for people or, with --json, for programs; the numbers are the same. */
static void print_found(const struct ls_ckpt_request *rq, const struct found *f, bool first)
{
	const struct ls_ckpt *c = &f->ckpt;
	char why[1100] = "";

	if (rq->json) {
		cJSON *text = cJSON_CreateString(f->why);
		char *quoted = text ? cJSON_PrintUnformatted(text) : NULL;

		printf("%s\n  {\"step\": %lld, \"generation\": %u, \"state\": \"%s\", \"worldSize\": %d, \"shards\": %zu, \"bytes\": "
		       "%" PRIu64 ", \"why\": %s}",
			first ? "" : ",", f->id.step, f->id.generation, f->state, c->world_size, c->n_shards, total_bytes(c),
			quoted ? quoted : "null");
		cJSON_free(quoted);
		cJSON_Delete(text);
		return;
	}
	if (f->why[0])
		snprintf(why, sizeof(why), "  (%s)", f->why);
	if (!c->n_shards)
		printf("%12lld  %8u  %10s  %6s  %14s  %s%s\n", f->id.step, f->id.generation, "-", "-", "-", f->state, why);
	else
		printf("%12lld  %8u  %10d  %6zu  %14" PRIu64 "  %s%s\n", f->id.step, f->id.generation, c->world_size,
			c->n_shards, total_bytes(c), f->state, why);
}

static bool is_asked(const struct ls_ckpt_request *rq)
{
	return rq->step >= 0 || rq->generation >= 0;
}

static ls_status to_walk(const struct ls_ckpt_request *rq, bool deep, struct ls_ckpt_id **ret, size_t *ret_n, struct ls_err *err)
{
	ls_status st;

	if (!is_asked(rq))
		return deep ? ls_ckpt_list(rq->store, ret, ret_n, err) : all_dirs(rq->store, ret, ret_n, err);
	*ret = malloc(sizeof(**ret));
	*ret_n = 1;
	st = *ret ? ls_cmd_ckpt_pick(rq, *ret, err) : ls_fail_oom(err);
	return st;
}

/* `ls` and `verify` are one walk; verify looks at every byte, and only at what is published. */
static ls_status walk(
	const struct ls_ckpt_request *rq, bool deep, size_t *ret_seen, size_t *ret_damaged, struct ls_err *err)
{
	struct ls_ckpt_id *ids = NULL;
	size_t n = 0, i;
	ls_status st = to_walk(rq, deep, &ids, &n, err);

	*ret_seen = *ret_damaged = 0;
	for (i = 0; i < n && !st; i++) {
		struct found f;

		st = look(rq->store, ids[i], deep, &f, err);
		if (st)
			break;
		if (deep && !strcmp(f.state, "no manifest")) /* pruned meanwhile */
			continue;
		if (!rq->json && !*ret_seen)
			printf("%12s  %8s  %10s  %6s  %14s  %s\n", "STEP", "GEN", "WORLD SIZE", "SHARDS", "BYTES", "STATE");
		print_found(rq, &f, !*ret_seen);
		fflush(stdout);
		*ret_damaged += !strcmp(f.state, "damaged");
		++*ret_seen;
		ls_ckpt_release(&f.ckpt);
	}
	free(ids);
	return st;
}

static int list_or_verify(const struct ls_ckpt_request *rq, bool deep)
{
	const char *name = deep ? "ckpt verify" : "ckpt ls";
	struct ls_err err = LS_ERR_INIT;
	size_t seen = 0, damaged = 0;
	ls_status st;

	if (rq->json)
		fputs("[", stdout);
	st = walk(rq, deep, &seen, &damaged, &err);
	if (rq->json)
		puts("\n]");
	if (!st && !seen && deep)
		st = ls_fail(&err, LS_NOT_FOUND, 0, "no checkpoint in %s", ls_store_uri(rq->store));
	if (st)
		return ls_command_fail(name, st, &err);
	if (!seen && !rq->json)
		printf("no checkpoint in %s\n", ls_store_uri(rq->store));
	if (deep && damaged)
		return ls_command_fail(name,
			ls_fail(&err, LS_DATA_BAD, 0, "%zu of %zu checkpoints %s damaged", damaged, seen,
				damaged == 1 ? "is" : "are"),
			&err);
	return 0;
}

static void print_tensor(const char *name, enum ls_dtype dtype, int ndim, const int64_t *shape)
{
	int d;

	printf("    %-4s [", ls_dtype_name(dtype));
	for (d = 0; d < ndim; d++)
		printf("%s%" PRId64, d ? ", " : "", shape[d]);
	printf("]  %s\n", name);
}

static void print_tensors(const struct ls_st *table)
{
	size_t i;

	for (i = 0; i < table->n; i++) {
		const struct ls_tensor *t = &table->tensors[i];

		print_tensor(t->name, t->dtype, t->ndim, t->shape);
	}
}

static ls_status print_ckpt(struct ls_store *s, const struct ls_ckpt *c, struct ls_err *err)
{
	ls_status st = LS_OK;
	size_t i;

	printf("job         %s\nattempt     %u\nstep        %lld\ngeneration  %u\nworld size  %d\ntime        %s\n",
		c->job[0] ? c->job : "-", c->attempt, c->id.step, c->id.generation, c->world_size, c->time);
	printf("sampler     seed %" PRIu64 ", epoch %lld, %lld samples of it used\n", c->seed, c->epoch,
		c->epoch_samples);
	for (i = 0; i < c->versions.n; i++)
		printf("%-12s%s\n", i ? "" : "versions", c->versions.v[i]);
	if (c->n_sharded)
		printf("sharded     whole tensors, of which the shards hold rows NAME[FIRST:LAST]\n");
	for (i = 0; i < c->n_sharded; i++)
		print_tensor(c->sharded[i].name, c->sharded[i].dtype, c->sharded[i].ndim, c->sharded[i].shape);
	for (i = 0; i < c->n_shards && !st; i++) {
		struct ls_st table = { 0 };
		uint32_t crc32c;

		printf("%s  %" PRIu64 " bytes  crc32c %08" PRIx32 "\n", c->shards[i].key, c->shards[i].bytes,
			c->shards[i].crc32c);
		st = ls_ckpt_shard_open(s, &c->shards[i], &table, &crc32c, err);
		if (!st)
			print_tensors(&table);
		ls_st_release(&table);
	}
	return st;
}

/* --json is the manifest as it is stored: its format is documented, and it is checked before it is shown. */
static ls_status print_manifest(struct ls_store *s, struct ls_ckpt_id id, struct ls_err *err)
{
	char dir[LS_CKPT_DIR_MAX], key[LS_CKPT_KEY_MAX], *text;
	uint64_t bytes;
	ls_status st;

	ls_ckpt_dir(id, dir);
	snprintf(key, sizeof(key), "%s/manifest.json", dir);
	st = ls_store_size(s, key, &bytes, err);
	if (st)
		return st;
	text = malloc(bytes + 1);
	if (!text)
		return ls_fail_oom(err);
	st = ls_store_get(s, key, 0, text, bytes, err);
	if (!st)
		fwrite(text, 1, bytes, stdout);
	free(text);
	return st;
}

int ls_cmd_ckpt_show(const struct ls_ckpt_request *rq)
{
	struct ls_err err = LS_ERR_INIT;
	struct ls_ckpt c = { 0 };
	struct ls_ckpt_id id;
	ls_status st = ls_cmd_ckpt_pick(rq, &id, &err);

	if (!st)
		st = ls_ckpt_read(rq->store, id, &c, &err);
	if (!st)
		st = rq->json ? print_manifest(rq->store, id, &err) : print_ckpt(rq->store, &c, &err);
	ls_ckpt_release(&c);
	return st ? ls_command_fail("ckpt show", st, &err) : 0;
}

int ls_cmd_ckpt_ls(const struct ls_ckpt_request *rq)
{
	return list_or_verify(rq, false);
}

int ls_cmd_ckpt_verify(const struct ls_ckpt_request *rq)
{
	return list_or_verify(rq, true);
}
