/* event_post.h -- Events of jobs: told to the API server when there is time, and dropped first when there is not.
 *
 * They have a client of their own, with a fifth of the operator's rate, and wait in a short queue: what finds it full is dropped and counted. The name of an
 * Event follows from what it says of whom, so that an operator that says it again makes no second one: its time is renewed.
 *
 *   Threads    one of its own; the calls from any. */
#ifndef LS_EVENT_POST_H
#define LS_EVENT_POST_H

#include "operator/kube.h"

struct ls_event_post;

ls_status ls_event_post_open(const struct ls_kube_options *kube, struct ls_event_post **ret, struct ls_err *err);
void ls_event_post_close(struct ls_event_post *p); /* what waits has a second to go; NULL is fine */

struct ls_event_of_job {
	const char *namespace_, *job, *uid;
	const char *reason, *message;
	bool warning;
};
void ls_event_post(struct ls_event_post *p, const struct ls_event_of_job *event);
uint64_t ls_event_post_dropped(struct ls_event_post *p);

#endif
