/* plan_impl.h -- what the parts of the plan share. Private to plan*.c.
 *
 * A plan works on a copy of the job's status, and collects actions; at the end the status, if it is another one than before, is put in front
 * of them. */
#ifndef LS_PLAN_IMPL_H
#define LS_PLAN_IMPL_H

#include "operator/plan.h"

#define LS_FAILURES_MAX 10
#define LS_REASON_OTHER "LaunchFailed" /* of a failure that gave none */

struct ls_planning {
	const struct ls_observed *o;
	const struct ls_job *spec;
	struct ls_tjob view;          /* *o->job, but with the status as it will be */
	struct ls_tstatus *s;         /* = &view.status */
	struct ls_actions acts;
	time_t again;                 /* 0: no need */
	const struct ls_report *report; /* of the current launcher; NULL */
	struct ls_report final;       /* in its termination message, if that is where it was */

	/* The current Pods, as numbers in o->pods; -1: none. */
	int launcher;
	int *seat;                    /* [s->pods.size] of the workers */

	/* Found on the way. */
	char why[600];                /* what the launcher must wait for; "": all are there */
	bool gave;                    /* this round gave out a serial: s->pods.serial */
	bool made;                    /* this round gave out a serial for the whole group */
	bool *create;                 /* [replicas or size]: a worker's Pod is to be made, on node[] */
	const char **node;
};

/* --- plan.c ------------------------------------------------------------------------------------------------------------------------------- */

struct ls_action *ls_plan_add(struct ls_planning *p, enum ls_do what);
void ls_plan_event(struct ls_planning *p, bool warning, const char *reason, const char *fmt, ...) __attribute__((format(printf, 4, 5)));
void ls_plan_again(struct ls_planning *p, time_t at);
void ls_plan_oom(struct ls_planning *p);

/* --- plan_pods.c: the Pods that are there ------------------------------------------------------------------------------------------------- */

void ls_plan_find(struct ls_planning *p); /* launcher, seat[] by the status as it is now */
bool ls_plan_ended(const struct ls_tpod *pod); /* its containers have */
bool ls_plan_node_lost(struct ls_planning *p, int pod); /* for LS_NODE_GRACE_S; asks for another plan if it may become so */
bool ls_plan_launcher_alive(struct ls_planning *p); /* any launcher's Pod may still run ranks */
void ls_plan_delete(struct ls_planning *p, int pod);
void ls_plan_delete_old(struct ls_planning *p); /* Pods that are not current */
void ls_plan_losses(struct ls_planning *p); /* launcher, workers; may finish the job */

/* --- plan_group.c: the Pods that are to be there ------------------------------------------------------------------------------------------ */

bool ls_plan_place(struct ls_planning *p); /* false: LS_DO_PLACE was added, and nothing else counts */
void ls_plan_create(struct ls_planning *p);
void ls_plan_waits(struct ls_planning *p); /* fills in why[] */
int ls_plan_min(const struct ls_planning *p); /* workers that the group cannot do without */

/* --- plan_end.c: launcher's end, deadline, suspension, deletion --------------------------------------------------------------------------- */

bool ls_plan_finished(const struct ls_tstatus *s);
void ls_plan_finish(struct ls_planning *p, enum ls_condition which, const char *reason, const char *fmt, ...) __attribute__((format(printf, 4, 5)));
void ls_plan_launcher_end(struct ls_planning *p);
void ls_plan_deadline(struct ls_planning *p);
void ls_plan_suspend(struct ls_planning *p);
void ls_plan_resume(struct ls_planning *p);
void ls_plan_clean(struct ls_planning *p); /* of a finished job */
void ls_plan_deletion(struct ls_planning *p);

/* --- plan_status.c: conditions, failures, numbers ----------------------------------------------------------------------------------------- */

/* True if the truth value changed. A condition that was never set is not set to False. */
bool ls_plan_condition(struct ls_planning *p, enum ls_condition which, bool is_true, const char *reason, const char *message);
bool ls_plan_is(const struct ls_planning *p, enum ls_condition which);
void ls_plan_restarting(struct ls_planning *p, const char *reason, const char *message);
void ls_plan_absorb(struct ls_planning *p); /* what the launcher reports */
bool ls_plan_failure(struct ls_planning *p, const struct ls_tfailure *f); /* copied; false: merged with what the launcher said */
const struct ls_tfailure *ls_plan_newest(const struct ls_tstatus *s);
void ls_plan_follow_end(struct ls_planning *p); /* Restarting */
void ls_plan_states(struct ls_planning *p); /* Running, state, counts */
void ls_plan_write(struct ls_planning *p);  /* LS_DO_STATUS in front, if it is needed */

#endif
