/* signals.c -- see signals.h. */
#include "launcher/signals.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

static int wake[2] = { -1, -1 };
static volatile int stops, first;
static volatile long long last_ms;

/* core/io.h's clock is not promised to be safe in a handler; this is. */
static long long now_ms(void)
{
	struct timespec ts = { 0 };

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000LL + ts.tv_nsec / 1000000;
}

static void on_signal(int sig)
{
	int saved = errno;

	if (sig != SIGCHLD) {
		if (!first)
			first = sig;
		if (!stops || now_ms() - last_ms > LS_SIGNALS_ECHO_MS)
			stops++;
		last_ms = now_ms();
	}
	if (write(wake[1], "", 1) < 0) {
		/* full: it is readable already */
	}
	errno = saved;
}

ls_status ls_signals_init(struct ls_err *err)
{
	static const int which[] = { SIGINT, SIGTERM, SIGHUP, SIGCHLD };
	struct sigaction act = { .sa_handler = on_signal };
	unsigned i;

	if (pipe2(wake, O_CLOEXEC | O_NONBLOCK) < 0)
		return ls_fail(err, LS_AGAIN, errno, "cannot watch signals");
	for (i = 0; i < sizeof(which) / sizeof(which[0]); i++) {
		struct sigaction old;

		/* nohup: a signal that was ignored before us stays ignored */
		if (sigaction(which[i], NULL, &old) == 0 && old.sa_handler == SIG_IGN && which[i] != SIGCHLD)
			continue;
		sigaction(which[i], &act, NULL);
	}
	signal(SIGPIPE, SIG_IGN);
	signal(SIGTSTP, SIG_IGN);
	return LS_OK;
}

int ls_signals_fd(void)
{
	return wake[0];
}

void ls_signals_drain(void)
{
	char bytes[64];

	while (read(wake[0], bytes, sizeof(bytes)) > 0)
		;
}

const volatile int *ls_signals_stops(void)
{
	return &stops;
}

int ls_signals_last(void)
{
	return first;
}
