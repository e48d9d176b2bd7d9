/* wire.h -- messages between the launcher and its rank shims, over a stream socket.
 *
 *     u32 little-endian payload length | u8 type | payload
 *
 * The launcher listens (an abstract unix socket for ranks of its own host, TCP for the others); every shim connects, proves with
 * the run's token that it belongs here, and then owns the connection until its rank has ended. A connection that ends is the
 * fastest sign there is that the other side died, so nothing else (no file, no signal) is needed to take a job down.
 *
 *   Ownership  struct ls_wire owns fd and both buffers; ls_wire_close() releases them.
 *   Threads    one thread per wire.
 *   Blocking   never: send queues what the socket does not take, flush continues.
 *   Silence    the kernels' keepalive probes find a host that vanished without a word (LS_WIRE_SILENCE_S); a peer that is
 *              merely slow to read does not count as lost (a launcher whose terminal is stopped), but see ls_wire_must_read().
 */
#ifndef LS_WIRE_H
#define LS_WIRE_H

#include "core/status.h"
#include "core/str.h"

#include <stdint.h>

enum ls_msg {
	/* shim -> launcher */
	LS_MSG_HELLO = 1, /* JSON: token, runId, rank, world, localRank, host, hostId, pid, ports, version */
	LS_MSG_STARTED,   /* empty: exec of the program worked */
	LS_MSG_OUT,       /* u8 stream (1 or 2), then bytes as the program wrote them */
	LS_MSG_EVENT,     /* bytes of LOCKSTEP_EVENT_FD (core/event.h) */
	LS_MSG_EXIT,      /* JSON: code, signal, byUs, noticed, oom, why; the last message */
	LS_MSG_STACKS,    /* text: what the rank's threads were doing */
	LS_MSG_NO_ENGINE, /* empty: Open MPI's daemon on this host is gone */
	LS_MSG_PONG,      /* empty: the answer to PING */
	LS_MSG_AGENT,     /* JSON: token, version, hostId; from a host's agent, the first and last that it says */
	/* launcher -> shim */
	LS_MSG_GO,        /* JSON: argv, env, cwd, cpuset, libdir, graceMs; to an agent: key, address */
	LS_MSG_STOP,      /* u32 ms: SIGTERM to the program now, SIGKILL after ms (0: SIGKILL now) */
	LS_MSG_DUMP,      /* send LS_MSG_STACKS */
	LS_MSG_PING,      /* something failed elsewhere: are you still there? */
	LS_MSG_BYE        /* the EXIT is on record: leave */
};

#define LS_WIRE_SILENCE_S 20
#define LS_WIRE_MAX (16u << 20) /* a longer message is refused: the peer is broken or hostile */

struct ls_wire {
	int fd; /* non-blocking; -1: closed */
	struct ls_str in, out;
	size_t in_used; /* bytes of `in` that ls_wire_next has handed out */
};

void ls_wire_init(struct ls_wire *w, int fd);
void ls_wire_close(struct ls_wire *w);
/* The peer always reads (a shim does): when it leaves our bytes alone for LS_WIRE_SILENCE_S, it is lost. Keepalive does not probe
 * while there are such bytes, and without this the kernel tries for a quarter of an hour. */
void ls_wire_must_read(struct ls_wire *w);
/* Queue one message and send what the socket takes. LS_NODE_LOST: the connection is gone. */
ls_status ls_wire_send(struct ls_wire *w, enum ls_msg type, const void *bytes, size_t len);
ls_status ls_wire_send_json(struct ls_wire *w, enum ls_msg type, const void *cjson);
ls_status ls_wire_flush(struct ls_wire *w);
/* Read what is there. LS_NODE_LOST at end of file or error (messages read before are still handed out). */
ls_status ls_wire_fill(struct ls_wire *w);
/* The next whole message: true, with *ret_bytes valid until the next fill. LS_WIRE_MAX broken: *ret_bad. */
bool ls_wire_next(struct ls_wire *w, enum ls_msg *ret_type, const char **ret_bytes, size_t *ret_len, bool *ret_bad);

/* "unix:NAME" (abstract) or "tcp:ADDRESS:PORT"; several, comma-separated, are tried in turn until deadline_ms has passed. */
ls_status ls_wire_connect(const char *addresses, int deadline_ms, int *ret_fd, struct ls_err *err);
ls_status ls_wire_listen_unix(const char *name, int *ret_fd, struct ls_err *err);
ls_status ls_wire_listen_tcp(int *ret_fd, int *ret_port, struct ls_err *err); /* a free port */
ls_status ls_wire_listen_port(int port, int *ret_fd, int *ret_port, struct ls_err *err);

/* Of a secret (ls_random_hex). The same time for every wrong one: nobody learns it byte by byte. */
bool ls_wire_secret_is(const char *want, const char *have);

#endif
