#ifndef HSHM_MEMORY_BACKEND_REGION_H_
#define HSHM_MEMORY_BACKEND_REGION_H_

#include <cstdint>
#include <cstring>

#include "hermes_shm/base/check.h"
#include "hermes_shm/base/types.h"

namespace hshm::ipc {

/** For Bind: wherever the system puts it. */
inline constexpr uint32_t kAnyNode = ~uint32_t{0};

/**
 * What an allocator may ask of the backend under its region. Lies in private memory, one per
 * backend object; all calls may come from several threads at once.
 */
class RegionServices {
 public:
  virtual ~RegionServices() = default;

  /**
   * Makes [offset, offset + size_bytes) of the region usable: afterwards touching it cannot fail.
   * False, and nothing changed that matters, when the system has no room. Repeatable.
   */
  virtual bool Commit(Offset offset, uint64_t size_bytes) noexcept = 0;

  /**
   * Gives the memory of whole system pages inside the range back; they read as zero once committed
   * again. On memory that cannot be given back (arrays, malloc) nothing happens: the bytes stay.
   */
  virtual void Decommit(Offset offset, uint64_t size_bytes) noexcept = 0;

  /**
   * True where memory reads as zero when it is committed for the first time, and again after each
   * Decommit, so that who noted that nobody has had it since need not look. Never on shared memory:
   * whoever makes a hole there may die between its note and the hole.
   */
  virtual bool CommitsZeroed() const noexcept { return false; }

  /**
   * Makes committed memory zero, and leaves alone what was never written as far as the system can
   * tell. False, and nothing happened, where it cannot tell at all.
   */
  virtual bool ClearWritten(Offset, uint64_t) noexcept { return false; }

  /** True when the system says that nothing was ever written into any system page that the range
   * touches, committed or not: they read as zero, and need not be read. */
  virtual bool IsUnwritten(Offset, uint64_t) noexcept { return false; }

  /**
   * Asks the system to place the whole system pages of the range on a NUMA node when they are
   * committed: before Commit, for pages that are there stay where they are. `node` counts as
   * Topology does; kAnyNode takes the wish back, whichever process it was of. Best effort: a full
   * node gives way to others, and false (no such node, no way to place memory here) is no reason to
   * stop. See MemoryPlacer.
   */
  virtual bool Bind(Offset offset, uint64_t size_bytes, uint32_t node) noexcept = 0;

  /** True when other processes can have the same memory; false for what one process has alone. */
  virtual bool IsShared() const noexcept = 0;

  /**
   * Takes byte lock `slot` for this process, without waiting. False with errno EAGAIN when another
   * has it, and with another errno when the system failed.
   */
  virtual bool HoldSlot(uint32_t slot) noexcept = 0;

  /** Lets a slot taken by HoldSlot on this object go. */
  virtual void ReleaseSlot(uint32_t slot) noexcept = 0;

  /**
   * True while some living process, this one included, holds the byte lock of the slot. When it
   * says no, all that the late holder wrote is visible (acquire).
   */
  virtual bool IsAlive(uint32_t slot) noexcept = 0;
};

/** A block, and where it lies in this process. Both are null, or neither is. */
struct PlacedBlock {
  Offset offset_ = 0;
  char* address_ = nullptr;
};

/**
 * The memory that an allocator runs on, as this process sees it: base, size and services. The same
 * bytes lie at another base in another process. A value; it owns nothing.
 *
 * services_ belongs to the host: a kernel that is given a region never follows it.
 */
struct Region {
  /** Clear writes less at once: a system call costs more. */
  static constexpr uint64_t kAskedClearBytes = 64 * 1024;

  char* base_ = nullptr;
  uint64_t size_bytes_ = 0;
  RegionServices* services_ = nullptr;

  template <typename T>
  HSHM_INLINE_CROSS_FUN T* At(Offset offset) const {
    HSHM_ASSERT(offset < size_bytes_);
    return reinterpret_cast<T*>(base_ + offset);
  }
  HSHM_INLINE_CROSS_FUN Offset OffsetOf(const void* ptr) const {
    return reinterpret_cast<uintptr_t>(ptr) - reinterpret_cast<uintptr_t>(base_);
  }
  /** Address of an offset, which may lie outside of the region: it counts modulo 2^64 then. */
  HSHM_INLINE_CROSS_FUN char* AddressOf(Offset offset) const {
    return reinterpret_cast<char*>(reinterpret_cast<uintptr_t>(base_) + offset);
  }
  /** Of a block's offset. */
  HSHM_INLINE PlacedBlock Place(Offset block) const {
    return {block, block != 0 ? AddressOf(block) : nullptr};
  }
  /**
   * RegionServices::Commit. In a kernel, and where there are no services, all memory is there: who
   * gives a region to kernels has committed it, or the GPU could not reach it.
   */
  HSHM_INLINE_CROSS_FUN bool Commit([[maybe_unused]] Offset offset,
                                    [[maybe_unused]] uint64_t size_bytes) const noexcept {
#if HSHM_IS_GPU
    return true;
#else
    return services_ == nullptr || services_->Commit(offset, size_bytes);
#endif
  }
  /** Makes committed bytes zero, untouched where the system knows that they are. On the host. */
  void Clear(Offset offset, uint64_t size_bytes) const noexcept {
    if (services_ != nullptr && size_bytes >= kAskedClearBytes &&
        services_->ClearWritten(offset, size_bytes)) {
      return;
    }
    std::memset(base_ + offset, 0, size_bytes);
  }
  HSHM_INLINE_CROSS_FUN bool Contains(Offset offset) const { return offset < size_bytes_; }
  HSHM_INLINE_CROSS_FUN bool Contains(const void* ptr) const { return Contains(OffsetOf(ptr)); }
};

}  // namespace hshm::ipc

#endif  // HSHM_MEMORY_BACKEND_REGION_H_
