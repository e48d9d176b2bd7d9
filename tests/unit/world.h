/* world.h -- a unit test that needs several ranks starts itself again under mpirun.
 *
 * The outer process is the CUnit suite; each of its tests is one world of real MPI processes with a time limit. The
 * inner processes see RANK_MODE in their environment, run their rows, and exit with 0 when all hold.
 * LOCKSTEP_TEST_MPIRUN names another mpirun than the one in PATH. */
#ifndef LS_TEST_WORLD_H
#define LS_TEST_WORLD_H

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define RANK_MODE "LOCKSTEP_TEST_RANK_MODE"

/* The inner processes' exit code, or 124 when they hang. */
static inline int world_run(int ranks)
{
	const char *mpirun = getenv("LOCKSTEP_TEST_MPIRUN");
	char self[4096], command[8400];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	int status;

	if (n < 0)
		return 127;
	self[n] = '\0';
	setenv("OMPI_ALLOW_RUN_AS_ROOT", "1", 1);
	setenv("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1", 1);
	setenv("LSAN_OPTIONS", "detect_leaks=0",
		1); /* MPI's plug-ins keep memory, and are unloaded before it could be told whose */
	setenv(RANK_MODE, "1", 1);
	snprintf(command, sizeof(command), "timeout -k 5 60 %s --oversubscribe -np %d '%s'", mpirun ? mpirun : "mpirun",
		ranks, self);
	fflush(NULL);
	status = system(command);
	unsetenv(RANK_MODE);
	return status;
}

#endif
