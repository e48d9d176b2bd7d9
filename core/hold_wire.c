/* hold_wire.c -- see hold_wire.h. */
#include "core/hold_wire.h"
#include "core/io.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* A socket for the abstract name, and its address. -1 and errno. */
static int name_socket(const char *name, int flags, struct sockaddr_un *ret, socklen_t *ret_len)
{
	size_t len = strlen(name);

	if (!len || len + 1 > sizeof(ret->sun_path)) {
		errno = EINVAL;
		return -1;
	}
	*ret = (struct sockaddr_un){ .sun_family = AF_UNIX };
	memcpy(ret->sun_path + 1, name, len);
	*ret_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + len);
	return socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | flags, 0);
}

ls_status ls_hold_listen(const char *name, int *ret_fd, struct ls_err *err)
{
	struct sockaddr_un sun;
	socklen_t len;
	int fd = name_socket(name, SOCK_NONBLOCK, &sun, &len);

	if (fd < 0 || bind(fd, (struct sockaddr *)&sun, len) < 0 || listen(fd, 1024) < 0) {
		ls_status st = ls_fail(err, errno == EADDRINUSE ? LS_EXISTS : LS_AGAIN, errno, "cannot listen at the socket '%s'", name);

		ls_fd_close(&fd);
		return st;
	}
	*ret_fd = fd;
	return LS_OK;
}

bool ls_hold_same_user(int fd)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);

	return !getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) && cred.uid == geteuid();
}

void ls_hold_patience(int fd, int recv_s, int send_s)
{
	struct timeval in = { .tv_sec = recv_s }, out = { .tv_sec = send_s };

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &in, sizeof(in));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &out, sizeof(out)); /* of connect(), too */
}

ls_status ls_hold_connect(const char *name, int *ret_fd, struct ls_err *err)
{
	enum { PATIENCE_S = 10 };
	struct sockaddr_un sun;
	socklen_t len;
	int fd = name_socket(name, 0, &sun, &len);

	if (fd >= 0)
		ls_hold_patience(fd, PATIENCE_S, PATIENCE_S);
	if (fd < 0 || connect(fd, (struct sockaddr *)&sun, len) < 0) {
		ls_status st = ls_fail(err, LS_NODE_LOST, errno, "no agent holds snapshots on this host (socket '%s')", name);

		ls_fd_close(&fd);
		return st;
	}
	if (!ls_hold_same_user(fd)) {
		ls_fd_close(&fd);
		return ls_fail(err, LS_NODE_LOST, 0, "the agent's socket '%s' is another user's", name);
	}
	*ret_fd = fd;
	return LS_OK;
}

/* --- packets ----------------------------------------------------------------------------------------------------------- */

union control {
	struct cmsghdr head; /* for its alignment */
	char bytes[CMSG_SPACE(sizeof(int))];
};

bool ls_hold_packet_send(int fd, const void *packet, size_t len, int pass)
{
	struct iovec iov = { .iov_base = (void *)packet, .iov_len = len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	union control control = { 0 };
	ssize_t n;

	if (pass >= 0) {
		msg.msg_control = &control;
		msg.msg_controllen = sizeof(control);
		*CMSG_FIRSTHDR(&msg) = (struct cmsghdr){ .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int)) };
		memcpy(CMSG_DATA(CMSG_FIRSTHDR(&msg)), &pass, sizeof(pass));
	}
	do
		n = sendmsg(fd, &msg, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	if (n < 0 && errno == EAGAIN)
		errno = ETIMEDOUT;
	return n == (ssize_t)len;
}

bool ls_hold_packet_recv(int fd, void *packet, size_t len, int *ret_pass)
{
	struct iovec iov = { .iov_base = packet, .iov_len = len };
	union control control = { 0 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control) };
	int pass = -1;
	ssize_t n;

	do
		n = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0) {
		errno = errno == EAGAIN ? ETIMEDOUT : errno;
		return false;
	}
	/* The kernel closes descriptors for which there was no room. */
	if (CMSG_FIRSTHDR(&msg) && CMSG_FIRSTHDR(&msg)->cmsg_type == SCM_RIGHTS)
		memcpy(&pass, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(pass));
	if (n != (ssize_t)len || msg.msg_flags & MSG_TRUNC) {
		ls_fd_close(&pass);
		errno = n ? EPROTO : 0;
		return false;
	}
	*ret_pass = pass;
	return true;
}

/* --- bytes ------------------------------------------------------------------------------------------------------------- */

/* In pieces: time limits are for each of them, not for gigabytes. */
enum { PIECE = 1 << 20 };

bool ls_hold_send_all(int fd, const void *bytes, size_t len)
{
	const char *p = bytes;

	while (len) {
		ssize_t n = send(fd, p, len < PIECE ? len : PIECE, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			errno = errno == EAGAIN ? ETIMEDOUT : errno;
			return false;
		}
		p += n;
		len -= (size_t)n;
	}
	return true;
}

/* A peer that sends a byte now and then is silent, too. */
static bool recv_piece(int fd, char *p, size_t len)
{
	int64_t until = ls_clock_ms() + 1000 * LS_HOLD_SILENCE_S;

	while (len) {
		ssize_t n = recv(fd, p, len, MSG_WAITALL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			errno = n == 0 ? 0 : errno == EAGAIN ? ETIMEDOUT : errno;
			return false;
		}
		p += n;
		len -= (size_t)n;
		if (len && ls_clock_ms() >= until) {
			errno = ETIMEDOUT;
			return false;
		}
	}
	return true;
}

bool ls_hold_recv_all(int fd, void *bytes, size_t len)
{
	char *p = bytes;
	size_t at, n;

	for (at = 0; at < len; at += n) {
		n = len - at < PIECE ? len - at : PIECE;
		if (!recv_piece(fd, p + at, n))
			return false;
	}
	return true;
}

bool ls_snap_head_ok(const struct ls_snap_head *h, uint64_t file_bytes)
{
	return !memcmp(h->magic, LS_SNAP_MAGIC, sizeof(h->magic)) && file_bytes >= LS_SNAP_HEAD && h->bytes <= file_bytes - LS_SNAP_HEAD &&
		h->rank >= 0 && h->rank < h->world && memchr(h->job, '\0', sizeof(h->job)) && memchr(h->host, '\0', sizeof(h->host));
}
