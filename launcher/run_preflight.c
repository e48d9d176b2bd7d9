/* run_preflight.c -- see run_impl.h: the job's hosts, and those to spare, are measured before the first attempt.
 *
 * It is a run of its own (preflight.h), with this one's hosts, ranks on each, binding, variables and ways to get there. */
#include "launcher/run_impl.h"
#include "launcher/preflight.h"
#include "launcher/signals.h"
#include "core/io.h"

#include <stdlib.h>
#include <string.h>

enum { SECONDS = 2, TIMEOUT_S = 80 };

static const char *mode(const struct run *r)
{
	return r->job.preflight == LS_PREFLIGHT_FAIL ? "Fail" : "Warn";
}

/* --- the run's options ---------------------------------------------------------------------------------------------------------- */

static bool in_list(const char *list, const char *name)
{
	size_t len = strlen(name);

	for (; *list; list += strcspn(list, ",") + strspn(list + strcspn(list, ","), ", "))
		if (strcspn(list, ",") == len && !strncmp(list, name, len))
			return true;
	return false;
}

/* As many as the plan puts there; hosts to spare as many as the first one. */
static int ranks_on(const struct ls_plan *plan, const char *host)
{
	int i;

	for (i = 0; i < plan->hosts.n; i++)
		if (!strcmp(plan->hosts.v[i].name, host))
			return plan->hosts.v[i].place.n;
	return plan->hosts.v[0].place.n;
}

static void add_hosts(const struct run *r, const struct ls_plan *plan, struct ls_strv *ret)
{
	struct ls_str list = { 0 };
	int i;

	for (i = 0; i < r->hosts.n; i++)
		if (!in_list(ls_str_text(&r->silent), r->hosts.v[i].name))
			ls_str_addf(&list, "%s%s:%d", list.len ? "," : "", r->hosts.v[i].name, ranks_on(plan, r->hosts.v[i].name));
	ls_strv_addf(ret, "-H=%s", ls_str_text(&list));
	ret->oom |= list.oom;
	ls_str_release(&list);
}

/* What may change how hosts reach each other, or which GPU a rank has. The rest may hold secrets, which are no arguments. */
static bool is_for_transport(const char *variable)
{
	static const char *const prefixes[] = { "OMPI_", "PMIX_", "PRTE_", "UCX_", "FI_", "NCCL_", "CUDA_", "LOCKSTEP_" };
	size_t i;

	for (i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++)
		if (!strncmp(variable, prefixes[i], strlen(prefixes[i])))
			return true;
	return false;
}

static void make_options(const struct run *r, const struct ls_plan *plan, struct ls_strv *ret)
{
	static const char *const binds[] = { [LS_BIND_AUTO] = "auto", [LS_BIND_GPU] = "gpu", [LS_BIND_NUMA] = "numa", [LS_BIND_CORE] = "core",
		[LS_BIND_NONE] = "none" };
	size_t i;

	add_hosts(r, plan, ret);
	ls_strv_addf(ret, "--bind-to=%s", binds[r->job.bind]);
	ls_strv_add(ret, "--oversubscribe");
	ls_strv_addf(ret, "--mpirun=%s", r->engine.path);
	if (r->opt.ssh)
		ls_strv_addf(ret, "--ssh=%s", r->opt.ssh);
	if (r->opt.remote_path)
		ls_strv_addf(ret, "--remote-path=%s", r->opt.remote_path);
	if (r->opt.start_timeout_s > 0)
		ls_strv_addf(ret, "--start-timeout=%ld", r->opt.start_timeout_s);
	for (i = 0; i < r->env.n; i++)
		if (is_for_transport(r->env.v[i]))
			ls_strv_addf(ret, "-x=%s", r->env.v[i]);
	for (i = 0; i < r->opt.engine_extra.n; i++)
		ls_strv_add(ret, r->opt.engine_extra.v[i]);
}

/* The job's own deadline counts, too. */
static int timeout_s(const struct run *r)
{
	int64_t left = r->deadline_ms ? (r->deadline_ms - ls_clock_ms() + 999) / 1000 : TIMEOUT_S;

	return left < 1 ? 1 : left < TIMEOUT_S ? (int)left : TIMEOUT_S;
}

/* --- what it found -------------------------------------------------------------------------------------------------------------- */

static void tell(struct run *r, const struct ls_net_verdict *v, double seconds)
{
	size_t i;

	for (i = 0; i < v->n; i++)
		if (v->v[i].slow)
			ls_watch_warn(r->watch, "preflight: %s", v->v[i].text);
		else
			ls_watch_say(r->watch, false, "preflight: %s", v->v[i].text);
	ls_watch_say(r->watch, false, "preflight: %s (%.1f s)", ls_str_text(&v->text), seconds);
}

/* Takes the slow hosts out of r->hosts, and says which. LS_NODE_LOST: too few are left, or what is slow is no host. */
static ls_status leave_out(struct run *r, const struct ls_net *net, const struct ls_net_verdict *v, struct ls_strv *ret, struct ls_err *err)
{
	int least = r->mpirun_style ? 1 : r->job.min_replicas, slow = 0, i, h, n = 0;
	size_t f;

	for (h = 0; h < net->n_hosts; h++)
		slow += v->slow_host[h];
	for (f = 0; f < v->n; f++) {
		const struct ls_net_finding *x = &v->v[f];
		bool gone = x->host >= 0 && (v->slow_host[x->host] || (x->other >= 0 && v->slow_host[x->other]));

		if (!x->slow || (gone && r->hosts.n - slow >= least))
			continue;
		if (x->host >= 0)
			snprintf(err->host, sizeof(err->host), "%s", net->hosts[x->host].name);
		return ls_fail(err, LS_NODE_LOST, 0, "preflight: %s; mend it, leave the host out, or start with --preflight=warn", x->text);
	}
	for (i = 0; i < r->hosts.n; i++) {
		for (h = 0; h < net->n_hosts && (!v->slow_host[h] || strcmp(net->hosts[h].name, r->hosts.v[i].name) != 0); h++)
			;
		if (h == net->n_hosts) {
			r->hosts.v[n++] = r->hosts.v[i];
			continue;
		}
		ls_strv_add(ret, r->hosts.v[i].name);
		free(r->hosts.v[i].name); /* the list is not probed: a name is all it owns */
	}
	r->hosts.n = n;
	return LS_OK;
}

static ls_status act(struct run *r, const struct ls_net *net, const struct ls_net_verdict *v, double seconds, struct ls_strv *ret_left_out, struct ls_err *err)
{
	ls_status st = LS_OK;

	tell(r, v, seconds);
	if (v->slow && r->job.preflight == LS_PREFLIGHT_FAIL)
		st = leave_out(r, net, v, ret_left_out, err);
	ls_record_preflight(r->record, mode(r), seconds, v, ret_left_out);
	return st;
}

ls_status run_preflight(struct run *r, const struct ls_plan *plan, struct ls_strv *ret_left_out, struct ls_err *err)
{
	struct ls_net_verdict v = { 0 };
	struct ls_net net = { 0 };
	struct ls_strv options = { 0 };
	struct ls_preflight_options po = { .run = &options, .seconds = SECONDS, .below = r->opt.preflight_limits.below,
		.timeout_s = timeout_s(r) };
	double begun = ls_clock_s();
	ls_status st;

	ls_watch_say(r->watch, false, "preflight: measuring %d host%s", r->hosts.n, r->hosts.n > 1 ? "s" : "");
	make_options(r, plan, &options);
	st = options.oom ? ls_fail_oom(err) : ls_preflight_run(&po, &net, err);
	if (!st)
		st = ls_net_judge(&net, &r->opt.preflight_limits, &v, err);
	if (!st) {
		st = act(r, &net, &v, ls_clock_s() - begun, ret_left_out, err);
	} else if (*ls_signals_stops()) {
		;
	} else if (r->job.preflight == LS_PREFLIGHT_FAIL) {
		ls_err_at(err, st, "preflight: ");
	} else {
		ls_watch_warn(r->watch, "no preflight: %s", err->text);
		st = LS_OK;
	}
	ls_net_verdict_release(&v);
	ls_net_release(&net);
	ls_strv_release(&options);
	return st;
}
