/* plan.h -- who runs where: hosts, and the ranks on them. Made once per attempt, before anything starts; the launcher then holds
 * every rank that reports in against it.
 *
 *   Ranks      are numbered host by host in the order of the list, or in turn with by_node, as mpirun --map-by slot and node do;
 *              the i-th rank of a host is its local rank i and sits on seat i.
 *   Ownership  struct ls_plan owns all; ls_plan_release().
 *   Errors     LS_USAGE: the request does not fit (more ranks than slots, an unknown form), with what to change.
 */
#ifndef LS_PLAN_H
#define LS_PLAN_H

#include "core/job.h"
#include "core/place.h"
#include "core/topo.h"

#include <stdbool.h>

struct ls_host {
	char *name;          /* as the user wrote it: what ssh and mpirun get */
	int slots;           /* given by the user, or 0: not said */
	bool local;          /* this machine */
	char id[128];        /* what the host calls itself: "hostname/boot-id"; ranks report it, too */
	char hostname[64];
	char address[64];    /* how other hosts reach it, numeric; "" when nobody has to */
	char launcher_address[64]; /* the launcher's address as this host sees it; "" when local */
	char iface[32];      /* the interface that holds `address`; "" unknown */
	bool rdma;           /* has InfiniBand or RoCE devices: Open MPI chooses its own transport */
	struct ls_topo *topo;
	struct ls_place place; /* place.n ranks sit here */
};

struct ls_hosts {
	struct ls_host *v;
	int n;
};

struct ls_plan {
	struct ls_hosts hosts;   /* only those that got ranks, after ls_plan_make */
	int world;
	struct ls_plan_rank {
		int host, local_rank;
	} *ranks;                /* [world] */
	bool by_node;
	bool oversubscribed;     /* some rank shares a core */
	int sum_group;           /* ranks of one worker, the same on every attempt wherever workers sit; 0: they differ */
};

/* "a:2,b:2" (a host named twice has its slots added; a missing number counts 1), or a hostfile of either Open MPI or plain
 * kind: "a slots=2 max-slots=4", "a:2", "a"; '#' comments. Appends; a name in both forms is an error. */
ls_status ls_hosts_parse(const char *list, struct ls_hosts *hosts, struct ls_err *err);
ls_status ls_hosts_read(const char *path, struct ls_hosts *hosts, struct ls_err *err);
/* This machine alone, for a list that stayed empty. */
ls_status ls_hosts_add_local(struct ls_hosts *hosts, struct ls_err *err);
/* Another machine, whatever its name: nobody is asked. */
ls_status ls_hosts_add_remote(struct ls_hosts *hosts, const char *name, struct ls_err *err);
void ls_hosts_release(struct ls_hosts *hosts);

struct ls_plan_options {
	int ranks;             /* -np: total, or 0: all slots / what the manifest says */
	int ranks_per_worker;  /* -N or the manifest; LS_RANKS_AUTO; 0: as the slots say */
	int replicas, min_replicas; /* 0: as many hosts as the list has */
	enum ls_bind bind;
	bool oversubscribe;    /* more ranks than slots are fine */
	bool by_node;          /* deal the ranks over the hosts in turn instead of filling host by host */
	bool local;            /* --local: all workers on this machine */
};

/* Hosts must be probed (topo, id). Takes the hosts over on success and leaves *hosts empty. */
ls_status ls_plan_make(struct ls_hosts *hosts, const struct ls_plan_options *opt, struct ls_plan *ret, struct ls_err *err);
void ls_plan_release(struct ls_plan *plan);
int ls_plan_local_hosts(const struct ls_plan *plan); /* how many of its hosts are this machine */
const struct ls_host *ls_plan_host(const struct ls_plan *plan, int rank);
const struct ls_seat *ls_plan_seat(const struct ls_plan *plan, int rank);

#endif
