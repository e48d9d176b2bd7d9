/* run_workers.c -- see run_impl.h: what `lockstep run` does more in a launcher's Pod. */
#include "launcher/pod_report.h"
#include "launcher/run_impl.h"
#include "launcher/signals.h"
#include "launcher/workers.h"
#include "core/io.h"

#include <stdio.h>
#include <string.h>

enum { LIVE_MS = 1000, LOOK_MS = 1000 };

ls_status run_wait_workers(struct run *r, void (*say)(const char *sentence), struct ls_err *err)
{
	struct ls_workers w = { 0 };
	ls_status st = ls_workers_wait(r->opt.workers, say, ls_signals_stops(), r->deadline_ms, &w, err);

	if (st)
		return st;
	ls_hosts_release(&r->hosts);
	r->hosts = w.hosts;
	r->workers_mark = w.mark;
	return LS_OK;
}

bool run_workers_changed(void *run)
{
	struct run *r = run;
	struct ls_workers w = { 0 };
	bool changed;

	if (ls_clock_ms() - r->workers_ms < LOOK_MS)
		return false;
	r->workers_ms = ls_clock_ms();
	if (ls_workers_read(r->opt.workers, &w, NULL))
		return false; /* it is replaced by rename: what cannot be read says nothing */
	changed = !w.complete || w.mark != r->workers_mark;
	ls_workers_release(&w);
	return changed;
}

/* A view for the launcher's Pod, as job.json: replaced, not synced. */
static void write_live(const struct run *r, const char *text)
{
	struct ls_str path = { 0 }, tmp = { 0 };
	FILE *f = NULL;

	ls_str_addf(&path, "%s/live.json", r->dir);
	ls_str_addf(&tmp, "%s.tmp", ls_str_text(&path));
	if (!path.oom && !tmp.oom)
		f = fopen(tmp.s, "we");
	if (f) {
		bool bad = fputs(text, f) < 0;

		bad |= fclose(f) != 0;
		if (bad || rename(tmp.s, path.s) < 0)
			remove(tmp.s);
	}
	ls_str_release(&path);
	ls_str_release(&tmp);
}

void run_seen(void *run, unsigned attempt, int requested, int actual)
{
	struct run *r = run;
	struct ls_facts facts;
	cJSON *json;
	char *text;

	if (r->live_ms && ls_clock_ms() - r->live_ms < LIVE_MS)
		return;
	r->live_ms = ls_clock_ms();
	ls_watch_facts(r->watch, &facts);
	json = ls_pod_live(attempt, requested, actual, &facts);
	text = cJSON_PrintUnformatted(json);
	if (text && strcmp(text, ls_str_text(&r->live))) {
		write_live(r, text);
		ls_str_release(&r->live);
		ls_str_add(&r->live, text);
	}
	cJSON_free(text);
	cJSON_Delete(json);
}
