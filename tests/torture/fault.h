/* fault.h -- make the n-th call into memory or the kernel fail.
 *
 * The linker hands every call that the objects of this program make to fault.c first (-Wl,--wrap=NAME; the Makefile has
 * the list). Calls that shared libraries make themselves are not seen.
 *
 *   Threads    those of the program under test may call: one of them is hit. The functions here are for one thread, while no other runs.
 */
#ifndef LS_FAULT_H
#define LS_FAULT_H

#include <stdbool.h>

enum fault_kind {
	FAULT_ONCE,  /* the n-th call fails: memory ENOMEM, what writes ENOSPC, the rest EIO */
	FAULT_EINTR, /* the n-th call that a signal may interrupt is interrupted */
	FAULT_FULL,  /* the n-th call that needs room on the disk, and all such calls after it: ENOSPC */
	FAULT_SHORT, /* the n-th read or write of more than 1 byte does half of it */
	FAULT_CRASH, /* the process ends right before the n-th call to the kernel, as by SIGKILL */
	FAULT_KINDS,
};

#define FAULT_CRASH_CODE 99

void fault_arm(enum fault_kind kind, unsigned n); /* n counts from 1, over the calls that the kind concerns */
void fault_without_renameat2(bool on);            /* as on NFS: EINVAL, armed or not */
bool fault_disarm(void);                          /* did it happen? */
const char *fault_call(void);                     /* the call that was hit first, e.g. "fsync"; "" for none */

/* A check that fails is printed with the fault that led there, and counted. */
void fault_check(bool ok, const char *says, const char *detail);
/* No memory and no descriptor may stay: call it between two faults, with the same things open as at the first time. */
void fault_check_leaks(void);
/* What a process that this one forked injected. */
void fault_add(unsigned faults, unsigned long calls);
unsigned long fault_calls(void);
/* Print "ok N faults injected in X calls", or the number of failures; the exit code. */
int fault_report(const char *name);
void fault_count(const char *what, unsigned n); /* tell the report that the scene `what` is through, after n faults */

#endif
