/* secret.h -- memory for secrets: in no core file, and as far as the limit of locked memory allows in no swap. */
#ifndef LS_SECRET_H
#define LS_SECRET_H

#include "core/status.h"
#include "core/str.h"

#include <stdint.h>

/* { 0 } is empty. */
struct ls_secret {
	char *s; /* s[len] is NUL */
	size_t len, cap;
};

ls_status ls_secret_new(size_t cap, struct ls_secret *ret, struct ls_err *err); /* zeroed; len 0 */
void ls_secret_free(struct ls_secret *s);                                       /* wipes all of it; empty is fine */
/* Fill with what fd gives until its end. LS_USAGE: longer than cap - 1; LS_AGAIN: no end before ls_clock_ms() is
 * `until_ms`. */
ls_status ls_secret_read(int fd, int64_t until_ms, struct ls_secret *s, const char *name, struct ls_err *err);
ls_status ls_secret_file(const char *path, size_t max, struct ls_secret *ret, struct ls_err *err);
void ls_str_wipe(struct ls_str *str); /* and release */
void ls_strv_wipe(struct ls_strv *list);

#endif
