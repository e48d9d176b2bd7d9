/* lease_thread.c -- the thread that takes and renews the lease (lease.h).
 *
 * A leader renews by one PUT that carries the version it wrote last; only when that fails it looks. All writes carry the version that was
 * judged: of two that take a stale lease the API server lets one through. */
#include "core/io.h"
#include "operator/lease.h"
#include "operator/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define REQUEST_MS 3000

struct ls_lease {
	struct ls_kube *kube;
	char *namespace_, *name;
	void (*on_change)(void *arg);
	void *arg;
	pthread_t thread;
	pthread_mutex_t lock;   /* over `view` and `stop` */
	pthread_cond_t woken;
	bool stop;
	struct ls_lease_view view;
	struct ls_lease_record record; /* the thread's: as last seen or written */
	char acquired[40];      /* acquireTime */
	char trouble[256];      /* said last */
};

static void micro_time(char ret[40])
{
	struct timespec ts;
	struct tm tm;
	char head[24];

	clock_gettime(CLOCK_REALTIME, &ts);
	gmtime_r(&ts.tv_sec, &tm);
	strftime(head, sizeof(head), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(ret, 40, "%s.%06uZ", head, (unsigned)ts.tv_nsec / 1000);
}

static void say_trouble(struct ls_lease *l, const char *text)
{
	if (!strcmp(l->trouble, text))
		return;
	snprintf(l->trouble, sizeof(l->trouble), "%s", text);
	if (*text)
		ls_log(LS_LOG_WARN, "the lease cannot be read or written", "lease", l->name, "error", text, NULL);
}

static void path_of(const struct ls_lease *l, bool with_name, struct ls_str *ret)
{
	ls_str_add(ret, "/apis/coordination.k8s.io/v1/namespaces/");
	ls_kube_add_segment(ret, l->namespace_);
	ls_str_add(ret, "/leases");
	if (with_name) {
		ls_str_add(ret, "/");
		ls_kube_add_segment(ret, l->name);
	}
}

static void copy_text(char *ret, size_t size, const cJSON *object, const char *key)
{
	const char *text = cJSON_GetStringValue(cJSON_GetObjectItem(object, key));

	snprintf(ret, size, "%s", text ? text : "");
}

static void read_record(const cJSON *lease, struct ls_lease_record *ret)
{
	const cJSON *spec = cJSON_GetObjectItem(lease, "spec"), *n;

	*ret = (struct ls_lease_record){ .exists = true };
	copy_text(ret->version, sizeof(ret->version), cJSON_GetObjectItem(lease, "metadata"), "resourceVersion");
	copy_text(ret->holder, sizeof(ret->holder), spec, "holderIdentity");
	if (cJSON_IsNumber(n = cJSON_GetObjectItem(spec, "leaseDurationSeconds")))
		ret->duration_s = n->valueint;
	if (cJSON_IsNumber(n = cJSON_GetObjectItem(spec, "leaseTransitions")))
		ret->transitions = n->valueint;
}

static ls_status look(struct ls_lease *l, struct ls_lease_record *ret, struct ls_err *err)
{
	struct ls_kube_call call = { .method = "GET", .timeout_ms = REQUEST_MS };
	cJSON *lease = NULL;
	ls_status st;

	path_of(l, true, &call.path);
	st = call.path.oom ? ls_fail_oom(err) : ls_kube_one(l->kube, &call, err);
	if (!st && !(lease = cJSON_Parse(ls_str_text(&call.text))))
		st = ls_fail(err, LS_AGAIN, 0, "the API server's answer is no JSON");
	if (!st)
		read_record(lease, ret);
	if (st == LS_NOT_FOUND) {
		*ret = (struct ls_lease_record){ 0 };
		st = LS_OK;
	}
	cJSON_Delete(lease);
	ls_kube_call_release(&call);
	return st;
}

/* As it will be; `holder` "": given back. */
static char *lease_json(const struct ls_lease *l, const char *holder, int transitions)
{
	cJSON *lease = cJSON_CreateObject(), *metadata, *spec;
	char now[40], *text;

	micro_time(now);
	cJSON_AddStringToObject(lease, "apiVersion", "coordination.k8s.io/v1");
	cJSON_AddStringToObject(lease, "kind", "Lease");
	metadata = cJSON_AddObjectToObject(lease, "metadata");
	cJSON_AddStringToObject(metadata, "name", l->name);
	cJSON_AddStringToObject(metadata, "namespace", l->namespace_);
	if (l->record.exists)
		cJSON_AddStringToObject(metadata, "resourceVersion", l->record.version);
	spec = cJSON_AddObjectToObject(lease, "spec");
	cJSON_AddStringToObject(spec, "holderIdentity", holder);
	cJSON_AddNumberToObject(spec, "leaseDurationSeconds", *holder ? LS_LEASE_S : 1);
	cJSON_AddStringToObject(spec, "acquireTime", l->acquired);
	cJSON_AddStringToObject(spec, "renewTime", now);
	cJSON_AddNumberToObject(spec, "leaseTransitions", transitions);
	text = cJSON_PrintUnformatted(lease);
	cJSON_Delete(lease);
	return text;
}

/* LS_EXISTS: another was faster, or the record changed. */
static ls_status write_lease(struct ls_lease *l, const char *holder, bool take, struct ls_err *err)
{
	struct ls_kube_call call = { .method = l->record.exists ? "PUT" : "POST", .timeout_ms = REQUEST_MS };
	int transitions = l->record.transitions + (take && l->record.exists);
	int64_t sent_ms = ls_clock_ms();
	cJSON *lease = NULL;
	char *body;
	ls_status st;

	if (take)
		micro_time(l->acquired);
	path_of(l, l->record.exists, &call.path);
	body = lease_json(l, holder, transitions);
	ls_str_add(&call.body, body ? body : "");
	st = !body || call.path.oom || call.body.oom ? ls_fail_oom(err) : ls_kube_one(l->kube, &call, err);
	if (st && call.status == 409)
		st = LS_EXISTS;
	if (!st && (lease = cJSON_Parse(ls_str_text(&call.text))) != NULL)
		read_record(lease, &l->record);
	if (!st && *holder) {
		pthread_mutex_lock(&l->lock);
		ls_lease_written(&l->view, l->record.version, sent_ms);
		pthread_mutex_unlock(&l->lock);
	}
	cJSON_Delete(lease);
	free(body);
	ls_kube_call_release(&call);
	return st;
}

static enum ls_lease_role role_of(struct ls_lease *l)
{
	enum ls_lease_role role;

	pthread_mutex_lock(&l->lock);
	role = l->view.role;
	pthread_mutex_unlock(&l->lock);
	return role;
}

static void turn(struct ls_lease *l)
{
	bool leader = role_of(l) == LS_LEASE_LEADER, seen;
	struct ls_err err = LS_ERR_INIT;
	enum ls_lease_step step;
	ls_status st;

	if (leader && !write_lease(l, l->view.identity, false, &err)) {
		say_trouble(l, "");
		return;
	}
	seen = !look(l, &l->record, &err);
	say_trouble(l, seen ? "" : err.text);
	pthread_mutex_lock(&l->lock);
	step = ls_lease_judge(&l->view, seen ? &l->record : NULL, ls_clock_ms());
	pthread_mutex_unlock(&l->lock);
	if (step == LS_LEASE_WAIT || step == LS_LEASE_GIVE_UP)
		return;
	st = write_lease(l, l->view.identity, step != LS_LEASE_RENEW, &err);
	if (st && st != LS_EXISTS)
		say_trouble(l, err.text);
}

/* False: it is time to end. */
static bool rest(struct ls_lease *l)
{
	struct timespec until;
	bool go_on;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += LS_LEASE_RETRY_S;
	pthread_mutex_lock(&l->lock);
	while (!l->stop && pthread_cond_timedwait(&l->woken, &l->lock, &until) != ETIMEDOUT)
		;
	go_on = !l->stop;
	pthread_mutex_unlock(&l->lock);
	return go_on;
}

static void *run(void *arg)
{
	struct ls_lease *l = arg;
	enum ls_lease_role before = LS_LEASE_STANDBY, role;
	struct ls_err err = LS_ERR_INIT;

	do {
		turn(l);
		role = role_of(l);
		if (role != before)
			l->on_change(l->arg);
		before = role;
	} while (role != LS_LEASE_LOST && rest(l));
	if (role == LS_LEASE_LEADER && write_lease(l, "", false, &err))
		ls_log(LS_LOG_WARN, "the lease could not be given back: the next leader waits for its end", "error", err.text, NULL);
	return NULL;
}

static void free_lease(struct ls_lease *l)
{
	ls_kube_close(l->kube);
	pthread_cond_destroy(&l->woken);
	pthread_mutex_destroy(&l->lock);
	free(l->namespace_);
	free(l->name);
	free(l);
}

ls_status ls_lease_start(const struct ls_lease_options *opt, struct ls_lease **ret, struct ls_err *err)
{
	struct ls_lease *l = calloc(1, sizeof(*l));
	pthread_condattr_t monotonic;
	ls_status st;
	int e;

	if (!l)
		return ls_fail_oom(err);
	pthread_mutex_init(&l->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&l->woken, &monotonic);
	pthread_condattr_destroy(&monotonic);
	l->namespace_ = strdup(opt->namespace_);
	l->name = strdup(opt->name);
	l->on_change = opt->on_change;
	l->arg = opt->arg;
	snprintf(l->view.identity, sizeof(l->view.identity), "%s", opt->identity);
	st = l->namespace_ && l->name ? ls_kube_open(&opt->kube, &l->kube, err) : ls_fail_oom(err);
	if (!st && (e = pthread_create(&l->thread, NULL, run, l)) != 0)
		st = ls_fail(err, LS_AGAIN, e, "cannot start a thread for the lease");
	if (st) {
		free_lease(l);
		return st;
	}
	*ret = l;
	return LS_OK;
}

void ls_lease_stop(struct ls_lease *l)
{
	if (!l)
		return;
	pthread_mutex_lock(&l->lock);
	l->stop = true;
	pthread_cond_signal(&l->woken);
	pthread_mutex_unlock(&l->lock);
	pthread_join(l->thread, NULL);
	free_lease(l);
}

bool ls_lease_is_ours(struct ls_lease *l, int within_ms)
{
	bool ours;

	pthread_mutex_lock(&l->lock);
	ours = ls_lease_holds(&l->view, ls_clock_ms(), within_ms);
	pthread_mutex_unlock(&l->lock);
	return ours;
}

bool ls_lease_lost(struct ls_lease *l)
{
	return role_of(l) == LS_LEASE_LOST;
}
