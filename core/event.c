/* event.c -- both ends of an event line; see event.h.
 *
 * The reader takes lines from programs that it knows nothing about: any byte may come, nothing is trusted, nothing
 * allocated. No descriptor is touched here: worker/events.c writes, the shim reads. */
#include "core/event.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool ls_event_is(const char *line, const char *verb)
{
	size_t len = strlen(verb);

	return !strncmp(line, verb, len) && (line[len] == ' ' || line[len] == '\0');
}

bool ls_event_word(const char *line, const char *key, char *ret, size_t size)
{
	const char *p = line + strcspn(line, " ");
	size_t key_len = strlen(key), len;

	while (*(p += strspn(p, " "))) {
		bool text = !strncmp(p, "text=", 5);

		if (!strncmp(p, key, key_len) && p[key_len] == '=') {
			p += key_len + 1;
			len = text ? strlen(p) : strcspn(p, " ");
			if (len >= size)
				len = size - 1;
			memcpy(ret, p, len);
			ret[len] = '\0';
			return true;
		}
		if (text) /* a key= inside the text is text */
			return false;
		p += strcspn(p, " ");
	}
	return false;
}

long long ls_event_int(const char *line, const char *key, long long otherwise)
{
	char word[32], *end;
	long long value;

	if (!ls_event_word(line, key, word, sizeof(word)))
		return otherwise;
	errno = 0;
	value = strtoll(word, &end, 10);
	return end == word || *end || errno ? otherwise : value;
}

double ls_event_num(const char *line, const char *key, double otherwise)
{
	char word[64], *end;
	double value;

	if (!ls_event_word(line, key, word, sizeof(word)))
		return otherwise;
	value = strtod(word, &end);
	return end == word || *end ? otherwise : value;
}

/* A cut in the middle of a UTF-8 character would make the line unreadable for strict readers (JSON, Python). */
static size_t whole_characters(const char *s, size_t len)
{
	size_t start = len;

	while (start > 0 && len - start < 3 && ((unsigned char)s[start - 1] & 0xc0) == 0x80)
		start--;
	if (start > 0 && (unsigned char)s[start - 1] >= 0xc0) {
		unsigned char lead = (unsigned char)s[start - 1];
		size_t want = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;

		if (len - (start - 1) < want)
			return start - 1;
	}
	return len;
}

size_t ls_event_line(char ret[LS_EVENT_MAX], const char *fmt, ...)
{
	size_t len, i;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(ret, LS_EVENT_MAX, fmt, ap);
	va_end(ap);
	len = n < 0 ? 0 : (size_t)n;
	if (len >= LS_EVENT_MAX)
		len = whole_characters(ret, LS_EVENT_MAX - 1);
	for (i = 0; i < len; i++)
		if ((unsigned char)ret[i] < 0x20 || ret[i] == 0x7f)
			ret[i] = ' ';
	ret[len] = '\n';
	return len + 1;
}

/* A program may have set a locale whose decimal point is a comma, or several bytes: whatever printf put between the
 * digits is one '.' for us. */
static const char *plain_point(char *s)
{
	char *in = s, *out = s;
	bool point = false;

	for (; *in; in++) {
		if (strchr("0123456789abcdefinpxABCDEFINPX+-", *in)) {
			*out++ = *in;
		} else if (!point) {
			*out++ = '.';
			point = true;
		}
	}
	*out = '\0';
	return s;
}

const char *ls_event_exact(char ret[40], double value)
{
	snprintf(ret, 40, "%a", value);
	return plain_point(ret);
}

const char *ls_event_digits(char ret[40], double value)
{
	snprintf(ret, 40, "%.9g", value);
	return plain_point(ret);
}

const char *ls_event_quote(char *ret, size_t size, const char *value)
{
	size_t at = 0;

	for (; *value && at + 4 <= size; value++) {
		unsigned char c = (unsigned char)*value;

		if (c <= 0x20 || c == 0x7f)
			at += (size_t)snprintf(ret + at, size - at, "%%%02X", c);
		else
			ret[at++] = (char)c;
	}
	ret[at] = '\0';
	return ret;
}
