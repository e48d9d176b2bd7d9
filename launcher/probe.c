/* probe.c -- see probe.h; the other end is cmd_probe.c. */
#include "launcher/probe.h"
#include "core/io.h"
#include "launcher/gpu_nvml.h"
#include "lockstep/lockstep.h"

#include <arpa/inet.h>
#include <cjson/cJSON.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ASK_AGAIN_MS = 1000, MAX_REPLY = 32 << 20, ASKS_AT_ONCE = 128 };

ls_status ls_self_path(char ret[PATH_MAX], struct ls_err *err)
{
	ssize_t n = readlink("/proc/self/exe", ret, PATH_MAX - 1);

	if (n < 0)
		return ls_fail(err, LS_AGAIN, errno, "cannot find this program's own path");
	ret[n] = '\0';
	return LS_OK;
}

void ls_host_id(char id[128], char hostname[64])
{
	struct ls_str boot = { 0 };

	if (gethostname(hostname, 63) < 0)
		strcpy(hostname, "?");
	hostname[63] = '\0';
	ls_file_read("/proc/sys/kernel/random/boot_id", 64, &boot, NULL);
	if (boot.len && boot.s[boot.len - 1] == '\n')
		boot.s[--boot.len] = '\0';
	snprintf(id, 128, "%.63s/%.60s", hostname, ls_str_text(&boot));
	ls_str_release(&boot);
}

ls_status ls_host_topo(struct ls_topo **ret, struct ls_err *err)
{
	struct ls_topo *topo = NULL;
	ls_status st = ls_topo_open(NULL, true, &topo, err);

	if (!st)
		st = ls_nvml_describe(topo, err);
	if (st)
		ls_topo_close(topo);
	else
		*ret = topo;
	return st;
}

/* CUDA_VISIBLE_DEVICES as exported where the launcher starts holds on every host, as other variables that Lockstep sets; else a host's own. */
static ls_status show_gpus(struct ls_topo *topo, const char *devices, const char *order, struct ls_err *err)
{
	const char *ours = getenv("CUDA_VISIBLE_DEVICES");

	return ls_topo_set_visible(topo, ours ? ours : devices, ours ? getenv("CUDA_DEVICE_ORDER") : order, err);
}

void ls_iface_of(const char *address, char name[32])
{
	struct ifaddrs *ifs = NULL, *i;
	unsigned char want[16], *have;

	name[0] = '\0';
	if (getifaddrs(&ifs))
		return;
	for (i = ifs; i; i = i->ifa_next) {
		int family = i->ifa_addr ? i->ifa_addr->sa_family : 0;

		if ((family != AF_INET && family != AF_INET6) || inet_pton(family, address, want) != 1)
			continue;
		have = family == AF_INET ? (void *)&((struct sockaddr_in *)(void *)i->ifa_addr)->sin_addr
					 : (void *)&((struct sockaddr_in6 *)(void *)i->ifa_addr)->sin6_addr;
		if (!memcmp(want, have, family == AF_INET ? 4 : 16)) {
			snprintf(name, 32, "%s", i->ifa_name);
			break;
		}
	}
	freeifaddrs(ifs);
}

void ls_ssh_argv(const char *ssh, struct ls_strv *ret)
{
	char *copy = strdup(ssh), *save = NULL, *word;
	const char *base;

	if (!copy) {
		ret->oom = true;
		return;
	}
	for (word = strtok_r(copy, " \t", &save); word; word = strtok_r(NULL, " \t", &save))
		ls_strv_add(ret, word);
	free(copy);
	if (!ret->n)
		return;
	base = strrchr(ret->v[0], '/');
	if (!strcmp(base ? base + 1 : ret->v[0], "ssh")) {
		ls_strv_add(ret, "-o");
		ls_strv_add(ret, "BatchMode=yes");
		ls_strv_add(ret, "-o");
		ls_strv_add(ret, "ConnectTimeout=10");
	}
}

/* One question to one host. */
struct ask {
	pid_t pid;             /* 0: none under way */
	int out, errfd;
	struct ls_str reply, complaint;
	int64_t again_ms;      /* when to ask (again) */
	bool said, done;
	char why[256];         /* why the last answer was no good */
};

static ls_status ask_start(struct ask *a, const struct ls_host *h, const struct ls_probe_options *opt, struct ls_err *err)
{
	int out[2] = { -1, -1 }, errs[2] = { -1, -1 }, rc;
	posix_spawn_file_actions_t acts;
	posix_spawnattr_t attr;
	struct ls_strv argv = { 0 };
	struct ls_str command = { 0 };
	ls_status st = LS_OK;

	ls_ssh_argv(opt->ssh, &argv);
	ls_strv_add(&argv, h->name);
	ls_str_add_quoted(&command, opt->binary);
	ls_str_add(&command, " probe");
	ls_strv_add(&argv, ls_str_text(&command));
	if (argv.oom || command.oom || pipe2(out, O_CLOEXEC) < 0 || pipe2(errs, O_CLOEXEC) < 0) {
		st = ls_fail(err, LS_AGAIN, errno, "cannot ask host %s", h->name);
		goto out;
	}
	posix_spawn_file_actions_init(&acts);
	posix_spawn_file_actions_addopen(&acts, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&acts, out[1], 1);
	posix_spawn_file_actions_adddup2(&acts, errs[1], 2);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK);
	rc = posix_spawnp(&a->pid, argv.v[0], &acts, &attr, argv.v, environ);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&acts);
	if (rc) {
		a->pid = 0;
		st = ls_fail(err, LS_USAGE, rc, "cannot start the remote shell '%s'; install openssh-client or give --ssh",
			argv.v[0]);
		goto out;
	}
	a->out = out[0];
	a->errfd = errs[0];
	out[0] = errs[0] = -1;
	fcntl(a->out, F_SETFL, O_NONBLOCK);
	fcntl(a->errfd, F_SETFL, O_NONBLOCK);
out:
	ls_fd_close(&out[0]);
	ls_fd_close(&out[1]);
	ls_fd_close(&errs[0]);
	ls_fd_close(&errs[1]);
	ls_str_release(&command);
	ls_strv_release(&argv);
	return st;
}

/* A signal while waiting (another host's answer, Ctrl-C) is not an answer. */
static int wait_status(pid_t pid)
{
	int status = 0;

	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return status;
}

static void ask_end(struct ask *a)
{
	if (a->pid) {
		kill(-a->pid, SIGKILL);
		wait_status(a->pid);
	}
	a->pid = 0;
	ls_fd_close(&a->out);
	ls_fd_close(&a->errfd);
	ls_str_release(&a->reply);
	ls_str_release(&a->complaint);
}

/* Drain one pipe; false at its end. */
static bool drain(int fd, struct ls_str *to)
{
	char block[8192];
	ssize_t n;

	while ((n = read(fd, block, sizeof(block))) > 0)
		if (to->len < MAX_REPLY)
			ls_str_addn(to, block, (size_t)n);
	return n < 0 && (errno == EAGAIN || errno == EINTR);
}

static void copy_json(const cJSON *json, const char *key, char *ret, size_t size)
{
	const char *text = cJSON_GetStringValue(cJSON_GetObjectItem(json, key));

	snprintf(ret, size, "%s", text ? text : "");
}

static ls_status reply_read(struct ls_host *h, const struct ls_str *reply, struct ls_err *err)
{
	cJSON *json = cJSON_ParseWithLength(ls_str_text(reply), reply->len);
	char version[32];
	const char *xml;
	ls_status st;

	if (!json)
		return ls_fail(err, LS_USAGE, 0, "host %s: the answer to 'lockstep probe' is not ours; does its login shell "
			"print something?", h->name);
	copy_json(json, "version", version, sizeof(version));
	copy_json(json, "id", h->id, sizeof(h->id));
	copy_json(json, "hostname", h->hostname, sizeof(h->hostname));
	copy_json(json, "address", h->address, sizeof(h->address));
	copy_json(json, "launcherAddress", h->launcher_address, sizeof(h->launcher_address));
	copy_json(json, "iface", h->iface, sizeof(h->iface));
	h->rdma = cJSON_IsTrue(cJSON_GetObjectItem(json, "rdma"));
	xml = cJSON_GetStringValue(cJSON_GetObjectItem(json, "topology"));
	if (strcmp(version, LOCKSTEP_VERSION))
		st = ls_fail(err, LS_USAGE, 0, "host %s has lockstep %s, this is %s; install the same version on all hosts",
			h->name, version, LOCKSTEP_VERSION);
	else if (!xml)
		st = ls_fail(err, LS_NODE_LOST, 0, "host %s sent no topology", h->name);
	else
		st = ls_topo_open_xml(xml, strlen(xml), &h->topo, err);
	if (!st)
		st = show_gpus(h->topo, cJSON_GetStringValue(cJSON_GetObjectItem(json, "cudaVisibleDevices")),
			cJSON_GetStringValue(cJSON_GetObjectItem(json, "cudaDeviceOrder")), err);
	cJSON_Delete(json);
	return st;
}

static const char *last_line(struct ls_str *text)
{
	char *nl;

	while (text->len && strchr("\r\n", text->s[text->len - 1]))
		text->s[--text->len] = '\0';
	nl = text->len ? strrchr(text->s, '\n') : NULL;
	return nl ? nl + 1 : ls_str_text(text);
}

/* The remote shell ended. Good answer, a no that is final, or ask again later. */
static ls_status ask_ended(struct ask *a, struct ls_host *h, const struct ls_probe_options *opt, struct ls_err *err)
{
	static const char *const final[] = { "Permission denied", "Host key verification failed", "not found", "No such file",
		"REMOTE HOST IDENTIFICATION", "Bad owner or permissions", "Can't open user config file", NULL };
	int status = wait_status(a->pid), i;
	const char *words;

	a->pid = 0;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
		a->done = true;
		return reply_read(h, &a->reply, err);
	}
	words = last_line(&a->complaint);
	if (WIFEXITED(status) && (WEXITSTATUS(status) == 127 || WEXITSTATUS(status) == 126))
		return ls_fail(err, LS_USAGE, 0, "host %s has no %s (%s); install lockstep at the same path on every host, or "
			"say where with --remote-path", h->name, opt->binary, words);
	for (i = 0; final[i]; i++)
		if (strstr(ls_str_text(&a->complaint), final[i]))
			return ls_fail(err, LS_USAGE, 0, "host %s refuses: %s", h->name, words);
	snprintf(a->why, sizeof(a->why), "%s", *words ? words : "the remote shell failed without a word");
	a->again_ms = ls_clock_ms() + ASK_AGAIN_MS;
	return LS_OK;
}

static ls_status local_fill(struct ls_host *h, struct ls_err *err)
{
	ls_status st;

	ls_host_id(h->id, h->hostname);
	h->rdma = access("/sys/class/infiniband", F_OK) == 0;
	if (h->topo)
		return LS_OK;
	st = ls_host_topo(&h->topo, err);
	return st ? st : show_gpus(h->topo, NULL, NULL, err);
}

/* One round of waiting on every question under way. */
static ls_status asks_poll(struct ask *asks, struct ls_hosts *hosts, const struct ls_probe_options *opt, struct ls_err *err)
{
	struct pollfd *p = calloc(2 * (size_t)hosts->n, sizeof(*p));
	ls_status st = LS_OK;
	int i, n = 0;

	if (!p)
		return ls_fail_oom(err);
	for (i = 0; i < hosts->n; i++) {
		if (!asks[i].pid)
			continue;
		p[n++] = (struct pollfd){ .fd = asks[i].out, .events = POLLIN };
		p[n++] = (struct pollfd){ .fd = asks[i].errfd, .events = POLLIN };
	}
	poll(p, (nfds_t)n, 100);
	free(p);
	for (i = 0; !st && i < hosts->n; i++) {
		struct ask *a = &asks[i];
		bool more;

		if (!a->pid)
			continue;
		more = drain(a->out, &a->reply);
		more |= drain(a->errfd, &a->complaint);
		if (more)
			continue;
		st = ask_ended(a, &hosts->v[i], opt, err);
		if (st && err)
			snprintf(err->host, sizeof(err->host), "%s", hosts->v[i].name);
		ask_end(a);
	}
	return st;
}

static void asks_say(struct ask *asks, const struct ls_hosts *hosts, const struct ls_probe_options *opt)
{
	char text[400];
	int i;

	for (i = 0; i < hosts->n; i++) {
		if (!asks[i].why[0] || asks[i].said || !opt->say)
			continue;
		snprintf(text, sizeof(text), "waiting for host %s, up to %d s (--start-timeout): %s", hosts->v[i].name,
			opt->deadline_ms / 1000, asks[i].why);
		opt->say(text);
		asks[i].said = true;
	}
}

/* Hosts that never answered: an error, or dropped. */
static ls_status drop_silent(struct ask *asks, struct ls_hosts *hosts, const struct ls_probe_options *opt,
	struct ls_str *ret_lost, struct ls_err *err)
{
	int i, n = 0;

	for (i = 0; i < hosts->n; i++) {
		if (asks[i].done)
			continue;
		if (opt->need_all) {
			if (err)
				snprintf(err->host, sizeof(err->host), "%s", hosts->v[i].name);
			return ls_fail(err, LS_NODE_LOST, 0, "host %s did not answer within %d s: %s", hosts->v[i].name,
				opt->deadline_ms / 1000, asks[i].why[0] ? asks[i].why : "no word from the remote shell");
		}
		ls_str_addf(ret_lost, "%s%s", ret_lost->len ? ", " : "", hosts->v[i].name);
	}
	for (i = 0; i < hosts->n; i++) {
		if (asks[i].done)
			hosts->v[n++] = hosts->v[i];
		else
			free(hosts->v[i].name);
	}
	hosts->n = n;
	return n ? LS_OK : ls_fail(err, LS_NODE_LOST, 0, "no host answered");
}

/* This machine's address among several hosts is the one that the others see the launcher at. */
static void local_address(struct ls_hosts *hosts)
{
	const char *seen = "";
	int i;

	for (i = 0; i < hosts->n && !seen[0]; i++)
		seen = hosts->v[i].launcher_address;
	for (i = 0; i < hosts->n && seen[0]; i++) {
		struct ls_host *h = &hosts->v[i];

		if (!h->local)
			continue;
		snprintf(h->address, sizeof(h->address), "%s", seen);
		ls_iface_of(h->address, h->iface);
	}
}

ls_status ls_probe_hosts(struct ls_hosts *hosts, const struct ls_probe_options *opt, struct ls_str *ret_lost, struct ls_err *err)
{
	struct ask *asks = calloc((size_t)hosts->n, sizeof(*asks));
	int64_t until = ls_clock_ms() + opt->deadline_ms;
	ls_status st = LS_OK;
	bool stale = false;
	int i, n = hosts->n, left = n, asking;

	if (!asks)
		return ls_fail_oom(err);
	for (i = 0; i < n; i++)
		asks[i].out = asks[i].errfd = -1;
	while (!st && left && ls_clock_ms() < until && !(opt->stop && *opt->stop) && !stale) {
		for (i = asking = 0; i < hosts->n; i++)
			asking += asks[i].pid != 0;
		for (i = left = 0; !st && i < hosts->n; i++) {
			if (asks[i].done)
				continue;
			if (hosts->v[i].local) {
				st = local_fill(&hosts->v[i], err);
				asks[i].done = true;
				continue;
			}
			left++;
			if (!asks[i].pid && asking < ASKS_AT_ONCE && ls_clock_ms() >= asks[i].again_ms) {
				st = ask_start(&asks[i], &hosts->v[i], opt, err);
				asking++;
			}
		}
		if (!st && left)
			st = asks_poll(asks, hosts, opt, err);
		asks_say(asks, hosts, opt);
		stale = left && opt->stale && opt->stale(opt->who);
	}
	if (!st && opt->stop && *opt->stop)
		st = ls_fail(err, LS_AGAIN, 0, "stopped while waiting for the hosts");
	if (!st && stale)
		st = ls_fail(err, LS_NODE_LOST, 0, "other hosts are to be asked now");
	if (!st)
		st = drop_silent(asks, hosts, opt, ret_lost, err);
	if (!st)
		local_address(hosts);
	for (i = 0; i < n; i++)
		ask_end(&asks[i]);
	free(asks);
	return st;
}
