/* plan_end.c -- how jobs end, rest and go: the launcher's last word, deadlines, suspension, clean-up, deletion. */
#include "operator/plan_impl.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STOP_S 15 /* a launcher with the deadline gets so long, after the ranks' grace, to end the job in its own way */

bool ls_plan_finished(const struct ls_tstatus *s)
{
	return s->conditions[LS_COND_SUCCEEDED].is_true || s->conditions[LS_COND_FAILED].is_true;
}

void ls_plan_finish(struct ls_planning *p, enum ls_condition which, const char *reason, const char *fmt, ...)
{
	bool good = which == LS_COND_SUCCEEDED;
	char text[1200];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	ls_plan_condition(p, which, true, reason, text);
	ls_plan_condition(p, LS_COND_RUNNING, false, ls_condition_names[which], text);
	ls_plan_condition(p, LS_COND_RESTARTING, false, ls_condition_names[which], text);
	p->s->completion = p->o->now;
	ls_plan_event(p, !good, ls_condition_names[which], "%s%s%s", good ? "" : reason, good ? "" : ": ", text);
}

/* --- the launcher's last word ------------------------------------------------------------------------------------------------------------- */

static void succeed(struct ls_planning *p)
{
	const struct ls_tstatus *s = p->s;
	char text[200];

	if (s->world_actual != s->world_requested && p->spec->min_replicas == p->spec->replicas) {
		ls_plan_finish(p, LS_COND_FAILED, "WorldMismatch", "%d ranks ran, %d were planned", s->world_actual, s->world_requested);
		return;
	}
	snprintf(text, sizeof(text), s->step ? "%lld steps%s%s" : "all ranks ended with 0", s->step, *s->loss ? ", loss " : "", s->loss);
	ls_plan_finish(p, LS_COND_SUCCEEDED, "Succeeded", "%s", text);
}

static void fail(struct ls_planning *p, int code)
{
	const struct ls_tfailure *last = ls_plan_newest(p->s);
	const char *said = *p->report->message ? p->report->message : last && *last->message ? last->message : "the launcher gave no cause";

	if (code == 124 && p->spec->active_deadline_s && (!last || last->exit_code != 124))
		ls_plan_finish(p, LS_COND_FAILED, "DeadlineExceeded", "activeDeadlineSeconds (%lld) passed", p->spec->active_deadline_s);
	else if (code == 75 && (!last || last->exit_code != 75)) /* else it is the rank's own */
		ls_plan_finish(p, LS_COND_FAILED, "BackoffLimitExceeded", "%s", said);
	else
		ls_plan_finish(p, LS_COND_FAILED, last && *last->reason ? last->reason : LS_REASON_OTHER, "%s", said);
}

/* An end that is no final one (Stopped by a notice, killed before it could speak) is a loss: see plan_pods.c. */
void ls_plan_launcher_end(struct ls_planning *p)
{
	const struct ls_tpod *pod = p->launcher < 0 ? NULL : p->o->pods[p->launcher];
	const char *state = p->report ? p->report->state : "";

	if (!pod || !ls_plan_ended(pod) || pod->exit_code < 0)
		return;
	if (!strcmp(state, "Failed"))
		fail(p, pod->exit_code);
	else if (pod->exit_code)
		return;
	else if (!strcmp(state, "Succeeded"))
		succeed(p);
	else
		ls_plan_finish(p, LS_COND_FAILED, "NoReport", "the launcher ended with 0 but did not report success (%s)", *state ? state : "no report");
}

void ls_plan_deadline(struct ls_planning *p)
{
	const struct ls_tpod *pod = p->launcher < 0 ? NULL : p->o->pods[p->launcher];
	time_t end = p->s->start + p->spec->active_deadline_s;

	if (!p->spec->active_deadline_s || !p->s->start)
		return;
	if (pod && pod->phase == LS_POD_RUNNING && !ls_plan_node_lost(p, p->launcher))
		end += p->spec->grace_seconds + STOP_S;
	if (p->o->now >= end)
		ls_plan_finish(p, LS_COND_FAILED, "DeadlineExceeded", "activeDeadlineSeconds (%lld) passed", p->spec->active_deadline_s);
	else
		ls_plan_again(p, end);
}

/* --- suspension --------------------------------------------------------------------------------------------------------------------------- */

/* The launcher's ranks save within their grace; only then the workers go. False: something is still there that may run. */
static bool release(struct ls_planning *p)
{
	bool alive = ls_plan_launcher_alive(p), gone = true;

	for (int i = 0; i < p->o->n_pods; i++) {
		const struct ls_tpod *pod = p->o->pods[i];

		if (!alive || pod->index < 0)
			ls_plan_delete(p, i);
		if (!pod->deleted && !ls_plan_ended(pod))
			gone = false;
	}
	return gone && !alive;
}

void ls_plan_suspend(struct ls_planning *p)
{
	struct ls_tpods *now = &p->s->pods;

	if (!release(p) || ls_plan_is(p, LS_COND_SUSPENDED))
		return;
	now->base = now->launcher = -1;
	now->size = now->n_replaced = 0;
	p->s->start = 0;
	ls_plan_condition(p, LS_COND_SUSPENDED, true, "Suspended", "spec.runPolicy.suspend is true; its Pods are released");
	ls_plan_condition(p, LS_COND_RUNNING, false, "Suspended", "spec.runPolicy.suspend is true");
	ls_plan_condition(p, LS_COND_RESTARTING, false, "Suspended", "spec.runPolicy.suspend is true");
	if (p->s->ckpt_step)
		ls_plan_event(p, false, "Suspended", "its Pods are released; the last checkpoint is of step %lld", p->s->ckpt_step);
	else
		ls_plan_event(p, false, "Suspended", "its Pods are released");
}

void ls_plan_resume(struct ls_planning *p)
{
	if (!ls_plan_is(p, LS_COND_SUSPENDED))
		return;
	ls_plan_condition(p, LS_COND_SUSPENDED, false, "Resumed", "spec.runPolicy.suspend is false");
	ls_plan_event(p, false, "Resumed", "spec.runPolicy.suspend is false");
}

/* --- clean-up ----------------------------------------------------------------------------------------------------------------------------- */

/* What of a finished job's Pods goes, once no launcher runs any more. */
static bool goes(const struct ls_planning *p, int i)
{
	const struct ls_tpod *pod = p->o->pods[i];
	int clean = p->o->job->clean; /* 0 Running, 1 All, 2 None */

	if (clean == 1 || pod->serial != ls_tpods_serial(&p->s->pods, pod->index))
		return true;
	return clean == 0 && pod->index >= 0 && !ls_plan_ended(pod);
}

void ls_plan_clean(struct ls_planning *p)
{
	bool alive = ls_plan_launcher_alive(p);
	time_t end = p->s->completion + p->spec->ttl_s;

	for (int i = 0; i < p->o->n_pods; i++) {
		const struct ls_tpod *pod = p->o->pods[i];

		if (pod->index < 0 ? !ls_plan_ended(pod) || goes(p, i) : !alive && goes(p, i))
			ls_plan_delete(p, i);
	}
	if (p->o->job->bad || p->spec->ttl_s < 0)
		return;
	if (p->o->now < end)
		ls_plan_again(p, end);
	else
		ls_plan_add(p, LS_DO_DELETE_JOB);
}

void ls_plan_deletion(struct ls_planning *p)
{
	bool alive = ls_plan_launcher_alive(p);
	struct ls_action *a;

	for (int i = 0; i < p->o->n_pods; i++)
		if (!alive || p->o->pods[i]->index < 0)
			ls_plan_delete(p, i);
	if (!p->o->n_pods && (a = ls_plan_add(p, LS_DO_FINALIZER)))
		a->on = false;
}
