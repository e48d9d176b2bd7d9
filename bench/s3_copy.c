/* s3_copy.c -- put or get one object between a file and a store, for comparison with other clients.
 *
 *     s3_copy put|get URI FILE      URI: s3://BUCKET/PREFIX/KEY or file:///DIRECTORY/KEY
 *     s3_copy get URI -             one read into memory that was touched before, as a restore does it
 *
 * Prints {"seconds", "cpu", "rss_mib"}: of the transfer, of the program, its anonymous memory at the end. put maps FILE; get writes it
 * from a few buffers, each read by a thread of its own: faults on a mapping would cost more than the transfer. */
#include "core/io.h"
#include "core/store.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define THREADS 4
#define CHUNK ((uint64_t)16 << 20)
#define PIECE ((size_t)1 << 20) /* of one write: the file is locked meanwhile, and the other threads wait */

static const char *uri, *key;
static uint64_t bytes;
static atomic_ullong next;
static int fd;

static void die(const char *what, const char *text)
{
	fprintf(stderr, "s3_copy: %s%s\n", what, text);
	exit(1);
}

static struct ls_store *open_store(void)
{
	struct ls_err err = LS_ERR_INIT;
	struct ls_store *s;

	if (ls_store_open(uri, &s, &err))
		die("", err.text);
	return s;
}

static void *get_chunks(void *arg)
{
	struct ls_err err = LS_ERR_INIT;
	struct ls_store *s = open_store();
	char *buf = malloc(CHUNK);
	size_t done, part;
	uint64_t at;

	while ((at = atomic_fetch_add(&next, CHUNK)) < bytes) {
		size_t len = (size_t)(bytes - at < CHUNK ? bytes - at : CHUNK);

		if (!buf || ls_store_get(s, key, at, buf, len, &err))
			die("", err.text);
		for (done = 0; done < len; done += part) {
			part = len - done < PIECE ? len - done : PIECE;
			if (ls_pwrite_all(fd, buf + done, part, (off_t)(at + done)) < 0)
				die("cannot write the file", "");
		}
	}
	free(buf);
	ls_store_close(s);
	return arg;
}

static void get_file(void)
{
	pthread_t thread[THREADS];
	int i;

	for (i = 0; i < THREADS; i++)
		if (pthread_create(&thread[i], NULL, get_chunks, NULL))
			die("no threads", "");
	for (i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
}

static void put_file(struct ls_store *s)
{
	struct ls_err err = LS_ERR_INIT;
	void *map = mmap(NULL, bytes ? bytes : 1, PROT_READ, MAP_SHARED, fd, 0);
	struct iovec iov = { map, bytes };

	if (map == MAP_FAILED || ls_store_put(s, key, &iov, 1, false, NULL, &err))
		die("", err.text);
}

static long anonymous_mib(void)
{
	char line[256];
	FILE *f = fopen("/proc/self/status", "r");
	long kib = 0;

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "RssAnon: %ld", &kib) == 1)
			break;
	if (f)
		fclose(f);
	return kib / 1024;
}

static double cpu_s(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

int main(int argc, char **argv)
{
	struct ls_err err = LS_ERR_INIT;
	bool get = argc == 4 && !strcmp(argv[1], "get"), memory = get && !strcmp(argv[3], "-");
	char *slash = argc == 4 ? strrchr(argv[2], '/') : NULL, *buf = NULL;
	double start = ls_clock_s(), cpu = 0;
	struct ls_store *s;
	struct stat sb;

	if (!slash || (!get && strcmp(argv[1], "put")))
		die("usage: s3_copy put|get URI FILE", "");
	*slash = '\0';
	uri = argv[2];
	key = slash + 1;
	s = open_store();
	fd = memory ? -1 : open(argv[3], get ? O_WRONLY | O_CREAT | O_TRUNC : O_RDONLY, 0644);
	if (!memory && (fd < 0 || fstat(fd, &sb) < 0))
		die("cannot open ", argv[3]);
	bytes = get ? 0 : (uint64_t)sb.st_size;
	if (get && ls_store_size(s, key, &bytes, &err))
		die("", err.text);
	if (memory) {
		buf = malloc(bytes + 1);
		if (!buf)
			die("no memory", "");
		memset(buf, 1, bytes);
		start = ls_clock_s();
		cpu = cpu_s();
		if (ls_store_get(s, key, 0, buf, bytes, &err))
			die("", err.text);
	} else if (get) {
		get_file();
	} else {
		put_file(s);
	}
	printf("{\"seconds\": %.3f, \"cpu\": %.3f, \"rss_mib\": %ld}\n", ls_clock_s() - start, cpu_s() - cpu, anonymous_mib());
	free(buf);
	ls_store_close(s);
	return 0;
}
