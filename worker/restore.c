/* restore.c -- the newest checkpoint that verifies, read by all ranks straight into place.
 *
 *     rank 0 lists the published steps ----------------------- all learn them
 *     for each, newest first:
 *       every rank verifies its share of the shards ---------- all agree: whole, or skipped with the reason
 *       every rank reads the tensors that it registered ------ all agree
 *
 * Damage (a missing or short shard, a wrong checksum, an unreadable block) is skipped: an older checkpoint helps. A
 * tensor that is missing or has another shape is not: the program changed, and silently falling back to older state
 * would hide it. Anything else (no memory, a server away) ends the restore with LS_AGAIN, so that a passing trouble
 * loses no progress. */
#include "core/event.h"
#include "worker/rank.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static bool is_damage(ls_status st, const struct ls_err *err)
{
	return st == LS_DATA_BAD || st == LS_NOT_FOUND || (st == LS_AGAIN && err->sys == EIO);
}

static ls_status place(struct lockstep *ls, const struct ls_shard *shard, const struct ls_st *file,
	const struct ls_tensor *t, struct ls_state *s, struct ls_err *err)
{
	struct ls_str stored = { 0 }, wanted = { 0 };
	ls_status st;

	if (t->dtype == s->dtype && t->ndim == s->ndim &&
		!memcmp(t->shape, s->shape, (size_t)t->ndim * sizeof(t->shape[0]))) {
		s->found = true;
		return ls_store_get(ls->store, shard->key, file->data_at + t->begin, s->data, s->bytes, err);
	}
	ls_shape_text(t->dtype, t->ndim, t->shape, &stored);
	ls_shape_text(s->dtype, s->ndim, s->shape, &wanted);
	err->rank = ls->rank;
	st = ls_fail(err, LS_USAGE, 0,
		"tensor '%s' is %s in %s/%s, but %s in this program: the model changed; run the program that "
		"saved it, or give the new one an empty directory",
		s->name, ls_str_text(&stored), ls_store_uri(ls->store), shard->key, ls_str_text(&wanted));
	ls_str_release(&stored);
	ls_str_release(&wanted);
	return st;
}

static ls_status open_shard(struct lockstep *ls, const struct ls_shard *shard, struct ls_st *ret, struct ls_err *err)
{
	unsigned char first[8];
	uint64_t head_bytes;
	char *head = NULL;
	ls_status st;

	if (shard->bytes < sizeof(first))
		return ls_fail(
			err, LS_DATA_BAD, 0, "%s/%s is too short for a shard", ls_store_uri(ls->store), shard->key);
	st = ls_store_get(ls->store, shard->key, 0, first, sizeof(first), err);
	if (!st)
		st = ls_st_head_bytes(first, shard->bytes, &head_bytes, err);
	if (st)
		return st;
	head = malloc(head_bytes);
	if (!head)
		return ls_fail_oom(err);
	st = ls_store_get(ls->store, shard->key, 0, head, head_bytes, err);
	if (!st) {
		st = ls_st_parse(head, head_bytes, shard->bytes, ret, err);
		if (st == LS_DATA_BAD)
			ls_err_at(err, st, "%s/%s: ", ls_store_uri(ls->store), shard->key);
	}
	free(head);
	return st;
}

static struct ls_state *state_of(struct lockstep *ls, const char *name)
{
	size_t i;

	for (i = 0; i < ls->n_states; i++)
		if (!strcmp(ls->states[i].name, name))
			return &ls->states[i];
	return NULL;
}

/* `ret_strangers` counts replicated tensors that this program does not know. */
static ls_status read_shard(
	struct lockstep *ls, const struct ls_shard *shard, size_t *ret_strangers, struct ls_err *err)
{
	struct ls_st file = { 0 };
	ls_status st = open_shard(ls, shard, &file, err);
	size_t i;

	for (i = 0; !st && i < file.n; i++) {
		struct ls_state *s = state_of(ls, file.tensors[i].name);

		if (s)
			st = place(ls, shard, &file, &file.tensors[i], s, err);
		else if (strncmp(file.tensors[i].name, "rank-", 5))
			++*ret_strangers;
	}
	ls_st_release(&file);
	return st;
}

static ls_status missing(struct lockstep *ls, const struct ls_ckpt *c, const struct ls_state *s, struct ls_err *err)
{
	struct ls_str shape = { 0 };
	ls_status st;

	err->rank = ls->rank;
	if (!s->replicated && c->world_size != ls->world)
		return ls_fail(err, LS_USAGE, 0,
			"step %lld in %s was saved by %d ranks, this world has %d: private state ('%s') needs "
			"the same number",
			c->step, ls_store_uri(ls->store), c->world_size, ls->world, s->name);
	ls_shape_text(s->dtype, s->ndim, s->shape, &shape);
	st = ls_fail(err, LS_USAGE, 0,
		"step %lld in %s holds no tensor '%s' %s: the model changed; run the program that saved it, or "
		"give the new one an empty directory",
		c->step, ls_store_uri(ls->store), s->name, ls_str_text(&shape));
	ls_str_release(&shape);
	return st;
}

static ls_status read_all(struct lockstep *ls, const struct ls_ckpt *c, struct ls_err *err)
{
	size_t i, strangers = 0;
	ls_status st = LS_OK;

	for (i = 0; i < ls->n_states; i++)
		ls->states[i].found = false;
	for (i = 0; !st && i < c->n_shards; i++)
		st = read_shard(ls, &c->shards[i], &strangers, err);
	for (i = 0; !st && i < ls->n_states; i++)
		if (!ls->states[i].found || (!ls->states[i].replicated && c->world_size != ls->world))
			st = missing(ls, c, &ls->states[i], err);
	if (!st && strangers && ls->rank == 0)
		ls_event_send(ls,
			"warning text=step %lld in %s holds %zu tensors that this program does not register: ignored",
			c->step, ls_store_uri(ls->store), strangers);
	return st;
}

/* The order of the data goes on as saved, whatever seed the program was given now: else samples would be seen twice. */
static void adopt(struct lockstep *ls, const struct ls_ckpt *c)
{
	char uri[1024];

	if (ls->rank == 0 && ls->sampler.samples && c->seed != ls->sampler.seed)
		ls_event_send(ls, "warning text=the sampler goes on with the checkpoint's seed %llu, not with %llu",
			(unsigned long long)c->seed, (unsigned long long)ls->sampler.seed);
	ls_sampler_seek(&ls->sampler, c->seed, c->epoch, c->epoch_samples);
	ls->newest = c->step;
	if (ls->rank == 0)
		ls_event_send(ls, "resumed step=%lld uri=%s", c->step,
			ls_event_quote(uri, sizeof(uri), ls_store_uri(ls->store)));
}

static ls_status try_step(struct lockstep *ls, long long step, struct ls_err *err)
{
	struct ls_ckpt c = { 0 };
	ls_status st = ls_ckpt_read(ls->store, step, &c, err);

	if (!st)
		st = ls_ckpt_verify(ls->store, &c, (size_t)ls->rank, (size_t)ls->world, err);
	st = ls_vote(ls, NULL, st, err);
	if (!st)
		st = ls_vote(ls, NULL, read_all(ls, &c, err), err);
	if (!st)
		adopt(ls, &c);
	ls_ckpt_release(&c);
	return st;
}

/* On every rank *ret (the caller's to free) holds rank 0's list. The memory is had everywhere before the broadcast
 * needs it. */
static ls_status list_all(struct lockstep *ls, long long **ret, size_t *ret_n, struct ls_err *err)
{
	struct ls_vote mine;
	long long *steps = NULL;
	size_t n = 0;
	ls_status st = LS_OK;

	memset(&mine, 0, sizeof(mine));
	if (ls->rank == 0)
		st = ls_ckpt_list(ls->store, &steps, &n, err);
	mine.extra = n;
	st = ls_vote(ls, &mine, st, err);
	if (st)
		goto fail;
	n = (size_t)ls->votes[0].extra;
	if (ls->rank != 0)
		steps = malloc((n + 1) * sizeof(*steps));
	st = ls_vote(ls, NULL, steps ? LS_OK : ls_fail_oom(err), err);
	if (!st)
		st = ls->ops->broadcast(ls->comm, steps, n * sizeof(*steps), 0, err);
	if (st)
		goto fail;
	*ret = steps;
	*ret_n = n;
	return LS_OK;
fail:
	free(steps);
	return st;
}

/* Newest first, until one is read. Fails with the reason why the newest was passed over when none is left. */
static ls_status try_all(struct lockstep *ls, const long long *steps, size_t n, struct ls_err *err)
{
	struct ls_err first = LS_ERR_INIT;
	ls_status st = LS_OK;
	size_t i;

	for (i = 0; i < n; i++) {
		st = try_step(ls, steps[i], err);
		if (!st || !is_damage(st, err))
			return st;
		if (ls->rank == 0)
			ls_event_send(ls, "skipped step=%lld text=%s", steps[i], err->text);
		ls->bad[ls->n_bad++] = steps[i];
		if (i == 0)
			first = *err;
		err->rank = -1;
	}
	if (n == 0)
		return LS_OK;
	return ls_fail(err, LS_DATA_BAD, 0,
		"none of the %zu checkpoints in %s is whole; the newest, step %lld: %s. Mend them, or remove "
		"them to start from the beginning",
		n, ls_store_uri(ls->store), steps[0], first.text);
}

ls_status ls_restore(struct lockstep *ls, long long *ret_step, struct ls_err *err)
{
	long long *steps = NULL;
	size_t n = 0;
	ls_status st;

	*ret_step = 0;
	if (!ls->store)
		return LS_OK;
	st = ls_states_agree(ls, err);
	if (!st)
		st = list_all(ls, &steps, &n, err);
	if (!st) {
		free(ls->bad);
		ls->n_bad = 0;
		ls->bad = malloc((n + 1) * sizeof(*ls->bad));
		st = ls_vote(ls, NULL, ls->bad ? LS_OK : ls_fail_oom(err), err);
	}
	if (!st)
		st = try_all(ls, steps, n, err);
	if (!st && ls->newest >= 0)
		*ret_step = ls->newest;
	free(steps);
	return st;
}
