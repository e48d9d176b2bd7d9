/* round.c -- what is to be done for one job: observe, plan, place. Everything is locked, and nothing is sent. */
#include "core/io.h"
#include "operator/controller_impl.h"
#include "operator/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STARVES_MS 60000 /* a job that waits for so long is not passed any more */

struct view { /* ls_observed, and what it points to */
	struct ls_observed o;
	struct ls_tpod **pods;
	time_t *node_lost;
};

static const cJSON *template_of(const struct job *job)
{
	return cJSON_GetObjectItem(cJSON_GetObjectItem(job->seen.spec, "workers"), "template");
}

static void view_release(struct view *v)
{
	free(v->pods);
	free(v->node_lost);
}

/* Pods that carry our label but are another's (or of the job's earlier life) are not the plan's business. */
static ls_status observe(struct ls_controller *c, struct job *job, struct view *v, struct ls_err *err)
{
	size_t room = (size_t)job->pods.n + 1;
	int n = 0;

	if (!job->secret && !job->key_hex[0] && ls_random_hex(job->key_hex, LS_PSK_BYTES, err))
		return LS_AGAIN;
	v->pods = calloc(room, sizeof(*v->pods));
	v->node_lost = calloc(room, sizeof(*v->node_lost));
	if (!v->pods || !v->node_lost)
		return ls_fail_oom(err);
	for (int i = 0; i < job->pods.n; i++) {
		struct ls_expect_pod *p = &job->pods.v[i];

		if (strcmp(p->pod.job_uid, job->seen.uid) != 0)
			continue;
		v->pods[n] = &p->pod;
		v->node_lost[n++] = c->no_nodes ? 0 : p->node_lost;
	}
	v->o = (struct ls_observed){
		.job = &job->seen, .pods = v->pods, .n_pods = n, .node_lost = v->node_lost,
		.secret = job->secret, .service = job->service, .policy = job->policy, .key_hex = job->key_hex,
		.report = job->reported && job->report.serial == job->seen.status.pods.launcher ? &job->report : NULL,
		.create_error = job->create_error, .unused = job->unused_serial && job->unused_serial == job->seen.status.pods.serial + 1,
		.place_st = LS_EXISTS, .now = time(NULL), .status_written = job->status_written, .image = c->opt.image,
	};
	return LS_OK;
}

/* Younger jobs could take every place as it becomes free, so that a large one would never start. One that has waited for long is passed by nobody of
 * its priority on nodes that it could use. A job that goes on with some of its workers holds resources already, and is let by. */
struct claim {
	const struct job *asks;
	const struct ls_place_answer *place;
	const struct job *first;        /* whose turn it is */
	int64_t now_ms;
};

static void find_claim(struct ls_controller *c, struct job *job, void *arg)
{
	struct claim *k = arg;
	const char *a = job->seen.priority_class, *b = k->asks->seen.priority_class;

	if (k->first || job == k->asks || !job->known || !job->short_ms || k->now_ms - job->short_ms < STARVES_MS ||
		job->seen.created >= k->asks->seen.created || strcmp(a ? a : "", b ? b : "") != 0)
		return;
	for (int i = 0; i < k->place->n && !k->first; i++)
		if ((!i || k->place->node[i] != k->place->node[i - 1]) && ls_cluster_suits(c->cluster, template_of(job), k->place->node[i]))
			k->first = job;
}

static ls_status give_way(struct ls_controller *c, const struct job *job, struct ls_place_ask *q, struct ls_place_answer *ret, struct ls_err *err)
{
	struct claim k = { .asks = job, .place = ret, .now_ms = ls_clock_ms() };

	ls_jobs_each(c, find_claim, &k);
	if (!k.first)
		return LS_OK;
	free(ret->node);
	if (!q->spare) {
		q->spare = template_of(k.first);
		if (!ls_cluster_place(c->cluster, q, ret, err))
			return give_way(c, job, q, ret, err);
	}
	*ret = (struct ls_place_answer){ 0 };
	snprintf(ret->why_not, sizeof(ret->why_not), "there is room, but %s is older, waits for these nodes, too, and comes first", k.first->key);
	return LS_AGAIN;
}

/* Without nodes to look at the default scheduler alone places: every worker gets none. */
static ls_status ask(struct ls_controller *c, const struct job *job, const struct ls_action *a, struct ls_place_answer *ret, struct ls_err *err)
{
	struct ls_place_ask q = {
		.template_ = template_of(job),
		.workers = a->workers, .min = a->min, .kept = a->kept, .n_kept = a->n_kept, .kept_index = a->kept_index,
		.within = job->seen.job.within, .keys = (const char *const *)job->seen.job.topology_keys.v,
	};

	if (!c->no_nodes) {
		ls_status st = ls_cluster_place(c->cluster, &q, ret, err);

		return st || a->n_kept ? st : give_way(c, job, &q, ret, err);
	}
	ret->node = calloc((size_t)a->workers + 1, sizeof(*ret->node));
	ret->n = a->workers;
	return ret->node ? LS_OK : ls_fail_oom(err);
}

/* A question is answered, and the plan made again; one more may follow, for the whole group anew. */
static ls_status plan(struct ls_controller *c, struct work *w, struct view *v, struct ls_err *err)
{
	struct ls_place_answer place = { 0 };
	ls_status st;

	ls_operator_plan(&v->o, &w->actions);
	for (int asked = 0; asked < 2 && w->actions.n == 1 && w->actions.v[0].what == LS_DO_PLACE; asked++) {
		free(place.node);
		place = (struct ls_place_answer){ 0 };
		st = ask(c, w->job, &w->actions.v[0], &place, err);
		if (st && st != LS_AGAIN && st != LS_USAGE) {
			free(place.node);
			return st;
		}
		if (st && !place.why_not[0]) { /* no answer, but trouble: the plan would call it a shortage */
			free(place.node);
			return ls_fail(err, LS_AGAIN, 0, "where its workers go cannot be told: %s", err->text);
		}
		w->job->waits = st != LS_OK;
		v->o.place_st = st;
		v->o.place = &place;
		v->o.place_anew = w->actions.v[0].n_kept == 0;
		ls_actions_release(&w->actions);
		ls_operator_plan(&v->o, &w->actions);
	}
	free(place.node);
	return w->actions.oom ? ls_fail_oom(err) : LS_OK;
}

static ls_status to_text(struct ls_action *a, struct ls_err *err)
{
	a->text = cJSON_PrintUnformatted(a->object);
	cJSON_Delete(a->object);
	a->object = NULL;
	return a->text ? LS_OK : ls_fail_oom(err);
}

/* What is decided is taken, before the next job asks. */
static ls_status reserve(struct ls_controller *c, struct work *w, struct ls_err *err)
{
	struct ls_ask_resources need;
	ls_status st = LS_OK;

	for (int i = 0; i < w->actions.n && !st; i++) {
		struct ls_action *a = &w->actions.v[i];

		if (a->what != LS_DO_CREATE)
			continue;
		need = (struct ls_ask_resources){ 0 };
		if (a->node[0])
			st = ls_pod_resources(cJSON_GetObjectItem(a->object, "spec"), &need, err);
		if (!st && a->node[0])
			st = ls_cluster_reserve(c->cluster, w->job->namespace_, a->name, a->node, &need, err);
		if (!st)
			st = to_text(a, err);
	}
	return st;
}

void ls_round_decide(struct ls_controller *c, struct work *w, int64_t now_ms)
{
	struct job *job = w->job;
	struct ls_err err = LS_ERR_INIT;
	struct view v = { 0 };
	ls_status st;

	job->waits = false;
	snprintf(w->uid, sizeof(w->uid), "%s", job->seen.uid);
	snprintf(w->version, sizeof(w->version), "%s", job->seen.resource_version);
	ls_expect_tick(&job->pods, now_ms);
	st = observe(c, job, &v, &err);
	if (!st)
		st = plan(c, w, &v, &err);
	if (!st)
		st = reserve(c, w, &err);
	if (st) {
		ls_log(LS_LOG_ERROR, "nothing can be decided for a job", "job", job->key, "error", err.text, NULL);
		w->stopped = w->failed = true;
	}
	if (job->waits)
		ls_job_dirty(c, job, WAIT_AGAIN_MS);
	if (!job->waits || v.o.place_st != LS_AGAIN)
		job->short_ms = 0;
	else if (!job->short_ms)
		job->short_ms = now_ms;
	view_release(&v);
}
