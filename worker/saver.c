/* saver.c -- see saver.h. One thread writes and publishes; a second, where there is a neighbour, sends copies. */
#include "worker/saver.h"
#include "core/event.h"
#include "core/hold.h"
#include "core/io.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

enum {
	SLOTS = 5,              /* written, next, newest, being filled, being copied */
	READY = 2,              /* made at the start */
	RETRY_MIN_MS = 500,
	RETRY_MAX_MS = 30000,
	REMIND_MS = 600000,
};

struct ls_saver {
	struct ls_saver_options opt;
	struct ls_store *store;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	pthread_t writer, courier;
	bool has_writer, has_courier, closing;

	struct ls_slot slots[SLOTS];
	int n_slots;            /* made; never fewer */
	bool warming;           /* the first ones are being made */

	struct ls_saver_view view;
	unsigned generation;
	int slot;               /* of the save that is written, -1 */
	int wanted;             /* to be written when the dropped one has let go, -1 */
	bool dropped;
	struct ls_ckpt ckpt;    /* to publish */
	double began_s, stall_s;
	int64_t told_ms;        /* when a failure was last told; 0: not since the last save that worked */

	int copy_next, copying; /* slots, -1 */
};

static void tell(struct ls_saver *sv, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void tell(struct ls_saver *sv, const char *fmt, ...)
{
	char line[LS_EVENT_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	sv->opt.tell(sv->opt.arg, line);
}

static void changed(struct ls_saver *sv)
{
	pthread_cond_broadcast(&sv->changed);
}

static void wait_ms(struct ls_saver *sv, int64_t ms)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += ms / 1000;
	until.tv_nsec += ms % 1000 * 1000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	pthread_cond_timedwait(&sv->changed, &sv->lock, &until);
}

/* --- the writer's work; the lock is not held in these -------------------------------------------------------------------- */

static struct ls_ckpt_id id_of(const struct ls_saver *sv)
{
	return (struct ls_ckpt_id){ sv->generation, sv->slots[sv->slot].head->step };
}

static ls_status claim(struct ls_saver *sv, struct ls_err *err)
{
	unsigned generation;
	bool conditional;
	ls_status st = ls_ckpt_claim(sv->store, &sv->opt.claimant, &generation, &conditional, err);

	if (st)
		return st;
	if (!conditional)
		tell(sv, "warning text=" LS_NOT_CONDITIONAL, ls_store_uri(sv->store));
	tell(sv, "claimed generation=%u", generation);
	ls_saver_set_generation(sv, generation);
	return LS_OK;
}

static ls_status write_shard(struct ls_saver *sv, uint32_t *ret_crc32c, struct ls_err *err)
{
	struct ls_slot *slot = &sv->slots[sv->slot];
	struct iovec image = { slot->image, slot->head->bytes };
	char key[LS_CKPT_KEY_MAX];
	ls_status st;

	ls_ckpt_shard_key(id_of(sv), sv->opt.rank, key);
	st = ls_store_put(sv->store, key, &image, 1, false, ret_crc32c, err);
	if (!st && *ret_crc32c != ls_slot_crc32c(slot))
		st = ls_fail(err, LS_AGAIN, 0, "the snapshot of step %" PRId64 " changed while it was written: memory is faulty, or the "
			"program writes out of bounds", slot->head->step);
	return st;
}

static void take_back(struct ls_saver *sv, struct ls_ckpt_id id)
{
	struct ls_err ignored;
	char key[LS_CKPT_KEY_MAX];
	const char *one = key;

	ls_ckpt_shard_key(id, sv->opt.rank, key);
	ls_store_delete(sv->store, &one, 1, &ignored);
}

/* The save is safe already: that old ones stay is worth a word, no more; the next prune tries again. */
static void prune(struct ls_saver *sv)
{
	struct ls_ckpt_prune opt = { .keep = sv->opt.keep, .mine = sv->generation };
	struct ls_err err = LS_ERR_INIT;

	if (ls_ckpt_prune(sv->store, &opt, &err))
		tell(sv, "warning text=old checkpoints stay in %s: %s", ls_store_uri(sv->store), err.text);
}

static void tell_saved(struct ls_saver *sv)
{
	char ms[40], stall[40], dir[LS_CKPT_DIR_MAX], uri[512];
	uint64_t bytes = 0;
	size_t i;

	for (i = 0; i < sv->ckpt.n_shards; i++)
		bytes += sv->ckpt.shards[i].bytes;
	ls_ckpt_dir(sv->ckpt.id, dir);
	tell(sv, "saved step=%lld bytes=%" PRIu64 " ms=%s stall=%s uri=%s/%s", sv->ckpt.id.step, bytes,
		ls_event_digits(ms, (double)(int64_t)((ls_clock_s() - sv->began_s) * 1e6) / 1e3),
		ls_event_digits(stall, (double)(int64_t)(sv->stall_s * 1e6) / 1e3),
		ls_event_quote(uri, sizeof(uri), ls_store_uri(sv->store)), dir);
}

/* See all shards at their size before the manifest names them: a directory of the same name on another host's own disk would give a
 * checkpoint that nobody can read. */
static ls_status publish(struct ls_saver *sv, struct ls_err *err)
{
	ls_status st = ls_ckpt_check(sv->store, &sv->ckpt, err);

	if (st == LS_DATA_BAD)
		return ls_fail(err, LS_AGAIN, 0, "%s, or another host wrote it where this one does not see it: file:// needs a file system "
			"that all hosts share", err->text);
	return st ? st : ls_ckpt_publish(sv->store, &sv->ckpt, err);
}

/* --- the writer ---------------------------------------------------------------------------------------------------------- */

/* A try of the current state failed. Told at once, and then now and then for as long as it lasts. */
static void failed(struct ls_saver *sv, const struct ls_err *err)
{
	int64_t now = ls_clock_ms();
	long long step = sv->slots[sv->slot].head->step;

	sv->view.failing = true;
	sv->view.why = *err;
	if (!sv->told_ms)
		tell(sv, "savefailed step=%lld text=%s; older checkpoints are whole, training goes on, and it is tried again", step, err->text);
	else if (now - sv->told_ms > REMIND_MS)
		tell(sv, "warning text=step %lld is still not saved: %s", step, err->text);
	else
		return;
	sv->told_ms = now;
}

/* One try of what the state asks for; called with the lock, works without it. Returns the pause after a failure, or 0. */
static int work(struct ls_saver *sv, int pause_ms)
{
	bool writing = sv->view.state == LS_SAVER_WRITING;
	struct ls_err err = LS_ERR_INIT;
	uint32_t crc32c = 0;
	ls_status st = LS_OK;

	pthread_mutex_unlock(&sv->lock);
	if (writing && !ls_saver_generation(sv))
		st = claim(sv, &err);
	if (!st)
		st = writing ? write_shard(sv, &crc32c, &err) : publish(sv, &err);
	if (!st && !writing)
		tell_saved(sv);
	pthread_mutex_lock(&sv->lock);
	if (sv->dropped)
		return 0;
	if (!st || st == LS_JOB_LOST || st == LS_EXISTS) {
		sv->view.failing = st;
		sv->view.why = err;
		sv->view.crc32c = crc32c;
		sv->view.state = st ? LS_SAVER_FENCED : writing ? LS_SAVER_WRITTEN : LS_SAVER_PUBLISHED;
		changed(sv);
		if (!st && !writing) {
			pthread_mutex_unlock(&sv->lock);
			prune(sv);
			pthread_mutex_lock(&sv->lock);
		}
		return 0;
	}
	failed(sv, &err);
	changed(sv);
	return !pause_ms ? RETRY_MIN_MS : pause_ms * 2 < RETRY_MAX_MS ? pause_ms * 2 : RETRY_MAX_MS;
}

static void start(struct ls_saver *sv, int slot)
{
	sv->slot = slot;
	sv->view = (struct ls_saver_view){ .state = LS_SAVER_WRITING };
	changed(sv);
}

static void stop(struct ls_saver *sv)
{
	ls_ckpt_release(&sv->ckpt);
	sv->slot = -1;
	sv->view = (struct ls_saver_view){ 0 };
	changed(sv);
}

/* From PUBLISHING on a manifest may name the shard, or may soon: a write that was cut off can land late. Then the shard stays, and a later
 * prune finds it. So at close(): a rank that leaves alone cannot know what the others publish, and none waits for a store that is away.
 * A second drop that comes meanwhile changes what is wanted, and nothing else: what is wanted must not find a cancelled store. */
static void let_go(struct ls_saver *sv)
{
	struct ls_ckpt_id id = id_of(sv);
	bool ours = sv->view.state <= LS_SAVER_WRITTEN && id.generation && !sv->closing;

	ls_store_cancel(sv->store, false);
	pthread_mutex_unlock(&sv->lock);
	if (ours)
		take_back(sv, id);
	pthread_mutex_lock(&sv->lock);
	ls_store_cancel(sv->store, false);
	sv->dropped = false;
	stop(sv);
	if (sv->wanted >= 0)
		start(sv, sv->wanted);
	sv->wanted = -1;
}

static bool has_work(const struct ls_saver *sv)
{
	if (sv->view.state == LS_SAVER_WRITING)
		return sv->generation || sv->opt.rank == 0;
	return sv->view.state == LS_SAVER_PUBLISHING && sv->opt.rank == 0;
}

/* Pages for the first saves are had before they are needed. If they cannot be had, the first save says so. */
static void warm_up(struct ls_saver *sv)
{
	int i;

	for (i = 0; i < READY && !ls_slot_open(&sv->slots[i], sv->opt.layout->bytes, NULL); i++) {
		pthread_mutex_lock(&sv->lock);
		sv->n_slots++;
		changed(sv);
		pthread_mutex_unlock(&sv->lock);
	}
	pthread_mutex_lock(&sv->lock);
	sv->warming = false;
	changed(sv);
	pthread_mutex_unlock(&sv->lock);
}

/* Training comes first: this thread gives way on its rank's cores, and may use any that are idle. */
static void be_modest(const char *name)
{
	cpu_set_t all;

	prctl(PR_SET_NAME, name);
	memset(&all, 0xff, sizeof(all));
	sched_setaffinity(0, sizeof(all), &all); /* the kernel takes away what the container or Slurm does not allow */
	setpriority(PRIO_PROCESS, (id_t)gettid(), getpriority(PRIO_PROCESS, 0) + 5);
}

static void *writer(void *arg)
{
	struct ls_saver *sv = arg;
	int pause_ms = 0;

	be_modest("ls-saver");
	warm_up(sv);
	pthread_mutex_lock(&sv->lock);
	while (!sv->closing || sv->dropped) {
		if (sv->dropped) {
			let_go(sv);
			pause_ms = 0;
		} else if (has_work(sv)) {
			pause_ms = work(sv, pause_ms);
			if (pause_ms && !sv->dropped && !sv->closing)
				wait_ms(sv, pause_ms);
		} else {
			pthread_cond_wait(&sv->changed, &sv->lock);
		}
	}
	pthread_mutex_unlock(&sv->lock);
	return NULL;
}

/* --- the courier ----------------------------------------------------------------------------------------------------------- */

static void *courier(void *arg)
{
	struct ls_saver *sv = arg;
	bool told = false;

	be_modest("ls-courier");
	pthread_mutex_lock(&sv->lock);
	while (!sv->closing) {
		struct ls_err err = LS_ERR_INIT;
		struct ls_slot *slot;

		if (sv->copy_next < 0) {
			pthread_cond_wait(&sv->changed, &sv->lock);
			continue;
		}
		sv->copying = sv->copy_next;
		sv->copy_next = -1;
		slot = &sv->slots[sv->copying];
		pthread_mutex_unlock(&sv->lock);
		ls_slot_crc32c(slot);
		if (ls_hold_send(sv->opt.neighbour, slot->head, &err) && !told) {
			tell(sv, "warning text=no copy of step %" PRId64 " on another host: %s", slot->head->step, err.text);
			told = true; /* once: a host that is gone ends the attempt soon */
		}
		pthread_mutex_lock(&sv->lock);
		sv->copying = -1;
		changed(sv);
	}
	pthread_mutex_unlock(&sv->lock);
	return NULL;
}

/* --- the training thread's side -------------------------------------------------------------------------------------------- */

unsigned ls_saver_generation(struct ls_saver *sv)
{
	unsigned generation;

	pthread_mutex_lock(&sv->lock);
	generation = sv->generation;
	pthread_mutex_unlock(&sv->lock);
	return generation;
}

void ls_saver_set_generation(struct ls_saver *sv, unsigned generation)
{
	pthread_mutex_lock(&sv->lock);
	sv->generation = generation;
	changed(sv);
	pthread_mutex_unlock(&sv->lock);
}

static int find_free(const struct ls_saver *sv, unsigned keep)
{
	int i;

	for (i = 0; i < sv->n_slots; i++)
		if (!(keep & 1u << i) && i != sv->slot && i != sv->wanted && i != sv->copying && i != sv->copy_next)
			return i;
	return -1;
}

bool ls_saver_has_room(struct ls_saver *sv, unsigned keep)
{
	bool has;

	pthread_mutex_lock(&sv->lock);
	has = find_free(sv, keep) >= 0;
	pthread_mutex_unlock(&sv->lock);
	return has;
}

ls_status ls_saver_slot(struct ls_saver *sv, unsigned keep, int *ret_index, struct ls_slot **ret, struct ls_err *err)
{
	ls_status st = LS_OK;
	int found;

	pthread_mutex_lock(&sv->lock);
	while ((found = find_free(sv, keep)) < 0 && (sv->warming || sv->n_slots == SLOTS))
		pthread_cond_wait(&sv->changed, &sv->lock);
	if (found < 0) {
		st = ls_slot_open(&sv->slots[sv->n_slots], sv->opt.layout->bytes, err);
		if (!st)
			found = sv->n_slots++;
	}
	pthread_mutex_unlock(&sv->lock);
	if (!st) {
		*ret_index = found;
		*ret = &sv->slots[found];
	}
	return st;
}

void ls_saver_hide(struct ls_saver *sv)
{
	int i;

	pthread_mutex_lock(&sv->lock);
	for (i = 0; i < sv->n_slots; i++)
		atomic_store(&sv->slots[i].head->state, LS_SNAP_EMPTY);
	pthread_mutex_unlock(&sv->lock);
}

const struct ls_snap_head *ls_saver_head(const struct ls_saver *sv, int slot)
{
	return sv->slots[slot].head;
}

void ls_saver_copy(struct ls_saver *sv, int slot)
{
	pthread_mutex_lock(&sv->lock);
	if (sv->has_courier)
		sv->copy_next = slot;
	changed(sv);
	pthread_mutex_unlock(&sv->lock);
}

bool ls_saver_copying(struct ls_saver *sv)
{
	bool copying;

	pthread_mutex_lock(&sv->lock);
	copying = sv->copying >= 0 || sv->copy_next >= 0;
	pthread_mutex_unlock(&sv->lock);
	return copying;
}

void ls_saver_write(struct ls_saver *sv, int slot)
{
	pthread_mutex_lock(&sv->lock);
	if (sv->dropped)
		sv->wanted = slot;
	else
		start(sv, slot);
	pthread_mutex_unlock(&sv->lock);
}

void ls_saver_drop(struct ls_saver *sv)
{
	pthread_mutex_lock(&sv->lock);
	sv->wanted = -1;
	if (sv->slot >= 0) {
		sv->dropped = true;
		ls_store_cancel(sv->store, true);
	}
	changed(sv);
	pthread_mutex_unlock(&sv->lock);
}

void ls_saver_retry(struct ls_saver *sv)
{
	pthread_mutex_lock(&sv->lock);
	sv->view.failing = false;
	changed(sv); /* ends the pause */
	pthread_mutex_unlock(&sv->lock);
}

void ls_saver_publish(struct ls_saver *sv, struct ls_ckpt *c, double began_s, double stall_s)
{
	pthread_mutex_lock(&sv->lock);
	if (c)
		sv->ckpt = *c;
	sv->began_s = began_s;
	sv->stall_s = stall_s;
	sv->view.state = LS_SAVER_PUBLISHING;
	changed(sv);
	pthread_mutex_unlock(&sv->lock);
}

void ls_saver_release(struct ls_saver *sv)
{
	pthread_mutex_lock(&sv->lock);
	sv->told_ms = 0;
	stop(sv);
	pthread_mutex_unlock(&sv->lock);
}

void ls_saver_look(struct ls_saver *sv, struct ls_saver_view *ret)
{
	pthread_mutex_lock(&sv->lock);
	*ret = sv->dropped ? (struct ls_saver_view){ .state = LS_SAVER_WRITING } : sv->view;
	pthread_mutex_unlock(&sv->lock);
}

void ls_saver_wait(struct ls_saver *sv, int ms)
{
	pthread_mutex_lock(&sv->lock);
	wait_ms(sv, ms);
	pthread_mutex_unlock(&sv->lock);
}

void ls_saver_close(struct ls_saver *sv)
{
	int i;

	if (!sv)
		return;
	if (sv->has_writer) {
		pthread_mutex_lock(&sv->lock);
		sv->closing = true;
		pthread_mutex_unlock(&sv->lock);
		ls_saver_drop(sv);
		pthread_join(sv->writer, NULL);
	}
	if (sv->has_courier)
		pthread_join(sv->courier, NULL);
	for (i = 0; i < SLOTS; i++)
		ls_slot_close(&sv->slots[i]);
	ls_store_close(sv->store);
	pthread_cond_destroy(&sv->changed);
	pthread_mutex_destroy(&sv->lock);
	free(sv);
}

static void init_cond(pthread_cond_t *cond)
{
	pthread_condattr_t attr;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(cond, &attr);
	pthread_condattr_destroy(&attr);
}

ls_status ls_saver_open(const struct ls_saver_options *opt, struct ls_saver **ret, struct ls_err *err)
{
	struct ls_saver *sv = calloc(1, sizeof(*sv));
	ls_status st;
	int i;

	if (!sv)
		return ls_fail_oom(err);
	sv->opt = *opt;
	sv->generation = opt->generation;
	sv->slot = sv->wanted = sv->copy_next = sv->copying = -1;
	for (i = 0; i < SLOTS; i++)
		sv->slots[i].fd = -1;
	pthread_mutex_init(&sv->lock, NULL);
	init_cond(&sv->changed);
	st = ls_store_open(opt->uri, &sv->store, err);
	if (!st) {
		sv->warming = true;
		sv->has_writer = !ls_thread_spawn(&sv->writer, writer, sv);
		sv->has_courier = sv->has_writer && opt->neighbour && !ls_thread_spawn(&sv->courier, courier, sv);
		if (!sv->has_writer || (opt->neighbour && !sv->has_courier))
			st = ls_fail(err, LS_AGAIN, EAGAIN, "cannot start a thread for saving");
	}
	if (st) {
		ls_saver_close(sv);
		return st;
	}
	*ret = sv;
	return LS_OK;
}
