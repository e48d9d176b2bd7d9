/* log.c -- see log.h. */
#include "operator/log.h"
#include "core/io.h"
#include "core/str.h"

#include <stdarg.h>
#include <string.h>
#include <unistd.h>

static const char *const level_names[] = { "debug", "info", "warn", "error" };
static enum ls_log_level least = LS_LOG_INFO; /* set once, before threads start */

bool ls_log_level_set(const char *name)
{
	for (int i = 0; i <= LS_LOG_ERROR; i++)
		if (!strcmp(name, level_names[i])) {
			least = (enum ls_log_level)i;
			return true;
		}
	return false;
}

static void add_text(struct ls_str *line, const char *text)
{
	ls_str_add(line, "\"");
	for (; *text; text++)
		if (*text == '"' || *text == '\\')
			ls_str_addf(line, "\\%c", *text);
		else if ((unsigned char)*text < 0x20)
			ls_str_addf(line, "\\u%04x", (unsigned)*text);
		else
			ls_str_addn(line, text, 1);
	ls_str_add(line, "\"");
}

void ls_log(enum ls_log_level level, const char *msg, ...)
{
	struct ls_str line = { 0 };
	const char *key, *text;
	char now[32];
	va_list ap;

	if (level < least)
		return;
	ls_time_rfc3339(now);
	ls_str_addf(&line, "{\"time\":\"%s\",\"level\":\"%s\",\"msg\":", now, level_names[level]);
	add_text(&line, msg);
	va_start(ap, msg);
	while ((key = va_arg(ap, const char *)) != NULL) {
		text = va_arg(ap, const char *);
		if (!text || !*text)
			continue;
		ls_str_addf(&line, ",\"%s\":", key);
		add_text(&line, text);
	}
	va_end(ap);
	ls_str_add(&line, "}\n");
	if (!line.oom)
		ls_write_all(STDERR_FILENO, line.s, line.len); /* nobody reads: there is nobody to tell */
	ls_str_release(&line);
}
