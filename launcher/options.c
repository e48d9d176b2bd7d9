/* options.c -- see options.h. */
#include "launcher/options.h"

#include <ctype.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

struct option {
	const char *names;   /* space-separated; one or two dashes are the same, as for mpirun */
	const char *value;   /* what its value is called; NULL: a flag; "[=…]": it may have one */
	ls_status (*take)(struct ls_run_options *o, const char *value, struct ls_err *err);
	const char *text;
};

static ls_status number(const char *what, const char *text, long min, long max, long *ret, struct ls_err *err)
{
	char *end;
	long n = strtol(text, &end, 10);

	if (!isdigit((unsigned char)*text) || *end || n < min || n > max)
		return ls_fail(err, LS_USAGE, 0, "%s: '%s' is not a number from %ld to %ld", what, text, min, max);
	*ret = n;
	return LS_OK;
}

#define TAKE(name) static ls_status take_##name(struct ls_run_options *o, const char *value, struct ls_err *err)
#define TAKE_TEXT(name)                                                                                                \
	TAKE(name)                                                                                                     \
	{                                                                                                              \
		(void)err;                                                                                             \
		o->name = value;                                                                                       \
		return LS_OK;                                                                                          \
	}
#define TAKE_FLAG(name)                                                                                                \
	TAKE(name)                                                                                                     \
	{                                                                                                              \
		(void)value, (void)err;                                                                                \
		o->name = true;                                                                                        \
		return LS_OK;                                                                                          \
	}
#define TAKE_NUMBER(name, option, min, max)                                                                            \
	TAKE(name)                                                                                                     \
	{                                                                                                              \
		return number(option, value, min, max, &o->name, err);                                                 \
	}

TAKE_TEXT(file)
TAKE_TEXT(wdir)
TAKE_TEXT(dir)
TAKE_TEXT(name)
TAKE_TEXT(mpirun)
TAKE_TEXT(ssh)
TAKE_TEXT(remote_path)
TAKE_TEXT(workers)
TAKE_FLAG(oversubscribe)
TAKE_FLAG(local)
TAKE_FLAG(dry_run)
TAKE_FLAG(fresh)
TAKE_FLAG(quiet)
TAKE_FLAG(no_prefix)
TAKE_FLAG(report_bindings)
TAKE_FLAG(help)
TAKE_NUMBER(grace_s, "--grace", 0, 86400)
TAKE_NUMBER(start_timeout_s, "--start-timeout", 1, 86400)
TAKE_NUMBER(timeout_s, "--timeout", 1, 10000000)
TAKE_NUMBER(max_restarts, "--max-restarts", 0, 1000000)
TAKE_NUMBER(attempt, "--attempt", 0, 1000000000)
TAKE_NUMBER(losses, "--losses", 0, 1000000)

TAKE(np)
{
	long n;
	ls_status st = number("-np", value, 1, 1000000, &n, err);

	if (!st)
		o->np = (int)n;
	return st;
}

TAKE(per_host)
{
	long n;
	ls_status st = number("-N", value, 1, 65536, &n, err);

	if (!st)
		o->per_host = (int)n;
	return st;
}

TAKE(host)
{
	return ls_hosts_parse(value, &o->hosts, err);
}

TAKE(hostfile)
{
	return ls_hosts_read(value, &o->hosts, err);
}

TAKE(set)
{
	ls_strv_add(&o->sets, value);
	return o->sets.oom ? ls_fail_oom(err) : LS_OK;
}

/* -x NAME sends the variable as it is here, -x NAME=value sets it. */
TAKE(env)
{
	const char *eq = strchr(value, '='), *have;

	if (!*value || eq == value || (!eq && strchr(value, ' ')))
		return ls_fail(err, LS_USAGE, 0, "-x: '%s' is neither NAME nor NAME=value", value);
	if (eq) {
		ls_strv_add(&o->env, value);
	} else {
		have = getenv(value);
		if (!have)
			return ls_fail(err, LS_USAGE, 0, "-x %s: that variable is not set here; export it first, or say -x %s=value",
				value, value);
		ls_strv_addf(&o->env, "%s=%s", value, have);
	}
	return o->env.oom ? ls_fail_oom(err) : LS_OK;
}

TAKE(bind)
{
	static const struct {
		const char *word;
		enum ls_bind bind;
	} words[] = { { "auto", LS_BIND_AUTO }, { "gpu", LS_BIND_GPU }, { "numa", LS_BIND_NUMA }, { "core", LS_BIND_CORE },
		{ "none", LS_BIND_NONE } };
	size_t i;

	for (i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (!strcmp(value, words[i].word)) {
			o->bind = words[i].bind;
			o->bind_given = true;
			return LS_OK;
		}
	}
	return ls_fail(err, LS_USAGE, 0, "--bind-to: '%s' is not known; want auto, gpu, numa, core or none", value);
}

TAKE(map)
{
	int n, used = 0;

	if (!strcmp(value, "slot") || !strcmp(value, "core")) {
		o->by_node = false;
		return LS_OK;
	}
	if (!strcmp(value, "node")) {
		o->by_node = true;
		return LS_OK;
	}
	if (sscanf(value, "ppr:%d:node%n", &n, &used) == 1 && used == (int)strlen(value) && n > 0) {
		o->per_host = n;
		return LS_OK;
	}
	return ls_fail(err, LS_USAGE, 0, "--map-by: '%s' is not known; want slot, node or ppr:N:node", value);
}

TAKE(mca) /* --mca=…: the usual form is take_engine_words()' */
{
	(void)o;
	return ls_fail(err, LS_USAGE, 0, "--mca wants a name and a value, two words: --mca NAME VALUE (not --mca=%s)", value);
}

/* "warn", "fail" or "none", and limits: "fail,below=0.5,expect-gbps=80". */
static ls_status preflight_word(struct ls_run_options *o, const char *word, struct ls_err *err)
{
	static const char *const modes[] = { [LS_PREFLIGHT_NONE] = "none", [LS_PREFLIGHT_WARN] = "warn", [LS_PREFLIGHT_FAIL] = "fail" };
	const char *eq = strchr(word, '=');
	char *end = NULL;
	double v = eq ? strtod(eq + 1, &end) : 0;
	int i;

	for (i = LS_PREFLIGHT_NONE; i <= LS_PREFLIGHT_FAIL; i++)
		if (!strcmp(word, modes[i])) {
			o->preflight = i;
			return LS_OK;
		}
	if (eq && !*end && v > 0 && v <= 1 && !strncmp(word, "below=", 6))
		o->preflight_limits.below = v;
	else if (eq && !*end && v > 0 && v <= 1e6 && !strncmp(word, "expect-gbps=", 12))
		o->preflight_limits.expect_gbps = v;
	else
		return ls_fail(err, LS_USAGE, 0, "--preflight=%s: want warn, fail or none, below=PART (at most 1), expect-gbps=G, with commas between", word);
	return LS_OK;
}

TAKE(preflight)
{
	char *copy = strdup(value ? value : "warn"), *p = copy, *word;
	ls_status st = copy ? LS_OK : ls_fail_oom(err);

	o->preflight = LS_PREFLIGHT_WARN;
	while (!st && (word = strsep(&p, ",")) != NULL)
		st = preflight_word(o, word, err);
	free(copy);
	return st;
}

static const struct option options[] = {
	{ "-f --file", "JOB.yaml", take_file, "run this TrainingJob (YAML or JSON)" },
	{ "--set", "FIELD=VALUE", take_set, "change a field of the manifest, e.g. spec.workers.replicas=2" },
	{ "-np -n -c", "N", take_np, "start N ranks of the program (default: one per slot)" },
	{ "-H --host", "a:4,b:4", take_host, "hosts and how many ranks each may have" },
	{ "--hostfile --machinefile", "FILE", take_hostfile, "the same from a file: a line 'a slots=4' per host" },
	{ "-N --npernode --ppn", "N", take_per_host, "ranks on each host" },
	{ "-x", "NAME[=VALUE]", take_env, "give a variable to every rank" },
	{ "--bind-to", "WHAT", take_bind, "auto, gpu, numa, core or none (default auto)" },
	{ "--map-by", "WHAT", take_map, "number the ranks by slot, node or ppr:N:node (default slot)" },
	{ "--oversubscribe", NULL, take_oversubscribe, "allow more ranks than slots" },
	{ "--local", NULL, take_local, "put all workers of the manifest on this machine" },
	{ "--wdir --wd", "DIR", take_wdir, "the programs' working directory (default: this one)" },
	{ "--dry-run", NULL, take_dry_run, "print the plan and the engine's command line; start nothing" },
	{ "--preflight", "[=warn|fail]", take_preflight, "first measure all hosts and name what is slow; fail: do not start on it" },
	{ "--dir", "DIR", take_dir, "the job's directory (default lockstep-runs/NAME)" },
	{ "--name", "NAME", take_name, "the job's name, for a program without a manifest" },
	{ "--fresh", NULL, take_fresh, "set an earlier run of this job aside instead of continuing it" },
	{ "--max-restarts", "N", take_max_restarts, "new attempts without progress (manifest: backoffLimit; else 0)" },
	{ "--grace", "SECONDS", take_grace_s, "from SIGTERM to SIGKILL when stopping (default 10)" },
	{ "--timeout", "SECONDS", take_timeout_s, "end the job after so long (manifest: activeDeadlineSeconds)" },
	{ "--start-timeout", "SECONDS", take_start_timeout_s, "for hosts to answer and ranks to report in (default 60)" },
	{ "--mpirun", "PATH", take_mpirun, "the Open MPI to start with (default: LOCKSTEP_MPIRUN, else mpirun)" },
	{ "--mca", "NAME VALUE", take_mca, "an Open MPI parameter, handed on" },
	{ "--ssh", "COMMAND", take_ssh, "the remote shell and its options (default ssh)" },
	{ "--remote-path", "PATH", take_remote_path, "lockstep on the other hosts (default: the same path as here)" },
	{ "--workers", "FILE", take_workers, "in a launcher's Pod: hosts are the workers of the operator's newest order" },
	{ "--attempt", "N", take_attempt, "with --workers: attempts are numbered from N" },
	{ "--losses", "N", take_losses, "with --workers: N of backoffLimit are used up already" },
	{ "--report-bindings", NULL, take_report_bindings, "print where every rank sits before it starts" },
	{ "--no-prefix", NULL, take_no_prefix, "do not put [rank] before the programs' lines" },
	{ "-q --quiet", NULL, take_quiet, "only the programs' output, and errors" },
	{ "-h --help", NULL, take_help, "this text" },
	/* Words of mpirun that ask for what is done anyway. */
	{ "--allow-run-as-root --tag-output", NULL, NULL, NULL },
};

enum { N_OPTIONS = sizeof(options) / sizeof(options[0]) };

/* Does "--word" or "-word" name this option? */
static bool names_it(const struct option *opt, const char *arg, size_t len)
{
	const char *p = opt->names;

	while (*p) {
		size_t n = strcspn(p, " ");
		const char *bare = p + strspn(p, "-");

		if ((size_t)(p + n - bare) == len && !strncmp(bare, arg, len))
			return true;
		p += n + (p[n] == ' ');
	}
	return false;
}

static const struct option *find(const char *arg, size_t len)
{
	size_t i;

	for (i = 0; i < N_OPTIONS; i++)
		if (names_it(&options[i], arg, len))
			return &options[i];
	return NULL;
}

const char *const *ls_run_options_names(void)
{
	static char text[1024];
	static const char *names[80];
	size_t n = 0, used = 0, i;

	for (i = 0; i < N_OPTIONS && !names[0]; i++)
		used += (size_t)snprintf(text + used, sizeof(text) - used, "%s ", options[i].names);
	for (char *save = NULL, *p = names[0] ? NULL : strtok_r(text, " ", &save); p && n < 79; p = strtok_r(NULL, " ", &save))
		names[n++] = p;
	return names;
}

static ls_status unknown(const char *arg, struct ls_err *err)
{
	char name[64];
	const char *near;

	snprintf(name, sizeof(name), "%.*s", (int)strcspn(arg, "="), arg);
	near = ls_nearest(name, ls_run_options_names());
	return ls_fail(err, LS_USAGE, 0, "'%s' is not an option of lockstep run%s%s%s; see lockstep run --help", arg,
		near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
}

/* --mca takes two words, and Open MPI 5 has a family of them. */
static int take_engine_words(struct ls_run_options *o, int argc, char **argv, int i)
{
	const char *bare = argv[i] + strspn(argv[i], "-");

	if (strcmp(bare, "mca") && strcmp(bare, "prtemca") && strcmp(bare, "pmixmca"))
		return 0;
	if (i + 2 >= argc)
		return -1;
	ls_strv_addf(&o->engine_extra, "--%s", bare);
	ls_strv_add(&o->engine_extra, argv[i + 1]);
	ls_strv_add(&o->engine_extra, argv[i + 2]);
	return 3;
}

static ls_status take_one(struct ls_run_options *o, int argc, char **argv, int *i, struct ls_err *err)
{
	const char *arg = argv[*i], *bare = arg + strspn(arg, "-"), *eq = strchr(bare, '='), *value;
	size_t len = eq ? (size_t)(eq - bare) : strlen(bare);
	const struct option *opt = find(bare, len);
	int words = take_engine_words(o, argc, argv, *i);

	if (words < 0)
		return ls_fail(err, LS_USAGE, 0, "%s wants a name and a value", arg);
	if (words) {
		*i += words;
		return LS_OK;
	}
	if (!opt)
		return unknown(arg, err);
	++*i;
	if (!opt->value) {
		if (eq)
			return ls_fail(err, LS_USAGE, 0, "%s takes no value", arg);
		return opt->take ? opt->take(o, NULL, err) : LS_OK;
	}
	if (opt->value[0] == '[')
		return opt->take(o, eq ? eq + 1 : NULL, err);
	value = eq ? eq + 1 : *i < argc ? argv[(*i)++] : NULL;
	if (!value)
		return ls_fail(err, LS_USAGE, 0, "%s wants %s", arg, opt->value);
	return opt->take(o, value, err);
}

static ls_status check(const struct ls_run_options *o, struct ls_err *err)
{
	char *const *a;

	if (o->help)
		return LS_OK;
	if (!o->file && !o->argv)
		return ls_fail(err, LS_USAGE, 0, "what to run? give -f JOB.yaml, or a program: lockstep run -np 2 ./prog");
	if (o->file && o->argv)
		return ls_fail(err, LS_USAGE, 0, "-f %s and the program '%s': give one of them", o->file, o->argv[0]);
	if (o->file && (o->np || o->by_node))
		return ls_fail(err, LS_USAGE, 0, "with -f the manifest says how many ranks: --set spec.workers.replicas=N, "
			"--set spec.workers.ranksPerWorker=N");
	if (!o->file && o->sets.n)
		return ls_fail(err, LS_USAGE, 0, "--set changes a manifest: give one with -f");
	if (!o->file && o->local)
		return ls_fail(err, LS_USAGE, 0, "--local is for the workers of a manifest (-f); a program runs here anyway without -H");
	if (o->local && o->hosts.n)
		return ls_fail(err, LS_USAGE, 0, "--local and a list of hosts exclude each other");
	if (o->workers && (!o->file || o->hosts.n || o->local))
		return ls_fail(err, LS_USAGE, 0, "--workers is for a manifest (-f), and instead of a list of hosts or --local");
	if (!o->workers && (o->attempt || o->losses))
		return ls_fail(err, LS_USAGE, 0, "--attempt and --losses go with --workers");
	for (a = o->argv; a && *a; a++)
		if (!strcmp(*a, ":"))
			return ls_fail(err, LS_USAGE, 0, "several programs (':') are not supported: all ranks of a job run the same one");
	return LS_OK;
}

ls_status ls_run_options_parse(int argc, char **argv, struct ls_run_options *ret, struct ls_err *err)
{
	struct ls_run_options o = { .grace_s = -1, .start_timeout_s = -1, .timeout_s = -1, .max_restarts = -1, .preflight = -1 };
	ls_status st = LS_OK;
	int i = 1;

	while (!st && i < argc && argv[i][0] == '-' && argv[i][1] && strcmp(argv[i], "--"))
		st = take_one(&o, argc, argv, &i, err);
	if (!st && i < argc && !strcmp(argv[i], "--"))
		i++;
	if (!st && i < argc)
		o.argv = argv + i;
	if (!st)
		st = check(&o, err);
	if (st)
		ls_run_options_release(&o);
	else
		*ret = o;
	return st;
}

void ls_run_options_release(struct ls_run_options *o)
{
	ls_strv_release(&o->sets);
	ls_strv_release(&o->env);
	ls_strv_release(&o->engine_extra);
	ls_hosts_release(&o->hosts);
}

void ls_run_options_help(struct ls_str *ret)
{
	size_t i;

	ls_str_add(ret, "usage: lockstep run -f JOB.yaml [options]\n"
			"       lockstep run -np N [options] [--] PROGRAM [args]\n\n");
	for (i = 0; i < N_OPTIONS; i++) {
		char left[80];

		if (!options[i].text)
			continue;
		snprintf(left, sizeof(left), "%s%s%s", options[i].names, options[i].value ? " " : "",
			options[i].value ? options[i].value : "");
		ls_str_addf(ret, "  %-34s %s\n", left, options[i].text);
	}
	ls_str_add(ret, "\nexit codes: 0 succeeded; the program's own, or 128+signal; 2 usage or a bad manifest;\n"
			"75 gave up after restarts; 124 deadline passed.\n");
}
