/* job_fields.c -- the TrainingJob's fields: one table, from which validation, `lockstep explain`, docs/trainingjob.md and the
 * CustomResourceDefinition come.
 *
 * Invariant: a field that is neither here nor in job_kube.c is an error, so a misspelt one never passes for a default.
 * Rules that join several fields are in job.c and, for the API server, in job_crd.c.
 */
#include "core/job_fields.h"

#include <string.h>

#define ROW(p, k, t, says, ...) { .parent = (p), .key = (k), .type = (t), .text = (says), ##__VA_ARGS__ }
#define OTHERWISE(yaml) .otherwise = (yaml)
#define STORE(field) .stored = true, .at = offsetof(struct ls_job, field)
#define RANGE(a, b) .min = (a), .max = (b)
#define NAMES(...) .names = (const char *const[]){ __VA_ARGS__, NULL }

#define WORKERS 10000
#define YEARS 3153600000 /* a hundred, in seconds */
#define TEMPLATE "spec.workers.template"
#define CONTAINER TEMPLATE ".spec.containers[]"
#define CONDITION "status.conditions[]"
#define FAILURE "status.failures[]"
#define COUNTS "status.replicaStatuses.Worker"

const struct ls_field ls_fields[] = {
	ROW("", "apiVersion", LS_FIELD_ENUM, "The version of this format.", NAMES("lockstep.dev/v1alpha1"),
		.required = true),
	ROW("", "kind", LS_FIELD_ENUM, "The kind of object.", NAMES("TrainingJob"), .required = true),
	ROW("", "metadata",
		LS_FIELD_MAP, "Who the job is. Kubernetes' other ObjectMeta fields are read and left alone.",
		.required = true),
	ROW("metadata", "name", LS_FIELD_STRING,
		"The job's name, a DNS label: at most 63 of a-z, 0-9 and '-', which neither begin nor end with '-'. "
		"On Kubernetes at most 44, beginning with a letter: Pods and a Service are named after it. "
		"`lockstep run` names the job's directory after it.",
		.form = LS_FORM_LABEL, .required = true, STORE(name)),
	ROW("metadata", "namespace", LS_FIELD_STRING, "The Kubernetes namespace.",
		.form = LS_FORM_LABEL, STORE(namespace_)),
	ROW("metadata", "labels", LS_FIELD_LABELS, "Kubernetes labels. `lockstep run` does nothing with them."),
	ROW("metadata", "annotations",
		LS_FIELD_LABELS, "Kubernetes annotations. `lockstep run` does nothing with them."),
	ROW("", "spec", LS_FIELD_MAP, "What to run.", .required = true),

	ROW("spec", "workers", LS_FIELD_MAP, "The hosts or Pods of the job, and the program that their ranks run.",
		.required = true),
	ROW("spec.workers", "replicas", LS_FIELD_INT, "The number of workers: hosts, or Pods on Kubernetes.",
		OTHERWISE("1"),
		RANGE(1, WORKERS), STORE(replicas)),
	ROW("spec.workers", "minReplicas", LS_FIELD_INT,
		"The fewest workers that the job may go on with. Smaller than replicas makes it elastic. Default: "
		"replicas.",
		RANGE(1, WORKERS), STORE(min_replicas)),
	ROW("spec.workers", "ranksPerWorker", LS_FIELD_RANKS,
		"The ranks that run on each worker. auto: one per GPU where there are GPUs, else one per core. Sums are "
		"added up worker by worker: a number keeps them the same wherever the workers run.",
		OTHERWISE("auto"),
		RANGE(1, 4096), STORE(ranks_per_worker)),
	ROW("spec.workers", "template", LS_FIELD_MAP,
		"A PodTemplateSpec. Outside Kubernetes its first container's command, args, env, workingDir and "
		"resources are used, and what cannot apply there (image, volumes, ...) is named once.",
		.required = true),
	ROW(TEMPLATE, "metadata", LS_FIELD_ANY, "Labels and annotations of the Pods.", .kube_only = true),
	ROW(TEMPLATE, "spec", LS_FIELD_MAP, "A PodSpec. Every field of Kubernetes' API v1 is known; these are used:",
		.required = true),
	ROW(TEMPLATE ".spec", "terminationGracePeriodSeconds", LS_FIELD_INT,
		"The time between the notice (SIGTERM) and SIGKILL, in which a rank may save a checkpoint.",
		OTHERWISE("10"), RANGE(0, 86400),
		STORE(grace_seconds)),
	ROW(TEMPLATE ".spec", "containers",
		LS_FIELD_LIST, "The first is the rank's program; further ones run on Kubernetes only.",
		RANGE(1, 64), .required = true, .list_key = "name"),
	ROW(CONTAINER, "name", LS_FIELD_STRING, "The container's name, a DNS label.",
		OTHERWISE("worker"), .form = LS_FORM_LABEL),
	ROW(CONTAINER, "command", LS_FIELD_STRINGS,
		"The program and its first arguments. $(NAME) is replaced by the variable NAME of env, $$ by $. "
		"Required of the first container: the runtime starts it, and an image's own entry point is not known.",
		RANGE(0, 4096)),
	ROW(CONTAINER, "args", LS_FIELD_STRINGS, "Further arguments, after command. $(NAME) and $$ as in command.",
		RANGE(0, 4096)),
	ROW(CONTAINER, "workingDir", LS_FIELD_STRING,
		"The directory that the program starts in. Default: the one `lockstep run` was started in.",
		STORE(working_dir)),
	ROW(CONTAINER, "env", LS_FIELD_LIST, "Environment variables, in order.", RANGE(0, 1024)),
	ROW(CONTAINER ".env[]", "name", LS_FIELD_STRING, "The variable's name.",
		.form = LS_FORM_ENVNAME, .required = true),
	ROW(CONTAINER ".env[]", "value", LS_FIELD_STRING,
		"Its value. $(NAME) is replaced by the variable NAME if it is earlier in the list, $$ by $. Default: "
		"empty."),
	ROW(CONTAINER ".env[]", "valueFrom", LS_FIELD_ANY,
		"A value from Secrets, ConfigMaps or the Pod: the variable is not set outside Kubernetes."),
	ROW(CONTAINER, "resources", LS_FIELD_MAP, "What a worker needs."),
	ROW(CONTAINER ".resources", "limits",
		LS_FIELD_MAP, "Quantities by resource name; this one is used outside Kubernetes too:"),
	ROW(CONTAINER ".resources.limits", "nvidia.com/gpu", LS_FIELD_GPUS,
		"The GPUs of a worker; ranksPerWorker: auto starts so many ranks.", RANGE(0, 1024),
		STORE(gpus_per_worker)),

	ROW("spec", "placement", LS_FIELD_MAP, "Where the ranks go."),
	ROW("spec.placement", "bind", LS_FIELD_ENUM,
		"What each rank is bound to. gpu: a GPU with its nearest cores and NIC; numa: a NUMA domain; core: "
		"its share of whole cores; none: nothing; auto: gpu where there are GPUs, else core. A rank with two cores or more to itself has a "
		"thread on the last of them, in which collectives go on while it computes.",
		OTHERWISE("auto"), NAMES("auto", "gpu", "numa", "core", "none"), STORE(bind)),
	ROW("spec.placement", "within", LS_FIELD_ENUM, "The narrowest domain that all workers must share.",
		OTHERWISE("none"),
		NAMES("none", "node", "rack", "block"), STORE(within)),
	ROW("spec.placement", "topologyKeys", LS_FIELD_STRINGS, "The node labels that name the domains, widest first.",
		RANGE(0, 16),
		.kube_only = true, STORE(topology_keys)),

	ROW("spec", "checkpoint", LS_FIELD_MAP, "Where, when and how many checkpoints are kept."),
	ROW("spec.checkpoint", "uri", LS_FIELD_STRING,
		"file:///absolute/path or s3://bucket/prefix. Default: the job directory's checkpoints/.",
		.form = LS_FORM_URI,
		STORE(checkpoint_uri)),
	ROW("spec.checkpoint", "every", LS_FIELD_MAP, "Either steps or seconds. Default: as the program itself says."),
	ROW("spec.checkpoint.every", "steps", LS_FIELD_LONG, "Save after so many steps.", RANGE(1, 1000000000000),
		STORE(every_steps)),
	ROW("spec.checkpoint.every", "seconds", LS_FIELD_LONG, "Save when so much time has passed.", RANGE(1, YEARS),
		STORE(every_seconds)),
	ROW("spec.checkpoint", "keep", LS_FIELD_INT, "How many of the newest checkpoints stay. Default: as the program itself says, else 3.",
		RANGE(1, 1000000),
		STORE(keep)),
	ROW("spec.checkpoint", "whenBusy", LS_FIELD_ENUM,
		"What a save does when one is being written and one waits already. Replace: it takes the place of the one that waits, which "
		"is skipped; Wait: training stands still until there is room.",
		OTHERWISE("Replace"), NAMES("Replace", "Wait"), STORE(when_busy)),
	ROW("spec.checkpoint", "memory", LS_FIELD_MAP,
		"The hosts' agents hold the newest snapshot in memory: a restart resumes from it without asking the store."),
	ROW("spec.checkpoint.memory", "everySteps", LS_FIELD_LONG,
		"Take a snapshot after so many steps, beside those that are saved. It costs the copy only. Default: none.",
		RANGE(1, 1000000000000), STORE(memory_steps)),
	ROW("spec.checkpoint.memory", "copies", LS_FIELD_INT,
		"Send each snapshot to another host's agent as well, for the loss of a host: 0 or 1.", OTHERWISE("0"), RANGE(0, 1),
		STORE(copies)),
	ROW("spec.checkpoint", "credentialsSecretRef", LS_FIELD_MAP, "The Secret with the object store's keys.",
		.kube_only = true),
	ROW("spec.checkpoint.credentialsSecretRef", "name", LS_FIELD_STRING, "Its name.", .required = true),

	ROW("spec", "runPolicy", LS_FIELD_MAP, "When to start again, and when to give up."),
	ROW("spec.runPolicy", "backoffLimit", LS_FIELD_INT,
		"Attempts after the first. An attempt that got past the last one's step is not counted.",
		OTHERWISE("3"), RANGE(0, 1000000),
		STORE(backoff_limit)),
	ROW("spec.runPolicy", "activeDeadlineSeconds", LS_FIELD_LONG,
		"The job ends after so long, whatever it has done (exit code 124). Default: never.", RANGE(1, YEARS),
		STORE(active_deadline_s)),
	ROW("spec.runPolicy", "ttlSecondsAfterFinished", LS_FIELD_LONG,
		"The finished object is removed after so long. Default: never.", RANGE(0, YEARS), .kube_only = true,
		STORE(ttl_s)),
	ROW("spec.runPolicy", "cleanPodPolicy",
		LS_FIELD_ENUM, "The Pods that are removed when the job ends. Default: Running.",
		NAMES("All", "Running", "None"), .kube_only = true),
	ROW("spec.runPolicy", "hangTimeoutSeconds", LS_FIELD_LONG,
		"No progress for so long is a hang: stacks are captured and a new attempt starts. 0: never. Unless it "
		"is given, only programs that report progress are watched.",
		OTHERWISE("600"), RANGE(0, YEARS), .said = true, STORE(hang_timeout_s)),
	ROW("spec.runPolicy", "suspend", LS_FIELD_BOOL, "true: start nothing until it is false.", OTHERWISE("false"),
		STORE(suspend)),
	ROW("spec.runPolicy", "preflight", LS_FIELD_ENUM,
		"Measure all hosts, and the links between them, before the first attempt; a few seconds. Warn: say what is slow, and start; Fail: start "
		"without the slow hosts if there are hosts to spare (more than replicas, or minReplicas allows it), else not at all. Not on Kubernetes.",
		OTHERWISE("None"), NAMES("None", "Warn", "Fail"), STORE(preflight)),
	ROW("spec.runPolicy", "retryableExitCodes", LS_FIELD_CODES,
		"The exit codes, 1 to 255, that start a new attempt, instead of the default: 128 and above (signals) "
		"do, 1 to 127 do not.",
		RANGE(1, 255), STORE(retryable)),
	ROW("spec.runPolicy", "schedulingPolicy", LS_FIELD_MAP, "For the cluster's batch scheduler.",
		.kube_only = true),
	ROW("spec.runPolicy.schedulingPolicy", "queue", LS_FIELD_STRING, "The queue that admits the job."),
	ROW("spec.runPolicy.schedulingPolicy", "priorityClass", LS_FIELD_STRING, "A PriorityClass."),
	ROW("spec.runPolicy.schedulingPolicy", "minAvailable", LS_FIELD_INT,
		"Workers that must fit before any starts. Default: minReplicas.", RANGE(1, WORKERS)),

	ROW("spec", "managedBy",
		LS_FIELD_STRING, "Another controller owns this job, unless it is lockstep.dev/operator: Lockstep's operator leaves it alone.",
		STORE(managed_by)),

	/* The status is not looked into; its rows teach, and are the API server's schema. */
	ROW("", "status", LS_FIELD_ANY, "What became of the job. The operator writes it; in a manifest it is ignored."),
	ROW("status", "conditions", LS_FIELD_LIST,
		"Created, Running, Restarting, Suspended, Succeeded, Failed: what holds, since when, and why. For kubectl wait.",
		RANGE(0, 16), .list_key = "type"),
	ROW(CONDITION, "type", LS_FIELD_STRING, "Its name.", .required = true),
	ROW(CONDITION, "status", LS_FIELD_ENUM, "Whether it holds.", NAMES("True", "False", "Unknown"), .required = true),
	ROW(CONDITION, "reason", LS_FIELD_STRING, "The cause, in one word."),
	ROW(CONDITION, "message", LS_FIELD_STRING, "The cause, in a sentence: what happened, where, and what to try."),
	ROW(CONDITION, "lastTransitionTime", LS_FIELD_STRING, "Since when.", .form = LS_FORM_TIME),
	ROW(CONDITION, "observedGeneration", LS_FIELD_LONG, "The metadata.generation that it speaks of."),
	ROW("status", "state", LS_FIELD_STRING,
		"All of it in one word: Pending, Starting, Running, Restarting, Suspended, Succeeded or Failed."),
	ROW("status", "workers", LS_FIELD_STRING, "Workers that run, of those wanted: 2/4."),
	ROW("status", "replicaStatuses", LS_FIELD_MAP, "Counts of Pods."),
	ROW("status.replicaStatuses", "Worker", LS_FIELD_MAP, "Of the workers."),
	ROW(COUNTS, "active", LS_FIELD_INT, "That are there and have not ended."),
	ROW(COUNTS, "succeeded", LS_FIELD_INT, "That ended well."),
	ROW(COUNTS, "failed", LS_FIELD_INT, "That failed."),
	ROW("status", "attempt", LS_FIELD_INT, "The number of the newest start of all ranks; the first is 0."),
	ROW("status", "worldSize", LS_FIELD_MAP, "The ranks."),
	ROW("status.worldSize", "requested", LS_FIELD_INT, "As the spec asks for them."),
	ROW("status.worldSize", "actual", LS_FIELD_INT, "That the newest attempt has."),
	ROW("status", "progress", LS_FIELD_MAP, "What the program reports of itself."),
	ROW("status.progress", "step", LS_FIELD_LONG, "The step that it is at."),
	ROW("status.progress", "totalSteps", LS_FIELD_LONG, "The steps that it will do."),
	ROW("status.progress", "loss", LS_FIELD_STRING, "The newest loss."),
	ROW("status.progress", "samplesPerSecond", LS_FIELD_STRING, "The speed, of all ranks together."),
	ROW("status.progress", "etaSeconds", LS_FIELD_LONG, "The time left, at this speed."),
	ROW("status", "lastCheckpoint", LS_FIELD_MAP, "The newest checkpoint that is whole."),
	ROW("status.lastCheckpoint", "step", LS_FIELD_LONG, "Its step."),
	ROW("status.lastCheckpoint", "uri", LS_FIELD_STRING, "Where it is."),
	ROW("status.lastCheckpoint", "time", LS_FIELD_STRING, "When it was published.", .form = LS_FORM_TIME),
	ROW("status", "failures", LS_FIELD_LIST, "What went wrong, of each attempt its first cause; the newest last.", RANGE(0, 10)),
	ROW(FAILURE, "attempt", LS_FIELD_INT, "The attempt that it ended."),
	ROW(FAILURE, "rank", LS_FIELD_INT, "The rank that failed first, if it was one."),
	ROW(FAILURE, "worker", LS_FIELD_STRING, "The worker that it ran on."),
	ROW(FAILURE, "node", LS_FIELD_STRING, "The node of that worker."),
	ROW(FAILURE, "exitCode", LS_FIELD_INT, "The exit code of its program."),
	ROW(FAILURE, "signal", LS_FIELD_INT, "The signal that killed it."),
	ROW(FAILURE, "reason", LS_FIELD_STRING, "The kind of failure, in one word; Kubernetes' own, such as Evicted, if it was that."),
	ROW(FAILURE, "message", LS_FIELD_STRING, "What happened, in a sentence."),
	ROW(FAILURE, "logTail", LS_FIELD_STRING, "The last lines that the rank wrote."),
	ROW(FAILURE, "time", LS_FIELD_STRING, "When.", .form = LS_FORM_TIME),
	ROW("status", "startTime", LS_FIELD_STRING, "When the job was first not suspended.", .form = LS_FORM_TIME),
	ROW("status", "completionTime", LS_FIELD_STRING, "When it succeeded or failed.", .form = LS_FORM_TIME),
	ROW("status", "observedGeneration", LS_FIELD_LONG, "The metadata.generation that the operator has acted on."),
	ROW("status", "launcherLosses", LS_FIELD_INT,
		"Launcher Pods lost since the job last made progress: they use backoffLimit up."),
	ROW("status", "bestStep", LS_FIELD_LONG, "The furthest step of any attempt."),
	ROW("status", "pods", LS_FIELD_MAP,
		"The operator's own notes: the serial numbers of the current Pods. A Pod with another one is of the past."),
	ROW("status.pods", "serial", LS_FIELD_INT, "The highest that was given out."),
	ROW("status.pods", "base", LS_FIELD_INT, "Of all workers but the replaced ones."),
	ROW("status.pods", "launcher", LS_FIELD_INT, "Of the launcher."),
	ROW("status.pods", "size", LS_FIELD_INT, "Workers of the group: spec.workers.replicas when it began."),
	ROW("status.pods", "replaced", LS_FIELD_LIST, "Workers whose Pod was replaced.", RANGE(0, WORKERS)),
	ROW("status.pods.replaced[]", "index", LS_FIELD_INT, "The worker's number."),
	ROW("status.pods.replaced[]", "serial", LS_FIELD_INT, "Of its Pod."),
	{ .key = NULL },
};

const struct ls_field *ls_field_find(const char *parent, const char *key)
{
	const struct ls_field *f;

	for (f = ls_fields; f->key; f++)
		if (!strcmp(f->key, key) && !strcmp(f->parent, parent))
			return f;
	return NULL;
}
