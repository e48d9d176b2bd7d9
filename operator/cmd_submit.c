/* cmd_submit.c -- `lockstep submit`: a manifest goes to the cluster by server-side apply.
 *
 * It is checked here first, by the table that `lockstep run` uses, so that a mistake is named with its line; then by the API server,
 * strictly. Fields that somebody else has set are not taken over. */
#include "core/job.h"
#include "core/node.h"
#include "launcher/commands.h"
#include "operator/cli.h"
#include "operator/objects.h"

#include <string.h>

struct submit {
	struct ls_cli c;
	const char *file, *dry_run; /* dry_run NULL: in earnest; "" or "client", "server" */
	struct ls_strv sets;
	bool follow;
	struct ls_job job;
	cJSON *object;
};

/* Tree, checks, and the object as JSON. */
static ls_status read_job(struct submit *s, struct ls_err *err)
{
	struct ls_node *root = NULL;
	ls_status st;

	if (s->sets.oom)
		return ls_fail_oom(err);
	st = ls_job_read(s->file, (const char *const *)s->sets.v, &root, err);
	if (!st)
		st = ls_job_from_node(strcmp(s->file, "-") ? s->file : "stdin", root, &s->job, err);
	if (!st)
		st = ls_node_to_cjson(root, &s->object, err);
	ls_node_free(root);
	return st;
}

/* As kubectl has it: the option, else the manifest, else the context; a contradiction is an error. */
static ls_status settle_namespace(struct submit *s, struct ls_err *err)
{
	const char *asked = s->c.kube.namespace_, *written = s->job.namespace_;
	cJSON *metadata = cJSON_GetObjectItemCaseSensitive(s->object, "metadata");

	if (asked && written && strcmp(asked, written))
		return ls_fail(err, LS_USAGE, 0, "%s says namespace %s and -n says %s; leave out one", s->file, written, asked);
	if (written)
		s->c.kube.namespace_ = written;
	if (ls_cli_open(&s->c, err))
		return err->status;
	if (!written && !cJSON_AddStringToObject(metadata, "namespace", s->c.namespace_))
		return ls_fail_oom(err);
	return LS_OK;
}

/* Another manager's fields: each is named by the API server. */
static ls_status conflict(const struct submit *s, struct ls_err *err)
{
	char text[sizeof(err->text)];

	memcpy(text, err->text, sizeof(text));
	return ls_fail(err, LS_USAGE, 0,
		"%.700s; these fields were set by somebody else since: write their present values into %s, or take them over: "
		"kubectl apply --server-side --force-conflicts -f %s",
		text, s->file, s->file);
}

static ls_status apply(struct submit *s, bool dry, int *ret_http, cJSON **ret, struct ls_err *err)
{
	struct ls_kube_call call = { .method = "PATCH", .content_type = "application/apply-patch+yaml" };
	char *body = cJSON_PrintUnformatted(s->object);
	ls_status st;

	ls_job_path(&call.path, s->c.namespace_, s->job.name);
	ls_str_add(&call.path, "?fieldManager=lockstep&fieldValidation=Strict&force=false");
	if (dry)
		ls_str_add(&call.path, "&dryRun=All");
	if (body)
		ls_str_add(&call.body, body);
	cJSON_free(body);
	st = body ? ls_cli_job_call(&s->c, &call, s->job.name, err) : ls_fail_oom(err);
	if (st == LS_AGAIN && !strcmp(call.reason, "Conflict"))
		st = conflict(s, err);
	if (st == LS_NOT_FOUND)
		st = ls_fail(err, LS_AGAIN, 0, "%s does not take TrainingJobs", ls_kube_server(s->c.k));
	*ret_http = call.status;
	*ret = st ? NULL : cJSON_Parse(ls_str_text(&call.text));
	if (!st && ls_is_deleting(*ret))
		st = ls_fail(err, LS_AGAIN, 0, "the former %s is still being deleted, and this one would go with it; submit it again after: "
			"lockstep wait %s --for=delete -n %s", s->job.name, s->job.name, s->c.namespace_);
	ls_kube_call_release(&call);
	return st;
}

/* What an operator has seen is no news. */
static int say_what_next(struct submit *s, int http, const cJSON *job)
{
	const char *name = s->job.name, *ns = s->c.namespace_;
	bool old = ls_number_at(job, "metadata.generation", 0) == ls_number_at(job, "status.observedGeneration", -1);

	printf("trainingjob %s %s\n", name, http == 201 ? "submitted" : old ? "unchanged" : "configured");
	if (ls_is_over(job))
		printf("it is over (%s) and does not run again; to run it anew, before you submit it: lockstep delete %s -n %s\n", ls_state_of(job), name, ns);
	fflush(stdout);
	if (s->follow)
		return ls_cli_follow(&s->c, name, http == 201);
	if (ls_is_over(job))
		return 0;
	if (s->job.suspend)
		printf("it is suspended; to start it: lockstep resume %s -n %s\n", name, ns);
	else
		printf("next: lockstep logs -f %s -n %s    lockstep describe %s -n %s    lockstep delete %s -n %s\n", name, ns, name, ns, name, ns);
	return 0;
}

static int submit(struct submit *s)
{
	struct ls_err err = LS_ERR_INIT;
	bool server = s->dry_run && !strcmp(s->dry_run, "server");
	cJSON *job = NULL;
	int http = 0, code;
	ls_status st;

	if (!s->file || s->c.n_words)
		st = ls_fail(&err, LS_USAGE, 0, "%s%s; write: lockstep submit -f job.yaml", s->file ? "unknown word " : "no manifest",
			s->file ? s->c.words[0] : "");
	else if (s->dry_run && *s->dry_run && !server && strcmp(s->dry_run, "client"))
		st = ls_fail(&err, LS_USAGE, 0, "--dry-run=%s: write client or server", s->dry_run);
	else
		st = read_job(s, &err);
	if (!st && s->dry_run && !server) {
		printf("trainingjob %s is valid (dry run: the cluster was not asked; --dry-run=server asks it)\n", s->job.name);
		return 0;
	}
	if (!st)
		st = settle_namespace(s, &err);
	if (!st)
		st = apply(s, server, &http, &job, &err);
	code = st ? ls_command_fail("submit", st, &err) : 0;
	if (!st && server)
		printf("trainingjob %s would be %s (dry run: the API server agrees)\n", s->job.name, http == 201 ? "submitted" : "configured");
	else if (!st)
		code = say_what_next(s, http, job);
	cJSON_Delete(job);
	return code;
}

int cmd_submit(int argc, char **argv)
{
	struct submit s = { .file = NULL };
	const struct ls_cli_option options[] = {
		{ "-f --file", LS_CLI_TEXT, "JOB.yaml", "the TrainingJob, YAML or JSON; - is standard input", &s.file },
		{ "--set", LS_CLI_LIST, "FIELD=VALUE", "change a field: spec.workers.replicas=2", &s.sets },
		{ "-F --follow", LS_CLI_FLAG, NULL, "show its life as a local run; ends with its exit code", &s.follow },
		{ "--dry-run", LS_CLI_MAYBE, "server", "only check it: here, or at the API server too", &s.dry_run },
		{ .names = NULL },
	};
	int code;

	if (ls_cli_parse(&s.c, argc, argv, "submit -f JOB.yaml [options]", options, &code))
		code = submit(&s);
	ls_cli_release(&s.c);
	ls_job_release(&s.job);
	ls_strv_release(&s.sets);
	cJSON_Delete(s.object);
	return code;
}
