/* node.c -- trees of values: typing and lookup. They come from node_parse.c and node_json.c; node_set.c changes them.
 *
 * Invariant: recursion over a tree is bounded: text and objects give at most LS_NODE_MAX_LEVELS levels, ls_node_set()
 * puts its value at most half as deep again.
 */
#include "core/node_impl.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define DIGITS "0123456789"

const char *ls_node_type_name(enum ls_node_type type)
{
	static const char *const names[] = {
		[LS_NODE_NULL] = "null",      [LS_NODE_BOOL] = "a boolean", [LS_NODE_INT] = "an integer",
		[LS_NODE_FLOAT] = "a number", [LS_NODE_STRING] = "a string", [LS_NODE_LIST] = "a list",
		[LS_NODE_MAP] = "a map",
	};

	return names[type];
}

void ls_node_free(struct ls_node *node)
{
	while (node) {
		struct ls_node *next = node->next;

		ls_node_free(node->child);
		free(node->key);
		free(node->text);
		free(node);
		node = next;
	}
}

struct ls_node *ls_node_new(enum ls_node_type type, const char *key, const char *text)
{
	struct ls_node *node = calloc(1, sizeof(*node));

	if (!node)
		return NULL;
	node->type = type;
	node->key = key ? strdup(key) : NULL;
	node->text = text ? strdup(text) : NULL;
	if ((key && !node->key) || (text && !node->text)) {
		ls_node_free(node);
		return NULL;
	}
	return node;
}

/* --- typing ------------------------------------------------------------------------------------------------------- */

static bool one_of(const char *text, const char *const *words)
{
	for (; *words; words++)
		if (!strcmp(text, *words))
			return true;
	return false;
}

static bool is_float(const char *s)
{
	static const char *const special[] = { ".inf", ".Inf", ".INF", NULL };
	size_t digits, n;

	s += *s == '-' || *s == '+';
	if (one_of(s, special))
		return true;
	digits = strspn(s, DIGITS);
	s += digits;
	if (*s == '.') {
		n = strspn(s + 1, DIGITS);
		digits += n;
		s += n + 1;
	}
	if (!digits)
		return false;
	if (*s == 'e' || *s == 'E') {
		s++;
		s += *s == '-' || *s == '+';
		n = strspn(s, DIGITS);
		if (!n)
			return false;
		s += n;
	}
	return *s == '\0';
}

/* [-+]?[0-9]+, 0o[0-7]+ and 0x[0-9a-fA-F]+ that fit 64 bits. */
static bool is_int(const char *s, long long *ret)
{
	const char *digits = s + (*s == '-' || *s == '+'), *set = DIGITS;
	int base = 10;

	if (s[0] == '0' && (s[1] == 'o' || s[1] == 'x')) {
		base = s[1] == 'o' ? 8 : 16;
		set = s[1] == 'o' ? "01234567" : DIGITS "abcdefABCDEF";
		digits = s = s + 2;
	}
	if (!*digits || digits[strspn(digits, set)])
		return false;
	errno = 0;
	*ret = strtoll(s, NULL, base);
	return errno == 0;
}

static void set_number(struct ls_node *node, double number)
{
	node->type = LS_NODE_FLOAT;
	node->number = number;
	if (isnan(number))
		node->integer = 0;
	else if (fabs(number) >= 0x1p63)
		node->integer = number < 0 ? LLONG_MIN : LLONG_MAX;
	else
		node->integer = (long long)number;
}

static double float_of(const char *text)
{
	const char *p = text + strspn(text, "-+");

	if (p[0] == '.' && (p[1] | 0x20) == 'i')
		return *text == '-' ? -(double)INFINITY : (double)INFINITY;
	return strtod(text, NULL);
}

void ls_node_resolve(struct ls_node *node)
{
	static const char *const nulls[] = { "", "~", "null", "Null", "NULL", NULL };
	static const char *const trues[] = { "true", "True", "TRUE", NULL };
	static const char *const falses[] = { "false", "False", "FALSE", NULL };
	static const char *const nans[] = { ".nan", ".NaN", ".NAN", NULL };
	long long integer;

	if (one_of(node->text, nulls)) {
		node->type = LS_NODE_NULL;
	} else if (one_of(node->text, trues) || one_of(node->text, falses)) {
		node->type = LS_NODE_BOOL;
		node->boolean = one_of(node->text, trues);
	} else if (is_int(node->text, &integer)) {
		node->type = LS_NODE_INT;
		node->integer = integer;
		node->number = (double)integer;
	} else if (one_of(node->text, nans)) {
		set_number(node, (double)NAN);
	} else if (is_float(node->text)) {
		set_number(node, float_of(node->text));
	} else {
		node->type = LS_NODE_STRING;
	}
}

/* --- lookup ------------------------------------------------------------------------------------------------------- */

const struct ls_node *ls_node_get(const struct ls_node *map, const char *key)
{
	const struct ls_node *at;

	if (!map || map->type != LS_NODE_MAP)
		return NULL;
	for (at = map->child; at; at = at->next)
		if (!strcmp(at->key, key))
			return at;
	return NULL;
}

size_t ls_node_count(const struct ls_node *list)
{
	const struct ls_node *at;
	size_t n = 0;

	for (at = list ? list->child : NULL; at; at = at->next)
		n++;
	return n;
}

static int by_key(const void *a, const void *b)
{
	const struct ls_node *x = *(const struct ls_node *const *)a, *y = *(const struct ls_node *const *)b;
	int order = strcmp(x->key, y->key);

	if (order)
		return order;
	return x->line != y->line ? (x->line > y->line) - (x->line < y->line) : x->column - y->column;
}

/* Sorted rather than compared pair by pair: 200,000 keys in one map must not take minutes. */
ls_status ls_node_duplicate(const struct ls_node *map, const struct ls_node **ret, struct ls_err *err)
{
	size_t i, n = ls_node_count(map);
	const struct ls_node *at, **sorted;

	*ret = NULL;
	if (n < 2)
		return LS_OK;
	sorted = malloc(n * sizeof(const struct ls_node *));
	if (!sorted)
		return ls_fail_oom(err);
	for (i = 0, at = map->child; at; at = at->next)
		sorted[i++] = at;
	qsort(sorted, n, sizeof(*sorted), by_key);
	for (i = 1; i < n && !*ret; i++)
		if (!strcmp(sorted[i - 1]->key, sorted[i]->key))
			*ret = sorted[i];
	free(sorted);
	return LS_OK;
}
