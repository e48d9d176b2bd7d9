/* expect.c -- see expect.h. */
#include "operator/expect.h"

#include <stdlib.h>
#include <string.h>

static void forget(struct ls_expect *e, struct ls_expect_pod *p)
{
	ls_tpod_release(&p->pod);
	*p = e->v[--e->n];
}

void ls_expect_release(struct ls_expect *e)
{
	while (e->n > 0)
		forget(e, &e->v[e->n - 1]);
	free(e->v);
	*e = (struct ls_expect){ 0 };
}

struct ls_expect_pod *ls_expect_find(struct ls_expect *e, const char *name)
{
	for (int i = 0; i < e->n; i++)
		if (!strcmp(e->v[i].pod.name, name))
			return &e->v[i];
	return NULL;
}

/* A new entry that takes `pod` over. */
static struct ls_expect_pod *append(struct ls_expect *e, struct ls_tpod *pod, struct ls_err *err)
{
	if (e->n == e->cap) {
		int cap = e->cap ? 2 * e->cap : 4;
		struct ls_expect_pod *v = realloc(e->v, (size_t)cap * sizeof(*v));

		if (!v) {
			ls_tpod_release(pod);
			ls_fail_oom(err);
			return NULL;
		}
		e->v = v;
		e->cap = cap;
	}
	e->v[e->n] = (struct ls_expect_pod){ .pod = *pod };
	*pod = (struct ls_tpod){ 0 };
	return &e->v[e->n++];
}

/* A Pod of the same name and another uid is another Pod: what was expected of the old one is over. */
ls_status ls_expect_shown(struct ls_expect *e, struct ls_tpod *pod, unsigned list, struct ls_err *err)
{
	struct ls_expect_pod *p = ls_expect_find(e, pod->name);

	if (!p) {
		p = append(e, pod, err);
		if (!p)
			return LS_AGAIN;
	} else {
		if (p->seen && strcmp(p->pod.uid, pod->uid) != 0) {
			p->deleting_ms = 0;
			p->stranger_told = false;
		}
		if (strcmp(p->pod.node, pod->node) != 0)
			p->node_lost = 0;
		ls_tpod_release(&p->pod);
		p->pod = *pod;
		*pod = (struct ls_tpod){ 0 };
	}
	p->seen = true;
	p->list = list;
	if (p->pod.deleted)
		p->deleting_ms = 0;
	else if (p->deleting_ms)
		p->pod.deleted = time(NULL);
	return LS_OK;
}

void ls_expect_gone(struct ls_expect *e, const char *name, const char *uid)
{
	struct ls_expect_pod *p = ls_expect_find(e, name);

	if (p && (!*uid || !*p->pod.uid || !strcmp(p->pod.uid, uid)))
		forget(e, p);
}

bool ls_expect_listed(struct ls_expect *e, unsigned list)
{
	int before = e->n;

	for (int i = e->n - 1; i >= 0; i--)
		if (e->v[i].seen && e->v[i].list != list)
			forget(e, &e->v[i]);
	return e->n < before;
}

ls_status ls_expect_creating(struct ls_expect *e, struct ls_tpod *pod, int64_t now_ms, struct ls_err *err)
{
	struct ls_expect_pod *p = ls_expect_find(e, pod->name);

	if (p) {
		ls_tpod_release(pod);
		return LS_OK;
	}
	p = append(e, pod, err);
	if (!p)
		return LS_AGAIN;
	p->until_ms = now_ms + LS_EXPECT_MS;
	return LS_OK;
}

void ls_expect_not_created(struct ls_expect *e, const char *name)
{
	struct ls_expect_pod *p = ls_expect_find(e, name);

	if (p && !p->seen)
		forget(e, p);
}

void ls_expect_created(struct ls_expect *e, const char *name, const char *uid)
{
	struct ls_expect_pod *p = ls_expect_find(e, name);
	char *copy;

	if (!p || p->seen || !(copy = strdup(uid)))
		return; /* without its uid a delete is not tied to it, which is no harm: its name is used once */
	free(p->pod.uid);
	p->pod.uid = copy;
}

void ls_expect_deleting(struct ls_expect *e, const char *name, int64_t now_ms)
{
	struct ls_expect_pod *p = ls_expect_find(e, name);

	if (!p || p->pod.deleted)
		return;
	p->deleting_ms = now_ms + LS_EXPECT_MS;
	p->pod.deleted = time(NULL);
}

static void undelete(struct ls_expect_pod *p)
{
	p->deleting_ms = 0;
	p->pod.deleted = 0;
}

void ls_expect_not_deleted(struct ls_expect *e, const char *name)
{
	struct ls_expect_pod *p = ls_expect_find(e, name);

	if (p && p->deleting_ms)
		undelete(p);
}

bool ls_expect_tick(struct ls_expect *e, int64_t now_ms)
{
	bool any = false;

	for (int i = e->n - 1; i >= 0; i--) {
		struct ls_expect_pod *p = &e->v[i];

		if (p->deleting_ms && p->deleting_ms <= now_ms) {
			undelete(p);
			any = true;
		}
		if (!p->seen && p->until_ms <= now_ms) {
			forget(e, p);
			any = true;
		}
	}
	return any;
}

static bool number(const char *s)
{
	return *s && s[strspn(s, "0123456789")] == '\0';
}

bool ls_version_older(const char *a, const char *b)
{
	size_t na = strlen(a), nb = strlen(b);

	if (!number(a) || !number(b))
		return false;
	return na != nb ? na < nb : strcmp(a, b) < 0;
}
