/* cli_follow.c -- `lockstep submit --follow`: a job in the cluster, seen as a local run is.
 *
 *     main thread: one watch of the job ──> changes of state;  events since the start ──> stderr
 *     log thread:  newest launcher Pod ──its log, live──> stdout; it ended: the next launcher's, or the job is over
 *
 * Ctrl-C ends this, not the job: the signal is waited for, no handler runs. */
#include "operator/cli.h"
#include "operator/objects.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { TICK_MS = 250, EVENTS_S = 2, POLL_MS = 500, DRAIN_S = 20, OUTDATED_S = 5, TAKEN_S = 5 };

struct follow {
	struct ls_cli *c;      /* main's connection */
	struct ls_cli log;     /* the log thread's; its connection is replaced with the lock */
	pthread_mutex_t lock;
	atomic_llong reading;  /* serial of the launcher whose log is read; -1: none */
	atomic_bool cut;       /* its successor is there: the connection was cancelled */
	time_t outdated;       /* since when there is a successor */
	const char *name;
	bool is_new;           /* its first launcher is of interest, too */
	atomic_bool over, stop, drained;
	atomic_int pod_code;   /* of the last launcher that ended; -1 */
	struct ls_strv told;   /* events: uid=count */
	char state[64], workers[32];
};

/* --- the log thread ------------------------------------------------------------------------------------------------------- */

/* The oldest launcher after `serial`, the newest one if that is -2; NULL: none yet. */
static const cJSON *next_launcher(const cJSON *list, long long serial)
{
	const cJSON *items = ls_at(list, "items"), *pod;

	if (serial == -2)
		return cJSON_GetArrayItem(items, cJSON_GetArraySize(items) - 1);
	cJSON_ArrayForEach(pod, items)
		if (ls_label_number(pod, LS_LABEL_SERIAL) > serial)
			return pod;
	return NULL;
}

/* After a cut: cancelled connections are of no more use. */
static void reconnect(struct follow *f)
{
	struct ls_err err = LS_ERR_INIT;

	pthread_mutex_lock(&f->lock);
	ls_kube_close(f->log.k);
	f->log.k = NULL;
	if (ls_kube_open(&f->log.kube, &f->log.k, &err))
		ls_cli_say("no more of the log is shown: %s", err.text);
	f->cut = false;
	pthread_mutex_unlock(&f->lock);
}

/* A launcher's log to its end. True: it is at its end, or nothing more is to be had. */
static bool log_pod(struct follow *f, const cJSON *pod, struct ls_logtail *tail)
{
	struct ls_err err = LS_ERR_INIT;
	int code;
	bool ended = !strcmp(ls_container_state(pod, &code), "terminated");
	ls_status st;

	f->reading = ls_label_number(pod, LS_LABEL_SERIAL);
	st = ls_cli_log(f->log.k, pod, true, tail, &err);
	f->reading = -1;
	if (f->cut) {
		reconnect(f);
	} else if (st == LS_AGAIN || !ended) {
		return false; /* broken, or its end is not in the Pod yet: read on from there */
	} else {
		f->pod_code = code;
		if (st)
			ls_cli_say("no log of Pod %s: %s", ls_text_at(pod, "metadata.name"), err.text);
	}
	return true;
}

/* One look: print what there is of the next launcher's log, live. True: there is nothing more now. */
static bool log_some(struct follow *f, long long *serial, struct ls_logtail *tail)
{
	struct ls_err err = LS_ERR_INIT;
	cJSON *list = NULL;
	const cJSON *pod;
	bool ended = false;
	int code;

	if (ls_cli_pods(&f->log, f->name, "launcher", &list, &err))
		return true; /* the watch tells of trouble with the server; here: look again */
	pod = next_launcher(list, *serial);
	if (pod && strcmp(ls_container_state(pod, &code), "waiting"))
		ended = log_pod(f, pod, tail);
	if (ended) {
		*serial = ls_label_number(pod, LS_LABEL_SERIAL);
		ls_logtail_end(tail);
		tail->last[0] = '\0';
	}
	cJSON_Delete(list);
	return !ended;
}

static void *log_main(void *arg)
{
	struct follow *f = arg;
	struct ls_logtail tail = { .rank = -1, .attempt = -1, .current = -1, .out = stdout };
	long long serial = f->is_new ? -1 : -2;
	bool over, idle;

	while (!f->stop && f->log.k) {
		over = f->over; /* before the look: what it finds is all there is */
		idle = log_some(f, &serial, &tail);
		if (idle && over)
			break;
		if (idle)
			usleep(POLL_MS * 1000);
	}
	ls_logtail_end(&tail);
	f->drained = true;
	return NULL;
}

/* --- states and events ---------------------------------------------------------------------------------------------------- */

static void tell_state(struct follow *f, const cJSON *job)
{
	const char *state = ls_state_of(job), *workers = ls_text_at(job, "status.workers");
	bool starts = !strcmp(state, "Pending") || !strcmp(state, "Starting");
	bool news = strcmp(state, f->state) || (starts && strcmp(workers, f->workers));

	snprintf(f->state, sizeof(f->state), "%s", state);
	snprintf(f->workers, sizeof(f->workers), "%s", workers);
	if (news && !ls_is_over(job))
		ls_cli_say("%s: %s%s%s", f->name, state, *workers ? ", workers " : "", workers);
}

static void tell_events(struct follow *f, const cJSON *job, bool silently)
{
	struct ls_err err = LS_ERR_INIT;
	cJSON *list = NULL;
	const cJSON *e;
	const char *uid, *before;
	char count[24];

	if (ls_cli_events(f->c, job, &list, &err))
		return; /* asked again soon */
	cJSON_ArrayForEach(e, ls_at(list, "items")) {
		uid = ls_text_at(e, "metadata.uid");
		snprintf(count, sizeof(count), "%lld", ls_number_at(e, "count", 1));
		before = ls_strv_getenv(&f->told, uid);
		if (before && !strcmp(before, count))
			continue;
		ls_strv_setenv(&f->told, uid, count);
		if (!silently)
			ls_cli_say("%s: %s", ls_text_at(e, "reason"), ls_text_at(e, "message"));
	}
	cJSON_Delete(list);
}

static int tell_end(struct follow *f, const cJSON *job)
{
	const char *message = ls_text_at(ls_condition_of(job, "Failed"), "message");

	if (ls_condition_true(job, "Failed"))
		ls_cli_say("%s failed: %s; lockstep describe %s tells more", f->name, message, f->name);
	else
		ls_cli_say("%s succeeded", f->name);
	return ls_exit_code_of(job, f->pod_code);
}

/* The log of a launcher on a dead node says nothing and does not end: not waited for once there is another launcher. */
static void cut_outdated(struct follow *f, const cJSON *job)
{
	if (f->reading < 0 || f->reading >= ls_number_at(job, "status.pods.launcher", 0)) {
		f->outdated = 0;
	} else if (!f->outdated) {
		f->outdated = time(NULL);
	} else if (!f->cut && time(NULL) - f->outdated >= OUTDATED_S) {
		pthread_mutex_lock(&f->lock);
		f->cut = true;
		ls_kube_cancel(f->log.k);
		pthread_mutex_unlock(&f->lock);
	}
}

/* --- its life ------------------------------------------------------------------------------------------------------------- */

/* The signal that came, or 0. */
static int came(const sigset_t *set)
{
	const struct timespec now = { 0 };
	int sig = sigtimedwait(set, NULL, &now);

	return sig > 0 ? sig : 0;
}

static void drain(struct follow *f, const sigset_t *signals)
{
	time_t until = time(NULL) + DRAIN_S;

	f->over = true;
	while (!f->drained && time(NULL) < until && !came(signals))
		usleep(TICK_MS * 1000);
}

/* -1: not over. */
static int look(struct follow *f, const cJSON *job, const sigset_t *signals)
{
	if (!job) {
		ls_cli_say("%s was deleted", f->name);
		return 1;
	}
	tell_state(f, job);
	if (!strcmp(f->state, "Suspended") && cJSON_IsTrue(ls_at(job, "spec.runPolicy.suspend"))) { /* else it is about to go on */
		ls_cli_say("%s is suspended: nothing runs; to go on: lockstep resume %s -n %s", f->name, f->name, f->c->namespace_);
		return 0;
	}
	if (!ls_is_over(job))
		return -1;
	drain(f, signals);
	tell_events(f, job, false);
	return tell_end(f, job);
}

static int run(struct follow *f, struct ls_jobwatch *w, const sigset_t *signals)
{
	cJSON *job = NULL, *newer = NULL;
	bool first = true, warned = false;
	time_t asked = 0, begun = time(NULL);
	unsigned seen = 0;
	int code = -1, sig;

	while (code < 0) {
		sig = came(signals);
		if (sig) {
			ls_cli_say("no longer following %s, which goes on; again: lockstep logs -f %s -n %s; to end it: lockstep delete %s -n %s",
				f->name, f->name, f->c->namespace_, f->name, f->c->namespace_);
			code = 128 + sig;
		} else if (ls_jobwatch_next(w, TICK_MS, &seen, &newer)) {
			cJSON_Delete(job);
			job = newer;
			code = look(f, job, signals);
		}
		cut_outdated(f, job);
		if (!warned && job && !ls_is_taken(job) && time(NULL) - begun >= TAKEN_S) {
			ls_cli_say("%s: its operator: " LS_CLI_NO_OPERATOR, f->name);
			warned = true;
		}
		if (code < 0 && job && time(NULL) - asked >= EVENTS_S) {
			tell_events(f, job, first && !f->is_new);
			asked = time(NULL);
			first = false;
		}
	}
	cJSON_Delete(job);
	return code;
}

int ls_cli_follow(struct ls_cli *c, const char *name, bool is_new)
{
	struct follow f = { .c = c, .log = { .name = c->name, .kube = c->kube }, .name = name, .is_new = is_new,
		.lock = PTHREAD_MUTEX_INITIALIZER, .reading = -1, .pod_code = -1 };
	struct ls_err err = LS_ERR_INIT;
	struct ls_jobwatch *w = NULL;
	sigset_t signals;
	pthread_t thread;
	ls_status st;
	int code = 1;

	sigemptyset(&signals);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGHUP);
	pthread_sigmask(SIG_BLOCK, &signals, NULL);
	st = ls_cli_open(&f.log, &err);
	f.log.namespace_ = c->namespace_;
	if (!st)
		st = ls_jobwatch_start(c, name, &w, &err);
	if (!st && pthread_create(&thread, NULL, log_main, &f))
		st = ls_fail(&err, LS_AGAIN, 0, "no thread can be started");
	if (st) {
		ls_cli_say("%s", err.text);
	} else {
		code = run(&f, w, &signals);
		f.stop = true;
		pthread_mutex_lock(&f.lock);
		if (f.log.k)
			ls_kube_cancel(f.log.k);
		pthread_mutex_unlock(&f.lock);
		pthread_join(thread, NULL);
	}
	ls_jobwatch_stop(w);
	ls_cli_release(&f.log);
	ls_strv_release(&f.told);
	return code;
}
