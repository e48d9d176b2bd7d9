/* cmd_bench_predict_show.c -- the table, JSON, and what was assumed; see cmd_bench_predict.h. Fields: docs/predict.md. */
#include "launcher/cmd_bench_predict.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static double total_of(const struct ls_pred_job *job)
{
	double sum = 0;
	int i;

	for (i = 0; i < job->n_buckets; i++)
		sum += job->buckets[i];
	return sum;
}

/* NaN: the batch is not known. */
static double rate_of(const struct ls_predict *p, const struct ls_pred_point *at)
{
	return p->batch > 0 ? p->batch * (p->job.strong_of ? p->job.strong_of : at->ranks) / at->step_s : NAN;
}

static void way_name(const struct ls_pred_way *w, char *ret, size_t size)
{
	if (w)
		snprintf(ret, size, "%s%s%s", ls_pred_algorithm_name(w->algorithm), w->protocol[0] ? " " : "", w->protocol);
	else
		snprintf(ret, size, "-");
}

static void add_links(const struct ls_predict *p, struct ls_strv *ret)
{
	const struct ls_pred_net *net = &p->net;
	int i;

	ls_strv_addf(ret, "Links are those of %s: %s. Inside a node each rank has %.3g GB/s.", p->topology, net->name, net->intra_bw * 1e-9);
	if (net->nic_bw > 0)
		ls_strv_addf(ret, "Between nodes each node has %d x %.3g GB/s; the fabric is oversubscribed %g times.", net->nics, net->nic_bw * 1e-9,
			net->oversubscription);
	for (i = 0; i < LS_PREDICT_FITS; i++)
		if (p->fits[i].used)
			ls_strv_addf(ret, "The figures %s are measured ones: --fit.",
				i ? "between nodes (all NICs of a node, as one rank sees them)" : "inside a node");
	if (p->job.shard != LS_PRED_NONE)
		ls_strv_addf(ret, "State is sharded: gradients are reduce-scattered, %g bytes of parameters for each of gradients are all-gathered for %s.",
			p->job.gather_ratio, p->job.shard == LS_PRED_ZERO3 ? "forward and for backward" : "forward");
	ls_strv_addf(ret, "Each bucket takes the cheapest of the topology's ways; low and high have collectives %.0f%% faster and slower.",
		net->error * 100);
}

void ls_predict_assumptions(const struct ls_predict *p, struct ls_strv *ret)
{
	const struct ls_pred_job *job = &p->job;

	ls_strv_add(ret, "Data-parallel only: every rank does the same step on its own samples.");
	add_links(p, ret);
	if (job->samples)
		ls_strv_addf(ret, "Compute is what %zu steps of %s took%s, the optimizer in it; ranks are independent, and no step is slower than the "
			"slowest there.", job->n_samples, p->run, p->measured.ranks > 1 ? " less what they waited" : "");
	else
		ls_strv_addf(ret, "Compute is %.6g ms with a normal spread of %g%%, independent for each rank and step; the optimizer %g ms.",
			job->compute_s * 1e3, p->spread_pct, job->optimizer_s * 1e3);
	ls_strv_addf(ret, "Backward is %.3g of compute; a bucket is ready when backward has done its part of the bytes; one stream carries "
		"collectives%s, and compute is not slowed by it.", job->backward, job->overlap ? "" : ", after backward");
	if (job->strong_of)
		ls_strv_addf(ret, "The batch of %d ranks is divided among all, and compute shrinks in proportion.", job->strong_of);
	else
		ls_strv_add(ret, "Each rank keeps its batch.");
}

void ls_predict_show_fits(const struct ls_predict *p)
{
	int i;

	printf("# link          algorithm   samples   latency_us         GB/s    rms error  worst error  a size from the others\n");
	for (i = 0; i < LS_PREDICT_FITS; i++) {
		const struct ls_predict_fit *f = &p->fits[i];

		if (!f->used)
			continue;
		printf("  %-13s %-10s %8zu %12.3f %12.3f %11.1f%% %11.1f%%", i ? "between nodes" : "inside a node",
			ls_pred_algorithm_name(f->algorithm), f->n, f->fit.alpha_s * 1e6, f->fit.bandwidth * 1e-9, f->fit.rms * 100,
			f->fit.worst * 100);
		if (isnan(f->fit.left_out))
			printf("  %22s\n", "-");
		else
			printf("  %21.1f%%\n", f->fit.left_out * 100);
	}
}

void ls_predict_show(const struct ls_predict *p)
{
	struct ls_strv said = { 0 };
	char way[64];
	size_t k;
	int i;

	ls_predict_assumptions(p, &said);
	if (p->fit_files.n)
		ls_predict_show_fits(p);
	printf("# gradients: %.1f MB in %d bucket%s\n", total_of(&p->job) * 1e-6, p->job.n_buckets, p->job.n_buckets > 1 ? "s" : "");
	printf("#  ranks  nodes   compute     waits      comm   exposed      step       low      high     eff.    samples/s  collective\n");
	printf("#                    (ms)      (ms)      (ms)      (ms)      (ms)      (ms)      (ms)\n");
	for (i = 0; i < p->n_worlds; i++) {
		const struct ls_pred_point *at = &p->points[i];

		way_name(at->way, way, sizeof(way));
		printf("%8d %6d %9.2f %9.2f %9.2f %9.2f %9.2f %9.2f %9.2f  %5.1f%%", at->ranks, at->nodes, at->compute_s * 1e3, at->waits_s * 1e3,
			at->comm_s * 1e3, at->exposed_s * 1e3, at->step_s * 1e3, at->low_s * 1e3, at->high_s * 1e3, at->efficiency * 100);
		if (p->batch > 0)
			printf(" %12.0f  %s\n", rate_of(p, at), way);
		else
			printf(" %12s  %s\n", "-", way);
	}
	for (k = 0; k < said.n; k++)
		printf("# %s\n", said.v[k]);
	ls_strv_release(&said);
}

/* --- JSON ---------------------------------------------------------------------------------------------------------------------------- */

static void add_number(cJSON *o, const char *key, double v)
{
	if (isfinite(v))
		cJSON_AddNumberToObject(o, key, v);
}

static cJSON *point_object(const struct ls_predict *p, const struct ls_pred_point *at)
{
	cJSON *o = cJSON_CreateObject();
	char way[64];

	way_name(at->way, way, sizeof(way));
	cJSON_AddNumberToObject(o, "ranks", at->ranks);
	cJSON_AddNumberToObject(o, "nodes", at->nodes);
	add_number(o, "compute_ms", at->compute_s * 1e3);
	add_number(o, "waits_ms", at->waits_s * 1e3);
	add_number(o, "comm_ms", at->comm_s * 1e3);
	add_number(o, "exposed_ms", at->exposed_s * 1e3);
	add_number(o, "step_ms", at->step_s * 1e3);
	add_number(o, "low_ms", at->low_s * 1e3);
	add_number(o, "high_ms", at->high_s * 1e3);
	add_number(o, "efficiency", at->efficiency);
	add_number(o, "samples_per_s", rate_of(p, at));
	cJSON_AddStringToObject(o, "collective", way);
	return o;
}

static cJSON *fit_object(const struct ls_predict_fit *f, bool inter)
{
	cJSON *o = cJSON_CreateObject();

	cJSON_AddStringToObject(o, "link", inter ? "inter" : "intra");
	cJSON_AddStringToObject(o, "algorithm", ls_pred_algorithm_name(f->algorithm));
	cJSON_AddNumberToObject(o, "samples", (double)f->n);
	add_number(o, "latency_us", f->fit.alpha_s * 1e6);
	add_number(o, "gbps", f->fit.bandwidth * 1e-9);
	add_number(o, "rms_error", f->fit.rms);
	add_number(o, "worst_error", f->fit.worst);
	add_number(o, "left_out_error", f->fit.left_out);
	return o;
}

ls_status ls_predict_json(const struct ls_predict *p, struct ls_err *err)
{
	cJSON *o = cJSON_CreateObject(), *fits = cJSON_AddArrayToObject(o, "fits"), *points, *said;
	struct ls_strv text = { 0 };
	char *out;
	size_t k;
	int i;

	for (i = 0; i < LS_PREDICT_FITS; i++)
		if (p->fits[i].used)
			cJSON_AddItemToArray(fits, fit_object(&p->fits[i], i));
	if (p->topology) {
		cJSON_AddStringToObject(o, "topology", p->net.name);
		cJSON_AddNumberToObject(o, "gradient_bytes", total_of(&p->job));
		cJSON_AddNumberToObject(o, "buckets", p->job.n_buckets);
		points = cJSON_AddArrayToObject(o, "points");
		for (i = 0; i < p->n_worlds; i++)
			cJSON_AddItemToArray(points, point_object(p, &p->points[i]));
		ls_predict_assumptions(p, &text);
		said = cJSON_AddArrayToObject(o, "assumptions");
		for (k = 0; k < text.n; k++)
			cJSON_AddItemToArray(said, cJSON_CreateString(text.v[k]));
		ls_strv_release(&text);
	}
	out = cJSON_Print(o);
	cJSON_Delete(o);
	if (!out)
		return ls_fail_oom(err);
	puts(out);
	cJSON_free(out);
	return LS_OK;
}
