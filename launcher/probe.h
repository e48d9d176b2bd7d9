/* probe.h -- ask every host, at once, what it is: before a rank is placed, and before a job can half start.
 *
 * Other hosts are asked through the remote shell the engine will use: `ssh HOST lockstep probe`. A host that is still booting
 * (refused, unreachable, unknown name) is asked again until the deadline; one that says no (login refused, no lockstep there,
 * another version) is final at once.
 *
 *   Errors     LS_NODE_LOST, err->host and the remote shell's own last words; LS_USAGE for what a person must mend.
 */
#ifndef LS_PROBE_H
#define LS_PROBE_H

#include "launcher/plan.h"

#include <limits.h>

struct ls_probe_options {
	const char *ssh;      /* "ssh -F cfg": the remote shell and its options, split at spaces */
	const char *binary;   /* where lockstep is on the other hosts */
	int deadline_ms;
	bool need_all;        /* false: hosts that stay silent are dropped from the list and named in *ret_lost */
	void (*say)(const char *sentence); /* progress for a person ("waiting for host b: …"); may be NULL */
	const volatile int *stop; /* non-zero: give up (LS_AGAIN) */
	bool (*stale)(void *who); /* true: these are no more the hosts to ask, give up (LS_NODE_LOST); may be NULL */
	void *who;
};

/* Fills id, addresses, topo of every host. */
ls_status ls_probe_hosts(struct ls_hosts *hosts, const struct ls_probe_options *opt, struct ls_str *ret_lost, struct ls_err *err);

/* This machine with its devices, and with what NVIDIA's library knows of its GPUs. */
ls_status ls_host_topo(struct ls_topo **ret, struct ls_err *err);
/* The interface of this host that has `address` (numeric); "" if none has. */
void ls_iface_of(const char *address, char name[32]);
/* Where this program is: where it is looked for on other hosts unless --remote-path says otherwise. */
ls_status ls_self_path(char ret[PATH_MAX], struct ls_err *err);
/* What this host calls itself: "hostname/boot-id". */
void ls_host_id(char id[128], char hostname[64]);
/* The remote shell's argv without host and command: split, and with -o BatchMode=yes when it is ssh (nobody is there to type). */
void ls_ssh_argv(const char *ssh, struct ls_strv *ret);

#endif
