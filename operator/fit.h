/* fit.h -- may a Pod of this template run on this node, resources aside: its nodeSelector, required node affinity and tolerations.
 *
 * The template is compiled once per question, so that a node costs comparisons of pointers. */
#ifndef LS_FIT_H
#define LS_FIT_H

#include "operator/cluster_impl.h"

enum ls_fit_why { LS_FIT_OK, LS_FIT_NOT_READY, LS_FIT_CORDONED, LS_FIT_SELECTOR, LS_FIT_AFFINITY, LS_FIT_TAINT };

struct ls_fit;

/* The spec must outlive it, and the cluster not change. LS_USAGE: Kubernetes would not take the spec, or it makes more than 1,000
 * requirements. */
ls_status ls_fit_open(const struct ls_words *words, const cJSON *pod_spec, struct ls_fit **ret, struct ls_err *err);
void ls_fit_close(struct ls_fit *f); /* NULL is fine */
/* *ret_taint: the first that keeps it away, with LS_FIT_TAINT. */
enum ls_fit_why ls_fit_node(const struct ls_fit *f, const struct ls_cnode *n, const struct ls_taint **ret_taint);

#endif
