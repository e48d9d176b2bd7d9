/* attempt.c -- see attempt.h: the loop and the phases. */
#include "launcher/attempt_impl.h"
#include "launcher/signals.h"
#include "core/io.h"

#include <ctype.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	TICK_MS = 100,
	BLIND_MS = 2000,         /* so long between two looks: we were held up (a stopped terminal), and heard nobody */
	HELLO_MS = 10000,        /* a connection that does not say who it is */
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
	if (a->engine_says && attempt_ask_others(a) && !a->act_at_ms)
		a->act_at_ms = ls_clock_ms() + ATTEMPT_PONG_MS;
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
		stops ? "stopping" : "the time limit is over", a->opt->grace_ms / 1000,
		stops ? " (once more: at once)" : "");
	attempt_stop(a, a->opt->grace_ms);
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

/* mpirun would give the shims that still leave a second before it ends (odls_base_sigkill_timeout), and a restart waits for that. When every
 * rank has told how it ended there is nothing left for it to do; the reapers clear up. */
static void end_engine(struct attempt *a)
{
	int r;

	for (r = 0; r < a->world; r++)
		if (!a->ended[r] || a->ends[r].vanished)
			return;
	if (!a->engine_gone)
		kill(-a->engine, SIGKILL);
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
			attempt_give_up_silent(a);
		attempt_stop_after_failure(a);
	}
	if (a->phase == RUNNING && a->n_ended == a->world) {
		a->phase = LEAVING;
		a->force_at_ms = now + ENGINE_MS;
	}
	if (a->phase == STOPPING)
		end_engine(a);
	if ((a->phase == STOPPING || a->phase == LEAVING) && now >= a->force_at_ms)
		attempt_force(a);
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
				attempt_read(a, &a->conns[i]);
		}
		if (p[1].revents)
			attempt_accept(a, a->listeners[0]);
		if (p[2].revents)
			attempt_accept(a, a->listeners[1]);
		free(p);
	}
	check_times(a);
	ls_watch_tick(a->opt->watch);
	if (a->opt->seen)
		a->opt->seen(a->opt->who, a->opt->number, a->world, a->n_hello);
}

/* --- beginning and end ------------------------------------------------------------------------------------------------- */

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

/* A rank that ended well while others ran, or -1. */
static int left_early(const struct attempt *a)
{
	int r;

	for (r = 0; r < a->world; r++)
		if (a->ended[r] && !a->ends[r].by_us && !ls_rank_end_is_failure(&a->ends[r]))
			return r;
	return -1;
}

/* Open MPI ends the job when a rank that called MPI_Init leaves without MPI_Finalize, with whatever exit code. What that looks like
 * from here: one rank ended with 0, and then the others' shims vanished. */
static void fail_left_early(struct attempt *a, int rank)
{
	struct ls_failure *f = &a->out->failure;
	char words[500];

	engine_words(a, words, sizeof(words));
	f->rank = rank;
	f->retryable = false;
	snprintf(f->reason, sizeof(f->reason), "LeftEarly");
	snprintf(f->host, sizeof(f->host), "%s", ls_plan_host(a->opt->plan, rank)->name);
	snprintf(f->message, sizeof(f->message), "rank %d on host %s exited with code 0 while other ranks were running, and Open MPI then "
		"ended the job; did it leave without MPI_Finalize? mpirun says: %s", rank, f->host, words[0] ? words : "nothing");
}

/* How did it end? Only now are all causes known. */
static void judge(struct attempt *a)
{
	struct ls_failure *f = &a->out->failure;
	char words[500];
	int cause = ls_failure_cause(a->ends, a->ended, a->blames, a->world), early = left_early(a), r;
	bool all_zero = a->n_ended == a->world, told = false;

	for (r = 0; r < a->world; r++) {
		all_zero &= a->ended[r] && !a->ends[r].code && !a->ends[r].signal && !a->ends[r].vanished && !a->ends[r].why[0] &&
			!a->ends[r].noticed;
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
	if (cause >= 0 && (!a->failed || a->engine_says) && a->ends[cause].vanished && !a->ends[cause].host_gone && early >= 0)
		fail_left_early(a, early);
	else if (cause >= 0 && (!a->failed || a->engine_says))
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
		st = ls_random_hex(a.run_id, 8, err);
	if (!st)
		st = ls_random_hex(a.token, 32, err);
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
