/* aws_creds_impl.h -- what the files aws_creds*.c and aws_profile.c share: where credentials come from.
 *
 * One function for each place. It returns LS_NOT_FOUND, without a word, when nothing points there; the next one is
 * asked only then. */
#ifndef LS_AWS_CREDS_IMPL_H
#define LS_AWS_CREDS_IMPL_H

#include "core/aws_creds.h"
#include "core/secret.h"
#include "core/str.h"

#include <stdint.h>
#include <time.h>

/* --- what a place gives ------------------------------------------------------------------------------------------- */

struct ls_creds_got { /* lives in secret pages */
	struct ls_creds creds;
	time_t expires;   /* 0: never */
	char whence[512]; /* "the environment" */
};

const char *ls_env(const char *name); /* NULL when empty, too */
/* Copies what fits; LS_USAGE names `name` when it is too long or has blanks or control characters: it goes into
 * headers. */
ls_status ls_creds_set(char *field, size_t size, const char *name, const char *value, struct ls_err *err);
#define LS_CREDS_SET(field, name, value, err) ls_creds_set(field, sizeof(field), name, value, err)

/* aws_creds_parse.c. No message holds a value. The JSON of credential_process, containers and instances; STS's XML. */
ls_status ls_creds_parse_json(const char *text, size_t len, struct ls_creds_got *ret, struct ls_err *err);
ls_status ls_creds_parse_sts(const char *xml, struct ls_creds_got *ret, struct ls_err *err);
ls_status ls_creds_parse_time(const char *text, time_t *ret, struct ls_err *err); /* RFC 3339 */
/* Text between the first <tag> and </tag>; NULL: there is none. Nothing is unescaped: credentials need no escapes. */
const char *ls_xml_find(const char *xml, const char *tag, size_t *ret_len);

/* aws_creds_profile.c */
ls_status ls_creds_from_profile(struct ls_creds_got *ret, struct ls_err *err);

/* aws_creds_process.c */
ls_status ls_creds_from_process(const char *command, struct ls_creds_got *ret, struct ls_err *err);

/* aws_creds_http.c: all use of HTTP. */
struct ls_creds_role {
	const char *arn, *session_name, *external_id, *seconds; /* all but arn may be NULL */
	const char *token_file;                                 /* for web identity */
};
ls_status ls_creds_from_web_identity(const struct ls_creds_role *role, struct ls_creds_got *ret, struct ls_err *err);
ls_status ls_creds_from_role(
	const struct ls_creds_role *role, const struct ls_creds *as, struct ls_creds_got *ret, struct ls_err *err);
ls_status ls_creds_from_container(struct ls_creds_got *ret, struct ls_err *err);
ls_status ls_creds_from_instance(struct ls_creds_got *ret, struct ls_err *err);

/* aws_creds.c */
ls_status ls_creds_from_env(struct ls_creds_got *ret, struct ls_err *err);

#endif
