/* test_predict.c -- lockstep bench predict: each formula against its closed form, overlap against steps done by hand, fits against known links. */
#include "launcher/predict.h"
#include "core/io.h"

#include <CUnit/Basic.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static bool near(double a, double b)
{
	return fabs(a - b) <= 1e-9 * fmax(fabs(a), fabs(b));
}

static void same(const char *says, double got, double want)
{
	if (!near(got, want))
		printf("\n    failed: %s: got %.12g, want %.12g", says, got, want);
	CU_ASSERT(near(got, want));
}

static void check(bool ok, const char *says, const char *got)
{
	if (!ok)
		printf("\n    failed: %s: %s", says, got);
	CU_ASSERT(ok);
}

/* --- collectives ------------------------------------------------------------------------------------------------------------------ */

/* 4 ranks in a node, 8 nodes; 10 GB/s inside, 2 NICs of 1 GB/s, 1 us inside and 10 us between, 5 us once. */
static struct ls_pred_net net_of(enum ls_pred_algorithm a)
{
	return (struct ls_pred_net){ .name = "test", .per_node = 4, .nodes = 8, .intra_bw = 10e9, .switch_bw = 8e9, .nic_bw = 1e9, .nics = 2,
		.oversubscription = 1, .ways = { { a, "", 5e-6, 1e-6, 10e-6, 1, 1 } }, .n_ways = 1 };
}

static double all_reduce(enum ls_pred_algorithm a, int ranks, double bytes)
{
	struct ls_pred_net net = net_of(a);

	return ls_pred_collective_s(&net, LS_PRED_ALL_REDUCE, ranks, bytes, NULL);
}

static const struct { const char *says; enum ls_pred_algorithm a; int ranks; double bytes, want_us; } forms[] = {
	{ "one rank has nobody to wait for", LS_PRED_RING, 1, 1e9, 0 },
	{ "ring in a node: 2(p-1) alpha + 2(p-1)/p S/B", LS_PRED_RING, 4, 4e6, 5 + 6 * 1 + 1.5 * 400 },
	{ "ring of nothing: steps alone", LS_PRED_RING, 4, 0, 5 + 6 },
	{ "ring over 2 nodes: 2 of 14 steps wait for the network, whose NICs are slower", LS_PRED_RING, 8, 8e6, 5 + 12 * 1 + 2 * 10 + 1.75 * 8e6 / 2e9 * 1e6 },
	{ "halving in a node: 2 log2 p steps", LS_PRED_HALVING, 4, 4e6, 5 + 4 * 1 + 1.5 * 400 },
	{ "halving, 3 ranks: steps are whole", LS_PRED_HALVING, 3, 0, 5 + 4 * 1 },
	{ "halving over 2 nodes: only S/r of each rank crosses", LS_PRED_HALVING, 8, 8e6, 5 + 4 + 2 * 10 + 1.5 * 800 + 2 * 0.5 * 8e6 / 2e9 * 1e6 },
	{ "direct in a node: 2 steps", LS_PRED_DIRECT, 4, 4e6, 5 + 2 * 1 + 1.5 * 400 },
	{ "direct over 2 nodes: each rank's share for 4 others outside", LS_PRED_DIRECT, 8, 8e6, 5 + 2 * 10 + 2 * 4 * 0.5 * 8e6 / 2e9 * 1e6 },
	{ "rails: inside, then 2(k-1)/k S between nodes", LS_PRED_RAILS, 8, 8e6, 5 + 2 * 1 + 1.5 * 800 + 2 * 10 + 2 * 0.5 * 8e6 / 2e9 * 1e6 },
	{ "rails in one node are direct", LS_PRED_RAILS, 4, 4e6, 5 + 2 * 1 + 1.5 * 400 },
	{ "tree of nothing: up and down a chain of 4, 2 levels of nodes", LS_PRED_TREE, 16, 0, 5 + 2 * (3 + 20) },
	{ "tree in a node: 2 (L + S/B + 2 sqrt(L S/B))", LS_PRED_TREE, 4, 12e6, 5 + 2 * (3 + 1200 + 2 * 60) },
	{ "a switch that adds: S over its bandwidth, whatever p", LS_PRED_SWITCH, 4, 8e6, 5 + 1 + 1000 },
	{ "the same with 2 ranks", LS_PRED_SWITCH, 2, 8e6, 5 + 1 + 1000 },
	{ "switch and 2 nodes: S crosses", LS_PRED_SWITCH, 8, 8e6, 5 + 1 + 2 * 10 + 4000 },
	{ "switch and 4 nodes: 2 S cross", LS_PRED_SWITCH, 16, 8e6, 5 + 1 + 4 * 10 + 8000 },
};

static void test_forms(void)
{
	size_t i;

	for (i = 0; i < COUNT(forms); i++)
		same(forms[i].says, all_reduce(forms[i].a, forms[i].ranks, forms[i].bytes) * 1e6, forms[i].want_us);
}

static void test_parts(void)
{
	struct ls_pred_net net = net_of(LS_PRED_RING);
	const struct ls_pred_way *way;

	same("reduce-scatter and all-gather are halves of the ring's all-reduce", ls_pred_collective_s(&net, LS_PRED_REDUCE_SCATTER, 4, 4e6, NULL) +
		ls_pred_collective_s(&net, LS_PRED_ALL_GATHER, 4, 4e6, NULL), 5e-6 + ls_pred_collective_s(&net, LS_PRED_ALL_REDUCE, 4, 4e6, NULL));
	net.add_bw = 30e9;
	same("gamma: (p-1)/p S are added", ls_pred_collective_s(&net, LS_PRED_ALL_REDUCE, 4, 4e6, NULL), (5 + 6 + 600 + 100) * 1e-6);
	same("an all-gather adds nothing", ls_pred_collective_s(&net, LS_PRED_ALL_GATHER, 4, 4e6, NULL), (5 + 3 + 300) * 1e-6);
	net = net_of(LS_PRED_RING);
	net.intra_total_bw = 20e9;
	same("ranks that share 20 GB/s have 5 each", ls_pred_collective_s(&net, LS_PRED_ALL_REDUCE, 4, 4e6, NULL), (5 + 6 + 1200) * 1e-6);
	same("two of them have what they can use", ls_pred_collective_s(&net, LS_PRED_ALL_REDUCE, 2, 4e6, NULL), (5 + 2 + 400) * 1e-6);
	net.oversubscription = 4;
	same("an oversubscribed fabric", ls_pred_collective_s(&net, LS_PRED_ALL_REDUCE, 8, 8e6, NULL), (5 + 12 + 20 + 28000) * 1e-6);
	net = net_of(LS_PRED_SWITCH);
	CU_ASSERT(isinf(ls_pred_collective_s(&net, LS_PRED_REDUCE_SCATTER, 4, 4e6, &way)) && way == NULL);
	net.nic_bw = 0;
	CU_ASSERT(isinf(ls_pred_collective_s(&net, LS_PRED_ALL_REDUCE, 8, 4e6, &way)) && way == NULL);
}

static void test_cheapest(void)
{
	struct ls_pred_net net = net_of(LS_PRED_RING);
	const struct ls_pred_way *way;

	net.ways[1] = (struct ls_pred_way){ LS_PRED_RING, "LL", 1e-6, 0.1e-6, 1e-6, 0.5, 0.5 };
	net.n_ways = 2;
	ls_pred_collective_s(&net, LS_PRED_ALL_REDUCE, 4, 1e3, &way);
	CU_ASSERT_STRING_EQUAL(way->protocol, "LL");
	ls_pred_collective_s(&net, LS_PRED_ALL_REDUCE, 4, 1e8, &way);
	CU_ASSERT_STRING_EQUAL(way->protocol, "");
}

static void test_worlds(void)
{
	static const struct { int ranks; ls_status want; } rows[] = { { 1, LS_OK }, { 3, LS_OK }, { 4, LS_OK }, { 32, LS_OK }, { 0, LS_USAGE }, { -4, LS_USAGE },
		{ 5, LS_USAGE }, { 36, LS_USAGE } };
	struct ls_pred_net net = net_of(LS_PRED_RING);
	struct ls_err err = LS_ERR_INIT;
	size_t i;

	for (i = 0; i < COUNT(rows); i++)
		CU_ASSERT_EQUAL(ls_pred_fits(&net, rows[i].ranks, &err), rows[i].want);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "36 ranks need 9 nodes"));
}

/* --- a step ----------------------------------------------------------------------------------------------------------------------- */

/* 1 ms for each 1e6 bytes of all-reduce between 2 ranks; half of it for a reduce-scatter or an all-gather. No latency. */
static struct ls_pred_net plain_net(void)
{
	return (struct ls_pred_net){ .name = "plain", .per_node = 4, .nodes = 1, .intra_bw = 1e9, .oversubscription = 1, .n_ways = 1,
		.ways = { { LS_PRED_RING, "", 0, 0, 0, 1, 1 } } };
}

static const struct { const char *says; double buckets[3]; int n; bool overlap; enum ls_pred_shard shard; double ratio, compute_ms, exposed_ms, comm_ms; } overlaps[] = {
	/* forward 4 ms, backward 8 ms */
	{ "one bucket: ready at the end, all exposed", { 6e6 }, 1, true, LS_PRED_NONE, 0, 12, 6, 6 },
	{ "three: ready at 6.67, 9.33 and 12; the last alone is exposed", { 2e6, 2e6, 2e6 }, 3, true, LS_PRED_NONE, 0, 12, 2, 6 },
	{ "without overlap all is exposed", { 2e6, 2e6, 2e6 }, 3, false, LS_PRED_NONE, 0, 12, 6, 6 },
	{ "slower than backward: they queue behind each other", { 4e6, 4e6, 4e6 }, 3, true, LS_PRED_NONE, 0, 12, 12 - 8.0 * 2 / 3, 12 },
	{ "a large first one delays the small last", { 9e6, 0.5e6, 0.5e6 }, 3, true, LS_PRED_NONE, 0, 12, 10 - 0.8, 10 },
	{ "no compute: all is exposed", { 2e6, 2e6, 2e6 }, 3, true, LS_PRED_NONE, 0, 0, 6, 6 },
	/* zero2 gathers 1 ms a bucket under a forward of 4/3 ms a bucket: only the first is waited for. Then half an all-reduce after the last. */
	{ "zero2: the first gather and the last reduce-scatter", { 2e6, 2e6, 2e6 }, 3, true, LS_PRED_ZERO2, 1, 12, 2, 6 },
	{ "zero2 with half the bytes in parameters", { 2e6, 2e6, 2e6 }, 3, true, LS_PRED_ZERO2, 0.5, 12, 1.5, 4.5 },
	/* zero3: gathers again in backward, 8/3 ms a bucket: the first of backward is asked for at its begin. */
	{ "zero3: one more gather", { 2e6, 2e6, 2e6 }, 3, true, LS_PRED_ZERO3, 1, 12, 3, 9 },
};

static void test_overlap(void)
{
	struct ls_pred_net net = plain_net();
	double buckets[3], comm;
	size_t i;

	for (i = 0; i < COUNT(overlaps); i++) {
		struct ls_pred_job job = { .buckets = buckets, .n_buckets = overlaps[i].n, .overlap = overlaps[i].overlap, .shard = overlaps[i].shard,
			.gather_ratio = overlaps[i].ratio, .backward = 2.0 / 3 };

		memcpy(buckets, overlaps[i].buckets, sizeof(buckets));
		same(overlaps[i].says, ls_pred_exposed_s(&net, &job, 2, overlaps[i].compute_ms * 1e-3, 1, &comm) * 1e3, overlaps[i].exposed_ms);
		same(overlaps[i].says, comm * 1e3, overlaps[i].comm_ms);
	}
}

static void test_maxima(void)
{
	static const struct { int n; double exact; } normal[] = { { 1, 0 }, { 2, 0.5642 }, { 10, 1.5388 }, { 100, 2.5076 }, { 1000, 3.2414 } };
	static const double two[] = { 1, 3 }, same_ones[] = { 5, 5, 5 };
	double far = ls_pred_sample_max(two, 2, 1e6);
	size_t i;

	for (i = 0; i < COUNT(normal); i++)
		CU_ASSERT_DOUBLE_EQUAL(ls_pred_normal_max(normal[i].n), normal[i].exact, 0.03);
	same("one draw: the mean", ls_pred_sample_max(two, 2, 1), 2);
	same("two draws of {1, 3}: 3 in 3 of 4", ls_pred_sample_max(two, 2, 2), 2.5);
	same("very many: the largest", far, 3);
	same("no spread, no waiting", ls_pred_sample_max(same_ones, 3, 64), 5);
}

static void test_step(void)
{
	static const double samples[] = { 0.010, 0.010, 0.010, 0.014 };
	struct ls_pred_net net = plain_net();
	double buckets[] = { 2e6, 2e6 };
	struct ls_pred_job job = { .buckets = buckets, .n_buckets = 2, .overlap = true, .backward = 0.5, .compute_s = 0.012, .optimizer_s = 0.001 };
	struct ls_pred_point p;
	struct ls_err err = LS_ERR_INIT;

	net.error = 0.5;
	CU_ASSERT_EQUAL(ls_pred_step(&net, &job, 2, &p, &err), LS_OK);
	same("compute, the last bucket, the optimizer", p.step_s, 0.012 + 0.002 + 0.001);
	same("half the collectives' time at best", p.low_s, 0.012 + 0.001 + 0.001);
	same("half more at worst", p.high_s, 0.012 + 0.003 + 0.001);
	same("efficiency", p.efficiency, 13.0 / 15);
	CU_ASSERT_EQUAL(ls_pred_step(&net, &job, 1, &p, &err), LS_OK);
	same("one rank: no communication", p.step_s, 0.013);
	job.strong_of = 1;
	CU_ASSERT_EQUAL(ls_pred_step(&net, &job, 4, &p, &err), LS_OK);
	same("strong: a fourth of the batch", p.compute_s, 0.003);
	job.strong_of = 0;
	job.samples = samples;
	job.n_samples = COUNT(samples);
	job.compute_s = 0.011;
	CU_ASSERT_EQUAL(ls_pred_step(&net, &job, 2, &p, &err), LS_OK);
	same("the slowest of two from what was measured", p.waits_s, 0.010 * 9 / 16 + 0.014 * 7 / 16 - 0.011);
	CU_ASSERT(p.low_s < p.step_s && p.step_s < p.high_s);
	CU_ASSERT_EQUAL(ls_pred_step(&net, &job, 8, &p, &err), LS_USAGE);
	net.ways[0].algorithm = LS_PRED_TREE;
	job.shard = LS_PRED_ZERO2;
	CU_ASSERT_EQUAL(ls_pred_step(&net, &job, 2, &p, &err), LS_USAGE);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "sharded state needs ring"));
}

/* --- fits -------------------------------------------------------------------------------------------------------------------------- */

static void test_fit(void)
{
	static const enum ls_pred_algorithm all[] = { LS_PRED_RING, LS_PRED_HALVING, LS_PRED_DIRECT };
	struct ls_pred_sample s[12];
	struct ls_pred_fit known = { .alpha_s = 3e-6, .bandwidth = 7e9 }, f;
	struct ls_err err = LS_ERR_INIT;
	size_t i, k;

	for (k = 0; k < COUNT(all); k++) {
		for (i = 0; i < COUNT(s); i++) {
			s[i] = (struct ls_pred_sample){ .ranks = i % 2 ? 8 : 2, .bytes = 1024 << (i / 2 * 3) };
			s[i].seconds = ls_pred_fit_s(all[k], &known, s[i].ranks, s[i].bytes);
		}
		CU_ASSERT_EQUAL(ls_pred_fit(all[k], s, COUNT(s), &f, &err), LS_OK);
		check(fabs(f.alpha_s / 3e-6 - 1) < 1e-6 && fabs(f.bandwidth / 7e9 - 1) < 1e-6, "it finds the link that made the times", ls_pred_algorithm_name(all[k]));
		check(f.rms < 1e-6 && f.left_out < 1e-6, "without an error", ls_pred_algorithm_name(all[k]));
	}
	s[3].seconds *= 1.5;
	CU_ASSERT_EQUAL(ls_pred_fit(LS_PRED_DIRECT, s, COUNT(s), &f, &err), LS_OK);
	CU_ASSERT(f.rms > 0.05 && f.worst < -0.2 && f.left_out >= f.rms);
	CU_ASSERT_EQUAL(ls_pred_fit(LS_PRED_DIRECT, s, 1, &f, &err), LS_USAGE);
	CU_ASSERT_EQUAL(ls_pred_fit(LS_PRED_TREE, s, COUNT(s), &f, &err), LS_USAGE);
	for (i = 0; i < 4; i++)
		s[i] = (struct ls_pred_sample){ 2, 1e3 * (double)(i + 1), 1e-5 / (double)(i + 1) };
	CU_ASSERT_EQUAL(ls_pred_fit(LS_PRED_DIRECT, s, 4, &f, &err), LS_USAGE);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "do not grow with the size"));
	for (i = 0; i < 4; i++) /* a line below the origin: alpha stays at 0 */
		s[i] = (struct ls_pred_sample){ 2, 1e6 * (double)(i + 1), 1e-3 * (double)(i + 1) - 0.5e-3 };
	CU_ASSERT_EQUAL(ls_pred_fit(LS_PRED_DIRECT, s, 4, &f, &err), LS_OK);
	CU_ASSERT(f.alpha_s == 0 && f.bandwidth > 0);
}

/* --- files ------------------------------------------------------------------------------------------------------------------------- */

#define NET_HEAD "name: x\nranksPerNode: 8\nnodes: 2\nerror: 0.1\n"
#define NET_LINKS "intra: {GBps: 100}\ninter: {GBps: 10, nics: 4, oversubscription: 2}\n"
#define NET_WAY "ways:\n  - {algorithm: ring, intraUs: 1, interUs: 5, interShare: 0.5}\n"

static const struct { const char *says, *text, *want; } nets[] = {
	{ "a whole one", NET_HEAD NET_LINKS NET_WAY, NULL },
	{ "a key that is none", NET_HEAD "intar: {GBps: 1}\n" NET_LINKS NET_WAY, "net.yaml:5: intar: unknown key; did you mean intra?" },
	{ "a key that is missing", NET_HEAD "intra: {totalGBps: 100}\n" NET_WAY, "net.yaml:5: `GBps` is missing here" },
	{ "a number that is none", NET_HEAD "intra: {GBps: fast}\n" NET_WAY, "net.yaml:5: GBps: want a number from" },
	{ "out of bounds", NET_HEAD "intra: {GBps: -1}\n" NET_WAY, "net.yaml:5: GBps: want a number from" },
	{ "nodes without NICs", NET_HEAD "intra: {GBps: 1}\n" NET_WAY, "inter: missing, and `nodes` is more than 1" },
	{ "an algorithm that is none", NET_HEAD NET_LINKS "ways:\n  - {algorithm: rings, intraUs: 1, interUs: 5}\n",
		"net.yaml:8: algorithm: want one of ring, halving, direct, rails, tree, switch" },
	{ "a step between nodes is missing", NET_HEAD NET_LINKS "ways:\n  - {algorithm: ring, intraUs: 1}\n", "net.yaml:8: `interUs` is missing here" },
	{ "no way", NET_HEAD NET_LINKS "ways: []\n", "net.yaml:7: ways: want a list of at least one way" },
	{ "a switch that does not add", NET_HEAD NET_LINKS "ways:\n  - {algorithm: switch, intraUs: 1, interUs: 5}\n", "a way with the switch needs the key `switch`" },
	{ "no uncertainty", "name: x\nranksPerNode: 8\nnodes: 2\n" NET_LINKS NET_WAY, "net.yaml:1: `error` is missing here" },
	{ "no YAML", "name: [", "net.yaml:" },
	{ "a list", "- a\n", "want a map" },
};

static void test_nets(void)
{
	struct ls_pred_net net;
	size_t i;

	for (i = 0; i < COUNT(nets); i++) {
		struct ls_err err = LS_ERR_INIT;
		ls_status st = ls_pred_net_parse("net.yaml", nets[i].text, strlen(nets[i].text), &net, &err);

		check(st == (nets[i].want ? LS_USAGE : LS_OK), nets[i].says, err.text);
		check(!nets[i].want || strstr(err.text, nets[i].want), nets[i].says, err.text);
	}
	CU_ASSERT_EQUAL(ls_pred_net_parse("net.yaml", nets[0].text, strlen(nets[0].text), &net, NULL), LS_OK);
	same("bandwidth", net.intra_bw, 100e9);
	same("a way's share", net.ways[0].inter_share, 0.5);
	same("latency", net.ways[0].inter_s, 5e-6);
	CU_ASSERT_EQUAL(net.nics, 4);
}

static char dir[] = "/tmp/test-predict-XXXXXX";

static const char *put(const char *name, const char *text)
{
	static char path[200];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	CU_ASSERT_EQUAL(ls_file_publish(path, text, strlen(text), false, NULL), LS_OK);
	return path;
}

static void steps(const char *header, int ranks, int n, const char *wait)
{
	struct ls_str text = { 0 };
	int s, r;

	ls_str_addf(&text, "%s\n", header);
	for (s = 1; s <= n; s++)
		for (r = 0; r < ranks; r++)
			ls_str_addf(&text, "0,%d,%d,0,0.5,32,%d,1769860800.6%s\n", r, s, s == 1 ? 900 : 10 + s % 2 * 2, wait);
	put("steps.csv", ls_str_text(&text));
	ls_str_release(&text);
}

static void test_run(void)
{
	static const char head[] = "attempt,rank,step,epoch,loss,samples,ms,unix";
	struct ls_pred_run run = { 0 };
	struct ls_err err = LS_ERR_INIT;

	steps(head, 1, 21, "");
	CU_ASSERT_EQUAL_FATAL(ls_pred_run_read(dir, &run, &err), LS_OK);
	CU_ASSERT_EQUAL(run.n, 20);
	same("the mean without the first step", run.mean, 0.011);
	same("the batch", run.batch, 32);
	same("ascending", run.compute[0], 0.010);
	ls_pred_run_release(&run);
	steps("attempt,rank,step,epoch,loss,samples,ms,unix,wait_ms", 2, 21, ",4");
	CU_ASSERT_EQUAL(ls_pred_run_read(dir, &run, &err), LS_OK);
	CU_ASSERT_EQUAL(run.ranks, 2);
	same("less what it waited", run.mean, 0.007);
	ls_pred_run_release(&run);
	steps(head, 2, 21, "");
	CU_ASSERT_EQUAL(ls_pred_run_read(dir, &run, &err), LS_USAGE);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "run the job with -np 1"));
	steps("attempt,rank,step,epoch,loss,samples,ms,unix,wait_ms", 2, 21, ",nan");
	CU_ASSERT_EQUAL(ls_pred_run_read(dir, &run, &err), LS_USAGE);
	steps("attempt,rank,step,epoch,loss,samples,ms,unix,wait_ms", 1, 21, ",");
	CU_ASSERT_EQUAL(ls_pred_run_read(dir, &run, &err), LS_OK);
	ls_pred_run_release(&run);
	steps("attempt,rank,step", 1, 21, "");
	CU_ASSERT_EQUAL(ls_pred_run_read(dir, &run, &err), LS_USAGE);
	steps(head, 1, 5, "");
	CU_ASSERT_EQUAL(ls_pred_run_read(dir, &run, &err), LS_USAGE);
	CU_ASSERT_EQUAL(ls_pred_run_read("/no/such/run", &run, &err), LS_USAGE);
}

static void test_gradients(void)
{
	double *b = NULL;
	int n = 0;
	struct ls_err err = LS_ERR_INIT;

	CU_ASSERT_EQUAL(ls_pred_model_read(put("m.csv", "# two\ntensor,shape,elements\na,3,3\nb,10,10\nc,4,4\nd,5,5\n"), 4, 40, &b, &n, &err), LS_OK);
	CU_ASSERT_EQUAL_FATAL(n, 3);
	same("backward begins with the last: d and c", b[0], 36);
	same("b by itself", b[1], 40);
	same("a", b[2], 12);
	free(b);
	CU_ASSERT_EQUAL(ls_pred_model_read(put("m.csv", "tensor,shape,elements\na,3,many\n"), 4, 40, &b, &n, &err), LS_USAGE);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "m.csv:2: want NAME,SHAPE,ELEMENTS"));
	CU_ASSERT_EQUAL(ls_pred_equal_buckets(100, 40, &b, &n, &err), LS_OK);
	CU_ASSERT_EQUAL_FATAL(n, 3);
	same("equal buckets", b[2], 100.0 / 3);
	free(b);
	CU_ASSERT_EQUAL(ls_pred_equal_buckets(0, 40, &b, &n, &err), LS_USAGE);
}

#define MEASURED(hosts, name, algorithm) "{\"operation\": \"all-reduce\", \"ranks\": 2, \"hosts\": \"" hosts "\", \"contenders\": [{\"name\": \"" name \
	"\"}], \"rows\": [{\"size\": 8, \"results\": [{\"contender\": \"" name "\", \"algorithm\": \"" algorithm "\", \"time_us\": 2.5}]}, " \
	"{\"size\": 1024, \"results\": [{\"contender\": \"" name "\", \"unsupported\": \"no\"}]}]}"

static void test_measured(void)
{
	struct ls_pred_measured m = { 0 };
	struct ls_err err = LS_ERR_INIT;

	CU_ASSERT_EQUAL(ls_pred_measured_read(put("a.json", MEASURED("a", "shm", "slots")), NULL, LS_PRED_ALGORITHMS, &m, &err), LS_OK);
	CU_ASSERT(!m.inter && m.n == 1 && m.algorithm == LS_PRED_DIRECT);
	same("its time", m.samples[0].seconds, 2.5e-6);
	ls_pred_measured_release(&m);
	CU_ASSERT_EQUAL(ls_pred_measured_read(put("a.json", MEASURED("a, b", "mpi", "library")), NULL, LS_PRED_RING, &m, &err), LS_OK);
	CU_ASSERT(m.inter && m.algorithm == LS_PRED_RING);
	ls_pred_measured_release(&m);
	CU_ASSERT_EQUAL(ls_pred_measured_read(put("a.json", MEASURED("a", "mpi", "library")), NULL, LS_PRED_ALGORITHMS, &m, &err), LS_USAGE);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "--algorithm ring, halving or direct"));
	CU_ASSERT_EQUAL(ls_pred_measured_read(put("a.json", MEASURED("a, b, c", "mpi", "library")), NULL, LS_PRED_RING, &m, &err), LS_USAGE);
	CU_ASSERT_EQUAL(ls_pred_measured_read(put("a.json", MEASURED("a", "mpi", "library")), "shm", LS_PRED_RING, &m, &err), LS_USAGE);
	CU_ASSERT_EQUAL(ls_pred_measured_read(put("a.json", "{}"), NULL, LS_PRED_RING, &m, &err), LS_USAGE);
	CU_ASSERT_EQUAL(ls_pred_measured_read(put("a.json", "no"), NULL, LS_PRED_RING, &m, &err), LS_USAGE);
}

int main(void)
{
	CU_pSuite suite;
	unsigned failed;

	if (!mkdtemp(dir) || CU_initialize_registry())
		return 1;
	suite = CU_add_suite("predict", NULL, NULL);
	CU_add_test(suite, "collectives: closed forms", test_forms);
	CU_add_test(suite, "collectives: parts and limits", test_parts);
	CU_add_test(suite, "collectives: the cheapest way", test_cheapest);
	CU_add_test(suite, "worlds that fit", test_worlds);
	CU_add_test(suite, "overlap, by hand", test_overlap);
	CU_add_test(suite, "expected maxima", test_maxima);
	CU_add_test(suite, "a step", test_step);
	CU_add_test(suite, "fits find known links", test_fit);
	CU_add_test(suite, "topologies", test_nets);
	CU_add_test(suite, "a run's steps", test_run);
	CU_add_test(suite, "gradients", test_gradients);
	CU_add_test(suite, "measured collectives", test_measured);
	CU_basic_set_mode(CU_BRM_VERBOSE);
	CU_basic_run_tests();
	failed = CU_get_number_of_failures();
	CU_cleanup_registry();
	ls_remove_tree(dir, NULL);
	return failed > 0;
}
