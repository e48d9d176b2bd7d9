/* net_mpi.h -- what the files of the rank program of `lockstep bench net` share (net_rank_mpi.c has its order): the ranks and who is where, waiting
 * without spinning, what rank 0 prints, and pairs of hosts. A failure ends the program, with a sentence. */
#ifndef NET_MPI_H
#define NET_MPI_H

#include "bench/net_local.h"

#include <mpi.h>

enum { NET_MAX_BYTES = 8 << 20, NET_MIN_BYTES = 64 << 10, NET_MAX_OPS = 1000 };
enum { NET_TAG_PLAN = 1, NET_TAG_READY, NET_TAG_DATA, NET_TAG_RESULT, NET_TAG_CLOCK, NET_TAG_HOST };

struct net_who { int host, local, ranks; char name[64]; };

struct net_self {
	int rank, world, host, local, hosts, max_local;
	struct net_who *who;       /* [world] */
	int *rank_at;              /* [hosts][max_local]; -1 */
	int *ranks_on;             /* [hosts] */
	double seconds, below;
	struct lockstep_comm *comm;
	struct ls_net_rank mine;
	struct ls_net_host host_facts;
	struct ls_net net;         /* rank 0's */
	char *send, *recv;         /* [NET_MAX_BYTES] */
};

/* --- net_mpi_world.c --- */
void net_die(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));
void net_sleep_until(MPI_Request *q);
void net_meet(void);                  /* a barrier in which nobody spins */
void net_tell(int *v, int n);         /* rank 0's words to all */
void net_print(cJSON *o);             /* takes it */
/* What is under way, of rank 0: all that is known if it never ends. */
void net_phase(const struct net_self *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void net_learn_who(struct net_self *s);
int net_rank_at(const struct net_self *s, int host, int local);
const char *net_host_name(const struct net_self *s, int host);
int net_rails(const struct net_self *s, int a, int b); /* ranks of each of two hosts that measure their link together */
/* What is measured twice counts by the better time: what disturbed the other one was no fault of it. */
void net_keep_better(struct ls_net_stat *was, struct ls_net_stat now, bool higher);

/* --- net_mpi_pairs.c --- */
void net_rounds(struct net_self *s);  /* all pairs, in the rounds of a tournament */
/* All suspects of a verdict, each alone, or as many as there is time for. The verdict is rank 0's. */
void net_pairs_again(struct net_self *s, const struct ls_net_verdict *v, double seconds);

#endif
