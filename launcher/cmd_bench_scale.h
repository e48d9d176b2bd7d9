/* cmd_bench_scale.h -- `lockstep bench scale`: the user's own job at several world sizes, in turn, and what its steps told.
 *
 *     cmd_bench_scale.c         options; the order of runs
 *     cmd_bench_scale_expr.c    --weak, --strong, --set, -x: arithmetic on the number of ranks, and where a value goes in the manifest
 *     cmd_bench_scale_run.c     one run: `lockstep run` in a directory of its own, watched until it has told enough, then ended
 *     cmd_bench_scale_seen.c    steps.csv -> the figures of a run: no I/O
 *     cmd_bench_scale_rows.c    runs -> a row for each world size, weak or strong, the laws' fits: no I/O
 *     cmd_bench_scale_show.c    table, CSV      cmd_bench_scale_json.c     cmd_bench_scale_page.c    the report
 *
 * A series is the job with one set of assignments ("as it is", --weak, --strong), a point is one world size of it, and each is run once a
 * round. A point that fails is left out of the rounds that follow, and keeps the figures that it has.
 *
 *   Ownership  struct ls_scale owns all below it; texts of the options are argv's.
 *   Threads    one. */
#ifndef LS_CMD_BENCH_SCALE_H
#define LS_CMD_BENCH_SCALE_H

#include "core/status.h"
#include "core/str.h"
#include "launcher/cmd_bench_coll.h"

#include <stdbool.h>

enum { LS_SCALE_POINTS = 32, LS_SCALE_SERIES = 2, LS_SCALE_WHY = 400 };

struct ls_scale_options {
	const char *file;
	int ranks[LS_SCALE_POINTS], n;      /* ascending */
	int repeats, warmup, timeout_s;
	long steps;                         /* a run is over when it has told so many after the warm-up … */
	double seconds;                     /* … and they took so long */
	const char *hosts, *hostfile;
	struct ls_strv weak, strong;        /* assignments of one series */
	struct ls_strv sets, env;           /* of all */
	const char *json, *csv, *report;    /* "-": standard output */
	char *const *rest;                  /* options for `lockstep run`; NULL: none */
};

/* How a row's work compares with that of the smallest world of its series, by the samples that the ranks told. */
enum ls_scale_kind {
	LS_SCALE_UNKNOWN,   /* a rank told none */
	LS_SCALE_BASE,      /* it is the smallest world */
	LS_SCALE_WEAK,      /* as many for each rank */
	LS_SCALE_STRONG,    /* as many for all ranks together */
	LS_SCALE_NEITHER
};

/* One run. NaN: not known. */
struct ls_scale_run {
	long steps;         /* that counted */
	bool early;         /* the job ended before it had told enough */
	double clock_s;     /* that they took, by the launcher's clock */
	double step_ms;     /* the slowest rank's; the median of the steps */
	double covered;     /* the steps' own times, for each second of the clock */
	double samples;     /* of all ranks in a step */
	double rate;        /* samples in a second of the clock */
	double waiting;     /* the part of the steps' time that went into communication */
	int telling;        /* ranks that told steps */
};

struct ls_scale_point {
	int ranks, hosts;
	bool shares_core, shares_gpu;
	struct ls_scale_run *runs;          /* [repeats]; the first n are of rounds 0 to n-1 */
	int n;
	char failed[LS_SCALE_WHY];          /* why it is not tried any more; "": it is */
	/* made by ls_scale_fold: */
	enum ls_scale_kind kind;
	double samples;
	struct ls_bench_stats step_ms, rate, speedup, efficiency, waiting, covered;
};

/* speed-up = 1 / (serial + (1 - serial) / ranks), or ranks - serial * (ranks - 1) */
struct ls_scale_fit {
	bool there;
	double serial, worst;               /* the share; the largest relative deviation of a point's time or efficiency */
	int points;
};

struct ls_scale_series {
	const char *asked;                  /* "weak", "strong", or "": the job as it is */
	const struct ls_strv *assigned;
	struct ls_scale_point points[LS_SCALE_POINTS];
	int base;                           /* the point that the others are compared with; -1: none was measured */
	enum ls_scale_kind kind;            /* of all its points; LS_SCALE_NEITHER: of some */
	struct ls_scale_fit amdahl, gustafson;
};

struct ls_scale {
	struct ls_scale_options opt;
	struct ls_scale_series series[LS_SCALE_SERIES];
	int n_series;
	char name[256], dir[256], self[PATH_MAX];  /* the job's; of the runs; this command */
};

/* --- cmd_bench_scale_expr.c --- */
struct ls_scale_names { int ranks, hosts; };
/* `text` with each {EXPRESSION} replaced by its value. Braces around anything else (YAML's {steps: 200}) stay. LS_USAGE. */
ls_status ls_scale_expand(const char *text, const struct ls_scale_names *names, struct ls_str *ret, struct ls_err *err);
/* The words for `lockstep run` by which the manifest gets all of the series' and everybody's assignments. */
ls_status ls_scale_assign(const struct ls_scale_options *opt, const struct ls_strv *series, const struct ls_scale_names *names, struct ls_strv *ret,
	struct ls_err *err);

/* --- cmd_bench_scale_seen.c --- */
struct ls_scale_seen;
struct ls_scale_seen *ls_scale_seen_new(int world); /* NULL: no memory */
void ls_scale_seen_free(struct ls_scale_seen *s);
/* More bytes of steps.csv, cut anywhere. */
ls_status ls_scale_seen_feed(struct ls_scale_seen *s, const char *bytes, size_t len, struct ls_err *err);
/* How many steps all ranks that tell steps have told after the warm-up, how long they took, and whether these are all ranks. */
long ls_scale_seen_steps(const struct ls_scale_seen *s, int warmup, double *ret_seconds, bool *ret_all);
/* The figures. LS_DATA_BAD, with the reason: there are none. */
ls_status ls_scale_seen_run(const struct ls_scale_seen *s, int warmup, struct ls_scale_run *ret, struct ls_err *err);

/* --- cmd_bench_scale_run.c --- */
/* How many of the hosts get how many ranks each. LS_USAGE. */
struct ls_hosts;
ls_status ls_scale_deal(const struct ls_hosts *hosts, int ranks, int *ret_hosts, struct ls_err *err);
/* The command line of a point's run in `dir`. */
ls_status ls_scale_command(const struct ls_scale *s, const struct ls_scale_series *series, const struct ls_scale_point *p, const char *dir,
	struct ls_strv *ret, struct ls_err *err);
/* Runs it; fills the next of p->runs, or p->failed. LS_AGAIN: stopped by a signal, or no memory. */
ls_status ls_scale_run(struct ls_scale *s, const struct ls_scale_series *series, struct ls_scale_point *p, int round, struct ls_err *err);

/* --- cmd_bench_scale_rows.c --- */
void ls_scale_fold(struct ls_scale_series *s, int n);
bool ls_scale_clean(const struct ls_scale_point *p);                     /* measured, and no rank shares a core or a GPU */
/* The largest world that efficiency can be told of: clean, as is the base, and not the base. NULL. */
const struct ls_scale_point *ls_scale_best(const struct ls_scale_series *s, int n);
const char *ls_scale_kind_name(enum ls_scale_kind k);
/* Sentences that a reader of the figures must know, one each. */
void ls_scale_notes(const struct ls_scale *s, const struct ls_scale_series *series, struct ls_strv *ret);
/* "" if there is none. */
void ls_scale_fit_text(const struct ls_scale_series *s, struct ls_str *ret);

/* --- cmd_bench_scale_show.c, …_json.c, …_page.c --- */
void ls_scale_title(const struct ls_scale_series *series, struct ls_str *ret); /* "strong scaling: 96 samples a step over all ranks" */
void ls_scale_table(const struct ls_scale *s, struct ls_str *ret);
void ls_scale_csv(const struct ls_scale *s, struct ls_str *ret);
ls_status ls_scale_json(const struct ls_scale *s, struct ls_str *ret, struct ls_err *err);
void ls_scale_page(const struct ls_scale *s, struct ls_str *ret);

int ls_bench_scale(int argc, char **argv);

#endif
