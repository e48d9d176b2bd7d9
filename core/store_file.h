/* store_file.h -- what store_file.c (objects) and store_file_list.c (directories) share. */
#ifndef LS_STORE_FILE_H
#define LS_STORE_FILE_H

#include "core/store_ops.h"

struct file_store {
	struct ls_store base;
	char *root; /* "/a/b", or "" for the root of the file system */
};

/* The two of ls_store_ops that read directories. */
ls_status ls_store_file_list(struct ls_store *s, const char *prefix, struct ls_objects *ret, struct ls_err *err);
ls_status ls_store_file_sweep(struct ls_store *s, bool (*old)(void *arg, const char *dir), void *arg, bool dry,
	size_t *ret_n, struct ls_err *err);

#endif
