/* controller_impl.h -- what the parts of the controller share: controller.c (threads and loop), jobs.c (table), seen.c (watches), round.c (decide), act.c (do).
 *
 * Everything in struct ls_controller but what is marked is under `lock`. */
#ifndef LS_CONTROLLER_IMPL_H
#define LS_CONTROLLER_IMPL_H

#include "core/psk.h"
#include "operator/cluster.h"
#include "operator/controller.h"
#include "operator/event_post.h"
#include "operator/expect.h"
#include "operator/link.h"
#include "operator/plan.h"
#include "operator/queue.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/eventfd.h>

#define WRITE_MS 5000           /* a write's time limit: the lease must be ours for so long */
#define WAIT_AGAIN_MS 15000     /* a job that waits for a place looks again, whatever happens */

struct job {                    /* "namespace/name"; also of Pods whose job is not seen (yet) */
	struct ls_queue_item due;
	struct job *next;       /* of its chain */
	char *key, *namespace_, *name; /* one allocation: key, and the parts */
	bool known;             /* `seen` is filled */
	struct ls_tjob seen;
	cJSON *finalizers;      /* others' */
	unsigned list;          /* the list that showed it last */
	int64_t written_ms;     /* `seen` is the answer to a write of ours: older versions are refused until then */
	struct ls_expect pods;
	bool secret, service, policy; /* exist, and are its own */
	bool has_key;
	char key_hex[65];       /* for a Secret that is not made yet; "" */
	struct ls_psk_key link_key;
	bool reported;
	struct ls_report report;
	time_t status_written;
	bool busy;              /* in a round */
	char *create_error;     /* why the API server refused to create something in the last round that tried; NULL */
	int unused_serial;      /* + 1: no Pod of it was made, for certain; 0 */
	bool waits;             /* for a place */
	int64_t short_ms;       /* since when there is no room for it, though there may be some day; 0 */
};

enum { WATCH_JOBS, WATCH_PODS, WATCH_NODES, WATCH_N };

struct ls_controller {
	struct ls_controller_options opt;
	struct ls_kube *kube;           /* the loop's */
	struct ls_links *links;
	struct ls_event_post *events;
	struct ls_kube_watch *watch[WATCH_N];
	char *paths[WATCH_N];
	struct work *works;             /* the loop's */

	pthread_mutex_t lock;
	struct job **table;             /* [size], a power of two */
	int size, jobs;
	struct ls_queue queue;
	struct ls_cluster *cluster;
	bool no_nodes;                  /* we may not see them: the default scheduler alone places */
	bool listed[WATCH_N];           /* shown once */
	unsigned list[WATCH_N];
	bool freed;                     /* there may be more room than before */
	int64_t freed_ms;               /* when waiting jobs were last asked to look */
	int64_t ticked_ms;

	/* without the lock */
	int wake;                       /* eventfd: the loop has something to look at */
	atomic_bool stop;
	pthread_mutex_t inbox_lock;     /* a lock of its own: see link.h */
	struct inbox { struct inbox *next; char uid[64]; char text[]; } *inbox;

	atomic_llong turned_ms, reconciles, reconcile_ms, pods_created, pods_deleted, conflicts;
};

/* jobs.c */
struct job *ls_jobs_find(struct ls_controller *c, const char *namespace_, const char *name);
struct job *ls_jobs_get(struct ls_controller *c, const char *namespace_, const char *name); /* find or make; NULL: no memory */
struct job *ls_jobs_by_uid(struct ls_controller *c, const char *uid);
void ls_jobs_each(struct ls_controller *c, void (*each)(struct ls_controller *c, struct job *job, void *arg), void *arg); /* may forget that job */
void ls_job_dirty(struct ls_controller *c, struct job *job, int64_t in_ms);
/* Takes `now` over. False: it is older than what is known. */
bool ls_job_show(struct ls_controller *c, struct job *job, struct ls_tjob *now);
void ls_job_gone(struct ls_controller *c, struct job *job);
void ls_job_tidy(struct ls_controller *c, struct job *job); /* forget it if nothing is left */
void ls_jobs_release(struct ls_controller *c);

/* seen.c */
void ls_seen_job(void *arg, enum ls_watch_event event, const cJSON *object);
void ls_seen_pod(void *arg, enum ls_watch_event event, const cJSON *object);
void ls_seen_node(void *arg, enum ls_watch_event event, const cJSON *object);

/* round.c: one job's way through a round */
struct work {
	struct job *job;
	struct ls_actions actions;
	int at;                         /* the next action */
	bool stopped, failed;
	bool made;                      /* a Pod was created, or may have been */
	char *refused;                  /* the API server would not create something; NULL */
	char uid[64];                   /* of the job that was looked at */
	char version[64];               /* of it: what was looked at, then what was written */
};
void ls_round_decide(struct ls_controller *c, struct work *w, int64_t now_ms); /* locked */

/* act.c */
void ls_round_act(struct ls_controller *c, struct work *works, int n); /* not locked */

#endif
