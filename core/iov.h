/* iov.h -- a place in the concatenation of some vectors, to walk on from. Owns nothing. */
#ifndef LS_IOV_H
#define LS_IOV_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct ls_iov {
	const struct iovec *v;
	int n;       /* vectors from here on */
	size_t skip; /* bytes of v[0] that lie behind */
};

struct ls_iov ls_iov_at(const struct iovec *v, int n, uint64_t offset);
/* The next piece in one stretch, of 1 to `max` bytes, and walk over it; of 0 bytes at the end only. */
struct iovec ls_iov_next(struct ls_iov *at, size_t max);
uint64_t ls_iov_bytes(const struct iovec *v, int n);

#endif
