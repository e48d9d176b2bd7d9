/* job_dir.h -- a job's directory belongs to one launcher at a time: two would restart each other's ranks for ever. */
#ifndef LS_JOB_DIR_H
#define LS_JOB_DIR_H

#include "core/status.h"

#include <stdbool.h>

/* Make and lock it; *ret_lock holds it until it is closed, also by the process's end. `fresh`: what is there is set aside first, under
 * another name. LS_USAGE: another launcher is at work in it, and nothing was touched. */
ls_status ls_job_dir_take(const char *dir, bool fresh, int *ret_lock, struct ls_err *err);

#endif
