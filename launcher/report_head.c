/* report_head.c -- the top of the page: what ran, where, how it ended, and its key numbers as tiles.
 *
 * A number that is not known has no tile: a dash in large type says nothing. */
#include "launcher/report_parts.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

const cJSON *ls_report_seats(const cJSON *job)
{
	const cJSON *a, *seats = NULL;

	for (a = ls_json_list(job, "attempts"); a; a = a->next)
		if (ls_json_list(a, "ranks"))
			seats = ls_json_list(a, "ranks");
	return seats;
}

const cJSON *ls_report_seat(const cJSON *job, int rank)
{
	const cJSON *seat = ls_report_seats(job);

	while (seat && ls_json_num(seat, "rank") != rank)
		seat = seat->next;
	return seat;
}

/* " on node-a and node-b", " on 8 hosts"; nothing when no host is known. */
static void hosts_add(struct ls_str *page, const cJSON *job)
{
	enum { MANY = 64 };
	const char *hosts[MANY];
	const cJSON *seat;
	int n = 0, i;

	for (seat = ls_report_seats(job); seat && n < MANY; seat = seat->next) {
		const char *host = ls_json_text(seat, "host");

		for (i = 0; i < n && strcmp(hosts[i], host); i++)
			;
		if (i == n && *host)
			hosts[n++] = host;
	}
	if (n > 3)
		ls_str_addf(page, " on %d%s hosts", n, n == MANY ? " or more" : "");
	for (i = 0; i < n && n <= 3; i++) {
		ls_str_add(page, i == 0 ? " on " : i == n - 1 ? " and " : ", ");
		ls_html_add(page, hosts[i]);
	}
}

static void fact_add(struct ls_str *page, const char *text)
{
	if (!*text)
		return;
	ls_str_add(page, "<span>");
	ls_html_add(page, text);
	ls_str_add(page, "</span>");
}

static void facts_add(struct ls_str *page, const cJSON *job)
{
	const cJSON *world = cJSON_GetObjectItemCaseSensitive(job, "worldSize");
	double requested = ls_json_num(world, "requested"), actual = ls_json_num(world, "actual");
	char text[32];

	ls_str_add(page, "<p class=\"facts\">");
	if (!(actual > 0)) /* the launcher does not know it before the ranks have met */
		actual = NAN;
	if (isfinite(actual) || isfinite(requested)) {
		ls_text_count(text, isfinite(actual) ? actual : requested);
		ls_str_addf(page, "<span>%s rank%s", text, strcmp(text, "1") ? "s" : "");
		if (isfinite(actual) && isfinite(requested) && actual != requested) {
			ls_text_count(text, requested);
			ls_str_addf(page, " <em>of %s requested</em>", text);
		}
		hosts_add(page, job);
		ls_str_add(page, "</span>");
	}
	ls_text_time(text, ls_json_time(job, "startTime"));
	fact_add(page, *text ? text : ls_json_text(job, "startTime"));
	fact_add(page, ls_json_text(job, "engine"));
	if (*ls_json_text(job, "lockstep")) {
		ls_str_add(page, "<span>Lockstep ");
		ls_html_add(page, ls_json_text(job, "lockstep"));
		ls_str_add(page, "</span>");
	}
	ls_str_add(page, "</p>");
}

/* Quoted as a shell wants it, so that it can be pasted. */
static void command_add(struct ls_str *page, const cJSON *job)
{
	const cJSON *word = ls_json_list(job, "command");
	struct ls_str line = { 0 };

	if (!word)
		return;
	for (; word; word = word->next) {
		const char *text = cJSON_GetStringValue(word);

		if (line.len)
			ls_str_add(&line, " ");
		ls_str_add_quoted(&line, text ? text : "");
	}
	ls_str_add(page, "<pre class=\"command\">");
	ls_html_add(page, ls_str_text(&line));
	ls_str_add(page, "</pre>");
	page->oom |= line.oom;
	ls_str_release(&line);
}

static const char *state_css(const char *state)
{
	static const struct {
		const char *state, *css;
	} rows[] = { { "Succeeded", "good" }, { "Failed", "bad" }, { "Suspended", "held" }, { "Stopped", "held" },
		{ "Running", "live" }, { "Restarting", "live" } };
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (!strcmp(state, rows[i].state))
			return rows[i].css;
	return "";
}

/* --- tiles -------------------------------------------------------------------------------------------------------- */

/* `label` is escaped here: results are named by the program. */
static void tile_add(struct ls_str *page, const char *label, const char *value, const char *below)
{
	ls_str_add(page, "<div class=\"tile\"><dt>");
	ls_html_add(page, label);
	ls_str_addf(page, "</dt><dd>%s</dd><dd class=\"below\">%s</dd></div>", value, below);
}

static void loss_tile(struct ls_str *page, const struct ls_report *r)
{
	double loss = ls_cell_mean(&r->steps->final_loss), from = ls_cell_mean(&r->steps->first_loss);
	bool goes_on = !strcmp(state_css(ls_json_text(r->job, "state")), "live");
	char value[32], first[32], below[64] = "";

	if (!r->steps->rows)
		loss = ls_json_num(cJSON_GetObjectItemCaseSensitive(r->job, "progress"), "loss");
	if (!isfinite(loss) && !r->steps->final_loss.bad)
		return;
	ls_text_value(value, loss);
	ls_text_value(first, from);
	if (isfinite(from) && r->steps->last > r->steps->first)
		snprintf(below, sizeof(below), "from %s", first);
	tile_add(page, goes_on ? "Loss so far" : "Final loss", isfinite(loss) ? value : "<em>not finite</em>", below);
}

static void results_tiles(struct ls_str *page, const cJSON *job)
{
	const cJSON *item = ls_json_list(job, "results");
	char value[32];
	int n = 0;

	for (; item && n < 8; item = item->next, n++) {
		if (!cJSON_IsNumber(item))
			continue;
		ls_text_value(value, item->valuedouble);
		tile_add(page, item->string ? item->string : "result", value, "result");
	}
}

static void rate_tile(struct ls_str *page, const struct ls_report *r)
{
	double rate = ls_steps_median_rate(r->steps);
	char value[32];

	if (!isfinite(rate))
		rate = ls_json_num(cJSON_GetObjectItemCaseSensitive(r->job, "progress"), "samplesPerSecond");
	if (!isfinite(rate))
		return;
	ls_text_count(value, rate);
	tile_add(page, "Throughput", value, r->steps->rows ? "samples/s, median" : "samples/s, last reported");
}

static void steps_tile(struct ls_str *page, const struct ls_report *r)
{
	const cJSON *progress = cJSON_GetObjectItemCaseSensitive(r->job, "progress");
	double done = r->steps->rows ? (double)r->steps->final_step : ls_json_num(progress, "step");
	double total = ls_json_num(progress, "totalSteps");
	char value[32], of[32], below[64] = "";

	if (!isfinite(done))
		return;
	ls_text_count(value, done);
	ls_text_count(of, total);
	if (total > 0)
		snprintf(below, sizeof(below), "of %s", of);
	tile_add(page, "Steps", value, below);
}

static void time_tile(struct ls_str *page, const cJSON *job)
{
	double took = ls_json_time(job, "endTime") - ls_json_time(job, "startTime");
	const cJSON *a = ls_json_list(job, "attempts");
	double up = NAN;
	char value[32], start[32], below[64] = "";

	for (; a; a = a->next)
		up = ls_json_num(a, "startSeconds") > 0 ? ls_json_num(a, "startSeconds") : up;
	if (!(took >= 0))
		return;
	ls_text_duration(value, took);
	ls_text_duration(start, up);
	if (isfinite(up))
		snprintf(below, sizeof(below), "start-up %s", start);
	tile_add(page, "Duration", value, below);
}

static void attempts_tile(struct ls_str *page, const struct ls_report *r)
{
	const cJSON *a = ls_json_list(r->job, "attempts");
	double started = ls_json_time(a, "startTime");
	double lost = ls_steps_lost_s(r->steps, isfinite(started) ? started : 0);
	char value[32], text[32], below[64] = "no restart";
	int n = 0;

	for (; a; a = a->next)
		n++;
	n = n > r->steps->n_attempts ? n : r->steps->n_attempts;
	if (!n)
		return;
	ls_text_count(value, n);
	ls_text_duration(text, lost);
	if (n > 1) /* to restarts */
		snprintf(below, sizeof(below), "%s lost", text);
	tile_add(page, "Attempts", value, below);
}

static void checkpoints_tile(struct ls_str *page, const cJSON *job)
{
	const cJSON *c = ls_json_list(job, "checkpoints"), *last = c;
	char value[32], step[32], below[64] = "";
	int n = 0;

	for (; c; c = c->next, n++)
		last = c;
	if (!n)
		return;
	ls_text_count(value, n);
	ls_text_count(step, ls_json_num(last, "step"));
	if (isfinite(ls_json_num(last, "step")))
		snprintf(below, sizeof(below), "newest: step %s", step);
	tile_add(page, "Checkpoints", value, below);
}

void ls_report_head(struct ls_str *page, const struct ls_report *r)
{
	const char *state = ls_json_text(r->job, "state"), *name = ls_json_text(r->job, "name");
	double code = ls_json_num(r->job, "exitCode");

	ls_str_add(page, "<header><div class=\"title\"><h1>");
	ls_html_add(page, *name ? name : "TrainingJob");
	ls_str_addf(page, "</h1><span class=\"state %s\">", state_css(state));
	ls_html_add(page, *state ? state : "State unknown");
	ls_str_add(page, "</span></div>");
	facts_add(page, r->job);
	if (*ls_json_text(r->job, "message")) {
		ls_str_addf(page, "<p class=\"message %s\">", state_css(state));
		ls_html_add(page, ls_json_text(r->job, "message"));
		if (code > 0)
			ls_str_addf(page, " <span class=\"quiet\">(exit code %.0f)</span>", code);
		ls_str_add(page, "</p>");
	}
	command_add(page, r->job);
	ls_str_add(page, "</header><dl class=\"tiles\">");
	loss_tile(page, r);
	results_tiles(page, r->job);
	rate_tile(page, r);
	steps_tile(page, r);
	time_tile(page, r->job);
	attempts_tile(page, r);
	checkpoints_tile(page, r->job);
	ls_str_add(page, "</dl>");
}
