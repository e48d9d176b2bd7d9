/* test_net.c -- which host or link a preflight calls slow: synthetic clusters, row by row. Every cluster is measured with noise; the same row is
 * tried with many seeds. */
#include "core/net.h"

#include <CUnit/Basic.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
enum { REPEATS = 7, SEEDS = 200 };

/* What is done to a cluster where every link has 10 GB/s each way, 20 us, and every rank 1 G/s and 15 GB/s. */
enum act { NONE, HOST_NET, LINK, ONE_WAY, HOST_SENDS, HOST_GETS, SPLIT, HOST_CPU, RANK_MEMORY, HOST_LATENCY, LINK_LATENCY };

static const struct {
	const char *says;
	int hosts, ranks;          /* ranks on each */
	double noise;              /* of a repeat */
	struct { enum act what; int a, b; double factor; } acts[3];
	double expect;
	const char *want;
} rows[] = {
	{ "nothing is wrong", 8, 2, 0.02, { { NONE } }, 0, "nothing is slow" },
	{ "noise of 20% is nothing", 8, 1, 0.2, { { NONE } }, 0, "nothing is slow" },
	{ "noise of 20% among three", 3, 1, 0.2, { { NONE } }, 0, "nothing is slow" },
	{ "noise of 20% among two", 2, 2, 0.2, { { NONE } }, 0, "nothing is slow" },
	{ "noise of 20% on one host", 1, 4, 0.2, { { NONE } }, 0, "nothing is slow" },
	{ "noise of 100%, as on cores that others use, too", 4, 1, 1, { { NONE } }, 0, "nothing is slow" },
	{ "which does not hide a hundredth", 4, 1, 1, { { HOST_NET, 2, 0, 0.005 } }, 0, "slow: host h2" },
	{ "a slow host, by its links", 4, 1, 0.05, { { HOST_NET, 2, 0, 0.3 } }, 0, "slow: host h2" },
	{ "of three, where two links of three are slow", 3, 1, 0.05, { { HOST_NET, 0, 0, 0.1 } }, 0, "slow: host h0" },
	{ "of many", 16, 1, 0.05, { { HOST_NET, 15, 0, 0.5 } }, 0, "slow: host h15" },
	{ "two slow hosts of five", 5, 1, 0.05, { { HOST_NET, 0, 0, 0.1 }, { HOST_NET, 3, 0, 0.2 } }, 0, "slow: host h0; host h3" },
	{ "a slow link", 4, 1, 0.05, { { LINK, 1, 3, 0.2 } }, 0, "slow: link h1 - h3" },
	{ "a slow link of three", 3, 1, 0.05, { { LINK, 0, 2, 0.2 } }, 0, "slow: link h0 - h2" },
	{ "a slow host and a slow link", 6, 1, 0.05, { { HOST_NET, 4, 0, 0.2 }, { LINK, 0, 1, 0.2 } }, 0, "slow: host h4; link h0 - h1" },
	{ "two clusters with a thin line between", 6, 1, 0.05, { { SPLIT, 3, 0, 0.1 } }, 0, "slow: between h3, h4, h5 and the others" },
	{ "two clusters of different size", 5, 1, 0.05, { { SPLIT, 3, 0, 0.1 } }, 0, "slow: between h3, h4 and the others" },
	{ "one way is slower", 4, 1, 0.05, { { ONE_WAY, 3, 1, 0.4 } }, 0, "slow: link h3 - h1" },
	{ "one way, of two hosts", 2, 1, 0.05, { { ONE_WAY, 1, 0, 0.4 } }, 0, "slow: link h1 - h0" },
	{ "a host that sends slowly", 4, 1, 0.05, { { HOST_SENDS, 2, 0, 0.1 } }, 0, "slow: host h2" },
	{ "and a slow link elsewhere", 5, 1, 0.05, { { HOST_SENDS, 2, 0, 0.1 }, { LINK, 0, 1, 0.1 } }, 0, "slow: host h2; link h0 - h1" },
	{ "a host that gets slowly, which its all-reduces do not show", 4, 1, 0.05, { { HOST_GETS, 2, 0, 0.5 } }, 0, "slow: host h2" },
	{ "two hosts: their only link may be as it should", 2, 1, 0.05, { { LINK, 0, 1, 0.1 } }, 0, "nothing is slow" },
	{ "unless a person expects more", 2, 1, 0.05, { { LINK, 0, 1, 0.1 } }, 80, "slow: link h0 - h1" },
	{ "and is content with this", 2, 1, 0.05, { { NONE } }, 80, "nothing is slow" },
	{ "all are below what is expected", 4, 1, 0.05, { { NONE } }, 400, "slow: every link is below 300 Gbit/s, 75% of the 400 expected" },
	{ "a throttled host", 4, 2, 0.05, { { HOST_CPU, 1, 0, 0.4 } }, 0, "slow: host h1" },
	{ "a throttled host of two", 2, 1, 0.05, { { HOST_CPU, 1, 0, 0.3 } }, 0, "slow: host h1" },
	{ "of two, a bit slower is not enough", 2, 1, 0.05, { { HOST_CPU, 1, 0, 0.7 } }, 0, "nothing is slow" },
	{ "a rank with slow memory", 3, 4, 0.05, { { RANK_MEMORY, 9, 0, 0.3 } }, 0, "slow: host h2" },
	{ "of one host, too", 1, 4, 0.05, { { RANK_MEMORY, 1, 0, 0.3 } }, 0, "slow: host h0" },
	{ "20% below is not slow", 4, 1, 0.02, { { HOST_NET, 1, 0, 0.8 } }, 0, "nothing is slow" },
	{ "a far host", 4, 1, 0.05, { { HOST_LATENCY, 1, 0, 20 } }, 0, "slow: host h1" },
	{ "a far link", 4, 1, 0.05, { { LINK_LATENCY, 1, 2, 20 } }, 0, "slow: link h1 - h2" },
	{ "twice the latency is another rack", 4, 1, 0.05, { { LINK_LATENCY, 1, 2, 2 } }, 0, "nothing is slow" },
};

/* Factors of link a - b for both, there, back, latency. */
static void factors(size_t row, int a, int b, double f[LS_NET_PAIR_STATS])
{
	size_t i;
	int k;

	for (k = 0; k < LS_NET_PAIR_STATS; k++)
		f[k] = 1;
	for (i = 0; i < COUNT(rows[0].acts); i++) {
		int x = rows[row].acts[i].a, y = rows[row].acts[i].b;
		double factor = rows[row].acts[i].factor;
		bool touches = a == x || b == x, is = (a == x && b == y) || (a == y && b == x);

		switch (rows[row].acts[i].what) {
		case HOST_NET: k = touches; break;
		case LINK: k = is; break;
		case SPLIT: k = (a < x) != (b < x); break;
		case ONE_WAY: f[x == a ? LS_NET_THERE : LS_NET_BACK] *= is ? factor : 1; k = 0; break;
		case HOST_SENDS:
			if (touches) {
				f[x == a ? LS_NET_THERE : LS_NET_BACK] *= factor;
				f[LS_NET_BOTH] *= factor;
			}
			k = 0;
			break;
		case HOST_GETS: f[x == a ? LS_NET_BACK : LS_NET_THERE] *= touches ? factor : 1; k = 0; break;
		case HOST_LATENCY: f[LS_NET_LATENCY] *= touches ? factor : 1; k = 0; break;
		case LINK_LATENCY: f[LS_NET_LATENCY] *= is ? factor : 1; k = 0; break;
		default: k = 0;
		}
		if (k)
			f[LS_NET_BOTH] *= factor, f[LS_NET_THERE] *= factor, f[LS_NET_BACK] *= factor;
	}
}

static double factor_of_rank(size_t row, int rank, enum ls_net_rank_stat k)
{
	double f = 1;
	size_t i;

	for (i = 0; i < COUNT(rows[0].acts); i++)
		if ((rows[row].acts[i].what == HOST_CPU && k == LS_NET_CPU && rank / rows[row].ranks == rows[row].acts[i].a) ||
			(rows[row].acts[i].what == RANK_MEMORY && k != LS_NET_CPU && rank == rows[row].acts[i].a))
			f *= rows[row].acts[i].factor;
	return f;
}

/* What disturbs a measurement makes it slower, sometimes a lot. */
static struct ls_net_stat measured(double value, double noise, bool higher)
{
	double v[REPEATS];
	int i;

	for (i = 0; i < REPEATS; i++) {
		double worse = 1 + noise * -log(1 - drand48());

		v[i] = higher ? value / worse : value * worse;
	}
	return ls_net_stat_of(v, REPEATS, higher);
}

static void fill(size_t row, struct ls_net *net)
{
	static const double usual[LS_NET_PAIR_STATS] = { 20, 10, 10, 10 };
	int a, b, k;

	for (a = 0; a < net->n_hosts; a++) {
		snprintf(net->hosts[a].name, sizeof(net->hosts[a].name), "h%d", a);
		snprintf(net->hosts[a].facts[LS_NET_KERNEL], sizeof(net->hosts[a].facts[0]), "6.1");
		for (b = a + 1; b < net->n_hosts; b++) {
			double f[LS_NET_PAIR_STATS];

			factors(row, a, b, f);
			for (k = 0; k < LS_NET_PAIR_STATS; k++)
				net->pairs[ls_net_pair_at(net->n_hosts, a, b)].stat[k] = measured(usual[k] * f[k], rows[row].noise, k != LS_NET_LATENCY);
		}
	}
	for (a = 0; a < net->n_ranks; a++) {
		net->ranks[a].host = a / rows[row].ranks;
		net->ranks[a].local = a % rows[row].ranks;
		for (k = LS_NET_CPU; k <= LS_NET_MEMORY_ALONE; k++)
			net->ranks[a].stat[k] = measured((k == LS_NET_CPU ? 1 : 15) * factor_of_rank(row, a, (enum ls_net_rank_stat)k), rows[row].noise, true);
	}
}

static bool judged_right(size_t row, long seed)
{
	struct ls_net_limits limits = { .expect_gbps = rows[row].expect };
	struct ls_net_verdict v;
	struct ls_net net;
	bool right;
	size_t i;

	srand48(seed);
	CU_ASSERT_FATAL(!ls_net_init(&net, rows[row].hosts, rows[row].hosts * rows[row].ranks, NULL));
	fill(row, &net);
	CU_ASSERT_FATAL(!ls_net_judge(&net, &limits, &v, NULL));
	right = !strcmp(ls_str_text(&v.text), rows[row].want) && v.slow == !strncmp(rows[row].want, "slow", 4);
	if (!right) {
		printf("\nFAILS: %s, seed %ld: %s\n", rows[row].says, seed, ls_str_text(&v.text));
		for (i = 0; i < v.n; i++)
			printf("  %s\n", v.v[i].text);
	}
	ls_net_verdict_release(&v);
	ls_net_release(&net);
	return right;
}

static void test_rows(void)
{
	size_t row;
	long seed;

	for (row = 0; row < COUNT(rows); row++) {
		for (seed = 1; seed <= SEEDS && judged_right(row, seed); seed++)
			;
		CU_ASSERT_EQUAL(seed, SEEDS + 1);
	}
}

static bool has(const struct ls_net_verdict *v, const char *text, bool slow)
{
	size_t i;

	for (i = 0; i < v->n; i++)
		if (strstr(v->v[i].text, text) && v->v[i].slow == slow)
			return true;
	printf("\nFAILS: no finding has: %s\n", text);
	return false;
}

static void test_worth_a_look(void)
{
	struct ls_net_limits limits = { 0 };
	struct ls_net_verdict v;
	struct ls_net net;

	CU_ASSERT_FATAL(!ls_net_init(&net, 4, 4, NULL));
	fill(0, &net);
	for (int i = 0; i < 4; i++)
		net.ranks[i] = (struct ls_net_rank){ .host = i };
	strcpy(net.hosts[2].facts[LS_NET_KERNEL], "5.10");
	strcpy(net.hosts[1].facts[LS_NET_GPU], "8 x H100");
	strcpy(net.hosts[3].facts[LS_NET_GPU], "8 x H100");
	net.hosts[3].clock_ms = -2500;
	net.ranks[0].gpu_bad = true;
	strcpy(net.ranks[0].gpu, "in exclusive use");
	CU_ASSERT_FATAL(!ls_net_judge(&net, &limits, &v, NULL));
	CU_ASSERT(has(&v, "host h2: kernel is 5.10, where 6.1 is usual", false));
	CU_ASSERT(has(&v, "host h0, h2: GPU is none; hosts differ", false));
	CU_ASSERT(has(&v, "host h1, h3: GPU is 8 x H100; hosts differ", false));
	CU_ASSERT(has(&v, "host h3: its clock is 2500 ms behind the others'", false));
	CU_ASSERT(has(&v, "host h0: the GPU of its rank 0 cannot be used: in exclusive use", true));
	CU_ASSERT_STRING_EQUAL(ls_str_text(&v.text), "slow: host h0");
	ls_net_verdict_release(&v);
	ls_net_release(&net);
}

/* Every two meet once, nobody is in two places, and no round has room for one more pair. */
static void test_tournament(void)
{
	int hosts, round, h, other;

	for (hosts = 2; hosts < 40; hosts++) {
		bool *met = calloc(ls_net_pairs(hosts), sizeof(*met));
		size_t n = 0;

		for (round = 0; round < ls_net_rounds(hosts); round++) {
			int idle = 0;

			for (h = 0; h < hosts; h++) {
				other = ls_net_opponent(hosts, round, h);
				idle += other < 0;
				if (other < 0)
					continue;
				CU_ASSERT_EQUAL(ls_net_opponent(hosts, round, other), h);
				n += h < other && !met[ls_net_pair_at(hosts, h, other)];
				met[ls_net_pair_at(hosts, h, other)] = true;
			}
			CU_ASSERT_EQUAL(idle, hosts % 2);
		}
		CU_ASSERT_EQUAL(n, ls_net_pairs(hosts));
		free(met);
	}
	CU_ASSERT_EQUAL(ls_net_rounds(1), 0);
}

static void put(struct ls_net *to, cJSON *o)
{
	CU_ASSERT_EQUAL(ls_net_take(to, o, NULL), LS_OK);
	cJSON_Delete(o);
}

static bool same(const struct ls_net_stat *a, const struct ls_net_stat *b, int n)
{
	int i;

	for (i = 0; i < n; i++)
		if (a[i].mid != b[i].mid || a[i].best != b[i].best || a[i].spread != b[i].spread || a[i].n != b[i].n)
			return false;
	return true;
}

static void test_json(void)
{
	static const char *const bad[] = { "{}", "{\"host\": 9}", "{\"rank\": -1}", "{\"a\": 1, \"b\": 1}", "{\"a\": 2, \"b\": 1}", "{\"rank\": 0, \"onHost\": 3}",
		"{\"hosts\": 3, \"ranks\": 6}", "[]", "{\"rank\": 0.5}" };
	struct ls_net from, to = { 0 };
	cJSON *size = cJSON_Parse("{\"hosts\": 3, \"ranks\": 6}"), *o;
	size_t i;
	int a, b;

	srand48(1);
	CU_ASSERT_FATAL(!ls_net_init(&from, 3, 6, NULL));
	fill(9, &from); /* some cluster */
	for (a = 0; a < 6; a++)
		from.ranks[a].host = a / 2;
	from.pairs[1].again = true;
	from.hosts[1].clock_ms = 1.5;
	o = ls_net_host_json(&from, 0);
	CU_ASSERT_EQUAL(ls_net_take(&to, o, NULL), LS_USAGE); /* before the size */
	cJSON_Delete(o);
	put(&to, size);
	for (a = 0; a < 3; a++)
		put(&to, ls_net_host_json(&from, a));
	for (a = 0; a < 6; a++)
		put(&to, ls_net_rank_json(&from, a));
	for (a = 0; a < 3; a++)
		for (b = a + 1; b < 3; b++)
			put(&to, ls_net_pair_json(&from, a, b));
	put(&to, ls_net_all_json(&from));
	for (i = 0; i < 3; i++)
		CU_ASSERT(to.pairs[i].again == from.pairs[i].again && same(from.pairs[i].stat, to.pairs[i].stat, LS_NET_PAIR_STATS));
	for (i = 0; i < 6; i++)
		CU_ASSERT(to.ranks[i].host == (int)i / 2 && same(from.ranks[i].stat, to.ranks[i].stat, LS_NET_RANK_STATS));
	CU_ASSERT(to.hosts[1].clock_ms == 1.5 && !strcmp(to.hosts[1].name, "h1"));
	for (i = 0; i < COUNT(bad); i++) {
		o = cJSON_Parse(bad[i]);
		if (ls_net_take(&to, o, NULL) != LS_USAGE)
			printf("\nFAILS: taken: %s\n", bad[i]);
		CU_ASSERT_EQUAL(ls_net_take(&to, o, NULL), LS_USAGE);
		cJSON_Delete(o);
	}
	ls_net_release(&from);
	ls_net_release(&to);
}

int main(void)
{
	unsigned failures;
	CU_pSuite s;

	if (CU_initialize_registry() || !(s = CU_add_suite("net", NULL, NULL)))
		return 1;
	CU_add_test(s, "which is slow", test_rows);
	CU_add_test(s, "what is worth a look", test_worth_a_look);
	CU_add_test(s, "the order in which hosts meet", test_tournament);
	CU_add_test(s, "JSON there and back", test_json);
	CU_basic_run_tests();
	failures = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failures != 0;
}
