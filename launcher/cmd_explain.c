/* cmd_explain.c -- `lockstep explain [PATH]`: what a field of a TrainingJob means, like kubectl explain. */
#include "core/job.h"
#include "launcher/commands.h"

#include <stdio.h>
#include <string.h>

static const char usage[] =
	"usage: lockstep explain [PATH]        lockstep explain spec.runPolicy.backoffLimit\n"
	"       lockstep explain --markdown    the whole reference as a page\n"
	"       lockstep explain --crd         Kubernetes' CustomResourceDefinition\n";

static int print(const struct ls_str *text)
{
	struct ls_err err = LS_ERR_INIT;

	if (text->oom)
		return ls_command_fail("explain", ls_fail_oom(&err), &err);
	if (fputs(ls_str_text(text), stdout) == EOF || fflush(stdout) == EOF)
		return ls_command_fail("explain", ls_fail(&err, LS_AGAIN, 0, "cannot write to standard output"), &err);
	return 0;
}

int cmd_explain(int argc, char **argv)
{
	const char *word = argc > 1 ? argv[1] : NULL;
	struct ls_err err = LS_ERR_INIT;
	struct ls_str text = { 0 };
	ls_status st = LS_OK;
	int code;

	if (word && (!strcmp(word, "--help") || !strcmp(word, "-h"))) {
		fputs(usage, stdout);
		return 0;
	}
	if (argc > 2 || (word && word[0] == '-' && strcmp(word, "--markdown") && strcmp(word, "--crd"))) {
		fputs(usage, stderr);
		return 2;
	}
	if (word && !strcmp(word, "--crd"))
		ls_job_crd(&text);
	else if (word && word[0] == '-')
		ls_job_reference(&text);
	else
		st = ls_job_explain(word, &text, &err);
	code = st ? ls_command_fail("explain", st, &err) : print(&text);
	ls_str_release(&text);
	return code;
}
