/* reduce_avx2.c -- vectors of 32 bytes, and the CPU's own conversion of F16: AMD since 2015, Intel since 2013. */
#if defined(__x86_64__)
#include "collectives/reduce_fold.h"

#include <immintrin.h>
#include <string.h>

#define VECTORS ls_vectors_avx2
#define NAME_TEXT "avx2"
#define VECTOR_BYTES 32
#define STREAM(p, v) _mm256_stream_si256((__m256i *)(p), (__m256i)(v))
#define SELECT(mask, yes, no) (vec_u32)_mm256_blendv_epi8((__m256i)(no), (__m256i)(yes), (__m256i)(mask))
#define ANY(mask) (_mm256_movemask_ps((__m256)(mask)) != 0)
#define JOIN(low, high) (vec_u32)_mm256_set_m128i((__m128i)(high), (__m128i)(low))
#define WIDEN_F16(h) (vec_f32)_mm256_cvtph_ps((__m128i)(h))
#define NARROW_F16(x) (half_u16)_mm256_cvtps_ph((__m256)(x), _MM_FROUND_TO_NEAREST_INT)

static bool here(void)
{
	return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("f16c");
}

#pragma GCC target("avx2,f16c")
#include "collectives/reduce_vectors.h"
#endif
