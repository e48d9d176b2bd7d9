/* plan.c -- what to do for one job: the order of the questions. See plan.h. */
#include "operator/plan_impl.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MANAGER "lockstep.dev/operator"

/* --- actions ------------------------------------------------------------------------------------------------------------------------------ */

void ls_plan_oom(struct ls_planning *p)
{
	p->acts.oom = true;
}

struct ls_action *ls_plan_add(struct ls_planning *p, enum ls_do what)
{
	struct ls_actions *a = &p->acts;

	if (a->n == a->cap) {
		int cap = a->cap ? 2 * a->cap : 8;
		struct ls_action *v = realloc(a->v, (size_t)cap * sizeof(*v));

		if (!v) {
			a->oom = true;
			return NULL;
		}
		a->v = v;
		a->cap = cap;
	}
	a->v[a->n] = (struct ls_action){ .what = what };
	return &a->v[a->n++];
}

void ls_plan_event(struct ls_planning *p, bool warning, const char *reason, const char *fmt, ...)
{
	struct ls_action *a = ls_plan_add(p, LS_DO_EVENT);
	va_list ap;

	if (!a)
		return;
	a->warning = warning;
	snprintf(a->reason, sizeof(a->reason), "%s", reason);
	va_start(ap, fmt);
	if (vasprintf(&a->message, fmt, ap) < 0) {
		a->message = NULL;
		ls_plan_oom(p);
	}
	va_end(ap);
}

void ls_plan_again(struct ls_planning *p, time_t at)
{
	if (!p->again || at < p->again)
		p->again = at;
}

void ls_actions_release(struct ls_actions *a)
{
	for (int i = 0; i < a->n; i++) {
		struct ls_action *v = &a->v[i];

		if (v->status)
			ls_tstatus_release(v->status);
		free(v->status);
		cJSON_Delete(v->object);
		if (v->text)
			explicit_bzero(v->text, strlen(v->text)); /* may be the Secret */
		free(v->text);
		free(v->message);
		free(v->kept);
		free(v->kept_index);
	}
	free(a->v);
	*a = (struct ls_actions){ 0 };
}

/* --- one job ------------------------------------------------------------------------------------------------------------------------------ */

/* Not from job.managed_by: that of a spec that is not valid is not there. */
static bool is_ours(const struct ls_tjob *job)
{
	const char *manager = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(job->spec, "managedBy"));

	return !manager || !*manager || !strcmp(manager, MANAGER);
}

static void begin(struct ls_planning *p)
{
	struct ls_tstatus *s = p->s;
	bool fresh = !s->conditions[LS_COND_CREATED].set;

	if (fresh) {
		ls_plan_condition(p, LS_COND_CREATED, true, "Created", "the job is accepted");
		if (!p->spec->checkpoint_uri && !p->o->job->bad)
			ls_plan_event(p, true, "NoCheckpoint", "no spec.checkpoint.uri: a restart begins at step 0");
	}
	if (s->observed_generation != p->o->job->generation && s->pods.base >= 0 && s->pods.size != p->spec->replicas && !p->o->job->bad)
		ls_plan_event(p, true, "SpecChanged",
			"spec.workers.replicas is %d now; the job goes on with %d until its workers start anew: suspend and resume it", p->spec->replicas,
			s->pods.size);
	s->observed_generation = p->o->job->generation;
	if (!s->start && !p->spec->suspend)
		s->start = p->o->now;
}

/* False: only LS_DO_PLACE counts. */
static bool live(struct ls_planning *p)
{
	ls_plan_absorb(p);
	if (p->acts.oom)
		return false;
	ls_plan_launcher_end(p);
	if (!ls_plan_finished(p->s) && p->spec->suspend)
		ls_plan_suspend(p);
	if (ls_plan_finished(p->s) || p->spec->suspend)
		return true;
	ls_plan_follow_end(p);
	ls_plan_resume(p);
	ls_plan_deadline(p);
	if (!ls_plan_finished(p->s))
		ls_plan_losses(p);
	if (ls_plan_finished(p->s))
		return true;
	if (!ls_plan_place(p))
		return false;
	ls_plan_waits(p);
	ls_plan_delete_old(p);
	ls_plan_create(p);
	return true;
}

/* What the launcher shall know; the reconciler sends it if it is news. */
static void tell(struct ls_planning *p)
{
	const struct ls_tpod *l = p->launcher < 0 ? NULL : p->o->pods[p->launcher];
	struct ls_observed seen = *p->o;
	struct ls_action *a;

	if (!l || l->phase != LS_POD_RUNNING || l->deleted || !*l->ip || ls_plan_finished(p->s) || p->spec->suspend)
		return;
	seen.job = &p->view;
	a = ls_plan_add(p, LS_DO_TELL);
	if (!a)
		return;
	a->object = ls_make_order(&seen, *p->why ? p->why : NULL);
	if (!a->object)
		ls_plan_oom(p);
}

static void only(struct ls_planning *p, enum ls_do what, bool on)
{
	struct ls_action *a = ls_plan_add(p, what);

	if (a)
		a->on = on;
}

static void plan_living(struct ls_planning *p)
{
	bool was_finished = ls_plan_finished(p->s);
	struct ls_action *a;

	if (!was_finished && !p->o->job->bad && !p->o->job->finalizer) {
		only(p, LS_DO_FINALIZER, true);
		return;
	}
	ls_plan_find(p);
	if (p->acts.oom)
		return;
	if (!was_finished) {
		begin(p);
		if (p->o->job->bad)
			ls_plan_finish(p, LS_COND_FAILED, "InvalidSpec", "%s", p->o->job->bad);
		else if (!live(p))
			return;
	}
	if (ls_plan_finished(p->s))
		ls_plan_clean(p);
	ls_plan_states(p);
	tell(p);
	ls_plan_write(p);
	if (p->again && (a = ls_plan_add(p, LS_DO_AGAIN)))
		a->at = p->again;
}

void ls_operator_plan(const struct ls_observed *o, struct ls_actions *ret)
{
	struct ls_planning p = { .o = o, .spec = &o->job->job, .view = *o->job, .launcher = -1 };
	struct ls_action *a;

	*ret = (struct ls_actions){ 0 };
	if (!is_ours(o->job))
		return;
	if (ls_tstatus_copy(&o->job->status, &p.view.status, NULL)) {
		ret->oom = true;
		return;
	}
	p.s = &p.view.status;
	if (!o->job->deleted) {
		plan_living(&p);
	} else if (o->job->finalizer) {
		ls_plan_deletion(&p);
		if (p.again && (a = ls_plan_add(&p, LS_DO_AGAIN)))
			a->at = p.again;
	}
	*ret = p.acts;
	ls_report_release(&p.final);
	ls_tstatus_release(&p.view.status);
	free(p.seat);
	free(p.create);
	free(p.node);
	if (!ret->oom)
		return;
	ls_actions_release(ret);
	ret->oom = true;
}
