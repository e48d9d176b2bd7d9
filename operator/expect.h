/* expect.h -- the Pods of one job: what the watch has shown, and what was sent and is not yet shown.
 *
 * A cache is always a little old. What was decided must not be decided again because its effect has not come back yet, so:
 *   - a Pod whose create is sent counts as there, until the watch shows it, shows it gone, the create failed, or LS_EXPECT_MS passed;
 *   - a Pod whose delete is sent counts as being deleted, likewise.
 * An expectation begins before its request is sent: the watch may be faster than the answer. And the watch may be so fast that a Pod came and went
 * before the answer to its create is read; the answer then changes nothing.
 *
 *     (none) --creating--> expected --shown--> seen --deleting--> ending --gone--> (none)
 *                             |  create failed, too old: (none)      |  delete failed, too old: seen
 *
 *   Ownership  owns its Pods; what ls_expect_list() gives is borrowed until the next call.
 *   Threads    none: callers lock.
 *   Versions   resourceVersions are whole numbers that grow (etcd's); texts that are none are never older than others. */
#ifndef LS_EXPECT_H
#define LS_EXPECT_H

#include "operator/objects.h"

#define LS_EXPECT_MS (5 * 60 * 1000)

struct ls_expect_pod {
	struct ls_tpod pod;
	bool seen;              /* the watch has shown it */
	int64_t until_ms;       /* !seen: it counts as there until then */
	int64_t deleting_ms;    /* a delete is sent and counts until then; 0 */
	time_t node_lost;       /* since when its node is not Ready; 0: it is */
	unsigned list;          /* the list that showed it last */
	bool stranger_told;     /* the caller's: it is in the log that it is another's */
};

struct ls_expect {
	struct ls_expect_pod *v;
	int n, cap;
};

void ls_expect_release(struct ls_expect *e);
/* The watch. `pod` is taken over, in any case. */
ls_status ls_expect_shown(struct ls_expect *e, struct ls_tpod *pod, unsigned list, struct ls_err *err);
void ls_expect_gone(struct ls_expect *e, const char *name, const char *uid); /* of that uid only; "": any */
/* A whole list is over: forget what it did not show. True: there was such. */
bool ls_expect_listed(struct ls_expect *e, unsigned list);

/* `pod` (as it will be) is taken over, in any case. */
ls_status ls_expect_creating(struct ls_expect *e, struct ls_tpod *pod, int64_t now_ms, struct ls_err *err);
void ls_expect_not_created(struct ls_expect *e, const char *name);
void ls_expect_created(struct ls_expect *e, const char *name, const char *uid);
void ls_expect_deleting(struct ls_expect *e, const char *name, int64_t now_ms); /* its `deleted` is set meanwhile */
void ls_expect_not_deleted(struct ls_expect *e, const char *name);

/* Forget what is too old. True: there was such. */
bool ls_expect_tick(struct ls_expect *e, int64_t now_ms);
struct ls_expect_pod *ls_expect_find(struct ls_expect *e, const char *name);

bool ls_version_older(const char *a, const char *b); /* of one object */

#endif
