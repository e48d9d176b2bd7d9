/* test_aws_creds.c -- where credentials and settings come from: environment, profiles, processes, and services played
 * by a forked server. Every secret holds the word s3cr3t, which no message may. */
#include "core/aws_creds_impl.h"
#include "core/io.h"
#include "core/sigv4.h"

#include <CUnit/Basic.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static char dir[64]; /* of this program's run; HOME */

/* What the server and the tests share. */
static struct shared {
	int port;
	atomic_int requests, failures; /* so many requests more are answered 503 */
	atomic_int delay_ms;
	atomic_long expires_in;
} * shared;

static void check(bool ok, const char *says, const char *got)
{
	if (!ok)
		printf("\n    failed: %s: %s", says, got);
	CU_ASSERT(ok);
}

/* --- the server --------------------------------------------------------------------------------------------------- */

static const char *header(const char *head, const char *name, char *ret, size_t size)
{
	char line[128];
	const char *at;

	snprintf(line, sizeof(line), "\r\n%s: ", name);
	at = strcasestr(head, line);
	snprintf(ret, size, "%.*s", at ? (int)strcspn(at + strlen(line), "\r") : 0, at ? at + strlen(line) : "");
	return ret;
}

static void expiration(char text[32])
{
	time_t at = time(NULL) + shared->expires_in;
	struct tm tm;

	strftime(text, 32, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&at, &tm));
}

/* Signs what arrived once more, with the key that the client should have. */
static bool signature_is_right(const char *head, const char *body)
{
	struct ls_creds creds = { "AKIDBASE", "s3cr3t-base", "" };
	char host[128], date[64], got[1024], sum[65];
	struct iovec iov = { (void *)body, strlen(body) };
	struct ls_sigv4 rq = { .method = "POST",
		.host = header(head, "Host", host, sizeof(host)),
		.path = "/",
		.payload = sum,
		.service = "sts",
		.region = "eu-central-1" };
	struct ls_strv want = { 0 };
	struct tm tm = { 0 };
	bool right;

	strptime(header(head, "x-amz-date", date, sizeof(date)), "%Y%m%dT%H%M%SZ", &tm);
	rq.now = timegm(&tm);
	ls_sha256_hex(&iov, 1, sum);
	right = !ls_sigv4_sign(&rq, &creds, &want, NULL) &&
		!strcmp(strchr(want.v[want.n - 1], ' ') + 1, header(head, "Authorization", got, sizeof(got)));
	ls_strv_release(&want);
	return right;
}

static int answer_sts(const char *head, const char *body, char *ret, size_t size)
{
	bool web = strstr(body, "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&") != NULL;
	char expires[32];

	expiration(expires);
	if (strstr(body, "role%2Fecho")) {
		snprintf(ret, size, "<Error><Code>Invalid</Code><Message>no good: jwt-s3cr3t+=</Message></Error>");
		return 400;
	}
	if (strstr(body, "role%2Fdenied")) {
		snprintf(ret, size,
			"<E><Error><Code>AccessDenied</Code><Message>Not you.\ncanonical s3cr3t</Message></Error></E>");
		return 403;
	}
	if (web ? !strstr(body, "&WebIdentityToken=jwt-s3cr3t%2B%3D") : !signature_is_right(head, body)) {
		snprintf(ret, size, "<Error><Code>SignatureDoesNotMatch</Code><Message>No.</Message></Error>");
		return 403;
	}
	snprintf(ret, size,
		"<R><Credentials>\n<AccessKeyId>%s</AccessKeyId><SecretAccessKey>s3cr3t-sts</SecretAccessKey>"
		"<SessionToken>s3cr3t//==</SessionToken><Expiration>%s</Expiration></Credentials></R>",
		web ? "ASIAWEB" : "ASIAROLE", expires);
	return 200;
}

static int answer(const char *head, const char *body, char *ret, size_t size)
{
	char token[128], expires[32];

	if (!strncmp(head, "POST / ", 7))
		return answer_sts(head, body, ret, size);
	if (!strncmp(head, "PUT /latest/api/token ", 22)) {
		snprintf(ret, size, "imds-s3cr3t==");
		return *header(head, "X-aws-ec2-metadata-token-ttl-seconds", token, sizeof(token)) ? 200 : 400;
	}
	if (!strncmp(head, "GET /latest/", 12) &&
		strcmp(header(head, "X-aws-ec2-metadata-token", token, sizeof(token)), "imds-s3cr3t=="))
		return 401;
	if (!strncmp(head, "GET /latest/meta-data/iam/security-credentials/ ", 48)) {
		snprintf(ret, size, "train-role\n");
		return 200;
	}
	if (!strncmp(head, "GET /container ", 15) &&
		strcmp(header(head, "Authorization", token, sizeof(token)), "Basic s3cr3t"))
		return 401;
	if (strncmp(head, "GET /container ", 15) &&
		strncmp(head, "GET /latest/meta-data/iam/security-credentials/train-role ", 58))
		return 404;
	expiration(expires);
	snprintf(ret, size,
		"{\"Code\":\"Success\",\"AccessKeyId\":\"ASIA%d\",\"SecretAccessKey\":\"s3cr3t-got\",\"Token\":"
		"\"s3cr3t-tok\","
		"\"Expiration\":\"%s\"}",
		shared->requests, expires);
	return 200;
}

static void serve_one(int fd)
{
	char buf[16384] = "", length[16], body[1024] = "", head[256], *end;
	ssize_t n, used = 0;
	int status;

	for (;;) {
		n = read(fd, buf + used, sizeof(buf) - 1 - (size_t)used);
		if (n <= 0)
			return;
		used += n;
		buf[used] = '\0';
		end = strstr(buf, "\r\n\r\n");
		if (end && used - (end + 4 - buf) >= atol(header(buf, "Content-Length", length, sizeof(length))))
			break;
	}
	shared->requests++;
	usleep((useconds_t)shared->delay_ms * 1000);
	if (shared->failures > 0) {
		shared->failures--;
		status = 503;
	} else {
		status = answer(buf, end + 4, body, sizeof(body));
	}
	snprintf(head, sizeof(head), "HTTP/1.1 %d X\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n", status,
		strlen(body));
	ls_write_all(fd, head, strlen(head));
	ls_write_all(fd, body, strlen(body));
}

static pid_t server_start(void)
{
	struct sockaddr_in addr = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one;
	socklen_t len = sizeof(addr);
	pid_t pid;

	if (fd < 0 || bind(fd, (struct sockaddr *)&addr, len) || listen(fd, 16) ||
		getsockname(fd, (struct sockaddr *)&addr, &len))
		return -1;
	shared->port = ntohs(addr.sin_port);
	pid = fork();
	if (pid) {
		close(fd);
		return pid;
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;) {
		one = accept(fd, NULL, NULL);
		serve_one(one);
		close(one);
	}
}

/* --- environment and files ---------------------------------------------------------------------------------------- */

/* @DIR@ and @PORT@ in `text` become what they are. */
static const char *expand(const char *text)
{
	static char out[4096];
	size_t n = 0;

	for (out[0] = '\0'; *text; text++) {
		if (!strncmp(text, "@DIR@", 5)) {
			n += (size_t)snprintf(out + n, sizeof(out) - n, "%s", dir);
			text += 4;
		} else if (!strncmp(text, "@PORT@", 6)) {
			n += (size_t)snprintf(out + n, sizeof(out) - n, "%d", shared->port);
			text += 5;
		} else {
			out[n++] = *text;
		}
		out[n] = '\0';
	}
	return out;
}

/* text NULL: it is not there. */
static bool put_file(const char *name, const char *text)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	unlink(path);
	return !text || !ls_file_publish(path, expand(text), strlen(expand(text)), false, NULL);
}

/* Nothing of AWS but these; files NULL: absent. No row may ask this machine's own metadata service. */
static void set_up(const char *const env[6], const char *config, const char *credentials)
{
	char name[64];
	char **e;
	int i;

	for (e = environ; *e;) {
		if (strncmp(*e, "AWS_", 4)) {
			e++;
			continue;
		}
		snprintf(name, sizeof(name), "%.*s", (int)strcspn(*e, "="), *e);
		unsetenv(name);
		e = environ;
	}
	setenv("HOME", dir, 1);
	setenv("AWS_EC2_METADATA_DISABLED", "true", 1);
	for (i = 0; env && i < 6 && env[i]; i++) {
		const char *equals = strchr(env[i], '=');

		snprintf(name, sizeof(name), "%.*s", (int)(equals - env[i]), env[i]);
		setenv(name, expand(equals + 1), 1);
	}
	CU_ASSERT_FATAL(put_file(".aws/config", config) && put_file(".aws/credentials", credentials));
	shared->requests = shared->failures = shared->delay_ms = 0;
	shared->expires_in = 3600;
}

/* --- the chain ---------------------------------------------------------------------------------------------------- */

#define KEYS(id) "aws_access_key_id = " id "\naws_secret_access_key = s3cr3t-base\n"
#define ROLE "role_arn = arn:aws:iam::1:role/r\n"
#define STS "AWS_ENDPOINT_URL_STS=http://127.0.0.1:@PORT@", "AWS_REGION=eu-central-1"
#define IMDS "AWS_EC2_METADATA_DISABLED=false", "AWS_EC2_METADATA_SERVICE_ENDPOINT=http://127.0.0.1:@PORT@/"
#define FULL "AWS_CONTAINER_CREDENTIALS_FULL_URI="
#define AUTH "AWS_CONTAINER_AUTHORIZATION_TOKEN=Basic s3cr3t"
#define PROCESS "[default]\ncredential_process = "
#define JSON "'{\"Version\":1,\"AccessKeyId\":\"AKIDPROC\",\"SecretAccessKey\":\"s3cr3t-p\"}'"

static const struct {
	const char *says, *env[6], *config, *credentials;
	ls_status want;
	const char *text; /* "ID SECRET TOKEN from WHENCE"; or a part of the message */
} rows[] = {
	{ "the environment",
		{ "AWS_ACCESS_KEY_ID=AKID", "AWS_SECRET_ACCESS_KEY=s3cr3t", "AWS_SESSION_TOKEN=s3cr3t//+=" }, NULL,
		"[default]\n" KEYS("OTHER"), LS_OK, "AKID s3cr3t s3cr3t//+= from the environment" },
	{ "half an environment", { "AWS_ACCESS_KEY_ID=AKID" }, NULL, "[default]\n" KEYS("OTHER"), LS_USAGE,
		"AWS_ACCESS_KEY_ID is set and AWS_SECRET_ACCESS_KEY is not" },
	{ "the other half", { "AWS_SECRET_ACCESS_KEY=s3cr3t" }, NULL, NULL, LS_USAGE,
		"AWS_SECRET_ACCESS_KEY is set and AWS_ACCESS_KEY_ID is not" },
	{ "empty variables are none", { "AWS_ACCESS_KEY_ID=", "AWS_SECRET_ACCESS_KEY=" }, NULL,
		"[default]\n" KEYS("AKID"), LS_OK, "AKID s3cr3t-base " },
	{ "a line break in a secret", { "AWS_ACCESS_KEY_ID=AKID", "AWS_SECRET_ACCESS_KEY=s3cr3t\nX: y" }, NULL, NULL,
		LS_USAGE, "AWS_SECRET_ACCESS_KEY has a blank" },
	{ "nothing anywhere", { 0 }, NULL, NULL, LS_USAGE,
		"no credentials: AWS_ACCESS_KEY_ID is not set, profile 'default' has none in" },

	{ "default of credentials", { 0 }, NULL, "[default]\n" KEYS("AKID"), LS_OK,
		"AKID s3cr3t-base  from profile 'default' of @DIR@/.aws/credentials" },
	{ "a profile of config", { "AWS_PROFILE=a b" },
		"# x\n[profile \"a b\"]\n; y\n" KEYS("AKID") "aws_session_token=s3cr3t", NULL, LS_OK,
		"AKID s3cr3t-base s3cr3t from profile 'a b' of @DIR@/.aws/config" },
	{ "credentials before config", { 0 }, "[default]\n" KEYS("OTHER") "aws_session_token=s3cr3t",
		"[default]\n" KEYS("AKID"), LS_OK, "AKID s3cr3t-base  from" },
	{ "files with names of their own", { "AWS_SHARED_CREDENTIALS_FILE=~/.aws/config", "AWS_PROFILE=p" },
		"[p]\n" KEYS("AKID"), NULL, LS_OK, "AKID s3cr3t-base  from profile 'p' of @DIR@/.aws/config" },
	{ "CRLF, a BOM, indents and capitals", { 0 }, NULL,
		"\xef\xbb\xbf[default]\r\n  AWS_Access_Key_ID: AKID\r\n\r\n  aws_secret_access_key= s3cr3t#;=x \r\n",
		LS_OK, "AKID s3cr3t#;=x  from" },
	{ "a key's halves in two files", { 0 }, "[default]\naws_secret_access_key=s3cr3t\n",
		"[default]\naws_access_key_id=A\n", LS_USAGE,
		"/.aws/credentials:2: aws_access_key_id, and no aws_secret_access_key in the same file" },
	{ "a secret alone", { 0 }, NULL, "[default]\naws_secret_access_key=s3cr3t\n", LS_USAGE,
		".aws/credentials:2: aws_secret" },
	{ "a blank in a secret", { 0 }, NULL, "[default]\naws_access_key_id=A\naws_secret_access_key=s3cr3t x\n",
		LS_USAGE, ".aws/credentials:3: aws_secret_access_key has a blank" },
	{ "a profile that is not there", { "AWS_PROFILE=trian" },
		"[profile train]\n[sso-session s]\n[train2]\n[default]\n", "[train]\n[backup]\n", LS_USAGE,
		"no profile 'trian' in @DIR@/.aws/credentials or @DIR@/.aws/config; there are: train, default, "
		"backup" },
	{ "a profile and no files", { "AWS_PROFILE=p" }, NULL, NULL, LS_USAGE, ".aws/config, which have none" },
	{ "no section", { 0 }, NULL, "aws_secret_access_key=s3cr3t\n", LS_USAGE, ".aws/credentials:1: want a section" },
	{ "no key", { 0 }, NULL, "[default]\n\ns3cr3t\n", LS_USAGE, ".aws/credentials:3: want KEY = VALUE" },
	{ "half a section", { 0 }, "[default]\n[profile x\n", NULL, LS_USAGE,
		".aws/config:2: a section's name ends with ']'" },
	{ "a group's line without '='", { 0 }, "[default]\ns3 =\n  s3cr3t\n", NULL, LS_USAGE,
		".aws/config:3: want KEY = VALUE" },
	{ "a directory", { "AWS_CONFIG_FILE=@DIR@" }, NULL, NULL, LS_AGAIN, "cannot read @DIR@: Is a directory" },

	{ "a process", { 0 }, PROCESS "echo " JSON "\n", NULL, LS_OK,
		"AKIDPROC s3cr3t-p  from credential_process of profile 'default' of @DIR@/.aws/config" },
	{ "a process of several lines", { 0 }, PROCESS "echo \\\n    " JSON "\nregion = x\n", NULL, LS_OK,
		"AKIDPROC s3cr3t-p " },
	{ "a process that lives on in the background", { 0 }, PROCESS "echo " JSON "; sleep 0.2 >/dev/null &\n", NULL,
		LS_OK, "AKIDPROC s3cr3t-p " },
	{ "a process that fails", { 0 }, PROCESS "echo s3cr3t; exit 3\n", NULL, LS_USAGE,
		".aws/config:2: credential_process exited with code 3" },
	{ "a process that is not there", { 0 }, PROCESS "exec /nowhere/x 2>&-\n", NULL, LS_USAGE,
		"exited with code 127: no such command" },
	{ "a process that is killed", { 0 }, PROCESS "kill -9 $$\n", NULL, LS_AGAIN, "killed by signal 9" },
	{ "a process that says nothing", { 0 }, PROCESS "true\n", NULL, LS_USAGE, "the answer is no JSON object" },
	{ "a process that says something else", { 0 }, PROCESS "echo '{\"Secret\":\"s3cr3t\"}'\n", NULL, LS_USAGE,
		"no AccessKeyId" },
	{ "a process of another version", { 0 }, PROCESS "echo '{\"Version\":2}'\n", NULL, LS_USAGE,
		"Version is not 1" },
	{ "a process that says too much", { 0 }, PROCESS "head -c 70000 /dev/zero\n", NULL, LS_USAGE,
		"larger than 65536 bytes" },
	{ "SSO", { 0 }, "[default]\nsso_session = s\n", NULL, LS_USAGE,
		"aws configure export-credentials --profile default" },

	{ "web identity", { STS, "AWS_ROLE_ARN=arn:aws:iam::1:role/r", "AWS_WEB_IDENTITY_TOKEN_FILE=@DIR@/token" },
		NULL, "[default]\n" KEYS("OTHER"), LS_OK,
		"ASIAWEB s3cr3t-sts s3cr3t//== from role arn:aws:iam::1:role/r by web identity" },
	{ "web identity without a role", { STS, "AWS_WEB_IDENTITY_TOKEN_FILE=@DIR@/token" }, NULL, NULL, LS_USAGE,
		"AWS_ROLE_ARN is not" },
	{ "a token file that is not there", { STS, "AWS_ROLE_ARN=r", "AWS_WEB_IDENTITY_TOKEN_FILE=@DIR@/none" }, NULL,
		NULL, LS_USAGE, "cannot read @DIR@/none: No such file" },
	{ "a token file of two lines", { STS, "AWS_ROLE_ARN=r", "AWS_WEB_IDENTITY_TOKEN_FILE=@DIR@/lines" }, NULL, NULL,
		LS_USAGE, "lines holds no token" },
	{ "a role that STS denies", { STS, "AWS_ROLE_ARN=role/denied", "AWS_WEB_IDENTITY_TOKEN_FILE=@DIR@/token" },
		NULL, NULL, LS_USAGE, "answered 403: AccessDenied: Not you." },
	{ "a refusal that repeats the token",
		{ STS, "AWS_ROLE_ARN=role/echo", "AWS_WEB_IDENTITY_TOKEN_FILE=@DIR@/token" }, NULL, NULL, LS_USAGE,
		"answered 400" },
	{ "STS is away",
		{ "AWS_ENDPOINT_URL_STS=http://127.0.0.1:1", "AWS_ROLE_ARN=r",
			"AWS_WEB_IDENTITY_TOKEN_FILE=@DIR@/token" },
		NULL, "[default]\n" KEYS("OTHER"), LS_AGAIN, "http://127.0.0.1:1 does not answer: " },
	{ "STS with a path",
		{ "AWS_ENDPOINT_URL_STS=http://h/x", "AWS_ROLE_ARN=r", "AWS_WEB_IDENTITY_TOKEN_FILE=@DIR@/token" },
		NULL, NULL, LS_USAGE, "AWS_ENDPOINT_URL_STS: want https://HOST" },
	{ "web identity of a profile", { STS }, "[default]\n" ROLE "web_identity_token_file = @DIR@/token\n", NULL,
		LS_OK, "ASIAWEB s3cr3t-sts" },
	{ "a role from another profile's keys", { STS, "AWS_PROFILE=p" },
		"[profile p]\n" ROLE "source_profile = base\n", "[base]\n" KEYS("AKIDBASE"), LS_OK,
		"ASIAROLE s3cr3t-sts s3cr3t//== from role arn:aws:iam::1:role/r" },
	{ "a role from its own profile's keys", { STS },
		"[default]\n" ROLE "source_profile = default\n" KEYS("AKIDBASE"), NULL, LS_OK, "ASIAROLE s3cr3t-sts" },
	{ "a role from the environment", { STS, "AWS_PROFILE=p", "AWS_ACCESS_KEY_ID=", "AWS_SECRET_ACCESS_KEY=" },
		"[profile p]\n" ROLE "credential_source = Environment\n", NULL, LS_USAGE,
		":3: credential_source has no credentials" },
	{ "a role with the wrong key", { STS }, "[default]\n" ROLE "source_profile = default\n" KEYS("AKIDOTHER"), NULL,
		LS_USAGE, "profile 'default': http://127.0.0.1:@PORT@ answered 403: SignatureDoesNotMatch: No." },
	{ "a role from nobody", { STS }, "[default]\n" ROLE, NULL, LS_USAGE, ".aws/config:2: role_arn wants one of" },
	{ "a role from a profile that is not there", { STS }, "[default]\n" ROLE "source_profile = x\n", NULL, LS_USAGE,
		".aws/config:3: source_profile names a profile that is not there" },
	{ "roles in a circle", { STS },
		"[default]\n" ROLE "source_profile = b\n[profile b]\n" ROLE "source_profile=default\n", NULL, LS_USAGE,
		"source_profile leads in a circle" },
	{ "a role with MFA", { STS }, "[default]\n" ROLE "source_profile = default\nmfa_serial = m\n" KEYS("A"), NULL,
		LS_USAGE, ".aws/config:4: mfa_serial" },

	{ "a container", { FULL "http://127.0.0.1:@PORT@/container", AUTH }, NULL, NULL, LS_OK,
		"ASIA1 s3cr3t-got s3cr3t-tok from the container's credential service at 127.0.0.1" },
	{ "a container's token in a file",
		{ FULL "http://localhost:@PORT@/container", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE=@DIR@/basic",
			"AWS_CONTAINER_AUTHORIZATION_TOKEN=other" },
		NULL, NULL, LS_OK, "ASIA1 " },
	{ "a container that refuses", { FULL "http://127.0.0.1:@PORT@/container" }, NULL, NULL, LS_USAGE,
		"127.0.0.1 answered 401" },
	{ "a container's token of two lines",
		{ FULL "http://127.0.0.1:@PORT@/container", "AWS_CONTAINER_AUTHORIZATION_TOKEN=s3cr3t\r\nX: y" }, NULL,
		NULL, LS_USAGE, "more than one line" },
	{ "a container far away", { FULL "http://example.com/s3cr3t", AUTH }, NULL, NULL, LS_USAGE,
		"host example.com is not asked" },
	{ "a name that looks like loopback", { FULL "http://127.0.0.1.example.com/", AUTH }, NULL, NULL, LS_USAGE,
		"is not asked" },
	{ "a host behind a user's name", { FULL "http://127.0.0.1@example.com/s3cr3t", AUTH }, NULL, NULL, LS_USAGE,
		"want http://HOST" },
	{ "another address of link-local", { FULL "http://169.254.170.24/", AUTH }, NULL, NULL, LS_USAGE,
		"is not asked" },
	{ "another scheme", { FULL "file:///etc/s3cr3t", AUTH }, NULL, NULL, LS_USAGE, "want http://HOST" },
	{ "a relative path without a slash", { "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI=@evil.com/s3cr3t" }, NULL, NULL,
		LS_USAGE, "want a path that begins with '/'" },

	{ "an instance", { IMDS }, "[default]\nregion = x\n", NULL, LS_OK,
		"ASIA3 s3cr3t-got s3cr3t-tok from the instance's role train-role" },
	{ "no instance", { "AWS_EC2_METADATA_DISABLED=false", "AWS_EC2_METADATA_SERVICE_ENDPOINT=http://127.0.0.1:1" },
		NULL, NULL, LS_USAGE, "the instance's metadata service at http://127.0.0.1:1 does not answer" },
};

/* "ID SECRET TOKEN from WHENCE", or the message. */
static ls_status chain(char *text, size_t size)
{
	struct ls_err err = LS_ERR_INIT;
	struct ls_creds_source *s = NULL;
	struct ls_creds c;
	ls_status st = ls_creds_open(&s, &err);

	if (!st)
		st = ls_creds_get(s, false, &c, &err);
	if (st)
		snprintf(text, size, "%s", err.text);
	else
		snprintf(text, size, "%s %s %s from %s", c.access_key, c.secret_key, c.session_token,
			ls_creds_whence(s));
	ls_creds_close(s);
	return st;
}

static void test_chain(void)
{
	char got[16384];
	size_t i;

	for (i = 0; i < COUNT(rows); i++) {
		ls_status st;

		set_up(rows[i].env, rows[i].config, rows[i].credentials);
		st = chain(got, sizeof(got));
		check(st == rows[i].want, rows[i].says, got);
		check(strstr(got, expand(rows[i].text)) != NULL, rows[i].says, got);
		check(!st || !strstr(got, "s3cr3t"), rows[i].says, got);
	}
}

/* --- keeping them fresh ------------------------------------------------------------------------------------------- */

static struct ls_creds_source *open_container(long expires_in)
{
	static const char *const env[6] = { FULL "http://127.0.0.1:@PORT@/container", AUTH };
	struct ls_creds_source *s = NULL;
	struct ls_err err = LS_ERR_INIT;

	set_up(env, NULL, NULL);
	shared->expires_in = expires_in;
	check(!ls_creds_open(&s, &err), "open", err.text);
	CU_ASSERT_FATAL(s != NULL);
	return s;
}

static const struct {
	const char *says;
	long expires_in;
	bool refresh;
	int failures; /* of the service, from then on */
	ls_status want;
	const char *id; /* ASIA and the number of the request that gave them */
	int requests;
} fresh[] = {
	{ "an hour left", 3600, false, 0, LS_OK, "ASIA1", 1 },
	{ "an hour left, and refused by the store", 3600, true, 0, LS_OK, "ASIA2", 2 },
	{ "refused, and the service is down", 3600, true, 99, LS_AGAIN, "", 4 },
	{ "four minutes left", 240, false, 0, LS_OK, "ASIA2", 2 },
	{ "four minutes left, the service down at first", 240, false, 1, LS_OK, "ASIA3", 3 },
	{ "four minutes left, the service down", 240, false, 99, LS_OK, "ASIA1", 4 },
	{ "half a minute left, the service down", 30, false, 99, LS_OK, "ASIA1", 4 },
	{ "expired, the service down", -1, false, 99, LS_AGAIN, "", 4 },
	{ "expired, and again", -1, false, 0, LS_AGAIN, "", 2 },
};

static void test_fresh(void)
{
	size_t i;

	for (i = 0; i < COUNT(fresh); i++) {
		struct ls_creds_source *s = open_container(fresh[i].expires_in);
		struct ls_err err = LS_ERR_INIT;
		struct ls_creds c;
		char says[256];
		ls_status st;

		shared->failures = fresh[i].failures;
		st = ls_creds_get(s, fresh[i].refresh, &c, &err);
		snprintf(says, sizeof(says), "%s: %d requests, '%s'", fresh[i].says, shared->requests, c.access_key);
		check(st == fresh[i].want, says, err.text);
		check(!strcmp(c.access_key, fresh[i].id) && shared->requests == fresh[i].requests, says, err.text);
		ls_creds_close(s);
	}
}

/* While they are valid, a service that gives the same ones again, or is down, is not asked by every request. */
static void test_pause(void)
{
	struct ls_creds_source *s = open_container(240);
	struct ls_creds c;
	char text[32];
	int i;

	for (i = 0; i < 5; i++)
		CU_ASSERT(!ls_creds_get(s, false, &c, NULL));
	snprintf(text, sizeof(text), "%d requests", shared->requests);
	check(shared->requests == 2, "five gets", text);
	ls_creds_close(s);
}

static pthread_barrier_t together;

static void *get_one(void *arg)
{
	struct ls_creds c;

	pthread_barrier_wait(&together);
	return (void *)(intptr_t)ls_creds_get(arg, false, &c, NULL);
}

static void *get_anew(void *arg)
{
	struct ls_creds c;

	pthread_barrier_wait(&together);
	return (void *)(intptr_t)ls_creds_get(arg, true, &c, NULL);
}

static void six_threads(long expires_in, void *(*get)(void *), const char *says)
{
	struct ls_creds_source *s = open_container(expires_in);
	pthread_t t[6];
	char text[32];
	void *st;
	int i;

	shared->expires_in = 3600;
	shared->delay_ms = 300;
	pthread_barrier_init(&together, NULL, 6);
	for (i = 0; i < 6; i++)
		CU_ASSERT_FATAL(!pthread_create(&t[i], NULL, get, s));
	for (i = 0; i < 6; i++) {
		pthread_join(t[i], &st);
		CU_ASSERT(st == (void *)LS_OK);
	}
	pthread_barrier_destroy(&together);
	snprintf(text, sizeof(text), "%d requests", shared->requests);
	check(shared->requests == 2, says, text);
	ls_creds_close(s);
}

static void test_threads(void)
{
	six_threads(-1, get_one, "six threads find them expired: one asks");
	six_threads(3600, get_anew, "six threads are refused by the store: one asks");
}

/* --- secrecy ------------------------------------------------------------------------------------------------------ */

__attribute__((no_sanitize("address", "thread", "undefined"))) static bool found_between(
	const volatile char *at, const volatile char *end, const char *needle, size_t len)
{
	size_t i;

	for (; at + len <= end; at++) {
		for (i = 0; i < len && at[i] == needle[i]; i++)
			;
		if (i == len)
			return true;
	}
	return false;
}

/* Is it in writable memory that a core file would have? Regions so large are a sanitizer's own. */
static bool dumpable(const char *needle)
{
	FILE *f = fopen("/proc/self/smaps", "r");
	unsigned long from, to, start = 0, end = 0;
	bool found = false;
	char line[512], perm[8];

	CU_ASSERT_FATAL(f != NULL);
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%lx %7s", &from, &to, perm) == 3 && line[0] != 'V') {
			start = perm[0] == 'r' && perm[1] == 'w' && to - from < (256UL << 20) ? from : 0;
			end = to;
		} else if (!strncmp(line, "VmFlags:", 8) && start && !strstr(line, " dd")) {
			found |= found_between((const char *)start, (const char *)end, needle, strlen(needle));
		}
	}
	fclose(f);
	return found;
}

static const struct {
	const char *says, *make; /* a shell command that makes a secret up, so that this program has no copy */
} hidden[] = {
	{ "a profile's secret",
		"S=$(head -c 16 /dev/urandom | od -An -tx1 | tr -d ' \\n'); cd @DIR@/.aws; "
		"printf '[default]\\naws_access_key_id=A\\naws_secret_access_key=%s\\n' $S >credentials" },
	{ "a process's secret", "S=$(head -c 16 /dev/urandom | od -An -tx1 | tr -d ' \\n'); cd @DIR@/.aws; "
				"printf '{\"Version\":1,\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"%s\"}' $S >out; "
				"printf '[default]\\ncredential_process=cat @DIR@/.aws/out\\n' >config" },
};

static void test_hidden(void)
{
	struct ls_secret mine = { 0 };
	struct ls_creds *c;
	size_t i;

	CU_ASSERT_FATAL(!ls_secret_new(sizeof(*c), &mine, NULL));
	c = (struct ls_creds *)mine.s;
	for (i = 0; i < COUNT(hidden); i++) {
		struct ls_creds_source *s = NULL;
		struct ls_err err = LS_ERR_INIT;
		const char *tail; /* all that is left in freed memory: the allocator uses the beginning */
		char *copy;

		set_up(NULL, NULL, NULL);
		CU_ASSERT_FATAL(!system(expand(hidden[i].make)));
		check(!ls_creds_open(&s, &err), hidden[i].says, err.text);
		CU_ASSERT_FATAL(s && !ls_creds_get(s, true, c, &err));
		check(strlen(c->secret_key) == 32, hidden[i].says, "another length");
		tail = c->secret_key + 16;
		check(!dumpable(tail), hidden[i].says, "is in memory that a core file has");
		copy = strdup(tail);
		check(dumpable(tail), hidden[i].says, "a copy on the heap was not seen: this test sees nothing");
		free(copy);
		ls_creds_close(s);
	}
	ls_secret_free(&mine);
}

/* --- settings ----------------------------------------------------------------------------------------------------- */

#define CONFIG                                                                                                         \
	"[default]\nregion = r1\nendpoint_url = http://all\nca_bundle = /ca\ns3 =\n  max_queue_size = 1\n  # no\n\n"   \
	"  addressing_style = virtual\noutput = json\n[profile p]\nservices = minio\nregion = r2\nendpoint_url = "     \
	"http://all\n"                                                                                                 \
	"[services minio]\ns3 =\n    endpoint_url = http://s3\nsts =\n    endpoint_url = http://sts\n"

static const struct {
	const char *says, *env[6], *config;
	ls_status want;
	const char *text; /* "REGION ENDPOINT CA ADDRESSING", or a part of the message */
} settings[] = {
	{ "nothing", { 0 }, NULL, LS_OK, "[] [] [] []" },
	{ "a profile", { 0 }, CONFIG, LS_OK, "[r1] [http://all] [/ca] [virtual]" },
	{ "a profile's services", { "AWS_PROFILE=p" }, CONFIG, LS_OK, "[r2] [http://s3] [] []" },
	{ "variables first",
		{ "AWS_REGION=e", "AWS_DEFAULT_REGION=d", "AWS_ENDPOINT_URL=http://e", "AWS_CA_BUNDLE=/e" }, CONFIG,
		LS_OK, "[e] [http://e] [/e] [virtual]" },
	{ "the special one first",
		{ "AWS_DEFAULT_REGION=d", "AWS_ENDPOINT_URL=http://e", "AWS_ENDPOINT_URL_S3=http://s" }, CONFIG, LS_OK,
		"[d] [http://s] [/ca] [virtual]" },
	{ "the last one counts", { 0 }, "[default]\nregion=a\n[default]\nREGION=b\n", LS_OK, "[b] [] [] []" },
	{ "a style that is none", { 0 }, "[default]\ns3=\n addressing_style=paths\n", LS_USAGE,
		".aws/config:3: addressing_style: want path, virtual or auto" },
	{ "a profile that is not there", { "AWS_PROFILE=x" }, CONFIG, LS_USAGE, "there are: default, p" },
	{ "a NUL", { "AWS_CONFIG_FILE=/proc/self/cmdline" }, NULL, LS_USAGE, "/proc/self/cmdline is no text" },
};

static void test_settings(void)
{
	char got[2048];
	size_t i;

	for (i = 0; i < COUNT(settings); i++) {
		struct ls_err err = LS_ERR_INIT;
		struct ls_aws_config c = { 0 };
		ls_status st;

		set_up(settings[i].env, settings[i].config, NULL);
		st = ls_aws_config_read(&c, &err);
		snprintf(got, sizeof(got), "[%s] [%s] [%s] [%s]", c.region, c.endpoint, c.ca_bundle, c.addressing);
		check(st == settings[i].want, settings[i].says, err.text);
		check(strstr(st ? err.text : got, settings[i].text) != NULL, settings[i].says, st ? err.text : got);
		ls_aws_config_release(&c);
	}
}

static const struct {
	const char *text;
	ls_status want;
	long at;
} times[] = {
	{ "1970-01-02T00:00:00Z", LS_OK, 86400 },
	{ "1970-01-02T00:00:00.123Z", LS_OK, 86400 },
	{ "1970-01-02T01:30:00+01:30", LS_OK, 86400 },
	{ "1970-01-01T23:00:00-0100", LS_OK, 86400 },
	{ "1970-01-02T00:00:00", LS_USAGE, 0 },
	{ "1970-01-02T00:00:00Zx", LS_USAGE, 0 },
	{ "1970-01-02T00:00:00+1", LS_USAGE, 0 },
	{ "1970-01-02", LS_USAGE, 0 },
	{ "tomorrow", LS_USAGE, 0 },
	{ "", LS_USAGE, 0 },
};

static void test_times(void)
{
	size_t i;

	for (i = 0; i < COUNT(times); i++) {
		struct ls_err err = LS_ERR_INIT;
		time_t at = 0;

		check(ls_creds_parse_time(times[i].text, &at, &err) == times[i].want && at == times[i].at,
			times[i].text, err.text);
	}
}

static bool prepare(void)
{
	char path[80];

	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	snprintf(dir, sizeof(dir), "/tmp/test_aws_creds.XXXXXX");
	if (shared == MAP_FAILED || !mkdtemp(dir))
		return false;
	snprintf(path, sizeof(path), "%s/.aws", dir);
	return !mkdir(path, 0700) && put_file("token", "jwt-s3cr3t+=\n") && put_file("lines", "s3cr3t\ns3cr3t\n") &&
	       put_file("basic", "Basic s3cr3t\n");
}

int main(void)
{
	unsigned failures = 1;
	CU_pSuite suite;
	pid_t server = -1;

	if (CU_initialize_registry() != CUE_SUCCESS || !prepare() || (server = server_start()) < 0)
		goto out;
	suite = CU_add_suite("aws_creds", NULL, NULL);
	CU_add_test(suite, "the chain", test_chain);
	CU_add_test(suite, "refresh", test_fresh);
	CU_add_test(suite, "not asked too often", test_pause);
	CU_add_test(suite, "threads", test_threads);
	CU_add_test(suite, "no core file has them", test_hidden);
	CU_add_test(suite, "settings", test_settings);
	CU_add_test(suite, "times", test_times);
	CU_basic_set_mode(CU_BRM_VERBOSE);
	CU_basic_run_tests();
	failures = CU_get_number_of_failures();
	CU_cleanup_registry();
out:
	if (server > 0) {
		kill(server, SIGKILL);
		waitpid(server, NULL, 0);
	}
	ls_remove_tree(dir, NULL);
	return failures != 0;
}
