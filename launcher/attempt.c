/* attempt.c -- see attempt.h: the loop and the phases. */
#include "launcher/attempt_impl.h"
#include "launcher/signals.h"
#include "core/io.h"

#include <cjson/cJSON.h>
#include <ctype.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	TICK_MS = 100,
	BLIND_MS = 2000,         /* so long between two looks: we were held up (a stopped terminal), and heard nobody */
	HELLO_MAX = 65536,       /* bytes; until then a peer may be anybody */
	HELLO_MS = 10000,        /* a connection that does not say who it is */
	WEAK_CAUSE_MS = 1500,    /* wait so long for a better explanation of "another rank was lost" */
	EXIT_CAUSE_MS = 100,     /* … and of an exit code: a killed peer may be the reason */
	PONG_MS = 3000,          /* a host that does not answer for so long, after a failure elsewhere, is the reason */
	KILL_GRACE_MS = 1000,    /* after a failure, for programs that do not use liblockstep: time to flush their logs */
	ENGINE_MS = 5000,        /* the engine ends by itself after its ranks */
};

void ls_outcome_release(struct ls_outcome *o)
{
	ls_strv_release(&o->failure.tail);
	free(o->pids);
	o->pids = NULL;
}

void attempt_fail(struct attempt *a, const char *reason, int rank, const char *host, bool retryable, const char *fmt, ...)
{
	struct ls_failure *f = &a->out->failure;
	va_list ap;

	if (a->failed || a->phase == STOPPING)
		return;
	a->failed = true;
	a->out->ending = LS_END_FAILED;
	f->rank = rank;
	f->retryable = retryable;
	snprintf(f->reason, sizeof(f->reason), "%s", reason);
	snprintf(f->host, sizeof(f->host), "%s", host);
	va_start(ap, fmt);
	vsnprintf(f->message, sizeof(f->message), fmt, ap);
	va_end(ap);
}

/* --- stopping ---------------------------------------------------------------------------------------------------------- */

static void stop_rank(struct attempt *a, int rank, unsigned ms)
{
	if (a->conn_of[rank] >= 0 && !a->ended[rank])
		ls_wire_send(&a->conns[a->conn_of[rank]].wire, LS_MSG_STOP, &ms, sizeof(ms));
}

/* Take everything down. `grace_ms`: the programs' time after SIGTERM. */
static void stop_all(struct attempt *a, int grace_ms)
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
static void stop_after_failure(struct attempt *a)
{
	int r, ms = 0;

	for (r = 0; r < a->world; r++)
		if (a->started[r] && !ls_watch_rank(a->opt->watch, r)->uses_lib)
			ms = KILL_GRACE_MS;
	stop_all(a, ms);
}

/* What was asked politely has had its time. */
static void force(struct attempt *a)
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

/* Something failed that may be the consequence of a host's silence, which the kernel reports much later than MPI does: ask
 * all others whether they are there. True: there is somebody to wait for. */
static bool ask_others(struct attempt *a)
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

static void conn_lost(struct attempt *a, struct conn *c);

/* Those that were asked and did not answer in time are as good as gone. */
static void give_up_silent(struct attempt *a)
{
	int r;

	for (r = 0; r < a->world; r++)
		if (a->asked[r] && !a->ended[r])
			ls_wire_close(&a->conns[a->conn_of[r]].wire);
	for (r = 0; r < a->world; r++)
		if (a->asked[r] && !a->ended[r])
			conn_lost(a, &a->conns[a->conn_of[r]]);
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
	if ((e->signal && e->signal != SIGABRT) || e->why[0])
		wait = 0;
	else if (a->blames[rank] || (a->phase == STARTING && e->vanished && !e->host_gone)) /* the engine may be about to tell why */
		wait = WEAK_CAUSE_MS;
	else
		wait = EXIT_CAUSE_MS;
	if (wait && !a->act_at_ms && ask_others(a))
		wait = PONG_MS;
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
	e.oom = cJSON_IsTrue(cJSON_GetObjectItem(json, "oom"));
	snprintf(e.why, sizeof(e.why), "%s", why ? why : "");
	cJSON_Delete(json);
	rank_ended(a, c->rank, &e);
	ls_wire_send(&c->wire, LS_MSG_BYE, "", 0);
}

static bool on_message(struct attempt *a, struct conn *c, enum ls_msg type, const char *bytes, size_t len)
{
	struct ls_watch *w = a->opt->watch;

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

static void conn_lost(struct attempt *a, struct conn *c)
{
	ls_wire_close(&c->wire);
	if (c->rank >= 0 && !a->ended[c->rank]) {
		struct ls_rank_end e = { .vanished = true, .host_gone = host_is_gone(a, c->rank) };

		rank_ended(a, c->rank, &e);
	}
}

static void conn_read(struct attempt *a, struct conn *c)
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
		conn_lost(a, c);
}

/* --- time -------------------------------------------------------------------------------------------------------------- */

/* The engine's own last words, without its ornaments. */
static void engine_words(const struct attempt *a, char *ret, size_t size)
{
	struct ls_str path = { 0 }, text = { 0 };
	char *p, *line;
	size_t used = 0;

	ls_str_addf(&path, "%s/attempt-%u/engine.log", a->opt->dir, a->opt->number);
	ls_file_read(ls_str_text(&path), 64 << 10, &text, NULL);
	ret[0] = '\0';
	for (p = text.s; p && (line = strsep(&p, "\n")) != NULL && used + 2 < size;) {
		while (isspace((unsigned char)*line))
			line++;
		if (!*line || !strncmp(line, "---", 3))
			continue;
		used += (size_t)snprintf(ret + used, size - used, "%s%s", used ? " " : "", line);
	}
	ls_str_release(&path);
	ls_str_release(&text);
}

static void check_engine(struct attempt *a)
{
	char words[700];

	if (a->engine_gone || waitpid(a->engine, &a->engine_status, WNOHANG) != a->engine)
		return;
	a->engine_gone = true;
	if (a->phase == STOPPING || a->phase == LEAVING || a->n_ended == a->world)
		return;
	engine_words(a, words, sizeof(words));
	a->engine_says = WIFEXITED(a->engine_status) && a->phase == RUNNING; /* before, no rank knows better */
	if (a->engine_says && ask_others(a) && !a->act_at_ms)
		a->act_at_ms = ls_clock_ms() + PONG_MS;
	if (WIFSIGNALED(a->engine_status))
		attempt_fail(a, "EngineLost", -1, "", true, "mpirun was killed by signal %d (SIG%s)", WTERMSIG(a->engine_status),
			sigabbrev_np(WTERMSIG(a->engine_status)));
	else if (a->phase == STARTING)
		attempt_fail(a, "EngineLost", -1, "", true, "mpirun ended with code %d before all ranks were started: %s",
			WEXITSTATUS(a->engine_status), words[0] ? words : "it said nothing");
	else
		attempt_fail(a, "EngineLost", -1, "", true, "mpirun ended with code %d while ranks were running: %s",
			WEXITSTATUS(a->engine_status), words[0] ? words : "it said nothing");
}

static void check_hang(struct attempt *a)
{
	long long limit_ms = a->opt->job->hang_timeout_s * 1000, silent;
	int64_t now = ls_clock_ms();
	int r, worst = -1;

	if (!limit_ms || a->act_at_ms)
		return;
	for (r = 0; r < a->world; r++) {
		const struct ls_rank_view *v = ls_watch_rank(a->opt->watch, r);
		int64_t alive_ms = v->alive_ms > a->awake_ms ? v->alive_ms : a->awake_ms;

		/* Silence only means something from a program that used to speak, or when the manifest says so. */
		if (a->ended[r] || !a->started[r] || now - alive_ms < limit_ms || !(v->step > 0 || a->opt->job->hang_timeout_given))
			continue;
		if (worst < 0 || v->step < ls_watch_rank(a->opt->watch, worst)->step)
			worst = r;
	}
	if (worst < 0)
		return;
	silent = (now - ls_watch_rank(a->opt->watch, worst)->alive_ms) / 1000;
	for (r = 0; r < a->world; r++)
		if (!a->ended[r])
			ls_wire_send(&a->conns[a->conn_of[r]].wire, LS_MSG_DUMP, "", 0);
	attempt_fail(a, "Hang", worst, ls_plan_host(a->opt->plan, worst)->name, true,
		"hang: rank %d on host %s made no progress for %lld s after step %lld (spec.runPolicy.hangTimeoutSeconds); "
		"what its threads waited for is in its log", worst, ls_plan_host(a->opt->plan, worst)->name, silent,
		ls_watch_rank(a->opt->watch, worst)->step);
}

static void check_start(struct attempt *a)
{
	struct ls_str missing = { 0 };
	char words[500];

	if (a->n_hello == a->world) {
		attempt_go(a);
		a->phase = RUNNING;
		a->awake_ms = ls_clock_ms(); /* a slow start is no hang */
		return;
	}
	if (ls_clock_ms() - a->begun_ms < a->opt->start_timeout_ms)
		return;
	attempt_missing(a, &missing);
	engine_words(a, words, sizeof(words));
	attempt_fail(a, "StartTimeout", -1, "", true, "%d of %d ranks did not report in within %d s: %s%s%s", a->world - a->n_hello,
		a->world, a->opt->start_timeout_ms / 1000, ls_str_text(&missing), words[0] ? "; mpirun says: " : "", words);
	ls_str_release(&missing);
}

/* A person, or the deadline. */
static void check_stop_request(struct attempt *a)
{
	int stops = *ls_signals_stops();
	bool late = a->opt->deadline_ms && ls_clock_ms() >= a->opt->deadline_ms;

	if (a->phase == STOPPING) {
		if (stops > a->stops_seen && a->out->ending != LS_END_FAILED) {
			ls_watch_say(a->opt->watch, true, "stopping at once");
			a->force_at_ms = 1;
		}
		a->stops_seen = stops;
		return;
	}
	if ((!stops && !late) || a->act_at_ms || a->failed || a->phase == LEAVING)
		return;
	a->stops_seen = stops;
	a->out->ending = stops ? LS_END_STOPPED : LS_END_DEADLINE;
	ls_watch_say(a->opt->watch, true, "%s: the ranks have %d s to save and leave%s",
		stops ? "stopping" : "activeDeadlineSeconds is over", a->opt->grace_ms / 1000,
		stops ? " (once more: at once)" : "");
	stop_all(a, a->opt->grace_ms);
}

/* While this process was held up nobody was heard: that silence is nobody's fault, and what was due in it waits as long again. */
static void check_blind(struct attempt *a, int64_t now)
{
	int64_t gap = now - a->looked_ms;

	if (a->looked_ms && gap > BLIND_MS) {
		a->awake_ms = now;
		if (a->act_at_ms)
			a->act_at_ms += gap;
	}
	a->looked_ms = now;
}

static void check_times(struct attempt *a)
{
	int64_t now = ls_clock_ms();
	int i;

	check_blind(a, now);
	check_engine(a);
	for (i = 0; i < a->n_conns; i++)
		if (a->conns[i].rank < 0 && (a->engine_gone || now - a->conns[i].since_ms > HELLO_MS))
			ls_wire_close(&a->conns[i].wire);
	check_stop_request(a);
	if (a->phase == STARTING && !a->failed)
		check_start(a);
	if (a->phase == RUNNING)
		check_hang(a);
	if ((a->phase == STARTING || a->phase == RUNNING) && a->failed && !a->act_at_ms)
		a->act_at_ms = now + (!strcmp(a->out->failure.reason, "Hang") ? 1000 : 0); /* the stacks are on their way */
	if ((a->phase == STARTING || a->phase == RUNNING) && a->act_at_ms && now >= a->act_at_ms) {
		if (a->unanswered)
			give_up_silent(a);
		stop_after_failure(a);
	}
	if (a->phase == RUNNING && a->n_ended == a->world) {
		a->phase = LEAVING;
		a->force_at_ms = now + ENGINE_MS;
	}
	if ((a->phase == STOPPING || a->phase == LEAVING) && now >= a->force_at_ms)
		force(a);
}

/* --- the loop ---------------------------------------------------------------------------------------------------------- */

static bool over(const struct attempt *a)
{
	int i;

	if (!a->engine_gone)
		return false;
	for (i = 0; i < a->n_conns; i++)
		if (a->conns[i].wire.fd >= 0)
			return false;
	return true;
}

static void loop_once(struct attempt *a)
{
	enum { FIXED = 3 };
	int i, n = a->n_conns;
	struct pollfd *p = calloc((size_t)(n + FIXED), sizeof(*p));

	if (!p) {
		poll(NULL, 0, TICK_MS); /* memory may come back; time limits go on */
	} else {
		p[0] = (struct pollfd){ .fd = ls_signals_fd(), .events = POLLIN };
		p[1] = (struct pollfd){ .fd = a->listeners[0], .events = POLLIN };
		p[2] = (struct pollfd){ .fd = a->listeners[1], .events = POLLIN };
		for (i = 0; i < n; i++)
			p[FIXED + i] = (struct pollfd){ .fd = a->conns[i].wire.fd,
				.events = (short)(POLLIN | (a->conns[i].wire.out.len ? POLLOUT : 0)) };
		poll(p, (nfds_t)(n + FIXED), TICK_MS);
		if (p[0].revents)
			ls_signals_drain();
		for (i = 0; i < n; i++) {
			if (p[FIXED + i].revents & POLLOUT)
				ls_wire_flush(&a->conns[i].wire);
			if (p[FIXED + i].revents & (POLLIN | POLLHUP | POLLERR))
				conn_read(a, &a->conns[i]);
		}
		if (p[1].revents)
			attempt_accept(a, a->listeners[0]);
		if (p[2].revents)
			attempt_accept(a, a->listeners[1]);
		free(p);
	}
	check_times(a);
	ls_watch_tick(a->opt->watch);
}

/* --- beginning and end ------------------------------------------------------------------------------------------------- */

static ls_status random_hex(char *ret, size_t bytes, struct ls_err *err)
{
	unsigned char raw[32];
	size_t i;

	if (getrandom(raw, bytes, 0) != (ssize_t)bytes)
		return ls_fail(err, LS_AGAIN, errno, "no random numbers");
	for (i = 0; i < bytes; i++)
		sprintf(ret + 2 * i, "%02x", raw[i]);
	return LS_OK;
}

static ls_status allocate(struct attempt *a, struct ls_err *err)
{
	size_t n = (size_t)a->world;
	int r;

	a->conn_of = malloc(n * sizeof(*a->conn_of));
	a->ends = calloc(n, sizeof(*a->ends));
	a->ended = calloc(n, sizeof(*a->ended));
	a->started = calloc(n, sizeof(*a->started));
	a->blames = calloc(n, sizeof(*a->blames));
	a->asked = calloc(n, sizeof(*a->asked));
	a->ports = calloc(n, sizeof(*a->ports));
	a->out->pids = calloc(n, sizeof(*a->out->pids));
	if (!a->conn_of || !a->ends || !a->ended || !a->started || !a->blames || !a->asked || !a->ports || !a->out->pids)
		return ls_fail_oom(err);
	for (r = 0; r < a->world; r++)
		a->conn_of[r] = -1;
	return LS_OK;
}

/* A rank takes a connection and a log, and the usual soft limit is 1024 descriptors. Raised after the engine's fork, and put back
 * before the next: the programs' limit is not ours to change. */
static struct rlimit raise_files(void)
{
	struct rlimit before = { 0 }, more;

	if (getrlimit(RLIMIT_NOFILE, &before) == 0) {
		more = before;
		more.rlim_cur = more.rlim_max;
		setrlimit(RLIMIT_NOFILE, &more);
	}
	return before;
}

/* How did it end? Only now are all causes known. */
static void judge(struct attempt *a)
{
	struct ls_failure *f = &a->out->failure;
	char words[500];
	int cause = ls_failure_cause(a->ends, a->ended, a->blames, a->world), r;
	bool all_zero = a->n_ended == a->world, told = false;

	for (r = 0; r < a->world; r++) {
		all_zero &= a->ended[r] && !a->ends[r].code && !a->ends[r].signal && !a->ends[r].vanished && !a->ends[r].why[0];
		told |= a->ends[r].by_us;
	}
	if (a->out->ending == LS_END_STOPPED || a->out->ending == LS_END_DEADLINE) {
		/* A program that got the word may well leave with 0, and has not done what was asked. */
		if (all_zero && !told && a->n_started == a->world)
			a->out->ending = LS_END_SUCCEEDED; /* it was done before the word came */
		return;
	}
	if (!a->failed && all_zero) {
		a->out->ending = LS_END_SUCCEEDED;
		return;
	}
	a->out->ending = LS_END_FAILED;
	/* An engine that gave up by itself had a reason, and a rank may know it better. One that was killed is the reason: vanished
	 * connections are what its end looks like from the ranks' side. */
	if (cause >= 0 && (!a->failed || a->engine_says))
		ls_failure_describe(a->opt->job, cause, ls_plan_host(a->opt->plan, cause)->name, &a->ends[cause],
			ls_watch_rank(a->opt->watch, cause)->error, a->blames[cause], f);
	else if (!a->failed)
		attempt_fail(a, "EngineLost", -1, "", true, "the attempt ended without a cause that anybody reported");
	if (cause >= 0 && !a->failed && a->ends[cause].vanished && !a->n_started) { /* a shim that the engine took back */
		size_t used = strlen(f->message);

		engine_words(a, words, sizeof(words));
		if (words[0])
			snprintf(f->message + used, sizeof(f->message) - used, "; mpirun says: %s", words);
	}
	ls_watch_tail(a->opt->watch, f->rank, &f->tail);
}

static void release(struct attempt *a)
{
	int i;

	for (i = 0; i < a->n_conns; i++)
		ls_wire_close(&a->conns[i].wire);
	ls_fd_close(&a->listeners[0]);
	ls_fd_close(&a->listeners[1]);
	free(a->conns);
	free(a->conn_of);
	free(a->ends);
	free(a->ended);
	free(a->started);
	free(a->blames);
	free(a->asked);
	free(a->ports);
}

ls_status ls_attempt_run(const struct ls_attempt_options *opt, struct ls_outcome *ret, struct ls_err *err)
{
	struct attempt a = { .opt = opt, .out = ret, .world = opt->plan->world, .listeners = { -1, -1 }, .begun_ms = ls_clock_ms() };
	struct ls_facts facts;
	ls_status st;

	*ret = (struct ls_outcome){ .failure.rank = -1, .ending = LS_END_FAILED };
	ls_time_rfc3339(ret->started);
	st = ls_watch_attempt(opt->watch, opt->number, a.world, err);
	if (!st)
		st = random_hex(a.run_id, 8, err);
	if (!st)
		st = random_hex(a.token, 32, err);
	if (!st)
		st = allocate(&a, err);
	if (!st) {
		ls_session_dirs(a.run_id, a.session_tmp, a.session_shm);
		ret->ending = LS_END_SUCCEEDED;
		st = attempt_start_engine(&a, err);
	}
	if (!st) {
		struct rlimit before = raise_files();

		while (!over(&a))
			loop_once(&a);
		setrlimit(RLIMIT_NOFILE, &before);
		judge(&a);
		/* The hosts' reapers do the same; here the launcher knows that it is done when it returns. */
		ls_remove_tree(a.session_tmp, NULL);
		ls_remove_tree(a.session_shm, NULL);
	}
	ls_watch_tick(opt->watch);
	ls_watch_facts(opt->watch, &facts);
	ret->step = facts.step;
	ret->resumed = facts.resumed;
	ls_time_rfc3339(ret->ended);
	release(&a);
	return st;
}
