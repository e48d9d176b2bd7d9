/* test_kube.c -- which API server and as whom; what answers mean; the rate; pages and lines. No server is needed for these. */
#include "core/base64.h"
#include "core/io.h"
#include "operator/kube_config.h"
#include "operator/kube_impl.h"

#include <CUnit/Basic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static char dir[64]; /* of this program's run */

static void check(bool ok, const char *says, const char *got)
{
	if (!ok)
		printf("\n    failed: %s: %s", says, got);
	CU_ASSERT(ok);
}

static const char *file(const char *name, const char *text)
{
	static char path[2][128];
	static int turn;
	char *ret = path[turn = !turn];

	snprintf(ret, sizeof(path[0]), "%s/%s", dir, name);
	unlink(ret);
	CU_ASSERT(!ls_file_publish(ret, text, strlen(text), false, NULL));
	return ret;
}

/* --- kubeconfig -------------------------------------------------------------------------------------------------------------------------- */

#define CLUSTER(x) "clusters: [{name: c, cluster: {server: 'https://h:6443'" x "}}]\n"
#define USER(x) "users: [{name: u, user: {" x "}}]\n"
#define CONTEXT "contexts: [{name: x, context: {cluster: c, user: u, namespace: team}}]\ncurrent-context: x\n"
#define EXEC(x) USER("exec: {apiVersion: client.authentication.k8s.io/v1, interactiveMode: Never, command: p" x "}")

static const struct {
	const char *says, *text, *context;
	ls_status want;
	const char *part; /* of the summary below, or of the message */
} configs[] = {
	{ "a token", CLUSTER("") USER("token: abc") CONTEXT, NULL, LS_OK, "https://h:6443 ns=team token=abc" },
	{ "a number as token", CLUSTER("") USER("token: 0123") CONTEXT, NULL, LS_OK, "token=0123" },
	{ "a slash after the server", "clusters: [{name: c, cluster: {server: 'https://h/k8s/x//'}}]\n" USER("token: a") CONTEXT, NULL, LS_OK, "https://h/k8s/x ns=" },
	{ "JSON", "{\"clusters\":[{\"name\":\"c\",\"cluster\":{\"server\":\"http://h\"}}],\"users\":[{\"name\":\"u\",\"user\":{}}],"
		"\"contexts\":[{\"name\":\"x\",\"context\":{\"cluster\":\"c\",\"user\":\"u\"}}],\"current-context\":\"x\"}", NULL, LS_OK, "http://h ns=default token= " },
	{ "data goes before a file", CLUSTER(", certificate-authority-data: Q0E=, certificate-authority: none") USER("") CONTEXT, NULL, LS_OK, "ca=CA" },
	{ "files are relative to the kubeconfig", CLUSTER(", certificate-authority: ca.pem") USER("") CONTEXT, NULL, LS_OK, "ca=from the file" },
	{ "a client certificate", CLUSTER("") USER("client-certificate-data: Qw==, client-key-data: Sw==") CONTEXT, NULL, LS_OK, "cert=C key=K" },
	{ "a token file goes before a token", CLUSTER("") USER("token: a, tokenFile: t") CONTEXT, NULL, LS_OK, "token= file=DIR/t" },
	{ "another identity", CLUSTER("") USER("token: a, as: joe, as-uid: '7', as-groups: [dev, ops]") CONTEXT, NULL, LS_OK,
		"Impersonate-User: joe Impersonate-Uid: 7 Impersonate-Group: dev Impersonate-Group: ops" },
	{ "exec, from PATH", CLUSTER("") EXEC(", args: [a, 1], env: [{name: N, value: v}]") CONTEXT, NULL, LS_OK, "exec=p a 1 N=v" },
	{ "exec, relative to the file", CLUSTER("") EXEC("/q") CONTEXT, NULL, LS_OK, "exec=DIR/p/q" },
	{ "what the cluster says to exec", CLUSTER(", extensions: [{name: client.authentication.k8s.io/exec, extension: {a: [1, true, \"x\\\"\"]}}]") EXEC("") CONTEXT, NULL,
		LS_OK, "config={\"a\":[1,true,\"x\\\"\"]}" },
	{ "a proxy and a name in TLS", CLUSTER(", proxy-url: 'socks5://p:1', tls-server-name: n.x, insecure-skip-tls-verify: true") USER("") CONTEXT, NULL, LS_OK,
		"proxy=socks5://p:1 name=n.x insecure" },
	{ "another context", CLUSTER("") USER("token: a") "contexts: [{name: y, context: {cluster: c, user: u}}]\n", "y", LS_OK, "ns=default" },
	{ "a user that is not said", CLUSTER("") "contexts: [{name: x, context: {cluster: c}}]\ncurrent-context: x\n", NULL, LS_OK, "token= " },
	{ "a context that is not there", CLUSTER("") USER("") CONTEXT, "z", LS_USAGE, "has no context \"z\"" },
	{ "no current context", CLUSTER("") USER("") "contexts: []\n", NULL, LS_USAGE, "has no current-context" },
	{ "a cluster that is not there", USER("") CONTEXT, NULL, LS_USAGE, "cluster \"c\" is in no file" },
	{ "a user that is not there", CLUSTER("") CONTEXT, NULL, LS_USAGE, "user \"u\" is in no file" },
	{ "no server", "clusters: [{name: c, cluster: {}}]\n" USER("") CONTEXT, NULL, LS_USAGE, "has no server" },
	{ "a server without a scheme", "clusters: [{name: c, cluster: {server: 'h:1'}}]\n" USER("") CONTEXT, NULL, LS_USAGE, "must be https://HOST:PORT" },
	{ "a server with a password", "clusters: [{name: c, cluster: {server: 'https://u:p@h'}}]\n" USER("") CONTEXT, NULL, LS_USAGE, "must be https://HOST:PORT" },
	{ "a line break in the server", "clusters: [{name: c, cluster: {server: \"https://h\\r\\nX: y\"}}]\n" USER("") CONTEXT, NULL, LS_USAGE, "control character" },
	{ "a header in a group", CLUSTER("") USER("token: a, as: j, as-groups: [\"x\\nA: b\"]") CONTEXT, NULL, LS_USAGE, "must be a list of names" },
	{ "groups without a user", CLUSTER("") USER("token: a, as-groups: [x]") CONTEXT, NULL, LS_USAGE, "need \"as\"" },
	{ "a password", CLUSTER("") USER("username: u, password: secret") CONTEXT, NULL, LS_USAGE, "has a password" },
	{ "an auth provider", CLUSTER("") USER("auth-provider: {name: gcp}") CONTEXT, NULL, LS_USAGE, "has an auth-provider" },
	{ "a certificate without its key", CLUSTER("") USER("client-certificate-data: Qw==") CONTEXT, NULL, LS_USAGE, "without its key" },
	{ "no base64", CLUSTER(", certificate-authority-data: '*'") USER("") CONTEXT, NULL, LS_USAGE, "certificate-authority-data is no base64" },
	{ "a CA and none", CLUSTER(", certificate-authority-data: Q0E=, insecure-skip-tls-verify: true") USER("") CONTEXT, NULL, LS_USAGE, "exclude each other" },
	{ "a list as token", CLUSTER("") USER("token: [a]") CONTEXT, NULL, LS_USAGE, "token must be a text" },
	{ "a text as flag", CLUSTER(", insecure-skip-tls-verify: maybe") USER("") CONTEXT, NULL, LS_USAGE, "must be true or false" },
	{ "another proxy", CLUSTER(", proxy-url: 'ftp://p'") USER("") CONTEXT, NULL, LS_USAGE, "proxy-url must begin" },
	{ "a CA file that is not there", CLUSTER(", certificate-authority: none") USER("") CONTEXT, NULL, LS_USAGE, "does not exist" },
	{ "exec of another version", CLUSTER("") USER("exec: {apiVersion: client.authentication.k8s.io/v1alpha1, command: p}") CONTEXT, NULL, LS_USAGE, "apiVersion must be" },
	{ "exec without a mode", CLUSTER("") USER("exec: {apiVersion: client.authentication.k8s.io/v1, command: p}") CONTEXT, NULL, LS_USAGE, "interactiveMode is missing" },
	{ "exec and a token", CLUSTER("") USER("token: a, exec: {command: p}") CONTEXT, NULL, LS_USAGE, "both a token and exec" },
	{ "exec as text", CLUSTER("") USER("exec: p") CONTEXT, NULL, LS_USAGE, "apiVersion must be" },
	{ "a list", "[]", NULL, LS_USAGE, "is no kubeconfig" },
	{ "the same key twice", CLUSTER("") CLUSTER("") USER("") CONTEXT, NULL, LS_USAGE, "clusters" },
	{ "lists that are none", "clusters: x\nusers: 1\ncontexts: {a: b}\ncurrent-context: x\n", NULL, LS_USAGE, "has no context \"x\"" },
};

/* "https://… ns=… token=… …" with DIR for our directory. */
static void summarize(const struct ls_kube_config *c, struct ls_str *ret)
{
	size_t i;
	char *at;

	ls_str_addf(ret, "%s ns=%s token=%s file=%s ca=%s cert=%s key=%s proxy=%s name=%s%s", c->server, c->namespace_, ls_str_text(&c->creds.token),
		c->token_file ? c->token_file : "", ls_str_text(&c->ca_pem), ls_str_text(&c->creds.cert_pem), ls_str_text(&c->creds.key_pem),
		c->proxy ? c->proxy : "", c->server_name ? c->server_name : "", c->insecure ? " insecure" : "");
	for (i = 0; i < c->headers.n; i++)
		ls_str_addf(ret, " %s", c->headers.v[i]);
	ls_str_addf(ret, " exec=%s", c->exec.command ? c->exec.command : "");
	for (i = 0; i < c->exec.args.n; i++)
		ls_str_addf(ret, " %s", c->exec.args.v[i]);
	for (i = 0; i < c->exec.env.n; i++)
		ls_str_addf(ret, " %s", c->exec.env.v[i]);
	ls_str_addf(ret, " config=%s", c->exec.config ? c->exec.config : "");
	while ((at = strstr(ret->s, dir))) {
		memcpy(at, "DIR", 3);
		memmove(at + 3, at + strlen(dir), strlen(at + strlen(dir)) + 1);
	}
}

static void test_configs(void)
{
	size_t i;

	file("ca.pem", "from the file");
	for (i = 0; i < COUNT(configs); i++) {
		struct ls_kube_options opt = { .kubeconfig = file("config", configs[i].text), .context = configs[i].context };
		struct ls_err err = LS_ERR_INIT;
		struct ls_kube_config c = { 0 };
		struct ls_str got = { 0 };
		ls_status st = ls_kube_config_load(&opt, &c, &err);

		if (st)
			ls_str_add(&got, err.text);
		else
			summarize(&c, &got);
		check(st == configs[i].want && strstr(got.s, configs[i].part), configs[i].says, got.s);
		check(!strstr(got.s, "secret"), configs[i].says, "its message has the secret");
		ls_str_release(&got);
		ls_kube_config_release(&c);
	}
}

static void load(const struct ls_kube_options *opt, ls_status want, const char *part, const char *says)
{
	struct ls_err err = LS_ERR_INIT;
	struct ls_kube_config c = { 0 };
	struct ls_str got = { 0 };
	ls_status st = ls_kube_config_load(opt, &c, &err);

	if (st)
		ls_str_add(&got, err.text);
	else
		summarize(&c, &got);
	check(st == want && strstr(got.s, part), says, got.s);
	ls_str_release(&got);
	ls_kube_config_release(&c);
}

static void test_several_files(void)
{
	struct ls_kube_options opt = { .namespace_ = NULL };
	struct ls_str list = { 0 };

	ls_str_addf(&list, "%s:", file("one", "current-context: x\n" USER("token: first")));
	ls_str_addf(&list, "%s/missing:", dir);
	ls_str_addf(&list, "%s", file("two", CLUSTER("") USER("token: second") CONTEXT));
	setenv("KUBECONFIG", list.s, 1);
	load(&opt, LS_OK, "token=first", "the first file that has a name wins");
	opt.namespace_ = "mine";
	load(&opt, LS_OK, "ns=mine", "a namespace that is asked for");
	setenv("KUBECONFIG", "/nowhere/a:/nowhere/b", 1);
	load(&opt, LS_USAGE, "none of the files in $KUBECONFIG exists", "no file");
	unsetenv("KUBECONFIG");
	setenv("HOME", dir, 1);
	unsetenv("KUBERNETES_SERVICE_HOST");
	load(&opt, LS_USAGE, "no cluster: name a kubeconfig", "nothing at all");
	opt.kubeconfig = "/nowhere/c";
	load(&opt, LS_USAGE, "/nowhere/c does not exist", "a file that is asked for");
	ls_str_release(&list);
}

static void test_in_cluster(void)
{
	struct ls_kube_config c = { 0 };
	struct ls_err err = LS_ERR_INIT;

	setenv("KUBERNETES_SERVICE_HOST", "fd00::1", 1);
	setenv("KUBERNETES_SERVICE_PORT", "443", 1);
	check(ls_kube_config_in_cluster("/nowhere", &c, &err) == LS_USAGE && strstr(err.text, "automountServiceAccountToken"), "no ServiceAccount", err.text);
	file("ca.crt", "CA");
	file("namespace", "team\n");
	check(!ls_kube_config_in_cluster(dir, &c, &err), "a ServiceAccount", err.text);
	check(!strcmp(c.server, "https://[fd00::1]:443") && !strcmp(c.namespace_, "team") && !strcmp(c.ca_pem.s, "CA"), "a ServiceAccount", c.server);
	ls_kube_config_release(&c);
	unsetenv("KUBERNETES_SERVICE_HOST");
}

/* --- exec -------------------------------------------------------------------------------------------------------------------------------- */

#define CREDENTIAL(x) "{\"kind\":\"ExecCredential\",\"apiVersion\":\"v\",\"status\":{" x "}}"

static const struct {
	const char *says, *text;
	ls_status want;
	const char *part; /* of the token, or of the message */
} credentials[] = {
	{ "a token", CREDENTIAL("\"token\":\"t\""), LS_OK, "t" },
	{ "a token with an end", CREDENTIAL("\"token\":\"t\",\"expirationTimestamp\":\"2030-01-01T00:00:00Z\""), LS_OK, "t" },
	{ "a certificate", CREDENTIAL("\"clientCertificateData\":\"C\",\"clientKeyData\":\"K\""), LS_OK, "" },
	{ "nothing", "", LS_USAGE, "printed no JSON" },
	{ "a shell's complaint", "secret: command not found", LS_USAGE, "printed no JSON" },
	{ "another version", "{\"kind\":\"ExecCredential\",\"apiVersion\":\"w\",\"status\":{\"token\":\"t\"}}", LS_USAGE, "no ExecCredential of v" },
	{ "another kind", "{\"kind\":\"Pod\",\"apiVersion\":\"v\"}", LS_USAGE, "no ExecCredential" },
	{ "no status", "{\"kind\":\"ExecCredential\",\"apiVersion\":\"v\"}", LS_USAGE, "neither a token nor a certificate" },
	{ "half a certificate", CREDENTIAL("\"clientCertificateData\":\"secret\""), LS_USAGE, "without its key" },
	{ "a bad end", CREDENTIAL("\"token\":\"secret\",\"expirationTimestamp\":\"tomorrow\""), LS_USAGE, "expirationTimestamp is no time" },
};

static void test_exec_output(void)
{
	struct ls_kube_exec e = { .command = (char *)"plugin", .api_version = (char *)"v" };
	size_t i;

	for (i = 0; i < COUNT(credentials); i++) {
		struct ls_err err = LS_ERR_INIT;
		struct ls_kube_creds got = { 0 };
		ls_status st = ls_kube_exec_parse(&e, credentials[i].text, strlen(credentials[i].text), &got, &err);
		const char *text = st ? err.text : ls_str_text(&got.token);

		check(st == credentials[i].want && strstr(text, credentials[i].part) && !strstr(text, "secret"), credentials[i].says, text);
		ls_kube_creds_release(&got);
	}
}

static const struct {
	const char *says, *script;
	enum ls_exec_interactive mode;
	ls_status want;
	const char *part;
} plugins[] = {
	{ "it sees its environment", "#!/bin/sh\nprintf '{\"kind\":\"ExecCredential\",\"apiVersion\":\"v\",\"status\":{\"token\":\"%s-%s\"}}' \"$N\" \"$1\"", LS_EXEC_NEVER,
		LS_OK, "v-arg" },
	{ "it is told the cluster",
		"#!/bin/sh\ncase $KUBERNETES_EXEC_INFO in *'\"interactive\":false,\"cluster\":{\"server\":\"https://h\",\"certificate-authority-data\":\"Q0E=\",\"config\":{\"a\":1}}'*) "
		"echo '{\"kind\":\"ExecCredential\",\"apiVersion\":\"v\",\"status\":{\"token\":\"told\"}}';; *) echo \"$KUBERNETES_EXEC_INFO\" >&2; exit 3;; esac",
		LS_EXEC_NEVER, LS_OK, "told" },
	{ "it fails", "#!/bin/sh\nexit 3", LS_EXEC_NEVER, LS_USAGE, "exited with code 3" },
	{ "it is killed", "#!/bin/sh\nkill -9 $$", LS_EXEC_NEVER, LS_AGAIN, "was killed by signal 9" },
	{ "it reads, and there is nothing", "#!/bin/sh\nread x || exit 4", LS_EXEC_NEVER, LS_USAGE, "exited with code 4" },
	{ "it needs a person", "#!/bin/sh\n", LS_EXEC_ALWAYS, LS_USAGE, "there is no terminal" },
	{ "it is no program", "", LS_EXEC_NEVER, LS_USAGE, "install it so" },
};

static void test_exec(void)
{
	size_t i;

	freopen("/dev/null", "r", stdin);
	for (i = 0; i < COUNT(plugins); i++) {
		struct ls_kube_config c = { .server = (char *)"https://h", .exec = { .command = (char *)file("plugin", plugins[i].script), .api_version = (char *)"v",
			.install_hint = (char *)"install it so", .provide_cluster_info = true, .interactive = plugins[i].mode, .config = (char *)"{\"a\":1}" } };
		struct ls_err err = LS_ERR_INIT;
		struct ls_kube_creds got = { 0 };
		ls_status st;
		const char *text;

		if (*plugins[i].script)
			chmod(c.exec.command, 0700);
		ls_str_add(&c.ca_pem, "CA");
		ls_strv_add(&c.exec.args, "arg");
		ls_strv_add(&c.exec.env, "N=v");
		st = ls_kube_exec_run(&c, &got, &err);
		text = st ? err.text : ls_str_text(&got.token);
		check(st == plugins[i].want && strstr(text, plugins[i].part), plugins[i].says, text);
		ls_kube_creds_release(&got);
		ls_str_release(&c.ca_pem);
		ls_strv_release(&c.exec.args);
		ls_strv_release(&c.exec.env);
	}
}

static void test_base64(void)
{
	static const struct { const char *text, *want; } rows[] = { { "", "" }, { "QQ==", "A" }, { "QUI=", "AB" }, { "QUJD", "ABC" }, { "QU\nJD\n", "ABC" }, { "QQ", "A" },
		{ "Q", NULL }, { "Q===", NULL }, { "QQ=", NULL }, { "QQ==QQ==", NULL }, { "Q*==", NULL } };
	size_t i;

	for (i = 0; i < COUNT(rows); i++) {
		struct ls_str got = { 0 };
		bool ok = ls_base64_decode(rows[i].text, &got);

		check(ok == (rows[i].want != NULL) && (!ok || !strcmp(ls_str_text(&got), rows[i].want)), rows[i].text, ls_str_text(&got));
		ls_str_release(&got);
	}
}

/* --- answers ----------------------------------------------------------------------------------------------------------------------------- */

#define STATUS(m, r, x) "{\"kind\":\"Status\",\"message\":\"" m "\",\"reason\":\"" r "\"" x "}"

static const struct {
	const char *says;
	int status;
	const char *text;
	ls_status want;
	const char *message, *reason;
	int retry_after;
} answers[] = {
	{ "done", 200, "{}", LS_OK, "", "", 0 },
	{ "made", 201, "{}", LS_OK, "", "", 0 },
	{ "not there", 404, STATUS("pods \\\"x\\\" not found", "NotFound", ""), LS_NOT_FOUND, "pods \"x\" not found", "NotFound", 0 },
	{ "no such path", 404, "404 page not found\n", LS_NOT_FOUND, "the API server answered 404: 404 page not found", "", 0 },
	{ "it exists", 409, STATUS("pods \\\"x\\\" already exists", "AlreadyExists", ""), LS_EXISTS, "already exists", "AlreadyExists", 0 },
	{ "somebody was faster", 409, STATUS("the object has been modified", "Conflict", ""), LS_AGAIN, "modified", "Conflict", 0 },
	{ "too old", 410, STATUS("too old resource version", "Expired", ""), LS_AGAIN, "too old", "Expired", 0 },
	{ "too many", 429, STATUS("slow down", "TooManyRequests", ",\"details\":{\"retryAfterSeconds\":7}"), LS_AGAIN, "slow down", "TooManyRequests", 7 },
	{ "an absurd pause", 429, STATUS("x", "y", ",\"details\":{\"retryAfterSeconds\":1e300}"), LS_AGAIN, "x", "y", 0 },
	{ "it broke", 500, STATUS("etcdserver: request timed out", "InternalError", ""), LS_AGAIN, "timed out", "InternalError", 0 },
	{ "a proxy's page", 503, "<html>\nno\x01 backend", LS_AGAIN, "the API server answered 503: <html> no  backend", "", 0 },
	{ "not known", 401, STATUS("Unauthorized", "Unauthorized", ""), LS_USAGE, "Unauthorized; the credentials are", "Unauthorized", 0 },
	{ "not allowed", 403, STATUS("pods is forbidden", "Forbidden", ""), LS_USAGE, "pods is forbidden", "Forbidden", 0 },
	{ "not valid", 422, STATUS("spec.x: Required value", "Invalid", ""), LS_USAGE, "Required value", "Invalid", 0 },
	{ "a redirect", 302, "", LS_USAGE, "the API server answered 302", "", 0 },
	{ "another object", 400, "{\"kind\":\"Pod\",\"message\":\"x\"}", LS_USAGE, "answered 400: {\"kind\"", "", 0 },
	{ "wrong types", 500, "{\"kind\":\"Status\",\"message\":[1],\"reason\":{},\"details\":7}", LS_AGAIN, "answered 500", "", 0 },
};

static void test_answers(void)
{
	size_t i;

	for (i = 0; i < COUNT(answers); i++) {
		struct ls_kube_call c = { .status = answers[i].status, .err = LS_ERR_INIT };

		ls_str_add(&c.text, answers[i].text);
		ls_kube_judge(&c);
		check(c.st == answers[i].want && strstr(c.err.text, answers[i].message), answers[i].says, c.err.text);
		check(!strcmp(c.reason, answers[i].reason) && c.retry_after_s == answers[i].retry_after, answers[i].says, c.reason);
		ls_kube_call_release(&c);
	}
}

static void test_bucket(void)
{
	struct ls_kube_bucket b = { .qps = 10, .burst = 2 }, none = { 0 };
	int i, last = 0;

	CU_ASSERT_EQUAL(ls_kube_bucket_take(&b, 1000), 0);
	CU_ASSERT_EQUAL(ls_kube_bucket_take(&b, 1000), 0);
	for (i = 1; i <= 20; i++) { /* each waits for its own turn, 100 ms after the one before */
		last = ls_kube_bucket_take(&b, 1000);
		CU_ASSERT(last >= 100 * i && last <= 100 * i + 1);
	}
	CU_ASSERT_EQUAL(ls_kube_bucket_take(&b, 1000 + 2100), 0);
	CU_ASSERT_EQUAL(ls_kube_bucket_take(&b, 1000000), 0); /* a long quiet time fills no more than the burst */
	CU_ASSERT_EQUAL(ls_kube_bucket_take(&b, 1000000), 0);
	CU_ASSERT(ls_kube_bucket_take(&b, 1000000) > 0);
	for (i = 0; i < 1000; i++)
		CU_ASSERT_EQUAL(ls_kube_bucket_take(&none, 1000), 0);
}

static void test_segments(void)
{
	struct ls_str path = { 0 };

	ls_kube_add_segment(&path, "a-B_0.~/?#%&=+ \n\xc3\xa4");
	CU_ASSERT_STRING_EQUAL(ls_str_text(&path), "a-B_0.~%2F%3F%23%25%26%3D%2B%20%0A%C3%A4");
	ls_str_release(&path);
}

/* --- pages and lines --------------------------------------------------------------------------------------------------------------------- */

static const struct {
	const char *says, *text, *want; /* "a b version/continue"; NULL: refused */
} pages[] = {
	{ "two items", "{\"kind\":\"L\",\"metadata\":{\"resourceVersion\":\"7\"},\"items\":[{\"n\":\"a\"},{\"n\":\"b\"}]}\n", "a b 7/" },
	{ "metadata at the end", "{\"items\":[{\"n\":\"a\"}],\"metadata\":{\"continue\":\"t\",\"resourceVersion\":\"7\"}}", "a 7/t" },
	{ "white space", " { \"items\" : [ { \"n\" : \"a\" } , { \"n\":\"b\" } ] , \"metadata\" : { \"resourceVersion\" : \"1\" } } ", "a b 1/" },
	{ "no items", "{\"metadata\":{\"resourceVersion\":\"7\"},\"items\":[]}", "7/" },
	{ "null for items", "{\"metadata\":{\"resourceVersion\":\"7\"},\"items\":null}", "7/" },
	{ "no version", "{\"metadata\":{},\"items\":[]}", NULL },
	{ "cut in the items", "{\"metadata\":{\"resourceVersion\":\"7\"},\"items\":[{\"n\":\"a\"},{\"n\":", NULL },
	{ "cut after the items", "{\"metadata\":{\"resourceVersion\":\"7\"},\"items\":[]", NULL },
	{ "more after the end", "{\"metadata\":{\"resourceVersion\":\"7\"},\"items\":[]}x", NULL },
	{ "items that are none", "{\"metadata\":{\"resourceVersion\":\"7\"},\"items\":[1]}", NULL },
	{ "items that are no list", "{\"metadata\":{\"resourceVersion\":\"7\"},\"items\":{}}", NULL },
	{ "a comma at the end", "{\"metadata\":{\"resourceVersion\":\"7\"},\"items\":[{\"n\":\"a\"},]}", NULL },
	{ "no object", "[]", NULL },
	{ "nothing", "", NULL },
};

static void add_name(void *arg, const cJSON *item)
{
	const char *name = cJSON_GetStringValue(cJSON_GetObjectItem(item, "n"));

	ls_str_addf(arg, "%s ", name ? name : "?");
}

static void test_pages(void)
{
	size_t i;

	for (i = 0; i < COUNT(pages); i++) {
		struct ls_kube_page page = { 0 };
		struct ls_str got = { 0 };
		ls_status st = ls_kube_page_read(pages[i].text, strlen(pages[i].text), add_name, &got, &page, NULL);

		ls_str_addf(&got, "%s/%s", ls_str_text(&page.version), ls_str_text(&page.next));
		check(pages[i].want ? !st && !strcmp(got.s, pages[i].want) : st == LS_AGAIN, pages[i].says, got.s);
		ls_kube_page_release(&page);
		ls_str_release(&got);
	}
}

#define OBJECT ",\"object\":{\"metadata\":{\"resourceVersion\":\"8\"}}}"

static const struct {
	const char *says, *text;
	enum ls_kube_line want;
} lines[] = {
	{ "new", "{\"type\":\"ADDED\"" OBJECT, LS_LINE_SET },
	{ "changed", "{\"type\":\"MODIFIED\"" OBJECT, LS_LINE_SET },
	{ "gone", "{\"type\":\"DELETED\"" OBJECT, LS_LINE_GONE },
	{ "a bookmark", "{\"type\":\"BOOKMARK\"" OBJECT, LS_LINE_BOOKMARK },
	{ "too old, by its code", "{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\",\"code\":410}}", LS_LINE_EXPIRED },
	{ "too old, by its reason", "{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\",\"reason\":\"Expired\"}}", LS_LINE_EXPIRED },
	{ "another error", "{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\",\"code\":500,\"message\":\"no\"}}", LS_LINE_ERROR },
	{ "an error without a Status", "{\"type\":\"ERROR\"}", LS_LINE_BAD },
	{ "an event of tomorrow", "{\"type\":\"PATCHED\"" OBJECT, LS_LINE_BAD },
	{ "no version", "{\"type\":\"ADDED\",\"object\":{}}", LS_LINE_BAD },
	{ "a version that is a number", "{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"resourceVersion\":8}}}", LS_LINE_BAD },
	{ "no event", "{}", LS_LINE_BAD },
	{ "half a line", "{\"type\":\"ADDED\",\"obj", LS_LINE_BAD },
	{ "no JSON", "<html>", LS_LINE_BAD },
};

static void test_lines(void)
{
	size_t i;

	for (i = 0; i < COUNT(lines); i++) {
		struct ls_err err = LS_ERR_INIT;
		const cJSON *object;
		cJSON *doc;
		enum ls_kube_line got = ls_kube_line_read(lines[i].text, strlen(lines[i].text), &doc, &object, &err);

		check(got == lines[i].want, lines[i].says, err.text);
		check((doc != NULL) == (got <= LS_LINE_BOOKMARK) && (doc || *err.text), lines[i].says, "the object, or else the message");
		cJSON_Delete(doc);
	}
}

int main(void)
{
	unsigned failures = 1;
	CU_pSuite suite;

	snprintf(dir, sizeof(dir), "/tmp/test_kube.XXXXXX");
	if (!mkdtemp(dir) || CU_initialize_registry() != CUE_SUCCESS)
		return 1;
	suite = CU_add_suite("kube", NULL, NULL);
	CU_add_test(suite, "kubeconfig", test_configs);
	CU_add_test(suite, "several kubeconfigs", test_several_files);
	CU_add_test(suite, "in a Pod", test_in_cluster);
	CU_add_test(suite, "what plug-ins print", test_exec_output);
	CU_add_test(suite, "plug-ins", test_exec);
	CU_add_test(suite, "base64", test_base64);
	CU_add_test(suite, "what answers mean", test_answers);
	CU_add_test(suite, "the rate", test_bucket);
	CU_add_test(suite, "path segments", test_segments);
	CU_add_test(suite, "pages", test_pages);
	CU_add_test(suite, "lines", test_lines);
	CU_basic_set_mode(CU_BRM_VERBOSE);
	CU_basic_run_tests();
	failures = CU_get_number_of_failures();
	CU_cleanup_registry();
	ls_remove_tree(dir, NULL);
	return failures != 0;
}
