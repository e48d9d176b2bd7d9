/* kernels_cuda.h -- the fused kernels of a bucket in GPU memory: many tensors into one contiguous buffer, and back, in one launch each.
 *
 *     pack     wire[offset + i]  = cast(tensor[i] x scale)
 *     unpack   tensor[i]         = cast(wire[offset + i] x scale)
 *
 * Tensors and wire are each of one type: F16, BF16, F32 or F64; all pairs. The product is made in F64 if either is, else in F32, and
 * rounded once, to nearest even. NaN stays NaN, denormals are kept; a scale of 1 changes nothing.
 *
 *   Plan       made once for a bucket: it assigns the offsets and keeps the table of chunks in GPU memory. Between tensors the wire has gaps
 *              of less than 16 bytes, so that each begins aligned: pack never writes them (memory of ls_cuda_alloc has zeros there).
 *   Speed      16-byte accesses where a tensor is 16-byte aligned; others go element by element.
 *   Threads    a plan may be used by any thread; the launches are asynchronous, in `stream`.
 *   Errors     as api_cuda.h; LS_USAGE for a type that is no float. */
#ifndef LS_KERNELS_CUDA_H
#define LS_KERNELS_CUDA_H

#include <stddef.h>
#include <stdint.h>

/* What the kernels read: a run of elements of one tensor. */
struct ls_pack_chunk {
	void *at;                /* in GPU memory */
	uint64_t offset;         /* of the run's first element in the wire */
	uint64_t count;          /* 1 .. LS_PACK_CHUNK */
};
struct ls_pack_args {
	const struct ls_pack_chunk *chunks;
	void *wire;
	double scale;
	uint32_t n;              /* chunks */
};
#define LS_PACK_CHUNK 8192       /* elements; a multiple of every vector's */
#define LS_PACK_THREADS 256

#ifndef __cplusplus
#include "core/safetensors.h"
#include "core/status.h"

struct ls_cuda_tensor {
	void *at;
	size_t count;            /* elements; 0 is fine */
	size_t offset;           /* set by ls_cuda_plan_make: elements from the wire's begin */
};
struct ls_cuda_plan;             /* opaque */

ls_status ls_cuda_plan_make(struct ls_cuda_tensor *t, size_t n, enum ls_dtype tensors, enum ls_dtype wire, struct ls_cuda_plan **ret,
	struct ls_err *err);
void ls_cuda_plan_free(struct ls_cuda_plan *p); /* NULL is fine; no launch of it may be unfinished */
size_t ls_cuda_plan_count(const struct ls_cuda_plan *p); /* elements of the wire, gaps included */

ls_status ls_cuda_pack(const struct ls_cuda_plan *p, void *wire, double scale, void *stream, struct ls_err *err);
ls_status ls_cuda_unpack(const struct ls_cuda_plan *p, const void *wire, double scale, void *stream, struct ls_err *err);
#endif

#endif
