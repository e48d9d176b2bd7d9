/* cmd_bench_coll_rows.c -- what is measured, and the arithmetic on it: sizes, formulas, statistics. No I/O.
 *
 * Formulas: https://github.com/NVIDIA/nccl-tests/blob/master/doc/PERFORMANCE.md, whose factors these are. */
#include "launcher/cmd_bench_coll.h"
#include "core/sort.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define X(code, name, ...) name,
static const char *const kind_names[] = { COLL_KIND_TABLE(X) }, *const dtype_names[] = { COLL_DTYPE_TABLE(X) },
	*const op_names[] = { COLL_OP_TABLE(X) };
#undef X

const char *ls_bench_kind_name(enum coll_kind k)
{
	return kind_names[k];
}

const char *ls_bench_dtype_name(enum coll_dtype d)
{
	return dtype_names[d];
}

const char *ls_bench_op_name(enum coll_op o)
{
	return op_names[o];
}

static size_t dtype_bytes(enum coll_dtype d)
{
	static const size_t bytes[] = {
#define X(code, name, n) n,
		COLL_DTYPE_TABLE(X)
#undef X
	};

	return bytes[d];
}

bool ls_bench_kind_find(const char *word, enum coll_kind *ret)
{
	const char *a, *b;
	size_t i;

	for (i = 0; i < COLL_KINDS; i++) {
		for (a = kind_names[i], b = word; *a && (*a == *b || *a == '-'); a++)
			b += *a == *b;
		if (!*a && !*b) {
			*ret = (enum coll_kind)i;
			return true;
		}
	}
	return false;
}

/* Which of the names a word of `len` letters is, or -1. */
static int find(const char *const *names, size_t n, const char *word, size_t len)
{
	size_t i;

	for (i = 0; i < n; i++)
		if (strlen(names[i]) == len && !memcmp(names[i], word, len))
			return (int)i;
	return -1;
}

/* `also`: other names of the same things, or NULL. */
static ls_status parse_words(const char *words, const char *what, const char *const *names, const char *const *also, size_t n, bool *ret,
	struct ls_err *err)
{
	struct ls_str known = { 0 };
	size_t len, i;
	int at;

	for (i = 0; i < n; i++)
		ret[i] = !strcmp(words, "all");
	for (; strcmp(words, "all") != 0; words += len + 1) {
		len = strcspn(words, ",");
		at = find(names, n, words, len);
		if (at < 0 && also)
			at = find(also, n, words, len);
		if (at < 0) {
			for (i = 0; i < n; i++)
				ls_str_addf(&known, "%s, ", names[i]);
			ls_fail(err, LS_USAGE, 0, "'%.*s' is no %s; want some of %sor all", (int)len, words, what, ls_str_text(&known));
			ls_str_release(&known);
			return LS_USAGE;
		}
		ret[at] = true;
		if (!words[len])
			break;
	}
	return LS_OK;
}

ls_status ls_bench_dtypes_parse(const char *words, bool ret[COLL_DTYPES], struct ls_err *err)
{
	static const char *const nccl_names[COLL_DTYPES] = { "double", "float", "half", "bfloat16", "int64", "int32" };

	return parse_words(words, "type", dtype_names, nccl_names, COLL_DTYPES, ret, err);
}

ls_status ls_bench_ops_parse(const char *words, bool ret[COLL_OPS], struct ls_err *err)
{
	return parse_words(words, "operation of a reduction", op_names, NULL, COLL_OPS, ret, err);
}

ls_status ls_bench_size_parse(const char *text, size_t *ret, struct ls_err *err)
{
	static const char units[] = "KMGT";
	char *end;
	double v = strtod(text, &end);
	const char *unit = *end ? strchr(units, *end >= 'a' ? *end - 'a' + 'A' : *end) : NULL;

	if (unit)
		v = ldexp(v, 10 * (int)(unit - units + 1));
	if (end == text || (*end && !unit) || (unit && end[1]) || !(v >= 0) || v > 0x1p50)
		return ls_fail(err, LS_USAGE, 0, "'%s' is no size; want bytes, or a number with K, M or G", text);
	*ret = (size_t)v;
	return LS_OK;
}

bool ls_bench_reduces(enum coll_kind k)
{
	return k == COLL_ALL_REDUCE || k == COLL_REDUCE_SCATTER;
}

/* --- rows ----------------------------------------------------------------------------------------------------------------------- */

/* The size of a reduce-scatter and an all-gather is that of the whole, which the ranks share. */
static size_t parts(const struct ls_bench_options *opt)
{
	return opt->kind == COLL_REDUCE_SCATTER || opt->kind == COLL_ALL_GATHER ? (size_t)opt->np : 1;
}

static size_t next_size(const struct ls_bench_options *opt, size_t size)
{
	double next = opt->step ? (double)size + (double)opt->step : (double)size * opt->factor;

	return next >= 0x1p62 ? SIZE_MAX : (size_t)next > size ? (size_t)next : size + 1;
}

static ls_status add_row(struct ls_bench_row **rows, size_t *n, const struct ls_bench_row *row, struct ls_err *err)
{
	struct ls_bench_row *grown = realloc(*rows, (*n + 1) * sizeof(**rows));

	if (!grown)
		return ls_fail_oom(err);
	grown[(*n)++] = *row;
	*rows = grown;
	return LS_OK;
}

static ls_status add_sizes(const struct ls_bench_options *opt, enum coll_dtype d, enum coll_op op, struct ls_bench_row **rows, size_t *n,
	struct ls_err *err)
{
	struct ls_bench_row row = { .dtype = d, .op = op };
	size_t size, each = dtype_bytes(d) * parts(opt), last = 0;
	ls_status st = LS_OK;

	if (opt->kind == COLL_BARRIER)
		return add_row(rows, n, &row, err);
	for (size = opt->begin; !st && size <= opt->end; size = next_size(opt, size)) {
		row.count = size / each;
		row.bytes = row.count * each;
		if (row.count != last)
			st = add_row(rows, n, &row, err);
		last = row.count;
	}
	return st;
}

ls_status ls_bench_rows_make(const struct ls_bench_options *opt, struct ls_bench_row **ret, size_t *ret_n, struct ls_err *err)
{
	struct ls_bench_row *rows = NULL;
	size_t n = 0;
	int d, o;
	ls_status st = LS_OK;

	for (d = 0; !st && d < COLL_DTYPES; d++)
		for (o = 0; !st && o < COLL_OPS; o++)
			if (opt->kind == COLL_BARRIER ? !d && !o : ls_bench_reduces(opt->kind) ? opt->dtypes[d] && opt->ops[o] : opt->dtypes[d] && !o)
				st = add_sizes(opt, (enum coll_dtype)d, (enum coll_op)o, &rows, &n, err);
	if (!st && !n)
		st = ls_fail(err, LS_USAGE, 0, "no size from %zu to %zu bytes holds an element for each of %d ranks; raise -e", opt->begin, opt->end, opt->np);
	if (st) {
		free(rows);
		return st;
	}
	*ret = rows;
	*ret_n = n;
	return LS_OK;
}

/* --- formulas and statistics ---------------------------------------------------------------------------------------------------- */

double ls_bench_algbw(size_t bytes, double us)
{
	return bytes ? (double)bytes / us / 1e3 : 0;
}

double ls_bench_busbw(enum coll_kind k, int world, size_t bytes, double us)
{
	double others = (double)(world - 1) / world, factor = k == COLL_ALL_REDUCE ? 2 * others : k == COLL_BROADCAST ? 1 : others;

	return ls_bench_algbw(bytes, us) * factor;
}

/* Sorts v. */
static struct ls_bench_stats stats_of(double *v, int n)
{
	if (!n)
		return (struct ls_bench_stats){ NAN, NAN, NAN };
	ls_sort(v, (size_t)n);
	return (struct ls_bench_stats){ (v[(n - 1) / 2] + v[n / 2]) / 2, v[0], v[n - 1] };
}

struct ls_bench_stats ls_bench_ratio_of(const double *v, int n, const double *base, int n_base)
{
	double *ratios = calloc((size_t)n + 1, sizeof(*ratios));
	struct ls_bench_stats s;
	int i;

	for (i = 0; ratios && i < n && (!base || i < n_base); i++)
		ratios[i] = base ? v[i] / base[i] : v[i];
	s = stats_of(ratios, i);
	free(ratios);
	return s;
}

struct ls_bench_stats ls_bench_stats_of(const double *v, int n)
{
	return ls_bench_ratio_of(v, n, NULL, 0);
}

long ls_bench_iters(const struct ls_bench_options *opt, double seconds_each)
{
	double n = LS_BENCH_TARGET_S / (seconds_each > 1e-7 ? seconds_each : 1e-7);

	return opt->iters ? opt->iters : n < 3 ? 3 : n > 10000 ? 10000 : (long)n;
}
