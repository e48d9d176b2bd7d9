/* cmd_launcher.c -- `lockstep launcher`: the process of a job's launcher Pod. Between the operator (core/link.h) and `lockstep run`, which it starts.
 *
 *     order ──first──> DIR/manifest.json ──> lockstep run -f … --workers DIR/workers.json --ssh "lockstep dial"
 *       │                                        │ job.json, live.json
 *       └──each──> DIR/workers.json              v
 *                       report (pod_report.c) ──> operator; at the end ──> the termination message
 *
 * When an attempt is over its logs go beside the checkpoints (pod_logs.h).
 *
 * It decides nothing: when an attempt may start is the order's word, what follows a failure `lockstep run`'s. It ends with that one's exit code, as
 * process 1 of its container, and hands SIGTERM on to it. */
#include "launcher/commands.h"
#include "launcher/link_server.h"
#include "launcher/pod.h"
#include "launcher/pod_logs.h"
#include "launcher/pod_report.h"
#include "launcher/probe.h"
#include "launcher/signals.h"
#include "core/io.h"
#include "core/link.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define TERMINATION_LOG "/dev/termination-log"

enum {
	TICK_MS = 200,
	TELL_MS = 1000,
	LAST_MS = 2000,
	KEEP_MS = 600000,     /* for an attempt's logs, while the next one runs */
	KEEP_LAST_MS = 30000, /* … while nothing but the end waits for them */
	KEEP_STOP_MS = 6000   /* … when the Pod is about to go: its grace is the ranks' and 15 s */
};

/* A JSON file that somebody replaces now and then. */
struct watched {
	struct ls_str path;
	struct stat seen;
	cJSON *json;
};

struct pod_launcher {
	const char *dir, *final_path;
	struct ls_str orders;         /* path of workers.json */
	struct ls_engine engine;
	char self[PATH_MAX];
	struct ls_link *link;
	struct watched job, live;
	struct ls_pod_facts facts;
	char waiting[512], words[1024];
	struct ls_str line;           /* of the run's standard error, so far */
	pid_t run;
	int errors;                   /* its standard error */
	int stops;                    /* signals handed on */
	int run_code;                 /* of the run that is over; -1 */
	char *uri;                    /* where checkpoints go; NULL: nowhere */
	int kept;                     /* attempts whose logs are kept, or were tried */
	bool kept_last;               /* … for the last time */
	pid_t keeper;
	int64_t keep_until_ms;
	char *told;                   /* the newest report */
	int64_t told_ms;
};

/* --- orders ------------------------------------------------------------------------------------------------------------ */

static ls_status publish(const char *path, const cJSON *json, struct ls_err *err)
{
	char *text = cJSON_PrintUnformatted(json);
	ls_status st = text ? ls_file_publish(path, text, strlen(text), false, err) : ls_fail_oom(err);

	cJSON_free(text);
	return st;
}

static long number_of(const cJSON *order, const char *key)
{
	const cJSON *n = cJSON_GetObjectItemCaseSensitive(order, key);

	return cJSON_IsNumber(n) && n->valuedouble > 0 ? (long)n->valuedouble : 0;
}

static void add_number(struct ls_strv *argv, const char *option, long n)
{
	if (n <= 0)
		return;
	ls_strv_add(argv, option);
	ls_strv_addf(argv, "%ld", n);
}

static void run_argv(const struct pod_launcher *l, const cJSON *order, struct ls_strv *ret)
{
	ls_strv_add(ret, l->self);
	ls_strv_add(ret, "run");
	ls_strv_add(ret, "-f");
	ls_strv_addf(ret, "%s/manifest.json", l->dir);
	ls_strv_add(ret, "--workers");
	ls_strv_add(ret, ls_str_text(&l->orders));
	ls_strv_add(ret, "--ssh");
	ls_strv_addf(ret, "%s dial", l->self);
	ls_strv_add(ret, "--mpirun");
	ls_strv_add(ret, l->engine.path);
	ls_strv_add(ret, "--dir");
	ls_strv_addf(ret, "%s/job", l->dir);
	add_number(ret, "--attempt", number_of(order, "attempt"));
	add_number(ret, "--losses", number_of(order, "losses"));
	add_number(ret, "--timeout", number_of(order, "deadlineSeconds"));
}

static ls_status start_run(struct pod_launcher *l, const cJSON *order, struct ls_err *err)
{
	struct ls_strv argv = { 0 };
	struct ls_str manifest = { 0 };
	int errors[2] = { -1, -1 };
	pid_t self = getpid(), pid = -1;
	ls_status st;

	ls_str_addf(&manifest, "%s/manifest.json", l->dir);
	run_argv(l, order, &argv);
	st = manifest.oom || argv.oom ? ls_fail_oom(err) : publish(manifest.s, cJSON_GetObjectItemCaseSensitive(order, "job"), err);
	if (!st && (pipe2(errors, O_CLOEXEC | O_NONBLOCK) < 0 || (pid = fork()) < 0))
		st = ls_fail(err, LS_AGAIN, errno, "cannot start lockstep run");
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGTERM);
		fcntl(errors[1], F_SETFL, 0);
		dup2(errors[1], 2);
		if (getppid() == self && chdir("/") == 0) /* a directory that every worker has */
			execv(argv.v[0], argv.v);
		_exit(1);
	}
	ls_fd_close(&errors[1]);
	if (!st) {
		l->run = pid;
		l->errors = errors[0];
	}
	ls_strv_release(&argv);
	ls_str_release(&manifest);
	return st;
}

/* spec.checkpoint.uri */
static const char *uri_of(const cJSON *order)
{
	static const char *const path[] = { "job", "spec", "checkpoint", "uri" };
	size_t i;

	for (i = 0; i < sizeof(path) / sizeof(path[0]); i++)
		order = cJSON_GetObjectItemCaseSensitive(order, path[i]);
	return cJSON_GetStringValue(order);
}

static ls_status take_order(struct pod_launcher *l, const cJSON *order, struct ls_err *err)
{
	const char *waiting = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(order, "waiting")), *uri = uri_of(order);
	ls_status st = publish(ls_str_text(&l->orders), order, err);

	if (st)
		return st;
	l->facts.complete = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(order, "complete"));
	snprintf(l->waiting, sizeof(l->waiting), "%s", waiting ? waiting : "");
	if (!l->uri && uri)
		l->uri = strdup(uri);
	if (!l->facts.ordered)
		st = start_run(l, order, err);
	l->facts.ordered = true;
	return st;
}

/* --- reports ----------------------------------------------------------------------------------------------------------- */

static void look_at(struct watched *w)
{
	struct ls_str text = { 0 };
	struct stat now;
	cJSON *json;

	if (stat(ls_str_text(&w->path), &now) < 0 || (now.st_ino == w->seen.st_ino && now.st_mtim.tv_sec == w->seen.st_mtim.tv_sec &&
		now.st_mtim.tv_nsec == w->seen.st_mtim.tv_nsec))
		return;
	if (!ls_file_read(w->path.s, 256 << 20, &text, NULL) && (json = cJSON_ParseWithLength(ls_str_text(&text), text.len)) != NULL) {
		cJSON_Delete(w->json);
		w->json = json;
		w->seen = now;
	}
	ls_str_release(&text);
}

static cJSON *report(struct pod_launcher *l)
{
	look_at(&l->job);
	look_at(&l->live);
	l->facts.job = l->job.json;
	l->facts.live = l->live.json;
	l->facts.waiting = l->waiting;
	l->facts.last_words = l->words;
	return ls_pod_report(&l->facts);
}

/* What changed, at most once a second. */
static void tell(struct pod_launcher *l, bool now)
{
	cJSON *json;
	char *text;

	if (!now && l->told_ms && ls_clock_ms() - l->told_ms < TELL_MS)
		return;
	json = report(l);
	text = cJSON_PrintUnformatted(json);
	cJSON_Delete(json);
	if (!text || (l->told && !strcmp(text, l->told))) {
		cJSON_free(text);
		return;
	}
	cJSON_free(l->told);
	l->told = text;
	l->told_ms = ls_clock_ms();
	ls_link_tell(l->link, text);
}

/* The container's log gets the run's words; the last line of lockstep's own is kept: it may be all that is known. */
static void hear_errors(struct pod_launcher *l)
{
	char block[8192], *end;
	ssize_t n;

	while (l->errors >= 0 && (n = read(l->errors, block, sizeof(block))) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return;
		ls_write_all(2, block, (size_t)n);
		ls_str_addn(&l->line, block, (size_t)n);
		while (l->line.len && (end = memchr(l->line.s, '\n', l->line.len)) != NULL) {
			*end = '\0';
			if (!strncmp(l->line.s, "lockstep run: ", 14))
				snprintf(l->words, sizeof(l->words), "%s", l->line.s + 14);
			ls_str_cut(&l->line, (size_t)(end - l->line.s) + 1);
		}
		if (l->line.len > sizeof(block))
			ls_str_release(&l->line);
	}
	ls_fd_close(&l->errors);
}

/* --- logs -------------------------------------------------------------------------------------------------------------- */

/* The first so many attempts are over. */
static int attempts_over(const cJSON *job)
{
	const cJSON *a;
	int n = 0;

	cJSON_ArrayForEach(a, cJSON_GetObjectItemCaseSensitive(job, "attempts"))
		n += cJSON_GetObjectItemCaseSensitive(a, "endTime") != NULL;
	return n;
}

static void end_keeper(struct pod_launcher *l)
{
	fprintf(stderr, "lockstep launcher: not all logs are kept in %s/logs: there was no more time\n", l->uri);
	kill(l->keeper, SIGKILL);
	waitpid(l->keeper, NULL, 0);
	l->keeper = 0;
}

static void start_keeper(struct pod_launcher *l, int n)
{
	int64_t now = ls_clock_ms();
	struct ls_err err = LS_ERR_INIT;

	l->kept_last = l->run_code >= 0;
	if (n && l->uri && ls_pod_logs_place(l->uri)) {
		char dir[PATH_MAX];

		snprintf(dir, sizeof(dir), "%s/job", l->dir);
		if (ls_pod_logs_start(dir, l->uri, l->job.json, l->kept, n, &l->keeper, &err))
			fprintf(stderr, "lockstep launcher: %s\n", err.text);
		l->keep_until_ms = now + (l->run_code < 0 ? KEEP_MS : l->stops ? KEEP_STOP_MS : KEEP_LAST_MS);
	}
	l->kept = n;
}

/* After each attempt, in the background; after the run, before its exit code becomes this process's. */
static void keep_logs(struct pod_launcher *l)
{
	int64_t most_ms = l->stops ? KEEP_STOP_MS : KEEP_LAST_MS;
	int n;

	if (l->keeper && l->run_code >= 0 && l->keep_until_ms > ls_clock_ms() + most_ms)
		l->keep_until_ms = ls_clock_ms() + most_ms;
	if (l->keeper) {
		if (ls_clock_ms() >= l->keep_until_ms)
			end_keeper(l);
		return;
	}
	if (l->run_code >= 0 && l->kept_last) {
		l->facts.exit_code = l->run_code;
		return;
	}
	look_at(&l->job);
	n = attempts_over(l->job.json);
	if (n > l->kept || l->run_code >= 0)
		start_keeper(l, n);
}

/* --- its life ---------------------------------------------------------------------------------------------------------- */

static void pass_signals(struct pod_launcher *l)
{
	int stops = *ls_signals_stops();

	ls_signals_drain();
	if (stops == l->stops)
		return;
	l->stops = stops;
	if (l->run)
		kill(l->run, SIGTERM);
	else if (l->run_code < 0)
		l->facts.exit_code = 128 + ls_signals_last(); /* nothing has begun */
}

static void reap(struct pod_launcher *l)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (pid == l->keeper)
			l->keeper = 0;
		if (pid != l->run)
			continue;
		l->run_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
		l->run = 0;
	}
}

static void serve_once(struct pod_launcher *l)
{
	struct pollfd p[2 + LS_LINK_POLLS];
	struct ls_err err = LS_ERR_INIT;
	cJSON *order;
	int n;

	p[0] = (struct pollfd){ .fd = ls_signals_fd(), .events = POLLIN };
	p[1] = (struct pollfd){ .fd = l->errors, .events = POLLIN };
	n = ls_link_polls(l->link, p + 2);
	poll(p, (nfds_t)(n + 2), TICK_MS);
	order = ls_link_serve(l->link);
	if (order && take_order(l, order, &err)) {
		fprintf(stderr, "lockstep launcher: %s\n", err.text);
		snprintf(l->words, sizeof(l->words), "%s", err.text);
		if (!l->run && l->run_code < 0)
			l->facts.exit_code = 1;
	}
	cJSON_Delete(order);
	hear_errors(l);
	pass_signals(l);
	reap(l);
	keep_logs(l);
	tell(l, false);
}

/* To whoever listens, and to where Kubernetes keeps it for those who do not. */
static void last_words(struct pod_launcher *l)
{
	int64_t until = ls_clock_ms() + LAST_MS;
	int fd = open(l->final_path, O_WRONLY | O_TRUNC | O_CLOEXEC);
	char *text;

	hear_errors(l);
	tell(l, true);
	text = ls_pod_report_final(report(l));
	if (fd >= 0 && text && ls_write_all(fd, text, strlen(text)) < 0)
		fprintf(stderr, "lockstep launcher: cannot write %s: %s\n", l->final_path, strerror(errno));
	ls_fd_close(&fd);
	cJSON_free(text);
	while (!ls_link_all_told(l->link) && ls_clock_ms() < until) {
		struct pollfd p[LS_LINK_POLLS];

		poll(p, (nfds_t)ls_link_polls(l->link, p), 50);
		cJSON_Delete(ls_link_serve(l->link));
	}
}

static ls_status begin(struct pod_launcher *l, struct ls_err *err)
{
	const char *serial = getenv(LS_ENV_SERIAL);
	ls_status st = ls_signals_init(err);

	l->facts.serial = serial ? atoi(serial) : 0;
	l->facts.exit_code = -1;
	ls_str_addf(&l->orders, "%s/workers.json", l->dir);
	ls_str_addf(&l->job.path, "%s/job/job.json", l->dir);
	ls_str_addf(&l->live.path, "%s/job/live.json", l->dir);
	/* The workers' names are nobody's but ours: Open MPI 4.1 would ask DNS for each, five times, before it starts anything. */
	setenv("OMPI_MCA_if_base_do_not_resolve", "1", 1);
	if (!st && (l->orders.oom || l->job.path.oom || l->live.path.oom || setenv(LS_ENV_WORKERS, l->orders.s, 1)))
		st = ls_fail_oom(err);
	if (!st)
		st = ls_self_path(l->self, err);
	if (!st)
		st = ls_mkdir_p(l->dir, err);
	if (!st)
		st = ls_pod_engine(&l->engine, err);
	if (!st)
		st = ls_link_open(l->facts.serial, &l->link, err);
	return st;
}

int cmd_launcher(int argc, char **argv)
{
	struct pod_launcher l = { .dir = LS_POD_RUN, .final_path = TERMINATION_LOG, .errors = -1, .run_code = -1 };
	struct ls_err err = LS_ERR_INIT;
	ls_status st = LS_OK;
	int i;

	for (i = 1; i + 1 < argc; i += 2) {
		if (!strcmp(argv[i], "--dir"))
			l.dir = argv[i + 1];
		else if (!strcmp(argv[i], "--termination-log"))
			l.final_path = argv[i + 1];
		else
			break;
	}
	if (i < argc) {
		fputs("usage: lockstep launcher [--dir DIR] [--termination-log FILE]\n", stderr);
		return 2;
	}
	st = begin(&l, &err);
	if (st) {
		l.facts.exit_code = ls_command_fail("launcher", st, &err);
	} else {
		puts("lockstep: launcher ready, waiting for the operator's order");
		fflush(stdout);
		while (l.facts.exit_code < 0)
			serve_once(&l);
		last_words(&l);
	}
	ls_link_close(l.link);
	cJSON_Delete(l.job.json);
	cJSON_Delete(l.live.json);
	cJSON_free(l.told);
	free(l.uri);
	ls_fd_close(&l.errors);
	ls_str_release(&l.orders);
	ls_str_release(&l.job.path);
	ls_str_release(&l.live.path);
	ls_str_release(&l.line);
	return l.facts.exit_code;
}
