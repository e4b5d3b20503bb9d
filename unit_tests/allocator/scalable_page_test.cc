#include "hermes_shm/memory/allocator/scalable_page_allocator.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <string>
#include <vector>

#include "allocator/limited_services.h"
#include "backend/error_code.h"
#include "hermes_shm/memory/backend/array_backend.h"
#include "hermes_shm/memory/backend/malloc_backend.h"
#include "hermes_shm/memory/backend/posix_shm_mmap.h"
#include "support/catch.h"
#include "support/child_process.h"

using namespace hshm::ipc;  // NOLINT: a test of this namespace

namespace {

using Heap = ScalablePageAllocator;
using Header = scalable_page::ScalableHeader<multi_process::LargePages>;
using Marks = scalable_page::PageMarks<multi_process::LargePages>;
constexpr uint64_t kPage = multi_process::LargePages::kPageBytes;

const MemContext kCtx = HSHM_DEFAULT_MEM_CTX;

template <typename AllocT>
Offset CoreOf(AllocT* alloc) {
  const Region& region = alloc->GetRegion();
  return region.template At<AllocatorHeader>(AllocatorOffsetFor(region.size_bytes_))->core_offset_;
}
Header* HeaderOf(Heap* heap) { return heap->GetRegion().At<Header>(CoreOf(heap)); }

struct Fixture {
  explicit Fixture(uint64_t region_bytes = 8 << 20) {
    backend_.shm_init(MemoryBackendId(1), region_bytes);
    heap_ = backend_.MakeAlloc<Heap>(AllocatorId(1, 0));
  }
  OffsetPtr<> Get(size_t size) { return heap_->AllocateOffset(kCtx, size); }
  void Put(OffsetPtr<> block) { heap_->FreeOffset(kCtx, block); }
  uint64_t DataBytes() {
    return (HeaderOf(heap_)->page_count_ - HeaderOf(heap_)->first_page_) * kPage;
  }
  std::vector<OffsetPtr<>> Fill(size_t size) {
    std::vector<OffsetPtr<>> blocks;
    for (OffsetPtr<> block; !(block = Get(size)).IsNull();) blocks.push_back(block);
    return blocks;
  }

  MallocBackend backend_;
  Heap* heap_;
};

/** A segment whose name goes, however the test ends. */
struct Segment : PosixShmMmap {
  explicit Segment(uint64_t size_bytes) {
    name_ = "hshm-scalable-page-test-" + std::to_string(getpid());
    shm_init(MemoryBackendId(1), size_bytes, name_);
  }
  ~Segment() { shm_destroy(); }
  uint64_t ResidentBytes() const {
    struct stat status = {};
    REQUIRE(stat(("/dev/shm/" + name_).c_str(), &status) == 0);
    return static_cast<uint64_t>(status.st_blocks) * 512;
  }
  std::string name_;
};

}  // namespace

TEST_CASE("ScalablePageAllocator gives every page to one block once all others are free") {
  Fixture f;
  for (const size_t size : {size_t{16}, size_t{1000}, size_t{20000}, size_t{70000}}) {
    CAPTURE(size);
    const auto blocks = f.Fill(size);
    REQUIRE(f.Get(f.DataBytes()).IsNull());
    for (const OffsetPtr<> block : blocks) f.Put(block);
    const OffsetPtr<> all = f.Get(f.DataBytes());
    REQUIRE_FALSE(all.IsNull());
    f.Put(all);
  }
  REQUIRE(f.heap_->GetCurrentlyAllocatedSize() == 0);
  REQUIRE(f.heap_->Check());
}

TEST_CASE("ScalablePageAllocator lets the empty pages that sizes keep go before it says null") {
  Fixture f;
  for (size_t size = 16; size <= kPage; size += size / 8 + 16) {
    const OffsetPtr<> block = f.Get(size);
    if (!block.IsNull()) f.Put(block);  // one empty page stays with its size
  }
  const auto blocks = f.Fill(1024);
  REQUIRE(blocks.size() == f.DataBytes() / 1024);
  for (const OffsetPtr<> block : blocks) f.Put(block);
  REQUIRE(f.heap_->Check());
}

TEST_CASE("ScalablePageAllocator uses the holes of a page before a fresh page") {
  Fixture f;
  std::vector<OffsetPtr<>> blocks;
  for (uint32_t i = 0; i < 3 * kPage / 64; ++i) blocks.push_back(f.Get(64));
  const uint64_t pages = HeaderOf(f.heap_)->lists_.free_granules_;
  for (uint32_t i = 0; i < blocks.size(); i += 7) f.Put(blocks[i]);
  for (uint32_t i = 0; i < blocks.size(); i += 7) REQUIRE_FALSE(f.Get(64).IsNull());
  REQUIRE(HeaderOf(f.heap_)->lists_.free_granules_ == pages);
  REQUIRE(f.heap_->Check());
}

TEST_CASE("ScalablePageAllocator keeps one empty page a size, and takes the others back") {
  Fixture f;
  std::vector<OffsetPtr<>> blocks;
  for (uint32_t i = 0; i < 4 * kPage / 1024; ++i) blocks.push_back(f.Get(1024));
  const uint64_t before = HeaderOf(f.heap_)->lists_.free_granules_;
  for (const OffsetPtr<> block : blocks) f.Put(block);
  REQUIRE(HeaderOf(f.heap_)->lists_.free_granules_ == before + 3);
  f.heap_->Trim();
  REQUIRE(HeaderOf(f.heap_)->lists_.free_granules_ == before + 4);
}

TEST_CASE("ScalablePageAllocator grows and shrinks runs in place when it can") {
  Fixture f;
  const OffsetPtr<> run = f.Get(2 * kPage);
  std::memset(f.heap_->Convert(run), 3, 2 * kPage);
  REQUIRE(f.heap_->ReallocateOffset(kCtx, run, 60 * kPage) == run);
  REQUIRE(f.heap_->GetUsableSize(run) == 60 * kPage);
  REQUIRE(f.heap_->GetCurrentlyAllocatedSize() == 60 * kPage);
  REQUIRE(f.heap_->ReallocateOffset(kCtx, run, 2 * kPage - 5) == run);
  const OffsetPtr<> wall = f.Get(3 * kPage);
  REQUIRE(wall.load() == run.load() + 2 * kPage);  // what was given back is there at once
  const OffsetPtr<> moved = f.heap_->ReallocateOffset(kCtx, run, 3 * kPage);
  REQUIRE_FALSE(moved == run);
  const char* bytes = static_cast<char*>(f.heap_->Convert(moved));
  for (uint64_t i = 0; i < 2 * kPage; ++i) REQUIRE(bytes[i] == 3);
  f.Put(wall);
  const OffsetPtr<> small = f.heap_->ReallocateOffset(kCtx, moved, 100);  // a class block now
  REQUIRE(f.heap_->GetUsableSize(small) == 112);
  f.Put(small);
  REQUIRE(f.heap_->GetCurrentlyAllocatedSize() == 0);
  REQUIRE(f.heap_->Check());
}

TEST_CASE("ScalablePageAllocator finds wrong pointers into runs and into pages that are free") {
  Fixture f;
  const OffsetPtr<> run = f.Get(5 * kPage);
  const OffsetPtr<> gone = f.Get(3 * kPage);
  const OffsetPtr<> large = f.Get(60000);  // in a wide page
  f.Put(gone);
  const auto fails_as = [&](const char* defect, uint64_t offset) {
    const hshm::test::Ending ending =
        hshm::test::RunInChild([&] { f.heap_->FreeOffset(kCtx, OffsetPtr<>(offset)); });
    CAPTURE(defect, offset, ending.errors_);
    REQUIRE(ending.status_ == -SIGABRT);
    REQUIRE(ending.errors_.find(std::string("hshm: ") + defect + ": ") != std::string::npos);
  };
  for (const uint64_t inside : {uint64_t{8}, kPage, 4 * kPage, 5 * kPage - 16}) {
    fails_as("InvalidFree", run.load() + inside);
  }
  fails_as("InvalidFree", gone.load());
  fails_as("InvalidFree", gone.load() + kPage);
  fails_as("InvalidFree", large.load() + 16);
  fails_as("InvalidFree", large.load() + kPage);
  fails_as("DoubleFree", large.load() + f.heap_->GetUsableSize(large));  // nobody had it yet
  fails_as("InvalidFree", uint64_t{HeaderOf(f.heap_)->page_count_ - 1} * kPage);  // never used
  REQUIRE(f.heap_->Check());
}

TEST_CASE("ScalablePageAllocator commits memory before it hands it out, and little ahead") {
  LimitedRegion limited(64 << 20, 64 << 20);
  Heap heap;
  heap.shm_init(AllocatorId(1, 0), 0, limited.region());
  REQUIRE(limited.committed_bytes() < 64 << 10);
  uint64_t used = 0;
  for (OffsetPtr<> block; !(block = heap.AllocateOffset(kCtx, 10000)).IsNull();) {
    REQUIRE(limited.IsCommitted(block.load(), 10000));
    used += 10000;
    REQUIRE(limited.committed_bytes() <= 3 * used / 2 + (2 << 20));
  }
  REQUIRE(used > 55 << 20);
}

TEST_CASE("ScalablePageAllocator says null when the system has no more, and goes on when it has") {
  LimitedRegion limited(8 << 20, 2 << 20);
  Heap heap;
  heap.shm_init(AllocatorId(1, 0), 0, limited.region());
  const OffsetPtr<> run = heap.AllocateOffset(kCtx, 300000);
  REQUIRE(limited.IsCommitted(run.load(), 300000));
  std::vector<OffsetPtr<>> blocks;
  for (OffsetPtr<> block; !(block = heap.AllocateOffset(kCtx, 1000)).IsNull();) {
    REQUIRE(limited.IsCommitted(block.load(), 1000));
    blocks.push_back(block);
  }
  REQUIRE(blocks.size() * 1000 > 1 << 20);
  REQUIRE(heap.AllocateOffset(kCtx, 300000).IsNull());
  REQUIRE(heap.ReallocateOffset(kCtx, run, 4 << 20).IsNull());
  REQUIRE(heap.GetUsableSize(run) == 5 * kPage);
  REQUIRE(heap.Check());
  limited.SetLimit(8 << 20);
  REQUIRE_FALSE(heap.AllocateOffset(kCtx, 1000).IsNull());
  const OffsetPtr<> longer = heap.ReallocateOffset(kCtx, run, 4 << 20);
  REQUIRE_FALSE(longer.IsNull());
  REQUIRE(limited.IsCommitted(longer.load(), 4 << 20));
  REQUIRE(heap.Check());
}

TEST_CASE("ScalablePageAllocator returns the memory of long runs at once, of pages with Trim") {
  Segment segment(64 << 20);
  Heap* heap = segment.MakeAlloc<Heap>(AllocatorId(1, 0));
  const uint64_t empty = segment.ResidentBytes();
  const OffsetPtr<> run = heap->AllocateOffset(kCtx, 32 << 20);
  REQUIRE(segment.ResidentBytes() >= empty + (32 << 20));
  heap->FreeOffset(kCtx, run);
  REQUIRE(segment.ResidentBytes() < empty + (1 << 20));
  std::vector<OffsetPtr<>> blocks;
  for (int i = 0; i < 2000; ++i) blocks.push_back(heap->AllocateOffset(kCtx, 5000));
  for (const OffsetPtr<> block : blocks) heap->FreeOffset(kCtx, block);
  REQUIRE(segment.ResidentBytes() > empty + (8 << 20));
  heap->Trim();
  REQUIRE(segment.ResidentBytes() < empty + (1 << 20));
  const OffsetPtr<> again = heap->AllocateOffset(kCtx, 16 << 20);
  std::memset(heap->Convert(again), 1, 16 << 20);
  REQUIRE(heap->Check());
}

TEST_CASE("ScalablePageAllocator makes its lists anew after the holder of a lock has died") {
  Segment segment(8 << 20);
  Heap* heap = segment.MakeAlloc<Heap>(AllocatorId(1, 0));
  std::vector<OffsetPtr<>> blocks;
  for (int i = 0; i < 300; ++i) {
    blocks.push_back(heap->AllocateOffset(kCtx, 1000));
    std::memset(heap->Convert(blocks.back()), 0x11, 1000);
  }
  const OffsetPtr<> run = heap->AllocateOffset(kCtx, 3 * kPage);
  for (uint32_t i = 0; i < 300; i += 3) heap->FreeOffset(kCtx, blocks[i]);
  const size_t before = heap->GetCurrentlyAllocatedSize();
  const hshm::test::Ending ending = hshm::test::RunInChild([&] {
    Header* header = HeaderOf(heap);  // ruins the caches, then stops inside with the lock held
    scalable_page::ClassHeader& owner = header->classes_[multi_process::ClassOf(1000)];
    std::memset(&owner.spare_, 0x5a, sizeof(owner.spare_) + sizeof(owner.roomy_));
    owner.live_blocks_.store(12345);
    heap->FreeOffset(kCtx, OffsetPtr<>(blocks[1].load() + 16));
  });
  REQUIRE(ending.status_ == -SIGABRT);
  const hshm::test::Ending second = hshm::test::RunInChild([&] {
    std::memset(&HeaderOf(heap)->lists_, 0x5a, sizeof(BuddyLists));
    heap->FreeOffset(kCtx, OffsetPtr<>(run.load() + 16));
  });
  REQUIRE(second.status_ == -SIGABRT);
  REQUIRE(heap->Check());
  REQUIRE(heap->GetCurrentlyAllocatedSize() == before);
  for (uint32_t i = 0; i < 300; ++i) {
    if (i % 3 != 0) heap->FreeOffset(kCtx, blocks[i]);
  }
  heap->FreeOffset(kCtx, run);
  REQUIRE(heap->GetCurrentlyAllocatedSize() == 0);
  REQUIRE(heap->Check());
}

TEST_CASE("ScalablePageAllocator::Check finds words that contradict each other") {
  const auto damaged = [](auto damage) {
    Fixture f;
    const OffsetPtr<> block = f.Get(1000);
    (void)f.Get(3 * kPage);
    REQUIRE(f.heap_->Check());
    Header* header = HeaderOf(f.heap_);
    const Region& region = f.heap_->GetRegion();
    const auto page = static_cast<uint32_t>(block.load() / kPage);
    damage(header, region.At<multi_process::PageEntry>(header->table_offset_) + page,
           region.At<Marks>(header->marks_offset_) + page);
    return !f.heap_->Check();
  };
  using Entry = multi_process::PageEntry;
  REQUIRE(damaged([](Header*, Entry* e, Marks*) { e->used_.Set(2); }));
  REQUIRE(damaged([](Header*, Entry* e, Marks*) { e->carved_.Set(1); }));
  REQUIRE(damaged([](Header*, Entry* e, Marks*) { e->owner_.Set(0); }));
  REQUIRE(damaged([](Header*, Entry* e, Marks*) { e->committed_.Set(0); }));
  REQUIRE(damaged([](Header*, Entry*, Marks* m) { m->words_[0].Set(3); }));
  REQUIRE(damaged([](Header*, Entry*, Marks* m) { m->words_[63].Set(1); }));
  REQUIRE(damaged([](Header* h, Entry*, Marks*) { h->run_pages_.store(4); }));
  REQUIRE(damaged([](Header* h, Entry*, Marks*) { ++h->lists_.free_granules_; }));
  REQUIRE(damaged([](Header* h, Entry*, Marks*) { h->classes_[0].live_blocks_.store(1); }));
  REQUIRE(damaged([](Header* h, Entry*, Marks*) { h->classes_[0].spare_ = 1; }));
}

TEST_CASE("ScalablePageAllocator refuses headers that do not fit") {
  Fixture f;
  const auto code = [&] {
    return hshm::ipc::test::CodeOf([&] { (void)f.backend_.AttachAlloc<Heap>(); });
  };
  REQUIRE(hshm::ipc::test::CodeOf([&] {
            (void)f.backend_.AttachAlloc<SmallScalablePageAllocator>();
          }) == hshm::ErrorCode::kWrongAllocator);
  Header* header = HeaderOf(f.heap_);
  header->layout_version_ += 1;
  REQUIRE(code() == hshm::ErrorCode::kVersionMismatch);
  header->layout_version_ -= 1;
  header->marks_offset_ += 64;
  REQUIRE(code() == hshm::ErrorCode::kCorrupt);
  header->marks_offset_ -= 64;
  header->frontier_.fetch_add(1 << 20);
  REQUIRE(code() == hshm::ErrorCode::kCorrupt);
  header->frontier_.fetch_sub(1 << 20);
  REQUIRE(code() == hshm::ErrorCode::kNone);
}
