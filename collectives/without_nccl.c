/* without_nccl.c -- instead of all other *_nccl.c, in a build that has not found NCCL's header: the rows of both tables, so that who asks for
 * NCCL is told. */
#include "collectives/engine.h"

const struct ls_backend ls_backend_nccl = {
	.name = "nccl",
	.lacks = "this build has no NCCL: its header was not found; deploy/setup-cuda.sh fetches it, then build again",
};

const struct ls_algorithm ls_nccl_library = { .name = "library", .backend = &ls_backend_nccl };
