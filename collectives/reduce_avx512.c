/* reduce_avx512.c -- vectors of 64 bytes: Intel's servers since 2017, AMD since 2022. */
#if defined(__x86_64__)
#include "collectives/reduce_fold.h"

#include <immintrin.h>
#include <string.h>

#define VECTORS ls_vectors_avx512
#define NAME_TEXT "avx512"
#define VECTOR_BYTES 64
#define STREAM(p, v) _mm512_stream_si512((__m512i *)(p), (__m512i)(v))
#define SELECT(mask, yes, no) (vec_u32)_mm512_ternarylogic_epi32((__m512i)(mask), (__m512i)(yes), (__m512i)(no), 0xca)
#define ANY(mask) (_mm512_test_epi32_mask((__m512i)(mask), (__m512i)(mask)) != 0)
#define JOIN(low, high) (vec_u32)_mm512_inserti64x4(_mm512_castsi256_si512((__m256i)(low)), (__m256i)(high), 1)
#define WIDEN_F16(h) (vec_f32)_mm512_cvtph_ps((__m256i)(h))
#define NARROW_F16(x) (half_u16)_mm512_cvtps_ph((__m512)(x), _MM_FROUND_TO_NEAREST_INT)

static bool here(void)
{
	return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
}

#pragma GCC target("avx512f,avx512bw,avx512vl,prefer-vector-width=512")
#include "collectives/reduce_vectors.h"
#endif
