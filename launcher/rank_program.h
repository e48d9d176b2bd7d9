/* rank_program.h -- from the launcher's GO to a running program: bound, in its directory, with its environment, its output and
 * events on pipes of the shim. Used by cmd_rank.c.
 *
 * Start the program and learn whether exec itself worked: end-of-file on a close-on-exec pipe means that it runs. Without it a
 * mistyped path looks like a crash and burns the restart budget.
 *
 *   Ownership  the caller waits for pid (a process group of its own, killed with the caller) and closes the pipes.
 *   Errors     LS_USAGE: directory, cores or program, with the reason; LS_AGAIN: no process or pipe to be had. Nothing runs then. */
#ifndef LS_RANK_PROGRAM_H
#define LS_RANK_PROGRAM_H

#include "core/status.h"

#include <cjson/cJSON.h>
#include <sys/types.h>

struct ls_program {
	pid_t pid;
	int pipes[3]; /* its stdout, stderr, events (core/event.h); non-blocking */
};

ls_status ls_program_start(const cJSON *go, struct ls_program *ret, struct ls_err *err);

#endif
