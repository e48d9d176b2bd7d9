/* signals.h -- the launcher's signals as a counter and a descriptor to poll.
 *
 * SIGINT, SIGTERM, SIGHUP ask the job to stop: the first gracefully, any further one at once. SIGCHLD only wakes the loop.
 * One request may arrive twice: a shell repeats its terminal's SIGHUP, timeout(1) signals the process and its group. What follows
 * another within LS_SIGNALS_ECHO_MS is no second request.
 * SIGTSTP is ignored: a stopped launcher could not look after its job. One per process; the only global state there is. */
#ifndef LS_SIGNALS_H
#define LS_SIGNALS_H

#include "core/status.h"

enum { LS_SIGNALS_ECHO_MS = 250 };

ls_status ls_signals_init(struct ls_err *err);
int ls_signals_fd(void);               /* readable after any of them */
void ls_signals_drain(void);
const volatile int *ls_signals_stops(void); /* how many stop signals came */
int ls_signals_last(void);             /* the first stop signal's number, 0 none */

#endif
