/* report.c -- see report.h: read the job directory, build the page in memory, publish it.
 *
 * The page refers to nothing outside itself, and its content-security policy makes the browser hold it to that: should
 * escaping ever fail, a log line still cannot fetch, send or submit anything. */
#include "launcher/report.h"
#include "launcher/report_parts.h"
#include "core/io.h"
#include "lockstep/lockstep.h"

#include <stdlib.h>
#include <string.h>

#define JOB_BYTES_MAX (256u << 20)

static ls_status job_read(const char *dir, cJSON **ret, struct ls_err *err)
{
	struct ls_str path = { 0 }, text = { 0 };
	const char *end = NULL;
	cJSON *job = NULL;
	ls_status st;

	ls_str_addf(&path, "%s/job.json", dir);
	st = path.oom ? ls_fail_oom(err) : ls_file_read(path.s, JOB_BYTES_MAX, &text, err);
	if (st == LS_NOT_FOUND)
		st = ls_fail(err, LS_NOT_FOUND, 0,
			"%s holds no job.json: give the directory of a job, as `lockstep run` prints it", dir);
	if (st)
		goto out;
	job = cJSON_ParseWithLengthOpts(ls_str_text(&text), text.len, &end, false);
	if (!cJSON_IsObject(job)) {
		st = ls_fail(err, LS_DATA_BAD, 0,
			"%s: not a JSON object (byte %zu): restore it, or remove it to start afresh", path.s,
			job || !end ? 0 : (size_t)(end - ls_str_text(&text)));
		cJSON_Delete(job);
		goto out;
	}
	*ret = job;
out:
	ls_str_release(&text);
	ls_str_release(&path);
	return st;
}

static void page_add(struct ls_str *page, const struct ls_report *r)
{
	const char *name = ls_json_text(r->job, "name");
	bool failed = !strcmp(ls_json_text(r->job, "state"), "Failed");
	char rows[32], bad[32];

	ls_str_add(page, "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
		"<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; "
		"script-src 'unsafe-inline'; base-uri 'none'; form-action 'none'\">"
		"<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">"
		"<meta name=\"color-scheme\" content=\"light dark\"><title>");
	ls_html_add(page, *name ? name : "TrainingJob");
	ls_str_add(page, " – ");
	ls_html_add(page, ls_json_text(r->job, "state"));
	ls_str_addf(page, "</title><style>%s</style></head>\n<body><main>\n", ls_report_css);
	ls_report_head(page, r);
	ls_report_warnings(page, r);
	if (failed) /* why it failed is what its reader came for */
		ls_report_attempts(page, r);
	ls_report_charts(page, r);
	ls_report_ranks(page, r);
	if (!failed)
		ls_report_attempts(page, r);
	ls_report_placement(page, r);
	ls_report_checkpoints(page, r);
	ls_text_count(rows, (double)r->steps->rows);
	ls_text_count(bad, (double)r->steps->unreadable);
	ls_str_addf(page, "\n<footer>Lockstep %s, from job.json and %s row%s of steps.csv", LOCKSTEP_VERSION, rows,
		r->steps->rows == 1 ? "" : "s");
	if (r->steps->unreadable)
		ls_str_addf(page, "; %s line%s could not be read", bad, r->steps->unreadable == 1 ? "" : "s");
	ls_str_addf(page, ".</footer></main><script>%s</script></body></html>\n", ls_report_js);
}

static ls_status page_publish(const struct ls_report *r, const char *path, struct ls_err *err)
{
	struct ls_str page = { 0 };
	ls_status st;

	page_add(&page, r);
	st = page.oom ? ls_fail_oom(err) : ls_file_publish(path, page.s, page.len, false, err);
	ls_str_release(&page);
	return st;
}

ls_status ls_report_write(const char *job_dir, const char *out_path, struct ls_err *err)
{
	struct ls_str steps_path = { 0 }, page_path = { 0 };
	struct ls_steps *steps = calloc(1, sizeof(*steps));
	cJSON *job = NULL;
	ls_status st;

	ls_str_addf(&steps_path, "%s/steps.csv", job_dir);
	if (out_path)
		ls_str_add(&page_path, out_path);
	else
		ls_str_addf(&page_path, "%s/report.html", job_dir);
	st = !steps || steps_path.oom || page_path.oom ? ls_fail_oom(err) : job_read(job_dir, &job, err);
	if (!st)
		st = ls_steps_read(steps_path.s, steps, err);
	if (!st)
		st = page_publish(&(struct ls_report){ job, steps }, page_path.s, err);
	if (steps)
		ls_steps_release(steps);
	free(steps);
	cJSON_Delete(job);
	ls_str_release(&steps_path);
	ls_str_release(&page_path);
	return st;
}
