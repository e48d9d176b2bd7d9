/* make_impl.h -- what the makers of objects share. Private to pods*.c and plan_order.c. */
#ifndef LS_MAKE_IMPL_H
#define LS_MAKE_IMPL_H

#include "operator/plan.h"

/* An object in the making. A failed allocation is remembered, what follows it does nothing that matters, and ls_making_end() throws all away. */
struct ls_making {
	bool oom;
};

/* From JSON text. Strings put in by %s must not need escapes: names that the API server has checked. */
cJSON *ls_making_json(struct ls_making *k, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Takes `item`; replaces what is there. Key NULL: at the end of the list. */
void ls_making_put(struct ls_making *k, cJSON *parent, const char *key, cJSON *item);
void ls_making_text(struct ls_making *k, cJSON *parent, const char *key, const char *text);
/* The map or list under a key, made if it is not there. */
cJSON *ls_making_map(struct ls_making *k, cJSON *parent, const char *key);
cJSON *ls_making_list(struct ls_making *k, cJSON *parent, const char *key);
/* A copy of what is under the key of another object, if it is there. */
void ls_making_copy(struct ls_making *k, cJSON *parent, const char *key, const cJSON *from);
cJSON *ls_making_end(struct ls_making *k, cJSON *object);

/* Into an object: apiVersion, kind, and metadata with name, namespace, the job's label and owner. Returns the metadata. */
cJSON *ls_making_head(struct ls_making *k, cJSON *object, const struct ls_make *m, const char *api, const char *kind, const char *name);
/* What Pods of both roles have: metadata for the role and serial; the secret's volume and mount, uid and serial, and the object store's
 * credentials in `container`. */
cJSON *ls_making_pod(struct ls_making *k, cJSON *pod, const struct ls_make *m, int index, int serial);
void ls_making_common(struct ls_making *k, cJSON *spec, cJSON *container, const struct ls_make *m, int serial);

const cJSON *ls_template(const struct ls_tjob *job); /* spec.workers.template */
bool ls_uses_volcano(const struct ls_tjob *job);

#endif
