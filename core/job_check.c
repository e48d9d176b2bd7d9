/* job_check.c -- walk a manifest along the table of fields: every key is a row, one of Kubernetes' names, or an error.
 *
 * Invariant: the walk goes on after an error, so that one run tells all that is wrong; what it stored is of use only
 * when it found none. Its depth is bounded by the table's.
 */
#include "core/job_fields.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define PATH_SIZE 256
#define MAX_SHOWN 8 /* errors in one report */

#define TEMPLATE "spec.workers.template"

static void join(char ret[PATH_SIZE], const char *path, const char *key)
{
	snprintf(ret, PATH_SIZE, "%s%s%.60s%s", path, *path ? "." : "", key, strlen(key) > 60 ? "..." : "");
}

/* Append a line to the report while it fits; what no longer fits is counted in its last line. */
static void report(struct ls_check *c, const char *line)
{
	const size_t last_line = sizeof("\n... and 1000000 more");
	size_t len = c->errors ? strlen(c->err->text) : 0;

	if (!c->errors) {
		ls_fail(c->err, LS_USAGE, 0, "%s", line);
		c->shown = 1;
	} else if (c->shown == c->errors && c->shown < MAX_SHOWN &&
		   len + 1 + strlen(line) + last_line < sizeof(c->err->text)) {
		snprintf(c->err->text + len, sizeof(c->err->text) - len, "\n%s", line);
		c->shown++;
	} else {
		if (c->shown == c->errors)
			c->full_len = len;
		snprintf(c->err->text + c->full_len, sizeof(c->err->text) - c->full_len, "\n... and %d more",
			c->errors + 1 - c->shown);
	}
}

void ls_check_fail(struct ls_check *c, const struct ls_node *at, const char *path, const char *fmt, ...)
{
	char line[640];
	size_t len;
	va_list ap;

	if (at && at->line < 0)
		snprintf(line, sizeof(line), "--set: %s: ", path);
	else if (at && at->line > 0)
		snprintf(line, sizeof(line), "%.200s:%d: %s: ", c->name, at->line, path);
	else
		snprintf(line, sizeof(line), "%.200s: %s: ", c->name, path);
	len = strlen(line);
	va_start(ap, fmt);
	vsnprintf(line + len, sizeof(line) - len, fmt, ap);
	va_end(ap);
	for (len = 0; line[len]; len++)
		if ((unsigned char)line[len] < ' ' || line[len] == 0x7f)
			line[len] = '?'; /* one error, one line, whatever the manifest's text holds */
	if (c->err)
		report(c, line);
	c->errors++;
}

void ls_check_not_applied(struct ls_check *c, const char *path)
{
	static const char *const known[] = { TEMPLATE ".spec.containers[0].", TEMPLATE ".spec.", "spec." };

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		if (!strncmp(path, known[i], strlen(known[i]))) {
			path += strlen(known[i]);
			break;
		}
	}
	ls_strv_add(&c->job->not_applied, path);
}

/* --- names -------------------------------------------------------------------------------------------------------- */

/* The path of the only row elsewhere with just this key: the right field in the wrong place. */
static bool elsewhere(const char *key, char ret[PATH_SIZE])
{
	const struct ls_field *f;
	int found = 0;

	for (f = ls_fields; f->key; f++) {
		if (!strcmp(f->key, key)) {
			join(ret, f->parent, f->key);
			found++;
		}
	}
	return found == 1;
}

static size_t known_names(const char *parent, const char **ret, size_t max)
{
	const struct ls_kube_fields *kube = ls_kube_find(parent);
	const struct ls_field *f;
	size_t n = 0;

	for (f = ls_fields; f->key; f++)
		if (!strcmp(f->parent, parent) && n + 1 < max)
			ret[n++] = f->key;
	for (size_t i = 0; kube && kube->names && kube->names[i] && n + 1 < max; i++)
		ret[n++] = kube->names[i];
	ret[n] = NULL;
	return n;
}

void ls_field_suggest(const char *parent, const char *key, char ret[320])
{
	const char *names[96], *near;
	char other[PATH_SIZE];
	size_t n, i;

	n = known_names(parent, names, sizeof(names) / sizeof(names[0]));
	near = ls_nearest(key, names);
	if (near) {
		snprintf(ret, 320, "did you mean %s?", near);
	} else if (elsewhere(key, other)) {
		snprintf(ret, 320, "did you mean %s?", other);
	} else {
		snprintf(ret, 320, n ? "known here:" : "it has no fields");
		for (i = 0; i < n && strlen(ret) < 200; i++)
			snprintf(ret + strlen(ret), 320 - strlen(ret), "%s %s", i ? "," : "", names[i]);
		if (i < n)
			strcat(ret, ", ...");
	}
}

static void unknown_field(struct ls_check *c, const char *parent, const struct ls_node *at, const char *path)
{
	char suggestion[320] = "";

	if (c->errors < MAX_SHOWN)
		ls_field_suggest(parent, at->key, suggestion); /* a further one is only counted: spare the search */
	ls_check_fail(c, at, path, "unknown field; %s", suggestion);
}

/* A key without a row: Kubernetes' own, or nobody's. */
static void other_field(struct ls_check *c, const char *parent, const struct ls_node *at, const char *path, bool keep)
{
	const struct ls_kube_fields *kube = ls_kube_find(parent);

	if (!ls_kube_has(kube, at->key))
		unknown_field(c, parent, at, path);
	else if (keep && !kube->silent && at->type != LS_NODE_NULL)
		ls_check_not_applied(c, path);
}

/* --- the walk ----------------------------------------------------------------------------------------------------- */

static void missing_field(struct ls_check *c, const struct ls_field *f, const struct ls_node *map, const char *path)
{
	char at[PATH_SIZE], row[PATH_SIZE];

	join(at, path, f->key);
	join(row, f->parent, f->key);
	if (f->type == LS_FIELD_ENUM)
		ls_check_fail(c, map, at, "missing; write %s: %s", f->key, f->names[0]);
	else
		ls_check_fail(c, map, at, "missing; lockstep explain %s tells what goes here", row);
}

void ls_check_map(struct ls_check *c, const struct ls_node *map, const char *parent, const char *path, bool keep)
{
	const struct ls_node *at;
	const struct ls_field *f;
	char at_path[PATH_SIZE];

	for (at = map->child; at; at = at->next) {
		f = ls_field_find(parent, at->key);
		join(at_path, path, at->key);
		if (f)
			ls_check_value(c, f, at, at_path, keep);
		else
			other_field(c, parent, at, at_path, keep);
	}
	for (f = ls_fields; f->key; f++) {
		if (!f->required || strcmp(f->parent, parent))
			continue;
		at = ls_node_get(map, f->key);
		if (!at || at->type == LS_NODE_NULL)
			missing_field(c, f, map, path);
	}
}

/* Only the first container's values are kept: the others are checked for their names. */
static void check_list(
	struct ls_check *c, const struct ls_field *f, const struct ls_node *list, const char *path, bool keep)
{
	char parent[PATH_SIZE], at_path[PATH_SIZE];
	size_t n = ls_node_count(list), i = 0;
	const struct ls_node *at;

	if (n < (size_t)f->min || n > (size_t)f->max) {
		ls_check_fail(c, list, path, "has %zu entries; write %lld to %lld", n, f->min, f->max);
		return;
	}
	snprintf(parent, sizeof(parent), "%.200s.%s[]", f->parent, f->key);
	for (at = list->child; at; at = at->next, i++) {
		snprintf(at_path, sizeof(at_path), "%.200s[%zu]", path, i);
		if (at->type == LS_NODE_MAP)
			ls_check_map(c, at, parent, at_path, keep && i == 0);
		else
			ls_check_fail(
				c, at, at_path, "want a map, not %s; write - name: ...", ls_node_type_name(at->type));
	}
}

void ls_check_value(
	struct ls_check *c, const struct ls_field *f, const struct ls_node *value, const char *path, bool keep)
{
	bool map = f->type == LS_FIELD_MAP, list = f->type == LS_FIELD_LIST;
	char parent[PATH_SIZE];

	if (value->type == LS_NODE_NULL)
		return; /* as if it were not there: so does Kubernetes */
	if (keep && f->kube_only)
		ls_check_not_applied(c, path);
	if (f->type == LS_FIELD_ANY)
		return;
	if (map && value->type == LS_NODE_MAP) {
		join(parent, f->parent, f->key);
		ls_check_map(c, value, parent, path, keep);
	} else if (list && value->type == LS_NODE_LIST) {
		check_list(c, f, value, path, keep);
	} else if (map) {
		ls_check_fail(c, value, path, "want a map of fields, not %s; indent its fields under it",
			ls_node_type_name(value->type));
	} else if (list) {
		ls_check_fail(c, value, path, "want a list, not %s; begin each entry with '- '",
			ls_node_type_name(value->type));
	} else {
		ls_check_scalar(c, f, value, path, keep);
	}
}
