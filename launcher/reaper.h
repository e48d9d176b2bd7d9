/* reaper.h -- one small process per host that outlives the engine's daemon there, and then leaves the host as it was.
 *
 * Whatever dies first (launcher, mpirun, a daemon, every shim at once by SIGKILL), the reaper sees the engine's daemon go, kills
 * what still carries this attempt's LOCKSTEP_RUN_ID in its environment, removes the attempt's session directories, and ends. */
#ifndef LS_REAPER_H
#define LS_REAPER_H

#include "core/status.h"

#include <signal.h>
#include <stdbool.h>
#include <sys/types.h>

#define LS_REAPER_NAME "lockstep-reaper" /* to ps; 15 bytes at most */

/* To a shim: its host is about to go. Its program gets SIGTERM, and SIGKILL after the job's grace; whatever it makes of it, the attempt is
 * no success, and is worth another one. */
#define LS_SHIM_NOTICE SIGPWR

/* Forked by local rank 0. `engine`: the daemon that started the shims; `dirs`: ':'-separated. Returns in the caller only. */
ls_status ls_reaper_start(pid_t engine, const char *run_id, const char *dirs, struct ls_err *err);

/* Is it a shim (`lockstep rank`)? */
bool ls_process_is_shim(pid_t pid);
/* Its parent, and its name; 0: there is no such process. */
pid_t ls_process_parent(pid_t pid, char ret_name[16]);

#endif
