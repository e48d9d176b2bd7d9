/* predict_check.c -- `lockstep bench predict --validate`: each published figure of bench/published.yaml beside what the model says, and the error.
 *
 * A collective is predicted from the described net alone. Of a training job the smallest world of the series gives compute, as
 * whatever makes the model's step there take what was published; the larger ones are predicted. Nothing is tuned to the figures. */
#include "launcher/cmd_bench_coll.h"
#include "launcher/predict.h"
#include "core/io.h"
#include "core/node.h"
#include "core/sort.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct check {
	struct ls_pred_reader r;
	cJSON *rows;      /* NULL: print */
	struct { double error, bytes; } *errors; /* of the kind at hand, without sign; bytes of a collective */
	size_t n, cap;
	struct ls_pred_sample fitted[64]; /* of the series at hand: what was measured with one number of ranks and no forced algorithm */
	size_t n_fitted;
};

static const char *const shards[] = { "none", "zero2", "zero3", NULL };

static void keep(struct check *c, double error, double bytes)
{
	void *more;

	if (c->n == c->cap) {
		more = realloc(c->errors, (c->cap + 64) * sizeof(*c->errors));
		if (!more) {
			c->r.st = ls_fail_oom(c->r.err);
			return;
		}
		c->errors = more;
		c->cap += 64;
	}
	c->errors[c->n].error = fabs(error);
	c->errors[c->n++].bytes = bytes;
}

struct figure {
	const char *kind, *what, *unit, *how;
	int ranks;
	double bytes, predicted, measured;
};

static void row(struct check *c, const struct figure *f)
{
	double error = f->predicted / f->measured - 1;
	cJSON *o;

	keep(c, error, f->bytes);
	if (!c->rows) {
		printf("%-58s %6d %12.6g %12.6g %-8s %+7.1f%%  %s\n", f->what, f->ranks, f->predicted, f->measured, f->unit, error * 100, f->how);
		return;
	}
	o = cJSON_CreateObject();
	cJSON_AddStringToObject(o, "kind", f->kind);
	cJSON_AddStringToObject(o, "what", f->what);
	cJSON_AddNumberToObject(o, "ranks", f->ranks);
	cJSON_AddNumberToObject(o, "predicted", f->predicted);
	cJSON_AddNumberToObject(o, "measured", f->measured);
	cJSON_AddStringToObject(o, "unit", f->unit);
	cJSON_AddNumberToObject(o, "error", error);
	cJSON_AddItemToArray(c->rows, o);
}

/* Over the figures of `low` to `high` bytes. */
static void median_of(const struct check *c, const char *what, double low, double high)
{
	double *v = calloc(c->n + 1, sizeof(*v));
	size_t i, n = 0;

	for (i = 0; v && i < c->n; i++)
		if (c->errors[i].bytes >= low && c->errors[i].bytes <= high)
			v[n++] = c->errors[i].error;
	if (n) {
		ls_sort(v, n);
		printf("# %s: %zu figures; the error is %.1f%% in the median, at most %.1f%%\n", what, n, v[n / 2] * 100, v[n - 1] * 100);
	}
	free(v);
}

static void net_of(struct check *c, const struct ls_node *map, struct ls_pred_net *net)
{
	const char *name = ls_pred_text(&c->r, map, "topology");

	if (!c->r.st && ls_pred_net_read(name, net, c->r.err))
		c->r.st = ls_err_at(c->r.err, LS_USAGE, "%s:%d: ", c->r.path, map->line);
}

/* The title, source and date are for people; that they are there is checked. */
static const char *title(struct check *c, const struct ls_node *map)
{
	const char *what = ls_pred_text(&c->r, map, "what");

	ls_pred_text(&c->r, map, "source");
	ls_pred_text(&c->r, map, "date");
	if (!c->rows && !c->r.st)
		printf("# %s; %s\n", ls_pred_text(&c->r, map, "source"), ls_pred_text(&c->r, map, "date"));
	return what;
}

static double bytes_of(struct check *c, const struct ls_node *n)
{
	size_t bytes = 0;

	if (!c->r.st && ls_bench_size_parse(n && n->text ? n->text : "", &bytes, c->r.err))
		c->r.st = ls_err_at(c->r.err, LS_USAGE, "%s:%d: ", c->r.path, n ? n->line : 0);
	return (double)bytes;
}

/* --- collectives --------------------------------------------------------------------------------------------------------------------- */

/* Only the named algorithm, where the figure is of a run that forced it. */
static void only(struct ls_pred_net *net, const char *algorithm)
{
	int i, n = 0;

	for (i = 0; i < net->n_ways; i++)
		if (!strcmp(ls_pred_algorithm_name(net->ways[i].algorithm), algorithm))
			net->ways[n++] = net->ways[i];
	net->n_ways = n;
}

static void bandwidth(struct check *c, const struct ls_pred_net *net, const char *what, const struct ls_node *point)
{
	static const char *const keys[] = { "ranks", "bytes", "busbw", "us", "algorithm", NULL };
	struct ls_pred_net here = *net;
	const struct ls_pred_way *way = NULL;
	bool timed = ls_node_get(point, "us") != NULL;
	char name[96], how[64];
	double bytes, s, want;
	int ranks;

	ls_pred_keys(&c->r, point, keys);
	ranks = (int)ls_pred_number(&c->r, point, "ranks", 2, 1 << 22);
	bytes = bytes_of(c, ls_node_get(point, "bytes"));
	want = ls_pred_number(&c->r, point, timed ? "us" : "busbw", 1e-9, 1e9);
	if (ls_node_get(point, "algorithm"))
		only(&here, ls_pred_text(&c->r, point, "algorithm"));
	if (!c->r.st)
		c->r.st = ls_pred_fits(&here, ranks, c->r.err);
	if (c->r.st)
		return;
	if (!ls_node_get(point, "algorithm") && c->n_fitted < sizeof(c->fitted) / sizeof(c->fitted[0]))
		c->fitted[c->n_fitted++] = (struct ls_pred_sample){ ranks, bytes, timed ? want * 1e-6 : 2.0 * (ranks - 1) / ranks * bytes / (want * 1e9) };
	s = ls_pred_collective_s(&here, LS_PRED_ALL_REDUCE, ranks, bytes, &way);
	snprintf(how, sizeof(how), "%s %s", way ? ls_pred_algorithm_name(way->algorithm) : "no way", way ? way->protocol : "");
	snprintf(name, sizeof(name), "%s, %s", what, ls_node_get(point, "bytes")->text);
	row(c, &(struct figure){ "collective", name, timed ? "us" : "GB/s", how, ranks, bytes,
		timed ? s * 1e6 : ls_bench_busbw(COLL_ALL_REDUCE, ranks, (size_t)bytes, s * 1e6), want });
}

/* What --fit would make of a series of sizes, and how well. */
static void show_fit(const struct check *c)
{
	struct ls_pred_fit f;
	size_t i;

	for (i = 1; i < c->n_fitted && c->fitted[i].ranks == c->fitted[0].ranks; i++)
		;
	if (c->rows || i < c->n_fitted || c->n_fitted < 5 || ls_pred_fit(LS_PRED_RING, c->fitted, c->n_fitted, &f, NULL))
		return;
	printf("# a fit to these %zu sizes: %.1f us and %.1f GB/s, rms error %.1f%%; each size from the others %.1f%%\n", c->n_fitted,
		ls_pred_fit_s(LS_PRED_RING, &f, c->fitted[0].ranks, 0) * 1e6, f.bandwidth * 1e-9, f.rms * 100, f.left_out * 100);
}

static void collectives(struct check *c, const struct ls_node *series)
{
	static const char *const keys[] = { "what", "topology", "source", "date", "points", NULL };
	struct ls_pred_net net = { .n_ways = 0 };
	const struct ls_node *p;
	const char *what;

	ls_pred_keys(&c->r, series, keys);
	what = title(c, series);
	net_of(c, series, &net);
	p = ls_node_get(series, "points");
	c->n_fitted = 0;
	for (p = p ? p->child : NULL; p && !c->r.st; p = p->next)
		bandwidth(c, &net, what, p);
	if (!c->r.st)
		show_fit(c);
}

/* --- training -------------------------------------------------------------------------------------------------------------------------- */

struct series {
	struct ls_pred_net net;
	struct ls_pred_job job;
	double samples, parameters;
	char unit[32];
};

static ls_status read_series(struct check *c, const struct ls_node *map, struct series *s)
{
	static const char *const keys[] = { "what", "topology", "source", "date", "parameters", "layers", "reduceBytes", "gatherBytes", "shard",
		"samplesPerStep", "unit", "points", NULL };
	double reduce, layers;

	ls_pred_keys(&c->r, map, keys);
	net_of(c, map, &s->net);
	s->parameters = ls_pred_number(&c->r, map, "parameters", 1, 1e13);
	layers = ls_pred_number(&c->r, map, "layers", 1, 10000);
	reduce = ls_pred_number(&c->r, map, "reduceBytes", 1, 8);
	s->job = (struct ls_pred_job){ .overlap = true, .backward = 2.0 / 3, .shard = (enum ls_pred_shard)ls_pred_word(&c->r, map, "shard", shards) };
	s->job.gather_ratio = s->job.shard == LS_PRED_NONE ? 0 : ls_pred_number(&c->r, map, "gatherBytes", 1, 8) / (reduce > 0 ? reduce : 1);
	s->samples = ls_pred_number(&c->r, map, "samplesPerStep", 1e-9, 1e12);
	snprintf(s->unit, sizeof(s->unit), "%s", ls_pred_text(&c->r, map, "unit"));
	return c->r.st ? c->r.st : ls_pred_equal_buckets(s->parameters * reduce, s->parameters * reduce / layers, &s->job.buckets, &s->job.n_buckets, c->r.err);
}

/* The compute with which the smallest world's step takes `step_s`: the step grows with compute, so halving finds it. */
static double compute_of(const struct series *s, int ranks, double step_s)
{
	double low = 0, high = step_s, mid;
	int i;

	for (i = 0; i < 100; i++) {
		mid = (low + high) / 2;
		if (mid + ls_pred_exposed_s(&s->net, &s->job, ranks, mid, 1, NULL) < step_s)
			low = mid;
		else
			high = mid;
	}
	return high;
}

static void rates(struct check *c, struct series *s, const char *what, const struct ls_node *points)
{
	static const char *const keys[] = { "ranks", "perRank", NULL };
	const struct ls_node *p;
	struct ls_pred_point at;
	char how[64];
	double rate;
	int ranks;

	for (p = points ? points->child : NULL; p && !c->r.st; p = p->next) {
		ls_pred_keys(&c->r, p, keys);
		ranks = (int)ls_pred_number(&c->r, p, "ranks", 1, 1 << 22);
		rate = ls_pred_number(&c->r, p, "perRank", 1e-9, 1e12);
		if (!c->r.st)
			c->r.st = ls_pred_fits(&s->net, ranks, c->r.err);
		if (!c->r.st && p == points->child)
			s->job.compute_s = compute_of(s, ranks, s->samples / rate);
		if (!c->r.st)
			c->r.st = ls_pred_step(&s->net, &s->job, ranks, &at, c->r.err);
		if (c->r.st)
			return;
		snprintf(how, sizeof(how), "exposed %.1f of %.1f ms", at.exposed_s * 1e3, at.comm_s * 1e3);
		if (p != points->child)
			row(c, &(struct figure){ "training", what, s->unit, how, ranks, 0, s->samples / at.step_s, rate });
		else if (!c->rows)
			printf("%-58s %6d %12s %12.6g %-8s %8s  %s\n", what, ranks, "given", rate, s->unit, "", how);
	}
}

static void training(struct check *c, const struct ls_node *map)
{
	struct series s = { .samples = 0 };
	const char *what = title(c, map);

	if (!c->r.st)
		c->r.st = read_series(c, map, &s);
	if (!c->r.st)
		rates(c, &s, what, ls_node_get(map, "points"));
	free(s.job.buckets);
}

/* --- the file ------------------------------------------------------------------------------------------------------------------------- */

static void section(struct check *c, const struct ls_node *root, const char *key, void (*each)(struct check *, const struct ls_node *))
{
	const struct ls_node *n = ls_node_get(root, key);

	if (!c->rows && n && !c->r.st)
		printf("# %-56s %6s %12s %12s %-8s %8s\n", key, "ranks", "predicted", "measured", "", "error");
	for (n = n ? n->child : NULL; n && !c->r.st; n = n->next)
		each(c, n);
	if (c->r.st || c->rows)
		return;
	median_of(c, key, 0, INFINITY);
	median_of(c, "of these, 1 MiB to 256 MiB, as buckets are", 1 << 20, 256 << 20);
	c->n = 0;
}

static ls_status print_rows(struct check *c)
{
	char *text = cJSON_Print(c->rows);

	if (!text)
		return ls_fail_oom(c->r.err);
	puts(text);
	cJSON_free(text);
	return LS_OK;
}

ls_status ls_pred_check(const char *path, bool json, struct ls_err *err)
{
	static const char *const keys[] = { "collectives", "training", NULL };
	struct check c = { .r = { .err = err }, .rows = json ? cJSON_CreateArray() : NULL };
	struct ls_str text = { 0 };
	struct ls_node *root = NULL;
	char found[PATH_MAX];
	ls_status st = LS_OK;

	if (!path) {
		st = ls_bench_program(found, "published.yaml", err);
		path = found;
	}
	if (!st)
		st = ls_pred_file_read("--validate", path, LS_NODE_MAX_BYTES, &text, err);
	if (!st)
		st = ls_node_parse(path, ls_str_text(&text), text.len, &root, err);
	c.r.path = path;
	if (!st) {
		ls_pred_keys(&c.r, root, keys);
		section(&c, root, "collectives", collectives);
		section(&c, root, "training", training);
		st = c.r.st;
	}
	if (!st && c.rows)
		st = print_rows(&c);
	cJSON_Delete(c.rows);
	free(c.errors);
	ls_node_free(root);
	ls_str_release(&text);
	return st;
}
