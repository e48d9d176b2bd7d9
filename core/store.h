/* store.h -- where checkpoints live: one seam over file:// and s3://.
 *
 * A store is a prefix; keys are relative to it ("step-000000001200-g0003/rank-00003.safetensors"), use '/', and never start
 * with '/' or contain "..". An object appears whole or not at all.
 *
 * file:///ABSOLUTE/PATH is taken as written: no %-escapes, no host. The directory is made by the first put.
 * s3://BUCKET/PREFIX: see store_s3.h for settings, and for what is tried again and how long.
 *
 *   Ownership  ls_store_open() gives a handle that the caller closes.
 *   Threads    one handle per thread; ls_store_cancel() from any.
 *   Errors     LS_USAGE bad URI or key, refused credentials; LS_NOT_FOUND; LS_EXISTS (conditional create); LS_AGAIN everything that
 *              may pass (full disk, server away), err->sys the errno where there is one. */
#ifndef LS_STORE_H
#define LS_STORE_H

#include "core/status.h"
#include "core/str.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

struct ls_store;

#define LS_STORE_LEFTOVER ".tmp-" /* how the names of unfinished puts begin; no part of a key begins so */

struct ls_object {
	char *key;
	uint64_t bytes;
};

struct ls_objects {
	struct ls_object *v;
	size_t n;
};

ls_status ls_store_open(const char *uri, struct ls_store **ret, struct ls_err *err);
void ls_store_close(struct ls_store *s); /* NULL is fine */
const char *ls_store_uri(const struct ls_store *s);

/* Durable on return. The bytes are the concatenation of iov[0..n); their CRC-32C, had on the way, is *ret_crc32c (NULL: not wanted).
 * After a failure the object is absent, the one from before, or (when only the last flush of a directory failed, or a server's answer
 * was lost) the new one: whole in each case. */
ls_status ls_store_put(struct ls_store *s, const char *key, const struct iovec *iov, int n, bool only_new,
	uint32_t *ret_crc32c, struct ls_err *err);
/* Exactly the bytes that iov[0..n) has room for, from `offset`; a short object is LS_DATA_BAD. *ret_crc32c as in put. After a failure
 * the buffers hold anything. */
ls_status ls_store_read(struct ls_store *s, const char *key, uint64_t offset, const struct iovec *iov, int n,
	uint32_t *ret_crc32c, struct ls_err *err);
/* The same into one buffer. */
ls_status ls_store_get(
	struct ls_store *s, const char *key, uint64_t offset, void *buf, size_t bytes, struct ls_err *err);
ls_status ls_store_size(struct ls_store *s, const char *key, uint64_t *ret_bytes, struct ls_err *err);
ls_status ls_store_delete(struct ls_store *s, const char *const *keys, size_t n, struct ls_err *err); /* missing is fine */
/* Objects under `prefix` in ascending byte order of their keys; leftovers of unfinished puts are not listed. */
ls_status ls_store_list(struct ls_store *s, const char *prefix, struct ls_objects *ret, struct ls_err *err);
void ls_objects_release(struct ls_objects *o);
/* Remove what puts that were killed left (temporary files, multipart uploads) in the directories right under the store of which
 * `old` says so, and those of them that are empty. `old` knows that no put into them is under way. `dry`: only count. */
ls_status ls_store_sweep(struct ls_store *s, bool (*old)(void *arg, const char *dir), void *arg, bool dry, size_t *ret_n,
	struct ls_err *err);
/* What runs in this store ends soon with LS_AGAIN, and so does what is started, until on is false. file://: between blocks. */
void ls_store_cancel(struct ls_store *s, bool on);

#endif
