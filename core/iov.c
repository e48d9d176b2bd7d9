/* iov.c -- see iov.h. */
#include "core/iov.h"

struct ls_iov ls_iov_at(const struct iovec *v, int n, uint64_t offset)
{
	struct ls_iov at = { v, n, 0 };

	for (; at.n && offset >= at.v->iov_len; at.v++, at.n--)
		offset -= at.v->iov_len;
	at.skip = at.n ? (size_t)offset : 0;
	return at;
}

struct iovec ls_iov_next(struct ls_iov *at, size_t max)
{
	struct iovec piece = { NULL, 0 };
	size_t left;

	for (; at->n && at->skip == at->v->iov_len; at->v++, at->n--)
		at->skip = 0;
	if (!at->n)
		return piece;
	left = at->v->iov_len - at->skip;
	piece = (struct iovec){ (char *)at->v->iov_base + at->skip, left < max ? left : max };
	at->skip += piece.iov_len;
	return piece;
}

uint64_t ls_iov_bytes(const struct iovec *v, int n)
{
	uint64_t bytes = 0;

	while (n-- > 0)
		bytes += v++->iov_len;
	return bytes;
}
