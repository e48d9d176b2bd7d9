/* test_report.c -- the report of a run: what a job directory leads to on the page, and that nothing breaks out of it.
 *
 * Run from the root of the repository (tests/data/report). */
#include "core/io.h"
#include "launcher/report.h"
#include "launcher/report_parts.h"

#include <CUnit/Basic.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define DATA "tests/data/report"

static char dir[64];

static void check(bool ok, const char *says, const char *what)
{
	if (!ok)
		printf("\n    failed: %s: %s", says, what);
	CU_ASSERT(ok);
}

static void put(const char *name, const char *text, size_t len)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	unlink(path);
	if (text) {
		CU_ASSERT_FATAL(ls_file_publish(path, text, len, false, NULL) == LS_OK);
	}
}

/* The page of the job in `from`; "" when it failed. */
static ls_status page_of(const char *from, struct ls_str *ret, struct ls_err *err)
{
	char out[128];
	ls_status st;

	snprintf(out, sizeof(out), "%s/page.html", dir);
	st = ls_report_write(from, out, err);
	ls_str_release(ret);
	ls_str_add(ret, "");
	return st ? st : ls_file_read(out, 64 << 20, ret, err);
}

/* --- a small checker of HTML: every tag that is opened is closed in order ----------------------------------------- */

/* The last character of the element's text; NULL: it is not closed. */
static const char *skip_element(const char *p, const char *name)
{
	char close[24];

	snprintf(close, sizeof(close), "</%s>", name);
	p = strstr(p, close);
	return p ? p - 1 : NULL;
}

/* NULL: well-formed; else where it is not. */
static const char *not_balanced(const char *p)
{
	char open[64][16], name[16];
	int depth = 0;

	for (; (p = strchr(p, '<')); p++) {
		bool closing = p[1] == '/';
		const char *start = p + 1 + closing, *end;
		size_t len = strspn(start, "abcdefghijklmnopqrstuvwxyz0123456789");

		if (p[1] == '!')
			continue;
		end = strchr(start, '>');
		if (!len || len >= sizeof(name) || !end || depth == 64 || memchr(start, '<', (size_t)(end - start)))
			return p;
		memcpy(name, start, len);
		name[len] = '\0';
		if (closing && (!depth-- || strcmp(open[depth], name)))
			return p;
		if (closing || end[-1] == '/' || !strcmp(name, "meta"))
			continue;
		memcpy(open[depth++], name, sizeof(name));
		if (!strcmp(name, "script") || !strcmp(name, "style"))
			p = skip_element(end, name);
		if (!p)
			return "an element without its end";
	}
	return depth ? "the end" : NULL;
}

static int count_of(const char *text, const char *word)
{
	int n = 0;

	for (; (text = strstr(text, word)); text++)
		n++;
	return n;
}

static void check_page(const char *says, const char *page)
{
	const char *at = not_balanced(page);

	check(!at, says, at ? at : "");
	check(count_of(page, "<script>") == 1, says, "has the one script that it should");
	check(!strstr(page, "http://") && !strstr(page, "https://"), says, "refers to nothing elsewhere");
	check(!strstr(page, "Mnan") && !strstr(page, "Lnan") && !strstr(page, " nan") && !strstr(page, "-nan"), says,
		"draws no NaN");
}

/* --- job directory -> facts on the page --------------------------------------------------------------------------- */

#define HEAD LS_STEPS_HEADER "\n"
#define ROW(attempt, rank, step, loss, ms, unix) #attempt "," #rank "," #step ",0," #loss ",32," #ms "," #unix "\n"
#define SEATS "\"ranks\":[{\"rank\":0,\"host\":\"node-a\",\"gpu\":-1},{\"rank\":1,\"host\":\"node-b\",\"gpu\":-1}]"

static const struct {
	const char *says, *job, *steps;
	const char *has[5]; /* "!text": has it not */
} pages[] = {
	{ "an empty object is a job of which nothing is known", "{}", NULL,
		{ "State unknown", "No rank reported a finished step", "!<svg", "!<td" } },
	{ "a header without rows is no step", "{\"state\":\"Succeeded\"}", HEAD,
		{ "state good\">Succeeded", "No rank reported a finished step", "!<svg" } },
	{ "a state has its colour", "{\"state\":\"Failed\",\"message\":\"rank 1 died\",\"exitCode\":137}", NULL,
		{ "state bad\">Failed", "rank 1 died <span class=\"quiet\">(exit code 137)" } },
	{ "markup in a name is text", "{\"name\":\"<b>&'\\\"\"}", NULL,
		{ "<h1>&lt;b&gt;&amp;&#39;&quot;</h1>", "!<b>&" } },
	{ "markup in a log is text, colours are left out",
		"{\"attempts\":[{\"failure\":{\"logTail\":[\"\\u001b[31m</pre><script>x\\u001b[0m\\u0007\"]}}]}", NULL,
		{ "&lt;/pre&gt;&lt;script&gt;x\xef\xbf\xbd\n", "!</pre><script>x", "!\033" } },
	{ "text cannot turn its direction", "{\"message\":\"a\\u202eb\"}", NULL, { "a\xef\xbf\xbd" "b" } },
	{ "what is not UTF-8 is replaced", "{\"message\":\"a\xff\xc0\xaf\xed\xa0\x80z\"}", NULL,
		{ "a\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbdz" } },
	{ "the command can be pasted", "{\"command\":[\"./p\",\"it's\",\"\"]}", NULL,
		{ "command\">./p &#39;it&#39;\\&#39;&#39;s&#39; &#39;&#39;</pre>" } },
	{ "a world that is not the requested one stands out", "{\"worldSize\":{\"requested\":8,\"actual\":4}}", NULL,
		{ "4 ranks <em>of 8 requested</em>" } },
	{ "a world not yet known does not", "{\"worldSize\":{\"requested\":8,\"actual\":0}}", NULL,
		{ "8 ranks<", "!<em>of" } },
	{ "hosts are named while they are few", "{\"worldSize\":{\"actual\":2},\"attempts\":[{" SEATS "}]}", NULL,
		{ "2 ranks on node-a and node-b" } },
	{ "no column for GPUs that no rank has", "{\"attempts\":[{" SEATS "}]}", NULL, { ">Cores<", "!>GPU<" } },
	{ "a result is a tile", "{\"results\":{\"accuracy\":0.9722}}", NULL, { "<dt>accuracy</dt><dd>0.9722</dd>" } },
	{ "an attempt's failure names rank, host and signal",
		"{\"attempts\":[{\"attempt\":0,\"outcome\":\"failed\",\"failure\":{\"rank\":3,\"host\":\"n7\","
		"\"exitCode\":137,\"signal\":9,\"reason\":\"OOMKilled\"}}]}", NULL,
		{ "Rank 3 on n7 was killed by signal 9 (SIGKILL)", "OOMKilled" } },
	{ "or its exit code", "{\"attempts\":[{\"failure\":{\"rank\":0,\"exitCode\":3,\"signal\":null}}]}", NULL,
		{ "Rank 0 ended with exit code 3", "!signal" } },
	{ "an attempt that goes on", "{\"attempts\":[{\"attempt\":0,\"startTime\":\"2026-01-31T12:00:00Z\"}]}", NULL,
		{ "state live\">running", "2026-01-31 12:00:00 UTC" } },
	{ "a checkpoint's size and time are readable",
		"{\"checkpoints\":[{\"step\":1200,\"uri\":\"s3://b/p\",\"bytes\":1572864,\"ms\":12.34}]}", NULL,
		{ ">1,200<", "1.5 MiB", "12.3 ms", "s3://b/p" } },
	{ "a skipped checkpoint says why", "{\"skippedCheckpoints\":[{\"step\":300,\"reason\":\"checksum\"}]}", NULL,
		{ "The checkpoint of step 300 was passed over: checksum" } },
	{ "warnings are shown", "{\"warnings\":[\"2 ranks share core 0\"]}", NULL,
		{ "<li>2 ranks share core 0</li>" } },
	{ "fields of the wrong type are as good as absent",
		"{\"name\":7,\"attempts\":3,\"results\":[],\"progress\":\"x\",\"command\":{},\"warnings\":null}",
		NULL, { "TrainingJob" } },

	{ "one step is a dot", "{}", HEAD ROW(0, 0, 1, 2.5, 10, 100.5),
		{ "<dt>Final loss</dt><dd>2.5</dd>", "line main dot", "and 1 row of steps.csv", "!NaN" } },
	{ "the loss is the mean of the ranks", "{}", HEAD ROW(0, 0, 1, 4, 10, 100) ROW(0, 1, 1, 2, 10, 100),
		{ "<dd>3</dd>", "lowest to highest rank" } },
	{ "a restart: the last attempt's value counts, the other is redone", "{}",
		HEAD ROW(0, 0, 1, 9, 1000, 101) ROW(0, 0, 2, 8, 1000, 102) ROW(0, 0, 3, 7, 1000, 103)
		ROW(1, 0, 2, 6, 1000, 107) ROW(1, 0, 3, 5, 1000, 108),
		{ "<dd>5</dd><dd class=\"below\">from 9", "2 steps, shaded, were done again", ">attempt 1</span>",
			"5 s lost" } },
	{ "steps beyond where the last attempt came are not the result", "{}",
		HEAD ROW(0, 0, 1, 9, 1, 1) ROW(0, 0, 2, 8, 1, 2) ROW(0, 0, 3, 7, 1, 3) ROW(1, 0, 2, 6, 1, 4),
		{ "<dt>Final loss</dt><dd>6</dd>", "<dt>Steps</dt><dd>2</dd>" } },
	{ "NaN and infinity are named, not drawn", "{}",
		HEAD ROW(0, 0, 1, 2, 1, 1) ROW(0, 0, 2, nan, 1, 2) ROW(0, 1, 2, -inf, 1, 2) ROW(0, 0, 3, 1e999, 1, 3),
		{ "NaN or infinite in 3 rows, first at step 2 on rank 0", "not finite", "not a finite number" } },
	{ "a loss that is never finite", "{}", HEAD ROW(0, 0, 1, nan, 1, 1) ROW(0, 0, 2, nan, 1, 2),
		{ "NaN or infinite in 2 rows" } },
	{ "a loss near the largest double", "{}", HEAD ROW(0, 0, 1, 1.7e308, 1, 1) ROW(0, 0, 2, 1e299, 1, 2),
		{ "in 1 row," } },
	{ "a large fall is drawn on a logarithmic axis", "{}", HEAD ROW(0, 0, 1, 100, 1, 1) ROW(0, 0, 2, 0.01, 1, 2),
		{ "loss, logarithmic" } },
	{ "a loss that reaches 0 cannot be", "{}", HEAD ROW(0, 0, 1, 100, 1, 1) ROW(0, 0, 2, 0, 1, 2),
		{ ">loss<", "!logarithmic" } },
	{ "a slow rank is named with its host", "{\"attempts\":[{" SEATS "}]}",
		HEAD ROW(0, 0, 1, 1, 10, 1) ROW(0, 1, 1, 1, 12, 1) ROW(0, 0, 2, 1, 10, 2) ROW(0, 1, 2, 1, 12, 2),
		{ "Rank 1 on node-b is the slowest: its median step takes 12.0 ms, 20% longer than the others'" } },
	{ "10% is not slow", "{}", HEAD ROW(0, 0, 1, 1, 10, 1) ROW(0, 1, 1, 1, 10.9, 1),
		{ "The ranks keep step", "!slowest:" } },
	{ "a single rank is slower than nobody", "{}", HEAD ROW(0, 0, 1, 1, 10, 1),
		{ "Step time by rank", "!slowest", "!keep step" } },
	{ "throughput counts all ranks", "{}",
		HEAD ROW(0, 0, 1, 1, 1000, 101) ROW(0, 1, 1, 1, 1000, 101)
		ROW(0, 0, 2, 1, 1000, 102) ROW(0, 1, 2, 1, 1000, 102),
		{ "<dt>Throughput</dt><dd>64</dd>" } },
	{ "time in communication is a sentence and a curve", "{}",
		HEAD "0,0,1,0,1,32,10,1,2\n0,1,1,0,1,32,10,1,4\n",
		{ ">30.0% of the ranks’ time went into communication.", "in communication (mean)\",\"x\":[1],\"y\":[3]" } },
	{ "a run that began before it was told has both kinds of rows", "{}",
		LS_STEPS_HEADER_OLD "\n" ROW(0, 0, 1, 1, 10, 1) "0,0,2,0,1,32,10,2,1\n",
		{ ">10.0% of the ranks", "and 2 rows", "!could not be read" } },
	{ "and who does not tell has neither", "{}", HEAD ROW(0, 0, 1, 1, 10, 1) "0,0,2,0,1,32,10,2,nan\n",
		{ "and 2 rows", "!ommunication", "!could not be read" } },
	{ "a line cut by a kill does not count", "{}", HEAD ROW(0, 0, 1, 2, 1, 1) "0,0,2,0,1,32,1,17",
		{ "and 1 row of steps.csv.", "!could not be read" } },
	{ "a line cut and written on is counted as unreadable", "{}",
		HEAD ROW(0, 0, 1, 2, 1, 1) "0,0,2," ROW(1, 0, 2, 1, 1, 2),
		{ "1 line could not be read" } },
	{ "a header in the middle is a header", "{}", HEAD ROW(0, 0, 1, 2, 1, 1) HEAD ROW(1, 0, 2, 1, 1, 2),
		{ "and 2 rows", "!could not be read" } },
	{ "a failed job shows its attempts first",
		"{\"state\":\"Failed\",\"attempts\":[{\"attempt\":0}]}", HEAD ROW(0, 0, 1, 2, 1, 1),
			{ "</dl><section><h2>Attempts" } },
};

static void test_pages(void)
{
	struct ls_str page = { 0 };
	size_t i, k;

	for (i = 0; i < COUNT(pages); i++) {
		struct ls_err err = LS_ERR_INIT;

		put("job.json", pages[i].job, strlen(pages[i].job));
		put("steps.csv", pages[i].steps, pages[i].steps ? strlen(pages[i].steps) : 0);
		check(page_of(dir, &page, &err) == LS_OK, pages[i].says, err.text);
		check_page(pages[i].says, ls_str_text(&page));
		for (k = 0; k < COUNT(pages[i].has) && pages[i].has[k]; k++) {
			const char *text = pages[i].has[k];
			bool absent = text[0] == '!';

			check(absent != !!strstr(ls_str_text(&page), text + absent), pages[i].says, text);
		}
	}
	ls_str_release(&page);
}

static const struct {
	const char *says, *job;
	ls_status want;
	const char *text;
} refused[] = {
	{ "no job.json", NULL, LS_NOT_FOUND, "holds no job.json: give the directory of a job" },
	{ "an empty job.json", "", LS_DATA_BAD, "job.json: not a JSON object" },
	{ "a cut one", "{\"name\":", LS_DATA_BAD, "job.json: not a JSON object (byte" },
	{ "a list", "[1]", LS_DATA_BAD, "job.json: not a JSON object" },
};

static void test_refused(void)
{
	struct ls_str page = { 0 };
	size_t i;

	for (i = 0; i < COUNT(refused); i++) {
		struct ls_err err = LS_ERR_INIT;

		put("job.json", refused[i].job, refused[i].job ? strlen(refused[i].job) : 0);
		check(page_of(dir, &page, &err) == refused[i].want, refused[i].says, err.text);
		check(strstr(err.text, refused[i].text), refused[i].says, err.text);
	}
	ls_str_release(&page);
}

/* Recorded directories: a run with a restart, and one in which every text tries to break out. */
static void test_recorded(void)
{
	static const char *const names[] = { "restart", "hostile" };
	struct ls_str page = { 0 };
	char path[64];
	size_t i;

	for (i = 0; i < COUNT(names); i++) {
		struct ls_err err = LS_ERR_INIT;

		snprintf(path, sizeof(path), DATA "/%s", names[i]);
		check(page_of(path, &page, &err) == LS_OK, names[i], err.text);
		check_page(names[i], ls_str_text(&page));
		check(!strstr(ls_str_text(&page), "onmouseover='"), names[i], "keeps quotes escaped");
	}
	check(strstr(ls_str_text(&page), "4 lines could not be read"), "hostile", "counts its 4 broken lines");
	ls_str_release(&page);
}

/* --- many ranks, many steps --------------------------------------------------------------------------------------- */

static void test_many(void)
{
	struct ls_str csv = { 0 }, page = { 0 };
	struct ls_err err = LS_ERR_INIT;
	int rank, step;

	ls_str_add(&csv, HEAD);
	for (step = 1; step <= 600; step++)
		for (rank = 0; rank < 80; rank++)
			ls_str_addf(&csv, "0,%d,%d,0,%.17g,32,%d,%.3f\n", rank, step,
				step == 300 && rank == 7 ? 500 : 1.0 + rank / 80.0,
				rank == 41 ? 150 : 100, 1000 + step * 0.15);
	put("job.json", "{}", 2);
	put("steps.csv", csv.s, csv.len);
	check(page_of(dir, &page, &err) == LS_OK, "80 ranks", err.text);
	check_page("80 ranks", ls_str_text(&page));
	check(strstr(page.s, "64 slowest of 80 ranks"), "80 ranks", "says which are shown");
	check(strstr(page.s, "<tr class=\"slow\"><td class=\"num\">41</td>"), "80 ranks", "marks the slow one");
	check(strstr(page.s, ">500</span>"), "one spike in 48,000 rows", "is inside the axis");
	check(page.len < 200000, "48,000 rows", "make a page of less than 200 kB");
	ls_str_release(&csv);
	ls_str_release(&page);
}

/* --- lines of steps.csv ------------------------------------------------------------------------------------------- */

static const struct {
	const char *line;
	bool ok;
} lines[] = {
	{ "0,1,2,3,0.5,64,7.25,1700000000.5", true },
	{ "0,0,0,0,nan,0,0,1", true },
	{ "0,1,2,3,0.5,64,7.25,1700000000.5,1.5", true },
	{ "0,1,2,3,0.5,64,7.25,1,nan", true },
	{ "4095,16383,1000000000000000,0,-inf,0,1e9,1", true },
	{ "", false },
	{ LS_STEPS_HEADER, false },
	{ LS_STEPS_HEADER_OLD, false },
	{ "0,1,2,3,0.5,64,7.25,1,-1", false },
	{ "0,1,2,3,0.5,64,7.25,1,inf", false },
	{ "0,1,2,3,0.5,64,7.25,1,2,3", false },
	{ "0,1,2,3,0.5,64,7.25", false },
	{ "0,1,2,3,0.5,64,7.25,", false },
	{ "0,1,2,3,0.5,64,7.25,1,", false },
	{ "0,1,2,3,0.5,64,7.25,1 ", false },
	{ " 0,1,2,3,0.5,64,7.25,1", false },
	{ "-1,1,2,3,0.5,64,7.25,1", false },
	{ "0,1,-2,3,0.5,64,7.25,1", false },
	{ "0,1,2,3,,64,7.25,1", false },
	{ "0,1,2,3,0.5x,64,7.25,1", false },
	{ "0,1,2,3,0.5,64,-1,1", false },
	{ "0,1,2,3,0.5,64,nan,1", false },
	{ "0,1,2,3,0.5,64,1,inf", false },
	{ "4096,1,2,3,0.5,64,1,1", false },
	{ "0,16384,2,3,0.5,64,1,1", false },
	{ "0,1,99999999999999999999,3,0.5,64,1,1", false },
};

static void test_lines(void)
{
	struct ls_step_row row;
	size_t i;

	for (i = 0; i < COUNT(lines); i++)
		check(ls_step_row_parse(lines[i].line, strlen(lines[i].line), &row) == lines[i].ok, "line",
			lines[i].line);
	check(ls_step_row_parse(lines[0].line, strlen(lines[0].line), &row), "line", lines[0].line);
	CU_ASSERT(row.attempt == 0 && row.rank == 1 && row.step == 2 && row.epoch == 3 && row.loss == 0.5);
	CU_ASSERT(row.samples == 64 && row.ms == 7.25 && row.unix_s == 1700000000.5 && isnan(row.wait_ms));
	CU_ASSERT(ls_step_row_parse("0,1,2,3,0.5,64,7.25,8,1.5", 25, &row) && row.unix_s == 8 && row.wait_ms == 1.5);
	CU_ASSERT(ls_step_row_parse_any("0,1,2,3,0.5,64,nan,1", 20, &row) && isnan(row.ms));
	CU_ASSERT(!ls_step_row_parse_any("0,1,2,3,0.5,64,-1,1", 19, &row));
	check(!ls_step_row_parse("0,1,2,3,0.5,64,7,1\0" "1", 20, &row), "line", "with a NUL inside");
}

/* A good line, wounded: bytes changed, dropped, doubled. */
static void wound(struct ls_str *csv, unsigned *seed)
{
	static const char alphabet[] = "0123456789,.-+enaif \n\r\t\"x";
	char line[128];
	int len = snprintf(line, sizeof(line), "%d,%d,%d,0,%g,32,%g,%g\n", rand_r(seed) % 3, rand_r(seed) % 4,
		rand_r(seed) % 500,
		rand_r(seed) / 1e8, rand_r(seed) % 100 / 7.0, 1e9 + rand_r(seed) % 1000);
	int n = rand_r(seed) % 4;

	while (n-- > 0)
		line[rand_r(seed) % len] = alphabet[rand_r(seed) % sizeof(alphabet)]; /* also its NUL */
	ls_str_addn(csv, line, (size_t)(rand_r(seed) % 8 ? len : rand_r(seed) % len));
}

/* Whatever is in the file, it is read; every whole line is a row, a header or counted; the page stays well-formed. */
static void test_fuzz(void)
{
	struct ls_steps *steps = calloc(1, sizeof(*steps));
	struct ls_str csv = { 0 }, page = { 0 };
	char says[64], path[128];
	unsigned round, seed;
	int i;

	CU_ASSERT_FATAL(steps != NULL);
	snprintf(path, sizeof(path), "%s/steps.csv", dir);
	put("job.json", "{}", 2);
	for (round = 0; round < 40; round++) {
		int64_t whole = 0;

		seed = round;
		snprintf(says, sizeof(says), "seed %u", round);
		csv.len = 0;
		ls_str_add(&csv, HEAD);
		for (i = 0; i < 200; i++)
			wound(&csv, &seed);
		for (i = 0; i < (int)csv.len; i++)
			whole += csv.s[i] == '\n';
		put("steps.csv", csv.s, csv.len);
		check(ls_steps_read(path, steps, NULL) == LS_OK, says, "is read");
		check(steps->rows + steps->unreadable == whole - 1, says, "every whole line is accounted for");
		check(steps->redone <= steps->rows, says, "no more is redone than done");
		ls_steps_release(steps);
		check(page_of(dir, &page, NULL) == LS_OK, says, "makes a page");
		check_page(says, ls_str_text(&page));
	}
	free(steps);
	ls_str_release(&csv);
	ls_str_release(&page);
}

/* A file cut anywhere has the rows of its whole lines, never one more: 17 of 1700000000 would be a date, too. */
static void test_cut(void)
{
	static const char text[] = HEAD ROW(0, 0, 1, 2.25, 3.5, 1700000000) ROW(0, 1, 1, 2.25, 3.5, 1700000001);
	struct ls_steps *steps = calloc(1, sizeof(*steps));
	char path[128], says[32];
	int64_t rows = 0;
	size_t cut;

	CU_ASSERT_FATAL(steps != NULL);
	snprintf(path, sizeof(path), "%s/steps.csv", dir);
	for (cut = sizeof(HEAD) - 1; cut < sizeof(text); cut++) {
		rows += cut > sizeof(HEAD) - 1 && text[cut - 1] == '\n';
		snprintf(says, sizeof(says), "cut at byte %zu", cut);
		put("steps.csv", text, cut);
		check(ls_steps_read(path, steps, NULL) == LS_OK && steps->rows == rows && !steps->unreadable, says,
			"rows");
		ls_steps_release(steps);
	}
	free(steps);
}

/* Longer than the reader's buffer: it is skipped, and the next line is a row again. */
static void test_long_line(void)
{
	struct ls_steps *steps = calloc(1, sizeof(*steps));
	struct ls_str csv = { 0 };
	char path[128];
	int i;

	CU_ASSERT_FATAL(steps != NULL);
	snprintf(path, sizeof(path), "%s/steps.csv", dir);
	for (i = 0; i < 200000; i++)
		ls_str_add(&csv, "7");
	ls_str_add(&csv, "\n" ROW(0, 0, 1, 2, 1, 1));
	put("steps.csv", csv.s, csv.len);
	check(ls_steps_read(path, steps, NULL) == LS_OK, "a line of 200,000 bytes", "is read");
	check(steps->rows == 1 && steps->unreadable == 1, "a line of 200,000 bytes", "is one unreadable line");
	ls_steps_release(steps);
	free(steps);
	ls_str_release(&csv);
}

/* --- numbers ------------------------------------------------------------------------------------------------------ */

static const struct {
	const char *says;
	double lo, hi;
	int want; /* 0: logarithmic */
	enum ls_ticks kind;
	const char *labels;
} axes[] = {
	{ "round steps", 0, 1000, 5, LS_TICKS_FREE, "0 200 400 600 800 1,000 " },
	{ "as many decimals as the step has", 0.5, 0.9, 4, LS_TICKS_FREE, "0.5 0.6 0.7 0.8 0.9 " },
	{ "widened to ticks", 0.13, 0.87, 4, LS_TICKS_SNAP, "0.0 0.2 0.4 0.6 0.8 1.0 " },
	{ "thousands apart", 0, 30000, 3, LS_TICKS_FREE, "0 10,000 20,000 30,000 " },
	{ "whole steps of a run of three", 1, 3, 8, LS_TICKS_WHOLE, "1 2 3 " },
	{ "one value has room on both sides", 4, 4, 2, LS_TICKS_FREE, "2 4 6 " },
	{ "below zero", -1, 1, 2, LS_TICKS_FREE, "-1 0 1 " },
	{ "nothing at all", NAN, NAN, 2, LS_TICKS_FREE, "0.0 0.5 1.0 " },
	{ "two decades", 0.02, 1.5, 0, 0, "0.02 0.05 0.1 0.2 0.5 1 " },
	{ "three decades", 0.01, 5, 0, 0, "0.01 0.03 0.1 0.3 1 3 " },
	{ "six decades", 1e-5, 10, 0, 0, "1e-05 0.0001 0.001 0.01 0.1 1 10 " },
	{ "a hundred decades", 1e-50, 1e50, 0, 0, "1e-52 1e-39 1e-26 1e-13 1 1e+13 1e+26 1e+39 1e+52 " },
};

static void test_axes(void)
{
	struct ls_axis axis;
	size_t i;
	int k;

	for (i = 0; i < COUNT(axes); i++) {
		struct ls_str got = { 0 };

		if (axes[i].want)
			ls_axis_linear(&axis, axes[i].lo, axes[i].hi, axes[i].want, axes[i].kind);
		else
			ls_axis_log(&axis, axes[i].lo, axes[i].hi);
		for (k = 0; k < axis.n; k++) {
			double at = ls_axis_at(&axis, axis.tick[k]);

			ls_str_addf(&got, "%s ", axis.label[k]);
			check(at >= 0 && at <= 1, axes[i].says, "a tick inside the axis");
		}
		check(!strcmp(ls_str_text(&got), axes[i].labels), axes[i].says, ls_str_text(&got));
		ls_str_release(&got);
	}
}

static const struct {
	void (*text)(char ret[32], double v);
	double v;
	const char *want;
} texts[] = {
	{ ls_text_count, 0, "0" },                    { ls_text_count, 1234567, "1,234,567" },
	{ ls_text_count, -1234, "-1,234" },           { ls_text_count, 12345678, "12.35 M" },
	{ ls_text_count, 2.5, "2.5" },                { ls_text_count, NAN, "–" },
	{ ls_text_duration, 0.3149, "0.31 s" },       { ls_text_duration, 59.97, "1 min 00 s" },
	{ ls_text_duration, 9, "9 s" },               { ls_text_duration, 200, "3 min 20 s" },
	{ ls_text_duration, 7500, "2 h 05 min" },     { ls_text_duration, 300000, "3 d 11 h" },
	{ ls_text_duration, -1, "–" },                { ls_text_ms, 0.85, "850 µs" },
	{ ls_text_ms, 12.34, "12.3 ms" },             { ls_text_ms, 999.7, "1.00 s" },
	{ ls_text_ms, 150000, "2 min 30 s" },         { ls_text_bytes, 1023, "1023 B" },
	{ ls_text_bytes, 1572864, "1.5 MiB" },        { ls_text_bytes, 84e9, "78.2 GiB" },
	{ ls_text_value, 0.0231234, "0.02312" },      { ls_text_value, 20520, "20,520" },
	{ ls_text_time, 1769860800, "2026-01-31 12:00:00 UTC" }, { ls_text_time, NAN, "" },
};

static const struct {
	const char *text;
	double want;
} times[] = {
	{ "2026-01-31T12:00:00Z", 1769860800 },      { "2026-01-31T12:00:00.25Z", 1769860800.25 },
	{ "2026-01-31T13:30:00+01:30", 1769860800 }, { "2026-01-31T11:00:00-01:00", 1769860800 },
	{ "2026-01-31", NAN },                       { "2026-01-31T12:00:00", NAN },
	{ "", NAN },
};

static void test_numbers(void)
{
	char got[32];
	size_t i;

	for (i = 0; i < COUNT(texts); i++) {
		texts[i].text(got, texts[i].v);
		check(!strcmp(got, texts[i].want), texts[i].want, got);
	}
	for (i = 0; i < COUNT(times); i++) {
		cJSON *job = cJSON_CreateObject();
		double t;

		cJSON_AddStringToObject(job, "t", times[i].text);
		t = ls_json_time(job, "t");
		check(t == times[i].want || (isnan(t) && isnan(times[i].want)), "time", times[i].text);
		cJSON_Delete(job);
	}
}

static void test_quantiles(void)
{
	struct ls_hist *h = calloc(1, sizeof(*h));
	int i;

	CU_ASSERT_FATAL(h != NULL);
	CU_ASSERT(isnan(ls_hist_quantile(h, 0.5)));
	ls_hist_add(h, 42.5);
	CU_ASSERT(ls_hist_quantile(h, 0.05) == 42.5 && ls_hist_quantile(h, 0.95) == 42.5);
	memset(h, 0, sizeof(*h));
	for (i = 1; i <= 10000; i++)
		ls_hist_add(h, i / 100.0);
	CU_ASSERT(fabs(ls_hist_quantile(h, 0.05) / 5 - 1) < 0.01 && fabs(ls_hist_quantile(h, 0.5) / 50 - 1) < 0.01);
	CU_ASSERT(fabs(ls_hist_quantile(h, 0.95) / 95 - 1) < 0.01 && ls_hist_quantile(h, 1) == 100);
	ls_hist_add(h, 0);
	ls_hist_add(h, 1e9);
	CU_ASSERT(ls_hist_quantile(h, 0) == 0 && h->max == 1e9);
	free(h);
}

static int make_dir(void)
{
	snprintf(dir, sizeof(dir), "%s", "/tmp/test_report.XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void)
{
	return ls_remove_tree(dir, NULL) ? -1 : 0;
}

/* rename() would replace it; a report to /dev/null would take that from everybody. */
static void test_no_file(void)
{
	char path[300];
	struct stat sb;
	struct ls_err err = LS_ERR_INIT;

	snprintf(path, sizeof(path), "%s/pipe", dir);
	CU_ASSERT(mkfifo(path, 0600) == 0);
	put("job.json", "{}", 2);
	CU_ASSERT(ls_report_write(dir, path, &err) == LS_USAGE);
	check(strstr(err.text, "/pipe is no regular file") != NULL, "a pipe is named", err.text);
	CU_ASSERT(stat(path, &sb) == 0 && S_ISFIFO(sb.st_mode));
	unlink(path);
}

int main(void)
{
	CU_pSuite suite;
	int failed;

	if (CU_initialize_registry() != CUE_SUCCESS)
		return 1;
	suite = CU_add_suite("report", make_dir, remove_dir);
	CU_add_test(suite, "a job directory becomes a page", test_pages);
	CU_add_test(suite, "what is no job directory is refused", test_refused);
	CU_add_test(suite, "recorded job directories", test_recorded);
	CU_add_test(suite, "many ranks and steps", test_many);
	CU_add_test(suite, "lines of steps.csv", test_lines);
	CU_add_test(suite, "steps.csv cut at any byte", test_cut);
	CU_add_test(suite, "a line without an end", test_long_line);
	CU_add_test(suite, "damaged steps.csv", test_fuzz);
	CU_add_test(suite, "no file", test_no_file);
	CU_add_test(suite, "axes", test_axes);
	CU_add_test(suite, "numbers and times", test_numbers);
	CU_add_test(suite, "quantiles", test_quantiles);
	CU_basic_set_mode(CU_BRM_VERBOSE);
	CU_basic_run_tests();
	failed = (int)CU_get_number_of_failures();
	CU_cleanup_registry();
	return failed != 0;
}
