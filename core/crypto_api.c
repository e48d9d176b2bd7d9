/* crypto_api.c -- see crypto_api.h. The library is never unloaded: it has handlers at exit. */
#include "core/crypto_api.h"
#include "core/symbols.h"

#include <dlfcn.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>

#define LIBRARY "libcrypto.so.3"

#define FUNCTIONS(X)                                                                                                   \
	X(EVP_MD_CTX_new)                                                                                              \
	X(EVP_MD_CTX_free)                                                                                             \
	X(EVP_DigestInit_ex)                                                                                           \
	X(EVP_DigestUpdate)                                                                                            \
	X(EVP_DigestFinal_ex)                                                                                          \
	X(EVP_sha256)                                                                                                  \
	X(HMAC)

static struct {
#define X(name) __typeof__(name) *name;
	FUNCTIONS(X)
#undef X
} api;

static pthread_mutex_t api_lock = PTHREAD_MUTEX_INITIALIZER;
static bool api_loaded;

static const char *const names[] = {
#define X(name) #name,
	FUNCTIONS(X)
#undef X
};

static ls_status load(struct ls_err *err)
{
	void *library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
	const char *missing;

	if (!library)
		return ls_fail(err, LS_USAGE, 0, "s3:// needs OpenSSL 3 (Debian's package libssl3): %s", dlerror());
	missing = ls_symbols(library, names, sizeof(names) / sizeof(names[0]), &api);
	if (missing)
		return ls_fail(
			err, LS_USAGE, 0, LIBRARY " has no %s: install OpenSSL 3 (Debian's package libssl3)", missing);
	api_loaded = true;
	return LS_OK;
}

static ls_status need_api(struct ls_err *err)
{
	ls_status st = LS_OK;

	pthread_mutex_lock(&api_lock);
	if (!api_loaded)
		st = load(err);
	pthread_mutex_unlock(&api_lock);
	return st;
}

static ls_status cannot(const char *what, struct ls_err *err)
{
	return ls_fail(err, LS_AGAIN, 0,
		LIBRARY " cannot compute %s: no memory, or openssl.cnf loads no provider that can", what);
}

ls_status ls_crypto_sha256(const struct iovec *iov, int n, unsigned char ret[LS_SHA256_BYTES], struct ls_err *err)
{
	ls_status st = need_api(err);
	EVP_MD_CTX *ctx;
	bool ok;
	int i;

	if (st)
		return st;
	ctx = api.EVP_MD_CTX_new();
	ok = ctx && api.EVP_DigestInit_ex(ctx, api.EVP_sha256(), NULL);
	for (i = 0; ok && i < n; i++)
		ok = api.EVP_DigestUpdate(ctx, iov[i].iov_base, iov[i].iov_len);
	ok = ok && api.EVP_DigestFinal_ex(ctx, ret, NULL);
	api.EVP_MD_CTX_free(ctx);
	return ok ? LS_OK : cannot("SHA-256", err);
}

ls_status ls_crypto_hmac_sha256(
	const void *key, size_t key_bytes, const char *text, unsigned char ret[LS_SHA256_BYTES], struct ls_err *err)
{
	ls_status st = need_api(err);

	if (st)
		return st;
	if (!api.HMAC(api.EVP_sha256(), key, (int)key_bytes, (const unsigned char *)text, strlen(text), ret, NULL))
		return cannot("HMAC-SHA-256", err);
	return LS_OK;
}
