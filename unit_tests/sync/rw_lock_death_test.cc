/** The Crash lines of RwLock, with processes that are killed. */
#include <random>
#include <vector>

#include "hermes_shm/platform/cpu.h"
#include "hermes_shm/platform/futex.h"
#include "hermes_shm/sync/rw_lock.h"
#include "support/catch.h"
#include "support/child_process.h"
#include "support/seed.h"
#include "support/test_peers.h"

using hshm::Atomic;
using hshm::LockIdentity;
using hshm::LockResult;
using hshm::MonotonicUs;
using hshm::ReadTicket;
using hshm::RwLock;
using hshm::test::ChildProcess;
using hshm::test::MemoryFile;
using hshm::test::Signpost;
using hshm::test::TestPeers;
using hshm::test::TestSlots;

namespace {

constexpr uint64_t kPatienceUs = 20 * 1000 * 1000;  // a hang, not a slow machine

/** What the lock protects: first_ == second_ whenever no writer is inside. */
struct Shared {
  TestSlots slots_;
  RwLock lock_;
  Atomic<uint64_t> first_;
  Atomic<uint64_t> second_;
  Atomic<uint64_t> visits_;
  Atomic<uint64_t> repairs_;
};

struct Fixture {
  MemoryFile file_{4096};
  Shared* shared_ = reinterpret_cast<Shared*>(file_.base());
  RwLock& lock_ = shared_->lock_;
  TestPeers me_{file_};
  Signpost there_;

  Fixture() { me_.Join(); }

  template <typename Body>
  ChildProcess Start(Body body) {
    return ChildProcess([this, body] {
      TestPeers peers(file_);
      peers.Join();
      if (!body(peers.identity())) return 1;
      there_.Tell();
      for (;;) pause();
    });
  }
  /** A process that stays inside, with what is protected half changed. */
  ChildProcess StartWriter(LockResult expected) {
    return Start([this, expected](const LockIdentity& me) {
      if (lock_.WriteLock(me, kPatienceUs) != expected) return false;
      shared_->first_.fetch_add(1);
      return true;
    });
  }
  ChildProcess StartReader(LockResult expected) {
    return Start([this, expected](const LockIdentity& me) {
      return lock_.ReadLock(me, kPatienceUs).result_ == expected;
    });
  }
  /** Kills a process once it is inside. */
  void DieAs(ChildProcess process) {
    there_.Await();
    process.Kill();
  }
};

void Repair(Shared* shared) {
  shared->second_.store(shared->first_.load());
  shared->repairs_.fetch_add(1);
}

/** Reads or writes once. @return false when a rule was broken */
bool Visit(Shared* shared, const LockIdentity& me, bool writes) {
  if (writes) {
    const LockResult result = shared->lock_.WriteLock(me, kPatienceUs);
    if (result == LockResult::kTimeout) return false;
    if (result == LockResult::kOwnerDied) Repair(shared);
    if (shared->first_.load() != shared->second_.load()) return false;
    const uint64_t mine = shared->first_.load() + 1;
    shared->first_.store(mine);
    for (int pause = 0; pause < 200; ++pause) hshm::RelaxCpu();  // most kills shall come here
    if (shared->second_.load() != mine - 1) return false;
    shared->second_.store(mine);
    shared->lock_.WriteUnlock(me);
  } else {
    const ReadTicket ticket = shared->lock_.ReadLock(me, kPatienceUs);
    if (!ticket.IsHeld()) return false;
    if (ticket.result_ == LockResult::kOwnerDied) Repair(shared);
    if (shared->first_.load() != shared->second_.load()) return false;
    shared->lock_.ReadUnlock(me, ticket);
  }
  shared->visits_.fetch_add(1);
  return true;
}

bool AwaitVisits(const Shared* shared, uint64_t count) {
  const uint64_t goal = shared->visits_.load() + count;
  const uint64_t deadline_us = MonotonicUs() + kPatienceUs;
  while (shared->visits_.load() < goal) {
    if (MonotonicUs() > deadline_us) return false;
    sched_yield();
  }
  return true;
}

}  // namespace

TEST_CASE("RwLock marks of killed readers are cleared by the next writer, 50 times") {
  Fixture f;
  for (int round = 0; round < 50; ++round) {
    ChildProcess one = f.StartReader(LockResult::kLocked);
    f.there_.Await();
    ChildProcess two = f.StartReader(LockResult::kLocked);
    f.there_.Await();
    REQUIRE(f.lock_.WriteLock(f.me_.identity(), 0) == LockResult::kTimeout);
    one.KillWithoutReaping();  // a zombie is dead as well
    two.Kill();
    // Nothing was half changed, so it is no death that a writer need know of.
    REQUIRE(f.lock_.WriteLock(f.me_.identity(), kPatienceUs) == LockResult::kLocked);
    f.lock_.WriteUnlock(f.me_.identity());
  }
}

TEST_CASE("RwLock readers that wait for a mark clear those of the dead") {
  MemoryFile file(4096);
  TestPeers me(file);
  me.Join();
  auto* lock = new (file.base() + 1024) hshm::BasicRwLock<2>;
  Signpost there;
  std::vector<ChildProcess> readers;
  for (int i = 0; i < 2; ++i) {
    readers.emplace_back([&] {
      TestPeers peers(file);
      peers.Join();
      if (!lock->ReadLock(peers.identity(), kPatienceUs).IsHeld()) return 1;
      there.Tell();
      for (;;) pause();
    });
    there.Await();
  }
  REQUIRE_FALSE(lock->ReadLock(me.identity(), 1000).IsHeld());
  readers[1].Kill();
  const ReadTicket ticket = lock->ReadLock(me.identity(), kPatienceUs);
  REQUIRE(ticket.result_ == LockResult::kLocked);
  lock->ReadUnlock(me.identity(), ticket);
}

TEST_CASE("RwLock tells the next writer, or the next reader alone, of a writer that died inside") {
  Fixture f;
  for (int round = 0; round < 20; ++round) {
    f.DieAs(f.StartWriter(LockResult::kLocked));
    if (round % 2 == 0) {
      REQUIRE(f.lock_.WriteLock(f.me_.identity(), kPatienceUs) == LockResult::kOwnerDied);
      Repair(f.shared_);
      f.lock_.WriteUnlock(f.me_.identity());
    } else {
      const ReadTicket ticket = f.lock_.ReadLock(f.me_.identity(), kPatienceUs);
      REQUIRE(ticket.result_ == LockResult::kOwnerDied);
      Repair(f.shared_);
      TestPeers other(f.file_);
      other.Join();
      REQUIRE_FALSE(f.lock_.ReadLock(other.identity(), 0).IsHeld());
      f.lock_.ReadUnlock(f.me_.identity(), ticket);
    }
    const ReadTicket ticket = f.lock_.ReadLock(f.me_.identity(), 0);
    REQUIRE(ticket.result_ == LockResult::kLocked);
    f.lock_.ReadUnlock(f.me_.identity(), ticket);
  }
}

TEST_CASE("RwLock keeps the obligation to repair over deaths in the repair and over timeouts") {
  Fixture f;
  f.DieAs(f.StartWriter(LockResult::kLocked));
  f.DieAs(f.StartWriter(LockResult::kOwnerDied));
  f.DieAs(f.StartReader(LockResult::kOwnerDied));
  {
    ChildProcess taker = f.StartReader(LockResult::kOwnerDied);
    f.there_.Await();
    REQUIRE(f.lock_.WriteLock(f.me_.identity(), 1000) == LockResult::kTimeout);
    REQUIRE_FALSE(f.lock_.ReadLock(f.me_.identity(), 1000).IsHeld());
  }
  REQUIRE(f.lock_.WriteLock(f.me_.identity(), kPatienceUs) == LockResult::kOwnerDied);
  REQUIRE(f.shared_->first_.load() == 2);
}

TEST_CASE("RwLock keeps the obligation to repair while a reader has a mark and has not looked") {
  Fixture f;
  f.DieAs(f.StartWriter(LockResult::kLocked));
  TestPeers late(f.file_);
  late.Join();
  // As a reader that saw the lock open, and whose mark came after the writer had begun.
  constexpr size_t kFirstMark = 8;
  auto& mark = *reinterpret_cast<Atomic<uint32_t>*>(reinterpret_cast<char*>(&f.lock_) + kFirstMark);
  const LockIdentity reader = late.identity();
  mark.store(reader.generation_ << LockIdentity::kSlotBits | (reader.slot_ + 1));
  REQUIRE_FALSE(f.lock_.ReadLock(f.me_.identity(), 1000).IsHeld());
  REQUIRE(f.lock_.WriteLock(f.me_.identity(), 1000) == LockResult::kTimeout);
  mark.store(0);  // it looked, and went
  REQUIRE(f.lock_.WriteLock(f.me_.identity(), kPatienceUs) == LockResult::kOwnerDied);
  Repair(f.shared_);
  f.lock_.WriteUnlock(f.me_.identity());
}

TEST_CASE("RwLock opens again when a writer dies while it waits for readers") {
  Fixture f;
  const ReadTicket reading = f.lock_.ReadLock(f.me_.identity());
  ChildProcess writer([&] {
    TestPeers peers(f.file_);
    peers.Join();
    return static_cast<int>(f.lock_.WriteLock(peers.identity(), kPatienceUs));
  });
  const uint64_t deadline_us = MonotonicUs() + kPatienceUs;
  for (;;) {  // until the writer keeps readers out
    const ReadTicket ticket = f.lock_.ReadLock(f.me_.identity(), 0);
    if (!ticket.IsHeld()) break;
    f.lock_.ReadUnlock(f.me_.identity(), ticket);
    REQUIRE(MonotonicUs() < deadline_us);
  }
  writer.Kill();
  const ReadTicket ticket = f.lock_.ReadLock(f.me_.identity(), kPatienceUs);
  REQUIRE(ticket.result_ == LockResult::kLocked);
  f.lock_.ReadUnlock(f.me_.identity(), ticket);
  f.lock_.ReadUnlock(f.me_.identity(), reading);
}

TEST_CASE("RwLock survives a storm of kills among readers and writers") {
  constexpr size_t kChildren = 4;
  constexpr int kKills = 400;
  Fixture f;
  f.me_.Leave();
  std::mt19937_64 random(hshm::test::PrintedSeed("rw lock kill storm"));
  const auto start = [&](uint32_t seed) {
    return ChildProcess([&, seed] {
      TestPeers peers(f.file_);
      peers.Join();
      std::mt19937 mine(seed);
      while (Visit(f.shared_, peers.identity(), mine() % 2 == 0)) {}
      return 1;
    });
  };
  std::vector<ChildProcess> children;
  for (size_t i = 0; i < kChildren; ++i) children.push_back(start(static_cast<uint32_t>(random())));
  for (int kill = 0; kill < kKills; ++kill) {
    REQUIRE(AwaitVisits(f.shared_, random() % 1000));
    const uint64_t strike_us = MonotonicUs() + random() % 500;
    while (MonotonicUs() < strike_us) hshm::RelaxCpu();
    for (const ChildProcess& child : children) REQUIRE(child.IsRunning());
    ChildProcess& victim = children[random() % kChildren];
    victim.Kill();
    victim = start(static_cast<uint32_t>(random()));
  }
  REQUIRE(AwaitVisits(f.shared_, 100));
  std::printf("rw lock kill storm: %d kills, %llu visits, %llu repairs\n", kKills,
              static_cast<unsigned long long>(f.shared_->visits_.load()),
              static_cast<unsigned long long>(f.shared_->repairs_.load()));
  CHECK(f.shared_->repairs_.load() > 0);
}
