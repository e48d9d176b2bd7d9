/* test_objects.c -- TrainingJobs and Pods as the API server gives them; statuses both ways; the objects that are made for a job. */
#include "core/str.h"
#include "operator/plan.h"

#include <CUnit/Basic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define META "\"namespace\":\"ml\",\"uid\":\"u1\",\"resourceVersion\":\"7\""

static void check(bool ok, const char *says, const char *got)
{
	if (!ok)
		printf("\n    failed: %s: %s", says, got);
	CU_ASSERT(ok);
}

/* --- time --------------------------------------------------------------------------------------------------------------------------------- */

static const struct {
	const char *says, *text;
	time_t want;
} times[] = {
	{ "seconds", "2026-01-31T12:00:00Z", 1769860800 },
	{ "microseconds, as Leases have them, are cut", "2026-01-31T12:00:00.123456Z", 1769860800 },
	{ "another zone is not what the API writes", "2026-01-31T12:00:00+01:00", 0 },
	{ "no time", "yesterday", 0 },
	{ "nothing", "", 0 },
	{ "not even text", NULL, 0 },
};

static void test_times(void)
{
	char text[32];

	for (size_t i = 0; i < COUNT(times); i++)
		check(ls_time_read(times[i].text) == times[i].want, times[i].says, times[i].text ? times[i].text : "NULL");
	ls_time_write(1769860800, text);
	CU_ASSERT_STRING_EQUAL(text, "2026-01-31T12:00:00Z");
}

/* --- TrainingJobs ------------------------------------------------------------------------------------------------------------------------- */

static void read_job(const char *name, const char *spec, const char *more, struct ls_tjob *ret)
{
	struct ls_err err = LS_ERR_INIT;
	char text[4000];
	cJSON *json;

	snprintf(text, sizeof(text), "{\"apiVersion\":\"lockstep.dev/v1alpha1\",\"kind\":\"TrainingJob\",\"metadata\":{\"name\":\"%s\"," META "%s},\"spec\":%s}", name, more, spec);
	json = cJSON_Parse(text);
	if (!json || ls_tjob_read(json, ret, &err)) {
		printf("\n    %s: %s", text, err.text);
		abort();
	}
	cJSON_Delete(json);
}

#define POD_SPEC "\"containers\":[{\"name\":\"main\",\"image\":\"x\",\"command\":[\"./train\"],\"args\":[\"--fast\"]}]"
#define SPEC "{\"workers\":{\"replicas\":2,\"template\":{\"spec\":{" POD_SPEC "}}}}"

/* A user's 1 MB of tiny values would be 20 MB here: it is refused, and not kept. */
static void test_large_spec(void)
{
	struct ls_str text = { 0 };
	struct ls_err err = LS_ERR_INIT;
	struct ls_tjob j;
	cJSON *json;

	ls_str_add(&text, "{\"metadata\":{\"name\":\"digits\"," META "},\"spec\":{\"managedBy\":\"x/y\",\"workers\":{\"template\":{\"spec\":{" POD_SPEC ",\"volumes\":[{}");
	for (int i = 0; i < 10000; i++)
		ls_str_add(&text, ",{}");
	ls_str_add(&text, "]}}}}}");
	json = cJSON_Parse(ls_str_text(&text));
	CU_ASSERT_FATAL(json && !ls_tjob_read(json, &j, &err));
	check(j.bad && strstr(j.bad, "512 KiB"), "a large spec", j.bad ? j.bad : "is taken");
	CU_ASSERT_EQUAL(cJSON_GetArraySize(j.spec), 1); /* whose job it is */
	ls_tjob_release(&j);
	cJSON_Delete(json);
	ls_str_release(&text);
}

static const struct {
	const char *says, *name, *spec, *bad;
} specs[] = {
	{ "a small one", "digits", SPEC, NULL },
	{ "a name of 44", "a234567890123456789012345678901234567890bcde", SPEC, NULL },
	{ "a name of 45: host names of its Pods would be too long", "a234567890123456789012345678901234567890bcdef", SPEC, "at most 44" },
	{ "a name that no Service may have", "1digits", SPEC, "beginning with a letter" },
	{ "no command: the image's own is not known", "digits", "{\"workers\":{\"template\":{\"spec\":{\"containers\":[{\"name\":\"a\"}]}}}}", "command: missing" },
	{ "a misspelt field", "digits", "{\"workers\":{\"replica\":2,\"template\":{\"spec\":{" POD_SPEC "}}}}", "did you mean replicas" },
	{ "no workers", "digits", "{}", "spec.workers" },
	{ "a spec that is none", "digits", "[]", "spec" },
};

static void test_specs(void)
{
	for (size_t i = 0; i < COUNT(specs); i++) {
		struct ls_tjob j;

		read_job(specs[i].name, specs[i].spec, "", &j);
		check(specs[i].bad ? j.bad && strstr(j.bad, specs[i].bad) : !j.bad, specs[i].says, j.bad ? j.bad : "valid");
		ls_tjob_release(&j);
	}
}

static void test_job(void)
{
	struct ls_err err = LS_ERR_INIT;
	cJSON *none = cJSON_Parse("{\"metadata\":{\"name\":\"x\"}}");
	struct ls_tjob j;

	read_job("digits",
		"{\"workers\":{\"template\":{\"spec\":{" POD_SPEC "}}},\"checkpoint\":{\"uri\":\"s3://bucket/p\",\"credentialsSecretRef\":{\"name\":\"keys\"}},"
		"\"runPolicy\":{\"cleanPodPolicy\":\"None\",\"schedulingPolicy\":{\"queue\":\"q\",\"priorityClass\":\"high\",\"minAvailable\":1}}}",
		",\"generation\":3,\"creationTimestamp\":\"2026-01-31T12:00:00Z\",\"deletionTimestamp\":\"2026-01-31T12:00:01Z\",\"finalizers\":[\"x/y\",\"" LS_FINALIZER "\"]", &j);
	CU_ASSERT(!j.bad && j.generation == 3 && j.created == 1769860800 && j.deleted == 1769860801 && j.finalizer);
	CU_ASSERT(j.clean == 2 && j.min_available == 1);
	CU_ASSERT_STRING_EQUAL(j.queue, "q");
	CU_ASSERT_STRING_EQUAL(j.priority_class, "high");
	CU_ASSERT_STRING_EQUAL(j.credentials_secret, "keys");
	CU_ASSERT_STRING_EQUAL(j.resource_version, "7");
	CU_ASSERT(j.status.attempt == -1 && j.status.pods.serial == -1 && j.status.pods.launcher == -1 && j.status.eta_s == -1);
	ls_tjob_release(&j);
	CU_ASSERT_EQUAL(ls_tjob_read(none, &j, &err), LS_USAGE);
	CU_ASSERT_EQUAL(ls_tjob_read(NULL, &j, &err), LS_USAGE);
	cJSON_Delete(none);
}

/* --- Pods --------------------------------------------------------------------------------------------------------------------------------- */

#define LABELS(role, more) "\"labels\":{\"lockstep.dev/job\":\"digits\",\"lockstep.dev/role\":\"" role "\",\"lockstep.dev/serial\":\"4\"" more "}"
#define OWNED "\"ownerReferences\":[{\"uid\":\"other\"},{\"uid\":\"u1\",\"controller\":true}]"
#define POD(name, more, status) "{\"metadata\":{\"name\":\"" name "\"," META "," OWNED "," more "},\"spec\":{\"nodeName\":\"n1\",\"containers\":[{\"name\":\"main\"}]},\"status\":{" status "}}"
#define WORKER(status) POD("digits-worker-12-4", LABELS("worker", ",\"lockstep.dev/worker\":\"12\""), status)
#define STATE(state) "\"phase\":\"Running\",\"containerStatuses\":[{\"name\":\"side\",\"state\":{\"terminated\":{\"exitCode\":9}}},{\"name\":\"main\",\"state\":{" state "}}]"

static const struct {
	const char *says, *json;
	ls_status want;
	int index, phase, exit_code, signal;
	const char *reason, *message, *final;
} pods[] = {
	{ "a worker that runs", WORKER(STATE("\"running\":{}")), LS_OK, 12, LS_POD_RUNNING, -1, 0, "", "", "" },
	{ "the launcher", POD("digits-launcher-4", LABELS("launcher", ""), "\"phase\":\"Pending\""), LS_OK, -1, LS_POD_PENDING, -1, 0, "", "", "" },
	{ "just created, without a phase", WORKER(""), LS_OK, 12, LS_POD_PENDING, -1, 0, "", "", "" },
	{ "its node is silent", WORKER("\"phase\":\"Unknown\""), LS_OK, 12, LS_POD_UNKNOWN, -1, 0, "", "", "" },
	{ "somebody else's", POD("p", "\"labels\":{\"app\":\"web\"}", ""), LS_NOT_FOUND, 0, 0, 0, 0, NULL, NULL, NULL },
	{ "without labels", POD("p", "\"labels\":null", ""), LS_NOT_FOUND, 0, 0, 0, 0, NULL, NULL, NULL },
	{ "a worker without a number", POD("digits-worker-12-4", LABELS("worker", ""), ""), LS_NOT_FOUND, 0, 0, 0, 0, NULL, NULL, NULL },
	{ "a worker with a strange one", POD("digits-worker--3-4", LABELS("worker", ",\"lockstep.dev/worker\":\"-3\""), ""), LS_NOT_FOUND, 0, 0, 0, 0, NULL, NULL, NULL },
	{ "another role", POD("digits-worker-1-4", LABELS("cook", ",\"lockstep.dev/worker\":\"1\""), ""), LS_NOT_FOUND, 0, 0, 0, 0, NULL, NULL, NULL },
	{ "another name than such a Pod gets", POD("web-0", LABELS("worker", ",\"lockstep.dev/worker\":\"12\""), ""), LS_NOT_FOUND, 0, 0, 0, 0, NULL, NULL, NULL },
	{ "the name of another job's Pod", POD("faces-worker-12-4", LABELS("worker", ",\"lockstep.dev/worker\":\"12\""), ""), LS_NOT_FOUND, 0, 0, 0, 0, NULL, NULL, NULL },
	{ "evicted by the kubelet", WORKER("\"phase\":\"Failed\",\"reason\":\"Evicted\",\"message\":\"low on memory\""), LS_OK, 12, LS_POD_FAILED, -1, 0, "Evicted",
		"low on memory", "" },
	{ "evicted by the API", WORKER("\"phase\":\"Running\",\"conditions\":[{\"type\":\"DisruptionTarget\",\"status\":\"True\",\"reason\":\"EvictionByEvictionAPI\",\"message\":\"drained\"}]"),
		LS_OK, 12, LS_POD_RUNNING, -1, 0, "Evicted", "drained", "" },
	{ "out of memory", WORKER(STATE("\"terminated\":{\"exitCode\":137,\"reason\":\"OOMKilled\"}")), LS_OK, 12, LS_POD_RUNNING, 137, 9, "OOMKilled", "", "" },
	{ "an ordinary error is told by its code", WORKER(STATE("\"terminated\":{\"exitCode\":3,\"reason\":\"Error\",\"message\":\"last word\"}")), LS_OK, 12, LS_POD_RUNNING, 3, 0, "", "",
		"last word" },
	{ "an image that cannot be pulled", WORKER(STATE("\"waiting\":{\"reason\":\"ImagePullBackOff\",\"message\":\"no such image\"}")), LS_OK, 12, LS_POD_RUNNING, -1, 0,
		"ImagePullBackOff", "no such image", "" },
	{ "the usual wait is none", WORKER(STATE("\"waiting\":{\"reason\":\"ContainerCreating\"}")), LS_OK, 12, LS_POD_RUNNING, -1, 0, "", "", "" },
	{ "the runtime's image cannot be pulled",
		WORKER("\"initContainerStatuses\":[{\"name\":\"lockstep-runtime\",\"state\":{\"waiting\":{\"reason\":\"ErrImagePull\",\"message\":\"m\"}}}]," STATE("\"waiting\":{\"reason\":\"PodInitializing\"}")),
		LS_OK, 12, LS_POD_RUNNING, -1, 0, "ErrImagePull", "m", "" },
	{ "values of other types are as if absent", WORKER("\"phase\":7,\"reason\":[],\"conditions\":{},\"containerStatuses\":[1,null]"), LS_OK, 12, LS_POD_PENDING, -1, 0, "", "", "" },
};

static void test_pods(void)
{
	for (size_t i = 0; i < COUNT(pods); i++) {
		cJSON *json = cJSON_Parse(pods[i].json);
		struct ls_err err = LS_ERR_INIT;
		struct ls_tpod p;
		ls_status st = ls_tpod_read(json, &p, &err);

		check(json && st == pods[i].want, pods[i].says, err.text);
		cJSON_Delete(json);
		if (st)
			continue;
		check(p.index == pods[i].index && p.serial == 4 && (int)p.phase == pods[i].phase && !strcmp(p.job_uid, "u1"), pods[i].says, "index, serial, phase, owner");
		check(p.exit_code == pods[i].exit_code && p.signal == pods[i].signal, pods[i].says, "exit code and signal");
		check(!strcmp(p.reason, pods[i].reason) && !strcmp(p.message, pods[i].message) && !strcmp(p.final, pods[i].final), pods[i].says, p.reason);
		ls_tpod_release(&p);
	}
}

static void test_unschedulable(void)
{
	cJSON *no = cJSON_Parse(WORKER("\"conditions\":[{\"type\":\"PodScheduled\",\"status\":\"False\",\"reason\":\"Unschedulable\",\"lastTransitionTime\":\"2026-01-31T12:00:00Z\"}]"));
	cJSON *gate = cJSON_Parse(WORKER("\"conditions\":[{\"type\":\"PodScheduled\",\"status\":\"False\",\"reason\":\"SchedulingGated\"}]"));
	struct ls_tpod p;

	CU_ASSERT(!ls_tpod_read(no, &p, NULL) && p.unschedulable && p.unschedulable_since == 1769860800);
	ls_tpod_release(&p);
	CU_ASSERT(!ls_tpod_read(gate, &p, NULL) && !p.unschedulable);
	ls_tpod_release(&p);
	cJSON_Delete(no);
	cJSON_Delete(gate);
}

/* --- statuses ----------------------------------------------------------------------------------------------------------------------------- */

static const struct {
	const char *says, *json, *back; /* back NULL: the same */
} statuses[] = {
	{ "empty", "{}", "{\"replicaStatuses\":{\"Worker\":{\"active\":0,\"succeeded\":0,\"failed\":0}},\"conditions\":[]}" },
	{ "everything",
		"{\"replicaStatuses\":{\"Worker\":{\"active\":1,\"succeeded\":2,\"failed\":3}},\"conditions\":[{\"type\":\"Created\",\"status\":\"True\",\"observedGeneration\":2,"
		"\"lastTransitionTime\":\"2026-01-31T12:00:00Z\",\"reason\":\"Placed\",\"message\":\"m\"},{\"type\":\"Failed\",\"status\":\"False\",\"reason\":\"R\",\"message\":\"\"}],"
		"\"state\":\"Running\",\"workers\":\"1/2\",\"attempt\":0,\"worldSize\":{\"requested\":8,\"actual\":7},\"progress\":{\"step\":5,\"totalSteps\":9,\"loss\":\"0.1\","
		"\"samplesPerSecond\":\"7\",\"etaSeconds\":0},\"lastCheckpoint\":{\"step\":4,\"uri\":\"s3://bucket/p\",\"time\":\"2026-01-31T12:00:00Z\"},\"failures\":[{\"attempt\":0,\"rank\":1,"
		"\"worker\":\"digits-worker-1\",\"node\":\"n1\",\"exitCode\":137,\"signal\":9,\"reason\":\"OOMKilled\",\"message\":\"m\",\"logTail\":\"l\",\"time\":\"2026-01-31T12:00:00Z\"}],"
		"\"startTime\":\"2026-01-31T12:00:00Z\",\"completionTime\":\"2026-01-31T12:00:00Z\",\"launcherLosses\":1,\"bestStep\":6,\"observedGeneration\":2,"
		"\"pods\":{\"serial\":5,\"base\":2,\"launcher\":3,\"size\":2,\"replaced\":[{\"index\":0,\"serial\":5},{\"index\":1}]}}",
		NULL },
	{ "no launcher, no group", "{\"pods\":{\"serial\":5}}", "{\"replicaStatuses\":{\"Worker\":{\"active\":0,\"succeeded\":0,\"failed\":0}},\"conditions\":[],\"pods\":{\"serial\":5}}" },
	{ "a seat beyond the group is none", "{\"pods\":{\"serial\":5,\"base\":2,\"size\":2,\"replaced\":[{\"index\":2},{\"index\":1},{\"index\":900000000}]}}",
		"{\"replicaStatuses\":{\"Worker\":{\"active\":0,\"succeeded\":0,\"failed\":0}},\"conditions\":[],\"pods\":{\"serial\":5,\"base\":2,\"size\":2,\"replaced\":[{\"index\":1}]}}" },
	{ "a group that cannot be is none", "{\"pods\":{\"serial\":5,\"base\":2,\"size\":1000000000}}",
		"{\"replicaStatuses\":{\"Worker\":{\"active\":0,\"succeeded\":0,\"failed\":0}},\"conditions\":[],\"pods\":{\"serial\":5}}" },
	{ "values of other types are as if absent", "{\"state\":3,\"conditions\":{\"a\":1},\"pods\":[],\"progress\":7,\"attempt\":1e300,\"failures\":\"no\",\"bestStep\":-1e40}",
		"{\"replicaStatuses\":{\"Worker\":{\"active\":0,\"succeeded\":0,\"failed\":0}},\"conditions\":[]}" },
};

static void test_statuses(void)
{
	for (size_t i = 0; i < COUNT(statuses); i++) {
		cJSON *json = cJSON_Parse(statuses[i].json), *back;
		struct ls_tstatus s, copy;
		char *text;

		CU_ASSERT_FATAL(!ls_tstatus_read(json, &s, NULL) && !ls_tstatus_copy(&s, &copy, NULL));
		back = ls_tstatus_json(&copy);
		text = cJSON_PrintUnformatted(back);
		check(!strcmp(text, statuses[i].back ? statuses[i].back : statuses[i].json), statuses[i].says, text);
		cJSON_free(text);
		cJSON_Delete(json);
		cJSON_Delete(back);
		ls_tstatus_release(&s);
		ls_tstatus_release(&copy);
	}
}

/* Of a text that is too long the end is cut, of log lines the beginning, and never in the middle of a character. */
static void test_long_texts(void)
{
	cJSON *json = cJSON_Parse("{\"failures\":[{}]}"), *f = cJSON_GetArrayItem(cJSON_GetObjectItem(json, "failures"), 0);
	char text[20001];
	struct ls_tstatus s;

	for (int i = 0; i < 20000; i++)
		text[i] = "a\xc3\xa9"[i % 3]; /* aé */
	text[20000] = '\0';
	cJSON_AddStringToObject(f, "message", text);
	cJSON_AddStringToObject(f, "logTail", text);
	CU_ASSERT_FATAL(!ls_tstatus_read(json, &s, NULL) && s.n_failures == 1);
	CU_ASSERT(strlen(s.failures[0].message) == 4096 - 4096 % 3 + 1 && !strncmp(s.failures[0].message, "a\xc3\xa9", 3));
	CU_ASSERT(strlen(s.failures[0].log_tail) <= 4096 && strlen(s.failures[0].log_tail) > 4090);
	CU_ASSERT_STRING_EQUAL(s.failures[0].log_tail, text + 20000 - strlen(s.failures[0].log_tail));
	CU_ASSERT((s.failures[0].log_tail[0] & 0xc0) != 0x80);
	cJSON_Delete(json);
	ls_tstatus_release(&s);
}

static void test_serials(void)
{
	struct ls_tpods p = { .serial = 9, .base = 3, .launcher = 7, .size = 4 };

	CU_ASSERT(!ls_tpods_replace(&p, 2, 5, NULL) && !ls_tpods_replace(&p, 0, 6, NULL) && !ls_tpods_replace(&p, 2, -1, NULL));
	CU_ASSERT(p.n_replaced == 2 && p.replaced[0].index == 0);
	CU_ASSERT(ls_tpods_serial(&p, 0) == 6 && ls_tpods_serial(&p, 1) == 3 && ls_tpods_serial(&p, 2) == -1 && ls_tpods_serial(&p, 3) == 3 && ls_tpods_serial(&p, -1) == 7);
	free(p.replaced);
}

static const struct {
	const char *says, *json;
	ls_status want;
} reports[] = {
	{ "running", "{\"serial\":0,\"state\":\"Running\",\"exitCode\":-1,\"attempt\":3}", LS_OK },
	{ "an unknown state", "{\"serial\":0,\"state\":\"Dancing\"}", LS_USAGE },
	{ "no state", "{\"serial\":0}", LS_USAGE },
	{ "no serial: of which launcher?", "{\"state\":\"Running\"}", LS_USAGE },
	{ "a list", "[]", LS_USAGE },
};

static void test_reports(void)
{
	for (size_t i = 0; i < COUNT(reports); i++) {
		cJSON *json = cJSON_Parse(reports[i].json);
		struct ls_err err = LS_ERR_INIT;
		struct ls_report r;
		ls_status st = ls_report_read(json, &r, &err);

		check(st == reports[i].want, reports[i].says, err.text);
		if (!st) {
			CU_ASSERT_EQUAL(r.facts.attempt, 3);
			ls_report_release(&r);
		}
		cJSON_Delete(json);
	}
}

/* --- what is made ------------------------------------------------------------------------------------------------------------------------- */

enum made { WORKER_POD, LAUNCHER_POD, SECRET, SERVICE, POLICY, GROUP };

static const struct {
	const char *says;
	enum made what;
	const char *template_, *policy; /* of the Pods' spec; of the job, beside workers */
	const char *parts;              /* of its JSON, by " & "; ^: not in it */
} made[] = {
#include "operator_made.h"
};

static cJSON *make(enum made what, const struct ls_make *m)
{
	switch (what) {
	case WORKER_POD:
		return ls_make_worker(m, 1, 2, "n1");
	case LAUNCHER_POD:
		return ls_make_launcher(m, 3, "n1");
	case SECRET:
		return ls_make_secret(m, "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef");
	case SERVICE:
		return ls_make_service(m);
	case POLICY:
		return ls_make_policy(m);
	case GROUP:
		return ls_make_group(m);
	}
	return NULL;
}

static void test_made(void)
{
	for (size_t i = 0; i < COUNT(made); i++) {
		struct ls_tjob j;
		struct ls_make m = { .job = &j, .image = "runtime:1" };
		char spec[3000], parts[1500], *text, *at, *save;
		cJSON *object;

		snprintf(spec, sizeof(spec), "{\"workers\":{\"replicas\":2,\"template\":{%s}}%s}", made[i].template_, made[i].policy);
		read_job("digits", spec, "", &j);
		check(!j.bad, made[i].says, j.bad ? j.bad : "");
		j.status.pods = (struct ls_tpods){ .serial = 3, .base = 2, .launcher = 3, .size = 2 };
		object = make(made[i].what, &m);
		text = cJSON_PrintUnformatted(object);
		snprintf(parts, sizeof(parts), "%s", made[i].parts);
		for (at = strtok_r(parts, "&", &save); at; at = strtok_r(NULL, "&", &save)) {
			at += strspn(at, " ");
			while (*at && at[strlen(at) - 1] == ' ')
				at[strlen(at) - 1] = '\0';
			check(*at == '^' ? !strstr(text, at + 1) : strstr(text, at) != NULL, made[i].says, at);
		}
		if (getenv("VERBOSE"))
			printf("\n%s\n%s\n", made[i].says, text);
		cJSON_free(text);
		cJSON_Delete(object);
		ls_tjob_release(&j);
	}
}

int main(void)
{
	CU_pSuite suite;
	unsigned failures;

	CU_initialize_registry();
	suite = CU_add_suite("objects", NULL, NULL);
	CU_add_test(suite, "times", test_times);
	CU_add_test(suite, "specs", test_specs);
	CU_add_test(suite, "a spec that is too large", test_large_spec);
	CU_add_test(suite, "a job", test_job);
	CU_add_test(suite, "Pods", test_pods);
	CU_add_test(suite, "Pods that the scheduler refuses", test_unschedulable);
	CU_add_test(suite, "statuses", test_statuses);
	CU_add_test(suite, "long texts", test_long_texts);
	CU_add_test(suite, "serials", test_serials);
	CU_add_test(suite, "reports", test_reports);
	CU_add_test(suite, "what is made", test_made);
	CU_basic_set_mode(CU_BRM_NORMAL);
	CU_basic_run_tests();
	failures = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failures ? 1 : 0;
}
