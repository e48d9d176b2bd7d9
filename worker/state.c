/* state.c -- what a checkpoint holds, and which rank writes what.
 *
 * Replicated tensors are dealt out whole, largest first, each to the rank with the fewest bytes so far: all ranks
 * compute the same deal from the same list, and the time of a save falls with the world size. A tensor is never cut,
 * so that any reader of safetensors finds it under its name in one shard.
 * Private tensors go to the own shard as rank-00003/NAME: unique over all shards. */
#include "worker/rank.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Static_assert((int)LOCKSTEP_F64 == LS_F64 && (int)LOCKSTEP_U8 == LS_U8, "lockstep_dtype and ls_dtype are one list");

void ls_shape_text(enum ls_dtype dtype, int ndim, const int64_t *shape, struct ls_str *ret)
{
	int i;

	ls_str_addf(ret, "%s[", ls_dtype_name(dtype));
	for (i = 0; i < ndim; i++)
		ls_str_addf(ret, "%s%lld", i ? "," : "", (long long)shape[i]);
	ls_str_add(ret, "]");
}

static ls_status check(const struct lockstep *ls, const char *name, const struct ls_state *s, struct ls_err *err)
{
	size_t i;

	if (ls->states_agreed)
		return ls_fail(
			err, LS_USAGE, 0, "state '%s': register all state before the first restore or save", name);
	if (!*name || !strncmp(name, "rank-", 5) || !strcmp(name, "__metadata__"))
		return ls_fail(
			err, LS_USAGE, 0, "state '%s': the name is taken by the checkpoint format; use another", name);
	if (!ls_st_text_ok(name, strlen(name)) || strpbrk(name, "\n\r"))
		return ls_fail(err, LS_USAGE, 0, "the name of a state is no line of UTF-8 text: use a printable name");
	for (i = 0; i < ls->n_states; i++)
		if (!strcmp(ls->states[i].name, s->name))
			return ls_fail(err, LS_USAGE, 0, "state '%s' is registered twice", name);
	if (!s->data && s->bytes)
		return ls_fail(err, LS_USAGE, 0, "state '%s': data is NULL", name);
	return LS_OK;
}

static ls_status measure(struct ls_state *s, const char *name, int ndim, const int64_t *shape, struct ls_err *err)
{
	int i;

	if ((unsigned)s->dtype > LS_U8 || ndim < 0 || ndim > LS_ST_MAX_DIMS)
		return ls_fail(err, LS_USAGE, 0, "state '%s': unknown dtype, or more than %d dimensions", name,
			LS_ST_MAX_DIMS);
	s->bytes = ls_dtype_size(s->dtype);
	s->ndim = ndim;
	for (i = 0; i < ndim; i++) {
		if (shape[i] < 0 || __builtin_mul_overflow(s->bytes, (uint64_t)shape[i], &s->bytes))
			return ls_fail(err, LS_USAGE, 0, "state '%s': shape[%d] = %lld is no size", name, i,
				(long long)shape[i]);
		s->shape[i] = shape[i];
	}
	return LS_OK;
}

static ls_status add(
	struct lockstep *ls, const char *name, struct ls_state *s, int ndim, const int64_t *shape, struct ls_err *err)
{
	struct ls_str stored = { 0 };
	struct ls_state *grown;
	ls_status st = measure(s, name, ndim, shape, err);

	if (st)
		return st;
	if (!s->replicated)
		ls_str_addf(&stored, "rank-%05d/", ls->rank);
	ls_str_add(&stored, name);
	s->name = ls_str_steal(&stored);
	st = s->name ? check(ls, name, s, err) : ls_fail_oom(err);
	if (st)
		goto fail;
	grown = realloc(ls->states, (ls->n_states + 1) * sizeof(*grown));
	if (!grown) {
		st = ls_fail_oom(err);
		goto fail;
	}
	ls->states = grown;
	ls->states[ls->n_states++] = *s;
	return LS_OK;
fail:
	free(s->name);
	return st;
}

lockstep_status lockstep_state_add(struct lockstep *ls, const char *name, void *data, enum lockstep_dtype dtype,
	int ndim, const int64_t *shape, enum lockstep_state_kind kind, struct lockstep_err *err)
{
	struct ls_state s = { .data = data, .dtype = (enum ls_dtype)dtype, .replicated = kind == LOCKSTEP_REPLICATED };
	struct ls_err e = LS_ERR_INIT;

	return ls_give(ls, add(ls, name, &s, ndim, shape, &e), &e, err);
}

/* Largest first; equal ones in order of registration, which keeps qsort's result the same everywhere. */
static int larger_first(const void *a, const void *b)
{
	const struct ls_state *x = *(struct ls_state *const *)a, *y = *(struct ls_state *const *)b;

	if (x->bytes != y->bytes)
		return x->bytes < y->bytes ? 1 : -1;
	return (x > y) - (x < y);
}

ls_status ls_states_deal(struct ls_state *states, size_t n, int rank, int world, struct ls_err *err)
{
	struct ls_state **order = malloc((n + 1) * sizeof(*order));
	uint64_t *given = calloc((size_t)world, sizeof(*given));
	ls_status st = order && given ? LS_OK : ls_fail_oom(err);
	size_t i, n_order = 0;
	int r;

	for (i = 0; !st && i < n; i++) {
		states[i].owner = rank;
		if (states[i].replicated)
			order[n_order++] = &states[i];
	}
	if (n_order)
		qsort(order, n_order, sizeof(struct ls_state *), larger_first);
	for (i = 0; i < n_order; i++) {
		order[i]->owner = 0;
		for (r = 1; r < world; r++)
			if (given[r] < given[order[i]->owner])
				order[i]->owner = r;
		given[order[i]->owner] += order[i]->bytes;
	}
	free(order);
	free(given);
	return st;
}

ls_status ls_states_agree(struct lockstep *ls, struct ls_err *err)
{
	struct ls_strv list = { 0 };
	struct ls_str line = { 0 };
	ls_status st;
	size_t i;

	if (ls->states_agreed)
		return LS_OK;
	for (i = 0; i < ls->n_states; i++) {
		const struct ls_state *s = &ls->states[i];

		if (!s->replicated)
			continue;
		ls_str_cut(&line, line.len);
		ls_str_addf(&line, "'%s' ", s->name);
		ls_shape_text(s->dtype, s->ndim, s->shape, &line);
		ls_strv_add(&list, ls_str_text(&line));
	}
	st = line.oom ? ls_fail_oom(err) : ls_states_deal(ls->states, ls->n_states, ls->rank, ls->world, err);
	st = ls_agree(ls, "replicated state", &list, st, err);
	ls->states_agreed = !st;
	ls_str_release(&line);
	ls_strv_release(&list);
	return st;
}

void ls_states_release(struct lockstep *ls)
{
	size_t i;

	for (i = 0; i < ls->n_states; i++)
		free(ls->states[i].name);
	free(ls->states);
}
