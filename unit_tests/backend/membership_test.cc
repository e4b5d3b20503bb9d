#include "hermes_shm/memory/backend/membership.h"

#include <sys/resource.h>

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "backend/child.h"
#include "backend/error_code.h"
#include "backend/test_segment.h"
#include "hermes_shm/memory/backend/malloc_backend.h"
#include "hermes_shm/memory/backend/posix_shm_mmap.h"
#include "hermes_shm/platform/process.h"
#include "support/catch.h"

namespace hshm::ipc::test {
namespace {

struct PrivateRegion {
  MallocBackend backend_;
  PrivateRegion() { backend_.shm_init(MemoryBackendId(1), kMinRegionBytes); }
  Region region() { return backend_.region(); }
};

TEST_CASE("Membership takes the first free slot and raises its generation") {
  PrivateRegion memory;
  Membership first(memory.region());
  REQUIRE(first.IsMember());
  REQUIRE(first.slot() == 0);
  REQUIRE(first.generation() == 1);
  {
    Membership second(memory.region());
    REQUIRE(second.slot() == 1);
    REQUIRE(first.IsAlive(1));
    REQUIRE_FALSE(first.IsDead(1, 1));
    REQUIRE(first.IsDead(1, 2));  // a generation that has not lived yet is none that lives
  }
  REQUIRE_FALSE(first.IsAlive(1));
  REQUIRE(first.IsDead(1, 1));
  Membership third(memory.region());
  REQUIRE(third.slot() == 1);
  REQUIRE(third.generation() == 2);
  REQUIRE(first.IsDead(1, 1));
  REQUIRE_FALSE(first.IsDead(1, 2));
}

TEST_CASE("Membership compares generations modulo 2^18, as lock words hold them") {
  PrivateRegion memory;
  Membership watcher(memory.region());
  watcher.entry(1)->generation_.store((1u << 18) + 4);
  Membership joined(memory.region());
  REQUIRE(joined.generation() == (1u << 18) + 5);
  REQUIRE_FALSE(watcher.IsDead(1, 5));
  REQUIRE(watcher.IsDead(1, 4));
}

TEST_CASE("Membership writes down who has the slot") {
  PrivateRegion memory;
  Membership member(memory.region());
  REQUIRE(member.entry(0)->os_pid_ == ProcessId());
  REQUIRE(member.entry(0)->start_time_ == StartTime(ProcessId()));
  REQUIRE(member.entry(0)->pid_namespace_ == PidNamespace());
  REQUIRE(member.Describe(0).find("pid " + std::to_string(getpid())) != std::string::npos);
  REQUIRE(member.Describe(kMaxSlots).find("none") != std::string::npos);
  REQUIRE(member.IsDead(kMaxSlots, 0));
}

TEST_CASE("Membership says of a process of another container that its number is one there") {
  PrivateRegion memory;
  Membership member(memory.region());
  Membership other(memory.region());
  other.entry(1)->pid_namespace_ ^= 1;
  other.entry(1)->os_pid_ = 17;
  REQUIRE(member.Describe(1) == "slot 1, pid 17 of another container");
  REQUIRE(member.Describe(0).find("container") == std::string::npos);
}

TEST_CASE("A forked child for which there is no slot is no member, and its parent is") {
  TestSegment segment;
  PosixShmMmap backend;
  backend.shm_init(MemoryBackendId(1), kMinRegionBytes, segment.url());
  Membership parent(backend.region());
  REQUIRE(RunInChild([&] {
            const rlimit none = {0, 0};
            setrlimit(RLIMIT_NOFILE, &none);
            if (parent.Rejoin() || parent.IsMember()) return 1;
            return parent.IdentityOrRejoin().peers_ == nullptr ? 0 : 2;
          }) == 0);
  REQUIRE(parent.IsMember());
  REQUIRE(parent.IsAlive(0));
}

TEST_CASE("Membership skips a slot whose heap serials are used up") {
  PrivateRegion memory;
  {
    Membership first(memory.region());
    first.entry(0)->next_serial_.store((1u << 20) - 64);
  }
  Membership next(memory.region());
  REQUIRE(next.slot() == 1);
  REQUIRE_FALSE(next.IsAlive(0));
}

TEST_CASE("Membership names the limit when every slot is taken") {
  PrivateRegion memory;
  const uint32_t count = SlotCountFor(kMinRegionBytes);
  REQUIRE(count == 256);
  std::vector<Membership> all;
  for (uint32_t i = 0; i < count; ++i) all.emplace_back(memory.region());
  REQUIRE(all.back().slot() == count - 1);
  REQUIRE(CodeOf([&] { Membership late(memory.region()); }) == ErrorCode::kTooManyProcesses);
  all[17].Leave();
  Membership late(memory.region());
  REQUIRE(late.slot() == 17);
}

TEST_CASE("Membership moves with its slot") {
  PrivateRegion memory;
  Membership first(memory.region());
  Membership second(std::move(first));
  REQUIRE_FALSE(first.IsMember());
  REQUIRE(second.slot() == 0);
  Membership third(memory.region());
  third = Membership(memory.region());
  REQUIRE(third.slot() == 2);
  REQUIRE_FALSE(second.IsAlive(1));
  REQUIRE(second.IsAlive(0));
  first.Leave();
  second.Leave();
  second.Leave();
  REQUIRE_FALSE(second.Rejoin());
  REQUIRE(second.IdentityOrRejoin().peers_ == nullptr);
}

TEST_CASE("Membership gives each of many threads that join at once its own slot") {
  PrivateRegion memory;
  std::vector<std::unique_ptr<Membership>> all(32);
  std::vector<std::thread> threads;
  for (auto& mine : all) {
    threads.emplace_back([&] { mine = std::make_unique<Membership>(memory.region()); });
  }
  for (auto& thread : threads) thread.join();
  std::vector<int> seen(all.size());
  for (auto& member : all) ++seen.at(member->slot());
  for (int count : seen) REQUIRE(count == 1);
}

TEST_CASE("A forked child is no member, joins as another process, and goes with its end") {
  TestSegment segment;
  PosixShmMmap backend;
  backend.shm_init(MemoryBackendId(1), kMinRegionBytes, segment.url());
  Membership parent(backend.region());
  REQUIRE(parent.slot() == 0);
  {
    LivingChild child([&] {
      if (parent.IsMember()) throw 1;
      const LockIdentity me = parent.IdentityOrRejoin();
      if (me.peers_ == nullptr || me.slot_ != 1) throw 2;
      if (!parent.IsMember() || parent.IsDead(0, 1)) throw 3;
    });
    REQUIRE(child.is_ready());
    REQUIRE(parent.IsMember());
    REQUIRE(parent.slot() == 0);
    REQUIRE_FALSE(parent.IsDead(1, 1));
    REQUIRE(parent.entry(1)->os_pid_ == static_cast<uint32_t>(child.pid()));
    child.Kill();
    REQUIRE(parent.IsDead(1, 1));
  }
  REQUIRE(RunInChild([&] {
            parent.Leave();  // of a child that never joined
            return 0;
          }) == 0);
  REQUIRE(parent.IsAlive(0));
}

TEST_CASE("Threads of a forked child that rejoin at once share one slot") {
  TestSegment segment;
  PosixShmMmap backend;
  backend.shm_init(MemoryBackendId(1), kMinRegionBytes, segment.url());
  Membership parent(backend.region());
  const int result = RunInChild([&] {
    std::vector<std::thread> threads;
    std::vector<uint32_t> slots(8);
    for (auto& slot : slots) threads.emplace_back([&] { slot = parent.IdentityOrRejoin().slot_; });
    for (auto& thread : threads) thread.join();
    for (uint32_t slot : slots) {
      if (slot != 1) return 1;
    }
    return parent.entry(2)->generation_.load() == 0 ? 0 : 2;
  });
  REQUIRE(result == 0);
}

TEST_CASE("A killed member is dead as soon as it was waited for, and its slot is used again") {
  TestSegment segment;
  PosixShmMmap backend;
  backend.shm_init(MemoryBackendId(1), kMinRegionBytes, segment.url());
  Membership survivor(backend.region());
  LivingChild child([&] {
    PosixShmMmap own;
    own.shm_attach(segment.url());
    auto* member = new Membership(own.region());
    if (member->slot() != 1) throw 1;
    new PosixShmMmap(std::move(own));
  });
  REQUIRE(child.is_ready());
  REQUIRE_FALSE(survivor.IsDead(1, 1));
  child.Kill();
  REQUIRE(survivor.IsDead(1, 1));
  Membership next(backend.region());
  REQUIRE(next.slot() == 1);
  REQUIRE(next.generation() == 2);
}

}  // namespace
}  // namespace hshm::ipc::test
