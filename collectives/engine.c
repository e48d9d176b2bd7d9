/* engine.c -- plans of every backend: made, started, driven, waited for; with or without a thread that drives while the
 * caller computes.
 *
 *     planned --start--> active, at the end of the list --drive: step() says done--> planned, off the list
 *
 * Who drives: the caller, inside start, test, wait and make; else, if there is one, the thread. `lock` is held while driving.
 * A caller that wants to drive sets `wanted`, and the thread stands back: a wait is as quick as without a thread.
 * Invariant: the list is in the order of starts, which is the same on all ranks; `failure`, once set, is final. */
#include "collectives/engine.h"
#include "core/io.h"

#include <stdlib.h>
#include <string.h>

/* LS_OK, or what ended the group. */
static ls_status failure_of(const struct ls_comm *c, struct ls_err *err)
{
	if (c->failure && err)
		*err = c->why;
	return c->failure;
}

/* Step the active plans once. */
static ls_status drive(struct ls_comm *c, bool *ret_moved, struct ls_err *err)
{
	struct ls_request **at = &c->first, *p, *before = NULL;
	bool moved = false;

	if (c->failure)
		return failure_of(c, err);
	while ((p = *at)) {
		bool done = false;

		c->failure = p->algorithm->step(p, &moved, &done, &c->why);
		if (c->failure)
			return failure_of(c, err);
		if (done) {
			moved = true;
			*at = p->next;
			if (c->last == p)
				c->last = before;
			atomic_store_explicit(&p->active, false, memory_order_release);
		} else if (c->backend->in_order) {
			break;
		} else {
			before = p;
			at = &p->next;
		}
	}
	*ret_moved = moved;
	return LS_OK;
}

static void moved_on(struct ls_comm *c, struct ls_pause *w)
{
	if (w->rounds == 0)
		return;
	if (c->backend->resume)
		c->backend->resume(c, w);
	memset(w, 0, sizeof(*w));
}

static void enter(struct ls_comm *c)
{
	if (!c->threaded)
		return;
	atomic_store(&c->wanted, true);
	pthread_mutex_lock(&c->lock);
}

static void leave(struct ls_comm *c)
{
	if (!c->threaded)
		return;
	atomic_store(&c->wanted, false);
	if (c->first && c->backend->kick)
		c->backend->kick(c);
	pthread_cond_signal(&c->changed);
	pthread_mutex_unlock(&c->lock);
}

/* Drive until `p` is done; NULL: until nothing is active. */
static ls_status drive_until(struct ls_comm *c, const struct ls_request *p, struct ls_err *err)
{
	ls_status st = failure_of(c, err);
	bool moved;

	while (!st && (p ? atomic_load_explicit(&p->active, memory_order_relaxed) : c->first != NULL)) {
		st = drive(c, &moved, err);
		if (st || moved)
			moved_on(c, &c->waiting);
		else
			st = c->backend->pause(c, &c->waiting, err);
		if (st && !c->failure) {
			c->failure = st;
			if (err)
				c->why = *err;
		}
	}
	moved_on(c, &c->waiting);
	return st;
}

static void *progress(void *arg)
{
	struct ls_comm *c = arg;
	struct ls_pause w = { 0 };
	struct ls_err e = LS_ERR_INIT;
	bool moved;

	pthread_mutex_lock(&c->lock);
	while (!c->quit) {
		if (!c->first || c->failure || atomic_load(&c->wanted)) {
			moved_on(c, &w);
			pthread_cond_wait(&c->changed, &c->lock);
			continue;
		}
		if (drive(c, &moved, NULL))
			continue;
		if (moved) {
			moved_on(c, &w);
			continue;
		}
		pthread_mutex_unlock(&c->lock);
		if (c->backend->pause(c, &w, &e)) {
			pthread_mutex_lock(&c->lock);
			if (!c->failure) {
				c->failure = e.status;
				c->why = e;
			}
			continue;
		}
		pthread_mutex_lock(&c->lock);
	}
	pthread_mutex_unlock(&c->lock);
	return NULL;
}

/* Requests of this size and less have the same room, so that votes in every step depend on no allocator. */
#define ROOM ((size_t)512)

static struct ls_request *take_memory(struct ls_comm *c, size_t bytes)
{
	struct ls_request *p = c->spare;

	if (!p || bytes > ROOM)
		return aligned_alloc(64, bytes > ROOM ? (bytes + 63) / 64 * 64 : ROOM);
	c->spare = NULL;
	return p;
}

static void give_memory(struct ls_request *p)
{
	struct ls_comm *c = p->comm;

	if (c->spare || p->algorithm->bytes > ROOM)
		free(p);
	else
		c->spare = p;
}

/* `st`: what is wrong with `probe` by itself. */
static ls_status make(struct ls_comm *c, struct ls_request probe, ls_status st, struct ls_request **ret, struct ls_err *err)
{
	struct ls_request *p = NULL;

	enter(c);
	if (!st)
		st = drive_until(c, NULL, err);
	if (!st && c->backend->agree)
		st = c->backend->agree(&probe, err);
	if (!st)
		st = ls_algorithm_find(&probe, &probe.algorithm, err);
	if (!st) {
		p = take_memory(c, probe.algorithm->bytes);
		st = p ? LS_OK : ls_fail_oom(err);
	}
	if (!st) {
		memset(p, 0, probe.algorithm->bytes);
		*p = probe;
		if (p->algorithm->plan)
			st = p->algorithm->plan(p, err);
	}
	leave(c);
	if (st) {
		ls_request_free(p);
		return st;
	}
	*ret = p;
	return LS_OK;
}

ls_status ls_request_make(struct ls_comm *c, const struct ls_coll *coll, struct ls_request **ret, struct ls_err *err)
{
	return make(c, (struct ls_request){ .comm = c, .coll = *coll }, ls_coll_check(coll, c->rank, c->world, err), ret, err);
}

ls_status ls_request_make_parts(struct ls_comm *c, const struct ls_coll *coll, const struct ls_parts *parts, struct ls_request **ret,
	struct ls_err *err)
{
	ls_status st = c->backend->on_gpu ? LS_OK
		: ls_fail(err, LS_USAGE, 0, "backend %s cannot take many tensors at once: they are for a GPU's memory", c->backend->name);

	return make(c, (struct ls_request){ .comm = c, .coll = *coll, .parts = *parts }, st, ret, err);
}

ls_status ls_request_start(struct ls_request *p, struct ls_err *err)
{
	struct ls_comm *c = p->comm;
	ls_status st;

	if (atomic_load_explicit(&p->active, memory_order_acquire))
		return ls_fail(err, LS_USAGE, 0, "an operation was started twice: wait for its end first");
	enter(c);
	st = failure_of(c, err);
	if (!st)
		st = p->algorithm->start(p, err);
	if (!st) {
		atomic_store_explicit(&p->active, true, memory_order_relaxed);
		p->next = NULL;
		if (c->first)
			c->last->next = p;
		else
			c->first = p;
		c->last = p;
	}
	leave(c);
	return st;
}

ls_status ls_request_test(struct ls_request *p, bool *ret_done, struct ls_err *err)
{
	struct ls_comm *c = p->comm;
	ls_status st = LS_OK;
	bool moved;

	if (!c->threaded) {
		if (atomic_load_explicit(&p->active, memory_order_relaxed))
			st = drive(c, &moved, err);
	} else if (atomic_load_explicit(&p->active, memory_order_acquire)) {
		pthread_mutex_lock(&c->lock);
		st = failure_of(c, err);
		pthread_mutex_unlock(&c->lock);
	}
	if (!st)
		*ret_done = !atomic_load_explicit(&p->active, memory_order_acquire);
	return st;
}

ls_status ls_request_wait(struct ls_request *p, struct ls_err *err)
{
	struct ls_comm *c = p->comm;
	ls_status st;

	if (!atomic_load_explicit(&p->active, memory_order_acquire))
		return LS_OK;
	enter(c);
	st = drive_until(c, p, err);
	leave(c);
	return st;
}

/* A plan still in flight is given up only by a rank that leaves alone. Others may write to its memory until the process ends,
 * so that memory is not freed. */
void ls_request_free(struct ls_request *p)
{
	struct ls_comm *c;

	if (!p || atomic_load_explicit(&p->active, memory_order_acquire))
		return;
	c = p->comm;
	enter(c);
	if (p->algorithm->unplan)
		p->algorithm->unplan(p);
	give_memory(p);
	leave(c);
}

ls_status ls_request_gpu_ms(struct ls_request *p, double *ret, struct ls_err *err)
{
	if (!p->comm->backend->gpu_ms)
		return ls_fail(err, LS_USAGE, 0, "backend %s does not work on a GPU: it has no time of a GPU's to tell", p->comm->backend->name);
	return p->comm->backend->gpu_ms(p, ret, err);
}

ls_status ls_request_gpu_after_ms(struct ls_request *p, double *ret, struct ls_err *err)
{
	if (!p->comm->backend->gpu_after_ms)
		return ls_fail(err, LS_USAGE, 0, "backend %s does not work on a GPU: it has no time of a GPU's to tell", p->comm->backend->name);
	return p->comm->backend->gpu_after_ms(p, ret, err);
}

ls_status ls_run_coll(struct ls_comm *c, const struct ls_coll *coll, struct ls_err *err)
{
	struct ls_request *p = NULL;
	ls_status st = ls_request_make(c, coll, &p, err);

	if (!st)
		st = ls_request_start(p, err);
	if (!st)
		st = ls_request_wait(p, err);
	ls_request_free(p);
	return st;
}

ls_status ls_run_allgather(struct ls_comm *c, const void *mine, void *ret_all, size_t bytes, struct ls_err *err)
{
	return ls_run_coll(c, &(struct ls_coll){ LS_ALL_GATHER, LS_U8, 0, 0, bytes, mine, ret_all }, err);
}

ls_status ls_run_broadcast(struct ls_comm *c, void *buf, size_t bytes, int root, struct ls_err *err)
{
	return ls_run_coll(c, &(struct ls_coll){ LS_BROADCAST, LS_U8, 0, root, bytes, buf, buf }, err);
}

ls_status ls_run_barrier(struct ls_comm *c, struct ls_err *err)
{
	return ls_run_coll(c, &(struct ls_coll){ .kind = LS_BARRIER }, err);
}

ls_status ls_engine_begin(struct ls_comm *c, const struct ls_comm_options *opt, struct ls_err *err)
{
	cpu_set_t one;
	int rc;

	c->algorithm = opt->algorithm && *opt->algorithm ? opt->algorithm : NULL;
	if (opt->progress == LS_PROGRESS_CALLS)
		return LS_OK;
	pthread_mutex_init(&c->lock, NULL);
	pthread_cond_init(&c->changed, NULL);
	rc = ls_thread_spawn(&c->thread, progress, c);
	if (rc)
		return ls_fail(err, LS_NODE_LOST, rc, "the progress thread cannot be started; LOCKSTEP_PROGRESS=calls does without one");
	c->threaded = true;
	if (opt->progress_cpu >= 0) {
		CPU_ZERO(&one);
		CPU_SET(opt->progress_cpu, &one);
		rc = pthread_setaffinity_np(c->thread, sizeof(one), &one);
		if (rc)
			return ls_fail(err, LS_USAGE, rc, "the progress thread cannot be bound to core %d; LOCKSTEP_PROGRESS_CPU says so",
				opt->progress_cpu);
	}
	return LS_OK;
}

void ls_engine_end(struct ls_comm *c)
{
	free(c->spare);
	c->spare = NULL;
	if (!c->threaded)
		return;
	pthread_mutex_lock(&c->lock);
	c->quit = true;
	if (c->backend->kick)
		c->backend->kick(c);
	pthread_cond_signal(&c->changed);
	pthread_mutex_unlock(&c->lock);
	pthread_join(c->thread, NULL);
	c->threaded = false;
}
