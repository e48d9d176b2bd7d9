/* cmd_get.c -- `lockstep get`: TrainingJobs as a table, JSON, YAML or names; `lockstep get nodes`: what the node agents published. */
#include "launcher/commands.h"
#include "operator/cli.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>

struct get {
	struct ls_cli c;
	bool all, watch;
	const char *output;      /* table, json, yaml, name */
	struct ls_table table;
	const char *job;         /* NULL: all */
	pthread_mutex_t lock;    /* of the table, while watching */
	struct ls_strv shown;    /* while watching: uid=resourceVersion; a relist brings everything again */
};

static void step_of(const cJSON *job, char ret[48])
{
	long long step = ls_number_at(job, "status.progress.step", -1), total = ls_number_at(job, "status.progress.totalSteps", 0);

	if (step < 0)
		ret[0] = '\0';
	else if (total > 0)
		snprintf(ret, 48, "%lld/%lld", step, total);
	else
		snprintf(ret, 48, "%lld", step);
}

static void add_job(struct get *g, const cJSON *job)
{
	char step[48], age[16], attempt[24] = "";
	struct ls_table *t = &g->table;

	step_of(job, step);
	ls_age_of(ls_text_at(job, "metadata.creationTimestamp"), time(NULL), age);
	if (ls_number_at(job, "status.attempt", -1) >= 0)
		snprintf(attempt, sizeof(attempt), "%lld", ls_number_at(job, "status.attempt", -1));
	if (g->all)
		ls_table_add(t, ls_text_at(job, "metadata.namespace"));
	ls_table_add(t, ls_text_at(job, "metadata.name"));
	ls_table_add(t, ls_state_of(job));
	ls_table_add(t, step);
	ls_table_add(t, ls_text_at(job, "status.progress.loss"));
	ls_table_add(t, ls_text_at(job, "status.workers"));
	ls_table_add(t, attempt);
	ls_table_add(t, age);
}

static void add_head(struct get *g)
{
	static const char *const names[] = { "NAMESPACE", "NAME", "STATE", "STEP", "LOSS", "WORKERS", "ATTEMPT", "AGE" };
	size_t i;

	g->table.columns = g->all ? 8 : 7;
	for (i = !g->all; i < sizeof(names) / sizeof(names[0]); i++)
		ls_table_add(&g->table, names[i]);
}

static ls_status print_text(const cJSON *json, bool yaml, struct ls_err *err)
{
	struct ls_str text = { 0 };
	char *printed = yaml ? NULL : cJSON_Print(json);

	if (yaml)
		ls_str_add_yaml(&text, json);
	else if (printed)
		ls_str_addf(&text, "%s\n", printed);
	else
		text.oom = true;
	cJSON_free(printed);
	if (text.oom)
		ls_fail_oom(err);
	else if (fputs(ls_str_text(&text), stdout) == EOF || fflush(stdout) == EOF)
		ls_fail(err, LS_AGAIN, 0, "cannot write to standard output");
	ls_str_release(&text);
	return err->status;
}

/* One job alone, or the list as an object of kind List. */
static ls_status print_object(struct get *g, cJSON *list, struct ls_err *err)
{
	cJSON *items = cJSON_GetObjectItemCaseSensitive(list, "items"), *at;

	cJSON_ArrayForEach(at, items)
		cJSON_DeleteItemFromObjectCaseSensitive(cJSON_GetObjectItemCaseSensitive(at, "metadata"), "managedFields");
	if (!g->job && (!cJSON_AddStringToObject(list, "apiVersion", "v1") || !cJSON_AddStringToObject(list, "kind", "List")))
		return ls_fail_oom(err);
	return print_text(g->job ? items->child : list, !strcmp(g->output, "yaml"), err);
}

static ls_status print_jobs(struct get *g, cJSON *list, struct ls_err *err)
{
	const cJSON *items = ls_at(list, "items"), *at;

	if (!strcmp(g->output, "json") || !strcmp(g->output, "yaml"))
		return print_object(g, list, err);
	if (!strcmp(g->output, "name")) {
		cJSON_ArrayForEach(at, items)
			printf("trainingjob.lockstep.dev/%s\n", ls_text_at(at, "metadata.name"));
		return LS_OK;
	}
	if (!items->child && !g->watch) {
		fprintf(stderr, "no TrainingJobs in %s%s\n", g->all ? "any namespace" : "namespace ", g->all ? "" : g->c.namespace_);
		return LS_OK;
	}
	add_head(g);
	cJSON_ArrayForEach(at, items)
		add_job(g, at);
	return ls_table_print(&g->table, stdout, err);
}

static ls_status fetch(struct get *g, cJSON **ret, struct ls_err *err)
{
	struct ls_str path = { 0 };
	cJSON *list = NULL, *items, *job = NULL;
	ls_status st;

	ls_job_path(&path, g->all ? NULL : g->c.namespace_, NULL);
	if (!g->job) {
		st = path.oom ? ls_fail_oom(err) : ls_cli_list(&g->c, ls_str_text(&path), ret, err);
	} else {
		st = ls_cli_get_job(&g->c, g->job, &job, err);
		list = st ? NULL : cJSON_CreateObject();
		items = list ? cJSON_AddArrayToObject(list, "items") : NULL;
		if (!st && (!items || !cJSON_AddItemToArray(items, job)))
			st = ls_fail_oom(err);
		if (!st)
			*ret = list;
	}
	ls_str_release(&path);
	return st;
}

/* --- -w ------------------------------------------------------------------------------------------------------------------- */

static bool is_news(struct get *g, const cJSON *job)
{
	const char *uid = ls_text_at(job, "metadata.uid"), *version = ls_text_at(job, "metadata.resourceVersion");
	const char *before = ls_strv_getenv(&g->shown, uid);
	bool same = before && !strcmp(before, version);

	ls_strv_setenv(&g->shown, uid, version);
	return !same;
}

static void on_event(void *arg, enum ls_watch_event event, const cJSON *job)
{
	struct get *g = arg;
	struct ls_err err = LS_ERR_INIT;

	if (event != LS_WATCH_SET && event != LS_WATCH_GONE)
		return;
	pthread_mutex_lock(&g->lock);
	if (event == LS_WATCH_SET && is_news(g, job)) {
		add_job(g, job);
		ls_table_print(&g->table, stdout, &err);
	} else if (event == LS_WATCH_GONE) {
		printf("%s is deleted\n", ls_text_at(job, "metadata.name"));
		fflush(stdout);
	}
	pthread_mutex_unlock(&g->lock);
}

static void on_trouble(void *arg, const char *sentence)
{
	(void)arg;
	if (*sentence)
		ls_cli_say("%s", sentence);
}

/* Until Ctrl-C. The list is printed by the watch, whose first events it is. */
static ls_status watch(struct get *g, struct ls_err *err)
{
	struct ls_kube_watch_options opt = { .kube = g->c.kube, .on_event = on_event, .on_trouble = on_trouble, .arg = g };
	struct ls_kube_watch *w = NULL;
	struct ls_str path = { 0 };
	static const int widths[] = { 16, 24, 10, 15, 9, 9, 7, 4 };
	sigset_t signals;
	ls_status st;
	int sig, i;

	sigemptyset(&signals);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGTERM);
	pthread_sigmask(SIG_BLOCK, &signals, NULL);
	ls_job_path(&path, g->all ? NULL : g->c.namespace_, NULL);
	if (g->job) {
		ls_str_add(&path, "?fieldSelector=metadata.name%3D");
		ls_kube_add_segment(&path, g->job);
	}
	opt.path = ls_str_text(&path);
	add_head(g);
	for (i = 0; i < g->table.columns; i++) /* the rows come after the head is printed */
		g->table.width[i] = widths[i + !g->all];
	st = path.oom ? ls_fail_oom(err) : ls_table_print(&g->table, stdout, err);
	if (!st)
		st = ls_kube_watch_start(&opt, &w, err);
	if (!st)
		sigwait(&signals, &sig);
	ls_kube_watch_stop(w);
	ls_str_release(&path);
	return st;
}

/* --- nodes ---------------------------------------------------------------------------------------------------------------- */

static void add_number(struct ls_table *t, const cJSON *node, const char *path)
{
	char text[24];

	snprintf(text, sizeof(text), "%lld", ls_number_at(node, path, 0));
	ls_table_add(t, text);
}

/* "8 x H100", as all GPUs of a node are alike; others: their number alone. */
static void add_gpus(struct ls_table *t, const cJSON *node)
{
	const cJSON *gpus = ls_at(node, "spec.gpus"), *at;
	const char *model = ls_text_at(cJSON_GetArrayItem(gpus, 0), "model");
	char text[128];
	bool alike = true;

	cJSON_ArrayForEach(at, gpus)
		alike &= !strcmp(model, ls_text_at(at, "model"));
	snprintf(text, sizeof(text), "%d%s%s", cJSON_GetArraySize(gpus), *model ? " x " : "", alike ? model : "several");
	ls_table_add(t, text);
}

static void add_node(struct ls_table *t, const cJSON *node)
{
	char nics[48], numa[16], memory[16], age[16];
	const cJSON *list = ls_at(node, "spec.nics"), *nic;
	int rdma = 0;

	cJSON_ArrayForEach(nic, list)
		rdma += cJSON_IsTrue(ls_at(nic, "rdma"));
	snprintf(nics, sizeof(nics), "%d (%d RDMA)", cJSON_GetArraySize(list), rdma);
	ls_bytes(ls_number_at(node, "spec.memory", 0), memory);
	ls_age_of(ls_text_at(node, "metadata.creationTimestamp"), time(NULL), age);
	ls_table_add(t, ls_text_at(node, "metadata.name"));
	add_number(t, node, "spec.sockets");
	add_number(t, node, "spec.cores");
	snprintf(numa, sizeof(numa), "%d", cJSON_GetArraySize(ls_at(node, "spec.numa")));
	ls_table_add(t, numa);
	add_gpus(t, node);
	ls_table_add(t, nics);
	ls_table_add(t, memory);
	ls_table_add(t, age);
	ls_table_add(t, ls_text_at(node, "spec.model"));
}

static ls_status print_nodes(struct get *g, struct ls_err *err)
{
	static const char *const head[] = { "NODE", "SOCKETS", "CORES", "NUMA", "GPUS", "NICS", "MEMORY", "AGE", "MODEL" };
	cJSON *list = NULL;
	const cJSON *at;
	ls_status st;
	size_t i;

	st = ls_cli_list(&g->c, LS_KUBE_API "/nodetopologies", &list, err);
	if (st)
		return st;
	g->table.columns = 9;
	for (i = 0; i < 9; i++)
		ls_table_add(&g->table, head[i]);
	cJSON_ArrayForEach(at, ls_at(list, "items"))
		add_node(&g->table, at);
	if (!strcmp(g->output, "json") || !strcmp(g->output, "yaml"))
		st = print_object(g, list, err);
	else if (!ls_at(list, "items")->child)
		st = ls_fail(err, LS_NOT_FOUND, 0, "no node has published its topology; start the node agents: kubectl apply --server-side -k deploy");
	else
		st = ls_table_print(&g->table, stdout, err);
	cJSON_Delete(list);
	return st;
}

/* --- the command ---------------------------------------------------------------------------------------------------------- */

static ls_status check(struct get *g, struct ls_err *err)
{
	static const char *const outputs[] = { "table", "json", "yaml", "name", NULL };
	int i = 0;

	while (outputs[i] && strcmp(outputs[i], g->output))
		i++;
	if (!outputs[i])
		return ls_fail(err, LS_USAGE, 0, "-o %s: write table, json, yaml or name", g->output);
	if (g->c.n_words > 1)
		return ls_fail(err, LS_USAGE, 0, "one name at a time, not also %s", g->c.words[1]);
	if (g->watch && strcmp(g->output, "table"))
		return ls_fail(err, LS_USAGE, 0, "-w goes with the table only");
	if (g->all && g->c.n_words)
		return ls_fail(err, LS_USAGE, 0, "-A shows all jobs; with a name write -n NAMESPACE");
	return LS_OK;
}

static ls_status get(struct get *g, struct ls_err *err)
{
	bool nodes = g->c.n_words && !strcmp(g->c.words[0], "nodes");
	cJSON *list = NULL;
	ls_status st = check(g, err);

	if (!st)
		st = ls_cli_open(&g->c, err);
	if (st || nodes)
		return st ? st : print_nodes(g, err);
	g->job = g->c.n_words ? g->c.words[0] : NULL;
	st = fetch(g, &list, err); /* before a watch, too: it knows how to say that something is not there */
	if (!st)
		st = g->watch ? watch(g, err) : print_jobs(g, list, err);
	cJSON_Delete(list);
	return st;
}

int cmd_get(int argc, char **argv)
{
	struct get g = { .output = "table", .lock = PTHREAD_MUTEX_INITIALIZER };
	const struct ls_cli_option options[] = {
		{ "-A --all-namespaces", LS_CLI_FLAG, NULL, "the jobs of all namespaces", &g.all },
		{ "-o --output", LS_CLI_TEXT, "FORMAT", "table, json, yaml, name", &g.output },
		{ "-w --watch", LS_CLI_FLAG, NULL, "a line for each change, until Ctrl-C", &g.watch },
		{ .names = NULL },
	};
	struct ls_err err = LS_ERR_INIT;
	int code;

	if (ls_cli_parse(&g.c, argc, argv, "get [NAME | nodes] [options]", options, &code)) {
		ls_status st = get(&g, &err);

		code = st ? ls_command_fail("get", st, &err) : 0;
	}
	ls_strv_release(&g.shown);
	ls_table_release(&g.table);
	ls_cli_release(&g.c);
	return code;
}
