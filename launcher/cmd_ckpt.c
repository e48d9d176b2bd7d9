/* cmd_ckpt.c -- `lockstep ckpt VERB`: its command line. The verbs are in cmd_ckpt_*.c. */
#include "launcher/cmd_ckpt.h"
#include "launcher/commands.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char usage[] =
	"usage: lockstep ckpt ls URI [--json]             a line for each checkpoint, newest first\n"
	"       lockstep ckpt show URI [--json]           the manifest and tensors of one\n"
	"       lockstep ckpt verify URI [--json]         read every byte of all, or of one; exit code 1: damaged\n"
	"       lockstep ckpt gc URI [--keep N]           delete what no reader needs: what interrupted saves and\n"
	"           [--dry-run]                           deletes left, and all but the newest N (without: all stay)\n"
	"       lockstep ckpt export URI -o FILE          one whole model.safetensors\n"
	"           [--force]                             replace FILE\n"
	"       lockstep ckpt import FILE URI             publish model.safetensors as the newest checkpoint,\n"
	"           [--step N]                            of this step (0)\n"
	"\n"
	"show, verify and export take --step N and --generation G: the newest checkpoint that fits.\n"
	"URI is file:///DIRECTORY, s3://BUCKET/PREFIX, or a directory's path; also a job's, which has checkpoints/ in it.\n";

#define STEP_MAX 999999999999LL /* 12 digits in a directory's name */

enum { STEP = 's', GENERATION = 'g', KEEP = 'k', JSON = 'j', DRY = 'n', FORCE = 'f', OUTPUT = 'o', HELP = 'h' };

static const struct option options[] = { { "step", required_argument, NULL, STEP },
	{ "generation", required_argument, NULL, GENERATION }, { "keep", required_argument, NULL, KEEP },
	{ "json", no_argument, NULL, JSON }, { "dry-run", no_argument, NULL, DRY }, { "force", no_argument, NULL, FORCE },
	{ "output", required_argument, NULL, OUTPUT }, { "help", no_argument, NULL, HELP }, { 0 } };

static const struct {
	const char *name;
	const char *takes; /* options */
	int (*run)(const struct ls_ckpt_request *rq);
} verbs[] = {
	{ "ls", "j", ls_cmd_ckpt_ls },
	{ "show", "jsg", ls_cmd_ckpt_show },
	{ "verify", "jsg", ls_cmd_ckpt_verify },
	{ "gc", "kn", ls_cmd_ckpt_gc },
	{ "export", "sgof", ls_cmd_ckpt_export },
	{ "import", "s", ls_cmd_ckpt_import },
};

enum { VERBS = sizeof(verbs) / sizeof(verbs[0]) };

ls_status ls_cmd_ckpt_pick(const struct ls_ckpt_request *rq, struct ls_ckpt_id *ret, struct ls_err *err)
{
	struct ls_ckpt_id *ids = NULL;
	struct ls_str which = { 0 };
	size_t n = 0, i;
	ls_status st = ls_ckpt_list(rq->store, &ids, &n, err);

	if (st)
		return st;
	for (i = 0; i < n; i++)
		if ((rq->step < 0 || ids[i].step == rq->step) && (rq->generation < 0 || ids[i].generation == rq->generation))
			break;
	if (i < n) {
		*ret = ids[i];
	} else if (!n) {
		st = ls_fail(err, LS_NOT_FOUND, 0, "no checkpoint in %s", ls_store_uri(rq->store));
	} else {
		if (rq->step >= 0)
			ls_str_addf(&which, " of step %lld", rq->step);
		if (rq->generation >= 0)
			ls_str_addf(&which, " of generation %lld", rq->generation);
		st = ls_fail(err, LS_NOT_FOUND, 0, "%s has no checkpoint%s; lockstep ckpt ls shows those that are there",
			ls_store_uri(rq->store), ls_str_text(&which));
	}
	ls_str_release(&which);
	free(ids);
	return st;
}

/* A path without a scheme is a directory, as people type it: of checkpoints, or of a job that has them in it. One that is to be
 * made need not exist. */
static ls_status open_store(const char *text, bool make, struct ls_store **ret, struct ls_err *err)
{
	struct ls_str uri = { 0 }, inner = { 0 };
	char *real = NULL;
	struct stat sb;
	ls_status st;

	if (strstr(text, "://"))
		return ls_store_open(text, ret, err);
	ls_str_addf(&inner, "%s/checkpoints", text);
	if (inner.s && stat(inner.s, &sb) == 0 && S_ISDIR(sb.st_mode)) {
		fprintf(stderr, "lockstep ckpt: %s is a job's directory: looking into %s\n", text, inner.s);
		text = inner.s;
	}
	if (make && mkdir(text, 0755) < 0 && errno != EEXIST)
		st = ls_fail(err, LS_USAGE, errno, "cannot make directory %s", text);
	else if (!(real = realpath(text, NULL)))
		st = ls_fail(err, LS_NOT_FOUND, errno, "cannot open %s", text);
	else {
		ls_str_addf(&uri, "file://%s", real);
		st = uri.oom ? ls_fail_oom(err) : ls_store_open(uri.s, ret, err);
	}
	ls_str_release(&inner);
	ls_str_release(&uri);
	free(real);
	return st;
}

static ls_status parse_number(const char *option, const char *text, long long min, long long max, long long *ret,
	struct ls_err *err)
{
	char *end;
	long long number;

	errno = 0;
	number = strtoll(text, &end, 10);
	if (errno || end == text || *end || number < min || number > max)
		return ls_fail(err, LS_USAGE, 0, "--%s %s: want a number from %lld to %lld", option, text, min, max);
	*ret = number;
	return LS_OK;
}

static ls_status take(int option, struct ls_ckpt_request *rq, struct ls_err *err)
{
	switch (option) {
	case STEP: return parse_number("step", optarg, 0, STEP_MAX, &rq->step, err);
	case GENERATION: return parse_number("generation", optarg, 0, UINT_MAX, &rq->generation, err);
	case KEEP: return parse_number("keep", optarg, 1, INT_MAX, &rq->keep, err);
	case JSON: rq->json = true; return LS_OK;
	case DRY: rq->dry = true; return LS_OK;
	case FORCE: rq->force = true; return LS_OK;
	default: rq->output = optarg; return LS_OK;
	}
}

static int usage_fail(const char *what)
{
	fprintf(stderr, "lockstep ckpt: %s\n%s", what, usage);
	return 2;
}

/* Fills rq; *ret_verb is -1 when the exit code is final. */
static int parse(int argc, char **argv, struct ls_ckpt_request *rq, int *ret_verb)
{
	struct ls_err err = LS_ERR_INIT;
	char given[16] = "", what[80];
	static char name[] = "lockstep ckpt"; /* getopt begins its sentences with it */
	int option, verb;

	*ret_verb = -1;
	argv[0] = name;
	while ((option = getopt_long(argc, argv, "ho:", options, NULL)) != -1) {
		if (option == HELP)
			return fputs(usage, stdout) < 0;
		if (option == '?')
			return fputs("lockstep ckpt --help lists the options\n", stderr), 2;
		if (take(option, rq, &err))
			return ls_command_fail("ckpt", LS_USAGE, &err);
		if (!strchr(given, option))
			given[strlen(given)] = (char)option;
	}
	for (verb = 0; verb < VERBS && (optind == argc || strcmp(verbs[verb].name, argv[optind])); verb++)
		;
	if (verb == VERBS)
		return usage_fail("want one of ls, show, verify, gc, export, import");
	if (given[strspn(given, verbs[verb].takes)]) {
		snprintf(what, sizeof(what), "%s does not take this option", verbs[verb].name);
		return usage_fail(what);
	}
	*ret_verb = verb;
	return 0;
}

int cmd_ckpt(int argc, char **argv)
{
	struct ls_ckpt_request rq = { .step = -1, .generation = -1, .keep = -1 };
	struct ls_err err = LS_ERR_INIT;
	int verb, code = parse(argc, argv, &rq, &verb);
	bool is_import;
	ls_status st;

	if (verb < 0)
		return code;
	is_import = verbs[verb].run == ls_cmd_ckpt_import;
	if (argc - optind != (is_import ? 3 : 2))
		return usage_fail(is_import ? "want import FILE URI" : "want one URI");
	if (is_import)
		rq.input = argv[optind + 1];
	if (verbs[verb].run == ls_cmd_ckpt_export && !rq.output)
		return usage_fail("export needs -o FILE");
	st = open_store(argv[argc - 1], is_import, &rq.store, &err);
	if (st)
		return ls_command_fail("ckpt", st, &err);
	code = verbs[verb].run(&rq);
	ls_store_close(rq.store);
	return code;
}
