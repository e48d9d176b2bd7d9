/* engine.h -- Open MPI's mpirun as the engine of one attempt: which one, and its command line.
 *
 * 4.1 reads --mca for everything; 5 hands process management to PRRTE, which reads --prtemca and ignores OMPI_MCA_* of that kind
 * (host lists among them, silently). So nothing about hosts is left to variables: a hostfile with exact slots, always.
 * Binding is off in the engine: the shim binds, from the plan.
 *
 *   Errors     LS_USAGE: no mpirun, or one that is not Open MPI 4.1 or newer (says what was found and where). */
#ifndef LS_ENGINE_H
#define LS_ENGINE_H

#include "launcher/plan.h"

#include <sys/types.h>

struct ls_engine {
	char path[512];
	char prefix[512];   /* PREFIX of PREFIX/bin/mpirun */
	char version[32];   /* "4.1.4" */
	int major;
};

/* `mpirun`: a path, a name for PATH, or NULL: LOCKSTEP_MPIRUN, else "mpirun". */
ls_status ls_engine_find(const char *mpirun, struct ls_engine *ret, struct ls_err *err);

struct ls_engine_options {
	const char *hostfile;     /* written by ls_engine_hostfile */
	const char *session_tmp;  /* the engine's session directory base on every host */
	const char *ssh;
	const char *binary;       /* lockstep on every host */
	const char *const *extra; /* user's --mca NAME VALUE and the like, as words, NULL-terminated */
};

void ls_engine_hostfile(const struct ls_plan *plan, struct ls_str *ret);
void ls_engine_argv(const struct ls_engine *e, const struct ls_plan *plan, const struct ls_engine_options *opt, struct ls_strv *ret);
/* Its libraries, for LD_LIBRARY_PATH of the ranks; "" when they are the system's own. */
void ls_engine_libdir(const struct ls_engine *e, char ret[600]);

/* Names of the variables that the engine must carry to the shims on other hosts; their values are in its environment. */
extern const char *const ls_engine_exports[];

/* Start it in a process group of its own, output to `log_fd`, `stdin_fd` to rank 0, killed with the launcher. */
ls_status ls_engine_spawn(const struct ls_strv *argv, const struct ls_strv *env, int log_fd, int stdin_fd, pid_t *ret, struct ls_err *err);
/* Variables that could make the engine place ranks elsewhere, "A=x, B=y": for the message when it did. */
void ls_engine_suspects(char *const *env, int major, struct ls_str *ret);

#endif
