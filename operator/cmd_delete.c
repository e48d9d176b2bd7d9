/* cmd_delete.c -- `lockstep delete`: the job goes, and with it its Pods; the operator lets the ranks save first. It is waited for, as by kubectl,
 * so that a job of the same name can be submitted next. */
#include "core/io.h"
#include "launcher/commands.h"
#include "operator/cli.h"

#include <string.h>

enum { PATIENCE_MS = 10000 };

/* An object comes back where a finalizer holds it, else a Status. */
static ls_status delete_one(struct ls_cli *c, const char *name, struct ls_strv *ret_going, struct ls_err *err)
{
	struct ls_kube_call call = { .method = "DELETE" };
	cJSON *answer = NULL;
	ls_status st;

	ls_job_path(&call.path, c->namespace_, name);
	st = ls_cli_job_call(c, &call, name, err);
	if (!st) {
		printf("trainingjob %s deleted\n", name);
		fflush(stdout);
		answer = cJSON_Parse(ls_str_text(&call.text));
		if (ls_is_deleting(answer))
			ls_strv_setenv(ret_going, name, ls_text_at(answer, "metadata.uid"));
	}
	cJSON_Delete(answer);
	ls_kube_call_release(&call);
	return st;
}

/* Until it is gone, or another has its name. */
static ls_status wait_gone(struct ls_cli *c, const char *name, const char *uid, struct ls_err *err)
{
	int64_t begun = ls_clock_ms();
	struct ls_jobwatch *w = NULL;
	cJSON *job = NULL;
	unsigned seen = 0;
	bool gone = false, said = false;
	ls_status st = ls_jobwatch_start(c, name, &w, err);

	while (!st && !gone) {
		if (ls_jobwatch_next(w, 1000, &seen, &job)) {
			gone = !job || strcmp(ls_text_at(job, "metadata.uid"), uid) != 0;
			cJSON_Delete(job);
			job = NULL;
		}
		if (!gone && !said && ls_clock_ms() - begun > PATIENCE_MS) {
			ls_cli_say("%s still has Pods that save or end; Ctrl-C waits no longer, and they end all the same", name);
			said = true;
		}
	}
	ls_jobwatch_stop(w);
	return st;
}

static ls_status wait_all(struct ls_cli *c, const struct ls_strv *going, struct ls_err *err)
{
	ls_status st = going->oom ? ls_fail_oom(err) : LS_OK;

	for (size_t i = 0; i < going->n && !st; i++) {
		struct ls_str name = { 0 };
		size_t len = strcspn(going->v[i], "=");

		ls_str_addn(&name, going->v[i], len);
		st = name.oom ? ls_fail_oom(err) : wait_gone(c, name.s, going->v[i] + len + 1, err);
		ls_str_release(&name);
	}
	return st;
}

static ls_status delete_all(struct ls_cli *c, struct ls_strv *ret_going, struct ls_err *err)
{
	struct ls_str path = { 0 };
	cJSON *list = NULL;
	const cJSON *at;
	ls_status st;

	ls_job_path(&path, c->namespace_, NULL);
	st = path.oom ? ls_fail_oom(err) : ls_cli_list(c, ls_str_text(&path), &list, err);
	if (!st && !ls_at(list, "items")->child)
		printf("no TrainingJobs in namespace %s\n", c->namespace_);
	cJSON_ArrayForEach(at, ls_at(list, "items")) {
		st = delete_one(c, ls_text_at(at, "metadata.name"), ret_going, err);
		if (st && st != LS_NOT_FOUND)
			break;
		st = LS_OK; /* somebody else was faster */
	}
	cJSON_Delete(list);
	ls_str_release(&path);
	return st;
}

int cmd_delete(int argc, char **argv)
{
	bool all = false;
	const char *wait = "";
	struct ls_strv going = { 0 };
	const struct ls_cli_option options[] = {
		{ "--all", LS_CLI_FLAG, NULL, "all TrainingJobs of the namespace", &all },
		{ "--wait", LS_CLI_MAYBE, "false", "false: do not wait until they are gone", &wait },
		{ .names = NULL },
	};
	struct ls_err err = LS_ERR_INIT;
	struct ls_cli c = { 0 };
	ls_status st;
	int code, i;

	if (ls_cli_parse(&c, argc, argv, "delete NAME... | --all", options, &code)) {
		if (*wait && strcmp(wait, "true") && strcmp(wait, "false"))
			st = ls_fail(&err, LS_USAGE, 0, "--wait=%s: write true or false", wait);
		else if (all == (c.n_words > 0))
			st = ls_fail(&err, LS_USAGE, 0, "write the names of the jobs, or --all");
		else
			st = ls_cli_open(&c, &err);
		if (!st && all)
			st = delete_all(&c, &going, &err);
		if (st)
			code = ls_command_fail("delete", st, &err);
		for (i = 0; !st && i < c.n_words; i++) {
			ls_status one = delete_one(&c, c.words[i], &going, &err);

			if (one)
				code = ls_command_fail("delete", one, &err);
		}
		if (!st && strcmp(wait, "false"))
			st = wait_all(&c, &going, &err);
		if (st && !code)
			code = ls_command_fail("delete", st, &err);
	}
	ls_strv_release(&going);
	ls_cli_release(&c);
	return code;
}
