/* safetensors_read.c -- the reader's side of safetensors.h: bytes from anywhere in, a checked table of tensors out.
 *
 * Invariant: when ls_st_parse() returns LS_OK, the tensors tile the data from its first to its last byte. */
#include "core/safetensors.h"
#include "core/safetensors_scan.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static ls_status scan_dtype(struct ls_scan *sc, struct ls_tensor *t)
{
	struct ls_str word = { 0 };
	ls_status st = ls_scan_string(sc, &word);
	enum ls_dtype d;

	for (d = 0; !st && ls_dtype_size(d); d++)
		if (!strcmp(ls_str_text(&word), ls_dtype_name(d)))
			break;
	if (!st && !ls_dtype_size(d))
		st = ls_fail(sc->err, LS_DATA_BAD, 0, "dtype %.20s is none of those that checkpoints use",
			ls_str_text(&word));
	t->dtype = d;
	ls_str_release(&word);
	return st;
}

static ls_status scan_shape(struct ls_scan *sc, struct ls_tensor *t)
{
	uint64_t shape[LS_ST_MAX_DIMS];
	ls_status st = ls_scan_counts(sc, shape, LS_ST_MAX_DIMS, &t->ndim);
	int d;

	for (d = 0; !st && d < t->ndim; d++) {
		if (shape[d] > INT64_MAX)
			st = ls_fail(sc->err, LS_DATA_BAD, 0, "its shape is too large");
		t->shape[d] = (int64_t)shape[d];
	}
	return st;
}

static ls_status scan_offsets(struct ls_scan *sc, struct ls_tensor *t)
{
	uint64_t ends[2] = { 0, 0 };
	int n;
	ls_status st = ls_scan_counts(sc, ends, 2, &n);

	if (!st && n != 2)
		st = ls_scan_want(sc, "two data_offsets before here");
	t->begin = ends[0];
	t->end = ends[1];
	return st;
}

static const struct {
	const char *key;
	ls_status (*scan)(struct ls_scan *sc, struct ls_tensor *t);
} tensor_fields[] = { { "dtype", scan_dtype }, { "shape", scan_shape }, { "data_offsets", scan_offsets } };

enum { FIELDS = sizeof(tensor_fields) / sizeof(tensor_fields[0]) };

static ls_status scan_field(struct ls_scan *sc, struct ls_tensor *t, unsigned *seen)
{
	struct ls_str key = { 0 };
	ls_status st = ls_scan_string(sc, &key);
	unsigned i;

	for (i = 0; !st && i < FIELDS; i++)
		if (!strcmp(ls_str_text(&key), tensor_fields[i].key))
			break;
	if (!st && (i == FIELDS || *seen & 1u << i))
		st = ls_fail(sc->err, LS_DATA_BAD, 0, "field '%.40s' is %s", ls_str_text(&key),
			i == FIELDS ? "none of dtype, shape, data_offsets" : "there twice");
	ls_str_release(&key);
	if (!st)
		st = ls_scan_expect(sc, ':');
	if (st)
		return st;
	*seen |= 1u << i;
	return tensor_fields[i].scan(sc, t);
}

static ls_status check_bytes(const struct ls_tensor *t, uint64_t data_bytes, struct ls_err *err)
{
	uint64_t bytes = ls_dtype_size(t->dtype);
	int d;

	for (d = 0; d < t->ndim; d++)
		if (__builtin_mul_overflow(bytes, (uint64_t)t->shape[d], &bytes))
			return ls_fail(err, LS_DATA_BAD, 0, "its shape is too large");
	if (t->begin > t->end || t->end > data_bytes || t->end - t->begin != bytes)
		return ls_fail(err, LS_DATA_BAD, 0,
			"data_offsets [%" PRIu64 ",%" PRIu64 "] do not hold its %" PRIu64
			" bytes within the file's %" PRIu64,
			t->begin, t->end, bytes, data_bytes);
	return LS_OK;
}

static ls_status scan_tensor(struct ls_scan *sc, struct ls_tensor *t, uint64_t data_bytes)
{
	unsigned seen = 0;
	bool first = true, more;
	ls_status st = ls_scan_expect(sc, '{');

	while (!st) {
		st = ls_scan_another(sc, '}', &first, &more);
		if (st || !more)
			break;
		st = scan_field(sc, t, &seen);
	}
	if (!st && seen != (1u << FIELDS) - 1)
		st = ls_fail(sc->err, LS_DATA_BAD, 0, "dtype, shape or data_offsets is missing");
	return st ? st : check_bytes(t, data_bytes, sc->err);
}

static ls_status scan_metadata(struct ls_scan *sc, struct ls_strv *ret)
{
	struct ls_str pair = { 0 }, value = { 0 };
	bool first = true, more;
	ls_status st = ls_scan_expect(sc, '{');

	while (!st) {
		st = ls_scan_another(sc, '}', &first, &more);
		if (st || !more)
			break;
		ls_str_cut(&pair, pair.len);
		ls_str_cut(&value, value.len);
		st = ls_scan_string(sc, &pair);
		if (!st)
			st = ls_scan_expect(sc, ':');
		if (!st)
			st = ls_scan_string(sc, &value);
		if (st)
			break;
		ls_strv_addf(ret, "%s=%s", ls_str_text(&pair), ls_str_text(&value));
		if (ret->oom)
			st = ls_fail_oom(sc->err);
	}
	ls_str_release(&pair);
	ls_str_release(&value);
	return st;
}

/* Takes over `name`, also when it fails. */
static ls_status push_tensor(struct ls_st *ret, size_t *cap, char *name, struct ls_err *err)
{
	if (ret->n == *cap) {
		size_t more = *cap ? 2 * *cap : 16;
		struct ls_tensor *t = realloc(ret->tensors, more * sizeof(*t));

		if (!t) {
			free(name);
			return ls_fail_oom(err);
		}
		ret->tensors = t;
		*cap = more;
	}
	ret->tensors[ret->n++] = (struct ls_tensor){ .name = name };
	return LS_OK;
}

static ls_status scan_entry(struct ls_scan *sc, struct ls_st *ret, size_t *cap, bool *metadata_seen)
{
	struct ls_str name = { 0 };
	struct ls_tensor *t;
	ls_status st = ls_scan_string(sc, &name);

	if (!st)
		st = ls_scan_expect(sc, ':');
	if (st || !strcmp(ls_str_text(&name), "__metadata__")) {
		if (!st && *metadata_seen)
			st = ls_fail(sc->err, LS_DATA_BAD, 0, "__metadata__ is there twice");
		*metadata_seen = true;
		ls_str_release(&name);
		return st ? st : scan_metadata(sc, &ret->metadata);
	}
	st = push_tensor(ret, cap, name.s, sc->err); /* not NULL: an empty name has its NUL too */
	if (st)
		return st;
	t = &ret->tensors[ret->n - 1];
	st = scan_tensor(sc, t, ret->data_bytes);
	return st == LS_DATA_BAD ? ls_err_at(sc->err, st, "tensor '%.200s': ", t->name) : st;
}

static int compare_begin(const void *a, const void *b)
{
	const struct ls_tensor *x = a, *y = b;

	if (x->begin != y->begin)
		return x->begin < y->begin ? -1 : 1;
	if (x->end != y->end)
		return x->end < y->end ? -1 : 1;
	return strcmp(x->name, y->name);
}

static ls_status check_tiles(struct ls_st *st, struct ls_err *err)
{
	uint64_t at = 0;
	size_t i;

	if (st->n)
		qsort(st->tensors, st->n, sizeof(*st->tensors), compare_begin);
	for (i = 0; i < st->n; i++) {
		if (st->tensors[i].begin != at)
			return ls_fail(err, LS_DATA_BAD, 0,
				"tensor '%.200s' starts at byte %" PRIu64 ", %s byte %" PRIu64, st->tensors[i].name,
				st->tensors[i].begin,
				st->tensors[i].begin < at ? "inside the one before, which ends at"
							  : "leaving a hole from",
				at);
		at = st->tensors[i].end;
	}
	if (at != st->data_bytes)
		return ls_fail(err, LS_DATA_BAD, 0, "the tensors end at byte %" PRIu64 " of %" PRIu64 " bytes of data",
			at, st->data_bytes);
	return LS_OK;
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Sorting finds what is there twice in n log n; a hostile header has a million names. */
static ls_status check_unique(const struct ls_st *st, struct ls_err *err)
{
	char **names = calloc(st->n + 1, sizeof(*names));
	ls_status bad = LS_OK;
	size_t i;

	if (!names)
		return ls_fail_oom(err);
	for (i = 0; i < st->n; i++)
		names[i] = st->tensors[i].name;
	qsort(names, st->n, sizeof(*names), compare_names);
	for (i = 1; i < st->n && !bad; i++)
		if (!strcmp(names[i], names[i - 1]))
			bad = ls_fail(err, LS_DATA_BAD, 0, "two tensors are named '%.200s'", names[i]);
	free(names);
	return bad;
}

ls_status ls_st_head_bytes(const void *first8, uint64_t file_bytes, uint64_t *ret, struct ls_err *err)
{
	const unsigned char *p = first8;
	uint64_t length = 0;
	int i;

	if (file_bytes < 8)
		return ls_fail(err, LS_DATA_BAD, 0, "%" PRIu64 " bytes are too few for a safetensors file", file_bytes);
	for (i = 7; i >= 0; i--)
		length = length << 8 | p[i];
	if (length > LS_ST_MAX_HEADER || length > file_bytes - 8)
		return ls_fail(err, LS_DATA_BAD, 0,
			"the safetensors header says it has %" PRIu64 " bytes; the file has %" PRIu64
			" and the limit is %d",
			length, file_bytes, LS_ST_MAX_HEADER);
	*ret = 8 + length;
	return LS_OK;
}

ls_status ls_st_parse(const void *head, size_t head_len, uint64_t file_bytes, struct ls_st *ret, struct ls_err *err)
{
	struct ls_scan sc = { .err = err };
	struct ls_st table = { 0 };
	bool first = true, more, metadata_seen = false;
	size_t cap = 0;
	ls_status st = LS_OK;

	if (head_len < 8)
		return ls_fail(err, LS_DATA_BAD, 0, "%zu bytes are too few for a safetensors file", head_len);
	st = ls_st_head_bytes(head, file_bytes, &table.data_at, err);
	if (st)
		return st;
	if (head_len < table.data_at)
		return ls_fail(err, LS_DATA_BAD, 0, "the safetensors header is cut after %zu bytes", head_len);
	table.data_bytes = file_bytes - table.data_at;
	sc.start = head;
	sc.p = sc.start + 8;
	sc.end = sc.start + table.data_at;
	if (sc.p == sc.end || *sc.p++ != '{')
		st = ls_fail(err, LS_DATA_BAD, 0, "the safetensors header does not start with '{'");
	while (!st) {
		st = ls_scan_another(&sc, '}', &first, &more);
		if (st || !more)
			break;
		st = scan_entry(&sc, &table, &cap, &metadata_seen);
	}
	ls_scan_space(&sc);
	if (!st && sc.p != sc.end)
		st = ls_scan_want(&sc, "nothing but spaces");
	if (!st)
		st = check_unique(&table, err);
	if (!st)
		st = check_tiles(&table, err);
	if (st)
		ls_st_release(&table);
	else
		*ret = table;
	return st;
}
