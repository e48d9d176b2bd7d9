/* pod.c -- see pod.h. Pure but for ls_pod_engine() and ls_pod_runtime(). */
#include "launcher/pod.h"
#include "launcher/probe.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

ls_status ls_pod_runtime(char ret[PATH_MAX], struct ls_err *err)
{
	ls_status st = ls_self_path(ret, err);
	char *slash;
	int up;

	for (up = 0; !st && up < 2; up++) {
		slash = strrchr(ret, '/');
		*(slash ? slash : ret) = '\0';
	}
	return st;
}

ls_status ls_pod_engine(struct ls_engine *ret, struct ls_err *err)
{
	static const char *const prefixes[] = { "OPAL_PREFIX", "PRTE_PREFIX", "PMIX_PREFIX" };
	char runtime[PATH_MAX];
	struct ls_str prefix = { 0 }, mpirun = { 0 };
	ls_status st = ls_pod_runtime(runtime, err);
	bool ours;
	size_t i;

	if (st)
		return st;
	ls_str_addf(&prefix, "%s/openmpi", runtime);
	ls_str_addf(&mpirun, "%s/openmpi/bin/mpirun", runtime);
	ours = access(ls_str_text(&mpirun), X_OK) == 0;
	for (i = 0; ours && i < sizeof(prefixes) / sizeof(prefixes[0]); i++)
		setenv(prefixes[i], ls_str_text(&prefix), 1);
	st = prefix.oom || mpirun.oom ? ls_fail_oom(err) : ls_engine_find(ours ? mpirun.s : NULL, ret, err);
	ls_str_release(&prefix);
	ls_str_release(&mpirun);
	return st;
}

/* --- what a shell would make of it ------------------------------------------------------------------------------------- */

/* One word: quotes are taken off. Stops before a blank or ';'. `*ret_plain`: nothing in it would be expanded. */
static const char *word_read(const char *p, struct ls_str *ret, bool *ret_plain)
{
	char quote = 0;

	*ret_plain = true;
	for (; *p && (quote || (!isspace((unsigned char)*p) && *p != ';')); p++) {
		if (quote != '\'' && strchr("$`", *p))
			*ret_plain = false;
		if (!quote && strchr("|&<>()*?[]{}~#!\n", *p) && *p)
			*ret_plain = false;
		if (*p == '\\' && quote != '\'' && p[1])
			ls_str_addn(ret, ++p, 1);
		else if (quote ? *p == quote : *p == '"' || *p == '\'')
			quote = quote ? 0 : *p;
		else
			ls_str_addn(ret, p, 1);
	}
	if (quote)
		*ret_plain = false;
	return p;
}

/* "NAME=value" */
static bool assigns(const char *word)
{
	const char *p = word;

	while (isalnum((unsigned char)*p) || *p == '_')
		p++;
	return p > word && *p == '=';
}

/* What stands before the last ';' may set variables, whatever their values, and nothing else. */
static bool only_sets(const struct ls_strv *words)
{
	size_t i;

	for (i = 0; i < words->n; i++)
		if (!assigns(words->v[i]) && strcmp(words->v[0], "export"))
			return false;
	return true;
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

ls_status ls_pod_command(const char *text, struct ls_strv *ret, struct ls_err *err)
{
	struct ls_strv words = { 0 };
	bool all_plain = true, plain;
	ls_status st = LS_OK;
	const char *p;
	size_t i;

	for (p = text; !st && *p;) {
		struct ls_str word = { 0 };

		if (isspace((unsigned char)*p)) {
			p++;
			continue;
		}
		if (*p == ';') {
			if (!only_sets(&words))
				st = ls_fail(err, LS_USAGE, 0, "only a program may be started, not the shell command '%.200s'", text);
			ls_strv_release(&words);
			all_plain = true;
			p++;
			continue;
		}
		p = word_read(p, &word, &plain);
		all_plain &= plain;
		ls_strv_add(&words, ls_str_text(&word));
		words.oom |= word.oom;
		ls_str_release(&word);
	}
	if (!st && (!words.n || !all_plain || assigns(words.v[0]) || !strcmp(words.v[0], "export")))
		st = ls_fail(err, LS_USAGE, 0, "only a program may be started, not the shell command '%.200s'", text);
	for (i = 0; !st && i < words.n; i++)
		ls_strv_add(ret, i ? words.v[i] : base_name(words.v[i]));
	if (!st && words.n >= 2 && !strcmp(ret->v[0], "lockstep")) { /* "lockstep probe": the same everywhere */
		ls_strv_release(ret);
		for (i = 1; i < words.n; i++)
			ls_strv_add(ret, words.v[i]);
	}
	st = !st && (words.oom || ret->oom) ? ls_fail_oom(err) : st;
	ls_strv_release(&words);
	return st;
}

const char *ls_pod_daemon(const struct ls_engine *engine)
{
	return engine->major >= 5 ? "prted" : "orted";
}

ls_status ls_pod_argv(const struct ls_strv *words, const char *self, const struct ls_engine *engine, struct ls_strv *ret, struct ls_err *err)
{
	const char *what = words->n ? words->v[0] : "";
	const char *daemon = ls_pod_daemon(engine);
	size_t i;

	if (!strcmp(what, "probe") && words->n == 1) {
		ls_strv_add(ret, self);
		ls_strv_add(ret, "probe");
	} else if (!strcmp(what, daemon)) {
		ls_strv_addf(ret, "%.*s%s", (int)(base_name(engine->path) - engine->path), engine->path, daemon);
		for (i = 1; i < words->n; i++)
			ls_strv_add(ret, words->v[i]);
	} else {
		return ls_fail(err, LS_USAGE, 0, "'%.60s' is not allowed here: a worker runs `lockstep probe` and %s, Open MPI %s's daemon", what, daemon,
			engine->version);
	}
	return ret->oom ? ls_fail_oom(err) : LS_OK;
}
