/* place_nic.h -- the NIC of each seat; place.c's last step. */
#ifndef LS_PLACE_NIC_H
#define LS_PLACE_NIC_H

#include "core/place.h"

/* Fills in nic and netdev of n seats; gpus[i] is the GPU of seat i, or gpus is NULL, and near[i] are the PUs of a seat without one. */
ls_status ls_place_nics(const struct ls_topo *topo, const struct ls_gpu *const *gpus, struct ls_seat *seats, int n,
	const hwloc_bitmap_t *near, struct ls_err *err);

#endif
