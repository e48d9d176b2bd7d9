/* cmd_report.c -- `lockstep report DIR [-o F]`: write the HTML report of a job directory, and print where it is. */
#include "launcher/commands.h"
#include "launcher/report.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

static void help(FILE *out)
{
	fputs("usage: lockstep report [-o FILE] DIR\n\n"
	      "Write the report of the run in job directory DIR: one HTML file with the loss curve, step times,\n"
	      "throughput, attempts and their failures, placement and checkpoints. It opens without a network.\n\n"
	      "  -o, --output FILE   where to write it (default: DIR/report.html)\n"
	      "  -h, --help          this text\n",
		out);
}

int cmd_report(int argc, char **argv)
{
	static const struct option options[] = {
		{ "output", required_argument, NULL, 'o' }, { "help", no_argument, NULL, 'h' }, { 0 }
	};
	struct ls_err err = LS_ERR_INIT;
	const char *out = NULL;
	ls_status st;
	size_t len;
	static char name[] = "lockstep report"; /* getopt begins its sentences with it */
	int c;

	argv[0] = name;
	optind = 1;
	while ((c = getopt_long(argc, argv, "o:h", options, NULL)) != -1) {
		if (c == 'h') {
			help(stdout);
			return 0;
		}
		if (c != 'o') {
			fputs("lockstep report --help lists the options\n", stderr);
			return 2;
		}
		out = optarg;
	}
	if (optind + 1 != argc) {
		fputs("lockstep report: want one directory of a job\n", stderr);
		help(stderr);
		return 2;
	}
	for (len = strlen(argv[optind]); len > 1 && argv[optind][len - 1] == '/'; len--)
		argv[optind][len - 1] = '\0';
	st = ls_report_write(argv[optind], out, &err);
	if (st)
		return ls_command_fail("report", st, &err);
	if (out)
		puts(out);
	else
		printf("%s/report.html\n", argv[optind]);
	return 0;
}
