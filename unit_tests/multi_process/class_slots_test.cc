#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstring>
#include <random>

#include "multi_process/heap.h"
#include "support/child_process.h"
#include "support/seed.h"

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

TEST_CASE("A class slot whose blocks were overwritten is trimmed as far as it leads") {
  const uint64_t size = GENERATE(9 << 10, kRunBytes);
  CAPTURE(size);
  const Ending ending = RunInChild([size] {
    alarm(20);
    PrivateHeap<MultiProcessAllocator> heap(16 * kRegion);  // its slots may list some spans' blocks
    MultiProcessAllocator* alloc = heap.first();
    std::vector<OffsetPtr<>> blocks;
    for (int i = 0; i < 100; ++i) blocks.push_back(alloc->AllocateOffset(kCtx, size));
    const OffsetPtr<> kept = alloc->AllocateOffset(kCtx, size);
    FillPattern(BytesOf(alloc, kept), size, 7);
    for (const OffsetPtr<> block : blocks) {
      alloc->FreeOffset(kCtx, block);
      std::memset(BytesOf(alloc, block), 0, 8);  // leads to none: those behind are gone
    }
    for (int i = 0; i < 200; ++i) {
      const OffsetPtr<> block = alloc->AllocateOffset(kCtx, size);
      if (block.IsNull() || block == kept) _exit(1);
      FillPattern(BytesOf(alloc, block), size, 8);
    }
    if (!HasPattern(BytesOf(alloc, kept), size, size, 7) || !alloc->Check()) _exit(2);
  });
  CAPTURE(ending.errors_);
  REQUIRE(ending.status_ == 0);
}

TEST_CASE("A class without a free block takes one of the next class, instead of more pages") {
  PrivateHeap<MultiProcessAllocator> heap(kRegion);
  MultiProcessAllocator* alloc = heap.first();
  constexpr uint64_t kLonger = 44 << 10;  // 23 a span
  constexpr uint64_t kShorter = 40 << 10;
  const std::vector<OffsetPtr<>> longer = AllocateMany(alloc, 46, kLonger);
  for (size_t i = 0; i < 10; ++i) alloc->FreeOffset(kCtx, longer[4 * i]);
  // The first ones get pages: a class that is asked for in a loop is not served one by one.
  for (const OffsetPtr<> own : AllocateMany(alloc, 25, kShorter - 1)) {
    REQUIRE(alloc->GetUsableSize(own) == kShorter);
  }
  const size_t before = alloc->GetCurrentlyAllocatedSize();
  for (const OffsetPtr<> block : AllocateMany(alloc, 10, kShorter - 1)) {
    REQUIRE(alloc->GetUsableSize(block) == kLonger);
    FillPattern(BytesOf(alloc, block), kShorter - 1, 1);
  }
  REQUIRE(alloc->GetCurrentlyAllocatedSize() == before + 10 * kLonger);
  REQUIRE(alloc->GetUsableSize(alloc->AllocateOffset(kCtx, kShorter - 1)) == kShorter);
  REQUIRE(alloc->Check());
}

TEST_CASE("A block of the next class is not taken for one that must be aligned as that is not") {
  PrivateHeap<MultiProcessAllocator> heap(kRegion);
  MultiProcessAllocator* alloc = heap.first();
  const std::vector<OffsetPtr<>> longer = AllocateMany(alloc, 28, 36 << 10);
  for (size_t i = 0; i < 12; ++i) alloc->FreeOffset(kCtx, longer[2 * i]);
  std::vector<OffsetPtr<>> own = AllocateMany(alloc, 4, 32 << 10);  // a span of them
  for (int i = 0; i < 6; ++i) {
    own.push_back(alloc->AlignedAllocateOffset(kCtx, 32 << 10, 32 << 10));
  }
  for (const OffsetPtr<> block : own) {
    REQUIRE(block.load() % (32 << 10) == 0);
    REQUIRE(alloc->GetUsableSize(block) == 32 << 10);
  }
}

TEST_CASE("Pages of a class go back while it goes on with fewer blocks") {
  PrivateHeap<MultiProcessAllocator> heap(kRegion);
  MultiProcessAllocator* alloc = heap.first();
  constexpr uint64_t kSize = 44 << 10;  // 23 a span of 16 pages
  std::mt19937 random(test::PrintedSeed("pages of a class"));
  std::vector<OffsetPtr<>> blocks = AllocateMany(alloc, 460, kSize);
  std::shuffle(blocks.begin(), blocks.end(), random);
  for (int i = 0; i < 230; ++i) {
    alloc->FreeOffset(kCtx, blocks.back());
    blocks.pop_back();
  }
  for (int i = 0; i < 2000; ++i) {  // ten go, ten come
    for (int j = 0; j < 10; ++j) {
      std::swap(blocks[random() % blocks.size()], blocks.back());
      alloc->FreeOffset(kCtx, blocks.back());
      blocks.pop_back();
    }
    for (int j = 0; j < 10; ++j) blocks.push_back(alloc->AllocateOffset(kCtx, kSize));
  }
  uint64_t pages = 0;
  for (const ipc::SizeClassStats& size_class : alloc->GetStats().classes_) {
    if (size_class.block_bytes_ == kSize) pages = size_class.pages_;
  }
  REQUIRE(pages >= 160);
  REQUIRE(pages <= 240);
  FreeAll(alloc, blocks);
  REQUIRE(alloc->GetCurrentlyAllocatedSize() == 0);
  REQUIRE(alloc->Check());
}

}  // namespace
}  // namespace hshm::test
