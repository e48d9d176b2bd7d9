/* report_text.c -- words and numbers of the page: escaping, units, times, and fields of job.json.
 *
 * Invariant: what leaves ls_html_add() is valid UTF-8 that can neither open a tag, close an attribute nor reorder the
 * text around it. Numbers are rounded for reading here and nowhere else. */
#include "launcher/report_parts.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* The bytes of one character, 0 if it is not valid UTF-8 (overlong, surrogate, beyond U+10FFFF, cut). */
static size_t utf8_decode(const unsigned char *s, unsigned *ret)
{
	static const unsigned least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	size_t len = s[0] < 0x80 ? 1 : s[0] < 0xc2 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : s[0] < 0xf5 ? 4 : 0, i;
	unsigned c = len == 1 ? s[0] : s[0] & (0xffu >> (len + 1));

	for (i = 1; i < len; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (s[i] & 0x3fu);
	}
	if (len > 1 && (c < least[len] || (c >= 0xd800 && c < 0xe000) || c > 0x10ffff))
		return 0;
	*ret = c;
	return len;
}

static bool is_hidden(unsigned c)
{
	return (c < 0x20 && c != '\t' && c != '\n') || (c >= 0x7f && c < 0xa0) || c == 0x200e || c == 0x200f ||
		(c >= 0x202a && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069) || (c & 0xfffe) == 0xfffe;
}

/* The length of a terminal's colour sequence (ESC [ digits and ; m), or 0. */
static size_t colour_len(const char *s)
{
	size_t n;

	if (s[0] != '\033' || s[1] != '[')
		return 0;
	n = 2 + strspn(s + 2, "0123456789;");
	return s[n] == 'm' || s[n] == 'K' ? n + 1 : 0;
}

void ls_html_add(struct ls_str *page, const char *text)
{
	while (*text) {
		size_t skip = colour_len(text), len;
		unsigned c = 0;

		if (skip) {
			text += skip;
			continue;
		}
		len = utf8_decode((const unsigned char *)text, &c);
		if (!len || is_hidden(c))
			ls_str_add(page, "\xef\xbf\xbd");
		else if (c == '&')
			ls_str_add(page, "&amp;");
		else if (c == '<')
			ls_str_add(page, "&lt;");
		else if (c == '>')
			ls_str_add(page, "&gt;");
		else if (c == '"')
			ls_str_add(page, "&quot;");
		else if (c == '\'')
			ls_str_add(page, "&#39;");
		else
			ls_str_addn(page, text, len);
		text += len ? len : 1;
	}
}

/* --- numbers ------------------------------------------------------------------------------------------------------ */

static void grouped(char ret[32], long long n)
{
	char digits[24];
	int len, i, at = 0;

	len = snprintf(digits, sizeof(digits), "%lld", n);
	for (i = 0; i < len && at < 30; i++) {
		if (i && digits[i - 1] != '-' && (len - i) % 3 == 0)
			ret[at++] = ',';
		ret[at++] = digits[i];
	}
	ret[at] = '\0';
}

void ls_text_count(char ret[32], double n)
{
	double size = fabs(n);

	if (!isfinite(n))
		snprintf(ret, 32, "–");
	else if (size >= 1e15)
		snprintf(ret, 32, "%.3g", n);
	else if (size >= 1e9)
		snprintf(ret, 32, "%.4g G", n / 1e9);
	else if (size >= 1e7)
		snprintf(ret, 32, "%.4g M", n / 1e6);
	else if (size < 10 && n != rint(n))
		snprintf(ret, 32, "%.3g", n);
	else
		grouped(ret, llrint(n));
}

void ls_text_value(char ret[32], double v)
{
	if (isfinite(v) && fabs(v) >= 10000 && fabs(v) < 1e9)
		grouped(ret, llrint(v));
	else
		snprintf(ret, 32, "%.4g", v);
}

void ls_text_duration(char ret[32], double seconds)
{
	long long s;

	if (!isfinite(seconds) || seconds < 0 || seconds > 1e11) {
		snprintf(ret, 32, "–");
		return;
	}
	s = llrint(seconds);
	if (seconds < 59.5 && seconds == rint(seconds))
		snprintf(ret, 32, "%lld s", s);
	else if (seconds < 9.995)
		snprintf(ret, 32, "%.2f s", seconds);
	else if (seconds < 59.95)
		snprintf(ret, 32, "%.1f s", seconds);
	else if (s < 3600)
		snprintf(ret, 32, "%lld min %02lld s", s / 60, s % 60);
	else if (s < 48 * 3600)
		snprintf(ret, 32, "%lld h %02lld min", s / 3600, s / 60 % 60);
	else
		snprintf(ret, 32, "%lld d %lld h", s / 86400, s / 3600 % 24);
}

void ls_text_ms(char ret[32], double ms)
{
	double v = ms < 0.9995 ? ms * 1000 : ms < 999.5 ? ms : ms / 1000;

	if (!isfinite(ms))
		snprintf(ret, 32, "–");
	else if (ms >= 120000)
		ls_text_duration(ret, ms / 1000);
	else
		snprintf(ret, 32, "%.*f %s", v < 9.995 ? 2 : v < 99.95 ? 1 : 0, v,
			ms < 0.9995 ? "µs" : ms < 999.5 ? "ms" : "s");
}

void ls_text_bytes(char ret[32], double bytes)
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB" };
	size_t u = 0;

	if (!isfinite(bytes) || bytes < 0) {
		snprintf(ret, 32, "–");
		return;
	}
	for (; bytes >= 1023.5 && u < 5; u++)
		bytes /= 1024;
	snprintf(ret, 32, u && bytes < 99.95 ? "%.1f %s" : "%.0f %s", bytes, units[u]);
}

void ls_text_time(char ret[32], double unix_s)
{
	time_t t = (time_t)unix_s;
	struct tm tm;

	ret[0] = '\0';
	if (fabs(unix_s) < 1e11 && gmtime_r(&t, &tm))
		strftime(ret, 32, "%Y-%m-%d %H:%M:%S UTC", &tm);
}

/* --- job.json ----------------------------------------------------------------------------------------------------- */

const char *ls_json_text(const cJSON *obj, const char *key)
{
	const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(obj, key));

	return text ? text : "";
}

double ls_json_num(const cJSON *obj, const char *key)
{
	const cJSON *item = cJSON_GetObjectItemCaseSensitive(obj, key);
	const char *text = cJSON_GetStringValue(item);
	char *end;
	double v;

	if (!text)
		return cJSON_IsNumber(item) ? item->valuedouble : NAN;
	v = strtod(text, &end);
	return end != text && !*end ? v : NAN;
}

const cJSON *ls_json_list(const cJSON *obj, const char *key)
{
	const cJSON *item = cJSON_GetObjectItemCaseSensitive(obj, key);

	return cJSON_IsArray(item) || cJSON_IsObject(item) ? item->child : NULL;
}

double ls_json_time(const cJSON *obj, const char *key)
{
	struct tm tm = { 0 };
	int n = 0, hours = 0, minutes = 0;
	const char *text = ls_json_text(obj, key);
	double fraction = 0;
	char *end;

	if (sscanf(text, "%4d-%2d-%2dT%2d:%2d:%2d%n", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &tm.tm_hour, &tm.tm_min,
		    &tm.tm_sec, &n) != 6 || !n)
		return NAN;
	text += n;
	if (*text == '.') {
		fraction = strtod(text, &end);
		text = end;
	}
	if (*text == '+' || *text == '-') {
		if (sscanf(text + 1, "%2d:%2d", &hours, &minutes) != 2)
			return NAN;
		minutes = (*text == '-' ? -1 : 1) * (60 * hours + minutes);
	} else if (*text != 'Z') {
		return NAN;
	}
	tm.tm_year -= 1900;
	tm.tm_mon--;
	return (double)timegm(&tm) + fraction - 60 * minutes;
}
