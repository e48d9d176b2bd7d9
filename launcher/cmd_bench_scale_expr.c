/* cmd_bench_scale_expr.c -- values that depend on the number of ranks, and where in the job they go.
 *
 *     sum     = product { ("+" | "-") product }
 *     product = factor { ("*" | "/" | "%") factor }
 *     factor  = number | "ranks" | "hosts" | "-" factor | "(" sum ")"
 *
 * A value must be whole, unless the expression itself has a decimal point: a batch that does not divide is a mistake, a learning rate is
 * not. An assignment is an argument of the program (--batch={96/ranks}), a field of the manifest (spec.…={…}), else a variable. */
#include "launcher/cmd_bench_scale.h"
#include "core/job.h"
#include "core/node.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONTAINER "spec.workers.template.spec.containers.0"

enum { DEPTH = 50 };

struct reader {
	const char *p, *end;
	const struct ls_scale_names *names;
	bool decimals;
	int depth;
	char why[120];        /* "": all is well */
};

static double sum(struct reader *r);

static char next(struct reader *r)
{
	while (r->p < r->end && *r->p == ' ')
		r->p++;
	return r->p < r->end ? *r->p : '\0';
}

static double wrong(struct reader *r, const char *why)
{
	if (!r->why[0])
		snprintf(r->why, sizeof(r->why), "%s", why);
	r->p = r->end;
	return NAN;
}

static double number(struct reader *r)
{
	char text[64], *end;
	size_t len = 0;
	double v;

	while (r->p + len < r->end && len < sizeof(text) - 1 && (isdigit((unsigned char)r->p[len]) || r->p[len] == '.'))
		len++;
	snprintf(text, sizeof(text), "%.*s", (int)len, r->p);
	v = strtod(text, &end);
	if (*end)
		return wrong(r, "a number has one decimal point");
	r->decimals |= strchr(text, '.') != NULL;
	r->p += len;
	return v;
}

static double name(struct reader *r)
{
	static const char *const known[] = { "ranks", "hosts", NULL };
	char word[32], text[100];
	size_t len = 0;
	const char *near;

	while (r->p + len < r->end && (isalnum((unsigned char)r->p[len]) || r->p[len] == '_'))
		len++;
	snprintf(word, sizeof(word), "%.*s", (int)len, r->p);
	r->p += len;
	if (!strcmp(word, "ranks"))
		return r->names->ranks;
	if (!strcmp(word, "hosts"))
		return r->names->hosts;
	near = ls_nearest(word, known);
	snprintf(text, sizeof(text), "'%s' is no name; want ranks or hosts%s%s%s", word, near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
	return wrong(r, text);
}

static double factor(struct reader *r)
{
	char c = next(r);
	double v;

	if (++r->depth > DEPTH)
		return wrong(r, "it is nested too deeply");
	if (c == '(' || c == '-') {
		r->p++;
		v = c == '-' ? -factor(r) : sum(r);
		if (c == '(' && next(r) != ')')
			v = wrong(r, "a ')' is missing");
		else if (c == '(')
			r->p++;
	} else if (isdigit((unsigned char)c) || c == '.') {
		v = number(r);
	} else if (isalpha((unsigned char)c)) {
		v = name(r);
	} else {
		v = wrong(r, "a number, ranks or hosts is missing");
	}
	r->depth--;
	return v;
}

static double product(struct reader *r)
{
	double v = factor(r), by;
	char c;

	while ((c = next(r)) == '*' || c == '/' || c == '%') {
		r->p++;
		by = factor(r);
		if (c != '*' && by == 0)
			return wrong(r, "it divides by 0");
		v = c == '*' ? v * by : c == '/' ? v / by : fmod(v, by);
	}
	return v;
}

static double sum(struct reader *r)
{
	double v = product(r), by;
	char c;

	while ((c = next(r)) == '+' || c == '-') {
		r->p++;
		by = product(r);
		v += c == '+' ? by : -by;
	}
	return v;
}

/* `text` is what stands between the braces. */
static ls_status value(const char *text, size_t len, const struct ls_scale_names *names, struct ls_str *ret, struct ls_err *err)
{
	struct reader r = { .p = text, .end = text + len, .names = names };
	double v = sum(&r);

	if (!r.why[0] && next(&r))
		wrong(&r, "an operator is missing: + - * / %");
	if (!r.why[0] && !(fabs(v) < 1e15))
		wrong(&r, "it is too large");
	if (!r.why[0] && !r.decimals && v != rint(v))
		snprintf(r.why, sizeof(r.why), "it is %.4g, which is not whole; write a number with a decimal point where a fraction is meant", v);
	if (r.why[0])
		return ls_fail(err, LS_USAGE, 0, "{%.*s} with %d ranks: %s", (int)len, text, names->ranks, r.why);
	ls_str_addf(ret, "%.15g", v + 0.0 == 0 ? 0 : v);
	return LS_OK;
}

/* YAML in braces has a ':', a ',' or quotes; what could be an expression and is none shall not pass as text. */
static bool is_expression(const char *text, size_t len)
{
	size_t i;

	for (i = 0; i < len && (isalnum((unsigned char)text[i]) || strchr("_ .+-*/%()", text[i])); i++)
		;
	return i == len && len;
}

ls_status ls_scale_expand(const char *text, const struct ls_scale_names *names, struct ls_str *ret, struct ls_err *err)
{
	ls_status st = LS_OK;
	size_t len;

	while (!st && *text) {
		len = strcspn(text, "{");
		ls_str_addn(ret, text, len);
		text += len;
		if (!*text)
			break;
		len = strcspn(text + 1, "{}");
		if (text[1 + len] == '}' && is_expression(text + 1, len)) {
			st = value(text + 1, len, names, ret, err);
			text += len + 2;
		} else {
			ls_str_addn(ret, text++, 1);
		}
	}
	return !st && ret->oom ? ls_fail_oom(err) : st;
}

/* --- where a value goes --------------------------------------------------------------------------------------------------------- */

static void add_string(struct ls_str *out, const char *text)
{
	for (; *text; text++)
		ls_str_addf(out, *text == '"' || *text == '\\' ? "\\%c" : "%c", *text);
}

/* --set PATH.INDEX[.value]="…": a string, whatever it looks like. */
static void set_entry(struct ls_strv *ret, const char *list, size_t index, const char *below, const char *head, const char *text)
{
	struct ls_str quoted = { 0 };

	add_string(&quoted, head);
	add_string(&quoted, text);
	ls_strv_addf(ret, "--set");
	ls_strv_addf(ret, CONTAINER ".%s.%zu%s=\"%s\"", list, index, below, ls_str_text(&quoted));
	ret->oom |= quoted.oom;
	ls_str_release(&quoted);
}

static const struct ls_node *entry_of(const struct ls_node *container, const char *list)
{
	const struct ls_node *node = ls_node_get(container, list);

	return node ? node->child : NULL;
}

static const struct ls_node *container_of(const struct ls_node *root)
{
	static const char *const path[] = { "spec", "workers", "template", "spec", "containers" };
	size_t i;

	for (i = 0; root && i < sizeof(path) / sizeof(path[0]); i++)
		root = ls_node_get(root, path[i]);
	return root ? root->child : NULL;
}

/* --batch=96: the argument "--batch" has 96 behind it, or is "--batch=96". */
static ls_status set_argument(const struct ls_node *container, const char *text, struct ls_strv *ret, struct ls_err *err)
{
	static const char *const lists[] = { "command", "args" };
	size_t len = strcspn(text, "="), i, at;
	const struct ls_node *e;

	for (i = 0; i < 2; i++)
		for (at = 0, e = entry_of(container, lists[i]); e; e = e->next, at++) {
			if (!e->text || strncmp(e->text, text, len) != 0)
				continue;
			if (!e->text[len] && e->next)
				set_entry(ret, lists[i], at + 1, "", "", text + len + 1);
			else if (e->text[len] == '=')
				set_entry(ret, lists[i], at, "", "", text);
			else
				continue;
			return LS_OK;
		}
	return ls_fail(err, LS_USAGE, 0, "%.*s stands neither in command nor in args of the manifest's first container: write it there, with a value",
		(int)len, text);
}

/* Where the manifest has the variable it is set there, so that $(NAME) in its arguments follows. */
static void set_variable(const struct ls_node *container, const char *text, struct ls_strv *ret)
{
	size_t len = strcspn(text, "="), at = 0;
	const struct ls_node *e, *name;

	for (e = entry_of(container, "env"); e; e = e->next, at++) {
		name = ls_node_get(e, "name");
		if (text[len] && name && name->text && strlen(name->text) == len && !strncmp(name->text, text, len)) {
			set_entry(ret, "env", at, ".value", "", text + len + 1);
			return;
		}
	}
	ls_strv_addf(ret, "-x");
	ls_strv_addf(ret, "%s", text);
}

/* FIELD=VALUE; an argument or a variable is neither. */
static bool is_field(const char *text)
{
	return *text != '-' && memchr(text, '.', strcspn(text, "="));
}

static ls_status assign_one(const struct ls_node *container, const char *text, bool variable, struct ls_strv *ret, struct ls_err *err)
{
	size_t len = strcspn(text, "=");

	if (variable) {
		set_variable(container, text, ret); /* also -x NAME: the variable as it is here */
		return LS_OK;
	}
	if (!len || !text[len])
		return ls_fail(err, LS_USAGE, 0, "'%s' is no assignment; want --ARGUMENT=VALUE, NAME=VALUE or FIELD.OF.THE.MANIFEST=VALUE", text);
	if (*text == '-')
		return set_argument(container, text, ret, err);
	if (is_field(text)) {
		ls_strv_addf(ret, "--set");
		ls_strv_addf(ret, "%s", text);
	} else {
		set_variable(container, text, ret);
	}
	return LS_OK;
}

static ls_status assign_all(const struct ls_node *container, const struct ls_strv *list, const char *option, const struct ls_scale_names *names,
	struct ls_strv *ret, struct ls_err *err)
{
	ls_status st = LS_OK;
	size_t i;

	for (i = 0; !st && list && i < list->n; i++) {
		struct ls_str text = { 0 };

		st = ls_scale_expand(list->v[i], names, &text, err);
		if (!st)
			st = assign_one(container, ls_str_text(&text), !strcmp(option, "-x"), ret, err);
		if (st)
			ls_err_at(err, st, "%s: ", option);
		ls_str_release(&text);
	}
	return st;
}

/* The fields first: they say what the program and its arguments are. */
static ls_status assign_fields(const struct ls_strv *list, const struct ls_scale_names *names, struct ls_strv *ret_sets, struct ls_strv *ret_others,
	struct ls_err *err)
{
	ls_status st = LS_OK;
	size_t i;

	for (i = 0; !st && i < list->n; i++) {
		struct ls_str text = { 0 };

		if (is_field(list->v[i])) {
			st = ls_scale_expand(list->v[i], names, &text, err);
			ls_strv_add(ret_sets, ls_str_text(&text));
		} else {
			ls_strv_add(ret_others, list->v[i]);
		}
		ls_str_release(&text);
	}
	return st ? ls_err_at(err, st, "--set: ") : LS_OK;
}

ls_status ls_scale_assign(const struct ls_scale_options *opt, const struct ls_strv *series, const struct ls_scale_names *names, struct ls_strv *ret,
	struct ls_err *err)
{
	struct ls_strv sets = { 0 }, others = { 0 };
	struct ls_node *root = NULL;
	const struct ls_node *container;
	ls_status st = assign_fields(&opt->sets, names, &sets, &others, err);
	size_t i;

	for (i = 0; i < sets.n; i++) {
		ls_strv_add(ret, "--set");
		ls_strv_add(ret, sets.v[i]);
	}
	if (!st)
		st = ls_job_read(opt->file, (const char *const *)sets.v, &root, err);
	container = container_of(root);
	if (!st)
		st = assign_all(container, &others, "--set", names, ret, err);
	if (!st)
		st = assign_all(container, &opt->env, "-x", names, ret, err);
	if (!st)
		st = assign_all(container, series, series == &opt->weak ? "--weak" : "--strong", names, ret, err);
	if (!st && (ret->oom || sets.oom || others.oom))
		st = ls_fail_oom(err);
	ls_node_free(root);
	ls_strv_release(&sets);
	ls_strv_release(&others);
	return st;
}
