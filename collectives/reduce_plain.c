/* reduce_plain.c -- vectors of 16 bytes, which every 64-bit CPU has: SSE2, NEON. */
#include "collectives/reduce_fold.h"

#include <string.h>

#if defined(__x86_64__)
#include <emmintrin.h>
#define NAME_TEXT "sse2"
#define ANY(mask) (_mm_movemask_epi8((__m128i)(mask)) != 0)
#define STREAM(p, v) _mm_stream_si128((__m128i *)(p), (__m128i)(v))
#elif defined(__aarch64__)
#define NAME_TEXT "neon"
#else
#define NAME_TEXT "portable"
#endif
#ifndef STREAM /* there is no such store that the compiler knows of */
#define STREAM(p, v) memcpy(p, &(v), sizeof(v))
#endif

#ifndef ANY
#define ANY(mask) ((((vec_u64)(mask))[0] | ((vec_u64)(mask))[1]) != 0)
#endif
#define SELECT(mask, yes, no) (((mask) & (yes)) | (~(mask) & (no)))
#define JOIN(low, high) (vec_u32)(vec_u64){ (uint64_t)(low), (uint64_t)(high) }

#define VECTORS ls_vectors_plain
#define VECTOR_BYTES 16

static bool here(void)
{
	return true;
}

#include "collectives/reduce_vectors.h"
