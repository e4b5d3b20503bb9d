#ifndef HSHM_SRC_MALLOC_OWN_MEMORY_H_
#define HSHM_SRC_MALLOC_OWN_MEMORY_H_

#include <cstddef>
#include <cstdint>

#include "hermes_shm/base/units.h"
#include "hermes_shm/sync/spin_lock.h"

namespace hshm::malloc_library {

/**
 * Memory for the library itself, which cannot ask the heap that it is: notes of threads, messages,
 * and what the system's library allocates while a thread is inside of a slow path. A fixed array of
 * the program's image, there from the first instruction on and untouched until used.
 *
 * Blocks are powers of two, header included; a freed one waits on the list of its size.
 */
class OwnMemory {
 public:
  constexpr OwnMemory() noexcept = default;

  /** Zeroed when fresh only. Null when the array is used up. `alignment`: a power of two. */
  void* Allocate(size_t size_bytes, size_t alignment = alignof(max_align_t)) noexcept;
  /** Only for what Contains. */
  void Free(void* block) noexcept;
  size_t UsableBytes(const void* block) const noexcept;
  bool Contains(const void* address) const noexcept;

  /** Around fork(): the child finds it unlocked. */
  void Lock() noexcept { lock_.Lock(); }
  void Unlock() noexcept { lock_.Unlock(); }

 private:
  /** 1024 heaps of threads take 3 MiB, statistics a quarter, the rest is spare. */
  static constexpr size_t kBytes = 32_MiB;
  static constexpr uint32_t kMinLog2 = 5;
  static constexpr uint32_t kMaxLog2 = 24;

  /** In the 16 bytes in front of a block. */
  struct Header {
    uint32_t log2_;         // of the whole piece
    uint32_t front_bytes_;  // from the start of the piece to the block
    uint64_t reserved_;
  };
  static_assert(sizeof(Header) == 16);
  struct Piece {
    Piece* next_;
  };

  static Header* HeaderOf(const void* block) noexcept;

  SpinLock lock_;
  size_t used_bytes_ = 0;
  Piece* free_[kMaxLog2 + 1] = {};

  static char bytes_[kBytes];
};

/** The one of this process. */
extern constinit OwnMemory own_memory;

}  // namespace hshm::malloc_library

#endif  // HSHM_SRC_MALLOC_OWN_MEMORY_H_
