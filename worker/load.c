/* load.c -- the bytes of a checkpoint, from wherever they are, into place on every rank.
 *
 *     each shard's reader opens it -------- headers to all: every rank knows every tensor, and finds what is missing
 *     each reader reads its shards -------- checksums verified on the way; what it needs itself goes straight into place
 *     what others need, too, is broadcast
 *
 * So the store gives every byte once, however many ranks there are, and N ranks read 1/N each. Where the bytes are in every rank's reach
 * (memory of the only host) each copies what it needs, and nothing is broadcast. The numbers of ranks that saved and that
 * load need not be the same: replicated tensors are whole, rows of sharded ones are dealt out anew; private ones need the same number. */
#include "core/event.h"
#include "worker/copy.h"
#include "worker/rank.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum use {
	SKIP,    /* nobody registered it */
	REPLICA, /* in place on the reader, then broadcast into place */
	OWN,     /* in place on the reader, and nobody else's */
	KEEP,    /* the reader's buffer, copied from there, and nobody else's */
	SPREAD   /* the reader's buffer, broadcast into buffers, copied from there */
};

struct shard {
	struct ls_st st;
	int reader;
	char *scratch;          /* on the reader: what does not go into place */
	enum use *use;          /* [st.n] */
	struct ls_state **to;   /* [st.n] this rank's state that it is for, or NULL */
	char **at;              /* [st.n] on the reader: where the bytes go */
};

struct load {
	struct lockstep *ls;
	struct ls_source *src;
	struct shard *shards;
	struct ls_state **by_name; /* of this program */
	size_t strangers;
};

/* --- headers --------------------------------------------------------------------------------------------------------------- */

static ls_status open_mine(struct load *l, struct ls_str *headers, struct ls_err *err)
{
	ls_status st = LS_OK;
	size_t i;

	for (i = 0; !st && i < l->src->n; i++)
		if (l->shards[i].reader == l->ls->rank)
			st = l->src->open(l->src, i, &headers[i], err);
	return st;
}

static ls_status parse(struct load *l, size_t i, const struct ls_str *header, struct ls_err *err)
{
	struct shard *sh = &l->shards[i];
	ls_status st = ls_st_parse(header->s, header->len, l->src->bytes[i], &sh->st, err);

	if (st)
		return st == LS_DATA_BAD ? ls_err_at(err, st, "shard %zu of %s: ", i, l->src->name) : st;
	sh->use = calloc(sh->st.n + 1, sizeof(*sh->use));
	sh->to = calloc(sh->st.n + 1, sizeof(*sh->to));
	sh->at = calloc(sh->st.n + 1, sizeof(*sh->at));
	return sh->use && sh->to && sh->at ? LS_OK : ls_fail_oom(err);
}

/* Everybody gets every header; the memory is had everywhere before a broadcast needs it. */
static ls_status share_headers(struct load *l, struct ls_str *headers, struct ls_err *err)
{
	struct lockstep *ls = l->ls;
	ls_status st = LS_OK, mine = LS_OK;
	size_t i;

	for (i = 0; !st && !l->src->everywhere && i < l->src->n; i++) {
		uint64_t about[2] = { headers[i].len, l->src->bytes[i] };

		st = ls_run_broadcast(ls->comm, about, sizeof(about), l->shards[i].reader, err);
		if (!st && ls->rank != l->shards[i].reader)
			ls_str_addf(&headers[i], "%*s", (int)about[0], "");
		l->src->bytes[i] = about[1];
		if (headers[i].oom)
			mine = ls_fail_oom(err);
	}
	if (!st)
		st = ls_vote(ls, NULL, mine, err);
	for (i = 0; !st && i < l->src->n; i++) {
		if (!l->src->everywhere)
			st = ls_run_broadcast(ls->comm, headers[i].s, headers[i].len, l->shards[i].reader, err);
		if (!st && !mine)
			mine = parse(l, i, &headers[i], err);
	}
	return st ? st : ls_vote(ls, NULL, mine, err);
}

/* --- what each tensor is for ------------------------------------------------------------------------------------------------- */

static int compare_names(const void *a, const void *b)
{
	return strcmp((*(struct ls_state *const *)a)->name, (*(struct ls_state *const *)b)->name);
}

struct name {
	const char *s;
	size_t len;
};

static int compare_name(const void *key, const void *state)
{
	const struct name *name = key;
	const char *other = (*(struct ls_state *const *)state)->name;
	int c = strncmp(name->s, other, name->len);

	return c ? c : -(other[name->len] != '\0');
}

static ls_status sort_names(struct load *l, struct ls_err *err)
{
	size_t i;

	l->by_name = calloc(l->ls->n_states + 1, sizeof(*l->by_name));
	if (!l->by_name)
		return ls_fail_oom(err);
	for (i = 0; i < l->ls->n_states; i++)
		l->by_name[i] = &l->ls->states[i];
	qsort(l->by_name, l->ls->n_states, sizeof(*l->by_name), compare_names);
	return LS_OK;
}

/* Thousands of tensors, in the shards of hundreds of ranks: by halves, not one after the other. */
static struct ls_state *state_of(const struct load *l, const char *name, size_t len, enum lockstep_state_kind kind)
{
	struct name key = { name, len };
	struct ls_state **found = bsearch(&key, l->by_name, l->ls->n_states, sizeof(*l->by_name), compare_name);

	return found && (*found)->kind == kind ? *found : NULL;
}

/* Dimension 0 of a part is its own. */
static ls_status same_shape(
	struct load *l, const struct ls_tensor *t, const struct ls_state *s, int from, struct ls_err *err)
{
	struct ls_str stored = { 0 }, wanted = { 0 };
	ls_status st;

	if (t->dtype == s->dtype && t->ndim == s->ndim &&
		!memcmp(t->shape + from, s->shape + from, (size_t)(t->ndim - from) * sizeof(t->shape[0])))
		return LS_OK;
	ls_shape_text(t->dtype, t->ndim, t->shape, &stored);
	ls_shape_text(s->dtype, s->ndim, s->shape, &wanted);
	err->rank = l->ls->rank;
	st = ls_fail(err, LS_USAGE, 0,
		"tensor '%s' is %s in %s, but %s in this program: the model changed; run the program that "
		"saved it, or give the new one an empty directory",
		t->name, ls_str_text(&stored), l->src->name, ls_str_text(&wanted));
	ls_str_release(&stored);
	ls_str_release(&wanted);
	return st;
}

static uint64_t row_bytes(const struct ls_state *s)
{
	uint64_t bytes = ls_dtype_size(s->dtype);
	int i;

	for (i = 1; i < s->ndim; i++)
		bytes *= (uint64_t)s->shape[i];
	return bytes;
}

/* Only the host's memory can be read into. */
static enum use own(const struct ls_state *s)
{
	return s->on_gpu ? KEEP : OWN;
}

/* Rows of a sharded tensor. Everybody knows everybody's rows, and so whether anybody but the reader needs these. */
static ls_status plan_part(struct load *l, struct shard *sh, size_t k, struct ls_state *s, int64_t first, int64_t last, struct ls_err *err)
{
	const struct ls_tensor *t = &sh->st.tensors[k];
	const int64_t *its = &s->bounds[2 * sh->reader];
	ls_status st = same_shape(l, t, s, 1, err);

	if (st)
		return st;
	if (t->shape[0] != last - first)
		return ls_fail(err, LS_DATA_BAD, 0, "tensor '%s' has %lld rows in %s", t->name, (long long)t->shape[0], l->src->name);
	sh->to[k] = s;
	if (l->src->everywhere && (last <= its[0] || first >= its[1]))
		return LS_OK; /* not ours: SKIP */
	sh->use[k] = its[0] == first && its[1] == last ? own(s) : SPREAD;
	return LS_OK;
}

static ls_status plan_private(struct load *l, struct shard *sh, size_t k, struct ls_err *err)
{
	const struct ls_tensor *t = &sh->st.tensors[k];
	char *end;
	long owner = strtol(t->name + strlen("rank-"), &end, 10);
	struct ls_state *s = NULL;

	if (*end != '/' || l->src->world != l->ls->world)
		return LS_OK;
	if (owner == l->ls->rank)
		s = state_of(l, end + 1, strlen(end + 1), LOCKSTEP_PRIVATE);
	sh->use[k] = owner != sh->reader ? (l->src->everywhere ? SKIP : SPREAD) : s ? own(s) : SKIP;
	sh->to[k] = s;
	if (s)
		s->found = true;
	return s ? same_shape(l, t, s, 0, err) : LS_OK;
}

static ls_status plan_tensor(struct load *l, struct shard *sh, size_t k, struct ls_err *err)
{
	const struct ls_tensor *t = &sh->st.tensors[k];
	struct ls_state *s = state_of(l, t->name, strlen(t->name), LOCKSTEP_REPLICATED);
	int64_t first, last;
	size_t len;

	if (!strncmp(t->name, "rank-", 5))
		return plan_private(l, sh, k, err);
	if (s) {
		sh->use[k] = s->on_gpu ? SPREAD : REPLICA;
		sh->to[k] = s;
		s->found = true;
		return same_shape(l, t, s, 0, err);
	}
	if (ls_ckpt_part_parse(t->name, &len, &first, &last))
		s = state_of(l, t->name, len, LOCKSTEP_SHARDED);
	if (s)
		return plan_part(l, sh, k, s, first, last, err);
	l->strangers++;
	return LS_OK;
}

static ls_status missing(struct load *l, const struct ls_state *s, struct ls_err *err)
{
	struct ls_str shape = { 0 };
	int64_t whole[LS_ST_MAX_DIMS];
	ls_status st;

	err->rank = l->ls->rank;
	if (s->kind == LOCKSTEP_PRIVATE && l->src->world != l->ls->world)
		return ls_fail(err, LS_USAGE, 0,
			"%s was saved by %d ranks, this world has %d: private state ('%s') needs the same number", l->src->name,
			l->src->world, l->ls->world, s->name);
	memcpy(whole, s->shape, sizeof(whole));
	if (s->kind == LOCKSTEP_SHARDED)
		whole[0] = s->rows;
	ls_shape_text(s->dtype, s->ndim, whole, &shape);
	st = ls_fail(err, LS_USAGE, 0,
		"%s holds %s '%s'%s %s: the model changed; run the program that saved it, or give the new one an empty "
		"directory",
		l->src->name, s->kind == LOCKSTEP_SHARDED ? "other rows of" : "no tensor", s->name,
		s->kind == LOCKSTEP_SHARDED ? " than" : "", ls_str_text(&shape));
	ls_str_release(&shape);
	return st;
}

struct part {
	const struct ls_state *s;
	int64_t first, last;
};

static int compare_parts(const void *a, const void *b)
{
	const struct part *x = a, *y = b;

	if (x->s != y->s)
		return x->s < y->s ? -1 : 1;
	return (x->first > y->first) - (x->first < y->first);
}

/* In the order of the states; *ret is the caller's to free(). */
static ls_status list_parts(struct load *l, struct part **ret, size_t *ret_n, struct ls_err *err)
{
	struct part *parts;
	size_t i, k, n = 0, len;

	for (i = 0; i < l->src->n; i++)
		n += l->shards[i].st.n;
	parts = calloc(n + 1, sizeof(*parts));
	if (!parts)
		return ls_fail_oom(err);
	for (i = n = 0; i < l->src->n; i++)
		for (k = 0; k < l->shards[i].st.n; k++) {
			struct part *p = &parts[n];

			p->s = l->shards[i].to[k];
			if (!p->s || p->s->kind != LOCKSTEP_SHARDED)
				continue;
			ls_ckpt_part_parse(l->shards[i].st.tensors[k].name, &len, &p->first, &p->last);
			n += p->last > p->first;
		}
	qsort(parts, n, sizeof(*parts), compare_parts);
	*ret = parts;
	*ret_n = n;
	return LS_OK;
}

/* The parts tile each sharded tensor: no row is missing, there twice, or of a larger tensor. */
static ls_status check_parts(struct load *l, struct ls_err *err)
{
	struct part *parts = NULL, *p, *end;
	size_t i, n = 0;
	ls_status st = list_parts(l, &parts, &n, err);

	for (i = 0, p = parts, end = parts + n; !st && i < l->ls->n_states; i++) {
		const struct ls_state *s = &l->ls->states[i];
		int64_t at = 0;

		if (s->kind != LOCKSTEP_SHARDED)
			continue;
		for (; p < end && p->s == s; p++)
			at = p->first == at ? p->last : INT64_MAX;
		if (at != s->rows)
			st = missing(l, s, err);
	}
	free(parts);
	return st;
}

static ls_status plan(struct load *l, struct ls_err *err)
{
	struct lockstep *ls = l->ls;
	ls_status st = sort_names(l, err);
	size_t i, k;

	for (i = 0; i < ls->n_states; i++)
		ls->states[i].found = false;
	for (i = 0; i < l->src->n; i++)
		for (k = 0; !st && k < l->shards[i].st.n; k++)
			st = plan_tensor(l, &l->shards[i], k, err);
	for (i = 0; !st && i < ls->n_states; i++) {
		const struct ls_state *s = &ls->states[i];

		if (s->kind != LOCKSTEP_SHARDED && !s->found)
			st = missing(l, s, err);
	}
	return st ? st : check_parts(l, err);
}

/* The header does not fit the program: has the program changed, or the header? */
static ls_status doubt(struct load *l, struct ls_err *err)
{
	struct ls_err damage = LS_ERR_INIT;
	ls_status st = ls_vote(l->ls, NULL, l->src->verify(l->src, &damage), &damage);

	if (!st)
		return LS_USAGE;
	*err = damage;
	return st;
}

/* --- data -------------------------------------------------------------------------------------------------------------------- */

/* What is for nobody is read, too: the checksum is of all. */
static bool into_scratch(const struct load *l, enum use use)
{
	return use == KEEP || use == SPREAD || (use == SKIP && !l->src->everywhere);
}

static ls_status read_shard(struct load *l, size_t i, struct ls_err *err)
{
	struct shard *sh = &l->shards[i];
	struct iovec *iov = calloc(sh->st.n + 1, sizeof(*iov));
	uint64_t scratch = 0, at = 0;
	ls_status st = LS_OK;
	size_t k;

	for (k = 0; k < sh->st.n; k++)
		if (into_scratch(l, sh->use[k]))
			scratch += sh->st.tensors[k].end - sh->st.tensors[k].begin;
	sh->scratch = malloc(scratch + 1);
	if (!iov || !sh->scratch) {
		free(iov);
		return ls_fail_oom(err);
	}
	for (k = 0; k < sh->st.n; k++) {
		uint64_t bytes = sh->st.tensors[k].end - sh->st.tensors[k].begin;

		if (into_scratch(l, sh->use[k])) {
			sh->at[k] = sh->scratch + at;
			at += bytes;
		} else if (sh->use[k] != SKIP) {
			sh->at[k] = sh->to[k]->data;
		}
		iov[k] = (struct iovec){ sh->at[k], bytes };
	}
	st = l->src->read(l->src, i, iov, (int)sh->st.n, err);
	free(iov);
	return st;
}

static ls_status read_mine(struct load *l, struct ls_err *err)
{
	ls_status st = LS_OK;
	size_t i;

	for (i = 0; !st && i < l->src->n; i++)
		if (l->shards[i].reader == l->ls->rank)
			st = read_shard(l, i, err);
	return st;
}

static ls_status put(struct ls_state *s, uint64_t at, const char *from, uint64_t bytes, struct ls_err *err)
{
	if (s->on_gpu)
		return ls_copy_to_gpu(s->data + at, from, bytes, err);
	if (bytes) /* empty state may have no address */
		memcpy(s->data + at, from, bytes);
	return LS_OK;
}

/* From a buffer with the whole tensor: this rank's rows, or its private tensor. */
static ls_status take(
	const struct lockstep *ls, const struct ls_tensor *t, struct ls_state *s, const char *from, struct ls_err *err)
{
	int64_t first, last, *mine, a, b;
	uint64_t row;
	size_t len;

	if (!s)
		return LS_OK;
	if (s->kind != LOCKSTEP_SHARDED)
		return put(s, 0, from, s->bytes, err);
	ls_ckpt_part_parse(t->name, &len, &first, &last);
	mine = &s->bounds[2 * ls->rank];
	a = first > mine[0] ? first : mine[0];
	b = last < mine[1] ? last : mine[1];
	row = row_bytes(s);
	return b > a ? put(s, (uint64_t)(a - mine[0]) * row, from + (uint64_t)(a - first) * row, (uint64_t)(b - a) * row, err) : LS_OK;
}

/* What fails here alone (a GPU) goes to *mine: the others still wait for broadcasts. */
static ls_status spread(
	struct load *l, struct shard *sh, size_t k, char *buffer, ls_status *mine, struct ls_err *mine_err, struct ls_err *err)
{
	const struct ls_tensor *t = &sh->st.tensors[k];
	char *at = l->ls->rank == sh->reader ? sh->at[k] : sh->use[k] == REPLICA ? sh->to[k]->data : buffer;
	ls_status st = LS_OK;

	if (sh->use[k] != KEEP && !l->src->everywhere)
		st = ls_run_broadcast(l->ls->comm, at, t->end - t->begin, sh->reader, err);
	if (!st && !*mine && sh->use[k] != REPLICA)
		*mine = take(l->ls, t, sh->to[k], at, mine_err);
	return st;
}

/* KEEP is a matter of the reader alone. */
static bool is_shared(const struct load *l, const struct shard *sh, size_t k)
{
	return sh->use[k] == REPLICA || sh->use[k] == SPREAD || (sh->use[k] == KEEP && sh->reader == l->ls->rank);
}

static ls_status share_data(struct load *l, struct ls_err *err)
{
	struct ls_err mine_err = LS_ERR_INIT;
	ls_status st, mine = LS_OK;
	uint64_t largest = 0;
	char *buffer;
	size_t i, k;

	for (i = 0; i < l->src->n; i++)
		for (k = 0; k < l->shards[i].st.n; k++) {
			const struct ls_tensor *t = &l->shards[i].st.tensors[k];

			if (l->shards[i].use[k] == SPREAD && t->end - t->begin > largest)
				largest = t->end - t->begin;
		}
	buffer = malloc(largest + 1);
	st = ls_vote(l->ls, NULL, buffer ? LS_OK : ls_fail_oom(err), err);
	for (i = 0; i < l->src->n; i++)
		for (k = 0; !st && k < l->shards[i].st.n; k++)
			if (is_shared(l, &l->shards[i], k))
				st = spread(l, &l->shards[i], k, buffer, &mine, &mine_err, err);
	free(buffer);
	if (!st && mine)
		*err = mine_err;
	return st ? st : ls_vote(l->ls, NULL, mine, err);
}

static void release(struct load *l, struct ls_str *headers)
{
	size_t i;

	for (i = 0; i < l->src->n; i++) {
		if (headers)
			ls_str_release(&headers[i]);
		if (!l->shards)
			continue;
		ls_st_release(&l->shards[i].st);
		free(l->shards[i].scratch);
		free(l->shards[i].use);
		free(l->shards[i].to);
		free(l->shards[i].at);
	}
	free(headers);
	free(l->by_name);
	free(l->shards);
}

ls_status ls_load(struct lockstep *ls, struct ls_source *src, struct ls_err *err)
{
	struct load l = { .ls = ls, .src = src, .shards = calloc(src->n + 1, sizeof(*l.shards)) };
	struct ls_str *headers = calloc(src->n + 1, sizeof(*headers));
	ls_status st = l.shards && headers ? LS_OK : ls_fail_oom(err);
	size_t i;

	for (i = 0; !st && i < src->n; i++)
		l.shards[i].reader = src->everywhere ? ls->rank : src->reader(src, i);
	st = ls_vote(ls, NULL, st ? st : open_mine(&l, headers, err), err);
	if (!st)
		st = share_headers(&l, headers, err);
	if (!st)
		st = ls_vote(ls, NULL, plan(&l, err), err);
	if (st == LS_USAGE && src->verify)
		st = doubt(&l, err);
	if (!st)
		st = ls_vote(ls, NULL, read_mine(&l, err), err);
	if (!st)
		st = share_data(&l, err);
	if (!st && l.strangers && ls->rank == 0)
		ls_event_send(ls, "warning text=%s holds %zu tensors that this program does not register: ignored", src->name, l.strangers);
	release(&l, headers);
	return st;
}
