/* agents.h -- the agents of a run's hosts, which hold snapshots (core/snap.h) while ranks die and start again: how a shim starts one, and
 * how the launcher keeps them.
 *
 * The shim of local rank 0 listens at the agent's name, and starts the agent when the first program connects, as a service manager
 * does with a socket: who never asks pays nothing, and nobody comes too early. The agent reports in at the launcher, with the token of
 * the attempt that it was started in. From then on it lives as long as that connection, through all attempts of the run; the launcher
 * waits for none, and ends them by closing. */
#ifndef LS_AGENTS_H
#define LS_AGENTS_H

#include "core/status.h"

enum { LS_AGENT_FD = 3 }; /* the agent finds its listener here */

/* In the shim: start the agent behind this listener, of which the caller then closes its own descriptor. When that fails, those who
 * wait at it see their connections end. */
void ls_agent_start(int listener);

/* In the launcher: the run's. */
struct ls_agents;

ls_status ls_agents_open(struct ls_agents **ret, struct ls_err *err);
void ls_agents_close(struct ls_agents *a); /* NULL is fine; the agents leave at once, and what they held is gone */
const char *ls_agents_name(const struct ls_agents *a); /* for LOCKSTEP_AGENT */
const char *ls_agents_key(const struct ls_agents *a);  /* with it an agent takes copies from other hosts */
/* Takes an agent's connection over; *fd is -1 afterwards. */
void ls_agents_take(struct ls_agents *a, int *fd);

#endif
