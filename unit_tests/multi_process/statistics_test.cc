#include <thread>

#include "multi_process/heap.h"
#include "support/child_process.h"

/** Figures by rank, remote frees and peaks of the multi-process allocator. */
namespace hshm::test {
namespace {

using ipc::AllocatorStats;
using ipc::RankStats;

const RankStats* RankOf(const AllocatorStats& stats, uint32_t pid) {
  for (const RankStats& rank : stats.ranks_) {
    if (rank.os_pid_ == pid) return &rank;
  }
  return nullptr;
}

TEST_CASE("Statistics tell each rank's units, blocks and heaps, in its life and after its death") {
  SharedHeap<MultiProcessAllocator> heap(64 << 20);
  MultiProcessAllocator* alloc = heap.first();
  const Signpost ready;
  const AllocatorStats before = alloc->GetStats();
  ChildProcess child([&] {
    ipc::PosixShmMmap backend;
    backend.shm_attach(heap.name());
    auto* mine = backend.AttachAlloc<MultiProcessAllocator>();
    for (int i = 0; i < 100; ++i) (void)mine->AllocateOffset(kCtx, 1024);
    (void)mine->AllocateOffset(kCtx, 1 << 20);
    std::thread([&] { (void)mine->AllocateOffset(kCtx, 2048); }).join();
    ready.Tell();
    pause();
    return 0;
  });
  ready.Await();
  const auto pid = static_cast<uint32_t>(child.pid());
  const AllocatorStats alive = alloc->GetStats();
  const RankStats* rank = RankOf(alive, pid);
  REQUIRE(rank != nullptr);
  REQUIRE(rank->is_alive_);
  REQUIRE(rank->live_bytes_ == 100 * 1024 + (1 << 20) + 2048);
  REQUIRE(rank->unit_bytes_ >= rank->live_bytes_);
  REQUIRE(rank->heaps_ == 2);
  REQUIRE(alive.live_blocks_ == before.live_blocks_ + 102);
  const RankStats* me = RankOf(alive, static_cast<uint32_t>(getpid()));
  REQUIRE(me != nullptr);
  REQUIRE(me->live_bytes_ == 0);
  REQUIRE(me->heaps_ == 1);
  child.Kill();
  const AllocatorStats dead = alloc->GetStats();
  REQUIRE(RankOf(dead, pid) != nullptr);
  REQUIRE_FALSE(RankOf(dead, pid)->is_alive_);
  REQUIRE(RankOf(dead, pid)->live_bytes_ == 100 * 1024 + (1 << 20) + 2048);
  alloc->Recover();
  const AllocatorStats adopted = alloc->GetStats();
  REQUIRE(RankOf(adopted, pid) == nullptr);
  REQUIRE(RankOf(adopted, static_cast<uint32_t>(getpid()))->live_bytes_ ==
          100 * 1024 + (1 << 20) + 2048);
}

/** Attaches, allocates 100 blocks of 1 KiB, 10 of 64 B and one of 20 MiB, is killed. */
void DieWithBlocks(const SharedHeap<MultiProcessAllocator>& heap, ipc::OnDeath on_death) {
  const Signpost ready;
  ChildProcess child([&] {
    ipc::PosixShmMmap backend;
    backend.shm_attach(heap.name());
    MultiProcessOptions options;
    options.on_death_ = on_death;
    auto* mine = backend.AttachAlloc<MultiProcessAllocator>(options);
    for (int i = 0; i < 100; ++i) (void)mine->AllocateOffset(kCtx, 1024);
    for (int i = 0; i < 10; ++i) (void)mine->AllocateOffset(kCtx, 64);
    (void)mine->AllocateOffset(kCtx, 20 << 20);
    ready.Tell();
    pause();
    return 0;
  });
  ready.Await();
  child.Kill();
}

TEST_CASE("Statistics tell what was adopted of the dead, deleted with them, and lost at most") {
  SharedHeap<MultiProcessAllocator> heap(128 << 20);
  MultiProcessAllocator* alloc = heap.first();
  constexpr uint64_t kLeft = 100 * 1024 + 10 * 64 + (20 << 20);
  REQUIRE(alloc->GetStats().deaths_.processes_ == 0);

  DieWithBlocks(heap, ipc::OnDeath::kKeepLive);
  REQUIRE(alloc->GetStats().deaths_.processes_ == 0);  // nobody has looked yet
  REQUIRE(alloc->Recover() == 1);
  const ipc::DeathStats adopted = alloc->GetStats().deaths_;
  REQUIRE(adopted.processes_ == 1);
  REQUIRE(adopted.heaps_ == 1);
  REQUIRE(adopted.LostBlocksAtMost() == 1);
  REQUIRE(adopted.adopted_bytes_ == kLeft);
  REQUIRE(adopted.adopted_pages_ > 0);
  REQUIRE(adopted.deleted_bytes_ == 0);

  DieWithBlocks(heap, ipc::OnDeath::kReclaim);
  REQUIRE(alloc->Recover() == 1);
  const ipc::DeathStats deleted = alloc->GetStats().deaths_;
  REQUIRE(deleted.processes_ == 2);
  REQUIRE(deleted.adopted_bytes_ == kLeft);
  REQUIRE(deleted.deleted_bytes_ == kLeft);
  REQUIRE(alloc->Recover() == 0);
  REQUIRE(alloc->GetStats().deaths_.processes_ == 2);

  DieWithBlocks(heap, ipc::OnDeath::kKeepLive);
  const uint32_t dead = 1 - alloc->GetMembership().slot();
  REQUIRE(alloc->Reclaim(dead, alloc->GetMembership().entry(dead)->generation_.load()));
  const AllocatorStats reclaimed = alloc->GetStats();
  REQUIRE(reclaimed.deaths_.processes_ == 3);
  REQUIRE(reclaimed.deaths_.adopted_bytes_ == kLeft);
  REQUIRE(reclaimed.deaths_.deleted_bytes_ == 2 * kLeft);
  REQUIRE(reclaimed.live_bytes_ == kLeft);
  const std::string json = alloc->GetStats().ToJson();
  REQUIRE(json.find("\"deaths\":{\"processes\":3,\"heaps\":3,") != std::string::npos);
  REQUIRE(alloc->GetStats().ToText().find("gone processes") != std::string::npos);
}

TEST_CASE("Remote frees are counted one by one, and stay counted when their pages go back") {
  MultiProcessOptions options;
  options.process_unit_bytes_ = 256 << 10;  // the one with a's own record stays
  PrivateHeap<MultiProcessAllocator> heap(64 << 20, options);
  MultiProcessAllocator* a = heap.first();
  MultiProcessAllocator* b = heap.Attach();
  for (uint64_t round = 1; round <= 3; ++round) {
    std::vector<OffsetPtr<>> blocks;
    for (int i = 0; i < 1000; ++i) blocks.push_back(a->AllocateOffset(kCtx, 1000));
    for (int i = 0; i < 1000; ++i) (i % 2 == 0 ? a : b)->FreeOffset(kCtx, blocks[i]);
    REQUIRE(b->GetStats().remote_frees_ == 500 * round);
    b->Trim();  // what waits is a's again
    a->Trim();  // whole units go back to the root
    REQUIRE(a->GetStats().remote_frees_ == 500 * round);
  }
  REQUIRE(a->GetCurrentlyAllocatedSize() == 0);
}

TEST_CASE("The peak is that of granted units and large blocks, and stays when they go back") {
  MultiProcessOptions options;
  options.process_unit_bytes_ = 1 << 20;
  PrivateHeap<MultiProcessAllocator> heap(64 << 20, options);
  MultiProcessAllocator* alloc = heap.first();
  const uint64_t before = alloc->GetStats().peak_bytes_;
  const OffsetPtr<> block = alloc->AllocateOffset(kCtx, 20 << 20);  // more than a unit
  const AllocatorStats large = alloc->GetStats();
  REQUIRE(large.peak_bytes_ == before + (20 << 20));
  alloc->FreeOffset(kCtx, block);
  REQUIRE(alloc->GetStats().peak_bytes_ == large.peak_bytes_);
  alloc->FreeOffset(kCtx, alloc->AllocateOffset(kCtx, 10 << 20));
  REQUIRE(alloc->GetStats().peak_bytes_ == large.peak_bytes_);
}

TEST_CASE("A size class tells its live and free blocks, those in a heap's hand among the free") {
  PrivateHeap<MultiProcessAllocator> heap(16 << 20);
  MultiProcessAllocator* alloc = heap.first();
  std::vector<OffsetPtr<>> blocks;
  for (int i = 0; i < 1500; ++i) blocks.push_back(alloc->AllocateOffset(kCtx, 64));
  for (int i = 0; i < 500; ++i) alloc->FreeOffset(kCtx, blocks[i]);
  const AllocatorStats stats = alloc->GetStats();
  REQUIRE(stats.classes_.size() == 1);
  REQUIRE(stats.classes_[0].block_bytes_ == 64);
  REQUIRE(stats.classes_[0].live_blocks_ == 1000);
  REQUIRE(stats.classes_[0].pages_ == 2);
  REQUIRE(stats.classes_[0].free_blocks_ == 2 * 1024 - 1000);
}

}  // namespace
}  // namespace hshm::test
