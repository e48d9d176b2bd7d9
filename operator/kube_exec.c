/* kube_exec.c -- exec plug-ins of a kubeconfig: a program that prints an ExecCredential.
 *
 * https://kubernetes.io/docs/reference/access-authn-authz/authentication/#client-go-credential-plugins. Its standard error stays ours, so that
 * it can complain. Where a person may be asked it has the terminal; else its standard input is empty, and it has a process group of its own,
 * which is killed when it takes too long. */
#include "core/base64.h"
#include "core/io.h"
#include "operator/kube_config.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define LIMIT_S 60
#define PERSON_LIMIT_S 600
#define OUTPUT_MAX 262144

/* --- what it is told --------------------------------------------------------------------------------------------------------------------- */

static void add_string(cJSON *map, const char *key, const char *text)
{
	if (text)
		cJSON_AddStringToObject(map, key, text);
}

static void add_cluster(cJSON *spec, const struct ls_kube_config *c)
{
	cJSON *cluster = cJSON_AddObjectToObject(spec, "cluster");
	struct ls_str ca = { 0 };

	add_string(cluster, "server", c->server);
	add_string(cluster, "tls-server-name", c->server_name);
	add_string(cluster, "proxy-url", c->proxy);
	if (c->insecure)
		cJSON_AddTrueToObject(cluster, "insecure-skip-tls-verify");
	ls_base64_encode(ls_str_text(&c->ca_pem), c->ca_pem.len, &ca);
	if (ca.len)
		add_string(cluster, "certificate-authority-data", ls_str_text(&ca));
	if (c->exec.config)
		cJSON_AddRawToObject(cluster, "config", c->exec.config);
	ls_str_release(&ca);
}

static ls_status make_env(const struct ls_kube_config *c, bool interactive, struct ls_strv *ret, struct ls_err *err)
{
	cJSON *doc = cJSON_CreateObject(), *spec;
	char **e, *text;
	size_t i;

	for (e = environ; *e; e++)
		ls_strv_add(ret, *e);
	for (i = 0; i < c->exec.env.n; i++) {
		char *name = strndup(c->exec.env.v[i], strcspn(c->exec.env.v[i], "="));

		if (name)
			ls_strv_setenv(ret, name, c->exec.env.v[i] + strlen(name) + 1);
		ret->oom |= !name;
		free(name);
	}
	add_string(doc, "kind", "ExecCredential");
	add_string(doc, "apiVersion", c->exec.api_version);
	spec = cJSON_AddObjectToObject(doc, "spec");
	cJSON_AddBoolToObject(spec, "interactive", interactive);
	if (c->exec.provide_cluster_info)
		add_cluster(spec, c);
	text = cJSON_PrintUnformatted(doc);
	if (text)
		ls_strv_setenv(ret, "KUBERNETES_EXEC_INFO", text);
	ret->oom |= !text;
	cJSON_free(text);
	cJSON_Delete(doc);
	return ret->oom ? ls_fail_oom(err) : LS_OK;
}

/* --- the program ------------------------------------------------------------------------------------------------------------------------- */

static int spawn(const struct ls_kube_exec *e, char **env, bool interactive, int out, pid_t *ret)
{
	struct ls_strv argv = { 0 };
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attr;
	sigset_t none, all;
	size_t i;
	int rc;

	ls_strv_add(&argv, e->command);
	for (i = 0; i < e->args.n; i++)
		ls_strv_add(&argv, e->args.v[i]);
	sigemptyset(&none);
	sigfillset(&all);
	rc = argv.oom ? ENOMEM : posix_spawn_file_actions_init(&files);
	if (rc)
		goto free_argv;
	posix_spawnattr_init(&attr);
	posix_spawnattr_setflags(&attr, (interactive ? 0 : POSIX_SPAWN_SETPGROUP) | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setsigdefault(&attr, &all);
	if (!interactive)
		rc = posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
	if (!rc)
		rc = posix_spawn_file_actions_adddup2(&files, out, 1);
	if (!rc)
		rc = posix_spawnp(ret, e->command, &files, &attr, argv.v, env);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&files);
free_argv:
	ls_strv_release(&argv);
	return rc;
}

/* Its output ended; so must it. ECHILD: somebody else waited, and its output alone must do. */
static ls_status wait_end(const char *name, pid_t pid, int64_t until_ms, struct ls_err *err)
{
	int status = 0;
	pid_t got;

	while ((got = waitpid(pid, &status, WNOHANG)) == 0 || (got < 0 && errno == EINTR)) {
		if (ls_clock_ms() >= until_ms)
			return ls_fail(err, LS_AGAIN, 0, "%s did not end in time", name);
		usleep(5000);
	}
	if (got == pid && WIFSIGNALED(status))
		return ls_fail(err, LS_AGAIN, 0, "%s was killed by signal %d", name, WTERMSIG(status));
	if (got == pid && WEXITSTATUS(status))
		return ls_fail(err, LS_USAGE, 0, "%s exited with code %d; run it by hand to see why", name, WEXITSTATUS(status));
	return LS_OK;
}

static ls_status cannot_start(const struct ls_kube_exec *e, int rc, struct ls_err *err)
{
	return ls_fail(err, LS_USAGE, 0, "cannot start the credential plug-in %s: %s%s%s", e->command, strerror(rc), e->install_hint ? ": " : "",
		e->install_hint ? e->install_hint : "");
}

static ls_status run(const struct ls_kube_config *c, char **env, bool interactive, struct ls_secret *ret, struct ls_err *err)
{
	int64_t until_ms = ls_clock_ms() + (interactive ? PERSON_LIMIT_S : LIMIT_S) * 1000;
	int out[2] = { -1, -1 }, rc;
	ls_status st;
	pid_t pid;

	if (pipe2(out, O_CLOEXEC) < 0)
		return ls_fail(err, LS_AGAIN, errno, "pipe for %s", c->exec.command);
	rc = spawn(&c->exec, env, interactive, out[1], &pid);
	ls_fd_close(&out[1]);
	if (rc) {
		st = cannot_start(&c->exec, rc, err);
		goto close_pipe;
	}
	st = ls_secret_read(out[0], until_ms, ret, c->exec.command, err);
	if (!st)
		st = wait_end(c->exec.command, pid, until_ms, err);
	if (st && (waitpid(pid, NULL, WNOHANG) == 0)) {
		kill(interactive ? pid : -pid, SIGKILL);
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
close_pipe:
	ls_fd_close(&out[0]);
	return st;
}

/* --- what it prints ---------------------------------------------------------------------------------------------------------------------- */

static const char *text_of(const cJSON *map, const char *key)
{
	const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(map, key));

	return text && *text ? text : NULL;
}

static ls_status take(const struct ls_kube_exec *e, const cJSON *doc, struct ls_kube_creds *got, struct ls_err *err)
{
	const cJSON *status = cJSON_GetObjectItemCaseSensitive(doc, "status");
	const char *version = text_of(doc, "apiVersion"), *kind = text_of(doc, "kind"), *token = text_of(status, "token"),
		*cert = text_of(status, "clientCertificateData"), *key = text_of(status, "clientKeyData"),
		*expires = text_of(status, "expirationTimestamp");

	if (!kind || strcmp(kind, "ExecCredential") || !version || strcmp(version, e->api_version))
		return ls_fail(err, LS_USAGE, 0, "%s printed no ExecCredential of %s", e->command, e->api_version);
	if (!token && !cert && !key)
		return ls_fail(err, LS_USAGE, 0, "%s printed neither a token nor a certificate", e->command);
	if (!cert != !key)
		return ls_fail(err, LS_USAGE, 0, "%s printed a certificate without its key, or a key alone", e->command);
	if (expires && !ls_time_parse(expires, &got->expires))
		return ls_fail(err, LS_USAGE, 0, "%s: expirationTimestamp is no time such as 2026-01-31T12:00:00Z", e->command);
	ls_str_add(&got->token, token ? token : "");
	ls_str_add(&got->cert_pem, cert ? cert : "");
	ls_str_add(&got->key_pem, key ? key : "");
	return got->token.oom || got->cert_pem.oom || got->key_pem.oom ? ls_fail_oom(err) : LS_OK;
}

/* cJSON's copies are wiped with the values. */
static void wipe(cJSON *item)
{
	for (; item; item = item->next) {
		if (item->valuestring)
			explicit_bzero(item->valuestring, strlen(item->valuestring));
		wipe(item->child);
	}
}

ls_status ls_kube_exec_parse(const struct ls_kube_exec *e, const char *text, size_t len, struct ls_kube_creds *ret, struct ls_err *err)
{
	cJSON *doc = cJSON_ParseWithLength(text, len);
	struct ls_kube_creds got = { 0 };
	ls_status st = doc ? take(e, doc, &got, err) : ls_fail(err, LS_USAGE, 0, "%s printed no JSON", e->command);

	wipe(doc);
	cJSON_Delete(doc);
	if (st)
		ls_kube_creds_release(&got);
	else
		*ret = got;
	return st;
}

ls_status ls_kube_exec_run(const struct ls_kube_config *c, struct ls_kube_creds *ret, struct ls_err *err)
{
	bool interactive = c->exec.interactive != LS_EXEC_NEVER && isatty(0);
	struct ls_secret answer = { 0 };
	struct ls_strv env = { 0 };
	ls_status st;

	if (c->exec.interactive == LS_EXEC_ALWAYS && !interactive)
		return ls_fail(err, LS_USAGE, 0, "the credential plug-in %s wants to ask a person (interactiveMode: Always), but there is no terminal",
			c->exec.command);
	st = make_env(c, interactive, &env, err);
	if (!st)
		st = ls_secret_new(OUTPUT_MAX, &answer, err);
	if (!st)
		st = run(c, env.v, interactive, &answer, err);
	if (!st)
		st = ls_kube_exec_parse(&c->exec, answer.s, answer.len, ret, err);
	ls_secret_free(&answer);
	ls_strv_wipe(&env);
	return st;
}
