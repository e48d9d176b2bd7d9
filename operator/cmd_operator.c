/* cmd_operator.c -- `lockstep operator`: run TrainingJobs of a cluster. Options, start, and the order of the end:
 *
 *     SIGTERM: nothing new is sent --> what was sent is answered --> the lease is given back --> exit 0
 *     the lease is lost: the same, but exit 1: the kubelet starts the process anew, as a standby. */
#include "launcher/commands.h"
#include "core/io.h"
#include "operator/controller.h"
#include "operator/lean.h"
#include "operator/lease.h"
#include "operator/log.h"
#include "operator/serve.h"

#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LEASE_NAME "lockstep-operator"

static const char usage[] =
	"usage: lockstep operator --image IMAGE [options]\n"
	"\n"
	"  --image IMAGE             of the runtime: what worker Pods get /lockstep from, and launchers run\n"
	"  --namespace NAMESPACE     only its TrainingJobs (all)\n"
	"  --kubeconfig FILE         ($KUBECONFIG, ~/.kube/config, or the Pod's own account)\n"
	"  --context NAME            of the kubeconfig (the current one)\n"
	"  --kube-api-qps N          requests a second on the average; 0: no limit (50)\n"
	"  --kube-api-burst N        requests at once after a quiet time (100)\n"
	"  --metrics-address ADDRESS /metrics, /healthz, /readyz; \"\": none (:8080)\n"
	"  --leader-elect BOOL       wait for the Lease " LEASE_NAME " before acting (true)\n"
	"  --lease-namespace NAME    where it is (the Pod's own, or the kubeconfig's)\n"
	"  --log-level LEVEL         debug, info, warn or error (info)\n";

struct options {
	struct ls_kube_options kube;
	const char *image, *namespace_, *metrics_address, *lease_namespace;
	bool leader_elect, help;
};

struct operator {
	struct options o;
	struct ls_controller *controller;
	struct ls_lease *_Atomic lease; /* the server's thread looks, too */
	struct ls_serve *serve;
	sigset_t signals;
	pthread_t signal_thread;
	char identity[160];
	atomic_bool asked;      /* to end, by a signal */
};

/* --- options ------------------------------------------------------------------------------------------------------------------------------ */

enum { IMAGE = 1, NAMESPACE, KUBECONFIG, CONTEXT, QPS, BURST, METRICS, ELECT, LEASE_NS, LOG_LEVEL, HELP };

static const struct option long_options[] = {
	{ "image", required_argument, NULL, IMAGE },
	{ "namespace", required_argument, NULL, NAMESPACE },
	{ "kubeconfig", required_argument, NULL, KUBECONFIG },
	{ "context", required_argument, NULL, CONTEXT },
	{ "kube-api-qps", required_argument, NULL, QPS },
	{ "kube-api-burst", required_argument, NULL, BURST },
	{ "metrics-address", required_argument, NULL, METRICS },
	{ "leader-elect", required_argument, NULL, ELECT },
	{ "lease-namespace", required_argument, NULL, LEASE_NS },
	{ "log-level", required_argument, NULL, LOG_LEVEL },
	{ "help", no_argument, NULL, HELP },
	{ 0 },
};

static ls_status number(const char *name, const char *text, double least, double most, double *ret, struct ls_err *err)
{
	char *end;
	double value = strtod(text, &end);

	if (!*text || *end || !(value >= least && value <= most))
		return ls_fail(err, LS_USAGE, 0, "--%s %s: want a number from %g to %g", name, text, least, most);
	*ret = value;
	return LS_OK;
}

static ls_status take(struct options *o, int option, const char *value, struct ls_err *err)
{
	double n = 0;
	ls_status st = LS_OK;

	switch (option) {
	case IMAGE: o->image = value; break;
	case NAMESPACE: o->namespace_ = value; break;
	case KUBECONFIG: o->kube.kubeconfig = value; break;
	case CONTEXT: o->kube.context = value; break;
	case QPS: st = number("kube-api-qps", value, 0, 100000, &o->kube.qps, err); break;
	case BURST:
		st = number("kube-api-burst", value, 1, 100000, &n, err);
		o->kube.burst = (int)n;
		break;
	case METRICS: o->metrics_address = value; break;
	case ELECT:
		o->leader_elect = !strcmp(value, "true");
		if (!o->leader_elect && strcmp(value, "false") != 0)
			st = ls_fail(err, LS_USAGE, 0, "--leader-elect %s: want true or false", value);
		break;
	case LEASE_NS: o->lease_namespace = value; break;
	case LOG_LEVEL:
		if (!ls_log_level_set(value))
			st = ls_fail(err, LS_USAGE, 0, "--log-level %s: want debug, info, warn or error", value);
		break;
	case HELP: o->help = true; break;
	default: st = ls_fail(err, LS_USAGE, 0, "see lockstep operator --help"); break;
	}
	return st;
}

static ls_status parse(int argc, char **argv, struct options *o, struct ls_err *err)
{
	ls_status st = LS_OK;
	int option;

	*o = (struct options){ .kube = { .qps = 50, .burst = 100 }, .metrics_address = ":8080", .leader_elect = true };
	while (!st && (option = getopt_long(argc, argv, "", long_options, NULL)) != -1)
		st = take(o, option, optarg, err);
	if (!st && optind < argc)
		st = ls_fail(err, LS_USAGE, 0, "'%s' is not expected; see lockstep operator --help", argv[optind]);
	if (!st && !o->help && !(o->image && *o->image))
		st = ls_fail(err, LS_USAGE, 0, "which image has the runtime? Say --image IMAGE");
	return st;
}

/* --- parts -------------------------------------------------------------------------------------------------------------------------------- */

static bool may_act(void *arg, int within_ms)
{
	struct operator *op = arg;

	return op->lease && ls_lease_is_ours(op->lease, within_ms);
}

/* The lease's thread starts before `op->lease` is set, but finds the controller. */
static void on_lease(void *arg)
{
	struct operator *op = arg;

	ls_controller_wake(op->controller);
	if (op->lease && ls_lease_lost(op->lease))
		ls_controller_stop(op->controller);
}

static int answer(void *arg, const char *path, struct ls_str *ret)
{
	struct operator *op = arg;
	bool good;

	if (!strcmp(path, "/metrics")) {
		ls_controller_metrics(op->controller, ret);
		return 200;
	}
	if (strcmp(path, "/healthz") != 0 && strcmp(path, "/readyz") != 0) {
		ls_str_add(ret, "/metrics, /healthz or /readyz\n");
		return 404;
	}
	good = path[1] == 'h' ? ls_controller_alive(op->controller) : ls_controller_fresh(op->controller);
	ls_str_add(ret, good ? "ok\n" : path[1] == 'h' ? "the main loop has not turned for a minute\n" : "the watches do not show everything yet\n");
	return good ? 200 : 503;
}

static void *wait_for_signal(void *arg)
{
	struct operator *op = arg;
	int number;

	if (sigwait(&op->signals, &number))
		return NULL;
	op->asked = true;
	ls_controller_stop(op->controller);
	return NULL;
}

static ls_status start_lease(struct operator *op, struct ls_err *err)
{
	char host[64] = "", random[17];
	struct ls_lease_options opt = {
		.kube = op->o.kube, .namespace_ = op->o.lease_namespace, .name = LEASE_NAME, .identity = op->identity, .on_change = on_lease, .arg = op,
	};
	struct ls_lease *lease;
	struct ls_kube *kube;
	ls_status st;

	gethostname(host, sizeof(host) - 1);
	st = ls_random_hex(random, 8, err);
	if (st)
		return st;
	snprintf(op->identity, sizeof(op->identity), "%s_%s", host, random);
	opt.kube.qps = 0;
	st = ls_kube_open(&opt.kube, &kube, err);
	if (st)
		return st;
	if (!opt.namespace_)
		opt.namespace_ = ls_kube_namespace(kube);
	ls_log(LS_LOG_INFO, "waits for the lease", "lease", LEASE_NAME, "namespace", opt.namespace_, "identity", op->identity, NULL);
	st = ls_lease_start(&opt, &lease, err);
	if (!st)
		op->lease = lease;
	ls_kube_close(kube);
	return st;
}

static ls_status start(struct operator *op, struct ls_err *err)
{
	struct ls_controller_options opt = {
		.kube = op->o.kube, .namespace_ = op->o.namespace_, .image = op->o.image, .may_act = op->o.leader_elect ? may_act : NULL, .arg = op,
	};
	ls_status st = ls_controller_open(&opt, &op->controller, err);
	int e;

	if (!st && *op->o.metrics_address)
		st = ls_serve_start(op->o.metrics_address, answer, op, &op->serve, err);
	if (!st && (e = pthread_create(&op->signal_thread, NULL, wait_for_signal, op)) != 0)
		st = ls_fail(err, LS_AGAIN, e, "cannot start a thread for signals");
	return st;
}

static int run(struct operator *op)
{
	struct ls_err err = LS_ERR_INIT;
	bool lost = false;
	ls_status st = start(op, &err);

	if (!st && op->o.leader_elect)
		st = start_lease(op, &err);
	if (!st)
		st = ls_controller_run(op->controller, &err);
	if (op->lease)
		lost = ls_lease_lost(op->lease);
	if (lost)
		ls_log(LS_LOG_ERROR, "the lease is lost: another operator may act now, this one ends", NULL);
	else if (!st)
		ls_log(LS_LOG_INFO, "ends, as asked", NULL);
	if (op->signal_thread && !op->asked)
		pthread_kill(op->signal_thread, SIGTERM);
	if (op->signal_thread)
		pthread_join(op->signal_thread, NULL);
	ls_serve_stop(op->serve);
	ls_lease_stop(op->lease);
	ls_controller_close(op->controller);
	if (st)
		return ls_command_fail("operator", st, &err);
	return lost ? 1 : 0;
}

int cmd_operator(int argc, char **argv)
{
	struct operator op = { 0 };
	struct ls_err err = LS_ERR_INIT;
	ls_status st = parse(argc, argv, &op.o, &err);

	if (st)
		return ls_command_fail("operator", st, &err);
	if (op.o.help) {
		fputs(usage, stdout);
		return 0;
	}
	ls_lean_start();
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&op.signals);
	sigaddset(&op.signals, SIGTERM);
	sigaddset(&op.signals, SIGINT);
	pthread_sigmask(SIG_BLOCK, &op.signals, NULL);
	return run(&op);
}
