/** Where the first blocks of pages, and the words of heaps, lie in the caches. */
#include <algorithm>
#include <map>
#include <set>
#include <vector>

#include "hermes_shm/memory/allocator/multi_process/root_tier.h"
#include "multi_process/bare_pages.h"
#include "multi_process/heap.h"

namespace hshm::test {
namespace {

using ipc::multi_process::CarveOrder;
using ipc::multi_process::ClassOf;
using ipc::multi_process::HeapRecord;
using ipc::multi_process::LargePages;
using ipc::multi_process::Pages;
using ipc::multi_process::PageTable;
using ipc::multi_process::RootTier;
using ipc::multi_process::SmallPages;

constexpr uint64_t kLineBytes = 64;
constexpr uint64_t kSetBytes = 4096;  // lines so far apart share a set of the first cache

/** Each block has one turn, and lies behind the one before but for once at most. */
bool IsInOrder(const CarveOrder& order, uint32_t capacity) {
  uint32_t rows = 1;
  std::vector<bool> seen(capacity);
  for (uint32_t turn = 0; turn < capacity; ++turn) {
    const uint32_t block = order.BlockAt(turn);
    if (block >= capacity || seen[block] || order.TurnOf(block) != turn) return false;
    if (!order.IsAmong(turn + 1, block) || order.IsAmong(turn, block)) return false;
    seen[block] = true;
    if (turn != 0 && block != order.BlockAt(turn - 1) + 1) ++rows;
    const uint32_t row = order.InRowAt(turn);
    if (row == 0 || turn + row > capacity) return false;
    if (order.BlockAt(turn + row - 1) != block + row - 1) return false;
  }
  return rows <= 2 && !order.IsAmong(capacity, capacity);
}

TEST_CASE("The order of carving has each block of a page once, in two rows at most") {
  for (const uint32_t capacity : {1u, 2u, 7u, 8u, 16u, 227u, 4096u}) {
    for (uint32_t page = 0; page < 200; ++page) {
      CAPTURE(capacity, page);
      REQUIRE(IsInOrder(CarveOrder(page, capacity), capacity));
    }
  }
}

TEST_CASE("A carve ends where a system page does, or with one block") {
  const uint64_t bytes = GENERATE(16u, 112u, 256u, 512u);
  Pages pages;
  const uint32_t page = pages.OpenClassPage(Pages::kId, Pages::kFirst + 3, bytes);
  uint32_t carves = 0;
  std::set<Offset> seen;
  for (; pages->Carve(page, 1024); ++carves) {
    const std::vector<Offset> blocks = pages.TakeAll(page);
    REQUIRE(blocks.front() / 1024 == blocks.back() / 1024);  // the last may end behind it
    for (const Offset block : blocks) {
      REQUIRE(block + bytes <= pages->OffsetOf(page + 1));
      REQUIRE(seen.insert(block).second);
    }
  }
  REQUIRE(seen.size() == SmallPages::kPageBytes / bytes);
  REQUIRE(carves <= SmallPages::kPageBytes / 1024 + 1);
}

TEST_CASE("A cut carve is counted by Recount in either row of the order") {
  Pages pages;
  const uint32_t page = pages.OpenClassPage();
  uint32_t rows = 0;
  for (uint32_t before = 0; pages->NextToCarve(page, 1024).count_ != 0; ++rows) {
    REQUIRE(pages->Carve(page, 1024));
    const uint32_t carved = pages[page]->carved_.Get();
    REQUIRE(carved > before);
    pages[page]->carved_.Set(before);
    pages->Recount(page);
    REQUIRE(pages[page]->carved_.Get() == carved);
    REQUIRE(pages[page]->used_.Get() == 0);
    before = carved;
  }
  REQUIRE(rows >= SmallPages::kPageBytes / 1024);
  REQUIRE(pages.LocalOf(page).size() == SmallPages::kPageBytes / 256);
}

TEST_CASE("The only blocks of many sizes lie in many sets of the caches") {
  PrivateHeap<MultiProcessAllocator> heap(64 << 20);
  std::map<uint64_t, uint32_t> in_first_cache;   // by line of 4 KiB
  std::map<uint64_t, uint32_t> in_second_cache;  // by line of 64 KiB
  uint32_t sizes = 0;
  for (uint32_t c = 0; c < LargePages::kFirstWideSlot; ++c, ++sizes) {
    const uint64_t bytes = ipc::multi_process::ClassBytes(c);
    const Offset block = heap.first()->AllocateOffset(kCtx, bytes).load();
    REQUIRE(block != 0);
    REQUIRE(block % (bytes & (~bytes + 1)) == 0);  // as aligned as its size
    ++in_first_cache[block % kSetBytes / kLineBytes];
    ++in_second_cache[block % (16 * kSetBytes) / kLineBytes];
  }
  const auto most = [](const std::map<uint64_t, uint32_t>& sets) {
    return std::max_element(sets.begin(), sets.end(),
                            [](const auto& a, const auto& b) { return a.second < b.second; })
        ->second;
  };
  REQUIRE(sizes > 50);
  // Sizes that are multiples of much are where they must be: 15 of 1 KiB and more.
  REQUIRE(most(in_first_cache) <= 12);
  REQUIRE(most(in_second_cache) <= 4);
}

/** Calls visit(record) for each heap of an allocator. */
template <typename Visit>
void ForEachRecord(MultiProcessAllocator* alloc, Visit visit) {
  const ipc::Region& region = alloc->GetRegion();
  const auto* header = region.At<ipc::AllocatorHeader>(ipc::AllocatorOffsetFor(region.size_bytes_));
  const RootTier<LargePages> root(region, header->core_offset_, nullptr);
  for (uint32_t page = root.header().first_page_; page < root.header().page_count_; ++page) {
    if (!PageTable<LargePages>::HoldsRecords(root.pages().Entry(page))) continue;
    auto* records = region.At<HeapRecord<LargePages>>(PageTable<LargePages>::OffsetOf(page));
    for (uint32_t i = 0; i < LargePages::kPageBytes / sizeof(*records); ++i) {
      if (records[i].id_.Get() != 0) visit(&records[i]);
    }
  }
}

TEST_CASE("Check finds a list that leads behind the last block of its page") {
  constexpr uint64_t kBytes = 48;
  constexpr uint64_t kCapacity = LargePages::kPageBytes / kBytes;
  static_assert(kCapacity * kBytes + 16 <= LargePages::kPageBytes);  // what is left has a link
  PrivateHeap<MultiProcessAllocator> heap(8 << 20);
  MultiProcessAllocator* alloc = heap.first();
  const Offset first = alloc->AllocateOffset(kCtx, kBytes).load();
  const Offset page = first / LargePages::kPageBytes * LargePages::kPageBytes;
  uint32_t lists = 0;
  // Most of the page is carved: what is left, and where the order begins, hide nothing.
  for (uint64_t i = 1; i < kCapacity - 10; ++i) alloc->AllocateOffset(kCtx, kBytes);
  REQUIRE(alloc->Check());
  ForEachRecord(alloc, [&](HeapRecord<LargePages>* record) {
    const Offset listed = record->free_[ClassOf(kBytes)].Get();
    if (listed == 0) return;
    ++lists;
    REQUIRE(listed / LargePages::kPageBytes == first / LargePages::kPageBytes);
    uint64_t& link = *alloc->GetRegion().At<uint64_t>(listed);
    const uint64_t before = link;
    link = page + kCapacity * kBytes;
    REQUIRE_FALSE(alloc->Check());
    link = before;
    REQUIRE(alloc->Check());
  });
  REQUIRE(lists == 1);
}

TEST_CASE("The words of the heaps of one thread in several allocators lie on lines of their own") {
  constexpr size_t kHandles = 8;
  std::vector<std::unique_ptr<PrivateHeap<MultiProcessAllocator>>> heaps;
  std::set<uint64_t> places;
  for (size_t i = 0; i < kHandles; ++i) {
    heaps.push_back(std::make_unique<PrivateHeap<MultiProcessAllocator>>(8 << 20));
    REQUIRE_FALSE(heaps.back()->first()->AllocateOffset(kCtx, 16).IsNull());
    const ipc::Region& region = heaps.back()->first()->GetRegion();
    ForEachRecord(heaps.back()->first(), [&](const HeapRecord<LargePages>* record) {
      REQUIRE(places.insert(region.OffsetOf(record) % kSetBytes / kLineBytes).second);
    });
  }
  REQUIRE(places.size() == kHandles);
}

}  // namespace
}  // namespace hshm::test
