/* pod_chan.c -- see pod_chan.h. */
#include "launcher/pod_chan.h"
#include "launcher/wire.h"

#include <poll.h>
#include <string.h>

ls_status ls_chan_open(struct ls_chan *c, int fd, bool server, const struct ls_psk_key *key, struct ls_err *err)
{
	struct ls_wire socket; /* for its options alone */

	*c = (struct ls_chan){ 0 };
	ls_wire_init(&socket, fd);
	ls_wire_must_read(&socket);
	return ls_psk_open(fd, server, key, &c->psk, err);
}

void ls_chan_close(struct ls_chan *c)
{
	ls_psk_close(c->psk);
	ls_str_release(&c->in);
	ls_str_release(&c->out);
	*c = (struct ls_chan){ 0 };
}

ls_status ls_chan_fill(struct ls_chan *c, struct ls_err *err)
{
	char block[16384];
	size_t n;
	ls_status st;

	while (!(st = ls_psk_read(c->psk, block, sizeof(block), &n, err))) {
		ls_str_addn(&c->in, block, n);
		if (c->in.oom || c->in.len > LS_CHAN_MAX)
			return ls_fail(err, LS_NODE_LOST, 0, "the peer sent more than there is room for");
	}
	return st == LS_AGAIN ? LS_OK : st;
}

ls_status ls_chan_flush(struct ls_chan *c, struct ls_err *err)
{
	ls_status st = c->out.oom ? ls_fail_oom(err) : LS_OK;
	size_t n, sent = 0;

	while (!st && sent < c->out.len && !(st = ls_psk_write(c->psk, c->out.s + sent, c->out.len - sent, &n, err)))
		sent += n;
	ls_str_cut(&c->out, sent);
	return st == LS_AGAIN && !c->out.oom ? LS_OK : st;
}

void ls_chan_add(struct ls_chan *c, const void *bytes, size_t len)
{
	ls_str_addn(&c->out, bytes, len);
}

char *ls_chan_line(struct ls_chan *c)
{
	char *end = c->in.len ? memchr(c->in.s, '\n', c->in.len) : NULL, *line;

	if (!end)
		return NULL;
	line = strndup(c->in.s, (size_t)(end - c->in.s));
	if (line)
		ls_str_cut(&c->in, (size_t)(end - c->in.s) + 1);
	return line;
}

int ls_chan_fd(const struct ls_chan *c)
{
	return c->psk ? ls_psk_fd(c->psk) : -1;
}

short ls_chan_events(const struct ls_chan *c)
{
	return (short)(ls_psk_events(c->psk) | POLLIN | (c->out.len ? POLLOUT : 0));
}
