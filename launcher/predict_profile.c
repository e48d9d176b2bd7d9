/* predict_profile.c -- what was measured, and a model's gradients, from files; see predict.h. */
#include "launcher/predict.h"
#include "launcher/report_steps.h"
#include "core/io.h"
#include "core/json.h"
#include "core/sort.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- JSON of `lockstep bench all-reduce` ------------------------------------------------------------------------------------------- */

static int hosts_in(const char *list)
{
	int n = *list ? 1 : 0;

	for (; *list; list++)
		n += *list == ',';
	return n;
}

static double number(const cJSON *o, const char *key)
{
	const cJSON *n = cJSON_GetObjectItemCaseSensitive(o, key);

	return cJSON_IsNumber(n) ? n->valuedouble : 0;
}

/* The result of `contender` in this row; of several places the first. */
static const cJSON *result_of(const cJSON *row, const char *contender)
{
	const cJSON *r;

	cJSON_ArrayForEach(r, cJSON_GetObjectItemCaseSensitive(row, "results"))
		if (!strcmp(ls_json_text(r, "contender"), contender) && number(r, "time_us") > 0)
			return r;
	return NULL;
}

/* Of Lockstep's algorithms these send each part to its owner at once; a library's, behind NCCL's or MPI's own calls, is not known. */
static bool is_direct(const char *algorithm)
{
	static const char *const words[] = { "exchange", "direct", "slots", "owners", "rails" };
	size_t i;

	for (i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (!strcmp(algorithm, words[i]))
			return true;
	return false;
}

static ls_status read_rows(const char *path, const cJSON *root, struct ls_pred_measured *m, struct ls_err *err)
{
	const cJSON *rows = cJSON_GetObjectItemCaseSensitive(root, "rows"), *row, *r;
	int ranks = (int)number(root, "ranks"), hosts = hosts_in(ls_json_text(root, "hosts"));

	if (strcmp(ls_json_text(root, "operation"), "all-reduce") != 0 || !cJSON_IsArray(rows) || ranks < 2)
		return ls_fail(err, LS_USAGE, 0, "%s: want what `lockstep bench all-reduce --json` prints, of 2 or more ranks", path);
	if (hosts != 1 && hosts != ranks)
		return ls_fail(err, LS_USAGE, 0, "%s: %d ranks on %d hosts mix both links; measure the ranks of one host, and one rank on each host",
			path, ranks, hosts);
	m->inter = hosts > 1;
	m->samples = calloc((size_t)cJSON_GetArraySize(rows) + 1, sizeof(*m->samples));
	if (!m->samples)
		return ls_fail_oom(err);
	cJSON_ArrayForEach(row, rows) {
		r = number(row, "size") > 0 ? result_of(row, m->name) : NULL;
		if (!r)
			continue;
		if (m->algorithm == LS_PRED_ALGORITHMS && !is_direct(ls_json_text(r, "algorithm")))
			return ls_fail(err, LS_USAGE, 0, "%s: it does not say which algorithm %s used; --algorithm ring, halving or direct", path,
				m->name);
		m->samples[m->n++] = (struct ls_pred_sample){ ranks, number(row, "size"), number(r, "time_us") * 1e-6 };
	}
	return m->n ? LS_OK : ls_fail(err, LS_USAGE, 0, "%s: no times of contender %s", path, m->name);
}

ls_status ls_pred_measured_read(const char *path, const char *contender, enum ls_pred_algorithm algorithm, struct ls_pred_measured *ret,
	struct ls_err *err)
{
	struct ls_pred_measured m = { .algorithm = algorithm };
	struct ls_str text = { 0 };
	cJSON *root = NULL;
	ls_status st = ls_pred_file_read("--fit", path, 64 << 20, &text, err);

	if (!st && !(root = cJSON_ParseWithLength(ls_str_text(&text), text.len)))
		st = ls_fail(err, LS_USAGE, 0, "%s is no JSON; want what `lockstep bench all-reduce --json` prints", path);
	ls_str_release(&text);
	if (st)
		return st;
	snprintf(m.name, sizeof(m.name), "%s",
		contender ? contender : ls_json_text(cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(root, "contenders"), 0), "name"));
	st = read_rows(path, root, &m, err);
	if (m.algorithm == LS_PRED_ALGORITHMS)
		m.algorithm = LS_PRED_DIRECT;
	cJSON_Delete(root);
	if (st)
		ls_pred_measured_release(&m);
	else
		*ret = m;
	return st;
}

void ls_pred_measured_release(struct ls_pred_measured *m)
{
	free(m->samples);
	m->samples = NULL;
}

/* --- a run's directory ---------------------------------------------------------------------------------------------------------------- */

/* Where in the header a column of this name stands; -1: there is none. */
static int column(const char *header, const char *name)
{
	size_t len = strlen(name);
	int i = 0;

	for (; *header; header += strcspn(header, ","), header += *header == ',', i++)
		if (!strncmp(header, name, len) && (header[len] == ',' || header[len] == '\0' || header[len] == '\n'))
			return i;
	return -1;
}

static double field(const char *line, int at)
{
	char *end;
	double v;

	for (; at > 0; at--) {
		line += strcspn(line, ",");
		if (!*line++)
			return NAN;
	}
	v = strtod(line, &end);
	return end == line ? NAN : v;
}

enum { ATTEMPT, RANK, SAMPLES, MS, WAIT, COLUMNS };

struct reading {
	struct ls_pred_run run;
	size_t cap;
	int at[COLUMNS];  /* by the header; -1: such a column is not there */
	long *first;      /* [ranks]: the attempt whose first step of this rank was seen, plus 1 */
	double samples;
	bool untold;      /* of some step it is not known how long it waited */
};

static ls_status see_rank(struct reading *r, int rank, struct ls_err *err)
{
	long *grown;

	if (rank < r->run.ranks)
		return LS_OK;
	grown = realloc(r->first, (size_t)(rank + 1) * sizeof(*grown));
	if (!grown)
		return ls_fail_oom(err);
	memset(grown + r->run.ranks, 0, (size_t)(rank + 1 - r->run.ranks) * sizeof(*grown));
	r->first = grown;
	r->run.ranks = rank + 1;
	return LS_OK;
}

static ls_status keep(struct reading *r, double seconds, double samples, struct ls_err *err)
{
	double *more;

	if (r->run.n == r->cap) {
		r->cap = r->cap ? 2 * r->cap : 1024;
		more = realloc(r->run.compute, r->cap * sizeof(*more));
		if (!more)
			return ls_fail_oom(err);
		r->run.compute = more;
	}
	r->run.compute[r->run.n++] = seconds;
	r->run.mean += seconds;
	r->samples += samples;
	return LS_OK;
}

static ls_status take(struct reading *r, const char *line, struct ls_err *err)
{
	double rank = field(line, r->at[RANK]), attempt = field(line, r->at[ATTEMPT]);
	double ms = field(line, r->at[MS]), samples = field(line, r->at[SAMPLES]), wait = r->at[WAIT] >= 0 ? field(line, r->at[WAIT]) : NAN;
	ls_status st;

	if (!(rank >= 0 && rank < LS_RANKS_MAX) || !(attempt >= 0 && attempt < LS_ATTEMPTS_MAX) || !(ms > 0))
		return LS_OK; /* a line that was cut, or a step that did not say how long it took */
	st = see_rank(r, (int)rank, err);
	if (st)
		return st;
	if (r->first[(int)rank] != (long)attempt + 1) { /* pages, caches, connections: not what a step costs */
		r->first[(int)rank] = (long)attempt + 1;
		return LS_OK;
	}
	if (isnan(wait))
		r->untold = true;
	ms -= isnan(wait) ? 0 : wait;
	return ms > 0 ? keep(r, ms * 1e-3, isnan(samples) ? 0 : samples, err) : LS_OK;
}

static ls_status judge(const char *dir, struct reading *r, struct ls_err *err)
{
	if (r->run.ranks > 1 && r->untold)
		return ls_fail(err, LS_USAGE, 0, "%s: its %d ranks waited for each other, and steps.csv does not say how long (column wait_ms): "
			"run the job with -np 1, or give --compute-ms", dir, r->run.ranks);
	if (r->run.n < 10)
		return ls_fail(err, LS_USAGE, 0, "%s: %zu steps with a time are too few: want 10 after the first of each rank", dir, r->run.n);
	r->run.mean /= (double)r->run.n;
	r->run.batch = r->samples / (double)r->run.n;
	ls_sort(r->run.compute, r->run.n);
	return LS_OK;
}

static ls_status read_header(const char *dir, const char *line, struct reading *r, struct ls_err *err)
{
	static const char *const names[COLUMNS] = { "attempt", "rank", "samples", "ms", "wait_ms" };
	int i;

	for (i = 0; i < COLUMNS; i++) {
		r->at[i] = column(line, names[i]);
		if (r->at[i] < 0 && i != WAIT)
			return ls_fail(err, LS_USAGE, 0, "%s/steps.csv has no column %s: it is no run's", dir, names[i]);
	}
	return LS_OK;
}

ls_status ls_pred_run_read(const char *dir, struct ls_pred_run *ret, struct ls_err *err)
{
	struct reading r = { .samples = 0 };
	struct ls_str path = { 0 };
	char *line = NULL;
	size_t size = 0;
	FILE *f;
	ls_status st = LS_OK;

	ls_str_addf(&path, "%s/steps.csv", dir);
	f = path.oom ? NULL : fopen(path.s, "re");
	if (!f)
		st = ls_fail(err, LS_USAGE, errno, "--run %s: no steps.csv in it; want the directory of a run that made steps", dir);
	else if (getline(&line, &size, f) > 0)
		st = read_header(dir, line, &r, err);
	while (f && !st && getline(&line, &size, f) > 0)
		st = take(&r, line, err);
	if (!st)
		st = judge(dir, &r, err);
	if (f)
		fclose(f);
	free(line);
	free(r.first);
	ls_str_release(&path);
	if (st)
		free(r.run.compute);
	else
		*ret = r.run;
	return st;
}

void ls_pred_run_release(struct ls_pred_run *run)
{
	free(run->compute);
	run->compute = NULL;
}

/* --- gradients --------------------------------------------------------------------------------------------------------------------------- */

/* The elements of each tensor; the last column, behind the head line. */
static ls_status read_tensors(const char *path, double **ret, int *ret_n, struct ls_err *err)
{
	FILE *f = fopen(path, "re");
	char *line = NULL;
	const char *comma;
	size_t size = 0;
	double *v = NULL, *more, count;
	int n = 0, at = 0;
	ls_status st = f ? LS_OK : ls_fail(err, LS_USAGE, errno, "--model %s cannot be read", path);

	while (!st && getline(&line, &size, f) > 0) {
		at++;
		comma = strrchr(line, ',');
		if (line[0] == '#' || !strncmp(line, "tensor,", 7))
			continue;
		count = comma ? strtod(comma + 1, NULL) : 0;
		if (!(count >= 1 && count <= 1e13)) {
			st = ls_fail(err, LS_USAGE, 0, "%s:%d: want NAME,SHAPE,ELEMENTS", path, at);
		} else if (!(more = realloc(v, (size_t)(n + 1) * sizeof(*v)))) {
			st = ls_fail_oom(err);
		} else {
			v = more;
			v[n++] = count;
		}
	}
	if (!st && !n)
		st = ls_fail(err, LS_USAGE, 0, "%s: no tensor in it", path);
	if (f)
		fclose(f);
	free(line);
	if (st)
		free(v);
	else
		*ret = v, *ret_n = n;
	return st;
}

/* A tensor that would make a bucket larger than `bucket` begins the next; one that is larger by itself is a bucket of its own. */
ls_status ls_pred_model_read(const char *path, double element, double bucket, double **ret, int *ret_n, struct ls_err *err)
{
	double *v = NULL, bytes, open = 0;
	int n = 0, i, out = 0;
	double *made;
	ls_status st = read_tensors(path, &v, &n, err);

	if (st)
		return st;
	made = calloc((size_t)n, sizeof(*made));
	for (i = n - 1; made && i >= 0; i--) {
		bytes = v[i] * element;
		if (open > 0 && open + bytes > bucket) {
			made[out++] = open;
			open = 0;
		}
		open += bytes;
	}
	free(v);
	if (!made)
		return ls_fail_oom(err);
	made[out++] = open;
	*ret = made;
	*ret_n = out;
	return LS_OK;
}

ls_status ls_pred_equal_buckets(double bytes, double bucket, double **ret, int *ret_n, struct ls_err *err)
{
	double count = ceil(bytes / bucket);
	double *made;
	int i;

	if (!(bytes > 0) || !(bucket > 0) || count > 1e6)
		return ls_fail(err, LS_USAGE, 0, "%g bytes of gradients in buckets of %g are no job", bytes, bucket);
	made = calloc((size_t)count, sizeof(*made));
	if (!made)
		return ls_fail_oom(err);
	for (i = 0; i < (int)count; i++)
		made[i] = bytes / count;
	*ret = made;
	*ret_n = (int)count;
	return LS_OK;
}
