/* ckpt_claim.c -- generations: who may publish.
 *
 *     attempt 1   claim 1 ── list, restore ── shards ── fence ── manifest ── fence ── reported
 *     attempt 2                                             claim 2 ── list, restore …
 *
 * The manifest is there before the second fence looks, and claim 2 is there before attempt 2 lists. So either the fence sees claim 2, or
 * attempt 2 sees the manifest: nothing is reported that a newer attempt has missed.
 *
 * A claim is made with only_new, so that a number has one owner. It is never taken back: a number that nobody uses costs nothing. */
#include "core/ckpt_impl.h"
#include "core/ckpt_manifest.h"
#include "core/io.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TRIES 100        /* at numbers that somebody else takes */
#define CLAIM_MAX 65536  /* bytes; what is larger is no claim of ours */

static void claim_key(unsigned generation, char ret[LS_CKPT_KEY_MAX])
{
	snprintf(ret, LS_CKPT_KEY_MAX, LS_CKPT_CLAIMS "%08u.json", generation);
}

/* 0: no claim. */
static unsigned claim_generation(const char *key)
{
	size_t head = strlen(LS_CKPT_CLAIMS);
	unsigned long number = strncmp(key, LS_CKPT_CLAIMS, head) ? 0 : strtoul(key + head, NULL, 10);
	char again[LS_CKPT_KEY_MAX];

	if (!number || number > LS_CKPT_GENERATION_MAX)
		return 0;
	claim_key((unsigned)number, again);
	return strcmp(key, again) ? 0 : (unsigned)number;
}

ls_status ls_ckpt_claims(struct ls_store *s, struct ls_objects *ret, struct ls_err *err)
{
	struct ls_objects found = { 0 };
	size_t i, kept = 0;
	ls_status st = ls_store_list(s, LS_CKPT_CLAIMS, &found, err);

	if (st)
		return st;
	for (i = 0; i < found.n; i++) {
		if (claim_generation(found.v[i].key))
			found.v[kept++] = found.v[i];
		else
			free(found.v[i].key);
	}
	found.n = kept;
	*ret = found;
	return LS_OK;
}

static unsigned newest_of(const struct ls_objects *claims)
{
	return claims->n ? claim_generation(claims->v[claims->n - 1].key) : 0;
}


/* Checkpoints count as well: a copy of a store may have come without its claims, and what is saved next must be newer than they are. */
static ls_status newest_saved(struct ls_store *s, unsigned *ret, struct ls_err *err)
{
	struct ls_objects all = { 0 };
	struct ls_ckpt_id id;
	size_t i;
	ls_status st = ls_store_list(s, LS_CKPT_STEPS, &all, err);

	*ret = 0;
	for (i = 0; i < all.n; i++)
		if (ls_ckpt_key_id(all.v[i].key, &id) && id.generation > *ret)
			*ret = id.generation;
	ls_objects_release(&all);
	return st;
}

/* NULL: unreadable. The caller's to cJSON_Delete. */
static cJSON *read_claim(struct ls_store *s, const struct ls_object *claim)
{
	char *text = claim->bytes <= CLAIM_MAX ? malloc(claim->bytes + 1) : NULL;
	cJSON *root = NULL;

	if (text && !ls_store_get(s, claim->key, 0, text, claim->bytes, NULL))
		root = cJSON_ParseWithLength(text, claim->bytes);
	free(text);
	return root;
}

static const char *field(const cJSON *root, const char *name, const char *otherwise)
{
	const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(root, name));

	return text ? text : otherwise;
}

/* "generation 4 in URI was claimed after generation 3 (by DIGITS attempt 2 on b, 2026-01-31T12:00:00Z)" */
static ls_status fail_fenced(
	struct ls_store *s, const struct ls_objects *claims, const cJSON *newest, unsigned mine, const char *then, struct ls_err *err)
{
	return ls_fail(err, LS_JOB_LOST, 0, "generation %u in %s was claimed after generation %u (by %.300s, %.40s): %s", newest_of(claims),
		ls_store_uri(s), mine, field(newest, "who", "somebody"), field(newest, "time", "at some time"), then);
}

ls_status ls_ckpt_fenced(struct ls_store *s, const struct ls_objects *claims, unsigned mine, struct ls_err *err)
{
	cJSON *newest;
	ls_status st;

	if (newest_of(claims) <= mine)
		return LS_OK;
	newest = read_claim(s, &claims->v[claims->n - 1]);
	st = fail_fenced(s, claims, newest, mine, "this attempt publishes nothing more", err);
	cJSON_Delete(newest);
	return st;
}

ls_status ls_ckpt_fence(struct ls_store *s, unsigned mine, struct ls_err *err)
{
	struct ls_objects claims = { 0 };
	ls_status st = ls_ckpt_claims(s, &claims, err);

	if (!st)
		st = ls_ckpt_fenced(s, &claims, mine, err);
	ls_objects_release(&claims);
	return st;
}

/* The token tells this claim from one that says the same. */
static ls_status claim_text(const struct ls_claimant *c, struct ls_str *ret, struct ls_err *err)
{
	cJSON *root;
	char time[32], token[17];
	bool ok;
	ls_status st;

	if (!ls_st_text_ok(c->who, strlen(c->who)) || (c->run && !ls_st_text_ok(c->run, strlen(c->run))))
		return ls_fail(err, LS_USAGE, 0, "a claim's owner must be UTF-8 text");
	st = ls_random_hex(token, 8, err);
	if (st)
		return st;
	ls_time_rfc3339(time);
	root = cJSON_CreateObject();
	ok = root && cJSON_AddStringToObject(root, "who", c->who) && (!c->run || cJSON_AddStringToObject(root, "run", c->run)) &&
	     cJSON_AddStringToObject(root, "time", time) && cJSON_AddStringToObject(root, "token", token);
	return ls_ckpt_json(root, ok, ret, err);
}

/* *ret_mine: the claim is there, and it is this one. A put whose answer was lost finds itself. */
static ls_status put_claim(struct ls_store *s, unsigned generation, const struct ls_str *text, bool *ret_mine, struct ls_err *err)
{
	char key[LS_CKPT_KEY_MAX];
	struct iovec iov = { text->s, text->len };
	ls_status st;

	claim_key(generation, key);
	st = ls_store_put(s, key, &iov, 1, true, NULL, err);
	*ret_mine = !st;
	if (st != LS_EXISTS)
		return st;
	st = ls_ckpt_object_is(s, key, text, ret_mine, err);
	return st == LS_NOT_FOUND ? LS_OK : st; /* pruned meanwhile: there is a newer one */
}

/* The claim is made: does the store refuse it a second time? */
static ls_status probe(struct ls_store *s, unsigned generation, const struct ls_str *text, bool *ret_conditional, struct ls_err *err)
{
	char key[LS_CKPT_KEY_MAX];
	struct iovec iov = { text->s, text->len };
	ls_status st;

	claim_key(generation, key);
	st = ls_store_put(s, key, &iov, 1, true, NULL, err);
	*ret_conditional = st == LS_EXISTS;
	return st == LS_EXISTS ? LS_OK : st;
}

/* The newest claim, unless it fences this run: one of another run that came after ours. One that this run does not know of may be its own:
 * an attempt that claimed and died before it could tell. */
static ls_status newest_claim(struct ls_store *s, const struct ls_claimant *c, unsigned *ret, struct ls_err *err)
{
	struct ls_objects claims = { 0 };
	cJSON *newest = NULL;
	ls_status st = ls_ckpt_claims(s, &claims, err);

	if (!st && c->ours && newest_of(&claims) > c->ours) {
		newest = read_claim(s, &claims.v[claims.n - 1]);
		if (!c->run || strcmp(field(newest, "run", ""), c->run))
			st = fail_fenced(s, &claims, newest, c->ours, "this job does not go on; only a new start takes over", err);
	}
	if (!st)
		*ret = newest_of(&claims);
	cJSON_Delete(newest);
	ls_objects_release(&claims);
	return st;
}

/* Between a list and a put, others may claim several numbers and prune the one that this call then takes: so it looks again, and
 * claims above them. */
static ls_status claim(
	struct ls_store *s, const struct ls_claimant *c, const struct ls_str *text, unsigned *ret, struct ls_err *err)
{
	unsigned newest = 0, next;
	bool mine;
	int i;
	ls_status st = newest_saved(s, &next, err);

	if (!st)
		st = newest_claim(s, c, &newest, err);
	next = next >= c->at_least ? next + 1 : c->at_least;
	for (i = 0; !st && i < TRIES; i++) {
		next = newest >= next ? newest + 1 : next;
		if (next > LS_CKPT_GENERATION_MAX)
			return ls_fail(err, LS_USAGE, 0, "%s has used up its %u generations: use another directory",
				ls_store_uri(s), LS_CKPT_GENERATION_MAX);
		st = put_claim(s, next, text, &mine, err);
		if (!st)
			st = newest_claim(s, c, &newest, err);
		if (!st && mine && newest <= next) {
			*ret = next;
			return LS_OK;
		}
		next++;
	}
	return st ? st : ls_fail(err, LS_AGAIN, 0, "others keep claiming generations in %s", ls_store_uri(s));
}

ls_status ls_ckpt_claim(struct ls_store *s, const struct ls_claimant *claimant, unsigned *ret_generation, bool *ret_conditional,
	struct ls_err *err)
{
	struct ls_str text = { 0 };
	unsigned generation = 0;
	bool conditional;
	ls_status st = claim_text(claimant, &text, err);

	if (!st)
		st = claim(s, claimant, &text, &generation, err);
	if (!st)
		st = probe(s, generation, &text, &conditional, err);
	ls_str_release(&text);
	if (st)
		return st;
	*ret_generation = generation;
	*ret_conditional = conditional;
	return LS_OK;
}
