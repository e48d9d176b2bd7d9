/* shm.h -- memory that the ranks of one node share, and how they wait for each other in it.
 *
 * Two kinds of anonymous files (memfd: /dev/shm and its size do not matter), passed through a socket when the group opens:
 *
 *     control   one, of the node's lowest rank:   struct shm_rank [local_world] | cells | staging
 *     arena     one per rank: what ls_comm_alloc gives. Every rank maps them all, so that any rank can read and write any buffer.
 *
 * Operations are numbered in the order of their start, which is the same on all ranks; the counters in struct shm_rank hold such
 * numbers (or numbers of pieces), only grow, and are written by their own rank alone:
 *
 *     rank r:  write data; counter = n (ls_shm_tell) ....> others: see counter >= n; read the data
 *
 * Waiting: spin, yield, then sleep in a futex, `bell`. A teller looks for sleepers after its store, a sleeper looks at the counters
 * once more after it said that it sleeps: one of the two sees the other.
 * Death: each rank holds a record lock on a byte of the control file, which the kernel drops when the process dies, whatever its
 * children do; who waits in vain asks for the locks of the others.
 *
 *   Threads    as in backend.h. */
#ifndef LS_SHM_H
#define LS_SHM_H

#include "collectives/engine.h"

#include <stdatomic.h>
#include <sched.h>
#include <sys/types.h>

#define SHM_RING 8                          /* cells of a rank: operations that may be under way */
#define SHM_CELL_BYTES ((size_t)16 << 10)   /* of payload in a cell */
#define SHM_DEPTH 2                         /* pieces that may be under way in staging */

struct shm_rank {
	_Alignas(128) atomic_ullong started; /* direct: buffers are ready for operation n */
	_Alignas(128) atomic_ullong done;    /* done with the operation's memory of others */
	_Alignas(128) atomic_ullong in;      /* slots: pieces whose values are in staging … */
	atomic_ullong out;                   /* … whose sums are … */
	atomic_ullong took;                  /* … and that were taken from the others */
	_Alignas(128) atomic_uint sleepers;  /* threads of this rank that sleep, or are about to */
	atomic_uint bell;                    /* the futex: grows when a sleeper must look again */
	atomic_uint left;                    /* closed, and lives */
	atomic_int lost;                     /* the first of all: 1 + the rank that was first found dead */
	int global;                          /* its rank in the world */
	pid_t pid;
	cpu_set_t cpus;                      /* where it may run */
};

struct shm_cell {
	atomic_ullong seq;
	char small[56];                      /* a payload that fits here travels with its number in one line */
	char large[SHM_CELL_BYTES];
};

struct shm_arena {
	char *base;                          /* as mapped here */
	size_t color;                        /* where its first block begins: ranks differ, so that equal offsets do not share cache sets */
};

struct shm_record {                      /* what a rank says of an operation that it plans; what the kind does not use is zero */
	int32_t kind, dtype, op, root;
	uint64_t count;
	int64_t send, recv;              /* offsets in its arena; -1: not in it */
};

struct shm_comm {
	struct ls_comm base;                 /* rank and world are those of the node */
	int control_fd, arena_fd;
	char *control;
	size_t control_bytes, arena_bytes;
	struct shm_rank *ranks;
	struct shm_arena *arenas;
	struct ls_heap *heap;                /* of this rank's arena */
	uint64_t op;                         /* operations started here */
	uint64_t seen_done;                  /* all are done with those up to this number: a lower bound */
	uint64_t piece;                      /* pieces through staging, of operations started here */
	size_t part_bytes;                   /* of a piece, one rank's part */
	unsigned spins, yields;              /* before sleep */
	struct shm_record *records;          /* of the operation being planned */
	const void **src;                    /* of the reduction being made: operations are stepped one at a time */
	void **dst;
	struct shm_speed {                   /* of plain and streaming stores, out of place and in, by log2 of an operation's bytes */
		double best[2];              /* seconds per byte */
		unsigned tries;
	} speed[2][64];
};

static inline struct shm_comm *shm_of(struct ls_comm *c)
{
	return (struct shm_comm *)c;
}

struct shm_cell *ls_shm_cell(struct shm_comm *c, int rank, uint64_t op);
/* `counter` = `value`, after all that was stored before; wakes who sleeps. */
void ls_shm_tell(struct shm_comm *c, atomic_ullong *counter, uint64_t value);
/* All ranks' counters, `offset` bytes into struct shm_rank, are at least `value`. Own one not looked at. */
bool ls_shm_all(struct shm_comm *c, size_t offset, uint64_t value);
#define SHM_ALL(c, field, value) ls_shm_all(c, offsetof(struct shm_rank, field), value)

/* `p`, in this rank's arena, as rank `rank`'s peer of the same offset is mapped here; offset from ls_shm_offset. */
void *ls_shm_at(struct shm_comm *c, int rank, int64_t offset);
int64_t ls_shm_offset(struct shm_comm *c, const void *p, size_t bytes); /* -1: not in the arena */

ls_status ls_shm_pause(struct ls_comm *c, struct ls_pause *w, struct ls_err *err);
void ls_shm_resume(struct ls_comm *c, struct ls_pause *w);
void ls_shm_kick(struct ls_comm *c);
/* For who waits in another way: LS_RANK_LOST once two looks in a row found the same. */
ls_status ls_shm_look_for_dead(struct shm_comm *c, struct ls_pause *w, struct ls_err *err);

/* The group of the ranks that share this rank's node, whoever else takes part in `b`; collective over all of `b`. */
ls_status ls_shm_open_node(const struct ls_comm_options *opt, const struct ls_comm *layout, struct shm_comm **ret, struct ls_err *err);
void ls_shm_close(struct ls_comm *c, bool orderly);
/* A small all-gather of the node, apart from plans. */
ls_status ls_shm_gather(struct shm_comm *c, const void *mine, void *ret_all, size_t bytes, struct ls_err *err);

/* The ranks of `b`, of which the node's may be some, tell each other what they plan, and compare it. Zero-copy if all buffers are in
 * arenas. */
ls_status ls_shm_agree(struct shm_comm *c, const struct ls_bootstrap *b, const struct ls_coll *coll, struct shm_record *ret_all,
	bool *ret_zero_copy, struct ls_err *err);

size_t ls_shm_part_bytes(int world);
size_t ls_shm_staging_bytes(const struct shm_comm *c);

/* heap.c: blocks of one arena. */
struct ls_heap;
struct ls_heap *ls_heap_open(size_t begin, size_t end);
void ls_heap_close(struct ls_heap *h);
bool ls_heap_take(struct ls_heap *h, size_t bytes, size_t *ret_at);
size_t ls_heap_give(struct ls_heap *h, size_t at); /* its bytes; 0: no such block */

#endif
