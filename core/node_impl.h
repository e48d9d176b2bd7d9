/* node_impl.h -- what core/node*.c share about building trees, and job.c about typing; nobody else includes it. */
#ifndef LS_NODE_IMPL_H
#define LS_NODE_IMPL_H

#include "core/node.h"
#include "core/str.h"

/* Copies key and text (NULL: none). NULL: no memory. */
struct ls_node *ls_node_new(enum ls_node_type type, const char *key, const char *text);
/* Type a plain scalar from its text. */
void ls_node_resolve(struct ls_node *node);
/* The later one of two entries with one key, in *ret (NULL: none). LS_AGAIN: no memory. */
ls_status ls_node_duplicate(const struct ls_node *map, const struct ls_node **ret, struct ls_err *err);
/* JSON writes characters beyond U+FFFF as two \uHHHH, which YAML does not know: the text with \UHHHHHHHH for each pair, in
 * *ret; left empty when there is nothing to do or the text is not JSON. */
void ls_json_widen(const char *text, size_t len, struct ls_str *ret);

#endif
