/* topo_svg.h -- a topology, and who sits where, as one self-contained SVG picture. */
#ifndef LS_TOPO_SVG_H
#define LS_TOPO_SVG_H

#include "core/place.h"
#include "core/topo.h"

/* Appends the picture to *ret. `place` may be NULL: the machine alone. */
ls_status ls_topo_svg(const char *title, const struct ls_topo *topo, const struct ls_place *place, struct ls_str *ret,
	struct ls_err *err);

#endif
