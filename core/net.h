/* net.h -- what a preflight measured of hosts and of the links between them, and which of them is slow: `lockstep bench net` and
 * `lockstep run --preflight` (docs/preflight.md). The rank program fills it in and writes it, line by line; the launcher reads the lines and judges.
 *
 * A thing is slow only if three things hold: its median is below `below` of what is usual, it is further from it than the spread explains, and even
 * its best repeat is below. What is usual is the median of those that are not slow, which needs more than half of the hosts to be well.
 *
 *   Ownership  struct ls_net owns its arrays; ls_net_release(). struct ls_net_verdict likewise.
 *   Threads    no shared state. */
#ifndef LS_NET_H
#define LS_NET_H

#include "core/status.h"
#include "core/str.h"

#include <cjson/cJSON.h>
#include <stdbool.h>

/* Of a rank, all of them rates: code, name in JSON, head of a column, unit, in words */
#define LS_NET_RANK_TABLE(X)                                                                                                          \
	X(LS_NET_CPU, "cpu", "CPU", "G/s", "CPU speed")                                                                                \
	X(LS_NET_MEMORY, "memory", "MEMORY", "GB/s", "memory bandwidth, all ranks of the host at once,")                                \
	X(LS_NET_MEMORY_ALONE, "memoryAlone", "ALONE", "GB/s", "memory bandwidth of one rank alone")                                    \
	X(LS_NET_GPU_MEMORY, "gpuMemory", "GPU MEM", "GB/s", "GPU memory bandwidth")                                                   \
	X(LS_NET_TO_GPU, "toGpu", "TO GPU", "GB/s", "copies to the GPU")                                                                \
	X(LS_NET_FROM_GPU, "fromGpu", "FROM GPU", "GB/s", "copies from the GPU")
/* Of two hosts a < b. Latency is a time, the others are rates. */
#define LS_NET_PAIR_TABLE(X)                                                                                                          \
	X(LS_NET_LATENCY, "latency", "8 B", "us", "latency of an all-reduce of 8 bytes")                                               \
	X(LS_NET_BOTH, "allReduce", "ALL-REDUCE", "GB/s", "bandwidth of an all-reduce")                                                 \
	X(LS_NET_THERE, "there", "A TO B", "GB/s", "bandwidth one way")                                                                 \
	X(LS_NET_BACK, "back", "B TO A", "GB/s", "bandwidth the other way")
/* Of a host, in which hosts may differ: code, name in JSON, in words */
#define LS_NET_FACT_TABLE(X)                                                                                                          \
	X(LS_NET_KERNEL, "kernel", "kernel") X(LS_NET_MPI, "mpi", "MPI library") X(LS_NET_CPU_MODEL, "cpuModel", "CPU")                 \
	X(LS_NET_CORES, "cores", "cores") X(LS_NET_RAM, "ram", "memory") X(LS_NET_GPU, "gpu", "GPU") X(LS_NET_DRIVER, "driver", "GPU driver's CUDA")

#define X(code, ...) code,
enum ls_net_rank_stat { LS_NET_RANK_TABLE(X) LS_NET_RANK_STATS };
enum ls_net_pair_stat { LS_NET_PAIR_TABLE(X) LS_NET_PAIR_STATS };
enum ls_net_fact { LS_NET_FACT_TABLE(X) LS_NET_FACTS };
#undef X

struct ls_net_words { const char *key, *head, *unit, *words; };
extern const struct ls_net_words ls_net_rank_words[LS_NET_RANK_STATS], ls_net_pair_words[LS_NET_PAIR_STATS];
extern const struct ls_net_words ls_net_fact_words[LS_NET_FACTS]; /* key and words only */

/* Repeats of one measurement. n 0: it was not made. */
struct ls_net_stat {
	double mid, best, spread; /* spread: 1.4826 x the median distance from the median, as a part of it: of a normal distribution, sigma */
	int n;
};

struct ls_net_host {
	char name[64];
	char facts[LS_NET_FACTS][96];  /* "": not known */
	double clock_ms, clock_error_ms; /* ahead of host 0's */
	int ranks;
};

struct ls_net_rank {
	int host, local;
	char gpu[256];             /* "": measured; "no GPU"; or why its GPU cannot be used */
	bool gpu_bad;
	struct ls_net_stat stat[LS_NET_RANK_STATS];
};

struct ls_net_pair {
	struct ls_net_stat stat[LS_NET_PAIR_STATS];
	bool again;                /* measured once more, alone; the better of both counts */
};

struct ls_net {
	int n_hosts, n_ranks;
	struct ls_net_host *hosts;
	struct ls_net_rank *ranks;
	struct ls_net_pair *pairs; /* [ls_net_pairs(n_hosts)] */
	struct ls_net_stat all[2]; /* over all ranks: LS_NET_LATENCY, LS_NET_BOTH */
};

ls_status ls_net_init(struct ls_net *net, int hosts, int ranks, struct ls_err *err);
void ls_net_release(struct ls_net *net);

size_t ls_net_pairs(int hosts);
size_t ls_net_pair_at(int hosts, int a, int b); /* a != b, in any order */
/* Who meets `host` in `round`, 0 <= round < ls_net_rounds(): a tournament, in which every two meet once and nobody twice at a time. -1: nobody. */
int ls_net_rounds(int hosts);
int ls_net_opponent(int hosts, int round, int host);

/* `higher`: of a rate. Sorts v. */
struct ls_net_stat ls_net_stat_of(double *v, int n, bool higher);

/* --- net_judge.c ---------------------------------------------------------------------------------------------------------------- */

struct ls_net_limits {
	double below;              /* slow is what is below this part of what is usual; 0: LS_NET_BELOW */
	double expect_gbps;        /* what a link should carry each way, in Gbit/s; 0: not said */
};
#define LS_NET_BELOW 0.75
#define LS_NET_SIGMAS 4
#define LS_NET_CLOCK_MS 10

struct ls_net_finding {
	bool slow;                 /* counts for the verdict; else it is worth a look */
	int host, other;           /* of a host; of a link both; -1 */
	char text[600];
};

struct ls_net_verdict {
	struct ls_net_finding *v;
	size_t n;
	bool slow;                 /* some finding is */
	bool *slow_host;           /* [n_hosts] */
	bool *suspect;             /* [pairs]: not usual; worth to be measured again */
	struct ls_str text;        /* "nothing is slow", "slow: host c; link a - b" */
};

ls_status ls_net_judge(const struct ls_net *net, const struct ls_net_limits *limits, struct ls_net_verdict *ret, struct ls_err *err);
void ls_net_verdict_release(struct ls_net_verdict *v);

/* --- net_json.c ----------------------------------------------------------------------------------------------------------------- */

/* Before each of the rank program's lines: an MPI library may print others. */
#define LS_NET_LINE "lockstep-net "

/* One JSON object; NULL: no memory. */
cJSON *ls_net_host_json(const struct ls_net *net, int host);
cJSON *ls_net_rank_json(const struct ls_net *net, int rank);
cJSON *ls_net_pair_json(const struct ls_net *net, int a, int b);
cJSON *ls_net_all_json(const struct ls_net *net);
/* Puts such an object back; the world's size comes first: {"hosts": N, "ranks": N}. LS_USAGE: it is none of them. */
ls_status ls_net_take(struct ls_net *net, const cJSON *object, struct ls_err *err);
/* All of it, with the verdict. */
cJSON *ls_net_json(const struct ls_net *net, const struct ls_net_verdict *verdict);

#endif
