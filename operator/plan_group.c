/* plan_group.c -- the Pods that are to be there: a place for all of them, serials, creation; what the launcher waits for.
 *
 *     no group (base -1) ──── question for all ───────────────────> placed: all are new
 *     some seats are empty ── question with the others kept ──────> placed: those are new
 *                                 └─ no room beside them ── question for all ──> placed: all are new, the kept ones go
 *
 * Whoever names a queue has the Pods placed by that queue's scheduler: no question is asked. */
#include "operator/make_impl.h"
#include "operator/plan_impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RETRY_S 15

/* Of a new group. */
static int new_min(const struct ls_planning *p)
{
	int min = p->o->job->min_available ? p->o->job->min_available : p->spec->min_replicas;

	return min < p->spec->replicas ? min : p->spec->replicas;
}

static bool elastic(const struct ls_planning *p)
{
	return new_min(p) < p->spec->replicas;
}

int ls_plan_min(const struct ls_planning *p)
{
	int min = new_min(p);

	return p->s->pods.base >= 0 && p->s->pods.size < min ? p->s->pods.size : min;
}

/* Workers that have no Pod. */
static int empty_seats(const struct ls_planning *p)
{
	int n = 0;

	if (p->s->pods.base < 0)
		return p->spec->replicas;
	for (int i = 0; i < p->s->pods.n_replaced; i++)
		n += p->s->pods.replaced[i].serial < 0;
	return n;
}

/* After losses in a row: at once after the first, then 1 s, 2 s, … 60 s after the last. */
static bool too_early(struct ls_planning *p)
{
	const struct ls_tfailure *last = ls_plan_newest(p->s);
	int n = p->s->launcher_losses - 2, delay = n < 0 ? 0 : n >= 6 ? 60 : 1 << n;

	if (!last || last->time > p->o->now || p->o->now >= last->time + delay)
		return false;
	ls_plan_again(p, last->time + delay);
	return true;
}

/* --- questions ---------------------------------------------------------------------------------------------------------------------------- */

static void ask(struct ls_planning *p, int workers, int min, int n_kept)
{
	struct ls_action *a;
	int i;

	/* What was found out so far is found out again with the answer. */
	ls_actions_release(&p->acts);
	a = ls_plan_add(p, LS_DO_PLACE);
	if (!a)
		return;
	a->workers = workers;
	a->min = min;
	if (!n_kept)
		return;
	a->kept = malloc((size_t)n_kept * sizeof(*a->kept));
	a->kept_index = malloc((size_t)n_kept * sizeof(*a->kept_index));
	if (!a->kept || !a->kept_index) {
		ls_plan_oom(p);
		return;
	}
	for (i = 0; i < p->s->pods.size; i++) {
		if (ls_tpods_serial(&p->s->pods, i) < 0)
			continue;
		a->kept[a->n_kept] = p->o->pods[p->seat[i]]->node;
		a->kept_index[a->n_kept++] = i;
	}
}

/* Why the job does not go on, in the condition Created; told as an event if it is news. */
static void say_stuck(struct ls_planning *p, const char *reason, const char *event, const char *text)
{
	const struct ls_tcondition *c = &p->s->conditions[LS_COND_CREATED];

	if (!strcmp(c->reason, reason) && !strcmp(c->message, text))
		return;
	ls_plan_condition(p, LS_COND_CREATED, true, reason, text);
	ls_plan_event(p, true, event, "%s", text);
}

static void wait_for_room(struct ls_planning *p)
{
	const char *why = p->o->place && *p->o->place->why_not ? p->o->place->why_not : "there is no place for its workers";

	snprintf(p->why, sizeof(p->why), "%s", why);
	ls_plan_again(p, p->o->now + RETRY_S);
	say_stuck(p, "Waiting", "FailedScheduling", why);
}

/* --- answers ------------------------------------------------------------------------------------------------------------------------------ */

static const char *node_of(const struct ls_planning *p, int k)
{
	return p->o->job->queue || !p->o->place->node[k] ? "" : p->o->place->node[k];
}

static int seats_made(struct ls_planning *p, int size)
{
	free(p->create);
	free(p->node);
	p->create = calloc((size_t)size + 1, sizeof(*p->create));
	p->node = calloc((size_t)size + 1, sizeof(*p->node));
	if (p->create && p->node)
		return 1;
	ls_plan_oom(p);
	return 0;
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int count_nodes(const struct ls_planning *p, int size)
{
	const char **names = malloc(((size_t)size + 1) * sizeof(*names));
	int i, n = 0, different = 0;

	for (i = 0; names && i < size; i++)
		if (p->create[i] && *p->node[i])
			names[n++] = p->node[i];
	if (names)
		qsort(names, (size_t)n, sizeof(*names), compare_names);
	for (i = 0; i < n; i++)
		different += !i || strcmp(names[i], names[i - 1]);
	free(names);
	return different;
}

static void say_placed(struct ls_planning *p, int workers, int kept)
{
	int size = p->s->pods.size, nodes = count_nodes(p, size);
	char text[160];
	size_t len;

	if (p->o->create_error)
		return;
	if (nodes)
		snprintf(text, sizeof(text), "%d worker%s on %d node%s", workers, workers == 1 ? "" : "s", nodes, nodes == 1 ? "" : "s");
	else
		snprintf(text, sizeof(text), "%d worker%s, placed by their scheduler", workers, workers == 1 ? "" : "s");
	len = strlen(text);
	if (kept)
		snprintf(text + len, sizeof(text) - len, "; %d stay%s", kept, kept == 1 ? "s" : "");
	ls_plan_condition(p, LS_COND_CREATED, true, "Placed", text);
	ls_plan_event(p, false, "Placed", "%s", text);
}

static int next_serial(struct ls_planning *p)
{
	struct ls_tpods *now = &p->s->pods;

	if (!p->gave && (!p->o->unused || now->serial < 0))
		now->serial++;
	p->gave = true;
	return now->serial;
}

static void new_group(struct ls_planning *p, int n)
{
	struct ls_tpods *now = &p->s->pods;
	int i;

	now->base = next_serial(p);
	now->size = p->spec->replicas;
	now->n_replaced = 0;
	p->made = true;
	if (!seats_made(p, now->size))
		return;
	for (i = 0; i < now->size; i++) {
		p->create[i] = i < n;
		p->node[i] = i < n ? node_of(p, i) : "";
		if (i >= n && ls_tpods_replace(now, i, -1, NULL))
			ls_plan_oom(p);
	}
	say_placed(p, n, 0);
}

static void fill_seats(struct ls_planning *p, int n, int kept)
{
	struct ls_tpods *now = &p->s->pods;
	int k = 0;

	if (!n || !seats_made(p, now->size))
		return;
	next_serial(p);
	for (int i = 0; i < now->n_replaced && k < n; i++) {
		struct ls_treplaced *r = &now->replaced[i];

		if (r->serial >= 0)
			continue;
		r->serial = now->serial;
		p->create[r->index] = true;
		p->node[r->index] = node_of(p, k++);
	}
	say_placed(p, k, kept);
}

/* The answer to a question that kept Pods: there may be none, if the job can go on without. */
static bool answered_kept(struct ls_planning *p, int empty, bool enough)
{
	const struct ls_observed *o = p->o;

	if (!o->place_st)
		fill_seats(p, o->place->n < empty ? o->place->n : empty, p->s->pods.size - empty);
	else if (!enough)
		ask(p, p->spec->replicas, new_min(p), 0);
	return !o->place_st || enough;
}

bool ls_plan_place(struct ls_planning *p)
{
	const struct ls_observed *o = p->o;
	int empty = empty_seats(p), kept = p->s->pods.base < 0 ? 0 : p->s->pods.size - empty, missing = ls_plan_min(p) - kept;
	bool enough = kept && elastic(p) && missing <= 0;

	if (!empty || p->acts.oom || (enough && ls_plan_is(p, LS_COND_RUNNING)) || too_early(p))
		return true;
	if (o->job->queue) {
		if (kept)
			fill_seats(p, empty, kept);
		else
			new_group(p, p->spec->replicas);
		return true;
	}
	if (o->place_st == LS_EXISTS) {
		if (kept)
			ask(p, empty, missing > 0 ? missing : 0, kept);
		else
			ask(p, p->spec->replicas, new_min(p), 0);
		return false;
	}
	if (kept && !o->place_anew)
		return answered_kept(p, empty, enough);
	if (!o->place_st)
		new_group(p, o->place->n < p->spec->replicas ? o->place->n : p->spec->replicas);
	else if (!enough)
		wait_for_room(p);
	return true;
}

/* --- creation ----------------------------------------------------------------------------------------------------------------------------- */

static void create(struct ls_planning *p, cJSON *object, const char *api, const char *what, const char *node)
{
	const char *name = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(cJSON_GetObjectItemCaseSensitive(object, "metadata"), "name"));
	struct ls_action *a = object ? ls_plan_add(p, LS_DO_CREATE) : NULL;

	if (!a) {
		cJSON_Delete(object);
		ls_plan_oom(p);
		return;
	}
	a->object = object;
	a->serial = p->s->pods.serial;
	snprintf(a->path, sizeof(a->path), "%s/namespaces/%s/%s", api, p->o->job->namespace_, what);
	snprintf(a->name, sizeof(a->name), "%s", name);
	snprintf(a->uid, sizeof(a->uid), "%s", p->o->job->uid);
	snprintf(a->node, sizeof(a->node), "%s", node);
}

/* Before the first Pod that needs them. That they exist the reconciler learns from the answers. */
static void create_others(struct ls_planning *p, const struct ls_make *m)
{
	const struct ls_observed *o = p->o;

	if (!o->secret)
		create(p, o->key_hex ? ls_make_secret(m, o->key_hex) : NULL, "/api/v1", "secrets", "");
	if (!o->service)
		create(p, ls_make_service(m), "/api/v1", "services", "");
	if (!o->policy)
		create(p, ls_make_policy(m), "/apis/networking.k8s.io/v1", "networkpolicies", "");
	if (p->made && ls_uses_volcano(o->job))
		create(p, ls_make_group(m), "/apis/scheduling.volcano.sh/v1beta1", "podgroups", "");
}

/* The launcher is there from the start, and waits; but not for a queue, for hours. */
static bool wants_launcher(struct ls_planning *p)
{
	int empty = empty_seats(p);

	if (p->s->pods.launcher >= 0 || p->s->pods.base < 0 || (empty && p->s->pods.size - empty < ls_plan_min(p)))
		return false;
	if (p->o->job->queue && *p->why)
		return false;
	return !ls_plan_launcher_alive(p) && !too_early(p);
}

void ls_plan_create(struct ls_planning *p)
{
	const struct ls_make m = { .job = &p->view, .image = p->o->image };
	bool launcher = wants_launcher(p);
	const char *near = "";
	int i;

	if (p->acts.oom || (!p->create && !launcher))
		return;
	if (launcher)
		p->s->pods.launcher = next_serial(p);
	create_others(p, &m);
	for (i = 0; p->create && i < p->s->pods.size; i++)
		if (p->create[i])
			create(p, ls_make_worker(&m, i, ls_tpods_serial(&p->s->pods, i), p->node[i]), "/api/v1", "pods", p->node[i]);
	if (!launcher)
		return;
	if (p->create && p->create[0])
		near = p->node[0];
	else if (p->s->pods.size && p->seat[0] >= 0)
		near = p->o->pods[p->seat[0]]->node;
	create(p, ls_make_launcher(&m, p->s->pods.launcher, near), "/api/v1", "pods", near);
	if (!p->acts.oom)
		p->acts.v[p->acts.n - 1].launcher = true;
}

/* --- what the launcher waits for ---------------------------------------------------------------------------------------------------------- */

static bool cannot_start(const struct ls_tpod *pod)
{
	static const char *const words[] = { "ImagePullBackOff", "ErrImagePull", "ErrImageNeverPull", "InvalidImageName", "ImageInspectError",
		"CreateContainerConfigError", "CreateContainerError", "RunContainerError", "CrashLoopBackOff" };

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (!strcmp(pod->reason, words[i]))
			return pod->phase == LS_POD_PENDING || pod->phase == LS_POD_RUNNING;
	return false;
}

/* The kubelet's words go to and fro between "pulling failed" and "backing off": the first ones stay. */
static void say_cannot_start(struct ls_planning *p, const struct ls_tpod *pod)
{
	const struct ls_tcondition *c = &p->s->conditions[LS_COND_CREATED];
	size_t len = strlen(pod->name);
	char text[700];

	if (!strcmp(c->reason, "CannotStart") && !strncmp(c->message, pod->name, len) && c->message[len] == ' ')
		return;
	snprintf(text, sizeof(text), "%s cannot start: %s: %.400s", pod->name, pod->reason, pod->message);
	say_stuck(p, "CannotStart", "CannotStart", text);
}

static const struct ls_tpod *pod_of(const struct ls_planning *p, int index)
{
	int i = index < 0 ? p->launcher : p->seat[index];

	return i < 0 ? NULL : p->o->pods[i];
}

void ls_plan_waits(struct ls_planning *p)
{
	const struct ls_tpod *pod, *stuck = NULL;
	int missing = 0, first = -1, empty;
	bool short_of;

	ls_plan_find(p);
	if (p->acts.oom || *p->why)
		return;
	empty = empty_seats(p);
	short_of = p->s->pods.base < 0 || (empty && p->s->pods.size - empty < ls_plan_min(p));
	for (int i = -1; i < p->s->pods.size; i++) {
		pod = pod_of(p, i);
		if (pod && cannot_start(pod) && !stuck)
			stuck = pod;
		if (i < 0 || ls_tpods_serial(&p->s->pods, i) < 0 || (pod && pod->phase == LS_POD_RUNNING && !pod->deleted && *pod->ip))
			continue;
		if (!missing++)
			first = i;
	}
	if (stuck)
		say_cannot_start(p, stuck);
	else if (p->o->create_error)
		say_stuck(p, "FailedCreate", "FailedCreate", p->o->create_error);
	else if (!missing && p->report && !strcmp(p->report->state, "Starting") && *p->report->message) /* who does not answer, and why */
		ls_plan_condition(p, LS_COND_CREATED, true, "Starting", p->report->message);
	else if (!short_of && strcmp(p->s->conditions[LS_COND_CREATED].reason, "Placed"))
		ls_plan_condition(p, LS_COND_CREATED, true, "Placed", "all workers have a place");
	if (short_of)
		snprintf(p->why, sizeof(p->why), "%d of %d workers have no Pod yet", empty, p->spec->replicas);
	else if (missing)
		snprintf(p->why, sizeof(p->why), "%d of %d workers do not run yet, %.63s-worker-%d first", missing, p->s->pods.size - empty,
			p->o->job->name, first);
}
