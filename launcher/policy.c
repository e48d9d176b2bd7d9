/* policy.c -- see policy.h. */
#include "launcher/policy.h"

#include <stdio.h>
#include <string.h>

enum ls_action ls_policy_next(struct ls_policy *p, const struct ls_ended *e, int *ret_delay_ms)
{
	bool progress = e->step > p->best_step;
	char now[sizeof(p->last)];

	if (progress)
		p->best_step = e->step;
	if (e->ending == LS_END_SUCCEEDED)
		return LS_ACT_DONE;
	if (e->ending != LS_END_FAILED)
		return LS_ACT_STOPPED;
	if (!e->retryable)
		return LS_ACT_FAILED;

	snprintf(now, sizeof(now), "%d %s %lld", e->rank, e->reason, e->step);
	p->same = strcmp(now, p->last) ? 1 : p->same + 1;
	memcpy(p->last, now, sizeof(now));
	if (progress)
		p->used = 0;
	if (p->used >= p->backoff_limit)
		return LS_ACT_GAVE_UP;
	if (e->step > 0 && p->same >= LS_BREAKER)
		return LS_ACT_GAVE_UP;
	*ret_delay_ms = progress ? 0 : p->used >= 6 ? LS_DELAY_MAX_MS : 1000 << p->used;
	p->used++;
	return LS_ACT_RESTART;
}

int ls_policy_exit_code(enum ls_action a, const struct ls_ended *e, int code, int signal, int restarts)
{
	int own = signal ? 128 + signal : code > 0 && code < 256 ? code : 1;

	switch (a) {
	case LS_ACT_DONE:
		return 0;
	case LS_ACT_STOPPED:
		return e->ending == LS_END_DEADLINE ? 124 : own;
	case LS_ACT_GAVE_UP:
		return restarts ? 75 : own;
	case LS_ACT_FAILED:
	case LS_ACT_RESTART:
		break;
	}
	return own;
}
