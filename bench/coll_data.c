/* coll_data.c -- see coll_data.h. */
#include "bench/coll_data.h"

#include <math.h>
#include <string.h>

enum { STRIDE = 17 };

size_t coll_dtype_size(enum coll_dtype d)
{
	static const size_t sizes[] = {
#define X(code, name, bytes) bytes,
		COLL_DTYPE_TABLE(X)
#undef X
	};

	return sizes[d];
}

static int value(int j, int rank)
{
	return (int)(((uint32_t)j * 2654435761u >> 20) + (uint32_t)rank) % 5 - 2;
}

/* The bits of the nearest number, ties to even, of a type with so many bits of mantissa, and exponents from 1 - bias. */
static uint16_t small_float(double v, int mantissa, int bias)
{
	int e, shift = mantissa + 1;
	double m = frexp(fabs(v), &e);
	long q;

	if (v == 0)
		return 0;
	if (e < 2 - bias)
		shift -= 2 - bias - e;
	q = lrint(ldexp(m, shift));
	if (e >= 2 - bias)
		q += (long)(e - 2 + bias) << mantissa; /* q has the implicit bit, worth one exponent */
	return (uint16_t)(q | (v < 0 ? 0x8000 : 0));
}

static void put(struct coll_tile *t, enum coll_dtype d, int j, double v)
{
	void *to = t->bytes + (size_t)j * t->size;
	float f32 = (float)v;
	int64_t i64 = (int64_t)v;
	int32_t i32 = (int32_t)v;
	uint16_t half = d == COLL_F16 ? small_float(f32, 10, 15) : small_float(f32, 7, 127);

	memcpy(to, d == COLL_F64 ? (void *)&v : d == COLL_F32 ? (void *)&f32 : d == COLL_I64 ? (void *)&i64 : d == COLL_I32 ? (void *)&i32 : &half,
		t->size);
}

void coll_tile_rank(struct coll_tile *t, enum coll_dtype d, int rank)
{
	int j;

	t->size = coll_dtype_size(d);
	for (j = 0; j < COLL_PERIOD; j++)
		put(t, d, j, value(j, rank));
}

/* Floats: times the nearest value to 1/world, in the type that accumulates; integers: towards zero. */
static double average(enum coll_dtype d, double sum, int world)
{
	if (d == COLL_I32 || d == COLL_I64)
		return trunc(sum / world);
	return d == COLL_F64 ? sum * (1.0 / world) : (float)sum * (float)(1.0 / world);
}

void coll_tile_reduced(struct coll_tile *t, enum coll_dtype d, enum coll_op op, int world)
{
	int j, r;
	double v, x;

	t->size = coll_dtype_size(d);
	for (j = 0; j < COLL_PERIOD; j++) {
		for (r = 1, v = value(j, 0); r < world; r++) {
			x = value(j, r);
			v = op == COLL_MIN ? fmin(v, x) : op == COLL_MAX ? fmax(v, x) : v + x;
		}
		put(t, d, j, op == COLL_AVG ? average(d, v, world) : v);
	}
}

/* How many elements lie in the tile from element `at` of the k-th operation on, at most n. */
static size_t stretch(size_t at, size_t n, uint64_t k, size_t *ret_j)
{
	*ret_j = (at + k * STRIDE) % COLL_PERIOD;
	return n < COLL_PERIOD - *ret_j ? n : COLL_PERIOD - *ret_j;
}

void coll_tile_fill(const struct coll_tile *t, void *buf, size_t first, size_t n, uint64_t k)
{
	size_t done, part, j;

	for (done = 0; done < n; done += part) {
		part = stretch(first + done, n - done, k, &j);
		memcpy((char *)buf + done * t->size, t->bytes + j * t->size, part * t->size);
	}
}

size_t coll_tile_wrong(const struct coll_tile *t, const void *buf, size_t first, size_t n, uint64_t k)
{
	size_t done, part, j, i, wrong = 0;

	for (done = 0; done < n; done += part) {
		const unsigned char *got = (const unsigned char *)buf + done * t->size, *want;

		part = stretch(first + done, n - done, k, &j);
		want = t->bytes + j * t->size;
		if (memcmp(got, want, part * t->size))
			for (i = 0; i < part; i++)
				wrong += memcmp(got + i * t->size, want + i * t->size, t->size) != 0;
	}
	return wrong;
}
