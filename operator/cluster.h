/* cluster.h -- the nodes of a cluster, what is free on them, and where the workers of a job go. No I/O.
 *
 * A worker is one Pod; a gang is all Pods of a job. Placement is all or nothing, and pure: the same cluster and question give the same answer.
 *
 * What is free on a node: allocatable less the requests of every Pod on it that is not Succeeded or Failed, less reservations: Pods that were decided and are not yet seen.
 * A Pod without a node whose required node affinity names one (metadata.name In [it]) counts there: what an operator decided survives it.
 *
 * Rules of ls_cluster_place, in this order:
 *   - Only nodes that are Ready, not cordoned, whose taints (NoSchedule, NoExecute) the template tolerates, and that its nodeSelector and required
 *     node affinity take.
 *   - `within` node, rack, block: all workers in one domain of that level. Level `rack` is the last of topology_keys but the hostname, `block` the one before it. A
 *     node without the label belongs to no domain of that level, and cannot be used when `within` asks for one. Racks of one name in two blocks are two racks.
 *   - Workers without GPUs avoid nodes that have some while nodes without hold the whole gang.
 *   - Of all domains that hold the gang the narrowest: one node, else one rack, else one block, else all. Among equals the one that is left with the least free GPUs (then
 *     cores), so that large ones stay whole.
 *   - Inside: fewest blocks, then racks, then nodes; whole-GPU nodes (all free) only for workers that fill them, or when nothing else is left.
 *   - Order: worker i and i+1 are on one node, else in one rack, else in one block, as far as it goes; and so are the last and the first as near as can be.
 *   - With min < workers: as many as fit, but at least min.
 *
 * Left to the scheduler, which checks every Pod again: preferred affinities, affinity between Pods, topologySpreadConstraints, volumes, resource claims, host ports.
 *
 *   Ownership  the cluster copies what it is given.
 *   Threads    one.
 *   Limits     5,000 nodes, 200,000 Pods: a question is answered in milliseconds; memory is a node's name, its labels (each text once), and 64 bytes and its name a Pod.
 *              A template may make at most 1,000 requirements on nodes (values, tolerations) and ask for 16 resources beside CPU, memory and GPUs. */
#ifndef LS_CLUSTER_H
#define LS_CLUSTER_H

#include "core/job.h"
#include "core/status.h"

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stdint.h>

struct ls_cluster;

#define LS_EXTRAS 16

struct ls_ask_resources { /* of one Pod: requests, or limits where there is no request, as Kubernetes counts them (init containers, overhead) */
	int64_t cpu_milli, memory, gpus; /* gpus: nvidia.com/gpu */
	/* Whatever else is asked for: ephemeral-storage, hugepages-2Mi, amd.com/gpu, rdma/hca, … */
	struct ls_ask_extra {
		const char *name; /* borrowed from the spec */
		int64_t amount;   /* > 0 */
	} extra[LS_EXTRAS];
	int n_extra;
};

ls_status ls_cluster_open(struct ls_cluster **ret, struct ls_err *err);
void ls_cluster_close(struct ls_cluster *c);

/* Objects of the API: a Node, a Pod. A failure leaves the cluster as it was. LS_USAGE: the object has no name, or an amount that is none. */
ls_status ls_cluster_node_set(struct ls_cluster *c, const cJSON *node, struct ls_err *err);
void ls_cluster_node_gone(struct ls_cluster *c, const char *name);
ls_status ls_cluster_pod_set(struct ls_cluster *c, const cJSON *pod, struct ls_err *err);
void ls_cluster_pod_gone(struct ls_cluster *c, const char *namespace_, const char *name);
/* Relists: begin, set all, end drops what was not set since. */
void ls_cluster_nodes_begin(struct ls_cluster *c);
void ls_cluster_nodes_end(struct ls_cluster *c);
void ls_cluster_pods_begin(struct ls_cluster *c);
void ls_cluster_pods_end(struct ls_cluster *c);

/* A Pod of this name is decided for this node; forgotten when the Pod is seen on a node, finished, gone, or released. LS_NOT_FOUND: no such node. */
ls_status ls_cluster_reserve(struct ls_cluster *c, const char *namespace_, const char *name, const char *node, const struct ls_ask_resources *need, struct ls_err *err);
void ls_cluster_release(struct ls_cluster *c, const char *namespace_, const char *name);

/* Something of a node changed that may make a place of it (ready, uncordoned, taints, labels, resources; not its heartbeat) since the last time
 * that this was asked. */
bool ls_cluster_news(struct ls_cluster *c);

int ls_cluster_nodes(const struct ls_cluster *c);
bool ls_cluster_node_ready(const struct ls_cluster *c, const char *name); /* false: unknown, not Ready, or unreachable */
const char *ls_cluster_domain(const struct ls_cluster *c, const char *node, const char *label); /* its value, ""; borrowed until the node changes */

struct ls_place_ask {
	const cJSON *template_;     /* a PodTemplateSpec: resources, nodeSelector, affinity, tolerations of its Pods */
	int workers, min;           /* of workers that still need a node; at least min of them */
	const char *const *kept;    /* nodes of workers that stay where they are, [n_kept]: the domain must hold them, too */
	int n_kept;
	const int *kept_index;      /* their worker numbers, ascending; the others' numbers fill the gaps */
	enum ls_within within;
	const cJSON *spare;         /* a PodTemplateSpec: its Pods' nodes (ls_cluster_suits) are not used; NULL */
	const char *const *keys;    /* topologyKeys, widest first, NULL-terminated; NULL or empty: topology.kubernetes.io/block, …/rack */
};

struct ls_place_answer {
	int n;                      /* workers that got a node */
	const char **node;          /* [n] of the workers in ascending number; borrowed names, valid until the cluster changes; the array is the caller's to free() */
	char why_not[512];          /* LS_AGAIN: "needs 8 GPUs within one rack; largest free is 6 in rack-b"; one sentence for status and event */
};

/* LS_OK; LS_AGAIN: does not fit now; LS_USAGE: can never fit (no node is that large, even empty; a topology key that no node has; a template that is none): why_not says
 * so. Out of memory: LS_AGAIN, in err and why_not. */
ls_status ls_cluster_place(struct ls_cluster *c, const struct ls_place_ask *ask, struct ls_place_answer *ret, struct ls_err *err);
/* May a Pod of the template ever be on that node, whatever is on it now? */
bool ls_cluster_suits(struct ls_cluster *c, const cJSON *template_, const char *node);
/* LS_USAGE: a negative amount, or no quantity. */
ls_status ls_pod_resources(const cJSON *pod_spec, struct ls_ask_resources *ret, struct ls_err *err);
/* "500m", "1.5", "2Gi", "1e3": in thousandths, rounded away from 0; beyond 64 bits the largest there is. False: no quantity. */
bool ls_quantity_milli(const char *text, int64_t *ret);

#endif
