/* pod.h -- where the runtime is in a Pod, and the commands that the Pods of a job start in each other.
 *
 *   lockstep dial NAME 'PATH=…; …/orted -mca …'  ──["orted", "-mca", …]──>  lockstep agent --pod: its own orted
 *
 * No path and no variable goes over the connection: the worker runs its own `lockstep probe`, or its own Open MPI's daemon, or nothing. */
#ifndef LS_POD_H
#define LS_POD_H

#include "launcher/engine.h"

#include <limits.h>

/* The runtime's Open MPI (openmpi/ beside this program's bin/), else the one that ls_engine_find() finds. The runtime's is not where it was
 * built for: its variables are set in this process, and so in what it starts. */
ls_status ls_pod_engine(struct ls_engine *ret, struct ls_err *err);
/* The folder that holds this program's bin/. */
ls_status ls_pod_runtime(char ret[PATH_MAX], struct ls_err *err);

/* The shell command that Open MPI (4.1, 5) or probe.c hands to a remote shell, as words: what sets variables is left out, and so is the path
 * of the program. LS_USAGE: anything that only a shell understands. */
ls_status ls_pod_command(const char *text, struct ls_strv *ret, struct ls_err *err);
/* In the worker: what these words may start, as an argv; LS_USAGE: nothing. */
ls_status ls_pod_argv(const struct ls_strv *words, const char *self, const struct ls_engine *engine, struct ls_strv *ret, struct ls_err *err);

const char *ls_pod_daemon(const struct ls_engine *engine); /* "orted", "prted" */

/* How many of Open MPI's daemons, and reapers after them, this agent has. `tell`: their ranks get the notice that the host goes (reaper.h). */
int ls_pod_notice(const struct ls_engine *engine, bool tell);

int cmd_pod_agent(void); /* `lockstep agent --pod` */

#endif
