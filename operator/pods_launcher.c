/* pods_launcher.c -- the launcher's Pod, all of it ours: it conforms to the restricted Pod security standard, and has no account on the API. */
#include "operator/make_impl.h"

#include "core/link.h"

#define SPEC \
	"{\"hostname\":\"%s-launcher\",\"automountServiceAccountToken\":false,\"enableServiceLinks\":false," \
	"\"securityContext\":{\"runAsNonRoot\":true,\"runAsUser\":65532,\"runAsGroup\":65532,\"fsGroup\":65532," \
	"\"seccompProfile\":{\"type\":\"RuntimeDefault\"}}," \
	"\"volumes\":[{\"name\":\"run\",\"emptyDir\":{}},{\"name\":\"tmp\",\"emptyDir\":{}}]," \
	"\"containers\":[{\"name\":\"launcher\",\"command\":[\"" LS_POD_DIR "/bin/lockstep\",\"launcher\"]," \
	"\"ports\":[{\"name\":\"link\",\"containerPort\":%d}]," \
	"\"env\":[{\"name\":\"" LS_ENV_WORKERS "\",\"value\":\"" LS_POD_RUN "/workers.json\"},{\"name\":\"HOME\",\"value\":\"" LS_POD_RUN "\"}]," \
	"\"resources\":{\"requests\":{\"cpu\":\"100m\",\"memory\":\"64Mi\"}}," \
	"\"volumeMounts\":[{\"name\":\"run\",\"mountPath\":\"" LS_POD_RUN "\"},{\"name\":\"tmp\",\"mountPath\":\"/tmp\"}]," \
	"\"securityContext\":{\"allowPrivilegeEscalation\":false,\"readOnlyRootFilesystem\":true,\"capabilities\":{\"drop\":[\"ALL\"]}}}]}"

/* Beside worker 0 if there is room, so that one node less can take the job down. */
static void prefer(struct ls_making *k, cJSON *spec, const char *node)
{
	ls_making_put(k, spec, "affinity",
		ls_making_json(k,
			"{\"nodeAffinity\":{\"preferredDuringSchedulingIgnoredDuringExecution\":[{\"weight\":100,\"preference\":"
			"{\"matchFields\":[{\"key\":\"metadata.name\",\"operator\":\"In\",\"values\":[\"%s\"]}]}}]}}",
			node));
}

cJSON *ls_make_launcher(const struct ls_make *m, int serial, const char *near_node)
{
	const cJSON *given = cJSON_GetObjectItemCaseSensitive(ls_template(m->job), "spec");
	struct ls_making k = { 0 };
	cJSON *pod = cJSON_CreateObject(), *spec, *container;

	spec = ls_making_json(&k, SPEC, m->job->name, LS_LINK_PORT);
	ls_making_pod(&k, pod, m, -1, serial);
	container = cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(spec, "containers"), 0);
	ls_making_text(&k, container, "image", m->image);
	ls_making_common(&k, spec, container, m, serial);
	ls_making_copy(&k, spec, "tolerations", given);
	ls_making_copy(&k, spec, "imagePullSecrets", given);
	ls_making_copy(&k, spec, "priorityClassName", given);
	if (m->job->priority_class && !cJSON_GetObjectItemCaseSensitive(spec, "priorityClassName"))
		ls_making_text(&k, spec, "priorityClassName", m->job->priority_class);
	if (near_node && *near_node)
		prefer(&k, spec, near_node);
	ls_making_put(&k, pod, "spec", spec);
	return ls_making_end(&k, pod);
}
