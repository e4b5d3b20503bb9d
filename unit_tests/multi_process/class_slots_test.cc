#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstring>

#include "multi_process/heap.h"
#include "support/child_process.h"

/** What the lists of mixed class slots keep, and what becomes of them. */
namespace hshm::test {
namespace {

constexpr uint64_t kRegion = 64 << 20;
constexpr uint64_t kSmallRegion = 16 << 20;
constexpr uint64_t kRunBytes = 3 * 65536;

/** One of each page, then the next of each: the last frees are all in different pages. */
void FreeAcross(MultiProcessAllocator* alloc, const std::vector<OffsetPtr<>>& blocks,
                size_t blocks_a_page) {
  for (size_t first = 0; first < blocks_a_page; ++first) {
    for (size_t i = first; i < blocks.size(); i += blocks_a_page) {
      alloc->FreeOffset(kCtx, blocks[i]);
    }
  }
}

TEST_CASE("A sleeper that freed across its pages keeps few of them from another rank") {
  const auto [size, blocks_a_page] =
      GENERATE(std::pair<uint64_t, size_t>{9 << 10, 56}, std::pair<uint64_t, size_t>{2048, 32},
               std::pair<uint64_t, size_t>{64 << 10, 16});
  CAPTURE(size);
  PrivateHeap<MultiProcessAllocator> heap(kRegion);
  MultiProcessAllocator* a = heap.first();
  MultiProcessAllocator* b = heap.Attach();
  const std::vector<OffsetPtr<>> blocks = FillUp(a, {size});
  FreeAcross(a, blocks, blocks_a_page);
  const std::vector<OffsetPtr<>> again = FillUp(b, {size});
  REQUIRE(again.size() * 100 >= blocks.size() * 93);
  REQUIRE(b->Check());
}

TEST_CASE("A free run that was overwritten loses the runs behind it, and hangs nobody") {
  const Ending ending = RunInChild([] {
    alarm(20);
    PrivateHeap<MultiProcessAllocator> heap(kRegion);
    MultiProcessAllocator* alloc = heap.first();
    std::vector<OffsetPtr<>> runs;
    for (int i = 0; i < 40; ++i) runs.push_back(alloc->AllocateOffset(kCtx, kRunBytes));
    for (int i = 0; i < 4; ++i) alloc->FreeOffset(kCtx, runs[static_cast<size_t>(i)]);
    std::memset(heap.backend().region().AddressOf(runs[3].load()), 0, 8);
    for (size_t i = 4; i < runs.size(); ++i) alloc->FreeOffset(kCtx, runs[i]);
    for (int round = 0; round < 100; ++round) {
      alloc->FreeOffset(kCtx, alloc->AllocateOffset(kCtx, kRunBytes));
    }
  });
  CAPTURE(ending.errors_);
  REQUIRE(ending.status_ == 0);
}

/** Writes into a free block while its class slot lists it, or its page does, and dies. */
int WriteAndDie(MultiProcessAllocator* alloc, uint64_t size, bool is_in_slot, uint64_t written) {
  std::vector<uint64_t> blocks;
  for (int i = 0; i < 30; ++i) blocks.push_back(alloc->AllocateOffset(kCtx, size).load());
  blocks.resize(20);
  for (uint64_t block : blocks) alloc->FreeOffset(kCtx, OffsetPtr<>(block));
  const auto is_one = [&](uint64_t block) {
    return std::find(blocks.begin(), blocks.end(), block) != blocks.end();
  };
  bool is_waiting = is_in_slot;  // for the list of the page to become the slot's
  while (is_waiting) is_waiting = !is_one(alloc->AllocateOffset(kCtx, size).load());
  const uint64_t link = written != 0 ? written : blocks[10];
  std::memcpy(alloc->GetRegion().AddressOf(blocks[10]), &link, sizeof link);
  raise(SIGKILL);
  return 0;
}

TEST_CASE("A process that wrote into what it had freed, and died, takes no survivor with it") {
  const uint64_t size = GENERATE(64, 2048, 9 << 10, kRunBytes);
  const bool is_in_slot = GENERATE(false, true);
  // Outside the region, its last byte, no block's beginning, the block itself.
  const uint64_t written =
      GENERATE(~uint64_t{0}, kSmallRegion - 1, kSmallRegion / 2 + 8, uint64_t{0});
  CAPTURE(size, is_in_slot, written);
  SharedHeap<MultiProcessAllocator> heap(kSmallRegion);
  ChildProcess dies([&] { return WriteAndDie(heap.Attach(), size, is_in_slot, written); });
  REQUIRE(dies.Wait() == -SIGKILL);
  const Ending ending = RunInChild([&] {
    alarm(20);
    MultiProcessAllocator* alloc = heap.Attach();  // sweeps
    const std::vector<OffsetPtr<>> blocks = FillUp(alloc, {size});
    std::vector<uint64_t> offsets;
    for (OffsetPtr<> block : blocks) offsets.push_back(block.load());
    std::sort(offsets.begin(), offsets.end());
    if (std::adjacent_find(offsets.begin(), offsets.end()) != offsets.end()) _exit(1);
  });
  CAPTURE(ending.errors_);
  REQUIRE(ending.status_ == 0);
  REQUIRE(heap.first()->Recover() == 1);
  REQUIRE(heap.first()->Check());
}

}  // namespace
}  // namespace hshm::test
