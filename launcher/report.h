/* report.h -- the report of a run: one HTML file that opens anywhere, also years later and without a network.
 *
 * It is made from the job directory alone, so that `lockstep report` can make it again, also of a run that still goes
 * on or whose launcher was killed:
 *
 *     job.json    the job's state, attempts, placement, failures, checkpoints; every field is optional
 *     steps.csv   LS_STEPS_HEADER, then a row per rank and finished step, in order of arrival; after a restart steps
 *                 repeat under a higher attempt. A last line without its newline was cut by a kill and does not count.
 *
 *   Memory     bounded by ranks and attempts, not by steps: steps.csv is read twice, as a stream.
 *   Errors     LS_NOT_FOUND: not a job directory. LS_DATA_BAD: job.json is no JSON object. LS_AGAIN: memory or I/O;
 *              out_path then still holds what it held before.
 */
#ifndef LS_REPORT_H
#define LS_REPORT_H

#include "core/status.h"

#define LS_STEPS_HEADER "attempt,rank,step,epoch,loss,samples,ms,unix,wait_ms"
#define LS_STEPS_HEADER_OLD "attempt,rank,step,epoch,loss,samples,ms,unix" /* of earlier launchers: a run that they began has rows of both */

/* out_path NULL: JOB_DIR/report.html. */
ls_status ls_report_write(const char *job_dir, const char *out_path, struct ls_err *err);

#endif
