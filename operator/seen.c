/* seen.c -- what the watches show, on their threads: read without the lock, taken over with it. */
#include "core/io.h"
#include "operator/controller_impl.h"
#include "operator/log.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const watch_names[WATCH_N] = { "TrainingJob", "Pod", "Node" };

#define POD_DELAY_MS 20 /* Pods of a job change in swarms: look once */

static const char *text_at(const cJSON *object, const char *key)
{
	const char *text = cJSON_GetStringValue(cJSON_GetObjectItem(object, key));

	return text ? text : "";
}

static const cJSON *metadata(const cJSON *object)
{
	return cJSON_GetObjectItem(object, "metadata");
}

static void lost_word(const char *what, const cJSON *object, const struct ls_err *err)
{
	ls_log(LS_LOG_ERROR, "an object that was shown cannot be kept", "kind", what, "namespace", text_at(metadata(object), "namespace"), "name",
		text_at(metadata(object), "name"), "error", err->text, NULL);
}

/* --- jobs --------------------------------------------------------------------------------------------------------------------------------- */

/* Finalizers that are not ours are written back as they are. */
static cJSON *finalizers_of(const cJSON *object)
{
	const cJSON *one;
	cJSON *others = NULL;

	cJSON_ArrayForEach(one, cJSON_GetObjectItem(metadata(object), "finalizers"))
		if (cJSON_IsString(one) && strcmp(one->valuestring, LS_FINALIZER) != 0) {
			others = others ? others : cJSON_CreateArray();
			cJSON_AddItemToArray(others, cJSON_CreateString(one->valuestring));
		}
	return others;
}

static void job_set(struct ls_controller *c, const cJSON *object)
{
	struct ls_err err = LS_ERR_INIT;
	struct ls_tjob now = { 0 };
	struct job *job;

	if (ls_tjob_read(object, &now, &err)) {
		lost_word("TrainingJob", object, &err);
		return;
	}
	pthread_mutex_lock(&c->lock);
	job = ls_jobs_get(c, now.namespace_, now.name);
	if (!job) {
		ls_fail_oom(&err);
		lost_word("TrainingJob", object, &err);
		ls_tjob_release(&now);
	} else if (ls_job_show(c, job, &now)) {
		cJSON_Delete(job->finalizers);
		job->finalizers = finalizers_of(object);
		ls_job_dirty(c, job, 0);
	}
	if (job)
		job->list = c->list[WATCH_JOBS];
	pthread_mutex_unlock(&c->lock);
}

static void job_gone(struct ls_controller *c, const cJSON *object)
{
	const cJSON *meta = metadata(object);
	struct job *job;

	pthread_mutex_lock(&c->lock);
	job = ls_jobs_find(c, text_at(meta, "namespace"), text_at(meta, "name"));
	if (job && job->known && !strcmp(job->seen.uid, text_at(meta, "uid")))
		ls_job_gone(c, job);
	pthread_mutex_unlock(&c->lock);
}

static void drop_unlisted_job(struct ls_controller *c, struct job *job, void *arg)
{
	(void)arg;
	if (job->known && job->list != c->list[WATCH_JOBS])
		ls_job_gone(c, job);
}

static void list_begins(struct ls_controller *c, int watch)
{
	pthread_mutex_lock(&c->lock);
	c->list[watch]++;
	if (watch == WATCH_PODS)
		ls_cluster_pods_begin(c->cluster);
	if (watch == WATCH_NODES)
		ls_cluster_nodes_begin(c->cluster);
	pthread_mutex_unlock(&c->lock);
}

static void drop_unlisted_pods(struct ls_controller *c, struct job *job, void *arg)
{
	(void)arg;
	if (ls_expect_listed(&job->pods, c->list[WATCH_PODS]))
		ls_job_dirty(c, job, POD_DELAY_MS);
	ls_job_tidy(c, job);
}

static void note_nodes(struct ls_controller *c, struct job *job, void *arg);

static void list_ends(struct ls_controller *c, int watch)
{
	pthread_mutex_lock(&c->lock);
	if (watch == WATCH_JOBS)
		ls_jobs_each(c, drop_unlisted_job, NULL);
	if (watch == WATCH_PODS) {
		ls_cluster_pods_end(c->cluster);
		ls_jobs_each(c, drop_unlisted_pods, NULL);
	}
	if (watch == WATCH_NODES) {
		ls_cluster_nodes_end(c->cluster);
		ls_jobs_each(c, note_nodes, NULL);
	}
	if (!c->listed[watch])
		ls_log(LS_LOG_INFO, "a watch has shown all that is there", "kind", watch_names[watch], NULL);
	c->listed[watch] = true;
	c->freed = true;
	ls_controller_wake(c);
	pthread_mutex_unlock(&c->lock);
	malloc_trim(0); /* a list's text is large, and over */
}

void ls_seen_job(void *arg, enum ls_watch_event event, const cJSON *object)
{
	if (event == LS_WATCH_LIST_BEGIN)
		list_begins(arg, WATCH_JOBS);
	else if (event == LS_WATCH_LIST_END)
		list_ends(arg, WATCH_JOBS);
	else if (event == LS_WATCH_SET)
		job_set(arg, object);
	else
		job_gone(arg, object);
}

/* --- Pods --------------------------------------------------------------------------------------------------------------------------------- */

static void own_pod(struct ls_controller *c, struct ls_tpod *pod, const cJSON *object)
{
	struct ls_err err = LS_ERR_INIT;
	struct job *job = ls_jobs_get(c, pod->namespace_, pod->job);
	struct ls_expect_pod *p;
	ls_status st;

	if (!job) {
		ls_fail_oom(&err);
		lost_word("Pod", object, &err);
		ls_tpod_release(pod);
		return;
	}
	st = ls_expect_shown(&job->pods, pod, c->list[WATCH_PODS], &err);
	if (st) {
		lost_word("Pod", object, &err);
		return;
	}
	p = ls_expect_find(&job->pods, text_at(metadata(object), "name"));
	if (job->known && !p->stranger_told && !p->pod.deleted && strcmp(p->pod.job_uid, job->seen.uid) != 0) {
		p->stranger_told = true;
		ls_log(LS_LOG_WARN, "a Pod has the job's label but is another's: it is left alone", "job", job->key, "pod", p->pod.name, "owner", p->pod.job_uid, NULL);
	}
	if (c->listed[WATCH_NODES] && !p->node_lost && *p->pod.node && !ls_cluster_node_ready(c->cluster, p->pod.node))
		p->node_lost = time(NULL);
	ls_job_dirty(c, job, POD_DELAY_MS);
}

/* Whose Pod it is, or was: names stay, while anybody may take the label away, or give the Pod another one. */
static struct job *job_by_name(struct ls_controller *c, const cJSON *meta)
{
	const char *name = text_at(meta, "name"), *end = NULL, *p;
	char job[64];

	for (p = strchr(name, '-'); p; p = strchr(p + 1, '-'))
		if (!strncmp(p, "-worker-", 8) || !strncmp(p, "-launcher", 9))
			end = p;
	if (!end || end - name >= (int)sizeof(job))
		return NULL;
	snprintf(job, sizeof(job), "%.*s", (int)(end - name), name);
	return ls_jobs_find(c, text_at(meta, "namespace"), job);
}

static void disown_pod(struct ls_controller *c, const cJSON *meta)
{
	struct job *job = job_by_name(c, meta);

	if (!job)
		return;
	ls_expect_gone(&job->pods, text_at(meta, "name"), text_at(meta, "uid"));
	ls_job_dirty(c, job, POD_DELAY_MS);
	ls_job_tidy(c, job);
}

static void pod_set(struct ls_controller *c, const cJSON *object)
{
	const char *phase = text_at(cJSON_GetObjectItem(object, "status"), "phase");
	struct ls_err err = LS_ERR_INIT;
	struct ls_tpod pod = { 0 };
	ls_status st = ls_tpod_read(object, &pod, &err);

	if (st && st != LS_NOT_FOUND)
		lost_word("Pod", object, &err);
	pthread_mutex_lock(&c->lock);
	if (ls_cluster_pod_set(c->cluster, object, &err))
		lost_word("Pod", object, &err);
	if (!strcmp(phase, "Succeeded") || !strcmp(phase, "Failed"))
		c->freed = true;
	if (!st)
		own_pod(c, &pod, object);
	else if (st == LS_NOT_FOUND)
		disown_pod(c, metadata(object));
	pthread_mutex_unlock(&c->lock);
}

static void pod_gone(struct ls_controller *c, const cJSON *object)
{
	const cJSON *meta = metadata(object);

	pthread_mutex_lock(&c->lock);
	ls_cluster_pod_gone(c->cluster, text_at(meta, "namespace"), text_at(meta, "name"));
	c->freed = true;
	disown_pod(c, meta);
	ls_controller_wake(c);
	pthread_mutex_unlock(&c->lock);
}

void ls_seen_pod(void *arg, enum ls_watch_event event, const cJSON *object)
{
	if (event == LS_WATCH_LIST_BEGIN)
		list_begins(arg, WATCH_PODS);
	else if (event == LS_WATCH_LIST_END)
		list_ends(arg, WATCH_PODS);
	else if (event == LS_WATCH_SET)
		pod_set(arg, object);
	else
		pod_gone(arg, object);
}

/* --- nodes -------------------------------------------------------------------------------------------------------------------------------- */

/* Since when each Pod's node is not Ready: known from the moment it is first seen so, which after a start of the operator is the start.
 * `arg`: the node that changed; NULL: any may have. */
static void note_nodes(struct ls_controller *c, struct job *job, void *arg)
{
	const char *node = arg;
	bool any = false, lost;

	for (int i = 0; i < job->pods.n; i++) {
		struct ls_expect_pod *p = &job->pods.v[i];

		if (!*p->pod.node || (node && strcmp(p->pod.node, node) != 0))
			continue;
		lost = !ls_cluster_node_ready(c->cluster, p->pod.node);
		if (lost == (p->node_lost != 0))
			continue;
		p->node_lost = lost ? time(NULL) : 0;
		any = true;
	}
	if (any)
		ls_job_dirty(c, job, 0);
}

static void node_changed(struct ls_controller *c, const char *name, bool before)
{
	if (ls_cluster_node_ready(c->cluster, name) == before)
		return;
	if (c->listed[WATCH_NODES])
		ls_log(before ? LS_LOG_WARN : LS_LOG_INFO, before ? "a node is not Ready" : "a node is Ready", "node", name, NULL);
	ls_jobs_each(c, note_nodes, (void *)(uintptr_t)name);
	ls_controller_wake(c);
}

void ls_seen_node(void *arg, enum ls_watch_event event, const cJSON *object)
{
	const char *name = text_at(metadata(object), "name");
	struct ls_controller *c = arg;
	struct ls_err err = LS_ERR_INIT;
	bool before;

	if (event == LS_WATCH_LIST_BEGIN || event == LS_WATCH_LIST_END) {
		(event == LS_WATCH_LIST_BEGIN ? list_begins : list_ends)(c, WATCH_NODES);
		return;
	}
	pthread_mutex_lock(&c->lock);
	before = ls_cluster_node_ready(c->cluster, name);
	if (event == LS_WATCH_GONE)
		ls_cluster_node_gone(c->cluster, name);
	else if (ls_cluster_node_set(c->cluster, object, &err))
		lost_word("Node", object, &err);
	if (ls_cluster_news(c->cluster)) {
		c->freed = true;
		ls_controller_wake(c);
	}
	node_changed(c, name, before);
	pthread_mutex_unlock(&c->lock);
}
