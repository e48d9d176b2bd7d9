/* backend.h -- the seam between what a rank asks of its group and what carries it out.
 *
 * A backend (a row of backends.c) opens a group of ranks, struct ls_comm. An algorithm (a row of algorithms.c) is one way
 * to do one or more kinds of operations on one backend. A plan is one operation on fixed buffers, made once and started
 * many times, as with MPI-4's persistent collectives; it owns what its transfers need, so that a step allocates nothing.
 *
 *     ls_request_make --> planned --ls_request_start--> active --ls_request_test true, ls_request_wait--> planned … ls_request_free
 *
 *   Order      all ranks make, start and free plans of one group in the same order. A plan that differs between ranks
 *              in kind, type, count, op or root is LS_USAGE on every rank where the backend can see it (shm, hier).
 *   Ownership  a plan borrows the buffers until it is freed; while active they are its own: nobody else writes to them,
 *              and nobody reads recv.
 *   Threads    one thread of the caller's per group. With a progress thread (ls_comm_options) operations advance while the caller
 *              computes; without one, in every start, test and wait of any plan of the group.
 *   Errors     LS_RANK_LOST: the group is unusable, only ls_comm_close(orderly = false) may follow. A rank of this
 *              node that died is noticed by all who wait for it (shm, hier), within a second; one that is silent but
 *              alive is the launcher's to judge.
 *   Not here   buckets and their agreement (worker/bucket.c), and who is in the group: the launcher's plan. */
#ifndef LS_BACKEND_H
#define LS_BACKEND_H

#include "collectives/coll.h"

#include <pthread.h>
#include <stdatomic.h>

struct ls_traffic {          /* what this rank sent since the group was opened; tests assert it */
	uint64_t messages, bytes;    /* over the network, or by MPI's messages */
	uint64_t copied;             /* into memory that other ranks of this node read */
};

/* How ranks that share nothing yet tell each other some bytes. `mine` of rank r goes to ret_all + r x bytes, everywhere. */
struct ls_bootstrap {
	int rank, world;
	ls_status (*allgather)(void *ctx, const void *mine, void *ret_all, size_t bytes, struct ls_err *err);
	void *ctx;
};

/* AUTO: a thread, unless MPI was initialised by the program, for one thread. */
enum ls_progress { LS_PROGRESS_CALLS, LS_PROGRESS_THREAD, LS_PROGRESS_AUTO };

struct ls_comm_options {
	const char *backend;         /* a name of backends.c; NULL, "" or "auto": shm on one node, hier where nodes hold several
				      * ranks, else mpi; nccl only by its name */
	const char *algorithm;       /* NULL, "": the first row that fits. A name: that one, or LS_USAGE from ls_request_make */
	/* NULL: MPI is it. Given: MPI is not touched; shm: all ranks must be on one node; nccl: it must serve as long as the group does */
	const struct ls_bootstrap *bootstrap;
	int group;                   /* coll.h; 0: the largest block that no node cuts */
	enum ls_progress progress;
	int progress_cpu;            /* the thread is bound to it; -1: not bound */
};

struct ls_pause {            /* how long its owner has waited in vain; zeroed before the first pause */
	unsigned rounds, slept;
	uint32_t bell;
	bool armed, doomed;
};

/* Tensors in GPU memory that one operation takes together. */
struct ls_part { void *at; size_t count; };
struct ls_parts {
	const struct ls_part *v;     /* the caller's, as long as the plan */
	size_t n;
	enum ls_dtype dtype;         /* theirs */
};

struct ls_request;
struct ls_comm {             /* a backend embeds it as its first member */
	const struct ls_backend *backend;
	int rank, world;
	int local_rank, local_world; /* among the ranks of this node */
	int node, nodes;             /* nodes are numbered by their lowest rank */
	int group;                   /* coll.h */
	char library[64];            /* "Open MPI v4.1.4"; "shared memory" */
	struct ls_traffic traffic;
	const char *algorithm;       /* asked for by name, or NULL */
	void *stream;                /* on_gpu: an operation begins after what this stream of the caller's holds at its start; NULL: the
				      * default stream */
	struct ls_comm *under;       /* the MPI group that told the ranks of each other; closed after this one. Or NULL */
	/* engine.c's */
	void *spare;                 /* the memory of a request that was freed: one operation after another needs no new */
	struct ls_request *first, *last; /* active, in the order of their start */
	struct ls_pause waiting;     /* the caller's */
	ls_status failure;           /* of a step: every later call returns it */
	struct ls_err why;
	bool threaded, quit;
	atomic_bool wanted;          /* the caller drives; the thread stands back */
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t changed;
};

struct ls_request {             /* an algorithm's plan embeds it as its first member */
	struct ls_comm *comm;
	const struct ls_algorithm *algorithm;
	struct ls_coll coll;
	bool zero_copy;              /* send and recv of every rank of this node are from ls_comm_alloc */
	struct ls_parts parts;       /* n > 0: they are the buffers */
	atomic_bool active;
	struct ls_request *next;
};

struct ls_backend {
	const char *name;
	const char *lacks;           /* not NULL: this build has it not, and why */
	bool needs_mpi;              /* a bootstrap of the caller's will not do */
	bool on_gpu;                 /* buffers are in GPU memory; can do parts */
	/* opt->bootstrap is always there but for mpi, which is one. `under` becomes the group's when this succeeds. */
	ls_status (*open)(const struct ls_comm_options *opt, struct ls_comm *under, struct ls_comm **ret, struct ls_err *err);
	/* Not orderly: this rank leaves alone; nothing may wait for the others. */
	void (*close)(struct ls_comm *c, bool orderly);
	/* Memory that makes plans zero-copy. NULL: there is none such, ordinary memory is given. */
	ls_status (*alloc)(struct ls_comm *c, size_t bytes, void **ret, struct ls_err *err);
	void (*free)(struct ls_comm *c, void *p);
	/* The ranks compare a plan and learn of each other's buffers; fills zero_copy. Before the algorithm is chosen. NULL: nothing. */
	ls_status (*agree)(struct ls_request *p, struct ls_err *err);
	/* Nothing moved since the last pause of this owner: spin, yield or sleep, and notice the dead. The progress thread calls it without
	 * the lock, the caller (w is &c->waiting) with it. */
	ls_status (*pause)(struct ls_comm *c, struct ls_pause *w, struct ls_err *err);
	/* Something moved; `w` is zeroed after it. NULL: nothing to do. */
	void (*resume)(struct ls_comm *c, struct ls_pause *w);
	/* End a pause of another thread of this rank. NULL: pauses are short. */
	void (*kick)(struct ls_comm *c);
	/* on_gpu: what the last run of a plan took there, from when its data was ready, waits for other ranks included. */
	ls_status (*gpu_ms)(struct ls_request *p, double *ret, struct ls_err *err);
	/* on_gpu: how long it went on there after the program's stream had come to its start: what none of the program's work hid. */
	ls_status (*gpu_after_ms)(struct ls_request *p, double *ret, struct ls_err *err);
	bool in_order;               /* only the first active plan may move */
};

struct ls_algorithm {
	const char *name;
	const struct ls_backend *backend;
	unsigned kinds;              /* 1 << LS_ALL_REDUCE | … */
	bool (*fits)(const struct ls_request *p); /* is it meant for this one? The same answer on all ranks; NULL: always */
	bool (*can)(const struct ls_request *p);  /* asked for by name: could it do it at all? NULL: always */
	const char *limit;           /* why not: "a rank's buffers are not the library's" */
	size_t bytes;                /* of its plan's struct, which is zeroed before plan() */
	ls_status (*plan)(struct ls_request *p, struct ls_err *err); /* NULL: nothing to do. After a failure unplan() is called */
	ls_status (*start)(struct ls_request *p, struct ls_err *err);
	/* Go on as far as is possible without waiting. Any progress sets *ret_moved; the end sets *ret_done. */
	ls_status (*step)(struct ls_request *p, bool *ret_moved, bool *ret_done, struct ls_err *err);
	void (*unplan)(struct ls_request *p); /* NULL: nothing to do */
};

/* A backend's name, or LS_USAGE with a list of those there are. */
ls_status ls_backend_find(const char *name, const struct ls_backend **ret, struct ls_err *err);
/* The first row that can do the plan; LS_USAGE where the one asked for cannot, with the reason. */
ls_status ls_algorithm_find(const struct ls_request *p, const struct ls_algorithm **ret, struct ls_err *err);

/* Who is on which node: fills rank to group of *ret. Collective. Two ranks share a node when they have the same boot id and
 * the same network namespace, or LOCKSTEP_NODE_KEY, where it is set. */
ls_status ls_nodes_learn(const struct ls_bootstrap *b, int group, struct ls_comm *ret, struct ls_err *err);

/* What LOCKSTEP_BACKEND, _ALGORITHM, _SUM_GROUP, _PROGRESS and _PROGRESS_CPU say wins over what is in *ret. */
ls_status ls_comm_settings(struct ls_comm_options *ret, struct ls_err *err);

ls_status ls_comm_open(const struct ls_comm_options *opt, struct ls_comm **ret, struct ls_err *err);
void ls_comm_close(struct ls_comm *c, bool orderly); /* NULL is fine */
/* 64-byte aligned, zeroed, large ones on huge pages; free or close gives it back. Not collective. */
ls_status ls_comm_alloc(struct ls_comm *c, size_t bytes, void **ret, struct ls_err *err);
void ls_comm_free(struct ls_comm *c, void *p);       /* NULL is fine */

/* Collective, and waits for the operations that were started before. */
ls_status ls_request_make(struct ls_comm *c, const struct ls_coll *coll, struct ls_request **ret, struct ls_err *err);
/* The average or sum of many tensors, in place: an all-reduce of `coll->count` elements, the sum of the parts', which travel as coll->dtype,
 * whatever theirs is. coll's buffers are not looked at. LS_USAGE where the backend's buffers are not in GPU memory. */
ls_status ls_request_make_parts(struct ls_comm *c, const struct ls_coll *coll, const struct ls_parts *parts, struct ls_request **ret,
	struct ls_err *err);
ls_status ls_request_start(struct ls_request *p, struct ls_err *err);
ls_status ls_request_test(struct ls_request *p, bool *ret_done, struct ls_err *err);
ls_status ls_request_wait(struct ls_request *p, struct ls_err *err);
void ls_request_free(struct ls_request *p);                /* NULL is fine */
/* LS_USAGE but for operations on GPU memory, once done. */
ls_status ls_request_gpu_ms(struct ls_request *p, double *ret, struct ls_err *err);
ls_status ls_request_gpu_after_ms(struct ls_request *p, double *ret, struct ls_err *err);

/* One operation, made and forgotten; waits for the end. */
ls_status ls_run_coll(struct ls_comm *c, const struct ls_coll *coll, struct ls_err *err);
ls_status ls_run_allgather(struct ls_comm *c, const void *mine, void *ret_all, size_t bytes, struct ls_err *err);
ls_status ls_run_broadcast(struct ls_comm *c, void *buf, size_t bytes, int root, struct ls_err *err);
ls_status ls_run_barrier(struct ls_comm *c, struct ls_err *err);

#endif
