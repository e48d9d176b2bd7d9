/* ckpt_mpi.c -- what checkpoints cost a training loop: `lockstep bench ckpt` starts it, and prints what it finds.
 *
 *     ckpt [--mib N | --like FILE.safetensors | --like URI] [--step-ms MS] [--saves N] [--gap STEPS] [--kill]
 *     ckpt --recover [--no-agent] …          for bench/recover.sh: below
 *
 * The state is a model of GPT-2 124M's shapes with two moments of the optimizer, cut to N MiB or repeated; or has the tensors of a
 * safetensors file, or of the newest checkpoint in URI. A step multiplies matrices for about MS on each rank and changes every tensor.
 *
 *     GAP steps, a copy of the state by memcpy on all ranks at once, a step that saves, steps until that is published; and again
 *
 * A first round does not count. What is told (lockstep_result), of the slowest rank, X_low and X_high being the middle half:
 *
 *     memcpy_ms         of a rank's part into memory that was touched before: the floor of the stall
 *     stall_ms          of the end of a step with a save, less the median of the same without
 *     stall_ratio       of the two, round by round
 *     step_ms, saving_step_ms, step_ratio   undisturbed, and with a save on its way; medians of rounds
 *     cpu_s             of all ranks for a save, beyond what as many undisturbed steps take
 *
 * With --kill the last rank kills itself at the end, and the next attempt measures how long the restore takes, as does any run that finds a
 * checkpoint: restore_memory_ms or restore_store_ms. The time until a save is published is in the run's record ("checkpoints" in
 * job.json). */
#include "core/io.h"
#include "core/safetensors.h"
#include "core/sort.h"
#include "lockstep/lockstep.h"
#include "worker/rank.h"

#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { TENSORS_MAX = 16384, SIDE = 192, PUBLISH_MAX_S = 600 };

struct options {
	double mib, step_ms;
	int saves, gap;
	const char *like;
	bool kill, recover, no_agent;
};

struct tensor {
	char name[16];
	float *data;
	size_t bytes;
	int64_t shape[1];
};

static struct tensor *tensors;
static int n_tensors;
static size_t total;

static void die(const char *what, const char *why)
{
	fprintf(stderr, "bench ckpt: %s%s%s\n", what, why ? ": " : "", why ? why : "");
	exit(2);
}

static void *have(size_t bytes)
{
	void *at = calloc(1, bytes + 1);

	if (!at)
		die("no memory", NULL);
	return at;
}

/* --- the state --------------------------------------------------------------------------------------------------------------- */

/* Its size matters, its name does not: a checkpoint's own names (parts of tensors) could not be registered. */
static void add(size_t bytes)
{
	struct tensor *t = &tensors[n_tensors++];
	size_t i;

	bytes = (bytes + 3) / 4 * 4;
	if (n_tensors == TENSORS_MAX)
		die("too many tensors", NULL);
	snprintf(t->name, sizeof(t->name), "t%d", n_tensors);
	t->bytes = bytes;
	t->shape[0] = (int64_t)(bytes / 4);
	t->data = mmap(NULL, bytes + 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (t->data == MAP_FAILED)
		die("no memory for the state", NULL);
	for (i = 0; i < bytes / 4; i++)
		t->data[i] = (float)(i % 1021);
	total += bytes;
}

/* Layers of GPT-2 124M, weights and two moments, until there is enough. */
static void add_gpt2(double mib)
{
	static const size_t layer[] = { 768 * 2304, 768 * 768, 768 * 3072, 3072 * 768, 4 * 768 };
	size_t want = (size_t)(mib * 1048576), i, k, bytes;

	while (total < want)
		for (i = 0; i < sizeof(layer) / sizeof(layer[0]); i++)
			for (k = 0; k < 3 && total < want; k++) {
				bytes = layer[i] * 4;
				add(bytes < want - total ? bytes : want - total);
			}
}

static void add_all(struct ls_st *st)
{
	size_t i;

	for (i = 0; i < st->n; i++)
		add(st->tensors[i].end - st->tensors[i].begin);
	ls_st_release(st);
}

static ls_status add_file(const char *path, struct ls_err *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	off_t size = fd < 0 ? -1 : lseek(fd, 0, SEEK_END);
	void *at = size > 8 ? mmap(NULL, (size_t)size, PROT_READ, MAP_SHARED, fd, 0) : MAP_FAILED;
	struct ls_st parsed = { 0 };
	ls_status st;

	if (at == MAP_FAILED)
		return ls_fail(err, LS_USAGE, 0, "cannot be read");
	st = ls_st_parse(at, (size_t)size, (uint64_t)size, &parsed, err);
	if (!st)
		add_all(&parsed);
	munmap(at, (size_t)size);
	close(fd);
	return st;
}

static ls_status add_checkpoint(const char *uri, struct ls_err *err)
{
	struct ls_store *store = NULL;
	struct ls_ckpt_id *ids = NULL;
	struct ls_ckpt c = { 0 };
	struct ls_st parsed = { 0 };
	size_t n = 0, i;
	ls_status st = ls_store_open(uri, &store, err);

	if (!st)
		st = ls_ckpt_list(store, &ids, &n, err);
	if (!st)
		st = n ? ls_ckpt_read(store, ids[0], &c, err) : ls_fail(err, LS_NOT_FOUND, 0, "there is no checkpoint");
	for (i = 0; !st && i < c.n_shards; i++) {
		st = ls_ckpt_shard_open(store, &c.shards[i], &parsed, NULL, err);
		if (!st)
			add_all(&parsed);
	}
	ls_ckpt_release(&c);
	free(ids);
	ls_store_close(store);
	return st;
}

static void make_state(const struct options *o)
{
	struct ls_err err = LS_ERR_INIT;

	tensors = have(TENSORS_MAX * sizeof(*tensors));
	if (!o->like)
		add_gpt2(o->mib);
	else if (strstr(o->like, "://") ? add_checkpoint(o->like, &err) : add_file(o->like, &err))
		die(o->like, err.text);
}

/* --- a step ------------------------------------------------------------------------------------------------------------------ */

static float a[SIDE][SIDE], b[SIDE][SIDE], c[SIDE][SIDE];
static int products; /* that are a step: its work is fixed, its time is not */

static void multiply(void)
{
	int i, j, k;

	for (i = 0; i < SIDE; i++)
		for (k = 0; k < SIDE; k++)
			for (j = 0; j < SIDE; j++)
				c[i][j] += a[i][k] * b[k][j];
	a[0][0] = c[SIDE - 1][SIDE - 1] * 1e-9f;
}

/* By the fastest of many: others use this machine, too. */
static void find_products(double ms)
{
	double fastest = 1, began, took;
	int i;

	for (i = 0; i < 20; i++) {
		began = ls_clock_s();
		multiply();
		took = ls_clock_s() - began;
		fastest = took < fastest ? took : fastest;
	}
	products = (int)(ms / 1e3 / fastest) + 1;
}

static void barrier(struct lockstep *ls)
{
	struct lockstep_err err;

	if (lockstep_barrier(ls, &err))
		die("barrier", err.text);
}

struct times {
	double step_ms, end_ms; /* of the whole step; of its end alone */
};

static int64_t step_done;

static struct times one_step(struct lockstep *ls)
{
	struct lockstep_err err;
	double began = ls_clock_s(), computed, done;
	int i;

	for (i = 0; i < products; i++)
		multiply();
	for (i = 0; i < n_tensors; i++)
		if (tensors[i].bytes)
			tensors[i].data[0] += 1;
	barrier(ls); /* a step's sum of gradients brings the ranks together: who is late there is no matter of checkpoints */
	computed = ls_clock_s();
	step_done++;
	if (lockstep_step_end(ls, step_done, 1.0 / (double)step_done, 1, &err))
		die("step", err.text);
	done = ls_clock_s();
	return (struct times){ (done - began) * 1e3, (done - computed) * 1e3 };
}

/* --- measuring ----------------------------------------------------------------------------------------------------------------- */

static double quantile(double *v, int n, double q)
{
	ls_sort(v, (size_t)n);
	return v[(int)((n - 1) * q + 0.5)];
}

/* The largest of all ranks' v[i], for each i. */
static void slowest(struct lockstep *ls, double *v, int n)
{
	double *all = have((size_t)(ls->world * n) * sizeof(*all));
	struct lockstep_err err;
	int r, i;

	memcpy(all + ls->rank * n, v, (size_t)n * sizeof(*v));
	if (lockstep_sum_f64(ls, all, (size_t)(ls->world * n), &err))
		die("sum", err.text);
	for (r = 0; r < ls->world; r++)
		for (i = 0; i < n; i++)
			v[i] = all[r * n + i] > v[i] ? all[r * n + i] : v[i];
	free(all);
}

static void tell(struct lockstep *ls, const char *name, double *v, int n)
{
	char text[64];

	lockstep_result(ls, name, quantile(v, n, 0.5));
	snprintf(text, sizeof(text), "%s_low", name);
	lockstep_result(ls, text, quantile(v, n, 0.25));
	snprintf(text, sizeof(text), "%s_high", name);
	lockstep_result(ls, text, quantile(v, n, 0.75));
}

static double copy_ms(struct lockstep *ls, char *to)
{
	double began;
	size_t i;

	barrier(ls);
	began = ls_clock_s();
	for (i = 0; i < ls->layout.n; i++)
		memcpy(to + ls->layout.pieces[i].at, ls->layout.pieces[i].from, ls->layout.pieces[i].bytes);
	return (ls_clock_s() - began) * 1e3;
}

static double cpu_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

enum { COPY, STALL, QUIET, BUSY, KINDS };

/* One round; the median over its steps, of each kind. Returns the save's CPU seconds. */
static double one_round(struct lockstep *ls, const struct options *o, char *to, double ret[KINDS])
{
	int n = o->gap, room = n + 1024;
	double *quiet = have(2 * (size_t)room * sizeof(*quiet)), *ends = quiet + room, until, cpu, cpu_step;
	struct times t;
	int i;

	cpu = cpu_s();
	for (i = 0; i < n; i++) {
		t = one_step(ls);
		quiet[i] = t.step_ms;
		ends[i] = t.end_ms;
	}
	cpu_step = (cpu_s() - cpu) / n;
	ret[QUIET] = quantile(quiet, n, 0.5);
	ret[COPY] = copy_ms(ls, to);
	barrier(ls);
	cpu = cpu_s();
	ls->save_wanted = true; /* by all ranks at the same step: as if they had agreed on it */
	ret[STALL] = one_step(ls).end_ms - quantile(ends, n, 0.5);
	until = ls_clock_s() + PUBLISH_MAX_S;
	for (i = 0; ls->head.step >= 0; i++) {
		quiet[i % room] = one_step(ls).step_ms;
		if (ls_clock_s() > until)
			die("a save is not published after 10 minutes", NULL);
	}
	cpu = cpu_s() - cpu - cpu_step * (i + 1);
	ret[BUSY] = quantile(quiet, i < room ? i : room, 0.5);
	free(quiet);
	return cpu;
}

static void measure(struct lockstep *ls, const struct options *o)
{
	static const char *const names[] = { "memcpy_ms", "stall_ms", "step_ms", "saving_step_ms", "stall_ratio", "step_ratio" };
	int n = o->saves, i, k;
	double *v[KINDS + 2], *cpu = have((size_t)n * sizeof(*cpu)), of_round[KINDS], took;
	struct lockstep_err err;
	char *to = have(ls->layout.bytes);

	memset(to, 1, ls->layout.bytes);
	for (k = 0; k < KINDS + 2; k++)
		v[k] = have((size_t)n * sizeof(*v[k]));
	for (i = -1; i < n; i++) {
		took = one_round(ls, o, to, of_round);
		slowest(ls, of_round, KINDS);
		if (i >= 0)
			cpu[i] = took;
		for (k = 0; i >= 0 && k < KINDS; k++)
			v[k][i] = of_round[k];
	}
	for (i = 0; i < n; i++) {
		v[KINDS][i] = v[STALL][i] / v[COPY][i];
		v[KINDS + 1][i] = v[BUSY][i] / v[QUIET][i];
	}
	for (k = 0; k < KINDS + 2; k++)
		tell(ls, names[k], v[k], n);
	if (lockstep_sum_f64(ls, cpu, (size_t)n, &err))
		die("sum", err.text);
	tell(ls, "cpu_s", cpu, n);
}

/* --- recovery -------------------------------------------------------------------------------------------------------------------- */

static void moment(const char *what)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	printf("%s %.4f\n", what, (double)t.tv_sec + (double)t.tv_nsec / 1e9);
	fflush(stdout);
}

/* Moments by the clock, on each rank: a step is saved and published, a rank is killed five steps later; the next attempt goes on. */
static void recover(struct lockstep *ls, const struct options *o, int64_t resumed)
{
	struct lockstep_err err;
	int i;

	for (i = 0; i < o->gap; i++) {
		one_step(ls);
		if (resumed && !i)
			moment("first_step");
	}
	if (resumed)
		return;
	if (lockstep_save(ls, o->gap, &err))
		die("save", err.text);
	for (i = 0; i < 5; i++)
		one_step(ls);
	if (ls->rank == ls->world - 1) {
		moment("killed");
		raise(SIGKILL);
	}
	one_step(ls);
}

static void options(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = { { "mib", 1, NULL, 'm' }, { "like", 1, NULL, 'l' }, { "step-ms", 1, NULL, 's' },
		{ "saves", 1, NULL, 'n' }, { "gap", 1, NULL, 'g' }, { "kill", 0, NULL, 'k' }, { "recover", 0, NULL, 'r' },
		{ "no-agent", 0, NULL, 'a' }, { 0 } };
	int ch;

	while ((ch = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		switch (ch) {
		case 'm': o->mib = atof(optarg); break;
		case 'l': o->like = optarg; break;
		case 's': o->step_ms = atof(optarg); break;
		case 'n': o->saves = atoi(optarg); break;
		case 'g': o->gap = atoi(optarg); break;
		case 'k': o->kill = true; break;
		case 'r': o->recover = true; break;
		case 'a': o->no_agent = true; break;
		default: exit(2);
		}
	}
	if (o->mib <= 0 || o->step_ms <= 0 || o->saves < 1 || o->gap < 1)
		die("want --mib, --step-ms, --saves and --gap above 0", NULL);
}

int main(int argc, char **argv)
{
	struct options o = { .mib = 256, .step_ms = 50, .saves = 5, .gap = 20 };
	struct lockstep_options lo = { 0 };
	struct lockstep_err err = { 0 };
	struct lockstep *ls;
	double took;
	int64_t step;
	int i;

	options(argc, argv, &o);
	if (o.recover)
		moment("started");
	if (o.no_agent)
		unsetenv("LOCKSTEP_AGENT"); /* from the store, then */
	make_state(&o);
	find_products(o.step_ms);
	if (lockstep_start(&lo, &ls, &err))
		die("start", err.text);
	for (i = 0; i < n_tensors; i++)
		if (lockstep_state_add(ls, tensors[i].name, tensors[i].data, LOCKSTEP_F32, 1, tensors[i].shape, LOCKSTEP_REPLICATED, &err))
			die("state", err.text);
	if (o.recover)
		moment("met");
	barrier(ls);
	took = ls_clock_s();
	if (lockstep_restore(ls, &step, &err))
		die("restore", err.text);
	took = (ls_clock_s() - took) * 1e3;
	if (o.recover)
		moment("loaded");
	if (!ls->saver)
		die("no checkpoint URI", NULL);
	lockstep_result(ls, "ranks", ls->world);
	lockstep_result(ls, "state_mib", (double)total / 1048576);
	slowest(ls, &took, 1);
	step_done = step;
	if (o.recover)
		recover(ls, &o, step);
	else if (step)
		lockstep_result(ls, ls->may_forget ? "restore_memory_ms" : "restore_store_ms", took);
	else
		measure(ls, &o);
	barrier(ls);
	if (!step && o.kill && ls->rank == ls->world - 1)
		raise(SIGKILL);
	lockstep_finish(ls);
	return 0;
}
