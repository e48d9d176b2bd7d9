/* controller.c -- see controller.h: threads, the loop, and what launchers report. */
#include "core/io.h"
#include "operator/controller_impl.h"
#include "operator/lean.h"
#include "operator/log.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define ROUND_JOBS 64
#define ROUND_ACTIONS 256 /* enough of them: what they send, 4 KB a Pod, is in memory all at once */
#define TURN_MS 10000   /* the loop turns that often even if nothing happens */
#define TICK_MS 10000
#define FREED_MS 1000   /* jobs that wait for a place look again at most that often */
#define HEALTHY_MS 60000
#define RELAX_MS 10000 /* after the first request of a burst */
#define SETTLE_MS 2000

void ls_controller_wake(struct ls_controller *c)
{
	eventfd_write(c->wake, 1);
}

void ls_controller_stop(struct ls_controller *c)
{
	c->stop = true;
	ls_controller_wake(c);
}

/* --- reports ------------------------------------------------------------------------------------------------------------------------------ */

/* On the links' thread, which has its links locked: only the inbox is touched. A newer report takes the place of one that nobody read. */
static void on_report(void *arg, const char *uid, const char *text)
{
	struct ls_controller *c = arg;
	struct inbox *new = malloc(sizeof(*new) + strlen(text) + 1), **at, *old;

	if (!new) {
		ls_log(LS_LOG_ERROR, "no memory for a report", "uid", uid, NULL);
		return;
	}
	new->next = NULL;
	snprintf(new->uid, sizeof(new->uid), "%s", uid);
	strcpy(new->text, text);
	pthread_mutex_lock(&c->inbox_lock);
	for (at = &c->inbox; *at && strcmp((*at)->uid, new->uid) != 0; at = &(*at)->next)
		;
	if ((old = *at) != NULL)
		new->next = old->next;
	*at = new;
	pthread_mutex_unlock(&c->inbox_lock);
	free(old);
	ls_controller_wake(c);
}

static void read_report(struct ls_controller *c, const struct inbox *letter)
{
	struct job *job = ls_jobs_by_uid(c, letter->uid);
	cJSON *json = job ? cJSON_Parse(letter->text) : NULL;
	struct ls_err err = LS_ERR_INIT;
	struct ls_report report = { 0 };

	if (!job)
		return;
	if (ls_report_read(json, &report, &err)) {
		ls_log(LS_LOG_WARN, "a launcher's report cannot be read", "job", job->key, "error", err.text, NULL);
	} else {
		if (job->reported)
			ls_report_release(&job->report);
		job->report = report;
		job->reported = true;
		ls_job_dirty(c, job, 0);
	}
	cJSON_Delete(json);
}

static struct inbox *take_inbox(struct ls_controller *c)
{
	struct inbox *all;

	pthread_mutex_lock(&c->inbox_lock);
	all = c->inbox;
	c->inbox = NULL;
	pthread_mutex_unlock(&c->inbox_lock);
	return all;
}

static void read_inbox(struct ls_controller *c)
{
	struct inbox *letter = take_inbox(c), *next;

	for (; letter; letter = next) {
		next = letter->next;
		read_report(c, letter);
		free(letter);
	}
}

/* --- the loop ----------------------------------------------------------------------------------------------------------------------------- */

static void look_again(struct ls_controller *c, struct job *job, void *now_ms)
{
	struct ls_err err = LS_ERR_INIT;

	if (job->waits && ls_queue_add(&c->queue, &job->due, *(int64_t *)now_ms, &err))
		ls_log(LS_LOG_ERROR, "a job cannot be queued", "job", job->key, "error", err.text, NULL);
}

static void tick(struct ls_controller *c, struct job *job, void *now_ms)
{
	if (ls_expect_tick(&job->pods, *(int64_t *)now_ms))
		ls_job_dirty(c, job, 0);
	ls_job_tidy(c, job);
}

/* Jobs that wait for a place look all at the same time, the oldest first (see ls_queue_item.order). */
static void housekeeping(struct ls_controller *c, int64_t now_ms)
{
	read_inbox(c);
	if (c->freed && now_ms - c->freed_ms >= FREED_MS) {
		c->freed = false;
		c->freed_ms = now_ms;
		ls_jobs_each(c, look_again, &now_ms);
	}
	if (now_ms - c->ticked_ms >= TICK_MS) {
		c->ticked_ms = now_ms;
		ls_jobs_each(c, tick, &now_ms);
	}
}

static bool may_decide(struct ls_controller *c)
{
	for (int i = 0; i < WATCH_N; i++)
		if (!c->listed[i] && !(i == WATCH_NODES && c->no_nodes))
			return false;
	return !c->opt.may_act || c->opt.may_act(c->opt.arg, WRITE_MS);
}

/* The jobs that are due, decided; returns how many, and in *ret_ms when to look again. */
static int take_due(struct ls_controller *c, struct work *works, int64_t *ret_ms)
{
	struct ls_queue_item *item;
	int64_t now_ms = ls_clock_ms();
	int n = 0, actions = 0;

	*ret_ms = TURN_MS;
	pthread_mutex_lock(&c->lock);
	housekeeping(c, now_ms);
	if (!may_decide(c)) {
		*ret_ms = 1000;
	} else {
		while (n < ROUND_JOBS && actions < ROUND_ACTIONS && (item = ls_queue_take(&c->queue, now_ms)) != NULL) {
			works[n] = (struct work){ .job = (struct job *)item };
			works[n].job->busy = true;
			ls_round_decide(c, &works[n], now_ms);
			actions += works[n++].actions.n;
		}
		if (c->queue.n && ls_queue_due(&c->queue) - now_ms < *ret_ms)
			*ret_ms = ls_queue_due(&c->queue) - now_ms;
		if (c->freed && *ret_ms > FREED_MS)
			*ret_ms = FREED_MS;
	}
	pthread_mutex_unlock(&c->lock);
	return n;
}

static void finish(struct ls_controller *c, struct work *works, int n, int64_t began_ms)
{
	struct ls_err err = LS_ERR_INIT;

	pthread_mutex_lock(&c->lock);
	for (int i = 0; i < n; i++) {
		struct work *w = &works[i];

		w->job->busy = false;
		if (w->failed && w->job->known && ls_queue_fail(&c->queue, &w->job->due, ls_clock_ms(), &err))
			ls_log(LS_LOG_ERROR, "a job cannot be queued", "job", w->job->key, "error", err.text, NULL);
		if (!w->stopped)
			ls_queue_forgive(&w->job->due);
		ls_actions_release(&w->actions);
		ls_job_tidy(c, w->job);
	}
	pthread_mutex_unlock(&c->lock);
	c->reconciles += n;
	c->reconcile_ms += (ls_clock_ms() - began_ms) * n;
}

static void rest(struct ls_controller *c, int64_t ms)
{
	struct pollfd fd = { .fd = c->wake, .events = POLLIN };
	eventfd_t count;

	if (ms > 0)
		poll(&fd, 1, (int)ms);
	eventfd_read(c->wake, &count);
}

/* What the start or a burst needed is given back; in a long burst, once in a while. Returns in how many ms it is time. */
static int64_t relax(struct ls_controller *c, int64_t *due_ms)
{
	int64_t left = *due_ms - ls_clock_ms();

	if (!*due_ms || left > 0)
		return *due_ms ? left : TURN_MS;
	*due_ms = 0;
	ls_kube_rest(c->kube);
	ls_lean_rest();
	return TURN_MS;
}

static void loop(struct ls_controller *c)
{
	int64_t began_ms, ms, left, relax_ms = ls_clock_ms() + SETTLE_MS;
	int n;

	while (!c->stop) {
		began_ms = c->turned_ms = ls_clock_ms();
		n = take_due(c, c->works, &ms);
		if (n) {
			ls_round_act(c, c->works, n);
			finish(c, c->works, n, began_ms);
			relax_ms = relax_ms ? relax_ms : began_ms + RELAX_MS;
		}
		left = relax(c, &relax_ms);
		if (!n)
			rest(c, left < ms ? left : ms);
	}
}

/* --- start and end ------------------------------------------------------------------------------------------------------------------------ */

static void on_trouble(void *arg, const char *sentence)
{
	(void)arg;
	ls_log(*sentence ? LS_LOG_WARN : LS_LOG_INFO, *sentence ? "a watch is in trouble" : "a watch works again", "error", sentence, NULL);
}

static ls_status watch_path(struct ls_controller *c, const char *api, const char *collection, char **ret, struct ls_err *err)
{
	struct ls_str path = { 0 };

	ls_str_add(&path, api);
	if (c->opt.namespace_) {
		ls_str_add(&path, "/namespaces/");
		ls_kube_add_segment(&path, c->opt.namespace_);
	}
	ls_str_add(&path, collection);
	*ret = ls_str_steal(&path);
	return *ret ? LS_OK : ls_fail_oom(err);
}

/* For ls_controller_fresh(), on other threads; returns the one before. */
static struct ls_kube_watch *show_watch(struct ls_controller *c, int which, struct ls_kube_watch *w)
{
	struct ls_kube_watch *before;

	pthread_mutex_lock(&c->lock);
	before = c->watch[which];
	c->watch[which] = w;
	pthread_mutex_unlock(&c->lock);
	return before;
}

static ls_status watch(struct ls_controller *c, int which, struct ls_err *err)
{
	static void (*const seen[WATCH_N])(void *, enum ls_watch_event, const cJSON *) = { ls_seen_job, ls_seen_pod, ls_seen_node };
	struct ls_kube_watch_options opt = {
		.kube = c->opt.kube, .path = c->paths[which], .on_event = seen[which], .on_trouble = on_trouble, .arg = c,
	};

	struct ls_kube_watch *w;
	ls_status st = ls_kube_watch_start(&opt, &w, err);

	if (!st)
		show_watch(c, which, w);
	return st;
}

static ls_status ask_for_one(struct ls_controller *c, int which, int *ret_http, struct ls_err *err)
{
	struct ls_kube_call call = { .method = "GET" };
	ls_status st;

	ls_str_addf(&call.path, "%s?limit=1", c->paths[which]);
	st = call.path.oom ? ls_fail_oom(err) : ls_kube_one(c->kube, &call, err);
	*ret_http = call.status;
	ls_kube_call_release(&call);
	return st;
}

/* May nodes be seen? A namespaced operator need not have that permission. Asked until there is an answer. An API server that has just started forbids
 * everything, until it has read its roles: a refusal counts only where jobs may be seen. */
static void ask_for_nodes(struct ls_controller *c)
{
	struct ls_err err = LS_ERR_INIT;
	bool told = false, jobs;
	ls_status st;
	int http;

	for (;;) {
		st = ask_for_one(c, WATCH_JOBS, &http, &err);
		jobs = !st;
		if (jobs)
			st = ask_for_one(c, WATCH_NODES, &http, &err);
		c->no_nodes = jobs && http == 403;
		if (!st || c->no_nodes || c->stop)
			break;
		if (!told)
			ls_log(LS_LOG_WARN, "the API server does not show jobs or nodes yet", "server", ls_kube_server(c->kube), "error", err.text, NULL);
		told = true;
		c->turned_ms = ls_clock_ms();
		rest(c, 1000);
	}
	if (c->no_nodes)
		ls_log(LS_LOG_WARN, "nodes may not be seen: the default scheduler alone places workers, not as a gang", "error", err.text, NULL);
}

ls_status ls_controller_run(struct ls_controller *c, struct ls_err *err)
{
	ls_status st = LS_OK;

	ask_for_nodes(c);
	for (int i = 0; i < WATCH_N && !st && !c->stop; i++)
		if (i != WATCH_NODES || !c->no_nodes)
			st = watch(c, i, err);
	if (!st)
		loop(c);
	for (int i = 0; i < WATCH_N; i++)
		ls_kube_watch_stop(show_watch(c, i, NULL));
	return st;
}

ls_status ls_controller_open(const struct ls_controller_options *opt, struct ls_controller **ret, struct ls_err *err)
{
	struct ls_controller *c = calloc(1, sizeof(*c));
	ls_status st;

	if (!c)
		return ls_fail_oom(err);
	c->opt = *opt;
	c->turned_ms = ls_clock_ms();
	pthread_mutex_init(&c->lock, NULL);
	pthread_mutex_init(&c->inbox_lock, NULL);
	c->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	st = c->wake < 0 ? ls_fail(err, LS_AGAIN, errno, "cannot open an eventfd") : LS_OK;
	if (!st && !(c->works = calloc(ROUND_JOBS, sizeof(*c->works))))
		st = ls_fail_oom(err);
	if (!st)
		st = watch_path(c, LS_KUBE_API, "/trainingjobs", &c->paths[WATCH_JOBS], err);
	if (!st)
		st = watch_path(c, "/api/v1", "/pods", &c->paths[WATCH_PODS], err);
	if (!st && !(c->paths[WATCH_NODES] = strdup("/api/v1/nodes")))
		st = ls_fail_oom(err);
	if (!st)
		st = ls_cluster_open(&c->cluster, err);
	if (!st)
		st = ls_kube_open(&opt->kube, &c->kube, err);
	if (!st)
		st = ls_event_post_open(&opt->kube, &c->events, err);
	if (!st)
		st = ls_links_open(on_report, c, &c->links, err);
	ls_lean_rest(); /* the libraries are loaded: their start is the largest part of the peak */
	if (st)
		ls_controller_close(c);
	else
		*ret = c;
	return st;
}

void ls_controller_close(struct ls_controller *c)
{
	struct inbox *letter, *next;

	if (!c)
		return;
	if (c->links)
		ls_jobs_release(c);
	ls_links_close(c->links);
	ls_event_post_close(c->events);
	for (letter = take_inbox(c); letter; letter = next) {
		next = letter->next;
		free(letter);
	}
	ls_queue_release(&c->queue);
	ls_cluster_close(c->cluster);
	ls_kube_close(c->kube);
	for (int i = 0; i < WATCH_N; i++)
		free(c->paths[i]);
	free(c->works);
	ls_fd_close(&c->wake);
	pthread_mutex_destroy(&c->inbox_lock);
	pthread_mutex_destroy(&c->lock);
	free(c);
}

bool ls_controller_alive(struct ls_controller *c)
{
	return ls_clock_ms() - c->turned_ms < HEALTHY_MS;
}

bool ls_controller_fresh(struct ls_controller *c)
{
	bool fresh = true;

	pthread_mutex_lock(&c->lock);
	for (int i = 0; i < WATCH_N; i++)
		fresh = fresh && ((i == WATCH_NODES && c->no_nodes) || (c->watch[i] && c->listed[i] && ls_kube_watch_fresh(c->watch[i])));
	pthread_mutex_unlock(&c->lock);
	return fresh;
}
