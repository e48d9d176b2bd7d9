/* cublaslt_cuda.cc -- what examples/gpt/blas_cuda.cu takes for libcublasLt in tests on a CPU: the functions of NVIDIA's header, by plain loops.
 *
 * It does what the attributes of descriptor and layouts say and refuses what it does not know, and what the real one would: a leading
 * dimension that is too small, an epilogue without its pointer. FAKE_CUBLASLT=none: it finds no algorithm. */
#include <cublasLt.h>

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

namespace {

struct desc {
	cublasOperation_t transpose[2] = { CUBLAS_OP_N, CUBLAS_OP_N };
	cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
	void *bias = nullptr, *aux = nullptr;
	int64_t aux_ld = 0;
};

struct layout { uint64_t rows, columns; int64_t ld; };

float widen(uint16_t v)
{
	uint32_t bits = static_cast<uint32_t>(v) << 16;
	float f;

	memcpy(&f, &bits, 4);
	return f;
}

uint16_t narrow(float f)
{
	uint32_t bits;

	memcpy(&bits, &f, 4);
	return f != f ? 0x7fff : static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

float gelu(float x)
{
	return 0.5f * x * (1 + std::tanh(0.7978845608f * (x + 0.044715f * x * x * x)));
}

float gelu_slope(float x)
{
	float t = std::tanh(0.7978845608f * (x + 0.044715f * x * x * x));

	return 0.5f * (1 + t) + 0.5f * x * (1 - t * t) * 0.7978845608f * (1 + 3 * 0.044715f * x * x);
}

/* op(matrix), row by row. */
std::vector<float> read(const void *from, const layout &l, bool transposed)
{
	const uint16_t *p = static_cast<const uint16_t *>(from);
	uint64_t rows = transposed ? l.columns : l.rows, columns = transposed ? l.rows : l.columns, i, j;
	std::vector<float> v(rows * columns);

	for (i = 0; i < rows; i++)
		for (j = 0; j < columns; j++)
			v[i * columns + j] = widen(p[transposed ? j + i * l.ld : i + j * l.ld]);
	return v;
}

bool sound(const desc &d, const layout &a, const layout &b, const layout &c)
{
	bool ta = d.transpose[0] == CUBLAS_OP_T, tb = d.transpose[1] == CUBLAS_OP_T, aux = d.epilogue & 128;

	if (a.ld < static_cast<int64_t>(a.rows) || b.ld < static_cast<int64_t>(b.rows) || c.ld < static_cast<int64_t>(c.rows))
		return false;
	if ((ta ? a.columns : a.rows) != c.rows || (tb ? b.rows : b.columns) != c.columns ||
		(ta ? a.rows : a.columns) != (tb ? b.columns : b.rows))
		return false;
	if (aux && (!d.aux || d.aux_ld % 8 || d.aux_ld < static_cast<int64_t>(c.rows)))
		return false;
	switch (static_cast<int>(d.epilogue)) {
	case CUBLASLT_EPILOGUE_BIAS:
	case CUBLASLT_EPILOGUE_GELU_AUX_BIAS:
	case CUBLASLT_EPILOGUE_BGRADB:
		return d.bias != nullptr;
	case CUBLASLT_EPILOGUE_DEFAULT:
	case CUBLASLT_EPILOGUE_GELU_AUX:
	case CUBLASLT_EPILOGUE_DGELU:
		return true;
	default:
		return false;
	}
}

float finish(const desc &d, float v, uint64_t i, uint64_t j)
{
	uint16_t *aux = static_cast<uint16_t *>(d.aux) + (d.aux ? i + j * static_cast<uint64_t>(d.aux_ld) : 0);
	const uint16_t *bias = static_cast<const uint16_t *>(d.bias);

	if (d.epilogue == CUBLASLT_EPILOGUE_BIAS || d.epilogue == CUBLASLT_EPILOGUE_GELU_AUX_BIAS)
		v += widen(bias[i]);
	if (d.epilogue == CUBLASLT_EPILOGUE_GELU_AUX || d.epilogue == CUBLASLT_EPILOGUE_GELU_AUX_BIAS) {
		*aux = narrow(v);
		v = gelu(v);
	}
	return d.epilogue == CUBLASLT_EPILOGUE_DGELU ? v * gelu_slope(widen(*aux)) : v;
}

const layout &layout_of(cublasLtMatrixLayout_t l)
{
	return *reinterpret_cast<const layout *>(l);
}

} // namespace

extern "C" {

cublasStatus_t cublasLtCreate(cublasLtHandle_t *ret)
{
	*ret = reinterpret_cast<cublasLtHandle_t>(new int);
	return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle)
{
	delete reinterpret_cast<int *>(handle);
	return CUBLAS_STATUS_SUCCESS;
}

const char *cublasLtGetStatusString(cublasStatus_t status)
{
	return status == CUBLAS_STATUS_NOT_SUPPORTED ? "CUBLAS_STATUS_NOT_SUPPORTED" : "CUBLAS_STATUS_INVALID_VALUE";
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t *ret, cublasComputeType_t compute, cudaDataType_t scale)
{
	if (compute != CUBLAS_COMPUTE_32F || scale != CUDA_R_32F)
		return CUBLAS_STATUS_NOT_SUPPORTED;
	*ret = reinterpret_cast<cublasLtMatmulDesc_t>(new desc);
	return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t d)
{
	delete reinterpret_cast<desc *>(d);
	return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t to, cublasLtMatmulDescAttributes_t key, const void *value, size_t bytes)
{
	desc *d = reinterpret_cast<desc *>(to);
	const struct { cublasLtMatmulDescAttributes_t key; void *at; size_t bytes; } known[] = {
		{ CUBLASLT_MATMUL_DESC_TRANSA, &d->transpose[0], sizeof(d->transpose[0]) },
		{ CUBLASLT_MATMUL_DESC_TRANSB, &d->transpose[1], sizeof(d->transpose[1]) },
		{ CUBLASLT_MATMUL_DESC_EPILOGUE, &d->epilogue, sizeof(d->epilogue) },
		{ CUBLASLT_MATMUL_DESC_BIAS_POINTER, &d->bias, sizeof(d->bias) },
		{ CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, &d->aux, sizeof(d->aux) },
		{ CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, &d->aux_ld, sizeof(d->aux_ld) },
	};

	for (const auto &k : known)
		if (k.key == key && k.bytes == bytes) {
			memcpy(k.at, value, bytes);
			return CUBLAS_STATUS_SUCCESS;
		}
	return CUBLAS_STATUS_INVALID_VALUE;
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t *ret, cudaDataType type, uint64_t rows, uint64_t columns, int64_t ld)
{
	if (type != CUDA_R_16BF)
		return CUBLAS_STATUS_NOT_SUPPORTED;
	*ret = reinterpret_cast<cublasLtMatrixLayout_t>(new layout{ rows, columns, ld });
	return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t l)
{
	delete reinterpret_cast<layout *>(l);
	return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t *ret)
{
	*ret = reinterpret_cast<cublasLtMatmulPreference_t>(new int);
	return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t p)
{
	delete reinterpret_cast<int *>(p);
	return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t, cublasLtMatmulPreferenceAttributes_t key, const void *,
	size_t bytes)
{
	return bytes == (key == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES ? 8 : 4) ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_INVALID_VALUE;
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t d, cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
	cublasLtMatrixLayout_t, cublasLtMatrixLayout_t c, cublasLtMatmulPreference_t, int, cublasLtMatmulHeuristicResult_t *ret, int *n)
{
	const char *fail = getenv("FAKE_CUBLASLT");

	*n = fail && !strcmp(fail, "none") ? 0 : 1;
	memset(ret, 0, sizeof(*ret));
	return sound(*reinterpret_cast<desc *>(d), layout_of(a), layout_of(b), layout_of(c)) ? CUBLAS_STATUS_SUCCESS :
		CUBLAS_STATUS_INVALID_VALUE;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t how, const void *alpha, const void *a_at, cublasLtMatrixLayout_t a,
	const void *b_at, cublasLtMatrixLayout_t b, const void *beta, const void *c_at, cublasLtMatrixLayout_t c, void *d_at,
	cublasLtMatrixLayout_t, const cublasLtMatmulAlgo_t *, void *, size_t, cudaStream_t)
{
	const desc &d = *reinterpret_cast<desc *>(how);
	const layout &of = layout_of(c);
	float scale = *static_cast<const float *>(alpha), keep = *static_cast<const float *>(beta);
	uint64_t i, j, k, depth;

	if (!sound(d, layout_of(a), layout_of(b), of))
		return CUBLAS_STATUS_INVALID_VALUE;
	const std::vector<float> left = read(a_at, layout_of(a), d.transpose[0] == CUBLAS_OP_T);
	const std::vector<float> right = read(b_at, layout_of(b), d.transpose[1] == CUBLAS_OP_N); /* column by column */
	depth = left.size() / of.rows;
	for (j = 0; j < of.columns; j++) {
		float sum = 0;

		for (i = 0; i < of.rows; i++) {
			uint16_t *to = static_cast<uint16_t *>(d_at) + i + j * static_cast<uint64_t>(of.ld);
			float v = 0;

			for (k = 0; k < depth; k++)
				v += left[i * depth + k] * right[j * depth + k];
			v = v * scale + (keep != 0 ?
				keep * widen(static_cast<const uint16_t *>(c_at)[i + j * static_cast<uint64_t>(of.ld)]) : 0);
			*to = narrow(finish(d, v, i, j));
		}
		for (k = 0; k < depth; k++)
			sum += right[j * depth + k];
		if (d.epilogue == CUBLASLT_EPILOGUE_BGRADB)
			static_cast<uint16_t *>(d.bias)[j] = narrow(sum);
	}
	return CUBLAS_STATUS_SUCCESS;
}

} // extern "C"
