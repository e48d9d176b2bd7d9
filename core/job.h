/* job.h -- the TrainingJob (lockstep.dev/v1alpha1): what the user asked for, validated, with defaults filled in.
 *
 * One table of fields (job_fields.c) says path, type, default, range and meaning of each field. It drives the validation,
 * `lockstep explain`, docs/trainingjob.md and the CRD; a field that is not in the table is an error.
 *
 *   Ownership  struct ls_job owns its strings and lists; ls_job_release() frees them and leaves it empty.
 *   Errors     LS_USAGE, text "job.yaml:12: spec.workers.replica: unknown field; did you mean replicas?". All errors of a
 *              manifest are found in one pass: the first is in err, the others follow in err->text on lines of their own
 *              while they fit (at most 8).
 */
#ifndef LS_JOB_H
#define LS_JOB_H

#include "core/node.h"
#include "core/str.h"

#include <stdbool.h>

enum ls_bind { LS_BIND_AUTO, LS_BIND_GPU, LS_BIND_NUMA, LS_BIND_CORE, LS_BIND_NONE };
enum ls_when_busy { LS_BUSY_REPLACE, LS_BUSY_WAIT };
enum ls_preflight { LS_PREFLIGHT_NONE, LS_PREFLIGHT_WARN, LS_PREFLIGHT_FAIL };
enum ls_within { LS_WITHIN_NONE, LS_WITHIN_NODE, LS_WITHIN_RACK, LS_WITHIN_BLOCK };

#define LS_RANKS_AUTO (-1) /* one per GPU, else one per core */

struct ls_job {
	char *name;      /* metadata.name: a DNS label; also the job directory's name */
	char *namespace_; /* metadata.namespace, or NULL */

	/* spec.workers */
	int replicas;         /* hosts or Pods, >= 1 */
	int min_replicas;     /* <= replicas; == replicas when not elastic */
	int ranks_per_worker; /* LS_RANKS_AUTO or >= 1 */
	struct ls_strv argv;  /* the first container's command + args, $(VAR) expanded as Kubernetes does */
	struct ls_strv env;   /* its env, "NAME=value", in order, $(VAR) expanded */
	char *working_dir;    /* or NULL */
	int gpus_per_worker;  /* its resources.limits "nvidia.com/gpu"; 0: not said */
	int grace_seconds;    /* template.spec.terminationGracePeriodSeconds, default 10 */
	/* What the manifest says and only Kubernetes can do, each once: "image", "volumes", "resources.limits.memory",
	 * "env[TOKEN].valueFrom", "containers[1]", "runPolicy.cleanPodPolicy", "placement.topologyKeys", … */
	struct ls_strv not_applied;

	/* spec.placement */
	enum ls_bind bind;
	enum ls_within within;
	struct ls_strv topology_keys;

	/* spec.checkpoint */
	char *checkpoint_uri; /* file:///… or s3://…; NULL: the job directory's checkpoints/ */
	long long every_steps;   /* 0: not by steps */
	long long every_seconds; /* 0: not by time */
	int keep;             /* 0: not said */
	enum ls_when_busy when_busy;
	long long memory_steps;  /* 0: snapshots only for what is saved */
	int copies;           /* of each snapshot on another host, 0 or 1 */

	/* spec.runPolicy */
	int backoff_limit;               /* attempts after the first without progress */
	long long active_deadline_s;     /* 0: none */
	long long ttl_s;                 /* -1: none */
	long long hang_timeout_s;        /* 0: off */
	bool hang_timeout_given;         /* the manifest says it (then silence of any program counts) */
	bool suspend;
	enum ls_preflight preflight;
	unsigned char retryable[256];    /* retryable[code] != 0: exit code `code` starts a new attempt */
	char *managed_by;                /* spec.managedBy, or NULL */
};

/* Parse, validate, fill in defaults. `sets` are `--set` assignments applied before validation, NULL-terminated, or NULL. "-"
 * is standard input. Unlike ls_job_from_node it wants a program: no image supplies one here. */
ls_status ls_job_load(const char *path, const char *const *sets, struct ls_job *ret, struct ls_err *err);
/* Its first half: the tree, with the assignments, not yet checked; the caller's to ls_node_free(). */
ls_status ls_job_read(const char *path, const char *const *sets, struct ls_node **ret, struct ls_err *err);
/* The same from a tree; `name` as in ls_node_parse. */
ls_status ls_job_from_node(const char *name, const struct ls_node *root, struct ls_job *ret, struct ls_err *err);
/* A job with every default, for `lockstep run -np N -- prog`: fill in name, argv, … */
ls_status ls_job_init(struct ls_job *ret, const char *name, struct ls_err *err);
void ls_job_release(struct ls_job *job);

/* The table of fields as text: one path (NULL: all), for `lockstep explain [PATH]`; the reference page in Markdown; or the
 * CustomResourceDefinition in YAML. */
ls_status ls_job_explain(const char *path, struct ls_str *ret, struct ls_err *err);
void ls_job_reference(struct ls_str *ret_markdown);
void ls_job_crd(struct ls_str *ret_yaml);

#endif
