/* place.c -- how long a place for a gang takes, and what a cluster costs in memory: 5,000 simulated nodes of 8 GPUs (racks of 16, blocks of 16
 * racks), and 3,000 jobs of mixed sizes, of which the newest 1,000 hold or want places. Prints one line for the cluster and one per kind of job.
 *
 * Nothing here is Kubernetes: Node and Pod objects as the API sends them, into operator/cluster.h. */
#include "operator/cluster.h"
#include "core/sort.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#define NODES 5000
#define JOBS 1000

static const struct kind {
	const char *says;
	int workers, gpus, share; /* share: of 100 jobs */
	enum ls_within within;
} kinds[] = {
	{ "1 worker of 1 GPU",                    1, 1, 40, LS_WITHIN_NONE },
	{ "4 workers of 2 GPUs, within a node",   4, 2, 25, LS_WITHIN_NODE },
	{ "8 workers of 8 GPUs, within a rack",   8, 8, 15, LS_WITHIN_RACK },
	{ "64 workers of 8 GPUs, within a block", 64, 8, 3, LS_WITHIN_BLOCK },
	{ "32 workers of 4 GPUs",                32, 4, 6, LS_WITHIN_NONE },
	{ "512 workers of 8 GPUs",              512, 8, 1, LS_WITHIN_NONE },
	{ "16 workers without GPUs",             16, 0, 10, LS_WITHIN_NONE },
};
#define KINDS (int)(sizeof(kinds) / sizeof(kinds[0]))

struct job { int kind, n; };

static double samples[KINDS][JOBS * 3];
static int n_samples[KINDS], waits[KINDS];

/* CPU time: a question does nothing but compute, and the machine may be shared. */
static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return t.tv_sec * 1e3 + t.tv_nsec / 1e6;
}

static void die(const struct ls_err *err)
{
	fprintf(stderr, "bench place: %s\n", err->text);
	exit(1);
}

static void fill(struct ls_cluster *c)
{
	struct ls_err err = LS_ERR_INIT;
	char json[2048];
	int i;

	for (i = 0; i < NODES; i++) {
		cJSON *node;

		snprintf(json, sizeof(json), "{\"metadata\":{\"name\":\"gpu-node-%04d\",\"labels\":{\"kubernetes.io/hostname\":\"gpu-node-%04d\",\"kubernetes.io/os\":\"linux\","
			"\"kubernetes.io/arch\":\"amd64\",\"node.kubernetes.io/instance-type\":\"gpu-8x\",\"topology.kubernetes.io/zone\":\"zone-1\","
			"\"topology.kubernetes.io/block\":\"block-%d\",\"topology.kubernetes.io/rack\":\"rack-%d\"}},"
			"\"spec\":{\"taints\":[{\"key\":\"nvidia.com/gpu\",\"effect\":\"NoSchedule\"}]},"
			"\"status\":{\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\"}],"
			"\"allocatable\":{\"cpu\":\"128\",\"memory\":\"2048Gi\",\"pods\":\"110\",\"nvidia.com/gpu\":\"8\","
			"\"ephemeral-storage\":\"900Gi\"}}}", i, i, i / 256, i / 16);
		node = cJSON_Parse(json);
		if (ls_cluster_node_set(c, node, &err))
			die(&err);
		cJSON_Delete(node);
	}
}

static cJSON *template_of(const struct kind *k)
{
	char json[512];

	snprintf(json, sizeof(json), "{\"spec\":{\"nodeSelector\":{\"kubernetes.io/arch\":\"amd64\"},"
		"\"tolerations\":[{\"key\":\"nvidia.com/gpu\",\"operator\":\"Exists\"}],"
		"\"containers\":[{\"name\":\"c\",\"resources\":{\"limits\":{"
		"\"cpu\":\"%d\",\"memory\":\"16Gi\",\"nvidia.com/gpu\":\"%d\"}}}]}}", k->gpus ? k->gpus * 8 : 4, k->gpus);
	return cJSON_Parse(json);
}

static void pod_name(char ret[64], int job, int worker)
{
	snprintf(ret, 64, "training-job-%d-worker-%d", job, worker);
}

static void start(struct ls_cluster *c, int id, struct job *j)
{
	const struct kind *k = &kinds[j->kind];
	cJSON *template_ = template_of(k);
	struct ls_place_ask ask = { .template_ = template_, .workers = k->workers, .min = k->workers, .within = k->within };
	struct ls_place_answer a;
	struct ls_ask_resources need;
	struct ls_err err = LS_ERR_INIT;
	double t = now();
	ls_status st = ls_cluster_place(c, &ask, &a, &err);
	char name[64];

	samples[j->kind][n_samples[j->kind]++] = now() - t;
	if (st && st != LS_AGAIN)
		die(&err);
	waits[j->kind] += st == LS_AGAIN;
	if (ls_pod_resources(cJSON_GetObjectItem(template_, "spec"), &need, &err))
		die(&err);
	for (j->n = 0; j->n < a.n; j->n++) {
		pod_name(name, id, j->n);
		if (ls_cluster_reserve(c, "team-a", name, a.node[j->n], &need, &err))
			die(&err);
	}
	free(a.node);
	cJSON_Delete(template_);
}

static void stop(struct ls_cluster *c, int id, struct job *j)
{
	char name[64];

	while (j->n) {
		pod_name(name, id, --j->n);
		ls_cluster_release(c, "team-a", name);
	}
}

static int kind_of(int percent)
{
	int k = 0;

	while (percent >= kinds[k].share)
		percent -= kinds[k++].share;
	return k;
}

static size_t heap(void)
{
	return mallinfo2().uordblks;
}

int main(void)
{
	static struct job jobs[JOBS];
	struct ls_cluster *c;
	struct ls_err err = LS_ERR_INIT;
	size_t before = heap(), nodes;
	struct rusage usage;
	unsigned r = 1;
	int i, k, pods = 0;

	if (ls_cluster_open(&c, &err))
		die(&err);
	fill(c);
	nodes = heap() - before;
	for (i = 0; i < 3 * JOBS; i++) {
		struct job *j = &jobs[i % JOBS];

		r = r * 1103515245 + 12345;
		stop(c, i % JOBS, j);
		j->kind = kind_of((r >> 16) % 100);
		start(c, i % JOBS, j);
	}
	for (i = 0; i < JOBS; i++)
		pods += jobs[i].n;
	getrusage(RUSAGE_SELF, &usage);
	printf("place: %d nodes in %.1f MB; %d Pods of %d jobs in %.1f MB more; the process at most %.1f MB; CPU time of a question in ms\n", NODES, nodes / 1e6,
		pods, JOBS, (heap() - before - nodes) / 1e6, usage.ru_maxrss / 1e3);
	printf("%-38s %6s %6s %8s %8s %8s\n", "", "asked", "waits", "median", "p99", "max");
	for (k = 0; k < KINDS; k++) {
		int n = n_samples[k];

		ls_sort(samples[k], n);
		printf("%-38s %6d %6d %8.2f %8.2f %8.2f\n", kinds[k].says, n, waits[k], samples[k][n / 2],
			samples[k][n * 99 / 100], samples[k][n - 1]);
	}
	ls_cluster_close(c);
	return 0;
}
