/* signal.c -- a termination notice becomes a flag that the next step's end shows to the other ranks.
 *
 * Only SIGTERM: the launcher sends it before anything harsher, and so do Slurm and Kubernetes. The handler does
 * nothing but set the flag; a program that never reaches lockstep_step_end is ended by the launcher's SIGKILL after
 * the grace time. */
#include "worker/rank.h"

#include <signal.h>

static volatile sig_atomic_t came;
static int watchers;
static struct sigaction before;

static void on_term(int sig)
{
	(void)sig;
	came = 1;
}

void ls_signal_watch(void)
{
	struct sigaction act = { .sa_handler = on_term, .sa_flags = SA_RESTART };

	if (watchers++ > 0)
		return;
	sigemptyset(&act.sa_mask);
	sigaction(SIGTERM, &act, &before);
}

void ls_signal_unwatch(void)
{
	if (--watchers == 0)
		sigaction(SIGTERM, &before, NULL);
}

bool ls_signal_came(void)
{
	return came;
}
