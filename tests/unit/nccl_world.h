/* nccl_world.h -- ranks of coll_world.h with a GPU and NCCL, both of which are stand-ins (tests/fake). */
#ifndef LS_TEST_NCCL_WORLD_H
#define LS_TEST_NCCL_WORLD_H

#include "collectives/api_cuda.h"
#include "tests/unit/coll_world.h"

#include <dlfcn.h>

static void (*hold_streams)(int hold);

static inline bool have_nccl(void)
{
	const struct ls_backend *b;

	return !ls_backend_find("nccl", &b, NULL);
}

static inline void beside_me(const char *name, char ret[4200])
{
	ssize_t n = readlink("/proc/self/exe", ret, 4100);

	if (n < 0)
		abort();
	ret[n] = '\0';
	strcpy(strrchr(ret, '/') + 1, name);
}

/* In a rank: what is loaded already is what dlopen finds by its name. Before it, the process has no threads of CUDA's: it may fork. */
static inline void load_stand_ins(void)
{
	char path[4200];
	void *driver;

	beside_me("libcuda.so.1", path);
	driver = dlopen(path, RTLD_NOW);
	if (!check(driver != NULL, "%s", dlerror()))
		exit(1);
	*(void **)&hold_streams = dlsym(driver, "fake_cuda_hold");
	beside_me("libnccl.so.2", path);
	setenv("LOCKSTEP_NCCL_LIB", path, 1);
	setenv("NCCL_MULTI_RANK_GPU_ENABLE", "1", 1); /* all ranks have the stand-in's one GPU */
}

static inline struct ls_comm *nccl_open(struct world *w)
{
	load_stand_ins();
	return world_open(w, (struct ls_comm_options){ .backend = "nccl" });
}

static inline void to_gpu(void *gpu, const void *host, size_t bytes)
{
	struct ls_err err = LS_ERR_INIT;

	check(!ls_cuda_copy(gpu, host, bytes, NULL, &err) && !ls_cuda_stream_sync(NULL, &err), "to the GPU: %s", err.text);
}

static inline void from_gpu(void *host, const void *gpu, size_t bytes)
{
	to_gpu(host, gpu, bytes);
}

static inline void *gpu_buffer(struct ls_comm *c, size_t bytes)
{
	struct ls_err err = LS_ERR_INIT;
	void *p = NULL;

	if (!check(!ls_comm_alloc(c, bytes, &p, &err), "alloc: %s", err.text))
		exit(1);
	return p;
}

#endif
