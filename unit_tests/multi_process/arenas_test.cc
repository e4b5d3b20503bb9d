#include <atomic>
#include <thread>
#include <vector>

#include "multi_process/heap.h"
#include "support/child_process.h"

/** What becomes of an arena's chunks when their process leaves or dies: what becomes of any block.
 */
namespace hshm::test {
namespace {

/** Fills an arena with a few blocks; the last one is marked as `owner`'s. */
OffsetPtr<> FillArena(MultiProcessAllocator* alloc, const MemContext& arena, uint64_t owner) {
  OffsetPtr<> block;
  for (int i = 0; i < 1000; ++i) block = alloc->AllocateOffset(arena, 1000);
  FillPattern(BytesOf(alloc, block), 1000, owner);
  return block;
}

TEST_CASE("Detaching deletes the arenas that are open") {
  PrivateHeap<MultiProcessAllocator> heap(16 << 20);
  MultiProcessAllocator* leaver = heap.Attach();
  const MemContext arena = leaver->PushArena(kCtx);
  FillArena(leaver, arena, 1);
  REQUIRE(heap.first()->GetCurrentlyAllocatedSize() >= 1000 * 1000);
  leaver->shm_detach();
  REQUIRE(heap.first()->GetCurrentlyAllocatedSize() == 0);
  REQUIRE(heap.first()->Check());
  leaver->shm_attach(heap.backend().region());
  REQUIRE_FALSE(leaver->HasArena(arena));  // those of its earlier life are closed
}

TEST_CASE("Asking for a popped arena is any thread's right while others push and pop theirs") {
  PrivateHeap<MultiProcessAllocator> heap(16 << 20);
  MultiProcessAllocator* alloc = heap.first();
  constexpr uint32_t kPushes = 3 * ipc::kMaxArenas;  // each place is used again
  std::vector<MemContext> popped;
  for (uint32_t i = 0; i < ipc::kMaxArenas; ++i) {
    popped.push_back(alloc->PushArena(kCtx));
    alloc->PopArena(popped.back());
  }
  std::atomic<bool> is_over = false;
  std::thread other([&] {
    for (uint32_t i = 0; i < kPushes; ++i) {
      const MemContext arena = alloc->PushArena(kCtx);
      static_cast<void>(alloc->AllocateOffset(arena, 100));
      alloc->PopArena(arena);
    }
    is_over = true;
  });
  bool is_any_open = false;
  do {
    for (const MemContext& arena : popped) is_any_open = is_any_open || alloc->HasArena(arena);
  } while (!is_over);
  other.join();
  REQUIRE_FALSE(is_any_open);
  REQUIRE(alloc->GetCurrentlyAllocatedSize() == 0);
}

TEST_CASE("Detaching with kKeepLive keeps the blocks of open arenas for others to read") {
  PrivateHeap<MultiProcessAllocator> heap(16 << 20);
  MultiProcessAllocator* leaver = heap.Attach();
  const OffsetPtr<> block = FillArena(leaver, leaver->PushArena(kCtx), 2);
  leaver->shm_detach(ipc::DetachMode::kKeepLive);
  MultiProcessAllocator* stays = heap.first();
  stays->Recover();
  FreeAll(stays, FillUp(stays, {100, 5000, 100000}));
  REQUIRE(HasPattern(BytesOf(stays, block), 1000, 1000, 2));
  REQUIRE(stays->GetCurrentlyAllocatedSize() >= 1000 * 1000);
  REQUIRE(stays->Check());
}

TEST_CASE("A dead process's arenas are its blocks: kept, or deleted with all it had") {
  for (const auto on_death : {ipc::OnDeath::kKeepLive, ipc::OnDeath::kReclaim}) {
    SharedHeap<MultiProcessAllocator> heap(16 << 20);
    MultiProcessAllocator* alloc = heap.first();
    auto* answer = alloc->NewObj<uint64_t>(kCtx, 0u).ptr_;
    const size_t before = alloc->GetCurrentlyAllocatedSize();
    ChildProcess child([&] {
      ipc::PosixShmMmap backend;
      backend.shm_attach(heap.name());
      MultiProcessOptions options;
      options.on_death_ = on_death;
      auto* mine = backend.AttachAlloc<MultiProcessAllocator>(options);
      *answer = FillArena(mine, mine->PushArena(kCtx), 3).load();
      _exit(0);  // a death: nothing is left
      return 0;
    });
    REQUIRE(child.Wait() == 0);
    REQUIRE(alloc->Recover() == 1);
    if (on_death == ipc::OnDeath::kReclaim) {
      REQUIRE(alloc->GetCurrentlyAllocatedSize() == before);
    } else {
      REQUIRE(alloc->GetCurrentlyAllocatedSize() >= before + 1000 * 1000);
      REQUIRE(HasPattern(BytesOf(alloc, OffsetPtr<>(*answer)), 1000, 1000, 3));
    }
    REQUIRE(alloc->Check());
  }
}

TEST_CASE("A thread may end with its arena open, and another go on with it") {
  PrivateHeap<MultiProcessAllocator> heap(16 << 20);
  MultiProcessAllocator* alloc = heap.first();
  MemContext arena;
  OffsetPtr<> block;
  std::thread([&] {
    arena = alloc->PushArena(kCtx);
    block = FillArena(alloc, arena, 4);
  }).join();
  FillArena(alloc, arena, 5);
  REQUIRE(HasPattern(BytesOf(alloc, block), 1000, 1000, 4));
  alloc->PopArena(arena);
  REQUIRE(alloc->GetCurrentlyAllocatedSize() == 0);
  REQUIRE(alloc->Check());
}

}  // namespace
}  // namespace hshm::test
