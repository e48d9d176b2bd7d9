/* pods.c -- the objects of a job but its Pods: Secret, Service, NetworkPolicy, PodGroup; names and metadata of all; the tools that make them. */
#include "operator/make_impl.h"

#include "core/link.h"
#include "core/str.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* --- making ------------------------------------------------------------------------------------------------------------------------------- */

cJSON *ls_making_json(struct ls_making *k, const char *fmt, ...)
{
	struct ls_str text = { 0 };
	cJSON *json;
	va_list ap;

	va_start(ap, fmt);
	ls_str_vaddf(&text, fmt, ap);
	va_end(ap);
	json = text.oom ? NULL : cJSON_Parse(ls_str_text(&text));
	ls_str_release(&text);
	if (!json)
		k->oom = true;
	return json;
}

void ls_making_put(struct ls_making *k, cJSON *parent, const char *key, cJSON *item)
{
	if (parent && key)
		cJSON_DeleteItemFromObjectCaseSensitive(parent, key);
	if (parent && item && (key ? cJSON_AddItemToObject(parent, key, item) : cJSON_AddItemToArray(parent, item)))
		return;
	cJSON_Delete(item);
	k->oom = true;
}

void ls_making_text(struct ls_making *k, cJSON *parent, const char *key, const char *text)
{
	ls_making_put(k, parent, key, cJSON_CreateString(text));
}

static cJSON *under(struct ls_making *k, cJSON *parent, const char *key, bool list)
{
	cJSON *item = cJSON_GetObjectItemCaseSensitive(parent, key);

	if (list ? cJSON_IsArray(item) : cJSON_IsObject(item))
		return item;
	ls_making_put(k, parent, key, list ? cJSON_CreateArray() : cJSON_CreateObject());
	return cJSON_GetObjectItemCaseSensitive(parent, key);
}

cJSON *ls_making_map(struct ls_making *k, cJSON *parent, const char *key)
{
	return under(k, parent, key, false);
}

cJSON *ls_making_list(struct ls_making *k, cJSON *parent, const char *key)
{
	return under(k, parent, key, true);
}

void ls_making_copy(struct ls_making *k, cJSON *parent, const char *key, const cJSON *from)
{
	const cJSON *item = cJSON_GetObjectItemCaseSensitive(from, key);

	if (item && !cJSON_IsNull(item))
		ls_making_put(k, parent, key, cJSON_Duplicate(item, true));
}

cJSON *ls_making_end(struct ls_making *k, cJSON *object)
{
	if (object && !k->oom)
		return object;
	cJSON_Delete(object);
	return NULL;
}

/* --- names and metadata ------------------------------------------------------------------------------------------------------------------- */

void ls_pod_name(const char *job, int index, int serial, char ret[128])
{
	int n = index < 0 ? snprintf(ret, 128, "%.63s-launcher", job) : snprintf(ret, 128, "%.63s-worker-%d", job, index);

	if (serial > 0)
		snprintf(ret + n, 128 - (size_t)n, "-%d", serial);
}

const cJSON *ls_template(const struct ls_tjob *job)
{
	return cJSON_GetObjectItemCaseSensitive(cJSON_GetObjectItemCaseSensitive(job->spec, "workers"), "template");
}

bool ls_uses_volcano(const struct ls_tjob *job)
{
	const cJSON *spec = cJSON_GetObjectItemCaseSensitive(ls_template(job), "spec");
	const char *name = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(spec, "schedulerName"));

	return job->queue && name && !strcmp(name, "volcano");
}

cJSON *ls_making_head(struct ls_making *k, cJSON *object, const struct ls_make *m, const char *api, const char *kind, const char *name)
{
	cJSON *meta;

	ls_making_text(k, object, "apiVersion", api);
	ls_making_text(k, object, "kind", kind);
	meta = ls_making_map(k, object, "metadata");
	ls_making_text(k, meta, "name", name);
	ls_making_text(k, meta, "namespace", m->job->namespace_);
	ls_making_text(k, ls_making_map(k, meta, "labels"), LS_LABEL_JOB, m->job->name);
	ls_making_put(k, meta, "ownerReferences",
		ls_making_json(k,
			"[{\"apiVersion\":\"lockstep.dev/v1alpha1\",\"kind\":\"TrainingJob\",\"name\":\"%s\",\"uid\":\"%s\",\"controller\":true,"
			"\"blockOwnerDeletion\":true}]",
			m->job->name, m->job->uid));
	return meta;
}

cJSON *ls_making_pod(struct ls_making *k, cJSON *pod, const struct ls_make *m, int index, int serial)
{
	char name[128], number[16];
	cJSON *meta, *labels;

	ls_pod_name(m->job->name, index, serial, name);
	meta = ls_making_head(k, pod, m, "v1", "Pod", name);
	labels = ls_making_map(k, meta, "labels");
	ls_making_text(k, labels, LS_LABEL_ROLE, index < 0 ? "launcher" : "worker");
	snprintf(number, sizeof(number), "%d", serial);
	ls_making_text(k, labels, LS_LABEL_SERIAL, number);
	if (index >= 0) {
		snprintf(number, sizeof(number), "%d", index);
		ls_making_text(k, labels, LS_LABEL_INDEX, number);
	}
	return meta;
}

void ls_making_common(struct ls_making *k, cJSON *spec, cJSON *container, const struct ls_make *m, int serial)
{
	cJSON *env = ls_making_list(k, container, "env"), *from;

	ls_making_text(k, spec, "restartPolicy", "Never");
	ls_making_text(k, spec, "subdomain", m->job->name);
	ls_making_put(k, spec, "terminationGracePeriodSeconds", cJSON_CreateNumber(m->job->job.grace_seconds + 15));
	ls_making_put(k, ls_making_list(k, spec, "volumes"), NULL,
		ls_making_json(k, "{\"name\":\"lockstep-secret\",\"secret\":{\"secretName\":\"%s-lockstep\",\"defaultMode\":%d}}", m->job->name, 0444));
	ls_making_put(k, ls_making_list(k, container, "volumeMounts"), NULL,
		ls_making_json(k, "{\"name\":\"lockstep-secret\",\"mountPath\":\"/lockstep-secret\",\"readOnly\":true}"));
	ls_making_put(k, env, NULL, ls_making_json(k, "{\"name\":\"" LS_ENV_UID "\",\"value\":\"%s\"}", m->job->uid));
	ls_making_put(k, env, NULL, ls_making_json(k, "{\"name\":\"" LS_ENV_SERIAL "\",\"value\":\"%d\"}", serial));
	if (!m->job->credentials_secret)
		return;
	from = ls_making_json(k, "{\"secretRef\":{}}");
	ls_making_text(k, ls_making_map(k, from, "secretRef"), "name", m->job->credentials_secret);
	ls_making_put(k, ls_making_list(k, container, "envFrom"), NULL, from);
}

/* --- what a job has one of ---------------------------------------------------------------------------------------------------------------- */

cJSON *ls_make_secret(const struct ls_make *m, const char key_hex[65])
{
	struct ls_making k = { 0 };
	cJSON *o = ls_making_json(&k, "{\"type\":\"Opaque\",\"immutable\":true,\"stringData\":{\"key\":\"%s\"}}", key_hex);
	char name[80];

	snprintf(name, sizeof(name), "%.63s-lockstep", m->job->name);
	ls_making_head(&k, o, m, "v1", "Secret", name);
	return ls_making_end(&k, o);
}

/* Gives the Pods host names below the job's: a convenience for programs. The runtime uses addresses, and waits for no DNS. */
cJSON *ls_make_service(const struct ls_make *m)
{
	struct ls_making k = { 0 };
	cJSON *o = ls_making_json(&k,
		"{\"spec\":{\"clusterIP\":\"None\",\"publishNotReadyAddresses\":true,\"selector\":{\"" LS_LABEL_JOB "\":\"%s\"}}}", m->job->name);

	ls_making_head(&k, o, m, "v1", "Service", m->job->name);
	return ls_making_end(&k, o);
}

/* Ranks listen on ports of their own choice: from Pods of the job all are open, from others the link's alone. */
cJSON *ls_make_policy(const struct ls_make *m)
{
	struct ls_making k = { 0 };
	cJSON *o = ls_making_json(&k,
		"{\"spec\":{\"podSelector\":{\"matchLabels\":{\"" LS_LABEL_JOB "\":\"%s\"}},\"policyTypes\":[\"Ingress\"],\"ingress\":["
		"{\"from\":[{\"podSelector\":{\"matchLabels\":{\"" LS_LABEL_JOB "\":\"%s\"}}}]},"
		"{\"from\":[{\"namespaceSelector\":{}}],\"ports\":[{\"protocol\":\"TCP\",\"port\":%d}]}]}}",
		m->job->name, m->job->name, LS_LINK_PORT);

	ls_making_head(&k, o, m, "networking.k8s.io/v1", "NetworkPolicy", m->job->name);
	return ls_making_end(&k, o);
}

cJSON *ls_make_group(const struct ls_make *m)
{
	const struct ls_tjob *job = m->job;
	struct ls_making k = { 0 };
	cJSON *o = ls_making_json(&k, "{\"spec\":{\"minMember\":%d}}", job->min_available ? job->min_available : job->job.min_replicas);
	cJSON *spec = ls_making_map(&k, o, "spec");

	ls_making_text(&k, spec, "queue", job->queue ? job->queue : "default");
	if (job->priority_class)
		ls_making_text(&k, spec, "priorityClassName", job->priority_class);
	ls_making_head(&k, o, m, "scheduling.volcano.sh/v1beta1", "PodGroup", job->name);
	return ls_making_end(&k, o);
}
