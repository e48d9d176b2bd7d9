/* cmd_bench_scale.c -- see cmd_bench_scale.h: options, and the order of runs.
 *
 *     each round:  all worlds of all series once, forwards and backwards in turn, so that what the machine does meanwhile hurts all alike
 *
 * Every manifest is made and validated before the first run: a batch that does not divide is found out now, not after an hour. */
#include "launcher/cmd_bench_scale.h"
#include "core/io.h"
#include "core/job.h"
#include "launcher/commands.h"
#include "launcher/plan.h"
#include "launcher/probe.h"
#include "launcher/signals.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char usage[] =
	"usage: lockstep bench scale -f JOB.yaml --ranks 1,2,4,8 [options] [-- options of lockstep run]\n"
	"       how your own job scales: each world size in turn, by lockstep run, until it has told enough steps; then it is ended\n"
	"  -f --file JOB.yaml       the TrainingJob; nothing is saved to its store\n"
	"  --ranks LIST             world sizes\n"
	"  -H --host a:4,b:4        hosts and how many ranks each may have; --hostfile FILE: from a file\n"
	"  --weak ASSIGNMENT        a series with as much work for each rank: --weak '--batch={48*ranks}'\n"
	"  --strong ASSIGNMENT      a series with as much work for all together: --strong 'BATCH={96/ranks}'; both: two series\n"
	"                           an assignment is --ARGUMENT=VALUE of the program, NAME=VALUE of its environment, or FIELD=VALUE of the\n"
	"                           manifest; in {} stands arithmetic on ranks and hosts. Without: the job as it is\n"
	"  --set ASSIGNMENT         for all runs, also several: --set --steps=100000; -x NAME=VALUE: a variable\n"
	"  --seconds S              measure each run for S seconds (5), and at least 10 steps\n"
	"  --steps N                instead, N steps; with --seconds: until both have passed\n"
	"  --warmup N               steps before them (10)\n"
	"  --repeats N              rounds, each of which runs every world once (3)\n"
	"  --timeout SECONDS        for one run (600)\n"
	"  --json FILE, --csv FILE  figures for programs; -: instead of the table\n"
	"  --report FILE.html       a page with plots\n";

/* --- options -------------------------------------------------------------------------------------------------------------------- */

enum { RANKS = 256, HOSTFILE, WEAK, STRONG, SET, STEPS, SECONDS, WARMUP, REPEATS, TIMEOUT, JSON, CSV, REPORT };

static const struct option longs[] = { { "file", 1, NULL, 'f' }, { "ranks", 1, NULL, RANKS }, { "host", 1, NULL, 'H' }, { "hostfile", 1, NULL, HOSTFILE },
	{ "weak", 1, NULL, WEAK }, { "strong", 1, NULL, STRONG }, { "set", 1, NULL, SET }, { "steps", 1, NULL, STEPS }, { "seconds", 1, NULL, SECONDS },
	{ "warmup", 1, NULL, WARMUP }, { "repeats", 1, NULL, REPEATS }, { "timeout", 1, NULL, TIMEOUT }, { "json", 1, NULL, JSON },
	{ "csv", 1, NULL, CSV }, { "report", 1, NULL, REPORT }, { "help", 0, NULL, 'h' }, { 0 } };

static int ascending(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

static ls_status parse_ranks(const char *list, struct ls_scale_options *opt, struct ls_err *err)
{
	ls_status st = LS_OK;
	size_t len;
	long v = 0;
	int i;

	for (opt->n = 0; !st; list += len + 1) {
		len = strcspn(list, ",");
		if (opt->n == LS_SCALE_POINTS)
			return ls_fail(err, LS_USAGE, 0, "--ranks: want at most %d world sizes", LS_SCALE_POINTS);
		st = ls_bench_whole("--ranks", list, len, 1, 65536, &v, err);
		opt->ranks[opt->n++] = (int)v;
		if (!list[len])
			break;
	}
	if (st)
		return st;
	qsort(opt->ranks, (size_t)opt->n, sizeof(opt->ranks[0]), ascending);
	for (i = 1; i < opt->n; i++)
		if (opt->ranks[i] == opt->ranks[i - 1])
			return ls_fail(err, LS_USAGE, 0, "--ranks: %d stands there twice", opt->ranks[i]);
	return LS_OK;
}

static ls_status parse_seconds(const char *text, double *ret, struct ls_err *err)
{
	char *end;
	double v = strtod(text, &end);

	if (end == text || *end || !(v > 0 && v <= 86400))
		return ls_fail(err, LS_USAGE, 0, "--seconds %s: want a number above 0, and at most 86400", text);
	*ret = v;
	return LS_OK;
}

static ls_status take(int ch, const char *v, struct ls_scale_options *opt, struct ls_err *err)
{
	switch (ch) {
	case 'f': opt->file = v; break;
	case 'H': opt->hosts = v; break;
	case HOSTFILE: opt->hostfile = v; break;
	case RANKS: return parse_ranks(v, opt, err);
	case WEAK: ls_strv_add(&opt->weak, v); break;
	case STRONG: ls_strv_add(&opt->strong, v); break;
	case SET: ls_strv_add(&opt->sets, v); break;
	case 'x': ls_strv_add(&opt->env, v); break;
	case STEPS: return ls_bench_whole("--steps", v, strlen(v), 1, 100000000, &opt->steps, err);
	case SECONDS: return parse_seconds(v, &opt->seconds, err);
	case WARMUP: return ls_bench_whole_int("--warmup", v, 1, 1000000, &opt->warmup, err);
	case REPEATS: return ls_bench_whole_int("--repeats", v, 1, 1000, &opt->repeats, err);
	case TIMEOUT: return ls_bench_whole_int("--timeout", v, 1, 10000000, &opt->timeout_s, err);
	case JSON: opt->json = v; break;
	case CSV: opt->csv = v; break;
	default: opt->report = v;
	}
	return LS_OK;
}

static ls_status complete(struct ls_scale_options *opt, struct ls_err *err)
{
	if (!opt->file)
		return ls_fail(err, LS_USAGE, 0, "want a job: -f JOB.yaml");
	if (!strcmp(opt->file, "-"))
		return ls_fail(err, LS_USAGE, 0, "-f -: the manifest is read once for each run; give a file");
	if (!opt->n)
		return ls_fail(err, LS_USAGE, 0, "want world sizes: --ranks 1,2,4");
	if (opt->hosts && opt->hostfile)
		return ls_fail(err, LS_USAGE, 0, "want -H or --hostfile, not both");
	if (opt->json && opt->csv && !strcmp(opt->json, "-") && !strcmp(opt->csv, "-"))
		return ls_fail(err, LS_USAGE, 0, "--json - and --csv -: there is one standard output");
	if (ls_bench_output_check("--json", opt->json, err) || ls_bench_output_check("--csv", opt->csv, err) ||
	    ls_bench_output_check("--report", opt->report, err))
		return err->status;
	if (!opt->steps && opt->seconds == 0)
		opt->seconds = 5;
	if (!opt->steps)
		opt->steps = 10;
	return opt->weak.oom || opt->strong.oom || opt->sets.oom || opt->env.oom ? ls_fail_oom(err) : LS_OK;
}

/* -1: go on. Else the exit code. */
static int parse(int argc, char **argv, struct ls_scale_options *opt, struct ls_err *err)
{
	ls_status st = LS_OK;
	int ch;

	while (!st && (ch = getopt_long_only(argc, argv, "f:H:x:h", longs, NULL)) != -1) {
		if (ch == 'h')
			return fputs(usage, stdout) < 0;
		if (ch == '?')
			return ls_bench_usage("scale");
		st = take(ch, optarg, opt, err);
	}
	if (!st && optind < argc && strcmp(argv[optind], "scale") != 0)
		st = ls_fail(err, LS_USAGE, 0, "'%s' is no option; those of lockstep run follow after --", argv[optind]);
	else if (!st && optind + 1 < argc && argv[optind + 1][0] != '-')
		st = ls_fail(err, LS_USAGE, 0, "'%s' is no option; those of lockstep run follow after --", argv[optind + 1]);
	if (!st && optind + 1 < argc)
		opt->rest = argv + optind + 1;
	if (!st)
		st = complete(opt, err);
	return st ? ls_command_fail("bench", st, err) : -1;
}

/* --- before anything starts ----------------------------------------------------------------------------------------------------- */

/* What `lockstep run` will read, read here. */
static ls_status check_manifest(struct ls_scale *s, const struct ls_scale_series *series, const struct ls_scale_point *p, struct ls_err *err)
{
	struct ls_strv argv = { 0 }, sets = { 0 };
	struct ls_job job = { 0 };
	ls_status st = ls_scale_command(s, series, p, s->dir, &argv, err);
	size_t i;

	for (i = 0; i + 1 < argv.n; i++)
		if (!strcmp(argv.v[i], "--set"))
			ls_strv_add(&sets, argv.v[i + 1]);
	if (!st)
		st = sets.oom ? ls_fail_oom(err) : ls_job_load(s->opt.file, (const char *const *)sets.v, &job, err);
	if (!st)
		snprintf(s->name, sizeof(s->name), "%s", job.name);
	ls_job_release(&job);
	ls_strv_release(&argv);
	ls_strv_release(&sets);
	return st;
}

static ls_status make_series(struct ls_scale *s, const char *asked, const struct ls_strv *assigned, const struct ls_hosts *hosts, struct ls_err *err)
{
	struct ls_scale_series *series = &s->series[s->n_series++];
	ls_status st = LS_OK;
	int i;

	series->asked = asked;
	series->assigned = assigned;
	for (i = 0; !st && i < s->opt.n; i++) {
		struct ls_scale_point *p = &series->points[i];

		p->ranks = s->opt.ranks[i];
		p->runs = calloc((size_t)s->opt.repeats, sizeof(*p->runs));
		st = p->runs ? ls_scale_deal(hosts, p->ranks, &p->hosts, err) : ls_fail_oom(err);
		if (!st)
			st = check_manifest(s, series, p, err);
	}
	return st;
}

static ls_status prepare(struct ls_scale *s, struct ls_err *err)
{
	const char *tmp = getenv("TMPDIR");
	struct ls_hosts hosts = { 0 };
	ls_status st = ls_self_path(s->self, err);

	if (!st && s->opt.hosts)
		st = ls_hosts_parse(s->opt.hosts, &hosts, err);
	else if (!st && s->opt.hostfile)
		st = ls_hosts_read(s->opt.hostfile, &hosts, err);
	if (!st && s->opt.weak.n)
		st = make_series(s, "weak", &s->opt.weak, &hosts, err);
	if (!st && s->opt.strong.n)
		st = make_series(s, "strong", &s->opt.strong, &hosts, err);
	if (!st && !s->n_series)
		st = make_series(s, "", NULL, &hosts, err);
	ls_hosts_release(&hosts);
	if (!st)
		st = ls_signals_init(err);
	if (st)
		return st;
	snprintf(s->dir, sizeof(s->dir), "%s/lockstep-bench-XXXXXX", tmp && *tmp ? tmp : "/tmp");
	if (!mkdtemp(s->dir)) {
		st = ls_fail(err, LS_AGAIN, errno, "cannot make the directory %s", s->dir);
		s->dir[0] = '\0'; /* nothing to remove */
	}
	return st;
}

/* --- measuring ------------------------------------------------------------------------------------------------------------------ */

static void tell(const struct ls_scale *s, const struct ls_scale_series *series, const struct ls_scale_point *p, int round)
{
	const struct ls_scale_run *run = &p->runs[p->n - 1];

	fprintf(stderr, "lockstep bench scale: round %d of %d, %s%s%d rank%s: ", round + 1, s->opt.repeats, series->asked, *series->asked ? ", " : "",
		p->ranks, p->ranks > 1 ? "s" : "");
	if (p->failed[0])
		fprintf(stderr, "failed: %s\n", p->failed);
	else
		fprintf(stderr, "%ld steps in %.1f s, %.4g ms a step\n", run->steps, run->clock_s, run->step_ms);
}

static ls_status measure(struct ls_scale *s, struct ls_err *err)
{
	int round, k, at, all = s->n_series * s->opt.n;
	ls_status st = LS_OK;

	for (round = 0; !st && round < s->opt.repeats; round++)
		for (k = 0; !st && k < all; k++) {
			struct ls_scale_series *series;
			struct ls_scale_point *p;

			at = round % 2 ? all - 1 - k : k;
			series = &s->series[at / s->opt.n];
			p = &series->points[at % s->opt.n];
			if (p->failed[0])
				continue;
			st = ls_scale_run(s, series, p, round, err);
			if (!st)
				tell(s, series, p, round);
		}
	for (k = 0; k < s->n_series; k++)
		ls_scale_fold(&s->series[k], s->opt.n);
	return st;
}

/* --- the command ---------------------------------------------------------------------------------------------------------------- */

/* "-": standard output. In place, so that a pipe or a device gets it, too. */
static ls_status put(const char *path, const struct ls_str *text, struct ls_err *err)
{
	bool to_stdout = !strcmp(path, "-");
	FILE *f = text->oom ? NULL : to_stdout ? stdout : fopen(path, "we");
	bool bad;

	if (text->oom)
		return ls_fail_oom(err);
	bad = !f || fputs(ls_str_text(text), f) < 0 || fflush(f);
	if (bad)
		ls_fail(err, LS_AGAIN, errno, "cannot write %s", to_stdout ? "to standard output" : path);
	if (f && !to_stdout)
		fclose(f);
	return bad ? LS_AGAIN : LS_OK;
}

static bool is_stdout(const char *path)
{
	return path && !strcmp(path, "-");
}

static ls_status report(const struct ls_scale *s, struct ls_err *err)
{
	const struct ls_scale_options *o = &s->opt;
	struct ls_str table = { 0 }, csv = { 0 }, json = { 0 }, page = { 0 };
	ls_status st = LS_OK;

	ls_scale_table(s, &table);
	if (!is_stdout(o->json) && !is_stdout(o->csv) && !is_stdout(o->report))
		st = put("-", &table, err);
	if (!st && o->json)
		st = ls_scale_json(s, &json, err);
	if (!st && o->json)
		st = put(o->json, &json, err);
	ls_scale_csv(s, &csv);
	if (!st && o->csv)
		st = put(o->csv, &csv, err);
	ls_scale_page(s, &page);
	if (!st && o->report)
		st = put(o->report, &page, err);
	ls_str_release(&table);
	ls_str_release(&csv);
	ls_str_release(&json);
	ls_str_release(&page);
	return st;
}

/* How many worlds failed, and whether any was measured. */
static int failed(const struct ls_scale *s, bool *ret_any)
{
	int k, i, n = 0;

	*ret_any = false;
	for (k = 0; k < s->n_series; k++)
		for (i = 0; i < s->opt.n; i++) {
			n += s->series[k].points[i].failed[0] != '\0';
			*ret_any |= s->series[k].points[i].n > 0;
		}
	return n;
}

static void release(struct ls_scale *s)
{
	int k, i;

	for (k = 0; k < s->n_series; k++)
		for (i = 0; i < s->opt.n; i++)
			free(s->series[k].points[i].runs);
	ls_strv_release(&s->opt.weak);
	ls_strv_release(&s->opt.strong);
	ls_strv_release(&s->opt.sets);
	ls_strv_release(&s->opt.env);
	if (s->dir[0])
		ls_remove_tree(s->dir, NULL);
}

int ls_bench_scale(int argc, char **argv)
{
	struct ls_scale s = { .opt = { .repeats = 3, .warmup = 10, .timeout_s = 600 } };
	struct ls_err err = LS_ERR_INIT;
	int code = parse(argc, argv, &s.opt, &err);
	bool any;
	ls_status st;

	if (code < 0) {
		st = prepare(&s, &err);
		if (!st)
			st = measure(&s, &err);
		code = !st && failed(&s, &any);
		if (!st && !any)
			st = ls_fail(&err, LS_AGAIN, 0, "no run told enough steps; why is said above");
		if (!st)
			st = report(&s, &err);
		if (st)
			code = ls_command_fail("bench", st, &err);
		code = ls_signals_last() ? 128 + ls_signals_last() : code;
	}
	release(&s);
	return code;
}
