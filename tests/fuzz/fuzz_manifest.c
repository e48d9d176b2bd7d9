/* fuzz_manifest.c -- libFuzzer: any bytes end in a valid job or in an error that names the place; never in a crash or a
 * leak. The corpus to start from is tests/data/manifests/. */
#include "core/job.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct ls_err err = LS_ERR_INIT;
	struct ls_node *root = NULL;
	struct ls_job job;
	ls_status st;

	st = ls_node_parse("fuzz", (const char *)bytes, len, &root, &err);
	if (!st)
		st = ls_job_from_node("fuzz", root, &job, &err);
	if (!st) {
		if (!job.name || job.min_replicas > job.replicas || job.replicas < 1 || job.keep < 1)
			abort();
		ls_job_release(&job);
	} else if (st != LS_USAGE || strncmp(err.text, "fuzz", 4)) {
		abort();
	}
	ls_node_free(root);
	return 0;
}
