#ifndef HSHM_SRC_MEMORY_BACKEND_PRIVATE_PAGES_MEMORY_H_
#define HSHM_SRC_MEMORY_BACKEND_PRIVATE_PAGES_MEMORY_H_

#include <cstdint>
#include <memory>

#include "hermes_shm/memory/backend/memory_backend.h"
#include "hermes_shm/memory/backend/segment_options.h"

namespace hshm::ipc {

/**
 * Pages of this process alone for a region of at least size_bytes, supplied as they are touched.
 * @throws Error kNoSpace, kUnsupported when huge pages are required and there are none
 */
std::unique_ptr<BackendMemory> MapPrivateRegion(uint64_t size_bytes, HugePages huge_pages);

}  // namespace hshm::ipc

#endif  // HSHM_SRC_MEMORY_BACKEND_PRIVATE_PAGES_MEMORY_H_
