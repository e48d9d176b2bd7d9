/* test_reduce.c -- every variant of the arithmetic that this CPU has, bit by bit, against a plain loop written for this test: it rounds
 * by looking for the nearest value in a table of all of them. */
#include "collectives/reduce_fold.h"

#include <CUnit/Basic.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define SOURCES 20
#define DESTINATIONS 3
#define ELEMENTS 20011
#define GUARD 256
#define FILL 0xa5
#define SEED UINT64_C(20260611)

static const struct { enum ls_dtype in, out; } pairs[] = {
	{ LS_F64, LS_F64 }, { LS_F32, LS_F32 }, { LS_I64, LS_I64 }, { LS_I32, LS_I32 }, { LS_F16, LS_F16 }, { LS_BF16, LS_BF16 },
	{ LS_F16, LS_F32 }, { LS_BF16, LS_F32 }, { LS_F32, LS_F16 }, { LS_F32, LS_BF16 },
};
static const char *const op_names[] = { "sum", "average", "minimum", "maximum" };

struct trial {
	enum ls_dtype in, out;
	enum ls_reduce_op op;
	int n, group, n_dst, divisor;
	size_t count;
	int shift;     /* elements from a buffer's aligned start; source and destination k: shift x (k + 1) */
	bool stream, in_place;
};

/* --- numbers ---------------------------------------------------------------------------------------------------------------------- */

static uint64_t state = SEED;

static uint64_t dice(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

union word {
	uint64_t u64;
	int64_t i64;
	int32_t i32;
	uint32_t u32;
	uint16_t u16;
	float f32;
	double f64;
};

/* The values of all positive finite codes of a 16-bit float, and, in place of infinity, what would come next. */
static double value_of[2][0x7f81];

static void make_values(void)
{
	int c;

	for (c = 0; c <= 0x7c00; c++)
		value_of[0][c] = c < 0x400 ? ldexp(c, -24) : ldexp(0x400 + (c & 0x3ff), (c >> 10) - 25);
	for (c = 0; c <= 0x7f80; c++)
		value_of[1][c] = c < 0x80 ? ldexp(c, -133) : ldexp(0x80 + (c & 0x7f), (c >> 7) - 134);
}

static bool is_half(enum ls_dtype d)
{
	return d == LS_F16 || d == LS_BF16;
}

static uint16_t infinity_of(enum ls_dtype d)
{
	return d == LS_F16 ? 0x7c00 : 0x7f80;
}

static float widened(uint16_t h, enum ls_dtype d)
{
	uint16_t code = h & 0x7fff, inf = infinity_of(d);
	union word w;

	if (code < inf)
		return (float)((h & 0x8000 ? -1 : 1) * value_of[d == LS_BF16][code]);
	w.u32 = (uint32_t)(h & 0x8000) << 16 | 0x7f800000 | (uint32_t)(code - inf) << (d == LS_F16 ? 13 : 16);
	if (d == LS_F16 && code > inf)
		w.u32 |= 0x400000;
	return w.f32;
}

static uint16_t narrowed(float x, enum ls_dtype d)
{
	const double *v = value_of[d == LS_BF16];
	uint16_t sign, low = 0, high = infinity_of(d);
	union word w = { .u64 = 0 };
	double a = fabs((double)x);

	w.f32 = x;
	sign = (uint16_t)(w.u32 >> 16 & 0x8000);
	if (isnan(x))
		return d == LS_F16 ? (uint16_t)(sign | 0x7e00 | (w.u32 >> 13 & 0x3ff)) : 0x7fc0; /* as CPUs do; as PyTorch does */
	if (a >= v[high])
		return sign | high;
	while (high - low > 1) {
		uint16_t middle = (uint16_t)((low + high) / 2);

		if (v[middle] <= a)
			low = middle;
		else
			high = middle;
	}
	if (a - v[low] > v[high] - a || (a - v[low] == v[high] - a && (low & 1)))
		low = high;
	return sign | low;
}

/* What it is in the type that is added up. */
static union word loaded(const char *p, enum ls_dtype d, size_t i)
{
	union word w = { .u64 = 0 };

	memcpy(&w, p + i * ls_dtype_size(d), ls_dtype_size(d));
	if (is_half(d))
		w.f32 = widened(w.u16, d);
	return w;
}

static bool word_nan(union word w, enum ls_dtype d)
{
	return d == LS_F64 ? isnan(w.f64) : d != LS_I32 && d != LS_I64 && isnan(w.f32);
}

static bool word_inf(union word w, enum ls_dtype d)
{
	return d == LS_F64 ? isinf(w.f64) : d != LS_I32 && d != LS_I64 && isinf(w.f32);
}

static union word combined(union word a, union word x, enum ls_dtype d, enum ls_reduce_op op)
{
	bool less = d == LS_F64 ? x.f64 < a.f64 : d == LS_I64 ? x.i64 < a.i64 : d == LS_I32 ? x.i32 < a.i32 : x.f32 < a.f32;
	bool more = d == LS_F64 ? x.f64 > a.f64 : d == LS_I64 ? x.i64 > a.i64 : d == LS_I32 ? x.i32 > a.i32 : x.f32 > a.f32;

	if (op == LS_MIN || op == LS_MAX)
		return word_nan(x, d) || (op == LS_MIN ? less : more) ? x : a;
	if (d == LS_F64)
		a.f64 += x.f64;
	else if (d == LS_I64)
		a.u64 += x.u64;
	else if (d == LS_I32)
		a.u32 += x.u32;
	else
		a.f32 += x.f32;
	return a;
}

static union word averaged(union word w, enum ls_dtype d, int divisor)
{
	if (d == LS_F64)
		w.f64 *= 1.0 / divisor;
	else if (d == LS_I64)
		w.i64 /= divisor;
	else if (d == LS_I32)
		w.i32 /= divisor;
	else
		w.f32 *= 1.0f / (float)divisor;
	return w;
}

/* One element. *ret_any_nan: the result is a NaN, and which of several is not laid down. */
static union word expected(const struct trial *t, char *const *src, size_t i, bool *ret_any_nan)
{
	union word total = { .u64 = 0 }, part = { .u64 = 0 };
	bool infinite = false;
	int k, nans = 0;

	for (k = 0; k < t->n; k++) {
		union word x = loaded(src[k], t->in, i);

		nans += word_nan(x, t->in);
		infinite |= word_inf(x, t->in);
		part = k % t->group ? combined(part, x, t->in, t->op) : x;
		if (k % t->group == t->group - 1 || k == t->n - 1)
			total = k < t->group ? part : combined(total, part, t->in, t->op);
	}
	if (t->op == LS_AVERAGE && t->divisor != 1)
		total = averaged(total, t->in, t->divisor);
	*ret_any_nan = (t->op == LS_SUM || t->op == LS_AVERAGE) && word_nan(total, t->in) && (nans > 1 || infinite);
	if (t->n == 1 && t->in == t->out && (t->op != LS_AVERAGE || t->divisor == 1))
		memcpy(&total, src[0] + i * ls_dtype_size(t->in), ls_dtype_size(t->in));
	else if (is_half(t->out))
		total.u16 = narrowed(total.f32, t->out);
	return total;
}

/* --- data ------------------------------------------------------------------------------------------------------------------------- */

static const uint32_t special_f32[] = {
	0, 0x80000000, 0x3f800000, 0x7f800000, 0xff800000, 0x7fc00000, 0xffc12345, 0x7f800001, 0x7fbfffff, 1, 0x80000001, 0x7fffff, 0x800000,
	0x7f7fffff, 0xff7fffff, 0x3f808000, 0x3f818000, 0x3f808001, 0x3f817fff, 0x7f7f8000, 0x7f7f7fff, 0x477fefff, 0x477ff000, 0x33000000,
	0x33000001, 0x33800000, 0x387fc000, 0x387fe000, 0x387ff000, 0x38800000, 0x38801000, 0x38803000, 0x38801001, 0x00008000, 0x00018000,
};
static const uint64_t special_f64[] = { 0, UINT64_C(1) << 63, UINT64_C(0x7ff0000000000000), UINT64_C(0xfff0000000000000),
	UINT64_C(0x7ff8000000000000), 1, UINT64_C(0x7fefffffffffffff), UINT64_C(0x0010000000000000) };
static const uint64_t special_int[] = { 0, 1, UINT64_C(0xffffffffffffffff), UINT64_C(0x7fffffffffffffff), UINT64_C(1) << 63,
	UINT64_C(0x7fffffff), UINT64_C(0x80000000), UINT64_C(0xfffffffffffffff9) };
static const uint16_t special_half[] = { 0, 0x8000, 1, 0x8001, 0x3ff, 0x400, 0x7bff, 0xfbff, 0x7c00, 0xfc00, 0x7c01, 0x7e00, 0x7f7f, 0xff7f,
	0x7f80, 0xff80, 0x7f81, 0x7fc0, 0xffff, 0x3c00, 0x3f80 };

static union word special(enum ls_dtype d)
{
	union word w;

	if (d == LS_F32)
		w.u64 = special_f32[dice() % COUNT(special_f32)];
	else if (d == LS_F64)
		w.u64 = special_f64[dice() % COUNT(special_f64)];
	else if (is_half(d))
		w.u64 = special_half[dice() % COUNT(special_half)];
	else
		w.u64 = special_int[dice() % COUNT(special_int)];
	return w;
}

static union word ordinary(enum ls_dtype d)
{
	double x = ldexp((double)(int64_t)dice(), -63 + (int)(dice() % 12) - 6);
	union word w = { .u64 = 0 };

	if (d == LS_F64)
		w.f64 = x;
	else if (d == LS_F32)
		w.f32 = (float)x;
	else if (is_half(d))
		w.u16 = narrowed((float)x, d);
	else
		w.u64 = dice() >> (dice() % 64);
	return w;
}

/* Mostly ordinary numbers; some elements are one special value among zeros, some any bits at all. */
static void fill_sources(const struct trial *t, char *const *src)
{
	size_t i, bytes = ls_dtype_size(t->in);
	int k;

	for (i = 0; i < t->count; i++) {
		unsigned kind = dice() % 4, who = (unsigned)(dice() % (unsigned)t->n);

		for (k = 0; k < t->n; k++) {
			union word w = { .u64 = 0 };

			if (kind < 2)
				w = ordinary(t->in);
			else if (kind == 2)
				w = (unsigned)k == who ? special(t->in) : w;
			else
				w.u64 = dice();
			memcpy(src[k] + i * bytes, &w, bytes);
		}
	}
}

/* --- one trial -------------------------------------------------------------------------------------------------------------------- */

#define ROOM ((ELEMENTS + (SOURCES + 1) * 8) * 8 + 2 * GUARD)
static char *given[SOURCES], *work[SOURCES], *made[DESTINATIONS], *want;
static bool *any_nan;

static void make_room(void)
{
	int k;

	for (k = 0; k < SOURCES; k++) {
		given[k] = aligned_alloc(64, (ROOM + 63) / 64 * 64);
		work[k] = aligned_alloc(64, (ROOM + 63) / 64 * 64);
	}
	for (k = 0; k < DESTINATIONS; k++)
		made[k] = aligned_alloc(64, (ROOM + 63) / 64 * 64);
	want = malloc(ROOM);
	any_nan = malloc(ELEMENTS * sizeof(*any_nan));
}

static void free_room(void)
{
	int k;

	for (k = 0; k < SOURCES; k++) {
		free(given[k]);
		free(work[k]);
	}
	for (k = 0; k < DESTINATIONS; k++)
		free(made[k]);
	free(want);
	free(any_nan);
}

static bool guards_whole(const char *room, const char *at, size_t bytes)
{
	const char *p;

	for (p = at - GUARD; p < at + bytes + GUARD; p++)
		if (p >= room && (p < at || p >= at + bytes) && (unsigned char)*p != FILL)
			return false;
	return true;
}

static bool is_nan_at(const char *p, enum ls_dtype d, size_t i)
{
	return word_nan(loaded(p, d, i), d);
}

/* NULL, or what is wrong. */
static const char *wrong_result(const struct trial *t, const char *got)
{
	size_t bytes = ls_dtype_size(t->out), i;

	for (i = 0; i < t->count; i++)
		if (memcmp(got + i * bytes, want + i * bytes, bytes) && !(any_nan[i] && is_nan_at(got, t->out, i))) {
			static char text[96];
			union word g = { .u64 = 0 }, w = { .u64 = 0 };

			memcpy(&g, got + i * bytes, bytes);
			memcpy(&w, want + i * bytes, bytes);
			snprintf(text, sizeof(text), "element %zu is %" PRIx64 ", not %" PRIx64, i, g.u64, w.u64);
			return text;
		}
	return NULL;
}

static const char *try_variant(const struct ls_vectors *v, const struct trial *t)
{
	const struct ls_reduction r = { t->op, t->in, t->out, t->n, t->group, t->divisor };
	size_t in = ls_dtype_size(t->in), out = ls_dtype_size(t->out);
	char *src[SOURCES], *dst[DESTINATIONS], *room;
	const char *wrong = NULL;
	int k;

	for (k = 0; k < t->n; k++) {
		src[k] = work[k] + GUARD + (size_t)(t->shift * (k + 1)) * in;
		memset(work[k], FILL, t->count * in + 2 * GUARD + (size_t)(t->shift * (k + 1)) * in);
		memcpy(src[k], given[k], t->count * in);
	}
	for (k = 0; k < t->n_dst; k++) {
		memset(made[k], FILL, t->count * out + 2 * GUARD + (size_t)(t->shift * (k + 1)) * out);
		dst[k] = t->in_place && k < t->n ? src[k] : made[k] + GUARD + (size_t)(t->shift * (k + 1)) * out;
	}
	ls_reduce_with(v, &r, (void *const *)dst, t->n_dst, (const void *const *)src, t->count, t->stream);
	for (k = 0; k < t->n_dst && !wrong; k++) {
		room = t->in_place && k < t->n ? work[k] : made[k];
		wrong = wrong_result(t, dst[k]);
		if (!wrong && !guards_whole(room, dst[k], t->count * out))
			wrong = "bytes beside a destination are changed";
	}
	for (k = t->in_place ? t->n_dst : 0; k < t->n && !wrong; k++)
		if (memcmp(src[k], given[k], t->count * in) || !guards_whole(work[k], src[k], t->count * in))
			wrong = "a source is changed";
	return wrong;
}

static void try_all(const struct trial *t)
{
	const struct ls_vectors *const *v;
	const char *wrong;
	size_t i;

	fill_sources(t, given);
	for (i = 0; i < t->count; i++) {
		union word w = expected(t, given, i, &any_nan[i]);

		memcpy(want + i * ls_dtype_size(t->out), &w, ls_dtype_size(t->out));
	}
	for (v = ls_vectors_all; *v; v++) {
		if (!(*v)->here())
			continue;
		wrong = try_variant(*v, t);
		if (wrong)
			printf("\n    failed: %s, seed %" PRIu64 ": %s of %d %s to %d %s, groups of %d, divisor %d, %zu elements from %d%s%s: %s", (*v)->name,
				SEED, op_names[t->op], t->n, ls_dtype_name(t->in), t->n_dst, ls_dtype_name(t->out), t->group, t->divisor, t->count,
				t->shift, t->stream ? ", streamed" : "", t->in_place ? ", in place" : "", wrong);
		CU_ASSERT(wrong == NULL);
	}
}

/* --- the tests -------------------------------------------------------------------------------------------------------------------- */

static void test_everything(void)
{
	static const int ns[] = { 1, 2, 3, 4, 5, 7, 8, 9, 16, 17, 20 }, groups[] = { 1, 2, 3, 4, 8, 9, 20 };
	size_t p, op, n, g;
	int d;

	for (p = 0; p < COUNT(pairs); p++)
		for (op = 0; op < COUNT(op_names); op++)
			for (n = 0; n < COUNT(ns); n++)
				for (g = 0; g < COUNT(groups); g++)
					for (d = 1; d <= DESTINATIONS; d++) {
						struct trial t = { pairs[p].in, pairs[p].out, (enum ls_reduce_op)op, ns[n], groups[g], d,
							op == LS_AVERAGE ? 1 + (int)(dice() % 9) : 1, dice() % 300, (int)(dice() % 4), dice() % 2,
							pairs[p].in == pairs[p].out && dice() % 2 };

						try_all(&t);
					}
}

static void test_counts(void)
{
	static const int ns[] = { 2, 4, 9 };
	size_t p, n;

	for (p = 0; p < COUNT(pairs); p++)
		for (n = 0; n < COUNT(ns); n++) {
			struct trial t = { pairs[p].in, pairs[p].out, LS_SUM, ns[n], 2, 2, 1, 0, 0, false, false };

			for (t.count = 0; t.count <= 200; t.count++) {
				t.shift = (int)(t.count % 3);
				t.stream = t.count % 2;
				t.in_place = t.in == t.out && t.count % 5 < 2;
				try_all(&t);
			}
		}
}

static void test_large(void)
{
	static const int ns[] = { 2, 3, 17 };
	size_t p, n;
	int shift;

	for (p = 0; p < COUNT(pairs); p++)
		for (n = 0; n < COUNT(ns); n++)
			for (shift = 0; shift < 3; shift++) {
				struct trial t = { pairs[p].in, pairs[p].out, LS_AVERAGE, ns[n], 4, 2, 3, ELEMENTS - (size_t)shift, shift, true, false };

				try_all(&t);
				t.stream = false;
				t.in_place = t.in == t.out;
				try_all(&t);
			}
}

/* Every 16-bit float to f32; and back: each value, each middle between two, and their neighbours. */
static void test_conversions(void)
{
	static const enum ls_dtype halves[] = { LS_F16, LS_BF16 };
	static uint16_t codes[0x10000], back[0x10000];
	static float wide[0x10000], middle[0x8000 * 3];
	const struct ls_vectors *const *v;
	const void *src;
	void *dst;
	size_t h, i, n, wrong;

	for (i = 0; i < COUNT(codes); i++)
		codes[i] = (uint16_t)i;
	for (v = ls_vectors_all; *v; v++)
		for (h = 0; h < COUNT(halves) && (*v)->here(); h++) {
			struct ls_reduction to = { LS_SUM, halves[h], LS_F32, 1, 1, 1 }, from = { LS_SUM, LS_F32, halves[h], 1, 1, 1 };

			src = codes, dst = wide;
			ls_reduce_with(*v, &to, &dst, 1, &src, COUNT(codes), false);
			for (i = wrong = 0; i < COUNT(codes); i++) {
				float w = widened(codes[i], halves[h]);

				wrong += memcmp(&w, &wide[i], sizeof(w)) != 0;
			}
			CU_ASSERT_EQUAL(wrong, 0);
			for (i = n = 0; i < infinity_of(halves[h]); i++) {
				middle[n] = (float)((value_of[h][i] + value_of[h][i + 1]) / 2);
				middle[n + 1] = nextafterf(middle[n], 0);
				middle[n + 2] = nextafterf(middle[n], INFINITY);
				n += 3;
			}
			src = middle, dst = back;
			for (; n; n -= i) {
				i = n < COUNT(back) ? n : COUNT(back);
				src = middle + n - i;
				ls_reduce_with(*v, &from, &dst, 1, &src, i, false);
				for (wrong = 0; i && wrong < i && back[wrong] == narrowed(middle[n - i + wrong], halves[h]); wrong++)
					;
				CU_ASSERT_EQUAL(wrong, i);
			}
		}
}

static void test_copy(void)
{
	static const size_t sizes[] = { 0, 1, 63, 64, 4095, 4096, 4097, 5000, 65536, 100001 };
	const struct ls_vectors *const *v;
	size_t i, at;
	int stream;

	for (i = 0; i < ROOM; i++)
		given[0][i] = (char)dice();
	for (v = ls_vectors_all; *v; v++)
		for (i = 0; i < COUNT(sizes) && (*v)->here(); i++)
			for (at = 0; at < 64; at += 7)
				for (stream = 0; stream < 2; stream++) {
					char *to = made[0] + GUARD + at;

					memset(made[0], FILL, sizes[i] + 2 * GUARD + at);
					ls_copy_with(*v, to, given[0] + at / 2, sizes[i], stream);
					CU_ASSERT(!memcmp(to, given[0] + at / 2, sizes[i]));
					CU_ASSERT(guards_whole(made[0], to, sizes[i]));
				}
}

/* "name status" of a process that was started with the variable. */
static const struct { const char *asked; bool known; } variables[] = {
	{ "", true }, { "sse2", true }, { "avx2", true }, { "avx512", true }, { "neon", true }, { "portable", true }, { "mmx", false },
	{ "AVX2", false },
};

static void test_variable(void)
{
	size_t i;

	for (i = 0; i < COUNT(variables); i++) {
		const struct ls_vectors *const *v, *best = NULL, *asked = NULL;
		char command[128], got[64] = "", expect[64];
		bool usage;
		FILE *f;

		for (v = ls_vectors_all; *v; v++) {
			if ((*v)->here() && !best)
				best = *v;
			if ((*v)->here() && !strcmp((*v)->name, variables[i].asked))
				asked = *v;
		}
		CU_ASSERT(variables[i].known || !asked);
		usage = !asked && *variables[i].asked;
		snprintf(expect, sizeof(expect), "%s %s\n", asked ? asked->name : best->name, ls_status_name(usage ? LS_USAGE : LS_OK));
		snprintf(command, sizeof(command), "LOCKSTEP_CPU_VECTORS=%s exec /proc/%d/exe name", variables[i].asked, (int)getpid());
		f = popen(command, "r");
		CU_ASSERT_FATAL(f != NULL);
		CU_ASSERT(fgets(got, sizeof(got), f) != NULL);
		CU_ASSERT_EQUAL(pclose(f), 0);
		CU_ASSERT_STRING_EQUAL(got, expect);
	}
}

static int print_name(void)
{
	struct ls_err err = LS_ERR_INIT;

	printf("%s %s\n", ls_vectors_name(), ls_status_name(ls_vectors_check(&err)));
	return 0;
}

int main(int argc, char **argv)
{
	unsigned failed;
	CU_pSuite suite;

	if (argc > 1 && !strcmp(argv[1], "name"))
		return print_name();
	make_values();
	make_room();
	if (CU_initialize_registry() != CUE_SUCCESS)
		return 1;
	suite = CU_add_suite("reduce", NULL, NULL);
	CU_add_test(suite, "all types, operations, numbers of sources and destinations, groups", test_everything);
	CU_add_test(suite, "counts from 0 to 200, from any start", test_counts);
	CU_add_test(suite, "large counts", test_large);
	CU_add_test(suite, "rounding of 16-bit floats, all of them", test_conversions);
	CU_add_test(suite, "copies", test_copy);
	CU_add_test(suite, "LOCKSTEP_CPU_VECTORS", test_variable);
	CU_basic_run_tests();
	failed = CU_get_number_of_failures() + (CU_get_number_of_tests_run() == 0);
	CU_cleanup_registry();
	free_room();
	return failed ? 1 : 0;
}
