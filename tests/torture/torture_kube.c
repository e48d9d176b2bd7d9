/* torture_kube.c -- what the operator reads, decides and makes, with each of its allocations failing once.
 *
 * A scene succeeds, or says that memory ran out; nothing leaks. A fault is never called the user's mistake, and never a plan: a status that
 * lost a part on the way would be written, and a Pod without its node be placed anywhere. */
#include "operator/plan.h"
#include "tests/torture/fault.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static cJSON *job_json, *status_json, *report_json, *node_json, *pod_json[3];

static ls_status read_all(struct ls_tjob *job, struct ls_tpod pods[3], struct ls_report *report, struct ls_err *err)
{
	ls_status st = ls_tjob_read(job_json, job, err);

	for (int i = 0; i < 3 && !st; i++)
		st = ls_tpod_read(pod_json[i], &pods[i], err);
	return st ? st : ls_report_read(report_json, report, err);
}

static ls_status read_objects(struct ls_err *err)
{
	struct ls_tpod pods[3] = { 0 };
	struct ls_report report = { 0 };
	struct ls_tjob job = { 0 };
	ls_status st = read_all(&job, pods, &report, err);

	fault_check(st || (!job.bad && job.job.replicas == 2 && report.facts.n_failures == 1), "objects are read whole", job.bad ? job.bad : "");
	ls_tjob_release(&job);
	ls_report_release(&report);
	for (int i = 0; i < 3; i++)
		ls_tpod_release(&pods[i]);
	return st;
}

static ls_status write_status(struct ls_err *err)
{
	struct ls_tstatus s = { 0 };
	ls_status st = ls_tstatus_read(status_json, &s, err);
	cJSON *back = st ? NULL : ls_tstatus_json(&s);

	ls_tstatus_release(&s);
	if (!st && !back)
		return ls_fail_oom(err);
	cJSON_Delete(back);
	return st;
}

/* As round.c goes about it. */
static ls_status plan(struct ls_cluster *c, struct ls_observed *o, struct ls_err *err)
{
	struct ls_place_answer place = { 0 };
	struct ls_actions acts;
	ls_status st = LS_OK;

	ls_operator_plan(o, &acts);
	if (acts.n == 1 && acts.v[0].what == LS_DO_PLACE) {
		struct ls_place_ask q = { .template_ = cJSON_GetObjectItem(cJSON_GetObjectItem(o->job->spec, "workers"), "template"),
			.workers = acts.v[0].workers, .min = acts.v[0].min, .kept = acts.v[0].kept, .n_kept = acts.v[0].n_kept, .kept_index = acts.v[0].kept_index };

		st = o->place_st = ls_cluster_place(c, &q, &place, err);
		o->place = &place;
		o->place_anew = !q.n_kept;
		ls_actions_release(&acts);
		if (!st)
			ls_operator_plan(o, &acts);
	}
	if (!st && acts.oom)
		st = ls_fail_oom(err);
	fault_check(st || (acts.n > 1 && acts.v[0].what == LS_DO_STATUS), "a plan is whole", "");
	ls_actions_release(&acts);
	free(place.node);
	return st;
}

/* `from`: of this Pod on, there is none. */
static ls_status look(int from, struct ls_err *err)
{
	struct ls_tpod pods[3] = { 0 }, *seen[3] = { &pods[0], &pods[1], &pods[2] };
	time_t lost[3] = { 0 };
	struct ls_report report = { 0 };
	struct ls_tjob job = { 0 };
	struct ls_cluster *c = NULL;
	struct ls_observed o = { .job = &job, .pods = seen, .n_pods = from, .node_lost = lost, .place_st = LS_EXISTS, .now = 2000000000, .image = "i",
		.key_hex = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", .report = from ? &report : NULL };
	ls_status st = read_all(&job, pods, &report, err);

	if (!st && !from)
		ls_tstatus_release(&job.status);
	if (!st && !from)
		job.status.pods = (struct ls_tpods){ .serial = -1, .base = -1, .launcher = -1 };
	if (!st)
		st = ls_cluster_open(&c, err);
	if (!st)
		st = ls_cluster_node_set(c, node_json, err);
	for (int i = 0; i < from && !st; i++)
		st = ls_cluster_pod_set(c, pod_json[i], err);
	if (!st)
		st = plan(c, &o, err);
	ls_cluster_close(c);
	ls_tjob_release(&job);
	ls_report_release(&report);
	for (int i = 0; i < 3; i++)
		ls_tpod_release(&pods[i]);
	return st;
}

static ls_status plan_new(struct ls_err *err)
{
	return look(0, err);
}

static ls_status plan_loss(struct ls_err *err)
{
	return look(2, err);
}

static const struct {
	const char *says;
	ls_status (*run)(struct ls_err *err);
} scenes[] = {
	{ "a job, Pods, a report are read", read_objects },
	{ "a status is read and written", write_status },
	{ "a new job is placed, its objects made", plan_new },
	{ "a lost worker is recorded and replaced, the launcher told", plan_loss },
};

static bool run_scene(size_t i, unsigned n)
{
	struct ls_err err = LS_ERR_INIT;
	bool fired;
	ls_status st;

	fault_arm(FAULT_ONCE, n);
	st = scenes[i].run(&err);
	fired = fault_disarm();
	fault_check(st == LS_OK || (fired && st == LS_AGAIN), scenes[i].says, st ? err.text : "");
	fault_check_leaks();
	return fired;
}

#define POD(name, role, more, phase)                                                                                                                  \
	"{\"metadata\":{\"name\":\"digits-" name "\",\"namespace\":\"ml\",\"uid\":\"p-" name "\",\"ownerReferences\":[{\"uid\":\"u\",\"controller\":true}],"     \
	"\"labels\":{\"lockstep.dev/job\":\"digits\",\"lockstep.dev/role\":\"" role "\",\"lockstep.dev/serial\":\"1\"" more "}},"                         \
	"\"spec\":{\"nodeName\":\"n1\",\"containers\":[{\"name\":\"m\"}]},\"status\":{\"phase\":\"" phase "\",\"podIP\":\"10.0.0.1\"}}"
#define FAILURES \
	"\"failures\":[{\"attempt\":0,\"rank\":1,\"worker\":\"digits-worker-1\",\"reason\":\"Signal\",\"message\":\"m\",\"logTail\":\"l\",\"time\":\"2026-01-31T12:00:00Z\"}]"
#define STATUS \
	"{\"conditions\":[{\"type\":\"Created\",\"status\":\"True\",\"reason\":\"Placed\",\"message\":\"m\"},{\"type\":\"Running\",\"status\":\"True\",\"reason\":\"Running\"," \
	"\"message\":\"m\"}],\"attempt\":0,\"worldSize\":{\"requested\":2,\"actual\":2},\"progress\":{\"step\":5,\"totalSteps\":9},"                                     \
	"\"lastCheckpoint\":{\"step\":4,\"uri\":\"s3://bucket/p\"}," FAILURES ",\"pods\":{\"serial\":1,\"base\":1,\"launcher\":1,\"size\":2,\"replaced\":[{\"index\":0,\"serial\":1}]}}"

static void make_world(void)
{
	job_json = cJSON_Parse("{\"apiVersion\":\"lockstep.dev/v1alpha1\",\"kind\":\"TrainingJob\",\"metadata\":{\"name\":\"digits\",\"namespace\":\"ml\",\"uid\":\"u\","
			       "\"generation\":1,\"finalizers\":[\"" LS_FINALIZER "\"]},\"spec\":{\"workers\":{\"replicas\":2,\"template\":{\"spec\":{\"containers\":[{\"name\":\"m\","
			       "\"image\":\"x\",\"command\":[\"./p\"],\"resources\":{\"requests\":{\"cpu\":\"1\"}}}]}}},\"checkpoint\":{\"uri\":\"s3://bucket/p\"}},\"status\":" STATUS "}");
	status_json = cJSON_Parse(STATUS);
	report_json = cJSON_Parse("{\"serial\":1,\"state\":\"Running\",\"exitCode\":-1,\"attempt\":0,\"progress\":{\"step\":7}," FAILURES "}");
	node_json = cJSON_Parse("{\"metadata\":{\"name\":\"n1\"},\"status\":{\"allocatable\":{\"cpu\":\"8\",\"memory\":\"8Gi\",\"pods\":\"110\"},"
				"\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\"}]}}");
	pod_json[0] = cJSON_Parse(POD("launcher-1", "launcher", "", "Running"));
	pod_json[1] = cJSON_Parse(POD("worker-0-1", "worker", ",\"lockstep.dev/worker\":\"0\"", "Running"));
	pod_json[2] = cJSON_Parse(POD("worker-1-1", "worker", ",\"lockstep.dev/worker\":\"1\"", "Running"));
	fault_check(job_json && status_json && report_json && node_json && pod_json[0] && pod_json[1] && pod_json[2], "the world is made", "");
}

int main(void)
{
	cJSON_Hooks hooks = { malloc, free }; /* the wrapped ones */

	cJSON_InitHooks(&hooks);
	make_world();
	for (size_t i = 0; i < sizeof(scenes) / sizeof(scenes[0]); i++) {
		unsigned n;

		for (n = 1; run_scene(i, n); n++)
			;
		fault_count(scenes[i].says, n - 1);
	}
	return fault_report("torture_kube");
}
