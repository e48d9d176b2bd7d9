/* model.h -- a small convolutional network for 8 x 8 images, and its training by stochastic gradient descent with
 * momentum.
 *
 *     image 8x8 -> 16 filters 3x3 -> largest of each 2x2 -> ReLU -> 4x4x16 features -> dense -> 10 scores -> softmax
 *
 * Plain data, in plain memory: parameters, gradients and momenta are three structs of the same shape.
 * The same seed gives the same weights on every rank and machine. */
#ifndef DIGITS_MODEL_H
#define DIGITS_MODEL_H

#include <stdint.h>

enum { SIDE = 8, FILTERS = 16, POOLED = SIDE / 2, FEATURES = POOLED * POOLED * FILTERS, CLASSES = 10 };

struct params {
	struct filters {
		float weight[3][3][FILTERS], bias[FILTERS];
	} conv;
	struct dense {
		float weight[FEATURES][CLASSES], bias[CLASSES];
	} dense;
};

struct image {
	float pixel[SIDE + 2][SIDE + 2]; /* 0 to 1, with a frame of zeros */
	int label;
};

struct model {
	struct params value, grad, momentum;
};

/* What the forward pass leaves for the backward pass of one image. */
struct trace {
	float feature[FEATURES], d_feature[FEATURES];
	unsigned char winner[FEATURES];  /* which of its 2x2 a feature is: 2 dy + dx */
	float d_score[CLASSES];
};

void model_init(struct model *m, uint64_t seed);
/* Returns the image's loss. */
float model_forward(const struct model *m, const struct image *im, struct trace *t);
/* The backward pass of a batch, last layer first: each call sets the gradients of one layer to their average over n
 * images. */
void model_backward_dense(struct model *m, struct trace *t, int n);
void model_backward_conv(struct model *m, const struct image *const *im, const struct trace *t, int n);
void model_step(struct model *m, float rate, float momentum);
int model_guess(const struct model *m, const struct image *im);

#endif
