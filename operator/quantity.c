/* quantity.c -- Kubernetes' quantities ("500m", "1.5Gi", "12e6"), and what a Pod asks for in all. */
#include "operator/cluster_impl.h"

#include <ctype.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Digits beyond these do not count, but for rounding. 10^17 * 2^60 * 1000 is within 127 bits. */
#define MANTISSA_MAX ((__int128)100000000000000000)

struct decimal {
	__int128 m;
	int exp10;    /* the value is m * 10^exp10 */
	bool more;    /* and some digits that were dropped */
};

/* Digits with at most one point; NULL: none. */
static const char *decimal_read(const char *s, struct decimal *d)
{
	bool point = false, any = false;

	for (; isdigit((unsigned char)*s) || (*s == '.' && !point); s++) {
		if (*s == '.') {
			point = true;
			continue;
		}
		any = true;
		if (d->m < MANTISSA_MAX / 10) {
			d->m = d->m * 10 + (*s - '0');
			d->exp10 -= point;
		} else {
			d->more |= *s != '0';
			d->exp10 += !point;
		}
	}
	return any ? s : NULL;
}

static bool suffix_read(const char *s, struct decimal *d)
{
	static const char binary[] = "KMGTPE", decimal[] = "num kMGTPE";
	const char *p;
	char *end;
	long e;

	if (!*s)
		return true;
	if (s[1] == 'i' && !s[2] && (p = strchr(binary, s[0]))) {
		d->m <<= 10 * (p - binary + 1);
		return true;
	}
	if (!s[1] && *s != ' ' && (p = strchr(decimal, *s))) {
		d->exp10 += 3 * (int)(p - decimal - 3);
		return true;
	}
	if ((*s != 'e' && *s != 'E') || !(isdigit((unsigned char)s[1]) || ((s[1] == '-' || s[1] == '+') && isdigit((unsigned char)s[2]))))
		return false;
	e = strtol(s + 1, &end, 10);
	d->exp10 += (int)(e > 1000 ? 1000 : e < -1000 ? -1000 : e);
	return !*end;
}

bool ls_quantity_milli(const char *text, int64_t *ret)
{
	struct decimal d = { 0 };
	bool negative = *text == '-';

	if (strlen(text) > 1000)
		return false;
	text = decimal_read(text + (*text == '-' || *text == '+'), &d);
	if (!text || !suffix_read(text, &d))
		return false;
	d.m *= 1000;
	for (; d.exp10 > 0 && d.m && d.m <= INT64_MAX; d.exp10--)
		d.m *= 10;
	for (; d.exp10 < 0 && d.m; d.exp10++) {
		d.more |= d.m % 10 != 0;
		d.m /= 10;
	}
	d.m += d.more;
	if (d.m > INT64_MAX)
		d.m = INT64_MAX;
	*ret = negative ? -(int64_t)d.m : (int64_t)d.m;
	return true;
}

int64_t ls_add_clamped(int64_t a, int64_t b)
{
	return a > INT64_MAX - b ? INT64_MAX : a + b;
}

bool ls_quantity_of(const cJSON *item, bool milli, int64_t *ret, bool *ret_bad)
{
	char number[32];
	const char *text = cJSON_GetStringValue(item);
	int64_t v;

	if (!item || cJSON_IsNull(item))
		return false;
	if (cJSON_IsNumber(item)) { /* a manifest may write 2 for "2" */
		snprintf(number, sizeof(number), "%.15g", item->valuedouble);
		text = number;
	}
	if (!text || !ls_quantity_milli(text, &v) || v < 0) {
		*ret_bad = true;
		return false;
	}
	*ret = milli ? v : v / 1000 + (v % 1000 != 0);
	return true;
}

/* --- Pods ------------------------------------------------------------------------------------------------------------------------------------ */

static const cJSON *get(const cJSON *o, const char *name)
{
	return cJSON_GetObjectItemCaseSensitive(o, name);
}

/* The place for a resource in `r`; NULL: there are too many. */
static int64_t *slot(struct ls_ask_resources *r, const char *name)
{
	int i;

	if (strcmp(name, "cpu") == 0)
		return &r->cpu_milli;
	if (strcmp(name, "memory") == 0)
		return &r->memory;
	if (strcmp(name, LS_GPU) == 0)
		return &r->gpus;
	for (i = 0; i < r->n_extra; i++)
		if (strcmp(r->extra[i].name, name) == 0)
			return &r->extra[i].amount;
	if (r->n_extra == LS_EXTRAS)
		return NULL;
	r->extra[r->n_extra] = (struct ls_ask_extra){ .name = name };
	return &r->extra[r->n_extra++].amount;
}

/* Each entry of `from`; those that `but` has, too, are left out. */
static ls_status each(const cJSON *from, const cJSON *but, struct ls_ask_resources *r, const char *where, struct ls_err *err)
{
	const cJSON *it;

	cJSON_ArrayForEach(it, from) {
		int64_t v, *to;
		bool bad = false;

		if (!it->string || get(but, it->string))
			continue;
		if (!ls_quantity_of(it, strcmp(it->string, "cpu") == 0, &v, &bad)) {
			if (bad)
				return ls_fail(err, LS_USAGE, 0, "%s: resources: %.80s: not a quantity of 0 or more, such as 500m or 2Gi", where,
					it->string);
			continue;
		}
		if (!v)
			continue;
		to = slot(r, it->string);
		if (!to)
			return ls_fail(err, LS_USAGE, 0, "%s: resources: asks for more than %d resources beside CPU, memory and GPUs", where,
				LS_EXTRAS);
		*to = v;
	}
	return LS_OK;
}

/* A limit without a request is a request. */
static ls_status container(const cJSON *c, struct ls_ask_resources *ret, struct ls_err *err)
{
	const cJSON *res = get(c, "resources"), *requests = get(res, "requests");
	const char *name = cJSON_GetStringValue(get(c, "name"));
	char where[96];
	ls_status st;

	snprintf(where, sizeof(where), "container %.63s", name ? name : "without a name");
	st = each(requests, NULL, ret, where, err);
	return st ? st : each(get(res, "limits"), requests, ret, where, err);
}

enum how { SUM, MOST };

/* `to` becomes the sum of both, or the larger, resource by resource. */
static ls_status join(struct ls_ask_resources *to, const struct ls_ask_resources *from, enum how how, struct ls_err *err)
{
	const struct ls_ask_extra main[] = { { "cpu", from->cpu_milli }, { "memory", from->memory }, { LS_GPU, from->gpus } };
	int i;

	for (i = 0; i < 3 + from->n_extra; i++) {
		const struct ls_ask_extra *e = i < 3 ? &main[i] : &from->extra[i - 3];
		int64_t *v = slot(to, e->name);

		if (!v)
			return ls_fail(err, LS_USAGE, 0, "the Pod asks for more than %d resources beside CPU, memory and GPUs", LS_EXTRAS);
		*v = how == SUM ? ls_add_clamped(*v, e->amount) : e->amount > *v ? e->amount : *v;
	}
	return LS_OK;
}

/* The largest moment of the start: each init container with the sidecars before it. `sidecars` are those that stay. */
static ls_status init_containers(const cJSON *spec, struct ls_ask_resources *most, struct ls_ask_resources *sidecars, struct ls_err *err)
{
	const cJSON *c;
	ls_status st = LS_OK;

	cJSON_ArrayForEach(c, get(spec, "initContainers")) {
		const char *policy = cJSON_GetStringValue(get(c, "restartPolicy"));
		struct ls_ask_resources one = { 0 };

		st = container(c, &one, err);
		if (!st && policy && strcmp(policy, "Always") == 0) {
			st = join(sidecars, &one, SUM, err);
		} else {
			st = st ? st : join(&one, sidecars, SUM, err);
			st = st ? st : join(most, &one, MOST, err);
		}
		if (st)
			break;
	}
	return st;
}

/* resources of the Pod itself: its requests replace the sum; its limits are requests of what no container asks for. */
static ls_status pod_level(const cJSON *spec, struct ls_ask_resources *r, struct ls_err *err)
{
	const cJSON *res = get(spec, "resources"), *requests = get(res, "requests");
	struct ls_ask_resources limits = { 0 }, given = { 0 };
	ls_status st = each(requests, NULL, &given, "the Pod", err);
	int i;

	if (!st)
		st = each(get(res, "limits"), requests, &limits, "the Pod", err);
	r->cpu_milli = given.cpu_milli ? given.cpu_milli : r->cpu_milli ? r->cpu_milli : limits.cpu_milli;
	r->memory = given.memory ? given.memory : r->memory ? r->memory : limits.memory;
	for (i = 0; i < given.n_extra && !st; i++) {
		int64_t *v = slot(r, given.extra[i].name);

		if (v)
			*v = given.extra[i].amount;
	}
	return st;
}

ls_status ls_pod_resources(const cJSON *pod_spec, struct ls_ask_resources *ret, struct ls_err *err)
{
	struct ls_ask_resources sum = { 0 }, start = { 0 }, sidecars = { 0 }, overhead = { 0 };
	const cJSON *c;
	ls_status st = LS_OK;

	cJSON_ArrayForEach(c, get(pod_spec, "containers")) {
		struct ls_ask_resources one = { 0 };

		st = container(c, &one, err);
		if (!st)
			st = join(&sum, &one, SUM, err);
		if (st)
			return st;
	}
	st = init_containers(pod_spec, &start, &sidecars, err);
	if (!st)
		st = join(&sum, &sidecars, SUM, err);
	if (!st)
		st = join(&sum, &start, MOST, err);
	if (!st)
		st = pod_level(pod_spec, &sum, err);
	if (!st)
		st = each(get(pod_spec, "overhead"), NULL, &overhead, "overhead", err);
	if (!st)
		st = join(&sum, &overhead, SUM, err);
	if (!st)
		*ret = sum;
	return st;
}
