/* reaper.h -- one small process per host that outlives the engine's daemon there, and then leaves the host as it was.
 *
 * Whatever dies first (launcher, mpirun, a daemon, every shim at once by SIGKILL), the reaper sees the engine's daemon go, kills
 * what still carries this attempt's LOCKSTEP_RUN_ID in its environment, removes the attempt's session directories, and ends. */
#ifndef LS_REAPER_H
#define LS_REAPER_H

#include "core/status.h"

#include <sys/types.h>

/* Forked by local rank 0. `engine`: the daemon that started the shims; `dirs`: ':'-separated. Returns in the caller only. */
ls_status ls_reaper_start(pid_t engine, const char *run_id, const char *dirs, struct ls_err *err);

#endif
