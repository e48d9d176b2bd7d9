/* progress.c -- the end of a step: report it, save when due, and stop together.
 *
 *     step N's end:  take the sum of what the ranks said at the end of step N-1  (it has had a whole step to arrive)
 *                    saves on their way go on (save.c)
 *                    a notice anywhere: save, LOCKSTEP_STOP everywhere;  a save due: begin it
 *                    start to sum what the ranks say now
 *
 * Invariant: what the ranks act on at the end of a step is the same everywhere, for it is a sum that all of them
 * have. It costs no waiting, and one step of delay. Saves by steps need no agreement; those by seconds are rank 0's
 * clock's to call. */
#include "core/io.h"
#include "worker/rank.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

ls_status ls_control_open(struct lockstep *ls, struct ls_err *err)
{
	struct ls_coll sum = { LS_ALL_REDUCE, LS_F64, LS_SUM, 0, LS_CONTROL_N, ls->control, ls->control };

	return ls_request_make(ls->comm, &sum, &ls->control_plan, err);
}

ls_status ls_control_start(struct lockstep *ls, struct ls_err *err)
{
	ls_status st;

	memset(ls->control, 0, sizeof(ls->control));
	ls->control[LS_CONTROL_STOP] = ls_signal_came();
	ls->control[LS_CONTROL_SAVE] = ls->rank == 0 && ls->set.every_seconds && ls_clock_s() >= ls->next_save_s;
	ls_saves_say(ls, ls->control);
	st = ls_request_start(ls->control_plan, err);
	ls->control_active = !st;
	return st;
}

ls_status ls_control_wait(struct lockstep *ls, struct ls_err *err)
{
	ls_status st;

	if (!ls->control_active)
		return LS_OK;
	st = ls_request_wait(ls->control_plan, err);
	if (st)
		return st;
	ls->control_active = false;
	ls->stop_wanted |= ls->control[LS_CONTROL_STOP] > 0;
	ls->save_wanted |= ls->control[LS_CONTROL_SAVE] > 0;
	return ls_saves_hear(ls, ls->control, err);
}

void ls_control_close(struct lockstep *ls)
{
	ls_request_free(ls->control_plan);
}

/* A program is the same with and without checkpoints: where to put them is the launcher's to say. Once is enough. */
static void warn_no_place(struct lockstep *ls)
{
	if (ls->rank == 0 && !ls->told_no_place && ls->set.keep)
		ls_event_send(ls, "warning text=nothing is saved: neither options.checkpoint_uri nor "
				  "LOCKSTEP_CHECKPOINT_URI says where");
	ls->told_no_place = true;
}

static void tell_failed(struct lockstep *ls, long long step, const struct ls_err *err)
{
	char good[64] = "this attempt has published none yet";

	if (ls->newest >= 0)
		snprintf(good, sizeof(good), "the newest good one is step %lld", ls->newest);
	if (ls->rank == 0)
		ls_event_send(ls, "savefailed step=%lld text=%s; older checkpoints are whole: %s", step, err->text, good);
}

/* A save that fails costs at most the work since the last one: training goes on, and people are told. What fails in the background,
 * saver.c tells. */
static ls_status save(struct lockstep *ls, long long step, bool now, struct ls_err *err)
{
	ls_status st = now ? ls_save_now(ls, step, err) : ls_save_begin(ls, step, true, err);

	ls->next_save_s = ls_clock_s() + (double)ls->set.every_seconds;
	ls->save_wanted = false;
	if (st == LS_AGAIN)
		tell_failed(ls, step, err);
	return st;
}

lockstep_status lockstep_save(struct lockstep *ls, int64_t step, struct lockstep_err *err)
{
	struct ls_err e = LS_ERR_INIT;
	ls_status st;

	if (!ls->store)
		warn_no_place(ls);
	st = save(ls, step, true, &e);
	ls_step_begin(ls, 0);
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
	ls_step_begin(ls, 0);
	return ls_give(ls, st, &e, err);
}

void ls_step_begin(struct lockstep *ls, double waited_s)
{
	ls->step_began_s = ls_clock_s() - waited_s;
	ls->waited_s = waited_s;
}

/* The work of lockstep_step_end() after the report. A save is no part of any step's time; the vote is one of the next step's. */
static ls_status step_end(struct lockstep *ls, long long step, double *ret_waited_s, struct ls_err *err)
{
	bool due = ls->set.every_steps && step % ls->set.every_steps == 0;
	double began = ls_clock_s();
	ls_status st = ls_buckets_agree(ls, err);

	if (!st)
		st = ls_control_wait(ls, err);
	*ret_waited_s = ls_clock_s() - began;
	if (st)
		return st;
	due |= ls->save_wanted || ls->stop_wanted;
	if (due && !ls->store)
		warn_no_place(ls);
	else if (due)
		st = save(ls, step, ls->stop_wanted, err);
	else if (ls->store && ls->set.memory_steps && step % ls->set.memory_steps == 0)
		st = ls_save_memory(ls, step, err);
	if (st && st != LS_AGAIN)
		return st;
	return ls->stop_wanted ? LS_OK : ls_control_start(ls, err);
}

lockstep_status lockstep_step_end(
	struct lockstep *ls, int64_t step, double loss, int64_t samples, struct lockstep_err *err)
{
	struct ls_err e = LS_ERR_INIT;
	double waited_s;
	ls_status st;

	ls_event_progress(ls, step, loss, samples, ls_clock_s() - ls->step_began_s, ls->waited_s);
	st = step_end(ls, step, &waited_s, &e);
	ls_step_begin(ls, waited_s);
	if (st)
		return ls_give(ls, st, &e, err);
	ls->failed = false; /* whatever the program did wrong before, it is in step with the others again */
	if (!ls->stop_wanted)
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
