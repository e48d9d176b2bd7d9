/* test_bench_scale.c -- `lockstep bench scale`: arithmetic, where values go, steps folded into figures, weak or strong, the laws, what is written. */
#include "core/io.h"
#include "launcher/cmd_bench_scale.h"
#include "launcher/plan.h"
#include "launcher/report.h"

#include <CUnit/Basic.h>
#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static void check(bool ok, const char *says, const char *got)
{
	if (!ok)
		printf("\n    failed: %s: %s", says, got);
	CU_ASSERT(ok);
}

static bool near(double a, double b)
{
	return fabs(a - b) <= 1e-6 * fabs(b) + 1e-12;
}

/* --- arithmetic ----------------------------------------------------------------------------------------------------------------- */

/* With 4 ranks on 2 hosts. `want`: the text, or a part of what is wrong with it. */
static const struct { const char *text; ls_status st; const char *want; } expressions[] = {
	{ "plain", LS_OK, "plain" },
	{ "", LS_OK, "" },
	{ "B={96/ranks}", LS_OK, "B=24" },
	{ "{ranks}x{hosts}", LS_OK, "4x2" },
	{ "{48 * ranks}", LS_OK, "192" },
	{ "{1+2*3-(4-1)%2}", LS_OK, "6" },
	{ "{-ranks + 10}", LS_OK, "6" },
	{ "{-(ranks)*-2}", LS_OK, "8" },
	{ "{7-7}", LS_OK, "0" },
	{ "{7%4}", LS_OK, "3" },
	{ "{0.1*ranks}", LS_OK, "0.4" },
	{ "{1.0/8}", LS_OK, "0.125" },
	{ "{64/hosts/ranks}", LS_OK, "8" },
	{ "spec.checkpoint.every={steps: 200}", LS_OK, "spec.checkpoint.every={steps: 200}" },
	{ "{}", LS_OK, "{}" },
	{ "{\"a\":{ranks}}", LS_OK, "{\"a\":4}" },
	{ "{open", LS_OK, "{open" },
	{ "{65/ranks}", LS_USAGE, "{65/ranks} with 4 ranks: it is 16.25, which is not whole" },
	{ "{64/rank}", LS_USAGE, "'rank' is no name; want ranks or hosts; did you mean ranks?" },
	{ "{64/}", LS_USAGE, "a number, ranks or hosts is missing" },
	{ "{64 ranks}", LS_USAGE, "an operator is missing" },
	{ "{(1}", LS_USAGE, "a ')' is missing" },
	{ "{1)}", LS_USAGE, "an operator is missing" },
	{ "{1/(ranks-4)}", LS_USAGE, "divides by 0" },
	{ "{1%0}", LS_USAGE, "divides by 0" },
	{ "{1.2.3}", LS_USAGE, "one decimal point" },
	{ "{99999999999999999*99999999999999999}", LS_USAGE, "too large" },
	{ "{--------------------------------------------------------1}", LS_USAGE, "too deeply" },
};

static void test_expressions(void)
{
	struct ls_scale_names names = { 4, 2 };
	size_t i;

	for (i = 0; i < COUNT(expressions); i++) {
		struct ls_str text = { 0 };
		struct ls_err err = LS_ERR_INIT;
		ls_status st = ls_scale_expand(expressions[i].text, &names, &text, &err);

		check(st == expressions[i].st, expressions[i].text, st ? err.text : ls_str_text(&text));
		check(st ? strstr(err.text, expressions[i].want) != NULL : !strcmp(ls_str_text(&text), expressions[i].want), expressions[i].text,
			st ? err.text : ls_str_text(&text));
		ls_str_release(&text);
	}
}

static const char manifest[] = "apiVersion: lockstep.dev/v1alpha1\nkind: TrainingJob\nmetadata: {name: j}\n"
	"spec: {workers: {replicas: 1, template: {spec: {containers: [{name: c, command: [prog, --alpha, '1', --batch=8, --last],\n"
	"  args: [--batch, '96', $(B)], env: [{name: A, value: '1'}, {name: B, value: '2'}]}]}}}}\n";

#define C "spec.workers.template.spec.containers.0"

/* A --set, a -x and a --weak, each "" or one; the words for lockstep run with spaces between. */
static const struct { const char *set, *x, *weak; const char *want; } assignments[] = {
	{ "", "", "", "" },
	{ "", "", "--alpha={ranks}", " --set " C ".command.2=\"4\"" },
	{ "", "", "--batch={2*ranks}", " --set " C ".command.3=\"--batch=8\"" },
	{ C ".command=[other]", "", "--batch={ranks}", " --set " C ".command=[other] --set " C ".args.1=\"4\"" },
	{ "", "", "A={ranks}\"\\", " --set " C ".env.0.value=\"4\\\"\\\\\"" },
	{ "", "", "LATER={ranks}", " -x LATER=4" },
	{ "", "", "spec.runPolicy.backoffLimit={ranks}", " --set spec.runPolicy.backoffLimit=4" },
	{ "--alpha=7", "B=x", "", " --set " C ".command.2=\"7\" --set " C ".env.1.value=\"x\"" },
	{ "D={hosts}", "HOME", "", " -x D=2 -x HOME" },
	{ "", "", "--last=1", "!--weak: --last stands neither in command nor in args" },
	{ "", "", "--beta=1", "!--weak: --beta stands neither" },
	{ "", "", "word", "!--weak: 'word' is no assignment" },
	{ "", "", "=1", "!is no assignment" },
	{ "a.b={1/3}", "", "", "!--set: {1/3}" },
	{ "", "N={rnaks}", "", "!-x: {rnaks}" },
};

static void test_assignments(void)
{
	struct ls_scale_names names = { 4, 2 };
	char path[] = "/tmp/test_bench_scale.XXXXXX";
	size_t i, k;

	CU_ASSERT_FATAL(mkstemp(path) >= 0 && !ls_file_publish(path, manifest, strlen(manifest), false, NULL));
	for (i = 0; i < COUNT(assignments); i++) {
		struct ls_scale_options opt = { .file = path };
		struct ls_strv words = { 0 };
		struct ls_str text = { 0 };
		struct ls_err err = LS_ERR_INIT;
		const char *want = assignments[i].want;
		ls_status st;

		if (*assignments[i].set)
			ls_strv_add(&opt.sets, assignments[i].set);
		if (*assignments[i].x)
			ls_strv_add(&opt.env, assignments[i].x);
		if (*assignments[i].weak)
			ls_strv_add(&opt.weak, assignments[i].weak);
		st = ls_scale_assign(&opt, &opt.weak, &names, &words, &err);
		for (k = 0; k < words.n; k++)
			ls_str_addf(&text, " %s", words.v[k]);
		check(*want == '!' ? st == LS_USAGE && strstr(err.text, want + 1) : !st && !strcmp(ls_str_text(&text), want), assignments[i].want,
			st ? err.text : ls_str_text(&text));
		ls_strv_release(&opt.sets);
		ls_strv_release(&opt.env);
		ls_strv_release(&opt.weak);
		ls_strv_release(&words);
		ls_str_release(&text);
	}
	unlink(path);
}

static const struct { const char *hosts; int ranks, want; } deals[] = {
	{ "", 1, 1 }, { "", 64, 1 }, { "a:4", 8, 1 }, { "a:4,b:4", 1, 1 }, { "a:4,b:4", 4, 1 }, { "a:4,b:4", 6, 2 }, { "a:4,b:4", 8, 2 },
	{ "a:4,b:4", 5, -1 }, { "a:4,b:4", 16, -1 }, { "a:4,b:2,c:4", 4, 1 }, { "a:2,b:4,c:4", 6, 3 }, { "a:2,b:4", 6, -1 },
};

static void test_deals(void)
{
	size_t i;

	for (i = 0; i < COUNT(deals); i++) {
		struct ls_hosts hosts = { 0 };
		struct ls_err err = LS_ERR_INIT;
		char got[32];
		int n = -1;

		CU_ASSERT(!*deals[i].hosts || !ls_hosts_parse(deals[i].hosts, &hosts, &err));
		ls_scale_deal(&hosts, deals[i].ranks, &n, &err);
		snprintf(got, sizeof(got), "%d ranks: %d hosts", deals[i].ranks, n);
		check(n == deals[i].want, deals[i].hosts, got);
		ls_hosts_release(&hosts);
	}
}

/* --- steps -> a run ------------------------------------------------------------------------------------------------------------- */

/* Ranks that report; ms of rank r is 10 + r, of which it waits 2 * r; a step each 20 ms; every rank's batch is 8. */
static void write_steps(struct ls_str *csv, int telling, int steps, bool ms, bool samples)
{
	int i, r;

	ls_str_add(csv, LS_STEPS_HEADER "\n");
	for (i = 0; i < steps; i++)
		for (r = 0; r < telling; r++)
			if (ms)
				ls_str_addf(csv, "0,%d,%d,0,0.5,%d,%d,%.3f,%d\n", r, 5 * i + 5, samples ? 8 : 0, 10 + r, 1000 + 0.02 * i, 2 * r);
			else
				ls_str_addf(csv, "0,%d,%d,0,0.5,%d,nan,%.3f,nan\n", r, 5 * i + 5, samples ? 8 : 0, 1000 + 0.02 * i);
}

static const struct {
	const char *says;
	int world, telling, steps;
	bool ms, samples;
	struct ls_scale_run want;
} runs[] = {
	{ "two ranks: the slowest rank's time, all ranks' samples, of a clock of 20 ms a step", 2, 2, 30, true, true,
		{ .steps = 20, .clock_s = 0.4, .step_ms = 11, .covered = 0.55, .samples = 16, .rate = 800, .waiting = 2.0 / 21, .telling = 2 } },
	{ "one rank waits for nobody", 1, 1, 15, true, true,
		{ .steps = 5, .clock_s = 0.1, .step_ms = 10, .covered = 0.5, .samples = 8, .rate = 400, .waiting = 0, .telling = 1 } },
	{ "no step times: those of the clock, and no share of them is known", 2, 2, 30, false, true,
		{ .steps = 20, .clock_s = 0.4, .step_ms = 20, .covered = 1, .samples = 16, .rate = 800, .waiting = NAN, .telling = 2 } },
	{ "only rank 0 tells: its samples are not the job's", 4, 1, 30, true, true,
		{ .steps = 20, .clock_s = 0.4, .step_ms = 10, .covered = 0.5, .samples = NAN, .rate = NAN, .waiting = 0, .telling = 1 } },
	{ "no samples are no samples", 2, 2, 30, true, false,
		{ .steps = 20, .clock_s = 0.4, .step_ms = 11, .covered = 0.55, .samples = NAN, .rate = NAN, .waiting = 2.0 / 21, .telling = 2 } },
};

static bool same(double a, double b)
{
	return isnan(b) ? isnan(a) : near(a, b);
}

static void test_runs(void)
{
	size_t i, at;

	for (i = 0; i < COUNT(runs); i++) {
		const struct ls_scale_run *want = &runs[i].want;
		struct ls_scale_seen *seen = ls_scale_seen_new(runs[i].world);
		struct ls_scale_run run;
		struct ls_err err = LS_ERR_INIT;
		struct ls_str csv = { 0 };
		char got[200];
		double seconds;
		bool all;

		write_steps(&csv, runs[i].telling, runs[i].steps, runs[i].ms, runs[i].samples);
		for (at = 0; at < csv.len; at += 7) /* cut anywhere */
			CU_ASSERT(!ls_scale_seen_feed(seen, csv.s + at, csv.len - at < 7 ? csv.len - at : 7, &err));
		CU_ASSERT(!ls_scale_seen_feed(seen, "0,0,", 4, &err)); /* a row that is being written */
		CU_ASSERT(ls_scale_seen_steps(seen, 10, &seconds, &all) == want->steps && near(seconds, want->clock_s) && all == (want->telling == runs[i].world));
		CU_ASSERT(!ls_scale_seen_run(seen, 10, &run, &err));
		snprintf(got, sizeof(got), "%ld steps, %g s, %g ms, covered %g, %g samples, %g/s, waiting %g, %d tell", run.steps, run.clock_s, run.step_ms,
			run.covered, run.samples, run.rate, run.waiting, run.telling);
		check(run.steps == want->steps && run.telling == want->telling && near(run.clock_s, want->clock_s) && near(run.step_ms, want->step_ms) &&
				near(run.covered, want->covered) && same(run.samples, want->samples) && same(run.rate, want->rate) &&
				same(run.waiting, want->waiting), runs[i].says, got);
		ls_scale_seen_free(seen);
		ls_str_release(&csv);
	}
}

static void test_no_runs(void)
{
	struct ls_scale_seen *seen = ls_scale_seen_new(2);
	struct ls_scale_run run;
	struct ls_err err = LS_ERR_INIT;
	struct ls_str csv = { 0 };
	double seconds;
	bool all;

	CU_ASSERT(ls_scale_seen_run(seen, 10, &run, &err) == LS_DATA_BAD);
	check(strstr(err.text, "no rank told a step") != NULL, "no steps", err.text);
	write_steps(&csv, 2, 10, true, true);
	CU_ASSERT(!ls_scale_seen_feed(seen, csv.s, csv.len, &err) && ls_scale_seen_steps(seen, 10, &seconds, &all) == 0 && seconds == 0);
	CU_ASSERT(ls_scale_seen_run(seen, 10, &run, &err) == LS_DATA_BAD);
	check(strstr(err.text, "ended after 10 steps, and 10 are to warm up") != NULL, "too few", err.text);
	CU_ASSERT(!ls_scale_seen_feed(seen, "0,0,55,0,1,8,10,1001,0\n", 23, &err) && ls_scale_seen_steps(seen, 10, &seconds, &all) == 0);
	CU_ASSERT(!ls_scale_seen_feed(seen, "0,1,55,0,1,8,10,1001,0\n0,7,55,0,1,8,10,1001,0\n", 46, &err)); /* rank 7 is none of 2 */
	CU_ASSERT(ls_scale_seen_steps(seen, 10, &seconds, &all) == 1);
	ls_scale_seen_free(seen);
	ls_str_release(&csv);
}

/* --- runs -> rows --------------------------------------------------------------------------------------------------------------- */

/* Samples of a step and step time of a point in each of two rounds. 0 rounds: ms is 0. */
struct made { int ranks; bool shared; double samples, ms[2]; };

static struct ls_scale scene;
static struct ls_scale_run made_runs[LS_SCALE_POINTS][2];

static struct ls_scale_series *make(const char *asked, const struct made *points, int n)
{
	struct ls_scale_series *s = &scene.series[0];
	int i, r;

	memset(&scene, 0, sizeof(scene));
	snprintf(scene.name, sizeof(scene.name), "j<b>");
	scene.n_series = 1;
	scene.opt = (struct ls_scale_options){ .n = n, .repeats = 2, .warmup = 10, .steps = 10, .seconds = 1 };
	s->asked = asked;
	for (i = 0; i < n; i++) {
		scene.opt.ranks[i] = points[i].ranks;
		s->points[i] = (struct ls_scale_point){ .ranks = points[i].ranks, .hosts = 1, .shares_core = points[i].shared, .runs = made_runs[i] };
		for (r = 0; r < 2 && points[i].ms[r] > 0; r++)
			made_runs[i][s->points[i].n++] = (struct ls_scale_run){ .steps = 100, .clock_s = points[i].ms[r] / 10, .step_ms = points[i].ms[r],
				.covered = 1, .samples = points[i].samples, .rate = points[i].samples / points[i].ms[r] * 1e3, .waiting = 0.25,
				.telling = points[i].ranks };
		if (!s->points[i].n)
			snprintf(s->points[i].failed, sizeof(s->points[i].failed), "rank 0 said <no>");
	}
	ls_scale_fold(s, n);
	return s;
}

static const struct { const char *says; struct made points[3]; enum ls_scale_kind kind; double efficiency; } kinds[] = {
	{ "strong: as many samples over all ranks", { { 1, 0, 64, { 10, 10 } }, { 2, 0, 64, { 5, 5 } }, { 4, 0, 64, { 3, 3 } } }, LS_SCALE_STRONG, 10.0 / 12 },
	{ "one that does not quite divide is strong, too", { { 1, 0, 64, { 10, 10 } }, { 2, 0, 64, { 5, 5 } }, { 3, 0, 63, { 3, 3 } } }, LS_SCALE_STRONG,
		63 / 3.0 / 6.4 / 3 },
	{ "weak: as many for each rank", { { 2, 0, 64, { 10, 10 } }, { 4, 0, 128, { 11, 11 } }, { 8, 0, 256, { 12.5, 12.5 } } }, LS_SCALE_WEAK, 0.8 },
	{ "neither", { { 1, 0, 64, { 10, 10 } }, { 2, 0, 96, { 10, 10 } }, { 4, 0, 150, { 10, 10 } } }, LS_SCALE_NEITHER, 150 / 64.0 / 4 },
	{ "some weak, some strong", { { 1, 0, 64, { 10, 10 } }, { 2, 0, 128, { 10, 10 } }, { 4, 0, 64, { 10, 10 } } }, LS_SCALE_NEITHER, 0.25 },
	{ "not known", { { 1, 0, NAN, { 10, 10 } }, { 2, 0, NAN, { 10, 10 } }, { 4, 0, NAN, { 10, 10 } } }, LS_SCALE_UNKNOWN, NAN },
	{ "the base failed: the next is it", { { 1, 0, 64, { 0 } }, { 2, 0, 64, { 10, 10 } }, { 4, 0, 64, { 6.25, 6.25 } } }, LS_SCALE_STRONG, 0.8 },
};

static void test_kinds(void)
{
	size_t i;

	for (i = 0; i < COUNT(kinds); i++) {
		const struct ls_scale_series *s = make("", kinds[i].points, 3);
		char got[80];

		snprintf(got, sizeof(got), "%s, efficiency %g", ls_scale_kind_name(s->kind), s->points[2].efficiency.median);
		check(s->kind == kinds[i].kind && same(s->points[2].efficiency.median, kinds[i].efficiency), kinds[i].says, got);
	}
}

/* Ratios are of one round: a machine that was twice as slow in a round was so for both. */
static void test_ratios(void)
{
	static const struct made points[] = { { 1, 0, 64, { 10, 20 } }, { 2, 0, 64, { 5, 10 } }, { 4, 1, 64, { 2.5, 10 } }, { 8, 0, 64, { 0 } } };
	const struct ls_scale_series *s = make("", points, 4);

	CU_ASSERT(near(s->points[1].speedup.median, 2) && near(s->points[1].speedup.min, 2) && near(s->points[1].speedup.max, 2));
	CU_ASSERT(near(s->points[2].speedup.min, 2) && near(s->points[2].speedup.max, 4) && near(s->points[2].efficiency.median, 0.75));
	CU_ASSERT(s->points[0].kind == LS_SCALE_BASE && s->points[0].efficiency.median == 1);
	CU_ASSERT(ls_scale_best(s, 4) == &s->points[1]); /* the third shares cores, the fourth failed */
	CU_ASSERT(!ls_scale_best(make("", points + 2, 2), 2));
	CU_ASSERT(!ls_scale_best(make("", points, 1), 1));
}

static void test_laws(void)
{
	struct made points[5] = { { 1, 0, 64, { 0 } }, { 2, 0, 64, { 0 } }, { 4, 0, 64, { 0 } }, { 8, 0, 64, { 0 } }, { 16, 1, 64, { 500, 500 } } };
	const struct ls_scale_series *s;
	int i;

	for (i = 0; i < 4; i++) /* Amdahl: a serial share of a tenth */
		points[i].ms[0] = points[i].ms[1] = 100 * (0.1 + 0.9 / points[i].ranks);
	s = make("", points, 5);
	CU_ASSERT(s->amdahl.there && !s->gustafson.there && s->amdahl.points == 4);
	CU_ASSERT(near(s->amdahl.serial, 0.1) && s->amdahl.worst < 1e-9);
	s = make("", points, 2);
	CU_ASSERT(!s->amdahl.there); /* two points fit any such law */
	for (i = 0; i < 4; i++) { /* Gustafson: a fifth */
		points[i].samples = 64 * points[i].ranks;
		points[i].ms[0] = points[i].ms[1] = 10 * points[i].ranks / (points[i].ranks - 0.2 * (points[i].ranks - 1));
	}
	points[4].samples = 64 * 16;
	s = make("", points, 5);
	CU_ASSERT(s->gustafson.there && !s->amdahl.there && near(s->gustafson.serial, 0.2) && s->gustafson.worst < 1e-9);
	s = make("", points + 1, 3);
	CU_ASSERT(!s->gustafson.there); /* its base is one rank */
	for (i = 0; i < 4; i++) { /* better than ideal: no share is negative */
		points[i].samples = 64;
		points[i].ms[0] = points[i].ms[1] = 100.0 / points[i].ranks / points[i].ranks;
	}
	s = make("", points, 5);
	CU_ASSERT(!s->amdahl.there && !s->gustafson.there);
}

/* --- words ---------------------------------------------------------------------------------------------------------------------- */

static void test_notes(void)
{
	static const struct made points[] = { { 1, 0, 64, { 10, 10 } }, { 2, 0, 64, { 5, 5 } }, { 4, 0, NAN, { 5, 5 } }, { 8, 0, NAN, { 5, 5 } }, { 16, 0, 1, { 0 } } };
	struct ls_scale_series *s = make("weak", points, 5);
	static const char *const want[] = { "1 rank: the job ended by itself when 100 steps", "--weak was asked for, but 2 ranks told 64 samples a step, and 1 rank 64: "
		"that is strong scaling", "4 ranks: 1 of them told steps", "8 ranks: the program told no samples", "the steps' own times are 50%", "16 ranks failed: rank 0",
		"too short to mean much" };
	struct ls_strv notes = { 0 };
	struct ls_str text = { 0 };
	size_t i;

	s->points[0].runs[1].early = true;
	s->points[2].runs[1].telling = 1;
	s->points[3].covered.median = 0.5;
	s->points[3].runs[1].clock_s = 0.1;
	ls_scale_notes(&scene, s, &notes);
	for (i = 0; i < notes.n; i++)
		ls_str_addf(&text, "%s\n", notes.v[i]);
	for (i = 0; i < COUNT(want); i++)
		check(strstr(ls_str_text(&text), want[i]) != NULL, want[i], ls_str_text(&text));
	check(notes.n == COUNT(want), "and no others", ls_str_text(&text));
	ls_strv_release(&notes);
	ls_str_release(&text);
}

static void has(const struct ls_str *text, const char *what)
{
	check(strstr(ls_str_text(text), what) != NULL, what, ls_str_text(text));
}

static void test_written(void)
{
	static const struct made points[] = { { 1, 0, 64, { 100, 100 } }, { 2, 0, 64, { 50, 60 } }, { 4, 1, 64, { 50, 50 } }, { 8, 0, 64, { 0 } } };
	struct ls_str table = { 0 }, csv = { 0 }, json = { 0 }, page = { 0 };
	cJSON *o;

	make("", points, 4);
	ls_scale_table(&scene, &table);
	has(&table, "strong scaling: 64 samples a step over all ranks; 2 rounds");
	has(&table, "\n    4*");
	has(&table, "\n    8    failed");
	has(&table, "* ranks share cores");
	has(&table, "efficiency at 2 ranks: 91.7% (83.3% to 100.0%), against 1 rank\n");
	has(&table, "note: 8 ranks failed: rank 0 said <no>");
	ls_scale_csv(&scene, &csv);
	has(&csv, "\n,2,1,strong,0,0,2,0,64,55,50,60,");
	has(&csv, "\n,8,1,,0,0,0,1,,,,,,,,,,,,,,,,\n");
	CU_ASSERT(!ls_scale_json(&scene, &json, NULL));
	o = cJSON_Parse(ls_str_text(&json));
	o = o ? o : cJSON_CreateObject();
	check(cJSON_GetArraySize(cJSON_GetObjectItem(cJSON_GetArrayItem(cJSON_GetObjectItem(o, "series"), 0), "points")) == 4, "JSON", ls_str_text(&json));
	cJSON_Delete(o);
	ls_scale_page(&scene, &page);
	has(&page, "<h1>j&lt;b&gt;</h1>");
	has(&page, "rank 0 said &lt;no&gt;");
	has(&page, ">91.7%</dd>");
	check(!page.oom && !strstr(ls_str_text(&page), "nan") && !strstr(ls_str_text(&page), "inf\"") && !strstr(ls_str_text(&page), "//"), "all numbers are some, and nothing is fetched",
		ls_str_text(&page));
	ls_str_release(&page);
	make("", points + 3, 1); /* none was measured */
	ls_scale_page(&scene, &page);
	has(&page, "failed</em>: rank 0 said");
	ls_str_release(&table);
	ls_str_release(&csv);
	ls_str_release(&json);
	ls_str_release(&page);
}

int main(void)
{
	CU_pSuite suite;
	unsigned failed;

	CU_initialize_registry();
	suite = CU_add_suite("bench_scale", NULL, NULL);
	CU_add_test(suite, "arithmetic", test_expressions);
	CU_add_test(suite, "assignments", test_assignments);
	CU_add_test(suite, "ranks over hosts", test_deals);
	CU_add_test(suite, "steps become a run", test_runs);
	CU_add_test(suite, "or none", test_no_runs);
	CU_add_test(suite, "weak, strong, neither", test_kinds);
	CU_add_test(suite, "ratios", test_ratios);
	CU_add_test(suite, "the laws", test_laws);
	CU_add_test(suite, "notes", test_notes);
	CU_add_test(suite, "table, CSV, JSON, page", test_written);
	CU_basic_run_tests();
	failed = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failed > 0;
}
