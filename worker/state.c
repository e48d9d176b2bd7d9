/* state.c -- what a checkpoint holds, and which rank writes what.
 *
 * Replicated tensors are dealt out whole, largest first, each to the rank with the fewest bytes so far: all ranks
 * compute the same deal from the same list, and the time of a save falls with the world size. A tensor is never cut,
 * so that any reader of safetensors finds it under its name in one shard.
 * Private tensors go to the own shard as rank-00003/NAME, sharded ones as NAME[FIRST:LAST]: unique over all shards. */
#include "worker/copy.h"
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
	int64_t first, last;
	size_t i, len;

	if (ls->states_agreed)
		return ls_fail(
			err, LS_USAGE, 0, "state '%s': register all state before the first restore or save", name);
	if (!*name || !strncmp(name, "rank-", 5) || !strcmp(name, "__metadata__") || ls_ckpt_part_parse(name, &len, &first, &last))
		return ls_fail(
			err, LS_USAGE, 0, "state '%s': the name is taken by the checkpoint format; use another", name);
	if (!ls_st_text_ok(name, strlen(name)) || strpbrk(name, "\n\r"))
		return ls_fail(err, LS_USAGE, 0, "the name of a state is no line of UTF-8 text: use a printable name");
	for (i = 0; i < ls->n_states; i++)
		if (!strcmp(ls->states[i].name, name))
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
	if (s->kind == LOCKSTEP_SHARDED && (ndim < 1 || s->first < 0 || s->first > s->rows || shape[0] > s->rows - s->first))
		return ls_fail(err, LS_USAGE, 0, "state '%s': rows %lld to %lld are not in a tensor of %lld rows", name, (long long)s->first,
			(long long)(s->first + (ndim < 1 ? 0 : shape[0])), (long long)s->rows);
	if (s->kind == LOCKSTEP_PRIVATE)
		ls_str_addf(&stored, "rank-%05d/", ls->rank);
	if (s->kind == LOCKSTEP_SHARDED)
		ls_ckpt_part_name(name, s->first, s->first + shape[0], &stored);
	else
		ls_str_add(&stored, name);
	s->on_gpu = ls_on_gpu(s->data);
	s->stored = ls_str_steal(&stored);
	s->name = strdup(name);
	st = s->name && s->stored ? check(ls, name, s, err) : ls_fail_oom(err);
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
	free(s->stored);
	return st;
}

lockstep_status lockstep_state_add(struct lockstep *ls, const char *name, void *data, enum lockstep_dtype dtype,
	int ndim, const int64_t *shape, enum lockstep_state_kind kind, struct lockstep_err *err)
{
	struct ls_state s = { .data = data, .dtype = (enum ls_dtype)dtype, .kind = kind };
	struct ls_err e = LS_ERR_INIT;
	ls_status st;

	if (kind != LOCKSTEP_REPLICATED && kind != LOCKSTEP_PRIVATE)
		st = ls_fail(&e, LS_USAGE, 0, "state '%s': want LOCKSTEP_REPLICATED or LOCKSTEP_PRIVATE here", name);
	else
		st = add(ls, name, &s, ndim, shape, &e);
	return ls_give(ls, st, &e, err);
}

lockstep_status lockstep_state_add_sharded(struct lockstep *ls, const char *name, void *data, enum lockstep_dtype dtype,
	int ndim, const int64_t *shape, int64_t first_row, int64_t rows, struct lockstep_err *err)
{
	struct ls_state s = { .data = data, .dtype = (enum ls_dtype)dtype, .kind = LOCKSTEP_SHARDED, .first = first_row, .rows = rows };
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
		if (states[i].kind == LOCKSTEP_REPLICATED)
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

/* The ranks' rows tile the whole: in the order of the ranks or in any other. */
static ls_status check_rows(const struct lockstep *ls, const struct ls_state *s, struct ls_err *err)
{
	int64_t at = 0, sum = 0;
	int r;

	for (r = 0; r < ls->world; r++)
		sum += s->bounds[2 * r + 1] - s->bounds[2 * r];
	for (r = 0; r < ls->world && at < s->rows; r++) {
		if (s->bounds[2 * r] != at || s->bounds[2 * r + 1] == at)
			continue;
		at = s->bounds[2 * r + 1];
		r = -1;
	}
	if (at == s->rows && sum == s->rows)
		return LS_OK;
	return ls_fail(err, LS_USAGE, 0, "state '%s': the ranks' rows do not tile its %lld rows: each must be held by exactly one rank", s->name,
		(long long)s->rows);
}

/* Every rank learns who has which rows of all sharded tensors, in one exchange: of thousands, each would cost a round trip. */
static ls_status agree_rows(struct lockstep *ls, struct ls_err *err)
{
	size_t world = (size_t)ls->world, n = 0, i, k, r;
	int64_t(*mine)[2] = calloc(ls->n_states + 1, sizeof(*mine)), (*all)[2] = NULL;
	bool room = mine != NULL;
	ls_status st;

	for (i = 0; room && i < ls->n_states; i++) {
		struct ls_state *s = &ls->states[i];

		if (s->kind != LOCKSTEP_SHARDED)
			continue;
		mine[n][0] = s->first;
		mine[n++][1] = s->first + s->shape[0];
		free(s->bounds);
		s->bounds = calloc(world, sizeof(*mine));
		room = s->bounds != NULL;
	}
	if (room)
		all = calloc(world * n + 1, sizeof(*all));
	st = ls_vote(ls, NULL, all ? LS_OK : ls_fail_oom(err), err);
	if (!st)
		st = ls_run_allgather(ls->comm, mine, all, n * sizeof(*mine), err);
	for (i = k = 0; !st && i < ls->n_states; i++) {
		if (ls->states[i].kind != LOCKSTEP_SHARDED)
			continue;
		for (r = 0; r < world; r++)
			memcpy(&ls->states[i].bounds[2 * r], all[r * n + k], sizeof(*all));
		k++;
		st = check_rows(ls, &ls->states[i], err);
	}
	free(mine);
	free(all);
	return st;
}

ls_status ls_states_agree(struct lockstep *ls, struct ls_err *err)
{
	struct ls_strv list = { 0 };
	struct ls_str line = { 0 };
	int64_t shape[LS_ST_MAX_DIMS];
	ls_status st;
	size_t i;

	if (ls->states_agreed)
		return LS_OK;
	for (i = 0; i < ls->n_states; i++) {
		const struct ls_state *s = &ls->states[i];

		if (s->kind == LOCKSTEP_PRIVATE)
			continue;
		memcpy(shape, s->shape, sizeof(shape));
		if (s->kind == LOCKSTEP_SHARDED)
			shape[0] = s->rows;
		ls_str_cut(&line, line.len);
		ls_str_addf(&line, "%s'%s' ", s->kind == LOCKSTEP_SHARDED ? "sharded " : "", s->name);
		ls_shape_text(s->dtype, s->ndim, shape, &line);
		ls_strv_add(&list, ls_str_text(&line));
	}
	st = line.oom ? ls_fail_oom(err) : ls_states_deal(ls->states, ls->n_states, ls->rank, ls->world, err);
	st = ls_agree(ls, "replicated state", &list, st, err);
	if (!st)
		st = agree_rows(ls, err);
	ls->states_agreed = !st;
	ls_str_release(&line);
	ls_strv_release(&list);
	return st;
}

void ls_states_release(struct lockstep *ls)
{
	size_t i;

	for (i = 0; i < ls->n_states; i++) {
		free(ls->states[i].name);
		free(ls->states[i].stored);
		free(ls->states[i].bounds);
	}
	free(ls->states);
}
