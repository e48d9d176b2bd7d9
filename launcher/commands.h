/* commands.h -- the `lockstep` command is this table; each row is one file launcher/cmd_*.c, or operator/cmd_*.c for what speaks to a cluster.
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
	X("bench", cmd_bench, "measure collectives, networks, checkpoints, how a job scales; predict step times")       \
	X("submit", cmd_submit, "give a TrainingJob to a Kubernetes cluster; --follow it like a local run")              \
	X("get", cmd_get, "list the TrainingJobs of a cluster, or its nodes' topologies")                              \
	X("describe", cmd_describe, "show one TrainingJob: workers, progress, failures, events")                        \
	X("logs", cmd_logs, "print what a TrainingJob's ranks wrote")                                                  \
	X("wait", cmd_wait, "wait until a TrainingJob is in a state")                                                  \
	X("suspend", cmd_suspend, "save and release the Pods of TrainingJobs")                                         \
	X("resume", cmd_resume, "let suspended TrainingJobs go on from their checkpoints")                             \
	X("delete", cmd_delete, "end and remove TrainingJobs")                                                         \
	X("report", cmd_report, "write the HTML report of a job directory")                                            \
	X("explain", cmd_explain, "explain the fields of a TrainingJob")                                               \
	X("operator", cmd_operator, "run the TrainingJobs of a Kubernetes cluster")

/* Started by lockstep itself, not by people. */
#define LS_INTERNAL_COMMANDS(X)                                                                                        \
	X("rank", cmd_rank, "run one rank under the launcher's control")                                               \
	X("agent", cmd_agent, "hold the snapshots of this host's ranks while they die and start again")                \
	X("dial", cmd_dial, "run a command in a worker's Pod, in ssh's place")                                         \
	X("launcher", cmd_launcher, "the launcher's Pod: take the operator's orders, and run the job")                 \
	X("runtime", cmd_runtime, "copy the runtime into a Pod's volume")                                              \
	X("probe", cmd_probe, "describe this host to a launcher elsewhere")

#define X(name, fn, text) int fn(int argc, char **argv);
LS_COMMANDS(X)
LS_INTERNAL_COMMANDS(X)
#undef X

/* `lockstep agent --node`: operator/cmd_node.c. */
int cmd_agent_node(int argc, char **argv);

/* Print "lockstep NAME: err->text" and return 2 for LS_USAGE, 1 otherwise. */
int ls_command_fail(const char *name, ls_status st, const struct ls_err *err);

#endif
