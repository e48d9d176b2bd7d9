/* engine.c -- see engine.h. */
#include "launcher/engine.h"
#include "launcher/probe.h"
#include "core/io.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

const char *const ls_engine_exports[] = { "LOCKSTEP_CTL", "LOCKSTEP_TOKEN", "LOCKSTEP_RUN_ID", "LOCKSTEP_SESSION", "LOCKSTEP_AGENT",
	NULL };

/* The path execvp would take. */
static bool find_in_path(const char *name, char *ret, size_t size)
{
	const char *path = getenv("PATH"), *p = path ? path : "/usr/bin:/bin";

	if (strchr(name, '/')) {
		snprintf(ret, size, "%s", name);
		return access(ret, X_OK) == 0;
	}
	while (*p) {
		size_t len = strcspn(p, ":");

		snprintf(ret, size, "%.*s/%s", (int)len, p, name);
		if (access(ret, X_OK) == 0)
			return true;
		p += len + (p[len] == ':');
	}
	return false;
}

/* First bytes of `mpirun --version`. */
static ls_status ask_version(const char *path, char *text, size_t size, struct ls_err *err)
{
	int out[2], status = 0;
	size_t len = 0;
	ssize_t n;
	pid_t pid;

	if (pipe2(out, O_CLOEXEC) < 0)
		return ls_fail(err, LS_AGAIN, errno, "cannot ask %s for its version", path);
	pid = fork();
	if (pid == 0) {
		dup2(out[1], 1);
		execl(path, path, "--version", (char *)NULL);
		_exit(127);
	}
	ls_fd_close(&out[1]);
	while (pid > 0 && len + 1 < size && (n = read(out[0], text + len, size - 1 - len)) != 0) {
		if (n < 0 && errno != EINTR)
			break;
		len += n > 0 ? (size_t)n : 0;
	}
	text[len] = '\0';
	ls_fd_close(&out[0]);
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (pid < 0 || status)
		return ls_fail(err, LS_USAGE, 0, "%s --version failed: %.200s", path, text);
	return LS_OK;
}

ls_status ls_engine_find(const char *mpirun, struct ls_engine *ret, struct ls_err *err)
{
	const char *name = mpirun ? mpirun : getenv("LOCKSTEP_MPIRUN");
	struct ls_engine e = { 0 };
	char text[512], *at, *slash;
	int minor = 0;
	ls_status st;

	if (!name || !*name)
		name = "mpirun";
	if (!find_in_path(name, e.path, sizeof(e.path)))
		return ls_fail(err, LS_USAGE, 0, "no %s found; install Open MPI (apt-get install openmpi-bin) or give --mpirun PATH",
			name);
	st = ask_version(e.path, text, sizeof(text), err);
	if (st)
		return st;
	/* "mpirun (Open MPI) 4.1.4" */
	at = strstr(text, "(Open MPI) ");
	if (!at || sscanf(at + 11, "%31[0-9.]", e.version) != 1 || sscanf(e.version, "%d.%d", &e.major, &minor) != 2)
		return ls_fail(err, LS_USAGE, 0, "%s is not Open MPI: it says '%.*s'; give Open MPI's with --mpirun PATH", e.path,
			(int)strcspn(text, "\n"), text);
	if (e.major < 4 || (e.major == 4 && minor < 1))
		return ls_fail(err, LS_USAGE, 0, "%s is Open MPI %s; 4.1 or newer is needed", e.path, e.version);
	snprintf(e.prefix, sizeof(e.prefix), "%s", e.path);
	for (int up = 0; up < 2; up++)
		if ((slash = strrchr(e.prefix, '/')) != NULL)
			*slash = '\0';
	*ret = e;
	return LS_OK;
}

static bool is_system(const struct ls_engine *e)
{
	return !strcmp(e->prefix, "/usr") || !strcmp(e->prefix, "") || e->path[0] != '/';
}

void ls_engine_libdir(const struct ls_engine *e, char ret[600])
{
	ret[0] = '\0';
	if (is_system(e))
		return;
	snprintf(ret, 600, "%s/lib", e->prefix);
	if (access(ret, F_OK))
		ret[0] = '\0';
}

void ls_engine_hostfile(const struct ls_plan *plan, struct ls_str *ret)
{
	int i;

	for (i = 0; i < plan->hosts.n; i++)
		ls_str_addf(ret, "%s slots=%d\n", plan->hosts.v[i].name, plan->hosts.v[i].place.n);
}

static void add_param(struct ls_strv *argv, const struct ls_engine *e, const char *v4, const char *v5, const char *value)
{
	ls_strv_add(argv, e->major >= 5 ? "--prtemca" : "--mca");
	ls_strv_add(argv, e->major >= 5 ? v5 : v4);
	ls_strv_add(argv, value);
}

void ls_engine_argv(const struct ls_engine *e, const struct ls_plan *plan, const struct ls_engine_options *opt, struct ls_strv *ret)
{
	struct ls_strv ssh = { 0 };
	struct ls_str agent = { 0 };
	bool local = ls_plan_local_hosts(plan) == plan->hosts.n;
	const char *const *x;
	size_t i;

	ls_strv_add(ret, e->path);
	if (geteuid() == 0)
		ls_strv_add(ret, "--allow-run-as-root");
	if (!is_system(e) && !local) {
		ls_strv_add(ret, "--prefix");
		ls_strv_add(ret, e->prefix);
	}
	ls_strv_add(ret, "--hostfile");
	ls_strv_add(ret, opt->hostfile);
	ls_strv_add(ret, "-np");
	ls_strv_addf(ret, "%d", plan->world);
	ls_strv_add(ret, "--map-by");
	ls_strv_add(ret, plan->by_node ? "node" : "slot");
	ls_strv_add(ret, "--bind-to");
	ls_strv_add(ret, "none");
	add_param(ret, e, "orte_tmpdir_base", "prte_tmpdir_base", opt->session_tmp);
	if (local) {
		/* No remote shell: 4.1 would refuse to start on a machine without one. */
		if (e->major < 5)
			add_param(ret, e, "plm", "plm", "isolated");
	} else {
		ls_ssh_argv(opt->ssh, &ssh);
		for (i = 0; i < ssh.n; i++)
			ls_str_addf(&agent, "%s%s", i ? " " : "", ssh.v[i]);
		add_param(ret, e, "plm_rsh_agent", "plm_ssh_agent", ls_str_text(&agent));
		/* Hosts need no ssh among each other: only the launcher's host logs in anywhere. */
		add_param(ret, e, "plm_rsh_no_tree_spawn", "plm_ssh_no_tree_spawn", "1");
		/* A host that vanishes without a word: by default mpirun does not notice for minutes. */
		add_param(ret, e, "oob_tcp_keepalive_time", "oob_tcp_keepalive_time", "5");
		add_param(ret, e, "oob_tcp_keepalive_intvl", "oob_tcp_keepalive_intvl", "3");
		add_param(ret, e, "oob_tcp_keepalive_probes", "oob_tcp_keepalive_probes", "3");
		ret->oom |= ssh.oom || agent.oom;
		ls_str_release(&agent);
		ls_strv_release(&ssh);
	}
	for (x = ls_engine_exports; *x; x++) {
		ls_strv_add(ret, "-x");
		ls_strv_add(ret, *x);
	}
	for (x = opt->extra; x && *x; x++)
		ls_strv_add(ret, *x);
	ls_strv_add(ret, opt->binary);
	ls_strv_add(ret, "rank");
}

ls_status ls_engine_spawn(const struct ls_strv *argv, const struct ls_strv *env, int log_fd, int stdin_fd, pid_t *ret, struct ls_err *err)
{
	pid_t self = getpid(), pid = fork();
	sigset_t none;

	if (pid < 0)
		return ls_fail(err, LS_AGAIN, errno, "cannot fork for the engine");
	if (pid == 0) {
		/* Killed with the launcher. An orderly end (SIGTERM) races its own ranks' ends and crashes in 4.1; daemons that
		 * lose their mpirun end by themselves, and the reapers clean up behind both. */
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != self)
			_exit(1);
		setpgid(0, 0); /* Ctrl-C is the launcher's to handle */
		dup2(stdin_fd, 0);
		dup2(log_fd, 1);
		dup2(log_fd, 2);
		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
		signal(SIGPIPE, SIG_DFL);
		signal(SIGTSTP, SIG_DFL);
		execve(argv->v[0], argv->v, env->v);
		fprintf(stderr, "cannot start %s: %s\n", argv->v[0], strerror(errno));
		_exit(127);
	}
	setpgid(pid, pid);
	*ret = pid;
	return LS_OK;
}

void ls_engine_suspects(char *const *env, int major, struct ls_str *ret)
{
	static const char *const words[] = { "hostfile", "host", "rmaps", "ras", "plm", "slots", NULL };
	const char *const *w;
	char *const *i;

	for (i = env; *i; i++) {
		const char *name = *i;
		size_t len = strcspn(name, "=");
		bool mca = !strncmp(name, "OMPI_MCA_", 9) || !strncmp(name, "PRTE_MCA_", 9);
		bool rm = !strncmp(name, "SLURM_JOB_ID=", 13) || !strncmp(name, "PBS_NODEFILE=", 13) ||
			!strncmp(name, "LSB_HOSTS=", 10);

		for (w = words; mca && *w; w++)
			if (memmem(name + 9, len - 9, *w, strlen(*w)))
				break;
		if (!rm && (!mca || !*w))
			continue;
		ls_str_addf(ret, "%s%.*s%s", ret->len ? ", " : "", (int)strcspn(name, "\n"), name,
			major >= 5 && !strncmp(name, "OMPI_", 5) ? " (which Open MPI 5 ignores)" : "");
	}
}
