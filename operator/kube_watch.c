/* kube_watch.c -- a collection in view; see kube.h, where the states are drawn.
 *
 * Invariant: `version` is that of the last event handed over, or of the list that was handed over whole. So a connection may end anywhere, in
 * the middle of a line, too, and the next watch goes on from there; without a version the next step is a list. */
#include "core/io.h"
#include "operator/kube_impl.h"

#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define PAGE 500
#define PAGE_TEXT ((size_t)4 << 20) /* larger pages make the next ones shorter */
#define LINE_MAX_BYTES ((size_t)16 << 20)
#define LINE_KEEP 65536
#define LIST_MS 60000
#define WATCH_S 300                 /* to twice that */
#define STALL_MS 300000             /* bookmarks come once a minute */
#define FIRST_PAUSE_MS 500
#define LAST_PAUSE_MS 30000
#define UNHEARD_PAUSE_MS 5000        /* while no answer comes: it may be back at any time, and a try costs it nothing */
#define RELISTS 1                    /* at once, before a watch holds */
#define SHORT_MS 1000
#define STALE_MS 60000

struct ls_kube_watch {
	struct ls_kube_watch_options opt;
	char *path;
	struct ls_kube *k;
	pthread_t thread;
	pthread_mutex_t lock; /* stop */
	pthread_cond_t wake;
	bool stop;
	atomic_bool listed;
	atomic_llong trouble_ms; /* since when; 0: none */

	/* the thread's own */
	char trouble[1024];
	struct ls_str version;   /* "": list */
	struct ls_str line;      /* the beginning of one */
	enum ls_kube_line last;  /* of what ended the watch: EXPIRED, ERROR or BAD */
	struct ls_err why;       /* what that line says */
	bool opened, got_event;
	int failures, limit;
	int relists;             /* lists in a row that were too old for a watch at once */
};

static bool stopped(struct ls_kube_watch *w)
{
	bool ret;

	pthread_mutex_lock(&w->lock);
	ret = w->stop;
	pthread_mutex_unlock(&w->lock);
	return ret;
}

/* --- trouble ----------------------------------------------------------------------------------------------------------------------------- */

static void say(struct ls_kube_watch *w, const char *sentence)
{
	if (!strcmp(w->trouble, sentence))
		return;
	snprintf(w->trouble, sizeof(w->trouble), "%s", sentence);
	if (!*sentence)
		atomic_store(&w->trouble_ms, 0);
	else if (!atomic_load(&w->trouble_ms))
		atomic_store(&w->trouble_ms, ls_clock_ms());
	if (w->opt.on_trouble)
		w->opt.on_trouble(w->opt.arg, sentence);
}

static int pause_ms(int failures, int last_ms)
{
	int ms = failures < 7 ? FIRST_PAUSE_MS << failures : last_ms;
	unsigned r = 0;

	if (ms > last_ms)
		ms = last_ms;
	(void)!getrandom(&r, sizeof(r), 0); /* without it: no jitter */
	return ms - (int)(r % (unsigned)(ms / 4 + 1));
}

static void nap(struct ls_kube_watch *w, int ms)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += ms / 1000;
	until.tv_nsec += ms % 1000 * 1000000L;
	if (until.tv_nsec >= 1000000000L) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000L;
	}
	pthread_mutex_lock(&w->lock);
	while (!w->stop && pthread_cond_timedwait(&w->wake, &w->lock, &until) == 0)
		;
	pthread_mutex_unlock(&w->lock);
}

/* The server may ask for a longer pause than ours. `answered`: it answers at all. */
static void back_off(struct ls_kube_watch *w, const char *sentence, bool answered, int retry_after_s)
{
	int ms = pause_ms(w->failures++, answered ? LAST_PAUSE_MS : UNHEARD_PAUSE_MS);

	if (stopped(w))
		return;
	say(w, sentence);
	nap(w, retry_after_s * 1000 > ms ? retry_after_s * 1000 : ms);
}

/* --- listing ----------------------------------------------------------------------------------------------------------------------------- */

static void on_item(void *arg, const cJSON *item)
{
	struct ls_kube_watch *w = arg;

	w->opt.on_event(w->opt.arg, LS_WATCH_SET, item);
}

static void add_query(const struct ls_kube_watch *w, struct ls_str *path)
{
	ls_str_add(path, w->path);
	ls_str_add(path, strchr(w->path, '?') ? "&" : "?");
}

static ls_status get_page(struct ls_kube_watch *w, const char *from, struct ls_kube_call *c, struct ls_err *err)
{
	ls_kube_call_release(c);
	c->method = "GET";
	c->timeout_ms = LIST_MS;
	add_query(w, &c->path);
	ls_str_addf(&c->path, "limit=%d", w->limit);
	if (*from) {
		ls_str_add(&c->path, "&continue=");
		ls_kube_add_segment(&c->path, from);
	}
	return ls_kube_one(w->k, c, err);
}

/* One page is here: hand it over. */
static ls_status take_page(struct ls_kube_watch *w, const struct ls_kube_call *c, struct ls_kube_page *page, struct ls_err *err)
{
	struct ls_kube_page next = { 0 };
	ls_status st = ls_kube_page_read(ls_str_text(&c->text), c->text.len, on_item, w, &next, err);

	if (c->text.len > PAGE_TEXT && w->limit > 16)
		w->limit /= 2;
	ls_kube_page_release(page);
	*page = next;
	return st;
}

/* All pages. LS_OK: handed over, LIST_END said, `version` set. */
static ls_status list(struct ls_kube_watch *w, struct ls_kube_call *c, struct ls_err *err)
{
	struct ls_kube_page page = { 0 };
	bool began = false;
	ls_status st;

	do {
		st = get_page(w, ls_str_text(&page.next), c, err);
		if (st && !strcmp(c->reason, "TooLong") && w->limit > 1) {
			w->limit /= 2;
			continue;
		}
		if (st)
			break;
		if (!began)
			w->opt.on_event(w->opt.arg, LS_WATCH_LIST_BEGIN, NULL);
		began = true;
		st = take_page(w, c, &page, err);
		if (st || !page.next.len)
			break;
	} while (!stopped(w));
	if (!st && !page.next.len) {
		ls_str_release(&w->version);
		w->version = page.version;
		page.version = (struct ls_str){ 0 };
		w->opt.on_event(w->opt.arg, LS_WATCH_LIST_END, NULL);
		atomic_store(&w->listed, true);
	}
	ls_kube_page_release(&page);
	return st;
}

/* --- watching ---------------------------------------------------------------------------------------------------------------------------- */

/* False ends the watch. */
static bool on_line(struct ls_kube_watch *w, const char *line, size_t len)
{
	const cJSON *object;
	cJSON *doc;

	w->last = ls_kube_line_read(line, len, &doc, &object, &w->why);
	if (!doc)
		return false;
	if (w->last != LS_LINE_BOOKMARK)
		w->opt.on_event(w->opt.arg, w->last == LS_LINE_SET ? LS_WATCH_SET : LS_WATCH_GONE, object);
	ls_str_release(&w->version);
	ls_str_add(&w->version, ls_kube_version(object));
	cJSON_Delete(doc);
	w->got_event = true;
	return true;
}

static bool end_of_line(struct ls_kube_watch *w, const char *bytes, size_t len)
{
	bool ok;

	if (w->line.len + len > LINE_MAX_BYTES) {
		w->last = LS_LINE_BAD;
		ls_fail(&w->why, LS_AGAIN, 0, "the API server's watch cannot be read: a line of over 16 MiB");
		return false;
	}
	if (!w->line.len)
		return !len || on_line(w, bytes, len);
	ls_str_addn(&w->line, bytes, len);
	ok = !w->line.oom && on_line(w, w->line.s, w->line.len);
	if (w->line.cap > LINE_KEEP)
		ls_str_release(&w->line);
	w->line.len = 0;
	return ok;
}

static bool on_body(void *arg, const char *bytes, size_t len)
{
	struct ls_kube_watch *w = arg;
	const char *end;

	if (!len) { /* the head: the server has taken the watch */
		w->opened = true;
		say(w, "");
	}
	while (len && (end = memchr(bytes, '\n', len))) {
		if (stopped(w) || !end_of_line(w, bytes, (size_t)(end - bytes)))
			return false;
		len -= (size_t)(end - bytes) + 1;
		bytes = end + 1;
	}
	if (w->line.len + len > LINE_MAX_BYTES)
		return end_of_line(w, bytes, len);
	ls_str_addn(&w->line, bytes, len);
	return !w->line.oom && !stopped(w);
}

static ls_status watch(struct ls_kube_watch *w, struct ls_kube_call *c, struct ls_err *err)
{
	unsigned r = 0;
	int seconds;

	(void)!getrandom(&r, sizeof(r), 0);
	seconds = WATCH_S + (int)(r % WATCH_S);
	ls_kube_call_release(c);
	ls_str_release(&w->line);
	w->last = LS_LINE_BOOKMARK;
	w->opened = w->got_event = false;
	c->method = "GET";
	c->timeout_ms = (seconds + 60) * 1000;
	c->stall_ms = STALL_MS;
	c->on_body = on_body;
	c->arg = w;
	add_query(w, &c->path);
	ls_str_addf(&c->path, "watch=true&allowWatchBookmarks=true&timeoutSeconds=%d&resourceVersion=", seconds);
	ls_kube_add_segment(&c->path, ls_str_text(&w->version));
	return ls_kube_one(w->k, c, err);
}

/* Is the version still good after this answer? */
static bool keeps_version(const struct ls_kube_watch *w, const struct ls_kube_call *c)
{
	if (w->version.oom || w->line.oom || w->last == LS_LINE_BAD || w->last == LS_LINE_EXPIRED)
		return false;
	return c->status / 100 == 2 || !c->status || c->status == 401 || c->status == 403 || c->status == 429 || c->status >= 500;
}

/* What a watch's end means: list again, pause, or just go on. */
static void after_watch(struct ls_kube_watch *w, const struct ls_kube_call *c, const char *why, int64_t lasted_ms)
{
	bool served = w->got_event || (w->opened && lasted_ms >= SHORT_MS), expired = w->last == LS_LINE_EXPIRED || c->status == 410;

	if (!keeps_version(w, c))
		ls_str_release(&w->version);
	if (served)
		w->failures = w->relists = 0;
	if (w->last == LS_LINE_BAD || w->last == LS_LINE_ERROR)
		back_off(w, w->why.text, true, 0);
	else if (served) /* the end that was agreed on, or a connection that broke: at once */
		return;
	else if (expired && w->relists < RELISTS)
		w->relists++;
	else
		back_off(w, *why ? why : "the API server ends watches at once", c->status || w->opened, c->retry_after_s);
}

static void *keep_in_view(void *arg)
{
	struct ls_kube_watch *w = arg;
	struct ls_kube_call c = { 0 };

	while (!stopped(w)) {
		struct ls_err err = LS_ERR_INIT;
		int64_t began_ms = ls_clock_ms();

		if (w->version.len) {
			(void)watch(w, &c, &err);
			after_watch(w, &c, err.text, ls_clock_ms() - began_ms);
			continue;
		}
		if (list(w, &c, &err))
			back_off(w, err.text, c.status != 0, c.retry_after_s);
		ls_kube_call_release(&c);
		malloc_trim(0); /* pages are large, and seldom */
	}
	ls_kube_call_release(&c);
	return NULL;
}

/* --- the handle -------------------------------------------------------------------------------------------------------------------------- */

static void watch_free(struct ls_kube_watch *w)
{
	ls_kube_close(w->k);
	ls_str_release(&w->version);
	ls_str_release(&w->line);
	pthread_cond_destroy(&w->wake);
	pthread_mutex_destroy(&w->lock);
	free(w->path);
	free(w);
}

ls_status ls_kube_watch_start(const struct ls_kube_watch_options *opt, struct ls_kube_watch **ret, struct ls_err *err)
{
	struct ls_kube_watch *w = calloc(1, sizeof(*w));
	struct ls_kube_options kube = opt->kube;
	pthread_condattr_t attr;
	ls_status st;
	int rc;

	if (!w)
		return ls_fail_oom(err);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&w->wake, &attr);
	pthread_condattr_destroy(&attr);
	pthread_mutex_init(&w->lock, NULL);
	w->opt = *opt;
	w->why = (struct ls_err)LS_ERR_INIT;
	w->limit = PAGE;
	w->path = strdup(opt->path);
	kube.threads = 0;
	kube.qps = 0;
	st = w->path ? ls_kube_open(&kube, &w->k, err) : ls_fail_oom(err);
	if (!st && (rc = ls_thread_spawn(&w->thread, keep_in_view, w)))
		st = ls_fail(err, LS_AGAIN, rc, "cannot start a thread to watch %s", opt->path);
	if (st)
		watch_free(w);
	else
		*ret = w;
	return st;
}

void ls_kube_watch_stop(struct ls_kube_watch *w)
{
	if (!w)
		return;
	pthread_mutex_lock(&w->lock);
	w->stop = true;
	pthread_cond_broadcast(&w->wake);
	pthread_mutex_unlock(&w->lock);
	ls_kube_cancel(w->k);
	pthread_join(w->thread, NULL);
	watch_free(w);
}

bool ls_kube_watch_fresh(const struct ls_kube_watch *w)
{
	long long since = atomic_load(&w->trouble_ms);

	return atomic_load(&w->listed) && (!since || ls_clock_ms() - since <= STALE_MS);
}
