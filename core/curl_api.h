/* curl_api.h -- the functions of libcurl that http.c calls, found at run time: nobody else includes this.
 *
 *   Threads    ls_curl_load() from any; the table is constant after it.
 *   Errors     LS_USAGE: err names the package to install. */
#ifndef LS_CURL_API_H
#define LS_CURL_API_H

#include "core/status.h"

#define CURL_DISABLE_TYPECHECK
#include <curl/curl.h>

#define LS_CURL_FUNCTIONS(X)                                                                                           \
	X(getdate)                                                                                                     \
	X(global_init)                                                                                                 \
	X(easy_init)                                                                                                   \
	X(easy_cleanup)                                                                                                \
	X(easy_reset)                                                                                                  \
	X(easy_setopt)                                                                                                 \
	X(easy_getinfo)                                                                                                \
	X(easy_strerror)                                                                                               \
	X(multi_init)                                                                                                  \
	X(multi_cleanup)                                                                                               \
	X(multi_add_handle)                                                                                            \
	X(multi_remove_handle)                                                                                         \
	X(multi_perform)                                                                                               \
	X(multi_poll)                                                                                                  \
	X(multi_wakeup)                                                                                                \
	X(multi_info_read)                                                                                             \
	X(slist_append)                                                                                                \
	X(slist_free_all)

struct ls_curl_api {
#define X(name) __typeof__(curl_##name) *name;
	LS_CURL_FUNCTIONS(X)
#undef X
};

ls_status ls_curl_load(const struct ls_curl_api **ret, struct ls_err *err);

#endif
