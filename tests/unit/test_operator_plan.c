/* test_operator_plan.c -- what the operator does for a job, as histories: something happens, and that is what is done.
 *
 * A row that begins with `new` or `running` begins a history; the others go on from the row before, in which everything was done. Words of a job:
 * operator_scene.h.
 * What is done: + created, - deleted, -x! by force, *event, !warning, tell-wait: an order that is not complete. */
#include "operator_scene.h"

#include <CUnit/Basic.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

struct scene {
	struct ls_tjob job;
	struct ls_tpod pods[MAX_PODS], *seen[MAX_PODS];
	time_t node_lost[MAX_PODS];
	int n_pods;
	struct ls_report report;
	bool reported, others; /* others: Secret, Service, NetworkPolicy are there */
	char rooms[160];       /* nodes with room, by commas; "" none */
	bool only_anew;        /* but not beside kept Pods */
	char why[160];
	bool refused;          /* the API server refuses to create Pods */
	bool unused;           /* all of the newest serial */
	time_t now, written;
	char done[4096];       /* what was done in the last tick */
};

static void say(struct scene *s, const char *fmt, const char *a, const char *b)
{
	size_t len = strlen(s->done);

	snprintf(s->done + len, sizeof(s->done) - len, "%s", len ? " " : "");
	len = strlen(s->done);
	snprintf(s->done + len, sizeof(s->done) - len, "%s%s%s", fmt, a, b);
}

static void clear(struct scene *s)
{
	for (int i = 0; i < s->n_pods; i++)
		ls_tpod_release(&s->pods[i]);
	ls_tjob_release(&s->job);
	ls_report_release(&s->report);
	*s = (struct scene){ .now = T0 };
}

static void drop_pod(struct scene *s, int i)
{
	ls_tpod_release(&s->pods[i]);
	memmove(&s->pods[i], &s->pods[i + 1], (size_t)(s->n_pods - i - 1) * sizeof(s->pods[0]));
	memmove(&s->node_lost[i], &s->node_lost[i + 1], (size_t)(s->n_pods - i - 1) * sizeof(s->node_lost[0]));
	s->n_pods--;
}

static void set(char **to, const char *text)
{
	free(*to);
	*to = strdup(text);
}

static void create_pod(struct scene *s, const struct ls_action *a)
{
	struct ls_err err = LS_ERR_INIT;
	struct ls_tpod *p = &s->pods[s->n_pods];
	char uid[160];

	if (s->n_pods == MAX_PODS || ls_tpod_read(a->object, p, &err))
		abort();
	snprintf(uid, sizeof(uid), "uid-%s", a->name);
	set(&p->uid, uid);
	if (*a->node)
		set(&p->node, a->node);
	s->node_lost[s->n_pods++] = 0;
}

static void do_one(struct scene *s, const struct ls_action *a)
{
	const char *name = strncmp(a->name, "digits-", 7) ? a->name : a->name + 7;
	char text[300];

	switch (a->what) {
	case LS_DO_STATUS:
		say(s, "status=", a->status->state, "");
		ls_tstatus_release(&s->job.status);
		if (ls_tstatus_copy(a->status, &s->job.status, NULL))
			abort();
		s->written = s->now;
		break;
	case LS_DO_FINALIZER:
		say(s, "finalizer", a->on ? "+" : "-", "");
		s->job.finalizer = a->on;
		break;
	case LS_DO_CREATE:
		if (!strstr(a->path, "/pods")) {
			say(s, "+", strrchr(a->path, '/') + 1, "");
			s->others = true;
			break;
		}
		snprintf(text, sizeof(text), "%s%s", *a->node && name[0] == 'w' ? "@" : "", name[0] == 'w' ? a->node : "");
		say(s, "+", name, text);
		create_pod(s, a);
		break;
	case LS_DO_DELETE_POD:
		say(s, "-", name, a->force ? "!" : "");
		for (int i = 0; i < s->n_pods; i++) {
			if (strcmp(s->pods[i].name, a->name))
				continue;
			if (a->force)
				drop_pod(s, i);
			else
				s->pods[i].deleted = s->now;
			break;
		}
		break;
	case LS_DO_PLACE:
		snprintf(text, sizeof(text), "%d min %d kept %d", a->workers, a->min, a->n_kept);
		say(s, "place ", text, "");
		break;
	case LS_DO_TELL:
		say(s, "tell", cJSON_IsTrue(cJSON_GetObjectItem(a->object, "complete")) ? "" : "-wait", "");
		break;
	case LS_DO_DELETE_JOB:
		say(s, "delete-job", "", "");
		break;
	case LS_DO_EVENT:
		say(s, a->warning ? "!" : "*", a->reason, "");
		break;
	case LS_DO_AGAIN:
		snprintf(text, sizeof(text), "%lld", (long long)(a->at - s->now));
		say(s, "again+", text, "");
		break;
	}
}

static void look(struct scene *s, struct ls_observed *o)
{
	*o = (struct ls_observed){ .job = &s->job, .pods = s->seen, .n_pods = s->n_pods, .secret = s->others, .service = s->others, .policy = s->others,
		.report = s->reported ? &s->report : NULL, .node_lost = s->node_lost, .place_st = LS_EXISTS, .now = s->now, .status_written = s->written,
		.image = "runtime:1", .key_hex = key_hex, .create_error = s->refused ? "pods are forbidden: exceeded quota" : NULL, .unused = s->unused };
	for (int i = 0; i < s->n_pods; i++)
		s->seen[i] = &s->pods[i];
}

/* The cluster's answer by rooms[]. */
static void answer(struct scene *s, const struct ls_action *ask, struct ls_observed *o, struct ls_place_answer *ret, char *names)
{
	static const char *node[MAX_PODS];
	char *at, *save;

	*ret = (struct ls_place_answer){ .node = node };
	strcpy(names, s->rooms);
	for (at = strtok_r(names, ",", &save); at && ret->n < ask->workers && !(s->only_anew && ask->n_kept); at = strtok_r(NULL, ",", &save))
		node[ret->n++] = at;
	snprintf(ret->why_not, sizeof(ret->why_not), "%s", s->why);
	o->place = ret;
	o->place_anew = !ask->n_kept;
	o->place_st = ret->n >= ask->min && ret->n ? LS_OK : LS_AGAIN;
}

/* Plan until there is no question left; the actions are the caller's. */
static void plan(struct scene *s, struct ls_actions *ret)
{
	struct ls_place_answer place;
	struct ls_observed o;
	char names[160];
	int questions = 0;

	look(s, &o);
	for (;;) {
		ls_operator_plan(&o, ret);
		if (ret->oom || ++questions > 3)
			abort();
		if (!ret->n || ret->v[0].what != LS_DO_PLACE)
			return;
		do_one(s, &ret->v[0]);
		answer(s, &ret->v[0], &o, &place, names);
		ls_actions_release(ret);
	}
}

/* --- what happens --- */

static struct scene now;

/* "w1" the newest Pod of worker 1, "L" of the launcher; `leaving`: one that is being deleted comes before it. */
static int pod(const char *who, bool leaving)
{
	int index = *who == 'L' ? -1 : atoi(who + 1), found = -1;

	for (int i = 0; i < now.n_pods && leaving; i++)
		if (now.pods[i].index == index && now.pods[i].deleted)
			return i;
	for (int i = 0; i < now.n_pods; i++)
		if (now.pods[i].index == index && (found < 0 || now.pods[i].serial > now.pods[found].serial))
			found = i;
	if (found < 0)
		printf("\n    no Pod %s", who);
	return found;
}

static void report(const char *state, int attempt, int step)
{
	char text[500];
	cJSON *json;

	snprintf(text, sizeof(text),
		"{\"serial\":%d,\"state\":\"%s\",\"exitCode\":-1,\"message\":\"%s\",\"attempt\":%d,\"worldSize\":{\"requested\":4,\"actual\":4},"
		"\"progress\":{\"step\":%d,\"totalSteps\":900,\"loss\":\"0.5\"}%s}",
		now.job.status.pods.launcher, state, !strcmp(state, "Failed") ? "rank 1 exited with code 3" : attempt < 0 ? "waiting for host digits-worker-1: refused" : "", attempt, step,
		strcmp(state, "Restarting") && strcmp(state, "Failed")
			? "" : ",\"failures\":[{\"attempt\":0,\"rank\":1,\"worker\":\"digits-worker-1\",\"exitCode\":3,\"reason\":\"ExitCode\",\"message\":\"rank 1 exited with code 3\","
			       "\"logTail\":\"cannot open\",\"time\":\"1970-01-12T13:46:40Z\"}]");
	ls_report_release(&now.report);
	json = cJSON_Parse(text);
	if (ls_report_read(json, &now.report, NULL))
		abort();
	now.reported = true;
	cJSON_Delete(json);
}

static void tick(void)
{
	struct ls_actions a;

	now.done[0] = '\0';
	plan(&now, &a);
	for (int i = 0; i < a.n; i++)
		do_one(&now, &a.v[i]);
	ls_actions_release(&a);
}

static void run_all(void)
{
	for (int i = 0; i < now.n_pods; i++) {
		if (now.pods[i].phase != LS_POD_PENDING)
			continue;
		now.pods[i].phase = LS_POD_RUNNING;
		now.pods[i].reason[0] = '\0';
		set(&now.pods[i].ip, "10.0.0.9");
	}
}

static void begin_job(const char *words)
{
	bool running = !strncmp(words, "running", 7);

	clear(&now);
	respec(&now.job, words);

	strcpy(now.rooms, "n1,n1,n2");
	if (!running)
		return;
	tick();
	tick();
	run_all();
	tick();
	report("Running", 0, 10);
	tick();
}

static void happen_to(const char *verb, int i, const char *what)
{
	struct ls_tpod *p = &now.pods[i];

	if (i < 0) {
		CU_FAIL("no such Pod");
		return;
	}
	if (!strcmp(verb, "run")) {
		p->phase = LS_POD_RUNNING;
		set(&p->ip, "10.0.0.8");
	} else if (!strcmp(verb, "gone")) {
		drop_pod(&now, i);
	} else if (!strcmp(verb, "deleted")) {
		p->deleted = now.now;
	} else if (!strcmp(verb, "lost")) {
		now.node_lost[i] = now.now - atoi(what);
	} else if (!strcmp(verb, "word")) {
		snprintf(p->reason, sizeof(p->reason), "%s", what);
		set(&p->message, "the kubelet's words");
	} else if (!strcmp(verb, "refused")) {
		p->unschedulable = true;
		p->unschedulable_since = now.now - atoi(what);
	} else if (!strcmp(verb, "ends")) { /* WHO CODE; "-": without one */
		p->phase = strcmp(what, "0") ? LS_POD_FAILED : LS_POD_SUCCEEDED;
		p->exit_code = strcmp(what, "-") ? atoi(what) : -1;
	} else {
		abort();
	}
}

static void happen(const char *text)
{
	char verb[32] = "", a[160] = "", b[64] = "";
	int n = 0;

	sscanf(text, "%31s %159s %63s %d", verb, a, b, &n);
	if (!strcmp(verb, "new") || !strcmp(verb, "running")) {
		begin_job(text);
		return;
	}
	if (!strcmp(verb, "spec"))
		respec(&now.job, text + 4);
	else if (!strcmp(verb, "delete"))
		now.job.deleted = now.now;
	else if (!strcmp(verb, "wait"))
		now.now += atoi(a);
	else if (!strcmp(verb, "room"))
		snprintf(now.rooms, sizeof(now.rooms), "%s", strcmp(a, "none") ? a : "");
	else if (!strcmp(verb, "quota"))
		now.refused = !strcmp(a, "full");
	else if (!strcmp(verb, "unused"))
		now.unused = true;
	else if (!strcmp(verb, "anew"))
		now.only_anew = true;
	else if (!strcmp(verb, "why"))
		snprintf(now.why, sizeof(now.why), "%s", a);
	else if (!strcmp(verb, "report"))
		report(a, atoi(b), n);
	else if (!strcmp(verb, "ahead")) /* its node's clock, by an hour */
		now.report.facts.failures[0].time = now.now + 3600;
	else if (!strcmp(verb, "back")) /* ours */
		now.now -= atoi(a);
	else if (!strcmp(verb, "saved"))
		now.report.facts.ckpt_step = atoi(a);
	else if (!strcmp(verb, "less"))
		now.report.facts.world_actual = 3;
	else if (!strcmp(verb, "silent"))
		now.reported = false;
	else if (!strcmp(verb, "run") && !strcmp(a, "all"))
		run_all();
	else
		happen_to(verb, pod(a, !strcmp(verb, "gone") || !strcmp(verb, "lost")), b);
}

static const struct {
	const char *says, *happens; /* separated by "; " */
	const char *done;
	const char *status;         /* parts of its JSON, separated by " & " */
} rows[] = {
#include "operator_rows.h"
};

static bool status_has(const char *parts)
{
	cJSON *json = ls_tstatus_json(&now.job.status);
	char *text = cJSON_PrintUnformatted(json), *copy = strdup(parts), *at, *save;
	bool all = true;

	for (at = strtok_r(copy, "&", &save); at; at = strtok_r(NULL, "&", &save)) {
		while (*at == ' ')
			at++;
		while (*at && at[strlen(at) - 1] == ' ')
			at[strlen(at) - 1] = '\0';
		if (*at == '^' ? strstr(text, at + 1) != NULL : strstr(text, at) == NULL) {
			printf("\n    not in the status: %s", at);
			all = false;
		}
	}
	if (!all)
		printf("\n    status: %s", text);
	cJSON_free(text);
	cJSON_Delete(json);
	free(copy);
	return all;
}

static void test_rows(void)
{
	for (size_t i = 0; i < COUNT(rows); i++) {
		char text[400], *at, *save;
		bool right;

		snprintf(text, sizeof(text), "%s", rows[i].happens);
		for (at = strtok_r(text, ";", &save); at; at = strtok_r(NULL, ";", &save))
			if (at[strspn(at, " ")])
				happen(at + strspn(at, " "));
		tick();
		right = !strcmp(now.done, rows[i].done);
		if (!right)
			printf("\n    row %zu, %s (%s):\n      want %s\n      done %s", i, rows[i].says, rows[i].happens, rows[i].done, now.done);
		CU_ASSERT(right);
		right = !rows[i].status || status_has(rows[i].status);
		if (!right)
			printf("\n    row %zu, %s", i, rows[i].says);
		CU_ASSERT(right);
	}
	clear(&now);
}

int main(void)
{
	CU_pSuite suite;
	unsigned failures;

	CU_initialize_registry();
	suite = CU_add_suite("operator_plan", NULL, NULL);
	CU_add_test(suite, "histories", test_rows);
	CU_basic_set_mode(CU_BRM_NORMAL);
	CU_basic_run_tests();
	failures = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failures ? 1 : 0;
}
