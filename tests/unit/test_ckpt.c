/* test_ckpt.c -- publish, read, verify, prune, and what a damaged or hostile checkpoint leads to. */
#include "core/ckpt.h"
#include "core/ckpt_manifest.h"
#include "core/crc32c.h"
#include "core/io.h"
#include "core/store_ops.h"

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
static ls_status put_shard(struct ls_ckpt_id id, int rank, struct ls_shard *ret, struct ls_err *err)
{
	char key[LS_CKPT_KEY_MAX], text[64];
	struct iovec iov = { text, 0 };

	ls_ckpt_shard_key(id, rank, key);
	iov.iov_len = (size_t)snprintf(text, sizeof(text), "the state of rank %d at step %lld", rank, id.step);
	*ret = (struct ls_shard){ strdup(key), iov.iov_len, ls_crc32c(0, text, iov.iov_len) };
	return ls_store_put(store, key, &iov, 1, false, NULL, err);
}

static void fill(struct ls_ckpt *c, struct ls_ckpt_id id)
{
	int rank;

	*c = (struct ls_ckpt){ .job = strdup("digits"),
		.attempt = 2,
		.id = id,
		.world_size = 2,
		.time = "2026-01-31T12:00:00Z",
		.seed = UINT64_MAX,
		.epoch = 3,
		.epoch_samples = 1280 };
	ls_strv_add(&c->versions, "lockstep=0.1.0");
	ls_strv_add(&c->versions, "mpi=Open MPI \"v4.1.4\"");
	c->sharded = calloc(1, sizeof(*c->sharded));
	c->sharded[c->n_sharded++] = (struct ls_sharded){ strdup("adam.m"), LS_F32, 2, { 64, 3 } };
	c->shards = calloc(2, sizeof(*c->shards));
	for (rank = 0; rank < 2; rank++)
		CU_ASSERT_FATAL(put_shard(id, rank, &c->shards[c->n_shards++], NULL) == LS_OK);
}

static ls_status save(struct ls_ckpt_id id, struct ls_err *err)
{
	struct ls_ckpt c;
	ls_status st;

	fill(&c, id);
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

/* "200 300.1": generation 0 of step 200, which stands for 200.0. */
static struct ls_ckpt_id id_of(const char *word)
{
	char *end;
	struct ls_ckpt_id id = { .step = strtoll(word, &end, 10) };

	if (*end == '.')
		id.generation = (unsigned)strtoul(end + 1, NULL, 10);
	return id;
}

static void add_id(char *text, size_t size, struct ls_ckpt_id id)
{
	char generation[16] = "";

	if (id.generation)
		snprintf(generation, sizeof(generation), ".%u", id.generation);
	snprintf(text + strlen(text), size - strlen(text), "%s%lld%s", text[0] ? " " : "", id.step, generation);
}

/* "300 200", newest first. */
static const char *published(void)
{
	static char text[256];
	struct ls_ckpt_id *ids = NULL;
	size_t n = 0, i;

	text[0] = '\0';
	CU_ASSERT(ls_ckpt_list(store, &ids, &n, NULL) == LS_OK);
	for (i = 0; i < n; i++)
		add_id(text, sizeof(text), ids[i]);
	free(ids);
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
		bool good;
		struct ls_ckpt_id id;
	} rows[] = { { "step-000000001200/manifest.json", true, { 0, 1200 } }, { "step-000000000000/x", true, { 0, 0 } },
		{ "step-000000001200-g00000003/rank-00000.safetensors", true, { 3, 1200 } },
		{ "step-000000001200-g00000000/x", false, { 0 } }, { "step-000000001200-g3/x", false, { 0 } },
		{ "step-000000001200-g000000003/x", false, { 0 } }, { "step-000000001200-g0000000a/x", false, { 0 } },
		{ "step-000000001200-x00000003/x", false, { 0 } }, { "step-000000001200-g00000003", false, { 0 } },
		{ "step-1200/manifest.json", false, { 0 } }, { "step-000000001200", false, { 0 } },
		{ "step-0000000012000/x", false, { 0 } }, { "step--00000001200/x", false, { 0 } }, { "other/x", false, { 0 } },
		{ "", false, { 0 } } };
	struct ls_ckpt_id id;
	char name[LS_CKPT_KEY_MAX];
	size_t i;

	for (i = 0; i < COUNT(rows); i++)
		check(ls_ckpt_key_id(rows[i].key, &id) == rows[i].good &&
				(!rows[i].good || !ls_ckpt_compare(id, rows[i].id)),
			rows[i].key, "whose it is");
	ls_ckpt_dir((struct ls_ckpt_id){ 0, 1200 }, name);
	CU_ASSERT_STRING_EQUAL(name, "step-000000001200");
	ls_ckpt_shard_key((struct ls_ckpt_id){ 3, 1200 }, 3, name);
	CU_ASSERT_STRING_EQUAL(name, "step-000000001200-g00000003/rank-00003.safetensors");
	CU_ASSERT(ls_ckpt_compare((struct ls_ckpt_id){ 2, 60 }, (struct ls_ckpt_id){ 1, 100 }) > 0);
	CU_ASSERT(ls_ckpt_compare((struct ls_ckpt_id){ 1, 60 }, (struct ls_ckpt_id){ 1, 100 }) < 0);
}

static void test_parts(void)
{
	static const struct {
		const char *name;
		bool good;
		size_t len;
		int64_t first, last;
	} rows[] = { { "m[0:1024]", true, 1, 0, 1024 }, { "a[1][2:2]", true, 4, 2, 2 },
		{ "m[3:9223372036854775807]", true, 1, 3, INT64_MAX }, { "m[3:9223372036854775808]", false, 0, 0, 0 },
		{ "m[2:1]", false, 0, 0, 0 }, { "m[-1:1]", false, 0, 0, 0 }, { "m[0:1", false, 0, 0, 0 },
		{ "m[0:1]x", false, 0, 0, 0 }, { "m[00:1]", false, 0, 0, 0 }, { "m[ 0:1]", false, 0, 0, 0 },
		{ "m[0,1]", false, 0, 0, 0 }, { "m[:1]", false, 0, 0, 0 }, { "[0:1]", false, 0, 0, 0 }, { "m", false, 0, 0, 0 },
		{ "", false, 0, 0, 0 } };
	struct ls_str name = { 0 };
	int64_t first, last;
	size_t i, len;

	for (i = 0; i < COUNT(rows); i++)
		check(ls_ckpt_part_parse(rows[i].name, &len, &first, &last) == rows[i].good &&
				(!rows[i].good || (len == rows[i].len && first == rows[i].first && last == rows[i].last)),
			rows[i].name, "a part");
	ls_ckpt_part_name("m", 0, 1024, &name);
	CU_ASSERT_STRING_EQUAL(ls_str_text(&name), "m[0:1024]");
	ls_str_release(&name);
}

static void test_round_trip(void)
{
	struct ls_err err = LS_ERR_INIT;
	struct ls_ckpt_id id = { 3, 1200 };
	struct ls_ckpt c = { 0 };

	start_clean();
	check(save(id, &err) == LS_OK, "a checkpoint is published", err.text);
	check(save(id, &err) == LS_OK, "and is found to be there when its answer was lost", err.text);
	fill(&c, id);
	c.epoch = 4;
	check(ls_ckpt_publish(store, &c, &err) == LS_EXISTS && strstr(err.text, "with other content"), "another is refused",
		err.text);
	ls_ckpt_release(&c);
	check(ls_ckpt_read(store, id, &c, &err) == LS_OK, "and read", err.text);
	CU_ASSERT_STRING_EQUAL(c.job, "digits");
	CU_ASSERT(c.attempt == 2 && c.id.generation == 3 && c.id.step == 1200 && c.world_size == 2 && c.seed == UINT64_MAX && c.epoch == 3);
	CU_ASSERT(c.epoch_samples == 1280 && c.n_shards == 2 && c.versions.n == 2);
	CU_ASSERT_FATAL(c.n_sharded == 1);
	CU_ASSERT_STRING_EQUAL(c.sharded[0].name, "adam.m");
	CU_ASSERT(c.sharded[0].dtype == LS_F32 && c.sharded[0].ndim == 2 && c.sharded[0].shape[0] == 64 && c.sharded[0].shape[1] == 3);
	CU_ASSERT_STRING_EQUAL(c.time, "2026-01-31T12:00:00Z");
	CU_ASSERT_STRING_EQUAL(ls_strv_getenv(&c.versions, "mpi"), "Open MPI \"v4.1.4\"");
	check(ls_ckpt_verify(store, &c, 0, 1, &err) == LS_OK, "every shard verifies", err.text);
	check(ls_ckpt_verify(store, &c, 7, 9, &err) == LS_OK, "a rank without a shard has nothing to do", err.text);
	check(ls_ckpt_verify(store, &c, 0, 0, &err) == LS_USAGE, "a stride of 0", err.text);
	ls_ckpt_release(&c);
	check(ls_ckpt_read(store, (struct ls_ckpt_id){ 3, 1201 }, &c, &err) == LS_NOT_FOUND, "no such step", err.text);
}

static void test_damage(void)
{
	struct ls_err err = LS_ERR_INIT;
	struct ls_ckpt_id id = { 0, 5 };
	struct ls_ckpt c = { 0 };

	start_clean();
	CU_ASSERT_FATAL(save(id, &err) == LS_OK && ls_ckpt_read(store, id, &c, &err) == LS_OK);
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
	check(ls_ckpt_delete(store, id, &err) == LS_OK && access(path_of("step-000000000005"), F_OK) < 0,
		"it can be deleted", err.text);
	check(save(id, &err) == LS_OK, "and saved again", err.text);
}

#define SHARD "{\"key\":\"step-000000000007/rank-00000.safetensors\",\"bytes\":1,\"crc32c\":\"00000000\"}"
#define HEAD                                                                                                           \
	"{\"format\":\"lockstep-checkpoint/1\",\"job\":\"j\",\"attempt\":1,\"worldSize\":1,"                                \
	"\"time\":\"2026-01-31T12:00:00Z\","
#define SAMPLER "\"sampler\":{\"seed\":\"1\",\"epoch\":0,\"epochSamples\":0},"
#define ALL HEAD "\"step\":7," SAMPLER "\"versions\":{},"
#define SHARDED(list) ALL "\"shards\":[" SHARD "],\"sharded\":[" list "]}"
#define KEY(key) ALL "\"shards\":[{\"key\":\"" key "\",\"bytes\":1,\"crc32c\":\"00000000\"}]}"

/* `want`: a part of the message; NULL: it is good. */
static const struct {
	const char *says, *text, *want;
} manifests[] = {
	{ "the least manifest", ALL "\"shards\":[" SHARD "]}", NULL },
	{ "a field from a newer version", ALL "\"new\":[{}],\"shards\":[" SHARD "]}", NULL },
	{ "a sharded tensor", SHARDED("{\"name\":\"m\",\"dtype\":\"BF16\",\"shape\":[8,0]}"), NULL },
	{ "no sharded tensor", SHARDED(""), NULL },
	{ "sharded is a word", ALL "\"shards\":[" SHARD "],\"sharded\":\"m\"}", "sharded: want a list" },
	{ "a sharded number", SHARDED("1"), "sharded[0].: want an object" },
	{ "a sharded tensor without a name", SHARDED("{\"dtype\":\"F32\",\"shape\":[8]}"), "sharded[0].name: want" },
	{ "a sharded tensor with an empty name", SHARDED("{\"name\":\"\",\"dtype\":\"F32\",\"shape\":[8]}"),
		"sharded[0].name: want" },
	{ "an unknown dtype", SHARDED("{\"name\":\"m\",\"dtype\":\"F33\",\"shape\":[8]}"), "sharded[0].dtype: want" },
	{ "a sharded scalar", SHARDED("{\"name\":\"m\",\"dtype\":\"F32\",\"shape\":[]}"), "sharded[0].shape: want" },
	{ "too many dimensions", SHARDED("{\"name\":\"m\",\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,1]}"),
		"sharded[0].shape: want" },
	{ "half a row", SHARDED("{\"name\":\"m\",\"dtype\":\"F32\",\"shape\":[1.5]}"), "sharded[0].shape: want" },
	{ "a shape beyond 64 bits",
		SHARDED("{\"name\":\"m\",\"dtype\":\"F32\",\"shape\":[4503599627370496,4503599627370496]}"),
		"sharded[0].shape: want" },
	{ "a sharded tensor twice",
		SHARDED("{\"name\":\"m\",\"dtype\":\"F32\",\"shape\":[1]},{\"name\":\"m\",\"dtype\":\"F32\",\"shape\":[1]}"),
		"sharded: m is there twice" },
	{ "another generation than the directory's", ALL "\"generation\":3,\"shards\":[" SHARD "]}",
		"generation: want the generation" },
	{ "generation 0 is not written", ALL "\"generation\":0,\"shards\":[" SHARD "]}", "generation: want a whole number" },
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
		st = ls_ckpt_manifest_parse(text, len, (struct ls_ckpt_id){ 0, 7 }, &c, &err);
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
	fill(&c, (struct ls_ckpt_id){ 0, 7 });
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
	c.id.step = -1;
	check(ls_ckpt_publish(store, &c, &err) == LS_USAGE && strstr(err.text, "step: want"), "nor a negative step",
		err.text);
	c.id.step = 7;
	ls_strv_add(&c.versions, "word");
	check(ls_ckpt_publish(store, &c, &err) == LS_USAGE && strstr(err.text, "want name=value"), "nor half a version",
		err.text);
	free(c.versions.v[--c.versions.n]);
	c.versions.v[c.versions.n] = NULL;
	c.sharded[0].shape[1] = -1;
	check(ls_ckpt_publish(store, &c, &err) == LS_USAGE && strstr(err.text, "sharded[0].shape: want"), "nor a negative shape",
		err.text);
	CU_ASSERT_STRING_EQUAL(published(), "");
	ls_ckpt_release(&c);
}

/* What is in the store before, one word a checkpoint: "100" whole, "100.2" of generation 2, "100-" cut shard, "100!" cut manifest,
 * "100?" no manifest, "100~" only a leftover, "100+" whole beside a foreign file. Then prune(keep); then what has a manifest, and
 * which directories are there. */
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
	{ "a newer generation is newer, whatever the steps", "200.1 50.2 100.2", 1, "100.2", "100.2" },
	{ "and the last of the older one comes next", "200.1 50.2 300.1", 2, "50.2 300.1", "50.2 300.1" },
	{ "a save of a newer generation goes on at a lower step", "200.1 300.1 50.2?", 1, "300.1", "50.2 300.1" },
	{ "and so does its put", "200.1 300.1 50.2~", 1, "300.1", "50.2 300.1" },
	{ "a put of an older generation at a higher step does not", "100.2 300.1~", 1, "100.2", "100.2" },
	{ "a late manifest of an older generation", "400.1 100.2", 1, "100.2", "100.2" },
	{ "checkpoints without generation are the oldest", "900 100.1", 1, "100.1", "100.1" },
	{ "one step, two generations", "100.1 100.2", 1, "100.2", "100.2" },
};

static void prepare(const char *before)
{
	char words[128], *save_p, *word, name[128], path[LS_CKPT_DIR_MAX];
	struct ls_shard shard;

	snprintf(words, sizeof(words), "%s", before);
	for (word = strtok_r(words, " ", &save_p); word; word = strtok_r(NULL, " ", &save_p)) {
		char mark = word[strlen(word) - 1];
		struct ls_ckpt_id id = id_of(word);

		if (mark == '?' || mark == '~') {
			CU_ASSERT_FATAL(put_shard(id, 0, &shard, NULL) == LS_OK);
			free(shard.key);
		} else {
			CU_ASSERT_FATAL(save(id, NULL) == LS_OK);
		}
		ls_ckpt_dir(id, path);
		snprintf(name, sizeof(name), "%s/%s", path,
			mark == '+'   ? "notes.txt"
			: mark == '!' ? "manifest.json"
			: mark == '~' ? ".tmp-abcdef"
				      : "rank-00000.safetensors");
		if (strchr("-!~+", mark))
			overwrite(name, "{", 0, true);
		if (mark == '~') {
			ls_ckpt_shard_key(id, 0, name);
			unlink(path_of(name));
		}
	}
}

static const char *dirs(void)
{
	static char text[256];
	char name[LS_CKPT_DIR_MAX];
	struct ls_ckpt_id id;

	text[0] = '\0';
	for (id.step = 0; id.step < 1000; id.step += 50) {
		for (id.generation = 0; id.generation < 5; id.generation++) {
			ls_ckpt_dir(id, name);
			if (access(path_of(name), F_OK) == 0)
				add_id(text, sizeof(text), id);
		}
	}
	return text;
}

static void hear(void *arg, const char *what)
{
	ls_str_addf(arg, "%s\n", what);
}

static void test_prune(void)
{
	struct ls_err err = LS_ERR_INIT;
	struct ls_str heard = { 0 };
	struct ls_ckpt_prune opt = { .gone = hear, .arg = &heard };
	size_t i;

	for (i = 0; i < COUNT(prunes); i++) {
		char were[256];

		start_clean();
		prepare(prunes[i].before);
		snprintf(were, sizeof(were), "%s", dirs());
		opt.keep = prunes[i].keep;
		opt.dry = true;
		ls_str_cut(&heard, heard.len);
		check(ls_ckpt_prune(store, &opt, &err) == LS_OK, prunes[i].says, err.text);
		check(!strcmp(dirs(), were), prunes[i].says, "a dry one deletes nothing");
		check(!heard.len == !strcmp(were, prunes[i].want_dirs) || strchr(prunes[i].before, '+'), prunes[i].says,
			ls_str_text(&heard));
		opt.dry = false;
		check(ls_ckpt_prune(store, &opt, &err) == LS_OK, prunes[i].says, err.text);
		check(!strcmp(published(), prunes[i].want_published), prunes[i].says, published());
		check(!strcmp(dirs(), prunes[i].want_dirs), prunes[i].says, dirs());
		ls_str_cut(&heard, heard.len);
		check(ls_ckpt_prune(store, &opt, &err) == LS_OK && !heard.len, prunes[i].says, ls_str_text(&heard));
	}
	opt.keep = 0;
	check(ls_ckpt_prune(store, &opt, &err) == LS_USAGE, "keep nothing", err.text);
	ls_str_release(&heard);
}

static void test_gone(void)
{
	static const char want[] = "generation-00000001.json: an old claim\n"
				   "step-000000000050-g00000001: 1 objects, 30 bytes: no manifest\n"
				   "step-000000000100-g00000001: 3 objects, ";
	struct ls_str heard = { 0 };
	struct ls_ckpt_prune opt = { .keep = 1, .gone = hear, .arg = &heard };
	struct ls_err err = LS_ERR_INIT;
	unsigned g;
	bool conditional;

	start_clean();
	check(ls_ckpt_claim(store, &(struct ls_claimant){ .who = "a" }, &g, &conditional, &err) == LS_OK && g == 1, "a claim", err.text);
	prepare("50.1? 100.1 100.2- 150.2 100.1~");
	prepare("100.1");
	check(ls_ckpt_claim(store, &(struct ls_claimant){ .who = "b" }, &g, &conditional, &err) == LS_OK && g == 3, "another", err.text);
	opt.mine = 2;
	check(ls_ckpt_prune(store, &opt, &err) == LS_JOB_LOST && !heard.len, "a fenced attempt prunes nothing", err.text);
	opt.mine = 3;
	check(ls_ckpt_prune(store, &opt, &err) == LS_OK, "the newest does", err.text);
	check(!strncmp(ls_str_text(&heard), want, strlen(want)), "what went", ls_str_text(&heard));
	check(heard.s && strstr(heard.s, " bytes: older than all that stay\n") && strstr(heard.s, "\n1 unfinished put\n"), "and why",
		ls_str_text(&heard));
	CU_ASSERT(access(path_of("generation-00000001.json"), F_OK) < 0);
	CU_ASSERT(access(path_of("generation-00000003.json"), F_OK) == 0);
	ls_str_release(&heard);
}

/* A store in front of the real one, in which others act, answers get lost, and conditions are ignored. */
static struct {
	struct ls_store base;
	void (*before)(const char *key); /* once, before a put */
	void (*after)(const char *key);  /* once, after it */
	void (*listed)(void);            /* once, after a list was taken */
	bool lose, ignore;               /* once; always */
} odd;

static ls_status odd_put(struct ls_store *s, const char *key, const struct iovec *iov, int n, bool only_new, uint32_t *ret_crc32c,
	struct ls_err *err)
{
	void (*before)(const char *) = odd.before, (*after)(const char *) = odd.after;
	ls_status st;

	(void)s;
	odd.before = odd.after = NULL;
	if (before)
		before(key);
	st = ls_store_put(store, key, iov, n, only_new && !odd.ignore, ret_crc32c, err);
	if (odd.lose) { /* as a client does that gets no answer: once more */
		odd.lose = false;
		st = ls_store_put(store, key, iov, n, only_new, ret_crc32c, err);
	}
	if (after)
		after(key);
	return st;
}

static ls_status odd_read(struct ls_store *s, const char *key, uint64_t offset, const struct iovec *iov, int n,
	uint32_t *ret_crc32c, struct ls_err *err)
{
	(void)s;
	return ls_store_read(store, key, offset, iov, n, ret_crc32c, err);
}

static ls_status odd_size(struct ls_store *s, const char *key, uint64_t *ret, struct ls_err *err)
{
	(void)s;
	return ls_store_size(store, key, ret, err);
}

static ls_status odd_list(struct ls_store *s, const char *prefix, struct ls_objects *ret, struct ls_err *err)
{
	void (*listed)(void) = odd.listed;
	ls_status st = ls_store_list(store, prefix, ret, err);

	(void)s;
	odd.listed = NULL;
	if (listed)
		listed();
	return st;
}

static const struct ls_store_ops odd_ops = { .put = odd_put, .read = odd_read, .size = odd_size, .list = odd_list };

static void claim_it_first(const char *key)
{
	struct iovec iov = { (char *)"{\"who\": \"first\"}", 16 };

	CU_ASSERT(ls_store_put(store, key, &iov, 1, true, NULL, NULL) == LS_OK);
}

/* Two others claim, and the newer one prunes the older one's claim. */
static void claim_beyond(const char *key)
{
	(void)key;
	claim_it_first("generation-00000009.json");
}

static void lose_claim(const char *key)
{
	CU_ASSERT(ls_store_delete(store, &key, 1, NULL) == LS_OK);
}

static const struct {
	const char *says, *there; /* an object */
	unsigned at_least;
	void (*before)(const char *key), (*after)(const char *key);
	bool lose, ignore;
	unsigned want;
} claims[] = {
	{ "the first is 1", NULL, 0, NULL, NULL, false, false, 1 },
	{ "the next is one more", "generation-00000004.json", 0, NULL, NULL, false, false, 5 },
	{ "at least", "generation-00000004.json", 8, NULL, NULL, false, false, 8 },
	{ "at least what is past", "generation-00000004.json", 3, NULL, NULL, false, false, 5 },
	{ "above checkpoints whose claims are gone", "step-000000000001-g00000007/x", 0, NULL, NULL, false, false, 8 },
	{ "what is no claim does not count", "generation-4.json", 0, NULL, NULL, false, false, 1 },
	{ "somebody is faster", "generation-00000004.json", 0, claim_it_first, NULL, false, false, 6 },
	{ "a lost answer", "generation-00000004.json", 0, NULL, NULL, true, false, 5 },
	{ "a list that is old by now", "generation-00000004.json", 0, claim_beyond, NULL, false, false, 10 },
	{ "a claim that was pruned before its answer came", "generation-00000004.json", 0, claim_it_first, lose_claim, false, false, 6 },
	{ "a store without conditions", NULL, 0, NULL, NULL, false, true, 1 },
};

static void test_claims(void)
{
	size_t i;

	odd.base = (struct ls_store){ .ops = &odd_ops, .uri = (char *)"odd" };
	for (i = 0; i < COUNT(claims); i++) {
		struct ls_err err = LS_ERR_INIT;
		struct iovec iov = { (char *)"{}", 2 };
		unsigned generation = 0;
		bool conditional = false;
		ls_status st;

		start_clean();
		if (claims[i].there)
			CU_ASSERT(ls_store_put(store, claims[i].there, &iov, 1, true, NULL, NULL) == LS_OK);
		odd.before = claims[i].before;
		odd.after = claims[i].after;
		odd.lose = claims[i].lose;
		odd.ignore = claims[i].ignore;
		st = ls_ckpt_claim(&odd.base, &(struct ls_claimant){ .who = "digits attempt 2 on b", .at_least = claims[i].at_least }, &generation, &conditional, &err);
		check(st == LS_OK && generation == claims[i].want, claims[i].says, err.text);
		check(conditional == !claims[i].ignore, claims[i].says, "conditional?");
		check(ls_ckpt_fence(store, generation, &err) == LS_OK, "the newest is not fenced", err.text);
		check(ls_ckpt_fence(store, generation - 1, &err) == LS_JOB_LOST &&
				strstr(err.text, "(by digits attempt 2 on b, 20"),
			"the others are", err.text);
	}
	odd.ignore = false;
}

/* Who may take over from whom. */
static const struct {
	const char *says, *newest, *run; /* the runs of generation 4 and of the claimant; NULL: none */
	unsigned ours;
	ls_status want;
} takeovers[] = {
	{ "a run that begins takes over", "a", "b", 0, LS_OK },
	{ "a restart goes on after itself", "a", "a", 4, LS_OK },
	{ "also after an attempt that could not tell of its claim", "a", "a", 3, LS_OK },
	{ "but not after another run's", "b", "a", 3, LS_JOB_LOST },
	{ "nor after a person's", NULL, "a", 3, LS_JOB_LOST },
};

static void test_takeovers(void)
{
	size_t i;

	for (i = 0; i < COUNT(takeovers); i++) {
		struct ls_claimant first = { .who = "first", .run = takeovers[i].newest, .at_least = 4 },
				   next = { .who = "next", .run = takeovers[i].run, .ours = takeovers[i].ours };
		struct ls_err err = LS_ERR_INIT;
		unsigned generation = 0;
		bool conditional;

		start_clean();
		CU_ASSERT(ls_ckpt_claim(store, &first, &generation, &conditional, NULL) == LS_OK && generation == 4);
		check(ls_ckpt_claim(store, &next, &generation, &conditional, &err) == takeovers[i].want, takeovers[i].says, err.text);
		check(generation == (takeovers[i].want ? 4 : 5), takeovers[i].says, "generation");
	}
}

static unsigned claim_next(void)
{
	unsigned generation = 0;
	bool conditional;

	CU_ASSERT(ls_ckpt_claim(store, &(struct ls_claimant){ .who = "b" }, &generation, &conditional, NULL) == LS_OK);
	return generation;
}

static void claim_now(const char *key)
{
	(void)key;
	claim_next();
}

static void test_fence(void)
{
	struct ls_err err = LS_ERR_INIT;
	struct ls_ckpt c;
	struct ls_ckpt_id id = { claim_next(), 100 };

	fill(&c, id);
	odd.lose = true;
	check(ls_ckpt_publish(&odd.base, &c, &err) == LS_OK, "a lost answer is no failure", err.text);
	ls_ckpt_release(&c);
	id.step = 200;
	fill(&c, id);
	odd.before = claim_now;
	check(ls_ckpt_publish(&odd.base, &c, &err) == LS_JOB_LOST, "fenced before the put lands: not reported", err.text);
	check(ls_ckpt_publish(&odd.base, &c, &err) == LS_JOB_LOST, "nor later", err.text);
	ls_ckpt_release(&c);
	id.step = 300;
	check(save(id, &err) == LS_JOB_LOST, "a fenced attempt writes no manifest", err.text);
	check(ls_ckpt_read(store, id, &c, &err) == LS_NOT_FOUND, "none", err.text);
	id = (struct ls_ckpt_id){ id.generation + 1, 50 };
	check(save(id, &err) == LS_OK, "the newer attempt publishes", err.text);
	check(!strncmp(published(), "50.", 3), "and is the newest", published());
}

static void publish_newer(void)
{
	CU_ASSERT(save((struct ls_ckpt_id){ 2, 50 }, NULL) == LS_OK);
	CU_ASSERT(ls_ckpt_prune(store, &(struct ls_ckpt_prune){ .keep = 1 }, NULL) == LS_OK);
}

static void change_again(void)
{
	static long long step = 1000;

	CU_ASSERT(save((struct ls_ckpt_id){ 2, step++ }, NULL) == LS_OK);
	odd.listed = change_again;
}

/* What is published, and its elders pruned, while a list is taken. */
static void test_list(void)
{
	struct ls_ckpt_id *ids = NULL;
	struct ls_err err = LS_ERR_INIT;
	size_t n = 0;

	start_clean();
	odd.listed = publish_newer;
	check(ls_ckpt_list(&odd.base, &ids, &n, &err) == LS_OK && n == 1 && ids[0].generation == 2, "an empty list is not believed",
		err.text);
	free(ids);
	start_clean();
	CU_ASSERT(save((struct ls_ckpt_id){ 1, 100 }, NULL) == LS_OK);
	odd.listed = publish_newer;
	check(ls_ckpt_list(&odd.base, &ids, &n, &err) == LS_OK && n == 1 && ids[0].step == 50, "nor one that is old", err.text);
	free(ids);
	odd.listed = change_again;
	check(ls_ckpt_list(&odd.base, &ids, &n, &err) == LS_AGAIN, "a store that never rests", err.text);
	odd.listed = NULL;
}

static void test_shard_open(void)
{
	struct ls_err err = LS_ERR_INIT;
	struct ls_shard shard = { (char *)"step-000000000001-g00000001/rank-00000.safetensors", 0, 0 };
	struct ls_tensor tensor = { .dtype = LS_U8, .ndim = 1, .shape = { 3 } };
	struct ls_str head = { 0 }, name = { 0 };
	struct iovec iov[2] = { { 0 }, { (char *)"abc", 3 } };
	struct ls_st table = { 0 };
	uint32_t crc32c = 0;
	int big;

	start_clean();
	check(ls_ckpt_shard_open(store, &shard, &table, &crc32c, &err) == LS_DATA_BAD && strstr(err.text, "is missing"),
		"a missing shard", err.text);
	for (big = 0; big < 2; big++) { /* a header that fits the first read, and one that does not */
		while (name.len < (big ? 200000 : 1))
			ls_str_add(&name, "x");
		tensor.name = name.s;
		ls_str_cut(&head, head.len);
		CU_ASSERT_FATAL(ls_st_header(&tensor, 1, NULL, &head, &err) == LS_OK);
		iov[0] = (struct iovec){ head.s, head.len };
		shard.bytes = head.len + 3;
		CU_ASSERT_FATAL(ls_store_put(store, shard.key, iov, 2, false, NULL, &err) == LS_OK);
		check(ls_ckpt_shard_open(store, &shard, &table, &crc32c, &err) == LS_OK, "a shard", err.text);
		check(table.n == 1 && !strcmp(table.tensors[0].name, name.s) && table.data_at == head.len, "its tensor", "");
		check(crc32c == ls_crc32c(0, head.s, head.len), "its header's checksum", "");
		ls_st_release(&table);
	}
	shard.bytes = 4;
	check(ls_ckpt_shard_open(store, &shard, &table, &crc32c, &err) == LS_DATA_BAD && strstr(err.text, shard.key),
		"too short for a shard", err.text);
	ls_str_release(&name);
	ls_str_release(&head);
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
	CU_add_test(suite, "parts of tensors", test_parts);
	CU_add_test(suite, "publish, read, verify", test_round_trip);
	CU_add_test(suite, "damage", test_damage);
	CU_add_test(suite, "good and bad manifests", test_manifests);
	CU_add_test(suite, "what cannot be published", test_refused);
	CU_add_test(suite, "what a prune keeps", test_prune);
	CU_add_test(suite, "what a prune says", test_gone);
	CU_add_test(suite, "claims", test_claims);
	CU_add_test(suite, "who takes over", test_takeovers);
	CU_add_test(suite, "fences", test_fence);
	CU_add_test(suite, "a list", test_list);
	CU_add_test(suite, "a shard's header", test_shard_open);
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
