/* crypto_api.h -- SHA-256 and HMAC of OpenSSL's libcrypto, loaded at the first call: programs that use no object store
 * do not pay for it, and do not need it.
 *
 *   Threads    any.
 *   Errors     LS_USAGE without the library: err names the package; LS_AGAIN when it cannot compute. */
#ifndef LS_CRYPTO_API_H
#define LS_CRYPTO_API_H

#include "core/status.h"

#include <stddef.h>
#include <sys/uio.h>

#define LS_SHA256_BYTES 32

/* Of the concatenation of iov[0..n). */
ls_status ls_crypto_sha256(const struct iovec *iov, int n, unsigned char ret[LS_SHA256_BYTES], struct ls_err *err);
/* `ret` may be the key. */
ls_status ls_crypto_hmac_sha256(
	const void *key, size_t key_bytes, const char *text, unsigned char ret[LS_SHA256_BYTES], struct ls_err *err);

#endif
