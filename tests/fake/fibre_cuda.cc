/* fibre_cuda.cc -- see fibre_cuda.h: runs the threads of a block as fibres.
 *
 *     READY  -> runs until it waits or ends       run_block
 *     BLOCK  -> READY when all threads of the block wait there, at one line       barrier, release_block
 *     WARP   -> READY when all lanes of its mask wait there, at one line          warp, release_warp
 *     DONE
 *
 * Invariant: a warp's meeting gives each lane a copy of what all brought: a fibre that runs ahead cannot overwrite what another has not
 * read yet. A fibre that has ended is kept, and runs the next block's thread. */
#include "tests/fake/fibre_cuda.h"

#include <cstdarg>
#include <memory>
#include <mutex>
#include <sys/mman.h>
#include <ucontext.h>
#include <vector>
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/common_interface_defs.h>
#elif defined(__SANITIZE_THREAD__)
#include <sanitizer/tsan_interface.h>
#endif

namespace fibre {

namespace {

enum state { READY, BLOCK, WARP, DONE };
constexpr size_t STACK = 256 << 10, GUARD = 4096, LANES = 32, CARRIED = 16;

struct thread {
	ucontext_t context;
	char *stack;
	void *tsan;
	uint3 index;
	enum state state;
	site at;
	unsigned mask;
	unsigned char in[CARRIED], got[LANES][CARRIED];
};

std::mutex one_launch;
std::vector<std::unique_ptr<thread>> threads; /* grows; stacks are kept */
size_t n;                                     /* threads of this block */
thread *now;
ucontext_t scheduler;
const std::function<void()> *body;
const char *kernel;
std::unique_ptr<unsigned char[]> dynamic;
int votes, voted;

[[noreturn]] __attribute__((format(printf, 1, 2))) void die(const char *format, ...)
{
	va_list list;

	fprintf(stderr, "fibre: %s, block (%u, %u, %u), thread (%u, %u, %u): ", kernel, blockIdx.x, blockIdx.y, blockIdx.z, threadIdx.x,
		threadIdx.y, threadIdx.z);
	va_start(list, format);
	vfprintf(stderr, format, list);
	va_end(list);
	fputc('\n', stderr);
	abort();
}

/* The sanitizers of addresses and of threads have to be told which stack is the current one. */
#ifdef __SANITIZE_ADDRESS__
const void *main_stack;
size_t main_stack_bytes;

void arrive_in_fibre(void)
{
	__sanitizer_finish_switch_fiber(nullptr, &main_stack, &main_stack_bytes);
}

void run(thread *t)
{
	void *fake;

	__sanitizer_start_switch_fiber(&fake, t->stack, STACK);
	swapcontext(&scheduler, &t->context);
	__sanitizer_finish_switch_fiber(fake, nullptr, nullptr);
}

void leave(thread *t)
{
	void *fake;

	__sanitizer_start_switch_fiber(&fake, main_stack, main_stack_bytes);
	swapcontext(&t->context, &scheduler);
	__sanitizer_finish_switch_fiber(fake, &main_stack, &main_stack_bytes); /* perhaps another host thread's by now */
}
#elif defined(__SANITIZE_THREAD__)
void *main_fibre;

void arrive_in_fibre(void) {}

void run(thread *t)
{
	if (!t->tsan)
		t->tsan = __tsan_create_fiber(0);
	main_fibre = __tsan_get_current_fiber();
	__tsan_switch_to_fiber(t->tsan, 0);
	swapcontext(&scheduler, &t->context);
}

void leave(thread *t)
{
	__tsan_switch_to_fiber(main_fibre, 0);
	swapcontext(&t->context, &scheduler);
}
#else
void arrive_in_fibre(void) {}
void run(thread *t) { swapcontext(&scheduler, &t->context); }
void leave(thread *t) { swapcontext(&t->context, &scheduler); }
#endif

void enter(void)
{
	arrive_in_fibre();
	for (;;) {
		(*body)();
		now->state = DONE;
		leave(now);
	}
}

std::unique_ptr<thread> new_thread(void)
{
	auto t = std::make_unique<thread>();
	void *at = mmap(nullptr, GUARD + STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (at == MAP_FAILED || mprotect(at, GUARD, PROT_NONE) < 0 || getcontext(&t->context) < 0)
		die("no memory for stacks");
	t->stack = static_cast<char *>(at) + GUARD;
	t->context.uc_stack.ss_sp = t->stack;
	t->context.uc_stack.ss_size = STACK;
	t->context.uc_link = nullptr;
	makecontext(&t->context, enter, 0);
	return t;
}

void begin_block(void)
{
	size_t i;

	while (threads.size() < n)
		threads.push_back(new_thread());
	for (i = 0; i < n; i++) {
		threads[i]->state = READY;
		threads[i]->index = { static_cast<unsigned>(i % blockDim.x), static_cast<unsigned>(i / blockDim.x % blockDim.y),
			static_cast<unsigned>(i / blockDim.x / blockDim.y) };
	}
	votes = 0;
}

bool same(site a, site b)
{
	return a.line == b.line && !strcmp(a.file, b.file);
}

bool release_block(void)
{
	size_t i, waiting = 0;

	for (i = 0; i < n; i++)
		waiting += threads[i]->state == BLOCK;
	if (waiting < n)
		return false;
	for (i = 0; i < n; i++) {
		if (!same(threads[i]->at, threads[0]->at))
			die("threads wait at different barriers: one at %s:%d, another at %s:%d", threads[0]->at.file, threads[0]->at.line,
				threads[i]->at.file, threads[i]->at.line);
		threads[i]->state = READY;
	}
	voted = votes;
	votes = 0;
	return true;
}

/* Nobody can run, and nobody can be released. */
[[noreturn]] void stuck(void)
{
	size_t i, done = 0;
	const thread *waits = nullptr;

	for (i = 0; i < n; i++) {
		done += threads[i]->state == DONE;
		if (threads[i]->state != DONE)
			waits = threads[i].get();
	}
	threadIdx = waits->index;
	die("waits for ever at %s:%d (%s): of %zu threads %zu have ended, the others wait elsewhere", waits->at.file, waits->at.line,
		waits->state == BLOCK ? "__syncthreads" : "a warp's operation", n, done);
}

/* alone: a warp runs until a barrier stops it, then the next one: as far apart as a GPU's warps can be. Else they move side by side. */
void run_block(const std::vector<unsigned> &order, bool alone)
{
	size_t done = 0;

	begin_block();
	while (done < n) {
		bool ran = false;

		for (unsigned i : order) {
			now = threads[i].get();
			if (now->state != READY)
				continue;
			threadIdx = now->index;
			run(now);
			done += now->state == DONE;
			ran = true;
			if (alone)
				break;
		}
		if (!ran && !release_block())
			stuck();
	}
}

/* FIBRE_ORDER: forward, alone (the same, see run_block), reverse, or a seed. */
std::vector<unsigned> order_of(size_t count)
{
	const char *want = getenv("FIBRE_ORDER");
	unsigned long long seed = want ? strtoull(want, nullptr, 10) : 0;
	std::vector<unsigned> order(count);
	size_t i;

	for (i = 0; i < count; i++)
		order[i] = static_cast<unsigned>(want && !strcmp(want, "reverse") ? count - 1 - i : i);
	for (i = count; seed && i > 1; i--) {
		seed = seed * 6364136223846793005u + 1442695040888963407u; /* Knuth's MMIX */
		std::swap(order[i - 1], order[(seed >> 33) % i]);
	}
	return order;
}

} // namespace

void launch(const char *name, dim3 grid, dim3 block, size_t shared_bytes, const std::function<void()> &thread)
{
	std::lock_guard<std::mutex> lock(one_launch);

	const char *want = getenv("FIBRE_ORDER");
	const bool alone = want && !strcmp(want, "alone");

	kernel = name;
	body = &thread;
	gridDim = grid;
	blockDim = block;
	n = static_cast<size_t>(block.x) * block.y * block.z;
	if (n == 0 || n > 1024 || block.z > 64 || grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.y > 65535 || grid.z > 65535 ||
		shared_bytes > 227 << 10)
		die("a launch that a GPU refuses: grid (%u, %u, %u), block (%u, %u, %u), %zu bytes of shared memory", grid.x, grid.y, grid.z,
			block.x, block.y, block.z, shared_bytes);
	const std::vector<unsigned> blocks = order_of(static_cast<size_t>(grid.x) * grid.y * grid.z), order = order_of(n);
	for (unsigned b : blocks) {
		blockIdx = { b % grid.x, b / grid.x % grid.y, b / grid.x / grid.y };
		dynamic.reset(new unsigned char[shared_bytes]); /* of this size alone: AddressSanitizer sees what lies beyond */
		memset(dynamic.get(), 0xff, shared_bytes);
		run_block(order, alone);
	}
	dynamic.reset();
}

void *shared()
{
	return dynamic.get();
}

int barrier(int vote, site at)
{
	votes += vote;
	now->at = at;
	now->state = BLOCK;
	leave(now);
	return voted;
}

unsigned own_lane()
{
	size_t i = threadIdx.x + static_cast<size_t>(blockDim.x) * (threadIdx.y + static_cast<size_t>(blockDim.y) * threadIdx.z);

	return static_cast<unsigned>(i % LANES);
}

static thread *of_lane(unsigned lane)
{
	size_t i = now->index.x + static_cast<size_t>(blockDim.x) * (now->index.y + static_cast<size_t>(blockDim.y) * now->index.z);

	i = i / LANES * LANES + lane;
	return i < n ? threads[i].get() : nullptr; /* the last warp may be short */
}

static bool release_warp(unsigned mask)
{
	unsigned char all[LANES][CARRIED] = {};
	thread *t;
	unsigned i;

	for (i = 0; i < LANES; i++)
		if (mask >> i & 1 && (t = of_lane(i)) && (t->state != WARP || t->mask != mask || !same(t->at, now->at)))
			return false;
	for (i = 0; i < LANES; i++)
		if (mask >> i & 1 && (t = of_lane(i)))
			memcpy(all[i], t->in, CARRIED);
	for (i = 0; i < LANES; i++)
		if (mask >> i & 1 && (t = of_lane(i))) {
			memcpy(t->got, all, sizeof(all));
			t->state = READY;
		}
	return true;
}

void warp(unsigned mask, const void *in, size_t bytes, site at)
{
	if (!(mask >> own_lane() & 1))
		die("%s:%d: the mask %#x of a warp's operation lacks the caller's lane", at.file, at.line, mask);
	memset(now->in, 0, CARRIED);
	memcpy(now->in, in, bytes);
	now->at = at;
	now->mask = mask;
	now->state = WARP;
	if (!release_warp(mask))
		leave(now);
}

const void *lane(unsigned mask, unsigned lane, site at)
{
	if (mask && (lane >= LANES || !of_lane(lane) || !(mask >> lane & 1)))
		die("%s:%d: a shuffle from lane %u, which takes no part (mask %#x, %zu threads)", at.file, at.line, lane, mask, n);
	return now->got[lane];
}

} // namespace fibre
