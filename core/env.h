/* env.h -- settings from the environment. A variable that is empty counts as unset; one that does not parse is an error, not a
 * default: a checkpoint interval of "1O0" must not mean "never". */
#ifndef LS_ENV_H
#define LS_ENV_H

#include "core/status.h"

#include <stdint.h>

const char *ls_env_text(const char *name, const char *otherwise);
ls_status ls_env_number(const char *name, int64_t least, int64_t otherwise, int64_t *ret, struct ls_err *err);

#endif
