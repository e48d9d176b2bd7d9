/* cmd_ckpt.c -- `lockstep ckpt ls|show|verify URI`: what is in a checkpoint store, and whether it is whole.
 *
 * It only reads, so it may look at the checkpoints of a running job: what vanishes meanwhile was pruned.
 * `ls` compares sizes, `verify` reads every byte. */
#include "launcher/commands.h"
#include "core/ckpt.h"
#include "core/safetensors.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char usage[] =
	"usage: lockstep ckpt ls URI [--json]                  a line for each checkpoint, newest first\n"
	"       lockstep ckpt show URI [--step N] [--json]     the manifest and tensors of one (the newest)\n"
	"       lockstep ckpt verify URI [--step N] [--json]   read every byte of all, or of one; exit code 1: "
	"damaged\n"
	"\n"
	"URI is file:///DIRECTORY, or a directory's path.\n";

struct request {
	struct ls_store *store;
	long long step; /* -1: not given */
	bool json;
};

/* One step's directory. */
struct found {
	long long step;
	const char *state; /* "whole", "damaged" or "no manifest" */
	struct ls_ckpt ckpt;
	char why[sizeof(((struct ls_err *)0)->text)]; /* of "damaged" */
};

static uint64_t total_bytes(const struct ls_ckpt *c)
{
	uint64_t sum = 0;
	size_t i;

	for (i = 0; i < c->n_shards; i++)
		sum += c->shards[i].bytes;
	return sum;
}

/* Read a step's manifest and compare sizes, or with `deep` every byte. A failure is one of the store, not of the
 * checkpoint. */
static ls_status look(struct ls_store *s, long long step, bool deep, struct found *ret, struct ls_err *err)
{
	ls_status st;

	*ret = (struct found){ .step = step, .state = "whole" };
	st = ls_ckpt_read(s, step, &ret->ckpt, err);
	if (st == LS_NOT_FOUND) {
		ret->state = "no manifest";
		return LS_OK;
	}
	if (!st)
		st = deep ? ls_ckpt_verify(s, &ret->ckpt, 0, 1, err) : ls_ckpt_check(s, &ret->ckpt, err);
	if (st == LS_DATA_BAD) {
		ret->state = "damaged";
		memcpy(ret->why, err->text, sizeof(ret->why));
		return LS_OK;
	}
	if (st)
		ls_ckpt_release(&ret->ckpt);
	return st;
}

/* Every step that has any object, newest first: also those that no manifest publishes. */
static ls_status all_steps(struct ls_store *s, long long **ret, size_t *ret_n, struct ls_err *err)
{
	struct ls_objects keys = { 0 };
	long long *steps = NULL;
	size_t n = 0, i;
	ls_status st = ls_store_list(s, "step-", &keys, err);

	if (!st) {
		steps = calloc(keys.n + 1, sizeof(*steps));
		if (!steps)
			st = ls_fail_oom(err);
	}
	for (i = keys.n; !st && i > 0; i--) {
		long long step = ls_ckpt_key_step(keys.v[i - 1].key);

		if (step >= 0 && (!n || steps[n - 1] != step))
			steps[n++] = step;
	}
	ls_objects_release(&keys);
	if (st)
		return st;
	*ret = steps;
	*ret_n = n;
	return LS_OK;
}

/* What is there is printed for people or, with --json, for programs; the numbers are the same. */
static void print_found(const struct request *rq, const struct found *f, bool first)
{
	const struct ls_ckpt *c = &f->ckpt;
	char why[1100] = "";

	if (rq->json) {
		cJSON *text = cJSON_CreateString(f->why);
		char *quoted = text ? cJSON_PrintUnformatted(text) : NULL;

		printf("%s\n  {\"step\": %lld, \"state\": \"%s\", \"worldSize\": %d, \"shards\": %zu, \"bytes\": "
		       "%" PRIu64 ", \"why\": %s}",
			first ? "" : ",", f->step, f->state, c->world_size, c->n_shards, total_bytes(c),
			quoted ? quoted : "null");
		cJSON_free(quoted);
		cJSON_Delete(text);
		return;
	}
	if (f->why[0])
		snprintf(why, sizeof(why), "  (%s)", f->why);
	if (!c->n_shards)
		printf("%12lld  %10s  %6s  %14s  %s%s\n", f->step, "-", "-", "-", f->state, why);
	else
		printf("%12lld  %10d  %6zu  %14" PRIu64 "  %s%s\n", f->step, c->world_size, c->n_shards, total_bytes(c),
			f->state, why);
}

/* `ls` and `verify` are one walk; verify looks at every byte, and only at what is published. */
static ls_status walk(const struct request *rq, bool deep, size_t *ret_seen, size_t *ret_damaged, struct ls_err *err)
{
	long long *steps = NULL, only = rq->step;
	size_t n = 1, i;
	ls_status st = LS_OK;

	if (only < 0)
		st = deep ? ls_ckpt_list(rq->store, &steps, &n, err) : all_steps(rq->store, &steps, &n, err);
	if (st)
		return st;
	*ret_seen = *ret_damaged = 0;
	for (i = 0; i < n && !st; i++) {
		struct found f;

		st = look(rq->store, only < 0 ? steps[i] : only, deep, &f, err);
		if (st)
			break;
		if (deep && !strcmp(f.state, "no manifest")) {
			if (only >= 0)
				st = ls_fail(err, LS_NOT_FOUND, 0,
					"%s has no checkpoint of step %lld; see lockstep ckpt ls",
					ls_store_uri(rq->store), only);
			continue;
		}
		if (!rq->json && !*ret_seen)
			printf("%12s  %10s  %6s  %14s  %s\n", "STEP", "WORLD SIZE", "SHARDS", "BYTES", "STATE");
		print_found(rq, &f, !*ret_seen);
		fflush(stdout);
		*ret_damaged += !strcmp(f.state, "damaged");
		++*ret_seen;
		ls_ckpt_release(&f.ckpt);
	}
	free(steps);
	return st;
}

static int list_or_verify(const struct request *rq, bool deep, const char *name)
{
	struct ls_err err = LS_ERR_INIT;
	size_t seen = 0, damaged = 0;
	ls_status st;

	if (rq->json)
		fputs("[", stdout);
	st = walk(rq, deep, &seen, &damaged, &err);
	if (rq->json)
		puts("\n]");
	if (!st && !seen && deep)
		st = ls_fail(&err, LS_NOT_FOUND, 0, "no checkpoint in %s", ls_store_uri(rq->store));
	if (st)
		return ls_command_fail(name, st, &err);
	if (!seen && !rq->json)
		printf("no checkpoint in %s\n", ls_store_uri(rq->store));
	if (deep && damaged)
		return ls_command_fail(name,
			ls_fail(&err, LS_DATA_BAD, 0, "%zu of %zu checkpoints %s damaged", damaged, seen,
				damaged == 1 ? "is" : "are"),
			&err);
	return 0;
}

static ls_status read_tensors(struct ls_store *s, const struct ls_shard *shard, struct ls_st *ret, struct ls_err *err)
{
	unsigned char first8[8];
	char *head = NULL;
	uint64_t head_bytes;
	ls_status st = ls_store_get(s, shard->key, 0, first8, sizeof(first8), err);

	if (!st)
		st = ls_st_head_bytes(first8, shard->bytes, &head_bytes, err);
	if (st)
		return st;
	head = malloc(head_bytes);
	if (!head)
		return ls_fail_oom(err);
	st = ls_store_get(s, shard->key, 0, head, head_bytes, err);
	if (!st) {
		st = ls_st_parse(head, head_bytes, shard->bytes, ret, err);
		if (st == LS_DATA_BAD)
			ls_err_at(err, st, "%s/%s: ", ls_store_uri(s), shard->key);
	}
	free(head);
	return st;
}

static void print_tensors(const struct ls_st *table)
{
	size_t i;
	int d;

	for (i = 0; i < table->n; i++) {
		const struct ls_tensor *t = &table->tensors[i];

		printf("    %-4s [", ls_dtype_name(t->dtype));
		for (d = 0; d < t->ndim; d++)
			printf("%s%" PRId64, d ? ", " : "", t->shape[d]);
		printf("]  %s\n", t->name);
	}
}

static ls_status print_ckpt(struct ls_store *s, const struct ls_ckpt *c, struct ls_err *err)
{
	ls_status st = LS_OK;
	size_t i;

	printf("job         %s\nattempt     %u\nstep        %lld\nworld size  %d\ntime        %s\n",
		c->job[0] ? c->job : "-", c->attempt, c->step, c->world_size, c->time);
	printf("sampler     seed %" PRIu64 ", epoch %lld, %lld samples of it used\n", c->seed, c->epoch,
		c->epoch_samples);
	for (i = 0; i < c->versions.n; i++)
		printf("%-12s%s\n", i ? "" : "versions", c->versions.v[i]);
	for (i = 0; i < c->n_shards && !st; i++) {
		struct ls_st table = { 0 };

		printf("%s  %" PRIu64 " bytes  crc32c %08" PRIx32 "\n", c->shards[i].key, c->shards[i].bytes,
			c->shards[i].crc32c);
		st = read_tensors(s, &c->shards[i], &table, err);
		if (!st)
			print_tensors(&table);
		ls_st_release(&table);
	}
	return st;
}

/* --json is the manifest as it is stored: its format is documented, and it is checked before it is shown. */
static ls_status print_manifest(struct ls_store *s, long long step, struct ls_err *err)
{
	char dir[32], key[64], *text;
	uint64_t bytes;
	ls_status st;

	ls_ckpt_dir(step, dir);
	snprintf(key, sizeof(key), "%s/manifest.json", dir);
	st = ls_store_size(s, key, &bytes, err);
	if (st)
		return st;
	text = malloc(bytes + 1);
	if (!text)
		return ls_fail_oom(err);
	st = ls_store_get(s, key, 0, text, bytes, err);
	if (!st)
		fwrite(text, 1, bytes, stdout);
	free(text);
	return st;
}

static ls_status newest(struct ls_store *s, long long *ret, struct ls_err *err)
{
	long long *steps = NULL;
	size_t n;
	ls_status st = ls_ckpt_list(s, &steps, &n, err);

	if (!st && !n)
		st = ls_fail(err, LS_NOT_FOUND, 0, "no checkpoint in %s", ls_store_uri(s));
	if (!st)
		*ret = steps[0];
	free(steps);
	return st;
}

static int show(const struct request *rq, const char *name)
{
	struct ls_err err = LS_ERR_INIT;
	struct ls_ckpt c = { 0 };
	long long step = rq->step;
	ls_status st = step < 0 ? newest(rq->store, &step, &err) : LS_OK;

	if (!st)
		st = ls_ckpt_read(rq->store, step, &c, &err);
	if (!st)
		st = rq->json ? print_manifest(rq->store, step, &err) : print_ckpt(rq->store, &c, &err);
	ls_ckpt_release(&c);
	return st ? ls_command_fail(name, st, &err) : 0;
}

/* A path without a scheme is a directory, as people type it. */
static ls_status open_store(const char *text, struct ls_store **ret, struct ls_err *err)
{
	struct ls_str uri = { 0 };
	char *real = NULL;
	ls_status st;

	if (strstr(text, "://"))
		return ls_store_open(text, ret, err);
	real = realpath(text, NULL);
	if (!real)
		return ls_fail(err, LS_NOT_FOUND, errno, "cannot open %s", text);
	ls_str_addf(&uri, "file://%s", real);
	st = uri.oom ? ls_fail_oom(err) : ls_store_open(uri.s, ret, err);
	ls_str_release(&uri);
	free(real);
	return st;
}

static ls_status parse_step(const char *text, long long *ret, struct ls_err *err)
{
	char *end;
	long long step;

	errno = 0;
	step = strtoll(text, &end, 10);
	if (errno || end == text || *end || step < 0)
		return ls_fail(err, LS_USAGE, 0, "--step %s: want a number, as lockstep ckpt ls prints it", text);
	*ret = step;
	return LS_OK;
}

static int usage_fail(const char *what)
{
	fprintf(stderr, "lockstep ckpt: %s\n%s", what, usage);
	return 2;
}

int cmd_ckpt(int argc, char **argv)
{
	static const struct option options[] = { { "step", required_argument, NULL, 's' },
		{ "json", no_argument, NULL, 'j' }, { "help", no_argument, NULL, 'h' }, { 0 } };
	static const char *const verbs[] = { "ls", "show", "verify", NULL };
	struct request rq = { .step = -1 };
	struct ls_err err = LS_ERR_INIT;
	ls_status st = LS_OK;
	int option, code, verb;

	while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		if (option == 'h') {
			fputs(usage, stdout);
			return 0;
		}
		if (option == '?')
			return usage_fail("see the options below");
		if (option == 'j')
			rq.json = true;
		else
			st = parse_step(optarg, &rq.step, &err);
		if (st)
			return ls_command_fail("ckpt", st, &err);
	}
	if (argc - optind != 2)
		return usage_fail("want one of ls, show, verify, and one URI");
	for (verb = 0; verbs[verb] && strcmp(verbs[verb], argv[optind]); verb++)
		;
	if (!verbs[verb])
		return usage_fail("want one of ls, show, verify");
	if (verb == 0 && rq.step >= 0)
		return usage_fail("ls takes no --step");
	st = open_store(argv[optind + 1], &rq.store, &err);
	if (st)
		return ls_command_fail("ckpt", st, &err);
	code = verb == 1 ? show(&rq, "ckpt show")
			 : list_or_verify(&rq, verb == 2, verb == 2 ? "ckpt verify" : "ckpt ls");
	ls_store_close(rq.store);
	return code;
}
