/* data.c -- see data.h. */
#include "data.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HOLD_OUT 20
#define BIBLE "bible -l79 gen1:1-rev22:21 </dev/null 2>/dev/null" /* Debian's package bible-kjv; 4.3 MB in 0.1 s */

static int read_all(FILE *f, struct gpt_text *t)
{
	size_t room = 1 << 20, got;
	uint8_t *more;

	t->bytes = NULL;
	t->n = 0;
	do {
		more = realloc(t->bytes, room);
		if (!more)
			return -1;
		t->bytes = more;
		got = fread(t->bytes + t->n, 1, room - t->n, f);
		t->n += got;
		room *= 2;
	} while (got);
	return ferror(f) ? -1 : 0;
}

static int read_file(const char *path, struct gpt_text *t, char *why)
{
	FILE *f = fopen(path, "r");
	int failed;

	if (!f) {
		snprintf(why, 512, "cannot open %s: %s", path, strerror(errno));
		return -1;
	}
	failed = read_all(f, t);
	if (failed)
		snprintf(why, 512, "cannot read %s: %s", path, strerror(errno));
	fclose(f);
	return failed;
}

static int read_bible(struct gpt_text *t, char *why)
{
	FILE *f = popen(BIBLE, "r");
	int failed = f ? read_all(f, t) : -1;

	if (f && pclose(f) != 0)
		failed = -1;
	if (failed || !t->n) {
		snprintf(why, 512, "no text to learn: install the package bible-kjv (apt-get install bible-kjv), or give --data FILE");
		return -1;
	}
	return 0;
}

int gpt_text_load(const char *path, int context, struct gpt_text *ret, char *why)
{
	struct gpt_text t = { .context = context };
	int64_t windows;

	if (path ? read_file(path, &t, why) : read_bible(&t, why)) {
		free(t.bytes);
		return -1;
	}
	windows = t.n ? (int64_t)(t.n - 1) / context : 0; /* the last byte of a window has a successor */
	t.held_out = windows / HOLD_OUT;
	t.train = windows - t.held_out;
	if (!t.train) {
		snprintf(why, 512, "%s has %zu bytes: fewer than one window of %d; try a smaller --context", path ? path : "the text", t.n,
			context);
		free(t.bytes);
		return -1;
	}
	*ret = t;
	return 0;
}

void gpt_text_free(struct gpt_text *t)
{
	free(t->bytes);
	t->bytes = NULL;
}

uint64_t gpt_text_hash(const struct gpt_text *t)
{
	uint64_t h = 0xcbf29ce484222325u; /* FNV-1a */
	size_t i;

	for (i = 0; i < t->n; i++)
		h = (h ^ t->bytes[i]) * 0x100000001b3u;
	return h;
}

void gpt_text_window(const struct gpt_text *t, bool held_out, int64_t i, int32_t *ret_tokens, int32_t *ret_targets)
{
	int64_t window = held_out ? i * HOLD_OUT + HOLD_OUT - 1 : i + i / (HOLD_OUT - 1);
	const uint8_t *b = t->bytes + window * t->context;
	int k;

	for (k = 0; k < t->context; k++) {
		ret_tokens[k] = b[k];
		ret_targets[k] = b[k + 1];
	}
}
