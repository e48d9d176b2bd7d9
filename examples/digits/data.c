/* data.c -- see data.h. A line that is not 64 pixels and a label is an error with its number, not skipped. */
#include "data.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PIXELS (SIDE * SIDE)

static int parse(const char *line, struct image *ret)
{
	char *end;
	long value = 0;
	int i;

	memset(ret, 0, sizeof(*ret));
	for (i = 0; i <= PIXELS; i++) {
		value = strtol(line, &end, 10);
		if (end == line || value < 0 || value > (i < PIXELS ? 16 : CLASSES - 1))
			return -1;
		if (i < PIXELS && *end != ',')
			return -1;
		if (i < PIXELS)
			ret->pixel[1 + i / SIDE][1 + i % SIDE] = (float)value / 16.0f;
		line = end + 1;
	}
	ret->label = (int)value;
	return *end == '\0' || *end == '\n' || *end == '\r' ? 0 : -1;
}

static int add(struct image **list, int *n, const struct image *im)
{
	struct image *grown = *list;

	if ((*n & (*n - 1)) == 0) /* full at every power of two */
		grown = realloc(*list, sizeof(*grown) * (*n ? 2 * (size_t)*n : 1));
	if (!grown)
		return -1;
	*list = grown;
	grown[(*n)++] = *im;
	return 0;
}

int digits_load(const char *path, struct digits *ret, char why[256])
{
	FILE *f = fopen(path, "re");
	struct image im;
	char line[1024];
	int n = 0, rc = 0;

	memset(ret, 0, sizeof(*ret));
	if (!f) {
		snprintf(why, 256, "cannot open %s: %s; give the file with --data", path, strerror(errno));
		return -1;
	}
	while (!rc && fgets(line, sizeof(line), f)) {
		if (parse(line, &im)) {
			snprintf(why, 256, "%s:%d: want 64 pixels from 0 to 16 and a label from 0 to 9", path, n + 1);
			rc = -1;
		} else if (n++ % 5 == 4 ? add(&ret->held_out, &ret->n_held_out, &im)
					: add(&ret->train, &ret->n_train, &im)) {
			snprintf(why, 256, "%s: no memory", path);
			rc = -1;
		}
	}
	if (!rc && (ferror(f) || !ret->n_held_out)) {
		snprintf(why, 256, "%s: %s", path, ferror(f) ? "cannot read" : "fewer than five images");
		rc = -1;
	}
	fclose(f);
	if (rc)
		digits_free(ret);
	return rc;
}

void digits_free(struct digits *d)
{
	free(d->train);
	free(d->held_out);
	memset(d, 0, sizeof(*d));
}
