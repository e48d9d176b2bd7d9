/* store_ops.h -- what a kind of store must do; store.c is the only caller, one group of files store_*.c per kind the only user.
 *
 * store.c has checked every key, and sorts what list() gives; a backend sees neither bad keys nor foreign handles.
 * The promises are those of store.h: put() is durable on return and all or nothing, read() is exact. */
#ifndef LS_STORE_OPS_H
#define LS_STORE_OPS_H

#include "core/store.h"

#include <stdatomic.h>

#define LS_STORE_KEY_MAX 1024 /* what object stores allow */

struct ls_store_ops {
	ls_status (*put)(struct ls_store *s, const char *key, const struct iovec *iov, int n, bool only_new,
		uint32_t *ret_crc32c, struct ls_err *err);
	ls_status (*read)(struct ls_store *s, const char *key, uint64_t offset, const struct iovec *iov, int n,
		uint32_t *ret_crc32c, struct ls_err *err);
	ls_status (*size)(struct ls_store *s, const char *key, uint64_t *ret_bytes, struct ls_err *err);
	ls_status (*remove)(struct ls_store *s, const char *const *keys, size_t n, struct ls_err *err);
	ls_status (*list)(struct ls_store *s, const char *prefix, struct ls_objects *ret, struct ls_err *err);
	ls_status (*sweep)(struct ls_store *s, bool (*old)(void *arg, const char *dir), void *arg, bool dry, size_t *ret_n,
		struct ls_err *err);
	void (*cancel)(struct ls_store *s, bool on); /* NULL: looking at `cancelled` is enough */
	void (*close)(struct ls_store *s); /* frees the backend's struct, of which ls_store is the first member */
};

struct ls_store {
	const struct ls_store_ops *ops;
	char *uri; /* without '/' at the end; store.c frees it */
	atomic_bool cancelled;
};

/* `rest` is the URI behind the scheme, without '/' at the end. */
ls_status ls_store_file_open(const char *rest, struct ls_store **ret, struct ls_err *err);
ls_status ls_store_s3_open(const char *rest, struct ls_store **ret, struct ls_err *err);

ls_status ls_objects_add(struct ls_objects *o, const char *key, uint64_t bytes, struct ls_err *err);

#endif
