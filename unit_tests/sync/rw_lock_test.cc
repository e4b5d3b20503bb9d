#include "hermes_shm/sync/rw_lock.h"

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "hermes_shm/platform/futex.h"
#include "support/catch.h"
#include "support/child_process.h"
#include "support/halted_thread.h"
#include "support/test_peers.h"

using hshm::BasicRwLock;
using hshm::LockIdentity;
using hshm::LockResult;
using hshm::MonotonicUs;
using hshm::ReadGuard;
using hshm::ReadTicket;
using hshm::RwLock;
using hshm::WriteGuard;
using hshm::test::MemoryFile;
using hshm::test::RunInChild;
using hshm::test::TestPeers;

namespace {

/** A lock and two members that could be two processes: each has its own slot and byte. */
struct Fixture {
  MemoryFile file_{4096};
  TestPeers me_{file_};
  TestPeers other_{file_};
  RwLock lock_;

  Fixture() {
    me_.Join();
    other_.Join();
  }
};

}  // namespace

TEST_CASE("RwLock lets readers in together and writers in alone") {
  constexpr int kThreads = 4;
  constexpr int kRounds = 3000;
  Fixture f;
  int first = 0;
  int second = 0;
  std::atomic<int> readers{0};
  std::atomic<int> most_readers{0};
  std::atomic<int> torn{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&, i] {
      auto& me = i % 2 == 0 ? f.me_ : f.other_;
      for (int round = 0; round < kRounds; ++round) {
        if (round % 4 == i) {
          const WriteGuard guard(f.lock_, me.identity());
          ++first;
          ++second;
        } else {
          const ReadGuard guard(f.lock_, me.identity());
          const int inside = ++readers;
          for (int most = most_readers; most < inside;) {
            if (most_readers.compare_exchange_weak(most, inside)) break;
          }
          if (first != second) ++torn;
          if (round % 64 == 1) std::this_thread::yield();
          --readers;
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(torn == 0);
  CHECK(first == kThreads * kRounds / 4);
  CHECK(second == first);
  CHECK(most_readers >= 2);
}

TEST_CASE("RwLock keeps a reader out whom a writer overtook, wherever the reader is halted") {
  constexpr int kRounds = 600;
  Fixture f;
  std::atomic<bool> stop{false};
  std::atomic<bool> is_writing{false};
  std::atomic<uint64_t> laps{0};
  std::atomic<uint64_t> intrusions{0};
  std::thread reader([&] {
    for (; !stop; ++laps) {
      const ReadGuard guard(f.lock_, f.other_.identity());
      if (is_writing) ++intrusions;
    }
  });
  hshm::test::Halter halter;
  int overtaken = 0;
  bool is_halted = true;
  for (int round = 0; round < kRounds && is_halted; ++round) {
    is_halted = halter.While(reader, laps, [&] {
      is_writing = f.lock_.WriteLock(f.me_.identity(), 0) == LockResult::kLocked;
    });
    if (!is_writing) continue;
    ++overtaken;
    for (int turn = 0; turn < 3; ++turn) sched_yield();  // the reader goes on, and must wait
    is_writing = false;
    f.lock_.WriteUnlock(f.me_.identity());
  }
  stop = true;
  reader.join();
  if (!is_halted) WARN("signals come too late here");
  CHECK(intrusions == 0);
  CHECK((overtaken > 0 || !is_halted));
}

TEST_CASE("RwLock tries with a timeout of 0, and says kTimeout while others hold it") {
  Fixture f;
  const ReadTicket reading = f.lock_.ReadLock(f.me_.identity());
  const ReadTicket also = f.lock_.ReadLock(f.other_.identity(), 0);
  REQUIRE(reading.result_ == LockResult::kLocked);
  REQUIRE(also.result_ == LockResult::kLocked);
  CHECK(f.lock_.WriteLock(f.other_.identity(), 0) == LockResult::kTimeout);
  f.lock_.ReadUnlock(f.other_.identity(), also);
  CHECK(f.lock_.WriteLock(f.other_.identity(), 5000) == LockResult::kTimeout);
  // A writer that gave up leaves the way open.
  const ReadTicket again = f.lock_.ReadLock(f.other_.identity(), 0);
  REQUIRE(again.result_ == LockResult::kLocked);
  f.lock_.ReadUnlock(f.other_.identity(), again);
  f.lock_.ReadUnlock(f.me_.identity(), reading);
  REQUIRE(f.lock_.WriteLock(f.other_.identity(), 0) == LockResult::kLocked);
  CHECK_FALSE(f.lock_.ReadLock(f.me_.identity(), 0).IsHeld());
  const uint64_t before_us = MonotonicUs();
  CHECK_FALSE(f.lock_.ReadLock(f.me_.identity(), 20 * 1000).IsHeld());
  CHECK(MonotonicUs() - before_us >= 20 * 1000);
  CHECK(f.lock_.WriteLock(f.me_.identity(), 0) == LockResult::kTimeout);
  f.lock_.WriteUnlock(f.other_.identity());
  REQUIRE(f.lock_.WriteLock(f.me_.identity(), 0) == LockResult::kLocked);
  f.lock_.WriteUnlock(f.me_.identity());
}

TEST_CASE("RwLock lets no new reader pass a writer that waits") {
  Fixture f;
  const ReadTicket reading = f.lock_.ReadLock(f.me_.identity());
  std::atomic<bool> wrote{false};
  std::thread writer([&] {
    const WriteGuard guard(f.lock_, f.other_.identity());
    wrote = true;
  });
  while (f.lock_.ReadLock(f.me_.identity(), 0).IsHeld()) {  // until the writer waits
    f.lock_.ReadUnlock(f.me_.identity(), {LockResult::kLocked, reading.mark_ + 1});
  }
  CHECK_FALSE(wrote);
  f.lock_.ReadUnlock(f.me_.identity(), reading);
  const ReadTicket late = f.lock_.ReadLock(f.me_.identity());
  CHECK(wrote);
  f.lock_.ReadUnlock(f.me_.identity(), late);
  writer.join();
}

TEST_CASE("RwLock makes more readers than it has marks for wait") {
  Fixture f;
  BasicRwLock<2> lock;
  const ReadTicket one = lock.ReadLock(f.me_.identity());
  const ReadTicket two = lock.ReadLock(f.other_.identity());
  CHECK(one.mark_ != two.mark_);
  CHECK_FALSE(lock.ReadLock(f.me_.identity(), 1000).IsHeld());
  std::thread third([&] {
    const ReadGuard guard(lock, f.me_.identity());
    CHECK(guard.result() == LockResult::kLocked);
  });
  lock.ReadUnlock(f.other_.identity(), two);
  third.join();
  lock.ReadUnlock(f.me_.identity(), one);
  const WriteGuard guard(lock, f.me_.identity(), 0);
  CHECK(guard.result() == LockResult::kLocked);
}

TEST_CASE("RwLock's writer cannot be ended by a thread beside it, nor by the next in its slot") {
  Fixture f;
  auto* const lock = new (f.file_.base() + 1024) RwLock;  // so that a child's stores are seen here
  const char* const kWriting = "hshm: NotTheHolder: RwLock::WriteUnlock";
  const ReadTicket reading = lock->ReadLock(f.other_.identity());
  std::thread writer([&] { REQUIRE(lock->WriteLock(f.me_.identity()) == LockResult::kLocked); });
  while (lock->ReadLock(f.other_.identity(), 0).IsHeld()) {  // until the writer waits
    lock->ReadUnlock(f.other_.identity(), {LockResult::kLocked, reading.mark_ + 1});
  }
  const auto too_early = RunInChild([&] { lock->WriteUnlock(f.me_.identity()); });
  CHECK(too_early.status_ == -SIGABRT);
  CHECK(too_early.errors_.find(kWriting) == 0);
  CHECK_FALSE(lock->ReadLock(f.other_.identity(), 0).IsHeld());
  lock->ReadUnlock(f.other_.identity(), reading);
  writer.join();
  lock->WriteUnlock(f.me_.identity());

  TestPeers late(f.file_);
  REQUIRE(late.JoinAt(5));
  REQUIRE(lock->WriteLock(late.identity()) == LockResult::kLocked);
  late.Leave();
  TestPeers next(f.file_);
  REQUIRE(next.JoinAt(5));
  const auto of_the_dead = RunInChild([&] { lock->WriteUnlock(next.identity()); });
  CHECK(of_the_dead.errors_.find(kWriting) == 0);
  CHECK(lock->WriteLock(f.me_.identity()) == LockResult::kOwnerDied);
}

TEST_CASE("RwLock names its writer and all its readers, and nobody to who has no peers") {
  Fixture f;
  const LockIdentity me = f.me_.identity();
  const LockIdentity other = f.other_.identity();
  const std::string my_name = f.me_.Describe(me.slot_);
  const std::string other_name = f.me_.Describe(other.slot_);
  const ReadTicket reading = f.lock_.ReadLock(me);
  CHECK(f.lock_.DescribeHolders(other) == "writer: nobody; readers: " + my_name);
  const ReadTicket also = f.lock_.ReadLock(other);
  CHECK(f.lock_.DescribeHolders(me) == "writer: nobody; readers: " + my_name + ", " + other_name);
  CHECK(f.lock_.DescribeHolders(LockIdentity()) == "writer: nobody; readers: nobody");
  f.lock_.ReadUnlock(me, reading);
  f.lock_.ReadUnlock(other, also);
  REQUIRE(f.lock_.WriteLock(other) == LockResult::kLocked);
  CHECK(f.lock_.DescribeHolders(me) == "writer: " + other_name + "; readers: nobody");
  CHECK(f.lock_.DescribeHolders(LockIdentity()) == "writer: nobody; readers: nobody");
  f.lock_.WriteUnlock(other);
}

TEST_CASE("RwLock stops who unlocks what it does not hold") {
  Fixture f;
  const ReadTicket reading = f.lock_.ReadLock(f.me_.identity());
  const auto said = [](const auto& ending, const char* sentence) {
    return ending.status_ == -SIGABRT && ending.errors_.find(sentence) != std::string::npos;
  };
  const char* const kReading = "hshm: NotTheHolder: RwLock::ReadUnlock";
  CHECK(said(RunInChild([&] { f.lock_.ReadUnlock(f.other_.identity(), reading); }), kReading));
  CHECK(said(RunInChild([&] { f.lock_.ReadUnlock(f.me_.identity(), ReadTicket()); }), kReading));
  CHECK(said(RunInChild([&] { f.lock_.ReadUnlock(LockIdentity(), reading); }), kReading));
  CHECK(said(RunInChild([&] { f.lock_.WriteUnlock(f.me_.identity()); }),
             "hshm: NotTheHolder: RwLock::WriteUnlock"));
  f.lock_.ReadUnlock(f.me_.identity(), reading);
  CHECK(said(RunInChild([&] { f.lock_.ReadUnlock(f.me_.identity(), reading); }), kReading));
  CHECK(f.lock_.DescribeHolders(f.me_.identity()) == "writer: nobody; readers: nobody");
}
