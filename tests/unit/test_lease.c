/* test_lease.c -- the judgement of leader election: what is seen at which time, and what follows; and two operators that race, in every order of their steps. */
#include "operator/lease.h"

#include <CUnit/Basic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const char *const roles[] = { "standby", "leader", "lost" };
static const char *const acts[] = { "wait", "create", "take", "renew", "give up" };

/* Looks, one after another: "SECONDS HOLDER@VERSION/DURATION"; "-": there is no Lease, "?": no answer, "": free, "me": ours. "w": our write succeeded then. */
static const struct { const char *says, *looks, *want, *role; } tables[] = {
	{ "no Lease: create it", "0 -", "create", "standby" },
	{ "no answer: wait", "0 ?", "wait", "standby" },
	{ "a free one: take it", "0 @5/1", "take", "standby" },
	{ "another's, fresh: wait", "0 you@5/15", "wait", "standby" },
	{ "another's that changes is alive, however long", "0 you@5/15, 10 you@6/15, 20 you@7/15, 34 you@8/15", "wait", "standby" },
	{ "another's that did not change for its duration: take it", "0 you@5/15, 15 you@5/15", "take", "standby" },
	{ "a moment earlier: wait", "0 you@5/15, 14.9 you@5/15", "wait", "standby" },
	{ "its duration is what it says, not ours", "0 you@5/60, 15 you@5/60", "wait", "standby" },
	{ "its time begins when it is first seen, not when it says", "100 you@5/15, 110 you@5/15", "wait", "standby" },
	{ "a look that failed does not stop its clock", "0 you@5/15, 8 ?, 15 you@5/15", "take", "standby" },
	{ "our own name, after a write whose answer was lost: take it", "0 me@5/15", "take", "standby" },
	{ "what we wrote is ours", "0 w", "", "leader" },
	{ "the leader renews", "0 w, 2 me@w/15", "renew", "leader" },
	{ "the leader whose look fails waits", "0 w, 2 ?", "wait", "leader" },
	{ "for ten seconds", "0 w, 9.9 ?", "wait", "leader" },
	{ "then it gives up", "0 w, 10 ?", "give up", "lost" },
	{ "each renewal begins them anew", "0 w, 8 w, 17.9 ?", "wait", "leader" },
	{ "another's name in it: it gives up at once", "0 w, 2 you@9/15", "give up", "lost" },
	{ "somebody deleted it: it is made again", "0 w, 2 -", "create", "leader" },
	{ "lost is final", "0 w, 10 ?, 11 @12/15", "give up", "lost" },
	{ "a late answer to its write does not bring it back", "0 w, 10 ?, 11 w", "give up", "lost" },
};

static enum ls_lease_step look(struct ls_lease_view *v, const char *what, int64_t now_ms, enum ls_lease_step before)
{
	struct ls_lease_record r = { .exists = true };
	const char *at = strchr(what, '@');

	if (!strcmp(what, "w")) {
		ls_lease_written(v, "w", now_ms);
		return before;
	}
	if (!strcmp(what, "?"))
		return ls_lease_judge(v, NULL, now_ms);
	if (!strcmp(what, "-")) {
		r.exists = false;
		return ls_lease_judge(v, &r, now_ms);
	}
	snprintf(r.holder, sizeof(r.holder), "%.*s", (int)(at - what), what);
	CU_ASSERT(sscanf(at + 1, "%63[^/]/%d", r.version, &r.duration_s) == 2);
	return ls_lease_judge(v, &r, now_ms);
}

static void test_table(void)
{
	for (size_t i = 0; i < COUNT(tables); i++) {
		struct ls_lease_view v = { .identity = "me" };
		char *looks = strdup(tables[i].looks), *rest = looks, *one, what[64];
		enum ls_lease_step got = LS_LEASE_WAIT;
		bool good;
		double s;

		while ((one = strsep(&rest, ",")) != NULL) {
			CU_ASSERT(sscanf(one, "%lf %63s", &s, what) == 2);
			got = look(&v, what, (int64_t)(s * 1000 + 0.5), got);
		}
		good = (!*tables[i].want || !strcmp(acts[got], tables[i].want)) && !strcmp(roles[v.role], tables[i].role);
		if (!good)
			printf("\n    failed: %s: %s, %s", tables[i].says, acts[got], roles[v.role]);
		CU_ASSERT(good);
		free(looks);
	}
}

static const struct { const char *says; int64_t now_ms; int within_ms; bool want; } holds[] = {
	{ "just renewed: a write of five seconds is fine", 0, 5000, true },
	{ "after 8.9 s it still ends before another may take the lease", 8900, 5000, true },
	{ "after 9 s it might not", 9000, 5000, false },
	{ "a short one may go later", 13000, 500, true },
	{ "after the lease nothing goes", 15000, 0, false },
};

static void test_holds(void)
{
	struct ls_lease_view v = { .identity = "me" };

	CU_ASSERT(!ls_lease_holds(&v, 0, 0));
	ls_lease_written(&v, "1", 0);
	for (size_t i = 0; i < COUNT(holds); i++) {
		bool got = ls_lease_holds(&v, holds[i].now_ms, holds[i].within_ms);

		if (got != holds[i].want)
			printf("\n    failed: %s", holds[i].says);
		CU_ASSERT_EQUAL(got, holds[i].want);
	}
	v.role = LS_LEASE_LOST;
	CU_ASSERT(!ls_lease_holds(&v, 0, 0));
}

/* --- three operators and a server, at random ------------------------------------------------------------------------------------------------- */

struct server {
	bool exists;
	char holder[256];
	int version, duration_s;
};

static void see(const struct server *s, struct ls_lease_record *ret)
{
	*ret = (struct ls_lease_record){ .exists = s->exists, .duration_s = s->duration_s };
	snprintf(ret->holder, sizeof(ret->holder), "%s", s->holder);
	snprintf(ret->version, sizeof(ret->version), "%d", s->version);
}

struct operator {
	struct ls_lease_view view;
	int64_t skew_ms, next_ms, sent_ms;
	int asleep;              /* turns for which it is stopped, as by SIGSTOP */
	int writing;             /* a write that is under way arrives in so many steps; 0: none */
	char version[64];        /* that the write asks for; "": none must exist */
};

/* One that writes: the server takes it if nothing changed. */
static void arrive(struct operator *o, struct server *s)
{
	char version[64];

	snprintf(version, sizeof(version), "%d", s->version);
	if (strcmp(s->exists ? version : "", o->version) != 0)
		return;
	s->exists = true;
	s->version++;
	s->duration_s = LS_LEASE_S;
	snprintf(s->holder, sizeof(s->holder), "%s", o->view.identity);
	snprintf(version, sizeof(version), "%d", s->version);
	if (rand() % 10) /* else the answer is lost */
		ls_lease_written(&o->view, version, o->sent_ms);

}

static void turn(struct operator *o, struct server *s, int64_t clock_ms)
{
	struct ls_lease_record seen;
	enum ls_lease_step step;
	bool answered = rand() % 10 != 0;

	if (o->writing) {
		if (--o->writing == 0)
			arrive(o, s);
		return;
	}
	if (clock_ms < o->next_ms)
		return;
	o->next_ms = clock_ms + 2000;
	see(s, &seen);
	step = ls_lease_judge(&o->view, answered ? &seen : NULL, clock_ms);
	if (step == LS_LEASE_WAIT)
		return;
	if (step == LS_LEASE_GIVE_UP) { /* the process ends, and begins anew */
		memset(o->view.version, 0, sizeof(o->view.version));
		o->view.role = LS_LEASE_STANDBY;
		o->view.renewed_ms = 0;
		return;
	}
	snprintf(o->version, sizeof(o->version), "%s", seen.exists ? seen.version : "");
	o->sent_ms = clock_ms;
	o->writing = 1 + rand() % 30; /* up to 3 s */
}

/* Never two at once whose lease holds, though their clocks differ, their requests dawdle, answers are lost, and processes stop for half a minute. */
static void test_race(void)
{
	int leading = 0, steps = 0;

	for (int seed = 1; seed <= 200; seed++) {
		struct server s = { 0 };
		struct operator o[3] = { 0 };

		srand((unsigned)seed);
		for (int i = 0; i < 3; i++) {
			snprintf(o[i].view.identity, sizeof(o[i].view.identity), "op%d", i);
			o[i].skew_ms = rand() % 100000;
		}
		for (int64_t now_ms = 0; now_ms < 300000; now_ms += 100) {
			int holders = 0;

			for (int i = 0; i < 3; i++) {
				if (o[i].asleep > 0)
					o[i].asleep--;
				else if (rand() % 1000 == 0)
					o[i].asleep = rand() % 300;
				else
					turn(&o[i], &s, now_ms + o[i].skew_ms);
				holders += ls_lease_holds(&o[i].view, now_ms + o[i].skew_ms, 0);
			}
			if (holders > 1)
				printf("\n    failed: %d leaders at %lld ms, seed %d", holders, (long long)now_ms, seed);
			CU_ASSERT_FATAL(holders <= 1);
			leading += holders;
			steps++;
		}
	}
	CU_ASSERT(leading > steps / 2); /* and most of the time there is one */
}

int main(void)
{
	unsigned failures;

	CU_initialize_registry();
	CU_pSuite s = CU_add_suite("lease", NULL, NULL);
	CU_add_test(s, "what is seen, and what follows", test_table);
	CU_add_test(s, "how long it holds", test_holds);
	CU_add_test(s, "three operators at random, never two leaders", test_race);
	CU_basic_set_mode(CU_BRM_NORMAL);
	CU_basic_run_tests();
	failures = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failures != 0;
}
