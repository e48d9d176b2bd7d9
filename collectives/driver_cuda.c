/* driver_cuda.c -- see api_cuda.h: opens the driver, takes a GPU, loads our kernels; and says what is wrong when that fails.
 *
 * Each step that can fail has one sentence for each cause that can be told apart, because "CUDA error 100" is what users see elsewhere for
 * half of them. What an operation needs of the driver is asked once, here: after ls_cuda_open all of ls_cu is there. */
#include "collectives/driver_cuda.h"
#include "core/symbols.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define OTHERWISE "or run on CPUs (--device cpu)"
#define MIN_CAPABILITY 80 /* of kernels.cu's machine code */

/* A driver serves every CUDA of its major version: https://docs.nvidia.com/deploy/cuda-compatibility/minor-version-compatibility.html */
#define CUDA_MAJOR (CUDA_VERSION / 1000)
#define NEEDED_DRIVER (CUDA_MAJOR >= 13 ? "580" : "525")

struct ls_cuda_driver ls_cu;
CUlibrary ls_cuda_kernels;
CUdevice ls_cuda_gpu;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static CUcontext context;
static int serves;                          /* 13000: the newest CUDA of this driver */
static atomic_bool opened;
static struct ls_err failure = LS_ERR_INIT; /* of the first ls_cuda_open; LS_OK: none was made, or it succeeded */

/* What nvcc made of kernels.cu. */
__asm__(".pushsection .rodata\n"
	".balign 64\n"
	"ls_kernels_fatbin:\n"
	".incbin \"" LS_CUDA_KERNELS "\"\n"
	".balign 8\n"
	".popsection\n");
extern const char fatbin[] __asm__("ls_kernels_fatbin");

bool ls_cuda_built(void)
{
	return true;
}

/* "driver 570.86.15", from the kernel module's own file; "driver" where that cannot be read. */
static const char *driver_name(char *ret, size_t bytes)
{
	char line[256] = "", *at;
	FILE *f = fopen("/proc/driver/nvidia/version", "re");
	double version;

	if (f) {
		if (!fgets(line, sizeof(line), f))
			line[0] = '\0';
		fclose(f);
	}
	/* "NVRM version: NVIDIA UNIX … Kernel Module  570.86.15  Thu …" */
	for (at = strpbrk(line, "0123456789"); at && (sscanf(at, "%lf", &version) != 1 || version < 100); at = strpbrk(at, "0123456789"))
		at += strspn(at, "0123456789.");
	if (at)
		snprintf(ret, bytes, "driver %.*s", (int)strspn(at, "0123456789."), at);
	else
		snprintf(ret, bytes, "driver");
	return ret;
}

static ls_status no_library(struct ls_err *err)
{
	const char *why = dlerror();

	if (!access("/proc/driver/nvidia/version", F_OK))
		return ls_fail(err, LS_USAGE, 0, "NVIDIA's kernel module is loaded here, but its library cannot be opened (%s): install "
			"the driver's libcuda.so.1; a container gets it from the NVIDIA container toolkit; " OTHERWISE, why);
	return ls_fail(err, LS_USAGE, 0, "this host has no NVIDIA driver (%s): install version %s or newer, choose a host "
		"with a GPU, " OTHERWISE, why, NEEDED_DRIVER);
}

static ls_status too_old(struct ls_err *err)
{
	char name[64];

	return ls_fail(err, LS_USAGE, 0, "the NVIDIA %s of this host serves CUDA %d.%d, and this build of Lockstep needs CUDA %d: "
		"install driver %s or newer, build with CUDA %d, " OTHERWISE, driver_name(name, sizeof(name)), serves / 1000,
		serves / 10 % 100, CUDA_MAJOR, NEEDED_DRIVER, serves / 1000);
}

static ls_status load(struct ls_err *err)
{
	static const char *const names[] = {
#define X(name, symbol) symbol,
		LS_CUDA_FUNCTIONS(X)
#undef X
	};
	void *library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL), *at;
	CUresult (*version)(int *);
	const char *missing;

	if (!library)
		return no_library(err);
	at = dlsym(library, "cuDriverGetVersion");
	memcpy(&version, &at, sizeof(at)); /* ISO C has no cast from object to function pointers */
	if (at && !version(&serves) && serves / 1000 < CUDA_MAJOR)
		return too_old(err);
	missing = at ? ls_symbols(library, names, sizeof(names) / sizeof(names[0]), &ls_cu) : "cuDriverGetVersion";
	if (missing)
		return ls_fail(err, LS_USAGE, 0, "libcuda.so.1 of this host has no %s, so it is too old or no NVIDIA driver: "
			"install driver %s or newer, " OTHERWISE, missing, NEEDED_DRIVER);
	return LS_OK;
}

static ls_status no_device(struct ls_err *err)
{
	const char *visible = getenv("CUDA_VISIBLE_DEVICES");
	char name[64];

	if (visible && (!*visible || !strcmp(visible, "-1")))
		return ls_fail(err, LS_USAGE, 0, "CUDA_VISIBLE_DEVICES is %s, which hides every GPU from this process: unset it or name "
			"one (nvidia-smi -L lists them), " OTHERWISE, *visible ? visible : "empty");
	if (visible)
		return ls_fail(err, LS_USAGE, 0, "CUDA_VISIBLE_DEVICES=%.80s names no GPU of this host (CUDA stops at the first name "
			"that it does not know): take one that nvidia-smi -L lists, " OTHERWISE, visible);
	return ls_fail(err, LS_USAGE, 0, "the NVIDIA %s is on this host, but it finds no GPU (one in MIG mode without instances counts "
		"for none; a container must be given one): see nvidia-smi -L, " OTHERWISE, driver_name(name, sizeof(name)));
}

/* Is the GPU lost for this host until a person acts? */
static bool is_lost(CUresult rc)
{
	return rc == CUDA_ERROR_ECC_UNCORRECTABLE || rc == CUDA_ERROR_NVLINK_UNCORRECTABLE || rc == CUDA_ERROR_UNKNOWN;
}

/* Did a kernel do what it may not? The process can use CUDA no more; the GPU is well. */
static bool is_kernels(CUresult rc)
{
	switch ((int)rc) {
	case CUDA_ERROR_ILLEGAL_ADDRESS:
	case CUDA_ERROR_ASSERT:
	case CUDA_ERROR_HARDWARE_STACK_ERROR:
	case CUDA_ERROR_ILLEGAL_INSTRUCTION:
	case CUDA_ERROR_MISALIGNED_ADDRESS:
	case CUDA_ERROR_INVALID_ADDRESS_SPACE:
	case CUDA_ERROR_INVALID_PC:
	case CUDA_ERROR_LAUNCH_FAILED:
		return true;
	}
	return false;
}

ls_status ls_cuda_check(struct ls_err *err, CUresult rc, const char *what)
{
	const char *name = NULL, *words = NULL, *try = "";

	if (!rc)
		return LS_OK;
	ls_cu.cuGetErrorName_(rc, &name);
	ls_cu.cuGetErrorString_(rc, &words);
	if (is_kernels(rc))
		try = "; a kernel that was started earlier failed: CUDA_LAUNCH_BLOCKING=1 or compute-sanitizer names it";
	else if (rc == CUDA_ERROR_NOT_INITIALIZED)
		try = "; this process was forked from one that used CUDA already: fork before, or start it as a new program";
	else if (is_lost(rc))
		try = "; the GPU or its driver is lost: see the kernel's log for \"NVRM: Xid\", and reset the GPU or reboot the host";
	return ls_fail(err, is_lost(rc) ? LS_NODE_LOST : LS_JOB_LOST, 0, "%s: %s (%d): %s%s", what, name ? name : "a CUDA error", (int)rc,
		words ? words : "unknown to this driver", try);
}

/* cuInit's own causes, and those of taking a GPU. Anything else is told by its name. */
static ls_status cannot_start(struct ls_err *err, CUresult rc)
{
	char name[64];

	switch ((int)rc) {
	case CUDA_ERROR_NO_DEVICE:
	case CUDA_ERROR_INVALID_DEVICE:
		return no_device(err);
	case CUDA_ERROR_STUB_LIBRARY:
		return ls_fail(err, LS_USAGE, 0, "libcuda.so.1 is the CUDA toolkit's stub, not a driver: take its folder "
			"out of LD_LIBRARY_PATH, " OTHERWISE);
	case CUDA_ERROR_SYSTEM_DRIVER_MISMATCH:
		return ls_fail(err, LS_NODE_LOST, 0, "libcuda.so.1 and the kernel module of the NVIDIA %s are of different versions: "
			"reboot this host, or reload the module", driver_name(name, sizeof(name)));
	case CUDA_ERROR_SYSTEM_NOT_READY:
		return ls_fail(err, LS_NODE_LOST, 0, "the GPUs of this host are not ready: on a machine with NVSwitch the service "
			"nvidia-fabricmanager must run, in the driver's version");
	case CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE:
		return ls_fail(err, LS_USAGE, 0, "a CUDA compatibility package is in the loader's path, and this GPU does not support "
			"it: take it out, or install driver %s or newer", NEEDED_DRIVER);
	case CUDA_ERROR_UNKNOWN:
		return ls_fail(err, LS_NODE_LOST, 0, "the NVIDIA %s of this host does not start (CUDA_ERROR_UNKNOWN): its module "
			"nvidia_uvm may not be loaded, or a GPU is lost (\"NVRM: Xid\" in the kernel's log): reload the module, or "
			"reboot", driver_name(name, sizeof(name)));
	default:
		return ls_cuda_check(err, rc, "starting CUDA");
	}
}

static int attribute(CUdevice_attribute which)
{
	int value = 0;

	ls_cu.cuDeviceGetAttribute_(&value, which, ls_cuda_gpu);
	return value;
}

static int capability(void)
{
	return 10 * attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR) + attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
}

/* "NVIDIA H100 80GB HBM3 at 0000:1b:00.0" */
static const char *gpu_name(char *ret, size_t bytes)
{
	char name[96] = "GPU", busid[24] = "?", *p;

	ls_cu.cuDeviceGetName_(name, sizeof(name), ls_cuda_gpu);
	ls_cu.cuDeviceGetPCIBusId_(busid, sizeof(busid), ls_cuda_gpu);
	for (p = busid; *p; p++)
		*p |= *p >= 'A' && *p <= 'F' ? 0x20 : 0;
	snprintf(ret, bytes, "%s at %s", name, busid);
	return ret;
}

static ls_status no_context(struct ls_err *err, CUresult rc)
{
	char name[128];

	gpu_name(name, sizeof(name));
	if (rc == CUDA_ERROR_DEVICE_UNAVAILABLE && attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_MODE) == CU_COMPUTEMODE_PROHIBITED)
		return ls_fail(err, LS_USAGE, 0, "%s is set to serve no program (compute mode Prohibited): choose another GPU, or have "
			"nvidia-smi -c DEFAULT set it back", name);
	if (rc == CUDA_ERROR_DEVICE_UNAVAILABLE && attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_MODE) == CU_COMPUTEMODE_EXCLUSIVE_PROCESS)
		return ls_fail(err, LS_USAGE, 0, "%s is in use by another process and serves one at a time (compute mode "
			"Exclusive_Process): nvidia-smi names the process; choose another GPU, or wait for its end", name);
	if (rc == CUDA_ERROR_OUT_OF_MEMORY)
		return ls_fail(err, LS_USAGE, 0, "%s has no memory left for even a context: other processes hold it "
			"all; nvidia-smi names them", name);
	if (is_lost(rc))
		return ls_fail(err, LS_NODE_LOST, 0, "%s does not answer: it is lost until it is reset or the host is rebooted; \"NVRM: "
			"Xid\" in the kernel's log says why", name);
	return cannot_start(err, rc);
}

/* The program's own context if it made one; else that of the first visible GPU. */
static ls_status take_gpu(struct ls_err *err)
{
	int count = 0, c;
	char name[128];
	CUresult rc;

	rc = ls_cu.cuInit_(0);
	if (!rc)
		rc = ls_cu.cuDeviceGetCount_(&count);
	if (!rc && !count)
		rc = CUDA_ERROR_NO_DEVICE;
	if (rc)
		return cannot_start(err, rc);
	rc = ls_cu.cuCtxGetCurrent_(&context);
	if (!rc && context)
		rc = ls_cu.cuCtxGetDevice_(&ls_cuda_gpu);
	else if (!rc && !(rc = ls_cu.cuDeviceGet_(&ls_cuda_gpu, 0)))
		rc = ls_cu.cuDevicePrimaryCtxRetain_(&context, ls_cuda_gpu);
	if (!rc)
		rc = ls_cu.cuCtxSetCurrent_(context);
	if (rc)
		return no_context(err, rc);
	c = capability();
	if (c < MIN_CAPABILITY)
		return ls_fail(err, LS_USAGE, 0, "%s has compute capability %d.%d, and Lockstep's kernels need %d.%d (A100 or newer): "
			"choose another GPU, " OTHERWISE, gpu_name(name, sizeof(name)), c / 10, c % 10, MIN_CAPABILITY / 10,
			MIN_CAPABILITY % 10);
	rc = ls_cu.cuLibraryLoadData_(&ls_cuda_kernels, fatbin, NULL, NULL, 0, NULL, NULL, 0);
	return ls_cuda_check(err, rc, "loading Lockstep's kernels");
}

ls_status ls_cuda_open(struct ls_err *err)
{
	ls_status st;

	if (opened)
		return LS_OK;
	pthread_mutex_lock(&lock);
	if (!opened && !failure.status) {
		st = load(&failure);
		st = st ? st : take_gpu(&failure);
		opened = !st;
	}
	st = opened ? LS_OK : failure.status;
	if (st && err)
		*err = failure;
	pthread_mutex_unlock(&lock);
	return st;
}

bool ls_cuda_is_open(void)
{
	return opened;
}

ls_status ls_cuda_enter(struct ls_err *err)
{
	ls_status st = ls_cuda_open(err);

	return st ? st : ls_cuda_check(err, ls_cu.cuCtxSetCurrent_(context), "making CUDA's context current");
}

static void uuid_text(const CUuuid *uuid, bool mig, char *ret, size_t bytes)
{
	const unsigned char *u = (const unsigned char *)uuid->bytes;

	int i, n = snprintf(ret, bytes, "%s-", mig ? "MIG" : "GPU");

	for (i = 0; i < 16; i++)
		n += snprintf(ret + n, bytes - (size_t)n, i == 4 || i == 6 || i == 8 || i == 10 ? "-%02x" : "%02x", u[i]);
}

ls_status ls_cuda_device(struct ls_cuda_device *ret, struct ls_err *err)
{
	struct ls_cuda_device d = { 0 };
	size_t free_bytes = 0, bytes = 0;
	CUuuid uuid = { { 0 } };
	char name[128], *at;
	ls_status st = ls_cuda_enter(err);

	if (!st)
		st = ls_cuda_check(err, ls_cu.cuMemGetInfo_(&free_bytes, &bytes), "asking for the GPU's memory");
	if (!st)
		st = ls_cuda_check(err, ls_cu.cuDeviceGetUuid_(&uuid, ls_cuda_gpu), "asking for the GPU's UUID");
	if (st)
		return st;
	gpu_name(name, sizeof(name));
	at = strstr(name, " at ");
	snprintf(d.name, sizeof(d.name), "%.*s", (int)(at - name), name);
	snprintf(d.busid, sizeof(d.busid), "%.23s", at + strlen(" at "));
	uuid_text(&uuid, strstr(d.name, " MIG ") != NULL, d.uuid, sizeof(d.uuid)); /* "NVIDIA A100-SXM4-40GB MIG 1g.5gb" */
	d.capability = capability();
	d.sms = attribute(CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT);
	d.driver = serves;
	d.bytes = bytes;
	d.free_bytes = free_bytes;
	*ret = d;
	return LS_OK;
}
