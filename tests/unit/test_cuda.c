/* test_cuda.c -- api_cuda.h and kernels_cuda.h on a stand-in for the driver (tests/fake/cuda.cc); on this machine's GPU:
 *
 *     test_cuda probe     which GPU is it? Without one: why not, and exit code 77
 *     test_cuda gpu       the tests
 *     test_cuda speed     what pack and unpack move a second, beside the driver's own copy
 *
 * A cause of failure is met in a child process: what ls_cuda_open found is the whole process's. The kernels' values are compared bit by bit
 * with the C compiler's own conversions. */
#include "collectives/api_cuda.h"
#include "collectives/kernels_cuda.h"

#include <CUnit/Basic.h>
#include <dlfcn.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static void (*hold)(int); /* of the stand-in; NULL on a GPU */

static bool on_gpu;               /* the machine's own */

/* The loader then knows the stand-in by its name, and finds no other driver. */
static void use_stand_in(void)
{
	char path[4200] = "";
	ssize_t n = readlink("/proc/self/exe", path, 4000);
	void *lib = NULL, *at = NULL;

	if (n > 0) {
		strcpy(strrchr(path, '/') + 1, "libcuda.so.1");
		lib = dlopen(path, RTLD_NOW);
		at = lib ? dlsym(lib, "fake_cuda_hold") : NULL;
	}
	if (!at) {
		fprintf(stderr, "test_cuda: no stand-in: %s\n", dlerror());
		exit(1);
	}
	memcpy(&hold, &at, sizeof(at));
}

/* --- what goes wrong ---------------------------------------------------------------------------------------------------------- */

static ls_status open_it(struct ls_err *err)
{
	ls_status st = ls_cuda_open(err);
	struct ls_err again = LS_ERR_INIT;

	if (ls_cuda_open(&again) != st || (st && strcmp(again.text, err->text)))
		return ls_fail(err, LS_DATA_BAD, 0, "the second ls_cuda_open says something else");
	return st;
}

static ls_status alloc_much(struct ls_err *err)
{
	void *p;

	return ls_cuda_alloc(5 << 20, &p, err);
}

static ls_status copy_beyond(struct ls_err *err)
{
	static char from[4096];
	void *p;
	ls_status st = ls_cuda_alloc(4000, &p, err);

	return st ? st : ls_cuda_copy(p, from, sizeof(from), NULL, err);
}

static ls_status launch_unknown(struct ls_err *err)
{
	return ls_cuda_launch("ls_nothing", (struct ls_cuda_grid){ 1, 1, 0 }, NULL, NULL, err);
}

static ls_status pack_once(struct ls_err *err)
{
	struct ls_cuda_tensor t = { .count = 100 };
	struct ls_cuda_plan *p;
	void *wire;
	ls_status st = ls_cuda_alloc(400, &t.at, err);

	st = st ? st : ls_cuda_alloc(400, &wire, err);
	st = st ? st : ls_cuda_plan_make(&t, 1, LS_F32, LS_F32, &p, err);
	st = st ? st : ls_cuda_pack(p, wire, 1, NULL, err);
	return st ? st : ls_cuda_stream_sync(NULL, err);
}

/* A kernel that has to be loaded first would wait for what waits in another stream. */
static ls_status pack_beside(struct ls_err *err)
{
	struct ls_cuda_tensor t = { .count = 100 };
	struct ls_cuda_plan *p = NULL;
	void *wire = NULL, *stream = NULL;
	ls_status st = ls_cuda_alloc(400, &t.at, err);

	st = st ? st : ls_cuda_alloc(400, &wire, err);
	st = st ? st : ls_cuda_stream_make(true, &stream, err);
	st = st ? st : ls_cuda_plan_make(&t, 1, LS_F32, LS_BF16, &p, err);
	hold(1);
	st = st ? st : ls_cuda_set(t.at, 0, 400, NULL, err);
	st = st ? st : ls_cuda_pack(p, wire, 1, stream, err);
	st = st ? st : ls_cuda_unpack(p, wire, 1, stream, err);
	hold(0);
	return st ? st : ls_cuda_stream_sync(stream, err);
}

static ls_status in_a_fork(struct ls_err *err)
{
	ls_status st = ls_cuda_open(err);
	int code = 0;
	pid_t pid = st ? -1 : fork();

	if (pid > 0)
		_exit(waitpid(pid, &code, 0) != pid || code);
	return st ? st : open_it(err) ? err->status : alloc_much(err);
}

static ls_status pack_integers(struct ls_err *err)
{
	struct ls_cuda_tensor t = { .count = 100 };
	struct ls_cuda_plan *p;

	return ls_cuda_plan_make(&t, 1, LS_I32, LS_F32, &p, err);
}

static const struct {
	const char *says, *fake, *visible;
	ls_status (*what)(struct ls_err *);
	ls_status want;
	const char *text;
} causes[] = {
	{ "a GPU that is there opens", "", NULL, open_it, LS_OK, "" },
	{ "one that is named, too", "", "GPU-0102", open_it, LS_OK, "" },
	{ "no driver", NULL, NULL, open_it, LS_USAGE, "this host has no NVIDIA driver (libcuda.so.1: " },
	{ "an old driver: which is there, which is needed", "old", NULL, open_it, LS_USAGE, "serves CUDA 12.4, and this build of "
		"Lockstep needs CUDA 13: install driver 580 or newer, build with CUDA 12" },
	{ "the toolkit's stub", "stub", NULL, open_it, LS_USAGE, "libcuda.so.1 is the CUDA toolkit's stub" },
	{ "library and module differ", "mismatch", NULL, open_it, LS_NODE_LOST, "are of different versions: reboot" },
	{ "NVSwitch's service is not up", "notready", NULL, open_it, LS_NODE_LOST, "nvidia-fabricmanager must run" },
	{ "a compatibility package", "compat", NULL, open_it, LS_USAGE, "compatibility package is in the loader's path" },
	{ "a driver that does not start", "unknown", NULL, open_it, LS_NODE_LOST, "nvidia_uvm may not be loaded" },
	{ "no GPU", "nodevice", NULL, open_it, LS_USAGE, "it finds no GPU" },
	{ "CUDA_VISIBLE_DEVICES is empty", "", "", open_it, LS_USAGE, "CUDA_VISIBLE_DEVICES is empty, which hides every GPU" },
	{ "CUDA_VISIBLE_DEVICES is -1", "", "-1", open_it, LS_USAGE, "CUDA_VISIBLE_DEVICES is -1, which hides every GPU" },
	{ "CUDA_VISIBLE_DEVICES names none", "", "7,0", open_it, LS_USAGE, "CUDA_VISIBLE_DEVICES=7,0 names no GPU of this host" },
	{ "a GPU in exclusive use", "busy", NULL, open_it, LS_USAGE, "NVIDIA Stand-in at 0000:1b:00.0 is in use by another process" },
	{ "a GPU that is not to be had, for no reason that CUDA tells", "away", NULL, open_it, LS_JOB_LOST,
		"starting CUDA: CUDA_ERROR_DEVICE_UNAVAILABLE (46): CUDA-capable device(s) is/are busy or unavailable" },
	{ "a GPU that serves nobody", "prohibited", NULL, open_it, LS_USAGE, "compute mode Prohibited" },
	{ "a GPU without memory", "full", NULL, open_it, LS_USAGE, "has no memory left for even a context" },
	{ "a lost GPU", "lost", NULL, open_it, LS_NODE_LOST, "does not answer: it is lost until it is reset" },
	{ "a GPU before A100", "turing", NULL, open_it, LS_USAGE, "has compute capability 7.5, and Lockstep's kernels need 8.0" },
	{ "kernels that do not load", "badkernels", NULL, open_it, LS_JOB_LOST, "loading Lockstep's kernels: "
		"CUDA_ERROR_NO_BINARY_FOR_GPU (209): no kernel image is available" },
	{ "later: no memory", "oom", NULL, alloc_much, LS_JOB_LOST, "5 MB asked for, 1 MB of 1 MB free" },
	{ "later: a copy beyond its memory", "", NULL, copy_beyond, LS_JOB_LOST,
		"copying to or from the GPU: CUDA_ERROR_INVALID_VALUE (1): invalid argument" },
	{ "later: a kernel that is not there", "", NULL, launch_unknown, LS_JOB_LOST,
		"looking for the kernel ls_nothing: CUDA_ERROR_NOT_FOUND (500)" },
	{ "later: a kernel fails", "illegal", NULL, pack_once, LS_JOB_LOST, "CUDA_ERROR_ILLEGAL_ADDRESS (700): an illegal memory access "
		"was encountered; a kernel that was started earlier failed" },
	{ "later: memory of the GPU fails", "ecc", NULL, pack_once, LS_NODE_LOST,
		"uncorrectable ECC error encountered; the GPU or its driver is lost" },
	{ "later: in a process that was forked", "", NULL, in_a_fork, LS_JOB_LOST, "making CUDA's context current: CUDA_ERROR_NOT_INITIALIZED (3): "
		"initialization error; this process was forked from one that used CUDA already: fork before" },
	{ "later: a kernel is there when it is needed", "", NULL, pack_beside, LS_OK, "" },
	{ "later: a bucket of integers", "", NULL, pack_integers, LS_USAGE, "takes F16, BF16, F32 and F64, not I32 to F32" },
};

static bool has_real_driver(void)
{
	void *lib = dlopen("libcuda.so.1", RTLD_LAZY);

	if (lib)
		dlclose(lib);
	return lib != NULL;
}

static bool cause_is_told(size_t i)
{
	struct ls_err err = LS_ERR_INIT;
	pid_t pid = fork();
	ls_status st;
	int code;

	if (pid == 0) {
		alarm(60);
		if (causes[i].visible)
			setenv("CUDA_VISIBLE_DEVICES", causes[i].visible, 1);
		else
			unsetenv("CUDA_VISIBLE_DEVICES");
		if (causes[i].fake) {
			setenv("FAKE_CUDA", causes[i].fake, 1);
			use_stand_in();
		}
		st = causes[i].what(&err);
		if (st != causes[i].want || !strstr(err.text, causes[i].text))
			fprintf(stderr, "test_cuda: %s: %s, \"%s\"\n", causes[i].says, ls_status_name(st), err.text);
		_exit(st != causes[i].want || !strstr(err.text, causes[i].text));
	}
	return pid > 0 && waitpid(pid, &code, 0) == pid && code == 0;
}

static void test_causes(void)
{
	bool real = has_real_driver();
	size_t i;

	for (i = 0; i < COUNT(causes); i++)
		CU_ASSERT((real && !causes[i].fake) || cause_is_told(i)); /* a host with a driver cannot show what one without says */
}

/* --- memory, streams, events -------------------------------------------------------------------------------------------------- */

static struct ls_err err = LS_ERR_INIT;
#define GOOD(call) good(call, #call)

static void good(ls_status st, const char *call)
{
	if (!st)
		return;
	fprintf(stderr, "test_cuda: %s: %s\n", call, err.text);
	exit(1); /* from any thread: what follows would only fail, too */
}

static void test_device(void)
{
	struct ls_cuda_device d;

	if (!on_gpu)
		use_stand_in();
	GOOD(ls_cuda_open(&err));
	GOOD(ls_cuda_device(&d, &err));
	CU_ASSERT(d.capability >= 80 && d.driver >= 12000 && d.sms > 0 && d.bytes >= d.free_bytes && d.free_bytes > 0);
	CU_ASSERT(!strncmp(d.uuid, "GPU-", 4) || !strncmp(d.uuid, "MIG-", 4));
	CU_ASSERT_EQUAL(strlen(d.uuid), 40);
	CU_ASSERT(strlen(d.busid) >= 12 && d.busid[4] == ':' && !strpbrk(d.busid, "ABCDEF"));
	if (!on_gpu) {
		CU_ASSERT_STRING_EQUAL(d.name, "NVIDIA Stand-in");
		CU_ASSERT_STRING_EQUAL(d.uuid, "GPU-01020304-0506-0708-090a-0b0c0d0e0f10");
		CU_ASSERT_STRING_EQUAL(d.busid, "0000:1b:00.0");
	}
}

static void test_memory(void)
{
	unsigned char *gpu, *host, plain[1000];
	size_t i;

	GOOD(ls_cuda_alloc(sizeof(plain), (void **)&gpu, &err));
	GOOD(ls_cuda_host_alloc(sizeof(plain), (void **)&host, &err));
	CU_ASSERT_EQUAL((uintptr_t)gpu % 256, 0);
	CU_ASSERT(ls_cuda_holds(gpu) && ls_cuda_holds(gpu + 999));
	CU_ASSERT(!ls_cuda_holds(host) && !ls_cuda_holds(plain) && !ls_cuda_holds(NULL));
	memset(plain, 1, sizeof(plain));
	GOOD(ls_cuda_copy(plain, gpu, sizeof(plain), NULL, &err)); /* waits: it is not pinned */
	for (i = 0; i < sizeof(plain) && !plain[i] && !host[i]; i++)
		;
	CU_ASSERT_EQUAL(i, sizeof(plain));
	GOOD(ls_cuda_set(gpu + 1, 7, 3, NULL, &err));
	GOOD(ls_cuda_copy(host, gpu, 6, NULL, &err));
	GOOD(ls_cuda_stream_sync(NULL, &err));
	CU_ASSERT(!memcmp(host, "\0\7\7\7\0\0", 6));
	GOOD(ls_cuda_copy(gpu, NULL, 0, NULL, &err));
	ls_cuda_free(gpu);
	ls_cuda_host_free(host);
	ls_cuda_free(NULL);
	ls_cuda_host_free(NULL);
	ls_cuda_stream_free(NULL);
	ls_cuda_event_free(NULL);
}

/* One stream fills, another waits for that and copies. */
static void *in_order(void *arg)
{
	void *fill, *copy, *filled, *copied, *gpu;
	unsigned char *host;
	bool done = true;
	double ms = -1;
	int k;

	GOOD(ls_cuda_stream_make(false, &fill, &err));
	GOOD(ls_cuda_stream_make(true, &copy, &err));
	GOOD(ls_cuda_event_make(true, &filled, &err));
	GOOD(ls_cuda_event_make(true, &copied, &err));
	GOOD(ls_cuda_alloc(1 << 20, &gpu, &err));
	GOOD(ls_cuda_host_alloc(1 << 20, (void **)&host, &err));
	for (k = 1; k <= 20; k++) {
		if (hold)
			hold(1);
		GOOD(ls_cuda_set(gpu, k, 1 << 20, fill, &err));
		GOOD(ls_cuda_event_record(filled, fill, &err));
		GOOD(ls_cuda_stream_wait(copy, filled, &err));
		GOOD(ls_cuda_copy(host, gpu, 1 << 20, copy, &err));
		GOOD(ls_cuda_event_record(copied, copy, &err));
		if (hold) {
			GOOD(ls_cuda_event_done(copied, &done, &err));
			CU_ASSERT(!done && host[0] == k - 1);
			hold(0);
		}
		do
			GOOD(ls_cuda_event_done(copied, &done, &err));
		while (!done);
		CU_ASSERT(host[0] == k && host[(1 << 20) - 1] == k);
	}
	GOOD(ls_cuda_event_ms(filled, copied, &ms, &err));
	CU_ASSERT(ms >= 0);
	GOOD(ls_cuda_stream_sync(copy, &err));
	ls_cuda_event_free(filled);
	ls_cuda_event_free(copied);
	ls_cuda_stream_free(fill);
	ls_cuda_stream_free(copy);
	ls_cuda_free(gpu);
	ls_cuda_host_free(host);
	return arg;
}

static void test_streams(void)
{
	pthread_t other;

	in_order(NULL);
	CU_ASSERT_FATAL(!pthread_create(&other, NULL, in_order, NULL)); /* where the context was not current */
	pthread_join(other, NULL);
}

/* --- kernels: the reference --------------------------------------------------------------------------------------------------- */

static double get(enum ls_dtype d, const void *at)
{
	_Float16 h;
	uint16_t b;
	uint32_t w;
	float f;
	double x;

	switch ((int)d) {
	case LS_F16:
		memcpy(&h, at, 2);
		return (double)h;
	case LS_BF16:
		memcpy(&b, at, 2);
		w = (uint32_t)b << 16;
		memcpy(&f, &w, 4);
		return f;
	case LS_F32:
		memcpy(&f, at, 4);
		return f;
	default:
		memcpy(&x, at, 8);
		return x;
	}
}

/* A double's bf16 by way of a float that keeps in its last bit whether anything was lost (rounded to odd): so it is rounded once. */
static uint16_t bf16_of(double x)
{
	float f = (float)x;
	uint32_t w;

	if (fabs((double)f) > fabs(x))
		f = nextafterf(f, 0);
	memcpy(&w, &f, 4);
	if (x != x)
		return 0x7fff;
	w |= (double)f != x;
	return (uint16_t)((w + 0x7fff + (w >> 16 & 1)) >> 16);
}

static void put(enum ls_dtype d, void *at, double x)
{
	_Float16 h = (_Float16)x;
	uint16_t b = bf16_of(x);
	float f = (float)x;

	memcpy(at, d == LS_F16 ? (void *)&h : d == LS_BF16 ? (void *)&b : d == LS_F32 ? (void *)&f : (void *)&x, ls_dtype_size(d));
}

/* from x scale, as kernels_cuda.h says. */
static void expect(enum ls_dtype from, const void *in, enum ls_dtype to, void *out, double scale)
{
	volatile float product = (float)get(from, in) * (float)scale; /* no wider than a float */

	put(to, out, from == LS_F64 || to == LS_F64 ? get(from, in) * scale : (double)product);
}

static bool same(enum ls_dtype d, const void *a, const void *b)
{
	return !memcmp(a, b, ls_dtype_size(d)) || (get(d, a) != get(d, a) && get(d, b) != get(d, b));
}

/* --- kernels: the test -------------------------------------------------------------------------------------------------------- */

enum { SLACK = 20 }; /* elements beside a tensor: nobody may write them */

struct bucket {
	enum ls_dtype dtype, wire;
	struct ls_cuda_tensor *t;
	size_t n, elements;           /* with slack */
	unsigned char *host, *wire_host; /* what the GPU's should be */
	void *gpu, *wire_gpu;
	struct ls_cuda_plan *plan;
};

/* Everything that a conversion can do wrong: zeros, ties, denormals, the largest, overflows, infinities, NaN; then plain numbers. */
static double value(size_t i)
{
	static const double special[] = { 0, -0.0, 1, -1, INFINITY, -INFINITY, NAN, 65504, 65520, 65519.99,
		-65536, 6e-8, 2.9802322387695312e-8,
		5.960464477539063e-8, 6.1e-5, 1.00390625, 1.01171875, 1.0009765625, 1.00048828125, 1.0014648437500002,
		3.3895e38, 3.4e38, 1e39, 1.4e-45, 9.2e-41, 1e-310, 3.141592653589793, 1e300, 4.9e-324,
		0x1.010000000001p0, 0x1.002000000001p0 /* beyond a tie by less than a float can tell */ };

	return i % 41 < COUNT(special) ? special[i % 41] : ldexp((double)(i * 2654435761u % 16777216) - 8388608, (int)(i % 60) - 50);
}

/* Every `aligned`th tensor begins aligned, the others directly after the one before. */
static void bucket_make(struct bucket *b, enum ls_dtype dtype, enum ls_dtype wire, const size_t *counts, size_t n, size_t aligned)
{
	const size_t elem = ls_dtype_size(dtype);
	size_t i, at = 0;

	*b = (struct bucket){ .dtype = dtype, .wire = wire, .n = n };
	b->t = calloc(n, sizeof(*b->t));
	for (i = 0; i < n; i++)
		b->elements += counts[i] + SLACK;
	GOOD(ls_cuda_alloc(b->elements * elem, &b->gpu, &err));
	for (i = 0; i < n; i++) {
		at = i % aligned ? at + 1 : (at + 15) / 16 * 16;
		b->t[i] = (struct ls_cuda_tensor){ .at = (char *)b->gpu + at * elem, .count = counts[i] };
		at += counts[i];
	}
	GOOD(ls_cuda_plan_make(b->t, n, dtype, wire, &b->plan, &err));
	GOOD(ls_cuda_alloc(ls_cuda_plan_count(b->plan) * ls_dtype_size(wire), &b->wire_gpu, &err));
}

/* What check() compares. */
static void bucket_fill(struct bucket *b)
{
	const size_t elem = ls_dtype_size(b->dtype);
	size_t i;

	b->host = malloc(b->elements * elem + 1);
	b->wire_host = calloc(ls_cuda_plan_count(b->plan) + 1, ls_dtype_size(b->wire));
	for (i = 0; i < b->elements; i++)
		put(b->dtype, b->host + i * elem, value(i));
	GOOD(ls_cuda_copy(b->gpu, b->host, b->elements * elem, NULL, &err));
}

static void bucket_free(struct bucket *b)
{
	ls_cuda_plan_free(b->plan);
	ls_cuda_free(b->gpu);
	ls_cuda_free(b->wire_gpu);
	free(b->host);
	free(b->wire_host);
	free(b->t);
}

static size_t differ(enum ls_dtype d, const void *want, const void *gpu, size_t count)
{
	const size_t elem = ls_dtype_size(d);
	unsigned char *got = malloc(count * elem + 1);
	size_t i, wrong = 0;

	GOOD(ls_cuda_copy(got, gpu, count * elem, NULL, &err));
	for (i = 0; i < count; i++)
		if (!same(d, got + i * elem, (const char *)want + i * elem) && wrong++ < 3)
			fprintf(stderr, "test_cuda: element %zu: %.17g, want %.17g\n", i, get(d, got + i * elem),
				get(d, (const char *)want + i * elem));
	free(got);
	return wrong;
}

/* Packs with one scale, unpacks with another; all of both buffers is compared, so a store beside a tensor is seen, too. */
static void check(struct bucket *b, double scale)
{
	const size_t elem = ls_dtype_size(b->dtype), wire_elem = ls_dtype_size(b->wire);
	size_t i, k, wrong;

	for (i = 0; i < b->n; i++)
		for (k = 0; k < b->t[i].count; k++) {
			unsigned char *x = b->host + ((size_t)((char *)b->t[i].at - (char *)b->gpu) + k * elem);
			unsigned char *w = b->wire_host + (b->t[i].offset + k) * wire_elem;

			expect(b->dtype, x, b->wire, w, scale);
			expect(b->wire, w, b->dtype, x, 2);
		}
	GOOD(ls_cuda_pack(b->plan, b->wire_gpu, scale, NULL, &err));
	GOOD(ls_cuda_stream_sync(NULL, &err));
	wrong = differ(b->wire, b->wire_host, b->wire_gpu, ls_cuda_plan_count(b->plan));
	GOOD(ls_cuda_unpack(b->plan, b->wire_gpu, 2, NULL, &err));
	GOOD(ls_cuda_stream_sync(NULL, &err));
	wrong += differ(b->dtype, b->host, b->gpu, b->elements);
	if (wrong)
		fprintf(stderr, "test_cuda: %s in a wire of %s, scale %g: %zu differ\n", ls_dtype_name(b->dtype), ls_dtype_name(b->wire),
			scale, wrong);
	CU_ASSERT_EQUAL(wrong, 0);
}

static const enum ls_dtype floats[] = { LS_F16, LS_BF16, LS_F32, LS_F64 };

static void test_values(void)
{
	static const size_t counts[] = { 1, 0, 8, 7, 255, 256, 1000, 9, LS_PACK_CHUNK, LS_PACK_CHUNK + 1, 3 * LS_PACK_CHUNK - 1, 4 };
	static const double scales[] = { 1, 0.5, 1 / 3.0, -7 };
	struct bucket b;
	size_t i, k, s;

	for (i = 0; i < COUNT(floats); i++)
		for (k = 0; k < COUNT(floats); k++)
			for (s = 0; s < COUNT(scales); s++) {
				bucket_make(&b, floats[i], floats[k], counts, COUNT(counts), 3);
				bucket_fill(&b);
				check(&b, scales[s]);
				bucket_free(&b);
			}
}

static void test_many(void)
{
	size_t *counts = calloc(5000, sizeof(*counts)), i;
	struct bucket b;

	for (i = 0; i < 5000; i++)
		counts[i] = i * 7 % 37;
	bucket_make(&b, LS_F32, LS_BF16, counts, 5000, 2);
	bucket_fill(&b);
	check(&b, 0.25);
	bucket_free(&b);
	bucket_make(&b, LS_F32, LS_F32, counts, 0, 1); /* and none */
	bucket_fill(&b);
	CU_ASSERT_EQUAL(ls_cuda_plan_count(b.plan), 0);
	check(&b, 1);
	bucket_free(&b);
	free(counts);
}

/* Where every tensor is aligned, no tensor waits for another: each offset is a multiple of 16 bytes, and they do not overlap. */
static void test_offsets(void)
{
	struct ls_cuda_tensor t[] = { { .count = 5 }, { .count = 0 }, { .count = 8 }, { .count = 1 } };
	struct ls_cuda_plan *p;
	size_t i;

	for (i = 0; i < COUNT(t); i++)
		GOOD(ls_cuda_alloc(64, &t[i].at, &err));
	GOOD(ls_cuda_plan_make(t, COUNT(t), LS_F32, LS_BF16, &p, &err));
	CU_ASSERT(t[0].offset == 0 && t[1].offset == 8 && t[2].offset == 8 && t[3].offset == 16);
	CU_ASSERT_EQUAL(ls_cuda_plan_count(p), 24);
	ls_cuda_plan_free(p);
	for (i = 0; i < COUNT(t); i++)
		ls_cuda_free(t[i].at);
}

/* --- by hand, on a GPU -------------------------------------------------------------------------------------------------------- */

static int probe(void)
{
	struct ls_cuda_device d;

	if (ls_cuda_open(&err) || ls_cuda_device(&d, &err)) {
		printf("%s\n", err.text);
		return 77;
	}
	printf("%s at %s, %s: compute capability %d.%d, %d SMs, %llu of %llu MB free, driver for CUDA %d.%d\n", d.name, d.busid, d.uuid,
		d.capability / 10, d.capability % 10, d.sms, (unsigned long long)d.free_bytes >> 20, (unsigned long long)d.bytes >> 20,
		d.driver / 1000, d.driver / 10 % 100);
	return 0;
}

enum work { COPY, PACK, UNPACK };

/* Median of 11, by events, in GB/s of what is read and written. */
static double speed(struct bucket *b, enum work work)
{
	const size_t bytes = b->elements * ls_dtype_size(b->dtype), wire = ls_cuda_plan_count(b->plan) * ls_dtype_size(b->wire);
	double ms[11], swap;
	void *from, *to;
	size_t i, k;

	GOOD(ls_cuda_event_make(true, &from, &err));
	GOOD(ls_cuda_event_make(true, &to, &err));
	for (i = 0; i < COUNT(ms); i++) {
		GOOD(ls_cuda_event_record(from, NULL, &err));
		if (work == COPY)
			GOOD(ls_cuda_copy(b->wire_gpu, b->gpu, wire, NULL, &err));
		else if (work == PACK)
			GOOD(ls_cuda_pack(b->plan, b->wire_gpu, 0.5, NULL, &err));
		else
			GOOD(ls_cuda_unpack(b->plan, b->wire_gpu, 0.5, NULL, &err));
		GOOD(ls_cuda_event_record(to, NULL, &err));
		GOOD(ls_cuda_stream_sync(NULL, &err));
		GOOD(ls_cuda_event_ms(from, to, &ms[i], &err));
		for (k = i; k > 0 && ms[k] < ms[k - 1]; k--) {
			swap = ms[k];
			ms[k] = ms[k - 1];
			ms[k - 1] = swap;
		}
	}
	ls_cuda_event_free(from);
	ls_cuda_event_free(to);
	return (double)(work == COPY ? 2 * wire : bytes + wire) / ms[COUNT(ms) / 2] * 1e-6;
}

/* GPT-2 124M's gradients: 12 layers of 12 tensors, and the embeddings. */
static int speeds(void)
{
	static const size_t layer[] = { 768, 768, 768 * 2304, 2304, 768 * 768, 768, 768, 768, 768 * 3072, 3072, 3072 * 768, 768 };
	size_t counts[148] = { 50304 * 768, 1024 * 768, 768, 768 }, i;
	struct bucket b;

	for (i = 0; i < 144; i++)
		counts[4 + i] = layer[i % 12];
	printf("GPT-2 124M's 148 gradients in one launch, GB/s of what is read and written (median of 11)\n");
	printf("%-14s %8s %8s %8s\n", "tensors, wire", "copy", "pack", "unpack");
	for (i = 0; i < 4; i++) {
		bucket_make(&b, i < 2 ? LS_F32 : LS_BF16, i % 2 ? LS_BF16 : LS_F32, counts, COUNT(counts), 1);
		printf("%4s, %-8s ", ls_dtype_name(b.dtype), ls_dtype_name(b.wire));
		if (b.dtype == b.wire)
			printf("%8.0f", speed(&b, COPY));
		else
			printf("%8s", "-");
		printf(" %8.0f %8.0f\n", speed(&b, PACK), speed(&b, UNPACK));
		bucket_free(&b);
	}
	return 0;
}

/* ------------------------------------------------------------------------------------------------------------------------------ */

static void test_none(void)
{
	struct ls_err e = LS_ERR_INIT;
	void *p = NULL;

	CU_ASSERT_EQUAL(ls_cuda_open(&e), LS_USAGE);
	CU_ASSERT_PTR_NOT_NULL(strstr(e.text, "this build of Lockstep has no CUDA"));
	CU_ASSERT_EQUAL(ls_cuda_alloc(1, &p, &e), LS_USAGE);
	CU_ASSERT(!ls_cuda_holds(&e));
}

int main(int argc, char **argv)
{
	CU_pSuite suite;
	unsigned failures;

	on_gpu = argc > 1;
	if (on_gpu && !strcmp(argv[1], "probe"))
		return probe();
	if (on_gpu && !strcmp(argv[1], "speed"))
		return speeds();
	CU_initialize_registry();
	suite = CU_add_suite("cuda", NULL, NULL);
	if (ls_cuda_built()) {
		if (!on_gpu)
			CU_add_test(suite, "each cause of failure has its sentence", test_causes);
		CU_add_test(suite, "what the GPU is", test_device);
		CU_add_test(suite, "memory", test_memory);
		CU_add_test(suite, "streams and events", test_streams);
		CU_add_test(suite, "offsets in the wire", test_offsets);
		CU_add_test(suite, "pack and unpack: values", test_values);
		CU_add_test(suite, "pack and unpack: thousands of tensors", test_many);
	} else {
		CU_add_test(suite, "a build without CUDA says so", test_none);
	}
	CU_basic_set_mode(CU_BRM_VERBOSE);
	CU_basic_run_tests();
	failures = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failures != 0;
}
