/* event_post.c -- see event_post.h. */
#include "operator/event_post.h"
#include "core/io.h"
#include "operator/log.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define WAITING 256
#define MESSAGE_MAX 1000 /* the API server takes 1,024 */
#define REQUEST_MS 5000

struct waiting {
	char *path;     /* of the collection */
	char *body, *name;
};

struct ls_event_post {
	struct ls_kube *kube;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t woken;
	bool stop;
	struct waiting ring[WAITING];
	int first, n;
	uint64_t dropped;
};

static uint64_t hash(uint64_t h, const char *text)
{
	do
		h = (h ^ (unsigned char)*text) * 1099511628211u;
	while (*text++);
	return h;
}

static void release(struct waiting *w)
{
	free(w->path);
	free(w->body);
	free(w->name);
	*w = (struct waiting){ 0 };
}

static char *event_json(const struct ls_event_of_job *e, const char *name)
{
	cJSON *event = cJSON_CreateObject(), *part;
	char now[32], message[MESSAGE_MAX + 1], *text;

	ls_time_rfc3339(now);
	snprintf(message, sizeof(message), "%s", e->message);
	cJSON_AddStringToObject(event, "apiVersion", "v1");
	cJSON_AddStringToObject(event, "kind", "Event");
	part = cJSON_AddObjectToObject(event, "metadata");
	cJSON_AddStringToObject(part, "name", name);
	cJSON_AddStringToObject(part, "namespace", e->namespace_);
	part = cJSON_AddObjectToObject(event, "involvedObject");
	cJSON_AddStringToObject(part, "apiVersion", LS_KUBE_GROUP "/v1alpha1");
	cJSON_AddStringToObject(part, "kind", "TrainingJob");
	cJSON_AddStringToObject(part, "namespace", e->namespace_);
	cJSON_AddStringToObject(part, "name", e->job);
	cJSON_AddStringToObject(part, "uid", e->uid);
	cJSON_AddStringToObject(event, "reason", e->reason);
	cJSON_AddStringToObject(event, "message", message);
	cJSON_AddStringToObject(event, "type", e->warning ? "Warning" : "Normal");
	cJSON_AddStringToObject(event, "firstTimestamp", now);
	cJSON_AddStringToObject(event, "lastTimestamp", now);
	cJSON_AddNumberToObject(event, "count", 1);
	cJSON_AddStringToObject(cJSON_AddObjectToObject(event, "source"), "component", "lockstep-operator");
	text = cJSON_PrintUnformatted(event);
	cJSON_Delete(event);
	return text;
}

static bool compose(const struct ls_event_of_job *e, struct waiting *ret)
{
	uint64_t h = hash(hash(hash(14695981039346656037u, e->uid), e->reason), e->message);
	struct ls_str path = { 0 }, name = { 0 };

	ls_str_add(&path, "/api/v1/namespaces/");
	ls_kube_add_segment(&path, e->namespace_);
	ls_str_add(&path, "/events");
	ls_str_addf(&name, "%.200s.%016llx", e->job, (unsigned long long)h);
	ret->path = ls_str_steal(&path);
	ret->name = ls_str_steal(&name);
	ret->body = ret->name ? event_json(e, ret->name) : NULL;
	return ret->path && ret->name && ret->body;
}

void ls_event_post(struct ls_event_post *p, const struct ls_event_of_job *event)
{
	struct waiting w = { 0 };
	bool taken = compose(event, &w);

	pthread_mutex_lock(&p->lock);
	taken = taken && p->n < WAITING && !p->stop;
	if (taken)
		p->ring[(p->first + p->n++) % WAITING] = w;
	else
		p->dropped++;
	pthread_cond_signal(&p->woken);
	pthread_mutex_unlock(&p->lock);
	if (!taken)
		release(&w);
}

uint64_t ls_event_post_dropped(struct ls_event_post *p)
{
	uint64_t n;

	pthread_mutex_lock(&p->lock);
	n = p->dropped;
	pthread_mutex_unlock(&p->lock);
	return n;
}

static ls_status renew(struct ls_event_post *p, const struct waiting *w, struct ls_err *err)
{
	struct ls_kube_call call = { .method = "PATCH", .content_type = "application/merge-patch+json", .timeout_ms = REQUEST_MS };
	char now[32];
	ls_status st;

	ls_time_rfc3339(now);
	ls_str_addf(&call.path, "%s/", w->path);
	ls_kube_add_segment(&call.path, w->name);
	ls_str_addf(&call.body, "{\"lastTimestamp\":\"%s\"}", now);
	st = call.path.oom || call.body.oom ? ls_fail_oom(err) : ls_kube_one(p->kube, &call, err);
	ls_kube_call_release(&call);
	return st;
}

static void post(struct ls_event_post *p, const struct waiting *w)
{
	struct ls_kube_call call = { .method = "POST", .timeout_ms = REQUEST_MS };
	struct ls_err err = LS_ERR_INIT;
	ls_status st;

	ls_str_add(&call.path, w->path);
	ls_str_add(&call.body, w->body);
	st = call.path.oom || call.body.oom ? ls_fail_oom(&err) : ls_kube_one(p->kube, &call, &err);
	ls_kube_call_release(&call);
	if (st == LS_EXISTS)
		st = renew(p, w, &err);
	if (!st)
		return;
	ls_log(LS_LOG_DEBUG, "an Event is lost", "event", w->name, "error", err.text, NULL);
	pthread_mutex_lock(&p->lock);
	p->dropped++;
	pthread_mutex_unlock(&p->lock);
}

static void *run(void *arg)
{
	struct ls_event_post *p = arg;
	struct waiting w;

	pthread_mutex_lock(&p->lock);
	for (;;) {
		while (!p->n && !p->stop)
			pthread_cond_wait(&p->woken, &p->lock);
		if (!p->n)
			break;
		w = p->ring[p->first];
		p->first = (p->first + 1) % WAITING;
		p->n--;
		pthread_mutex_unlock(&p->lock);
		post(p, &w);
		release(&w);
		pthread_mutex_lock(&p->lock);
	}
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

ls_status ls_event_post_open(const struct ls_kube_options *kube, struct ls_event_post **ret, struct ls_err *err)
{
	struct ls_event_post *p = calloc(1, sizeof(*p));
	struct ls_kube_options own = *kube;
	ls_status st;
	int e;

	if (!p)
		return ls_fail_oom(err);
	own.qps = kube->qps / 5;
	own.burst = kube->burst / 5 + 1;
	own.threads = 0;
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->woken, NULL);
	st = ls_kube_open(&own, &p->kube, err);
	if (!st && (e = pthread_create(&p->thread, NULL, run, p)) != 0)
		st = ls_fail(err, LS_AGAIN, e, "cannot start a thread for Events");
	if (st) {
		ls_kube_close(p->kube);
		free(p);
		return st;
	}
	*ret = p;
	return LS_OK;
}

void ls_event_post_close(struct ls_event_post *p)
{
	struct timespec until;

	if (!p)
		return;
	pthread_mutex_lock(&p->lock);
	p->stop = true;
	pthread_cond_signal(&p->woken);
	pthread_mutex_unlock(&p->lock);
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec++;
	if (pthread_timedjoin_np(p->thread, NULL, &until)) {
		ls_kube_cancel(p->kube);
		pthread_join(p->thread, NULL);
	}
	while (p->n > 0)
		release(&p->ring[(p->first + --p->n) % WAITING]);
	ls_kube_close(p->kube);
	pthread_cond_destroy(&p->woken);
	pthread_mutex_destroy(&p->lock);
	free(p);
}
