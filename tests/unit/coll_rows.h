/* coll_rows.h -- one operation as a row of a table: laid out, done by all ranks, and compared with the reference bit by bit.
 *
 * All ranks run the same rows in the same order. Guard bytes lie around every buffer, and no buffer is aligned to more than its elements.
 * Expected values come from inputs that all ranks see (struct rows_shared), not from what was communicated. */
#ifndef LS_TEST_COLL_ROWS_H
#define LS_TEST_COLL_ROWS_H

#include "tests/unit/coll_values.h"
#include "tests/unit/coll_world.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

enum { GUARD = 64, GUARD_BYTE = 0xa5 };

/* Whose memory the buffers are. MIXED: the library's on even ranks; HALF: send is the library's, recv is not. */
enum place { LIBRARY, USER, MIXED, HALF };
#define PLACES 4

struct row {
	enum ls_coll_kind kind;
	enum ls_dtype dtype;
	enum ls_reduce_op op;
	size_t count;
	int root;
	enum place place;
	bool in_place;
};

struct memory {                      /* of one rank */
	char *lib, *user, *want;
	size_t half;                 /* bytes of each of a buffer's two halves: for send and for recv */
	void **in;                   /* of all ranks, shared */
	char *common;                /* shared, or NULL: what an all-reduce must give, each rank having made its part */
	long served, refused;        /* plans made; refused by the algorithm that was asked for */
	/* What the algorithm copies for other ranks in a row; NULL: not looked at. */
	uint64_t (*copied)(const char *algorithm, const struct row *r, int world);
};

static inline const char *row_text(const struct row *r)
{
	static const char *const places[] = { "library's", "user's", "mixed", "half the library's" };
	static char text[200];

	snprintf(text, sizeof(text), "%s %s %s x %zu, root %d, %s buffers%s", ls_coll_name(r->kind), ls_reduce_op_name(r->op),
		ls_dtype_name(r->dtype), r->count, r->root, places[r->place], r->in_place ? ", in place" : "");
	return text;
}

static inline struct ls_coll laid_out(const struct row *r, const struct memory *m)
{
	size_t size = ls_dtype_size(r->dtype), shift = GUARD + (size_t)(my_rank % 3) * size, own = (size_t)my_rank * r->count * size;
	bool even = my_rank % 2 == 0;
	char *send = (r->place == LIBRARY || r->place == HALF || (r->place == MIXED && even) ? m->lib : m->user) + shift;
	char *recv = (r->place == LIBRARY || (r->place == MIXED && even) ? m->lib : m->user) + m->half + shift;

	if (r->in_place && r->kind == LS_ALL_GATHER)
		send = recv + own;
	else if (r->in_place)
		recv = r->kind == LS_REDUCE_SCATTER ? send + own : send;
	else if (r->kind == LS_BROADCAST && my_rank != r->root)
		send = NULL;
	return (struct ls_coll){ r->kind, r->dtype, r->op, r->root, r->count, send, recv };
}

/* Where the memory begins that an operation may touch, and how much it is. */
static inline char *block_of(const struct ls_coll *c, bool of_recv, bool in_place, int world, size_t *ret_bytes)
{
	size_t send = ls_coll_send_bytes(c, world), recv = ls_coll_recv_bytes(c, world);
	char *begin = of_recv ? c->recv : (char *)c->send;

	if (in_place && (begin == NULL || (char *)c->send < begin))
		begin = (char *)c->send;
	if (in_place && (char *)c->recv < begin)
		begin = c->recv;
	*ret_bytes = in_place ? (send > recv ? send : recv) : of_recv ? recv : send;
	return begin;
}

static inline void guard(char *block, size_t bytes)
{
	memset(block - GUARD, GUARD_BYTE, bytes + 2 * GUARD);
}

static inline bool guarded(const char *block, size_t bytes)
{
	size_t i;

	for (i = 0; i < GUARD; i++)
		if ((unsigned char)block[-1 - (long)i] != GUARD_BYTE || (unsigned char)block[bytes + i] != GUARD_BYTE)
			return false;
	return true;
}

/* The reference takes its time: of large data each rank makes a part. */
static inline void expect_in_common(const struct row *r, const struct memory *m, int world, int group)
{
	size_t size = ls_dtype_size(r->dtype), n = (size_t)world, i;

	world_meet(here);
	for (i = r->count * (size_t)my_rank / n; i < r->count * (size_t)(my_rank + 1) / n; i++)
		put_reduced(m->common + i * size, (const void *const *)m->in, i, r->dtype, r->op, world, group);
	world_meet(here);
	memcpy(m->want, m->common, r->count * size);
}

static inline void expect(const struct row *r, const struct memory *m, int world, int group)
{
	size_t size = ls_dtype_size(r->dtype), i, from = r->kind == LS_REDUCE_SCATTER ? (size_t)my_rank * r->count : 0;
	int k;

	if (r->kind == LS_ALL_REDUCE && m->common) {
		expect_in_common(r, m, world, group);
		return;
	}

	if (r->kind == LS_BROADCAST)
		memcpy(m->want, m->in[r->root], r->count * size);
	for (k = 0; r->kind == LS_ALL_GATHER && k < world; k++)
		memcpy(m->want + (size_t)k * r->count * size, m->in[k], r->count * size);
	for (i = 0; (r->kind == LS_ALL_REDUCE || r->kind == LS_REDUCE_SCATTER) && i < r->count; i++)
		put_reduced(m->want + i * size, (const void *const *)m->in, from + i, r->dtype, r->op, world, group);
}

static inline void fill(const struct row *r, const struct ls_coll *c, const struct memory *m, int world)
{
	size_t bytes;
	char *block = block_of(c, true, r->in_place, world, &bytes);

	guard(block, bytes);
	if (!r->in_place && c->send) {
		block = block_of(c, false, false, world, &bytes);
		guard(block, bytes);
	}
	if (r->kind != LS_BROADCAST || my_rank == r->root)
		memcpy((char *)c->send, m->in[my_rank], ls_coll_send_bytes(c, world));
}

static inline void compare(const struct row *r, const struct ls_coll *c, const struct memory *m, int world)
{
	size_t size = ls_dtype_size(r->dtype), n = ls_coll_recv_bytes(c, world) / size, at = first_wrong(c->recv, m->want, n, r->dtype), bytes;
	char *block = block_of(c, true, r->in_place, world, &bytes);
	unsigned long long got = 0, want = 0;

	if (at < n) {
		memcpy(&got, (char *)c->recv + at * size, size);
		memcpy(&want, m->want + at * size, size);
		check(false, "%s: element %zu is %0*llx, want %0*llx", row_text(r), at, 2 * (int)size, got, 2 * (int)size, want);
	}
	check(guarded(block, bytes), "%s: wrote beyond the result", row_text(r));
	if (r->in_place || !c->send)
		return;
	block = block_of(c, false, false, world, &bytes);
	check(guarded(block, bytes) && !memcmp(block, m->in[my_rank], bytes), "%s: wrote to what it sends", row_text(r));
}

/* One row, once. `jitter`: the longest sleep before a rank starts. */
static inline void run_row(struct ls_comm *c, const struct row *r, struct memory *m, long jitter_us)
{
	struct ls_coll coll = laid_out(r, m);
	struct ls_err err = LS_ERR_INIT;
	struct ls_request *p = NULL;
	struct ls_traffic before;
	ls_status st;

	doing("%s", row_text(r));
	fill(r, &coll, m, c->world);
	expect(r, m, c->world, c->group);
	st = ls_request_make(c, &coll, &p, &err);
	if (st == LS_USAGE && c->algorithm) {
		check(strstr(err.text, c->algorithm) != NULL, "%s: the refusal does not name the algorithm: %s", row_text(r), err.text);
		m->refused++;
		return;
	}
	if (!check(!st, "%s: plan: %s", row_text(r), err.text))
		exit(1);
	m->served++;
	check(!c->algorithm || !strcmp(p->algorithm->name, c->algorithm), "%s: got %s", row_text(r), p->algorithm->name);
	before = c->traffic;
	if (jitter_us)
		nap_us(rand() % jitter_us);
	st = ls_request_start(p, &err);
	if (!st)
		st = ls_request_wait(p, &err);
	if (!check(!st, "%s: %s", row_text(r), err.text))
		exit(1);
	compare(r, &coll, m, c->world);
	check(!m->copied || c->traffic.copied - before.copied == m->copied(p->algorithm->name, r, c->world), "%s: %s copied %llu bytes", row_text(r),
		p->algorithm->name, (unsigned long long)(c->traffic.copied - before.copied));
	check(c->traffic.messages == 0 && c->traffic.bytes == 0, "%s: messages inside a node", row_text(r));
	ls_request_free(p);
}

static inline void memory_get(struct ls_comm *c, struct memory *m, size_t half, void **in)
{
	struct ls_err err = LS_ERR_INIT;
	void *lib;

	if (!check(!ls_comm_alloc(c, 2 * half, &lib, &err), "alloc: %s", err.text))
		exit(1);
	*m = (struct memory){ .lib = lib, .user = malloc(2 * half), .want = malloc(half), .half = half, .in = in };
}

static inline void memory_put(struct ls_comm *c, struct memory *m)
{
	ls_comm_free(c, m->lib);
	free(m->user);
	free(m->want);
}

/* New inputs on all ranks, of `count` elements: afterwards every rank may read every rank's. */
static inline void new_inputs(struct world *w, const struct memory *m, enum ls_dtype d, size_t count, unsigned seed)
{
	world_meet(w);
	put_values(m->in[my_rank], d, count, my_rank, seed);
	world_meet(w);
}

#endif
