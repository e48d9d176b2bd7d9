/* test_s3.c -- the parts of s3:// that need no server: what answers mean, XML, sizes of parts, addresses, and walking over vectors. */
#include "core/crc32c.h"
#include "core/iov.h"
#include "core/s3_call.h"
#include "core/s3_xml.h"

#include <CUnit/Basic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define MIB ((uint64_t)1 << 20)

static void check(bool ok, const char *says, const char *got)
{
	if (!ok)
		printf("\n    failed: %s: %s", says, got);
	CU_ASSERT(ok);
}

static const struct {
	const char *says;
	int status;
	const char *code;
	long off_s;
	bool body;
	enum ls_s3_verdict want;
} answers[] = {
	{ "no whole answer may come the next time", 0, "", 0, true, LS_S3_AGAIN },
	{ "200 is good", 200, "", 0, true, LS_S3_DONE },
	{ "so is 206", 206, "", 0, true, LS_S3_DONE },
	{ "200 with an error in it is none", 200, "InternalError", 0, true, LS_S3_AGAIN },
	{ "nor is it with one that nobody knows", 200, "Error", 0, true, LS_S3_AGAIN },
	{ "200 with a conflict in it is one", 200, "ConditionalRequestConflict", 0, true, LS_S3_OVER },
	{ "500 may pass", 500, "", 0, true, LS_S3_AGAIN },
	{ "SlowDown does", 503, "SlowDown", 0, true, LS_S3_AGAIN },
	{ "429 does", 429, "", 0, true, LS_S3_AGAIN },
	{ "400 RequestTimeout does", 400, "RequestTimeout", 0, true, LS_S3_AGAIN },
	{ "a full disk may be emptied", 507, "XMinioStorageFull", 0, true, LS_S3_AGAIN },
	{ "501 does not pass", 501, "NotImplemented", 0, true, LS_S3_REFUSED },
	{ "bytes that changed", 400, "BadDigest", 0, true, LS_S3_DAMAGED },
	{ "bytes that do not match their signature", 400, "XAmzContentSHA256Mismatch", 0, true, LS_S3_DAMAGED },
	{ "an expired token", 400, "ExpiredToken", 0, true, LS_S3_RENEW },
	{ "HEAD cannot say that it expired", 400, "", 0, false, LS_S3_RENEW },
	{ "a bad request is one", 400, "InvalidArgument", 0, true, LS_S3_REFUSED },
	{ "a wrong clock", 403, "RequestTimeTooSkewed", 0, true, LS_S3_CLOCK },
	{ "a wrong clock that HEAD cannot tell", 403, "", 3600, false, LS_S3_CLOCK },
	{ "a clock that is behind", 403, "SignatureDoesNotMatch", -3600, true, LS_S3_CLOCK },
	{ "a clock that is right", 403, "SignatureDoesNotMatch", 5, true, LS_S3_REFUSED },
	{ "no permission", 403, "AccessDenied", 0, true, LS_S3_REFUSED },
	{ "no such key", 404, "NoSuchKey", 0, true, LS_S3_MISSING },
	{ "no such key, says HEAD", 404, "", 0, false, LS_S3_MISSING },
	{ "no such bucket", 404, "NoSuchBucket", 0, true, LS_S3_REFUSED },
	{ "no such upload: its owner looks", 404, "NoSuchUpload", 0, true, LS_S3_OVER },
	{ "a key that is taken", 412, "PreconditionFailed", 0, true, LS_S3_TAKEN },
	{ "a key that is taken, without a word", 412, "", 0, true, LS_S3_TAKEN },
	{ "beyond the end", 416, "InvalidRange", 0, true, LS_S3_SHORT },
	{ "another region", 301, "PermanentRedirect", 0, true, LS_S3_REFUSED },
};

static void test_judge(void)
{
	char got[40];
	size_t i;

	for (i = 0; i < COUNT(answers); i++) {
		enum ls_s3_verdict v = ls_s3_judge(answers[i].status, answers[i].code, answers[i].off_s, answers[i].body);

		snprintf(got, sizeof(got), "verdict %d", (int)v);
		check(v == answers[i].want, answers[i].says, got);
	}
}

static const struct {
	const char *says;
	int tries, retry_after_s;
	uint32_t random;
	int want;
} pauses[] = {
	{ "the first is at most 200 ms", 1, 0, 200, 200 },
	{ "and may be nothing", 1, 0, 201, 0 },
	{ "each doubles it", 4, 0, 1600, 1600 },
	{ "up to 20 s", 12, 0, 20000, 20000 },
	{ "whatever the number", 1000, 0, 20001, 0 },
	{ "the server's word is the least", 1, 7, 5, 7000 },
	{ "within reason", 1, 2000000000, 0, 3600000 },
};

static void test_pauses(void)
{
	char got[40];
	size_t i;

	for (i = 0; i < COUNT(pauses); i++) {
		int ms = ls_s3_pause_ms(pauses[i].tries, pauses[i].retry_after_s, pauses[i].random);

		snprintf(got, sizeof(got), "%d ms", ms);
		check(ms == pauses[i].want, pauses[i].says, got);
	}
}

static void test_parts(void)
{
	static const struct {
		uint64_t total, bytes;
		int n;
	} rows[] = { { 16 * MIB + 1, 8 * MIB, 3 }, { 24 * MIB, 8 * MIB, 3 }, { 1024 * MIB, 16 * MIB, 64 }, { 64 * 64 * MIB, 64 * MIB, 64 },
		{ 10000 * 64 * MIB, 64 * MIB, 10000 }, { 10000 * 64 * MIB + 1, 128 * MIB, 5001 }, { 5 * MIB * MIB, 1024 * MIB, 5120 } };
	char got[80];
	size_t i;

	for (i = 0; i < COUNT(rows); i++) {
		struct ls_s3_parts p = ls_s3_put_parts(rows[i].total);

		snprintf(got, sizeof(got), "%d of %llu", p.n, (unsigned long long)p.bytes);
		check(p.n == rows[i].n && p.bytes == rows[i].bytes, "parts", got);
	}
	CU_ASSERT_EQUAL(ls_s3_get_parts(16 * MIB).n, 1);
	CU_ASSERT_EQUAL(ls_s3_get_parts(16 * MIB + 1).n, 3);
}

static const struct {
	const char *bucket, *region, *endpoint, *addressing;
	ls_status want;
	const char *origin, *host, *path;
} places[] = {
	{ "b", "eu-central-1", "", "", LS_OK, "https://b.s3.eu-central-1.amazonaws.com", "b.s3.eu-central-1.amazonaws.com", "/" },
	{ "b.c", "us-east-1", "", "", LS_OK, "https://s3.us-east-1.amazonaws.com", "s3.us-east-1.amazonaws.com", "/b.c/" },
	{ "b", "us-east-1", "", "path", LS_OK, "https://s3.us-east-1.amazonaws.com", "s3.us-east-1.amazonaws.com", "/b/" },
	{ "b", "cn-north-1", "", "", LS_OK, "https://b.s3.cn-north-1.amazonaws.com.cn", "b.s3.cn-north-1.amazonaws.com.cn", "/" },
	{ "b", "x", "http://127.0.0.1:9000", "", LS_OK, "http://127.0.0.1:9000", "127.0.0.1:9000", "/b/" },
	{ "b", "x", "http://127.0.0.1:9000/", "auto", LS_OK, "http://127.0.0.1:9000", "127.0.0.1:9000", "/b/" },
	{ "b", "x", "http://[::1]:9000/s3/", "", LS_OK, "http://[::1]:9000", "[::1]:9000", "/s3/b/" },
	{ "b", "x", "https://host:443", "virtual", LS_OK, "https://b.host", "b.host", "/" },
	{ "b", "x", "http://host:80", "", LS_OK, "http://host", "host", "/b/" },
	{ "b", "x", "https://host:80", "", LS_OK, "https://host:80", "host:80", "/b/" },
	{ "b", "x", "host:9000", "", LS_USAGE, NULL, NULL, NULL },
	{ "b", "x", "file:///etc", "", LS_USAGE, NULL, NULL, NULL },
	{ "b", "x", "http://", "", LS_USAGE, NULL, NULL, NULL },
	{ "b", "x", "http://user:secret@host", "", LS_USAGE, NULL, NULL, NULL },
};

static void test_places(void)
{
	size_t i;

	for (i = 0; i < COUNT(places); i++) {
		struct ls_s3 s = { .bucket = (char *)places[i].bucket, .region = (char *)places[i].region };
		struct ls_err err = LS_ERR_INIT;
		ls_status st = ls_s3_locate(&s, places[i].endpoint, places[i].addressing, &err);

		check(st == places[i].want, places[i].endpoint, err.text);
		if (!st) {
			check(!strcmp(s.origin, places[i].origin), places[i].endpoint, s.origin);
			check(!strcmp(s.host, places[i].host), places[i].endpoint, s.host);
			check(!strcmp(s.path, places[i].path), places[i].endpoint, s.path);
		}
		free(s.origin);
		free(s.host);
		free(s.path);
	}
}

/* "root code more next id | key id code bytes | …" */
static const char *told(const char *xml)
{
	static char text[1000];
	struct ls_str str = { (char *)xml, strlen(xml), 0, false };
	struct ls_s3_doc d = { 0 };
	ls_status st = ls_s3_doc_read(&str, &d, NULL);
	size_t i;

	if (st)
		return ls_status_name(st);
	snprintf(text, sizeof(text), "%s %s %d %s %s", d.root, d.code ? d.code : "-", d.more, d.next ? d.next : "-", d.id ? d.id : "-");
	for (i = 0; i < d.n; i++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), " | %s %s %s %llu", d.v[i].key, d.v[i].id ? d.v[i].id : "-",
			d.v[i].code ? d.v[i].code : "-", (unsigned long long)d.v[i].bytes);
	ls_s3_doc_release(&d);
	return text;
}

static const struct {
	const char *says, *xml, *want;
} docs[] = {
	{ "an error", "<?xml version=\"1.0\"?><Error><Code>SlowDown</Code><Message>m</Message><HostId>h</HostId></Error>", "Error SlowDown 0 - -" },
	{ "an empty list", "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>", "ListBucketResult - 0 - -" },
	{ "a page of objects, with a name space",
		"<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><IsTruncated>true</IsTruncated>"
		"<Contents><Key>a &amp;b</Key><Size>12</Size><Owner><ID>x</ID><Key>no</Key></Owner></Contents><Contents><Size>3</Size><Key>%41</Key>"
		"</Contents><NextContinuationToken>1+/=%41</NextContinuationToken></ListBucketResult>",
		"ListBucketResult - 1 1+/=%41 - | a &b - - 12 | %41 - - 3" },
	{ "encoded keys", "<L><Contents><Key>a%2Bb+c%25%C3%BC%4</Key></Contents><EncodingType>url</EncodingType></L>",
		"L - 0 - - | a+b c%\xc3\xbc%4 - - 0" },
	{ "a prefix on names", "<s:L xmlns:s=\"u\"><s:Contents><s:Key>k</s:Key></s:Contents></s:L>", "L - 0 - - | k - - 0" },
	{ "uploads, whose marker is encoded, too",
		"<ListMultipartUploadsResult><EncodingType>url</EncodingType><NextKeyMarker>a%20b</NextKeyMarker><Upload><Key>a%20b</Key>"
		"<UploadId>u%20</UploadId></Upload></ListMultipartUploadsResult>",
		"ListMultipartUploadsResult - 0 a b - | a b u%20 - 0" },
	{ "a new upload", "<R><Bucket>b</Bucket><UploadId>u1</UploadId></R>", "R - 0 - u1" },
	{ "what was not deleted",
		"<DeleteResult><Deleted><Key>x</Key></Deleted><Error><Key>k</Key><Code>AccessDenied</Code></Error></DeleteResult>",
		"DeleteResult - 0 - - | k - AccessDenied 0" },
	{ "nothing", "", "bad data" },
	{ "text", "Bad Gateway", "bad data" },
	{ "one that is cut off", "<ListBucketResult><Contents><Key>a</Key></Contents>", "bad data" },
	{ "one with more behind it", "<A/><B/>", "bad data" },
	{ "one with entities of its own", "<!DOCTYPE a [<!ENTITY b \"bbbb\">]><a><Code>&b;</Code></a>", "bad data" },
};

static void test_xml(void)
{
	struct ls_str str = { 0 };
	size_t i;

	for (i = 0; i < COUNT(docs); i++)
		check(!strcmp(told(docs[i].xml), docs[i].want), docs[i].says, told(docs[i].xml));
	ls_xml_add(&str, "a<b>&amp;\"\r");
	CU_ASSERT_STRING_EQUAL(ls_str_text(&str), "a&lt;b&gt;&amp;amp;\"&#13;");
	ls_str_release(&str);
}

/* RFC 3720's values, as base64 of four big-endian bytes. */
static void test_base64(void)
{
	char text[9];

	ls_crc32c_base64(0, text);
	CU_ASSERT_STRING_EQUAL(text, "AAAAAA==");
	ls_crc32c_base64(ls_crc32c(0, "123456789", 9), text);
	CU_ASSERT_STRING_EQUAL(text, "4waSgw==");
	ls_crc32c_base64(0xffffffff, text);
	CU_ASSERT_STRING_EQUAL(text, "/////w==");
}

static void test_vectors(void)
{
	char bytes[] = "abcdefghij", got[16];
	struct iovec v[] = { { bytes, 0 }, { bytes, 3 }, { bytes, 0 }, { bytes + 3, 1 }, { bytes + 4, 6 }, { bytes, 0 } }, piece;
	uint64_t offset;
	size_t max, n;

	CU_ASSERT_EQUAL(ls_iov_bytes(v, COUNT(v)), 10);
	for (offset = 0; offset <= 10; offset++)
		for (max = 1; max < 12; max++) {
			struct ls_iov at = ls_iov_at(v, COUNT(v), offset);

			for (n = 0; (piece = ls_iov_next(&at, max)).iov_len; n += piece.iov_len) {
				CU_ASSERT_FATAL(piece.iov_len <= max && n + piece.iov_len <= 10);
				memcpy(got + n, piece.iov_base, piece.iov_len);
			}
			CU_ASSERT(n == 10 - offset && !memcmp(got, bytes + offset, n));
		}
}

int main(void)
{
	unsigned failures = 1;
	CU_pSuite suite;

	if (CU_initialize_registry() != CUE_SUCCESS)
		return 1;
	suite = CU_add_suite("s3", NULL, NULL);
	CU_add_test(suite, "what answers mean", test_judge);
	CU_add_test(suite, "pauses", test_pauses);
	CU_add_test(suite, "parts", test_parts);
	CU_add_test(suite, "places", test_places);
	CU_add_test(suite, "XML", test_xml);
	CU_add_test(suite, "checksums in base64", test_base64);
	CU_add_test(suite, "vectors", test_vectors);
	CU_basic_set_mode(CU_BRM_VERBOSE);
	CU_basic_run_tests();
	failures = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failures != 0;
}
