/* predict_step.c -- one step: forward, backward with its collectives under it, the slowest rank, the optimizer; see predict.h.
 *
 * One stream carries collectives, one at a time, in the order in which they are asked for, as liblockstep, DDP and FSDP do. Compute is never
 * slowed by it, which is too good: docs/predict.md says how far off that was. */
#include "launcher/predict.h"

#include <math.h>

/* The standard normal's quantile with `tail` above it. Newton's steps from 0: the tail is convex above and concave below, so they never overshoot. */
static double normal_above(double tail)
{
	double x = 0, step = 1;
	int i;

	for (i = 0; i < 500 && fabs(step) > 1e-12; i++) {
		step = (0.5 * erfc(x / M_SQRT2) - tail) / (exp(-x * x / 2) / sqrt(2 * M_PI));
		x += step;
	}
	return x;
}

/* Blom 1958: the mean of the largest of n is near the quantile at (n - 0.375) / (n + 0.25); 0.026 too much for 2 and 3, less for more. */
double ls_pred_normal_max(double n)
{
	return n > 1 ? normal_above(0.625 / (n + 0.25)) : 0;
}

double ls_pred_sample_max(const double *samples, size_t n_samples, double n)
{
	double sum = 0, below = 0, upto;
	size_t i;

	for (i = 0; i < n_samples; i++) {
		upto = pow((double)(i + 1) / (double)n_samples, n);
		sum += samples[i] * (upto - below);
		below = upto;
	}
	return sum;
}

struct stream {
	const struct ls_pred_net *net;
	int ranks;
	double scale, free_at, busy;
};

/* When a collective that is asked for at `at` is done. */
static double carry(struct stream *s, enum ls_pred_op op, double bytes, double at)
{
	double t = s->scale * ls_pred_collective_s(s->net, op, s->ranks, bytes, NULL);

	s->free_at = fmax(s->free_at, at) + t;
	s->busy += t;
	return s->free_at;
}

/* One pass over the layers: forward, or backward, in the order of buckets. With `gather` each layer waits for its parameters, which are asked
 * for when the layer before it begins (the first: when the pass does). Backward gives each layer's gradients away when it is done. Compute of
 * a layer is in proportion to its bytes. When the pass's compute ends. */
static double pass(struct stream *s, const struct ls_pred_job *job, bool forward, double begin, double compute_s, double total, bool gather)
{
	enum ls_pred_op op = job->shard == LS_PRED_NONE ? LS_PRED_ALL_REDUCE : LS_PRED_REDUCE_SCATTER;
	double t = begin, here = begin, next = begin;
	int i, b, last = job->n_buckets - 1;

	if (gather)
		next = carry(s, LS_PRED_ALL_GATHER, job->gather_ratio * job->buckets[forward ? last : 0], begin);
	for (i = 0; i <= last; i++) {
		b = forward ? last - i : i;
		here = gather ? fmax(t, next) : t;
		if (gather && i < last)
			next = carry(s, LS_PRED_ALL_GATHER, job->gather_ratio * job->buckets[forward ? b - 1 : b + 1], here);
		t = here + compute_s * job->buckets[b] / total;
		if (!forward && job->overlap)
			carry(s, op, job->buckets[b], t);
	}
	for (b = 0; !forward && !job->overlap && b <= last; b++)
		carry(s, op, job->buckets[b], t);
	return t;
}

double ls_pred_exposed_s(const struct ls_pred_net *net, const struct ls_pred_job *job, int ranks, double compute_s, double scale,
	double *ret_comm_s)
{
	struct stream s = { .net = net, .ranks = ranks, .scale = scale };
	double total = 0, t;
	int i;

	for (i = 0; i < job->n_buckets; i++)
		total += job->buckets[i];
	t = pass(&s, job, true, 0, compute_s * (1 - job->backward), total, job->shard != LS_PRED_NONE);
	t = pass(&s, job, false, t, compute_s * job->backward, total, job->shard == LS_PRED_ZERO3);
	if (ret_comm_s)
		*ret_comm_s = s.busy;
	return fmax(t, s.free_at) - compute_s;
}

/* The compute time that the slowest of n ranks stays below in the part q of all steps, over the mean. */
static double slowest_below(const struct ls_pred_job *job, double n, double q, double mean)
{
	if (!job->samples)
		return 1 + job->spread * normal_above(-expm1(log(q) / n));
	return job->samples[(size_t)((double)(job->n_samples - 1) * pow(q, 1 / n) + 0.5)] / mean;
}

static double mean_of(const double *v, size_t n)
{
	double sum = 0;
	size_t i;

	for (i = 0; i < n; i++)
		sum += v[i];
	return n ? sum / (double)n : 0;
}

ls_status ls_pred_step(const struct ls_pred_net *net, const struct ls_pred_job *job, int ranks, struct ls_pred_point *ret, struct ls_err *err)
{
	struct ls_pred_point p = { .ranks = ranks, .nodes = (ranks + net->per_node - 1) / net->per_node };
	double mean = mean_of(job->samples, job->n_samples), most = 0, low, high, slowest;
	enum ls_pred_op op = job->shard == LS_PRED_NONE ? LS_PRED_ALL_REDUCE : LS_PRED_REDUCE_SCATTER;
	ls_status st = ls_pred_fits(net, ranks, err);
	int i;

	if (st)
		return st;
	for (i = 0; i < job->n_buckets; i++)
		most = fmax(most, job->buckets[i]);
	if (!isfinite(ls_pred_collective_s(net, op, ranks, most, &p.way)))
		return ls_fail(err, LS_USAGE, 0, "%s: none of its ways can carry this job's collectives over %d ranks; between nodes they need `inter`, "
			"and sharded state needs ring, halving, direct or rails", net->name, ranks);
	p.compute_s = job->strong_of ? job->compute_s * job->strong_of / ranks : job->compute_s;
	slowest = job->samples ? ls_pred_sample_max(job->samples, job->n_samples, ranks) / mean : 1 + job->spread * ls_pred_normal_max(ranks);
	p.waits_s = fmax(p.compute_s * (slowest - 1), 0); /* rounding */
	p.exposed_s = ls_pred_exposed_s(net, job, ranks, p.compute_s + p.waits_s, 1, &p.comm_s);
	p.step_s = p.compute_s + p.waits_s + p.exposed_s + job->optimizer_s;
	low = p.compute_s * slowest_below(job, ranks, 0.1, mean);
	high = p.compute_s * slowest_below(job, ranks, 0.9, mean);
	p.low_s = low + ls_pred_exposed_s(net, job, ranks, low, 1 - net->error, NULL) + job->optimizer_s;
	p.high_s = high + ls_pred_exposed_s(net, job, ranks, high, 1 + net->error, NULL) + job->optimizer_s;
	p.efficiency = (p.compute_s + job->optimizer_s) / p.step_s;
	*ret = p;
	return LS_OK;
}
