/* cmd_node.c -- `lockstep agent --node`: publishes this node's topology, and publishes it anew when its devices change.
 *
 *     look at the hardware ──same hash as published──> wait a minute (or SIGHUP)
 *            └──other, first time, or RECHECK_S passed──> GET Node (uid) ──> GET NodeTopology ──> none: POST, other: PATCH
 *
 * A question to the API server is rare: thousands of nodes ask the same one. Trouble with the server is waited out; a refusal ends it,
 * so that the Pod shows it. */
#include "core/io.h"
#include "launcher/commands.h"
#include "operator/cli.h"
#include "operator/node_topology.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { LOOK_S = 60, RECHECK_S = 600, RETRY_S = 10 };

struct node {
	struct ls_cli c;
	const char *name, *topology;
	bool once;
	char hash[16];        /* as published */
	int64_t asked_ms;     /* when the server was last asked */
};

static void object_path(struct ls_str *path, const char *name)
{
	ls_str_add(path, LS_KUBE_API "/nodetopologies");
	if (name) {
		ls_str_add(path, "/");
		ls_kube_add_segment(path, name);
	}
}

/* A path's object, or NULL in *ret with LS_NOT_FOUND. */
static ls_status get(struct node *n, const char *collection, cJSON **ret, struct ls_err *err)
{
	struct ls_str path = { 0 };
	ls_status st;

	ls_str_addf(&path, "%s/", collection);
	ls_kube_add_segment(&path, n->name);
	st = path.oom ? ls_fail_oom(err) : ls_kube_get(n->c.k, ls_str_text(&path), ret, err);
	ls_str_release(&path);
	return st;
}

static ls_status send_object(struct node *n, bool is_new, const char *uid, cJSON *spec, struct ls_err *err)
{
	struct ls_kube_call call = { .method = is_new ? "POST" : "PATCH", .content_type = is_new ? NULL : "application/merge-patch+json" };
	cJSON *object = ls_node_object(n->name, uid, cJSON_Duplicate(spec, true));
	char *body = object ? cJSON_PrintUnformatted(object) : NULL;
	ls_status st;

	object_path(&call.path, is_new ? NULL : n->name);
	ls_str_add(&call.path, "?fieldManager=lockstep-agent");
	if (body)
		ls_str_add(&call.body, body);
	st = !body || call.path.oom || call.body.oom ? ls_fail_oom(err) : ls_kube_one(n->c.k, &call, err);
	if (st == LS_NOT_FOUND)
		st = ls_fail(err, LS_USAGE, 0, "this cluster has no NodeTopologies; install them: kubectl apply --server-side -k deploy");
	if (!st)
		ls_cli_say("%s the topology of node %s, %zu bytes", is_new ? "published" : "updated", n->name, strlen(body));
	cJSON_free(body);
	cJSON_Delete(object);
	ls_kube_call_release(&call);
	return st;
}

static ls_status publish(struct node *n, cJSON *spec, struct ls_err *err)
{
	cJSON *node = NULL, *old = NULL;
	const cJSON *owner;
	const char *uid;
	ls_status st = get(n, "/api/v1/nodes", &node, err), found;

	if (st == LS_NOT_FOUND)
		st = ls_fail(err, LS_USAGE, 0, "the cluster has no node '%s'; give its name: $NODE_NAME from spec.nodeName, or --node", n->name);
	if (st)
		return st;
	uid = ls_text_at(node, "metadata.uid");
	found = get(n, LS_KUBE_API "/nodetopologies", &old, err);
	owner = cJSON_GetArrayItem(ls_at(old, "metadata.ownerReferences"), 0);
	if (found && found != LS_NOT_FOUND)
		st = found;
	else if (found || strcmp(ls_text_at(old, "spec.hash"), ls_text_at(spec, "hash")) || strcmp(ls_text_at(owner, "uid"), uid))
		st = send_object(n, found == LS_NOT_FOUND, uid, spec, err);
	cJSON_Delete(node);
	cJSON_Delete(old);
	return st;
}

/* One look; the server is asked only when there is a reason. */
static ls_status look(struct node *n, struct ls_err *err)
{
	bool recheck = !n->asked_ms || ls_clock_ms() - n->asked_ms >= RECHECK_S * 1000LL;
	struct ls_topo *topo = NULL;
	cJSON *spec = NULL;
	ls_status st = n->topology ? ls_topo_open(n->topology, true, &topo, err) : ls_topo_open_whole(&topo, err);

	if (!st && !(spec = ls_node_spec(topo)))
		st = ls_fail_oom(err);
	if (!st && (recheck || strcmp(n->hash, ls_text_at(spec, "hash"))))
		st = publish(n, spec, err);
	if (!st && recheck)
		n->asked_ms = ls_clock_ms();
	if (!st)
		snprintf(n->hash, sizeof(n->hash), "%s", ls_text_at(spec, "hash"));
	cJSON_Delete(spec);
	ls_topo_close(topo);
	return st;
}

/* The signal that came within so long, or 0. */
static int pause_for(const sigset_t *signals, int seconds)
{
	const struct timespec t = { .tv_sec = seconds };
	int sig;

	do
		sig = sigtimedwait(signals, NULL, &t);
	while (sig < 0 && errno == EINTR);
	return sig > 0 ? sig : 0;
}

static ls_status run(struct node *n, struct ls_err *err)
{
	sigset_t signals;
	ls_status st;
	int sig = 0;

	sigemptyset(&signals);
	sigaddset(&signals, SIGHUP);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	pthread_sigmask(SIG_BLOCK, &signals, NULL);
	do {
		if (sig == SIGHUP)
			n->asked_ms = 0;
		st = look(n, err);
		if (st == LS_USAGE && strstr(err->text, "forbidden"))
			ls_err_at(err, st, "the agent's account needs the rights that deploy/agent.yaml gives: ");
		if (n->once || (st && st != LS_AGAIN))
			return st;
		if (st)
			ls_cli_say("%s; trying again in %d s", err->text, RETRY_S);
		sig = pause_for(&signals, st ? RETRY_S : LOOK_S);
	} while (!sig || sig == SIGHUP);
	return LS_OK;
}

int cmd_agent_node(int argc, char **argv)
{
	struct node n = { .name = getenv("NODE_NAME") };
	const struct ls_cli_option options[] = {
		{ "--node", LS_CLI_TEXT, "NAME", "the node's name; default: $NODE_NAME", &n.name },
		{ "--topology", LS_CLI_TEXT, "FILE.xml", "publish this recorded topology, not this machine's", &n.topology },
		{ "--once", LS_CLI_FLAG, NULL, "publish and end", &n.once },
		{ .names = NULL },
	};
	struct ls_err err = LS_ERR_INIT;
	int code;

	argv[0] = "agent --node";
	if (ls_cli_parse(&n.c, argc, argv, "agent --node [--node NAME] [--once]", options, &code)) {
		ls_status st = n.c.n_words ? ls_fail(&err, LS_USAGE, 0, "unknown word %s", n.c.words[0]) : LS_OK;

		if (!st && (!n.name || !*n.name))
			st = ls_fail(&err, LS_USAGE, 0, "which node? set NODE_NAME from spec.nodeName, or give --node NAME");
		if (!st)
			st = ls_cli_open(&n.c, &err);
		if (!st)
			st = run(&n, &err);
		code = st ? ls_command_fail("agent --node", st, &err) : 0;
	}
	ls_cli_release(&n.c);
	return code;
}
