/* api_cuda_none.c -- see api_cuda.h: in a build without CUDA. Every function says so; none of them is a stub that succeeds. */
#include "collectives/api_cuda.h"

static ls_status none(struct ls_err *err)
{
	return ls_fail(err, LS_USAGE, 0, "this build of Lockstep has no CUDA: deploy/setup-cuda.sh fetches the compiler and headers, "
		"then make again; or run on CPUs (--device cpu)");
}

bool ls_cuda_built(void)
{
	return false;
}

ls_status ls_cuda_open(struct ls_err *err)
{
	return none(err);
}

bool ls_cuda_holds(const void *p)
{
	(void)p;
	return false;
}

/* What needs an opened GPU. */
#define NONE(name, ...)                                 \
	ls_status name(__VA_ARGS__, struct ls_err *err) \
	{                                               \
		return none(err);                       \
	}
#define NOTHING(name)                                   \
	void name(void *p)                              \
	{                                               \
		(void)p;                                \
	}
#pragma GCC diagnostic ignored "-Wunused-parameter"
NONE(ls_cuda_device, struct ls_cuda_device *ret)
NONE(ls_cuda_alloc, size_t bytes, void **ret)
NOTHING(ls_cuda_free)
NONE(ls_cuda_host_alloc, size_t bytes, void **ret)
NOTHING(ls_cuda_host_free)
NONE(ls_cuda_stream_make, bool high_priority, void **ret)
NOTHING(ls_cuda_stream_free)
NONE(ls_cuda_stream_wait, void *stream, void *event)
NONE(ls_cuda_stream_sync, void *stream)
NONE(ls_cuda_event_make, bool timed, void **ret)
NOTHING(ls_cuda_event_free)
NONE(ls_cuda_event_record, void *event, void *stream)
NONE(ls_cuda_event_done, void *event, bool *ret_done)
NONE(ls_cuda_event_ms, void *from, void *to, double *ret)
NONE(ls_cuda_copy, void *to, const void *from, size_t bytes, void *stream)
NONE(ls_cuda_set, void *at, int byte, size_t bytes, void *stream)
NONE(ls_cuda_launch, const char *kernel, struct ls_cuda_grid grid, void **args, void *stream)
