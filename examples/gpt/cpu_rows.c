/* cpu_rows.c -- see cpu.h: plain loops, which the compiler turns into the widest vectors of the CPU that runs them (one copy of each
 * function per kind of CPU, chosen when the program starts).
 *
 * The Makefile gives this file -O3 and -fopenmp-simd: sums are cut into lanes where `omp simd reduction` allows it, and nowhere else. It
 * also promises that no number is infinite or none, without which minimum and maximum are jumps that no vector takes: a training that ran
 * away is found in cpu.c, by the norm of its gradient. */
#include "cpu.h"

#include <math.h>
#include <string.h>

#define NORM_EPS 1e-5f

/* Sanitizers run too late for the functions that choose. */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define CLONES
#endif
#define INLINE static inline __attribute__((always_inline))

/* e^x = 2^k e^r with |r| <= ln(2) / 2, and 7 terms of e^r: off by 2 units in the last place at most. libm's is not made of vectors. Below
 * -87 the result is e^-87: as good as 0 for a softmax. */
INLINE float exponential(float x)
{
	union { int32_t i; float f; } power;
	float k, r, e;

	x = x < -87 ? -87 : x;
	x = x > 88 ? 88 : x;
	k = (float)(int32_t)(x * 1.44269504f + (x < 0 ? -0.5f : 0.5f));
	r = x - k * 0.693145752f; /* ln(2), its first 16 bits and the rest, so that k * it is exact */
	r = r - k * 1.42860677e-6f;
	e = 1 + r * (1 + r * (1 / 2.f + r * (1 / 6.f + r * (1 / 24.f + r * (1 / 120.f + r * (1 / 720.f))))));
	power.i = ((int32_t)k + 127) << 23;
	return e * power.f;
}

CLONES void gpt_rows_bias(float *out, const float *in, const float *bias, int rows, int n)
{
	int r, i;

	for (r = 0; r < rows; r++) {
		float *o = out + (size_t)r * n;
		const float *x = in + (in ? (size_t)r * n : 0);

		if (!in) {
			memcpy(o, bias, (size_t)n * sizeof(*o));
			continue;
		}
#pragma omp simd
		for (i = 0; i < n; i++)
			o[i] = x[i] + bias[i];
	}
}

/* Four rows at a time: the sums are read and written a quarter as often. */
CLONES void gpt_rows_sum(float *restrict sums, const float *in, int rows, int n)
{
	int r = 0, i;

	memset(sums, 0, (size_t)n * sizeof(*sums));
	for (; r + 4 <= rows; r += 4) {
		const float *a = in + (size_t)r * n, *b = a + n, *c = b + n, *d = c + n;

#pragma omp simd
		for (i = 0; i < n; i++)
			sums[i] += (a[i] + b[i]) + (c[i] + d[i]);
	}
	for (; r < rows; r++)
#pragma omp simd
		for (i = 0; i < n; i++)
			sums[i] += in[(size_t)r * n + i];
}

CLONES void gpt_rows_norm(float *out, float *stats, const float *x, const float *w, const float *b, int rows, int n)
{
	int r, i;

	for (r = 0; r < rows; r++, x += n, out += n, stats += 2) {
		float sum = 0, squares = 0, mean, scale;

#pragma omp simd reduction(+ : sum)
		for (i = 0; i < n; i++)
			sum += x[i];
		mean = sum / (float)n;
#pragma omp simd reduction(+ : squares)
		for (i = 0; i < n; i++)
			squares += (x[i] - mean) * (x[i] - mean);
		scale = 1 / sqrtf(squares / (float)n + NORM_EPS);
#pragma omp simd
		for (i = 0; i < n; i++)
			out[i] = (x[i] - mean) * scale * w[i] + b[i];
		stats[0] = mean;
		stats[1] = scale;
	}
}

CLONES void gpt_rows_norm_back(float *dx, float *restrict dw, float *restrict db, const float *dy, const float *x, const float *stats,
	const float *w, int rows, int n)
{
	int r, i;

	memset(dw, 0, (size_t)n * sizeof(*dw));
	memset(db, 0, (size_t)n * sizeof(*db));
	for (r = 0; r < rows; r++, x += n, dx += n, dy += n, stats += 2) {
		float mean = stats[0], scale = stats[1], plain = 0, along = 0;

#pragma omp simd reduction(+ : plain, along)
		for (i = 0; i < n; i++) {
			float normed = (x[i] - mean) * scale, d = dy[i] * w[i];

			plain += d;
			along += d * normed;
			dw[i] += dy[i] * normed;
			db[i] += dy[i];
		}
		plain /= (float)n;
		along /= (float)n;
#pragma omp simd
		for (i = 0; i < n; i++)
			dx[i] += scale * (dy[i] * w[i] - plain - (x[i] - mean) * scale * along);
	}
}

/* GELU(x) = x / 2 (1 + tanh(u)), u = sqrt(2 / pi) (x + 0.044715 x^3), and (1 + tanh(u)) / 2 = 1 / (1 + e^-2u). Its derivative costs little
 * here, and another exponential in backward. */
CLONES void gpt_rows_gelu(float *active, float *x, const float *bias, int rows, int n)
{
	int r, i;

	for (r = 0; r < rows; r++, x += n, active += n)
#pragma omp simd
		for (i = 0; i < n; i++) {
			float v = x[i] + bias[i], cubic = 0.044715f * v * v;
			float s = 1 / (1 + exponential(-1.59576912f * v * (1 + cubic)));

			active[i] = v * s;
			x[i] = s + v * s * (1 - s) * 1.59576912f * (1 + 3 * cubic);
		}
}

CLONES void gpt_rows_gelu_back(float *restrict d, float *restrict sums, const float *slope, int rows, int n)
{
	int r, i;

	memset(sums, 0, (size_t)n * sizeof(*sums));
	for (r = 0; r < rows; r++, d += n, slope += n)
#pragma omp simd
		for (i = 0; i < n; i++) {
			d[i] *= slope[i];
			sums[i] += d[i];
		}
}

/* In place; returns the sum of the exponentials' logarithm, so that x[i] before = returned + log of x[i] after. */
INLINE float softmax(float *x, int n)
{
	float most = x[0], sum = 0, inverse;
	int i;

#pragma omp simd reduction(max : most)
	for (i = 0; i < n; i++)
		most = x[i] > most ? x[i] : most;
#pragma omp simd reduction(+ : sum)
	for (i = 0; i < n; i++) {
		x[i] = exponential(x[i] - most);
		sum += x[i];
	}
	inverse = 1 / sum;
#pragma omp simd
	for (i = 0; i < n; i++)
		x[i] *= inverse;
	return most + logf(sum);
}

CLONES void gpt_rows_softmax(float *x, int rows, int first, int n, int stride)
{
	int r;

	for (r = 0; r < rows; r++, x += stride) {
		softmax(x, first + r + 1);
		memset(x + first + r + 1, 0, (size_t)(n - first - r - 1) * sizeof(*x));
	}
}

CLONES void gpt_rows_softmax_back(float *d, const float *p, int rows, int first, int n, int stride, float scale)
{
	int r, i;

	for (r = 0; r < rows; r++, d += n, p += stride) {
		float dot = 0;

#pragma omp simd reduction(+ : dot)
		for (i = 0; i <= first + r; i++)
			dot += d[i] * p[i];
#pragma omp simd
		for (i = 0; i <= first + r; i++)
			d[i] = p[i] * (d[i] - dot) * scale;
		memset(d + first + r + 1, 0, (size_t)(n - first - r - 1) * sizeof(*d));
	}
}

CLONES double gpt_rows_loss(float *x, const int32_t *targets, int rows, int n, float scale)
{
	double loss = 0;
	int r, i;

	for (r = 0; r < rows; r++, x += n) {
		float logit = x[targets[r]];

		loss += softmax(x, n) - logit;
#pragma omp simd
		for (i = 0; i < n; i++)
			x[i] *= scale;
		x[targets[r]] -= scale;
	}
	return loss;
}

/* In pieces, so that a float's 24 bits hold each piece's sum. */
CLONES double gpt_square_sum(const float *x, size_t n)
{
	double total = 0;

	while (n > 0) {
		int piece = n < 4096 ? (int)n : 4096, i;
		float sum = 0;

#pragma omp simd reduction(+ : sum)
		for (i = 0; i < piece; i++)
			sum += x[i] * x[i];
		total += (double)sum;
		x += piece;
		n -= (size_t)piece;
	}
	return total;
}

CLONES void gpt_adamw(float *restrict w, const float *restrict grads, float *restrict m, float *restrict v, size_t n,
	const struct gpt_adamw_step *s)
{
	float step = s->step, beta1 = s->beta1, beta2 = s->beta2, eps = s->eps, keep = s->keep, clip = s->clip, second = s->second;
	size_t i;

#pragma omp simd
	for (i = 0; i < n; i++) {
		float g = grads[i] * clip;

		m[i] = beta1 * m[i] + (1 - beta1) * g;
		v[i] = beta2 * v[i] + (1 - beta2) * g * g;
		w[i] = w[i] * keep - step * m[i] / (sqrtf(v[i]) * second + eps);
	}
}
