/* test_job.c -- manifests: what is accepted and becomes what, what is refused with which words, and the reference page. */
#include "core/io.h"
#include "core/job.h"

#include <CUnit/Basic.h>
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MANIFESTS "tests/data/manifests"

/* A row that fails names itself. */
static void check(const char *says, bool ok, const char *what)
{
	char text[1600];

	snprintf(text, sizeof(text), "%s: %s", says, what);
	CU_assertImplementation(ok, 0, text, __FILE__, "", CU_FALSE);
}

static ls_status build(const char *text, size_t len, struct ls_job *ret, struct ls_err *err)
{
	struct ls_node *root = NULL;
	ls_status st = ls_node_parse("j.yaml", text, len, &root, err);

	if (!st)
		st = ls_job_from_node("j.yaml", root, ret, err);
	ls_node_free(root);
	return st;
}

/* --- refused: a minimal manifest with one assignment -------------------------------------------------------------- */

#define C "spec.workers.template.spec.containers"

static const struct {
	const char *says, *set, *want;
} refused[] = {
	{ "another version",          "apiVersion=lockstep.dev/v1", "apiVersion: is a string \"lockstep.dev/v1\"; write lockstep.dev/v1alpha1" },
	{ "another kind",             "kind=PyTorchJob",          "kind: is a string \"PyTorchJob\"; write TrainingJob" },
	{ "no version",               "apiVersion=",              "apiVersion: missing; write apiVersion: lockstep.dev/v1alpha1" },
	{ "no name",                  "metadata.name=",           "metadata.name: missing; lockstep explain metadata.name tells" },
	{ "capitals in the name",     "metadata.name=Digits",     "metadata.name: \"Digits\" is not a DNS label; use" },
	{ "a dash at the end",        "metadata.name=a-",         "is not a DNS label" },
	{ "64 characters", "metadata.name=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "is not a DNS label" },
	{ "a number as the name",     "metadata.name=7",          "is an integer 7, where text is wanted; put it in quotes: \"7\"" },
	{ "a label that is a number", "metadata.labels.a=1",      "metadata.labels.a: is an integer 1, where text is wanted" },
	{ "no spec",                  "spec=",                    "spec: missing; lockstep explain spec tells" },
	{ "a list as spec",           "spec=[1]",                 "spec: want a map of fields, not a list" },
	{ "a misspelt field",         "spec.workers.replica=4",   "spec.workers.replica: unknown field; did you mean replicas?" },
	{ "another spelling",         "spec.workers.min_replicas=1", "did you mean minReplicas?" },
	{ "the wrong place",          "spec.backoffLimit=4",      "spec.backoffLimit: unknown field; did you mean spec.runPolicy.backoffLimit?" },
	{ "nothing like it",          "spec.xylophone=4",         "unknown field; known here: workers, placement, checkpoint, runPolicy, managedBy" },
	{ "a misspelt PodSpec field", "spec.workers.template.spec.tolerationz=[]", "did you mean tolerations?" },
	{ "a misspelt Container field", C ".0.imagePullPolice=x", "did you mean imagePullPolicy?" },
	{ "no workers",               "spec.workers.replicas=0",  "0 is too small; the least is 1" },
	{ "far too many",             "spec.workers.replicas=100000", "100000 is too large; the most is 10000" },
	{ "beyond 64 bits",           "spec.workers.replicas=99999999999999999999", "write a whole number from 1 to 10000" },
	{ "a half worker",            "spec.workers.replicas=1.5", "is a number 1.5; write a whole number" },
	{ "a quoted number",          "spec.workers.replicas=\"4\"", "is a string \"4\"; write the number without quotes" },
	{ "a number with leading 0",  "spec.workers.replicas=010", "010 is octal for some readers and decimal for others" },
	{ "a word for a number",      "spec.workers.replicas=four", "is a string \"four\"; write a whole number from 1 to 10000" },
	{ "more at least than at most", "spec.workers.minReplicas=2", "2 is more than replicas (1); lower it or raise replicas" },
	{ "ranks by a word",          "spec.workers.ranksPerWorker=all", "write auto, or a number without quotes" },
	{ "no containers",            C "=[]",                    "containers: has 0 entries; write 1 to 64" },
	{ "a map as containers",      C "={}",                    "want a list, not a map; begin each entry with '- '" },
	{ "a word as container",      C "=[a]",                   "containers[0]: want a map, not a string" },
	{ "a command in one word",    C ".0.command=python x.py", "want a list, not a string; write [\"first\", \"second\"]" },
	{ "a number as argument",     C ".0.args=[--lr, 0.1]",    "args[1]: is a number 0.1, where text is wanted; put it in quotes: \"0.1\"" },
	{ "a boolean as value",       C ".0.env=[{name: A, value: true}]", "env[0].value: is a boolean true, where text is wanted" },
	{ "a variable without name",  C ".0.env=[{value: x}]",    "env[0].name: missing" },
	{ "a variable named a=b",     C ".0.env=[{name: a=b}]",   "is no name of an environment variable" },
	{ "value and valueFrom",      C ".0.env=[{name: A, value: x, valueFrom: {}}]", "remove one of the two" },
	{ "half a GPU",               C ".0.resources={limits: {nvidia.com/gpu: 500m}}", "write a whole number from 0 to 1024" },
	{ "no binding of that name",  "spec.placement.bind=gpus", "is a string \"gpus\"; write one of auto, gpu, numa, core, none (did you mean gpu?)" },
	{ "another scheme",           "spec.checkpoint.uri=http://x/y", "is neither file:// nor s3://" },
	{ "a relative file",          "spec.checkpoint.uri=file://x/y", "needs an absolute path" },
	{ "no bucket",                "spec.checkpoint.uri=s3:///x", "needs a bucket" },
	{ "steps and seconds",        "spec.checkpoint.every={steps: 1, seconds: 1}", "has both steps and seconds; write either" },
	{ "neither of them",          "spec.checkpoint.every={}", "has neither steps nor seconds" },
	{ "never by steps",           "spec.checkpoint.every={steps: 0}", "0 is too small; the least is 1" },
	{ "keep none",                "spec.checkpoint.keep=0",   "0 is too small; the least is 1" },
	{ "a Secret without name",    "spec.checkpoint.credentialsSecretRef={}", "credentialsSecretRef.name: missing" },
	{ "yes is no boolean",        "spec.runPolicy.suspend=yes", "is a string \"yes\"; write true or false" },
	{ "success is not retried",   "spec.runPolicy.retryableExitCodes=[0]", "retryableExitCodes[0]: 0 is too small; the least is 1" },
	{ "256 is no exit code",      "spec.runPolicy.retryableExitCodes=[1, 256]", "retryableExitCodes[1]: 256 is too large" },
	{ "a misspelt policy",        "spec.runPolicy.cleanPodPolicy=none", "write one of All, Running, None (did you mean None?)" },
	{ "a queue that is a number", "spec.runPolicy.schedulingPolicy.queue=1", "put it in quotes: \"1\"" },
};

static struct ls_node *minimal(void)
{
	static const char text[] = "apiVersion: lockstep.dev/v1alpha1\nkind: TrainingJob\nmetadata: {name: a}\nspec:\n"
		"  workers: {template: {spec: {containers: [{command: [./a]}]}}}\n";
	struct ls_node *root = NULL;

	CU_ASSERT_EQUAL_FATAL(ls_node_parse("j.yaml", text, strlen(text), &root, NULL), LS_OK);
	return root;
}

static void test_refused(void)
{
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		struct ls_node *root = minimal();
		struct ls_err err = LS_ERR_INIT;
		struct ls_job job = { .keep = 77 };

		if (ls_node_set(root, refused[i].set, &err))
			check(refused[i].says, false, err.text);
		check(refused[i].says, ls_job_from_node("j.yaml", root, &job, &err) == LS_USAGE, "is LS_USAGE");
		check(refused[i].says, strstr(err.text, refused[i].want), err.text);
		check(refused[i].says, job.keep == 77, "*ret is untouched");
		ls_node_free(root);
	}
}

static void test_report(void)
{
	struct ls_err err = LS_ERR_INIT;
	struct ls_job job;
	int lines = 1;

	CU_ASSERT_EQUAL(ls_job_load(MANIFESTS "/bad-names.yaml", NULL, &job, &err), LS_USAGE);
	for (const char *p = err.text; *p; p++)
		lines += *p == '\n';
	check("the first error leads", strstr(err.text, "bad-names.yaml:3: metadata.name: ") ==
		err.text + strlen(MANIFESTS "/"), err.text);
	check("each has its line", strstr(err.text, "\n" MANIFESTS "/bad-names.yaml:7: spec.workers.replica: "), err.text);
	check("the rest is counted", strstr(err.text, "\n... and ") && lines <= 9, err.text);
	CU_ASSERT_EQUAL(ls_job_load(MANIFESTS "/bad-kind.yaml", NULL, &job, &err), LS_USAGE);
	check("another kind is not picked to pieces", !strstr(err.text, "unknown field"), err.text);
	CU_ASSERT_EQUAL(ls_job_load(MANIFESTS "/none.yaml", NULL, &job, &err), LS_USAGE);
	check("a missing file", strstr(err.text, "cannot open " MANIFESTS "/none.yaml: No such file"), err.text);
	CU_ASSERT_EQUAL(ls_job_load(MANIFESTS, NULL, &job, &err), LS_USAGE);
	CU_ASSERT_EQUAL(ls_job_load(MANIFESTS "/bad-names.yaml", NULL, &job, NULL), LS_USAGE);
}

/* Only outside Kubernetes must the manifest name the program. */
static void test_program(void)
{
	static const char *const sets[] = { C ".0.command=[]", C ".0.args=[x]", NULL };
	struct ls_node *root = minimal();
	struct ls_err err = LS_ERR_INIT;
	struct ls_job job;

	CU_ASSERT_EQUAL(ls_job_load(MANIFESTS "/minimal.yaml", sets, &job, &err), LS_USAGE);
	check("an image's program", strstr(err.text, "containers[0].command: missing; outside Kubernetes no image"), err.text);
	CU_ASSERT_EQUAL(ls_node_set(root, sets[0], &err), LS_OK);
	CU_ASSERT_EQUAL_FATAL(ls_job_from_node("j.yaml", root, &job, &err), LS_OK);
	CU_ASSERT_EQUAL(job.argv.n, 0);
	ls_job_release(&job);
	ls_node_free(root);
}

/* --- accepted ----------------------------------------------------------------------------------------------------- */

static void check_list(const char *says, const struct ls_strv *list, const char *want)
{
	struct ls_str all = { 0 };

	for (size_t i = 0; i < list->n; i++)
		ls_str_addf(&all, "%s%s", i ? " | " : "", list->v[i]);
	check(says, !strcmp(ls_str_text(&all), want), ls_str_text(&all));
	ls_str_release(&all);
}

static void test_full(void)
{
	struct ls_err err = LS_ERR_INIT;
	struct ls_job job;

	if (ls_job_load(MANIFESTS "/full.yaml", NULL, &job, &err)) {
		check("full.yaml", false, err.text);
		return;
	}
	check("names", !strcmp(job.name, "full") && !strcmp(job.namespace_, "vision"), job.name);
	check("workers", job.replicas == 4 && job.min_replicas == 2 && job.ranks_per_worker == 8, "numbers");
	check("container", !strcmp(job.working_dir, "/data") && job.grace_seconds == 30 && job.gpus_per_worker == 8, "values");
	check_list("argv", &job.argv, "python3 | /opt/train/train.py | --lr | 0.1 | --price=$5 | $(NOT_SET)");
	check_list("env", &job.env, "HOME_DIR=/opt/train | CACHE=/opt/train/cache | EMPTY=");
	check_list("not applied", &job.not_applied, "workers.template.metadata | nodeSelector | volumes | image | "
		"resources.limits.memory | placement.topologyKeys | checkpoint.credentialsSecretRef | "
		"runPolicy.ttlSecondsAfterFinished | runPolicy.cleanPodPolicy | runPolicy.schedulingPolicy | "
		"env[TOKEN].valueFrom | containers[1]");
	check("placement", job.bind == LS_BIND_GPU && job.within == LS_WITHIN_RACK, "enums");
	check_list("keys", &job.topology_keys, "example.com/block | example.com/rack");
	check("checkpoint", !strcmp(job.checkpoint_uri, "s3://bucket/prefix") && job.every_steps == 0 &&
		job.every_seconds == 300 && job.keep == 5 && job.when_busy == LS_BUSY_WAIT &&
		job.memory_steps == 10 && job.copies == 1, job.checkpoint_uri);
	check("policy", job.backoff_limit == 7 && job.active_deadline_s == 86400 && job.ttl_s == 0 && job.suspend &&
		job.hang_timeout_s == 0 && job.hang_timeout_given && job.preflight == LS_PREFLIGHT_FAIL, "numbers");
	check("exit codes", job.retryable[3] && job.retryable[143] && !job.retryable[137] && !job.retryable[1], "set");
	check("managedBy", !strcmp(job.managed_by, "example.com/other"), job.managed_by);
	ls_job_release(&job);
	ls_job_release(&job); /* empty and reusable */
}

static void test_defaults(void)
{
	struct ls_err err = LS_ERR_INIT;
	struct ls_job job, plain;

	CU_ASSERT_EQUAL_FATAL(ls_job_load(MANIFESTS "/minimal.yaml", NULL, &job, &err), LS_OK);
	CU_ASSERT_EQUAL_FATAL(ls_job_init(&plain, "minimal", &err), LS_OK);
	check("one worker, one rank per core", job.replicas == 1 && job.min_replicas == 1 &&
		job.ranks_per_worker == LS_RANKS_AUTO, "workers");
	check("nothing said is nothing", !job.namespace_ && !job.working_dir && !job.checkpoint_uri && !job.managed_by &&
		!job.gpus_per_worker && !job.not_applied.n && !job.env.n, "NULL or 0");
	check("numbers", job.grace_seconds == 10 && job.keep == 0 && job.backoff_limit == 3 && job.ttl_s == -1 &&
		job.active_deadline_s == 0 && job.hang_timeout_s == 600 && !job.hang_timeout_given && !job.suspend, "policy");
	check("signals retry, failures do not", job.retryable[137] && job.retryable[255] && job.retryable[128] &&
		!job.retryable[127] && !job.retryable[1] && !job.retryable[0], "exit codes");
	ls_strv_release(&job.argv);
	check("ls_job_init has the same", !strcmp(job.name, plain.name) && job.keep == plain.keep &&
		job.min_replicas == plain.min_replicas && job.hang_timeout_s == plain.hang_timeout_s && job.bind == plain.bind &&
		!memcmp(job.retryable, plain.retryable, sizeof(job.retryable)), "defaults");
	ls_job_release(&job);
	ls_job_release(&plain);
	check("a bad name", ls_job_init(&plain, "Not_A_Label", &err) == LS_USAGE, err.text);
}

static const struct {
	const char *says, *env, *args, *want;
} expansions[] = {
	{ "a variable",                    "[{name: A, value: x}]", "[\"$(A)\"]",       "./a | x" },
	{ "inside a word, twice",          "[{name: A, value: x}]", "[\"-$(A)-$(A)-\"]", "./a | -x-x-" },
	{ "not defined: left as it is",    "[]",                    "[\"$(A)\"]",       "./a | $(A)" },
	{ "two dollars are one",           "[{name: A, value: x}]", "[\"$$(A)\"]",      "./a | $(A)" },
	{ "three: one, then the variable", "[{name: A, value: x}]", "[\"$$$(A)\"]",     "./a | $x" },
	{ "a lone dollar",                 "[]",                    "[\"$\", \"a$b\"]", "./a | $ | a$b" },
	{ "not closed",                    "[{name: A, value: x}]", "[\"$(A\"]",        "./a | $(A" },
	{ "shell's braces are not ours",   "[{name: A, value: x}]", "[\"${A} $A\"]",    "./a | ${A} $A" },
	{ "earlier variables only",        "[{name: B, value: $(A)}, {name: A, value: x}]", "[\"$(B)\"]", "./a | $(A)" },
	{ "the value is not read again",   "[{name: A, value: $$(B)}, {name: B, value: x}]", "[\"$(A)\"]", "./a | $(B)" },
	{ "the last of two wins",          "[{name: A, value: x}, {name: A, value: y}]", "[\"$(A)\"]", "./a | y" },
	{ "no value is empty",             "[{name: A}, {name: B, value: }]", "[\"<$(A)$(B)>\"]", "./a | <>" },
};

static void test_expansion(void)
{
	for (size_t i = 0; i < sizeof(expansions) / sizeof(expansions[0]); i++) {
		struct ls_node *root = minimal();
		struct ls_err err = LS_ERR_INIT;
		struct ls_str set = { 0 };
		struct ls_job job;

		ls_str_addf(&set, C ".0={command: [./a], env: %s, args: %s}", expansions[i].env, expansions[i].args);
		if (ls_node_set(root, set.s, &err) || ls_job_from_node("j.yaml", root, &job, &err)) {
			check(expansions[i].says, false, err.text);
		} else {
			check_list(expansions[i].says, &job.argv, expansions[i].want);
			ls_job_release(&job);
		}
		ls_str_release(&set);
		ls_node_free(root);
	}
}

/* Each variable holds the one before twice: without a bound 40 lines would ask for a terabyte. */
static void test_bomb(void)
{
	struct ls_str text = { 0 };
	struct ls_err err = LS_ERR_INIT;
	struct ls_job job;

	ls_str_add(&text, "apiVersion: lockstep.dev/v1alpha1\nkind: TrainingJob\nmetadata: {name: a}\nspec: {workers: "
		"{template: {spec: {containers: [{command: [./a], env: [{name: A0, value: x}");
	for (int i = 1; i < 40; i++)
		ls_str_addf(&text, ", {name: A%d, value: \"$(A%d)$(A%d)\"}", i, i - 1, i - 1);
	ls_str_add(&text, "]}]}}}}\n");
	CU_ASSERT_EQUAL(build(text.s, text.len, &job, &err), LS_USAGE);
	check("a bomb of variables", strstr(err.text, "is longer than 128 KiB"), err.text);
	ls_str_release(&text);
}

/* --- pages -------------------------------------------------------------------------------------------------------- */

static void test_reference(void)
{
	struct ls_str made = { 0 }, page = { 0 };
	struct ls_err err = LS_ERR_INIT;
	const char *from, *to;
	struct ls_job job;

	ls_job_reference(&made);
	if (ls_file_read("docs/trainingjob.md", 1 << 20, &page, &err))
		check("docs/trainingjob.md", false, err.text);
	check("docs/trainingjob.md", !strcmp(ls_str_text(&page), ls_str_text(&made)),
		"is out of date: lockstep explain --markdown > docs/trainingjob.md");
	from = strstr(made.s, "```yaml\n") + strlen("```yaml\n");
	to = strstr(from, "```");
	if (build(from, (size_t)(to - from), &job, &err))
		check("the page's example", false, err.text);
	else
		ls_job_release(&job);
	ls_str_release(&made);
	ls_str_release(&page);
}

/* An API server reads it in tests/e2e/kube_api.sh; here: it is YAML that has a schema for the deepest field, and the one that is committed. */
static void test_crd(void)
{
	struct ls_str made = { 0 }, page = { 0 };
	struct ls_node *root = NULL;
	struct ls_err err = LS_ERR_INIT;

	ls_job_crd(&made);
	if (ls_file_read("deploy/crd.yaml", 1 << 20, &page, &err))
		check("deploy/crd.yaml", false, err.text);
	check("deploy/crd.yaml", !strcmp(ls_str_text(&page), ls_str_text(&made)), "is out of date: lockstep explain --crd > deploy/crd.yaml");
	if (ls_node_parse("crd", made.s, made.len, &root, &err))
		check("the CRD is YAML", false, err.text);
	check("a default that is not the same as silence is not filled in",
		strstr(made.s, "hangTimeoutSeconds:") && !strstr(made.s, "default: 600"), "hangTimeoutSeconds has one");
	ls_node_free(root);
	ls_str_release(&made);
	ls_str_release(&page);
}

static const struct {
	const char *says, *path, *want;
	bool fails;
} explained[] = {
	{ "everything",            NULL,                            "    replicas <integer, 1 to 10000> default 1\n", false },
	{ "a field",               "spec.checkpoint.keep",          "FIELD:    spec.checkpoint.keep\n          keep <integer, ", false },
	{ "a map lists its own",   "spec.checkpoint",               "credentialsSecretRef <map> -only on Kubernetes-\n", false },
	{ "as kubectl says it",    "trainingjob.spec.workers.replicas", "DESCRIPTION:\n  The number of workers", false },
	{ "lists by their name",   C ".command",                    "The program and its first arguments", false },
	{ "or with an index",      C "[0].command",                 "The program and its first arguments", false },
	{ "a key with a dot",      C ".resources.limits.nvidia.com/gpu", "The GPUs of a worker", false },
	{ "Kubernetes' own",       "spec.workers.template.spec.volumes", "is a field of Kubernetes' PodSpec", false },
	{ "a misspelt one",        "spec.workers.replica",          "spec.workers has no field 'replica'; did you mean replicas?", true },
	{ "a misspelt first part", "specs.workers",                 "a TrainingJob has no field 'specs'; did you mean spec?", true },
	{ "below a number",        "spec.workers.replicas.x",       "it has no fields", true },
};

static void test_explain(void)
{
	for (size_t i = 0; i < sizeof(explained) / sizeof(explained[0]); i++) {
		struct ls_str text = { 0 };
		struct ls_err err = LS_ERR_INIT;
		ls_status st = ls_job_explain(explained[i].path, &text, &err);
		const char *got = st ? err.text : ls_str_text(&text);

		check(explained[i].says, (st == LS_USAGE) == explained[i].fails && strstr(got, explained[i].want), got);
		ls_str_release(&text);
	}
}

/* --- mutations ---------------------------------------------------------------------------------------------------- */

static uint64_t first_seed, seed;

static unsigned rnd(size_t below)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (unsigned)((seed >> 33) % below);
}

static void mutate(char *text, size_t *len)
{
	static const char bytes[] = "{}[]:,-\"'\\&*!|>#? \n\t\x7f\xc2\x85\0$()=0";
	size_t at;

	for (unsigned n = 1 + rnd(4); n > 0 && *len > 8; n--) {
		at = rnd(*len - 4);
		switch (rnd(4)) {
		case 0:
			text[at] = bytes[rnd(sizeof(bytes))];
			break;
		case 1:
			text[at] ^= (char)(1u << rnd(8));
			break;
		case 2:
			memmove(text + at, text + at + 1, --*len - at);
			break;
		default:
			*len = rnd(8) ? *len : at;
		}
	}
}

/* Whatever became of the manifest: a job, or an error that begins with its name. */
static void mutations_of(const char *path)
{
	struct ls_str text = { 0 }, copy = { 0 };
	struct ls_err err = LS_ERR_INIT;

	seed = first_seed; /* whatever the order of the files */
	CU_ASSERT_EQUAL_FATAL(ls_file_read(path, 1 << 20, &text, &err), LS_OK);
	for (int i = 0; i < 2000; i++) {
		struct ls_job job;
		ls_status st;
		char says[400];

		ls_str_release(&copy);
		ls_str_addn(&copy, text.s, text.len);
		mutate(copy.s, &copy.len);
		st = build(copy.s, copy.len, &job, &err);
		if (!st)
			ls_job_release(&job);
		snprintf(says, sizeof(says), "%s, LS_SEED=%llu, mutation %d", path, (unsigned long long)first_seed, i);
		if (st && (st != LS_USAGE || strncmp(err.text, "j.yaml:", 7)))
			check(says, false, err.text);
	}
	ls_str_release(&copy);
	ls_str_release(&text);
}

/* bad-* are refused, all others are accepted, and their mutations do no harm. */
static void test_manifests(void)
{
	DIR *dir = opendir(MANIFESTS);
	struct dirent *entry;

	CU_ASSERT_PTR_NOT_NULL_FATAL(dir);
	while ((entry = readdir(dir))) {
		struct ls_err err = LS_ERR_INIT;
		char path[300];
		struct ls_job job;
		ls_status st;

		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), MANIFESTS "/%s", entry->d_name);
		st = ls_job_load(path, NULL, &job, &err);
		check(path, !st == !!strncmp(entry->d_name, "bad-", 4), st ? err.text : "was accepted");
		if (!st)
			ls_job_release(&job);
		mutations_of(path);
	}
	closedir(dir);
}

int main(void)
{
	const char *given = getenv("LS_SEED");
	CU_pSuite suite;

	first_seed = given ? strtoull(given, NULL, 10) : 20240229;
	if (CU_initialize_registry() || !(suite = CU_add_suite("job", NULL, NULL)))
		return 1;
	CU_ADD_TEST(suite, test_refused);
	CU_ADD_TEST(suite, test_report);
	CU_ADD_TEST(suite, test_program);
	CU_ADD_TEST(suite, test_full);
	CU_ADD_TEST(suite, test_defaults);
	CU_ADD_TEST(suite, test_expansion);
	CU_ADD_TEST(suite, test_bomb);
	CU_ADD_TEST(suite, test_reference);
	CU_ADD_TEST(suite, test_crd);
	CU_ADD_TEST(suite, test_explain);
	CU_ADD_TEST(suite, test_manifests);
	CU_basic_run_tests();
	given = CU_get_number_of_failures() ? "failed" : NULL;
	CU_cleanup_registry();
	return given ? 1 : 0;
}
