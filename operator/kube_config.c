/* kube_config.c -- see kube_config.h: kubeconfig files and the ServiceAccount of a Pod.
 *
 * As client-go reads them: of several files in $KUBECONFIG the first that has a name or current-context wins; paths are relative to the file
 * that has them; data goes before a file's name. What client-go has given up (passwords, auth providers) is refused, and so is what could be
 * read in two ways. */
#include "operator/kube_config.h"
#include "core/base64.h"
#include "core/io.h"
#include "core/node.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define EXEC_API "client.authentication.k8s.io/"
#define MAX_FILES 16
#define PEM_MAX ((size_t)1 << 20)

struct file {
	char *path, *dir;
	struct ls_node *root;
};

struct load {
	struct file file[MAX_FILES];
	int n;
	const char *whence;
	struct ls_kube_config *c;
	struct ls_err *err;
};

void ls_kube_creds_release(struct ls_kube_creds *c)
{
	ls_str_wipe(&c->token);
	ls_str_wipe(&c->cert_pem);
	ls_str_wipe(&c->key_pem);
	*c = (struct ls_kube_creds){ 0 };
}

void ls_kube_config_release(struct ls_kube_config *c)
{
	char *texts[] = { c->whence, c->server, c->namespace_, c->server_name, c->proxy, c->token_file, c->exec.command, c->exec.api_version,
		c->exec.install_hint, c->exec.config };
	size_t i;

	for (i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		free(texts[i]);
	ls_str_release(&c->ca_pem);
	ls_strv_release(&c->headers);
	ls_strv_release(&c->exec.args);
	ls_strv_wipe(&c->exec.env);
	ls_kube_creds_release(&c->creds);
	*c = (struct ls_kube_config){ 0 };
}

/* --- values ------------------------------------------------------------------------------------------------------------------------------ */

/* *ret: the text, or NULL when it is absent, null or "". */
static ls_status text_of(struct load *l, const struct ls_node *map, const char *key, const char **ret)
{
	const struct ls_node *n = ls_node_get(map, key);

	*ret = NULL;
	if (!n || n->type == LS_NODE_NULL)
		return LS_OK;
	if (!n->text)
		return ls_fail(l->err, LS_USAGE, 0, "%s: %s must be a text, not %s", l->whence, key, ls_node_type_name(n->type));
	if (*n->text)
		*ret = n->text;
	return LS_OK;
}

/* Copies; *ret stays NULL when there is nothing. What ends in a header or URL has no control characters. */
static ls_status copy_text(struct load *l, const struct ls_node *map, const char *key, char **ret)
{
	const char *text, *p;
	ls_status st = text_of(l, map, key, &text);

	if (st || !text)
		return st;
	for (p = text; *p; p++)
		if ((unsigned char)*p < ' ' || *p == 127)
			return ls_fail(l->err, LS_USAGE, 0, "%s: %s has a control character", l->whence, key);
	*ret = strdup(text);
	return *ret ? LS_OK : ls_fail_oom(l->err);
}

static ls_status bool_of(struct load *l, const struct ls_node *map, const char *key, bool *ret)
{
	const struct ls_node *n = ls_node_get(map, key);

	if (!n || n->type == LS_NODE_NULL)
		return LS_OK;
	if (n->type != LS_NODE_BOOL)
		return ls_fail(l->err, LS_USAGE, 0, "%s: %s must be true or false", l->whence, key);
	*ret = n->boolean;
	return LS_OK;
}

/* Relative paths are relative to their file. */
static char *resolve(const struct file *f, const char *path)
{
	char *ret = NULL;

	if (*path == '/')
		return strdup(path);
	return asprintf(&ret, "%s/%s", f->dir, path) < 0 ? NULL : ret;
}

/* KEY-data, else the file that KEY names. */
static ls_status pem_of(struct load *l, const struct file *f, const struct ls_node *map, const char *key, struct ls_str *ret)
{
	const char *data, *path;
	char data_key[64], *full;
	ls_status st;

	snprintf(data_key, sizeof(data_key), "%s-data", key);
	st = text_of(l, map, data_key, &data);
	if (!st)
		st = text_of(l, map, key, &path);
	if (st)
		return st;
	if (data && (!ls_base64_decode(data, ret) || !ret->len))
		return ret->oom ? ls_fail_oom(l->err) : ls_fail(l->err, LS_USAGE, 0, "%s: %s is no base64", l->whence, data_key);
	if (data || !path)
		return LS_OK;
	full = resolve(f, path);
	st = full ? ls_file_read(full, PEM_MAX, ret, l->err) : ls_fail_oom(l->err);
	if (st == LS_NOT_FOUND)
		st = ls_fail(l->err, LS_USAGE, 0, "%s: %s: %s does not exist", l->whence, key, full);
	free(full);
	return st;
}

/* --- the files --------------------------------------------------------------------------------------------------------------------------- */

static ls_status add_file(struct load *l, const char *path)
{
	struct ls_str text = { 0 };
	struct file *f = &l->file[l->n];
	const char *slash = strrchr(path, '/');
	ls_status st;

	if (l->n == MAX_FILES)
		return ls_fail(l->err, LS_USAGE, 0, "$KUBECONFIG names more than %d files", MAX_FILES);
	st = ls_file_read(path, LS_NODE_MAX_BYTES, &text, l->err);
	if (st)
		return st;
	f->path = strdup(path);
	f->dir = slash ? strndup(path, slash == path ? 1 : (size_t)(slash - path)) : strdup(".");
	l->n++;
	st = f->path && f->dir ? ls_node_parse(path, ls_str_text(&text), text.len, &f->root, l->err) : ls_fail_oom(l->err);
	ls_str_wipe(&text);
	if (!st && f->root->type != LS_NODE_MAP && f->root->type != LS_NODE_NULL)
		st = ls_fail(l->err, LS_USAGE, 0, "%s is no kubeconfig: want clusters, users and contexts", path);
	return st;
}

/* $KUBECONFIG: those that do not exist are passed over, as kubectl does. */
static ls_status add_files(struct load *l, const char *list)
{
	char *copy = strdup(list), *save = NULL, *path;
	ls_status st = copy ? LS_OK : ls_fail_oom(l->err);

	for (path = copy ? strtok_r(copy, ":", &save) : NULL; path && !st; path = strtok_r(NULL, ":", &save)) {
		st = add_file(l, path);
		if (st == LS_NOT_FOUND)
			st = LS_OK;
	}
	free(copy);
	if (!st && !l->n)
		st = ls_fail(l->err, LS_USAGE, 0, "none of the files in $KUBECONFIG exists: %s", list);
	return st;
}

/* The map `what` of the first entry called `name` in the lists called `list`. */
static const struct ls_node *find(const struct load *l, const char *list, const char *name, const char *what, const struct file **ret)
{
	const struct ls_node *e, *called;
	int i;

	for (i = 0; i < l->n; i++) {
		const struct ls_node *all = ls_node_get(l->file[i].root, list);

		for (e = all && all->type == LS_NODE_LIST ? all->child : NULL; e; e = e->next) {
			called = ls_node_get(e, "name");
			if (called && called->text && !strcmp(called->text, name)) {
				*ret = &l->file[i];
				return ls_node_get(e, what);
			}
		}
	}
	return NULL;
}

static ls_status current_context(struct load *l, const char *asked, const char **ret)
{
	ls_status st = LS_OK;
	int i;

	*ret = asked;
	for (i = 0; i < l->n && !*ret && !st; i++)
		st = text_of(l, l->file[i].root, "current-context", ret);
	if (!st && !*ret)
		st = ls_fail(l->err, LS_USAGE, 0, "%s has no current-context: name one with --context", l->whence);
	return st;
}

/* --- cluster, user ----------------------------------------------------------------------------------------------------------------------- */

static bool host_ok(const char *s)
{
	return *s && s[strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-_")] == '\0';
}

static ls_status check_server(struct load *l)
{
	char *server = l->c->server;
	size_t len = server ? strlen(server) : 0, scheme;

	if (!server)
		return ls_fail(l->err, LS_USAGE, 0, "%s: the cluster has no server", l->whence);
	scheme = !strncmp(server, "https://", 8) ? 8 : !strncmp(server, "http://", 7) ? 7 : 0;
	if (!scheme || !server[scheme] || strpbrk(server, " @?#"))
		return ls_fail(l->err, LS_USAGE, 0, "%s: server must be https://HOST:PORT, without user, query and blanks", l->whence);
	while (len > scheme && server[len - 1] == '/')
		server[--len] = '\0';
	return LS_OK;
}

static ls_status check_proxy(struct load *l)
{
	static const char *const schemes[] = { "http://", "https://", "socks5://", "socks5h://" };
	size_t i;

	for (i = 0; l->c->proxy && i < 4; i++)
		if (!strncmp(l->c->proxy, schemes[i], strlen(schemes[i])))
			return LS_OK;
	return l->c->proxy ? ls_fail(l->err, LS_USAGE, 0, "%s: proxy-url must begin with http://, https:// or socks5://", l->whence) : LS_OK;
}

static cJSON *to_json(const struct ls_node *n)
{
	cJSON *ret = n->type == LS_NODE_LIST ? cJSON_CreateArray() : n->type == LS_NODE_MAP ? cJSON_CreateObject() :
		     n->type == LS_NODE_NULL ? cJSON_CreateNull() : n->type == LS_NODE_BOOL ? cJSON_CreateBool(n->boolean) :
		     n->type == LS_NODE_STRING ? cJSON_CreateString(n->text) : cJSON_CreateNumber(n->number);
	const struct ls_node *e;

	for (e = n->child; e && ret; e = e->next) {
		cJSON *item = to_json(e);

		if (!(n->type == LS_NODE_MAP ? cJSON_AddItemToObject(ret, e->key, item) : cJSON_AddItemToArray(ret, item))) {
			cJSON_Delete(item);
			cJSON_Delete(ret);
			ret = NULL;
		}
	}
	return ret;
}

/* What the cluster has to tell an exec plug-in. */
static ls_status copy_extension(struct load *l, const struct ls_node *cluster)
{
	const struct ls_node *list = ls_node_get(cluster, "extensions"), *e, *name, *value;

	for (e = list ? list->child : NULL; e; e = e->next) {
		name = ls_node_get(e, "name");
		value = ls_node_get(e, "extension");
		if (name && name->text && value && !strcmp(name->text, EXEC_API "exec")) {
			cJSON *json = to_json(value);

			l->c->exec.config = json ? cJSON_PrintUnformatted(json) : NULL;
			cJSON_Delete(json);
			return l->c->exec.config ? LS_OK : ls_fail_oom(l->err);
		}
	}
	return LS_OK;
}

static ls_status load_cluster(struct load *l, const char *name)
{
	struct ls_kube_config *c = l->c;
	const struct file *f = NULL;
	const struct ls_node *cluster = name ? find(l, "clusters", name, "cluster", &f) : NULL;
	ls_status st;

	if (!cluster)
		return ls_fail(l->err, LS_USAGE, 0, "%s: the context's cluster \"%s\" is in no file", l->whence, name ? name : "");
	if ((st = copy_text(l, cluster, "server", &c->server)) || (st = check_server(l)) ||
		(st = pem_of(l, f, cluster, "certificate-authority", &c->ca_pem)) ||
		(st = bool_of(l, cluster, "insecure-skip-tls-verify", &c->insecure)) ||
		(st = copy_text(l, cluster, "tls-server-name", &c->server_name)) || (st = copy_text(l, cluster, "proxy-url", &c->proxy)) ||
		(st = check_proxy(l)) || (st = copy_extension(l, cluster)))
		return st;
	if (c->insecure && c->ca_pem.len)
		return ls_fail(l->err, LS_USAGE, 0, "%s: insecure-skip-tls-verify and certificate-authority exclude each other", l->whence);
	if (c->server_name && !host_ok(c->server_name))
		return ls_fail(l->err, LS_USAGE, 0, "%s: tls-server-name is no host name", l->whence);
	return LS_OK;
}

static ls_status load_exec_lists(struct load *l, const struct ls_node *exec)
{
	const struct ls_node *args = ls_node_get(exec, "args"), *env = ls_node_get(exec, "env"), *n, *name, *value;
	struct ls_kube_exec *e = &l->c->exec;

	for (n = args ? args->child : NULL; n; n = n->next) {
		if (!n->text)
			return ls_fail(l->err, LS_USAGE, 0, "%s: exec: args must be a list of texts", l->whence);
		ls_strv_add(&e->args, n->text);
	}
	for (n = env ? env->child : NULL; n; n = n->next) {
		name = ls_node_get(n, "name");
		value = ls_node_get(n, "value");
		if (!name || !name->text || !*name->text || strchr(name->text, '=') || (value && !value->text))
			return ls_fail(l->err, LS_USAGE, 0, "%s: exec: env must be a list of name and value", l->whence);
		ls_strv_setenv(&e->env, name->text, value ? value->text : "");
	}
	return e->args.oom || e->env.oom ? ls_fail_oom(l->err) : LS_OK;
}

static ls_status load_exec(struct load *l, const struct file *f, const struct ls_node *exec)
{
	static const char *const modes[] = { "Never", "IfAvailable", "Always" };
	struct ls_kube_exec *e = &l->c->exec;
	const char *mode, *command;
	ls_status st;
	int i;

	if ((st = copy_text(l, exec, "apiVersion", &e->api_version)) || (st = text_of(l, exec, "command", &command)) ||
		(st = copy_text(l, exec, "installHint", &e->install_hint)) || (st = text_of(l, exec, "interactiveMode", &mode)) ||
		(st = bool_of(l, exec, "provideClusterInfo", &e->provide_cluster_info)) || (st = load_exec_lists(l, exec)))
		return st;
	if (!e->api_version || (strcmp(e->api_version, EXEC_API "v1") && strcmp(e->api_version, EXEC_API "v1beta1")))
		return ls_fail(l->err, LS_USAGE, 0, "%s: exec: apiVersion must be " EXEC_API "v1 or …/v1beta1", l->whence);
	if (!command)
		return ls_fail(l->err, LS_USAGE, 0, "%s: exec: command is missing", l->whence);
	if (!mode && !strcmp(e->api_version, EXEC_API "v1"))
		return ls_fail(l->err, LS_USAGE, 0, "%s: exec: interactiveMode is missing: Never, IfAvailable or Always", l->whence);
	for (i = 0; mode && i < 3 && strcmp(mode, modes[i]);)
		i++;
	if (mode && i == 3)
		return ls_fail(l->err, LS_USAGE, 0, "%s: exec: interactiveMode must be Never, IfAvailable or Always", l->whence);
	e->interactive = mode ? (enum ls_exec_interactive)i : LS_EXEC_IF_AVAILABLE;
	e->command = strchr(command, '/') ? resolve(f, command) : strdup(command); /* a bare name is looked up in PATH */
	return e->command ? LS_OK : ls_fail_oom(l->err);
}

static ls_status load_impersonation(struct load *l, const struct ls_node *user)
{
	const struct ls_node *groups = ls_node_get(user, "as-groups"), *n;
	char *as = NULL, *uid = NULL;
	ls_status st;

	if (ls_node_get(user, "as-user-extra"))
		return ls_fail(l->err, LS_USAGE, 0, "%s: as-user-extra is not supported: take it out, or use another user", l->whence);
	if (!(st = copy_text(l, user, "as", &as)))
		st = copy_text(l, user, "as-uid", &uid);
	if (!st && !as && (uid || groups))
		st = ls_fail(l->err, LS_USAGE, 0, "%s: as-groups and as-uid need \"as\"", l->whence);
	if (as)
		ls_strv_addf(&l->c->headers, "Impersonate-User: %s", as);
	if (uid)
		ls_strv_addf(&l->c->headers, "Impersonate-Uid: %s", uid);
	for (n = groups ? groups->child : NULL; n && !st; n = n->next) {
		if (n->text && !strpbrk(n->text, "\r\n"))
			ls_strv_addf(&l->c->headers, "Impersonate-Group: %s", n->text);
		else
			st = ls_fail(l->err, LS_USAGE, 0, "%s: as-groups must be a list of names", l->whence);
	}
	free(as);
	free(uid);
	return !st && l->c->headers.oom ? ls_fail_oom(l->err) : st;
}

static ls_status load_user(struct load *l, const char *name)
{
	struct ls_kube_config *c = l->c;
	const struct file *f = NULL;
	const struct ls_node *user = name ? find(l, "users", name, "user", &f) : NULL, *exec;
	const char *token, *path;
	ls_status st;

	if (!f && name)
		return ls_fail(l->err, LS_USAGE, 0, "%s: the context's user \"%s\" is in no file", l->whence, name);
	if (ls_node_get(user, "username") || ls_node_get(user, "password"))
		return ls_fail(l->err, LS_USAGE, 0, "%s: user \"%s\" has a password; Kubernetes takes none since 1.19: use a token, a certificate or exec",
			l->whence, name);
	if (ls_node_get(user, "auth-provider"))
		return ls_fail(l->err, LS_USAGE, 0, "%s: user \"%s\" has an auth-provider; clients have none since 1.26: use its exec plug-in", l->whence, name);
	if ((st = text_of(l, user, "token", &token)) || (st = text_of(l, user, "tokenFile", &path)) ||
		(st = pem_of(l, f, user, "client-certificate", &c->creds.cert_pem)) || (st = pem_of(l, f, user, "client-key", &c->creds.key_pem)) ||
		(st = load_impersonation(l, user)))
		return st;
	if (!c->creds.cert_pem.len != !c->creds.key_pem.len)
		return ls_fail(l->err, LS_USAGE, 0, "%s: user \"%s\" has a client certificate without its key, or a key alone", l->whence, name);
	exec = ls_node_get(user, "exec");
	if (exec && exec->type == LS_NODE_NULL)
		exec = NULL;
	if (exec && (token || path))
		return ls_fail(l->err, LS_USAGE, 0, "%s: user \"%s\" has both a token and exec: take one out", l->whence, name);
	if (exec)
		return load_exec(l, f, exec);
	if (path) /* goes before the token, which is what was in it once */
		c->token_file = resolve(f, path);
	else if (token)
		ls_str_add(&c->creds.token, token);
	return c->creds.token.oom || (path && !c->token_file) ? ls_fail_oom(l->err) : LS_OK;
}

static ls_status load_context(struct load *l, const char *asked)
{
	const struct ls_node *context;
	const struct file *f = NULL;
	const char *name, *cluster, *user;
	ls_status st = current_context(l, asked, &name);

	if (st)
		return st;
	context = find(l, "contexts", name, "context", &f);
	if (!context)
		return ls_fail(l->err, LS_USAGE, 0, "%s has no context \"%s\"", l->whence, name);
	if ((st = text_of(l, context, "cluster", &cluster)) || (st = text_of(l, context, "user", &user)) ||
		(st = copy_text(l, context, "namespace", &l->c->namespace_)) || (st = load_cluster(l, cluster)))
		return st;
	return load_user(l, user);
}

/* --- in a Pod ---------------------------------------------------------------------------------------------------------------------------- */

ls_status ls_kube_config_in_cluster(const char *dir, struct ls_kube_config *ret, struct ls_err *err)
{
	const char *host = getenv("KUBERNETES_SERVICE_HOST"), *port = getenv("KUBERNETES_SERVICE_PORT");
	struct ls_kube_config c = { 0 };
	struct ls_str name = { 0 };
	char path[512];
	ls_status st;

	if (!host || !*host || !port || !*port)
		return ls_fail(err, LS_USAGE, 0, "no cluster: name a kubeconfig with --kubeconfig or $KUBECONFIG (there is no ~/.kube/config, and this is "
			"no Pod)");
	snprintf(path, sizeof(path), "%s/ca.crt", dir);
	st = ls_file_read(path, PEM_MAX, &c.ca_pem, err);
	snprintf(path, sizeof(path), "%s/namespace", dir);
	if (!st && (st = ls_file_read(path, 256, &name, err)) == LS_NOT_FOUND)
		st = LS_OK;
	if (asprintf(&c.server, strchr(host, ':') ? "https://[%s]:%s" : "https://%s:%s", host, port) < 0)
		c.server = NULL;
	if (asprintf(&c.token_file, "%s/token", dir) < 0)
		c.token_file = NULL;
	c.whence = strdup("the Pod's ServiceAccount");
	if (name.len)
		c.namespace_ = strndup(name.s, strcspn(name.s, " \t\r\n"));
	if (!st && (!c.server || !c.token_file || !c.whence || name.oom || (name.len && !c.namespace_)))
		st = ls_fail_oom(err);
	ls_str_release(&name);
	if (st == LS_NOT_FOUND)
		st = ls_fail(err, LS_USAGE, 0, "%s/ca.crt does not exist: the Pod needs a ServiceAccount with automountServiceAccountToken", dir);
	if (st)
		ls_kube_config_release(&c);
	else
		*ret = c;
	return st;
}

/* --- which ------------------------------------------------------------------------------------------------------------------------------- */

/* LS_NOT_FOUND: there are no files. */
static ls_status open_files(struct load *l, const char *given)
{
	const char *list = getenv("KUBECONFIG"), *home = getenv("HOME");
	char path[4096];
	ls_status st;

	if (given) {
		l->whence = given;
		st = add_file(l, given);
		return st == LS_NOT_FOUND ? ls_fail(l->err, LS_USAGE, 0, "%s does not exist", given) : st;
	}
	if (list && *list) {
		l->whence = list;
		return add_files(l, list);
	}
	if (!home || (size_t)snprintf(path, sizeof(path), "%s/.kube/config", home) >= sizeof(path))
		return LS_NOT_FOUND;
	st = add_file(l, path);
	l->whence = l->n ? l->file[0].path : "~/.kube/config";
	return st;
}

ls_status ls_kube_config_load(const struct ls_kube_options *opt, struct ls_kube_config *ret, struct ls_err *err)
{
	struct ls_kube_config c = { 0 };
	struct load l = { .c = &c, .err = err };
	ls_status st = open_files(&l, opt->kubeconfig);
	int i;

	if (st == LS_NOT_FOUND && opt->context)
		st = ls_fail(err, LS_USAGE, 0, "no context \"%s\": there is no ~/.kube/config", opt->context);
	else if (st == LS_NOT_FOUND)
		st = ls_kube_config_in_cluster(LS_SERVICE_ACCOUNT_DIR, &c, err);
	else if (!st)
		st = load_context(&l, opt->context);
	if (!st && !c.whence && !(c.whence = strdup(l.whence)))
		st = ls_fail_oom(err);
	if (!st && (opt->namespace_ || !c.namespace_)) {
		free(c.namespace_);
		c.namespace_ = strdup(opt->namespace_ ? opt->namespace_ : "default");
		st = c.namespace_ ? LS_OK : ls_fail_oom(err);
	}
	for (i = 0; i < l.n; i++) {
		free(l.file[i].path);
		free(l.file[i].dir);
		ls_node_free(l.file[i].root);
	}
	if (st)
		ls_kube_config_release(&c);
	else
		*ret = c;
	return st;
}
