/* act.c -- doing what a round decided: the actions of many jobs, each job's in their order.
 *
 * A job's next stage is as many of its next actions as may go at once: Pods that are created, or the other objects, or Pods that are deleted; anything else alone. The
 * stages of all jobs are sent together, and when all are answered, the next ones. What a request is expected to do is noted before it is sent. */
#include "core/io.h"
#include "operator/act_impl.h"
#include "operator/log.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define AT_ONCE 16
#define CHUNK 128 /* requests between two signs of life: 128 at the rate of a slow client are well below a minute */

/* Actions of one kind go together. The launcher goes after the workers: the scheduler, which takes Pods as they come, could give it the room of the last one. */
static int kind(const struct ls_action *a)
{
	size_t n = strlen(a->path);

	if (a->what == LS_DO_DELETE_POD)
		return 1;
	if (a->what != LS_DO_CREATE)
		return 0;
	if (n < 5 || strcmp(a->path + n - 5, "/pods") != 0)
		return 2;
	return a->launcher ? 3 : 4;
}

/* What needs no request. False: it does. */
static bool local(struct ls_controller *c, struct work *w, const struct ls_action *a)
{
	struct ls_event_of_job event = { w->job->namespace_, w->job->name, w->uid, a->reason, a->message ? a->message : "", a->warning };
	int64_t in_s = (int64_t)(a->at - time(NULL));

	switch (a->what) {
	case LS_DO_TELL:
		return ls_step_tell(c, w, a);
	case LS_DO_EVENT:
		ls_log(a->warning ? LS_LOG_WARN : LS_LOG_INFO, event.message, "job", w->job->key, "reason", a->reason, NULL);
		ls_event_post(c->events, &event);
		return true;
	case LS_DO_AGAIN:
		ls_job_dirty(c, w->job, in_s > 0 ? in_s * 1000 : 0);
		return true;
	case LS_DO_PLACE: /* answered already, and asked again: the next round's */
		ls_job_dirty(c, w->job, WAIT_AGAIN_MS);
		return true;
	default:
		return false;
	}
}

/* The job was replaced or deleted while requests were under way: the rest was decided for something else. */
static bool is_same(const struct work *w)
{
	return w->job->known && !strcmp(w->job->seen.uid, w->uid);
}

/* Appends to steps[n], and returns how many there are then. */
static int next_stage(struct ls_controller *c, struct work *w, struct ls_step *steps, int n)
{
	int of = -1;

	if (!is_same(w))
		w->stopped = true;
	while (!w->stopped && w->at < w->actions.n) {
		struct ls_action *a = &w->actions.v[w->at];

		if (of < 0 && local(c, w, a)) {
			w->at++;
			continue;
		}
		if (of >= 0 && (!of || kind(a) != of))
			break;
		of = kind(a);
		steps[n] = (struct ls_step){ .w = w, .a = a };
		if (ls_step_prepare(&steps[n])) {
			ls_step_release(&steps[n]);
			w->stopped = w->failed = true;
			break;
		}
		w->at++;
		n++;
	}
	return n;
}

static bool may_send(void *arg)
{
	struct ls_controller *c = arg;

	return !c->stop && (!c->opt.may_act || c->opt.may_act(c->opt.arg, WRITE_MS));
}

static void send_chunk(struct ls_controller *c, struct ls_kube_call **calls, int n)
{
	struct ls_err err = LS_ERR_INIT;

	if (ls_kube_run(c->kube, calls, n, AT_ONCE, &err))
		for (int i = 0; i < n; i++) {
			calls[i]->st = LS_AGAIN;
			calls[i]->err = err;
		}
	c->turned_ms = ls_clock_ms();
}

/* All requests, or those that look whose a taken name is. */
static void send_all(struct ls_controller *c, struct ls_step *steps, int n, bool checks)
{
	struct ls_kube_call *calls[CHUNK];
	int k = 0;

	for (int i = 0; i < n; i++) {
		if (!checks || steps[i].check) {
			steps[i].call.may_send = checks ? NULL : may_send;
			steps[i].call.arg = c;
			calls[k++] = &steps[i].call;
		}
		if (k == CHUNK || (k && i + 1 == n)) {
			send_chunk(c, calls, k);
			k = 0;
		}
	}
}

static int stages(struct ls_controller *c, struct work *works, int n, struct ls_step *steps)
{
	int k = 0;

	pthread_mutex_lock(&c->lock);
	for (int i = 0; i < n; i++)
		k = next_stage(c, &works[i], steps, k);
	pthread_mutex_unlock(&c->lock);
	return k;
}

static void answers(struct ls_controller *c, struct ls_step *steps, int n)
{
	pthread_mutex_lock(&c->lock);
	for (int i = 0; i < n; i++) {
		ls_step_done(c, &steps[i]);
		ls_step_release(&steps[i]);
	}
	pthread_mutex_unlock(&c->lock);
}

/* Who is to be told nothing needs no link. */
static void unlink_job(struct ls_controller *c, const struct work *w)
{
	for (int i = 0; i < w->actions.n; i++)
		if (w->actions.v[i].what == LS_DO_TELL)
			return;
	ls_links_drop(c->links, w->uid);
}

/* What was not sent gives back what was reserved for it. */
static void undo_rest(struct ls_controller *c, struct work *w)
{
	for (; w->at < w->actions.n; w->at++)
		if (w->actions.v[w->at].what == LS_DO_CREATE)
			ls_step_undo(c, w, &w->actions.v[w->at]);
}

/* What this round learnt of creating, if it tried. */
static void learn(struct work *w)
{
	struct job *job = w->job;
	bool tried = false;

	for (int i = 0; i < w->actions.n; i++) {
		const struct ls_action *a = &w->actions.v[i];

		if (a->what != LS_DO_CREATE || !is_same(w))
			continue;
		job->unused_serial = w->made ? 0 : a->serial + 1;
		tried = true;
	}
	if (tried) {
		free(job->create_error);
		job->create_error = w->refused;
		w->refused = NULL;
	}
	free(w->refused);
}

void ls_round_act(struct ls_controller *c, struct work *works, int n)
{
	struct ls_step *steps;
	size_t most = 1;
	bool checks;
	int k;

	for (int i = 0; i < n; i++)
		most += (size_t)works[i].actions.n;
	steps = calloc(most, sizeof(*steps));
	for (int i = 0; i < n && !steps; i++)
		works[i].stopped = works[i].failed = true;
	while (steps && (k = stages(c, works, n, steps)) > 0) {
		send_all(c, steps, k, false);
		checks = false;
		for (int i = 0; i < k; i++)
			checks = ls_step_wants_check(&steps[i]) || checks;
		if (checks)
			send_all(c, steps, k, true);
		answers(c, steps, k);
	}
	free(steps);
	pthread_mutex_lock(&c->lock);
	for (int i = 0; i < n; i++) {
		undo_rest(c, &works[i]);
		learn(&works[i]);
		if (!works[i].failed)
			unlink_job(c, &works[i]);
	}
	pthread_mutex_unlock(&c->lock);
}
