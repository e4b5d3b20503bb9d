#ifndef HSHM_SRC_MALLOC_HEAP_MEMORY_H_
#define HSHM_SRC_MALLOC_HEAP_MEMORY_H_

#include <cstdint>

#include "hermes_shm/base/bits.h"
#include "hermes_shm/base/units.h"
#include "hermes_shm/memory/backend/private_slots.h"
#include "hermes_shm/memory/backend/region.h"
#include "hermes_shm/platform/file_descriptor.h"
#include "hermes_shm/platform/shared_memory.h"
#include "hermes_shm/sync/atomic.h"
#include "malloc/settings.h"

namespace hshm::malloc_library {

/** The heap's first address is a multiple of this, and no block can be aligned to more: an eighth
 * of its size, and 1 GiB at most. */
constexpr uint64_t AlignmentFor(uint64_t heap_bytes) {
  const uint64_t eighth = uint64_t{1} << bits::FloorLog2(heap_bytes / 8);
  return eighth < 1_GiB ? eighth : 1_GiB;
}

/**
 * The memory under the heap and what its allocator asks of it: addresses for all of it at once,
 * memory as it is used. No other process ever joins, so the slots are private ones.
 *
 * The shared kind is a file in memory without a name: gone with its last process, however that
 * ends. Its descriptor is a high number, closed on exec. A program that closes all its descriptors
 * closes it too: memory is then had by touching, and cannot be given back any more.
 */
class HeapMemory final : public ipc::RegionServices {
 public:
  HeapMemory() : slots_(kSlots) {}

  /** @return 0, or the errno; then nothing is mapped */
  [[nodiscard]] int Map(Backend backend, uint64_t size_bytes) noexcept;

  ipc::Region region() noexcept { return {base_, size_bytes_, this}; }
  bool Contains(const void* address) const noexcept {
    return reinterpret_cast<uintptr_t>(address) - reinterpret_cast<uintptr_t>(base_) < size_bytes_;
  }
  uint64_t max_alignment() const noexcept { return AlignmentFor(size_bytes_); }
  Backend backend() const noexcept { return backend_; }

  /**
   * In a forked child whose memory is still its parent's: puts a copy in its place, at the same
   * addresses. The parent's forking thread must wait meanwhile. @return 0, or the errno
   */
  [[nodiscard]] int ReplaceByCopy() noexcept;

  /** Counts up with all that is given back to the system. */
  uint64_t decommitted_bytes() const noexcept {
    return decommitted_bytes_.load(std::memory_order_relaxed);  // relaxed: a statistic
  }

  bool Commit(ipc::Offset offset, uint64_t size_bytes) noexcept override;
  void Decommit(ipc::Offset offset, uint64_t size_bytes) noexcept override;
  bool CommitsZeroed() const noexcept override { return backend_ == Backend::kPrivate; }
  bool ClearWritten(ipc::Offset offset, uint64_t size_bytes) noexcept override;
  bool IsUnwritten(ipc::Offset offset, uint64_t size_bytes) noexcept override;
  bool Bind(ipc::Offset, uint64_t, uint32_t) noexcept override { return false; }
  bool IsShared() const noexcept override { return false; }
  bool HoldSlot(uint32_t slot) noexcept override;
  void ReleaseSlot(uint32_t slot) noexcept override { slots_.Release(slot); }
  bool IsAlive(uint32_t slot) noexcept override { return slots_.IsHeld(slot); }

 private:
  static constexpr uint32_t kSlots = ipc::kMaxSlots;

  int MapPrivatePages(uint64_t size_bytes) noexcept;
  int MapFile(uint64_t size_bytes) noexcept;
  bool HasFile() const noexcept;

  Backend backend_ = Backend::kPrivate;
  char* base_ = nullptr;
  uint64_t size_bytes_ = 0;
  FileDescriptor file_;
  FileIdentity identity_;
  Atomic<uint64_t> decommitted_bytes_{0};
  ipc::PrivateSlots slots_;
};

}  // namespace hshm::malloc_library

#endif  // HSHM_SRC_MALLOC_HEAP_MEMORY_H_
