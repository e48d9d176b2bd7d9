/* queue.h -- which jobs are to be looked at, and when: a heap of items that lie inside their owners.
 *
 * An item is in it once at most: asking again only makes it due earlier. What failed is held back, 0.5 s doubling to 60 s with jitter, and nothing but
 * ls_queue_forgive() lets it out before. Among items due at the same time the one with the smallest `order` is first.
 *
 *   Ownership  items belong to the caller and must be taken out (ls_queue_drop) before they are freed.
 *   Threads    none: callers lock.
 *   Cost       O(log n) a call. */
#ifndef LS_QUEUE_H
#define LS_QUEUE_H

#include "core/status.h"

#include <stdbool.h>
#include <stdint.h>

struct ls_queue_item {
	int64_t order;      /* the caller's */
	int64_t due_ms;
	int64_t held_ms;    /* not before: its back-off; 0 */
	int failures;
	int at;             /* place in the heap + 1; 0: not in it */
};

struct ls_queue {
	struct ls_queue_item **v;
	int n, cap;
	uint64_t seed;      /* of the jitter */
};

void ls_queue_release(struct ls_queue *q);
/* Due at `due_ms`, or when it was due already if that is earlier. */
ls_status ls_queue_add(struct ls_queue *q, struct ls_queue_item *item, int64_t due_ms, struct ls_err *err);
/* Take the first one that is due; NULL: none. */
struct ls_queue_item *ls_queue_take(struct ls_queue *q, int64_t now_ms);
int64_t ls_queue_due(const struct ls_queue *q); /* of the first; -1: empty */
void ls_queue_drop(struct ls_queue *q, struct ls_queue_item *item);
/* It failed: hold it back, and due again after that. */
ls_status ls_queue_fail(struct ls_queue *q, struct ls_queue_item *item, int64_t now_ms, struct ls_err *err);
void ls_queue_forgive(struct ls_queue_item *item); /* its failures are forgotten, before it is added */

#endif
