#include <sys/stat.h>

#include <cstdio>
#include <cstring>
#include <fstream>
#include <memory>
#include <string>
#include <utility>

#include "hermes_shm/base/error.h"
#include "hermes_shm/base/units.h"
#include "hermes_shm/memory/backend/posix_shm_mmap.h"
#include "multi_process/heap.h"

/** Regions and units of every size, and blocks larger than a unit. */
namespace hshm::test {
namespace {

constexpr uint64_t kPage = 65536;
const std::vector<uint64_t> kUnits = {0, 1, 64_KiB, 100000, 1_MiB, 1024_GiB};

MultiProcessOptions Units(uint64_t process_unit, uint64_t thread_unit, uint32_t expected = 0) {
  MultiProcessOptions options;
  options.process_unit_bytes_ = process_unit;
  options.thread_unit_bytes_ = thread_unit;
  options.expected_processes_ = expected;
  return options;
}

TEST_CASE("Units of every size serve, from one byte to more than the region") {
  constexpr uint64_t kRegion = 16_MiB;
  for (uint64_t process_unit : kUnits) {
    for (uint64_t thread_unit : kUnits) {
      CAPTURE(process_unit, thread_unit);
      PrivateHeap<MultiProcessAllocator> heap(kRegion, Units(process_unit, thread_unit));
      MultiProcessAllocator* late = heap.Attach(Units(process_unit, thread_unit));
      for (uint64_t size : {100, 30000, 500000, 3000000}) {
        CAPTURE(size);
        const auto blocks = FillUp(heap.first(), {size});
        REQUIRE(blocks.size() * size >= kRegion / 2);
        REQUIRE(late->Check());
        FreeAll(late, blocks);
        const auto again = FillUp(late, {size});
        REQUIRE(again.size() * 10 >= blocks.size() * 9);
        FreeAll(heap.first(), again);
      }
      REQUIRE(heap.first()->GetCurrentlyAllocatedSize() == 0);
      REQUIRE(late->Check());
    }
  }
}

TEST_CASE("Processes that are expected leave room for each other") {
  constexpr uint32_t kRanks = 4;
  PrivateHeap<MultiProcessAllocator> heap(64_MiB, Units(1_GiB, 16_MiB, kRanks));
  std::vector<MultiProcessAllocator*> ranks = {heap.first()};
  while (ranks.size() < kRanks) ranks.push_back(heap.Attach(Units(1_GiB, 16_MiB, kRanks)));
  for (MultiProcessAllocator* rank : ranks) {
    std::vector<OffsetPtr<>> blocks;
    for (uint64_t i = 0; i < 12; ++i) blocks.push_back(rank->AllocateOffset(kCtx, 1_MiB));
    for (OffsetPtr<> block : blocks) REQUIRE_FALSE(block.IsNull());
  }
  for (MultiProcessAllocator* rank : ranks) REQUIRE(rank->Check());
}

TEST_CASE("The first of an unknown number of processes does not take everything") {
  PrivateHeap<MultiProcessAllocator> heap(64_MiB);
  REQUIRE_FALSE(heap.first()->AllocateOffset(kCtx, 100).IsNull());
  MultiProcessAllocator* late = heap.Attach();
  REQUIRE(LargestBlock(late, kPage) >= 48_MiB);
}

TEST_CASE("The sizes of units can be given to shm_attach as two numbers") {
  PrivateHeap<MultiProcessAllocator> heap(16_MiB);
  MultiProcessAllocator handle;
  const MemContext ctx = handle.shm_attach(heap.backend().region(), 1_MiB, 64_KiB);
  REQUIRE(ctx.IsValid());
  REQUIRE_FALSE(handle.AllocateOffset(ctx, 100).IsNull());
  REQUIRE(handle.Check());
}

TEST_CASE("A region of 256 KiB is enough, one without a page for data is refused") {
  PrivateHeap<MultiProcessAllocator> large_pages(256_KiB);
  REQUIRE_FALSE(large_pages.first()->AllocateOffset(kCtx, 100).IsNull());
  PrivateHeap<SmallMultiProcessAllocator> small_pages(256_KiB);
  REQUIRE(FillUp(small_pages.first(), {100}).size() >= 1000);
  ipc::MallocBackend tiny;
  tiny.shm_init(ipc::MemoryBackendId(1), 256_KiB);
  try {
    (void)tiny.MakeAlloc<MultiProcessAllocator>(kId, 63_KiB);  // as large a header as may be
  } catch (const Error& error) {
    REQUIRE(error.code() == ErrorCode::kOutOfRange);
  }
}

// ThreadSanitizer leaves a program 1.5 TiB of addresses, in which 1 TiB does not always fit.
#if defined(__SANITIZE_THREAD__)
constexpr uint64_t kLargestRegion = 256_GiB;
#else
constexpr uint64_t kLargestRegion = 1024_GiB;
#endif

TEST_CASE("A region of one TiB, mostly holes, serves blocks and stays small") {
  ipc::PosixShmOptions shm;
  shm.allow_overcommit_ = true;
  SharedHeap<MultiProcessAllocator> heap(kLargestRegion, {}, shm);
  MultiProcessAllocator* alloc = heap.first();
  const auto resident = [&] {
    struct stat status = {};
    REQUIRE(stat(("/dev/shm/" + heap.name()).c_str(), &status) == 0);
    return static_cast<uint64_t>(status.st_blocks) * 512;
  };
  REQUIRE(resident() < 64_MiB);
  std::vector<OffsetPtr<>> blocks;
  for (uint64_t size = 1; size <= 8_MiB; size *= 2) {
    blocks.push_back(alloc->AllocateOffset(kCtx, size));
    REQUIRE_FALSE(blocks.back().IsNull());
    FillPattern(BytesOf(alloc, blocks.back()), size, size);
  }
  MultiProcessAllocator* late = heap.Attach();
  const OffsetPtr<> block = late->AllocateOffset(kCtx, 1000);
  REQUIRE_FALSE(block.IsNull());
  late->FreeOffset(kCtx, block);
  REQUIRE(late->Check());
  REQUIRE(resident() < 128_MiB);
  FreeAll(late, blocks);
  REQUIRE(alloc->GetCurrentlyAllocatedSize() == 0);
}

/** Of the mappings that begin in the region, in bytes: counted exactly, see proc(5), smaps. */
uint64_t ResidentBytesOf(const ipc::Region& region) {
  std::ifstream mappings("/proc/self/smaps");
  bool is_inside = false;
  uint64_t bytes = 0;
  for (std::string line; std::getline(mappings, line);) {
    unsigned long long begin = 0;
    unsigned long long end = 0;
    unsigned long long kib = 0;
    if (std::sscanf(line.c_str(), "%llx-%llx ", &begin, &end) == 2) {
      is_inside = region.Contains(reinterpret_cast<const void*>(begin));
    } else if (is_inside && std::sscanf(line.c_str(), "Rss: %llu kB", &kib) == 1) {
      bytes += kib * 1024;
    }
  }
  return bytes;
}

/** A segment in which nobody has made an allocator yet. */
std::unique_ptr<ipc::PosixShmMmap> EmptySegment(uint64_t capacity_bytes) {
  ipc::PosixShmOptions options;
  options.naming_ = ipc::Naming::kUnnamed;
  options.allow_overcommit_ = true;
  auto backend = std::make_unique<ipc::PosixShmMmap>();
  backend->shm_init(ipc::MemoryBackendId(1), capacity_bytes, "hshm_unit_set_up", options);
  return backend;
}

TEST_CASE("Tables of a new segment that nobody wrote are not made resident") {
  const auto backend = EmptySegment(4_GiB);
  auto* alloc = backend->MakeAlloc<MultiProcessAllocator>(kId);
  // Of 65,536 granules the head words are read, 256 KiB; their nodes, thrice as much, are not.
  CHECK(ResidentBytesOf(backend->region()) < 800_KiB);
  CHECK_FALSE(alloc->AllocateOffset(kCtx, 100).IsNull());
}

TEST_CASE("What a maker that failed has left in the tables is cleared") {
  // In the head words alone; in nodes and the page table.
  const auto [begin, end] = GENERATE(std::pair(512_KiB, 513_KiB), std::pair(700_KiB, 2_MiB));
  CAPTURE(begin, end);
  const auto backend = EmptySegment(4_GiB);
  const ipc::Region& region = backend->region();
  REQUIRE(region.Commit(begin, end - begin));
  std::memset(region.AddressOf(begin), 0xff, end - begin);
  auto* alloc = backend->MakeAlloc<MultiProcessAllocator>(kId);
  REQUIRE(alloc->Check());
  const OffsetPtr<> block = alloc->AllocateOffset(kCtx, 20_MiB);
  REQUIRE_FALSE(block.IsNull());
  alloc->FreeOffset(kCtx, block);
  CHECK(alloc->GetCurrentlyAllocatedSize() == 0);
}

// ---- large blocks ----------------------------------------------------------------------------

TEST_CASE("Blocks larger than a process unit come from the root, and any process frees them") {
  PrivateHeap<MultiProcessAllocator> heap(64_MiB, Units(1_MiB, 64_KiB));
  MultiProcessAllocator* a = heap.first();
  MultiProcessAllocator* b = heap.Attach(Units(1_MiB, 64_KiB));
  for (int round = 0; round < 3; ++round) {
    const OffsetPtr<> first = a->AllocateOffset(kCtx, 20_MiB + 1);
    const OffsetPtr<> second = a->AllocateOffset(kCtx, 30_MiB);
    REQUIRE_FALSE(first.IsNull());
    REQUIRE_FALSE(second.IsNull());
    REQUIRE(a->GetUsableSize(first) >= 20_MiB + 1);
    REQUIRE(a->AllocateOffset(kCtx, 20_MiB).IsNull());
    std::memset(BytesOf(a, first), 1, 20_MiB + 1);
    b->FreeOffset(kCtx, first);
    b->FreeOffset(kCtx, second);
    REQUIRE(b->GetCurrentlyAllocatedSize() == 0);
  }
  REQUIRE(a->Check());
}

TEST_CASE("A large block grows and shrinks in place while the next granules are free") {
  PrivateHeap<MultiProcessAllocator> heap(64_MiB, Units(1_MiB, 64_KiB));
  MultiProcessAllocator* alloc = heap.first();
  const OffsetPtr<> block = alloc->AllocateOffset(kCtx, 8_MiB);
  FillPattern(BytesOf(alloc, block), 8_MiB, 4);
  REQUIRE(alloc->ReallocateOffset(kCtx, block, 16_MiB) == block);
  REQUIRE(alloc->ReallocateOffset(kCtx, block, 3_MiB) == block);
  REQUIRE(alloc->GetUsableSize(block) == 3_MiB);
  REQUIRE(HasPattern(BytesOf(alloc, block), 8_MiB, 3_MiB, 4));
  REQUIRE(alloc->Check());
  // Below a process unit it is a run of pages elsewhere.
  const OffsetPtr<> moved = alloc->ReallocateOffset(kCtx, block, 500000);
  REQUIRE_FALSE(moved.IsNull());
  REQUIRE_FALSE(moved == block);
  REQUIRE(HasPattern(BytesOf(alloc, moved), 8_MiB, 500000, 4));
  alloc->FreeOffset(kCtx, moved);
  REQUIRE(alloc->GetCurrentlyAllocatedSize() == 0);
  REQUIRE(alloc->Check());
}

TEST_CASE("A run of pages grows in place into free pages, and moves when there are none") {
  PrivateHeap<MultiProcessAllocator> heap(64_MiB);
  MultiProcessAllocator* alloc = heap.first();
  OffsetPtr<> block = alloc->AllocateOffset(kCtx, 2 * kPage);
  FillPattern(BytesOf(alloc, block), 2 * kPage, 8);
  uint64_t moves = 0;
  for (uint64_t pages = 3; pages < 100; ++pages) {
    const OffsetPtr<> grown = alloc->ReallocateOffset(kCtx, block, pages * kPage);
    REQUIRE_FALSE(grown.IsNull());
    if (!(grown == block)) ++moves;
    block = grown;
    REQUIRE(HasPattern(BytesOf(alloc, block), 2 * kPage, 2 * kPage - 32, 8));
  }
  REQUIRE(moves < 20);
  for (uint64_t pages = 99; pages > 2; --pages) {
    REQUIRE(alloc->ReallocateOffset(kCtx, block, pages * kPage) == block);
  }
  REQUIRE(alloc->Check());
  alloc->FreeOffset(kCtx, block);
  REQUIRE(alloc->GetCurrentlyAllocatedSize() == 0);
}

TEST_CASE("Alignments up to an eighth of the region hold, in runs and in large blocks") {
  for (uint64_t process_unit : {1_MiB, 1_GiB}) {
    PrivateHeap<MultiProcessAllocator> heap(64_MiB, Units(process_unit, 64_KiB));
    MultiProcessAllocator* alloc = heap.first();
    for (uint64_t alignment = 1; alignment <= 8_MiB; alignment *= 2) {
      for (uint64_t size : {1ull, 1000ull, 70000ull, 3000000ull}) {
        CAPTURE(process_unit, alignment, size);
        const OffsetPtr<> block = alloc->AlignedAllocateOffset(kCtx, size, alignment);
        REQUIRE_FALSE(block.IsNull());
        REQUIRE(block.load() % alignment == 0);
        REQUIRE(alloc->GetUsableSize(block) >= size);
        alloc->FreeOffset(kCtx, block);
      }
    }
    REQUIRE(alloc->GetCurrentlyAllocatedSize() == 0);
    REQUIRE(alloc->Check());
  }
}

}  // namespace
}  // namespace hshm::test
