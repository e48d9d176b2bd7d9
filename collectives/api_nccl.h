/* api_nccl.h -- NCCL's functions, from a library that is opened when it is first needed: one binary serves hosts with and without it.
 *
 * The library is LOCKSTEP_NCCL_LIB, else what the loader finds as libnccl.so.2; one that the program has loaded already (PyTorch's) is that
 * one. No other place is guessed. A build that has not found NCCL's header has without_nccl.c instead of all other *_nccl.c.
 *
 *   Errors     LS_USAGE: no library, or one that is too old; the sentence names it. Of calls: what ls_nccl_fail makes of them.
 *   Threads    ls_nccl_open once at a time; the functions are NCCL's. */
#ifndef LS_API_NCCL_H
#define LS_API_NCCL_H

#include "core/status.h"

#include <stddef.h>

#if __has_include(<nccl.h>)
#define LS_HAVE_NCCL /* for who has something to say without */
#include <nccl.h>

#define LS_NCCL_LEAST NCCL_VERSION(2, 19, 0)      /* ncclMemAlloc, and a configuration that newer ones only extend */
#define LS_NCCL_SHARES_GPU NCCL_VERSION(2, 30, 0) /* NCCL_MULTI_RANK_GPU_ENABLE */

#define LS_NCCL_FUNCTIONS(X) \
	X(GetVersion) X(GetUniqueId) X(CommInitRankConfig) X(CommGetAsyncError) X(CommFinalize) X(CommDestroy) X(CommAbort) \
	X(GetErrorString) X(GetLastError) X(MemAlloc) X(MemFree) X(AllReduce) X(ReduceScatter) X(AllGather) X(Broadcast)

struct ls_nccl {
#define X(name) __typeof__(nccl##name) *name;
	LS_NCCL_FUNCTIONS(X)
#undef X
	int version;             /* as NCCL_VERSION makes it */
	char text[24];           /* "2.30.7" */
};

void ls_nccl_version_text(int version, char *ret, size_t size);
ls_status ls_nccl_open(const struct ls_nccl **ret, struct ls_err *err);

/* `what` failed: NCCL's own words, and what to try. `comm` may be NULL. What another rank or the network may have done is LS_RANK_LOST. */
ls_status ls_nccl_fail(const struct ls_nccl *n, ncclComm_t comm, ncclResult_t rc, const char *what, struct ls_err *err);
#endif

#endif
