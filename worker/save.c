/* save.c -- what the ranks agree on about saves, on the training thread.
 *
 *     a save is due: each rank fills a slot (training waits for this copy, and for nothing else)
 *       head   its shards are being written ──all written──> vote: sizes, checksums ──> rank 0 publishes ──> all learn it
 *       next   waits until head is done; a newer save takes its place, or waits, as told
 *
 * Invariants
 *   - head and next are the same steps on all ranks: they change by agreed facts alone, which travel with the control sum at the end of a
 *     step (progress.c). Nobody waits for a background thread of another rank.
 *   - When a rank begins to fill a slot, the snapshot before is whole on all ranks: each said so in the control sum since (room), or in
 *     a vote. So the newest slot is never the one that is filled, and a restart always finds a whole set (memory.c).
 *   - The manifest is published when every shard is durable, by rank 0, fenced (core/ckpt.h).
 *   - A store that is away costs no step. head is tried again; as soon as there is a newer snapshot, that is written instead. */
#include "core/event.h"
#include "core/hold.h"
#include "core/io.h"
#include "worker/rank.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLINK_MS 20

static void tell(void *arg, const char *line)
{
	ls_event_send(arg, "%s", line);
}

struct ls_claimant ls_claimant_of(const struct lockstep *ls)
{
	return (struct ls_claimant){ .who = ls->who, .run = ls->set.agent, .ours = (unsigned)ls->set.claimed };
}

ls_status ls_saves_open(struct lockstep *ls, struct ls_err *err)
{
	struct ls_saver_options opt = { .uri = ls->set.checkpoint_uri, .claimant = ls_claimant_of(ls), .rank = ls->rank, .keep = ls->set.keep,
		.generation = ls->generation, .layout = &ls->layout, .neighbour = ls->neighbour[0] ? ls->neighbour : NULL, .tell = tell,
		.arg = ls };
	ls_status st = LS_OK;

	if (ls->saver)
		return LS_OK;
	st = ls_layout_make(ls, &ls->layout, err);
	if (!st)
		st = ls_saver_open(&opt, &ls->saver, err);
	st = ls_vote(ls, NULL, st, err);
	if (st) { /* on all ranks or on none: the next try votes again */
		ls_saver_close(ls->saver);
		ls->saver = NULL;
		ls_layout_release(&ls->layout);
	}
	return st;
}

/* --- snapshots ----------------------------------------------------------------------------------------------------------- */

static void facts_of(const struct lockstep *ls, long long step, struct ls_snap_head *ret)
{
	*ret = (struct ls_snap_head){ .generation = ls->generation, .attempt = (uint32_t)ls->set.attempt, .rank = ls->rank,
		.world = ls->world, .step = step, .seed = ls->sampler.seed, .epoch = ls->sampler.epoch,
		.epoch_samples = ls->sampler.used };
	snprintf(ret->job, sizeof(ret->job), "%s", ls->set.job);
	snprintf(ret->host, sizeof(ret->host), "%s", ls->host);
}

static unsigned bit(int slot)
{
	return slot < 0 ? 0 : 1u << slot;
}

/* Those of an earlier attempt are of no use once this one's first is whole everywhere. */
static void forget_older(struct lockstep *ls)
{
	struct ls_err ignored;

	if (ls->hold && ls->may_forget && ls->snapped >= 0)
		ls_hold_forget(ls->hold, (uint32_t)ls->set.attempt, 0, -1, &ignored);
	ls->may_forget &= ls->snapped < 0;
}

/* A slot that nobody else holds is still good for the store. But an agent that was only slow must not offer the older ones after a restart,
 * when the store has newer steps. */
static void hold(struct lockstep *ls, const struct ls_slot *slot)
{
	struct ls_err e = LS_ERR_INIT;

	if (!ls->hold || !ls_hold_keep(ls->hold, slot->fd, &e))
		return;
	ls_event_send(ls, "warning text=snapshots in memory will not outlive rank %d: %s", ls->rank, e.text);
	ls_saver_hide(ls->saver);
	ls_hold_close(ls->hold);
	ls->hold = NULL;
}

static unsigned kept(const struct lockstep *ls)
{
	return bit(ls->head.slot) | bit(ls->next.slot) | bit(ls->newest_slot);
}

static ls_status snapshot(struct lockstep *ls, long long step, int *ret_slot, struct ls_err *err)
{
	struct ls_snap_head facts;
	struct ls_slot *slot;
	ls_status st = ls_saver_slot(ls->saver, kept(ls), ret_slot, &slot, err);

	/* One rank without memory: none saves, and all know. A vote waits for the slowest rank, so it is held only where room is not sure. */
	if (!ls->room)
		st = ls_vote(ls, NULL, st, err);
	if (st)
		return st;
	ls->room = false;
	forget_older(ls);
	facts_of(ls, step, &facts);
	st = ls_slot_fill(slot, &ls->layout, &facts, err);
	if (st)
		return st; /* a GPU that fails ends the rank, and so the attempt */
	hold(ls, slot);
	ls->newest_slot = *ret_slot;
	ls->snapped = step;
	ls_saver_copy(ls->saver, *ret_slot);
	return LS_OK;
}

/* --- the queue ------------------------------------------------------------------------------------------------------------- */

static void start_head(struct lockstep *ls, struct ls_saving s)
{
	ls->head = s;
	ls->publishing = false;
	if (s.step >= 0)
		ls_saver_write(ls->saver, s.slot);
}

static void advance(struct lockstep *ls)
{
	struct ls_saving next = ls->next;

	ls->next = LS_NO_SAVING;
	start_head(ls, next);
}

static void drop_head(struct lockstep *ls)
{
	ls_saver_drop(ls->saver);
	advance(ls);
}

static void enqueue(struct lockstep *ls, struct ls_saving s)
{
	if (ls->head.step < 0) {
		start_head(ls, s);
		return;
	}
	if (ls->next.step >= 0 && ls->rank == 0 && !ls->told_replaced) {
		ls_event_send(ls, "warning text=the store is slower than the saves: step %lld is still being written, so step %lld is skipped "
			"for step %lld", ls->head.step, ls->next.step, s.step);
		ls->told_replaced = true;
	}
	ls->next = s;
}

/* --- publishing ------------------------------------------------------------------------------------------------------------ */

static ls_status add_sharded(struct lockstep *ls, struct ls_ckpt *c, struct ls_err *err)
{
	size_t i;

	c->sharded = calloc(ls->n_states + 1, sizeof(*c->sharded));
	if (!c->sharded)
		return ls_fail_oom(err);
	for (i = 0; i < ls->n_states; i++) {
		const struct ls_state *s = &ls->states[i];
		struct ls_sharded *sh = &c->sharded[c->n_sharded];

		if (s->kind != LOCKSTEP_SHARDED)
			continue;
		*sh = (struct ls_sharded){ strdup(s->name), s->dtype, s->ndim, { 0 } };
		memcpy(sh->shape, s->shape, sizeof(s->shape));
		sh->shape[0] = s->rows;
		c->n_sharded++;
		if (!sh->name)
			return ls_fail_oom(err);
	}
	return LS_OK;
}

/* Sampler state and time are the snapshot's, not today's. */
static ls_status fill(struct lockstep *ls, const struct ls_snap_head *snap, struct ls_ckpt *c, struct ls_err *err)
{
	char key[LS_CKPT_KEY_MAX];
	int r;

	*c = (struct ls_ckpt){ .attempt = (unsigned)ls->set.attempt, .id = { ls->generation, snap->step }, .world_size = ls->world,
		.seed = snap->seed, .epoch = snap->epoch, .epoch_samples = snap->epoch_samples };
	ls_time_rfc3339(c->time);
	ls_strv_addf(&c->versions, "lockstep=%s", LOCKSTEP_VERSION);
	ls_strv_addf(&c->versions, "%s=%s", ls->comm->backend->name, ls->comm->library);
	if (ls->gpu)
		ls_strv_addf(&c->versions, "%s=%s", ls->gpu->backend->name, ls->gpu->library);
	c->job = strdup(ls->set.job);
	c->shards = calloc((size_t)ls->world, sizeof(*c->shards));
	if (c->versions.oom || !c->job || !c->shards)
		return ls_fail_oom(err);
	for (r = 0; r < ls->world; r++) {
		ls_ckpt_shard_key(c->id, r, key);
		c->shards[r] = (struct ls_shard){ strdup(key), ls->votes[r].bytes, ls->votes[r].crc32c };
		c->n_shards++;
		if (!c->shards[r].key)
			return ls_fail_oom(err);
	}
	return add_sharded(ls, c, err);
}

/* All shards of head are durable. */
static ls_status publish(struct lockstep *ls, struct ls_err *err)
{
	struct ls_saver_view view;
	struct ls_ckpt c = { 0 };
	struct ls_vote mine;
	ls_status st;

	ls_saver_look(ls->saver, &view);
	memset(&mine, 0, sizeof(mine));
	mine.bytes = ls->layout.bytes;
	mine.crc32c = view.crc32c;
	st = ls_vote(ls, &mine, LS_OK, err);
	if (!st)
		st = ls_verdict(ls, ls->rank == 0 ? fill(ls, ls_saver_head(ls->saver, ls->head.slot), &c, err) : LS_OK, err);
	if (st) {
		ls_ckpt_release(&c);
		return st;
	}
	ls_saver_publish(ls->saver, ls->rank == 0 ? &c : NULL, ls->head.began_s, ls->head.stall_s);
	ls->publishing = true;
	return LS_OK;
}

static ls_status fenced(struct lockstep *ls, struct ls_err *err)
{
	struct ls_saver_view view;

	ls_saver_look(ls->saver, &view);
	return ls_verdict(ls, ls->rank == 0 ? ls_fail(err, LS_JOB_LOST, 0, "%s", view.why.text) : LS_OK, err);
}

void ls_saves_say(struct lockstep *ls, double *control)
{
	struct ls_saver_view view = { 0 };

	if (!ls->saver)
		return;
	if (ls->head.step >= 0)
		ls_saver_look(ls->saver, &view);
	control[LS_CONTROL_ROOM] = ls_saver_has_room(ls->saver, kept(ls));
	control[LS_CONTROL_COPYING] = ls_saver_copying(ls->saver);
	control[LS_CONTROL_WRITTEN] = view.state == LS_SAVER_WRITTEN;
	control[LS_CONTROL_FAILING] = view.failing;
	control[LS_CONTROL_PUBLISHED] = ls->rank == 0 && view.state == LS_SAVER_PUBLISHED;
	control[LS_CONTROL_FENCED] = ls->rank == 0 && view.state == LS_SAVER_FENCED;
	control[LS_CONTROL_GENERATION] = ls->rank == 0 ? ls_saver_generation(ls->saver) : 0;
}

ls_status ls_saves_hear(struct lockstep *ls, const double *control, struct ls_err *err)
{
	ls->failing = control[LS_CONTROL_FAILING] > 0;
	ls->room = (int)control[LS_CONTROL_ROOM] == ls->world;
	ls->copying = control[LS_CONTROL_COPYING] > 0;
	if (!ls->generation && control[LS_CONTROL_GENERATION] > 0) {
		ls->generation = (unsigned)control[LS_CONTROL_GENERATION];
		if (ls->rank != 0)
			ls_saver_set_generation(ls->saver, ls->generation);
	}
	if (ls->head.step < 0)
		return LS_OK;
	if (control[LS_CONTROL_FENCED] > 0)
		return fenced(ls, err);
	if (!ls->publishing && (int)control[LS_CONTROL_WRITTEN] == ls->world)
		return publish(ls, err);
	if (control[LS_CONTROL_PUBLISHED] > 0) {
		ls->newest = ls->top = ls->head.step;
		ls->told_replaced = false;
		ls_saver_release(ls->saver);
		advance(ls);
	} else if (ls->failing && ls->next.step >= 0) {
		drop_head(ls); /* a newer one is at hand */
	}
	return LS_OK;
}

/* --- a save ---------------------------------------------------------------------------------------------------------------- */

/* One exchange outside the end of a step. */
static ls_status exchange(struct lockstep *ls, struct ls_err *err)
{
	ls_status st;

	if (!ls->control_active && ls->saver)
		ls_saver_wait(ls->saver, BLINK_MS);
	st = ls->control_active ? LS_OK : ls_control_start(ls, err);
	return st ? st : ls_control_wait(ls, err);
}

static ls_status make_room(struct lockstep *ls, struct ls_err *err)
{
	ls_status st = LS_OK;

	while (!st && ls->set.wait_when_busy && ls->next.step >= 0)
		st = exchange(ls, err);
	return st;
}

/* The newest step that is published or on its way. */
static long long last_step(const struct lockstep *ls)
{
	return ls->next.step >= 0 ? ls->next.step : ls->head.step >= 0 ? ls->head.step : ls->top;
}

/* A step is written once: a second time, its shards would be written under the manifest that the first has published. */
ls_status ls_save_begin(struct lockstep *ls, long long step, bool to_store, struct ls_err *err)
{
	struct ls_saving s = { .step = step, .slot = -1, .began_s = ls_clock_s() };
	ls_status st;

	if (step < 0)
		return ls_fail(err, LS_USAGE, 0, "save of step %lld: steps count from 0", step);
	if (to_store && step == last_step(ls))
		return LS_OK;
	if (to_store && step < last_step(ls))
		return ls_fail(err, LS_USAGE, 0, "save of step %lld: step %lld is saved already, and steps only go up", step, last_step(ls));
	st = ls_states_agree(ls, err);
	if (!st)
		st = ls_saves_open(ls, err);
	if (!st && to_store)
		st = make_room(ls, err);
	if (!st)
		st = snapshot(ls, step, &s.slot, err);
	if (st)
		return st;
	s.stall_s = ls_clock_s() - s.began_s;
	if (to_store)
		enqueue(ls, s);
	return LS_OK;
}

ls_status ls_save_memory(struct lockstep *ls, long long step, struct ls_err *err)
{
	ls_status st = LS_OK;

	if (!ls->copying)
		st = ls_save_begin(ls, step, false, err);
	else
		ls_fail(err, LS_AGAIN, 0, "copies on other hosts take longer than spec.checkpoint.memory.everySteps");
	if ((ls->copying || st == LS_AGAIN) && ls->rank == 0 && !ls->told_skipped)
		ls_event_send(ls, "warning text=snapshots in memory are skipped, the first at step %lld: %s", step, err->text);
	ls->told_skipped |= ls->copying || st == LS_AGAIN;
	return st;
}

/* The reason for the failure of head, one sentence for all ranks. */
static ls_status why_failed(struct lockstep *ls, struct ls_err *err)
{
	struct ls_saver_view view;
	ls_status st = LS_OK;

	ls_saver_look(ls->saver, &view);
	if (view.failing) {
		*err = view.why;
		st = LS_AGAIN;
	}
	return ls_vote(ls, NULL, st, err);
}

ls_status ls_saves_flush(struct lockstep *ls, struct ls_err *err)
{
	ls_status st = LS_OK;

	ls->failing = false;
	while (!st && ls->head.step >= 0) {
		st = exchange(ls, err);
		if (st || !ls->failing || ls->head.step < 0)
			continue;
		st = why_failed(ls, err);
		if (st && !ls->publishing) /* its manifest may be there, or come late: such a save is tried until it is sure */
			drop_head(ls);
	}
	return st;
}

ls_status ls_saves_end(struct lockstep *ls, struct ls_err *err)
{
	ls_status st = ls_control_wait(ls, err);

	if (!st)
		st = ls_saves_flush(ls, err);
	if (st && st != LS_AGAIN)
		return st;
	while (ls->head.step >= 0)
		drop_head(ls);
	return LS_OK;
}

ls_status ls_save_now(struct lockstep *ls, long long step, struct ls_err *err)
{
	ls_status st = LS_OK;

	if (!ls->store || step == ls->newest)
		return LS_OK;
	if (step == ls->head.step)
		ls_saver_retry(ls->saver);
	else if (step != ls->next.step)
		st = ls_save_begin(ls, step, true, err);
	if (!st)
		st = ls_saves_flush(ls, err);
	return st;
}

void ls_saves_close(struct lockstep *ls)
{
	ls_saver_close(ls->saver);
	ls_layout_release(&ls->layout);
	ls_hold_close(ls->hold);
}
