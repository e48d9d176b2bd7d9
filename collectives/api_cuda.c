/* api_cuda.c -- see api_cuda.h: memory, streams, events and kernels. Opening, and what is wrong when that fails, is driver_cuda.c's. */
#include "collectives/driver_cuda.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

static CUdeviceptr address(const void *p)
{
	return (CUdeviceptr)(uintptr_t)p;
}

bool ls_cuda_holds(const void *p)
{
	unsigned type = 0; /* a CUmemorytype */

	return p && ls_cuda_is_open() && !ls_cuda_enter(NULL) &&
	       !ls_cu.cuPointerGetAttribute_(&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, address(p)) && type == CU_MEMORYTYPE_DEVICE;
}

/* --- memory ------------------------------------------------------------------------------------------------------------------- */

static ls_status no_memory(struct ls_err *err, size_t bytes)
{
	size_t free_bytes = 0, all = 0;

	ls_cu.cuMemGetInfo_(&free_bytes, &all);
	return ls_fail(err, LS_JOB_LOST, 0, "out of GPU memory (CUDA_ERROR_OUT_OF_MEMORY): %zu MB asked for, %zu MB of %zu MB free: take "
		"a smaller batch, or end what else uses this GPU (nvidia-smi names it)", bytes >> 20, free_bytes >> 20, all >> 20);
}

ls_status ls_cuda_alloc(size_t bytes, void **ret, struct ls_err *err)
{
	ls_status st = ls_cuda_enter(err);
	CUdeviceptr p = 0;
	CUresult rc;

	if (st)
		return st;
	rc = ls_cu.cuMemAlloc_(&p, bytes ? bytes : 1);
	if (rc == CUDA_ERROR_OUT_OF_MEMORY)
		return no_memory(err, bytes);
	st = ls_cuda_check(err, rc, "taking GPU memory");
	if (!st && bytes)
		st = ls_cuda_set((void *)(uintptr_t)p, 0, bytes, NULL, err);
	if (!st)
		st = ls_cuda_stream_sync(NULL, err); /* the memory may be used in a stream that does not wait for this one */
	if (st && p)
		ls_cu.cuMemFree_(p);
	if (!st)
		*ret = (void *)(uintptr_t)p;
	return st;
}

void ls_cuda_free(void *p)
{
	if (p && !ls_cuda_enter(NULL))
		ls_cu.cuMemFree_(address(p));
}

ls_status ls_cuda_host_alloc(size_t bytes, void **ret, struct ls_err *err)
{
	ls_status st = ls_cuda_enter(err);
	void *p = NULL;

	if (!st)
		st = ls_cuda_check(err, ls_cu.cuMemHostAlloc_(&p, bytes ? bytes : 1, CU_MEMHOSTALLOC_PORTABLE), "taking pinned memory");
	if (st)
		return st;
	memset(p, 0, bytes);
	*ret = p;
	return LS_OK;
}

void ls_cuda_host_free(void *p)
{
	if (p && !ls_cuda_enter(NULL))
		ls_cu.cuMemFreeHost_(p);
}

ls_status ls_cuda_copy(void *to, const void *from, size_t bytes, void *stream, struct ls_err *err)
{
	ls_status st = ls_cuda_enter(err);

	if (st || !bytes)
		return st;
	return ls_cuda_check(err, ls_cu.cuMemcpyAsync_(address(to), address(from), bytes, stream), "copying to or from the GPU");
}

ls_status ls_cuda_set(void *at, int byte, size_t bytes, void *stream, struct ls_err *err)
{
	ls_status st = ls_cuda_enter(err);

	if (st || !bytes)
		return st;
	return ls_cuda_check(err, ls_cu.cuMemsetD8Async_(address(at), (unsigned char)byte, bytes, stream), "filling GPU memory");
}

/* --- streams and events ------------------------------------------------------------------------------------------------------- */

ls_status ls_cuda_stream_make(bool high_priority, void **ret, struct ls_err *err)
{
	int least = 0, greatest = 0;
	ls_status st = ls_cuda_enter(err);
	CUstream s = NULL;

	if (!st)
		st = ls_cuda_check(err, ls_cu.cuCtxGetStreamPriorityRange_(&least, &greatest), "asking for the priorities of streams");
	if (!st)
		st = ls_cuda_check(err, ls_cu.cuStreamCreateWithPriority_(&s, CU_STREAM_NON_BLOCKING, high_priority ? greatest : least),
			"making a stream");
	if (!st)
		*ret = s;
	return st;
}

void ls_cuda_stream_free(void *stream)
{
	if (stream && !ls_cuda_enter(NULL))
		ls_cu.cuStreamDestroy_(stream);
}

ls_status ls_cuda_stream_wait(void *stream, void *event, struct ls_err *err)
{
	ls_status st = ls_cuda_enter(err);

	return st ? st : ls_cuda_check(err, ls_cu.cuStreamWaitEvent_(stream, event, 0), "letting a stream wait for an event");
}

ls_status ls_cuda_stream_sync(void *stream, struct ls_err *err)
{
	ls_status st = ls_cuda_enter(err);

	return st ? st : ls_cuda_check(err, ls_cu.cuStreamSynchronize_(stream), "waiting for a stream");
}

ls_status ls_cuda_event_make(bool timed, void **ret, struct ls_err *err)
{
	ls_status st = ls_cuda_enter(err);
	CUevent e = NULL;

	if (!st)
		st = ls_cuda_check(err, ls_cu.cuEventCreate_(&e, timed ? CU_EVENT_DEFAULT : CU_EVENT_DISABLE_TIMING), "making an event");
	if (!st)
		*ret = e;
	return st;
}

void ls_cuda_event_free(void *event)
{
	if (event && !ls_cuda_enter(NULL))
		ls_cu.cuEventDestroy_(event);
}

ls_status ls_cuda_event_record(void *event, void *stream, struct ls_err *err)
{
	ls_status st = ls_cuda_enter(err);

	return st ? st : ls_cuda_check(err, ls_cu.cuEventRecord_(event, stream), "recording an event");
}

ls_status ls_cuda_event_done(void *event, bool *ret_done, struct ls_err *err)
{
	ls_status st = ls_cuda_enter(err);
	CUresult rc;

	if (st)
		return st;
	rc = ls_cu.cuEventQuery_(event);
	if (rc && rc != CUDA_ERROR_NOT_READY)
		return ls_cuda_check(err, rc, "asking for an event");
	*ret_done = !rc;
	return LS_OK;
}

ls_status ls_cuda_event_ms(void *from, void *to, double *ret, struct ls_err *err)
{
	ls_status st = ls_cuda_enter(err);
	float ms = 0;

	if (!st)
		st = ls_cuda_check(err, ls_cu.cuEventElapsedTime_(&ms, from, to), "asking for the time between two events");
	if (!st)
		*ret = ms;
	return st;
}

/* --- kernels ------------------------------------------------------------------------------------------------------------------ */

/* The driver's look-up by name, once for each: its handles are valid in every context, and for ever. */
static ls_status find(const char *name, CUkernel *ret, struct ls_err *err)
{
	static struct { char name[48]; CUkernel kernel; } known[64];
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	static size_t n;
	char what[96];
	ls_status st = LS_OK;
	size_t i;

	pthread_mutex_lock(&lock);
	for (i = 0; i < n && strcmp(known[i].name, name); i++)
		;
	if (i < n) {
		*ret = known[i].kernel;
	} else {
		snprintf(what, sizeof(what), "looking for the kernel %.48s", name);
		st = ls_cuda_check(err, ls_cu.cuLibraryGetKernel_(ret, ls_cuda_kernels, name), what);
		if (!st && n < sizeof(known) / sizeof(known[0]) && strlen(name) < sizeof(known[0].name)) {
			strcpy(known[n].name, name);
			known[n++].kernel = *ret;
		}
	}
	pthread_mutex_unlock(&lock);
	return st;
}

ls_status ls_cuda_launch(const char *kernel, struct ls_cuda_grid grid, void **args, void *stream, struct ls_err *err)
{
	ls_status st = ls_cuda_enter(err);
	CUkernel k = NULL;
	char what[96];

	if (!st)
		st = find(kernel, &k, err);
	if (st)
		return st;
	snprintf(what, sizeof(what), "starting the kernel %.48s", kernel);
	return ls_cuda_check(err,
		ls_cu.cuLaunchKernel_((CUfunction)k, grid.blocks, 1, 1, grid.threads, 1, 1, grid.shared_bytes, stream, args, NULL), what);
}
