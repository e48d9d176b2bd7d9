/* cuda.cc -- a stand-in for NVIDIA's driver (libcuda.so.1), for machines without a GPU. It says nothing about a real one.
 *
 * One GPU, whose memory is the host's, filled with garbage when it is taken. Each stream is a thread that does its work in order, so host
 * and streams really run beside each other; a copy of host memory that is not pinned waits, as CUDA's does. Kernels are kernels.cu as
 * fibres (fibre_cuda.h); the first launch of each waits for all streams, as CUDA's may. Every address and length is checked against what was
 * allocated. A process that is forked after cuInit can use nothing.
 *
 * FAKE_CUDA, words with commas between them, orders what goes wrong:
 *   old stub mismatch notready compat unknown nodevice     cuInit, or the driver's version
 *   busy away prohibited full lost                         taking the GPU
 *   turing mig                                             it is another GPU
 *   badkernels oom illegal ecc                             later: loading kernels; memory above 1 MiB; after the first kernel
 *   guard                                                  GPU memory faults when the program itself touches it
 *   lazy                                                   streams work only while the host waits for one of them
 * CUDA_VISIBLE_DEVICES is obeyed: the GPU is 0 and GPU-01020304-….
 *
 * Beside CUDA's functions: fake_cuda_hold(1) stops all streams before their next piece of work until fake_cuda_hold(0); fake_cuda_reserve(s, 1)
 * refuses all work for a stream until fake_cuda_reserve(s, 0). */
#include "collectives/kernels_cuda.h"
#include "tests/fake/fibre_cuda.h"

#include <chrono>
#include <condition_variable>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <sys/mman.h>
#include <thread>
#include <unistd.h>
#include <vector>

#define EXPORT extern "C" __attribute__((visibility("default")))

namespace {

enum result { OK, INVALID = 1, OUT_OF_MEMORY = 2, NOT_INITIALIZED = 3, STUB = 34, UNAVAILABLE = 46, NO_DEVICE = 100, NO_BINARY = 209, ECC = 214,
	INVALID_HANDLE = 400, NOT_FOUND = 500, NOT_READY = 600, ILLEGAL_ADDRESS = 700, ALREADY_REGISTERED = 712, NOT_PERMITTED = 800, SYSTEM_NOT_READY = 802,
	MISMATCH = 803, COMPAT = 804, UNKNOWN = 999 };
const struct { int code; const char *name, *words; } results[] = {
	{ OK, "CUDA_SUCCESS", "no error" },
	{ INVALID, "CUDA_ERROR_INVALID_VALUE", "invalid argument" },
	{ OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory" },
	{ NOT_INITIALIZED, "CUDA_ERROR_NOT_INITIALIZED", "initialization error" },
	{ UNAVAILABLE, "CUDA_ERROR_DEVICE_UNAVAILABLE", "CUDA-capable device(s) is/are busy or unavailable" },
	{ NO_BINARY, "CUDA_ERROR_NO_BINARY_FOR_GPU", "no kernel image is available for execution on the device" },
	{ ECC, "CUDA_ERROR_ECC_UNCORRECTABLE", "uncorrectable ECC error encountered" },
	{ INVALID_HANDLE, "CUDA_ERROR_INVALID_HANDLE", "invalid resource handle" },
	{ NOT_FOUND, "CUDA_ERROR_NOT_FOUND", "named symbol not found" },
	{ NOT_READY, "CUDA_ERROR_NOT_READY", "device not ready" },
	{ ILLEGAL_ADDRESS, "CUDA_ERROR_ILLEGAL_ADDRESS", "an illegal memory access was encountered" },
	{ ALREADY_REGISTERED, "CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED", "part or all of the requested memory range is already mapped" },
	{ NOT_PERMITTED, "CUDA_ERROR_NOT_PERMITTED", "operation not permitted" },
	{ UNKNOWN, "CUDA_ERROR_UNKNOWN", "unknown error" },
};

bool ordered(const char *word)
{
	const char *all = getenv("FAKE_CUDA");
	std::string in = std::string(",") + (all ? all : "") + ",";

	return in.find(std::string(",") + word + ",") != std::string::npos;
}

/* --- memory ------------------------------------------------------------------------------------------------------------------- */

enum kind { DEVICE, PINNED, REGISTERED };
struct range { enum kind kind; size_t bytes; };
typedef unsigned long long address;

/* Never destroyed: streams may still run while the program exits. */
std::mutex &lock = *new std::mutex;                  /* of all that follows */
std::condition_variable &changed = *new std::condition_variable;
std::map<address, range> &ranges = *new std::map<address, range>;
size_t taken;
int sticky;                                          /* what every call answers after a kernel failed */
pid_t owner;                                         /* who called cuInit */

const std::pair<const address, range> *find(address p)
{
	auto at = ranges.upper_bound(p);

	return at == ranges.begin() || p >= std::prev(at)->first + std::prev(at)->second.bytes ? nullptr : &*std::prev(at);
}

/* Host memory that CUDA does not know is fine; a range that leaves its allocation is not. */
bool fits(address p, size_t bytes)
{
	const auto *r = find(p);

	return p && (!r || p + bytes <= r->first + r->second.bytes);
}

bool is_pinned(address p, size_t bytes)
{
	const auto *r = find(p);

	return r && r->second.kind != DEVICE && fits(p, bytes);
}

/* FAKE_CUDA=guard: with the lock held, GPU memory is memory for a moment. */
void open_memory(bool open)
{
	if (ordered("guard"))
		for (const auto &r : ranges)
			if (r.second.kind == DEVICE)
				mprotect(reinterpret_cast<void *>(r.first), r.second.bytes, open ? PROT_READ | PROT_WRITE : PROT_NONE);
}

int take(size_t bytes, enum kind kind, address *ret)
{
	std::lock_guard<std::mutex> held(lock);
	void *p;

	if (sticky)
		return sticky;
	if (!bytes)
		return INVALID;
	if (kind == DEVICE && taken + bytes > (ordered("oom") ? 1u << 20 : 8u << 28))
		return OUT_OF_MEMORY;
	if (kind == DEVICE && ordered("guard"))
		p = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	else if (posix_memalign(&p, 256, bytes)) /* AddressSanitizer sees what lies beyond it */
		return OUT_OF_MEMORY;
	memset(p, 0xa5, bytes);
	*ret = reinterpret_cast<address>(p);
	ranges[*ret] = { kind, bytes };
	taken += kind == DEVICE ? bytes : 0;
	open_memory(false);
	return OK;
}

int give(address p, enum kind kind)
{
	std::lock_guard<std::mutex> held(lock);
	auto r = ranges.find(p);

	if (r == ranges.end() || r->second.kind != kind)
		return INVALID;
	if (kind == DEVICE && ordered("guard"))
		munmap(reinterpret_cast<void *>(p), r->second.bytes);
	else if (kind != REGISTERED)
		free(reinterpret_cast<void *>(p));
	taken -= kind == DEVICE ? r->second.bytes : 0;
	ranges.erase(r);
	return OK;
}

/* --- streams ------------------------------------------------------------------------------------------------------------------ */

struct stream {
	std::deque<std::function<void()>> work;
	uint64_t queued = 0, done = 0;
	bool ended = false, reserved = false;
};
struct event {
	uint64_t recorded = 0, done = 0;
	std::chrono::steady_clock::time_point at;
	bool timed;
};

std::map<void *, std::shared_ptr<stream>> &streams = *new std::map<void *, std::shared_ptr<stream>>;
std::map<void *, std::shared_ptr<event>> &events = *new std::map<void *, std::shared_ptr<event>>;
bool held_back;
int waiting;

bool may_work(void)
{
	return !held_back && (waiting || !ordered("lazy"));
}

void work(std::shared_ptr<stream> s)
{
	std::unique_lock<std::mutex> held(lock);

	for (;;) {
		changed.wait(held, [&] { return (s->ended && s->work.empty()) || (!s->work.empty() && may_work()); });
		if (s->work.empty())
			return;
		std::function<void()> next = std::move(s->work.front());

		s->work.pop_front();
		held.unlock();
		next();
		next = nullptr;
		held.lock();
		s->done++;
		changed.notify_all();
	}
}

/* With the lock held. The default streams are made when they are first used. */
std::shared_ptr<stream> stream_of(void *handle)
{
	auto at = streams.find(handle);

	if (at == streams.end() && reinterpret_cast<uintptr_t>(handle) <= 2) {
		at = streams.emplace(handle, std::make_shared<stream>()).first;
		std::thread(work, at->second).detach();
	}
	return at == streams.end() ? nullptr : at->second;
}

int enqueue(void *handle, std::function<void()> what)
{
	std::lock_guard<std::mutex> held(lock);
	std::shared_ptr<stream> s = stream_of(handle);

	if (sticky)
		return sticky;
	if (!s)
		return INVALID_HANDLE;
	if (s->reserved)
		return NOT_PERMITTED;
	s->work.push_back(std::move(what));
	s->queued++;
	changed.notify_all();
	return OK;
}

int sync(void *handle)
{
	std::unique_lock<std::mutex> held(lock);
	std::shared_ptr<stream> s = stream_of(handle);

	if (!s)
		return INVALID_HANDLE;
	waiting++;
	changed.notify_all();
	changed.wait(held, [&, upto = s->queued] { return s->done >= upto; });
	waiting--;
	return sticky;
}

/* Work on memory: under the lock, so that nothing else sees it open. */
std::function<void()> on_memory(std::function<void()> what)
{
	return [what] {
		std::lock_guard<std::mutex> held(lock);

		open_memory(true);
		what();
		open_memory(false);
	};
}

std::shared_ptr<event> event_of(void *handle)
{
	auto at = events.find(handle);

	return at == events.end() ? nullptr : at->second;
}

/* --- kernels ------------------------------------------------------------------------------------------------------------------ */

} // namespace

#define PAIRS(X) X(f16, f16) X(f16, bf16) X(f16, f32) X(f16, f64) X(bf16, f16) X(bf16, bf16) X(bf16, f32) X(bf16, f64) \
	X(f32, f16) X(f32, bf16) X(f32, f32) X(f32, f64) X(f64, f16) X(f64, bf16) X(f64, f32) X(f64, f64)
#define X(in, wire) extern "C" void ls_pack_##in##_##wire(ls_pack_args), ls_unpack_##in##_##wire(ls_pack_args);
PAIRS(X)
#undef X

namespace {

struct kernel { const char *name; std::function<std::function<void()>(void **)> bound; };
const kernel kernels[] = {
#define X(in, wire)                                                                                                            \
	{ "ls_pack_" #in "_" #wire, [](void **args) { return fibre::bound(ls_pack_##in##_##wire, args); } },                   \
	{ "ls_unpack_" #in "_" #wire, [](void **args) { return fibre::bound(ls_unpack_##in##_##wire, args); } },
	PAIRS(X)
#undef X
};

const char own_uuid[] = "GPU-01020304-0506-0708-090a-0b0c0d0e0f10";

bool visible(void)
{
	const char *list = getenv("CUDA_VISIBLE_DEVICES");

	return !list || (*list && (*list == '0' || (strlen(list) >= 5 && !strncmp(list, own_uuid, strlen(list)))));
}

} // namespace

/* --- what the driver exports -------------------------------------------------------------------------------------------------- */

EXPORT int fake_context_syncs;
int fake_context_syncs;

EXPORT void fake_cuda_hold(int hold)
{
	std::lock_guard<std::mutex> held(lock);

	held_back = hold;
	changed.notify_all();
}

EXPORT void fake_cuda_reserve(void *handle, int on)
{
	std::lock_guard<std::mutex> held(lock);
	auto at = streams.find(handle);

	if (at != streams.end())
		at->second->reserved = on;
}

EXPORT int cuDriverGetVersion(int *ret) { *ret = ordered("old") ? 12040 : 13000; return OK; }

EXPORT int cuInit(unsigned)
{
	static const struct { const char *word; int code; } causes[] = { { "stub", STUB }, { "mismatch", MISMATCH },
		{ "notready", SYSTEM_NOT_READY }, { "compat", COMPAT }, { "unknown", UNKNOWN }, { "nodevice", NO_DEVICE } };

	for (const auto &c : causes)
		if (ordered(c.word))
			return c.code;
	owner = getpid();
	return visible() ? OK : NO_DEVICE;
}

EXPORT int cuGetErrorName(int code, const char **ret)
{
	for (const auto &r : results)
		if (r.code == code) {
			*ret = r.name;
			return OK;
		}
	return INVALID;
}

EXPORT int cuGetErrorString(int code, const char **ret)
{
	for (const auto &r : results)
		if (r.code == code) {
			*ret = r.words;
			return OK;
		}
	return INVALID;
}

EXPORT int cuDeviceGetCount(int *ret) { *ret = 1; return OK; }
EXPORT int cuDeviceGet(int *ret, int i) { *ret = 0; return i == 0 ? OK : NO_DEVICE; }
EXPORT int cuDeviceGetName(char *ret, int bytes, int)
{
	snprintf(ret, static_cast<size_t>(bytes), "NVIDIA Stand-in%s", ordered("mig") ? " MIG 1g.5gb" : "");
	return OK;
}
EXPORT int cuDeviceGetUuid_v2(unsigned char *ret, int)
{
	for (unsigned char i = 0; i < 16; i++)
		ret[i] = static_cast<unsigned char>(i + 1);
	return OK;
}
EXPORT int cuDeviceGetPCIBusId(char *ret, int bytes, int) { snprintf(ret, static_cast<size_t>(bytes), "0000:1B:00.0"); return OK; }
EXPORT int cuDeviceGetAttribute(int *ret, int attribute, int)
{
	switch (attribute) {
	case 16: *ret = 4; return OK;                                                       /* MULTIPROCESSOR_COUNT */
	case 20: *ret = ordered("prohibited") ? 2 : ordered("busy") ? 3 : 0; return OK;     /* COMPUTE_MODE */
	case 75: *ret = ordered("turing") ? 7 : 9; return OK;                               /* COMPUTE_CAPABILITY_MAJOR */
	case 76: *ret = ordered("turing") ? 5 : 0; return OK;                               /* COMPUTE_CAPABILITY_MINOR */
	}
	return INVALID;
}
EXPORT int cuDevicePrimaryCtxRetain(void **ret, int)
{
	*ret = &lock;
	return ordered("busy") || ordered("away") || ordered("prohibited") ? UNAVAILABLE : ordered("full") ? OUT_OF_MEMORY : ordered("lost") ? ECC : OK;
}

static thread_local void *current;

EXPORT int cuCtxGetCurrent(void **ret) { *ret = current; return OK; }
EXPORT int cuCtxSetCurrent(void *context)
{
	if (owner != getpid())
		return NOT_INITIALIZED;
	current = context;
	return OK;
}
EXPORT int cuCtxGetDevice(int *ret) { *ret = 0; return OK; }
EXPORT int cuCtxGetStreamPriorityRange(int *least, int *greatest) { *least = 0; *greatest = -5; return OK; }
EXPORT int cuCtxSynchronize(void)
{
	std::vector<void *> all;

	lock.lock();
	fake_context_syncs++;
	for (const auto &s : streams)
		all.push_back(s.first);
	lock.unlock();
	for (void *s : all)
		sync(s);
	return sticky;
}

EXPORT int cuMemGetInfo_v2(size_t *ret_free, size_t *ret_all)
{
	std::lock_guard<std::mutex> held(lock);

	*ret_all = ordered("oom") ? 1u << 20 : 8u << 28;
	*ret_free = *ret_all - taken;
	return sticky;
}
EXPORT int cuMemAlloc_v2(address *ret, size_t bytes) { return take(bytes, DEVICE, ret); }
EXPORT int cuMemFree_v2(address p)
{
	cuCtxSynchronize(); /* as the driver does */
	return give(p, DEVICE);
}
EXPORT int cuMemHostAlloc(void **ret, size_t bytes, unsigned)
{
	address p = 0;
	int rc = take(bytes, PINNED, &p);

	*ret = reinterpret_cast<void *>(p);
	return rc;
}
EXPORT int cuMemFreeHost(void *p) { return give(reinterpret_cast<address>(p), PINNED); }
EXPORT int cuMemHostRegister_v2(void *at, size_t bytes, unsigned)
{
	std::lock_guard<std::mutex> held(lock);

	if (find(reinterpret_cast<address>(at)))
		return ALREADY_REGISTERED;
	ranges[reinterpret_cast<address>(at)] = { REGISTERED, bytes };
	return OK;
}
EXPORT int cuMemHostUnregister(void *at) { return give(reinterpret_cast<address>(at), REGISTERED); }

EXPORT int cuPointerGetAttribute(void *ret, int attribute, address p)
{
	std::lock_guard<std::mutex> held(lock);
	const auto *r = find(p);

	if (attribute != 2 || !r)
		return INVALID; /* as the driver answers for memory that it does not know */
	*static_cast<int *>(ret) = r->second.kind == DEVICE ? 2 : 1;
	return OK;
}

static int copy(address to, address from, size_t bytes, void *stream, bool wait)
{
	int rc;

	{
		std::lock_guard<std::mutex> held(lock);

		if (!fits(to, bytes) || !fits(from, bytes))
			return INVALID;
		wait = wait || !find(to) || !find(from); /* pageable */
	}
	rc = enqueue(stream, on_memory([=] { memmove(reinterpret_cast<void *>(to), reinterpret_cast<void *>(from), bytes); }));
	return rc || !wait ? rc : sync(stream);
}

EXPORT int cuMemcpyAsync(address to, address from, size_t bytes, void *stream) { return copy(to, from, bytes, stream, false); }
EXPORT int cuMemcpyHtoD_v2(address to, const void *from, size_t bytes)
{
	return copy(to, reinterpret_cast<address>(from), bytes, nullptr, true);
}
/* Only into pinned memory: CUDA takes other, and then it is not asynchronous; none of our code wants that. */
EXPORT int cuMemcpyDtoHAsync_v2(void *to, address from, size_t bytes, void *stream)
{
	{
		std::lock_guard<std::mutex> held(lock);

		if (!is_pinned(reinterpret_cast<address>(to), bytes))
			return INVALID;
	}
	return copy(reinterpret_cast<address>(to), from, bytes, stream, false);
}
EXPORT int cuMemsetD8Async(address at, unsigned char byte, size_t bytes, void *stream)
{
	{
		std::lock_guard<std::mutex> held(lock);

		if (!find(at) || !fits(at, bytes))
			return INVALID;
	}
	return enqueue(stream, on_memory([=] { memset(reinterpret_cast<void *>(at), byte, bytes); }));
}

EXPORT int cuStreamCreateWithPriority(void **ret, unsigned flags, int)
{
	std::lock_guard<std::mutex> held(lock);
	auto s = std::make_shared<stream>();

	if (flags != 1) /* CU_STREAM_NON_BLOCKING: the default stream here waits for no other */
		return INVALID;
	streams[s.get()] = s;
	std::thread(work, s).detach();
	*ret = s.get();
	return sticky;
}
EXPORT int cuStreamCreate(void **ret, unsigned flags) { return cuStreamCreateWithPriority(ret, flags, 0); }
EXPORT int cuStreamDestroy_v2(void *handle)
{
	std::lock_guard<std::mutex> held(lock);
	auto at = streams.find(handle);

	if (!handle || at == streams.end())
		return INVALID_HANDLE;
	at->second->ended = true; /* its work is done nevertheless */
	streams.erase(at);
	changed.notify_all();
	return OK;
}
EXPORT int cuStreamSynchronize(void *handle) { return sync(handle); }
EXPORT int cuStreamQuery(void *handle)
{
	std::lock_guard<std::mutex> held(lock);
	std::shared_ptr<stream> s = stream_of(handle);

	return !s ? INVALID_HANDLE : sticky ? sticky : s->done == s->queued ? OK : NOT_READY;
}
EXPORT int cuLaunchHostFunc(void *handle, void (*function)(void *), void *data)
{
	return enqueue(handle, [=] { function(data); });
}

EXPORT int cuEventCreate(void **ret, unsigned flags)
{
	std::lock_guard<std::mutex> held(lock);
	auto e = std::make_shared<event>();

	e->timed = !(flags & 2); /* CU_EVENT_DISABLE_TIMING */
	events[e.get()] = e;
	*ret = e.get();
	return sticky;
}
EXPORT int cuEventDestroy_v2(void *handle)
{
	std::lock_guard<std::mutex> held(lock);

	return events.erase(handle) ? OK : INVALID_HANDLE;
}
EXPORT int cuEventRecord(void *handle, void *stream)
{
	std::shared_ptr<event> e;
	uint64_t turn;

	{
		std::lock_guard<std::mutex> held(lock);

		e = event_of(handle);
		if (!e)
			return INVALID_HANDLE;
		turn = ++e->recorded;
	}
	return enqueue(stream, [=] {
		std::lock_guard<std::mutex> held(lock);

		e->done = turn;
		e->at = std::chrono::steady_clock::now();
		changed.notify_all();
	});
}
EXPORT int cuEventQuery(void *handle)
{
	std::lock_guard<std::mutex> held(lock);
	std::shared_ptr<event> e = event_of(handle);

	return !e ? INVALID_HANDLE : sticky ? sticky : e->done == e->recorded ? OK : NOT_READY;
}
EXPORT int cuStreamWaitEvent(void *stream, void *handle, unsigned)
{
	std::shared_ptr<event> e;
	uint64_t turn;

	{
		std::lock_guard<std::mutex> held(lock);

		e = event_of(handle);
		if (!e)
			return INVALID_HANDLE;
		turn = e->recorded; /* a later record is not waited for */
	}
	return enqueue(stream, [=] {
		std::unique_lock<std::mutex> held(lock);

		changed.wait(held, [&] { return e->done >= turn; });
	});
}
EXPORT int cuEventElapsedTime(float *ret, void *from, void *to)
{
	std::lock_guard<std::mutex> held(lock);
	std::shared_ptr<event> a = event_of(from), b = event_of(to);

	if (!a || !b || !a->timed || !b->timed || !a->recorded || !b->recorded)
		return INVALID_HANDLE;
	if (a->done != a->recorded || b->done != b->recorded)
		return NOT_READY;
	*ret = std::chrono::duration<float, std::milli>(b->at - a->at).count();
	return OK;
}

/* What nvcc makes begins with this number. */
EXPORT int cuLibraryLoadData(void **ret, const void *data, void *, void *, unsigned, void *, void *, unsigned)
{
	uint32_t magic;

	memcpy(&magic, data, sizeof(magic));
	*ret = &lock;
	return magic != 0xba55ed50 ? INVALID : ordered("badkernels") ? NO_BINARY : OK;
}
EXPORT int cuLibraryGetKernel(const void **ret, void *, const char *name)
{
	for (const auto &k : kernels)
		if (!strcmp(k.name, name)) {
			*ret = &k;
			return OK;
		}
	return NOT_FOUND;
}
static bool is_new(const kernel *k)
{
	static std::set<const kernel *> loaded;
	std::lock_guard<std::mutex> held(lock);

	return loaded.insert(k).second;
}
EXPORT int cuLaunchKernel(const void *function, unsigned x, unsigned y, unsigned z, unsigned bx, unsigned by, unsigned bz,
	unsigned shared_bytes, void *stream, void **args, void **)
{
	const kernel *k = static_cast<const kernel *>(function);
	std::function<void()> thread = k->bound(args); /* arguments are copied now, as CUDA does */
	bool illegal = ordered("illegal"), ecc = ordered("ecc");

	if (!x || !y || !z || !bx || !by || !bz || bx * by * bz > 1024)
		return INVALID;
	if (is_new(k))
		cuCtxSynchronize();
	return enqueue(stream, on_memory([=] {
		fibre::launch(k->name, { x, y, z }, { bx, by, bz }, shared_bytes, thread);
		sticky = illegal ? ILLEGAL_ADDRESS : ecc ? ECC : sticky;
	}));
}
