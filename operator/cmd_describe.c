/* cmd_describe.c -- `lockstep describe`: one job on one screen, from its object, its Pods, its events and the labels of its nodes. */
#include "launcher/commands.h"
#include "operator/cli.h"
#include "operator/objects.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_WORKERS = 16, MAX_NODES = 32, MAX_EVENTS = 12, MAX_TAIL = 6, MAX_FAILURES = 4 };

struct describe {
	struct ls_cli c;
	const cJSON *job;
	struct ls_str out;
	time_t now;
};

static void line(struct describe *d, const char *title, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

static void line(struct describe *d, const char *title, const char *fmt, ...)
{
	struct ls_str text = { 0 };
	va_list ap;

	va_start(ap, fmt);
	ls_str_vaddf(&text, fmt, ap);
	va_end(ap);
	ls_str_addf(&d->out, "%-12s ", title);
	ls_str_add_clean(&d->out, ls_str_text(&text));
	ls_str_add(&d->out, "\n");
	ls_str_release(&text);
}

static void ago(const struct describe *d, const char *time, char ret[32])
{
	char age[16];

	ls_age_of(time, d->now, age);
	snprintf(ret, 32, "%s%s", age, strcmp(age, "-") ? " ago" : "");
}

/* Flush what was written so far, then a table, indented by nothing: tables know their own widths. */
static ls_status table(struct describe *d, struct ls_table *t, struct ls_err *err)
{
	ls_status st;

	if (d->out.oom)
		return ls_fail_oom(err);
	fputs(ls_str_text(&d->out), stdout);
	ls_str_release(&d->out);
	st = ls_table_print(t, stdout, err);
	ls_table_release(t);
	return st;
}

static void head(struct ls_table *t, const char *const *names)
{
	for (t->columns = 0; names[t->columns]; t->columns++)
		;
	for (int i = 0; names[i]; i++)
		ls_table_add(t, names[i]);
}

#define HEAD(t, ...) head(t, (const char *const[]){ __VA_ARGS__, NULL })

/* --- what was asked for, and how far it is -------------------------------------------------------------------------------- */

static void add_words(struct ls_str *s, const cJSON *list)
{
	const cJSON *word;

	cJSON_ArrayForEach(word, list) {
		ls_str_add(s, s->len ? " " : "");
		ls_str_add_quoted(s, cJSON_IsString(word) ? word->valuestring : "");
	}
}

static void describe_spec(struct describe *d)
{
	const cJSON *job = d->job, *first = cJSON_GetArrayItem(ls_at(job, "spec.workers.template.spec.containers"), 0);
	const cJSON *ranks = ls_at(job, "spec.workers.ranksPerWorker"), *gpu;
	const char *uri = ls_text_at(job, "spec.checkpoint.uri"), *within = ls_text_at(job, "spec.placement.within");
	const char *queue = ls_text_at(job, "spec.runPolicy.schedulingPolicy.queue");
	struct ls_str command = { 0 };
	long long replicas = ls_number_at(job, "spec.workers.replicas", 1);
	long long least = ls_number_at(job, "spec.workers.minReplicas", replicas);
	char per[24] = "auto", gpus[48] = "", elastic[40] = "";

	if (cJSON_IsNumber(ranks))
		snprintf(per, sizeof(per), "%d", ranks->valueint);
	gpu = cJSON_GetObjectItemCaseSensitive(ls_at(first, "resources.limits"), "nvidia.com/gpu");
	add_words(&command, ls_at(first, "command"));
	add_words(&command, ls_at(first, "args"));
	if (cJSON_IsNumber(gpu))
		snprintf(gpus, sizeof(gpus), ", GPUs of each: %d", gpu->valueint);
	else if (cJSON_IsString(gpu))
		snprintf(gpus, sizeof(gpus), ", GPUs of each: %.20s", gpu->valuestring);
	if (least < replicas)
		snprintf(elastic, sizeof(elastic), " (at least %lld)", least);
	line(d, "Asked for", "%lld worker%s%s, ranks of each: %s%s%s%s%s%s", replicas, replicas == 1 ? "" : "s", elastic, per, gpus,
		*within && strcmp(within, "none") ? ", within one " : "", strcmp(within, "none") ? within : "", *queue ? ", queue " : "", queue);
	line(d, "Image", "%s", ls_text_at(first, "image"));
	line(d, "Program", "%s", ls_str_text(&command));
	line(d, "Checkpoints", "%s", *uri ? uri : "none that outlive a Pod (no spec.checkpoint.uri)");
	if (*uri)
		line(d, "Logs", "of attempts that are over: %s/logs/attempt-N/rank-R.log", uri);
	ls_str_release(&command);
}

static void describe_progress(struct describe *d)
{
	const cJSON *job = d->job, *p = ls_at(job, "status.progress");
	const char *loss = ls_text_at(p, "loss"), *rate = ls_text_at(p, "samplesPerSecond");
	bool ends = ls_at(p, "etaSeconds") && ls_condition_true(job, "Running");
	char when[32], eta[16];

	if (p) {
		ls_age(ls_number_at(p, "etaSeconds", 0), eta);
		line(d, "Progress", "step %lld of %lld%s%s%s%s%s%s%s", ls_number_at(p, "step", 0), ls_number_at(p, "totalSteps", 0), *loss ? ", loss " : "",
			loss, *rate ? ", " : "", rate, *rate ? " samples/s" : "", ends ? ", ready in " : "", ends ? eta : "");
	}
	if (ls_at(job, "status.worldSize"))
		line(d, "World", "%lld of %lld ranks, attempt %lld", ls_number_at(job, "status.worldSize.actual", 0),
			ls_number_at(job, "status.worldSize.requested", 0), ls_number_at(job, "status.attempt", 0));
	if (ls_at(job, "status.lastCheckpoint")) {
		ago(d, ls_text_at(job, "status.lastCheckpoint.time"), when);
		line(d, "Newest", "checkpoint of step %lld, %s", ls_number_at(job, "status.lastCheckpoint.step", 0), when);
	}
}

static ls_status describe_conditions(struct describe *d, struct ls_err *err)
{
	struct ls_table t = { 0 };
	const cJSON *c;
	char age[16];

	if (!ls_at(d->job, "status.conditions"))
		return LS_OK;
	ls_str_add(&d->out, "\n");
	HEAD(&t, "CONDITION", "STATUS", "REASON", "SINCE", "MESSAGE");
	cJSON_ArrayForEach(c, ls_at(d->job, "status.conditions")) {
		ls_age_of(ls_text_at(c, "lastTransitionTime"), d->now, age);
		ls_table_add(&t, ls_text_at(c, "type"));
		ls_table_add(&t, ls_text_at(c, "status"));
		ls_table_add(&t, ls_text_at(c, "reason"));
		ls_table_add(&t, age);
		ls_table_add(&t, ls_text_at(c, "message"));
	}
	return table(d, &t, err);
}

/* --- where it is ---------------------------------------------------------------------------------------------------------- */

/* The label that names a rack: the last of topologyKeys but the hostname. */
static const char *rack_key(const cJSON *job)
{
	const char *key = "topology.kubernetes.io/rack";
	const cJSON *at;

	cJSON_ArrayForEach(at, ls_at(job, "spec.placement.topologyKeys"))
		if (cJSON_IsString(at) && strcmp(at->valuestring, "kubernetes.io/hostname"))
			key = at->valuestring;
	return key;
}

/* "node=rack" of the nodes; who may not read nodes sees "?". */
static void find_racks(struct describe *d, const cJSON *pods, struct ls_strv *ret)
{
	const char *key = rack_key(d->job), *node, *rack;
	const cJSON *pod;

	cJSON_ArrayForEach(pod, pods) {
		struct ls_err err = LS_ERR_INIT;
		struct ls_str path = { 0 };
		cJSON *object = NULL;

		node = ls_text_at(pod, "spec.nodeName");
		if (!*node || ls_strv_getenv(ret, node) || ret->n >= MAX_NODES)
			continue;
		ls_str_add(&path, "/api/v1/nodes/");
		ls_kube_add_segment(&path, node);
		if (ls_kube_get(d->c.k, ls_str_text(&path), &object, &err)) {
			ls_strv_addf(ret, "%s=?", node);
		} else {
			rack = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(ls_at(object, "metadata.labels"), key));
			ls_strv_addf(ret, "%s=%s", node, rack ? rack : "-");
		}
		cJSON_Delete(object);
		ls_str_release(&path);
	}
}

static void add_pod(struct describe *d, struct ls_table *t, const cJSON *pod, const struct ls_strv *racks)
{
	const char *node = ls_text_at(pod, "spec.nodeName"), *rack = *node ? ls_strv_getenv(racks, node) : NULL;
	const char *reason = ls_text_at(pod, "status.reason");
	char index[24], age[16];
	const cJSON *c;

	cJSON_ArrayForEach(c, ls_at(pod, "status.containerStatuses"))
		if (*ls_text_at(c, "state.waiting.reason"))
			reason = ls_text_at(c, "state.waiting.reason");
	if (*ls_text_at(pod, "metadata.deletionTimestamp"))
		reason = "Terminating";
	snprintf(index, sizeof(index), "%lld", ls_label_number(pod, LS_LABEL_INDEX));
	ls_age_of(ls_text_at(pod, "metadata.creationTimestamp"), d->now, age);
	ls_table_add(t, ls_label_number(pod, LS_LABEL_INDEX) < 0 ? "launcher" : index);
	ls_table_add(t, ls_text_at(pod, "metadata.name"));
	ls_table_add(t, node);
	ls_table_add(t, rack ? rack : "");
	ls_table_add(t, *reason ? reason : ls_text_at(pod, "status.phase"));
	ls_table_add(t, age);
}

static bool describe_racks(struct describe *d, const cJSON *pods, const struct ls_strv *racks)
{
	struct ls_strv counts = { 0 };
	struct ls_str text = { 0 };
	char count[24];
	const cJSON *pod;
	size_t i;

	cJSON_ArrayForEach(pod, pods) {
		const char *node = ls_text_at(pod, "spec.nodeName"), *rack = *node ? ls_strv_getenv(racks, node) : NULL, *n;

		if (!rack || !strcmp(rack, "-") || !strcmp(rack, "?"))
			continue;
		n = ls_strv_getenv(&counts, rack);
		snprintf(count, sizeof(count), "%d", (n ? atoi(n) : 0) + 1);
		ls_strv_setenv(&counts, rack, count);
	}
	for (i = 0; i < counts.n; i++)
		ls_str_addf(&text, "%s%.*s (%s)", i ? ", " : "", (int)strcspn(counts.v[i], "="), counts.v[i], strchr(counts.v[i], '=') + 1);
	i = counts.n;
	if (i)
		line(d, "Racks", "%s", ls_str_text(&text));
	ls_strv_release(&counts);
	ls_str_release(&text);
	return i > 0;
}

static ls_status describe_pods(struct describe *d, struct ls_err *err)
{
	const char *name = ls_text_at(d->job, "metadata.name");
	cJSON *workers = NULL, *launchers = NULL;
	const cJSON *items, *pod;
	struct ls_strv racks = { 0 };
	struct ls_table t = { 0 };
	int n = 0;
	ls_status st = ls_cli_pods(&d->c, name, "worker", &workers, err);

	if (!st)
		st = ls_cli_pods(&d->c, name, "launcher", &launchers, err);
	items = ls_at(workers, "items");
	if (!st && (items->child || ls_at(launchers, "items")->child)) {
		find_racks(d, items, &racks);
		find_racks(d, ls_at(launchers, "items"), &racks);
		ls_str_add(&d->out, "\n");
		if (describe_racks(d, items, &racks))
			ls_str_add(&d->out, "\n");
		HEAD(&t, "WORKER", "POD", "NODE", "RACK", "STATE", "AGE");
		cJSON_ArrayForEach(pod, items)
			if (n++ < MAX_WORKERS)
				add_pod(d, &t, pod, &racks);
		cJSON_ArrayForEach(pod, ls_at(launchers, "items"))
			add_pod(d, &t, pod, &racks);
		st = table(d, &t, err);
		if (n > MAX_WORKERS)
			ls_str_addf(&d->out, "and %d more workers: kubectl get pods -n %s -l " LS_LABEL_JOB "=%s -o wide\n", n - MAX_WORKERS,
				d->c.namespace_, name);
	}
	ls_strv_release(&racks);
	cJSON_Delete(workers);
	cJSON_Delete(launchers);
	return st;
}

/* --- what went wrong, and what happened ----------------------------------------------------------------------------------- */

static void add_tail(struct ls_str *s, const char *text)
{
	const char *start = text + strlen(text), *end;
	int n = 0;

	while (start > text && start[-1] == '\n')
		start--;
	while (start > text && (start[-1] != '\n' || ++n < MAX_TAIL))
		start--;
	for (; *start; start = *end ? end + 1 : end) {
		struct ls_str raw = { 0 };

		end = start + strcspn(start, "\n");
		ls_str_addn(&raw, start, (size_t)(end - start));
		ls_str_add(s, "    | ");
		ls_str_add_clean(s, ls_str_text(&raw));
		ls_str_add(s, "\n");
		ls_str_release(&raw);
	}
}

static void describe_failure(struct describe *d, const cJSON *f)
{
	const char *worker = ls_text_at(f, "worker"), *node = ls_text_at(f, "node");
	char when[32], rank[32] = "";

	if (ls_number_at(f, "rank", -1) >= 0)
		snprintf(rank, sizeof(rank), ", rank %lld", ls_number_at(f, "rank", -1));
	ago(d, ls_text_at(f, "time"), when);
	ls_str_addf(&d->out, "  attempt %lld%s", ls_number_at(f, "attempt", 0), rank);
	ls_str_add(&d->out, *worker ? ", " : "");
	ls_str_add_clean(&d->out, worker);
	ls_str_add(&d->out, *node ? " on " : "");
	ls_str_add_clean(&d->out, node);
	ls_str_addf(&d->out, ", %s: ", when);
	ls_str_add_clean(&d->out, ls_text_at(f, "reason"));
	ls_str_add(&d->out, ": ");
	ls_str_add_clean(&d->out, ls_text_at(f, "message"));
	ls_str_add(&d->out, "\n");
	add_tail(&d->out, ls_text_at(f, "logTail"));
}

static void describe_failures(struct describe *d)
{
	const cJSON *list = ls_at(d->job, "status.failures"), *f;
	int n = cJSON_GetArraySize(list), i = 0;

	if (n)
		ls_str_addf(&d->out, "\nFAILURES%s\n", n > MAX_FAILURES ? " (the newest; -o yaml has all)" : "");
	cJSON_ArrayForEach(f, list)
		if (i++ >= n - MAX_FAILURES)
			describe_failure(d, f);
}

static ls_status describe_events(struct describe *d, struct ls_err *err)
{
	struct ls_table t = { 0 };
	cJSON *list = NULL;
	const cJSON *e;
	char age[16];
	int n, i = 0;
	ls_status st = ls_cli_events(&d->c, d->job, &list, err);

	n = cJSON_GetArraySize(ls_at(list, "items"));
	if (!st && n) {
		ls_str_add(&d->out, "\n");
		HEAD(&t, "EVENT", "AGE", "MESSAGE");
		cJSON_ArrayForEach(e, ls_at(list, "items")) {
			if (i++ < n - MAX_EVENTS)
				continue;
			ls_age_of(ls_event_time(e), d->now, age);
			ls_table_add(&t, ls_text_at(e, "reason"));
			ls_table_add(&t, age);
			ls_table_add(&t, ls_text_at(e, "message"));
		}
		st = table(d, &t, err);
	}
	cJSON_Delete(list);
	return st;
}

static ls_status describe(struct describe *d, struct ls_err *err)
{
	char age[16];
	ls_status st;

	ls_age_of(ls_text_at(d->job, "metadata.creationTimestamp"), d->now, age);
	line(d, "Name", "%s, namespace %s, %s old", ls_text_at(d->job, "metadata.name"), ls_text_at(d->job, "metadata.namespace"), age);
	line(d, "State", "%s%s%s", ls_state_of(d->job), *ls_text_at(d->job, "status.workers") ? ", workers " : "", ls_text_at(d->job, "status.workers"));
	if (!ls_is_taken(d->job))
		line(d, "Operator", LS_CLI_NO_OPERATOR);
	describe_spec(d);
	describe_progress(d);
	st = describe_conditions(d, err);
	if (!st)
		st = describe_pods(d, err);
	if (!st) {
		describe_failures(d);
		st = describe_events(d, err);
	}
	if (!st && d->out.oom)
		st = ls_fail_oom(err);
	if (!st)
		fputs(ls_str_text(&d->out), stdout);
	return st;
}

int cmd_describe(int argc, char **argv)
{
	const struct ls_cli_option none[] = { { .names = NULL } };
	struct describe d = { .now = time(NULL) };
	struct ls_err err = LS_ERR_INIT;
	cJSON *job = NULL;
	int code;

	if (ls_cli_parse(&d.c, argc, argv, "describe NAME", none, &code)) {
		ls_status st = d.c.n_words == 1 ? ls_cli_open(&d.c, &err) : ls_fail(&err, LS_USAGE, 0, "write the name of one job");

		if (!st)
			st = ls_cli_get_job(&d.c, d.c.words[0], &job, &err);
		d.job = job;
		if (!st)
			st = describe(&d, &err);
		code = st ? ls_command_fail("describe", st, &err) : 0;
	}
	ls_str_release(&d.out);
	cJSON_Delete(job);
	ls_cli_release(&d.c);
	return code;
}
