/* job.c -- a manifest becomes a struct ls_job: the table's checks (job_check.c), then the rules that join
 * several fields.
 *
 * Invariant: a job is handed out whole and valid, or not at all.
 */
#include "core/job_fields.h"
#include "core/io.h"
#include "core/node_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define TEMPLATE "spec.workers.template"

static const struct ls_node *find(const struct ls_node *node, const char *const *keys)
{
	for (; *keys; keys++)
		node = ls_node_get(node, *keys);
	return node && node->type != LS_NODE_NULL ? node : NULL;
}

#define FIND(root, ...) find(root, (const char *const[]){ __VA_ARGS__, NULL })

/* The defaults are text in the table and go through the same checks as a manifest, so that the two cannot differ. */
static void set_defaults(struct ls_check *c)
{
	const struct ls_field *f;

	for (f = ls_fields; f->key; f++) {
		struct ls_node node = { .text = (char *)f->otherwise };

		if (!f->otherwise)
			continue;
		ls_node_resolve(&node);
		ls_check_scalar(c, f, &node, f->key, true);
	}
	for (int code = 128; code < 256; code++)
		c->job->retryable[code] = 1;
	c->job->ttl_s = -1;
}

/* --- rules that join fields --------------------------------------------------------------------------------------- */

/* Another kind's manifest would give a screen of unknown fields: say only that it is another kind. */
static void check_kind(struct ls_check *c, const struct ls_node *root)
{
	static const char *const keys[] = { "apiVersion", "kind" };

	if (root->type != LS_NODE_MAP) {
		ls_check_fail(c, root, "(document)", "is %s; write a TrainingJob: apiVersion, kind, metadata, spec",
			ls_node_type_name(root->type));
		return;
	}
	for (int i = 0; i < 2; i++) {
		const struct ls_node *at = ls_node_get(root, keys[i]);

		if (at)
			ls_check_value(c, ls_field_find("", keys[i]), at, keys[i], false);
	}
}

static void check_elastic(struct ls_check *c, const struct ls_node *root)
{
	const struct ls_node *min = FIND(root, "spec", "workers", "minReplicas");

	if (min && c->job->min_replicas > c->job->replicas)
		ls_check_fail(c, min, "spec.workers.minReplicas",
			"%d is more than replicas (%d); lower it or raise replicas", c->job->min_replicas,
			c->job->replicas);
	if (!min)
		c->job->min_replicas = c->job->replicas;
}

static void check_every(struct ls_check *c, const struct ls_node *root)
{
	const struct ls_node *every = FIND(root, "spec", "checkpoint", "every");
	bool steps = FIND(every, "steps"), seconds = FIND(every, "seconds");

	if (every && every->type == LS_NODE_MAP && steps == seconds)
		ls_check_fail(c, every, "spec.checkpoint.every", "%s; write either steps or seconds",
			steps ? "has both steps and seconds" : "has neither steps nor seconds");
}

static void check_program(struct ls_check *c, const struct ls_node *root)
{
	const struct ls_node *list = FIND(root, "spec", "workers", "template", "spec", "containers");
	const struct ls_node *first = list && list->type == LS_NODE_LIST ? list->child : NULL;
	const struct ls_node *command = FIND(first, "command");

	if (first && first->type == LS_NODE_MAP && (!command || (command->type == LS_NODE_LIST && !command->child)))
		ls_check_fail(c, first, TEMPLATE ".spec.containers[0].command",
			"missing; outside Kubernetes no image supplies the program: write command: [./prog, --option]");
}

/* --- from tree to job --------------------------------------------------------------------------------------------- */

static void check_all(struct ls_check *c, const struct ls_node *root, bool want_program)
{
	check_kind(c, root);
	if (c->errors)
		return;
	set_defaults(c);
	ls_check_map(c, root, "", "", true);
	check_elastic(c, root);
	check_every(c, root);
	if (want_program)
		check_program(c, root);
	if (!c->errors)
		ls_check_template(c, FIND(root, "spec", "workers", "template"));
	c->job->hang_timeout_given = FIND(root, "spec", "runPolicy", "hangTimeoutSeconds");
}

static bool out_of_memory(const struct ls_check *c)
{
	const struct ls_job *job = c->job;

	return c->oom || job->argv.oom || job->env.oom || job->not_applied.oom || job->topology_keys.oom;
}

static ls_status build(const char *name, const struct ls_node *root, bool want_program, struct ls_job *ret,
	struct ls_err *err)
{
	struct ls_job job = { 0 };
	struct ls_check c = { .name = name, .job = &job, .err = err };
	ls_status st = LS_OK;

	check_all(&c, root, want_program);
	if (c.errors)
		st = LS_USAGE;
	else if (out_of_memory(&c))
		st = ls_fail_oom(err);
	if (st)
		ls_job_release(&job);
	else
		*ret = job;
	return st;
}

ls_status ls_job_from_node(const char *name, const struct ls_node *root, struct ls_job *ret, struct ls_err *err)
{
	return build(name, root, false, ret, err);
}

ls_status ls_job_init(struct ls_job *ret, const char *name, struct ls_err *err)
{
	struct ls_node value = { .type = LS_NODE_STRING, .text = (char *)name };
	struct ls_job job = { 0 };
	struct ls_check c = { .name = "lockstep", .job = &job, .err = err };

	set_defaults(&c);
	job.min_replicas = job.replicas;
	ls_check_scalar(&c, ls_field_find("metadata", "name"), &value, "name", true);
	if (!c.errors && !c.oom) {
		*ret = job;
		return LS_OK;
	}
	ls_job_release(&job);
	return c.errors ? LS_USAGE : ls_fail_oom(err);
}

void ls_job_release(struct ls_job *job)
{
	free(job->name);
	free(job->namespace_);
	free(job->working_dir);
	free(job->checkpoint_uri);
	free(job->managed_by);
	ls_strv_release(&job->argv);
	ls_strv_release(&job->env);
	ls_strv_release(&job->not_applied);
	ls_strv_release(&job->topology_keys);
	*job = (struct ls_job){ 0 };
}

/* --- from file to job --------------------------------------------------------------------------------------------- */

/* A file that is not there, or not readable, is its author's to mend like a bad one. */
static ls_status read_manifest(const char *path, struct ls_str *ret, struct ls_err *err)
{
	bool standard = !strcmp(path, "-");
	struct ls_err cause = LS_ERR_INIT;
	ls_status st;

	st = ls_file_read(standard ? "/dev/stdin" : path, LS_NODE_MAX_BYTES, ret, &cause);
	if (!st)
		return LS_OK;
	if (st == LS_NOT_FOUND || cause.sys == EACCES || cause.sys == EISDIR || cause.sys == ENOTDIR)
		return ls_fail(err, LS_USAGE, 0, "%s; give the path of a TrainingJob manifest, or - for standard input",
			cause.text);
	if (err)
		*err = cause;
	return st;
}

static const char *name_of(const char *path)
{
	return strcmp(path, "-") ? path : "stdin";
}

ls_status ls_job_read(const char *path, const char *const *sets, struct ls_node **ret, struct ls_err *err)
{
	struct ls_str text = { 0 };
	struct ls_node *root = NULL;
	ls_status st;

	st = read_manifest(path, &text, err);
	if (!st)
		st = ls_node_parse(name_of(path), ls_str_text(&text), text.len, &root, err);
	for (; !st && sets && *sets; sets++)
		st = ls_node_set(root, *sets, err);
	if (st)
		ls_node_free(root);
	else
		*ret = root;
	ls_str_release(&text);
	return st;
}

ls_status ls_job_load(const char *path, const char *const *sets, struct ls_job *ret, struct ls_err *err)
{
	struct ls_node *root = NULL;
	ls_status st = ls_job_read(path, sets, &root, err);

	if (!st)
		st = build(name_of(path), root, true, ret, err);
	ls_node_free(root);
	return st;
}
