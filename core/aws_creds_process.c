/* aws_creds_process.c -- credential_process: a command that prints credentials as JSON.
 *
 * https://docs.aws.amazon.com/sdkref/latest/guide/feature-process-credentials.html. Its standard error stays ours, so
 * that it can ask and complain; its standard output is read into secret pages. It has a process group of its own, which
 * is killed when it takes too long: a helper of its may hold the pipe. */
#include "core/aws_creds_impl.h"
#include "core/io.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define LIMIT_MS 60000
#define OUTPUT_MAX 65536
#define NAME "credential_process"

static int spawn_shell(const char *command, int out, pid_t *ret)
{
	char *argv[] = { "sh", "-c", (char *)command, NULL };
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attr;
	sigset_t none, all;
	int rc;

	sigemptyset(&none);
	sigfillset(&all);
	if (posix_spawn_file_actions_init(&files))
		return ENOMEM;
	posix_spawnattr_init(&attr);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setsigdefault(&attr, &all);
	rc = posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
	if (!rc)
		rc = posix_spawn_file_actions_adddup2(&files, out, 1);
	if (!rc)
		rc = posix_spawn(ret, "/bin/sh", &files, &attr, argv, environ);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&files);
	return rc;
}

/* Its output ended, but it may live on. ECHILD: the program ignores SIGCHLD, or waited for any child; then nobody knows
 * how it ended, and its output alone must do. */
static ls_status wait_end(pid_t pid, int64_t until_ms, int *ret_status, struct ls_err *err)
{
	static const struct timespec nap = { .tv_nsec = 5000000 };
	pid_t got;

	for (;;) {
		got = waitpid(pid, ret_status, WNOHANG);
		if (got == pid || (got < 0 && errno == ECHILD))
			return LS_OK;
		if (ls_clock_ms() >= until_ms)
			return ls_fail(err, LS_AGAIN, 0, NAME " did not end in %d s", LIMIT_MS / 1000);
		nanosleep(&nap, NULL);
	}
}

static ls_status run(const char *command, struct ls_secret *ret, struct ls_err *err)
{
	int64_t until_ms = ls_clock_ms() + LIMIT_MS;
	int out[2] = { -1, -1 }, rc, status = 0;
	ls_status st;
	pid_t pid;

	if (pipe2(out, O_CLOEXEC) < 0)
		return ls_fail(err, LS_AGAIN, errno, "pipe for " NAME);
	rc = spawn_shell(command, out[1], &pid);
	ls_fd_close(&out[1]);
	if (rc) {
		st = ls_fail(err, LS_AGAIN, rc, "cannot start " NAME);
		goto out;
	}
	st = ls_secret_read(out[0], until_ms, ret, NAME, err);
	if (!st)
		st = wait_end(pid, until_ms, &status, err);
	if (st) {
		kill(-pid, SIGKILL);
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
	} else if (WIFSIGNALED(status)) {
		st = ls_fail(err, LS_AGAIN, 0, NAME " was killed by signal %d", WTERMSIG(status));
	} else if (WEXITSTATUS(status)) {
		st = ls_fail(err, LS_USAGE, 0, NAME " exited with code %d%s", WEXITSTATUS(status),
			WEXITSTATUS(status) == 127 ? ": no such command" : "; run it by hand to see why");
	}
out:
	ls_fd_close(&out[0]);
	return st;
}

ls_status ls_creds_from_process(const char *command, struct ls_creds_got *ret, struct ls_err *err)
{
	struct ls_secret answer = { 0 };
	ls_status st = ls_secret_new(OUTPUT_MAX + 1, &answer, err);

	if (st)
		return st;
	st = run(command, &answer, err);
	if (!st) {
		st = ls_creds_parse_json(answer.s, answer.len, ret, err);
		if (st)
			ls_err_at(err, st, NAME ": ");
	}
	ls_secret_free(&answer);
	return st;
}
