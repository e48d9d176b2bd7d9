/* store.h -- where checkpoints live: one seam over file:// (and, later, s3://).
 *
 * A store is a prefix; keys are relative to it ("step-000000001200/rank-00003.safetensors"), use '/', and never start
 * with '/' or contain "..". An object appears whole or not at all.
 *
 * file:///ABSOLUTE/PATH is taken as written: no %-escapes, no host. The directory is made by the first put.
 *
 *   Ownership  ls_store_open() gives a handle that the caller closes.
 *   Threads    one handle per thread.
 *   Errors     LS_USAGE bad URI or key; LS_NOT_FOUND; LS_EXISTS (conditional create); LS_AGAIN everything that may pass
 *              (full disk, server away), err->sys the errno where there is one.
 */
#ifndef LS_STORE_H
#define LS_STORE_H

#include "core/status.h"
#include "core/str.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

struct ls_store;

#define LS_STORE_LEFTOVER ".tmp-" /* how the names of unfinished puts begin; no part of a key begins so */

ls_status ls_store_open(const char *uri, struct ls_store **ret, struct ls_err *err);
void ls_store_close(struct ls_store *s); /* NULL is fine */
const char *ls_store_uri(const struct ls_store *s);

/* Durable on return. The bytes are the concatenation of iov[0..n). After a failure the object is absent, the one from
 * before, or (when only the last flush of a directory failed) the new one: whole in each case. */
ls_status ls_store_put(
	struct ls_store *s, const char *key, const struct iovec *iov, int n, bool only_new, struct ls_err *err);
/* Exactly `bytes` bytes from `offset` into buf; a short object is LS_DATA_BAD. */
ls_status ls_store_get(
	struct ls_store *s, const char *key, uint64_t offset, void *buf, size_t bytes, struct ls_err *err);
ls_status ls_store_size(struct ls_store *s, const char *key, uint64_t *ret_bytes, struct ls_err *err);
ls_status ls_store_delete(struct ls_store *s, const char *key, struct ls_err *err); /* missing is fine */
/* Keys under `prefix` in ascending byte order, appended to *ret; leftovers of unfinished puts are not listed. */
ls_status ls_store_list(struct ls_store *s, const char *prefix, struct ls_strv *ret, struct ls_err *err);
/* Remove what puts that were killed left in the directories right under the store whose names are in [first, last] by
 * byte order, and those of them that are empty. The caller knows that no put into them is under way. */
ls_status ls_store_sweep(struct ls_store *s, const char *first, const char *last, struct ls_err *err);

#endif
