/* safetensors.c -- the table of element types, and the writer's side of the header. The reader is safetensors_read.c.
 *
 * Invariant: what ls_st_header() returns LS_OK for, ls_st_parse() accepts, and so does every other reader of the
 * format. Not here: the data itself; its owner writes it behind the header, in the order of the tensors. */
#include "core/safetensors.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define ALIGN 64

static const struct {
	const char *name;
	size_t bytes;
} dtypes[] = {
	[LS_F64] = { "F64", 8 },
	[LS_F32] = { "F32", 4 },
	[LS_F16] = { "F16", 2 },
	[LS_BF16] = { "BF16", 2 },
	[LS_I64] = { "I64", 8 },
	[LS_I32] = { "I32", 4 },
	[LS_U8] = { "U8", 1 },
};

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

size_t ls_dtype_size(enum ls_dtype d)
{
	return (size_t)d < COUNT(dtypes) ? dtypes[d].bytes : 0;
}

const char *ls_dtype_name(enum ls_dtype d)
{
	return (size_t)d < COUNT(dtypes) ? dtypes[d].name : "?";
}

/* Overlong forms, surrogates and values beyond U+10FFFF are refused: other readers refuse the whole file for one. */
bool ls_st_text_ok(const char *text, size_t len)
{
	const unsigned char *p = (const unsigned char *)text, *end = p + len;

	while (p < end) {
		unsigned more = *p < 0x80 ? 0 : *p < 0xe0 ? 1 : *p < 0xf0 ? 2 : 3, first = *p, i;

		if (first == 0 || (first >= 0x80 && first < 0xc2) || first > 0xf4 || (size_t)(end - p) <= more)
			return false;
		for (i = 1; i <= more; i++)
			if ((p[i] & 0xc0) != 0x80)
				return false;
		if ((first == 0xe0 && p[1] < 0xa0) || (first == 0xed && p[1] >= 0xa0) ||
			(first == 0xf0 && p[1] < 0x90) || (first == 0xf4 && p[1] >= 0x90))
			return false;
		p += more + 1;
	}
	return true;
}

static void add_json(struct ls_str *str, const char *text, size_t len)
{
	size_t i;

	ls_str_add(str, "\"");
	for (i = 0; i < len; i++) {
		unsigned char c = (unsigned char)text[i];

		if (c < 0x20)
			ls_str_addf(str, "\\u%04x", c);
		else if (c == '"' || c == '\\')
			ls_str_addf(str, "\\%c", c);
		else
			ls_str_addn(str, &text[i], 1);
	}
	ls_str_add(str, "\"");
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static ls_status check_names(const struct ls_tensor *tensors, size_t n, struct ls_err *err)
{
	const char **names = calloc(n + 1, sizeof(*names));
	ls_status st = LS_OK;
	size_t i;

	if (!names)
		return ls_fail_oom(err);
	for (i = 0; i < n; i++)
		names[i] = tensors[i].name;
	qsort(names, n, sizeof(*names), compare_names);
	for (i = 0; i < n && !st; i++) {
		if (!*names[i] || !strcmp(names[i], "__metadata__") || !ls_st_text_ok(names[i], strlen(names[i])))
			st = ls_fail(
				err, LS_USAGE, 0, "'%.200s' cannot name a tensor: give it a name in UTF-8", names[i]);
		else if (i && !strcmp(names[i], names[i - 1]))
			st = ls_fail(err, LS_USAGE, 0, "two tensors are named '%.200s': rename one", names[i]);
	}
	free(names);
	return st;
}

static ls_status tensor_bytes(const struct ls_tensor *t, uint64_t *ret, struct ls_err *err)
{
	uint64_t bytes = ls_dtype_size(t->dtype);
	int d;

	if (!bytes)
		return ls_fail(err, LS_USAGE, 0, "tensor '%.200s': unknown dtype %d", t->name, (int)t->dtype);
	if (t->ndim < 0 || t->ndim > LS_ST_MAX_DIMS)
		return ls_fail(err, LS_USAGE, 0, "tensor '%.200s' has %d dimensions; 0 to %d can be stored", t->name,
			t->ndim, LS_ST_MAX_DIMS);
	for (d = 0; d < t->ndim; d++)
		if (t->shape[d] < 0 || __builtin_mul_overflow(bytes, (uint64_t)t->shape[d], &bytes))
			return ls_fail(
				err, LS_USAGE, 0, "tensor '%.200s': its shape is negative or too large", t->name);
	*ret = bytes;
	return LS_OK;
}

static ls_status add_metadata(struct ls_str *str, const struct ls_strv *metadata, struct ls_err *err)
{
	size_t i, j;

	ls_str_add(str, "\"__metadata__\":{");
	for (i = 0; i < metadata->n; i++) {
		const char *text = metadata->v[i], *equals = strchr(text, '=');

		if (!equals || !ls_st_text_ok(text, strlen(text)))
			return ls_fail(err, LS_USAGE, 0, "metadata '%.200s': want key=value in UTF-8", text);
		for (j = 0; j < i; j++)
			if (!strncmp(metadata->v[j], text, (size_t)(equals - text) + 1))
				return ls_fail(err, LS_USAGE, 0, "metadata '%.200s': the key is there twice", text);
		ls_str_add(str, i ? "," : "");
		add_json(str, text, (size_t)(equals - text));
		ls_str_add(str, ":");
		add_json(str, equals + 1, strlen(equals + 1));
	}
	ls_str_add(str, "}");
	return LS_OK;
}

static void add_tensor(struct ls_str *str, const struct ls_tensor *t)
{
	int d;

	add_json(str, t->name, strlen(t->name));
	ls_str_addf(str, ":{\"dtype\":\"%s\",\"shape\":[", ls_dtype_name(t->dtype));
	for (d = 0; d < t->ndim; d++)
		ls_str_addf(str, "%s%" PRId64, d ? "," : "", t->shape[d]);
	ls_str_addf(str, "],\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}", t->begin, t->end);
}

/* Spaces up to the next multiple of ALIGN, and the length, which is known only then, into the first 8 bytes. */
static void finish_header(struct ls_str *str)
{
	uint64_t length;
	int i;

	while (!str->oom && str->len % ALIGN)
		ls_str_add(str, " ");
	if (str->oom)
		return;
	length = str->len - 8;
	for (i = 0; i < 8; i++)
		str->s[i] = (char)(length >> 8 * i & 255);
}

ls_status ls_st_header(
	struct ls_tensor *tensors, size_t n, const struct ls_strv *metadata, struct ls_str *ret, struct ls_err *err)
{
	bool with_metadata = metadata && metadata->n;
	struct ls_str str = { 0 };
	uint64_t at = 0, bytes = 0;
	ls_status st;
	size_t i;

	st = check_names(tensors, n, err);
	if (st)
		return st;
	ls_str_addn(&str, "\0\0\0\0\0\0\0\0{", 9);
	if (with_metadata)
		st = add_metadata(&str, metadata, err);
	for (i = 0; i < n && !st; i++) {
		st = tensor_bytes(&tensors[i], &bytes, err);
		if (st)
			break;
		tensors[i].begin = at;
		if (__builtin_add_overflow(at, bytes, &at))
			st = ls_fail(err, LS_USAGE, 0, "tensor '%.200s': the shard grows too large", tensors[i].name);
		tensors[i].end = at;
		ls_str_add(&str, i || with_metadata ? "," : "");
		add_tensor(&str, &tensors[i]);
	}
	ls_str_add(&str, "}");
	finish_header(&str);
	if (!st && str.len > 8 + LS_ST_MAX_HEADER)
		st = ls_fail(err, LS_USAGE, 0, "%zu tensors make a header of more than %d bytes: use fewer", n,
			LS_ST_MAX_HEADER);
	if (!st)
		ls_str_addn(ret, ls_str_text(&str), str.len);
	if (!st && (str.oom || ret->oom))
		st = ls_fail_oom(err);
	ls_str_release(&str);
	return st;
}

const struct ls_tensor *ls_st_find(const struct ls_st *st, const char *name)
{
	size_t i;

	for (i = 0; i < st->n; i++)
		if (!strcmp(st->tensors[i].name, name))
			return &st->tensors[i];
	return NULL;
}

void ls_st_release(struct ls_st *st)
{
	size_t i;

	for (i = 0; i < st->n; i++)
		free(st->tensors[i].name);
	free(st->tensors);
	ls_strv_release(&st->metadata);
	*st = (struct ls_st){ 0 };
}
