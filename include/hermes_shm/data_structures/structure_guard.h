#ifndef HSHM_DATA_STRUCTURES_STRUCTURE_GUARD_H_
#define HSHM_DATA_STRUCTURES_STRUCTURE_GUARD_H_

#include "hermes_shm/base/types.h"
#include "hermes_shm/sync/mutex.h"

namespace hshm::ipc {

/**
 * Holds the lock that lies in a vector, list or map, for a scope. When the last holder died inside,
 * the structure has been mended before this object is there.
 *
 * The lock guards whoever asks for it: the structures' own operations never take it, so a program
 * whose ranks take turns by other means (a barrier, one writer) pays nothing.
 */
class StructureGuard {
 public:
  /** structure.Recover(ctx) mends it. */
  template <typename Structure>
  StructureGuard(Structure& structure, Mutex& mutex, const LockIdentity& me,
                 const MemContext& ctx) noexcept
      : guard_(mutex, me) {
    if (HSHM_UNLIKELY(last_holder_died())) structure.Recover(ctx);
  }

  /** True when the last holder died inside: what it was about may be undone or done. */
  bool last_holder_died() const noexcept { return guard_.result() == LockResult::kOwnerDied; }

 private:
  MutexGuard guard_;
};

}  // namespace hshm::ipc

#endif  // HSHM_DATA_STRUCTURES_STRUCTURE_GUARD_H_
