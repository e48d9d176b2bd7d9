/* job_crd.c -- the table of fields as a CustomResourceDefinition, for `lockstep explain --crd` and deploy/crd.yaml.
 *
 * What one field can say for itself comes from its row; what it cannot are the rules below, in CEL, with messages in our words. The API server
 * estimates from the limits in the schema what a rule may cost, and refuses a CRD that may cost too much: strings that rules look at have a longest
 * length.
 *
 * Not here: what only a Pod's admission knows. Kubernetes' own fields are known by name, so that a misspelt one is found, and not looked into. */
#include "core/job_fields.h"

#include <stdio.h>
#include <string.h>

#define TEMPLATE "spec.workers.template"
#define CONTAINERS TEMPLATE ".spec.containers[]"
#define LIMITS CONTAINERS ".resources.limits"
#define LONGEST_URI 1024

#define SUSPENDED "(has(oldSelf.runPolicy) && has(oldSelf.runPolicy.suspend) && oldSelf.runPolicy.suspend)"
#define URI_OF(spec) "(has(" spec ".checkpoint) && has(" spec ".checkpoint.uri) ? " spec ".checkpoint.uri : '')"
#define STAYS "cannot be changed unless the job is suspended: set runPolicy.suspend to true first, by itself; a job that is over: delete it first"

static const struct rule {
	const char *path;    /* of the field that has it */
	const char *at;      /* below that, what the message is about; NULL: the field itself */
	const char *cel, *message;
} rules[] = {
	{ "", NULL, "self.metadata.name.size() <= 44 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
		"metadata.name must be at most 44 of a-z, 0-9 and '-', begin with a letter and not end with '-': Pods and a Service are named after it" },
	{ "spec", ".workers.replicas", "self.workers.replicas == oldSelf.workers.replicas || " SUSPENDED, STAYS },
	{ "spec", ".workers.template", "self.workers.template == oldSelf.workers.template || " SUSPENDED, STAYS },
	{ "spec", ".checkpoint", URI_OF("self") " == " URI_OF("oldSelf") " || " SUSPENDED, "uri " STAYS },
	{ "spec", ".managedBy",
		"has(self.managedBy) == has(oldSelf.managedBy) && (!has(self.managedBy) || self.managedBy == oldSelf.managedBy)",
		"cannot be changed: a job has one controller for life" },
	{ "spec", ".runPolicy",
		"!has(self.runPolicy) || !has(self.runPolicy.schedulingPolicy) || !has(self.runPolicy.schedulingPolicy.minAvailable) || "
		"self.runPolicy.schedulingPolicy.minAvailable <= self.workers.replicas",
		"schedulingPolicy.minAvailable is more than workers.replicas; lower it or raise replicas" },
	{ "spec.workers", ".minReplicas", "!has(self.minReplicas) || self.minReplicas <= self.replicas",
		"is more than replicas; lower it or raise replicas" },
	{ "spec.workers.ranksPerWorker", NULL, "type(self) == string ? self == 'auto' : (self >= 1 && self <= 4096)",
		"write auto, or a number from 1 to 4096 without quotes" },
	{ TEMPLATE ".spec.restartPolicy", NULL, "self == 'Never'",
		"must be Never, or not there: the job starts its ranks again, not the kubelet" },
	{ TEMPLATE ".spec.hostNetwork", NULL, "!self", "must be false: workers of several jobs may share a node, and listen on one port" },
	{ CONTAINERS, NULL, "self.size() > 0 && has(self[0].command) && self[0].command.size() > 0",
		"the first container needs a command: the runtime starts it, and an image's own entry point is not known; write command: [./prog, --option]" },
	{ LIMITS, NULL, "!('nvidia.com/gpu' in self) || string(self['nvidia.com/gpu']).matches('^([0-9]{1,3}|10[01][0-9]|102[0-4])$')",
		"nvidia.com/gpu must be a whole number from 0 to 1024" },
	{ "spec.checkpoint.uri", NULL, "self.matches('^(file:///|s3://[a-z0-9.-]{3,63}(/|$))')",
		"write file:///absolute/path or s3://bucket/prefix" },
	{ "spec.checkpoint.every", NULL, "has(self.steps) != has(self.seconds)", "write either steps or seconds" },
};

static const char head[] =
	"# The TrainingJob of Kubernetes. Made by `lockstep explain --crd` from core/job_fields.c: change it there.\n"
	"apiVersion: apiextensions.k8s.io/v1\n"
	"kind: CustomResourceDefinition\n"
	"metadata:\n"
	"  name: trainingjobs.lockstep.dev\n"
	"spec:\n"
	"  group: lockstep.dev\n"
	"  scope: Namespaced\n"
	"  names:\n"
	"    plural: trainingjobs\n"
	"    singular: trainingjob\n"
	"    kind: TrainingJob\n"
	"    listKind: TrainingJobList\n"
	"    shortNames: [tj]\n"
	"    categories: [all, lockstep]\n"
	"  versions:\n"
	"  - name: v1alpha1\n"
	"    served: true\n"
	"    storage: true\n"
	"    subresources: {status: {}}\n"
	"    additionalPrinterColumns:\n"
	"    - {name: State, type: string, jsonPath: .status.state}\n"
	"    - {name: Step, type: integer, jsonPath: .status.progress.step}\n"
	"    - {name: Loss, type: string, jsonPath: .status.progress.loss}\n"
	"    - {name: Workers, type: string, jsonPath: .status.workers}\n"
	"    - {name: Attempt, type: integer, jsonPath: .status.attempt}\n"
	"    - {name: Age, type: date, jsonPath: .metadata.creationTimestamp}\n"
	"    schema:\n"
	"      openAPIV3Schema:\n";

#define DEPTH 4 /* of the schema, in steps of two spaces */

static void line(struct ls_str *ret, int depth, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

static void line(struct ls_str *ret, int depth, const char *fmt, ...)
{
	va_list ap;

	ls_str_addf(ret, "%*s", 2 * depth, "");
	va_start(ap, fmt);
	ls_str_vaddf(ret, fmt, ap);
	va_end(ap);
	ls_str_add(ret, "\n");
}

/* Folded text: whatever is in it needs no quotes. `depth` is the key's; `dash` begins an entry of a list. */
static void folded(struct ls_str *ret, int depth, const char *dash, const char *key, const char *text)
{
	char indent[64] = "";

	line(ret, depth - (*dash ? 1 : 0), "%s%s: >-", dash, key);
	snprintf(indent, sizeof(indent), "%*s", 2 * depth + 2, "");
	ls_field_wrap(ret, text, indent);
}

static void add_rules(struct ls_str *ret, int depth, const char *path)
{
	bool any = false;

	for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
		if (strcmp(rules[i].path, path))
			continue;
		if (!any)
			line(ret, depth, "x-kubernetes-validations:");
		any = true;
		folded(ret, depth + 1, "- ", "rule", rules[i].cel);
		folded(ret, depth + 1, "", "message", rules[i].message);
		if (rules[i].at)
			line(ret, depth + 1, "fieldPath: %s", rules[i].at);
	}
}

static void add_description(struct ls_str *ret, int depth, const struct ls_field *f)
{
	const struct ls_field *gpus = strcmp(f->key, "limits") ? NULL : ls_field_find(LIMITS, "nvidia.com/gpu");
	struct ls_str text = { 0 };

	ls_str_add(&text, f->text);
	if (f->max && (f->type == LS_FIELD_INT || f->type == LS_FIELD_LONG || f->type == LS_FIELD_RANKS))
		ls_str_addf(&text, " From %lld to %lld.", f->min, f->max);
	if (f->otherwise)
		ls_str_addf(&text, " Default: %s.", f->otherwise);
	if (gpus)
		ls_str_addf(&text, " %s: %s", gpus->key, gpus->text);
	folded(ret, depth, "", "description", ls_str_text(&text));
	ret->oom |= text.oom;
	ls_str_release(&text);
}

/* --- Kubernetes' own fields --------------------------------------------------------------------------------------- */

static void add_quantities(struct ls_str *ret, int depth)
{
	line(ret, depth, "type: object");
	line(ret, depth, "maxProperties: 64");
	line(ret, depth, "additionalProperties:");
	line(ret, depth + 1, "x-kubernetes-int-or-string: true");
	line(ret, depth + 1, "anyOf: [{type: integer}, {type: string}]");
	line(ret, depth + 1, "maxLength: 64");
	line(ret, depth + 1, "pattern: '^[+-]?([0-9]+|[0-9]+[.][0-9]*|[.][0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]+)?$'");
}

/* Rules can look only at what has a type. */
static void add_kube_type(struct ls_str *ret, int depth, const char *path)
{
	if (!strcmp(path, CONTAINERS ".resources.requests"))
		add_quantities(ret, depth);
	else if (!strcmp(path, TEMPLATE ".spec.restartPolicy"))
		line(ret, depth, "type: string");
	else if (!strcmp(path, TEMPLATE ".spec.hostNetwork"))
		line(ret, depth, "type: boolean");
	else
		line(ret, depth, "x-kubernetes-preserve-unknown-fields: true");
}

/* "pod.spec.containers" for the template's: what kubectl explain knows more about. */
static void add_kube_description(struct ls_str *ret, int depth, const char *path)
{
	ls_str_addf(ret, "%*sdescription: As in kubectl explain pod", 2 * depth, "");
	for (path += strlen(TEMPLATE); *path; path++)
		if (*path != '[' && *path != ']')
			ls_str_addn(ret, path, 1);
	ls_str_add(ret, "\n");
}

static void add_kube(struct ls_str *ret, int depth, const char *parent)
{
	const struct ls_kube_fields *kube = ls_kube_find(parent);
	struct ls_str path = { 0 };

	for (int i = 0; kube && kube->names && kube->names[i]; i++) {
		ls_str_addf(&path, "%s.%s", parent, kube->names[i]);
		line(ret, depth, "%s:", kube->names[i]);
		add_kube_description(ret, depth + 1, ls_str_text(&path));
		add_kube_type(ret, depth + 1, ls_str_text(&path));
		add_rules(ret, depth + 1, ls_str_text(&path));
		ret->oom |= path.oom;
		ls_str_release(&path);
	}
}

/* --- ours --------------------------------------------------------------------------------------------------------- */

static void add_field(struct ls_str *ret, int depth, const struct ls_field *f);

static bool has_rows(const char *parent)
{
	for (const struct ls_field *f = ls_fields; f->key; f++)
		if (!strcmp(f->parent, parent))
			return true;
	return false;
}

static void add_required(struct ls_str *ret, int depth, const char *parent)
{
	bool any = false;

	for (const struct ls_field *f = ls_fields; f->key; f++) {
		if (strcmp(f->parent, parent) || !f->required)
			continue;
		if (!any)
			line(ret, depth, "required:");
		any = true;
		line(ret, depth, "- %s", f->key);
	}
}

static void add_map(struct ls_str *ret, int depth, const char *path)
{
	line(ret, depth, "type: object");
	add_required(ret, depth, path);
	line(ret, depth, "properties:");
	for (const struct ls_field *f = ls_fields; f->key; f++)
		if (!strcmp(f->parent, path))
			add_field(ret, depth + 1, f);
	add_kube(ret, depth + 1, path);
}

static void add_list(struct ls_str *ret, int depth, const struct ls_field *f, const char *path)
{
	line(ret, depth, "type: array");
	line(ret, depth, "maxItems: %lld", f->max);
	if (f->type == LS_FIELD_LIST && f->min)
		line(ret, depth, "minItems: %lld", f->min);
	line(ret, depth, "x-kubernetes-list-type: %s", f->list_key ? "map" : f->type == LS_FIELD_CODES ? "set" : "atomic");
	if (f->list_key)
		line(ret, depth, "x-kubernetes-list-map-keys: [%s]", f->list_key);
	line(ret, depth, "items:");
	if (f->type == LS_FIELD_LIST)
		add_map(ret, depth + 1, path);
	else if (f->type == LS_FIELD_CODES)
		line(ret, depth + 1, "{type: integer, minimum: %lld, maximum: %lld}", f->min, f->max);
	else
		line(ret, depth + 1, "{type: string}");
}

static void add_number(struct ls_str *ret, int depth, const struct ls_field *f)
{
	line(ret, depth, "type: integer");
	line(ret, depth, "format: %s", f->type == LS_FIELD_LONG ? "int64" : "int32");
	if (!f->max)
		return;
	line(ret, depth, "minimum: %lld", f->min);
	line(ret, depth, "maximum: %lld", f->max);
}

static void add_string(struct ls_str *ret, int depth, const struct ls_field *f)
{
	line(ret, depth, "type: string");
	switch (f->form) {
	case LS_FORM_LABEL:
		line(ret, depth, "maxLength: 63");
		line(ret, depth, "pattern: ^[a-z0-9]([-a-z0-9]*[a-z0-9])?$");
		break;
	case LS_FORM_URI:
		line(ret, depth, "maxLength: %d", LONGEST_URI);
		break;
	case LS_FORM_ENVNAME:
		line(ret, depth, "pattern: '^[!-<>-~]+$'");
		break;
	case LS_FORM_TIME:
		line(ret, depth, "format: date-time");
		break;
	case LS_FORM_FREE:
		break;
	}
}

static void add_enum(struct ls_str *ret, int depth, const struct ls_field *f)
{
	line(ret, depth, "type: string");
	line(ret, depth, "enum:");
	for (int i = 0; f->names[i]; i++)
		line(ret, depth, "- \"%s\"", f->names[i]);
}

static void add_type(struct ls_str *ret, int depth, const struct ls_field *f, const char *path)
{
	switch (f->type) {
	case LS_FIELD_MAP:
		add_map(ret, depth, path);
		break;
	case LS_FIELD_LIST:
	case LS_FIELD_STRINGS:
	case LS_FIELD_CODES:
		add_list(ret, depth, f, path);
		break;
	case LS_FIELD_ANY:
		line(ret, depth, "type: object");
		line(ret, depth, "x-kubernetes-preserve-unknown-fields: true");
		break;
	case LS_FIELD_LABELS:
		line(ret, depth, "type: object");
		line(ret, depth, "additionalProperties: {type: string}");
		break;
	case LS_FIELD_STRING:
		add_string(ret, depth, f);
		break;
	case LS_FIELD_INT:
	case LS_FIELD_LONG:
		add_number(ret, depth, f);
		break;
	case LS_FIELD_BOOL:
		line(ret, depth, "type: boolean");
		break;
	case LS_FIELD_ENUM:
		add_enum(ret, depth, f);
		break;
	case LS_FIELD_RANKS:
	case LS_FIELD_GPUS:
		line(ret, depth, "x-kubernetes-int-or-string: true");
		line(ret, depth, "anyOf: [{type: integer}, {type: string}]");
		line(ret, depth, "maxLength: 64");
		break;
	}
}

static void add_field(struct ls_str *ret, int depth, const struct ls_field *f)
{
	char path[LS_FIELD_PATH];

	ls_field_path(f, path);
	line(ret, depth++, "%s:", f->key);
	add_description(ret, depth, f);
	if (!strcmp(path, LIMITS))
		add_quantities(ret, depth);
	else if (f->type == LS_FIELD_ANY && has_rows(path))
		add_map(ret, depth, path);
	else
		add_type(ret, depth, f, path);
	if (f->otherwise && !f->said)
		line(ret, depth, "default: %s", f->otherwise);
	add_rules(ret, depth, path);
}

void ls_job_crd(struct ls_str *ret)
{
	const int depth = DEPTH;

	ls_str_add(ret, head);
	line(ret, depth, "description: A distributed training job; see docs/trainingjob.md of Lockstep.");
	line(ret, depth, "type: object");
	line(ret, depth, "required: [spec]");
	add_rules(ret, depth, "");
	line(ret, depth, "properties:");
	line(ret, depth + 1, "apiVersion: {type: string}");
	line(ret, depth + 1, "kind: {type: string}");
	line(ret, depth + 1, "metadata: {type: object}");
	add_field(ret, depth + 1, ls_field_find("", "spec"));
	add_field(ret, depth + 1, ls_field_find("", "status"));
}
