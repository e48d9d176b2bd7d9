/* blas_cuda.cu -- see blas_cuda.h. The only file that knows cuBLASLt.
 *
 * cuBLASLt's matrices are column by column: what is [rows][in] for us is `in` by `rows` for it, and each product is the transposed one. */
#include "blas_cuda.h"

#include <cublasLt.h>
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT(x) TEXT_(x)
#define TEXT_(x) #x
#define LIBRARY "libcublasLt.so." TEXT(CUBLAS_VER_MAJOR)
#define ALIGNED 128u

#define FUNCTIONS(X)                                                                                                                     \
	X(cublasLtCreate) X(cublasLtDestroy) X(cublasLtGetStatusString) X(cublasLtMatmul) X(cublasLtMatmulAlgoGetHeuristic)              \
	X(cublasLtMatmulDescCreate) X(cublasLtMatmulDescDestroy) X(cublasLtMatmulDescSetAttribute) X(cublasLtMatrixLayoutCreate)         \
	X(cublasLtMatrixLayoutDestroy) X(cublasLtMatmulPreferenceCreate) X(cublasLtMatmulPreferenceDestroy)                              \
	X(cublasLtMatmulPreferenceSetAttribute)

struct product {               /* what an algorithm is chosen for; compared as bytes */
	int32_t m, n, k, lda, ldb, ldd, transpose_a, transpose_b, epilogue, adds;
};

struct operands {
	void *d;
	const void *a, *b, *add, *bias, *aux;
};

struct plan {
	struct product of;
	cublasLtMatmulDesc_t desc;
	cublasLtMatrixLayout_t a, b, d;
	cublasLtMatmulAlgo_t algo;
	struct plan *next;
};

struct gpt_blas {
	void *library, *workspace;
	cublasLtHandle_t handle;
	struct plan *plans;
#define POINTER(f) decltype(&::f) f;
	FUNCTIONS(POINTER)
#undef POINTER
};

static int fail(struct gpt_blas *b, cublasStatus_t status, const char *what, const struct product *p, char *err)
{
	snprintf(err, 512, "cuBLASLt: %s for a product of %d x %d x %d (epilogue %d): %s", what, p->m, p->n, p->k, p->epilogue,
		b->cublasLtGetStatusString(status));
	return -1;
}

int gpt_blas_open(void *workspace, struct gpt_blas **ret, char *err)
{
	struct gpt_blas *b = (struct gpt_blas *)calloc(1, sizeof(*b));
	cublasStatus_t status;

	if (!b) {
		snprintf(err, 512, "no memory for cuBLASLt's handle");
		return -1;
	}
	b->workspace = workspace;
	b->library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
	if (!b->library) {
		snprintf(err, 512, "cuBLASLt is not there (%.300s); CUDA's toolkit and PyPI's nvidia-cublas have it: "
			"put its folder on LD_LIBRARY_PATH", dlerror());
		goto failed;
	}
#define LOAD(f)                                                                             \
	b->f = (decltype(b->f))dlsym(b->library, #f);                                       \
	if (!b->f) {                                                                        \
		snprintf(err, 512, LIBRARY " has no " #f ": another version is needed");    \
		goto failed;                                                                \
	}
	FUNCTIONS(LOAD)
#undef LOAD
	status = b->cublasLtCreate(&b->handle);
	if (status != CUBLAS_STATUS_SUCCESS) {
		snprintf(err, 512, "cuBLASLt does not start: %s", b->cublasLtGetStatusString(status));
		goto failed;
	}
	*ret = b;
	return 0;
failed:
	gpt_blas_close(b);
	return -1;
}

static void free_plan(struct gpt_blas *b, struct plan *p)
{
	if (p->a)
		b->cublasLtMatrixLayoutDestroy(p->a);
	if (p->b)
		b->cublasLtMatrixLayoutDestroy(p->b);
	if (p->d)
		b->cublasLtMatrixLayoutDestroy(p->d);
	if (p->desc)
		b->cublasLtMatmulDescDestroy(p->desc);
	free(p);
}

void gpt_blas_close(struct gpt_blas *b)
{
	struct plan *p, *next;

	if (!b)
		return;
	for (p = b->plans; p; p = next) {
		next = p->next;
		free_plan(b, p);
	}
	if (b->handle)
		b->cublasLtDestroy(b->handle);
	if (b->library)
		dlclose(b->library);
	free(b);
}

template<class T> static void set(struct gpt_blas *b, struct plan *p, cublasLtMatmulDescAttributes_t key, T value, cublasStatus_t *status)
{
	if (*status == CUBLAS_STATUS_SUCCESS)
		*status = b->cublasLtMatmulDescSetAttribute(p->desc, key, &value, sizeof(value));
}

static void set_pointers(struct gpt_blas *b, struct plan *p, const struct operands *o, cublasStatus_t *status)
{
	if (o->bias)
		set(b, p, CUBLASLT_MATMUL_DESC_BIAS_POINTER, o->bias, status);
	if (o->aux)
		set(b, p, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, o->aux, status);
}

static void layout(struct gpt_blas *b, cublasLtMatrixLayout_t *ret, bool transposed, int rows, int columns, int ld, cublasStatus_t *status)
{
	if (*status == CUBLAS_STATUS_SUCCESS)
		*status = b->cublasLtMatrixLayoutCreate(ret, CUDA_R_16BF, (uint64_t)(transposed ? columns : rows), (uint64_t)(transposed ? rows : columns),
			ld);
}

static void describe(struct gpt_blas *b, struct plan *p, const struct operands *o, cublasStatus_t *status)
{
	const struct product *of = &p->of;

	*status = b->cublasLtMatmulDescCreate(&p->desc, CUBLAS_COMPUTE_32F, CUDA_R_32F);
	set(b, p, CUBLASLT_MATMUL_DESC_TRANSA, of->transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N, status);
	set(b, p, CUBLASLT_MATMUL_DESC_TRANSB, of->transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N, status);
	set(b, p, CUBLASLT_MATMUL_DESC_EPILOGUE, (cublasLtEpilogue_t)of->epilogue, status);
	if (o->aux)
		set(b, p, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, (int64_t)of->ldd, status);
	set_pointers(b, p, o, status); /* the algorithm may depend on how they are aligned */
	layout(b, &p->a, of->transpose_a, of->m, of->k, of->lda, status);
	layout(b, &p->b, of->transpose_b, of->k, of->n, of->ldb, status);
	layout(b, &p->d, false, of->m, of->n, of->ldd, status);
}

static cublasStatus_t choose(struct gpt_blas *b, struct plan *p)
{
	static const cublasLtMatmulPreferenceAttributes_t alignments[] = { CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES,
		CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES,
		CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES };
	const uint64_t bytes = GPT_BLAS_WORKSPACE;
	const uint32_t aligned = ALIGNED;
	cublasLtMatmulPreference_t want = NULL;
	cublasLtMatmulHeuristicResult_t found;
	int n = 0;
	cublasStatus_t status = b->cublasLtMatmulPreferenceCreate(&want);

	if (status == CUBLAS_STATUS_SUCCESS)
		status = b->cublasLtMatmulPreferenceSetAttribute(want, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &bytes, sizeof(bytes));
	for (cublasLtMatmulPreferenceAttributes_t a : alignments)
		if (status == CUBLAS_STATUS_SUCCESS)
			status = b->cublasLtMatmulPreferenceSetAttribute(want, a, &aligned, sizeof(aligned));
	if (status == CUBLAS_STATUS_SUCCESS)
		status = b->cublasLtMatmulAlgoGetHeuristic(b->handle, p->desc, p->a, p->b, p->d, p->d, want, 1, &found, &n);
	if (status == CUBLAS_STATUS_SUCCESS && n == 0)
		status = CUBLAS_STATUS_NOT_SUPPORTED;
	if (status == CUBLAS_STATUS_SUCCESS)
		p->algo = found.algo;
	if (want)
		b->cublasLtMatmulPreferenceDestroy(want);
	return status;
}

static struct plan *plan_for(struct gpt_blas *b, const struct product *of, const struct operands *o, char *err)
{
	struct plan *p;
	cublasStatus_t status;

	for (p = b->plans; p; p = p->next)
		if (!memcmp(&p->of, of, sizeof(*of)))
			return p;
	p = (struct plan *)calloc(1, sizeof(*p));
	if (!p) {
		snprintf(err, 512, "no memory for a product's plan");
		return NULL;
	}
	p->of = *of;
	describe(b, p, o, &status);
	if (status == CUBLAS_STATUS_SUCCESS)
		status = choose(b, p);
	if (status != CUBLAS_STATUS_SUCCESS) {
		fail(b, status, "no algorithm", of, err);
		free_plan(b, p);
		return NULL;
	}
	p->next = b->plans;
	b->plans = p;
	return p;
}

static int multiply(struct gpt_blas *b, const struct product *of, const struct operands *o, void *stream, char *err)
{
	struct plan *p = plan_for(b, of, o, err);
	const float one = 1, beta = of->adds ? 1 : 0;
	cublasStatus_t status = CUBLAS_STATUS_SUCCESS;

	if (!p)
		return -1;
	set_pointers(b, p, o, &status);
	if (status == CUBLAS_STATUS_SUCCESS)
		status = b->cublasLtMatmul(b->handle, p->desc, &one, o->a, p->a, o->b, p->b, &beta, o->add ? o->add : o->d, p->d, o->d,
			p->d, &p->algo, b->workspace, GPT_BLAS_WORKSPACE, (cudaStream_t)stream);
	return status == CUBLAS_STATUS_SUCCESS ? 0 : fail(b, status, "failed", of, err);
}

int gpt_blas_forward(struct gpt_blas *b, struct gpt_linear l, void *y, const void *x, const void *weight, const void *bias, const void *add,
	void *gelu_in, void *stream, char *err)
{
	const int epilogue = gelu_in ? (bias ? CUBLASLT_EPILOGUE_GELU_AUX_BIAS : CUBLASLT_EPILOGUE_GELU_AUX) :
		bias ? CUBLASLT_EPILOGUE_BIAS : CUBLASLT_EPILOGUE_DEFAULT;
	const struct product of = { l.out, l.rows, l.in, l.in, l.in, l.stride, 1, 0, epilogue, add != NULL };
	const struct operands o = { y, weight, x, add, bias, gelu_in };

	return multiply(b, &of, &o, stream, err);
}

int gpt_blas_backward(struct gpt_blas *b, struct gpt_linear l, void *dx, const void *dy, const void *weight, const void *gelu_in,
	void *stream, char *err)
{
	const struct product of = { l.in, l.rows, l.out, l.in, l.stride, l.in, 0, 0,
		gelu_in ? CUBLASLT_EPILOGUE_DGELU : CUBLASLT_EPILOGUE_DEFAULT, 0 };
	const struct operands o = { dx, weight, dy, NULL, NULL, gelu_in };

	return multiply(b, &of, &o, stream, err);
}

int gpt_blas_backward_weight(struct gpt_blas *b, struct gpt_linear l, void *dweight, void *dbias, const void *dy, const void *x,
	void *stream, char *err)
{
	const struct product of = { l.in, l.out, l.rows, l.in, l.stride, l.in, 0, 1,
		dbias ? CUBLASLT_EPILOGUE_BGRADB : CUBLASLT_EPILOGUE_DEFAULT, 0 };
	const struct operands o = { dweight, x, dy, NULL, dbias, NULL };

	return multiply(b, &of, &o, stream, err);
}
