/* bucket.c -- gradients: registered once, compared by all ranks once, then summed every step.
 *
 *     idle --ready--> ready --all of its unit and of the units before it are, too--> its unit is started --wait--> idle
 *
 * A unit is what one operation sums: a bucket, or several small ones in a row in GPU memory. Units start in the order in which their buckets
 * were registered, so that all ranks start in one order. A progress thread, where the plan has a core for one, carries a sum on during the
 * backward pass; without, every later ready() does. A GPU goes on by itself with what NCCL has put into its stream; the next is handed to NCCL as others
 * are carried on.
 * Invariant: no gradient is sent before all ranks hold the same list. Ranks that disagree would wait for each
 * other's messages for ever, or add one tensor to another. */
#include "core/io.h"
#include "worker/copy.h"
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
	*b = (struct ls_bucket){ .name = strdup(name), .grad = grad, .count = count, .dtype = (enum ls_dtype)dtype, .on_gpu = ls_on_gpu(grad) };
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

/* --- units ----------------------------------------------------------------------------------------------------------- */

static size_t bytes_of(const struct ls_bucket *b)
{
	return b->count * ls_dtype_size(b->dtype);
}

/* The type in which a bucket travels. */
static enum ls_dtype wire_of(const struct lockstep *ls, const struct ls_bucket *b)
{
	return b->on_gpu && ls->set.wire_dtype >= 0 ? (enum ls_dtype)ls->set.wire_dtype : b->dtype;
}

/* How many buckets from `first` on become one unit. */
static size_t together(const struct lockstep *ls, size_t first)
{
	const struct ls_bucket *b = &ls->buckets[first];
	size_t n = 1, bytes = bytes_of(b);

	while (b->on_gpu && first + n < ls->n_buckets && b[n].on_gpu && b[n].dtype == b->dtype && bytes + bytes_of(&b[n]) <= ls->set.fuse_bytes)
		bytes += bytes_of(&b[n++]);
	return n;
}

static ls_status plan_parts(struct lockstep *ls, struct ls_unit *u, struct ls_err *err)
{
	const struct ls_bucket *b = &ls->buckets[u->first];
	struct ls_coll average = { LS_ALL_REDUCE, wire_of(ls, b), LS_AVERAGE, 0, 0, NULL, NULL };
	struct ls_parts parts = { NULL, u->n, b->dtype };
	size_t i;

	u->parts = calloc(u->n, sizeof(*u->parts));
	if (!u->parts)
		return ls_fail_oom(err);
	for (i = 0; i < u->n; i++) {
		u->parts[i] = (struct ls_part){ b[i].grad, b[i].count };
		average.count += b[i].count;
	}
	parts.v = u->parts;
	return ls_request_make_parts(ls->gpu, &average, &parts, &u->plan, err);
}

/* Memory in one piece that travels as it is needs no packing. */
static ls_status plan_unit(struct lockstep *ls, struct ls_unit *u, struct ls_err *err)
{
	const struct ls_bucket *b = &ls->buckets[u->first];
	struct ls_coll average = { LS_ALL_REDUCE, b->dtype, LS_AVERAGE, 0, b->count, b->grad, b->grad };
	size_t i;

	for (i = 1; i < u->n && b[i].joins; i++)
		average.count += b[i].count;
	if (i < u->n || wire_of(ls, b) != b->dtype)
		return plan_parts(ls, u, err);
	return ls_request_make(b->on_gpu ? ls->gpu : ls->comm, &average, &u->plan, err);
}

static void drop_units(struct lockstep *ls)
{
	size_t i;

	for (i = 0; i < ls->n_units; i++) {
		ls_request_free(ls->units[i].plan);
		free(ls->units[i].parts);
	}
	free(ls->units);
	ls->units = NULL;
	ls->n_units = 0;
}

/* Also after a try that failed, on this rank or another. */
static ls_status plan_all(struct lockstep *ls, struct ls_err *err)
{
	ls_status st = LS_OK;
	size_t first;

	drop_units(ls);
	if (!ls->n_buckets)
		return LS_OK;
	ls->units = calloc(ls->n_buckets, sizeof(*ls->units));
	if (!ls->units)
		return ls_fail_oom(err);
	for (first = 0; !st && first < ls->n_buckets; first += ls->units[ls->n_units++].n) {
		struct ls_unit *u = &ls->units[ls->n_units];

		u->first = first;
		u->n = together(ls, first);
		st = plan_unit(ls, u, err);
	}
	return st;
}

/* One rank's tensors may lie one after another and another's not: both must do the same. */
static ls_status agree_on_joins(struct lockstep *ls, struct ls_err *err)
{
	int32_t *joins = calloc(ls->n_buckets + 1, sizeof(*joins));
	struct ls_coll least = { LS_ALL_REDUCE, LS_I32, LS_MIN, 0, ls->n_buckets, joins, joins };
	ls_status st;
	size_t i;

	if (!joins)
		return ls_fail_oom(err); /* the others learn it when this rank has left */
	for (i = 1; i < ls->n_buckets; i++) {
		const struct ls_bucket *b = &ls->buckets[i], *a = b - 1;

		joins[i] = a->on_gpu && b->on_gpu && a->dtype == b->dtype && (char *)a->grad + bytes_of(a) == (char *)b->grad;
	}
	st = ls_run_coll(ls->comm, &least, err);
	for (i = 0; !st && i < ls->n_buckets; i++)
		ls->buckets[i].joins = joins[i];
	free(joins);
	return st;
}

static ls_status open_gpu(struct lockstep *ls, struct ls_err *err)
{
	bool any = false;
	ls_status st;
	size_t i;

	for (i = 0; i < ls->n_buckets; i++) {
		const struct ls_bucket *b = &ls->buckets[i];

		any |= b->on_gpu;
		if (!b->on_gpu && b->count && ls->set.backend && !strcmp(ls->set.backend, "nccl"))
			return ls_fail(err, LS_USAGE, 0, "LOCKSTEP_BACKEND=nccl, and gradient bucket '%s' is in host memory: LOCKSTEP_BACKEND=auto uses NCCL "
				"for what is in GPU memory, and memory of the hosts for the rest", b->name);
	}
	if (!any)
		return LS_OK;
	st = ls_gpu_open(ls, err);
	return st ? st : agree_on_joins(ls, err);
}

ls_status ls_buckets_agree(struct lockstep *ls, struct ls_err *err)
{
	struct ls_strv list = { 0 };
	ls_status st;
	size_t i;

	if (ls->buckets_agreed)
		return LS_OK;
	for (i = 0; i < ls->n_buckets; i++) {
		const struct ls_bucket *b = &ls->buckets[i];

		if (b->on_gpu)
			ls_strv_addf(&list, "'%s' %s[%zu] in GPU memory, summed as %s, fused to %zu bytes", b->name, ls_dtype_name(b->dtype), b->count,
				ls_dtype_name(wire_of(ls, b)), ls->set.fuse_bytes);
		else
			ls_strv_addf(&list, "'%s' %s[%zu]", b->name, ls_dtype_name(b->dtype), b->count);
	}
	st = ls_agree(ls, "bucket", &list, LS_OK, err);
	ls_strv_release(&list);
	if (!st)
		st = open_gpu(ls, err);
	if (st)
		return st;
	st = ls_vote(ls, NULL, plan_all(ls, err), err); /* nobody may start to sum while another has no memory for it */
	ls->buckets_agreed = !st;
	return st;
}

/* --- steps ----------------------------------------------------------------------------------------------------------- */

static ls_status unit_failed(const struct lockstep *ls, const struct ls_unit *u, ls_status st, struct ls_err *err)
{
	const struct ls_bucket *b = &ls->buckets[u->first];

	if (st && u->n > 1)
		return ls_err_at(err, st, "gradient buckets '%s' to '%s': ", b->name, b[u->n - 1].name);
	return st ? ls_err_at(err, st, "gradient bucket '%s': ", b->name) : LS_OK;
}

static bool unit_ready(const struct lockstep *ls, const struct ls_unit *u)
{
	size_t i;

	for (i = 0; i < u->n; i++)
		if (!ls->buckets[u->first + i].ready)
			return false;
	return true;
}

/* All ranks start the units in their order, whatever order the buckets become ready in. */
static ls_status start_next(struct lockstep *ls, struct ls_err *err)
{
	ls_status st = LS_OK;

	while (!st && ls->next_unit < ls->n_units && unit_ready(ls, &ls->units[ls->next_unit])) {
		struct ls_unit *u = &ls->units[ls->next_unit];

		st = unit_failed(ls, u, ls_request_start(u->plan, err), err);
		if (!st)
			ls->next_unit++;
	}
	return st;
}

/* A unit is ready at one point of one stream. */
static ls_status check_stream(struct lockstep *ls, struct ls_err *err)
{
	if (!ls->n_ready)
		ls->ready_stream = ls->stream;
	if (ls->ready_stream == ls->stream)
		return LS_OK;
	return ls_fail(err, LS_USAGE, 0, "lockstep_stream was called between the buckets of one step: call it before the first "
		"lockstep_bucket_ready of a step, or after lockstep_bucket_wait");
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
	if (b->ready)
		return ls_fail(err, LS_USAGE, 0,
			"bucket '%s' marked ready twice in one step: call lockstep_bucket_wait between", b->name);
	st = check_stream(ls, err);
	if (st)
		return st;
	b->ready = true;
	ls->n_ready++;
	st = start_next(ls, err);
	if (!st && ls->next_unit > 0) { /* also drives those under way */
		const struct ls_unit *u = &ls->units[ls->next_unit - 1];

		st = unit_failed(ls, u, ls_request_test(u->plan, &done, err), err);
	}
	return st;
}

lockstep_status lockstep_bucket_ready(struct lockstep *ls, int bucket, struct lockstep_err *err)
{
	struct ls_err e = LS_ERR_INIT;
	double began = ls_clock_s();
	ls_status st = ready(ls, bucket, &e);

	if (!st && ls->buckets[bucket].on_gpu)
		return LOCKSTEP_OK; /* the GPU goes on computing meanwhile */
	return ls_give_waited(ls, began, st, &e, err);
}

static ls_status wait_all(struct lockstep *ls, struct ls_err *err)
{
	ls_status st = ls_buckets_agree(ls, err);
	size_t i;

	for (i = 0; !st && i < ls->n_buckets; i++)
		if (!ls->buckets[i].ready)
			st = ls_fail(err, LS_USAGE, 0,
				"bucket '%s' was not marked ready in this step: "
				"call lockstep_bucket_ready for every bucket before lockstep_bucket_wait",
				ls->buckets[i].name);
	for (i = 0; !st && i < ls->n_units; i++)
		st = unit_failed(ls, &ls->units[i], ls_request_wait(ls->units[i].plan, err), err);
	if (st)
		return st;
	for (i = 0; i < ls->n_buckets; i++)
		ls->buckets[i].ready = false;
	ls->next_unit = ls->n_ready = 0;
	return LS_OK;
}

/* The host gets to its wait while the GPU still computes. How long that stood still is the GPU's to tell: from when it had made the last
 * gradient that is in its memory until the last sum was done. */
static ls_status gpu_stood(struct lockstep *ls, double *began_s, struct ls_err *err)
{
	double ms = 0;
	ls_status st;
	size_t i = ls->n_units;

	while (i > 0 && !ls->buckets[ls->units[i - 1].first].on_gpu)
		i--;
	if (!i)
		return LS_OK;
	st = ls_request_gpu_after_ms(ls->units[i - 1].plan, &ms, err);
	if (!st)
		*began_s = ls_clock_s() - ms / 1e3;
	return st;
}

lockstep_status lockstep_bucket_wait(struct lockstep *ls, struct lockstep_err *err)
{
	struct ls_err e = LS_ERR_INIT;
	double began = ls_clock_s();
	ls_status st = wait_all(ls, &e);

	if (!st)
		st = gpu_stood(ls, &began, &e);
	return ls_give_waited(ls, began, st, &e, err);
}

/* Not orderly: plans on the GPU are left to the end of the process. To free their memory is to wait for the GPU, which may itself wait for a
 * rank that is gone. */
void ls_buckets_release(struct lockstep *ls, bool orderly)
{
	size_t i;

	if (orderly || !ls->gpu)
		drop_units(ls);
	for (i = 0; i < ls->n_buckets; i++)
		free(ls->buckets[i].name);
	free(ls->buckets);
}
