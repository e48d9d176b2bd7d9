/* sum.c -- see sum.h.
 *
 * Vectors of 16 bytes, which every 64-bit CPU adds at once: lanes are different elements, so the order of the
 * additions of one element, and with it every bit, is that of the plain loop. Blocks keep the running sum in the
 * first-level cache while the sources stream by. */
#include "collectives/sum.h"

#include <string.h>

#define BLOCK_BYTES 4096

/* SUM(suffix, type): block sums and the function for one type. The unaligned vector type lets a bucket start
 * anywhere. */
#define SUM(suffix, type)                                                                                              \
	typedef type vec_##suffix __attribute__((vector_size(16), aligned(sizeof(type)), may_alias));                  \
                                                                                                                       \
	/* acc = (a + b) * scale */                                                                                    \
	static void add_##suffix(type *acc, const type *a, const type *b, size_t n, type scale)                        \
	{                                                                                                              \
		size_t i = 0, lanes = 16 / sizeof(type);                                                               \
                                                                                                                       \
		for (; i + lanes <= n; i += lanes)                                                                     \
			*(vec_##suffix *)(acc + i) =                                                                   \
				(*(const vec_##suffix *)(a + i) + *(const vec_##suffix *)(b + i)) * scale;             \
		for (; i < n; i++)                                                                                     \
			acc[i] = (a[i] + b[i]) * scale;                                                                \
	}                                                                                                              \
                                                                                                                       \
	static void sum_##suffix(type *dst, const void *const *src, int n, size_t count, type scale)                   \
	{                                                                                                              \
		type acc[BLOCK_BYTES / sizeof(type)];                                                                  \
		size_t at, len;                                                                                        \
		int k;                                                                                                 \
                                                                                                                       \
		for (at = 0; at < count; at += len) {                                                                  \
			const type *sum = (const type *)src[0] + at;                                                   \
                                                                                                                       \
			len = count - at < BLOCK_BYTES / sizeof(type) ? count - at : BLOCK_BYTES / sizeof(type);       \
			for (k = 1; k < n - 1; k++, sum = acc)                                                         \
				add_##suffix(acc, sum, (const type *)src[k] + at, len, 1);                             \
			add_##suffix(dst + at, sum, (const type *)src[n - 1] + at, len, scale);                        \
		}                                                                                                      \
	}

SUM(f32, float)
SUM(f64, double)

void ls_sum_in_order(void *dst, const void *const *src, int n, size_t count, enum ls_dtype dtype, double scale)
{
	if (n == 1) {
		if (dst != src[0])
			memmove(dst, src[0], count * ls_dtype_size(dtype));
	} else if (dtype == LS_F32) {
		sum_f32(dst, src, n, count, (float)scale);
	} else {
		sum_f64(dst, src, n, count, scale);
	}
}
