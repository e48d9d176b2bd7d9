/* objects.h -- a TrainingJob and its Pods as the operator holds them: trimmed, read from the API's JSON, and the status written back.
 *
 *   Ownership  each struct owns what it points to; the _release() functions free that and leave it empty.
 *   Threads    plain data.
 *   Errors     LS_USAGE: the object is not what the CRD allows (an API server with another CRD); the sentence becomes the job's condition. */
#ifndef LS_OBJECTS_H
#define LS_OBJECTS_H

#include "core/job.h"
#include "core/status.h"

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#define LS_LABEL_JOB "lockstep.dev/job"         /* on everything of a job: its name */
#define LS_LABEL_ROLE "lockstep.dev/role"       /* "worker", "launcher" */
#define LS_LABEL_INDEX "lockstep.dev/worker"    /* "0" … */
#define LS_LABEL_SERIAL "lockstep.dev/serial"   /* see struct ls_tpods */
#define LS_FINALIZER "lockstep.dev/pods"

enum ls_condition { LS_COND_CREATED, LS_COND_RUNNING, LS_COND_RESTARTING, LS_COND_SUSPENDED, LS_COND_SUCCEEDED, LS_COND_FAILED, LS_COND_N };
extern const char *const ls_condition_names[LS_COND_N]; /* "Created", … */

struct ls_tcondition {
	bool set;            /* it is in the list */
	bool is_true;
	char reason[64];     /* CamelCase, never "" */
	char *message;
	time_t since;        /* lastTransitionTime */
	long long generation;
};

/* Which Pods are the current ones. Every Pod has a serial; names carry it, so that no name is ever used twice and a Pod that cannot go away
 * blocks nobody. A Pod with another serial than the one here is of the past. The status is written before a Pod of a new serial is created: who
 * acts on an older status creates only what is deleted again. Pods of a serial are created only in the round that gave it out: a Pod that is
 * missing later, whatever the reason, gets a new serial; but a serial of which the API server refused every Pod is given out again. In JSON -1 is
 * left out. */
struct ls_tpods {
	int serial;          /* the highest given out; -1: none */
	int base;            /* of all workers but those replaced; -1: no group of workers is there */
	int launcher;        /* the launcher's; -1: there is to be a new one */
	int size;            /* workers of the group: spec.workers.replicas when it began */
	struct ls_treplaced { int index, serial; } *replaced; /* ascending index; serial -1: there is no Pod of it, it waits for a place */
	int n_replaced;
};

struct ls_tfailure {     /* status.failures[]: newest last, at most 10 */
	int attempt, rank;   /* -1: none was running; no single one */
	char worker[64], node[128];
	int exit_code, signal;
	char reason[32];     /* as `lockstep run` has them, and Kubernetes' own: Evicted, OOMKilled, NodeLost, PodDeleted, … */
	char *message, *log_tail;
	time_t time;
};

struct ls_tstatus {
	struct ls_tcondition conditions[LS_COND_N];
	char state[16];      /* for the printer column: Pending, Starting, Running, Restarting, Suspended, Succeeded, Failed */
	char workers[32];    /* "2/4": running of wanted */
	int active, succeeded, failed;    /* replicaStatuses.Worker */
	int attempt;         /* of the launcher's newest report; -1: none yet */
	int world_requested, world_actual;
	long long step, total_steps;
	char loss[32], samples_per_second[32];
	long long eta_s;     /* -1: unknown */
	long long ckpt_step; /* lastCheckpoint; 0: none */
	char *ckpt_uri;
	time_t ckpt_time;
	struct ls_tfailure *failures;
	int n_failures;
	time_t start, completion; /* startTime: when it was first not suspended; 0: unset */
	int launcher_losses; /* launchers lost since the job last made progress: they use up backoffLimit */
	long long best_step; /* furthest step of any attempt */
	long long observed_generation;
	struct ls_tpods pods;
};

struct ls_tjob {
	char *namespace_, *name, *uid, *resource_version;
	long long generation;
	time_t created, deleted; /* deletionTimestamp; 0: lives */
	bool finalizer;          /* LS_FINALIZER is there */
	cJSON *spec;             /* whole: templates are copied into Pods */
	struct ls_job job;       /* the same, validated; see bad */
	char *bad;               /* why the spec is not valid for us; NULL: it is */
	char *queue, *priority_class, *credentials_secret; /* NULL */
	int min_available;       /* 0: not said */
	int clean;               /* 0 Running, 1 All, 2 None */
	struct ls_tstatus status;
};

enum ls_pod_phase { LS_POD_PENDING, LS_POD_RUNNING, LS_POD_SUCCEEDED, LS_POD_FAILED, LS_POD_UNKNOWN };

struct ls_tpod {             /* a Pod of ours */
	char *namespace_, *name, *uid;
	char *job;               /* the label */
	char *job_uid;           /* of the controller's owner reference; "" */
	int index;               /* -1: the launcher */
	int serial;
	enum ls_pod_phase phase;
	bool ready;
	time_t deleted;          /* deletionTimestamp; 0 */
	int grace_s;             /* deletionGracePeriodSeconds */
	char *node, *ip;         /* "" */
	bool unschedulable;      /* PodScheduled is False, and no gate holds the Pod back */
	time_t unschedulable_since;
	char reason[64];         /* status.reason ("Evicted", "NodeLost"), else the container's ("OOMKilled", "ImagePullBackOff", "CreateContainerConfigError"); "" */
	char *message;           /* its words; "" */
	int exit_code;           /* of the first container when it has terminated; -1 */
	int signal;
	char *final;             /* its termination message; "" */
};

ls_status ls_tjob_read(const cJSON *object, struct ls_tjob *ret, struct ls_err *err);
void ls_tjob_release(struct ls_tjob *j);
/* NOT_FOUND: not a Pod of ours: its labels are not there, or not those that its name tells of (ls_pod_name). */
ls_status ls_tpod_read(const cJSON *object, struct ls_tpod *ret, struct ls_err *err);
void ls_tpod_release(struct ls_tpod *p);

/* status <-> its JSON (NULL: an empty one). Writing leaves out what is unset; NULL: no memory. */
ls_status ls_tstatus_read(const cJSON *status, struct ls_tstatus *ret, struct ls_err *err);
cJSON *ls_tstatus_json(const struct ls_tstatus *s);
ls_status ls_tstatus_copy(const struct ls_tstatus *from, struct ls_tstatus *ret, struct ls_err *err);
void ls_tstatus_release(struct ls_tstatus *s);
int ls_tpods_serial(const struct ls_tpods *p, int index); /* of a worker; -1: the launcher's */
ls_status ls_tpods_replace(struct ls_tpods *p, int index, int serial, struct ls_err *err); /* a worker's */

/* RFC 3339 <-> seconds; 0 for what is none. */
time_t ls_time_read(const char *text);
void ls_time_write(time_t t, char ret[32]);

#endif
