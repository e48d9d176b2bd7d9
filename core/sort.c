/* sort.c -- see sort.h. */
#include "core/sort.h"

#include <stdlib.h>

static int ascending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

void ls_sort(double *v, size_t n)
{
	qsort(v, n, sizeof(*v), ascending);
}
