/* reaper.c -- see reaper.h. */
#include "launcher/reaper.h"
#include "core/io.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>


/* Does /proc/PID/environ (its first 256 KiB) hold `entry`? */
static bool environ_has(pid_t pid, const char *entry)
{
	struct ls_str env = { 0 };
	char path[64];
	size_t at, len = strlen(entry) + 1;
	bool found = false;

	snprintf(path, sizeof(path), "/proc/%d/environ", (int)pid);
	ls_file_read(path, 256 << 10, &env, NULL); /* larger: what was read so far is searched */
	for (at = 0; !found && at < env.len; at += strlen(env.s + at) + 1)
		found = env.len - at + 1 >= len && !strcmp(env.s + at, entry);
	ls_str_release(&env);
	return found;
}

bool ls_process_is_shim(pid_t pid)
{
	struct ls_str line = { 0 };
	char path[64];
	bool shim;

	snprintf(path, sizeof(path), "/proc/%d/cmdline", (int)pid);
	ls_file_read(path, 4096, &line, NULL);
	/* argv[1] of "…/lockstep rank" */
	shim = line.len && strlen(line.s) + 1 < line.len && !strcmp(line.s + strlen(line.s) + 1, "rank") &&
		strlen(line.s) >= 8 && !strcmp(line.s + strlen(line.s) - 8, "lockstep");
	ls_str_release(&line);
	return shim;
}

pid_t ls_process_parent(pid_t pid, char ret_name[16])
{
	struct ls_str stat = { 0 };
	char path[64], *open, *close;
	int parent = 0;

	ret_name[0] = '\0';
	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	ls_file_read(path, 4096, &stat, NULL);
	open = strchr(ls_str_text(&stat), '(');
	close = strrchr(ls_str_text(&stat), ')'); /* the name may have brackets of its own */
	if (open && close && sscanf(close + 1, " %*c %d", &parent) == 1)
		snprintf(ret_name, 16, "%.*s", (int)(close - open - 1), open + 1);
	ls_str_release(&stat);
	return parent;
}

/* Call use() for every process of the run but this one; the number of times it was true. */
static int each_of_run(const char *run_id, bool (*use)(pid_t pid))
{
	char entry[128];
	DIR *proc = opendir("/proc");
	struct dirent *d;
	int n = 0;

	if (!proc)
		return 0;
	snprintf(entry, sizeof(entry), "LOCKSTEP_RUN_ID=%s", run_id);
	while ((d = readdir(proc)) != NULL) {
		pid_t pid = atoi(d->d_name);

		if (isdigit((unsigned char)d->d_name[0]) && pid != getpid() && environ_has(pid, entry))
			n += use(pid);
	}
	closedir(proc);
	return n;
}

static bool kill_it(pid_t pid)
{
	return kill(pid, SIGKILL) == 0;
}

static void remove_dirs(const char *dirs)
{
	char *copy = strdup(dirs), *save = NULL, *dir;

	for (dir = copy ? strtok_r(copy, ":", &save) : NULL; dir; dir = strtok_r(NULL, ":", &save))
		ls_remove_tree(dir, NULL);
	free(copy);
}

/* Is the process gone? Zombies are: their parent may never have called wait(). */
static bool is_gone(pid_t pid)
{
	struct ls_str stat = { 0 };
	char path[64], *paren;
	bool gone;

	if (kill(pid, 0) < 0 && errno == ESRCH)
		return true;
	/* Unreadable (a host short of memory or descriptors) is not gone: a healthy job would be killed. */
	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	ls_file_read(path, 4096, &stat, NULL);
	paren = strrchr(ls_str_text(&stat), ')');
	gone = paren && (paren[2] == 'Z' || paren[2] == 'X');
	ls_str_release(&stat);
	return gone;
}

static void reap(pid_t engine, const char *run_id, const char *dirs)
{
	enum { LOOK_MS = 50, PATIENCE = 60 };
	int round, clean = 0;

	/* pidfds need Linux 5.3; a look every 50 ms serves every kernel, and costs nothing measurable. */
	while (!is_gone(engine))
		poll(NULL, 0, LOOK_MS);
	/* While shims are there they stop their programs themselves, tell how those ended, and leave; killing over their heads
	 * would blur the cause. What is left without them, or after 3 s, is killed. New processes may be forked while we look: look
	 * until nobody is found twice. */
	for (round = 0; clean < 2 && round < 10 * PATIENCE; round++) {
		if (round >= PATIENCE || !each_of_run(run_id, ls_process_is_shim))
			clean = each_of_run(run_id, kill_it) ? 0 : clean + 1;
		poll(NULL, 0, LOOK_MS);
	}
	remove_dirs(dirs);
}

ls_status ls_reaper_start(pid_t engine, const char *run_id, const char *dirs, struct ls_err *err)
{
	pid_t pid = fork();

	if (pid < 0)
		return ls_fail(err, LS_AGAIN, errno, "cannot start the reaper");
	if (pid > 0) {
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
		return LS_OK;
	}
	/* Twice forked, in its own session: nobody waits for it, and no signal to a group reaches it. It holds none of the
	 * engine's pipes, or the engine would wait for it. */
	setsid();
	if (fork() != 0)
		_exit(0);
	prctl(PR_SET_NAME, LS_REAPER_NAME);
	signal(SIGHUP, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	signal(SIGINT, SIG_IGN);
	if (close_range(0, ~0u, 0) == 0 || errno != ENOSYS)
		open("/dev/null", O_RDWR);
	if (chdir("/") == 0)
		reap(engine, run_id, dirs);
	_exit(0);
}
