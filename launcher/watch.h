/* watch.h -- what is seen of a run: the terminal, the logs, the step table, the facts for job.json.
 *
 *     JOBDIR/attempt-N/rank-00003.log   everything the rank wrote, as it wrote it
 *     JOBDIR/steps.csv                  LS_STEPS_HEADER, then one row per rank and finished step
 *
 * Facts come from the ranks' own words (core/event.h) and are kept as they arrive: nothing is estimated but rate and ETA.
 * The terminal gets the programs' lines prefixed by "[rank] ", and on a terminal one live progress line below them;
 * otherwise a plain progress line every few seconds.
 *
 *   Threads    one. Writes to a terminal that does not read end when *stop is set or deadline_ms has passed. */
#ifndef LS_WATCH_H
#define LS_WATCH_H

#include "core/status.h"
#include "core/str.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum { LS_TAIL_LINES = 20 };

struct ls_watch_options {
	const char *dir;
	bool quiet;           /* no progress, no launcher's words but errors */
	bool no_prefix;       /* programs' lines as they are */
	const volatile int *stop;
	int64_t deadline_ms;  /* the job's; 0: none */
};

struct ls_rank_view {         /* one rank of the current attempt, as it told of itself */
	bool uses_lib;        /* said hello */
	int lib_world;        /* its MPI world, 0 unknown */
	long long step;       /* last finished step, 0 none */
	int64_t alive_ms;     /* last progress (or, any output) */
	char error[1024];     /* its own last words ("error" event), "" none */
	char error_status[32];
	bool stopping;        /* saved and left after a termination notice */
};

struct ls_saved { long long step, bytes; double ms, stall_ms; char time[32]; char uri[512]; };
struct ls_skipped { long long step; char why[512]; };
struct ls_result { char name[64]; double value; };

struct ls_watch;

ls_status ls_watch_open(const struct ls_watch_options *opt, struct ls_watch **ret, struct ls_err *err);
void ls_watch_close(struct ls_watch *w);

/* A new attempt with `world` ranks; makes its directory. */
ls_status ls_watch_attempt(struct ls_watch *w, unsigned attempt, int world, struct ls_err *err);
void ls_watch_output(struct ls_watch *w, int rank, int stream, const char *bytes, size_t len);
void ls_watch_event(struct ls_watch *w, int rank, const char *bytes, size_t len);
void ls_watch_rank_ended(struct ls_watch *w, int rank); /* a last line without newline is a line, too */
void ls_watch_stacks(struct ls_watch *w, int rank, const char *text, size_t len);
void ls_watch_tick(struct ls_watch *w);                 /* redraw; flush the files */
/* The launcher's own words, on stderr: "lockstep: …". `always`: also when quiet. */
void ls_watch_say(struct ls_watch *w, bool always, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void ls_watch_warn(struct ls_watch *w, const char *fmt, ...) __attribute__((format(printf, 2, 3))); /* kept for the report */

const struct ls_rank_view *ls_watch_rank(const struct ls_watch *w, int rank);
/* The last lines of a rank, oldest first; appended to *ret. */
void ls_watch_tail(const struct ls_watch *w, int rank, struct ls_strv *ret);

/* Facts so far. Lists are borrowed. */
struct ls_facts {
	long long step;          /* furthest finished step of this attempt (of rank 0, else of any) */
	long long total;         /* 0 unknown */
	long long resumed;       /* step this attempt resumed from */
	long long generation;    /* the newest that an attempt of this run claimed; 0: none */
	double loss;             /* NAN unknown */
	double rate;             /* samples/s over the last seconds; 0 unknown */
	double eta_s;            /* < 0 unknown */
	double waiting;          /* which part of the steps' time went into communication, all ranks; NAN unknown */
	const struct ls_saved *saved;
	size_t n_saved;
	const struct ls_skipped *skipped;
	size_t n_skipped;
	const struct ls_result *results;
	size_t n_results;
	const struct ls_strv *warnings;
};
void ls_watch_facts(const struct ls_watch *w, struct ls_facts *ret);

#endif
