/* coll_values.h -- what the ranks bring, and what must come of it: coll.h's rules in the plainest C, one element at a time.
 *
 * Independent of collectives/reduce.c on purpose. Elements are compared bit by bit; a NaN is as good as any other. */
#ifndef LS_TEST_COLL_VALUES_H
#define LS_TEST_COLL_VALUES_H

#include "collectives/coll.h"

#include <math.h>
#include <string.h>

static inline uint64_t mixed(uint64_t x)
{
	x += 0x9e3779b97f4a7c15u;
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
	x = (x ^ x >> 27) * 0x94d049bb133111ebu;
	return x ^ x >> 31;
}

/* The largest finite ones make sums overflow, also F16's. Few NaNs: they hide what else is wrong. */
static inline double real_value(uint64_t h)
{
	static const double scale[] = { 1, 3e4, -3e4, 1e-3, 3, -1, 6e-8 };

	if (h % 211 == 0)
		return (double[]){ NAN, INFINITY, -INFINITY, 0 }[h / 211 % 4];
	return scale[h / 256 % 7] * (1.0 + (double)(h >> 32) / 4294967296.0);
}

static inline void put_f32(void *at, enum ls_dtype d, float x) /* rounds to nearest even */
{
	uint32_t bits;
	_Float16 half = (_Float16)x;

	memcpy(&bits, &x, 4);
	if (d == LS_F16)
		memcpy(at, &half, 2);
	else if (d == LS_BF16)
		memcpy(at, &(uint16_t){ isnan(x) ? 0x7fc0 : (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16) }, 2);
	else
		memcpy(at, &x, 4);
}

static inline float get_f32(const void *at, enum ls_dtype d)
{
	uint16_t half;
	_Float16 f16;
	float x;

	memcpy(&half, at, 2);
	memcpy(&f16, at, 2);
	if (d == LS_F16)
		return (float)f16;
	if (d == LS_BF16)
		memcpy(&x, &(uint32_t){ (uint32_t)half << 16 }, 4);
	else
		memcpy(&x, at, 4);
	return x;
}

/* `count` elements of rank `rank`; `seed` tells one operation's data from another's. */
static inline void put_values(void *buf, enum ls_dtype d, size_t count, int rank, unsigned seed)
{
	size_t i, size = ls_dtype_size(d);

	for (i = 0; i < count; i++) {
		uint64_t h = mixed(i + ((uint64_t)rank << 40) + ((uint64_t)seed << 48));
		char *at = (char *)buf + i * size;

		if (d == LS_F64)
			memcpy(at, &(double){ real_value(h) }, 8);
		else if (d == LS_F32 || d == LS_F16 || d == LS_BF16)
			put_f32(at, d, (float)real_value(h));
		else
			memcpy(at, &h, size);
	}
}

#define REDUCED(name, type, add, combine)                                                                              \
	static inline type name(const type *x, int world, int group, enum ls_reduce_op op)                             \
	{                                                                                                              \
		type total = 0, block = 0;                                                                             \
		int r, first;                                                                                          \
                                                                                                                       \
		for (first = 0; first < world; first += group) {                                                       \
			block = x[first];                                                                              \
			for (r = first + 1; r < world && r < first + group; r++)                                       \
				block = op == LS_SUM || op == LS_AVERAGE ? add(block, x[r]) : combine(block, x[r], op);\
			total = first == 0 ? block                                                                     \
				: op == LS_SUM || op == LS_AVERAGE ? add(total, block) : combine(total, block, op);    \
		}                                                                                                      \
		return total;                                                                                          \
	}

#define PLUS(a, b) ((a) + (b))
#define WRAP64(a, b) ((int64_t)((uint64_t)(a) + (uint64_t)(b)))
#define CHOOSE(a, b, op) (((op) == LS_MIN) == ((a) < (b)) ? (a) : (b))
#define CHOOSE_REAL(a, b, op) (isnan(a) ? (a) : isnan(b) ? (b) : CHOOSE(a, b, op))

REDUCED(reduced_f64, double, PLUS, CHOOSE_REAL)
REDUCED(reduced_f32, float, PLUS, CHOOSE_REAL)
REDUCED(reduced_i64, int64_t, WRAP64, CHOOSE)

/* Element i of the reduction of in[0] … in[world - 1]. */
static inline void put_reduced(
	void *at, const void *const *in, size_t i, enum ls_dtype d, enum ls_reduce_op op, int world, int group)
{
	double f64[64];
	float f32[64];
	int64_t i64[64], sum;
	size_t size = ls_dtype_size(d);
	int r;

	for (r = 0; r < world; r++) {
		const char *x = (const char *)in[r] + i * size;

		if (d == LS_F64)
			memcpy(&f64[r], x, 8);
		else if (d == LS_I64)
			memcpy(&i64[r], x, 8);
		else if (d == LS_I32)
			i64[r] = *(const int32_t *)x;
		else
			f32[r] = get_f32(x, d);
	}
	if (d == LS_F64) {
		memcpy(at, &(double){ reduced_f64(f64, world, group, op) * (op == LS_AVERAGE ? 1.0 / world : 1) }, 8);
	} else if (d == LS_I64 || d == LS_I32) {
		sum = reduced_i64(i64, world, group, op);
		if (d == LS_I32)
			sum = (int32_t)(uint32_t)sum;
		sum = op == LS_AVERAGE ? sum / world : sum;
		memcpy(at, &sum, size); /* little-endian, as all that Lockstep runs on */
	} else {
		put_f32(at, d, reduced_f32(f32, world, group, op) * (op == LS_AVERAGE ? (float)(1.0 / world) : 1));
	}
}

static inline bool is_nan(const void *at, enum ls_dtype d)
{
	double f64 = 0;

	if (d == LS_F64)
		memcpy(&f64, at, 8);
	return d == LS_F64 ? isnan(f64) : (d == LS_F32 || d == LS_F16 || d == LS_BF16) && isnan(get_f32(at, d));
}

/* The first element that differs, or `count`. */
static inline size_t first_wrong(const void *got, const void *want, size_t count, enum ls_dtype d)
{
	size_t i, size = ls_dtype_size(d);

	if (!memcmp(got, want, count * size))
		return count;
	for (i = 0; i < count; i++) {
		const char *a = (const char *)got + i * size, *b = (const char *)want + i * size;

		if (memcmp(a, b, size) && !(is_nan(a, d) && is_nan(b, d)))
			break;
	}
	return i;
}

#endif
