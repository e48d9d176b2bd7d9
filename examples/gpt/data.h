/* data.h -- the text: bytes are the tokens. It is cut into windows of `context` bytes; every 20th is held out. */
#ifndef GPT_DATA_H
#define GPT_DATA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct gpt_text {
	uint8_t *bytes;
	size_t n;
	int context;
	int64_t train, held_out; /* windows of each kind */
};

/* path = NULL: the King James Bible, as Debian's program `bible` prints it. 0, or -1 with a sentence in `why` (of 512 bytes). */
int gpt_text_load(const char *path, int context, struct gpt_text *ret, char *why);
void gpt_text_free(struct gpt_text *t);
uint64_t gpt_text_hash(const struct gpt_text *t);
/* Window i of its kind, and the byte after each of its bytes. */
void gpt_text_window(const struct gpt_text *t, bool held_out, int64_t i, int32_t *ret_tokens, int32_t *ret_targets);

#endif
