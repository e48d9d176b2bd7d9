/* restore.c -- where a rank begins: from the newest snapshot in memory, else from the newest checkpoint that is whole.
 *
 *     snapshots whole over all hosts? (memory.c) ------------- load the newest: the store is not even asked
 *     rank 0 claims a generation, then lists ----------------- all learn both
 *     for each, newest first: every rank reads the manifest -- load (load.c), or skip with the reason
 *
 * Damage (a missing or short shard, a wrong checksum, an unreadable block) is skipped: an older checkpoint helps. A
 * tensor that is missing or has another shape is not: the program changed, and silently falling back to older state
 * would hide it. Anything else (no memory, a server away) ends the restore with LS_AGAIN, so that a passing trouble
 * loses no progress. A claim that cannot be had (a full disk) is only told: the first save tries again. */
#include "core/crc32c.h"
#include "core/event.h"
#include "worker/rank.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LISTS 10 /* of checkpoints, when they change meanwhile */

static bool is_damage(ls_status st, const struct ls_err *err)
{
	return st == LS_DATA_BAD || st == LS_NOT_FOUND || (st == LS_AGAIN && err->sys == EIO);
}

/* --- a checkpoint as a source ------------------------------------------------------------------------------------------------ */

struct stored {
	struct ls_source base;
	struct lockstep *ls;
	struct ls_ckpt ckpt;
	struct { uint64_t at; uint32_t crc32c; } *heads; /* [n_shards] of the headers: their length and checksum */
	char name[512];
};

static int reader_of(const struct ls_source *src, size_t shard)
{
	return (int)(shard % (size_t)((const struct stored *)src)->ls->world);
}

static ls_status open_shard(struct ls_source *src, size_t i, struct ls_str *ret_header, struct ls_err *err)
{
	struct stored *s = (struct stored *)src;
	ls_status st = ls_ckpt_shard_head(s->ls->store, &s->ckpt.shards[i], ret_header, err);

	if (st)
		return st;
	src->bytes[i] = s->ckpt.shards[i].bytes;
	s->heads[i].at = ret_header->len;
	s->heads[i].crc32c = ls_crc32c(0, ret_header->s, ret_header->len);
	return LS_OK;
}

static ls_status read_shard(struct ls_source *src, size_t i, const struct iovec *iov, int n, struct ls_err *err)
{
	struct stored *s = (struct stored *)src;
	const struct ls_shard *shard = &s->ckpt.shards[i];
	uint32_t crc32c = 0;
	ls_status st = ls_store_read(s->ls->store, shard->key, s->heads[i].at, iov, n, &crc32c, err);

	if (st)
		return st;
	crc32c = ls_crc32c_combine(s->heads[i].crc32c, crc32c, shard->bytes - s->heads[i].at);
	if (crc32c == shard->crc32c)
		return LS_OK;
	return ls_fail(err, LS_DATA_BAD, 0, "%s/%s has crc32c %08" PRIx32 ", its manifest says %08" PRIx32, ls_store_uri(s->ls->store),
		shard->key, crc32c, shard->crc32c);
}

static ls_status verify(struct ls_source *src, struct ls_err *err)
{
	struct stored *s = (struct stored *)src;

	return ls_ckpt_verify(s->ls->store, &s->ckpt, (size_t)s->ls->rank, (size_t)s->ls->world, err);
}

/* The order of the data goes on as saved, whatever seed the program was given now: else samples would be seen twice. */
void ls_restored(struct lockstep *ls, long long step, uint64_t seed, int64_t epoch, int64_t used, const char *from)
{
	char uri[1024];

	if (ls->rank == 0 && ls->sampler.samples && seed != ls->sampler.seed)
		ls_event_send(ls, "warning text=the sampler goes on with the checkpoint's seed %" PRIu64 ", not with %" PRIu64, seed,
			ls->sampler.seed);
	ls_sampler_seek(&ls->sampler, seed, epoch, used);
	ls->resumed = step;
	if (ls->rank == 0)
		ls_event_send(ls, "resumed step=%lld from=%s uri=%s", step, from,
			ls_event_quote(uri, sizeof(uri), ls_store_uri(ls->store)));
}

/* All that the ranks take from a manifest. */
static uint64_t digest(const struct ls_ckpt *c)
{
	long long numbers[] = { c->world_size, (long long)c->seed, c->epoch, c->epoch_samples, (long long)c->n_shards };
	uint32_t crc32c = ls_crc32c(0, numbers, sizeof(numbers));
	size_t i;

	for (i = 0; i < c->n_shards; i++) {
		crc32c = ls_crc32c(crc32c, c->shards[i].key, strlen(c->shards[i].key));
		crc32c = ls_crc32c(crc32c, &c->shards[i].bytes, sizeof(c->shards[i].bytes));
		crc32c = ls_crc32c(crc32c, &c->shards[i].crc32c, sizeof(c->shards[i].crc32c));
	}
	return crc32c;
}

/* Where hosts have directories of their own under one name, each could hold another checkpoint of one step. */
static ls_status agree(struct lockstep *ls, const struct ls_ckpt *c, ls_status st, struct ls_err *err)
{
	struct ls_vote mine;
	int r;

	memset(&mine, 0, sizeof(mine));
	mine.extra = st ? 0 : digest(c);
	st = ls_vote(ls, &mine, st, err);
	for (r = 1; !st && r < ls->world; r++)
		if (ls->votes[r].extra != ls->votes[0].extra)
			st = ls_fail(err, LS_DATA_BAD, 0, "rank %d reads another manifest of step %lld than rank 0: file:// needs a file system "
				"that all hosts share", r, c->id.step);
	return st;
}

static ls_status try_one(struct lockstep *ls, struct ls_ckpt_id id, struct ls_err *err)
{
	struct stored s = { .base = { .reader = reader_of, .open = open_shard, .read = read_shard, .verify = verify }, .ls = ls };
	ls_status st = ls_ckpt_read(ls->store, id, &s.ckpt, err);

	if (!st && ls->rank == 0)
		st = ls_ckpt_check(ls->store, &s.ckpt, err); /* one listing says what is missing */
	if (!st) {
		snprintf(s.name, sizeof(s.name), "step %lld in %s", id.step, ls_store_uri(ls->store));
		s.base.name = s.name;
		s.base.world = s.ckpt.world_size;
		s.base.n = s.ckpt.n_shards;
		s.base.bytes = calloc(s.base.n, sizeof(*s.base.bytes));
		s.heads = calloc(s.base.n, sizeof(*s.heads));
		if (!s.base.bytes || !s.heads)
			st = ls_fail_oom(err);
	}
	st = agree(ls, &s.ckpt, st, err);
	if (!st)
		st = ls_load(ls, &s.base, err);
	if (!st) {
		ls_restored(ls, id.step, s.ckpt.seed, s.ckpt.epoch, s.ckpt.epoch_samples, "store");
		ls->newest = id.step;
	}
	free(s.base.bytes);
	free(s.heads);
	ls_ckpt_release(&s.ckpt);
	return st;
}

/* --- which ------------------------------------------------------------------------------------------------------------------- */

/* Rank 0: before the list, so that nothing older can be published unseen after it. */
static ls_status claim(struct lockstep *ls, struct ls_err *err)
{
	struct ls_claimant claimant = ls_claimant_of(ls);
	struct ls_err e = LS_ERR_INIT;
	bool conditional = true;
	ls_status st;

	ls->generation = 0;
	st = ls_ckpt_claim(ls->store, &claimant, &ls->generation, &conditional, &e);
	if (st == LS_JOB_LOST) {
		*err = e;
		return st;
	}
	if (!st)
		ls_event_send(ls, "claimed generation=%u", ls->generation);
	if (st)
		ls_event_send(ls, "warning text=no claim on %s yet, the first save tries again: %s", ls_store_uri(ls->store), e.text);
	else if (!conditional)
		ls_event_send(ls, "warning text=" LS_NOT_CONDITIONAL, ls_store_uri(ls->store));
	return LS_OK;
}

/* On every rank *ret (the caller's to free()) holds rank 0's list. The memory is had everywhere before the broadcast
 * needs it. */
static ls_status list_all(struct lockstep *ls, struct ls_ckpt_id **ret, size_t *ret_n, struct ls_err *err)
{
	struct ls_vote mine;
	struct ls_ckpt_id *ids = NULL;
	size_t n = 0;
	ls_status st = LS_OK;

	memset(&mine, 0, sizeof(mine));
	if (ls->rank == 0)
		st = ls_ckpt_list(ls->store, &ids, &n, err);
	mine.extra = n;
	mine.bytes = ls->generation;
	st = ls_vote(ls, &mine, st, err);
	if (st)
		goto fail;
	n = (size_t)ls->votes[0].extra;
	ls->generation = (unsigned)ls->votes[0].bytes;
	ls->top = -1; /* of this generation */
	if (ls->saver)
		ls_saver_set_generation(ls->saver, ls->generation);
	if (ls->rank != 0)
		ids = malloc((n + 1) * sizeof(*ids));
	st = ls_vote(ls, NULL, ids ? LS_OK : ls_fail_oom(err), err);
	if (!st)
		st = ls_run_broadcast(ls->comm, ids, n * sizeof(*ids), 0, err);
	if (st)
		goto fail;
	*ret = ids;
	*ret_n = n;
	return LS_OK;
fail:
	free(ids);
	return st;
}

/* One that does not read may be damaged, or be pruned just now by an attempt that is not dead yet: then a newer one is there, and the list
 * another (core/ckpt.h). All ranks learn rank 0's answer. */
static ls_status has_moved(struct lockstep *ls, const struct ls_ckpt_id *ids, size_t n, bool *ret, struct ls_err *err)
{
	struct ls_ckpt_id *now = NULL;
	struct ls_vote mine;
	size_t n_now = 0, i;
	ls_status st = LS_OK;

	memset(&mine, 0, sizeof(mine));
	if (ls->rank == 0)
		st = ls_ckpt_list(ls->store, &now, &n_now, err);
	for (i = 0; !st && i < n && i < n_now && !ls_ckpt_compare(ids[i], now[i]); i++)
		;
	mine.extra = n != n_now || i < n;
	free(now);
	st = ls_vote(ls, &mine, st, err);
	*ret = !st && ls->votes[0].extra;
	return st;
}

/* Newest first, until one is read. Fails with the reason why the newest was passed over when none is left. */
static ls_status try_all(struct lockstep *ls, const struct ls_ckpt_id *ids, size_t n, bool *ret_moved, struct ls_err *err)
{
	struct ls_err again = LS_ERR_INIT;
	struct ls_err first = LS_ERR_INIT;
	ls_status st = LS_OK;
	size_t i;

	for (i = 0; i < n; i++) {
		st = try_one(ls, ids[i], err);
		if (!st || !is_damage(st, err))
			return st;
		st = has_moved(ls, ids, n, ret_moved, &again);
		if (st || *ret_moved) {
			*err = again;
			return st;
		}
		if (ls->rank == 0)
			ls_event_send(ls, "skipped step=%lld text=%s", ids[i].step, err->text);
		if (i == 0)
			first = *err;
		err->rank = -1;
	}
	if (n == 0)
		return LS_OK;
	return ls_fail(err, LS_DATA_BAD, 0,
		"none of the %zu checkpoints in %s is whole; the newest, step %lld: %s. Mend them, or remove "
		"them to start from the beginning",
		n, ls_store_uri(ls->store), ids[0].step, first.text);
}

static ls_status from_store(struct lockstep *ls, struct ls_err *err)
{
	bool moved = true;
	int i;
	ls_status st = ls_verdict(ls, ls->rank == 0 ? claim(ls, err) : LS_OK, err);

	for (i = 0; !st && moved && i < LISTS; i++) {
		struct ls_ckpt_id *ids = NULL;
		size_t n = 0;

		moved = false;
		st = list_all(ls, &ids, &n, err);
		if (!st)
			st = try_all(ls, ids, n, &moved, err);
		free(ids);
	}
	if (!st && moved)
		st = ls_fail(err, LS_AGAIN, 0, "the checkpoints in %s change faster than they can be read: another job saves there",
			ls_store_uri(ls->store));
	return st;
}

ls_status ls_restore(struct lockstep *ls, long long *ret_step, struct ls_err *err)
{
	ls_status st;

	*ret_step = 0;
	if (!ls->store)
		return LS_OK;
	st = ls_states_agree(ls, err);
	if (!st && ls->saver)
		st = ls_saves_end(ls, err);
	if (!st)
		st = ls_memory_restore(ls, err);
	if (st == LS_NOT_FOUND)
		st = from_store(ls, err);
	if (!st)
		st = ls_saves_open(ls, err); /* its memory is had while the program goes on */
	if (!st)
		*ret_step = ls->resumed;
	return st;
}
