#ifndef HSHM_BASE_CRC32C_H_
#define HSHM_BASE_CRC32C_H_

#include <cstddef>
#include <cstdint>

#include "hermes_shm/base/macros.h"

namespace hshm {

/**
 * CRC-32C (Castagnoli, reflected polynomial 0x82f63b78) as in RFC 3720, appendix B.4: the CRC of
 * "123456789" is 0xe3069283. Finds every change of up to 32 neighbouring bits. For headers, not for
 * bulk data: one table look-up a byte.
 */
HSHM_API uint32_t Crc32c(const void* data, size_t size_bytes) noexcept;

}  // namespace hshm

#endif  // HSHM_BASE_CRC32C_H_
