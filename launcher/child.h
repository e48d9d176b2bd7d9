/* child.h -- how a command of ours becomes another: the part of a fork that is the same whatever is started. */
#ifndef LS_CHILD_H
#define LS_CHILD_H

#include <sys/types.h>

/* In a child that was just forked by `parent`. A process group of its own, so that a terminal's Ctrl-C comes to the parent alone; SIGTERM when the
 * parent dies; nothing to read; what it writes goes to `out` and `errors`. Does not return: 127 when it cannot be. */
_Noreturn void ls_child_become(char *const *argv, int out, int errors, pid_t parent);

#endif
