/* test_policy.c -- what follows an attempt, and which failure was the cause: row by row. */
#include "launcher/failure.h"
#include "launcher/policy.h"

#include <CUnit/Basic.h>
#include <stdio.h>
#include <string.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* One story per row: attempts one after the other under one policy. */
static const struct {
	const char *says;
	int backoff_limit;
	struct {
		enum ls_ending ending;
		bool retryable;
		long long step;
		int rank;
		const char *reason;
		enum ls_action want;
		int want_delay_ms; /* of a restart */
	} attempts[8];
} stories[] = {
	{ "a clean end is the end", 3, { { LS_END_SUCCEEDED, false, 10, -1, "", LS_ACT_DONE, 0 } } },
	{ "an exit code that is not retryable ends the job", 3, { { LS_END_FAILED, false, 10, 1, "ExitCode", LS_ACT_FAILED, 0 } } },
	{ "a person's stop is not a failure", 3, { { LS_END_STOPPED, false, 10, -1, "", LS_ACT_STOPPED, 0 } } },
	{ "nor is the deadline", 3, { { LS_END_DEADLINE, true, 10, -1, "", LS_ACT_STOPPED, 0 } } },
	{ "without a budget the first failure is final", 0, { { LS_END_FAILED, true, 0, 0, "Signal", LS_ACT_GAVE_UP, 0 } } },
	{ "without progress the pauses double, then the budget is used up", 2,
		{ { LS_END_FAILED, true, 0, 0, "Signal", LS_ACT_RESTART, 1000 },
			{ LS_END_FAILED, true, 0, 1, "Signal", LS_ACT_RESTART, 2000 },
			{ LS_END_FAILED, true, 0, 2, "Signal", LS_ACT_GAVE_UP, 0 } } },
	{ "progress gives the budget back, and restarts at once", 1,
		{ { LS_END_FAILED, true, 10, 0, "Signal", LS_ACT_RESTART, 0 },
			{ LS_END_FAILED, true, 20, 0, "Signal", LS_ACT_RESTART, 0 },
			{ LS_END_FAILED, true, 30, 0, "Signal", LS_ACT_RESTART, 0 },
			{ LS_END_FAILED, true, 30, 1, "Signal", LS_ACT_GAVE_UP, 0 } } },
	{ "an attempt that only redoes old steps is no progress", 1,
		{ { LS_END_FAILED, true, 100, 0, "Signal", LS_ACT_RESTART, 0 },
			{ LS_END_FAILED, true, 80, 0, "Signal", LS_ACT_GAVE_UP, 0 } } },
	{ "the breaker: one failure, three times at one step, whatever the budget", 100,
		{ { LS_END_FAILED, true, 50, 1, "Signal", LS_ACT_RESTART, 0 },
			{ LS_END_FAILED, true, 50, 1, "Signal", LS_ACT_RESTART, 1000 << 1 },
			{ LS_END_FAILED, true, 50, 1, "Signal", LS_ACT_GAVE_UP, 0 } } },
	{ "the breaker wants the same rank", 100,
		{ { LS_END_FAILED, true, 50, 1, "Signal", LS_ACT_RESTART, 0 },
			{ LS_END_FAILED, true, 50, 2, "Signal", LS_ACT_RESTART, 1000 << 1 },
			{ LS_END_FAILED, true, 50, 1, "Signal", LS_ACT_RESTART, 1000 << 2 } } },
};

static void test_stories(void)
{
	size_t i, a;

	for (i = 0; i < COUNT(stories); i++) {
		struct ls_policy p = { .backoff_limit = stories[i].backoff_limit };

		for (a = 0; a < COUNT(stories[i].attempts) && stories[i].attempts[a].reason; a++) {
			struct ls_ended e = { stories[i].attempts[a].ending, stories[i].attempts[a].retryable, stories[i].attempts[a].step,
				stories[i].attempts[a].rank, stories[i].attempts[a].reason };
			int delay = 0;
			enum ls_action act = ls_policy_next(&p, &e, &delay);

			if (act != stories[i].attempts[a].want || delay != stories[i].attempts[a].want_delay_ms)
				printf("\nFAILS: %s, attempt %zu: action %d after %d ms\n", stories[i].says, a, act, delay);
			CU_ASSERT_EQUAL(act, stories[i].attempts[a].want);
			CU_ASSERT_EQUAL(delay, stories[i].attempts[a].want_delay_ms);
		}
	}
}

static const struct {
	const char *says;
	enum ls_action action;
	enum ls_ending ending;
	int code, signal, restarts, want;
} codes[] = {
	{ "done", LS_ACT_DONE, LS_END_SUCCEEDED, 0, 0, 2, 0 },
	{ "the program's own code", LS_ACT_FAILED, LS_END_FAILED, 3, 0, 0, 3 },
	{ "its own code also after restarts", LS_ACT_FAILED, LS_END_FAILED, 3, 0, 2, 3 },
	{ "a signal, never restarted", LS_ACT_GAVE_UP, LS_END_FAILED, 0, 9, 0, 137 },
	{ "gave up after restarts", LS_ACT_GAVE_UP, LS_END_FAILED, 0, 9, 3, 75 },
	{ "SIGTERM to the launcher", LS_ACT_STOPPED, LS_END_STOPPED, 0, 15, 0, 143 },
	{ "Ctrl-C", LS_ACT_STOPPED, LS_END_STOPPED, 0, 2, 1, 130 },
	{ "the deadline", LS_ACT_STOPPED, LS_END_DEADLINE, 0, 0, 0, 124 },
	{ "no code at all (a wrong world)", LS_ACT_FAILED, LS_END_FAILED, 0, 0, 0, 1 },
};

static void test_codes(void)
{
	size_t i;

	for (i = 0; i < COUNT(codes); i++) {
		struct ls_ended e = { .ending = codes[i].ending };
		int code = ls_policy_exit_code(codes[i].action, &e, codes[i].code, codes[i].signal, codes[i].restarts);

		if (code != codes[i].want)
			printf("\nFAILS: %s: %d\n", codes[i].says, code);
		CU_ASSERT_EQUAL(code, codes[i].want);
	}
}

static const struct {
	const char *says;
	struct ls_rank_end ends[4];
	bool not_ended[4], blames[4];
	int want;
} causes[] = {
	{ "nobody failed", { { .at_ms = 1 }, { .at_ms = 2 } }, { 0, 0, 1, 1 }, { 0 }, -1 },
	{ "the killed rank, not the one whose collective broke a moment before",
		{ { .at_ms = 10, .code = 1 }, { .at_ms = 40, .signal = 9 } }, { 0, 0, 1, 1 }, { 0 }, 1 },
	{ "a rank that reports another one lost is never the cause beside an exit code",
		{ { .at_ms = 10, .code = 75 }, { .at_ms = 400, .code = 3 } }, { 0, 0, 1, 1 }, { true }, 1 },
	{ "what we killed ourselves is not the cause", { { .at_ms = 5, .signal = 9, .by_us = true }, { .at_ms = 9, .code = 2 } },
		{ 0, 0, 1, 1 }, { 0 }, 1 },
	{ "a host that is silent, not the one whose connections the engine closed when it noticed",
		{ { .at_ms = 10, .vanished = true, .host_gone = true }, { .at_ms = 3010, .vanished = true, .host_gone = true, .silent = true } },
		{ 0, 0, 1, 1 }, { 0 }, 1 },
	{ "a lost host, not the error that its peers got from it", { { .at_ms = 10, .code = 1 }, { .at_ms = 90, .vanished = true } },
		{ 0, 0, 1, 1 }, { 0 }, 1 },
	{ "two signals: the first", { { .at_ms = 11, .signal = 11 }, { .at_ms = 10, .signal = 9 } }, { 0, 0, 1, 1 }, { 0 }, 1 },
	{ "an exit code, not the abort() of a peer whose collective broke", { { .at_ms = 10, .code = 1 }, { .at_ms = 60, .signal = 6 } },
		{ 0, 0, 1, 1 }, { 0 }, 0 },
	{ "an abort() before the exit codes that follow", { { .at_ms = 60, .code = 1 }, { .at_ms = 10, .signal = 6 } },
		{ 0, 0, 1, 1 }, { 0 }, 1 },
	{ "what came long after is a consequence, whatever it is", { { .at_ms = 10, .code = 1 }, { .at_ms = 9000, .signal = 9 } },
		{ 0, 0, 1, 1 }, { 0 }, 0 },
	{ "a program that could not start", { { .at_ms = 10, .code = 1 }, { .at_ms = 20, .why = "cannot start" } }, { 0, 0, 1, 1 },
		{ 0 }, 1 },
	{ "a host that is about to go, not the peers that left at the same step",
		{ { .at_ms = 10, .code = 143 }, { .at_ms = 60, .code = 143, .noticed = true } }, { 0, 0, 1, 1 }, { 0 }, 1 },
	{ "with 0 it has left early, too", { { .at_ms = 10 }, { .at_ms = 60, .noticed = true } }, { 0, 0, 1, 1 }, { 0 }, 1 },
	{ "a rank that only blames others is the cause when there is no better one", { { .at_ms = 10, .code = 75 } },
		{ 0, 1, 1, 1 }, { true }, 0 },
};

static void test_causes(void)
{
	size_t i, r;

	for (i = 0; i < COUNT(causes); i++) {
		bool ended[4];
		int cause;

		for (r = 0; r < 4; r++)
			ended[r] = !causes[i].not_ended[r];
		cause = ls_failure_cause(causes[i].ends, ended, causes[i].blames, 4);
		if (cause != causes[i].want)
			printf("\nFAILS: %s: %d\n", causes[i].says, cause);
		CU_ASSERT_EQUAL(cause, causes[i].want);
	}
}

static const struct {
	struct ls_rank_end end;
	const char *said;
	bool blames;
	const char *want_reason, *want_message;
	bool want_retryable;
} told[] = {
	{ { .signal = 9 }, "", false, "Signal", "rank 3 on host b was killed by signal 9 (SIGKILL)", true },
	{ { .signal = 9, .oom = true }, "", false, "OOMKilled", "for want of memory (OOM", true },
	{ { .code = 3 }, "", false, "ExitCode", "rank 3 on host b exited with code 3", false },
	{ { .code = 3 }, "no such tensor", false, "ExitCode", "exited with code 3: no such tensor", false },
	{ { .code = 137 }, "", false, "ExitCode", "exited with code 137", true },
	{ { .code = 75 }, "rank 1 is gone", true, "RankLost", "exited with code 75: rank 1 is gone", true },
	{ { .vanished = true }, "", false, "RankLost", "rank 3 on host b vanished", true },
	{ { .vanished = true, .host_gone = true }, "", false, "HostLost", "host b was lost", true },
	{ { .code = 143, .noticed = true }, "", false, "HostLeaves", "host b is about to go (its Pod is evicted or deleted): rank 3 got a notice and left", true },
	{ { .noticed = true }, "", false, "HostLeaves", "rank 3 got a notice and left", true },
	{ { .signal = 9, .noticed = true }, "", false, "HostLeaves", "did not leave within its grace", true },
	{ { .why = "cannot start the program x: No such file or directory" }, "", false, "StartFailed", "No such file", false },
};

static void test_told(void)
{
	struct ls_job job = { 0 };
	size_t i;

	CU_ASSERT_EQUAL_FATAL(ls_job_init(&job, "j", NULL), LS_OK);
	for (i = 0; i < COUNT(told); i++) {
		struct ls_failure f = { 0 };

		ls_failure_describe(&job, 3, "b", &told[i].end, told[i].said, told[i].blames, &f);
		if (strcmp(f.reason, told[i].want_reason) || !strstr(f.message, told[i].want_message) ||
			f.retryable != told[i].want_retryable)
			printf("\nFAILS: %s: %s (%d)\n", f.reason, f.message, f.retryable);
		CU_ASSERT_STRING_EQUAL(f.reason, told[i].want_reason);
		CU_ASSERT_PTR_NOT_NULL(strstr(f.message, told[i].want_message));
		CU_ASSERT_EQUAL(f.retryable, told[i].want_retryable);
	}
	ls_job_release(&job);
}

int main(void)
{
	unsigned failures;
	CU_pSuite s;

	if (CU_initialize_registry() || !(s = CU_add_suite("policy", NULL, NULL)))
		return 1;
	CU_add_test(s, "what follows an attempt", test_stories);
	CU_add_test(s, "exit codes", test_codes);
	CU_add_test(s, "which failure was the cause", test_causes);
	CU_add_test(s, "how a failure is told", test_told);
	CU_basic_run_tests();
	failures = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failures != 0;
}
