/* kube_impl.h -- what kube*.c share: the parts that no connection is needed for. */
#ifndef LS_KUBE_IMPL_H
#define LS_KUBE_IMPL_H

#include "operator/kube.h"

/* What an answer means: st, err, reason and retry_after_s from status and text. */
void ls_kube_judge(struct ls_kube_call *c);

/* A bucket of `burst` tokens that `qps` a second fill. */
struct ls_kube_bucket {
	double qps, burst, have; /* qps 0: no limit; have < 0: taken ahead of time */
	int64_t at_ms;
};
int ls_kube_bucket_take(struct ls_kube_bucket *b, int64_t now_ms); /* ms until the token that was taken is there */

/* One page of a list, its items one by one: the tree of the whole page would be ten times its text. on_item may be called before an error is
 * found. */
struct ls_kube_page {
	struct ls_str version, next; /* metadata.resourceVersion, metadata.continue */
};
ls_status ls_kube_page_read(const char *text, size_t len, void (*on_item)(void *arg, const cJSON *item), void *arg, struct ls_kube_page *ret,
	struct ls_err *err);
void ls_kube_page_release(struct ls_kube_page *p);

/* One line of a watch. */
enum ls_kube_line { LS_LINE_SET, LS_LINE_GONE, LS_LINE_BOOKMARK, LS_LINE_EXPIRED, LS_LINE_ERROR, LS_LINE_BAD };
/* *ret_doc is the caller's to delete, *ret_object in it; NULL for EXPIRED, ERROR and BAD, of which err says more. */
enum ls_kube_line ls_kube_line_read(const char *line, size_t len, cJSON **ret_doc, const cJSON **ret_object, struct ls_err *err);
const char *ls_kube_version(const cJSON *object); /* its resourceVersion; NULL: it has none */

#endif
