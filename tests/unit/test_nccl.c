/* test_nccl.c -- backend nccl without a GPU: CUDA's driver and NCCL are stand-ins (tests/fake/cuda.cc, lib_nccl.c). What every operation
 * gives, packed tensors, its place in the caller's stream, what all ranks must agree on. When something is wrong: test_nccl_wrong.c.
 *
 * NCCL has an order of additions of its own. So the values here are whole numbers whose sums and averages are exact in every type, in any
 * order, and are compared bit by bit with what backend shm makes of them. */
#include "collectives/api_nccl.h"
#ifdef LS_HAVE_NCCL
#include "collectives/comm_nccl.h"
#endif
#include "core/io.h"
#include "lockstep/collectives.h"
#include "tests/unit/coll_values.h"
#include "tests/unit/nccl_world.h"

#include <CUnit/Basic.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

enum { MOST = 3000 };

static void put_whole(void *at, enum ls_dtype d, int64_t x)
{
	if (d == LS_F64)
		memcpy(at, &(double){ (double)x }, 8);
	else if (d == LS_I64 || d == LS_I32 || d == LS_U8)
		memcpy(at, &x, ls_dtype_size(d)); /* little-endian */
	else
		put_f32(at, d, (float)x);
}

/* Multiples of the world's size, at most 60: exact also as BF16 when they are added up, and when each is divided first. */
static void put_rank(void *buf, enum ls_dtype d, size_t count, int rank, int world, unsigned seed)
{
	size_t i;

	for (i = 0; i < count; i++) {
		int64_t x = (int64_t)(mixed(i + ((uint64_t)rank << 40) + ((uint64_t)seed << 48)) % 15) - 7;

		put_whole((char *)buf + i * ls_dtype_size(d), d, d == LS_U8 ? x + 7 : x * world);
	}
}

/* --- every kind, type and operation ------------------------------------------------------------------------------------ */

struct pair {                        /* two groups of the same ranks */
	struct ls_comm *gpu, *host;
	char *gpu_buf, *host_buf, *got;
	size_t half;                 /* bytes for send, and for recv */
};

static struct ls_coll laid(struct ls_coll what, char *buf, size_t half, bool in_place, int world)
{
	size_t own = (size_t)my_rank * what.count * ls_dtype_size(what.dtype);

	what.send = buf;
	what.recv = buf + half;
	if (in_place && what.kind == LS_ALL_GATHER)
		what.send = (char *)what.recv + own;
	else if (in_place)
		what.recv = buf + (what.kind == LS_REDUCE_SCATTER ? own : 0);
	(void)world;
	return what;
}

static void one(struct pair *p, struct ls_coll what, bool in_place, unsigned seed)
{
	int world = p->gpu->world;
	struct ls_coll gpu = laid(what, p->gpu_buf, p->half, in_place, world), host = laid(what, p->host_buf, p->half, in_place, world);
	size_t at = (size_t)((char *)host.send - p->host_buf), sent = ls_coll_send_bytes(&host, world);
	struct ls_err err = LS_ERR_INIT;

	doing("%s %s %s x %zu%s, %d ranks", ls_coll_name(what.kind), ls_reduce_op_name(what.op), ls_dtype_name(what.dtype), what.count,
		in_place ? ", in place" : "", world);
	memset(p->host_buf, 0x5a, 2 * p->half);
	put_rank(p->host_buf + at, what.dtype, sent / ls_dtype_size(what.dtype), my_rank, world, seed);
	to_gpu(p->gpu_buf, p->host_buf, 2 * p->half);
	check(!ls_run_coll(p->host, &host, &err) && !ls_run_coll(p->gpu, &gpu, &err), "%s: %s", here->doing[my_rank], err.text);
	from_gpu(p->got, p->gpu_buf, 2 * p->half);
	check(!memcmp(p->got, p->host_buf, 2 * p->half), "%s: not what shm gives", here->doing[my_rank]);
}

static void every_operation(struct world *w)
{
	static const size_t counts[] = { 0, 1, 7, MOST };
	struct pair p = { .gpu = nccl_open(w), .half = (size_t)MOST * 8 * (size_t)w->ranks };
	struct ls_coll c = { .kind = LS_ALL_REDUCE };
	struct ls_err err = LS_ERR_INIT;
	unsigned seed = 0;
	size_t i;

	p.host = world_open(w, (struct ls_comm_options){ .backend = "shm" });
	p.gpu_buf = gpu_buffer(p.gpu, 2 * p.half);
	p.host_buf = malloc(2 * p.half);
	p.got = malloc(2 * p.half);
	for (c.kind = LS_ALL_REDUCE; c.kind <= LS_BROADCAST; c.kind++) {
		bool reduces = ls_coll_reduces(&c);

		for (c.dtype = LS_F64; c.dtype <= (reduces ? LS_I32 : LS_U8); c.dtype++) {
			for (c.op = LS_SUM; c.op <= (reduces ? LS_MAX : LS_SUM); c.op++) {
				for (i = 0; i < COUNT(counts); i++) {
					c.count = counts[i];
					c.root = c.kind == LS_BROADCAST ? (int)(i % (size_t)w->ranks) : 0;
					one(&p, c, false, seed++);
					one(&p, c, true, seed++);
				}
			}
		}
	}
	check(!ls_run_barrier(p.gpu, &err), "barrier: %s", err.text);
	check(!strncmp(p.gpu->library, "NCCL 2.", 7), "library: %s", p.gpu->library);
	ls_comm_free(p.gpu, p.gpu_buf);
	ls_comm_close(p.gpu, true);
	ls_comm_close(p.host, true);
	free(p.host_buf);
	free(p.got);
}

static void run(int ranks, void (*scene)(struct world *))
{
	CU_ASSERT_EQUAL(world_run(&(struct world_options){ .ranks = ranks, .scene = scene }), 0);
}

static void test_every_operation(void)
{
	int ranks;

	for (ranks = 1; ranks <= 4; ranks++)
		run(ranks, every_operation);
}

/* --- packed tensors ---------------------------------------------------------------------------------------------------- */

static const size_t tensors[] = { 5, 0, 1000, 1, 64, MOST, 17 };

/* Each tensor with another one's memory between, so that a write beyond it shows. */
static void one_packing(struct ls_comm *c, enum ls_dtype d, enum ls_dtype wire, enum ls_reduce_op op)
{
	struct ls_part parts[COUNT(tensors)];
	size_t size = ls_dtype_size(d), total = 0, bytes, i, k, at;
	struct ls_coll all = { LS_ALL_REDUCE, wire, op, 0, 0, NULL, NULL };
	struct ls_err err = LS_ERR_INIT;
	struct ls_request *p = NULL;
	char *host, *want, *got, *gpu;
	int r, again;

	for (i = 0; i < COUNT(tensors); i++)
		total += tensors[i] + 3;
	bytes = total * size;
	host = calloc(1, bytes);
	want = calloc(1, bytes);
	got = malloc(bytes);
	gpu = gpu_buffer(c, bytes);
	for (i = at = 0; i < COUNT(tensors); at += tensors[i++] + 3) {
		parts[i] = (struct ls_part){ gpu + at * size, tensors[i] };
		all.count += tensors[i];
		put_rank(host + at * size, d, tensors[i], my_rank, c->world, (unsigned)i);
		for (k = 0; k < tensors[i]; k++) {
			double sum = 0;

			for (r = 0; r < c->world; r++) {
				sum += (double)((int64_t)(mixed(k + ((uint64_t)r << 40) + ((uint64_t)i << 48)) % 15) - 7) * c->world;
			}
			put_whole(want + (at + k) * size, d, (int64_t)(op == LS_AVERAGE ? sum / c->world : sum));
		}
	}
	doing("%zu tensors of %s as %s, %s", COUNT(tensors), ls_dtype_name(d), ls_dtype_name(wire), ls_reduce_op_name(op));
	check(!ls_request_make_parts(c, &all, &(struct ls_parts){ parts, COUNT(tensors), d }, &p, &err), "%s: %s", here->doing[my_rank], err.text);
	for (again = 0; p && again < 2; again++) { /* a plan serves every step */
		to_gpu(gpu, host, bytes);
		check(!ls_request_start(p, &err) && !ls_request_wait(p, &err), "%s: %s", here->doing[my_rank], err.text);
		from_gpu(got, gpu, bytes);
		at = first_wrong(got, want, total, d);
		check(at == total, "%s: element %zu is wrong", here->doing[my_rank], at);
	}
	ls_request_free(p);
	ls_comm_free(c, gpu);
	free(host);
	free(want);
	free(got);
}

static void every_packing(struct world *w)
{
	struct ls_comm *c = nccl_open(w);
	enum ls_dtype d, wire;

	for (d = LS_F64; d <= LS_BF16; d++) {
		for (wire = LS_F64; wire <= LS_BF16; wire++) {
			one_packing(c, d, wire, LS_AVERAGE);
			one_packing(c, d, wire, LS_SUM);
		}
	}
	ls_comm_close(c, true);
}

static void test_packing(void)
{
	run(1, every_packing);
	run(3, every_packing);
}

/* --- the caller's stream ------------------------------------------------------------------------------------------------- */

static uint64_t in_its_stream(struct ls_comm *c)
{
#ifdef LS_HAVE_NCCL
	return nccl_of(c)->launched;
#else
	(void)c;
	return 0;
#endif
}

/* The data comes into being in a stream that is held back: an operation that did not wait for it would sum garbage. One after another is put into
 * the group's stream meanwhile: the GPU need not wait for the host between two. */
static void in_the_stream(struct world *w)
{
	struct ls_comm *c = nccl_open(w);
	float *gpu = gpu_buffer(c, MOST * 4), *other = gpu_buffer(c, MOST * 4), got[MOST];
	struct ls_coll one_of = { LS_ALL_REDUCE, LS_F32, LS_SUM, 0, MOST, gpu, gpu }, two_of = { LS_ALL_REDUCE, LS_F32, LS_SUM, 0, MOST, other, other };
	struct ls_request *p = NULL, *q = NULL;
	struct ls_err err = LS_ERR_INIT;
	void *stream = NULL, *pinned = NULL;
	bool done = true;
	double ms = -1, after = -1, released;
	int i, step;

	check(!ls_cuda_stream_make(false, &stream, &err) && !ls_cuda_host_alloc(MOST * 4, &pinned, &err), "%s", err.text);
	c->stream = stream;
	check(!ls_request_make(c, &one_of, &p, &err) && !ls_request_make(c, &two_of, &q, &err), "make: %s", err.text);
	check(ls_request_gpu_ms(p, &ms, &err) == LS_USAGE, "a time before the first run");
	for (step = 0; step < 3; step++) {
		for (i = 0; i < MOST; i++)
			((float *)pinned)[i] = (float)(my_rank + 1 + step);
		hold_streams(1);
		check(!ls_cuda_copy(gpu, pinned, MOST * 4, stream, &err) && !ls_request_start(p, &err), "start: %s", err.text);
		check(!ls_cuda_copy(other, pinned, MOST * 4, stream, &err) && !ls_request_start(q, &err), "start: %s", err.text);
		do
			check(!ls_request_test(p, &done, &err) && !done, "done before the data is there: %s", err.text);
		while (!err.status && in_its_stream(c) < 2 * (uint64_t)(step + 1));
		released = ls_clock_s();
		hold_streams(0);
		check(!ls_request_wait(q, &err) && !ls_request_wait(p, &err), "wait: %s", err.text);
		released = (ls_clock_s() - released) * 1e3;
		check(!ls_request_gpu_ms(p, &ms, &err) && ms >= 0, "its time: %g ms: %s", ms, err.text);
		check(!ls_request_gpu_after_ms(p, &after, &err) && after >= ms && after <= released,
			"since the data was there: %g ms, its own %g, since the streams were let go %g: %s", after, ms, released, err.text);
		from_gpu(got, step % 2 ? gpu : other, sizeof(got));
		for (i = 0; i < MOST; i++)
			check(got[i] == (float)(w->ranks * (w->ranks + 1) / 2 + w->ranks * step), "step %d: element %d is %g", step, i, got[i]);
	}
	ls_request_free(p);
	ls_request_free(q);
	ls_cuda_host_free(pinned);
	ls_cuda_stream_free(stream);
	ls_comm_close(c, true);
}

static void test_stream(void)
{
	run(1, in_the_stream);
	run(3, in_the_stream);
}

/* While NCCL has an operation that is not in the stream yet, nothing of ours may go there. */
static void memory_meanwhile(struct world *w)
{
	struct ls_comm *c = nccl_open(w);
	struct ls_request *p = NULL;
	struct ls_err err = LS_ERR_INIT;

	check(!ls_request_make(c, &(struct ls_coll){ .kind = LS_BARRIER }, &p, &err), "make: %s", err.text);
	while (my_rank == 1 && !w->flag[0])
		nap_us(1000);
	check(!ls_request_start(p, &err), "start: %s", err.text);
	if (my_rank == 0)
		ls_comm_free(c, gpu_buffer(c, 1000));
	w->flag[my_rank] = 1;
	check(!ls_request_wait(p, &err), "wait: %s", err.text);
	ls_request_free(p);
	ls_comm_close(c, true);
}

static void test_memory(void)
{
	run(2, memory_meanwhile);
}

/* --- as programs call it --------------------------------------------------------------------------------------------------- */

static int public_allgather(void *ctx, const void *mine, void *all, size_t bytes)
{
	return world_allgather(ctx, mine, all, bytes, NULL);
}

static void in_public(struct world *w)
{
	struct lockstep_comm_options opt = { .rank = my_rank, .world = w->ranks, .allgather = public_allgather, .ctx = w, .backend = "nccl" };
	struct lockstep_comm *comm = NULL;
	struct lockstep_coll *sum = NULL;
	struct lockstep_err err = { 0 };
	struct ls_err e = LS_ERR_INIT;
	void *gpu = NULL, *stream = NULL;
	float x[100], got[100];
	double ms = -1;
	int i;

	load_stand_ins();
	if (!check(!lockstep_comm_open(&opt, &comm, &err), "open: %s", err.text))
		exit(1);
	check(!strcmp(lockstep_comm_backend(comm), "nccl") && lockstep_comm_world_size(comm) == w->ranks, "the group");
	check(!lockstep_comm_alloc(comm, sizeof(x), &gpu, &err) && !ls_cuda_stream_make(false, &stream, &e), "%s%s", err.text, e.text);
	lockstep_comm_stream(comm, stream);
	for (i = 0; i < 100; i++)
		x[i] = (float)(i + my_rank);
	check(!ls_cuda_copy(gpu, x, sizeof(x), stream, &e), "%s", e.text);
	check(!lockstep_coll_init(comm, LOCKSTEP_ALL_REDUCE, gpu, gpu, 100, LOCKSTEP_F32, LOCKSTEP_SUM, 0, &sum, &err), "init: %s", err.text);
	check(!lockstep_coll_start(sum, &err) && !lockstep_coll_wait(sum, &err), "sum: %s", err.text);
	check(!lockstep_coll_gpu_ms(sum, &ms, &err) && ms >= 0 && !strcmp(lockstep_coll_algorithm(sum), "library"), "%g ms: %s", ms, err.text);
	from_gpu(got, gpu, sizeof(got));
	for (i = 0; i < 100; i++)
		check(got[i] == (float)(w->ranks * i + w->ranks * (w->ranks - 1) / 2), "element %d is %g", i, got[i]);
	lockstep_coll_free(sum);
	lockstep_comm_free(comm, gpu);
	lockstep_comm_close(comm, 1);
	ls_cuda_stream_free(stream);
}

static void test_public(void)
{
	run(3, in_public);
}

/* --- what all must agree on ---------------------------------------------------------------------------------------------- */

static void disagree(struct world *w)
{
	struct ls_comm *c = nccl_open(w);
	float *gpu = gpu_buffer(c, 64 * 4), host[64];
	struct ls_coll sum = { LS_ALL_REDUCE, LS_F32, LS_SUM, 0, 64, gpu, gpu };
	struct ls_parts parts = { &(struct ls_part){ host, 64 }, 1, LS_F32 };
	struct ls_err err = LS_ERR_INIT;
	struct ls_request *p = NULL;

	sum.count = my_rank == 1 ? 63 : 64;
	check(ls_request_make(c, &sum, &p, &err) == LS_USAGE && strstr(err.text, "rank 0 plans a all-reduce of 64 F32 (sum), rank 1 a all-reduce of 63"),
		"other counts: %s", err.text);
	sum.count = 64;
	sum.recv = my_rank == 1 ? host : gpu;
	check(ls_request_make(c, &sum, &p, &err) == LS_USAGE && strstr(err.text, "rank 1's buffers of this all-reduce are not in GPU memory"),
		"host memory: %s", err.text);
	check(ls_request_make_parts(c, &sum, &parts, &p, &err) == LS_USAGE && strstr(err.text, "rank 0's buffers"), "parts in host memory: %s", err.text);
	sum.recv = gpu;
	check(!ls_run_coll(c, &sum, &err), "afterwards: %s", err.text);
	ls_comm_close(c, true);
}

static void not_of_a_gpu(struct world *w)
{
	struct ls_comm *c = world_open(w, (struct ls_comm_options){ .backend = "shm" });
	float x = 1;
	struct ls_coll sum = { LS_ALL_REDUCE, LS_F32, LS_SUM, 0, 1, &x, &x };
	struct ls_parts parts = { &(struct ls_part){ &x, 1 }, 1, LS_F32 };
	struct ls_err err = LS_ERR_INIT;
	struct ls_request *p = NULL;
	double ms;

	check(ls_request_make_parts(c, &sum, &parts, &p, &err) == LS_USAGE && strstr(err.text, "backend shm cannot"), "%s", err.text);
	check(!ls_request_make(c, &sum, &p, &err) && ls_request_gpu_ms(p, &ms, &err) == LS_USAGE, "%s", err.text);
	ls_request_free(p);
	ls_comm_close(c, true);
}

static void test_agreement(void)
{
	run(2, disagree);
}

static void test_host(void)
{
	run(2, not_of_a_gpu);
}

int main(void)
{
	unsigned failed;

	CU_initialize_registry();
	CU_pSuite suite = CU_add_suite("nccl", NULL, NULL);

	if (have_nccl()) { /* else test_nccl_wrong.c says what there is to say */
		CU_add_test(suite, "every kind, type and operation, as shm", test_every_operation);
		CU_add_test(suite, "packed tensors, of every type as every type", test_packing);
		CU_add_test(suite, "in the caller's stream, in order", test_stream);
		CU_add_test(suite, "memory while NCCL connects the ranks", test_memory);
		CU_add_test(suite, "as programs call it", test_public);
		CU_add_test(suite, "what all must agree on", test_agreement);
	}
	CU_add_test(suite, "what is not for a GPU says so", test_host);
	CU_basic_run_tests();
	failed = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failed > 0;
}
