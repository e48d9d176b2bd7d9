/* aws_profile.c -- see aws_profile.h. Each file is read into secret pages and cut up in place: no secret is copied. */
#include "core/aws_profile.h"
#include "core/aws_creds_impl.h"

#include <ctype.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#define FILE_MAX (1 << 20)

struct entry {
	enum ls_profile_kind kind;
	const char *section, *group; /* group: NULL in none */
	const char *key;             /* NULL: the section's own entry, so that an empty one exists */
	struct ls_profile_value value;
};

struct file {
	char *path; /* NULL: there is no home directory */
	bool config;
	struct ls_secret text;
};

struct ls_profiles {
	struct file files[2]; /* config, credentials: the later wins */
	struct entry *entries;
	size_t n, cap;
};

/* Where the parser is in a file. */
struct cursor {
	struct ls_profiles *p;
	struct file *file;
	int line;
	enum ls_profile_kind kind;
	const char *section; /* NULL before the first */
	struct entry *last;  /* the key at `indent`, which deeper lines continue; NULL: none */
	size_t indent;
	const char *group; /* last->key once it turned out to be a group */
	struct ls_err *err;
};

static ls_status wrong(const struct cursor *c, const char *what)
{
	return ls_fail(c->err, LS_USAGE, 0, "%s:%d: %s", c->file->path, c->line, what);
}

static struct entry *add_entry(struct cursor *c, const char *key, const char *text)
{
	struct ls_profiles *p = c->p;

	if (p->n == p->cap) {
		size_t cap = p->cap ? 2 * p->cap : 32;
		struct entry *more = realloc(p->entries, cap * sizeof(*more));

		if (!more)
			return NULL;
		p->entries = more;
		p->cap = cap;
	}
	p->entries[p->n] = (struct entry){ c->kind, c->section, c->group, key, { text, c->file->path, c->line } };
	return &p->entries[p->n++];
}

/* --- lines -------------------------------------------------------------------------------------------------------- */

static char *trim(char *s)
{
	char *end = s + strlen(s);

	while (end > s && isspace((unsigned char)end[-1]))
		*--end = '\0';
	return s + strspn(s, " \t\r\f\v");
}

/* "profile train", "profile \"train\"", "train", "services x": sets kind and section. */
static void name_section(struct cursor *c, char *name)
{
	size_t word = strcspn(name, " \t"), len;
	char *rest = trim(name + word);

	c->kind = LS_PROFILE;
	if (c->file->config && *rest) {
		name[word] = '\0';
		c->kind = !strcmp(name, "profile")    ? LS_PROFILE
			  : !strcmp(name, "services") ? LS_PROFILE_SERVICES
						      : LS_PROFILE_OTHER;
		len = strlen(rest);
		if (len > 1 && (*rest == '"' || *rest == '\'') && rest[len - 1] == *rest) {
			rest[len - 1] = '\0';
			rest++;
		}
		name = rest;
	} else if (c->file->config && strcmp(name, "default")) {
		c->kind = LS_PROFILE_OTHER; /* config wants the word `profile`; AWS's tools pass over it without */
	}
	c->section = name;
}

static ls_status take_section(struct cursor *c, char *line)
{
	char *end = strchr(line, ']');

	if (!end)
		return wrong(c, "a section's name ends with ']'");
	*end = '\0';
	name_section(c, trim(line + 1));
	c->last = NULL;
	c->group = NULL;
	return add_entry(c, NULL, "") ? LS_OK : ls_fail_oom(c->err);
}

static ls_status take_key(struct cursor *c, char *line)
{
	char *equals = strpbrk(line, c->group ? "=" : "=:");

	if (!c->section)
		return wrong(c, "want a section such as [default] before the first key");
	if (!equals || equals == line)
		return wrong(c, "want KEY = VALUE, [SECTION], or a comment that begins with #");
	*equals = '\0';
	return add_entry(c, trim(line), trim(equals + 1)) ? LS_OK : ls_fail_oom(c->err);
}

/* A line that is indented deeper than the key above: its group's, or more of its value. */
static ls_status take_deeper(struct cursor *c, char *line)
{
	char *end;

	if (!*c->last->value.text || c->group) {
		c->group = c->last->key;
		return take_key(c, line);
	}
	end = (char *)c->last->value.text + strlen(c->last->value.text);
	*end = '\n'; /* lines come behind the value, in one buffer */
	memmove(end + 1, line, strlen(line) + 1);
	return LS_OK;
}

static ls_status take_line(struct cursor *c, char *raw)
{
	size_t indent = strspn(raw, " \t"), last = c->last ? (size_t)(c->last - c->p->entries) : 0;
	char *line = trim(raw);
	bool deeper = c->last && indent > c->indent;
	ls_status st;

	if (!*line || *line == '#' || *line == ';')
		return LS_OK;
	if (deeper) {
		st = take_deeper(c, line);
		c->last = c->p->entries + last; /* the array may have moved */
		return st;
	}
	if (*line == '[')
		return take_section(c, line);
	c->group = NULL;
	st = take_key(c, line);
	if (!st)
		c->last = &c->p->entries[c->p->n - 1];
	c->indent = indent;
	return st;
}

static ls_status parse_file(struct ls_profiles *p, struct file *f, struct ls_err *err)
{
	struct cursor c = { .p = p, .file = f, .err = err };
	char *line = f->text.s, *next;
	ls_status st = LS_OK;

	if (memchr(line, '\0', f->text.len))
		return ls_fail(err, LS_USAGE, 0, "%s is no text: it has a NUL byte", f->path);
	if (!strncmp(line, "\xef\xbb\xbf", 3)) /* what Windows editors put first */
		line += 3;
	for (; line && !st; line = next) {
		next = strchr(line, '\n');
		if (next)
			*next++ = '\0';
		c.line++;
		st = take_line(&c, line);
	}
	return st;
}

/* --- files -------------------------------------------------------------------------------------------------------- */

static ls_status home_path(const char *rest, char **ret, struct ls_err *err)
{
	const char *home = ls_env("HOME");
	char buf[4096];
	struct passwd pw, *found = NULL;
	struct ls_str path = { 0 };

	if (!home && !getpwuid_r(getuid(), &pw, buf, sizeof(buf), &found) && found)
		home = found->pw_dir;
	if (!home)
		return LS_OK;
	ls_str_addf(&path, "%s/%s", home, rest);
	*ret = ls_str_steal(&path);
	return *ret ? LS_OK : ls_fail_oom(err);
}

static ls_status file_path(const char *variable, const char *usual, char **ret, struct ls_err *err)
{
	const char *path = ls_env(variable);

	if (!path)
		return home_path(usual, ret, err);
	if (!strncmp(path, "~/", 2))
		return home_path(path + 2, ret, err);
	*ret = strdup(path);
	return *ret ? LS_OK : ls_fail_oom(err);
}

static ls_status read_file(
	struct ls_profiles *p, struct file *f, const char *variable, const char *usual, struct ls_err *err)
{
	ls_status st = file_path(variable, usual, &f->path, err);

	if (st || !f->path)
		return st;
	st = ls_secret_file(f->path, FILE_MAX, &f->text, err);
	if (st == LS_NOT_FOUND)
		return LS_OK;
	return st ? st : parse_file(p, f, err);
}

ls_status ls_profiles_open(struct ls_profiles **ret, struct ls_err *err)
{
	struct ls_profiles *p = calloc(1, sizeof(*p));
	ls_status st;

	if (!p)
		return ls_fail_oom(err);
	p->files[0].config = true;
	st = read_file(p, &p->files[0], "AWS_CONFIG_FILE", ".aws/config", err);
	if (!st)
		st = read_file(p, &p->files[1], "AWS_SHARED_CREDENTIALS_FILE", ".aws/credentials", err);
	if (st)
		ls_profiles_close(p);
	else
		*ret = p;
	return st;
}

void ls_profiles_close(struct ls_profiles *p)
{
	int i;

	if (!p)
		return;
	for (i = 0; i < 2; i++) {
		ls_secret_free(&p->files[i].text);
		free(p->files[i].path);
	}
	free(p->entries);
	free(p);
}

/* --- questions ---------------------------------------------------------------------------------------------------- */

static bool same_group(const char *a, const char *b)
{
	return a && b ? !strcasecmp(a, b) : a == b;
}

const struct ls_profile_value *ls_profiles_get(
	const struct ls_profiles *p, enum ls_profile_kind kind, const char *section, const char *group, const char *key)
{
	size_t i;

	for (i = p->n; i-- > 0;) {
		const struct entry *e = &p->entries[i];

		if (e->kind == kind && e->key && !strcasecmp(e->key, key) && same_group(e->group, group) &&
			!strcmp(e->section, section))
			return *e->value.text ? &e->value : NULL;
	}
	return NULL;
}

bool ls_profiles_has(const struct ls_profiles *p, const char *name)
{
	size_t i;

	for (i = 0; i < p->n; i++)
		if (p->entries[i].kind == LS_PROFILE && !p->entries[i].key && !strcmp(p->entries[i].section, name))
			return true;
	return false;
}

const char *ls_profiles_credentials_file(const struct ls_profiles *p)
{
	return p->files[1].path ? p->files[1].path : "~/.aws/credentials";
}

const char *ls_profiles_config_file(const struct ls_profiles *p)
{
	return p->files[0].path ? p->files[0].path : "~/.aws/config";
}

/* "default, train"; a profile of both files once. */
static void list_profiles(const struct ls_profiles *p, struct ls_str *ret)
{
	size_t i, k;

	for (i = 0; i < p->n; i++) {
		const struct entry *e = &p->entries[i];

		if (e->kind != LS_PROFILE || e->key)
			continue;
		for (k = 0; k < i; k++)
			if (p->entries[k].kind == LS_PROFILE && !strcmp(p->entries[k].section, e->section))
				break;
		if (k == i)
			ls_str_addf(ret, "%s%s", ret->len ? ", " : "", e->section);
	}
}

ls_status ls_profiles_choose(const struct ls_profiles *p, const char **ret, struct ls_err *err)
{
	const char *name = ls_env("AWS_PROFILE");
	struct ls_str there = { 0 };
	ls_status st;

	if (!name || ls_profiles_has(p, name)) {
		*ret = name ? name : "default";
		return LS_OK;
	}
	list_profiles(p, &there);
	st = ls_fail(err, LS_USAGE, 0, "AWS_PROFILE: there is no profile '%s' in %s or %s%s%s", name,
		ls_profiles_credentials_file(p), ls_profiles_config_file(p),
		there.len ? "; there are: " : ", which have none", ls_str_text(&there));
	ls_str_release(&there);
	return st;
}
