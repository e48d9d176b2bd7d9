/* coll_rank.h -- the part of a rank program that is the same for every library: coll_wire.h's protocol, binding, buffers, clock.
 *
 *     int main(int argc, char **argv) { return coll_rank_main(argc, argv, &library); }
 *
 * A program is this, coll_data.c and one file that fills the table. It needs nothing of Lockstep, so that any mpicc can build it. */
#ifndef COLL_RANK_H
#define COLL_RANK_H

#include "bench/coll_data.h"

#include <stdbool.h>

enum coll_answer { COLL_DONE, COLL_UNSUPPORTED, COLL_FAILED };
#define COLL_TEXT 512

/* One operation on fixed buffers; sizes, and what in place means, as in lockstep/collectives.h. */
struct coll_call {
	enum coll_kind kind;
	enum coll_dtype dtype;
	enum coll_op op;
	int root, in_place;
	size_t count;
	void *send, *recv;
	const size_t *parts;  /* an all-reduce is one of each of these, side by side in the buffers: coll_tensors.h */
	size_t n_parts;
};

/* Failures fill text[COLL_TEXT]. */
struct coll_library {
	enum coll_answer (*open)(int argc, char **argv, int *ret_rank, int *ret_world, char name[64], char *text);
	/* NULL: ordinary memory, huge pages where it is large */
	enum coll_answer (*alloc)(size_t bytes, void **ret, char *text);
	void (*free)(void *p);
	enum coll_answer (*make)(const struct coll_call *c, char algorithm[32], char *text); /* one at a time */
	enum coll_answer (*run)(char *text); /* the one that was made, from its start to its end */
	void (*unmake)(void);
	enum coll_answer (*barrier)(char *text);
	void (*close)(bool orderly);
	/* Buffers in a GPU's memory: these three, and alloc. `run` may then only begin the operation, if `finish` waits for all that were
	 * begun; else that is NULL. */
	enum coll_answer (*put)(void *to, const void *from, size_t bytes, char *text);
	enum coll_answer (*get)(void *to, const void *from, size_t bytes, char *text);
	enum coll_answer (*finish)(char *text);
	const char *device;   /* the GPU's name among all, after open(); NULL: none */
	bool scatters_to_front; /* an in-place reduce-scatter leaves its result at the buffer's start, as MPI's does */
};

int coll_rank_main(int argc, char **argv, const struct coll_library *library);

#endif
