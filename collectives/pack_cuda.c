/* pack_cuda.c -- see kernels_cuda.h: cuts tensors into chunks, and starts kernels.cu's kernels. */
#include "collectives/kernels_cuda.h"
#include "collectives/api_cuda.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

enum { ALIGN = 16, BLOCKS_PER_SM = 2048 / LS_PACK_THREADS }; /* bytes of a vector; as many threads as an SM holds */

struct ls_cuda_plan {
	struct ls_pack_chunk *chunks; /* in GPU memory */
	uint32_t n;
	size_t count;
	unsigned blocks;
	char pack[32], unpack[32];    /* the kernels' names */
};

/* "ls_pack_f32_bf16" */
static void kernel_name(const char *verb, enum ls_dtype tensors, enum ls_dtype wire, char *ret, size_t bytes)
{
	snprintf(ret, bytes, "ls_%s_%s_%s", verb, ls_dtype_name(tensors), ls_dtype_name(wire));
	for (; *ret; ret++)
		*ret = (char)tolower((unsigned char)*ret);
}

static bool is_float(enum ls_dtype d)
{
	return d == LS_F64 || d == LS_F32 || d == LS_F16 || d == LS_BF16;
}

/* Returns the wire's elements, and sets offsets. */
static size_t lay_out(struct ls_cuda_tensor *t, size_t n, size_t elem, size_t *ret_chunks)
{
	const size_t step = ALIGN / elem;
	size_t i, at = 0;

	*ret_chunks = 0;
	for (i = 0; i < n; i++) {
		t[i].offset = at;
		at += (t[i].count + step - 1) / step * step;
		*ret_chunks += (t[i].count + LS_PACK_CHUNK - 1) / LS_PACK_CHUNK;
	}
	return at;
}

static void cut(const struct ls_cuda_tensor *t, size_t n, size_t elem, struct ls_pack_chunk *chunk)
{
	size_t i, at;

	for (i = 0; i < n; i++)
		for (at = 0; at < t[i].count; at += LS_PACK_CHUNK)
			*chunk++ = (struct ls_pack_chunk){ .at = (char *)t[i].at + at * elem, .offset = t[i].offset + at,
				.count = t[i].count - at < LS_PACK_CHUNK ? t[i].count - at : LS_PACK_CHUNK };
}

static ls_status upload(struct ls_cuda_plan *p, const struct ls_pack_chunk *chunks, struct ls_err *err)
{
	ls_status st = ls_cuda_alloc(p->n * sizeof(*chunks), (void **)&p->chunks, err);

	return st ? st : ls_cuda_copy(p->chunks, chunks, p->n * sizeof(*chunks), NULL, err);
}

/* The driver loads a kernel when it is first started, and may wait for all that runs on the GPU to do so: also for one of NCCL's that waits for
 * other ranks. So both are started here once, with no chunks.
 * https://docs.nvidia.com/cuda/cuda-programming-guide/04-special-topics/lazy-loading.html ("Potential Hazards") */
static ls_status load(const char *kernel, struct ls_err *err)
{
	struct ls_pack_args none = { .n = 0 };

	return ls_cuda_launch(kernel, (struct ls_cuda_grid){ .blocks = 1, .threads = LS_PACK_THREADS }, (void *[]){ &none }, NULL, err);
}

ls_status ls_cuda_plan_make(struct ls_cuda_tensor *t, size_t n, enum ls_dtype tensors, enum ls_dtype wire, struct ls_cuda_plan **ret,
	struct ls_err *err)
{
	struct ls_pack_chunk *chunks = NULL;
	struct ls_cuda_plan *p = NULL;
	struct ls_cuda_device gpu;
	size_t n_chunks;
	ls_status st;

	if (!is_float(tensors) || !is_float(wire))
		return ls_fail(err, LS_USAGE, 0, "the pack kernel takes F16, BF16, F32 and F64, not %s to %s", ls_dtype_name(tensors),
			ls_dtype_name(wire));
	st = ls_cuda_device(&gpu, err);
	if (st)
		return st;
	p = calloc(1, sizeof(*p));
	if (!p)
		return ls_fail_oom(err);
	p->count = lay_out(t, n, ls_dtype_size(wire), &n_chunks);
	p->n = (uint32_t)n_chunks;
	p->blocks = p->n < (unsigned)gpu.sms * BLOCKS_PER_SM ? p->n : (unsigned)gpu.sms * BLOCKS_PER_SM;
	kernel_name("pack", tensors, wire, p->pack, sizeof(p->pack));
	kernel_name("unpack", tensors, wire, p->unpack, sizeof(p->unpack));
	if (n_chunks != p->n)
		st = ls_fail(err, LS_USAGE, 0, "a bucket of %zu elements is too large", p->count);
	if (!st && p->n) {
		chunks = calloc(p->n, sizeof(*chunks));
		if (chunks)
			cut(t, n, ls_dtype_size(tensors), chunks);
		st = chunks ? upload(p, chunks, err) : ls_fail_oom(err);
		st = st ? st : load(p->pack, err);
		st = st ? st : load(p->unpack, err);
		st = st ? st : ls_cuda_stream_sync(NULL, err);
	}
	free(chunks);
	if (st)
		ls_cuda_plan_free(p);
	else
		*ret = p;
	return st;
}

void ls_cuda_plan_free(struct ls_cuda_plan *p)
{
	if (p)
		ls_cuda_free(p->chunks);
	free(p);
}

size_t ls_cuda_plan_count(const struct ls_cuda_plan *p)
{
	return p->count;
}

static ls_status launch(const struct ls_cuda_plan *p, const char *kernel, void *wire, double scale, void *stream, struct ls_err *err)
{
	struct ls_pack_args a = { .chunks = p->chunks, .wire = wire, .scale = scale, .n = p->n };
	struct ls_cuda_grid grid = { .blocks = p->blocks, .threads = LS_PACK_THREADS };
	void *args[] = { &a };

	return p->n ? ls_cuda_launch(kernel, grid, args, stream, err) : LS_OK;
}

ls_status ls_cuda_pack(const struct ls_cuda_plan *p, void *wire, double scale, void *stream, struct ls_err *err)
{
	return launch(p, p->pack, wire, scale, stream, err);
}

ls_status ls_cuda_unpack(const struct ls_cuda_plan *p, const void *wire, double scale, void *stream, struct ls_err *err)
{
	return launch(p, p->unpack, (void *)(uintptr_t)wire, scale, stream, err);
}
