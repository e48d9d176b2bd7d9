/* cli.h -- what the commands that people type against a cluster have in common: options, the connection, one job and its changes, tables.
 *
 * They read the objects as the API documents them and keep no state: kubectl and these commands may be mixed at will. What comes from
 * the cluster is printed without its control characters (a message must not move the cursor); logs are printed as they are, as kubectl does.
 *
 *   Ownership  ls_cli_release() frees what parse and open made; words and options point into argv.
 *   Threads    one; struct ls_jobwatch has its own thread behind it.
 *   Errors     name object and namespace and say what to do. */
#ifndef LS_OPERATOR_CLI_H
#define LS_OPERATOR_CLI_H

#include "core/str.h"
#include "operator/kube.h"

#include <stdio.h>
#include <time.h>

enum ls_cli_kind {
	LS_CLI_FLAG,  /* bool */
	LS_CLI_TEXT,  /* const char * */
	LS_CLI_LIST,  /* struct ls_strv, one entry for each time */
	LS_CLI_MAYBE, /* const char *: "--x" gives "", "--x=v" gives "v" */
};

struct ls_cli_option {
	const char *names; /* space-separated, with their dashes */
	enum ls_cli_kind kind;
	const char *value; /* what its value is called */
	const char *text;
	void *to;
};

struct ls_cli {
	const char *name;            /* the command's, for messages */
	struct ls_kube_options kube; /* of the options that all have */
	struct ls_kube *k;           /* after open */
	const char *namespace_;      /* after open */
	const char **words;          /* what is no option */
	int n_words;
};

/* True: go on. False: *ret_code is the exit code; help or the error is printed. `usage` is its first line; `options` end with .names NULL. */
bool ls_cli_parse(struct ls_cli *c, int argc, char **argv, const char *usage, const struct ls_cli_option *options, int *ret_code);
ls_status ls_cli_open(struct ls_cli *c, struct ls_err *err);
void ls_cli_release(struct ls_cli *c);
/* A message of the command to stderr: "lockstep: " + text. */
void ls_cli_say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* --- objects -------------------------------------------------------------------------------------------------------------- */

/* The value at a path of names, "status.progress.step"; NULL. */
const cJSON *ls_at(const cJSON *object, const char *path);
const char *ls_text_at(const cJSON *object, const char *path); /* "" if it is no string */
long long ls_number_at(const cJSON *object, const char *path, long long otherwise);
/* The condition of that type; NULL. */
const cJSON *ls_condition_of(const cJSON *job, const char *type);
bool ls_condition_true(const cJSON *job, const char *type);
const char *ls_state_of(const cJSON *job); /* "Pending" until somebody wrote a status; "Deleting" */
bool ls_is_over(const cJSON *job);
bool ls_is_deleting(const cJSON *job);
bool ls_is_taken(const cJSON *job); /* an operator has written a status */
#define LS_CLI_NO_OPERATOR "none has taken it yet; is there one? kubectl get pods -A -l app.kubernetes.io/name=lockstep-operator"
/* What `lockstep run` would have exited with; `pod_code` is the launcher container's, -1: not known. */
int ls_exit_code_of(const cJSON *job, int pod_code);

/* ".../namespaces/NS/trainingjobs" + "/NAME"; name NULL: the collection; namespace NULL: all. */
void ls_job_path(struct ls_str *ret, const char *namespace_, const char *name);
/* One collection, all its pages, as {"items": […]}; `path` may have a query. */
ls_status ls_cli_list(struct ls_cli *c, const char *path, cJSON **ret, struct ls_err *err);
ls_status ls_cli_get_job(struct ls_cli *c, const char *name, cJSON **ret, struct ls_err *err);
/* A call about one job; a 404 becomes a sentence that says which jobs there are. */
ls_status ls_cli_job_call(struct ls_cli *c, struct ls_kube_call *call, const char *name, struct ls_err *err);
/* Pods of a job with that role ("launcher", "worker"), by index, then serial, in *ret_list (the caller's to cJSON_Delete). */
ls_status ls_cli_pods(struct ls_cli *c, const char *job, const char *role, cJSON **ret_list, struct ls_err *err);
long long ls_label_number(const cJSON *object, const char *label); /* -1 */
/* The events of a job, oldest first. */
ls_status ls_cli_events(struct ls_cli *c, const cJSON *job, cJSON **ret_list, struct ls_err *err);
const char *ls_event_time(const cJSON *event);
/* The sentence of a 404 about `name`, given the names that there are. */
ls_status ls_fail_no_job(struct ls_err *err, const char *name, const char *namespace_, const char *const *names);

/* --- one job and its changes ---------------------------------------------------------------------------------------------- */

struct ls_jobwatch;

ls_status ls_jobwatch_start(struct ls_cli *c, const char *name, struct ls_jobwatch **ret, struct ls_err *err);
/* Waits at most `ms` for a change since *seen (0 at first). True: there is one, and *ret_job is the job, the caller's to
 * cJSON_Delete(); NULL: there is none by that name. */
bool ls_jobwatch_next(struct ls_jobwatch *w, int ms, unsigned *seen, cJSON **ret_job);
void ls_jobwatch_stop(struct ls_jobwatch *w); /* NULL is fine */

/* --- logs ----------------------------------------------------------------------------------------------------------------- */

/* Lines on their way to stdout. Fed with pieces of a Pod's log whose lines begin with their time (timestamps=true): after a
 * reconnect nothing is printed twice. */
struct ls_logtail {
	int rank;          /* -1: all */
	int attempt;       /* -1: all */
	int current;       /* attempt that the last "lockstep: NAME: attempt N," line began; -1 */
	char last[40];     /* time of the last whole line */
	int same;          /* lines that had just this time */
	int again;         /* of them still to come once more, after a reconnect; -1: all that comes is new */
	struct ls_str line; /* unfinished */
	FILE *out;
	long long printed;
};

void ls_logtail_begin(struct ls_logtail *t); /* a stream that repeats what began in the second of `last` */

void ls_logtail_feed(struct ls_logtail *t, const char *bytes, size_t len);
void ls_logtail_end(struct ls_logtail *t); /* an unfinished last line is one */
/* The log of a Pod's first container, from where `t` was, and live if `follow`. LS_AGAIN: it broke; call again. */
ls_status ls_cli_log(struct ls_kube *k, const cJSON *pod, bool follow, struct ls_logtail *t, struct ls_err *err);
const char *ls_first_container(const cJSON *pod); /* its name */
/* The state of a Pod's first container: "running", "terminated" or "waiting", and its exit code when it is over, else -1. */
const char *ls_container_state(const cJSON *pod, int *ret_code);
/* Prints the job's life until it is over, as a local run would; its exit code. */
int ls_cli_follow(struct ls_cli *c, const char *name, bool is_new);

/* --- printing ------------------------------------------------------------------------------------------------------------- */

void ls_age(long long seconds, char ret[16]); /* "5s", "3m12s", "4h", "12d", as kubectl */
void ls_age_of(const char *rfc3339, time_t now, char ret[16]); /* "-" */
void ls_bytes(long long bytes, char ret[16]); /* "2.0 TiB" */
/* Append without control characters. */
void ls_str_add_clean(struct ls_str *s, const char *text);
/* Columns as wide as their widest cell so far; prints the rows that are new. */
struct ls_table {
	int columns, width[12];
	struct ls_strv cells; /* row by row */
	size_t printed;
};
void ls_table_add(struct ls_table *t, const char *cell);
ls_status ls_table_print(struct ls_table *t, FILE *out, struct ls_err *err);
void ls_table_release(struct ls_table *t);
/* As YAML, as kubectl -o yaml. */
void ls_str_add_yaml(struct ls_str *s, const cJSON *json);

#endif
