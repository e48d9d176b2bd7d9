/* record.h -- job.json: what is known of the job, for people, `lockstep report` and the next run.
 *
 * A view, not a promise: it is replaced as a whole (rename), but not synced to disk; nothing but the attempt's number is ever read
 * back from it to decide anything. Attempts of earlier runs of the same job are kept. The fields are listed in docs/architecture.md. */
#ifndef LS_RECORD_H
#define LS_RECORD_H

#include "launcher/attempt.h"
#include "core/net.h"

struct ls_record; /* opaque */

/* Reads DIR/job.json if there is one. */
ls_status ls_record_open(const char *dir, struct ls_record **ret, struct ls_err *err);
void ls_record_close(struct ls_record *r);

unsigned ls_record_next_attempt(const struct ls_record *r); /* 1 + the last one's number; 0 at first; ls_record_floor() at least */
void ls_record_floor(struct ls_record *r, unsigned attempt); /* smaller numbers were used elsewhere */
const char *ls_record_name(const struct ls_record *r);      /* of the job whose directory it is; "" if new */
const char *ls_record_state(const struct ls_record *r);     /* of the run before: "Succeeded", … or "" */

void ls_record_job(struct ls_record *r, const struct ls_job *job, const struct ls_engine *engine);
void ls_record_attempt_begin(struct ls_record *r, unsigned number, const struct ls_plan *plan);
void ls_record_attempt_end(struct ls_record *r, const struct ls_plan *plan, const struct ls_outcome *o);
/* What a preflight found: "Warn" or "Fail", its sentences, and the hosts that were left out. */
void ls_record_preflight(struct ls_record *r, const char *mode, double seconds, const struct ls_net_verdict *v, const struct ls_strv *left_out);
void ls_record_facts(struct ls_record *r, const struct ls_facts *f);
/* "Starting" (in a launcher's Pod), "Running", "Restarting", "Succeeded", "Failed", "Stopped", "Suspended"; exit_code < 0: not over. Writes the file. */
ls_status ls_record_state_set(struct ls_record *r, const char *state, const char *message, int exit_code, struct ls_err *err);

#endif
