/* cluster_pods.c -- what the Pods of a cluster take from its nodes, and reservations for those to come. */
#include "operator/cluster_impl.h"

#include <stdlib.h>
#include <string.h>

static const cJSON *get(const cJSON *o, const char *name)
{
	return cJSON_GetObjectItemCaseSensitive(o, name);
}

static const char *text(const cJSON *o, const char *name)
{
	const char *s = cJSON_GetStringValue(get(o, name));

	return s ? s : "";
}

const struct ls_amounts *ls_cnode_used(struct ls_cnode *n)
{
	const struct ls_cpod *p;

	if (n->summed)
		return &n->used;
	n->used = (struct ls_amounts){ 0 };
	for (p = n->pods; p; p = p->next) {
		n->used.cpu_milli = ls_add_clamped(n->used.cpu_milli, p->cpu_milli);
		n->used.memory = ls_add_clamped(n->used.memory, p->memory);
		n->used.gpus += p->gpus;
		n->used.pods++;
	}
	n->summed = true;
	return &n->used;
}

static int64_t extra_of(const struct ls_extras *e, const struct ls_word *name)
{
	int i;

	for (i = 0; e && i < e->n; i++)
		if (e->v[i].name == name)
			return e->v[i].amount;
	return 0;
}

int64_t ls_cnode_extra(const struct ls_cnode *n, const struct ls_word *name, bool used)
{
	const struct ls_cpod *p;
	int64_t sum = 0;

	if (!used)
		return extra_of(n->extra, name);
	for (p = n->pods; p; p = p->next)
		sum = ls_add_clamped(sum, extra_of(p->extra, name));
	return sum;
}

static struct ls_cpod **pod_find(const struct ls_cluster *c, const char *key)
{
	struct ls_cpod **at = &c->pods[ls_words_hash(&c->words, key) & (c->cap_pods - 1)];

	while (*at && strcmp((*at)->key, key) != 0)
		at = &(*at)->hash_next;
	return at;
}

static struct ls_cpod *pod_get(const struct ls_cluster *c, const char *key)
{
	return c->cap_pods ? *pod_find(c, key) : NULL;
}

static bool pods_grow(struct ls_cluster *c)
{
	size_t cap = c->cap_pods ? c->cap_pods * 2 : 256, i;
	struct ls_cpod **v = calloc(cap, sizeof(*v)), *p, **at;

	if (!v)
		return false;
	for (i = 0; i < c->cap_pods; i++)
		while ((p = c->pods[i])) {
			c->pods[i] = p->hash_next;
			at = &v[ls_words_hash(&c->words, p->key) & (cap - 1)];
			p->hash_next = *at;
			*at = p;
		}
	free(c->pods);
	c->pods = v;
	c->cap_pods = cap;
	return true;
}

static void pod_free(struct ls_cluster *c, struct ls_cpod *p)
{
	ls_extras_free(c, p->extra);
	free(p);
}

void ls_cpod_drop(struct ls_cluster *c, const char *key)
{
	struct ls_cpod **at = c->cap_pods ? pod_find(c, key) : NULL, *p = at ? *at : NULL;

	if (!p)
		return;
	*at = p->hash_next;
	*p->at = p->next;
	if (p->next)
		p->next->at = p->at;
	p->node->summed = false;
	c->n_pods--;
	ls_cnode_drop(c, p->node);
	pod_free(c, p);
}

static struct ls_cpod *pod_new(struct ls_cluster *c, const char *key, const struct ls_ask_resources *r)
{
	size_t len = strlen(key) + 1;
	struct ls_cpod *p = calloc(1, sizeof(*p) + len);
	bool fine = p != NULL;
	int i;

	if (!fine)
		return NULL;
	memcpy(p->key, key, len);
	p->cpu_milli = r->cpu_milli;
	p->memory = r->memory;
	p->gpus = r->gpus > 1 << 20 ? 1 << 20 : (int32_t)r->gpus;
	if (r->n_extra) {
		p->extra = calloc(1, sizeof(*p->extra) + r->n_extra * sizeof(p->extra->v[0]));
		fine = p->extra != NULL;
	}
	for (i = 0; i < r->n_extra && fine; i++)
		fine = ls_extra_add(c, p->extra, r->extra[i].name, r->extra[i].amount);
	if (!fine) {
		pod_free(c, p);
		return NULL;
	}
	return p;
}

/* Takes the place of the entry of the same key. */
static ls_status pod_put(struct ls_cluster *c, const char *key, const char *node, const struct ls_ask_resources *need, bool seen, struct ls_err *err)
{
	struct ls_cpod *p = pod_new(c, key, need), **at;
	struct ls_cnode *n = p ? ls_cnode_get(c, node) : NULL;

	if (!n || (c->n_pods >= c->cap_pods && !pods_grow(c))) {
		if (p)
			pod_free(c, p);
		if (n)
			ls_cnode_drop(c, n);
		return ls_fail_oom(err);
	}
	p->node = n;
	p->seen = seen;
	p->round = c->pod_round;
	p->next = n->pods;
	p->at = &n->pods;
	if (n->pods)
		n->pods->at = &p->next;
	n->pods = p;
	n->summed = false;
	ls_cpod_drop(c, key);
	at = pod_find(c, key);
	p->hash_next = *at;
	*at = p;
	c->n_pods++;
	return LS_OK;
}

/* The one node that the Pod's required affinity takes, where it says so by name; "". */
static const char *pinned(const cJSON *spec)
{
	const cJSON *required = get(get(get(spec, "affinity"), "nodeAffinity"), "requiredDuringSchedulingIgnoredDuringExecution");
	const cJSON *terms = get(required, "nodeSelectorTerms"), *it, *values;

	if (cJSON_GetArraySize(terms) != 1)
		return "";
	cJSON_ArrayForEach(it, get(terms->child, "matchFields")) {
		values = get(it, "values");
		if (strcmp(text(it, "operator"), "In") == 0 && cJSON_GetArraySize(values) == 1 && cJSON_IsString(values->child))
			return values->child->valuestring;
	}
	return "";
}

/* NULL: no memory. */
static char *key_of(const char *namespace_, const char *name)
{
	size_t a = strlen(namespace_), b = strlen(name) + 1;
	char *key = malloc(a + 1 + b);

	if (key) {
		memcpy(key, namespace_, a);
		key[a] = '/';
		memcpy(key + a + 1, name, b);
	}
	return key;
}

static ls_status pod_seen(struct ls_cluster *c, const char *key, const cJSON *pod, struct ls_err *err)
{
	const cJSON *spec = get(pod, "spec");
	const char *phase = text(get(pod, "status"), "phase"), *node = text(spec, "nodeName");
	struct ls_ask_resources need;
	struct ls_cpod *known;
	ls_status st;

	if (strcmp(phase, "Succeeded") == 0 || strcmp(phase, "Failed") == 0) {
		ls_cpod_drop(c, key);
		return LS_OK;
	}
	if (!*node)
		node = pinned(spec);
	known = pod_get(c, key);
	if (!*node) {            /* a reservation stands until the Pod is on a node */
		if (known) {
			known->seen = true;
			known->round = c->pod_round;
		}
		return LS_OK;
	}
	st = ls_pod_resources(spec, &need, err);
	return st ? ls_err_at(err, st, "Pod %s: ", key) : pod_put(c, key, node, &need, true, err);
}

ls_status ls_cluster_pod_set(struct ls_cluster *c, const cJSON *pod, struct ls_err *err)
{
	const cJSON *meta = get(pod, "metadata");
	char *key;
	ls_status st;

	if (!*text(meta, "name"))
		return ls_fail(err, LS_USAGE, 0, "a Pod without a name");
	key = key_of(text(meta, "namespace"), text(meta, "name"));
	st = key ? pod_seen(c, key, pod, err) : ls_fail_oom(err);
	free(key);
	return st;
}

/* For lack of memory it stays, until the next list: too much is taken then, never too little. */
void ls_cluster_pod_gone(struct ls_cluster *c, const char *namespace_, const char *name)
{
	char *key = key_of(namespace_, name);

	if (key)
		ls_cpod_drop(c, key);
	free(key);
}

void ls_cluster_pods_begin(struct ls_cluster *c)
{
	c->pod_round++;
}

void ls_cluster_pods_end(struct ls_cluster *c)
{
	size_t i;
	struct ls_cpod *p, *next;

	for (i = 0; i < c->cap_pods; i++)
		for (p = c->pods[i]; p; p = next) {
			next = p->hash_next;
			if (p->seen && p->round != c->pod_round)
				ls_cpod_drop(c, p->key);
		}
}

ls_status ls_cluster_reserve(struct ls_cluster *c, const char *namespace_, const char *name, const char *node, const struct ls_ask_resources *need,
	struct ls_err *err)
{
	char *key;
	int at;
	const struct ls_cpod *known;
	const struct ls_cnode *n = ls_cluster_find(c, node, &at);
	ls_status st = LS_OK;

	if (!n || !n->exists)
		return ls_fail(err, LS_NOT_FOUND, 0, "no node %s to reserve for Pod %s/%s", node, namespace_, name);
	key = key_of(namespace_, name);
	if (!key)
		return ls_fail_oom(err);
	known = pod_get(c, key);
	if (!known || !known->seen)
		st = pod_put(c, key, node, need, false, err);
	free(key);
	return st;
}

void ls_cluster_release(struct ls_cluster *c, const char *namespace_, const char *name)
{
	char *key = key_of(namespace_, name);
	const struct ls_cpod *known = key ? pod_get(c, key) : NULL;

	if (known && !known->seen)
		ls_cpod_drop(c, key);
	free(key);
}
