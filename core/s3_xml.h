/* s3_xml.h -- what S3 answers in XML: errors, lists, and the results of multipart uploads and of DeleteObjects.
 *
 * One struct for all of them: each answer fills in what it has. Unknown elements are passed over. A document type is refused.
 *
 *   Ownership  ls_s3_doc_release() frees what ls_s3_doc_read() filled in.
 *   Errors     LS_DATA_BAD: not well-formed, or cut off; LS_AGAIN: no memory. */
#ifndef LS_S3_XML_H
#define LS_S3_XML_H

#include "core/status.h"
#include "core/str.h"

#include <stdbool.h>
#include <stdint.h>

struct ls_s3_item {
	char *key;     /* decoded; "" if there was none */
	char *id;      /* an upload's */
	char *code;    /* of DeleteObjects: why this one was not deleted */
	char *message;
	uint64_t bytes;
};

struct ls_s3_doc {
	char root[48];  /* "ListBucketResult", "Error"; "" for no document at all */
	struct ls_s3_item *v; /* Contents, Upload, or Error below DeleteResult */
	size_t n;
	bool more;      /* IsTruncated */
	char *next;     /* NextContinuationToken, NextKeyMarker */
	char *next_id;  /* NextUploadIdMarker */
	char *id;       /* UploadId of CreateMultipartUpload */
	char *code, *message, *region; /* of an Error */
};

ls_status ls_s3_doc_read(const struct ls_str *xml, struct ls_s3_doc *ret, struct ls_err *err);
void ls_s3_doc_release(struct ls_s3_doc *d);

void ls_xml_add(struct ls_str *str, const char *text); /* as the content of an element */

#endif
