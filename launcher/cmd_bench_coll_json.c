/* cmd_bench_coll_json.c -- results for programs; the fields are documented in docs/benchmarks.md. */
#include "launcher/cmd_bench_coll.h"
#include "lockstep/lockstep.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <string.h>

static void add_contenders(const struct ls_bench *b, cJSON *to)
{
	struct ls_str command = { 0 }, shared = { 0 };
	size_t k;
	int i;

	for (i = 0; i < b->n; i++) {
		const struct ls_bench_contender *c = &b->contenders[i];
		cJSON *o = cJSON_CreateObject();

		for (k = 0; k < c->argv.n; k++) {
			ls_str_add(&command, k ? " " : "");
			ls_str_add_quoted(&command, c->argv.v[k]);
		}
		cJSON_AddStringToObject(o, "name", c->name);
		cJSON_AddStringToObject(o, "library", c->library);
		cJSON_AddStringToObject(o, "command", ls_str_text(&command));
		if (c->lost[0])
			cJSON_AddStringToObject(o, "lost", c->lost);
		ls_bench_gpu_shared(b, c, &shared);
		if (shared.len)
			cJSON_AddStringToObject(o, "shares_gpu", shared.s);
		ls_str_release(&shared);
		if (b->opt.kind != COLL_BARRIER && !isnan(ls_bench_average(b, i)))
			cJSON_AddNumberToObject(o, "avg_busbw", ls_bench_average(b, i));
		cJSON_AddItemToArray(to, o);
		ls_str_release(&command);
	}
}

static void add_figures(const struct ls_bench *b, const struct ls_bench_row *row, const struct ls_bench_series *s,
	const struct ls_bench_series *base, cJSON *to)
{
	struct ls_bench_stats t = ls_bench_stats_of(s->us, s->n), r = ls_bench_ratio_of(s->us, s->n, base->us, base->n);

	cJSON_AddNumberToObject(to, "time_us", t.median);
	cJSON_AddNumberToObject(to, "min_us", t.min);
	cJSON_AddNumberToObject(to, "max_us", t.max);
	cJSON_AddItemToObject(to, "rounds_us", cJSON_CreateDoubleArray(s->us, s->n));
	cJSON_AddNumberToObject(to, "iters", (double)s->iters);
	cJSON_AddNumberToObject(to, "algbw", ls_bench_algbw(row->bytes, t.median));
	cJSON_AddNumberToObject(to, "busbw", ls_bench_busbw(b->opt.kind, b->opt.np, row->bytes, t.median));
	if (b->opt.check)
		cJSON_AddNumberToObject(to, "wrong", (double)s->wrong);
	cJSON_AddStringToObject(to, "algorithm", s->algorithm);
	if (s != base && !isnan(r.median)) {
		cJSON_AddNumberToObject(to, "ratio", r.median);
		cJSON_AddNumberToObject(to, "ratio_min", r.min);
		cJSON_AddNumberToObject(to, "ratio_max", r.max);
	}
}

static cJSON *row_object(const struct ls_bench *b, const struct ls_bench_row *row)
{
	cJSON *o = cJSON_CreateObject(), *results = cJSON_CreateArray(), *r;
	int at, i;

	cJSON_AddNumberToObject(o, "size", (double)row->bytes);
	cJSON_AddNumberToObject(o, "count", (double)row->count);
	cJSON_AddStringToObject(o, "type", ls_bench_dtype_name(row->dtype));
	cJSON_AddStringToObject(o, "redop", ls_bench_reduces(b->opt.kind) ? ls_bench_op_name(row->op) : "none");
	cJSON_AddNumberToObject(o, "root", b->opt.kind == COLL_BROADCAST ? b->opt.root : -1);
	for (at = 0; at < LS_BENCH_PLACES; at++)
		for (i = 0; i < b->n && b->opt.places[at]; i++) {
			const struct ls_bench_series *s = ls_bench_series_at(b, row, i, (enum ls_bench_place)at);

			r = cJSON_CreateObject();
			cJSON_AddStringToObject(r, "contender", b->contenders[i].name);
			cJSON_AddBoolToObject(r, "in_place", at == LS_BENCH_IN);
			if (s->n)
				add_figures(b, row, s, ls_bench_series_at(b, row, 0, (enum ls_bench_place)at), r);
			else if (s->unsupported[0])
				cJSON_AddStringToObject(r, "unsupported", s->unsupported);
			cJSON_AddItemToArray(results, r);
		}
	cJSON_AddItemToObject(o, "results", results);
	return o;
}

ls_status ls_bench_json(const struct ls_bench *b, struct ls_str *ret, struct ls_err *err)
{
	cJSON *o = cJSON_CreateObject(), *rows;
	struct ls_str hosts = { 0 };
	char *text;
	size_t i;

	ls_bench_hosts(b, &hosts);
	cJSON_AddStringToObject(o, "version", LOCKSTEP_VERSION);
	cJSON_AddStringToObject(o, "operation", ls_bench_kind_name(b->opt.kind));
	cJSON_AddNumberToObject(o, "ranks", b->opt.np);
	cJSON_AddStringToObject(o, "hosts", ls_str_text(&hosts));
	cJSON_AddNumberToObject(o, "cores", b->cores);
	cJSON_AddStringToObject(o, "device", b->opt.cuda ? "cuda" : "cpu");
	cJSON_AddBoolToObject(o, "bound", b->opt.bind);
	cJSON_AddBoolToObject(o, "oversubscribed", b->opt.np > b->cores && !b->opt.hosts && !b->opt.hostfile);
	cJSON_AddNumberToObject(o, "rounds", b->opt.rounds);
	add_contenders(b, cJSON_AddArrayToObject(o, "contenders"));
	rows = cJSON_AddArrayToObject(o, "rows");
	for (i = 0; i < b->n_rows; i++)
		cJSON_AddItemToArray(rows, row_object(b, &b->rows[i]));
	text = cJSON_Print(o);
	cJSON_Delete(o);
	ls_str_release(&hosts);
	if (!text)
		return ls_fail_oom(err);
	ls_str_add(ret, text);
	cJSON_free(text);
	return ret->oom ? ls_fail_oom(err) : LS_OK;
}
