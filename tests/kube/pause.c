/* pause.c -- what holds a Pod's namespaces while its containers come and go: waits, and reaps. */
#include <signal.h>
#include <stddef.h>
#include <sys/wait.h>
#include <unistd.h>

static void end(int signo)
{
	(void)signo;
	_exit(0);
}

static void reap(int signo)
{
	(void)signo;
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
}

int main(void)
{
	struct sigaction on_child = { .sa_handler = reap, .sa_flags = SA_NOCLDSTOP };

	signal(SIGINT, end);
	signal(SIGTERM, end);
	sigaction(SIGCHLD, &on_child, NULL);
	for (;;)
		pause();
}
