/* nodes.c -- which ranks can share memory, and in which blocks sums are made.
 *
 * A node is a boot id and a network namespace: ranks of one machine in two containers with networks of their own cannot find each
 * other's socket, and count as two nodes. */
#include "collectives/backend.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct key {
	char text[64]; /* zero-padded: compared as bytes */
};

static ls_status own_key(struct key *ret, struct ls_err *err)
{
	const char *forced = getenv("LOCKSTEP_NODE_KEY");
	struct stat net;
	char boot[37] = "";
	FILE *f;

	memset(ret, 0, sizeof(*ret));
	if (forced && *forced) {
		if (strlen(forced) >= sizeof(ret->text))
			return ls_fail(err, LS_USAGE, 0, "environment: LOCKSTEP_NODE_KEY is longer than %zu characters", sizeof(ret->text) - 1);
		strcpy(ret->text, forced);
		return LS_OK;
	}
	f = fopen("/proc/sys/kernel/random/boot_id", "re");
	if (!f || !fgets(boot, sizeof(boot), f) || stat("/proc/self/ns/net", &net) < 0) {
		if (f)
			fclose(f);
		return ls_fail(err, LS_NODE_LOST, errno, "/proc tells neither boot id nor network namespace: is it mounted?");
	}
	fclose(f);
	snprintf(ret->text, sizeof(ret->text), "%s %llu", boot, (unsigned long long)net.st_ino);
	return LS_OK;
}

static int gcd(int a, int b)
{
	while (b) {
		int rest = a % b;

		a = b;
		b = rest;
	}
	return a;
}

/* The largest block of consecutive ranks that no node cuts: blocks begin at multiples of it, and so does every change of node. */
static int uncut_block(const struct key *keys, int world)
{
	int r, block = world;

	for (r = 1; r < world; r++)
		if (memcmp(&keys[r], &keys[r - 1], sizeof(*keys)))
			block = gcd(block, r);
	return block;
}

static void count_nodes(const struct key *keys, struct ls_comm *c)
{
	int r, q, lowest;

	c->local_rank = c->local_world = c->nodes = c->node = 0;
	for (r = 0; r < c->world; r++) {
		bool mine = !memcmp(&keys[r], &keys[c->rank], sizeof(*keys));

		for (lowest = 0, q = r; q > 0 && !lowest; q--)
			lowest = !memcmp(&keys[q - 1], &keys[r], sizeof(*keys));
		if (!lowest) {
			if (mine)
				c->node = c->nodes;
			c->nodes++;
		}
		c->local_world += mine;
		c->local_rank += mine && r < c->rank;
	}
}

ls_status ls_nodes_learn(const struct ls_bootstrap *b, int group, struct ls_comm *ret, struct ls_err *err)
{
	struct key mine, *all = calloc((size_t)b->world, sizeof(*all));
	ls_status st, own;
	int r;

	if (!all)
		return ls_fail_oom(err);
	own = own_key(&mine, err); /* one that fails is told as no key, lest the others wait */
	st = b->allgather(b->ctx, &mine, all, sizeof(mine), own ? NULL : err);
	for (r = 0; !st && !own && r < b->world; r++)
		if (!all[r].text[0])
			st = ls_fail(err, LS_NODE_LOST, 0, "rank %d cannot tell which node it is on; it says why", r);
	st = own ? own : st;
	if (!st) {
		ret->rank = b->rank;
		ret->world = b->world;
		count_nodes(all, ret);
		ret->group = group ? group : uncut_block(all, b->world);
	}
	free(all);
	return st;
}
