/* context.c -- a rank joins the world, asks small things of it, and leaves.
 *
 * Invariant: after lockstep_start() all ranks are ready or none is: a rank that could not open its part says so in a
 * vote, and everybody returns the same sentence. lockstep_finish() finalises MPI only when all is well; a rank that
 * leaves alone must not wait for others that wait for it. */
#include "core/event.h"
#include "core/io.h"
#include "worker/rank.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The library that the program was linked with may have found another world than the one that was started: each rank
 * a world of its own is the known case. Training on would be wrong and look right. */
static ls_status check_world(const struct lockstep *ls, struct ls_err *err)
{
	const struct ls_settings *s = &ls->set;

	if (s->planned_world >= 0 && s->planned_world != ls->world)
		return ls_fail(err, LS_USAGE, 0,
			"the program sees an MPI world of %d, the launcher planned WORLD_SIZE=%lld: it is probably "
			"linked with another MPI library (%s) than the mpirun that started it; build it with that "
			"mpirun's mpicc",
			ls->world, (long long)s->planned_world, ls->comm->library);
	if (s->planned_rank >= 0 && s->planned_rank != ls->rank)
		return ls_fail(err, LS_USAGE, 0,
			"this process is rank %d of the MPI world, the launcher planned RANK=%lld here: mpirun placed "
			"the ranks in another order; check rank files and mapping options in the environment "
			"(OMPI_MCA_*, PRTE_MCA_*)",
			ls->rank, (long long)s->planned_rank);
	return LS_OK;
}

static ls_status open_sampler(struct lockstep *ls, const struct lockstep_options *opt, struct ls_err *err)
{
	int64_t batch = opt->global_batch ? opt->global_batch / ls->world : opt->batch;

	if (opt->global_batch && opt->batch)
		return ls_fail(err, LS_USAGE, 0, "options: set batch or global_batch, not both");
	if (opt->global_batch % ls->world)
		return ls_fail(err, LS_USAGE, 0,
			"options: a global_batch of %lld does not divide among %d ranks: use a multiple of %d, "
			"or another number of ranks",
			(long long)opt->global_batch, ls->world, ls->world);
	return ls_sampler_init(&ls->sampler, opt->seed, opt->samples, batch, ls->world, err);
}

static ls_status open_parts(struct lockstep *ls, const struct lockstep_options *opt, struct ls_err *err)
{
	ls_status st = check_world(ls, err);

	if (!st)
		st = open_sampler(ls, opt, err);
	if (!st && ls->set.checkpoint_uri)
		st = ls_store_open(ls->set.checkpoint_uri, &ls->store, err);
	if (!st)
		st = ls_control_open(ls, err);
	return st;
}

static ls_status start(struct lockstep *ls, const struct lockstep_options *opt, struct ls_err *err)
{
	ls_status st = ls_settings_merge(opt, &ls->set, err);

	if (!st)
		st = ls_comm_open(&ls->set.comm, &ls->comm, err);
	if (st)
		return st;
	ls->rank = ls->comm->rank;
	ls->world = ls->comm->world;
	ls->local_rank = ls->comm->local_rank;
	snprintf(ls->who, sizeof(ls->who), "job %.100s, attempt %lld, on %s", ls->set.job, (long long)ls->set.attempt, ls->host);
	ls_event_send(ls, "hello lib=%s world=%d rank=%d", LOCKSTEP_VERSION, ls->world, ls->rank);
	ls->votes = calloc((size_t)ls->world, sizeof(*ls->votes));
	if (!ls->votes)
		return ls_fail_oom(err);
	st = ls_vote(ls, NULL, open_parts(ls, opt, err), err);
	if (st)
		return st;
	ls_step_begin(ls, 0);
	ls->next_save_s = ls->step_began_s + (double)ls->set.every_seconds;
	return LS_OK;
}

/* Not orderly: the first failure already ended what the ranks had in common. */
static void release(struct lockstep *ls, bool orderly)
{
	if (ls->comm) {
		ls_buckets_release(ls, orderly);
		ls_control_close(ls);
	}
	ls_saves_close(ls);
	ls_states_release(ls);
	ls_sampler_release(&ls->sampler);
	ls_store_close(ls->store);
	ls_comm_close(ls->gpu, orderly);
	ls_comm_close(ls->comm, orderly);
	free(ls->votes);
	free(ls);
}

lockstep_status lockstep_start(const struct lockstep_options *opt, struct lockstep **ret, struct lockstep_err *err)
{
	struct lockstep *ls = calloc(1, sizeof(*ls));
	struct ls_err e = LS_ERR_INIT;
	lockstep_status given;
	ls_status st;

	if (!ls) {
		if (err)
			*err = (struct lockstep_err){ -1, "no memory for a handle" };
		return LOCKSTEP_AGAIN;
	}
	ls->newest = ls->top = ls->snapped = ls->newest_slot = -1;
	ls->head = ls->next = LS_NO_SAVING;
	if (gethostname(ls->host, sizeof(ls->host) - 1) < 0)
		snprintf(ls->host, sizeof(ls->host), "unknown host");
	ls_events_open(&ls->events);
	st = start(ls, opt, &e);
	if (st) {
		given = ls_give(ls, st, &e, err);
		release(ls, false);
		return given;
	}
	ls_signal_watch();
	*ret = ls;
	return LOCKSTEP_OK;
}

void lockstep_finish(struct lockstep *ls)
{
	struct ls_err e = LS_ERR_INIT;
	ls_status st = LS_OK;

	if (!ls)
		return;
	if (!ls->failed)
		st = ls_control_wait(ls, &e);
	if (!ls->failed && !st)
		st = ls_saves_flush(ls, &e); /* what fails now, saver.c has told */
	ls->failed |= st && st != LS_AGAIN;
	ls_signal_unwatch();
	release(ls, !ls->failed);
}

int lockstep_exit_code(lockstep_status st)
{
	static const unsigned char codes[] = {
		[LOCKSTEP_OK] = 0,
		[LOCKSTEP_STOP] = 143,
		[LOCKSTEP_USAGE] = 2,
		[LOCKSTEP_AGAIN] = 75,
		[LOCKSTEP_DATA_BAD] = 1,
		[LOCKSTEP_RANK_LOST] = 75,
		[LOCKSTEP_JOB_LOST] = 1,
	};

	return (size_t)st < sizeof(codes) ? codes[st] : 1;
}

int lockstep_rank(const struct lockstep *ls)
{
	return ls->rank;
}

int lockstep_world_size(const struct lockstep *ls)
{
	return ls->world;
}

int lockstep_local_rank(const struct lockstep *ls)
{
	return ls->local_rank;
}

/* For GPU memory the host waits for what the program's stream has to do before, too, and cannot tell the two apart: that counts as no
 * waiting for other ranks. */
static lockstep_status given(struct lockstep *ls, const struct ls_comm *c, double began_s, ls_status st, const struct ls_err *e, struct lockstep_err *err)
{
	return c && c == ls->gpu ? ls_give(ls, st, e, err) : ls_give_waited(ls, began_s, st, e, err);
}

lockstep_status lockstep_broadcast(struct lockstep *ls, void *buf, size_t bytes, int root, struct lockstep_err *err)
{
	struct ls_err e = LS_ERR_INIT;
	struct ls_comm *c = NULL;
	double began = ls_clock_s();
	ls_status st = LS_OK;

	if (root < 0 || root >= ls->world)
		st = ls_fail(
			&e, LS_USAGE, 0, "broadcast from rank %d: the world has ranks 0 to %d", root, ls->world - 1);
	if (!st)
		st = ls_group_for(ls, buf, &c, &e);
	if (!st)
		st = ls_run_broadcast(c, buf, bytes, root, &e);
	return given(ls, c, began, st, &e, err);
}

lockstep_status lockstep_sum_f64(struct lockstep *ls, double *values, size_t count, struct lockstep_err *err)
{
	struct ls_err e = LS_ERR_INIT;
	struct ls_coll sum = { LS_ALL_REDUCE, LS_F64, LS_SUM, 0, count, values, values };
	struct ls_comm *c = NULL;
	double began = ls_clock_s();
	ls_status st = ls_group_for(ls, values, &c, &e);

	if (!st)
		st = ls_run_coll(c, &sum, &e);
	return given(ls, c, began, st, &e, err);
}

lockstep_status lockstep_alloc(struct lockstep *ls, size_t bytes, void **ret, struct lockstep_err *err)
{
	struct ls_err e = LS_ERR_INIT;

	return ls_give(ls, ls_comm_alloc(ls->comm, bytes, ret, &e), &e, err);
}

void lockstep_free(struct lockstep *ls, void *p)
{
	ls_comm_free(ls->comm, p);
}

lockstep_status lockstep_barrier(struct lockstep *ls, struct lockstep_err *err)
{
	struct ls_err e = LS_ERR_INIT;
	double began = ls_clock_s();

	return ls_give_waited(ls, began, ls_run_barrier(ls->comm, &e), &e, err);
}

void lockstep_sampler_next(struct lockstep *ls, int64_t *ret_indices)
{
	ls_sampler_next(&ls->sampler, ls->rank, ls->world, ret_indices);
}

int64_t lockstep_sampler_epoch(const struct lockstep *ls)
{
	return ls->sampler.epoch;
}

void lockstep_result(struct lockstep *ls, const char *name, double value)
{
	char quoted[256], digits[40];

	if (ls->rank == 0)
		ls_event_send(ls, "result name=%s value=%s", ls_event_quote(quoted, sizeof(quoted), name),
			ls_event_digits(digits, value));
}
