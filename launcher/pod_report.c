/* pod_report.c -- see pod_report.h. */
#include "launcher/pod_report.h"
#include "core/json.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static double number_of(const cJSON *object, const char *key, double otherwise)
{
	const cJSON *n = cJSON_GetObjectItemCaseSensitive(object, key);

	return cJSON_IsNumber(n) ? n->valuedouble : otherwise;
}

static const cJSON *last_of(const cJSON *array)
{
	int n = cJSON_GetArraySize(array);

	return n ? cJSON_GetArrayItem(array, n - 1) : NULL;
}

/* --- live.json --------------------------------------------------------------------------------------------------------- */

static void add_checkpoint(cJSON *json, long long step, const char *uri, const char *time)
{
	cJSON *c = cJSON_AddObjectToObject(json, "lastCheckpoint");

	cJSON_AddNumberToObject(c, "step", (double)step);
	cJSON_AddStringToObject(c, "uri", uri);
	cJSON_AddStringToObject(c, "time", time);
}

static void add_world(cJSON *json, double requested, double actual)
{
	cJSON *w = cJSON_AddObjectToObject(json, "worldSize");

	cJSON_AddNumberToObject(w, "requested", requested);
	cJSON_AddNumberToObject(w, "actual", actual);
}

cJSON *ls_pod_live(unsigned attempt, int requested, int actual, const struct ls_facts *f)
{
	cJSON *json = cJSON_CreateObject(), *p = cJSON_AddObjectToObject(json, "progress");
	char text[32];

	cJSON_AddNumberToObject(json, "attempt", attempt);
	add_world(json, requested, actual);
	cJSON_AddNumberToObject(p, "step", (double)f->step);
	cJSON_AddNumberToObject(p, "totalSteps", (double)f->total);
	if (isfinite(f->loss)) {
		snprintf(text, sizeof(text), "%.4g", f->loss);
		cJSON_AddStringToObject(p, "loss", text);
	}
	if (f->rate > 0) {
		snprintf(text, sizeof(text), f->rate < 100 ? "%.3g" : "%.0f", f->rate);
		cJSON_AddStringToObject(p, "samplesPerSecond", text);
	}
	if (f->eta_s >= 0)
		cJSON_AddNumberToObject(p, "etaSeconds", ceil(f->eta_s));
	if (f->n_saved)
		add_checkpoint(json, f->saved[f->n_saved - 1].step, f->saved[f->n_saved - 1].uri, f->saved[f->n_saved - 1].time);
	return json;
}

/* --- the report -------------------------------------------------------------------------------------------------------- */

static cJSON *failure(const cJSON *attempt)
{
	const cJSON *f = cJSON_GetObjectItemCaseSensitive(attempt, "failure"), *line;
	cJSON *e = cJSON_CreateObject();
	struct ls_str tail = { 0 };

	cJSON_AddNumberToObject(e, "attempt", number_of(attempt, "attempt", 0));
	cJSON_AddNumberToObject(e, "rank", number_of(f, "rank", -1));
	cJSON_AddStringToObject(e, "worker", ls_json_text(f, "host")); /* its hosts are called as the workers are */
	cJSON_AddNumberToObject(e, "exitCode", number_of(f, "exitCode", 0));
	cJSON_AddNumberToObject(e, "signal", number_of(f, "signal", 0));
	cJSON_AddStringToObject(e, "reason", ls_json_text(f, "reason"));
	cJSON_AddStringToObject(e, "message", ls_json_text(f, "message"));
	cJSON_ArrayForEach(line, cJSON_GetObjectItemCaseSensitive(f, "logTail"))
		ls_str_addf(&tail, "%s%s", tail.len ? "\n" : "", cJSON_IsString(line) ? line->valuestring : "");
	cJSON_AddStringToObject(e, "logTail", ls_str_text(&tail));
	cJSON_AddStringToObject(e, "time", ls_json_text(attempt, "endTime"));
	ls_str_release(&tail);
	return e;
}

/* The newest ones, the newest last. */
static void add_failures(cJSON *report, const cJSON *job)
{
	const cJSON *attempts = cJSON_GetObjectItemCaseSensitive(job, "attempts"), *a;
	cJSON *list = cJSON_AddArrayToObject(report, "failures");

	cJSON_ArrayForEach(a, attempts)
	{
		if (!cJSON_GetObjectItemCaseSensitive(a, "failure"))
			continue;
		if (cJSON_GetArraySize(list) == LS_POD_FAILURES)
			cJSON_DeleteItemFromArray(list, 0);
		cJSON_AddItemToArray(list, failure(a));
	}
}

static bool all_in(const struct ls_pod_facts *f, double attempt)
{
	const cJSON *w = cJSON_GetObjectItemCaseSensitive(f->live, "worldSize");

	return f->live && number_of(f->live, "attempt", -1) >= attempt && number_of(w, "actual", 0) >= number_of(w, "requested", 1);
}

static bool is_final(const char *state)
{
	return !strcmp(state, "Succeeded") || !strcmp(state, "Failed") || !strcmp(state, "Stopped");
}

static const char *state_at_end(const struct ls_pod_facts *f, const char *recorded)
{
	if (is_final(recorded))
		return !strcmp(recorded, "Succeeded") && f->exit_code ? "Failed" : recorded;
	return f->exit_code == 143 || f->exit_code == 130 || !strcmp(recorded, "Suspended") ? "Stopped" : "Failed";
}

static const char *state_of(const struct ls_pod_facts *f, double attempt)
{
	const char *recorded = ls_json_text(f->job, "state");

	if (f->exit_code >= 0)
		return state_at_end(f, recorded);
	if (!strcmp(recorded, "Running"))
		return all_in(f, attempt) ? "Running" : "Starting";
	if (is_final(recorded)) /* it writes its last files; the exit code is to come */
		return "Running";
	if (!f->complete)
		return "Waiting";
	return !strcmp(recorded, "Restarting") ? "Restarting" : "Starting";
}

static const char *message_of(const struct ls_pod_facts *f, const char *state, const cJSON *failures)
{
	if (!strcmp(state, "Waiting"))
		return f->ordered ? f->waiting : "no order of the operator has come yet";
	if (!strcmp(state, "Restarting"))
		return ls_json_text(last_of(failures), "message");
	if (f->exit_code > 0 && !*ls_json_text(f->job, "message"))
		return f->last_words;
	return ls_json_text(f->job, "message");
}

cJSON *ls_pod_report(const struct ls_pod_facts *f)
{
	static const char *const live[] = { "worldSize", "progress", "lastCheckpoint" };
	cJSON *r = cJSON_CreateObject();
	const cJSON *attempt = last_of(cJSON_GetObjectItemCaseSensitive(f->job, "attempts")), *saved;
	double number = number_of(attempt, "attempt", -1);
	const char *state = state_of(f, number);
	size_t i;

	cJSON_AddNumberToObject(r, "serial", f->serial);
	cJSON_AddStringToObject(r, "state", state);
	cJSON_AddNumberToObject(r, "exitCode", f->exit_code);
	add_failures(r, f->job);
	cJSON_AddStringToObject(r, "message", message_of(f, state, cJSON_GetObjectItemCaseSensitive(r, "failures")));
	cJSON_AddNumberToObject(r, "attempt", number);
	for (i = 0; i < sizeof(live) / sizeof(live[0]); i++) {
		const cJSON *one = cJSON_GetObjectItemCaseSensitive(f->live, live[i]);

		if (one)
			cJSON_AddItemToObject(r, live[i], cJSON_Duplicate(one, true));
	}
	saved = last_of(cJSON_GetObjectItemCaseSensitive(f->job, "checkpoints"));
	if (saved && !cJSON_GetObjectItemCaseSensitive(r, "lastCheckpoint"))
		add_checkpoint(r, (long long)number_of(saved, "step", 0), ls_json_text(saved, "uri"), ls_json_text(saved, "time"));
	return r;
}

/* --- short enough for a termination message ---------------------------------------------------------------------------- */

static void cut_text(cJSON *object, const char *key, size_t max)
{
	cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
	size_t len = cJSON_IsString(item) ? strlen(item->valuestring) : 0;

	if (len <= max)
		return;
	while (max && ((unsigned char)item->valuestring[max] & 0xc0) == 0x80) /* not in the middle of a character */
		max--;
	item->valuestring[max] = '\0';
}

/* One step shorter; false: it cannot be. */
static bool shorten(cJSON *report, int step)
{
	cJSON *failures = cJSON_GetObjectItemCaseSensitive(report, "failures"), *f;

	if (step == 0) {
		cJSON_ArrayForEach(f, failures)
			cut_text(f, "logTail", 0);
	} else if (cJSON_GetArraySize(failures) > 1) {
		cJSON_DeleteItemFromArray(failures, 0);
	} else {
		cut_text(report, "message", 240);
		cut_text(cJSON_GetArrayItem(failures, 0), "message", 240);
		cut_text(cJSON_GetObjectItemCaseSensitive(report, "lastCheckpoint"), "uri", 240);
	}
	return step <= LS_POD_FAILURES;
}

char *ls_pod_report_final(cJSON *report)
{
	char *text = cJSON_PrintUnformatted(report);
	int step = 0;

	while (text && strlen(text) > LS_POD_FINAL_MAX && shorten(report, step++)) {
		cJSON_free(text);
		text = cJSON_PrintUnformatted(report);
	}
	cJSON_Delete(report);
	return text;
}
