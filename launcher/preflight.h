/* preflight.h -- all hosts are measured before a job: `lockstep bench net`, `lockstep run --preflight` (docs/preflight.md).
 *
 *     lockstep run … bench-net_rank      a run like any other, so by the same ssh, mpirun and places as the job's
 *       its rank 0 prints lines of JSON ──> struct ls_net ──> ls_net_judge
 *
 *   Ownership  the caller's struct ls_net; ls_net_release(), also after an error. */
#ifndef LS_PREFLIGHT_H
#define LS_PREFLIGHT_H

#include "core/net.h"

#include <stdio.h>

struct ls_preflight_options {
	const struct ls_strv *run;   /* options of `lockstep run`: hosts, places, how to get there */
	double seconds;              /* of measuring, about */
	double below;                /* as in struct ls_net_limits */
	int timeout_s;               /* of all of it; 0: by the seconds */
	void (*say)(const char *what); /* what is under way; NULL */
};

/* LS_USAGE: as the run says. LS_AGAIN: stopped by a signal (ls_signals_init() comes first). LS_NODE_LOST: it failed, or took too long. */
ls_status ls_preflight_run(const struct ls_preflight_options *opt, struct ls_net *ret, struct ls_err *err);

/* Tables, findings, verdict. */
void ls_preflight_show(const struct ls_net *net, const struct ls_net_verdict *verdict, FILE *out);

/* cmd_bench_net.c */
int ls_bench_net(int argc, char **argv);

#endif
