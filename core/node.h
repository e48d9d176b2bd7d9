/* node.h -- a parsed YAML or JSON document: one tree, every value with the line it came from.
 *
 * YAML (libyaml) and JSON (as text: JSON is parsed by libyaml too, so that both have lines; as cJSON objects from an API
 * server: converted, line 0) end in the same tree, so that one validator serves manifests and the operator.
 *
 * Plain scalars are typed by the core schema of YAML 1.2: only true and false (True, TRUE, …) are booleans; yes, no, on, off,
 * 1_000 and 12:30:00 are strings, 0x1f and 0o17 are integers; an integer beyond 64 bits is a FLOAT. Quoted is a string.
 *
 *   Limits     16 MiB of text, 64 levels, 200,000 values; aliases and anchors, duplicate keys, several documents, NUL
 *              characters and tags other than the core schema's are refused: a manifest has one reading.
 *   Ownership  the root owns everything; pointers into the tree live until ls_node_free(root).
 *   Threads    a tree is not shared without a lock.
 *   Errors     LS_USAGE: "NAME:LINE:COLUMN: reason; remedy".
 */
#ifndef LS_NODE_H
#define LS_NODE_H

#include "core/status.h"

#include <stdbool.h>
#include <stddef.h>

#define LS_NODE_MAX_BYTES (16u << 20)
#define LS_NODE_MAX_LEVELS 64
#define LS_NODE_MAX_VALUES 200000

enum ls_node_type { LS_NODE_NULL, LS_NODE_BOOL, LS_NODE_INT, LS_NODE_FLOAT, LS_NODE_STRING, LS_NODE_LIST, LS_NODE_MAP };

struct ls_node {
	enum ls_node_type type;
	char *key;            /* in a map: this value's key; else NULL */
	char *text;           /* scalars: the text as written (unquoted); else NULL */
	bool boolean;         /* LS_NODE_BOOL */
	long long integer;    /* LS_NODE_INT (also set, truncated, for FLOAT) */
	double number;        /* LS_NODE_INT and LS_NODE_FLOAT */
	int line, column;     /* 1-based, of the key where there is one; 0 when the tree was not text, -1 when from --set */
	struct ls_node *child, *next; /* first entry of a list or map; next entry of the parent */
};

const char *ls_node_type_name(enum ls_node_type type); /* "an integer", for messages */

/* `name` is what errors call the text (a file's path, or "stdin"). */
ls_status ls_node_parse(const char *name, const char *text, size_t len, struct ls_node **ret, struct ls_err *err);
struct cJSON;
ls_status ls_node_from_cjson(const struct cJSON *json, struct ls_node **ret, struct ls_err *err);
/* The reverse, to print: integers keep all their digits (as raw text). */
ls_status ls_node_to_cjson(const struct ls_node *node, struct cJSON **ret, struct ls_err *err);
const struct ls_node *ls_node_get(const struct ls_node *map, const char *key); /* NULL if absent or not a map */
size_t ls_node_count(const struct ls_node *list);
/* Set the value at a dotted path ("spec.workers.replicas=4", "….containers.0.command=[python3, train.py]"), typed as
 * YAML would; makes the maps on the way, not the list entries. On failure the tree is as before. Behind `lockstep run --set`. */
ls_status ls_node_set(struct ls_node *root, const char *assignment, struct ls_err *err);
void ls_node_free(struct ls_node *root); /* NULL is fine */

#endif
