/* s3_xml.c -- see s3_xml.h.
 *
 * An element's text is taken when it ends, by its name and depth: 2 below the root, 3 inside an item. Deeper ones
 * (Owner/ID) are not ours. */
#include "core/s3_xml.h"

#include <expat.h>
#include <stdlib.h>
#include <string.h>

struct reader {
	struct ls_s3_doc doc;
	XML_Parser parser;
	int depth;
	bool in_item, encoded, failed, oom;
	struct ls_str text;
};

static const char *local_name(const char *name)
{
	const char *colon = strrchr(name, ':');

	return colon ? colon + 1 : name;
}

static bool begins_item(const struct reader *r, const char *name)
{
	return !strcmp(name, "Contents") || !strcmp(name, "Upload") ||
	       (!strcmp(name, "Error") && !strcmp(r->doc.root, "DeleteResult"));
}

static void fail(struct reader *r, bool oom)
{
	r->failed = true;
	r->oom = oom;
	XML_StopParser(r->parser, XML_FALSE);
}

/* Grows at every power of two. */
static void add_item(struct reader *r)
{
	struct ls_s3_doc *d = &r->doc;
	struct ls_s3_item *v = d->v;

	if ((d->n & (d->n - 1)) == 0)
		v = realloc(d->v, (d->n ? 2 * d->n : 1) * sizeof(*v));
	if (!v) {
		fail(r, true);
		return;
	}
	d->v = v;
	memset(&v[d->n++], 0, sizeof(*v));
	r->in_item = true;
}

static void XMLCALL on_start(void *arg, const XML_Char *qname, const XML_Char **attributes)
{
	struct reader *r = arg;
	const char *name = local_name(qname);

	(void)attributes;
	ls_str_release(&r->text);
	if (++r->depth == 1)
		strncpy(r->doc.root, name, sizeof(r->doc.root) - 1);
	else if (r->depth == 2 && begins_item(r, name))
		add_item(r);
}

static void XMLCALL on_text(void *arg, const XML_Char *text, int len)
{
	struct reader *r = arg;

	ls_str_addn(&r->text, text, (size_t)len);
}

/* encoding-type=url: '+' is a space, as in a form. */
static void decode(char *text)
{
	static const char digits[] = "0123456789abcdef0123456789ABCDEF";
	char *to = text;

	for (; *text; text++) {
		const char *high = *text == '%' && text[1] ? strchr(digits, text[1]) : NULL;
		const char *low = high && text[2] ? strchr(digits, text[2]) : NULL;

		if (low) {
			*to++ = (char)((high - digits) % 16 * 16 + (low - digits) % 16);
			text += 2;
		} else {
			*to++ = *text == '+' ? ' ' : *text;
		}
	}
	*to = '\0';
}

static void keep(struct reader *r, char **ret)
{
	free(*ret);
	*ret = ls_str_steal(&r->text);
	if (!*ret)
		fail(r, true);
}

static void take_item_field(struct reader *r, const char *name)
{
	struct ls_s3_item *item = &r->doc.v[r->doc.n - 1];

	if (!strcmp(name, "Key"))
		keep(r, &item->key);
	else if (!strcmp(name, "UploadId"))
		keep(r, &item->id);
	else if (!strcmp(name, "Code"))
		keep(r, &item->code);
	else if (!strcmp(name, "Message"))
		keep(r, &item->message);
	else if (!strcmp(name, "Size"))
		item->bytes = strtoull(ls_str_text(&r->text), NULL, 10);
}

static void take_field(struct reader *r, const char *name)
{
	struct ls_s3_doc *d = &r->doc;

	if (!strcmp(name, "IsTruncated"))
		d->more = !strcmp(ls_str_text(&r->text), "true");
	else if (!strcmp(name, "EncodingType"))
		r->encoded = !strcmp(ls_str_text(&r->text), "url");
	else if (!strcmp(name, "NextContinuationToken") || !strcmp(name, "NextKeyMarker"))
		keep(r, &d->next);
	else if (!strcmp(name, "NextUploadIdMarker"))
		keep(r, &d->next_id);
	else if (!strcmp(name, "UploadId"))
		keep(r, &d->id);
	else if (!strcmp(name, "Code"))
		keep(r, &d->code);
	else if (!strcmp(name, "Message"))
		keep(r, &d->message);
	else if (!strcmp(name, "Region"))
		keep(r, &d->region);
}

static void XMLCALL on_end(void *arg, const XML_Char *qname)
{
	struct reader *r = arg;
	const char *name = local_name(qname);

	if (r->text.oom)
		fail(r, true);
	else if (r->depth == 3 && r->in_item)
		take_item_field(r, name);
	else if (r->depth == 2 && !r->in_item)
		take_field(r, name);
	if (r->depth == 2)
		r->in_item = false;
	r->depth--;
	ls_str_release(&r->text);
}

/* Entities of its own are a way to make a small answer huge; S3 sends no document type. */
static void XMLCALL on_doctype(
	void *arg, const XML_Char *name, const XML_Char *system_id, const XML_Char *public_id, int has_subset)
{
	(void)name, (void)system_id, (void)public_id, (void)has_subset;
	fail(arg, false);
}

/* EncodingType may come behind the keys. */
static void finish(struct reader *r)
{
	size_t i;

	for (i = 0; i < r->doc.n && !r->failed; i++) {
		struct ls_s3_item *item = &r->doc.v[i];

		if (!item->key)
			keep(r, &item->key);
		else if (r->encoded)
			decode(item->key);
	}
	if (r->encoded && r->doc.next && !strcmp(r->doc.root, "ListMultipartUploadsResult"))
		decode(r->doc.next);
}

ls_status ls_s3_doc_read(const struct ls_str *xml, struct ls_s3_doc *ret, struct ls_err *err)
{
	struct reader r = { .parser = XML_ParserCreate(NULL) };
	ls_status st = LS_OK;

	if (!r.parser)
		return ls_fail_oom(err);
	XML_SetUserData(r.parser, &r);
	XML_SetElementHandler(r.parser, on_start, on_end);
	XML_SetCharacterDataHandler(r.parser, on_text);
	XML_SetStartDoctypeDeclHandler(r.parser, on_doctype);
	if (XML_Parse(r.parser, ls_str_text(xml), (int)xml->len, XML_TRUE) == XML_STATUS_OK)
		finish(&r);
	else if (XML_GetErrorCode(r.parser) == XML_ERROR_NO_MEMORY)
		r.failed = r.oom = true;
	else
		r.failed = true;
	if (r.failed)
		st = r.oom ? ls_fail_oom(err)
			   : ls_fail(err, LS_DATA_BAD, 0, "the answer is no XML: %s in line %lu",
				     XML_ErrorString(XML_GetErrorCode(r.parser)),
				     (unsigned long)XML_GetCurrentLineNumber(r.parser));
	XML_ParserFree(r.parser);
	ls_str_release(&r.text);
	if (st)
		ls_s3_doc_release(&r.doc);
	else
		*ret = r.doc;
	return st;
}

void ls_s3_doc_release(struct ls_s3_doc *d)
{
	size_t i;

	for (i = 0; i < d->n; i++) {
		free(d->v[i].key);
		free(d->v[i].id);
		free(d->v[i].code);
		free(d->v[i].message);
	}
	free(d->v);
	free(d->next);
	free(d->next_id);
	free(d->id);
	free(d->code);
	free(d->message);
	free(d->region);
	*d = (struct ls_s3_doc){ 0 };
}

void ls_xml_add(struct ls_str *str, const char *text)
{
	for (; *text; text++) {
		const char *entity = *text == '&' ? "&amp;" : *text == '<' ? "&lt;" : *text == '>' ? "&gt;" : NULL;

		if (entity)
			ls_str_add(str, entity);
		else if (*text == '\r') /* a parser would make a line feed of it */
			ls_str_add(str, "&#13;");
		else
			ls_str_addn(str, text, 1);
	}
}
