/* report_axis.c -- scales and their ticks.
 *
 * Ticks are 1, 2 or 5 times a power of ten, and every label of an axis has the same number of decimals, so that the eye
 * compares places and not lengths. */
#include "launcher/report_parts.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* The round number nearest above `rough`. */
static double round_step(double rough)
{
	double power = pow(10, floor(log10(rough))), m = rough / power;

	return power * (m <= 1.001 ? 1 : m <= 2.001 ? 2 : m <= 5.001 ? 5 : 10);
}

/* decimals < 0: as many digits as the value has; whole numbers get their thousands apart. */
static void tick_add(struct ls_axis *axis, double v, int decimals)
{
	char text[32];

	if (axis->n == LS_TICKS_MAX)
		return;
	if (decimals < 0)
		ls_text_value(text, v);
	else if (decimals == 0)
		ls_text_count(text, v);
	else
		snprintf(text, sizeof(text), "%.*f", decimals, v);
	axis->tick[axis->n] = v;
	snprintf(axis->label[axis->n++], sizeof(axis->label[0]), "%.15s", text);
}

void ls_axis_linear(struct ls_axis *ret, double lo, double hi, int want, enum ls_ticks kind)
{
	double step, v, size;
	int decimals, i;

	memset(ret, 0, sizeof(*ret));
	if (!isfinite(lo) || !isfinite(hi))
		lo = 0, hi = 1;
	if (!(hi - lo > 1e-12 * fmax(fabs(lo), fabs(hi)))) { /* one value: give it room on both sides */
		size = lo ? fabs(lo) / 2 : 1;
		hi = lo + size;
		lo = lo - size;
	}
	step = round_step((hi - lo) / want);
	if (kind == LS_TICKS_WHOLE && step < 1)
		step = 1;
	ret->lo = kind == LS_TICKS_SNAP ? floor(lo / step + 1e-9) * step : lo;
	ret->hi = kind == LS_TICKS_SNAP ? ceil(hi / step - 1e-9) * step : hi;
	size = fmax(fabs(ret->lo), fabs(ret->hi));
	decimals = size >= 1e7 || step < 1e-5 ? -1 : step >= 1 ? 0 : (int)ceil(-log10(step) - 1e-9);
	for (i = 0; i < LS_TICKS_MAX; i++) {
		v = (ceil(ret->lo / step - 1e-9) + i) * step;
		if (v > ret->hi + 1e-9 * step)
			break;
		tick_add(ret, fabs(v) < 1e-9 * step ? 0 : v, decimals);
	}
}

/* Three decades and more show powers of ten, fewer also 2 and 5 (1 and 3 for two to three). */
void ls_axis_log(struct ls_axis *ret, double lo, double hi)
{
	static const double fine[] = { 1, 2, 5, 0 }, middle[] = { 1, 3, 0 }, coarse[] = { 1, 0 };
	double decades = log10(hi / lo), pad = pow(10, 0.04 * decades);
	const double *m, *digits = decades < 2 ? fine : decades < 3 ? middle : coarse;
	int skip = (int)ceil(decades / 8), e;

	memset(ret, 0, sizeof(*ret));
	ret->log = true;
	ret->lo = lo / pad;
	ret->hi = hi * pad;
	for (e = (int)floor(log10(ret->lo)); e <= (int)ceil(log10(ret->hi)); e++)
		for (m = digits; *m; m++) {
			double v = *m * pow(10, e);

			if (v >= ret->lo && v <= ret->hi && e % skip == 0)
				tick_add(ret, v, -1);
		}
}

double ls_axis_at(const struct ls_axis *axis, double v)
{
	double at;

	if (axis->log)
		at = v > axis->lo ? log(v / axis->lo) / log(axis->hi / axis->lo) : 0;
	else
		at = (v - axis->lo) / (axis->hi - axis->lo);
	return at > 0 ? at < 1 ? at : 1 : 0;
}
