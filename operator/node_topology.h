/* node_topology.h -- a node's hardware as the cluster sees it: the object NodeTopology (lockstep.dev/v1alpha1, cluster-scoped, named like the node).
 *
 * Only what stays: no links' states, no virtual interfaces, nothing of the process that looks. Two looks at an unchanged node give the same hash. */
#ifndef LS_NODE_TOPOLOGY_H
#define LS_NODE_TOPOLOGY_H

#include "core/status.h"
#include "core/topo.h"

#include <cjson/cJSON.h>

/* The spec: model, sockets, cores, memory, numa, gpus, nics, hash. NULL: no memory. */
cJSON *ls_node_spec(const struct ls_topo *topo);
/* The object, owned by the Node of that uid: it goes when the node goes. Takes `spec`. NULL: no memory. */
cJSON *ls_node_object(const char *node, const char *uid, cJSON *spec);

#endif
