/* plan_status.c -- conditions, what the launcher reports, failures, counts; and whether all that is worth a write. */
#include "operator/plan_impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PROGRESS_S 5 /* writes of mere progress are so far apart */
#define COUNT_S 2    /* and of how many workers run */
#define SAME_S 120   /* the launcher's and Kubernetes' word of one loss are not farther apart */

/* --- conditions --------------------------------------------------------------------------------------------------------------------------- */

bool ls_plan_is(const struct ls_planning *p, enum ls_condition which)
{
	return p->s->conditions[which].is_true;
}

bool ls_plan_condition(struct ls_planning *p, enum ls_condition which, bool is_true, const char *reason, const char *message)
{
	struct ls_tcondition *c = &p->s->conditions[which];
	bool changes = c->set ? c->is_true != is_true : is_true;
	char *copy;

	if (!changes && !is_true)
		return false;
	copy = strdup(message);
	if (!copy) {
		ls_plan_oom(p);
		return false;
	}
	free(c->message);
	c->message = copy;
	c->set = true;
	c->is_true = is_true;
	if (changes)
		c->since = p->o->now;
	snprintf(c->reason, sizeof(c->reason), "%s", reason);
	return changes;
}

void ls_plan_restarting(struct ls_planning *p, const char *reason, const char *message)
{
	const struct ls_tcondition *c = &p->s->conditions[LS_COND_RESTARTING];
	bool news = !ls_plan_is(p, LS_COND_RESTARTING) || strcmp(c->message, message);

	ls_plan_condition(p, LS_COND_RUNNING, false, "Restarting", message);
	ls_plan_condition(p, LS_COND_RESTARTING, true, reason, message);
	if (news)
		ls_plan_event(p, true, "Restarting", "%s: %s", reason, message);
}

/* --- failures ----------------------------------------------------------------------------------------------------------------------------- */

const struct ls_tfailure *ls_plan_newest(const struct ls_tstatus *s)
{
	return s->n_failures ? &s->failures[s->n_failures - 1] : NULL;
}

static void replace_text(struct ls_planning *p, char **to, const char *text)
{
	char *copy = strdup(text ? text : "");

	if (!copy) {
		ls_plan_oom(p);
		return;
	}
	free(*to);
	*to = copy;
}

/* In the order of time; the oldest make room. */
static void add_failure(struct ls_planning *p, const struct ls_tfailure *f)
{
	struct ls_tstatus *s = p->s;
	int at = s->n_failures;
	struct ls_tfailure *v;

	while (at > 0 && s->failures[at - 1].time > f->time)
		at--;
	if (s->n_failures == LS_FAILURES_MAX && at == 0)
		return;
	if (s->n_failures == LS_FAILURES_MAX) {
		free(s->failures[0].message);
		free(s->failures[0].log_tail);
		memmove(s->failures, s->failures + 1, (LS_FAILURES_MAX - 1) * sizeof(*f));
		s->n_failures--;
		at--;
	}
	v = realloc(s->failures, ((size_t)s->n_failures + 1) * sizeof(*v));
	if (!v) {
		ls_plan_oom(p);
		return;
	}
	s->failures = v;
	memmove(&v[at + 1], &v[at], (size_t)(s->n_failures - at) * sizeof(*v));
	v[at] = *f;
	v[at].message = v[at].log_tail = NULL;
	s->n_failures++;
	replace_text(p, &v[at].message, f->message);
	replace_text(p, &v[at].log_tail, f->log_tail);
}

/* Kubernetes and the launcher tell of one loss, in either order: of the same worker in the same attempt. Kubernetes knows why the Pod went,
 * the launcher what the rank said last. */
static void merge_failure(struct ls_planning *p, const struct ls_tfailure *f)
{
	struct ls_tstatus *s = p->s;
	struct ls_tfailure full = *f, *old;

	for (int i = 0; i < s->n_failures; i++) {
		old = &s->failures[i];
		if (old->attempt != f->attempt || strcmp(old->worker, f->worker) || (!*f->worker && old->rank != f->rank))
			continue;
		if (old->rank < 0)
			old->rank = f->rank;
		if (!*old->log_tail && f->log_tail && *f->log_tail)
			replace_text(p, &old->log_tail, f->log_tail);
		if (old->exit_code < 0)
			old->exit_code = f->exit_code;
		if (!old->signal)
			old->signal = f->signal;
		return;
	}
	for (int i = 0; i < s->pods.size && !*full.node && *full.worker; i++) {
		char name[128];

		ls_pod_name(p->o->job->name, i, 0, name);
		if (!strcmp(name, full.worker) && p->seat[i] >= 0)
			snprintf(full.node, sizeof(full.node), "%s", p->o->pods[p->seat[i]]->node);
	}
	if (!full.time || full.time > p->o->now) /* by another machine's clock */
		full.time = p->o->now;
	add_failure(p, &full);
}

/* What Kubernetes says of a worker that the launcher may have missed first: its entry gets the better words, once (then it begins with the
 * worker's name). */
bool ls_plan_failure(struct ls_planning *p, const struct ls_tfailure *f)
{
	struct ls_tstatus *s = p->s;

	for (int i = s->n_failures - 1; i >= 0 && *f->worker; i--) {
		struct ls_tfailure *old = &s->failures[i];

		if (strcmp(old->worker, f->worker) || old->attempt < 0 || old->attempt < s->attempt - 1 || old->time < f->time - SAME_S)
			continue;
		if (!strncmp(old->message, f->worker, strlen(f->worker)))
			break;
		memcpy(old->reason, f->reason, sizeof(old->reason));
		memcpy(old->node, f->node, sizeof(old->node));
		replace_text(p, &old->message, f->message);
		return false;
	}
	add_failure(p, f);
	return true;
}

/* --- what the launcher reports ------------------------------------------------------------------------------------------------------------ */

static void absorb_progress(struct ls_planning *p, const struct ls_tstatus *facts)
{
	struct ls_tstatus *s = p->s;

	if (facts->attempt >= 0)
		s->attempt = facts->attempt;
	if (facts->world_requested) {
		s->world_requested = facts->world_requested;
		s->world_actual = facts->world_actual;
	}
	if (facts->step || facts->total_steps) {
		s->step = facts->step;
		s->total_steps = facts->total_steps;
		memcpy(s->loss, facts->loss, sizeof(s->loss));
		memcpy(s->samples_per_second, facts->samples_per_second, sizeof(s->samples_per_second));
		s->eta_s = facts->eta_s;
	}
	if (facts->step > s->best_step) {
		s->best_step = facts->step;
		s->launcher_losses = 0;
	}
	if (!facts->ckpt_step)
		return;
	if (!s->ckpt_step)
		ls_plan_event(p, false, "Checkpoint", "the first checkpoint, of step %lld", facts->ckpt_step);
	s->ckpt_step = facts->ckpt_step;
	s->ckpt_time = facts->ckpt_time;
	replace_text(p, &s->ckpt_uri, facts->ckpt_uri);
}

/* The termination message is the last word; what came over the link is the one before. */
static void find_report(struct ls_planning *p)
{
	const struct ls_tpod *pod = p->launcher < 0 ? NULL : p->o->pods[p->launcher];
	const struct ls_report *said = p->o->report;
	cJSON *json = pod && ls_plan_ended(pod) ? cJSON_Parse(pod->final) : NULL;

	if (json && !ls_report_read(json, &p->final, NULL))
		said = &p->final;
	cJSON_Delete(json);
	if (said && said->serial == p->s->pods.launcher && said->serial >= 0)
		p->report = said;
}

void ls_plan_absorb(struct ls_planning *p)
{
	find_report(p);
	if (!p->report)
		return;
	absorb_progress(p, &p->report->facts);
	for (int i = 0; i < p->report->facts.n_failures; i++)
		merge_failure(p, &p->report->facts.failures[i]);
}

/* --- where the job stands ----------------------------------------------------------------------------------------------------------------- */

/* An attempt that lost a Pod while it ran is over, even if the launcher has not noticed yet. */
static bool is_over(const struct ls_planning *p, int attempt)
{
	for (int i = 0; i < p->s->n_failures; i++)
		if (p->s->failures[i].attempt >= 0 && p->s->failures[i].attempt == attempt)
			return true;
	return false;
}

static void start_running(struct ls_planning *p)
{
	const struct ls_tstatus *s = p->s;
	char text[160];

	snprintf(text, sizeof(text), "attempt %d, %d rank%s on %d worker%s", s->attempt, s->world_actual, s->world_actual == 1 ? "" : "s", s->active,
		s->active == 1 ? "" : "s");
	if (ls_plan_condition(p, LS_COND_RUNNING, true, "Running", text))
		ls_plan_event(p, false, "Started", "%s", text);
	ls_plan_condition(p, LS_COND_RESTARTING, false, "Running", text);
}

static void follow_start(struct ls_planning *p)
{
	if (!p->report || strcmp(p->report->state, "Running") || *p->why || is_over(p, p->report->facts.attempt))
		return;
	if (!ls_plan_is(p, LS_COND_RUNNING) || ls_plan_is(p, LS_COND_RESTARTING))
		start_running(p);
}

/* The launcher found out by itself that the attempt is over. Before Pods are looked at: what is gone now is no loss of a running attempt. */
void ls_plan_follow_end(struct ls_planning *p)
{
	const char *state = p->report ? p->report->state : "";
	const struct ls_tfailure *last = ls_plan_newest(p->s);

	if (strcmp(state, "Restarting") && strcmp(state, "Starting") && strcmp(state, "Waiting"))
		return;
	if (ls_plan_is(p, LS_COND_RUNNING) || (!strcmp(state, "Restarting") && last))
		ls_plan_restarting(p, last && *last->reason ? last->reason : "Restarting", last ? last->message : "the launcher starts the ranks again");
}

static const char *state_of(const struct ls_planning *p)
{
	static const enum ls_condition order[] = { LS_COND_SUCCEEDED, LS_COND_FAILED, LS_COND_SUSPENDED, LS_COND_RUNNING, LS_COND_RESTARTING };

	for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++)
		if (ls_plan_is(p, order[i]))
			return ls_condition_names[order[i]];
	return p->s->pods.base < 0 ? "Pending" : "Starting";
}

static void count(struct ls_planning *p)
{
	struct ls_tstatus *s = p->s;
	int wanted = s->pods.base < 0 ? p->spec->replicas : s->pods.size;

	s->active = 0;
	for (int i = 0; i < s->pods.size && (!ls_plan_finished(s) || p->o->job->clean == 2); i++)
		s->active += p->seat[i] >= 0 && p->o->pods[p->seat[i]]->phase == LS_POD_RUNNING && !p->o->pods[p->seat[i]]->deleted;
	s->succeeded = ls_plan_is(p, LS_COND_SUCCEEDED) ? s->pods.size : 0;
	s->failed = 0;
	if (ls_plan_is(p, LS_COND_FAILED))
		for (int i = 0; i < s->n_failures; i++)
			s->failed += *s->failures[i].worker && s->failures[i].attempt == ls_plan_newest(s)->attempt;
	snprintf(s->workers, sizeof(s->workers), "%d/%d", s->active, wanted);
}

void ls_plan_states(struct ls_planning *p)
{
	ls_plan_find(p);
	if (p->acts.oom)
		return;
	count(p);
	if (!ls_plan_finished(p->s) && !p->spec->suspend)
		follow_start(p);
	for (int i = 0; i < LS_COND_N; i++)
		if (p->s->conditions[i].set)
			p->s->conditions[i].generation = p->o->job->generation;
	snprintf(p->s->state, sizeof(p->s->state), "%s", state_of(p));
}

/* --- writing ------------------------------------------------------------------------------------------------------------------------------ */

/* `but`: so many of the words of little weight do not count. */
static bool same(const struct ls_tstatus *a, const struct ls_tstatus *b, int but, bool *oom)
{
	static const char *const light[] = { "progress", "lastCheckpoint", "bestStep", "workers", "replicaStatuses" };
	cJSON *x = ls_tstatus_json(a), *y = ls_tstatus_json(b);
	bool equal = x && y;

	if (!equal)
		*oom = true;
	for (int i = 0; i < but; i++) {
		cJSON_DeleteItemFromObjectCaseSensitive(x, light[i]);
		cJSON_DeleteItemFromObjectCaseSensitive(y, light[i]);
	}
	equal = equal && cJSON_Compare(x, y, true);
	cJSON_Delete(x);
	cJSON_Delete(y);
	return equal;
}

static void put_first(struct ls_actions *a)
{
	struct ls_action last = a->v[a->n - 1];

	memmove(&a->v[1], &a->v[0], (size_t)(a->n - 1) * sizeof(last));
	a->v[0] = last;
}

void ls_plan_write(struct ls_planning *p)
{
	const struct ls_tstatus *before = &p->o->job->status;
	time_t due = 0;
	struct ls_action *a;

	if (same(before, p->s, 0, &p->acts.oom) || p->acts.oom)
		return;
	/* The first checkpoint is told of in an Event, in this round: it must not be the first again in the next. */
	if (!before->ckpt_step && p->s->ckpt_step)
		due = 0;
	else if (same(before, p->s, 3, &p->acts.oom))
		due = p->o->status_written + PROGRESS_S;
	else if (same(before, p->s, 5, &p->acts.oom))
		due = p->o->status_written + COUNT_S;
	if (p->o->now < due && p->o->now >= p->o->status_written && !p->acts.oom) {
		ls_plan_again(p, due);
		return;
	}
	a = ls_plan_add(p, LS_DO_STATUS);
	if (!a)
		return;
	a->status = calloc(1, sizeof(*a->status));
	if (!a->status || ls_tstatus_copy(p->s, a->status, NULL)) {
		ls_plan_oom(p);
		return;
	}
	put_first(&p->acts);
}
