/* pod_chan.h -- bytes queued on an encrypted connection (core/psk.h), and taken from it by lines or by number.
 *
 *   Ownership  the channel owns the connection and both buffers; ls_chan_close() releases them, on a zeroed one, too.
 *   Blocking   never.
 *   Errors     of fill and flush: LS_NODE_LOST, LS_DATA_BAD: over (what was read before stays in `in`). LS_AGAIN is not one of them. */
#ifndef LS_POD_CHAN_H
#define LS_POD_CHAN_H

#include "core/psk.h"
#include "core/str.h"

enum { LS_CHAN_MAX = 64 << 20 }; /* more unread bytes than that: the peer is broken */

struct ls_chan {
	struct ls_psk *psk; /* NULL: closed */
	struct ls_str in, out;
};

/* Takes fd, and sets what a connection between Pods needs: keepalive, no delay. */
ls_status ls_chan_open(struct ls_chan *c, int fd, bool server, const struct ls_psk_key *key, struct ls_err *err);
void ls_chan_close(struct ls_chan *c);
ls_status ls_chan_fill(struct ls_chan *c, struct ls_err *err);
ls_status ls_chan_flush(struct ls_chan *c, struct ls_err *err);
/* Queues; flush sends. */
void ls_chan_add(struct ls_chan *c, const void *bytes, size_t len);
/* The next whole line without its end, now the caller's to free(); NULL: none yet. */
char *ls_chan_line(struct ls_chan *c);
int ls_chan_fd(const struct ls_chan *c);       /* -1: closed */
short ls_chan_events(const struct ls_chan *c); /* for poll() */

#endif
