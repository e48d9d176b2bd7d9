/* coll_tensors.h -- one all-reduce as many: all gradients of a model.
 *
 * LOCKSTEP_BENCH_TENSORS=FILE[:BYTES]   a table of bench/models/, whose elements are those of the operation. The tensors are taken last
 * first, as backward gets to them, and lie in that order in the buffer. With BYTES, neighbours are fused as PyTorch's DDP does it: a bucket is
 * closed when it has so many. */
#ifndef COLL_TENSORS_H
#define COLL_TENSORS_H

#include <stddef.h>

/* The elements of each part, the caller's to free(), and how many parts there are. `how` is the variable's value; NULL or "": one part.
 * NULL: text[size] says what is wrong. */
size_t *coll_tensors(const char *how, size_t count, size_t element_bytes, size_t *ret_n, char *text, size_t size);

#endif
