/* libcuda.c -- a stand-in for NVIDIA's driver on machines without one: its "device memory" is memory that nobody may touch.
 *
 * A pointer from cuMemAlloc_v2 faults when the program uses it as memory; only these functions open it for a moment. Asynchronous copies
 * happen at cuStreamSynchronize and no sooner, and only into memory that was registered: code that forgets either is found out. It says
 * nothing about a real GPU. */
#define _GNU_SOURCE
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

enum { ALLOCS = 16, COPIES = 64, INVALID = 1, ALREADY_REGISTERED = 712 };

static struct { char *at; size_t bytes; } allocs[ALLOCS], pinned[ALLOCS];
static struct { void *to; uintptr_t from; size_t bytes; } copies[COPIES];
static int n_allocs, n_pinned, n_copies;
int fake_context_syncs;

static int find(uintptr_t p)
{
	int i;

	for (i = 0; i < n_allocs; i++)
		if (p >= (uintptr_t)allocs[i].at && p < (uintptr_t)allocs[i].at + allocs[i].bytes)
			return i;
	return -1;
}

int cuMemAlloc_v2(unsigned long long *ret, size_t bytes)
{
	void *at = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (at == MAP_FAILED || n_allocs == ALLOCS)
		return 2;
	allocs[n_allocs].at = at;
	allocs[n_allocs++].bytes = bytes;
	*ret = (uintptr_t)at;
	return 0;
}

int cuPointerGetAttribute(void *ret, int attribute, unsigned long long p)
{
	if (attribute != 2 || find(p) < 0)
		return INVALID; /* as the driver answers for memory that it does not know */
	*(int *)ret = 2;
	return 0;
}

int cuGetErrorName(int error, const char **ret)
{
	*ret = error == INVALID ? "CUDA_ERROR_INVALID_VALUE" : "CUDA_ERROR_UNKNOWN";
	return 0;
}

int cuStreamCreate(void **ret, unsigned flags)
{
	*ret = &copies;
	return flags == 1 ? 0 : INVALID;
}

int cuCtxSynchronize(void)
{
	fake_context_syncs++;
	return 0;
}

static void touch(int alloc, int prot)
{
	mprotect(allocs[alloc].at, allocs[alloc].bytes, prot);
}

int cuStreamSynchronize(void *stream)
{
	int i, a;

	if (stream != &copies)
		return INVALID;
	for (i = 0; i < n_copies; i++) {
		a = find(copies[i].from);
		touch(a, PROT_READ);
		memcpy(copies[i].to, (void *)copies[i].from, copies[i].bytes);
		touch(a, PROT_NONE);
	}
	n_copies = 0;
	return 0;
}

static int is_pinned(const char *at, size_t bytes)
{
	int i;

	for (i = 0; i < n_pinned; i++)
		if (at >= pinned[i].at && at + bytes <= pinned[i].at + pinned[i].bytes)
			return 1;
	return 0;
}

int cuMemcpyDtoHAsync_v2(void *to, unsigned long long from, size_t bytes, void *stream)
{
	if (stream != &copies || find(from) < 0 || !is_pinned(to, bytes) || n_copies == COPIES)
		return INVALID;
	copies[n_copies].to = to;
	copies[n_copies].from = from;
	copies[n_copies++].bytes = bytes;
	return 0;
}

int cuMemcpyHtoD_v2(unsigned long long to, const void *from, size_t bytes)
{
	int a = find(to);

	if (a < 0)
		return INVALID;
	touch(a, PROT_READ | PROT_WRITE);
	memcpy((void *)(uintptr_t)to, from, bytes);
	touch(a, PROT_NONE);
	return 0;
}

int cuMemHostRegister_v2(void *at, size_t bytes, unsigned flags)
{
	(void)flags;
	if (is_pinned(at, bytes))
		return ALREADY_REGISTERED;
	if (n_pinned == ALLOCS)
		return INVALID;
	pinned[n_pinned].at = at;
	pinned[n_pinned++].bytes = bytes;
	return 0;
}

int cuMemHostUnregister(void *at)
{
	int i;

	for (i = 0; i < n_pinned; i++)
		if (pinned[i].at == at) {
			pinned[i] = pinned[--n_pinned];
			return 0;
		}
	return INVALID;
}
