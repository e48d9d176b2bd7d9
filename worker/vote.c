/* vote.c -- agreement: how a failure on one rank becomes the same error on all.
 *
 * Whoever fails locally does not return before it has voted: the others are, or will be, in the same all-gather.
 * Votes have one fixed size and their memory is allocated at the start, so that even a rank without memory can say
 * so. */
#include "worker/rank.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void fill(const struct lockstep *ls, struct ls_vote *v, ls_status st, const struct ls_err *err)
{
	v->status = st;
	v->sys = st ? err->sys : 0;
	v->rank = st ? err->rank : -1;
	snprintf(v->host, sizeof(v->host), "%s", ls->host);
	snprintf(v->text, sizeof(v->text), "%.*s", (int)sizeof(v->text) - 1, st ? err->text : "");
}

/* A sentence that names a rank itself (err->rank is set) stays as it is. */
static ls_status sentence(const struct lockstep *ls, const struct ls_vote *v, int rank, struct ls_err *err)
{
	struct ls_err e = { .status = (ls_status)v->status, .sys = v->sys, .rank = v->rank < 0 ? rank : v->rank };

	snprintf(e.host, sizeof(e.host), "%s", v->host);
	if (v->rank < 0 && ls->world > 1)
		snprintf(e.text, sizeof(e.text), "rank %d on %s: %s", rank, v->host, v->text);
	else
		snprintf(e.text, sizeof(e.text), "%s", v->text);
	*err = e;
	return e.status;
}

ls_status ls_vote(struct lockstep *ls, const struct ls_vote *mine, ls_status st, struct ls_err *err)
{
	struct ls_vote v;
	int r, worst = 0;

	memset(&v, 0, sizeof(v));
	if (mine)
		memcpy(&v, mine, sizeof(v));
	fill(ls, &v, st, err);
	st = ls_run_allgather(ls->comm, &v, ls->votes, sizeof(v), err);
	if (st)
		return st;
	for (r = 1; r < ls->world; r++)
		if (ls->votes[r].status > ls->votes[worst].status)
			worst = r;
	return ls->votes[worst].status ? sentence(ls, &ls->votes[worst], worst, err) : LS_OK;
}

ls_status ls_verdict(struct lockstep *ls, ls_status st, struct ls_err *err)
{
	struct ls_vote v;

	memset(&v, 0, sizeof(v));
	fill(ls, &v, st, err);
	st = ls_run_broadcast(ls->comm, &v, sizeof(v), 0, err);
	if (st)
		return st;
	return v.status ? sentence(ls, &v, 0, err) : LS_OK;
}

static uint64_t fnv1a(const char *s, size_t len)
{
	uint64_t h = 0xcbf29ce484222325u;

	for (; len > 0; s++, len--)
		h = (h ^ (unsigned char)*s) * 0x100000001b3u;
	return h;
}

/* The first entry that differs from rank 0's; both lists are lines. */
static ls_status difference(
	const struct lockstep *ls, const char *what, const char *mine, const char *zero, struct ls_err *err)
{
	size_t i, m, z;

	for (i = 0; *mine || *zero; i++, mine += m + !!mine[m], zero += z + !!zero[z]) {
		m = strcspn(mine, "\n");
		z = strcspn(zero, "\n");
		if (m == z && !strncmp(mine, zero, m))
			continue;
		err->rank = ls->rank;
		return ls_fail(err, LS_USAGE, 0,
			"rank %d registered %s %zu as %.*s, rank 0 as %.*s: every rank must register the same, in the "
			"same order",
			ls->rank, what, i, m ? (int)m : 10, m ? mine : "(no more)", z ? (int)z : 10,
			z ? zero : "(no more)");
	}
	return LS_OK;
}

/* The hashes differ: compare with rank 0's list in full. */
static ls_status compare(struct lockstep *ls, const char *what, const struct ls_str *mine, struct ls_err *err)
{
	size_t len = (size_t)ls->votes[0].extra;
	char *zero = malloc(len + 1);
	ls_status st = ls_vote(ls, NULL, zero ? LS_OK : ls_fail_oom(err), err);

	if (!st) {
		memcpy(zero, ls_str_text(mine), ls->rank == 0 ? len : 0);
		zero[len] = '\0';
		st = ls_run_broadcast(ls->comm, zero, len, 0, err);
	}
	if (!st)
		st = ls_vote(ls, NULL, difference(ls, what, ls_str_text(mine), zero, err), err);
	free(zero);
	return st;
}

ls_status ls_agree(struct lockstep *ls, const char *what, const struct ls_strv *list, ls_status st, struct ls_err *err)
{
	struct ls_str text = { 0 };
	struct ls_vote v;
	size_t i;
	int r;

	for (i = 0; i < list->n; i++)
		ls_str_addf(&text, "%s\n", list->v[i]);
	if (!st && (text.oom || list->oom))
		st = ls_fail_oom(err);
	memset(&v, 0, sizeof(v));
	v.bytes = fnv1a(ls_str_text(&text), text.len);
	v.extra = text.len;
	st = ls_vote(ls, &v, st, err);
	for (r = 1; !st && r < ls->world; r++) {
		if (ls->votes[r].bytes != ls->votes[0].bytes || ls->votes[r].extra != ls->votes[0].extra) {
			st = compare(ls, what, &text, err);
			break;
		}
	}
	ls_str_release(&text);
	return st;
}
