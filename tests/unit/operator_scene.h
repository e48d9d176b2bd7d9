/* operator_scene.h -- a job made of words, for tests of the plan: three (workers; else two), elastic (minReplicas 1), suspend, queue, volcano,
 * ttl (60 s), deadline (100 s), all, none (cleanPodPolicy), backoff1, nouri, bad (no command), other, ours (managedBy), newer (generation 2). */
#include "operator/plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_PODS 64
#define T0 1000000

static const char key_hex[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

static bool has(const char *words, const char *word)
{
	const char *at = words;
	size_t len = strlen(word);

	while ((at = strstr(at, word))) {
		if ((at == words || at[-1] == ' ') && (!at[len] || at[len] == ' '))
			return true;
		at += len;
	}
	return false;
}

static void spec_text(const char *words, char *ret, size_t size)
{
	snprintf(ret, size,
		"{\"apiVersion\":\"lockstep.dev/v1alpha1\",\"kind\":\"TrainingJob\",\"metadata\":{\"name\":\"digits\",\"namespace\":\"ml\",\"uid\":\"u1\","
		"\"generation\":%d,\"resourceVersion\":\"7\"},"
		"\"spec\":{%s\"workers\":{\"replicas\":%d%s,\"template\":{\"spec\":{%s\"containers\":[{\"name\":\"main\",\"image\":\"x\",%s}]}}},"
		"\"checkpoint\":{%s},\"runPolicy\":{\"suspend\":%s,\"backoffLimit\":%d%s%s%s%s}}}",
		has(words, "newer") ? 2 : 1, has(words, "other") ? "\"managedBy\":\"kueue.x-k8s.io/multikueue\"," : has(words, "ours") ? "\"managedBy\":\"lockstep.dev/operator\"," : "",
		has(words, "three") ? 3 : 2, has(words, "elastic") ? ",\"minReplicas\":1" : "", has(words, "volcano") ? "\"schedulerName\":\"volcano\"," : "",
		has(words, "bad") ? "\"args\":[\"x\"]" : "\"command\":[\"./train\"]", has(words, "nouri") ? "" : "\"uri\":\"s3://bucket/p\"",
		has(words, "suspend") ? "true" : "false", has(words, "backoff1") ? 1 : 3, has(words, "ttl") ? ",\"ttlSecondsAfterFinished\":60" : "",
		has(words, "deadline") ? ",\"activeDeadlineSeconds\":100" : "",
		has(words, "all") ? ",\"cleanPodPolicy\":\"All\"" : has(words, "none") ? ",\"cleanPodPolicy\":\"None\"" : "",
		has(words, "queue") || has(words, "volcano") ? ",\"schedulingPolicy\":{\"queue\":\"q\"}" : "");
}

/* The job as its words say now; what the operator keeps in it stays. */
static void respec(struct ls_tjob *job, const char *words)
{
	struct ls_tjob before = *job;
	struct ls_err err = LS_ERR_INIT;
	char text[2000];
	cJSON *json;

	spec_text(words, text, sizeof(text));
	json = cJSON_Parse(text);
	if (ls_tjob_read(json, job, &err))
		abort();
	cJSON_Delete(json);
	if (before.name) {
		ls_tstatus_release(&job->status);
		job->status = before.status;
		before.status = (struct ls_tstatus){ 0 };
		job->finalizer = before.finalizer;
		job->deleted = before.deleted;
	}
	ls_tjob_release(&before);
}
