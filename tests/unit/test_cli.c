/* test_cli.c -- what people see of a cluster: ages, tables, YAML, exit codes, states, the log's filter, a node's topology. */
#include "core/node.h"
#include "operator/cli.h"
#include "operator/node_topology.h"
#include "operator/objects.h"

#include <CUnit/Basic.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static void check(bool good, const char *says, const char *got)
{
	if (!good)
		printf("\n    failed: %s: %s", says, got);
	CU_ASSERT(good);
}

static const struct { long long seconds; const char *want; } ages[] = {
	{ -5, "0s" }, { 0, "0s" }, { 119, "119s" }, { 120, "2m" }, { 192, "3m12s" }, { 600, "10m" }, { 3599, "59m" }, { 10799, "179m" },
	{ 10800, "3h" }, { 11700, "3h15m" }, { 28800, "8h" }, { 172799, "47h" }, { 172800, "2d" }, { 180000, "2d2h" }, { 691200, "8d" },
	{ 63071999, "729d" }, { 63072000, "2y" },
};

static void test_ages(void)
{
	char age[16];
	size_t i;

	for (i = 0; i < COUNT(ages); i++) {
		ls_age(ages[i].seconds, age);
		check(!strcmp(age, ages[i].want), ages[i].want, age);
	}
	ls_age_of("2026-01-01T00:00:00Z", ls_time_read("2026-01-01T00:01:00Z"), age);
	check(!strcmp(age, "60s"), "a time is one minute old", age);
	ls_age_of("", 100, age);
	check(!strcmp(age, "-"), "no time has no age", age);
	ls_bytes(2199023255552, age);
	check(!strcmp(age, "2.0 TiB"), "bytes in their unit", age);
}

static void test_table(void)
{
	static const char *const cells[] = { "NAME", "STATE", "AGE", "digits", "", "5s", "a\x1b[2J\xc2\x9b", "Running", "1d" };
	const char *want = "NAME     STATE     AGE\ndigits   -         5s\na?[2J?   Running   1d\nlonger-than-all   Failed    2d\n";
	struct ls_table t = { .columns = 3 };
	struct ls_err err = LS_ERR_INIT;
	char *text = NULL;
	size_t len = 0, i;
	FILE *out = open_memstream(&text, &len);

	for (i = 0; i < COUNT(cells); i++)
		ls_table_add(&t, cells[i]);
	CU_ASSERT(ls_table_print(&t, out, &err) == LS_OK);
	ls_table_add(&t, "longer-than-all");
	ls_table_add(&t, "Failed");
	ls_table_add(&t, "2d");
	CU_ASSERT(ls_table_print(&t, out, &err) == LS_OK);
	fclose(out);
	check(!strcmp(text, want), "a table, and a row that came later", text);
	free(text);
	ls_table_release(&t);
}

static const struct { const char *json, *yaml; } yamls[] = {
	{ "{\"a\":1,\"b\":\"text\"}", "a: 1\nb: text\n" },
	{ "{\"a\":{\"b\":[1,2]}}", "a:\n  b:\n  - 1\n  - 2\n" },
	{ "{\"a\":[{\"b\":1,\"c\":{\"d\":true}}]}", "a:\n- b: 1\n  c:\n    d: true\n" },
	{ "{\"a\":[[1,2],[]],\"e\":{}}", "a:\n- - 1\n  - 2\n- []\ne: {}\n" },
	{ "{\"a\":\"yes\",\"b\":\"0.41\",\"c\":\"\",\"d\":\"x: y\",\"e\":\"1e3\"}", "a: \"yes\"\nb: \"0.41\"\nc: \"\"\nd: \"x: y\"\ne: \"1e3\"\n" },
	{ "{\"a\":\"two\\nlines\",\"n\":null}", "a: \"two\\nlines\"\n\"n\": null\n" },
};

static void test_yaml(void)
{
	size_t i;

	for (i = 0; i < COUNT(yamls); i++) {
		cJSON *json = cJSON_Parse(yamls[i].json);
		struct ls_node *back = NULL;
		struct ls_err err = LS_ERR_INIT;
		struct ls_str s = { 0 };
		cJSON *again = NULL;

		ls_str_add_yaml(&s, json);
		check(!strcmp(ls_str_text(&s), yamls[i].yaml), yamls[i].json, ls_str_text(&s));
		check(!ls_node_parse("yaml", ls_str_text(&s), s.len, &back, &err) && !ls_node_to_cjson(back, &again, &err), "it is YAML", err.text);
		ls_str_release(&s);
		if (again) {
			char *text = cJSON_PrintUnformatted(again);

			check(!strcmp(text, yamls[i].json), "and reads as it was", text);
			cJSON_free(text);
		}
		cJSON_Delete(again);
		ls_node_free(back);
		cJSON_Delete(json);
	}
}

#define FAILED(reason, failures) \
	"{\"status\":{\"state\":\"Failed\",\"conditions\":[{\"type\":\"Failed\",\"status\":\"True\",\"reason\":\"" reason "\"}]," \
	"\"failures\":[" failures "]}}"

static const struct { const char *says, *job; int pod_code, want; } codes[] = {
	{ "success", "{\"status\":{\"conditions\":[{\"type\":\"Succeeded\",\"status\":\"True\"}]}}", -1, 0 },
	{ "not over", "{\"status\":{\"conditions\":[{\"type\":\"Failed\",\"status\":\"False\"}]}}", -1, 0 },
	{ "the program's own code", FAILED("ExitCode", "{\"exitCode\":3}"), -1, 3 },
	{ "the newest failure's", FAILED("ExitCode", "{\"exitCode\":3},{\"exitCode\":7}"), -1, 7 },
	{ "a signal", FAILED("Signal", "{\"signal\":11,\"exitCode\":0}"), -1, 139 },
	{ "the launcher knows better", FAILED("Signal", "{\"signal\":11}"), 75, 75 },
	{ "restarts used up", FAILED("BackoffLimitExceeded", "{\"signal\":9}"), -1, 75 },
	{ "the deadline", FAILED("DeadlineExceeded", "{\"signal\":9}"), 143, 124 },
	{ "a wrong manifest", FAILED("InvalidSpec", ""), -1, 2 },
	{ "no cause known", FAILED("NoReport", ""), -1, 1 },
	{ "a launcher that ended well, of a failed job", FAILED("NoReport", ""), 0, 1 },
};

static void test_codes(void)
{
	char got[16];
	size_t i;

	for (i = 0; i < COUNT(codes); i++) {
		cJSON *job = cJSON_Parse(codes[i].job);

		snprintf(got, sizeof(got), "%d", ls_exit_code_of(job, codes[i].pod_code));
		check(atoi(got) == codes[i].want, codes[i].says, got);
		cJSON_Delete(job);
	}
}

static const struct { const char *says, *pod, *state; int code; } containers[] = {
	{ "no status yet", "{}", "waiting", -1 },
	{ "it runs", "{\"containerStatuses\":[{\"name\":\"side\"},{\"name\":\"c\",\"state\":{\"running\":{}}}]}", "running", -1 },
	{ "it is over", "{\"containerStatuses\":[{\"name\":\"c\",\"state\":{\"terminated\":{\"exitCode\":3}}}]}", "terminated", 3 },
	{ "another one's end is not its", "{\"containerStatuses\":[{\"name\":\"side\",\"state\":{\"terminated\":{\"exitCode\":3}}}]}", "waiting", -1 },
	{ "evicted before it began", "{\"phase\":\"Failed\",\"reason\":\"Evicted\"}", "terminated", -1 },
};

static void test_containers(void)
{
	size_t i;

	for (i = 0; i < COUNT(containers); i++) {
		struct ls_str text = { 0 };
		const char *state;
		cJSON *pod;
		int code;

		ls_str_addf(&text, "{\"spec\":{\"containers\":[{\"name\":\"c\"},{\"name\":\"side\"}]},\"status\":%s}", containers[i].pod);
		pod = cJSON_Parse(ls_str_text(&text));
		state = ls_container_state(pod, &code);
		check(!strcmp(state, containers[i].state) && code == containers[i].code, containers[i].says, state);
		cJSON_Delete(pod);
		ls_str_release(&text);
	}
}

static void test_missing(void)
{
	static const char *const names[] = { "digits", "other", NULL }, *const none[] = { NULL };
	struct ls_err err = LS_ERR_INIT;

	CU_ASSERT(ls_fail_no_job(&err, "digit", "default", names) == LS_NOT_FOUND);
	check(!strcmp(err.text, "no TrainingJob 'digit' in namespace default; did you mean digits? there are: digits, other"),
		"a slip of the hand", err.text);
	ls_fail_no_job(&err, "x", "team", none);
	check(strstr(err.text, "no TrainingJob 'x' in namespace team; there are none") != NULL, "an empty namespace", err.text);
}

/* --- logs ----------------------------------------------------------------------------------------------------------------- */

#define T(n) "2026-11-24T12:00:0" #n ".000000000Z "

static const char log_text[] =
	T(1) "lockstep: digits: attempt 0, 2 ranks on a (1), b (1)\n"
	T(2) "[0] hello from 0\n"
	T(2) "[1] hello from 1\n"
	T(3) "lockstep: failed: rank 1 on host b was killed by signal 9 (SIGKILL)\n"
	T(4) "lockstep: digits: attempt 1, 2 ranks on a (1), b (1)\n"
	T(5) "[0] again 0\n"
	T(5) "[10] again 10\n"
	T(6) "[1] the end";

static const struct { const char *says; int rank, attempt; const char *want; } filters[] = {
	{ "one rank", 1, -1, "[1] hello from 1\n[1] the end\n" },
	{ "rank 10 is not rank 1", 10, -1, "[10] again 10\n" },
	{ "a rank that is not there", 7, -1, "" },
	{ "one attempt", -1, 1, "lockstep: digits: attempt 1, 2 ranks on a (1), b (1)\n[0] again 0\n[10] again 10\n[1] the end\n" },
	{ "one rank of one attempt", 0, 0, "[0] hello from 0\n" },
};

/* Fed in pieces of `piece` bytes; after `broken` bytes the connection breaks and the server repeats from the last line's second. */
static char *print_log(int rank, int attempt, size_t piece, size_t broken)
{
	size_t len = strlen(log_text), at, n, size = 0;
	char *text = NULL;
	FILE *out = open_memstream(&text, &size);
	struct ls_logtail t = { .rank = rank, .attempt = attempt, .current = -1, .out = out };

	ls_logtail_begin(&t);
	for (at = 0; at < broken && at < len; at += n) {
		n = broken - at < piece ? broken - at : piece;
		ls_logtail_feed(&t, log_text + at, n);
	}
	if (broken) {
		const char *from = t.last[0] ? strstr(log_text, t.last) : log_text;

		ls_logtail_begin(&t);
		at = (size_t)(from - log_text);
	}
	for (; at < len; at += n) {
		n = len - at < piece ? len - at : piece;
		ls_logtail_feed(&t, log_text + at, n);
	}
	ls_logtail_end(&t);
	fclose(out);
	return text;
}

static void test_log_filters(void)
{
	size_t i;

	for (i = 0; i < COUNT(filters); i++) {
		char *text = print_log(filters[i].rank, filters[i].attempt, 1000, 0);

		check(!strcmp(text, filters[i].want), filters[i].says, text);
		free(text);
	}
}

static void test_log_pieces(void)
{
	char *whole = print_log(-1, -1, 1000, 0), *text;
	size_t piece, broken;

	check(strstr(whole, "[1] the end\n") && !strstr(whole, "2026"), "the times go, the last line ends", whole);
	for (piece = 1; piece < 40; piece += 3) {
		for (broken = 0; broken < strlen(log_text); broken++) {
			text = print_log(-1, -1, piece, broken);
			if (strcmp(text, whole))
				check(false, "a broken connection changes nothing", text);
			free(text);
		}
	}
	free(whole);
}

static void test_log_foreign(void)
{
	static const char words[] = "unable to retrieve container logs for containerd://0123\n";
	size_t size = 0;
	char *text = NULL;
	FILE *out = open_memstream(&text, &size);
	struct ls_logtail t = { .rank = -1, .attempt = -1, .current = -1, .again = -1, .out = out };

	ls_logtail_feed(&t, words, strlen(words));
	ls_logtail_end(&t);
	fclose(out);
	check(!strcmp(text, words), "the kubelet's own words stay whole", text);
	free(text);
}

/* --- nodes ---------------------------------------------------------------------------------------------------------------- */

static const struct { const char *file; int sockets, cores, numa, gpus, rdma; const char *gpu0; } nodes[] = {
	{ "dgx-h100", 2, 112, 2, 8, 12, "0000:1b:00.0" },
	{ "dgx-a100", 2, 128, 8, 8, 12, "0000:07:00.0" },
	{ "laptop", 1, 4, 1, 0, 0, "" },
	{ "server", 2, 64, 2, 0, 1, "" },
	{ "snc4-4gpu", 1, 48, 4, 4, 0, "0000:17:00.0" },
	{ "recorded-vm", 1, 2, 1, 0, 0, "" },
	{ "container", 2, 5, 2, 4, 1, "0000:17:00.0" },
	{ "far-gpu", 2, 16, 2, 2, 0, "0000:17:00.0" },
};

static void test_nodes(void)
{
	size_t i;

	for (i = 0; i < COUNT(nodes); i++) {
		char path[128], *text;
		struct ls_topo *topo = NULL;
		struct ls_err err = LS_ERR_INIT;
		cJSON *spec, *again, *object;
		const cJSON *nic;
		int rdma = 0;

		snprintf(path, sizeof(path), "tests/data/topo/%s.xml", nodes[i].file);
		if (ls_topo_open(path, true, &topo, &err)) {
			check(false, path, err.text);
			continue;
		}
		spec = ls_node_spec(topo);
		again = ls_node_spec(topo);
		cJSON_ArrayForEach(nic, ls_at(spec, "nics"))
			rdma += cJSON_IsTrue(ls_at(nic, "rdma"));
		text = cJSON_PrintUnformatted(spec);
		check(ls_number_at(spec, "sockets", -1) == nodes[i].sockets && ls_number_at(spec, "cores", -1) == nodes[i].cores &&
			cJSON_GetArraySize(ls_at(spec, "numa")) == nodes[i].numa && cJSON_GetArraySize(ls_at(spec, "gpus")) == nodes[i].gpus &&
			rdma == nodes[i].rdma, nodes[i].file, text);
		check(!strcmp(ls_text_at(cJSON_GetArrayItem(ls_at(spec, "gpus"), 0), "address"), nodes[i].gpu0), nodes[i].file, text);
		check(!strcmp(ls_text_at(spec, "hash"), ls_text_at(again, "hash")) && *ls_text_at(spec, "hash"), "one hash", text);
		cJSON_free(text);
		object = ls_node_object("n1", "0c5bfc39-5f2b-4d3d-9d43-54b0a3a5a1f1", spec);
		text = cJSON_PrintUnformatted(object);
		check(strlen(text) < 2048, "less than 2 KiB", text);
		check(strstr(text, "\"ownerReferences\":[{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"name\":\"n1\",\"uid\":\"0c5b") != NULL,
			"it goes with its node", text);
		cJSON_free(text);
		cJSON_Delete(object);
		cJSON_Delete(again);
		ls_topo_close(topo);
	}
}

/* This machine whole has at least what this process may use. */
static void test_whole(void)
{
	struct ls_topo *ours = NULL, *whole = NULL;
	struct ls_err err = LS_ERR_INIT;

	CU_ASSERT_FATAL(ls_topo_open(NULL, true, &ours, &err) == LS_OK);
	CU_ASSERT_FATAL(ls_topo_open_whole(&whole, &err) == LS_OK);
	CU_ASSERT(ls_topo_pus(whole) >= ls_topo_pus(ours));
	ls_topo_close(ours);
	ls_topo_close(whole);
}

int main(void)
{
	CU_pSuite suite;
	unsigned failed;

	if (CU_initialize_registry() != CUE_SUCCESS)
		return 1;
	suite = CU_add_suite("cli", NULL, NULL);
	CU_add_test(suite, "ages", test_ages);
	CU_add_test(suite, "tables", test_table);
	CU_add_test(suite, "YAML", test_yaml);
	CU_add_test(suite, "exit codes", test_codes);
	CU_add_test(suite, "states of containers", test_containers);
	CU_add_test(suite, "jobs that are not there", test_missing);
	CU_add_test(suite, "filters of logs", test_log_filters);
	CU_add_test(suite, "logs in pieces and after a break", test_log_pieces);
	CU_add_test(suite, "words of the kubelet", test_log_foreign);
	CU_add_test(suite, "topologies of nodes", test_nodes);
	CU_add_test(suite, "this machine whole", test_whole);
	CU_basic_set_mode(CU_BRM_VERBOSE);
	CU_basic_run_tests();
	failed = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failed != 0;
}
