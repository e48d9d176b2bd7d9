/* job_explain.c -- the table of fields as text, for people: `lockstep explain` and docs/trainingjob.md. */
#include "core/job_fields.h"

#include <stdio.h>
#include <string.h>

#define WIDTH 96

static const char example[] =
	"apiVersion: lockstep.dev/v1alpha1\n"
	"kind: TrainingJob\n"
	"metadata: {name: digits}\n"
	"spec:\n"
	"  workers:\n"
	"    replicas: 4               # hosts or Pods\n"
	"    minReplicas: 2            # smaller than replicas: elastic\n"
	"    ranksPerWorker: auto      # one per GPU, else one per core\n"
	"    template:\n"
	"      spec:\n"
	"        containers:\n"
	"        - name: worker\n"
	"          command: [python3, train.py]\n"
	"          args: [--lr, \"0.1\"]\n"
	"          env:\n"
	"          - {name: OMP_NUM_THREADS, value: \"4\"}\n"
	"          resources: {limits: {nvidia.com/gpu: 8}}\n"
	"  placement:\n"
	"    bind: auto\n"
	"  checkpoint:\n"
	"    uri: file:///shared/checkpoints/digits\n"
	"    every: {steps: 200}       # or {seconds: 300}\n"
	"    keep: 3\n"
	"  runPolicy:\n"
	"    backoffLimit: 3\n"
	"    hangTimeoutSeconds: 600\n";

void ls_field_path(const struct ls_field *f, char ret[LS_FIELD_PATH])
{
	snprintf(ret, LS_FIELD_PATH, "%s%s%s%s", f->parent, *f->parent ? "." : "", f->key,
		f->type == LS_FIELD_LIST ? "[]" : "");
}

static void add_type(struct ls_str *ret, const struct ls_field *f)
{
	static const char *const names[] = {
		[LS_FIELD_MAP] = "map",
		[LS_FIELD_LIST] = "list of maps",
		[LS_FIELD_ANY] = "anything",
		[LS_FIELD_LABELS] = "map of text",
		[LS_FIELD_STRING] = "text",
		[LS_FIELD_STRINGS] = "list of text",
		[LS_FIELD_INT] = "integer",
		[LS_FIELD_LONG] = "integer",
		[LS_FIELD_BOOL] = "true or false",
		[LS_FIELD_RANKS] = "auto or integer",
		[LS_FIELD_CODES] = "list of integers",
		[LS_FIELD_GPUS] = "integer",
	};

	if (f->type != LS_FIELD_ENUM)
		ls_str_add(ret, names[f->type]);
	for (int i = 0; f->type == LS_FIELD_ENUM && f->names[i]; i++)
		ls_str_addf(ret, "%s%s", i ? ", " : "", f->names[i]);
	if (f->max && f->type != LS_FIELD_LIST && f->type != LS_FIELD_STRINGS)
		ls_str_addf(ret, ", %lld to %lld", f->min, f->max);
}

static const char *need(const struct ls_field *f)
{
	return f->required ? "required" : f->kube_only ? "only on Kubernetes" : "";
}

/* Break lines at spaces, before WIDTH where a word allows it. */
void ls_field_wrap(struct ls_str *ret, const char *text, const char *indent)
{
	size_t column = 0;

	while (*text) {
		size_t word = strcspn(text, " ");

		if (column && column + 1 + word > WIDTH) {
			ls_str_add(ret, "\n");
			column = 0;
		}
		ls_str_add(ret, column ? " " : indent);
		ls_str_addn(ret, text, word);
		column += word + 1;
		text += word;
		text += *text == ' ';
	}
	ls_str_add(ret, "\n");
}

static void add_head(struct ls_str *ret, const struct ls_field *f)
{
	ls_str_addf(ret, "%s <", f->key);
	add_type(ret, f);
	ls_str_add(ret, ">");
	if (f->otherwise)
		ls_str_addf(ret, " default %s", f->otherwise);
	if (*need(f))
		ls_str_addf(ret, " -%s-", need(f));
	ls_str_add(ret, "\n");
}

/* --- lockstep explain --------------------------------------------------------------------------------------------- */

static void add_tree(struct ls_str *ret, const char *parent, int depth)
{
	const struct ls_field *f;
	char path[LS_FIELD_PATH];

	for (f = ls_fields; f->key; f++) {
		if (strcmp(f->parent, parent))
			continue;
		ls_str_addf(ret, "%*s", 2 * depth, "");
		add_head(ret, f);
		ls_field_path(f, path);
		add_tree(ret, path, depth + 1);
	}
}

static void add_kube(struct ls_str *ret, const char *parent, const char *indent)
{
	const struct ls_kube_fields *kube = ls_kube_find(parent);
	struct ls_str names = { 0 };

	if (!kube || !kube->names)
		return;
	ls_str_addf(&names, "Also known, from Kubernetes' %s, and not read by `lockstep run`: ", kube->kind);
	for (int i = 0; kube->names[i]; i++)
		ls_str_addf(&names, "%s%s", i ? ", " : "", kube->names[i]);
	ls_str_add(&names, ".");
	ls_str_add(ret, "\n");
	ls_field_wrap(ret, ls_str_text(&names), indent);
	ret->oom |= names.oom;
	ls_str_release(&names);
}

static void add_one(struct ls_str *ret, const struct ls_field *f)
{
	const struct ls_field *child;
	char path[LS_FIELD_PATH];
	bool any = false;

	ls_field_path(f, path);
	ls_str_addf(ret, "KIND:     TrainingJob\nVERSION:  %s\nFIELD:    %s\n          ", ls_fields[0].names[0], path);
	add_head(ret, f);
	ls_str_add(ret, "\nDESCRIPTION:\n");
	ls_field_wrap(ret, f->text, "  ");
	for (child = ls_fields; child->key; child++) {
		if (strcmp(child->parent, path))
			continue;
		ls_str_add(ret, any ? "\n  " : "\nFIELDS:\n  ");
		add_head(ret, child);
		ls_field_wrap(ret, child->text, "      ");
		any = true;
	}
	add_kube(ret, path, "  ");
}

/* Cut the first part off *path ("containers[0]" gives "containers"); a key that itself has dots is the last part. */
static const struct ls_field *step(const char **path, const char *parent, char part[LS_FIELD_PATH])
{
	const struct ls_field *f = ls_field_find(parent, *path);
	size_t len = f ? strlen(*path) : strcspn(*path, ".");

	snprintf(part, LS_FIELD_PATH, "%.*s", (int)(len < LS_FIELD_PATH ? len : LS_FIELD_PATH - 1), *path);
	*path += len;
	*path += **path == '.';
	if (!f) {
		part[strcspn(part, "[")] = '\0';
		f = ls_field_find(parent, part);
	}
	return f;
}

ls_status ls_job_explain(const char *path, struct ls_str *ret, struct ls_err *err)
{
	const struct ls_field *f = NULL;
	char parent[LS_FIELD_PATH] = "", part[LS_FIELD_PATH], suggestion[320];

	if (path && !strncmp(path, "trainingjob", 11) && (path[11] == '.' || !path[11]))
		path += 11 + (path[11] == '.'); /* as kubectl explain wants it */
	while (path && *path) {
		f = step(&path, parent, part);
		if (!f && ls_kube_has(ls_kube_find(parent), part)) {
			ls_str_addf(ret,
				"%s.%s is a field of Kubernetes' %s. The TrainingJob passes it on; `lockstep run` does "
				"not read it.\n",
				parent, part, ls_kube_find(parent)->kind);
			return ret->oom ? ls_fail_oom(err) : LS_OK;
		}
		if (!f) {
			ls_field_suggest(parent, part, suggestion);
			return ls_fail(err, LS_USAGE, 0, "%s has no field '%s'; %s", *parent ? parent : "a TrainingJob",
				part, suggestion);
		}
		ls_field_path(f, parent);
	}
	if (f)
		add_one(ret, f);
	else
		add_tree(ret, "", 0);
	return ret->oom ? ls_fail_oom(err) : LS_OK;
}

/* --- docs/trainingjob.md ------------------------------------------------------------------------------------------ */

static void add_section(struct ls_str *ret, const char *parent, const char *title, const char *text)
{
	const struct ls_field *f;
	bool any = false;

	for (f = ls_fields; f->key; f++) {
		if (strcmp(f->parent, parent))
			continue;
		if (!any) {
			ls_str_addf(ret, "\n## %s\n\n", title);
			ls_field_wrap(ret, text, "");
			ls_str_add(ret, "\n| field | type | default | meaning |\n|---|---|---|---|\n");
		}
		any = true;
		ls_str_addf(ret, "| `%s` | ", f->key);
		add_type(ret, f);
		ls_str_addf(ret, " | %s | %s%s%s%s |\n", f->otherwise ? f->otherwise : "", f->text,
			*need(f) ? " **" : "", need(f), *need(f) ? "**" : "");
	}
	if (any)
		add_kube(ret, parent, "");
}

void ls_job_reference(struct ls_str *ret)
{
	const struct ls_field *f;
	char path[LS_FIELD_PATH];

	ls_str_add(ret, "# TrainingJob\n\n"
			"<!-- Made by `lockstep explain --markdown` from core/job_fields.c: change it there. -->\n\n"
			"A TrainingJob is one manifest, in YAML or JSON, that runs the same way on a laptop, on hosts "
			"and\non Kubernetes. "
			"A field that is not listed here is an error, with its line and the nearest real "
			"name.\nNumbers and text are told apart as on Kubernetes: `args: [--lr, \"0.1\"]` needs the quotes. `null` is as if "
			"the field\nwere not there.\n\n");
	ls_str_addf(ret, "```yaml\n%s```\n", example);
	add_section(ret, "", "The object", "Its four parts.");
	for (f = ls_fields; f->key; f++) {
		ls_field_path(f, path);
		add_section(ret, path, path, f->text);
	}
}
