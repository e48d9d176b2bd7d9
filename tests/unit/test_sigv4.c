/* test_sigv4.c -- signatures: AWS's published examples, and awkward keys and queries as botocore's S3SigV4Auth signs
 * them. */
#include "core/sigv4.h"

#include <CUnit/Basic.h>
#include <stdio.h>
#include <string.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define EMPTY "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" /* SHA-256 of nothing */
#define MAY_24_2013 1369353600
#define AWS "examplebucket.s3.amazonaws.com"
#define OWN "127.0.0.1:9000"

static const struct row {
	const char *says, *method, *host, *path, *query[4], *headers[4], *payload, *token;
	const char *target, *names, *signature;
} rows[] = {
	/* https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html */
	{ "AWS: GET object", "GET", AWS, "/test.txt", { 0 }, { "Range: bytes=0-9" }, EMPTY, "", "/test.txt",
		"host;range;x-amz-content-sha256;x-amz-date",
		"f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41" },
	{ "AWS: PUT object", "PUT", AWS, "/test$file.text", { 0 },
		{ "Date: Fri, 24 May 2013 00:00:00 GMT", "x-amz-storage-class: REDUCED_REDUNDANCY" },
		"44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072", "", "/test%24file.text",
		"date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
		"98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd" },
	{ "AWS: GET bucket lifecycle", "GET", AWS, "/", { "lifecycle" }, { 0 }, EMPTY, "",
		"/?lifecycle=", "host;x-amz-content-sha256;x-amz-date",
		"fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543" },
	{ "AWS: list objects", "GET", AWS, "/", { "prefix=J", "max-keys=2" }, { 0 }, EMPTY, "", "/?max-keys=2&prefix=J",
		"host;x-amz-content-sha256;x-amz-date",
		"34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7" },
#define GET(path) "GET", OWN, path
#define PLAIN { 0 }, LS_UNSIGNED_PAYLOAD, ""
#define NAMES "host;x-amz-content-sha256;x-amz-date"
	{ "a space", GET("/b/a key"), { 0 }, PLAIN, "/b/a%20key", NAMES,
		"c70ae455fbee330cf07161f41f8b68c1d2d56e6c5fb6507085d6b2a2968e9d9e" },
	{ "a plus", GET("/b/a+key"), { 0 }, PLAIN, "/b/a%2Bkey", NAMES,
		"3cca07d1f7436c7c18d24baa21f5cf8ae3b653b3123b3b0a171a6ee9c0453d16" },
	{ "a percent", GET("/b/100%25"), { 0 }, PLAIN, "/b/100%2525", NAMES,
		"595c504ec2aa8d708b9a0678cca4be6d5d52e607ce084cf573bc429461643106" },
	{ "equals, colon, tilde", GET("/b/k=v:w~x"), { 0 }, PLAIN, "/b/k%3Dv%3Aw~x", NAMES,
		"ff8a2e36d083a90c9703b09efa9505e0c066d829a377eb92b4362133081454ee" },
	{ "unicode", GET("/b/día/日本"), { 0 }, PLAIN, "/b/d%C3%ADa/%E6%97%A5%E6%9C%AC", NAMES,
		"345dc0c5ce48e3af4d857cba825fd8c1a19ec969295611d9493d735458bdd76c" },
	{ "two slashes", GET("/b//x//y"), { 0 }, PLAIN, "/b//x//y", NAMES,
		"89ac52050ba6b0f220eeb07f2766693159dcb231c463abcf3db4e6c934af70f5" },
	{ "dots", GET("/b/./../.x"), { 0 }, PLAIN, "/b/./../.x", NAMES,
		"fdc55b704432d3535de6e0fff7095eda69a0d99009140782eb77e201fa17a513" },
	{ "a query's delimiters in a key", GET("/b/a?b&c#d"), { 0 }, PLAIN, "/b/a%3Fb%26c%23d", NAMES,
		"b73f2f6a233ffe3df7ab432a85d912a023e14e4baa375fbbb430be176f1c379b" },
	{ "quotes and the rest", GET("/b/'()*!,;$@[]{}|\\^`\"<>"), { 0 }, PLAIN,
		"/b/%27%28%29%2A%21%2C%3B%24%40%5B%5D%7B%7D%7C%5C%5E%60%22%3C%3E", NAMES,
		"b6cca4e5cf886656fe3a56a174c994951b9d3ef1d3bdc7af6dd5393c14619efe" },
	{ "control bytes", GET("/b/\x01\x7f"), { 0 }, PLAIN, "/b/%01%7F", NAMES,
		"967c2c7f55f54f06ba64efe7df131956eaba2ac7057b827a0a5eff073b33f00c" },
	{ "an empty value", GET("/b"), { "prefix=", "list-type=2" }, PLAIN, "/b?list-type=2&prefix=", NAMES,
		"464b8beb372b016a92c7c67e758e7a08dc402ac3f7d6338f71a20ed7ff408b33" },
	{ "a continuation token", GET("/b"), { "list-type=2", "continuation-token=1x+/w==", "start-after=a b" }, PLAIN,
		"/b?continuation-token=1x%2B%2Fw%3D%3D&list-type=2&start-after=a%20b", NAMES,
		"376f4a5a34bab5ab0471719db983ab629da67ce90cfee9af52ad37c6a2c7e305" },
	{ "one name begins the other", GET("/b"), { "a-b=1", "a=2" }, PLAIN, "/b?a=2&a-b=1", NAMES,
		"e8753194477602f9a899d7b9ee47ae77467f9b53c807abb757773afd3e285b09" },
	{ "a name three times", GET("/b"), { "k=b", "k=a", "k=a b" }, PLAIN, "/b?k=a&k=a%20b&k=b", NAMES,
		"028b1d814d532a99b4f6ebd09c706a8fddf7ad30bdd3d2e6d216cb0f5e2419a1" },
	{ "a unicode prefix", GET("/b"), { "prefix=日/", "delimiter=/" }, PLAIN, "/b?delimiter=%2F&prefix=%E6%97%A5%2F",
		NAMES, "4426af9d03e09d8fd3629ae6c0c9ad030a5094c1c969a4177052009c0e4f1355" },
	{ "a part's upload", GET("/b/k"), { "uploadId=a~b.c-d_e", "partNumber=10" }, PLAIN,
		"/b/k?partNumber=10&uploadId=a~b.c-d_e", NAMES,
		"991e9c522f8add6b865b3cd3cf3531706c7a409fb06e7287af0f65e02973ccec" },
	{ "a session token", GET("/b/k"), { 0 }, { 0 }, LS_UNSIGNED_PAYLOAD, "IQoJ//token==", "/b/k",
		NAMES ";x-amz-security-token", "85d2541f616d5a93954f0c4ac2f365cde815f47f9dfceac1df63f00d1fa20ff2" },
	{ "blanks in a header, and order by name", "PUT", OWN, "/b/k", { 0 },
		{ "x-amz-meta-a:   two   words ", "If-None-Match: *", "Content-Type:a/b" }, LS_UNSIGNED_PAYLOAD, "",
		"/b/k", "content-type;host;if-none-match;x-amz-content-sha256;x-amz-date;x-amz-meta-a",
		"8eb96e98705b1b6980cfac7b25f83317f1005d5d407c895148f847e28545c4ca" },
};

static void check(bool ok, const char *says, const char *got)
{
	if (!ok)
		printf("\n    failed: %s: %s", says, got);
	CU_ASSERT(ok);
}

static void fill(struct ls_strv *list, const char *const text[4])
{
	int i;

	for (i = 0; i < 4 && text[i]; i++)
		ls_strv_add(list, text[i]);
}

static struct ls_sigv4 request(const struct row *r, const struct ls_strv *query, const struct ls_strv *headers)
{
	return (struct ls_sigv4){ r->method, r->host, r->path, query, headers, r->payload, "s3", "us-east-1",
		MAY_24_2013 };
}

static struct ls_creds credentials(const char *token)
{
	struct ls_creds c = { "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "" };

	snprintf(c.session_token, sizeof(c.session_token), "%s", token);
	return c;
}

static void sign_row(const struct row *r)
{
	struct ls_strv query = { 0 }, headers = { 0 }, got = { 0 };
	struct ls_creds creds = credentials(r->token);
	struct ls_err err = LS_ERR_INIT;
	struct ls_str target = { 0 };
	struct ls_sigv4 rq;
	char want[512];

	fill(&query, r->query);
	fill(&headers, r->headers);
	rq = request(r, &query, &headers);
	snprintf(want, sizeof(want),
		"Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, "
		"SignedHeaders=%s, Signature=%s",
		r->names, r->signature);
	check(!ls_sigv4_target(&rq, &target, &err), r->says, err.text);
	check(!strcmp(ls_str_text(&target), r->target), r->says, ls_str_text(&target));
	check(!ls_sigv4_sign(&rq, &creds, &got, &err), r->says, err.text);
	check(got.n == (*r->token ? 4 : 3) && !strcmp(got.v[got.n - 1], want), r->says,
		got.n ? got.v[got.n - 1] : "nothing");
	check(got.n && !strcmp(got.v[0], "x-amz-date: 20130524T000000Z"), r->says, got.n ? got.v[0] : "nothing");
	ls_str_release(&target);
	ls_strv_release(&query);
	ls_strv_release(&headers);
	ls_strv_release(&got);
}

static void test_rows(void)
{
	size_t i;

	for (i = 0; i < COUNT(rows); i++)
		sign_row(&rows[i]);
}

/* Headers of one name are one, joined in their order; botocore sends none twice, so this is by equivalence. */
static void test_duplicates(void)
{
	const char *twice[4] = { "x-amz-meta-k: b", "x-amz-meta: 0", "X-Amz-Meta-K: a" },
		   *joined[4] = { "x-amz-meta: 0", "x-amz-meta-k: b,a" };
	struct ls_strv lists[2] = { 0 }, got[2] = { 0 };
	struct ls_creds creds = credentials("");
	int i;

	fill(&lists[0], twice);
	fill(&lists[1], joined);
	for (i = 0; i < 2; i++) {
		struct ls_sigv4 rq = request(&rows[0], NULL, &lists[i]);

		CU_ASSERT_FATAL(ls_sigv4_sign(&rq, &creds, &got[i], NULL) == LS_OK);
	}
	check(!strcmp(got[0].v[2], got[1].v[2]), "two headers of one name", got[0].v[2]);
	check(strstr(got[0].v[2], "x-amz-date;x-amz-meta;x-amz-meta-k,") != NULL, "each name once, in order",
		got[0].v[2]);
	for (i = 0; i < 2; i++) {
		ls_strv_release(&lists[i]);
		ls_strv_release(&got[i]);
	}
}

static void test_payload(void)
{
	struct iovec iov[] = { { "Welcome to ", 11 }, { NULL, 0 }, { "Amazon S3.", 10 } };
	struct ls_creds creds = credentials("");
	struct ls_strv got = { 0 };
	struct ls_err err = LS_ERR_INIT;
	struct ls_sigv4 rq = request(&rows[0], NULL, NULL);
	char sum[65];

	ls_sha256_hex(iov, 3, sum);
	check(!strcmp(sum, rows[1].payload), "pieces are hashed as one", sum);
	ls_sha256_hex(NULL, 0, sum);
	check(!strcmp(sum, EMPTY), "nothing", sum);
	rq.payload = "";
	check(ls_sigv4_sign(&rq, &creds, &got, &err) == LS_AGAIN && !got.n, "no hash is never signed", err.text);
}

int main(void)
{
	CU_pSuite suite;
	unsigned failed;

	CU_initialize_registry();
	suite = CU_add_suite("sigv4", NULL, NULL);
	CU_add_test(suite, "examples and awkward keys", test_rows);
	CU_add_test(suite, "headers of one name", test_duplicates);
	CU_add_test(suite, "hash of the payload", test_payload);
	CU_basic_set_mode(CU_BRM_VERBOSE);
	CU_basic_run_tests();
	failed = CU_get_number_of_failures() + CU_get_number_of_suites_failed();
	CU_cleanup_registry();
	return failed ? 1 : 0;
}
