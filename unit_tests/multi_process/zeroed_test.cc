#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <fstream>
#include <functional>
#include <memory>
#include <random>
#include <thread>

#include "hermes_shm/base/units.h"
#include "hermes_shm/memory/allocator/buddy_allocator.h"
#include "hermes_shm/memory/allocator/scalable_page_allocator.h"
#include "hermes_shm/memory/allocator/stack_allocator.h"
#include "hermes_shm/memory/allocator/thread_local_allocator.h"
#include "hermes_shm/memory/backend/array_backend.h"
#include "hermes_shm/memory/backend/posix_mmap.h"
#include "multi_process/heap.h"
#include "support/child_process.h"
#include "support/own_directory.h"
#include "support/seed.h"
#include "support/skip.h"

/** Zeroed blocks: zero on every kind of memory whatever was there before, and free where nobody
 * can have been. */
namespace hshm::test {
namespace {

using ipc::PosixMmap;
using ipc::PosixShmMmap;

constexpr uint64_t kRegion = 96 << 20;

/** Units small enough that there are blocks of every kind: classes, runs, large ones. */
MultiProcessOptions SmallUnits() {
  MultiProcessOptions options;
  options.process_unit_bytes_ = 4 << 20;
  options.thread_unit_bytes_ = 1 << 20;
  return options;
}

bool IsZero(const char* bytes, uint64_t size) {
  return std::all_of(bytes, bytes + size, [](char byte) { return byte == 0; });
}

/** A zeroed block, checked and then written all over; null when there is no room. */
OffsetPtr<> TakeZeroed(MultiProcessAllocator* alloc, uint64_t size, bool* is_zero) {
  const FullPtr<char> block = alloc->AllocateZeroed(kCtx, size);
  if (block.IsNull()) return OffsetPtr<>();
  *is_zero = *is_zero && IsZero(block.ptr_, size);
  std::memset(block.ptr_, 0x5a, alloc->GetUsableSize(OffsetPtr<>(block.shm_.off_.load())));
  return OffsetPtr<>(block.shm_.off_.load());
}

/** Allocates, writes, resizes and frees at random, so that memory comes back in every way. */
bool StaysZero(MultiProcessAllocator* alloc, uint64_t seed, int steps) {
  std::mt19937_64 random(seed);
  std::vector<OffsetPtr<>> blocks;
  bool is_zero = true;
  const auto free_one = [&](size_t index) {
    std::swap(blocks[index], blocks.back());
    alloc->FreeOffset(kCtx, blocks.back());
    blocks.pop_back();
  };
  for (int i = 0; i < steps && is_zero; ++i) {
    const uint64_t size = random() % (uint64_t{1} << (4 + random() % 20));  // up to 8 MiB
    if (random() % 64 == 0) alloc->Trim();
    if (!blocks.empty() && random() % 8 == 0) {
      OffsetPtr<>& block = blocks[random() % blocks.size()];
      const OffsetPtr<> resized = alloc->ReallocateOffset(kCtx, block, size);
      if (!resized.IsNull()) {
        block = resized;
        std::memset(BytesOf(alloc, block), 0x77, alloc->GetUsableSize(block));
      }
      continue;
    }
    const OffsetPtr<> block = TakeZeroed(alloc, size, &is_zero);
    if (!block.IsNull()) blocks.push_back(block);
    while (!blocks.empty() && (block.IsNull() || blocks.size() > 12)) {
      free_one(random() % blocks.size());
      if (random() % 2 == 0) break;
    }
  }
  while (!blocks.empty()) free_one(blocks.size() - 1);
  return is_zero;
}

/** A kind of memory, made for one test. */
struct Kind {
  const char* name_;
  std::function<std::unique_ptr<ipc::MemoryBackend>()> make_;
};

/** Memory that nothing is given back of. */
class OwnArray : public ipc::ArrayBackend {
 public:
  OwnArray() : lines_(kRegion / sizeof(Line)) {
    shm_init(ipc::MemoryBackendId(1), kRegion, lines_.data()->bytes_);
  }

 private:
  struct Line {
    alignas(64) char bytes_[64];
  };
  std::vector<Line> lines_;
};

template <typename Backend, typename... Args>
std::unique_ptr<ipc::MemoryBackend> Make(Args... args) {
  auto backend = std::make_unique<Backend>();
  backend->shm_init(ipc::MemoryBackendId(1), kRegion, args...);
  return backend;
}

TEST_CASE("Runs over pages that had blocks of a class are zero") {
  PosixMmap backend;
  backend.shm_init(ipc::MemoryBackendId(1), kRegion);
  auto* alloc = backend.MakeAlloc<MultiProcessAllocator>(kId);
  bool is_zero = true;
  for (const uint64_t former : {uint64_t{10000}, uint64_t{40000}, uint64_t{60000}}) {
    std::vector<OffsetPtr<>> blocks;
    for (int i = 0; i < 300; ++i) {
      const FullPtr<char> block = alloc->Allocate<char>(kCtx, former);
      std::memset(block.ptr_, 0x5a, former);
      blocks.emplace_back(block.shm_.off_.load());
    }
    for (const OffsetPtr<>& block : blocks) alloc->FreeOffset(kCtx, block);
    blocks.clear();
    for (uint64_t i = 0; i < 100; ++i) {
      blocks.push_back(TakeZeroed(alloc, 70000 + 60000 * (i % 4), &is_zero));
    }
    REQUIRE(is_zero);
    for (const OffsetPtr<>& block : blocks) alloc->FreeOffset(kCtx, block);
  }
}

TEST_CASE("A zeroed block is zero on every kind of memory, whatever had its memory before") {
  const uint64_t seed = PrintedSeed("zeroed blocks");
  DiskDirectory directory;
  const std::string name = "hshm-zeroed-" + std::to_string(getpid());
  ipc::PosixShmOptions unnamed;
  unnamed.naming_ = ipc::Naming::kUnnamed;
  ipc::PosixShmOptions huge = unnamed;
  huge.huge_pages_ = ipc::HugePages::kAdvise;
  const Kind kinds[] = {
      {"private pages", [] { return Make<PosixMmap>(); }},
      {"private huge pages", [] { return Make<PosixMmap>(ipc::HugePages::kAdvise); }},
      {"malloc", [] { return Make<ipc::MallocBackend>(); }},
      {"an array", [] { return std::make_unique<OwnArray>(); }},
      {"a segment", [&] { return Make<PosixShmMmap>(name); }},
      {"an unnamed segment", [&] { return Make<PosixShmMmap>(name, unnamed); }},
      {"huge pages, shared", [&] { return Make<PosixShmMmap>(name, huge); }},
      {"a file", [&] { return Make<PosixMmap>(directory.File("heap")); }},
  };
  for (const Kind& kind : kinds) {
    CAPTURE(kind.name_);
    auto backend = kind.make_();
    auto* alloc = backend->MakeAlloc<MultiProcessAllocator>(kId, 0, SmallUnits());
    CHECK(StaysZero(alloc, seed, 400));
    CHECK(alloc->GetCurrentlyAllocatedSize() == 0);
    CHECK(alloc->Check());
    backend->shm_destroy();
  }
}

TEST_CASE("A run that its heap has kept is zeroed, also after memory that nobody had") {
  PosixMmap backend;
  backend.shm_init(ipc::MemoryBackendId(1), kRegion);
  MultiProcessOptions options;
  options.process_unit_bytes_ = 64 << 20;  // of small units a heap keeps nothing
  auto* alloc = backend.MakeAlloc<MultiProcessAllocator>(kId, 0, options);
  constexpr uint64_t kKept = 100000;  // stays with the heap when it is freed
  bool is_zero = true;
  const OffsetPtr<> kept = TakeZeroed(alloc, kKept, &is_zero);
  alloc->FreeOffset(kCtx, kept);
  static_cast<void>(TakeZeroed(alloc, 500000, &is_zero));
  REQUIRE(TakeZeroed(alloc, kKept, &is_zero).load() == kept.load());
  REQUIRE(is_zero);
}

TEST_CASE("Zeroed blocks of several handles and threads on private pages are zero") {
  const uint64_t seed = PrintedSeed("zeroed blocks of threads");
  PosixMmap backend;
  backend.shm_init(ipc::MemoryBackendId(1), kRegion);
  MultiProcessAllocator* handles[] = {
      backend.MakeAlloc<MultiProcessAllocator>(kId, 0, SmallUnits()),
      backend.AttachAlloc<MultiProcessAllocator>(SmallUnits())};
  std::atomic<int> broken{0};
  std::vector<std::thread> threads;
  for (uint64_t i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      if (!StaysZero(handles[i % 2], seed + i, 300)) ++broken;
    });
  }
  for (std::thread& thread : threads) thread.join();
  REQUIRE(broken == 0);
}

TEST_CASE("Zeroed blocks are zero after other processes had the memory, left it, or died with it") {
  const uint64_t seed = PrintedSeed("zeroed blocks of processes");
  SharedHeap<MultiProcessAllocator> heap(kRegion, SmallUnits());
  MultiProcessAllocator* alloc = heap.first();
  for (uint64_t i = 0; i < 12; ++i) {
    CAPTURE(i);
    ChildProcess child([&] {
      MultiProcessAllocator* own = heap.Attach(SmallUnits());
      if (!StaysZero(own, seed + i, 60)) return 1;
      bool is_zero = true;
      static_cast<void>(TakeZeroed(own, 3 << 20, &is_zero));
      static_cast<void>(TakeZeroed(own, 6 << 20, &is_zero));
      if (!is_zero) return 2;
      if (i % 2 == 0) own->shm_detach();
      if (i % 4 == 1) _exit(0);
      return 0;
    });
    REQUIRE(child.Wait() == 0);
    alloc->Recover();
    REQUIRE(StaysZero(alloc, seed + 100 + i, 60));
  }
}

TEST_CASE("Zeroed blocks are zero in a file that another process had filled before") {
  DiskDirectory directory;
  const std::string path = directory.File("heap");
  ChildProcess filler([&] {
    PosixMmap backend;
    backend.shm_init(ipc::MemoryBackendId(1), kRegion, path);
    auto* alloc = backend.MakeAlloc<MultiProcessAllocator>(kId, 0, SmallUnits());
    bool is_zero = true;
    for (const OffsetPtr<> block : FillUp(alloc, {3 << 20, 200 << 10})) {
      std::memset(BytesOf(alloc, block), 0x5a, 200 << 10);
    }
    static_cast<void>(TakeZeroed(alloc, 100000, &is_zero));
    alloc->shm_detach();
    return 0;
  });
  REQUIRE(filler.Wait() == 0);
  PosixMmap backend;
  backend.shm_attach(path);
  auto* alloc = backend.AttachAlloc<MultiProcessAllocator>(SmallUnits());
  bool is_zero = true;
  for (int i = 0; i < 20; ++i) {
    static_cast<void>(TakeZeroed(alloc, 3 << 20, &is_zero));
    static_cast<void>(TakeZeroed(alloc, 200 << 10, &is_zero));
  }
  REQUIRE(is_zero);
}

TEST_CASE("Zeroed blocks are zero where the program has locked its memory") {
  PosixMmap backend;
  backend.shm_init(ipc::MemoryBackendId(1), kRegion);
  auto* alloc = backend.MakeAlloc<MultiProcessAllocator>(kId, 0, SmallUnits());
  constexpr uint64_t kLarge = 6 << 20;  // given back as soon as it is freed
  const FullPtr<char> block = alloc->Allocate(kCtx, kLarge);
  if (mlock(block.ptr_, kLarge) != 0) hshm::test::Skip("this user may not lock 6 MiB");
  std::memset(block.ptr_, 0x5a, kLarge);
  alloc->Free(kCtx, block);
  bool is_zero = true;
  for (int i = 0; i < 12; ++i) static_cast<void>(TakeZeroed(alloc, kLarge, &is_zero));
  REQUIRE(is_zero);
}

template <typename Alloc>
void RequireZeroedBlocks() {
  ipc::MallocBackend backend;
  backend.shm_init(ipc::MemoryBackendId(1), 8 << 20);
  auto* alloc = backend.MakeAlloc<Alloc>(kId, 0);
  const MemContext arena = alloc->PushArena(kCtx);
  for (const uint64_t size : {0, 1, 100, 5000, 100000}) {
    for (const MemContext& ctx : {kCtx, arena}) {
      CAPTURE(Alloc::kType, size, ctx.IsArena());
      const FullPtr<char> dirty = alloc->Allocate(ctx, size);
      std::memset(dirty.ptr_, 0x5a, size);
      alloc->Free(ctx, dirty);
      const FullPtr<char> block = alloc->AllocateZeroed(ctx, size);
      REQUIRE_FALSE(block.IsNull());
      REQUIRE(IsZero(block.ptr_, size));
    }
  }
  REQUIRE(alloc->AllocateZeroed(kCtx, 1 << 30).IsNull());
}

TEST_CASE("Zeroed blocks of every allocator and arena are zero, and null where there is no room") {
  RequireZeroedBlocks<MultiProcessAllocator>();
  RequireZeroedBlocks<SmallMultiProcessAllocator>();
  RequireZeroedBlocks<ipc::ThreadLocalAllocator>();
  RequireZeroedBlocks<ipc::ScalablePageAllocator>();
  RequireZeroedBlocks<ipc::BuddyAllocator>();
  RequireZeroedBlocks<ipc::StackAllocator>();
}

/** Memory of this process that is there, in bytes: private, and of shared mappings. */
uint64_t ResidentBytes() {
  std::ifstream file("/proc/self/statm");
  uint64_t pages = 0;
  file >> pages >> pages;
  return pages * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
}

TEST_CASE("A zeroed block of memory that nobody had is not touched") {
  const std::string name = "hshm-zeroed-" + std::to_string(getpid());
  std::unique_ptr<ipc::MemoryBackend> backend;
  SECTION("private pages") { backend = Make<PosixMmap>(); }
  SECTION("a segment") { backend = Make<PosixShmMmap>(name); }
  auto* alloc = backend->MakeAlloc<MultiProcessAllocator>(kId, 0, SmallUnits());
  const uint64_t size = GENERATE(1 << 20, 20 << 20);  // a run, a large block
  CAPTURE(size);
  for (int i = 0; i < 2; ++i) {
    const uint64_t before = ResidentBytes();
    const FullPtr<char> block = alloc->AllocateZeroed(kCtx, size);
    REQUIRE_FALSE(block.IsNull());
    CHECK(ResidentBytes() < before + size / 4);
    REQUIRE(IsZero(block.ptr_, size));
    std::memset(block.ptr_, 0x5a, size);
    alloc->Free(kCtx, block);
    alloc->Trim();  // gives it back: the next one is as fresh
  }
  backend->shm_destroy();
}

}  // namespace
}  // namespace hshm::test
