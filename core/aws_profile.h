/* aws_profile.h -- ~/.aws/credentials and ~/.aws/config, or the files that AWS_SHARED_CREDENTIALS_FILE and
 * AWS_CONFIG_FILE name.
 *
 *     [default]                     [profile train] in config, [train] in credentials
 *     region = eu-central-1         keys in any case; '=' or ':'; values are not unquoted
 *     s3 =                          a key without value, and lines that are indented deeper: a group
 *         addressing_style = path
 *     [services minio]              in config
 *     # and ; begin comments, on lines of their own only: a secret may hold either
 *
 * What stands in both files counts from credentials. A section or a key that is there twice: the last one counts.
 *
 *   Ownership  all text belongs to the handle, whose memory is in no core file.
 *   Threads    a handle may be read by several.
 *   Errors     LS_USAGE with file:line. A missing file is an empty one. */
#ifndef LS_AWS_PROFILE_H
#define LS_AWS_PROFILE_H

#include "core/status.h"

#include <stdbool.h>

struct ls_profiles;

enum ls_profile_kind { LS_PROFILE, LS_PROFILE_SERVICES, LS_PROFILE_OTHER };

struct ls_profile_value {
	const char *text; /* never "" */
	const char *file; /* as opened */
	int line;
};

ls_status ls_profiles_open(struct ls_profiles **ret, struct ls_err *err);
void ls_profiles_close(struct ls_profiles *p); /* NULL is fine */
/* LS_USAGE when AWS_PROFILE names one that is not there: err lists those that are. *ret: AWS_PROFILE, else "default".
 */
ls_status ls_profiles_choose(const struct ls_profiles *p, const char **ret, struct ls_err *err);
bool ls_profiles_has(const struct ls_profiles *p, const char *name);
/* NULL: it is not there, or empty. `group`: "s3", or NULL for keys that are in none. */
const struct ls_profile_value *ls_profiles_get(const struct ls_profiles *p, enum ls_profile_kind kind,
	const char *section, const char *group, const char *key);
const char *ls_profiles_credentials_file(const struct ls_profiles *p); /* for messages */
const char *ls_profiles_config_file(const struct ls_profiles *p);

#endif
