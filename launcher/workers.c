/* workers.c -- see workers.h. */
#include "launcher/workers.h"
#include "core/crc32c.h"
#include "core/io.h"
#include "core/json.h"

#include <cjson/cJSON.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ORDER_MAX = 64 << 20, LOOK_MS = 200 };

static int by_name(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Two of one name would be one host, with two places in the plan. */
static ls_status all_differ(const struct ls_hosts *hosts, struct ls_err *err)
{
	const char **names = calloc((size_t)hosts->n + 1, sizeof(*names));
	ls_status st = LS_OK;
	int i;

	if (!names)
		return ls_fail_oom(err);
	for (i = 0; i < hosts->n; i++)
		names[i] = hosts->v[i].name;
	qsort(names, (size_t)hosts->n, sizeof(*names), by_name);
	for (i = 1; !st && i < hosts->n; i++)
		if (!strcmp(names[i - 1], names[i]))
			st = ls_fail(err, LS_USAGE, 0, "no order: worker %s comes twice", names[i]);
	free(names);
	return st;
}

static uint32_t mark_of(uint32_t mark, const cJSON *worker)
{
	static const char *const keys[] = { "name", "pod", "address" };
	size_t i;

	for (i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		mark = ls_crc32c(mark, ls_json_text(worker, keys[i]), strlen(ls_json_text(worker, keys[i])) + 1);
	return mark;
}

ls_status ls_workers_parse(const cJSON *order, struct ls_workers *ret, struct ls_err *err)
{
	const cJSON *list = cJSON_GetObjectItemCaseSensitive(order, "workers"), *one;
	struct ls_workers w = { 0 };
	ls_status st = LS_OK;

	if (!cJSON_IsArray(list))
		return ls_fail(err, LS_USAGE, 0, "no order: it has no list of workers");
	cJSON_ArrayForEach(one, list)
	{
		if (st)
			break;
		st = ls_hosts_add_remote(&w.hosts, ls_json_text(one, "name"), err);
		if (st == LS_USAGE)
			ls_err_at(err, st, "no order: a worker's name: ");
		w.mark = mark_of(w.mark, one);
	}
	if (!st)
		st = all_differ(&w.hosts, err);
	w.complete = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(order, "complete")) && w.hosts.n;
	snprintf(w.waiting, sizeof(w.waiting), "%s", ls_json_text(order, "waiting"));
	if (st)
		ls_workers_release(&w);
	else
		*ret = w;
	return st;
}

static ls_status read_json(const char *path, cJSON **ret, struct ls_err *err)
{
	struct ls_str text = { 0 };
	ls_status st = ls_file_read(path, ORDER_MAX, &text, err);

	if (!st) {
		*ret = cJSON_ParseWithLength(ls_str_text(&text), text.len);
		if (!*ret)
			st = ls_fail(err, LS_USAGE, 0, "%s is no order: not JSON", path);
	}
	ls_str_release(&text);
	return st;
}

ls_status ls_workers_read(const char *path, struct ls_workers *ret, struct ls_err *err)
{
	cJSON *json = NULL;
	ls_status st = read_json(path, &json, err);

	if (!st)
		st = ls_workers_parse(json, ret, err);
	cJSON_Delete(json);
	return st;
}

void ls_workers_release(struct ls_workers *w)
{
	ls_hosts_release(&w->hosts);
}

ls_status ls_workers_wait(const char *path, void (*say)(const char *sentence), const volatile int *stop, int64_t until_ms, struct ls_workers *ret,
	struct ls_err *err)
{
	char said[520] = "", text[540];

	for (;;) {
		struct ls_workers w = { 0 };
		ls_status st = ls_workers_read(path, &w, err);

		if (st && st != LS_NOT_FOUND)
			return st;
		if (!st && w.complete) {
			*ret = w;
			return LS_OK;
		}
		ls_workers_release(&w);
		if (strcmp(said, w.waiting) && say) {
			snprintf(text, sizeof(text), "waiting: %s", w.waiting);
			say(text);
		}
		snprintf(said, sizeof(said), "%s", w.waiting);
		if (stop && *stop)
			return ls_fail(err, LS_AGAIN, 0, "stopped while waiting for the workers");
		if (until_ms && ls_clock_ms() >= until_ms)
			return ls_fail(err, LS_AGAIN, 0, "the deadline passed while waiting for the workers%s%s", said[0] ? ": " : "", said);
		poll(NULL, 0, LOOK_MS);
	}
}

ls_status ls_workers_address(const char *path, const char *name, char ret[64], struct ls_err *err)
{
	cJSON *json = NULL, *one;
	ls_status st = read_json(path, &json, err);
	bool found = false;

	cJSON_ArrayForEach(one, cJSON_GetObjectItemCaseSensitive(json, "workers"))
	{
		if (found || strcmp(ls_json_text(one, "name"), name) || !*ls_json_text(one, "address"))
			continue;
		snprintf(ret, 64, "%s", ls_json_text(one, "address"));
		found = true;
	}
	cJSON_Delete(json);
	if (!st && !found)
		st = ls_fail(err, LS_NOT_FOUND, 0, "the newest order has no worker %s with an address", name);
	return st;
}
