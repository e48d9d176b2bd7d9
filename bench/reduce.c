/* reduce.c -- what the arithmetic of a reduction costs on one core, against the least that memory asks for.
 *
 *     reduce [-t MS] [-v VARIANT] [-d DTYPE] [MIN_BYTES MAX_BYTES]      bytes of one source, doubled twice from row to row
 *
 * Each row is one reduction, out of place unless "in place"; GB/s counts every byte that is loaded or stored by name (n sources, n_dst
 * destinations; not what the CPU fetches before it writes). "memcpy" and "rmw" (a[i] += 1 in place) are the floors, in the same units.
 * All rows of a size take turns; a row is the best of its turns, since whatever disturbs a measurement makes it longer. */
#include "collectives/reduce_fold.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define BUFFERS 10
#define TURNS 7
#define GAP 8192 /* between buffers: equal distances alias in caches */

static char *buffers[BUFFERS];
static double turn_ms = 10;

static const struct row {
	const char *says;
	enum ls_reduce_op op;
	enum ls_dtype in, out;
	int n, group, n_dst;
	bool in_place, stream;
} rows[] = {
	{ "sum of 2, in place",                  LS_SUM,     LS_F32,  LS_F32,  2, 2, 1, true,  false },
	{ "sum of 2, in place, to both",         LS_SUM,     LS_F32,  LS_F32,  2, 2, 2, true,  false },
	{ "average of 2, in place, to both",     LS_AVERAGE, LS_F32,  LS_F32,  2, 2, 2, true,  false },
	{ "sum of 2",                            LS_SUM,     LS_F32,  LS_F32,  2, 2, 1, false, false },
	{ "sum of 2, stream",                    LS_SUM,     LS_F32,  LS_F32,  2, 2, 1, false, true },
	{ "sum of 2, to both, stream",           LS_SUM,     LS_F32,  LS_F32,  2, 2, 2, false, true },
	{ "sum of 2, in place, to both, stream", LS_SUM,     LS_F32,  LS_F32,  2, 2, 2, true,  true },
	{ "maximum of 2, in place",              LS_MAX,     LS_F32,  LS_F32,  2, 2, 1, true,  false },
	{ "sum of 2, in place",                  LS_SUM,     LS_BF16, LS_BF16, 2, 2, 1, true,  false },
	{ "sum of 2, in place, to both",         LS_SUM,     LS_BF16, LS_BF16, 2, 2, 2, true,  false },
	{ "sum of 2, stream",                    LS_SUM,     LS_BF16, LS_BF16, 2, 2, 1, false, true },
	{ "sum of 2, in place",                  LS_SUM,     LS_F16,  LS_F16,  2, 2, 1, true,  false },
	{ "sum of 2, to f32",                    LS_SUM,     LS_BF16, LS_F32,  2, 2, 1, false, false },
	{ "sum of 2 partial sums",               LS_SUM,     LS_F32,  LS_BF16, 2, 1, 1, false, false },
	{ "sum of 2, in place",                  LS_SUM,     LS_F64,  LS_F64,  2, 2, 1, true,  false },
	{ "sum of 3, in place",                  LS_SUM,     LS_F32,  LS_F32,  3, 3, 1, true,  false },
	{ "sum of 4, in place",                  LS_SUM,     LS_F32,  LS_F32,  4, 4, 1, true,  false },
	{ "sum of 4, blocks of 2, in place",     LS_SUM,     LS_F32,  LS_F32,  4, 2, 1, true,  false },
	{ "sum of 8, in place",                  LS_SUM,     LS_F32,  LS_F32,  8, 8, 1, true,  false },
	{ "sum of 9, in place",                  LS_SUM,     LS_F32,  LS_F32,  9, 9, 1, true,  false },
};

/* CPU time: a reduction does nothing but compute, and the machine may be shared. */
static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static void reduce_once(const struct ls_vectors *v, const struct row *w, size_t bytes)
{
	const struct ls_reduction r = { w->op, w->in, w->out, w->n, w->group, w->n };
	char *const *to = w->in_place ? buffers : buffers + BUFFERS - w->n_dst;

	ls_reduce_with(v, &r, (void *const *)to, w->n_dst, (const void *const *)buffers, bytes / ls_dtype_size(w->in), w->stream);
}

static void memcpy_once(const struct ls_vectors *v, const struct row *w, size_t bytes)
{
	(void)v, (void)w;
	memcpy(buffers[1], buffers[0], bytes);
	__asm__ volatile("" ::: "memory");
}

static void copy_past_once(const struct ls_vectors *v, const struct row *w, size_t bytes)
{
	(void)w;
	ls_copy_with(v, buffers[1], buffers[0], bytes, true);
}

static void rmw_once(const struct ls_vectors *v, const struct row *w, size_t bytes)
{
	typedef float wide __attribute__((vector_size(32)));
	wide *p = (wide *)buffers[0];
	size_t i;

	(void)v, (void)w;
	for (i = 0; i < bytes / sizeof(wide); i++)
		p[i] += 1;
	__asm__ volatile("" ::: "memory");
}

typedef void (*once_fn)(const struct ls_vectors *v, const struct row *w, size_t bytes);

/* Seconds of one call, the mean of a turn. */
static double turn(once_fn once, const struct ls_vectors *v, const struct row *w, size_t bytes)
{
	double start = now(), end;
	size_t calls = 0, batch = bytes < (1 << 20) ? (1 << 20) / bytes : 1, i;

	do {
		for (i = 0; i < batch; i++)
			once(v, w, bytes);
		calls += batch;
		end = now();
	} while (end - start < turn_ms / 1e3);
	return (end - start) / (double)calls;
}

static struct cell {
	once_fn once;
	const struct ls_vectors *v;
	const struct row *w;
	const char *says, *dtype;
	double moved, best;
} cells[3 * (COUNT(rows) + 3)];
static size_t n_cells;

static void add(once_fn once, const struct ls_vectors *v, const struct row *w, const char *says, double moved)
{
	cells[n_cells++] = (struct cell){ once, v, w, says, w ? ls_dtype_name(w->in) : "-", moved, 1e9 };
}

static void add_all(size_t bytes, const char *variant, const char *dtype)
{
	const struct ls_vectors *const *v;
	size_t i;

	n_cells = 0;
	add(memcpy_once, NULL, NULL, "memcpy", 2.0 * (double)bytes);
	add(rmw_once, NULL, NULL, "rmw", 2.0 * (double)bytes);
	for (v = ls_vectors_all; *v; v++) {
		if (!(*v)->here() || (variant && strcmp(variant, (*v)->name)))
			continue;
		add(copy_past_once, *v, NULL, "copy, stream", 2.0 * (double)bytes);
		for (i = 0; i < COUNT(rows); i++) {
			const struct row *w = &rows[i];
			double out = (double)(bytes / ls_dtype_size(w->in) * ls_dtype_size(w->out));

			if (!dtype || !strcmp(dtype, ls_dtype_name(w->in)))
				add(reduce_once, *v, w, w->says, (double)bytes * w->n + out * w->n_dst);
		}
	}
}

static void print_size(size_t bytes, const char *variant, const char *dtype)
{
	struct cell *c;
	int i;

	add_all(bytes, variant, dtype);
	for (i = 0; i < TURNS; i++)
		for (c = cells; c < cells + n_cells; c++) {
			double t = turn(c->once, c->v, c->w, bytes);

			if (t < c->best)
				c->best = t;
		}
	for (c = cells; c < cells + n_cells; c++)
		printf("%12zu  %-8s %-5s %-36s %12.3f %8.1f\n", bytes, c->v ? c->v->name : "-", c->dtype, c->says, c->best * 1e6,
			c->moved / c->best / 1e9);
	fflush(stdout);
}

/* Zeros: sums in place stay zeros, however often. */
static void make_buffers(size_t bytes)
{
	size_t each = (2 * bytes + GAP + 4095) / 4096 * 4096;
	char *p = mmap(NULL, each * BUFFERS, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int i;

	if (p == MAP_FAILED) {
		perror("bench reduce: mmap");
		exit(1);
	}
	madvise(p, each * BUFFERS, MADV_HUGEPAGE);
	memset(p, 0, each * BUFFERS);
	for (i = 0; i < BUFFERS; i++)
		buffers[i] = p + each * (size_t)i;
}

int main(int argc, char **argv)
{
	const char *variant = NULL, *dtype = NULL;
	size_t bytes, min, max;
	int opt;

	while ((opt = getopt(argc, argv, "t:v:d:")) != -1) {
		if (opt == 't')
			turn_ms = atof(optarg);
		else if (opt == 'v')
			variant = optarg;
		else if (opt == 'd')
			dtype = optarg;
		else
			return 2;
	}
	min = argc > optind + 1 ? strtoull(argv[optind], NULL, 10) : 16 << 10;
	max = argc > optind + 1 ? strtoull(argv[optind + 1], NULL, 10) : 256 << 20;
	if (min < 1024 || max < min) {
		fprintf(stderr, "bench reduce: want 1024 <= MIN_BYTES <= MAX_BYTES\n");
		return 2;
	}
	make_buffers(max);
	printf("%12s  %-8s %-5s %-36s %12s %8s\n", "bytes", "vectors", "dtype", "what", "us", "GB/s");
	for (bytes = min; bytes <= max; bytes *= 4)
		print_size(bytes, variant, dtype);
	return 0;
}
