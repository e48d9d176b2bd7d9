/* cuda_runtime.h -- what examples/gpt takes for CUDA's runtime in tests on a CPU, with fibre_cuda.h: the GPU's memory is ordinary memory,
 * begins as NaNs, and everything is done at once. FAKE_CUDART=old-driver, no-driver, no-device, old-gpu or no-memory fails as a real one does. */
#ifndef FAKE_CUDA_RUNTIME_H
#define FAKE_CUDA_RUNTIME_H

#include <cstdlib>
#include <cstring>
#include <ctime>

enum cudaError_t { cudaSuccess = 0, cudaErrorMemoryAllocation = 2, cudaErrorInsufficientDriver = 35, cudaErrorNoDevice = 100 };
enum cudaMemcpyKind { cudaMemcpyHostToDevice = 1, cudaMemcpyDeviceToHost = 2 };
enum { cudaEventDisableTiming = 2 };
struct cudaDeviceProp { char name[256]; int major, minor; };
typedef struct fake_stream *cudaStream_t;
typedef struct fake_event *cudaEvent_t;

inline bool fake_cudart(const char *what)
{
	const char *have = getenv("FAKE_CUDART");

	return have && !strcmp(have, what);
}

inline const char *cudaGetErrorName(cudaError_t e)
{
	return e == cudaErrorMemoryAllocation ? "cudaErrorMemoryAllocation" : e == cudaErrorInsufficientDriver ?
		"cudaErrorInsufficientDriver" : e == cudaErrorNoDevice ? "cudaErrorNoDevice" : "cudaSuccess";
}

inline const char *cudaGetErrorString(cudaError_t e)
{
	return e == cudaErrorMemoryAllocation ? "out of memory" : e == cudaErrorInsufficientDriver ?
		"CUDA driver version is insufficient for CUDA runtime version" : e == cudaErrorNoDevice ?
		"no CUDA-capable device is detected" : "no error";
}

inline cudaError_t cudaGetDeviceCount(int *n)
{
	*n = fake_cudart("old-driver") || fake_cudart("no-driver") || fake_cudart("no-device") ? 0 : 1;
	return fake_cudart("old-driver") || fake_cudart("no-driver") ? cudaErrorInsufficientDriver : *n ? cudaSuccess : cudaErrorNoDevice;
}

inline cudaError_t cudaDriverGetVersion(int *version)
{
	*version = fake_cudart("no-driver") ? 0 : 11040;
	return cudaSuccess;
}

inline cudaError_t cudaGetDevice(int *device)
{
	*device = 0;
	return cudaSuccess;
}

inline cudaError_t cudaGetDeviceProperties(cudaDeviceProp *p, int)
{
	strcpy(p->name, "a CPU");
	p->major = fake_cudart("old-gpu") ? 7 : 9;
	p->minor = 0;
	return cudaSuccess;
}

inline cudaError_t cudaMalloc(void **ret, size_t bytes)
{
	if (fake_cudart("no-memory"))
		return cudaErrorMemoryAllocation;
	*ret = aligned_alloc(256, (bytes + 255) / 256 * 256);
	memset(*ret, 0xff, bytes);
	return cudaSuccess;
}

inline cudaError_t cudaMallocHost(void **ret, size_t bytes) { return cudaMalloc(ret, bytes); }
inline void cudaFree(void *p) { free(p); }
inline void cudaFreeHost(void *p) { free(p); }

inline cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *all)
{
	*free_bytes = 1000000;
	*all = 80000000000;
	return cudaSuccess;
}

inline cudaError_t cudaMemcpy(void *to, const void *from, size_t bytes, cudaMemcpyKind)
{
	memcpy(to, from, bytes);
	return cudaSuccess;
}

inline cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind kind, cudaStream_t)
{
	return cudaMemcpy(to, from, bytes, kind);
}

inline cudaError_t cudaMemset(void *at, int byte, size_t bytes)
{
	memset(at, byte, bytes);
	return cudaSuccess;
}

inline cudaError_t cudaStreamCreate(cudaStream_t *ret)
{
	*ret = reinterpret_cast<cudaStream_t>(1);
	return cudaSuccess;
}

inline cudaError_t cudaEventCreateWithFlags(cudaEvent_t *ret, unsigned)
{
	*ret = reinterpret_cast<cudaEvent_t>(new double(0));
	return cudaSuccess;
}

inline cudaError_t cudaEventCreate(cudaEvent_t *ret) { return cudaEventCreateWithFlags(ret, 0); }

inline cudaError_t cudaEventRecord(cudaEvent_t e, cudaStream_t)
{
	timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	*reinterpret_cast<double *>(e) = static_cast<double>(now.tv_sec) * 1e3 + static_cast<double>(now.tv_nsec) * 1e-6;
	return cudaSuccess;
}

inline cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t from, cudaEvent_t to)
{
	*ms = static_cast<float>(*reinterpret_cast<double *>(to) - *reinterpret_cast<double *>(from));
	return cudaSuccess;
}

inline void cudaStreamDestroy(cudaStream_t) {}
inline void cudaEventDestroy(cudaEvent_t e) { delete reinterpret_cast<double *>(e); }
inline cudaError_t cudaStreamSynchronize(cudaStream_t) { return cudaSuccess; }
inline cudaError_t cudaEventSynchronize(cudaEvent_t) { return cudaSuccess; }
inline cudaError_t cudaGetLastError() { return cudaSuccess; }

#endif
