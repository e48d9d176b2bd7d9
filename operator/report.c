/* report.c -- what a launcher says, over the link or in its termination message (core/link.h). */
#include "operator/plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MESSAGE_MAX 1000 /* it becomes a condition's */

static const char *const states[] = { "Waiting", "Starting", "Running", "Restarting", "Succeeded", "Failed", "Stopped", NULL };

ls_status ls_report_read(const cJSON *json, struct ls_report *ret, struct ls_err *err)
{
	const char *state = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, "state"));
	const char *message = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, "message"));
	const cJSON *code = cJSON_GetObjectItemCaseSensitive(json, "exitCode"), *serial = cJSON_GetObjectItemCaseSensitive(json, "serial");
	struct ls_report r = { 0 };
	int i;

	for (i = 0; state && states[i] && strcmp(states[i], state); i++)
		;
	if (!state || !states[i] || !cJSON_IsNumber(serial))
		return ls_fail(err, LS_USAGE, 0, "a report without serial and a known state; the launcher is of another version");
	snprintf(r.state, sizeof(r.state), "%s", state);
	r.exit_code = cJSON_IsNumber(code) ? code->valueint : -1;
	r.serial = serial->valueint;
	r.message = strndup(message ? message : "", MESSAGE_MAX);
	if (!r.message || ls_tstatus_read(json, &r.facts, err)) {
		ls_report_release(&r);
		return ls_fail_oom(err);
	}
	*ret = r;
	return LS_OK;
}

void ls_report_release(struct ls_report *r)
{
	free(r->message);
	ls_tstatus_release(&r->facts);
	*r = (struct ls_report){ 0 };
}
