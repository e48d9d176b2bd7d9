/* plan_order.c -- what the launcher is told: the job, and where its workers are (core/link.h). */
#include "operator/make_impl.h"

#include <stdio.h>
#include <stdlib.h>


static int by_index(const void *a, const void *b)
{
	const struct ls_tpod *x = *(const struct ls_tpod *const *)a, *y = *(const struct ls_tpod *const *)b;

	return (x->index > y->index) - (x->index < y->index);
}

/* Current workers that can be reached, in rank order. */
static void put_workers(struct ls_making *k, cJSON *list, const struct ls_observed *o)
{
	const struct ls_tpods *now = &o->job->status.pods;
	const struct ls_tpod **pods = malloc(((size_t)o->n_pods + 1) * sizeof(*pods));
	char name[128];
	int i, n = 0;

	if (!pods) {
		k->oom = true;
		return;
	}
	for (i = 0; i < o->n_pods; i++) {
		const struct ls_tpod *pod = o->pods[i];

		if (pod->index < 0 || pod->index >= now->size || pod->serial != ls_tpods_serial(now, pod->index))
			continue;
		if (pod->phase == LS_POD_RUNNING && !pod->deleted && *pod->ip)
			pods[n++] = pod;
	}
	qsort(pods, (size_t)n, sizeof(*pods), by_index);
	for (i = 0; i < n; i++) {
		ls_pod_name(o->job->name, pods[i]->index, 0, name);
		ls_making_put(k, list, NULL,
			ls_making_json(k, "{\"name\":\"%s\",\"pod\":\"%s\",\"address\":\"%s\",\"node\":\"%s\"}", name, pods[i]->name, pods[i]->ip, pods[i]->node));
	}
	free(pods);
}

/* The manifest for `lockstep run`: who the job is, and its spec; whether it is suspended is not the launcher's to judge. */
static void put_job(struct ls_making *k, cJSON *order, const struct ls_tjob *job)
{
	cJSON *to = ls_making_map(k, order, "job"), *spec, *policy;

	ls_making_text(k, to, "apiVersion", "lockstep.dev/v1alpha1");
	ls_making_text(k, to, "kind", "TrainingJob");
	ls_making_put(k, to, "metadata", ls_making_json(k, "{\"name\":\"%s\",\"namespace\":\"%s\"}", job->name, job->namespace_));
	ls_making_put(k, to, "spec", cJSON_Duplicate(job->spec, true));
	spec = ls_making_map(k, to, "spec");
	policy = cJSON_GetObjectItemCaseSensitive(spec, "runPolicy");
	cJSON_DeleteItemFromObjectCaseSensitive(policy, "suspend");
	cJSON_DeleteItemFromObjectCaseSensitive(spec, "managedBy");
}

static long long deadline_left(const struct ls_observed *o)
{
	const struct ls_tjob *job = o->job;
	long long left = job->status.start + job->job.active_deadline_s - o->now;

	if (!job->job.active_deadline_s || !job->status.start)
		return 0;
	return left < 60 ? (left < 1 ? 1 : left) : left / 60 * 60;
}

cJSON *ls_make_order(const struct ls_observed *o, const char *waiting)
{
	const struct ls_tstatus *s = &o->job->status;
	struct ls_making k = { 0 };
	cJSON *order = ls_making_json(&k, "{\"serial\":%d,\"attempt\":%d,\"losses\":%d}", s->pods.launcher, s->attempt + 1, s->launcher_losses);

	put_job(&k, order, o->job);
	put_workers(&k, ls_making_list(&k, order, "workers"), o);
	ls_making_put(&k, order, "complete", cJSON_CreateBool(!waiting));
	if (waiting)
		ls_making_text(&k, order, "waiting", waiting);
	ls_making_put(&k, order, "deadlineSeconds", cJSON_CreateNumber((double)deadline_left(o)));
	return ls_making_end(&k, order);
}
