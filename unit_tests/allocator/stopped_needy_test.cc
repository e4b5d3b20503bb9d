/** Who finds no room, and needs a lock whose holder is a living member that does not let it go. */
#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "allocator/stopped_holder.h"
#include "backend/error_code.h"
#include "hermes_shm/memory/backend/malloc_backend.h"
#include "support/catch.h"
#include "support/living_threads.h"

namespace hshm::ipc::test {
namespace {

using hshm::test::LivingThreads;

const MemContext kCtx = HSHM_DEFAULT_MEM_CTX;

TEST_CASE(
    "A thread whose record needs the root, which is not to be had, gets null, and later one") {
  MallocBackend backend;
  backend.shm_init(MemoryBackendId(1), 512 << 10);
  auto* alloc = backend.MakeAlloc<SmallMultiProcessAllocator>(AllocatorId(1, 0));
  std::vector<OffsetPtr<>> blocks;
  while (blocks.empty() || !blocks.back().IsNull()) {
    blocks.push_back(alloc->AllocateOffset(kCtx, 4096));
  }
  blocks.pop_back();
  const LivingThreads living(alloc);
  const auto can_thread_allocate = [&] {
    bool can = false;
    std::thread([&] { can = !alloc->AllocateOffset(kCtx, 100).IsNull(); }).join();
    return can;
  };
  Membership holder(backend.region());
  Mutex& lock = CoreOf<multi_process::RootHeader>(backend)->lock_;
  REQUIRE(lock.Lock(holder.identity(), 0) == LockResult::kLocked);
  {
    const FastClock fast;
    REQUIRE_FALSE(can_thread_allocate());
  }
  lock.Unlock(holder.identity());
  REQUIRE_FALSE(can_thread_allocate());  // there is no page
  for (const OffsetPtr<> block : blocks) alloc->FreeOffset(kCtx, block);
  alloc->Trim();
  REQUIRE(can_thread_allocate());
  REQUIRE(alloc->Check());
}

TEST_CASE("A heap whose lock is not to be had takes no page of a sleeper, and takes one later") {
  MallocBackend backend;
  backend.shm_init(MemoryBackendId(1), 16_MiB);
  MultiProcessOptions options;
  options.expected_processes_ = 1;
  auto* sleeper = backend.MakeAlloc<HeapOfStopped>(AllocatorId(1, 0), 0, options);
  auto* late = backend.AttachAlloc<HeapOfStopped>();  // all units are the sleeper's
  const OffsetPtr<> first = late->AllocateOffset(kCtx, 100);
  REQUIRE_FALSE(first.IsNull());
  late->Trim();  // it has seen all its pages: on its way it needs no lock before it takes
  Mutex* lock = HeapLockOf(late->GetMembership().slot(), backend);
  Membership holder(backend.region());
  REQUIRE(lock->Lock(holder.identity(), 0) == LockResult::kLocked);
  {
    const FastClock fast;
    REQUIRE(late->AllocateOffset(kCtx, 100'000).IsNull());
  }
  REQUIRE(sleeper->Check());
  lock->Unlock(holder.identity());
  REQUIRE_FALSE(late->AllocateOffset(kCtx, 100'000).IsNull());
  REQUIRE(sleeper->Check());
}

TEST_CASE("A page of a heap whose lock is not to be had is no joiner's") {
  MallocBackend backend;
  backend.shm_init(MemoryBackendId(1), 16_MiB);
  auto* sleeper = backend.MakeAlloc<HeapOfStopped>(AllocatorId(1, 0));
  auto* freer = backend.AttachAlloc<HeapOfStopped>();
  std::vector<OffsetPtr<>> blocks;
  for (auto* alloc : {sleeper, freer}) {
    for (const size_t size : {100'000, 60'000, 4096}) {
      for (OffsetPtr<> block; !(block = alloc->AllocateOffset(kCtx, size)).IsNull();) {
        if (alloc == sleeper && size == 100'000) blocks.push_back(block);
      }
    }
  }
  freer->FreeOffset(kCtx, blocks[blocks.size() / 2]);
  freer->Trim();  // nobody has a block of that page
  Mutex* lock = HeapLockOf(sleeper->GetMembership().slot(), backend);
  {
    Membership holder(backend.region());
    REQUIRE(lock->Lock(holder.identity(), 0) == LockResult::kLocked);
    const Thrown refused = ThrownBy([&] { backend.AttachAlloc<HeapOfStopped>(); });
    REQUIRE(refused.code_ == ErrorCode::kNoSpace);
    lock->Unlock(holder.identity());
    const SlotEntry* joiner = sleeper->GetMembership().entry(holder.slot() + 1);
    REQUIRE(joiner->next_serial_.load() < 100);  // it has not asked again and again
  }
  REQUIRE_NOTHROW(backend.AttachAlloc<HeapOfStopped>());
  REQUIRE(sleeper->Check());
}

}  // namespace
}  // namespace hshm::ipc::test
