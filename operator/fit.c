/* fit.c -- nodeSelector, required node affinity, taints and tolerations, as the default scheduler reads them. */
#include "operator/fit.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MOST 1000

enum op { IN, NOT_IN, EXISTS, DOES_NOT_EXIST, GT, LT, OP_N };
static const char *const op_names[OP_N] = { "In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt" };

struct value {
	const struct ls_word *word; /* NULL: no node has it */
	const char *text;
};

struct req {
	enum op op;
	bool name;                 /* metadata.name instead of a label */
	const struct ls_word *key; /* NULL: no node has it */
	int first, n;              /* of values */
	int64_t number;            /* GT, LT */
};

struct toleration {
	const struct ls_word *key, *value; /* NULL: no taint has it */
	bool any_key, exists;
	int effect;                        /* -1: any */
};

struct ls_fit {
	const struct ls_words *words;
	int n_values, n_reqs, n_terms, n_tolerations;
	int n_selector;        /* the first requirements: nodeSelector, and nodeName */
	bool affinity;         /* one of the terms must match */
	struct value values[MOST];
	struct req reqs[MOST];
	struct { int first, n; } terms[MOST];
	struct toleration tolerations[MOST];
};

static const cJSON *get(const cJSON *o, const char *name)
{
	return cJSON_GetObjectItemCaseSensitive(o, name);
}

static const char *text(const cJSON *o, const char *name)
{
	const char *s = cJSON_GetStringValue(get(o, name));

	return s ? s : "";
}

static ls_status too_many(struct ls_err *err)
{
	return ls_fail(err, LS_USAGE, 0, "the template makes more than %d requirements on nodes", MOST);
}

/* --- compile ----------------------------------------------------------------------------------------------------------------------------------- */

static ls_status value_add(struct ls_fit *f, const char *s, struct ls_err *err)
{
	if (f->n_values == MOST)
		return too_many(err);
	f->values[f->n_values++] = (struct value){ ls_words_find(f->words, s), s };
	f->reqs[f->n_reqs - 1].n++;
	return LS_OK;
}

/* Its values follow. */
static ls_status req_add(struct ls_fit *f, enum op op, const char *key, bool name, struct ls_err *err)
{
	if (f->n_reqs == MOST)
		return too_many(err);
	f->reqs[f->n_reqs++] = (struct req){ .op = op, .name = name, .key = ls_words_find(f->words, key), .first = f->n_values };
	return LS_OK;
}

/* As Go's ParseInt. */
static bool number_read(const char *s, int64_t *ret)
{
	char *end;

	if (!isdigit((unsigned char)s[*s == '-' || *s == '+']))
		return false;
	errno = 0;
	*ret = strtoll(s, &end, 10);
	return !*end && !errno;
}

/* How many values an operator wants; Gt and Lt want a number. */
static ls_status values_check(struct ls_fit *f, struct req *r, const char *key, struct ls_err *err)
{
	if ((r->op == IN || r->op == NOT_IN) && !r->n)
		return ls_fail(err, LS_USAGE, 0, "the template's node affinity for %.80s: %s wants values", key, op_names[r->op]);
	if ((r->op == EXISTS || r->op == DOES_NOT_EXIST) && r->n)
		return ls_fail(err, LS_USAGE, 0, "the template's node affinity for %.80s: %s takes no values", key, op_names[r->op]);
	if ((r->op == GT || r->op == LT) && (r->n != 1 || !number_read(f->values[r->first].text, &r->number)))
		return ls_fail(err, LS_USAGE, 0, "the template's node affinity for %.80s: %s wants one integer", key, op_names[r->op]);
	return LS_OK;
}

static ls_status expression(struct ls_fit *f, const cJSON *e, bool field, struct ls_err *err)
{
	const char *op = text(e, "operator"), *key = text(e, "key");
	const cJSON *it;
	int o;
	ls_status st;

	for (o = 0; o < OP_N && strcmp(op, op_names[o]) != 0; o++)
		;
	if (o == OP_N || (field && o > NOT_IN))
		return ls_fail(err, LS_USAGE, 0, "the template's node affinity for %.80s: operator \"%.40s\" is none of In, NotIn%s", key, op,
			field ? "" : ", Exists, DoesNotExist, Gt, Lt");
	if (field && strcmp(key, "metadata.name") != 0)
		return ls_fail(err, LS_USAGE, 0, "the template's node affinity: matchFields knows metadata.name, not \"%.80s\"", key);
	st = req_add(f, o, key, field, err);
	cJSON_ArrayForEach(it, get(e, "values"))
		if (!st && cJSON_IsString(it))
			st = value_add(f, it->valuestring, err);
	return st ? st : values_check(f, &f->reqs[f->n_reqs - 1], key, err);
}

/* A term without requirements matches no node. */
static ls_status term(struct ls_fit *f, const cJSON *t, struct ls_err *err)
{
	int first = f->n_reqs;
	const cJSON *it;
	ls_status st = LS_OK;

	cJSON_ArrayForEach(it, get(t, "matchExpressions"))
		if (!st)
			st = expression(f, it, false, err);
	cJSON_ArrayForEach(it, get(t, "matchFields"))
		if (!st)
			st = expression(f, it, true, err);
	if (st || f->n_reqs == first)
		return st;
	f->terms[f->n_terms].first = first; /* one requirement at least: there is room */
	f->terms[f->n_terms++].n = f->n_reqs - first;
	return LS_OK;
}

static ls_status selector(struct ls_fit *f, const cJSON *spec, struct ls_err *err)
{
	const cJSON *it;
	ls_status st = LS_OK;

	cJSON_ArrayForEach(it, get(spec, "nodeSelector")) {
		if (!st)
			st = req_add(f, IN, it->string ? it->string : "", false, err);
		if (!st)
			st = value_add(f, cJSON_IsString(it) ? it->valuestring : "", err);
	}
	if (!st && *text(spec, "nodeName")) {
		st = req_add(f, IN, "", true, err);
		if (!st)
			st = value_add(f, text(spec, "nodeName"), err);
	}
	f->n_selector = f->n_reqs;
	return st;
}

static ls_status toleration(struct ls_fit *f, const cJSON *t, struct ls_err *err)
{
	const char *key = text(t, "key"), *op = text(t, "operator"), *effect = text(t, "effect");
	struct toleration *to = &f->tolerations[f->n_tolerations];

	if (f->n_tolerations == MOST)
		return too_many(err);
	*to = (struct toleration){ .any_key = !*key, .effect = -1 };
	to->key = ls_words_find(f->words, key);
	to->value = ls_words_find(f->words, text(t, "value"));
	to->exists = strcmp(op, "Exists") == 0;
	if (!to->exists && *op && strcmp(op, "Equal") != 0)
		return ls_fail(err, LS_USAGE, 0, "the template's toleration of %.80s: operator \"%.40s\" is none of Exists, Equal", key, op);
	if (strcmp(effect, "NoSchedule") == 0)
		to->effect = LS_NO_SCHEDULE;
	else if (strcmp(effect, "NoExecute") == 0)
		to->effect = LS_NO_EXECUTE;
	if (!*effect || to->effect >= 0) /* PreferNoSchedule keeps nobody away */
		f->n_tolerations++;
	return LS_OK;
}

ls_status ls_fit_open(const struct ls_words *words, const cJSON *pod_spec, struct ls_fit **ret, struct ls_err *err)
{
	const cJSON *required = get(get(get(pod_spec, "affinity"), "nodeAffinity"), "requiredDuringSchedulingIgnoredDuringExecution"), *it;
	struct ls_fit *f = calloc(1, sizeof(*f));
	ls_status st;

	if (!f)
		return ls_fail_oom(err);
	f->words = words;
	f->affinity = cJSON_IsObject(required);
	st = selector(f, pod_spec, err);
	cJSON_ArrayForEach(it, get(required, "nodeSelectorTerms"))
		if (!st)
			st = term(f, it, err);
	cJSON_ArrayForEach(it, get(pod_spec, "tolerations"))
		if (!st)
			st = toleration(f, it, err);
	if (st)
		ls_fit_close(f);
	else
		*ret = f;
	return st;
}

void ls_fit_close(struct ls_fit *f)
{
	free(f);
}

/* --- match ------------------------------------------------------------------------------------------------------------------------------------- */

static bool among(const struct ls_fit *f, const struct req *r, const struct ls_word *label, const char *name)
{
	int i;

	for (i = r->first; i < r->first + r->n; i++)
		if (r->name ? strcmp(f->values[i].text, name) == 0 : f->values[i].word == label)
			return true;
	return false;
}

static bool req_match(const struct ls_fit *f, const struct req *r, const struct ls_cnode *n)
{
	const struct ls_word *label = r->name ? NULL : ls_cnode_label(n, r->key);
	bool has = r->name || label;
	int64_t v;

	switch (r->op) {
	case IN:
		return has && among(f, r, label, n->name);
	case NOT_IN:
		return !has || !among(f, r, label, n->name);
	case EXISTS:
		return has;
	case DOES_NOT_EXIST:
		return !has;
	case GT:
		return has && number_read(label->text, &v) && v > r->number;
	default:
		return has && number_read(label->text, &v) && v < r->number;
	}
}

static bool all_match(const struct ls_fit *f, int first, int count, const struct ls_cnode *n)
{
	int i;

	for (i = first; i < first + count; i++)
		if (!req_match(f, &f->reqs[i], n))
			return false;
	return true;
}

static bool tolerated(const struct ls_fit *f, const struct ls_taint *taint)
{
	int i;

	for (i = 0; i < f->n_tolerations; i++) {
		const struct toleration *t = &f->tolerations[i];

		if ((t->effect < 0 || t->effect == (int)taint->effect) && (t->any_key || t->key == taint->key) &&
			(t->exists || t->value == taint->value))
			return true;
	}
	return false;
}

enum ls_fit_why ls_fit_node(const struct ls_fit *f, const struct ls_cnode *n, const struct ls_taint **ret_taint)
{
	bool match = !f->affinity;
	int i;

	if (!n->ready)
		return LS_FIT_NOT_READY;
	if (n->cordoned)
		return LS_FIT_CORDONED;
	if (!all_match(f, 0, f->n_selector, n))
		return LS_FIT_SELECTOR;
	for (i = 0; i < f->n_terms && !match; i++)
		match = all_match(f, f->terms[i].first, f->terms[i].n, n);
	if (!match)
		return LS_FIT_AFFINITY;
	for (i = 0; i < n->n_taints; i++)
		if (!tolerated(f, &n->taints[i])) {
			*ret_taint = &n->taints[i];
			return LS_FIT_TAINT;
		}
	return LS_FIT_OK;
}
