/* store_s3_list.c -- see store_s3.h: what goes page by page and in batches: lists, deletions, unfinished uploads. */
#include "core/crc32c.h"
#include "core/s3_call.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BATCH 1000              /* keys that DeleteObjects takes */
#define TEXT_MAX ((size_t)16 << 20) /* of a page: 1000 keys of 1 KiB, each byte %XX, and their other fields */

/* --- objects ------------------------------------------------------------------------------------------------------------- */

static ls_status list_page(
	struct ls_s3 *s, const char *prefix, const char *token, struct ls_s3_doc *ret, struct ls_err *err)
{
	struct ls_s3_call c = { .s3 = s, .op = "ListObjectsV2", .method = "GET", .root = "ListBucketResult" };
	ls_status st;

	c.x.text_max = TEXT_MAX;
	ls_strv_add(&c.query, "list-type=2");
	ls_strv_add(&c.query, "encoding-type=url");
	ls_strv_addf(&c.query, "prefix=%s%s", s->prefix, prefix);
	if (token)
		ls_strv_addf(&c.query, "continuation-token=%s", token);
	st = ls_s3_call_run(&c, err);
	if (!st) {
		*ret = c.doc;
		c.doc = (struct ls_s3_doc){ 0 };
	}
	ls_s3_call_release(&c);
	return st;
}

/* Those under the store; the prefix itself may be there as a "directory". */
static ls_status take_objects(
	const struct ls_s3 *s, const struct ls_s3_doc *page, struct ls_objects *ret, struct ls_err *err)
{
	size_t i, len = strlen(s->prefix);
	ls_status st = LS_OK;

	for (i = 0; !st && i < page->n; i++)
		if (!strncmp(page->v[i].key, s->prefix, len) && page->v[i].key[len])
			st = ls_objects_add(ret, page->v[i].key + len, page->v[i].bytes, err);
	return st;
}

ls_status ls_s3_list(struct ls_store *base, const char *prefix, struct ls_objects *ret, struct ls_err *err)
{
	struct ls_s3 *s = (struct ls_s3 *)base;
	struct ls_s3_doc page = { 0 };
	char *token = NULL;
	bool more = true;
	ls_status st = LS_OK;

	while (!st && more) {
		st = list_page(s, prefix, token, &page, err);
		if (!st)
			st = take_objects(s, &page, ret, err);
		free(token);
		token = page.next;
		page.next = NULL;
		more = page.more;
		if (!st && more && !token)
			st = ls_fail(err, LS_AGAIN, 0, "ListObjectsV2 at %s: more to come, but no continuation token", s->origin);
		ls_s3_doc_release(&page);
	}
	free(token);
	return st;
}

/* --- deletions ----------------------------------------------------------------------------------------------------------- */

/* Errors of single keys that may pass. */
static const char *check_deleted(struct ls_s3_call *c)
{
	size_t i;

	for (i = 0; i < c->doc.n; i++)
		if (c->doc.v[i].code && ls_s3_judge(200, c->doc.v[i].code, 0, true) == LS_S3_AGAIN)
			return "some keys could not be deleted now";
	return NULL;
}

static ls_status report_kept(const struct ls_s3 *s, const struct ls_s3_doc *doc, struct ls_err *err)
{
	const struct ls_s3_item *first = NULL;
	size_t i, n = 0;

	for (i = 0; i < doc->n; i++) {
		const struct ls_s3_item *item = &doc->v[i];

		if (item->code && !strcmp(item->code, "NoSuchKey"))
			continue;
		first = first ? first : item;
		n++;
	}
	if (!first)
		return LS_OK;
	return ls_fail(err, LS_USAGE, 0, "%s did not delete %zu objects; s3://%s/%s: %s: %.200s", s->origin, n, s->bucket, first->key,
		first->code ? first->code : "no reason", first->message ? first->message : "");
}

static ls_status remove_batch(struct ls_s3 *s, const char *const *keys, size_t n, struct ls_err *err)
{
	struct ls_s3_call c = { .s3 = s, .op = "DeleteObjects", .method = "POST", .root = "DeleteResult", .checksum = true,
		.check = check_deleted };
	struct ls_str xml = { 0 };
	struct iovec body;
	ls_status st;
	size_t i;

	ls_str_add(&xml, "<Delete xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Quiet>true</Quiet>");
	for (i = 0; i < n; i++) {
		ls_str_add(&xml, "<Object><Key>");
		ls_xml_add(&xml, s->prefix);
		ls_xml_add(&xml, keys[i]);
		ls_str_add(&xml, "</Key></Object>");
	}
	ls_str_add(&xml, "</Delete>");
	body = (struct iovec){ xml.s, xml.len };
	c.x.body = &body;
	c.x.body_n = 1;
	c.x.body_bytes = xml.len;
	c.x.text_max = TEXT_MAX;
	ls_strv_add(&c.query, "delete");
	st = xml.oom ? ls_fail_oom(err) : ls_s3_call_run(&c, err);
	if (!st)
		st = report_kept(s, &c.doc, err);
	ls_str_release(&xml);
	ls_s3_call_release(&c);
	return st;
}

ls_status ls_s3_remove(struct ls_store *s, const char *const *keys, size_t n, struct ls_err *err)
{
	ls_status st = LS_OK;
	size_t i, batch;

	for (i = 0; !st && i < n; i += batch) {
		batch = n - i < BATCH ? n - i : BATCH;
		st = remove_batch((struct ls_s3 *)s, keys + i, batch, err);
	}
	return st;
}

/* --- unfinished uploads -------------------------------------------------------------------------------------------------- */

/* `key` NULL: of the whole bucket. */
static ls_status uploads_page(struct ls_s3 *s, const char *key, const struct ls_s3_doc *last, struct ls_s3_doc *ret,
	struct ls_err *err)
{
	struct ls_s3_call c = { .s3 = s, .op = "ListMultipartUploads", .method = "GET", .root = "ListMultipartUploadsResult" };
	ls_status st;

	c.x.text_max = TEXT_MAX;
	ls_strv_add(&c.query, "uploads");
	ls_strv_add(&c.query, "encoding-type=url");
	if (key)
		ls_strv_addf(&c.query, "prefix=%s%s", s->prefix, key);
	if (last->next)
		ls_strv_addf(&c.query, "key-marker=%s", last->next);
	if (last->next_id)
		ls_strv_addf(&c.query, "upload-id-marker=%s", last->next_id);
	st = ls_s3_call_run(&c, err);
	if (!st) {
		*ret = c.doc;
		c.doc = (struct ls_s3_doc){ 0 };
	}
	ls_s3_call_release(&c);
	return st;
}

typedef bool wanted_fn(const char *key, const char *id, const void *arg);

/* Append key, id, key, id, … of the store's uploads that are wanted. */
static ls_status find_where(
	struct ls_s3 *s, const char *prefix, wanted_fn *wanted, const void *arg, struct ls_strv *ret, struct ls_err *err)
{
	struct ls_s3_doc page = { .more = true };
	size_t i, len = strlen(s->prefix);
	ls_status st = LS_OK;

	while (!st && page.more) {
		struct ls_s3_doc last = page;

		page = (struct ls_s3_doc){ 0 };
		st = uploads_page(s, prefix, &last, &page, err);
		ls_s3_doc_release(&last);
		for (i = 0; i < page.n; i++) {
			const struct ls_s3_item *u = &page.v[i];

			if (!u->id || strncmp(u->key, s->prefix, len) || !wanted(u->key + len, u->id, arg))
				continue;
			ls_strv_add(ret, u->key + len);
			ls_strv_add(ret, u->id);
		}
		if (!st && page.more && !page.next)
			st = ls_fail(err, LS_AGAIN, 0, "ListMultipartUploads at %s: more to come, but no marker", s->origin);
	}
	ls_s3_doc_release(&page);
	return st ? st : ret->oom ? ls_fail_oom(err) : LS_OK;
}

/* Abort them. Their list is whole before the first is aborted: pages would shift. */
static ls_status abort_where(struct ls_s3 *s, const char *prefix, wanted_fn *wanted, const void *arg, bool dry, size_t *ret_n,
	struct ls_err *err)
{
	struct ls_strv found = { 0 };
	size_t i;
	ls_status st = find_where(s, prefix, wanted, arg, &found, err);

	if (!st && !found.n && !s->is_aws)
		st = find_where(s, NULL, wanted, arg, &found, err);
	for (i = 0; !st && !dry && i < found.n; i += 2)
		st = ls_s3_abort(s, found.v[i], found.v[i + 1], 0, err);
	if (!st)
		*ret_n = found.n / 2;
	ls_strv_release(&found);
	return st;
}

static bool is_other(const char *key, const char *id, const void *arg)
{
	const char *const *mine = arg;

	return !strcmp(key, mine[0]) && strcmp(id, mine[1]);
}

ls_status ls_s3_abort_others(struct ls_s3 *s, const char *key, const char *id, struct ls_err *err)
{
	const char *const mine[] = { key, id };
	size_t ignored;

	return abort_where(s, key, is_other, mine, false, &ignored, err);
}

struct sweep {
	bool (*old)(void *arg, const char *dir);
	void *arg;
};

/* The first part of the key, a directory right under the store, is asked about. */
static bool is_old(const char *key, const char *id, const void *arg)
{
	const struct sweep *w = arg;
	size_t len = strcspn(key, "/");
	char name[LS_STORE_KEY_MAX + 1];

	(void)id;
	if (!key[len] || len >= sizeof(name))
		return false;
	memcpy(name, key, len);
	name[len] = '\0';
	return w->old(w->arg, name);
}

ls_status ls_s3_sweep(struct ls_store *s, bool (*old)(void *arg, const char *dir), void *arg, bool dry, size_t *ret_n,
	struct ls_err *err)
{
	const struct sweep w = { old, arg };

	return abort_where((struct ls_s3 *)s, "", is_old, &w, dry, ret_n, err);
}
