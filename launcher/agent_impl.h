/* agent_impl.h -- a host's agent, shared by cmd_agent.c (its life, and the ranks of its host), agent_table.c (what it holds) and
 * agent_copy.c (copies from other hosts). Nobody else includes it.
 *
 * One thread listens, one more serves each connection: a peer that is slow, or silent, holds up nobody else. The table is all they share.
 * Snapshots are looked at with pread() only, never mapped: whoever else has the descriptor can truncate the file at any time. */
#ifndef LS_AGENT_IMPL_H
#define LS_AGENT_IMPL_H

#include "core/hold.h"
#include "core/hold_wire.h"

#include <pthread.h>

struct agent {
	char key[LS_HOLD_KEY + 1];
	char address[256];       /* "ADDRESS:PORT KEY", or "" */
	pthread_mutex_t lock;
	struct held *held;
	_Atomic uint64_t coming; /* bytes of images that are wanted, and not here yet */
	_Atomic int copies;      /* connections from other hosts */
};

/* Takes `pass`. `owner`: the connection's number, from 1. */
ls_status agent_keep(struct agent *a, int pass, uint64_t owner, struct ls_err *err);
/* The connection has ended: what it left unfinished stays so. */
void agent_leave(struct agent *a, uint64_t owner);
void agent_forget(struct agent *a, const struct ls_hold_request *what);
/* As ls_hold_list(). */
ls_status agent_list(struct agent *a, struct ls_held **ret, size_t *ret_n, struct ls_err *err);
/* LS_EXISTS: a newer copy of that rank is here. */
ls_status agent_wants_copy(struct agent *a, const struct ls_snap_head *head, struct ls_err *err);
/* A whole copy, for all older ones of its rank. Takes fd. */
ls_status agent_add_copy(struct agent *a, int fd, const struct ls_snap_head *head, struct ls_err *err);

/* Serve one connection from another host. */
void agent_receive(struct agent *a, int fd);

#endif
