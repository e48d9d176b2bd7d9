/* test_sampler.c -- the order of the data: pinned, complete, and continued exactly, also by a world of another size. */
#include "worker/sampler.h"

#include <CUnit/Basic.h>

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void test_stream(void)
{
	/* The reference implementation's first numbers for seed 1234567. */
	static const uint64_t want[] = {
		6457827717110365317u, 3203168211198807973u, 9817491932198370423u, 4593380528125082431u};
	uint64_t state = 1234567;
	size_t i;

	for (i = 0; i < sizeof(want) / sizeof(want[0]); i++)
		CU_ASSERT_EQUAL(ls_splitmix64(&state), want[i]);
}

/* A change of these rows changes the loss curve of every job: it needs a new major version. */
static const struct {
	const char *says;
	uint64_t seed;
	int64_t epoch;
	uint32_t want[8];
} pinned[] = {
	{ "seed 1, epoch 0", 1, 0, { 0, 3, 7, 1, 4, 2, 6, 5 } },
	{ "seed 1, epoch 1", 1, 1, { 7, 3, 0, 2, 1, 5, 4, 6 } },
	{ "seed 2, epoch 0", 2, 0, { 2, 7, 5, 6, 1, 3, 4, 0 } },
	{ "a large seed and epoch", 0xffffffffffffffffu, 1000000, { 6, 1, 4, 7, 3, 2, 5, 0 } },
};

static void test_pinned(void)
{
	uint32_t order[8];
	size_t i, k;

	for (i = 0; i < sizeof(pinned) / sizeof(pinned[0]); i++) {
		ls_permutation(pinned[i].seed, pinned[i].epoch, order, 8);
		if (memcmp(order, pinned[i].want, sizeof(order))) {
			fprintf(stderr, "\n  row: %s: got", pinned[i].says);
			for (k = 0; k < 8; k++)
				fprintf(stderr, " %u", order[k]);
			fprintf(stderr, "\n");
			CU_FAIL("a permutation changed");
		}
	}
}

/* Each of N things in each place about equally often. For whole permutations the statistic is N / (N - 1) times a
 * chi-square of (N - 1)^2 = 16 degrees of freedom, whose 0.1 % bound is 39.3. */
static void test_uniform(void)
{
	enum { N = 5, TRIES = 20000 };
	unsigned seen[N][N] = { { 0 } };
	uint32_t order[N];
	double chi = 0;
	int e, i, j;

	for (e = 0; e < TRIES; e++) {
		ls_permutation(7, e, order, N);
		for (i = 0; i < N; i++)
			seen[i][order[i]]++;
	}
	for (i = 0; i < N; i++)
		for (j = 0; j < N; j++)
			chi += ((double)seen[i][j] - TRIES / N) * ((double)seen[i][j] - TRIES / N) / (TRIES / N);
	CU_ASSERT(chi < 39.3 * N / (N - 1));
}

static const struct {
	const char *says;
	int64_t samples, batch;
	int world, steps, next_world; /* steps with `world`, then `next_world` to the end of the epoch */
	int64_t used;                 /* samples that the epoch gives in all */
} epochs[] = {
	{ "one rank, the rest is dropped", 100, 7, 1, 14, 1, 98 },
	{ "four ranks", 1000, 10, 4, 25, 4, 1000 },
	{ "one batch is the whole epoch", 12, 3, 4, 1, 4, 12 },
	{ "four ranks shrink to two in the middle", 96, 4, 4, 3, 2, 96 },
	{ "two ranks grow to three in the middle", 100, 5, 2, 4, 3, 100 },
};

/* Walk one epoch: no sample comes twice, as many come as promised, ranks' parts are consecutive in the permutation. */
static void test_epochs(void)
{
	size_t row;

	for (row = 0; row < sizeof(epochs) / sizeof(epochs[0]); row++) {
		int64_t samples = epochs[row].samples, batch = epochs[row].batch, total = 0, idx[16], i;
		bool *seen = calloc((size_t)samples, sizeof(*seen)), ok = seen != NULL;
		int world = epochs[row].world, step, rank;
		int64_t epoch = 0, used = 0;

		for (step = 0; ok; step++) {
			struct ls_sampler s;

			if (step == epochs[row].steps)
				world = epochs[row].next_world;
			for (rank = 0; rank < world; rank++) { /* each rank has its own, restored from (epoch, used) */
				ok = ok && !ls_sampler_init(&s, 3, samples, batch, world, NULL);
				ls_sampler_seek(&s, 3, epoch, used);
				ls_sampler_next(&s, rank, world, idx);
				for (i = 0; i < batch && s.epoch == 0; i++, total++) {
					ok = ok && idx[i] >= 0 && idx[i] < samples && !seen[idx[i]];
					seen[idx[i]] = true;
				}
				if (rank < world - 1)
					ls_sampler_release(&s);
			}
			epoch = s.epoch;
			used = s.used;
			ls_sampler_release(&s);
			if (epoch > 0)
				break;
		}
		if (!ok || total != epochs[row].used) {
			fprintf(stderr, "\n  row: %s: %lld samples\n", epochs[row].says, (long long)total);
			CU_FAIL("an epoch");
		}
		free(seen);
	}
}

/* A sampler that is sought to where another stands gives what the other gives, over the ends of epochs. */
static void test_resume(void)
{
	struct ls_sampler a, b;
	int64_t x[4], y[4];
	int step;

	CU_ASSERT_FATAL(!ls_sampler_init(&a, 9, 50, 4, 3, NULL));
	CU_ASSERT_FATAL(!ls_sampler_init(&b, 1, 50, 4, 3, NULL));
	for (step = 0; step < 40; step++) {
		ls_sampler_seek(&b, a.seed, a.epoch, a.used);
		ls_sampler_next(&a, step % 3, 3, x);
		ls_sampler_next(&b, step % 3, 3, y);
		CU_ASSERT(!memcmp(x, y, sizeof(x)));
	}
	CU_ASSERT_EQUAL(a.epoch, 9);
	ls_sampler_release(&a);
	ls_sampler_release(&b);
}

static const struct {
	const char *says;
	int64_t samples, batch;
	int world;
	const char *want;
} wrong[] = {
	{ "a batch without samples", 0, 8, 1, "set both" },
	{ "samples without a batch", 8, 0, 1, "set both" },
	{ "more samples a step than there are", 100, 30, 4, "more than the 100 samples" },
	{ "too many samples for 32 bits", 5000000000, 1, 1, "limit" },
	{ "a negative batch", 10, -1, 1, "set both" },
};

static void test_wrong(void)
{
	size_t i;

	for (i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		struct ls_err err = LS_ERR_INIT;
		struct ls_sampler s = { 0 };
		ls_status st = ls_sampler_init(&s, 0, wrong[i].samples, wrong[i].batch, wrong[i].world, &err);

		if (st != LS_USAGE || !strstr(err.text, wrong[i].want)) {
			fprintf(stderr, "\n  row: %s: %s\n", wrong[i].says, err.text);
			CU_FAIL("a wrong option");
		}
		ls_sampler_release(&s);
	}
}

static void test_none(void)
{
	struct ls_sampler s;
	int64_t untouched = 42;

	CU_ASSERT_FATAL(!ls_sampler_init(&s, 0, 0, 0, 2, NULL));
	ls_sampler_next(&s, 0, 2, &untouched);
	CU_ASSERT_EQUAL(untouched, 42);
	ls_sampler_release(&s);
}

int main(void)
{
	CU_pSuite suite;
	unsigned failed;

	if (CU_initialize_registry() != CUE_SUCCESS)
		return 1;
	suite = CU_add_suite("sampler", NULL, NULL);
	CU_add_test(suite, "stream", test_stream);
	CU_add_test(suite, "pinned", test_pinned);
	CU_add_test(suite, "uniform", test_uniform);
	CU_add_test(suite, "epochs", test_epochs);
	CU_add_test(suite, "resume", test_resume);
	CU_add_test(suite, "wrong", test_wrong);
	CU_add_test(suite, "none", test_none);
	CU_basic_run_tests();
	failed = CU_get_number_of_failures() + (CU_get_number_of_tests_run() == 0);
	CU_cleanup_registry();
	return failed != 0;
}
