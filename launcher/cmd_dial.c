/* cmd_dial.c -- `lockstep dial NAME COMMAND...`: runs a command in a worker's Pod, in ssh's place: for Open MPI (plm_rsh_agent) and probe.c.
 *
 * NAME is looked up in the newest order ($LOCKSTEP_WORKERS), never in DNS; while nobody answers there, again each second: the Pod may have been
 * replaced. Exit code: the command's; 255 and a sentence when there is none. It ends with who started it, and its command with it. */
#include "launcher/commands.h"
#include "launcher/pod.h"
#include "launcher/pod_door.h"
#include "launcher/wire.h"
#include "launcher/workers.h"
#include "core/io.h"
#include "core/link.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

enum { CONNECT_MS = 10000, SHAKE_MS = 10000, AGAIN_MS = 1000, NOT_RUN = 255 };

static ls_status connect_to(const char *orders, const char *name, int *ret_fd, struct ls_err *err)
{
	int64_t until = ls_clock_ms() + CONNECT_MS, again;
	char address[64], where[96];
	ls_status st;

	for (;;) {
		again = ls_clock_ms() + AGAIN_MS;
		st = ls_workers_address(orders, name, address, err);
		if (!st) {
			snprintf(where, sizeof(where), "tcp:%s:%d", address, LS_POD_PORT);
			st = ls_wire_connect(where, 0, ret_fd, err);
			if (st)
				ls_fail(err, LS_NODE_LOST, err->sys, "cannot reach the agent of worker %s at %s, port %d", name, address, LS_POD_PORT);
		}
		if (!st || st == LS_USAGE || ls_clock_ms() >= until)
			return st;
		if (again > ls_clock_ms())
			poll(NULL, 0, (int)(again - ls_clock_ms()));
	}
}

static void ask(struct ls_chan *c, const struct ls_strv *words)
{
	cJSON *json = cJSON_CreateObject(), *argv = cJSON_AddArrayToObject(json, "argv");
	char *text;
	size_t i;

	for (i = 0; i < words->n; i++)
		cJSON_AddItemToArray(argv, cJSON_CreateString(words->v[i]));
	text = cJSON_PrintUnformatted(json);
	if (text)
		ls_chan_add(c, text, strlen(text));
	ls_chan_add(c, "\n", 1);
	c->out.oom |= !text;
	cJSON_free(text);
	cJSON_Delete(json);
}

/* "O 5\nhello": to where it belongs. True: "X code" has come. */
static bool take(struct ls_chan *c, int *ret_code, ls_status *ret_st, struct ls_err *err)
{
	char *end, type;
	size_t len, head;

	while (!*ret_st && c->in.len && (end = memchr(c->in.s, '\n', c->in.len)) != NULL) {
		head = (size_t)(end - c->in.s) + 1;
		if (sscanf(c->in.s, "%c %zu\n", &type, &len) != 2 || !strchr("OEX", type)) {
			*ret_st = ls_fail(err, LS_DATA_BAD, 0, "the answer is not an agent's");
			return false;
		}
		if (type == 'X') {
			*ret_code = (int)len;
			return true;
		}
		if (c->in.len - head < len)
			return false;
		if (ls_write_all(type == 'O' ? 1 : 2, c->in.s + head, len) < 0)
			*ret_st = ls_fail(err, LS_NODE_LOST, errno, "nobody takes the command's output");
		ls_str_cut(&c->in, head + len);
	}
	return false;
}

static ls_status carry(struct ls_chan *c, const struct ls_strv *words, int *ret_code, struct ls_err *err)
{
	int64_t until = ls_clock_ms() + SHAKE_MS;
	ls_status st, ended;

	while ((st = ls_psk_handshake(c->psk, err)) == LS_AGAIN) {
		struct pollfd p = { .fd = ls_chan_fd(c), .events = ls_psk_events(c->psk) };

		if (ls_clock_ms() >= until)
			return ls_fail(err, LS_NODE_LOST, 0, "no answer within %d s", SHAKE_MS / 1000);
		poll(&p, 1, (int)(until - ls_clock_ms()) + 1);
	}
	if (!st)
		ask(c, words);
	while (!st) {
		struct pollfd p = { .fd = ls_chan_fd(c), .events = ls_chan_events(c) };

		st = ls_chan_flush(c, err);
		if (!st)
			poll(&p, 1, -1);
		ended = st ? st : ls_chan_fill(c, err);
		if (take(c, ret_code, &st, err))
			return LS_OK;
		if (!st && ended)
			st = err->text[0] ? ended : ls_fail(err, LS_NODE_LOST, 0, "the agent ended");
	}
	return st;
}

int cmd_dial(int argc, char **argv)
{
	const char *orders = getenv(LS_ENV_WORKERS);
	struct ls_err err = LS_ERR_INIT;
	struct ls_psk_key key = { .identity = "" };
	struct ls_strv words = { 0 };
	struct ls_str command = { 0 };
	struct ls_chan chan = { 0 };
	int fd = -1, code = NOT_RUN, i;
	ls_status st = LS_OK;

	prctl(PR_SET_PDEATHSIG, SIGTERM);
	signal(SIGPIPE, SIG_IGN);
	for (i = 2; i < argc; i++)
		ls_str_addf(&command, "%s%s", i > 2 ? " " : "", argv[i]);
	if (argc < 3)
		st = ls_fail(&err, LS_USAGE, 0, "is started by Open MPI and `lockstep run`: dial NAME COMMAND");
	else if (!orders)
		st = ls_fail(&err, LS_USAGE, 0, "%s is not set: this runs in a job's launcher Pod", LS_ENV_WORKERS);
	if (!st)
		st = ls_pod_command(ls_str_text(&command), &words, &err);
	if (!st)
		st = ls_pod_key(&key, &err);
	if (!st)
		st = connect_to(orders, argv[1], &fd, &err);
	if (!st)
		st = ls_chan_open(&chan, fd, false, &key, &err);
	if (!st) {
		st = carry(&chan, &words, &code, &err);
		if (st)
			ls_err_at(&err, st, "worker %s: ", argv[1]);
	}
	if (st)
		fprintf(stderr, "lockstep dial: %s\n", err.text);
	explicit_bzero(&key, sizeof(key));
	ls_chan_close(&chan);
	ls_strv_release(&words);
	ls_str_release(&command);
	return st ? NOT_RUN : code;
}
