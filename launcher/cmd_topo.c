/* cmd_topo.c -- `lockstep topo`: show hosts as hwloc sees them, and where the ranks of a job would go and why. Starts
 * nothing but, for other hosts, `lockstep probe` there. */
#include "launcher/commands.h"
#include "core/io.h"
#include "core/place.h"
#include "launcher/probe.h"
#include "launcher/run_show.h"
#include "launcher/topo_show.h"
#include "launcher/topo_svg.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char usage[] =
	"usage: lockstep topo [options]\n"
	"\n"
	"  --topology T   an hwloc XML file (lstopo T.xml on a real machine) or synthetic string\n"
	"                 ('pack:2 numa:1 core:8 pu:2') instead of this machine\n"
	"  -H a:4,b:4     these hosts instead, asked through ssh; --hostfile FILE: from a file\n"
	"  --ssh CMD      the remote shell and its options; --remote-path PATH: lockstep over there\n"
	"  -np N          where N ranks would go, and why; 'auto': one per GPU, else one per core\n"
	"  --bind-to B    gpu, numa, core, none or auto (gpu where there are GPUs, else core)\n"
	"  --svg FILE     also write a picture\n"
	"  --xml          print the topology as hwloc XML instead, for --topology elsewhere\n";

struct options {
	const char *topology, *svg, *ssh, *remote_path;
	struct ls_hosts hosts;
	int ranks;              /* 0: no placement asked for */
	enum ls_bind bind;
	bool xml, help;
};

static ls_status parse_ranks(const char *text, int *ret, struct ls_err *err)
{
	char *end;
	long n;

	if (!strcmp(text, "auto")) {
		*ret = LS_RANKS_AUTO;
		return LS_OK;
	}
	errno = 0;
	n = strtol(text, &end, 10);
	if (errno || *end || end == text || n < 1 || n > 1000000)
		return ls_fail(err, LS_USAGE, 0, "-np %s: want a number from 1, or auto", text);
	*ret = (int)n;
	return LS_OK;
}

static ls_status parse_bind(const char *text, enum ls_bind *ret, struct ls_err *err)
{
	static const char *const names[] = { [LS_BIND_AUTO] = "auto", [LS_BIND_GPU] = "gpu", [LS_BIND_NUMA] = "numa",
		[LS_BIND_CORE] = "core", [LS_BIND_NONE] = "none", NULL };
	const char *near;
	int i;

	for (i = 0; names[i]; i++) {
		if (!strcmp(text, names[i])) {
			*ret = (enum ls_bind)i;
			return LS_OK;
		}
	}
	near = ls_nearest(text, names);
	return ls_fail(err, LS_USAGE, 0, "--bind-to %s: want gpu, numa, core, none or auto%s%s%s", text,
		near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
}

/* Options as mpirun spells them, "-np 4" too, which getopt would read as "-n p". */
static ls_status parse(int argc, char **argv, struct options *opt, struct ls_err *err)
{
	static const char *const names[] = { "--topology", "-np", "--bind-to", "--svg", "-H", "--hostfile", "--ssh", "--remote-path",
		"-n", "--host", "--xml", "--help", NULL };
	ls_status st = LS_OK;
	int i;

	for (i = 1; i < argc && !st; i++) {
		const char *name = argv[i], *near;
		int known;

		for (known = 0; names[known] && strcmp(name, names[known]); known++)
			;
		if (!strcmp(name, "--help") || !strcmp(name, "-h"))
			opt->help = true;
		else if (!strcmp(name, "--xml"))
			opt->xml = true;
		else if (!names[known]) {
			near = ls_nearest(name, names);
			st = ls_fail(err, LS_USAGE, 0, "unknown option %s%s%s%s; see lockstep topo --help", name,
				near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
		} else if (++i == argc)
			st = ls_fail(err, LS_USAGE, 0, "%s wants a value; see lockstep topo --help", name);
		else if (!strcmp(name, "--topology"))
			opt->topology = argv[i];
		else if (!strcmp(name, "--svg"))
			opt->svg = argv[i];
		else if (!strcmp(name, "--ssh"))
			opt->ssh = argv[i];
		else if (!strcmp(name, "--remote-path"))
			opt->remote_path = argv[i];
		else if (!strcmp(name, "--hostfile"))
			st = ls_hosts_read(argv[i], &opt->hosts, err);
		else if (!strcmp(name, "-H") || !strcmp(name, "--host"))
			st = ls_hosts_parse(argv[i], &opt->hosts, err);
		else if (!strcmp(name, "--bind-to"))
			st = parse_bind(argv[i], &opt->bind, err);
		else
			st = parse_ranks(argv[i], &opt->ranks, err);
	}
	if (!st && opt->hosts.n && (opt->topology || opt->svg || opt->xml))
		st = ls_fail(err, LS_USAGE, 0, "a list of hosts goes with -np and --bind-to only");
	return st;
}

static ls_status print_xml(const struct ls_topo *topo, struct ls_err *err)
{
	struct ls_str xml = { 0 };
	ls_status st = ls_topo_export(topo, &xml, err);

	if (!st)
		fputs(ls_str_text(&xml), stdout);
	ls_str_release(&xml);
	return st;
}

static ls_status write_svg(const struct options *opt, const char *host, const struct ls_topo *topo,
	const struct ls_place *place, struct ls_err *err)
{
	struct ls_str svg = { 0 };
	ls_status st = ls_topo_svg(host, topo, place->n ? place : NULL, &svg, err);

	if (!st)
		st = ls_file_publish(opt->svg, ls_str_text(&svg), svg.len, false, err);
	ls_str_release(&svg);
	return st;
}

static ls_status show(const struct options *opt, const struct ls_topo *topo, struct ls_err *err)
{
	struct ls_place place = { 0 };
	char host[256] = "this machine";
	ls_status st = LS_OK;

	if (opt->xml)
		return print_xml(topo, err);
	if (opt->topology)
		snprintf(host, sizeof(host), "%s", opt->topology);
	else if (gethostname(host, sizeof(host) - 1) < 0)
		return ls_fail(err, LS_AGAIN, errno, "this machine's name cannot be read");
	if (opt->ranks)
		st = ls_place_host(topo, opt->ranks, opt->bind, &place, err);
	if (!st) {
		ls_topo_print(stdout, host, topo);
		if (opt->ranks) {
			fputc('\n', stdout);
			ls_place_print(stdout, &place);
		}
		if (opt->svg)
			st = write_svg(opt, host, topo, &place, err);
	}
	ls_place_release(&place);
	return st;
}

static void say(const char *sentence)
{
	fprintf(stderr, "lockstep topo: %s\n", sentence);
}

/* Every host of the list as it describes itself, and the plan over all of them. */
static ls_status show_hosts(struct options *opt, struct ls_err *err)
{
	struct ls_probe_options po = { .ssh = opt->ssh ? opt->ssh : "ssh", .binary = opt->remote_path, .deadline_ms = 30000,
		.need_all = true, .say = say };
	struct ls_plan_options lo = { .ranks = opt->ranks > 0 ? opt->ranks : 0, .bind = opt->bind };
	struct ls_plan plan = { 0 };
	struct ls_str text = { 0 };
	char self[PATH_MAX];
	ls_status st;
	int i;

	if (ls_self_path(self, err))
		return LS_AGAIN;
	if (!po.binary)
		po.binary = self;
	st = ls_probe_hosts(&opt->hosts, &po, NULL, err);
	for (i = 0; !st && i < opt->hosts.n; i++) {
		ls_topo_print(stdout, opt->hosts.v[i].name, opt->hosts.v[i].topo);
		fputc('\n', stdout);
	}
	if (!st && opt->ranks)
		st = ls_plan_make(&opt->hosts, &lo, &plan, err);
	if (!st && opt->ranks) {
		ls_show_plan(&plan, &text);
		fputs(ls_str_text(&text), stdout);
	}
	ls_plan_release(&plan);
	ls_str_release(&text);
	return st;
}

int cmd_topo(int argc, char **argv)
{
	struct options opt = { .bind = LS_BIND_AUTO };
	struct ls_err err = LS_ERR_INIT;
	struct ls_topo *topo = NULL;
	ls_status st = parse(argc, argv, &opt, &err);

	if (!st && opt.help) {
		fputs(usage, stdout);
		return 0;
	}
	if (!st && opt.hosts.n) {
		st = show_hosts(&opt, &err);
	} else if (!st) {
		st = opt.topology ? ls_topo_open(opt.topology, true, &topo, &err) : ls_host_topo(&topo, &err);
		if (!st && !opt.topology)
			st = ls_topo_set_visible(topo, getenv("CUDA_VISIBLE_DEVICES"), getenv("CUDA_DEVICE_ORDER"), &err);
		if (!st)
			st = show(&opt, topo, &err);
	}
	ls_topo_close(topo);
	ls_hosts_release(&opt.hosts);
	if (!st && (fflush(stdout) || ferror(stdout)))
		st = ls_fail(&err, LS_AGAIN, errno, "the output cannot be written");
	return st ? ls_command_fail("topo", st, &err) : 0;
}
