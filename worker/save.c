/* save.c -- one checkpoint, written by all ranks.
 *
 *     rank 0 looks: is this step published already? ------------------------------- all learn it (verdict)
 *     every rank writes its shard, durable on return ------------------------------ all learn whether all did (vote)
 *     rank 0 sees every shard at its size, publishes the manifest, prunes --------- all learn it (verdict)
 *
 * Invariant: the manifest is written when every shard is durable, and nothing older is deleted before the manifest
 * is. A save that fails anywhere takes its own shards back (a full disk stays full otherwise) and touches no other
 * checkpoint.
 * Not here: an asynchronous snapshot. Training stands still while this runs. */
#include "core/crc32c.h"
#include "core/event.h"
#include "core/io.h"
#include "worker/rank.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_bad(const struct lockstep *ls, long long step)
{
	size_t i;

	for (i = 0; i < ls->n_bad; i++)
		if (ls->bad[i] == step)
			return true;
	return false;
}

/* LS_EXISTS: the step is published and good, nothing to do. One that this run found damaged gives way: new shards
 * under an old manifest would never verify. */
static ls_status look(struct lockstep *ls, long long step, struct ls_err *err)
{
	struct ls_ckpt c = { 0 };
	ls_status st = ls_ckpt_read(ls->store, step, &c, err);

	ls_ckpt_release(&c);
	if (st == LS_NOT_FOUND)
		return LS_OK;
	if (st == LS_DATA_BAD || (!st && is_bad(ls, step)))
		return ls_ckpt_delete(ls->store, step, err);
	return st ? st : ls_fail(err, LS_EXISTS, 0, "step %lld is published already", step);
}

/* Wide elements first: then each tensor starts at a multiple of its element's size, which other readers need. */
static size_t my_tensors(struct lockstep *ls, struct ls_tensor *tensors, struct iovec *iov)
{
	static const size_t sizes[] = { 8, 4, 2, 1 };
	size_t i, k, n = 0;

	for (k = 0; k < sizeof(sizes) / sizeof(sizes[0]); k++) {
		for (i = 0; i < ls->n_states; i++) {
			struct ls_state *s = &ls->states[i];

			if (s->owner != ls->rank || ls_dtype_size(s->dtype) != sizes[k])
				continue;
			tensors[n].name = s->name;
			tensors[n].dtype = s->dtype;
			tensors[n].ndim = s->ndim;
			memcpy(tensors[n].shape, s->shape, sizeof(s->shape));
			iov[1 + n++] = (struct iovec){ s->data, s->bytes };
		}
	}
	return n;
}

static ls_status write_shard(struct lockstep *ls, long long step, struct ls_vote *vote, struct ls_err *err)
{
	struct ls_tensor *tensors = calloc(ls->n_states + 1, sizeof(*tensors));
	struct iovec *iov = calloc(ls->n_states + 1, sizeof(*iov));
	struct ls_strv metadata = { 0 };
	struct ls_str header = { 0 };
	char key[64];
	size_t n, i;
	ls_status st = tensors && iov ? LS_OK : ls_fail_oom(err);

	if (st)
		goto out;
	ls_ckpt_shard_key(step, ls->rank, key);
	n = my_tensors(ls, tensors, iov);
	ls_strv_addf(&metadata, "lockstep=%s", LOCKSTEP_VERSION);
	ls_strv_addf(&metadata, "step=%lld", step);
	ls_strv_addf(&metadata, "rank=%d", ls->rank);
	st = metadata.oom ? ls_fail_oom(err) : ls_st_header(tensors, n, &metadata, &header, err);
	if (st)
		goto out;
	iov[0] = (struct iovec){ header.s, header.len };
	for (i = 0; i <= n; i++) {
		vote->crc32c = ls_crc32c(vote->crc32c, iov[i].iov_base, iov[i].iov_len);
		vote->bytes += iov[i].iov_len;
	}
	st = ls_store_put(ls->store, key, iov, (int)n + 1, false, NULL, err);
out:
	ls_str_release(&header);
	ls_strv_release(&metadata);
	free(iov);
	free(tensors);
	return st;
}

static ls_status fill(struct lockstep *ls, long long step, struct ls_ckpt *c, struct ls_err *err)
{
	char key[64];
	int r;

	*c = (struct ls_ckpt){ .attempt = (unsigned)ls->set.attempt, .step = step, .world_size = ls->world,
		.seed = ls->sampler.seed, .epoch = ls->sampler.epoch, .epoch_samples = ls->sampler.used };
	ls_time_rfc3339(c->time);
	ls_strv_addf(&c->versions, "lockstep=%s", LOCKSTEP_VERSION);
	ls_strv_addf(&c->versions, "%s=%s", ls->ops->name, ls->comm->library);
	c->job = strdup(ls->set.job);
	c->shards = calloc((size_t)ls->world, sizeof(*c->shards));
	if (c->versions.oom || !c->job || !c->shards)
		return ls_fail_oom(err);
	for (r = 0; r < ls->world; r++) {
		ls_ckpt_shard_key(step, r, key);
		c->shards[r] = (struct ls_shard){ strdup(key), ls->votes[r].bytes, ls->votes[r].crc32c };
		c->n_shards++;
		if (!c->shards[r].key)
			return ls_fail_oom(err);
	}
	return LS_OK;
}

/* A directory of the same name on another host's own disk would give a manifest whose shards nobody can read
 * together. */
static ls_status see_all(struct lockstep *ls, const struct ls_ckpt *c, struct ls_err *err)
{
	struct ls_err why = LS_ERR_INIT;
	uint64_t bytes;
	int r;

	for (r = 0; r < ls->world; r++) {
		ls_status st = ls_store_size(ls->store, c->shards[r].key, &bytes, &why);

		if (!st && bytes == c->shards[r].bytes)
			continue;
		if (st && st != LS_NOT_FOUND) {
			*err = why;
			return st;
		}
		err->rank = r;
		return ls_fail(err, LS_AGAIN, 0,
			"rank %d on %s wrote %s under %s, but rank 0 on %s does not see it: file:// needs a file "
			"system that all hosts share",
			r, ls->votes[r].host, c->shards[r].key, ls_store_uri(ls->store), ls->host);
	}
	return LS_OK;
}

/* What a run found damaged on the way to its restore point would otherwise count as one of the `keep` newest.
 * Neither failure here loses anything: the next save tries again. */
static void clean_up(struct lockstep *ls)
{
	struct ls_err e = LS_ERR_INIT;
	ls_status st = LS_OK;

	while (!st && ls->n_bad) {
		st = ls->bad[ls->n_bad - 1] == ls->newest ? LS_OK
							  : ls_ckpt_delete(ls->store, ls->bad[ls->n_bad - 1], &e);
		if (!st)
			ls->n_bad--;
	}
	if (!st)
		st = ls_ckpt_prune(ls->store, ls->set.keep, &e);
	if (st)
		ls_event_send(ls, "warning text=old checkpoints stay in %s: %s", ls_store_uri(ls->store), e.text);
}

/* Rank 0 only. After a publish that failed half-way the manifest may be there: it goes before the shards do. */
static ls_status publish(struct lockstep *ls, long long step, uint64_t *ret_bytes, struct ls_err *err)
{
	struct ls_ckpt c;
	struct ls_err ignored;
	ls_status st = fill(ls, step, &c, err);
	int r;

	if (!st)
		st = see_all(ls, &c, err);
	if (!st) {
		st = ls_ckpt_publish(ls->store, &c, err);
		if (st == LS_EXISTS)
			st = ls_fail(err, LS_EXISTS, 0,
				"somebody else published step %lld in %s meanwhile: give each job a directory of "
				"its own",
				step, ls_store_uri(ls->store));
		else if (st)
			ls_ckpt_delete(ls->store, step, &ignored);
	}
	*ret_bytes = 0;
	for (r = 0; r < ls->world; r++)
		*ret_bytes += ls->votes[r].bytes;
	ls_ckpt_release(&c);
	return st;
}

static void take_back(struct lockstep *ls, long long step)
{
	struct ls_err ignored;
	char key[64];
	const char *one = key;

	ls_ckpt_shard_key(step, ls->rank, key);
	ls_store_delete(ls->store, &one, 1, &ignored);
}

static ls_status write_all(struct lockstep *ls, long long step, struct ls_err *err)
{
	double began = ls_clock_s();
	struct ls_vote mine;
	uint64_t bytes = 0;
	char ms[40], dir[32], uri[512];
	ls_status st;

	memset(&mine, 0, sizeof(mine));
	st = ls_vote(ls, &mine, write_shard(ls, step, &mine, err), err);
	if (!st)
		st = ls_verdict(ls, ls->rank == 0 ? publish(ls, step, &bytes, err) : LS_OK, err);
	if (st == LS_RANK_LOST)
		return st;
	if (st == LS_EXISTS) /* somebody else's manifest names these shards now: they stay */
		return err->status = LS_AGAIN;
	if (st) {
		take_back(ls, step);
		return st;
	}
	ls->newest = step;
	if (ls->rank == 0) {
		ls_ckpt_dir(step, dir);
		ls_event_send(ls, "saved step=%lld bytes=%" PRIu64 " ms=%s uri=%s/%s", step, bytes,
			ls_event_digits(ms, (double)(int64_t)((ls_clock_s() - began) * 1e6) / 1e3),
			ls_event_quote(uri, sizeof(uri), ls_store_uri(ls->store)), dir);
		clean_up(ls);
	}
	return LS_OK;
}

ls_status ls_save(struct lockstep *ls, long long step, struct ls_err *err)
{
	ls_status st;

	if (!ls->store)
		return LS_OK;
	if (step < 0)
		return ls_fail(err, LS_USAGE, 0, "save of step %lld: steps count from 0", step);
	if (step == ls->newest)
		return LS_OK;
	st = ls_states_agree(ls, err);
	if (st)
		return st;
	st = ls_verdict(ls, ls->rank == 0 ? look(ls, step, err) : LS_OK, err);
	if (st == LS_EXISTS) {
		ls->newest = step;
		return LS_OK;
	}
	return st ? st : write_all(ls, step, err);
}
