/* environ.c -- see environ.h. */
#include "launcher/environ.h"

#include <stdio.h>
#include <string.h>

#define MALLOC_MODE "LOCKSTEP_MALLOC"

enum { TF_CONFIG_MAX = 128 * 1024 - 64 };

static bool one_host(const struct ls_plan *plan)
{
	return plan->hosts.n == 1;
}

const char *ls_environ_master(const struct ls_plan *plan)
{
	const struct ls_host *h = ls_plan_host(plan, 0);

	if (one_host(plan))
		return "127.0.0.1";
	return h->address[0] ? h->address : h->name;
}

static const char *list_get(const char *const *list, const char *name)
{
	size_t len = strlen(name);
	const char *value = NULL;

	for (; list && *list; list++)
		if (!strncmp(*list, name, len) && (*list)[len] == '=')
			value = *list + len + 1;
	return value;
}

/* What the user said where the launcher was started: said there, it holds on every host. */
static const char *inherited(const struct ls_environ *e, const char *name)
{
	return list_get((const char *const *)e->inherited, name);
}

/* The same, and before it -x and the manifest. */
static const char *said(const struct ls_environ *e, const char *name)
{
	const char *value = list_get(e->user_env, name);

	return value ? value : inherited(e, name);
}

static void set_unless_given(struct ls_strv *env, const struct ls_environ *e, const char *name, const char *value)
{
	const char *given = inherited(e, name);

	ls_strv_setenv(env, name, given ? given : value);
}

static void set_int(struct ls_strv *env, const char *name, long long value)
{
	char text[32];

	snprintf(text, sizeof(text), "%lld", value);
	ls_strv_setenv(env, name, text);
}

/* torch.distributed, and what the field reads after it. */
static void add_torch(struct ls_strv *env, const struct ls_environ *e, int rank)
{
	const struct ls_plan *p = e->plan;
	const struct ls_plan_rank *r = &p->ranks[rank];

	set_int(env, "RANK", rank);
	set_int(env, "WORLD_SIZE", p->world);
	set_int(env, "LOCAL_RANK", r->local_rank);
	set_int(env, "LOCAL_WORLD_SIZE", p->hosts.v[r->host].place.n);
	set_int(env, "GROUP_RANK", r->host);
	set_int(env, "GROUP_WORLD_SIZE", p->hosts.n);
	ls_strv_setenv(env, "MASTER_ADDR", ls_environ_master(p));
	set_int(env, "MASTER_PORT", e->ports[0][1]);
	set_int(env, "TORCHELASTIC_RESTART_COUNT", e->restarts);
	set_int(env, "TORCHELASTIC_MAX_RESTARTS", e->max_restarts);
	ls_strv_setenv(env, "TORCHELASTIC_RUN_ID", e->run_id);
}

static void add_jax(struct ls_strv *env, const struct ls_environ *e, int rank)
{
	char text[160];

	snprintf(text, sizeof(text), "%s:%d", ls_environ_master(e->plan), e->ports[0][0]);
	ls_strv_setenv(env, "JAX_COORDINATOR_ADDRESS", text);
	set_int(env, "JAX_NUM_PROCESSES", e->plan->world);
	set_int(env, "JAX_PROCESS_ID", rank);
}

/* https://www.tensorflow.org/guide/distributed_training#setting_up_the_tf_config_environment_variable */
static void add_tf(struct ls_strv *env, const struct ls_environ *e, int rank)
{
	struct ls_str text = { 0 };
	int r;

	ls_str_add(&text, "{\"cluster\": {\"worker\": [");
	for (r = 0; r < e->plan->world; r++) {
		const struct ls_host *h = ls_plan_host(e->plan, r);
		const char *address = one_host(e->plan) ? "127.0.0.1" : h->address;

		ls_str_addf(&text, "%s\"%s:%d\"", r ? ", " : "", address[0] ? address : h->name, e->ports[r][0]);
	}
	ls_str_addf(&text, "]}, \"task\": {\"type\": \"worker\", \"index\": %d}}", rank);
	/* The kernel takes no longer variable (MAX_ARG_STRLEN), and would start no program at all. */
	if (text.len < TF_CONFIG_MAX)
		ls_strv_setenv(env, "TF_CONFIG", ls_str_text(&text));
	env->oom |= text.oom;
	ls_str_release(&text);
}

static void add_lockstep(struct ls_strv *env, const struct ls_environ *e)
{
	ls_strv_setenv(env, "LOCKSTEP_JOB", e->job->name);
	ls_strv_setenv(env, "LOCKSTEP_RUN_ID", e->run_id);
	set_int(env, "LOCKSTEP_ATTEMPT", e->attempt);
	ls_strv_setenv(env, "LOCKSTEP_AGENT", e->agent);
	if (e->checkpoint_uri[0])
		ls_strv_setenv(env, "LOCKSTEP_CHECKPOINT_URI", e->checkpoint_uri);
	if (e->job->every_steps || e->job->every_seconds) { /* both: what the program says of the other does not count, either */
		set_int(env, "LOCKSTEP_CHECKPOINT_STEPS", e->job->every_steps);
		set_int(env, "LOCKSTEP_CHECKPOINT_SECONDS", e->job->every_seconds);
	}
	if (e->job->when_busy == LS_BUSY_WAIT)
		ls_strv_setenv(env, "LOCKSTEP_CHECKPOINT_WHEN_BUSY", "Wait");
	if (e->job->memory_steps)
		set_int(env, "LOCKSTEP_CHECKPOINT_MEMORY_STEPS", e->job->memory_steps);
	if (e->job->copies)
		set_int(env, "LOCKSTEP_CHECKPOINT_COPIES", e->job->copies);
	if (e->job->keep)
		set_int(env, "LOCKSTEP_CHECKPOINT_KEEP", e->job->keep);
	ls_strv_setenv(env, "LOCKSTEP_RESUME", e->resume);
	if (e->generation)
		set_int(env, "LOCKSTEP_GENERATION", e->generation);
}

/* The devices and the network that the plan chose. */
static void add_devices(struct ls_strv *env, const struct ls_environ *e, int rank)
{
	const struct ls_host *h = ls_plan_host(e->plan, rank);
	const struct ls_seat *seat = ls_plan_seat(e->plan, rank);
	const char *iface = one_host(e->plan) ? "lo" : h->iface;
	int cores = seat->cores > 0 ? seat->cores : 1;
	char text[16];

	if (seat->gpu >= 0) {
		ls_strv_setenv(env, "CUDA_VISIBLE_DEVICES", seat->gpu_id);
		ls_strv_setenv(env, "CUDA_DEVICE_ORDER", "PCI_BUS_ID");
	}
	/* Host names often resolve to 127.0.1.1, and then gloo binds where nobody reaches it. */
	if (iface[0])
		set_unless_given(env, e, "GLOO_SOCKET_IFNAME", iface);
	if (seat->nic[0])
		ls_strv_setenv(env, "LOCKSTEP_NIC", seat->nic);
	if (h->iface[0] && !h->rdma)
		set_unless_given(env, e, "NCCL_SOCKET_IFNAME", h->iface);
	/* As many threads as the rank has cores, or every rank takes all of the machine's. */
	snprintf(text, sizeof(text), "%d", cores);
	set_unless_given(env, e, "OMP_NUM_THREADS", text);
}

/* How sums are added up, and whether they go on while the program computes. */
static void add_collectives(struct ls_strv *env, const struct ls_environ *e, int rank)
{
	const char *user = said(e, "LOCKSTEP_PROGRESS");
	int pu = ls_plan_seat(e->plan, rank)->progress_pu;

	if (e->plan->sum_group)
		set_int(env, "LOCKSTEP_SUM_GROUP", e->plan->sum_group);
	set_unless_given(env, e, "LOCKSTEP_PROGRESS", pu >= 0 ? "auto" : "calls");
	if (pu >= 0 && (!user || strcmp(user, "calls"))) {
		char text[16];

		snprintf(text, sizeof(text), "%d", pu);
		set_unless_given(env, e, "LOCKSTEP_PROGRESS_CPU", text);
	}
}

/* glibc maps a large block anew for every malloc(), and the kernel clears every page of it: MPI libraries whose calls take a temporary
 * buffer spend most of a large operation there. So ranks keep what they free. Not by MALLOC_MMAP_THRESHOLD_: before 2.35 glibc takes no
 * more than 32 MiB of it and, silently, falls back to 128 KiB, which maps more than ever. The settings act together: who sets one of them
 * sets them all. */
static void add_malloc(struct ls_strv *env, const struct ls_environ *e)
{
	static const char *const names[] = { "MALLOC_MMAP_MAX_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TOP_PAD_", "MALLOC_TRIM_THRESHOLD_",
		"GLIBC_TUNABLES" };
	const char *mode = said(e, MALLOC_MODE);
	bool theirs = false;
	size_t i;

	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		const char *value = said(e, names[i]);

		if (!value)
			continue;
		ls_strv_setenv(env, names[i], value);
		theirs |= strcmp(names[i], "GLIBC_TUNABLES") || strstr(value, "glibc.malloc.");
	}
	if (theirs || (mode && !strcmp(mode, "default")))
		return;
	ls_strv_setenv(env, "MALLOC_MMAP_MAX_", "0");
	ls_strv_setenv(env, "MALLOC_TRIM_THRESHOLD_", "1073741824");
}

/* Choices of Open MPI's components that its own defaults get slow or wrong. None overrules the user's. */
static void add_mpi(struct ls_strv *env, const struct ls_environ *e)
{
	const char *shm = e->engine_major >= 5 ? "sm" : "vader";
	char btl[32];
	bool rdma = false;
	int i;

	for (i = 0; i < e->plan->hosts.n; i++)
		rdma |= e->plan->hosts.v[i].rdma;
	/* Without RDMA hardware UCX and libfabric have nothing to offer here, and opening them takes most of MPI_Init's time
	 * (0.35 s against 0.15 s for a 2-rank hello, bench/startup). */
	if (one_host(e->plan) || !rdma) {
		snprintf(btl, sizeof(btl), "self,%s%s", shm, one_host(e->plan) ? "" : ",tcp");
		set_unless_given(env, e, "OMPI_MCA_pml", "ob1");
		set_unless_given(env, e, "OMPI_MCA_btl", btl);
		set_unless_given(env, e, "OMPI_MCA_osc", "^ucx");
	}
	if (e->plan->oversubscribed)
		set_unless_given(env, e, "OMPI_MCA_mpi_yield_when_idle", "1");
	/* hwloc's plug-ins for displays and OpenCL look for servers and devices that no rank needs: a third of MPI_Init's time. */
	set_unless_given(env, e, "HWLOC_PLUGINS_BLACKLIST", LS_HWLOC_SKIP);
	/* Shared-memory files go where the reaper finds them: a killed rank cannot remove its own. */
	set_unless_given(env, e, e->engine_major >= 5 ? "OMPI_MCA_btl_sm_backing_directory"
						      : "OMPI_MCA_btl_vader_backing_directory", e->session_shm);
}

/* mpirun --prefix, which 4.1 also assumes when it is called by its path, puts its own folders first on its own host: a virtual
 * environment would be overruled. The launcher's search paths are the user's. */
static void add_paths(struct ls_strv *env, const struct ls_environ *e, int rank)
{
	if (!ls_plan_host(e->plan, rank)->local)
		return;
	set_unless_given(env, e, "PATH", "/usr/local/bin:/usr/bin:/bin");
	set_unless_given(env, e, "LD_LIBRARY_PATH", ""); /* empty: the shim takes it away */
}

static void add_user(struct ls_strv *env, const char *const *user)
{
	for (; user && *user; user++) {
		const char *eq = strchr(*user, '=');
		char name[256];

		if (!eq || (size_t)(eq - *user) >= sizeof(name))
			continue; /* options.c and job.c let no such entry through */
		snprintf(name, sizeof(name), "%.*s", (int)(eq - *user), *user);
		ls_strv_setenv(env, name, eq + 1);
	}
}

ls_status ls_environ_check(const struct ls_environ *e, struct ls_err *err)
{
	const char *mode = said(e, MALLOC_MODE);

	if (mode && strcmp(mode, "keep") && strcmp(mode, "default"))
		return ls_fail(err, LS_USAGE, 0, MALLOC_MODE ": '%s' is not known; want keep (ranks keep the memory that they free) or default "
			"(the system's own settings)", mode);
	return LS_OK;
}

void ls_environ_rank(const struct ls_environ *e, int rank, struct ls_strv *ret)
{
	add_torch(ret, e, rank);
	add_jax(ret, e, rank);
	add_tf(ret, e, rank);
	add_lockstep(ret, e);
	add_devices(ret, e, rank);
	add_collectives(ret, e, rank);
	add_malloc(ret, e);
	add_mpi(ret, e);
	add_paths(ret, e, rank);
	add_user(ret, e->user_env);
}
