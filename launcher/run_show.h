/* run_show.h -- the plan of a run, for people: --dry-run and --report-bindings. */
#ifndef LS_RUN_SHOW_H
#define LS_RUN_SHOW_H

#include "launcher/attempt.h"

/* Hosts, ranks, cores, GPU, NIC, and why: a table. */
void ls_show_plan(const struct ls_plan *plan, struct ls_str *ret);
/* The whole of what would be started: plan, rank 0's environment, the engine's command line. */
void ls_show_dry_run(const struct ls_attempt_options *opt, struct ls_str *ret);
/* "4 ranks on hosts a, b": one line for the start. */
void ls_show_where(const struct ls_plan *plan, struct ls_str *ret);

#endif
