/* node_set.c -- `--set PATH=VALUE`: change one place of a tree.
 *
 * Invariant: the new value is whole before the tree is touched, so that a failure leaves the tree as it was.
 */
#include "core/node_impl.h"

#include <stdlib.h>
#include <string.h>

#define DIGITS "0123456789"

static struct ls_node *entry(struct ls_node *parent, const char *word)
{
	struct ls_node *at = parent->child;
	unsigned long index;

	if (parent->type == LS_NODE_MAP) {
		while (at && strcmp(at->key, word))
			at = at->next;
		return at;
	}
	if (!*word || word[strspn(word, DIGITS)])
		return NULL;
	for (index = strtoul(word, NULL, 10); at && index; index--)
		at = at->next;
	return at;
}

static void mark_set(struct ls_node *node)
{
	for (; node; node = node->next) {
		node->line = node->column = -1;
		mark_set(node->child);
	}
}

/* `value` takes the place of `at`, under its key. */
static void replace(struct ls_node *at, struct ls_node *value)
{
	struct ls_node old = *at;

	*at = *value;
	at->key = old.key;
	at->next = old.next;
	*value = old;
	value->key = NULL;
	value->next = NULL;
	ls_node_free(value);
}

/* Wrap `value` into the maps for words[0..n), innermost first; on failure *value is still the caller's to free. */
static ls_status wrap(char **words, size_t n, struct ls_node **value, struct ls_err *err)
{
	while (n > 0) {
		struct ls_node *map;

		(*value)->key = strdup(words[--n]);
		map = (*value)->key ? ls_node_new(LS_NODE_MAP, NULL, NULL) : NULL;
		if (!map)
			return ls_fail_oom(err);
		map->line = map->column = -1;
		map->child = *value;
		*value = map;
	}
	return LS_OK;
}

/* Go down as far as the tree goes, then put the rest of the path there in one piece: a failure changes nothing. */
static ls_status put(struct ls_node *root, char **words, size_t n, struct ls_node **value, struct ls_err *err)
{
	struct ls_node *at = root, *next, **tail;
	ls_status st;
	size_t i = 0;

	while (i < n && (at->type == LS_NODE_MAP || at->type == LS_NODE_LIST) && (next = entry(at, words[i]))) {
		at = next;
		i++;
	}
	if (i < n && at->type == LS_NODE_LIST)
		return ls_fail(err, LS_USAGE, 0,
			"'%s' is not an entry of the list before it; it has %zu, counted from 0", words[i],
			ls_node_count(at));
	if (i < n && at->type != LS_NODE_MAP && at->type != LS_NODE_NULL)
		return ls_fail(err, LS_USAGE, 0, "'%s' has no place: what is before it is %s, not a map", words[i],
			ls_node_type_name(at->type));
	st = wrap(words + i, n - i, value, err);
	if (st)
		return st;
	if (at->type != LS_NODE_MAP || i == n) {
		replace(at, *value);
	} else {
		for (tail = &at->child; *tail; tail = &(*tail)->next)
			;
		*tail = (*value)->child; /* the outermost new map is `at` itself */
		(*value)->child = NULL;
		ls_node_free(*value);
	}
	*value = NULL;
	return LS_OK;
}

static ls_status split(char *path, char **words, size_t *ret_n, struct ls_err *err)
{
	size_t n = 0;

	for (char *word; (word = strsep(&path, "."));) {
		if (!*word)
			return ls_fail(
				err, LS_USAGE, 0, "the path has an empty part; write it like spec.workers.replicas");
		if (n == LS_NODE_MAX_LEVELS / 2)
			return ls_fail(err, LS_USAGE, 0, "the path has more than %zu parts", n);
		words[n++] = word;
	}
	*ret_n = n;
	return LS_OK;
}

/* "containers[0].args", as messages write it, is "containers.0.args". */
static void brackets_to_dots(char *path)
{
	char *to = path;

	for (; *path; path++) {
		size_t digits = *path == '[' ? strspn(path + 1, DIGITS) : 0;

		if (digits && path[1 + digits] == ']') {
			*to++ = '.';
			memmove(to, path + 1, digits);
			to += digits;
			path += 1 + digits;
		} else {
			*to++ = *path;
		}
	}
	*to = '\0';
}

ls_status ls_node_set(struct ls_node *root, const char *assignment, struct ls_err *err)
{
	const char *equals = strchr(assignment, '=');
	char *words[LS_NODE_MAX_LEVELS / 2], *path;
	struct ls_node *value = NULL;
	size_t n = 0;
	ls_status st;

	if (!equals)
		return ls_fail(err, LS_USAGE, 0, "--set %s: no '='; write PATH=VALUE", assignment);
	path = strndup(assignment, (size_t)(equals - assignment));
	if (!path)
		return ls_fail_oom(err);
	brackets_to_dots(path);
	st = split(path, words, &n, err);
	if (!st)
		st = equals[1] ? ls_node_parse("value", equals + 1, strlen(equals + 1), &value, err)
			       : (value = ls_node_new(LS_NODE_NULL, NULL, "")) ? LS_OK : ls_fail_oom(err);
	if (!st) {
		mark_set(value);
		st = put(root, words, n, &value, err);
	}
	if (st)
		ls_err_at(err, st, "--set %s: ", assignment);
	ls_node_free(value);
	free(path);
	return st;
}
