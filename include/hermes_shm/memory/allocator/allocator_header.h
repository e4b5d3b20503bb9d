#ifndef HSHM_MEMORY_ALLOCATOR_ALLOCATOR_HEADER_H_
#define HSHM_MEMORY_ALLOCATOR_ALLOCATOR_HEADER_H_

#include <cstdint>
#include <type_traits>

#include "hermes_shm/base/types.h"
#include "hermes_shm/sync/atomic.h"
#include "hermes_shm/sync/mutex.h"

namespace hshm::ipc {

/** Which allocator a region holds. The numbers stand in region headers. */
enum class AllocatorType : uint32_t {
  kNone = 0,
  kStack = 1,
  kBuddy = 2,
  kMultiProcess = 3,
  kMultiProcessSmallPages = 4,  // the same with 4 KiB pages, for tests on small regions
  kMalloc = 5,
  kScalablePage = 6,
  kThreadLocal = 7,
  kScalablePageSmallPages = 8,  // with 4 KiB pages, for tests on small regions
  kCheckedMultiProcess = 9,     // the policy Checked lays a region out otherwise
  kCheckedMultiProcessSmallPages = 10,
  kCheckedThreadLocal = 11,
};

inline constexpr uint32_t kMaxRoots = 63;
inline constexpr uint32_t kMaxRootNameBytes = 55;  // without the terminating zero

/** A name under which one rank left an offset for the others. */
struct RootEntry {
  Atomic<uint64_t> offset_;           // [lock:roots] 0: the entry is free; written last
  char name_[kMaxRootNameBytes + 1];  // [lock:roots] zero-terminated
};
static_assert(sizeof(RootEntry) == 64);

/**
 * In front of every allocator's own header, at BackendHeader::allocator_offset_:
 *
 *     | AllocatorHeader | custom header, 64-byte aligned | the allocator's own header and data
 */
struct AllocatorHeader {
  Atomic<uint32_t> type_;           // [any]  AllocatorType; stored last, so not kNone means ready
  uint32_t layout_version_;         // [init] kAllocatorLayoutVersion
  AllocatorId id_;                  // [init]
  uint64_t custom_header_offset_;   // [init] 0 when none was reserved
  uint64_t custom_header_bytes_;    // [init]
  uint64_t core_offset_;            // [init] where the allocator's own header begins
  Mutex roots_lock_;                // [any]  order: after the root lock of an allocator
  Atomic<uint32_t> roots_version_;  // [lock:roots] counts the changes, raised before each
  uint32_t reserved_[4];
  RootEntry roots_[kMaxRoots];  // [lock:roots]
};
static_assert(std::is_standard_layout_v<AllocatorHeader>);
static_assert(sizeof(AllocatorHeader) == 4096);  // frozen by kAllocatorLayoutVersion

inline constexpr uint32_t kAllocatorLayoutVersion = 1;

}  // namespace hshm::ipc

#endif  // HSHM_MEMORY_ALLOCATOR_ALLOCATOR_HEADER_H_
