/* cluster.c -- the nodes of a cluster, as a watch tells them. Their Pods: cluster_pods.c. */
#include "operator/cluster_impl.h"
#include "operator/fit.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

static const cJSON *get(const cJSON *o, const char *name)
{
	return cJSON_GetObjectItemCaseSensitive(o, name);
}

static const char *text(const cJSON *o, const char *name)
{
	const char *s = cJSON_GetStringValue(get(o, name));

	return s ? s : "";
}

static bool is_true(const cJSON *o, const char *name)
{
	return cJSON_IsTrue(get(o, name));
}

ls_status ls_cluster_open(struct ls_cluster **ret, struct ls_err *err)
{
	struct ls_cluster *c = calloc(1, sizeof(*c));

	if (!c)
		return ls_fail_oom(err);
	/* Early in a boot there may be no random bytes: a known start is as right, only slower under attack. */
	if (getrandom(&c->words.seed, sizeof(c->words.seed), GRND_NONBLOCK) < 0)
		c->words.seed = 0xcbf29ce484222325u;
	*ret = c;
	return LS_OK;
}

/* --- nodes ------------------------------------------------------------------------------------------------------------------------------------ */

struct ls_cnode *ls_cluster_find(const struct ls_cluster *c, const char *name, int *ret_at)
{
	int lo = 0, hi = c->n_nodes;

	while (lo < hi) {
		int mid = lo + (hi - lo) / 2, d = strcmp(c->nodes[mid]->name, name);

		if (d == 0) {
			*ret_at = mid;
			return c->nodes[mid];
		}
		if (d < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	*ret_at = lo;
	return NULL;
}

struct ls_cnode *ls_cnode_get(struct ls_cluster *c, const char *name)
{
	int at, cap = c->cap_nodes ? c->cap_nodes * 2 : 64;
	struct ls_cnode *n = ls_cluster_find(c, name, &at), **v;

	if (n)
		return n;
	if (c->n_nodes == c->cap_nodes) {
		v = realloc(c->nodes, cap * sizeof(*v));
		if (!v)
			return NULL;
		c->nodes = v;
		c->cap_nodes = cap;
	}
	n = calloc(1, sizeof(*n));
	if (!n || !(n->name = strdup(name))) {
		free(n);
		return NULL;
	}
	memmove(c->nodes + at + 1, c->nodes + at, (c->n_nodes - at) * sizeof(*c->nodes));
	c->nodes[at] = n;
	c->n_nodes++;
	return n;
}

void ls_extras_free(struct ls_cluster *c, struct ls_extras *e)
{
	int i;

	for (i = 0; e && i < e->n; i++)
		ls_words_put(&c->words, e->v[i].name);
	free(e);
}

/* Forgets what the Node said. */
static void node_clear(struct ls_cluster *c, struct ls_cnode *n)
{
	int i;

	for (i = 0; i < n->n_labels; i++) {
		ls_words_put(&c->words, n->labels[i].key);
		ls_words_put(&c->words, n->labels[i].value);
	}
	for (i = 0; i < n->n_taints; i++) {
		ls_words_put(&c->words, n->taints[i].key);
		ls_words_put(&c->words, n->taints[i].value);
	}
	ls_extras_free(c, n->extra);
	free(n->labels);
	free(n->taints);
	n->labels = NULL;
	n->taints = NULL;
	n->extra = NULL;
	n->n_labels = n->n_taints = 0;
	n->exists = n->ready = false;
}

void ls_cnode_drop(struct ls_cluster *c, struct ls_cnode *n)
{
	int at;

	if (n->exists || n->pods || ls_cluster_find(c, n->name, &at) != n)
		return;
	c->n_nodes--;
	memmove(c->nodes + at, c->nodes + at + 1, (c->n_nodes - at) * sizeof(*c->nodes));
	free(n->name);
	free(n);
}

static int by_key(const void *a, const void *b)
{
	const struct ls_label *x = a, *y = b;

	return x->key < y->key ? -1 : x->key > y->key;
}

struct ls_word *ls_cnode_label(const struct ls_cnode *n, const struct ls_word *key)
{
	struct ls_label want = { .key = (struct ls_word *)key };
	const struct ls_label *found = key && n->n_labels ? bsearch(&want, n->labels, n->n_labels, sizeof(want), by_key) : NULL;

	return found ? found->value : NULL;
}

/* The parts of a Node; those got so far are in `n` for node_clear(), also on failure. */
static bool labels_read(struct ls_cluster *c, const cJSON *labels, struct ls_cnode *n)
{
	const cJSON *it;

	n->labels = calloc(cJSON_GetArraySize(labels) + 1, sizeof(*n->labels));
	if (!n->labels)
		return false;
	cJSON_ArrayForEach(it, labels) {
		struct ls_label *l = &n->labels[n->n_labels];

		if (!it->string || !cJSON_IsString(it))
			continue;
		n->n_labels++;
		l->key = ls_words_get(&c->words, it->string);
		l->value = ls_words_get(&c->words, it->valuestring);
		if (!l->key || !l->value)
			return false;
	}
	qsort(n->labels, n->n_labels, sizeof(*n->labels), by_key);
	return true;
}

/* Taints that only prefer are the scheduler's. */
static bool taints_read(struct ls_cluster *c, const cJSON *taints, struct ls_cnode *n)
{
	const cJSON *it;

	n->taints = calloc(cJSON_GetArraySize(taints) + 1, sizeof(*n->taints));
	if (!n->taints)
		return false;
	cJSON_ArrayForEach(it, taints) {
		struct ls_taint *t = &n->taints[n->n_taints];
		const char *effect = text(it, "effect");

		if (strcmp(effect, "NoSchedule") != 0 && strcmp(effect, "NoExecute") != 0)
			continue;
		n->n_taints++;
		t->effect = strcmp(effect, "NoExecute") == 0 ? LS_NO_EXECUTE : LS_NO_SCHEDULE;
		t->key = ls_words_get(&c->words, text(it, "key"));
		t->value = ls_words_get(&c->words, text(it, "value"));
		if (!t->key || !t->value)
			return false;
	}
	return true;
}

bool ls_extra_add(struct ls_cluster *c, struct ls_extras *e, const char *name, int64_t amount)
{
	struct ls_word *word = amount ? ls_words_get(&c->words, name) : NULL;

	if (word)
		e->v[e->n++] = (struct ls_extra){ word, amount };
	return word || !amount;
}

static ls_status allocatable_read(struct ls_cluster *c, const cJSON *from, struct ls_cnode *n, struct ls_err *err)
{
	const cJSON *it;

	n->extra = calloc(1, sizeof(*n->extra) + cJSON_GetArraySize(from) * sizeof(n->extra->v[0]));
	if (!n->extra)
		return ls_fail_oom(err);
	cJSON_ArrayForEach(it, from) {
		int64_t v;
		bool bad = false, fine = true;
		const char *name = it->string ? it->string : "";

		if (!ls_quantity_of(it, strcmp(name, "cpu") == 0, &v, &bad)) {
			if (bad)
				return ls_fail(err, LS_USAGE, 0, "node %s: status.allocatable: %.80s is not a quantity of 0 or more", n->name, name);
			continue;
		}
		if (strcmp(name, "cpu") == 0)
			n->has.cpu_milli = v;
		else if (strcmp(name, "memory") == 0)
			n->has.memory = v;
		else if (strcmp(name, LS_GPU) == 0)
			n->has.gpus = v;
		else if (strcmp(name, "pods") == 0)
			n->has.pods = v;
		else
			fine = ls_extra_add(c, n->extra, name, v);
		if (!fine)
			return ls_fail_oom(err);
	}
	return LS_OK;
}

static bool is_ready(const cJSON *status)
{
	const cJSON *it;

	cJSON_ArrayForEach(it, get(status, "conditions"))
		if (strcmp(text(it, "type"), "Ready") == 0)
			return strcmp(text(it, "status"), "True") == 0;
	return false;
}

/* Texts are kept once: as long as both hold them, equal is the same. */
static bool is_news(const struct ls_cnode *a, const struct ls_cnode *b)
{
	if (a->ready != b->ready || a->cordoned != b->cordoned || a->n_labels != b->n_labels || a->n_taints != b->n_taints || !a->extra ||
		a->extra->n != b->extra->n || memcmp(&a->has, &b->has, sizeof(a->has)) != 0)
		return true;
	for (int i = 0; i < a->n_taints; i++)
		if (a->taints[i].key != b->taints[i].key || a->taints[i].value != b->taints[i].value || a->taints[i].effect != b->taints[i].effect)
			return true;
	for (int i = 0; i < a->extra->n; i++)
		if (a->extra->v[i].name != b->extra->v[i].name || a->extra->v[i].amount != b->extra->v[i].amount)
			return true;
	return a->n_labels && memcmp(a->labels, b->labels, (size_t)a->n_labels * sizeof(*a->labels)) != 0;
}

ls_status ls_cluster_node_set(struct ls_cluster *c, const cJSON *node, struct ls_err *err)
{
	const cJSON *meta = get(node, "metadata"), *spec = get(node, "spec"), *status = get(node, "status");
	struct ls_cnode now = { .name = (char *)text(meta, "name") }, *n;
	ls_status st;

	if (!*now.name)
		return ls_fail(err, LS_USAGE, 0, "a Node without a name");
	st = allocatable_read(c, get(status, "allocatable"), &now, err);
	if (!st && (!labels_read(c, get(meta, "labels"), &now) || !taints_read(c, get(spec, "taints"), &now)))
		st = ls_fail_oom(err);
	n = st ? NULL : ls_cnode_get(c, now.name);
	if (!n) {
		node_clear(c, &now);
		return st ? st : ls_fail_oom(err);
	}
	now.exists = true;
	now.ready = is_ready(status);
	now.cordoned = is_true(spec, "unschedulable");
	c->news = c->news || is_news(n, &now);
	node_clear(c, n);
	now.round = c->node_round;
	now.name = n->name;
	now.pods = n->pods;
	now.used = n->used;
	now.summed = n->summed;
	*n = now;
	return LS_OK;
}

static void node_gone(struct ls_cluster *c, struct ls_cnode *n)
{
	node_clear(c, n);
	ls_cnode_drop(c, n);
}

void ls_cluster_node_gone(struct ls_cluster *c, const char *name)
{
	int at;
	struct ls_cnode *n = ls_cluster_find(c, name, &at);

	if (n)
		node_gone(c, n);
}

void ls_cluster_nodes_begin(struct ls_cluster *c)
{
	c->node_round++;
}

void ls_cluster_nodes_end(struct ls_cluster *c)
{
	int i;

	for (i = c->n_nodes - 1; i >= 0; i--)
		if (c->nodes[i]->exists && c->nodes[i]->round != c->node_round)
			node_gone(c, c->nodes[i]);
}

int ls_cluster_nodes(const struct ls_cluster *c)
{
	int i, n = 0;

	for (i = 0; i < c->n_nodes; i++)
		n += c->nodes[i]->exists;
	return n;
}

bool ls_cluster_news(struct ls_cluster *c)
{
	bool news = c->news;

	c->news = false;
	return news;
}

bool ls_cluster_suits(struct ls_cluster *c, const cJSON *template_, const char *node)
{
	const cJSON *spec = get(template_, "spec");
	int at;
	const struct ls_cnode *n = ls_cluster_find(c, node, &at);
	const struct ls_taint *taint;
	struct ls_ask_resources need;
	struct ls_fit *fit = NULL;
	bool suits = n && !ls_pod_resources(spec, &need, NULL) && !ls_fit_open(&c->words, spec, &fit, NULL) && !ls_fit_node(fit, n, &taint);

	for (int i = 0; suits && i < need.n_extra; i++)
		suits = ls_cnode_extra(n, ls_words_find(&c->words, need.extra[i].name), false) >= need.extra[i].amount;
	ls_fit_close(fit);
	return suits && n->has.gpus >= need.gpus && n->has.cpu_milli >= need.cpu_milli && n->has.memory >= need.memory;
}

bool ls_cluster_node_ready(const struct ls_cluster *c, const char *name)
{
	int at;
	const struct ls_cnode *n = ls_cluster_find(c, name, &at);

	return n && n->exists && n->ready;
}

const char *ls_cluster_domain(const struct ls_cluster *c, const char *node, const char *label)
{
	int at;
	const struct ls_cnode *n = ls_cluster_find(c, node, &at);
	const struct ls_word *value = n ? ls_cnode_label(n, ls_words_find(&c->words, label)) : NULL;

	return value ? value->text : "";
}

void ls_cluster_close(struct ls_cluster *c)
{
	size_t i;

	if (!c)
		return;
	for (i = 0; i < c->cap_pods; i++)
		while (c->pods[i])
			ls_cpod_drop(c, c->pods[i]->key);
	while (c->n_nodes)
		node_gone(c, c->nodes[c->n_nodes - 1]);
	free(c->pods);
	free(c->nodes);
	free(c->words.v);
	free(c);
}
