/* cli.c -- see cli.h: options and the connection. One table of options gives the parser, its messages and --help. */
#include "operator/cli.h"
#include "launcher/commands.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

struct parser {
	struct ls_cli *c;
	const struct ls_cli_option *own, *common;
	struct ls_err err;
	bool help;
};

static bool has_name(const char *names, const char *word, size_t len)
{
	const char *at;

	for (at = names; *at; at += strcspn(at, " "), at += strspn(at, " "))
		if (strcspn(at, " ") == len && !strncmp(at, word, len))
			return true;
	return false;
}

static const struct ls_cli_option *find_in(const struct ls_cli_option *o, const char *word, size_t len)
{
	for (; o->names; o++)
		if (has_name(o->names, word, len))
			return o;
	return NULL;
}

static const struct ls_cli_option *find(const struct parser *p, const char *word, size_t len)
{
	const struct ls_cli_option *o = find_in(p->own, word, len);

	return o ? o : find_in(p->common, word, len);
}

static ls_status unknown(struct parser *p, const char *word)
{
	const struct ls_cli_option *lists[] = { p->own, p->common }, *o;
	struct ls_strv names = { 0 };
	const char *near, *at;
	size_t i, len;

	for (i = 0; i < 2; i++)
		for (o = lists[i]; o->names; o++)
			for (at = o->names; *at; at += len, at += strspn(at, " ")) {
				len = strcspn(at, " ");
				ls_strv_addf(&names, "%.*s", (int)len, at);
			}
	near = names.n ? ls_nearest(word, (const char *const *)names.v) : NULL;
	ls_fail(&p->err, LS_USAGE, 0, "unknown option %s; %s%s%slockstep %s --help lists them", word, near ? "did you mean " : "",
		near ? near : "", near ? "? " : "", p->c->name);
	ls_strv_release(&names);
	return LS_USAGE;
}

static void take(const struct ls_cli_option *o, const char *value)
{
	if (o->kind == LS_CLI_FLAG)
		*(bool *)o->to = true;
	else if (o->kind == LS_CLI_LIST)
		ls_strv_add(o->to, value);
	else
		*(const char **)o->to = value;
}

/* "--name=value", "--name value", "-n value", "-nvalue" as kubectl's users write. */
static ls_status option(struct parser *p, char **argv, int *i)
{
	const char *word = argv[*i], *value = strchr(word, '=');
	size_t len = value ? (size_t)(value - word) : strlen(word);
	const struct ls_cli_option *o = find(p, word, len);

	if (!o && word[1] != '-' && word[2] && (o = find(p, word, 2)) != NULL && o->kind != LS_CLI_FLAG)
		value = word + 1;
	else if (!o)
		return unknown(p, word);
	if (value && o->kind == LS_CLI_FLAG)
		return ls_fail(&p->err, LS_USAGE, 0, "%.*s takes no value", (int)len, word);
	if (value)
		value++;
	else if (o->kind == LS_CLI_MAYBE)
		value = "";
	else if (o->kind != LS_CLI_FLAG && !(value = argv[++*i]))
		return ls_fail(&p->err, LS_USAGE, 0, "%s needs a value: %s %s", word, word, o->value);
	take(o, value);
	return LS_OK;
}

static ls_status parse(struct parser *p, int argc, char **argv)
{
	bool words_only = false;
	ls_status st = LS_OK;
	int i;

	for (i = 1; i < argc && !st; i++) {
		if (words_only || argv[i][0] != '-' || !argv[i][1])
			p->c->words[p->c->n_words++] = argv[i];
		else if (!strcmp(argv[i], "--"))
			words_only = true;
		else
			st = option(p, argv, &i);
	}
	return st;
}

static void print_options(const struct ls_cli_option *o)
{
	for (; o->names; o++) {
		bool value = o->kind == LS_CLI_TEXT || o->kind == LS_CLI_LIST;
		char left[96];

		snprintf(left, sizeof(left), "%s%s%s%s", o->names, value ? " " : o->kind == LS_CLI_MAYBE ? "[=" : "",
			o->kind == LS_CLI_FLAG ? "" : o->value, o->kind == LS_CLI_MAYBE ? "]" : "");
		printf("  %-30s %s\n", left, o->text);
	}
}

bool ls_cli_parse(struct ls_cli *c, int argc, char **argv, const char *usage, const struct ls_cli_option *options, int *ret_code)
{
	struct parser p = { .c = c, .own = options, .err = LS_ERR_INIT };
	const struct ls_cli_option common[] = {
		{ "-n --namespace", LS_CLI_TEXT, "NS", "the namespace; default: the context's", &c->kube.namespace_ },
		{ "--context", LS_CLI_TEXT, "NAME", "a context of the kubeconfig", &c->kube.context },
		{ "--kubeconfig", LS_CLI_TEXT, "FILE", "default: $KUBECONFIG, ~/.kube/config, the Pod's own account", &c->kube.kubeconfig },
		{ "-h --help", LS_CLI_FLAG, NULL, "this text", &p.help },
		{ .names = NULL },
	};
	ls_status st;

	c->name = argv[0];
	p.common = common;
	c->words = calloc((size_t)argc + 1, sizeof(*c->words));
	st = c->words ? parse(&p, argc, argv) : ls_fail_oom(&p.err);
	*ret_code = 0;
	if (st) {
		*ret_code = ls_command_fail(c->name, st, &p.err);
	} else if (p.help) {
		printf("usage: lockstep %s\n\n", usage);
		print_options(options);
		print_options(common);
	}
	return !st && !p.help;
}

ls_status ls_cli_open(struct ls_cli *c, struct ls_err *err)
{
	ls_status st = ls_kube_open(&c->kube, &c->k, err);

	if (!st)
		c->namespace_ = ls_kube_namespace(c->k);
	return st;
}

void ls_cli_release(struct ls_cli *c)
{
	ls_kube_close(c->k);
	free(c->words);
	*c = (struct ls_cli){ 0 };
}

void ls_cli_say(const char *fmt, ...)
{
	struct ls_str raw = { 0 }, text = { 0 };
	va_list ap;

	va_start(ap, fmt);
	ls_str_vaddf(&raw, fmt, ap);
	va_end(ap);
	ls_str_add_clean(&text, ls_str_text(&raw));
	fprintf(stderr, "lockstep: %s\n", ls_str_text(&text));
	ls_str_release(&raw);
	ls_str_release(&text);
}
