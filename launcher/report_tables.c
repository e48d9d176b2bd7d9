/* report_tables.c -- attempts with their failures, checkpoints, warnings.
 *
 * Long lists are cut at the old end and say so: the page is for reading, job.json has everything. */
#include "launcher/report_parts.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { ATTEMPTS_SHOWN = 100, LINES_SHOWN = 200, CHECKPOINTS_SHOWN = 50, WARNINGS_SHOWN = 50 };

/* Skip to the last `shown` entries; returns how many were skipped. */
static int skip_old(const cJSON **list, int shown)
{
	const cJSON *item;
	int n = 0, i;

	for (item = *list; item; item = item->next)
		n++;
	for (i = 0; i < n - shown; i++)
		*list = (*list)->next;
	return n > shown ? n - shown : 0;
}

static void skipped_say(struct ls_str *page, int n)
{
	if (n)
		ls_str_addf(page, "<p class=\"say\">%d older %s only in job.json.</p>", n, n > 1 ? "are" : "is");
}

static void text_cell(struct ls_str *page, const char *css, const char *text)
{
	ls_str_addf(page, "<td%s%s%s>", *css ? " class=\"" : "", css, *css ? "\"" : "");
	if (*text)
		ls_html_add(page, text);
	else
		ls_str_add(page, "<span class=\"quiet\">–</span>");
	ls_str_add(page, "</td>");
}

/* --- attempts ----------------------------------------------------------------------------------------------------- */

/* Open for the newest failure only: a job that fails ten times fails the same way. */
static void log_tail(struct ls_str *page, const cJSON *failure, bool newest)
{
	const cJSON *line = ls_json_list(failure, "logTail");
	int skipped = skip_old(&line, LINES_SHOWN);

	if (!line)
		return;
	ls_str_addf(page, "<details%s><summary>Last output%s</summary><pre class=\"log\">", newest ? " open" : "",
		skipped ? ", shortened" : "");
	for (; line; line = line->next) {
		const char *text = cJSON_GetStringValue(line);

		ls_html_add(page, text ? text : "");
		ls_str_add(page, "\n");
	}
	ls_str_add(page, "</pre></details>");
}

/* "Rank 1 on node-b was killed by signal 9 (SIGKILL), OOMKilled. message" */
static void failure_add(struct ls_str *page, const cJSON *f, bool newest)
{
	double rank = ls_json_num(f, "rank"), code = ls_json_num(f, "exitCode"), sig = ls_json_num(f, "signal");
	const char *name = sig > 0 && sig < 65 ? sigabbrev_np((int)sig) : NULL;

	ls_str_add(page, "<tr class=\"failure\"><td></td><td colspan=\"6\"><p><strong>");
	if (rank >= 0)
		ls_str_addf(page, "Rank %.0f", rank);
	else
		ls_str_add(page, "The attempt");
	if (*ls_json_text(f, "host")) {
		ls_str_add(page, " on ");
		ls_html_add(page, ls_json_text(f, "host"));
	}
	if (sig > 0)
		ls_str_addf(page, " was killed by signal %.0f%s%s%s", sig, name ? " (SIG" : "", name ? name : "",
			name ? ")" : "");
	else if (code >= 0)
		ls_str_addf(page, " ended with exit code %.0f", code);
	else
		ls_str_add(page, " failed");
	ls_str_add(page, "</strong>");
	if (*ls_json_text(f, "reason")) {
		ls_str_add(page, " <span class=\"reason\">");
		ls_html_add(page, ls_json_text(f, "reason"));
		ls_str_add(page, "</span>");
	}
	ls_str_add(page, "</p>");
	if (*ls_json_text(f, "message")) {
		ls_str_add(page, "<p>");
		ls_html_add(page, ls_json_text(f, "message"));
		ls_str_add(page, "</p>");
	}
	log_tail(page, f, newest);
	ls_str_add(page, "</td></tr>");
}

static const char *outcome_css(const char *outcome)
{
	if (!strcmp(outcome, "succeeded"))
		return "good";
	if (!strcmp(outcome, "failed") || !strcmp(outcome, "deadline"))
		return "bad";
	return !strcmp(outcome, "stopped") ? "held" : "live";
}

static const cJSON *failure_of(const cJSON *attempt)
{
	const cJSON *f = cJSON_GetObjectItemCaseSensitive(attempt, "failure");

	return cJSON_IsObject(f) ? f : NULL;
}

static bool is_newest_failure(const cJSON *attempt)
{
	for (attempt = attempt->next; attempt && !failure_of(attempt);)
		attempt = attempt->next;
	return !attempt;
}

static void attempt_add(struct ls_str *page, const cJSON *a)
{
	double begin = ls_json_time(a, "startTime"), took = ls_json_time(a, "endTime") - begin;
	double from = ls_json_num(a, "resumedStep"), to = ls_json_num(a, "lastStep");
	double up = ls_json_num(a, "startSeconds");
	const char *outcome = ls_json_text(a, "outcome");
	const cJSON *rank;
	char text[32], last[32];
	int n = 0;

	ls_text_count(text, ls_json_num(a, "attempt"));
	ls_str_addf(page, "<tr><td class=\"num\">%s</td><td><span class=\"state %s\">", text, outcome_css(outcome));
	ls_html_add(page, *outcome ? outcome : "running");
	ls_str_add(page, "</span></td>");
	ls_text_time(text, begin);
	text_cell(page, "when", *text ? text : ls_json_text(a, "startTime"));
	ls_text_duration(text, took);
	text_cell(page, "num", text);
	ls_text_duration(text, up > 0 ? up : NAN);
	text_cell(page, "num wide", text);
	ls_text_count(text, from > 0 ? from : 0);
	ls_text_count(last, to > 0 ? to : NAN);
	ls_str_addf(page, "<td class=\"num\">%s%s%s</td>", to > 0 ? text : "", to > 0 ? " → " : "", last);
	for (rank = ls_json_list(a, "ranks"); rank; rank = rank->next)
		n++;
	ls_text_count(text, n ? n : NAN);
	text_cell(page, "num wide", text);
	ls_str_add(page, "</tr>");
	if (failure_of(a))
		failure_add(page, failure_of(a), is_newest_failure(a));
}

void ls_report_attempts(struct ls_str *page, const struct ls_report *r)
{
	const cJSON *a = ls_json_list(r->job, "attempts");
	int skipped = skip_old(&a, ATTEMPTS_SHOWN);

	if (!a)
		return;
	ls_str_add(page, "<section><h2>Attempts</h2><div class=\"scroll\"><table class=\"attempts\"><thead><tr>"
			 "<th class=\"num\">Attempt</th><th>Outcome</th><th>Started</th><th class=\"num\">Took</th>"
			 "<th class=\"num wide\">Start-up</th><th class=\"num\">Steps</th>"
			 "<th class=\"num wide\">Ranks</th></tr></thead><tbody>");
	for (; a; a = a->next)
		attempt_add(page, a);
	ls_str_add(page, "</tbody></table></div>");
	skipped_say(page, skipped);
	ls_str_add(page, "</section>");
}

/* --- checkpoints -------------------------------------------------------------------------------------------------- */

static void checkpoint_add(struct ls_str *page, const cJSON *c)
{
	double when = ls_json_time(c, "time");
	char text[32];

	ls_text_count(text, ls_json_num(c, "step"));
	ls_str_addf(page, "<tr><td class=\"num\">%s</td>", text);
	ls_text_time(text, when);
	text_cell(page, "when", *text ? text : ls_json_text(c, "time"));
	ls_text_bytes(text, ls_json_num(c, "bytes"));
	text_cell(page, "num", text);
	ls_text_ms(text, ls_json_num(c, "ms"));
	text_cell(page, "num", text);
	text_cell(page, "uri", ls_json_text(c, "uri"));
	ls_str_add(page, "</tr>");
}

static void skipped_checkpoints(struct ls_str *page, const cJSON *c)
{
	int skipped = skip_old(&c, CHECKPOINTS_SHOWN);

	if (!c)
		return;
	ls_str_add(page, "<ul class=\"alarm\">");
	for (; c; c = c->next) {
		char step[32];

		ls_text_count(step, ls_json_num(c, "step"));
		ls_str_addf(page, "<li>The checkpoint of step %s was passed over: ", step);
		ls_html_add(page, *ls_json_text(c, "reason") ? ls_json_text(c, "reason") : "no reason was recorded");
		ls_str_add(page, "</li>");
	}
	ls_str_add(page, "</ul>");
	skipped_say(page, skipped);
}

void ls_report_checkpoints(struct ls_str *page, const struct ls_report *r)
{
	const cJSON *c = ls_json_list(r->job, "checkpoints"), *passed_over = ls_json_list(r->job, "skippedCheckpoints");
	int skipped = skip_old(&c, CHECKPOINTS_SHOWN);

	if (!c && !passed_over)
		return;
	ls_str_add(page, "<section><h2>Checkpoints</h2>");
	skipped_checkpoints(page, passed_over);
	if (c)
		ls_str_add(page, "<div class=\"scroll\"><table><thead><tr><th class=\"num\">Step</th><th>Written</th>"
				 "<th class=\"num\">Size</th><th class=\"num\">Took</th>"
				 "<th class=\"uri\">URI</th></tr></thead><tbody>");
	for (; c; c = c->next)
		checkpoint_add(page, c);
	if (ls_json_list(r->job, "checkpoints"))
		ls_str_add(page, "</tbody></table></div>");
	skipped_say(page, skipped);
	ls_str_add(page, "</section>");
}

void ls_report_warnings(struct ls_str *page, const struct ls_report *r)
{
	const cJSON *w = ls_json_list(r->job, "warnings");
	int skipped = skip_old(&w, WARNINGS_SHOWN);

	if (!w)
		return;
	ls_str_add(page, "<section class=\"warnings\"><h2>Warnings</h2><ul>");
	for (; w; w = w->next) {
		ls_str_add(page, "<li>");
		ls_html_add(page, cJSON_GetStringValue(w) ? cJSON_GetStringValue(w) : "");
		ls_str_add(page, "</li>");
	}
	ls_str_add(page, "</ul>");
	skipped_say(page, skipped);
	ls_str_add(page, "</section>");
}
