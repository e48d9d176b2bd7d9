/* data.h -- the handwritten digits: one image per line, 64 pixels from 0 to 16 and the label, separated by commas. */
#ifndef DIGITS_DATA_H
#define DIGITS_DATA_H

#include "model.h"

struct digits {
	struct image *train, *held_out; /* every fifth image of the file is held out */
	int n_train, n_held_out;
};

/* 0, or -1 with a sentence in `why`. */
int digits_load(const char *path, struct digits *ret, char why[256]);
void digits_free(struct digits *d);

#endif
