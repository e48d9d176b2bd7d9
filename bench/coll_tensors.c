/* coll_tensors.c -- see coll_tensors.h. */
#include "bench/coll_tensors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_TENSORS 4096

/* The last column of each line, but for comments and the columns' names. */
static size_t read_elements(const char *path, size_t *list)
{
	FILE *f = fopen(path, "re");
	char line[512], *comma;
	size_t n = 0;

	while (f && n < MAX_TENSORS && fgets(line, sizeof(line), f)) {
		comma = line[0] == '#' ? NULL : strrchr(line, ',');
		list[n] = comma ? strtoull(comma + 1, NULL, 10) : 0;
		n += list[n] > 0;
	}
	if (f)
		fclose(f);
	return n;
}

/* From the last to the first; to[] has room for all. */
static size_t fuse(const size_t *from, size_t n, size_t bucket_elements, size_t *to)
{
	size_t filled = 0, open = 0;

	while (n-- > 0) {
		open += from[n];
		if (open < bucket_elements && n)
			continue;
		to[filled++] = open;
		open = 0;
	}
	return filled;
}

size_t *coll_tensors(const char *how, size_t count, size_t element_bytes, size_t *ret_n, char *text, size_t size)
{
	const char *colon = how ? strrchr(how, ':') : NULL;
	size_t tensors[MAX_TENSORS] = { count }, n = 1, sum = 0, i, *parts;
	char path[4096];

	if (how && *how) {
		snprintf(path, sizeof(path), "%.*s", (int)(colon ? (size_t)(colon - how) : strlen(how)), how);
		n = read_elements(path, tensors);
	}
	for (i = 0; i < n; i++)
		sum += tensors[i];
	if (sum != count) {
		snprintf(text, size, "LOCKSTEP_BENCH_TENSORS=%s: %zu elements; the operation has %zu", how, sum, count);
		return NULL;
	}
	parts = calloc(n + 1, sizeof(*parts));
	if (!parts)
		snprintf(text, size, "no memory for a list of tensors");
	else
		*ret_n = fuse(tensors, n, colon ? strtoull(colon + 1, NULL, 10) / element_bytes : 1, parts);
	return parts;
}
