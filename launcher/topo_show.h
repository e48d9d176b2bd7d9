/* topo_show.h -- a topology and a placement as text. Both print what they are given and decide nothing.
 *
 *   Errors     none are returned: test ferror(out) once at the end. */
#ifndef LS_TOPO_SHOW_H
#define LS_TOPO_SHOW_H

#include "core/place.h"
#include "core/topo.h"

#include <stdio.h>

/* A tree of packages, NUMA domains, caches, cores and devices; `host` heads it. */
void ls_topo_print(FILE *out, const char *host, const struct ls_topo *topo);
/* A table with one line per rank, and the warning. */
void ls_place_print(FILE *out, const struct ls_place *place);

#endif
