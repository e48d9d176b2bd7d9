/* ckpt_prune.c -- what nobody needs any more; see ckpt.h.
 *
 * Everything is decided from one listing of the store, and nothing is remembered: what a call that was interrupted left, the next one
 * finds as shards without a manifest. Manifests go in a batch of their own, durable before the first shard goes.
 *
 * It is safe however late it runs. Whatever is older than a whole checkpoint stays older than it, no attempt that claims later needs it,
 * and an attempt at work writes only what is newer. */
#include "core/ckpt_impl.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct prune {
	struct ls_store *s;
	const struct ls_ckpt_prune *opt;
	struct ls_objects claims, all;
	struct ls_ckpt_id *kept; /* newest first */
	size_t n_kept;
	const char **manifests, **rest; /* keys to delete, in this order */
	size_t n_manifests, n_rest;
};

static void tell(const struct prune *p, const char *what)
{
	if (p->opt->gone)
		p->opt->gone(p->opt->arg, what);
}

/* Damaged ones do not count; any other failure stops the prune, for nothing may be deleted on a guess. */
static ls_status choose_kept(struct prune *p, struct ls_err *err)
{
	size_t n = 0, i;
	ls_status st = ls_ckpt_published(&p->all, &p->kept, &n, err);

	for (i = 0; !st && i < n && p->n_kept < (size_t)p->opt->keep; i++) {
		struct ls_ckpt c = { 0 };

		st = ls_ckpt_read(p->s, p->kept[i], &c, err);
		if (!st)
			st = ls_ckpt_sizes(p->s, &c, &p->all, err);
		ls_ckpt_release(&c);
		if (!st)
			p->kept[p->n_kept++] = p->kept[i];
		else if (st == LS_DATA_BAD || st == LS_NOT_FOUND)
			st = LS_OK;
	}
	return st;
}

static bool stays(const struct prune *p, struct ls_ckpt_id id)
{
	size_t i;

	for (i = 0; i < p->n_kept; i++)
		if (ls_ckpt_compare(id, p->kept[i]) >= 0)
			return i == 0 || ls_ckpt_compare(id, p->kept[i]) == 0;
	return false;
}

static bool is_shard(const char *key)
{
	static const char suffix[] = ".safetensors";
	size_t len = strlen(key), end = sizeof(suffix) - 1;

	return len > end && !strcmp(key + len - end, suffix);
}

/* One directory's objects, all[from..to): what is not a checkpoint's is not ours to delete. */
static void collect_dir(struct prune *p, struct ls_ckpt_id id, size_t from, size_t to)
{
	char dir[LS_CKPT_DIR_MAX], manifest[LS_CKPT_KEY_MAX], what[200];
	size_t before = p->n_manifests + p->n_rest, n_manifests = p->n_manifests, i;
	uint64_t bytes = 0;

	ls_ckpt_dir(id, dir);
	ls_ckpt_manifest_key(id, manifest);
	for (i = from; i < to; i++) {
		if (!strcmp(p->all.v[i].key, manifest))
			p->manifests[p->n_manifests++] = p->all.v[i].key;
		else if (is_shard(p->all.v[i].key))
			p->rest[p->n_rest++] = p->all.v[i].key;
		else
			continue;
		bytes += p->all.v[i].bytes;
	}
	if (p->n_manifests + p->n_rest == before)
		return;
	snprintf(what, sizeof(what), "%s: %zu objects, %" PRIu64 " bytes: %s", dir, p->n_manifests + p->n_rest - before, bytes,
		p->n_manifests == n_manifests                        ? "no manifest"
		: ls_ckpt_compare(id, p->kept[p->n_kept - 1]) < 0 ? "older than all that stay"
								  : "damaged");
	tell(p, what);
}

static void collect_dirs(struct prune *p)
{
	struct ls_ckpt_id id, next;
	size_t from, to;

	for (from = 0; from < p->all.n; from = to) {
		to = from + 1;
		if (!ls_ckpt_key_id(p->all.v[from].key, &id))
			continue;
		while (to < p->all.n && ls_ckpt_key_id(p->all.v[to].key, &next) && !ls_ckpt_compare(id, next))
			to++;
		if (!stays(p, id))
			collect_dir(p, id, from, to);
	}
}

static void collect_claims(struct prune *p)
{
	char what[200];
	size_t i;

	for (i = 0; i + 1 < p->claims.n; i++) {
		p->rest[p->n_rest++] = p->claims.v[i].key;
		snprintf(what, sizeof(what), "%s: an old claim", p->claims.v[i].key);
		tell(p, what);
	}
}

static bool not_newer(void *arg, const char *name)
{
	const struct prune *p = arg;
	struct ls_ckpt_id id;
	char key[LS_CKPT_DIR_MAX + 1];

	return (size_t)snprintf(key, sizeof(key), "%s/", name) < sizeof(key) && ls_ckpt_key_id(key, &id) &&
	       ls_ckpt_compare(id, p->kept[0]) <= 0;
}

static ls_status sweep(struct prune *p, struct ls_err *err)
{
	char what[64];
	size_t n = 0;
	ls_status st = ls_store_sweep(p->s, not_newer, p, p->opt->dry, &n, err);

	if (!st && n) {
		snprintf(what, sizeof(what), "%zu unfinished %s", n, n == 1 ? "put" : "puts");
		tell(p, what);
	}
	return st;
}

static ls_status look(struct prune *p, struct ls_err *err)
{
	ls_status st = ls_ckpt_claims(p->s, &p->claims, err);

	if (!st && p->opt->mine)
		st = ls_ckpt_fenced(p->s, &p->claims, p->opt->mine, err);
	if (!st)
		st = ls_store_list(p->s, LS_CKPT_STEPS, &p->all, err);
	if (!st)
		st = choose_kept(p, err);
	if (st)
		return st;
	p->manifests = calloc(p->all.n + 1, sizeof(*p->manifests));
	p->rest = calloc(p->all.n + p->claims.n + 1, sizeof(*p->rest));
	return p->manifests && p->rest ? LS_OK : ls_fail_oom(err);
}

ls_status ls_ckpt_prune(struct ls_store *s, const struct ls_ckpt_prune *opt, struct ls_err *err)
{
	struct prune p = { .s = s, .opt = opt };
	ls_status st;

	if (opt->keep < 1)
		return ls_fail(err, LS_USAGE, 0, "keep %d checkpoints: at least 1 must stay", opt->keep);
	st = look(&p, err);
	if (!st) {
		collect_claims(&p);
		if (p.n_kept)
			collect_dirs(&p);
	}
	if (!st && !opt->dry && p.n_manifests)
		st = ls_store_delete(s, p.manifests, p.n_manifests, err);
	if (!st && !opt->dry && p.n_rest)
		st = ls_store_delete(s, p.rest, p.n_rest, err);
	if (!st && p.n_kept)
		st = sweep(&p, err);
	free(p.manifests);
	free(p.rest);
	free(p.kept);
	ls_objects_release(&p.all);
	ls_objects_release(&p.claims);
	return st;
}

ls_status ls_ckpt_delete(struct ls_store *s, struct ls_ckpt_id id, struct ls_err *err)
{
	char dir[LS_CKPT_DIR_MAX], key[LS_CKPT_KEY_MAX];
	struct ls_objects all = { 0 };
	const char **shards = NULL, *manifest = key;
	size_t n = 0, i;
	ls_status st;

	ls_ckpt_dir(id, dir);
	snprintf(key, sizeof(key), "%s/", dir);
	st = ls_store_list(s, key, &all, err);
	if (!st) {
		shards = calloc(all.n + 1, sizeof(*shards));
		st = shards ? LS_OK : ls_fail_oom(err);
	}
	for (i = 0; !st && i < all.n; i++)
		if (is_shard(all.v[i].key))
			shards[n++] = all.v[i].key;
	ls_ckpt_manifest_key(id, key);
	if (!st)
		st = ls_store_delete(s, &manifest, 1, err);
	if (!st && n)
		st = ls_store_delete(s, shards, n, err);
	free(shards);
	ls_objects_release(&all);
	return st;
}
