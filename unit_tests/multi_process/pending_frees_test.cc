/** Remote frees wait in runs, and nobody notices but by the clock. */
#include <map>
#include <set>
#include <thread>
#include <vector>

#include "hermes_shm/memory/allocator/multi_process/root_tier.h"
#include "multi_process/heap.h"

namespace hshm::test {
namespace {

using ipc::multi_process::DetachMode;
using ipc::multi_process::LargePages;
using ipc::multi_process::RemoteWord;
using ipc::multi_process::RootTier;
using ipc::multi_process::RunWord;

constexpr uint64_t kMiB = 1024 * 1024;
using Heap = MultiProcessAllocator;

/** What came to the remote lists of pages. */
uint64_t PostedBlocks(Heap* heap) {
  const ipc::Region& region = heap->GetRegion();
  const Offset header = ipc::AllocatorOffsetFor(region.size_bytes_);
  const RootTier<LargePages> root(region, region.At<ipc::AllocatorHeader>(header)->core_offset_,
                                  nullptr);
  uint64_t blocks = 0;
  root.ForEachSpan([&](uint32_t page, uint32_t) {
    blocks += RemoteWord::Pushed(root.pages().Entry(page)->remote_.load());
  });
  return blocks;
}

TEST_CASE("A run word names its bearer and its length, anywhere in the largest region") {
  using Run = RunWord<LargePages>;
  const Offset page = GENERATE(Offset{64} << 10, Offset{1} << 30, (Offset{1} << 40) - (64 << 10));
  const Offset bearer = page + GENERATE(0u, 48u, 65520u);
  for (uint32_t i = 0; i < Run::kMaxBlocks; ++i) {
    const uint64_t run = Run::Make(bearer) + i;
    REQUIRE(Run::Count(run) == i + 1);
    REQUIRE(Run::Bearer(run) == bearer);
    REQUIRE(Run::Page(run) == page >> 16);
  }
}

TEST_CASE("As many pages as a heap has places for runs have one each, in whatever turn they come") {
  using Config = LargePages;
  constexpr size_t kSizeBytes = 1000;
  PrivateHeap<Heap> heap(64 * kMiB);
  Heap* owner = heap.first();
  Heap* freer = heap.Attach();
  std::map<uint64_t, std::vector<OffsetPtr<>>> by_page;
  for (const OffsetPtr<>& block : AllocateMany(owner, 64 * 80, kSizeBytes)) {
    by_page[block.load() >> Config::kPageShift].push_back(block);
  }
  std::vector<std::vector<OffsetPtr<>>> pages;
  for (const auto& [page, blocks] : by_page) {
    if (blocks.size() >= 16 && pages.size() < Config::kPendingRuns) pages.push_back(blocks);
  }
  REQUIRE(pages.size() == Config::kPendingRuns);
  for (size_t i = 0; i < 15; ++i) {
    for (const auto& blocks : pages) freer->FreeOffset(kCtx, blocks[i]);
  }
  REQUIRE(PostedBlocks(owner) == 0);
  // One page more takes the place of one, which is posted.
  freer->FreeOffset(kCtx, by_page.rbegin()->second.front());
  REQUIRE(PostedBlocks(owner) == 15);
  // The page that had it until now gets the next one.
  freer->FreeOffset(kCtx, pages[0][15]);
  REQUIRE(PostedBlocks(owner) == 30);
  freer->Trim();
  REQUIRE(PostedBlocks(owner) == 15 * pages.size() + 2);
  REQUIRE(owner->Check());
}

TEST_CASE("Remote frees that wait are counted as free, and as remote frees, at once") {
  PrivateHeap<Heap> heap(64 * kMiB);
  Heap* owner = heap.first();
  Heap* freer = heap.Attach();
  const size_t size_bytes = GENERATE(16, 96, 160, 1024, 8192, 40000);
  const uint64_t live_before = owner->GetCurrentlyAllocatedSize();
  const auto blocks = AllocateMany(owner, 100, size_bytes);
  for (size_t i = 0; i < blocks.size(); ++i) {
    freer->FreeOffset(kCtx, blocks[i]);
    if (i % 7 == 0) REQUIRE(owner->GetStats().remote_frees_ == i + 1);
  }
  REQUIRE(owner->GetCurrentlyAllocatedSize() == live_before);
  REQUIRE(owner->GetStats().live_bytes_ == live_before);
  REQUIRE(freer->Check());
  freer->Trim();
  REQUIRE(owner->GetStats().remote_frees_ == 100);
  REQUIRE(owner->Check());
}

TEST_CASE("A thread that ends keeps nothing of what it freed from its owner") {
  PrivateHeap<Heap> heap(64 * kMiB);
  Heap* owner = heap.first();
  const auto blocks = AllocateMany(owner, 20, 200);
  std::thread([&] { FreeAll(owner, blocks); }).join();
  // As many more as lay free: the same ones, in whatever order, and not one new page for them.
  std::set<uint64_t> former;
  for (const OffsetPtr<>& block : blocks) former.insert(block.load());
  size_t had_before = 0;
  for (int i = 0; i < 2000; ++i) {
    had_before += former.count(owner->AllocateOffset(kCtx, 200).load());
  }
  REQUIRE(had_before == blocks.size());
}

TEST_CASE("A thread takes back what it freed of a neighbour's, in its own process only") {
  PrivateHeap<Heap> heap(64 * kMiB);
  Heap* first = heap.first();
  const bool is_neighbour = GENERATE(true, false);
  Heap* freer = is_neighbour ? first : heap.Attach();
  const size_t size_bytes = GENERATE(size_t{64}, size_t{200});
  const auto blocks = AllocateMany(first, 10, size_bytes);
  std::set<uint64_t> former;
  for (const OffsetPtr<>& block : blocks) former.insert(block.load());
  size_t again = 0;
  std::thread([&] {
    FreeAll(freer, blocks);
    for (int i = 0; i < 10; ++i)
      again += former.count(freer->AllocateOffset(kCtx, size_bytes).load());
  }).join();
  // Small ones share cache lines with what their owner's thread has: they go home.
  REQUIRE(again == (is_neighbour && size_bytes >= 128 ? blocks.size() : 0));
  REQUIRE(first->Check());
}

TEST_CASE("What was taken back outlives its first owner's thread and is freed by anybody") {
  PrivateHeap<Heap> heap(64 * kMiB);
  Heap* first = heap.first();
  Heap* other = heap.Attach();
  const uint64_t live_before = first->GetCurrentlyAllocatedSize();
  std::vector<OffsetPtr<>> blocks;
  std::thread([&] { blocks = AllocateMany(first, 64, 300); }).join();
  FreeAll(first, blocks);
  blocks = AllocateMany(first, 64, 300);
  first->Trim();  // gives back what of the last list is left
  REQUIRE(first->Check());
  FreeAll(other, blocks);
  REQUIRE(first->GetCurrentlyAllocatedSize() == live_before);
  REQUIRE(other->Check());
}

TEST_CASE("A rank that frees another's last blocks gets their pages before it is told no") {
  PrivateHeap<Heap> heap(8 * kMiB);
  Heap* sleeper = heap.first();
  Heap* rank = heap.Attach();
  std::vector<OffsetPtr<>> blocks;
  for (;;) {
    const OffsetPtr<> block = sleeper->AllocateOffset(kCtx, 4096);
    if (block.IsNull()) break;
    blocks.push_back(block);
  }
  FreeAll(rank, blocks);  // every page's last run waits in this rank
  size_t had = 0;
  while (!rank->AllocateOffset(kCtx, 4096).IsNull()) ++had;
  REQUIRE(had >= blocks.size() - 16);  // but for a page that the sleeper allocates from
}

TEST_CASE("Remote frees of pages that their process deletes do not reach who has them next") {
  PrivateHeap<Heap> heap(8 * kMiB);
  Heap* keeper = heap.first();
  constexpr size_t kSizeBytes = 512;
  for (int round = 0; round < 3; ++round) {
    Heap* leaver = heap.Attach();
    const auto blocks = AllocateMany(leaver, 40, kSizeBytes);
    for (size_t i = 0; i < 10; ++i) keeper->FreeOffset(kCtx, blocks[i]);  // a run waits
    leaver->shm_detach(DetachMode::kDelete);
    // Somebody else gets all there is, and the runs' places are needed.
    Heap* heir = heap.Attach();
    std::vector<OffsetPtr<>> all;
    for (;;) {
      const OffsetPtr<> block = heir->AllocateOffset(kCtx, kSizeBytes);
      if (block.IsNull()) break;
      std::memset(heir->GetRegion().base_ + block.load(), 0x5a, kSizeBytes);
      all.push_back(block);
    }
    keeper->Trim();
    REQUIRE(keeper->Check());
    for (const OffsetPtr<>& block : all) {
      const char* bytes = heir->GetRegion().base_ + block.load();
      REQUIRE(bytes[0] == 0x5a);
      REQUIRE(std::memcmp(bytes, bytes + 1, kSizeBytes - 1) == 0);
    }
    heir->shm_detach(DetachMode::kDelete);
  }
}

}  // namespace
}  // namespace hshm::test
