/* test_bench_coll.c -- `lockstep bench` of collectives: sizes, formulas, statistics, payloads, and what is written about results. */
#include "bench/coll_data.h"
#include "launcher/cmd_bench_coll.h"

#include <CUnit/Basic.h>
#include <cjson/cJSON.h>
#include <expat.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static void check(bool ok, const char *says, const char *got)
{
	if (!ok)
		printf("\n    failed: %s: %s", says, got);
	CU_ASSERT(ok);
}

static bool near(double a, double b)
{
	return fabs(a - b) <= 1e-9 * fabs(b);
}

/* --- words ---------------------------------------------------------------------------------------------------------------------- */

static const struct { const char *text; ls_status want; size_t bytes; } sizes[] = {
	{ "4", LS_OK, 4 }, { "0", LS_OK, 0 }, { "64K", LS_OK, 65536 }, { "64k", LS_OK, 65536 }, { "1.5M", LS_OK, 1572864 }, { "2G", LS_OK, 2147483648 },
	{ "", LS_USAGE, 0 }, { "K", LS_USAGE, 0 }, { "4X", LS_USAGE, 0 }, { "4KB", LS_USAGE, 0 }, { "-4", LS_USAGE, 0 }, { "nan", LS_USAGE, 0 },
	{ "9999999999T", LS_USAGE, 0 },
};

static const struct { const char *word; bool found; enum coll_kind kind; } kinds[] = {
	{ "all-reduce", true, COLL_ALL_REDUCE }, { "allreduce", true, COLL_ALL_REDUCE }, { "reduce-scatter", true, COLL_REDUCE_SCATTER },
	{ "reducescatter", true, COLL_REDUCE_SCATTER }, { "allgather", true, COLL_ALL_GATHER }, { "broadcast", true, COLL_BROADCAST },
	{ "barrier", true, COLL_BARRIER }, { "all", false, 0 }, { "allreduces", false, 0 }, { "a-llreduce", false, 0 }, { "", false, 0 },
};

static const struct { const char *words; ls_status want; const char *set; } dtypes[] = {
	{ "f32", LS_OK, "010000" }, { "float", LS_OK, "010000" }, { "bf16,f16", LS_OK, "001100" }, { "all", LS_OK, "111111" }, { "double,int64", LS_OK, "100010" },
	{ "f3", LS_USAGE, "" }, { "", LS_USAGE, "" }, { "f32,", LS_USAGE, "" }, { "f32,u8", LS_USAGE, "" },
};

static void test_words(void)
{
	struct ls_err err;
	enum coll_kind kind = COLL_KINDS;
	char set[COLL_DTYPES + 1] = "";
	size_t i, bytes, d;
	bool some[COLL_DTYPES];

	for (i = 0; i < COUNT(sizes); i++) {
		bytes = 0;
		check(ls_bench_size_parse(sizes[i].text, &bytes, &err) == sizes[i].want && bytes == sizes[i].bytes, "a size", sizes[i].text);
	}
	for (i = 0; i < COUNT(kinds); i++)
		check(ls_bench_kind_find(kinds[i].word, &kind) == kinds[i].found && (!kinds[i].found || kind == kinds[i].kind), "an operation", kinds[i].word);
	for (i = 0; i < COUNT(dtypes); i++) {
		check(ls_bench_dtypes_parse(dtypes[i].words, some, &err) == dtypes[i].want, "types", dtypes[i].words);
		for (d = 0; d < COLL_DTYPES; d++)
			set[d] = some[d] ? '1' : '0';
		check(dtypes[i].want || !strcmp(set, dtypes[i].set), dtypes[i].words, set);
	}
}

/* --- rows ----------------------------------------------------------------------------------------------------------------------- */

static const struct {
	const char *says;
	enum coll_kind kind;
	int np;
	size_t begin, end, step;
	double factor;
	const char *types, *ops, *want; /* size/count of each row */
} rows[] = {
	{ "by a factor", COLL_ALL_REDUCE, 2, 4, 64, 0, 4, "f32", "sum", "4/1 16/4 64/16" },
	{ "the end is no step", COLL_ALL_REDUCE, 2, 8, 100, 0, 2, "f64", "sum", "8/1 16/2 32/4 64/8" },
	{ "by bytes", COLL_BROADCAST, 2, 8, 32, 8, 2, "f32", "sum", "8/2 16/4 24/6 32/8" },
	{ "a small factor still goes on, without a size twice", COLL_ALL_REDUCE, 2, 4, 13, 0, 1.1, "f32", "sum", "4/1 8/2 12/3" },
	{ "an all-gather's size is the whole, its count a rank's", COLL_ALL_GATHER, 4, 4, 64, 0, 2, "f32", "sum", "16/1 32/2 64/4" },
	{ "what does not divide is left out", COLL_REDUCE_SCATTER, 3, 100, 100, 0, 2, "f32", "sum", "96/8" },
	{ "each type and operation", COLL_ALL_REDUCE, 2, 8, 8, 0, 2, "f64,f32", "sum,max", "8/1 8/1 8/2 8/2" },
	{ "a broadcast has no operation", COLL_BROADCAST, 2, 8, 8, 0, 2, "f32", "all", "8/2" },
	{ "a barrier has no size", COLL_BARRIER, 2, 8, 64, 0, 2, "all", "all", "0/0" },
	{ "no element fits", COLL_ALL_GATHER, 8, 4, 16, 0, 2, "f32", "sum", NULL },
	{ "the end before the beginning", COLL_ALL_REDUCE, 2, 64, 4, 0, 2, "f32", "sum", NULL },
};

static void test_rows(void)
{
	size_t i, k, n;

	for (i = 0; i < COUNT(rows); i++) {
		struct ls_bench_options opt = { .kind = rows[i].kind, .np = rows[i].np, .begin = rows[i].begin, .end = rows[i].end, .step = rows[i].step,
			.factor = rows[i].factor };
		struct ls_bench_row *made = NULL;
		struct ls_str got = { 0 };
		struct ls_err err = LS_ERR_INIT;
		ls_status st;

		ls_bench_dtypes_parse(rows[i].types, opt.dtypes, &err);
		ls_bench_ops_parse(rows[i].ops, opt.ops, &err);
		st = ls_bench_rows_make(&opt, &made, &n, &err);
		for (k = 0; !st && k < n; k++)
			ls_str_addf(&got, "%s%zu/%zu", k ? " " : "", made[k].bytes, made[k].count);
		check(rows[i].want ? !strcmp(ls_str_text(&got), rows[i].want) : st == LS_USAGE, rows[i].says, st ? err.text : ls_str_text(&got));
		ls_str_release(&got);
		free(made);
	}
}

/* --- formulas ------------------------------------------------------------------------------------------------------------------- */

static const struct { enum coll_kind kind; int world; double factor; } factors[] = {
	{ COLL_ALL_REDUCE, 2, 1 }, { COLL_ALL_REDUCE, 4, 1.5 }, { COLL_ALL_REDUCE, 1, 0 }, { COLL_REDUCE_SCATTER, 4, 0.75 }, { COLL_ALL_GATHER, 2, 0.5 },
	{ COLL_BROADCAST, 4, 1 },
};

static void test_formulas(void)
{
	static const double v[] = { 3, 1, 2, 10 }, base[] = { 1, 1, 4 };
	struct ls_bench_stats s = ls_bench_stats_of(v, 4);
	struct ls_bench_options opt = { 0 };
	size_t i;

	for (i = 0; i < COUNT(factors); i++)
		check(near(ls_bench_busbw(factors[i].kind, factors[i].world, 5000000, 1000), 5 * factors[i].factor), "5 MB in a ms",
			ls_bench_kind_name(factors[i].kind));
	check(near(ls_bench_algbw(5000000, 1000), 5) && ls_bench_algbw(0, 1) == 0, "algbw", "");
	check(s.median == 2.5 && s.min == 1 && s.max == 10, "an even number has a median between two", "");
	check(ls_bench_stats_of(v, 3).median == 2, "an odd one is one of them", "");
	check(isnan(ls_bench_stats_of(v, 0).median), "none of nothing", "");
	s = ls_bench_ratio_of(v, 4, base, 3);
	check(s.median == 1 && s.min == 0.5 && s.max == 3, "ratios of rounds that both have", "");
	check(ls_bench_iters(&opt, 1) == 3 && ls_bench_iters(&opt, 0) == 10000 && ls_bench_iters(&opt, 1e-3) == 50, "as many as take the time", "");
	opt.iters = 7;
	check(ls_bench_iters(&opt, 1e-3) == 7, "or as many as were asked for", "");
}

/* --- payloads ------------------------------------------------------------------------------------------------------------------- */

static double number(enum coll_dtype d, const void *at)
{
	double f64;
	float f32;
	int64_t i64;
	int32_t i32;
	uint16_t half;
	uint32_t bits;

	memcpy(&f64, at, d == COLL_F64 ? 8 : 0);
	memcpy(&f32, at, d == COLL_F32 ? 4 : 0);
	memcpy(&i64, at, d == COLL_I64 ? 8 : 0);
	memcpy(&i32, at, d == COLL_I32 ? 4 : 0);
	memcpy(&half, at, d == COLL_F16 || d == COLL_BF16 ? 2 : 0);
	if (d == COLL_F64 || d == COLL_F32)
		return d == COLL_F64 ? f64 : (double)f32;
	if (d == COLL_I64 || d == COLL_I32)
		return d == COLL_I64 ? (double)i64 : i32;
	if (d == COLL_F16)
		return ldexp((half & 0x3ff) + (half & 0x7c00 ? 1024 : 0), ((half >> 10 & 31) ? (half >> 10 & 31) : 1) - 25) * (half & 0x8000 ? -1 : 1);
	bits = (uint32_t)half << 16;
	memcpy(&f32, &bits, 4);
	return f32;
}

/* What 3 ranks send, added up here, is what the tile expects; of every type. */
static void test_payloads(void)
{
	static struct coll_tile mine[3], sum, avg, low;
	char buf[8 * 2100];
	double x[3], want, tolerance;
	int d, j, r;

	for (d = 0; d < COLL_DTYPES; d++) {
		for (r = 0; r < 3; r++)
			coll_tile_rank(&mine[r], (enum coll_dtype)d, r);
		coll_tile_reduced(&sum, (enum coll_dtype)d, COLL_SUM, 3);
		coll_tile_reduced(&avg, (enum coll_dtype)d, COLL_AVG, 3);
		coll_tile_reduced(&low, (enum coll_dtype)d, COLL_MIN, 3);
		for (j = 0; j < COLL_PERIOD; j++) {
			for (r = 0; r < 3; r++)
				x[r] = number((enum coll_dtype)d, mine[r].bytes + (size_t)j * sum.size);
			want = x[0] + x[1] + x[2];
			tolerance = d == COLL_I32 || d == COLL_I64 ? 0 : d == COLL_BF16 ? 1.0 / 256 : d == COLL_F16 ? 1.0 / 2048 : 1e-7;
			if (number((enum coll_dtype)d, sum.bytes + (size_t)j * sum.size) != want || number((enum coll_dtype)d, low.bytes + (size_t)j * sum.size) !=
				fmin(x[0], fmin(x[1], x[2])))
				check(false, "sum and min", ls_bench_dtype_name((enum coll_dtype)d));
			want = tolerance == 0 ? trunc(want / 3) : want / 3;
			if (fabs(number((enum coll_dtype)d, avg.bytes + (size_t)j * sum.size) - want) > tolerance)
				check(false, "average", ls_bench_dtype_name((enum coll_dtype)d));
		}
		coll_tile_fill(&sum, buf, 5, 2100, 3);
		check(!coll_tile_wrong(&sum, buf, 5, 2100, 3), "what was filled is right", ls_bench_dtype_name((enum coll_dtype)d));
		check(coll_tile_wrong(&sum, buf, 5, 2100, 4) > 1000, "but not of the next operation", "");
		check(coll_tile_wrong(&sum, buf, 6, 2100, 3) > 1000, "nor of another place", "");
		buf[0] ^= 1;
		buf[2099 * sum.size] ^= 1;
		check(coll_tile_wrong(&sum, buf, 5, 2100, 3) == 2, "two are wrong", "");
	}
}

/* --- what is written ------------------------------------------------------------------------------------------------------------ */

static double times[4][2] = { { 10, 12 }, { 30, 24 }, { 100, 120 }, { 0, 0 } };
static struct ls_bench_series series[2][4] = { { [1] = { times[0], 2, 0, 5, "direct", "" }, [3] = { times[1], 2, 0, 5, "-", "" } },
	{ [1] = { times[2], 2, 3, 5, "direct", "" }, [3] = { times[3], 0, 0, 0, "", "no <such> type" } } };
static struct ls_bench_rank ranks[2] = { { .host = "h1" }, { .host = "h2" } };
static struct ls_bench_contender contenders[2] = { { .name = "shm", .ranks = ranks }, { .name = "a<b>&", .ranks = ranks } };
static struct ls_bench_row two_rows[2] = { { COLL_F32, COLL_SUM, 1000, 250, series[0] }, { COLL_F32, COLL_SUM, 4000, 1000, series[1] } };
static struct ls_bench bench = { .opt = { .kind = COLL_ALL_REDUCE, .np = 2, .rounds = 2, .check = true, .places = { false, true } },
	.contenders = contenders, .n = 2, .cores = 2, .rows = two_rows, .n_rows = 2 };

static void test_json(void)
{
	struct ls_str text = { 0 };
	struct ls_err err;
	cJSON *o, *row, *second;

	CU_ASSERT(ls_bench_json(&bench, &text, &err) == LS_OK);
	o = cJSON_Parse(ls_str_text(&text));
	check(o && !strcmp(cJSON_GetStringValue(cJSON_GetObjectItem(o, "hosts")), "h1, h2"), "hosts", text.s);
	row = cJSON_GetArrayItem(cJSON_GetObjectItem(o, "rows"), 0);
	second = cJSON_GetArrayItem(cJSON_GetObjectItem(row, "results"), 1);
	check(near(cJSON_GetNumberValue(cJSON_GetObjectItem(second, "ratio")), 2.5), "the median of 3 and 2", text.s);
	check(near(cJSON_GetNumberValue(cJSON_GetObjectItem(second, "time_us")), 27), "the median", text.s);
	check(!cJSON_HasObjectItem(cJSON_GetArrayItem(cJSON_GetObjectItem(row, "results"), 0), "ratio"), "the first has no ratio", text.s);
	row = cJSON_GetArrayItem(cJSON_GetObjectItem(o, "rows"), 1);
	second = cJSON_GetArrayItem(cJSON_GetObjectItem(row, "results"), 1);
	check(!strcmp(cJSON_GetStringValue(cJSON_GetObjectItem(second, "unsupported")), "no <such> type"), "what cannot be done", text.s);
	check(ls_bench_wrong(&bench) == 3, "wrong elements are added up", "");
	cJSON_Delete(o);
	ls_str_release(&text);
}

static int polylines;

static void on_element(void *arg, const char *name, const char **attributes)
{
	(void)arg;
	(void)attributes;
	polylines += !strcmp(name, "polyline");
}

static void test_plot(void)
{
	struct ls_str text = { 0 };
	struct ls_err err;
	XML_Parser xml = XML_ParserCreate(NULL);

	CU_ASSERT(ls_bench_plot(&bench, &text, &err) == LS_OK);
	XML_SetStartElementHandler(xml, on_element);
	check(XML_Parse(xml, text.s, (int)text.len, 1) == XML_STATUS_OK, "the picture is well-formed", text.s);
	check(polylines == 2, "a line for each contender", text.s);
	check(strstr(text.s, "a&lt;b&gt;&amp;") != NULL, "names are escaped", text.s);
	check(!strstr(text.s, "nan") && !strstr(text.s, "inf"), "every place is a number", text.s);
	XML_ParserFree(xml);
	ls_str_release(&text);
}

int main(void)
{
	CU_pSuite suite;
	unsigned failed;

	CU_initialize_registry();
	suite = CU_add_suite("bench_coll", NULL, NULL);
	CU_add_test(suite, "words", test_words);
	CU_add_test(suite, "rows", test_rows);
	CU_add_test(suite, "formulas", test_formulas);
	CU_add_test(suite, "payloads", test_payloads);
	CU_add_test(suite, "JSON", test_json);
	CU_add_test(suite, "plot", test_plot);
	CU_basic_run_tests();
	failed = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failed > 0;
}
