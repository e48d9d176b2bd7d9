/* test_hold.c -- the host's agent and its client: a real agent in a process of its own, and a launcher that this program plays. */
#include "launcher/agents.h"
#include "launcher/commands.h"
#include "launcher/wire.h"
#include "core/crc32c.h"
#include "core/hold.h"
#include "core/hold_wire.h"
#include "core/io.h"
#include "tests/unit/agent.h"

#include <CUnit/Basic.h>
#include <arpa/inet.h>
#include <cjson/cJSON.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static char key[LS_HOLD_KEY + 1];
static char name[64];           /* the agent's socket */
static pid_t agent;
static struct ls_wire launcher; /* our end of its connection */

static void check(bool ok, const char *says, const char *got)
{
	if (!ok)
		printf("\n    failed: %s: %s", says, got);
	CU_ASSERT(ok);
}

/* --- the agent --------------------------------------------------------------------------------------------------------- */

static void become_agent(int listener, const char *ctl)
{
	agent_takes(listener, ctl);
	_exit(cmd_agent(1, (char *[]){ "agent", NULL }));
}

/* It says who it is, and is told the key, and where other hosts reach it. */
static void take_agent(int ctl_fd, const char *address)
{
	cJSON *go = cJSON_CreateObject(), *hello = NULL;
	struct pollfd p = { .fd = ctl_fd, .events = POLLIN };
	const char *bytes;
	enum ls_msg type;
	size_t len;
	bool bad;

	CU_ASSERT_EQUAL_FATAL(poll(&p, 1, 5000), 1);
	ls_wire_init(&launcher, accept(ctl_fd, NULL, NULL));
	p.fd = launcher.fd;
	CU_ASSERT_EQUAL_FATAL(poll(&p, 1, 5000), 1);
	ls_wire_fill(&launcher);
	if (ls_wire_next(&launcher, &type, &bytes, &len, &bad) && type == LS_MSG_AGENT)
		hello = cJSON_ParseWithLength(bytes, len);
	CU_ASSERT_PTR_NOT_NULL_FATAL(hello);
	CU_ASSERT_STRING_EQUAL(cJSON_GetStringValue(cJSON_GetObjectItem(hello, "token")), "the token");
	CU_ASSERT_PTR_NOT_NULL(cJSON_GetObjectItem(hello, "hostId"));
	cJSON_AddStringToObject(go, "key", key);
	cJSON_AddStringToObject(go, "address", address);
	CU_ASSERT_EQUAL(ls_wire_send_json(&launcher, LS_MSG_GO, go), LS_OK);
	cJSON_Delete(go);
	cJSON_Delete(hello);
}

static void start_agent(const char *address)
{
	int listener = -1, ctl_fd = -1;
	char ctl[64], id[17];

	CU_ASSERT_EQUAL_FATAL(ls_random_hex(key, LS_HOLD_KEY / 2, NULL), LS_OK);
	CU_ASSERT_EQUAL_FATAL(ls_random_hex(id, 8, NULL), LS_OK);
	snprintf(name, sizeof(name), "lockstep-agent-test-%s", id);
	snprintf(ctl, sizeof(ctl), "lockstep-test-%s", id);
	CU_ASSERT_EQUAL_FATAL(ls_hold_listen(name, &listener, NULL), LS_OK);
	CU_ASSERT_EQUAL_FATAL(ls_wire_listen_unix(ctl, &ctl_fd, NULL), LS_OK);
	agent = fork();
	if (agent == 0)
		become_agent(listener, ctl);
	ls_fd_close(&listener);
	take_agent(ctl_fd, address);
	ls_fd_close(&ctl_fd);
}

/* The launcher ends; so does the agent, at once and well: it has not crashed in between. */
static void end_agent(const char *says)
{
	int status = -1, i;

	ls_wire_close(&launcher);
	for (i = 0; i < 200 && waitpid(agent, &status, WNOHANG) == 0; i++)
		poll(NULL, 0, 10);
	check(i < 200 && WIFEXITED(status) && WEXITSTATUS(status) == 0, says, "the agent is gone within 2 s of its launcher, with code 0");
	if (i == 200) {
		kill(agent, SIGKILL);
		waitpid(agent, NULL, 0);
	}
}

static struct ls_hold *open_hold(void)
{
	struct ls_err err = LS_ERR_INIT;
	struct ls_hold *h = NULL;
	ls_status st = ls_hold_open(name, &h, &err);

	check(st == LS_OK, "a rank reaches its agent", err.text);
	CU_ASSERT_PTR_NOT_NULL_FATAL(h);
	return h;
}

/* How many memfds the agent has open. */
static int agent_holds(void)
{
	char path[64], to[64];
	int fd, n = 0;

	for (fd = 0; fd < 64; fd++) {
		ssize_t len;

		snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)agent, fd);
		len = readlink(path, to, sizeof(to) - 1);
		n += len > 7 && !strncmp(to, "/memfd:", 7);
	}
	return n;
}

static bool comes_to_hold(int want)
{
	int i;

	for (i = 0; i < 200 && agent_holds() != want; i++)
		poll(NULL, 0, 10);
	return i < 200;
}

/* --- a rank ------------------------------------------------------------------------------------------------------------ */

enum { IMAGE = 3 << 20 | 17 };

struct snap {
	int fd;
	struct ls_snap_head *head;
	unsigned char *image;
};

static struct snap snap_make(int rank)
{
	struct snap s = { .fd = memfd_create("snap", MFD_CLOEXEC) };

	CU_ASSERT_EQUAL_FATAL(ftruncate(s.fd, LS_SNAP_HEAD + IMAGE), 0);
	s.head = mmap(NULL, LS_SNAP_HEAD + IMAGE, PROT_READ | PROT_WRITE, MAP_SHARED, s.fd, 0);
	CU_ASSERT_FATAL(s.head != MAP_FAILED);
	s.image = (unsigned char *)s.head + LS_SNAP_HEAD;
	memcpy(s.head->magic, LS_SNAP_MAGIC, sizeof(s.head->magic));
	s.head->capacity = LS_SNAP_HEAD + IMAGE;
	s.head->rank = rank;
	s.head->world = 4;
	return s;
}

static unsigned char byte_of(int rank, uint32_t attempt, int64_t step, size_t at)
{
	return (unsigned char)(at * 31 + at / 251 + (size_t)rank * 7 + attempt * 13 + (size_t)step);
}

static void snap_begin(struct snap *s, uint32_t attempt, int64_t step)
{
	s->head->state = LS_SNAP_FILLING;
	s->head->crc_known = 0;
	s->head->attempt = attempt;
	s->head->step = step;
	s->head->bytes = IMAGE;
}

static void snap_fill(struct snap *s, uint32_t attempt, int64_t step)
{
	size_t i;

	snap_begin(s, attempt, step);
	for (i = 0; i < IMAGE; i++)
		s->image[i] = byte_of(s->head->rank, attempt, step, i);
	s->head->state = LS_SNAP_SEALED;
	s->head->crc32c = ls_crc32c(0, s->image, IMAGE);
	s->head->crc_known = 1;
}

static void snap_free(struct snap *s)
{
	munmap(s->head, LS_SNAP_HEAD + IMAGE);
	ls_fd_close(&s->fd);
}

static void keep(struct ls_hold *h, const struct snap *s, const char *says)
{
	struct ls_err err = LS_ERR_INIT;

	check(ls_hold_keep(h, s->fd, &err) == LS_OK, says, err.text);
}

/* "rank:attempt/step", "+" for a copy, in order; and every byte is right. */
static void listed(struct ls_hold *h, const char *want, const char *says)
{
	struct ls_err err = LS_ERR_INIT;
	struct ls_held *v = NULL;
	char got[512] = "", one[12][32] = { "" };
	size_t n = 0, i, k;

	check(ls_hold_list(h, &v, &n, &err) == LS_OK, says, err.text);
	CU_ASSERT_FATAL(n <= COUNT(one));
	for (i = 0; i < n; i++) {
		const struct ls_snap_head *d = &v[i].head;
		unsigned char *image = mmap(NULL, LS_SNAP_HEAD + d->bytes, PROT_READ, MAP_SHARED, v[i].fd, 0);
		bool same = image != MAP_FAILED && d->bytes == IMAGE;

		for (k = 0; same && k < d->bytes; k++)
			same = image[LS_SNAP_HEAD + k] == byte_of(d->rank, d->attempt, d->step, k);
		munmap(image, LS_SNAP_HEAD + d->bytes);
		snprintf(one[i], sizeof(one[i]), "%d:%u/%lld%s%s", d->rank, d->attempt, (long long)d->step, v[i].copy ? "+" : "",
			same ? "" : "damaged");
	}
	ls_held_release(v, n);
	qsort(one, n, sizeof(one[0]), (int (*)(const void *, const void *))strcmp);
	for (i = 0; i < n; i++)
		snprintf(got + strlen(got), sizeof(got) - strlen(got), "%s%s", i ? " " : "", one[i]);
	check(!strcmp(got, want), says, got);
}

/* --- tests ------------------------------------------------------------------------------------------------------------- */

static void test_keep(void)
{
	struct snap s = snap_make(2);
	struct ls_hold *h;

	start_agent("");
	h = open_hold();
	CU_ASSERT_STRING_EQUAL(ls_hold_address(h), "");
	listed(h, "", "nothing is held at first");
	keep(h, &s, "an empty snapshot may be given");
	listed(h, "", "an empty one is not listed");
	snap_fill(&s, 1, 10);
	listed(h, "2:1/10", "a whole one is");
	keep(h, &s, "the same one may be given again");
	listed(h, "2:1/10", "… and is held once");
	snap_begin(&s, 1, 20);
	listed(h, "", "one that is being filled is not listed");
	snap_fill(&s, 1, 20);
	listed(h, "2:1/20", "the next step in the same memory");
	s.head->world = 2;
	listed(h, "", "a header that makes no sense is not listed");
	s.head->world = 4;
	s.head->bytes = IMAGE + 1;
	listed(h, "", "an image larger than its file is not listed");
	s.head->bytes = IMAGE;
	snap_free(&s);
	listed(h, "2:1/20", "the agent's is there when the rank has let go");
	ls_hold_close(h);
	h = open_hold();
	listed(h, "2:1/20", "… and when its connection has ended");
	end_agent("keep");
	CU_ASSERT_EQUAL(ls_hold_keep(h, 0, NULL), LS_NODE_LOST);
	CU_ASSERT_EQUAL(ls_hold_forget(h, 1, 0, 0, NULL), LS_NODE_LOST);
	ls_hold_close(h);
	h = NULL;
	CU_ASSERT_EQUAL(ls_hold_open(name, &h, NULL), LS_NODE_LOST);
	CU_ASSERT_EQUAL(ls_hold_open("", &h, NULL), LS_NODE_LOST);
}

/* Saves once, begins again, and is killed in the middle of it. A third snapshot it never used. */
static void rank_that_dies(int says)
{
	struct snap v[3] = { snap_make(1), snap_make(1), snap_make(1) };
	struct ls_hold *h = open_hold();
	size_t i;

	for (i = 0; i < COUNT(v); i++)
		keep(h, &v[i], "a rank that will die");
	snap_fill(&v[0], 3, 100);
	snap_begin(&v[1], 3, 200);
	memset(v[1].image, 0x5a, IMAGE / 2);
	if (write(says, "", 1) == 1)
		pause();
	_exit(1);
}

static void test_death(void)
{
	struct ls_hold *h;
	int says[2];
	char byte;
	pid_t pid;

	start_agent("");
	CU_ASSERT_FATAL(pipe2(says, O_CLOEXEC) == 0);
	pid = fork();
	if (pid == 0)
		rank_that_dies(says[1]);
	CU_ASSERT_EQUAL(read(says[0], &byte, 1), 1);
	check(agent_holds() == 3, "a rank lives", "the agent holds all that it gave");
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	check(comes_to_hold(1), "the rank is dead", "the agent lets go of what nobody can finish");
	h = open_hold();
	listed(h, "1:3/100", "the rank is dead: what it had finished is there, with the right bytes");
	ls_hold_close(h);
	end_agent("death");
	ls_fd_close(&says[0]);
	ls_fd_close(&says[1]);
}

static const struct {
	uint32_t attempt, keep_attempt;
	int64_t keep_step;
	const char *want;
} forgets[] = {
	{ 1, 0, 0, "0:1/10 0:1/20 0:2/10 1:1/10 1:1/20" },
	{ 2, 1, 20, "0:1/20 0:2/10 1:1/20" },
	{ 2, 0, 20, "0:2/10" },
	{ 9, 0, 0, "" },
};

static void test_forget(void)
{
	struct snap v[6] = { snap_make(0), snap_make(0), snap_make(0), snap_make(1), snap_make(1), snap_make(1) };
	struct ls_hold *h;
	size_t i;

	start_agent("");
	h = open_hold();
	for (i = 0; i < COUNT(v); i++)
		keep(h, &v[i], "a snapshot");
	snap_fill(&v[0], 1, 10), snap_fill(&v[1], 1, 20), snap_fill(&v[2], 2, 10);
	snap_fill(&v[3], 1, 10), snap_fill(&v[4], 1, 20);
	for (i = 0; i < COUNT(forgets); i++) {
		CU_ASSERT_EQUAL(ls_hold_forget(h, forgets[i].attempt, forgets[i].keep_attempt, forgets[i].keep_step, NULL), LS_OK);
		listed(h, forgets[i].want, "after forgetting");
	}
	check(agent_holds() == 1, "a snapshot that its rank has not used yet", "is not forgotten");
	ls_hold_close(h);
	end_agent("forget");
	for (i = 0; i < COUNT(v); i++)
		snap_free(&v[i]);
}

/* --- copies ------------------------------------------------------------------------------------------------------------ */

static void sends(const struct snap *s, ls_status want, const char *text, const char *says)
{
	struct ls_hold *h = open_hold();
	struct ls_err err = LS_ERR_INIT;
	ls_status st = ls_hold_send(ls_hold_address(h), s->head, &err);

	check(st == want && strstr(err.text, text), says, err.text);
	ls_hold_close(h);
}

/* A connection to the agent's address for copies, the key already sent. */
static int connect_raw(void)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct ls_hold *h = open_hold();
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	to.sin_port = htons((uint16_t)atoi(strchr(ls_hold_address(h), ':') + 1));
	ls_hold_close(h);
	ls_hold_patience(fd, 5, 5);
	CU_ASSERT_EQUAL_FATAL(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
	CU_ASSERT(ls_hold_send_all(fd, key, LS_HOLD_KEY));
	return fd;
}

/* Offer this header, then send so much of the image and leave. */
static void offer(const struct ls_snap_head *head, size_t bytes, int want, const char *says)
{
	struct ls_hold_verdict v = { 0 };
	int fd = connect_raw();

	CU_ASSERT(ls_hold_send_all(fd, head, sizeof(*head)));
	check(ls_hold_recv_all(fd, &v, sizeof(v)) && v.status == want, says, v.text);
	if (bytes)
		CU_ASSERT(ls_hold_send_all(fd, (const char *)head + LS_SNAP_HEAD, bytes));
	ls_fd_close(&fd);
}

static void test_copy(void)
{
	struct snap s = snap_make(3), other = snap_make(2);
	struct ls_snap_head odd;
	struct ls_hold *h;

	start_agent("127.0.0.1");
	h = open_hold();
	check(!strncmp(ls_hold_address(h), "127.0.0.1:", 10) && strstr(ls_hold_address(h), key), "the address for copies",
		ls_hold_address(h));
	snap_begin(&s, 1, 10);
	sends(&s, LS_USAGE, "whole", "one that is being filled is not sent");
	snap_fill(&s, 1, 10);
	s.head->crc_known = 0;
	sends(&s, LS_USAGE, "checksum", "nor one whose checksum is not known");
	s.head->crc_known = 1;
	sends(&s, LS_OK, "", "a copy is sent");
	listed(h, "3:1/10+", "… and held");
	snap_fill(&other, 1, 10);
	sends(&other, LS_OK, "", "another rank's");
	snap_fill(&s, 1, 20);
	offer(s.head, IMAGE / 2, LS_OK, "a copy that is cut off");
	check(comes_to_hold(2), "cut off", "what came of it is gone");
	listed(h, "2:1/10+ 3:1/10+", "cut off: the one before is there");
	sends(&s, LS_OK, "", "the newer copy");
	listed(h, "2:1/10+ 3:1/20+", "it takes the place of the one before");
	check(agent_holds() == 2, "a newer copy", "the memory of the one before is free");
	snap_fill(&s, 2, 15);
	sends(&s, LS_OK, "", "a later attempt's, of an earlier step");
	snap_fill(&s, 1, 30);
	sends(&s, LS_EXISTS, "a newer copy of rank 3", "a stale rank's copy is refused");
	snap_fill(&s, 3, 30);
	s.image[IMAGE - 1] ^= 1;
	sends(&s, LS_DATA_BAD, "checksum", "other bytes than the checksum's are refused");
	listed(h, "2:1/10+ 3:2/15+", "… and the one before stays");
	odd = *s.head;
	odd.bytes = 1ULL << 50;
	offer(&odd, 0, LS_AGAIN, "a copy larger than the memory");
	odd = *s.head;
	odd.rank = -1;
	offer(&odd, 0, LS_USAGE, "a header that makes no sense");
	odd = *s.head;
	odd.crc_known = 0;
	offer(&odd, 0, LS_USAGE, "a checksum that is not known");
	CU_ASSERT_EQUAL(ls_hold_forget(h, 9, 2, 15, NULL), LS_OK);
	listed(h, "3:2/15+", "copies are forgotten, too");
	ls_hold_close(h);
	end_agent("copy");
	snap_free(&s);
	snap_free(&other);
}

static void test_addresses(void)
{
	struct snap s = snap_make(0);
	struct ls_hold *h;
	char good[256], rows[6][256];
	static const struct {
		const char *says;
		ls_status want;
		const char *text;
	} want[] = {
		{ "the key of another run", LS_NODE_LOST, "key of another run" },
		{ "no key", LS_USAGE, "ADDRESS:PORT KEY" },
		{ "no port", LS_USAGE, "ADDRESS:PORT KEY" },
		{ "nothing", LS_USAGE, "ADDRESS:PORT KEY" },
		{ "a host's name", LS_USAGE, "is no address" },
		{ "a port where nobody listens", LS_NODE_LOST, "cannot reach" },
	};
	size_t i;

	start_agent("127.0.0.1");
	h = open_hold();
	snprintf(good, sizeof(good), "%s", ls_hold_address(h));
	snap_fill(&s, 1, 1);
	snprintf(rows[0], sizeof(rows[0]), "%.*sx", (int)strlen(good) - 1, good);
	snprintf(rows[1], sizeof(rows[1]), "%.*s", (int)strcspn(good, " "), good);
	snprintf(rows[2], sizeof(rows[2]), "127 %s", key);
	rows[3][0] = '\0';
	snprintf(rows[4], sizeof(rows[4]), "localhost:80 %s", key);
	snprintf(rows[5], sizeof(rows[5]), "127.0.0.1:1 %s", key);
	for (i = 0; i < COUNT(want); i++) {
		struct ls_err err = LS_ERR_INIT;

		check(ls_hold_send(rows[i], s.head, &err) == want[i].want && strstr(err.text, want[i].text), want[i].says, err.text);
		check(!strstr(err.text, key), want[i].says, "the message has no key in it");
	}
	listed(h, "", "nothing came of any of these");
	ls_hold_close(h);
	end_agent("addresses");
	snap_free(&s);
}

/* --- strangers --------------------------------------------------------------------------------------------------------- */

static int connect_name(void)
{
	int fd = -1;

	CU_ASSERT_EQUAL_FATAL(ls_hold_connect(name, &fd, NULL), LS_OK);
	return fd;
}

/* What the agent's connection answers to a request with this descriptor: its status, or -1 for the end of the connection. */
static int asks(uint32_t ask, int pass)
{
	struct ls_hold_request request = { .ask = ask };
	struct ls_hold_reply reply = { 0 };
	int fd = connect_name(), got, status;

	CU_ASSERT(ls_hold_packet_send(fd, &request, sizeof(request), pass));
	status = ls_hold_packet_recv(fd, &reply, sizeof(reply), &got) ? (int)reply.status : -1;
	ls_fd_close(&fd);
	return status;
}

static void test_garbage(void)
{
	struct snap s = snap_make(0);
	struct ls_hold *h;
	unsigned char noise[5000];
	int pipes[2], small = memfd_create("small", MFD_CLOEXEC), fd;
	unsigned seed = (unsigned)getpid();
	size_t i, k;

	printf("seed %u ", seed);
	srand(seed);
	start_agent("127.0.0.1");
	h = open_hold();
	CU_ASSERT_FATAL(pipe2(pipes, O_CLOEXEC) == 0);
	CU_ASSERT_EQUAL(asks(99, -1), LS_USAGE);
	CU_ASSERT_EQUAL(asks(LS_HOLD_KEEP, -1), LS_USAGE);
	CU_ASSERT_EQUAL(asks(LS_HOLD_KEEP, pipes[0]), LS_USAGE);
	CU_ASSERT_EQUAL(asks(LS_HOLD_KEEP, small), LS_USAGE);
	CU_ASSERT_EQUAL(asks(LS_HOLD_LIST, s.fd), LS_OK);
	check(agent_holds() == 0, "a descriptor where none belongs", "is not kept");
	for (i = 0; i < 200; i++) {
		size_t len = 1 + (size_t)rand() % sizeof(noise);

		for (k = 0; k < len; k++)
			noise[k] = (unsigned char)rand();
		if (i % 4 == 0) /* as large as a request */
			len = sizeof(struct ls_hold_request);
		fd = i % 2 ? connect_raw() : connect_name();
		CU_ASSERT(send(fd, noise, len, MSG_NOSIGNAL) == (ssize_t)len);
		ls_fd_close(&fd);
	}
	keep(h, &s, "after all that noise the agent holds");
	snap_fill(&s, 1, 1);
	listed(h, "0:1/1", "… and lists");
	CU_ASSERT_EQUAL(ftruncate(s.fd, 0), 0);
	listed(h, "", "a snapshot that its rank has cut off is not listed");
	ls_hold_close(h);
	end_agent("garbage");
	munmap(s.head, LS_SNAP_HEAD + IMAGE);
	ls_fd_close(&s.fd);
	ls_fd_close(&small);
	ls_fd_close(&pipes[0]), ls_fd_close(&pipes[1]);
}

static int other_user(void)
{
	struct ls_hold_request list = { .ask = LS_HOLD_LIST };
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name));
	struct ls_hold_reply reply;
	struct ls_hold *h = NULL;
	int got, fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);

	if (setresuid(65534, 65534, 65534) || ls_hold_open(name, &h, NULL) != LS_NODE_LOST)
		return 1;
	memcpy(to.sun_path + 1, name, strlen(name));
	ls_hold_patience(fd, 5, 5);
	if (connect(fd, (struct sockaddr *)&to, len))
		return 2;
	ls_hold_packet_send(fd, &list, sizeof(list), -1);
	return ls_hold_packet_recv(fd, &reply, sizeof(reply), &got) || errno == ETIMEDOUT ? 3 : 0;
}

/* Another user neither gets what the agent holds, nor is taken for it. */
static void test_other_user(void)
{
	int status = -1;
	pid_t pid;

	if (geteuid())
		return; /* only root can be two users */
	start_agent("");
	pid = fork();
	if (pid == 0)
		_exit(other_user());
	waitpid(pid, &status, 0);
	check(WIFEXITED(status) && WEXITSTATUS(status) == 0, "another user", "is refused by the agent, and refuses it");
	end_agent("other user");
}

int main(void)
{
	unsigned failures = 1;
	CU_pSuite suite;

	if (CU_initialize_registry() != CUE_SUCCESS)
		return 1;
	signal(SIGPIPE, SIG_IGN);
	suite = CU_add_suite("hold", NULL, NULL);
	CU_add_test(suite, "keep and list", test_keep);
	CU_add_test(suite, "a rank is killed", test_death);
	CU_add_test(suite, "forget", test_forget);
	CU_add_test(suite, "copies", test_copy);
	CU_add_test(suite, "addresses", test_addresses);
	CU_add_test(suite, "garbage", test_garbage);
	CU_add_test(suite, "another user", test_other_user);
	CU_basic_set_mode(CU_BRM_VERBOSE);
	CU_basic_run_tests();
	failures = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failures != 0;
}
