/* link_server.c -- see link_server.h. */
#include "launcher/link_server.h"
#include "launcher/pod_door.h"
#include "launcher/workers.h"
#include "core/link.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct ls_link {
	struct ls_door door;
	int serial;
	struct ls_str report;
	struct ls_guest guests[LS_LINK_GUESTS];
};

ls_status ls_link_open(int serial, struct ls_link **ret, struct ls_err *err)
{
	struct ls_link *l = calloc(1, sizeof(*l));
	int port;
	ls_status st = l ? ls_door_open(&l->door, LS_LINK_PORT, "launcher", &port, err) : ls_fail_oom(err);

	if (st) {
		free(l);
		return st;
	}
	l->serial = serial;
	*ret = l;
	return LS_OK;
}

void ls_link_close(struct ls_link *l)
{
	int i;

	if (!l)
		return;
	for (i = 0; i < LS_LINK_GUESTS; i++)
		if (l->guests[i].chan.psk)
			ls_door_leave(&l->door, &l->guests[i]);
	ls_door_close(&l->door);
	ls_str_release(&l->report);
	free(l);
}

int ls_link_polls(struct ls_link *l, struct pollfd *p)
{
	int i, n = 0;

	p[n++] = (struct pollfd){ .fd = l->door.fd, .events = POLLIN };
	for (i = 0; i < LS_LINK_GUESTS; i++)
		if (l->guests[i].chan.psk)
			p[n++] = (struct pollfd){ .fd = ls_chan_fd(&l->guests[i].chan), .events = ls_chan_events(&l->guests[i].chan) };
	return n;
}

/* An order is for one Pod: one that was replaced, and does not know it, must start nothing any more. */
static cJSON *order_of(struct ls_link *l, const struct ls_guest *g, const char *line)
{
	cJSON *json = cJSON_Parse(line);
	const cJSON *serial = cJSON_GetObjectItemCaseSensitive(json, "serial");
	struct ls_workers workers = { 0 };
	struct ls_err err = LS_ERR_INIT;
	ls_status st;

	if (!json)
		st = ls_fail(&err, LS_USAGE, 0, "what it sent is no order: not JSON, or deeper than %d", CJSON_NESTING_LIMIT);
	else if (!cJSON_IsNumber(serial) || !cJSON_IsObject(cJSON_GetObjectItemCaseSensitive(json, "job")))
		st = ls_fail(&err, LS_USAGE, 0, "what it sent is no order: it has no serial, or no job");
	else if (serial->valuedouble != l->serial)
		st = ls_fail(&err, LS_USAGE, 0, "its order is for another launcher's Pod");
	else if ((st = ls_workers_parse(json, &workers, &err)))
		ls_err_at(&err, st, "what it sent is ");
	ls_workers_release(&workers);
	if (!st)
		return json;
	ls_door_refuse(&l->door, g, err.text);
	cJSON_Delete(json);
	return NULL;
}

static void serve_guest(struct ls_link *l, struct ls_guest *g, cJSON **order)
{
	ls_status st;
	char *line;

	if (!g->in) {
		if (!ls_door_shake(&l->door, g))
			return;
		ls_chan_add(&g->chan, ls_str_text(&l->report), l->report.len);
	}
	st = ls_chan_fill(&g->chan, NULL);
	while ((line = ls_chan_line(&g->chan)) != NULL) {
		cJSON *one = order_of(l, g, line);

		if (one) {
			cJSON_Delete(*order);
			*order = one;
		}
		free(line);
	}
	if (!st)
		st = ls_chan_flush(&g->chan, NULL);
	if (st)
		ls_door_leave(&l->door, g);
}

cJSON *ls_link_serve(struct ls_link *l)
{
	cJSON *order = NULL;
	int i, room = -1;

	for (i = 0; i < LS_LINK_GUESTS; i++) {
		if (l->guests[i].chan.psk)
			serve_guest(l, &l->guests[i], &order);
		if (!l->guests[i].chan.psk)
			room = i;
	}
	if (room >= 0)
		ls_door_accept(&l->door, &l->guests[room]);
	return order;
}

void ls_link_tell(struct ls_link *l, const char *report)
{
	int i;

	ls_str_release(&l->report);
	ls_str_addf(&l->report, "%s\n", report);
	for (i = 0; i < LS_LINK_GUESTS; i++) {
		struct ls_guest *g = &l->guests[i];

		if (!g->chan.psk || !g->in)
			continue;
		ls_chan_add(&g->chan, ls_str_text(&l->report), l->report.len);
		if (ls_chan_flush(&g->chan, NULL))
			ls_door_leave(&l->door, g);
	}
}

bool ls_link_all_told(const struct ls_link *l)
{
	int i;

	for (i = 0; i < LS_LINK_GUESTS; i++)
		if (l->guests[i].chan.psk && l->guests[i].in && l->guests[i].chan.out.len)
			return false;
	return true;
}
