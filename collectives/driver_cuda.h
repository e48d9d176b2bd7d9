/* driver_cuda.h -- what the files behind api_cuda.h share: the driver's functions, and its errors as ours. The vendor's header is read
 * here. */
#ifndef LS_DRIVER_CUDA_H
#define LS_DRIVER_CUDA_H

#include "collectives/api_cuda.h"

#include <cuda.h>

/* CUDA's name (for its type), the exported symbol: the driver keeps older versions of a function under the plain names. */
#define LS_CUDA_FUNCTIONS(X)                                                    \
	X(cuGetErrorName, "cuGetErrorName")                                     \
	X(cuGetErrorString, "cuGetErrorString")                                 \
	X(cuInit, "cuInit")                                                     \
	X(cuDeviceGet, "cuDeviceGet")                                           \
	X(cuDeviceGetCount, "cuDeviceGetCount")                                 \
	X(cuDeviceGetName, "cuDeviceGetName")                                   \
	X(cuDeviceGetUuid, "cuDeviceGetUuid_v2")                                \
	X(cuDeviceGetPCIBusId, "cuDeviceGetPCIBusId")                           \
	X(cuDeviceGetAttribute, "cuDeviceGetAttribute")                         \
	X(cuDevicePrimaryCtxRetain, "cuDevicePrimaryCtxRetain")                 \
	X(cuCtxGetCurrent, "cuCtxGetCurrent")                                   \
	X(cuCtxSetCurrent, "cuCtxSetCurrent")                                   \
	X(cuCtxGetDevice, "cuCtxGetDevice")                                     \
	X(cuCtxGetStreamPriorityRange, "cuCtxGetStreamPriorityRange")           \
	X(cuMemGetInfo, "cuMemGetInfo_v2")                                      \
	X(cuMemAlloc, "cuMemAlloc_v2")                                          \
	X(cuMemFree, "cuMemFree_v2")                                            \
	X(cuMemHostAlloc, "cuMemHostAlloc")                                     \
	X(cuMemFreeHost, "cuMemFreeHost")                                       \
	X(cuMemcpyAsync, "cuMemcpyAsync")                                       \
	X(cuMemsetD8Async, "cuMemsetD8Async")                                   \
	X(cuPointerGetAttribute, "cuPointerGetAttribute")                       \
	X(cuStreamCreateWithPriority, "cuStreamCreateWithPriority")             \
	X(cuStreamDestroy, "cuStreamDestroy_v2")                                \
	X(cuStreamWaitEvent, "cuStreamWaitEvent")                               \
	X(cuStreamSynchronize, "cuStreamSynchronize")                           \
	X(cuEventCreate, "cuEventCreate")                                       \
	X(cuEventDestroy, "cuEventDestroy_v2")                                  \
	X(cuEventRecord, "cuEventRecord")                                       \
	X(cuEventQuery, "cuEventQuery")                                         \
	X(cuEventElapsedTime, "cuEventElapsedTime")                             \
	X(cuLibraryLoadData, "cuLibraryLoadData")                               \
	X(cuLibraryGetKernel, "cuLibraryGetKernel")                             \
	X(cuLaunchKernel, "cuLaunchKernel")

/* Members have CUDA's names with a line at the end: its header makes macros of many names themselves. */
struct ls_cuda_driver {
#define X(name, symbol) __typeof__(name) *name##_;
	LS_CUDA_FUNCTIONS(X)
#undef X
};

/* Filled when ls_cuda_open has succeeded, and never changed after it. */
extern struct ls_cuda_driver ls_cu;
extern CUlibrary ls_cuda_kernels;
extern CUdevice ls_cuda_gpu;

bool ls_cuda_is_open(void);
/* Opens, if nobody has, and makes the context current in this thread: before every use of ls_cu. */
ls_status ls_cuda_enter(struct ls_err *err);
/* `what` was being done: LS_OK, or CUDA's own name and words with what to try. */
ls_status ls_cuda_check(struct ls_err *err, CUresult rc, const char *what);

#endif
