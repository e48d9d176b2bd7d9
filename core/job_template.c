/* job_template.c -- what a rank's program is: the first container's command, arguments and environment.
 *
 * $(NAME) is expanded as the kubelet does: by variables that are already defined, $$ is a $, and what cannot be
 * resolved stays as it is. Deliberately without Kubernetes' service variables and valueFrom: outside a cluster nobody
 * defines them.
 */
#include "core/job_fields.h"

#include <stdio.h>
#include <string.h>

#define FIRST "spec.workers.template.spec.containers[0]"

/* Linux gives no program a longer argument (MAX_ARG_STRLEN); also the bound that keeps A=$(B)$(B), B=$(C)$(C), …
 * small. */
#define MAX_EXPANDED (128u << 10)

static void expand(const char *text, const struct ls_strv *env, struct ls_str *ret)
{
	while (*text && ret->len < MAX_EXPANDED) {
		const char *end = text[0] == '$' && text[1] == '(' ? strchr(text, ')') : NULL;
		const char *value = NULL;
		size_t i, len;

		if (text[0] != '$' || (text[1] != '$' && !end)) {
			len = 1 + strcspn(text + 1, "$");
			ls_str_addn(ret, text, len);
			text += len;
			continue;
		}
		if (text[1] == '$') {
			ls_str_addn(ret, "$", 1);
			text += 2;
			continue;
		}
		len = (size_t)(end - text) - 2;
		for (i = 0; i < env->n && !value; i++)
			if (!strncmp(env->v[i], text + 2, len) && env->v[i][len] == '=')
				value = env->v[i] + len + 1;
		if (value)
			ls_str_add(ret, value);
		else
			ls_str_addn(ret, text, len + 3);
		text = end + 1;
	}
}

static void fail_long(struct ls_check *c, const struct ls_node *at, const char *path)
{
	ls_check_fail(c, at, path,
		"is longer than %u KiB with its $(NAME) replaced, more than Linux gives to a program; "
		"pass a file instead",
		MAX_EXPANDED >> 10);
}

static void add_words(struct ls_check *c, const struct ls_node *list, const char *path)
{
	const struct ls_node *at;
	struct ls_str word = { 0 };

	for (at = list ? list->child : NULL; at && !c->job->argv.oom; at = at->next) {
		expand(at->text, &c->job->env, &word);
		if (word.oom)
			c->oom = true;
		else if (word.len >= MAX_EXPANDED)
			fail_long(c, at, path);
		else
			ls_strv_add(&c->job->argv, ls_str_text(&word));
		ls_str_release(&word);
	}
}

static const char *text_of(const struct ls_node *node)
{
	return node && node->type == LS_NODE_STRING ? node->text : "";
}

static void add_variable(struct ls_check *c, const struct ls_node *var)
{
	const struct ls_node *name = ls_node_get(var, "name"), *value = ls_node_get(var, "value");
	const struct ls_node *from = ls_node_get(var, "valueFrom");
	struct ls_str text = { 0 };
	char path[240];

	if (from && from->type != LS_NODE_NULL) {
		snprintf(path, sizeof(path), FIRST ".env[%.100s].valueFrom", name->text);
		if (*text_of(value))
			ls_check_fail(c, from, path, "a variable has a value or a valueFrom; remove one of the two");
		ls_check_not_applied(c, path);
		return;
	}
	expand(text_of(value), &c->job->env, &text);
	if (text.oom)
		c->oom = true;
	else if (text.len >= MAX_EXPANDED)
		fail_long(c, value, FIRST ".env");
	else
		ls_strv_setenv(&c->job->env, name->text, ls_str_text(&text));
	ls_str_release(&text);
}

void ls_check_template(struct ls_check *c, const struct ls_node *template)
{
	const struct ls_node *first = ls_node_get(ls_node_get(template, "spec"), "containers")->child, *at;
	const struct ls_node *env = ls_node_get(first, "env");
	char path[32];
	int i = 1;

	for (at = env ? env->child : NULL; at && !c->oom; at = at->next)
		add_variable(c, at);
	add_words(c, ls_node_get(first, "command"), FIRST ".command");
	add_words(c, ls_node_get(first, "args"), FIRST ".args");
	for (at = first->next; at; at = at->next) {
		snprintf(path, sizeof(path), "containers[%d]", i++);
		ls_check_not_applied(c, path);
	}
}
