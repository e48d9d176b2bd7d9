/* fragments_cuda.cuh -- bf16 and the tensor cores' fragments, one function for each instruction, each with a plain version for CPUs.
 *
 * bf16 is kept as its 16 bits, so that nvcc and a C++ compiler see the same types. The plain versions follow the layouts in the PTX
 * manual ("Matrix fragments for mma.m16n8k16", "ldmatrix"), so that tests on a CPU find a wrong index in a kernel; they say nothing about
 * speed, nor about a missing cp_async_wait: there a copy is done at once.
 *
 * Of mma.m16n8k16 with g = lane / 4, t = lane % 4 (two values in each register of A and B, the lower column or row in the lower half):
 *     A 16x16   a0: row g, columns 2t..   a1: row g+8   a2: row g, columns 2t+8..   a3: row g+8, columns 2t+8..
 *     B 16x8    b0: column g, rows 2t..   b1: column g, rows 2t+8..
 *     D 16x8    d0, d1: row g, columns 2t, 2t+1   d2, d3: row g+8 */
#ifndef GPT_FRAGMENTS_CUDA_CUH
#define GPT_FRAGMENTS_CUDA_CUH

#include "collectives/launch_cuda.h"
#include "kernels_cuda.h"

static __device__ inline float bf16_float(bf16 v)
{
	return __uint_as_float((uint32_t)v << 16);
}

#ifdef __CUDACC__

static __device__ inline uint32_t bf16_pair(float low, float high)
{
	uint32_t r;

	asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
	return r;
}

static __device__ inline float exp2_approx(float x)
{
	float r;

	asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(x));
	return r;
}

static __device__ inline void mma_16816(float d[4], const uint32_t a[4], const uint32_t b[2])
{
	asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
		: "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
		: "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

static __device__ inline void ldmatrix_x4(uint32_t r[4], const bf16 *row)
{
	asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
		: "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"((uint32_t)__cvta_generic_to_shared(row)) : "memory");
}

static __device__ inline void ldmatrix_x4_trans(uint32_t r[4], const bf16 *row)
{
	asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
		: "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"((uint32_t)__cvta_generic_to_shared(row)) : "memory");
}

/* 16 bytes, past the registers. There is none: zeros, and `from` is not read. */
static __device__ inline void cp_async16(bf16 *to, const bf16 *from, bool there)
{
	asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
		:: "r"((uint32_t)__cvta_generic_to_shared(to)), "l"(from), "r"(there ? 16 : 0) : "memory");
}

static __device__ inline void cp_async_commit(void)
{
	asm volatile("cp.async.commit_group;" ::: "memory");
}

/* All of this thread's groups but the newest PENDING are there; the other threads' only after a __syncthreads. */
template<int PENDING> static __device__ inline void cp_async_wait(void)
{
	asm volatile("cp.async.wait_group %0;" :: "n"(PENDING) : "memory");
}

#else

static inline uint32_t bf16_bits(float f)
{
	uint32_t u = __float_as_uint(f);

	return f != f ? 0x7fff : (u + 0x7fff + (u >> 16 & 1)) >> 16;
}

static inline uint32_t bf16_pair(float low, float high)
{
	return bf16_bits(low) | bf16_bits(high) << 16;
}

static inline float exp2_approx(float x)
{
	return exp2f(x);
}

struct gpt_warp { /* what the lanes of a warp show one another */
	uint32_t a[32][4], b[32][2];
	const bf16 *rows[32];
};

static inline struct gpt_warp *gpt_this_warp(void)
{
	static struct gpt_warp warps[32];

	return &warps[threadIdx.x / 32];
}

static inline float fragment_half(uint32_t pair, int which)
{
	return bf16_float((bf16)(pair >> 16 * which));
}

static inline void mma_16816(float d[4], const uint32_t a[4], const uint32_t b[2])
{
	struct gpt_warp *w = gpt_this_warp();
	int lane = threadIdx.x % 32, i, k;

	for (i = 0; i < 4; i++)
		w->a[lane][i] = a[i];
	for (i = 0; i < 2; i++)
		w->b[lane][i] = b[i];
	__syncwarp();
	for (i = 0; i < 4; i++) {
		int row = lane / 4 + i / 2 * 8, column = lane % 4 * 2 + i % 2;

		for (k = 0; k < 16; k++)
			d[i] += fragment_half(w->a[row % 8 * 4 + k % 8 / 2][row / 8 + k / 8 * 2], k % 2) *
				fragment_half(w->b[column * 4 + k % 8 / 2][k / 8], k % 2);
	}
	__syncwarp();
}

static inline void ldmatrix_any(uint32_t r[4], const bf16 *row, bool trans)
{
	struct gpt_warp *w = gpt_this_warp();
	int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4 * 2, j;

	w->rows[lane] = row;
	__syncwarp();
	for (j = 0; j < 4; j++) {
		const bf16 **m = w->rows + 8 * j;

		r[j] = trans ? m[t][g] | (uint32_t)m[t + 1][g] << 16 : m[g][t] | (uint32_t)m[g][t + 1] << 16;
	}
	__syncwarp();
}

static inline void ldmatrix_x4(uint32_t r[4], const bf16 *row)
{
	ldmatrix_any(r, row, false);
}

static inline void ldmatrix_x4_trans(uint32_t r[4], const bf16 *row)
{
	ldmatrix_any(r, row, true);
}

static inline void cp_async16(bf16 *to, const bf16 *from, bool there)
{
	int i;

	for (i = 0; i < 8; i++)
		to[i] = there ? from[i] : 0;
}

static inline void cp_async_commit(void)
{
}

template<int PENDING> static inline void cp_async_wait(void)
{
}

#endif

struct gpt_eight { float v[8]; };

/* Eight values at a multiple of 16 bytes. */
static __device__ inline struct gpt_eight load8(const bf16 *p)
{
	uint4 u = *(const uint4 *)p;

	return { {
		__uint_as_float(u.x << 16), __uint_as_float(u.x & 0xffff0000u),
		__uint_as_float(u.y << 16), __uint_as_float(u.y & 0xffff0000u),
		__uint_as_float(u.z << 16), __uint_as_float(u.z & 0xffff0000u),
		__uint_as_float(u.w << 16), __uint_as_float(u.w & 0xffff0000u),
	} };
}

static __device__ inline void store8(bf16 *p, const float *v)
{
	*(uint4 *)p = make_uint4(bf16_pair(v[0], v[1]), bf16_pair(v[2], v[3]), bf16_pair(v[4], v[5]), bf16_pair(v[6], v[7]));
}

static __device__ inline struct gpt_eight load8(const float *p)
{
	float4 a = ((const float4 *)p)[0], b = ((const float4 *)p)[1];

	return { { a.x, a.y, a.z, a.w, b.x, b.y, b.z, b.w } };
}

static __device__ inline void store8(float *p, const float *v)
{
	((float4 *)p)[0] = make_float4(v[0], v[1], v[2], v[3]);
	((float4 *)p)[1] = make_float4(v[4], v[5], v[6], v[7]);
}

/* In every lane, with the same bits. */
static __device__ inline float warp_sum(float v)
{
	int i;

	for (i = 16; i > 0; i /= 2)
		v += __shfl_xor_sync(0xffffffffu, v, i);
	return v;
}

#endif
