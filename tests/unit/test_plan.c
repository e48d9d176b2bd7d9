/* test_plan.c -- from host lists to ranks, to the environment and the engine's command line. No process is started. */
#include "launcher/engine.h"
#include "launcher/environ.h"
#include "launcher/options.h"
#include "launcher/plan.h"

#include <CUnit/Basic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const struct {
	const char *says, *list, *want; /* "name:slots …", or the error's words */
	bool bad;
} lists[] = {
	{ "mpirun's form", "a:4,b:2", "a:4 b:2", false },
	{ "no number counts one, a host named twice has both", "a,b,a", "a:2 b:1", false },
	{ "not a number", "a:x", "not a number of slots", true },
	{ "no slots at all", "a:0", "not a number of slots", true },
	{ "an option in disguise", "-oProxyCommand=x", "not a host name", true },
	{ "a shell in disguise", "a;reboot", "not a host name", true },
	{ "an empty name", "a,,b", "not a host name", true },
};

static void test_lists(void)
{
	size_t i;
	int h;

	for (i = 0; i < COUNT(lists); i++) {
		struct ls_err err = LS_ERR_INIT;
		struct ls_hosts hosts = { 0 };
		struct ls_str got = { 0 };
		ls_status st = ls_hosts_parse(lists[i].list, &hosts, &err);

		for (h = 0; h < hosts.n; h++)
			ls_str_addf(&got, "%s%s:%d", h ? " " : "", hosts.v[h].name, hosts.v[h].slots);
		if (lists[i].bad ? st != LS_USAGE || !strstr(err.text, lists[i].want) : st || strcmp(ls_str_text(&got), lists[i].want)) {
			printf("\nFAILS: %s: %s %s\n", lists[i].says, ls_str_text(&got), err.text);
			CU_FAIL("see above");
		} else {
			CU_PASS("");
		}
		ls_str_release(&got);
		ls_hosts_release(&hosts);
	}
}

/* Hosts of 4 cores each, as if probed. */
static void fake_hosts(const char *list, struct ls_hosts *hosts)
{
	int i;

	CU_ASSERT_EQUAL_FATAL(ls_hosts_parse(list, hosts, NULL), LS_OK);
	for (i = 0; i < hosts->n; i++) {
		struct ls_host *h = &hosts->v[i];

		CU_ASSERT_EQUAL_FATAL(ls_topo_open("pack:1 numa:1 core:4 pu:1", false, &h->topo, NULL), LS_OK);
		snprintf(h->id, sizeof(h->id), "%.60s/id", h->name);
		snprintf(h->address, sizeof(h->address), "10.0.0.%d", i + 1);
		snprintf(h->launcher_address, sizeof(h->launcher_address), "10.0.0.100");
		snprintf(h->iface, sizeof(h->iface), "eth%d", i);
	}
}

static const struct {
	const char *says, *list;
	struct ls_plan_options opt;
	const char *want; /* host of each rank, "a a b", or the error's words */
	bool bad;
} plans[] = {
	{ "all slots, host by host", "a:2,b:2", { 0 }, "a a b b", false },
	{ "fewer ranks fill the first hosts", "a:2,b:2", { .ranks = 3 }, "a a b", false },
	{ "by node: dealt in turn", "a:2,b:2", { .ranks = 3, .by_node = true }, "a b a", false },
	{ "by node with uneven slots", "a:1,b:3", { .ranks = 4, .by_node = true }, "a b b b", false },
	{ "N on each host", "a:4,b:4", { .ranks_per_worker = 2 }, "a a b b", false },
	{ "N on each host, and -np below that", "a:4,b:4", { .ranks = 3, .ranks_per_worker = 2 }, "a a b", false },
	{ "more than N on each host", "a:4,b:4", { .ranks = 5, .ranks_per_worker = 2 }, "5 ranks do not fit", true },
	{ "more ranks than slots", "a:1,b:1", { .ranks = 4 }, "4 ranks asked for, but the hosts have 2 slots", true },
	{ "… unless allowed", "a:1,b:1", { .ranks = 4, .oversubscribe = true }, "a a b b", false },
	{ "a manifest: one worker is one host", "a:4,b:4", { .replicas = 2, .min_replicas = 2, .ranks_per_worker = 2 }, "a a b b", false },
	{ "a manifest needs as many hosts as workers", "a:4", { .replicas = 2, .min_replicas = 2, .ranks_per_worker = 2 },
		"spec.workers.replicas is 2", true },
	{ "… or as many as an elastic job can do with", "a:4", { .replicas = 2, .min_replicas = 1, .ranks_per_worker = 2 }, "a a", false },
	{ "hosts that no worker needs stay empty", "a:4,b:4,c:4", { .replicas = 2, .min_replicas = 2, .ranks_per_worker = 1 }, "a b", false },
	{ "a worker's ranks must fit its host's slots", "a:1,b:1", { .replicas = 2, .min_replicas = 2, .ranks_per_worker = 2 },
		"host a has 1 slot;", true },
	{ "auto takes the host's slots", "a:1,b:3", { .replicas = 2, .min_replicas = 2, .ranks_per_worker = LS_RANKS_AUTO }, "a b b b", false },
};

static void test_plans(void)
{
	size_t i;
	int r;

	for (i = 0; i < COUNT(plans); i++) {
		struct ls_err err = LS_ERR_INIT;
		struct ls_hosts hosts = { 0 };
		struct ls_plan plan = { 0 };
		struct ls_str got = { 0 };
		ls_status st;

		fake_hosts(plans[i].list, &hosts);
		st = ls_plan_make(&hosts, &plans[i].opt, &plan, &err);
		for (r = 0; r < plan.world; r++)
			ls_str_addf(&got, "%s%s", r ? " " : "", ls_plan_host(&plan, r)->name);
		if (plans[i].bad ? st != LS_USAGE || !strstr(err.text, plans[i].want) : st || strcmp(ls_str_text(&got), plans[i].want)) {
			printf("\nFAILS: %s: '%s' %s\n", plans[i].says, ls_str_text(&got), err.text);
			CU_FAIL("see above");
		} else {
			CU_PASS("");
		}
		ls_str_release(&got);
		ls_plan_release(&plan);
		ls_hosts_release(&hosts);
	}
}

/* Of 2 workers with 2 ranks each, wherever they are. */
#define WORKERS(...) { .replicas = 2, .min_replicas = 1, .ranks_per_worker = 2, __VA_ARGS__ }
#define AUTO_WORKERS(...) { .replicas = 2, .min_replicas = 1, .ranks_per_worker = LS_RANKS_AUTO, __VA_ARGS__ }

static const struct {
	const char *says, *list;
	struct ls_plan_options opt;
	int want;
} groups[] = {
	{ "a manifest: the ranks of one worker", "a:4,b:4", WORKERS(.local = false), 2 },
	{ "… the same when a host is lost and fewer workers go on", "b:4", WORKERS(.local = false), 2 },
	{ "… and with both workers on one host", "a:4", WORKERS(.local = true), 2 },
	{ "auto: what all workers got", "a:3,b:3", AUTO_WORKERS(.local = false), 3 },
	{ "… the same with a worker less", "b:3", AUTO_WORKERS(.local = false), 3 },
	{ "… unless they got different numbers", "a:1,b:3", AUTO_WORKERS(.local = false), 0 },
	{ "auto, and all workers on one host: no worker can be told from another", "a:4", AUTO_WORKERS(.local = true), 0 },
	{ "without a manifest: the ranks of a host", "a:2,b:2", { .ranks = 4 }, 2 },
	{ "… unless they differ", "a:2,b:2", { .ranks = 3 }, 0 },
	{ "… or are not consecutive", "a:2,b:2", { .ranks = 4, .by_node = true }, 0 },
	{ "hosts that got no rank do not count", "a:2,b:2,c:2", { .ranks = 4 }, 2 },
	{ "one host is one sum", "a:4", { .ranks = 4 }, 0 },
	{ "-N on each host", "a:4,b:4", { .ranks_per_worker = 3 }, 3 },
};

static void test_groups(void)
{
	size_t i;

	for (i = 0; i < COUNT(groups); i++) {
		struct ls_err err = LS_ERR_INIT;
		struct ls_hosts hosts = { 0 };
		struct ls_plan plan = { .sum_group = -1 };

		fake_hosts(groups[i].list, &hosts);
		if (ls_plan_make(&hosts, &groups[i].opt, &plan, &err) || plan.sum_group != groups[i].want) {
			printf("\nFAILS: %s: %d %s\n", groups[i].says, plan.sum_group, err.text);
			CU_FAIL("see above");
		} else {
			CU_PASS("");
		}
		ls_plan_release(&plan);
		ls_hosts_release(&hosts);
	}
}

static struct ls_plan two_hosts(void)
{
	struct ls_plan_options opt = { .ranks = 4 };
	struct ls_hosts hosts = { 0 };
	struct ls_plan plan = { 0 };

	fake_hosts("a:2,b:2", &hosts);
	CU_ASSERT_EQUAL_FATAL(ls_plan_make(&hosts, &opt, &plan, NULL), LS_OK);
	return plan;
}

static void test_environment(void)
{
	static const struct {
		int rank;
		const char *name, *want; /* NULL: must not be set */
	} rows[] = {
		{ 0, "RANK", "0" }, { 3, "RANK", "3" }, { 3, "LOCAL_RANK", "1" }, { 3, "WORLD_SIZE", "4" },
		{ 3, "LOCAL_WORLD_SIZE", "2" }, { 3, "GROUP_RANK", "1" }, { 3, "GROUP_WORLD_SIZE", "2" },
		{ 3, "MASTER_ADDR", "10.0.0.1" }, { 3, "MASTER_PORT", "501" }, { 3, "TORCHELASTIC_RESTART_COUNT", "1" },
		{ 3, "JAX_COORDINATOR_ADDRESS", "10.0.0.1:500" }, { 3, "JAX_NUM_PROCESSES", "4" }, { 3, "JAX_PROCESS_ID", "3" },
		{ 2, "TF_CONFIG", "{\"cluster\": {\"worker\": [\"10.0.0.1:500\", \"10.0.0.1:510\", \"10.0.0.2:520\", \"10.0.0.2:530\"]}, "
			"\"task\": {\"type\": \"worker\", \"index\": 2}}" },
		{ 3, "LOCKSTEP_JOB", "j" }, { 3, "LOCKSTEP_ATTEMPT", "7" }, { 3, "LOCKSTEP_AGENT", "agent" },
		{ 3, "LOCKSTEP_CHECKPOINT_URI", "file:///c" }, { 3, "LOCKSTEP_RESUME", "" }, { 3, "GLOO_SOCKET_IFNAME", "eth1" }, { 0, "CUDA_VISIBLE_DEVICES", NULL },
		{ 0, "OMPI_MCA_btl", "self,vader,tcp" }, { 0, "OMPI_MCA_pml", "ucx" /* the user's wins, on every host */ },
		{ 0, "MINE", "of the user" }, { 0, "OMP_NUM_THREADS", "2" },
		{ 3, "LOCKSTEP_SUM_GROUP", "2" }, { 3, "LOCKSTEP_PROGRESS", "auto" }, { 2, "LOCKSTEP_PROGRESS_CPU", "1" }, { 3, "LOCKSTEP_PROGRESS_CPU", "3" },
		{ 3, "MALLOC_MMAP_MAX_", "0" }, { 3, "MALLOC_TRIM_THRESHOLD_", "1073741824" }, { 3, "MALLOC_TOP_PAD_", NULL },
	};
	static const char *const user[] = { "MINE=of the user", NULL };
	static char *inherited[] = { (char *)"OMPI_MCA_pml=ucx", NULL };
	static const int ports[4][LS_RANK_PORTS] = { { 500, 501 }, { 510, 511 }, { 520, 521 }, { 530, 531 } };
	struct ls_plan plan = two_hosts();
	struct ls_job job = { 0 };
	struct ls_environ e = { .job = &job, .plan = &plan, .run_id = "id", .attempt = 7, .restarts = 1, .max_restarts = 3,
		.checkpoint_uri = "file:///c", .resume = "", .user_env = user, .ports = ports, .engine_major = 4,
		.agent = "agent", .session_shm = "/dev/shm/x", .inherited = inherited };
	size_t i;

	CU_ASSERT_EQUAL_FATAL(ls_job_init(&job, "j", NULL), LS_OK);
	for (i = 0; i < COUNT(rows); i++) {
		struct ls_strv env = { 0 };
		const char *got;

		ls_environ_rank(&e, rows[i].rank, &env);
		got = ls_strv_getenv(&env, rows[i].name);
		if (rows[i].want ? !got || strcmp(got, rows[i].want) : got != NULL) {
			printf("\nFAILS: rank %d %s=%s\n", rows[i].rank, rows[i].name, got ? got : "(not set)");
			CU_FAIL("see above");
		} else {
			CU_PASS("");
		}
		ls_strv_release(&env);
	}
	ls_job_release(&job);
	ls_plan_release(&plan);
}

#define KEEPS "0 1073741824"

/* What the user said, "NAME=value" each or NULL, and what a rank with two cores gets. */
static const struct {
	const char *says, *user, *inherited;
	const char *names[2], *want; /* "-": not set */
} steered[] = {
	{ "nothing said: freed memory is kept", NULL, NULL, { "MALLOC_MMAP_MAX_", "MALLOC_TRIM_THRESHOLD_" }, KEEPS },
	{ "turned off by -x or the manifest", "LOCKSTEP_MALLOC=default", NULL, { "MALLOC_MMAP_MAX_", "MALLOC_TRIM_THRESHOLD_" }, "- -" },
	{ "turned off where the launcher starts", NULL, "LOCKSTEP_MALLOC=default", { "MALLOC_MMAP_MAX_", "MALLOC_TRIM_THRESHOLD_" }, "- -" },
	{ "… and on again for one run", "LOCKSTEP_MALLOC=keep", "LOCKSTEP_MALLOC=default", { "MALLOC_MMAP_MAX_", "MALLOC_TRIM_THRESHOLD_" }, KEEPS },
	{ "one setting of the user's: none of ours", "MALLOC_TOP_PAD_=1", NULL, { "MALLOC_MMAP_MAX_", "MALLOC_TOP_PAD_" }, "- 1" },
	{ "… which reaches every host", NULL, "MALLOC_TRIM_THRESHOLD_=9", { "MALLOC_MMAP_MAX_", "MALLOC_TRIM_THRESHOLD_" }, "- 9" },
	{ "the same settings by their other name", NULL, "GLIBC_TUNABLES=glibc.rtld.nns=4:glibc.malloc.mmap_max=7",
		{ "MALLOC_MMAP_MAX_", "GLIBC_TUNABLES" }, "- glibc.rtld.nns=4:glibc.malloc.mmap_max=7" },
	{ "tunables of another kind", "GLIBC_TUNABLES=glibc.rtld.nns=4", NULL, { "MALLOC_MMAP_MAX_", "GLIBC_TUNABLES" }, "0 glibc.rtld.nns=4" },
	{ "no progress thread, says the user: no core for it", "LOCKSTEP_PROGRESS=calls", NULL,
		{ "LOCKSTEP_PROGRESS", "LOCKSTEP_PROGRESS_CPU" }, "calls -" },
	{ "… or where the launcher starts", NULL, "LOCKSTEP_PROGRESS=calls", { "LOCKSTEP_PROGRESS", "LOCKSTEP_PROGRESS_CPU" }, "calls -" },
	{ "a core of the user's choice", "LOCKSTEP_PROGRESS_CPU=0", NULL, { "LOCKSTEP_PROGRESS", "LOCKSTEP_PROGRESS_CPU" }, "auto 0" },
	{ "sums in an order of the user's", "LOCKSTEP_SUM_GROUP=1", NULL, { "LOCKSTEP_SUM_GROUP", "RANK" }, "1 0" },
};

static void test_steered(void)
{
	static const int ports[4][LS_RANK_PORTS] = { { 0 } };
	struct ls_plan plan = two_hosts();
	struct ls_job job = { 0 };
	size_t i, n;

	CU_ASSERT_EQUAL_FATAL(ls_job_init(&job, "j", NULL), LS_OK);
	for (i = 0; i < COUNT(steered); i++) {
		const char *user[] = { steered[i].user, NULL };
		char *inherited[] = { (char *)steered[i].inherited, NULL };
		struct ls_environ e = { .job = &job, .plan = &plan, .run_id = "id", .checkpoint_uri = "", .resume = "", .user_env = user,
			.ports = ports, .engine_major = 4, .agent = "agent", .session_shm = "/dev/shm/x", .inherited = inherited };
		struct ls_strv env = { 0 };
		struct ls_str got = { 0 };

		ls_environ_rank(&e, 0, &env);
		for (n = 0; n < 2; n++) {
			const char *value = ls_strv_getenv(&env, steered[i].names[n]);

			ls_str_addf(&got, "%s%s", n ? " " : "", value ? value : "-");
		}
		if (strcmp(ls_str_text(&got), steered[i].want)) {
			printf("\nFAILS: %s: '%s'\n", steered[i].says, ls_str_text(&got));
			CU_FAIL("see above");
		} else {
			CU_PASS("");
		}
		ls_str_release(&got);
		ls_strv_release(&env);
	}
	ls_job_release(&job);
	ls_plan_release(&plan);
}

static void check_argv(int major, const char *want, const char *never)
{
	struct ls_engine e = { .path = "/opt/ompi/bin/mpirun", .prefix = "/opt/ompi", .major = major };
	static const char *const extra[] = { "--mca", "a", "b", NULL };
	struct ls_engine_options o = { .hostfile = "H", .session_tmp = "T", .ssh = "ssh -F c", .binary = "L", .extra = extra };
	struct ls_plan plan = two_hosts();
	struct ls_strv argv = { 0 };
	struct ls_str line = { 0 };
	size_t i;

	ls_engine_argv(&e, &plan, &o, &argv);
	for (i = 0; i < argv.n; i++)
		ls_str_addf(&line, "%s%s", argv.v[i], i + 1 < argv.n ? " " : "");
	if (!strstr(ls_str_text(&line), want) || strstr(ls_str_text(&line), never))
		printf("\nFAILS: %s\n", ls_str_text(&line));
	CU_ASSERT_PTR_NOT_NULL(strstr(ls_str_text(&line), want));
	CU_ASSERT_PTR_NULL(strstr(ls_str_text(&line), never));
	CU_ASSERT_PTR_NOT_NULL(strstr(ls_str_text(&line), "--hostfile H -np 4 --map-by slot --bind-to none"));
	CU_ASSERT_PTR_NOT_NULL(strstr(ls_str_text(&line), "--mca a b L rank"));
	CU_ASSERT_PTR_NULL(strstr(ls_str_text(&line), "TOKEN=")); /* a secret is never an argument */
	ls_str_release(&line);
	ls_strv_release(&argv);
	ls_plan_release(&plan);
}

static void test_engine(void)
{
	check_argv(4, "--mca plm_rsh_agent ssh -F c -o BatchMode=yes", "--prtemca");
	check_argv(5, "--prtemca plm_ssh_agent ssh -F c -o BatchMode=yes", "--mca plm_rsh_agent");
}

static void test_suspects(void)
{
	char *env[] = { (char *)"HOME=/", (char *)"OMPI_MCA_orte_default_hostfile=/h", (char *)"OMPI_MCA_btl=tcp", (char *)"SLURM_JOB_ID=4", NULL };
	struct ls_str got = { 0 };

	ls_engine_suspects(env, 5, &got);
	CU_ASSERT_STRING_EQUAL(ls_str_text(&got), "OMPI_MCA_orte_default_hostfile=/h (which Open MPI 5 ignores), SLURM_JOB_ID=4");
	ls_str_release(&got);
}

static const struct {
	const char *says, *line, *want; /* NULL: fine; else the error's words */
} command_lines[] = {
	{ "mpirun's words", "-np 4 -H a:2,b:2 -x A=1 --bind-to core -- ./prog -np 9", NULL },
	{ "one dash or two", "--np 4 -host a:4 prog", NULL },
	{ "with an equals sign", "--np=4 prog", NULL },
	{ "a word that asks for what is done anyway", "--allow-run-as-root -n 1 prog", NULL },
	{ "parameters of the engine", "--mca btl tcp,self --prtemca x y prog", NULL },
	{ "a manifest", "-f job.yaml --set spec.workers.replicas=2", NULL },
	{ "a preflight, with limits", "--preflight=fail,below=0.5,expect-gbps=80 prog", NULL },
	{ "whose words are optional", "--preflight prog", NULL },
	{ "a preflight of no kind", "--preflight=hard prog", "--preflight=hard: want warn, fail or none" },
	{ "a limit that is none", "--preflight=fail,below=2 prog", "--preflight=below=2: want" },
	{ "nothing to run", "-np 4", "what to run?" },
	{ "two things to run", "-f job.yaml prog", "give one of them" },
	{ "misspelt", "--hostfil x prog", "did you mean --hostfile?" },
	{ "not a number", "-np four prog", "-np: 'four' is not a number" },
	{ "no value", "prog -np", NULL /* the program's */ },
	{ "no value for ours", "-np", "-np wants N" },
	{ "binding", "--bind-to corr prog", "want auto, gpu, numa, core or none" },
	{ "a variable that is not there", "-x NO_SUCH_VARIABLE_HERE prog", "is not set here" },
	{ "MPMD", "-np 1 a : -np 1 b", "not supported" },
	{ "-np with a manifest", "-f j.yaml -np 4", "the manifest says how many" },
	{ "--local with hosts", "-f j.yaml --local -H a:1", "exclude each other" },
	{ "--mca without a value", "--mca btl", "wants a name and a value" },
};

static void test_options(void)
{
	size_t i;

	for (i = 0; i < COUNT(command_lines); i++) {
		char *copy = strdup(command_lines[i].line), *save = NULL, *argv[32] = { (char *)"run" };
		struct ls_err err = LS_ERR_INIT;
		struct ls_run_options o = { 0 };
		int argc = 1;
		ls_status st;

		for (char *w = strtok_r(copy, " ", &save); w; w = strtok_r(NULL, " ", &save))
			argv[argc++] = w;
		st = ls_run_options_parse(argc, argv, &o, &err);
		if (command_lines[i].want ? st != LS_USAGE || !strstr(err.text, command_lines[i].want) : st != LS_OK) {
			printf("\nFAILS: %s: %s\n", command_lines[i].says, err.text);
			CU_FAIL("see above");
		} else {
			CU_PASS("");
		}
		if (!st)
			ls_run_options_release(&o);
		free(copy);
	}
}

int main(void)
{
	unsigned failures;
	CU_pSuite s;

	if (CU_initialize_registry() || !(s = CU_add_suite("plan", NULL, NULL)))
		return 1;
	CU_add_test(s, "host lists", test_lists);
	CU_add_test(s, "who runs where", test_plans);
	CU_add_test(s, "which ranks are added up first", test_groups);
	CU_add_test(s, "the environment contract", test_environment);
	CU_add_test(s, "what the user may steer", test_steered);
	CU_add_test(s, "the engine's command line", test_engine);
	CU_add_test(s, "variables under suspicion", test_suspects);
	CU_add_test(s, "the command line", test_options);
	CU_basic_run_tests();
	failures = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failures != 0;
}
