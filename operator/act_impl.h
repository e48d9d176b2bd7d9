/* act_impl.h -- one request of a round (step.c), and the order in which they go (act.c). */
#ifndef LS_ACT_IMPL_H
#define LS_ACT_IMPL_H

#include "operator/controller_impl.h"

struct ls_step {
	struct work *w;
	struct ls_action *a;
	struct ls_kube_call call;
	bool check;             /* its create found the name taken; `call` looks whose it is */
};

/* With the lock: compose the request, and note what it is expected to do. */
ls_status ls_step_prepare(struct ls_step *s);
/* Without: the name was taken: look by whom. */
bool ls_step_wants_check(struct ls_step *s);
/* With the lock: what became of it. */
void ls_step_done(struct ls_controller *c, struct ls_step *s);
/* With the lock: tell the launcher. False: its Secret's key is to be read first, which is a step. */
bool ls_step_tell(struct ls_controller *c, struct work *w, const struct ls_action *a);
/* With the lock: a Pod that was decided is not created. */
void ls_step_undo(struct ls_controller *c, struct work *w, const struct ls_action *a);
void ls_step_release(struct ls_step *s);

#endif
