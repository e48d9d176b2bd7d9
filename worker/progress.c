/* progress.c -- the end of a step: report it, save when due, and stop together.
 *
 *     step N's end:  take the sum of what the ranks said at the end of step N-1  (it has had a whole step to arrive)
 *                    a notice anywhere: save, LOCKSTEP_STOP everywhere;  a save due: save
 *                    start to sum what the ranks say now
 *
 * Invariant: what the ranks act on at the end of a step is the same everywhere, for it is a sum that all of them
 * have. It costs no waiting, and one step of delay. Saves by steps need no agreement; those by seconds are rank 0's
 * clock's to call. */
#include "core/io.h"
#include "worker/rank.h"

#include <stdio.h>
#include <stdlib.h>

ls_status ls_control_open(struct lockstep *ls, struct ls_err *err)
{
	return ls->ops->plan(ls->comm, ls->control, LS_CONTROL_N, LS_F64, LS_SUM, &ls->control_plan, err);
}

static ls_status control_start(struct lockstep *ls, struct ls_err *err)
{
	ls_status st;

	ls->control[LS_CONTROL_STOP] = ls_signal_came();
	ls->control[LS_CONTROL_SAVE] = ls->rank == 0 && ls->set.every_seconds && ls_clock_s() >= ls->next_save_s;
	st = ls->ops->start(ls->control_plan, err);
	ls->control_active = !st;
	return st;
}

ls_status ls_control_wait(struct lockstep *ls, bool *ret_stop, bool *ret_save, struct ls_err *err)
{
	ls_status st;

	*ret_stop = *ret_save = false;
	if (!ls->control_active)
		return LS_OK;
	st = ls_reduce_wait(ls->control_plan, err);
	if (st)
		return st;
	ls->control_active = false;
	*ret_stop = ls->control[LS_CONTROL_STOP] > 0;
	*ret_save = ls->control[LS_CONTROL_SAVE] > 0;
	return LS_OK;
}

void ls_control_close(struct lockstep *ls)
{
	if (ls->control_plan)
		ls->ops->unplan(ls->control_plan);
}

/* A program is the same with and without checkpoints: where to put them is the launcher's to say. Once is enough. */
static void warn_no_place(struct lockstep *ls)
{
	if (ls->rank == 0 && !ls->told_no_place)
		ls_event_send(ls, "warning text=nothing is saved: neither options.checkpoint_uri nor "
				  "LOCKSTEP_CHECKPOINT_URI says where");
	ls->told_no_place = true;
}

/* A save that fails costs at most the work since the last one: training goes on, and people are told. */
static ls_status save_or_warn(struct lockstep *ls, long long step, struct ls_err *err)
{
	char good[64] = "none is published yet";
	ls_status st = ls_save(ls, step, err);

	ls->next_save_s = ls_clock_s() + (double)ls->set.every_seconds;
	if (st != LS_AGAIN)
		return st;
	if (ls->newest >= 0)
		snprintf(good, sizeof(good), "the newest good one is step %lld", ls->newest);
	if (ls->rank == 0)
		ls_event_send(
			ls, "savefailed step=%lld text=%s; older checkpoints are whole: %s", step, err->text, good);
	return LS_AGAIN;
}

lockstep_status lockstep_save(struct lockstep *ls, int64_t step, struct lockstep_err *err)
{
	struct ls_err e = LS_ERR_INIT;
	ls_status st;

	if (!ls->store)
		warn_no_place(ls);
	st = save_or_warn(ls, step, &e);
	ls->step_began_s = ls_clock_s();
	if (st != LS_AGAIN)
		return ls_give(ls, st, &e, err);
	if (err) {
		err->rank = e.rank;
		snprintf(err->text, sizeof(err->text), "%s", e.text);
	}
	return LOCKSTEP_AGAIN;
}

lockstep_status lockstep_restore(struct lockstep *ls, int64_t *ret_step, struct lockstep_err *err)
{
	struct ls_err e = LS_ERR_INIT;
	long long step = 0;
	ls_status st = ls_restore(ls, &step, &e);

	if (!st)
		*ret_step = step;
	ls->step_began_s = ls_clock_s();
	return ls_give(ls, st, &e, err);
}

/* The work of lockstep_step_end() after the report; *ret_stop: all ranks leave now. */
static ls_status step_end(struct lockstep *ls, long long step, bool *ret_stop, struct ls_err *err)
{
	bool due = ls->set.every_steps && step % ls->set.every_steps == 0, due_by_time;
	ls_status st = ls_buckets_agree(ls, err);

	if (!st)
		st = ls_control_wait(ls, ret_stop, &due_by_time, err);
	if (st)
		return st;
	if ((due || due_by_time || *ret_stop) && !ls->store)
		warn_no_place(ls);
	else if (due || due_by_time || *ret_stop)
		st = save_or_warn(ls, step, err);
	if (st && st != LS_AGAIN)
		return st;
	return *ret_stop ? LS_OK : control_start(ls, err);
}

lockstep_status lockstep_step_end(
	struct lockstep *ls, int64_t step, double loss, int64_t samples, struct lockstep_err *err)
{
	struct ls_err e = LS_ERR_INIT;
	bool stop = false;
	ls_status st;

	ls_event_progress(ls, step, loss, samples, ls_clock_s() - ls->step_began_s);
	st = step_end(ls, step, &stop, &e);
	ls->step_began_s = ls_clock_s();
	if (st)
		return ls_give(ls, st, &e, err);
	ls->failed = false; /* whatever the program did wrong before, it is in step with the others again */
	if (!stop)
		return LOCKSTEP_OK;
	if (ls->rank == 0)
		ls_event_send(ls, "stopping step=%lld", (long long)step);
	if (err) {
		err->rank = -1;
		snprintf(err->text, sizeof(err->text), "stopped after step %lld, as a termination notice asked%s", (long long)step,
			ls->newest == step ? "; its checkpoint is written" : "; no checkpoint of that step could be written");
	}
	return LOCKSTEP_STOP;
}
