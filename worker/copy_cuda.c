/* copy_cuda.c -- see copy.h: the CUDA driver's interface, as far as it is needed here.
 *
 * The driver (libcuda.so.1) belongs to the host, not to a build: it is found in the process if the program uses CUDA in any way, and its
 * functions have had these types since CUDA 4. https://docs.nvidia.com/cuda/cuda-driver-api/ */
#include "worker/copy.h"
#include "core/symbols.h"

#include <dlfcn.h>
#include <stdint.h>

typedef unsigned long long device_ptr;
enum {
	OK = 0,
	ALREADY_REGISTERED = 712,      /* CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED */
	ATTRIBUTE_MEMORY_TYPE = 2,     /* CU_POINTER_ATTRIBUTE_MEMORY_TYPE */
	MEMORY_TYPE_DEVICE = 2,        /* CU_MEMORYTYPE_DEVICE */
	STREAM_NON_BLOCKING = 1,       /* CU_STREAM_NON_BLOCKING */
	REGISTER_PORTABLE = 1,         /* CU_MEMHOSTREGISTER_PORTABLE */
};

/* name, exported symbol (the driver keeps old versions under the plain names), arguments */
#define FUNCTIONS(X)                                                                                                                 \
	X(attribute, "cuPointerGetAttribute", (void *, int, device_ptr))                                                             \
	X(error_name, "cuGetErrorName", (int, const char **))                                                                        \
	X(stream_create, "cuStreamCreate", (void **, unsigned))                                                                      \
	X(stream_sync, "cuStreamSynchronize", (void *))                                                                              \
	X(context_sync, "cuCtxSynchronize", (void))                                                                                  \
	X(from_device, "cuMemcpyDtoHAsync_v2", (void *, device_ptr, size_t, void *))                                                 \
	X(to_device, "cuMemcpyHtoD_v2", (device_ptr, const void *, size_t))                                                          \
	X(pin, "cuMemHostRegister_v2", (void *, size_t, unsigned))                                                                   \
	X(unpin, "cuMemHostUnregister", (void *))

static struct {
#define X(name, symbol, args) int (*name) args;
	FUNCTIONS(X)
#undef X
	void *stream;
} cu;

static const char *const symbols[] = {
#define X(name, symbol, args) symbol,
	FUNCTIONS(X)
#undef X
};

/* Is CUDA in use here? Asked again while it is not: a program may load it late. */
static bool have_driver(void)
{
	static bool have;
	void *lib;

	if (have)
		return true;
	lib = dlopen("libcuda.so.1", RTLD_NOW | RTLD_NOLOAD);
	if (!lib)
		return false;
	have = !ls_symbols(lib, symbols, sizeof(symbols) / sizeof(symbols[0]), &cu);
	return have;
}

static ls_status check(struct ls_err *err, int rc, const char *what)
{
	const char *name = NULL;

	if (rc == OK)
		return LS_OK;
	cu.error_name(rc, &name);
	return ls_fail(err, LS_JOB_LOST, 0, "%s: %s (%d); an earlier kernel of the program may have failed", what, name ? name : "CUDA error", rc);
}

bool ls_on_gpu(const void *at)
{
	int type = 0;

	return at && have_driver() && cu.attribute(&type, ATTRIBUTE_MEMORY_TYPE, (device_ptr)(uintptr_t)at) == OK &&
	       type == MEMORY_TYPE_DEVICE;
}

ls_status ls_copy_to_gpu(void *gpu, const void *host, size_t bytes, struct ls_err *err)
{
	return check(err, cu.to_device((device_ptr)(uintptr_t)gpu, host, bytes), "copying restored state to the GPU");
}

ls_status ls_copy_begin(struct ls_err *err)
{
	ls_status st = LS_OK;

	if (!cu.stream)
		st = check(err, cu.stream_create(&cu.stream, STREAM_NON_BLOCKING), "making a CUDA stream for snapshots");
	return st ? st : check(err, cu.context_sync(), "waiting for the GPU before a snapshot");
}

ls_status ls_copy_from_gpu(void *host, const void *gpu, size_t bytes, struct ls_err *err)
{
	return check(err, cu.from_device(host, (device_ptr)(uintptr_t)gpu, bytes, cu.stream), "copying state from the GPU");
}

ls_status ls_copy_end(struct ls_err *err)
{
	return check(err, cu.stream_sync(cu.stream), "copying state from the GPU");
}

ls_status ls_copy_pin(void *host, size_t bytes, struct ls_err *err)
{
	int rc = cu.pin(host, bytes, REGISTER_PORTABLE);

	return check(err, rc == ALREADY_REGISTERED ? OK : rc, "pinning memory for snapshots");
}

void ls_copy_unpin(void *host)
{
	if (have_driver())
		cu.unpin(host);
}
