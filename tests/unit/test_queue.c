/* test_queue.c -- what is due, in which order, and how long failures are held back. */
#include "operator/queue.h"

#include <CUnit/Basic.h>
#include <stdio.h>
#include <stdlib.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static struct ls_err err;

static void check(bool ok, const char *says, long long got)
{
	if (!ok)
		printf("\n    failed: %s: %lld", says, got);
	CU_ASSERT(ok);
}

static void test_order(void)
{
	struct ls_queue q = { 0 };
	struct ls_queue_item a = { .order = 3 }, b = { .order = 1 }, c = { .order = 2 };

	check(ls_queue_due(&q) == -1, "an empty queue is due never", ls_queue_due(&q));
	ls_queue_add(&q, &a, 100, &err);
	ls_queue_add(&q, &b, 200, &err);
	ls_queue_add(&q, &c, 200, &err);
	check(ls_queue_due(&q) == 100, "the first is due first", ls_queue_due(&q));
	check(!ls_queue_take(&q, 99), "nothing is due before its time", 99);
	check(ls_queue_take(&q, 300) == &a, "the earliest is taken first", 300);
	check(ls_queue_take(&q, 300) == &b, "among equals the smallest order is first", b.order);
	check(ls_queue_take(&q, 300) == &c, "then the next", c.order);
	check(!ls_queue_take(&q, 300), "and each once", q.n);
	ls_queue_release(&q);
}

static void test_coalesces(void)
{
	struct ls_queue q = { 0 };
	struct ls_queue_item a = { 0 };

	ls_queue_add(&q, &a, 100, &err);
	ls_queue_add(&q, &a, 200, &err);
	check(q.n == 1 && a.due_ms == 100, "asking for later changes nothing", a.due_ms);
	ls_queue_add(&q, &a, 50, &err);
	check(q.n == 1 && a.due_ms == 50, "asking for earlier makes it earlier", a.due_ms);
	ls_queue_drop(&q, &a);
	ls_queue_drop(&q, &a);
	check(q.n == 0 && !a.at, "a dropped item is out, also when dropped twice", q.n);
	ls_queue_release(&q);
}

static const struct { const char *says; int failures; int64_t most; } backoffs[] = {
	{ "the first failure: half a second", 0, 500 },
	{ "the second: a second", 1, 1000 },
	{ "the seventh: 32 s", 6, 32000 },
	{ "the eighth: a minute", 7, 60000 },
	{ "the thousandth: a minute", 999, 60000 },
};

static void test_backoff(void)
{
	for (size_t i = 0; i < COUNT(backoffs); i++) {
		struct ls_queue q = { .seed = i };
		struct ls_queue_item a = { .failures = backoffs[i].failures };

		ls_queue_fail(&q, &a, 1000, &err);
		check(a.held_ms <= 1000 + backoffs[i].most && a.held_ms > 1000 + backoffs[i].most * 3 / 4, backoffs[i].says, a.held_ms);
		ls_queue_add(&q, &a, 0, &err);
		check(!ls_queue_take(&q, a.held_ms - 1), "an event does not shorten a back-off", a.due_ms);
		check(ls_queue_take(&q, a.held_ms) == &a, "when it is over the item is due", a.due_ms);
		ls_queue_forgive(&a);
		ls_queue_add(&q, &a, 0, &err);
		check(ls_queue_take(&q, 0) == &a, "what is forgiven is due at once", a.due_ms);
		ls_queue_release(&q);
	}
}

/* Against the obvious: look at all of them. */
static void test_random(void)
{
	enum { ITEMS = 300, STEPS = 20000 };
	struct ls_queue_item *v = calloc(ITEMS, sizeof(*v)), *first, *got;
	struct ls_queue q = { 0 };

	srand(1);
	for (int i = 0; i < ITEMS; i++)
		v[i].order = i;
	for (int step = 0; step < STEPS; step++) {
		struct ls_queue_item *item = &v[rand() % ITEMS];

		switch (rand() % 4) {
		case 0: case 1: ls_queue_add(&q, item, rand() % 1000, &err); break;
		case 2: ls_queue_drop(&q, item); break;
		default:
			first = NULL;
			for (int i = 0; i < ITEMS; i++)
				if (v[i].at && (!first || v[i].due_ms < first->due_ms))
					first = &v[i];
			got = ls_queue_take(&q, 1000);
			if (got != first)
				check(false, "the earliest is taken, with the smallest order (step)", step);
		}
	}
	for (int i = 1; i < q.n; i++)
		if (q.v[(i - 1) / 2]->due_ms > q.v[i]->due_ms || q.v[i]->at != i + 1)
			check(false, "it is a heap, and items know their places (place)", i);
	ls_queue_release(&q);
	free(v);
}

int main(void)
{
	unsigned failures;

	CU_initialize_registry();
	CU_pSuite s = CU_add_suite("queue", NULL, NULL);
	CU_add_test(s, "what is due, in order", test_order);
	CU_add_test(s, "one item, once", test_coalesces);
	CU_add_test(s, "back-off", test_backoff);
	CU_add_test(s, "20,000 random steps against a search of everything", test_random);
	CU_basic_set_mode(CU_BRM_NORMAL);
	CU_basic_run_tests();
	failures = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failures != 0;
}
