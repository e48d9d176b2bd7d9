/* test_event.c -- event lines: what a writer sends, and what a reader makes of anything. */
#include "core/event.h"

#include <CUnit/Basic.h>

#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static void check(int ok, const char *says)
{
	if (!ok)
		fprintf(stderr, "\n  row: %s\n", says);
	CU_ASSERT(ok);
}

static const struct {
	const char *says, *line, *key, *want; /* want NULL: absent */
} words[] = {
	{ "a word in the middle", "progress step=12 total=500", "step", "12" },
	{ "the last word", "progress step=12 total=500", "total", "500" },
	{ "a key is not found by its end", "progress substep=1 step=2", "step", "2" },
	{ "an absent key", "progress step=12", "loss", NULL },
	{ "an empty value", "result name= value=1", "name", "" },
	{ "text takes the rest of the line", "warning text=disk full: step=3 lost", "text", "disk full: step=3 lost" },
	{ "a key inside the text is text", "warning text=step=3", "step", NULL },
	{ "keys before the text are keys", "skipped step=300 text=why", "step", "300" },
	{ "the first of two counts", "progress step=1 step=2", "step", "1" },
	{ "the verb is no key", "step=3 x=4", "step", NULL },
	{ "a bare verb", "hello", "world", NULL },
	{ "an empty line", "", "step", NULL },
	{ "several spaces", "hello   world=4", "world", "4" },
	{ "a value with an equals sign", "result name=a=b", "name", "a=b" },
};

static void test_words(void)
{
	char value[64];
	size_t i;

	for (i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		bool found = ls_event_word(words[i].line, words[i].key, value, sizeof(value));

		check(found == (words[i].want != NULL) && (!found || !strcmp(value, words[i].want)), words[i].says);
	}
	CU_ASSERT(ls_event_word("error text=0123456789", "text", value, 5));
	CU_ASSERT_STRING_EQUAL(value, "0123");
	CU_ASSERT(ls_event_is("progress step=1", "progress"));
	CU_ASSERT(ls_event_is("hello", "hello"));
	CU_ASSERT(!ls_event_is("progression", "progress"));
	CU_ASSERT(!ls_event_is("prog", "progress"));
}

static const struct {
	const char *says, *line;
	double want;
} numbers[] = {
	{ "hexadecimal, as %a writes it", "p x=0x1.8p-2", 0.375 },
	{ "decimal", "p x=-2.5e3", -2500 },
	{ "infinity is a loss like any other", "p x=inf", INFINITY },
	{ "words are not numbers", "p x=12abc", -1 },
	{ "nothing is not a number", "p x=", -1 },
	{ "absent", "p y=1", -1 },
};

static void test_numbers(void)
{
	size_t i;

	for (i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		check(ls_event_num(numbers[i].line, "x", -1) == numbers[i].want, numbers[i].says);
	CU_ASSERT(isnan(ls_event_num("p x=nan", "x", -1)));
	CU_ASSERT_EQUAL(ls_event_int("p x=1234567890123", "x", -1), 1234567890123);
	CU_ASSERT_EQUAL(ls_event_int("p x=12.5", "x", -1), -1);
	CU_ASSERT_EQUAL(ls_event_int("p x=99999999999999999999", "x", -1), -1);
}

static void test_lines(void)
{
	char line[LS_EVENT_MAX], big[2 * LS_EVENT_MAX];
	size_t len = ls_event_line(line, "saved step=%d", 200);

	CU_ASSERT_EQUAL(len, 15);
	CU_ASSERT_NSTRING_EQUAL(line, "saved step=200\n", len);
	len = ls_event_line(line, "error text=%s", "two\nlines\tand a \x7f");
	CU_ASSERT_NSTRING_EQUAL(line, "error text=two lines and a  \n", len);
	memset(big, 'x', sizeof(big));
	big[sizeof(big) - 1] = '\0';
	len = ls_event_line(line, "%s", big);
	CU_ASSERT_EQUAL(len, LS_EVENT_MAX);
	CU_ASSERT_EQUAL(line[len - 1], '\n');
	memcpy(big + LS_EVENT_MAX - 3, "\xe2\x82\xac", 3); /* a euro sign across the cut */
	len = ls_event_line(line, "%s", big);
	CU_ASSERT_EQUAL(len, LS_EVENT_MAX - 2);
	CU_ASSERT_NSTRING_EQUAL(line + len - 3, "xx\n", 3);
}

/* Every double comes back bit for bit, in any locale that this machine has. */
static void test_exact(void)
{
	static const char *const locales[] = { "C", "de_DE.UTF-8", "ps_AF", "C.UTF-8" };
	static const double values[] = { 0.1, 1.0 / 3, -2.302585092994046, 5e-324, 1.7e308, 0 };
	char line[64], text[40];
	size_t i, k;

	for (k = 0; k < sizeof(locales) / sizeof(locales[0]); k++) {
		for (i = 0; setlocale(LC_ALL, locales[k]) && i < sizeof(values) / sizeof(values[0]); i++) {
			ls_event_exact(text, values[i]);
			setlocale(LC_ALL, "C");
			snprintf(line, sizeof(line), "progress loss=%s", text);
			check(ls_event_num(line, "loss", -1) == values[i], line);
			setlocale(LC_ALL, locales[k]);
		}
	}
	setlocale(LC_ALL, "C");
	CU_ASSERT_STRING_EQUAL(ls_event_exact(text, -INFINITY), "-inf");
	CU_ASSERT_STRING_EQUAL(ls_event_digits(text, 0.974), "0.974");
	CU_ASSERT_STRING_EQUAL(ls_event_quote(text, sizeof(text), "top 5\n"), "top%205%0A");
	CU_ASSERT_STRING_EQUAL(ls_event_quote(text, 6, "abcdef"), "abc");
}

int main(void)
{
	CU_pSuite suite;
	unsigned failed;

	if (CU_initialize_registry() != CUE_SUCCESS)
		return 1;
	suite = CU_add_suite("event", NULL, NULL);
	CU_add_test(suite, "words", test_words);
	CU_add_test(suite, "numbers", test_numbers);
	CU_add_test(suite, "lines", test_lines);
	CU_add_test(suite, "exact", test_exact);
	CU_basic_run_tests();
	failed = CU_get_number_of_failures() + (CU_get_number_of_tests_run() == 0);
	CU_cleanup_registry();
	return failed != 0;
}
