/* test_seen.c -- what the watches show of Pods, and whose Pods they are taken for: labels that somebody changes. */
#include "core/io.h"
#include "operator/controller_impl.h"
#include "operator/log.h"

#include <CUnit/Basic.h>
#include <stdio.h>
#include <string.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* +NAME/JOB shown with that job's label, -NAME/JOB gone: a worker 1 of serial 2. */
static const struct { const char *says, *events; int want; } rows[] = {
	{ "a Pod of the job", "+digits-worker-1-2/digits", 1 },
	{ "gone", "+digits-worker-1-2/digits -digits-worker-1-2/digits", 0 },
	{ "a stranger with the job's label", "+web-0/digits", 0 },
	{ "its label is taken away: it is the job's no more", "+digits-worker-1-2/digits +digits-worker-1-2/", 0 },
	{ "its label names another job", "+digits-worker-1-2/digits +digits-worker-1-2/faces", 0 },
	{ "its label was changed, and then it went, unseen", "+digits-worker-1-2/digits -digits-worker-1-2/faces", 0 },
	{ "a Pod that was never labelled changes nothing", "+digits-worker-1-2/digits +web-0/ -web-0/", 1 },
	{ "a job whose name looks like a Pod's", "+digits-worker-1-worker-1-2/digits-worker-1 +digits-worker-1-worker-1-2/", 0 },
};

static void show(struct ls_controller *c, const char *word)
{
	char name[64], label[64] = "", text[600];
	cJSON *object;

	sscanf(word + 1, "%63[^/]/%63s", name, label);
	snprintf(text, sizeof(text),
		"{\"metadata\":{\"namespace\":\"ml\",\"name\":\"%s\",\"uid\":\"p\",\"labels\":{\"lockstep.dev/Job\":\"no\",\"lockstep.dev/job\":\"%s\",\"lockstep.dev/role\":\"worker\","
		"\"lockstep.dev/worker\":\"1\",\"lockstep.dev/serial\":\"2\"},\"ownerReferences\":[{\"uid\":\"u\",\"controller\":true}]}}", name, label);
	object = cJSON_Parse(text);
	CU_ASSERT_PTR_NOT_NULL_FATAL(object);
	ls_seen_pod(c, *word == '+' ? LS_WATCH_SET : LS_WATCH_GONE, object);
	cJSON_Delete(object);
}

static void count_pods(struct ls_controller *c, struct job *job, void *arg)
{
	(void)c;
	*(int *)arg += job->pods.n;
}

static void test_pods(void)
{
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct ls_controller c = { .wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) };
		char events[400], *save, *word;
		int n = 0;

		pthread_mutex_init(&c.lock, NULL);
		CU_ASSERT_FATAL(!ls_cluster_open(&c.cluster, NULL));
		snprintf(events, sizeof(events), "%s", rows[i].events);
		for (word = strtok_r(events, " ", &save); word; word = strtok_r(NULL, " ", &save))
			show(&c, word);
		ls_jobs_each(&c, count_pods, &n);
		if (n != rows[i].want)
			printf("\n    failed: %s: %d", rows[i].says, n);
		CU_ASSERT_EQUAL(n, rows[i].want);
		ls_jobs_release(&c);
		ls_cluster_close(c.cluster);
		ls_fd_close(&c.wake);
		pthread_mutex_destroy(&c.lock);
	}
}

int main(void)
{
	unsigned failures;

	ls_log_level_set("error");
	CU_initialize_registry();
	CU_add_test(CU_add_suite("seen", NULL, NULL), "Pods", test_pods);
	CU_basic_set_mode(CU_BRM_NORMAL);
	CU_basic_run_tests();
	failures = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failures != 0;
}
