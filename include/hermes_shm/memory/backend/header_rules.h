#ifndef HSHM_MEMORY_BACKEND_HEADER_RULES_H_
#define HSHM_MEMORY_BACKEND_HEADER_RULES_H_

#include <cstdint>
#include <string>

#include "hermes_shm/memory/backend/backend_header.h"

namespace hshm::ipc {

/** @throws Error kOutOfRange unless a region of this size can be made */
HSHM_API void CheckRegionSize(uint64_t region_bytes);

/** Writes all [init] fields into a zeroed header; ready_ stays 0. Checked by CheckHeader. `flags`
 * are of BackendFlag; of a growing file file_bytes are there at first. */
HSHM_API void FillHeader(BackendHeader* header, MemoryBackendType type, MemoryBackendId id,
                         uint64_t region_bytes, uint32_t flags = 0, uint64_t file_bytes = 0);

/**
 * Whether a header can be trusted, in the order of docs/errors.md. `copy` is private memory, copied
 * once from a region of which actual_bytes were there then or later; `name` says in messages which.
 * Geometry is computed again from the size, never believed.
 * @throws Error kTruncated, kSizeMismatch, kNotASegment, kAbiMismatch, kVersionMismatch,
 * kWrongBackend, kNotReady, kCorrupt
 */
HSHM_API void CheckHeader(const BackendHeader& copy, MemoryBackendType type, uint64_t actual_bytes,
                          const std::string& name);

/** The type as the code spells it, without the k: "PosixShmMmap". */
HSHM_API const char* BackendTypeName(MemoryBackendType type) noexcept;

}  // namespace hshm::ipc

#endif  // HSHM_MEMORY_BACKEND_HEADER_RULES_H_
