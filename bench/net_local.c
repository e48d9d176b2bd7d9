/* net_local.c -- see net_local.h. */
#include "bench/net_local.h"
#include "core/io.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#define MIB ((size_t)1 << 20)

double net_now(void)
{
	return ls_clock_s();
}

/* --- facts ---------------------------------------------------------------------------------------------------------------------- */

/* The text after "KEY…:" in a file of /proc. */
static void proc_field(const char *path, const char *key, char ret[96])
{
	FILE *f = fopen(path, "re");
	char line[512], *colon;

	ret[0] = '\0';
	while (f && !ret[0] && fgets(line, sizeof(line), f))
		if (!strncmp(line, key, strlen(key)) && (colon = strchr(line, ':'))) {
			colon += 1 + strspn(colon + 1, " \t");
			snprintf(ret, 96, "%.*s", (int)strcspn(colon, "\n"), colon);
		}
	if (f)
		fclose(f);
}

static size_t meminfo_kib(const char *key)
{
	char text[96];

	proc_field("/proc/meminfo", key, text);
	return strtoul(text, NULL, 10);
}

/* Two digits: hosts of one kind differ by what their firmware keeps. */
static void ram_fact(char ret[96])
{
	double gib = (double)meminfo_kib("MemTotal") / (1 << 20), unit = 1;

	while (gib >= 100 * unit)
		unit *= 10;
	snprintf(ret, 96, "%.0f GiB", (double)(long)(gib / unit + 0.5) * unit);
}

void net_facts(struct ls_net_host *h)
{
	struct utsname u;

	gethostname(h->name, sizeof(h->name) - 1);
	if (!uname(&u))
		snprintf(h->facts[LS_NET_KERNEL], sizeof(h->facts[0]), "%s", u.release);
	proc_field("/proc/cpuinfo", "model name", h->facts[LS_NET_CPU_MODEL]);
	snprintf(h->facts[LS_NET_CORES], sizeof(h->facts[0]), "%ld", sysconf(_SC_NPROCESSORS_ONLN));
	ram_fact(h->facts[LS_NET_RAM]);
}

/* --- CPU ------------------------------------------------------------------------------------------------------------------------ */

enum { CPU_STEPS = 1 << 18 };

/* Each step waits for the one before: clock speed and the share of the core, no cache, no memory. */
static uint64_t work(uint64_t x)
{
	int i;

	for (i = 0; i < CPU_STEPS; i++)
		x = (x ^ (x >> 29)) * UINT64_C(0xbf58476d1ce4e5b9);
	return x;
}

double net_cpu(double seconds)
{
	static volatile uint64_t kept = 1;
	double begun = net_now(), took;
	long n = 0;

	do {
		kept = work(kept + 1);
		n++;
	} while ((took = net_now() - begun) < seconds);
	return (double)n * CPU_STEPS / took / 1e9;
}

/* --- memory --------------------------------------------------------------------------------------------------------------------- */

/* Elements of a slice, after each of which the clock is read. */
enum { SLICE = 1 << 16 };

static size_t total_bytes(int ranks)
{
	long cache = sysconf(_SC_LEVEL3_CACHE_SIZE);
	size_t bytes = 4 * (cache > 0 ? (size_t)cache : 32 * MIB), most = meminfo_kib("MemAvailable") * 1024 / 4 / (size_t)ranks;

	if (bytes < 96 * MIB)
		bytes = 96 * MIB;
	if (bytes > 384 * MIB)
		bytes = 384 * MIB;
	return bytes < most ? bytes : most;
}

ls_status net_memory_open(struct net_memory *m, int ranks, struct ls_err *err)
{
	size_t slices = total_bytes(ranks) / 3 / (SLICE * sizeof(double)), bytes;
	double *v;

	*m = (struct net_memory){ .n = (slices ? slices : 1) * SLICE };
	bytes = 3 * m->n * sizeof(double);
	v = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (v == MAP_FAILED)
		return ls_fail(err, LS_AGAIN, 0, "no memory for %zu MiB to measure its bandwidth with", bytes / MIB);
	madvise(v, bytes, MADV_HUGEPAGE);
	memset(v, 0, bytes); /* its pages come from the NUMA node on which this rank runs */
	m->v = v;
	return LS_OK;
}

static void triad(double *restrict a, const double *restrict b, const double *restrict c)
{
	int i;

	for (i = 0; i < SLICE; i++)
		a[i] = b[i] + 3 * c[i];
}

double net_memory(struct net_memory *m, double seconds)
{
	double begun = net_now(), took;
	long n = 0;

	do {
		triad(m->v + m->at, m->v + m->n + m->at, m->v + 2 * m->n + m->at);
		m->at = (m->at + SLICE) % m->n;
		n++;
	} while ((took = net_now() - begun) < seconds);
	return (double)n * SLICE * 3 * sizeof(double) / took / 1e9;
}

void net_memory_close(struct net_memory *m)
{
	if (m->v)
		munmap(m->v, 3 * m->n * sizeof(double));
	m->v = NULL;
}
