/* job_fields.h -- the table of the TrainingJob's fields, and the check that it drives. Private to core/job*.c.
 *
 * A row is found by its parent's path and its key; the entries of a list have the parent "LIST[]". A row of a map comes
 * before its children's rows, and siblings are in the order of the documentation.
 */
#ifndef LS_JOB_FIELDS_H
#define LS_JOB_FIELDS_H

#include "core/job.h"

#include <stddef.h>

#define LS_FIELD_PATH 256

enum ls_field_type {
	LS_FIELD_MAP,     /* its fields are rows */
	LS_FIELD_LIST,    /* of maps; their fields are rows */
	LS_FIELD_ANY,     /* not looked into */
	LS_FIELD_LABELS,  /* a map of strings, not kept */
	LS_FIELD_STRING,  /* char * */
	LS_FIELD_STRINGS, /* struct ls_strv */
	LS_FIELD_INT,     /* int */
	LS_FIELD_LONG,    /* long long */
	LS_FIELD_BOOL,    /* bool */
	LS_FIELD_ENUM,    /* an enum: the index of its name */
	LS_FIELD_RANKS,   /* int: "auto" or a number */
	LS_FIELD_CODES,   /* unsigned char [256]: the set of exit codes */
	LS_FIELD_GPUS,    /* int, also as a string: a Kubernetes quantity */
};

/* What a string must look like. LS_FORM_TIME: only in the status, which is not checked here. */
enum ls_field_form { LS_FORM_FREE, LS_FORM_LABEL, LS_FORM_URI, LS_FORM_ENVNAME, LS_FORM_TIME };

struct ls_field {
	const char *parent, *key;
	enum ls_field_type type;
	const char *text;          /* what it means: sentences for `lockstep explain` and the reference */
	const char *otherwise;     /* default, as YAML; NULL: none */
	long long min, max;        /* of numbers; entries of lists of maps and of strings */
	const char *const *names;  /* LS_FIELD_ENUM; NULL-terminated */
	enum ls_field_form form;   /* LS_FIELD_STRING */
	const char *list_key;      /* LS_FIELD_LIST: entries are told apart by it when manifests are merged; NULL: they are not */
	bool required;
	bool said;                 /* to say the default is not the same as to say nothing: an API server must not fill it in */
	bool kube_only;            /* `lockstep run` cannot apply it: named in not_applied when set */
	bool stored;
	size_t at;                 /* where in struct ls_job, if stored */
};

extern const struct ls_field ls_fields[]; /* ends with .key NULL */

/* Kubernetes' own names under a path: known, not looked into. */
struct ls_kube_fields {
	const char *parent;
	const char *kind;          /* "PodSpec" */
	bool silent;               /* not even named in not_applied */
	const char *const *names;  /* NULL-terminated; NULL: any name */
};

extern const struct ls_kube_fields ls_kube_fields[]; /* ends with .parent NULL */

const struct ls_field *ls_field_find(const char *parent, const char *key);
const struct ls_kube_fields *ls_kube_find(const char *parent);
bool ls_kube_has(const struct ls_kube_fields *kube, const char *key);

/* "spec.workers.template.spec.containers[]" */
void ls_field_path(const struct ls_field *f, char ret[LS_FIELD_PATH]);
/* Append `text` in lines of about 96 columns, each after `indent`. */
void ls_field_wrap(struct ls_str *ret, const char *text, const char *indent);

/* What to say about a key that `parent` has not: "did you mean replicas?", or the names that it has. */
void ls_field_suggest(const char *parent, const char *key, char ret[320]);

/* One pass over a manifest. Errors are collected in err->text, at most 8, as job.h promises. */
struct ls_check {
	const char *name;      /* the manifest's, for messages */
	struct ls_job *job;
	struct ls_err *err;
	int errors, shown;     /* found; of them written out in err->text */
	size_t full_len;        /* of err->text without its "... and N more" */
	bool oom;
};

/* "NAME:LINE: path: reason; remedy". `at` gives the line (NULL: none). */
void ls_check_fail(struct ls_check *c, const struct ls_node *at, const char *path, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
/* Add a name to not_applied, once; `path` loses what everybody knows ("spec.", "…containers[0]."). */
void ls_check_not_applied(struct ls_check *c, const char *path);
/* Check a map against the rows of `parent`, whose concrete path is `path`, and, if `keep`, store the values. */
void ls_check_map(struct ls_check *c, const struct ls_node *map, const char *parent, const char *path, bool keep);
/* Check one value against its row and, if `keep`, store it. */
void ls_check_value(struct ls_check *c, const struct ls_field *f, const struct ls_node *value, const char *path,
	bool keep);
/* job_values.c: the same for everything that is not a map or a list of maps. */
void ls_check_scalar(struct ls_check *c, const struct ls_field *f, const struct ls_node *value, const char *path,
	bool keep);
/* job_template.c: argv, env and not_applied from the template's containers; only for a tree without errors. */
void ls_check_template(struct ls_check *c, const struct ls_node *template);

#endif
