/* launch_cuda.h -- what kernels include: one source for nvcc and, for tests on the CPU, for g++ (tests/fake/fibre_cuda.h).
 *
 *   LS_LAUNCH(kernel, grid, block, shared_bytes, stream, args...)   kernel<<<…>>>(args...). A template with commas goes in parentheses.
 *   LS_DYNAMIC_SHARED(type, name)   `type *name`: the launch's shared_bytes, 16-byte aligned.
 *
 * Static shared memory is CUDA's own `__shared__ float part[32];`. */
#ifndef LS_LAUNCH_CUDA_H
#define LS_LAUNCH_CUDA_H

#ifdef __CUDACC__
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#define LS_LAUNCH(kernel, grid, block, shared_bytes, stream, ...) kernel<<<grid, block, shared_bytes, stream>>>(__VA_ARGS__)
#define LS_DYNAMIC_SHARED(type, name)                                       \
	extern __shared__ __align__(16) unsigned char ls_dynamic_shared[];  \
	type *const name = reinterpret_cast<type *>(ls_dynamic_shared)
#elif !defined(FIBRE_CUDA_H)
#error "a kernel is compiled by nvcc, or by g++ with -include tests/fake/fibre_cuda.h"
#endif

#endif
