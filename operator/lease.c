/* lease.c -- see lease.h: the judgement. The thread around it is lease_thread.c. */
#include "operator/lease.h"

#include <stdio.h>
#include <string.h>

static bool same(const char *a, const char *b)
{
	return !strcmp(a, b);
}

static enum ls_lease_step as_leader(struct ls_lease_view *v, const struct ls_lease_record *seen, int64_t now_ms)
{
	bool another = seen && seen->exists && !same(seen->holder, v->identity);

	if (another || now_ms - v->renewed_ms >= LS_LEASE_RENEW_S * 1000) {
		v->role = LS_LEASE_LOST;
		return LS_LEASE_GIVE_UP;
	}
	if (!seen)
		return LS_LEASE_WAIT;
	return seen->exists ? LS_LEASE_RENEW : LS_LEASE_CREATE;
}

/* A record with our own name in it before we wrote any is of a write whose answer was lost. */
static enum ls_lease_step as_standby(struct ls_lease_view *v, const struct ls_lease_record *seen, int64_t now_ms)
{
	int duration_s;

	if (!seen)
		return LS_LEASE_WAIT;
	if (!seen->exists)
		return LS_LEASE_CREATE;
	if (!same(seen->version, v->version)) {
		snprintf(v->version, sizeof(v->version), "%s", seen->version);
		v->since_ms = now_ms;
	}
	if (!seen->holder[0] || same(seen->holder, v->identity))
		return LS_LEASE_TAKE;
	duration_s = seen->duration_s > 0 ? seen->duration_s : LS_LEASE_S;
	return now_ms - v->since_ms >= (int64_t)duration_s * 1000 ? LS_LEASE_TAKE : LS_LEASE_WAIT;
}

enum ls_lease_step ls_lease_judge(struct ls_lease_view *v, const struct ls_lease_record *seen, int64_t now_ms)
{
	switch (v->role) {
	case LS_LEASE_LEADER:
		return as_leader(v, seen, now_ms);
	case LS_LEASE_STANDBY:
		return as_standby(v, seen, now_ms);
	default:
		return LS_LEASE_GIVE_UP;
	}
}

void ls_lease_written(struct ls_lease_view *v, const char *version, int64_t sent_ms)
{
	if (v->role == LS_LEASE_LOST)
		return;
	v->role = LS_LEASE_LEADER;
	v->renewed_ms = sent_ms;
	v->since_ms = sent_ms;
	snprintf(v->version, sizeof(v->version), "%s", version);
}

bool ls_lease_holds(const struct ls_lease_view *v, int64_t now_ms, int within_ms)
{
	return v->role == LS_LEASE_LEADER && now_ms + within_ms + LS_LEASE_MARGIN_MS < v->renewed_ms + LS_LEASE_S * 1000;
}
