/* psk.c -- see psk.h. libssl is never unloaded: it has handlers at exit.
 *
 * One cipher suite, TLS_AES_128_GCM_SHA256: RFC 8446 ties a pre-shared key to one hash, SHA-256 for those that come from outside TLS. A peer that
 * offers no key, or another, would get a handshake by certificate: the server has none, the client trusts none, and looks again at the end. */
#include "core/psk.h"
#include "core/io.h"
#include "core/symbols.h"

#include <ctype.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define LIBRARY "libssl.so.3"

#define FUNCTIONS(X)                                                                                                   \
	X(TLS_method)                                                                                                  \
	X(SSL_CTX_new)                                                                                                 \
	X(SSL_CTX_ctrl)                                                                                                \
	X(SSL_CTX_set_options)                                                                                         \
	X(SSL_CTX_set_ciphersuites)                                                                                    \
	X(SSL_CTX_set_num_tickets)                                                                                     \
	X(SSL_CTX_set_verify)                                                                                          \
	X(SSL_CTX_set_psk_use_session_callback)                                                                        \
	X(SSL_CTX_set_psk_find_session_callback)                                                                       \
	X(SSL_new)                                                                                                     \
	X(SSL_free)                                                                                                    \
	X(SSL_set_fd)                                                                                                  \
	X(SSL_set_ex_data)                                                                                             \
	X(SSL_get_ex_data)                                                                                             \
	X(SSL_set_connect_state)                                                                                       \
	X(SSL_set_accept_state)                                                                                        \
	X(SSL_do_handshake)                                                                                            \
	X(SSL_ctrl)                                                                                                    \
	X(SSL_read_ex)                                                                                                 \
	X(SSL_write_ex)                                                                                                \
	X(SSL_shutdown)                                                                                                \
	X(SSL_pending)                                                                                                 \
	X(SSL_get_error)                                                                                               \
	X(SSL_session_reused)                                                                                          \
	X(SSL_CIPHER_find)                                                                                             \
	X(SSL_SESSION_new)                                                                                             \
	X(SSL_SESSION_free)                                                                                            \
	X(SSL_SESSION_set1_master_key)                                                                                 \
	X(SSL_SESSION_set_cipher)                                                                                      \
	X(SSL_SESSION_set_protocol_version)                                                                            \
	X(ERR_clear_error)                                                                                             \
	X(ERR_peek_error)                                                                                              \
	X(ERR_reason_error_string)

static struct {
#define X(name) __typeof__(name) *name;
	FUNCTIONS(X)
#undef X
} api;

static const char *const names[] = {
#define X(name) #name,
	FUNCTIONS(X)
#undef X
};

static SSL_CTX *contexts[2]; /* client's, server's */

struct ls_psk {
	SSL *ssl;
	int fd;
	short events;
	bool shaken, broken;
	struct ls_psk_key key; /* wiped when the handshake is over */
};

/* --- the key ----------------------------------------------------------------------------------------------------------- */

static SSL_SESSION *session_of(SSL *ssl, const struct ls_psk_key *key)
{
	static const unsigned char suite[] = { 0x13, 0x01 };
	SSL_SESSION *s = api.SSL_SESSION_new();
	const SSL_CIPHER *cipher = api.SSL_CIPHER_find(ssl, suite);

	if (s && cipher && api.SSL_SESSION_set1_master_key(s, key->bytes, sizeof(key->bytes)) && api.SSL_SESSION_set_cipher(s, cipher) &&
		api.SSL_SESSION_set_protocol_version(s, TLS1_3_VERSION))
		return s;
	api.SSL_SESSION_free(s);
	return NULL;
}

static int use_session(SSL *ssl, const EVP_MD *md, const unsigned char **ret_id, size_t *ret_len, SSL_SESSION **ret)
{
	struct ls_psk *c = api.SSL_get_ex_data(ssl, 0);

	(void)md; /* there is one suite, and its hash is the key's */
	*ret = session_of(ssl, &c->key);
	*ret_id = (const unsigned char *)c->key.identity;
	*ret_len = strlen(c->key.identity);
	return *ret != NULL;
}

static int find_session(SSL *ssl, const unsigned char *id, size_t len, SSL_SESSION **ret)
{
	struct ls_psk *c = api.SSL_get_ex_data(ssl, 0);

	*ret = NULL;
	if (len != strlen(c->key.identity) || memcmp(id, c->key.identity, len))
		return 1; /* not ours: no key, and so no handshake */
	*ret = session_of(ssl, &c->key);
	return *ret != NULL;
}

static int hex_digit(char c)
{
	return isdigit((unsigned char)c) ? c - '0' : isxdigit((unsigned char)c) ? (c | 32) - 'a' + 10 : -1;
}

ls_status ls_psk_key_parse(const struct ls_str *text, const char *where, const char *identity, struct ls_psk_key *ret, struct ls_err *err)
{
	struct ls_psk_key key = { 0 };
	ls_status st = LS_OK;
	size_t len = text->len;
	bool good;

	while (len && strchr("\r\n", text->s[len - 1]))
		len--;
	good = len == 2 * LS_PSK_BYTES;
	for (size_t i = 0; good && i < LS_PSK_BYTES; i++) {
		int high = hex_digit(text->s[2 * i]), low = hex_digit(text->s[2 * i + 1]);

		good = high >= 0 && low >= 0;
		key.bytes[i] = (unsigned char)(high * 16 + low);
	}
	if (!good)
		st = ls_fail(err, LS_USAGE, 0, "%s is no key: it must be %d hexadecimal digits", where, 2 * LS_PSK_BYTES);
	else if (!*identity || strlen(identity) >= sizeof(key.identity))
		st = ls_fail(err, LS_USAGE, 0, "a key's identity must have 1 to %zu characters, '%.40s' has %zu", sizeof(key.identity) - 1,
			identity, strlen(identity));
	if (!st) {
		strcpy(key.identity, identity);
		*ret = key;
	}
	explicit_bzero(&key, sizeof(key));
	return st;
}

ls_status ls_psk_key_read(const char *path, const char *identity, struct ls_psk_key *ret, struct ls_err *err)
{
	struct ls_str text = { 0 };
	ls_status st = ls_file_read(path, 4096, &text, err);

	if (!st)
		st = ls_psk_key_parse(&text, path, identity, ret, err);
	if (text.s)
		explicit_bzero(text.s, text.cap);
	ls_str_release(&text);
	return st;
}

/* --- the library ------------------------------------------------------------------------------------------------------- */

static SSL_CTX *make_context(bool server)
{
	SSL_CTX *ctx = api.SSL_CTX_new(api.TLS_method());

	if (!ctx || !api.SSL_CTX_ctrl(ctx, SSL_CTRL_SET_MIN_PROTO_VERSION, TLS1_3_VERSION, NULL) ||
		!api.SSL_CTX_ctrl(ctx, SSL_CTRL_SET_MAX_PROTO_VERSION, TLS1_3_VERSION, NULL) ||
		!api.SSL_CTX_set_ciphersuites(ctx, "TLS_AES_128_GCM_SHA256") || !api.SSL_CTX_set_num_tickets(ctx, 0))
		return NULL;
	api.SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET | SSL_OP_NO_COMPRESSION);
	api.SSL_CTX_ctrl(ctx, SSL_CTRL_SET_SESS_CACHE_MODE, SSL_SESS_CACHE_OFF, NULL);
	api.SSL_CTX_ctrl(ctx, SSL_CTRL_MODE, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER,
		NULL);
	if (server) {
		api.SSL_CTX_set_psk_find_session_callback(ctx, find_session);
	} else {
		api.SSL_CTX_set_psk_use_session_callback(ctx, use_session);
		api.SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
	}
	return ctx;
}

static ls_status load(struct ls_err *err)
{
	void *library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
	const char *missing;

	if (!library)
		return ls_fail(err, LS_USAGE, 0, "encrypted connections need OpenSSL 3 (Debian's package libssl3): %s", dlerror());
	missing = ls_symbols(library, names, sizeof(names) / sizeof(names[0]), &api); /* libcrypto's, too: it comes along */
	if (missing)
		return ls_fail(err, LS_USAGE, 0, LIBRARY " has no %s: install OpenSSL 3 (Debian's package libssl3)", missing);
	if (!contexts[0])
		contexts[0] = make_context(false);
	if (!contexts[1])
		contexts[1] = make_context(true);
	if (!contexts[0] || !contexts[1])
		return ls_fail(err, LS_AGAIN, 0, LIBRARY " cannot do TLS 1.3: no memory, or openssl.cnf forbids it");
	return LS_OK;
}

static ls_status need_api(struct ls_err *err)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	static bool loaded;
	ls_status st = LS_OK;

	pthread_mutex_lock(&lock);
	if (!loaded)
		st = load(err);
	loaded = !st;
	pthread_mutex_unlock(&lock);
	return st;
}

/* --- a connection ------------------------------------------------------------------------------------------------------ */

ls_status ls_psk_open(int fd, bool server, const struct ls_psk_key *key, struct ls_psk **ret, struct ls_err *err)
{
	struct ls_psk *c = NULL;
	ls_status st = need_api(err);

	if (!st)
		c = calloc(1, sizeof(*c));
	if (c) {
		c->key = *key;
		c->events = POLLIN;
		c->ssl = api.SSL_new(contexts[server]);
	}
	if (!st && (!c || !c->ssl || !api.SSL_set_ex_data(c->ssl, 0, c) || !api.SSL_set_fd(c->ssl, fd)))
		st = ls_fail_oom(err);
	if (!st && fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) < 0)
		st = ls_fail(err, LS_NODE_LOST, errno, "the connection cannot be used");
	if (st) {
		ls_fd_close(&fd);
		if (c) {
			c->fd = -1;
			c->broken = true;
		}
		ls_psk_close(c);
		return st;
	}
	c->fd = fd;
	if (server)
		api.SSL_set_accept_state(c->ssl);
	else
		api.SSL_set_connect_state(c->ssl);
	*ret = c;
	return LS_OK;
}

void ls_psk_close(struct ls_psk *c)
{
	if (!c)
		return;
	if (c->ssl && c->shaken && !c->broken) {
		api.ERR_clear_error();
		api.SSL_shutdown(c->ssl);
	}
	if (c->ssl)
		api.SSL_free(c->ssl);
	ls_fd_close(&c->fd);
	explicit_bzero(&c->key, sizeof(c->key));
	free(c);
}

/* What a call that did not succeed means. */
static ls_status not_done(struct ls_psk *c, int rc, struct ls_err *err)
{
	int sys = errno, why = api.SSL_get_error(c->ssl, rc);
	unsigned long code = api.ERR_peek_error();
	const char *words = code ? api.ERR_reason_error_string(code) : NULL;

	c->events = POLLIN;
	switch (why) {
	case SSL_ERROR_WANT_WRITE:
		c->events = POLLOUT;
		return ls_fail(err, LS_AGAIN, 0, "not yet");
	case SSL_ERROR_WANT_READ:
		return ls_fail(err, LS_AGAIN, 0, "not yet");
	case SSL_ERROR_ZERO_RETURN:
		return ls_fail(err, LS_NODE_LOST, 0, "%s", "");
	case SSL_ERROR_SSL:
		c->broken = true;
		if (ERR_GET_REASON(code) == SSL_R_UNEXPECTED_EOF_WHILE_READING)
			return ls_fail(err, LS_NODE_LOST, 0, "the connection was cut");
		return ls_fail(err, LS_DATA_BAD, 0, c->shaken ? "what came over the connection is damaged (%s)"
							       : "the peer does not have the job's secret, or speaks no TLS 1.3 (%s)",
			words ? words : "no reason given");
	default:
		c->broken = true;
		return ls_fail(err, LS_NODE_LOST, sys, "the connection was lost");
	}
}

ls_status ls_psk_handshake(struct ls_psk *c, struct ls_err *err)
{
	int rc;

	if (c->shaken)
		return LS_OK;
	if (c->broken)
		return ls_fail(err, LS_DATA_BAD, 0, "the peer does not have the job's secret");
	api.ERR_clear_error();
	errno = 0;
	rc = api.SSL_do_handshake(c->ssl);
	if (rc != 1)
		return not_done(c, rc, err);
	explicit_bzero(c->key.bytes, sizeof(c->key.bytes));
	c->events = POLLIN;
	if (!api.SSL_session_reused(c->ssl)) { /* without the key: nobody we know */
		c->broken = true;
		return ls_fail(err, LS_DATA_BAD, 0, "the peer does not have the job's secret");
	}
	c->shaken = true;
	return LS_OK;
}

ls_status ls_psk_read(struct ls_psk *c, void *bytes, size_t size, size_t *ret_len, struct ls_err *err)
{
	ls_status st = ls_psk_handshake(c, err);
	int rc;

	if (st)
		return st;
	api.ERR_clear_error();
	errno = 0;
	rc = api.SSL_read_ex(c->ssl, bytes, size, ret_len);
	return rc == 1 ? LS_OK : not_done(c, rc, err);
}

ls_status ls_psk_write(struct ls_psk *c, const void *bytes, size_t len, size_t *ret_len, struct ls_err *err)
{
	ls_status st = ls_psk_handshake(c, err);
	int rc;

	if (st)
		return st;
	api.ERR_clear_error();
	errno = 0;
	rc = api.SSL_write_ex(c->ssl, bytes, len, ret_len);
	return rc == 1 ? LS_OK : not_done(c, rc, err);
}

int ls_psk_fd(const struct ls_psk *c)
{
	return c->fd;
}

short ls_psk_events(const struct ls_psk *c)
{
	return c->events;
}

bool ls_psk_pending(const struct ls_psk *c)
{
	return c->shaken && !c->broken && api.SSL_pending(c->ssl) > 0;
}
