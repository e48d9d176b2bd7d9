/* metrics.c -- /metrics: Prometheus' text format. */
#include "core/io.h"
#include "operator/controller_impl.h"

#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static const char *const states[] = { "Pending", "Starting", "Running", "Restarting", "Suspended", "Succeeded", "Failed" };
#define STATES ((int)(sizeof(states) / sizeof(states[0])))

static void head(struct ls_str *ret, const char *name, const char *type, const char *help)
{
	ls_str_addf(ret, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void one(struct ls_str *ret, const char *name, const char *type, const char *help, double value)
{
	head(ret, name, type, help);
	ls_str_addf(ret, "%s %.15g\n", name, value);
}

static void count_job(struct ls_controller *c, struct job *job, void *arg)
{
	int *counts = arg;

	(void)c;
	for (int i = 0; job->known && i < STATES; i++)
		counts[i] += !strcmp(job->seen.status.state, states[i]) || (i == 0 && !job->seen.status.state[0]);
}

static void seen(struct ls_controller *c, struct ls_str *ret)
{
	int counts[STATES] = { 0 }, depth, nodes;

	pthread_mutex_lock(&c->lock);
	ls_jobs_each(c, count_job, counts);
	depth = c->queue.n;
	nodes = ls_cluster_nodes(c->cluster);
	pthread_mutex_unlock(&c->lock);
	head(ret, "lockstep_jobs", "gauge", "TrainingJobs by state.");
	for (int i = 0; i < STATES; i++)
		ls_str_addf(ret, "lockstep_jobs{state=\"%s\"} %d\n", states[i], counts[i]);
	one(ret, "lockstep_nodes", "gauge", "Nodes that are seen.", nodes);
	one(ret, "lockstep_queue_depth", "gauge", "Jobs that are to be looked at, now or at a later time.", depth);
}

static void requests(struct ls_str *ret, const struct ls_kube_counts *api)
{
	head(ret, "lockstep_api_requests_total", "counter", "Requests to the API server, by verb and how they were answered; none: no answer.");
	for (int i = 0; i < LS_VERBS; i++)
		for (int k = 0; k < LS_OUTCOMES; k++)
			if (api->requests[i][k])
				ls_str_addf(ret, "lockstep_api_requests_total{verb=\"%s\",code=\"%s\"} %llu\n", ls_kube_verbs[i], ls_kube_outcomes[k],
					(unsigned long long)api->requests[i][k]);
}

static void process(struct ls_str *ret)
{
	struct rusage use;
	long total = 0, resident = 0;
	FILE *f = fopen("/proc/self/statm", "re");

	if (f && fscanf(f, "%ld %ld", &total, &resident) != 2)
		resident = 0;
	if (f)
		fclose(f);
	getrusage(RUSAGE_SELF, &use);
	one(ret, "process_resident_memory_bytes", "gauge", "Resident memory.", (double)resident * (double)sysconf(_SC_PAGESIZE));
	one(ret, "process_cpu_seconds_total", "counter", "CPU time of user and system.",
		(double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) + 1e-6 * (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec));
}

void ls_controller_metrics(struct ls_controller *c, struct ls_str *ret)
{
	struct ls_kube_counts api;
	int links, up;

	ls_kube_counts(&api);
	ls_links_count(c->links, &links, &up);
	seen(c, ret);
	one(ret, "lockstep_leader", "gauge", "1: this process leads.", !c->opt.may_act || c->opt.may_act(c->opt.arg, 0));
	head(ret, "lockstep_links", "gauge", "Connections to launchers.");
	ls_str_addf(ret, "lockstep_links{up=\"true\"} %d\nlockstep_links{up=\"false\"} %d\n", up, links - up);
	one(ret, "lockstep_pods_created_total", "counter", "Pods that were created.", (double)c->pods_created);
	one(ret, "lockstep_pods_deleted_total", "counter", "Pods whose deletion was asked for.", (double)c->pods_deleted);
	one(ret, "lockstep_conflicts_total", "counter", "Writes that were refused because the job had changed.", (double)c->conflicts);
	head(ret, "lockstep_reconcile_seconds", "summary", "From when a job is taken up until everything decided for it is answered.");
	ls_str_addf(ret, "lockstep_reconcile_seconds_sum %.3f\nlockstep_reconcile_seconds_count %lld\n", 1e-3 * (double)c->reconcile_ms, (long long)c->reconciles);
	requests(ret, &api);
	one(ret, "lockstep_throttled_seconds_total", "counter", "Time for which requests were held back by --kube-api-qps.", 1e-3 * (double)api.throttled_ms);
	one(ret, "lockstep_events_dropped_total", "counter", "Events that were not sent.", (double)ls_event_post_dropped(c->events));
	process(ret);
}
