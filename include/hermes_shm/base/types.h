#ifndef HSHM_BASE_TYPES_H_
#define HSHM_BASE_TYPES_H_

#include <cstddef>
#include <cstdint>

#include "hermes_shm/base/macros.h"

namespace hshm::ipc {

/** Bytes from the start of a region. The region starts with its header, so 0 is nobody's: null. */
using Offset = uint64_t;
inline constexpr Offset kNullOffset = 0;

/** Alignment of every block for which no other was asked, in bytes. */
inline constexpr uint64_t kDefaultAlignment = 16;

/** What two processes may share without fear of bouncing the line between cores, in bytes. */
inline constexpr uint64_t kCacheLineBytes = 64;

/** Names a backend within one process, and in the header of the segment that it created. */
struct MemoryBackendId {
  uint32_t id_ = 0;

  MemoryBackendId() = default;
  HSHM_CROSS_FUN constexpr explicit MemoryBackendId(uint32_t id) : id_(id) {}
  HSHM_CROSS_FUN static constexpr MemoryBackendId Get(uint32_t id) { return MemoryBackendId(id); }
  HSHM_CROSS_FUN friend constexpr bool operator==(MemoryBackendId a, MemoryBackendId b) {
    return a.id_ == b.id_;
  }
};

/** Names an allocator: major is the application's choice, minor numbers its parts. */
struct AllocatorId {
  uint32_t major_ = 0;
  uint32_t minor_ = 0;

  AllocatorId() = default;
  HSHM_CROSS_FUN constexpr AllocatorId(uint32_t major, uint32_t minor)
      : major_(major), minor_(minor) {}
  HSHM_CROSS_FUN static constexpr AllocatorId Null() { return AllocatorId(); }
  HSHM_CROSS_FUN constexpr bool IsNull() const { return major_ == 0 && minor_ == 0; }
  HSHM_CROSS_FUN constexpr uint64_t ToIndex() const { return (uint64_t{major_} << 32) | minor_; }
  HSHM_CROSS_FUN friend constexpr bool operator==(AllocatorId a, AllocatorId b) {
    return a.major_ == b.major_ && a.minor_ == b.minor_;
  }
};

/**
 * Who calls an allocator: the slot of the process and the index of the thread's heap in it. The
 * default means "find mine"; an explicit one saves the look-up and is the caller's promise that
 * the context is its own. One that PushArena returned names an arena, and no heap.
 */
struct MemContext {
  static constexpr uint32_t kNone = ~uint32_t{0};
  /** The upper 20 bits of pid_ in an arena's context; no slot has them. */
  static constexpr uint32_t kArenaMark = 0xa0000;
  uint32_t pid_ = kNone;
  uint32_t tid_ = kNone;

  MemContext() = default;
  HSHM_CROSS_FUN constexpr MemContext(uint32_t pid, uint32_t tid) : pid_(pid), tid_(tid) {}
  static constexpr MemContext OfArena(uint32_t slot, uint32_t number) {
    return MemContext((kArenaMark << 12) | slot, number);
  }
  HSHM_CROSS_FUN constexpr bool IsValid() const { return tid_ != kNone; }
  HSHM_CROSS_FUN constexpr bool IsArena() const { return pid_ >> 12 == kArenaMark; }
};

}  // namespace hshm::ipc

/** The short name that applications use. */
namespace hipc = hshm::ipc;

#define HSHM_DEFAULT_MEM_CTX (::hshm::ipc::MemContext{})

#endif  // HSHM_BASE_TYPES_H_
