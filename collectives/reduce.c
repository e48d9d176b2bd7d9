/* reduce.c -- see reduce.h: the choice of the variant, and how a reduction is cut for it.
 *
 *     whole reduction = [head: up to where dst[0] is aligned for streaming] [steps] [tail: less than a step]
 *     many sources    = blocks of LS_FOLD_BLOCK elements, each in passes of LS_FOLD_SOURCES sources
 *
 * A variant knows whole steps alone: what is less passes through a copy on the stack. */
#include "collectives/reduce_fold.h"

#include <stdlib.h>
#include <string.h>

#define AHEAD_FROM (256 << 10) /* bytes of a source */
#define STREAM_ALIGN 64
#define COPY_PAST_FROM 4096

const struct ls_vectors *const ls_vectors_all[] = {
#if defined(__x86_64__)
	&ls_vectors_avx512,
	&ls_vectors_avx2,
#endif
	&ls_vectors_plain,
	NULL,
};

static const struct ls_vectors *chosen;
static const char *asked; /* what LOCKSTEP_CPU_VECTORS wants in vain; or NULL */

__attribute__((constructor)) static void choose(void)
{
	const char *want = getenv("LOCKSTEP_CPU_VECTORS");
	const struct ls_vectors *const *v;

	for (v = ls_vectors_all; *v; v++) {
		if (!(*v)->here())
			continue;
		if (!chosen)
			chosen = *v;
		if (want && !strcmp(want, (*v)->name)) {
			chosen = *v;
			return;
		}
	}
	asked = want && *want ? want : NULL;
}

const char *ls_vectors_name(void)
{
	return chosen->name;
}

ls_status ls_vectors_check(struct ls_err *err)
{
	if (asked)
		return ls_fail(err, LS_USAGE, 0, "LOCKSTEP_CPU_VECTORS='%.40s' is none of this CPU's vectors; unset it, or ask for "
			"less than '%s'", asked, chosen->name);
	return LS_OK;
}

static enum ls_fold_pair pair_of(enum ls_dtype in, enum ls_dtype out)
{
	switch (in) {
	case LS_F64:
		return LS_FOLD_F64;
	case LS_I64:
		return LS_FOLD_I64;
	case LS_I32:
		return LS_FOLD_I32;
	case LS_F16:
		return out == LS_F32 ? LS_FOLD_F16_F32 : LS_FOLD_F16;
	case LS_BF16:
		return out == LS_F32 ? LS_FOLD_BF16_F32 : LS_FOLD_BF16;
	default:
		return out == LS_F16 ? LS_FOLD_F32_F16 : out == LS_BF16 ? LS_FOLD_F32_BF16 : LS_FOLD_F32;
	}
}

static enum ls_fold_how how_of(const struct ls_reduction *r)
{
	if (r->op == LS_MIN)
		return LS_FOLD_MIN;
	if (r->op == LS_MAX)
		return LS_FOLD_MAX;
	return r->group > 1 && r->group < r->n ? LS_FOLD_SUM_BLOCKS : LS_FOLD_SUM;
}

/* What a reduction's cuts have in common. */
struct cut {
	const struct ls_reduction *r;
	ls_fold_fn fn;
	size_t step, in_bytes, out_bytes;
	const void *const *src;
};

/* Less than a step: by a copy of the sources, and of the result. */
static void fold_rest(const struct cut *c, const struct ls_fold *f, size_t at, size_t count)
{
	char pad[LS_FOLD_SOURCES][LS_FOLD_STEP_MAX] __attribute__((aligned(64))), out[LS_FOLD_STEP_MAX] __attribute__((aligned(64)));
	const void *src[LS_FOLD_SOURCES];
	void *to[1] = { out };
	struct ls_fold rest = *f;
	int k, d;

	for (k = 0; k < f->n; k++) {
		memset(pad[k], 0, c->step * c->in_bytes);
		memcpy(pad[k], (const char *)f->src[k] + at * c->in_bytes, count * c->in_bytes);
		src[k] = pad[k];
	}
	rest.src = src;
	rest.base = f->base - at;
	rest.dst = to;
	rest.n_dst = 1;
	rest.stream = rest.ahead = false;
	c->fn(&rest, 0, c->step);
	for (d = 0; f->last && d < f->n_dst; d++)
		memcpy((char *)f->dst[d] + at * c->out_bytes, out, count * c->out_bytes);
}

static void fold(const struct cut *c, const struct ls_fold *f, size_t at, size_t count)
{
	size_t whole = count - count % c->step;

	if (whole)
		c->fn(f, at, whole);
	if (count > whole)
		fold_rest(c, f, at + whole, count - whole);
}

/* One block of elements, all sources. */
static void fold_passes(const struct cut *c, struct ls_fold *f, size_t at, size_t count)
{
	char part[LS_FOLD_BLOCK * 8 + LS_FOLD_STEP_MAX], total[LS_FOLD_BLOCK * 8 + LS_FOLD_STEP_MAX];
	int n = c->r->n, group = c->r->group, from, k;

	f->part = part;
	f->total = total;
	f->base = at;
	for (from = 0; from < n; from += LS_FOLD_SOURCES) {
		f->src = c->src + from;
		f->n = n - from < LS_FOLD_SOURCES ? n - from : LS_FOLD_SOURCES;
		f->first = from == 0;
		f->last = from + f->n == n;
		f->begins = 0;
		for (k = from == 0; k < f->n; k++)
			f->begins |= (unsigned)((from + k) % group == 0) << k;
		f->has_total = from > group;
		fold(c, f, at, count);
	}
}

/* Elements before dst is aligned for streaming. */
static size_t head_of(const void *dst, size_t bytes, size_t count)
{
	size_t n = -(uintptr_t)dst % STREAM_ALIGN / bytes;

	return n < count ? n : count;
}

/* Streaming stores are not ordered with others. */
static void stores_done(bool stream)
{
#if defined(__x86_64__)
	if (stream)
		__builtin_ia32_sfence();
#else
	(void)stream;
#endif
}

static bool only_copies(const struct ls_reduction *r)
{
	return r->n == 1 && r->in == r->out && (r->op != LS_AVERAGE || r->divisor == 1);
}

void ls_reduce_with(const struct ls_vectors *v, const struct ls_reduction *r, void *const *dst, int n_dst, const void *const *src,
	size_t count, bool stream)
{
	enum ls_fold_pair pair = pair_of(r->in, r->out);
	struct cut c = { r, v->fold[pair][how_of(r)], 0, ls_dtype_size(r->in), ls_dtype_size(r->out), src };
	struct ls_fold f = { .dst = dst, .n_dst = n_dst, .divisor = r->op == LS_AVERAGE ? r->divisor : 1, .stream = stream };
	size_t head = stream ? head_of(dst[0], c.out_bytes, count) : 0, at, len;
	int d;

	if (only_copies(r)) {
		for (d = 0; d < n_dst; d++)
			if (dst[d] != src[0])
				ls_copy_with(v, dst[d], src[0], count * c.in_bytes, stream);
		return;
	}
	c.step = LS_FOLD_VECTORS * v->bytes / (c.in_bytes == 2 ? 4 : c.in_bytes);
	f.ahead = count * c.in_bytes >= AHEAD_FROM;
	for (at = 0; at < count; at += len) {
		len = at == 0 && head ? head : count - at;
		if (r->n > LS_FOLD_SOURCES && len > LS_FOLD_BLOCK)
			len = LS_FOLD_BLOCK;
		fold_passes(&c, &f, at, len);
	}
	stores_done(stream);
}

void ls_reduce(const struct ls_reduction *r, void *const *dst, int n_dst, const void *const *src, size_t count, bool stream)
{
	ls_reduce_with(chosen, r, dst, n_dst, src, count, stream);
}

void ls_copy_with(const struct ls_vectors *v, void *dst, const void *src, size_t bytes, bool stream)
{
	size_t head = -(uintptr_t)dst % STREAM_ALIGN, whole;

	if (!stream || bytes < COPY_PAST_FROM) {
		memcpy(dst, src, bytes);
		return;
	}
	whole = (bytes - head) / (LS_FOLD_VECTORS * v->bytes) * (LS_FOLD_VECTORS * v->bytes);
	memcpy(dst, src, head);
	v->copy((char *)dst + head, (const char *)src + head, whole);
	memcpy((char *)dst + head + whole, (const char *)src + head + whole, bytes - head - whole);
	stores_done(stream);
}

void ls_copy(void *dst, const void *src, size_t bytes, bool stream)
{
	ls_copy_with(chosen, dst, src, bytes, stream);
}
