/* status.c -- see status.h. */
#include "core/status.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct {
	const char *name, *text;
} statuses[] = {
#define X(code, name, text) [code] = { name, text },
	LS_STATUS_TABLE(X)
#undef X
};

const char *ls_status_name(ls_status st)
{
	return (size_t)st < sizeof(statuses) / sizeof(statuses[0]) ? statuses[st].name : "unknown";
}

const char *ls_status_text(ls_status st)
{
	return (size_t)st < sizeof(statuses) / sizeof(statuses[0]) ? statuses[st].text : "unknown";
}

ls_status ls_fail(struct ls_err *err, ls_status st, int sys, const char *fmt, ...)
{
	char text[sizeof(err->text)];
	size_t len;
	va_list ap;

	if (!err)
		return st;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap); /* not straight into err->text: the arguments may point there */
	va_end(ap);
	len = strlen(text);
	if (sys)
		snprintf(text + len, sizeof(text) - len, ": %s", strerror(sys));
	memcpy(err->text, text, sizeof(text));
	err->status = st;
	err->sys = sys;
	return st;
}

ls_status ls_err_at(struct ls_err *err, ls_status st, const char *fmt, ...)
{
	char text[sizeof(err->text)];
	size_t len;
	va_list ap;

	if (!err)
		return st;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	len = strlen(text);
	snprintf(text + len, sizeof(text) - len, "%s", err->text);
	memcpy(err->text, text, sizeof(text));
	return err->status;
}

ls_status ls_fail_oom(struct ls_err *err)
{
	return ls_fail(err, LS_AGAIN, ENOMEM, "no memory");
}
