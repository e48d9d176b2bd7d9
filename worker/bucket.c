/* bucket.c -- gradients: registered once, compared by all ranks once, then summed every step.
 *
 *     IDLE --ready--> READY --all before it are started, too--> ACTIVE --wait--> IDLE
 *
 * A bucket's all-reduce starts when it and all before it are ready, so that all ranks start in one order. A progress thread, where the
 * plan has a core for one, carries it on during the backward pass; without, every later ready() does.
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
	if (dtype > LOCKSTEP_BF16)
		return ls_fail(err, LS_USAGE, 0, "bucket '%s': gradients are LOCKSTEP_F64, F32, F16 or BF16", name);
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
		struct ls_coll average = { LS_ALL_REDUCE, b->dtype, LS_AVERAGE, 0, b->count, b->grad, b->grad };

		st = ls_request_make(ls->comm, &average, &b->plan, err);
	}
	st = ls_vote(ls, NULL, st, err); /* nobody may start to sum while another has no memory for it */
	ls->buckets_agreed = !st;
	return st;
}

/* All ranks start the buckets in the order in which they were registered, whatever order they become ready in. */
static ls_status start_next(struct lockstep *ls, struct ls_err *err)
{
	ls_status st = LS_OK;

	while (!st && ls->next_bucket < ls->n_buckets && ls->buckets[ls->next_bucket].state == LS_BUCKET_READY) {
		struct ls_bucket *b = &ls->buckets[ls->next_bucket];

		st = ls_request_start(b->plan, err);
		if (st)
			return ls_err_at(err, st, "gradient bucket '%s': ", b->name);
		b->state = LS_BUCKET_ACTIVE;
		ls->next_bucket++;
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
	b->state = LS_BUCKET_READY;
	st = start_next(ls, err);
	if (!st && ls->next_bucket > 0) { /* also drives those under way */
		b = &ls->buckets[ls->next_bucket - 1];
		st = ls_request_test(b->plan, &done, err);
		if (st)
			return ls_err_at(err, st, "gradient bucket '%s': ", b->name);
	}
	return st;
}

lockstep_status lockstep_bucket_ready(struct lockstep *ls, int bucket, struct lockstep_err *err)
{
	struct ls_err e = LS_ERR_INIT;

	return ls_give(ls, ready(ls, bucket, &e), &e, err);
}

static ls_status wait_all(struct lockstep *ls, struct ls_err *err)
{
	ls_status st = ls_buckets_agree(ls, err);
	size_t i;

	for (i = 0; !st && i < ls->n_buckets; i++)
		if (ls->buckets[i].state == LS_BUCKET_IDLE)
			st = ls_fail(err, LS_USAGE, 0,
				"bucket '%s' was not marked ready in this step: "
				"call lockstep_bucket_ready for every bucket before lockstep_bucket_wait",
				ls->buckets[i].name);
	for (i = 0; !st && i < ls->n_buckets; i++) {
		struct ls_bucket *b = &ls->buckets[i];

		st = ls_request_wait(b->plan, err);
		if (st)
			ls_err_at(err, st, "gradient bucket '%s': ", b->name);
		b->state = LS_BUCKET_IDLE;
	}
	ls->next_bucket = 0;
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
		ls_request_free(ls->buckets[i].plan);
		free(ls->buckets[i].name);
	}
	free(ls->buckets);
}
