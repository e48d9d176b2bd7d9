/* cluster_impl.h -- the inside of a cluster, for cluster.c, words.c, fit.c and gang*.c.
 *
 * Invariants: `nodes` is sorted by name. Each Pod is in the table and in the list of its node. A node that only Pods speak of is in `nodes`, with
 * `exists` false. What a node's Pods use is summed when it is asked for (ls_cnode_used): nothing is ever added to and subtracted from, so that
 * nothing can drift or wrap. */
#ifndef LS_CLUSTER_IMPL_H
#define LS_CLUSTER_IMPL_H

#include "operator/cluster.h"

#include <stddef.h>

#define LS_GPU "nvidia.com/gpu"

/* Texts that many nodes have in common, each kept once: equal texts are equal pointers. */
struct ls_word {
	struct ls_word *next;
	uint64_t hash;
	unsigned refs;
	char text[];
};

struct ls_words {
	struct ls_word **v;
	size_t n, cap;
	uint64_t seed; /* set before the first use */
};

const struct ls_word *ls_words_find(const struct ls_words *w, const char *text); /* NULL: nobody has it */
struct ls_word *ls_words_get(struct ls_words *w, const char *text);             /* one reference; NULL: no memory */
void ls_words_put(struct ls_words *w, struct ls_word *word);                     /* NULL is fine */
uint64_t ls_words_hash(const struct ls_words *w, const char *text);

struct ls_label {
	struct ls_word *key, *value;
};

enum ls_effect { LS_NO_SCHEDULE, LS_NO_EXECUTE };

struct ls_taint {
	struct ls_word *key, *value;
	enum ls_effect effect;
};

struct ls_extras {
	int n;
	struct ls_extra { struct ls_word *name; int64_t amount; } v[];
};

struct ls_cpod {                  /* a Pod that counts on a node, or a reservation */
	struct ls_cpod *hash_next;
	struct ls_cpod *next, **at;   /* of its node */
	struct ls_cnode *node;
	int64_t cpu_milli, memory;
	struct ls_extras *extra;      /* NULL: none */
	int32_t gpus;
	bool seen;                    /* as an object; else only reserved */
	uint8_t round;                /* of the last list that had it */
	char key[];                   /* "namespace/name" */
};

struct ls_cnode {
	char *name;
	bool exists, ready, cordoned;
	bool summed;                  /* `used` is right */
	uint8_t round;
	int n_labels, n_taints;
	struct ls_label *labels;      /* sorted by the key's pointer */
	struct ls_taint *taints;
	struct ls_extras *extra;      /* allocatable */
	struct ls_amounts { int64_t cpu_milli, memory, gpus, pods; } has, used;
	struct ls_cpod *pods;
};

struct ls_cluster {
	struct ls_cnode **nodes;
	int n_nodes, cap_nodes;
	struct ls_cpod **pods;
	size_t n_pods, cap_pods;
	struct ls_words words;
	uint8_t node_round, pod_round;
	bool news;                    /* see ls_cluster_news() */
};

struct ls_cnode *ls_cnode_get(struct ls_cluster *c, const char *name); /* a new one of which nothing is known, if there is none; NULL: no memory */
void ls_cnode_drop(struct ls_cluster *c, struct ls_cnode *n); /* if nobody speaks of it any more */
void ls_cpod_drop(struct ls_cluster *c, const char *key);    /* it may be absent */
bool ls_extra_add(struct ls_cluster *c, struct ls_extras *e, const char *name, int64_t amount); /* has room; false: no memory */
void ls_extras_free(struct ls_cluster *c, struct ls_extras *e);
struct ls_word *ls_cnode_label(const struct ls_cnode *n, const struct ls_word *key); /* NULL: none */
const struct ls_amounts *ls_cnode_used(struct ls_cnode *n);
int64_t ls_cnode_extra(const struct ls_cnode *n, const struct ls_word *name, bool used); /* what it has, or what its Pods use */
struct ls_cnode *ls_cluster_find(const struct ls_cluster *c, const char *name, int *ret_at); /* NULL: none; *ret_at: where it would be */

/* An entry of requests, limits or allocatable: in its unit (CPU: thousandths), rounded up. False: absent, or none, or negative, with *ret_bad set. */
bool ls_quantity_of(const cJSON *item, bool milli, int64_t *ret, bool *ret_bad);
int64_t ls_add_clamped(int64_t a, int64_t b); /* both >= 0 */

#endif
