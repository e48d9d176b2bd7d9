/* reduce_fold.h -- between reduce.c, which cuts a reduction to pieces that suit vectors, and the variants that add: one per kind of
 * CPU, each reduce_vectors.h compiled once for its instructions. Bits never depend on the variant. */
#ifndef LS_REDUCE_FOLD_H
#define LS_REDUCE_FOLD_H

#include "collectives/reduce.h"

#define LS_FOLD_SOURCES 8    /* of one pass over the data; more sources take several over blocks in the first-level cache */
#define LS_FOLD_BLOCK 1024   /* elements of such a block */
#define LS_FOLD_VECTORS 4    /* of a step */
#define LS_FOLD_STEP_MAX 256 /* bytes of a step, with the widest vectors */

/* One pass. Elements [at, at + count) of every source and destination, in whole steps of ls_vectors_step elements. */
struct ls_fold {
	const void *const *src;
	int n;                   /* 1 to LS_FOLD_SOURCES */
	unsigned begins;         /* bit k: src[k] begins a block of the order of additions (coll.h), and is not the first of all */
	bool first, last;        /* of the passes; not first: the sums so far are in part and total; not last: they go there */
	void *part, *total;      /* of element i: at [i - base] */
	size_t base;
	bool has_total;          /* before this pass: a block was completed */
	void *const *dst;        /* of the last pass */
	int n_dst;
	int divisor;
	bool stream;             /* where a destination is aligned for it */
	bool ahead;              /* fetch what comes next: the data is larger than the caches near the core */
};
typedef void (*ls_fold_fn)(const struct ls_fold *f, size_t at, size_t count);

enum ls_fold_pair {          /* source, destination */
	LS_FOLD_F64, LS_FOLD_F32, LS_FOLD_I64, LS_FOLD_I32, LS_FOLD_F16, LS_FOLD_BF16,
	LS_FOLD_F16_F32, LS_FOLD_BF16_F32, LS_FOLD_F32_F16, LS_FOLD_F32_BF16
};
#define LS_FOLD_PAIRS 10
/* Blocks matter to sums of floats alone. */
enum ls_fold_how { LS_FOLD_SUM, LS_FOLD_SUM_BLOCKS, LS_FOLD_MIN, LS_FOLD_MAX };
#define LS_FOLD_HOWS 4

struct ls_vectors {
	const char *name;
	size_t bytes;            /* of a vector */
	bool (*here)(void);      /* this CPU has them */
	ls_fold_fn fold[LS_FOLD_PAIRS][LS_FOLD_HOWS];
	/* Whole steps past the caches; dst is aligned to a vector. */
	void (*copy)(void *dst, const void *src, size_t bytes);
};

extern const struct ls_vectors ls_vectors_avx512, ls_vectors_avx2, ls_vectors_plain;

/* What there is for this architecture, widest first; NULL after the last. Some may not be `here`. */
extern const struct ls_vectors *const ls_vectors_all[];

/* ls_reduce and ls_copy with one of them. */
void ls_reduce_with(const struct ls_vectors *v, const struct ls_reduction *r, void *const *dst, int n_dst, const void *const *src,
	size_t count, bool stream);
void ls_copy_with(const struct ls_vectors *v, void *dst, const void *src, size_t bytes, bool stream);

#endif
