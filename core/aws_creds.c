/* aws_creds.c -- see aws_creds.h: the chain, and keeping what it found fresh.
 *
 * Invariant: `now` is whole and valid, or was when the last refresh failed; it changes only under `lock`. One thread at
 * a time asks for new ones (`asking`); as long as the old ones have a minute left the others go on with those and do
 * not wait. */
#include "core/aws_creds_impl.h"
#include "core/aws_profile.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EARLY_S 300 /* asked anew when they have so long left, */
#define LATE_S 60   /* and waited for when only so long */
#define PAUSE_S 10  /* not asked more often while they are valid: a service may be down, or give the same ones again */

typedef ls_status place_fn(struct ls_creds_got *ret, struct ls_err *err);

struct ls_creds_source {
	place_fn *from; /* where they were found; a refresh asks there and nowhere else */
	char whence[512];
	struct ls_secret pages;
	struct ls_creds_got *now, *next; /* in `pages`; `next` is the asking thread's */
	unsigned long generation;        /* counts what `now` was */
	time_t pause_until;
	pthread_mutex_t lock, asking; /* taken in the order: asking, lock */
};

/* --- the chain ---------------------------------------------------------------------------------------------------- */

ls_status ls_creds_from_env(struct ls_creds_got *ret, struct ls_err *err)
{
	const char *id = ls_env("AWS_ACCESS_KEY_ID"), *secret = ls_env("AWS_SECRET_ACCESS_KEY");
	const char *token = ls_env("AWS_SESSION_TOKEN");
	ls_status st;

	if (!id && !secret)
		return LS_NOT_FOUND;
	if (!id || !secret)
		return ls_fail(err, LS_USAGE, 0, "%s is set and %s is not: set both or none",
			id ? "AWS_ACCESS_KEY_ID" : "AWS_SECRET_ACCESS_KEY",
			id ? "AWS_SECRET_ACCESS_KEY" : "AWS_ACCESS_KEY_ID");
	st = LS_CREDS_SET(ret->creds.access_key, "AWS_ACCESS_KEY_ID", id, err);
	if (!st)
		st = LS_CREDS_SET(ret->creds.secret_key, "AWS_SECRET_ACCESS_KEY", secret, err);
	if (!st && token)
		st = LS_CREDS_SET(ret->creds.session_token, "AWS_SESSION_TOKEN", token, err);
	snprintf(ret->whence, sizeof(ret->whence), "the environment");
	return st;
}

static ls_status from_web_identity_env(struct ls_creds_got *ret, struct ls_err *err)
{
	struct ls_creds_role role = { .arn = ls_env("AWS_ROLE_ARN"),
		.session_name = ls_env("AWS_ROLE_SESSION_NAME"),
		.token_file = ls_env("AWS_WEB_IDENTITY_TOKEN_FILE") };

	if (!role.token_file)
		return LS_NOT_FOUND;
	if (!role.arn)
		return ls_fail(err, LS_USAGE, 0, "AWS_WEB_IDENTITY_TOKEN_FILE is set and AWS_ROLE_ARN is not");
	return ls_creds_from_web_identity(&role, ret, err);
}

/* The last place: whoever comes here has pointed at nothing. That it does not answer is the usual case off EC2. */
static ls_status from_instance_or_nowhere(struct ls_creds_got *ret, struct ls_err *err)
{
	struct ls_profiles *p = NULL;
	struct ls_err why = LS_ERR_INIT;
	const char *profile;
	ls_status st = ls_creds_from_instance(ret, &why);

	if (!st)
		return LS_OK;
	if (st == LS_NOT_FOUND)
		ls_fail(&why, st, 0, "AWS_EC2_METADATA_DISABLED is true");
	st = ls_profiles_open(&p, err);
	if (!st)
		st = ls_profiles_choose(p, &profile, err);
	if (!st)
		st = ls_fail(err, LS_USAGE, 0,
			"no credentials: AWS_ACCESS_KEY_ID is not set, profile '%s' has none in %s and %s, no "
			"container gives any, and %s",
			profile, ls_profiles_credentials_file(p), ls_profiles_config_file(p), why.text);
	ls_profiles_close(p);
	return st;
}

static ls_status find(struct ls_creds_source *s, struct ls_err *err)
{
	static place_fn *const places[] = { ls_creds_from_env, from_web_identity_env, ls_creds_from_profile,
		ls_creds_from_container, from_instance_or_nowhere };
	ls_status st = LS_NOT_FOUND;
	size_t i;

	for (i = 0; st == LS_NOT_FOUND && i < sizeof(places) / sizeof(places[0]); i++) {
		s->from = places[i];
		st = s->from(s->now, err);
	}
	if (s->from == from_instance_or_nowhere)
		s->from = ls_creds_from_instance; /* found once: a refresh that fails is LS_AGAIN */
	snprintf(s->whence, sizeof(s->whence), "%s", s->now->whence);
	return st;
}

ls_status ls_creds_open(struct ls_creds_source **ret, struct ls_err *err)
{
	struct ls_creds_source *s = calloc(1, sizeof(*s));
	ls_status st;

	if (!s)
		return ls_fail_oom(err);
	pthread_mutex_init(&s->lock, NULL);
	pthread_mutex_init(&s->asking, NULL);
	st = ls_secret_new(2 * sizeof(*s->now), &s->pages, err);
	if (!st) {
		s->now = (struct ls_creds_got *)s->pages.s;
		s->next = s->now + 1;
		st = find(s, err);
	}
	if (st)
		ls_creds_close(s);
	else
		*ret = s;
	return st;
}

void ls_creds_close(struct ls_creds_source *s)
{
	if (!s)
		return;
	ls_secret_free(&s->pages);
	pthread_mutex_destroy(&s->lock);
	pthread_mutex_destroy(&s->asking);
	free(s);
}

const char *ls_creds_whence(const struct ls_creds_source *s)
{
	return s->whence;
}

void ls_creds_wipe(struct ls_creds *c)
{
	explicit_bzero(c, sizeof(*c));
}

/* --- keeping them fresh ------------------------------------------------------------------------------------------- */

/* What `now` is at one moment. */
struct view {
	unsigned long generation;
	time_t left, pause_until; /* left: seconds; many when it never expires */
};

static struct view look(struct ls_creds_source *s, struct ls_creds *ret)
{
	struct view v = { .left = EARLY_S + 1 };

	pthread_mutex_lock(&s->lock);
	*ret = s->now->creds;
	v.generation = s->generation;
	v.pause_until = s->pause_until;
	if (s->now->expires)
		v.left = s->now->expires - time(NULL);
	pthread_mutex_unlock(&s->lock);
	return v;
}

static bool will_do(const struct view *v)
{
	return v->left > EARLY_S || (v->left > 0 && time(NULL) < v->pause_until);
}

/* The caller holds `asking`. */
static ls_status ask(struct ls_creds_source *s, struct ls_err *err)
{
	ls_status st;

	explicit_bzero(s->next, sizeof(*s->next));
	st = s->from(s->next, err);
	if (st == LS_NOT_FOUND)
		st = ls_fail(err, LS_USAGE, 0, "there are no credentials any more in %s", s->whence);
	if (!st && s->next->expires && s->next->expires <= time(NULL))
		st = ls_fail(err, LS_AGAIN, 0, "%s gave credentials that have expired: is this machine's clock right?",
			s->whence);
	pthread_mutex_lock(&s->lock);
	s->pause_until = time(NULL) + PAUSE_S;
	if (!st) {
		*s->now = *s->next;
		s->generation++;
	}
	pthread_mutex_unlock(&s->lock);
	return st;
}

ls_status ls_creds_get(struct ls_creds_source *s, bool refresh, struct ls_creds *ret, struct ls_err *err)
{
	struct view v = look(s, ret), again;
	ls_status st = LS_OK;

	if (!refresh && will_do(&v))
		return LS_OK;
	if (!refresh && v.left > LATE_S) {
		if (pthread_mutex_trylock(&s->asking))
			return LS_OK; /* somebody is at it */
	} else {
		pthread_mutex_lock(&s->asking);
	}
	again = look(s, ret);
	if (again.generation == v.generation &&
		(refresh || !will_do(&again))) /* else somebody did it while we waited */
		st = ask(s, err);
	pthread_mutex_unlock(&s->asking);
	v = look(s, ret);
	if (!st || (!refresh && v.left > 0))
		return LS_OK;
	ls_creds_wipe(ret);
	return st;
}
