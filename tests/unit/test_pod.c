/* test_pod.c -- what runs inside a job's Pods, where it judges: commands that dial hands on and the agent starts; orders; reports. */
#include "launcher/pod.h"
#include "launcher/pod_logs.h"
#include "launcher/pod_report.h"
#include "launcher/workers.h"
#include "core/io.h"
#include "core/store.h"

#include <CUnit/Basic.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void join(const struct ls_strv *words, struct ls_str *ret)
{
	size_t i;

	for (i = 0; i < words->n; i++)
		ls_str_addf(ret, "%s%s", i ? "|" : "", words->v[i]);
}

/* NULL: refused. */
static void test_commands(void)
{
	static const struct {
		const char *says, *text, *want;
	} rows[] = {
		{ "Open MPI 4.1 with a prefix",
			"          PATH=/m/bin:$PATH ; export PATH ; LD_LIBRARY_PATH=/m/lib:${LD_LIBRARY_PATH:-} ; export LD_LIBRARY_PATH ;   /m/bin/orted "
			"--daemonize -mca ess \"env\" -mca ess_base_jobid \"18\" -mca orte_node_regex \"vm,w-[1:0-1]@0(3)\" -mca orte_hnp_uri "
			"\"18.0;tcp://10.0.0.1:3787\" -mca pmix \"^s1,s2\"",
			"orted|--daemonize|-mca|ess|env|-mca|ess_base_jobid|18|-mca|orte_node_regex|vm,w-[1:0-1]@0(3)|-mca|orte_hnp_uri|"
			"18.0;tcp://10.0.0.1:3787|-mca|pmix|^s1,s2" },
		{ "Open MPI 4.1 of the system", "orted -mca ess \"env\" -mca plm_rsh_agent \"/lockstep/bin/lockstep dial\"",
			"orted|-mca|ess|env|-mca|plm_rsh_agent|/lockstep/bin/lockstep dial" },
		{ "Open MPI 5",
			"PRTE_PREFIX=/m;export PRTE_PREFIX;LD_LIBRARY_PATH=/m/lib:$LD_LIBRARY_PATH;export LD_LIBRARY_PATH;/m/bin/prted --prtemca "
			"prte_hnp_uri \"prterun-vm-87@0.0;tcp://127.0.0.1:50497:8\"",
			"prted|--prtemca|prte_hnp_uri|prterun-vm-87@0.0;tcp://127.0.0.1:50497:8" },
		{ "the probe", "/lockstep/bin/lockstep probe", "probe" },
		{ "the probe, quoted as probe.c does", "'/a b/lockstep' probe", "probe" },
		{ "a path goes, the name stays: the agent judges it", "/bin/sh -c id", "sh|-c|id" },
		{ "two programs", "orted ; rm -rf x", NULL },
		{ "a pipe", "orted | sh", NULL },
		{ "in the background", "orted & sh", NULL },
		{ "a substitution", "orted $(id)", NULL },
		{ "one in double quotes", "orted \"`id`\"", NULL },
		{ "the same letters in single quotes are letters", "orted '$(id)'", "orted|$(id)" },
		{ "a redirection", "orted >/etc/passwd", NULL },
		{ "a pattern", "orted *", NULL },
		{ "variables alone", "PATH=/m; export PATH", NULL },
		{ "a variable before the program", "LD_PRELOAD=/x.so orted", NULL },
		{ "an open quote", "orted \"env", NULL },
		{ "nothing", "", NULL },
		{ "an end without a program", "PATH=/m ;", NULL },
	};
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct ls_strv words = { 0 };
		struct ls_str got = { 0 };
		ls_status st = ls_pod_command(rows[i].text, &words, NULL);

		join(&words, &got);
		if (st != (rows[i].want ? LS_OK : LS_USAGE) || (rows[i].want && strcmp(ls_str_text(&got), rows[i].want))) {
			printf("%s: status %d, %s\n", rows[i].says, st, ls_str_text(&got));
			CU_FAIL("command");
		}
		ls_strv_release(&words);
		ls_str_release(&got);
	}
}

static void test_allowed(void)
{
	static const struct {
		int major;
		const char *words, *want;
	} rows[] = {
		{ 4, "probe", "/l/bin/lockstep|probe" },
		{ 4, "probe --x", NULL },
		{ 4, "orted -mca ess env", "/m/bin/orted|-mca|ess|env" },
		{ 5, "prted --x", "/m/bin/prted|--x" },
		{ 4, "prted", NULL },
		{ 5, "orted", NULL },
		{ 4, "/m/bin/orted", NULL },
		{ 4, "../orted", NULL },
		{ 4, "sh -c id", NULL },
		{ 4, "lockstep rank", NULL },
		{ 4, "", NULL },
	};
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct ls_engine engine = { .path = "/m/bin/mpirun", .version = "x", .major = rows[i].major };
		struct ls_strv words = { 0 }, argv = { 0 };
		struct ls_str got = { 0 };
		char *copy = strdup(rows[i].words), *save = NULL, *word;
		ls_status st;

		for (word = strtok_r(copy, " ", &save); word; word = strtok_r(NULL, " ", &save))
			ls_strv_add(&words, word);
		st = ls_pod_argv(&words, "/l/bin/lockstep", &engine, &argv, NULL);
		join(&argv, &got);
		if (st != (rows[i].want ? LS_OK : LS_USAGE) || strcmp(ls_str_text(&got), rows[i].want ? rows[i].want : "")) {
			printf("'%s': status %d, %s\n", rows[i].words, st, ls_str_text(&got));
			CU_FAIL("allowed");
		}
		free(copy);
		ls_strv_release(&words);
		ls_strv_release(&argv);
		ls_str_release(&got);
	}
}

static void test_orders(void)
{
	static const struct {
		const char *text;
		ls_status want;
		int n;
		bool complete;
	} rows[] = {
		{ "{\"workers\": [{\"name\": \"w-0\", \"address\": \"10.0.0.1\"}, {\"name\": \"w-1\"}], \"complete\": true}", LS_OK, 2, true },
		{ "{\"workers\": [{\"name\": \"w-0\"}], \"complete\": false, \"waiting\": \"for a node\"}", LS_OK, 1, false },
		{ "{\"workers\": [], \"complete\": true}", LS_OK, 0, false },
		{ "{\"workers\": [{\"name\": \"-oProxyCommand=x\"}], \"complete\": true}", LS_USAGE, 0, false },
		{ "{\"workers\": [{}], \"complete\": true}", LS_USAGE, 0, false },
		{ "{\"complete\": true}", LS_USAGE, 0, false },
		{ "{\"workers\": [{\"name\": \"w-0\"}, {\"name\": \"w-1\"}, {\"name\": \"w-0\"}], \"complete\": true}", LS_USAGE, 0, false },
		{ "{\"workers\": [{\"name\": \"w-0\", \"x\": [{}]}], \"complete\": true, \"y\": {}}", LS_OK, 1, true },
		{ "{\"workers\": [7], \"complete\": true}", LS_USAGE, 0, false },
		{ "{\"workers\": {\"name\": \"w-0\"}, \"complete\": true}", LS_USAGE, 0, false },
		{ "not JSON", LS_USAGE, 0, false },
	};
	char path[] = "/tmp/lockstep-order-XXXXXX", address[64];
	int fd = mkstemp(path), stop = 1;
	struct ls_workers got = { 0 };
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct ls_workers w = { 0 };

		CU_ASSERT_EQUAL(ls_file_publish(path, rows[i].text, strlen(rows[i].text), false, NULL), LS_OK);
		CU_ASSERT_EQUAL(ls_workers_read(path, &w, NULL), rows[i].want);
		CU_ASSERT_EQUAL(w.hosts.n, rows[i].n);
		CU_ASSERT_EQUAL(w.complete, rows[i].complete);
		ls_workers_release(&w);
		if (i == 0) {
			CU_ASSERT_EQUAL(ls_workers_address(path, "w-0", address, NULL), LS_OK);
			CU_ASSERT_STRING_EQUAL(address, "10.0.0.1");
			CU_ASSERT_EQUAL(ls_workers_address(path, "w-1", address, NULL), LS_NOT_FOUND);
			CU_ASSERT_EQUAL(ls_workers_address(path, "w-2", address, NULL), LS_NOT_FOUND);
			CU_ASSERT_EQUAL(ls_workers_wait(path, NULL, NULL, 0, &got, NULL), LS_OK);
			CU_ASSERT_EQUAL(got.hosts.n, 2);
			CU_ASSERT_FALSE(got.hosts.n == 2 && got.hosts.v[0].local);
			ls_workers_release(&got);
		}
		if (i == 1) {
			CU_ASSERT_EQUAL(ls_workers_wait(path, NULL, &stop, 0, &got, NULL), LS_AGAIN);
			CU_ASSERT_EQUAL(ls_workers_wait(path, NULL, NULL, ls_clock_ms() + 50, &got, NULL), LS_AGAIN);
		}
	}
	close(fd);
	unlink(path);
	CU_ASSERT_EQUAL(ls_workers_wait(path, NULL, &stop, 0, &got, NULL), LS_AGAIN); /* none has come yet */
}

#define LIVE(attempt, actual) "{\"attempt\": " attempt ", \"worldSize\": {\"requested\": 4, \"actual\": " actual "}, \"progress\": {\"step\": 7}}"
#define FAILED "{\"attempt\": 2, \"endTime\": \"T\", \"failure\": {\"rank\": 1, \"host\": \"w-1\", \"exitCode\": 0, \"signal\": 9, \"reason\": \"Signal\", " \
	"\"message\": \"rank 1 was killed\", \"logTail\": [\"a\", \"b\"]}}"

static void test_reports(void)
{
	static const struct {
		const char *says;
		bool ordered, complete;
		const char *job, *live;
		int code;
		const char *state, *message;
	} rows[] = {
		{ "nobody has come", false, false, NULL, NULL, -1, "Waiting", "no order of the operator has come yet" },
		{ "the first order is not complete", true, false, NULL, NULL, -1, "Waiting", "needs 8 GPUs" },
		{ "it is: the run plans", true, true, NULL, NULL, -1, "Starting", "" },
		{ "ranks are coming", true, true, "{\"state\": \"Running\", \"attempts\": [{\"attempt\": 3}]}", LIVE("3", "2"), -1, "Starting", "" },
		{ "all are in", true, true, "{\"state\": \"Running\", \"attempts\": [{\"attempt\": 3}]}", LIVE("3", "4"), -1, "Running", "" },
		{ "what is live is of the attempt before", true, true, "{\"state\": \"Running\", \"attempts\": [{\"attempt\": 3}]}", LIVE("2", "4"), -1,
			"Starting", "" },
		{ "a worker is away, and nobody has noticed", true, false, "{\"state\": \"Running\", \"attempts\": [{\"attempt\": 3}]}", LIVE("3", "4"), -1,
			"Running", "" },
		{ "somebody has", true, false, "{\"state\": \"Restarting\", \"attempts\": [" FAILED "]}", LIVE("2", "4"), -1, "Waiting", "needs 8 GPUs" },
		{ "it is back", true, true, "{\"state\": \"Restarting\", \"attempts\": [" FAILED "]}", LIVE("2", "4"), -1, "Restarting", "rank 1 was killed" },
		{ "done, but for its last files", true, true, "{\"state\": \"Succeeded\", \"attempts\": [{\"attempt\": 3}]}", LIVE("3", "4"), -1, "Running", "" },
		{ "done", true, true, "{\"state\": \"Succeeded\", \"attempts\": [{\"attempt\": 3}]}", LIVE("3", "4"), 0, "Succeeded", "" },
		{ "0 without a word is no success", true, true, NULL, NULL, 0, "Failed", "" },
		{ "a word without 0 is none, either", true, true, "{\"state\": \"Succeeded\"}", NULL, 1, "Failed", "bad manifest" },
		{ "failed", true, true, "{\"state\": \"Failed\", \"message\": \"rank 0 exited with code 3\"}", NULL, 3, "Failed", "rank 0 exited with code 3" },
		{ "a manifest that is refused leaves its last line", true, true, NULL, NULL, 2, "Failed", "bad manifest" },
		{ "stopped", true, true, "{\"state\": \"Stopped\"}", NULL, 143, "Stopped", "bad manifest" },
		{ "stopped before anything began", false, false, NULL, NULL, 143, "Stopped", "bad manifest" },
		{ "killed in the middle", true, true, "{\"state\": \"Running\"}", NULL, 137, "Failed", "bad manifest" },
	};
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		cJSON *job = rows[i].job ? cJSON_Parse(rows[i].job) : NULL, *live = rows[i].live ? cJSON_Parse(rows[i].live) : NULL, *r;
		struct ls_pod_facts f = { .serial = 5, .ordered = rows[i].ordered, .complete = rows[i].complete, .waiting = "needs 8 GPUs", .job = job,
			.live = live, .exit_code = rows[i].code, .last_words = "bad manifest" };
		const char *state, *message;

		r = ls_pod_report(&f);
		state = cJSON_GetStringValue(cJSON_GetObjectItem(r, "state"));
		message = cJSON_GetStringValue(cJSON_GetObjectItem(r, "message"));
		if (!state || !message || strcmp(state, rows[i].state) || strcmp(message, rows[i].message)) {
			printf("%s: %s, '%s'\n", rows[i].says, state, message);
			CU_FAIL("report");
		}
		cJSON_Delete(r);
		cJSON_Delete(job);
		cJSON_Delete(live);
	}
}

/* Ten failures with long tails and messages: short enough, and the newest is there. */
static void test_final(void)
{
	cJSON *job = cJSON_CreateObject(), *attempts = cJSON_AddArrayToObject(job, "attempts"), *failures, *newest;
	struct ls_pod_facts f = { .ordered = true, .complete = true, .waiting = "", .job = job, .exit_code = 75, .last_words = "" };
	char line[900], *text;
	int i, k;

	memset(line, 'x', sizeof(line) - 1);
	line[sizeof(line) - 1] = '\0';
	cJSON_AddStringToObject(job, "state", "Failed");
	cJSON_AddStringToObject(job, "message", line);
	for (i = 0; i < 12; i++) {
		cJSON *a = cJSON_CreateObject(), *fail = cJSON_AddObjectToObject(a, "failure"), *tail;

		cJSON_AddNumberToObject(a, "attempt", i);
		cJSON_AddStringToObject(fail, "host", "w-1");
		cJSON_AddStringToObject(fail, "message", line);
		tail = cJSON_AddArrayToObject(fail, "logTail");
		for (k = 0; k < 20; k++)
			cJSON_AddItemToArray(tail, cJSON_CreateString(line));
		cJSON_AddItemToArray(attempts, a);
	}
	text = ls_pod_report_final(ls_pod_report(&f));
	CU_ASSERT_PTR_NOT_NULL_FATAL(text);
	CU_ASSERT_TRUE(strlen(text) <= LS_POD_FINAL_MAX);
	cJSON_Delete(job);
	job = cJSON_Parse(text);
	failures = cJSON_GetObjectItem(job, "failures");
	newest = cJSON_GetArrayItem(failures, cJSON_GetArraySize(failures) - 1);
	CU_ASSERT_EQUAL(cJSON_GetObjectItem(newest, "attempt")->valueint, 11);
	CU_ASSERT_STRING_EQUAL(cJSON_GetStringValue(cJSON_GetObjectItem(newest, "worker")), "w-1");
	CU_ASSERT_STRING_EQUAL(cJSON_GetStringValue(cJSON_GetObjectItem(job, "state")), "Failed");
	cJSON_Delete(job);
	cJSON_free(text);
}

static void test_live(void)
{
	static const struct ls_saved saved[] = { { .step = 40, .uri = "s3://b/40", .time = "T" }, { .step = 80, .uri = "s3://b/80", .time = "U" } };
	struct ls_facts f = { .step = 93, .total = 200, .loss = 0.41234567, .rate = 5210.4, .eta_s = 20.2, .saved = saved, .n_saved = 2 };
	cJSON *json = ls_pod_live(3, 8, 7, &f);
	char *text = cJSON_PrintUnformatted(json);

	CU_ASSERT_STRING_EQUAL(text, "{\"progress\":{\"step\":93,\"totalSteps\":200,\"loss\":\"0.4123\",\"samplesPerSecond\":\"5210\",\"etaSeconds\":21},"
		"\"attempt\":3,\"worldSize\":{\"requested\":8,\"actual\":7},\"lastCheckpoint\":{\"step\":80,\"uri\":\"s3://b/80\",\"time\":\"U\"}}");
	cJSON_free(text);
	cJSON_Delete(json);
	f = (struct ls_facts){ .loss = NAN, .eta_s = -1 };
	json = ls_pod_live(0, 2, 0, &f);
	text = cJSON_PrintUnformatted(json);
	CU_ASSERT_STRING_EQUAL(text, "{\"progress\":{\"step\":0,\"totalSteps\":0},\"attempt\":0,\"worldSize\":{\"requested\":2,\"actual\":0}}");
	cJSON_free(text);
	cJSON_Delete(json);
}

/* Of a file that is too long the last part goes, from the beginning of a line, and says so; one that is not there is fine. */
static void test_logs(void)
{
	static const char last[] = "the line that is cut\nthe last line\n";
	char dir[] = "/tmp/lockstep-logs-XXXXXX", path[64], uri[64], head[64];
	struct ls_store *s = NULL;
	struct ls_objects all = { 0 };
	int fd;

	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(dir));
	snprintf(uri, sizeof(uri), "file://%s/none", dir);
	CU_ASSERT_FALSE(ls_pod_logs_place(uri));
	snprintf(uri, sizeof(uri), "file://%s", dir);
	CU_ASSERT_TRUE(ls_pod_logs_place(uri));
	CU_ASSERT_TRUE(ls_pod_logs_place("s3://b/p"));
	CU_ASSERT_EQUAL_FATAL(ls_store_open(uri, &s, NULL), LS_OK);
	snprintf(path, sizeof(path), "%s/long", dir);
	fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	CU_ASSERT_EQUAL(pwrite(fd, last, strlen(last), LS_POD_LOG_MAX), (ssize_t)strlen(last));
	ls_fd_close(&fd);
	CU_ASSERT_EQUAL(ls_pod_logs_put(s, dir, "long", "logs/long", NULL), LS_OK);
	CU_ASSERT_EQUAL(ls_pod_logs_put(s, dir, "none", "logs/none", NULL), LS_OK);
	snprintf(path, sizeof(path), "%s/empty", dir);
	CU_ASSERT_EQUAL(ls_file_publish(path, "", 0, false, NULL), LS_OK);
	CU_ASSERT_EQUAL(ls_pod_logs_put(s, dir, "empty", "logs/empty", NULL), LS_OK);
	CU_ASSERT_EQUAL(ls_store_list(s, "logs/", &all, NULL), LS_OK);
	CU_ASSERT_EQUAL_FATAL(all.n, 2);
	CU_ASSERT_EQUAL(all.v[0].bytes, 0);
	CU_ASSERT_EQUAL_FATAL(all.v[1].bytes, strlen("lockstep: the last 14 bytes of 67108899\nthe last line\n"));
	CU_ASSERT_EQUAL(ls_store_get(s, "logs/long", 0, head, all.v[1].bytes, NULL), LS_OK);
	CU_ASSERT_NSTRING_EQUAL(head, "lockstep: the last 14 bytes of 67108899\nthe last line\n", all.v[1].bytes);
	ls_objects_release(&all);
	ls_store_close(s);
	ls_remove_tree(dir, NULL);
}

int main(void)
{
	unsigned failures;
	CU_pSuite suite;

	if (CU_initialize_registry() != CUE_SUCCESS)
		return 1;
	suite = CU_add_suite("pod", NULL, NULL);
	CU_add_test(suite, "commands", test_commands);
	CU_add_test(suite, "what an agent starts", test_allowed);
	CU_add_test(suite, "orders", test_orders);
	CU_add_test(suite, "reports", test_reports);
	CU_add_test(suite, "termination messages", test_final);
	CU_add_test(suite, "what is live", test_live);
	CU_add_test(suite, "logs that are kept", test_logs);
	CU_basic_set_mode(CU_BRM_VERBOSE);
	CU_basic_run_tests();
	failures = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failures != 0;
}
