/* aws_creds.h -- who we are to an object store, and where it is: found as AWS's own tools find it.
 *
 * Credentials, the first source that has any:
 *     1. AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN
 *     2. AWS_WEB_IDENTITY_TOKEN_FILE + AWS_ROLE_ARN (IRSA): STS AssumeRoleWithWebIdentity
 *     3. the profile (AWS_PROFILE, else "default") of ~/.aws/credentials and ~/.aws/config
 * (AWS_SHARED_CREDENTIALS_FILE, AWS_CONFIG_FILE): keys, role_arn + source_profile/credential_source (AssumeRole),
 * role_arn + web_identity_token_file, credential_process
 *     4. the container: AWS_CONTAINER_CREDENTIALS_RELATIVE_URI or _FULL_URI, with its authorization token (file)
 *     5. the instance: IMDSv2 (AWS_EC2_METADATA_DISABLED=true: not asked)
 * A source that is named but does not work is an error that names it, never a reason to try the next.
 *
 * Secrets live in pages that are kept out of core files and (as far as RLIMIT_MEMLOCK allows) swap, and are wiped; no
 * message, log or argv holds one. Not in our hands: the environment's own copy, libcurl's buffers.
 *
 *   Ownership  ls_creds_open() gives a handle; what ls_creds_get() fills in is the caller's to ls_creds_wipe().
 *   Threads    a handle may be used by several threads at once.
 *   Errors     LS_USAGE: nothing found, or what was found is wrong (file:line); LS_AGAIN: a service did not answer. */
#ifndef LS_AWS_CREDS_H
#define LS_AWS_CREDS_H

#include "core/status.h"

#include <stdbool.h>

struct ls_creds {
	char access_key[160];
	char secret_key[160];
	char session_token[4096]; /* "": none */
};

struct ls_creds_source;

ls_status ls_creds_open(struct ls_creds_source **ret, struct ls_err *err);
void ls_creds_close(struct ls_creds_source *s); /* NULL is fine */
/* Valid for a minute or more as a rule: those that expire are had anew before they do; when that fails while they are
 * still valid, they are used on. `refresh`: the server just refused them (ExpiredToken): ask again whatever the clock
 * says. On failure *ret is wiped. */
ls_status ls_creds_get(struct ls_creds_source *s, bool refresh, struct ls_creds *ret, struct ls_err *err);
void ls_creds_wipe(struct ls_creds *c);
/* Where they came from, for messages: "the environment", "profile 'train' of ~/.aws/credentials". */
const char *ls_creds_whence(const struct ls_creds_source *s);

/* Settings beside the credentials: the variable, else the profile's, else "". The strings are the caller's to free. */
struct ls_aws_config {
	char *region;     /* AWS_REGION, AWS_DEFAULT_REGION; region */
	char *endpoint;   /* AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL; [services] s3 endpoint_url, endpoint_url */
	char *ca_bundle;  /* AWS_CA_BUNDLE; ca_bundle */
	char *addressing; /* s3 addressing_style: "path", "virtual", "auto" */
};
ls_status ls_aws_config_read(struct ls_aws_config *ret, struct ls_err *err);
void ls_aws_config_release(struct ls_aws_config *c);

#endif
