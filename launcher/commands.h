/* commands.h -- the `lockstep` command is this table; each row is one file launcher/cmd_*.c.
 *
 * A command gets argv[0] = its own name, prints its result to stdout and its errors, once, to stderr as
 * "lockstep NAME: sentence", and returns the process's exit code: 0, 1 (it failed), 2 (usage). */
#ifndef LS_COMMANDS_H
#define LS_COMMANDS_H

#include "core/status.h"

#define LS_COMMANDS(X)                                                                                                 \
	X("run", cmd_run, "start a TrainingJob, or any program, on this machine or on hosts")                          \
	X("topo", cmd_topo, "show hosts as hwloc sees them, and where ranks would go and why")                         \
	X("ckpt", cmd_ckpt, "list, verify, clean up, export and import checkpoints")                                    \
	X("bench", cmd_bench, "measure what checkpoints cost on this machine")                                         \
	X("report", cmd_report, "write the HTML report of a job directory")                                            \
	X("explain", cmd_explain, "explain the fields of a TrainingJob")

/* Started by lockstep itself, not by people. */
#define LS_INTERNAL_COMMANDS(X)                                                                                        \
	X("rank", cmd_rank, "run one rank under the launcher's control")                                               \
	X("agent", cmd_agent, "hold the snapshots of this host's ranks while they die and start again")                \
	X("probe", cmd_probe, "describe this host to a launcher elsewhere")

#define X(name, fn, text) int fn(int argc, char **argv);
LS_COMMANDS(X)
LS_INTERNAL_COMMANDS(X)
#undef X

/* Print "lockstep NAME: err->text" and return 2 for LS_USAGE, 1 otherwise. */
int ls_command_fail(const char *name, ls_status st, const struct ls_err *err);

#endif
