/* bucket.c -- gradients: registered once, compared by all ranks once, then summed every step.
 *
 *     IDLE --ready--> ACTIVE --transfer done--> DONE --wait--> IDLE
 *
 * A bucket's all-reduce starts when it is marked ready; every later ready() and wait() also drives those under way,
 * which is how communication overlaps with the backward pass without a thread of its own.
 * Invariant: no gradient is sent before all ranks hold the same list. Ranks that disagree would wait for each
 * other's messages for ever, or add one tensor to another. */
#include "worker/rank.h"

#include <stdlib.h>
#include <string.h>

static ls_status add(struct lockstep *ls, const char *name, void *grad, size_t count, int dtype, struct ls_err *err)
{
	struct ls_bucket *grown, *b;
	size_t i;

	if (ls->buckets_agreed)
		return ls_fail(err, LS_USAGE, 0,
			"bucket '%s': register all buckets before the first lockstep_bucket_ready", name);
	if (dtype != LOCKSTEP_F32 && dtype != LOCKSTEP_F64)
		return ls_fail(err, LS_USAGE, 0, "bucket '%s': gradients are LOCKSTEP_F32 or LOCKSTEP_F64", name);
	if (!grad && count)
		return ls_fail(err, LS_USAGE, 0, "bucket '%s': grad is NULL", name);
	for (i = 0; name[i]; i++)
		if ((unsigned char)name[i] < 0x20)
			return ls_fail(
				err, LS_USAGE, 0, "a bucket's name holds a control character: use printable text");
	grown = realloc(ls->buckets, (ls->n_buckets + 1) * sizeof(*grown));
	if (!grown)
		return ls_fail_oom(err);
	ls->buckets = grown;
	b = &grown[ls->n_buckets];
	*b = (struct ls_bucket){ .name = strdup(name), .grad = grad, .count = count, .dtype = (enum ls_dtype)dtype };
	if (!b->name)
		return ls_fail_oom(err);
	ls->n_buckets++;
	return LS_OK;
}

lockstep_status lockstep_bucket_add(struct lockstep *ls, const char *name, void *grad, size_t count,
	enum lockstep_dtype dtype, int *ret, struct lockstep_err *err)
{
	struct ls_err e = LS_ERR_INIT;
	ls_status st = add(ls, name, grad, count, dtype, &e);

	if (!st && ret)
		*ret = (int)ls->n_buckets - 1;
	return ls_give(ls, st, &e, err);
}

ls_status ls_buckets_agree(struct lockstep *ls, struct ls_err *err)
{
	struct ls_strv list = { 0 };
	ls_status st = LS_OK;
	size_t i;

	if (ls->buckets_agreed)
		return LS_OK;
	for (i = 0; i < ls->n_buckets; i++)
		ls_strv_addf(&list, "'%s' %s[%zu]", ls->buckets[i].name, ls_dtype_name(ls->buckets[i].dtype),
			ls->buckets[i].count);
	st = ls_agree(ls, "bucket", &list, LS_OK, err);
	ls_strv_release(&list);
	if (st)
		return st;
	for (i = 0; !st && i < ls->n_buckets; i++) {
		struct ls_bucket *b = &ls->buckets[i];

		st = ls->ops->plan(ls->comm, b->grad, b->count, b->dtype, LS_AVERAGE, &b->plan, err);
	}
	st = ls_vote(ls, NULL, st, err); /* nobody may start to sum while another has no memory for it */
	ls->buckets_agreed = !st;
	return st;
}

static ls_status drive(struct lockstep *ls, bool *ret_done, struct ls_err *err)
{
	ls_status st = LS_OK;
	bool done;
	size_t i;

	*ret_done = true;
	for (i = 0; !st && i < ls->n_buckets; i++) {
		struct ls_bucket *b = &ls->buckets[i];

		if (b->state != LS_BUCKET_ACTIVE)
			continue;
		st = ls->ops->test(b->plan, &done, err);
		if (st) {
			ls_err_at(err, st, "gradient bucket '%s': ", b->name);
		} else if (done) {
			b->state = LS_BUCKET_DONE;
		} else {
			*ret_done = false;
		}
	}
	return st;
}

static ls_status ready(struct lockstep *ls, int bucket, struct ls_err *err)
{
	ls_status st = ls_buckets_agree(ls, err);
	struct ls_bucket *b;
	bool done;

	if (st)
		return st;
	if (bucket < 0 || (size_t)bucket >= ls->n_buckets)
		return ls_fail(
			err, LS_USAGE, 0, "bucket %d marked ready: there are %zu buckets", bucket, ls->n_buckets);
	b = &ls->buckets[bucket];
	if (b->state != LS_BUCKET_IDLE)
		return ls_fail(err, LS_USAGE, 0,
			"bucket '%s' marked ready twice in one step: call lockstep_bucket_wait between", b->name);
	st = ls->ops->start(b->plan, err);
	if (st)
		return ls_err_at(err, st, "gradient bucket '%s': ", b->name);
	b->state = LS_BUCKET_ACTIVE;
	return drive(ls, &done, err);
}

lockstep_status lockstep_bucket_ready(struct lockstep *ls, int bucket, struct lockstep_err *err)
{
	struct ls_err e = LS_ERR_INIT;

	return ls_give(ls, ready(ls, bucket, &e), &e, err);
}

static ls_status wait_all(struct lockstep *ls, struct ls_err *err)
{
	ls_status st = ls_buckets_agree(ls, err);
	bool done = false;
	size_t i;

	for (i = 0; !st && i < ls->n_buckets; i++)
		if (ls->buckets[i].state == LS_BUCKET_IDLE)
			st = ls_fail(err, LS_USAGE, 0,
				"bucket '%s' was not marked ready in this step: "
				"call lockstep_bucket_ready for every bucket before lockstep_bucket_wait",
				ls->buckets[i].name);
	while (!st && !done)
		st = drive(ls, &done, err);
	for (i = 0; !st && i < ls->n_buckets; i++)
		ls->buckets[i].state = LS_BUCKET_IDLE;
	return st;
}

lockstep_status lockstep_bucket_wait(struct lockstep *ls, struct lockstep_err *err)
{
	struct ls_err e = LS_ERR_INIT;

	return ls_give(ls, wait_all(ls, &e), &e, err);
}

void ls_buckets_release(struct lockstep *ls)
{
	size_t i;

	for (i = 0; i < ls->n_buckets; i++) {
		ls->ops->unplan(ls->buckets[i].plan);
		free(ls->buckets[i].name);
	}
	free(ls->buckets);
}
