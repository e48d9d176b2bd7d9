/* model.c -- see model.h. Inner loops run over filters or classes, which lie side by side, so that the compiler can
 * use vectors. */
#include "model.h"

#include <math.h>
#include <string.h>

static uint64_t next_random(uint64_t *state) /* splitmix64 */
{
	uint64_t z = *state += 0x9e3779b97f4a7c15u;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

/* He's initialisation with a uniform distribution: variance 2 / inputs. */
static void fill(float *w, int inputs, int outputs, uint64_t *state)
{
	float limit = sqrtf(6.0f / (float)inputs);
	int i;

	for (i = 0; i < inputs * outputs; i++)
		w[i] = limit * (2.0f * (float)(next_random(state) >> 40) / (float)(1 << 24) - 1.0f);
}

void model_init(struct model *m, uint64_t seed)
{
	memset(m, 0, sizeof(*m));
	fill(m->value.conv.weight[0][0], 9, FILTERS, &seed);
	fill(m->value.dense.weight[0], FEATURES, CLASSES, &seed);
}

/* All filters at one place of the image. */
static void convolve(const struct filters *f, const struct image *im, int y, int x, float *ret)
{
	int dy, dx, c;

	memcpy(ret, f->bias, sizeof(f->bias));
	for (dy = 0; dy < 3; dy++)
		for (dx = 0; dx < 3; dx++)
			for (c = 0; c < FILTERS; c++)
				ret[c] += im->pixel[y + dy][x + dx] * f->weight[dy][dx][c];
}

/* The features of one pooled place: the largest response of each filter, cut at zero. */
static void pool(const struct filters *f, const struct image *im, int y, int x, float *feature, unsigned char *winner)
{
	float response[FILTERS];
	int k, c;

	for (k = 0; k < 4; k++) {
		convolve(f, im, 2 * y + k / 2, 2 * x + k % 2, response);
		for (c = 0; c < FILTERS; c++) {
			if (k == 0 || response[c] > feature[c]) {
				feature[c] = response[c];
				winner[c] = (unsigned char)k;
			}
		}
	}
	for (c = 0; c < FILTERS; c++)
		feature[c] = feature[c] > 0 ? feature[c] : 0;
}

static void scores(const struct params *p, const struct image *im, struct trace *t, float *score)
{
	int i, j;

	for (i = 0; i < POOLED * POOLED; i++)
		pool(&p->conv, im, i / POOLED, i % POOLED, t->feature + i * FILTERS, t->winner + i * FILTERS);
	memcpy(score, p->dense.bias, sizeof(p->dense.bias));
	for (i = 0; i < FEATURES; i++)
		for (j = 0; j < CLASSES; j++)
			score[j] += t->feature[i] * p->dense.weight[i][j];
}

/* Scores become probabilities; returns the cross-entropy with the label. */
static float softmax(float *score, int label)
{
	float top = score[0], sum = 0, loss;
	int j;

	for (j = 1; j < CLASSES; j++)
		top = score[j] > top ? score[j] : top;
	for (j = 0; j < CLASSES; j++)
		sum += expf(score[j] - top);
	loss = logf(sum) - (score[label] - top);
	for (j = 0; j < CLASSES; j++)
		score[j] = expf(score[j] - top) / sum;
	return loss;
}

float model_forward(const struct model *m, const struct image *im, struct trace *t)
{
	float loss;

	scores(&m->value, im, t, t->d_score);
	loss = softmax(t->d_score, im->label);
	t->d_score[im->label] -= 1; /* d(loss)/d(score) = probability - truth */
	return loss;
}

void model_backward_dense(struct model *m, struct trace *t, int n)
{
	struct dense *g = &m->grad.dense;
	int i, j, k;

	memset(g, 0, sizeof(*g));
	for (k = 0; k < n; k++, t++) {
		for (j = 0; j < CLASSES; j++) {
			t->d_score[j] /= (float)n;
			g->bias[j] += t->d_score[j];
		}
		for (i = 0; i < FEATURES; i++) {
			float d = 0;

			for (j = 0; j < CLASSES; j++) {
				g->weight[i][j] += t->feature[i] * t->d_score[j];
				d += m->value.dense.weight[i][j] * t->d_score[j];
			}
			t->d_feature[i] = t->feature[i] > 0 ? d : 0;
		}
	}
}

/* A feature's gradient goes to the place that won, and nowhere else. */
static void backward_feature(struct filters *g, const struct image *im, const struct trace *t, int i)
{
	int place = i / FILTERS, c = i % FILTERS, dy, dx;
	int y = place / POOLED * 2 + t->winner[i] / 2, x = place % POOLED * 2 + t->winner[i] % 2;

	for (dy = 0; dy < 3; dy++)
		for (dx = 0; dx < 3; dx++)
			g->weight[dy][dx][c] += im->pixel[y + dy][x + dx] * t->d_feature[i];
	g->bias[c] += t->d_feature[i];
}

void model_backward_conv(struct model *m, const struct image *const *im, const struct trace *t, int n)
{
	struct filters *g = &m->grad.conv;
	int i, k;

	memset(g, 0, sizeof(*g));
	for (k = 0; k < n; k++, t++)
		for (i = 0; i < FEATURES; i++)
			if (t->feature[i] > 0)
				backward_feature(g, im[k], t, i);
}

void model_step(struct model *m, float rate, float momentum)
{
	float *value = (float *)&m->value, *speed = (float *)&m->momentum;
	const float *grad = (const float *)&m->grad;
	size_t i;

	for (i = 0; i < sizeof(struct params) / sizeof(float); i++) {
		speed[i] = momentum * speed[i] + grad[i];
		value[i] -= rate * speed[i];
	}
}

int model_guess(const struct model *m, const struct image *im)
{
	float score[CLASSES];
	struct trace t;
	int j, best = 0;

	scores(&m->value, im, &t, score);
	for (j = 1; j < CLASSES; j++)
		best = score[j] > score[best] ? j : best;
	return best;
}
