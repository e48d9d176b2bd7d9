/* torture_core.c -- each thing that core/ does, with each of its calls failing once.
 *
 * A scene succeeds, or says LS_AGAIN in a sentence; nothing leaks; what it must leave whole is whole. A fault that may
 * pass is never called the user's mistake or damaged data. torture_ckpt.c does the same to whole saves. */
#include "core/io.h"
#include "core/job.h"
#include "core/node.h"
#include "core/place.h"
#include "core/safetensors.h"
#include "core/store.h"
#include "core/topo.h"
#include "tests/torture/fault.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char base[4096];
static char path[4200], manifest[4200], uri[4200];

static const char job_text[] = "apiVersion: lockstep.dev/v1alpha1\n"
			       "kind: TrainingJob\n"
			       "metadata: {name: digits, namespace: ml}\n"
			       "spec:\n"
			       "  workers:\n"
			       "    replicas: 2\n"
			       "    ranksPerWorker: 2\n"
			       "    template:\n"
			       "      spec:\n"
			       "        containers:\n"
			       "        - name: main\n"
			       "          image: digits:1\n"
			       "          command: [./digits]\n"
			       "          args: [--data, $(DATA)]\n"
			       "          env:\n"
			       "          - {name: DATA, value: digits.csv}\n"
			       "  placement: {bind: core, topologyKeys: [rack]}\n"
			       "  checkpoint: {uri: 'file:///tmp/x', every: {steps: 200}, keep: 3}\n"
			       "  runPolicy: {backoffLimit: 3, retryableExitCodes: [75]}\n";

static ls_status strings(struct ls_err *err)
{
	struct ls_str str = { 0 };
	struct ls_strv list = { 0 };
	char *stolen;
	int i;

	for (i = 0; i < 40; i++) {
		ls_str_addf(&str, "%d ", i);
		ls_strv_addf(&list, "N%d=%d", i, i);
	}
	ls_str_add_quoted(&str, "it's");
	ls_strv_setenv(&list, "N7", "seven");
	ls_strv_setenv(&list, "NEW", "1");
	if (!str.oom && !list.oom)
		fault_check(!strcmp(ls_strv_getenv(&list, "N7"), "seven") && list.n == 41,
			"a list that is not oom is whole", "");
	stolen = list.oom ? NULL : ls_str_steal(&str);
	if (stolen)
		fault_check(!strncmp(stolen, "0 1 2 ", 6) && strstr(stolen, "39 'it'\\''s'"),
			"a string that is not oom is whole", "");
	free(stolen);
	ls_str_release(&str);
	ls_strv_release(&list);
	return stolen ? LS_OK : ls_fail_oom(err);
}

static void file_is(const char *one, const char *other)
{
	struct ls_err err = LS_ERR_INIT;
	struct ls_str text = { 0 };
	ls_status st = ls_file_read(path, 100, &text, &err);

	fault_check(st == LS_NOT_FOUND
			    ? !one
			    : !st && ((one && !strcmp(ls_str_text(&text), one)) || !strcmp(ls_str_text(&text), other)),
		"a file is the old or the new one", st ? err.text : ls_str_text(&text));
	ls_str_release(&text);
}

static void old_file(void)
{
	fault_check(ls_file_publish(path, "old", 3, false, NULL) == LS_OK, "the old file is there", "");
}

static ls_status publish(struct ls_err *err)
{
	return ls_file_publish(path, "new", 3, false, err);
}

static void old_or_new(ls_status st)
{
	file_is(st ? "old" : "new", "new");
}

static void no_file(void)
{
	unlink(path);
}

static ls_status publish_new(struct ls_err *err)
{
	return ls_file_publish(path, "new", 3, true, err);
}

static void none_or_new(ls_status st)
{
	file_is(st ? NULL : "new", "new");
}

static ls_status read_file(struct ls_err *err)
{
	struct ls_str text = { 0 };
	ls_status st = ls_file_read(manifest, 1 << 20, &text, err);

	fault_check(st || !strcmp(ls_str_text(&text), job_text), "a file that is read is read whole", "");
	ls_str_release(&text);
	return st;
}

static ls_status make_dirs(struct ls_err *err)
{
	char deep[4300];

	snprintf(deep, sizeof(deep), "%s/d/e/f", base);
	return ls_mkdir_p(deep, err);
}

static ls_status shard_header(struct ls_err *err)
{
	struct ls_tensor t[] = { { .name = (char *)"a\n", .dtype = LS_F32, .ndim = 2, .shape = { 3, 4 } },
		{ .name = (char *)"b", .dtype = LS_U8 } };
	struct ls_str head = { 0 };
	struct ls_strv metadata = { 0 };
	struct ls_st table = { 0 };
	ls_status st;

	ls_strv_add(&metadata, "k=v");
	st = metadata.oom ? ls_fail_oom(err) : ls_st_header(t, 2, &metadata, &head, err);
	if (!st)
		st = ls_st_parse(head.s, head.len, head.len + t[1].end, &table, err);
	fault_check(st || (table.n == 2 && ls_st_find(&table, "a\n") && table.metadata.n == 1),
		"a header reads back whole", "");
	ls_st_release(&table);
	ls_strv_release(&metadata);
	ls_str_release(&head);
	return st;
}

static bool every_dir(void *arg, const char *name)
{
	return !arg && *name;
}

static ls_status store_calls(struct ls_err *err)
{
	struct ls_store *s = NULL;
	struct ls_objects list = { 0 };
	const char *key = "d/x";
	size_t swept;
	struct iovec iov[2] = { { (char *)"he", 2 }, { (char *)"llo", 3 } };
	char got[5];
	ls_status st = ls_store_open(uri, &s, err);

	if (!st)
		st = ls_store_put(s, "d/x", iov, 2, false, NULL, err);
	if (!st)
		st = ls_store_get(s, "d/x", 0, got, 5, err);
	fault_check(st || !memcmp(got, "hello", 5), "an object is what was put", "");
	if (!st)
		st = ls_store_list(s, "d/", &list, err);
	fault_check(st || (list.n == 1 && !strcmp(list.v[0].key, "d/x")), "it is listed", "");
	if (!st)
		st = ls_store_sweep(s, every_dir, NULL, false, &swept, err);
	if (!st)
		st = ls_store_delete(s, &key, 1, err);
	ls_objects_release(&list);
	ls_store_close(s);
	return st;
}

static ls_status parse_node(struct ls_err *err)
{
	struct ls_node *root = NULL;
	ls_status st = ls_node_parse("job.yaml", job_text, strlen(job_text), &root, err);

	if (!st)
		st = ls_node_set(root, "spec.workers.replicas=4", err);
	if (!st)
		st = ls_node_set(root, "metadata.labels.new=yes", err);
	ls_node_free(root);
	return st;
}

static ls_status convert_json(struct ls_err *err)
{
	cJSON *json = cJSON_Parse("{\"a\": [1, 2.5, \"x\", null, true], \"b\": {\"c\": \"d\"}}");
	struct ls_node *root = NULL;
	ls_status st = json ? ls_node_from_cjson(json, &root, err) : ls_fail_oom(err);

	ls_node_free(root);
	cJSON_Delete(json);
	return st;
}

static ls_status load_job(struct ls_err *err)
{
	static const char *const sets[] = { "spec.workers.replicas=3", NULL };
	struct ls_job job = { 0 };
	ls_status st = ls_job_load(manifest, sets, &job, err);

	fault_check(st || (job.replicas == 3 && job.argv.n == 3 && !strcmp(job.argv.v[2], "digits.csv")),
		"a job is loaded whole", "");
	ls_job_release(&job);
	return st;
}

static ls_status init_job(struct ls_err *err)
{
	struct ls_job job = { 0 };
	ls_status st = ls_job_init(&job, "job", err);

	ls_job_release(&job);
	return st;
}

static ls_status place_ranks(struct ls_err *err)
{
	struct ls_topo *topo = NULL;
	struct ls_place place = { 0 };
	ls_status st = ls_topo_open("pack:2 numa:1 core:4 pu:2", false, &topo, err);

	if (!st)
		st = ls_place_host(topo, 4, LS_BIND_CORE, &place, err);
	fault_check(st || place.n == 4, "four ranks have a seat", "");
	ls_place_release(&place);
	ls_topo_close(topo);
	return st;
}

static const struct {
	const char *says;
	ls_status (*run)(struct ls_err *err);
	void (*before)(void);
	void (*after)(ls_status st);
} scenes[] = {
	{ "strings and lists", strings, NULL, NULL },
	{ "a file is replaced", publish, old_file, old_or_new },
	{ "a file is made, if new", publish_new, no_file, none_or_new },
	{ "a file is read", read_file, NULL, NULL },
	{ "directories are made", make_dirs, NULL, NULL },
	{ "a shard's header is written and read", shard_header, NULL, NULL },
	{ "an object is put, got, listed, deleted", store_calls, NULL, NULL },
	{ "a manifest is parsed", parse_node, NULL, NULL },
	{ "JSON is converted", convert_json, NULL, NULL },
	{ "a job is loaded", load_job, NULL, NULL },
	{ "a job has its defaults", init_job, NULL, NULL },
	{ "ranks are placed", place_ranks, NULL, NULL },
};

/* Returns false when n was beyond the last call. */
static bool run_scene(size_t i, enum fault_kind kind, unsigned n)
{
	struct ls_err err = LS_ERR_INIT;
	bool fired;
	ls_status st;

	if (scenes[i].before)
		scenes[i].before();
	fault_arm(kind, n);
	st = scenes[i].run(&err);
	fired = fault_disarm();
	fault_check(st == LS_OK || (fired && st == LS_AGAIN && err.text[0]), scenes[i].says, st ? err.text : "");
	fault_check(st == LS_OK || kind != FAULT_SHORT, "a short read or write is continued", err.text);
	if (scenes[i].after)
		scenes[i].after(st);
	fault_check_leaks();
	return fired;
}

int main(void)
{
	cJSON_Hooks hooks = { malloc, free }; /* the wrapped ones */
	const char *tmp = getenv("TMPDIR");
	enum fault_kind kind;
	size_t i;

	cJSON_InitHooks(&hooks);
	snprintf(base, sizeof(base), "%.4000s/torture_core.XXXXXX", tmp && *tmp ? tmp : "/tmp");
	if (!mkdtemp(base))
		return 1;
	snprintf(path, sizeof(path), "%s/file", base);
	snprintf(manifest, sizeof(manifest), "%s/job.yaml", base);
	snprintf(uri, sizeof(uri), "file://%s/store", base);
	fault_check(ls_file_publish(manifest, job_text, strlen(job_text), false, NULL) == LS_OK,
		"the manifest is written", "");
	for (i = 0; i < sizeof(scenes) / sizeof(scenes[0]); i++) {
		unsigned n, faults = 0;

		for (kind = FAULT_ONCE; kind < FAULT_CRASH; kind++)
			for (n = 1; run_scene(i, kind, n); n++)
				faults++;
		fault_count(scenes[i].says, faults);
	}
	ls_remove_tree(base, NULL);
	return fault_report("torture_core");
}
