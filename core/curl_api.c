/* curl_api.c -- see curl_api.h. The library stays loaded: it and OpenSSL have handlers at exit. */
#include "core/curl_api.h"
#include "core/symbols.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdbool.h>

#define LIBRARY "libcurl.so.4"
#define REMEDY "install curl 7.77 or newer (Debian's package libcurl4)"

static struct ls_curl_api api;
static pthread_mutex_t api_lock = PTHREAD_MUTEX_INITIALIZER;
static bool api_loaded;

static const char *const names[] = {
#define X(name) "curl_" #name,
	LS_CURL_FUNCTIONS(X)
#undef X
};

static ls_status load(struct ls_err *err)
{
	void *library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
	const char *missing;

	if (!library)
		return ls_fail(err, LS_USAGE, 0, "HTTP needs " LIBRARY ": " REMEDY ": %s", dlerror());
	missing = ls_symbols(library, names, sizeof(names) / sizeof(names[0]), &api);
	if (missing)
		return ls_fail(err, LS_USAGE, 0, LIBRARY " has no %s: " REMEDY, missing);
	if (api.global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		return ls_fail(err, LS_AGAIN, 0, LIBRARY " cannot start: no memory, or its TLS library does not work");
	api_loaded = true;
	return LS_OK;
}

ls_status ls_curl_load(const struct ls_curl_api **ret, struct ls_err *err)
{
	ls_status st = LS_OK;

	pthread_mutex_lock(&api_lock);
	if (!api_loaded)
		st = load(err);
	pthread_mutex_unlock(&api_lock);
	if (!st)
		*ret = &api;
	return st;
}
