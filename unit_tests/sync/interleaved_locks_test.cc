/** Locks between any two of whose instructions another process does something to the same word. */
#include <functional>
#include <random>
#include <string>

#include "hermes_shm/sync/mutex.h"
#include "hermes_shm/sync/rw_lock.h"
#include "support/catch.h"
#include "support/stepped_call.h"
#include "support/test_peers.h"

using hshm::BasicRwLock;
using hshm::LockIdentity;
using hshm::LockResult;
using hshm::Mutex;
using hshm::ReadTicket;
using hshm::test::MemoryFile;
using hshm::test::SteppedCall;
using hshm::test::TestPeers;

namespace {

constexpr int kRounds = 150;

/** Two members that could be two processes, and moments that are the same in each run. */
struct Fixture {
  MemoryFile file_{4096};
  TestPeers me_{file_};
  TestPeers other_{file_};
  std::minstd_rand random_{1};

  Fixture() {
    me_.Join();
    other_.Join();
  }
  /** Mine, and others' turns at one in `steps` of its instructions, four of them at most. */
  void Meet(uint32_t steps, const std::function<void()>& mine, const std::function<void()>& turn) {
    int turns = 4;
    SteppedCall::Run(mine, [&] {
      if (random_() % steps != 0) return true;
      turn();
      return --turns > 0;
    });
  }
};

/** What the other one has of a Mutex. */
struct OtherHolder {
  void Turn() {
    if (has_) {
      mutex_.Unlock(me_);
      has_ = false;
    } else {
      has_ = mutex_.TakeFree(me_);
    }
  }
  Mutex& mutex_;
  LockIdentity me_;
  bool has_ = false;
};

}  // namespace

TEST_CASE("Mutex has one holder, whatever another does between any two instructions of Lock") {
  Fixture f;
  Mutex mutex;
  const LockIdentity me = f.me_.identity();
  int had = 0;
  for (int round = 0; round < kRounds; ++round) {
    CAPTURE(round);
    OtherHolder other{mutex, f.other_.identity()};
    if (round % 4 != 0) other.Turn();
    LockResult result = LockResult::kOwnerDied;
    f.Meet(
        20, [&] { result = round % 2 == 0 ? mutex.Lock(me, 0) : mutex.TryLock(me); },
        [&] { other.Turn(); });
    if (result == LockResult::kLocked) {
      ++had;
      REQUIRE_FALSE(other.has_);
      REQUIRE(mutex.HolderSlot() == me.slot_);
      mutex.Unlock(me);
    } else {
      REQUIRE(result == LockResult::kTimeout);
      REQUIRE_FALSE(mutex.IsHeldBy(me));
    }
    if (other.has_) other.Turn();
    REQUIRE(mutex.HolderSlot() == Mutex::kNoSlot);
  }
  REQUIRE(had > 0);
  REQUIRE(had < kRounds);
}

TEST_CASE(
    "Mutex has one holder where another lets it go and takes it again between two looks at it") {
  Fixture f;
  Mutex mutex;
  const LockIdentity me = f.me_.identity();
  constexpr uint32_t kStride = 5;  // instructions, at each of which the other one's turns begin
  constexpr uint32_t kApart = 20;
  const bool is_try = GENERATE(true, false);
  bool has_come = true;
  for (uint32_t n = 0; has_come && n < 800; n += kStride) {
    CAPTURE(is_try, n);
    OtherHolder other{mutex, f.other_.identity()};
    other.Turn();
    uint32_t step = 0;
    has_come = false;
    LockResult result = LockResult::kOwnerDied;
    SteppedCall::Run([&] { result = is_try ? mutex.TryLock(me) : mutex.Lock(me, 0); },
                     [&] {
                       if (step == n || step == n + kApart) other.Turn();
                       has_come = step >= n;
                       return step++ < n + kApart;
                     });
    REQUIRE(result == (mutex.IsHeldBy(me) ? LockResult::kLocked : LockResult::kTimeout));
    REQUIRE_FALSE((mutex.IsHeldBy(me) && other.has_));
    if (mutex.IsHeldBy(me)) mutex.Unlock(me);
    if (other.has_) other.Turn();
    REQUIRE(mutex.HolderSlot() == Mutex::kNoSlot);
  }
}

TEST_CASE("RwLock gives a mark to one reader, wherever another reader comes in between") {
  Fixture f;
  BasicRwLock<1> lock;
  const LockIdentity me = f.me_.identity();
  const LockIdentity they = f.other_.identity();
  int refused = 0;
  for (int round = 0; round < kRounds; ++round) {
    CAPTURE(round);
    ReadTicket others;
    if (round % 2 == 0) others = lock.ReadLock(they, 0);
    ReadTicket mine;
    f.Meet(
        40, [&] { mine = lock.ReadLock(me, 0); },
        [&] {
          if (others.IsHeld()) {
            lock.ReadUnlock(they, others);
            others = ReadTicket();
          } else {
            others = lock.ReadLock(they, 0);
          }
        });
    REQUIRE_FALSE((mine.IsHeld() && others.IsHeld()));
    refused += mine.IsHeld() ? 0 : 1;
    if (mine.IsHeld()) lock.ReadUnlock(me, mine);
    if (others.IsHeld()) lock.ReadUnlock(they, others);
    REQUIRE(lock.WriteLock(me, 0) == LockResult::kLocked);  // nobody's mark is left
    lock.WriteUnlock(me);
  }
  REQUIRE(refused > 0);
  REQUIRE(refused < kRounds);
}

TEST_CASE("RwLock's one mark goes to one of two readers, wherever the other one comes") {
  Fixture f;
  BasicRwLock<1> lock;
  const LockIdentity me = f.me_.identity();
  const LockIdentity they = f.other_.identity();
  bool has_come = true;
  for (uint32_t n = 0; has_come && n < 600; n += 2) {
    CAPTURE(n);
    uint32_t left = n;
    has_come = false;
    ReadTicket mine;
    ReadTicket others;
    SteppedCall::Run([&] { mine = lock.ReadLock(me, 0); },
                     [&] {
                       if (left-- != 0) return true;
                       has_come = true;
                       others = lock.ReadLock(they, 0);
                       return false;
                     });
    REQUIRE(mine.IsHeld() != (has_come && others.IsHeld()));
    if (mine.IsHeld()) lock.ReadUnlock(me, mine);
    if (others.IsHeld()) lock.ReadUnlock(they, others);
  }
}

TEST_CASE("RwLock lets a writer in or not, wherever the reader leaves for whom it waits") {
  Fixture f;
  BasicRwLock<1> lock;
  const LockIdentity me = f.me_.identity();
  const LockIdentity they = f.other_.identity();
  int had = 0;
  bool has_come = true;
  for (int round = 0; has_come && round < 10 * kRounds; ++round) {
    CAPTURE(round);
    ReadTicket others = lock.ReadLock(they, 0);
    REQUIRE(others.IsHeld());
    LockResult result = LockResult::kOwnerDied;
    int left = round * 5;
    has_come = false;
    SteppedCall::Run([&] { result = lock.WriteLock(me, 0); },
                     [&] {
                       if (left-- != 0) return true;
                       has_come = true;
                       lock.ReadUnlock(they, others);
                       others = ReadTicket();
                       return false;
                     });
    if (result == LockResult::kLocked) {
      ++had;
      REQUIRE_FALSE(others.IsHeld());
      lock.WriteUnlock(me);
    } else {
      REQUIRE(result == LockResult::kTimeout);
    }
    if (others.IsHeld()) lock.ReadUnlock(they, others);
    const ReadTicket next = lock.ReadLock(they, 0);  // who gave up has left the way open
    REQUIRE(next.result_ == LockResult::kLocked);
    lock.ReadUnlock(they, next);
  }
  REQUIRE(had > 0);
}

namespace {

/** A member that is slow to act on an answer: another reader clears the dead one's mark meanwhile,
 * and takes it. */
class SlowReader final : public hshm::LockPeers {
 public:
  SlowReader(TestPeers& me, TestPeers& other, BasicRwLock<1>& lock)
      : me_(me), other_(other), lock_(lock) {}

  LockIdentity identity() {
    LockIdentity identity = me_.identity();
    identity.peers_ = this;
    return identity;
  }
  bool IsDead(uint32_t slot, uint32_t generation) noexcept override {
    const bool is_dead = me_.IsDead(slot, generation);
    if (!is_dead || others_.IsHeld()) return is_dead;
    others_ = lock_.ReadLock(other_.identity(), 0);  // it only clears
    if (!others_.IsHeld()) others_ = lock_.ReadLock(other_.identity(), 0);
    return is_dead;
  }
  std::string Describe(uint32_t slot) override { return me_.Describe(slot); }

  ReadTicket others_;

 private:
  TestPeers& me_;
  TestPeers& other_;
  BasicRwLock<1>& lock_;
};

}  // namespace

TEST_CASE("RwLock's mark of a dead reader is had by one, when two clear it at once") {
  Fixture f;
  TestPeers dead(f.file_);
  dead.Join();
  BasicRwLock<1> lock;
  SlowReader slow(f.me_, f.other_, lock);
  REQUIRE(lock.ReadLock(dead.identity(), 0).IsHeld());
  dead.Leave();
  REQUIRE_FALSE(lock.ReadLock(slow.identity(), 100'000).IsHeld());
  REQUIRE(slow.others_.result_ == LockResult::kLocked);
  REQUIRE(lock.WriteLock(f.me_.identity(), 0) == LockResult::kTimeout);
  lock.ReadUnlock(f.other_.identity(), slow.others_);
  REQUIRE(lock.WriteLock(f.me_.identity(), 0) == LockResult::kLocked);
}

TEST_CASE("RwLock's writer waits for a reader that lives as long as it was told, and gives up") {
  Fixture f;
  BasicRwLock<1> lock;
  const ReadTicket others = lock.ReadLock(f.other_.identity(), 0);
  REQUIRE(others.IsHeld());
  REQUIRE(lock.WriteLock(f.me_.identity(), 60'000) == LockResult::kTimeout);
  lock.ReadUnlock(f.other_.identity(), others);
  REQUIRE(lock.WriteLock(f.me_.identity(), 60'000) == LockResult::kLocked);
  lock.WriteUnlock(f.me_.identity());
}
