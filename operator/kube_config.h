/* kube_config.h -- which API server, and as whom: kubeconfig files, the ServiceAccount of a Pod, exec plug-ins.
 *
 *   Ownership  the structs own what they point to.
 *   Threads    plain data.
 *   Errors     LS_USAGE with the file's name; no message holds a secret. */
#ifndef LS_KUBE_CONFIG_H
#define LS_KUBE_CONFIG_H

#include "core/secret.h"
#include "operator/kube.h"

#include <time.h>

#define LS_SERVICE_ACCOUNT_DIR "/var/run/secrets/kubernetes.io/serviceaccount"

/* What proves who we are. */
struct ls_kube_creds {
	struct ls_str token;
	struct ls_str cert_pem, key_pem; /* of the client; both or none */
	time_t expires;                  /* 0: not said */
};

enum ls_exec_interactive { LS_EXEC_NEVER, LS_EXEC_IF_AVAILABLE, LS_EXEC_ALWAYS };

struct ls_kube_exec {                    /* a program that prints an ExecCredential */
	char *command;                   /* NULL: none */
	struct ls_strv args, env;        /* env: "NAME=value" beside our own */
	char *api_version, *install_hint;
	bool provide_cluster_info;
	enum ls_exec_interactive interactive;
	char *config;                    /* the cluster's extension for it, as JSON; NULL: none */
};

struct ls_kube_config {
	char *whence;                    /* "/home/u/.kube/config", "the Pod's ServiceAccount": for messages */
	char *server;                    /* without a slash at the end */
	char *namespace_;
	struct ls_str ca_pem;
	bool insecure;
	char *server_name, *proxy;       /* NULL: not said */
	struct ls_strv headers;          /* of impersonation */
	struct ls_kube_creds creds;      /* as they stand in the file */
	char *token_file;                /* NULL: none; read anew */
	struct ls_kube_exec exec;
};

ls_status ls_kube_config_load(const struct ls_kube_options *opt, struct ls_kube_config *ret, struct ls_err *err);
ls_status ls_kube_config_in_cluster(const char *dir, struct ls_kube_config *ret, struct ls_err *err); /* dir: of the ServiceAccount */
void ls_kube_config_release(struct ls_kube_config *c);
void ls_kube_creds_release(struct ls_kube_creds *c);

/* Run the plug-in, at most a minute, or ten where a person may be asked. */
ls_status ls_kube_exec_run(const struct ls_kube_config *c, struct ls_kube_creds *ret, struct ls_err *err);
/* What it printed. */
ls_status ls_kube_exec_parse(const struct ls_kube_exec *e, const char *text, size_t len, struct ls_kube_creds *ret, struct ls_err *err);

#endif
