/** The Crash lines of Mutex, with processes that are killed and stopped. */
#include <random>
#include <vector>

#include "hermes_shm/platform/cpu.h"
#include "hermes_shm/platform/futex.h"
#include "hermes_shm/sync/mutex.h"
#include "support/catch.h"
#include "support/child_process.h"
#include "support/seed.h"
#include "support/test_peers.h"

using hshm::Atomic;
using hshm::LockResult;
using hshm::MonotonicUs;
using hshm::Mutex;
using hshm::test::ChildProcess;
using hshm::test::MemoryFile;
using hshm::test::Signpost;
using hshm::test::TestPeers;
using hshm::test::TestSlots;

namespace {

constexpr int kRounds = 200;
constexpr uint64_t kPatienceUs = 20 * 1000 * 1000;  // a hang, not a slow machine

/** What the mutex protects: first_ == second_ whenever nobody is inside. */
struct Shared {
  TestSlots slots_;
  Mutex mutex_;
  Atomic<uint64_t> first_;
  Atomic<uint64_t> second_;
  Atomic<uint32_t> inside_;  // slot + 1 of who is inside, 0 when left in order
  Atomic<uint64_t> passes_;
  Atomic<uint64_t> take_overs_;
};

struct Fixture {
  MemoryFile file_{4096};
  Shared* shared_ = reinterpret_cast<Shared*>(file_.base());
  TestPeers me_{file_};
  Signpost there_;

  Fixture() { me_.Join(); }

  /** A process that takes the lock, leaves what it protects half changed, and stays inside. */
  ChildProcess StartHolder(LockResult expected) {
    return ChildProcess([this, expected] {
      TestPeers peers(file_);
      peers.Join();
      if (shared_->mutex_.Lock(peers.identity(), kPatienceUs) != expected) return 1;
      shared_->first_.fetch_add(1);
      there_.Tell();
      for (;;) pause();
    });
  }
  void Repair() { shared_->second_.store(shared_->first_.load()); }
};

/** One visit of the critical section. @return false when a rule was broken */
bool Visit(Shared* shared, TestPeers* peers) {
  const auto me = peers->identity();
  const LockResult result = shared->mutex_.Lock(me, kPatienceUs);
  if (result == LockResult::kTimeout) return false;
  const uint32_t before = shared->inside_.exchange(me.slot_ + 1);
  if (result == LockResult::kOwnerDied) {
    shared->second_.store(shared->first_.load());
    shared->take_overs_.fetch_add(1);
  } else if (before != 0) {
    return false;  // somebody is inside, or died inside and nobody was told
  }
  if (shared->first_.load() != shared->second_.load()) return false;
  shared->first_.fetch_add(1);
  if (shared->inside_.load() != me.slot_ + 1) return false;
  shared->second_.fetch_add(1);
  shared->inside_.store(0);
  shared->passes_.fetch_add(1);
  shared->mutex_.Unlock(me);
  return true;
}

/** Spins until `count` more visits were made by anybody. False when nobody makes progress. */
bool AwaitPasses(const Shared* shared, uint64_t count) {
  const uint64_t goal = shared->passes_.load() + count;
  const uint64_t deadline_us = MonotonicUs() + kPatienceUs;
  while (shared->passes_.load() < goal) {
    if (MonotonicUs() > deadline_us) return false;
    sched_yield();
  }
  return true;
}

}  // namespace

TEST_CASE("Mutex of a killed holder is taken over, told, and in order afterwards, 200 times") {
  Fixture f;
  for (int round = 0; round < kRounds; ++round) {
    ChildProcess holder = f.StartHolder(LockResult::kLocked);
    f.there_.Await();
    REQUIRE(f.shared_->mutex_.TryLock(f.me_.identity()) == LockResult::kTimeout);
    const uint64_t before_us = MonotonicUs();
    holder.KillWithoutReaping();  // a zombie is dead as well
    REQUIRE(f.shared_->mutex_.Lock(f.me_.identity(), kPatienceUs) == LockResult::kOwnerDied);
    CHECK(MonotonicUs() - before_us < 2 * 1000 * 1000);
    CHECK(f.shared_->first_.load() == f.shared_->second_.load() + 1);
    f.Repair();
    f.shared_->mutex_.Unlock(f.me_.identity());
    REQUIRE(f.shared_->mutex_.Lock(f.me_.identity(), kPatienceUs) == LockResult::kLocked);
    f.shared_->mutex_.Unlock(f.me_.identity());
  }
}

TEST_CASE("Mutex sleepers in other processes are told of a death, one of them, and all pass") {
  Fixture f;
  ChildProcess holder = f.StartHolder(LockResult::kLocked);
  f.there_.Await();
  f.shared_->inside_.store(99);  // as if it had come through Visit
  std::vector<ChildProcess> sleepers;
  for (int i = 0; i < 4; ++i) {
    sleepers.emplace_back([&] {
      TestPeers peers(f.file_);
      peers.Join();
      return Visit(f.shared_, &peers) ? 0 : 1;
    });
  }
  holder.Kill();
  for (ChildProcess& sleeper : sleepers) CHECK(sleeper.Wait() == 0);
  CHECK(f.shared_->take_overs_.load() == 1);
  CHECK(f.shared_->passes_.load() == 4);
}

TEST_CASE("Mutex taker that dies in its repair leaves the obligation to the next") {
  Fixture f;
  ChildProcess holder = f.StartHolder(LockResult::kLocked);
  f.there_.Await();
  holder.Kill();
  for (int i = 0; i < 3; ++i) {
    ChildProcess taker = f.StartHolder(LockResult::kOwnerDied);
    f.there_.Await();
    taker.Kill();
  }
  CHECK(f.shared_->mutex_.Lock(f.me_.identity(), kPatienceUs) == LockResult::kOwnerDied);
  CHECK(f.shared_->first_.load() == 4);
}

TEST_CASE("Mutex of a stopped holder is waited for, never robbed, and the holder is named") {
  Fixture f;
  Signpost go_on;
  ChildProcess holder([&] {
    TestPeers peers(f.file_);
    peers.Join();
    if (f.shared_->mutex_.Lock(peers.identity()) != LockResult::kLocked) return 1;
    raise(SIGSTOP);
    go_on.Await();
    f.shared_->mutex_.Unlock(peers.identity());
    return 0;
  });
  holder.AwaitStop();
  CHECK(f.shared_->mutex_.Lock(f.me_.identity(), 50 * 1000) == LockResult::kTimeout);
  CHECK(f.shared_->mutex_.TryLock(f.me_.identity()) == LockResult::kTimeout);
  const std::string text = f.shared_->mutex_.DescribeHolder(f.me_.identity());
  CHECK(text == "slot 1, pid " + std::to_string(holder.pid()) + " (stopped)");
  holder.Signal(SIGCONT);
  go_on.Tell();
  CHECK(f.shared_->mutex_.Lock(f.me_.identity(), kPatienceUs) == LockResult::kLocked);
  CHECK(holder.Wait() == 0);
}

TEST_CASE("Mutex survives a storm of kills at random moments") {
  constexpr size_t kChildren = 4;
  Fixture f;
  f.me_.Leave();
  std::mt19937_64 random(hshm::test::PrintedSeed("mutex kill storm"));
  const auto start = [&] {
    return ChildProcess([&] {
      TestPeers peers(f.file_);
      peers.Join();
      while (Visit(f.shared_, &peers)) {}
      return 1;
    });
  };
  std::vector<ChildProcess> children;
  for (size_t i = 0; i < kChildren; ++i) children.push_back(start());
  for (int kill = 0; kill < 2 * kRounds; ++kill) {
    REQUIRE(AwaitPasses(f.shared_, random() % 3000));
    const uint64_t strike_us = MonotonicUs() + random() % 500;
    while (MonotonicUs() < strike_us) hshm::RelaxCpu();
    for (const ChildProcess& child : children) REQUIRE(child.IsRunning());
    ChildProcess& victim = children[random() % kChildren];
    victim.Kill();
    victim = start();
  }
  REQUIRE(AwaitPasses(f.shared_, 100));
  std::printf("mutex kill storm: %d kills, %llu visits, %llu take-overs\n", 2 * kRounds,
              static_cast<unsigned long long>(f.shared_->passes_.load()),
              static_cast<unsigned long long>(f.shared_->take_overs_.load()));
  CHECK(f.shared_->take_overs_.load() > 0);
}
