/* pod_logs.c -- see pod_logs.h. The process is a fork of the launcher, which has no threads: so it may be killed whenever its time is over. */
#include "launcher/pod_logs.h"
#include "core/io.h"
#include "core/store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

bool ls_pod_logs_place(const char *uri)
{
	return !strncmp(uri, "s3://", 5) || (!strncmp(uri, "file://", 7) && access(uri + 7, W_OK | X_OK) == 0);
}

/* The last part begins with a line of its own; of `bytes` at `text`, which are not all. */
static void begin_cut(const char **text, size_t *bytes, unsigned long long all, char head[96])
{
	const char *line = memchr(*text, '\n', *bytes);
	size_t skip = line ? (size_t)(line - *text) + 1 : 0;

	*text += skip;
	*bytes -= skip;
	snprintf(head, 96, "lockstep: the last %zu bytes of %llu\n", *bytes, all);
}

ls_status ls_pod_logs_put(struct ls_store *s, const char *dir, const char *name, const char *key, struct ls_err *err)
{
	struct ls_str path = { 0 };
	char head[96] = "";
	struct stat file;
	struct iovec iov[2];
	void *map = NULL;
	const char *text = "";
	size_t bytes = 0, mapped = 0;
	ls_status st = LS_OK;
	int fd;

	ls_str_addf(&path, "%s/%s", dir, name);
	fd = open(ls_str_text(&path), O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &file) < 0) {
		st = errno == ENOENT ? LS_OK : ls_fail(err, LS_AGAIN, errno, "cannot read %s", ls_str_text(&path));
		goto out;
	}
	if (file.st_size > 0) {
		off_t page = sysconf(_SC_PAGESIZE), from = file.st_size > LS_POD_LOG_MAX ? file.st_size - LS_POD_LOG_MAX : 0;

		from = (from + page - 1) / page * page;
		mapped = bytes = (size_t)(file.st_size - from);
		text = map = mmap(NULL, mapped, PROT_READ, MAP_PRIVATE, fd, from);
		if (map == MAP_FAILED) {
			st = ls_fail(err, LS_AGAIN, errno, "cannot read %s", ls_str_text(&path));
			goto out;
		}
		if (from)
			begin_cut(&text, &bytes, (unsigned long long)file.st_size, head);
	}
	iov[0] = (struct iovec){ head, strlen(head) };
	iov[1] = (struct iovec){ (void *)(uintptr_t)text, bytes };
	st = ls_store_put(s, key, iov, 2, false, NULL, err);
out:
	if (map && map != MAP_FAILED)
		munmap(map, mapped);
	ls_fd_close(&fd);
	ls_str_release(&path);
	return st;
}

static ls_status put_one(struct ls_store *s, const char *dir, const char *name, long attempt, struct ls_err *err)
{
	const char *slash = strrchr(name, '/');
	struct ls_str key = { 0 };
	ls_status st;

	ls_str_addf(&key, "logs/attempt-%ld/%s", attempt, slash ? slash + 1 : name);
	st = key.oom ? ls_fail_oom(err) : ls_pod_logs_put(s, dir, name, key.s, err);
	ls_str_release(&key);
	return st;
}

static int is_log(const struct dirent *d)
{
	const char *dot = strrchr(d->d_name, '.');

	return dot && !strcmp(dot, ".log") && d->d_name[0] != '.';
}

/* The rank that failed comes first: in a large world there may be no time for all. */
static ls_status put_attempt(struct ls_store *s, const char *dir, const cJSON *attempt, struct ls_err *err)
{
	long number = (long)cJSON_GetNumberValue(cJSON_GetObjectItemCaseSensitive(attempt, "attempt"));
	const cJSON *rank = cJSON_GetObjectItemCaseSensitive(cJSON_GetObjectItemCaseSensitive(attempt, "failure"), "rank");
	char folder[4096], name[300];
	struct dirent **list = NULL;
	ls_status st = LS_OK;
	int i, n;

	snprintf(folder, sizeof(folder), "%s/attempt-%ld", dir, number);
	n = scandir(folder, &list, is_log, alphasort);
	if (cJSON_IsNumber(rank) && rank->valueint >= 0) {
		snprintf(name, sizeof(name), "attempt-%ld/rank-%05d.log", number, rank->valueint);
		st = put_one(s, dir, name, number, err);
	}
	for (i = 0; i < n; i++) {
		snprintf(name, sizeof(name), "attempt-%ld/%s", number, list[i]->d_name);
		if (!st)
			st = put_one(s, dir, name, number, err);
		free(list[i]);
	}
	free(list);
	return st;
}

static int put_all(const char *dir, const char *uri, const cJSON *job, int from, int to)
{
	static const char *const files[] = { "job.json", "steps.csv", "report.html" };
	const cJSON *attempts = cJSON_GetObjectItemCaseSensitive(job, "attempts"), *newest = cJSON_GetArrayItem(attempts, to - 1);
	struct ls_err err = LS_ERR_INIT;
	struct ls_store *s = NULL;
	ls_status st = ls_store_open(uri, &s, &err);
	size_t i;

	for (i = 0; !st && i < sizeof(files) / sizeof(files[0]); i++)
		st = put_one(s, dir, files[i], (long)cJSON_GetNumberValue(cJSON_GetObjectItemCaseSensitive(newest, "attempt")), &err);
	for (; !st && from < to; from++)
		st = put_attempt(s, dir, cJSON_GetArrayItem(attempts, from), &err);
	ls_store_close(s);
	if (st)
		fprintf(stderr, "lockstep launcher: not all logs are kept in %s/logs: %s\n", uri, err.text);
	return st != LS_OK;
}

ls_status ls_pod_logs_start(const char *dir, const char *uri, const cJSON *job, int from, int to, pid_t *ret, struct ls_err *err)
{
	pid_t self = getpid(), pid = fork();

	if (pid < 0)
		return ls_fail(err, LS_AGAIN, errno, "cannot start a process that keeps the logs");
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		signal(SIGTERM, SIG_IGN); /* its parent knows how much time there is */
		signal(SIGINT, SIG_DFL);
		signal(SIGHUP, SIG_DFL);
		close_range(3, ~0u, 0); /* the connections are the launcher's: who closes one there must be gone for its peer */
		_exit(getppid() == self ? put_all(dir, uri, job, from, to) : 1);
	}
	*ret = pid;
	return LS_OK;
}
