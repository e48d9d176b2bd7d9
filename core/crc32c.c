/* crc32c.c -- see crc32c.h.
 *
 * One instruction takes 8 bytes but needs 3 cycles, and the CPU can start one each cycle: so three stretches of the
 * input are summed side by side and joined by multiplication in GF(2)[x]. Polynomials are bit-reversed: bit 31 is x^0.
 *
 * Not here: carry-less multiplication (pclmulqdq); reading the shards is slower than this by far. */
#include "core/crc32c.h"

#include <pthread.h>
#include <stdbool.h>
#include <string.h>

#if defined(__x86_64__)
#include <nmmintrin.h>
#define HARDWARE __attribute__((target("sse4.2")))
#define CRC_U8(crc, byte) _mm_crc32_u8((crc), (byte))
#define CRC_U64(crc, word) ((uint32_t)_mm_crc32_u64((crc), (word)))
#elif defined(__aarch64__)
#include <arm_acle.h>
#include <sys/auxv.h>
#define HARDWARE __attribute__((target("+crc")))
#define CRC_U8(crc, byte) __crc32cb((crc), (byte))
#define CRC_U64(crc, word) __crc32cd((crc), (word))
#endif

#define POLY 0x82f63b78u /* x^32 is left out */
#define ONE 0x80000000u  /* x^0 */
#define X8 0x00800000u   /* x^8: one byte on */
#define STRETCH 16384u   /* bytes of each of the three; the join costs about 1/20 of summing them */

static pthread_once_t once = PTHREAD_ONCE_INIT;
static uint32_t table[8][256]; /* table[k][b]: byte b followed by k zero bytes */
static uint32_t stretch_on;    /* x^(8 * STRETCH) */
static bool have_hardware;

static uint32_t multiply(uint32_t a, uint32_t b)
{
	uint32_t product = 0, bit;

	for (bit = ONE; bit; bit >>= 1) {
		if (a & bit)
			product ^= b;
		b = b & 1 ? b >> 1 ^ POLY : b >> 1;
	}
	return product;
}

/* x^(8 * bytes) by repeated squaring. */
static uint32_t power(uint64_t bytes)
{
	uint32_t result = ONE, square = X8;

	for (; bytes; bytes >>= 1) {
		if (bytes & 1)
			result = multiply(result, square);
		square = multiply(square, square);
	}
	return result;
}

static bool cpu_has_crc(void)
{
#if defined(__x86_64__)
	return __builtin_cpu_supports("sse4.2");
#elif defined(__aarch64__)
	return getauxval(AT_HWCAP) & HWCAP_CRC32;
#else
	return false;
#endif
}

static void prepare(void)
{
	uint32_t byte, k, crc;

	for (byte = 0; byte < 256; byte++) {
		crc = byte;
		for (k = 0; k < 8; k++)
			crc = crc & 1 ? crc >> 1 ^ POLY : crc >> 1;
		table[0][byte] = crc;
	}
	for (k = 1; k < 8; k++)
		for (byte = 0; byte < 256; byte++)
			table[k][byte] = table[k - 1][byte] >> 8 ^ table[0][table[k - 1][byte] & 255];
	stretch_on = power(STRETCH);
	have_hardware = cpu_has_crc();
}

static uint32_t by_table(uint32_t crc, const unsigned char *p, size_t len)
{
	for (; len >= 8; p += 8, len -= 8) {
		uint32_t low =
			crc ^ ((uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24);

		crc = table[7][low & 255] ^ table[6][low >> 8 & 255] ^ table[5][low >> 16 & 255] ^ table[4][low >> 24] ^
		      table[3][p[4]] ^ table[2][p[5]] ^ table[1][p[6]] ^ table[0][p[7]];
	}
	for (; len; p++, len--)
		crc = crc >> 8 ^ table[0][(crc ^ *p) & 255];
	return crc;
}

#ifdef HARDWARE
static inline uint64_t load64(const unsigned char *p)
{
	uint64_t word;

	memcpy(&word, p, sizeof(word));
	return word;
}

HARDWARE static uint32_t by_hardware(uint32_t crc, const unsigned char *p, size_t len)
{
	for (; len >= 3 * STRETCH; p += 3 * STRETCH, len -= 3 * STRETCH) {
		uint32_t second = 0, third = 0;
		size_t i;

		for (i = 0; i < STRETCH; i += 8) {
			crc = CRC_U64(crc, load64(p + i));
			second = CRC_U64(second, load64(p + STRETCH + i));
			third = CRC_U64(third, load64(p + 2 * STRETCH + i));
		}
		crc = multiply(stretch_on, multiply(stretch_on, crc) ^ second) ^ third;
	}
	for (; len >= 8; p += 8, len -= 8)
		crc = CRC_U64(crc, load64(p));
	for (; len; p++, len--)
		crc = CRC_U8(crc, *p);
	return crc;
}
#endif

uint32_t ls_crc32c_portable(uint32_t crc, const void *bytes, size_t len)
{
	pthread_once(&once, prepare);
	return ~by_table(~crc, bytes, len);
}

uint32_t ls_crc32c(uint32_t crc, const void *bytes, size_t len)
{
	pthread_once(&once, prepare);
#ifdef HARDWARE
	if (have_hardware)
		return ~by_hardware(~crc, bytes, len);
#endif
	return ~by_table(~crc, bytes, len);
}

uint32_t ls_crc32c_combine(uint32_t a, uint32_t b, uint64_t len_b)
{
	return multiply(power(len_b), a) ^ b;
}
