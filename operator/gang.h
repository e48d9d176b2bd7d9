/* gang.h -- one question for places, as gang.c searches and gang_why.c explains.
 *
 * Domains are a tree: all, blocks, racks, nodes. Each level is an array in the order of (block, rack, name); a domain's children are a range of
 * the level below.
 * Nodes without a label are together in a group that is no domain of that level: `label` is NULL. */
#ifndef LS_GANG_H
#define LS_GANG_H

#include "operator/fit.h"

enum { LS_AT_NODE, LS_AT_RACK, LS_AT_BLOCK, LS_AT_ALL, LS_LEVELS };

struct ls_slot {                  /* a node, as this question sees it */
	struct ls_cnode *node;
	const struct ls_word *block, *rack; /* NULL: no label */
	enum ls_fit_why why;
	const struct ls_taint *taint; /* with LS_FIT_TAINT */
	int64_t fits;                 /* workers that it has room for now, at most all; 0 unless LS_FIT_OK, with the label that `within` wants */
	bool large;                   /* one would fit if it were empty */
	bool whole;                   /* it has GPUs, and all are free */
	int64_t free_gpus, free_cpu;  /* as fits */
	int kept;
};

struct ls_gdom {
	int begin, end;               /* of the level below */
	const struct ls_word *label;
	int64_t fits, free_gpus, free_cpu;
	int kept;
};

struct ls_gang {
	struct ls_cluster *c;
	const struct ls_place_ask *ask;
	int workers, min;
	struct ls_ask_resources need;
	const struct ls_word *extra[LS_EXTRAS]; /* the names of need.extra; NULL: no node has it */
	struct ls_fit *fit;
	const char *keys[LS_LEVELS];  /* labels of racks and blocks; NULL: the job names none */
	int top;                      /* the widest level that may hold the gang */
	struct ls_slot *slots;
	struct ls_gdom *doms[LS_LEVELS];
	int *sorted[LS_LEVELS];       /* room to sort children */
	int n_slots, n_doms[LS_LEVELS];
	int level, dom;               /* what was found */
	struct ls_pick { int slot, n; } *picks; /* n workers to a slot, neighbours near */
	int n_picks;
};

bool ls_slot_labelled(const struct ls_slot *s, int level); /* it has the label of the level; true where none is needed */
void ls_gang_slots(const struct ls_gang *g, int level, int d, int *ret_begin, int *ret_end); /* those of a domain */
/* A domain of its level that may hold the whole gang, those that are kept included; room aside. */
bool ls_gang_eligible(const struct ls_gang *g, int level, int d);
/* LS_USAGE if no node that exists could ever hold a worker, or there are no such domains; else LS_AGAIN. */
ls_status ls_gang_explain(const struct ls_gang *g, char *ret, size_t size);

#endif
