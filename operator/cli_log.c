/* cli_log.c -- see cli.h: a Pod's log on its way to stdout, each line once.
 *
 *     stream ──pieces──> line ──its time──> seen before the connection broke? ──> of this rank, this attempt? ──> stdout */
#include "operator/cli.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define LINE_MAX_BYTES (1u << 20) /* of one line; the rest of longer ones is left out */
#define SILENCE_MS 300000           /* of a log that is followed; then it is asked for anew */

void ls_logtail_begin(struct ls_logtail *t)
{
	t->line.len = 0;
	t->again = t->last[0] ? t->same : -1;
}

/* Repeats of the stream before: what is older, and as many of the last time as were printed. */
static bool repeated(struct ls_logtail *t, const char *time)
{
	int order = strcmp(time, t->last);

	if (t->again < 0)
		return false;
	if (order < 0)
		return true;
	if (order == 0 && t->again > 0) {
		t->again--;
		return true;
	}
	t->again = -1;
	return false;
}

static bool wanted(struct ls_logtail *t, const char *text)
{
	char *end;
	long rank;
	int attempt;

	if (sscanf(text, "lockstep: %*[^:]: attempt %d,", &attempt) == 1)
		t->current = attempt;
	if (t->attempt >= 0 && t->current != t->attempt)
		return false;
	if (t->rank < 0)
		return true;
	rank = strtol(text + (*text == '['), &end, 10);
	return *text == '[' && isdigit((unsigned char)text[1]) && *end == ']' && rank == t->rank;
}

/* "2026-11-24T12:47:07.123456789Z text": the time goes. What has none is a word of the kubelet's own. */
static void take_line(struct ls_logtail *t, const char *line)
{
	size_t len = strcspn(line, " ");
	bool timed = len >= 20 && len < sizeof(t->last) && line[4] == '-' && line[10] == 'T';
	const char *text = timed ? line + len + (line[len] == ' ') : line;
	char time[40] = "";

	if (timed) {
		snprintf(time, sizeof(time), "%.*s", (int)len, line);
		if (repeated(t, time))
			return;
		t->same = strcmp(time, t->last) ? 1 : t->same + 1;
		memcpy(t->last, time, sizeof(time));
	}
	if (!wanted(t, text))
		return;
	fprintf(t->out, "%s\n", text);
	t->printed++;
}

void ls_logtail_feed(struct ls_logtail *t, const char *bytes, size_t len)
{
	const char *end;
	size_t n;

	while (len) {
		end = memchr(bytes, '\n', len);
		n = end ? (size_t)(end - bytes) : len;
		if (t->line.len < LINE_MAX_BYTES)
			ls_str_addn(&t->line, bytes, n);
		n += end != NULL;
		bytes += n;
		len -= n;
		if (end) {
			if (t->line.len)
				take_line(t, t->line.s);
			t->line.len = 0;
		}
	}
	fflush(t->out);
}

void ls_logtail_end(struct ls_logtail *t)
{
	if (t->line.len)
		ls_logtail_feed(t, "\n", 1);
	ls_str_release(&t->line);
}

static bool on_body(void *arg, const char *bytes, size_t len)
{
	struct ls_logtail *t = arg;

	ls_logtail_feed(t, bytes, len);
	return !t->line.oom && !ferror(t->out);
}

ls_status ls_cli_log(struct ls_kube *k, const cJSON *pod, bool follow, struct ls_logtail *t, struct ls_err *err)
{
	struct ls_kube_call call = { .method = "GET", .on_body = on_body, .arg = t, .timeout_ms = -1, .stall_ms = SILENCE_MS };
	ls_status st;

	ls_str_add(&call.path, "/api/v1/namespaces/");
	ls_kube_add_segment(&call.path, ls_text_at(pod, "metadata.namespace"));
	ls_str_add(&call.path, "/pods/");
	ls_kube_add_segment(&call.path, ls_text_at(pod, "metadata.name"));
	ls_str_add(&call.path, "/log?timestamps=true&container=");
	ls_kube_add_segment(&call.path, ls_first_container(pod));
	if (follow)
		ls_str_add(&call.path, "&follow=true");
	if (t->last[0]) {
		ls_str_add(&call.path, "&sinceTime=");
		ls_kube_add_segment(&call.path, t->last);
	}
	ls_logtail_begin(t);
	st = call.path.oom ? ls_fail_oom(err) : ls_kube_one(k, &call, err);
	if (ferror(t->out))
		st = ls_fail(err, LS_JOB_LOST, 0, "cannot write to standard output");
	ls_kube_call_release(&call);
	return st;
}
