/* jobs.c -- the table of jobs by namespace and name, and what happens to one entry. */
#include "core/io.h"
#include "operator/controller_impl.h"
#include "operator/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_SIZE 256

static unsigned hash(const char *namespace_, const char *name)
{
	unsigned h = 2166136261u;

	for (; *namespace_; namespace_++)
		h = (h ^ (unsigned char)*namespace_) * 16777619u;
	h = (h ^ '/') * 16777619u;
	for (; *name; name++)
		h = (h ^ (unsigned char)*name) * 16777619u;
	return h;
}

static struct job **chain(struct ls_controller *c, const char *namespace_, const char *name)
{
	return &c->table[hash(namespace_, name) & (unsigned)(c->size - 1)];
}

struct job *ls_jobs_find(struct ls_controller *c, const char *namespace_, const char *name)
{
	struct job *job = c->size ? *chain(c, namespace_, name) : NULL;

	while (job && (strcmp(job->name, name) != 0 || strcmp(job->namespace_, namespace_) != 0))
		job = job->next;
	return job;
}

static bool grow(struct ls_controller *c)
{
	int size = c->size ? 2 * c->size : FIRST_SIZE, old = c->size;
	struct job **table = calloc((size_t)size, sizeof(struct job *)), **before = c->table, *job, **at;

	if (!table)
		return false;
	c->table = table;
	c->size = size;
	for (int i = 0; i < old; i++)
		while ((job = before[i]) != NULL) {
			before[i] = job->next;
			at = chain(c, job->namespace_, job->name);
			job->next = *at;
			*at = job;
		}
	free(before);
	return true;
}

struct job *ls_jobs_get(struct ls_controller *c, const char *namespace_, const char *name)
{
	size_t n = strlen(namespace_) + 1, m = strlen(name) + 1;
	struct job *job = ls_jobs_find(c, namespace_, name), **at;

	if (job)
		return job;
	if (c->jobs >= c->size && !grow(c))
		return NULL;
	job = calloc(1, sizeof(*job));
	if (!job || !(job->key = malloc(2 * (n + m)))) {
		free(job);
		return NULL;
	}
	snprintf(job->key, n + m, "%s/%s", namespace_, name);
	job->namespace_ = memcpy(job->key + n + m, namespace_, n);
	job->name = memcpy(job->namespace_ + n, name, m);
	at = chain(c, namespace_, name);
	job->next = *at;
	*at = job;
	c->jobs++;
	return job;
}

struct job *ls_jobs_by_uid(struct ls_controller *c, const char *uid)
{
	for (int i = 0; i < c->size; i++)
		for (struct job *job = c->table[i]; job; job = job->next)
			if (job->known && !strcmp(job->seen.uid, uid))
				return job;
	return NULL;
}

void ls_jobs_each(struct ls_controller *c, void (*each)(struct ls_controller *c, struct job *job, void *arg), void *arg)
{
	struct job *job, *next;

	for (int i = 0; i < c->size; i++)
		for (job = c->table[i]; job; job = next) {
			next = job->next;
			each(c, job, arg);
		}
}

/* Without memory for the queue the job is found again when its 15 s look comes, or the next event. */
void ls_job_dirty(struct ls_controller *c, struct job *job, int64_t in_ms)
{
	struct ls_err err = LS_ERR_INIT;

	if (!job->known)
		return;
	if (ls_queue_add(&c->queue, &job->due, ls_clock_ms() + in_ms, &err))
		ls_log(LS_LOG_ERROR, "a job cannot be queued", "job", job->key, "error", err.text, NULL);
	ls_controller_wake(c);
}

/* What belongs to one life of the name, uid by uid. */
static void forget_life(struct ls_controller *c, struct job *job)
{
	if (!job->known)
		return;
	ls_links_drop(c->links, job->seen.uid);
	ls_tjob_release(&job->seen);
	cJSON_Delete(job->finalizers);
	if (job->reported)
		ls_report_release(&job->report);
	explicit_bzero(job->key_hex, sizeof(job->key_hex));
	explicit_bzero(job->link_key.bytes, sizeof(job->link_key.bytes));
	job->finalizers = NULL;
	job->known = job->secret = job->service = job->policy = job->has_key = job->reported = job->waits = false;
	job->written_ms = job->short_ms = 0;
	job->unused_serial = 0;
	free(job->create_error);
	job->create_error = NULL;
	job->status_written = 0;
	ls_queue_drop(&c->queue, &job->due);
	ls_queue_forgive(&job->due);
}

bool ls_job_show(struct ls_controller *c, struct job *job, struct ls_tjob *now)
{
	bool same = job->known && !strcmp(job->seen.uid, now->uid);
	bool changed = !same || job->seen.generation != now->generation || (now->deleted && !job->seen.deleted);

	if (same && ls_version_older(now->resource_version, job->seen.resource_version) && ls_clock_ms() < job->written_ms) {
		ls_tjob_release(now);
		return false;
	}
	if (same)
		ls_tjob_release(&job->seen);
	else
		forget_life(c, job);
	job->seen = *now;
	*now = (struct ls_tjob){ 0 };
	job->known = true;
	job->due.order = job->seen.created;
	if (changed)
		ls_queue_forgive(&job->due); /* what failed may be what was mended */
	return true;
}

void ls_job_gone(struct ls_controller *c, struct job *job)
{
	forget_life(c, job);
	ls_job_tidy(c, job);
}

static void free_job(struct job *job)
{
	ls_expect_release(&job->pods);
	free(job->key);
	free(job);
}

void ls_job_tidy(struct ls_controller *c, struct job *job)
{
	struct job **at;

	if (job->known || job->busy || job->pods.n)
		return;
	for (at = chain(c, job->namespace_, job->name); *at != job; at = &(*at)->next)
		;
	*at = job->next;
	c->jobs--;
	free_job(job);
}

static void drop(struct ls_controller *c, struct job *job, void *arg)
{
	(void)arg;
	forget_life(c, job);
	free_job(job);
}

void ls_jobs_release(struct ls_controller *c)
{
	ls_jobs_each(c, drop, NULL);
	free(c->table);
	c->table = NULL;
	c->size = c->jobs = 0;
}
