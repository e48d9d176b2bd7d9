/* cmd_bench_coll.c -- see cmd_bench_coll.h: options, and the order of measurements.
 *
 *     start all, one after the other
 *     each row:  each contender and place once, for the caches and to choose the number of operations
 *                each round: all contenders, forwards and backwards in turn, so that what the machine does meanwhile hurts all alike
 *     ask all to end */
#include "launcher/cmd_bench_coll.h"
#include "core/io.h"
#include "core/topo.h"
#include "launcher/commands.h"
#include "launcher/probe.h"
#include "launcher/signals.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char usage[] =
	"usage: lockstep bench all-reduce|reduce-scatter|all-gather|broadcast|barrier [options]     options and columns of nccl-tests\n"
	"  -b --minbytes SIZE       from this size (4); 4096, 64K, 1M, 1G\n"
	"  -e --maxbytes SIZE       to this one (64M)\n"
	"  -f --stepfactor X        the next is X times as large (4)\n"
	"  -i --stepbytes SIZE      or larger by SIZE\n"
	"  -n --iters N             operations in one measurement (as many as take 50 ms, 3 to 10000)\n"
	"  -w --warmup_iters N      before them, not timed (2)\n"
	"  -c --check 0|1           count elements that are wrong (1)\n"
	"  -d --datatype LIST       f64, f32, f16, bf16, i64, i32, or all (f32)\n"
	"  -o --op LIST             sum, avg, min, max, or all (sum)\n"
	"  -r --root RANK           of broadcast (0)\n"
	"  -np N                    ranks (one per core)\n"
	"  -H --host a:4,b:4        hosts and how many ranks each may have; --hostfile FILE: from a file\n"
	"  --oversubscribe          more ranks than cores\n"
	"  --no-bind                ranks stay where they are put; else each binds itself to a core\n"
	"  --device cpu|cuda        cuda: buffers in GPUs' memory, backend nccl, a GPU for each rank (-np: one per GPU); --oversubscribe: all\n"
	"                           ranks on the first GPU, where NCCL allows it (2.30), which shows that it works, not how fast (cpu)\n"
	"  --backend NAME           auto, shm, mpi or hier (auto)\n"
	"  --algorithm NAME         of docs/collectives.md, instead of the one that fits\n"
	"  --buffers library|user   memory of lockstep_comm_alloc, or any (library)\n"
	"  --place out|in|both      out of place, in place (both; in with --compare)\n"
	"  --compare LIST           contenders, measured in turn: auto, shm, hier, lockstep-mpi, each also as NAME/user, and mpi (the\n"
	"                           library's own calls), torch (torch.distributed on gloo); ratios are to the first. With --device cuda:\n"
	"                           nccl, nccl/user, peer-nccl (plain NCCL calls in a row, as nccl-tests), peer-nccl/wait (with a wait after each)\n"
	"  --contender NAME=COMMAND one more: starts $LOCKSTEP_BENCH_NP ranks that speak bench/coll_wire.h\n"
	"  --python PATH            for torch (python3)\n"
	"  --rounds N               each is measured N times, in turn (1; 5 with --compare)\n"
	"  --timeout SECONDS        for one measurement, and for ranks to start (120)\n"
	"  --json, --csv            for programs, instead of the table\n"
	"  --plot FILE.svg          also draw bus bandwidth over size\n";

/* --- options -------------------------------------------------------------------------------------------------------------------- */

enum { NP = 256, HOSTFILE, OVERSUBSCRIBE, NO_BIND, DEVICE, BACKEND, ALGORITHM, BUFFERS, PLACE, COMPARE, CONTENDER, PYTHON, ROUNDS, TIMEOUT, JSON, CSV, PLOT };

static const struct option longs[] = { { "minbytes", 1, NULL, 'b' }, { "maxbytes", 1, NULL, 'e' }, { "stepfactor", 1, NULL, 'f' },
	{ "stepbytes", 1, NULL, 'i' }, { "iters", 1, NULL, 'n' }, { "warmup_iters", 1, NULL, 'w' }, { "check", 1, NULL, 'c' },
	{ "datatype", 1, NULL, 'd' }, { "op", 1, NULL, 'o' }, { "root", 1, NULL, 'r' }, { "np", 1, NULL, NP }, { "host", 1, NULL, 'H' },
	{ "hostfile", 1, NULL, HOSTFILE }, { "oversubscribe", 0, NULL, OVERSUBSCRIBE }, { "no-bind", 0, NULL, NO_BIND },
	{ "device", 1, NULL, DEVICE }, { "backend", 1, NULL, BACKEND }, { "algorithm", 1, NULL, ALGORITHM }, { "buffers", 1, NULL, BUFFERS }, { "place", 1, NULL, PLACE },
	{ "compare", 1, NULL, COMPARE }, { "contender", 1, NULL, CONTENDER }, { "python", 1, NULL, PYTHON }, { "rounds", 1, NULL, ROUNDS },
	{ "timeout", 1, NULL, TIMEOUT }, { "json", 0, NULL, JSON }, { "csv", 0, NULL, CSV }, { "plot", 1, NULL, PLOT }, { "help", 0, NULL, 'h' }, { 0 } };

ls_status ls_bench_whole(const char *name, const char *text, size_t len, long low, long high, long *ret, struct ls_err *err)
{
	char *end;
	long v = strtol(text, &end, 10);

	if (!len || end != text + len || v < low || v > high)
		return ls_fail(err, LS_USAGE, 0, "%s %.*s: want a whole number from %ld to %ld", name, (int)len, text, low, high);
	*ret = v;
	return LS_OK;
}

ls_status ls_bench_whole_int(const char *name, const char *text, int low, int high, int *ret, struct ls_err *err)
{
	long v = 0;
	ls_status st = ls_bench_whole(name, text, strlen(text), low, high, &v, err);

	if (!st)
		*ret = (int)v;
	return st;
}

/* One of the words, which may be NULL at the end. */
static ls_status word(const char *name, const char *text, const char *const words[4], struct ls_err *err)
{
	int i;

	for (i = 0; i < 4 && words[i]; i++)
		if (!strcmp(text, words[i]))
			return LS_OK;
	return ls_fail(err, LS_USAGE, 0, "%s %s: want %s, %s%s%s%s%s", name, text, words[0], words[1], words[2] ? ", " : "", words[2] ? words[2] : "",
		words[3] ? ", " : "", words[3] ? words[3] : "");
}

static ls_status factor(const char *text, double *ret, struct ls_err *err)
{
	char *end;
	double v = strtod(text, &end);

	if (end == text || *end || !(v > 1 && v <= 1e6))
		return ls_fail(err, LS_USAGE, 0, "-f %s: want a number above 1", text);
	*ret = v;
	return LS_OK;
}

static ls_status place(const char *text, struct ls_bench_options *opt, struct ls_err *err)
{
	static const char *const words[4] = { "out", "in", "both" };

	opt->places[LS_BENCH_OUT] = strcmp(text, "in") != 0;
	opt->places[LS_BENCH_IN] = strcmp(text, "out") != 0;
	return word("--place", text, words, err);
}

static ls_status option_of_nccl(int ch, const char *v, struct ls_bench_options *opt, struct ls_err *err)
{
	int check = opt->check;
	ls_status st;

	switch (ch) {
	case 'b': return ls_bench_size_parse(v, &opt->begin, err);
	case 'e': return ls_bench_size_parse(v, &opt->end, err);
	case 'i': return ls_bench_size_parse(v, &opt->step, err);
	case 'f': return factor(v, &opt->factor, err);
	case 'n': return ls_bench_whole("-n", v, strlen(v), 1, 1000000000, &opt->iters, err);
	case 'w': return ls_bench_whole_int("-w", v, 0, 1000000, &opt->warm, err);
	case 'd': return ls_bench_dtypes_parse(v, opt->dtypes, err);
	case 'o': return ls_bench_ops_parse(v, opt->ops, err);
	case 'r': return ls_bench_whole_int("-r", v, 0, INT_MAX, &opt->root, err);
	default:
		st = ls_bench_whole_int("-c", v, 0, 1, &check, err);
		opt->check = check;
		return st;
	}
}

static ls_status option_of_ours(int ch, const char *v, struct ls_bench_options *opt, struct ls_err *err)
{
	static const char *const backends[4] = { "auto", "shm", "mpi", "hier" }, *const buffers[4] = { "library", "user" },
		*const devices[4] = { "cpu", "cuda" };

	switch (ch) {
	case NP: return ls_bench_whole_int("-np", v, 1, 65536, &opt->np, err);
	case 'H': opt->hosts = v; break;
	case HOSTFILE: opt->hostfile = v; break;
	case OVERSUBSCRIBE: opt->oversubscribe = true; break;
	case NO_BIND: opt->bind = false; break;
	case DEVICE: opt->cuda = !strcmp(v, "cuda"); return word("--device", v, devices, err);
	case BACKEND: opt->backend = v; return word("--backend", v, backends, err);
	case ALGORITHM: opt->algorithm = v; break;
	case BUFFERS: opt->buffers = v; return word("--buffers", v, buffers, err);
	case PLACE: return place(v, opt, err);
	case COMPARE: opt->compare = v; break;
	case CONTENDER: ls_strv_add(&opt->extra, v); break;
	case PYTHON: opt->python = v; break;
	case ROUNDS: return ls_bench_whole_int("--rounds", v, 1, 1000, &opt->rounds, err);
	case TIMEOUT: return ls_bench_whole_int("--timeout", v, 1, 86400, &opt->timeout_s, err);
	case JSON: opt->json = true; break;
	case CSV: opt->csv = true; break;
	default: opt->plot = v;
	}
	return LS_OK;
}

/* What depends on more than one option. */
static ls_status complete(struct ls_bench *b, struct ls_err *err)
{
	struct ls_bench_options *opt = &b->opt;
	bool several = opt->compare || opt->extra.n;
	ls_status st = opt->cuda ? ls_bench_gpu_options(b, err) : LS_OK;

	if (st)
		return st;
	if (!opt->np)
		opt->np = b->cores;
	if (!opt->rounds)
		opt->rounds = several ? 5 : 1;
	if (!opt->places[LS_BENCH_OUT] && !opt->places[LS_BENCH_IN]) {
		opt->places[LS_BENCH_IN] = opt->kind != COLL_BARRIER;
		opt->places[LS_BENCH_OUT] = !several || opt->kind == COLL_BARRIER;
	}
	if (opt->kind == COLL_BARRIER)
		opt->places[LS_BENCH_OUT] = !(opt->places[LS_BENCH_IN] = false);
	if (opt->root >= opt->np)
		return ls_fail(err, LS_USAGE, 0, "-r %d: ranks are 0 to %d", opt->root, opt->np - 1);
	if (opt->json && opt->csv)
		return ls_fail(err, LS_USAGE, 0, "want --json or --csv, not both");
	if (opt->plot && opt->kind == COLL_BARRIER)
		return ls_fail(err, LS_USAGE, 0, "--plot: a barrier has no sizes to draw it over");
	if (ls_bench_output_check("--plot", opt->plot, err))
		return err->status;
	if (!opt->cuda && opt->np > b->cores && !opt->hosts && !opt->hostfile && !opt->oversubscribe)
		return ls_fail(err, LS_USAGE, 0, "-np %d: this process may use %d cores; --oversubscribe allows more ranks", opt->np, b->cores);
	return LS_OK;
}

/* -1: go on. Else the exit code. */
static int parse(int argc, char **argv, struct ls_bench *b, struct ls_err *err)
{
	int ch;
	ls_status st = LS_OK;

	while (!st && (ch = getopt_long_only(argc, argv, "b:e:f:i:n:w:c:d:o:r:H:h", longs, NULL)) != -1) {
		if (ch == 'h')
			return fputs(usage, stdout) < 0;
		if (ch == '?')
			return ls_bench_usage("all-reduce");
		st = ch < NP && ch != 'H' ? option_of_nccl(ch, optarg, &b->opt, err) : option_of_ours(ch, optarg, &b->opt, err);
	}
	if (!st && (optind + 1 != argc || !ls_bench_kind_find(argv[optind], &b->opt.kind)))
		st = ls_fail(err, LS_USAGE, 0, "want one operation: all-reduce, reduce-scatter, all-gather, broadcast or barrier");
	if (!st)
		st = complete(b, err);
	return st ? ls_command_fail("bench", st, err) : -1;
}

/* --- measuring ------------------------------------------------------------------------------------------------------------------ */

struct ls_bench_series *ls_bench_series_at(const struct ls_bench *b, const struct ls_bench_row *row, int contender, enum ls_bench_place at)
{
	(void)b;
	return &row->series[contender * LS_BENCH_PLACES + (int)at];
}

static ls_status rows(struct ls_bench *b, struct ls_err *err)
{
	ls_status st = ls_bench_rows_make(&b->opt, &b->rows, &b->n_rows, err);
	size_t i, k, n = (size_t)b->n * LS_BENCH_PLACES;

	for (i = 0; !st && i < b->n_rows; i++) {
		b->rows[i].series = calloc(n, sizeof(*b->rows[i].series));
		for (k = 0; b->rows[i].series && k < n; k++)
			if (!(b->rows[i].series[k].us = calloc((size_t)b->opt.rounds, sizeof(double))))
				return ls_fail_oom(err);
		if (!b->rows[i].series)
			st = ls_fail_oom(err);
	}
	return st;
}

/* `keep`: of a round. Else it only tells how many operations one shall have. */
static ls_status once(struct ls_bench *b, const struct ls_bench_row *row, int contender, int at, bool keep, struct ls_err *err)
{
	struct ls_bench_contender *c = &b->contenders[contender];
	struct ls_bench_series *s = ls_bench_series_at(b, row, contender, (enum ls_bench_place)at);
	struct ls_bench_answer answer;
	char line[256];
	ls_status st;

	if (!b->opt.places[at] || c->lost[0] || s->unsupported[0])
		return LS_OK;
	snprintf(line, sizeof(line), "run %s %s %s %d %zu %d %ld %d\n", ls_bench_kind_name(b->opt.kind), ls_bench_dtype_name(row->dtype),
		ls_bench_op_name(row->op), b->opt.root, row->count, b->opt.warm, keep ? s->iters : 3L, at == LS_BENCH_IN);
	st = ls_bench_ask(b, c, line, &answer, err);
	if (st || c->lost[0])
		return st;
	memcpy(s->unsupported, answer.unsupported, sizeof(s->unsupported));
	memcpy(s->algorithm, answer.algorithm, sizeof(s->algorithm));
	if (b->opt.check)
		s->wrong += answer.wrong;
	if (!keep)
		s->iters = ls_bench_iters(&b->opt, answer.seconds);
	else if (!s->unsupported[0])
		s->us[s->n++] = answer.seconds * 1e6;
	return LS_OK;
}

static void tell_lost(struct ls_bench *b)
{
	int i;

	for (i = 0; i < b->n; i++)
		if (b->contenders[i].lost[0] && !b->contenders[i].told) {
			fflush(stdout);
			fprintf(stderr, "lockstep bench: %s is lost: %s\n", b->contenders[i].name, b->contenders[i].lost);
			ls_bench_stop(b, &b->contenders[i]);
			b->contenders[i].told = true;
		}
}

static ls_status measure_row(struct ls_bench *b, const struct ls_bench_row *row, struct ls_err *err)
{
	ls_status st = LS_OK;
	int round, i, at;

	for (round = -1; !st && round < b->opt.rounds; round++) {
		for (at = 0; !st && at < LS_BENCH_PLACES; at++)
			for (i = 0; !st && i < b->n; i++)
				st = once(b, row, round % 2 ? b->n - 1 - i : i, at, round >= 0, err);
		tell_lost(b);
	}
	return st;
}

static ls_status start_all(struct ls_bench *b, struct ls_err *err)
{
	ls_status st = LS_OK;
	int i;

	for (i = 0; !st && i < b->n; i++) {
		st = ls_bench_start(b, &b->contenders[i], err);
		if (!st)
			st = ls_bench_meet(b, &b->contenders[i], err);
	}
	tell_lost(b);
	if (b->opt.json || b->opt.csv)
		ls_bench_show_shared(b, stderr, "lockstep bench:");
	return st;
}

static bool any_left(const struct ls_bench *b)
{
	int i;

	for (i = 0; i < b->n && b->contenders[i].lost[0]; i++)
		;
	return i < b->n;
}

static ls_status measure_all(struct ls_bench *b, struct ls_err *err)
{
	bool table = !b->opt.json && !b->opt.csv;
	ls_status st = start_all(b, err);
	size_t i;

	if (!st && !any_left(b))
		return ls_fail(err, LS_AGAIN, 0, "no contender is left");
	if (!st && table)
		ls_bench_show_head(b);
	for (i = 0; !st && i < b->n_rows; i++) {
		st = measure_row(b, &b->rows[i], err);
		if (!st && table)
			ls_bench_show_row(b, &b->rows[i]);
	}
	return st;
}

/* --- the command ---------------------------------------------------------------------------------------------------------------- */

/* The first thread of each core that we may use. */
static ls_status find_cores(struct ls_bench *b, struct ls_err *err)
{
	struct ls_topo *topo = NULL;
	struct ls_str list = { 0 };
	ls_status st = ls_topo_open(NULL, false, &topo, err);
	int i;

	if (st)
		return st;
	b->cores = ls_topo_cores(topo);
	for (i = 0; i < b->cores && list.len < sizeof(b->cpus) - 16; i++)
		ls_str_addf(&list, "%s%d", i ? "," : "", hwloc_bitmap_first(ls_topo_core(topo, i)->cpuset));
	snprintf(b->cpus, sizeof(b->cpus), "%s", ls_str_text(&list));
	ls_str_release(&list);
	ls_topo_close(topo);
	return LS_OK;
}

static ls_status prepare(struct ls_bench *b, struct ls_err *err)
{
	const char *tmp = getenv("TMPDIR");
	char self[PATH_MAX];
	ls_status st = ls_self_path(self, err);

	if (st)
		return st;
	if (!b->opt.bind)
		snprintf(b->cpus, sizeof(b->cpus), "none");
	snprintf(b->dir, sizeof(b->dir), "%s/lockstep-bench-XXXXXX", tmp && *tmp ? tmp : "/tmp");
	if (!mkdtemp(b->dir)) {
		st = ls_fail(err, LS_AGAIN, errno, "cannot make the directory %s", b->dir);
		b->dir[0] = '\0'; /* nothing to remove */
	}
	if (!st)
		st = ls_bench_contenders_make(b, self, err);
	if (!st)
		st = rows(b, err);
	if (!st)
		st = ls_signals_init(err);
	return st ? st : ls_bench_listen(b, err);
}

static ls_status report(const struct ls_bench *b, struct ls_err *err)
{
	struct ls_str text = { 0 };
	ls_status st = LS_OK;

	if (b->opt.json) {
		st = ls_bench_json(b, &text, err);
		puts(ls_str_text(&text));
	} else if (b->opt.csv) {
		ls_bench_show_csv(b);
	} else {
		ls_bench_show_end(b);
	}
	ls_str_release(&text);
	if (!st && b->opt.plot)
		st = ls_bench_plot(b, &text, err);
	if (!st && b->opt.plot)
		st = ls_file_publish(b->opt.plot, text.s, text.len, false, err);
	ls_str_release(&text);
	return st;
}

static void release(struct ls_bench *b)
{
	size_t i, k;
	int c;

	for (c = 0; c < b->n; c++) {
		ls_bench_stop(b, &b->contenders[c]);
		ls_strv_release(&b->contenders[c].argv);
		free(b->contenders[c].ranks);
	}
	for (i = 0; i < b->n_rows; i++) {
		for (k = 0; b->rows[i].series && k < (size_t)b->n * LS_BENCH_PLACES; k++)
			free(b->rows[i].series[k].us);
		free(b->rows[i].series);
	}
	free(b->rows);
	free(b->contenders);
	ls_strv_release(&b->opt.extra);
	ls_fd_close(&b->listener);
	if (b->dir[0])
		ls_remove_tree(b->dir, NULL);
}

static bool all_well(const struct ls_bench *b)
{
	int i;

	for (i = 0; i < b->n; i++)
		if (b->contenders[i].lost[0])
			return false;
	return !ls_bench_wrong(b);
}

int ls_bench_coll(int argc, char **argv)
{
	struct ls_bench b = { .listener = -1, .opt = { .begin = 4, .end = 64 << 20, .factor = 4, .warm = 2, .check = true, .bind = true, .timeout_s = 120,
		.backend = "auto", .buffers = "library", .python = "python3" } };
	struct ls_err err = LS_ERR_INIT;
	ls_status st;
	int code = 0;

	b.opt.dtypes[COLL_F32] = b.opt.ops[COLL_SUM] = true;
	st = find_cores(&b, &err);
	if (st)
		return ls_command_fail("bench", st, &err);
	code = parse(argc, argv, &b, &err);
	if (code < 0) {
		st = prepare(&b, &err);
		if (!st)
			st = measure_all(&b, &err);
		if (!st)
			st = report(&b, &err);
		code = st ? ls_command_fail("bench", st, &err) : !all_well(&b);
		code = ls_signals_last() ? 128 + ls_signals_last() : code;
	}
	release(&b);
	return code;
}
