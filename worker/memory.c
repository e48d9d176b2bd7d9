/* memory.c -- snapshots that the hosts' agents hold (core/hold.h), as a place to start from.
 *
 *     every rank asks its agent, once, what it holds ------------ all learn who has which shard of which step
 *     the newest step of which every shard is somewhere --------- each shard has a reader: a rank on a host that holds it
 *     load (load.c) from there
 *
 * Invariants
 *   - A set is used whole or not at all: the shards of one (attempt, step), each SEALED, one for every rank of the world that saved it.
 *   - Memory is trusted to be the newest only if all ranks reached their agents, in this attempt and so in the one that filled it: each
 *     snapshot for the store goes through memory first. Else what is held is let go, and the store is asked.
 *
 * A host that is lost took its shards with it; copies on its neighbour take their place (LOCKSTEP_CHECKPOINT_COPIES). The world may
 * have another size now. */
#include "core/crc32c.h"
#include "core/event.h"
#include "core/hold.h"
#include "worker/rank.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { OFFER_MAX = 256 }; /* of one rank: its host's snapshots */

/* Crosses the network as it is. */
struct offer {
	uint32_t attempt;
	int32_t rank, world, unused; /* world 0: no offer */
	int64_t step;
};

struct held {
	struct ls_source base;
	struct lockstep *ls;
	const struct offer *offers; /* [world of now][OFFER_MAX] */
	struct offer set;           /* attempt, step, world of the chosen one */
	int *readers;               /* [set.world] */
	struct ls_held *mine;
	size_t n_mine;
	const char **maps;          /* [n] of those this rank reads */
	char name[64];
};

/* --- reaching the agents ------------------------------------------------------------------------------------------------------ */

/* The next host's agent takes this rank's copies. */
static ls_status find_neighbour(struct lockstep *ls, struct ls_err *err)
{
	char mine[sizeof(ls->neighbour)] = "", *all = calloc((size_t)ls->world, sizeof(mine));
	ls_status st = ls_vote(ls, NULL, all ? LS_OK : ls_fail_oom(err), err); /* its votes tell the hosts */
	int i;

	snprintf(mine, sizeof(mine), "%s", ls_hold_address(ls->hold));
	if (!st)
		st = ls_run_allgather(ls->comm, mine, all, sizeof(mine), err);
	for (i = 1; !st && i < ls->world; i++) {
		int r = (ls->rank + i) % ls->world;

		if (strcmp(ls->votes[r].host, ls->host) && all[(size_t)r * sizeof(mine)]) {
			memcpy(ls->neighbour, all + (size_t)r * sizeof(mine), sizeof(mine));
			break;
		}
	}
	if (!st && !ls->neighbour[0] && ls->rank == 0)
		ls_event_send(ls, "warning text=there is no other host for copies of snapshots (spec.checkpoint.copies)");
	free(all);
	return st;
}

/* All ranks reach their agents, or none uses them. */
static ls_status reach(struct lockstep *ls, struct ls_err *err)
{
	struct ls_err e = LS_ERR_INIT, ignored;
	ls_status st;

	ls_hold_close(ls->hold); /* of a restore that failed */
	ls->hold = NULL;
	st = ls->set.agent ? ls_hold_open(ls->set.agent, &ls->hold, &e) : LS_NOT_FOUND;

	st = ls_vote(ls, NULL, st, &e);
	if (st == LS_RANK_LOST) {
		*err = e;
		return st;
	}
	if (!st)
		return ls->set.copies ? find_neighbour(ls, err) : LS_OK;
	if (ls->hold)
		ls_hold_forget(ls->hold, UINT32_MAX, 0, -1, &ignored);
	ls_hold_close(ls->hold);
	ls->hold = NULL;
	if (ls->set.agent && ls->rank == 0)
		ls_event_send(ls, "warning text=no snapshots are held in memory: %s", e.text);
	return LS_OK;
}

/* --- what there is ------------------------------------------------------------------------------------------------------------ */

static int newest_first(const void *a, const void *b)
{
	const struct ls_snap_head *x = &((const struct ls_held *)a)->head, *y = &((const struct ls_held *)b)->head;

	if (x->attempt != y->attempt)
		return x->attempt < y->attempt ? 1 : -1;
	return (x->step < y->step) - (x->step > y->step);
}

/* Newest first: should a host have more than can be told, the newest set is still told whole. */
static void list_mine(struct held *h, struct offer *ret)
{
	struct ls_err ignored;
	size_t i;

	if (ls_hold_list(h->ls->hold, &h->mine, &h->n_mine, &ignored))
		h->n_mine = 0;
	if (h->n_mine)
		qsort(h->mine, h->n_mine, sizeof(*h->mine), newest_first);
	for (i = 0; i < h->n_mine && i < OFFER_MAX; i++) {
		const struct ls_snap_head *s = &h->mine[i].head;

		if (s->rank >= 0 && s->rank < s->world)
			ret[i] = (struct offer){ s->attempt, s->rank, s->world, 0, s->step };
	}
}

static bool same_set(const struct offer *a, const struct offer *b)
{
	return a->attempt == b->attempt && a->step == b->step && a->world == b->world;
}

static bool is_newer(const struct offer *a, const struct offer *b)
{
	if (a->attempt != b->attempt)
		return a->attempt > b->attempt;
	return a->step != b->step ? a->step > b->step : a->world > b->world;
}

/* Who reads which shard of h->set: the rank of the same number if it can, else the next one that can. False: some shard nobody has. */
static bool find_readers(struct held *h)
{
	size_t i, n = (size_t)h->ls->world * OFFER_MAX;
	int k, now = h->ls->world;

	for (k = 0; k < h->set.world; k++)
		h->readers[k] = -1;
	for (i = 0; i < n; i++) {
		int r = (int)(i / OFFER_MAX), shard = h->offers[i].rank, *reader;

		if (!same_set(&h->offers[i], &h->set))
			continue;
		reader = &h->readers[shard];
		if (*reader < 0 || (r - shard % now + now) % now < (*reader - shard % now + now) % now)
			*reader = r;
	}
	for (k = 0; k < h->set.world && h->readers[k] >= 0; k++)
		;
	return k == h->set.world;
}

static bool rank_has(const struct held *h, int r, int shard)
{
	const struct offer *o = h->offers + (size_t)r * OFFER_MAX;
	int i;

	for (i = 0; i < OFFER_MAX; i++)
		if (same_set(&o[i], &h->set) && o[i].rank == shard)
			return true;
	return false;
}

/* On one host every rank copies what it needs from every shard: several times faster than broadcasts of MPI. */
static bool all_have_all(const struct held *h)
{
	const struct lockstep *ls = h->ls;
	int r, k;

	for (r = 0; r < ls->world; r++)
		for (k = 0; k < h->set.world; k++)
			if (strcmp(ls->votes[r].host, ls->host) || !rank_has(h, r, k))
				return false;
	return true;
}

/* The newest whole set. The same on all ranks: they look at the same offers. */
static ls_status choose(struct held *h, struct ls_err *err)
{
	size_t i, n = (size_t)h->ls->world * OFFER_MAX;
	struct offer tried = { .attempt = UINT32_MAX, .step = INT64_MAX, .world = INT32_MAX };

	for (;;) {
		h->set = (struct offer){ 0 };
		for (i = 0; i < n; i++)
			if (h->offers[i].world && is_newer(&tried, &h->offers[i]) && (!h->set.world || is_newer(&h->offers[i], &h->set)))
				h->set = h->offers[i];
		if (!h->set.world)
			return LS_NOT_FOUND;
		free(h->readers);
		h->readers = calloc((size_t)h->set.world, sizeof(*h->readers));
		if (!h->readers)
			return ls_fail_oom(err);
		if (find_readers(h))
			return LS_OK;
		tried = h->set;
	}
}

/* --- as a source -------------------------------------------------------------------------------------------------------------- */

static int reader_of(const struct ls_source *src, size_t shard)
{
	return ((const struct held *)src)->readers[shard];
}

static const struct ls_held *held_shard(const struct held *h, size_t shard)
{
	size_t i;

	for (i = 0; i < h->n_mine; i++) {
		const struct ls_snap_head *s = &h->mine[i].head;

		if (s->attempt == h->set.attempt && s->step == h->set.step && s->rank == (int)shard && s->world == h->set.world)
			return &h->mine[i];
	}
	return NULL;
}

/* Each snapshot's checksum is verified by one rank, its reader; all learn the outcome before anybody reads.
 * What is SEALED does not change while this attempt has not begun a snapshot: the rank that could is dead. */
static ls_status open_shard(struct ls_source *src, size_t i, struct ls_str *ret_header, struct ls_err *err)
{
	struct held *h = (struct held *)src;
	const struct ls_held *s = held_shard(h, i);
	uint64_t need;
	void *at;
	ls_status st;

	at = mmap(NULL, LS_SNAP_HEAD + s->head.bytes, PROT_READ, MAP_SHARED, s->fd, 0);
	if (at == MAP_FAILED)
		return ls_fail_oom(err);
	h->maps[i] = (char *)at + LS_SNAP_HEAD;
	src->bytes[i] = s->head.bytes;
	if (h->readers[i] == h->ls->rank && s->head.crc_known && ls_crc32c(0, h->maps[i], s->head.bytes) != s->head.crc32c)
		return ls_fail(err, LS_DATA_BAD, 0, "the snapshot of rank %zu in memory has another checksum than when it was taken", i);
	st = ls_st_head_bytes(h->maps[i], s->head.bytes, &need, err);
	if (!st)
		ls_str_addn(ret_header, h->maps[i], need);
	return st ? st : ret_header->oom ? ls_fail_oom(err) : LS_OK;
}

static ls_status read_shard(struct ls_source *src, size_t i, const struct iovec *iov, int n, struct ls_err *err)
{
	struct held *h = (struct held *)src;
	uint64_t at;
	int k;
	ls_status st = ls_st_head_bytes(h->maps[i], src->bytes[i], &at, err);

	for (k = 0; !st && k < n; k++) {
		if (iov[k].iov_len && iov[k].iov_base)
			memcpy(iov[k].iov_base, h->maps[i] + at, iov[k].iov_len);
		at += iov[k].iov_len;
	}
	return st;
}

static ls_status load(struct held *h, struct ls_err *err)
{
	struct lockstep *ls = h->ls;
	struct ls_snap_head *facts;
	ls_status st;

	snprintf(h->name, sizeof(h->name), "the snapshot of step %lld", (long long)h->set.step);
	h->base.name = h->name;
	h->base.n = (size_t)h->set.world;
	h->base.world = h->set.world;
	h->base.everywhere = all_have_all(h);
	h->base.bytes = calloc(h->base.n, sizeof(*h->base.bytes));
	h->maps = calloc(h->base.n, sizeof(*h->maps));
	facts = calloc(1, sizeof(*facts));
	st = ls_vote(ls, NULL, h->base.bytes && h->maps && facts ? LS_OK : ls_fail_oom(err), err);
	if (!st)
		st = ls_load(ls, &h->base, err);
	if (!st && ls->rank == reader_of(&h->base, 0))
		*facts = held_shard(h, 0)->head;
	if (!st)
		st = ls_run_broadcast(ls->comm, facts, sizeof(*facts), reader_of(&h->base, 0), err);
	if (!st)
		ls_restored(ls, h->set.step, facts->seed, facts->epoch, facts->epoch_samples, "memory");
	free(facts);
	return st;
}

static void release(struct held *h, struct offer *mine)
{
	size_t i;

	for (i = 0; h->maps && i < h->base.n; i++)
		if (h->maps[i])
			munmap((char *)h->maps[i] - LS_SNAP_HEAD, LS_SNAP_HEAD + h->base.bytes[i]);
	ls_held_release(h->mine, h->n_mine);
	free(h->base.bytes);
	free(h->maps);
	free(h->readers);
	free((void *)h->offers);
	free(mine);
}

/* Damage in memory (a failing machine) is told, and the store asked. */
static ls_status use_or_not(struct held *h, struct ls_err *err)
{
	struct lockstep *ls = h->ls;
	struct ls_err ignored;
	ls_status st = choose(h, err);

	st = ls_vote(ls, NULL, st == LS_NOT_FOUND ? LS_OK : st, err);
	if (!st)
		st = h->set.world ? load(h, err) : LS_NOT_FOUND;
	if (st == LS_DATA_BAD) {
		if (ls->rank == 0)
			ls_event_send(ls, "skipped step=%lld text=%s", (long long)h->set.step, err->text);
		st = LS_NOT_FOUND;
	}
	if (st == LS_NOT_FOUND)
		ls_hold_forget(ls->hold, UINT32_MAX, 0, -1, &ignored);
	else if (!st)
		ls_hold_forget(ls->hold, UINT32_MAX, h->set.attempt, h->set.step, &ignored);
	ls->may_forget = !st;
	return st;
}

ls_status ls_memory_restore(struct lockstep *ls, struct ls_err *err)
{
	struct held h = { .base = { .reader = reader_of, .open = open_shard, .read = read_shard }, .ls = ls };
	struct offer *mine = NULL, *all = NULL;
	ls_status st = reach(ls, err);

	if (st || !ls->hold)
		return st ? st : LS_NOT_FOUND;
	mine = calloc(OFFER_MAX, sizeof(*mine));
	all = calloc((size_t)ls->world * OFFER_MAX, sizeof(*all));
	st = ls_vote(ls, NULL, mine && all ? LS_OK : ls_fail_oom(err), err);
	h.offers = all;
	if (!st) {
		list_mine(&h, mine);
		st = ls_run_allgather(ls->comm, mine, all, OFFER_MAX * sizeof(*mine), err);
	}
	if (!st)
		st = use_or_not(&h, err);
	release(&h, mine);
	return st;
}
