/* plan_pods.c -- the Pods that are there: which are current, which are lost, which go.
 *
 * Lost is a Pod that failed, ended, is being deleted by somebody, or sits on a node that is gone. One that is simply not seen is lost only if
 * the job was Running, when all were there; else it was not made (a create that failed, an operator that was killed). Both get a new serial. */
#include "operator/plan_impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define UNSCHEDULABLE_S 60 /* the scheduler refuses a Pod that we placed for so long: place it again */
#define RECORD_MAX 4       /* workers lost at once that are recorded one by one */

bool ls_plan_ended(const struct ls_tpod *pod)
{
	return pod->phase == LS_POD_SUCCEEDED || pod->phase == LS_POD_FAILED;
}

void ls_plan_find(struct ls_planning *p)
{
	const struct ls_tpods *now = &p->s->pods;
	int i;

	p->launcher = -1;
	free(p->seat);
	p->seat = malloc(((size_t)now->size + 1) * sizeof(int));
	if (!p->seat) {
		ls_plan_oom(p);
		return;
	}
	for (i = 0; i < now->size; i++)
		p->seat[i] = -1;
	for (i = 0; i < p->o->n_pods; i++) {
		const struct ls_tpod *pod = p->o->pods[i];

		if (pod->index >= now->size || pod->serial != ls_tpods_serial(now, pod->index))
			continue;
		if (pod->index < 0)
			p->launcher = i;
		else
			p->seat[pod->index] = i;
	}
}

bool ls_plan_node_lost(struct ls_planning *p, int pod)
{
	time_t since = p->o->node_lost ? p->o->node_lost[pod] : 0;

	if (!since || ls_plan_ended(p->o->pods[pod]))
		return false;
	if (p->o->now - since >= LS_NODE_GRACE_S)
		return true;
	ls_plan_again(p, since + LS_NODE_GRACE_S);
	return false;
}

bool ls_plan_launcher_alive(struct ls_planning *p)
{
	for (int i = 0; i < p->o->n_pods; i++)
		if (p->o->pods[i]->index < 0 && !ls_plan_ended(p->o->pods[i]) && !ls_plan_node_lost(p, i))
			return true;
	return false;
}

/* A Pod without uid is one that was just made and is not seen yet: it is deleted when it is. */
void ls_plan_delete(struct ls_planning *p, int i)
{
	const struct ls_tpod *pod = p->o->pods[i];
	bool force = ls_plan_node_lost(p, i);
	struct ls_action *a;

	if (!*pod->uid || (pod->deleted && !force))
		return;
	a = ls_plan_add(p, LS_DO_DELETE_POD);
	if (!a)
		return;
	a->force = force;
	snprintf(a->name, sizeof(a->name), "%s", pod->name);
	snprintf(a->uid, sizeof(a->uid), "%s", pod->uid);
}

void ls_plan_delete_old(struct ls_planning *p)
{
	ls_plan_find(p);
	if (p->acts.oom)
		return;
	for (int i = 0; i < p->o->n_pods; i++) {
		int index = p->o->pods[i]->index;

		if (index < 0 ? i != p->launcher : index >= p->s->pods.size || i != p->seat[index])
			ls_plan_delete(p, i);
	}
}

/* --- losses ------------------------------------------------------------------------------------------------------------------------------- */

/* What became of a Pod, as an entry of status.failures; `pod` NULL: it is not there any more. */
static void describe(struct ls_planning *p, const struct ls_tpod *pod, bool node_lost, struct ls_tfailure *f, char message[600])
{
	const char *said = pod ? pod->message : "";

	*f = (struct ls_tfailure){ .attempt = -1, .rank = -1, .exit_code = pod ? pod->exit_code : -1, .signal = pod ? pod->signal : 0, .time = p->o->now };
	if (ls_plan_is(p, LS_COND_RUNNING) && (!p->report || !strcmp(p->report->state, "Running")))
		f->attempt = p->s->attempt;
	if (pod)
		snprintf(f->node, sizeof(f->node), "%s", pod->node);
	if (node_lost)
		snprintf(f->reason, sizeof(f->reason), "NodeLost");
	else if (pod && *pod->reason)
		snprintf(f->reason, sizeof(f->reason), "%.31s", pod->reason);
	else if (!pod || pod->deleted)
		snprintf(f->reason, sizeof(f->reason), "PodDeleted");
	else
		snprintf(f->reason, sizeof(f->reason), "%s", pod->signal ? "Signal" : pod->exit_code >= 0 ? "ExitCode" : "PodFailed");
	if (node_lost)
		snprintf(message, 600, "node %.200s is not ready for %d s", pod->node, LS_NODE_GRACE_S);
	else if (!strcmp(f->reason, "PodDeleted"))
		snprintf(message, 600, "its Pod was deleted");
	else if (!strcmp(f->reason, "Signal"))
		snprintf(message, 600, "its Pod was killed by signal %d", f->signal);
	else if (!strcmp(f->reason, "ExitCode"))
		snprintf(message, 600, "its Pod ended with exit code %d", f->exit_code);
	else
		snprintf(message, 600, "%s%s%.400s", f->reason, *said ? ": " : "", said);
}

/* False: the launcher had told of it. */
static bool record(struct ls_planning *p, struct ls_tfailure *f, const char *who, const char *what, char sentence[800])
{
	snprintf(sentence, 800, "%s%s%s: %.500s", who, *f->node ? " on " : "", f->node, what);
	f->message = sentence;
	return ls_plan_failure(p, f);
}

/* Launchers and workers that are lost without an attempt that ran count alike: the launcher itself counts the others. */
static void count_loss(struct ls_planning *p, const char *sentence)
{
	p->s->launcher_losses++;
	if (p->s->launcher_losses > p->spec->backoff_limit)
		ls_plan_finish(p, LS_COND_FAILED, "BackoffLimitExceeded", "%s; lost %d times without progress, backoffLimit is %d", sentence,
			p->s->launcher_losses, p->spec->backoff_limit);
}

static void lose_launcher(struct ls_planning *p)
{
	const struct ls_tpod *pod = p->launcher < 0 ? NULL : p->o->pods[p->launcher];
	bool node_lost = pod && ls_plan_node_lost(p, p->launcher), was_running = ls_plan_is(p, LS_COND_RUNNING);
	char message[600], sentence[800];
	struct ls_tfailure f;

	if (p->s->pods.launcher < 0 || (pod && !node_lost && !ls_plan_ended(pod)))
		return;
	p->s->pods.launcher = -1;
	p->report = NULL;
	if (!pod && !was_running)
		return;
	describe(p, pod, node_lost, &f, message);
	record(p, &f, "the launcher", message, sentence);
	ls_plan_event(p, true, "LauncherLost", "%s", sentence);
	ls_plan_restarting(p, "LauncherLost", sentence);
	count_loss(p, sentence);
}

/* Neither evicted nor deleted: it ended by itself, or the kubelet would not have it. That may well happen again. */
static bool failed_by_itself(const struct ls_tpod *pod, bool node_lost)
{
	return pod && ls_plan_ended(pod) && !pod->deleted && !node_lost && strcmp(pod->reason, "Evicted");
}

static bool is_lost(struct ls_planning *p, int index, bool *ret_node_lost)
{
	int i = p->seat[index];
	const struct ls_tpod *pod = i < 0 ? NULL : p->o->pods[i];

	*ret_node_lost = pod && ls_plan_node_lost(p, i);
	return !pod || *ret_node_lost || pod->deleted || ls_plan_ended(pod);
}

static bool is_stuck(struct ls_planning *p, int index)
{
	const struct ls_tpod *pod = p->o->pods[p->seat[index]];

	if (!pod->unschedulable || !pod->unschedulable_since || p->o->job->queue)
		return false;
	if (p->o->now - pod->unschedulable_since > UNSCHEDULABLE_S)
		return true;
	ls_plan_again(p, pod->unschedulable_since + UNSCHEDULABLE_S + 1);
	return false;
}

static void vacate(struct ls_planning *p, int index)
{
	if (ls_tpods_replace(&p->s->pods, index, -1, NULL))
		ls_plan_oom(p);
}

struct lost {
	int n;
	bool by_itself;
	char first[800];
};

static void lose_worker(struct ls_planning *p, int index, bool node_lost, struct lost *lost)
{
	const struct ls_tpod *pod = p->seat[index] < 0 ? NULL : p->o->pods[p->seat[index]];
	char message[600], sentence[800], name[128];
	struct ls_tfailure f;

	vacate(p, index);
	if (!pod && !ls_plan_is(p, LS_COND_RUNNING))
		return;
	if (lost->n++ >= RECORD_MAX)
		return;
	describe(p, pod, node_lost, &f, message);
	ls_pod_name(p->o->job->name, index, 0, name);
	snprintf(f.worker, sizeof(f.worker), "%.63s", name);
	if (record(p, &f, name, message, sentence) && failed_by_itself(pod, node_lost))
		lost->by_itself = true;
	if (lost->n == 1)
		memcpy(lost->first, sentence, sizeof(lost->first));
}

static void lose_workers(struct ls_planning *p)
{
	bool was_running = ls_plan_is(p, LS_COND_RUNNING), node_lost;
	struct lost lost = { 0 };

	for (int i = 0; i < p->s->pods.size && !p->acts.oom; i++) {
		if (p->s->pods.base < 0 || ls_tpods_serial(&p->s->pods, i) < 0)
			continue;
		if (is_lost(p, i, &node_lost)) {
			lose_worker(p, i, node_lost, &lost);
		} else if (is_stuck(p, i)) {
			ls_plan_event(p, true, "Unschedulable", "%s gets another place: the scheduler refuses it there for over %d s",
				p->o->pods[p->seat[i]]->name, UNSCHEDULABLE_S);
			vacate(p, i);
		}
	}
	if (!lost.n)
		return;
	if (lost.n > 1)
		ls_plan_event(p, true, "WorkerLost", "%d workers lost; %s", lost.n, lost.first);
	else
		ls_plan_event(p, true, "WorkerLost", "%s", lost.first);
	if (was_running)
		ls_plan_restarting(p, "WorkerLost", lost.first);
	if (!was_running && lost.by_itself)
		count_loss(p, lost.first);
}

void ls_plan_losses(struct ls_planning *p)
{
	if (p->acts.oom)
		return;
	/* Workers first: a node that takes both away is their loss, too, and whether the job ran is asked of its conditions. */
	lose_workers(p);
	if (!ls_plan_finished(p->s))
		lose_launcher(p);
}
