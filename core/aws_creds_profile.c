/* aws_creds_profile.c -- what a profile leads to: keys, a role, a command; and the settings beside the credentials.
 *
 * Within a profile a role comes before keys, as in AWS's tools: keys beside role_arn are those that assume it when the
 * profile is its own source_profile. Not here: SSO and MFA, which ask a person; `aws configure export-credentials`
 * bridges SSO. */
#include "core/aws_creds_impl.h"
#include "core/aws_profile.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEPTH_MAX 8 /* of source_profile */

static const struct ls_profile_value *get(const struct ls_profiles *p, const char *profile, const char *key)
{
	return ls_profiles_get(p, LS_PROFILE, profile, NULL, key);
}

static const char *text_of(const struct ls_profile_value *v)
{
	return v ? v->text : NULL;
}

static ls_status wrong(const struct ls_profile_value *v, struct ls_err *err, const char *what)
{
	return ls_fail(err, LS_USAGE, 0, "%s:%d: %s", v->file, v->line, what);
}

/* --- keys, a command ---------------------------------------------------------------------------------------------- */

static ls_status from_keys(
	const struct ls_profiles *p, const char *profile, struct ls_creds_got *ret, struct ls_err *err)
{
	const struct ls_profile_value *id = get(p, profile, "aws_access_key_id");
	const struct ls_profile_value *secret = get(p, profile, "aws_secret_access_key");
	const struct ls_profile_value *token = get(p, profile, "aws_session_token");
	ls_status st;

	if (!id && !secret)
		return LS_NOT_FOUND;
	if (!id || !secret || strcmp(id->file, secret->file))
		return wrong(id ? id : secret, err,
			id ? "aws_access_key_id, and no aws_secret_access_key in the same file"
			   : "aws_secret_access_key, and no aws_access_key_id in the same file");
	st = LS_CREDS_SET(ret->creds.access_key, "aws_access_key_id", id->text, err);
	if (st)
		return ls_err_at(err, st, "%s:%d: ", id->file, id->line);
	st = LS_CREDS_SET(ret->creds.secret_key, "aws_secret_access_key", secret->text, err);
	if (st)
		return ls_err_at(err, st, "%s:%d: ", secret->file, secret->line);
	if (token && !strcmp(token->file, id->file)) /* one of the other file belongs to other keys */
		st = LS_CREDS_SET(ret->creds.session_token, "aws_session_token", token->text, err);
	if (st)
		return ls_err_at(err, st, "%s:%d: ", token->file, token->line);
	snprintf(ret->whence, sizeof(ret->whence), "profile '%s' of %s", profile, id->file);
	return LS_OK;
}

static ls_status from_command(
	const struct ls_profile_value *command, const char *profile, struct ls_creds_got *ret, struct ls_err *err)
{
	ls_status st = ls_creds_from_process(command->text, ret, err);

	if (st)
		return ls_err_at(err, st, "%s:%d: ", command->file, command->line);
	snprintf(ret->whence, sizeof(ret->whence), "credential_process of profile '%s' of %s", profile, command->file);
	return LS_OK;
}

/* --- roles -------------------------------------------------------------------------------------------------------- */

static ls_status find(
	const struct ls_profiles *p, const char *profile, int depth, struct ls_creds_got *ret, struct ls_err *err);

/* credential_source: who assumes the role. */
static ls_status from_source(const struct ls_profile_value *source, struct ls_creds_got *ret, struct ls_err *err)
{
	static const struct {
		const char *name;
		ls_status (*from)(struct ls_creds_got *ret, struct ls_err *err);
	} sources[] = {
		{ "Environment", ls_creds_from_env },
		{ "Ec2InstanceMetadata", ls_creds_from_instance },
		{ "EcsContainer", ls_creds_from_container },
	};
	ls_status st;
	size_t i;

	for (i = 0; i < sizeof(sources) / sizeof(sources[0]); i++) {
		if (strcmp(source->text, sources[i].name))
			continue;
		st = sources[i].from(ret, err);
		return st == LS_NOT_FOUND ? wrong(source, err, "credential_source has no credentials") : st;
	}
	return wrong(source, err, "credential_source: want Environment, Ec2InstanceMetadata or EcsContainer");
}

/* source_profile: another one with whatever it has, or this one's own keys. */
static ls_status from_profile(const struct ls_profiles *p, const char *profile, const struct ls_profile_value *source,
	int depth, struct ls_creds_got *ret, struct ls_err *err)
{
	ls_status st;

	if (!ls_profiles_has(p, source->text))
		return wrong(source, err, "source_profile names a profile that is not there");
	if (depth == DEPTH_MAX)
		return wrong(source, err, "source_profile leads in a circle");
	st = !strcmp(source->text, profile) ? from_keys(p, profile, ret, err)
					    : find(p, source->text, depth + 1, ret, err);
	return st == LS_NOT_FOUND ? wrong(source, err, "source_profile has no credentials") : st;
}

static ls_status from_role(const struct ls_profiles *p, const char *profile, const struct ls_profile_value *arn,
	int depth, struct ls_creds_got *ret, struct ls_err *err)
{
	const struct ls_profile_value *file = get(p, profile, "web_identity_token_file");
	const struct ls_profile_value *source = get(p, profile, "source_profile");
	const struct ls_profile_value *named = get(p, profile, "credential_source"),
				      *mfa = get(p, profile, "mfa_serial");
	struct ls_creds_role role = { .arn = arn->text,
		.session_name = text_of(get(p, profile, "role_session_name")),
		.external_id = text_of(get(p, profile, "external_id")),
		.seconds = text_of(get(p, profile, "duration_seconds")),
		.token_file = text_of(file) };
	struct ls_secret as = { 0 };
	struct ls_creds_got *first;
	ls_status st;

	if (!!file + !!source + !!named != 1)
		return wrong(arn, err,
			"role_arn wants one of source_profile, credential_source and web_identity_token_file beside "
			"it");
	if (mfa)
		return wrong(mfa, err,
			"mfa_serial: nobody is there to enter a code; use a role without MFA, or credential_process");
	if (file) {
		st = ls_creds_from_web_identity(&role, ret, err);
	} else {
		st = ls_secret_new(sizeof(*first), &as, err);
		if (st)
			return st;
		first = (struct ls_creds_got *)as.s;
		st = source ? from_profile(p, profile, source, depth, first, err) : from_source(named, first, err);
		if (!st)
			st = ls_creds_from_role(&role, &first->creds, ret, err);
		ls_secret_free(&as);
	}
	if (st)
		ls_err_at(err, st, "profile '%s': ", profile);
	return st;
}

static ls_status find(
	const struct ls_profiles *p, const char *profile, int depth, struct ls_creds_got *ret, struct ls_err *err)
{
	const struct ls_profile_value *role = get(p, profile, "role_arn"), *command, *sso;
	ls_status st;

	if (role)
		return from_role(p, profile, role, depth, ret, err);
	st = from_keys(p, profile, ret, err);
	if (st != LS_NOT_FOUND)
		return st;
	command = get(p, profile, "credential_process");
	if (command)
		return from_command(command, profile, ret, err);
	sso = get(p, profile, "sso_session");
	if (!sso)
		sso = get(p, profile, "sso_start_url");
	if (sso)
		return ls_fail(err, LS_USAGE, 0,
			"%s:%d: SSO is not asked; make a second profile with  credential_process = aws configure "
			"export-credentials "
			"--profile %s",
			sso->file, sso->line, profile);
	return LS_NOT_FOUND;
}

ls_status ls_creds_from_profile(struct ls_creds_got *ret, struct ls_err *err)
{
	struct ls_profiles *p = NULL;
	const char *profile;
	ls_status st = ls_profiles_open(&p, err);

	if (!st)
		st = ls_profiles_choose(p, &profile, err);
	if (!st)
		st = find(p, profile, 0, ret, err);
	ls_profiles_close(p);
	return st;
}

/* --- settings ----------------------------------------------------------------------------------------------------- */

/* The first that there is: either variable, the value; else "". */
static char *setting(const char *variable, const char *other, const struct ls_profile_value *value)
{
	const char *text = ls_env(variable);

	if (!text && other)
		text = ls_env(other);
	if (!text)
		text = text_of(value);
	return strdup(text ? text : "");
}

static ls_status read_endpoint(const struct ls_profiles *p, const char *profile, char **ret, struct ls_err *err)
{
	const struct ls_profile_value *services = get(p, profile, "services"), *value = NULL;

	if (services)
		value = ls_profiles_get(p, LS_PROFILE_SERVICES, services->text, "s3", "endpoint_url");
	if (!value)
		value = get(p, profile, "endpoint_url");
	*ret = setting("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", value);
	return *ret ? LS_OK : ls_fail_oom(err);
}

static ls_status read_addressing(const struct ls_profiles *p, const char *profile, char **ret, struct ls_err *err)
{
	const struct ls_profile_value *v = ls_profiles_get(p, LS_PROFILE, profile, "s3", "addressing_style");

	if (v && strcmp(v->text, "path") && strcmp(v->text, "virtual") && strcmp(v->text, "auto"))
		return wrong(v, err, "addressing_style: want path, virtual or auto");
	*ret = strdup(v ? v->text : "");
	return *ret ? LS_OK : ls_fail_oom(err);
}

ls_status ls_aws_config_read(struct ls_aws_config *ret, struct ls_err *err)
{
	struct ls_aws_config c = { 0 };
	struct ls_profiles *p = NULL;
	const char *profile;
	ls_status st = ls_profiles_open(&p, err);

	if (!st)
		st = ls_profiles_choose(p, &profile, err);
	if (!st) {
		c.region = setting("AWS_REGION", "AWS_DEFAULT_REGION", get(p, profile, "region"));
		c.ca_bundle = setting("AWS_CA_BUNDLE", NULL, get(p, profile, "ca_bundle"));
		st = c.region && c.ca_bundle ? LS_OK : ls_fail_oom(err);
	}
	if (!st)
		st = read_endpoint(p, profile, &c.endpoint, err);
	if (!st)
		st = read_addressing(p, profile, &c.addressing, err);
	ls_profiles_close(p);
	if (st)
		ls_aws_config_release(&c);
	else
		*ret = c;
	return st;
}

void ls_aws_config_release(struct ls_aws_config *c)
{
	free(c->region);
	free(c->endpoint);
	free(c->ca_bundle);
	free(c->addressing);
	*c = (struct ls_aws_config){ 0 };
}
