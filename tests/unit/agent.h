/* agent.h -- a unit test that is the launcher of a real agent (launcher/cmd_agent.c). */
#ifndef LS_TEST_AGENT_H
#define LS_TEST_AGENT_H

#include "launcher/agents.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* In the child that becomes the agent: its listener where it looks for it, the test's control socket, and nothing else open. */
static inline void agent_takes(int listener, const char *ctl)
{
	char text[80];

	snprintf(text, sizeof(text), "unix:%s", ctl);
	setenv("LOCKSTEP_CTL", text, 1);
	setenv("LOCKSTEP_TOKEN", "the token", 1);
	dup2(listener, LS_AGENT_FD);
	close_range(LS_AGENT_FD + 1, ~0u, 0);
}

#endif
