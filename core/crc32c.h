/* crc32c.h -- CRC-32C (Castagnoli; RFC 3720 appendix B.4), by SSE4.2 or ARMv8 instructions where the CPU has them, else
 * by table. ls_crc32c(0, "123456789", 9) is 0xe3069283. Chain by passing the last value. Thread-safe. */
#ifndef LS_CRC32C_H
#define LS_CRC32C_H

#include <stddef.h>
#include <stdint.h>

uint32_t ls_crc32c(uint32_t crc, const void *bytes, size_t len);
uint32_t ls_crc32c_portable(
	uint32_t crc, const void *bytes, size_t len); /* by table always: what the tests compare with */
/* The checksum of A followed by B, from both checksums and B's length. */
uint32_t ls_crc32c_combine(uint32_t a, uint32_t b, uint64_t len_b);

#endif
