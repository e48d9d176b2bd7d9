/* net_mpi_pairs.c -- see net_mpi.h: two hosts, measured by their ranks of the same number, of which the lower host's leads. */
#include "bench/net_mpi.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { MOST_GROWTH = 8, MAX_STEPS = 8 };

/* One rail of one pair, as its leader tells rank 0. */
struct result {
	int a, b, rail;
	int n[LS_NET_PAIR_STATS];
	double v[LS_NET_PAIR_STATS][NET_REPEATS];
};

/* --- a pair --------------------------------------------------------------------------------------------------------------------- */

/* An all-reduce of two: each adds up one half, and gives it to the other. */
static void all_reduce(struct net_self *s, int peer, bool leads, size_t bytes)
{
	size_t half = bytes / 2, i;
	char *mine = s->send + (leads ? 0 : half), *theirs = s->send + (leads ? half : 0);
	float *sum = (float *)(void *)mine;
	const float *add = (const float *)(const void *)s->recv;

	MPI_Sendrecv(theirs, (int)half, MPI_BYTE, peer, NET_TAG_DATA, s->recv, (int)half, MPI_BYTE, peer, NET_TAG_DATA, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
	for (i = 0; i < half / sizeof(float); i++)
		sum[i] += add[i];
	MPI_Sendrecv(mine, (int)half, MPI_BYTE, peer, NET_TAG_DATA, theirs, (int)half, MPI_BYTE, peer, NET_TAG_DATA, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
}

static void exchange(int peer)
{
	double mine = 1, theirs;

	MPI_Sendrecv(&mine, 1, MPI_DOUBLE, peer, NET_TAG_DATA, &theirs, 1, MPI_DOUBLE, peer, NET_TAG_DATA, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
}

static void operate(struct net_self *s, int peer, bool leads, enum ls_net_pair_stat k, const long plan[2])
{
	bool sends = leads == (k == LS_NET_THERE);
	long i;

	for (i = 0; i < plan[0]; i++) {
		if (k == LS_NET_LATENCY)
			exchange(peer);
		else if (k == LS_NET_BOTH)
			all_reduce(s, peer, leads, (size_t)plan[1]);
		else if (sends)
			MPI_Send(s->send, (int)plan[1], MPI_BYTE, peer, NET_TAG_DATA, MPI_COMM_WORLD);
		else
			MPI_Recv(s->recv, (int)plan[1], MPI_BYTE, peer, NET_TAG_DATA, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
	}
	if (k == LS_NET_THERE) /* sent is not received */
		MPI_Sendrecv(NULL, 0, MPI_BYTE, peer, NET_TAG_READY, NULL, 0, MPI_BYTE, peer, NET_TAG_READY, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
}

/* The follower does what it is told, until nothing more. */
static void follow(struct net_self *s, int peer)
{
	long plan[2];
	int k;

	for (k = 0; k < LS_NET_PAIR_STATS; k++)
		for (;;) {
			MPI_Recv(plan, 2, MPI_LONG, peer, NET_TAG_PLAN, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
			if (!plan[0])
				break;
			MPI_Send(NULL, 0, MPI_BYTE, peer, NET_TAG_READY, MPI_COMM_WORLD);
			operate(s, peer, false, (enum ls_net_pair_stat)k, plan);
		}
}

static double run_plan(struct net_self *s, int peer, enum ls_net_pair_stat k, const long plan[2])
{
	double begun;

	MPI_Send(plan, 2, MPI_LONG, peer, NET_TAG_PLAN, MPI_COMM_WORLD);
	MPI_Recv(NULL, 0, MPI_BYTE, peer, NET_TAG_READY, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
	begun = net_now();
	operate(s, peer, true, k, plan);
	return fmax(net_now() - begun, 1e-7);
}

/* Size and number of operations of the next run, that it takes about `each` seconds; in steps: a small run says little of a link that lets a burst
 * pass, and a large one would take long on a slow link. */
static void next_plan(enum ls_net_pair_stat k, double each, double took, long plan[2])
{
	double done = (double)plan[0] * (double)plan[1], total = fmin(done * each / took, MOST_GROWTH * done);

	if (k != LS_NET_LATENCY)
		plan[1] = (long)fmin(fmax(total, NET_MIN_BYTES), NET_MAX_BYTES) / 1024 * 1024;
	plan[0] = (long)fmin(fmax(total / (double)plan[1], 1), NET_MAX_OPS);
}

/* A slow link gets fewer repeats rather than more time; two at least. The runs before are for connections and sizes. */
static void lead_one(struct net_self *s, int peer, enum ls_net_pair_stat k, double seconds, struct result *r)
{
	static const long end[2] = { 0, 0 };
	long plan[2] = { k == LS_NET_LATENCY ? 4 : 1, k == LS_NET_LATENCY ? 8 : NET_MIN_BYTES };
	double each = seconds / (NET_REPEATS + 1), begun = net_now(), took = 0;
	int i;

	for (i = 0; i < MAX_STEPS && took < each / 2; i++) {
		took = run_plan(s, peer, k, plan);
		next_plan(k, each, took, plan);
	}
	for (i = 0; i < NET_REPEATS && (i < 2 || net_now() - begun < 4 * seconds); i++) {
		took = run_plan(s, peer, k, plan);
		r->v[k][i] = k == LS_NET_LATENCY ? 1e6 * took / (double)plan[0] : (double)plan[0] * (double)plan[1] / took / 1e9;
		next_plan(k, each, took, plan);
	}
	r->n[k] = i;
	MPI_Send(end, 2, MPI_LONG, peer, NET_TAG_PLAN, MPI_COMM_WORLD);
}

/* This rank's part of measuring a - b. True: it has led a rail, and what that gave is in *ret. */
static bool take_part(struct net_self *s, int a, int b, double seconds, struct result *ret)
{
	static const double parts[LS_NET_PAIR_STATS] = { 0.1, 0.4, 0.25, 0.25 };
	int k;

	if ((s->host != a && s->host != b) || s->local >= net_rails(s, a, b))
		return false;
	if (s->host == b) {
		follow(s, net_rank_at(s, a, s->local));
		return false;
	}
	*ret = (struct result){ .a = a, .b = b, .rail = s->local };
	for (k = 0; k < LS_NET_PAIR_STATS; k++)
		lead_one(s, net_rank_at(s, b, s->local), (enum ls_net_pair_stat)k, parts[k] * seconds, ret);
	return true;
}

/* --- pairs, at rank 0 ----------------------------------------------------------------------------------------------------------- */

/* What rails carry at once adds up; a latency is the first rail's. */
static void add_result(struct result *sum, const struct result *r)
{
	int k, i;

	for (k = 0; k < LS_NET_PAIR_STATS; k++) {
		if (k == LS_NET_LATENCY && r->rail)
			continue;
		sum->n[k] = !sum->n[k] || r->n[k] < sum->n[k] ? r->n[k] : sum->n[k];
		for (i = 0; i < r->n[k]; i++)
			sum->v[k][i] += r->v[k][i];
	}
}

static void take_sum(struct net_self *s, int a, int b, struct result *sum)
{
	struct ls_net_pair *p = &s->net.pairs[ls_net_pair_at(s->hosts, a, b)];
	int k;

	for (k = 0; k < LS_NET_PAIR_STATS; k++)
		net_keep_better(&p->stat[k], ls_net_stat_of(sum->v[k], sum->n[k], k != LS_NET_LATENCY), k != LS_NET_LATENCY);
}

/* Results of `n` rails, of pairs of which no two have a host in common. own: rank 0's, or NULL. */
static void collect(struct net_self *s, int n, const struct result *own)
{
	struct result *sums = calloc((size_t)s->hosts, sizeof(*sums)), r; /* by the lower host */
	MPI_Request q;
	int h;

	if (!sums)
		net_die("out of memory");
	for (; n > 0; n--) {
		if (own) {
			r = *own;
			own = NULL;
		} else {
			MPI_Irecv(&r, sizeof(r), MPI_BYTE, MPI_ANY_SOURCE, NET_TAG_RESULT, MPI_COMM_WORLD, &q);
			net_sleep_until(&q);
		}
		sums[r.a].b = r.b;
		add_result(&sums[r.a], &r);
	}
	for (h = 0; h < s->hosts; h++)
		if (sums[h].b)
			take_sum(s, h, sums[h].b, &sums[h]);
	free(sums);
}

/* round < 0: a - b alone. */
static void measure_pairs(struct net_self *s, int a, int b, int round, double seconds)
{
	struct result r;
	bool led;
	int h, n = 0;

	net_meet();
	if (round >= 0) {
		a = s->host;
		b = ls_net_opponent(s->hosts, round, a);
		for (h = 0; h < s->hosts; h++)
			if (ls_net_opponent(s->hosts, round, h) > h)
				n += net_rails(s, h, ls_net_opponent(s->hosts, round, h));
	} else {
		n = net_rails(s, a, b);
	}
	led = b >= 0 && take_part(s, a < b ? a : b, a < b ? b : a, seconds, &r);
	if (s->rank == 0)
		collect(s, n, led ? &r : NULL);
	else if (led)
		MPI_Send(&r, sizeof(r), MPI_BYTE, 0, NET_TAG_RESULT, MPI_COMM_WORLD);
}

static void round_names(const struct net_self *s, int round, char *ret, size_t size)
{
	size_t len = 0;
	int h, other;

	ret[0] = '\0';
	for (h = 0; h < s->hosts && len < size - 1; h++)
		if ((other = ls_net_opponent(s->hosts, round, h)) > h)
			len += (size_t)snprintf(ret + len, size - len, "%s%s - %s", len ? ", " : "", net_host_name(s, h), net_host_name(s, other));
}

void net_rounds(struct net_self *s)
{
	int rounds = ls_net_rounds(s->hosts), i;
	char names[400];

	for (i = 0; i < rounds; i++) {
		round_names(s, i, names, sizeof(names));
		net_phase(s, "pairs of hosts, round %d of %d: %s", i + 1, rounds, names);
		measure_pairs(s, -1, -1, i, fmax(0.06, 0.35 * s->seconds / rounds));
	}
}

/* --- suspects ------------------------------------------------------------------------------------------------------------------- */

static bool next_suspect(const struct net_self *s, const struct ls_net_verdict *v, int pair[2])
{
	for (; pair[0] < s->hosts; pair[1] = ++pair[0])
		while (++pair[1] < s->hosts)
			if (v->suspect[ls_net_pair_at(s->hosts, pair[0], pair[1])])
				return true;
	return false;
}

void net_pairs_again(struct net_self *s, const struct ls_net_verdict *v, double seconds)
{
	double until = net_now() + seconds;
	int pair[2] = { 0, 0 }, told[2];

	for (;;) {
		if (s->rank == 0) {
			bool more = net_now() < until && next_suspect(s, v, pair);

			told[0] = more ? pair[0] : -1;
			told[1] = pair[1];
			if (more)
				net_phase(s, "once more, alone: %s - %s", net_host_name(s, pair[0]), net_host_name(s, pair[1]));
		}
		net_tell(told, 2);
		if (told[0] < 0)
			return;
		measure_pairs(s, told[0], told[1], -1, fmax(0.1, 0.05 * s->seconds));
		if (s->rank == 0)
			s->net.pairs[ls_net_pair_at(s->hosts, told[0], told[1])].again = true;
	}
}
