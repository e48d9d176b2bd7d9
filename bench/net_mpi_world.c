/* net_mpi_world.c -- see net_mpi.h. */
#include "bench/net_mpi.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

void net_die(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fputs("bench net: ", stderr);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
	va_end(ap);
	exit(1);
}

/* --- waiting -------------------------------------------------------------------------------------------------------------------- */

static void nap(void)
{
	nanosleep(&(struct timespec){ .tv_nsec = 200000 }, NULL);
}

void net_sleep_until(MPI_Request *q)
{
	int done = 0;

	while (MPI_Test(q, &done, MPI_STATUS_IGNORE), !done)
		nap();
}

void net_meet(void)
{
	MPI_Request q;

	MPI_Ibarrier(MPI_COMM_WORLD, &q);
	net_sleep_until(&q);
}

void net_tell(int *v, int n)
{
	MPI_Request q;

	MPI_Ibcast(v, n, MPI_INT, 0, MPI_COMM_WORLD, &q);
	net_sleep_until(&q);
}

/* --- what rank 0 prints --------------------------------------------------------------------------------------------------------- */

void net_print(cJSON *o)
{
	char *text = cJSON_PrintUnformatted(o);

	if (!text)
		net_die("out of memory");
	printf(LS_NET_LINE "%s\n", text);
	fflush(stdout);
	cJSON_free(text);
	cJSON_Delete(o);
}

void net_phase(const struct net_self *s, const char *fmt, ...)
{
	cJSON *o;
	char text[512];
	va_list ap;

	if (s->rank)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	o = cJSON_CreateObject();
	cJSON_AddStringToObject(o, "phase", text);
	net_print(o);
}

/* --- who is where --------------------------------------------------------------------------------------------------------------- */

static int env_number(const char *name)
{
	const char *v = getenv(name);

	if (!v || !*v)
		net_die("%s is not set; start this program with: lockstep bench net", name);
	return atoi(v);
}

void net_learn_who(struct net_self *s)
{
	struct net_who me = { .host = env_number("GROUP_RANK"), .local = env_number("LOCAL_RANK"), .ranks = env_number("LOCAL_WORLD_SIZE") };
	int i;

	s->host = me.host;
	s->local = me.local;
	memcpy(me.name, s->host_facts.name, sizeof(me.name));
	s->who = calloc((size_t)s->world, sizeof(*s->who));
	if (!s->who)
		net_die("out of memory");
	MPI_Allgather(&me, sizeof(me), MPI_BYTE, s->who, sizeof(me), MPI_BYTE, MPI_COMM_WORLD);
	for (i = 0; i < s->world; i++) {
		s->hosts = s->who[i].host >= s->hosts ? s->who[i].host + 1 : s->hosts;
		s->max_local = s->who[i].ranks > s->max_local ? s->who[i].ranks : s->max_local;
	}
	s->rank_at = malloc((size_t)s->hosts * (size_t)s->max_local * sizeof(int));
	s->ranks_on = calloc((size_t)s->hosts, sizeof(int));
	if (!s->rank_at || !s->ranks_on)
		net_die("out of memory");
	for (i = 0; i < s->hosts * s->max_local; i++)
		s->rank_at[i] = -1;
	for (i = 0; i < s->world; i++) {
		s->rank_at[s->who[i].host * s->max_local + s->who[i].local] = i;
		s->ranks_on[s->who[i].host] = s->who[i].ranks;
	}
	s->mine.host = s->host;
	s->mine.local = s->local;
	s->host_facts.ranks = s->ranks_on[s->host];
}

int net_rank_at(const struct net_self *s, int host, int local)
{
	return s->rank_at[host * s->max_local + local];
}

const char *net_host_name(const struct net_self *s, int host)
{
	return s->who[net_rank_at(s, host, 0)].name;
}

int net_rails(const struct net_self *s, int a, int b)
{
	return s->ranks_on[a] < s->ranks_on[b] ? s->ranks_on[a] : s->ranks_on[b];
}

void net_keep_better(struct ls_net_stat *was, struct ls_net_stat now, bool higher)
{
	if (now.n && (!was->n || (higher ? now.mid > was->mid : now.mid < was->mid)))
		*was = now;
}
