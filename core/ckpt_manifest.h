/* ckpt_manifest.h -- the text of manifest.json (docs/checkpoint-format.md); core/ckpt*.c are its only users.
 *
 *   Ownership  the text written is the caller's to release; a parsed checkpoint likewise (ls_ckpt_release).
 *   Errors     LS_DATA_BAD: "shards[3].bytes: want …". Unknown fields are passed over: whatever an older reader must
 *              understand changes the format's number. */
#ifndef LS_CKPT_MANIFEST_H
#define LS_CKPT_MANIFEST_H

#include "core/ckpt.h"

#define LS_CKPT_FORMAT "lockstep-checkpoint/1"
#define LS_CKPT_MANIFEST_MAX (16u << 20)
#define LS_CKPT_STEP_MAX 999999999999LL /* 12 digits: names sort as numbers do */
#define LS_CKPT_GENERATION_MAX 99999999u /* and 8 */

struct cJSON;
/* Append `root` as text, and free it (NULL is fine). Not whole: something in it could not be made, which is LS_AGAIN. */
ls_status ls_ckpt_json(struct cJSON *root, bool whole, struct ls_str *ret, struct ls_err *err);
ls_status ls_ckpt_manifest_write(const struct ls_ckpt *c, struct ls_str *ret, struct ls_err *err);
/* `id` is what the key says; the text must say the same. */
ls_status ls_ckpt_manifest_parse(
	const char *text, size_t len, struct ls_ckpt_id id, struct ls_ckpt *ret, struct ls_err *err);

#endif
