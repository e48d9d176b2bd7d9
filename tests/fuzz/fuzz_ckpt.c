/* fuzz_ckpt.c -- any bytes as a checkpoint's manifest.json: no crash, and what is accepted can be written and read
 * again. */
#include "core/ckpt_manifest.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	/* Odd and even lengths: with a generation, and without. */
	struct ls_ckpt_id id = { size % 2 ? 3 : 0, 7 };
	struct ls_ckpt c = { 0 }, again = { 0 };
	struct ls_str text = { 0 };
	struct ls_err err = LS_ERR_INIT;

	if (!ls_ckpt_manifest_parse((const char *)bytes, size, id, &c, &err)) {
		if (ls_ckpt_manifest_write(&c, &text, &err) ||
			ls_ckpt_manifest_parse(text.s, text.len, id, &again, &err) || again.n_shards != c.n_shards ||
			again.n_sharded != c.n_sharded || again.seed != c.seed || again.epoch != c.epoch || strcmp(again.job, c.job))
			abort();
	}
	ls_str_release(&text);
	ls_ckpt_release(&again);
	ls_ckpt_release(&c);
	return 0;
}
