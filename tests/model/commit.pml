/* commit.pml -- the protocol of core/ckpt.h, for every interleaving: claim, restore, save, fence, report, prune.
 *
 *     make model      checks the variants that tests/model/run.sh lists, and that a protocol with a hole is found out
 *
 * ATTEMPTS launchers, each at any time; none knows whether another lives. GCS people run `lockstep ckpt gc`; READERS look for the newest
 * checkpoint without a claim. A crash needs no words: a process that is never scheduled again is dead, and nothing here waits for it.
 *
 * The store is the network and the objects. A put is in flight until the network lands it, at any time, also after its sender died or
 * gave it up; DUPS of them land a second time, at any time (a client that got no answer sent it again). Claims and manifests land only
 * if absent. A list is taken in two pages, newer generations first, with time in between: the worst that names can do, for a generation
 * that starts again from a lower step sorts before its elders. Deletes are one object each, manifests first.
 *
 * Properties
 *   lost       once a checkpoint is reported, there is always a whole one that is it or newer                              (Monitor)
 *   reader     finds a whole checkpoint no older than any reported before it began                                         (Reader)
 *   restore    an attempt goes on from no older checkpoint than any that an older attempt reported before, or reports later (Attempt)
 *   token      a generation has one owner                                                                                  (Attempt)
 * Not here: damage by the medium, stores that ignore "only if absent", and liveness. */

#ifndef ATTEMPTS
#define ATTEMPTS 2
#endif
#ifndef SAVES
#define SAVES 2 /* of each attempt; a later one is newer */
#endif
#ifndef SHARDS
#define SHARDS 2 /* of each checkpoint: 1 or 2 */
#endif
#ifndef READERS
#define READERS 1
#endif
#ifndef GCS
#define GCS 1
#endif
#ifndef DUPS
#define DUPS 1
#endif

#define G    (ATTEMPTS + 1)          /* generations: one more than attempts, for those that are claimed in vain */
#define N    (G * SAVES)             /* checkpoints, oldest first: generation g's are (g-1)*SAVES … g*SAVES-1 */
#define BIT(i) (1 << (i))
#define ALL  (BIT(N) - 1)
#define NONE (BIT(30))               /* no list yet */
#define MANIFEST(i) BIT(i)
#define SHARD0(i)   BIT(N + (i))
#if SHARDS == 2
#define SHARD1(i)   BIT(2 * N + (i))
#define WHOLE(x)    ((x) & ((x) >> N) & ((x) >> (2 * N)) & ALL)
#else
#define SHARD1(i)   0
#define WHOLE(x)    ((x) & ((x) >> N) & ALL)
#endif
#define SHARDS_OF(i) (SHARD0(i) | SHARD1(i))

int there;                           /* objects in the store: manifests, shards 0, shards 1 */
int flying;                          /* puts of them on their way */
int answered;                        /* puts that landed once */
byte dups = DUPS;

byte owner[5];                       /* claims in the store: by generation; attempt + 1 */
byte claiming[3];                    /* claims on their way: by attempt; the generation */
byte claimed[3];                     /* their answers: 1 made, 2 somebody else's is there */

byte reported;                       /* the newest checkpoint that was ever reported, + 1 */
byte said[5];                        /* by generation: the newest that it reported, + 1 */
byte picked[5];                      /* by generation: what it restored, + 2; 1: nothing; 0: has not restored */

#define HIGHEST(x) ((x) & 128 -> 8 : ((x) & 64 -> 7 : ((x) & 32 -> 6 : ((x) & 16 -> 5 : \
	((x) & 8 -> 4 : ((x) & 4 -> 3 : ((x) & 2 -> 2 : ((x) & 1 -> 1 : 0))))))))
#define NEWEST (owner[4] -> 4 : (owner[3] -> 3 : (owner[2] -> 2 : (owner[1] -> 1 : 0))))
#define LATER(g) (NEWEST > (g))

#define LAND(i) :: atomic { (flying & BIT(i)) -> there = there | BIT(i); answered = answered | BIT(i); \
	if :: flying = flying & ~BIT(i) :: dups > 0 -> dups-- fi }
#define LAND_CLAIM(a) :: atomic { claiming[a] -> \
	if :: owner[claiming[a]] == 0 -> owner[claiming[a]] = a + 1; claimed[a] = (claimed[a] -> claimed[a] : 1) \
	   :: else -> claimed[a] = (claimed[a] -> claimed[a] : 2) fi; \
	if :: claiming[a] = 0 :: dups > 0 -> dups-- fi }

active proctype Network()
{
	do
	LAND_CLAIM(0)
	LAND_CLAIM(1)
#if ATTEMPTS == 3
	LAND_CLAIM(2)
#endif
	LAND(0) LAND(1) LAND(2) LAND(3) LAND(4) LAND(5) LAND(6) LAND(7) LAND(8) LAND(9) LAND(10) LAND(11)
	LAND(12) LAND(13) LAND(14) LAND(15) LAND(16) LAND(17) LAND(18) LAND(19) LAND(20) LAND(21) LAND(22) LAND(23)
	od
}

active proctype Monitor()
{
	atomic { reported && (WHOLE(there) >> (reported - 1)) == 0 -> assert(false) } /* lost */
}

/* ls_ckpt_list(), and what a restore does with it: the newest of the list that is whole. `l` is the list, `p` the one being taken, `c` the
 * candidate + 1, and in the end what was found, or 0. When a candidate fails, or none is left, it lists again: if that list is another one,
 * things were pruned meanwhile, and it starts again; if it is the same, the candidate is damaged, and it is the next one's turn. */
#define OLD_PAGE (BIT(SAVES * ((G + 1) / 2)) - 1)

inline find(l, p, c)
{
	l = NONE;
again:	p = there & ALL & ~OLD_PAGE;
	atomic {
		p = p | (there & OLD_PAGE);
		if
		:: p != l -> l = p; c = 0;
#ifndef ONE_LIST
			goto again /* until two lists agree */
#endif
		:: else
		fi;
		p = 0;
		c = HIGHEST(l & (c -> BIT(c - 1) - 1 : ALL))
	}
	if
	:: c == 0 -> goto found
	:: c > 0 && (there & MANIFEST(c - 1))
	:: c > 0 && !(there & MANIFEST(c - 1)) -> goto again
	fi;
	if
	:: there & SHARD0(c - 1)
	:: else -> goto again
	fi;
#if SHARDS == 2
	if
	:: there & SHARD1(c - 1)
	:: else -> goto again
	fi;
#endif
found:	l = 0
}

/* ls_ckpt_prune(), keep 1. `mine` 0: a person. All manifests, the newest first, which is the worst for who lists; then all shards, a name
 * at a time; then the old claims. */
#define EACH(x) ((x) * (1 + BIT(N) + BIT(2 * N)))

inline prune(mine, l, c, newest)
{
	atomic { newest = NEWEST; if :: mine && newest > mine -> newest = 0; goto pruned :: else fi }
	l = there & ~EACH(OLD_PAGE);
	atomic { l = l | (there & EACH(OLD_PAGE)); c = HIGHEST(WHOLE(l)); l = l & EACH(c -> BIT(c - 1) - 1 : 0); c = 0 }
	do
	:: atomic { (l & ALL) -> c = HIGHEST(l & ALL) - 1; there = there & ~MANIFEST(c); l = l & ~MANIFEST(c); c = 0 }
	:: else -> break
	od;
	atomic { there = there & ~(l & (ALL << N)); l = l & ~(ALL << N) }
#if SHARDS == 2
	there = there & ~l;
#endif
	atomic {
		l = 0;
		c = 1;
		do
		:: c < newest -> owner[c] = 0; c++
		:: else -> break
		od;
		c = 0;
		newest = 0
	}
pruned:	skip
}

/* ls_ckpt_claim(): g is the result, 0 when numbers ran out (which only bounds the model). */
inline claim(me, g, newest)
{
	newest = NEWEST;
	do
	:: d_step { g <= newest -> g = newest + 1 }
	:: g > newest && g > G -> g = 0; break
	:: atomic { g > newest && g <= G && !claiming[me] -> claiming[me] = g; claimed[me] = 0 }
		claimed[me];
		atomic {
			newest = NEWEST;
			if
			:: claimed[me] == 1 && newest <= g -> break
			:: else -> g++
			fi
		}
	od
}

proctype Attempt(byte me)
{
	byte g, s, c, newest, i;
	int l, p;

	claim(me, g, newest);
	if
	:: g == 0 -> goto dead
	:: else -> newest = 0
	fi;
	find(l, p, c);
	d_step {
		assert(picked[g] == 0); /* token */
		picked[g] = c + 1;
		i = 1;
		do
		:: i < g -> assert(c >= said[i]); i++ /* restore: what was reported before */
		:: else -> break
		od;
		c = 0; i = 0
	}
	do
	:: s == SAVES -> break
	:: atomic { s < SAVES -> c = (g - 1) * SAVES + s; s++; flying = flying | SHARDS_OF(c) }
		if
		:: (answered & SHARDS_OF(c)) == SHARDS_OF(c)
		:: goto failed /* given up; they may still land */
		fi;
		if
		:: LATER(g) -> goto dead
		:: else
		fi;
		flying = flying | MANIFEST(c);
		if
		:: answered & MANIFEST(c)
		:: goto failed
		fi;
#ifndef NO_SECOND_FENCE
		if
		:: LATER(g) -> goto dead
		:: else
		fi;
#endif
		d_step {
			said[g] = c + 1;
			reported = (reported > c + 1 -> reported : c + 1);
			i = g + 1;
			do
			:: i <= G -> assert(picked[i] == 0 || picked[i] > c + 1); i++ /* restore: what is reported later */
			:: else -> break
			od;
			i = 0
		}
		prune(g, l, c, newest);
failed:		c = 0
	od;
dead:	skip
}

proctype Reader()
{
	byte c, floor;
	int l, p;

	atomic { reported -> floor = reported } /* before, anything is right */
	find(l, p, c);
	assert(c >= floor) /* reader */
}

proctype Gc()
{
	byte c, newest;
	int l;

	WHOLE(there) || NEWEST > 1; /* before, it does nothing */
	prune(0, l, c, newest)
}

init
{
	atomic {
		run Attempt(0);
		run Attempt(1);
#if ATTEMPTS == 3
		run Attempt(2);
#endif
#if READERS
		run Reader();
#endif
#if GCS
		run Gc();
#endif
	}
}
