#include "hermes_shm/sync/mutex.h"

#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

#include "hermes_shm/platform/futex.h"
#include "hermes_shm/platform/process.h"
#include "support/catch.h"
#include "support/child_process.h"
#include "support/test_peers.h"

using hshm::kNoTimeout;
using hshm::LockIdentity;
using hshm::LockResult;
using hshm::MonotonicUs;
using hshm::Mutex;
using hshm::MutexGuard;
using hshm::test::MemoryFile;
using hshm::test::RunInChild;
using hshm::test::TestPeers;

namespace {

/** A lock and two members that could be two processes: each has its own slot and byte. */
struct Fixture {
  MemoryFile file_{4096};
  TestPeers me_{file_};
  TestPeers other_{file_};
  Mutex mutex_;

  Fixture() {
    me_.Join();
    other_.Join();
  }
  /** The word as the protocol has it: {waiters:1, generation:18, slot + 1:13}. */
  std::atomic_ref<uint32_t> Word() {
    return std::atomic_ref<uint32_t>(*reinterpret_cast<uint32_t*>(&mutex_));
  }
  bool HasWaiters() { return (Word().load() >> 31) != 0; }
};

}  // namespace

TEST_CASE("Mutex excludes threads of one process and loses no wake-up") {
  constexpr int kThreads = 4;
  constexpr int kRounds = 5000;
  Fixture f;
  int count = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&] {
      for (int round = 0; round < kRounds; ++round) {
        const MutexGuard guard(f.mutex_, f.me_.identity());
        if (guard.result() != LockResult::kLocked) std::abort();
        ++count;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(count == kThreads * kRounds);
  CHECK(f.mutex_.HolderSlot() == Mutex::kNoSlot);
}

TEST_CASE("Mutex excludes members of different slots") {
  Fixture f;
  int count = 0;
  const auto work = [&](TestPeers& peers) {
    for (int round = 0; round < 10000; ++round) {
      const MutexGuard guard(f.mutex_, peers.identity());
      ++count;
    }
  };
  std::thread thread(work, std::ref(f.other_));
  work(f.me_);
  thread.join();
  CHECK(count == 20000);
}

TEST_CASE("Mutex names its holder in the documented word, and nobody when it is free") {
  Fixture f;
  CHECK(f.Word().load() == 0);
  CHECK(f.mutex_.HolderSlot() == Mutex::kNoSlot);
  CHECK(f.mutex_.DescribeHolder(f.me_.identity()) == "nobody");
  REQUIRE(f.mutex_.Lock(f.other_.identity()) == LockResult::kLocked);
  const LockIdentity other = f.other_.identity();
  CHECK(f.Word().load() == ((other.generation_ << 13) | (other.slot_ + 1)));
  CHECK(f.mutex_.HolderSlot() == other.slot_);
  CHECK(f.mutex_.DescribeHolder(f.me_.identity()) == f.other_.Describe(other.slot_));
  CHECK(f.mutex_.DescribeHolder(LockIdentity()) == "nobody");  // who has no peers can ask nobody
  f.mutex_.Unlock(other);
  CHECK(f.Word().load() == 0);
}

TEST_CASE("Mutex TryLock and a timed Lock give up while a living member holds it") {
  Fixture f;
  REQUIRE(f.mutex_.Lock(f.other_.identity()) == LockResult::kLocked);
  CHECK(f.mutex_.TryLock(f.me_.identity()) == LockResult::kTimeout);
  for (const uint64_t timeout_us : {0, 100, 25000}) {
    const uint64_t before_us = MonotonicUs();
    CHECK(f.mutex_.Lock(f.me_.identity(), timeout_us) == LockResult::kTimeout);
    CHECK(MonotonicUs() - before_us >= timeout_us);
  }
  f.mutex_.Unlock(f.other_.identity());
  CHECK(f.mutex_.TryLock(f.me_.identity()) == LockResult::kLocked);
  f.mutex_.Unlock(f.me_.identity());
}

TEST_CASE("Mutex times out as asked although signals interrupt every sleep") {
  Fixture f;
  REQUIRE(f.mutex_.Lock(f.other_.identity()) == LockResult::kLocked);
  struct sigaction handler = {};
  handler.sa_handler = [](int) {};
  struct sigaction former = {};
  REQUIRE(sigaction(SIGUSR1, &handler, &former) == 0);
  std::atomic<bool> done{false};
  const pthread_t sleeper = pthread_self();
  std::thread pest([&] {
    while (!done) {
      pthread_kill(sleeper, SIGUSR1);
      std::this_thread::yield();
    }
  });
  CHECK(f.mutex_.Lock(f.me_.identity(), 30000) == LockResult::kTimeout);
  f.other_.Leave();
  CHECK(f.mutex_.Lock(f.me_.identity()) == LockResult::kOwnerDied);
  done = true;
  pest.join();
  sigaction(SIGUSR1, &former, nullptr);
}

TEST_CASE("Mutex takes a lock over from a member that has ended, and says so once") {
  Fixture f;
  const LockIdentity dead = f.other_.identity();
  SECTION("by Lock") {
    REQUIRE(f.mutex_.Lock(dead) == LockResult::kLocked);
    f.other_.Leave();
    CHECK(f.mutex_.Lock(f.me_.identity()) == LockResult::kOwnerDied);
  }
  SECTION("by TryLock") {
    REQUIRE(f.mutex_.Lock(dead) == LockResult::kLocked);
    f.other_.Leave();
    CHECK(f.mutex_.TryLock(f.me_.identity()) == LockResult::kOwnerDied);
  }
  SECTION("although its slot has a living process again") {
    REQUIRE(f.mutex_.Lock(dead) == LockResult::kLocked);
    f.other_.Leave();
    TestPeers next(f.file_);
    REQUIRE(next.JoinAt(dead.slot_));
    CHECK(f.mutex_.Lock(f.me_.identity()) == LockResult::kOwnerDied);
  }
  CHECK(f.mutex_.HolderSlot() == f.me_.identity().slot_);
  f.mutex_.Unlock(f.me_.identity());
  CHECK(f.mutex_.Lock(f.me_.identity()) == LockResult::kLocked);
  f.mutex_.Unlock(f.me_.identity());
}

TEST_CASE("Mutex TryLockUnlessDeadIn leaves the dead of that slot alone, and no others") {
  Fixture f;
  const LockIdentity dead = f.other_.identity();
  const LockIdentity me = f.me_.identity();
  CHECK(f.mutex_.TryLockUnlessDeadIn(me, dead.slot_) == LockResult::kLocked);
  f.mutex_.Unlock(me);
  REQUIRE(f.mutex_.Lock(dead) == LockResult::kLocked);
  CHECK(f.mutex_.TryLockUnlessDeadIn(me, dead.slot_) == LockResult::kTimeout);
  f.other_.Leave();
  CHECK(f.mutex_.TryLockUnlessDeadIn(me, dead.slot_) == LockResult::kTimeout);
  CHECK(f.mutex_.HolderSlot() == dead.slot_);
  CHECK(f.mutex_.TryLockUnlessDeadIn(me, dead.slot_ + 1) == LockResult::kOwnerDied);
  f.mutex_.Unlock(me);
}

TEST_CASE("Mutex sleeper whose wake-up was lost takes the free lock after a slice") {
  Fixture f;
  REQUIRE(f.mutex_.Lock(f.other_.identity()) == LockResult::kLocked);
  std::thread sleeper([&] {
    if (f.mutex_.Lock(f.me_.identity()) != LockResult::kLocked) std::abort();
    f.mutex_.Unlock(f.me_.identity());
  });
  while (!f.HasWaiters()) std::this_thread::yield();
  f.Word().store(0);  // an Unlock whose process died between its exchange and its wake
  sleeper.join();
  CHECK(f.mutex_.HolderSlot() == Mutex::kNoSlot);
}

namespace {

/** How long it takes until `sleepers` threads that sleep for the lock have passed, in us. */
uint64_t TimeToPass(Fixture& f, size_t sleepers) {
  std::atomic<uint32_t> tids[2] = {};
  if (f.mutex_.Lock(f.me_.identity()) != LockResult::kLocked) std::abort();
  std::vector<std::thread> threads;
  for (size_t i = 0; i < sleepers; ++i) {
    threads.emplace_back([&f, &tid = tids[i]] {
      tid = static_cast<uint32_t>(gettid());
      const MutexGuard guard(f.mutex_, f.me_.identity());
    });
    while (tids[i] == 0 || !f.HasWaiters() || hshm::ProcessState(tids[i]) != 'S') {
      std::this_thread::yield();
    }
  }
  const uint64_t before_us = MonotonicUs();
  f.mutex_.Unlock(f.me_.identity());
  for (std::thread& thread : threads) thread.join();
  return MonotonicUs() - before_us;
}

}  // namespace

TEST_CASE("Mutex Unlock wakes a sleeper, who wakes the next, long before their slices end") {
  Fixture f;
  for (const size_t sleepers : {1, 2}) {
    uint64_t best_us = kNoTimeout;  // a slow machine is slow in some rounds, a lost wake in all
    for (int round = 0; round < 20; ++round) best_us = std::min(best_us, TimeToPass(f, sleepers));
    CHECK(best_us < 5000);
  }
}

TEST_CASE("Mutex works on one word mapped at two addresses") {
  MemoryFile file(4096);
  TestPeers me(file);
  TestPeers other(file);
  me.Join();
  other.Join();
  constexpr uint64_t kMutexOffset = 1024;
  auto* here = reinterpret_cast<Mutex*>(file.base() + kMutexOffset);
  auto* there = reinterpret_cast<Mutex*>(file.other_base() + kMutexOffset);
  REQUIRE(here->Lock(me.identity()) == LockResult::kLocked);
  CHECK(there->TryLock(other.identity()) == LockResult::kTimeout);
  std::thread sleeper([&] {
    if (there->Lock(other.identity()) != LockResult::kLocked) std::abort();
    there->Unlock(other.identity());
  });
  here->Unlock(me.identity());
  sleeper.join();
  CHECK(here->HolderSlot() == Mutex::kNoSlot);
}

TEST_CASE("Mutex stops a caller without an identity, and one that unlocks what it does not hold") {
  Fixture f;
  const LockIdentity nobody;
  const auto by_nobody = RunInChild([&] { f.mutex_.Lock(nobody); });
  CHECK(by_nobody.status_ == -SIGABRT);
  CHECK(by_nobody.errors_.find("me.peers_ != nullptr") != std::string::npos);
  CHECK(RunInChild([&] { f.mutex_.TryLock(nobody); }).status_ == -SIGABRT);
  CHECK(RunInChild([&] { f.mutex_.TryLockUnlessDeadIn(nobody, 0); }).status_ == -SIGABRT);

  REQUIRE(f.mutex_.Lock(f.me_.identity()) == LockResult::kLocked);
  for (const LockIdentity& wrong : {nobody, f.other_.identity()}) {
    const auto ending = RunInChild([&] { f.mutex_.Unlock(wrong); });
    CHECK(ending.status_ == -SIGABRT);
    CHECK(ending.errors_.find("hshm: NotTheHolder: Mutex::Unlock") == 0);
  }
  f.mutex_.Unlock(f.me_.identity());
  CHECK(RunInChild([&] { f.mutex_.Unlock(f.me_.identity()); }).status_ == -SIGABRT);
}

TEST_CASE("MutexGuard unlocks what it locked, and nothing after a time-out") {
  Fixture f;
  {
    const MutexGuard guard(f.mutex_, f.me_.identity());
    CHECK(guard.IsHeld());
    const MutexGuard late(f.mutex_, f.other_.identity(), 100);
    CHECK(late.result() == LockResult::kTimeout);
    CHECK_FALSE(late.IsHeld());
  }
  CHECK(f.mutex_.HolderSlot() == Mutex::kNoSlot);
}

namespace {

struct Cancelled {
  Fixture f_;
  std::atomic<bool> inside_{false};
  std::atomic<bool> asked_{false};
  bool left_ = false;

  HSHM_NOINLINE void HoldUntilAsked() {
    const MutexGuard guard(f_.mutex_, f_.me_.identity());
    inside_ = true;
    while (!asked_) pthread_testcancel();
    pthread_testcancel();
    left_ = true;
  }
};

}  // namespace

TEST_CASE("MutexGuard puts a cancellation off until it has unlocked") {
  Cancelled shared;
  pthread_t thread;
  // The frame that is unwound has no objects: AddressSanitizer would not notice their end.
  const auto body = [](void* arg) -> void* {
    static_cast<Cancelled*>(arg)->HoldUntilAsked();
    for (;;) pthread_testcancel();
  };
  REQUIRE(pthread_create(&thread, nullptr, body, &shared) == 0);
  while (!shared.inside_) std::this_thread::yield();
  REQUIRE(pthread_cancel(thread) == 0);
  shared.asked_ = true;
  void* result = nullptr;
  REQUIRE(pthread_join(thread, &result) == 0);
  CHECK(result == PTHREAD_CANCELED);
  CHECK(shared.left_);
  CHECK(shared.f_.mutex_.HolderSlot() == Mutex::kNoSlot);
}
