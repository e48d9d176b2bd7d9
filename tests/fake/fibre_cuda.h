/* fibre_cuda.h -- CUDA kernels as C++17 on the CPU: each thread of a block is a fibre, blocks run one after the other.
 *
 *     g++ -std=c++17 -I. -include tests/fake/fibre_cuda.h -x c++ -c kernels.cu;  link with tests/fake/fibre_cuda.cc
 *
 * It tests a kernel's logic: indices, barriers, shuffles, bounds (under SAN=address), undefined behaviour. It says nothing about speed,
 * and little about races: run with FIBRE_ORDER=reverse, or FIBRE_ORDER=NUMBER (a seed), threads and blocks come in another order; with
 * FIBRE_ORDER=alone a warp runs until a barrier stops it, then the next: a missing barrier shows as another result. Dynamic shared memory begins as NaNs in every block.
 *
 * Stricter than a GPU, by a message and abort(): threads that wait at different barriers, a barrier that some thread never reaches because
 * it has ended, a shuffle from a lane that takes no part. Not here: textures, asm, cp.async, mma, cooperative groups, a grid's barrier.
 *
 *   Threads    launches of several host threads come one after the other (a lock); a launch returns when the kernel has ended. */
#ifndef FIBRE_CUDA_H
#define FIBRE_CUDA_H

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <tuple>
#include <utility>

#define __host__
#define __device__
#define __global__
#define __shared__ static
#define __constant__ static
#define __grid_constant__
#define __launch_bounds__(...)
#define __forceinline__ inline
#define __align__(n) __attribute__((aligned(n)))

#include "tests/fake/fibre_types_cuda.h"

struct dim3 {
	unsigned x, y, z;
	constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};

inline uint3 threadIdx, blockIdx;
inline dim3 blockDim, gridDim;
inline constexpr int warpSize = 32;

namespace fibre {

struct site { const char *file; int line; };

void launch(const char *name, dim3 grid, dim3 block, size_t shared_bytes, const std::function<void()> &thread);
void *shared();                                         /* the block's dynamic shared memory */
int barrier(int vote, site at);                         /* returns the sum of all threads' votes */
void warp(unsigned mask, const void *in, size_t bytes, site at); /* waits for the mask's lanes; then lane() gives what each brought */
const void *lane(unsigned mask, unsigned lane, site at);
unsigned own_lane();

/* A kernel with the arguments that cuLaunchKernel takes: args[i] points to the i-th. They are copied now; launch() runs it later. */
template <class... A, size_t... I> std::function<void()> bound(void (*kernel)(A...), void **args, std::index_sequence<I...>)
{
	(void)args;
	return [kernel, all = std::tuple<A...>(*static_cast<A *>(args[I])...)] { std::apply(kernel, all); };
}
template <class... A> std::function<void()> bound(void (*kernel)(A...), void **args)
{
	return bound(kernel, args, std::index_sequence_for<A...>());
}

template <class T> T shuffle(unsigned mask, T v, int from, site at)
{
	static_assert(sizeof(T) <= 16, "a shuffle carries at most 16 bytes");
	warp(mask, &v, sizeof(v), at);
	memcpy(static_cast<void *>(&v), lane(mask, static_cast<unsigned>(from), at), sizeof(v));
	return v;
}

} // namespace fibre

#define LS_LAUNCH(kernel, grid, block, shared_bytes, stream, ...) \
	((void)(stream), fibre::launch(#kernel, grid, block, shared_bytes, [&] { kernel(__VA_ARGS__); }))
#define LS_DYNAMIC_SHARED(type, name) type *const name = static_cast<type *>(fibre::shared())

/* --- barriers and warps: the caller's line is in every message ---------------------------------------------------------------- */

#define FIBRE_SITE const char *file = __builtin_FILE(), int line = __builtin_LINE()

inline void __syncthreads(FIBRE_SITE) { fibre::barrier(0, { file, line }); }
inline int __syncthreads_count(int p, FIBRE_SITE) { return fibre::barrier(p != 0, { file, line }); }
inline int __syncthreads_or(int p, FIBRE_SITE) { return fibre::barrier(p != 0, { file, line }) != 0; }
inline int __syncthreads_and(int p, FIBRE_SITE) { return fibre::barrier(p == 0, { file, line }) == 0; }
inline void __syncwarp(unsigned mask = ~0u, FIBRE_SITE) { fibre::warp(mask, "", 0, { file, line }); }

/* Lanes outside the segment of `width` leave a thread with its own value, as on a GPU. */
template <class T> T __shfl_sync(unsigned mask, T v, int from, int width = 32, FIBRE_SITE)
{
	return fibre::shuffle(mask, v, static_cast<int>(fibre::own_lane() & ~(width - 1u)) | (from & (width - 1)), { file, line });
}
template <class T> T __shfl_xor_sync(unsigned mask, T v, int bits, int width = 32, FIBRE_SITE)
{
	int own = static_cast<int>(fibre::own_lane()), from = own ^ bits;

	return fibre::shuffle(mask, v, from > (own | (width - 1)) ? own : from, { file, line });
}
template <class T> T __shfl_down_sync(unsigned mask, T v, unsigned by, int width = 32, FIBRE_SITE)
{
	int own = static_cast<int>(fibre::own_lane()), from = own + static_cast<int>(by);

	return fibre::shuffle(mask, v, from > (own | (width - 1)) ? own : from, { file, line });
}
template <class T> T __shfl_up_sync(unsigned mask, T v, unsigned by, int width = 32, FIBRE_SITE)
{
	int own = static_cast<int>(fibre::own_lane()), from = own - static_cast<int>(by);

	return fibre::shuffle(mask, v, from < (own & ~(width - 1)) ? own : from, { file, line });
}
inline unsigned __ballot_sync(unsigned mask, int p, FIBRE_SITE)
{
	unsigned char yes = p != 0;
	unsigned i, all = 0;

	fibre::warp(mask, &yes, 1, { file, line });
	for (i = 0; i < 32; i++)
		if (mask >> i & 1 && *static_cast<const unsigned char *>(fibre::lane(0, i, { file, line })))
			all |= 1u << i;
	return all;
}
inline int __any_sync(unsigned mask, int p, FIBRE_SITE) { return __ballot_sync(mask, p, file, line) != 0; }
inline int __all_sync(unsigned mask, int p, FIBRE_SITE) { return __ballot_sync(mask, p == 0, file, line) == 0; }

inline void __threadfence() {}
inline void __threadfence_block() {}
inline void __threadfence_system() {}
[[noreturn]] inline void __trap() { abort(); }

/* --- atomics: one fibre runs at a time ---------------------------------------------------------------------------------------- */

#define FIBRE_ATOMIC(name, value)                                                    \
	template <class T> T name(T *at, std::common_type_t<T> v)                    \
	{                                                                            \
		T old = *at;                                                         \
                                                                                     \
		*at = value;                                                         \
		return old;                                                          \
	}
FIBRE_ATOMIC(atomicAdd, old + v)
FIBRE_ATOMIC(atomicSub, old - v)
FIBRE_ATOMIC(atomicExch, v)
FIBRE_ATOMIC(atomicMin, v < old ? v : old)
FIBRE_ATOMIC(atomicMax, old < v ? v : old)
FIBRE_ATOMIC(atomicAnd, old & v)
FIBRE_ATOMIC(atomicOr, old | v)
FIBRE_ATOMIC(atomicXor, old ^ v)
template <class T> T atomicCAS(T *at, std::common_type_t<T> seen, std::common_type_t<T> v)
{
	T old = *at;

	if (old == seen)
		*at = v;
	return old;
}
inline unsigned atomicInc(unsigned *at, unsigned last)
{
	unsigned old = *at;

	*at = old >= last ? 0 : old + 1;
	return old;
}

#endif
