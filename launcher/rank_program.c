/* rank_program.c -- see rank_program.h. */
#include "launcher/rank_program.h"
#include "core/event.h"
#include "core/io.h"
#include "core/link.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { NOT_STARTED = 200 }; /* exit code of the child between fork and exec; nobody sees it */

static int bind_self(const char *cpuset)
{
	cpu_set_t *set = CPU_ALLOC(CPU_SETSIZE * 8);
	size_t size = CPU_ALLOC_SIZE(CPU_SETSIZE * 8);
	int rc;

	if (!set)
		return -1;
	CPU_ZERO_S(size, set);
	while (*cpuset) {
		char *end;
		long a = strtol(cpuset, &end, 10), b = a;

		if (*end == '-')
			b = strtol(end + 1, &end, 10);
		for (; a <= b; a++)
			CPU_SET_S((size_t)a, size, set);
		cpuset = *end == ',' ? end + 1 : end;
		if (*end && *end != ',')
			break;
	}
	rc = sched_setaffinity(0, size, set);
	CPU_FREE(set);
	return rc;
}

static void apply_env(const cJSON *env)
{
	static const char *const ours[] = { "LOCKSTEP_CTL", "LOCKSTEP_TOKEN", "LOCKSTEP_SESSION" };
	const cJSON *entry;
	size_t i;

	for (i = 0; i < sizeof(ours) / sizeof(ours[0]); i++)
		unsetenv(ours[i]);
	cJSON_ArrayForEach(entry, env)
	{
		char *eq = strchr(entry->valuestring, '=');

		if (!eq)
			continue;
		*eq = '\0';
		setenv(entry->valuestring, eq + 1, 1);
		*eq = '=';
	}
}

/* "dir" in front of LD_LIBRARY_PATH, so that the program finds the libraries of the engine that starts it. */
static void prepend_libdir(const char *dir)
{
	const char *old = getenv("LD_LIBRARY_PATH");
	struct ls_str path = { 0 };

	if (old && !*old)
		unsetenv("LD_LIBRARY_PATH"); /* an empty entry would be the working directory */
	if (!dir || !*dir || (old && strstr(old, dir)))
		return;
	ls_str_addf(&path, "%s%s%s", dir, old && *old ? ":" : "", old ? old : "");
	setenv("LD_LIBRARY_PATH", ls_str_text(&path), 1);
	ls_str_release(&path);
}

/* In Pods mpirun's folder is the runtime's, which has no MPI library: a program's own would look there for its plug-ins, and find none. */
static void leave_runtime(void)
{
	static const char *const prefixes[] = { "OPAL_PREFIX", "PRTE_PREFIX", "PMIX_PREFIX" };

	for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++) {
		const char *prefix = getenv(prefixes[i]);

		if (prefix && !strcmp(prefix, LS_POD_DIR "/openmpi"))
			unsetenv(prefixes[i]);
	}
}

/* In the child: never returns. What fails is told through `report`: a step's name and errno. */
static void become_program(const cJSON *go, const int *pipes, int report)
{
	const char *cwd = cJSON_GetStringValue(cJSON_GetObjectItem(go, "cwd")), *own = getenv(LS_ENV_WORKDIR);
	const char *cpuset = cJSON_GetStringValue(cJSON_GetObjectItem(go, "cpuset"));
	const cJSON *args = cJSON_GetObjectItem(go, "argv"), *arg;
	struct { int sys; char what[300]; } why = { 0 };
	struct ls_strv argv = { 0 };
	char number[16];
	sigset_t none;

	cJSON_ArrayForEach(arg, args)
		ls_strv_add(&argv, arg->valuestring);
	leave_runtime();
	apply_env(cJSON_GetObjectItem(go, "env"));
	prepend_libdir(cJSON_GetStringValue(cJSON_GetObjectItem(go, "libdir")));
	snprintf(number, sizeof(number), "%d", pipes[2]);
	setenv(LS_EVENT_FD_ENV, number, 1);
	if (own && (!cwd || !*cwd))
		cwd = own;
	if (cwd && *cwd && chdir(cwd) < 0) {
		snprintf(why.what, sizeof(why.what), "cannot change to the working directory %.200s", cwd);
	} else if (cpuset && *cpuset && bind_self(cpuset) < 0) {
		snprintf(why.what, sizeof(why.what), "cannot bind to cores %.200s", cpuset);
	} else if (!argv.n || argv.oom) {
		snprintf(why.what, sizeof(why.what), "no program to start");
	} else {
		dup2(pipes[0], 1);
		dup2(pipes[1], 2);
		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
		signal(SIGPIPE, SIG_DFL);
		execvp(argv.v[0], argv.v);
		snprintf(why.what, sizeof(why.what), "cannot start the program %.200s", argv.v[0]);
	}
	why.sys = errno;
	ls_write_all(report, &why, sizeof(why));
	_exit(NOT_STARTED);
}

ls_status ls_program_start(const cJSON *go, struct ls_program *ret, struct ls_err *err)
{
	int out[2] = { -1, -1 }, errs[2] = { -1, -1 }, events[2] = { -1, -1 }, report[2] = { -1, -1 };
	struct { int sys; char what[300]; } why;
	pid_t self = getpid(), pid;
	ls_status st = LS_OK;
	ssize_t n;

	if (pipe2(out, O_CLOEXEC) < 0 || pipe2(errs, O_CLOEXEC) < 0 || pipe(events) < 0 || pipe2(report, O_CLOEXEC) < 0) {
		st = ls_fail(err, LS_AGAIN, errno, "cannot make pipes for the program");
		goto out;
	}
	pid = fork();
	if (pid < 0) {
		st = ls_fail(err, LS_AGAIN, errno, "cannot fork");
		goto out;
	}
	if (pid == 0) {
		const int ends[3] = { out[1], errs[1], events[1] };

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != self)
			_exit(NOT_STARTED);
		setpgid(0, 0);
		close(events[0]);
		become_program(go, ends, report[1]);
	}
	setpgid(pid, pid);
	ls_fd_close(&report[1]);
	do
		n = read(report[0], &why, sizeof(why));
	while (n < 0 && errno == EINTR);
	if (n == (ssize_t)sizeof(why)) {
		st = ls_fail(err, LS_USAGE, why.sys, "%s", why.what);
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
		goto out;
	}
	ret->pid = pid;
	ret->pipes[0] = out[0], out[0] = -1;
	ret->pipes[1] = errs[0], errs[0] = -1;
	ret->pipes[2] = events[0], events[0] = -1;
	fcntl(ret->pipes[0], F_SETFL, O_NONBLOCK);
	fcntl(ret->pipes[1], F_SETFL, O_NONBLOCK);
	fcntl(ret->pipes[2], F_SETFL, O_NONBLOCK);
	fcntl(ret->pipes[2], F_SETFD, FD_CLOEXEC);
out:
	ls_fd_close(&out[0]), ls_fd_close(&out[1]);
	ls_fd_close(&errs[0]), ls_fd_close(&errs[1]);
	ls_fd_close(&events[0]), ls_fd_close(&events[1]);
	ls_fd_close(&report[0]), ls_fd_close(&report[1]);
	return st;
}
