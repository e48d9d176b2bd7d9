/* run_show.c -- see run_show.h. */
#include "launcher/run_show.h"
#include "launcher/environ.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void ls_show_where(const struct ls_plan *plan, struct ls_str *ret)
{
	int i, shown = plan->hosts.n < 8 ? plan->hosts.n : 8;

	ls_str_addf(ret, "%d rank%s on ", plan->world, plan->world == 1 ? "" : "s");
	if (plan->hosts.n == 1 && plan->hosts.v[0].local) {
		ls_str_add(ret, "this machine");
		return;
	}
	for (i = 0; i < shown; i++)
		ls_str_addf(ret, "%s%s (%d)", i ? ", " : "", plan->hosts.v[i].name, plan->hosts.v[i].place.n);
	if (plan->hosts.n > shown)
		ls_str_addf(ret, " and %d more hosts", plan->hosts.n - shown);
}

/* Only where a rank's device is told by UUID, which no column has room for. */
static void show_devices(const struct ls_plan *plan, struct ls_str *ret)
{
	int r;

	for (r = 0; r < plan->world; r++) {
		const struct ls_seat *s = ls_plan_seat(plan, r);

		if (s->gpu >= 0 && strchr(s->gpu_id, '-'))
			ls_str_addf(ret, "rank %d: CUDA_VISIBLE_DEVICES=%s\n", r, s->gpu_id);
	}
}

void ls_show_plan(const struct ls_plan *plan, struct ls_str *ret)
{
	int r, i;

	ls_str_addf(ret, "%5s  %-16s %5s  %-14s %4s  %4s  %-8s %s\n", "RANK", "HOST", "LOCAL", "PUS", "NUMA", "GPU", "NIC", "WHY");
	for (r = 0; r < plan->world; r++) {
		const struct ls_seat *s = ls_plan_seat(plan, r);
		char numa[12] = "-";

		if (s->numa >= 0)
			snprintf(numa, sizeof(numa), "%d", s->numa);
		ls_str_addf(ret, "%5d  %-16s %5d  %-14s %4s  %4s  %-8s %s\n", r, ls_plan_host(plan, r)->name,
			plan->ranks[r].local_rank, s->cpuset, numa, s->gpu >= 0 ? s->gpu_label : "-", s->nic[0] ? s->nic : "-", s->why);
	}
	show_devices(plan, ret);
	for (i = 0; i < plan->hosts.n; i++)
		if (plan->hosts.v[i].place.warning[0])
			ls_str_addf(ret, "warning: host %s: %s\n", plan->hosts.v[i].name, plan->hosts.v[i].place.warning);
}

void ls_show_dry_run(const struct ls_attempt_options *o, struct ls_str *ret)
{
	struct ls_environ env = { .job = o->job, .plan = o->plan, .run_id = "RUN_ID", .attempt = o->number,
		.max_restarts = o->max_restarts, .checkpoint_uri = o->checkpoint_uri, .resume = o->resume, .user_env = o->user_env,
		.engine_major = o->engine->major, .agent = "lockstep-agent-RUN", .inherited = environ };
	struct ls_engine_options eo = { .ssh = o->ssh, .binary = o->binary, .extra = o->engine_extra };
	int(*ports)[LS_RANK_PORTS] = calloc((size_t)o->plan->world, sizeof(*ports));
	struct ls_strv vars = { 0 }, argv = { 0 };
	struct ls_str hosts = { 0 }, path = { 0 };
	char tmp[128], shm[128], libdir[600];
	size_t i;

	ls_session_dirs("RUN_ID", tmp, shm);
	ls_str_addf(&path, "%s/attempt-%u/hosts", o->dir, o->number);
	env.ports = (const int(*)[LS_RANK_PORTS])ports;
	env.session_shm = shm;
	eo.session_tmp = tmp;
	eo.hostfile = ls_str_text(&path);
	if (ports)
		ls_environ_rank(&env, 0, &vars);
	ls_engine_argv(o->engine, o->plan, &eo, &argv);
	ls_engine_hostfile(o->plan, &hosts);

	ls_str_addf(ret, "job %s, attempt %u: ", o->job->name, o->number);
	ls_show_where(o->plan, ret);
	ls_str_add(ret, "\n\n");
	ls_show_plan(o->plan, ret);
	ls_str_add(ret, "\nprogram, in ");
	ls_str_addf(ret, "%s:\n ", o->cwd);
	for (i = 0; i < o->job->argv.n; i++) {
		ls_str_add(ret, " ");
		ls_str_add_quoted(ret, o->job->argv.v[i]);
	}
	ls_str_addf(ret, "\n\ncheckpoints: %s%s%s\n", o->checkpoint_uri, *o->resume ? "\nresumes from: " : "", o->resume);
	ls_str_add(ret, "\nenvironment of rank 0 (ports are chosen at the start: 0 here):\n");
	for (i = 0; i < vars.n; i++)
		ls_str_addf(ret, "  %s\n", vars.v[i]);
	ls_engine_libdir(o->engine, libdir);
	if (libdir[0])
		ls_str_addf(ret, "  LD_LIBRARY_PATH=%s:…\n", libdir);
	ls_str_addf(ret, "\nengine: Open MPI %s\n ", o->engine->version);
	for (i = 0; i < argv.n; i++) {
		ls_str_add(ret, " ");
		ls_str_add_quoted(ret, argv.v[i]);
	}
	ls_str_addf(ret, "\n\nits hostfile:\n%s", ls_str_text(&hosts));
	free(ports);
	ls_strv_release(&vars);
	ls_strv_release(&argv);
	ls_str_release(&hosts);
	ls_str_release(&path);
}
