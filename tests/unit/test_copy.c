/* test_copy.c -- state in a GPU's memory is saved and restored; the GPU is tests/fake/cuda.cc: its memory faults when we touch it, and
 * copies happen when they are waited for and no sooner, so code that forgets either is found out. */
#include "lockstep/lockstep.h"
#include "tests/unit/world.h"

#include <CUnit/Basic.h>
#include <dlfcn.h>
#include <stdint.h>
#include <string.h>

#define N 1000

static int (*alloc)(unsigned long long *ret, size_t bytes);
static int (*to_device)(unsigned long long to, const void *from, size_t bytes);
static int (*from_device)(void *to, unsigned long long from, size_t bytes, void *stream);
static int (*sync_stream)(void *stream), (*create)(void **ret, unsigned flags), (*pin)(void *at, size_t bytes, unsigned flags);
static int *syncs;
static const char *why = "";

static int load_fake(void)
{
	char path[4200] = "";
	ssize_t n = readlink("/proc/self/exe", path, 4000);
	void *lib;

	if (n < 0)
		return -1;
	path[n] = '\0';
	strcpy(strrchr(path, '/') + 1, "libcuda.so.1");
	lib = dlopen(path, RTLD_NOW);
	if (!lib)
		return -1;
	*(void **)&alloc = dlsym(lib, "cuMemAlloc_v2");
	*(void **)&to_device = dlsym(lib, "cuMemcpyHtoD_v2");
	*(void **)&from_device = dlsym(lib, "cuMemcpyDtoHAsync_v2");
	*(void **)&sync_stream = dlsym(lib, "cuStreamSynchronize");
	*(void **)&create = dlsym(lib, "cuStreamCreate");
	*(void **)&pin = dlsym(lib, "cuMemHostRegister_v2");
	syncs = dlsym(lib, "fake_context_syncs");
	return 0;
}

static int step_of(const char *said, int ok)
{
	if (!ok && !*why)
		why = said;
	return ok;
}

static struct lockstep *open_with(const char *uri, unsigned long long gpu, unsigned long long rows, float *host)
{
	struct lockstep_options opt = { .checkpoint_uri = uri };
	struct lockstep_err err = { 0 };
	struct lockstep *ls = NULL;
	int rank, world;
	int64_t n = N, part;

	if (lockstep_start(&opt, &ls, &err))
		return NULL;
	rank = lockstep_rank(ls);
	world = lockstep_world_size(ls);
	part = N / world;
	lockstep_state_add(ls, "gpu", (void *)(uintptr_t)gpu, LOCKSTEP_F32, 1, &n, LOCKSTEP_REPLICATED, &err);
	lockstep_state_add(ls, "host", host, LOCKSTEP_F32, 1, &n, LOCKSTEP_REPLICATED, &err);
	lockstep_state_add_sharded(ls, "rows", (void *)(uintptr_t)rows, LOCKSTEP_F32, 1, &part, rank * part, world * part, &err);
	return ls;
}

/* Run by each rank. Returns 0 when all is well. */
static int inner(void)
{
	const char *uri = getenv("COPY_URI");
	unsigned long long gpu, rows;
	struct lockstep_err err = { 0 };
	float host[N], got[N], seen[N];
	int64_t step = 0;
	struct lockstep *ls;
	void *stream;
	int i, syncs_before;

	if (!step_of("the stand-in loads", load_fake() == 0))
		return 1;
	alloc(&gpu, sizeof(host));
	alloc(&rows, sizeof(host));
	for (i = 0; i < N; i++)
		host[i] = (float)i;
	to_device(gpu, host, sizeof(host));
	to_device(rows, host, sizeof(host));
	ls = open_with(uri, gpu, rows, host);
	if (!step_of("start", ls != NULL))
		return 1;
	syncs_before = *syncs;
	step_of("a save from the GPU", lockstep_save(ls, 5, &err) == LOCKSTEP_OK);
	step_of("waits for the GPU's work", *syncs > syncs_before);
	memset(host, 0, sizeof(host));
	to_device(gpu, host, sizeof(host));
	to_device(rows, host, sizeof(host));
	step_of("a restore", lockstep_restore(ls, &step, &err) == LOCKSTEP_OK && step == 5);
	create(&stream, 1);
	pin(got, sizeof(got), 0);
	pin(seen, sizeof(seen), 0);
	from_device(got, gpu, sizeof(got), stream);
	from_device(seen, rows, sizeof(seen) / (size_t)lockstep_world_size(ls), stream);
	sync_stream(stream);
	for (i = 0; i < N; i++) {
		step_of("the host's state is back", host[i] == (float)i);
		step_of("the GPU's state is back", got[i] == (float)i);
		if (i < N / lockstep_world_size(ls))
			step_of("the GPU's rows are back", seen[i] == (float)i);
	}
	lockstep_finish(ls);
	if (*why)
		fprintf(stderr, "test_copy: not so: %s (%s)\n", why, err.text);
	return *why != 0;
}

static void test_gpu(void)
{
	char dir[] = "/tmp/lockstep-copy-XXXXXX", uri[64], command[80];
	int ranks;

	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(dir));
	for (ranks = 1; ranks <= 2; ranks++) {
		snprintf(uri, sizeof(uri), "file://%s/%d", dir, ranks);
		setenv("COPY_URI", uri, 1);
		CU_ASSERT_EQUAL(world_run(ranks), 0);
	}
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	CU_ASSERT_EQUAL(system(command), 0);
}

int main(void)
{
	CU_pSuite suite;
	unsigned failures;

	if (getenv(RANK_MODE))
		return inner();
	CU_initialize_registry();
	setenv("FAKE_CUDA", "guard,lazy", 1);
	suite = CU_add_suite("copy", NULL, NULL);
	CU_add_test(suite, "state in a GPU's memory", test_gpu);
	CU_basic_set_mode(CU_BRM_VERBOSE);
	CU_basic_run_tests();
	failures = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failures != 0;
}
