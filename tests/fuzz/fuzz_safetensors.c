/* fuzz_safetensors.c -- any bytes as a shard: no crash, and what is accepted keeps the reader's promises.
 *
 * The first byte chooses: even, the rest is a file; odd, the second byte is the size of the data and the rest is the
 * JSON, so that the fuzzer need not guess the length in front. What is accepted must tile the data, and come back the
 * same from our writer. */
#include "core/safetensors.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void must(bool ok)
{
	if (!ok)
		abort();
}

static void check_table(const struct ls_st *table)
{
	uint64_t at = 0;
	size_t i;
	int d;

	for (i = 0; i < table->n; i++) {
		const struct ls_tensor *t = &table->tensors[i];
		uint64_t want = ls_dtype_size(t->dtype);

		must(want > 0 && t->ndim >= 0 && t->ndim <= LS_ST_MAX_DIMS);
		for (d = 0; d < t->ndim; d++) {
			must(t->shape[d] >= 0);
			want *= (uint64_t)t->shape[d];
		}
		must(t->begin == at && t->end == at + want);
		must(ls_st_text_ok(t->name, strlen(t->name)));
		at = t->end;
	}
	must(at == table->data_bytes);
}

/* The writer refuses what only foreign files have: a tensor without a name, one key of metadata twice. */
static void check_round_trip(struct ls_st *table)
{
	struct ls_str head = { 0 };
	struct ls_st again = { 0 };
	size_t i;

	if (!ls_st_header(table->tensors, table->n, &table->metadata, &head, NULL)) {
		must(!ls_st_parse(head.s, head.len, head.len + table->data_bytes, &again, NULL));
		must(again.n == table->n && again.data_bytes == table->data_bytes);
		for (i = 0; i < table->n; i++) {
			const struct ls_tensor *a = &table->tensors[i], *b = ls_st_find(&again, a->name);

			must(b && b->begin == a->begin && b->dtype == a->dtype && b->ndim == a->ndim);
		}
	}
	ls_st_release(&again);
	ls_str_release(&head);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct ls_err err = LS_ERR_INIT;
	struct ls_st table = { 0 };
	uint64_t file_bytes, length;
	size_t i, skip;
	uint8_t *file;

	if (size < 2)
		return 0;
	skip = 1 + (bytes[0] & 1);
	length = size - skip;
	file = malloc(8 + length);
	if (!file)
		return 0;
	if (bytes[0] & 1) {
		for (i = 0; i < 8; i++)
			file[i] = (uint8_t)(length >> 8 * i);
		memcpy(file + 8, bytes + skip, length);
		length += 8;
		file_bytes = length + bytes[1];
	} else {
		memcpy(file, bytes + skip, length);
		file_bytes = length;
	}
	if (!ls_st_parse(file, length, file_bytes, &table, &err)) {
		check_table(&table);
		check_round_trip(&table);
	} else {
		must(err.text[0] != '\0');
	}
	ls_st_release(&table);
	free(file);
	return 0;
}
