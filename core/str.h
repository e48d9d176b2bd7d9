/* str.h -- a growable string, and lists of strings.
 *
 *   Empty      { NULL, 0, 0, false } is a valid empty string; ls_str_text() of it is "".
 *   Failure    an append that finds no memory sets `oom` and makes every later append a no-op: build first, test
 *              `s.oom` once at the end.
 *   Ownership  the struct owns its bytes; ls_str_release() frees them and leaves it empty and reusable.
 */
#ifndef LS_STR_H
#define LS_STR_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

struct ls_str {
	char *s;    /* NUL-terminated when not NULL; may also hold NULs (see len) */
	size_t len; /* bytes, without the final NUL */
	size_t cap;
	bool oom;
};

void ls_str_add(struct ls_str *str, const char *text);
void ls_str_addn(struct ls_str *str, const void *bytes, size_t len);
void ls_str_addf(struct ls_str *str, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void ls_str_vaddf(struct ls_str *str, const char *fmt, va_list ap);
void ls_str_cut(struct ls_str *str, size_t head); /* drop the first `head` bytes */
const char *ls_str_text(const struct ls_str *str);
char *ls_str_steal(struct ls_str *str); /* the bytes, now the caller's to free(); NULL if oom; never NULL otherwise */
void ls_str_release(struct ls_str *str);

/* A NULL-terminated list such as argv or environ; the list and its strings are owned. */
struct ls_strv {
	char **v; /* v[n] is NULL; v itself is NULL while n == 0 */
	size_t n, cap;
	bool oom; /* as in ls_str */
};

void ls_strv_add(struct ls_strv *list, const char *text);
void ls_strv_addf(struct ls_strv *list, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* "NAME=value" lists: set or replace NAME. */
void ls_strv_setenv(struct ls_strv *list, const char *name, const char *value);
const char *ls_strv_getenv(const struct ls_strv *list, const char *name); /* NULL if absent; borrowed */
void ls_strv_release(struct ls_strv *list);

/* The entry of `names` nearest to `word` (Damerau-Levenshtein), or NULL when none is near enough to be a slip of the
 * hand. `names` is NULL-terminated. For "did you mean". */
const char *ls_nearest(const char *word, const char *const *names);

/* Quote for a POSIX shell, so that a printed command line can be pasted. */
void ls_str_add_quoted(struct ls_str *str, const char *word);

#endif
