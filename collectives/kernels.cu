/* kernels.cu -- see kernels_cuda.h: pack and unpack of a bucket, for every pair of F16, BF16, F32 and F64.
 *
 * A block takes chunks in turn, grid's stride apart, so that a launch has as many blocks as the GPU holds at once, whatever the bucket's
 * size. Inside a chunk a thread moves vectors of V elements, as many as 16 bytes hold of the narrower type, and has UNROLL of them under
 * way before it stores the first.
 *
 * Each kernel's name is ls_pack_IN_WIRE or ls_unpack_IN_WIRE, in lower case: "ls_pack_f32_bf16". */
#include "collectives/kernels_cuda.h"
#include "collectives/launch_cuda.h"

namespace {

enum { UNROLL = 4 };

/* The type of the product. */
template <class A, class B> struct product { typedef float type; };
template <class B> struct product<double, B> { typedef double type; };
template <class A> struct product<A, double> { typedef double type; };
template <> struct product<double, double> { typedef double type; };

template <class C, class T> __device__ __forceinline__ C widen(T x)
{
	return static_cast<C>(static_cast<float>(x));
}
template <> __device__ __forceinline__ double widen<double, double>(double x)
{
	return x;
}

template <class T> __device__ __forceinline__ T narrow(float x);
template <class T> __device__ __forceinline__ T narrow(double x);
template <> __device__ __forceinline__ float narrow<float>(float x) { return x; }
template <> __device__ __forceinline__ float narrow<float>(double x) { return __double2float_rn(x); }
template <> __device__ __forceinline__ double narrow<double>(double x) { return x; }
template <> __device__ __forceinline__ __half narrow<__half>(float x) { return __float2half_rn(x); }
template <> __device__ __forceinline__ __half narrow<__half>(double x) { return __double2half(x); }
template <> __device__ __forceinline__ __nv_bfloat16 narrow<__nv_bfloat16>(float x) { return __float2bfloat16_rn(x); }
template <> __device__ __forceinline__ __nv_bfloat16 narrow<__nv_bfloat16>(double x) { return __double2bfloat16(x); }

/* V elements, read and written 16 bytes at a time. */
template <class T, int V> struct vector {
	enum { WORDS = V * sizeof(T) / sizeof(uint4) };
	uint4 words[WORDS];

	__device__ __forceinline__ void load(const T *at)
	{
		for (int i = 0; i < WORDS; i++)
			words[i] = reinterpret_cast<const uint4 *>(at)[i];
	}
	__device__ __forceinline__ void store(T *at) const
	{
		for (int i = 0; i < WORDS; i++)
			reinterpret_cast<uint4 *>(at)[i] = words[i];
	}
};

template <class From, class To> __device__ __forceinline__ To scaled(From x, typename product<From, To>::type scale)
{
	typedef typename product<From, To>::type C;

	return narrow<To>(static_cast<C>(widen<C>(x) * scale));
}

template <class From, class To, int V>
__device__ __forceinline__ void scale_vector(const vector<From, V> &from, vector<To, V> *to, typename product<From, To>::type scale)
{
	From x[V];
	To y[V];

	memcpy(x, from.words, sizeof(x));
	for (int i = 0; i < V; i++)
		y[i] = scaled<From, To>(x[i], scale);
	memcpy(to->words, y, sizeof(y));
}

__device__ __forceinline__ bool aligned(const void *a, const void *b)
{
	return ((reinterpret_cast<uintptr_t>(a) | reinterpret_cast<uintptr_t>(b)) & (sizeof(uint4) - 1)) == 0;
}

/* All threads of the block: to[i] = from[i] x scale. */
template <class From, class To> __device__ __forceinline__ void move(const From *from, To *to, unsigned count, double by)
{
	constexpr int V = sizeof(uint4) / (sizeof(From) < sizeof(To) ? sizeof(From) : sizeof(To));
	const typename product<From, To>::type scale = static_cast<typename product<From, To>::type>(by);
	const unsigned vectors = aligned(from, to) ? count / V : 0;

	for (unsigned first = threadIdx.x; first < vectors; first += UNROLL * LS_PACK_THREADS) {
		vector<From, V> in[UNROLL];
		vector<To, V> out;

#pragma unroll
		for (int u = 0; u < UNROLL; u++)
			if (first + u * LS_PACK_THREADS < vectors)
				in[u].load(from + (first + u * LS_PACK_THREADS) * V);
#pragma unroll
		for (int u = 0; u < UNROLL; u++)
			if (first + u * LS_PACK_THREADS < vectors) {
				scale_vector<From, To, V>(in[u], &out, scale);
				out.store(to + (first + u * LS_PACK_THREADS) * V);
			}
	}
	for (unsigned i = vectors * V + threadIdx.x; i < count; i += LS_PACK_THREADS)
		to[i] = scaled<From, To>(from[i], scale);
}

} // namespace

#define KERNELS(IN, in_name, WIRE, wire_name)                                                                                              \
	extern "C" __global__ void __launch_bounds__(LS_PACK_THREADS) ls_pack_##in_name##_##wire_name(ls_pack_args a)                      \
	{                                                                                                                                  \
		for (unsigned k = blockIdx.x; k < a.n; k += gridDim.x)                                                                     \
			move(static_cast<const IN *>(a.chunks[k].at), static_cast<WIRE *>(a.wire) + a.chunks[k].offset,                    \
				static_cast<unsigned>(a.chunks[k].count), a.scale);                                                        \
	}                                                                                                                                  \
	extern "C" __global__ void __launch_bounds__(LS_PACK_THREADS) ls_unpack_##in_name##_##wire_name(ls_pack_args a)                    \
	{                                                                                                                                  \
		for (unsigned k = blockIdx.x; k < a.n; k += gridDim.x)                                                                     \
			move(static_cast<const WIRE *>(a.wire) + a.chunks[k].offset, static_cast<IN *>(a.chunks[k].at),                    \
				static_cast<unsigned>(a.chunks[k].count), a.scale);                                                        \
	}
#define KERNELS_OF(IN, in_name)                         \
	KERNELS(IN, in_name, __half, f16)               \
	KERNELS(IN, in_name, __nv_bfloat16, bf16)       \
	KERNELS(IN, in_name, float, f32)                \
	KERNELS(IN, in_name, double, f64)

KERNELS_OF(__half, f16)
KERNELS_OF(__nv_bfloat16, bf16)
KERNELS_OF(float, f32)
KERNELS_OF(double, f64)
