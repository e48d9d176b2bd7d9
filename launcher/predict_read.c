/* predict_read.c -- the described net from YAML, and the reader that the other YAML of `lockstep bench predict` shares; see predict.h.
 *
 * Nothing has a default but what is named so in docs/predict.md: a figure that is missing is an error with its line, not a guess. */
#include "launcher/cmd_bench_coll.h"
#include "launcher/predict.h"
#include "core/io.h"
#include "core/node.h"

#include <stdio.h>
#include <string.h>

static void fail(struct ls_pred_reader *r, int line, const char *key, const char *what)
{
	if (!r->st)
		r->st = ls_fail(r->err, LS_USAGE, 0, "%s:%d: %s: %s", r->path, line, key, what);
}

static const struct ls_node *wanted(struct ls_pred_reader *r, const struct ls_node *map, const char *key)
{
	const struct ls_node *n = ls_node_get(map, key);

	if (!n && !r->st)
		r->st = ls_fail(r->err, LS_USAGE, 0, "%s:%d: `%s` is missing here; docs/predict.md says what it is", r->path, map ? map->line : 1,
			key);
	return r->st ? NULL : n;
}

double ls_pred_number(struct ls_pred_reader *r, const struct ls_node *map, const char *key, double low, double high)
{
	const struct ls_node *n = wanted(r, map, key);
	char what[96];

	if (!n)
		return 0;
	if ((n->type == LS_NODE_INT || n->type == LS_NODE_FLOAT) && n->number >= low && n->number <= high)
		return n->number;
	snprintf(what, sizeof(what), "want a number from %g to %g", low, high);
	fail(r, n->line, key, what);
	return 0;
}

double ls_pred_number_or(struct ls_pred_reader *r, const struct ls_node *map, const char *key, double low, double high, double absent)
{
	return ls_node_get(map, key) ? ls_pred_number(r, map, key, low, high) : absent;
}

const char *ls_pred_text(struct ls_pred_reader *r, const struct ls_node *map, const char *key)
{
	const struct ls_node *n = wanted(r, map, key);

	if (!n)
		return "";
	if (!n->text || !*n->text)
		fail(r, n->line, key, "want a text");
	return n->text ? n->text : "";
}

void ls_pred_keys(struct ls_pred_reader *r, const struct ls_node *map, const char *const *keys)
{
	const struct ls_node *n;
	const char *near;
	char what[96];
	int i;

	if (map->type != LS_NODE_MAP) {
		fail(r, map->line, map->key ? map->key : "here", "want a map of keys and values");
		return;
	}
	for (n = map->child; n; n = n->next) {
		for (i = 0; keys[i] && strcmp(keys[i], n->key) != 0; i++)
			;
		if (keys[i])
			continue;
		near = ls_nearest(n->key, keys);
		snprintf(what, sizeof(what), "unknown key%s%s%s", near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
		fail(r, n->line, n->key, what);
	}
}

int ls_pred_word(struct ls_pred_reader *r, const struct ls_node *map, const char *key, const char *const *words)
{
	const char *text = ls_pred_text(r, map, key);
	char what[160] = "want one of";
	size_t len;
	int i;

	if (r->st)
		return 0;
	for (i = 0; words[i]; i++) {
		if (!strcmp(words[i], text))
			return i;
		len = strlen(what);
		snprintf(what + len, sizeof(what) - len, "%s %s", i ? "," : "", words[i]);
	}
	fail(r, ls_node_get(map, key)->line, key, what);
	return 0;
}

/* --- a net ------------------------------------------------------------------------------------------------------------------------ */

#define GB 1e9
#define US 1e-6

static void read_way(struct ls_pred_reader *r, const struct ls_node *map, struct ls_pred_net *net)
{
	static const char *const keys[] = { "algorithm", "protocol", "startUs", "intraUs", "interUs", "intraShare", "interShare", NULL };
	static const char *const words[] = { "ring", "halving", "direct", "rails", "tree", "switch", NULL };
	struct ls_pred_way *w = &net->ways[net->n_ways];

	if (net->n_ways == LS_PRED_WAYS) {
		fail(r, map->line, "ways", "more than 32");
		return;
	}
	ls_pred_keys(r, map, keys);
	w->algorithm = (enum ls_pred_algorithm)ls_pred_word(r, map, "algorithm", words);
	snprintf(w->protocol, sizeof(w->protocol), "%s", ls_node_get(map, "protocol") ? ls_pred_text(r, map, "protocol") : "");
	w->start_s = ls_pred_number_or(r, map, "startUs", 0, 1e9, 0) * US;
	w->intra_s = ls_pred_number(r, map, "intraUs", 0, 1e9) * US;
	w->inter_s = net->nic_bw > 0 ? ls_pred_number(r, map, "interUs", 0, 1e9) * US : 0;
	w->intra_share = ls_pred_number_or(r, map, "intraShare", 1e-6, 1, 1);
	w->inter_share = ls_pred_number_or(r, map, "interShare", 1e-6, 1, 1);
	if (w->algorithm == LS_PRED_SWITCH && net->switch_bw <= 0)
		fail(r, map->line, "algorithm", "a way with the switch needs the key `switch`, with the bandwidth of one that adds");
	net->n_ways++;
}

static void read_links(struct ls_pred_reader *r, const struct ls_node *root, struct ls_pred_net *net)
{
	static const char *const intra[] = { "GBps", "totalGBps", NULL }, *const adds[] = { "GBps", NULL };
	static const char *const inter[] = { "GBps", "nics", "oversubscription", NULL };
	const struct ls_node *n = wanted(r, root, "intra");

	if (n) {
		ls_pred_keys(r, n, intra);
		net->intra_bw = ls_pred_number(r, n, "GBps", 1e-6, 1e6) * GB;
		net->intra_total_bw = ls_pred_number_or(r, n, "totalGBps", 1e-6, 1e6, 0) * GB;
	}
	if ((n = ls_node_get(root, "switch"))) {
		ls_pred_keys(r, n, adds);
		net->switch_bw = ls_pred_number(r, n, "GBps", 1e-6, 1e6) * GB;
	}
	if ((n = ls_node_get(root, "inter"))) {
		ls_pred_keys(r, n, inter);
		net->nic_bw = ls_pred_number(r, n, "GBps", 1e-6, 1e6) * GB;
		net->nics = (int)ls_pred_number(r, n, "nics", 1, 1024);
		net->oversubscription = ls_pred_number(r, n, "oversubscription", 1, 1000);
	} else if (net->nodes > 1) {
		fail(r, root->line, "inter", "missing, and `nodes` is more than 1: say what a node's NICs are");
	}
}

static void read_net(struct ls_pred_reader *r, const struct ls_node *root, struct ls_pred_net *net)
{
	static const char *const keys[] = { "name", "ranksPerNode", "nodes", "error", "addGBps", "intra", "switch", "inter", "ways", NULL };
	const struct ls_node *ways, *w;

	ls_pred_keys(r, root, keys);
	snprintf(net->name, sizeof(net->name), "%s", ls_pred_text(r, root, "name"));
	net->per_node = (int)ls_pred_number(r, root, "ranksPerNode", 1, 65536);
	net->nodes = (int)ls_pred_number(r, root, "nodes", 1, 1 << 20);
	net->error = ls_pred_number(r, root, "error", 0, 0.99);
	net->add_bw = ls_pred_number_or(r, root, "addGBps", 1e-6, 1e6, 0) * GB;
	net->oversubscription = 1;
	read_links(r, root, net);
	ways = wanted(r, root, "ways");
	if (ways && (ways->type != LS_NODE_LIST || !ways->child))
		fail(r, ways->line, "ways", "want a list of at least one way to carry out a collective");
	for (w = r->st ? NULL : ways->child; w; w = w->next)
		read_way(r, w, net);
}

ls_status ls_pred_net_parse(const char *path, const char *text, size_t len, struct ls_pred_net *ret, struct ls_err *err)
{
	struct ls_pred_reader r = { .path = path, .err = err };
	struct ls_pred_net net = { .n_ways = 0 };
	struct ls_node *root = NULL;
	ls_status st = ls_node_parse(path, text, len, &root, err);

	if (st)
		return st;
	read_net(&r, root, &net);
	ls_node_free(root);
	if (!r.st)
		*ret = net;
	return r.st;
}

ls_status ls_pred_file_read(const char *option, const char *path, size_t most, struct ls_str *ret, struct ls_err *err)
{
	ls_status st = ls_file_read(path, most, ret, err);

	if (st == LS_NOT_FOUND || st == LS_AGAIN)
		err->status = LS_USAGE;
	return st ? ls_err_at(err, st, "%s: ", option) : LS_OK;
}

ls_status ls_pred_net_read(const char *name, struct ls_pred_net *ret, struct ls_err *err)
{
	char path[PATH_MAX], file[300];
	struct ls_str text = { 0 };
	ls_status st = LS_OK;

	snprintf(path, sizeof(path), "%s", name);
	if (!strchr(name, '/') && !strchr(name, '.')) {
		snprintf(file, sizeof(file), "topologies/%s.yaml", name);
		if (ls_bench_program(path, file, err))
			return ls_fail(err, LS_USAGE, 0, "--topology %s is no preset; want the path of a file, or the name of one in bench/topologies",
				name);
	}
	st = ls_pred_file_read("--topology", path, LS_NODE_MAX_BYTES, &text, err);
	if (!st)
		st = ls_pred_net_parse(path, ls_str_text(&text), text.len, ret, err);
	ls_str_release(&text);
	return st;
}
