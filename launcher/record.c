/* record.c -- see record.h. */
#include "launcher/record.h"
#include "core/io.h"
#include "lockstep/lockstep.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct ls_record {
	cJSON *root;
	cJSON *saved_before; /* checkpoints of earlier runs, or NULL */
	char *path;
	unsigned floor;
};

static void set(cJSON *object, const char *key, cJSON *value)
{
	if (!value)
		return;
	if (cJSON_GetObjectItemCaseSensitive(object, key))
		cJSON_ReplaceItemInObjectCaseSensitive(object, key, value);
	else
		cJSON_AddItemToObject(object, key, value);
}

static void set_text(cJSON *object, const char *key, const char *text)
{
	set(object, key, cJSON_CreateString(text));
}

static void set_number(cJSON *object, const char *key, double n)
{
	set(object, key, isfinite(n) ? cJSON_CreateNumber(n) : cJSON_CreateNull());
}

/* The array at `key`, made when it is missing. */
static cJSON *array(cJSON *object, const char *key)
{
	cJSON *a = cJSON_GetObjectItemCaseSensitive(object, key);

	return cJSON_IsArray(a) ? a : cJSON_AddArrayToObject(object, key);
}

ls_status ls_record_open(const char *dir, struct ls_record **ret, struct ls_err *err)
{
	struct ls_record *r = calloc(1, sizeof(*r));
	struct ls_str path = { 0 }, text = { 0 };

	ls_str_addf(&path, "%s/job.json", dir);
	if (!r || path.oom) {
		free(r);
		ls_str_release(&path);
		return ls_fail_oom(err);
	}
	r->path = ls_str_steal(&path);
	if (!ls_file_read(r->path, 256 << 20, &text, NULL))
		r->root = cJSON_ParseWithLength(ls_str_text(&text), text.len);
	ls_str_release(&text);
	if (!cJSON_IsObject(r->root)) { /* none yet, or not readable: a new record; the logs of old attempts stay */
		cJSON_Delete(r->root);
		r->root = cJSON_CreateObject();
	}
	r->saved_before = cJSON_Duplicate(cJSON_GetObjectItemCaseSensitive(r->root, "checkpoints"), true);
	*ret = r;
	return LS_OK;
}

void ls_record_close(struct ls_record *r)
{
	if (!r)
		return;
	cJSON_Delete(r->root);
	cJSON_Delete(r->saved_before);
	free(r->path);
	free(r);
}

static cJSON *last_attempt(const struct ls_record *r)
{
	const cJSON *attempts = cJSON_GetObjectItemCaseSensitive(r->root, "attempts");
	int n = cJSON_GetArraySize(attempts);

	return n ? cJSON_GetArrayItem(attempts, n - 1) : NULL;
}

unsigned ls_record_next_attempt(const struct ls_record *r)
{
	const cJSON *n = cJSON_GetObjectItemCaseSensitive(last_attempt(r), "attempt");

	unsigned next = cJSON_IsNumber(n) && n->valueint >= 0 ? (unsigned)n->valueint + 1 : 0;

	return next > r->floor ? next : r->floor;
}

void ls_record_floor(struct ls_record *r, unsigned attempt)
{
	r->floor = attempt;
}

const char *ls_record_name(const struct ls_record *r)
{
	const char *name = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(r->root, "name"));

	return name ? name : "";
}

const char *ls_record_state(const struct ls_record *r)
{
	const char *state = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(r->root, "state"));

	return state ? state : "";
}

void ls_record_job(struct ls_record *r, const struct ls_job *job, const struct ls_engine *engine)
{
	cJSON *command = cJSON_CreateArray();
	struct ls_str text = { 0 };
	char now[32];
	size_t i;

	set_text(r->root, "name", job->name);
	for (i = 0; i < job->argv.n; i++)
		cJSON_AddItemToArray(command, cJSON_CreateString(job->argv.v[i]));
	set(r->root, "command", command);
	ls_str_addf(&text, "Open MPI %s", engine->version);
	set_text(r->root, "engine", ls_str_text(&text));
	ls_str_release(&text);
	set_text(r->root, "lockstep", LOCKSTEP_VERSION);
	ls_time_rfc3339(now);
	set_text(r->root, "startTime", now);
}

static cJSON *world_size(int requested, int actual)
{
	cJSON *w = cJSON_CreateObject();

	set_number(w, "requested", requested);
	set_number(w, "actual", actual);
	return w;
}

static cJSON *rank_entry(const struct ls_plan *plan, int rank)
{
	const struct ls_seat *seat = ls_plan_seat(plan, rank);
	cJSON *e = cJSON_CreateObject();

	set_number(e, "rank", rank);
	set_text(e, "host", ls_plan_host(plan, rank)->name);
	set_text(e, "cpuset", seat->cpuset);
	set_number(e, "numa", seat->numa);
	set_number(e, "gpu", seat->gpu);
	set_text(e, "nic", seat->nic);
	set(e, "sharesCore", cJSON_CreateBool(seat->shared));
	set_text(e, "why", seat->why);
	return e;
}

void ls_record_attempt_begin(struct ls_record *r, unsigned number, const struct ls_plan *plan)
{
	cJSON *attempt = cJSON_CreateObject(), *ranks;
	char now[32];
	int i;

	set_number(attempt, "attempt", number);
	ls_time_rfc3339(now);
	set_text(attempt, "startTime", now);
	set_text(attempt, "outcome", "running");
	ranks = cJSON_AddArrayToObject(attempt, "ranks");
	for (i = 0; i < plan->world; i++)
		cJSON_AddItemToArray(ranks, rank_entry(plan, i));
	cJSON_AddItemToArray(array(r->root, "attempts"), attempt);
	set(r->root, "worldSize", world_size(plan->world, 0));
}

static cJSON *failure_entry(const struct ls_failure *f)
{
	cJSON *e = cJSON_CreateObject(), *tail = cJSON_CreateArray();
	size_t i;

	set_number(e, "rank", f->rank);
	set_text(e, "host", f->host);
	set_number(e, "exitCode", f->code);
	set_number(e, "signal", f->signal);
	set_text(e, "reason", f->reason);
	set_text(e, "message", f->message);
	for (i = 0; i < f->tail.n; i++)
		cJSON_AddItemToArray(tail, cJSON_CreateString(f->tail.v[i]));
	set(e, "logTail", tail);
	return e;
}

void ls_record_attempt_end(struct ls_record *r, const struct ls_plan *plan, const struct ls_outcome *o)
{
	static const char *const outcomes[] = { "succeeded", "failed", "stopped", "deadline" };
	cJSON *attempt = last_attempt(r), *entry;
	int i = 0;

	if (!attempt)
		return;
	set_text(attempt, "startTime", o->started);
	set_text(attempt, "endTime", o->ended);
	set_text(attempt, "outcome", outcomes[o->ending]);
	set_number(attempt, "resumedStep", (double)o->resumed);
	set_number(attempt, "lastStep", (double)o->step);
	set_number(attempt, "startSeconds", o->start_s);
	cJSON_ArrayForEach(entry, cJSON_GetObjectItemCaseSensitive(attempt, "ranks"))
		set_number(entry, "pid", o->pids && i < plan->world ? o->pids[i++] : 0);
	if (o->ending == LS_END_FAILED)
		set(attempt, "failure", failure_entry(&o->failure));
	set(r->root, "worldSize", world_size(plan->world, o->world));
}

void ls_record_preflight(struct ls_record *r, const char *mode, double seconds, const struct ls_net_verdict *v, const struct ls_strv *left_out)
{
	cJSON *p = cJSON_CreateObject(), *findings = cJSON_AddArrayToObject(p, "findings"), *out = cJSON_AddArrayToObject(p, "leftOut");
	size_t i;

	set_text(p, "mode", mode);
	set_number(p, "seconds", seconds);
	set_text(p, "verdict", ls_str_text(&v->text));
	for (i = 0; i < v->n; i++) {
		cJSON *e = cJSON_CreateObject();

		set(e, "slow", cJSON_CreateBool(v->v[i].slow));
		set_text(e, "text", v->v[i].text);
		cJSON_AddItemToArray(findings, e);
	}
	for (i = 0; i < left_out->n; i++)
		cJSON_AddItemToArray(out, cJSON_CreateString(left_out->v[i]));
	set(r->root, "preflight", p);
}

void ls_record_facts(struct ls_record *r, const struct ls_facts *f)
{
	cJSON *progress = cJSON_CreateObject(), *results = cJSON_CreateObject(), *saved, *skipped, *warnings;
	size_t i;

	set_number(progress, "step", (double)f->step);
	set_number(progress, "totalSteps", (double)f->total);
	set_number(progress, "loss", f->loss);
	set_number(progress, "samplesPerSecond", f->rate);
	set_number(progress, "communicationShare", f->waiting);
	set(r->root, "progress", progress);
	for (i = 0; i < f->n_results; i++)
		set_number(results, f->results[i].name, f->results[i].value);
	set(r->root, "results", results);
	saved = cJSON_IsArray(r->saved_before) ? cJSON_Duplicate(r->saved_before, true) : cJSON_CreateArray();
	for (i = 0; i < f->n_saved; i++) {
		cJSON *e = cJSON_CreateObject();

		set_number(e, "step", (double)f->saved[i].step);
		set_text(e, "uri", f->saved[i].uri);
		set_number(e, "bytes", (double)f->saved[i].bytes);
		set_number(e, "ms", f->saved[i].ms);
		set_number(e, "stallMs", f->saved[i].stall_ms);
		set_text(e, "time", f->saved[i].time);
		cJSON_AddItemToArray(saved, e);
	}
	set(r->root, "checkpoints", saved);
	skipped = cJSON_CreateArray();
	for (i = 0; i < f->n_skipped; i++) {
		cJSON *e = cJSON_CreateObject();

		set_number(e, "step", (double)f->skipped[i].step);
		set_text(e, "reason", f->skipped[i].why);
		cJSON_AddItemToArray(skipped, e);
	}
	set(r->root, "skippedCheckpoints", skipped);
	warnings = cJSON_CreateArray();
	for (i = 0; i < f->warnings->n; i++)
		cJSON_AddItemToArray(warnings, cJSON_CreateString(f->warnings->v[i]));
	set(r->root, "warnings", warnings);
}

ls_status ls_record_state_set(struct ls_record *r, const char *state, const char *message, int exit_code, struct ls_err *err)
{
	struct ls_str tmp = { 0 };
	ls_status st = LS_OK;
	char now[32], *text;
	FILE *f = NULL;

	set_text(r->root, "state", state);
	set_text(r->root, "message", message);
	if (exit_code >= 0) {
		ls_time_rfc3339(now);
		set_number(r->root, "exitCode", exit_code);
		set_text(r->root, "endTime", now);
	} else {
		cJSON_DeleteItemFromObjectCaseSensitive(r->root, "exitCode");
		cJSON_DeleteItemFromObjectCaseSensitive(r->root, "endTime");
	}
	text = cJSON_Print(r->root);
	ls_str_addf(&tmp, "%s.tmp", r->path);
	if (text && !tmp.oom)
		f = fopen(tmp.s, "we");
	if (!f) {
		st = ls_fail(err, LS_AGAIN, errno, "cannot write %s", r->path);
	} else {
		bool bad = fprintf(f, "%s\n", text) < 0;

		bad |= fclose(f) != 0;
		if (bad || rename(tmp.s, r->path) < 0)
			st = ls_fail(err, LS_AGAIN, errno, "cannot write %s", r->path);
		if (bad)
			unlink(tmp.s);
	}
	cJSON_free(text);
	ls_str_release(&tmp);
	return st;
}
