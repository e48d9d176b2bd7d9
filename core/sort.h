/* sort.h -- the order of figures, for medians and quantiles. */
#ifndef LS_SORT_H
#define LS_SORT_H

#include <stddef.h>

void ls_sort(double *v, size_t n); /* in place, ascending; NaN has no place in it */

#endif
