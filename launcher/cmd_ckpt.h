/* cmd_ckpt.h -- what the files of `lockstep ckpt` share: one request, and which checkpoint it means. */
#ifndef LS_CMD_CKPT_H
#define LS_CMD_CKPT_H

#include "core/ckpt.h"

struct ls_ckpt_request {
	struct ls_store *store;
	long long step, generation, keep; /* -1: not given */
	bool json, dry, force;
	const char *output, *input; /* of export, import; NULL: not given */
};

/* The newest published checkpoint that fits --step and --generation; else a sentence. */
ls_status ls_cmd_ckpt_pick(const struct ls_ckpt_request *rq, struct ls_ckpt_id *ret, struct ls_err *err);

/* Each returns the exit code, and has reported. */
int ls_cmd_ckpt_ls(const struct ls_ckpt_request *rq);
int ls_cmd_ckpt_show(const struct ls_ckpt_request *rq);
int ls_cmd_ckpt_verify(const struct ls_ckpt_request *rq);
int ls_cmd_ckpt_gc(const struct ls_ckpt_request *rq);
int ls_cmd_ckpt_export(const struct ls_ckpt_request *rq);
int ls_cmd_ckpt_import(const struct ls_ckpt_request *rq);

#endif
