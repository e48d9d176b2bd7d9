/* lease.h -- leader election by a coordination.k8s.io/v1 Lease: at most one operator acts.
 *
 *     STANDBY --the record is free, or did not change for its duration--> take it --written--> LEADER --renewed every 2 s--> LEADER
 *        ^                                                             lost the race |             | not renewed for 10 s, or another's name in it
 *        +-----------------------------------------------------------------------------+             v
 *                                                                                                 LOST (final: the process ends)
 *
 * Clocks are never compared between machines: whether another's record is stale is judged by how long it did not change as seen from here. A leader counts
 * from before its renewal was sent, and sends nothing that could still be under way when its 15 s are over (ls_lease_is_ours).
 *
 *   Threads    one of its own, and a client of its own: a busy client cannot delay a renewal. All calls from any thread.
 *   Errors     trouble with the API server is logged; it costs the lease only when it lasts. */
#ifndef LS_LEASE_H
#define LS_LEASE_H

#include "operator/kube.h"

#define LS_LEASE_S 15
#define LS_LEASE_RENEW_S 10
#define LS_LEASE_RETRY_S 2
#define LS_LEASE_MARGIN_MS 1000

struct ls_lease_options {
	struct ls_kube_options kube;
	const char *namespace_, *name;
	const char *identity;               /* unique to the process */
	void (*on_change)(void *arg);       /* leader now, or lost; on the lease's thread */
	void *arg;
};

struct ls_lease;

ls_status ls_lease_start(const struct ls_lease_options *opt, struct ls_lease **ret, struct ls_err *err);
/* Ends the thread and, if it is ours, gives the lease back: the next leader need not wait. NULL is fine. */
void ls_lease_stop(struct ls_lease *l);
/* A request that may take `within_ms` would be over while the lease is surely ours. */
bool ls_lease_is_ours(struct ls_lease *l, int within_ms);
bool ls_lease_lost(struct ls_lease *l);

/* --- the judgement, pure ----------------------------------------------------------------------------------------------------------------- */

enum ls_lease_role { LS_LEASE_STANDBY, LS_LEASE_LEADER, LS_LEASE_LOST };
enum ls_lease_step { LS_LEASE_WAIT, LS_LEASE_CREATE, LS_LEASE_TAKE, LS_LEASE_RENEW, LS_LEASE_GIVE_UP };

struct ls_lease_record {                /* what a GET has shown */
	bool exists;
	char holder[256];               /* "": free */
	char version[64];               /* resourceVersion */
	int duration_s;
	int transitions;
};

struct ls_lease_view {
	enum ls_lease_role role;
	char identity[256];
	char version[64];               /* of the record as it last changed, and since when */
	int64_t since_ms;
	int64_t renewed_ms;             /* before the newest successful write of ours was sent */
};

/* `seen` NULL: the GET failed. */
enum ls_lease_step ls_lease_judge(struct ls_lease_view *v, const struct ls_lease_record *seen, int64_t now_ms);
/* A write of ours that began at `sent_ms` succeeded and left `version`. */
void ls_lease_written(struct ls_lease_view *v, const char *version, int64_t sent_ms);
bool ls_lease_holds(const struct ls_lease_view *v, int64_t now_ms, int within_ms);

#endif
