/* cmd_bench_net.c -- `lockstep bench net`: hosts and links are measured, and the slow ones named. */
#include "launcher/preflight.h"
#include "launcher/cmd_bench_coll.h"
#include "launcher/commands.h"
#include "launcher/signals.h"
#include "core/io.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
	"usage: lockstep bench net [options]     measures hosts and the links between them, and names what is slow (exit code 1)\n"
	"  -H --host a,b         these hosts, over ssh; a:4 with four ranks\n"
	"  --hostfile FILE       the same from a file\n"
	"  -N RANKS              ranks on each host (one per slot; on this machine alone one per core)\n"
	"  --seconds S           how long it measures, about (5)\n"
	"  --below PART          slow is below this part of what is usual among the hosts (0.75)\n"
	"  --expect-gbps G       what each link should carry, in Gbit/s each way: the only measure for two hosts\n"
	"  --json FILE           all of it for programs; '-': to standard output, in the tables' place\n"
	"  --timeout SECONDS     give up after so long (60, and ten times --seconds)\n"
	"  --bind-to, --oversubscribe, --mpirun, --ssh, --remote-path, --start-timeout, -x: as for lockstep run\n";

struct options {
	struct ls_strv run;
	double seconds;
	struct ls_net_limits limits;
	const char *json;
	int timeout_s;
};

static ls_status positive(const char *name, const char *text, double most, double *ret, struct ls_err *err)
{
	char *end;
	double v = strtod(text, &end);

	if (end == text || *end || !(v > 0 && v <= most))
		return ls_fail(err, LS_USAGE, 0, "%s %s: want a number above 0, at most %g", name, text, most);
	*ret = v;
	return LS_OK;
}

/* Below 0: one that is ours. Else the option of `lockstep run` with that name. */
enum { SECONDS = 256, BELOW, EXPECT, JSON, TIMEOUT, OVERSUBSCRIBE, HOSTFILE, BIND_TO, MPIRUN, SSH, REMOTE_PATH, START_TIMEOUT };
static const struct option longs[] = { { "seconds", 1, NULL, SECONDS }, { "below", 1, NULL, BELOW }, { "expect-gbps", 1, NULL, EXPECT },
	{ "json", 1, NULL, JSON }, { "timeout", 1, NULL, TIMEOUT }, { "oversubscribe", 0, NULL, OVERSUBSCRIBE }, { "host", 1, NULL, 'H' },
	{ "hostfile", 1, NULL, HOSTFILE }, { "bind-to", 1, NULL, BIND_TO }, { "mpirun", 1, NULL, MPIRUN }, { "ssh", 1, NULL, SSH },
	{ "remote-path", 1, NULL, REMOTE_PATH }, { "start-timeout", 1, NULL, START_TIMEOUT }, { "help", 0, NULL, 'h' }, { 0 } };

static void hand_on(struct options *o, int ch, const char *value)
{
	const struct option *l = longs;

	while (l->name && l->val != ch)
		l++;
	if (ch == 'N' || ch == OVERSUBSCRIBE) /* a list of hosts without slots means one each: -N is to count */
		ls_strv_add(&o->run, "--oversubscribe");
	if (ch == 'N' || ch == 'x')
		ls_strv_addf(&o->run, "-%c=%s", ch, value);
	else if (ch != OVERSUBSCRIBE)
		ls_strv_addf(&o->run, "--%s=%s", l->name, value);
}

/* -1: go on. Else the exit code. */
static int parse(int argc, char **argv, struct options *o, struct ls_err *err)
{
	ls_status st = LS_OK;
	double timeout;
	int ch;

	while (!st && (ch = getopt_long_only(argc, argv, "H:N:x:h", longs, NULL)) != -1)
		switch (ch) {
		case 'h': return fputs(usage, stdout) < 0;
		case '?': return ls_bench_usage("net");
		case SECONDS: st = positive("--seconds", optarg, 3600, &o->seconds, err); break;
		case BELOW: st = positive("--below", optarg, 1, &o->limits.below, err); break;
		case EXPECT: st = positive("--expect-gbps", optarg, 1e6, &o->limits.expect_gbps, err); break;
		case JSON: o->json = optarg; break;
		case TIMEOUT:
			st = positive("--timeout", optarg, 86400, &timeout, err);
			if (!st)
				o->timeout_s = timeout < 1 ? 1 : (int)timeout;
			break;
		default: hand_on(o, ch, optarg);
		}
	if (!st && optind + 1 != argc)
		st = ls_fail(err, LS_USAGE, 0, "'%s' is one word too many; see lockstep bench net --help", argv[optind + 1]);
	if (!st)
		st = ls_bench_output_check("--json", o->json, err);
	return st ? ls_command_fail("bench", st, err) : -1;
}

static void say(const char *what)
{
	fprintf(stderr, "lockstep bench net: %s\n", what);
}

static ls_status write_json(const struct options *o, const struct ls_net *net, const struct ls_net_verdict *v, struct ls_err *err)
{
	cJSON *json = ls_net_json(net, v);
	char *text = cJSON_Print(json);
	ls_status st = text ? LS_OK : ls_fail_oom(err);

	if (!st && !strcmp(o->json, "-"))
		puts(text);
	else if (!st)
		st = ls_file_publish(o->json, text, strlen(text), false, err);
	cJSON_free(text);
	cJSON_Delete(json);
	return st;
}

static ls_status measure(const struct options *o, bool *ret_slow, struct ls_err *err)
{
	struct ls_preflight_options po = { .run = &o->run, .seconds = o->seconds, .below = o->limits.below, .timeout_s = o->timeout_s, .say = say };
	struct ls_net_verdict v = { 0 };
	struct ls_net net = { 0 };
	ls_status st = ls_preflight_run(&po, &net, err);

	if (!st)
		st = ls_net_judge(&net, &o->limits, &v, err);
	if (!st && (!o->json || strcmp(o->json, "-")))
		ls_preflight_show(&net, &v, stdout);
	if (!st && o->json)
		st = write_json(o, &net, &v, err);
	*ret_slow = v.slow;
	ls_net_verdict_release(&v);
	ls_net_release(&net);
	return st;
}

int ls_bench_net(int argc, char **argv)
{
	struct options o = { .seconds = 5 };
	struct ls_err err = LS_ERR_INIT;
	bool slow = false;
	int code = parse(argc, argv, &o, &err);
	ls_status st = LS_OK;

	if (code < 0) {
		st = o.run.oom ? ls_fail_oom(&err) : ls_signals_init(&err);
		if (!st)
			st = measure(&o, &slow, &err);
		code = st == LS_NODE_LOST || st == LS_AGAIN ? (ls_command_fail("bench", st, &err), 75) : st ? ls_command_fail("bench", st, &err) : slow;
		code = ls_signals_last() ? 128 + ls_signals_last() : code;
	}
	ls_strv_release(&o.run);
	return code;
}
