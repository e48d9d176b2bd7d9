/* cmd_bench_predict.h -- `lockstep bench predict`: options, and what they come to; the formulas are predict.h's.
 *
 *     cmd_bench_predict.c        options; from files to a net and a job
 *     cmd_bench_predict_show.c   the table, JSON, and every assumption in words
 *
 *   Ownership  texts of the options are argv's; ls_predict_release() frees the rest.
 *   Threads    one. */
#ifndef LS_CMD_BENCH_PREDICT_H
#define LS_CMD_BENCH_PREDICT_H

#include "launcher/predict.h"
#include "core/str.h"

enum { LS_PREDICT_FITS = 2, LS_PREDICT_WORLDS = 64 };

struct ls_predict_fit { /* of the links inside nodes, or between them */
	bool used;
	enum ls_pred_algorithm algorithm;
	struct ls_pred_sample *samples;
	size_t n;
	struct ls_pred_fit fit;
};

struct ls_predict {
	const char *topology, *run, *model, *contender, *validate;
	struct ls_strv fit_files;
	enum ls_pred_algorithm algorithm;      /* LS_PRED_ALGORITHMS: the file says it */
	double compute_ms, spread_pct, bytes, element, bucket, batch; /* negative: not given */
	bool json, by_nodes, want_validate;
	int worlds[LS_PREDICT_WORLDS], n_worlds;
	struct ls_pred_net net;
	struct ls_pred_job job;
	struct ls_pred_run measured;           /* of --run */
	struct ls_predict_fit fits[LS_PREDICT_FITS]; /* [0]: inside a node */
	struct ls_pred_point points[LS_PREDICT_WORLDS];
};

void ls_predict_show(const struct ls_predict *p);
void ls_predict_show_fits(const struct ls_predict *p);
ls_status ls_predict_json(const struct ls_predict *p, struct ls_err *err);
/* What was assumed, a sentence a line. */
void ls_predict_assumptions(const struct ls_predict *p, struct ls_strv *ret);

int ls_bench_predict(int argc, char **argv);

#endif
