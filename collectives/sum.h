/* sum.h -- the arithmetic of every all-reduce on CPUs: one function, so that every algorithm rounds alike. */
#ifndef LS_SUM_H
#define LS_SUM_H

#include "core/safetensors.h"

#include <stddef.h>

/* dst[i] = (((src[0][i] + src[1][i]) + src[2][i]) + …) * scale for n sources, scale rounded to dtype (F32 or F64)
 * first. dst may be one of the sources; otherwise nothing overlaps. scale 1 multiplies by nothing. */
void ls_sum_in_order(void *dst, const void *const *src, int n, size_t count, enum ls_dtype dtype, double scale);

#endif
