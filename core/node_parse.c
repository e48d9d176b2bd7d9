/* node_parse.c -- YAML or JSON text becomes a tree, by libyaml's events.
 *
 * Invariant: what is refused is refused before it costs memory: the size before parsing, levels and values as they
 * come, so that hostile text ends in an error and never in a deep stack.
 *
 * Deliberately not here: anchors, aliases, merge keys, application tags. They let one text be read in two ways.
 */
#include "core/node_impl.h"
#include "core/str.h"

#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#define TAG "tag:yaml.org,2002:"

struct level {
	struct ls_node *node, *last; /* the open list or map, and its newest entry */
	char *key;                   /* in a map: the key whose value comes next */
	yaml_mark_t key_at;
};

struct parse {
	const char *name;
	struct ls_err *err;
	yaml_parser_t yaml;
	struct ls_node *root;
	struct level stack[LS_NODE_MAX_LEVELS];
	int depth;
	size_t values;
};

static ls_status fail_at(struct parse *p, yaml_mark_t at, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

static ls_status fail_at(struct parse *p, yaml_mark_t at, const char *fmt, ...)
{
	char reason[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(reason, sizeof(reason), fmt, ap);
	va_end(ap);
	return ls_fail(p->err, LS_USAGE, 0, "%s:%zu:%zu: %s", p->name, at.line + 1, at.column + 1, reason);
}

/* --- before libyaml ----------------------------------------------------------------------------------------------- */

static yaml_mark_t mark_of(const char *text, size_t offset)
{
	yaml_mark_t at = { .index = offset };

	for (size_t i = 0; i < offset; i++) {
		at.column = text[i] == '\n' ? 0 : at.column + ((text[i] & 0xc0) != 0x80);
		at.line += text[i] == '\n';
	}
	return at;
}

/* YAML 1.1, so libyaml, takes U+0085, U+2028 and U+2029 for line ends; YAML 1.2 and JSON do not. */
static ls_status check_line_ends(struct parse *p, const char *text, size_t len)
{
	static const char *const ends[] = { "\xc2\x85", "\xe2\x80\xa8", "\xe2\x80\xa9" };

	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
		const char *found = len ? memmem(text, len, ends[i], strlen(ends[i])) : NULL;

		if (found)
			return fail_at(p, mark_of(text, (size_t)(found - text)),
				"an invisible Unicode line end, which YAML 1.1 and 1.2 read differently; "
				"write \"\\u0085\", \"\\u2028\" or \"\\u2029\" in double quotes");
	}
	return LS_OK;
}

/* --- libyaml's complaints ----------------------------------------------------------------------------------------- */

static const char *remedy(const char *problem)
{
	static const struct {
		const char *problem, *remedy;
	} rows[] = {
		{ "cannot start any token", "indent with spaces, not tabs, and quote text that starts with @, ` or %" },
		{ "mapping values are not allowed", "quote text that holds ': ', or mend the indentation" },
		{ "could not find expected ':'", "a key needs ': ' behind it, on its own line" },
		{ "did not find expected key", "mend the indentation of this line or the one above" },
		{ "did not find expected '-'", "mend the indentation of this line or the one above" },
		{ "did not find expected ','", "close the bracket, or put a comma between the entries" },
		{ "invalid Unicode character escape", "a surrogate needs its other half; or write the character itself" },
		{ "control characters", "remove it, or write it as \"\\xHH\" in double quotes" },
		{ "UTF-8", "save the file as UTF-8" },
		{ "unexpected end of stream", "close the quote" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (strstr(problem, rows[i].problem))
			return rows[i].remedy;
	return "mend the quoting or the indentation here";
}

static ls_status fail_yaml(struct parse *p, const char *text)
{
	const yaml_parser_t *yaml = &p->yaml;
	const char *problem = yaml->problem ? yaml->problem : "not YAML";

	if (yaml->error == YAML_MEMORY_ERROR)
		return ls_fail_oom(p->err);
	return fail_at(p, yaml->error == YAML_READER_ERROR ? mark_of(text, yaml->problem_offset) : yaml->problem_mark,
		"%s%s%s; %s", problem, yaml->context ? " " : "", yaml->context ? yaml->context : "", remedy(problem));
}

/* --- events to nodes ---------------------------------------------------------------------------------------------- */

static struct level *top(struct parse *p)
{
	return p->depth ? &p->stack[p->depth - 1] : NULL;
}

static bool wants_key(struct parse *p)
{
	return p->depth && top(p)->node->type == LS_NODE_MAP && !top(p)->key;
}

static ls_status check_tag(struct parse *p, const yaml_event_t *event, const char *tag, const char *anchor,
	const char *const *known)
{
	if (anchor)
		return fail_at(p, event->start_mark,
			"anchors (&%.40s) are not supported; write the value where it is used", anchor);
	for (; tag && *known; known++)
		if (!strcmp(tag, *known))
			return LS_OK;
	if (tag)
		return fail_at(p, event->start_mark, "the tag %.60s is not supported; leave it out", tag);
	return LS_OK;
}

/* Hang a new value under the open list or map. Takes `node` over. */
static ls_status attach(struct parse *p, struct ls_node *node, yaml_mark_t at)
{
	struct level *l = top(p);

	if (!node)
		return ls_fail_oom(p->err);
	if (l && l->key)
		at = l->key_at;
	node->line = at.line < INT_MAX ? (int)at.line + 1 : INT_MAX;
	node->column = at.column < INT_MAX ? (int)at.column + 1 : INT_MAX;
	if (!l)
		p->root = node;
	else if (l->last)
		l->last->next = node;
	else
		l->node->child = node;
	if (l) {
		l->last = node;
		free(l->key);
		l->key = NULL;
	}
	if (++p->values > LS_NODE_MAX_VALUES)
		return fail_at(p, at, "more than %d values; a manifest is smaller", LS_NODE_MAX_VALUES);
	return LS_OK;
}

static ls_status scalar_key(struct parse *p, const yaml_event_t *event)
{
	struct level *l = top(p);

	l->key = strdup((const char *)event->data.scalar.value);
	if (!l->key)
		return ls_fail_oom(p->err);
	l->key_at = event->start_mark;
	return LS_OK;
}

/* A tag may only say what the text is anyway, except !!str, which makes a string of it, and !!float of an integer. */
static ls_status apply_tag(struct parse *p, const yaml_event_t *event, struct ls_node *node)
{
	const char *tag = (const char *)event->data.scalar.tag;
	enum ls_node_type want;

	if (!strcmp(tag, "!") || !strcmp(tag, TAG "str"))
		return LS_OK; /* which it is */
	ls_node_resolve(node);
	tag += strlen(TAG);
	want = !strcmp(tag, "null") ? LS_NODE_NULL : !strcmp(tag, "bool") ? LS_NODE_BOOL :
		!strcmp(tag, "int") ? LS_NODE_INT : LS_NODE_FLOAT;
	if (want == LS_NODE_FLOAT && node->type == LS_NODE_INT)
		node->type = LS_NODE_FLOAT;
	if (node->type != want)
		return fail_at(p, event->start_mark, "the tag !!%s does not fit its value; leave it out", tag);
	return LS_OK;
}

static ls_status on_scalar(struct parse *p, const yaml_event_t *event)
{
	static const char *const tags[] = { "!", TAG "str", TAG "null", TAG "bool", TAG "int", TAG "float", NULL };
	const char *tag = (const char *)event->data.scalar.tag, *text = (const char *)event->data.scalar.value;
	struct level *l = top(p);
	struct ls_node *node;
	ls_status st;

	st = check_tag(p, event, tag, (const char *)event->data.scalar.anchor, tags);
	if (st)
		return st;
	if (strlen(text) != event->data.scalar.length)
		return fail_at(p, event->start_mark, "a NUL character in the text; no program could be given it");
	if (wants_key(p))
		return scalar_key(p, event);
	node = ls_node_new(LS_NODE_STRING, l ? l->key : NULL, text);
	st = attach(p, node, event->start_mark);
	if (st)
		return st;
	if (tag)
		return apply_tag(p, event, node);
	if (event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE)
		ls_node_resolve(node);
	return LS_OK;
}

static ls_status on_start(struct parse *p, const yaml_event_t *event, bool map)
{
	static const char *const tags[][3] = { { "!", TAG "seq", NULL }, { "!", TAG "map", NULL } };
	const char *key = top(p) ? top(p)->key : NULL;
	struct ls_node *node;
	ls_status st;

	st = map ? check_tag(p, event, (const char *)event->data.mapping_start.tag,
			   (const char *)event->data.mapping_start.anchor, tags[1])
		 : check_tag(p, event, (const char *)event->data.sequence_start.tag,
			   (const char *)event->data.sequence_start.anchor, tags[0]);
	if (st)
		return st;
	if (wants_key(p))
		return fail_at(p, event->start_mark, "a %s as a key; a key must be text (quote it if it is text)",
			map ? "map" : "list");
	if (p->depth == LS_NODE_MAX_LEVELS)
		return fail_at(p, event->start_mark, "nested deeper than %d levels", LS_NODE_MAX_LEVELS);
	node = ls_node_new(map ? LS_NODE_MAP : LS_NODE_LIST, key, NULL);
	st = attach(p, node, event->start_mark);
	if (!st)
		p->stack[p->depth++] = (struct level){ .node = node };
	return st;
}

static ls_status on_end(struct parse *p)
{
	struct ls_node *node = p->stack[--p->depth].node;
	const struct ls_node *twin = NULL;
	ls_status st;

	if (node->type != LS_NODE_MAP)
		return LS_OK;
	st = ls_node_duplicate(node, &twin, p->err);
	if (!st && twin)
		st = fail_at(p, (yaml_mark_t){ .line = (size_t)twin->line - 1, .column = (size_t)twin->column - 1 },
			"the key '%.60s' is there already; remove one of the two", twin->key);
	return st;
}

static ls_status on_event(struct parse *p, const yaml_event_t *event, bool *ret_done)
{
	switch (event->type) {
	case YAML_DOCUMENT_START_EVENT:
		if (p->root)
			return fail_at(p, event->start_mark, "a second document; put each into a file of its own");
		return LS_OK;
	case YAML_ALIAS_EVENT:
		return fail_at(p, event->start_mark, "aliases (*%.40s) are not supported; write the value itself, "
			"or quote text that starts with *", (const char *)event->data.alias.anchor);
	case YAML_SCALAR_EVENT:
		return on_scalar(p, event);
	case YAML_SEQUENCE_START_EVENT:
		return on_start(p, event, false);
	case YAML_MAPPING_START_EVENT:
		return on_start(p, event, true);
	case YAML_SEQUENCE_END_EVENT:
	case YAML_MAPPING_END_EVENT:
		return on_end(p);
	case YAML_STREAM_END_EVENT:
		*ret_done = true;
		return p->root ? LS_OK : fail_at(p, (yaml_mark_t){ 0 }, "there is nothing in it");
	default:
		return LS_OK;
	}
}

static ls_status parse_all(struct parse *p, const char *text, size_t len)
{
	ls_status st = LS_OK;
	bool done = false;

	if (!yaml_parser_initialize(&p->yaml))
		return ls_fail_oom(p->err);
	yaml_parser_set_encoding(&p->yaml, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&p->yaml, (const unsigned char *)text, len);
	while (!st && !done) {
		yaml_event_t event;

		if (!yaml_parser_parse(&p->yaml, &event)) {
			st = fail_yaml(p, text);
			break;
		}
		st = on_event(p, &event, &done);
		yaml_event_delete(&event);
	}
	for (int i = 0; i < p->depth; i++)
		free(p->stack[i].key);
	yaml_parser_delete(&p->yaml);
	return st;
}

ls_status ls_node_parse(const char *name, const char *text, size_t len, struct ls_node **ret, struct ls_err *err)
{
	struct parse p = { .name = name, .err = err };
	struct ls_str wide = { 0 };
	ls_status st;

	if (len > LS_NODE_MAX_BYTES)
		return ls_fail(err, LS_USAGE, 0, "%s:1:1: larger than %u MiB; is it a manifest?", name,
			LS_NODE_MAX_BYTES >> 20);
	if (len >= 3 && !memcmp(text, "\xef\xbb\xbf", 3)) {
		text += 3; /* a byte order mark, as some editors leave it */
		len -= 3;
	}
	st = check_line_ends(&p, text, len);
	if (st)
		return st;
	ls_json_widen(text, len, &wide);
	if (wide.oom)
		st = ls_fail_oom(err);
	else if (wide.len)
		st = parse_all(&p, wide.s, wide.len);
	else
		st = parse_all(&p, text, len);
	ls_str_release(&wide);
	if (st)
		ls_node_free(p.root);
	else
		*ret = p.root;
	return st;
}
