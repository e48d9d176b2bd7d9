/* api_cuda.h -- CUDA as far as Lockstep uses it, opened when it is first needed: one binary serves hosts with and without GPUs.
 *
 * Only the driver's interface (libcuda.so.1) is used: it is on every host with a GPU, in the version that fits it; no libcudart has to be
 * found. Our kernels are in this binary as one fat binary (sm_80, sm_90, PTX), made by nvcc from kernels.cu. A build without CUDA's
 * headers and nvcc has none of it, and says so.
 *
 *   Device     the context that is current in the calling thread, if the program made one (PyTorch, the CUDA runtime); else the primary
 *              context of the first visible device: the launcher shows each rank its own GPU alone (CUDA_VISIBLE_DEVICES).
 *   Handles    streams and events are CUstream and CUevent, which are cudaStream_t and cudaEvent_t, as void *. Stream NULL is the legacy
 *              default stream.
 *   Threads    ls_cuda_open once; after it any thread may call: each call makes the context current in its thread.
 *   Errors     ls_cuda_open: LS_USAGE, and a sentence that says which: built without CUDA; no driver on this host; a driver older
 *              than this build's CUDA; CUDA_VISIBLE_DEVICES is empty or names nothing here; a GPU in exclusive use by another
 *              process; out of memory; a GPU before A100; a GPU or a driver that is lost (that one is LS_NODE_LOST). Later: LS_JOB_LOST with
 *              CUDA's own name and words, or LS_NODE_LOST for a GPU that is lost. docs/gpus.md has all sentences. */
#ifndef LS_API_CUDA_H
#define LS_API_CUDA_H

#include "core/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ls_cuda_device {
	char name[64];         /* "NVIDIA H100 80GB HBM3" */
	char busid[24];        /* "0000:1b:00.0" */
	char uuid[64];         /* "GPU-…", "MIG-…" */
	int capability;        /* 90 for sm_90 */
	int driver;            /* 13000 for CUDA 13.0: the newest that the driver serves */
	int sms;
	uint64_t bytes, free_bytes;
};

bool ls_cuda_built(void);                       /* does this build have CUDA? */
ls_status ls_cuda_open(struct ls_err *err);     /* again: the same answer, at once */
ls_status ls_cuda_device(struct ls_cuda_device *ret, struct ls_err *err);
bool ls_cuda_holds(const void *p);              /* is it a GPU's memory? false too before ls_cuda_open worked */

ls_status ls_cuda_alloc(size_t bytes, void **ret, struct ls_err *err);      /* the GPU's memory, zeroed, 256-byte aligned */
void ls_cuda_free(void *p);                                                 /* NULL is fine; all frees likewise */
ls_status ls_cuda_host_alloc(size_t bytes, void **ret, struct ls_err *err); /* pinned, zeroed */
void ls_cuda_host_free(void *p);

ls_status ls_cuda_stream_make(bool high_priority, void **ret, struct ls_err *err); /* does not wait for the default stream */
void ls_cuda_stream_free(void *stream);
ls_status ls_cuda_stream_wait(void *stream, void *event, struct ls_err *err);  /* what follows in `stream` waits for the event */
ls_status ls_cuda_stream_sync(void *stream, struct ls_err *err);

ls_status ls_cuda_event_make(bool timed, void **ret, struct ls_err *err);
void ls_cuda_event_free(void *event);
ls_status ls_cuda_event_record(void *event, void *stream, struct ls_err *err);
ls_status ls_cuda_event_done(void *event, bool *ret_done, struct ls_err *err);
ls_status ls_cuda_event_ms(void *from, void *to, double *ret, struct ls_err *err); /* both timed, and done */

/* Any direction; host memory that is not pinned makes it wait. */
ls_status ls_cuda_copy(void *to, const void *from, size_t bytes, void *stream, struct ls_err *err);
ls_status ls_cuda_set(void *at, int byte, size_t bytes, void *stream, struct ls_err *err);

struct ls_cuda_grid { unsigned blocks, threads, shared_bytes; };
/* A kernel of kernels.cu by its name (extern "C" __global__); args as cuLaunchKernel takes them. */
ls_status ls_cuda_launch(const char *kernel, struct ls_cuda_grid grid, void **args, void *stream, struct ls_err *err);

#endif
