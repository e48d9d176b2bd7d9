/* plan.c -- see plan.h. Pure but for ls_hosts_read() and asking whether a name is this machine. */
#include "launcher/plan.h"
#include "core/io.h"

#include <ctype.h>
#include <errno.h>
#include <ifaddrs.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

/* Is `name` this machine? "localhost", its own names, or any address that one of its interfaces has. */
static bool is_local(const char *name)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *ai = NULL, *a;
	struct ifaddrs *ifs = NULL, *i;
	char self[256] = "";
	bool found = false;
	size_t len;

	gethostname(self, sizeof(self) - 1);
	len = strcspn(self, ".");
	if (!strcasecmp(name, "localhost") || !strcasecmp(name, self) ||
		(len && !strncasecmp(name, self, len) && name[len] == '\0'))
		return true;
	if (getaddrinfo(name, NULL, &hints, &ai) || getifaddrs(&ifs))
		goto out;
	for (a = ai; a && !found; a = a->ai_next) {
		for (i = ifs; i && !found; i = i->ifa_next) {
			if (!i->ifa_addr || i->ifa_addr->sa_family != a->ai_family)
				continue;
			if (a->ai_family == AF_INET)
				found = !memcmp(&((struct sockaddr_in *)(void *)a->ai_addr)->sin_addr,
					&((struct sockaddr_in *)(void *)i->ifa_addr)->sin_addr, sizeof(struct in_addr));
			else if (a->ai_family == AF_INET6)
				found = !memcmp(&((struct sockaddr_in6 *)(void *)a->ai_addr)->sin6_addr,
					&((struct sockaddr_in6 *)(void *)i->ifa_addr)->sin6_addr, sizeof(struct in6_addr));
		}
	}
out:
	if (ifs)
		freeifaddrs(ifs);
	if (ai)
		freeaddrinfo(ai);
	return found;
}

/* A host name, address or ssh alias: nothing that a shell or an option parser could read as something else. */
static bool name_ok(const char *name)
{
	const char *p;

	if (!isalnum((unsigned char)name[0]))
		return false;
	for (p = name; *p; p++)
		if (!isalnum((unsigned char)*p) && !strchr(".-_", *p))
			return false;
	return true;
}

static ls_status host_new(struct ls_hosts *hosts, const char *name, int slots, struct ls_err *err)
{
	struct ls_host *v;

	if (!name_ok(name))
		return ls_fail(err, LS_USAGE, 0, "'%.200s' is not a host name (letters, digits, '.', '-', '_')", name);
	v = realloc(hosts->v, ((size_t)hosts->n + 1) * sizeof(*v));
	if (!v)
		return ls_fail_oom(err);
	hosts->v = v;
	v += hosts->n;
	*v = (struct ls_host){ .slots = slots, .name = strdup(name) };
	if (!v->name)
		return ls_fail_oom(err);
	hosts->n++;
	return LS_OK;
}

/* It may be this machine; that asks the resolver. */
static ls_status host_add(struct ls_hosts *hosts, const char *name, int slots, struct ls_err *err)
{
	ls_status st;
	int i;

	for (i = 0; i < hosts->n; i++) {
		if (!strcmp(hosts->v[i].name, name)) {
			hosts->v[i].slots += slots;
			return LS_OK;
		}
	}
	st = host_new(hosts, name, slots, err);
	if (!st)
		hosts->v[hosts->n - 1].local = is_local(name);
	return st;
}

static ls_status slots_parse(const char *text, const char *where, int *ret, struct ls_err *err)
{
	char *end;
	long n = strtol(text, &end, 10);

	if (!isdigit((unsigned char)*text) || *end || n < 1 || n > 65536)
		return ls_fail(err, LS_USAGE, 0, "%s: '%s' is not a number of slots (1 to 65536)", where, text);
	*ret = (int)n;
	return LS_OK;
}

ls_status ls_hosts_parse(const char *list, struct ls_hosts *hosts, struct ls_err *err)
{
	char *copy = strdup(list), *p = copy, *item;
	ls_status st = LS_OK;

	if (!copy)
		return ls_fail_oom(err);
	while (!st && (item = strsep(&p, ",")) != NULL) {
		char *colon = strchr(item, ':');
		int slots = 1;

		if (colon) {
			*colon = '\0';
			st = slots_parse(colon + 1, item, &slots, err);
		}
		if (!st)
			st = host_add(hosts, item, slots, err);
	}
	free(copy);
	return st;
}

static ls_status hostfile_line(char *line, struct ls_hosts *hosts, struct ls_err *err)
{
	char *save = NULL, *name, *word, *colon;
	int slots = 0, max;
	ls_status st = LS_OK;

	line[strcspn(line, "#\r")] = '\0';
	name = strtok_r(line, " \t", &save);
	if (!name)
		return LS_OK;
	colon = strchr(name, ':');
	if (colon) {
		*colon = '\0';
		st = slots_parse(colon + 1, name, &slots, err);
	}
	while (!st && (word = strtok_r(NULL, " \t", &save)) != NULL) {
		if (!strncmp(word, "slots=", 6))
			st = slots_parse(word + 6, name, &slots, err);
		else if (!strncmp(word, "max_slots=", 10) || !strncmp(word, "max-slots=", 10))
			st = slots_parse(word + 10, name, &max, err);
		else
			st = ls_fail(err, LS_USAGE, 0, "%s: '%s' is not known here; use slots=N", name, word);
	}
	return st ? st : host_add(hosts, name, slots, err);
}

ls_status ls_hosts_read(const char *path, struct ls_hosts *hosts, struct ls_err *err)
{
	struct ls_str text = { 0 };
	char *p, *line;
	int number = 0, before = hosts->n;
	ls_status st = ls_file_read(path, 16 << 20, &text, err);

	p = text.s;
	while (!st && p && (line = strsep(&p, "\n")) != NULL) {
		number++;
		st = hostfile_line(line, hosts, err);
		if (st)
			ls_err_at(err, st, "%s:%d: ", path, number);
	}
	if (!st && hosts->n == before)
		st = ls_fail(err, LS_USAGE, 0, "%s names no host", path);
	if (st == LS_NOT_FOUND)
		st = err ? (err->status = LS_USAGE) : LS_USAGE;
	ls_str_release(&text);
	return st;
}

ls_status ls_hosts_add_local(struct ls_hosts *hosts, struct ls_err *err)
{
	return host_add(hosts, "localhost", 0, err);
}

ls_status ls_hosts_add_remote(struct ls_hosts *hosts, const char *name, struct ls_err *err)
{
	return host_new(hosts, name, 0, err);
}

static void host_release(struct ls_host *h)
{
	free(h->name);
	ls_topo_close(h->topo);
	ls_place_release(&h->place);
}

void ls_hosts_release(struct ls_hosts *hosts)
{
	int i;

	for (i = 0; i < hosts->n; i++)
		host_release(&hosts->v[i]);
	free(hosts->v);
	*hosts = (struct ls_hosts){ 0 };
}

static int host_slots(const struct ls_host *h)
{
	return h->slots ? h->slots : ls_topo_cores(h->topo);
}

/* Ranks on each host for -np and -N: fill the slots host by host, or in turn. */
static ls_status deal_ranks(const struct ls_hosts *hosts, const struct ls_plan_options *opt, int *counts, struct ls_err *err)
{
	int total = 0, want, i, left;
	bool said = false;

	for (i = 0; i < hosts->n; i++) {
		total += host_slots(&hosts->v[i]);
		said |= hosts->v[i].slots > 0;
	}
	if (opt->ranks_per_worker > 0) {
		want = opt->ranks ? opt->ranks : opt->ranks_per_worker * hosts->n;
		if (want > opt->ranks_per_worker * hosts->n)
			return ls_fail(err, LS_USAGE, 0, "%d ranks do not fit: %d host%s with %d each", want, hosts->n,
				hosts->n > 1 ? "s" : "", opt->ranks_per_worker);
	} else {
		want = opt->ranks ? opt->ranks : total;
	}
	/* Slots that were only counted from the cores are no promise of the user: sharing cores is warned of, not refused. */
	if (want > total && said && !opt->oversubscribe)
		return ls_fail(err, LS_USAGE, 0,
			"%d ranks asked for, but the hosts have %d slot%s; name more hosts or slots (-H a:4,b:4), or add --oversubscribe",
			want, total, total > 1 ? "s" : "");
	for (left = want, i = 0; left > 0; i = (i + 1) % hosts->n) {
		int cap = opt->ranks_per_worker > 0 ? opt->ranks_per_worker : host_slots(&hosts->v[i]);
		int room = want > total && opt->ranks_per_worker <= 0 ? left : cap - counts[i];
		int take = opt->by_node || want > total ? (room > 0) : (room < left ? room : left);

		counts[i] += take;
		left -= take;
	}
	return LS_OK;
}

/* Ranks on each host for a manifest: one worker is one host, each with ranksPerWorker ranks. */
static ls_status deal_workers(const struct ls_hosts *hosts, const struct ls_plan_options *opt, int *counts, struct ls_err *err)
{
	int use = opt->replicas, i;

	if (opt->local) {
		counts[0] = opt->ranks_per_worker < 0 ? LS_RANKS_AUTO : opt->ranks_per_worker * opt->replicas;
		return LS_OK;
	}
	if (use > hosts->n)
		use = hosts->n;
	if (use < opt->min_replicas)
		return ls_fail(err, LS_USAGE, 0,
			"spec.workers.replicas is %d (at least %d), but there %s %d host%s; name hosts with -H or --hostfile, "
			"or put all workers on this machine with --local",
			opt->replicas, opt->min_replicas, hosts->n == 1 ? "is" : "are", hosts->n, hosts->n == 1 ? "" : "s");
	for (i = 0; i < use; i++) {
		const struct ls_host *h = &hosts->v[i];

		counts[i] = opt->ranks_per_worker;
		if (counts[i] == LS_RANKS_AUTO && h->slots)
			counts[i] = h->slots;
		if (h->slots && counts[i] > h->slots && !opt->oversubscribe)
			return ls_fail(err, LS_USAGE, 0, "spec.workers.ranksPerWorker is %d, but host %s has %d slot%s; give it more, "
				"or add --oversubscribe", counts[i], h->name, h->slots, h->slots > 1 ? "s" : "");
	}
	return LS_OK;
}

/* Number the ranks. place.n is known for every host. */
static ls_status number_ranks(struct ls_plan *plan, struct ls_err *err)
{
	int host = 0, rank = 0;
	int *used = calloc((size_t)plan->hosts.n, sizeof(*used));

	plan->ranks = calloc((size_t)plan->world, sizeof(*plan->ranks));
	if (!used || !plan->ranks) {
		free(used);
		return ls_fail_oom(err);
	}
	while (rank < plan->world) {
		if (used[host] < plan->hosts.v[host].place.n) {
			plan->ranks[rank++] = (struct ls_plan_rank){ host, used[host]++ };
			if (!plan->by_node)
				continue;
		}
		host = (host + 1) % plan->hosts.n;
	}
	free(used);
	return LS_OK;
}

/* How many consecutive ranks are added up first (collectives/coll.h). A manifest says how many ranks a worker has, and that holds
 * when its workers share a host or move. Without one a host is the nearest thing, as long as its ranks are consecutive; one host
 * is one sum, which needs no word. */
static int sum_group(const struct ls_plan *plan, const struct ls_plan_options *opt)
{
	int i, n = plan->hosts.v[0].place.n;

	if (opt->replicas && opt->ranks_per_worker > 0)
		return opt->ranks_per_worker;
	if (opt->replicas ? opt->local : plan->by_node || plan->hosts.n == 1)
		return 0;
	for (i = 1; i < plan->hosts.n; i++)
		if (plan->hosts.v[i].place.n != n)
			return 0;
	return n;
}

static void keep_used_hosts(struct ls_hosts *hosts)
{
	int i, n = 0;

	for (i = 0; i < hosts->n; i++) {
		if (hosts->v[i].place.n)
			hosts->v[n++] = hosts->v[i];
		else
			host_release(&hosts->v[i]);
	}
	hosts->n = n;
}

ls_status ls_plan_make(struct ls_hosts *hosts, const struct ls_plan_options *opt, struct ls_plan *ret, struct ls_err *err)
{
	struct ls_plan plan = { .by_node = opt->by_node };
	int i, s, *counts = calloc((size_t)hosts->n, sizeof(*counts));
	ls_status st;

	if (!counts)
		return ls_fail_oom(err);
	st = opt->replicas ? deal_workers(hosts, opt, counts, err) : deal_ranks(hosts, opt, counts, err);
	for (i = 0; !st && i < hosts->n; i++) {
		struct ls_host *h = &hosts->v[i];

		if (!counts[i])
			continue;
		st = ls_place_host(h->topo, counts[i], opt->bind, &h->place, err);
		if (st)
			ls_err_at(err, st, "host %s: ", h->name);
		plan.world += h->place.n;
		for (s = 0; !st && s < h->place.n; s++)
			plan.oversubscribed |= h->place.seats[s].shared;
	}
	free(counts);
	if (st)
		return st;
	keep_used_hosts(hosts);
	plan.hosts = *hosts;
	*hosts = (struct ls_hosts){ 0 };
	plan.sum_group = sum_group(&plan, opt);
	st = number_ranks(&plan, err);
	if (st) {
		ls_plan_release(&plan);
		return st;
	}
	*ret = plan;
	return LS_OK;
}

void ls_plan_release(struct ls_plan *plan)
{
	ls_hosts_release(&plan->hosts);
	free(plan->ranks);
	*plan = (struct ls_plan){ 0 };
}

int ls_plan_local_hosts(const struct ls_plan *plan)
{
	int i, n = 0;

	for (i = 0; i < plan->hosts.n; i++)
		n += plan->hosts.v[i].local;
	return n;
}

const struct ls_host *ls_plan_host(const struct ls_plan *plan, int rank)
{
	return &plan->hosts.v[plan->ranks[rank].host];
}

const struct ls_seat *ls_plan_seat(const struct ls_plan *plan, int rank)
{
	return &ls_plan_host(plan, rank)->place.seats[plan->ranks[rank].local_rank];
}
