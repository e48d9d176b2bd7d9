/* hello_mpi.c -- a plain MPI program: every rank says who and where it is. It knows nothing of Lockstep, which runs
 * it unmodified.
 *
 *     lockstep run -np 2 -- build/examples/hello
 *     mpirun -np 2 build/examples/hello */
#include <mpi.h>

#include <sched.h>
#include <stdio.h>

/* The CPUs this process may use, as "0-3,8". */
static void cpu_list(char *ret, size_t size)
{
	cpu_set_t set;
	size_t at = 0;
	int cpu, last;

	snprintf(ret, size, "unknown");
	if (sched_getaffinity(0, sizeof(set), &set) < 0)
		return;
	for (cpu = 0; cpu < CPU_SETSIZE && at < size; cpu = last + 1) {
		last = cpu;
		if (!CPU_ISSET(cpu, &set))
			continue;
		while (last + 1 < CPU_SETSIZE && CPU_ISSET(last + 1, &set))
			last++;
		at += (size_t)snprintf(ret + at, size - at, last > cpu ? "%s%d-%d" : "%s%d", at ? "," : "", cpu, last);
	}
}

int main(int argc, char **argv)
{
	char host[MPI_MAX_PROCESSOR_NAME], cpus[256];
	int rank, world, len;

	MPI_Init(&argc, &argv);
	MPI_Comm_rank(MPI_COMM_WORLD, &rank);
	MPI_Comm_size(MPI_COMM_WORLD, &world);
	MPI_Get_processor_name(host, &len);
	cpu_list(cpus, sizeof(cpus));
	printf("hello from rank %d of %d on %s, CPUs %s\n", rank, world, host, cpus);
	MPI_Finalize();
	return 0;
}
