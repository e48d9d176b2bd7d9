/* cmd_bench.c -- `lockstep bench`: which one (collectives: cmd_bench_coll.h), and `lockstep bench ckpt`: what checkpoints cost on this machine, with this store and a state of this size.
 *
 *     lockstep run … bench-ckpt      saves; then a rank kills itself, and the next attempt restores from memory
 *     lockstep run … bench-ckpt      restores from the store
 *     what the two wrote into job.json ──> a table
 *
 * Everything is written below a name of its own, in URI and in the working directory, which is removed at the end, however it ends. What is measured, and how: bench/ckpt_mpi.c. */
#include "launcher/cmd_bench_coll.h"
#include "launcher/cmd_bench_predict.h"
#include "launcher/cmd_bench_scale.h"
#include "launcher/commands.h"
#include "launcher/preflight.h"
#include "launcher/probe.h"
#include "core/io.h"
#include "core/sort.h"
#include "core/store.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static const char usage[] =
	"usage: lockstep bench ckpt [options]      what checkpoints cost here: the stall, the steps meanwhile, the time until one is\n"
	"                                          published, and a restore from memory and from the store\n"
	"  --uri URI      save below file:///DIRECTORY or s3://BUCKET/PREFIX; without: below the working directory\n"
	"  --mib N        a state of N MiB, with GPT-2's shapes (256)\n"
	"  --like WHAT    a state like that of FILE.safetensors, or of the newest checkpoint in a URI\n"
	"  -np N          ranks (one per core)\n"
	"  --step-ms MS   how long a step computes (50)\n"
	"  --saves N      how many are measured, after one that is not (5)\n"
	"  --json         for programs\n";

static const char choices[] =
	"usage: lockstep bench ckpt [options]         what checkpoints cost on this machine\n"
	"       lockstep bench scale [options]        how your own job scales: weak, strong, share of time in communication\n"
	"       lockstep bench all-reduce [options]   how fast collectives are: also reduce-scatter, all-gather, broadcast, barrier\n"
	"       lockstep bench predict [options]      step time on larger worlds, from what was measured and a described topology\n"
	"       lockstep bench net [options]          which host or link is slow\n"
	"Each of them has --help.\n";

struct bench {
	const char *uri, *mib, *like, *np, *step_ms, *saves;
	bool json;
	char dir[PATH_MAX];     /* of the runs */
	char program[PATH_MAX];
	struct ls_str place;    /* URI of the checkpoints */
	int signal;             /* that ended it, or 0 */
	cJSON *first, *second;  /* job.json of the two runs */
};

ls_status ls_bench_program(char ret[PATH_MAX], const char *name, struct ls_err *err)
{
	static const char *const places[] = { "bench/", "../bench/", "../libexec/lockstep/bench-" };
	char self[PATH_MAX];
	ls_status st = ls_self_path(self, err);
	size_t i;

	for (i = 0; !st && i < sizeof(places) / sizeof(places[0]); i++)
		if (snprintf(ret, PATH_MAX, "%.*s/%s%s", (int)(strrchr(self, '/') - self), self, places[i], name) < PATH_MAX && access(ret, R_OK) == 0)
			return LS_OK;
	return st ? st : ls_fail(err, LS_USAGE, 0, "%s is not there; make all builds it, make install installs it", ret);
}

int ls_bench_usage(const char *what)
{
	fprintf(stderr, "lockstep bench %s --help lists the options\n", what);
	return 2;
}

ls_status ls_bench_output_check(const char *option, const char *path, struct ls_err *err)
{
	char dir[PATH_MAX];
	const char *slash = path ? strrchr(path, '/') : NULL;
	struct stat sb;

	if (!path || !strcmp(path, "-"))
		return LS_OK;
	if (stat(path, &sb) == 0)
		return S_ISDIR(sb.st_mode) ? ls_fail(err, LS_USAGE, 0, "%s %s is a directory; give the name of a file", option, path) :
			access(path, W_OK) < 0 ? ls_fail(err, LS_USAGE, errno, "%s: cannot write %s", option, path) : LS_OK;
	snprintf(dir, sizeof(dir), "%.*s", slash ? (int)(slash - path) + 1 : 1, slash ? path : ".");
	return access(dir, W_OK | X_OK) < 0 ? ls_fail(err, LS_USAGE, errno, "%s: cannot write %s", option, path) : LS_OK;
}

static ls_status prepare(struct bench *b, struct ls_err *err)
{
	char here[PATH_MAX - 64];
	struct ls_store *store = NULL;
	ls_status st = b->uri ? ls_store_open(b->uri, &store, err) : LS_OK;

	ls_store_close(store);
	if (st)
		return st;
	if (!getcwd(here, sizeof(here)))
		return ls_fail(err, LS_USAGE, errno, "the working directory cannot be told");
	snprintf(b->dir, sizeof(b->dir), "%s/lockstep-bench-XXXXXX", here);
	if (!mkdtemp(b->dir)) {
		b->dir[0] = '\0';
		return ls_fail(err, LS_USAGE, errno, "cannot create a directory in %s", here);
	}
	if (b->uri)
		ls_str_addf(&b->place, "%s%s%s", b->uri, b->uri[strlen(b->uri) - 1] == '/' ? "" : "/", strrchr(b->dir, '/') + 1);
	else
		ls_str_addf(&b->place, "file://%s/checkpoints", b->dir);
	return b->place.oom ? ls_fail_oom(err) : LS_OK;
}

/* --- a run ---------------------------------------------------------------------------------------------------------------------- */

static void run_command(const struct bench *b, const char *self, const char *name, struct ls_strv *ret)
{
	ls_strv_addf(ret, "%s", self);
	ls_strv_addf(ret, "run");
	ls_strv_addf(ret, "--dir=%s/%s", b->dir, name);
	ls_strv_addf(ret, "--max-restarts=1");
	ls_strv_addf(ret, "--oversubscribe");
	if (b->np)
		ls_strv_addf(ret, "-np=%s", b->np);
	ls_strv_addf(ret, "-x=LOCKSTEP_CHECKPOINT_URI=%s", ls_str_text(&b->place));
	ls_strv_addf(ret, "-x=LOCKSTEP_CHECKPOINT_KEEP=1");
	ls_strv_addf(ret, "--");
	ls_strv_addf(ret, "%s", b->program);
	ls_strv_addf(ret, "--kill");
	if (b->like)
		ls_strv_addf(ret, "--like=%s", b->like);
	if (b->mib)
		ls_strv_addf(ret, "--mib=%s", b->mib);
	if (b->step_ms)
		ls_strv_addf(ret, "--step-ms=%s", b->step_ms);
	if (b->saves)
		ls_strv_addf(ret, "--saves=%s", b->saves);
}

/* A signal to this process is for the run; what the run wrote is cleared up after it. Returns its exit code. */
static int run_and_wait(struct bench *b, struct ls_strv *argv, const char *log)
{
	sigset_t set, before;
	int status = 0, sig;
	pid_t pid;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, &before);
	pid = fork();
	if (pid == 0) {
		sigprocmask(SIG_SETMASK, &before, NULL);
		if (freopen(log, "we", stdout) && dup2(1, 2) == 2)
			execv(argv->v[0], argv->v);
		_exit(127);
	}
	while (pid > 0 && waitpid(pid, &status, WNOHANG) == 0) {
		sig = sigwaitinfo(&set, NULL);
		if (sig > 0 && sig != SIGCHLD) {
			b->signal = sig;
			kill(pid, sig);
		}
	}
	sigprocmask(SIG_SETMASK, &before, NULL);
	return pid > 0 && WIFEXITED(status) ? WEXITSTATUS(status) : 127;
}

static ls_status one_run(struct bench *b, const char *self, const char *name, cJSON **ret, struct ls_err *err)
{
	struct ls_strv argv = { 0 };
	struct ls_str path = { 0 }, log = { 0 }, text = { 0 };
	ls_status st = LS_OK;

	run_command(b, self, name, &argv);
	ls_str_addf(&path, "%s/%s/job.json", b->dir, name);
	ls_str_addf(&log, "%s/%s.log", b->dir, name);
	if (argv.oom || path.oom || log.oom)
		st = ls_fail_oom(err);
	else if (run_and_wait(b, &argv, log.s) && !b->signal)
		st = ls_file_read(log.s, 64 << 20, &text, NULL) ? LS_AGAIN : ls_fail(err, LS_AGAIN, 0, "the run failed:\n%s", ls_str_text(&text));
	else if (b->signal)
		st = ls_fail(err, LS_AGAIN, 0, "stopped by signal %d", b->signal);
	else
		st = ls_file_read(path.s, 64 << 20, &text, err);
	if (!st && !(*ret = cJSON_ParseWithLength(ls_str_text(&text), text.len)))
		st = ls_fail(err, LS_DATA_BAD, 0, "%s is no JSON", path.s);
	ls_strv_release(&argv);
	ls_str_release(&path);
	ls_str_release(&log);
	ls_str_release(&text);
	return st;
}

/* --- clearing up ---------------------------------------------------------------------------------------------------------------- */

static bool all_old(void *arg, const char *dir)
{
	(void)arg;
	(void)dir;
	return true;
}

static ls_status empty_place(struct bench *b, struct ls_err *err)
{
	struct ls_store *store = NULL;
	struct ls_objects objects = { 0 };
	const char *key;
	size_t i, left;
	ls_status st = ls_store_open(ls_str_text(&b->place), &store, err);

	if (!st)
		st = ls_store_list(store, "", &objects, err);
	for (i = 0; !st && i < objects.n; i++) {
		key = objects.v[i].key;
		st = ls_store_delete(store, &key, 1, err);
	}
	if (!st)
		st = ls_store_sweep(store, all_old, NULL, false, &left, err);
	ls_objects_release(&objects);
	ls_store_close(store);
	return st;
}

static ls_status clear_up(struct bench *b, struct ls_err *err)
{
	ls_status st = empty_place(b, err), removed;
	struct ls_err ignored;

	if (!st && !strncmp(ls_str_text(&b->place), "file://", 7))
		st = ls_remove_tree(ls_str_text(&b->place) + 7, err);
	if (st)
		ls_err_at(err, st, "%s stays: ", ls_str_text(&b->place));
	removed = ls_remove_tree(b->dir, st ? &ignored : err);
	return st ? st : removed;
}

/* --- the table ------------------------------------------------------------------------------------------------------------------ */

static double number(const cJSON *job, const char *name)
{
	const cJSON *n = cJSON_GetObjectItemCaseSensitive(cJSON_GetObjectItemCaseSensitive(job, "results"), name);

	return cJSON_IsNumber(n) ? n->valuedouble : 0;
}

/* ms until each save was published, in ascending order. The first is the warm-up's. */
static int published(const cJSON *job, double **ret)
{
	const cJSON *list = cJSON_GetObjectItemCaseSensitive(job, "checkpoints"), *c, *ms;
	int n = 0;

	*ret = calloc((size_t)cJSON_GetArraySize(list) + 1, sizeof(**ret));
	if (!*ret)
		return 0;
	cJSON_ArrayForEach(c, list)
		if (c != list->child && cJSON_IsNumber(ms = cJSON_GetObjectItemCaseSensitive(c, "ms")))
			(*ret)[n++] = ms->valuedouble;
	ls_sort(*ret, (size_t)n);
	return n;
}

/* Results of both runs, and the time until a save is published, under their names in the table. */
static cJSON *figures(const struct bench *b)
{
	cJSON *f = cJSON_Duplicate(cJSON_GetObjectItemCaseSensitive(b->first, "results"), true);
	double *ms;
	int n = published(b->first, &ms);
	cpu_set_t cores;

	CPU_ZERO(&cores);
	if (f && n) {
		cJSON_AddNumberToObject(f, "published_ms", ms[n / 2]);
		cJSON_AddNumberToObject(f, "published_ms_low", ms[n / 4]);
		cJSON_AddNumberToObject(f, "published_ms_high", ms[n * 3 / 4]);
	}
	if (f && !sched_getaffinity(0, sizeof(cores), &cores))
		cJSON_AddNumberToObject(f, "cores", CPU_COUNT(&cores));
	if (f) {
		cJSON_AddNumberToObject(f, "restore_store_ms", number(b->second, "restore_store_ms"));
		cJSON_AddStringToObject(f, "uri", ls_str_text(&b->place));
	}
	free(ms);
	return f;
}

static double of(const cJSON *f, const char *name)
{
	return cJSON_GetNumberValue(cJSON_GetObjectItemCaseSensitive(f, name));
}

static void line(const cJSON *f, const char *what, const char *name, const char *unit, int digits)
{
	char low[64], high[64];

	snprintf(low, sizeof(low), "%s_low", name);
	snprintf(high, sizeof(high), "%s_high", name);
	printf("  %-28s %9.*f %-2s  (%.*f to %.*f)\n", what, digits, of(f, name), unit, digits, of(f, low), digits, of(f, high));
}

static void show(const cJSON *f)
{
	double mib = of(f, "state_mib");

	printf("%.0f MiB of state, %.0f rank%s on %.0f cores, %s; median (middle half)\n", mib, of(f, "ranks"), of(f, "ranks") > 1 ? "s" : "", of(f, "cores"),
		cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(f, "uri")));
	line(f, "memcpy of a rank's part", "memcpy_ms", "ms", 1);
	line(f, "training stands still", "stall_ms", "ms", 1);
	line(f, "  for each memcpy", "stall_ratio", "x", 2);
	line(f, "a step", "step_ms", "ms", 1);
	line(f, "a step while saving", "saving_step_ms", "ms", 1);
	line(f, "  for each step", "step_ratio", "x", 2);
	line(f, "processor time of a save", "cpu_s", "s", 2);
	line(f, "until it is published", "published_ms", "ms", 0);
	printf("  %-28s %9.0f MiB/s\n  %-28s %9.0f ms, %.0f MiB/s\n  %-28s %9.0f ms, %.0f MiB/s\n", "", mib / of(f, "published_ms") * 1e3,
		"restored from memory", of(f, "restore_memory_ms"), mib / of(f, "restore_memory_ms") * 1e3, "restored from the store",
		of(f, "restore_store_ms"), mib / of(f, "restore_store_ms") * 1e3);
	if (of(f, "ranks") >= of(f, "cores"))
		printf("no spare core: each of the %.0f cores has a rank, and what saves in the background takes their time\n", of(f, "cores"));
}

/* --- the command ---------------------------------------------------------------------------------------------------------------- */

static ls_status measure(struct bench *b, struct ls_err *err)
{
	char self[PATH_MAX];
	ls_status st = ls_self_path(self, err);

	if (!st)
		st = ls_bench_program(b->program, "ckpt", err);
	if (!st)
		st = prepare(b, err);
	if (st)
		return st;
	fprintf(stderr, "lockstep bench ckpt: saving below %s, which is removed at the end\n", ls_str_text(&b->place));
	st = one_run(b, self, "save", &b->first, err);
	return st ? st : one_run(b, self, "restore", &b->second, err);
}

static int parse(int argc, char **argv, struct bench *b)
{
	static const struct option longs[] = { { "uri", 1, NULL, 'u' }, { "mib", 1, NULL, 'm' }, { "like", 1, NULL, 'l' },
		{ "np", 1, NULL, 'n' }, { "step-ms", 1, NULL, 's' }, { "saves", 1, NULL, 'c' }, { "json", 0, NULL, 'j' },
		{ "help", 0, NULL, 'h' }, { 0 } };
	int ch;

	while ((ch = getopt_long_only(argc, argv, "", longs, NULL)) != -1) {
		switch (ch) {
		case 'u': b->uri = optarg; break;
		case 'm': b->mib = optarg; break;
		case 'l': b->like = optarg; break;
		case 'n': b->np = optarg; break;
		case 's': b->step_ms = optarg; break;
		case 'c': b->saves = optarg; break;
		case 'j': b->json = true; break;
		case 'h': return fputs(usage, stdout) < 0;
		default: return ls_bench_usage("ckpt");
		}
	}
	if (optind + 1 == argc)
		return -1; /* it is "ckpt" */
	if (optind < argc) /* else the word was an option's value */
		fprintf(stderr, "lockstep bench: '%s' is one word too many\n", argv[optind + (strcmp(argv[optind], "ckpt") == 0)]);
	return ls_bench_usage("ckpt");
}

static int bench_ckpt(int argc, char **argv)
{
	struct bench b = { 0 };
	struct ls_err err = LS_ERR_INIT, left = LS_ERR_INIT;
	cJSON *f = NULL;
	char *text;
	ls_status st, cleared = LS_OK;
	int code = parse(argc, argv, &b);

	if (code >= 0)
		return code;
	st = measure(&b, &err);
	if (b.dir[0])
		cleared = clear_up(&b, &left);
	if (!st && !(f = figures(&b)))
		st = ls_fail_oom(&err);
	if (!st && b.json && (text = cJSON_Print(f))) {
		puts(text);
		cJSON_free(text);
	} else if (!st) {
		show(f);
	}
	cJSON_Delete(f);
	cJSON_Delete(b.first);
	cJSON_Delete(b.second);
	ls_str_release(&b.place);
	if (st)
		code = ls_command_fail("bench", st, &err);
	if (cleared)
		code = ls_command_fail("bench", cleared, &left);
	return b.signal ? 128 + b.signal : !st && !cleared ? 0 : code;
}

/* The word that says what is measured may stand anywhere; so may a value that reads like it, as in --dir ckpt: the first counts. */
static int dispatch(int argc, char **argv)
{
	enum coll_kind kind;
	int i;

	for (i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "ckpt"))
			return bench_ckpt(argc, argv);
		if (!strcmp(argv[i], "scale"))
			return ls_bench_scale(argc, argv);
		if (!strcmp(argv[i], "predict"))
			return ls_bench_predict(argc, argv);
		if (!strcmp(argv[i], "net"))
			return ls_bench_net(argc, argv);
		if (ls_bench_kind_find(argv[i], &kind))
			return ls_bench_coll(argc, argv);
	}
	if (argc > 1 && (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h")))
		return fputs(choices, stdout) < 0;
	fprintf(stderr, "lockstep bench: want one of: ckpt, all-reduce, reduce-scatter, all-gather, broadcast, barrier, net, scale, predict\n%s", choices);
	return 2;
}

/* Figures that a full disk swallowed are no success; a reader that wanted no more, as `| head`, is no failure. */
int cmd_bench(int argc, char **argv)
{
	static char name[] = "lockstep bench"; /* getopt begins its sentences with it */
	struct ls_err err = LS_ERR_INIT;
	int code;

	argv[0] = name;
	code = dispatch(argc, argv);
	if ((fflush(stdout) || ferror(stdout)) && errno != EPIPE && code == 0)
		code = ls_command_fail("bench", ls_fail(&err, LS_AGAIN, errno, "cannot write to standard output"), &err);
	return code;
}
