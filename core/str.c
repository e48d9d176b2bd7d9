/* str.c -- see str.h. */
#include "core/str.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static bool grow(struct ls_str *str, size_t more)
{
	size_t cap = str->cap ? str->cap : 64;
	char *s;

	if (str->oom)
		return false;
	while (cap < str->len + more + 1)
		cap *= 2;
	if (cap == str->cap)
		return true;
	s = realloc(str->s, cap);
	if (!s) {
		str->oom = true;
		return false;
	}
	str->s = s;
	str->cap = cap;
	return true;
}

void ls_str_addn(struct ls_str *str, const void *bytes, size_t len)
{
	if (!grow(str, len))
		return;
	if (len)
		memcpy(str->s + str->len, bytes, len);
	str->len += len;
	str->s[str->len] = '\0';
}

void ls_str_add(struct ls_str *str, const char *text)
{
	ls_str_addn(str, text, strlen(text));
}

void ls_str_vaddf(struct ls_str *str, const char *fmt, va_list ap)
{
	va_list again;
	int len;

	va_copy(again, ap);
	len = vsnprintf(NULL, 0, fmt, again);
	va_end(again);
	if (len < 0 || !grow(str, (size_t)len))
		return;
	vsnprintf(str->s + str->len, (size_t)len + 1, fmt, ap);
	str->len += (size_t)len;
}

void ls_str_addf(struct ls_str *str, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	ls_str_vaddf(str, fmt, ap);
	va_end(ap);
}

void ls_str_cut(struct ls_str *str, size_t head)
{
	if (head > str->len)
		head = str->len;
	if (!head)
		return;
	memmove(str->s, str->s + head, str->len - head + 1);
	str->len -= head;
}

const char *ls_str_text(const struct ls_str *str)
{
	return str->s ? str->s : "";
}

char *ls_str_steal(struct ls_str *str)
{
	char *s;

	if (!str->s)
		ls_str_addn(str, "", 0);
	s = str->s;
	if (str->oom) {
		free(s);
		s = NULL;
	}
	*str = (struct ls_str){ 0 };
	return s;
}

void ls_str_release(struct ls_str *str)
{
	free(str->s);
	*str = (struct ls_str){ 0 };
}

/* Takes over `text`, also when it fails. */
static void list_push(struct ls_strv *list, char *text)
{
	if (!text || list->oom) {
		list->oom = true;
		free(text);
		return;
	}
	if (list->n + 2 > list->cap) {
		size_t cap = list->cap ? 2 * list->cap : 16;
		char **v = realloc(list->v, cap * sizeof(*v));

		if (!v) {
			list->oom = true;
			free(text);
			return;
		}
		list->v = v;
		list->cap = cap;
	}
	list->v[list->n++] = text;
	list->v[list->n] = NULL;
}

void ls_strv_add(struct ls_strv *list, const char *text)
{
	list_push(list, strdup(text));
}

void ls_strv_addf(struct ls_strv *list, const char *fmt, ...)
{
	struct ls_str str = { 0 };
	va_list ap;

	va_start(ap, fmt);
	ls_str_vaddf(&str, fmt, ap);
	va_end(ap);
	list_push(list, ls_str_steal(&str));
}

static size_t env_find(const struct ls_strv *list, const char *name)
{
	size_t i, len = strlen(name);

	for (i = 0; i < list->n; i++)
		if (!strncmp(list->v[i], name, len) && list->v[i][len] == '=')
			break;
	return i;
}

void ls_strv_setenv(struct ls_strv *list, const char *name, const char *value)
{
	size_t i = env_find(list, name);
	struct ls_str str = { 0 };
	char *text;

	ls_str_addf(&str, "%s=%s", name, value);
	text = ls_str_steal(&str);
	if (i == list->n || !text) {
		list_push(list, text);
		return;
	}
	free(list->v[i]);
	list->v[i] = text;
}

const char *ls_strv_getenv(const struct ls_strv *list, const char *name)
{
	size_t i = env_find(list, name);

	return i < list->n ? list->v[i] + strlen(name) + 1 : NULL;
}

void ls_strv_release(struct ls_strv *list)
{
	size_t i;

	for (i = 0; i < list->n; i++)
		free(list->v[i]);
	free(list->v);
	*list = (struct ls_strv){ 0 };
}

/* Damerau-Levenshtein (optimal string alignment), case-insensitive: a wrong case costs nothing. Words beyond 63
 * characters are nobody's slip of the hand. */
static size_t edit_distance(const char *a, const char *b)
{
	enum { MAX = 64 };
	size_t la = strlen(a), lb = strlen(b), i, j;
	unsigned char d[MAX][MAX];

	if (la >= MAX || lb >= MAX)
		return MAX;
	for (i = 0; i <= la; i++)
		d[i][0] = (unsigned char)i;
	for (j = 0; j <= lb; j++)
		d[0][j] = (unsigned char)j;
	for (i = 1; i <= la; i++) {
		for (j = 1; j <= lb; j++) {
			bool same = !strncasecmp(a + i - 1, b + j - 1, 1);
			unsigned best = d[i - 1][j - 1] + !same;

			if (d[i - 1][j] + 1u < best)
				best = d[i - 1][j] + 1u;
			if (d[i][j - 1] + 1u < best)
				best = d[i][j - 1] + 1u;
			if (i > 1 && j > 1 && !strncasecmp(a + i - 1, b + j - 2, 1) &&
				!strncasecmp(a + i - 2, b + j - 1, 1) && d[i - 2][j - 2] + 1u < best)
				best = d[i - 2][j - 2] + 1u;
			d[i][j] = (unsigned char)best;
		}
	}
	return d[la][lb];
}

const char *ls_nearest(const char *word, const char *const *names)
{
	size_t best = strlen(word) / 3 + 1;
	const char *found = NULL;

	for (; *names; names++) {
		size_t d = edit_distance(word, *names);

		if (d <= best && (!found || d < best)) {
			best = d;
			found = *names;
		}
	}
	return found;
}

void ls_str_add_quoted(struct ls_str *str, const char *word)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:=,@%+";

	if (*word && word[strspn(word, plain)] == '\0') {
		ls_str_add(str, word);
		return;
	}
	ls_str_add(str, "'");
	for (; *word; word++) {
		if (*word == '\'')
			ls_str_add(str, "'\\''");
		else
			ls_str_addn(str, word, 1);
	}
	ls_str_add(str, "'");
}
