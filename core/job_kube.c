/* job_kube.c -- the field names of Kubernetes' API v1 (1.34) that a TrainingJob may carry and `lockstep run`
 * does not read.
 *
 * Names only: the API server checks the values. A name that is missing here is refused as misspelt, so newer fields are
 * added when Kubernetes gets them.
 */
#include "core/job_fields.h"

#include <string.h>

#define NAMES(...) (const char *const[]){ __VA_ARGS__, NULL }
#define TEMPLATE "spec.workers.template"

const struct ls_kube_fields ls_kube_fields[] = {
	{ "metadata", "ObjectMeta", true,
		NAMES("creationTimestamp", "deletionGracePeriodSeconds", "deletionTimestamp", "finalizers",
			"generateName", "generation", "managedFields", "ownerReferences", "resourceVersion", "selfLink",
			"uid") },
	{ TEMPLATE ".spec", "PodSpec", false,
		NAMES("activeDeadlineSeconds", "affinity", "automountServiceAccountToken", "dnsConfig", "dnsPolicy",
			"enableServiceLinks", "ephemeralContainers", "hostAliases", "hostIPC", "hostNetwork", "hostPID",
			"hostUsers", "hostname", "hostnameOverride", "imagePullSecrets", "initContainers", "nodeName",
			"nodeSelector", "os", "overhead", "preemptionPolicy", "priority", "priorityClassName",
			"readinessGates", "resourceClaims", "resources", "restartPolicy", "runtimeClassName",
			"schedulerName", "schedulingGates", "securityContext", "serviceAccount", "serviceAccountName",
			"setHostnameAsFQDN", "shareProcessNamespace", "subdomain", "tolerations",
			"topologySpreadConstraints", "volumes") },
	{ TEMPLATE ".spec.containers[]", "Container", false,
		NAMES("envFrom", "image", "imagePullPolicy", "lifecycle", "livenessProbe", "ports", "readinessProbe",
			"resizePolicy", "restartPolicy", "restartPolicyRules", "securityContext", "startupProbe",
			"stdin", "stdinOnce", "terminationMessagePath", "terminationMessagePolicy", "tty",
			"volumeDevices", "volumeMounts") },
	{ TEMPLATE ".spec.containers[].resources", "ResourceRequirements", false, NAMES("claims", "requests") },
	{ TEMPLATE ".spec.containers[].resources.limits", "ResourceList", false, NULL },
	{ .parent = NULL },
};

const struct ls_kube_fields *ls_kube_find(const char *parent)
{
	const struct ls_kube_fields *kube;

	for (kube = ls_kube_fields; kube->parent; kube++)
		if (!strcmp(kube->parent, parent))
			return kube;
	return NULL;
}

bool ls_kube_has(const struct ls_kube_fields *kube, const char *key)
{
	const char *const *name = kube ? kube->names : NULL;

	if (kube && !name)
		return true;
	for (; name && *name; name++)
		if (!strcmp(*name, key))
			return true;
	return false;
}
