/* predict.h -- how long a data-parallel step takes on a world that is not at hand: formulas, no I/O. docs/predict.md has each with its source.
 *
 *     predict.c         one collective on a described net: alpha-beta, the cheapest of its ways
 *     predict_step.c    buckets, overlap, stragglers: one step
 *     predict_fit.c     alpha and beta from measured times
 *     predict_read.c    the described net from YAML
 *     predict_profile.c what was measured: JSON of `lockstep bench`, a run's directory, a model's tensors
 *     predict_check.c   predictions beside published figures
 *     cmd_bench_predict*.c  the command
 *
 *   Units      seconds, bytes, bytes a second.
 *   Ownership  nets are plain data; what a _release names owns its arrays.
 *   Threads    no shared state. */
#ifndef LS_PREDICT_H
#define LS_PREDICT_H

#include "core/status.h"

#include <stdbool.h>
#include <stddef.h>

enum ls_pred_algorithm { LS_PRED_RING, LS_PRED_HALVING, LS_PRED_DIRECT, LS_PRED_RAILS, LS_PRED_TREE, LS_PRED_SWITCH, LS_PRED_ALGORITHMS };
enum ls_pred_op { LS_PRED_ALL_REDUCE, LS_PRED_REDUCE_SCATTER, LS_PRED_ALL_GATHER };

/* One way to carry out a collective: an algorithm with a protocol. */
struct ls_pred_way {
	enum ls_pred_algorithm algorithm;
	char protocol[16];
	double start_s;                  /* of an operation, once */
	double intra_s, inter_s;         /* alpha: of a step inside a node, and between nodes */
	double intra_share, inter_share; /* of the link's bandwidth that it reaches */
};

enum { LS_PRED_WAYS = 32 };

struct ls_pred_net {
	char name[160];
	int per_node, nodes;   /* ranks in a node; how many nodes there are */
	double intra_bw;       /* that one rank sends inside a node, one direction; the additions are in it where add_bw is 0 */
	double intra_total_bw; /* of all ranks of a node together; 0: no such limit */
	double switch_bw;      /* at which a switch that adds takes a rank's bytes; 0: it does not */
	double nic_bw;         /* of one NIC, one direction; 0: one node only */
	int nics;
	double oversubscription; /* of the fabric; 1: none */
	double add_bw;         /* at which a rank adds; 0: in the others */
	double error;          /* relative, of a predicted collective: of the fit, or as the file says */
	struct ls_pred_way ways[LS_PRED_WAYS];
	int n_ways;
};

const char *ls_pred_algorithm_name(enum ls_pred_algorithm a);
bool ls_pred_algorithm_find(const char *name, enum ls_pred_algorithm *ret);

/* Whole nodes, or a part of one. LS_USAGE: such a number of ranks does not fit the net. */
ls_status ls_pred_fits(const struct ls_pred_net *net, int ranks, struct ls_err *err);
/* One way; infinite where it cannot do this. `ranks` fit. */
double ls_pred_way_s(const struct ls_pred_net *net, const struct ls_pred_way *way, enum ls_pred_op op, int ranks, double bytes);
/* The cheapest way; 0 for one rank. *ret_way (NULL: not wanted) may become NULL. Infinite: no way can. */
double ls_pred_collective_s(const struct ls_pred_net *net, enum ls_pred_op op, int ranks, double bytes, const struct ls_pred_way **ret_way);

/* --- predict_step.c --- */

/* none: all-reduce of gradients. zero2: their reduce-scatter, and an all-gather of the parameters for forward. zero3: these, and an
 * all-gather for backward. */
enum ls_pred_shard { LS_PRED_NONE, LS_PRED_ZERO2, LS_PRED_ZERO3 };

struct ls_pred_job {
	double *buckets;           /* bytes of gradients, in the order of backward */
	int n_buckets;
	enum ls_pred_shard shard;
	double gather_ratio;       /* bytes of parameters gathered, for each of gradients */
	double compute_s;          /* forward and backward of one rank, the mean */
	double backward;           /* the part of it that is backward */
	double optimizer_s;
	bool overlap;
	int strong_of;             /* 0: each rank keeps its batch; else compute_s is that of so many ranks, which share one batch */
	double spread;             /* normal: the standard deviation of compute over its mean; used without samples */
	const double *samples;     /* measured compute, ascending; NULL: none */
	size_t n_samples;
};

struct ls_pred_point {
	int ranks, nodes;
	double compute_s;          /* mean of one rank */
	double waits_s;            /* for the slowest rank: the expected maximum less the mean */
	double comm_s;             /* of all collectives, back to back */
	double exposed_s;          /* of these, what is not under compute */
	double step_s, low_s, high_s;
	double efficiency;         /* compute_s + optimizer_s over step_s */
	const struct ls_pred_way *way; /* of the largest bucket; NULL: one rank */
};

/* Expected maximum of n standard normal variables (Blom). */
double ls_pred_normal_max(double n);
/* Expected maximum of n draws from what was measured, ascending. Never above the largest of them. */
double ls_pred_sample_max(const double *samples, size_t n_samples, double n);
/* What of one step's communication is not under compute; no stragglers, no optimizer. `scale` lengthens all collectives. */
double ls_pred_exposed_s(const struct ls_pred_net *net, const struct ls_pred_job *job, int ranks, double compute_s, double scale,
	double *ret_comm_s);
/* LS_USAGE: the ranks do not fit the net, or nothing there can carry out a collective. */
ls_status ls_pred_step(const struct ls_pred_net *net, const struct ls_pred_job *job, int ranks, struct ls_pred_point *ret, struct ls_err *err);

/* --- predict_fit.c --- */

struct ls_pred_sample {
	int ranks;
	double bytes, seconds;
};

struct ls_pred_fit {
	double alpha_s, bandwidth;
	double rms, worst;  /* relative errors over all samples */
	double left_out;    /* rms of predictions of one size from all others; NaN: fewer than 3 sizes */
};

/* Least squares of relative errors, alpha and 1/bandwidth not below 0. `a` must be ring, halving or direct. */
ls_status ls_pred_fit(enum ls_pred_algorithm a, const struct ls_pred_sample *s, size_t n, struct ls_pred_fit *ret, struct ls_err *err);
/* The fit's own prediction for one sample. */
double ls_pred_fit_s(enum ls_pred_algorithm a, const struct ls_pred_fit *fit, int ranks, double bytes);

/* --- predict_read.c --- */

/* Numbers and texts of a map, with errors that name the line. LS_USAGE: it is missing, of another type or out of bounds. */
struct ls_node;
struct ls_pred_reader {
	const char *path;
	struct ls_err *err;
	ls_status st;       /* of the first failure; later reads do nothing and give 0 or "" */
};
double ls_pred_number(struct ls_pred_reader *r, const struct ls_node *map, const char *key, double low, double high);
/* `absent` where there is none. */
double ls_pred_number_or(struct ls_pred_reader *r, const struct ls_node *map, const char *key, double low, double high, double absent);
const char *ls_pred_text(struct ls_pred_reader *r, const struct ls_node *map, const char *key);
/* Fails for a key that is not in the NULL-terminated list. */
void ls_pred_keys(struct ls_pred_reader *r, const struct ls_node *map, const char *const *keys);
/* An index into `words`, or 0 and a failure. */
int ls_pred_word(struct ls_pred_reader *r, const struct ls_node *map, const char *key, const char *const *words);

/* A whole file that an option named. LS_USAGE: it is not there, or is no file. */
struct ls_str;
ls_status ls_pred_file_read(const char *option, const char *path, size_t most, struct ls_str *ret, struct ls_err *err);
ls_status ls_pred_net_parse(const char *path, const char *text, size_t len, struct ls_pred_net *ret, struct ls_err *err);
/* A path, or the name of a preset: bench/topologies/NAME.yaml. */
ls_status ls_pred_net_read(const char *name, struct ls_pred_net *ret, struct ls_err *err);

/* --- predict_profile.c --- */

/* What `lockstep bench all-reduce --json` wrote. */
struct ls_pred_measured {
	bool inter;                     /* one rank on each host; else all on one */
	enum ls_pred_algorithm algorithm;
	struct ls_pred_sample *samples; /* owned */
	size_t n;
	char name[64];                  /* of the contender */
};
/* `algorithm` LS_PRED_ALGORITHMS: from the file, which is enough for Lockstep's own. */
ls_status ls_pred_measured_read(const char *path, const char *contender, enum ls_pred_algorithm algorithm, struct ls_pred_measured *ret,
	struct ls_err *err);
void ls_pred_measured_release(struct ls_pred_measured *m);

struct ls_pred_run {
	double *compute;                /* seconds of each step and rank, ascending; owned */
	size_t n;
	double mean, batch;             /* of compute; samples of a rank and step, 0: not reported */
	int ranks;
};
/* A run's directory: its steps.csv, the first step of each rank left out. */
ls_status ls_pred_run_read(const char *dir, struct ls_pred_run *ret, struct ls_err *err);
void ls_pred_run_release(struct ls_pred_run *run);

/* Tensors of bench/models/NAME.csv, last first, fused up to `bucket` bytes as DDP does; owned by the caller. */
ls_status ls_pred_model_read(const char *path, double element, double bucket, double **ret, int *ret_n, struct ls_err *err);
/* `bytes` in equal buckets of at most `bucket`. */
ls_status ls_pred_equal_buckets(double bytes, double bucket, double **ret, int *ret_n, struct ls_err *err);

/* --- predict_check.c: `--validate` --- */
ls_status ls_pred_check(const char *path, bool json, struct ls_err *err);

#endif
