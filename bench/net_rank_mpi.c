/* net_rank_mpi.c -- the rank program of `lockstep bench net` and `lockstep run --preflight`; started by `lockstep run`, on every host.
 *
 *     CPU, memory       all ranks at once; then one rank of each host alone
 *     GPU               all ranks at once
 *     pairs of hosts    rounds of a tournament (core/net.h), all pairs of a round at once; local rank i of one host with local rank i of the other
 *     over all          Lockstep's own all-reduce
 *     suspects          the pairs that are not usual, once more, each alone
 *
 * What was measured goes to rank 0, which prints it as lines of JSON; the launcher judges. Who has nothing to do sleeps: a rank that
 * spins in a barrier would take the core, or the memory, of one that measures. */
#include "bench/net_mpi.h"
#include "lockstep/collectives.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MIB ((size_t)1 << 20)

enum { TRIPS = 10, PASSES = 3 };

/* --- CPU, memory, GPU ----------------------------------------------------------------------------------------------------------- */

static void measure_cpu(struct net_self *s)
{
	/* Longer than the period in which a control group gives out its share of the processors. */
	double v[NET_REPEATS], each = fmax(0.11, 0.02 * s->seconds);
	int i;

	net_phase(s, "CPU speed of every rank");
	net_meet();
	for (i = 0; i < NET_REPEATS; i++)
		v[i] = net_cpu(each);
	net_keep_better(&s->mine.stat[LS_NET_CPU], ls_net_stat_of(v, NET_REPEATS, true), true);
}

static void memory_repeats(struct net_memory *m, double each, struct ls_net_stat *ret)
{
	double v[NET_REPEATS];
	int i;

	for (i = 0; i < NET_REPEATS; i++)
		v[i] = net_memory(m, each);
	net_keep_better(ret, ls_net_stat_of(v, NET_REPEATS, true), true);
}

static void measure_memory(struct net_self *s)
{
	double each = fmax(0.02, 0.02 * s->seconds), alone = fmax(0.01, 0.1 * s->seconds / s->max_local / NET_REPEATS);
	struct net_memory m;
	struct ls_err err = LS_ERR_INIT;
	int turn;

	net_phase(s, "memory bandwidth of every rank");
	if (net_memory_open(&m, s->ranks_on[s->host], &err))
		net_die("%s", err.text);
	net_meet();
	memory_repeats(&m, each, &s->mine.stat[LS_NET_MEMORY]);
	for (turn = 0; s->max_local > 1 && turn < s->max_local; turn++) {
		net_meet();
		if (turn == s->local)
			memory_repeats(&m, alone, &s->mine.stat[LS_NET_MEMORY_ALONE]);
	}
	net_memory_close(&m);
}

static void measure_gpu(struct net_self *s)
{
	net_phase(s, "GPUs");
	net_meet();
	net_gpu(&s->mine, &s->host_facts, 0.15 * s->seconds);
}

static void gather_ranks(struct net_self *s)
{
	MPI_Gather(&s->mine, sizeof(s->mine), MPI_BYTE, s->net.ranks, sizeof(s->mine), MPI_BYTE, 0, MPI_COMM_WORLD);
}

/* --- clocks --------------------------------------------------------------------------------------------------------------------- */

static double wall_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return 1e3 * (double)t.tv_sec + 1e-6 * (double)t.tv_nsec;
}

/* The answer of the quickest of some round trips was written in its middle, give or take half of it. */
static void ask_clock(struct net_self *s, int peer)
{
	double best = INFINITY, there;
	int i;

	for (i = 0; i < TRIPS; i++) {
		double t0 = wall_ms(), t1;

		MPI_Send(&t0, 1, MPI_DOUBLE, peer, NET_TAG_CLOCK, MPI_COMM_WORLD);
		MPI_Recv(&there, 1, MPI_DOUBLE, peer, NET_TAG_CLOCK, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
		t1 = wall_ms();
		if (t1 - t0 < best) {
			best = t1 - t0;
			s->net.hosts[s->who[peer].host].clock_ms = there - (t0 + t1) / 2;
			s->net.hosts[s->who[peer].host].clock_error_ms = best / 2;
		}
	}
}

static void measure_clocks(struct net_self *s)
{
	double now;
	int h, i;

	for (h = 1; h < s->hosts; h++) {
		int peer = net_rank_at(s, h, 0);

		if (s->rank == 0)
			ask_clock(s, peer);
		for (i = 0; s->rank == peer && i < TRIPS; i++) {
			MPI_Recv(&now, 1, MPI_DOUBLE, 0, NET_TAG_CLOCK, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
			now = wall_ms();
			MPI_Send(&now, 1, MPI_DOUBLE, 0, NET_TAG_CLOCK, MPI_COMM_WORLD);
		}
	}
}

/* --- suspects ------------------------------------------------------------------------------------------------------------------- */

/* What looks slow is measured again, a few times: only what always is slow stays so. */
static void measure_suspects(struct net_self *s)
{
	struct ls_net_limits limits = { .below = s->below };
	struct ls_net_verdict v = { 0 };
	int pass, doubts[2] = { 0, 0 }; /* of ranks, of pairs */
	size_t i;

	for (pass = 0; pass < PASSES; pass++) {
		gather_ranks(s);
		if (s->rank == 0) {
			if (ls_net_judge(&s->net, &limits, &v, NULL))
				net_die("out of memory");
			doubts[0] = doubts[1] = 0;
			for (i = 0; i < v.n; i++)
				doubts[0] |= v.v[i].slow && v.v[i].other < 0;
			for (i = 0; i < ls_net_pairs(s->hosts); i++)
				doubts[1] |= v.suspect[i];
		}
		net_tell(doubts, 2);
		if (doubts[0]) {
			measure_cpu(s);
			measure_memory(s);
		}
		if (doubts[1])
			net_pairs_again(s, &v, 0.2 * s->seconds);
		ls_net_verdict_release(&v);
		if (!doubts[0] && !doubts[1])
			return;
	}
	gather_ranks(s);
}

/* --- over all ------------------------------------------------------------------------------------------------------------------- */

static void must(lockstep_status st, const struct lockstep_err *err)
{
	if (st)
		net_die("%s", err->text);
}

/* Seconds of one of `n` operations, as the slowest rank sees it. */
static double all_reduces(struct lockstep_coll *c, int n)
{
	struct lockstep_err err = { 0 };
	double took;
	int i;

	net_meet();
	took = net_now();
	for (i = 0; i < n; i++) {
		must(lockstep_coll_start(c, &err), &err);
		must(lockstep_coll_wait(c, &err), &err);
	}
	took = (net_now() - took) / n;
	MPI_Allreduce(MPI_IN_PLACE, &took, 1, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);
	return took;
}

static struct lockstep_coll *make_all_reduce(struct net_self *s, size_t bytes)
{
	struct lockstep_err err = { 0 };
	struct lockstep_coll *c = NULL;

	must(lockstep_coll_init(s->comm, LOCKSTEP_ALL_REDUCE, s->send, s->send, bytes / sizeof(float), LOCKSTEP_F32, LOCKSTEP_SUM, 0, &c, &err), &err);
	return c;
}

/* 8 bytes, and as much as fits into the time, up to 4 MiB: all ranks see the same time, and so choose the same. */
static void measure_all(struct net_self *s)
{
	double v[NET_REPEATS], each = 0.05 * s->seconds / NET_REPEATS, took;
	struct lockstep_coll *c;
	size_t bytes;
	int k, i, n;

	net_phase(s, "all-reduce over all ranks");
	for (k = LS_NET_LATENCY; k <= LS_NET_BOTH; k++) {
		bytes = k == LS_NET_LATENCY ? 8 : NET_MIN_BYTES;
		for (;;) { /* the first is for connections */
			c = make_all_reduce(s, bytes);
			took = all_reduces(c, 1);
			if (k == LS_NET_LATENCY || took > each / 4 || bytes >= 4 * MIB)
				break;
			lockstep_coll_free(c);
			bytes *= 2;
		}
		n = (int)fmin(fmax(each / took, 1), NET_MAX_OPS);
		for (i = 0; i < NET_REPEATS; i++) {
			took = all_reduces(c, n);
			v[i] = k == LS_NET_LATENCY ? 1e6 * took : (double)bytes / took / 1e9;
		}
		s->net.all[k] = ls_net_stat_of(v, NET_REPEATS, k == LS_NET_BOTH);
		lockstep_coll_free(c);
	}
}

/* --- the whole ------------------------------------------------------------------------------------------------------------------ */

/* All that rank 0 knows, and hosts' facts. */
static void report(struct net_self *s)
{
	int h, i;

	if (s->rank && !s->local)
		MPI_Send(&s->host_facts, sizeof(s->host_facts), MPI_BYTE, 0, NET_TAG_HOST, MPI_COMM_WORLD);
	for (h = 0; s->rank == 0 && h < s->hosts; h++) {
		struct ls_net_host *to = &s->net.hosts[h], was = *to;

		if (h)
			MPI_Recv(to, sizeof(*to), MPI_BYTE, net_rank_at(s, h, 0), NET_TAG_HOST, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
		else
			*to = s->host_facts;
		to->clock_ms = was.clock_ms;
		to->clock_error_ms = was.clock_error_ms;
		net_print(ls_net_host_json(&s->net, h));
	}
	for (i = 0; s->rank == 0 && i < s->world; i++)
		net_print(ls_net_rank_json(&s->net, i));
	for (h = 0; s->rank == 0 && h < s->hosts; h++)
		for (i = h + 1; i < s->hosts; i++)
			net_print(ls_net_pair_json(&s->net, h, i));
	if (s->rank == 0)
		net_print(ls_net_all_json(&s->net));
}

static void begin(struct net_self *s)
{
	struct lockstep_comm_options opt = { 0 };
	struct lockstep_err err = { 0 };
	char version[MPI_MAX_LIBRARY_VERSION_STRING];
	int len;
	cJSON *o;

	must(lockstep_comm_open(&opt, &s->comm, &err), &err);
	s->rank = lockstep_comm_rank(s->comm);
	s->world = lockstep_comm_world_size(s->comm);
	net_facts(&s->host_facts);
	MPI_Get_library_version(version, &len);
	snprintf(s->host_facts.facts[LS_NET_MPI], sizeof(s->host_facts.facts[0]), "%.*s", (int)strcspn(version, ",\n"), version);
	net_learn_who(s);
	s->send = calloc(1, NET_MAX_BYTES);
	s->recv = calloc(1, NET_MAX_BYTES);
	if (!s->send || !s->recv || (s->rank == 0 && ls_net_init(&s->net, s->hosts, s->world, NULL)))
		net_die("out of memory");
	if (s->rank)
		return;
	o = cJSON_CreateObject();
	cJSON_AddNumberToObject(o, "hosts", s->hosts);
	cJSON_AddNumberToObject(o, "ranks", s->world);
	net_print(o);
}

int main(int argc, char **argv)
{
	struct net_self s = { .seconds = argc > 1 ? atof(argv[1]) : 0, .below = argc > 2 ? atof(argv[2]) : 0 };

	if (argc != 3 || !(s.seconds > 0))
		net_die("want: SECONDS BELOW");
	begin(&s);
	measure_cpu(&s);
	measure_memory(&s);
	measure_gpu(&s);
	net_meet();
	measure_clocks(&s);
	net_rounds(&s);
	net_meet();
	measure_all(&s);
	measure_suspects(&s);
	report(&s);
	ls_net_release(&s.net);
	lockstep_comm_close(s.comm, 1);
	free(s.send);
	free(s.recv);
	free(s.who);
	free(s.rank_at);
	free(s.ranks_on);
	return 0;
}
