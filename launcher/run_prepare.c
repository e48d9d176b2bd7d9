/* run_prepare.c -- see run_impl.h. */
#include "launcher/run_impl.h"
#include "launcher/environ.h"
#include "launcher/probe.h"
#include "core/store.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* "My_prog.py" -> "my-prog-py": a DNS label, as every job's name is. */
static void label(const char *text, char *ret, size_t size)
{
	size_t n = 0;

	for (; *text && n + 1 < size; text++) {
		char c = (char)tolower((unsigned char)*text);

		if (isalnum((unsigned char)c) || n)
			ret[n++] = isalnum((unsigned char)c) ? c : '-';
	}
	while (n && ret[n - 1] == '-')
		n--;
	ret[n] = '\0';
	if (!n)
		snprintf(ret, size, "job");
}

/* A program without a manifest: a job of that name and this moment, so that two runs never share a directory. */
static ls_status job_from_program(struct run *r, struct ls_err *err)
{
	char name[128], stamp[32], base[33];
	time_t now = time(NULL);
	struct tm tm;
	char *const *a;
	ls_status st;

	localtime_r(&now, &tm);
	strftime(stamp, sizeof(stamp), "%Y%m%d-%H%M%S", &tm);
	label(base_name(r->opt.argv[0]), base, sizeof(base));
	if (r->opt.dir) /* its own directory: the same program there is the same job */
		snprintf(name, sizeof(name), "%s", base);
	else
		snprintf(name, sizeof(name), "%s-%s-%d", base, stamp, (int)getpid());
	st = ls_job_init(&r->job, r->opt.name ? r->opt.name : name, err);
	for (a = r->opt.argv; !st && *a; a++)
		ls_strv_add(&r->job.argv, *a);
	r->job.backoff_limit = 0; /* mpirun's users expect none; --max-restarts asks for them */
	return st;
}

/* What says who a rank is comes from the plan alone: a program that is told another rank or world would train another job. */
static ls_status check_env(const struct ls_strv *env, struct ls_err *err)
{
	static const char *const ours[] = { "RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_RANK", "GROUP_WORLD_SIZE",
		"LOCKSTEP_JOB", "LOCKSTEP_RUN_ID", "LOCKSTEP_ATTEMPT", "LOCKSTEP_AGENT", "LOCKSTEP_GENERATION", "LOCKSTEP_EVENT_FD" };
	size_t i;

	for (i = 0; i < sizeof(ours) / sizeof(ours[0]); i++)
		if (ls_strv_getenv(env, ours[i]))
			return ls_fail(err, LS_USAGE, 0, "%s (-x, or env of the manifest): that variable is set by lockstep, from the plan; leave "
				"it out", ours[i]);
	return ls_environ_check(&(struct ls_environ){ .user_env = (const char *const *)env->v, .inherited = environ }, err);
}

static ls_status load_job(struct run *r, struct ls_err *err)
{
	ls_status st;
	size_t i;

	r->mpirun_style = !r->opt.file;
	if (r->mpirun_style)
		st = job_from_program(r, err);
	else
		st = ls_job_load(r->opt.file, (const char *const *)r->opt.sets.v, &r->job, err);
	if (st)
		return st;
	if (r->opt.max_restarts >= 0)
		r->job.backoff_limit = (int)r->opt.max_restarts;
	if (r->opt.timeout_s > 0)
		r->job.active_deadline_s = r->opt.timeout_s;
	if (r->opt.grace_s >= 0)
		r->job.grace_seconds = (int)r->opt.grace_s;
	if (r->opt.bind_given)
		r->job.bind = r->opt.bind;
	if (r->opt.preflight >= 0)
		r->job.preflight = (enum ls_preflight)r->opt.preflight;
	if (r->job.preflight && r->opt.workers)
		return ls_fail(err, LS_USAGE, 0, "spec.runPolicy.preflight: not on Kubernetes, where workers have no MPI library but that of their image; "
			"leave the field out");
	for (i = 0; i < r->job.env.n; i++)
		ls_strv_add(&r->env, r->job.env.v[i]);
	for (i = 0; i < r->opt.env.n; i++)
		ls_strv_add(&r->env, r->opt.env.v[i]);
	if (!r->env.oom && check_env(&r->env, err))
		return LS_USAGE;
	if (r->job.managed_by && !r->opt.workers)
		return ls_fail(err, LS_USAGE, 0, "spec.managedBy: the job belongs to %s; remove the field to run it here", r->job.managed_by);
	return r->env.oom || r->job.argv.oom ? ls_fail_oom(err) : LS_OK;
}

static char *absolute(const char *path)
{
	struct ls_str text = { 0 };
	char cwd[PATH_MAX];

	if (path[0] != '/' && getcwd(cwd, sizeof(cwd)))
		ls_str_addf(&text, "%s/", cwd);
	ls_str_add(&text, path);
	return ls_str_steal(&text);
}

static ls_status find_paths(struct run *r, struct ls_err *err)
{
	struct ls_str text = { 0 };
	char self[PATH_MAX], here[PATH_MAX];
	const char *wdir = r->opt.wdir ? r->opt.wdir : r->job.working_dir ? r->job.working_dir : ".";

	if (ls_self_path(self, err))
		return LS_AGAIN;
	if (!getcwd(here, sizeof(here)))
		return ls_fail(err, LS_USAGE, errno, "the working directory cannot be told (was it removed?); change to another one");
	r->binary = strdup(self);
	r->cwd = strcmp(wdir, ".") ? absolute(wdir) : strdup(r->opt.workers ? "" : here); /* "": the worker's own */
	if (r->opt.dir) {
		r->dir = absolute(r->opt.dir);
	} else {
		ls_str_addf(&text, "lockstep-runs/%s", r->job.name);
		r->dir = absolute(ls_str_text(&text));
		ls_str_release(&text);
	}
	if (!r->dir || !r->cwd || !r->binary)
		return ls_fail_oom(err);
	if (r->job.checkpoint_uri) {
		r->checkpoint_uri = strdup(r->job.checkpoint_uri);
	} else if (r->opt.workers) { /* no directory is there that all Pods see, and outlives them: nothing is saved */
		r->checkpoint_uri = strdup("");
	} else {
		ls_str_addf(&text, "file://%s/checkpoints", r->dir);
		r->checkpoint_uri = ls_str_steal(&text);
	}
	return r->checkpoint_uri ? LS_OK : ls_fail_oom(err);
}

/* Host lists that Open MPI 4 would take from a variable, and 5 would silently ignore: taken here, for both. */
static ls_status hosts_from_env(struct run *r, struct ls_err *err)
{
	static const char *const names[] = { "OMPI_MCA_orte_default_hostfile", "PRTE_MCA_prte_default_hostfile" };
	ls_status st = LS_OK;
	size_t i;

	for (i = 0; !st && !r->hosts.n && i < sizeof(names) / sizeof(names[0]); i++) {
		const char *file = getenv(names[i]);

		if (file && *file) {
			st = ls_hosts_read(file, &r->hosts, err);
			if (st)
				ls_err_at(err, st, "%s: ", names[i]);
		}
	}
	return st;
}

ls_status run_prepare(struct run *r, struct ls_err *err)
{
	ls_status st = load_job(r, err);

	if (!st)
		st = find_paths(r, err);
	if (!st)
		st = ls_engine_find(r->opt.mpirun, &r->engine, err);
	r->hosts = r->opt.hosts;
	r->opt.hosts = (struct ls_hosts){ 0 };
	if (!st && !r->opt.local && !r->opt.workers)
		st = hosts_from_env(r, err);
	if (!st && !r->hosts.n && !r->opt.workers)
		st = ls_hosts_add_local(&r->hosts, err);
	if (!st && r->checkpoint_uri[0]) { /* a store that cannot be opened at all is found out now, not by rank 0 */
		struct ls_store *store = NULL;

		st = ls_store_open(r->checkpoint_uri, &store, err);
		ls_store_close(store);
	}
	return st;
}
