/* commands.c -- see commands.h. */
#include "launcher/commands.h"

#include <stdio.h>

int ls_command_fail(const char *name, ls_status st, const struct ls_err *err)
{
	fflush(stdout); /* what was done before it failed comes first */
	fprintf(stderr, "lockstep %s: %s\n", name, err->text[0] ? err->text : ls_status_text(st));
	return st == LS_USAGE ? 2 : 1;
}
