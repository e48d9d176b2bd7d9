/* words.c -- a table of texts with references: a cluster's labels, taints and names of resources are few texts on many nodes. */
#include "operator/cluster_impl.h"

#include <stdlib.h>
#include <string.h>

/* FNV-1a from a start that nobody knows: names are chosen by strangers. */
uint64_t ls_words_hash(const struct ls_words *w, const char *text)
{
	uint64_t h = w->seed;

	for (; *text; text++)
		h = (h ^ (unsigned char)*text) * 0x100000001b3u;
	return h ^ h >> 32;
}

const struct ls_word *ls_words_find(const struct ls_words *w, const char *text)
{
	uint64_t hash;
	struct ls_word *it;

	if (!w->cap)
		return NULL;
	hash = ls_words_hash(w, text);
	for (it = w->v[hash & (w->cap - 1)]; it; it = it->next)
		if (it->hash == hash && strcmp(it->text, text) == 0)
			return it;
	return NULL;
}

static bool grow(struct ls_words *w)
{
	size_t cap = w->cap ? w->cap * 2 : 256, i;
	struct ls_word **v = calloc(cap, sizeof(*v)), *it;

	if (!v)
		return false;
	for (i = 0; i < w->cap; i++)
		while ((it = w->v[i])) {
			w->v[i] = it->next;
			it->next = v[it->hash & (cap - 1)];
			v[it->hash & (cap - 1)] = it;
		}
	free(w->v);
	w->v = v;
	w->cap = cap;
	return true;
}

struct ls_word *ls_words_get(struct ls_words *w, const char *text)
{
	struct ls_word *it;
	size_t len = strlen(text) + 1;

	it = (struct ls_word *)ls_words_find(w, text);
	if (it) {
		it->refs++;
		return it;
	}
	if (w->n >= w->cap && !grow(w))
		return NULL;
	it = malloc(sizeof(*it) + len);
	if (!it)
		return NULL;
	memcpy(it->text, text, len);
	it->hash = ls_words_hash(w, text);
	it->refs = 1;
	it->next = w->v[it->hash & (w->cap - 1)];
	w->v[it->hash & (w->cap - 1)] = it;
	w->n++;
	return it;
}

void ls_words_put(struct ls_words *w, struct ls_word *word)
{
	struct ls_word **at;

	if (!word || --word->refs)
		return;
	for (at = &w->v[word->hash & (w->cap - 1)]; *at != word; at = &(*at)->next)
		;
	*at = word->next;
	free(word);
	w->n--;
}
