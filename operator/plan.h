/* plan.h -- what to do for one job, given what is seen of it: the operator's only judgement. Pure: no I/O, no clock of its own.
 *
 *                    ┌────────────── suspend: launcher, then workers, are ended ──────────────┐
 *                    v                                                                        │
 *   (new) ──> Pending ──placed──> Starting ──launcher reports all ranks──> Running ──> Succeeded | Failed ──ttl──> gone
 *                ^ waits: why_not    ^                                        │
 *                │                   └── a rank failed, a worker lost: Restarting (the launcher starts the next attempt) ──┘
 *                └────── the launcher lost: a new one, the workers' Pods stay ───────────────────────────────────────────────
 *
 * Invariants:
 *   1. No Pod is created before the status that knows its serial is written (objects.h), and none for a job that is finished, suspended, being deleted, or another's (managedBy).
 *   2. All or nothing: no worker is created unless all missing ones (for an elastic job: at least minReplicas in all) have a place.
 *   3. A finished job never becomes unfinished. Succeeded only if the launcher's container ended with 0 and its report says so.
 *   4. The launcher is deleted before the workers where ranks could still save.
 *   5. A lost worker (failed, deleted, evicted, its node gone for LS_NODE_GRACE_S) is replaced under a new serial at once; the old Pod is deleted, by force when its node is gone. The launcher restarts
 *      the ranks; attempts are counted by it, and lost launchers (launcher_losses) against the same backoffLimit.
 *
 * The reconciler runs plan(), does the actions in order, stops at the first that fails, and plans again when something is seen. */
#ifndef LS_OPERATOR_PLAN_H
#define LS_OPERATOR_PLAN_H

#include "operator/cluster.h"
#include "operator/objects.h"

#define LS_NODE_GRACE_S 20 /* not Ready for so long: its Pods are lost */

/* What the launcher last said over the link (link.h), or in its termination message. */
struct ls_report {
	char state[16];      /* Waiting, Starting, Running, Restarting, Succeeded, Failed, Stopped */
	int exit_code;       /* of `lockstep run` when over; -1 */
	char *message;       /* the cause of a failure; "" */
	struct ls_tstatus facts; /* attempt, world, progress, checkpoint, failures are filled in; the rest is not */
	int serial;          /* of the launcher's Pod that said it */
};

ls_status ls_report_read(const cJSON *json, struct ls_report *ret, struct ls_err *err);
void ls_report_release(struct ls_report *r);

struct ls_observed {
	const struct ls_tjob *job;
	/* All of the job, of any serial. Strings are never NULL; uid "": it was asked for, and is not seen yet. */
	struct ls_tpod *const *pods;
	int n_pods;
	bool secret, service, policy; /* exist */
	const struct ls_report *report; /* NULL: none of this launcher */
	/* Nodes on which Pods of this job sit and that are not Ready: since when; 0: they are fine. [n_pods] */
	const time_t *node_lost;
	/* The answer to LS_DO_PLACE; place_st LS_EXISTS: not asked yet. */
	ls_status place_st;
	const struct ls_place_answer *place; /* a node that is NULL or "": the scheduler chooses */
	bool place_anew;     /* the question that was answered had no kept workers (n_kept 0) */
	const char *create_error; /* the API server's sentence if it refused to create something of this job the last time (quota, admission); NULL */
	bool unused;         /* no Pod of the newest serial was ever made, for certain: it is given out again */
	time_t now;
	time_t status_written; /* when this operator last wrote the job's status; 0: it has not */
	const char *image;   /* of the runtime */
	const char *key_hex; /* for a new Secret: 64 random digits; may be NULL when `secret` */
};

enum ls_do {
	LS_DO_STATUS,        /* write `status`; on a conflict look again */
	LS_DO_FINALIZER,     /* add (on) or remove it */
	LS_DO_CREATE,        /* POST `object` to `path`; AlreadyExists with our uid is fine */
	LS_DO_DELETE_POD,    /* name, uid as precondition; force: grace 0; NOT_FOUND is fine */
	LS_DO_PLACE,         /* ask the cluster, plan again with the answer; always alone */
	LS_DO_TELL,          /* `object` to the launcher over the link */
	LS_DO_DELETE_JOB,    /* its time is over */
	LS_DO_EVENT,         /* reason, message; warning */
	LS_DO_AGAIN          /* at `at`, if nothing happens before */
};

struct ls_action {
	enum ls_do what;
	bool on, force, warning;
	struct ls_tstatus *status;      /* owned */
	cJSON *object;                  /* owned */
	char path[256];                 /* LS_DO_CREATE: the collection */
	char name[128], uid[64];        /* LS_DO_CREATE, LS_DO_DELETE_POD */
	int serial;                     /* LS_DO_CREATE of a Pod */
	bool launcher;                  /* LS_DO_CREATE of its Pod */
	char *text;                     /* owned, the reconciler's: `object` in a fifth of the memory */
	char node[256];                 /* LS_DO_CREATE of a Pod: to reserve; of the launcher: where it will be if there is room */
	char reason[64];
	char *message;                  /* owned */
	time_t at;
	/* LS_DO_PLACE */
	int workers, min;
	const char **kept;              /* owned array of borrowed names */
	int *kept_index, n_kept;        /* owned */
};

struct ls_actions {
	struct ls_action *v;
	int n, cap;
	bool oom;
};

void ls_operator_plan(const struct ls_observed *o, struct ls_actions *ret);
void ls_actions_release(struct ls_actions *a);

/* --- the objects that it makes, pure as well (pods.c) ------------------------------------------------------------------------------------ */

struct ls_make {
	const struct ls_tjob *job;
	const char *image;
};

/* NULL: no memory. Each has the labels, and the job as its controller (blockOwnerDeletion). */
cJSON *ls_make_secret(const struct ls_make *m, const char key_hex[65]);
cJSON *ls_make_service(const struct ls_make *m);
cJSON *ls_make_policy(const struct ls_make *m);
cJSON *ls_make_group(const struct ls_make *m); /* Volcano's PodGroup, for a job with a queue and that scheduler */
cJSON *ls_make_worker(const struct ls_make *m, int index, int serial, const char *node);
cJSON *ls_make_launcher(const struct ls_make *m, int serial, const char *near_node);
/* What the launcher is told (link.h), by o->job->status. `waiting` NULL: all are there. deadlineSeconds is in whole minutes, so that orders differ
 * only for a reason. */
cJSON *ls_make_order(const struct ls_observed *o, const char *waiting);
/* "digits-worker-3", "digits-worker-3-2", "digits-launcher" */
void ls_pod_name(const char *job, int index, int serial, char ret[128]);

#endif
