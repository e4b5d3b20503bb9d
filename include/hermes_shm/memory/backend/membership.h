#ifndef HSHM_MEMORY_BACKEND_MEMBERSHIP_H_
#define HSHM_MEMORY_BACKEND_MEMBERSHIP_H_

#include <cstdint>
#include <string>

#include "hermes_shm/memory/backend/backend_header.h"
#include "hermes_shm/memory/backend/region.h"
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
 * Crash      Before the byte lock: nothing happened. After it: the lock falls, the next joiner takes
 *            the slot.
 *
 * A forked child inherits neither lock nor identity: the one page that holds the identity is wiped
 * in it (MADV_WIPEONFORK), so slot() and friends must be asked for after IsMember() said yes.
 */
class HSHM_API Membership final : public LockPeers {
 public:
  Membership() = default;
  /** Joins in the first free slot. @throws Error kTooManyProcesses, kSystem */
  explicit Membership(const Region& region);
  ~Membership() override;
  Membership(Membership&& other) noexcept;
  Membership& operator=(Membership&& other) noexcept;
  Membership(const Membership&) = delete;
  Membership& operator=(const Membership&) = delete;

  /** False before joining, after Leave, and in a forked child until Rejoin. One load. */
  bool IsMember() const noexcept { return page_ != nullptr && page_->slot_plus_one_ != 0; }

  /** Takes a slot of its own in a forked child. False when none is free. */
  bool Rejoin() noexcept;

  /** Lets the slot go. What it labels stays as a death would leave it. */
  void Leave() noexcept;

  uint32_t slot() const noexcept { return page_->slot_plus_one_ - 1; }
  uint32_t generation() const noexcept { return page_->generation_; }
  LockIdentity identity() noexcept { return {slot(), generation(), this}; }

  /** Identity for a lock; in a forked child it joins first. peers_ is null when that failed. */
  LockIdentity IdentityOrRejoin() noexcept {
    return (IsMember() || Rejoin()) ? identity() : LockIdentity{};
  }

  SlotEntry* entry(uint32_t slot) const noexcept;
  uint32_t slot_count() const noexcept { return slot_count_; }
  bool IsAlive(uint32_t slot) noexcept { return region_.services_->IsAlive(slot); }

  bool IsDead(uint32_t slot, uint32_t generation) noexcept override;
  std::string Describe(uint32_t slot) override;

 private:
  /** Lies in a mapping of its own that a forked child finds zeroed. */
  struct IdentityPage {
    uint32_t slot_plus_one_;
    uint32_t generation_;
  };

  bool Join() noexcept;

  Region region_;
  uint32_t slot_count_ = 0;
  IdentityPage* page_ = nullptr;
};

}  // namespace hshm::ipc

#endif  // HSHM_MEMORY_BACKEND_MEMBERSHIP_H_
