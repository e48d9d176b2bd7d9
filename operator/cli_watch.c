/* cli_watch.c -- see cli.h: one job and its changes, by a watch of one object. */
#include "operator/cli.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

struct ls_jobwatch {
	struct ls_kube_watch *watch;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	cJSON *job;        /* NULL: there is none */
	bool in_list, failing;
	unsigned version;  /* changes so far */
};

/* With the lock. Takes `job`. */
static void set(struct ls_jobwatch *w, cJSON *job)
{
	cJSON_Delete(w->job);
	w->job = job;
	w->version++;
	pthread_cond_signal(&w->changed);
}

static void on_event(void *arg, enum ls_watch_event event, const cJSON *object)
{
	struct ls_jobwatch *w = arg;
	cJSON *copy = event == LS_WATCH_SET ? cJSON_Duplicate(object, true) : NULL;

	if (event == LS_WATCH_SET && !copy) {
		ls_cli_say("no memory for a change of the job; waiting for the next");
		return;
	}
	pthread_mutex_lock(&w->lock);
	if (event == LS_WATCH_LIST_BEGIN)
		w->in_list = false;
	else if (event != LS_WATCH_LIST_END)
		set(w, copy);
	else if (!w->in_list)
		set(w, NULL);
	w->in_list |= event == LS_WATCH_SET;
	pthread_mutex_unlock(&w->lock);
}

static void on_trouble(void *arg, const char *sentence)
{
	struct ls_jobwatch *w = arg;

	if (*sentence)
		ls_cli_say("%s", sentence);
	else if (w->failing)
		ls_cli_say("the API server answers again");
	w->failing = *sentence;
}

ls_status ls_jobwatch_start(struct ls_cli *c, const char *name, struct ls_jobwatch **ret, struct ls_err *err)
{
	struct ls_kube_watch_options opt = { .kube = c->kube, .on_event = on_event, .on_trouble = on_trouble };
	struct ls_jobwatch *w = calloc(1, sizeof(*w));
	struct ls_str path = { 0 };
	pthread_condattr_t clock;
	ls_status st;

	if (!w)
		return ls_fail_oom(err);
	pthread_mutex_init(&w->lock, NULL);
	pthread_condattr_init(&clock);
	pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
	pthread_cond_init(&w->changed, &clock);
	pthread_condattr_destroy(&clock);
	ls_job_path(&path, c->namespace_, NULL);
	ls_str_add(&path, "?fieldSelector=metadata.name%3D");
	ls_kube_add_segment(&path, name);
	opt.path = ls_str_text(&path);
	opt.arg = w;
	st = path.oom ? ls_fail_oom(err) : ls_kube_watch_start(&opt, &w->watch, err);
	ls_str_release(&path);
	if (st)
		ls_jobwatch_stop(w);
	else
		*ret = w;
	return st;
}

bool ls_jobwatch_next(struct ls_jobwatch *w, int ms, unsigned *seen, cJSON **ret_job)
{
	struct timespec until;
	bool changed;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += ms / 1000;
	until.tv_nsec += ms % 1000 * 1000000L;
	if (until.tv_nsec >= 1000000000L) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000L;
	}
	pthread_mutex_lock(&w->lock);
	while (w->version == *seen && !pthread_cond_timedwait(&w->changed, &w->lock, &until))
		;
	changed = w->version != *seen;
	if (changed) {
		*seen = w->version;
		*ret_job = cJSON_Duplicate(w->job, true);
	}
	pthread_mutex_unlock(&w->lock);
	return changed;
}

void ls_jobwatch_stop(struct ls_jobwatch *w)
{
	if (!w)
		return;
	ls_kube_watch_stop(w->watch);
	pthread_cond_destroy(&w->changed);
	pthread_mutex_destroy(&w->lock);
	cJSON_Delete(w->job);
	free(w);
}
