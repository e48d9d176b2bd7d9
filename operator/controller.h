/* controller.h -- the operator's heart: what is seen of the cluster, and rounds that do what plan() says.
 *
 *     watches --SET, GONE--> jobs, Pods, nodes --changed--> queue --due--> observe, plan, place --actions--> API server, launchers, Events
 *        ^                                                                                              |
 *        +---------------------------------- what became of them is seen -------------------------------+
 *
 * A round takes the jobs that are due, decides for each with everything locked, and sends what was decided for all of them together. A job's own
 * actions keep their order: they go in stages, and one that fails stops the job's later ones until its back-off is over.
 *
 * Invariants:
 *   1. One thread decides (ls_controller_run); watches only change what is seen.
 *   2. Nothing is decided before all three watches have shown everything once, nor on a cache that is older than the newest own write (expect.h).
 *   3. Every write asks `may_act` right before it is sent.
 *
 *   Threads    open, run, close on one; stop, count from any. */
#ifndef LS_CONTROLLER_H
#define LS_CONTROLLER_H

#include "operator/kube.h"

struct ls_controller;

struct ls_controller_options {
	struct ls_kube_options kube;
	const char *namespace_;         /* whose jobs; NULL: everybody's */
	const char *image;              /* of the runtime */
	/* This process leads, and will for `within_ms`; NULL: always. */
	bool (*may_act)(void *arg, int within_ms);
	void *arg;
};

ls_status ls_controller_open(const struct ls_controller_options *opt, struct ls_controller **ret, struct ls_err *err);
/* Until ls_controller_stop(): its own reasons to fail are trouble at the start. */
ls_status ls_controller_run(struct ls_controller *c, struct ls_err *err);
void ls_controller_stop(struct ls_controller *c);
void ls_controller_wake(struct ls_controller *c); /* may_act's answer may have changed */
void ls_controller_close(struct ls_controller *c); /* NULL is fine */

bool ls_controller_alive(struct ls_controller *c);      /* the loop turned within a minute */
bool ls_controller_fresh(struct ls_controller *c);      /* the watches are */
void ls_controller_metrics(struct ls_controller *c, struct ls_str *ret); /* Prometheus' text format */

#endif
