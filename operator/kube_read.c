/* kube_read.c -- what an API server answers: Status objects, pages of lists, lines of watches; see kube_impl.h.
 *
 * Nothing here trusts what it reads: any bytes end in an outcome, and messages hold printable text only. */
#include "operator/kube_impl.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *text_of(const cJSON *map, const char *key)
{
	const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(map, key));

	return text && *text ? text : NULL;
}

static int number_of(const cJSON *map, const char *key)
{
	const cJSON *n = cJSON_GetObjectItemCaseSensitive(map, key);

	return cJSON_IsNumber(n) ? n->valueint : 0;
}

/* --- outcomes ---------------------------------------------------------------------------------------------------------------------------- */

static ls_status status_of(int http, const char *reason)
{
	if (http / 100 == 2)
		return LS_OK;
	if (http == 404)
		return LS_NOT_FOUND;
	if (http == 409 && !strcmp(reason, "AlreadyExists"))
		return LS_EXISTS;
	if (http == 408 || http == 409 || http == 410 || http == 429 || http >= 500)
		return LS_AGAIN;
	return LS_USAGE;
}

/* One line for people, of anything. */
static void clean(const char *text, size_t max, char *ret)
{
	size_t i;

	for (i = 0; i + 1 < max && text[i]; i++)
		ret[i] = (unsigned char)text[i] < ' ' || text[i] == 127 ? ' ' : text[i];
	while (i && ret[i - 1] == ' ')
		i--;
	ret[i] = '\0';
}

static const char *hint(int http)
{
	return http == 401 ? "; the credentials are missing, wrong or expired" : "";
}

void ls_kube_judge(struct ls_kube_call *c)
{
	cJSON *doc = c->status / 100 == 2 ? NULL : cJSON_ParseWithLength(ls_str_text(&c->text), c->text.len);
	const char *kind = text_of(doc, "kind"), *message = NULL, *reason = NULL;
	char text[768];

	if (kind && !strcmp(kind, "Status")) {
		message = text_of(doc, "message");
		reason = text_of(doc, "reason");
		if (!c->retry_after_s)
			c->retry_after_s = number_of(cJSON_GetObjectItemCaseSensitive(doc, "details"), "retryAfterSeconds");
	}
	if (c->retry_after_s < 0 || c->retry_after_s > 3600)
		c->retry_after_s = 0;
	clean(reason ? reason : "", sizeof(c->reason), c->reason);
	c->st = status_of(c->status, c->reason);
	clean(message ? message : ls_str_text(&c->text), message ? sizeof(text) : 200, text);
	if (c->st && message)
		ls_fail(&c->err, c->st, 0, "%s%s", text, hint(c->status));
	else if (c->st)
		ls_fail(&c->err, c->st, 0, "the API server answered %d%s%s%s", c->status, *text ? ": " : "", text, hint(c->status));
	cJSON_Delete(doc);
}

void ls_kube_call_release(struct ls_kube_call *c)
{
	ls_str_release(&c->path);
	ls_str_release(&c->body);
	ls_str_release(&c->text);
	*c = (struct ls_kube_call){ 0 };
}

/* --- the rate ---------------------------------------------------------------------------------------------------------------------------- */

int ls_kube_bucket_take(struct ls_kube_bucket *b, int64_t now_ms)
{
	double burst = b->burst < 1 ? 1 : b->burst;

	if (b->qps <= 0)
		return 0;
	b->have = b->at_ms ? b->have + b->qps * (double)(now_ms - b->at_ms) / 1e3 : burst;
	if (b->have > burst)
		b->have = burst;
	b->at_ms = now_ms;
	b->have -= 1;
	return b->have >= 0 ? 0 : (int)(-b->have / b->qps * 1e3) + 1;
}

/* --- pages ------------------------------------------------------------------------------------------------------------------------------- */

struct scan {
	const char *at, *end;
};

static char next(struct scan *s)
{
	while (s->at < s->end && isspace((unsigned char)*s->at))
		s->at++;
	return s->at < s->end ? *s->at : '\0';
}

static bool eat(struct scan *s, char c)
{
	if (next(s) != c)
		return false;
	s->at++;
	return true;
}

static cJSON *value(struct scan *s)
{
	const char *after = NULL;
	cJSON *v = next(s) ? cJSON_ParseWithLengthOpts(s->at, (size_t)(s->end - s->at), &after, false) : NULL;

	if (v)
		s->at = after;
	return v;
}

static bool read_items(struct scan *s, void (*on_item)(void *arg, const cJSON *item), void *arg)
{
	if (!eat(s, '['))
		return false;
	if (eat(s, ']'))
		return true;
	do {
		cJSON *item = next(s) == '{' ? value(s) : NULL;

		if (!item)
			return false;
		on_item(arg, item);
		cJSON_Delete(item);
	} while (eat(s, ','));
	return eat(s, ']');
}

static bool read_member(struct scan *s, void (*on_item)(void *arg, const cJSON *item), void *arg, struct ls_kube_page *page)
{
	cJSON *key = value(s), *v;
	bool good = cJSON_IsString(key) && eat(s, ':'), is_items = good && !strcmp(key->valuestring, "items"),
	     is_meta = good && !strcmp(key->valuestring, "metadata");

	cJSON_Delete(key);
	if (!good)
		return false;
	if (is_items && next(s) == '[')
		return read_items(s, on_item, arg);
	v = value(s);
	if (is_meta) {
		ls_str_release(&page->version);
		ls_str_release(&page->next);
		ls_str_add(&page->version, text_of(v, "resourceVersion") ? text_of(v, "resourceVersion") : "");
		ls_str_add(&page->next, text_of(v, "continue") ? text_of(v, "continue") : "");
	}
	good = v && (!is_items || cJSON_IsNull(v));
	cJSON_Delete(v);
	return good;
}

void ls_kube_page_release(struct ls_kube_page *p)
{
	ls_str_release(&p->version);
	ls_str_release(&p->next);
}

ls_status ls_kube_page_read(const char *text, size_t len, void (*on_item)(void *arg, const cJSON *item), void *arg, struct ls_kube_page *ret,
	struct ls_err *err)
{
	struct scan s = { text, text + len };
	struct ls_kube_page page = { 0 };
	bool good = eat(&s, '{');

	if (good && !eat(&s, '}')) {
		do
			good = read_member(&s, on_item, arg, &page);
		while (good && eat(&s, ','));
		good = good && eat(&s, '}');
	}
	good = good && !next(&s) && s.at == s.end && page.version.len;
	if (good && !page.version.oom && !page.next.oom) {
		*ret = page;
		return LS_OK;
	}
	ls_kube_page_release(&page);
	return ls_fail(err, LS_AGAIN, 0, "the API server's list cannot be read: it is cut short, or no list");
}

/* --- lines ------------------------------------------------------------------------------------------------------------------------------- */

const char *ls_kube_version(const cJSON *object)
{
	return text_of(cJSON_GetObjectItemCaseSensitive(object, "metadata"), "resourceVersion");
}

static enum ls_kube_line read_error(const cJSON *status, struct ls_err *err)
{
	const char *message = text_of(status, "message"), *reason = text_of(status, "reason");
	int code = number_of(status, "code");
	char text[768];

	clean(message ? message : reason ? reason : "no message", sizeof(text), text);
	ls_fail(err, LS_AGAIN, 0, "the watch ended with an error: %s", text);
	return code == 410 || (reason && (!strcmp(reason, "Expired") || !strcmp(reason, "Gone"))) ? LS_LINE_EXPIRED : LS_LINE_ERROR;
}

enum ls_kube_line ls_kube_line_read(const char *line, size_t len, cJSON **ret_doc, const cJSON **ret_object, struct ls_err *err)
{
	static const struct {
		const char *type;
		enum ls_kube_line line;
	} types[] = { { "ADDED", LS_LINE_SET }, { "MODIFIED", LS_LINE_SET }, { "DELETED", LS_LINE_GONE }, { "BOOKMARK", LS_LINE_BOOKMARK } };
	cJSON *doc = cJSON_ParseWithLength(line, len);
	const cJSON *object = cJSON_GetObjectItemCaseSensitive(doc, "object");
	const char *type = text_of(doc, "type");
	enum ls_kube_line ret = LS_LINE_BAD;
	size_t i;

	*ret_doc = NULL;
	*ret_object = NULL;
	for (i = 0; type && i < sizeof(types) / sizeof(types[0]); i++)
		if (!strcmp(type, types[i].type) && ls_kube_version(object))
			ret = types[i].line;
	if (ret != LS_LINE_BAD) {
		*ret_doc = doc;
		*ret_object = object;
		return ret;
	}
	if (type && !strcmp(type, "ERROR") && cJSON_IsObject(object))
		ret = read_error(object, err);
	else
		ls_fail(err, LS_AGAIN, 0, "the API server's watch cannot be read: a line is no event");
	cJSON_Delete(doc);
	return ret;
}
