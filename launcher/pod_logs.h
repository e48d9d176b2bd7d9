/* pod_logs.h -- logs that outlive the launcher's Pod: what the job's directory knows of an attempt is put beside the checkpoints (core/store.h).
 *
 *     PREFIX/logs/attempt-3/   rank-00000.log …, engine.log, and, as they are then, steps.csv, job.json, report.html
 *
 * At most LS_POD_LOG_MAX of a file: its last part, which its first line says. Nothing depends on it: what does not work is a warning. */
#ifndef LS_POD_LOGS_H
#define LS_POD_LOGS_H

#include "core/status.h"

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <sys/types.h>

enum { LS_POD_LOG_MAX = 64 << 20 };

/* Can logs be kept there? s3://, or a file:// directory that is there and may be written. */
bool ls_pod_logs_place(const char *uri);
/* One file of the job's directory, by its path below it, to `key`. One that is not there is fine. */
struct ls_store;
ls_status ls_pod_logs_put(struct ls_store *s, const char *dir, const char *name, const char *key, struct ls_err *err);
/* A process that puts the logs of job.json's attempts [from, to) and ends: with 0, or with another code and a warning on stderr. */
ls_status ls_pod_logs_start(const char *dir, const char *uri, const cJSON *job, int from, int to, pid_t *ret, struct ls_err *err);

#endif
