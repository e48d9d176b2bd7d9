/* store_ops.h -- what a kind of store must do; store.c is the only caller, one file store_*.c per kind the only user.
 *
 * store.c has checked every key, and sorts what list() gives; a backend sees neither bad keys nor foreign handles.
 * The promises are those of store.h: put() is durable on return and all or nothing, get() is exact. */
#ifndef LS_STORE_OPS_H
#define LS_STORE_OPS_H

#include "core/store.h"

#define LS_STORE_KEY_MAX 1024 /* what object stores allow */

struct ls_store_ops {
	ls_status (*put)(
		struct ls_store *s, const char *key, const struct iovec *iov, int n, bool only_new, struct ls_err *err);
	ls_status (*get)(
		struct ls_store *s, const char *key, uint64_t offset, void *buf, size_t bytes, struct ls_err *err);
	ls_status (*size)(struct ls_store *s, const char *key, uint64_t *ret_bytes, struct ls_err *err);
	ls_status (*remove)(struct ls_store *s, const char *key, struct ls_err *err);
	ls_status (*list)(struct ls_store *s, const char *prefix, struct ls_strv *ret, struct ls_err *err);
	ls_status (*sweep)(struct ls_store *s, const char *first, const char *last, struct ls_err *err);
	void (*close)(struct ls_store *s); /* frees the backend's struct, of which ls_store is the first member */
};

struct ls_store {
	const struct ls_store_ops *ops;
	char *uri; /* without '/' at the end; store.c frees it */
};

/* `rest` is the URI behind the scheme, without '/' at the end. */
ls_status ls_store_file_open(const char *rest, struct ls_store **ret, struct ls_err *err);

#endif
