/* psk.h -- an encrypted connection between two processes that know one secret: TLS 1.3 with a pre-shared key and ephemeral Diffie-Hellman
 * (RFC 8446, 2.2: psk_dhe_ke), no certificates. OpenSSL is loaded at the first call.
 *
 * Who does not have the secret gets no byte of either side, and learns nothing but that TLS is spoken here. Recorded traffic stays
 * closed even if the secret leaks later (forward secrecy).
 *
 *   Ownership  a connection owns its descriptor; ls_psk_close(NULL) is fine. The key is copied, and wiped at the end.
 *   Threads    one thread per connection. SIGPIPE must be ignored: OpenSSL writes with write().
 *   Blocking   never: descriptors are made non-blocking; LS_AGAIN says "poll for ls_psk_events() and call again".
 *   Errors     LS_USAGE: no OpenSSL (err names the package), a key file that is none. LS_NODE_LOST: the connection ended. LS_EXISTS is never
 *              returned. LS_DATA_BAD: the peer does not have the secret, or speaks no TLS; final. */
#ifndef LS_PSK_H
#define LS_PSK_H

#include "core/status.h"
#include "core/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define LS_PSK_BYTES 32

struct ls_psk_key {
	char identity[128];               /* sent in the clear: who the secret belongs to (a job's uid); no secret itself */
	unsigned char bytes[LS_PSK_BYTES];
};

/* A file with 64 hexadecimal digits (and maybe a newline), as a Kubernetes Secret is mounted. */
ls_status ls_psk_key_read(const char *path, const char *identity, struct ls_psk_key *ret, struct ls_err *err);
/* The same from text that came from elsewhere; `where` is for the message. */
ls_status ls_psk_key_parse(const struct ls_str *text, const char *where, const char *identity, struct ls_psk_key *ret, struct ls_err *err);

struct ls_psk;

/* Takes the connected socket over, also on failure. Nothing is sent yet. */
ls_status ls_psk_open(int fd, bool server, const struct ls_psk_key *key, struct ls_psk **ret, struct ls_err *err);
void ls_psk_close(struct ls_psk *c);  /* says goodbye if that does not block */

/* LS_OK once both sides have proved that they know the secret; LS_AGAIN meanwhile. read and write do it by themselves. */
ls_status ls_psk_handshake(struct ls_psk *c, struct ls_err *err);
/* Up to `size` bytes: *ret_len > 0. LS_NODE_LOST with err->text "" at an orderly end of the peer's side. */
ls_status ls_psk_read(struct ls_psk *c, void *bytes, size_t size, size_t *ret_len, struct ls_err *err);
/* What was taken, *ret_len, may be less than `len`. After LS_AGAIN call with the same bytes again. */
ls_status ls_psk_write(struct ls_psk *c, const void *bytes, size_t len, size_t *ret_len, struct ls_err *err);
int ls_psk_fd(const struct ls_psk *c);
short ls_psk_events(const struct ls_psk *c); /* POLLIN or POLLOUT: what the last LS_AGAIN waits for; POLLIN otherwise */
bool ls_psk_pending(const struct ls_psk *c); /* bytes are decrypted already: poll() would not tell */

#endif
