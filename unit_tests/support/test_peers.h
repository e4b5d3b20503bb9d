#ifndef HSHM_UNIT_TESTS_SUPPORT_TEST_PEERS_H_
#define HSHM_UNIT_TESTS_SUPPORT_TEST_PEERS_H_

#include <cstdint>
#include <string>

#include "hermes_shm/base/check.h"
#include "hermes_shm/platform/byte_lock.h"
#include "hermes_shm/platform/process.h"
#include "hermes_shm/sync/atomic.h"
#include "hermes_shm/sync/lock_identity.h"
#include "support/memory_file.h"

namespace hshm::test {

/** The slots of a few processes, at the start of a shared file that is zeroed at first. */
struct TestSlots {
  static constexpr uint32_t kCount = 8;
  Atomic<uint32_t> generation_[kCount];  // [byte]
  Atomic<uint32_t> os_pid_[kCount];      // [byte]
};

/** One process, or one incarnation of several in a test of one process, as a member of the slots.
 */
class TestPeers final : public LockPeers {
 public:
  explicit TestPeers(const MemoryFile& file)
      : fd_(file.fd()), slots_(reinterpret_cast<TestSlots*>(file.base())) {}

  /** Takes the first free slot. */
  void Join() {
    uint32_t slot = 0;
    while (!JoinAt(slot)) HSHM_CHECK(++slot < TestSlots::kCount);
  }
  /** False when the slot is taken. */
  bool JoinAt(uint32_t slot) {
    if (byte_.Hold(fd_, slot) != 0) return false;
    slot_ = slot;
    // relaxed: one writer; the store pairs with IsDead
    generation_ = slots_->generation_[slot].load(std::memory_order_relaxed) + 1;
    slots_->generation_[slot].store(generation_, std::memory_order_release);  // pairs with IsDead
    slots_->os_pid_[slot].store(ProcessId());
    return true;
  }
  /** The slot is as after a death; the identity stays, as a dead process's words do. */
  void Leave() { byte_.Release(); }

  LockIdentity identity() { return {slot_, generation_, this}; }

  bool IsDead(uint32_t slot, uint32_t generation) noexcept override {
    constexpr uint32_t kMask = (uint32_t{1} << LockIdentity::kGenerationBits) - 1;
    // pairs with JoinAt
    const uint32_t now = slots_->generation_[slot].load(std::memory_order_acquire);
    return (now & kMask) != (generation & kMask) || !ByteIsLocked(fd_, slot);
  }
  std::string Describe(uint32_t slot) override {
    return "slot " + std::to_string(slot) + ", " + DescribeProcess(slots_->os_pid_[slot].load());
  }

 private:
  int fd_;
  TestSlots* slots_;
  HeldByte byte_;
  uint32_t slot_ = 0;
  uint32_t generation_ = 0;
};

}  // namespace hshm::test

#endif  // HSHM_UNIT_TESTS_SUPPORT_TEST_PEERS_H_
