/* cmd_bench_predict.c -- see cmd_bench_predict.h. */
#include "launcher/cmd_bench_predict.h"
#include "launcher/cmd_bench_coll.h"
#include "launcher/commands.h"

#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
	"usage: lockstep bench predict --topology NAME --run DIR --model FILE --ranks 1,8,64 [options]\n"
	"       lockstep bench predict --fit FILE...          latency and bandwidth of what was measured, and how well they fit\n"
	"       lockstep bench predict --validate [FILE]      predictions beside published figures, with their errors\n"
	"Step time of a data-parallel job on worlds that are not at hand. docs/predict.md has the formulas and what they leave out.\n"
	"  --topology NAME      a preset (bench/topologies), or a file that describes nodes and links\n"
	"  --ranks LIST         worlds to predict: 1,2,4,…; or --nodes LIST: of whole nodes\n"
	"  --run DIR            compute time, its spread and the batch: measured by a run in this directory\n"
	"  --compute-ms MS      or: forward and backward of one rank; with --spread PERCENT, its standard deviation\n"
	"  --optimizer-ms MS    more, after the gradients' sum (0)\n"
	"  --batch N            samples of one rank and step; for samples/s\n"
	"  --model FILE.csv     gradients, as in bench/models; or --bytes SIZE: of all of them\n"
	"  --element BYTES      of one gradient (4)\n"
	"  --bucket SIZE        gradients are fused up to this size (25M)\n"
	"  --backward SHARE     of compute that is backward (0.667)\n"
	"  --no-overlap         gradients are summed after backward, not under it\n"
	"  --shard WHAT         none, zero2 (reduce-scatter, and all-gather for forward) or zero3 (and for backward) (none)\n"
	"  --gather-ratio X     bytes of parameters for each byte of gradients, when sharded (1)\n"
	"  --strong N           the batch of N ranks is divided among all; else each rank keeps its batch\n"
	"  --fit FILE           what `lockstep bench all-reduce --json` measured: on one host, or with one rank on each; may be given again\n"
	"  --contender NAME     of that file (the first)\n"
	"  --algorithm NAME     that it used: ring, halving or direct (direct, for Lockstep's own)\n"
	"  --json               for programs\n";

enum { TOPOLOGY = 256, RANKS, NODES, RUN, COMPUTE, SPREAD, OPTIMIZER, BATCH, MODEL, BYTES, ELEMENT, BUCKET, BACKWARD, NO_OVERLAP, SHARD, GATHER,
	STRONG, FIT, CONTENDER, ALGORITHM, JSON, VALIDATE };

static const struct option longs[] = { { "topology", 1, NULL, TOPOLOGY }, { "ranks", 1, NULL, RANKS }, { "nodes", 1, NULL, NODES },
	{ "run", 1, NULL, RUN }, { "compute-ms", 1, NULL, COMPUTE }, { "spread", 1, NULL, SPREAD }, { "optimizer-ms", 1, NULL, OPTIMIZER }, { "batch", 1, NULL, BATCH },
	{ "model", 1, NULL, MODEL }, { "bytes", 1, NULL, BYTES }, { "element", 1, NULL, ELEMENT }, { "bucket", 1, NULL, BUCKET },
	{ "backward", 1, NULL, BACKWARD }, { "no-overlap", 0, NULL, NO_OVERLAP }, { "shard", 1, NULL, SHARD }, { "gather-ratio", 1, NULL, GATHER },
	{ "strong", 1, NULL, STRONG }, { "fit", 1, NULL, FIT }, { "contender", 1, NULL, CONTENDER }, { "algorithm", 1, NULL, ALGORITHM },
	{ "json", 0, NULL, JSON }, { "validate", 2, NULL, VALIDATE }, { "help", 0, NULL, 'h' }, { 0 } };

/* --- options ---------------------------------------------------------------------------------------------------------------------- */

static ls_status number(const char *name, const char *text, double low, double high, double *ret, struct ls_err *err)
{
	char *end;
	double v = strtod(text, &end);

	if (end == text || *end || !(v >= low && v <= high))
		return ls_fail(err, LS_USAGE, 0, "%s %s: want a number from %g to %g", name, text, low, high);
	*ret = v;
	return LS_OK;
}

static ls_status size(const char *name, const char *text, double *ret, struct ls_err *err)
{
	size_t bytes = 0;
	ls_status st = ls_bench_size_parse(text, &bytes, err);

	if (st)
		return ls_err_at(err, st, "%s: ", name);
	*ret = (double)bytes;
	return LS_OK;
}

static ls_status worlds(const char *name, const char *text, struct ls_predict *p, struct ls_err *err)
{
	char *end;
	long v;

	if (p->n_worlds && p->by_nodes != !strcmp(name, "--nodes"))
		return ls_fail(err, LS_USAGE, 0, "--ranks and --nodes: give one of them");
	p->by_nodes = !strcmp(name, "--nodes");
	for (p->n_worlds = 0; p->n_worlds < LS_PREDICT_WORLDS; text = end + 1) {
		v = strtol(text, &end, 10);
		if (end == text || v < 1 || v > 1 << 22 || (*end && *end != ','))
			return ls_fail(err, LS_USAGE, 0, "%s: want numbers from 1 to %d with commas: 1,2,4,8", name, 1 << 22);
		p->worlds[p->n_worlds++] = (int)v;
		if (!*end)
			return LS_OK;
	}
	return ls_fail(err, LS_USAGE, 0, "%s: at most %d of them", name, LS_PREDICT_WORLDS);
}

static ls_status shard(const char *text, struct ls_pred_job *job, struct ls_err *err)
{
	static const char *const words[] = { "none", "zero2", "zero3" };
	int i;

	for (i = 0; i < 3; i++)
		if (!strcmp(text, words[i])) {
			job->shard = (enum ls_pred_shard)i;
			return LS_OK;
		}
	return ls_fail(err, LS_USAGE, 0, "--shard %s: want none, zero2 or zero3", text);
}

static ls_status option(int ch, const char *v, struct ls_predict *p, struct ls_err *err)
{
	double n = 0;
	ls_status st;

	switch (ch) {
	case TOPOLOGY: p->topology = v; break;
	case RANKS: return worlds("--ranks", v, p, err);
	case NODES: return worlds("--nodes", v, p, err);
	case RUN: p->run = v; break;
	case COMPUTE: return number("--compute-ms", v, 1e-6, 1e9, &p->compute_ms, err);
	case SPREAD: return number("--spread", v, 0, 100, &p->spread_pct, err);
	case OPTIMIZER:
		st = number("--optimizer-ms", v, 0, 1e9, &n, err);
		p->job.optimizer_s = n * 1e-3;
		return st;
	case BATCH: return number("--batch", v, 1e-9, 1e12, &p->batch, err);
	case MODEL: p->model = v; break;
	case BYTES: return size("--bytes", v, &p->bytes, err);
	case ELEMENT: return number("--element", v, 1, 8, &p->element, err);
	case BUCKET: return size("--bucket", v, &p->bucket, err);
	case BACKWARD: return number("--backward", v, 0, 1, &p->job.backward, err);
	case NO_OVERLAP: p->job.overlap = false; break;
	case SHARD: return shard(v, &p->job, err);
	case GATHER: return number("--gather-ratio", v, 0, 100, &p->job.gather_ratio, err);
	case STRONG:
		st = number("--strong", v, 1, 1 << 22, &n, err);
		p->job.strong_of = (int)n;
		return st;
	case FIT: ls_strv_add(&p->fit_files, v); break;
	case CONTENDER: p->contender = v; break;
	case ALGORITHM:
		if (!ls_pred_algorithm_find(v, &p->algorithm) || p->algorithm > LS_PRED_DIRECT)
			return ls_fail(err, LS_USAGE, 0, "--algorithm %s: want ring, halving or direct", v);
		break;
	case JSON: p->json = true; break;
	default: p->want_validate = true, p->validate = v;
	}
	return LS_OK;
}

static ls_status complete(const struct ls_predict *p, struct ls_err *err)
{
	if (p->want_validate || (p->fit_files.n && !p->topology))
		return LS_OK;
	if (!p->topology)
		return ls_fail(err, LS_USAGE, 0, "--topology is missing: a preset of bench/topologies, or your own file (docs/predict.md)");
	if (!p->n_worlds)
		return ls_fail(err, LS_USAGE, 0, "--ranks or --nodes is missing: which worlds?");
	if ((p->run != NULL) == (p->compute_ms > 0))
		return ls_fail(err, LS_USAGE, 0, "want --run DIR, whose steps were measured, or --compute-ms MS");
	if (!p->run && p->spread_pct < 0)
		return ls_fail(err, LS_USAGE, 0, "--compute-ms without --spread: with many ranks the slowest decides; give the standard deviation of a "
			"step in percent, 0 if there shall be none");
	if ((p->model != NULL) == (p->bytes > 0))
		return ls_fail(err, LS_USAGE, 0, "want --model FILE.csv or --bytes SIZE: what gradients are there?");
	return p->bucket > 0 ? LS_OK : ls_fail(err, LS_USAGE, 0, "--bucket: want more than 0 bytes");
}

/* -1: go on. Else the exit code. */
static int parse(int argc, char **argv, struct ls_predict *p, struct ls_err *err)
{
	ls_status st = LS_OK;
	int ch;

	while (!st && (ch = getopt_long_only(argc, argv, "h", longs, NULL)) != -1) {
		if (ch == 'h')
			return fputs(usage, stdout) < 0;
		if (ch == '?')
			return ls_bench_usage("predict");
		st = option(ch, optarg, p, err);
	}
	/* "predict", and the file of --validate if it stands by itself */
	if (!st && p->want_validate && !p->validate && optind + 2 == argc && !strcmp(argv[optind], "predict"))
		p->validate = argv[++optind];
	if (!st && (optind + 1 != argc || (strcmp(argv[optind], "predict") != 0 && !p->validate)))
		st = ls_fail(err, LS_USAGE, 0, "%s is no option; --help has them", argv[argc - 1]);
	if (!st && p->fit_files.oom)
		st = ls_fail_oom(err);
	if (!st)
		st = complete(p, err);
	return st ? ls_command_fail("bench", st, err) : -1;
}

/* --- links, from what was measured --------------------------------------------------------------------------------------------------- */

static ls_status add_samples(struct ls_predict_fit *f, const struct ls_pred_measured *m, const char *path, struct ls_err *err)
{
	struct ls_pred_sample *more;

	if (f->used && f->algorithm != m->algorithm)
		return ls_fail(err, LS_USAGE, 0, "%s: %s, and the file before it %s: one fit needs one algorithm", path,
			ls_pred_algorithm_name(m->algorithm), ls_pred_algorithm_name(f->algorithm));
	more = realloc(f->samples, (f->n + m->n) * sizeof(*more));
	if (!more)
		return ls_fail_oom(err);
	memcpy(more + f->n, m->samples, m->n * sizeof(*more));
	f->samples = more;
	f->n += m->n;
	f->used = true;
	f->algorithm = m->algorithm;
	return LS_OK;
}

static ls_status read_fits(struct ls_predict *p, struct ls_err *err)
{
	struct ls_pred_measured m;
	ls_status st = LS_OK;
	size_t i;

	for (i = 0; !st && i < p->fit_files.n; i++) {
		st = ls_pred_measured_read(p->fit_files.v[i], p->contender, p->algorithm, &m, err);
		if (st)
			break;
		st = add_samples(&p->fits[m.inter], &m, p->fit_files.v[i], err);
		ls_pred_measured_release(&m);
	}
	for (i = 0; !st && i < LS_PREDICT_FITS; i++)
		if (p->fits[i].used)
			st = ls_pred_fit(p->fits[i].algorithm, p->fits[i].samples, p->fits[i].n, &p->fits[i].fit, err);
	return st;
}

/* A fit speaks of one algorithm; rails are direct inside and between. */
static bool covers(const struct ls_predict_fit *f, enum ls_pred_algorithm a)
{
	return f->algorithm == a || (f->algorithm == LS_PRED_DIRECT && a == LS_PRED_RAILS);
}

/* What was measured takes the place of what the file says of the same link. Ways of which nothing was measured would win or lose by
 * figures of another kind: they go. */
static ls_status apply_fit(struct ls_predict *p, int inter, struct ls_err *err)
{
	const struct ls_predict_fit *f = &p->fits[inter];
	struct ls_pred_net *net = &p->net;
	int i, n = 0;

	if (!f->used)
		return LS_OK;
	for (i = 0; i < net->n_ways; i++) {
		struct ls_pred_way w = net->ways[i];

		if (!covers(f, w.algorithm))
			continue;
		w.start_s = 0;
		*(inter ? &w.inter_s : &w.intra_s) = f->fit.alpha_s;
		*(inter ? &w.inter_share : &w.intra_share) = 1;
		net->ways[n++] = w;
	}
	if (!n)
		return ls_fail(err, LS_USAGE, 0, "%s has no way with %s, which was measured; add one to its `ways`", p->topology,
			ls_pred_algorithm_name(f->algorithm));
	net->n_ways = n;
	if (inter)
		net->nic_bw = f->fit.bandwidth, net->nics = 1, net->oversubscription = 1;
	else
		net->intra_bw = f->fit.bandwidth;
	net->add_bw = 0;
	net->error = fmax(p->fits[1 - inter].used ? net->error : 0, fmin(f->fit.rms, 0.99));
	return LS_OK;
}

/* --- the command ---------------------------------------------------------------------------------------------------------------------- */

static ls_status make_job(struct ls_predict *p, struct ls_err *err)
{
	struct ls_pred_job *job = &p->job;
	ls_status st = LS_OK;

	if (p->run) {
		st = ls_pred_run_read(p->run, &p->measured, err);
		job->compute_s = p->measured.mean;
		job->samples = p->measured.compute;
		job->n_samples = p->measured.n;
		if (p->batch <= 0 && p->measured.batch > 0)
			p->batch = p->measured.batch;
	} else {
		job->compute_s = p->compute_ms * 1e-3;
		job->spread = p->spread_pct / 100;
	}
	if (!st && p->model)
		st = ls_pred_model_read(p->model, p->element, p->bucket, &job->buckets, &job->n_buckets, err);
	else if (!st)
		st = ls_pred_equal_buckets(p->bytes, p->bucket, &job->buckets, &job->n_buckets, err);
	return st;
}

static ls_status predict(struct ls_predict *p, struct ls_err *err)
{
	ls_status st = ls_pred_net_read(p->topology, &p->net, err);
	int i;

	for (i = 0; !st && i < LS_PREDICT_FITS; i++)
		st = apply_fit(p, i, err);
	if (!st)
		st = make_job(p, err);
	for (i = 0; !st && i < p->n_worlds; i++)
		st = ls_pred_step(&p->net, &p->job, p->by_nodes ? p->worlds[i] * p->net.per_node : p->worlds[i], &p->points[i], err);
	return st;
}

static void release(struct ls_predict *p)
{
	ls_strv_release(&p->fit_files);
	ls_pred_run_release(&p->measured);
	free(p->job.buckets);
	free(p->fits[0].samples);
	free(p->fits[1].samples);
}

int ls_bench_predict(int argc, char **argv)
{
	struct ls_predict p = { .algorithm = LS_PRED_ALGORITHMS, .compute_ms = -1, .spread_pct = -1, .bytes = -1, .element = 4, .bucket = 25 << 20,
		.batch = -1, .job = { .backward = 2.0 / 3, .overlap = true, .gather_ratio = 1 } };
	struct ls_err err = LS_ERR_INIT;
	int code = parse(argc, argv, &p, &err);
	ls_status st;

	if (code < 0) {
		st = p.want_validate ? ls_pred_check(p.validate, p.json, &err) : read_fits(&p, &err);
		if (!st && p.topology && !p.want_validate)
			st = predict(&p, &err);
		if (!st && !p.want_validate && p.json)
			st = ls_predict_json(&p, &err);
		else if (!st && !p.want_validate && p.topology)
			ls_predict_show(&p);
		else if (!st && !p.want_validate)
			ls_predict_show_fits(&p);
		code = st ? ls_command_fail("bench", st, &err) : 0;
	}
	release(&p);
	return code;
}
