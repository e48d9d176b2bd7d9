/* cmd_suspend.c -- `lockstep suspend` and `lockstep resume`: spec.runPolicy.suspend of jobs that are not over. */
#include "launcher/commands.h"
#include "operator/cli.h"

static ls_status set_suspend(struct ls_cli *c, const char *name, bool on, struct ls_err *err)
{
	struct ls_kube_call call = { .method = "PATCH", .content_type = "application/merge-patch+json" };
	cJSON *job = NULL;
	ls_status st = ls_cli_get_job(c, name, &job, err);
	bool already = !st && cJSON_IsTrue(ls_at(job, "spec.runPolicy.suspend")) == on;

	if (!st && ls_is_deleting(job))
		st = ls_fail(err, LS_USAGE, 0, "TrainingJob '%s' is being deleted: there is nothing to %s", name, c->name);
	else if (!st && ls_is_over(job))
		st = ls_fail(err, LS_USAGE, 0, "TrainingJob '%s' is over (%s): there is nothing to %s", name, ls_state_of(job), c->name);
	cJSON_Delete(job);
	if (!st && already)
		printf("trainingjob %s is %s\n", name, on ? "suspended already" : "not suspended");
	if (st || already)
		return st;
	ls_job_path(&call.path, c->namespace_, name);
	ls_str_add(&call.path, "?fieldManager=lockstep");
	ls_str_addf(&call.body, "{\"spec\":{\"runPolicy\":{\"suspend\":%s}}}", on ? "true" : "false");
	st = ls_cli_job_call(c, &call, name, err);
	if (!st)
		printf("trainingjob %s %s\n", name, on ? "suspended: its ranks save, then its Pods go" : "resumed: it goes on from its newest checkpoint");
	ls_kube_call_release(&call);
	return st;
}

static int run(int argc, char **argv, bool on)
{
	const struct ls_cli_option none[] = { { .names = NULL } };
	struct ls_err err = LS_ERR_INIT;
	struct ls_cli c = { 0 };
	ls_status st;
	int code, i;

	if (ls_cli_parse(&c, argc, argv, on ? "suspend NAME..." : "resume NAME...", none, &code)) {
		st = c.n_words ? ls_cli_open(&c, &err) : ls_fail(&err, LS_USAGE, 0, "write the names of the jobs");
		if (st)
			code = ls_command_fail(c.name, st, &err);
		for (i = 0; !st && i < c.n_words; i++) {
			ls_status one = set_suspend(&c, c.words[i], on, &err);

			if (one)
				code = ls_command_fail(c.name, one, &err);
		}
	}
	ls_cli_release(&c);
	return code;
}

int cmd_suspend(int argc, char **argv)
{
	return run(argc, argv, true);
}

int cmd_resume(int argc, char **argv)
{
	return run(argc, argv, false);
}
