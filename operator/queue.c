/* queue.c -- see queue.h. */
#include "operator/queue.h"

#include <stdlib.h>

#define BACKOFF_MS 500
#define BACKOFF_MAX_MS 60000

static bool before(const struct ls_queue_item *a, const struct ls_queue_item *b)
{
	return a->due_ms != b->due_ms ? a->due_ms < b->due_ms : a->order < b->order;
}

static void put(struct ls_queue *q, int i, struct ls_queue_item *item)
{
	q->v[i] = item;
	item->at = i + 1;
}

static void sift_up(struct ls_queue *q, int i, struct ls_queue_item *item)
{
	for (; i > 0 && before(item, q->v[(i - 1) / 2]); i = (i - 1) / 2)
		put(q, i, q->v[(i - 1) / 2]);
	put(q, i, item);
}

static void sift_down(struct ls_queue *q, int i, struct ls_queue_item *item)
{
	int child;

	for (; (child = 2 * i + 1) < q->n; i = child) {
		if (child + 1 < q->n && before(q->v[child + 1], q->v[child]))
			child++;
		if (!before(q->v[child], item))
			break;
		put(q, i, q->v[child]);
	}
	put(q, i, item);
}

void ls_queue_release(struct ls_queue *q)
{
	while (q->n > 0)
		q->v[--q->n]->at = 0;
	free(q->v);
	*q = (struct ls_queue){ 0 };
}

static ls_status grow(struct ls_queue *q, struct ls_err *err)
{
	int cap = q->cap ? 2 * q->cap : 64;
	struct ls_queue_item **v = realloc(q->v, (size_t)cap * sizeof(*v));

	if (!v)
		return ls_fail_oom(err);
	q->v = v;
	q->cap = cap;
	return LS_OK;
}

ls_status ls_queue_add(struct ls_queue *q, struct ls_queue_item *item, int64_t due_ms, struct ls_err *err)
{
	if (due_ms < item->held_ms)
		due_ms = item->held_ms;
	if (item->at && item->due_ms <= due_ms)
		return LS_OK;
	if (!item->at && q->n == q->cap && grow(q, err))
		return LS_AGAIN;
	item->due_ms = due_ms;
	sift_up(q, item->at ? item->at - 1 : q->n++, item);
	return LS_OK;
}

void ls_queue_drop(struct ls_queue *q, struct ls_queue_item *item)
{
	struct ls_queue_item *last;
	int i = item->at - 1;

	if (i < 0)
		return;
	item->at = 0;
	last = q->v[--q->n];
	if (last == item)
		return;
	sift_down(q, i, last);
	sift_up(q, last->at - 1, last);
}

struct ls_queue_item *ls_queue_take(struct ls_queue *q, int64_t now_ms)
{
	struct ls_queue_item *first = q->n ? q->v[0] : NULL;

	if (!first || first->due_ms > now_ms)
		return NULL;
	ls_queue_drop(q, first);
	return first;
}

int64_t ls_queue_due(const struct ls_queue *q)
{
	return q->n ? q->v[0]->due_ms : -1;
}

/* Between three quarters and all of the back-off: jobs that failed together do not come back together. */
static int64_t jitter(struct ls_queue *q, int64_t ms)
{
	q->seed = q->seed * 6364136223846793005u + 1442695040888963407u;
	return ms - (int64_t)((q->seed >> 33) % (uint64_t)(ms / 4));
}

ls_status ls_queue_fail(struct ls_queue *q, struct ls_queue_item *item, int64_t now_ms, struct ls_err *err)
{
	int64_t ms = item->failures < 7 ? (int64_t)BACKOFF_MS << item->failures : BACKOFF_MAX_MS;

	item->failures++;
	item->held_ms = now_ms + jitter(q, ms);
	ls_queue_drop(q, item);
	return ls_queue_add(q, item, item->held_ms, err);
}

void ls_queue_forgive(struct ls_queue_item *item)
{
	item->failures = 0;
	item->held_ms = 0;
}
