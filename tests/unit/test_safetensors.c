/* test_safetensors.c -- the shard format, and its checksum.
 *
 *     test_safetensors                  the unit tests
 *     test_safetensors --write FILE     one tensor of every dtype and of every odd shape, for other readers of the
 * format test_safetensors --read FILE      print the table: "NAME DTYPE [SHAPE] CRC32C", for files of other writers */
#include "core/crc32c.h"
#include "core/io.h"
#include "core/safetensors.h"

#include <CUnit/Basic.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* A failing row names itself. */
static void check(bool ok, const char *says, const char *got)
{
	if (!ok)
		printf("\n    failed: %s: %s", says, got);
	CU_ASSERT(ok);
}

static const struct {
	const char *says, *text;
	uint32_t want;
} checksums[] = {
	{ "of nothing", "", 0 },
	{ "of the RFC's check word", "123456789", 0xe3069283 },
	{ "of one byte", "a", 0xc1d04330 },
	{ "of a sentence", "The quick brown fox jumps over the lazy dog", 0x22620404 },
};

static void test_crc32c(void)
{
	enum { BYTES = 200001 };
	unsigned char *buf = malloc(BYTES);
	size_t i, len, cut;
	uint32_t x = 1, a, b;

	for (i = 0; i < COUNT(checksums); i++) {
		len = strlen(checksums[i].text);
		check(ls_crc32c(0, checksums[i].text, len) == checksums[i].want, checksums[i].says, "by the CPU");
		check(ls_crc32c_portable(0, checksums[i].text, len) == checksums[i].want, checksums[i].says,
			"by table");
	}
	CU_ASSERT_PTR_NOT_NULL_FATAL(buf);
	for (i = 0; i < BYTES; i++)
		buf[i] = (unsigned char)((x = x * 1664525 + 1013904223) >> 24);
	for (len = 0; len < BYTES; len = len * 2 + 1) {
		size_t start = len % 7 < BYTES - len ? len % 7 : 0; /* unaligned, too */

		a = ls_crc32c_portable(0, buf + start, len);
		check(ls_crc32c(0, buf + start, len) == a, "the CPU and the table agree", "at some length");
		cut = len / 3;
		check(ls_crc32c(ls_crc32c(0, buf + start, cut), buf + start + cut, len - cut) == a, "sums chain",
			"at some cut");
		b = ls_crc32c(0, buf + start + cut, len - cut);
		check(ls_crc32c_combine(ls_crc32c(0, buf + start, cut), b, len - cut) == a, "sums combine",
			"at some cut");
	}
	free(buf);
}

#define T(name, dtype, shape, b, e)                                                                                    \
	"\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":[" b "," e "]}"

/* Headers and the bytes of data behind them; `want` is a part of the message, NULL for a good file. */
static const struct {
	const char *says, *json;
	uint64_t data;
	const char *want;
} files[] = {
	{ "no tensor at all", "{}", 0, NULL },
	{ "one tensor", "{" T("w", "F32", "[2,3]", "0", "24") "}", 24, NULL },
	{ "spaces behind the JSON", "{" T("w", "U8", "[1]", "0", "1") "}   \n", 1, NULL },
	{ "a scalar", "{" T("s", "F64", "[]", "0", "8") "}", 8, NULL },
	{ "an empty tensor between two",
		"{" T("a", "U8", "[4]", "0", "4") "," T("e", "F32", "[0,7]", "4", "4") "," T(
			"b", "U8", "[1]", "4", "5") "}",
		5, NULL },
	{ "tensors in any order", "{" T("b", "U8", "[1]", "4", "5") "," T("a", "U8", "[4]", "0", "4") "}", 5, NULL },
	{ "metadata", "{\"__metadata__\":{\"format\":\"pt\"}," T("w", "U8", "[1]", "0", "1") "}", 1, NULL },
	{ "escapes in a name", "{" T("a\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\ud83d\\ude00", "U8", "[1]", "0", "1") "}", 1,
		NULL },
	{ "offsets beyond 2^53", "{" T("w", "U8", "[9007199254740993]", "0", "9007199254740993") "}", 9007199254740993,
		NULL },
	{ "an offset that a double would round", "{" T("w", "U8", "[9007199254740993]", "0", "9007199254740992") "}",
		9007199254740993, "tensor 'w': data_offsets" },
	{ "an empty header", "", 0, "does not start with '{'" },
	{ "a space before the JSON", " {}", 0, "does not start with '{'" },
	{ "a list", "[]", 0, "does not start with '{'" },
	{ "JSON that is cut", "{" T("w", "U8", "[1]", "0", "1"), 1, "want ','" },
	{ "something behind the JSON", "{}x", 0, "nothing but spaces" },
	{ "a comma too many", "{" T("w", "U8", "[1]", "0", "1") ",}", 1, "want '\"'" },
	{ "a name that is there twice", "{" T("w", "U8", "[1]", "0", "1") "," T("w", "U8", "[1]", "1", "2") "}", 2,
		"two tensors are named 'w'" },
	{ "a doubled name in another spelling",
		"{" T("w", "U8", "[1]", "0", "1") "," T("\\u0077", "U8", "[1]", "1", "2") "}", 2,
		"two tensors are named 'w'" },
	{ "metadata that is there twice", "{\"__metadata__\":{},\"__metadata__\":{}}", 0, "there twice" },
	{ "metadata that is no string", "{\"__metadata__\":{\"a\":1}}", 0, "want '\"'" },
	{ "a name with a NUL", "{" T("a\\u0000b", "U8", "[1]", "0", "1") "}", 1, "UTF-8 without NUL" },
	{ "half a surrogate pair", "{" T("\\ud83d", "U8", "[1]", "0", "1") "}", 1, "UTF-8" },
	{ "two first halves", "{" T("\\ud83d\\ud83d", "U8", "[1]", "0", "1") "}", 1, "second half" },
	{ "a name that is not UTF-8", "{" T("\xff", "U8", "[1]", "0", "1") "}", 1, "UTF-8" },
	{ "an overlong spelling of '/'", "{" T("\xc0\xaf", "U8", "[1]", "0", "1") "}", 1, "UTF-8" },
	{ "a raw control character", "{" T("a\nb", "U8", "[1]", "0", "1") "}", 1, "end of a string" },
	{ "an unknown escape", "{" T("a\\x", "U8", "[1]", "0", "1") "}", 1, "after \\" },
	{ "an unknown dtype", "{" T("w", "F8_E4M3", "[1]", "0", "1") "}", 1, "tensor 'w': dtype F8_E4M3" },
	{ "a negative dimension", "{" T("w", "U8", "[-1]", "0", "1") "}", 1, "whole number" },
	{ "a dimension with a fraction", "{" T("w", "U8", "[1.0]", "0", "1") "}", 1, "want ','" },
	{ "a dimension with a leading zero", "{" T("w", "U8", "[01]", "0", "1") "}", 1, "whole number" },
	{ "a dimension beyond 64 bits", "{" T("w", "U8", "[18446744073709551616]", "0", "1") "}", 1, "64 bits" },
	{ "a product beyond 64 bits", "{" T("w", "U8", "[4294967296,4294967296]", "0", "1") "}", 1, "too large" },
	{ "a product that wraps to the right size", "{" T("w", "F64", "[2305843009213693953]", "0", "8") "}", 8,
		"too large" },
	{ "nine dimensions", "{" T("w", "U8", "[1,1,1,1,1,1,1,1,1]", "0", "1") "}", 1, "more than 8" },
	{ "too few bytes for its shape", "{" T("w", "F32", "[2]", "0", "4") "}", 4, "do not hold its 8 bytes" },
	{ "offsets that run backwards", "{" T("w", "U8", "[1]", "1", "0") "}", 1, "do not hold" },
	{ "offsets behind the end of the file", "{" T("w", "U8", "[2]", "0", "2") "}", 1, "within the file's 1" },
	{ "three offsets", "{\"w\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1,2]}}", 1, "more than 2" },
	{ "one offset", "{\"w\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0]}}", 1, "two data_offsets" },
	{ "tensors that overlap", "{" T("a", "U8", "[2]", "0", "2") "," T("b", "U8", "[2]", "1", "3") "}", 3,
		"inside the one before" },
	{ "a hole between tensors", "{" T("a", "U8", "[1]", "0", "1") "," T("b", "U8", "[1]", "2", "3") "}", 3,
		"leaving a hole" },
	{ "a hole at the start", "{" T("a", "U8", "[1]", "1", "2") "}", 2, "leaving a hole" },
	{ "bytes behind the last tensor", "{" T("a", "U8", "[1]", "0", "1") "}", 9, "end at byte 1 of 9" },
	{ "a tensor without a dtype", "{\"w\":{\"shape\":[1],\"data_offsets\":[0,1]}}", 1, "is missing" },
	{ "a tensor with two shapes", "{\"w\":{\"shape\":[1],\"shape\":[1],\"dtype\":\"U8\",\"data_offsets\":[0,1]}}",
		1, "there twice" },
	{ "a tensor with a foreign field", "{\"w\":{\"shape\":[1],\"x\":1,\"dtype\":\"U8\",\"data_offsets\":[0,1]}}", 1,
		"none of" },
	{ "deep nesting", "{\"w\":{\"shape\":[[[[[[[[1]]]]]]]]}}", 0, "whole number" },
};

static void put_length(char *head, uint64_t length)
{
	int i;

	for (i = 0; i < 8; i++)
		head[i] = (char)(length >> 8 * i & 255);
}

static void test_parse(void)
{
	size_t i;

	for (i = 0; i < COUNT(files); i++) {
		struct ls_err err = LS_ERR_INIT;
		struct ls_st table = { 0 };
		size_t len = strlen(files[i].json);
		char *head = malloc(8 + len); /* exact, so that a sanitizer sees a read beyond it */
		ls_status st;

		CU_ASSERT_PTR_NOT_NULL_FATAL(head);
		put_length(head, len);
		memcpy(head + 8, files[i].json, len);
		st = ls_st_parse(head, 8 + len, 8 + len + files[i].data, &table, &err);
		check(st == (files[i].want ? LS_DATA_BAD : LS_OK), files[i].says, err.text);
		check(!files[i].want || strstr(err.text, files[i].want), files[i].says, err.text);
		ls_st_release(&table);
		free(head);
	}
}

static const struct {
	const char *says;
	uint64_t length, file_bytes;
	ls_status want;
	uint64_t want_bytes;
} heads[] = {
	{ "a length that fits", 56, 64, LS_OK, 64 },
	{ "a length of nothing", 0, 8, LS_OK, 8 },
	{ "a file of 7 bytes", 0, 7, LS_DATA_BAD, 0 },
	{ "a length beyond the file", 57, 64, LS_DATA_BAD, 0 },
	{ "a length that wraps", UINT64_MAX - 7, 64, LS_DATA_BAD, 0 },
	{ "a length beyond the limit", 100000001, 1u << 30, LS_DATA_BAD, 0 },
};

static void test_head_bytes(void)
{
	size_t i;

	for (i = 0; i < COUNT(heads); i++) {
		struct ls_err err = LS_ERR_INIT;
		uint64_t got = 0;
		char first8[8];

		put_length(first8, heads[i].length);
		check(ls_st_head_bytes(first8, heads[i].file_bytes, &got, &err) == heads[i].want, heads[i].says,
			err.text);
		check(got == heads[i].want_bytes, heads[i].says, "the sum");
	}
}

static char long_name[] = "a\"\\\n\t/\x01 \xc3\xa9 \xf0\x9f\x98\x80";

/* In the order that aligns each to its element. */
static struct ls_tensor all[] = {
	{ .name = "f64", .dtype = LS_F64, .ndim = 1, .shape = { 3 } },
	{ .name = "i64", .dtype = LS_I64, .ndim = 2, .shape = { 2, 2 } },
	{ .name = "scalar", .dtype = LS_F64, .ndim = 0 },
	{ .name = "f32", .dtype = LS_F32, .ndim = 3, .shape = { 2, 1, 3 } },
	{ .name = "i32", .dtype = LS_I32, .ndim = 1, .shape = { 5 } },
	{ .name = "empty", .dtype = LS_F32, .ndim = 2, .shape = { 0, 4 } },
	{ .name = "f16", .dtype = LS_F16, .ndim = 1, .shape = { 7 } },
	{ .name = "bf16", .dtype = LS_BF16, .ndim = 2, .shape = { 3, 3 } },
	{ .name = "u8", .dtype = LS_U8, .ndim = 1, .shape = { 11 } },
	{ .name = long_name, .dtype = LS_U8, .ndim = 8, .shape = { 1, 1, 1, 1, 1, 1, 1, 2 } },
};

static ls_status all_header(struct ls_str *ret, struct ls_err *err)
{
	struct ls_strv metadata = { 0 };
	ls_status st;

	ls_strv_add(&metadata, "step=12");
	ls_strv_add(&metadata, "note=a \"quoted\" = sign");
	st = ls_st_header(all, COUNT(all), &metadata, ret, err);
	ls_strv_release(&metadata);
	return st;
}

static void test_round_trip(void)
{
	struct ls_err err = LS_ERR_INIT;
	struct ls_str head = { 0 };
	struct ls_st table = { 0 };
	uint64_t data = 0;
	size_t i;

	CU_ASSERT_FATAL(all_header(&head, &err) == LS_OK);
	CU_ASSERT(head.len % 64 == 0);
	data = all[COUNT(all) - 1].end;
	check(ls_st_parse(head.s, head.len, head.len + data, &table, &err) == LS_OK, "what is written reads back",
		err.text);
	CU_ASSERT(table.data_at == head.len && table.data_bytes == data && table.n == COUNT(all));
	for (i = 0; i < COUNT(all); i++) {
		const struct ls_tensor *t = ls_st_find(&table, all[i].name);

		check(t && t->begin == all[i].begin && t->end == all[i].end && t->dtype == all[i].dtype &&
				t->ndim == all[i].ndim && !memcmp(t->shape, all[i].shape, sizeof(t->shape)),
			"each tensor is found as it was", all[i].name);
		check(!t || t->begin % ls_dtype_size(t->dtype) == 0, "each tensor is aligned", all[i].name);
	}
	CU_ASSERT_PTR_NULL(ls_st_find(&table, "nobody"));
	CU_ASSERT_STRING_EQUAL(ls_strv_getenv(&table.metadata, "note"), "a \"quoted\" = sign");
	ls_st_release(&table);
	ls_str_release(&head);
}

static const struct {
	const char *says;
	struct ls_tensor tensors[2];
	size_t n;
	const char *metadata, *want;
} refused[] = {
	{ "two tensors of one name", { { .name = "a" }, { .name = "a" } }, 2, NULL, "two tensors are named 'a'" },
	{ "a tensor without a name", { { .name = "" } }, 1, NULL, "cannot name a tensor" },
	{ "the name of the metadata", { { .name = "__metadata__" } }, 1, NULL, "cannot name a tensor" },
	{ "a name that is not UTF-8", { { .name = "\xc3" } }, 1, NULL, "cannot name a tensor" },
	{ "nine dimensions", { { .name = "a", .ndim = 9 } }, 1, NULL, "9 dimensions" },
	{ "a negative dimension", { { .name = "a", .ndim = 1, .shape = { -1 } } }, 1, NULL, "negative or too large" },
	{ "a product beyond 64 bits", { { .name = "a", .ndim = 2, .shape = { INT64_MAX, 3 } } }, 1, NULL, "too large" },
	{ "an unknown dtype", { { .name = "a", .dtype = (enum ls_dtype)77 } }, 1, NULL, "unknown dtype 77" },
	{ "a sum beyond 64 bits",
		{ { .name = "a", .dtype = LS_U8, .ndim = 1, .shape = { INT64_MAX } },
			{ .name = "b", .dtype = LS_F32, .ndim = 1, .shape = { INT64_MAX / 2 } } },
		2, NULL, "the shard grows too large" },
	{ "metadata without '='", { { .name = "a" } }, 1, "word", "want key=value" },
};

static void test_refused(void)
{
	size_t i;

	for (i = 0; i < COUNT(refused); i++) {
		struct ls_err err = LS_ERR_INIT;
		struct ls_str head = { 0 };
		struct ls_strv metadata = { 0 };
		struct ls_tensor tensors[2];

		memcpy(tensors, refused[i].tensors, sizeof(tensors));
		if (refused[i].metadata)
			ls_strv_add(&metadata, refused[i].metadata);
		check(ls_st_header(tensors, refused[i].n, &metadata, &head, &err) == LS_USAGE, refused[i].says,
			err.text);
		check(strstr(err.text, refused[i].want) && !head.len, refused[i].says, err.text);
		ls_strv_release(&metadata);
		ls_str_release(&head);
	}
}

static int write_file(const char *path)
{
	struct ls_err err = LS_ERR_INIT;
	struct ls_str text = { 0 };
	ls_status st = all_header(&text, &err);
	uint64_t i;

	for (i = 0; !st && i < all[COUNT(all) - 1].end; i++)
		ls_str_addn(&text, &(char){ (char)(i * 37 + 11) }, 1);
	if (!st)
		st = text.oom ? ls_fail_oom(&err) : ls_file_publish(path, text.s, text.len, false, &err);
	ls_str_release(&text);
	if (st)
		fprintf(stderr, "%s\n", err.text);
	return st != LS_OK;
}

static int read_file(const char *path)
{
	struct ls_err err = LS_ERR_INIT;
	struct ls_str text = { 0 };
	struct ls_st table = { 0 };
	ls_status st = ls_file_read(path, 1u << 30, &text, &err);
	size_t i;
	int d;

	if (!st)
		st = ls_st_parse(ls_str_text(&text), text.len, text.len, &table, &err);
	for (i = 0; i < table.n; i++) {
		const struct ls_tensor *t = &table.tensors[i];

		printf("%s %s [", t->name, ls_dtype_name(t->dtype));
		for (d = 0; d < t->ndim; d++)
			printf("%s%" PRId64, d ? ", " : "", t->shape[d]);
		printf("] %08" PRIx32 "\n", ls_crc32c(0, text.s + table.data_at + t->begin, t->end - t->begin));
	}
	for (i = 0; i < table.metadata.n; i++)
		printf("__metadata__ %s\n", table.metadata.v[i]);
	ls_st_release(&table);
	ls_str_release(&text);
	if (st)
		fprintf(stderr, "%s: %s\n", path, err.text);
	return st != LS_OK;
}

int main(int argc, char **argv)
{
	CU_pSuite suite;
	unsigned failures;

	if (argc == 3 && !strcmp(argv[1], "--write"))
		return write_file(argv[2]);
	if (argc == 3 && !strcmp(argv[1], "--read"))
		return read_file(argv[2]);
	if (CU_initialize_registry() != CUE_SUCCESS)
		return 1;
	suite = CU_add_suite("safetensors", NULL, NULL);
	CU_add_test(suite, "the checksum", test_crc32c);
	CU_add_test(suite, "what a reader must fetch", test_head_bytes);
	CU_add_test(suite, "good and bad headers", test_parse);
	CU_add_test(suite, "write and read back", test_round_trip);
	CU_add_test(suite, "what the writer refuses", test_refused);
	CU_basic_set_mode(CU_BRM_VERBOSE);
	CU_basic_run_tests();
	failures = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failures != 0;
}
