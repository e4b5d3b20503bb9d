#include <atomic>
#include <thread>

#include "multi_process/heap.h"

/** What can be had, by whom, and had again: null means that no rank keeps a wholly free page. */
namespace hshm::test {
namespace {

constexpr uint64_t kRegion = 16 << 20;
constexpr uint64_t kPage = 65536;

/** What a rank fills the region with, and its successor asks for. */
const std::vector<std::vector<uint64_t>> kSizes = {
    {16}, {1024}, {40 << 10}, {100 << 10}, {16, 1024, 40 << 10, 100 << 10}};

uint64_t BytesOf(const std::vector<uint64_t>& sizes) {
  uint64_t sum = 0;
  for (uint64_t size : sizes) sum += size;
  return sum;
}

/** B can have at least 90 % of what A had, and gives it back. */
template <typename Alloc>
void RequireSameRoom(Alloc* b, const std::vector<uint64_t>& sizes, size_t count_of_a) {
  const std::vector<OffsetPtr<>> blocks = FillUp(b, sizes);
  CHECK(blocks.size() * 10 >= count_of_a * 9);
  REQUIRE(b->Check());
  FreeAll(b, blocks);
  REQUIRE(b->Check());
}

TEST_CASE("A rank frees what a sleeping rank allocated until null, and has the room of it") {
  const std::vector<uint64_t>& sizes = kSizes[GENERATE(0, 1, 2, 3, 4)];
  CAPTURE(sizes);
  PrivateHeap<MultiProcessAllocator> heap(kRegion);
  MultiProcessAllocator* a = heap.first();
  MultiProcessAllocator* b = heap.Attach();
  const uint64_t at_first = b->GetCurrentlyAllocatedSize();
  const std::vector<OffsetPtr<>> blocks = FillUp(a, sizes);
  REQUIRE(blocks.size() * BytesOf(sizes) >= kRegion / 10 * 7 * sizes.size());
  FreeAll(b, blocks);
  REQUIRE(b->GetCurrentlyAllocatedSize() == at_first);
  RequireSameRoom(b, sizes, blocks.size());
  SECTION("and the sleeper goes on afterwards") {
    RequireSameRoom(a, sizes, blocks.size());
    REQUIRE(a->GetCurrentlyAllocatedSize() == at_first);
  }
  SECTION("and another mixture finds as much") {
    for (const auto& others : kSizes) {
      CAPTURE(others);
      const auto again = FillUp(b, others);
      REQUIRE(again.size() * BytesOf(others) >= kRegion / 10 * 7 * others.size());
      FreeAll(b, again);
    }
  }
}

TEST_CASE("A rank has the room of one that left, with its blocks or without") {
  const std::vector<uint64_t>& sizes = kSizes[GENERATE(0, 1, 2, 3, 4)];
  CAPTURE(sizes);
  PrivateHeap<MultiProcessAllocator> heap(kRegion);
  MultiProcessAllocator* b = heap.first();
  const uint64_t at_first = b->GetCurrentlyAllocatedSize();
  MultiProcessAllocator* a = heap.Attach();
  const std::vector<OffsetPtr<>> blocks = FillUp(a, sizes);
  SECTION("by shm_detach, which deletes them") {
    a->shm_detach();
    REQUIRE(b->GetCurrentlyAllocatedSize() == at_first);
  }
  SECTION("by shm_detach(kKeepLive)") {
    a->shm_detach(ipc::DetachMode::kKeepLive);
    FreeAll(b, blocks);
  }
  SECTION("by the end of its handle") {
    heap.Destroy(a);
    FreeAll(b, blocks);
  }
  SECTION("by the end of its handle, blocks freed before") {
    FreeAll(b, blocks);
    heap.Destroy(a);
  }
  REQUIRE(b->GetCurrentlyAllocatedSize() == at_first);
  RequireSameRoom(b, sizes, blocks.size());
  REQUIRE(b->GetCurrentlyAllocatedSize() == at_first);
}

TEST_CASE("A thread has the room of another thread of its process that sleeps") {
  const std::vector<uint64_t>& sizes = kSizes[GENERATE(0, 1, 2, 3, 4)];
  CAPTURE(sizes);
  PrivateHeap<MultiProcessAllocator> heap(kRegion);
  MultiProcessAllocator* alloc = heap.first();
  const uint64_t at_first = alloc->GetCurrentlyAllocatedSize();
  std::vector<OffsetPtr<>> blocks;
  std::atomic<int> turn{0};
  std::thread sleeper([&] {
    blocks = FillUp(alloc, sizes);
    turn.store(1);
    turn.notify_all();
    turn.wait(1);
  });
  turn.wait(0);
  FreeAll(alloc, blocks);
  RequireSameRoom(alloc, sizes, blocks.size());
  turn.store(2);
  turn.notify_all();
  sleeper.join();
  REQUIRE(alloc->GetCurrentlyAllocatedSize() == at_first);
}

/**
 * Rounds of filling up and freeing. Each reaches the first count; runs of pages, which lie between
 * what stays (heap records), nearly so.
 */
template <typename Alloc>
void RequireCapacityReturns(uint64_t region_bytes, uint64_t page_bytes, uint64_t size) {
  CAPTURE(region_bytes, size);
  PrivateHeap<Alloc> heap(region_bytes);
  Alloc* alloc = heap.first();
  const uint64_t at_first = alloc->GetCurrentlyAllocatedSize();
  const uint64_t largest = LargestBlock(alloc, page_bytes);
  const bool is_exact = size <= page_bytes / 8;
  size_t first = 0;
  for (int round = 0; round < 3; ++round) {
    CAPTURE(round);
    const auto blocks = FillUp(alloc, {size});
    if (round == 0) first = blocks.size();
    if (is_exact) REQUIRE(blocks.size() == first);
    REQUIRE(blocks.size() * 100 >= first * 99);
    REQUIRE(alloc->Check());
    for (size_t i = 0; i < blocks.size(); i += 2) alloc->FreeOffset(kCtx, blocks[i]);
    for (size_t i = 1; i < blocks.size(); i += 2) alloc->FreeOffset(kCtx, blocks[i]);
    REQUIRE(alloc->GetCurrentlyAllocatedSize() == at_first);
    alloc->Trim();
    REQUIRE(alloc->Check());
    REQUIRE(LargestBlock(alloc, page_bytes) >= largest);
  }
}

TEST_CASE("Exhausted and emptied, a region has its first capacity again, to the block") {
  for (uint64_t size : {16, 1024, 8192, 40 << 10, 100 << 10}) {
    RequireCapacityReturns<MultiProcessAllocator>(kRegion, kPage, size);
  }
  for (uint64_t size : {16, 100, 512, 3000, 12800}) {
    RequireCapacityReturns<SmallMultiProcessAllocator>(256 << 10, 4096, size);
    RequireCapacityReturns<SmallMultiProcessAllocator>(4 << 20, 4096, size);
  }
}

TEST_CASE("An emptied region serves one block of nine tenths of its data pages") {
  for (const auto& sizes : kSizes) {
    CAPTURE(sizes);
    PrivateHeap<MultiProcessAllocator> heap(kRegion);
    MultiProcessAllocator* alloc = heap.first();
    std::vector<std::thread> threads;
    for (int i = 0; i < 3; ++i) {
      threads.emplace_back([&] { FreeAll(alloc, FillUp(alloc, sizes)); });
    }
    for (std::thread& thread : threads) thread.join();
    FreeAll(alloc, FillUp(alloc, sizes));
    alloc->Trim();
    CHECK(LargestBlock(alloc, kPage) >= kRegion / 10 * 9);
    REQUIRE(alloc->Check());
  }
}

TEST_CASE("A unit that is free goes back to the root, where another rank has it") {
  PrivateHeap<MultiProcessAllocator> heap(kRegion);
  MultiProcessAllocator* a = heap.first();
  MultiProcessAllocator* b = heap.Attach();
  const uint64_t at_first = LargestBlock(b, kPage);
  for (int round = 0; round < 3; ++round) {
    FreeAll(a, FillUp(a, {5000}));
    a->Trim();  // the test asks the root alone below, so nothing is taken from the sleeper
    REQUIRE(LargestBlock(b, kPage) >= at_first);
    b->Trim();
  }
}

TEST_CASE("Blocks of the wide classes are had in the smallest region") {
  PrivateHeap<SmallMultiProcessAllocator> heap(256 << 10);
  SmallMultiProcessAllocator* alloc = heap.first();
  for (uint64_t size : {513, 1000, 2000, 4000, 4096}) {
    CAPTURE(size);
    const auto blocks = FillUp(alloc, {size});
    REQUIRE(blocks.size() * size >= (256u << 10) / 2);
    FreeAll(alloc, blocks);
  }
  REQUIRE(alloc->Check());
}

TEST_CASE("An aligned run is null where it would end behind the region, and takes nothing") {
  constexpr uint64_t kOddRegion = 9 << 20;
  PrivateHeap<MultiProcessAllocator> heap(kOddRegion);
  MultiProcessAllocator* alloc = heap.first();
  const uint64_t free_bytes = alloc->GetStats().free_bytes_;
  REQUIRE(alloc->AlignedAllocateOffset(kCtx, 20 * kPage, 8 << 20).IsNull());
  REQUIRE(alloc->GetStats().free_bytes_ == free_bytes);
  const OffsetPtr<> run = alloc->AlignedAllocateOffset(kCtx, 20 * kPage, 4 << 20);
  REQUIRE(run.load() == 4 << 20);
  REQUIRE(alloc->Check());
}

}  // namespace
}  // namespace hshm::test
