#ifndef HSHM_SYNC_LOCK_IDENTITY_H_
#define HSHM_SYNC_LOCK_IDENTITY_H_

#include <cstdint>
#include <string>

#include "hermes_shm/base/macros.h"

namespace hshm {

/**
 * What a lock in shared memory needs to know of the other processes of its region. Implemented by
 * the region's membership; lies in private memory.
 */
class LockPeers {
 public:
  virtual ~LockPeers() = default;

  /**
   * True when incarnation `generation` of process slot `slot` has ended. The generation is read
   * before the kernel is asked, and everything the dead process wrote is visible afterwards.
   */
  virtual bool IsDead(uint32_t slot, uint32_t generation) noexcept = 0;

  /** "slot 3, pid 4711, stopped": for messages only. */
  virtual std::string Describe(uint32_t slot) = 0;
};

/** Who takes the lock: one incarnation of one process. Its threads share it. */
struct LockIdentity {
  static constexpr uint32_t kGenerationBits = 18;
  static constexpr uint32_t kSlotBits = 13;  // slot + 1, so that a word of 0 names nobody

  uint32_t slot_ = 0;
  uint32_t generation_ = 0;     // counts modulo 2^18 in a lock word
  LockPeers* peers_ = nullptr;  // null: nobody; such an identity must not lock
};

}  // namespace hshm

#endif  // HSHM_SYNC_LOCK_IDENTITY_H_
