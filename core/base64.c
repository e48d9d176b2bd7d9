/* base64.c -- see base64.h. */
#include "core/base64.h"

#include <string.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void ls_base64_encode(const void *bytes, size_t len, struct ls_str *ret)
{
	const unsigned char *b = bytes;
	size_t i;

	for (i = 0; i < len; i += 3) {
		size_t n = len - i < 3 ? len - i : 3;
		unsigned v = (unsigned)b[i] << 16 | (n > 1 ? (unsigned)b[i + 1] << 8 : 0) | (n > 2 ? b[i + 2] : 0);
		char four[4] = { alphabet[v >> 18], alphabet[v >> 12 & 63], n > 1 ? alphabet[v >> 6 & 63] : '=', n > 2 ? alphabet[v & 63] : '=' };

		ls_str_addn(ret, four, 4);
	}
}

bool ls_base64_decode(const char *text, struct ls_str *ret)
{
	unsigned v = 0, digits = 0, pads = 0;

	for (; *text; text++) {
		const char *at = strchr(alphabet, *text);

		if (strchr(" \t\r\n", *text))
			continue;
		if (*text == '=') {
			pads++;
			continue;
		}
		if (!at || pads)
			return false;
		v = v << 6 | (unsigned)(at - alphabet);
		if (digits++ % 4) {
			char byte = (char)(v >> (6 - 2 * ((digits - 1) % 4)));

			ls_str_addn(ret, &byte, 1);
		}
	}
	return digits % 4 != 1 && (!pads || (digits + pads) % 4 == 0) && pads < 3;
}
