/* attempt_ranks.c -- see attempt_impl.h: what the ranks say, what it means for the attempt, and how they are stopped. */
#include "launcher/attempt_impl.h"
#include "core/io.h"

#include <cjson/cJSON.h>
#include <signal.h>
#include <string.h>

enum {
	HELLO_MAX = 65536,       /* bytes; until then a peer may be anybody */
	WEAK_CAUSE_MS = 1500,    /* wait so long for a better explanation of "another rank was lost" */
	EXIT_CAUSE_MS = 100,     /* … and of an exit code: a killed peer may be the reason */
	LEFT_MS = 3000,          /* … and of one that got a notice: by agreement the others leave at the same step */
	KILL_GRACE_MS = 1000,    /* after a failure, for programs that do not use liblockstep: time to flush their logs */
};

/* --- stopping ---------------------------------------------------------------------------------------------------------- */

static void stop_rank(struct attempt *a, int rank, unsigned ms)
{
	if (a->conn_of[rank] >= 0 && !a->ended[rank])
		ls_wire_send(&a->conns[a->conn_of[rank]].wire, LS_MSG_STOP, &ms, sizeof(ms));
}

void attempt_stop(struct attempt *a, int grace_ms)
{
	int r;

	for (r = 0; r < a->world; r++)
		stop_rank(a, r, (unsigned)grace_ms);
	if (a->phase == STARTING && !a->engine_gone)
		kill(a->engine, SIGTERM);
	a->phase = STOPPING;
	a->force = 0;
	a->force_at_ms = ls_clock_ms() + grace_ms + 1000;
}

/* After a failure nobody can save anything any more (a rank is missing): those that would only wait in a collective are killed
 * at once, which is what makes a restart fast; a program that knows nothing of us gets a moment. */
void attempt_stop_after_failure(struct attempt *a)
{
	int r, ms = 0;

	for (r = 0; r < a->world; r++)
		if (a->started[r] && !ls_watch_rank(a->opt->watch, r)->uses_lib)
			ms = KILL_GRACE_MS;
	attempt_stop(a, ms);
}

void attempt_force(struct attempt *a)
{
	int i;

	switch (a->force++) {
	case 0: /* the ranks are SIGKILLed by their shims; the engine is asked to end */
		for (i = 0; i < a->world; i++)
			stop_rank(a, i, 0);
		if (!a->engine_gone)
			kill(a->engine, SIGTERM);
		break;
	case 1: /* the shims see their connection end */
		break;
	default:
		if (!a->engine_gone)
			kill(-a->engine, SIGKILL);
		break;
	}
	for (i = 0; a->force > 1 && i < a->n_conns; i++)
		ls_wire_close(&a->conns[i].wire);
	a->force_at_ms = ls_clock_ms() + 2000;
}

/* --- what the ranks say ------------------------------------------------------------------------------------------------ */

bool attempt_ask_others(struct attempt *a)
{
	int r;

	if (a->unanswered)
		return true;
	for (r = 0; r < a->world; r++) {
		if (a->ended[r] || a->asked[r] || a->conn_of[r] < 0 || ls_plan_host(a->opt->plan, r)->local)
			continue;
		a->asked[r] = true;
		a->unanswered++;
		ls_wire_send(&a->conns[a->conn_of[r]].wire, LS_MSG_PING, "", 0);
	}
	return a->unanswered > 0;
}

static void conn_lost(struct attempt *a, struct conn *c, bool silent);

void attempt_give_up_silent(struct attempt *a)
{
	int r;

	for (r = 0; r < a->world; r++)
		if (a->asked[r] && !a->ended[r])
			ls_wire_close(&a->conns[a->conn_of[r]].wire);
	for (r = 0; r < a->world; r++)
		if (a->asked[r] && !a->ended[r])
			conn_lost(a, &a->conns[a->conn_of[r]], true);
}

static void rank_ended(struct attempt *a, int rank, const struct ls_rank_end *e)
{
	const struct ls_rank_view *view = ls_watch_rank(a->opt->watch, rank);
	int64_t wait;

	if (a->ended[rank])
		return;
	ls_watch_rank_ended(a->opt->watch, rank);
	a->ended[rank] = true;
	a->ends[rank] = *e;
	a->ends[rank].at_ms = ls_clock_ms();
	if (e->vanished && a->phase == STOPPING)
		a->ends[rank].by_us = true;
	a->blames[rank] = !strcmp(view->error_status, "rank_lost");
	a->n_ended++;
	if (a->asked[rank]) {
		a->asked[rank] = false;
		a->unanswered--;
	}
	if (!ls_rank_end_is_failure(e) || a->phase == STOPPING)
		return;
	/* Another rank may be the reason, and its news on the way. */
	if (!e->signal && e->code == 128 + SIGTERM)
		wait = LEFT_MS;
	else if ((e->signal && e->signal != SIGABRT) || e->why[0])
		wait = 0;
	else if (a->blames[rank] || (a->phase == STARTING && e->vanished && !e->host_gone)) /* the engine may be about to tell why */
		wait = WEAK_CAUSE_MS;
	else
		wait = EXIT_CAUSE_MS;
	if (wait && wait != LEFT_MS && !a->act_at_ms && attempt_ask_others(a))
		wait = ATTEMPT_PONG_MS;
	if (!a->act_at_ms || ls_clock_ms() + wait < a->act_at_ms)
		a->act_at_ms = ls_clock_ms() + wait;
}

static void on_exit_message(struct attempt *a, struct conn *c, const char *bytes, size_t len)
{
	cJSON *json = cJSON_ParseWithLength(bytes, len);
	const cJSON *code = cJSON_GetObjectItem(json, "code"), *sig = cJSON_GetObjectItem(json, "signal");
	const char *why = cJSON_GetStringValue(cJSON_GetObjectItem(json, "why"));
	struct ls_rank_end e = { 0 };

	e.signal = cJSON_IsNumber(sig) ? sig->valueint : 0;
	e.code = !e.signal && cJSON_IsNumber(code) ? code->valueint : 0;
	e.by_us = cJSON_IsTrue(cJSON_GetObjectItem(json, "byUs"));
	e.noticed = cJSON_IsTrue(cJSON_GetObjectItem(json, "noticed"));
	e.oom = cJSON_IsTrue(cJSON_GetObjectItem(json, "oom"));
	snprintf(e.why, sizeof(e.why), "%s", why ? why : "");
	cJSON_Delete(json);
	rank_ended(a, c->rank, &e);
	ls_wire_send(&c->wire, LS_MSG_BYE, "", 0);
}

static bool on_message(struct attempt *a, struct conn *c, enum ls_msg type, const char *bytes, size_t len)
{
	struct ls_watch *w = a->opt->watch;

	if (c->rank < 0 && type == LS_MSG_AGENT) {
		attempt_agent(a, c, bytes, len);
		return false;
	}
	if (c->rank < 0) /* too late, it would wait for a word that nobody sends any more */
		return type == LS_MSG_HELLO && a->phase != STOPPING && a->phase != LEAVING && attempt_hello(a, c, bytes, len);
	switch (type) {
	case LS_MSG_STARTED:
		if (!a->started[c->rank])
			a->n_started++;
		a->started[c->rank] = true;
		if (a->n_started == a->world)
			a->out->start_s = (double)(ls_clock_ms() - a->begun_ms) / 1000;
		break;
	case LS_MSG_OUT:
		if (len)
			ls_watch_output(w, c->rank, bytes[0], bytes + 1, len - 1);
		break;
	case LS_MSG_EVENT:
		ls_watch_event(w, c->rank, bytes, len);
		break;
	case LS_MSG_STACKS:
		ls_watch_stacks(w, c->rank, bytes, len);
		break;
	case LS_MSG_PONG:
		if (a->asked[c->rank]) {
			a->asked[c->rank] = false;
			a->unanswered--;
		}
		if (!a->unanswered && a->act_at_ms > ls_clock_ms() + EXIT_CAUSE_MS)
			a->act_at_ms = ls_clock_ms() + EXIT_CAUSE_MS;
		break;
	case LS_MSG_NO_ENGINE:
		/* On this host it is mpirun itself, of which waitpid() tells more. */
		if (a->phase == RUNNING && !a->act_at_ms && !ls_plan_host(a->opt->plan, c->rank)->local)
			attempt_fail(a, "EngineLost", -1, ls_plan_host(a->opt->plan, c->rank)->name, true,
				"Open MPI's daemon on host %s was killed", ls_plan_host(a->opt->plan, c->rank)->name);
		break;
	case LS_MSG_EXIT:
		on_exit_message(a, c, bytes, len);
		break;
	default:
		break;
	}
	return true;
}

/* Is nobody of this rank's host connected any more, and was anybody else? */
static bool host_is_gone(const struct attempt *a, int rank)
{
	const struct ls_plan *p = a->opt->plan;
	int r;

	if (p->hosts.v[p->ranks[rank].host].local)
		return false;
	for (r = 0; r < a->world; r++)
		if (p->ranks[r].host == p->ranks[rank].host && a->conn_of[r] >= 0 && !a->ended[r] &&
			a->conns[a->conn_of[r]].wire.fd >= 0)
			return false;
	return true;
}

static void conn_lost(struct attempt *a, struct conn *c, bool silent)
{
	ls_wire_close(&c->wire);
	if (c->rank >= 0 && !a->ended[c->rank]) {
		struct ls_rank_end e = { .vanished = true, .host_gone = host_is_gone(a, c->rank), .silent = silent };

		rank_ended(a, c->rank, &e);
	}
}

void attempt_read(struct attempt *a, struct conn *c)
{
	ls_status st = ls_wire_fill(&c->wire);
	const char *bytes;
	enum ls_msg type;
	bool bad = false;
	size_t len;

	while (ls_wire_next(&c->wire, &type, &bytes, &len, &bad)) {
		if (!on_message(a, c, type, bytes, len)) {
			bad = true;
			break;
		}
	}
	if (st || bad || (c->rank < 0 && c->wire.in.len > HELLO_MAX))
		conn_lost(a, c, false);
}
