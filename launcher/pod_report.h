/* pod_report.h -- what a launcher's Pod tells the operator (core/link.h), composed from what `lockstep run` writes into the job's directory:
 * job.json (record.h) at each change of state, live.json in between.
 *
 *   Ownership  results are the caller's to cJSON_Delete(); NULL: no memory. */
#ifndef LS_POD_REPORT_H
#define LS_POD_REPORT_H

#include "launcher/watch.h"

#include <cjson/cJSON.h>

enum { LS_POD_FINAL_MAX = 4096, LS_POD_FAILURES = 10 };

struct ls_pod_facts {
	int serial;
	bool ordered, complete;   /* an order has come; it says that all workers are there */
	const char *waiting;
	const cJSON *job, *live;  /* NULL: not written yet */
	int exit_code;            /* of `lockstep run`; -1: it runs, or has not begun */
	const char *last_words;   /* its last line on stderr, for an end that job.json knows nothing of */
};

cJSON *ls_pod_report(const struct ls_pod_facts *f);
/* As text of at most LS_POD_FINAL_MAX bytes: log tails go first, then older failures, then the end of long messages. Takes the report. */
char *ls_pod_report_final(cJSON *report);

/* live.json: {attempt, worldSize, progress, lastCheckpoint}, as in the report. */
cJSON *ls_pod_live(unsigned attempt, int requested, int actual, const struct ls_facts *facts);

#endif
