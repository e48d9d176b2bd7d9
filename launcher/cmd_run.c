/* cmd_run.c -- `lockstep run`: the life of a job, from the command line to the exit code.
 *
 *     options ─> job ─> its directory (locked) ─> engine ─┬─> probe hosts ─> plan ─> attempt ─> policy ─┬─> summary, report, exit code
 *                                                         └───────────────── restart <──────────────────┘
 *
 * Nothing is started before manifest, directory, engine, hosts and plan are all right.
 */
#include "launcher/commands.h"
#include "launcher/job_dir.h"
#include "launcher/probe.h"
#include "launcher/report.h"
#include "launcher/run_impl.h"
#include "launcher/run_show.h"
#include "launcher/signals.h"
#include "core/ckpt.h"
#include "core/io.h"

#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { START_TIMEOUT_S = 60, REJOIN_TIMEOUT_S = 30 };

static struct ls_watch *say_watch; /* NULL until the job's directory is there */

static void say(const char *sentence)
{
	if (say_watch)
		ls_watch_say(say_watch, false, "%s", sentence);
	else
		fprintf(stderr, "lockstep: %s\n", sentence);
}

/* The same, and into job.json: in a launcher's Pod others want to know what its start waits for. */
static struct run *starting;

static void tell_starting(const char *sentence)
{
	struct ls_err err = LS_ERR_INIT;

	starting->told_starting = *sentence;
	if (ls_record_state_set(starting->record, "Starting", sentence, -1, &err))
		say(err.text);
}

static void say_starting(const char *sentence)
{
	say(sentence);
	tell_starting(sentence);
}

/* --- one attempt ------------------------------------------------------------------------------------------------------- */

static ls_status copy_hosts(const struct ls_hosts *from, struct ls_hosts *to, struct ls_err *err)
{
	int i;

	to->v = calloc((size_t)from->n, sizeof(*to->v));
	if (!to->v)
		return ls_fail_oom(err);
	for (i = 0; i < from->n; i++) {
		to->v[i] = (struct ls_host){ .slots = from->v[i].slots, .local = from->v[i].local, .name = strdup(from->v[i].name) };
		to->n++;
		if (!to->v[i].name)
			return ls_fail_oom(err);
	}
	return LS_OK;
}

static bool is_late(const struct run *r)
{
	return r->deadline_ms && ls_clock_ms() >= r->deadline_ms;
}

/* What is left of `ms` until the deadline. */
static int until_deadline(const struct run *r, int ms)
{
	int64_t left = r->deadline_ms - ls_clock_ms();

	return !r->deadline_ms || left > ms ? ms : left > 0 ? (int)left : 0;
}

/* A container that asks for GPUs must not train on the CPU of a host that has none. */
static ls_status check_gpus(const struct run *r, const struct ls_plan *plan, struct ls_err *err)
{
	const struct ls_gpu *const *gpus;
	bool odd;
	int i;

	for (i = 0; i < plan->hosts.n; i++) {
		const struct ls_host *h = &plan->hosts.v[i];
		int have = ls_topo_usable_gpus(h->topo, &gpus);
		const char *hidden = ls_topo_hidden_gpus(h->topo, &odd);

		if (have < r->job.gpus_per_worker)
			return ls_fail(err, LS_USAGE, 0, "spec.workers.template asks for %d GPU%s (nvidia.com/gpu), host %s has %d%s%s",
				r->job.gpus_per_worker, r->job.gpus_per_worker > 1 ? "s" : "", h->name, have, hidden[0] ? ": " : "", hidden);
	}
	return LS_OK;
}

static ls_status plan_once(struct run *r, bool first, struct ls_plan *ret, struct ls_err *err)
{
	int start_s = r->opt.start_timeout_s > 0 ? (int)r->opt.start_timeout_s : START_TIMEOUT_S;
	bool elastic = !r->mpirun_style && !r->opt.workers && r->job.min_replicas < r->job.replicas;
	struct ls_probe_options po = { .ssh = r->opt.ssh ? r->opt.ssh : "ssh",
		.binary = r->opt.remote_path ? r->opt.remote_path : r->binary,
		.deadline_ms = until_deadline(r, 1000 * (first || start_s < REJOIN_TIMEOUT_S ? start_s : REJOIN_TIMEOUT_S)),
		.need_all = !elastic,
		.say = r->opt.workers ? say_starting : r->opt.quiet ? NULL : say, .stop = ls_signals_stops(),
		.stale = r->opt.workers ? run_workers_changed : NULL, .who = r };
	struct ls_plan_options lo = { .ranks = r->opt.np, .ranks_per_worker = r->opt.per_host, .bind = r->job.bind,
		.oversubscribe = r->opt.oversubscribe, .by_node = r->opt.by_node, .local = r->opt.local };
	struct ls_hosts hosts = { 0 };
	struct ls_str lost = { 0 };
	ls_status st;

	if (!r->mpirun_style) {
		lo.replicas = r->opt.workers ? r->hosts.n : r->job.replicas; /* the operator knows how many there can be */
		lo.min_replicas = r->opt.workers ? r->hosts.n : r->job.min_replicas;
		lo.ranks_per_worker = r->opt.per_host ? r->opt.per_host : r->job.ranks_per_worker;
		if (lo.ranks_per_worker == LS_RANKS_AUTO && r->job.gpus_per_worker > 0)
			lo.ranks_per_worker = r->job.gpus_per_worker;
	}
	st = copy_hosts(&r->hosts, &hosts, err);
	if (!st)
		st = ls_probe_hosts(&hosts, &po, &lost, err);
	if (!st && lost.len && hosts.n < r->job.min_replicas) {
		st = ls_fail(err, LS_NODE_LOST, 0, "%d host%s answered within %d s, and spec.workers.minReplicas is %d: no word from %s",
			hosts.n, hosts.n > 1 ? "s" : "", po.deadline_ms / 1000, r->job.min_replicas, ls_str_text(&lost));
	} else if (!st && lost.len) {
		ls_str_release(&r->silent);
		ls_str_add(&r->silent, ls_str_text(&lost));
		ls_str_addf(&lost, ": no answer within %d s; going on without", po.deadline_ms / 1000);
		say(ls_str_text(&lost));
	}
	if (!st)
		st = ls_plan_make(&hosts, &lo, ret, err);
	if (!st && check_gpus(r, ret, err)) {
		ls_plan_release(ret);
		st = LS_USAGE;
	}
	if (!st && r->job.within != LS_WITHIN_NONE && ret->hosts.n > 1 && !r->opt.workers) {
		ls_plan_release(ret);
		st = ls_fail(err, LS_USAGE, 0, "spec.placement.within: which hosts share a node, rack or block is known from Kubernetes' "
			"node labels only; name hosts that do, and leave the field out");
	}
	ls_hosts_release(&hosts);
	ls_str_release(&lost);
	return st;
}

/* In a launcher's Pod a worker that does not answer is being replaced, or will be: that costs no attempt. The next order says where. */
static ls_status make_plan(struct run *r, bool first, struct ls_plan *ret, struct ls_err *err)
{
	ls_status st = LS_OK;

	if (!r->opt.workers)
		return plan_once(r, first, ret, err);
	starting = r;
	for (;;) {
		st = run_wait_workers(r, say, err);
		if (!st && r->told_starting) /* of workers that were replaced, maybe */
			tell_starting("");
		if (!st)
			st = plan_once(r, first, ret, err);
		if (st != LS_NODE_LOST || *ls_signals_stops() || is_late(r))
			return st;
		say_starting(err->text);
	}
}

static void look_for_manifest(struct run *r)
{
	struct ls_store *store = NULL;
	struct ls_ckpt_id *ids = NULL;
	size_t n = 0;
	char dir[LS_CKPT_DIR_MAX];

	if (r->checkpoint_uri[0] && !ls_store_open(r->checkpoint_uri, &store, NULL) && !ls_ckpt_list(store, &ids, &n, NULL) && n) {
		ls_ckpt_dir(ids[0], dir);
		snprintf(r->resume_at, sizeof(r->resume_at), "%s/%s/manifest.json", r->checkpoint_uri, dir);
	}
	free(ids);
	ls_store_close(store);
	r->looked = true;
}

/* The newest manifest, for LOCKSTEP_RESUME: a hint, verified by whoever restores. The store is asked once; then the ranks say what they save:
 * a restart does not wait for a store that is away. */
static const char *newest_manifest(struct run *r)
{
	struct ls_facts f = { 0 };

	if (!r->looked)
		look_for_manifest(r);
	if (r->watch)
		ls_watch_facts(r->watch, &f);
	if (f.n_saved && f.saved[f.n_saved - 1].uri[0])
		snprintf(r->resume_at, sizeof(r->resume_at), "%s/manifest.json", f.saved[f.n_saved - 1].uri);
	return r->resume_at;
}

static void attempt_options(struct run *r, const struct ls_plan *plan, const char *resume, struct ls_attempt_options *ret)
{
	*ret = (struct ls_attempt_options){ .job = &r->job, .plan = plan, .engine = &r->engine, .watch = r->watch,
		.agents = r->agents, .dir = r->dir,
		.number = r->record ? ls_record_next_attempt(r->record) : 0, .restarts = r->restarts,
		.max_restarts = r->job.backoff_limit, .checkpoint_uri = r->checkpoint_uri, .resume = resume, .cwd = r->cwd,
		.binary = r->opt.remote_path ? r->opt.remote_path : r->binary, .ssh = r->opt.ssh ? r->opt.ssh : "ssh",
		.user_env = (const char *const *)r->env.v, .engine_extra = (const char *const *)r->opt.engine_extra.v,
		.start_timeout_ms = 1000 * (r->opt.start_timeout_s > 0 ? (int)r->opt.start_timeout_s : START_TIMEOUT_S),
		.grace_ms = 1000 * r->job.grace_seconds, .deadline_ms = r->deadline_ms,
		.seen = r->opt.workers ? run_seen : NULL, .who = r };
}

static void announce(struct run *r, const struct ls_attempt_options *ao)
{
	struct ls_str where = { 0 }, plan = { 0 };
	int i;

	ls_show_where(ao->plan, &where);
	if (!r->mpirun_style || r->opt.report_bindings)
		ls_watch_say(r->watch, false, "%s: attempt %u, %s, Open MPI %s; logs in %s/attempt-%u", r->job.name, ao->number,
			ls_str_text(&where), r->engine.version, r->dir, ao->number);
	for (i = 0; i < ao->plan->hosts.n; i++)
		if (ao->plan->hosts.v[i].place.warning[0] && !r->restarts)
			ls_watch_warn(r->watch, "host %s: %s", ao->plan->hosts.v[i].name, ao->plan->hosts.v[i].place.warning);
	if (r->opt.report_bindings) {
		ls_show_plan(ao->plan, &plan);
		ls_watch_say(r->watch, false, "\n%s", ls_str_text(&plan));
	}
	ls_str_release(&plan);
	ls_str_release(&where);
}

static ls_status one_attempt(struct run *r, struct ls_plan *plan, struct ls_outcome *ret, struct ls_err *err)
{
	struct ls_attempt_options ao;
	struct ls_facts facts;
	ls_status st;

	attempt_options(r, plan, newest_manifest(r), &ao);
	ls_watch_facts(r->watch, &facts);
	ao.generation = facts.generation;
	announce(r, &ao);
	ls_record_attempt_begin(r->record, ao.number, plan);
	st = ls_record_state_set(r->record, "Running", "", -1, err);
	if (!st)
		st = ls_attempt_run(&ao, ret, err);
	if (st)
		return st;
	r->live_ms = 0;
	if (ao.seen)
		ao.seen(r, ao.number, plan->world, ret->world);
	ls_watch_facts(r->watch, &facts);
	ls_record_attempt_end(r->record, plan, ret);
	ls_record_facts(r->record, &facts);
	return LS_OK;
}

/* Hosts that do not come back, and a shortage (a full disk), end an attempt like any other failure. */
static void not_begun(const struct run *r, const struct ls_err *why, struct ls_outcome *ret)
{
	ls_outcome_release(ret);
	*ret = (struct ls_outcome){ .ending = *ls_signals_stops() ? LS_END_STOPPED : is_late(r) ? LS_END_DEADLINE : LS_END_FAILED };
	ls_time_rfc3339(ret->started);
	ls_time_rfc3339(ret->ended);
	ret->failure.rank = -1;
	ret->failure.retryable = why->status == LS_NODE_LOST || why->status == LS_AGAIN;
	snprintf(ret->failure.reason, sizeof(ret->failure.reason), why->status == LS_NODE_LOST ? "HostLost" : "StartFailed");
	snprintf(ret->failure.host, sizeof(ret->failure.host), "%s", why->host);
	snprintf(ret->failure.message, sizeof(ret->failure.message), "%s", why->text);
}

static void show_failure(struct run *r, unsigned attempt, const struct ls_outcome *o)
{
	const struct ls_failure *f = &o->failure;
	size_t i;

	ls_watch_say(r->watch, true, "failed: %s", f->message);
	if (!f->tail.n)
		return;
	ls_watch_say(r->watch, true, "its last lines:");
	for (i = 0; i < f->tail.n; i++)
		ls_watch_say(r->watch, true, "  | %s", f->tail.v[i]);
	ls_watch_say(r->watch, true, "all of them: %s/attempt-%u/rank-%05d.log", r->dir, attempt, f->rank);
}

static void wait_before_restart(const struct run *r, int ms)
{
	int64_t until = ls_clock_ms() + until_deadline(r, ms);

	while (ls_clock_ms() < until && !*ls_signals_stops())
		poll(NULL, 0, 50);
}

/* --- the end ----------------------------------------------------------------------------------------------------------- */

static void show_success(struct run *r, double seconds)
{
	struct ls_str text = { 0 };
	struct ls_facts f;
	size_t i;

	ls_watch_facts(r->watch, &f);
	ls_str_addf(&text, "succeeded in %.1f s", seconds);
	if (f.step && f.step == f.resumed)
		ls_str_addf(&text, ": nothing was left to do, its newest checkpoint is of step %lld", f.step);
	else if (f.step)
		ls_str_addf(&text, ": %lld steps, loss %.4g", f.step, f.loss);
	for (i = 0; i < f.n_results; i++)
		ls_str_addf(&text, ", %s %.4g", f.results[i].name, f.results[i].value);
	if (f.waiting >= 0.001)
		ls_str_addf(&text, ", %.3g%% in communication", 100 * f.waiting);
	if (r->restarts)
		ls_str_addf(&text, ", after %d restart%s", r->restarts, r->restarts > 1 ? "s" : "");
	if (!r->mpirun_style || f.step)
		ls_watch_say(r->watch, false, "%s", ls_str_text(&text));
	ls_str_release(&text);
}

/* Record, report, and the last words. */
static int finish(struct run *r, enum ls_action action, const struct ls_ended *ended, const struct ls_outcome *o, double seconds)
{
	static const char *const states[] = { [LS_ACT_DONE] = "Succeeded", [LS_ACT_STOPPED] = "Stopped", [LS_ACT_FAILED] = "Failed",
		[LS_ACT_GAVE_UP] = "Failed" };
	struct ls_err err = LS_ERR_INIT;
	struct ls_str report = { 0 };
	int signal = action == LS_ACT_STOPPED && ls_signals_last() ? ls_signals_last() : o->failure.signal;
	int code = ls_policy_exit_code(action, ended, o->failure.code, signal, r->restarts);
	struct ls_facts f;

	ls_watch_facts(r->watch, &f);
	if (action == LS_ACT_DONE)
		show_success(r, seconds);
	else if (action == LS_ACT_GAVE_UP && r->restarts)
		ls_watch_say(r->watch, true, "gave up after %d restart%s%s", r->restarts, r->restarts > 1 ? "s" : "",
			r->policy.same >= LS_BREAKER && o->step ? ": the same failure at the same step, again and again" : "");
	else if (o->ending == LS_END_DEADLINE)
		ls_watch_say(r->watch, true, "the deadline of %lld s passed", r->job.active_deadline_s);
	if (ls_record_state_set(r->record, states[action], o->ending == LS_END_FAILED ? o->failure.message : "", code, &err))
		ls_watch_say(r->watch, true, "%s", err.text);
	if (f.step || !r->mpirun_style) {
		ls_str_addf(&report, "%s/report.html", r->dir);
		if (ls_report_write(r->dir, ls_str_text(&report), &err))
			ls_watch_say(r->watch, true, "no report: %s", err.text);
		else
			ls_watch_say(r->watch, false, "report: %s", ls_str_text(&report));
	}
	ls_str_release(&report);
	return code;
}

static int run_attempts(struct run *r, struct ls_plan *first)
{
	double begun = ls_clock_s();

	for (;;) {
		struct ls_err err = LS_ERR_INIT;
		struct ls_plan plan = { 0 };
		struct ls_outcome o = { 0 };
		struct ls_ended ended;
		enum ls_action action;
		int delay_ms = 0, code = -1;
		char reason[64];
		ls_status st = LS_OK;

		if (first->world) {
			plan = *first;
			*first = (struct ls_plan){ 0 };
		} else if (is_late(r) || make_plan(r, false, &plan, &err)) {
			not_begun(r, &err, &o);
		}
		if (plan.world)
			st = one_attempt(r, &plan, &o, &err);
		if (st && (r->restarts || r->opt.workers)) {
			not_begun(r, &err, &o);
			ls_record_attempt_end(r->record, &plan, &o);
			st = LS_OK;
		}
		if (st) {
			ls_plan_release(&plan);
			ls_outcome_release(&o);
			return ls_command_fail("run", st, &err);
		}
		snprintf(reason, sizeof(reason), "%s %d", o.failure.reason, o.failure.signal ? o.failure.signal : o.failure.code);
		ended = (struct ls_ended){ .ending = o.ending, .retryable = o.failure.retryable, .step = o.step,
			.rank = o.failure.rank, .reason = reason };
		if (o.ending == LS_END_FAILED)
			show_failure(r, ls_record_next_attempt(r->record) - 1, &o);
		action = ls_policy_next(&r->policy, &ended, &delay_ms);
		if (action == LS_ACT_RESTART && *ls_signals_stops())
			action = LS_ACT_STOPPED;
		if (action != LS_ACT_RESTART)
			code = finish(r, action, &ended, &o, ls_clock_s() - begun);
		ls_plan_release(&plan);
		ls_outcome_release(&o);
		if (code >= 0)
			return code;
		r->restarts++;
		ls_watch_say(r->watch, true, "restarting%s: restart %d of %d since the last progress", delay_ms ? " after a pause" : "", r->policy.used,
			r->job.backoff_limit);
		ls_record_state_set(r->record, "Restarting", "", -1, &err);
		wait_before_restart(r, delay_ms);
	}
}

static ls_status dry_run(struct run *r, const struct ls_plan *plan, struct ls_err *err)
{
	struct ls_attempt_options ao;
	struct ls_str text = { 0 };
	ls_status st;

	attempt_options(r, plan, newest_manifest(r), &ao);
	ls_show_dry_run(&ao, &text);
	st = text.oom ? ls_fail_oom(err) : LS_OK;
	fputs(ls_str_text(&text), stdout);
	ls_str_release(&text);
	return st;
}

static void say_not_applied(struct run *r)
{
	struct ls_str text = { 0 };
	size_t i;

	for (i = 0; i < r->job.not_applied.n; i++)
		ls_str_addf(&text, "%s%s", i ? ", " : "", r->job.not_applied.v[i]);
	if (text.len)
		ls_watch_say(r->watch, false, "outside Kubernetes these fields have no effect: %s", ls_str_text(&text));
	ls_str_release(&text);
}

static ls_status lock_dir(struct run *r, struct ls_err *err)
{
	if (r->opt.fresh && r->job.checkpoint_uri)
		return ls_fail(err, LS_USAGE, 0, "--fresh cannot set aside the checkpoints at %s; give the job another "
			"spec.checkpoint.uri", r->job.checkpoint_uri);
	return ls_job_dir_take(r->dir, r->opt.fresh, &r->lock, err);
}

/* A plan without the slow hosts must be as good: an elastic job's may be smaller, a world that was asked for may not. */
static ls_status plan_without(struct run *r, const char *hosts, struct ls_plan *plan, struct ls_err *err)
{
	bool elastic = !r->mpirun_style && r->job.min_replicas < r->job.replicas;
	int world = plan->world;
	ls_status st;

	ls_plan_release(plan);
	st = make_plan(r, false, plan, err);
	if (st == LS_USAGE)
		return ls_fail(err, LS_NODE_LOST, 0, "preflight: slow: %s; and without: %s", hosts, err->text);
	if (!st && !elastic && plan->world != world)
		return ls_fail(err, LS_NODE_LOST, 0, "preflight: slow: %s; and without there is room for %d ranks, not %d", hosts, plan->world, world);
	if (!st)
		ls_watch_warn(r->watch, "preflight: going on without %s", hosts);
	return st;
}

static ls_status preflight(struct run *r, struct ls_plan *plan, struct ls_err *err)
{
	struct ls_strv left_out = { 0 };
	struct ls_str names = { 0 };
	size_t i;
	ls_status st = r->job.preflight ? run_preflight(r, plan, &left_out, err) : LS_OK;

	for (i = 0; i < left_out.n; i++)
		ls_str_addf(&names, "%s%s", i ? ", " : "", left_out.v[i]);
	if (!st && left_out.n)
		st = plan_without(r, ls_str_text(&names), plan, err);
	if (st)
		ls_record_state_set(r->record, *ls_signals_stops() ? "Stopped" : "Failed", err->text, ls_signals_last() ? 128 + ls_signals_last() : 1, NULL);
	ls_strv_release(&left_out);
	ls_str_release(&names);
	return st;
}

static ls_status start(struct run *r, struct ls_plan *plan, int *ret_code, struct ls_err *err)
{
	struct ls_watch_options wo = { .quiet = r->opt.quiet, .no_prefix = r->opt.no_prefix, .stop = ls_signals_stops(),
		.deadline_ms = r->deadline_ms };
	ls_status st = lock_dir(r, err);

	wo.dir = r->dir;
	if (!st)
		st = ls_watch_open(&wo, &r->watch, err);
	if (!st)
		st = ls_record_open(r->dir, &r->record, err);
	if (!st)
		st = ls_agents_open(&r->agents, err);
	if (!st && ls_record_name(r->record)[0] && strcmp(ls_record_name(r->record), r->job.name))
		st = ls_fail(err, LS_USAGE, 0, "%s is the directory of job '%s', this is '%s'; choose another with --dir, or set that one aside "
			"with --fresh", r->dir, ls_record_name(r->record), r->job.name);
	if (st)
		return st;
	say_watch = r->watch;
	if (!r->opt.workers)
		say_not_applied(r);
	if (r->job.suspend) {
		ls_watch_say(r->watch, true, "spec.runPolicy.suspend is true: nothing is started; set it to false to go on");
		*ret_code = 0;
		return ls_record_state_set(r->record, "Suspended", "", 0, err);
	}
	if (!strcmp(ls_record_state(r->record), "Succeeded")) {
		if (newest_manifest(r)[0])
			ls_watch_say(r->watch, false, "this job has succeeded before: it goes on from its newest checkpoint (--fresh starts over)");
	}
	ls_record_job(r->record, &r->job, &r->engine);
	st = preflight(r, plan, err);
	if (st)
		return st;
	r->policy.backoff_limit = r->job.backoff_limit;
	r->policy.used = (int)r->opt.losses;
	ls_record_floor(r->record, (unsigned)r->opt.attempt);
	*ret_code = run_attempts(r, plan);
	return LS_OK;
}

static void run_release(struct run *r)
{
	say_watch = NULL;
	ls_agents_close(r->agents);
	ls_watch_close(r->watch);
	ls_record_close(r->record);
	ls_run_options_release(&r->opt);
	ls_job_release(&r->job);
	ls_hosts_release(&r->hosts);
	ls_strv_release(&r->env);
	ls_str_release(&r->live);
	ls_str_release(&r->silent);
	ls_fd_close(&r->lock);
	free(r->dir);
	free(r->cwd);
	free(r->binary);
	free(r->checkpoint_uri);
}

int cmd_run(int argc, char **argv)
{
	struct run r = { .lock = -1 };
	struct ls_plan plan = { 0 };
	struct ls_err err = LS_ERR_INIT;
	struct ls_str text = { 0 };
	int code = 0;
	ls_status st = ls_run_options_parse(argc, argv, &r.opt, &err);

	if (!st && r.opt.help) {
		ls_run_options_help(&text);
		fputs(ls_str_text(&text), stdout);
		ls_str_release(&text);
		run_release(&r);
		return 0;
	}
	if (!st)
		st = run_prepare(&r, &err);
	if (!st)
		st = ls_signals_init(&err);
	if (!st && r.job.active_deadline_s)
		r.deadline_ms = ls_clock_ms() + 1000 * r.job.active_deadline_s;
	if (!st && (!r.opt.workers || r.opt.dry_run)) /* workers may be waited for, for days: from the job's directory on */
		st = make_plan(&r, true, &plan, &err);
	if (!st)
		st = r.opt.dry_run ? dry_run(&r, &plan, &err) : start(&r, &plan, &code, &err);
	if (st)
		code = ls_command_fail("run", st, &err);
	if (st && ls_signals_last()) /* stopped, or too late, before anything began */
		code = 128 + ls_signals_last();
	else if (st && is_late(&r))
		code = 124;
	ls_plan_release(&plan);
	run_release(&r);
	return code;
}
