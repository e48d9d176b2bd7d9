/* job_values.c -- one value against its row: type, range, form; then into struct ls_job.
 *
 * Types are as strict as Kubernetes' API server, so that a manifest which runs here is not refused there: a number
 * where text is wanted needs quotes, and the other way round.
 */
#include "core/job_fields.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOWER "abcdefghijklmnopqrstuvwxyz0123456789"

/* Where the row's value is kept; only for rows with .stored. */
static void *place(const struct ls_check *c, const struct ls_field *f)
{
	return (char *)c->job + f->at;
}

/* The value as a message shows it: its kind, and its text if it has one and is short. */
static const char *shown(const struct ls_node *value, char ret[96])
{
	if (!value->text || strlen(value->text) > 60)
		snprintf(ret, 96, "%s", ls_node_type_name(value->type));
	else
		snprintf(ret, 96, value->type == LS_NODE_STRING ? "%s \"%s\"" : "%s %s", ls_node_type_name(value->type),
			value->text);
	return ret;
}

/* --- numbers ------------------------------------------------------------------------------------------------------ */

static bool int_ok(struct ls_check *c, const struct ls_field *f, const struct ls_node *value, const char *path)
{
	const char *digits = value->text ? value->text + strspn(value->text, "-+") : "";
	char text[96];

	if (value->type == LS_NODE_STRING && *digits && strlen(digits) < 19 && !digits[strspn(digits, "0123456789")])
		ls_check_fail(c, value, path, "is %s; write the number without quotes", shown(value, text));
	else if (value->type != LS_NODE_INT)
		ls_check_fail(c, value, path, "is %s; write a whole number from %lld to %lld", shown(value, text),
			f->min, f->max);
	else if (digits[0] == '0' && digits[1] >= '0' && digits[1] <= '9')
		ls_check_fail(c, value, path,
			"%.60s is octal for some readers and decimal for others; write it without the leading 0",
			value->text);
	else if (value->integer < f->min)
		ls_check_fail(c, value, path, "%lld is too small; the least is %lld", value->integer, f->min);
	else if (value->integer > f->max)
		ls_check_fail(c, value, path, "%lld is too large; the most is %lld", value->integer, f->max);
	else
		return true;
	return false;
}

static void check_int(
	struct ls_check *c, const struct ls_field *f, const struct ls_node *value, const char *path, bool keep)
{
	if (!int_ok(c, f, value, path) || !keep || !f->stored)
		return;
	if (f->type == LS_FIELD_LONG)
		*(long long *)place(c, f) = value->integer;
	else
		*(int *)place(c, f) = (int)value->integer;
}

static void check_ranks(
	struct ls_check *c, const struct ls_field *f, const struct ls_node *value, const char *path, bool keep)
{
	if (value->type == LS_NODE_STRING && !strcmp(value->text, "auto")) {
		if (keep)
			*(int *)place(c, f) = LS_RANKS_AUTO;
	} else if (value->type == LS_NODE_STRING) {
		ls_check_fail(
			c, value, path, "is the string \"%.60s\"; write auto, or a number without quotes", value->text);
	} else {
		check_int(c, f, value, path, keep);
	}
}

/* Kubernetes' quantities may be strings; a GPU is not divided, so only digits make sense. */
static void check_gpus(
	struct ls_check *c, const struct ls_field *f, const struct ls_node *value, const char *path, bool keep)
{
	struct ls_node number = *value;
	bool digits = value->type == LS_NODE_STRING && *value->text && !value->text[strspn(value->text, "0123456789")];

	if (digits && strlen(value->text) < 10) {
		number.type = LS_NODE_INT;
		number.integer = atoll(value->text);
	}
	check_int(c, f, &number, path, keep);
}

static void check_codes(
	struct ls_check *c, const struct ls_field *f, const struct ls_node *value, const char *path, bool keep)
{
	unsigned char *codes = place(c, f);
	const struct ls_node *at;
	char at_path[256];
	size_t i = 0;

	if (value->type != LS_NODE_LIST) {
		ls_check_fail(c, value, path, "want a list, not %s; write [137, 143]", ls_node_type_name(value->type));
		return;
	}
	if (keep)
		memset(codes, 0, 256);
	for (at = value->child; at; at = at->next) {
		snprintf(at_path, sizeof(at_path), "%.200s[%zu]", path, i++);
		if (int_ok(c, f, at, at_path) && keep)
			codes[at->integer] = 1;
	}
}

/* --- words -------------------------------------------------------------------------------------------------------- */

static void check_bool(
	struct ls_check *c, const struct ls_field *f, const struct ls_node *value, const char *path, bool keep)
{
	char text[96];

	if (value->type != LS_NODE_BOOL)
		ls_check_fail(c, value, path, "is %s; write true or false", shown(value, text));
	else if (keep && f->stored)
		*(bool *)place(c, f) = value->boolean;
}

static void check_enum(
	struct ls_check *c, const struct ls_field *f, const struct ls_node *value, const char *path, bool keep)
{
	const char *near = value->text ? ls_nearest(value->text, f->names) : NULL;
	char list[160] = "", text[96];
	int i;

	for (i = 0; f->names[i]; i++) {
		if (value->type == LS_NODE_STRING && !strcmp(value->text, f->names[i])) {
			if (keep && f->stored)
				*(int *)place(c, f) = i;
			return;
		}
		snprintf(list + strlen(list), sizeof(list) - strlen(list), "%s%s", i ? ", " : "", f->names[i]);
	}
	if (i == 1)
		ls_check_fail(c, value, path, "is %s; write %s", shown(value, text), list);
	else
		ls_check_fail(c, value, path, "is %s; write one of %s%s%s%s", shown(value, text), list,
			near ? " (did you mean " : "", near ? near : "", near ? "?)" : "");
}

static const char *uri_fault(const char *uri)
{
	const char *bucket = uri + strlen("s3://");
	size_t n;

	if (!strncmp(uri, "file://", 7))
		return uri[7] == '/' ? NULL : "needs an absolute path; write file:///absolute/path";
	if (strncmp(uri, "s3://", 5))
		return "is neither file:// nor s3://; write file:///absolute/path or s3://bucket/prefix";
	n = strspn(bucket, LOWER ".-");
	if (n < 3 || n > 63 || (bucket[n] && bucket[n] != '/'))
		return "needs a bucket of 3 to 63 of a-z, 0-9, '.' and '-'; write s3://bucket/prefix";
	return NULL;
}

static const char *form_fault(enum ls_field_form form, const char *text)
{
	size_t len = strlen(text);
	const char *p;

	switch (form) {
	case LS_FORM_LABEL:
		if (!len || len > 63 || text[strspn(text, LOWER "-")] || text[0] == '-' || text[len - 1] == '-')
			return "is not a DNS label; use at most 63 of a-z, 0-9 and '-', neither first nor last a '-'";
		return NULL;
	case LS_FORM_URI:
		return uri_fault(text);
	case LS_FORM_ENVNAME:
		for (p = text; *p > ' ' && *p < 0x7f && *p != '='; p++)
			;
		return *p || !len ? "is no name of an environment variable; use letters, digits and '_'" : NULL;
	case LS_FORM_FREE:
	case LS_FORM_TIME:
		return NULL;
	}
	return NULL;
}

static bool string_ok(struct ls_check *c, const struct ls_node *value, const char *path)
{
	char text[96];

	if (value->type == LS_NODE_STRING)
		return true;
	if (value->text && *value->text && strlen(value->text) < 60)
		ls_check_fail(c, value, path, "is %s, where text is wanted; put it in quotes: \"%s\"",
			shown(value, text), value->text);
	else
		ls_check_fail(c, value, path, "is %s; write text",
			value->text && !*value->text ? "empty" : shown(value, text));
	return false;
}

static void check_string(
	struct ls_check *c, const struct ls_field *f, const struct ls_node *value, const char *path, bool keep)
{
	const char *fault;
	char **at;

	if (!string_ok(c, value, path))
		return;
	fault = form_fault(f->form, value->text);
	if (fault)
		ls_check_fail(c, value, path, "\"%.80s\" %s", value->text, fault);
	if (fault || !keep || !f->stored || !*value->text)
		return;
	at = place(c, f);
	free(*at);
	*at = strdup(value->text);
	c->oom |= !*at;
}

static void check_strings(
	struct ls_check *c, const struct ls_field *f, const struct ls_node *value, const char *path, bool keep)
{
	const struct ls_node *at;
	char at_path[256];
	size_t i = 0;

	if (value->type != LS_NODE_LIST) {
		ls_check_fail(c, value, path,
			"want a list, not %s; write [\"first\", \"second\"], each word on its own",
			ls_node_type_name(value->type));
		return;
	}
	if (ls_node_count(value) > (size_t)f->max) {
		ls_check_fail(c, value, path, "has %zu entries; write at most %lld", ls_node_count(value), f->max);
		return;
	}
	for (at = value->child; at; at = at->next) {
		snprintf(at_path, sizeof(at_path), "%.200s[%zu]", path, i++);
		if (string_ok(c, at, at_path) && keep && f->stored)
			ls_strv_add(place(c, f), at->text);
	}
}

static void check_labels(struct ls_check *c, const struct ls_node *value, const char *path)
{
	const struct ls_node *at;
	char at_path[256];

	if (value->type != LS_NODE_MAP)
		ls_check_fail(c, value, path, "want a map of text, not %s; write {key: text}",
			ls_node_type_name(value->type));
	for (at = value->type == LS_NODE_MAP ? value->child : NULL; at; at = at->next) {
		snprintf(at_path, sizeof(at_path), "%.100s.%.100s", path, at->key);
		if (at->type != LS_NODE_NULL)
			string_ok(c, at, at_path);
	}
}

void ls_check_scalar(
	struct ls_check *c, const struct ls_field *f, const struct ls_node *value, const char *path, bool keep)
{
	switch (f->type) {
	case LS_FIELD_INT:
	case LS_FIELD_LONG:
		check_int(c, f, value, path, keep);
		break;
	case LS_FIELD_RANKS:
		check_ranks(c, f, value, path, keep);
		break;
	case LS_FIELD_GPUS:
		check_gpus(c, f, value, path, keep);
		break;
	case LS_FIELD_CODES:
		check_codes(c, f, value, path, keep);
		break;
	case LS_FIELD_BOOL:
		check_bool(c, f, value, path, keep);
		break;
	case LS_FIELD_ENUM:
		check_enum(c, f, value, path, keep);
		break;
	case LS_FIELD_STRING:
		check_string(c, f, value, path, keep);
		break;
	case LS_FIELD_STRINGS:
		check_strings(c, f, value, path, keep);
		break;
	case LS_FIELD_LABELS:
		check_labels(c, value, path);
		break;
	case LS_FIELD_MAP:
	case LS_FIELD_LIST:
	case LS_FIELD_ANY:
		break;
	}
}
