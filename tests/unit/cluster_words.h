/* cluster_words.h -- small clusters and templates in a few words, for tests and benchmarks.
 *
 *   "a1-4 rack=a gpus=8; b1 rack=b notready; +p@a1 gpus=2"
 *
 * An item is a node, several (a1-4: a1 … a4), or a Pod on a node (+NAME@NODE). Words of a node: block=, rack=, gpus=, cpu=, mem=, pods=, notready,
 * unknown, cordoned, taint=KEY[=VALUE]:EFFECT, label=KEY=VALUE, has=RESOURCE=N. Of a Pod or template: gpus=, cpu=, mem=, ask=RESOURCE=N, phase=,
 * pin=NODE, sel=KEY=VALUE, tol=KEY[=VALUE][:EFFECT]. Or {JSON} with ' for ", which is a Pod's spec. */
#ifndef LS_CLUSTER_WORDS_H
#define LS_CLUSTER_WORDS_H

#include "operator/cluster.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static cJSON *words_object(cJSON *o, const char *name)
{
	cJSON *it = cJSON_GetObjectItemCaseSensitive(o, name);

	return it ? it : cJSON_AddObjectToObject(o, name);
}

static cJSON *words_array(cJSON *o, const char *name)
{
	cJSON *it = cJSON_GetObjectItemCaseSensitive(o, name);

	return it ? it : cJSON_AddArrayToObject(o, name);
}

static void words_set(cJSON *o, const char *name, const char *value)
{
	cJSON_DeleteItemFromObjectCaseSensitive(o, name);
	cJSON_AddStringToObject(o, name, value);
}

/* "K=V" at the last '='. */
static void words_pair(cJSON *o, char *text)
{
	char *eq = strrchr(text, '=');

	*eq = 0;
	words_set(o, text, eq + 1);
}

/* KEY[=VALUE][:EFFECT] */
static cJSON *words_taint(char *text)
{
	cJSON *t = cJSON_CreateObject();
	char *effect = strchr(text, ':'), *value;

	if (effect) {
		*effect++ = 0;
		cJSON_AddStringToObject(t, "effect", effect);
	}
	value = strchr(text, '=');
	if (value) {
		*value++ = 0;
		cJSON_AddStringToObject(t, "value", value);
	}
	cJSON_AddStringToObject(t, "key", text);
	return t;
}

static const char *words_resource(const char *word)
{
	if (strcmp(word, "cpu") == 0 || strcmp(word, "pods") == 0)
		return word;
	return strcmp(word, "gpus") == 0 ? "nvidia.com/gpu" : strcmp(word, "mem") == 0 ? "memory" : NULL;
}

static void words_node_word(cJSON *node, char *word)
{
	cJSON *labels = words_object(words_object(node, "metadata"), "labels"), *spec = words_object(node, "spec"), *status = words_object(node, "status");
	cJSON *has = words_object(status, "allocatable");
	char *value = strchr(word, '=');

	if (value)
		*value++ = 0;
	if (value && words_resource(word))
		words_set(has, words_resource(word), value);
	else if (strcmp(word, "rack") == 0)
		words_set(labels, "topology.kubernetes.io/rack", value);
	else if (strcmp(word, "block") == 0)
		words_set(labels, "topology.kubernetes.io/block", value);
	else if (strcmp(word, "label") == 0)
		words_pair(labels, value);
	else if (strcmp(word, "has") == 0)
		words_pair(has, value);
	else if (strcmp(word, "taint") == 0)
		cJSON_AddItemToArray(words_array(spec, "taints"), words_taint(value));
	else if (strcmp(word, "cordoned") == 0)
		cJSON_AddTrueToObject(spec, "unschedulable");
	else {
		cJSON *ready = cJSON_GetArrayItem(cJSON_GetObjectItem(status, "conditions"), 0);

		words_set(ready, "status", strcmp(word, "unknown") == 0 ? "Unknown" : "False");
	}
}

static cJSON *words_node(const char *name, const char *words)
{
	cJSON *node = cJSON_CreateObject(), *status = words_object(node, "status"), *has, *ready = cJSON_CreateObject();
	char *copy = strdup(words), *save, *word;

	words_set(words_object(node, "metadata"), "name", name);
	cJSON_AddStringToObject(ready, "type", "Ready");
	cJSON_AddStringToObject(ready, "status", "True");
	cJSON_AddItemToArray(words_array(status, "conditions"), ready);
	has = words_object(status, "allocatable");
	words_set(has, "cpu", "64");
	words_set(has, "memory", "256Gi");
	words_set(has, "pods", "110");
	for (word = strtok_r(copy, " ", &save); word; word = strtok_r(NULL, " ", &save))
		words_node_word(node, word);
	free(copy);
	return node;
}

static void words_pin(cJSON *spec, const char *node)
{
	char json[512];

	snprintf(json, sizeof(json), "{\"nodeAffinity\":{\"requiredDuringSchedulingIgnoredDuringExecution\":{\"nodeSelectorTerms\":[{\"matchFields\":[{\"key\":\"metadata.name\","
		"\"operator\":\"In\",\"values\":[\"%s\"]}]}]}}}", node);
	cJSON_AddItemToObject(spec, "affinity", cJSON_Parse(json));
}

static void words_pod_word(cJSON *pod, char *word)
{
	cJSON *spec = words_object(pod, "spec"), *c = cJSON_GetArrayItem(words_array(spec, "containers"), 0);
	cJSON *requests = words_object(words_object(c, "resources"), "requests");
	char *value = strchr(word, '=');

	*value++ = 0;
	if (words_resource(word))
		words_set(requests, words_resource(word), value);
	else if (strcmp(word, "ask") == 0)
		words_pair(requests, value);
	else if (strcmp(word, "phase") == 0)
		words_set(words_object(pod, "status"), "phase", value);
	else if (strcmp(word, "pin") == 0)
		words_pin(spec, value);
	else if (strcmp(word, "sel") == 0)
		words_pair(words_object(spec, "nodeSelector"), value);
	else {
		cJSON *t = words_taint(value);

		if (!cJSON_GetObjectItem(t, "value"))
			cJSON_AddStringToObject(t, "operator", "Exists");
		cJSON_AddItemToArray(words_array(spec, "tolerations"), t);
	}
}

/* A Pod; also a template. NULL: the JSON is none. */
static cJSON *words_pod(const char *name, const char *node, const char *words)
{
	cJSON *pod = cJSON_CreateObject(), *spec;
	char *copy = strdup(words), *save, *word, *p;

	words_set(words_object(pod, "metadata"), "name", name);
	words_set(words_object(pod, "metadata"), "namespace", "ns");
	if (*copy == '{') {
		for (p = copy; *p; p++)
			*p = *p == '\'' ? '"' : *p;
		cJSON_AddItemToObject(pod, "spec", cJSON_Parse(copy));
	} else
		cJSON_AddItemToArray(words_array(words_object(pod, "spec"), "containers"), cJSON_CreateObject());
	spec = cJSON_GetObjectItem(pod, "spec");
	if (*node)
		words_set(spec, "nodeName", node);
	for (word = *copy == '{' ? NULL : strtok_r(copy, " ", &save); word; word = strtok_r(NULL, " ", &save))
		words_pod_word(pod, word);
	free(copy);
	return pod;
}

static ls_status words_item(struct ls_cluster *c, char *item, struct ls_err *err)
{
	char *words, *at, *dash, name[128];
	cJSON *o;
	ls_status st = LS_OK;
	int i, from, to;

	item += strspn(item, " ");
	words = item + strcspn(item, " ");
	if (*words)
		*words++ = 0;
	if (*item == '+') {
		at = strchr(item, '@');
		*at++ = 0;
		o = words_pod(item + 1, at, words);
		st = ls_cluster_pod_set(c, o, err);
		cJSON_Delete(o);
		return st;
	}
	dash = strrchr(item, '-');
	for (at = dash ? dash : item + strlen(item); at > item && at[-1] >= '0' && at[-1] <= '9'; at--)
		;
	from = dash ? atoi(at) : 0;
	to = dash ? atoi(dash + 1) : 0;
	for (i = from; i <= to && !st; i++) {
		if (!dash)
			snprintf(name, sizeof(name), "%s", item);
		else
			snprintf(name, sizeof(name), "%.*s%d", (int)(at - item), item, i);
		o = words_node(name, words);
		st = ls_cluster_node_set(c, o, err);
		cJSON_Delete(o);
	}
	return st;
}

/* `backwards`: the last item first. */
static ls_status words_cluster(struct ls_cluster *c, const char *text, bool backwards, struct ls_err *err)
{
	char *copy = strdup(text), *items[64], *save, *it;
	int n = 0, i;
	ls_status st = LS_OK;

	for (it = strtok_r(copy, ";", &save); it; it = strtok_r(NULL, ";", &save))
		items[n++] = it;
	for (i = 0; i < n && !st; i++)
		st = words_item(c, items[backwards ? n - 1 - i : i], err);
	free(copy);
	return st;
}

#endif
