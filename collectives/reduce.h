/* reduce.h -- the arithmetic of every reduction on CPUs (its rules: coll.h): one function, so that every algorithm rounds
 * alike. Widest vectors that this CPU has, chosen once, at run time: lanes are different elements, so the order of the
 * additions of one element, and with it every bit, is that of the plain loop.
 *
 *   Threads    no state but the choice of the CPU's variant, made before main.
 *   Alignment  of the element suffices; 64 bytes are best. */
#ifndef LS_REDUCE_H
#define LS_REDUCE_H

#include "collectives/coll.h"

struct ls_reduction {
	enum ls_reduce_op op;
	enum ls_dtype in, out; /* equal; or one F16 or BF16 and the other F32 (partial sums) */
	int n;                 /* sources, at least 1 */
	int group;             /* coll.h; sources are taken in blocks of so many, the last may be shorter */
	int divisor;           /* of an average: world; else, and for partial sums, 1 */
};

/* dst[d][i] = the reduction of src[0][i] … src[n-1][i], the same to each of n_dst destinations. A destination may be one
 * of the sources (same type); otherwise nothing overlaps. stream: store past the caches, where the CPU can; for more
 * data than they hold. All stores are complete, in the sense of a release, when it returns. */
void ls_reduce(const struct ls_reduction *r, void *const *dst, int n_dst, const void *const *src, size_t count, bool stream);
/* memcpy, with the same meaning of stream. */
void ls_copy(void *dst, const void *src, size_t bytes, bool stream);
/* "avx512", "avx2", "sse2", "neon", "portable". LOCKSTEP_CPU_VECTORS=NAME asks for a lesser one (tests); one that is
 * unknown or that this CPU lacks is told once by the caller of ls_vectors_check: LS_USAGE. */
const char *ls_vectors_name(void);
ls_status ls_vectors_check(struct ls_err *err);

#endif
