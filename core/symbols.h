/* symbols.h -- the functions of a library that is loaded when it is first needed (libcurl, libcrypto), or that the program has loaded (CUDA's
 * driver). What loads it, and what its absence means, is each user's own. */
#ifndef LS_SYMBOLS_H
#define LS_SYMBOLS_H

#include <stddef.h>

/* Fill ret_table, a struct that begins with n pointers to functions, in the order of `names`. NULL: all are there; else the first name that
 * is not. */
const char *ls_symbols(void *library, const char *const *names, size_t n, void *ret_table);

#endif
