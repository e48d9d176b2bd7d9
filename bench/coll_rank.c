/* coll_rank.c -- see coll_rank.h; what is done for each `run`, and why: coll_wire.h. */
#include "bench/coll_rank.h"
#include "bench/coll_tensors.h"

#include <netdb.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define HUGE_PAGE ((size_t)2 << 20)

struct rank {
	const struct coll_library *lib;
	int rank, world, cpu;
	char library[64];
	FILE *in, *out;
};

/* One measurement. fill and read: the parts that this rank writes and reads. */
struct run {
	struct rank *r;
	struct coll_call call;
	void *send, *recv;                /* as allocated; in place only one of them */
	size_t send_bytes, recv_bytes;
	struct coll_tile mine, *results;  /* results: one, or of an all-gather one for each rank */
	int n_results;
	void *fill;
	const void *read;
	size_t fill_first, fill_n, read_first, read_n; /* elements */
	uint64_t k;
	size_t wrong;
	char algorithm[32], *text;
};

static const char *env(const char *name)
{
	const char *v = getenv(name);

	return v ? v : "";
}

/* --- binding -------------------------------------------------------------------------------------------------------------------- */

static int bind_rank(int rank)
{
	const char *list = env("LOCKSTEP_BENCH_CPUS"), *at;
	int n = 1, i;
	cpu_set_t set;

	if (!*list || !strcmp(list, "none"))
		return -1;
	for (at = list; (at = strchr(at, ',')); at++)
		n++;
	for (at = list, i = rank % n; i > 0; i--)
		at = strchr(at, ',') + 1;
	CPU_ZERO(&set);
	CPU_SET(atoi(at), &set);
	return sched_setaffinity(0, sizeof(set), &set) ? -1 : atoi(at);
}

/* Before the library is opened: its threads and first pages follow. */
static void bind_early(void)
{
	static const char *const names[] = { "OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK", "RANK" };
	size_t i;

	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (*env(names[i])) {
			bind_rank(atoi(env(names[i])));
			return;
		}
}

/* --- buffers -------------------------------------------------------------------------------------------------------------------- */

static size_t mapped(size_t bytes)
{
	size_t page = bytes >= HUGE_PAGE ? HUGE_PAGE : 4096;

	return (bytes + page - 1) / page * page;
}

/* Mapped, not allocated: malloc's settings, in which contenders differ, must not decide on which pages the payload lies. */
static enum coll_answer buffer_make(const struct coll_library *lib, size_t bytes, void **ret, char *text)
{
	size_t len = mapped(bytes), page = bytes >= HUGE_PAGE ? HUGE_PAGE : 4096, head;
	char *p;

	if (lib->alloc)
		return lib->alloc(bytes, ret, text);
	p = mmap(NULL, len + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED) {
		snprintf(text, COLL_TEXT, "no memory for a buffer of %zu bytes", bytes);
		return COLL_FAILED;
	}
	head = -(uintptr_t)p % page;
	if (head)
		munmap(p, head);
	p += head;
	munmap(p + len, page - head);
	if (page == HUGE_PAGE)
		madvise(p, len, MADV_HUGEPAGE);
	memset(p, 0, bytes);
	*ret = p;
	return COLL_DONE;
}

static void buffer_free(const struct coll_library *lib, void *p, size_t bytes)
{
	if (p && lib->free)
		lib->free(p);
	else if (p)
		munmap(p, mapped(bytes));
}

/* --- one measurement ------------------------------------------------------------------------------------------------------------ */

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Elements of the whole, and of this rank's part. */
static void shape(struct run *m, size_t *ret_send, size_t *ret_recv)
{
	const struct coll_call *c = &m->call;
	size_t all = c->count * (size_t)m->r->world, mine = c->count * (size_t)m->r->rank;

	*ret_send = c->kind == COLL_REDUCE_SCATTER ? all : c->kind == COLL_BARRIER ? 0 : c->count;
	*ret_recv = c->kind == COLL_ALL_GATHER ? all : c->kind == COLL_BARRIER ? 0 : c->count;
	m->fill_n = c->kind == COLL_BROADCAST && c->root != m->r->rank ? 0 : *ret_send;
	m->fill_first = c->kind == COLL_ALL_GATHER ? mine : 0;
	m->read_n = *ret_recv;
	m->read_first = c->kind == COLL_REDUCE_SCATTER ? mine : 0;
}

static enum coll_answer buffers(struct run *m)
{
	struct coll_call *c = &m->call;
	size_t size = coll_dtype_size(c->dtype), send, recv, mine = c->count * (size_t)m->r->rank * size;
	enum coll_answer a = COLL_DONE;

	shape(m, &send, &recv);
	m->send_bytes = send * size;
	m->recv_bytes = recv * size;
	if (send && (!c->in_place || send > recv))
		a = buffer_make(m->r->lib, m->send_bytes, &m->send, m->text);
	if (!a && recv && !(c->in_place && m->send))
		a = buffer_make(m->r->lib, m->recv_bytes, &m->recv, m->text);
	c->send = m->send;
	c->recv = m->recv;
	if (c->in_place && c->kind == COLL_REDUCE_SCATTER)
		c->recv = (char *)m->send + mine;
	else if (c->in_place && c->kind == COLL_ALL_GATHER)
		c->send = (char *)m->recv + mine;
	else if (c->in_place)
		c->send = m->recv;
	m->fill = c->send;
	m->read = c->in_place && c->kind == COLL_REDUCE_SCATTER && m->r->lib->scatters_to_front ? m->send : c->recv;
	return a;
}

static enum coll_answer tiles(struct run *m)
{
	const struct coll_call *c = &m->call;
	int i;

	m->n_results = c->kind == COLL_ALL_GATHER ? m->r->world : 1;
	m->results = calloc((size_t)m->n_results, sizeof(*m->results));
	if (!m->results) {
		snprintf(m->text, COLL_TEXT, "no memory for the expected results");
		return COLL_FAILED;
	}
	coll_tile_rank(&m->mine, c->dtype, m->r->rank);
	if (c->kind == COLL_ALL_REDUCE || c->kind == COLL_REDUCE_SCATTER)
		coll_tile_reduced(m->results, c->dtype, c->op, m->r->world);
	else if (c->kind == COLL_BROADCAST)
		coll_tile_rank(m->results, c->dtype, c->root);
	else
		for (i = 0; i < m->n_results; i++)
			coll_tile_rank(&m->results[i], c->dtype, i);
	return COLL_DONE;
}

/* The whole result of the k-th operation is read from `at`. */
static size_t compare(const struct run *m, const void *at, uint64_t k)
{
	size_t part = m->read_n / (size_t)m->n_results, wrong = 0, i;

	for (i = 0; i < (size_t)m->n_results; i++)
		wrong += coll_tile_wrong(&m->results[i], (const char *)at + i * part * m->results[i].size, m->read_first + i * part, part, k);
	return wrong;
}

/* Both loops write and read by this alone. */
static void touch_before(const struct run *m, void *at, uint64_t k)
{
	coll_tile_fill(&m->mine, at, m->fill_first, m->fill_n, k);
	__asm__ volatile("" ::: "memory");
}

static enum coll_answer loop(struct run *m, uint64_t n, bool each, double *ret_s)
{
	enum coll_answer a = COLL_DONE;
	double begin = now(), inside = 0, t;

	for (; n && !a; n--, m->k++) {
		touch_before(m, m->fill, m->k);
		a = each ? m->r->lib->barrier(m->text) : COLL_DONE; /* else the time were that of waiting for a rank that still writes */
		t = each ? now() : 0;
		if (!a)
			a = m->r->lib->run(m->text);
		inside += each ? now() - t : 0;
		__asm__ volatile("" ::: "memory");
		m->wrong += compare(m, m->read, m->k);
	}
	*ret_s = each ? inside : now() - begin;
	return a;
}

/* The loop without the operation, on stand-ins: what is compared is right, as it is after an operation. */
static double loop_empty(struct run *m, uint64_t n)
{
	static char fill[COLL_TIMED_BYTES], result[COLL_TIMED_BYTES];
	size_t part = m->read_n / (size_t)m->n_results, i, wrong = 0;
	uint64_t k;
	double begin;

	for (i = 0; i < (size_t)m->n_results; i++)
		coll_tile_fill(&m->results[i], result + i * part * m->mine.size, m->read_first + i * part, part, m->k);
	for (k = 0, begin = now(); k < n; k++) {
		touch_before(m, fill, m->k + k);
		wrong += compare(m, result, m->k);
	}
	m->wrong += wrong;
	return now() - begin;
}

/* --- buffers in a GPU's memory ---------------------------------------------------------------------------------------------------- */

static enum coll_answer finish(const struct run *m)
{
	return m->r->lib->finish ? m->r->lib->finish(m->text) : COLL_DONE;
}

static enum coll_answer put_payload(struct run *m, void *stage)
{
	touch_before(m, stage, m->k);
	return m->fill_n ? m->r->lib->put(m->fill, stage, m->fill_n * m->mine.size, m->text) : COLL_DONE;
}

static enum coll_answer check_result(struct run *m, void *stage)
{
	enum coll_answer a = m->read_n ? m->r->lib->get(stage, m->read, m->read_n * m->mine.size, m->text) : COLL_DONE;

	if (!a)
		m->wrong = compare(m, stage, m->k);
	return a;
}

static enum coll_answer repeat(struct run *m, uint64_t n)
{
	enum coll_answer a = COLL_DONE;

	for (; n && !a; n--)
		a = m->r->lib->run(m->text);
	return a ? a : finish(m);
}

static enum coll_answer measure_gpu_with(struct run *m, void *stage, uint64_t warm, uint64_t iters, double *ret_s)
{
	enum coll_answer a = put_payload(m, stage);
	double begin;

	if (!a)
		a = repeat(m, warm);
	if (!a)
		a = m->r->lib->barrier(m->text);
	begin = now();
	if (!a)
		a = repeat(m, iters);
	*ret_s = (now() - begin) / (double)iters;
	m->k = 1; /* other than what is there */
	if (!a)
		a = put_payload(m, stage);
	if (!a)
		a = m->r->lib->barrier(m->text); /* who is ahead must not write into what another still fills */
	if (!a)
		a = repeat(m, 1);
	return a ? a : check_result(m, stage);
}

static enum coll_answer measure_gpu(struct run *m, uint64_t warm, uint64_t iters, double *ret_s)
{
	size_t most = m->fill_n > m->read_n ? m->fill_n : m->read_n;
	void *stage = malloc(most * m->mine.size + 1);
	enum coll_answer a = COLL_FAILED;

	if (stage)
		a = measure_gpu_with(m, stage, warm, iters, ret_s);
	else
		snprintf(m->text, COLL_TEXT, "no memory for %zu bytes beside the GPU's", most * m->mine.size);
	free(stage);
	return a;
}

static enum coll_answer measure(struct run *m, uint64_t warm, uint64_t iters, double *ret_s)
{
	const struct coll_library *lib = m->r->lib;
	size_t most = m->fill_n > m->read_n ? m->fill_n : m->read_n;
	bool each = most * m->mine.size >= COLL_TIMED_BYTES;
	enum coll_answer a = lib->barrier(m->text);
	double ignored;

	if (!a)
		a = loop(m, warm, each, &ignored);
	m->wrong = 0;
	if (!a)
		a = lib->barrier(m->text);
	if (!a)
		a = loop(m, iters, each, ret_s);
	if (!a && !each && m->call.kind != COLL_BARRIER)
		*ret_s -= loop_empty(m, iters);
	*ret_s = (*ret_s > 0 ? *ret_s : 0) / (double)iters;
	return a;
}

static enum coll_answer run(struct rank *r, const struct coll_call *call, uint64_t warm, uint64_t iters, char *text)
{
	struct run m = { .r = r, .call = *call, .text = text };
	enum coll_answer a = tiles(&m);
	double seconds = 0;
	size_t *parts = coll_tensors(call->kind == COLL_ALL_REDUCE ? env("LOCKSTEP_BENCH_TENSORS") : NULL, call->count, coll_dtype_size(call->dtype),
		&m.call.n_parts, text, COLL_TEXT);

	m.call.parts = parts;
	if (!parts)
		a = COLL_FAILED;

	if (!a)
		a = buffers(&m);
	if (!a) {
		a = r->lib->make(&m.call, m.algorithm, text);
		if (!a)
			a = r->lib->put ? measure_gpu(&m, warm, iters, &seconds) : measure(&m, warm, iters, &seconds);
		r->lib->unmake();
	}
	if (!a)
		fprintf(r->out, "time %.9g %zu %s\n", seconds, m.wrong, m.algorithm[0] ? m.algorithm : "-");
	buffer_free(r->lib, m.send, m.send_bytes);
	buffer_free(r->lib, m.recv, m.recv_bytes);
	free(m.results);
	free(parts);
	return a;
}

/* --- the orchestrator's words --------------------------------------------------------------------------------------------------- */

static int find(const char *const *names, int n, const char *word)
{
	int i;

	for (i = 0; i < n && strcmp(names[i], word) != 0; i++)
		;
	return i;
}

static bool parse(const char *line, struct coll_call *c, uint64_t *warm, uint64_t *iters)
{
#define X(code, name, ...) name,
	static const char *const kinds[] = { COLL_KIND_TABLE(X) }, *const dtypes[] = { COLL_DTYPE_TABLE(X) }, *const ops[] = { COLL_OP_TABLE(X) };
#undef X
	char kind[32], dtype[32], op[32];
	unsigned long long w, n;

	if (sscanf(line, "run %31s %31s %31s %d %zu %llu %llu %d", kind, dtype, op, &c->root, &c->count, &w, &n, &c->in_place) != 8)
		return false;
	c->kind = (enum coll_kind)find(kinds, COLL_KINDS, kind);
	c->dtype = (enum coll_dtype)find(dtypes, COLL_DTYPES, dtype);
	c->op = (enum coll_op)find(ops, COLL_OPS, op);
	*warm = w;
	*iters = n;
	return c->kind < COLL_KINDS && c->dtype < COLL_DTYPES && c->op < COLL_OPS && n > 0;
}

/* Until quit or end of file: whether it ended well. */
static bool serve(struct rank *r)
{
	struct coll_call c = { 0 };
	char line[256], text[COLL_TEXT] = "";
	uint64_t warm, iters;
	enum coll_answer a = COLL_DONE;

	while (a != COLL_FAILED && fgets(line, sizeof(line), r->in) && strcmp(line, "quit\n") != 0) {
		snprintf(text, sizeof(text), "not understood");
		a = parse(line, &c, &warm, &iters) ? run(r, &c, warm, iters, text) : COLL_FAILED;
		text[strcspn(text, "\n")] = '\0';
		if (a)
			fprintf(r->out, "%s %s\n", a == COLL_UNSUPPORTED ? "unsupported" : "error", text);
		fflush(r->out);
	}
	return a != COLL_FAILED;
}

static int dial(const char *port, const char *host)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *list = NULL, *a;
	struct timeval limit = { .tv_sec = 5 }, none = { 0 };
	int fd = -1;

	if (getaddrinfo(host, port, &hints, &list))
		return -1;
	for (a = list; a && fd < 0; a = a->ai_next) {
		fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, 0);
		if (fd < 0)
			continue;
		setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)); /* connect() heeds it */
		if (!connect(fd, a->ai_addr, a->ai_addrlen)) {
			setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &none, sizeof(none));
			break;
		}
		close(fd);
		fd = -1;
	}
	freeaddrinfo(list);
	return fd;
}

static bool join(struct rank *r)
{
	char at[1024], host[64] = "", *port, *address, *rest;
	int fd = -1;

	snprintf(at, sizeof(at), "%s", env("LOCKSTEP_BENCH_AT"));
	port = strtok_r(at, " ", &rest);
	while (port && fd < 0 && (address = strtok_r(NULL, " ", &rest)))
		fd = dial(port, address);
	if (fd < 0) {
		fprintf(stderr, "bench: nobody answers at LOCKSTEP_BENCH_AT=%s; `lockstep bench all-reduce` starts this program\n", env("LOCKSTEP_BENCH_AT"));
		return false;
	}
	r->in = fdopen(fd, "r");
	r->out = fdopen(dup(fd), "w");
	gethostname(host, sizeof(host) - 1);
	if (r->in && r->out)
		fprintf(r->out, "hello %s %s %d %d %d %d %s %s%s%s\n", env("LOCKSTEP_BENCH_TOKEN"), env("LOCKSTEP_BENCH_NAME"), r->rank, r->world,
			(int)getpid(), r->cpu, *host ? host : "-", r->library, r->lib->device ? " @" : "", r->lib->device ? r->lib->device : "");
	return r->in && r->out && !fflush(r->out);
}

int coll_rank_main(int argc, char **argv, const struct coll_library *library)
{
	struct rank r = { .lib = library };
	char text[COLL_TEXT] = "";
	bool well = false;

	bind_early();
	if (library->open(argc, argv, &r.rank, &r.world, r.library, text)) {
		fprintf(stderr, "%s: %s\n", argv[0], text);
		return 1;
	}
	r.cpu = bind_rank(r.rank);
	r.library[strcspn(r.library, "\n")] = '\0';
	well = join(&r) && serve(&r);
	library->close(well);
	return !well;
}
