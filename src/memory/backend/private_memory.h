#ifndef HSHM_SRC_MEMORY_BACKEND_PRIVATE_MEMORY_H_
#define HSHM_SRC_MEMORY_BACKEND_PRIVATE_MEMORY_H_

#include <cerrno>

#include "hermes_shm/memory/backend/memory_backend.h"
#include "hermes_shm/memory/backend/private_slots.h"

namespace hshm::ipc {

/** Bytes that are there for good and that this process alone uses. Owns none of them. */
class PrivateMemory : public BackendMemory {
 public:
  PrivateMemory(char* base, uint64_t size_bytes)
      : base_(base), size_bytes_(size_bytes), slots_(SlotCountFor(size_bytes)) {}

  char* base() const noexcept final { return base_; }
  uint64_t size_bytes() const noexcept final { return size_bytes_; }

  bool Commit(Offset offset, uint64_t size_bytes) noexcept final {
    return offset <= size_bytes_ && size_bytes <= size_bytes_ - offset;
  }
  void Decommit(Offset offset, uint64_t size_bytes) noexcept override {
    HSHM_CHECK(offset <= size_bytes_ && size_bytes <= size_bytes_ - offset);  // the bytes stay
  }
  bool Bind(Offset, uint64_t, uint32_t) noexcept override { return false; }  // not our pages
  bool IsShared() const noexcept final { return false; }
  bool HoldSlot(uint32_t slot) noexcept final {
    errno = EAGAIN;
    return slots_.TryHold(slot);
  }
  void ReleaseSlot(uint32_t slot) noexcept final { slots_.Release(slot); }
  bool IsAlive(uint32_t slot) noexcept final { return slots_.IsHeld(slot); }

 private:
  char* base_;
  uint64_t size_bytes_;
  PrivateSlots slots_;
};

}  // namespace hshm::ipc

#endif  // HSHM_SRC_MEMORY_BACKEND_PRIVATE_MEMORY_H_
