/* step.c -- one request of a round: how it is composed, what is expected of it, and what its answer means. */
#include "core/base64.h"
#include "core/io.h"
#include "operator/act_impl.h"
#include "operator/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define WRITTEN_MS (5 * 60 * 1000) /* longer than any cache lags; shorter than a restored etcd may confuse us */

static void job_path(const struct job *job, struct ls_str *ret)
{
	ls_str_add(ret, LS_KUBE_API "/namespaces/");
	ls_kube_add_segment(ret, job->namespace_);
	ls_str_add(ret, "/trainingjobs/");
	ls_kube_add_segment(ret, job->name);
}

static void add_json(struct ls_str *ret, cJSON *json)
{
	char *text = json ? cJSON_PrintUnformatted(json) : NULL;

	if (text)
		ls_str_add(ret, text);
	else
		ret->oom = true;
	free(text);
}

/* A patch that holds only for the version that was looked at: Conflict otherwise. */
static void patch(struct ls_step *s, const char *path, cJSON *value)
{
	cJSON *ops = cJSON_CreateArray(), *op = cJSON_CreateObject();

	cJSON_AddStringToObject(op, "op", "replace");
	cJSON_AddStringToObject(op, "path", "/metadata/resourceVersion");
	cJSON_AddStringToObject(op, "value", s->w->version);
	cJSON_AddItemToArray(ops, op);
	op = cJSON_CreateObject();
	cJSON_AddStringToObject(op, "op", "add"); /* which replaces, too */
	cJSON_AddStringToObject(op, "path", path);
	if (!value || !cJSON_AddItemToObject(op, "value", value)) {
		cJSON_Delete(value);
		s->call.body.oom = true;
	}
	cJSON_AddItemToArray(ops, op);
	s->call.method = "PATCH";
	s->call.content_type = "application/json-patch+json";
	add_json(&s->call.body, ops);
	cJSON_Delete(ops);
}

static cJSON *finalizers(const struct job *job, bool on)
{
	cJSON *list = job->finalizers ? cJSON_Duplicate(job->finalizers, true) : cJSON_CreateArray();

	if (on)
		cJSON_AddItemToArray(list, cJSON_CreateString(LS_FINALIZER));
	return list;
}

static void delete_options(struct ls_step *s, const char *uid, bool force)
{
	cJSON *options = cJSON_CreateObject();

	s->call.method = "DELETE";
	cJSON_AddStringToObject(options, "apiVersion", "v1");
	cJSON_AddStringToObject(options, "kind", "DeleteOptions");
	if (force)
		cJSON_AddNumberToObject(options, "gracePeriodSeconds", 0);
	if (*uid)
		cJSON_AddStringToObject(cJSON_AddObjectToObject(options, "preconditions"), "uid", uid);
	cJSON_AddStringToObject(options, "propagationPolicy", "Background");
	add_json(&s->call.body, options);
	cJSON_Delete(options);
}

static bool ends(const char *path, const char *collection)
{
	size_t n = strlen(path), m = strlen(collection);

	return n > m && path[n - m - 1] == '/' && !strcmp(path + n - m, collection);
}

/* A Pod that will be: a worker's node is the one that was chosen, though the scheduler has not said so yet. */
static ls_status expect_pod(struct ls_step *s, struct ls_err *err)
{
	struct ls_tpod pod = { 0 };
	cJSON *object = cJSON_Parse(s->a->text);
	ls_status st = object ? ls_tpod_read(object, &pod, err) : ls_fail_oom(err);

	cJSON_Delete(object);
	if (st == LS_NOT_FOUND)
		return LS_OK; /* no Pod */
	if (!st && s->a->node[0] && pod.index >= 0) {
		free(pod.node);
		pod.node = strdup(s->a->node);
		if (!pod.node) {
			ls_tpod_release(&pod);
			return ls_fail_oom(err);
		}
	}
	return st ? st : ls_expect_creating(&s->w->job->pods, &pod, ls_clock_ms(), err);
}

static ls_status compose(struct ls_step *s, struct ls_err *err)
{
	const struct ls_action *a = s->a;
	struct job *job = s->w->job;

	switch (a->what) {
	case LS_DO_STATUS:
		job_path(job, &s->call.path);
		ls_str_add(&s->call.path, "/status");
		patch(s, "/status", ls_tstatus_json(a->status));
		return LS_OK;
	case LS_DO_FINALIZER:
		job_path(job, &s->call.path);
		patch(s, "/metadata/finalizers", finalizers(job, a->on));
		return LS_OK;
	case LS_DO_DELETE_JOB:
		job_path(job, &s->call.path);
		delete_options(s, s->w->uid, false);
		return LS_OK;
	case LS_DO_DELETE_POD:
		ls_str_add(&s->call.path, "/api/v1/namespaces/");
		ls_kube_add_segment(&s->call.path, job->namespace_);
		ls_str_add(&s->call.path, "/pods/");
		ls_kube_add_segment(&s->call.path, a->name);
		delete_options(s, a->uid, a->force);
		ls_expect_deleting(&job->pods, a->name, ls_clock_ms());
		return LS_OK;
	case LS_DO_TELL:
		s->call.method = "GET";
		ls_str_add(&s->call.path, "/api/v1/namespaces/");
		ls_kube_add_segment(&s->call.path, job->namespace_);
		ls_str_add(&s->call.path, "/secrets/");
		ls_kube_add_segment(&s->call.path, job->name);
		ls_str_add(&s->call.path, "-lockstep");
		return LS_OK;
	default:
		s->call.method = "POST";
		ls_str_add(&s->call.path, a->path);
		ls_str_add(&s->call.body, a->text);
		return ends(a->path, "pods") ? expect_pod(s, err) : LS_OK;
	}
}

ls_status ls_step_prepare(struct ls_step *s)
{
	struct ls_err err = LS_ERR_INIT;
	ls_status st;

	s->call.timeout_ms = WRITE_MS;
	st = compose(s, &err);
	if (!st && (s->call.path.oom || s->call.body.oom))
		st = ls_fail_oom(&err);
	if (st)
		ls_log(LS_LOG_ERROR, "a request cannot be made", "job", s->w->job->key, "error", err.text, NULL);
	return st;
}

bool ls_step_wants_check(struct ls_step *s)
{
	if (s->a->what != LS_DO_CREATE || s->call.st != LS_EXISTS)
		return false;
	ls_kube_call_release(&s->call);
	s->call.method = "GET";
	s->call.timeout_ms = WRITE_MS;
	ls_str_addf(&s->call.path, "%s/%s", s->a->path, s->a->name);
	s->check = true;
	return true;
}

/* --- answers ------------------------------------------------------------------------------------------------------------------------------ */

static const char *text_of(const cJSON *object, const char *part, const char *key)
{
	const char *text = cJSON_GetStringValue(cJSON_GetObjectItem(cJSON_GetObjectItem(object, part), key));

	return text ? text : "";
}

static bool owned(const cJSON *object, const char *uid)
{
	const cJSON *owner;

	cJSON_ArrayForEach(owner, cJSON_GetObjectItem(cJSON_GetObjectItem(object, "metadata"), "ownerReferences")) {
		const char *text = cJSON_GetStringValue(cJSON_GetObjectItem(owner, "uid"));

		if (text && !strcmp(text, uid))
			return true;
	}
	return false;
}

/* The Secret is ours: its key is the one that counts, whoever wrote it. */
static ls_status take_key(struct job *job, const cJSON *secret, const char *uid, struct ls_err *err)
{
	struct ls_str hex = { 0 };
	ls_status st = LS_USAGE;

	if (ls_base64_decode(text_of(secret, "data", "key"), &hex) && hex.len)
		st = ls_psk_key_parse(&hex, "its `key`", uid, &job->link_key, err);
	else
		ls_fail(err, st, 0, "it has no `key`");
	if (hex.s)
		explicit_bzero(hex.s, hex.cap);
	ls_str_release(&hex);
	if (st)
		return ls_err_at(err, st, "Secret %s is damaged; delete it, and a new one is made: ", text_of(secret, "metadata", "name"));
	job->has_key = true;
	explicit_bzero(job->key_hex, sizeof(job->key_hex));
	return LS_OK;
}

static ls_status created(struct ls_controller *c, struct ls_step *s, struct ls_err *err)
{
	cJSON *object = cJSON_Parse(ls_str_text(&s->call.text));
	struct job *job = s->w->job;
	ls_status st = LS_OK;

	if (!object)
		st = ls_fail(err, LS_AGAIN, 0, "the API server's answer is no JSON");
	else if (s->check && !owned(object, s->w->uid))
		st = ls_fail(err, LS_AGAIN, 0, "%s/%s exists and is not of this job: delete it, or give the job another name", s->a->path, s->a->name);
	else if (ends(s->a->path, "secrets"))
		st = take_key(job, object, s->w->uid, err);
	if (!st && ends(s->a->path, "pods")) {
		ls_expect_created(&job->pods, s->a->name, text_of(object, "metadata", "uid"));
		c->pods_created += !s->check;
	}
	job->secret = job->secret || (!st && ends(s->a->path, "secrets"));
	job->service = job->service || (!st && ends(s->a->path, "services"));
	job->policy = job->policy || (!st && ends(s->a->path, "networkpolicies"));
	cJSON_Delete(object);
	return st;
}

static const char *launcher_address(const struct work *w)
{
	const struct job *job = w->job;

	for (int i = 0; i < job->pods.n; i++) {
		const struct ls_tpod *p = &job->pods.v[i].pod;

		if (p->index < 0 && p->serial == job->seen.status.pods.launcher && !strcmp(p->job_uid, w->uid) && *p->ip)
			return p->ip;
	}
	return NULL;
}

/* After a start of the operator the key of a job that goes on is not known. */
bool ls_step_tell(struct ls_controller *c, struct work *w, const struct ls_action *a)
{
	const char *address = launcher_address(w);
	struct ls_err err = LS_ERR_INIT;
	char *order;

	if (!address)
		return true; /* its Pod will say when it has one */
	if (!w->job->has_key)
		return false;
	order = cJSON_PrintUnformatted(a->object);
	if (!order || ls_links_tell(c->links, &w->job->link_key, address, order, &err))
		ls_log(LS_LOG_ERROR, "no memory to tell the launcher", "job", w->job->key, NULL);
	free(order);
	return true;
}

static ls_status secret_read(struct ls_controller *c, struct ls_step *s, struct ls_err *err)
{
	cJSON *secret = cJSON_Parse(ls_str_text(&s->call.text));
	ls_status st;

	if (!secret)
		st = ls_fail(err, LS_AGAIN, 0, "the API server's answer is no JSON");
	else if (!owned(secret, s->w->uid))
		st = ls_fail(err, LS_USAGE, 0, "the Secret is not of this job");
	else
		st = take_key(s->w->job, secret, s->w->uid, err);
	s->w->job->secret = s->w->job->secret || !st;
	cJSON_Delete(secret);
	if (!st)
		ls_step_tell(c, s->w, s->a);
	return st;
}

/* Our own write comes back at once: the next plan stands on it, and later actions carry its version. */
static void adopt(struct ls_step *s)
{
	cJSON *object = cJSON_Parse(ls_str_text(&s->call.text));
	struct job *job = s->w->job;
	struct ls_err err = LS_ERR_INIT;
	struct ls_tjob now = { 0 };

	if (object && !ls_tjob_read(object, &now, &err)) {
		snprintf(s->w->version, sizeof(s->w->version), "%s", now.resource_version);
		if (!strcmp(now.uid, job->seen.uid) && ls_version_older(job->seen.resource_version, now.resource_version)) {
			ls_tjob_release(&job->seen);
			job->seen = now;
			job->written_ms = ls_clock_ms() + WRITTEN_MS;
			now = (struct ls_tjob){ 0 };
		}
		ls_tjob_release(&now);
	}
	cJSON_Delete(object);
}

/* The job changed since it was looked at, which is no failure: it is looked at again when that is seen, which it may be already. */
static void conflicted(struct ls_controller *c, struct ls_step *s)
{
	c->conflicts++;
	s->w->stopped = true;
	s->w->made = true; /* whoever wrote it may have given out the same serial */
	ls_job_dirty(c, s->w->job, strcmp(s->w->version, s->w->job->seen.resource_version) != 0 ? 0 : 1000);
}

static void failed(struct ls_controller *c, struct ls_step *s)
{
	s->w->stopped = s->w->failed = true;
	if (!c->stop)
		ls_log(LS_LOG_WARN, "a request failed", "job", s->w->job->key, "request", s->call.method, "path", ls_str_text(&s->call.path), "error",
			s->call.err.text, NULL);
}

static ls_status pod_deleted(struct ls_controller *c, struct ls_step *s)
{
	struct ls_expect *pods = &s->w->job->pods;

	if (!s->call.st)
		c->pods_deleted++;
	else if (s->call.st == LS_NOT_FOUND)
		ls_expect_gone(pods, s->a->name, s->a->uid);
	else if (s->call.status != 409) /* then another one has its name */
		ls_expect_not_deleted(pods, s->a->name);
	return s->call.st == LS_NOT_FOUND || s->call.status == 409 ? LS_OK : s->call.st;
}

/* What an answer to a create says of those to come. A name that was taken is one that was made, whenever. */
static void note_create(struct ls_step *s, ls_status st)
{
	bool denied = s->call.status / 100 == 4 && s->call.status != 408;

	if (ends(s->a->path, "pods") && (s->check || (s->call.sent && !denied)))
		s->w->made = true;
	if (st && (s->check || denied) && !s->w->refused)
		s->w->refused = strdup(s->call.err.text); /* without memory: it is in the log */
}

void ls_step_done(struct ls_controller *c, struct ls_step *s)
{
	bool write_job = s->a->what == LS_DO_STATUS || s->a->what == LS_DO_FINALIZER;
	ls_status st = s->call.st;

	if (!s->w->job->known || strcmp(s->w->job->seen.uid, s->w->uid) != 0) {
		s->w->stopped = true; /* its job is gone: nobody asks */
		return;
	}
	if (s->a->what == LS_DO_CREATE) {
		st = st ? st : created(c, s, &s->call.err);
		note_create(s, st);
		if (st)
			ls_step_undo(c, s->w, s->a);
	} else if (s->a->what == LS_DO_DELETE_POD) {
		st = pod_deleted(c, s);
	} else if (s->a->what == LS_DO_TELL) {
		st = st ? LS_AGAIN : secret_read(c, s, &s->call.err);
	} else if (write_job && !st) {
		adopt(s);
		if (s->a->what == LS_DO_STATUS)
			s->w->job->status_written = time(NULL);
		else
			ls_job_dirty(c, s->w->job, 0); /* the plan went no further */
	}
	if (write_job && s->call.status == 409)
		conflicted(c, s);
	else if (st == LS_NOT_FOUND && s->a->what != LS_DO_CREATE)
		s->w->stopped = true; /* the job is gone: the watch will say so */
	else if (st)
		failed(c, s);
}

void ls_step_undo(struct ls_controller *c, struct work *w, const struct ls_action *a)
{
	ls_expect_not_created(&w->job->pods, a->name);
	if (a->node[0])
		ls_cluster_release(c->cluster, w->job->namespace_, a->name);
}

void ls_step_release(struct ls_step *s)
{
	if (s->call.method && !strcmp(s->call.method, "POST") && s->call.body.s)
		explicit_bzero(s->call.body.s, s->call.body.len); /* may be the Secret */
	ls_kube_call_release(&s->call);
}
