/* dump.h -- what a test needs to do the same training with another program: one safetensors file per rank, in memory until the end.
 *
 *     wte.weight …        the weights before the first step         grad.wte.weight …   the first step's gradients, as they were used
 *     tokens, targets     I32, [steps][batch][context]              loss                F32, [steps]: of this rank's windows, or averaged
 */
#ifndef GPT_DUMP_H
#define GPT_DUMP_H

#include "gpt.h"

struct gpt_dump;

/* NULL: no memory, or not this device. Weights are copied. */
struct gpt_dump *gpt_dump_start(const struct gpt_tensor *tensors, int n, const float *params, int64_t steps, int batch, int context);
/* grads: wanted in the first call. */
void gpt_dump_step(struct gpt_dump *d, const int32_t *tokens, const int32_t *targets, float loss, const float *grads);
/* Ends it; NULL is fine. 0, or -1 with a sentence. */
int gpt_dump_write(struct gpt_dump *d, const char *prefix, int rank, char *err);

#endif
