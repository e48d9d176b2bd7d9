/* reduce_vectors.h -- all reductions for one kind of CPU: reduce_plain.c, reduce_avx2.c and reduce_avx512.c include it, having defined
 *
 *     VECTORS, NAME_TEXT            the table, and what it is called
 *     here()                        whether this CPU has them
 *     VECTOR_BYTES                  of a vector
 *     STREAM(p, v)                  a vec_u32 past the caches, to an aligned p
 *     SELECT(mask, yes, no)         lane by lane
 *     ANY(mask)                     whether any lane is set
 *     JOIN(low, high)               one vector of two half_u16
 *     WIDEN_F16, NARROW_F16         from half_u16 and to it, where the CPU converts F16 itself
 *
 * All else is the compiler's own vectors: one text for all, and the same rounding. 16-bit floats become f32. Where they go back to
 * the same type their order in between does not matter: the lower halves of 32-bit lanes are one vector, the upper ones the next, and
 * nothing is shuffled. */
#define INLINE inline __attribute__((always_inline))
#define EACH(r) _Pragma("GCC unroll 4") for (int r = 0; r < LS_FOLD_VECTORS; r++)
#define VECTOR __attribute__((vector_size(VECTOR_BYTES)))

typedef float vec_f32 VECTOR;
typedef double vec_f64 VECTOR;
typedef uint32_t vec_u32 VECTOR;
typedef uint64_t vec_u64 VECTOR;
typedef int32_t vec_i32 VECTOR;
typedef int64_t vec_i64 VECTOR;
typedef uint16_t half_u16 __attribute__((vector_size(VECTOR_BYTES / 2)));

static INLINE vec_u32 load_vector(const char *p)
{
	vec_u32 v;

	memcpy(&v, p, sizeof(v));
	return v;
}

#define AHEAD_BYTES 512 /* of 512, 1024 and 2048 none was worse than this one */
static INLINE void fetch(const char *p, size_t bytes)
{
	size_t i;

	for (i = 0; i < bytes; i += 64)
		__builtin_prefetch(p + AHEAD_BYTES + i);
}

/* --- 16-bit floats: one in the low half of each lane ---------------------------------------------------------------------------- */

/* To nearest even. Adding would carry a NaN over into another number: it must be PLAIN_NAN. */
static INLINE vec_u32 bf16_narrow(vec_f32 x)
{
	vec_u32 b = (vec_u32)x;

	return (b + 0x7fff + (b >> 16 & 1)) >> 16;
}

/* Hardly ever there is one, so a step asks once; infinities of both signs look like one to the question, but not to the answer. */
#define PLAIN_NAN 0x7fc00000u
static INLINE void plain_nans(vec_f32 *x)
{
	vec_f32 all = (x[0] + x[1]) + (x[2] + x[3]), same = all;

	if (__builtin_expect(ANY((vec_u32)(all != same)), 0))
		EACH(r) {
			same = x[r];
			x[r] = (vec_f32)SELECT((vec_u32)(x[r] != same), (vec_u32){ 0 } + PLAIN_NAN, (vec_u32)x[r]);
		}
}

/* Without subnormal operands: a program may have told its CPU to take those for zero. */
static INLINE vec_f32 f16_widen(vec_u32 h)
{
	const vec_u32 bias = (vec_u32){ 0 } + (112u << 23);
	vec_u32 exp = h & 0x7c00, sign = (h & 0x8000) << 16, b = ((h & 0x7fff) << 13) + bias;
	vec_u32 small = (vec_u32)((vec_f32)(b + (1u << 23)) - (vec_f32)(bias + (1u << 23)));

	b = SELECT((vec_u32)(exp == 0x7c00), b + bias, b);
	b = SELECT((vec_u32)((exp == 0x7c00) & ((h & 0x3ff) != 0)), b | 0x400000, b);
	return (vec_f32)(SELECT((vec_u32)(exp == 0), small, b) | sign);
}

/* To nearest even. Subnormal results: adding 0.5 shifts the fraction to where it belongs, and rounds. */
static INLINE vec_u32 f16_narrow(vec_f32 x)
{
	const vec_u32 half = (vec_u32)((vec_f32){ 0 } + 0.5f);
	vec_u32 sign = (vec_u32)x & 0x80000000, b = (vec_u32)x ^ sign;
	vec_u32 h = (b - (112u << 23) + 0xfff + (b >> 13 & 1)) >> 13;

	h = SELECT((vec_u32)((vec_i32)b < 113 << 23), (vec_u32)((vec_f32)b + (vec_f32)half) - half, h);
	h = SELECT((vec_u32)((vec_i32)b >= 143 << 23), (vec_u32){ 0 } + 0x7c00, h);
	h = SELECT((vec_u32)((vec_i32)b > 0x7f800000), 0x7e00 | (b >> 13 & 0x3ff), h);
	return h | sign >> 16;
}

#ifdef WIDEN_F16
#define F16_APART F16_ORDERED
#else
#define WIDEN_F16(h) f16_widen(__builtin_convertvector(h, vec_u32))
#define NARROW_F16(x) __builtin_convertvector(f16_narrow(x), half_u16)
#define F16_APART F16_HALVES
#endif

static INLINE half_u16 load_half(const char *p)
{
	half_u16 h;

	memcpy(&h, p, sizeof(h));
	return h;
}

/* --- a step in memory and in registers ------------------------------------------------------------------------------------------ */

enum form { PLAIN, F16_ORDERED, F16_HALVES, BF16_ORDERED, BF16_HALVES };

static INLINE void load(vec_u32 *acc, const char *p, enum form form)
{
	EACH(r) {
		const char *at = p + r * VECTOR_BYTES, *half_at = p + r * VECTOR_BYTES / 2, *pair_at = p + r / 2 * VECTOR_BYTES;

		if (form == PLAIN)
			acc[r] = load_vector(at);
		else if (form == F16_ORDERED)
			acc[r] = (vec_u32)WIDEN_F16(load_half(half_at));
		else if (form == BF16_ORDERED)
			acc[r] = __builtin_convertvector(load_half(half_at), vec_u32) << 16;
		else if (form == BF16_HALVES)
			acc[r] = r % 2 ? load_vector(pair_at) & 0xffff0000 : load_vector(pair_at) << 16;
		else
			acc[r] = (vec_u32)f16_widen(r % 2 ? load_vector(pair_at) >> 16 : load_vector(pair_at) & 0xffff);
	}
}

/* To memory's form, and how many vectors that are. */
static INLINE int pack(vec_u32 *out, const vec_u32 *acc, enum form form)
{
	vec_f32 x[LS_FOLD_VECTORS];

	EACH(r) {
		x[r] = (vec_f32)acc[r];
		out[r] = acc[r];
	}
	if (form == PLAIN)
		return LS_FOLD_VECTORS;
	if (form == BF16_ORDERED || form == BF16_HALVES)
		plain_nans(x);
	_Pragma("GCC unroll 2") for (int r = 0; r < LS_FOLD_VECTORS / 2; r++) {
		vec_f32 low = x[2 * r], high = x[2 * r + 1];

		if (form == F16_ORDERED)
			out[r] = JOIN(NARROW_F16(low), NARROW_F16(high));
		else if (form == F16_HALVES)
			out[r] = f16_narrow(low) | f16_narrow(high) << 16;
		else if (form == BF16_ORDERED)
			out[r] = JOIN(__builtin_convertvector(bf16_narrow(low), half_u16), __builtin_convertvector(bf16_narrow(high), half_u16));
		else
			out[r] = bf16_narrow(low) | bf16_narrow(high) << 16;
	}
	return LS_FOLD_VECTORS / 2;
}

static INLINE void store(char *p, const vec_u32 *v, int n, bool stream)
{
	int i;

	if (stream && (uintptr_t)p % VECTOR_BYTES == 0) {
		_Pragma("GCC unroll 4") for (i = 0; i < n; i++)
			STREAM(p + i * VECTOR_BYTES, v[i]);
	} else {
		_Pragma("GCC unroll 4") for (i = 0; i < n; i++)
			memcpy(p + i * VECTOR_BYTES, &v[i], sizeof(v[i]));
	}
}

static void copy_past(void *dst, const void *src, size_t bytes)
{
	char *to = dst;
	const char *from = src;
	size_t at;

	for (at = 0; at < bytes; at += LS_FOLD_VECTORS * VECTOR_BYTES) {
		vec_u32 v[LS_FOLD_VECTORS];

		fetch(from + at, sizeof(v));
		load(v, from + at, PLAIN);
		store(to + at, v, LS_FOLD_VECTORS, true);
	}
}

/* --- the types that are added up ------------------------------------------------------------------------------------------------ */

#define NAME(x) f64_##x
#define ACC double
#define ACC_V vec_f64
#define SUM_V vec_f64
#define FLOATS 1
#include "collectives/reduce_kernel.h"

#define NAME(x) f32_##x
#define ACC float
#define ACC_V vec_f32
#define SUM_V vec_f32
#define FLOATS 1
#include "collectives/reduce_kernel.h"

#define NAME(x) i64_##x
#define ACC int64_t
#define ACC_V vec_i64
#define SUM_V vec_u64
#define FLOATS 0
#include "collectives/reduce_kernel.h"

#define NAME(x) i32_##x
#define ACC int32_t
#define ACC_V vec_i32
#define SUM_V vec_u32
#define FLOATS 0
#include "collectives/reduce_kernel.h"

/* --- the table ------------------------------------------------------------------------------------------------------------------ */

#define FOLD(name, acc, how, in, out)                                                        \
	static void name(const struct ls_fold *f, size_t at, size_t count)                   \
	{                                                                                    \
		acc##_run(f, at, count, how, 0, in, out);                                    \
	}

/* The commonest of all, two sources, knows its number. */
#define FOLDS(pair, acc, in, out)                                                            \
	static void pair##_sum(const struct ls_fold *f, size_t at, size_t count)             \
	{                                                                                    \
		if (f->first && f->last && f->n == 2)                                        \
			acc##_run(f, at, count, LS_FOLD_SUM, 2, in, out);                    \
		else                                                                         \
			acc##_run(f, at, count, LS_FOLD_SUM, 0, in, out);                    \
	}                                                                                    \
	FOLD(pair##_min, acc, LS_FOLD_MIN, in, out)                                          \
	FOLD(pair##_max, acc, LS_FOLD_MAX, in, out)
#define FLOAT_FOLDS(pair, acc, in, out)                                                      \
	FOLDS(pair, acc, in, out)                                                            \
	FOLD(pair##_blocks, acc, LS_FOLD_SUM_BLOCKS, in, out)

FLOAT_FOLDS(f64, f64, PLAIN, PLAIN)
FLOAT_FOLDS(f32, f32, PLAIN, PLAIN)
FOLDS(i64, i64, PLAIN, PLAIN)
FOLDS(i32, i32, PLAIN, PLAIN)
FLOAT_FOLDS(f16, f32, F16_APART, F16_APART)
FLOAT_FOLDS(bf16, f32, BF16_HALVES, BF16_HALVES)
FLOAT_FOLDS(f16_f32, f32, F16_ORDERED, PLAIN)
FLOAT_FOLDS(bf16_f32, f32, BF16_ORDERED, PLAIN)
FLOAT_FOLDS(f32_f16, f32, PLAIN, F16_ORDERED)
FLOAT_FOLDS(f32_bf16, f32, PLAIN, BF16_ORDERED)

#define ROW(pair) { pair##_sum, pair##_blocks, pair##_min, pair##_max }
#define INT_ROW(pair) { pair##_sum, pair##_sum, pair##_min, pair##_max }

const struct ls_vectors VECTORS = {
	.name = NAME_TEXT, .bytes = VECTOR_BYTES, .here = here, .copy = copy_past,
	.fold = {
		[LS_FOLD_F64] = ROW(f64), [LS_FOLD_F32] = ROW(f32), [LS_FOLD_I64] = INT_ROW(i64), [LS_FOLD_I32] = INT_ROW(i32),
		[LS_FOLD_F16] = ROW(f16), [LS_FOLD_BF16] = ROW(bf16), [LS_FOLD_F16_F32] = ROW(f16_f32),
		[LS_FOLD_BF16_F32] = ROW(bf16_f32), [LS_FOLD_F32_F16] = ROW(f32_f16), [LS_FOLD_F32_BF16] = ROW(f32_bf16),
	},
};
