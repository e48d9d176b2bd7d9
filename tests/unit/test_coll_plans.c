/* test_coll_plans.c -- the life of plans: many in flight, waited for in any order, made between others, a thousand of them, and those that
 * the ranks do not agree on; barriers; the library's memory. */
#include "tests/unit/coll_rows.h"

#include <CUnit/Basic.h>
#include <dirent.h>
#include <malloc.h>

enum { PLANS = 24, ROUNDS = 5, MOST = 24 << 10, HALF_BYTES = MOST * 8 + 4 * GUARD };

static void *inputs[WORLD_MAX];

static void must(ls_status st, const struct ls_err *err, const char *what)
{
	if (!check(!st, "%s: %s", what, err->text))
		exit(1);
}

/* --- in flight ----------------------------------------------------------------------------------------------------------- */

/* Small and large ones, of every kind, in every kind of memory. */
static struct row nth_row(unsigned i, int world)
{
	static const enum ls_dtype types[] = { LS_F32, LS_BF16, LS_I64, LS_F16, LS_F64 };
	struct row r = { .kind = (enum ls_coll_kind)(i % 4), .dtype = types[i % 5], .op = (enum ls_reduce_op)(i % 3), .place = (enum place)(i % PLACES) };

	r.count = (size_t[]){ 7, 300, 4096, MOST }[mixed(i) % 4];
	if (r.kind == LS_REDUCE_SCATTER || r.kind == LS_ALL_GATHER)
		r.count /= (size_t)world;
	r.root = r.kind == LS_BROADCAST ? (int)(i % (unsigned)world) : 0;
	r.in_place = r.place != HALF && i % 3 == 1;
	return r;
}

static void shuffle(int *order, int n)
{
	int i;

	for (i = 0; i < n; i++)
		order[i] = i;
	for (i = n - 1; i > 0; i--) {
		int k = rand() % (i + 1), kept = order[i];

		order[i] = order[k];
		order[k] = kept;
	}
}

static void poll_or_wait(struct ls_request *p, bool poll, const char *says)
{
	struct ls_err err = LS_ERR_INIT;
	bool done = !poll;

	while (!done) {
		must(ls_request_test(p, &done, &err), &err, says);
		sched_yield();
	}
	must(ls_request_wait(p, &err), &err, says);
}

/* The types of all plans differ, and inputs are of one: each plan has inputs of its own. */
static void in_flight(struct world *w)
{
	const enum ls_progress *progress = w->arg;
	struct ls_comm *c = world_open(w, (struct ls_comm_options){ .progress = *progress, .progress_cpu = -1 });
	struct memory m[PLANS];
	struct ls_request *p[PLANS];
	struct ls_coll coll[PLANS];
	struct row row[PLANS];
	void *in[PLANS][WORLD_MAX];
	struct ls_err err = LS_ERR_INIT;
	int i, k, order[PLANS];

	srand((unsigned)my_rank);
	for (i = 0; i < PLANS; i++) {
		for (k = 0; k < w->ranks; k++)
			in[i][k] = (char *)inputs[k] + i * HALF_BYTES;
		memory_get(c, &m[i], HALF_BYTES, in[i]);
		row[i] = nth_row((unsigned)i, w->ranks);
		coll[i] = laid_out(&row[i], &m[i]);
		must(ls_request_make(c, &coll[i], &p[i], &err), &err, row_text(&row[i]));
	}
	for (k = 0; k < ROUNDS; k++) {
		world_meet(w);
		for (i = 0; i < PLANS; i++)
			put_values(in[i][my_rank], row[i].dtype, MOST, my_rank, (unsigned)(k * PLANS + i));
		world_meet(w);
		for (i = 0; i < PLANS; i++)
			fill(&row[i], &coll[i], &m[i], w->ranks);
		for (i = 0; i < PLANS; i++)
			must(ls_request_start(p[i], &err), &err, row_text(&row[i]));
		shuffle(order, PLANS);
		for (i = 0; i < PLANS; i++) {
			doing("round %d, waits for %s", k, row_text(&row[order[i]]));
			poll_or_wait(p[order[i]], order[i] % 3 == 0, row_text(&row[order[i]]));
			expect(&row[order[i]], &m[order[i]], w->ranks, c->group);
			compare(&row[order[i]], &coll[order[i]], &m[order[i]], w->ranks);
		}
	}
	for (i = 0; i < PLANS; i++) {
		ls_request_free(p[i]);
		memory_put(c, &m[i]);
	}
	ls_comm_close(c, true);
}

/* A rank whose thread advances its operations is waited for in vain by nobody, though it makes no call: the others' waits end before it
 * goes on. */
static void alone(struct world *w)
{
	struct ls_comm *c = world_open(w, (struct ls_comm_options){ .progress = LS_PROGRESS_THREAD, .progress_cpu = -1 });
	size_t count = 3 << 20, i;
	float *buf = malloc(count * 4);
	struct ls_coll coll = { LS_ALL_REDUCE, LS_F32, LS_SUM, 0, count, buf, buf };
	struct ls_err err = LS_ERR_INIT;
	struct ls_request *p = NULL;

	must(ls_request_make(c, &coll, &p, &err), &err, "plan");
	for (i = 0; i < count; i++)
		buf[i] = (float)(my_rank + 1);
	must(ls_request_start(p, &err), &err, "start");
	doing("waits for a rank whose thread makes progress");
	if (my_rank != 0)
		must(ls_request_wait(p, &err), &err, "wait");
	world_meet(w);
	must(ls_request_wait(p, &err), &err, "wait");
	for (i = 0; i < count && buf[i] == (float)(w->ranks * (w->ranks + 1) / 2); i++)
		;
	check(i == count, "a wrong sum at %zu", i);
	ls_request_free(p);
	free(buf);
	ls_comm_close(c, true);
}

/* Made while others are active; and started twice. */
static void between(struct world *w)
{
	struct ls_comm *c = world_open(w, (struct ls_comm_options){ .progress_cpu = -1 });
	struct row row = { LS_ALL_REDUCE, LS_F32, LS_SUM, MOST, 0, USER, true };
	struct ls_err err = LS_ERR_INIT;
	struct memory m[4];
	struct ls_coll coll[4];
	struct ls_request *p[4];
	int i;

	for (i = 0; i < 4; i++)
		memory_get(c, &m[i], HALF_BYTES, inputs);
	new_inputs(w, m, LS_F32, MOST, 3);
	for (i = 0; i < 4; i++) {
		coll[i] = laid_out(&row, &m[i]);
		fill(&row, &coll[i], &m[i], w->ranks);
		must(ls_request_make(c, &coll[i], &p[i], &err), &err, "a plan made while others are active");
		must(ls_request_start(p[i], &err), &err, "start");
	}
	check(ls_request_start(p[3], &err) == LS_USAGE || !atomic_load(&p[3]->active), "an active plan was started again");
	must(ls_run_barrier(c, &err), &err, "barrier");
	for (i = 3; i >= 0; i--) {
		must(ls_request_wait(p[i], &err), &err, "wait");
		must(ls_request_wait(p[i], &err), &err, "a second wait");
		expect(&row, &m[i], w->ranks, c->group);
		compare(&row, &coll[i], &m[i], w->ranks);
	}
	for (i = 0; i < 4; i++) {
		ls_request_free(p[i]);
		memory_put(c, &m[i]);
	}
	ls_comm_close(c, true);
}

/* Nobody leaves a barrier before all have come. */
static void barriers(struct world *w)
{
	struct ls_comm *c = world_open(w, (struct ls_comm_options){ .progress_cpu = -1 });
	struct ls_err err = LS_ERR_INIT;
	int round, r;

	srand((unsigned)my_rank);
	for (round = 1; round <= 200; round++) {
		if (rand() % 8 == 0)
			nap_us(rand() % 1000);
		w->flag[my_rank] = round;
		must(ls_run_barrier(c, &err), &err, "barrier");
		for (r = 0; r < w->ranks; r++)
			check(w->flag[r] >= round, "left barrier %d before rank %d came", round, r);
	}
	ls_comm_close(c, true);
}

/* --- nothing stays --------------------------------------------------------------------------------------------------------- */

struct held {
	long descriptors, maps, heap;
};

static long lines_of(const char *path)
{
	FILE *f = fopen(path, "re");
	long n = 0;
	int ch;

	while (f && (ch = getc(f)) != EOF)
		n += ch == '\n';
	if (f)
		fclose(f);
	return n;
}

static struct held held_now(void)
{
	struct held h = { .heap = (long)mallinfo2().uordblks };
	DIR *d = opendir("/proc/self/fd");

	while (d && readdir(d))
		h.descriptors++;
	closedir(d);
	h.maps = lines_of("/proc/self/maps");
	return h;
}

/* malloc counts what it caches as in use; a thousand of the least leak are four times what is allowed here. */
static void check_held(struct held before, const char *says)
{
	struct held now = held_now();

	check(now.descriptors == before.descriptors, "%s: %ld descriptors became %ld", says, before.descriptors, now.descriptors);
	check(now.heap <= before.heap + 8192, "%s: %ld bytes of heap became %ld", says, before.heap, now.heap);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) /* theirs come and go */
	check(now.maps == before.maps, "%s: %ld mappings became %ld", says, before.maps, now.maps);
#endif
}

static void make_and_free(struct ls_comm *c, struct memory *m, unsigned i)
{
	struct row r = nth_row(i, c->world);
	struct ls_coll coll = laid_out(&r, m);
	struct ls_err err = LS_ERR_INIT;
	struct ls_request *p = NULL;

	must(ls_request_make(c, &coll, &p, &err), &err, row_text(&r));
	if (i % 4 == 0) {
		must(ls_request_start(p, &err), &err, row_text(&r));
		must(ls_request_wait(p, &err), &err, row_text(&r));
	}
	ls_request_free(p);
}

static void a_thousand(struct world *w)
{
	struct ls_comm *c = world_open(w, (struct ls_comm_options){ .progress_cpu = -1 });
	struct memory m;
	struct held before;
	unsigned i;

	memory_get(c, &m, HALF_BYTES, inputs);
	memset(m.user, 0, 2 * HALF_BYTES);
	for (i = 0; i < 100; i++)
		make_and_free(c, &m, i);
	before = held_now();
	for (i = 0; i < 1000; i++)
		make_and_free(c, &m, i);
	check_held(before, "a thousand plans");
	memory_put(c, &m);
	ls_comm_close(c, true);
}

static void again_and_again(struct world *w)
{
	struct held before = { 0 };
	int i;

	for (i = 0; i < 30; i++) {
		struct ls_comm *c = world_open(w, (struct ls_comm_options){ .progress = i % 2 ? LS_PROGRESS_THREAD : LS_PROGRESS_CALLS, .progress_cpu = -1 });
		struct ls_err err = LS_ERR_INIT;
		void *p = NULL;

		must(ls_comm_alloc(c, 1 << 20, &p, &err), &err, "alloc");
		must(ls_run_barrier(c, &err), &err, "barrier");
		if (i % 3)
			ls_comm_free(c, p); /* else close gives it back */
		ls_comm_close(c, true);
		if (i == 4)
			before = held_now();
	}
	check_held(before, "opened and closed again and again");
}

static int sockets_open(void)
{
	char path[64], to[256];
	int fd, n = 0;

	for (fd = 0; fd < 256; fd++) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		n += readlink(path, to, sizeof(to)) > 7 && !memcmp(to, "socket:", 7);
	}
	return n;
}

/* Once the group is open no socket of it is left, and no file that has a name is mapped: the kernel frees all when the last rank ends. */
static void anonymous(struct world *w)
{
	int before = sockets_open();
	struct ls_comm *c = world_open(w, (struct ls_comm_options){ .progress_cpu = -1 });
	struct ls_err err = LS_ERR_INIT;
	char line[512];
	FILE *maps;
	void *p;

	must(ls_comm_alloc(c, 1 << 20, &p, &err), &err, "alloc");
	check(sockets_open() == before, "a socket stays open");
	maps = fopen("/proc/self/maps", "re");
	while (maps && fgets(line, sizeof(line), maps))
		check(!strstr(line, "/dev/shm"), "mapped: %s", line);
	if (maps)
		fclose(maps);
	ls_comm_close(c, true);
}

/* --- the library's memory ------------------------------------------------------------------------------------------------- */

static bool is_zero(const char *p, size_t bytes)
{
	return bytes == 0 || (p[0] == 0 && !memcmp(p, p + 1, bytes - 1));
}

static void memory(struct world *w)
{
	static const size_t some[] = { 0, 1, 63, 64, 65, 4096, 100000, 3 << 20 };
	struct ls_comm *c = world_open(w, (struct ls_comm_options){ .progress_cpu = -1 });
	struct ls_err err = LS_ERR_INIT;
	void *p[64] = { 0 };
	size_t bytes[64] = { 0 }, i, k;

	srand((unsigned)my_rank);
	for (i = 0; i < 600; i++) {
		k = (size_t)rand() % 64;
		check(!p[k] || bytes[k] == 0 || ((char *)p[k])[bytes[k] - 1] == (char)k, "block %zu was overwritten", k);
		ls_comm_free(c, p[k]);
		bytes[k] = some[rand() % (int)COUNT(some)];
		must(ls_comm_alloc(c, bytes[k], &p[k], &err), &err, "alloc");
		check((uintptr_t)p[k] % 64 == 0, "%zu bytes are not aligned", bytes[k]);
		check(is_zero(p[k], bytes[k]), "%zu bytes are not zero", bytes[k]);
		memset(p[k], (int)k, bytes[k]);
	}
	check(ls_comm_alloc(c, SIZE_MAX / 2, &p[0], &err) != LS_OK && err.text[0], "memory that nobody has was given");
	ls_comm_free(c, NULL);
	must(ls_run_barrier(c, &err), &err, "barrier");
	ls_comm_close(c, true);
}

/* --- ranks that disagree --------------------------------------------------------------------------------------------------- */

static float send_buf[64], recv_buf[64];

static const struct {
	const char *says;
	struct ls_coll others, one; /* of the rank that differs */
	const char *text;
} differs[] = {
	{ "another count", { LS_ALL_REDUCE, LS_F32, LS_SUM, 0, 8, send_buf, recv_buf }, { LS_ALL_REDUCE, LS_F32, LS_SUM, 0, 7, send_buf, recv_buf }, "7" },
	{ "another type", { LS_ALL_REDUCE, LS_F32, LS_SUM, 0, 8, send_buf, recv_buf }, { LS_ALL_REDUCE, LS_I32, LS_SUM, 0, 8, send_buf, recv_buf }, "I32" },
	{ "another operation", { LS_ALL_REDUCE, LS_F32, LS_SUM, 0, 8, send_buf, recv_buf }, { LS_ALL_REDUCE, LS_F32, LS_MAX, 0, 8, send_buf, recv_buf }, "max" },
	{ "another kind", { LS_ALL_REDUCE, LS_F32, LS_SUM, 0, 8, send_buf, recv_buf }, { LS_BROADCAST, LS_F32, LS_SUM, 0, 8, send_buf, recv_buf }, "broadcast" },
	{ "a barrier", { LS_ALL_REDUCE, LS_F32, LS_SUM, 0, 8, send_buf, recv_buf }, { .kind = LS_BARRIER }, "barrier" },
	{ "another root", { LS_BROADCAST, LS_F32, LS_SUM, 0, 8, send_buf, recv_buf }, { LS_BROADCAST, LS_F32, LS_SUM, 2, 8, send_buf, recv_buf }, "2" },
};

static void disagree(struct world *w)
{
	struct ls_comm *c = world_open(w, (struct ls_comm_options){ .progress_cpu = -1 });
	struct ls_err err = LS_ERR_INIT;
	size_t i;
	int odd, r;

	for (i = 0; i < COUNT(differs); i++) {
		for (odd = 0; odd < w->ranks; odd++) {
			struct ls_request *p = NULL;
			char named[16];
			bool names = false;
			ls_status st;

			doing("%s: rank %d", differs[i].says, odd);
			err = (struct ls_err)LS_ERR_INIT;
			st = ls_request_make(c, my_rank == odd ? &differs[i].one : &differs[i].others, &p, &err);
			for (r = 0; r < w->ranks; r++) {
				snprintf(named, sizeof(named), "rank %d", r);
				names |= (r == odd || odd == 0) && strstr(err.text, named);
			}
			check(st == LS_USAGE && !p && names && strstr(err.text, differs[i].text), "%s, of rank %d: %s: %s", differs[i].says, odd,
				ls_status_name(st), err.text);
			must(ls_run_coll(c, &differs[i].others, &err), &err, "the next operation is right, and done");
		}
	}
	ls_comm_close(c, true);
}

/* ------------------------------------------------------------------------------------------------------------------------- */

static void run(int ranks, void (*scene)(struct world *), const void *arg)
{
	CU_ASSERT_EQUAL(world_run(&(struct world_options){ .ranks = ranks, .scene = scene, .arg = arg }), 0);
}

static void test_in_flight(void)
{
	static const enum ls_progress ways[] = { LS_PROGRESS_CALLS, LS_PROGRESS_THREAD };
	int ranks;

	for (ranks = 1; ranks <= 5; ranks++) {
		run(ranks, in_flight, &ways[0]);
		run(ranks, in_flight, &ways[1]);
	}
}

static void test_alone(void)
{
	run(2, alone, NULL);
	run(3, alone, NULL);
}

static void test_between(void)
{
	run(3, between, NULL);
}

static void test_barriers(void)
{
	run(2, barriers, NULL);
	run(5, barriers, NULL);
}

static void test_nothing_stays(void)
{
	run(1, a_thousand, NULL);
	run(3, a_thousand, NULL);
	run(3, again_and_again, NULL);
	run(2, anonymous, NULL);
}

static void test_memory(void)
{
	run(3, memory, NULL);
}

static void test_disagree(void)
{
	run(3, disagree, NULL);
}

int main(void)
{
	unsigned failed;
	int r;

	for (r = 0; r < WORLD_MAX; r++)
		inputs[r] = world_shared(PLANS * (size_t)HALF_BYTES);
	CU_initialize_registry();
	CU_pSuite suite = CU_add_suite("coll_plans", NULL, NULL);

	CU_add_test(suite, "many in flight", test_in_flight);
	CU_add_test(suite, "progress without a call", test_alone);
	CU_add_test(suite, "made between others", test_between);
	CU_add_test(suite, "barriers", test_barriers);
	CU_add_test(suite, "nothing stays", test_nothing_stays);
	CU_add_test(suite, "the library's memory", test_memory);
	CU_add_test(suite, "ranks that disagree", test_disagree);
	CU_basic_run_tests();
	failed = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failed > 0;
}
