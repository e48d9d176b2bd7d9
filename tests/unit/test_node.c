/* test_node.c -- text to trees: typing, refusals, JSON, --set, and a property: a printed tree parses to itself. */
#include "core/node.h"
#include "core/str.h"

#include <CUnit/Basic.h>
#include <cjson/cJSON.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A row that fails names itself. */
static void check(const char *says, bool ok, const char *what)
{
	char text[1400];

	snprintf(text, sizeof(text), "%s: %s", says, what);
	CU_assertImplementation(ok, 0, text, __FILE__, "", CU_FALSE);
}

static struct ls_node *parse(const char *says, const char *text)
{
	struct ls_err err = LS_ERR_INIT;
	struct ls_node *root = NULL;

	if (ls_node_parse("t", text, strlen(text), &root, &err))
		check(says, false, err.text);
	return root;
}

/* --- tables ------------------------------------------------------------------------------------------------------- */

static const struct {
	const char *says, *yaml;
	enum ls_node_type type;
	double number;
	const char *text;
} typing[] = {
	{ "true is a boolean",               "true",          LS_NODE_BOOL,   1, "true" },
	{ "False is a boolean",              "False",         LS_NODE_BOOL,   0, "False" },
	{ "yes is text",                     "yes",           LS_NODE_STRING, 0, "yes" },
	{ "on is text",                      "on",            LS_NODE_STRING, 0, "on" },
	{ "n is text",                       "n",             LS_NODE_STRING, 0, "n" },
	{ "nothing is null",                 "a:",            LS_NODE_NULL,   0, "" },
	{ "~ is null",                       "~",             LS_NODE_NULL,   0, "~" },
	{ "null is null",                    "null",          LS_NODE_NULL,   0, "null" },
	{ "digits are an integer",           "42",            LS_NODE_INT,    42, "42" },
	{ "a sign belongs to it",            "-7",            LS_NODE_INT,    -7, "-7" },
	{ "hexadecimal",                     "0x1f",          LS_NODE_INT,    31, "0x1f" },
	{ "octal of YAML 1.2",               "0o17",          LS_NODE_INT,    15, "0o17" },
	{ "a leading 0 is decimal",          "010",           LS_NODE_INT,    10, "010" },
	{ "thousands with _ are text",       "1_000",         LS_NODE_STRING, 0, "1_000" },
	{ "a time is text",                  "12:30:00",      LS_NODE_STRING, 0, "12:30:00" },
	{ "a date is text",                  "2026-01-31",    LS_NODE_STRING, 0, "2026-01-31" },
	{ "a version is text",               "1.2.3",         LS_NODE_STRING, 0, "1.2.3" },
	{ "a point makes a float",           "0.5",           LS_NODE_FLOAT,  0.5, "0.5" },
	{ "an exponent makes a float",       "1e3",           LS_NODE_FLOAT,  1000, "1e3" },
	{ "no digit before the point",       ".5",            LS_NODE_FLOAT,  0.5, ".5" },
	{ "infinity",                        "-.inf",         LS_NODE_FLOAT,  -INFINITY, "-.inf" },
	{ "too large for 64 bits",           "9223372036854775808", LS_NODE_FLOAT, 0x1p63, "9223372036854775808" },
	{ "the largest integer",             "9223372036854775807", LS_NODE_INT, 0x1p63, "9223372036854775807" },
	{ "a lone point is text",            ".",             LS_NODE_STRING, 0, "." },
	{ "a lone sign is text",             "\"-\"",         LS_NODE_STRING, 0, "-" },
	{ "1e is text",                      "1e",            LS_NODE_STRING, 0, "1e" },
	{ "quoted digits are text",          "\"42\"",        LS_NODE_STRING, 0, "42" },
	{ "single-quoted true is text",      "'true'",        LS_NODE_STRING, 0, "true" },
	{ "quoted nothing is text",          "\"\"",          LS_NODE_STRING, 0, "" },
	{ "!!str makes text",                "!!str 42",      LS_NODE_STRING, 0, "42" },
	{ "!!int says what it is",           "!!int 42",      LS_NODE_INT,    42, "42" },
	{ "!!float of an integer",           "!!float 42",    LS_NODE_FLOAT,  42, "42" },
	{ "! of quoted text is text",        "! \"42\"",      LS_NODE_STRING, 0, "42" },
	{ "a literal block keeps its lines", "a: |\n  x\n  y\n", LS_NODE_STRING, 0, "x\ny\n" },
	{ "a folded block joins them",       "a: >-\n  x\n  y\n", LS_NODE_STRING, 0, "x y" },
	{ "a literal block is not typed",    "a: |-\n  42\n", LS_NODE_STRING, 0, "42" },
	{ "a byte order mark is skipped",    "\xef\xbb\xbf" "42", LS_NODE_INT, 42, "42" },
	{ "Windows line ends",               "a:\r\n  42\r\n", LS_NODE_INT, 42, "42" },
	{ "a URI in a flow list",            "a: [s3://b/c]", LS_NODE_STRING, 0, "s3://b/c" },
	{ "JSON: all escapes",               "{\"a\": \"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\"}", LS_NODE_STRING, 0,
		"\"\\/\b\f\n\r\t\xc3\xa9" },
	{ "JSON: a surrogate pair",          "{\"a\":\"\\ud83d\\uDE00!\"}", LS_NODE_STRING, 0, "\xf0\x9f\x98\x80!" },
	{ "JSON: an escaped backslash before u", "{\"a\":\"\\\\ud83d\\\\ude00\"}", LS_NODE_STRING, 0, "\\ud83d\\ude00" },
	{ "JSON: indented by tabs",          "{\n\t\"a\":\t[\n\t\t42\n\t]\n}\n", LS_NODE_INT, 42, "42" },
	{ "JSON: no spaces at all",          "{\"a\":[42]}",  LS_NODE_INT,    42, "42" },
	{ "JSON: a number with an exponent", "{\"a\":-1.5E+2}", LS_NODE_FLOAT, -150, "-1.5E+2" },
};

static void test_typing(void)
{
	for (size_t i = 0; i < sizeof(typing) / sizeof(typing[0]); i++) {
		const char *says = typing[i].says;
		struct ls_node *root = parse(says, typing[i].yaml);
		const struct ls_node *at = root;

		while (at && (at->type == LS_NODE_MAP || at->type == LS_NODE_LIST))
			at = at->child;
		check(says, at && at->type == typing[i].type, "type");
		check(says, at && at->text && !strcmp(at->text, typing[i].text), "text");
		if (at && at->type == LS_NODE_BOOL)
			check(says, at->boolean == (typing[i].number != 0), "boolean");
		else if (at)
			check(says, !(fabs(at->number - typing[i].number) > 0), "number");
		ls_node_free(root);
	}
}

static const struct {
	const char *says, *text, *want;
} refused[] = {
	{ "nothing at all",           "",                         "t:1:1: there is nothing in it" },
	{ "only a comment",           "# hello\n",                "t:1:1: there is nothing in it" },
	{ "an anchor",                "a: &x 1\n",                "t:1:4: anchors (&x)" },
	{ "an anchor on a map",       "a: &x {b: 1}\n",           "t:1:4: anchors (&x)" },
	{ "an alias",                 "a: *x\n",                  "t:1:4: aliases (*x)" },
	{ "a duplicate key",          "a: 1\nb: 2\n\"a\": 3\n",   "t:3:1: the key 'a' is there already" },
	{ "a duplicate key inside",   "x:\n  b: 2\n  b: 3\n",     "t:3:3: the key 'b'" },
	{ "a second document",        "a: 1\n---\nb: 2\n",        "t:2:1: a second document" },
	{ "an application's tag",     "a: !secret x\n",           "t:1:4: the tag !secret is not supported" },
	{ "a binary tag",             "a: !!binary aGk=\n",       "t:1:4: the tag" },
	{ "a tag that does not fit",  "a: !!int x\n",             "t:1:4: the tag !!int does not fit" },
	{ "a map as a key",           "{a: 1}: 2\n",              "t:1:1: a map as a key" },
	{ "a list as a key",          "? [a]\n: 2\n",             "t:1:3: a list as a key" },
	{ "a NUL escape",             "{\"a\": \"x\\u0000y\"}",   "t:1:7: a NUL character" },
	{ "a NUL in a key",           "\"a\\0b\": 1",             "t:1:1: a NUL character" },
	{ "half a surrogate pair",    "{\"a\": \"\\ud83d\"}",     "a surrogate needs its other half" },
	{ "the halves swapped",       "{\"a\": \"\\ude00\\ud83d\"}", "a surrogate needs its other half" },
	{ "a surrogate pair in YAML", "key: \"\\ud83d\\ude00\"",  "a surrogate needs its other half" },
	{ "a tab as indentation",     "a:\n\tb: 1\n",             "t:2:1: found character that cannot start any token" },
	{ "a colon too many",         "a: b: c\n",                "t:1:5: mapping values are not allowed" },
	{ "a list inside a map's level", "a: 1\n- b\n",           "t:2:1: did not find expected key" },
	{ "an open bracket",          "a: [1, 2\nb: 3\n",         "did not find expected ','" },
	{ "an open quote",            "a: \"x\n",                 "close the quote" },
	{ "a control character",      "a: x\001y\n",              "t:1:5: control characters are not allowed" },
	{ "not UTF-8",                "a: 1\nb: \xff\xfe\n",      "t:2:4: invalid leading UTF-8 octet; save the file as UTF-8" },
	{ "a Unicode line end",       "a: x\xe2\x80\xa8y\n",      "t:1:5: an invisible Unicode line end" },
	{ "UTF-16",                   "\xff\xfe" "a",             "save the file as UTF-8" },
};

static void test_refused(void)
{
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		struct ls_node *root = NULL;
		struct ls_err err = LS_ERR_INIT;
		ls_status st = ls_node_parse("t", refused[i].text, strlen(refused[i].text), &root, &err);

		check(refused[i].says, st == LS_USAGE && !root, "is LS_USAGE");
		check(refused[i].says, strstr(err.text, refused[i].want), err.text);
	}
}

static const struct {
	const char *says, *assignment, *want; /* JSON of the tree, or the error's words */
} settings[] = {
	{ "replaces a number",             "a.b=2",        "{\"a\":{\"b\":2,\"c\":[1,{\"d\":1}]},\"n\":null}" },
	{ "types as YAML does",            "a.b=yes",      "{\"a\":{\"b\":\"yes\",\"c\":[1,{\"d\":1}]},\"n\":null}" },
	{ "quotes make text",              "a.b=\"2\"",    "{\"a\":{\"b\":\"2\",\"c\":[1,{\"d\":1}]},\"n\":null}" },
	{ "an empty value is null",        "a.b=",         "{\"a\":{\"b\":null,\"c\":[1,{\"d\":1}]},\"n\":null}" },
	{ "the value may hold =",          "a.b=x=y",      "{\"a\":{\"b\":\"x=y\",\"c\":[1,{\"d\":1}]},\"n\":null}" },
	{ "makes the maps on the way",     "x.y.z=1",      "{\"a\":{\"b\":1,\"c\":[1,{\"d\":1}]},\"n\":null,\"x\":{\"y\":{\"z\":1}}}" },
	{ "a null becomes a map",          "n.y.z=1",      "{\"a\":{\"b\":1,\"c\":[1,{\"d\":1}]},\"n\":{\"y\":{\"z\":1}}}" },
	{ "adds beside what is there",     "a.e=1",        "{\"a\":{\"b\":1,\"c\":[1,{\"d\":1}],\"e\":1},\"n\":null}" },
	{ "an entry of a list",            "a.c.0=9",      "{\"a\":{\"b\":1,\"c\":[9,{\"d\":1}]},\"n\":null}" },
	{ "through an entry of a list",    "a.c.1.d=9",    "{\"a\":{\"b\":1,\"c\":[1,{\"d\":9}]},\"n\":null}" },
	{ "a whole list",                  "a=[1, x]",     "{\"a\":[1,\"x\"],\"n\":null}" },
	{ "no entry of a list",            "a.c.2=9",      "--set a.c.2=9: '2' is not an entry of the list" },
	{ "a name is no entry",            "a.c.d=9",      "'d' is not an entry of the list" },
	{ "a number has no fields",        "a.b.c=9",      "'c' has no place: what is before it is an integer" },
	{ "no =",                          "a.b",          "no '='" },
	{ "an empty part",                 "a..b=1",       "an empty part" },
	{ "a bad value",                   "a=[1",         "--set a=[1: value:2:1: did not find expected ','" },
};

static void print_json(const struct ls_node *node, struct ls_str *ret)
{
	const struct ls_node *at;
	bool map = node->type == LS_NODE_MAP;

	if (node->type == LS_NODE_STRING) {
		ls_str_addf(ret, "\"%s\"", node->text);
	} else if (!map && node->type != LS_NODE_LIST) {
		ls_str_add(ret, node->type == LS_NODE_NULL ? "null" : node->text);
	} else {
		ls_str_add(ret, map ? "{" : "[");
		for (at = node->child; at; at = at->next) {
			if (map)
				ls_str_addf(ret, "\"%s\":", at->key);
			print_json(at, ret);
			ls_str_add(ret, at->next ? "," : "");
		}
		ls_str_add(ret, map ? "}" : "]");
	}
}

static void test_set(void)
{
	static const char before[] = "{\"a\":{\"b\":1,\"c\":[1,{\"d\":1}]},\"n\":null}";

	for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++) {
		struct ls_node *root = parse(settings[i].says, before);
		struct ls_err err = LS_ERR_INIT;
		struct ls_str json = { 0 };
		ls_status st = ls_node_set(root, settings[i].assignment, &err);

		print_json(root, &json);
		if (settings[i].want[0] == '{') {
			check(settings[i].says, !st && !strcmp(ls_str_text(&json), settings[i].want), ls_str_text(&json));
		} else {
			check(settings[i].says, st == LS_USAGE && strstr(err.text, settings[i].want), err.text);
			check(settings[i].says, !strcmp(ls_str_text(&json), before), "a failure changes nothing");
		}
		ls_str_release(&json);
		ls_node_free(root);
	}
}

static void test_places(void)
{
	struct ls_node *root = parse("places", "a: 1\nspec:\n  b:\n    - x\n    - c: 2\n");
	const struct ls_node *spec = ls_node_get(root, "spec"), *b = ls_node_get(spec, "b");
	const struct ls_node *c = ls_node_get(b->child->next, "c");

	check("a map has its key's line", spec->line == 2 && spec->column == 1, "spec");
	check("so has a list", b->line == 3 && b->column == 3, "b");
	check("an entry has its own", b->child->line == 4 && b->child->column == 7, "x");
	check("a value has its key's", c->line == 5 && c->column == 7, "c");
	check("a list counts its entries", ls_node_count(b) == 2, "count");
	check("what is no map has no fields", !ls_node_get(b, "c") && !ls_node_get(NULL, "c"), "get");
	CU_ASSERT_EQUAL(ls_node_set(root, "spec.b=[1]", NULL), LS_OK);
	check("--set has line -1", ls_node_get(spec, "b")->child->line == -1, "line");
	ls_node_free(root);
}

/* --- limits ------------------------------------------------------------------------------------------------------- */

static ls_status repeated(const char *head, const char *text, size_t n, const char *tail, struct ls_err *err)
{
	struct ls_str all = { 0 };
	struct ls_node *root = NULL;
	ls_status st;

	ls_str_add(&all, head);
	for (size_t i = 0; i < n; i++)
		ls_str_add(&all, text);
	ls_str_add(&all, tail);
	st = ls_node_parse("t", ls_str_text(&all), all.len, &root, err);
	ls_node_free(root);
	ls_str_release(&all);
	return st;
}

static void test_limits(void)
{
	struct ls_err err = LS_ERR_INIT;
	struct ls_node *root = NULL;
	struct ls_str keys = { 0 };

	check("64 levels", repeated("", "[", 63, "1", &err) && strstr(err.text, "expected ','"), "are fine");
	check("65 levels", repeated("", "[", 65, "", &err) == LS_USAGE && strstr(err.text, "deeper than 64"), err.text);
	check("a million levels of [", repeated("", "[", 1000000, "", &err) == LS_USAGE, err.text);
	check("a million levels of -", repeated("", "- ", 1000000, "", &err) == LS_USAGE, err.text);
	check("a million levels of ?", repeated("", "? ", 1000000, "", &err) == LS_USAGE, err.text);
	check("a million levels of {a:", repeated("", "{a: ", 1000000, "", &err) == LS_USAGE, err.text);
	check("199,998 values", !repeated("[", "1,", 199998, "]", &err), "are fine");
	check("200,001 values", repeated("[", "1,", 200001, "]", &err) == LS_USAGE && strstr(err.text, "more than 200000"),
		err.text);
	check("17 MiB", repeated("", "#234567890123456\n", 1u << 20, "", &err) == LS_USAGE && strstr(err.text, "16 MiB"), err.text);
	for (int i = 0; i < 150000; i++)
		ls_str_addf(&keys, "k%d: 1\n", i);
	check("150,000 keys of one map", !ls_node_parse("t", keys.s, keys.len, &root, &err), "are quick");
	ls_node_free(root);
	ls_str_release(&keys);
}

/* --- cJSON -------------------------------------------------------------------------------------------------------- */

static void test_cjson(void)
{
	static const char text[] = "{\"a\":{\"b\":[1,-2.5,\"x\",true,null,9007199254740992,1e300]},\"c\":{}}";
	cJSON *json = cJSON_Parse(text), *deep = cJSON_CreateArray(), *twice = cJSON_CreateObject();
	struct ls_node *root = NULL;
	struct ls_str out = { 0 };
	struct ls_err err = LS_ERR_INIT;

	CU_ASSERT_EQUAL(ls_node_from_cjson(json, &root, &err), LS_OK);
	print_json(root, &out);
	check("an object of the API server", !strcmp(ls_str_text(&out),
		"{\"a\":{\"b\":[1,-2.5,\"x\",true,null,9007199254740992,1.0000000000000001e+300]},\"c\":{}}"), ls_str_text(&out));
	check("it has no lines", root->line == 0 && root->child->line == 0, "line");
	ls_node_free(root);
	root = NULL;
	for (int i = 0; i < 64; i++) {
		cJSON *outer = cJSON_CreateArray();

		cJSON_AddItemToArray(outer, deep);
		deep = outer;
	}
	check("too deep", ls_node_from_cjson(deep, &root, &err) == LS_USAGE && !root, "is refused");
	cJSON_AddNumberToObject(twice, "a", 1);
	cJSON_AddNumberToObject(twice, "a", 2);
	check("a key twice", ls_node_from_cjson(twice, &root, &err) == LS_USAGE && !root, "is refused");
	ls_str_release(&out);
	cJSON_Delete(json);
	cJSON_Delete(deep);
	cJSON_Delete(twice);
}

/* --- property: print, parse, compare ------------------------------------------------------------------------------ */

static uint64_t seed;

static unsigned rnd(unsigned below)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (unsigned)(seed >> 33) % below;
}

static char *random_text(void)
{
	static const char *const bits[] = { "a", "Z", "0", " ", "  ", "\n", "\t", "\"", "'", "\\", ": ", " #", "- ", "{", "}", "[",
		",", "%", "@", "`", "|", ">", "&", "*", "!", "?", "true", "null", "~", "1e3", ".5", "\xc3\xa9", "\xe6\x97\xa5",
		"\xf0\x9f\x98\x80", "\x01", "\x1f", "\x7f", "\xc2\x85", "\xe2\x80\xa8", "=", "$(A)", "---", "..." };
	struct ls_str text = { 0 };

	for (unsigned n = rnd(6); n > 0; n--)
		ls_str_add(&text, bits[rnd(sizeof(bits) / sizeof(bits[0]))]);
	return ls_str_steal(&text);
}

static char *random_scalar(enum ls_node_type type)
{
	static const char *const words[][4] = {
		[LS_NODE_NULL] = { "null", "null", "null", "null" },
		[LS_NODE_BOOL] = { "true", "false", "true", "false" },
		[LS_NODE_INT] = { "0", "-12", "9223372036854775807", "42" },
		[LS_NODE_FLOAT] = { "0.5", "-1e3", "1.25E-7", "18446744073709551616" },
	};

	return type == LS_NODE_STRING ? random_text() : strdup(words[type][rnd(4)]);
}

static struct ls_node *random_tree(int levels)
{
	struct ls_node *node = calloc(1, sizeof(*node));
	bool inner = levels > 1 && rnd(3);

	node->type = inner ? (rnd(2) ? LS_NODE_MAP : LS_NODE_LIST) : (enum ls_node_type)rnd(LS_NODE_LIST);
	if (!inner)
		node->text = random_scalar(node->type);
	for (unsigned n = inner ? rnd(5) : 0; n > 0; n--) {
		struct ls_node *entry = random_tree(levels - 1);

		if (node->type == LS_NODE_MAP) {
			struct ls_str key = { 0 };
			char *text = random_text();

			ls_str_addf(&key, "%s%u", text, n); /* the number keeps keys apart */
			entry->key = ls_str_steal(&key);
			free(text);
		}
		entry->next = node->child;
		node->child = entry;
	}
	return node;
}

static unsigned next_char(const unsigned char **p)
{
	unsigned c = *(*p)++;
	int more = c < 0x80 ? 0 : c < 0xe0 ? 1 : c < 0xf0 ? 2 : 3;

	for (c &= more ? 0x3fu >> more : 0x7fu; more > 0; more--)
		c = c << 6 | (*(*p)++ & 0x3f);
	return c;
}

/* In double quotes, which JSON and YAML share; characters beyond ASCII, escaped (`pairs`: as JSON does) or raw. */
static void print_quoted(const char *text, bool pairs, struct ls_str *ret)
{
	const unsigned char *p = (const unsigned char *)text, *start;

	ls_str_add(ret, "\"");
	while (start = p, *p) {
		unsigned c = next_char(&p);

		if (c == '"' || c == '\\')
			ls_str_addf(ret, "\\%c", c);
		else if (c > 0xffff && rnd(2))
			ls_str_addf(ret, pairs ? "\\u%04x\\u%04X" : "\\U%08X", pairs ? 0xd800 + ((c - 0x10000) >> 10) : c,
				0xdc00 + (c & 0x3ff));
		else if (c < ' ' || c == 0x7f || c == 0x85 || c == 0x2028 || (c > 0x7f && c <= 0xffff && rnd(2)))
			ls_str_addf(ret, "\\u%04x", c);
		else
			ls_str_addn(ret, start, (size_t)(p - start));
	}
	ls_str_add(ret, "\"");
}

static void space(struct ls_str *ret, const char *some)
{
	for (unsigned n = rnd(3); n > 0; n--)
		ls_str_addn(ret, some + rnd((unsigned)strlen(some)), 1);
}

static void print_flow(const struct ls_node *node, struct ls_str *ret)
{
	const struct ls_node *at;
	bool map = node->type == LS_NODE_MAP;

	if (node->type == LS_NODE_STRING) {
		print_quoted(node->text, true, ret);
	} else if (!map && node->type != LS_NODE_LIST) {
		ls_str_add(ret, node->text);
	} else {
		ls_str_add(ret, map ? "{" : "[");
		for (at = node->child; at; at = at->next) {
			space(ret, " \t\n");
			if (map) {
				print_quoted(at->key, true, ret);
				ls_str_add(ret, ":");
				space(ret, " \t\n");
			}
			print_flow(at, ret);
			space(ret, " \n");
			ls_str_add(ret, at->next ? "," : "");
		}
		ls_str_add(ret, map ? "}" : "]");
	}
}

static bool printable(const char *text)
{
	return text[strcspn(text, "\x01\x1f\x7f\xc2\xe2\t\n")] == '\0'; /* \xc2, \xe2: the first bytes of the line ends */
}

static void print_block(const struct ls_node *node, int indent, struct ls_str *ret)
{
	const struct ls_node *at;
	bool map = node->type == LS_NODE_MAP;

	if (node->type == LS_NODE_STRING && printable(node->text) && rnd(2)) {
		ls_str_add(ret, " '");
		for (const char *p = node->text; *p; p++)
			ls_str_addf(ret, *p == '\'' ? "''" : "%c", *p);
		ls_str_add(ret, "'\n");
	} else if (node->type == LS_NODE_STRING && *node->text && *node->text != ' ' && printable(node->text) && rnd(2)) {
		ls_str_addf(ret, " |-\n%*s%s\n", indent + 1, "", node->text);
	} else if (node->type == LS_NODE_STRING) {
		ls_str_add(ret, " ");
		print_quoted(node->text, false, ret);
		ls_str_add(ret, "\n");
	} else if (!node->child) {
		ls_str_addf(ret, " %s\n", map ? "{}" : node->type == LS_NODE_LIST ? "[]" : node->text);
	} else {
		ls_str_add(ret, rnd(2) ? " # why\n" : "\n");
		for (at = node->child; at; at = at->next) {
			ls_str_addf(ret, "%*s", indent, "");
			if (map)
				print_quoted(at->key, false, ret);
			ls_str_add(ret, map ? ":" : "-");
			print_block(at, indent + 2, ret);
		}
	}
}

static bool equal(const struct ls_node *a, const struct ls_node *b)
{
	for (; a && b; a = a->next, b = b->next) {
		if (a->type != b->type || !a->key != !b->key || (a->key && strcmp(a->key, b->key)) || !a->text != !b->text ||
			(a->text && strcmp(a->text, b->text)) || !equal(a->child, b->child))
			return false;
	}
	return !a && !b;
}

static void test_round_trip(void)
{
	for (int i = 0; i < 4000; i++) {
		uint64_t from = seed;
		struct ls_node *tree = random_tree(6), *back = NULL;
		struct ls_str text = { 0 };
		struct ls_err err = LS_ERR_INIT;
		char says[80];

		snprintf(says, sizeof(says), "LS_SEED=%llu", (unsigned long long)from);
		if (rnd(2))
			print_flow(tree, &text);
		else if (tree->child || tree->type != LS_NODE_STRING)
			print_block(tree, 0, &text);
		else
			print_quoted(tree->text, false, &text);
		if (ls_node_parse("t", ls_str_text(&text), text.len, &back, &err))
			check(says, false, err.text);
		else if (!equal(tree, back))
			check(says, false, ls_str_text(&text));
		ls_str_release(&text);
		ls_node_free(tree);
		ls_node_free(back);
	}
}

int main(void)
{
	const char *given = getenv("LS_SEED");
	CU_pSuite suite;

	seed = given ? strtoull(given, NULL, 10) : 20240229;
	if (CU_initialize_registry() || !(suite = CU_add_suite("node", NULL, NULL)))
		return 1;
	CU_ADD_TEST(suite, test_typing);
	CU_ADD_TEST(suite, test_refused);
	CU_ADD_TEST(suite, test_set);
	CU_ADD_TEST(suite, test_places);
	CU_ADD_TEST(suite, test_limits);
	CU_ADD_TEST(suite, test_cjson);
	CU_ADD_TEST(suite, test_round_trip);
	CU_basic_run_tests();
	given = CU_get_number_of_failures() ? "failed" : NULL;
	CU_cleanup_registry();
	return given ? 1 : 0;
}
