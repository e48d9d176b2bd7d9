/* attempt_world.c -- see attempt_impl.h. */
#include "launcher/attempt_impl.h"
#include "core/hold.h"
#include "core/io.h"
#include "lockstep/lockstep.h"

#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void attempt_engine_env(struct attempt *a, int tcp_port, struct ls_strv *ret)
{
	const struct ls_plan *p = a->opt->plan;
	struct ls_str ctl = { 0 }, session = { 0 };
	char **e;
	int i, j;

	for (e = environ; *e; e++)
		ls_strv_add(ret, *e);
	ls_str_addf(&ctl, "unix:lockstep-%s", a->run_id);
	for (i = 0; tcp_port && i < p->hosts.n; i++) {
		const char *address = p->hosts.v[i].launcher_address;

		for (j = 0; j < i && strcmp(p->hosts.v[j].launcher_address, address); j++)
			;
		if (address[0] && j == i)
			ls_str_addf(&ctl, ",tcp:%s:%d", address, tcp_port);
	}
	ls_str_addf(&session, "%s:%s", a->session_tmp, a->session_shm);
	if (!getenv("HWLOC_PLUGINS_BLACKLIST"))
		ls_strv_setenv(ret, "HWLOC_PLUGINS_BLACKLIST", LS_HWLOC_SKIP);
	ls_strv_setenv(ret, "LOCKSTEP_CTL", ls_str_text(&ctl));
	ls_strv_setenv(ret, "LOCKSTEP_TOKEN", a->token);
	ls_strv_setenv(ret, "LOCKSTEP_RUN_ID", a->run_id);
	ls_strv_setenv(ret, "LOCKSTEP_SESSION", ls_str_text(&session));
	ls_strv_setenv(ret, LS_AGENT_ENV, ls_agents_name(a->opt->agents));
	ret->oom |= ctl.oom || session.oom;
	ls_str_release(&ctl);
	ls_str_release(&session);
}

void attempt_missing(const struct attempt *a, struct ls_str *ret)
{
	int r, said = 0;

	for (r = 0; r < a->world; r++) {
		if (a->conn_of[r] >= 0)
			continue;
		if (said == 8) {
			ls_str_addf(ret, " and %d more", a->world - a->n_hello - said);
			break;
		}
		ls_str_addf(ret, "%srank %d (host %s)", said++ ? ", " : "", r, ls_plan_host(a->opt->plan, r)->name);
	}
}

static void wrong_world(struct attempt *a, int rank, const char *host, const char *what)
{
	struct ls_str suspects = { 0 };

	ls_engine_suspects(environ, a->opt->engine->major, &suspects);
	attempt_fail(a, "WorldMismatch", rank, host, false, "%s%s%s%s", what, suspects.len ? "; a likely cause is in the environment: " : "",
		ls_str_text(&suspects),
		suspects.len ? "" : "; nothing in the environment explains it: is mpirun a wrapper, or do two host names mean one machine?");
	ls_str_release(&suspects);
}

static int number(const cJSON *json, const char *key)
{
	const cJSON *n = cJSON_GetObjectItem(json, key);

	return cJSON_IsNumber(n) ? n->valueint : -1;
}

static const char *string(const cJSON *json, const char *key)
{
	const char *text = cJSON_GetStringValue(cJSON_GetObjectItem(json, key));

	return text ? text : "";
}

/* Is this rank who and where the plan says? */
static bool check_place(struct attempt *a, int rank, const cJSON *hello)
{
	const struct ls_plan *p = a->opt->plan;
	const char *host = string(hello, "host");
	int world = number(hello, "world"), local = number(hello, "localRank");
	char what[512];

	if (world != p->world) {
		snprintf(what, sizeof(what), "%d ranks were planned, but the engine started %d: rank %d on %s found a world of %d",
			p->world, world, rank, host, world);
	} else if (rank < 0 || rank >= p->world) {
		snprintf(what, sizeof(what), "the engine started a rank %d on %s in a world of %d", rank, host, p->world);
	} else if (a->conn_of[rank] >= 0) {
		snprintf(what, sizeof(what), "two processes say that they are rank %d (the second on %s): the engine started more than "
			"one world", rank, host);
	} else if (strcmp(string(hello, "hostId"), ls_plan_host(p, rank)->id)) {
		snprintf(what, sizeof(what), "rank %d was planned on host %s, but the engine started it on %s", rank,
			ls_plan_host(p, rank)->name, host);
	} else if (local != p->ranks[rank].local_rank) {
		snprintf(what, sizeof(what), "rank %d was planned as local rank %d of host %s, but is its local rank %d", rank,
			p->ranks[rank].local_rank, ls_plan_host(p, rank)->name, local);
	} else if (strcmp(string(hello, "version"), LOCKSTEP_VERSION)) {
		snprintf(what, sizeof(what), "host %s has lockstep %s, this is %s", host, string(hello, "version"), LOCKSTEP_VERSION);
	} else {
		return true;
	}
	wrong_world(a, rank, host, what);
	return false;
}

static bool knows_token(struct attempt *a, const struct conn *c, const cJSON *hello)
{
	if (hello && ls_wire_secret_is(a->token, string(hello, "token")))
		return true;
	if (!a->said_stranger)
		ls_watch_say(a->opt->watch, true, "a connection from %s does not know this run's token: refused", c->peer);
	a->said_stranger = true; /* once: a scanner does not stop at one */
	return false;
}

bool attempt_hello(struct attempt *a, struct conn *c, const char *bytes, size_t len)
{
	cJSON *hello = cJSON_ParseWithLength(bytes, len);
	int rank, i;

	if (!knows_token(a, c, hello) || strcmp(string(hello, "runId"), a->run_id)) {
		cJSON_Delete(hello);
		return false;
	}
	rank = number(hello, "rank");
	if (check_place(a, rank, hello)) {
		const cJSON *ports = cJSON_GetObjectItem(hello, "ports");

		c->rank = rank;
		a->conn_of[rank] = (int)(c - a->conns);
		a->out->pids[rank] = number(hello, "pid");
		for (i = 0; i < LS_RANK_PORTS; i++) {
			const cJSON *port = cJSON_GetArrayItem(ports, i);

			a->ports[rank][i] = cJSON_IsNumber(port) ? port->valueint : 0;
		}
		a->out->world = ++a->n_hello;
	}
	cJSON_Delete(hello);
	return true;
}

/* An agent belongs to the run, not to this attempt: its connection goes where the attempt's end does not reach it. */
void attempt_agent(struct attempt *a, struct conn *c, const char *bytes, size_t len)
{
	cJSON *hello = cJSON_ParseWithLength(bytes, len), *go = cJSON_CreateObject();
	const struct ls_plan *p = a->opt->plan;
	const struct ls_host *h = NULL;
	int i;

	if (knows_token(a, c, hello) && !strcmp(string(hello, "version"), LOCKSTEP_VERSION))
		for (i = 0; !h && i < p->hosts.n; i++)
			h = strcmp(string(hello, "hostId"), p->hosts.v[i].id) ? NULL : &p->hosts.v[i];
	if (h) {
		cJSON_AddStringToObject(go, "key", ls_agents_key(a->opt->agents));
		cJSON_AddStringToObject(go, "address", p->hosts.n > 1 ? h->address : "");
		if (!ls_wire_send_json(&c->wire, LS_MSG_GO, go) && !c->wire.out.len)
			ls_agents_take(a->opt->agents, &c->wire.fd);
	}
	cJSON_Delete(hello);
	cJSON_Delete(go);
}

static cJSON *string_array(char *const *v)
{
	cJSON *array = cJSON_CreateArray();

	for (; v && *v; v++)
		cJSON_AddItemToArray(array, cJSON_CreateString(*v));
	return array;
}

void attempt_go(struct attempt *a)
{
	const struct ls_attempt_options *o = a->opt;
	struct ls_environ env = { .job = o->job, .plan = o->plan, .run_id = a->run_id, .attempt = o->number,
		.restarts = o->restarts, .max_restarts = o->max_restarts, .checkpoint_uri = o->checkpoint_uri,
		.resume = o->resume, .generation = o->generation, .user_env = o->user_env, .ports = (const int(*)[LS_RANK_PORTS])a->ports,
		.engine_major = o->engine->major, .agent = ls_agents_name(o->agents), .session_shm = a->session_shm, .inherited = environ };
	char libdir[600];
	int r;

	ls_engine_libdir(o->engine, libdir);
	for (r = 0; r < a->world; r++) {
		const struct ls_seat *seat = ls_plan_seat(o->plan, r);
		struct ls_strv vars = { 0 };
		cJSON *go = cJSON_CreateObject();

		ls_environ_rank(&env, r, &vars);
		cJSON_AddItemToObject(go, "argv", string_array(o->job->argv.v));
		cJSON_AddItemToObject(go, "env", string_array(vars.v));
		cJSON_AddStringToObject(go, "cwd", o->cwd);
		cJSON_AddStringToObject(go, "cpuset", seat->cpuset);
		cJSON_AddStringToObject(go, "libdir", libdir);
		cJSON_AddNumberToObject(go, "graceMs", o->grace_ms);
		ls_wire_send_json(&a->conns[a->conn_of[r]].wire, LS_MSG_GO, go);
		cJSON_Delete(go);
		ls_strv_release(&vars);
	}
}
