/* base64.h -- RFC 4648's base64 with its first alphabet. */
#ifndef LS_BASE64_H
#define LS_BASE64_H

#include "core/str.h"

void ls_base64_encode(const void *bytes, size_t len, struct ls_str *ret);
/* Appends; white space is skipped. False: is none. What was decoded may be a secret: nothing of it is left elsewhere. */
bool ls_base64_decode(const char *text, struct ls_str *ret);

#endif
