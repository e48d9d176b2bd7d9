/* test_fibre.cu -- tests/fake/fibre_cuda.h itself: what kernels rely on, and that it stops what a GPU would not forgive. */
#include "collectives/launch_cuda.h"

#include <CUnit/Basic.h>
#include <sys/wait.h>
#include <unistd.h>

/* --- what must work ----------------------------------------------------------------------------------------------------------- */

enum { THREADS = 256 };

template <class T> __global__ void sum(const T *in, int n, double *out)
{
	__shared__ float part[THREADS / 32];
	LS_DYNAMIC_SHARED(float, all);
	float s = 0;

	for (int i = blockIdx.x * THREADS + threadIdx.x; i < n; i += THREADS * gridDim.x)
		s += in[i];
	all[threadIdx.x] = s;
	for (int d = 16; d; d >>= 1)
		s += __shfl_xor_sync(~0u, s, d);
	if (threadIdx.x % 32 == 0)
		part[threadIdx.x / 32] = s;
	__syncthreads();
	if (threadIdx.x < 32) {
		s = threadIdx.x < THREADS / 32 ? part[threadIdx.x] : 0;
		for (int d = 16; d; d >>= 1)
			s += __shfl_down_sync(~0u, s, d);
		if (threadIdx.x == 0)
			atomicAdd(out, s);
	}
	/* A neighbour's value, from another warp. */
	if (__syncthreads_count(all[(threadIdx.x + 32) % THREADS] == all[(threadIdx.x + 32) % THREADS]) != THREADS)
		*out = NAN;
}

static void test_sum(void)
{
	static const char *const orders[] = { "forward", "reverse", "1", "77" };
	__nv_bfloat16 in[5000];
	double want = 0, got;

	for (int i = 0; i < 5000; i++)
		want += in[i] = static_cast<float>(i % 100);
	for (const char *order : orders) {
		setenv("FIBRE_ORDER", order, 1);
		got = 0;
		LS_LAUNCH(sum<__nv_bfloat16>, 3, THREADS, THREADS * sizeof(float), 0, in, 5000, &got);
		CU_ASSERT_EQUAL(got, want);
	}
	unsetenv("FIBRE_ORDER");
}

struct lanes { int xor_, down, up, indexed, ballot; };

__global__ void shuffle(lanes *out)
{
	int own = threadIdx.x, lane = own % 32;
	lanes *to = out + own;

	to->xor_ = __shfl_xor_sync(~0u, own, 5);
	to->down = __shfl_down_sync(~0u, own, 3, 8);
	to->up = __shfl_up_sync(~0u, own, 3, 8);
	to->indexed = __shfl_sync(~0u, own, 9, 16);
	to->ballot = static_cast<int>(__ballot_sync(~0u, lane % 3 == 0));
	if (lane < 16) /* half of a warp, while the other half does something else */
		to->indexed += 1000 * __shfl_sync(0xffffu, own, 15);
}

static void test_shuffle(void)
{
	lanes out[64];

	LS_LAUNCH(shuffle, 1, 64, 0, 0, out);
	for (int i = 0; i < 64; i++) {
		CU_ASSERT_EQUAL(out[i].xor_, i ^ 5);
		CU_ASSERT_EQUAL(out[i].down, i % 8 < 5 ? i + 3 : i);
		CU_ASSERT_EQUAL(out[i].up, i % 8 < 3 ? i : i - 3);
		CU_ASSERT_EQUAL(out[i].indexed, i / 16 * 16 + 9 + (i % 32 < 16 ? 1000 * (i / 32 * 32 + 15) : 0));
		CU_ASSERT_EQUAL(static_cast<unsigned>(out[i].ballot), 0x49249249u);
	}
}

__global__ void places(int *count)
{
	unsigned b = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
	unsigned t = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);

	count[b * blockDim.x * blockDim.y * blockDim.z + t]++;
}

static void test_places(void)
{
	int count[2 * 3 * 4 * 5 * 6 * 7] = {};
	bool once = true;

	LS_LAUNCH(places, dim3(2, 3, 4), dim3(5, 6, 7), 0, 0, count);
	for (int c : count)
		once = once && c == 1;
	CU_ASSERT(once);
}

/* --- what must be stopped ----------------------------------------------------------------------------------------------------- */

__global__ void some_never_come(int *) { if (threadIdx.x < 40) __syncthreads(); }
__global__ void two_barriers(int *)
{
	if (threadIdx.x < 40)
		__syncthreads();
	else
		__syncthreads();
}
__global__ void lane_that_sleeps(int *out) { if (threadIdx.x % 32 < 16) *out = __shfl_sync(0xffffu, 1, 20); }
__global__ void warp_that_waits(int *out) { if (threadIdx.x != 3) *out = __shfl_xor_sync(~0u, 1, 1); }
__global__ void not_in_the_mask(int *) { __syncwarp(1); }
__global__ void beyond_shared(int *out)
{
	LS_DYNAMIC_SHARED(int, all);

	all[threadIdx.x] = 1;
	*out = all[0];
}
__global__ void beyond_static(int *out)
{
	__shared__ int some[63];

	some[threadIdx.x] = 1;
	*out = some[0];
}

static const struct { const char *says; void (*kernel)(int *); size_t shared; bool sanitizer; const char *text; } wrong[] = {
	{ "threads that end before a barrier", some_never_come, 0, false, "waits for ever" },
	{ "threads at two barriers", two_barriers, 0, false, "wait at different barriers" },
	{ "a shuffle from a lane that takes no part", lane_that_sleeps, 0, false, "a shuffle from lane 20, which takes no part" },
	{ "a shuffle that not all lanes reach", warp_that_waits, 0, false, "waits for ever" },
	{ "a mask without the caller", not_in_the_mask, 0, false, "lacks the caller's lane" },
	{ "more shared memory than there is", beyond_shared, 300 << 10, false, "a launch that a GPU refuses" },
	{ "a store beyond dynamic shared memory", beyond_shared, 63 * sizeof(int), true, "heap-buffer-overflow" },
	{ "a store beyond static shared memory", beyond_static, 0, true, "global-buffer-overflow" },
};

static int do_wrong(size_t i)
{
	int out;

	alarm(60);
	LS_LAUNCH(wrong[i].kernel, 1, 64, wrong[i].shared, 0, &out);
	return 0;
}

/* In a program of its own: a fork of this one would have fibres that ThreadSanitizer knows from its parent. */
static bool is_stopped(size_t i)
{
	char text[4096] = "", number[24];
	size_t n = 0;
	ssize_t got;
	int ends[2], code;
	pid_t pid;

	if (pipe(ends) < 0 || (pid = fork()) < 0)
		return false;
	if (pid == 0) {
		dup2(ends[1], 2);
		snprintf(number, sizeof(number), "%zu", i);
		execl("/proc/self/exe", "test_fibre", number, nullptr);
		_exit(0);
	}
	close(ends[1]);
	while (n < sizeof(text) - 1 && (got = read(ends[0], text + n, sizeof(text) - 1 - n)) > 0)
		n += static_cast<size_t>(got);
	close(ends[0]);
	if (waitpid(pid, &code, 0) != pid || code == 0 || !strstr(text, wrong[i].text)) {
		fprintf(stderr, "test_fibre: %s: ended with %#x, \"%s\"\n", wrong[i].says, static_cast<unsigned>(code), text);
		return false;
	}
	return true;
}

static void test_wrong(void)
{
#ifdef __SANITIZE_ADDRESS__
	const bool sanitized = true;
#else
	const bool sanitized = false;
#endif

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		CU_ASSERT((wrong[i].sanitizer && !sanitized) || is_stopped(i));
}

int main(int argc, char **argv)
{
	CU_pSuite suite;
	unsigned failures;

	if (argc > 1)
		return do_wrong(strtoul(argv[1], nullptr, 10));
	CU_initialize_registry();
	suite = CU_add_suite("fibre", nullptr, nullptr);
	CU_add_test(suite, "a sum over blocks, in several orders", test_sum);
	CU_add_test(suite, "shuffles and ballots", test_shuffle);
	CU_add_test(suite, "each thread of each block runs once", test_places);
	CU_add_test(suite, "mistakes are stopped", test_wrong);
	CU_basic_set_mode(CU_BRM_VERBOSE);
	CU_basic_run_tests();
	failures = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failures != 0;
}
