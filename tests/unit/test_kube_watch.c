/* test_kube_watch.c -- calls and watches against a server that plays a script: what is asked, in which order, and what becomes of bad answers. */
#include "core/io.h"
#include "operator/kube.h"

#include <CUnit/Basic.h>
#include <arpa/inet.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define LIMIT_MS 20000

static char dir[64]; /* of this program's run */

static void check(bool ok, const char *says, const char *got)
{
	if (!ok)
		printf("\n    failed: %s: %s", says, got);
	CU_ASSERT(ok);
}

/* --- the server -------------------------------------------------------------------------------------------------------------------------- */

struct step {
	const char *expect;     /* the request has all of these, separated by '|' */
	const char *reply;      /* status line and headers, without the empty line; NULL: the connection is closed without a word */
	const char *body;
	bool keep;              /* the next step comes on the same connection */
	size_t flood;           /* so many more bytes without an end of line */
};

#define OK "HTTP/1.1 200 OK\r\nConnection: close"
#define FAIL(n) "HTTP/1.1 " #n " X\r\nConnection: close"
#define MAX_STEPS 8

static struct {
	int listener, port;
	pthread_t thread;
	const struct step *steps;
	atomic_int at;          /* steps played */
	char wrong[4096];       /* the first request that was not as expected */
} server;

static bool read_request(int fd, char *ret, size_t size)
{
	size_t len = 0, body = 0;
	char *end, *length;
	ssize_t n;

	ret[0] = '\0';
	while (!(end = strstr(ret, "\r\n\r\n")) || strlen(end + 4) < body) {
		n = read(fd, ret + len, size - 1 - len);
		if (n <= 0)
			return false;
		len += (size_t)n;
		ret[len] = '\0';
		length = strstr(ret, "Content-Length: ");
		body = length ? (size_t)atoi(length + 16) : 0;
	}
	return true;
}

static void expect(const struct step *s, const char *request)
{
	char all[512], *save, *part;

	snprintf(all, sizeof(all), "%s", s->expect);
	for (part = strtok_r(all, "|", &save); part; part = strtok_r(NULL, "|", &save))
		if (!strstr(request, part) && !*server.wrong)
			snprintf(server.wrong, sizeof(server.wrong), "step %d wants '%s' in '%.3000s'", atomic_load(&server.at), part, request);
}

static void answer(int fd, const struct step *s)
{
	static const char junk[4096] = { [0 ... 4095] = 'x' };
	struct ls_str text = { 0 };
	size_t sent;

	ls_str_addf(&text, "%s\r\n\r\n%s", s->reply, s->body ? s->body : "");
	(void)!ls_write_all(fd, text.s, text.len);
	for (sent = 0; sent < s->flood; sent += sizeof(junk))
		if (ls_write_all(fd, junk, sizeof(junk)))
			break;
	ls_str_release(&text);
}

/* After the last step it takes one more connection and is quiet. The listener's shutdown ends it. */
static void *play(void *arg)
{
	char request[16384];
	int fd, i;

	(void)arg;
	while ((fd = accept(server.listener, NULL, NULL)) >= 0) {
		do {
			i = atomic_load(&server.at);
			if (!read_request(fd, request, sizeof(request)))
				break;
			if (!server.steps[i].expect) {
				atomic_fetch_add(&server.at, 1);
				(void)!ls_write_all(fd, OK "\r\n\r\n", strlen(OK "\r\n\r\n"));
				(void)!read(fd, request, 1); /* until the client goes away */
				break;
			}
			expect(&server.steps[i], request);
			if (server.steps[i].reply)
				answer(fd, &server.steps[i]);
			atomic_fetch_add(&server.at, 1);
		} while (server.steps[i].keep);
		close(fd);
	}
	return NULL;
}

static void start_listening(void)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(at);

	server.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (bind(server.listener, (struct sockaddr *)&at, sizeof(at)) || listen(server.listener, 16) || getsockname(server.listener, (struct sockaddr *)&at, &len))
		abort();
	server.port = ntohs(at.sin_port);
}

static void serve(const struct step *steps)
{
	server.steps = steps;
	server.wrong[0] = '\0';
	atomic_store(&server.at, 0);
	start_listening();
	if (pthread_create(&server.thread, NULL, play, NULL))
		abort();
}

static void end_server(void)
{
	shutdown(server.listener, SHUT_RDWR);
	pthread_join(server.thread, NULL);
	close(server.listener);
}

static struct ls_kube_options options(const char *user)
{
	static char path[128];
	struct ls_str text = { 0 };

	snprintf(path, sizeof(path), "%s/config", dir);
	unlink(path);
	ls_str_addf(&text, "clusters: [{name: c, cluster: {server: 'http://127.0.0.1:%d'}}]\nusers: [{name: u, user: {%s}}]\n"
		"contexts: [{name: x, context: {cluster: c, user: u}}]\ncurrent-context: x\n", server.port, user);
	CU_ASSERT(!ls_file_publish(path, text.s, text.len, false, NULL));
	ls_str_release(&text);
	return (struct ls_kube_options){ .kubeconfig = path };
}

/* --- watches ----------------------------------------------------------------------------------------------------------------------------- */

#define LIST(items, version, more) "{\"kind\":\"List\",\"metadata\":{\"resourceVersion\":\"" version "\",\"continue\":\"" more "\"},\"items\":[" items "]}"
#define ITEM(name) "{\"metadata\":{\"name\":\"" name "\",\"resourceVersion\":\"1\"}}"
#define EVENT(type, name, version) "{\"type\":\"" type "\",\"object\":{\"metadata\":{\"name\":\"" name "\",\"resourceVersion\":\"" version "\"}}}\n"
#define GONE410 "{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\",\"code\":410,\"reason\":\"Expired\",\"message\":\"too old\"}}\n"
#define CHUNKED "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked"
#define ASK_LIST "GET /api/v1/pods?limit=500 HTTP"
#define ASK_WATCH(v) "GET /api/v1/pods?watch=true&allowWatchBookmarks=true&timeoutSeconds=|&resourceVersion=" v " HTTP"

static const struct watch_row {
	const char *says, *events; /* what is handed over */
	const char *troubles;      /* in order, parts of the sentences; "-": over */
	struct step steps[MAX_STEPS];
} watches[] = {
	{ "pages, events, a bookmark, and on from there", "( a b ) +c -a", "",
		{ { ASK_LIST "|Authorization: Bearer tok|Accept: application/json", OK, LIST(ITEM("a"), "5", "c/1"), 0, 0 },
			{ "GET /api/v1/pods?limit=500&continue=c%2F1 HTTP", OK, LIST(ITEM("b"), "7", ""), 0, 0 },
			{ ASK_WATCH("7"), OK, EVENT("ADDED", "c", "8") EVENT("DELETED", "a", "9") EVENT("BOOKMARK", "", "20"), 0, 0 },
			{ ASK_WATCH("20"), OK, EVENT("BOOKMARK", "", "21"), 0, 0 }, { ASK_WATCH("21"), OK, EVENT("BOOKMARK", "", "22"), 0, 0 } } },
	{ "410 as an event: a new list at once", "( a ) +b ( c )", "",
		{ { ASK_LIST, OK, LIST(ITEM("a"), "5", ""), 0, 0 }, { ASK_WATCH("5"), OK, EVENT("MODIFIED", "b", "6") GONE410, 0, 0 },
			{ ASK_LIST, OK, LIST(ITEM("c"), "30", ""), 0, 0 } } },
	{ "410 as an answer", "( a ) ( c )", "",
		{ { ASK_LIST, OK, LIST(ITEM("a"), "5", ""), 0, 0 }, { ASK_WATCH("5"), FAIL(410), "", 0, 0 }, { ASK_LIST, OK, LIST(ITEM("c"), "30", ""), 0, 0 } } },
	{ "410 again and again: with a pause", "( a ) ( a ) ( a )", "too old|-",
		{ { ASK_LIST, OK, LIST(ITEM("a"), "5", ""), 0, 0 }, { ASK_WATCH("5"), OK, GONE410, 0, 0 }, { ASK_LIST, OK, LIST(ITEM("a"), "5", ""), 0, 0 },
			{ ASK_WATCH("5"), FAIL(410), "{\"kind\":\"Status\",\"message\":\"too old\"}", 0, 0 }, { ASK_LIST, OK, LIST(ITEM("a"), "5", ""), 0, 0 } } },
	{ "410 after other trouble: a new list at once", "( a ) ( b )", "answered 503|-",
		{ { ASK_LIST, OK, LIST(ITEM("a"), "5", ""), 0, 0 }, { ASK_WATCH("5"), FAIL(503), "", 0, 0 },
			{ ASK_WATCH("5"), FAIL(410), "{\"kind\":\"Status\",\"message\":\"too old\"}", 0, 0 }, { ASK_LIST, OK, LIST(ITEM("b"), "9", ""), 0, 0 } } },
	{ "a line that is cut by the end is not lost", "( a ) +b +c", "",
		{ { ASK_LIST, OK, LIST(ITEM("a"), "5", ""), 0, 0 }, { ASK_WATCH("5"), OK, EVENT("ADDED", "b", "6") "{\"type\":\"ADDED\",\"object\":{\"meta", 0, 0 },
			{ ASK_WATCH("6"), OK, EVENT("ADDED", "c", "7"), 0, 0 } } },
	{ "a connection that breaks in a chunk", "( a ) +b +c", "",
		{ { ASK_LIST, OK, LIST(ITEM("a"), "5", ""), 0, 0 }, { ASK_WATCH("5"), CHUNKED, "4a\r\n" EVENT("ADDED", "b", "6") "\r\nffff\r\n{\"type\"", 0, 0 },
			{ ASK_WATCH("6"), OK, EVENT("ADDED", "c", "7"), 0, 0 } } },
	{ "a line that is no event: a pause and a new list", "( a ) +b ( c )", "a line is no event|-",
		{ { ASK_LIST, OK, LIST(ITEM("a"), "5", ""), 0, 0 }, { ASK_WATCH("5"), OK, EVENT("ADDED", "b", "6") "<html>\n" EVENT("ADDED", "x", "9"), 0, 0 },
			{ ASK_LIST, OK, LIST(ITEM("c"), "30", ""), 0, 0 } } },
	{ "a line without an end: a pause and a new list", "( a ) ( c )", "over 16 MiB|-",
		{ { ASK_LIST, OK, LIST(ITEM("a"), "5", ""), 0, 0 }, { ASK_WATCH("5"), OK, "{", 0, (size_t)17 << 20 }, { ASK_LIST, OK, LIST(ITEM("c"), "30", ""), 0, 0 } } },
	{ "another error as an event: a pause, on from there", "( a ) +b +c", "boom|-",
		{ { ASK_LIST, OK, LIST(ITEM("a"), "5", ""), 0, 0 },
			{ ASK_WATCH("5"), OK, EVENT("ADDED", "b", "6") "{\"type\":\"ERROR\",\"object\":{\"code\":500,\"message\":\"boom\"}}\n", 0, 0 },
			{ ASK_WATCH("6"), OK, EVENT("ADDED", "c", "7"), 0, 0 } } },
	{ "410 between pages: from the start", "( a ( a b )", "continue too old|-",
		{ { ASK_LIST, OK, LIST(ITEM("a"), "5", "t"), 0, 0 },
			{ "&continue=t ", FAIL(410), "{\"kind\":\"Status\",\"reason\":\"Expired\",\"message\":\"continue too old\"}", 0, 0 },
			{ ASK_LIST, OK, LIST(ITEM("a") "," ITEM("b"), "9", ""), 0, 0 } } },
	{ "a list that is cut", "( a ( b )", "cut short|-",
		{ { ASK_LIST, OK, "{\"metadata\":{\"resourceVersion\":\"5\"},\"items\":[" ITEM("a") ",", 0, 0 }, { ASK_LIST, OK, LIST(ITEM("b"), "9", ""), 0, 0 } } },
	{ "a cut answer that asks for weeks of patience is no answer", "( b )", "does not answer|-",
		{ { ASK_LIST, OK "\r\nRetry-After: 2000000\r\nContent-Length: 900", "{", 0, 0 }, { ASK_LIST, OK "\r\nRetry-After: 2000000\r\nContent-Length: 900", "{", 0, 0 },
			{ ASK_LIST, OK "\r\nRetry-After: 2000000\r\nContent-Length: 900", "{", 0, 0 }, { ASK_LIST, OK, LIST(ITEM("b"), "9", ""), 0, 0 } } },
	{ "a server in trouble", "( a ) +b", "answered 500: oops|busy|answered 503|-",
		{ { ASK_LIST, FAIL(500), "oops", 0, 0 }, { ASK_LIST, FAIL(429) "\r\nRetry-After: 1", "{\"kind\":\"Status\",\"message\":\"busy\"}", 0, 0 },
			{ ASK_LIST, OK, LIST(ITEM("a"), "9", ""), 0, 0 }, { ASK_WATCH("9"), FAIL(503), "", 0, 0 }, { ASK_WATCH("9"), OK, EVENT("ADDED", "b", "10"), 0, 0 } } },
	{ "the kind is gone for a while", "( a ) ( b )", "answered 404|-",
		{ { ASK_LIST, OK, LIST(ITEM("a"), "5", ""), 0, 0 }, { ASK_WATCH("5"), FAIL(404), "", 0, 0 }, { ASK_LIST, OK, LIST(ITEM("b"), "9", ""), 0, 0 } } },
	{ "watches that end at once", "( a ) +b", "ends watches at once|-",
		{ { ASK_LIST, OK, LIST(ITEM("a"), "5", ""), 0, 0 }, { ASK_WATCH("5"), OK, "", 0, 0 }, { ASK_WATCH("5"), OK, EVENT("ADDED", "b", "10"), 0, 0 } } },
};

struct seen {
	pthread_mutex_t lock;
	struct ls_str events, troubles;
};

static void on_event(void *arg, enum ls_watch_event event, const cJSON *object)
{
	static const char *const signs[] = { "(", "", "-", ")" };
	const char *name = cJSON_GetStringValue(cJSON_GetObjectItem(cJSON_GetObjectItem(object, "metadata"), "name"));
	struct seen *s = arg;
	bool in_list;

	pthread_mutex_lock(&s->lock);
	in_list = s->events.len && strrchr(s->events.s, '(') > strrchr(s->events.s, ')');
	ls_str_addf(&s->events, "%s%s%s%s", s->events.len ? " " : "", signs[event], event == LS_WATCH_SET && !in_list ? "+" : "", name ? name : "");
	pthread_mutex_unlock(&s->lock);
}

static void on_trouble(void *arg, const char *sentence)
{
	struct seen *s = arg;

	pthread_mutex_lock(&s->lock);
	ls_str_addf(&s->troubles, "%s\n", *sentence ? sentence : "-");
	pthread_mutex_unlock(&s->lock);
}

static bool in_order(const char *text, const char *parts)
{
	char all[512], *save, *part;

	snprintf(all, sizeof(all), "%s", parts);
	for (part = strtok_r(all, "|", &save); part; part = strtok_r(NULL, "|", &save)) {
		const char *line = text, *end;

		for (end = strchr(line, '\n'); end && !memmem(line, (size_t)(end - line), part, strlen(part)); end = strchr(line, '\n'))
			line = end + 1;
		if (!end)
			return false;
		text = end + 1;
	}
	return *parts || !*text;
}

static void run_watch(const struct watch_row *row)
{
	struct seen seen = { .lock = PTHREAD_MUTEX_INITIALIZER };
	struct ls_kube_watch_options opt = { .path = "/api/v1/pods", .on_event = on_event, .on_trouble = on_trouble, .arg = &seen };
	struct ls_kube_watch *w = NULL;
	struct ls_err err = LS_ERR_INIT;
	int64_t until, began;
	int n = 0;

	while (n < MAX_STEPS && row->steps[n].expect)
		n++;
	serve(row->steps);
	opt.kube = options("token: tok");
	until = ls_clock_ms() + LIMIT_MS;
	check(!ls_kube_watch_start(&opt, &w, &err), row->says, err.text);
	while (atomic_load(&server.at) <= n && ls_clock_ms() < until)
		usleep(2000);
	usleep(50000); /* the last answer is on its way */
	check(ls_kube_watch_fresh(w), row->says, "it should be fresh");
	began = ls_clock_ms();
	ls_kube_watch_stop(w);
	check(ls_clock_ms() - began < 900, row->says, "it should stop at once");
	end_server();
	check(atomic_load(&server.at) == n + 1, row->says, "not every step was asked for, or more");
	check(!*server.wrong, row->says, server.wrong);
	check(!strcmp(ls_str_text(&seen.events), row->events), row->says, ls_str_text(&seen.events));
	check(in_order(ls_str_text(&seen.troubles), row->troubles), row->says, ls_str_text(&seen.troubles));
	ls_str_release(&seen.events);
	ls_str_release(&seen.troubles);
}

static void test_watches(void)
{
	size_t i;

	for (i = 0; i < COUNT(watches); i++)
		run_watch(&watches[i]);
}

/* --- calls ------------------------------------------------------------------------------------------------------------------------------- */

static bool yes(void *arg)
{
	++*(int *)arg;
	return true;
}

static bool no(void *arg)
{
	++*(int *)arg;
	return false;
}

static const struct call_row {
	const char *says, *method, *body;
	bool (*may_send)(void *arg);
	ls_status want;
	int status, asked;  /* HTTP's; how often may_send was asked */
	bool sent;
	const char *part;   /* of the text, or of the message */
	struct step steps[MAX_STEPS];
} calls[] = {
	{ "a GET", "GET", "", yes, LS_OK, 200, 1, true, "{\"a\":1}", { { "GET /p HTTP", OK, "{\"a\":1}", 0, 0 } } },
	{ "a POST", "POST", "{}", yes, LS_OK, 201, 1, true, "{}", { { "POST /p|Content-Type: application/json|Content-Length: 2|\r\n\r\n{}", "HTTP/1.1 201 C\r\nConnection: close", "{}", 0, 0 } } },
	{ "one that is fenced", "POST", "{}", no, LS_AGAIN, 0, 1, false, "fenced", { { 0 } } },
	{ "a GET that nobody answers is tried three times", "GET", "", yes, LS_OK, 200, 3, true, "x",
		{ { "GET", NULL, NULL, 0, 0 }, { "GET", NULL, NULL, 0, 0 }, { "GET", OK, "x", 0, 0 } } },
	{ "a POST that nobody answers is tried once", "POST", "{}", yes, LS_AGAIN, 0, 1, true, "does not answer", { { "POST", NULL, NULL, 0, 0 } } },
	{ "a conflict", "PUT", "{}", NULL, LS_AGAIN, 409, 0, true, "modified", { { "PUT", FAIL(409), "{\"kind\":\"Status\",\"reason\":\"Conflict\",\"message\":\"modified\"}", 0, 0 } } },
	{ "a DELETE", "DELETE", "", NULL, LS_NOT_FOUND, 404, 0, true, "404", { { "DELETE /p", FAIL(404), "", 0, 0 } } },
};

static void test_calls(void)
{
	size_t i;

	for (i = 0; i < COUNT(calls); i++) {
		struct ls_kube_options opt;
		struct ls_kube *k = NULL;
		struct ls_err err = LS_ERR_INIT;
		int asked = 0, n = 0;
		struct ls_kube_call c = { .method = calls[i].method, .may_send = calls[i].may_send, .arg = &asked };

		while (calls[i].steps[n].expect)
			n++;
		serve(calls[i].steps);
		opt = options("token: tok");
		check(!ls_kube_open(&opt, &k, &err), calls[i].says, err.text);
		ls_str_add(&c.path, "/p");
		ls_str_add(&c.body, calls[i].body);
		check(ls_kube_one(k, &c, &err) == calls[i].want, calls[i].says, err.text);
		check(c.status == calls[i].status && asked == calls[i].asked && c.sent == calls[i].sent, calls[i].says, "status, times asked, or sent");
		check(strstr(c.st ? err.text : ls_str_text(&c.text), calls[i].part) != NULL, calls[i].says, err.text);
		ls_kube_call_release(&c);
		ls_kube_close(k);
		end_server();
		check(atomic_load(&server.at) == n && !*server.wrong, calls[i].says, server.wrong);
	}
}

/* curl would send it again on a fresh connection. */
static void test_dead_connection(void)
{
	static const struct step steps[MAX_STEPS] = { { "GET", "HTTP/1.1 200 OK\r\nContent-Length: 2", "{}", true, 0 }, { "POST", NULL, NULL, 0, 0 }, { "GET", OK, "{}", 0, 0 } };
	struct ls_kube_call c = { .method = "POST" };
	struct ls_kube_options opt;
	struct ls_kube *k = NULL;
	cJSON *doc = NULL;

	serve(steps);
	opt = options("token: tok");
	CU_ASSERT(!ls_kube_open(&opt, &k, NULL) && !ls_kube_get(k, "/a", &doc, NULL));
	cJSON_Delete(doc);
	ls_str_add(&c.path, "/p");
	ls_str_add(&c.body, "{}");
	CU_ASSERT_EQUAL(ls_kube_one(k, &c, NULL), LS_AGAIN);
	CU_ASSERT(c.sent && !c.status);
	ls_kube_call_release(&c);
	CU_ASSERT(!ls_kube_get(k, "/b", &doc, NULL));
	cJSON_Delete(doc);
	ls_kube_close(k);
	end_server();
	check(atomic_load(&server.at) == 3 && !*server.wrong, "a POST on a dead connection", server.wrong);
}

/* A DELETE has no body, so curl does send it again; the server is gone by then. It may have happened all the same. */
static void *die(void *arg)
{
	static const char ok[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
	int fd = accept(server.listener, NULL, NULL);
	char request[4096];

	(void)arg;
	if (read_request(fd, request, sizeof(request)))
		(void)!ls_write_all(fd, ok, strlen(ok));
	(void)read_request(fd, request, sizeof(request));
	close(server.listener);
	close(fd);
	return NULL;
}

static void test_dying_server(void)
{
	struct ls_kube_call c = { .method = "DELETE" };
	struct ls_kube_options opt;
	struct ls_kube *k = NULL;
	cJSON *doc = NULL;
	pthread_t t;

	start_listening();
	CU_ASSERT(!pthread_create(&t, NULL, die, NULL));
	opt = options("token: tok");
	CU_ASSERT(!ls_kube_open(&opt, &k, NULL) && !ls_kube_get(k, "/a", &doc, NULL));
	cJSON_Delete(doc);
	ls_str_add(&c.path, "/p");
	CU_ASSERT_EQUAL(ls_kube_one(k, &c, NULL), LS_AGAIN);
	check(c.sent && !c.status, "a DELETE that may have happened", c.err.text);
	pthread_join(t, NULL);
	CU_ASSERT_EQUAL(ls_kube_one(k, &c, NULL), LS_AGAIN);
	check(!c.sent && !c.status, "a DELETE to nobody", c.err.text);
	ls_kube_call_release(&c);
	ls_kube_close(k);
}

static void write_token(const char *token)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/token", dir);
	unlink(path);
	CU_ASSERT(!ls_file_publish(path, token, strlen(token), false, NULL));
}

static void test_token_file(void)
{
	static const struct step steps[MAX_STEPS] = { { "Bearer one\r\n", OK, "{}", 0, 0 }, { "Bearer one\r\n", FAIL(401), "", 0, 0 }, { "Bearer two\r\n", OK, "{}", 0, 0 },
		{ "Bearer two\r\n", FAIL(401), "", 0, 0 }, { "Bearer two\r\n", FAIL(401), "", 0, 0 } };
	struct ls_err err = LS_ERR_INIT;
	struct ls_kube_options opt;
	struct ls_kube *k = NULL;
	cJSON *doc = NULL;

	serve(steps);
	write_token("one\n");
	opt = options("tokenFile: token");
	check(!ls_kube_open(&opt, &k, &err) && !ls_kube_get(k, "/a", &doc, &err), "the token in the file", err.text);
	cJSON_Delete(doc);
	ls_kube_rest(k); /* credentials outlive connections */
	write_token("two\n");
	check(!ls_kube_get(k, "/a", &doc, &err), "a new token after a 401", err.text);
	cJSON_Delete(doc);
	check(ls_kube_get(k, "/a", &doc, &err) == LS_USAGE && strstr(err.text, "credentials"), "refused for good", err.text);
	ls_kube_close(k);
	end_server();
	check(atomic_load(&server.at) == 5 && !*server.wrong, "tokens", server.wrong);
	write_token("a b");
	check(!ls_kube_open(&opt, &k, &err) && ls_kube_get(k, "/a", &doc, &err) == LS_USAGE && strstr(err.text, "no token has"), "a token with a blank", err.text);
	ls_kube_close(k);
}

/* 12 calls at 50 a second, 2 at once: ten wait. */
static void test_rate(void)
{
	static struct step steps[16];
	struct ls_kube_call c[12] = { 0 }, *all[12];
	struct ls_kube_counts before, after;
	struct ls_kube_options opt;
	struct ls_kube *k = NULL;
	double began;
	int i;

	for (i = 0; i < 12; i++) {
		steps[i] = (struct step){ "GET /p", OK, "{}", 0, 0 };
		c[i].method = "GET";
		ls_str_add(&c[i].path, "/p");
		all[i] = &c[i];
	}
	serve(steps);
	opt = options("token: tok");
	opt.qps = 50;
	opt.burst = 2;
	CU_ASSERT(!ls_kube_open(&opt, &k, NULL));
	ls_kube_counts(&before);
	began = ls_clock_s();
	CU_ASSERT(!ls_kube_run(k, all, 12, 4, NULL));
	CU_ASSERT(ls_clock_s() - began >= 0.19);
	ls_kube_counts(&after);
	CU_ASSERT_STRING_EQUAL(ls_kube_verbs[0], "GET");
	CU_ASSERT_STRING_EQUAL(ls_kube_outcomes[0], "2xx");
	CU_ASSERT_EQUAL(after.requests[0][0] - before.requests[0][0], 12);
	CU_ASSERT_EQUAL(after.requests[0][1] - before.requests[0][1], 0);
	CU_ASSERT(after.throttled_ms > before.throttled_ms);
	for (i = 0; i < 12; i++) {
		CU_ASSERT_EQUAL(c[i].st, LS_OK);
		ls_kube_call_release(&c[i]);
	}
	ls_kube_close(k);
	end_server();
}

static void *cancel_soon(void *k)
{
	usleep(100000);
	ls_kube_cancel(k);
	return NULL;
}

static void test_cancel(void)
{
	static const struct step steps[MAX_STEPS] = { { 0 } }; /* quiet */
	struct ls_err err = LS_ERR_INIT;
	struct ls_kube_options opt;
	struct ls_kube *k = NULL;
	cJSON *doc = NULL;
	pthread_t t;
	double began;

	serve(steps);
	opt = options("token: tok");
	CU_ASSERT(!ls_kube_open(&opt, &k, NULL) && !pthread_create(&t, NULL, cancel_soon, k));
	began = ls_clock_s();
	check(ls_kube_get(k, "/a", &doc, &err) == LS_AGAIN && strstr(err.text, "cancelled"), "a call that is cancelled", err.text);
	CU_ASSERT(ls_clock_s() - began < 1);
	check(ls_kube_get(k, "/a", &doc, &err) == LS_AGAIN && strstr(err.text, "cancelled"), "and those after it", err.text);
	pthread_join(t, NULL);
	ls_kube_close(k);
	end_server();
}

int main(void)
{
	unsigned failures = 1;
	CU_pSuite suite;

	snprintf(dir, sizeof(dir), "/tmp/test_kube_watch.XXXXXX");
	if (!mkdtemp(dir) || CU_initialize_registry() != CUE_SUCCESS)
		return 1;
	unsetenv("http_proxy");
	signal(SIGPIPE, SIG_IGN); /* clients hang up on the server */
	suite = CU_add_suite("kube_watch", NULL, NULL);
	CU_add_test(suite, "watches", test_watches);
	CU_add_test(suite, "calls", test_calls);
	CU_add_test(suite, "a dead connection", test_dead_connection);
	CU_add_test(suite, "a dying server", test_dying_server);
	CU_add_test(suite, "tokens from files", test_token_file);
	CU_add_test(suite, "the rate", test_rate);
	CU_add_test(suite, "cancelling", test_cancel);
	CU_basic_set_mode(CU_BRM_VERBOSE);
	CU_basic_run_tests();
	failures = CU_get_number_of_failures();
	CU_cleanup_registry();
	ls_remove_tree(dir, NULL);
	return failures != 0;
}
