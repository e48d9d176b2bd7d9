/* cli_print.c -- see cli.h: ages, tables, YAML. */
#include "operator/cli.h"
#include "operator/objects.h"

#include <stdlib.h>
#include <string.h>

void ls_age(long long s, char ret[16])
{
	const long long minute = 60, hour = 3600, day = 86400, year = 365 * day;

	if (s < 0)
		s = 0;
	if (s < 2 * minute)
		snprintf(ret, 16, "%llds", s);
	else if (s < 10 * minute && s % minute)
		snprintf(ret, 16, "%lldm%llds", s / minute, s % minute);
	else if (s < 3 * hour)
		snprintf(ret, 16, "%lldm", s / minute);
	else if (s < 8 * hour && s % hour >= minute)
		snprintf(ret, 16, "%lldh%lldm", s / hour, s % hour / minute);
	else if (s < 2 * day)
		snprintf(ret, 16, "%lldh", s / hour);
	else if (s < 8 * day && s % day >= hour)
		snprintf(ret, 16, "%lldd%lldh", s / day, s % day / hour);
	else if (s < 2 * year)
		snprintf(ret, 16, "%lldd", s / day);
	else
		snprintf(ret, 16, "%lldy", s / year % 100000);
}

void ls_age_of(const char *rfc3339, time_t now, char ret[16])
{
	time_t then = ls_time_read(rfc3339);

	if (then)
		ls_age(now - then, ret);
	else
		snprintf(ret, 16, "-");
}

void ls_bytes(long long bytes, char ret[16])
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB" };
	double v = (double)bytes;
	int i = 0;

	while (v >= 1024 && i < 5) {
		v /= 1024;
		i++;
	}
	snprintf(ret, 16, i && v < 10 ? "%.1f %s" : "%.0f %s", v, units[i]);
}

/* The control characters of ISO 6429's second set, in UTF-8: U+009B is what ESC [ is. */
static bool is_c1(const char *text)
{
	return (unsigned char)text[0] == 0xc2 && ((unsigned char)text[1] & 0xe0) == 0x80;
}

void ls_str_add_clean(struct ls_str *s, const char *text)
{
	size_t n;

	for (; *text; text += n) {
		n = 0;
		while ((unsigned char)text[n] >= ' ' && text[n] != 0x7f && !is_c1(text + n))
			n++;
		ls_str_addn(s, text, n);
		if (text[n]) {
			n += is_c1(text + n);
			ls_str_add(s, text[n] == '\n' || text[n] == '\t' ? " " : "?");
			n++;
		}
	}
}

/* --- tables --------------------------------------------------------------------------------------------------------------- */

/* Characters, not bytes: continuation bytes of UTF-8 take no place. */
static int width_of(const char *text)
{
	int n = 0;

	for (; *text; text++)
		n += (*text & 0xc0) != 0x80;
	return n;
}

void ls_table_add(struct ls_table *t, const char *cell)
{
	size_t column = t->cells.n % (size_t)t->columns;
	struct ls_str clean = { 0 };

	ls_str_add_clean(&clean, *cell ? cell : "-");
	ls_strv_add(&t->cells, ls_str_text(&clean));
	if (width_of(ls_str_text(&clean)) > t->width[column])
		t->width[column] = width_of(ls_str_text(&clean));
	t->cells.oom |= clean.oom;
	ls_str_release(&clean);
}

ls_status ls_table_print(struct ls_table *t, FILE *out, struct ls_err *err)
{
	if (t->cells.oom)
		return ls_fail_oom(err);
	for (; t->printed < t->cells.n; t->printed++) {
		int column = (int)(t->printed % (size_t)t->columns);
		const char *cell = t->cells.v[t->printed];
		bool last = column == t->columns - 1;

		fprintf(out, "%s%*s", cell, last ? 0 : t->width[column] - width_of(cell) + 3, "");
		if (last)
			fputc('\n', out);
	}
	return fflush(out) == EOF ? ls_fail(err, LS_AGAIN, 0, "cannot write to standard output") : LS_OK;
}

void ls_table_release(struct ls_table *t)
{
	ls_strv_release(&t->cells);
	*t = (struct ls_table){ 0 };
}

/* --- YAML ----------------------------------------------------------------------------------------------------------------- */

/* Anything but a plain word is quoted as JSON quotes, which YAML reads the same. */
static bool plain(const char *s)
{
	static const char *const words[] = { "true", "false", "null", "yes", "no", "on", "off", "y", "n" };
	size_t i, len = strlen(s);

	if (!len || len > 120 || !strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ/_", *s))
		return false;
	for (i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (!strcasecmp(s, words[i]))
			return false;
	for (i = 0; i < len; i++)
		if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/_.-", s[i]))
			return false;
	return true;
}

static void add_scalar(struct ls_str *s, const cJSON *json)
{
	char *text;

	if (cJSON_IsString(json) && plain(json->valuestring)) {
		ls_str_add(s, json->valuestring);
		return;
	}
	text = cJSON_PrintUnformatted(json); /* also [] and {} */
	if (text)
		ls_str_add(s, text);
	else
		s->oom = true;
	cJSON_free(text);
}

static void add_key(struct ls_str *s, const char *key)
{
	const cJSON as_value = { .type = cJSON_String, .valuestring = (char *)key };

	add_scalar(s, &as_value);
	ls_str_add(s, ":");
}

/* `begun`: the line has its "- " already, and the first entry goes on it. */
static void add_yaml(struct ls_str *s, const cJSON *json, int indent, bool begun)
{
	const cJSON *at;

	if (!json->child) {
		add_scalar(s, json);
		ls_str_add(s, "\n");
		return;
	}
	for (at = json->child; at; at = at->next, begun = false) {
		bool list = cJSON_IsArray(json), inner = at->child != NULL;

		if (!begun)
			ls_str_addf(s, "%*s", indent, "");
		if (list)
			ls_str_add(s, "- ");
		else
			add_key(s, at->string);
		if (!list)
			ls_str_add(s, inner ? "\n" : " ");
		add_yaml(s, at, inner && !list && cJSON_IsArray(at) ? indent : indent + 2, list && inner);
	}
}

void ls_str_add_yaml(struct ls_str *s, const cJSON *json)
{
	add_yaml(s, json, 0, false);
}
