/* gpu.c -- what is in GPU memory is summed by a second group of the same ranks, with NCCL; votes and control stay in the host's.
 *
 * It is opened when something in GPU memory first needs it: a program that has none pays nothing. Nothing is ever staged through host
 * memory instead: where NCCL cannot be had, the program is told. */
#include "core/env.h"
#include "worker/copy.h"
#include "worker/rank.h"

#include <string.h>

#define FUSE_BYTES (25 << 20) /* small enough to begin early in the backward pass, large enough for NCCL to be near its best */

static ls_status wire_of(int *ret, struct ls_err *err)
{
	const char *text = ls_env_text("LOCKSTEP_WIRE_DTYPE", NULL);
	enum ls_dtype d;

	*ret = -1;
	if (!text)
		return LS_OK;
	for (d = LS_F64; d <= LS_BF16; d++) {
		if (!strcmp(text, ls_dtype_name(d))) {
			*ret = (int)d;
			return LS_OK;
		}
	}
	return ls_fail(err, LS_USAGE, 0, "environment: LOCKSTEP_WIRE_DTYPE=%s: want F64, F32, F16 or BF16", text);
}

ls_status ls_gpu_settings(struct ls_settings *ret, struct ls_err *err)
{
	const char *asked = ret->comm.backend;
	int64_t fuse;
	ls_status st = ls_env_number("LOCKSTEP_FUSE_BYTES", 0, FUSE_BYTES, &fuse, err);

	if (!st)
		st = wire_of(&ret->wire_dtype, err);
	if (st)
		return st;
	ret->fuse_bytes = (size_t)fuse;
	ret->backend = asked && *asked && strcmp(asked, "auto") ? asked : NULL;
	if (ret->backend && !strcmp(ret->backend, "nccl"))
		ret->comm.backend = NULL; /* votes are in host memory */
	return LS_OK;
}

static ls_status gather(void *ctx, const void *mine, void *ret_all, size_t bytes, struct ls_err *err)
{
	return ls_run_allgather(ctx, mine, ret_all, bytes, err);
}

ls_status ls_gpu_open(struct lockstep *ls, struct ls_err *err)
{
	struct ls_bootstrap b = { ls->rank, ls->world, gather, ls->comm };
	struct ls_comm_options opt = ls->set.comm;
	ls_status st;

	if (ls->gpu)
		return LS_OK;
	if (ls->set.backend && strcmp(ls->set.backend, "nccl"))
		return ls_fail(err, LS_USAGE, 0,
			"LOCKSTEP_BACKEND=%s works in host memory, and the program's data is in GPU memory: leave it at auto, or say nccl", ls->set.backend);
	opt.backend = "nccl";
	opt.bootstrap = &b;
	st = ls_comm_open(&opt, &ls->gpu, err);
	if (!st)
		ls->gpu->stream = ls->stream;
	return st;
}

ls_status ls_group_for(struct lockstep *ls, const void *at, struct ls_comm **ret, struct ls_err *err)
{
	bool on_gpu = ls_on_gpu(at);
	ls_status st = on_gpu ? ls_gpu_open(ls, err) : LS_OK;

	*ret = on_gpu ? ls->gpu : ls->comm;
	return st;
}

void lockstep_stream(struct lockstep *ls, void *stream)
{
	ls->stream = stream;
	if (ls->gpu)
		ls->gpu->stream = stream;
}
