/* objects.c -- see objects.h. TrainingJobs and Pods as the API gives them.
 *
 * The API server has checked Kubernetes' own fields; a field of another type than it should be counts as absent, so that no reply does harm. */
#include "operator/plan.h"

#include "core/json.h"
#include "core/node.h"

#include <stdlib.h>
#include <string.h>

#define SPEC_MAX (512 << 10)
#define JOB_NAME_MAX 44 /* NAME-worker-9999-999999 is a host's name: 63 */

static const cJSON *at(const cJSON *object, const char *key)
{
	return cJSON_GetObjectItemCaseSensitive(object, key);
}

static int int_at(const cJSON *object, const char *key, int otherwise)
{
	const cJSON *number = at(object, key);

	return cJSON_IsNumber(number) ? number->valueint : otherwise;
}

/* strdup that remembers a failure. */
static char *keep(const char *text, bool *oom)
{
	char *copy = strdup(text);

	if (!copy)
		*oom = true;
	return copy;
}

static char *keep_some(const char *text, bool *oom)
{
	return *text ? keep(text, oom) : NULL;
}

/* --- time --------------------------------------------------------------------------------------------------------------------------------- */

time_t ls_time_read(const char *text)
{
	struct tm tm = { 0 };
	const char *end = text ? strptime(text, "%Y-%m-%dT%H:%M:%S", &tm) : NULL;

	if (!end)
		return 0;
	if (*end == '.')
		end += 1 + strspn(end + 1, "0123456789");
	return strcmp(end, "Z") ? 0 : timegm(&tm);
}

void ls_time_write(time_t t, char ret[32])
{
	struct tm tm;

	if (!gmtime_r(&t, &tm) || !strftime(ret, 32, "%Y-%m-%dT%H:%M:%SZ", &tm))
		ret[0] = '\0';
}

/* --- TrainingJobs ------------------------------------------------------------------------------------------------------------------------- */

static bool has_finalizer(const cJSON *meta)
{
	const cJSON *name;

	cJSON_ArrayForEach(name, at(meta, "finalizers"))
		if (cJSON_IsString(name) && !strcmp(name->valuestring, LS_FINALIZER))
			return true;
	return false;
}

static void read_meta(const cJSON *meta, struct ls_tjob *j, bool *oom)
{
	const cJSON *generation = at(meta, "generation");

	j->namespace_ = keep(ls_json_text(meta, "namespace"), oom);
	j->name = keep(ls_json_text(meta, "name"), oom);
	j->uid = keep(ls_json_text(meta, "uid"), oom);
	j->resource_version = keep(ls_json_text(meta, "resourceVersion"), oom);
	j->generation = cJSON_IsNumber(generation) ? (long long)generation->valuedouble : 0;
	j->created = ls_time_read(ls_json_text(meta, "creationTimestamp"));
	j->deleted = ls_time_read(ls_json_text(meta, "deletionTimestamp"));
	j->finalizer = has_finalizer(meta);
}

/* What the operator needs and `lockstep run` does not. */
static void read_policy(const cJSON *spec, struct ls_tjob *j, bool *oom)
{
	const cJSON *policy = at(spec, "runPolicy"), *scheduling = at(policy, "schedulingPolicy");
	const char *clean = ls_json_text(policy, "cleanPodPolicy");

	j->queue = keep_some(ls_json_text(scheduling, "queue"), oom);
	j->priority_class = keep_some(ls_json_text(scheduling, "priorityClass"), oom);
	j->credentials_secret = keep_some(ls_json_text(at(at(spec, "checkpoint"), "credentialsSecretRef"), "name"), oom);
	j->min_available = int_at(scheduling, "minAvailable", 0);
	j->clean = !strcmp(clean, "All") ? 1 : !strcmp(clean, "None") ? 2 : 0;
}

/* The name becomes that of a Service, which begins with a letter, and part of host names. */
static ls_status check_name(const char *name, struct ls_err *err)
{
	if (strlen(name) <= JOB_NAME_MAX && *name >= 'a' && *name <= 'z')
		return LS_OK;
	return ls_fail(err, LS_USAGE, 0,
		"metadata.name: on Kubernetes at most %d of a-z, 0-9 and '-', beginning with a letter: Pods and a Service are named after it; "
		"choose another name",
		JOB_NAME_MAX);
}

/* The runtime starts the program: what an image starts by itself is not known to it. */
static ls_status check_command(const cJSON *spec, struct ls_err *err)
{
	const cJSON *containers = at(at(at(at(spec, "workers"), "template"), "spec"), "containers");

	if (cJSON_GetArraySize(at(cJSON_GetArrayItem(containers, 0), "command")) > 0)
		return LS_OK;
	return ls_fail(err, LS_USAGE, 0,
		"spec.workers.template.spec.containers[0].command: missing; the image's own entry point is not used: write command: [./prog, --option]");
}

static ls_status read_spec(const cJSON *object, struct ls_tjob *j, struct ls_err *err)
{
	struct ls_node *root = NULL;
	ls_status st = ls_node_from_cjson(object, &root, err);

	if (!st)
		st = ls_job_from_node(j->name, root, &j->job, err);
	ls_node_free(root);
	if (!st)
		st = check_name(j->name, err);
	if (!st)
		st = check_command(j->spec, err);
	return st;
}

/* What it takes here. A text of a megabyte may be twenty times that, and the operator holds all jobs of all users. */
static size_t weight(const cJSON *json)
{
	size_t bytes = 0;

	for (; json; json = json->next)
		bytes += sizeof(*json) + (json->string ? strlen(json->string) : 0) + (json->valuestring ? strlen(json->valuestring) : 0) + weight(json->child);
	return bytes;
}

/* A copy of the spec; of one that is too large only whose job it is. */
static ls_status keep_spec(const cJSON *spec, struct ls_tjob *j, struct ls_err *why, bool *oom)
{
	const cJSON *manager = at(spec, "managedBy");

	if (spec && weight(spec->child) <= SPEC_MAX)
		j->spec = cJSON_Duplicate(spec, true);
	else if ((j->spec = cJSON_CreateObject()) && cJSON_IsString(manager) && !cJSON_AddStringToObject(j->spec, "managedBy", manager->valuestring))
		*oom = true;
	*oom |= !j->spec;
	if (!spec || weight(spec->child) <= SPEC_MAX)
		return LS_OK;
	return ls_fail(why, LS_USAGE, 0, "spec: takes more than %d KiB of the operator's memory; put data and programs into images and volumes", SPEC_MAX >> 10);
}

ls_status ls_tjob_read(const cJSON *object, struct ls_tjob *ret, struct ls_err *err)
{
	const cJSON *meta = at(object, "metadata"), *spec = at(object, "spec");
	struct ls_err why = LS_ERR_INIT;
	struct ls_tjob j = { 0 };
	bool oom = false;
	ls_status st, large;

	if (!*ls_json_text(meta, "name") || !*ls_json_text(meta, "uid"))
		return ls_fail(err, LS_USAGE, 0, "a TrainingJob without metadata.name or metadata.uid");
	read_meta(meta, &j, &oom);
	read_policy(spec, &j, &oom);
	large = keep_spec(spec, &j, &why, &oom);
	st = oom ? ls_fail_oom(err) : ls_tstatus_read(at(object, "status"), &j.status, err);
	if (st)
		goto fail;
	st = large ? large : read_spec(object, &j, &why);
	if (st == LS_USAGE)
		j.bad = keep(why.text, &oom);
	if (oom || (st && st != LS_USAGE)) {
		st = ls_fail_oom(err);
		goto fail;
	}
	*ret = j;
	return LS_OK;
fail:
	ls_tjob_release(&j);
	return st;
}

void ls_tjob_release(struct ls_tjob *j)
{
	free(j->namespace_);
	free(j->name);
	free(j->uid);
	free(j->resource_version);
	cJSON_Delete(j->spec);
	ls_job_release(&j->job);
	free(j->bad);
	free(j->queue);
	free(j->priority_class);
	free(j->credentials_secret);
	ls_tstatus_release(&j->status);
	*j = (struct ls_tjob){ 0 };
}

/* --- Pods --------------------------------------------------------------------------------------------------------------------------------- */

/* Just created it may have none. */
static enum ls_pod_phase phase_of(const char *text)
{
	static const char *const names[] = { "Pending", "Running", "Succeeded", "Failed" };

	for (int i = 0; i < 4; i++)
		if (!strcmp(text, names[i]))
			return (enum ls_pod_phase)i;
	return *text ? LS_POD_UNKNOWN : LS_POD_PENDING;
}

static int number_of(const char *text, int otherwise)
{
	char *end;
	long n = strtol(text, &end, 10);

	return *text && !*end && n >= 0 && n <= 1000000000 ? (int)n : otherwise;
}

static const cJSON *condition(const cJSON *status, const char *type)
{
	const cJSON *c;

	cJSON_ArrayForEach(c, at(status, "conditions"))
		if (!strcmp(ls_json_text(c, "type"), type))
			return c;
	return NULL;
}

static const char *owner_uid(const cJSON *meta)
{
	const cJSON *owner;

	cJSON_ArrayForEach(owner, at(meta, "ownerReferences"))
		if (cJSON_IsTrue(at(owner, "controller")))
			return ls_json_text(owner, "uid");
	return "";
}

/* The state of the container that the Pod is about: the first of the template. While an init container cannot start, that is what there is to say. */
static const cJSON *main_state(const cJSON *pod)
{
	const cJSON *status = at(pod, "status"), *c;
	const char *first = ls_json_text(cJSON_GetArrayItem(at(at(pod, "spec"), "containers"), 0), "name");

	cJSON_ArrayForEach(c, at(status, "initContainerStatuses")) {
		const cJSON *state = at(c, "state"), *waiting = at(state, "waiting"), *ended = at(state, "terminated");

		if ((waiting && strcmp(ls_json_text(waiting, "reason"), "PodInitializing")) || (ended && int_at(ended, "exitCode", 0)))
			return state;
	}
	cJSON_ArrayForEach(c, at(status, "containerStatuses"))
		if (!strcmp(ls_json_text(c, "name"), first))
			return at(c, "state");
	return NULL;
}

static const char *const ordinary[] = { "ContainerCreating", "PodInitializing", "Completed", "Error", NULL };

static bool is_ordinary(const char *reason)
{
	for (int i = 0; ordinary[i]; i++)
		if (!strcmp(ordinary[i], reason))
			return true;
	return false;
}

/* Why the Pod ended, or cannot start: its own word, that of who disrupts it, or its container's. */
static void read_reason(const cJSON *pod, struct ls_tpod *p, bool *oom)
{
	const cJSON *status = at(pod, "status"), *disrupted = condition(status, "DisruptionTarget"), *state = main_state(pod);
	const cJSON *ended = at(state, "terminated"), *waiting = at(state, "waiting"), *said = ended ? ended : waiting;
	const char *reason = ls_json_text(status, "reason"), *message = ls_json_text(status, "message");

	if (!*reason && disrupted && !strcmp(ls_json_text(disrupted, "status"), "True")) {
		reason = "Evicted";
		message = ls_json_text(disrupted, "message");
	}
	if (!*reason && said && !is_ordinary(ls_json_text(said, "reason"))) {
		reason = ls_json_text(said, "reason");
		message = ls_json_text(said, "message");
	}
	strncat(p->reason, reason, sizeof(p->reason) - 1);
	p->message = keep(message, oom);
	p->exit_code = int_at(ended, "exitCode", -1);
	p->signal = int_at(ended, "signal", p->exit_code > 128 && p->exit_code < 160 ? p->exit_code - 128 : 0);
	p->final = keep(ls_json_text(ended, "message"), oom);
}

static void read_schedule(const cJSON *status, struct ls_tpod *p)
{
	const cJSON *scheduled = condition(status, "PodScheduled"), *ready = condition(status, "Ready");

	p->unschedulable = scheduled && !strcmp(ls_json_text(scheduled, "status"), "False") && strcmp(ls_json_text(scheduled, "reason"), "SchedulingGated");
	if (p->unschedulable)
		p->unschedulable_since = ls_time_read(ls_json_text(scheduled, "lastTransitionTime"));
	p->ready = !strcmp(ls_json_text(ready, "status"), "True");
}

ls_status ls_tpod_read(const cJSON *object, struct ls_tpod *ret, struct ls_err *err)
{
	const cJSON *meta = at(object, "metadata"), *labels = at(meta, "labels"), *status = at(object, "status");
	const char *job = ls_json_text(labels, LS_LABEL_JOB), *role = ls_json_text(labels, LS_LABEL_ROLE);
	bool launcher = !strcmp(role, "launcher"), oom = false;
	struct ls_tpod p = { 0 };
	char name[128];

	p.index = launcher ? -1 : number_of(ls_json_text(labels, LS_LABEL_INDEX), -1);
	p.serial = number_of(ls_json_text(labels, LS_LABEL_SERIAL), -1);
	ls_pod_name(job, p.index, p.serial, name);
	if (!*job || p.serial < 0 || (!launcher && (strcmp(role, "worker") || p.index < 0)) || strcmp(name, ls_json_text(meta, "name")))
		return ls_fail(err, LS_NOT_FOUND, 0, "Pod %s/%s is not one of a TrainingJob", ls_json_text(meta, "namespace"), ls_json_text(meta, "name"));
	p.namespace_ = keep(ls_json_text(meta, "namespace"), &oom);
	p.name = keep(ls_json_text(meta, "name"), &oom);
	p.uid = keep(ls_json_text(meta, "uid"), &oom);
	p.job = keep(job, &oom);
	p.job_uid = keep(owner_uid(meta), &oom);
	p.phase = phase_of(ls_json_text(status, "phase"));
	p.deleted = ls_time_read(ls_json_text(meta, "deletionTimestamp"));
	p.grace_s = int_at(meta, "deletionGracePeriodSeconds", 0);
	p.node = keep(ls_json_text(at(object, "spec"), "nodeName"), &oom);
	p.ip = keep(ls_json_text(status, "podIP"), &oom);
	read_schedule(status, &p);
	read_reason(object, &p, &oom);
	if (oom) {
		ls_tpod_release(&p);
		return ls_fail_oom(err);
	}
	*ret = p;
	return LS_OK;
}

void ls_tpod_release(struct ls_tpod *p)
{
	free(p->namespace_);
	free(p->name);
	free(p->uid);
	free(p->job);
	free(p->job_uid);
	free(p->node);
	free(p->ip);
	free(p->message);
	free(p->final);
	*p = (struct ls_tpod){ 0 };
}
