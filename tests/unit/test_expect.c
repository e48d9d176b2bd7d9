/* test_expect.c -- a cache that lags, and requests whose answers are slower or faster than the watch: histories of one Pod, and what counts as there. */
#include "operator/expect.h"

#include <CUnit/Basic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static struct ls_tpod pod(const char *name, const char *uid, bool deleted)
{
	return (struct ls_tpod){
		.namespace_ = strdup("team"), .name = strdup(name), .uid = strdup(uid), .job = strdup("digits"), .job_uid = strdup("u"),
		.node = strdup(""), .ip = strdup(""), .message = strdup(""), .final = strdup(""), .deleted = deleted ? 1700000000 : 0,
	};
}

/* Steps, a word each:
 *   creating created failed     of p, as the operator does it
 *   deleting undeleted
 *   shown:UID dying:UID gone:UID     by the watch
 *   list list-with:UID          a whole list, without p or with it
 *   +MS                         time passes */
static const struct { const char *says, *steps, *want; } histories[] = {
	{ "nothing is there", "", "none" },
	{ "a create that is under way counts", "creating", "there" },
	{ "a create that succeeded counts before it is shown", "creating created", "there" },
	{ "a create that failed does not count", "creating failed", "none" },
	{ "a Pod that was shown counts", "shown:a", "there" },
	{ "shown before the answer, the answer changes nothing", "creating shown:a created", "there" },
	{ "shown before the answer is a failure: it is there nevertheless", "creating shown:a failed", "there" },
	{ "it came and went before the answer: it is gone", "creating shown:a gone:a created", "none" },
	{ "a list of before the create does not make it vanish", "creating created list", "there" },
	{ "a list after it was shown does", "creating created shown:a list", "none" },
	{ "a list that shows it keeps it", "shown:a list-with:a", "there" },
	{ "never shown: after five minutes it does not count", "creating created +300000", "none" },
	{ "never shown: a moment before it still does", "creating created +299999", "there" },
	{ "a delete that is under way counts", "shown:a deleting", "dying" },
	{ "a delete that failed does not", "shown:a deleting undeleted", "there" },
	{ "an old sight of it does not bring it back", "shown:a deleting shown:a", "dying" },
	{ "the watch shows that it is dying", "shown:a deleting dying:a", "dying" },
	{ "a failure's answer does not undo what the watch shows", "shown:a deleting dying:a undeleted", "dying" },
	{ "never shown as dying: after five minutes it does not count", "shown:a deleting +300000", "there" },
	{ "gone is gone", "shown:a deleting dying:a gone:a", "none" },
	{ "another Pod of its name is another Pod", "shown:a deleting shown:b", "there" },
	{ "the end of an earlier Pod of its name is not its end", "shown:b gone:a", "there" },
	{ "an expected Pod with its uid known survives the end of another", "creating created gone:b", "there" },
};

static void step(struct ls_expect *e, const char *word, int64_t *now_ms, unsigned *list)
{
	const char *colon = strchr(word, ':'), *uid = colon ? colon + 1 : "";
	struct ls_tpod p = pod("p", uid, !strncmp(word, "dying", 5));
	struct ls_err err = LS_ERR_INIT;

	if (!strcmp(word, "creating")) {
		CU_ASSERT(!ls_expect_creating(e, &p, *now_ms, &err));
		return;
	}
	if (!strcmp(word, "list-with:a"))
		++*list;
	if (!strncmp(word, "shown", 5) || !strncmp(word, "dying", 5) || !strncmp(word, "list-with", 9)) {
		CU_ASSERT(!ls_expect_shown(e, &p, *list, &err));
	} else {
		ls_tpod_release(&p);
	}
	if (!strcmp(word, "created"))
		ls_expect_created(e, "p", "a");
	else if (!strcmp(word, "failed"))
		ls_expect_not_created(e, "p");
	else if (!strcmp(word, "deleting"))
		ls_expect_deleting(e, "p", *now_ms);
	else if (!strcmp(word, "undeleted"))
		ls_expect_not_deleted(e, "p");
	else if (!strncmp(word, "gone", 4))
		ls_expect_gone(e, "p", uid);
	else if (!strcmp(word, "list"))
		ls_expect_listed(e, ++*list);
	else if (!strncmp(word, "list-with", 9))
		ls_expect_listed(e, *list);
	else if (word[0] == '+')
		*now_ms += atoi(word + 1);
	ls_expect_tick(e, *now_ms);
}

static void test_histories(void)
{
	for (size_t i = 0; i < COUNT(histories); i++) {
		char *steps = strdup(histories[i].steps), *rest = steps, *word;
		struct ls_expect e = { 0 };
		struct ls_expect_pod *p;
		unsigned list = 1;
		int64_t now_ms = 1000;
		const char *got;

		while ((word = strsep(&rest, " ")) != NULL)
			if (*word)
				step(&e, word, &now_ms, &list);
		p = ls_expect_find(&e, "p");
		got = !p ? "none" : p->pod.deleted ? "dying" : "there";
		if (strcmp(got, histories[i].want) != 0)
			printf("\n    failed: %s: %s", histories[i].says, got);
		CU_ASSERT_STRING_EQUAL(got, histories[i].want);
		ls_expect_release(&e);
		free(steps);
	}
}

static void test_many(void)
{
	struct ls_expect e = { 0 };
	struct ls_err err = LS_ERR_INIT;
	char name[32];

	for (int i = 0; i < 1000; i++) {
		struct ls_tpod p;

		snprintf(name, sizeof(name), "p%d", i);
		p = pod(name, "a", false);
		CU_ASSERT(!ls_expect_shown(&e, &p, i % 2, &err));
	}
	CU_ASSERT(ls_expect_listed(&e, 1));
	CU_ASSERT_EQUAL(e.n, 500);
	CU_ASSERT(!ls_expect_listed(&e, 1));
	CU_ASSERT_PTR_NOT_NULL(ls_expect_find(&e, "p999"));
	CU_ASSERT_PTR_NULL(ls_expect_find(&e, "p998"));
	ls_expect_release(&e);
}

static const struct { const char *a, *b; bool older; } versions[] = {
	{ "1", "2", true }, { "2", "1", false }, { "9", "10", true }, { "10", "9", false }, { "7", "7", false },
	{ "18446744073709551616", "18446744073709551617", true }, { "abc", "abd", false }, { "", "1", false }, { "1", "x", false },
};

static void test_versions(void)
{
	for (size_t i = 0; i < COUNT(versions); i++) {
		if (ls_version_older(versions[i].a, versions[i].b) != versions[i].older)
			printf("\n    failed: %s before %s", versions[i].a, versions[i].b);
		CU_ASSERT_EQUAL(ls_version_older(versions[i].a, versions[i].b), versions[i].older);
	}
}

int main(void)
{
	unsigned failures;

	CU_initialize_registry();
	CU_pSuite s = CU_add_suite("expect", NULL, NULL);
	CU_add_test(s, "what counts as there", test_histories);
	CU_add_test(s, "a thousand Pods", test_many);
	CU_add_test(s, "versions", test_versions);
	CU_basic_set_mode(CU_BRM_NORMAL);
	CU_basic_run_tests();
	failures = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failures != 0;
}
