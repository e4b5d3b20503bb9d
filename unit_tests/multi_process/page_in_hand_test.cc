/** The page that a class allocates from, and runs that stay with their heap. */
#include <set>
#include <thread>

#include "multi_process/heap.h"

namespace hshm::test {
namespace {

constexpr uint64_t kMiB = 1024 * 1024;
constexpr uint64_t kPage = 64 * 1024;
using Heap = MultiProcessAllocator;

}  // namespace

TEST_CASE("One page of a class is in hand; those before it are as all others") {
  PrivateHeap<Heap> heap(64 * kMiB);
  Heap* sleeper = heap.first();
  Heap* rank = heap.Attach();
  for (const size_t size_bytes : {size_t{200}, size_t{4000}, size_t{40000}}) {
    FreeAll(sleeper, AllocateMany(sleeper, 8 * kMiB / size_bytes, size_bytes));
  }
  // In vain, so that the sleeper's pages are taken: all but one span a class.
  uint64_t had = 0;
  while (!rank->AllocateOffset(kCtx, kPage).IsNull()) had += kPage;
  REQUIRE(had >= 60 * kMiB);
  REQUIRE(rank->Check());
}

TEST_CASE("What is freed into the page in hand is had again first") {
  PrivateHeap<Heap> heap(64 * kMiB);
  Heap* alloc = heap.first();
  for (const size_t size_bytes : {size_t{2000}, size_t{20000}, size_t{60000}}) {
    const OffsetPtr<> one = alloc->AllocateOffset(kCtx, size_bytes);
    const OffsetPtr<> other = alloc->AllocateOffset(kCtx, size_bytes);
    alloc->FreeOffset(kCtx, one);
    alloc->FreeOffset(kCtx, other);
    REQUIRE(alloc->AllocateOffset(kCtx, size_bytes).load() == other.load());
    REQUIRE(alloc->AllocateOffset(kCtx, size_bytes).load() == one.load());
  }
  REQUIRE(alloc->Check());
}

TEST_CASE("A thread that took back what it freed keeps its own frees apart") {
  constexpr size_t kBytes = 2000;
  PrivateHeap<Heap> heap(64 * kMiB);
  Heap* alloc = heap.first();
  const auto foreign = AllocateMany(alloc, 8, kBytes);
  std::set<uint64_t> former;
  for (const OffsetPtr<>& block : foreign) former.insert(block.load());
  std::thread([&] {
    auto own = AllocateMany(alloc, 6, kBytes);
    FreeAll(alloc, foreign);
    bool has_taken_back = false;
    for (int i = 0; i < 32 && !has_taken_back; ++i) {
      const OffsetPtr<> block = alloc->AllocateOffset(kCtx, kBytes);
      has_taken_back = former.count(block.load()) != 0;
      if (!has_taken_back) own.push_back(block);
    }
    REQUIRE(has_taken_back);  // and the class lists the rest of them
    FreeAll(alloc, own);
    REQUIRE(alloc->Check());
    std::set<uint64_t> seen;
    for (const OffsetPtr<>& block : AllocateMany(alloc, 40, kBytes)) {
      REQUIRE(seen.insert(block.load()).second);
    }
    REQUIRE(alloc->Check());
  }).join();
}

TEST_CASE("A run that is freed serves requests that are as long, or a little shorter") {
  PrivateHeap<Heap> heap(64 * kMiB);
  Heap* alloc = heap.first();
  const OffsetPtr<> run = alloc->AllocateOffset(kCtx, 8 * kPage);
  alloc->FreeOffset(kCtx, run);
  const auto place_of = [&](uint64_t pages) {
    const OffsetPtr<> block = alloc->AllocateOffset(kCtx, pages * kPage);
    REQUIRE(alloc->GetUsableSize(block) >= pages * kPage);
    alloc->FreeOffset(kCtx, block);
    return block.load();
  };
  REQUIRE(place_of(8) == run.load());
  REQUIRE(place_of(7) == run.load());
  REQUIRE(place_of(6) != run.load());
  REQUIRE(place_of(9) != run.load());
  REQUIRE(alloc->Check());
}

TEST_CASE("Idle runs, too many for a slot, serve requests as long, or a little shorter") {
  PrivateHeap<Heap> heap(64 * kMiB);
  Heap* alloc = heap.first();
  const auto allocate = [&](uint64_t pages) {
    std::set<Offset> runs;
    for (int i = 0; i < 8; ++i) runs.insert(alloc->AllocateOffset(kCtx, pages * kPage).load());
    return runs;
  };
  const auto free = [&](const std::set<Offset>& runs) {
    for (const Offset run : runs) alloc->FreeOffset(kCtx, OffsetPtr<>(run));
  };
  for (int i = 0; i < 4; ++i) allocate(8);  // half as many may be idle
  const std::set<Offset> runs = allocate(8);
  std::set<Offset> shorter = allocate(7);
  free(runs);
  free(shorter);
  REQUIRE(allocate(8) == runs);
  free(runs);
  std::set<Offset> all = allocate(7);
  all.merge(allocate(7));
  shorter.insert(runs.begin(), runs.end());
  REQUIRE(all == shorter);
  REQUIRE(alloc->Check());
}

TEST_CASE("An idle run that is not free any more, by its words, is handed to nobody") {
  using Config = ipc::multi_process::LargePages;
  PrivateHeap<Heap> heap(64 * kMiB);
  Heap* alloc = heap.first();
  const ipc::Region& region = alloc->GetRegion();
  const auto* header = region.At<ipc::AllocatorHeader>(ipc::AllocatorOffsetFor(region.size_bytes_));
  const ipc::multi_process::RootTier<Config> root(region, header->core_offset_, nullptr);
  std::vector<OffsetPtr<>> runs;
  for (int i = 0; i < 40; ++i) runs.push_back(alloc->AllocateOffset(kCtx, 8 * kPage));
  for (size_t i = 32; i < runs.size(); ++i) alloc->FreeOffset(kCtx, runs[i]);  // some stay idle
  const bool is_used = GENERATE(false, true);
  std::set<Offset> odd;
  for (size_t i = 32; i < runs.size(); ++i) {
    auto* entry = root.pages().Entry(static_cast<uint32_t>(runs[i].load() / kPage));
    if (entry->used_.Get() != 0) continue;  // in the class slot, not idle
    is_used ? entry->used_.Set(1) : entry->local_.Set(0);
    odd.insert(runs[i].load());
  }
  REQUIRE_FALSE(odd.empty());
  for (int i = 0; i < 16; ++i) {
    const OffsetPtr<> run = alloc->AllocateOffset(kCtx, 8 * kPage);
    REQUIRE_FALSE(run.IsNull());
    REQUIRE(odd.count(run.load()) == 0);
  }
}

}  // namespace hshm::test
