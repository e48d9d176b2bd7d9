/* sampler.c -- see sampler.h.
 *
 * Random numbers: splitmix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, OOPSLA 2014), a
 * counter and a mixing function: any (seed, epoch) is a start of its own, with nothing to carry over. Shuffle:
 * Fisher and Yates's, with unbiased bounded numbers by multiplication (Lemire: Fast Random Integer Generation in an
 * Interval, TOMACS 2019). The permutations are part of the promise "same manifest, same curve": a unit test pins
 * them. */
#include "worker/sampler.h"

#include <stdlib.h>
#include <string.h>

#define GOLDEN 0x9e3779b97f4a7c15u

uint64_t ls_splitmix64(uint64_t *state)
{
	uint64_t z = *state += GOLDEN;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

/* Uniform in [0, bound): the upper half of x * bound, after refusing the few x that would favour some results. */
static uint32_t below(uint64_t *state, uint32_t bound)
{
	uint64_t m = (ls_splitmix64(state) >> 32) * bound;

	if ((uint32_t)m < bound) {
		uint32_t least = -bound % bound;

		while ((uint32_t)m < least)
			m = (ls_splitmix64(state) >> 32) * bound;
	}
	return (uint32_t)(m >> 32);
}

void ls_permutation(uint64_t seed, int64_t epoch, uint32_t *order, uint32_t n)
{
	uint64_t state = seed, mixed = ls_splitmix64(&state) + (uint64_t)epoch;
	uint32_t i, j, swap;

	state = ls_splitmix64(&mixed); /* twice mixed: neighbouring seeds and epochs start far apart */
	for (i = 0; i < n; i++)
		order[i] = i;
	for (i = n; i > 1; i--) {
		j = below(&state, i);
		swap = order[i - 1];
		order[i - 1] = order[j];
		order[j] = swap;
	}
}

ls_status ls_sampler_init(
	struct ls_sampler *s, uint64_t seed, int64_t samples, int64_t batch, int world, struct ls_err *err)
{
	if (samples < 0 || batch < 0 || !samples != !batch)
		return ls_fail(err, LS_USAGE, 0,
			"options: samples %lld and batch %lld: set both, or neither for no sampler", (long long)samples,
			(long long)batch);
	if (samples > UINT32_MAX)
		return ls_fail(err, LS_USAGE, 0, "options: %lld samples are more than the sampler's limit of %u",
			(long long)samples, UINT32_MAX);
	if (samples && batch > samples / world)
		return ls_fail(err, LS_USAGE, 0,
			"a batch of %lld on each of %d ranks is more than the %lld samples there are: use a smaller "
			"batch or fewer ranks",
			(long long)batch, world, (long long)samples);
	*s = (struct ls_sampler){ .seed = seed, .samples = samples, .batch = batch, .order_epoch = -1 };
	if (samples) {
		s->order = malloc((size_t)samples * sizeof(*s->order));
		if (!s->order)
			return ls_fail_oom(err);
	}
	return LS_OK;
}

void ls_sampler_seek(struct ls_sampler *s, uint64_t seed, int64_t epoch, int64_t used)
{
	s->seed = seed;
	s->epoch = epoch;
	s->used = used;
	s->order_epoch = -1;
}

void ls_sampler_next(struct ls_sampler *s, int rank, int world, int64_t *ret_indices)
{
	int64_t i, first;

	if (!s->samples)
		return;
	if (s->used > s->samples - s->batch * world) {
		s->epoch++;
		s->used = 0;
	}
	if (s->order_epoch != s->epoch) {
		ls_permutation(s->seed, s->epoch, s->order, (uint32_t)s->samples);
		s->order_epoch = s->epoch;
	}
	first = s->used + s->batch * rank;
	for (i = 0; i < s->batch; i++)
		ret_indices[i] = s->order[first + i];
	s->used += s->batch * world;
}

void ls_sampler_release(struct ls_sampler *s)
{
	free(s->order);
	memset(s, 0, sizeof(*s));
}
