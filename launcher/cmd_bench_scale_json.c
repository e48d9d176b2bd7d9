/* cmd_bench_scale_json.c -- all figures, also of single runs; docs/scaling.md has the fields. What is not known is absent. */
#include "launcher/cmd_bench_scale.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <string.h>

#include "lockstep/lockstep.h"

static void number(cJSON *o, const char *name, double v)
{
	if (isfinite(v))
		cJSON_AddNumberToObject(o, name, v);
}

static void stats(cJSON *o, const char *name, const struct ls_bench_stats *v)
{
	cJSON *s = isfinite(v->median) ? cJSON_AddObjectToObject(o, name) : NULL;

	if (!s)
		return;
	number(s, "median", v->median);
	number(s, "min", v->min);
	number(s, "max", v->max);
}

static void run_add(cJSON *list, const struct ls_scale_run *run)
{
	cJSON *o = cJSON_CreateObject();

	number(o, "steps", (double)run->steps);
	number(o, "seconds", run->clock_s);
	number(o, "step_ms", run->step_ms);
	number(o, "covered", run->covered);
	number(o, "samples_per_step", run->samples);
	number(o, "samples_per_second", run->rate);
	number(o, "communication", run->waiting);
	number(o, "telling", run->telling);
	cJSON_AddItemToArray(list, o);
}

static void point_add(cJSON *list, const struct ls_scale_point *p)
{
	cJSON *o = cJSON_CreateObject(), *runs;
	int i;

	number(o, "ranks", p->ranks);
	number(o, "hosts", p->hosts);
	cJSON_AddBoolToObject(o, "shares_core", p->shares_core);
	cJSON_AddBoolToObject(o, "shares_gpu", p->shares_gpu);
	if (p->failed[0])
		cJSON_AddStringToObject(o, "failed", p->failed);
	if (p->n) {
		cJSON_AddStringToObject(o, "scaling", ls_scale_kind_name(p->kind));
		number(o, "samples_per_step", p->samples);
		stats(o, "step_ms", &p->step_ms);
		stats(o, "samples_per_second", &p->rate);
		stats(o, "speedup", &p->speedup);
		stats(o, "efficiency", &p->efficiency);
		stats(o, "communication", &p->waiting);
	}
	runs = cJSON_AddArrayToObject(o, "runs");
	for (i = 0; i < p->n; i++)
		run_add(runs, &p->runs[i]);
	cJSON_AddItemToArray(list, o);
}

static void fit_add(cJSON *o, const char *law, const struct ls_scale_fit *fit)
{
	cJSON *f = fit->there ? cJSON_AddObjectToObject(o, "fit") : NULL;

	if (!f)
		return;
	cJSON_AddStringToObject(f, "law", law);
	number(f, "serial_share", fit->serial);
	number(f, "worst", fit->worst);
	number(f, "points", fit->points);
}

static void series_add(cJSON *list, const struct ls_scale *s, const struct ls_scale_series *series)
{
	cJSON *o = cJSON_CreateObject(), *points, *notes;
	struct ls_strv sentences = { 0 };
	size_t k;
	int i;

	cJSON_AddStringToObject(o, "asked", series->asked);
	for (k = 0, notes = cJSON_AddArrayToObject(o, "assignments"); series->assigned && k < series->assigned->n; k++)
		cJSON_AddItemToArray(notes, cJSON_CreateString(series->assigned->v[k]));
	points = cJSON_AddArrayToObject(o, "points");
	for (i = 0; i < s->opt.n; i++)
		point_add(points, &series->points[i]);
	fit_add(o, "amdahl", &series->amdahl);
	fit_add(o, "gustafson", &series->gustafson);
	ls_scale_notes(s, series, &sentences);
	for (k = 0, notes = cJSON_AddArrayToObject(o, "notes"); k < sentences.n; k++)
		cJSON_AddItemToArray(notes, cJSON_CreateString(sentences.v[k]));
	ls_strv_release(&sentences);
	cJSON_AddItemToArray(list, o);
}

ls_status ls_scale_json(const struct ls_scale *s, struct ls_str *ret, struct ls_err *err)
{
	cJSON *root = cJSON_CreateObject(), *list;
	char *text;
	int k;

	cJSON_AddStringToObject(root, "version", LOCKSTEP_VERSION);
	cJSON_AddStringToObject(root, "job", s->name);
	number(root, "rounds", s->opt.repeats);
	number(root, "warmup", s->opt.warmup);
	list = cJSON_AddArrayToObject(root, "series");
	for (k = 0; k < s->n_series; k++)
		series_add(list, s, &s->series[k]);
	text = cJSON_Print(root);
	cJSON_Delete(root);
	if (!text)
		return ls_fail_oom(err);
	ls_str_addf(ret, "%s\n", text);
	cJSON_free(text);
	return LS_OK;
}
