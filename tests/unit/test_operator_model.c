/* test_operator_model.c -- random histories of one job against an API server, nodes and a launcher in memory: what must hold in all of them.
 *
 *   - No name of a Pod is created twice; none is created that the written status does not know, nor for a job that is over, suspended or deleted.
 *   - Nothing that is over goes on. Succeeded only after a launcher that ended with 0 and said so.
 *   - When the trouble ends, so does the job: with the right end, and its Pods are gone.
 *
 * The operator sees Pods late, is killed between any two requests, loses reports; its writes conflict and its creations fail. */
#include "operator_scene.h"

#include <CUnit/Basic.h>

#define TROUBLE 160 /* steps with */
#define CALM 500    /* and without */
#define NAMES 600
#define STEPS 60    /* of training */

struct pod {
	struct ls_tpod t; /* its strings are the ones here */
	char name[64], uid[80], node[8], ip[16], final[300];
};

struct world {
	unsigned seed;
	unsigned long long random;
	bool calm, expects; /* expects: the operator remembers what it asked for */
	time_t now;
	/* the API server */
	struct pod pods[MAX_PODS];
	int n, version;
	struct ls_tjob truth; /* status, finalizer, deleted */
	char created[NAMES][64];
	int n_created;
	bool lost[4];       /* nodes */
	/* the operator */
	struct pod view[MAX_PODS];
	int n_view, seen_version;
	struct ls_tjob eyes;
	struct ls_report report;
	bool reported;
	time_t written;
	/* launcher and ranks */
	int attempt, serial;
	long long step, best;
	char state[16];
	bool complete, won, failed;
	char workers[8][64];
	int n_workers;
};

static struct world w;
static char words[64];

static bool chance(int percent)
{
	w.random = w.random * 6364136223846793005ull + 1442695040888963407ull;
	return (int)((w.random >> 33) % 100) < percent;
}

static bool trouble(int percent)
{
	return !w.calm && chance(percent);
}

static bool broken; /* of this run: say it once */

static void must(bool ok, const char *what, const char *about)
{
	if (!ok && !broken)
		printf("\n    seed %u: %s: %s", w.seed, what, about);
	if (!ok)
		broken = true;
}

static void own(struct pod *p)
{
	static char empty[] = "";

	p->t.name = p->name;
	p->t.uid = p->uid;
	p->t.node = p->node;
	p->t.ip = p->ip;
	p->t.final = p->final;
	p->t.namespace_ = p->t.job = p->t.job_uid = p->t.message = empty;
}

/* --- the operator's eyes -------------------------------------------------------------------------------------------------------------------- */

static void see_job(void)
{
	static char now[64];

	if (!w.eyes.name || strcmp(now, words))
		respec(&w.eyes, words);
	snprintf(now, sizeof(now), "%s", words);
	ls_tstatus_release(&w.eyes.status);
	if (ls_tstatus_copy(&w.truth.status, &w.eyes.status, NULL))
		abort();
	w.eyes.finalizer = w.truth.finalizer;
	w.eyes.deleted = w.truth.deleted;
	w.seen_version = w.version;
}

static void see_pods(void)
{
	for (int i = 0; i < w.n; i++)
		w.view[i] = w.pods[i];
	w.n_view = w.n;
}

static void forget_all(void)
{
	see_job();
	see_pods();
	w.reported = false;
	w.written = 0;
}

/* --- what the operator asks for ------------------------------------------------------------------------------------------------------------- */

static void created(const struct ls_action *a)
{
	const struct ls_tstatus *s = &w.truth.status;
	struct pod *p = &w.pods[w.n];
	struct ls_tpod t;

	for (int i = 0; i < w.n_created; i++)
		must(strcmp(w.created[i], a->name), "created twice", a->name);
	if (ls_tpod_read(a->object, &t, NULL) || w.n == MAX_PODS || w.n_created == NAMES)
		abort();
	snprintf(w.created[w.n_created++], 64, "%.63s", a->name);
	must(ls_tpods_serial(&s->pods, t.index) == t.serial, "the status does not know it", a->name);
	must(!s->conditions[LS_COND_SUCCEEDED].is_true && !s->conditions[LS_COND_FAILED].is_true && w.truth.finalizer, "created for a job that is over", a->name);
	*p = (struct pod){ .t = { .index = t.index, .serial = t.serial, .exit_code = -1 } };
	snprintf(p->name, sizeof(p->name), "%.63s", a->name);
	snprintf(p->uid, sizeof(p->uid), "uid-%.63s", a->name);
	snprintf(p->node, sizeof(p->node), "%.7s", *a->node ? a->node : "n0");
	w.n++;
	ls_tpod_release(&t);
	if (!w.expects || w.n_view == MAX_PODS)
		return;
	w.view[w.n_view] = *p;
	w.view[w.n_view++].uid[0] = '\0';
}

static void remove_pod(int i)
{
	memmove(&w.pods[i], &w.pods[i + 1], (size_t)(w.n - i - 1) * sizeof(w.pods[0]));
	w.n--;
}

static void deleted(const struct ls_action *a)
{
	for (int i = 0; i < w.n; i++) {
		if (strcmp(w.pods[i].uid, a->uid))
			continue;
		if (a->force)
			remove_pod(i);
		else if (!w.pods[i].t.deleted)
			w.pods[i].t.deleted = w.now;
		return;
	}
}

static bool status_written(const struct ls_action *a)
{
	struct ls_tstatus *s = &w.truth.status;
	bool was = s->conditions[LS_COND_SUCCEEDED].is_true, failed = s->conditions[LS_COND_FAILED].is_true;

	if (w.seen_version != w.version)
		return false;
	must(!was || a->status->conditions[LS_COND_SUCCEEDED].is_true, "unfinished", "Succeeded");
	must(!failed || a->status->conditions[LS_COND_FAILED].is_true, "unfinished", "Failed");
	must(!a->status->conditions[LS_COND_SUCCEEDED].is_true || w.won, "success that nobody reported", a->status->state);
	must(a->status->pods.serial >= s->pods.serial, "serials go back", "");
	ls_tstatus_release(s);
	if (ls_tstatus_copy(a->status, s, NULL))
		abort();
	w.version++;
	see_job();
	w.written = w.now;
	return true;
}

static void told(const cJSON *order)
{
	const cJSON *worker;

	if (trouble(10) || cJSON_GetObjectItem(order, "serial")->valueint != w.serial)
		return;
	w.complete = cJSON_IsTrue(cJSON_GetObjectItem(order, "complete"));
	w.n_workers = 0;
	cJSON_ArrayForEach(worker, cJSON_GetObjectItem(order, "workers"))
		if (w.n_workers < 8)
			snprintf(w.workers[w.n_workers++], 64, "%s", cJSON_GetObjectItem(worker, "pod")->valuestring);
	if (w.attempt < cJSON_GetObjectItem(order, "attempt")->valueint - 1)
		w.attempt = cJSON_GetObjectItem(order, "attempt")->valueint - 1;
}

static bool done(const struct ls_action *a)
{
	switch (a->what) {
	case LS_DO_STATUS:
		return status_written(a);
	case LS_DO_FINALIZER:
		w.truth.finalizer = a->on;
		w.version++;
		see_job();
		break;
	case LS_DO_CREATE:
		if (trouble(5))
			return false;
		if (strstr(a->path, "/pods"))
			created(a);
		break;
	case LS_DO_DELETE_POD:
		deleted(a);
		break;
	case LS_DO_TELL:
		told(a->object);
		break;
	case LS_DO_PLACE:
	case LS_DO_DELETE_JOB:
	case LS_DO_EVENT:
	case LS_DO_AGAIN:
		break;
	}
	return true;
}

static void operate(void)
{
	struct ls_place_answer place = { 0 };
	struct ls_observed o = { .job = &w.eyes, .secret = true, .service = true, .policy = true, .place_st = LS_EXISTS, .now = w.now, .status_written = w.written,
		.image = "r", .key_hex = key_hex, .report = w.reported ? &w.report : NULL };
	static const char *nodes[8] = { "n0", "n1", "n2", "n3", "n0", "n1", "n2", "n3" };
	struct ls_tpod *pods[MAX_PODS];
	time_t lost[MAX_PODS];
	struct ls_actions a;
	int i;

	for (i = 0; i < w.n_view; i++) {
		own(&w.view[i]);
		pods[i] = &w.view[i].t;
		lost[i] = w.lost[w.view[i].node[1] - '0'] ? w.now - 25 : 0;
	}
	o.pods = pods;
	o.n_pods = w.n_view;
	o.node_lost = lost;
	for (i = 0;; i++) {
		ls_operator_plan(&o, &a);
		must(!a.oom && i < 3, "no end of questions", "");
		if (broken || !a.n || a.v[0].what != LS_DO_PLACE)
			break;
		o.place_anew = !a.v[0].n_kept;
		o.place_st = trouble(20) ? LS_AGAIN : LS_OK;
		place = (struct ls_place_answer){ .n = trouble(30) ? a.v[0].min : a.v[0].workers, .node = nodes };
		o.place = &place;
		ls_actions_release(&a);
	}
	for (i = 0; i < a.n && done(&a.v[i]); i++)
		if (trouble(2)) { /* killed here */
			forget_all();
			break;
		}
	ls_actions_release(&a);
}

/* --- the world moves ------------------------------------------------------------------------------------------------------------------------ */

static struct pod *launcher(void)
{
	for (int i = 0; i < w.n; i++)
		if (w.pods[i].t.index < 0 && w.pods[i].t.phase == LS_POD_RUNNING)
			return &w.pods[i];
	return NULL;
}

static bool worker_runs(const char *name)
{
	for (int i = 0; i < w.n; i++)
		if (!strcmp(w.pods[i].name, name))
			return w.pods[i].t.phase == LS_POD_RUNNING && !w.pods[i].t.deleted && !w.lost[w.pods[i].node[1] - '0'];
	return false;
}

static void report_text(char ret[300])
{
	snprintf(ret, 300,
		"{\"serial\":%d,\"state\":\"%s\",\"attempt\":%d,\"message\":\"m\",\"worldSize\":{\"requested\":2,\"actual\":2},\"progress\":{\"step\":%lld,\"totalSteps\":%d}}",
		w.serial, w.state, w.attempt, w.step, STEPS);
}

static void deliver(void)
{
	char text[300];
	cJSON *json;

	if (trouble(30))
		return;
	report_text(text);
	json = cJSON_Parse(text);
	ls_report_release(&w.report);
	if (ls_report_read(json, &w.report, NULL))
		abort();
	w.reported = true;
	cJSON_Delete(json);
}

static void end_launcher(struct pod *l, const char *state, int code)
{
	snprintf(w.state, sizeof(w.state), "%s", state);
	l->t.phase = code ? LS_POD_FAILED : LS_POD_SUCCEEDED;
	l->t.exit_code = code;
	if (*state)
		report_text(l->final);
	if (!strcmp(state, "Succeeded"))
		w.won = true;
	if (!strcmp(state, "Failed") || (!code && strcmp(state, "Succeeded")))
		w.failed = true;
}

static void train(struct pod *l)
{
	int alive = 0;

	if (l->t.serial != w.serial) {
		w.serial = l->t.serial;
		strcpy(w.state, "Waiting");
		w.complete = false;
	}
	for (int i = 0; i < w.n_workers; i++)
		alive += worker_runs(w.workers[i]);
	if (!strcmp(w.state, "Running") && alive < w.n_workers) {
		strcpy(w.state, "Restarting");
		w.complete = false;
	} else if (strcmp(w.state, "Running") && w.complete && w.n_workers && alive == w.n_workers) {
		w.attempt++;
		w.step = w.best - w.best % 10;
		strcpy(w.state, "Running");
	} else if (!strcmp(w.state, "Running")) {
		w.step += 2;
		w.best = w.step > w.best ? w.step : w.best;
	}
	deliver();
	if (l->t.deleted && chance(50))
		end_launcher(l, "Stopped", 143);
	else if (w.step >= STEPS && !strcmp(w.state, "Running"))
		end_launcher(l, "Succeeded", 0);
	else if (trouble(1))
		end_launcher(l, "", 137);
	else if (trouble(1) && chance(40))
		end_launcher(l, chance(50) ? "Failed" : "", chance(50) ? 3 : 0);
}

static void move_pod(int i)
{
	struct pod *p = &w.pods[i];
	bool lost = w.lost[p->node[1] - '0'];

	if (lost)
		return;
	if (p->t.deleted && (p->t.index >= 0 || p->t.phase != LS_POD_RUNNING) && chance(40)) {
		remove_pod(i);
		return;
	}
	if (p->t.phase == LS_POD_PENDING && !p->t.deleted && chance(50)) {
		p->t.phase = LS_POD_RUNNING;
		strcpy(p->ip, "10.0.0.1");
	}
	if (p->t.index >= 0 && trouble(1)) {
		p->t.phase = LS_POD_FAILED;
		p->t.exit_code = chance(50) ? 137 : -1;
		strcpy(p->t.reason, p->t.exit_code < 0 ? "Evicted" : "");
	}
	if (trouble(1))
		p->t.deleted = w.now;
	if (trouble(1) && chance(30))
		remove_pod(i);
}

static void step(void)
{
	struct pod *l;

	w.now++;
	for (int i = w.n - 1; i >= 0; i--)
		move_pod(i);
	for (int i = 1; i < 4; i++)
		w.lost[i] = w.lost[i] ? !(w.calm || chance(10)) : trouble(1);
	l = launcher();
	if (l && !w.lost[l->node[1] - '0'])
		train(l);
	if (trouble(1))
		snprintf(words, sizeof(words), "%s", strstr(words, "suspend") ? "new" : "new suspend");
	if (w.calm || chance(70))
		see_pods();
	if (w.calm || chance(80))
		see_job();
	operate();
}

static bool at_rest(void)
{
	const struct ls_tstatus *s = &w.truth.status;
	int running = 0;

	for (int i = 0; i < w.n; i++)
		running += w.pods[i].t.phase == LS_POD_RUNNING;
	return w.truth.deleted ? !w.truth.finalizer : !running && (s->conditions[LS_COND_SUCCEEDED].is_true || s->conditions[LS_COND_FAILED].is_true);
}

static void check_end(bool deleted_job)
{
	const struct ls_tstatus *s = &w.truth.status;

	if (deleted_job) {
		must(!w.truth.finalizer && !w.n, "a deleted job that does not go", s->state);
		return;
	}
	must(!strcmp(s->state, "Succeeded") || !strcmp(s->state, "Failed"), "it does not end", s->state);
	must(strcmp(s->state, "Failed") || w.failed || !strcmp(s->conditions[LS_COND_FAILED].reason, "BackoffLimitExceeded"), "failed for no reason", s->conditions[LS_COND_FAILED].reason);
	for (int i = 0; i < w.n; i++)
		must(w.pods[i].t.phase != LS_POD_RUNNING, "a Pod that is left", w.pods[i].name);
}

static const char *run(unsigned seed)
{
	static char end[16];
	bool delete_it = seed % 5 == 0;

	memset(&w, 0, sizeof(w));
	broken = false;
	w.seed = seed;
	w.random = seed * 2654435761ull + 1;
	w.now = T0;
	w.expects = seed % 3;
	w.attempt = w.serial = -1;
	strcpy(words, "new");
	respec(&w.truth, words);
	forget_all();
	for (int i = 0; i < TROUBLE && !broken; i++)
		step();
	w.calm = true;
	strcpy(words, "new");
	if (delete_it)
		w.truth.deleted = w.now;
	for (int i = 0; i < CALM && !broken && !at_rest(); i++)
		step();
	check_end(delete_it);
	snprintf(end, sizeof(end), "%s", w.truth.status.state);
	ls_tjob_release(&w.truth);
	ls_tjob_release(&w.eyes);
	ls_report_release(&w.report);
	return end;
}

static void test_model(void)
{
	const char *given = getenv("MODEL_SEEDS");
	unsigned seeds = given ? (unsigned)atoi(given) : 300, good = 0, bad = 0, wrong = 0;

	for (unsigned seed = 1; seed <= seeds && wrong < 5; seed++) {
		const char *end = run(seed);

		good += !strcmp(end, "Succeeded");
		bad += !strcmp(end, "Failed");
		wrong += broken;
	}
	printf(" %u runs: %u succeeded, %u failed", seeds, good, bad);
	CU_ASSERT_EQUAL(wrong, 0);
	/* Both ends are met, or the test shows nothing. */
	CU_ASSERT(good > seeds / 4 && bad > 0);
}

int main(void)
{
	CU_pSuite suite;
	unsigned failures;

	CU_initialize_registry();
	suite = CU_add_suite("operator_model", NULL, NULL);
	CU_add_test(suite, "random histories", test_model);
	CU_basic_set_mode(CU_BRM_NORMAL);
	CU_basic_run_tests();
	failures = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failures ? 1 : 0;
}
