/* pods_worker.c -- a worker's Pod: the user's template, with the runtime beside the program, and `lockstep agent --pod` in the program's place.
 * The launcher starts the program through it. */
#include "operator/make_impl.h"

#include "core/link.h"

#include <stdio.h>
#include <string.h>

#define AT(object, key) cJSON_GetObjectItemCaseSensitive(object, key)

/* Its requests and limits of CPU and memory are those of the program's container: so it never adds to what the Pod needs, nor changes its class
 * of service. */
static void copy_resources(struct ls_making *k, cJSON *to, const cJSON *first)
{
	static const char *const kinds[] = { "requests", "limits" };
	const cJSON *from = AT(first, "resources");

	for (int i = 0; i < 2; i++) {
		cJSON *kind = AT(from, kinds[i]) ? ls_making_map(k, ls_making_map(k, to, "resources"), kinds[i]) : NULL;

		if (!kind)
			continue;
		ls_making_copy(k, kind, "cpu", AT(from, kinds[i]));
		ls_making_copy(k, kind, "memory", AT(from, kinds[i]));
	}
}

/* Runs as the image's own user, 65532, unless the template names one for all containers. */
static cJSON *runtime_container(struct ls_making *k, const struct ls_make *m, const cJSON *spec, const cJSON *first)
{
	const cJSON *user = AT(AT(spec, "securityContext"), "runAsUser");
	bool root = cJSON_IsNumber(user) && user->valueint == 0;
	cJSON *c = ls_making_json(k,
		"{\"name\":\"lockstep-runtime\",\"command\":[\"" LS_POD_DIR "/bin/lockstep\",\"runtime\",\"/lockstep-out\"],"
		"\"volumeMounts\":[{\"name\":\"lockstep-runtime\",\"mountPath\":\"/lockstep-out\"}],"
		"\"securityContext\":{\"allowPrivilegeEscalation\":false,\"readOnlyRootFilesystem\":true,\"runAsNonRoot\":%s,"
		"\"capabilities\":{\"drop\":[\"ALL\"]},\"seccompProfile\":{\"type\":\"RuntimeDefault\"}}}",
		root ? "false" : "true");

	ls_making_text(k, c, "image", m->image);
	copy_resources(k, c, first);
	return c;
}

static bool mounts_shm(const cJSON *container)
{
	const cJSON *mount;

	cJSON_ArrayForEach(mount, AT(container, "volumeMounts")) {
		const char *path = cJSON_GetStringValue(AT(mount, "mountPath"));

		if (path && (!strcmp(path, "/dev/shm") || !strcmp(path, "/dev/shm/")))
			return true;
	}
	return false;
}

static void add_volume(struct ls_making *k, cJSON *spec, cJSON *container, const char *name, const char *volume, const char *path, bool read_only)
{
	ls_making_put(k, ls_making_list(k, spec, "volumes"), NULL, ls_making_json(k, "{\"name\":\"%s\",\"emptyDir\":%s}", name, volume));
	ls_making_put(k, ls_making_list(k, container, "volumeMounts"), NULL,
		ls_making_json(k, "{\"name\":\"%s\",\"mountPath\":\"%s\",\"readOnly\":%s}", name, path, read_only ? "true" : "false"));
}

/* Terms of a node selector are alternatives: the node is asked for in each. nodeName would bypass the scheduler's own checks. */
static void pin(struct ls_making *k, cJSON *spec, const char *node)
{
	cJSON *affinity = ls_making_map(k, ls_making_map(k, spec, "affinity"), "nodeAffinity");
	cJSON *terms = ls_making_list(k, ls_making_map(k, affinity, "requiredDuringSchedulingIgnoredDuringExecution"), "nodeSelectorTerms");
	cJSON *term;

	if (!cJSON_GetArraySize(terms))
		ls_making_put(k, terms, NULL, cJSON_CreateObject());
	cJSON_ArrayForEach(term, terms)
		ls_making_put(k, ls_making_list(k, term, "matchFields"), NULL,
			ls_making_json(k, "{\"key\":\"metadata.name\",\"operator\":\"In\",\"values\":[\"%s\"]}", node));
}

/* A queue was named: who runs it places the Pods, as one group. */
static void queue(struct ls_making *k, cJSON *meta, const struct ls_tjob *job)
{
	cJSON *labels = ls_making_map(k, meta, "labels"), *notes = ls_making_map(k, meta, "annotations");
	char text[128];

	if (ls_uses_volcano(job)) {
		ls_making_text(k, notes, "scheduling.k8s.io/group-name", job->name);
		ls_making_text(k, notes, "scheduling.volcano.sh/queue-name", job->queue);
		return;
	}
	ls_making_text(k, labels, "kueue.x-k8s.io/queue-name", job->queue);
	snprintf(text, sizeof(text), "%.63s-%d", job->name, job->status.pods.base);
	ls_making_text(k, labels, "kueue.x-k8s.io/pod-group-name", text);
	snprintf(text, sizeof(text), "%d", job->status.pods.size);
	ls_making_text(k, notes, "kueue.x-k8s.io/pod-group-total-count", text);
}

static void put_unless_given(struct ls_making *k, cJSON *env, const char *name, const char *value)
{
	const cJSON *one;

	cJSON_ArrayForEach(one, env) {
		const char *given = cJSON_GetStringValue(AT(one, "name"));

		if (given && !strcmp(given, name))
			return;
	}
	ls_making_put(k, env, NULL, ls_making_json(k, "{\"name\":\"%s\",\"value\":\"%s\"}", name, value));
}

static void put_agent(struct ls_making *k, cJSON *spec, cJSON *first, const struct ls_make *m, int index, int serial)
{
	cJSON *env = ls_making_list(k, first, "env");
	char name[128];

	ls_pod_name(m->job->name, index, 0, name);
	ls_making_text(k, spec, "hostname", name);
	ls_making_put(k, first, "command", ls_making_json(k, "[\"" LS_POD_DIR "/bin/lockstep\",\"agent\",\"--pod\"]"));
	cJSON_DeleteItemFromObjectCaseSensitive(first, "args");
	ls_making_common(k, spec, first, m, serial);
	ls_making_put(k, env, NULL, ls_making_json(k, "{\"name\":\"" LS_ENV_WORKER "\",\"value\":\"%s\"}", name));
	/* A container's seccomp profile forbids to read another process's memory. Open MPI would try for each message, and print that it failed. */
	put_unless_given(k, env, "OMPI_MCA_btl_vader_single_copy_mechanism", "none");
	put_unless_given(k, env, "OMPI_MCA_smsc", "^cma");
	add_volume(k, spec, first, "lockstep-runtime", "{}", LS_POD_DIR, true);
	if (!mounts_shm(first))
		add_volume(k, spec, first, "lockstep-shm", "{\"medium\":\"Memory\"}", "/dev/shm", false);
}

cJSON *ls_make_worker(const struct ls_make *m, int index, int serial, const char *node)
{
	const cJSON *template = ls_template(m->job), *given = AT(template, "metadata");
	struct ls_making k = { 0 };
	cJSON *pod = cJSON_CreateObject(), *meta, *spec, *first;

	meta = ls_making_map(&k, pod, "metadata");
	ls_making_copy(&k, meta, "labels", given);
	ls_making_copy(&k, meta, "annotations", given);
	ls_making_pod(&k, pod, m, index, serial);
	ls_making_copy(&k, pod, "spec", template);
	spec = ls_making_map(&k, pod, "spec");
	first = cJSON_GetArrayItem(ls_making_list(&k, spec, "containers"), 0);
	if (!AT(first, "name"))
		ls_making_text(&k, first, "name", "worker");
	put_agent(&k, spec, first, m, index, serial);
	cJSON *init = runtime_container(&k, m, spec, first);
	if (!cJSON_InsertItemInArray(ls_making_list(&k, spec, "initContainers"), 0, init)) {
		cJSON_Delete(init);
		k.oom = true;
	}
	if (m->job->priority_class && !AT(spec, "priorityClassName"))
		ls_making_text(&k, spec, "priorityClassName", m->job->priority_class);
	if (m->job->queue)
		queue(&k, meta, m->job);
	if (node && *node)
		pin(&k, spec, node);
	return ls_making_end(&k, pod);
}
