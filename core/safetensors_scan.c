/* safetensors_scan.c -- see safetensors_scan.h. */
#include "core/safetensors_scan.h"
#include "core/safetensors.h"

#include <string.h>

ls_status ls_scan_want(const struct ls_scan *sc, const char *what)
{
	return ls_fail(
		sc->err, LS_DATA_BAD, 0, "safetensors header, byte %zu: want %s", (size_t)(sc->p - sc->start), what);
}

void ls_scan_space(struct ls_scan *sc)
{
	while (sc->p < sc->end && (*sc->p == ' ' || *sc->p == '\t' || *sc->p == '\n' || *sc->p == '\r'))
		sc->p++;
}

static bool accept(struct ls_scan *sc, char c)
{
	ls_scan_space(sc);
	if (sc->p == sc->end || *sc->p != (unsigned char)c)
		return false;
	sc->p++;
	return true;
}

ls_status ls_scan_expect(struct ls_scan *sc, char c)
{
	char text[4] = { '\'', c, '\'', '\0' };

	return accept(sc, c) ? LS_OK : ls_scan_want(sc, text);
}

ls_status ls_scan_another(struct ls_scan *sc, char close, bool *first, bool *ret_more)
{
	ls_status st = LS_OK;

	*ret_more = !accept(sc, close);
	if (*ret_more && !*first)
		st = ls_scan_expect(sc, ',');
	*first = false;
	return st;
}

static ls_status scan_hex4(struct ls_scan *sc, uint32_t *ret)
{
	uint32_t value = 0;
	int i;

	for (i = 0; i < 4; i++, sc->p++) {
		unsigned c = sc->p < sc->end ? *sc->p : 0;

		if (c >= '0' && c <= '9')
			value = value << 4 | (c - '0');
		else if ((c | 32) >= 'a' && (c | 32) <= 'f')
			value = value << 4 | ((c | 32) - 'a' + 10);
		else
			return ls_scan_want(sc, "four hexadecimal digits after \\u");
	}
	*ret = value;
	return LS_OK;
}

static void add_utf8(struct ls_str *str, uint32_t code)
{
	char bytes[4];
	size_t n = 0;

	if (code < 0x80) {
		bytes[n++] = (char)code;
	} else if (code < 0x800) {
		bytes[n++] = (char)(0xc0 | code >> 6);
		bytes[n++] = (char)(0x80 | (code & 63));
	} else if (code < 0x10000) {
		bytes[n++] = (char)(0xe0 | code >> 12);
		bytes[n++] = (char)(0x80 | (code >> 6 & 63));
		bytes[n++] = (char)(0x80 | (code & 63));
	} else {
		bytes[n++] = (char)(0xf0 | code >> 18);
		bytes[n++] = (char)(0x80 | (code >> 12 & 63));
		bytes[n++] = (char)(0x80 | (code >> 6 & 63));
		bytes[n++] = (char)(0x80 | (code & 63));
	}
	ls_str_addn(str, bytes, n);
}

/* A lone half of a surrogate pair becomes a byte sequence that ls_st_text_ok() refuses. */
static ls_status scan_unicode(struct ls_scan *sc, struct ls_str *ret)
{
	uint32_t code, low;
	ls_status st = scan_hex4(sc, &code);

	if (st)
		return st;
	if (code >= 0xd800 && code < 0xdc00 && sc->end - sc->p >= 2 && sc->p[0] == '\\' && sc->p[1] == 'u') {
		sc->p += 2;
		st = scan_hex4(sc, &low);
		if (st)
			return st;
		if (low < 0xdc00 || low > 0xdfff)
			return ls_scan_want(sc, "the second half of a surrogate pair");
		code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
	}
	add_utf8(ret, code);
	return LS_OK;
}

static ls_status scan_escape(struct ls_scan *sc, struct ls_str *ret)
{
	static const char letters[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
	const char *at;

	if (sc->p == sc->end)
		return ls_scan_want(sc, "an escaped character");
	if (*sc->p == 'u') {
		sc->p++;
		return scan_unicode(sc, ret);
	}
	at = *sc->p ? strchr(letters, *sc->p) : NULL;
	if (!at)
		return ls_scan_want(sc, "one of \" \\ / b f n r t u after \\");
	ls_str_addn(ret, &meant[at - letters], 1);
	sc->p++;
	return LS_OK;
}

ls_status ls_scan_string(struct ls_scan *sc, struct ls_str *ret)
{
	ls_status st = ls_scan_expect(sc, '"');
	const unsigned char *run;

	while (!st) {
		for (run = sc->p; sc->p < sc->end && *sc->p >= 0x20 && *sc->p != '"' && *sc->p != '\\';)
			sc->p++;
		ls_str_addn(ret, run, (size_t)(sc->p - run));
		if (sc->p == sc->end || *sc->p < 0x20)
			return ls_scan_want(sc, "the end of a string");
		if (*sc->p++ == '"')
			break;
		st = scan_escape(sc, ret);
	}
	if (!st && ret->oom)
		st = ls_fail_oom(sc->err);
	if (!st && !ls_st_text_ok(ls_str_text(ret), ret->len))
		st = ls_scan_want(sc, "a string of UTF-8 without NUL before here");
	return st;
}

static ls_status scan_count(struct ls_scan *sc, uint64_t *ret)
{
	uint64_t value = 0;
	const unsigned char *first;

	ls_scan_space(sc);
	for (first = sc->p; sc->p < sc->end && *sc->p >= '0' && *sc->p <= '9'; sc->p++)
		if (__builtin_mul_overflow(value, 10, &value) || __builtin_add_overflow(value, *sc->p - '0', &value))
			return ls_scan_want(sc, "a number of at most 64 bits");
	if (sc->p == first || (*first == '0' && sc->p - first > 1))
		return ls_scan_want(sc, "a whole number, 0 or more");
	*ret = value;
	return LS_OK;
}

ls_status ls_scan_counts(struct ls_scan *sc, uint64_t *ret, int max, int *ret_n)
{
	bool first = true, more;
	ls_status st = ls_scan_expect(sc, '[');
	int n = 0;

	while (!st) {
		st = ls_scan_another(sc, ']', &first, &more);
		if (st || !more)
			break;
		if (n == max)
			return ls_fail(sc->err, LS_DATA_BAD, 0, "more than %d numbers in a list", max);
		st = scan_count(sc, &ret[n++]);
	}
	*ret_n = n;
	return st;
}
