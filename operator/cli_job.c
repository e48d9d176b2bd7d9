/* cli_job.c -- see cli.h: what an object says, and the calls about jobs. */
#include "operator/cli.h"
#include "operator/objects.h"

#include <stdlib.h>
#include <string.h>

/* --- an object's values --------------------------------------------------------------------------------------------------- */

const cJSON *ls_at(const cJSON *object, const char *path)
{
	char key[64];
	size_t len;

	while (object && *path) {
		len = strcspn(path, ".");
		snprintf(key, sizeof(key), "%.*s", (int)len, path);
		object = cJSON_GetObjectItemCaseSensitive(object, key);
		path += len + (path[len] == '.');
	}
	return object;
}

const char *ls_text_at(const cJSON *object, const char *path)
{
	const char *text = cJSON_GetStringValue(ls_at(object, path));

	return text ? text : "";
}

long long ls_number_at(const cJSON *object, const char *path, long long otherwise)
{
	const cJSON *number = ls_at(object, path);

	return cJSON_IsNumber(number) ? (long long)number->valuedouble : otherwise;
}

long long ls_label_number(const cJSON *object, const char *label)
{
	const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(ls_at(object, "metadata.labels"), label));

	return text && *text ? atoll(text) : -1;
}

const cJSON *ls_condition_of(const cJSON *job, const char *type)
{
	const cJSON *c;

	cJSON_ArrayForEach(c, ls_at(job, "status.conditions"))
		if (!strcmp(ls_text_at(c, "type"), type))
			return c;
	return NULL;
}

bool ls_condition_true(const cJSON *job, const char *type)
{
	return !strcmp(ls_text_at(ls_condition_of(job, type), "status"), "True");
}

const char *ls_state_of(const cJSON *job)
{
	const char *state = ls_text_at(job, "status.state");

	return ls_is_deleting(job) ? "Deleting" : *state ? state : "Pending";
}

bool ls_is_deleting(const cJSON *job)
{
	return *ls_text_at(job, "metadata.deletionTimestamp");
}

bool ls_is_taken(const cJSON *job)
{
	return *ls_text_at(job, "status.state");
}

bool ls_is_over(const cJSON *job)
{
	return ls_condition_true(job, "Succeeded") || ls_condition_true(job, "Failed");
}

int ls_exit_code_of(const cJSON *job, int pod_code)
{
	static const struct { const char *reason; int code; } known[] = { { "DeadlineExceeded", 124 }, { "InvalidSpec", 2 } };
	const cJSON *failures = ls_at(job, "status.failures"), *last = cJSON_GetArrayItem(failures, cJSON_GetArraySize(failures) - 1);
	const char *reason = ls_text_at(ls_condition_of(job, "Failed"), "reason");
	long long code = ls_number_at(last, "exitCode", 0), signal = ls_number_at(last, "signal", 0);
	size_t i;

	if (!ls_condition_true(job, "Failed"))
		return 0;
	for (i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (!strcmp(reason, known[i].reason))
			return known[i].code;
	if (pod_code > 0)
		return pod_code;
	if (!strcmp(reason, "BackoffLimitExceeded"))
		return 75;
	if (signal > 0 && signal < 128)
		return 128 + (int)signal;
	return code > 0 && code < 256 ? (int)code : 1;
}

const char *ls_first_container(const cJSON *pod)
{
	return ls_text_at(cJSON_GetArrayItem(ls_at(pod, "spec.containers"), 0), "name");
}

const char *ls_container_state(const cJSON *pod, int *ret_code)
{
	const char *name = ls_first_container(pod);
	const cJSON *c, *found = NULL;

	cJSON_ArrayForEach(c, ls_at(pod, "status.containerStatuses"))
		if (!strcmp(ls_text_at(c, "name"), name))
			found = c;
	*ret_code = (int)ls_number_at(found, "state.terminated.exitCode", -1);
	if (ls_at(found, "state.terminated"))
		return "terminated";
	if (ls_at(found, "state.running"))
		return "running";
	/* A Pod that the kubelet refused has no container and never will. */
	return !strcmp(ls_text_at(pod, "status.phase"), "Failed") ? "terminated" : "waiting";
}

/* --- calls ---------------------------------------------------------------------------------------------------------------- */

void ls_job_path(struct ls_str *ret, const char *namespace_, const char *name)
{
	ls_str_add(ret, LS_KUBE_API);
	if (namespace_) {
		ls_str_add(ret, "/namespaces/");
		ls_kube_add_segment(ret, namespace_);
	}
	ls_str_add(ret, "/trainingjobs");
	if (name) {
		ls_str_add(ret, "/");
		ls_kube_add_segment(ret, name);
	}
}

static ls_status add_page(cJSON *items, cJSON *page, struct ls_str *next, struct ls_err *err)
{
	cJSON *from = cJSON_GetObjectItemCaseSensitive(page, "items"), *item;

	while (from && from->child) {
		item = cJSON_DetachItemViaPointer(from, from->child);
		if (!cJSON_AddItemToArray(items, item)) {
			cJSON_Delete(item);
			return ls_fail_oom(err);
		}
	}
	ls_str_release(next);
	ls_str_add(next, ls_text_at(page, "metadata.continue"));
	return next->oom ? ls_fail_oom(err) : LS_OK;
}

ls_status ls_cli_list(struct ls_cli *c, const char *path, cJSON **ret, struct ls_err *err)
{
	cJSON *list = cJSON_CreateObject(), *items = list ? cJSON_AddArrayToObject(list, "items") : NULL, *page;
	struct ls_str next = { 0 }, url = { 0 };
	ls_status st = items ? LS_OK : ls_fail_oom(err);

	while (!st) {
		ls_str_release(&url);
		ls_str_addf(&url, "%s%climit=500", path, strchr(path, '?') ? '&' : '?');
		if (next.len)
			ls_str_add(&url, "&continue=");
		ls_kube_add_segment(&url, ls_str_text(&next));
		page = NULL;
		st = url.oom ? ls_fail_oom(err) : ls_kube_get(c->k, ls_str_text(&url), &page, err);
		if (!st)
			st = add_page(items, page, &next, err);
		cJSON_Delete(page);
		if (!next.len)
			break;
	}
	if (st == LS_NOT_FOUND && !strncmp(path, LS_KUBE_API, strlen(LS_KUBE_API)))
		st = ls_fail(err, LS_USAGE, 0, "this cluster has no %s; install them: kubectl apply --server-side -k deploy",
			strstr(path, "/nodetopologies") ? "NodeTopologies" : "TrainingJobs");
	ls_str_release(&next);
	ls_str_release(&url);
	if (st)
		cJSON_Delete(list);
	else
		*ret = list;
	return st;
}

ls_status ls_fail_no_job(struct ls_err *err, const char *name, const char *namespace_, const char *const *names)
{
	const char *near = ls_nearest(name, names);
	struct ls_str text = { 0 };
	size_t i;

	ls_str_addf(&text, "no TrainingJob '%s' in namespace %s; ", name, namespace_);
	if (near)
		ls_str_addf(&text, "did you mean %s? ", near);
	ls_str_add(&text, names[0] ? "there are: " : "there are none; -n names another, lockstep get -A shows all");
	for (i = 0; names[i] && i < 12; i++)
		ls_str_addf(&text, "%s%s", i ? ", " : "", names[i]);
	if (names[i])
		ls_str_add(&text, ", ...");
	ls_fail(err, LS_NOT_FOUND, 0, "%s", ls_str_text(&text));
	ls_str_release(&text);
	return LS_NOT_FOUND;
}

/* Nothing by that name: no such kind, or which jobs there are. */
static ls_status not_found(struct ls_cli *c, const char *name, struct ls_err *err)
{
	struct ls_str path = { 0 };
	struct ls_strv names = { 0 };
	cJSON *list = NULL;
	const cJSON *at;
	ls_status st;

	ls_job_path(&path, c->namespace_, NULL);
	st = path.oom ? ls_fail_oom(err) : ls_cli_list(c, ls_str_text(&path), &list, err);
	if (!st) {
		cJSON_ArrayForEach(at, ls_at(list, "items"))
			ls_strv_add(&names, ls_text_at(at, "metadata.name"));
		st = ls_fail_no_job(err, name, c->namespace_, names.n ? (const char *const *)names.v : (const char *const[]){ NULL });
	}
	ls_strv_release(&names);
	ls_str_release(&path);
	cJSON_Delete(list);
	return st;
}

ls_status ls_cli_job_call(struct ls_cli *c, struct ls_kube_call *call, const char *name, struct ls_err *err)
{
	ls_status st;

	if (call->path.oom || call->body.oom)
		return ls_fail_oom(err);
	st = ls_kube_one(c->k, call, err);
	if (st == LS_NOT_FOUND && !strstr(err->text, "namespaces \""))
		st = not_found(c, name, err);
	else if (st == LS_NOT_FOUND)
		st = ls_fail(err, LS_USAGE, 0, "there is no namespace %s; make it: kubectl create namespace %s", c->namespace_, c->namespace_);
	return st;
}

ls_status ls_cli_get_job(struct ls_cli *c, const char *name, cJSON **ret, struct ls_err *err)
{
	struct ls_kube_call call = { .method = "GET" };
	ls_status st;

	ls_job_path(&call.path, c->namespace_, name);
	st = ls_cli_job_call(c, &call, name, err);
	if (!st && !(*ret = cJSON_Parse(ls_str_text(&call.text))))
		st = ls_fail(err, LS_AGAIN, 0, "%s sent no JSON", ls_kube_server(c->k));
	ls_kube_call_release(&call);
	return st;
}

/* --- Pods and events ------------------------------------------------------------------------------------------------------ */

static ls_status sort_items(cJSON *list, int (*compare)(const cJSON *, const cJSON *), struct ls_err *err)
{
	cJSON *items = cJSON_GetObjectItemCaseSensitive(list, "items"), *item, **v;
	int n = cJSON_GetArraySize(items), i, k;

	v = calloc((size_t)n + 1, sizeof(cJSON *));
	if (!v)
		return ls_fail_oom(err);
	for (i = 0; i < n; i++) {
		item = cJSON_DetachItemViaPointer(items, items->child);
		for (k = i; k > 0 && compare(v[k - 1], item) > 0; k--)
			v[k] = v[k - 1]; /* nearly in order already */
		v[k] = item;
	}
	for (i = 0; i < n; i++)
		cJSON_AddItemToArray(items, v[i]);
	free(v);
	return LS_OK;
}

static int by_serial(const cJSON *a, const cJSON *b)
{
	long long ia = ls_label_number(a, LS_LABEL_INDEX), ib = ls_label_number(b, LS_LABEL_INDEX);
	long long sa = ls_label_number(a, LS_LABEL_SERIAL), sb = ls_label_number(b, LS_LABEL_SERIAL);

	if (ia != ib)
		return ia < ib ? -1 : 1;
	return (sa > sb) - (sa < sb);
}

ls_status ls_cli_pods(struct ls_cli *c, const char *job, const char *role, cJSON **ret_list, struct ls_err *err)
{
	struct ls_str path = { 0 }, selector = { 0 };
	cJSON *list = NULL;
	ls_status st;

	ls_str_addf(&selector, LS_LABEL_JOB "=%s," LS_LABEL_ROLE "=%s", job, role);
	ls_str_add(&path, "/api/v1/namespaces/");
	ls_kube_add_segment(&path, c->namespace_);
	ls_str_add(&path, "/pods?labelSelector=");
	ls_kube_add_segment(&path, ls_str_text(&selector));
	st = path.oom || selector.oom ? ls_fail_oom(err) : ls_cli_list(c, ls_str_text(&path), &list, err);
	if (!st)
		st = sort_items(list, by_serial, err);
	if (st)
		cJSON_Delete(list);
	else
		*ret_list = list;
	ls_str_release(&path);
	ls_str_release(&selector);
	return st;
}

const char *ls_event_time(const cJSON *event)
{
	static const char *const paths[] = { "lastTimestamp", "series.lastObservedTime", "eventTime", "firstTimestamp" };
	size_t i;

	for (i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
		if (*ls_text_at(event, paths[i]))
			return ls_text_at(event, paths[i]);
	return ls_text_at(event, "metadata.creationTimestamp");
}

static int by_time(const cJSON *a, const cJSON *b)
{
	time_t ta = ls_time_read(ls_event_time(a)), tb = ls_time_read(ls_event_time(b));

	return ta != tb ? (ta > tb) - (ta < tb) : strcmp(ls_text_at(a, "metadata.name"), ls_text_at(b, "metadata.name"));
}

ls_status ls_cli_events(struct ls_cli *c, const cJSON *job, cJSON **ret_list, struct ls_err *err)
{
	struct ls_str path = { 0 };
	cJSON *list = NULL;
	ls_status st;

	ls_str_add(&path, "/api/v1/namespaces/");
	ls_kube_add_segment(&path, c->namespace_);
	ls_str_add(&path, "/events?fieldSelector=involvedObject.uid%3D");
	ls_kube_add_segment(&path, ls_text_at(job, "metadata.uid"));
	st = path.oom ? ls_fail_oom(err) : ls_cli_list(c, ls_str_text(&path), &list, err);
	if (!st)
		st = sort_items(list, by_time, err);
	if (st)
		cJSON_Delete(list);
	else
		*ret_list = list;
	ls_str_release(&path);
	return st;
}
