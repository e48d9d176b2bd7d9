/* coll_net.c -- one rank of a check of the collectives on whatever nodes it was started on: every kind, type and operation, with the
 * library's and with its own buffers, in place and not, several started at once, each twice, against the plain order of coll.h.
 *
 *     coll_net [COUNT...]     says "rank 2 of 4: hier, 2 nodes, group 2: 1234 operations, 0 wrong"; exit code 1 if one was wrong
 *     coll_net die RANK       that rank kills itself in the middle; the others say why they end */
#include "collectives/engine.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define AT_ONCE 5
#define MANY 100000
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static struct ls_comm *comm;
static long done, wrong;

static void must(ls_status st, const struct ls_err *err)
{
	if (!st)
		return;
	printf("rank %d: %s: %s\n", comm ? comm->rank : -1, ls_status_name(st), err->text);
	fflush(stdout);
	_exit(3);
}

/* Small whole numbers and their halves, exact in every type; sums of many are not, which shows their order. */
static void fill(void *to, enum ls_dtype d, size_t count, int rank, int salt)
{
	size_t i;

	for (i = 0; i < count; i++) {
		uint32_t x = (uint32_t)i * 2654435761u + (uint32_t)rank * 40503u + (uint32_t)salt * 97u;
		double v = (double)(x >> 8 & 0x7fff) / (double)(1 << (x & 15)) - 3;
		float f = (float)v;
		uint32_t bits;

		memcpy(&bits, &f, 4);
		switch (d) {
		case LS_F64: ((double *)to)[i] = v / 3; break;
		case LS_F32: ((float *)to)[i] = f / 3; break;
		case LS_BF16: ((uint16_t *)to)[i] = (uint16_t)(bits >> 16); break;
		case LS_F16: ((uint16_t *)to)[i] = (uint16_t)((x >> 31) << 15 | (8 + (x & 15)) << 10 | (x >> 7 & 1023)); break;
		case LS_I64: ((int64_t *)to)[i] = (int64_t)x * 77777777777; break;
		case LS_I32: ((int32_t *)to)[i] = (int32_t)x; break;
		case LS_U8: ((uint8_t *)to)[i] = (uint8_t)(x >> 9); break;
		}
	}
}

struct one {
	struct ls_coll c;
	struct ls_request *plan;
	char *send, *recv, *want;
	bool library, in_place;
	int salt;
};

static char *get(struct one *o, size_t bytes)
{
	struct ls_err err = LS_ERR_INIT;
	void *p = NULL;

	if (o->library)
		must(ls_comm_alloc(comm, bytes, &p, &err), &err);
	else
		p = malloc(bytes + 1);
	return p;
}

static void put(struct one *o, void *p)
{
	if (o->library)
		ls_comm_free(comm, p);
	else
		free(p);
}

/* Where this rank's own block begins, of an operation that has blocks. */
static size_t own(const struct one *o)
{
	return (size_t)comm->rank * o->c.count * ls_dtype_size(o->c.dtype);
}

static void make(struct one *o)
{
	size_t send = ls_coll_send_bytes(&o->c, comm->world), recv = ls_coll_recv_bytes(&o->c, comm->world);
	struct ls_err err = LS_ERR_INIT;

	o->send = get(o, send > recv ? send : recv);
	o->recv = o->in_place ? o->send : get(o, recv);
	o->c.send = o->send + (o->in_place && o->c.kind == LS_ALL_GATHER ? own(o) : 0);
	o->c.recv = o->recv + (o->in_place && o->c.kind == LS_REDUCE_SCATTER ? own(o) : 0);
	must(ls_request_make(comm, &o->c, &o->plan, &err), &err);
}

static void begin(struct one *o)
{
	struct ls_err err = LS_ERR_INIT;
	size_t n = ls_coll_send_bytes(&o->c, comm->world) / ls_dtype_size(o->c.dtype);

	if (!o->in_place && o->c.kind != LS_BARRIER)
		memset(o->recv, 0x5a, ls_coll_recv_bytes(&o->c, comm->world));
	if (o->c.kind != LS_BROADCAST || o->c.root == comm->rank)
		fill((void *)o->c.send, o->c.dtype, n, comm->rank, o->salt);
	must(ls_request_start(o->plan, &err), &err);
}

static void expect(struct one *o, char *want)
{
	size_t elem = ls_dtype_size(o->c.dtype), n = ls_coll_send_bytes(&o->c, comm->world) / elem, bytes = ls_coll_recv_bytes(&o->c, comm->world);
	struct ls_reduction red = { o->c.op, o->c.dtype, o->c.dtype, comm->world, comm->group, o->c.op == LS_AVERAGE ? comm->world : 1 };
	const void **src = malloc((size_t)comm->world * sizeof(*src));
	char *all = malloc((size_t)comm->world * n * elem + 1);
	void *dst = want;
	int r;

	for (r = 0; r < comm->world; r++) {
		fill(all + (size_t)r * n * elem, o->c.dtype, n, r, o->salt);
		src[r] = all + (size_t)r * n * elem + (o->c.kind == LS_REDUCE_SCATTER ? own(o) : 0);
	}
	if (ls_coll_reduces(&o->c))
		ls_reduce(&red, &dst, 1, src, o->c.count, false);
	else
		memcpy(want, o->c.kind == LS_BROADCAST ? src[o->c.root] : all, bytes);
	free(src);
	free(all);
}

static void end(struct one *o)
{
	struct ls_err err = LS_ERR_INIT;
	size_t bytes = ls_coll_recv_bytes(&o->c, comm->world), i;
	char *want = malloc(bytes + 1);

	must(ls_request_wait(o->plan, &err), &err);
	done++;
	if (o->c.kind != LS_BARRIER) {
		expect(o, want);
		for (i = 0; i < bytes && want[i] == ((char *)o->c.recv)[i]; i++)
			;
		if (i < bytes && wrong++ < 10)
			printf("rank %d: wrong: %s of %zu %s (%s), root %d, %s buffers%s, by %s: byte %zu of %zu\n", comm->rank, ls_coll_name(o->c.kind),
				o->c.count, ls_dtype_name(o->c.dtype), ls_reduce_op_name(o->c.op), o->c.root,
				o->library ? "the library's" : "own", o->in_place ? ", in place" : "", o->plan->algorithm->name, i, bytes);
	}
	free(want);
}

static void release(struct one *o)
{
	ls_request_free(o->plan);
	if (!o->in_place)
		put(o, o->recv);
	put(o, o->send);
}

/* The same operation several times at once, with other data each. */
static void check(struct ls_coll c, bool library, bool in_place)
{
	struct one o[AT_ONCE];
	int i, again;

	for (i = 0; i < AT_ONCE; i++) {
		o[i] = (struct one){ .c = c, .library = library, .in_place = in_place, .salt = i };
		make(&o[i]);
	}
	for (again = 0; again < 2; again++) {
		for (i = 0; i < AT_ONCE; i++)
			begin(&o[i]);
		for (i = AT_ONCE - 1; i >= 0; i--)
			end(&o[i]);
	}
	for (i = 0; i < AT_ONCE; i++)
		release(&o[i]);
}

/* Of many elements, what takes another way than few: not every type and operation. */
static void check_all(size_t count)
{
	static const enum ls_dtype types[] = { LS_F32, LS_BF16, LS_F16, LS_F64, LS_I32, LS_I64 };
	size_t t, n_types = count > MANY ? 2 : COUNT(types);
	int kind, op, way, last_op = count > MANY ? LS_SUM : LS_MAX;

	for (way = 0; way < 4; way++) {
		for (kind = 0; kind < LS_BARRIER; kind++) {
			struct ls_coll c = { .kind = (enum ls_coll_kind)kind, .dtype = LS_U8, .root = comm->world - 1, .count = count };

			if (!ls_coll_reduces(&c)) {
				check(c, way & 1, way & 2);
				continue;
			}
			for (t = 0; t < n_types; t++)
				for (op = LS_SUM; op <= last_op; op++) {
					c.dtype = types[t];
					c.op = (enum ls_reduce_op)op;
					check(c, way & 1, way & 2);
				}
		}
		check((struct ls_coll){ .kind = LS_BARRIER }, false, false);
	}
}

static void die(int rank)
{
	size_t count = 100000;
	float *v = malloc(count * sizeof(*v));
	struct ls_coll c = { LS_ALL_REDUCE, LS_F32, LS_SUM, 0, count, v, v };
	struct ls_err err = LS_ERR_INIT;
	struct ls_request *p;
	int i;

	fill(v, LS_F32, count, comm->rank, 0);
	must(ls_request_make(comm, &c, &p, &err), &err);
	for (i = 0;; i++) {
		must(ls_request_start(p, &err), &err);
		if (i == 20 && comm->rank == rank)
			raise(SIGKILL);
		must(ls_request_wait(p, &err), &err);
	}
}

int main(int argc, char **argv)
{
	static const size_t counts[] = { 0, 1, 3, 15, 1000, 16385, 70001 };
	struct ls_comm_options opt = { 0 };
	struct ls_err err = LS_ERR_INIT;
	size_t i;

	must(ls_comm_settings(&opt, &err), &err);
	must(ls_comm_open(&opt, &comm, &err), &err);
	if (argc == 3 && !strcmp(argv[1], "die"))
		die(atoi(argv[2]));
	for (i = 1; i < (size_t)argc; i++)
		check_all(strtoull(argv[i], NULL, 10));
	for (i = 0; argc == 1 && i < COUNT(counts); i++)
		check_all(counts[i]);
	printf("rank %d of %d: %s, %d nodes, group %d: %ld operations, %ld wrong\n", comm->rank, comm->world, comm->backend->name, comm->nodes,
		comm->group, done, wrong);
	ls_comm_close(comm, true);
	return wrong > 0;
}
