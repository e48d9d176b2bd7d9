/* fuzz_objects.c -- libFuzzer: what the operator holds of a cluster, and what launchers and operators tell each other. The first byte picks the reader: a
 * TrainingJob, a Pod, a report, a quantity, a remote command, or a whole look at a job: {"status", "pods", "nodes", "report"}, which is planned for, placed and
 * told. Any bytes end in an outcome; an object that is read can be written, and reads the same again. */
#include "launcher/pod.h"
#include "launcher/probe.h"
#include "operator/plan.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define MAX_PODS 64

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static const char spec[] = "{\"workers\":{\"replicas\":3,\"minReplicas\":1,\"template\":{\"spec\":{\"containers\":[{\"name\":\"m\",\"image\":\"x\",\"command\":[\"./p\"],"
			   "\"resources\":{\"requests\":{\"cpu\":\"1\"}}}]}}},\"runPolicy\":{\"backoffLimit\":2}}";

static void must(int ok)
{
	if (!ok)
		abort();
}

/* Of pod.c's two functions that look at the machine, which are not called here. */
ls_status ls_self_path(char ret[PATH_MAX], struct ls_err *err)
{
	(void)ret;
	return ls_fail(err, LS_USAGE, 0, "a fuzzer");
}

ls_status ls_engine_find(const char *mpirun, struct ls_engine *ret, struct ls_err *err)
{
	(void)mpirun, (void)ret;
	return ls_fail(err, LS_USAGE, 0, "a fuzzer");
}

static const cJSON *at(const cJSON *object, const char *key)
{
	return cJSON_GetObjectItemCaseSensitive(object, key);
}

static void check_status(const struct ls_tstatus *s)
{
	cJSON *once = ls_tstatus_json(s), *twice;
	struct ls_tstatus again = { 0 };

	must(once && !ls_tstatus_read(once, &again, NULL));
	twice = ls_tstatus_json(&again);
	must(twice && cJSON_Compare(once, twice, true));
	ls_tstatus_release(&again);
	cJSON_Delete(once);
	cJSON_Delete(twice);
}

static void read_job(const cJSON *json)
{
	struct ls_err err = LS_ERR_INIT;
	struct ls_tjob job = { 0 };

	if (ls_tjob_read(json, &job, &err)) {
		must(*err.text);
		return;
	}
	must(*job.name && *job.uid);
	check_status(&job.status);
	ls_tjob_release(&job);
}

static void read_pod(const cJSON *json)
{
	struct ls_ask_resources need = { 0 };
	struct ls_err err = LS_ERR_INIT;
	struct ls_tpod pod = { 0 };

	if (!ls_tpod_read(json, &pod, &err))
		must(*pod.job && pod.serial >= 0 && pod.index >= -1);
	ls_tpod_release(&pod);
	if (!ls_pod_resources(at(json, "spec"), &need, &err))
		must(need.cpu_milli >= 0 && need.memory >= 0 && need.gpus >= 0);
}

static void read_report(const cJSON *json)
{
	struct ls_err err = LS_ERR_INIT;
	struct ls_report r = { 0 };

	if (ls_report_read(json, &r, &err))
		must(*err.text);
	else
		check_status(&r.facts);
	ls_report_release(&r);
}

static void read_command(const char *text)
{
	const struct ls_engine engine = { .path = "/o/bin/mpirun", .version = "4.1.4", .major = 4 };
	struct ls_strv words = { 0 }, argv = { 0 };
	struct ls_err err = LS_ERR_INIT;

	if (!ls_pod_command(text, &words, &err)) {
		must(words.n > 0);
		if (!ls_pod_argv(&words, "/l/lockstep", &engine, &argv, &err))
			must(!strcmp(argv.v[0], "/o/bin/orted") || (argv.n == 2 && !strcmp(argv.v[0], "/l/lockstep") && !strcmp(argv.v[1], "probe")));
	} else {
		must(*err.text);
	}
	ls_strv_release(&words);
	ls_strv_release(&argv);
}

/* --- a look at a job ---------------------------------------------------------------------------------------------------------------------- */

static struct ls_cluster *cluster_of(const cJSON *doc)
{
	struct ls_cluster *c = NULL;
	struct ls_err err = LS_ERR_INIT;
	const cJSON *one;

	must(!ls_cluster_open(&c, &err));
	cJSON_ArrayForEach(one, at(doc, "nodes"))
		ls_cluster_node_set(c, one, &err);
	cJSON_ArrayForEach(one, at(doc, "pods"))
		ls_cluster_pod_set(c, one, &err);
	return c;
}

static void plan(struct ls_cluster *c, struct ls_observed *o)
{
	struct ls_place_answer place = { 0 };
	struct ls_err err = LS_ERR_INIT;
	struct ls_actions acts;

	ls_operator_plan(o, &acts);
	for (int asked = 0; asked < 2 && acts.n == 1 && acts.v[0].what == LS_DO_PLACE; asked++) {
		struct ls_place_ask q = { .template_ = at(at(o->job->spec, "workers"), "template"), .workers = acts.v[0].workers, .min = acts.v[0].min,
			.kept = acts.v[0].kept, .n_kept = acts.v[0].n_kept, .kept_index = acts.v[0].kept_index };

		free(place.node);
		place = (struct ls_place_answer){ 0 };
		o->place_st = ls_cluster_place(c, &q, &place, &err);
		o->place = &place;
		o->place_anew = acts.v[0].n_kept == 0;
		ls_actions_release(&acts);
		ls_operator_plan(o, &acts);
	}
	must(!acts.oom);
	for (int i = 0; i < acts.n; i++)
		if (acts.v[i].what == LS_DO_STATUS)
			check_status(acts.v[i].status);
	ls_actions_release(&acts);
	free(place.node);
}

static void look(const cJSON *doc)
{
	cJSON *object = cJSON_Parse("{\"apiVersion\":\"lockstep.dev/v1alpha1\",\"kind\":\"TrainingJob\",\"metadata\":{\"name\":\"j\",\"namespace\":\"n\",\"uid\":\"u\",\"generation\":1,"
			     "\"finalizers\":[\"" LS_FINALIZER "\"]}}");
	struct ls_tpod pods[MAX_PODS] = { 0 }, *seen[MAX_PODS];
	struct ls_observed o = { .pods = seen, .place_st = LS_EXISTS, .now = 2000000, .image = "i", .secret = true };
	time_t lost[MAX_PODS] = { 0 };
	struct ls_report report = { 0 };
	struct ls_err err = LS_ERR_INIT;
	struct ls_tjob job = { 0 };
	struct ls_cluster *c = cluster_of(doc);
	const cJSON *one;

	cJSON_AddItemToObject(object, "spec", cJSON_Parse(spec));
	if (at(doc, "status"))
		cJSON_AddItemToObject(object, "status", cJSON_Duplicate(at(doc, "status"), true));
	must(!ls_tjob_read(object, &job, &err)); /* a key that is there twice, even in the status, makes it bad: that is planned for, too */
	cJSON_ArrayForEach(one, at(doc, "pods"))
		if (o.n_pods < MAX_PODS && !ls_tpod_read(one, &pods[o.n_pods], &err)) {
			seen[o.n_pods] = &pods[o.n_pods];
			lost[o.n_pods++] = cJSON_IsTrue(at(one, "lost")) ? 1 : 0;
		}
	if (!ls_report_read(at(doc, "report"), &report, &err))
		o.report = &report;
	o.job = &job;
	o.node_lost = lost;
	plan(c, &o);
	ls_cluster_close(c);
	ls_report_release(&report);
	ls_tjob_release(&job);
	for (int i = 0; i < o.n_pods; i++)
		ls_tpod_release(&pods[i]);
	cJSON_Delete(object);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	char *text = malloc(len + 1);
	int64_t milli;
	cJSON *json;

	if (!len || !text) {
		free(text);
		return 0;
	}
	memcpy(text, bytes + 1, --len);
	text[len] = '\0';
	json = cJSON_ParseWithLength(text, len);
	switch (bytes[0] % 6) {
	case 0: read_job(json); break;
	case 1: read_pod(json); break;
	case 2: read_report(json); break;
	case 3: (void)ls_quantity_milli(text, &milli); break;
	case 4: read_command(text); break;
	case 5: look(json); break;
	}
	cJSON_Delete(json);
	free(text);
	return 0;
}
