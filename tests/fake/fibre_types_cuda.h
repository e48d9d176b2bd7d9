/* fibre_types_cuda.h -- see fibre_cuda.h: vectors, half and bfloat16, and CUDA's names of arithmetic. */
#ifndef FIBRE_TYPES_CUDA_H
#define FIBRE_TYPES_CUDA_H

/* --- vectors, aligned as CUDA's ----------------------------------------------------------------------------------------------- */

#define FIBRE_VECTORS(T, name, a2, a4)                                                                       \
	struct __attribute__((aligned(a2))) name##2 { T x, y; };                                             \
	struct name##3 { T x, y, z; };                                                                       \
	struct __attribute__((aligned(a4))) name##4 { T x, y, z, w; };                                       \
	inline name##2 make_##name##2(T x, T y) { return { x, y }; }                                         \
	inline name##3 make_##name##3(T x, T y, T z) { return { x, y, z }; }                                 \
	inline name##4 make_##name##4(T x, T y, T z, T w) { return { x, y, z, w }; }
FIBRE_VECTORS(signed char, char, 2, 4)
FIBRE_VECTORS(unsigned char, uchar, 2, 4)
FIBRE_VECTORS(short, short, 4, 8)
FIBRE_VECTORS(unsigned short, ushort, 4, 8)
FIBRE_VECTORS(int, int, 8, 16)
FIBRE_VECTORS(unsigned, uint, 8, 16)
FIBRE_VECTORS(long long, longlong, 16, 16)
FIBRE_VECTORS(unsigned long long, ulonglong, 16, 16)
FIBRE_VECTORS(float, float, 8, 16)
FIBRE_VECTORS(double, double, 16, 16)

/* --- half and bfloat16 -------------------------------------------------------------------------------------------------------- */

namespace fibre {

/* The bits of x as a float of 1 + `exponent` + `mantissa` bits, rounded once to nearest even. NaN becomes 0x7fff, as in CUDA. */
inline uint16_t round16(double x, int exponent, int mantissa)
{
	int bias = (1 << (exponent - 1)) - 1, e;
	uint16_t sign = static_cast<uint16_t>(std::signbit(x) << 15), inf = static_cast<uint16_t>(((1 << exponent) - 1) << mantissa);
	double m;

	if (std::isnan(x))
		return 0x7fff;
	x = std::fabs(x);
	if (x == 0 || std::isinf(x))
		return sign | (x == 0 ? 0 : inf);
	std::frexp(x, &e);                          /* x = m 2^e, m in [0.5, 1): its leading bit is 2^(e-1) */
	e = e - 1 < 1 - bias ? 1 - bias : e - 1;    /* denormals share the least exponent */
	m = std::nearbyint(std::ldexp(x, mantissa - e));
	/* m counts units in the last place, its leading bit among them (none: denormal); a carry moves into the exponent by itself. */
	m += std::ldexp(static_cast<double>(e + bias - 1), mantissa);
	return static_cast<uint16_t>(sign | (m >= inf ? inf : static_cast<uint16_t>(m)));
}

inline double widen16(uint16_t bits, int exponent, int mantissa)
{
	int bias = (1 << (exponent - 1)) - 1, e = bits >> mantissa & ((1 << exponent) - 1), m = bits & ((1 << mantissa) - 1);
	double x = e == (1 << exponent) - 1 ? (m ? std::nan("") : HUGE_VAL)
					    : std::ldexp(e ? m + (1 << mantissa) : m, (e ? e : 1) - bias - mantissa);

	return bits & 0x8000 ? -x : x;
}

} // namespace fibre

struct __half {
	uint16_t bits;

	__half() = default;
	__half(float x) : bits(fibre::round16(x, 5, 10)) {}
	__half(double x) : bits(fibre::round16(x, 5, 10)) {}
	__half(int x) : bits(fibre::round16(x, 5, 10)) {}
	operator float() const { return static_cast<float>(fibre::widen16(bits, 5, 10)); }
};

struct __nv_bfloat16 {
	uint16_t bits;

	__nv_bfloat16() = default;
	__nv_bfloat16(float x)
	{
		uint32_t b;

		memcpy(&b, &x, 4);
		bits = x != x ? 0x7fff : static_cast<uint16_t>((b + 0x7fff + (b >> 16 & 1)) >> 16);
	}
	__nv_bfloat16(double x) : bits(fibre::round16(x, 8, 7)) {}
	__nv_bfloat16(int x) : __nv_bfloat16(static_cast<double>(x)) {}
	operator float() const
	{
		uint32_t b = static_cast<uint32_t>(bits) << 16;
		float x;

		memcpy(&x, &b, 4);
		return x;
	}
};
typedef __half half;
typedef __nv_bfloat16 nv_bfloat16;

/* float has the bits that make rounding twice the same as once: 24 >= 2 x 11 + 2. */
#define FIBRE_ARITHMETIC(T, T2, name, name2)                                                                                         \
	struct __attribute__((aligned(4))) T2 { T x, y; };                                                                           \
	inline T operator+(T a, T b) { return T(float(a) + float(b)); }                                                              \
	inline T operator-(T a, T b) { return T(float(a) - float(b)); }                                                              \
	inline T operator*(T a, T b) { return T(float(a) * float(b)); }                                                              \
	inline T operator/(T a, T b) { return T(float(a) / float(b)); }                                                              \
	inline T operator-(T a) { a.bits ^= 0x8000; return a; }                                                                      \
	inline T &operator+=(T &a, T b) { return a = a + b; }                                                                        \
	inline T &operator*=(T &a, T b) { return a = a * b; }                                                                        \
	inline T __float2##name(float x) { return T(x); }                                                                            \
	inline T __float2##name##_rn(float x) { return T(x); }                                                                       \
	inline T __double2##name(double x) { return T(x); }                                                                          \
	inline float __##name##2float(T x) { return x; }                                                                             \
	inline T __ushort_as_##name(unsigned short b) { T x; x.bits = b; return x; }                                                 \
	inline unsigned short __##name##_as_ushort(T x) { return x.bits; }                                                           \
	inline T2 __floats2##name2##_rn(float x, float y) { return { T(x), T(y) }; }                                                 \
	inline T2 __float22##name2##_rn(float2 v) { return { T(v.x), T(v.y) }; }                                                     \
	inline float2 __##name2##2float2(T2 v) { return { float(v.x), float(v.y) }; }                                                \
	inline float __low2float(T2 v) { return v.x; }                                                                               \
	inline float __high2float(T2 v) { return v.y; }                                                                              \
	inline T __hadd(T a, T b) { return a + b; }                                                                                  \
	inline T __hmul(T a, T b) { return a * b; }                                                                                  \
	inline bool __hisnan(T x) { return float(x) != float(x); }
FIBRE_ARITHMETIC(__half, __half2, half, half2)
FIBRE_ARITHMETIC(__nv_bfloat16, __nv_bfloat162, bfloat16, bfloat162)
typedef __half2 half2;
typedef __nv_bfloat162 nv_bfloat162;
inline __half2 __halves2half2(__half x, __half y) { return { x, y }; }
inline __nv_bfloat162 __halves2bfloat162(__nv_bfloat16 x, __nv_bfloat16 y) { return { x, y }; }

/* --- arithmetic by CUDA's names ----------------------------------------------------------------------------------------------- */

inline float rsqrtf(float x) { return 1 / std::sqrt(x); }
inline double rsqrt(double x) { return 1 / std::sqrt(x); }
inline float __expf(float x) { return std::exp(x); }
inline float __exp2f(float x) { return std::exp2(x); }
inline float __logf(float x) { return std::log(x); }
inline float __log2f(float x) { return std::log2(x); }
inline float __powf(float x, float y) { return std::pow(x, y); }
inline float __sinf(float x) { return std::sin(x); }
inline float __cosf(float x) { return std::cos(x); }
inline float __fdividef(float x, float y) { return x / y; }
inline float __fmaf_rn(float x, float y, float z) { return std::fma(x, y, z); }
inline float __fadd_rn(float x, float y) { return x + y; }
inline float __fmul_rn(float x, float y) { return x * y; }
inline float __fdiv_rn(float x, float y) { return x / y; }
inline float __frcp_rn(float x) { return 1 / x; }
inline float __fsqrt_rn(float x) { return std::sqrt(x); }
inline float __double2float_rn(double x) { return static_cast<float>(x); }
inline double __dmul_rn(double x, double y) { return x * y; }
inline float __saturatef(float x) { return x > 0 ? (x < 1 ? x : 1) : 0; }

template <class To, class From> To fibre_bits(From x)
{
	To to;

	static_assert(sizeof(to) == sizeof(x));
	memcpy(&to, &x, sizeof(to));
	return to;
}
inline int __float_as_int(float x) { return fibre_bits<int>(x); }
inline unsigned __float_as_uint(float x) { return fibre_bits<unsigned>(x); }
inline float __int_as_float(int x) { return fibre_bits<float>(x); }
inline float __uint_as_float(unsigned x) { return fibre_bits<float>(x); }
inline long long __double_as_longlong(double x) { return fibre_bits<long long>(x); }
inline double __longlong_as_double(long long x) { return fibre_bits<double>(x); }
inline int __float2int_rn(float x) { return static_cast<int>(std::nearbyint(x)); }
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
inline int __clz(int x) { return x ? __builtin_clz(static_cast<unsigned>(x)) : 32; }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline unsigned __umulhi(unsigned x, unsigned y) { return static_cast<unsigned>(static_cast<unsigned long long>(x) * y >> 32); }
inline unsigned long long __umul64hi(unsigned long long x, unsigned long long y)
{
	return static_cast<unsigned long long>(static_cast<unsigned __int128>(x) * y >> 64);
}

template <class A, class B> std::common_type_t<A, B> min(A a, B b)
{
	return static_cast<std::common_type_t<A, B>>(b) < static_cast<std::common_type_t<A, B>>(a) ? b : a;
}
template <class A, class B> std::common_type_t<A, B> max(A a, B b)
{
	return static_cast<std::common_type_t<A, B>>(a) < static_cast<std::common_type_t<A, B>>(b) ? b : a;
}
using std::isfinite;
using std::isinf;
using std::isnan;

template <class T> T __ldg(const T *at) { return *at; }
template <class T> T __ldcs(const T *at) { return *at; }
template <class T> T __ldcg(const T *at) { return *at; }
template <class T> T __ldca(const T *at) { return *at; }
template <class T, class V> void __stcs(T *at, V v) { *at = v; }
template <class T, class V> void __stcg(T *at, V v) { *at = v; }
template <class T, class V> void __stwt(T *at, V v) { *at = v; }

#endif
