/* safetensors.h -- the shard format: https://github.com/huggingface/safetensors#format
 *
 *     u64 little-endian N | N bytes of JSON | data
 *     JSON: {"name": {"dtype", "shape", "data_offsets": [b,e]}, "__metadata__": {str: str}}
 *
 * Offsets count from the end of the JSON, tile the data without holes, and the JSON is padded with spaces so that the
 * data starts at a multiple of 64. The reader trusts nothing: every offset, overlap, hole, product of a shape and
 * duplicate name is checked before a pointer is formed.
 *
 * A writer should hand over tensors of larger elements first: then each starts at a multiple of its element's size,
 * which PyTorch's reader needs to view it. The reader here needs no alignment.
 *
 *   Ownership  struct ls_st owns its table of tensors; names are its own.
 *   Errors     LS_DATA_BAD, saying which tensor and what; LS_USAGE from the writer. The caller adds the file's name.
 */
#ifndef LS_SAFETENSORS_H
#define LS_SAFETENSORS_H

#include "core/status.h"
#include "core/str.h"

#include <stdint.h>

enum ls_dtype { LS_F64, LS_F32, LS_F16, LS_BF16, LS_I64, LS_I32, LS_U8 };
#define LS_ST_MAX_DIMS 8
#define LS_ST_MAX_HEADER 100000000 /* as other readers of the format have it */

struct ls_tensor {
	char *name;
	enum ls_dtype dtype;
	int ndim;
	int64_t shape[LS_ST_MAX_DIMS];
	uint64_t begin, end; /* bytes from the start of the data */
};

struct ls_st {
	struct ls_tensor *tensors; /* in order of `begin` */
	size_t n;
	struct ls_strv metadata; /* "key=value"; a foreign key with a '=' in it ends there for ls_strv_getenv */
	uint64_t data_at;        /* file offset of the data: 8 + N */
	uint64_t data_bytes;
};

size_t ls_dtype_size(enum ls_dtype d);
const char *ls_dtype_name(enum ls_dtype d); /* "F32" */

/* Header bytes (u64 + padded JSON) for tensors whose begin/end this call fills in, in the given order. */
ls_status ls_st_header(
	struct ls_tensor *tensors, size_t n, const struct ls_strv *metadata, struct ls_str *ret, struct ls_err *err);
/* `file_bytes`: the whole object's size; `head`: its first head_len bytes, at least 8 + N of them. */
ls_status ls_st_parse(const void *head, size_t head_len, uint64_t file_bytes, struct ls_st *ret, struct ls_err *err);
/* How many bytes a reader must fetch before ls_st_parse: 8 + N, from the first 8 bytes. Checked against file_bytes and
 * 100 MB. */
ls_status ls_st_head_bytes(const void *first8, uint64_t file_bytes, uint64_t *ret, struct ls_err *err);
const struct ls_tensor *ls_st_find(const struct ls_st *st, const char *name);
void ls_st_release(struct ls_st *st);
bool ls_st_text_ok(const char *text, size_t len); /* UTF-8 without NUL, as names and metadata must be */

#endif
