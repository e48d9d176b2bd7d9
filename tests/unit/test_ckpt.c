/* test_ckpt.c -- publish, read, verify, prune, and what a damaged or hostile checkpoint leads to. */
#include "core/ckpt.h"
#include "core/ckpt_manifest.h"
#include "core/crc32c.h"
#include "core/io.h"

#include <CUnit/Basic.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static char dir[64];
static struct ls_store *store;

static void check(bool ok, const char *says, const char *got)
{
	if (!ok)
		printf("\n    failed: %s: %s", says, got);
	CU_ASSERT(ok);
}

/* A shard is any bytes here: its format is test_safetensors.c's. */
static ls_status put_shard(long long step, int rank, struct ls_shard *ret, struct ls_err *err)
{
	char key[64], text[64];
	struct iovec iov = { text, 0 };

	ls_ckpt_shard_key(step, rank, key);
	iov.iov_len = (size_t)snprintf(text, sizeof(text), "the state of rank %d at step %lld", rank, step);
	*ret = (struct ls_shard){ strdup(key), iov.iov_len, ls_crc32c(0, text, iov.iov_len) };
	return ls_store_put(store, key, &iov, 1, false, NULL, err);
}

static void fill(struct ls_ckpt *c, long long step)
{
	int rank;

	*c = (struct ls_ckpt){ .job = strdup("digits"),
		.attempt = 2,
		.step = step,
		.world_size = 2,
		.time = "2026-01-31T12:00:00Z",
		.seed = UINT64_MAX,
		.epoch = 3,
		.epoch_samples = 1280 };
	ls_strv_add(&c->versions, "lockstep=0.1.0");
	ls_strv_add(&c->versions, "mpi=Open MPI \"v4.1.4\"");
	c->shards = calloc(2, sizeof(*c->shards));
	for (rank = 0; rank < 2; rank++)
		CU_ASSERT_FATAL(put_shard(step, rank, &c->shards[c->n_shards++], NULL) == LS_OK);
}

static ls_status save(long long step, struct ls_err *err)
{
	struct ls_ckpt c;
	ls_status st;

	fill(&c, step);
	st = ls_ckpt_publish(store, &c, err);
	ls_ckpt_release(&c);
	return st;
}

static const char *path_of(const char *relative)
{
	static char path[256];

	snprintf(path, sizeof(path), "%s/%s", dir, relative);
	return path;
}

static void overwrite(const char *relative, const char *text, size_t at, bool cut)
{
	int fd = open(path_of(relative), O_WRONLY | O_CREAT | (cut ? O_TRUNC : 0), 0644);

	CU_ASSERT_FATAL(fd >= 0 && ls_pwrite_all(fd, text, strlen(text), (off_t)at) == 0);
	close(fd);
}

/* "300 200", newest first. */
static const char *published(void)
{
	static char text[256];
	long long *steps = NULL;
	size_t n = 0, i;

	text[0] = '\0';
	CU_ASSERT(ls_ckpt_list(store, &steps, &n, NULL) == LS_OK);
	for (i = 0; i < n; i++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%lld", i ? " " : "", steps[i]);
	free(steps);
	return text;
}

static void start_clean(void)
{
	CU_ASSERT_FATAL(ls_remove_tree(dir, NULL) == LS_OK);
}

static void test_names(void)
{
	static const struct {
		const char *key;
		long long step;
	} rows[] = { { "step-000000001200/manifest.json", 1200 }, { "step-000000000000/x", 0 },
		{ "step-1200/manifest.json", -1 }, { "step-000000001200", -1 }, { "step-0000000012000/x", -1 },
		{ "step--00000001200/x", -1 }, { "other/x", -1 }, { "", -1 } };
	char name[64];
	size_t i;

	for (i = 0; i < COUNT(rows); i++)
		check(ls_ckpt_key_step(rows[i].key) == rows[i].step, rows[i].key, "its step");
	ls_ckpt_dir(1200, name);
	CU_ASSERT_STRING_EQUAL(name, "step-000000001200");
	ls_ckpt_shard_key(1200, 3, name);
	CU_ASSERT_STRING_EQUAL(name, "step-000000001200/rank-00003.safetensors");
}

static void test_round_trip(void)
{
	struct ls_err err = LS_ERR_INIT;
	struct ls_ckpt c = { 0 };

	start_clean();
	check(save(1200, &err) == LS_OK, "a checkpoint is published", err.text);
	check(save(1200, &err) == LS_EXISTS, "once", err.text);
	check(ls_ckpt_read(store, 1200, &c, &err) == LS_OK, "and read", err.text);
	CU_ASSERT_STRING_EQUAL(c.job, "digits");
	CU_ASSERT(c.attempt == 2 && c.step == 1200 && c.world_size == 2 && c.seed == UINT64_MAX && c.epoch == 3);
	CU_ASSERT(c.epoch_samples == 1280 && c.n_shards == 2 && c.versions.n == 2);
	CU_ASSERT_STRING_EQUAL(c.time, "2026-01-31T12:00:00Z");
	CU_ASSERT_STRING_EQUAL(ls_strv_getenv(&c.versions, "mpi"), "Open MPI \"v4.1.4\"");
	check(ls_ckpt_verify(store, &c, 0, 1, &err) == LS_OK, "every shard verifies", err.text);
	check(ls_ckpt_verify(store, &c, 7, 9, &err) == LS_OK, "a rank without a shard has nothing to do", err.text);
	check(ls_ckpt_verify(store, &c, 0, 0, &err) == LS_USAGE, "a stride of 0", err.text);
	ls_ckpt_release(&c);
	check(ls_ckpt_read(store, 1201, &c, &err) == LS_NOT_FOUND, "no such step", err.text);
}

static void test_damage(void)
{
	struct ls_err err = LS_ERR_INIT;
	struct ls_ckpt c = { 0 };

	start_clean();
	CU_ASSERT_FATAL(save(5, &err) == LS_OK && ls_ckpt_read(store, 5, &c, &err) == LS_OK);
	overwrite("step-000000000005/rank-00001.safetensors", "!", 3, false);
	check(ls_ckpt_check(store, &c, &err) == LS_OK, "a flipped byte has the same size", err.text);
	check(ls_ckpt_verify(store, &c, 0, 2, &err) == LS_OK, "rank 0's half is whole", err.text);
	check(ls_ckpt_verify(store, &c, 1, 2, &err) == LS_DATA_BAD, "rank 1 finds it", err.text);
	check(strstr(err.text, "rank-00001.safetensors has crc32c ") && strstr(err.text, "its manifest says "),
		"naming the shard and both sums", err.text);
	overwrite("step-000000000005/rank-00001.safetensors", "short", 0, true);
	check(ls_ckpt_check(store, &c, &err) == LS_DATA_BAD && strstr(err.text, "has 5 bytes, its manifest says 29"),
		"a cut shard", err.text);
	unlink(path_of("step-000000000005/rank-00001.safetensors"));
	check(ls_ckpt_verify(store, &c, 0, 1, &err) == LS_DATA_BAD && strstr(err.text, "is missing"), "a lost shard",
		err.text);
	ls_ckpt_release(&c);
	check(ls_ckpt_delete(store, 5, &err) == LS_OK && access(path_of("step-000000000005"), F_OK) < 0,
		"it can be deleted", err.text);
	check(save(5, &err) == LS_OK, "and saved again", err.text);
}

#define SHARD "{\"key\":\"step-000000000007/rank-00000.safetensors\",\"bytes\":1,\"crc32c\":\"00000000\"}"
#define HEAD                                                                                                           \
	"{\"format\":\"lockstep-checkpoint/1\",\"job\":\"j\",\"attempt\":1,\"worldSize\":1,"                                \
	"\"time\":\"2026-01-31T12:00:00Z\","
#define SAMPLER "\"sampler\":{\"seed\":\"1\",\"epoch\":0,\"epochSamples\":0},"
#define ALL HEAD "\"step\":7," SAMPLER "\"versions\":{},"
#define KEY(key) ALL "\"shards\":[{\"key\":\"" key "\",\"bytes\":1,\"crc32c\":\"00000000\"}]}"

/* `want`: a part of the message; NULL: it is good. */
static const struct {
	const char *says, *text, *want;
} manifests[] = {
	{ "the least manifest", ALL "\"shards\":[" SHARD "]}", NULL },
	{ "a field from a newer version", ALL "\"new\":[{}],\"shards\":[" SHARD "]}", NULL },
	{ "spaces at the end", ALL "\"shards\":[" SHARD "]} \n", NULL },
	{ "nothing", "", "not one JSON object" },
	{ "half of it", HEAD "\"step\":7," SAMPLER, "not one JSON object" },
	{ "two of it", ALL "\"shards\":[" SHARD "]}{}", "not one JSON object" },
	{ "a list", "[]", "not one JSON object" },
	{ "not UTF-8", "{\"a\":\"\xff\"}", "UTF-8" },
	{ "a NUL in disguise", ALL "\"x\\u0000\":1,\"shards\":[" SHARD "]}", "without NUL" },
	{ "an empty object", "{}", "format: want this field" },
	{ "another format", "{\"format\":\"lockstep-checkpoint/2\"}", "another version of Lockstep" },
	{ "a step that is there twice", HEAD "\"step\":7,\"step\":8," SAMPLER "\"versions\":{},\"shards\":[" SHARD "]}",
		"step: want it once" },
	{ "a step in another case", HEAD "\"Step\":7," SAMPLER "\"versions\":{},\"shards\":[" SHARD "]}",
		"step: want this field" },
	{ "another step than the directory's", HEAD "\"step\":8," SAMPLER "\"versions\":{},\"shards\":[" SHARD "]}",
		"step: want the step" },
	{ "a step as a string", HEAD "\"step\":\"7\"," SAMPLER "\"versions\":{},\"shards\":[" SHARD "]}",
		"step: want a whole number" },
	{ "a step with a fraction", HEAD "\"step\":7.5," SAMPLER "\"versions\":{},\"shards\":[" SHARD "]}",
		"step: want a whole number" },
	{ "a step beyond all doubles", HEAD "\"step\":1e999," SAMPLER "\"versions\":{},\"shards\":[" SHARD "]}",
		"step: want a whole number" },
	{ "a seed as a number", HEAD "\"step\":7,\"sampler\":{\"seed\":1,\"epoch\":0,\"epochSamples\":0}}",
		"sampler.seed: want a string" },
	{ "a seed beyond 64 bits",
		HEAD "\"step\":7,\"sampler\":{\"seed\":\"18446744073709551616\",\"epoch\":0,\"epochSamples\":0}}",
		"sampler.seed: want a string of decimal digits" },
	{ "an empty seed", HEAD "\"step\":7,\"sampler\":{\"seed\":\"\",\"epoch\":0,\"epochSamples\":0}}",
		"sampler.seed: want" },
	{ "a negative epoch", HEAD "\"step\":7,\"sampler\":{\"seed\":\"1\",\"epoch\":-1,\"epochSamples\":0}}",
		"sampler.epoch: want" },
	{ "a sampler that is none", HEAD "\"step\":7,\"sampler\":[]}", "sampler: want an object" },
	{ "a version that is no string", HEAD "\"step\":7," SAMPLER "\"versions\":{\"a\":1},\"shards\":[" SHARD "]}",
		"versions: want strings" },
	{ "no shard", ALL "\"shards\":[]}", "shards: want at least one" },
	{ "a shard that is none", ALL "\"shards\":[1]}", "shards[0].: want an object" },
	{ "shards that are none", ALL "\"shards\":{}}", "shards: want a list" },
	{ "a shard that is there twice", ALL "\"shards\":[" SHARD "," SHARD "]}", "is there twice" },
	{ "a second shard without a key", ALL "\"shards\":[" SHARD ",{}]}", "shards[1].key: want this field" },
	{ "a size that a double would round",
		ALL "\"shards\":[{\"key\":\"step-000000000007/a.safetensors\",\"bytes\":9007199254740993,"
		    "\"crc32c\":\"00000000\"}]}",
		"shards[0].bytes: want" },
	{ "a checksum in upper case",
		ALL "\"shards\":[{\"key\":\"step-000000000007/a.safetensors\",\"bytes\":1,\"crc32c\":\"ABCDEF00\"}]}",
		"shards[0].crc32c: want" },
	{ "a shard in another step", KEY("step-000000000008/a.safetensors"), "shards[0].key: want" },
	{ "a shard outside", KEY("step-000000000007/../a.safetensors"), "shards[0].key: want" },
	{ "a shard deeper down", KEY("step-000000000007/a/b.safetensors"), "shards[0].key: want" },
	{ "an absolute shard", KEY("/step-000000000007/a.safetensors"), "shards[0].key: want" },
	{ "a hidden shard", KEY("step-000000000007/.tmp-a.safetensors"), "shards[0].key: want" },
	{ "a shard that is all suffix", KEY("step-000000000007/.safetensors"), "shards[0].key: want" },
	{ "the manifest as a shard", KEY("step-000000000007/manifest.json"), "shards[0].key: want" },
	{ "only the directory", KEY("step-000000000007"), "shards[0].key: want" },
	{ "an empty key", KEY(""), "shards[0].key: want" },
};

static void test_manifests(void)
{
	size_t i;

	for (i = 0; i < COUNT(manifests); i++) {
		struct ls_err err = LS_ERR_INIT;
		struct ls_ckpt c = { 0 };
		size_t len = strlen(manifests[i].text);
		char *text = malloc(len + !len);
		ls_status st;

		memcpy(text, manifests[i].text, len);
		st = ls_ckpt_manifest_parse(text, len, 7, &c, &err);
		check(st == (manifests[i].want ? LS_DATA_BAD : LS_OK), manifests[i].says, err.text);
		check(!manifests[i].want || strstr(err.text, manifests[i].want), manifests[i].says, err.text);
		ls_ckpt_release(&c);
		free(text);
	}
}

static void test_refused(void)
{
	struct ls_err err = LS_ERR_INIT;
	struct ls_ckpt c;

	start_clean();
	fill(&c, 7);
	free(c.shards[1].key);
	c.shards[1].key = strdup("step-000000000006/rank-00001.safetensors");
	check(ls_ckpt_publish(store, &c, &err) == LS_USAGE &&
			strstr(err.text, "step-000000000007/manifest.json: shards[1].key"),
		"a caller cannot publish what no reader takes", err.text);
	c.n_shards = 1;
	free(c.shards[1].key);
	c.world_size = 0;
	check(ls_ckpt_publish(store, &c, &err) == LS_USAGE && strstr(err.text, "worldSize: want"),
		"nor a world of nobody", err.text);
	c.world_size = 1;
	c.step = -1;
	check(ls_ckpt_publish(store, &c, &err) == LS_USAGE && strstr(err.text, "step: want"), "nor a negative step",
		err.text);
	c.step = 7;
	ls_strv_add(&c.versions, "word");
	check(ls_ckpt_publish(store, &c, &err) == LS_USAGE && strstr(err.text, "want name=value"), "nor half a version",
		err.text);
	CU_ASSERT_STRING_EQUAL(published(), "");
	ls_ckpt_release(&c);
}

/* What is in the store before, one word a step: "100" whole, "100-" cut shard, "100!" cut manifest, "100?" no manifest,
 * "100~" only a leftover, "100+" whole beside a foreign file. Then prune(keep); then what has a manifest, and which
 * directories are there. */
static const struct {
	const char *says, *before;
	int keep;
	const char *want_published, *want_dirs;
} prunes[] = {
	{ "nothing there", "", 1, "", "" },
	{ "fewer than are kept", "100 200", 3, "200 100", "100 200" },
	{ "the newest is kept", "100 200 300", 1, "300", "300" },
	{ "the newest two are kept", "100 200 300", 2, "300 200", "200 300" },
	{ "a save that failed in between goes", "100 150? 200", 2, "200 100", "100 200" },
	{ "a save going on stays", "100 200 300?", 1, "200", "200 300" },
	{ "nothing published: nothing goes", "100? 200?", 1, "", "100 200" },
	{ "a put going on stays", "100 200 300~", 1, "200", "200 300" },
	{ "an old leftover goes", "50~ 100 200", 2, "200 100", "100 200" },
	{ "a damaged one does not count", "100 200- 300", 2, "300 100", "100 300" },
	{ "a damaged newest pushes nothing out", "100 200 300-", 2, "300 200 100", "100 200 300" },
	{ "a newest with a cut manifest neither", "100 200 300!", 1, "300 200", "200 300" },
	{ "all damaged: nothing goes", "100- 200!", 1, "200 100", "100 200" },
	{ "a foreign file is not ours", "100+ 200", 1, "200", "100 200" },
};

static void prepare(char *words)
{
	char *save_p, *word, name[64];
	struct ls_shard shard;

	for (word = strtok_r(words, " ", &save_p); word; word = strtok_r(NULL, " ", &save_p)) {
		char *mark;
		long long step = strtoll(word, &mark, 10);

		if (*mark == '?' || *mark == '~') {
			CU_ASSERT_FATAL(put_shard(step, 0, &shard, NULL) == LS_OK);
			free(shard.key);
		} else {
			CU_ASSERT_FATAL(save(step, NULL) == LS_OK);
		}
		snprintf(name, sizeof(name), "step-%012lld/%s", step,
			*mark == '+'   ? "notes.txt"
			: *mark == '!' ? "manifest.json"
			: *mark == '~' ? ".tmp-abcdef"
				       : "rank-00000.safetensors");
		if (*mark && *mark != '?')
			overwrite(name, "{", 0, true);
		if (*mark == '~') {
			ls_ckpt_shard_key(step, 0, name);
			unlink(path_of(name));
		}
	}
}

static const char *dirs(void)
{
	static char text[256];
	char name[32];
	long long step;

	text[0] = '\0';
	for (step = 0; step < 1000; step += 50) {
		ls_ckpt_dir(step, name);
		if (access(path_of(name), F_OK) == 0)
			snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%lld", text[0] ? " " : "", step);
	}
	return text;
}

static void test_prune(void)
{
	struct ls_err err = LS_ERR_INIT;
	size_t i;

	for (i = 0; i < COUNT(prunes); i++) {
		char *words = strdup(prunes[i].before);

		start_clean();
		prepare(words);
		check(ls_ckpt_prune(store, prunes[i].keep, &err) == LS_OK, prunes[i].says, err.text);
		check(!strcmp(published(), prunes[i].want_published), prunes[i].says, published());
		check(!strcmp(dirs(), prunes[i].want_dirs), prunes[i].says, dirs());
		free(words);
	}
	check(ls_ckpt_prune(store, 0, &err) == LS_USAGE, "keep nothing", err.text);
}

int main(void)
{
	struct ls_str uri = { 0 };
	unsigned failures = 1;
	CU_pSuite suite;

	snprintf(dir, sizeof(dir), "/tmp/test_ckpt.XXXXXX");
	if (!mkdtemp(dir))
		return 1;
	ls_str_addf(&uri, "file://%s", dir);
	if (uri.oom || ls_store_open(uri.s, &store, NULL) || CU_initialize_registry() != CUE_SUCCESS)
		goto out;
	suite = CU_add_suite("checkpoints", NULL, NULL);
	CU_add_test(suite, "names", test_names);
	CU_add_test(suite, "publish, read, verify", test_round_trip);
	CU_add_test(suite, "damage", test_damage);
	CU_add_test(suite, "good and bad manifests", test_manifests);
	CU_add_test(suite, "what cannot be published", test_refused);
	CU_add_test(suite, "what a prune keeps", test_prune);
	CU_basic_set_mode(CU_BRM_VERBOSE);
	CU_basic_run_tests();
	failures = CU_get_number_of_failures();
	CU_cleanup_registry();
out:
	ls_store_close(store);
	ls_str_release(&uri);
	ls_remove_tree(dir, NULL);
	return failures != 0;
}
