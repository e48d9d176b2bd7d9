/* net_local.h -- what a rank of `lockstep bench net` measures of its own host: facts, CPU, memory, and its GPU. No MPI. */
#ifndef NET_LOCAL_H
#define NET_LOCAL_H

#include "core/net.h"

enum { NET_REPEATS = 5 };

double net_now(void);                  /* seconds, monotonic */
void net_facts(struct ls_net_host *h); /* name, kernel, CPU, cores, memory */

/* A fixed piece of work again and again for `seconds` of wall time, so that a core that is taken away now and then shows: 10^9 steps a second. */
double net_cpu(double seconds);

struct net_memory { double *v; size_t n; size_t at; };
/* Three arrays of n, together well beyond the caches and not more than a part of what is free, as `ranks` do it here at once. */
ls_status net_memory_open(struct net_memory *m, int ranks, struct ls_err *err);
double net_memory(struct net_memory *m, double seconds); /* GB/s of a triad, counted as STREAM counts: 24 bytes an element */
void net_memory_close(struct net_memory *m);

/* net_gpu.c: about `seconds`; also names the GPU and its driver in h. A rank to which the launcher gave none has "no GPU". */
void net_gpu(struct ls_net_rank *r, struct ls_net_host *h, double seconds);

#endif
