/* status.c -- a TrainingJob's status and its JSON, both ways.
 *
 * A launcher's report has the same words for what it knows, and is read by the same function (report.c). */
#include "operator/objects.h"
#include "core/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FAILURES_MAX 10
#define TEXT_MAX 4096     /* of each text: a launcher may report what it likes, and ten failures must fit into an object */
#define WORKERS_MAX 10000 /* as in the CRD */

const char *const ls_condition_names[LS_COND_N] = { "Created", "Running", "Restarting", "Suspended", "Succeeded", "Failed" };

/* --- reading ------------------------------------------------------------------------------------------------------------------------------ */

static const cJSON *at(const cJSON *object, const char *key)
{
	return cJSON_GetObjectItemCaseSensitive(object, key);
}

static long long number_at(const cJSON *object, const char *key, long long otherwise)
{
	const cJSON *number = at(object, key);

	if (!cJSON_IsNumber(number) || !(number->valuedouble > -9e15 && number->valuedouble < 9e15))
		return otherwise;
	return (long long)number->valuedouble;
}

static int int_at(const cJSON *object, const char *key, int otherwise)
{
	long long n = number_at(object, key, otherwise);

	return n < -1 || n > 1000000000 ? otherwise : (int)n;
}

#define READ(field, object, key) snprintf(field, sizeof(field), "%s", ls_json_text(object, key))

static bool in_character(const char *text)
{
	return ((unsigned char)*text & 0xc0) == 0x80;
}

static char *keep(const char *text, bool *oom)
{
	size_t len = strnlen(text, TEXT_MAX);
	char *copy;

	while (len == TEXT_MAX && in_character(text + len))
		len--;
	copy = strndup(text, len);

	if (!copy)
		*oom = true;
	return copy;
}

/* The last lines are those that count. */
static char *keep_tail(const char *text, bool *oom)
{
	size_t len = strlen(text);

	if (len > TEXT_MAX)
		text += len - TEXT_MAX;
	while (in_character(text))
		text++;
	return keep(text, oom);
}

static void read_conditions(const cJSON *list, struct ls_tstatus *s, bool *oom)
{
	const cJSON *from;
	int i;

	cJSON_ArrayForEach(from, list)
		for (i = 0; i < LS_COND_N; i++) {
			struct ls_tcondition *c = &s->conditions[i];

			if (c->set || strcmp(ls_json_text(from, "type"), ls_condition_names[i]))
				continue;
			c->set = true;
			c->is_true = !strcmp(ls_json_text(from, "status"), "True");
			READ(c->reason, from, "reason");
			c->message = keep(ls_json_text(from, "message"), oom);
			c->since = ls_time_read(ls_json_text(from, "lastTransitionTime"));
			c->generation = number_at(from, "observedGeneration", 0);
		}
}

static void read_failures(const cJSON *list, struct ls_tstatus *s, bool *oom)
{
	int n = cJSON_GetArraySize(list), i = 0;
	const cJSON *from;

	if (n <= 0)
		return;
	s->failures = calloc((size_t)(n < FAILURES_MAX ? n : FAILURES_MAX), sizeof(*s->failures));
	if (!s->failures) {
		*oom = true;
		return;
	}
	cJSON_ArrayForEach(from, list) {
		struct ls_tfailure *f = &s->failures[s->n_failures];

		if (i++ < n - FAILURES_MAX)
			continue;
		s->n_failures++;
		f->attempt = int_at(from, "attempt", -1);
		f->rank = int_at(from, "rank", -1);
		READ(f->worker, from, "worker");
		READ(f->node, from, "node");
		f->exit_code = int_at(from, "exitCode", -1);
		f->signal = int_at(from, "signal", 0);
		READ(f->reason, from, "reason");
		f->message = keep(ls_json_text(from, "message"), oom);
		f->log_tail = keep_tail(ls_json_text(from, "logTail"), oom);
		f->time = ls_time_read(ls_json_text(from, "time"));
	}
}

/* Whoever may write the status of a job can write this: numbers that cannot be are none, since the plan counts seats by them. */
static void read_pods(const cJSON *pods, struct ls_tpods *p, bool *oom)
{
	const cJSON *list = at(pods, "replaced"), *from;
	struct ls_err err = LS_ERR_INIT;

	p->serial = int_at(pods, "serial", -1);
	p->base = int_at(pods, "base", -1);
	p->launcher = int_at(pods, "launcher", -1);
	p->size = int_at(pods, "size", 0);
	if (p->size < 0 || p->size > WORKERS_MAX) {
		p->size = 0;
		p->base = -1;
	}
	cJSON_ArrayForEach(from, list)
		if (int_at(from, "index", -1) >= 0 && int_at(from, "index", -1) < p->size && ls_tpods_replace(p, int_at(from, "index", -1), int_at(from, "serial", -1), &err))
			*oom = true;
}

static void read_progress(const cJSON *status, struct ls_tstatus *s, bool *oom)
{
	const cJSON *world = at(status, "worldSize"), *progress = at(status, "progress"), *ckpt = at(status, "lastCheckpoint");

	s->attempt = int_at(status, "attempt", -1);
	s->world_requested = int_at(world, "requested", 0);
	s->world_actual = int_at(world, "actual", 0);
	s->step = number_at(progress, "step", 0);
	s->total_steps = number_at(progress, "totalSteps", 0);
	READ(s->loss, progress, "loss");
	READ(s->samples_per_second, progress, "samplesPerSecond");
	s->eta_s = number_at(progress, "etaSeconds", -1);
	s->ckpt_step = number_at(ckpt, "step", 0);
	s->ckpt_uri = ckpt ? keep(ls_json_text(ckpt, "uri"), oom) : NULL;
	s->ckpt_time = ls_time_read(ls_json_text(ckpt, "time"));
}

ls_status ls_tstatus_read(const cJSON *status, struct ls_tstatus *ret, struct ls_err *err)
{
	const cJSON *worker = at(at(status, "replicaStatuses"), "Worker");
	struct ls_tstatus s = { 0 };
	bool oom = false;

	READ(s.state, status, "state");
	READ(s.workers, status, "workers");
	s.active = int_at(worker, "active", 0);
	s.succeeded = int_at(worker, "succeeded", 0);
	s.failed = int_at(worker, "failed", 0);
	s.start = ls_time_read(ls_json_text(status, "startTime"));
	s.completion = ls_time_read(ls_json_text(status, "completionTime"));
	s.launcher_losses = int_at(status, "launcherLosses", 0);
	s.best_step = number_at(status, "bestStep", 0);
	s.observed_generation = number_at(status, "observedGeneration", 0);
	read_conditions(at(status, "conditions"), &s, &oom);
	read_progress(status, &s, &oom);
	read_failures(at(status, "failures"), &s, &oom);
	read_pods(at(status, "pods"), &s.pods, &oom);
	if (oom) {
		ls_tstatus_release(&s);
		return ls_fail_oom(err);
	}
	*ret = s;
	return LS_OK;
}

/* --- writing ------------------------------------------------------------------------------------------------------------------------------ */

/* cJSON's functions take NULL for an object and answer NULL: one failed allocation is remembered here, and the whole is thrown away. */
struct to {
	bool oom;
};

static void add_text(struct to *to, cJSON *object, const char *key, const char *text)
{
	if (text && *text && !cJSON_AddStringToObject(object, key, text))
		to->oom = true;
}

static void add_number(struct to *to, cJSON *object, const char *key, long long n)
{
	if (!cJSON_AddNumberToObject(object, key, (double)n))
		to->oom = true;
}

static void add_some(struct to *to, cJSON *object, const char *key, long long n)
{
	if (n)
		add_number(to, object, key, n);
}

static void add_serial(struct to *to, cJSON *object, const char *key, int n)
{
	if (n >= 0)
		add_number(to, object, key, n);
}

static void add_time(struct to *to, cJSON *object, const char *key, time_t t)
{
	char text[32];

	if (!t)
		return;
	ls_time_write(t, text);
	add_text(to, object, key, text);
}

static cJSON *add_item(struct to *to, cJSON *list)
{
	cJSON *item = cJSON_CreateObject();

	if (item && cJSON_AddItemToArray(list, item))
		return item;
	cJSON_Delete(item);
	to->oom = true;
	return NULL;
}

static void write_conditions(struct to *to, const struct ls_tstatus *s, cJSON *list)
{
	for (int i = 0; i < LS_COND_N; i++) {
		const struct ls_tcondition *c = &s->conditions[i];
		cJSON *o;

		if (!c->set)
			continue;
		o = add_item(to, list);
		add_text(to, o, "type", ls_condition_names[i]);
		add_text(to, o, "status", c->is_true ? "True" : "False");
		add_some(to, o, "observedGeneration", c->generation);
		add_time(to, o, "lastTransitionTime", c->since);
		add_text(to, o, "reason", c->reason);
		if (!cJSON_AddStringToObject(o, "message", c->message ? c->message : ""))
			to->oom = true;
	}
}

static void write_failures(struct to *to, const struct ls_tstatus *s, cJSON *list)
{
	for (int i = 0; i < s->n_failures; i++) {
		const struct ls_tfailure *f = &s->failures[i];
		cJSON *o = add_item(to, list);

		add_serial(to, o, "attempt", f->attempt);
		add_serial(to, o, "rank", f->rank);
		add_text(to, o, "worker", f->worker);
		add_text(to, o, "node", f->node);
		add_serial(to, o, "exitCode", f->exit_code);
		add_some(to, o, "signal", f->signal);
		add_text(to, o, "reason", f->reason);
		add_text(to, o, "message", f->message);
		add_text(to, o, "logTail", f->log_tail);
		add_time(to, o, "time", f->time);
	}
}

static void write_pods(struct to *to, const struct ls_tpods *p, cJSON *o)
{
	cJSON *list;

	add_serial(to, o, "serial", p->serial);
	add_serial(to, o, "base", p->base);
	add_serial(to, o, "launcher", p->launcher);
	add_some(to, o, "size", p->size);
	list = p->n_replaced ? cJSON_AddArrayToObject(o, "replaced") : NULL;
	for (int i = 0; i < p->n_replaced; i++) {
		cJSON *item = add_item(to, list);

		add_number(to, item, "index", p->replaced[i].index);
		add_serial(to, item, "serial", p->replaced[i].serial);
	}
}

static void write_progress(struct to *to, const struct ls_tstatus *s, cJSON *o)
{
	cJSON *part;

	add_serial(to, o, "attempt", s->attempt);
	if (s->world_requested) {
		part = cJSON_AddObjectToObject(o, "worldSize");
		add_number(to, part, "requested", s->world_requested);
		add_number(to, part, "actual", s->world_actual);
	}
	if (s->step || s->total_steps) {
		part = cJSON_AddObjectToObject(o, "progress");
		add_number(to, part, "step", s->step);
		add_some(to, part, "totalSteps", s->total_steps);
		add_text(to, part, "loss", s->loss);
		add_text(to, part, "samplesPerSecond", s->samples_per_second);
		add_serial(to, part, "etaSeconds", s->eta_s > 1000000000 ? 1000000000 : (int)s->eta_s);
	}
	if (s->ckpt_step) {
		part = cJSON_AddObjectToObject(o, "lastCheckpoint");
		add_number(to, part, "step", s->ckpt_step);
		add_text(to, part, "uri", s->ckpt_uri);
		add_time(to, part, "time", s->ckpt_time);
	}
}

cJSON *ls_tstatus_json(const struct ls_tstatus *s)
{
	cJSON *o = cJSON_CreateObject(), *worker = cJSON_AddObjectToObject(cJSON_AddObjectToObject(o, "replicaStatuses"), "Worker");
	struct to to = { 0 };

	write_conditions(&to, s, cJSON_AddArrayToObject(o, "conditions"));
	add_text(&to, o, "state", s->state);
	add_text(&to, o, "workers", s->workers);
	add_number(&to, worker, "active", s->active);
	add_number(&to, worker, "succeeded", s->succeeded);
	add_number(&to, worker, "failed", s->failed);
	write_progress(&to, s, o);
	if (s->n_failures)
		write_failures(&to, s, cJSON_AddArrayToObject(o, "failures"));
	add_time(&to, o, "startTime", s->start);
	add_time(&to, o, "completionTime", s->completion);
	add_some(&to, o, "launcherLosses", s->launcher_losses);
	add_some(&to, o, "bestStep", s->best_step);
	add_some(&to, o, "observedGeneration", s->observed_generation);
	if (s->pods.serial >= 0)
		write_pods(&to, &s->pods, cJSON_AddObjectToObject(o, "pods"));
	if (!to.oom)
		return o;
	cJSON_Delete(o);
	return NULL;
}

/* --- copies ------------------------------------------------------------------------------------------------------------------------------- */

ls_status ls_tstatus_copy(const struct ls_tstatus *from, struct ls_tstatus *ret, struct ls_err *err)
{
	cJSON *json = ls_tstatus_json(from);
	ls_status st = json ? ls_tstatus_read(json, ret, err) : ls_fail_oom(err);

	cJSON_Delete(json);
	return st;
}

void ls_tstatus_release(struct ls_tstatus *s)
{
	int i;

	for (i = 0; i < LS_COND_N; i++)
		free(s->conditions[i].message);
	for (i = 0; i < s->n_failures; i++) {
		free(s->failures[i].message);
		free(s->failures[i].log_tail);
	}
	free(s->failures);
	free(s->ckpt_uri);
	free(s->pods.replaced);
	*s = (struct ls_tstatus){ 0 };
}

/* Where `index` is in replaced[], or would be. */
static int replaced_at(const struct ls_tpods *p, int index)
{
	int low = 0, high = p->n_replaced;

	while (low < high) {
		int middle = (low + high) / 2;

		if (p->replaced[middle].index < index)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

int ls_tpods_serial(const struct ls_tpods *p, int index)
{
	int i = replaced_at(p, index);

	if (index < 0)
		return p->launcher;
	return i < p->n_replaced && p->replaced[i].index == index ? p->replaced[i].serial : p->base;
}

ls_status ls_tpods_replace(struct ls_tpods *p, int index, int serial, struct ls_err *err)
{
	int i = replaced_at(p, index);
	struct ls_treplaced *more;

	if (i == p->n_replaced || p->replaced[i].index != index) {
		more = realloc(p->replaced, ((size_t)p->n_replaced + 1) * sizeof(*more));
		if (!more)
			return ls_fail_oom(err);
		p->replaced = more;
		memmove(&more[i + 1], &more[i], (size_t)(p->n_replaced - i) * sizeof(*more));
		p->n_replaced++;
	}
	p->replaced[i] = (struct ls_treplaced){ index, serial };
	return LS_OK;
}
