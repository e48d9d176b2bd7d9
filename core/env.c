/* env.c -- see env.h. */
#include "core/env.h"

#include <errno.h>
#include <stdlib.h>

const char *ls_env_text(const char *name, const char *otherwise)
{
	const char *value = getenv(name);

	return value && *value ? value : otherwise;
}

ls_status ls_env_number(const char *name, int64_t least, int64_t otherwise, int64_t *ret, struct ls_err *err)
{
	const char *text = ls_env_text(name, NULL);
	char *end;
	long long value;

	*ret = otherwise;
	if (!text)
		return LS_OK;
	errno = 0;
	value = strtoll(text, &end, 10);
	if (*end || errno || value < least)
		return ls_fail(err, LS_USAGE, 0, "environment: %s=%s: want a whole number of at least %lld", name, text,
			(long long)least);
	*ret = value;
	return LS_OK;
}
