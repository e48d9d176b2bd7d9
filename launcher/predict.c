/* predict.c -- collectives on a described net: T = start + steps x alpha + bytes / bandwidth + additions; see predict.h.
 *
 * Terms, as in docs/predict.md: p ranks, k nodes with r ranks each, S bytes. A flat algorithm's bytes cross a node's border through all of its
 * NICs at once, as NCCL's channels and Lockstep's rails do, beside those inside: the slower of the two decides. */
#include "launcher/predict.h"

#include <math.h>
#include <string.h>

static const char *const names[LS_PRED_ALGORITHMS] = { "ring", "halving", "direct", "rails", "tree", "switch" };

const char *ls_pred_algorithm_name(enum ls_pred_algorithm a)
{
	return names[a];
}

bool ls_pred_algorithm_find(const char *name, enum ls_pred_algorithm *ret)
{
	int i;

	for (i = 0; i < LS_PRED_ALGORITHMS; i++)
		if (!strcmp(name, names[i])) {
			*ret = (enum ls_pred_algorithm)i;
			return true;
		}
	return false;
}

ls_status ls_pred_fits(const struct ls_pred_net *net, int ranks, struct ls_err *err)
{
	int nodes = (ranks + net->per_node - 1) / net->per_node;

	if (ranks < 1 || (ranks > net->per_node && ranks % net->per_node))
		return ls_fail(err, LS_USAGE, 0, "%d ranks: %s has %d in a node; want a part of one, or whole nodes", ranks, net->name,
			net->per_node);
	if (nodes > net->nodes)
		return ls_fail(err, LS_USAGE, 0, "%d ranks need %d nodes; %s has %d (its key `nodes` says so)", ranks, nodes, net->name,
			net->nodes);
	return LS_OK;
}

/* --- the world, as one way sees it ---------------------------------------------------------------------------------------------- */

struct world {
	double p, k, r;     /* ranks, nodes, ranks of a node */
	double intra, node; /* bandwidth of one rank inside its node, and of a node's NICs together */
	double add;         /* seconds for each byte added */
};

static struct world world_of(const struct ls_pred_net *net, const struct ls_pred_way *way, int ranks)
{
	struct world w = { .p = ranks, .k = ranks > net->per_node ? ranks / net->per_node : 1 };

	w.r = w.p / w.k;
	w.intra = net->intra_bw;
	if (net->intra_total_bw > 0 && w.r * w.intra > net->intra_total_bw)
		w.intra = net->intra_total_bw / w.r;
	w.intra *= way->intra_share;
	w.node = net->nic_bw * net->nics / net->oversubscription * way->inter_share;
	w.add = net->add_bw > 0 ? 1 / net->add_bw : 0;
	return w;
}

/* The slower of the bytes that a rank sends inside and those that its node sends outside; a way that sends nothing needs no bandwidth. */
static double transfer_s(const struct world *w, double inside, double outside)
{
	double in = w->r > 1 ? inside / w->intra : 0, out = w->k > 1 ? outside / w->node : 0;

	return fmax(in, out);
}

/* --- one phase: a reduce-scatter or an all-gather, which mirror each other ------------------------------------------------------- */

/* Every rank passes (p-1)/p S on to its neighbour; one neighbour in r is on the next node. Of p-1 steps k-1 wait for the network. */
static double ring_s(const struct ls_pred_way *way, const struct world *w, double bytes)
{
	double part = (w->p - 1) / w->p * bytes, inter = w->k - 1;

	return (w->p - 1 - inter) * way->intra_s + inter * way->inter_s + transfer_s(w, part, part);
}

/* log2 p exchanges with partners at half the distance and half the bytes each time; those between nodes carry S/r of each rank. */
static double halving_s(const struct ls_pred_way *way, const struct world *w, double bytes)
{
	double inside = (w->r - 1) / w->r * bytes, outside = (w->k - 1) / w->k * bytes;

	return ceil(log2(w->r)) * way->intra_s + ceil(log2(w->k)) * way->inter_s + (w->r > 1 ? inside / w->intra : 0) +
		(w->k > 1 ? outside / w->node : 0);
}

/* Each rank sends each other its S/p at once. All ranks of a node have p-r partners outside, which is r times the ring's traffic there. */
static double direct_s(const struct ls_pred_way *way, const struct world *w, double bytes)
{
	return (w->k > 1 ? way->inter_s : way->intra_s) + transfer_s(w, (w->p - 1) / w->p * bytes, w->r * (w->p - w->r) / w->p * bytes);
}

/* Direct inside a node, then local ranks i of all nodes directly with each other, each with its S/r. */
static double rails_s(const struct ls_pred_way *way, const struct world *w, double bytes)
{
	double inside = w->r > 1 ? way->intra_s + (w->r - 1) / w->r * bytes / w->intra : 0;

	return inside + (w->k > 1 ? way->inter_s + (w->k - 1) / w->k * bytes / w->node : 0);
}

static double phase_s(const struct ls_pred_way *way, const struct world *w, double bytes)
{
	switch (way->algorithm) {
	case LS_PRED_RING: return ring_s(way, w, bytes);
	case LS_PRED_HALVING: return halving_s(way, w, bytes);
	case LS_PRED_DIRECT: return direct_s(way, w, bytes);
	case LS_PRED_RAILS: return rails_s(way, w, bytes);
	default: return INFINITY;
	}
}

/* --- those that are an all-reduce as a whole -------------------------------------------------------------------------------------- */

/* Chains inside nodes, two complementary binary trees between them: up, then down, each pipelined in the best number of pieces:
 * min over m of (L + m alpha) + S/B + L/alpha S/(m B), with L the way's latency from leaf to root. */
static double tree_s(const struct ls_pred_way *way, const struct world *w, double bytes)
{
	double latency = (w->r - 1) * way->intra_s + ceil(log2(w->k)) * way->inter_s, each = transfer_s(w, bytes, bytes);

	return 2 * (latency + each + 2 * sqrt(latency * each));
}

/* The switch takes every rank's bytes, adds, and gives all the sums, both at once. Between nodes two trees carry them: 2 S for each node,
 * S between only two. */
static double switch_s(const struct ls_pred_net *net, const struct ls_pred_way *way, const struct world *w, double bytes)
{
	double outside = w->k > 2 ? 2 * bytes : bytes;

	if (net->switch_bw <= 0 || w->r < 2)
		return INFINITY;
	return way->intra_s + 2 * ceil(log2(w->k)) * way->inter_s +
		fmax(bytes / (net->switch_bw * way->intra_share), w->k > 1 ? outside / w->node : 0);
}

double ls_pred_way_s(const struct ls_pred_net *net, const struct ls_pred_way *way, enum ls_pred_op op, int ranks, double bytes)
{
	struct world w = world_of(net, way, ranks);
	double add = op == LS_PRED_ALL_GATHER ? 0 : (w.p - 1) / w.p * bytes * w.add;
	bool whole = way->algorithm == LS_PRED_TREE || way->algorithm == LS_PRED_SWITCH;

	if (ranks < 2)
		return 0;
	if ((w.k > 1 && net->nic_bw <= 0) || (whole && op != LS_PRED_ALL_REDUCE))
		return INFINITY;
	if (way->algorithm == LS_PRED_TREE)
		return way->start_s + tree_s(way, &w, bytes) + add;
	if (way->algorithm == LS_PRED_SWITCH)
		return way->start_s + switch_s(net, way, &w, bytes);
	return way->start_s + (op == LS_PRED_ALL_REDUCE ? 2 : 1) * phase_s(way, &w, bytes) + add;
}

double ls_pred_collective_s(const struct ls_pred_net *net, enum ls_pred_op op, int ranks, double bytes, const struct ls_pred_way **ret_way)
{
	double best = INFINITY, s;
	int i;

	if (ret_way)
		*ret_way = NULL;
	if (ranks < 2)
		return 0;
	for (i = 0; i < net->n_ways; i++) {
		s = ls_pred_way_s(net, &net->ways[i], op, ranks, bytes);
		if (s < best) {
			best = s;
			if (ret_way)
				*ret_way = &net->ways[i];
		}
	}
	return best;
}
