/* safetensors_scan.h -- the pieces of JSON that a safetensors header is made of; safetensors_read.c is its only user.
 *
 * The header has one fixed shape, so a scanner of that shape reads it: numbers stay exact to 64 bits, nothing recurses,
 * memory stays in proportion to the header, and a key that is there twice is seen. A general JSON tree gives none of
 * these four.
 *
 *   Errors     LS_DATA_BAD: "safetensors header, byte 17: want ...".
 */
#ifndef LS_SAFETENSORS_SCAN_H
#define LS_SAFETENSORS_SCAN_H

#include "core/status.h"
#include "core/str.h"

#include <stdint.h>

struct ls_scan {
	const unsigned char *start, *p, *end;
	struct ls_err *err;
};

ls_status ls_scan_want(const struct ls_scan *sc, const char *what); /* fail at this byte */
void ls_scan_space(struct ls_scan *sc);
ls_status ls_scan_expect(struct ls_scan *sc, char c);
/* After an opening bracket, and after each element: does another one follow? */
ls_status ls_scan_another(struct ls_scan *sc, char close, bool *first, bool *ret_more);
/* A string of UTF-8 without NUL, its escapes undone, appended to *ret; ret->s is never NULL after LS_OK. */
ls_status ls_scan_string(struct ls_scan *sc, struct ls_str *ret);
/* [n, n, …]: at most `max` whole numbers of at most 64 bits. */
ls_status ls_scan_counts(struct ls_scan *sc, uint64_t *ret, int max, int *ret_n);

#endif
