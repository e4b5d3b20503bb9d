#include <unistd.h>

#include <csignal>
#include <cstring>

#include "multi_process/heap.h"
#include "support/child_process.h"

/** What the lists of mixed class slots keep, and what becomes of them. */
namespace hshm::test {
namespace {

constexpr uint64_t kRegion = 64 << 20;
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

}  // namespace
}  // namespace hshm::test
