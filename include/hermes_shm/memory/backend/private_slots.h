#ifndef HSHM_MEMORY_BACKEND_PRIVATE_SLOTS_H_
#define HSHM_MEMORY_BACKEND_PRIVATE_SLOTS_H_

#include <cstdint>
#include <memory>

#include "hermes_shm/base/check.h"
#include "hermes_shm/memory/backend/backend_header.h"
#include "hermes_shm/sync/atomic.h"

namespace hshm::ipc {

/**
 * Who lives in a region that one process alone can see: a flag per slot in the memory of the
 * backend object, where a shared segment asks the kernel.
 *
 * Invariant  A flag is set from TryHold until Release.
 * Ordering   Release releases, TryHold and IsHeld acquire: who sees a slot free sees all that its
 *            holder wrote.
 * ABA        None: the slot's generation tells holders apart.
 * Crash      The table goes with its process. Another object on the same bytes starts with an
 *            empty table, so it sees everybody of before as dead.
 */
class PrivateSlots {
 public:
  explicit PrivateSlots(uint32_t count)
      : count_(count), held_(std::make_unique<Atomic<uint8_t>[]>(count)) {}

  bool TryHold(uint32_t slot) noexcept {
    HSHM_CHECK(slot < count_);
    return held_[slot].exchange(1, std::memory_order_acquire) == 0;  // pairs with Release
  }
  void Release(uint32_t slot) noexcept {
    HSHM_CHECK(slot < count_);
    held_[slot].store(0, std::memory_order_release);  // pairs with TryHold and IsHeld
  }
  bool IsHeld(uint32_t slot) const noexcept {
    HSHM_CHECK(slot < count_);
    return held_[slot].load(std::memory_order_acquire) != 0;  // pairs with Release
  }

 private:
  uint32_t count_;
  std::unique_ptr<Atomic<uint8_t>[]> held_;
};

}  // namespace hshm::ipc

#endif  // HSHM_MEMORY_BACKEND_PRIVATE_SLOTS_H_
