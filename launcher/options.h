/* options.h -- the command line of `lockstep run`: mpirun's words where mpirun has them.
 *
 *   Ownership  struct ls_run_options owns its lists; plain pointers point into argv. ls_run_options_release().
 *   Errors     LS_USAGE: the option, what is wrong, the nearest real one. */
#ifndef LS_OPTIONS_H
#define LS_OPTIONS_H

#include "launcher/plan.h"
#include "core/net.h"

struct ls_run_options {
	const char *file;          /* -f; NULL: a program on the command line */
	struct ls_strv sets;       /* --set */
	struct ls_hosts hosts;     /* -H, --hostfile */
	int np, per_host;          /* 0: not given */
	struct ls_strv env;        /* -x, "NAME=value" */
	enum ls_bind bind;
	bool bind_given;
	const char *wdir, *dir, *name, *mpirun, *ssh, *remote_path;
	const char *workers;       /* --workers: launcher/workers.h; NULL */
	struct ls_strv engine_extra;
	long grace_s, start_timeout_s, timeout_s, max_restarts; /* -1: not given */
	long attempt, losses;      /* of a launcher's Pod that took over; 0 */
	int preflight;             /* enum ls_preflight; -1: not given */
	struct ls_net_limits preflight_limits;
	bool oversubscribe, by_node, local, dry_run, fresh, quiet, no_prefix, report_bindings, help;
	char *const *argv;         /* the program; NULL */
};

ls_status ls_run_options_parse(int argc, char **argv, struct ls_run_options *ret, struct ls_err *err);
void ls_run_options_release(struct ls_run_options *o);
void ls_run_options_help(struct ls_str *ret);
/* The names of all options, NULL-terminated, with their dashes: for completion and its test. */
const char *const *ls_run_options_names(void);

#endif
