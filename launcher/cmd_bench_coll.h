/* cmd_bench_coll.h -- `lockstep bench all-reduce` and the other operations: how fast a library carries them out, or several in turn.
 *
 *     cmd_bench_coll.c         options; the order of measurements
 *     cmd_bench_coll_rows.c    sizes, formulas, statistics: no I/O
 *     cmd_bench_coll_start.c   contenders' command lines, their processes
 *     cmd_bench_coll_ranks.c   the conversation with ranks (bench/coll_wire.h)
 *     cmd_bench_coll_gpu.c     what is different with --device cuda
 *     cmd_bench_coll_show.c    tables, CSV      cmd_bench_coll_json.c     cmd_bench_coll_plot.c    a picture
 *
 * A contender is one library with its settings, started once as `np` ranks. While another is measured its ranks sleep. One that dies or
 * does not answer is lost: the others go on.
 *
 *   Ownership  struct ls_bench owns all below it; texts of the options are argv's.
 *   Threads    one. */
#ifndef LS_CMD_BENCH_COLL_H
#define LS_CMD_BENCH_COLL_H

#include "bench/coll_wire.h"
#include "core/status.h"
#include "core/str.h"

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/types.h>

enum ls_bench_place { LS_BENCH_OUT, LS_BENCH_IN, LS_BENCH_PLACES }; /* out of place, in place */

struct ls_bench_options {
	enum coll_kind kind;
	size_t begin, end, step;       /* bytes; step 0: by the factor */
	double factor;
	bool dtypes[COLL_DTYPES], ops[COLL_OPS], places[LS_BENCH_PLACES];
	int root, np, rounds, warm, timeout_s;
	long iters;                    /* 0: as many as take LS_BENCH_TARGET_S */
	bool check, json, csv, oversubscribe, bind;
	bool cuda;                     /* buffers in GPUs' memory */
	const char *backend, *algorithm, *buffers, *hosts, *hostfile, *compare, *plot, *python;
	struct ls_strv extra;          /* NAME=COMMAND */
};
#define LS_BENCH_TARGET_S 0.05

/* What one contender needed for one operation in one place. */
struct ls_bench_series {
	double *us;                    /* [rounds]; the n first are filled, or as the contender was lost, fewer */
	int n;
	size_t wrong;
	long iters;
	char algorithm[32], unsupported[160];
};

struct ls_bench_row {
	enum coll_dtype dtype;
	enum coll_op op;
	size_t bytes, count;           /* of the operation, as docs/benchmarks.md has it; of coll_wire.h */
	struct ls_bench_series *series; /* [contenders][LS_BENCH_PLACES] */
};

struct ls_bench_rank {
	int fd, pid, cpu;
	char host[64], device[96], line[1024];
	size_t len;
};

struct ls_bench_contender {
	char name[48], library[64], lost[1400]; /* lost: why; "": it lives */
	bool told;                     /* that it is lost */
	struct ls_strv argv;
	pid_t pid;                     /* 0: ended, or not started */
	struct ls_bench_rank *ranks;   /* [np] */
};

struct ls_bench {
	struct ls_bench_options opt;
	struct ls_bench_contender *contenders;
	int n, cores, gpus;            /* cores, GPUs: that this process may use here */
	struct ls_bench_row *rows;
	size_t n_rows;
	int listener;
	char token[33], at[1024], cpus[1024], dir[256];
};

struct ls_bench_stats { double median, min, max; };

/* --- cmd_bench_coll_rows.c --- */
const char *ls_bench_kind_name(enum coll_kind k);
const char *ls_bench_dtype_name(enum coll_dtype d);
const char *ls_bench_op_name(enum coll_op o);
/* "allreduce", "all-reduce". false: no such operation. */
bool ls_bench_kind_find(const char *word, enum coll_kind *ret);
/* Words with commas, also nccl-tests' ("float"), or "all". */
ls_status ls_bench_dtypes_parse(const char *words, bool ret[COLL_DTYPES], struct ls_err *err);
ls_status ls_bench_ops_parse(const char *words, bool ret[COLL_OPS], struct ls_err *err);
/* "4096", "4K", "1.5M", "1G"; powers of 1024. */
ls_status ls_bench_size_parse(const char *text, size_t *ret, struct ls_err *err);
bool ls_bench_reduces(enum coll_kind k);
/* All rows that the options ask for; LS_USAGE if that is none. */
ls_status ls_bench_rows_make(const struct ls_bench_options *opt, struct ls_bench_row **ret, size_t *ret_n, struct ls_err *err);
double ls_bench_algbw(size_t bytes, double us);                         /* GB/s, of 10^9 bytes; 0 for no bytes */
double ls_bench_busbw(enum coll_kind k, int world, size_t bytes, double us);
struct ls_bench_stats ls_bench_stats_of(const double *v, int n);        /* n 0: NaN */
/* Of v[i] / base[i], as far as both go. */
struct ls_bench_stats ls_bench_ratio_of(const double *v, int n, const double *base, int n_base);
long ls_bench_iters(const struct ls_bench_options *opt, double seconds_each);

/* --- cmd_bench_coll_start.c --- */
/* "shm,mpi/user" … of --compare, --contender or --backend; fills b->contenders. */
ls_status ls_bench_contenders_make(struct ls_bench *b, const char *self, struct ls_err *err);
ls_status ls_bench_start(struct ls_bench *b, struct ls_bench_contender *c, struct ls_err *err);
/* Asks it to end, then makes it. NULL-safe where nothing was started. */
void ls_bench_stop(struct ls_bench *b, struct ls_bench_contender *c);
/* The end of what it printed, as part of a sentence. */
void ls_bench_log_tail(const struct ls_bench *b, const struct ls_bench_contender *c, char *ret, size_t size);
bool ls_bench_ended(struct ls_bench_contender *c); /* its first process */

/* --- cmd_bench_coll_gpu.c --- */
/* Counts GPUs, for --device cuda; LS_USAGE: there is none here, or the options do not go with GPUs. */
ls_status ls_bench_gpu_options(struct ls_bench *b, struct ls_err *err);
/* Ranks that say they compute on one GPU: "ranks 0, 1 on GPU-…", or "". */
void ls_bench_gpu_shared(const struct ls_bench *b, const struct ls_bench_contender *c, struct ls_str *ret);

/* --- cmd_bench_coll_ranks.c --- */
ls_status ls_bench_listen(struct ls_bench *b, struct ls_err *err);
/* Until all its ranks said hello, or c->lost says why not. LS_AGAIN: stopped by a signal; all the same below. */
ls_status ls_bench_meet(struct ls_bench *b, struct ls_bench_contender *c, struct ls_err *err);
struct ls_bench_answer { double seconds; size_t wrong; char algorithm[32], unsupported[160]; };
ls_status ls_bench_ask(struct ls_bench *b, struct ls_bench_contender *c, const char *line, struct ls_bench_answer *ret, struct ls_err *err);

/* --- cmd_bench_coll_show.c, …_json.c, …_plot.c --- */
struct ls_bench_series *ls_bench_series_at(const struct ls_bench *b, const struct ls_bench_row *row, int contender, enum ls_bench_place place);
void ls_bench_show_head(const struct ls_bench *b);
void ls_bench_show_shared(const struct ls_bench *b, FILE *out, const char *before); /* ranks that share a GPU: a line for each contender */
void ls_bench_show_row(const struct ls_bench *b, const struct ls_bench_row *row);
void ls_bench_show_end(const struct ls_bench *b);
void ls_bench_show_csv(const struct ls_bench *b);
void ls_bench_hosts(const struct ls_bench *b, struct ls_str *ret);      /* "a, b" */
double ls_bench_average(const struct ls_bench *b, int contender);       /* bus bandwidth over all rows and places; NaN */
size_t ls_bench_wrong(const struct ls_bench *b);
ls_status ls_bench_json(const struct ls_bench *b, struct ls_str *ret, struct ls_err *err);
ls_status ls_bench_plot(const struct ls_bench *b, struct ls_str *ret, struct ls_err *err);

/* cmd_bench.c: bench/NAME beside the command in a build folder, libexec/lockstep/bench-NAME when installed. */
ls_status ls_bench_program(char ret[PATH_MAX], const char *name, struct ls_err *err);

/* cmd_bench.c: behind getopt's sentence on a wrong option. Returns 2, the exit code. */
int ls_bench_usage(const char *what);

/* cmd_bench.c: can PATH (NULL, or "-": nothing to ask) be written? Asked before the measuring, which may take hours. Makes no file. */
ls_status ls_bench_output_check(const char *option, const char *path, struct ls_err *err);
int ls_bench_coll(int argc, char **argv);
/* cmd_bench_coll.c: the first `len` characters of an option's value, a whole number in this range; LS_USAGE names the option. */
ls_status ls_bench_whole(const char *name, const char *text, size_t len, long low, long high, long *ret, struct ls_err *err);
ls_status ls_bench_whole_int(const char *name, const char *text, int low, int high, int *ret, struct ls_err *err);

#endif
