/* ckpt_impl.h -- what ckpt.c, ckpt_claim.c and ckpt_prune.c share; nobody else includes it. */
#ifndef LS_CKPT_IMPL_H
#define LS_CKPT_IMPL_H

#include "core/ckpt.h"

#define LS_CKPT_STEPS "step-"
#define LS_CKPT_CLAIMS "generation-"

void ls_ckpt_manifest_key(struct ls_ckpt_id id, char ret[LS_CKPT_KEY_MAX]);
/* Of a listing: those that have a manifest, newest first. *ret is the caller's to free(). */
ls_status ls_ckpt_published(const struct ls_objects *all, struct ls_ckpt_id **ret, size_t *ret_n, struct ls_err *err);
/* Is every shard in the listing, at its size? LS_DATA_BAD names the first that is not. */
ls_status ls_ckpt_sizes(
	struct ls_store *s, const struct ls_ckpt *c, const struct ls_objects *all, struct ls_err *err);
/* *ret: the object's bytes are `text`. */
ls_status ls_ckpt_object_is(struct ls_store *s, const char *key, const struct ls_str *text, bool *ret, struct ls_err *err);
/* All claims, oldest first, and nothing else. */
ls_status ls_ckpt_claims(struct ls_store *s, struct ls_objects *ret, struct ls_err *err);
/* LS_JOB_LOST if one of `claims` is newer than `mine`. */
ls_status ls_ckpt_fenced(struct ls_store *s, const struct ls_objects *claims, unsigned mine, struct ls_err *err);

#endif
