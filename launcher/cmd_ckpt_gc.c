/* cmd_ckpt_gc.c -- `lockstep ckpt gc`: a prune by hand. A job may be running: only what is older than the newest whole checkpoint goes. */
#include "launcher/cmd_ckpt.h"
#include "launcher/commands.h"

#include <limits.h>
#include <stdio.h>

struct tally {
	bool dry;
	size_t n;
};

static void print_gone(void *arg, const char *what)
{
	struct tally *t = arg;

	printf("%s %s\n", t->dry ? "would delete" : "delete", what);
	t->n++;
}

int ls_cmd_ckpt_gc(const struct ls_ckpt_request *rq)
{
	struct tally t = { .dry = rq->dry };
	struct ls_err err = LS_ERR_INIT;
	struct ls_ckpt_prune opt = { .keep = rq->keep < 0 ? INT_MAX : (int)rq->keep,
		.dry = rq->dry,
		.gone = print_gone,
		.arg = &t };
	ls_status st = ls_ckpt_prune(rq->store, &opt, &err);

	if (st)
		return ls_command_fail("ckpt gc", st, &err);
	if (!t.n)
		printf("nothing to delete in %s\n", ls_store_uri(rq->store));
	return 0;
}
