#ifndef HSHM_MEMORY_BACKEND_MEMBERSHIP_H_
#define HSHM_MEMORY_BACKEND_MEMBERSHIP_H_

#include <atomic>
#include <cstdint>
#include <string>

#include "hermes_shm/memory/backend/backend_header.h"
#include "hermes_shm/memory/backend/region.h"
#include "hermes_shm/platform/forked.h"
#include "hermes_shm/sync/lock_identity.h"

namespace hshm::ipc {

/**
 * This process as a member of a region: a slot, its byte lock, a generation. Private memory.
 * Protocol: docs/protocols.md, A (life).
 *
 * Invariant  At most one living process holds byte i; it raises generation_ of slot i once, before
 *            it uses {i, generation} anywhere.
 * Ordering   generation_ is released by the joiner and acquired by IsDead.
 * ABA        {slot, generation} is never given twice within 2^18 joins of one slot.
 * Crash      Before the byte lock: nothing happened. After it: the lock falls, the next joiner
 * takes the slot.
 *
 * A forked child inherits neither lock nor identity: the one page that holds the identity is wiped
 * in it (MADV_WIPEONFORK), so slot() and friends must be asked for after IsMember() said yes.
 */
class HSHM_API Membership final : public LockPeers {
 public:
  Membership() = default;
  /** Joins in the first free slot. @throws Error kTooManyProcesses, kFdLimit, kSystem */
  explicit Membership(const Region& region);
  ~Membership() override;
  Membership(Membership&& other) noexcept;
  Membership& operator=(Membership&& other) noexcept;
  Membership(const Membership&) = delete;
  Membership& operator=(const Membership&) = delete;

  /** False before joining, after Leave, and in a forked child until Rejoin. One load. */
  bool IsMember() const noexcept {
    // acquire: pairs with the release in Join, where another thread joined for this process.
    return page_.IsMapped() && Slot().load(std::memory_order_acquire) != 0;
  }

  /**
   * Takes a slot of its own in a forked child; threads may call it at once. False when none is
   * free. Whoever keeps private state for a slot must compare slot and generation with those the
   * state was made for: any lock of the region may have rejoined first.
   */
  bool Rejoin() noexcept;

  /** In a forked child that has a copy of the region to itself, locks and all: it is in the copy
   * who its parent is in the original. Before any other call, by the child's only thread. */
  void GoOnAs(uint32_t slot, uint32_t generation) noexcept;

  /** Lets the slot go. What it labels stays as a death would leave it. */
  void Leave() noexcept;

  uint32_t slot() const noexcept {
    return Slot().load(std::memory_order_relaxed) - 1;  // relaxed: IsMember acquired it
  }
  uint32_t generation() const noexcept { return page_->generation_; }
  LockIdentity identity() noexcept { return {slot(), generation(), this}; }

  /** Identity for a lock; in a forked child it joins first. peers_ is null when that failed. */
  LockIdentity IdentityOrRejoin() noexcept {
    return (IsMember() || Rejoin()) ? identity() : LockIdentity{};
  }

  SlotEntry* entry(uint32_t slot) const noexcept;
  uint32_t slot_count() const noexcept { return slot_count_; }
  bool IsAlive(uint32_t slot) noexcept {
    return slot < slot_count_ && region_.services_->IsAlive(slot);
  }

  /** Generations are compared modulo 2^18, as they stand in lock words. */
  bool IsDead(uint32_t slot, uint32_t generation) noexcept override;
  std::string Describe(uint32_t slot) override;

 private:
  /** Lies in a mapping of its own that a forked child finds zeroed. */
  struct Identity {
    uint32_t slot_plus_one_;  // written last
    uint32_t generation_;
    uint32_t joining_;  // 1 while a thread of this process takes a slot
  };

  std::atomic_ref<uint32_t> Slot() const noexcept {
    return std::atomic_ref<uint32_t>(page_->slot_plus_one_);
  }
  /** @return 0, EAGAIN when every slot is taken, the errno of what failed */
  int Join() noexcept;
  int TryJoin(uint32_t slot) noexcept;

  Region region_;
  uint32_t slot_count_ = 0;
  WipeOnForkPage<Identity> page_;
};

}  // namespace hshm::ipc

#endif  // HSHM_MEMORY_BACKEND_MEMBERSHIP_H_
