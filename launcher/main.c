/* main.c -- the `lockstep` command: find the command's row and call it. */
#include "launcher/commands.h"
#include "core/str.h"
#include "lockstep/lockstep.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct command {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *text;
};

static const struct command commands[] = {
#define X(name, fn, text) { name, fn, text },
	LS_COMMANDS(X)
#undef X
};

static const struct command internal_commands[] = {
#define X(name, fn, text) { name, fn, text },
	LS_INTERNAL_COMMANDS(X)
#undef X
};

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static void help(FILE *out)
{
	size_t i;

	fputs("usage: lockstep COMMAND [options]\n\n", out);
	for (i = 0; i < COUNT(commands); i++)
		fprintf(out, "  %-9s %s\n", commands[i].name, commands[i].text);
	fputs("\n`lockstep COMMAND --help` tells more; `man lockstep` tells it all.\n", out);
}

static int unknown(const char *word)
{
	const char *names[COUNT(commands) + 1] = { 0 }, *near;
	size_t i;

	for (i = 0; i < COUNT(commands); i++)
		names[i] = commands[i].name;
	near = ls_nearest(word, names);
	fprintf(stderr, "lockstep: '%s' is not a command; %s%s%slockstep --help lists them\n", word,
		near ? "did you mean " : "", near ? near : "", near ? "? " : "");
	return 2;
}

/* Started with `>&-`, or by a daemon: the next file opened would be standard output, and our words would go into it. */
static void open_standard_files(void)
{
	int fd;

	while ((fd = open("/dev/null", O_RDWR)) >= 0 && fd <= 2)
		;
	if (fd > 2)
		close(fd);
}

int main(int argc, char **argv)
{
	size_t i;

	open_standard_files();
	if (argc < 2) {
		help(stderr);
		return 2;
	}
	for (i = 0; i < COUNT(internal_commands); i++)
		if (!strcmp(argv[1], internal_commands[i].name))
			return internal_commands[i].run(argc - 1, argv + 1);
	for (i = 0; i < COUNT(commands); i++)
		if (!strcmp(argv[1], commands[i].name))
			return commands[i].run(argc - 1, argv + 1);
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help")) {
		help(stdout);
		return 0;
	}
	if (!strcmp(argv[1], "--version") || !strcmp(argv[1], "version")) {
		puts("lockstep " LOCKSTEP_VERSION);
		return 0;
	}
	return unknown(argv[1]);
}
