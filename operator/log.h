/* log.h -- the operator's log: one JSON object a line on standard error.
 *
 *     {"time":"2026-01-31T12:00:00Z","level":"info","msg":"the job is over","job":"team/digits","state":"Succeeded"}
 *
 * Secrets do not belong in it: callers pass names and sentences, never objects.
 *
 *   Threads    any; a line is one write(). */
#ifndef LS_LOG_H
#define LS_LOG_H

#include <stdbool.h>

enum ls_log_level { LS_LOG_DEBUG, LS_LOG_INFO, LS_LOG_WARN, LS_LOG_ERROR };

bool ls_log_level_set(const char *name); /* "debug", "info", "warn", "error"; false: no such level */
/* Pairs of key and text after `msg`, then NULL; a pair whose text is NULL or "" is left out. */
void ls_log(enum ls_log_level level, const char *msg, ...) __attribute__((sentinel));

#endif
